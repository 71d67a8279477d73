"""The panels of the figure on NetHack's stream of messages."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, PercentFormatter

from paper_figures.intervals import mean_interval
from paper_figures.message_stream_study import ACCURACIES, BUDGETS, EXPONENTS, LABELS, MODELS, ORDERS, SHARE_ACCURACIES
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

__all__ = ["EARLIER", "EARLIER_PAID", "draw_mixed", "draw_paid", "draw_precision", "draw_shares", "of"]

COLOURS = {"retrieval": GREY, "classification": BLUE, "ranking": ORANGE, "ranking, distinct": VERMILLION}
NAMES = {
    "retrieval": "retrieval",
    "classification": "classification",
    "ranking": "ranking, pairs of all messages (released)",
    "ranking, distinct": "ranking, pairs of distinct messages",
}
ORDER_LOOKS = {
    "lifo": ("newest first", BLUE, "o"),
    "fifo": ("oldest first", ORANGE, "s"),
    "random": ("random", GREEN, "^"),
}
ACCURACY_COLOURS = dict(zip(SHARE_ACCURACIES, (BLUE, SKY_BLUE, PURPLE, VERMILLION), strict=True))

# An earlier calculation of the same on one stream and with other learners: labels, accuracy -> by model
EARLIER = {
    key: dict(zip(MODELS, values, strict=True))
    for key, values in {
        (200, 1.0): (0.50, 0.997, 0.17, 0.98),
        (600, 1.0): (0.87, 0.999, 0.63, 1.00),
        (600, 0.95): (0.22, 0.96, np.nan, 1.00),
        (1800, 0.95): (0.06, 0.999, 0.86, 1.00),
        (1800, 0.8): (0.01, 0.95, 0.68, 0.99),
    }.items()
}
EARLIER_PAID = {
    "lifo": (0.245, 0.43, 0.68, 0.775),
    "fifo": (0.111, 0.36, 0.62, 0.775),
    "random": (0.143, 0.24, 0.47, 0.775),
}
EARLIER_SHARES = {0.99: (0.54, 0.70, 0.78), 0.95: (0.16, 0.34, 0.46), 0.9: (0.06, 0.19, 0.28), 0.8: (0.01, 0.09, 0.14)}
EARLIER_MIXED = {"ranking": 0.003, "ranking, distinct": 0.09}


def of(frame: pd.DataFrame, part: str, name: str, **cell: float) -> np.ndarray:
    """Values by seed of a model or order in a cell, such as `labels=600, accuracy=0.95`."""
    rows = frame[frame.part == part]
    for column, value in {**({"of": name} if name else {}), **cell}.items():
        rows = rows[rows[column] == value]
    return rows.sort_values("seed").value.to_numpy(float)


def draw_precision(panels: Sequence[Axes], frame: pd.DataFrame) -> None:
    """Average precision by labels, a panel for each accuracy of the annotator."""
    for axes, accuracy in zip(panels, ACCURACIES, strict=True):
        for model in MODELS:
            values = [of(frame, "precision", model, labels=labels, accuracy=accuracy) for labels in LABELS]
            label = NAMES[model] if axes is panels[0] else None
            _line(axes, LABELS, values, COLOURS[model], "o", label)
            before = [EARLIER.get((labels, accuracy), {}).get(model, np.nan) for labels in LABELS]
            axes.plot(LABELS, before, "x", color=COLOURS[model], markersize=8, markeredgewidth=2, zorder=4)
        axes.set_xscale("log")
        axes.set_xticks(LABELS, [str(labels) for labels in LABELS])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="labels", ylim=(-0.03, 1.04), title=f"Annotator right {accuracy:.0%}")
        if axes is not panels[0]:
            axes.tick_params(labelleft=False)
    panels[0].set_ylabel("average precision on unseen games\n(of steps, good messages first)")


def draw_paid(axes: Axes, frame: pd.DataFrame) -> None:
    """Share of good steps that were paid, by budget and order."""
    for order in ORDERS:
        name, colour, marker = ORDER_LOOKS[order]
        _line(axes, BUDGETS, [of(frame, "paid", order, labels=budget) for budget in BUDGETS], colour, marker, name)
        axes.plot(BUDGETS, EARLIER_PAID[order], "x", color=colour, markersize=7, markeredgewidth=2, zorder=4)
    axes.set_xscale("log")
    axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="labels for 1000 steps", ylabel="share of good steps paid", ylim=(0, 0.9))
    axes.set_title("Which messages to label first")
    axes.legend(loc="lower right")


def draw_shares(axes: Axes, frame: pd.DataFrame) -> None:
    """Share of the return that good messages earn, by count exponent and accuracy."""
    for accuracy, colour in ACCURACY_COLOURS.items():
        values = [of(frame, "share", "", accuracy=accuracy, exponent=exponent) for exponent in EXPONENTS]
        _line(axes, EXPONENTS, values, colour, "o", f"right {accuracy:.0%}")
        axes.plot(EXPONENTS, EARLIER_SHARES[accuracy], "x", color=colour, markersize=7, markeredgewidth=2, zorder=4)
    axes.set_xticks(EXPONENTS, ["0\n(no discount)", "1", "3\n(published)"])
    axes.set(xlabel="count exponent", ylabel="share of return from good messages", ylim=(0, 1), xlim=(-0.3, 4.4))
    axes.set_title("What the count discount does to noise")
    axes.legend(loc="upper right")


def draw_mixed(axes: Axes, frame: pd.DataFrame) -> None:
    """Share of the pairs that tell a good message from another."""
    labels = ("all messages\n(released)", "distinct\nmessages")
    for place, name in enumerate(EARLIER_MIXED):
        rows = frame[(frame.part == "mixed") & (frame.of == name)]
        mean, low, high = mean_interval(rows.groupby("seed").value.mean().to_numpy(float))
        axes.bar(place, mean, width=0.6, color=COLOURS[name], yerr=[[mean - low], [high - mean]], capsize=4)
        axes.text(place + 0.32, mean, f"{mean:.1%}", va="bottom", ha="right", fontsize=9)
        axes.plot([place], [EARLIER_MIXED[name]], "x", color=BLACK, markersize=8, markeredgewidth=2, zorder=4)
    axes.set_xticks(range(2), labels)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(ylabel="pairs of a good and another message", title="What a pair can teach", xlim=(-0.6, 1.6))


def _line(axes: Axes, places: Sequence[float], values: Sequence[np.ndarray], colour: str, marker: str, label) -> None:
    """Means with their intervals."""
    found = np.array([mean_interval(each) for each in values]).T
    axes.plot(places, found[0], marker=marker, color=colour, label=label, markersize=5)
    axes.fill_between(places, found[1], found[2], color=colour, alpha=0.18, linewidth=0)
