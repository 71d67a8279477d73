"""Labelled pairs of messages, and a step of learning from them: online ranking and offline Motif share these."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.bradley_terry import bradley_terry_loss
from rewardlab.intrinsic.message_learner import MessageLearner

__all__ = ["Preferences", "preference_step"]


class Preferences:
    """Pairs of messages with the targets of their preferences; each distinct message is encoded once.

    Args:
        encode: Gives what a network reads of messages.
        capacity: Pairs kept; further ones are left out. Pairs with an empty message always are.
    """

    def __init__(self, encode: Callable[[Sequence[str]], list[np.ndarray]], *, capacity: int):
        self._encode = encode
        self.capacity = check_scalar("capacity", capacity, low=1, whole=True)
        self._places: dict[str, int] = {}
        self._rows: list[np.ndarray] = []
        self._pairs: list[tuple[int, int]] = []
        self._targets: list[float] = []

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def full(self) -> bool:
        """Whether no further pair is taken."""
        return len(self) >= self.capacity

    @property
    def texts(self) -> list[str]:
        """Distinct messages in the pairs."""
        return list(self._places)

    @property
    def pairs(self) -> np.ndarray:
        """`(pairs, 2)` places in `texts`."""
        return np.array(self._pairs, dtype=np.int64).reshape(-1, 2)

    def add(self, pairs: Sequence[tuple[str, str]], targets: Sequence[float]) -> None:
        """Take in pairs with their targets: 0 first, 1 second, 0.5 tie."""
        known = len(self._places)
        for (first, second), target in zip(pairs, targets, strict=True):
            if first and second and not self.full:
                ends = [self._places.setdefault(text, len(self._places)) for text in (first, second)]
                self._pairs.append((ends[0], ends[1]))
                self._targets.append(target)
        self._rows += self._encode(self.texts[known:])

    def batch(self, chosen: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
        """What the network reads of the first and of the second messages, and the targets."""
        pairs = [self._pairs[place] for place in chosen]
        first, second = ([self._rows[pair[end]] for pair in pairs] for end in (0, 1))
        return first, second, [self._targets[place] for place in chosen]

    def state_dict(self) -> dict[str, Any]:
        """Messages, pairs and targets."""
        return {"texts": self.texts, "pairs": self.pairs, "targets": list(self._targets)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If it holds more pairs than `capacity`.
        """
        if len(state["targets"]) > self.capacity:
            raise ValueError(f"the state holds {len(state['targets'])} pairs, expected at most {self.capacity}")
        self._places = {text: place for place, text in enumerate(state["texts"])}
        self._rows = self._encode(state["texts"])
        self._pairs = [(int(first), int(second)) for first, second in state["pairs"]]
        self._targets = list(state["targets"])


def preference_step(
    learner: MessageLearner, preferences: Preferences, chosen: Sequence[int], *, gradient_norm: float | None = None
) -> tuple[float, int, int]:
    """One step on the mean Bradley-Terry loss of chosen pairs.

    Returns:
        The loss before the step, the pairs ranked rightly, and the pairs that are no ties: ties are neither.
    """
    learner.network.train()
    first, second, targets = preferences.batch(chosen)
    scores = learner.network([*first, *second])[:, 0]
    better = torch.tensor(targets, dtype=scores.dtype, device=scores.device)
    loss = bradley_terry_loss(scores[: len(first)], scores[len(first) :], better).mean()
    learner.step(loss, len(preferences), gradient_norm=gradient_norm)
    decided = better != 0.5
    right = ((scores[len(first) :] > scores[: len(first)]) == (better == 1)) & decided
    return loss.item(), int(right.sum()), int(decided.sum())
