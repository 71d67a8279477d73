"""Canonical forms estimated by sampling: rewards are functions that can be asked about any transition.

The samples inside an expectation are the same for every state and every reward. The noise they bring is then itself a
shaping term, equal for rewards that are equivalent: those have distance 0 with any number of samples. With samples of
its own each reward would get noise of its own, and equivalent rewards would look far apart.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_scalar
from rewardlab.distance.transition_index import (
    ROWS_AT_ONCE,
    distinct_rows,
    evaluate_numbered,
    index_transitions,
    never,
    take,
)
from rewardlab.distance.transitions import RewardFunction, Rewards, Transitions, evaluate_rewards, named_rewards

__all__ = ["Successors", "dard_by_sampling", "epic_by_sampling"]

Successors = Callable[[Array, Array, np.random.Generator], Array]
"""`(states, actions, rng) -> next_states`, one draw from the dynamics a row: for continuous states."""


def epic_by_sampling(
    rewards: Rewards,
    transitions: Transitions,
    discount: float,
    *,
    canonical_samples: int | None = None,
    states: Array | None = None,
    actions: Array | None = None,
    rng: int | np.random.Generator = 0,
) -> Float[np.ndarray, "k n"]:
    """Canonically shaped rewards of EPIC on a batch of transitions.

    `R(s,a,s') + discount * p(s') - p(s) - discount * mean of p`, with `p(s)` the mean of `R(s, A, S')` over shared
    draws of actions and states, independent of each other. Each distinct state meets each distinct draw once.

    Args:
        rewards: k reward functions, by name or in a row.
        transitions: n transitions, drawn from the coverage distribution.
        discount: Discount factor in [0, 1].
        canonical_samples: Number of draws (action, state) inside the expectations. By default every combination of the
            given states and actions, weighted by its frequency, where these are no more than the transitions, which is
            exact; otherwise as many draws as transitions.
        states: Samples of the state distribution, `(m, ...)`; by default the states of the transitions.
        actions: Samples of the action distribution, `(m, ...)`; by default the actions of the transitions.
        rng: Seed or generator of the draws.

    Returns:
        Canonical rewards `(k, n)`, in the order of `rewards`.

    Raises:
        TypeError, ValueError: If an argument does not fit, or a reward returns anything but n finite numbers.

    Source: Gleave et al. 2021 (arXiv 2006.13900), sample-based approximation; `terminated` counts as False
        throughout, as in the official code, because the theory is that of an infinite horizon.
    """
    named, index = named_rewards(rewards), index_transitions(transitions, states)
    check_scalar("discount", discount, low=0, high=1)
    state_draws = index.origin if states is None else index.others
    action_rows, action_draws = index.actions, index.action
    if actions is not None:
        first, action_draws = distinct_rows(actions)
        action_rows = take(actions, first)
    drawn_action, drawn_state, weight = _draws(action_draws, state_draws, canonical_samples, len(transitions), rng)
    asked = np.unique(np.concatenate([index.origin, index.target, drawn_state]))
    expected = np.zeros((len(named), len(index.states)))
    step = max(1, ROWS_AT_ONCE // len(weight))
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        jumps = np.repeat(part, len(weight)), np.tile(drawn_action, len(part)), np.tile(drawn_state, len(part))
        values = evaluate_numbered(named, index.states, action_rows, jumps)
        expected[:, part] = values.reshape(len(named), len(part), -1) @ weight
    overall = expected[:, drawn_state] @ weight
    own = evaluate_numbered(named, index.states, index.actions, index.numbers)
    return own + discount * expected[:, index.target] - expected[:, index.origin] - discount * overall[:, None]


def dard_by_sampling(
    rewards: Rewards,
    transitions: Transitions,
    discount: float,
    successors: Successors,
    *,
    canonical_samples: int = 64,
    rng: int | np.random.Generator = 0,
) -> Float[np.ndarray, "k n"]:
    """Dynamics-aware canonical rewards of DARD on a batch of transitions, next states drawn from a model of the world.

    Each transition (s, a, s') meets the same actions A, drawn from the actions of the transitions; from a distinct
    state and a draw of A there is one next state, whichever transition asks. One draw of A serves both next states
    of a term.

    Args:
        rewards: k reward functions, by name or in a row.
        transitions: n transitions to compare on.
        discount: Discount factor in [0, 1].
        successors: The dynamics: `(states, actions, rng) -> next_states`.
        canonical_samples: Number of draws of A.
        rng: Seed or generator of the draws.

    Returns:
        Canonical rewards `(k, n)`.

    Raises:
        TypeError, ValueError: If an argument does not fit, `successors` returns another shape than its states, or a
            reward returns anything but finite numbers.

    Source: Wulfe et al. 2022 (arXiv 2201.10081), dynamics-aware transformation.
    """
    named, index = named_rewards(rewards), index_transitions(transitions)
    check_scalar("discount", discount, low=0, high=1)
    check_scalar("canonical_samples", canonical_samples, low=1)
    generator = np.random.default_rng(rng)
    action = index.action[generator.integers(len(transitions), size=canonical_samples)]
    count = len(index.states)
    repeated = take(index.states, np.repeat(np.arange(count), canonical_samples))
    acting = take(index.actions, np.tile(action, count))
    following = successors(repeated, acting, generator)
    if array_namespace(following) is not array_namespace(repeated) or following.shape != repeated.shape:
        raise ValueError(
            f"successors returned {type(following).__name__} {tuple(following.shape)}, "
            f"expected {tuple(repeated.shape)} like its states"
        )
    values = evaluate_rewards(named, repeated, acting, following, never(repeated))
    expected = values.reshape(len(named), count, canonical_samples).mean(axis=-1)
    pairs, pair = distinct_rows(np.stack([index.origin, index.target], axis=1))
    meeting = _meetings(named, index.origin[pairs], index.target[pairs], following, take(index.actions, action))
    own = evaluate_numbered(named, index.states, index.actions, index.numbers)
    shaped = own + discount * expected[:, index.target] - expected[:, index.origin]
    return shaped - discount * meeting[:, pair]


def _draws(actions, states, samples, default, rng):
    """Numbers of the distinct (action, state) draws and their weights, which sum to 1."""
    if samples is None:
        action_share, state_share = (np.bincount(numbers) / len(numbers) for numbers in (actions, states))
        kinds_of_action, kinds_of_state = np.flatnonzero(action_share), np.flatnonzero(state_share)
        if len(kinds_of_action) * len(kinds_of_state) <= default:
            action, state = (grid.ravel() for grid in np.meshgrid(kinds_of_action, kinds_of_state, indexing="ij"))
            return action, state, action_share[action] * state_share[state]
        samples = default
    check_scalar("canonical_samples", samples, low=1)
    generator = np.random.default_rng(rng)
    action = actions[generator.integers(len(actions), size=samples)]
    state = states[generator.integers(len(states), size=samples)]
    first, number = distinct_rows(np.stack([action, state], axis=1))
    return action[first], state[first], np.bincount(number) / samples


def _meetings(
    rewards: Mapping[str, RewardFunction], origin: np.ndarray, target: np.ndarray, following: Array, actions: Array
) -> np.ndarray:
    """Mean over the draws of A of `R(S', A, S'')`, with S' following each origin and S'' following each target."""
    samples = actions.shape[0]
    result = np.empty((len(rewards), len(origin)))
    step = max(1, ROWS_AT_ONCE // samples)
    draw = np.arange(samples)
    for start in range(0, len(origin), step):
        part = slice(start, start + step)
        came_from = take(following, (origin[part, None] * samples + draw).ravel())
        going_to = take(following, (target[part, None] * samples + draw).ravel())
        acting = take(actions, np.tile(draw, len(origin[part])))
        values = evaluate_rewards(rewards, came_from, acting, going_to, never(came_from))
        result[:, part] = values.reshape(len(rewards), -1, samples).mean(axis=-1)
    return result
