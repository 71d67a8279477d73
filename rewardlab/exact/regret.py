"""What optimising the wrong reward costs: greedy regret, and the exact worst case over all pairs of policies."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog
from scipy.sparse import block_array, csr_array

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_choice
from rewardlab.exact.evaluation import advantages, policy_return
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.planning import OptimalPolicy, optimal_policy
from rewardlab.exact.polytope import LP_TOLERANCES, alive_flow, visits_scale

__all__ = ["WorstCaseRegret", "greedy_regret", "return_range", "symmetric_greedy_regret", "worst_case_regret"]

Ties = Literal["first", "optimistic", "pessimistic"]
_TRIVIAL_RANGE = 1e-9  # relative to the largest value: below it a reward treats all policies alike


class WorstCaseRegret(NamedTuple):
    """What `worst_case_regret` returns.

    Attributes:
        regret: Largest share of the true reward's range that a policy change can lose without the proxy's return
            falling, in [0, 1].
        before: Witness policy `(S, A)` with the higher true return.
        after: Witness policy `(S, A)` whose proxy return is at least as high.
    """

    regret: float
    before: Float[np.ndarray, "s a"]
    after: Float[np.ndarray, "s a"]


def return_range(mdp: FiniteMDP, reward: Reward) -> Float[Array, "*batch"]:
    """Largest minus smallest return over all policies, `(*batch)`: 0 exactly for trivial rewards, up to rounding."""
    return optimal_policy(mdp, reward).expected_return + optimal_policy(mdp, -reward).expected_return


def greedy_regret(mdp: FiniteMDP, true: Reward, proxy: Reward, *, ties: Ties = "first") -> Float[Array, "*batch"]:
    """Share of the true reward's range that is lost by optimising a proxy to the end.

    Args:
        mdp: World.
        true: The reward that counts, `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        proxy: The reward that is optimised, likewise.
        ties: Which of the policies optimal for the proxy is followed: in each state the "first" optimal action
            (the published definition), the one best for the true reward ("optimistic"), or the worst ("pessimistic").

    Returns:
        (J(best for true) - J(best for proxy)) / (max J - min J) in [0, 1], `(*batch)`, with J the true return;
        0 where the true reward is trivial.

    Source: lucyfarnik/starc, interpolation experiment; exact returns here where the official code samples them.
    """
    check_choice("ties", ties, ("first", "optimistic", "pessimistic"))
    true, proxy = mdp.checked_rewards(true=true, proxy=proxy)
    best, worst, followed = optimal_policy(mdp, true), optimal_policy(mdp, -true), optimal_policy(mdp, proxy)
    if ties == "first":
        reached = policy_return(mdp, true, followed.policy)
    elif ties == "optimistic":
        reached = optimal_policy(mdp, true, allowed=followed.optimal_actions).expected_return
    else:
        reached = -optimal_policy(mdp, -true, allowed=followed.optimal_actions).expected_return
    return _share_lost(best, worst, reached)


def symmetric_greedy_regret(mdp: FiniteMDP, reward_a: Reward, reward_b: Reward) -> Float[Array, "*batch"]:
    """Mean of the greedy regrets in both directions: what the published study correlates distances with.

    Args, Returns: as `greedy_regret`, with each reward once the true one and once the proxy, first tie taken.
    """
    reward_a, reward_b = mdp.checked_rewards(reward_a=reward_a, reward_b=reward_b)
    best_a, worst_a = optimal_policy(mdp, reward_a), optimal_policy(mdp, -reward_a)
    best_b, worst_b = optimal_policy(mdp, reward_b), optimal_policy(mdp, -reward_b)
    lost_a = _share_lost(best_a, worst_a, policy_return(mdp, reward_a, best_b.policy))
    lost_b = _share_lost(best_b, worst_b, policy_return(mdp, reward_b, best_a.policy))
    return (lost_a + lost_b) / 2


def worst_case_regret(mdp: FiniteMDP, true: Reward, proxy: Reward) -> WorstCaseRegret:
    """The most true return a change of policy can lose although the proxy does not fall, with the two policies.

    One linear program in the occupancies of both policies: maximise J(before) - J(after) such that the proxy's return
    of `after` is at least that of `before`. Always at least the greedy regret.

    Args:
        mdp: One world (no batch dimension).
        true: The reward that counts, `(S, A, S)` or `(S, A)`.
        proxy: The reward that is optimised, likewise.

    Returns:
        The regret as a share of the true reward's range, and the witness policies; regret 0 with two uniform
        policies where the true reward is trivial.

    Raises:
        ValueError: If the world or a reward has a batch dimension, or the linear program fails.

    Source: definition of soundness in STARC (arXiv 2309.15257); the linear program is derived here.
    """
    alive, flow = alive_flow(mdp)
    true, proxy = mdp.checked_rewards(true=true, proxy=proxy)
    directions = [to_numpy(advantages(mdp, reward)) for reward in (true, proxy)]
    if any(direction.ndim > 2 for direction in directions):
        raise ValueError("true and proxy: expected one reward each, got a batch; call once a pair")
    spread = float(return_range(mdp, true))
    uniform = np.full((mdp.states, mdp.actions), 1 / mdp.actions)
    largest = [np.abs(direction).max() for direction in directions]
    if spread <= _TRIVIAL_RANGE * float(np.abs(to_numpy(mdp.state_action_reward(true))).max()) or largest[0] == 0:
        return WorstCaseRegret(0.0, uniform, uniform)
    # advantages order policies as the rewards do, without the size of a shaping potential to lose digits to
    gain, proxy_gain = (
        direction[alive].ravel() / (size or 1.0) for direction, size in zip(directions, largest, strict=True)
    )
    scale = visits_scale(mdp)
    start = to_numpy(mdp.initial)[alive] / scale
    result = linprog(
        np.concatenate([-gain, gain]),
        A_ub=csr_array(np.concatenate([proxy_gain, -proxy_gain])[None, :]),
        b_ub=[0.0],
        A_eq=block_array([[flow.T, None], [None, flow.T]]),
        b_eq=np.concatenate([start, start]),
        bounds=(0, None),
        method="highs",
        options=LP_TOLERANCES,
    )
    if not result.success:
        raise ValueError(f"the linear program of the worst-case regret failed: {result.message}")
    before, after = (_policy_of(mdp, alive, visits) for visits in np.split(np.maximum(result.x, 0), 2))
    # the solver ignores coefficients below 1e-9, the returns of its two policies do not
    xp = array_namespace(mdp.transition)
    returns = [policy_return(mdp, true, xp.asarray(policy, device=mdp.transition.device)) for policy in (before, after)]
    return WorstCaseRegret(float(np.clip((float(returns[0]) - float(returns[1])) / spread, 0, 1)), before, after)


def _share_lost(best: OptimalPolicy, worst: OptimalPolicy, reached: Array) -> Array:
    xp = array_namespace(reached)
    spread = best.expected_return + worst.expected_return
    size = xp.maximum(xp.max(xp.abs(best.values), axis=-1), xp.max(xp.abs(worst.values), axis=-1))
    trivial = spread <= _TRIVIAL_RANGE * size
    share = (best.expected_return - reached) / xp.where(trivial, xp.ones_like(spread), spread)
    return xp.where(trivial, xp.zeros_like(share), xp.clip(share, 0.0, 1.0))


def _policy_of(mdp: FiniteMDP, alive: np.ndarray, visits: np.ndarray) -> np.ndarray:
    """The policy `(S, A)` with these visits; uniform where a state is never visited."""
    occupancy = np.zeros((mdp.states, mdp.actions))
    occupancy[alive] = visits.reshape(-1, mdp.actions)
    total = occupancy.sum(axis=-1, keepdims=True)
    return np.where(total > 0, occupancy / np.where(total > 0, total, 1), 1 / mdp.actions)
