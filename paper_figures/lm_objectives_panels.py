"""Panels of `lm_objectives`."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_objectives import GROUPS, OBJECTIVES_TRIED, UNITS
from llm_scale.experiments.lm_objectives_length import AGGREGATIONS, PATTERNS
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

__all__ = ["draw"]

COLOURS = dict(zip(OBJECTIVES_TRIED, (BLUE, ORANGE, GREEN, VERMILLION, SKY_BLUE, PURPLE), strict=True))
MARKERS = dict(zip(OBJECTIVES_TRIED, "osD^vX", strict=True))
MEANS = dict(zip(AGGREGATIONS, ("mean over samples", "mean over tokens", "constant divisor"), strict=True))
HUES = dict(zip(AGGREGATIONS, (BLUE, ORANGE, GREEN), strict=True))
BINS = 20
APART = 1.12  # factor between the places of two objectives, so that none hides another


def draw(frame: pd.DataFrame) -> Figure:
    """Gradient norm and accuracy by unit, silent groups, drift of length, and length in training."""
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    panels = figure.subplots(2, 3)
    training = frame[frame.part == "training"]
    _gradients(panels[0, 0], training[training.step == 0])
    last = training[training.step >= 3 * (training.step.max() + 1) // 4]
    _accuracies(panels[0, 1], last)
    _penalty(panels[0, 2], training[training.arm == "rloo"])
    _groups(panels[1, 0], frame[frame.part == "groups"])
    _drifts(panels[1, 1], frame[frame.part == "drift"])
    _lengths(panels[1, 2], frame[frame.part == "length"])
    figure.suptitle(f"Bars and bands: 95% intervals; {training.seed.nunique()} seeds")
    return figure


def _gradients(axes, rows: pd.DataFrame) -> None:
    axes.plot(UNITS, UNITS, color=BLACK, linestyle=":", linewidth=0.9)
    axes.plot(UNITS, [1.0] * len(UNITS), color=BLACK, linestyle=":", linewidth=0.9)
    for number, arm in enumerate(OBJECTIVES_TRIED):
        means = rows[rows.arm == arm].groupby("unit").gradient_norm.mean()
        places = np.array(means.index) * APART ** (number - 2.5)
        axes.plot(places, means / means[1.0], color=COLOURS[arm], marker=MARKERS[arm], linestyle="", label=arm)
    axes.set(xscale="log", yscale="log", title="First gradient", xlabel="worth of a right answer")
    axes.set_ylabel("norm, relative to a worth of 1")
    axes.legend(fontsize=8)


def _accuracies(axes, rows: pd.DataFrame) -> None:
    for number, arm in enumerate(OBJECTIVES_TRIED):
        wide = rows[rows.arm == arm].pivot_table(index="seed", columns="unit", values="accuracy")
        mean, low, high = _interval(wide.to_numpy())
        places = np.array(wide.columns) * APART ** (number - 2.5)
        axes.errorbar(
            places, mean, [mean - low, high - mean], color=COLOURS[arm], marker=MARKERS[arm], capsize=2, linestyle="-"
        )
    axes.set(xscale="log", title="Accuracy, last quarter of training", xlabel="worth of a right answer")
    axes.set_ylabel("share of right answers")


def _penalty(axes, rows: pd.DataFrame) -> None:
    for unit, colour in zip(UNITS, (VERMILLION, GREY, BLACK), strict=True):
        _curve(axes, rows[rows.unit == unit], "accuracy", colour, f"worth {unit:g}")
    axes.set(title="RLOO: a penalty of .05 x KL in the reward", xlabel="training step")
    axes.set_ylabel("share of right answers")
    axes.legend()


def _groups(axes, rows: pd.DataFrame) -> None:
    for (_, part), colour in zip(rows.groupby("level"), (VERMILLION, BLUE, GREEN), strict=False):
        means = part.groupby("group")[["seen", "expected", "from_mean_chance"]].mean()
        errors = 1.96 * np.sqrt((part.error**2).groupby(part.group).sum()) / part.seed.nunique()
        axes.errorbar(means.index, means.seen, errors, color=colour, marker="o", linestyle="", capsize=2)
        axes.plot(means.index, means.expected, color=colour, label=f"accuracy {part.accuracy.mean():.2f}")
        axes.plot(means.index, means.from_mean_chance, color=colour, linestyle=":", linewidth=1.2)
    axes.plot([], [], color=GREY, label="from each problem's chance")
    axes.plot([], [], color=GREY, linestyle=":", label="from their mean")
    axes.plot([], [], color=GREY, marker="o", linestyle="", label="seen")
    axes.set(xscale="log", title="Groups without signal", xlabel="samples a problem", ylabel="share of groups")
    axes.set_xticks(GROUPS, [str(size) for size in GROUPS])
    axes.minorticks_off()
    axes.legend(fontsize=8)


def _drifts(axes, rows: pd.DataFrame) -> None:
    for number, aggregation in enumerate(AGGREGATIONS):
        for pattern, shift, face in zip(PATTERNS, (-0.17, 0.17), (HUES[aggregation], "none"), strict=True):
            part = rows[(rows.arm == aggregation) & (rows.pattern == pattern)]
            error = 1.96 * np.sqrt((part.error**2).sum()) / len(part)
            axes.bar(
                number + shift,
                part["drift"].mean(),
                0.3,
                yerr=error,
                capsize=3,
                facecolor=face,
                edgecolor=HUES[aggregation],
            )
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set_xticks(
        range(len(AGGREGATIONS)), [MEANS[aggregation].replace(" ", "\n", 1) for aggregation in AGGREGATIONS]
    )
    axes.set(title="Drift of length in one step", ylabel="tokens a unit of step")
    axes.bar(0, 0, facecolor=GREY, edgecolor=GREY, label="right depends on length")
    axes.bar(0, 0, facecolor="none", edgecolor=GREY, label="control")
    axes.legend(fontsize=8)


def _lengths(axes, rows: pd.DataFrame) -> None:
    for aggregation in AGGREGATIONS:
        _curve(axes, rows[rows.arm == aggregation], "length", HUES[aggregation], MEANS[aggregation])
    axes.set(title="Length in training, right depends on it", xlabel="training step", ylabel="tokens an answer")
    axes.legend()


def _curve(axes, rows: pd.DataFrame, column: str, colour: str, label: str) -> None:
    size = max(1, int(rows.step.max() + 1) // BINS)
    wide = rows.assign(bin=rows.step // size).pivot_table(index="seed", columns="bin", values=column)
    mean, low, high = _interval(wide.to_numpy())
    steps = (wide.columns + 0.5) * size
    axes.plot(steps, mean, color=colour, label=label)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _interval(values: np.ndarray) -> np.ndarray:
    """Mean and interval over seeds; without width where there is one seed."""
    return mean_interval(values) if len(values) > 1 else np.stack([values[0]] * 3)
