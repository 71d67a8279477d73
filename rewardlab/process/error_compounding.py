"""Why scoring steps gets harder as solutions grow: chains of noisy step scores against one outcome score, exactly.

The model: a step's score is a sigmoid of a logit, `signal` for a right step and `-signal` for a wrong one, plus
independent Gaussian `noise`. A wrong chain has one wrong step; a right one has none, or (a share `self_corrected`) one
that a later step repairs. The outcome score is one such judgement of the whole chain. Every number here is computed
from the distribution of the chain's score, in closed form or by convolving that of a step; none is simulated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float
from scipy import special

from rewardlab.checks import check_choice, check_scalar

__all__ = [
    "CHAIN_RULES",
    "AggregationError",
    "ChainRule",
    "ChainScores",
    "StepDetector",
    "aggregation_error",
    "chain_scores",
    "longest_chain_ahead",
    "pass_rate",
]

ChainRule = Literal[
    "min", "max", "product", "log_product", "geometric_mean", "mean", "mean_logit", "sum_log_odds", "last", "outcome"
]
CHAIN_RULES: tuple[ChainRule, ...] = get_args(ChainRule)

POINTS = 2**15  # of a grid: an area under the curve is right to 1e-5, and to 1e-3 where most steps score 0 or 1
REACH = 9.0  # standard deviations on either side of the mean that a grid covers: 1e-19 of the mass is beyond


@dataclass(frozen=True, slots=True)
class StepDetector:
    """How well a step's score tells a right step from a wrong one.

    Args:
        signal: Logit of a right step's score without noise, above 0; a wrong step's is its negative.
        noise: Standard deviation of the logit, above 0.
    """

    signal: float = 1.5
    noise: float = 1.0

    def __post_init__(self) -> None:
        check_scalar("signal", self.signal, low=0.0, open_low=True)
        check_scalar("noise", self.noise, low=0.0, open_low=True)

    @property
    def auc(self) -> float:
        """Chance that a right step scores higher than a wrong one; of the outcome score, that a right chain does.

        Example:
            >>> round(StepDetector(signal=1.5, noise=1.0).auc, 3)
            0.983
        """
        return float(special.ndtr(math.sqrt(2) * self.signal / self.noise))


class AggregationError(NamedTuple):
    """Error of an aggregate of equally good steps whose scores carry independent noise: its mean and its spread."""

    bias: float
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class ChainScores:
    """Distribution of the scores of right and of wrong chains.

    Args:
        points: Increasing scores, up to an increasing map.
        right: Chance that a right chain scores at most as much.
        wrong: The same of a wrong chain.
    """

    points: Float[np.ndarray, " points"]
    right: Float[np.ndarray, " points"]
    wrong: Float[np.ndarray, " points"]

    @property
    def auc(self) -> float:
        """Chance that a right chain scores higher than a wrong one."""
        below = (self.wrong + np.concat([[0.0], self.wrong[:-1]])) / 2  # of the wrong chains at the same point, half
        return float(np.sum(np.diff(self.right, prepend=0.0) * below))

    def best_of_n_accuracy(self, candidates: int, share_right: float) -> float:
        """Chance that the highest score of several independent chains is a right one's.

        Args:
            candidates: Number of chains drawn, at least 1.
            share_right: Chance that a chain is right, in [0, 1].

        Returns:
            A probability: `share_right` for one candidate, `1 - (1 - share_right) ** candidates` at most.

        Raises:
            ValueError: If a number is out of range.

        Example:
            >>> round(chain_scores("outcome", 5).best_of_n_accuracy(8, 0.4), 3)
            0.971
        """
        check_scalar("candidates", candidates, low=1, whole=True)
        check_scalar("share_right", share_right, low=0.0, high=1.0)
        any_chain = share_right * self.right + (1 - share_right) * self.wrong
        top, mass = np.diff(any_chain**candidates, prepend=0.0), np.diff(any_chain, prepend=0.0)
        is_right = share_right * np.diff(self.right, prepend=0.0) / np.where(mass > 0, mass, 1)
        return float(np.sum(top * is_right))


def chain_scores(
    rule: ChainRule, steps: int, detector: StepDetector | None = None, *, self_corrected: float = 0.0
) -> ChainScores:
    """Distribution of the aggregated scores of right and wrong chains of one length.

    Args:
        rule: How step scores make a chain's score, by the names of `aggregate_steps`, all but `mean_odds` (whose
            upper tail no grid holds); `outcome` for a score of the whole chain that is as good as the detector on one
            step. At one length `log_product` and `geometric_mean` rank as `product` does, and `mean_logit` as
            `sum_log_odds`.
        steps: Length of the chains, at least 1.
        detector: Of the steps; by default logits of 1.5 and -1.5 with noise 1.
        self_corrected: Share of the right chains that hold a wrong step, repaired later and thus not the last, in
            [0, 1]; the outcome score does not see it.

    Returns:
        The distribution, from which come `auc` and `best_of_n_accuracy`.

    Raises:
        ValueError: If the rule is unknown, a number out of range, or chains of one step are to correct themselves.

    Source: The simulator of one wrong step in a chain is ours, for the claim of "Rethinking Reward Models for
        Multi-Domain Test-Time Scaling" (arXiv 2510.00492) that step scores compound errors as chains grow. Its own
        theorems start elsewhere and are not computed here.

    Example:
        >>> [round(chain_scores("min", steps).auc, 3) for steps in (2, 5, 10, 20, 40)]
        [0.971, 0.946, 0.919, 0.887, 0.85]
    """
    check_choice("rule", rule, CHAIN_RULES)
    check_scalar("steps", steps, low=1, whole=True)
    check_scalar("self_corrected", self_corrected, low=0.0, high=1.0)
    if steps == 1 and self_corrected:
        raise ValueError(
            f"self_corrected is {self_corrected}, but a chain of 1 step has no later one that could repair it"
        )
    detector = detector or StepDetector()
    if steps > 1 and rule in ("product", "log_product", "geometric_mean", "mean"):
        points, whole, broken = _convolved("mean" if rule == "mean" else "log_product", steps, detector)
    else:
        points = _logits(rule, steps, detector)
        whole, broken = _on_logits(rule, steps, detector, points)
    repaired = whole if rule in ("last", "outcome") else broken
    return ChainScores(points, (1 - self_corrected) * whole + self_corrected * repaired, broken)


def aggregation_error(
    rule: Literal["min", "max", "log_product", "mean", "last"], steps: int, noise: float
) -> AggregationError:
    """How noise in the scores of equally good steps shows in their aggregate.

    Independent Gaussian errors: of the scores, or under `log_product` of their logarithms. A sum gathers noise as the
    root of the number of steps, a mean averages it away, and the lowest of many is low by chance alone, so `min` marks
    long solutions down.

    Args:
        rule: `min`, `max`, `log_product`, `mean` or `last`.
        steps: Number of steps, at least 1.
        noise: Standard deviation of a step's error, at least 0.

    Returns:
        Mean and standard deviation of the aggregate's error.

    Raises:
        ValueError: If the rule is unknown or a number out of range.

    Source: Order statistics of a normal sample (by quadrature), and sums of independent errors.

    Example:
        >>> bias, spread = aggregation_error("min", 16, 0.1)
        >>> round(bias, 3), round(spread, 3)
        (-0.177, 0.054)
    """
    check_choice("rule", rule, ("min", "max", "log_product", "mean", "last"))
    check_scalar("steps", steps, low=1, whole=True)
    check_scalar("noise", noise, low=0.0)
    if rule == "log_product":
        return AggregationError(0.0, noise * math.sqrt(steps))
    if rule == "mean":
        return AggregationError(0.0, noise / math.sqrt(steps))
    if rule == "last":
        return AggregationError(0.0, float(noise))
    mean, square = _moments_of_highest(steps)
    sign = -1 if rule == "min" else 1
    return AggregationError(sign * noise * mean, noise * math.sqrt(max(square - mean**2, 0.0)))


def pass_rate(miss_rate: float, steps: int) -> float:
    """Chance that a chain all of whose steps are right has every step accepted.

    Args:
        miss_rate: Chance that a right step is rejected, in [0, 1].
        steps: Length of the chain, at least 0.

    Returns:
        `(1 - miss_rate) ** steps`.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> [round(pass_rate(0.02, steps), 3) for steps in (5, 10, 20, 40)]
        [0.904, 0.817, 0.668, 0.446]
    """
    check_scalar("miss_rate", miss_rate, low=0.0, high=1.0)
    check_scalar("steps", steps, low=0, whole=True)
    return float((1 - miss_rate) ** steps)


def longest_chain_ahead(
    rule: ChainRule,
    detector: StepDetector,
    outcome: StepDetector | None = None,
    *,
    self_corrected: float = 0.0,
    measure: Callable[[ChainScores], float] = attrgetter("auc"),
    most: int = 1024,
) -> int | None:
    """Length of chains up to which step scores are worth at least as much as an outcome score.

    Args:
        rule: How step scores make a chain's score.
        detector: Of the steps.
        outcome: Of the whole chain; by default logits of 1.5 and -1.5 with noise 1.
        self_corrected: Share of the right chains that hold a wrong step, repaired later.
        measure: What scores are worth; by default the area under the curve. It must fall with length.
        most: Longest chain looked at.

    Returns:
        The last length at which the rule is worth at least what the outcome score is, found by bisection; 0 if it is
        ahead at none, None if it still is at `most`.

    Raises:
        ValueError: If the rule is unknown or a number out of range.

    Example:
        >>> longest_chain_ahead("min", StepDetector(signal=2.0))
        11
        >>> best_of_8 = lambda scores: scores.best_of_n_accuracy(8, 0.4)
        >>> longest_chain_ahead("min", StepDetector(signal=2.0), measure=best_of_8)
        7
    """
    check_scalar("most", most, low=2, whole=True)
    aim = measure(chain_scores("outcome", 1, outcome))
    first = 2 if self_corrected else 1

    def ahead(steps: int) -> bool:
        # at one step both may be the same, but for rounding
        return measure(chain_scores(rule, steps, detector, self_corrected=self_corrected)) >= aim - 1e-9

    if not ahead(first):
        return 0
    if ahead(most):
        return None
    low, high = first, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if ahead(middle) else (low, middle)
    return low


def _logits(rule: ChainRule, steps: int, detector: StepDetector) -> np.ndarray:
    """Points between which all chains' scores lie, in logits (in their sum under a sum of log-odds)."""
    centre, reach = detector.signal, REACH * detector.noise
    if rule in ("sum_log_odds", "mean_logit"):
        centre, reach = detector.signal * steps, reach * math.sqrt(steps)
        return np.linspace(centre - 2 * detector.signal - reach, centre + reach, POINTS)
    reach += detector.noise * math.sqrt(2 * math.log(steps))  # the lowest of many is far out
    return np.linspace(-centre - reach, centre + reach, POINTS)


def _on_logits(
    rule: ChainRule, steps: int, detector: StepDetector, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative distributions without and with a wrong step, in closed form."""
    signal, noise = detector.signal, detector.noise
    right, wrong = special.ndtr((points - signal) / noise), special.ndtr((points + signal) / noise)
    if rule == "outcome" or steps == 1:
        return right, wrong
    if rule == "last":
        return right, ((steps - 1) * right + wrong) / steps  # the wrong step is anywhere
    if rule == "max":
        return right**steps, right ** (steps - 1) * wrong
    if rule == "min":
        above, above_wrong = special.log_ndtr((signal - points) / noise), special.log_ndtr((-signal - points) / noise)
        return -np.expm1(steps * above), -np.expm1((steps - 1) * above + above_wrong)
    spread = noise * math.sqrt(steps)
    return tuple(special.ndtr((points - signal * total) / spread) for total in (steps, steps - 2))


def _convolved(of: Literal["log_product", "mean"], steps: int, detector: StepDetector) -> tuple[np.ndarray, ...]:
    """Points, and cumulative distributions without and with a wrong step, of a sum over steps, by Fourier transform."""
    ends, moments = [], []
    for signal in (detector.signal, -detector.signal):
        # a rule of quadrature in the logit is exact enough for the moments, which only place the window
        logits = np.linspace(signal - REACH * detector.noise, signal + REACH * detector.noise, 2001)
        weight = np.exp(-(((logits - signal) / detector.noise) ** 2) / 2)
        values = special.log_expit(logits) if of == "log_product" else special.expit(logits)
        mean = np.average(values, weights=weight)
        ends.append((values[0], values[-1]))
        moments.append((mean, np.average((values - mean) ** 2, weights=weight)))
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    (mean_right, spread_right), (mean_wrong, spread_wrong) = moments
    sums = [(steps - 1) * mean_right + mean for mean in (mean_right, mean_wrong)]
    reach = 1.5 * REACH * math.sqrt((steps - 1) * spread_right + max(spread_right, spread_wrong)) + (high - low)
    start, end = max(steps * low, min(sums) - reach), min(steps * high, max(sums) + reach)
    width = (end - start) / (POINTS - 2)
    transform_right, transform_wrong = (
        np.fft.rfft(_masses(of, signal, detector.noise, (low, high), width))
        for signal in (detector.signal, -detector.signal)
    )
    offset = round(start / width)
    places = np.arange(offset, offset + POINTS)  # the window: of all sums with the same remainder, the one inside
    cumulative = []
    for transform in (transform_right, transform_wrong):
        mass = np.fft.irfft(transform_right ** (steps - 1) * transform, POINTS)[places % POINTS]
        total = np.cumsum(np.maximum(mass, 0.0))
        cumulative.append(total / total[-1])
    return (places + 0.5) * width, *cumulative


def _masses(of: str, signal: float, noise: float, ends: tuple[float, float], width: float) -> np.ndarray:
    """Distribution of one step's part of the sum on a grid of this width, place k holding values near k * width."""
    first, last = (math.floor(ends[0] / width), math.ceil(ends[1] / width))
    edges = (np.arange(first, last + 2) - 0.5) * width
    with np.errstate(divide="ignore"):
        if of == "mean":
            logits = special.logit(np.clip(edges, 0.0, 1.0))
        else:
            logits = np.where(edges < 0, edges - np.log(-np.expm1(np.minimum(edges, 0.0))), np.inf)
    cumulative = special.ndtr((logits - signal) / noise)
    cumulative[0], cumulative[-1] = 0.0, 1.0
    mass = np.zeros(POINTS)
    np.add.at(mass, np.arange(first, last + 1) % POINTS, np.diff(cumulative))
    return mass


def _moments_of_highest(steps: int) -> tuple[float, float]:
    """Mean and mean square of the highest of several standard normal numbers."""
    # the plain sum over an even grid, exact to rounding for a density as smooth as this
    z, width = np.linspace(-REACH, math.sqrt(2 * math.log(steps)) + REACH, 4001, retstep=True)
    log_density = (steps - 1) * special.log_ndtr(z) - z**2 / 2 + math.log(steps / math.sqrt(2 * math.pi))
    mass = np.exp(log_density) * width
    return float(z @ mass), float(z**2 @ mass)
