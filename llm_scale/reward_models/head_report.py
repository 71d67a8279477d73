"""How good a learned reward is, and how much of it is length: numbers for a table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from llm_scale.reward_models.preferences import Preferences
from rewardlab.transforms.advantages import mean_centred

__all__ = ["HeadReport", "report_head"]


@dataclass(frozen=True)
class HeadReport:
    """What held-out pairs and samples say of an ensemble. NaN where there is nothing to compare.

    Args:
        pair_accuracy: Share of preferences that the mean of the members predicts; equal scores count half.
        worst_member: The lowest pair accuracy of a member.
        log_loss: Mean cross-entropy of the preferences under Bradley-Terry with the members' mean, in nats; log 2 says
            nothing, above it the head is overconfident.
        gold_accuracy: Share of pairs with different gold in which the higher gold has the higher score.
        gold_correlation: Pearson correlation with gold within prompts.
        length_correlation: Pearson correlation with length within prompts.
        longer_preferred: Share of pairs of different lengths in which the longer one has the higher score.
        disagreement: Standard deviation over members within prompts, as a share of the mean's own.
    """

    pair_accuracy: float
    worst_member: float
    log_loss: float
    gold_accuracy: float
    gold_correlation: float
    length_correlation: float
    longer_preferred: float
    disagreement: float

    def row(self) -> dict[str, float]:
        """The numbers by name, for a row of a table."""
        return asdict(self)


def report_head(
    scores: Float[np.ndarray, "members samples"],
    preferences: Preferences,
    *,
    gold: Float[np.ndarray, " samples"],
    lengths: Float[np.ndarray, " samples"],
    group_ids: Sequence | np.ndarray,
) -> HeadReport:
    """Measure the scores of an ensemble on samples that it was not fitted on.

    Args:
        scores: Of every member and sample; the offset of a prompt plays no part.
        preferences: Between the samples.
        gold: True scores.
        lengths: Lengths, in any unit.
        group_ids: The prompt of each sample.

    Raises:
        ValueError: If the shapes disagree or a score is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    gold, lengths = (np.asarray(values, dtype=np.float64) for values in (gold, lengths))
    if scores.ndim != 2 or not len(group_ids) == len(gold) == len(lengths) == scores.shape[-1]:
        raise ValueError(
            f"scores has shape {scores.shape} with {len(gold)} gold scores, {len(lengths)} lengths and "
            f"{len(group_ids)} group_ids, expected (members, samples) and one of each a sample"
        )
    if not np.isfinite(scores).all():
        member, row = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"member {member} scores {scores[member, row]} for sample {row}, expected a finite number")
    mean = scores.mean(0)
    gap = mean[preferences.chosen] - mean[preferences.rejected]
    centred = np.stack([mean_centred(member, group_ids) for member in scores])
    spread = np.std(mean_centred(mean, group_ids))
    return HeadReport(
        pair_accuracy=float(preferences.accuracy(mean)),
        worst_member=float(preferences.accuracy(scores).min()),
        log_loss=float(np.logaddexp(0, -gap).mean()),
        gold_accuracy=_agreement(mean, gold, preferences),
        gold_correlation=_correlation(mean_centred(mean, group_ids), mean_centred(gold, group_ids)),
        length_correlation=_correlation(mean_centred(mean, group_ids), mean_centred(lengths, group_ids)),
        longer_preferred=_agreement(mean, lengths, preferences),
        disagreement=float(np.sqrt(centred.var(0).mean()) / spread) if spread > 0 else float("nan"),
    )


def _agreement(scores: np.ndarray, standard: np.ndarray, pairs: Preferences) -> float:
    """Share of pairs that differ by the standard in which the scores differ the same way."""
    wanted = np.sign(standard[pairs.first] - standard[pairs.second])
    got = np.sign(scores[pairs.first] - scores[pairs.second])
    told = wanted != 0
    return float(((wanted * got)[told] + 1).mean() / 2) if told.any() else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    size = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / size) if size > 0 else float("nan")
