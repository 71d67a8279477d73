"""Panels of `lm_three_signals`."""

import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_three_signals import CONJUNCTION, NORMALISED, SUM
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE

__all__ = ["draw"]

# The lines of `NORMALISED` lie on each other: the wide one is drawn first.
LOOKS = {
    (NORMALISED, 1): (SKY_BLUE, "-", 5.0),
    (NORMALISED, 100): (BLUE, "--", 1.4),
    (SUM, 1): (BLACK, "-", 1.6),
    (SUM, 100): (ORANGE, "-", 1.6),
    (CONJUNCTION, 1): (GREEN, "-", 1.6),
    (CONJUNCTION, 100): (PURPLE, ":", 1.8),
}
PANELS = {
    "correct": ("Right", "share of answers"),
    "all_three": ("Right, brief and well formed", "share of answers"),
    "formatted": ("Well formed: ends in a full stop", "share of answers"),
    "length": ("Length", "tokens an answer"),
}
BINS = 20


def draw(frame: pd.DataFrame) -> Figure:
    """Four measures against steps; means over seeds with intervals."""
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    for axes, (column, (title, label)) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for (arm, unit), (colour, line, width) in LOOKS.items():
            steps, (mean, low, high) = _curve(frame[(frame.arm == arm) & (frame.unit == unit)], column)
            name = f"{arm}, brevity {'as a share' if unit == 1 else 'in per cent'}"
            axes.plot(steps, mean, color=colour, linestyle=line, linewidth=width, label=name)
            axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set(title=title, xlabel="training step", ylabel=label)
        if column != "length":
            axes.set_ylim(-0.02, 1.02)
    figure.suptitle(f"Samples of training; bands: 95% interval over {frame.seed.nunique()} seeds")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _curve(rows: pd.DataFrame, column: str):
    """Means of bins of steps, over seeds, with their interval."""
    size = max(1, (rows.step.max() + 1) // BINS)
    wide = rows.assign(bin=rows.step // size).pivot_table(index="seed", columns="bin", values=column)
    return (wide.columns + 0.5) * size, mean_interval(wide.to_numpy())
