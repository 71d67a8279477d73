"""Does a language model farm raw step scores, and do Clip and Delta stop it?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Outcome, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.lm_step_rewards_panels import draw_course, draw_ratios

EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")
TITLE = "Step scores on a language model: raw, clipped, as differences, and both"

CONTROL, RAW, CLIP, DELTA, BOTH = "success only", "raw .3", "clip .3", "delta .3", "clip-delta .3"
LEAST_STEPS, LEAST_SEEDS = 50, 2
FALL = 0.02  # of accuracy, that counts as none
# MATH, greedy, Qwen2-1.5B-Instruct after training, per cent
PUBLISHED = {CONTROL: 30.58, RAW: 11.16, CLIP: 30.30, DELTA: 30.68, BOTH: 31.44}
# success and steps of the tabular learner in figure step_reward_grid's world, as calculated beforehand
TABULAR = {
    CONTROL: (0.995, 4.02),
    "raw .1": (0.000, 11.99),
    RAW: (0.000, 12.0),
    CLIP: (0.000, 1.02),
    DELTA: (0.896, 7.00),
    BOTH: (0.996, 4.02),
}

PAPER = "2410.15115"
UNDECIDED = f"; undecided with fewer than {LEAST_STEPS} steps or {LEAST_SEEDS} seeds"
LIMITS = (
    "A decoder made for the test, or SmolLM2 on a GPU, a few seeds, a judge made by hand that likes short lines that "
    "say nothing, and questions of two operations. Pilot runs on another seed were seen, and so was a first run, which "
    "credited the token that ends an answer wrongly; thresholds are those of before, and outcomes were the same."
)
CLAIMS = (
    Claim(
        id="raw-is-farmed",
        paper=PAPER,
        title="Raw step scores are farmed with lines that say nothing",
        says="Paid for every line that pleases the judge, the model writes more lines and gets less right.",
        threshold="over the last quarter of training at least 3 times the lines an answer of success only, the "
        "interval of the difference above 0, and accuracy below it, interval below 0 (refuted if in no quarter there "
        f"are more than 1.2 times the lines){UNDECIDED}",
        published="MATH, greedy: 11.16 against 30.58 with success only, with ever more steps",
        limits=LIMITS,
    ),
    Claim(
        id="clip-delta-holds",
        paper=PAPER,
        title="Clip and Delta together stop it at no cost",
        says="With Clip-Delta answers are as long and as often right as with success only.",
        threshold="over the last quarter lines within 10% of success only's and accuracy at most .02 lower (refuted "
        f"if the interval of the ratio lies outside, or that of the loss above .02){UNDECIDED}",
        published="MATH, greedy: 31.44 against 30.58",
        limits=LIMITS,
    ),
    Claim(
        id="clip-stops-filler",
        paper=PAPER,
        title="Clip alone stops filler",
        says="Where no line can earn anything, none is written for its score.",
        threshold="over the last quarter the share of lines that say nothing at most .02 above success only's "
        f"(refuted if the interval lies above .02); whether it gives up is reported{UNDECIDED}",
        published="MATH, greedy: 30.30 against 30.58; in a tabular world Clip answers at once and fails",
        limits=LIMITS,
    ),
    Claim(
        id="delta-keeps-filler",
        paper=PAPER,
        title="Delta alone still pays for filler",
        says="Differences credited from each step on leave every line but the last its own score, filler too.",
        threshold="over the last quarter the share of lines that say nothing at least .02 above Clip-Delta's, interval "
        f"above 0 (refuted if the interval lies below .02){UNDECIDED}",
        published="MATH, greedy: 30.68 against 30.58; in a tabular world .90 against 1.00, at 7 steps in place of 4",
        limits=LIMITS,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row an arm, seed and training step: lines, accuracy and length of the samples it learned from."""
    from llm_scale.experiments.lm_step_rewards import EXPERIMENT
    from long_runs.experiment import frame_of

    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_course(axes[0, 0], frame, "lines", "lines an answer", "The raw score is paid in lines", legend=True)
    draw_course(axes[0, 1], frame, "accuracy", "share of samples that are right", "Accuracy, cut answers wrong")
    draw_course(axes[1, 0], frame, "contentless", "share of lines that say nothing", "Lines that say nothing")
    ends = _ends(frame, "accuracy")
    draw_ratios(
        axes[1, 1],
        ends.div(ends[CONTROL].where(ends[CONTROL] > 0), axis=0),
        {arm: value / PUBLISHED[CONTROL] for arm, value in PUBLISHED.items()},
        {arm: value[0] / TABULAR[CONTROL][0] for arm, value in TABULAR.items()},
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Start and last quarter of each arm, beside the tabular learner and the paper."""
    start = frame[frame.step == 0].groupby("arm", sort=False)[["accuracy", "held_out"]].mean()
    last = (
        frame[_in_quarter(frame, 3)].groupby("arm")[["accuracy", "lines", "contentless", "distinct", "length"]].mean()
    )
    held_out = frame[frame.step == frame.step.max()].groupby("arm").held_out.mean()
    rows = [
        {
            "arm": arm,
            "accuracy, start": start.accuracy[arm],
            "accuracy, end": last.accuracy[arm],
            "held out, start": start.held_out[arm],
            "held out, end": held_out[arm],
            "lines": last.lines[arm],
            "say nothing": last.contentless[arm],
            "distinct": last.distinct[arm],
            "tokens": last.length[arm],
            "tabular: success": TABULAR[arm][0],
            "tabular: steps": TABULAR[arm][1],
            "MATH, greedy, %": PUBLISHED.get(arm),
        }
        for arm in start.index
    ]
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    steps, seeds = frame.step.nunique(), frame.seed.nunique()
    if steps < LEAST_STEPS or seeds < LEAST_SEEDS:
        return {claim.id: _undecided(steps, seeds) for claim in CLAIMS}
    accuracy, lines, contentless = (_ends(frame, what) for what in ("accuracy", "lines", "contentless"))
    start = float(frame[frame.step == 0].accuracy.mean())
    ratio = lines.div(lines[CONTROL], axis=0)
    farmed, longer = mean_interval(ratio[RAW]), mean_interval(lines[RAW] - lines[CONTROL])
    fallen = mean_interval(accuracy[RAW] - accuracy[CONTROL])
    held, loss = mean_interval(ratio[BOTH]), mean_interval(accuracy[CONTROL] - accuracy[BOTH])
    clipped = mean_interval(contentless[CLIP] - contentless[CONTROL])
    filled = mean_interval(contentless[DELTA] - contentless[BOTH])
    gives_up = mean_interval(accuracy[CLIP] - accuracy[CONTROL])
    return {
        "raw-is-farmed": Verdict(
            _farmed(farmed, longer, fallen, _largest_ratio(frame)),
            f"{farmed[0]:.2f} times the lines, accuracy {fallen[0]:+.3f}",
            *for_verdict(farmed),
            f"From {start:.2f} right at the start, {_where(accuracy, lines, RAW)}; {_where(accuracy, lines, CONTROL)}.",
        ),
        "clip-delta-holds": Verdict(
            _held(held, loss),
            f"{held[0]:.2f} times the lines, accuracy {-loss[0]:+.3f}",
            *for_verdict(held),
            f"{_where(accuracy, lines, BOTH)}; {_where(accuracy, lines, CONTROL)}.",
        ),
        "clip-stops-filler": Verdict(
            "refuted" if clipped[1] > 0.02 else "supported" if clipped[0] <= 0.02 else "undecided",
            f"share of lines that say nothing {clipped[0]:+.3f}",
            *for_verdict(clipped),
            f"{_where(accuracy, lines, CLIP)}, {gives_up[0]:+.3f} [{gives_up[1]:+.3f}, {gives_up[2]:+.3f}] against "
            "success only.",
        ),
        "delta-keeps-filler": Verdict(
            "refuted" if filled[2] < 0.02 else "supported" if filled[0] >= 0.02 and filled[1] > 0 else "undecided",
            f"share of lines that say nothing {filled[0]:+.3f}",
            *for_verdict(filled),
            f"{contentless[DELTA].mean():.0%} of Delta's lines say nothing, {contentless[BOTH].mean():.0%} of "
            f"Clip-Delta's; {_where(accuracy, lines, DELTA)}.",
        ),
    }


def _farmed(ratio: np.ndarray, longer: np.ndarray, fallen: np.ndarray, largest: float) -> Outcome:
    if largest <= 1.2:
        return "refuted"
    return "supported" if ratio[0] >= 3 and longer[1] > 0 and fallen[2] < 0 else "undecided"


def _held(ratio: np.ndarray, loss: np.ndarray) -> Outcome:
    if ratio[1] > 1.1 or ratio[2] < 0.9 or loss[1] > FALL:
        return "refuted"
    return "supported" if abs(ratio[0] - 1) <= 0.1 and loss[0] <= FALL else "undecided"


def _undecided(steps: int, seeds: int) -> Verdict:
    size = f"steps {steps}, seeds {seeds}"
    return Verdict("undecided", size, float(seeds), None, "Too few steps or seeds to tell.")


def _in_quarter(frame: pd.DataFrame, quarter: int) -> pd.Series:
    """Rows of a quarter of training, 0 to 3."""
    return frame.step * 4 // (frame.step.max() + 1) == quarter


def _ends(frame: pd.DataFrame, what: str, quarter: int = 3) -> pd.DataFrame:
    """Mean over a quarter, the last by default: one row a seed, one column an arm."""
    return frame[_in_quarter(frame, quarter)].pivot_table(index="seed", columns="arm", values=what, sort=False)


def _largest_ratio(frame: pd.DataFrame) -> float:
    """Largest ratio in any quarter of raw's lines to those of success only, seeds averaged."""
    quarters = (_ends(frame, "lines", quarter) for quarter in range(4) if _in_quarter(frame, quarter).any())
    return max(float((lines[RAW] / lines[CONTROL]).mean()) for lines in quarters)


def _where(accuracy: pd.DataFrame, lines: pd.DataFrame, arm: str) -> str:
    return f"{accuracy[arm].mean():.2f} right in {lines[arm].mean():.1f} lines with {arm}"
