"""Response sets by rank: how often a policy beats the base, and what picking the best of n samples does, exactly."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_scalar
from rewardlab.exact.response_checks import check_log_probs, check_same_sets, checked_sets
from rewardlab.exact.response_sets import kl_divergence

__all__ = ["best_of_n", "best_of_n_kl", "best_of_n_kl_bound", "win_rate"]


def win_rate(
    log_probs: Float[Array, "*#prompts responses"],
    base_log_probs: Float[Array, "*#prompts responses"],
    rewards: Real[Array, "*#prompts responses"],
) -> Float[Array, "*prompts"]:
    """Probability that a response of the policy has a higher reward than one of the base policy; a tie counts half.

    Args:
        log_probs: Log-probabilities of the policy, `(*prompts, responses)`; -inf for 0.
        base_log_probs: Log-probabilities of the base policy, `(*prompts, responses)`; -inf for 0.
        rewards: Finite rewards that decide who wins, `(*prompts, responses)`; only their order counts.

    Returns:
        Win rate of each prompt in [0, 1], `(*prompts)`; 0.5 for the base policy itself.

    Raises:
        TypeError, ValueError: If the shapes do not fit, probabilities do not sum to 1 within 1e-6 for some prompt, or a
            reward is not finite.

    Example:
        >>> import numpy as np
        >>> win_rate(np.log([0.25, 0.75]), np.log([0.5, 0.5]), np.array([0.0, 1.0]))
        np.float64(0.625)
    """
    base, rewards = checked_sets(base_log_probs, "rewards", rewards)
    xp = array_namespace(base)
    log_probs = check_log_probs("log_probs", log_probs, beside=("base_log_probs", base))
    check_same_sets(base_log_probs=base, log_probs=log_probs)
    rank = _rank(xp.exp(base), rewards)
    return xp.sum(xp.exp(log_probs) * (rank.below + (rank.up_to - rank.below) / 2), axis=-1)


def best_of_n(
    base_log_probs: Float[Array, "*#prompts responses"], scores: Real[Array, "*#prompts responses"], n: int
) -> Float[Array, "*prompts responses"]:
    """The policy that draws n responses from the base policy and answers with the one of the highest score.

    Samples that tie for the highest score are chosen among at random, so responses of equal score keep the
    proportions that the base policy gives them.

    Args:
        base_log_probs: Log-probabilities of the base policy, `(*prompts, responses)`; -inf for 0.
        scores: Finite scores to choose by, `(*prompts, responses)`; only their order counts.
        n: Number of samples, at least 1; 60,000 is no problem.

    Returns:
        Normalised log-probabilities in float64, `(*prompts, responses)`.

    Raises:
        TypeError, ValueError: If the shapes do not fit, probabilities do not sum to 1 within 1e-6 for some prompt, a
            score is not finite or n is no whole number of at least 1.

    Example:
        >>> import numpy as np
        >>> np.exp(best_of_n(np.log(np.full(4, 0.25)), np.arange(4.0), 2)).round(4)
        array([0.0625, 0.1875, 0.3125, 0.4375])
    """
    check_scalar("n", n, low=1, whole=True)
    base, scores = checked_sets(base_log_probs, "scores", scores)
    if n == 1:
        return base
    xp = array_namespace(base)
    below, up_to, above = _rank(xp.exp(base), scores)
    with np.errstate(divide="ignore"):  # log 0 where nothing the base policy does is as bad: never chosen
        near_one = xp.log1p(-xp.clip(above, max=0.5))  # precise where n multiplies it
        log_up_to = xp.where(above < 0.5, near_one, xp.log(up_to))
    share = xp.where(up_to > 0, (up_to - below) / xp.where(up_to > 0, up_to, xp.ones_like(up_to)), xp.zeros_like(up_to))
    # With F the base probability of a score at most this high and s the share of F that has just this score,
    # F^n - (F - s F)^n is the probability of the score; divided by that under the base, s F, it is
    # F^(n - 1) (1 - (1 - s)^n) / s, and n F^(n - 1) for small s.
    with np.errstate(divide="ignore"):
        factor = -xp.expm1(n * xp.log1p(-xp.clip(share, max=1.0)))
    small = share < 1e-300
    factor = xp.where(small, xp.full_like(share, n), factor / xp.where(small, xp.ones_like(share), share))
    never = (base == -math.inf) | (up_to <= 0)
    chosen = base + (n - 1) * xp.where(never, xp.zeros_like(base), log_up_to) + xp.log(factor)
    return xp.where(never, xp.full_like(base, -math.inf), chosen)


def best_of_n_kl(
    base_log_probs: Float[Array, "*#prompts responses"], scores: Real[Array, "*#prompts responses"], n: int
) -> Float[Array, "*prompts"]:
    """KL(best-of-n || base) of each prompt in nats, exact also for few responses and ties.

    Args, Raises: as `best_of_n`.

    Returns:
        KL of each prompt, `(*prompts)`: at most `best_of_n_kl_bound(n)`, and at most -log of the base probability of
        the highest score.

    Example:
        >>> import numpy as np
        >>> best_of_n_kl(np.log(np.full(4, 0.25)), np.array([0.0, 0, 1, 1]), 4).round(5)
        np.float64(0.45936)
    """
    base, scores = checked_sets(base_log_probs, "scores", scores)
    return kl_divergence(best_of_n(base, scores, n), base)


def best_of_n_kl_bound(n: int | Sequence[int]) -> float | Float[np.ndarray, " several"]:
    """The well-known log n - (n - 1) / n in nats: an upper bound on the KL of best-of-n, not its value.

    It is exact only where no two responses ever tie, as for continuous scores. With finitely many responses the KL
    cannot pass -log of the base probability of the best of them, while the bound grows without end: use
    `best_of_n_kl`.

    Args:
        n: Number of samples, at least 1: one, or several.

    Returns:
        The bound in nats: a number for one n, an array for several.

    Raises:
        TypeError, ValueError: If an n is not a whole number of at least 1.

    Source: Gao et al. 2023 (arXiv 2210.10760), section 2.

    Example:
        >>> round(best_of_n_kl_bound(60_000), 6)
        10.002117
    """
    if isinstance(n, Sequence) and not isinstance(n, str):
        return np.array([best_of_n_kl_bound(each) for each in n])
    check_scalar("n", n, low=1, whole=True)
    return math.log(n) - (n - 1) / n


class _Rank(NamedTuple):
    """Base probability of a reward lower than each response's, at most as high, and higher, `(*prompts, responses)`."""

    below: Array
    up_to: Array
    above: Array


def _rank(probs: Array, rewards: Array) -> _Rank:
    """Where each response stands among the base policy's, by one sort; its ties count in `up_to` only."""
    xp = array_namespace(probs)
    order = xp.argsort(rewards, axis=-1)
    ordered, mass = xp.take_along_axis(rewards, order, axis=-1), xp.take_along_axis(probs, order, axis=-1)
    none = xp.zeros_like(mass[..., :1])
    lower = xp.concat([none, xp.cumulative_sum(mass, axis=-1)], axis=-1)  # mass of the first 0, 1, ... responses
    higher = xp.flip(xp.concat([none, xp.cumulative_sum(xp.flip(mass, axis=-1), axis=-1)], axis=-1), axis=-1)
    jump = ordered[..., 1:] != ordered[..., :-1]
    edge = xp.ones_like(jump[..., :1]) if jump.shape[-1] else xp.ones_like(mass, dtype=xp.bool)
    starts, ends = xp.concat([edge, jump], axis=-1), xp.concat([jump, edge], axis=-1)
    group = xp.cumulative_sum(xp.astype(starts, xp.int64), axis=-1) - 1  # responses of equal reward
    first, after = (xp.take_along_axis(_places(edges), group, axis=-1) for edges in (starts, ends))
    after = after + 1
    back = xp.argsort(order, axis=-1)
    taken = ((lower, first), (lower, after), (higher, after))
    return _Rank(*(xp.take_along_axis(xp.take_along_axis(of, at, axis=-1), back, axis=-1) for of, at in taken))


def _places(marked: Array) -> Array:
    """Where True stands in each row, first to last; filled up with the other places."""
    xp = array_namespace(marked)
    return xp.argsort(xp.astype(~marked, xp.uint8), axis=-1, stable=True)
