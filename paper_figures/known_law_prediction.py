"""Which predictions of a model of published recordings are right, where the law is known exactly: NeoRL-2's DMSD."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.known_law_prediction_panels import (
    EARLIER,
    LABELS,
    draw_amounts,
    draw_judgement,
    draw_one_step,
    draw_open_loop,
    draw_ratios,
    numbers,
    ratio,
)
from paper_figures.known_law_prediction_study import (
    ARGMAX,
    IN_DATA,
    MASSES,
    MEAN,
    ORACLE,
    PLACES,
    RANDOM,
    RULES,
    WHOLE,
    run_all,
)

TITLE = "Published recordings with a known law: which predictions to believe"
EXTRA = ("torch",)

PAPER, DATA = "2310.05422", "2503.19267"
NEAR_BEST, MOST, REFUTING = 1.05, 0.6, 0.9  # argmax over oracle; argmax over random
GOOD, BAD = 0.015, 0.05  # of the elites' mean
CLAIMS = (
    Claim(
        id="filter-picks-the-best",
        paper=PAPER,
        title="The dynamics reward picks the most precise candidate",
        says="Of an ensemble's ten candidates, the one with the largest dynamics reward is nearly the best one, and "
        "far better than a random one.",
        threshold="in data, error of the argmax at most 1.05 of the best candidate's and below .6 of a random one's "
        "(refuted at .9 of a random one's or more)",
        published="generalises better than predicting next states (no number for this task)",
        limits="Noise-ladder discriminators, our substitute for the paper's adversarial ones; 2,000 rows; positions "
        "and velocities only. Numbers of separate code known beforehand.",
    ),
    Claim(
        id="pipeline-is-precise",
        paper=DATA,
        title="Loader, record and ensemble learn the law",
        says="Fitted to 2,000 recorded rows, the mean of the elites misses the exact law by little.",
        threshold="in data, one-step error at most .015 of the standard deviation of a step's change (refuted "
        "above .05)",
        published="",
        limits="Small networks, 7 x [64, 64]. The published validation file starts where training trajectories start; "
        "one row in 58 repeats a state and action. Numbers of separate code, .011 to .013, known beforehand.",
    ),
    Claim(
        id="filter-beats-the-mean",
        paper=PAPER,
        title="A filtered sample is more precise than the mean of the elites",
        says="What the filter picks is nearer to the law than plain averaging of the elites' predictions.",
        threshold="error of the argmax below the mean's in data, under uniform actions and at doubled states, with the "
        "intervals of the ratios below 1 (refuted if all three are above 1)",
        published="generalises better than predicting next states (no number for this task)",
        limits="The law is linear, which favours averaging; nothing here is multimodal. One seed seen beforehand.",
    ),
    Claim(
        id="filter-survives-chance-columns",
        paper=PAPER,
        title="The filter works with columns in the record that only chance moves",
        says="With the two targets left in the observation, which jump once in a hundred steps, the argmax still is "
        "far more precise on positions and velocities than a random candidate.",
        threshold="in data, error of the argmax below .6 of a random one's (refuted at .9 or more)",
        published="",
        limits="The noise ladder moves every column at once, in units of its standard deviation, which for the targets "
        "is that of rare jumps. One seed seen beforehand.",
    ),
    Claim(
        id="filter-holds-open-loop",
        paper=PAPER,
        title="Filtered predictions drift less",
        says="After 50 recorded actions played blindly, the filtered model is nearer to the law than the unfiltered.",
        threshold="error of the argmax at step 50 below .6 of a random sample's (refuted at .9 or more)",
        published="",
        limits="The same start for all; the elites' mean drawn beside them. Not seen beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """By column `part`: one-step errors, correlations, candidates and open-loop errors; see `run_all`."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(17.5, 9.6), layout="constrained")
    panels = figure.subplots(2, 3)
    draw_one_step(panels[0, 0], frame)
    draw_one_step(panels[0, 1], frame, WHOLE)
    draw_ratios(panels[0, 2], frame, MOST, REFUTING)
    draw_judgement(panels[1, 0], frame)
    draw_open_loop(panels[1, 1], frame)
    draw_amounts(panels[1, 2], frame, GOOD, BAD)
    seeds = int(frame.seed.nunique())
    figure.suptitle(
        f"DMSD, two masses on springs: published recordings, exact law; means and 95% intervals, {seeds} seeds"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One-step errors by rule and place, beside the range of three seeds of separate code."""
    rows = frame[(frame.part == "one step") & (frame.record == MASSES)]
    rows = rows[rows.rows == rows.rows.min()]
    found = []
    for rule in RULES:
        line: dict[str, object] = {"prediction": LABELS[rule]}
        for place in PLACES:
            line[place] = float(numbers(rows, rule=rule, place=place).value.mean())
            low, high = EARLIER.get((place, rule), (np.nan, np.nan))
            line[f"{place}: earlier"] = f"{low:.3f} to {high:.3f}" if np.isfinite(low) else ""
        found.append(line)
    return pd.DataFrame(found)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "filter-picks-the-best": _near_best(frame),
        "pipeline-is-precise": _precise(frame),
        "filter-beats-the-mean": _against_mean(frame),
        "filter-survives-chance-columns": _taken_off(frame, WHOLE, "With the targets in the record"),
        "filter-holds-open-loop": _taken_off(frame, "open loop", "After 50 steps"),
    }


def _near_best(frame: pd.DataFrame) -> Verdict:
    best = mean_interval(ratio(frame, MASSES, IN_DATA, over=ORACLE))
    random = mean_interval(ratio(frame, MASSES, IN_DATA))
    refuted = random[0] >= REFUTING
    outcome = "supported" if best[0] <= NEAR_BEST and random[0] < MOST else "refuted" if refuted else "undecided"
    value, interval = for_verdict(best)
    sentence = (
        f"In data the argmax errs {value:.2f} times as much as the best of the ten, and {random[0]:.2f} times as much "
        f"as a random one ({random[1]:.2f} to {random[2]:.2f})."
    )
    return Verdict(outcome, f"argmax over best of ten {value:.2f}", value, interval, sentence)


def _precise(frame: pd.DataFrame) -> Verdict:
    rows = frame[(frame.part == "one step") & (frame.record == MASSES) & (frame.rule == MEAN)]
    few, more = (
        mean_interval(numbers(rows, rows=count, place=IN_DATA).value.to_numpy()) for count in sorted(rows.rows.unique())
    )
    value, interval = for_verdict(few)
    outcome = "supported" if value <= GOOD else "refuted" if value > BAD else "undecided"
    counts = [
        f"{count:,.0f} rows and {epochs:.0f} epochs" for count, epochs in rows.groupby("rows").epochs.mean().items()
    ]
    sentence = f"The elites' mean misses the law by {value:.4f} with {counts[0]}, by {more[0]:.4f} with {counts[1]}."
    return Verdict(outcome, f"one-step error {value:.4f}", value, interval, sentence)


def _against_mean(frame: pd.DataFrame) -> Verdict:
    found = {place: mean_interval(ratio(frame, MASSES, place, over=MEAN)) for place in PLACES}
    below = all(interval[2] < 1 for interval in found.values())
    above = all(interval[0] > 1 for interval in found.values())
    value, interval = for_verdict(found[IN_DATA])
    outcome = "supported" if below else "refuted" if above else "undecided"
    listed = ", ".join(f"{interval[0]:.2f} {place}" for place, interval in found.items())
    sentence = f"The argmax errs as many times as much as the mean of the elites: {listed}."
    return Verdict(outcome, f"argmax over mean {value:.2f}", value, interval, sentence)


def _taken_off(frame: pd.DataFrame, record: str, when: str) -> Verdict:
    value, interval = for_verdict(mean_interval(ratio(frame, record, IN_DATA)))
    outcome = "supported" if value < MOST else "refuted" if value >= REFUTING else "undecided"
    mean = float(np.mean(ratio(frame, record, IN_DATA, over=RANDOM, rule=MEAN)))
    sentence = (
        f"{when} the argmax errs {value:.2f} times as much as a random sample ({interval[0]:.2f} to "
        f"{interval[1]:.2f}); the mean of the elites {mean:.2f} times."
    )
    return Verdict(outcome, f"{ARGMAX} over {RANDOM} {value:.2f}", value, interval, sentence)
