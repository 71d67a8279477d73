"""What learners on the talking lock are paid besides the reward at its end: messages annotated, or rooms visited."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from environments.message_lock.lock import LockStep, MessageLock
from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.annotation.annotators import NoisyAnnotator, OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.message_counts import count_discount
from rewardlab.intrinsic.retrieval import RetrievalReward
from rewardlab.intrinsic.visitation import count_bonus

__all__ = ["LockReward", "MessagePay", "RoomBonus", "lock_annotator"]

Source = Literal["none", "oracle", "retrieval", "state_actions", "states", "first_visits", "product", "novelty"]
COUNTED = ("state_actions", "states", "first_visits", "product")


@dataclass(frozen=True, kw_only=True)
class LockReward:
    """One intrinsic reward on the lock.

    Args:
        source: "none"; "oracle" (every room's message pays at once); "retrieval" (what the annotator has labelled so
            far pays); a bonus of rooms visited: "state_actions" (`1 / sqrt(N(s, a))`), "states" (`1 / sqrt(N(s'))`),
            "first_visits" of the episode, "product" of the last two; "novelty" (random network distillation).
        coefficient: Of the reward.
        memory: Whether the learner's state has the furthest room of the episode beside the room.
        exponent: Of the count discount of messages.
        accuracy: Of the annotator, whose errors are frozen.
        labels: An episode.
        delay: Of labels, in episodes.
        order: In which messages are labelled, "lifo", "fifo" or "random".
        duplicates: Whether a message may wait for its label several times.
        learning_rate: Of the random network's predictor.
        steps: Gradient steps an episode of the predictor.
        gated: Whether its bonus is paid at first visits of the episode only.
    """

    source: Source
    coefficient: float = 0.4
    memory: bool = True
    exponent: float = 3.0
    accuracy: float = 1.0
    labels: int = 5
    delay: int = 0
    order: str = "lifo"
    duplicates: bool = False
    learning_rate: float = 1e-3
    steps: int = 1
    gated: bool = False

    def __post_init__(self) -> None:
        check_choice("source", self.source, get_args(Source))
        check_scalar("coefficient", self.coefficient, low=0)


def lock_annotator(reward: LockReward, seed: int) -> DelayedAnnotator:
    """Annotator of the lock's messages; a tick of its clock is an episode."""
    judge = NoisyAnnotator(OracleAnnotator([r"^You enter room"], []), reward.accuracy, mode="frozen", seed=seed)
    return DelayedAnnotator(
        judge,
        labels_per_tick=reward.labels,
        delay_ticks=reward.delay,
        tick_steps=1,
        order=reward.order,
        duplicates=reward.duplicates,
        seed=seed,
    )


class MessagePay:
    """Rewards of messages in every lane: labels times the discount of their counts in the episode.

    A lane that learns from an annotator has its own; what is vectorised is looking labels and counts up.

    Args:
        lock: The rules.
        rewards: One a lane.
        seeds: One a lane, of the annotator's errors.

    Attributes:
        labels: `(lanes, messages)` what each message pays before the discount, now.
    """

    def __init__(self, lock: MessageLock, rewards: Sequence[LockReward], seeds: Sequence[int]) -> None:
        lanes = len(rewards)
        self.texts, self.ids = lock.texts, {text: place for place, text in enumerate(lock.texts)}
        self.labels = np.zeros((lanes, len(lock.texts)))
        self.labels[[reward.source == "oracle" for reward in rewards]] = lock.truth
        self._scale = np.array([reward.coefficient for reward in rewards])
        exponents = [reward.exponent for reward in rewards]
        discounts = {exponent: count_discount(np.arange(lock.steps + 1), exponent) for exponent in set(exponents)}
        self._discounts = np.stack([discounts[exponent] for exponent in exponents])
        self._counts = np.zeros((lanes, len(lock.texts)), np.int64)
        self._lane = np.arange(lanes)
        self._learning = {
            lane: (RetrievalReward(), lock_annotator(reward, seed))
            for lane, (reward, seed) in enumerate(zip(rewards, seeds, strict=True))
            if reward.source == "retrieval"
        }

    def begin(self) -> None:
        """An episode begins: no message was seen in it."""
        self._counts[:] = 0

    def count(self, messages: Int[np.ndarray, " lanes"], live: Bool[np.ndarray, " lanes"]) -> Int[np.ndarray, " lanes"]:
        """Count a message in each lane that is still running; how often each was seen."""
        counts = self._counts[self._lane, messages] + live
        self._counts[self._lane, messages] = counts
        return counts

    def rewards(
        self, messages: Int[np.ndarray, " lanes"], counts: Int[np.ndarray, " lanes"]
    ) -> Float[np.ndarray, " lanes"]:
        """Reward of a step, with the labels known now."""
        return self._scale * self.labels[self._lane, messages] * self._discounts[self._lane, counts]

    def collect(self, episode: int) -> None:
        """Labels that have arrived by the end of this episode, 0 being the first, pay from now on."""
        for lane, (model, annotator) in self._learning.items():
            answers = annotator.collect(episode + 1)  # also where nothing waits: labels not used are lost
            if answers:
                model.receive(answers)
            for text, _ in answers:
                self.labels[lane, self.ids[text]] = model.labels[text]

    def submit(self, messages: Int[np.ndarray, "steps lanes"], live: Bool[np.ndarray, "steps lanes"]) -> None:
        """Ask about the messages of an episode that have no label."""
        for lane, (model, annotator) in self._learning.items():
            if len(model.labels) < len(self.texts):
                annotator.submit(model.requests([self.texts[place] for place in messages[live[:, lane], lane]]))


class RoomBonus:
    """Count bonuses of the rooms arrived at, in every lane that has one.

    Args:
        lock: The rules.
        rewards: One a lane.

    Attributes:
        lanes: Those with such a bonus.
    """

    def __init__(self, lock: MessageLock, rewards: Sequence[LockReward]) -> None:
        self.lanes = np.array([lane for lane, reward in enumerate(rewards) if reward.source in COUNTED], np.int64)
        kinds = np.array([rewards[lane].source for lane in self.lanes])
        self._pairs, self._lifelong = kinds == "state_actions", kinds != "first_visits"
        self._gated = np.isin(kinds, ("first_visits", "product"))
        self._scale = np.array([rewards[lane].coefficient for lane in self.lanes])
        self._row = np.arange(len(self.lanes))
        self._visits = np.zeros((len(self.lanes), lock.rooms), np.int64)
        self._tried = np.zeros((len(self.lanes), lock.rooms, lock.actions), np.int64)
        self._seen = np.zeros((len(self.lanes), lock.rooms), bool)

    def begin(self) -> None:
        """An episode begins: its first room counts as visited."""
        self._seen[:] = False
        self._seen[:, 0] = True
        self._visits[:, 0] += 1

    def rewards(
        self,
        left: Int[np.ndarray, " lanes"],
        actions: Int[np.ndarray, " lanes"],
        step: LockStep,
        live: Bool[np.ndarray, " lanes"],
    ) -> Float[np.ndarray, " lanes"]:
        """Count one step of all lanes; the bonus of each, 0 where there is none."""
        paid = np.zeros(len(live))
        if not len(self.lanes):
            return paid
        rooms, runs = step.rooms[self.lanes], live[self.lanes]
        pair = (self._row, left[self.lanes], actions[self.lanes])
        self._visits[self._row, rooms] += runs
        self._tried[pair] += runs
        counts = np.where(self._pairs, self._tried[pair], self._visits[self._row, rooms])
        first = runs & ~self._seen[self._row, rooms]
        self._seen[self._row, rooms] |= runs
        bonus = np.where(self._lifelong, count_bonus(counts), 1.0) * np.where(self._gated, first, runs)
        paid[self.lanes] = self._scale * bonus
        return paid
