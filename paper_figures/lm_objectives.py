"""Which objective of the GRPO family notices the unit of its reward, groups without signal, and length."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_objectives import EXPERIMENT, GROUPS, OBJECTIVES_TRIED, UNITS
from llm_scale.experiments.lm_objectives_length import AGGREGATIONS, PATTERNS
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.lm_objectives_panels import draw

TITLE = "Which objective notices the reward's unit, silent groups, and length"
EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")

EXACT = 0.01
STANDARDISED, SCALED = "grpo", ("dr_grpo", "rloo")
SAME, LESS = 0.05, 0.05
CLOSE, ERRORS = 0.02, 3.0
QUIET = 0.25
LEAST_STEPS, LEAST_SEEDS, LEAST_BATCHES = 10, 3, 10
# drift of the one weight of a model that goes on or stops, at equal batches; the mean over tokens has .0099 where each
# group is divided by its own tokens
TOY = {"sequence_mean": -0.0103, "token_mean": 0.0127, "constant": 0.0021}
_TINY = "A model of 22 thousand weights that has learned half of 75 sums by heart; samples of training."

CLAIMS = (
    Claim(
        id="unit-in-the-gradient",
        paper="2503.20783",
        title="Standardised rewards have no unit, centred ones do",
        says="On the same samples of the same model GRPO's first gradient is the same whatever a right answer is "
        "worth, and Dr. GRPO's and RLOO's are proportional to it.",
        threshold=f"norms with a reward of {UNITS[0]:g} and {UNITS[2]:g} against a reward of 1: ratio 1 for GRPO, "
        f"{UNITS[0]:g} and {UNITS[2]:g} for the others, within {EXACT:.0%}, at every seed (refuted otherwise)",
        published="none; by the formula exact but for the 1e-4 added to the standard deviation",
        limits="The first step, at which no KL term has a gradient.",
    ),
    Claim(
        id="adam-hides-the-unit",
        paper="2503.20783",
        title="Trained with AdamW nobody notices, where nothing else is in the reward",
        says="For every objective but RLOO accuracy at the end of training is the same whether a right answer is worth "
        f"{UNITS[0]:g} or {UNITS[2]:g}.",
        threshold=f"difference over the last quarter of training at most {SAME:g} for each (refuted if the 95% "
        f"interval over seeds of one lies beyond; undecided with fewer than {LEAST_SEEDS} seeds or {LEAST_STEPS} "
        "steps)",
        published="",
        limits=_TINY + " Gradients are cut to norm 1, which hides large units besides.",
    ),
    Claim(
        id="penalty-in-the-reward",
        paper="2402.14740",
        title="A KL penalty inside the reward brings the unit back",
        says=f"RLOO, whose KL penalty of .05 is part of the reward, learns less when a right answer is worth "
        f"{UNITS[0]:g} than when it is worth {UNITS[2]:g}.",
        threshold=f"accuracy over the last quarter of training at least {LESS:g} lower, 95% interval over seeds above "
        f"0 (refuted if it lies below {LESS:g}; undecided with fewer than {LEAST_SEEDS} seeds or {LEAST_STEPS} steps)",
        published="",
        limits=_TINY,
    ),
    Claim(
        id="silent-groups",
        paper="2503.14476",
        title="Groups without signal are as many as each problem's own chance says",
        says="The share of groups that are all right or all wrong is the mean over problems of p^G + (1-p)^G.",
        threshold=f"for G of {', '.join(map(str, GROUPS))} the difference is at most {CLOSE:g} and below "
        f"{ERRORS:g} standard errors (refuted if one is above both; undecided with fewer than {LEAST_SEEDS} seeds)",
        published="none; by the formula .149, .57, .90, .99 of groups of 8 with signal at p = .02, .1, .25, .5",
        limits="The chance of each problem is estimated, without bias, from as many separate samples as are counted.",
    ),
    Claim(
        id="length-bias",
        paper="2503.20783",
        title="The mean over samples and the mean over tokens pull length in opposite directions",
        says="Where being right depends on length, .6 for one token, .3 up to 8 and .75 beyond, one step shortens "
        "answers if each sample's tokens are averaged first, and lengthens them if all tokens are averaged.",
        threshold="95% interval of the expected length's drift below 0 for the one and above 0 for the other (refuted "
        f"if both lie on the same side; undecided with fewer than {LEAST_BATCHES} batches or {LEAST_SEEDS} seeds)",
        published="none; one weight instead of a model, in our own reckoning: -.0103 and +.0127",
        limits="One step, advantages less the group's mean. In training a model that tells positions apart can leave "
        "the short side again, as one did with another seed.",
    ),
    Claim(
        id="length-control",
        paper="2503.20783",
        title="No drift of length where being right does not depend on it",
        says="With a chance of .4 at every length no aggregation drifts systematically.",
        threshold=f"95% interval within {QUIET:.0%} of the drift that the same aggregation has where it depends on "
        f"length, for both means (refuted if one lies outside; undecided with fewer than {LEAST_BATCHES} batches or "
        f"{LEAST_SEEDS} seeds)",
        published="none; one weight, 400 thousand groups: less than 2.2 standard errors",
        limits="One step; a trained model's length still wanders at random.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Parts "training" (two steps a row), "groups" (a level and size), "drift" (an aggregation), "length" (a step)."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """First gradient norms and final accuracy by unit; drift of length beside the experiment on one weight."""
    norms, late = first_norms(frame), _late(frame)
    rows = []
    for objective in OBJECTIVES_TRIED:
        row = {"arm": objective}
        row |= {f"first gradient x{unit:g}": norms.loc[objective, unit].mean() for unit in UNITS}
        row |= {f"accuracy x{unit:g}": late.loc[objective, unit].mean() for unit in UNITS}
        rows.append(row)
    for aggregation in AGGREGATIONS:
        drifts = {pattern: pooled(frame, pattern, aggregation)[0] for pattern in PATTERNS}
        rows.append(
            {
                "arm": aggregation,
                "drift of length": drifts[PATTERNS[0]],
                "control": drifts[PATTERNS[1]],
                "one weight": TOY[aggregation],
            }
        )
    return pd.DataFrame(rows)


def first_norms(frame: pd.DataFrame) -> pd.DataFrame:
    """Norms of the first gradient, rows by objective and unit, columns by seed."""
    first = frame[(frame.part == "training") & (frame.step == 0)]
    return first.pivot_table(index=["arm", "unit"], columns="seed", values="gradient_norm")


def pooled(frame: pd.DataFrame, pattern: str, aggregation: str) -> tuple[float, float, float]:
    """Drift of the expected length over seeds, each weighted alike, with its 95% interval over batches."""
    rows = frame[(frame.part == "drift") & (frame.pattern == pattern) & (frame.arm == aggregation)]
    mean, error = rows["drift"].mean(), math.sqrt((rows.error**2).sum()) / len(rows)
    return float(mean), float(mean - 1.96 * error), float(mean + 1.96 * error)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "unit-in-the-gradient": _unit_in_the_gradient(frame),
        "adam-hides-the-unit": _adam_hides(frame),
        "penalty-in-the-reward": _penalty(frame),
        "silent-groups": _silent_groups(frame),
        "length-bias": _length_bias(frame),
        "length-control": _length_control(frame),
    }


def _unit_in_the_gradient(frame: pd.DataFrame) -> Verdict:
    norms = first_norms(frame)
    ratios = {name: {unit: norms.loc[name, unit] / norms.loc[name, 1.0] for unit in UNITS} for name in OBJECTIVES_TRIED}
    wanted = {STANDARDISED: lambda unit: 1.0, **dict.fromkeys(SCALED, lambda unit: unit)}
    off = max(
        float((ratios[name][unit] / want(unit) - 1).abs().max()) for name, want in wanted.items() for unit in UNITS
    )
    shown = ", ".join(f"{name} {ratios[name][10.0].mean():.4g}" for name in OBJECTIVES_TRIED)
    return Verdict(
        "supported" if off <= EXACT else "refuted",
        f"largest deviation {off:.2g}",
        off,
        None,
        f"With ten times the reward the first gradient is so many times as long: {shown}.",
    )


def _adam_hides(frame: pd.DataFrame) -> Verdict:
    late = _late(frame)
    gaps = {name: late.loc[name, UNITS[2]] - late.loc[name, UNITS[0]] for name in OBJECTIVES_TRIED if name != "rloo"}
    if _few(frame):
        worst = max(gaps, key=lambda name: abs(gaps[name].mean()))
        return Verdict("undecided", "too few seeds or steps", float(gaps[worst].mean()), None, "Too short to tell.")
    found = {name: mean_interval(gap.to_numpy()) for name, gap in gaps.items()}
    worst = max(found, key=lambda name: abs(found[name][0]))
    value, interval = for_verdict(found[worst])
    beyond = any(low > SAME or high < -SAME for _, low, high in found.values())
    outcome = "refuted" if beyond else "supported" if abs(value) <= SAME else "undecided"
    shown = ", ".join(f"{name} {mean:+.3f}" for name, (mean, _, _) in found.items())
    return Verdict(
        outcome,
        f"largest difference {value:+.3f} ({worst})",
        value,
        interval,
        f"Accuracy at the end with a reward of {UNITS[2]:g} less that with {UNITS[0]:g}: {shown}.",
    )


def _penalty(frame: pd.DataFrame) -> Verdict:
    late = _late(frame)
    small, large = late.loc["rloo", UNITS[0]], late.loc["rloo", UNITS[2]]
    sentence = (
        f"RLOO ends with {small.mean():.1%} of its answers right where one is worth {UNITS[0]:g}, with "
        f"{large.mean():.1%} where it is worth {UNITS[2]:g}; a difference of {LESS:g} was asked for."
    )
    if _few(frame):
        return Verdict("undecided", "too few seeds or steps", float((large - small).mean()), None, sentence)
    value, interval = for_verdict(mean_interval((large - small).to_numpy()))
    outcome = "supported" if value >= LESS and interval[0] > 0 else "refuted" if interval[1] < LESS else "undecided"
    return Verdict(outcome, f"accuracy lower by {value:.3f}", value, interval, sentence)


def _silent_groups(frame: pd.DataFrame) -> Verdict:
    rows = frame[frame.part == "groups"]
    by_size = rows.assign(apart=rows.seen - rows.expected, variance=rows.error**2).groupby("group")
    apart, error = by_size.apart.mean(), np.sqrt(by_size.variance.sum()) / by_size.size()
    far, unlikely = apart.abs() > CLOSE, apart.abs() > ERRORS * error
    worst = apart.abs().idxmax()
    outcome = "refuted" if (far & unlikely).any() else "undecided" if (far | unlikely).any() else "supported"
    if rows.seed.nunique() < LEAST_SEEDS:
        outcome = "undecided"
    seen, expected, naive = by_size.seen.mean(), by_size.expected.mean(), by_size.from_mean_chance.mean()
    shown = ", ".join(f"{seen[size]:.3f} ({expected[size]:.3f}, {naive[size]:.3f})" for size in map(int, seen.index))
    value, width = float(apart[worst]), 1.96 * float(error[worst])
    return Verdict(
        outcome,
        f"largest difference {value:+.3f} (G = {worst:g})",
        value,
        (value - width, value + width),
        f"Silent groups of {', '.join(map(str, GROUPS))}: {shown}; in brackets what the problems' own chances say, and "
        "what their mean chance would.",
    )


def _length_bias(frame: pd.DataFrame) -> Verdict:
    short, long, constant = (pooled(frame, PATTERNS[0], aggregation) for aggregation in AGGREGATIONS)
    same_side = (short[2] < 0 and long[2] < 0) or (short[1] > 0 and long[1] > 0)
    outcome = "supported" if short[2] < 0 < long[1] else "refuted" if same_side else "undecided"
    rows = frame[frame.part == "length"]
    last = rows[rows.step == rows.step.max()].groupby("arm").length.mean()
    ends = ", ".join(f"{last[aggregation]:.1f}" for aggregation in AGGREGATIONS)
    return Verdict(
        "undecided" if _few_batches(frame) else outcome,
        f"drift with the mean over samples {short[0]:+.2f}",
        short[0],
        short[1:],
        f"Tokens a unit of step: {short[0]:+.2f} with the mean over samples, {long[0]:+.2f} over tokens, "
        f"{constant[0]:+.2f} with a constant divisor, in proportion {short[0] / long[0]:.2f} : 1 : "
        f"{constant[0] / long[0]:.2f} (one weight: -.81 : 1 : .17). Trained for {rows.step.max() + 1:.0f} steps "
        f"answers end at {ends} tokens (one weight, 3000 steps: 1.0, 28.6, 28.9).",
    )


def _length_control(frame: pd.DataFrame) -> Verdict:
    shares = {}
    for aggregation in AGGREGATIONS[:2]:
        whole = abs(pooled(frame, PATTERNS[0], aggregation)[0])
        shares[aggregation] = tuple(part / whole for part in pooled(frame, PATTERNS[1], aggregation))
    worst = max(shares, key=lambda name: max(map(abs, shares[name][1:])))
    inside = all(low >= -QUIET and high <= QUIET for _, low, high in shares.values())
    outside = any(low > QUIET or high < -QUIET for _, low, high in shares.values())
    outcome = "supported" if inside else "refuted" if outside else "undecided"
    mean, low, high = shares[worst]
    shown = ", ".join(f"{name} {share[0]:+.1%}" for name, share in shares.items())
    return Verdict(
        "undecided" if _few_batches(frame) else outcome,
        f"drift in the control {mean:+.1%} of that with dependence ({worst})",
        mean,
        (low, high),
        f"Without dependence on length the drift is this share of what it is with it: {shown}.",
    )


def _late(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy over the last quarter of training, rows by objective and unit, columns by seed."""
    rows = frame[frame.part == "training"]
    rows = rows[rows.step >= 3 * (rows.step.max() + 1) // 4]
    return rows.pivot_table(index=["arm", "unit"], columns="seed", values="accuracy")


def _few(frame: pd.DataFrame) -> bool:
    rows = frame[frame.part == "training"]
    return rows.seed.nunique() < LEAST_SEEDS or rows.step.nunique() < LEAST_STEPS


def _few_batches(frame: pd.DataFrame) -> bool:
    rows = frame[frame.part == "drift"]
    return rows.batches.min() < LEAST_BATCHES or rows.seed.nunique() < LEAST_SEEDS
