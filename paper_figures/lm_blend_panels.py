"""Panels of `lm_blend`."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from llm_scale.experiments.lm_blend import FROM_NOTHING, FROM_SUM, NAIVE, PRIMARY, SLOW_FROM_SUM
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

__all__ = ["draw"]

COLOURS = {PRIMARY: BLACK, NAIVE: ORANGE, FROM_NOTHING: BLUE, FROM_SUM: GREEN, SLOW_FROM_SUM: VERMILLION}
LEARNED = (FROM_NOTHING, FROM_SUM, SLOW_FROM_SUM)
REWARDS = {"overlap": ("-", "right digits"), "longer": ("--", "characters")}


def draw(frame: pd.DataFrame) -> Figure:
    """Accuracy, length, weights, and how the gradients of the auxiliary rewards agree with the primary one's."""
    figure = Figure(figsize=(11.5, 8), layout="constrained")
    (accuracy, length), (weights, agreement) = figure.subplots(2, 2)
    for arm, colour in COLOURS.items():
        _line(accuracy, frame, arm, "accuracy", colour, label=arm)
        _line(length, frame, arm, "longer", colour, label=arm)
    accuracy.set(title="Right, of sums never asked in training", ylabel="share of sampled answers")
    length.set(title="Length", ylabel="characters an answer")
    for reward, (style, _) in REWARDS.items():
        for arm in LEARNED:
            _line(weights, frame, arm, f"{reward}_weight", COLOURS[arm], linestyle=style)
        _line(agreement, frame, FROM_NOTHING, f"{reward}_cosine", BLUE, linestyle=style)
    weights.set(title="Learned weights beside the primary reward's 1", ylabel="weight")
    agreement.set(title=f"Agreement with the primary reward ({FROM_NOTHING})", ylabel="cosine of gradients, same batch")
    styles = [Line2D([], [], color=GREY, linestyle=style, label=name) for style, name in REWARDS.values()]
    for axes in (weights, agreement):
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.legend(handles=styles, loc="upper left")
    agreement.set_ylim(-0.5, 1.05)
    accuracy.set_ylim(bottom=-0.01)
    for axes in (accuracy, length, weights, agreement):
        axes.set_xlabel("training step")
    figure.suptitle(f"Two auxiliary rewards, one helpful and one harmful; 95% intervals over {_seeds(frame)}")
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS))
    return figure


def _seeds(frame: pd.DataFrame) -> str:
    number = frame.seed.nunique()
    return f"{number} seeds" if number > 1 else "1 seed"


def _line(axes: Axes, frame: pd.DataFrame, arm: str, column: str, colour: str, linestyle: str = "-", label: str = ""):
    wide = frame[frame.arm == arm].pivot_table(index="seed", columns="step", values=column).dropna(axis=1)
    if wide.empty:  # where no answer was right, no cosine is known
        return
    mean, low, high = mean_interval(wide.to_numpy())
    axes.plot(wide.columns, mean, color=colour, linestyle=linestyle, label=label)
    axes.fill_between(wide.columns, low, high, color=colour, alpha=0.13, linewidth=0)
