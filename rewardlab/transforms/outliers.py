"""Rewards far from the rest: drop them, clamp them, or take the spread so that they cannot hide in it.

Every function takes a flat batch (samples,), which is one batch as a whole, or rows (batches, samples), each for
itself, or a flat batch with `group_ids`; it computes in float64 and hands back the dtype it was given. An absent sample
(NaN, or False in `present`) has 0 and no part in the statistics; a batch whose spread is rounding has 0 throughout. For
statistics over all prompts of (prompts, samples) give `rewards.reshape(-1)`.

An outlier is told by its distance in standard deviations, and has a part in that standard deviation: in a batch of N no
sample is further than sqrt(N - 1) from the mean, and one that is far makes the rest look close. Two things follow, both
measured by the figure `advantage_filter`. Where rewards are 0 and 1 and successes are rarer than one in ten, it is the
successes that are outliers; and where there are true outliers, dropping them afterwards leaves the others as small as
they made them. `robust_clip` clips before the spread is taken.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_choice, check_scalar
from rewardlab.transforms.groups import LEAST_SPREAD, Groups, restored, ungrouped

__all__ = ["clamp_outliers", "drop_outliers", "robust_clip"]

Ids = Sequence | Array | Groups | None

NORMAL_MAD = 1.4826  # standard deviations in a median absolute deviation of a normal distribution
TIE = 1e-9  # a score that exceeds the limit by less, relatively, is on it: 1 of 10 right scores 3 and a rounding error


def drop_outliers(
    rewards: Float[Array, "*shape"],
    group_ids: Ids = None,
    present: Bool[Array, "*shape"] | None = None,
    *,
    limit: float = 3.0,
    correction: int = 0,
) -> Float[Array, "*shape"]:
    """Standardise, then set to 0 what is more than `limit` standard deviations from the mean.

    Know what it costs before you use it. With share p of successes among 0/1 rewards a success scores
    sqrt((1 - p) / p), above 3 if and only if p < 1/10: the filter then deletes every success and keeps exactly the
    fraction p of the expected gradient. What is left does not sum to 0.

    Args:
        rewards: (samples,), one batch; (batches, samples), each row one; or (samples,) with `group_ids`.
        group_ids: One id a sample; None where each row is a batch.
        present: Which samples count; by default all that are not NaN.
        limit: Largest score that is kept, above 0; one exactly on it is kept.
        correction: 0 for the population standard deviation, 1 for the sample's.

    Returns:
        Scores in [-limit, limit]. An outlier's 0 still counts in a mean over the batch, as in the paper.

    Raises:
        ValueError: If a present reward is not finite, shapes disagree, or a parameter is out of its range.

    Source: the advantage filter of StableReinforce (R1-Reward, arXiv 2505.02835). Its released code departs from the
    paper: it holds standardised values against the raw mean plus and minus 3 (a batch of raw mean 5 is dropped as a
    whole) and has a further bound of 10. Here scores are held against 0, so shift and scale do not matter.

    Example:
        >>> import numpy as np
        >>> drop_outliers(np.eye(16)[0])[:3].round(4)  # the one success scored 3.87
        array([ 0.    , -0.2582, -0.2582])
    """
    score, inside = _scores(rewards, group_ids, present, limit, correction)
    xp = array_namespace(score)
    return restored(xp.where(inside, xp.clip(score, -limit, limit), xp.zeros_like(score)), rewards)


def clamp_outliers(
    rewards: Float[Array, "*shape"],
    group_ids: Ids = None,
    present: Bool[Array, "*shape"] | None = None,
    *,
    limit: float = 3.0,
    correction: int = 0,
) -> Float[Array, "*shape"]:
    """Standardise, then move what is more than `limit` standard deviations from the mean to that distance.

    Every sample keeps its sign and the batch its order, so rare successes still teach; but the outliers have
    inflated the spread that all are divided by, see `robust_clip`.

    Args:
        rewards: (samples,), one batch; (batches, samples), each row one; or (samples,) with `group_ids`.
        group_ids: One id a sample; None where each row is a batch.
        present: Which samples count; by default all that are not NaN.
        limit: Largest score, above 0.
        correction: 0 for the population standard deviation, 1 for the sample's.

    Returns:
        Scores in [-limit, limit]; they sum to 0 only where nothing was clamped.

    Raises:
        ValueError: If a present reward is not finite, shapes disagree, or a parameter is out of its range.

    Source: Ours, as the alternative to the filter of StableReinforce (arXiv 2505.02835).

    Example:
        >>> import numpy as np
        >>> clamp_outliers(np.eye(16)[0])[:3].round(4)
        array([ 3.    , -0.2582, -0.2582])
    """
    score, _ = _scores(rewards, group_ids, present, limit, correction)
    return restored(array_namespace(score).clip(score, -limit, limit), rewards)


def robust_clip(
    rewards: Float[Array, "*shape"],
    group_ids: Ids = None,
    present: Bool[Array, "*shape"] | None = None,
    *,
    limit: float = 3.0,
) -> Float[Array, "*shape"]:
    """Distance from the median in robust standard deviations, clamped, then centred by the mean again.

    The spread is 1.4826 times the median absolute deviation from the median, which half of the batch would have to be
    outliers to move: the other samples keep the size that they have without outliers. The last centring makes the
    result an advantage: it sums to 0.

    Args:
        rewards: (samples,), one batch; (batches, samples), each row one; or (samples,) with `group_ids`.
        group_ids: One id a sample; None where each row is a batch.
        present: Which samples count; by default all that are not NaN.
        limit: Largest distance from the median in robust standard deviations, above 0.

    Returns:
        Advantages that sum to 0 in every batch, within 2 `limit`. Where more than half of the rewards are equal, as
        0/1 rewards are unless exactly half are right, the median absolute deviation is 0 and the standard deviation
        takes its place.

    Raises:
        ValueError: If a present reward is not finite, shapes disagree, or `limit` is not above 0.

    Source: Ours; the constant is that of a normal distribution. Clipping before the spread is taken is the point.

    Example:
        >>> import numpy as np
        >>> robust_clip(np.array([1.0, 2.0, 3.0, 4.0, 500.0])).round(3)
        array([-1.679, -1.005, -0.33 ,  0.344,  2.67 ])
    """
    check_scalar("limit", limit, low=0.0, open_low=True)
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    xp = array_namespace(values)
    centre = _median(groups, values, present)
    distance = xp.where(present, values - groups.spread(centre), xp.zeros_like(values))
    robust = NORMAL_MAD * _median(groups, xp.abs(distance), present)
    _, deviation = groups.deviation(values, present, correction=0)
    least = LEAST_SPREAD * xp.maximum(xp.abs(centre), xp.ones_like(centre))
    unit = groups.spread(xp.where(robust >= least, robust, deviation))
    varies = groups.spread(deviation) > 0
    score = xp.where(varies, distance / xp.where(varies, unit, xp.ones_like(unit)), xp.zeros_like(distance))
    clamped = xp.clip(score, -limit, limit)
    centred = xp.where(present, clamped - groups.spread(groups.mean(clamped, present)), xp.zeros_like(clamped))
    return restored(centred, rewards)


def _scores(rewards: Array, group_ids: Ids, present: Array | None, limit: float, correction: int):
    """Scores, 0 for absent samples, and which are within the limit; both laid out flat."""
    check_scalar("limit", limit, low=0.0, open_low=True)
    check_choice("correction", correction, (0, 1))
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    xp = array_namespace(values)
    deviation, spread = groups.deviation(values, present, correction=correction)
    score = deviation / groups.spread(xp.where(spread > 0, spread, xp.ones_like(spread)))
    return score, xp.abs(score) <= limit * (1 + TIE)


def _median(groups: Groups, values: Array, present: Array) -> Array:
    """Median of each group's present samples, the mean of the middle two of an even number; 0 where there is none."""
    xp = array_namespace(values)
    lower, upper = groups.order_statistic(values, present, 0.5), -groups.order_statistic(-values, present, 0.5)
    middle = (lower + upper) / 2
    return xp.where(xp.isnan(middle), xp.zeros_like(middle), middle)
