"""Three signals in one reward on a language model: what a change of unit costs, and whether joining beats adding."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_three_signals import ARMS, CONJUNCTION, EXPERIMENT, NORMALISED, SUM, UNITS
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.lm_three_signals_panels import draw

TITLE = "Right, brief and well formed at once, in one unit and in another"
EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")

LOSS, GAIN = 0.03, 0.03
EQUAL = 1e-6
NORMS = 1e-3
SEEDS, STEPS = 3, 20
REACHED, WINDOW = 0.6, 5  # accuracy, as a mean over so many steps
TOY = {  # small experiment of two independent signals: steps to an accuracy of .9 with length in units of 1/s
    (SUM, 1): "46 (.01), 88 (1)",
    (SUM, 100): "103.5 (10)",
    (NORMALISED, 1): "57",
    (NORMALISED, 100): "57",
}
_ENOUGH = f"undecided with fewer than {SEEDS} seeds or {STEPS} steps"
_TINY = (
    "A model of 22 thousand weights that learns 75 sums by heart; all three signals can be had at once, and only "
    "brevity is more than yes or no."
)

CLAIMS = (
    Claim(
        id="unit-costs-the-sum",
        paper="2601.05242",
        title="A finer unit of one signal costs the weighted sum accuracy",
        says="With brevity in per cent instead of as a share, the share of right answers over the whole training is "
        "lower where signals are added up and the sum is standardised.",
        threshold=f"mean over all steps at least {LOSS:g} lower, 95% interval over seeds above 0 (refuted if it lies "
        f"below {LOSS:g}; {_ENOUGH})",
        published="none; two independent signals without a model: accuracy .9 after 46 to 103.5 steps by unit",
        limits=_TINY + " Brevity is soon learned, and with it what drowns the others is gone: a delay.",
    ),
    Claim(
        id="normalised-has-no-unit",
        paper="2601.05242",
        title="Standardised before they are added up, signals have no unit",
        says="The training is the same, number for number, in both units.",
        threshold=f"accuracy, share with all three and length equal to {EQUAL:g} at every step and seed, gradient "
        f"norms to {NORMS:.0%} (refuted otherwise; undecided with fewer than {STEPS} steps)",
        published="none; 57 steps in every unit, in the same experiment without a model",
        limits="Without the small number that trainers add to the standard deviation; with 1e-4 of it the advantages "
        "differ by up to a thousandth.",
    ),
    Claim(
        id="joined-beats-added",
        paper="2402.00742",
        title="Joined as log-probabilities, more answers satisfy all three",
        says="At equal steps the conjunction of log-sigmoids has a higher share of answers that are right, brief and "
        "well formed than the sum of the signals with equal weights.",
        threshold=f"mean over all steps at least {GAIN:g} higher, 95% interval over seeds above 0 (refuted if it lies "
        f"below {GAIN:g}; {_ENOUGH})",
        published="none; graded rewards without training, at a KL of 3: .66 of responses good in both, .40 for the sum",
        limits=_TINY,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a step of each arm, unit and seed."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over training and over its last quarter, and how soon sums are known, beside the experiment on a toy."""
    late = _late(frame)
    rows = []
    for arm in ARMS:
        for unit in UNITS:
            whole, last = (_of(part, arm, unit) for part in (frame, late))
            rows.append(
                {
                    "arm": arm,
                    "brevity in units of": f"1/{unit}",
                    "accuracy": whole.correct.mean(),
                    "all three": whole.all_three.mean(),
                    "accuracy, last quarter": last.correct.mean(),
                    "all three, last quarter": last.all_three.mean(),
                    "tokens, last quarter": last.length.mean(),
                    f"steps to accuracy {REACHED:g}": steps_to(whole, REACHED),
                    "toy: steps to .9 (unit)": TOY.get((arm, unit), ""),
                }
            )
    return pd.DataFrame(rows)


def steps_to(rows: pd.DataFrame, level: float) -> str:
    """Steps until the accuracy, averaged over a window and over seeds, reaches a level."""
    mean = rows.groupby("step").correct.mean().rolling(WINDOW).mean()
    reached = mean.index[mean >= level]
    return str(reached[0]) if len(reached) else f"> {rows.step.max()}"


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    lost = _gap(frame, "correct", (SUM, 1), (SUM, 100))
    gained = _gap(frame, "all_three", (CONJUNCTION, 1), (SUM, 1))
    means = frame.groupby(["arm", "unit"])[["correct", "all_three"]].mean()
    late = _late(frame).groupby(["arm", "unit"])[["correct", "all_three"]].mean()
    return {
        "unit-costs-the-sum": _judged(
            frame,
            lost,
            LOSS,
            "mean accuracy lower by",
            f"Of the weighted sum's answers {means.correct[SUM, 1]:.1%} are right over the training with brevity as a "
            f"share, {means.correct[SUM, 100]:.1%} in per cent; in the last quarter {late.correct[SUM, 1]:.1%} and "
            f"{late.correct[SUM, 100]:.1%}.",
        ),
        "normalised-has-no-unit": _no_unit(frame),
        "joined-beats-added": _judged(
            frame,
            gained,
            GAIN,
            "share with all three higher by",
            f"All three: {means.all_three[CONJUNCTION, 1]:.1%} of the conjunction's answers, "
            f"{means.all_three[SUM, 1]:.1%} of the sum's. Of a signal that is 0 or 1 a log-sigmoid makes two other "
            "numbers, so joining is adding with other weights. In the wrong unit the conjunction takes every answer "
            f"for brief: {means.all_three[CONJUNCTION, 100]:.1%}.",
        ),
    }


def _late(frame: pd.DataFrame) -> pd.DataFrame:
    """The last quarter of training."""
    return frame[frame.step >= 3 * (frame.step.max() + 1) // 4]


def _of(frame: pd.DataFrame, arm: str, unit: int) -> pd.DataFrame:
    return frame[(frame.arm == arm) & (frame.unit == unit)]


def _gap(frame: pd.DataFrame, column: str, one: tuple[str, int], other: tuple[str, int]) -> np.ndarray:
    """Mean over training of one arm less another's, paired by seed, with its interval over seeds."""
    means = (_of(frame, *arm).groupby("seed")[column].mean() for arm in (one, other))
    return mean_interval(np.subtract(*means).to_numpy())


def _judged(frame: pd.DataFrame, found: np.ndarray, least: float, name: str, sentence: str) -> Verdict:
    value, interval = for_verdict(found)
    outcome = "supported" if value >= least and interval[0] > 0 else "refuted" if interval[1] < least else "undecided"
    if frame.seed.nunique() < SEEDS or frame.step.nunique() < STEPS:
        outcome = "undecided"
    return Verdict(outcome, f"{name} {value:.3f}", value, interval, sentence)


def _no_unit(frame: pd.DataFrame) -> Verdict:
    columns = ["correct", "all_three", "length", "gradient_norm"]
    one, other = (_of(frame, NORMALISED, unit).set_index(["seed", "step"])[columns] for unit in UNITS)
    apart = (one - other).abs()
    worst = float(apart[columns[:3]].to_numpy().max())
    norms = float((apart.gradient_norm / one.gradient_norm.clip(lower=1e-9)).max())
    same = worst <= EQUAL and norms <= NORMS
    outcome = "supported" if same else "refuted"
    return Verdict(
        "undecided" if frame.step.nunique() < STEPS else outcome,
        f"largest difference {worst:.2g}",
        worst,
        None,
        f"Over {len(apart)} steps of {frame.seed.nunique()} seeds accuracy, share with all three and length differ by "
        f"{worst:.2g} at most between the units, gradient norms by {norms:.1e} of themselves.",
    )
