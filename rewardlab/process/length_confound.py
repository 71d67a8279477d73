"""How much of a ranking of solutions is their length: a rule's accuracy beside that of counting steps."""

import html
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Num

from rewardlab.arrays import Array, to_numpy
from rewardlab.checks import check_array, check_scalar

__all__ = ["LengthConfound", "PairsByLength", "length_confound", "pairs_by_length"]

HEADS = {
    "accuracy": "Share of problems where",
    "correlation": "Rank correlation within a problem of",
    "pair_accuracy": "Share of pairs, one right and one wrong, where the right one scores higher",
}
MEANINGS = {
    "accuracy": "highest score is right",
    "fewest_steps": "  fewest steps win instead",
    "most_steps": "  most steps win instead",
    "chance": "  a draw instead",
    "correlation": "score and length, all",
    "among_wrong": "score and length, wrong ones",
    "pair_accuracy": "all pairs",
    "shorter": "  right one shorter",
    "alike": "  of like length",
    "longer": "  right one longer",
    "balanced": "  shorter and longer, balanced",
}


class PairsByLength(NamedTuple):
    """Pairs of a right and a wrong candidate of the same problem, by which of them is the longer.

    Args:
        won: In how many pairs the right candidate scores higher, a tie counting one half. The last axis: the right
            candidate is the shorter one, the two are alike in length, the right one is the longer.
        pairs: How many pairs there are.
    """

    won: Float[np.ndarray, "problems 3"]
    pairs: Int[np.ndarray, "problems 3"]


@dataclass(frozen=True, slots=True, repr=False)
class LengthConfound:
    """What a rule's accuracy is worth once the length of the candidates is known. Print it, or take its `table()`.

    Read it in this order. Is `accuracy` better than `fewest_steps` and `most_steps`, which look at no score? If not,
    the score has earned nothing yet. Does `among_wrong` differ from 0? Then the rule goes by length where correctness
    cannot explain it. What is left of `pair_accuracy` in `balanced` and `alike` is what the rule knows besides length:
    one that goes by length alone has 0.5 in both.

    Args:
        accuracy: Share of problems whose highest score is a right candidate's, ties broken evenly.
        fewest_steps: The same for the rule "the shortest candidate wins".
        most_steps: The same for "the longest wins".
        chance: The same for a draw.
        correlation: Spearman correlation of score and length within a problem, mean over the problems where both vary.
            Negative: high scores go to short candidates, which a rule that is right may do, too, where the right
            candidates are short.
        among_wrong: The same among the wrong candidates of a problem, which all deserve the same score. NaN where no
            problem has two wrong candidates that differ in score and in length, so always for pairs of one right and
            one wrong candidate.
        pair_accuracy: Share of pairs of a right and a wrong candidate of one problem where the right one scores
            higher, ties counting one half.
        shorter: The same among pairs whose right candidate is the shorter one.
        alike: The same among pairs of like length.
        longer: The same among pairs whose right candidate is the longer one.
        balanced: Mean of `shorter` and `longer`: pair accuracy as it would be if the right candidate were as often the
            longer one as the shorter.
        pairs: Number of pairs behind `shorter`, `alike` and `longer`.
    """

    accuracy: float
    fewest_steps: float
    most_steps: float
    chance: float
    correlation: float
    among_wrong: float
    pair_accuracy: float
    shorter: float
    alike: float
    longer: float
    balanced: float
    pairs: tuple[int, int, int]

    def table(self) -> pd.DataFrame:
        """One row a number, by the name of its field: the value, and how many pairs are behind it, if any."""
        behind = dict(zip(("shorter", "alike", "longer"), self.pairs, strict=True)) | {"pair_accuracy": sum(self.pairs)}
        rows = [(getattr(self, name), behind.get(name)) for name in MEANINGS]
        return pd.DataFrame(rows, index=list(MEANINGS), columns=["value", "pairs"]).astype({"pairs": "Int64"})

    def summary(self) -> str:
        """The whole report as text."""
        lines = ["How much of the ranking is length?"]
        for name, value, pairs in self.table().itertuples():
            number = "" if pairs is pd.NA else f"  ({pairs or 'no'} pair{'s' if pairs != 1 else ''})"
            why = "  (nan: no problem has two wrong candidates that differ)" if name == "among_wrong" else ""
            lines += [f"{HEADS[name]}:"] if name in HEADS else []
            lines.append(f"  {MEANINGS[name]:30}{value:8.3f}{number}{why if np.isnan(value) else ''}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"


def length_confound(
    scores: Num[Array, "problems candidates"],
    lengths: Num[Array, "problems candidates"],
    labels: Num[Array, "problems candidates"] | Bool[Array, "problems candidates"],
    present: Bool[Array, "problems candidates"] | None = None,
    *,
    tolerance: float = 0.0,
) -> LengthConfound:
    """How much of a rule's ranking of candidates is their length.

    Args:
        scores: One score a candidate, higher for better, in any unit: only the order within a problem counts.
            Infinite ones count as what they are. NumPy or torch.
        lengths: Number of steps (or tokens) of each candidate.
        labels: True or 1 where the candidate is right.
        present: False where a problem has fewer candidates than the array has room for; all by default. What stands
            there is ignored.
        tolerance: Candidates whose lengths differ by at most this are alike in length. With 0, only the same length
            will do; a larger value finds more pairs, in which length still says a little.

    Returns:
        The report. A number without anything to compute it from (a correlation where no problem has two wrong
        candidates, an accuracy over no pairs) is NaN.

    Raises:
        TypeError: If something is no array of numbers, or `present` not boolean.
        ValueError: If a score is NaN, a length is not finite and at least 0, a label neither 0 nor 1, a problem has no
            candidate, or shapes differ.

    Source: The question is that of RewardMATH (arXiv 2410.01729), where process reward models do well on pairs whose
        right solutions have fewer steps. The report, and the balanced accuracy in it, are ours.

    Example:
        >>> import numpy as np
        >>> lengths = np.array([[2, 5, 5], [3, 9, 4]])
        >>> labels = np.array([[True, False, False], [False, True, False]])
        >>> report = length_confound(0.9**lengths, lengths, labels)  # the product of scores that are all alike
        >>> report.accuracy, report.fewest_steps, report.balanced
        (0.5, 0.5, 0.5)
    """
    scores, lengths, labels, present = _checked(scores, lengths, labels, present)
    check_scalar("tolerance", tolerance, low=0.0)
    won, pairs = _won(scores, lengths, labels, present, tolerance)
    (shorter, alike, longer), number = _shares(won, pairs), pairs.sum(axis=0)
    return LengthConfound(
        accuracy=_accuracy(scores, labels, present),
        fewest_steps=_accuracy(-lengths, labels, present),
        most_steps=_accuracy(lengths, labels, present),
        chance=float(((labels & present).sum(axis=-1) / present.sum(axis=-1)).mean()),
        correlation=_spearman(scores, lengths, present),
        among_wrong=_spearman(scores, lengths, present & ~labels),
        pair_accuracy=float(won.sum() / number.sum()) if number.sum() else float("nan"),
        shorter=shorter,
        alike=alike,
        longer=longer,
        balanced=(shorter + longer) / 2,
        pairs=tuple(number.tolist()),
    )


def pairs_by_length(
    scores: Num[Array, "problems candidates"],
    lengths: Num[Array, "problems candidates"],
    labels: Num[Array, "problems candidates"] | Bool[Array, "problems candidates"],
    present: Bool[Array, "problems candidates"] | None = None,
    *,
    tolerance: float = 0.0,
) -> PairsByLength:
    """Pairs won by the right candidate, for each problem and by which candidate is the longer.

    The counts behind `length_confound`, for whoever wants intervals: resample the problems and add up.

    Args:
        scores: As for `length_confound`, and so are the others.
        lengths: Number of steps of each candidate.
        labels: True or 1 where the candidate is right.
        present: False where there is no candidate.
        tolerance: Candidates whose lengths differ by at most this are alike in length.

    Returns:
        Counts (problems, 3) of pairs won and of pairs, NumPy: right candidate shorter, alike, longer.

    Raises:
        TypeError: As `length_confound`.
        ValueError: As `length_confound`.

    Example:
        >>> import numpy as np
        >>> won, pairs = pairs_by_length(np.array([[2.0, 1, 3]]), np.array([[4, 4, 6]]), np.array([[1, 0, 0]]))
        >>> won.tolist(), pairs.tolist()
        ([[0.0, 1.0, 0.0]], [[1, 1, 0]])
    """
    check_scalar("tolerance", tolerance, low=0.0)
    return _won(*_checked(scores, lengths, labels, present), tolerance)


def _checked(scores: Array, lengths: Array, labels: Array, present: Array | None) -> tuple[np.ndarray, ...]:
    """NumPy arrays of one shape (problems, candidates); scores and lengths 0 where there is no candidate."""
    scores, lengths, labels = (
        to_numpy(check_array(name, value))
        for name, value in (("scores", scores), ("lengths", lengths), ("labels", labels))
    )
    if scores.ndim != 2 or not scores.shape[0]:
        raise ValueError(f"scores has shape {scores.shape}, expected (problems, candidates), at least one problem")
    if present is None:
        present = np.ones(scores.shape, dtype=bool)
    elif (present := to_numpy(check_array("present", present))).dtype != bool:
        raise TypeError(f"present has dtype {present.dtype}, expected bool (True where there is a candidate)")
    for name, value in (("lengths", lengths), ("labels", labels), ("present", present)):
        if value.shape != scores.shape:
            raise ValueError(f"{name} has shape {value.shape}, expected that of scores {scores.shape}")
    if not present.any(axis=-1).all():
        raise ValueError(f"present[{int(present.any(axis=-1).argmin())}] holds no candidate, expected at least one")
    for name, value, wrong, expected in (
        ("scores", scores, np.isnan(scores.astype(float)), "a number; a failed score needs a value of its own"),
        ("lengths", lengths, ~(np.isfinite(lengths) & (lengths >= 0)), "a length of at least 0"),
        ("labels", labels, (labels != 0) & (labels != 1), "0 or 1 (right)"),
    ):
        if (wrong & present).any():
            place = tuple(np.argwhere(wrong & present)[0].tolist())
            raise ValueError(f"{name}{list(place)} is {value[place]}, expected {expected}")
    scores, lengths = (np.where(present, value, 0).astype(float) for value in (scores, lengths))
    return scores, lengths, (labels == 1) & present, present


def _won(
    scores: np.ndarray, lengths: np.ndarray, labels: np.ndarray, present: np.ndarray, tolerance: float
) -> PairsByLength:
    won, pairs = np.zeros((len(scores), 3)), np.zeros((len(scores), 3), dtype=int)
    wrong = present & ~labels
    for candidate in np.flatnonzero(labels.any(axis=0)):  # a row of pairs at a time: never (candidates, candidates)
        here = labels[:, candidate, None] & wrong
        score, length = scores[:, candidate, None], lengths[:, candidate, None]
        share = (score > scores) + 0.5 * (score == scores)
        for place, which in enumerate(
            (length < lengths - tolerance, np.abs(length - lengths) <= tolerance, length > lengths + tolerance)
        ):
            won[:, place] += np.where(here & which, share, 0).sum(axis=-1)
            pairs[:, place] += (here & which).sum(axis=-1)
    return PairsByLength(won, pairs)


def _shares(won: np.ndarray, pairs: np.ndarray) -> list[float]:
    total = pairs.sum(axis=0)
    return [
        float(part / number) if number else float("nan") for part, number in zip(won.sum(axis=0), total, strict=True)
    ]


def _accuracy(scores: np.ndarray, labels: np.ndarray, present: np.ndarray) -> float:
    """Share of problems whose highest score is a right candidate's, ties broken evenly."""
    highest = np.where(present, scores, -np.inf).max(axis=-1, keepdims=True)
    top = present & (scores == highest)
    return float(((top & labels).sum(axis=-1) / top.sum(axis=-1)).mean())


def _spearman(scores: np.ndarray, lengths: np.ndarray, where: np.ndarray) -> float:
    """Spearman correlation within a problem, mean over the problems in which both vary."""
    scores, lengths = _deviation_of_ranks(scores, where), _deviation_of_ranks(lengths, where)
    scale = np.sqrt((scores**2).sum(axis=-1) * (lengths**2).sum(axis=-1))
    varies = scale > 0
    if not varies.any():
        return float("nan")
    return float(((scores * lengths).sum(axis=-1)[varies] / scale[varies]).mean())


def _deviation_of_ranks(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Rank less the mean rank, ties sharing theirs; 0 where there is nothing to rank."""
    rank = np.zeros(values.shape)
    for candidate in range(values.shape[1]):
        other, there = values[:, candidate, None], where[:, candidate, None]
        # half of those below less half of those above: the rank is centred already, and infinities compare
        rank += np.where(there, ((values > other) * 1.0 - (values < other)) / 2, 0)
    return np.where(where, rank, 0)
