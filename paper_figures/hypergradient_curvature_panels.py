"""Panels of the curvature study."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.hypergradient_curvature_study import OFFSETS, OPTIONS, SHARES
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

__all__ = ["draw"]

COLOURS = dict(zip(OPTIONS, (BLUE, SKY_BLUE, GREEN, PURPLE, GREY, ORANGE, VERMILLION), strict=True))
FLOOR = 1e-15  # errors below this are rounding


def draw(options: pd.DataFrame, neumann: pd.DataFrame, learned: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13, 9), layout="constrained")
    (errors, offsets), (loops, blends) = figure.subplots(2, 2)
    _draw_errors(errors, options[options.offset == 0])
    _draw_offsets(offsets, options)
    _draw_loops(loops, neumann)
    _draw_blends(blends, learned)
    worlds = int(options.world.nunique())
    figure.suptitle(
        f"Hyper-gradients by one weight a state against the closed form; {worlds} random worlds of 8 states and 3 "
        "actions, discount .95, temperature .3"
    )
    return figure


def _draw_errors(axes, options: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)  # of the jitter alone
    for place, (name, colour) in enumerate(COLOURS.items()):
        cells = options[options.option == name]
        height = place + rng.uniform(-0.25, 0.25, len(cells))
        axes.plot(np.maximum(cells.error, FLOOR), height, ".", color=colour, alpha=0.5, markersize=4)
        mean, low, high = mean_interval(cells.cosine.to_numpy())
        axes.text(60, place, f"{mean:.4f} [{low:.4f}, {high:.4f}]", va="center", fontsize=8)
    axes.text(60, -0.75, "mean cosine [95%]", va="center", fontsize=8, fontweight="bold")
    axes.set(xscale="log", xlim=(FLOOR / 2, 3e4), ylim=(len(COLOURS) - 0.5, -1.1))
    axes.set(xlabel="relative error of the hyper-gradient", title="What stands for the curvature (no offset)")
    axes.set_xticks(10.0 ** np.arange(-15, 1, 3))
    axes.set_yticks(range(len(COLOURS)), COLOURS)


def _draw_offsets(axes, options: pd.DataFrame) -> None:
    """Every world, jittered within its option, and the mean of the option over them."""
    rng = np.random.default_rng(0)
    shift = dict(zip(COLOURS, np.linspace(-0.36, 0.36, len(COLOURS))))
    for (name, colour), (place, offset) in itertools.product(COLOURS.items(), enumerate(OFFSETS)):
        cosines = options[(options.option == name) & (options.offset == offset)].cosine
        at = place + shift[name]
        axes.plot(at + rng.uniform(-0.04, 0.04, len(cosines)), cosines, ".", color=colour, alpha=0.4, markersize=4)
        label = name if place == 0 else None
        axes.plot(at, cosines.mean(), "D", color=colour, markeredgecolor=BLACK, markersize=6, label=label)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set(xlabel="constant added to the blended reward", ylabel="cosine to the true hyper-gradient")
    axes.set(title="An offset that changes no policy (worlds, and their mean)", ylim=(-1.1, 1.1))
    axes.set_xticks(range(len(OFFSETS)), [f"{offset:g}" for offset in OFFSETS])
    axes.grid(visible=False, axis="x")
    axes.legend(loc="lower right", fontsize=8)


def _draw_loops(axes, neumann: pd.DataFrame) -> None:
    looks = dict(zip(SHARES, ((GREEN, "o"), (BLUE, "s"), (VERMILLION, "^")), strict=True))
    for share, (colour, marker) in looks.items():
        errors = neumann[neumann.share == share].groupby("loops").error
        median, low, high = (errors.quantile(level) for level in (0.5, 0.05, 0.95))
        products = median.index + 1
        axes.plot(products, median, color=colour, marker=marker, label=f"{share:g} of the bound")
        axes.fill_between(products, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(1, color=GREY, linestyle=":", linewidth=1)
    axes.text(1, 1.3, "as wrong as no gradient at all", fontsize=8, color=GREY)
    axes.set(xscale="log", yscale="log", xlabel="terms of Neumann's series (loops + 1)", ylabel="relative error")
    axes.set_title("Step against its bound: median and 90% of worlds")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.88), title="step")


def _draw_blends(axes, learned: pd.DataFrame) -> None:
    inset = axes.inset_axes((0.38, 0.27, 0.59, 0.40))
    for advice, colour in (("good", GREEN), ("bad", VERMILLION)):
        path = learned[learned.advice == advice]
        axes.plot(path["update"], path["return"], color=colour, label=f"{advice} advice, learned blend")
        axes.plot(0, path["return"].iloc[0], "X", color=colour, markersize=9, label=f"{advice} advice, naive sum")
        inset.plot(path["update"], path.weight, color=colour)
        end = path.iloc[-1]
        name = f"{advice}: {end.weight:.2f}, at discount {end.discount:.4f}"
        look = {"ha": "right", "fontsize": 8, "color": colour, "textcoords": "offset points"}
        inset.annotate(name, (end["update"], end.weight), (0, 5 if advice == "good" else -14), **look)
    for advice, style, name in (("none", "--", "primary reward alone"), ("best", ":", "best policy")):
        axes.axhline(learned[learned.advice == advice]["return"].iloc[0], color=GREY, linestyle=style, label=name)
    inset.axhline(0, color=BLACK, linewidth=0.8)
    inset.set_ylim(-9, 5)
    inset.set_title("weight of the advice", fontsize=8, fontweight="normal", loc="left")
    inset.tick_params(labelsize=8)
    axes.set(xlabel="update of the blend", ylabel="primary return after 40 steps of training", ylim=(-0.2, 1.05))
    axes.set_title("5 x 5 grid: weight and discount learned through training")
    axes.legend(loc="lower right", fontsize=8, ncols=2)
