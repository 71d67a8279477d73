"""How good a learned reward is, and how much of it is length: numbers for a table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from llm_scale.reward_models.preferences import Preferences
from rewardlab.transforms.advantages import mean_centred

__all__ = ["HeadReport", "StepReport", "report_head", "report_steps"]


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


@dataclass(frozen=True)
class StepReport:
    """What held-out steps say of a process reward model.

    Args:
        log_loss: Mean cross-entropy against the judge's labels, in nats.
        separation: Chance that a step of gold 1 scores higher than one of gold 0 (area under the curve); NaN where
            there are no steps of both.
        by_gold: Mean score of the steps of each gold label: filler betrays itself here where it has a label of its own.
    """

    log_loss: float
    separation: float
    by_gold: dict[float, float]

    def row(self) -> dict[str, float]:
        """The numbers by name, for a row of a table."""
        by_gold = {f"mean_score_of_gold_{label:g}": score for label, score in self.by_gold.items()}
        return {"log_loss": self.log_loss, "separation": self.separation, **by_gold}


def report_steps(scores: Sequence[float], labels: Sequence[float], gold: Sequence[float]) -> StepReport:
    """Measure scores of steps that the head was not fitted on.

    Args:
        scores: Probabilities, one a step.
        labels: The judge's labels, in [0, 1].
        gold: The task's labels.

    Raises:
        ValueError: If there is no step, or not one of each for every step.
    """
    scores, labels, gold = (np.asarray(values, dtype=np.float64) for values in (scores, labels, gold))
    if not len(scores) == len(labels) == len(gold) > 0:
        raise ValueError(
            f"there are {len(scores)} scores, {len(labels)} labels and {len(gold)} gold labels, expected one of each "
            f"a step, and a step"
        )
    limits = np.clip(scores, 1e-12, 1 - 1e-12)
    good, bad = scores[gold == 1], scores[gold == 0]
    ranks = rankdata(np.concatenate([good, bad]))[: len(good)]
    above = (
        (ranks.sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad)) if len(good) and len(bad) else np.nan
    )
    return StepReport(
        log_loss=float(-(labels * np.log(limits) + (1 - labels) * np.log1p(-limits)).mean()),
        separation=float(above),
        by_gold={float(label): float(scores[gold == label].mean()) for label in np.unique(gold)},
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
