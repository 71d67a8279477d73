"""Panels of `time_penalty`, and the numbers of the earlier run drawn into them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.intervals import mean_interval
from paper_figures.style import BLUE, GREY, VERMILLION

__all__ = ["EARLIER", "draw"]

# Of an earlier run with NLE as it is, 150,000 steps, two seeds: (beginning, end).
EARLIER: dict[float, tuple[dict[str, tuple[float, float]], ...]] = {
    -0.01: (
        {"return": (-2.6, -0.65), "success": (0.13, 0.00)},
        {"return": (-2.5, -0.56), "success": (0.10, 0.01)},
    ),
    0.0: ({"success": (0.11, 0.11)}, {"success": (0.05, 0.06)}),
}
COLOURS = {-0.01: VERMILLION, 0.0: BLUE}
NAMES = {-0.01: "penalty -0.01 (default)", 0.0: "no penalty"}
PANELS = {
    "return": ("What is optimised: the return", "return of a game (points of the task)"),
    "success": ("What is meant: the stairs are found", "share of games that succeed"),
    "frozen_share": ("Steps in which the clock stands still", "share of a game's steps"),
    "places": ("Looking around", "distinct places stood on in a game"),
}


def draw(frame: pd.DataFrame) -> Figure:
    """Return and success above, what explains them below; seeds thin, their mean thick with its interval."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    for axes, (column, (title, label)) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for penalty, of_penalty in frame.groupby("penalty"):
            _curves(axes, of_penalty, column, COLOURS[penalty], NAMES[penalty])
            for run in EARLIER[penalty]:
                _earlier(axes, run.get(column), frame.step.max(), COLOURS[penalty])
        axes.set(title=title, xlabel="environment steps (thousands)", ylabel=label, xlim=(0, None))
    seeds = frame.seed.nunique()
    figure.suptitle(f"NetHackStaircase, PPO, {seeds} seed{'s' if seeds > 1 else ''}: mean of the last 100 games")
    handles, labels = figure.axes[1].get_legend_handles_labels()
    found = dict(reversed(list(zip(labels, handles, strict=True))))  # the first of each label
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4)
    return figure


def _curves(axes: Axes, frame: pd.DataFrame, column: str, colour: str, name: str) -> None:
    curves = frame.pivot_table(index="step", columns="seed", values=column)
    thousands = curves.index.to_numpy() / 1000
    axes.plot(thousands, curves.to_numpy(), color=colour, linewidth=0.7, alpha=0.5)
    whole = curves.dropna()
    mean, low, high = np.stack([mean_interval(row) for row in whole.to_numpy()], axis=1)
    axes.plot(whole.index.to_numpy() / 1000, mean, color=colour, linewidth=2.2, label=name)
    axes.fill_between(
        whole.index.to_numpy() / 1000, low, high, color=colour, alpha=0.15, linewidth=0, label="95% interval"
    )


def _earlier(axes: Axes, run: tuple[float, float] | None, steps: int, colour: str) -> None:
    if run is None:
        return
    axes.plot([0, steps / 1000], run, color=GREY, linestyle=":", linewidth=1, label="earlier run, beginning to end")
    axes.plot([0, steps / 1000], run, color=colour, linestyle="", marker="x", markersize=5)
