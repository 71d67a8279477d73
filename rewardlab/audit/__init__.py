"""Is this reward safe to optimise? How gold rises, peaks and falls under a proxy, and by which errors."""

from rewardlab.audit.best_of_n_estimator import best_of_n_gold, best_of_n_weights
from rewardlab.audit.overoptimisation_laws import FORMS, LawFit, OveroptimisationLaw, fit_law
from rewardlab.audit.regressional_goodhart import expected_gold, expected_maximum, gaussian_best_of_n
from rewardlab.audit.reward_model_error import (
    RewardModelError,
    RewardModelScores,
    Seeds,
    draw_scores,
    finetune_ensemble,
    pretrain_ensemble,
)

__all__ = [
    "FORMS",
    "LawFit",
    "OveroptimisationLaw",
    "RewardModelError",
    "RewardModelScores",
    "Seeds",
    "best_of_n_gold",
    "best_of_n_weights",
    "draw_scores",
    "expected_gold",
    "expected_maximum",
    "finetune_ensemble",
    "fit_law",
    "gaussian_best_of_n",
    "pretrain_ensemble",
]
