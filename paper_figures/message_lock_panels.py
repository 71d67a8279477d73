"""How the figure of the talking lock draws successes, the episodes they took, and curves."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from paper_figures.intervals import mean_interval
from paper_figures.message_lock_study import Row
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, BLACK)


def of(frame: pd.DataFrame, row: str, measure: str) -> np.ndarray:
    """Values by seed."""
    rows = frame[(frame.row == row) & (frame.measure == measure)]
    return rows.sort_values("seed").value.to_numpy()


def draw_success(axes: Axes, frame: pd.DataFrame, rows: Sequence[Row]) -> None:
    """Share of the last episodes won under each reward, with the earlier number."""
    for at, row in enumerate(rows):
        mean, low, high = mean_interval(of(frame, row.name, "success"))
        axes.plot([low, high], [at, at], color=BLUE, linewidth=2)
        axes.plot([mean], [at], "o", color=BLUE, markersize=5, label="here, mean and 95% interval" if not at else None)
        if np.isfinite(row.success):
            axes.plot(
                [row.success], [at], "x", color=VERMILLION, markersize=8, label="earlier, 6 seeds" if not at else None
            )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set(xlim=(-0.04, 1.04), ylim=(len(rows) - 0.4, -0.6), xlabel="share of the last quarter's episodes won")


def draw_first(axes: Axes, frame: pd.DataFrame, rows: Sequence[Row], never: float) -> None:
    """Episode from which on 40 of 50 are won: each seed, the median, and the earlier median."""
    for at, row in enumerate(rows):
        values = of(frame, row.name, "first")
        shown = np.where(np.isfinite(values), values, never)
        axes.plot(shown, np.full(len(shown), at), ".", color=GREY, markersize=4, alpha=0.6)
        axes.plot([np.median(shown)], [at], "|", color=BLUE, markersize=12, markeredgewidth=2.5)
        if not np.isnan(row.first):
            axes.plot([min(row.first, never)], [at], "x", color=VERMILLION, markersize=8)
    axes.axvline(never, color=BLACK, linewidth=0.6, linestyle=":")
    ticks = [tick for tick in (0, 200, 400, 600) if tick < 0.95 * never]
    axes.set_xticks([*ticks, never], [*map(str, ticks), "never"])
    axes.set_yticks(range(len(rows)), [])
    axes.set(xlim=(-0.03 * never, 1.06 * never), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel("first episode from which 40 of 50 are won")


def draw_curves(axes: Axes, frame: pd.DataFrame, rows: Sequence[str]) -> None:
    """Share of episodes won as learning goes on, with its interval over seeds."""
    for row, colour in zip(rows, PALETTE, strict=False):
        mine = frame[(frame.row == row) & (frame.measure == "curve")]
        lines = mine.pivot_table(index="episode", columns="seed", values="value")
        mean, low, high = mean_interval(lines.to_numpy().T)
        axes.plot(lines.index, mean, color=colour, label=row)
        axes.fill_between(lines.index, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="episode", ylabel="share won, of 20 episodes", ylim=(-0.03, 1.03))
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
