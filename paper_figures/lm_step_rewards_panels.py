"""How the figure of step scores on a language model draws training, and where it ends."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, SKY_BLUE, VERMILLION

COLOURS = {
    "success only": GREY,
    "raw .1": ORANGE,
    "raw .3": VERMILLION,
    "clip .3": SKY_BLUE,
    "delta .3": GREEN,
    "clip-delta .3": BLUE,
}
SMOOTHED = 5  # steps


def draw_course(axes: Axes, frame: pd.DataFrame, what: str, label: str, title: str, *, legend: bool = False) -> None:
    """One quantity over training steps: mean over seeds, and the range between them."""
    for arm, colour in COLOURS.items():
        by_seed = frame[frame.arm == arm].pivot(index="step", columns="seed", values=what)
        smooth = by_seed.rolling(SMOOTHED, min_periods=1, center=True).mean()
        width = 2.4 if arm == "success only" else 1.6
        style = "--" if arm == "success only" else "-"
        axes.plot(smooth.index, smooth.mean(axis=1), style, color=colour, linewidth=width, label=arm)
        axes.fill_between(smooth.index, smooth.min(axis=1), smooth.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=f"training step (mean over {SMOOTHED}; bands: all seeds)", ylabel=label, title=title)
    axes.set_ylim(0, axes.get_ylim()[1] * (1.25 if legend else 1))
    if legend:
        axes.legend(loc="upper left", ncols=3)


def draw_ratios(axes: Axes, ratios: pd.DataFrame, published: Mapping[str, float], tabular: Mapping[str, float]) -> None:
    """Accuracy at the end in units of success only's: each seed, mean and interval, the paper, and a tabular world."""
    arms = [arm for arm in COLOURS if arm != "success only"]
    for at, arm in enumerate(arms):
        of_seeds = ratios[arm].dropna()
        if len(of_seeds):
            axes.scatter([at - 0.12] * len(of_seeds), of_seeds, s=16, color=COLOURS[arm], alpha=0.5, linewidths=0)
        if len(of_seeds) > 1:
            mean, low, high = mean_interval(of_seeds.to_numpy())
            axes.errorbar(
                [at], [mean], yerr=[[mean - low], [high - mean]], fmt="o", color=COLOURS[arm], capsize=3, markersize=7
            )
        if arm in published:
            axes.plot([at + 0.15], [published[arm]], "x", color=BLACK, markersize=8)
        axes.plot([at + 0.28], [tabular[arm]], "D", color="white", markeredgecolor=BLACK, markersize=6)
    axes.plot([], [], "o", color=GREY, label="here: mean, 95% interval, seeds")
    axes.plot([], [], "x", color=BLACK, label="paper: MATH, Qwen2-1.5B")
    axes.plot([], [], "D", color="white", markeredgecolor=BLACK, label="tabular world")
    axes.axhline(1, color=GREY, linestyle="--")
    axes.set_xticks(range(len(arms)), arms)
    axes.set(ylabel="accuracy at the end / that of success only", title="What is left of the accuracy")
    axes.set_ylim(-0.05, max(1.35, 1.25 * float(ratios.max(axis=None)) if ratios.notna().any(axis=None) else 0))
    axes.legend(loc="upper left", fontsize=8)
