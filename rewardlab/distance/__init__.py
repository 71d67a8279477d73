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
from rewardlab.distance.equivalence import same_optimal_policies, same_policy_order
from rewardlab.distance.explanation import Explanation, explain_difference
from rewardlab.distance.minimal_potential import minimal_potential, minimal_potential_canonical
from rewardlab.distance.norms import NORMS, norm
from rewardlab.distance.pearson import pearson_distance
from rewardlab.distance.sampling import (
    sample_dard,
    sample_dard_distances,
    sample_epic,
    sample_epic_distances,
    sample_srrd,
    sample_srrd_distances,
)
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
from rewardlab.distance.transitions import Transitions, collect_transitions, tabular_reward

__all__ = [
    "CANONICALISERS",
    "NORMALISERS",
    "NORMS",
    "PUBLISHED_FAMILY",
    "DistanceTable",
    "Explanation",
    "Standardised",
    "Transitions",
    "TrivialRewardWarning",
    "collect_transitions",
    "compare_all",
    "dard",
    "dard_canonical",
    "distance_table",
    "epic",
    "epic_canonical",
    "explain_difference",
    "minimal_canonical",
    "minimal_potential",
    "minimal_potential_canonical",
    "norm",
    "pearson_distance",
    "same_optimal_policies",
    "same_policy_order",
    "sample_dard",
    "sample_dard_distances",
    "sample_epic",
    "sample_epic_distances",
    "sample_srrd",
    "sample_srrd_distances",
    "srrd",
    "srrd_canonical",
    "standardise",
    "starc",
    "tabular_reward",
    "val_canonical",
    "val_potential_canonical",
]
