"""Cells and picture of the grid of step rewards and weights, and the numbers of separate code to hold them against."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.intervals import mean_interval
from paper_figures.step_reward_study import median_interval, runs_of
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from rewardlab.process.filler_theory import FillerEquilibrium, filler_equilibrium, filler_threshold

LOOKS = {  # label, how its markers look; the causal differences lie under Clip-Delta
    "causal_delta": ("causal Delta", {"color": GREEN, "marker": "o", "markersize": 9, "markerfacecolor": "none"}),
    "raw": ("raw", {"color": VERMILLION, "marker": "s", "markersize": 5}),
    "clip": ("Clip", {"color": ORANGE, "marker": "^", "markersize": 5}),
    "delta": ("Delta", {"color": PURPLE, "marker": "D", "markersize": 5}),
    "clip_delta": ("Clip-Delta", {"color": BLUE, "marker": "o", "markersize": 4}),
}
IN_THEORY = {"linestyle": "--", "linewidth": 2.6, "alpha": 0.45}
COLUMNS = {"success": 0, "length": 1, "filler": 2}  # places in the cells of EARLIER
IN_TABLE_ONLY = ("clip_causal_delta", "length_normalised", "min_form")
WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.3, 1.0)
SOLVED_WEIGHTS = (0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.6, 1.0)
SOLVED_TICKS = (0.05, 0.1, 0.2, 0.3, 0.6, 1.0)
AXIS_END = 600  # iterations
SOLVED_MODES = ("raw", "delta", "clip_delta")
FILLER_SCORE, ANSWER_SCORE, HORIZON, LEVELS, HAZARD = 0.9, 0.9, 12, 3, 1 / 12
THRESHOLD_WEIGHT = filler_threshold(filler_score=FILLER_SCORE, answer_score=ANSWER_SCORE, hazard=HAZARD)

# separate code, earlier, 10 seeds: success, length, filler steps, median iteration to success .9, by weight
NEVER = np.inf
EARLIER = {
    "raw": (
        (0.995, 4.03, 0.03, 312),
        (0.771, 7.22, 4.07, 338),
        (0.0, 11.99, 11.98, NEVER),
        *[(0.0, 12.0, 12.0, NEVER)] * 3,
    ),
    "clip": (
        (0.995, 4.02, 0.01, 325),
        (0.669, 3.20, 0.06, 925),
        (0.0, 1.06, 0.03, NEVER),
        *[(0.0, 1.02, 0.01, NEVER)] * 2,
        (0.0, 1.01, 0.00, NEVER),
    ),
    "delta": (
        (0.995, 4.02, 0.02, 325),
        (0.995, 4.03, 0.03, 275),
        (0.990, 4.51, 0.50, 250),
        (0.934, 6.51, 2.56, 225),
        (0.896, 7.00, 3.09, 375),
        (0.350, 10.84, 7.52, NEVER),
    ),
    "clip_delta": (
        (0.995, 4.02, 0.02, 325),
        (0.995, 4.02, 0.02, 300),
        (0.995, 4.02, 0.02, 288),
        (0.996, 4.02, 0.02, 250),
        (0.996, 4.02, 0.02, 225),
        (0.997, 4.02, 0.02, 175),
    ),
    "success_only": ((0.995, 4.02, 0.02, 375),),
}


def cells_of(frame: pd.DataFrame, mode: str, column: str, part: str = "task") -> np.ndarray:
    """Mean and interval over seeds at each weight, `(3, weights)`."""
    runs = runs_of(frame, part=part, mode=mode)
    return np.stack([mean_interval(each[column]) for _, each in runs.groupby("weight")], axis=1)


def medians_of(frame: pd.DataFrame, mode: str) -> np.ndarray:
    runs = runs_of(frame, part="task", mode=mode)
    return np.stack([median_interval(each.solved) for _, each in runs.groupby("weight")], axis=1)


def against_success_only(frame: pd.DataFrame, mode: str) -> np.ndarray:
    """Ratio of median iterations at each weight to that of success only, with intervals, `(3, weights)`."""
    alone = runs_of(frame, part="task", mode="success_only").solved
    runs = runs_of(frame, part="task", mode=mode)
    return np.stack([median_interval(each.solved, alone) for _, each in runs.groupby("weight")], axis=1)


def before_deadline(weights: np.ndarray) -> FillerEquilibrium:
    """Delta's closed form with the decisions that are left once the task is solved."""
    return filler_equilibrium(FILLER_SCORE * np.asarray(weights, float), steps=HORIZON - LEVELS)


def draw_grid(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    (success, length, filler), (speed, answering, solved) = figure.subplots(2, 3)
    for axes, column in zip((success, length, filler), COLUMNS):
        _draw_grid(axes, frame, column)
    success.set(title="Is it solved?", ylabel="success")
    length.set(title="How many steps", ylabel="steps", ylim=(0, None))
    filler.set(title="How many of them filler", ylabel="filler steps")
    _draw_deadline(success, length, filler)
    _draw_speed(speed, frame)
    _draw_solved(answering, frame, "answering", "answer_probability")
    answering.set(title="A solved state: is it answered?", ylabel="chance of answering at a step")
    _draw_solved(solved, frame, "late_success", "success")
    solved.set(title="A solved state: success", ylabel="success")
    for axes in (success, length, filler, speed, answering, solved):
        ticks = SOLVED_TICKS if axes in (answering, solved) else WEIGHTS
        axes.set(xlabel="weight of the step reward", xscale="log")
        axes.set_xticks(ticks, [f"{weight:g}" for weight in ticks])
        axes.set_xticks([], minor=True)
    handles, labels = success.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.4)
    seeds = runs_of(frame, part="task").seed.nunique()
    figure.suptitle(
        f"Five step rewards in a task of three steps and an answer, at most {HORIZON} steps; "
        f"means with 95% intervals, {seeds} seeds"
    )
    return figure


def _draw_grid(axes, frame: pd.DataFrame, column: str) -> None:
    alone = runs_of(frame, part="task", mode="success_only")[column].mean()
    for place, (mode, (label, look)) in enumerate(LOOKS.items()):
        mean, low, high = cells_of(frame, mode, column)
        weights = np.array(WEIGHTS) * 1.04 ** (place - 2)  # side by side
        axes.errorbar(weights, mean, [mean - low, high - mean], capsize=2, label=label, **look)
        earlier = [cell[COLUMNS[column]] for cell in EARLIER.get(mode, ())]
        axes.plot(weights[: len(earlier)], earlier, "x", color=BLACK, markersize=5, markeredgewidth=0.8, zorder=5)
    axes.plot([], [], "x", color=BLACK, markersize=5, markeredgewidth=0.8, label="separate code, earlier")
    axes.axhline(alone, color=BLACK, linewidth=1, linestyle=":", label="success reward only", zorder=1)
    axes.axvline(THRESHOLD_WEIGHT, color=GREY, linewidth=1, label="raw's threshold (theory)", zorder=1)


def _draw_deadline(success, length, filler) -> None:
    weights = np.geomspace(WEIGHTS[0], WEIGHTS[-1], 200)
    found = before_deadline(weights)
    success.plot(weights, found.success, color=PURPLE, label="Delta (theory)", **IN_THEORY)
    filler.plot(weights, found.filler_steps, color=PURPLE, **IN_THEORY)
    length.plot(weights, LEVELS + found.filler_steps + found.success, color=PURPLE, **IN_THEORY)
    note = "Delta up to weight .1: not at rest yet,\nas rare filler is slow to grow"
    filler.text(0.13, 8.6, note, fontsize=8, color=GREY)


def _draw_speed(axes, frame: pd.DataFrame) -> None:
    alone = median_interval(runs_of(frame, part="task", mode="success_only").solved)
    axes.axhline(alone[0], color=BLACK, linewidth=1, linestyle=":")
    axes.axhspan(*alone[1:], color=GREY, alpha=0.15, linewidth=0)
    for place, mode in enumerate(("causal_delta", "raw", "delta", "clip_delta")):
        found = medians_of(frame, mode)
        there = np.isfinite(found[0])
        median, low, high = np.minimum(found, 2 * AXIS_END)[:, there]  # an interval may reach to never
        weights = np.array(WEIGHTS) * 1.04 ** (place - 1.5)
        axes.errorbar(weights[there], median, [median - low, high - median], capsize=2, **LOOKS[mode][1])
        earlier = np.array([cell[3] for cell in EARLIER.get(mode, ())])
        shown = np.flatnonzero(np.isfinite(earlier))
        axes.plot(weights[shown], earlier[shown], "x", color=BLACK, markersize=5, markeredgewidth=0.8, zorder=5)
    axes.set(ylim=(0, AXIS_END), title="How fast is it learned?", ylabel="iterations to success .9 (median)")
    note = "not drawn: weights at which most runs never\nget there, and Clip, which is slower (table)"
    axes.text(0.98, 0.02, note, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)


def _draw_solved(axes, frame: pd.DataFrame, column: str, theory: str) -> None:
    fine = np.geomspace(SOLVED_WEIGHTS[0], SOLVED_WEIGHTS[-1], 400)
    curves = {
        "raw": (fine <= THRESHOLD_WEIGHT).astype(float),
        "delta": getattr(filler_equilibrium(FILLER_SCORE * fine, hazard=HAZARD), theory),
        "clip_delta": np.ones_like(fine),
    }
    for mode, curve in curves.items():
        label, look = LOOKS[mode]
        axes.plot(fine, curve, color=look["color"], **IN_THEORY)
        mean, low, high = cells_of(frame, mode, column, "solved")
        axes.errorbar(SOLVED_WEIGHTS, mean, [mean - low, high - mean], capsize=2, linestyle="", label=label, **look)
    axes.plot([], [], color=GREY, label="closed form, cut with chance 1/12", **IN_THEORY)
    axes.set(ylim=(-0.04, 1.05))
    if column == "answering":
        axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92), fontsize=8)
