"""Optimal behaviour: policy iteration that ends exactly, with all ties, and the soft-optimal policy."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_array, check_broadcast, check_scalar
from rewardlab.exact.evaluation import expected_next, uniform_policy, values_of_earnings
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = ["OptimalPolicy", "SoftOptimalPolicy", "optimal_policy", "soft_optimal_policy"]

# Both are relative to the largest value times the effective horizon, because solves lose digits as the horizon grows.
_TIE = 1e-12  # actions this close are equally good
_ROUNDING = 1e-14  # an improvement below this is rounding, and following it could cycle for ever
_MOST_ITERATIONS = 10_000  # policy iteration needs tens; only rounding in a nearly singular world could need more


class OptimalPolicy(NamedTuple):
    """What `optimal_policy` returns.

    Attributes:
        action: Optimal action with the lowest index in each state, `(*batch, S)`.
        policy: The same as probabilities, `(*batch, S, A)`.
        optimal_actions: True for every action that is optimal, `(*batch, S, A)`: the tie sets.
        values: Optimal state values `(*batch, S)`.
        expected_return: Optimal return from the initial distribution, `(*batch)`.
    """

    action: Int[Array, "*batch s"]
    policy: Float[Array, "*batch s a"]
    optimal_actions: Bool[Array, "*batch s a"]
    values: Float[Array, "*batch s"]
    expected_return: Float[Array, "*batch"]


class SoftOptimalPolicy(NamedTuple):
    """What `soft_optimal_policy` returns: probabilities `(*batch, S, A)` and soft values `(*batch, S)`."""

    policy: Float[Array, "*batch s a"]
    values: Float[Array, "*batch s"]


def optimal_policy(
    mdp: FiniteMDP, reward: Reward, *, allowed: Bool[Array, "*#batch s a"] | None = None
) -> OptimalPolicy:
    """Optimal policy by policy iteration, batched over worlds and rewards.

    An action changes only where another is better by more than rounding, so the iteration cannot cycle among ties:
    it ends after finitely many direct solves with a policy whose values solve Bellman's equation. Actions within
    1e-12 of the best, relative to the largest value times the horizon 1 / (1 - discount), are reported as ties.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        allowed: True for the actions that may be taken, `(*batch, S, A)`; every action by default.

    Returns:
        The optimal policy, its ties, values and return; the batch is the broadcast of world, reward and `allowed`.

    Raises:
        TypeError, ValueError: If the reward does not fit the world, or some state has no allowed action.
    """
    state_action = mdp.state_action_reward(reward)
    xp = array_namespace(state_action)
    _check_allowed(mdp, allowed)
    batch = (*_broadcast_batch(mdp, state_action, allowed), mdp.states, mdp.actions)
    values, action_values = _policy_iteration(mdp, xp.broadcast_to(state_action, batch), allowed)
    best = xp.max(action_values, axis=-1, keepdims=True)
    ties = action_values >= best - _TIE * (_horizon(mdp.discount_for(1)) * _size(action_values, values))[..., None]
    action = xp.argmax(xp.astype(ties, xp.uint8), axis=-1)
    policy = xp.astype(xp.arange(mdp.actions, device=action.device) == action[..., None], xp.float64)
    return OptimalPolicy(action, policy, ties, values, xp.linalg.vecdot(mdp.initial, values))


def soft_optimal_policy(mdp: FiniteMDP, reward: Reward, temperature: float = 1.0) -> SoftOptimalPolicy:
    """The policy that maximises return plus temperature times entropy (maximum causal entropy).

    Soft policy iteration: each step evaluates the policy with its entropy by a direct solve, then softens the
    action values; it converges quadratically and stops when values move by less than 1e-12 of their size, or, where
    discounts near 1 amplify rounding, when they no longer come nearer.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        temperature: Weight of the entropy in units of reward, above 0.

    Returns:
        Policy proportional to exp(action value / temperature), and the soft values
        V = temperature * logsumexp(Q / temperature).

    Raises:
        ValueError: If the temperature is not above 0.
        RuntimeError: If 1000 iterations do not converge.
    """
    check_scalar("temperature", temperature, low=0, open_low=True)
    state_action = mdp.state_action_reward(reward)
    xp = array_namespace(state_action)
    shape = (*_broadcast_batch(mdp, state_action, None), mdp.states, mdp.actions)
    batch = xp.broadcast_to(state_action, shape)
    alive = xp.astype(~mdp.terminal, xp.float64)
    values = xp.zeros_like(batch[..., 0])
    change = xp.full_like(values[..., 0], math.inf)
    for _ in range(1000):
        action_values = batch + expected_next(mdp, values)
        top = xp.max(action_values, axis=-1)
        weights = xp.exp((action_values - top[..., None]) / temperature)
        total = xp.sum(weights, axis=-1)
        policy = weights / total[..., None]
        log_policy = (action_values - top[..., None]) / temperature - xp.log(total)[..., None]
        earned = xp.sum(policy * (batch - temperature * log_policy), axis=-1) * alive
        updated = values_of_earnings(mdp, earned, policy)
        previous, change, values = change, xp.max(xp.abs(updated - values), axis=-1), updated
        size = temperature + xp.max(xp.abs(values), axis=-1)
        rounding = (change <= 1e-6 * size) & (change > previous / 2)  # so near, a step that does not square the error
        if bool(xp.all((change <= 1e-12 * size) | rounding)):
            return SoftOptimalPolicy(policy, values)
    raise RuntimeError(f"soft policy iteration still moves by {float(xp.max(change)):.2g} after 1000 iterations")


def _policy_iteration(mdp: FiniteMDP, rewards: Array, allowed: Array | None) -> tuple[Array, Array]:
    """Optimal values and action values of rewards `(*batch, S, A)`, solving only where the policy still changes."""
    xp = array_namespace(rewards)
    shape = tuple(rewards.shape)
    world, discount = _world_of_each_reward(mdp, shape[:-2])
    start = values_of_earnings(mdp, xp.mean(rewards, axis=-1), uniform_policy(mdp))
    action_values = rewards + expected_next(mdp, start)  # one improvement of the uniform policy is a good start
    if allowed is not None:
        blocked = xp.full_like(rewards, -math.inf)
        rewards, action_values = xp.where(allowed, rewards, blocked), xp.where(allowed, action_values, blocked)
    rewards = xp.reshape(rewards, (-1, *shape[-2:]))
    action_values = xp.reshape(action_values, rewards.shape)
    values, action = xp.zeros_like(rewards[..., 0]), xp.argmax(action_values, axis=-1)
    active = xp.arange(rewards.shape[0], device=rewards.device)
    for _ in range(_MOST_ITERATIONS):
        chosen, reward, scale = action[active], rewards[active], discount[active]
        solved = _solve_policy(mdp, world[active], chosen, reward, scale)
        improved = reward + scale[:, None, None] * _next_values(mdp, world[active], solved)
        values[active], action_values[active] = solved, improved
        gain = xp.max(improved, axis=-1) - _take(improved, chosen)
        better = gain > _ROUNDING * _horizon(scale)[:, None] * _size(improved, solved)
        action[active] = xp.where(better, xp.argmax(improved, axis=-1), chosen)
        active = active[xp.any(better, axis=-1)]
        if active.shape[0] == 0:
            return xp.reshape(values, shape[:-1]), xp.reshape(action_values, shape)
    raise RuntimeError(f"policy iteration did not end after {_MOST_ITERATIONS} steps; is the world ill-conditioned?")


def _world_of_each_reward(mdp: FiniteMDP, batch: tuple[int, ...]) -> tuple[Array, Array]:
    """For each reward of the flattened batch, the index of its world and its discount."""
    xp = array_namespace(mdp.transition)
    worlds = xp.arange(math.prod(mdp.batch_shape), device=mdp.transition.device)
    world = xp.reshape(xp.broadcast_to(xp.reshape(worlds, mdp.batch_shape), batch), (-1,))
    if isinstance(mdp.discount, float):
        return world, xp.full_like(world, mdp.discount, dtype=xp.float64)
    return world, xp.reshape(xp.broadcast_to(mdp.discount, batch), (-1,))


def _solve_policy(mdp: FiniteMDP, world: Array, action: Array, reward: Array, discount: Array) -> Array:
    """Values `(n, S)` of deterministic policies `(n, S)`, one direct solve each."""
    xp = array_namespace(reward)
    rows = xp.reshape(mdp.continuation, (-1, mdp.states))
    state = xp.arange(mdp.states, device=action.device)
    step = rows[(world[:, None] * mdp.states + state) * mdp.actions + action]
    matrix = xp.eye(mdp.states, dtype=step.dtype, device=step.device) - discount[:, None, None] * step
    return xp.linalg.solve(matrix, _take(reward, action)[..., None])[..., 0]


def _next_values(mdp: FiniteMDP, world: Array, values: Array) -> Array:
    """Expected value of the next state `(n, S, A)`, without copying a world that all share."""
    xp = array_namespace(values)
    rows = xp.reshape(mdp.continuation, (-1, mdp.states * mdp.actions, mdp.states))
    if rows.shape[0] == 1:
        following = xp.matmul(values, xp.matrix_transpose(rows[0]))
    else:
        following = xp.matmul(rows[world], values[..., None])[..., 0]
    return xp.reshape(following, (*values.shape, mdp.actions))


def _take(table: Array, action: Array) -> Array:
    """`table[..., s, action[..., s]]`: the entry of the chosen action in each state."""
    return array_namespace(table).take_along_axis(table, action[..., None], axis=-1)[..., 0]


def _size(action_values: Array, values: Array) -> Array:
    """Largest value in each world, `(*batch, 1)`."""
    xp = array_namespace(values)
    best = xp.max(xp.abs(xp.max(action_values, axis=-1)), axis=-1, keepdims=True)
    return xp.maximum(best, xp.max(xp.abs(values), axis=-1, keepdims=True))


def _horizon(discount: Array | float) -> Array | float:
    """Effective number of steps 1 / (1 - discount), held below 1000 so that it also serves without discounting."""
    return 1 / (1 - discount + 1e-3)


def _check_allowed(mdp: FiniteMDP, allowed: Array | None) -> None:
    if allowed is None:
        return
    xp = array_namespace(check_array("allowed", allowed, like=mdp.transition))
    if allowed.dtype != xp.bool:
        raise TypeError(f"allowed has dtype {allowed.dtype}, expected bool (True where the action may be taken)")
    if tuple(allowed.shape[-2:]) != (mdp.states, mdp.actions):
        raise ValueError(f"allowed has shape {tuple(allowed.shape)}, expected (*batch, {mdp.states}, {mdp.actions})")
    stuck = ~xp.any(allowed, axis=-1)
    if bool(xp.any(stuck)):
        state = int(np.argwhere(to_numpy(stuck))[0][-1])
        raise ValueError(f"allowed has no action for state {state}, expected at least one in each state")


def _broadcast_batch(mdp: FiniteMDP, state_action: Array, allowed: Array | None) -> tuple[int, ...]:
    shapes = {"reward": tuple(state_action.shape[:-2]), "mdp": mdp.batch_shape}
    if allowed is not None:
        shapes["allowed"] = tuple(allowed.shape[:-2])
    return check_broadcast(**shapes)
