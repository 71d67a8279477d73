"""Reward of a message by a ranking that learns from an annotator's preferences as they arrive."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.bradley_terry import preference_target
from rewardlab.intrinsic.frozen_reward import FrozenReward
from rewardlab.intrinsic.interface import Item
from rewardlab.intrinsic.message_learner import MessageLearner
from rewardlab.intrinsic.pair_buffer import PairBuffer
from rewardlab.intrinsic.preference_fit import Preferences, preference_step
from rewardlab.intrinsic.running_moments import RunningMoments

__all__ = ["RankingReward"]


class RankingReward:
    """Pays a message by how much better than others it is: a score learned from pairs, normalised and cut off.

    A network scores messages so that the preferred one of a pair scores higher (Bradley-Terry). With mean and standard
    deviation of the scores of all steps so far, z is the normalised score, and the reward is z where z is above the
    threshold, else 0: with a threshold below 0 some rewards are below 0. The empty message does not enter the moments;
    it is never asked about, never learned from, never paid. Nothing is paid before the scores of a rollout differ and
    have entered the moments: until a preference tells messages apart there is no scale.

    Args:
        network: "hashed" (linear in hashed words) or "bytes" (the published network).
        generator: Draws weights, minibatches and pairs; the network stands on its device.
        threshold: z above which a message is paid.
        normalisation: "meant" for the reward above, "released" for what the released code adds up by an oversight:
            the network's score itself, neither normalised nor cut off.
        duplicates: Draw pairs from all observations, as released, instead of from distinct messages.
        every: Every how manieth message of a rollout goes into the buffer that pairs are drawn from.
        pairs: Pairs asked for at each request.
        pairs_when_below: Ask only while fewer pairs than this wait for an answer.
        learning_rate: Of Adam; None for 1e-4 (bytes) or 0.03 (hashed).
        ridge: Penalty on squared weights, see `MessageLearner`; None for 0 (bytes) or 0.5 (hashed).
        batch_size: Pairs in a minibatch.
        steps: Steps whenever answers arrive.
        many: Pairs from which on there is one step for each policy update instead.
        gradient_norm: The gradient's norm is cut to this.
        capacity: Preferences kept, further ones are not learned from and no more are asked for; also the size of the
            buffer of messages, where the oldest makes room.
        dtype: Precision of the weights.

    Attributes:
        waiting: Pairs that wait for an answer; whoever owns the queue sets it before `requests`.
        moments: Running mean and variance of the scores, every step counted.

    Raises:
        TypeError: If a whole number is none.
        ValueError: If network or normalisation is unknown or a number out of range.

    Source: ONI, official code (`online_motif`). There moments are merged wrongly, see `RunningMoments`, each minibatch
    enters them before it is normalised, and an untrained network pays too.
    """

    def __init__(
        self,
        network: str = "hashed",
        *,
        generator: torch.Generator,
        threshold: float = -0.5,
        normalisation: str = "meant",
        duplicates: bool = False,
        every: int = 10,
        pairs: int = 10,
        pairs_when_below: int = 200,
        learning_rate: float | None = None,
        ridge: float | None = None,
        batch_size: int = 256,
        steps: int = 32,
        many: int = 25_000,
        gradient_norm: float = 10.0,
        capacity: int = 100_000,
        dtype: torch.dtype = torch.float32,
    ):
        check_choice("normalisation", normalisation, ("meant", "released"))
        self.threshold, self.normalisation = check_scalar("threshold", threshold), normalisation
        self.pairs = check_scalar("pairs", pairs, low=1, whole=True)
        self.pairs_when_below = check_scalar("pairs_when_below", pairs_when_below, low=1, whole=True)
        self.batch_size = check_scalar("batch_size", batch_size, low=1, whole=True)
        self.steps = check_scalar("steps", steps, low=1, whole=True)
        self.many = check_scalar("many", many, low=1, whole=True)
        self.gradient_norm = check_scalar("gradient_norm", gradient_norm, low=0, open_low=True)
        self.waiting = 0
        self.moments = RunningMoments()
        self._learner = MessageLearner(
            network, outputs=1, generator=generator, learning_rate=learning_rate, ridge=ridge, dtype=dtype
        )
        self._buffer = PairBuffer(duplicates=duplicates, every=every, capacity=capacity)
        self._preferences = Preferences(self._learner.encode, capacity=capacity)
        self._seen: Counter[str] = Counter()  # of this rollout: enters the moments at the update

    @property
    def labelled(self) -> int:
        """Pairs learned from."""
        return len(self._preferences)

    def scores(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """The network's scores; only their differences mean anything."""
        return self._learner.scores(texts)[:, 0]

    def rewards(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Normalised scores where above the threshold, else 0; 0 for the empty message."""
        asked = np.array([bool(text) for text in texts], dtype=bool)
        if self.normalisation == "released":
            return np.where(asked, self.scores(texts), 0.0) if self.labelled else np.zeros(len(texts))
        if self.moments.count < 1:
            return np.zeros(len(texts))
        scores = self.scores(texts)
        normalised = self.moments.normalise(scores)
        return np.where(asked & (normalised > self.threshold), normalised, 0.0)

    def requests(self, texts: Sequence[str]) -> list[Item]:
        """Take in a rollout's messages; random pairs of messages seen so far, if few wait for an answer."""
        self._seen.update(text for text in texts if text)
        self._buffer.add(texts)
        if self.waiting >= self.pairs_when_below or self._preferences.full:
            return []
        return list(self._buffer.pairs(self.pairs, self._learner.generator))

    def receive(self, answers: Sequence[tuple[Item, int]]) -> dict[str, float]:
        """Take in preferences, 0 first, 1 second, 2 tie or 3 no answer, and learn.

        Raises:
            TypeError: If an item is not a pair of messages.
            ValueError: If a label is none of these. Names its place; nothing is taken in.
        """
        targets = []
        for place, (pair, label) in enumerate(answers):
            if isinstance(pair, str) or len(pair) != 2:
                raise TypeError(f"answers[{place}] is about {pair!r}, expected a pair of messages")
            try:
                targets.append(preference_target(label))
            except ValueError as error:
                raise ValueError(f"answers[{place}]: {error}") from None
        self._preferences.add([pair for pair, _ in answers], targets)
        return self._learn(self.steps) if answers and self.labelled < self.many else {}

    def update(self) -> dict[str, float]:
        """Bring the moments up to date, one step if many pairs are known; to be called once for each policy update."""
        learned = self._learn(1) if self.labelled >= self.many else {}
        if self.labelled and self._seen:
            scores = self.scores(list(self._seen))
            if np.ptp(scores) > 0:  # equal ones, as ties alone leave them, would make the deviation next to nothing
                self.moments.update(np.repeat(scores, list(self._seen.values())))
        self._seen.clear()
        known = {"pairs": float(self.labelled), "buffer": float(len(self._buffer))}
        score = {"score_mean": float(self.moments.mean), "score_deviation": float(self.moments.deviation)}
        return known | score | learned

    def frozen(self) -> FrozenReward:
        """The reward as it is now, as meant, for good."""
        moments = {"mean": float(self.moments.mean), "deviation": float(self.moments.deviation)}
        return FrozenReward(self._learner.network, form="ranking", threshold=self.threshold, **moments)

    def _learn(self, steps: int) -> dict[str, float]:
        losses, right, decided = 0.0, 0, 0
        for _ in range(steps if self.labelled else 0):
            (batch,) = self._learner.minibatches(self.labelled, self.batch_size, 1)
            counts = preference_step(self._learner, self._preferences, batch, gradient_norm=self.gradient_norm)
            losses, right, decided = losses + counts[0], right + counts[1], decided + counts[2]
        numbers = {"loss": losses / steps} if self.labelled else {}
        return numbers | ({"accuracy": right / decided} if decided else {})

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, generator, moments, preferences, messages to draw pairs from."""
        return {
            "learner": self._learner.state_dict(),
            "moments": self.moments.state_dict(),
            "preferences": self._preferences.state_dict(),
            "buffer": self._buffer.state_dict(),
            "seen": list(self._seen),
            "seen_counts": list(self._seen.values()),
            "waiting": self.waiting,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, to the same numbers bit for bit.

        Raises:
            ValueError: If the state is of another network or buffer, or holds more than `capacity`.
        """
        self._learner.load_state_dict(state["learner"])
        self.moments.load_state_dict(state["moments"])
        self._preferences.load_state_dict(state["preferences"])
        self._buffer.load_state_dict(state["buffer"])
        self._seen = Counter(dict(zip(state["seen"], state["seen_counts"], strict=True)))
        self.waiting = state["waiting"]
