"""How far apart two rewards are: canonicalise, normalise, compare; with one-line fronts of the published distances."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_choice, check_finite
from rewardlab.distance.canonical import (
    dard_canonical,
    epic_canonical,
    minimal_canonical,
    srrd_canonical,
    val_canonical,
    val_potential_canonical,
)
from rewardlab.distance.minimal_potential import minimal_potential_canonical
from rewardlab.distance.norms import NORMS, Norm, norm
from rewardlab.distance.pearson import pearson_distance
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = [
    "CANONICALISERS",
    "NORMALISERS",
    "Standardised",
    "TrivialRewardWarning",
    "dard",
    "epic",
    "srrd",
    "standardise",
    "starc",
]

CANONICALISERS: dict[str, Callable] = {
    "none": FiniteMDP.transition_reward,
    "epic": epic_canonical,
    "dard": dard_canonical,
    "srrd": srrd_canonical,
    "val_potential": val_potential_canonical,
    "val": val_canonical,
    "minimal": minimal_canonical,
    "minimal_unweighted": lambda mdp, reward: minimal_canonical(mdp, reward, weighted=False),
}
"""Canonical forms by name. "minimal_potential" is one more: it depends on the norm."""

NORMALISERS = ("none", *NORMS)
"""What a canonical form can be divided by; "none" leaves it as it is."""

TRIVIAL = 1e-9  # a canonical form this small beside the reward it came from is rounding

Coverage = Float[Array, "s a s"]


class TrivialRewardWarning(UserWarning):
    """A reward treats all policies alike, so its direction, and any distance to it, is a convention."""


class Standardised(NamedTuple):
    """A canonical form divided by its norm.

    Attributes:
        table: `(*batch, S, A, S)`; 0 where the reward is trivial.
        size: The norm it was divided by, `(*batch)`.
        trivial: True where the reward is trivial, `(*batch)`.
    """

    table: Float[Array, "*batch s a s"]
    size: Float[Array, "*batch"]
    trivial: Bool[Array, "*batch"]


def starc(
    mdp: FiniteMDP,
    reward_a: Reward,
    reward_b: Reward,
    *,
    canonicaliser: str = "val",
    normaliser: str = "2",
    metric: Norm = "2",
) -> Float[Array, "*batch"]:
    """Distance between two rewards: canonicalise, divide by a norm, measure the difference.

    With the canonical forms "val", "minimal" and "minimal_unweighted" it is a STARC distance: 0 exactly if the rewards
    order all policies the same way, and bounded below and above by multiples of the worst-case regret. With the others
    it is one of the distances STARC was compared with.

    Args:
        mdp: World.
        reward_a: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        reward_b: Likewise; batch dimensions broadcast.
        canonicaliser: "none", "epic", "dard", "srrd", "val_potential", "val", "minimal", "minimal_unweighted", or
            "minimal_potential" (which minimises the norm given as normaliser).
        normaliser: "1", "2", "inf", "weighted_1", "weighted_2", "weighted_inf", or "none".
        metric: One of the same norms, for the difference.

    Returns:
        Distances `(*batch)`. In [0, 2] where normaliser and metric are the same norm: 0 for equivalent rewards, 2 for
        opposite ones. A trivial reward (the same return for every policy) has distance 0 to another and 1 to the rest.

    Raises:
        TypeError, ValueError: If a reward does not fit the world or a name is unknown.

    Warns:
        TrivialRewardWarning: If some reward is trivial.

    Source: STARC (arXiv 2309.15257), definitions 1 to 3; the default is its recommended value-adjusted levelling.

    Example:
        >>> import numpy as np
        >>> from rewardlab.exact import FiniteMDP, potential_shaping
        >>> mdp = FiniteMDP.random(states=6, actions=3, rng=0)
        >>> reward = np.random.default_rng(1).normal(size=(6, 3, 6))
        >>> shaped = 3 * reward + potential_shaping(mdp, np.arange(6.0))
        >>> print(f"{starc(mdp, reward, shaped):.6f} {starc(mdp, reward, -reward):.6f}")
        0.000000 2.000000
    """
    check_choice("metric", metric, NORMS)
    rewards = mdp.checked_rewards(reward_a=reward_a, reward_b=reward_b)
    a, b = (standardise(mdp, reward, canonicaliser, normaliser) for reward in rewards)
    if bool(array_namespace(a.table).any(a.trivial)) or bool(array_namespace(a.table).any(b.trivial)):
        warnings.warn(
            "a reward is trivial: every policy earns the same, so its distance to others is 1 by convention",
            TrivialRewardWarning,
            stacklevel=2,
        )
    return norm(mdp, a.table - b.table, metric)


def standardise(mdp: FiniteMDP, reward: Reward, canonicaliser: str = "val", normaliser: str = "2") -> Standardised:
    """Canonical form of a reward divided by its norm, and whether the reward is trivial.

    A reward is called trivial, and its standardised form set to 0, where the norm is at most 1e-9 of the norm of
    a table filled with the reward's largest entry: what is left is then rounding, and dividing by it would make
    a direction out of noise.

    Args, Raises: as `starc`.
    """
    check_choice("normaliser", normaliser, NORMALISERS)
    check_choice("canonicaliser", canonicaliser, (*CANONICALISERS, "minimal_potential"))
    if canonicaliser == "minimal_potential":
        if normaliser == "none":
            raise ValueError("canonicaliser 'minimal_potential' minimises the normaliser, expected a norm, got 'none'")
        table = minimal_potential_canonical(mdp, reward, normaliser)
    else:
        table = CANONICALISERS[canonicaliser](mdp, reward)
    xp = array_namespace(table)
    largest = xp.max(xp.abs(mdp.transition_reward(reward)), axis=(-3, -2, -1))
    if normaliser == "none":
        size = xp.ones_like(table[..., 0, 0, 0])
        trivial = xp.max(xp.abs(table), axis=(-3, -2, -1)) <= TRIVIAL * largest
    else:
        size = norm(mdp, table, normaliser)
        trivial = size <= TRIVIAL * largest * norm(mdp, xp.ones_like(mdp.transition), normaliser)
    scaled = table / xp.where(trivial, xp.ones_like(size), size)[..., None, None, None]
    return Standardised(xp.where(trivial[..., None, None, None], xp.zeros_like(scaled), scaled), size, trivial)


def epic(
    mdp: FiniteMDP,
    reward_a: Reward,
    reward_b: Reward,
    *,
    state_distribution: Float[Array, " s"] | None = None,
    action_distribution: Float[Array, " a"] | None = None,
    coverage: Coverage | None = None,
) -> Float[Array, "*batch"]:
    """Equivalent-policy invariant comparison (EPIC): Pearson distance of canonically shaped rewards.

    Args:
        mdp: World; only its discount and its shape are used.
        reward_a: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        reward_b: Likewise; batch dimensions broadcast.
        state_distribution: Distribution of states for canonical shaping, `(S)`; uniform by default.
        action_distribution: Distribution of actions for canonical shaping, `(A)`; uniform by default.
        coverage: How much each transition counts in the comparison, `(S, A, S)`, in any unit; uniform by default.

    Returns:
        sqrt((1 - correlation) / 2) in [0, 1], `(*batch)`; NaN where a canonical reward is constant. With uniform
        distributions it is half the distance `starc(..., canonicaliser="epic")`.

    Raises:
        TypeError, ValueError: If an array does not fit the world or a distribution is not one.

    Source: Gleave et al. 2021 (arXiv 2006.13900), definition 4.6.
    """
    options = {"state_distribution": state_distribution, "action_distribution": action_distribution}
    rewards = mdp.checked_rewards(reward_a=reward_a, reward_b=reward_b)
    return _pearson(mdp, *(epic_canonical(mdp, reward, **options) for reward in rewards), coverage)


def dard(
    mdp: FiniteMDP,
    reward_a: Reward,
    reward_b: Reward,
    *,
    action_distribution: Float[Array, " a"] | None = None,
    coverage: Coverage | None = None,
) -> Float[Array, "*batch"]:
    """Dynamics-aware reward distance (DARD): Pearson distance of rewards made canonical with the world's transitions.

    Args:
        mdp: World.
        reward_a: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        reward_b: Likewise; batch dimensions broadcast.
        action_distribution: Distribution of actions `(A)`; uniform by default.
        coverage: How much each transition counts in the comparison, `(S, A, S)`, in any unit; by default those that
            can happen: any non-terminal state and action alike, then the world's next state.

    Returns, Raises: as `epic`.

    Source: Wulfe et al. 2022 (arXiv 2201.10081).
    """
    rewards = mdp.checked_rewards(reward_a=reward_a, reward_b=reward_b)
    canonical = (dard_canonical(mdp, reward, action_distribution=action_distribution) for reward in rewards)
    return _pearson(mdp, *canonical, mdp.continuation if coverage is None else coverage)


def srrd(
    mdp: FiniteMDP, reward_a: Reward, reward_b: Reward, *, coverage: Coverage | None = None
) -> Float[Array, "*batch"]:
    """Sparsity-resilient reward distance (SRRD): Pearson distance of its canonical form, uniform distributions.

    Args, Returns, Raises: as `dard`.

    Source: arXiv 2504.11508; the tabular form is derived here from its sampled one.
    """
    rewards = mdp.checked_rewards(reward_a=reward_a, reward_b=reward_b)
    canonical = (srrd_canonical(mdp, reward) for reward in rewards)
    return _pearson(mdp, *canonical, mdp.continuation if coverage is None else coverage)


def _pearson(mdp: FiniteMDP, table_a: Array, table_b: Array, coverage: Array | None) -> Array:
    xp = array_namespace(table_a)
    flat_a, flat_b = (xp.reshape(table, (*table.shape[:-3], -1)) for table in (table_a, table_b))
    if coverage is None:
        return pearson_distance(flat_a, flat_b)
    check_array("coverage", coverage, like=mdp.transition)
    if tuple(coverage.shape[-3:]) != (mdp.states, mdp.actions, mdp.states):
        expected = (mdp.states, mdp.actions, mdp.states)
        raise ValueError(f"coverage has shape {tuple(coverage.shape)}, expected {expected}")
    check_finite("coverage", as_float64(coverage))
    if bool(xp.any(coverage < 0)) or bool(xp.any(xp.all(coverage <= 0, axis=(-3, -2, -1)))):
        raise ValueError("coverage has a negative entry or only zeros, expected at least 0 and some above 0")
    return pearson_distance(flat_a, flat_b, xp.reshape(as_float64(coverage), (*coverage.shape[:-3], -1)))
