"""Weights of auxiliary rewards learned on a language model: can they tell a helpful reward from a harmful one?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_blend import ARMS, EXPERIMENT, FROM_NOTHING, FROM_SUM, NAIVE, PRIMARY, SLOW_FROM_SUM
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.lm_blend_panels import draw

TITLE = "A reward blend learned on a language model, with a helpful and a harmful reward to blend in"
EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")

MARGIN = 0.02
LOST = 0.01  # share of right answers below which a policy does not find back
SEEDS, STEPS = 3, 40
PAPER = "2310.19007"
_ENOUGH = f"undecided with fewer than {SEEDS} seeds or {STEPS} steps"
_TINY = (
    "A model of 22 thousand weights and sums of two digits; the harmful reward, a third of a point a character, was "
    "chosen because it harms."
)
# on the 5 x 5 grid, exact return in the end: sampled_barfi
GRID = {PRIMARY: ".843", NAIVE: "-.084", FROM_NOTHING: ".852", FROM_SUM: ".867", SLOW_FROM_SUM: ".670"}

CLAIMS = (
    Claim(
        id="weights-tell-them-apart",
        paper=PAPER,
        title="The learned weights tell a helpful reward from a harmful one",
        says="From 0, the weight of the share of right digits ends above 0, and that of length at 0 or below it, or at "
        "least below the other.",
        threshold="95% interval over seeds of the first above 0, and the second's mean at most 0 or its interval below "
        f"that of the first (refuted otherwise; {_ENOUGH})",
        published="robust to misspecified auxiliary rewards (no number at hand)",
        limits=_TINY + " The first-order form, under Adam, whose rescaling of the step the inner product leaves out.",
    ),
    Claim(
        id="no-worse-than-primary",
        paper=PAPER,
        title="A learned blend does no worse than the primary reward alone, at equal samples",
        says="From weights of 0 the share of right sampled answers to held-out sums ends no lower.",
        threshold=f"95% interval over seeds of the paired difference not below -{MARGIN:g} at its lower end (refuted "
        f"otherwise; {_ENOUGH})",
        published="consistently high-performing (no number at hand)",
        limits=_TINY + " Equal samples are not equal work: one backward pass a reward.",
    ),
    Claim(
        id="sum-falls",
        paper=PAPER,
        title="The plain sum falls below the primary reward alone",
        says="With both auxiliary rewards added at weight 1 the share of right answers ends lower.",
        threshold=f"95% interval over seeds of the paired difference below 0 (refuted otherwise; {_ENOUGH})",
        published="adding them can produce misaligned behaviour (no number at hand)",
        limits=_TINY,
    ),
    Claim(
        id="commits-before-weights-move",
        paper=PAPER,
        title="A policy that commits before the weights move stays lost",
        says="Started from the plain sum, weights that move by .05 a step do not save the policy, weights that move by "
        ".2 do.",
        threshold="slow less primary: 95% interval of the paired difference below 0; quick less slow: above 0 (refuted "
        f"otherwise; {_ENOUGH})",
        published="none; on a 5 x 5 grid one of five seeds was lost at .05 and none at .2",
        limits=_TINY
        + " Suspected beforehand from one other seed, which was lost with slow weights and not with quick ones.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows of steps by arm and seed: accuracy on held-out sums, weights, means of the samples since the row before."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """By arm: accuracy before and after, length, and weights in the end, beside the return of a tabular learner."""
    rows = []
    for arm in ARMS:
        of_arm = frame[frame.arm == arm]
        rows.append(
            {
                "arm": arm,
                "accuracy before": float(of_arm[of_arm.step == 0].accuracy.mean()),
                "accuracy after": _ends(frame, arm, "accuracy").mean(),
                "seeds lost": f"{(_ends(frame, arm, 'accuracy') < LOST).sum()} of {of_arm.seed.nunique()}",
                "characters": _ends(frame, arm, "longer").mean(),
                "weight of right digits": _ends(frame, arm, "overlap_weight").mean(),
                "weight of characters": _ends(frame, arm, "longer_weight").mean(),
                "5 x 5 grid: return": GRID[arm],
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    after = {arm: _ends(frame, arm, "accuracy").mean() for arm in ARMS}
    blend = _gap(frame, FROM_NOTHING, PRIMARY)
    total = _gap(frame, NAIVE, PRIMARY)
    return {
        "weights-tell-them-apart": _told_apart(frame),
        "no-worse-than-primary": _judged(
            frame,
            blend,
            blend[1] >= -MARGIN,
            "accuracy, learned less primary",
            f"Right in the end: {after[FROM_NOTHING]:.1%} with learned weights, {after[PRIMARY]:.1%} with the primary "
            f"reward alone, {after[FROM_SUM]:.1%} with weights learned quickly from the plain sum.",
        ),
        "sum-falls": _judged(
            frame,
            total,
            total[2] < 0,
            "accuracy, plain sum less primary",
            f"Right in the end: {after[NAIVE]:.1%} with the plain sum, whose answers have "
            f"{_ends(frame, NAIVE, 'longer').mean():.1f} characters, {after[PRIMARY]:.1%} with the primary alone.",
        ),
        "commits-before-weights-move": _commits(frame),
    }


def _ends(frame: pd.DataFrame, arm: str, column: str) -> np.ndarray:
    """The last value of each seed, in the order of the seeds."""
    known = frame[(frame.arm == arm) & frame[column].notna()]
    return known.sort_values(["seed", "step"]).groupby("seed")[column].last().to_numpy()


def _gap(frame: pd.DataFrame, one: str, other: str) -> np.ndarray:
    """Accuracy of one arm less another's in the end, paired by seed, with its interval over seeds."""
    return mean_interval(_ends(frame, one, "accuracy") - _ends(frame, other, "accuracy"))


def _judged(frame: pd.DataFrame, found: np.ndarray, holds: bool, name: str, sentence: str) -> Verdict:
    value, interval = for_verdict(found)
    enough = frame.seed.nunique() >= SEEDS and frame.step.max() >= STEPS
    outcome = ("supported" if holds else "refuted") if enough else "undecided"
    return Verdict(outcome, f"{name} {value:+.3f}", value, interval, sentence)


def _told_apart(frame: pd.DataFrame) -> Verdict:
    helpful, harmful = (mean_interval(_ends(frame, FROM_NOTHING, f"{name}_weight")) for name in ("overlap", "longer"))
    holds = helpful[1] > 0 and (harmful[0] <= 0 or harmful[2] < helpful[1])
    rows = frame[frame.arm == FROM_NOTHING]
    return _judged(
        frame,
        helpful,
        holds,
        "weight of right digits",
        f"From 0 the weight of right digits ends at {helpful[0]:.2f}, that of characters at {harmful[0]:.2f} (95% "
        f"interval {harmful[1]:.2f} to {harmful[2]:.2f}). Their gradients' mean cosines to the primary reward's are "
        f"{rows.overlap_cosine.mean():.2f} and {rows.longer_cosine.mean():.2f}; under the plain sum, which acts "
        f"on length, the latter is {frame[frame.arm == NAIVE].longer_cosine.mean():.2f}.",
    )


def _commits(frame: pd.DataFrame) -> Verdict:
    slow, freed = _gap(frame, SLOW_FROM_SUM, PRIMARY), _gap(frame, FROM_SUM, SLOW_FROM_SUM)
    after = {arm: _ends(frame, arm, "accuracy").mean() for arm in (SLOW_FROM_SUM, FROM_SUM)}
    weight = {arm: _ends(frame, arm, "longer_weight").mean() for arm in after}
    lost = {arm: (_ends(frame, arm, "accuracy") < LOST).sum() for arm in after}
    return _judged(
        frame,
        slow,
        slow[2] < 0 and freed[1] > 0,
        "accuracy, slow weights less primary",
        f"From the plain sum, {after[SLOW_FROM_SUM]:.1%} are right in the end with weights that move by .05 a step, "
        f"{after[FROM_SUM]:.1%} with .2; the weight of characters ends at {weight[SLOW_FROM_SUM]:.2f} and "
        f"{weight[FROM_SUM]:.2f}. Lost, with under {LOST:.0%} right, are {lost[SLOW_FROM_SUM]} and {lost[FROM_SUM]} of "
        f"{frame.seed.nunique()} seeds.",
    )
