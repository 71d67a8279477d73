"""Gymnasium's toy-text environments as exact worlds: transition probabilities, first states, ends and rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.toy_text.blackjack import BlackjackEnv
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv
from gymnasium.wrappers import NormalizeReward
from jaxtyping import Float, Int

from rewardlab.exact.blackjack import OBSERVATION_SHAPE, OUTCOMES, blackjack_chain
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.reward_function import StepReward, evaluate_step_reward

__all__ = ["ToyTextWorld", "from_gymnasium", "has_exact_world", "make_environment"]

_CHANGES_THE_WORLD = (
    gymnasium.RewardWrapper,
    gymnasium.ActionWrapper,
    gymnasium.ObservationWrapper,
    NormalizeReward,
)
_TAXI_STOPS = ("red", "green", "yellow", "blue", "the taxi")


@dataclass(frozen=True, eq=False)
class ToyTextWorld:
    """An environment of gymnasium as a finite MDP, with the reward it ships.

    States are what can be reached, in the order of the environment's observations, so where every observation can be
    reached (FrozenLake) state i is observation i. Reaching an end is a state of its own.

    Attributes:
        name: Id of the environment.
        mdp: The world. Time limits are not part of it: they cut an episode short, they do not end it.
        reward: The shipped reward `(S, A, S)`. Where several outcomes of an action with different rewards lead to the
            same state it is their mean. Transitions that cannot happen have no shipped reward; they get what arriving
            in the next state always pays, if that is always the same, or else what the action earns on average, so
            that a reward written as a function of the next state, or of state and action, is met everywhere.
        observations: The environment's observation in each state, `(S,)`. Blackjack's is
            (sum * 11 + dealer's card) * 2 + usable ace, and 704 to 708 for bust, loss, draw, win, win with a natural.
        state_labels: What each state is, in words.
        action_labels: What each action is, in words.
    """

    name: str
    mdp: FiniteMDP
    reward: Float[np.ndarray, "s a s"]
    observations: Int[np.ndarray, " s"]
    state_labels: tuple[str, ...]
    action_labels: tuple[str, ...]

    def tabulate(self, function: StepReward, name: str = "reward") -> Float[np.ndarray, "s a s"]:
        """A reward function on every combination of state, action and next state, also those that cannot happen.

        Args:
            function: `(state, action, next_state) -> reward` of observations and actions as integers. It is called once
                with arrays if it takes them, else once for each of the S * A * S transitions.
            name: What to call the reward in messages.

        Returns:
            Reward `(S, A, S)`.

        Raises:
            TypeError: If the signature does not fit or the function returns something that is not a number.
            ValueError: If it fails, or returns NaN or infinity; the message names the transition.

        Example:
            >>> world = from_gymnasium("FrozenLake-v1")
            >>> goal_only = world.tabulate(lambda state, action, next_state: 1.0 if next_state == 15 else 0.0)
            >>> bool((goal_only == world.reward).all())
            True
        """
        states, actions = self.mdp.states, self.mdp.actions
        index = np.indices((states, actions, states)).reshape(3, -1)
        values = evaluate_step_reward(
            function, self.observations[index[0]], index[1], self.observations[index[2]], name
        )
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            state, action, next_state = index[:, bad]
            raise ValueError(
                f"{name} is {values[bad]}, expected a finite number, at "
                f"state {self.observations[state]} ({self.state_labels[state]}), "
                f"action {action} ({self.action_labels[action]}), "
                f"next state {self.observations[next_state]} ({self.state_labels[next_state]})"
            )
        return values.reshape(states, actions, states)


class _Table(NamedTuple):
    """Outcomes of all actions, one a row, between raw states; `ended` is True where the episode is over."""

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    probability: np.ndarray
    reward: np.ndarray
    ended: np.ndarray
    initial: np.ndarray  # one a raw state, as are the next two
    observations: np.ndarray
    labels: Sequence[str]
    action_labels: Sequence[str]


def from_gymnasium(env: str | gymnasium.Env, *, discount: float = 0.99) -> ToyTextWorld:
    """A toy-text environment as an exact world: FrozenLake, CliffWalking, Taxi and Blackjack, with all their options.

    Args:
        env: Id, such as "FrozenLake-v1", or an environment made with options. An environment of your own works too if
            it has the attributes of the toy-text ones: `P[state][action]`, a list of (probability, next state, reward,
            terminated), and `initial_state_distrib`. Wrappers that limit time or record are looked through.
        discount: Discount factor in [0, 1].

    Returns:
        The world: transition probabilities, first states, ends and the shipped reward.

    Raises:
        ValueError: If gymnasium does not know the id, the environment has no exact transition probabilities, or it is
            wrapped in something that changes rewards, observations or actions.

    Example:
        >>> world = from_gymnasium("CliffWalking-v1", discount=0.99)
        >>> world.mdp.states, world.state_labels[int(world.mdp.initial.argmax())]
        (38, 'row 3, column 0')
    """
    if isinstance(env, str):
        made = make_environment(env)
        try:
            return from_gymnasium(made, discount=discount)
        finally:
            made.close()
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    _check_wrappers(env, name)
    if not has_exact_world(env):
        raise ValueError(_why_not(env, name))
    table = _blackjack(env.unwrapped) if isinstance(env.unwrapped, BlackjackEnv) else _tabular(env.unwrapped)
    return _world(name, table, discount)


def make_environment(name: str) -> gymnasium.Env:
    """`gymnasium.make`, with one kind of error.

    Raises:
        ValueError: If gymnasium cannot make it; the message passes on why.
    """
    try:
        return gymnasium.make(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"gymnasium cannot make {name!r}: {error}") from error


def has_exact_world(env: gymnasium.Env) -> bool:
    """Whether `from_gymnasium` can turn this environment into an exact world."""
    inner = env.unwrapped
    return isinstance(inner, BlackjackEnv) or (hasattr(inner, "P") and hasattr(inner, "initial_state_distrib"))


def _check_wrappers(env: gymnasium.Env, name: str) -> None:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, _CHANGES_THE_WORLD):
            raise ValueError(
                f"{name} is wrapped in {type(env).__name__}, which changes what it pays, shows or does; "
                f"pass the environment without it and write the change as a reward"
            )
        env = env.env


def _why_not(env: gymnasium.Env, name: str) -> str:
    space = env.observation_space
    continuous = isinstance(space, gymnasium.spaces.Box)
    kind = f"continuous observations of shape {space.shape}" if continuous else f"observations in {space}"
    return (
        f"{name} has {kind} and no table of transition probabilities (P and initial_state_distrib), "
        f"which an exact world needs; compare rewards from sampled transitions instead (--samples N)"
    )


def _tabular(env: gymnasium.Env) -> _Table:
    rows = [
        (state, action, int(next_state), float(probability), float(reward), bool(ended))
        for state, actions in env.P.items()
        for action, outcomes in actions.items()
        for probability, next_state, reward, ended in outcomes
    ]
    initial = np.asarray(env.initial_state_distrib, dtype=np.float64)
    labels, action_labels = _labels(env, len(initial))
    table = _Table(*_columns(rows), initial, np.arange(len(initial)), labels, action_labels)
    return _with_a_change_of_mind(table, env) if getattr(env, "fickle_passenger", False) else table


def _with_a_change_of_mind(table: _Table, env: TaxiEnv) -> _Table:
    """Taxi's fickle passenger: a bit drawn at the start, and spent when the taxi first moves with the passenger in it.

    The environment keeps the bit outside `P`. Raw state 500 + i is state i with the change of mind still to come.
    """
    states = len(table.initial)
    place, passenger, destination = table.state // 20, table.state // 4 % 5, table.state % 4
    changes = (passenger == 4) & (place != table.next_state // 20)
    kept = table._replace(state=table.state + states, next_state=table.next_state + states * ~table.ended)
    parts = [table[:6], [column[~changes] for column in kept[:6]]]
    for other in (1, 2, 3):  # each of the other three destinations
        next_state = table.next_state - table.next_state % 4 + (destination + other) % 4
        changed = kept._replace(next_state=next_state, probability=table.probability / 3)
        parts.append([column[changes] for column in changed[:6]])
    chance = getattr(env, "fickle_probability", 0.3)  # fixed before gymnasium 1.3
    return table._replace(
        **dict(zip(_Table._fields[:6], map(np.concatenate, zip(*parts, strict=True)), strict=True)),
        initial=np.concatenate([(1 - chance) * table.initial, chance * table.initial]),
        observations=np.concatenate([table.observations, table.observations]),
        labels=[*table.labels, *(f"{label}, who will think again" for label in table.labels)],
    )


def _blackjack(env: BlackjackEnv) -> _Table:
    chain = blackjack_chain(natural=bool(env.natural), sab=bool(env.sab))
    states = sorted({*chain.initial, *(row[0] for row in chain.outcomes), *(row[2] for row in chain.outcomes)})
    number = {state: index for index, state in enumerate(states)}
    rows = [(number[state], action, number[reached], *rest) for state, action, reached, *rest in chain.outcomes]
    initial = np.array([chain.initial.get(state, 0.0) for state in states])
    codes = np.array([code for code, _ in states])
    return _Table(*_columns(rows), initial, codes, [_hand_label(*state) for state in states], ("stick", "hit"))


def _columns(rows: list[tuple]) -> list[np.ndarray]:
    return [np.array(column) for column in zip(*(row for row in rows if row[3] > 0), strict=True)]


def _world(name: str, table: _Table, discount: float) -> ToyTextWorld:
    """The part of the table that can be reached, with a terminal state for every raw state in which an episode ends."""
    raw = len(table.initial)
    reached = table.initial > 0
    while True:
        going_on = reached[table.state] & ~table.ended
        grown = reached.copy()
        grown[table.next_state[going_on]] = True
        if (grown == reached).all():
            break
        reached = grown
    used = reached[table.state]
    node = 2 * table.next_state + table.ended  # a raw state is two nodes: passing through it, and ending in it
    nodes = np.unique(np.concatenate([2 * np.flatnonzero(reached), node[used]]))
    origin, ended = nodes // 2, nodes % 2 == 1
    index = np.full(2 * raw, -1)
    index[nodes] = np.arange(len(nodes))
    edges = (index[2 * table.state[used]], table.action[used], index[node[used]])
    labels = [table.labels[state] for state in origin]
    initial = np.where(ended, 0.0, table.initial[origin])
    transition, reward = _arrays(edges, table.probability[used], table.reward[used], len(table.action_labels), ended)
    mdp = FiniteMDP(transition, discount=discount, initial=initial, terminal=ended)
    return ToyTextWorld(name, mdp, reward, table.observations[origin], tuple(labels), tuple(table.action_labels))


def _arrays(edges, probability, reward, actions: int, terminal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transition probabilities and rewards from outcomes, of which several may join the same states."""
    states = len(terminal)
    transition, paid = np.zeros((2, states, actions, states))
    np.add.at(transition, edges, probability)
    np.add.at(paid, edges, probability * reward)
    least, most = np.full(states, np.inf), np.full(states, -np.inf)
    np.minimum.at(least, edges[2], reward)
    np.maximum.at(most, edges[2], reward)
    on_average = paid.sum(axis=-1, keepdims=True)
    impossible = np.where(least == most, most, on_average)
    possible = transition > 0
    rewards = np.where(possible & (least != most), paid / np.where(possible, transition, 1.0), impossible)
    ends = np.flatnonzero(terminal)
    transition[ends, :, ends] = 1.0
    return transition, rewards


def _labels(env: gymnasium.Env, states: int) -> tuple[Sequence[str], Sequence[str]]:
    if isinstance(env, FrozenLakeEnv):
        kinds = {b"S": " (start)", b"H": " (hole)", b"G": " (goal)"}
        tiles = [kinds.get(bytes(tile), "") for tile in env.desc.ravel()]
        cells = [f"row {i // env.ncol}, column {i % env.ncol}{tile}" for i, tile in enumerate(tiles)]
        return cells, ("left", "down", "right", "up")
    if isinstance(env, CliffWalkingEnv):
        columns = env.shape[1]
        return [f"row {i // columns}, column {i % columns}" for i in range(states)], ("up", "right", "down", "left")
    if isinstance(env, TaxiEnv):
        actions = ("south", "north", "east", "west", "pick up", "drop off")
        return [_taxi_label(*env.decode(state)) for state in range(states)], actions
    return [f"state {state}" for state in range(states)], [f"action {a}" for a in range(len(env.P[0]))]


def _taxi_label(row: int, column: int, passenger: int, destination: int) -> str:
    where = f"{'in' if passenger == 4 else 'at'} {_TAXI_STOPS[passenger]}"
    return f"taxi at row {row}, column {column}; passenger {where}, bound for {_TAXI_STOPS[destination]}"


def _hand_label(code: int, natural: bool) -> str:
    if code >= np.prod(OBSERVATION_SHAPE):
        return OUTCOMES[code - int(np.prod(OBSERVATION_SHAPE))]
    total, dealer, usable = np.unravel_index(code, OBSERVATION_SHAPE)
    kind = "a natural" if natural else f"{'soft' if usable else 'hard'} {total}"
    return f"{kind} against {'an ace' if dealer == 1 else dealer}"
