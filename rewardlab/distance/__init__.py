"""How different are two rewards? Canonicalise, normalise, compare; and say what the difference consists of."""

from rewardlab.distance.canonical import (
    dard_canonical,
    epic_canonical,
    minimal_canonical,
    srrd_canonical,
    val_canonical,
    val_potential_canonical,
)
from rewardlab.distance.comparison import PUBLISHED_FAMILY, DistanceTable, compare_all, distance_table
from rewardlab.distance.minimal_potential import minimal_potential, minimal_potential_canonical
from rewardlab.distance.norms import NORMS, norm
from rewardlab.distance.pearson import pearson_distance
from rewardlab.distance.starc import (
    CANONICALISERS,
    NORMALISERS,
    Standardised,
    TrivialRewardWarning,
    dard,
    epic,
    srrd,
    standardise,
    starc,
)

__all__ = [
    "CANONICALISERS",
    "NORMALISERS",
    "NORMS",
    "PUBLISHED_FAMILY",
    "DistanceTable",
    "Standardised",
    "TrivialRewardWarning",
    "compare_all",
    "dard",
    "dard_canonical",
    "distance_table",
    "epic",
    "epic_canonical",
    "minimal_canonical",
    "minimal_potential",
    "minimal_potential_canonical",
    "norm",
    "pearson_distance",
    "srrd",
    "srrd_canonical",
    "standardise",
    "starc",
    "val_canonical",
    "val_potential_canonical",
]
