"""Tabular Q-learning on the talking lock under many rewards at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from environments.message_lock.lock import LockWorlds, MessageLock
from environments.message_lock.novelty import RoomNovelty
from environments.message_lock.rewards import LockReward, MessagePay, RoomBonus
from rewardlab.checks import check_choice, check_scalar

__all__ = ["LearnerSettings", "LockLearners", "first_window", "learn_locks"]


@dataclass(frozen=True)
class LearnerSettings:
    """How the learners learn.

    Args:
        episodes: In all.
        learning_rate: Of the table.
        discount: Of what comes later. An episode cut off goes on in its value, a won one does not.
        exploration: Probability of a random action in the end.
        exploration_episodes: Over which it falls there from 1; 0 for the same from the start.
        update: "step" learns each transition at once, paid with the labels known then; "episode" learns an episode's
            transitions at its end, in their order, paid with the labels and the model known then.
    """

    episodes: int = 800
    learning_rate: float = 0.2
    discount: float = 0.97
    exploration: float = 0.05
    exploration_episodes: int = 200
    update: str = "step"

    def __post_init__(self) -> None:
        check_scalar("episodes", self.episodes, low=1, whole=True)
        check_scalar("learning_rate", self.learning_rate, low=0, high=1, open_low=True)
        check_scalar("discount", self.discount, low=0, high=1)
        check_scalar("exploration", self.exploration, low=0, high=1)
        check_scalar("exploration_episodes", self.exploration_episodes, low=0, whole=True)
        check_choice("update", self.update, ("step", "episode"))

    def explores(self, episode: int) -> float:
        """Probability of a random action in this episode."""
        share = min(episode / self.exploration_episodes, 1.0) if self.exploration_episodes else 1.0
        return 1.0 + (self.exploration - 1.0) * share


def first_window(
    success: Bool[np.ndarray, "*batch episodes"], *, window: int = 50, least: float = 0.8
) -> Float[np.ndarray, "*batch"]:
    """First episode of the first `window` of which at least this share succeeds; infinite where there is none.

    Example:
        >>> first_window(np.array([False] * 20 + [True] * 100)).item()
        10.0
    """
    success = np.asarray(success)
    sums = np.cumsum(np.concatenate([np.zeros((*success.shape[:-1], 1)), success], axis=-1), axis=-1)
    reached = sums[..., window:] - sums[..., :-window] >= least * window - 1e-9
    return np.where(reached.any(-1), reached.argmax(-1).astype(float), np.inf)


def learn_locks(
    lock: MessageLock, rewards: Sequence[LockReward], settings: LearnerSettings, *, seeds: int, rng: int
) -> Bool[np.ndarray, "rewards seeds episodes"]:
    """Train a learner under each reward, `seeds` times.

    Returns:
        Which episodes were won, random actions included. Lanes of one seed share the combination and all random
        numbers, so that rewards are compared on the same luck.

    Raises:
        ValueError: If there are no rewards, or novelty, which learns at the end of an episode, with updates each step.
    """
    learners = LockLearners(lock, rewards, settings, seeds=seeds, rng=rng)
    won = [learners.episode() for _ in range(settings.episodes)]
    return np.stack(won, axis=-1).reshape(len(rewards), seeds, settings.episodes)


class LockLearners:
    """Learners under several rewards, one lane for each reward and seed: lane `reward * seeds + seed`.

    Args:
        lock: The rules.
        rewards: What learners are paid.
        settings: How they learn.
        seeds: Learners under each reward.
        rng: Seed of all random numbers.

    Attributes:
        table: `(lanes * states, actions)` action values; a lane's state is `room + rooms * furthest room`, the second
            part only where the learner remembers it.

    Raises:
        ValueError: If there are no rewards, or novelty with updates each step.
    """

    def __init__(
        self, lock: MessageLock, rewards: Sequence[LockReward], settings: LearnerSettings, *, seeds: int, rng: int
    ) -> None:
        check_scalar("seeds", seeds, low=1, whole=True)
        if not rewards:
            raise ValueError("rewards is empty, expected at least one")
        if settings.update == "step" and any(reward.source == "novelty" for reward in rewards):
            raise ValueError('novelty learns at the end of an episode, expected update="episode" with it')
        self.lock, self.settings, self.number = lock, settings, 0
        self._draws = [np.random.default_rng([rng, seed]) for seed in range(seeds)]
        combinations = np.stack([lock.combination(draw) for draw in self._draws])
        self._seed_of = np.tile(np.arange(seeds), len(rewards))
        self.worlds = LockWorlds(lock, combinations[self._seed_of])
        of_lanes = [reward for reward in rewards for _ in range(seeds)]
        lane_seeds = [int(rng) * 1000 + int(seed) for seed in self._seed_of]
        states = lock.rooms**2
        self.table = np.zeros((len(of_lanes) * states, lock.actions))
        self._rows = np.arange(len(of_lanes)) * states
        self._memory = np.array([lock.rooms * reward.memory for reward in of_lanes])
        self.messages = MessagePay(lock, of_lanes, lane_seeds)
        self.bonus = RoomBonus(lock, of_lanes)
        self.novelty = RoomNovelty(lock, of_lanes, lane_seeds)

    def episode(self) -> Bool[np.ndarray, " lanes"]:
        """Play and learn from one episode in every lane; which were won."""
        self.worlds.begin()
        self.messages.begin()
        self.bonus.begin()
        self.novelty.begin()
        explores, drawn, slips, distractors, ties = self._random_numbers()
        live, kept = np.ones(len(self._rows), bool), []
        state = self._state()
        for turn in range(self.lock.steps):
            values = self.table[state]
            best = ((values == values.max(1, keepdims=True)) * ties[turn]).argmax(1)
            actions = np.where(explores[turn], drawn[turn], best)
            left = self.worlds.rooms
            step = self.worlds.step(actions, slips[turn], distractors[turn])
            counts = self.messages.count(step.messages, live)
            bonus = self.bonus.rewards(left, actions, step, live)
            self.novelty.observe(step, live)
            after = self._state()
            kept.append((state, actions, step, counts, bonus, after, live))
            if self.settings.update == "step":
                self._learn(*kept[-1])
            live, state = live & ~step.dones, after
            if not live.any():
                break
        self._end(kept)
        self.number += 1
        return ~live

    def _end(self, kept: list[tuple]) -> None:
        """Labels arrive, transitions wait no longer, then the messages just seen are asked about."""
        self.messages.collect(self.number)
        novel = self.novelty.learn()
        if self.settings.update == "episode":
            for turn, (state, actions, step, counts, bonus, after, live) in enumerate(kept):
                extra = novel[turn] if len(novel) else 0.0
                self._learn(state, actions, step, counts, bonus + extra, after, live)
        self.messages.submit(np.stack([row[2].messages for row in kept]), np.stack([row[-1] for row in kept]))

    def _learn(self, state, actions, step, counts, bonus, after, live) -> None:
        """One step of Q-learning in the lanes that are running."""
        paid = step.rewards + bonus + self.messages.rewards(step.messages, counts)
        target = paid + self.settings.discount * np.where(step.dones, 0.0, self.table[after].max(1))
        self.table[state, actions] += self.settings.learning_rate * live * (target - self.table[state, actions])

    def _state(self) -> np.ndarray:
        return self._rows + self.worlds.rooms + self._memory * self.worlds.furthest

    def _random_numbers(self) -> tuple[np.ndarray, ...]:
        """Of one episode, `(steps, lanes)` each, and `(steps, lanes, actions)` to break ties; a lane has its seed's."""
        steps, actions = self.lock.steps, self.lock.actions
        uniform = np.stack([draw.random((steps, 4 + actions)) for draw in self._draws], axis=1)
        explores = uniform[..., 0] < self.settings.explores(self.number)
        drawn = (uniform[..., 1] * actions).astype(np.int64)
        distractors = np.searchsorted(self.lock.distractor_odds, uniform[..., 3])
        found = (explores, drawn, uniform[..., 2], distractors, uniform[..., 4:])
        return tuple(each[:, self._seed_of] for each in found)
