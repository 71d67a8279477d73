"""Reward of a message by a classifier that learns from an annotator's labels as they arrive."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import expit
from torch.nn import functional

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.frozen_reward import FrozenReward
from rewardlab.intrinsic.interface import Item
from rewardlab.intrinsic.message_learner import MessageLearner
from rewardlab.intrinsic.retrieval import check_answers, newest_last

__all__ = ["ClassificationReward"]


class ClassificationReward:
    """Pays 1 for a message whose probability of being helpful is above a threshold, else 0.

    The classifier pays, not the label, also for messages that have one: it averages out what an annotator gets wrong
    now and then. It is trained on the first label of each distinct message. Whenever labels arrive and fewer than
    `many` messages are known, it takes `steps` steps at once; afterwards one step for each policy update. The empty
    message is never asked about, never learned from, never paid. Nothing is paid before the first label.

    Args:
        network: "hashed" (linear in hashed words) or "bytes" (the published network).
        generator: Draws weights and minibatches; the classifier stands on its device.
        threshold: Probability above which a message is paid, in [0, 1]. The published .5 is brittle where labels err: a
            frequent message that is wrongly labelled ends just above it, and is then paid at every step, however well
            the messages are ordered. On NetHack's, with a tenth of the labels wrong, .7 pays little that is wrong, and
            finds less.
        learning_rate: Of Adam; None for 1e-4 (bytes) or 0.03 (hashed).
        ridge: Penalty on squared weights, see `MessageLearner`; None for 0 (bytes) or 0.5 (hashed).
        batch_size: Messages in a minibatch.
        steps: Steps whenever labels arrive.
        many: Messages from which on there is one step for each policy update instead.
        capacity: Labelled messages kept; further labels are not learned from, and no more are asked for.
        dtype: Precision of the weights.

    Raises:
        TypeError: If a whole number is none.
        ValueError: If the network is unknown or a number out of range.

    Source: ONI, official code (`online_cls_reward_model`). There an untrained network pays too, at random.
    """

    def __init__(
        self,
        network: str = "hashed",
        *,
        generator: torch.Generator,
        threshold: float = 0.5,
        learning_rate: float | None = None,
        ridge: float | None = None,
        batch_size: int = 256,
        steps: int = 32,
        many: int = 25_000,
        capacity: int = 100_000,
        dtype: torch.dtype = torch.float32,
    ):
        self.threshold = check_scalar("threshold", threshold, low=0, high=1)
        self.batch_size = check_scalar("batch_size", batch_size, low=1, whole=True)
        self.steps = check_scalar("steps", steps, low=1, whole=True)
        self.many = check_scalar("many", many, low=1, whole=True)
        self.capacity = check_scalar("capacity", capacity, low=1, whole=True)
        self._learner = MessageLearner(
            network, outputs=2, generator=generator, learning_rate=learning_rate, ridge=ridge, dtype=dtype
        )
        self._labels: dict[str, int] = {}
        self._rows: list[np.ndarray] = []

    @property
    def labelled(self) -> int:
        """Distinct messages learned from."""
        return len(self._labels)

    def probabilities(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Probability of each message being helpful, whether or not it has a label."""
        scores = self._learner.scores(texts)
        return expit(scores[:, 1] - scores[:, 0])

    def rewards(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """1 where the probability is above the threshold, else 0; 0 for the empty message."""
        if not self._labels:
            return np.zeros(len(texts))
        asked = np.array([bool(text) for text in texts], dtype=bool)
        return ((self.probabilities(texts) > self.threshold) & asked).astype(np.float64)

    def requests(self, texts: Sequence[str]) -> list[Item]:
        """The distinct messages without a label, the one that came up last at the end; waiting ones are asked again."""
        if len(self._labels) >= self.capacity:
            return []
        return [text for text in newest_last(texts) if text and text not in self._labels]

    def receive(self, answers: Sequence[tuple[Item, int]]) -> dict[str, float]:
        """Take in labels of messages, 0 or 1, and learn.

        Raises:
            TypeError: If an item is not one message.
            ValueError: If a label is neither 0 nor 1. Names its place; nothing is taken in.
        """
        new: dict[str, int] = {}
        for text, label in check_answers(answers):
            if text and text not in self._labels and len(self._labels) + len(new) < self.capacity:
                new.setdefault(text, label)
        self._labels.update(new)
        self._rows += self._learner.encode(list(new))
        return self._learn(self.steps) if answers and self.labelled < self.many else {}

    def update(self) -> dict[str, float]:
        """One step if many messages are known; to be called once for each policy update."""
        known = {"labelled": float(self.labelled), "positive_share": self._positive_share()}
        return known | (self._learn(1) if self.labelled >= self.many else {})

    def frozen(self) -> FrozenReward:
        """The reward as it is now, for good."""
        return FrozenReward(self._learner.network, form="classification", threshold=self.threshold)

    def _positive_share(self) -> float:
        return sum(self._labels.values()) / self.labelled if self._labels else 0.0

    def _learn(self, steps: int) -> dict[str, float]:
        if not self._labels:
            return {}
        labels = torch.tensor(list(self._labels.values()), device=self._learner.generator.device)
        losses, right, seen = 0.0, 0, 0
        for batch in self._learner.minibatches(self.labelled, self.batch_size, steps):
            self._learner.network.train()
            scores, target = self._learner.network([self._rows[place] for place in batch]), labels[batch]
            loss = functional.cross_entropy(scores, target)
            self._learner.step(loss, self.labelled)
            losses += loss.item()
            right += int((scores.argmax(1) == target).sum())
            seen += len(batch)
        return {"loss": losses / steps, "accuracy": right / seen}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, generator, labelled messages."""
        return {
            "learner": self._learner.state_dict(),
            "messages": list(self._labels),
            "labels": list(self._labels.values()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, to the same numbers bit for bit.

        Raises:
            ValueError: If the state is of another network or holds more messages than `capacity`.
        """
        if len(state["messages"]) > self.capacity:
            raise ValueError(f"the state holds {len(state['messages'])} messages, expected at most {self.capacity}")
        self._learner.load_state_dict(state["learner"])
        self._labels = dict(zip(state["messages"], state["labels"], strict=True))
        self._rows = self._learner.encode(list(self._labels))
