"""The books of intrinsic rewards: every part of the reward by step and by episode."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["PARTS", "RewardLedger"]

PARTS = ("extrinsic", "extrinsic_used", "intrinsic", "intrinsic_paid", "total")
"""The environment's own reward; what scale, clip and coefficient make of it; the intrinsic reward before and after its
coefficient; and the two as used together, which is what the learner learns from."""


class RewardLedger:
    """Sums the parts of the reward over the steps of a rollout and over episodes, which may span rollouts.

    Args:
        environments: How many.

    Attributes:
        numbers: Of the last rollout: mean per step of each part ("reward/..."), and of the episodes that ended in it
            their mean sums and length ("episode/...").
    """

    def __init__(self, environments: int) -> None:
        self.numbers: dict[str, float] = {}
        self._sums = np.zeros((environments, len(PARTS) + 1))  # of the episodes under way; the last column counts steps
        self._steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._abandoned: set[int] = set()  # steps after which every environment was reset

    @property
    def pending(self) -> int:
        """Steps since the last `close`."""
        return len(self._steps)

    def add(self, own: Float[np.ndarray, " n"], used: Float[np.ndarray, " n"], dones: Bool[np.ndarray, " n"]) -> None:
        """Enter one step of all environments."""
        self._steps.append((own, used, dones))

    def begin(self) -> None:
        """Episodes begin anew in all environments: the ones under way will never end."""
        if self._steps:
            self._abandoned.add(len(self._steps) - 1)
        else:
            self._sums[:] = 0

    def close(self, intrinsic: Float[np.ndarray, "steps n"], coefficient: float) -> None:
        """Enter the intrinsic rewards of the steps, bring `numbers` up to date and begin the next rollout."""
        if not self._steps:
            return
        own, used, dones = (np.stack(part) for part in zip(*self._steps, strict=True))
        paid = coefficient * intrinsic
        parts = np.stack([own, used, intrinsic, paid, used + paid, np.ones_like(paid)], axis=-1)
        finished = self._finished(parts, dones)
        means = parts[..., :-1].mean(axis=(0, 1))
        self.numbers = {f"reward/{name}": float(mean) for name, mean in zip(PARTS, means, strict=True)}
        if len(finished):
            names = (*PARTS, "length")
            sums = zip(names, finished.mean(axis=0), strict=True)
            self.numbers |= {f"episode/{name}": float(mean) for name, mean in sums}
        self._steps, self._abandoned = [], set()

    def state_dict(self) -> dict[str, Any]:
        """Sums of the episodes under way."""
        return {"sums": self._sums.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, with nothing pending."""
        self._sums = np.array(state["sums"], dtype=np.float64)
        self._steps, self._abandoned = [], set()

    def _finished(self, parts: np.ndarray, dones: np.ndarray) -> np.ndarray:
        """Sums (episodes, parts) of the episodes that ended; those under way stay in the books."""
        finished, first = [], 0
        for row in np.flatnonzero(dones.any(axis=1) | np.isin(np.arange(len(dones)), list(self._abandoned))).tolist():
            self._sums += parts[first : row + 1].sum(axis=0)
            finished.append(self._sums[dones[row]])
            self._sums[dones[row] | (row in self._abandoned)] = 0
            first = row + 1
        self._sums += parts[first:].sum(axis=0)
        return np.concatenate(finished) if finished else np.zeros((0, parts.shape[-1]))
