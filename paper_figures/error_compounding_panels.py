"""Panels of the figure on compounding errors, what they compare, and how its values are picked."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LENGTHS = (2, 5, 10, 20, 40)
SHARES = (0.0, 0.25, 0.5)  # of right chains that hold a repaired wrong step
SIGNALS = (1.5, 2.0, 3.0)  # of the step detector; the outcome score keeps 1.5
RULES = {
    "outcome": ("one outcome score", BLACK, "s"),
    "min": ("lowest step", BLUE, "o"),
    "product": ("product", ORANGE, "^"),
    "mean": ("mean", VERMILLION, "D"),
    "last": ("last step", PURPLE, "v"),
    "best": ("best rule there is", GREEN, "*"),  # the likelihood ratio; it has to know the model
}
MAJORITY = "majority"

# published by no one: simulated by separate code before this figure was written, 5 seeds of 2000 questions
EARLIER = {
    ("auc", "min"): (0.971, 0.948, 0.920, 0.887, 0.850),
    ("auc", "product"): (0.967, 0.927, 0.875, 0.808, 0.743),
    ("auc", "mean"): (0.955, 0.874, 0.791, 0.714, 0.658),
    ("auc", "last"): (0.74, 0.595, 0.553, 0.522, 0.515),
    ("auc", "outcome"): (0.983,) * 5,
    ("best of 8", "min"): (0.959, 0.928, 0.893, 0.845, 0.797),
    ("best of 8", "product"): (0.956, 0.918, 0.857, 0.778, 0.696),
    ("best of 8", "mean"): (0.953, 0.893, 0.791, 0.687, 0.602),
    ("best of 8", "outcome"): (0.97,) * 5,
    ("best of 8", MAJORITY): (0.68,) * 5,
    ("weighted vote", "min"): (0.935, 0.916, 0.896, 0.867, 0.851),
    ("weighted vote", "mean"): (0.842, 0.777, 0.762, 0.740, 0.729),
    ("weighted vote", "outcome"): (0.946,) * 5,
}
EARLIER_CORRECTED = (0.830, 0.795, 0.752, 0.714, 0.658)  # best of 8 by min, half self-corrected
EARLIER_SIGNAL = {2.0: (0.981, 0.975, 0.966, 0.958, 0.936), 3.0: (0.983,) * 5}

FLOORS = {"auc": 0.38, "best of 8": 0.38, "weighted vote": 0.64}  # of the axes


def draw_rules(axes: Axes, frame: pd.DataFrame, quantity: str, label: str, title: str) -> None:
    base = frame[(frame.quantity == quantity) & (frame.signal == 1.5) & (frame.share == 0)]
    for rule, (name, colour, marker) in RULES.items():
        cells = base[base.rule == rule]
        if cells.empty:
            continue
        line = cells[(cells.seed < 0) & (cells.steps <= 40)].sort_values("steps")
        axes.plot(line.steps, line.value, color=colour)
        _points(axes, cells, colour, marker, name, joined=line.empty)
        _ticks(axes, EARLIER.get((quantity, rule)), colour)
    if quantity != "auc":
        vote = np.mean([mean_of(frame, "best of 8", MAJORITY, steps) for steps in LENGTHS])
        axes.axhline(vote, color=GREY, linestyle="--", linewidth=1.2)
        axes.text(2, vote - 0.006, "majority vote, no scores", color=GREY, fontsize=8.5, va="top")
    axes.set(ylabel=label, title=title, ylim=(FLOORS[quantity], 1.0))
    if quantity == "auc":
        axes.legend(loc="lower left", fontsize=8.5)
    _length_axis(axes)


def _points(axes: Axes, cells: pd.DataFrame, colour: str, marker: str, name: str, *, joined: bool = False) -> None:
    runs = cells[cells.seed >= 0].pivot(index="seed", columns="steps", values="value")
    mean, low, high = mean_interval(runs.to_numpy())
    axes.errorbar(
        runs.columns,
        mean,
        yerr=[mean - low, high - mean],
        color=colour,
        marker=marker,
        label=name,
        capsize=2,
        linestyle=":" if joined else "",
        linewidth=1,
        markersize=8 if marker == "*" else 5,
    )


def _ticks(axes: Axes, values: tuple[float, ...] | None, colour: str) -> None:
    if values:
        look = {"marker": "_", "markersize": 15, "linestyle": "", "alpha": 0.55, "markeredgewidth": 1.2}
        axes.plot(LENGTHS, values, color=colour, **look)


def draw_corrected(axes: Axes, frame: pd.DataFrame) -> None:
    for share, colour, marker in zip(SHARES, (BLUE, SKY_BLUE, PURPLE), "o^D"):
        cells = frame[(frame.quantity == "best of 8") & (frame.rule == "min") & (frame.signal == 1.5)]
        cells = cells[cells.share == share]
        line = cells[(cells.seed < 0) & (cells.steps <= 40)].sort_values("steps")
        axes.plot(line.steps, line.value, color=colour)
        _points(axes, cells, colour, marker, f"{share:.0%} of right chains" if share else "none")
    _ticks(axes, EARLIER["best of 8", "min"], BLUE)
    _ticks(axes, EARLIER_CORRECTED, PURPLE)
    axes.axhline(theory_of(frame, "best of 8", "outcome", 2), color=BLACK)
    axes.text(40, theory_of(frame, "best of 8", "outcome", 2) + 0.006, "outcome score", ha="right", fontsize=8.5)
    axes.set(ylabel="accuracy of best-of-8, lowest step", ylim=(0.6, 1.0), title="A wrong step that is repaired later")
    axes.legend(loc="lower left", title="repaired wrong step in", fontsize=8.5, title_fontsize=8.5)
    _length_axis(axes)


def draw_better(axes: Axes, frame: pd.DataFrame) -> None:
    aim = theory_of(frame, "best of 8", "outcome", 2)
    for signal, colour, marker in zip(SIGNALS, (BLUE, GREEN, ORANGE), "o^D"):
        cells = frame[(frame.quantity == "best of 8") & (frame.rule == "min") & (frame.share == 0)]
        cells = cells[cells.signal == signal]
        line = cells[cells.seed < 0].sort_values("steps")
        axes.plot(line.steps, line.value, color=colour)
        _points(axes, cells, colour, marker, f"±{signal:g}")
        _ticks(axes, EARLIER_SIGNAL.get(signal), colour)
    axes.axhline(aim, color=BLACK)
    axes.text(640, aim - 0.003, "outcome score, ±1.5", ha="right", va="top", fontsize=8.5)
    last = int(crossing_of(frame, 2.0))
    axes.plot([last + 0.5], [aim], "o", color=GREEN, markerfacecolor="white", markersize=9, zorder=4)
    axes.annotate(
        f"ahead up to {last} steps",
        (last + 0.5, aim),
        (13, 0.9765),
        color=GREEN,
        fontsize=8.5,
        arrowprops={"arrowstyle": "-", "color": GREEN, "linewidth": 0.8},
    )
    axes.text(
        640,
        0.986,
        f"ahead up to {int(crossing_of(frame, 3.0)):,} steps",
        ha="right",
        va="bottom",
        color=ORANGE,
        fontsize=8.5,
    )
    axes.set(
        ylabel="accuracy of best-of-8, lowest step", ylim=(0.85, 1.0), title="Better step scores move the crossing"
    )
    axes.legend(loc="lower left", title="step logits", fontsize=8.5, title_fontsize=8.5)
    _length_axis(axes, (1, 4, 16, 64, 256))


def draw_blame(axes: Axes, frame: pd.DataFrame) -> None:
    """The gap in area to the outcome score, split: what a better rule wins back, and what no rule can."""
    outcome, best, least = (
        np.array([mean_of(frame, "auc", rule, steps) for steps in LENGTHS]) for rule in ("outcome", "best", "min")
    )
    place = np.arange(len(LENGTHS))
    axes.bar(place, outcome - best, color=GREY, width=0.62, label="in no rule's power")
    axes.bar(place, best - least, bottom=outcome - best, color=BLUE, width=0.62, label="lost by taking the lowest")
    for rule, left in (("product", -0.16), ("mean", 0.16)):
        lost = outcome - np.array([mean_of(frame, "auc", rule, steps) for steps in LENGTHS])
        name, colour, marker = RULES[rule]
        axes.plot(place + left, lost, marker, color=colour, label=f"{name}: the whole gap", markersize=6)
    axes.set_xticks(place, [str(steps) for steps in LENGTHS])
    axes.set(xlabel="steps of a solution", ylabel="area under the curve lost", title="Whose fault is the gap?")
    axes.set_ylim(0, 0.36)
    axes.legend(loc="upper left", fontsize=8.5)


def _length_axis(axes: Axes, ticks: tuple[int, ...] = (1, *LENGTHS)) -> None:
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(steps) for steps in ticks])
    axes.minorticks_off()
    axes.set_xlabel("steps of a solution")


def cells_of(
    frame: pd.DataFrame, quantity: str, rule: str, steps: int, signal: float = 1.5, share: float = 0.0
) -> pd.DataFrame:
    same = (frame.quantity == quantity) & (frame.rule == rule) & (frame.steps == steps)
    return frame[same & (frame.signal == signal) & (frame.share == share)]


def runs_of(frame: pd.DataFrame, *cell, **where) -> np.ndarray:
    found = cells_of(frame, *cell, **where)
    return found[found.seed >= 0].sort_values("seed").value.to_numpy()


def mean_of(frame: pd.DataFrame, *cell) -> float:
    return float(runs_of(frame, *cell).mean())


def theory_of(frame: pd.DataFrame, *cell) -> float:
    found = cells_of(frame, *cell)
    return float(found[found.seed < 0].value.iloc[0])


def crossing_of(frame: pd.DataFrame, signal: float) -> float:
    return float(frame[(frame.quantity == "last length ahead") & (frame.signal == signal)].value.iloc[0])
