"""Panels of `mujoco_prediction`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.intervals import mean_interval
from paper_figures.mujoco_prediction_study import (
    ADVERSARIAL,
    ARGMAX,
    CHOOSERS,
    MEAN,
    ORACLE,
    SAMPLE,
    SOFTMAX,
    TASKS,
)
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

__all__ = ["draw"]

COLOURS = {SAMPLE: VERMILLION, ADVERSARIAL: PURPLE, SOFTMAX: ORANGE, ARGMAX: BLUE, MEAN: GREEN, ORACLE: GREY}
UNIT = "error (standard deviations of a step's change)"
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20)


def draw(frame: pd.DataFrame) -> Figure:
    """For each test set: errors one step ahead, open loop, and the coverage of predicted intervals."""
    figure = Figure(figsize=(13, 10.5), layout="constrained")
    for row, task in zip(figure.subplots(len(TASKS), 3, width_ratios=(1.15, 1.3, 1)), TASKS, strict=True):
        of_task = frame[frame.task == task]
        _one_step(row[0], of_task, task)
        _open_loop(row[1], of_task)
        _coverage(row[2], of_task)
        lines, names = row[1].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names))
    seeds = frame.seed.nunique()
    figure.suptitle(f"Two real recordings, test episodes not trained on; 95% intervals over {seeds} seeds")
    return figure


def _one_step(axes: Axes, frame: pd.DataFrame, task: str) -> None:
    known = [name for name in CHOOSERS if ((frame.measure == "one step") & (frame.chooser == name)).any()]
    for place, name in enumerate(reversed(known)):
        values = frame[(frame.measure == "one step") & (frame.chooser == name)].value.to_numpy()
        mean, low, high = mean_interval(values)
        axes.barh(place, mean, color=COLOURS[name], height=0.65)
        axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], color=BLACK, capsize=3)
        axes.annotate(f"{mean:.3g}", (high, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(known)), list(reversed(known)))
    axes.margins(x=0.16)
    axes.set(title=f"{task}: one step", xlabel=UNIT)
    axes.grid(visible=False, axis="y")


def _open_loop(axes: Axes, frame: pd.DataFrame) -> None:
    for name in CHOOSERS:
        rows = frame[(frame.measure == "open loop") & (frame.chooser == name)]
        if rows.empty:
            continue
        wide = rows.pivot_table(index="seed", columns="horizon", values="value")
        mean, low, high = mean_interval(wide.to_numpy())
        axes.plot(wide.columns, mean, color=COLOURS[name], label=name)
        axes.fill_between(wide.columns, low, high, color=COLOURS[name], alpha=0.15, linewidth=0)
    axes.set(title="Open loop, recorded actions", xlabel="steps ahead", ylabel="error (same unit)", yscale="log")
    axes.set_xticks([1, 5, 10, 15, 20])
    low, high = axes.get_ylim()
    axes.set_yticks(shown := [tick for tick in TICKS if low < tick < high], [f"{tick:g}" for tick in shown])
    axes.minorticks_off()


def _coverage(axes: Axes, frame: pd.DataFrame) -> None:
    rows = frame[frame.measure == "coverage"]
    for place, level in enumerate(sorted(rows.level.unique())):
        axes.plot([place - 0.42, place + 0.42], [level, level], color=BLACK, linestyle="--", linewidth=1.2)
        for shift, name, colour in ((-0.18, "raw", VERMILLION), (0.18, "calibrated", BLUE)):
            outputs = rows[(rows.level == level) & (rows.chooser == name)].groupby("horizon").value.mean()
            spread = shift + np.linspace(-0.08, 0.08, len(outputs))
            label = name if place == 0 else None
            axes.plot(place + spread, outputs, "o", color=colour, markersize=4, alpha=0.8, label=label)
    axes.set_xticks(range(rows.level.nunique()), [f"{level:.0%} interval" for level in sorted(rows.level.unique())])
    axes.set(title="Coverage, a dot an output", ylabel="share of outcomes inside", ylim=(0, 1.04))
    axes.legend(loc="lower right")
