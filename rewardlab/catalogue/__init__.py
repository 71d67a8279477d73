"""Which paper is implemented where, which figures test it, and which notebook explains it."""

from rewardlab.catalogue import (
    audit,
    distance,
    dynamics,
    intrinsic,
    language_models,
    process,
    scoring,
    shaping,
    transforms,
)
from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS", "Paper"]

PAPERS: tuple[Paper, ...] = (
    *distance.PAPERS,
    *transforms.PAPERS,
    *process.PAPERS,
    *shaping.PAPERS,
    *intrinsic.PAPERS,
    *dynamics.PAPERS,
    *audit.PAPERS,
    *scoring.PAPERS,
    *language_models.PAPERS,
)
