"""Panels of the figure on the published Neumann series."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.neumann_is_first_order_study import ADVICE, KINDS, part_of
from paper_figures.style import BLACK, BLUE, GREEN, GREY, VERMILLION

__all__ = ["EARLIER", "NAMES", "draw_curvatures", "draw_hypergradients", "draw_steps", "draw_updates"]

LOOK = {"good": (BLUE, "o"), "bad": (VERMILLION, "s")}
NAMES = {
    "neumann": "Neumann,\nas published",
    "surrogate": "surrogate,\nsolved",
    "fisher": "Fisher,\nsolved",
    "exact": "exact,\nsolved",
}
# of the official code, instrumented: medians over the 181 updates of 700 episodes, seeds 1 to 4
EARLIER = {
    "good": {
        "cosine": (0.999956, 0.999910, 0.999913, 0.999973),
        "norm_ratio": (5.936, 5.903, 5.915, 5.938),
        "curvature": (-8.72, -13.20, -11.50, -8.32),
    },
    "bad": {
        "cosine": (0.999976, 0.999985, 0.999992, 0.999952),
        "norm_ratio": (5.986, 5.958, 6.029, 5.958),
        "curvature": (-1.81, -5.69, 3.88, -5.65),
    },
}
PUBLISHED_STEPS = (1e-4, 5e-4, 1e-3)


def draw_updates(panel, frame: pd.DataFrame) -> None:
    """1 - cosine of the published vector to the plain gradient, update by update."""
    for advice in ADVICE:
        colour, _ = LOOK[advice]
        rows = part_of(frame, "trained", advice=advice)
        off = np.maximum(1 - rows.pivot(index="update", columns="seed", values="cosine"), 1e-9)
        panel.plot(off.index, off.median(axis=1), color=colour, label=f"{advice} advice, median and range of seeds")
        panel.fill_between(off.index, off.min(axis=1), off.max(axis=1), color=colour, alpha=0.15, linewidth=0)
        panel.axhline(1 - np.mean(EARLIER[advice]["cosine"]), color=colour, linestyle=":", linewidth=1.5)
    panel.plot([], [], color=GREY, linestyle=":", label="official code, medians of 4 seeds averaged")
    panel.axhline(1e-3, color=BLACK, linewidth=0.8, linestyle="--")
    panel.text(
        0.99,
        1.15e-3,
        "first-order in effect below",
        ha="right",
        va="bottom",
        fontsize=8,
        transform=panel.get_yaxis_transform(),
    )
    panel.set(yscale="log", ylim=(1e-9, 1), xlabel="update of the blend")
    panel.set(ylabel="1 - cosine to the plain gradient", title="The published vector is the plain gradient")
    panel.legend(loc="upper left", fontsize=8)


def draw_steps(panel, frame: pd.DataFrame, loops: int) -> None:
    """How large the step would have to be for the curvature to turn the gradient."""
    for advice in ADVICE:
        colour, _ = LOOK[advice]
        for kind, line in (("surrogate", "-"), ("fisher", "--")):
            cells = part_of(frame, "sweep", advice=advice, kind=kind).groupby("step").cosine
            middle = cells.median()
            name = "surrogate, as published" if kind == "surrogate" else "Fisher"
            panel.plot(middle.index, middle, color=colour, linestyle=line, label=f"{advice} advice: {name}")
            if kind == "surrogate":
                band = (cells.quantile(0.1), cells.quantile(0.9))
                panel.fill_between(middle.index, *band, color=colour, alpha=0.15, linewidth=0)
    for step in PUBLISHED_STEPS:
        panel.axvline(step, color=GREY, linewidth=1.2, linestyle="-" if step == 5e-4 else ":")
    panel.text(1.15e-3, 0.6, "published\nsteps", ha="left", va="center", fontsize=8, color=GREY)
    panel.set(xscale="log", ylim=(-1.05, 1.05), xlabel="step of the series (1 / curvature)")
    panel.set(ylabel="cosine to the plain gradient", title=f"Where {loops} products would begin to matter")
    panel.legend(loc="lower left", fontsize=8, frameon=True, framealpha=1, edgecolor="none")


def draw_curvatures(panel, frame: pd.DataFrame) -> None:
    """Three curvatures along the plain gradient, all probes."""
    rng = np.random.default_rng(0)
    kinds = ("surrogate", "exact", "fisher")
    for place, kind in enumerate(kinds):
        for advice, side in (("good", -0.2), ("bad", 0.2)):
            colour, marker = LOOK[advice]
            values = part_of(frame, "probe", advice=advice, kind=kind).curvature.to_numpy()
            x = place + side + rng.uniform(-0.1, 0.1, len(values))
            panel.plot(x, values, marker, color=colour, markersize=3, alpha=0.35, markeredgewidth=0)
            ends = [place + side - 0.15, place + side + 0.15]
            panel.plot(ends, [np.median(values)] * 2, color=colour, linewidth=3)
            if kind == "surrogate":
                for median in EARLIER[advice]["curvature"]:
                    panel.plot(ends, [median] * 2, color=BLACK, linewidth=1, linestyle=":")
    for advice in ADVICE:
        colour, marker = LOOK[advice]
        panel.plot([], [], color=colour, marker=marker, linewidth=3, label=f"{advice} advice, bar: median")
    panel.plot([], [], color=BLACK, linestyle=":", label="official code, medians of 4 seeds")
    panel.axhline(0, color=GREY, linewidth=0.8)
    names = ("surrogate\n(what is published)", "exact\n(unbiased, noisy)", "Fisher\n(never positive)")
    panel.set_xticks(range(len(kinds)), names)
    panel.set_yscale("symlog", linthresh=0.1)
    panel.set(ylabel="curvature along the gradient", title="The curvature left unused, and its sign")
    panel.legend(loc="upper right", fontsize=8)


def draw_hypergradients(panel, frame: pd.DataFrame) -> None:
    """Cosine of the blend's hyper-gradient with the first-order one."""
    for place, kind in enumerate(KINDS):
        for advice, side in (("good", -0.12), ("bad", 0.12)):
            colour, marker = LOOK[advice]
            cells = part_of(frame, "probe", advice=advice, kind=kind).groupby("seed").hyper_cosine.median()
            mean, low, high = mean_interval(cells.to_numpy())
            error = [[mean - low], [high - mean]]
            label = f"{advice} advice" if place == 0 else None
            panel.errorbar(place + side, mean, error, color=colour, marker=marker, capsize=3, linestyle="", label=label)
    panel.axhline(1, color=GREEN, linewidth=0.8, linestyle="--")
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.set_xticks(range(len(KINDS)), [NAMES[kind] for kind in KINDS])
    panel.set(xlim=(-0.5, len(KINDS) - 0.5), ylim=(-1.1, 1.15), ylabel="cosine to the first-order hyper-gradient")
    panel.set_title("Where the blend would be pushed")
    panel.legend(loc="lower left", fontsize=8)
