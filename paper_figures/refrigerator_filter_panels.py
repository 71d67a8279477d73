"""How the figure of the refrigerator's filters draws errors, agreement, the games, and the sensor's bias."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from paper_figures.intervals import mean_interval
from paper_figures.refrigerator_filter_study import LAW, REGIONS
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

NAMES = {
    "random": "random elite sample",
    "mean": "mean of the elites",
    "fast": "adversarial, generator fast, late snapshots",
    "fast rescaled": "the same, rescaled",
    "ahead": "adversarial, discriminator ahead, all snapshots",
    "ahead rescaled": "the same, rescaled",
    "ladder": "noise ladder (ours)",
    "best": "best of the ten",
}
FILTERS = ("fast", "fast rescaled", "ahead", "ahead rescaled", "ladder")
REGION_NAMES = {"in": "in the data", "ood_a": "unknown powers", "ood_sa": "unknown temperatures and powers"}
COLOURS = {
    "random": GREY,
    "mean": BLACK,
    "fast": VERMILLION,
    "fast rescaled": ORANGE,
    "ahead": BLUE,
    "ahead rescaled": SKY_BLUE,
    "ladder": GREEN,
    "best": PURPLE,
    "regression": PURPLE,
}
_DEGREES = {
    "in": (0.005, 0.01, 0.02, 0.05, 0.1),
    "ood_a": (0.02, 0.05, 0.1, 0.2, 0.5),
    "ood_sa": (0.05, 0.1, 0.2, 0.5, 1),
}
_ORDER = ("in", "ood_a", "ood_sa", "correlation", "alarm")
EARLIER = {  # means over 5 seeds of an earlier calculation with another training of the same kinds
    name: dict(zip(_ORDER, values, strict=False))
    for name, values in {
        "random": (0.064, 0.333, 0.397),
        "mean": (0.005, 0.068, 0.109),
        "fast": (0.078, 0.463, 0.590, 0.01, 0.19),
        "fast rescaled": (0.065, 0.339, 0.480, -0.19, 0.29),
        "ahead": (0.015, 0.183, 0.281, -0.45, 0.49),
        "ahead rescaled": (0.014, 0.195, 0.290, -0.67, 0.61),
        "ladder": (0.013, 0.077, 0.172, -0.73, 0.99),
        "best": (0.008, 0.047, 0.067),
    }.items()
}


def of(frame: pd.DataFrame, part: str, variant: str, region: str, ensemble: str = "short") -> np.ndarray:
    """Values by seed."""
    rows = frame[(frame.part == part) & (frame.variant == variant) & (frame.region == region)]
    return rows[rows.ensemble == ensemble].sort_values("seed").value.to_numpy()


def draw_errors(axes: Sequence[Axes], frame: pd.DataFrame) -> None:
    """Error of each choice in each region, with either ensemble and the earlier calculation's number."""
    for place, region in zip(axes, REGIONS, strict=True):
        for at, name in enumerate(NAMES):
            for ensemble, shift, marker in (("short", -0.13, "o"), ("long", 0.17, "s")):
                values = of(frame, "error", name, region, ensemble)
                mean, low, high = mean_interval(values)
                face = COLOURS[name] if ensemble == "short" else "white"
                place.plot([low, high], [at + shift] * 2, color=COLOURS[name], linewidth=2, zorder=2)
                place.plot([mean], [at + shift], marker, color=COLOURS[name], markerfacecolor=face, markersize=7)
                place.plot(values, [at + shift] * len(values), ".", color=COLOURS[name], markersize=3, alpha=0.6)
            place.plot([EARLIER[name][region]], [at], "x", color=BLACK, markersize=7, zorder=4)
        elite = of(frame, "error", "mean", region).mean()
        place.axvline(elite, color=BLACK, linewidth=0.8, linestyle=":")
        place.set(
            xscale="log", xlabel="mean absolute error of one step, degrees", title=REGION_NAMES[region].capitalize()
        )
        place.grid(axis="y", visible=False)
        if place is not axes[0]:
            place.tick_params(labelleft=False)
        place.set_xticks(_DEGREES[region], [f"{value:g}" for value in _DEGREES[region]])
        place.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_yticks(range(len(NAMES)), NAMES.values())
    axes[0].set_ylim(len(NAMES) - 0.5, -0.6)
    shown = [
        axes[0].plot([], [], "o", color=GREY, label="above: ensemble of the experiment")[0],
        axes[0].plot(
            [], [], "s", color=GREY, markerfacecolor="white", label="above: ensemble fitted with 8 times as many steps"
        )[0],
        axes[0].plot([], [], "x", color=BLACK, label="above: earlier calculation of the same")[0],
        axes[0].plot([], [], ":", color=BLACK, label="above: mean of the elites")[0],
    ]
    axes[0].figure.legend(handles=shown, loc="outside lower center", ncols=4)


def draw_agreement(axes: Axes, frame: pd.DataFrame, part: str) -> None:
    """How a reward goes with the error in the data, or tells unknown temperatures from the data."""
    region = "in" if part == "correlation" else "ood_sa"
    for at, name in enumerate(FILTERS):
        values = of(frame, part, name, region)
        mean, low, high = mean_interval(values)
        axes.plot([low, high], [at] * 2, color=COLOURS[name], linewidth=2.5)
        axes.plot([mean], [at], "o", color=COLOURS[name], markersize=8)
        axes.plot(values, [at + 0.2] * len(values), ".", color=COLOURS[name], markersize=4, alpha=0.7)
        axes.plot([EARLIER[name][part]], [at], "x", color=BLACK, markersize=7, zorder=4)
    labels = ("fast, late", "… rescaled", "ahead, all", "… rescaled", "noise ladder")
    axes.set_yticks(range(len(FILTERS)), labels)
    axes.set_ylim(len(FILTERS) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    if part == "correlation":
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set(xlabel="correlation of reward and error", xlim=(-1, 0.3), title="Does the reward see the error?")
    else:
        axes.axvline(0.5, color=BLACK, linewidth=0.8)
        axes.set(xlabel="area under the curve, unknown temperatures", xlim=(0, 1.03), title="Is a low reward an alarm?")


def draw_losses(axes: Axes, frame: pd.DataFrame) -> None:
    """The discriminator's loss through the two games."""
    rows = frame[frame.part == "loss"]
    for name, label in (("fast", "generator fast"), ("ahead", "discriminator ahead")):
        mine = rows[rows.variant == name].assign(step=lambda part: part.region.astype(int))
        lines = mine.pivot_table(index="step", columns="seed", values="value")
        axes.plot(lines.index, lines, color=COLOURS[name], linewidth=0.6, alpha=0.4)
        axes.plot(lines.index, lines.mean(axis=1), color=COLOURS[name], linewidth=2, label=label)
    axes.axhline(np.log(4), color=BLACK, linewidth=0.8, linestyle="--")
    axes.text(0.02, np.log(4), "log 4: it knows nothing", fontsize=8, va="bottom", transform=axes.get_yaxis_transform())
    axes.set(xlabel="iteration", ylabel="discriminator's loss, nats", title="The game")
    axes.legend(loc="lower right", fontsize=8)


def draw_slopes(axes: Axes, frame: pd.DataFrame) -> None:
    """The coefficient of the temperature that each choice implies where the sensor is noisy."""
    names = {
        "regression": "regression",
        "mean": "mean of elites",
        "random": "all candidates",
        "ahead": "adversarial, ahead",
        "ladder": "noise ladder",
    }
    for at, name in enumerate(names):
        values = of(frame, "slope", name, "in")
        axes.plot(values, [at] * len(values), "o", color=COLOURS[name], markersize=6, alpha=0.7)
        axes.plot([values.mean()], [at], "|", color=COLOURS[name], markersize=20, markeredgewidth=2)
    axes.axvline(LAW, color=BLACK, linewidth=1)
    axes.text(LAW, -0.55, "the law  ", fontsize=8, va="top", ha="right")
    axes.set_yticks(range(len(names)), names.values())
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.grid(axis="y", visible=False)
    seeds = frame[frame.part == "slope"].seed.nunique()
    counted = f"{seeds} seed{'s' if seeds > 1 else ''}"
    axes.set(xlabel="coefficient of the temperature", title=f"With a noisy sensor ({counted})")
