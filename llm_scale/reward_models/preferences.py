"""Preferences between answers to the same prompt, drawn from scores that are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from rewardlab.checks import as_generator, check_scalar

__all__ = ["Preferences", "draw_preferences"]


@dataclass(frozen=True)
class Preferences:
    """Pairs of samples, which of the two was preferred, and why.

    Args:
        first: Index of the first sample of each pair.
        second: Index of the second.
        first_wins: Whether the first was preferred, label noise included.
        probability: Chance that the first is preferred by the judge, before label noise.
        flipped: Whether noise turned the judge's preference round.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    first_wins: Bool[np.ndarray, " pairs"]
    probability: Float[np.ndarray, " pairs"]
    flipped: Bool[np.ndarray, " pairs"]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def chosen(self) -> Int[np.ndarray, " pairs"]:
        """Index of the preferred sample of each pair."""
        return np.where(self.first_wins, self.first, self.second)

    @property
    def rejected(self) -> Int[np.ndarray, " pairs"]:
        """Index of the other."""
        return np.where(self.first_wins, self.second, self.first)

    def accuracy(self, scores: Float[np.ndarray, "*members samples"]) -> Float[np.ndarray, "*members"]:
        """Share of pairs in which the preferred sample has the higher score; equal scores count half."""
        gap = np.asarray(scores)[..., self.chosen] - np.asarray(scores)[..., self.rejected]
        return ((gap > 0) + (gap == 0) / 2).mean(-1)


def draw_preferences(
    scores: Float[np.ndarray, " samples"],
    group_ids: Sequence | np.ndarray,
    *,
    temperature: float = 1.0,
    flip_rate: float = 0.0,
    pairs: int | None = None,
    rng: int | np.random.Generator,
) -> Preferences:
    """Ask a judge with these scores which of two answers to one prompt is better.

    P(first preferred) = sigmoid((score of first - score of second) / temperature) (Bradley-Terry), then the answer is
    turned round with probability `flip_rate`.

    Args:
        scores: The judge's, such as `FlawedReward.scores`.
        group_ids: The prompt of each sample.
        temperature: At least 0, in units of the scores. At 0 the higher score always wins, and equal ones toss a coin.
        flip_rate: Label noise, in [0, 0.5].
        pairs: Number of pairs drawn, without repetition, from all pairs within prompts; None for all.
        rng: Seed or generator.

    Raises:
        ValueError: If a score is not finite, a number is out of range, shapes disagree, no prompt has two samples, or
            there are fewer pairs than asked for.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(group_ids) != len(scores):
        raise ValueError(
            f"scores has shape {scores.shape} with {len(group_ids)} group_ids, expected one of each a sample"
        )
    if not np.isfinite(scores).all():
        row = int(np.argmax(~np.isfinite(scores)))
        raise ValueError(f"scores[{row}] is {scores[row]}, expected a finite number")
    check_scalar("temperature", temperature, low=0)
    check_scalar("flip_rate", flip_rate, low=0, high=0.5)
    rng = as_generator(rng)
    first, second = _pairs_within(group_ids, pairs, rng)
    gap = scores[first] - scores[second]
    probability = (1 + np.sign(gap)) / 2 if temperature == 0 else expit(gap / temperature)
    preferred = rng.random(len(gap)) < probability
    flipped = rng.random(len(gap)) < flip_rate
    return Preferences(first, second, preferred ^ flipped, probability, flipped)


def _pairs_within(group_ids: Sequence | np.ndarray, number: int | None, rng: np.random.Generator):
    """Two samples of one prompt a row, in random order; rows are in random order too where some are drawn."""
    members: dict = {}
    for row, group in enumerate(np.asarray(group_ids).tolist()):
        members.setdefault(group, []).append(row)
    every = np.array([pair for rows in members.values() for pair in combinations(rows, 2)], dtype=np.int64)
    if not len(every):
        raise ValueError("no prompt has two samples, expected at least one pair to compare")
    if number is not None:
        check_scalar("pairs", number, low=1, high=len(every), whole=True)
        every = every[rng.permutation(len(every))[:number]]
    every = rng.permuted(every, axis=1)
    return every[:, 0], every[:, 1]
