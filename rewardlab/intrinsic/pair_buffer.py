"""Messages that pairs are drawn from, to be compared by an annotator."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rewardlab.checks import check_scalar

__all__ = ["PairBuffer"]


class PairBuffer:
    """A share of the messages seen, of which random pairs are drawn.

    With duplicates, as released, everyday messages fill the buffer: on NetHack's stream 0.3 % of the pairs hold a
    message worth paying for and one that is not; without, 9 % do. The empty message is left out. At `capacity` the
    oldest message goes.

    Args:
        duplicates: Keep each message as often as it comes, instead of once.
        every: Of each call's messages the first, and each `every`-th after it, go in.
        capacity: Messages held.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is below 1.

    Source: official code of ONI (every 10th, with duplicates, no bound).
    """

    def __init__(self, *, duplicates: bool = False, every: int = 10, capacity: int = 100_000):
        self.duplicates = duplicates
        self.every = check_scalar("every", every, low=1, whole=True)
        self.capacity = check_scalar("capacity", capacity, low=1, whole=True)
        self._texts: list[str] = []
        self._held: set[str] = set()
        self._oldest = 0

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Sequence[str]) -> None:
        """Take in a rollout's messages, one for each step."""
        for text in texts[:: self.every]:
            if not text or (not self.duplicates and text in self._held):
                continue
            if len(self._texts) < self.capacity:
                self._texts.append(text)
            else:
                self._held.discard(self._texts[self._oldest])
                self._texts[self._oldest] = text
                self._oldest = (self._oldest + 1) % self.capacity
            if not self.duplicates:
                self._held.add(text)

    def pairs(self, count: int, generator: torch.Generator) -> list[tuple[str, str]]:
        """Draw pairs, each message uniformly and independently of all others; none from an empty buffer."""
        if not self._texts:
            return []
        drawn = torch.randint(len(self), (count, 2), generator=generator, device=generator.device)
        return [(self._texts[first], self._texts[second]) for first, second in drawn.tolist()]

    def state_dict(self) -> dict[str, Any]:
        """The messages held, each distinct one written once."""
        places: dict[str, int] = {}
        ids = np.array([places.setdefault(text, len(places)) for text in self._texts], dtype=np.int64)
        return {"duplicates": self.duplicates, "texts": list(places), "ids": ids, "oldest": self._oldest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If the state is of a buffer that treats duplicates otherwise, or holds more than `capacity`.
        """
        if state["duplicates"] != self.duplicates:
            raise ValueError(f"the state has duplicates={state['duplicates']}, this buffer {self.duplicates}")
        if len(state["ids"]) > self.capacity:
            raise ValueError(f"the state holds {len(state['ids'])} messages, expected at most {self.capacity}")
        self._texts = [state["texts"][place] for place in state["ids"]]
        self._held = set() if self.duplicates else set(self._texts)
        self._oldest = state["oldest"]
