"""Does a dynamics reward pick the better prediction on real MuJoCo recordings?  Held-out steps, one and many."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.mujoco_prediction_panels import draw
from paper_figures.mujoco_prediction_study import (
    ARGMAX,
    CHEETAH,
    CHOOSERS,
    HOPPER,
    MEAN,
    NEW,
    ORACLE,
    SAMPLE,
    TASKS,
    run_all,
)

TITLE = "Predicting real MuJoCo recordings: samples, filtered samples, and the plain mean"
EXTRA = ("torch", "safetensors")

PAPER = "2310.05422"
SEEDS = 3
STEPS = 10
BETTER = 0.9  # a ratio of errors below which a choice counts as better
HALF = 0.5
MISSED = 0.05
_ENOUGH = f"undecided with fewer than {SEEDS} seeds"
SAME_KIND = (CHEETAH, HOPPER)
_LADDER = (
    "The dynamics reward is of the noise ladder, our own substitute for the paper's adversarial training, whose code "
    "was not released; our adversarial trainer is shown beside it, at half its usual length."
)
_TWO = "Two recordings of about 20,000 steps, tested on episodes of the same kind. " + _LADDER
_NEW = (
    "Two episodes of the validation file, with pitches up to 4 rad against 0.9 in the training file. That was found "
    "only when the first errors were in; the test sets were told apart then, the thresholds left as they were. "
)

CLAIMS = (
    Claim(
        id="filter-beats-sample",
        paper=PAPER,
        title="The transition that the dynamics reward likes best is nearer to the truth than a random sample",
        says="On held-out episodes of the same kind, the argmax of 10 candidates has a smaller error one step ahead "
        "than a random one of them.",
        threshold=f"ratio of errors below {BETTER:g} in both recordings, with 95% intervals over seeds below 1 "
        f"(refuted if the ratio is {BETTER:g} or above in one of them; {_ENOUGH})",
        published="none for prediction errors; returns are 4.6% and 25.9% higher than the previous best",
        limits=_TWO,
    ),
    Claim(
        id="filter-helps-open-loop",
        paper=PAPER,
        title="The advantage over samples lasts when predictions are fed back",
        says=f"On the same episodes, after {STEPS} steps under the recorded actions, each prediction the start of the "
        "next, the argmax has a smaller error than a random sample.",
        threshold=f"ratio of errors below {BETTER:g} in both recordings, with 95% intervals over seeds below 1 "
        f"(refuted if the ratio is {BETTER:g} or above in one of them; {_ENOUGH})",
        published="none for prediction errors",
        limits=_TWO,
    ),
    Claim(
        id="filter-generalises",
        paper=PAPER,
        title="The advantage carries over to episodes of another kind",
        says="On the cheetah's validation file, where it turns over, the argmax has a smaller error than a random "
        f"sample one step and {STEPS} steps ahead.",
        threshold=f"ratio of errors below {BETTER:g} for both, with 95% intervals over seeds below 1 (refuted if one "
        f"of the ratios is {BETTER:g} or above; {_ENOUGH})",
        published="none for prediction errors; dynamics rewards are said to generalise strongly",
        limits=_NEW + _LADDER,
    ),
    Claim(
        id="mean-beats-filter",
        paper=PAPER,
        title="One step ahead, the plain mean of the elites is nearer to the truth than what the filter picks",
        says="On all test sets, the elites' mean, without sampling or dynamics reward, has a smaller error than the "
        "argmax of 10 samples.",
        threshold="ratio of errors, mean over argmax, below 1 with its 95% interval on all three test sets (refuted if "
        f"the ratio is 1 or above on one of them, undecided in between; {_ENOUGH})",
        published="none; the paper compares with samples",
        limits=_TWO + " A planner may need the spread that the mean has not.",
    ),
    Claim(
        id="half-of-the-gap",
        paper=PAPER,
        title="The filter closes at least half of the gap between a random candidate and the best one",
        says="On held-out episodes of the same kind, (random - argmax) / (random - best of 10) is at least one half.",
        threshold=f"share of at least {HALF:g} in both recordings (refuted if below in one of them; {_ENOUGH})",
        published="none",
        limits=_TWO,
    ),
    Claim(
        id="calibration-carries-over",
        paper=PAPER,
        title="One factor an output, from held-out rows, makes the predicted intervals right in new episodes",
        says="The share of outcomes in the central 90% interval, averaged over outputs, is within .05 of .9 in "
        "episodes that were not trained on, and nearer to it than before.",
        threshold=f"mean share within {MISSED:g} of .9 after calibration, and nearer than before, on all three test "
        f"sets (refuted otherwise; {_ENOUGH})",
        published="none; the paper uses the raw standard deviations",
        limits=_NEW + "A factor cannot mend intervals too wide in one place and too narrow in another.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows `task, seed, measure, chooser, horizon, level, value`: errors one step and open loop, and coverage."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean errors over seeds, in standard deviations of the change in one step."""
    rows = []
    for task in TASKS:
        for chooser in CHOOSERS:
            if not (errors := _errors(frame, task, chooser)).size:
                continue
            open_loop = {
                f"after {steps} steps": _errors(frame, task, chooser, "open loop", steps).mean()
                for steps in (1, 5, 10, 20)
            }
            rows.append({"recording": task, "prediction": chooser, "one step": errors.mean(), **open_loop})
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    one, many = ("one step", 1), ("open loop", STEPS)
    return {
        "filter-beats-sample": _ratio(frame, [(task, *one) for task in SAME_KIND], ARGMAX, SAMPLE, BETTER),
        "filter-helps-open-loop": _ratio(frame, [(task, *many) for task in SAME_KIND], ARGMAX, SAMPLE, BETTER),
        "filter-generalises": _ratio(frame, [(NEW, *one), (NEW, *many)], ARGMAX, SAMPLE, BETTER),
        "mean-beats-filter": _ratio(frame, [(task, *one) for task in TASKS], MEAN, ARGMAX, 1.0),
        "half-of-the-gap": _gap(frame),
        "calibration-carries-over": _calibration(frame),
    }


def _errors(frame: pd.DataFrame, task: str, chooser: str, measure: str = "one step", horizon: int = 1) -> np.ndarray:
    """By seed."""
    rows = frame[
        (frame.task == task) & (frame.chooser == chooser) & (frame.measure == measure) & (frame.horizon == horizon)
    ]
    return rows.sort_values("seed").value.to_numpy()


def _ratio(frame: pd.DataFrame, cells: list[tuple[str, str, int]], one: str, other: str, least: float) -> Verdict:
    """Supported where one error is below `least` times another in all cells, with the interval below 1."""
    found, parts = {}, []
    for cell in cells:
        task, measure, steps = cell
        errors, others = (_errors(frame, task, chooser, measure, steps) for chooser in (one, other))
        found[cell] = ratio = mean_interval(errors / others)
        parts.append(
            f"{task}, {steps} step{'s' * (steps > 1)}: {errors.mean():.3g} against {others.mean():.3g}, ratio "
            f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"
        )
    value, interval = for_verdict(max(found.values(), key=lambda ratio: ratio[0]))
    holds = all(ratio[2] < 1 for ratio in found.values())
    outcome = "refuted" if value >= least else "supported" if holds else "undecided"
    return Verdict(
        _enough(frame, outcome),
        f"largest ratio of errors, {one} over {other}: {value:.2f}",
        value,
        interval,
        f"{one} against {other}, in standard deviations of the change in one step. {'; '.join(parts)}.",
    )


def _gap(frame: pd.DataFrame) -> Verdict:
    found = {}
    for task in SAME_KIND:
        sample, best, chosen = (_errors(frame, task, chooser) for chooser in (SAMPLE, ORACLE, ARGMAX))
        found[task] = mean_interval((sample - chosen) / (sample - best))
    worst = min(found, key=lambda task: found[task][0])
    value, interval = for_verdict(found[worst])
    parts = "; ".join(f"{task} {share[0]:.2f} ({share[1]:.2f} to {share[2]:.2f})" for task, share in found.items())
    return Verdict(
        _enough(frame, "supported" if value >= HALF else "refuted"),
        f"smallest share of the gap closed: {value:.2f}",
        value,
        interval,
        f"Share of the gap between a random candidate and the best of 10 that the argmax closes: {parts}.",
    )


def _calibration(frame: pd.DataFrame) -> Verdict:
    """Coverage of the 90% interval, averaged over outputs."""
    shares = frame[(frame.measure == "coverage") & (frame.level == 0.9)]
    means = shares.groupby(["task", "chooser", "seed"]).value.mean()
    found = {
        task: {name: mean_interval(means[task, name].to_numpy()) for name in ("raw", "calibrated")} for task in TASKS
    }
    worst = max(found, key=lambda task: abs(found[task]["calibrated"][0] - 0.9))
    value, interval = for_verdict(found[worst]["calibrated"])
    missed = {task: {name: abs(share[0] - 0.9) for name, share in names.items()} for task, names in found.items()}
    holds = all(miss["calibrated"] <= MISSED and miss["calibrated"] < miss["raw"] for miss in missed.values())
    parts = "; ".join(
        f"{task} {names['raw'][0]:.2f} before, {names['calibrated'][0]:.2f} after ({names['calibrated'][1]:.2f} to "
        f"{names['calibrated'][2]:.2f})"
        for task, names in found.items()
    )
    return Verdict(
        _enough(frame, "supported" if holds else "refuted"),
        f"coverage of the 90% interval on the worst test set: {value:.2f}",
        value,
        interval,
        f"Share of new outcomes in the central 90% interval, mean over outputs: {parts}.",
    )


def _enough(frame: pd.DataFrame, outcome: str) -> str:
    return outcome if frame.seed.nunique() >= SEEDS else "undecided"
