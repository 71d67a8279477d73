"""Batches of transitions, and rewards evaluated on them: the ground of every sample-based comparison."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from jaxtyping import Float, Num

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_array, check_choice, check_finite, check_scalar
from rewardlab.exact.evaluation import occupancy
from rewardlab.exact.mdp import FiniteMDP

__all__ = [
    "RewardFunction",
    "Rewards",
    "Transitions",
    "collect_transitions",
    "cover_transitions",
    "evaluate_rewards",
    "named_rewards",
    "tabular_reward",
    "visit_transitions",
]

RewardFunction = Callable[[Array, Array, Array, Array], Array]
"""`(states, actions, next_states, terminated) -> (n,)`: the argument order of the reward nets of `imitation`."""

Rewards = Mapping[str, RewardFunction] | Sequence[RewardFunction]
"""Rewards to compare: by name, or in a row."""


@dataclass(frozen=True, eq=False)
class Transitions:
    """Transitions, one a row, NumPy or torch. Nothing is said of their order: they need not form episodes.

    Attributes:
        states: `(n, ...)`, integers for discrete states.
        actions: `(n, ...)`.
        next_states: `(n, ...)`, of the shape of `states`.
        terminated: `(n,)` bool, True where the transition ended the episode for good (never at a time limit); by
            default nowhere.

    Raises:
        TypeError: If a field is not an array, or the fields mix NumPy and torch.
        ValueError: If there is no row, lengths or shapes disagree, or an entry is NaN or infinite (it is named).
    """

    states: Any
    actions: Any
    next_states: Any
    terminated: Any = None

    def __post_init__(self) -> None:
        xp = array_namespace(check_array("states", self.states))
        if self.states.ndim == 0 or self.states.shape[0] == 0:
            raise ValueError(
                f"states has shape {tuple(self.states.shape)}, expected (n, ...) with at least one transition"
            )
        rows = self.states.shape[0]
        if self.terminated is None:
            object.__setattr__(self, "terminated", xp.zeros(rows, dtype=xp.bool, device=self.states.device))
        for name in ("states", "actions", "next_states", "terminated"):
            value = getattr(self, name)
            if array_namespace(check_array(name, value)) is not xp:
                kinds = f"{type(value).__name__} but states is a {type(self.states).__name__}"
                raise TypeError(f"{name} is a {kinds}; use one library")
            if value.ndim == 0 or value.shape[0] != rows:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {rows} rows as in states")
            if xp.isdtype(value.dtype, "real floating"):
                check_finite(name, value)
        if self.next_states.shape != self.states.shape:
            raise ValueError(
                f"next_states has shape {tuple(self.next_states.shape)}, expected {tuple(self.states.shape)} as states"
            )
        if self.terminated.dtype != xp.bool or self.terminated.ndim != 1:
            raise ValueError(
                f"terminated is {self.terminated.dtype} {tuple(self.terminated.shape)}, expected bool ({rows},)"
            )

    def __len__(self) -> int:
        return self.states.shape[0]

    def rewards(self, rewards: Rewards) -> Float[np.ndarray, "k n"]:
        """Each reward on these transitions, `terminated` included, `(k, n)` float64."""
        named = named_rewards(rewards)
        return evaluate_rewards(named, self.states, self.actions, self.next_states, self.terminated)


def named_rewards(rewards: Rewards) -> dict[str, RewardFunction]:
    """Rewards by name; rewards in a row are called `rewards[0]`, `rewards[1]`, ...

    Raises:
        TypeError: If one of them cannot be called.
        ValueError: If there is none.
    """
    if not isinstance(rewards, Mapping):
        rewards = {f"rewards[{number}]": reward for number, reward in enumerate(rewards)}
    if not rewards:
        raise ValueError("rewards is empty, expected at least one reward function")
    for name, reward in rewards.items():
        if not callable(reward):
            raise TypeError(
                f"reward {name!r} is a {type(reward).__name__}, expected a function of (states, actions, next_states, "
                f"terminated); wrap a table with tabular_reward"
            )
    return dict(rewards)


def evaluate_rewards(
    rewards: Mapping[str, RewardFunction], states: Array, actions: Array, next_states: Array, terminated: Array
) -> Float[np.ndarray, "k n"]:
    """Each reward on n transitions, checked, `(k, n)` float64.

    Raises:
        TypeError: If a reward returns something that is not an array.
        ValueError: If a reward returns another shape than (n,), or a number that is not finite; the message names the
            reward, the row and the transition.
    """
    values = np.empty((len(rewards), states.shape[0]))
    for row, (name, reward) in zip(values, rewards.items(), strict=True):
        result = to_numpy(check_array(f"value of reward {name!r}", reward(states, actions, next_states, terminated)))
        if result.shape != row.shape:
            raise ValueError(
                f"reward {name!r} returned shape {result.shape}, expected {row.shape}: one number a transition"
            )
        row[:] = result
        if not np.isfinite(row).all():
            bad = int(np.flatnonzero(~np.isfinite(row))[0])
            where = f"state {states[bad]}, action {actions[bad]}, next state {next_states[bad]}"
            raise ValueError(f"reward {name!r} is {row[bad]} at row {bad} ({where}), expected a finite number")
    return values


def tabular_reward(table: Num[Array, "s a t"] | Num[Array, "s a"]) -> RewardFunction:
    """A reward table `(S, A, S)`, or `(S, A)`, as a function of integer states and actions.

    Example:
        >>> import numpy as np
        >>> reward = tabular_reward(np.arange(8.0).reshape(2, 2, 2))
        >>> reward(np.array([0, 1]), np.array([1, 1]), np.array([0, 1]), np.array([False, True]))
        array([2., 7.])
    """
    check_finite("table", check_array("table", table))
    if table.ndim not in (2, 3) or (table.ndim == 3 and table.shape[0] != table.shape[2]):
        raise ValueError(f"table has shape {tuple(table.shape)}, expected (S, A, S) or (S, A)")

    def reward(states: Array, actions: Array, next_states: Array, terminated: Array) -> Array:
        return table[states, actions, next_states] if table.ndim == 3 else table[states, actions]

    return reward


def cover_transitions(
    mdp: FiniteMDP,
    fraction: float = 1.0,
    *,
    among: Literal["all", "possible"] = "possible",
    rng: int | np.random.Generator = 0,
) -> Transitions:
    """A share of all transitions of a world, each at most once, drawn uniformly without replacement.

    Args:
        mdp: World without a batch dimension, in NumPy.
        fraction: Share to draw, in (0, 1], rounded to at least one transition.
        among: "possible": transitions of positive probability out of states that are not terminal. "all": all S * A * S
            combinations, also those that never happen.
        rng: Seed or generator.

    Returns:
        Transitions with integer states and actions; `terminated` is True on entering a terminal state.
    """
    check_scalar("fraction", fraction, low=0, high=1, open_low=True)
    check_choice("among", among, ("all", "possible"))
    _check_single(mdp)
    wanted = mdp.continuation > 0 if among == "possible" else np.ones(mdp.transition.shape, dtype=bool)
    triples = np.argwhere(wanted)
    count = max(1, round(fraction * len(triples)))
    chosen = np.sort(np.random.default_rng(rng).choice(len(triples), count, replace=False))
    return _tabular_transitions(mdp, *triples[chosen].T)


def visit_transitions(
    mdp: FiniteMDP,
    count: int,
    *,
    policy: Float[np.ndarray, "s a"] | None = None,
    rng: int | np.random.Generator = 0,
) -> Transitions:
    """Independent transitions as a policy meets them, from its discounted occupancy.

    Args:
        mdp: World without a batch dimension, in NumPy.
        count: Number of transitions, at least 1.
        policy: Action probabilities `(S, A)`; uniform by default.
        rng: Seed or generator.

    Returns:
        Transitions with integer states and actions; `terminated` is True on entering a terminal state.
    """
    check_scalar("count", count, low=1)
    _check_single(mdp)
    visits = occupancy(mdp, policy).ravel()
    generator = np.random.default_rng(rng)
    pairs = generator.choice(visits.size, count, p=visits / visits.sum())
    states, actions = np.divmod(pairs, mdp.actions)
    cumulative = np.cumsum(mdp.transition[states, actions], axis=-1)
    draws = generator.random((count, 1)) * cumulative[:, -1:]
    return _tabular_transitions(mdp, states, actions, (cumulative <= draws).sum(axis=-1))


def collect_transitions(env: gymnasium.Env, steps: int, rng: int | np.random.Generator = 0) -> Transitions:
    """Transitions of a gymnasium environment under uniformly random actions.

    Args:
        env: Environment whose observations and actions are numbers or arrays of one shape.
        steps: Number of transitions, at least 1; episodes are restarted as they end.
        rng: Seed or generator; seeds the environment and its action space.

    Returns:
        Transitions; `terminated` is True only where the environment terminated, not at a time limit.

    Raises:
        TypeError: If observations or actions are dictionaries, tuples or text.
    """
    check_scalar("steps", steps, low=1)
    for name, space in (("observation", env.observation_space), ("action", env.action_space)):
        if space.shape is None:
            raise TypeError(f"{name} space is {space}, expected Box, Discrete, MultiDiscrete or MultiBinary")
    seeds = np.random.default_rng(rng).integers(2**31, size=2)
    env.action_space.seed(int(seeds[0]))
    state, _ = env.reset(seed=int(seeds[1]))
    rows = []
    for _ in range(steps):
        action = env.action_space.sample()
        next_state, _, terminated, truncated, _ = env.step(action)
        rows.append((state, action, next_state, bool(terminated)))
        state = env.reset()[0] if terminated or truncated else next_state
    states, actions, next_states, ends = zip(*rows, strict=True)
    return Transitions(np.stack(states), np.stack(actions), np.stack(next_states), np.array(ends))


def _tabular_transitions(
    mdp: FiniteMDP, states: np.ndarray, actions: np.ndarray, next_states: np.ndarray
) -> Transitions:
    return Transitions(states, actions, next_states, mdp.terminal[next_states])


def _check_single(mdp: FiniteMDP) -> None:
    if mdp.batch_shape:
        raise ValueError(f"mdp has batch shape {mdp.batch_shape}, expected one world; index the batch first")
