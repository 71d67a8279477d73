"""Tabular SARSA with advice in every form, all learners and runs in one batch: what the theory's limits hide."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from rewardlab.checks import as_generator, check_choice, check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.arbitrary_advice import explicit_weight
from rewardlab.shaping.rule import shaping_reward

__all__ = ["AdvisedLearner", "SarsaRuns", "advised_sarsa"]

Method = Literal["plain", "added", "dynamic", "dynamic_corrected", "explicit"]
Follows = Literal["taken", "least_advised"]

BLOCK = 512  # steps whose random numbers are drawn at once
DRAWS = 8  # of each step and run: next state, explore?, which action; the same for the start of an episode; and for
# the action that a potential is learned from: explore?, which action


@dataclass(frozen=True, eq=False)
class AdvisedLearner:
    """What a learner does with its advice.

    Args:
        method: `plain` learns from the reward alone. `added` from reward plus advice. `dynamic` from the reward and
            look-ahead advice by a potential that it learns beside (dynamic potential-based advice), and acts as
            published, on its values plus the potential it started with, which is 0. `dynamic_corrected` acts on its
            values plus the present potential: right at the fixed point, and no remedy on the way to it, where the
            potential moves faster than the values. `explicit` learns from the reward alone and acts on its values less
            the weighted potential (policy-invariant explicit shaping).
        advice: The advice as a reward, `(S, A, S)` or `(S, A)`; None for `plain`.
        decay: Episodes until explicit advice is silent; for `explicit` only.
        potential_discount: Discount that the potential is learned with, in [0, 1]; the world's by default. A lower
            one keeps the potential small; for `explicit` only, as the others pay it by the world's.
        potential_follows: The action in the next state that the potential is learned from: `taken`, as potentials of
            advice are defined, or `least_advised`, the action whose potential is largest (any, where it explores), as
            the code of arXiv 2011.01297 has it: potentials are negative, so theirs stay small. For `explicit` only.

    Raises:
        ValueError: If the method is unknown, what it needs is missing, or it is given what it has no use for.
    """

    method: Method
    advice: Any = None
    decay: float | None = None
    potential_discount: float | None = None
    potential_follows: Follows = "taken"

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(Method))
        if (self.advice is None) != (self.method == "plain"):
            raise ValueError(f"method {self.method!r} {'takes no' if self.method == 'plain' else 'needs'} advice")
        check_choice("potential_follows", self.potential_follows, get_args(Follows))
        own = (self.decay, self.potential_discount, self.potential_follows)
        if self.method != "explicit" and own != (None, None, "taken"):
            settings = "decay, potential_discount and potential_follows"
            raise ValueError(f"{settings} are for method 'explicit', not {self.method!r}")
        if self.method == "explicit":
            if self.decay is None:
                raise ValueError("method 'explicit' needs decay, the number of episodes until the advice is silent")
            check_scalar("decay", self.decay, low=0.0, open_low=True)
        if self.potential_discount is not None:
            check_scalar("potential_discount", self.potential_discount, low=0.0, high=1.0)


class SarsaRuns(NamedTuple):
    """What came of every learner and run.

    Args:
        learners: Their names, in the order of the first axis.
        steps: Steps of each episode, the largest allowed where it was cut, `(learners, runs, episodes)`.
        returns: Undiscounted sum of the reward alone over each episode, `(learners, runs, episodes)`.
        action_values: In the end, `(learners, runs, S, A)`.
        potentials: In the end, 0 for learners that learn none, `(learners, runs, S, A)`.
    """

    learners: tuple[str, ...]
    steps: Int[np.ndarray, "learners runs episodes"]
    returns: Float[np.ndarray, "learners runs episodes"]
    action_values: Float[np.ndarray, "learners runs s a"]
    potentials: Float[np.ndarray, "learners runs s a"]

    def of(self, learner: str, field: str = "steps") -> np.ndarray:
        """One learner's part of a field.

        Raises:
            ValueError: If there is no such learner.
        """
        check_choice("learner", learner, self.learners)
        return getattr(self, field)[self.learners.index(learner)]


def advised_sarsa(
    mdp: FiniteMDP,
    reward: Reward,
    learners: Mapping[str, AdvisedLearner],
    *,
    seeds: int = 20,
    episodes: int,
    max_steps: int,
    learning_rate: float = 0.05,
    potential_rate: float = 0.1,
    exploration: float = 0.1,
    rng: int | np.random.Generator = 0,
) -> SarsaRuns:
    """Train several learners, several times each, by one-step SARSA with tables that start at 0.

    Actions are the best by what the learner's method looks at, ties evenly, and with probability `exploration` any.
    A cut is no ending: the last step of an episode that is cut bootstraps like every other. Episodes that would begin
    in a terminal state have no step, and are not counted. Run k of every learner has the same luck, and a learner's
    numbers do not depend on which others there are.

    Args:
        mdp: One world, of NumPy arrays.
        reward: What is meant, `(S, A, S)` or `(S, A)`.
        learners: Name -> what the learner does with its advice.
        seeds: Independent repetitions.
        episodes: Episodes of a run.
        max_steps: An episode is cut after so many steps.
        learning_rate: Of the action values, in (0, 1].
        potential_rate: Of learned potentials, in (0, 1]; theory wants it the larger of the two.
        exploration: Share of choices made evenly among all actions, in [0, 1].
        rng: Seed or generator.

    Returns:
        Curves and final tables of all of them.

    Raises:
        TypeError: If the world is not of NumPy arrays, or a number is none.
        ValueError: If the world is a batch or begins in terminal states only, a reward or advice does not fit it,
            there is no learner, or a number is out of range.

    Source: Harutyunyan et al. 2015 (AAAI), equations 9 to 12; arXiv 2011.01297.

    Example:
        >>> world = FiniteMDP(np.ones((1, 2, 1)), discount=0.5)
        >>> bad = AdvisedLearner("dynamic", advice=np.array([[0.0, 2.0]]))
        >>> reward = np.array([[1.0, 0.0]])
        >>> found = advised_sarsa(world, reward, {"bad": bad}, seeds=2, episodes=20, max_steps=100, rng=0)
        >>> bool(found.of("bad", "returns")[:, 10:].mean() < 20)  # the arm that pays, in less than one step of five
        True
    """
    _check_world(mdp, learners)
    for name, value in (("seeds", seeds), ("episodes", episodes), ("max_steps", max_steps)):
        check_scalar(name, value, low=1, whole=True)
    for name, value in (("learning_rate", learning_rate), ("potential_rate", potential_rate)):
        check_scalar(name, value, low=0.0, high=1.0, open_low=True)
    check_scalar("exploration", exploration, low=0.0, high=1.0)
    batch = _Batch(mdp, reward, learners, seeds, episodes, max_steps, learning_rate, potential_rate, exploration)
    batch.train(as_generator(rng))
    shape = (len(learners), seeds)
    return SarsaRuns(
        tuple(learners),
        batch.lengths.reshape(*shape, episodes),
        batch.returns.reshape(*shape, episodes),
        batch.values.reshape(*shape, mdp.states, mdp.actions),
        batch.potentials.reshape(*shape, mdp.states, mdp.actions),
    )


class _World:
    """A world as draws need it: for each state and action only the next states that are possible."""

    def __init__(self, mdp: FiniteMDP, tables: list[np.ndarray]) -> None:
        flat = np.asarray(mdp.transition).reshape(-1, mdp.states)
        self.width = int((flat > 0).sum(axis=1).max())
        self.next_state = np.argsort(flat == 0, axis=1, kind="stable")[:, : self.width]
        chance = np.take_along_axis(flat, self.next_state, axis=1)
        cumulative = chance.cumsum(axis=1)[:, :-1]
        last = (chance > 0).sum(axis=1, keepdims=True) - 1
        self.cumulative = np.where(np.arange(self.width - 1) >= last, np.inf, cumulative)
        self.next_state = self.next_state.ravel()
        picked = self.next_state.reshape(len(flat), -1)
        flat_tables = (table.reshape(flat.shape) for table in tables)
        self.rewards = np.stack([np.take_along_axis(table, picked, axis=1) for table in flat_tables]).reshape(-1)
        self.terminal = np.asarray(mdp.terminal)
        start = np.where(self.terminal, 0.0, mdp.initial)
        self.start = (start / start.sum()).cumsum()[:-1]
        self.size = flat.shape[0] * self.width

    def draw(self, pair: np.ndarray, luck: np.ndarray) -> np.ndarray:
        """Which transition follows each pair of state and action."""
        if self.width == 1:
            return pair
        return pair * self.width + (luck[:, None] >= self.cumulative[pair]).sum(axis=1)


class _Batch:
    """All learners and runs side by side, each in its own episode; what has finished drops out."""

    def __init__(self, mdp, reward, learners, runs, episodes, max_steps, learning_rate, potential_rate, exploration):
        kinds = list(learners.values())
        self.world = _World(mdp, _tables(mdp, reward, learners))
        self.actions, self.pairs = mdp.actions, mdp.states * mdp.actions
        self.discount, self.rate, self.exploration = mdp.discount, learning_rate, exploration
        self.episodes, self.max_steps = episodes, max_steps
        count = len(kinds) * runs
        self.lengths = np.zeros((count, episodes), dtype=np.int64)
        self.returns = np.zeros((count, episodes))
        self.values, self.potentials = np.zeros((2, count * self.pairs))
        self.live = {
            "index": np.arange(count),
            "luck": np.tile(np.arange(runs), len(kinds)),
            "advice": np.repeat(np.arange(1, len(kinds) + 1), runs) * self.world.size,
            "adds": np.repeat([float(kind.method == "added") for kind in kinds], runs),
            "pays": np.repeat([float(kind.method.startswith("dynamic")) for kind in kinds], runs),
            "looks": np.repeat([_looks(kind, 0) for kind in kinds], runs),
            "learns": np.repeat([potential_rate * (kind.method not in ("plain", "added")) for kind in kinds], runs),
            "decay": np.repeat([np.inf if kind.decay is None else kind.decay for kind in kinds], runs),
            "forgets": np.repeat(
                [mdp.discount if kind.potential_discount is None else kind.potential_discount for kind in kinds], runs
            ),
            "coded": np.repeat([kind.potential_follows == "least_advised" for kind in kinds], runs),
            "state": np.zeros(count, dtype=np.int64),
            "action": np.zeros(count, dtype=np.int64),
            "taken": np.zeros(count, dtype=np.int64),
            "episode": np.zeros(count, dtype=np.int64),
            "earned": np.zeros(count),
        }

    def train(self, rng: np.random.Generator) -> None:
        runs = int(self.live["luck"].max()) + 1
        self._begin(np.arange(len(self.live["index"])), rng.random((runs, 3)))
        while True:
            for luck in rng.random((BLOCK, runs, DRAWS)):
                self._step(luck[self.live["luck"]])
                if not len(self.live["index"]):
                    return

    def _step(self, luck: np.ndarray) -> None:
        live, world = self.live, self.world
        here = live["state"] * self.actions + live["action"]
        drawn = world.draw(here, luck[:, 0])
        arrived = world.next_state[drawn]
        reward, advice = world.rewards[drawn], world.rewards[drawn + live["advice"]]
        action = self._choose(live["index"], live["looks"], arrived, luck[:, 1], luck[:, 2])
        goes_on = 1.0 - world.terminal[arrived]
        first = live["index"] * self.pairs
        here, there = first + here, first + arrived * self.actions + action
        left, followed = self.potentials[here], there
        if live["coded"].any():
            least = self._pick(self._rows(self.potentials, live["index"], arrived), luck[:, 6], luck[:, 7])
            followed = np.where(live["coded"], first + arrived * self.actions + least, there)
        error = goes_on * live["forgets"] * self.potentials[followed] - advice - left
        self.potentials[here] = left + live["learns"] * error
        # the potential of the pair that follows as it is after this step's update; of the one left as it was before
        shaping = shaping_reward(left, self.potentials[there], discount=self.discount, bootstraps=goes_on)
        paid = reward + live["adds"] * advice + live["pays"] * shaping
        value = self.values[here]
        self.values[here] = value + self.rate * (paid + goes_on * self.discount * self.values[there] - value)
        live["state"], live["action"] = arrived, action
        live["taken"] += 1
        live["earned"] += reward
        done = (goes_on == 0) | (live["taken"] == self.max_steps)
        if done.any():
            self._end(np.flatnonzero(done), luck)

    def _choose(self, index, looks, state, explore, pick) -> np.ndarray:
        """The best action by values plus so much of the potential, ties evenly; any, where it explores."""
        scores = self._rows(self.values, index, state) + looks[:, None] * self._rows(self.potentials, index, state)
        return self._pick(scores, explore, pick)

    def _rows(self, table: np.ndarray, index: np.ndarray, state: np.ndarray) -> np.ndarray:
        return table.reshape(-1, self.actions)[index * (self.pairs // self.actions) + state]

    def _pick(self, scores: np.ndarray, explore: np.ndarray, pick: np.ndarray) -> np.ndarray:
        open_to = scores == scores.max(axis=1, keepdims=True)
        open_to |= (explore < self.exploration)[:, None]
        counted = open_to.cumsum(axis=1)
        return (counted <= (pick * counted[:, -1]).astype(np.int64)[:, None]).sum(axis=1)

    def _end(self, rows: np.ndarray, luck: np.ndarray) -> None:
        live = self.live
        index, episode = live["index"][rows], live["episode"][rows]
        self.lengths[index, episode], self.returns[index, episode] = live["taken"][rows], live["earned"][rows]
        live["taken"][rows], live["earned"][rows] = 0, 0.0
        live["episode"][rows] += 1
        explicit = rows[np.isfinite(live["decay"][rows])]
        for row in explicit:
            weight = explicit_weight(int(live["episode"][row]), float(live["decay"][row]))
            live["looks"][row] = -weight
            if not weight:  # silent for good: nothing of the potential is used any more
                live["learns"][row] = 0.0
        self._begin(rows, luck[rows, 3:6])
        finished = live["episode"] == self.episodes
        if finished.any():
            self.live = {name: column[~finished] for name, column in live.items()}

    def _begin(self, rows: np.ndarray, luck: np.ndarray) -> None:
        """Start an episode; `luck` has a row for each, or at the very first a row a run."""
        live = self.live
        if len(luck) != len(rows):
            luck = luck[live["luck"][rows]]
        start = np.searchsorted(self.world.start, luck[:, 0], side="right")
        live["state"][rows] = start
        live["action"][rows] = self._choose(live["index"][rows], live["looks"][rows], start, luck[:, 1], luck[:, 2])


def _tables(mdp: FiniteMDP, reward: Reward, learners: Mapping[str, AdvisedLearner]) -> list[np.ndarray]:
    """The reward, and each learner's advice, `(S, A, S)`."""
    tables = [mdp.transition_reward(reward)]
    for name, kind in learners.items():
        if kind.advice is None:
            tables.append(np.zeros_like(tables[0]))
        else:
            tables.append(mdp.transition_reward(kind.advice, f"advice of {name!r}"))
    return tables


def _looks(kind: AdvisedLearner, episode: int) -> float:
    """How much of the potential a learner adds to its values when it acts."""
    if kind.method == "explicit":
        return -explicit_weight(episode, kind.decay)
    return float(kind.method == "dynamic_corrected")


def _check_world(mdp: FiniteMDP, learners: Mapping[str, AdvisedLearner]) -> None:
    if not isinstance(mdp.transition, np.ndarray):
        raise TypeError(f"mdp holds {type(mdp.transition).__name__}s, expected NumPy arrays")
    if mdp.batch_shape:
        raise ValueError(f"mdp is a batch of shape {mdp.batch_shape}, expected one world")
    if not (mdp.initial * ~mdp.terminal).any():
        raise ValueError("initial has all its probability on terminal states, expected some on states that are not")
    if not learners:
        raise ValueError("learners is empty, expected at least one")
