"""Reward models that err in a known way: a simulator of ensembles, and of the flaws their members share."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rewardlab.checks import as_generator, check_scalar

__all__ = ["RewardModelError", "RewardModelScores", "Seeds", "draw_scores", "finetune_ensemble", "pretrain_ensemble"]


class Seeds(NamedTuple):
    """Which random seeds made a reward model: members with equal numbers share that part of their error."""

    pretraining: int
    finetuning: int


def pretrain_ensemble(size: int) -> tuple[Seeds, ...]:
    """Members that share nothing but what all reward models share: each of a pretraining run of its own.

    Args:
        size: Number of members, at least 1.

    Returns:
        The seeds of each member, for `draw_scores`.

    Raises:
        TypeError, ValueError: If `size` is not a whole number of at least 1.
    """
    return tuple(Seeds(member, 0) for member in range(check_scalar("size", size, low=1, whole=True)))


def finetune_ensemble(size: int) -> tuple[Seeds, ...]:
    """Members fine-tuned apart from one pretrained model; the first is also the first of a `pretrain_ensemble`.

    Args, Returns, Raises: as `pretrain_ensemble`.
    """
    return tuple(Seeds(0, member) for member in range(check_scalar("size", size, low=1, whole=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelError:
    """Errors of a family of reward models in their independent parts, as standard deviations in units of gold.

    score = gold + shared + part of the pretraining seed + part of the fine-tuning seed, drawn anew for each response.

    Args:
        shared: What every reward model gets wrong in the same way, such as a liking for length or lists.
        pretraining: What all models of one pretraining seed get wrong together.
        finetuning: What each model gets wrong alone.
        degrees_of_freedom: Of the Student t distribution of each part, above 2 so that a standard deviation exists;
            infinite (the default) for normal errors. At 2.5 errors of ten standard deviations turn up once in
            about 1,700 responses.

    Raises:
        TypeError, ValueError: If a standard deviation is negative, or the degrees of freedom are not above 2.

    Source: the decomposition follows the experiments of Eisenstein et al. 2023 (arXiv 2312.09244); the simulation is
    this project's.
    """

    shared: float = 0.0
    pretraining: float = 0.0
    finetuning: float = 0.0
    degrees_of_freedom: float = math.inf

    def __post_init__(self) -> None:
        for name in ("shared", "pretraining", "finetuning"):
            check_scalar(name, getattr(self, name), low=0)
        if self.degrees_of_freedom != math.inf:
            check_scalar("degrees_of_freedom", self.degrees_of_freedom, low=2, open_low=True)

    def variance_of_mean(self, members: Sequence[Seeds]) -> float:
        """Variance of the error that is left in the mean score of these members.

        With normal errors it decides what best-of-n earns: see `gaussian_best_of_n`.

        Raises:
            ValueError: If there are no members.
        """
        members = _checked_members(members)
        pretrained = Counter(member.pretraining for member in members)
        repeats = [sum(count**2 for count in counts.values()) for counts in (pretrained, Counter(members))]
        own = self.pretraining**2 * repeats[0] + self.finetuning**2 * repeats[1]
        return self.shared**2 + own / len(members) ** 2


class RewardModelScores(NamedTuple):
    """What the simulator draws.

    Args:
        gold: True rewards, `(prompts, samples)`, standard normal.
        members: Scores, `(members, prompts, samples)`, in the order the members were asked for.
    """

    gold: Float[np.ndarray, "prompts samples"]
    members: Float[np.ndarray, "members prompts samples"]


def draw_scores(
    error: RewardModelError,
    members: Sequence[Seeds],
    *,
    prompts: int,
    samples: int,
    rng: int | np.random.Generator,
) -> RewardModelScores:
    """Gold rewards of random responses, and what each reward model makes of them.

    Members need no centring: their errors have mean 0. A longer list of members begins with the same scores as a
    shorter one, for the same seed.

    Args:
        error: How the models err.
        members: Seeds of the models; those with a common seed share that part of their error, and two that have both
            in common are the same model.
        prompts: Number of prompts.
        samples: Number of responses to each, drawn from the base policy.
        rng: Seed or generator.

    Raises:
        TypeError, ValueError: If a number is not whole and at least 1, or there are no members.

    Example:
        >>> error = RewardModelError(shared=0.7, pretraining=0.5, finetuning=0.3, degrees_of_freedom=2.5)
        >>> draw_scores(error, pretrain_ensemble(5), prompts=10, samples=64, rng=0).members.shape
        (5, 10, 64)
    """
    members = _checked_members(members)
    shape = tuple(check_scalar(k, v, low=1, whole=True) for k, v in (("prompts", prompts), ("samples", samples)))
    rng = as_generator(rng)
    gold = rng.standard_normal(shape)
    common = gold + _error(error.shared, error.degrees_of_freedom, shape, rng)
    pretrained: dict[int, np.ndarray] = {}
    finetuned: dict[Seeds, np.ndarray] = {}
    for member in members:
        if member.pretraining not in pretrained:
            pretrained[member.pretraining] = common + _error(error.pretraining, error.degrees_of_freedom, shape, rng)
        if member not in finetuned:
            own = _error(error.finetuning, error.degrees_of_freedom, shape, rng)
            finetuned[member] = pretrained[member.pretraining] + own
    return RewardModelScores(gold, np.stack([finetuned[member] for member in members]))


def _error(size: float, freedom: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray | float:
    """Independent errors of standard deviation `size`."""
    if size == 0:
        return 0.0
    if freedom == math.inf:
        return size * rng.standard_normal(shape)
    return size * math.sqrt((freedom - 2) / freedom) * rng.standard_t(freedom, shape)


def _checked_members(members: Sequence[Seeds]) -> tuple[Seeds, ...]:
    members = tuple(Seeds(*member) for member in members)
    if not members:
        raise ValueError("members is empty, expected the seeds of at least one reward model")
    return members
