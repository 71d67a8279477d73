"""How the figure of exact bi-level blends draws its arms, the return over the weight, and where agents go."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

COLOURS = (GREY, VERMILLION, ORANGE, BLUE, SKY_BLUE, GREEN)
RANGES = {"good": (0.81, 0.94), "bad": (-0.2, 1.02)}
BEST = 0.9165  # of any policy, where the trap is in the middle
HEAT = (PURPLE, BLUE, SKY_BLUE, GREEN)


def draw_arms(axes: Sequence[Axes], arms: pd.DataFrame, order: Sequence[str], expected: Mapping) -> None:
    """What each arm earns: the published grid, and the random ones beside it."""
    rng = np.random.default_rng(0)
    for place, advice in zip(axes, ("good", "bad"), strict=True):
        mine = arms[arms.advice == advice]
        for at, (arm, colour) in enumerate(zip(order, COLOURS, strict=True)):
            rows = mine[mine.arm == arm]
            drawn = rows[rows.world > 0].earned
            jitter = rng.uniform(-0.28, 0.28, len(drawn))
            place.scatter(drawn, at + jitter, s=9, color=colour, alpha=0.45, linewidths=0)
            place.plot(rows[rows.world == 0].earned, [at], "o", color=colour, markersize=9, markeredgecolor=BLACK)
            if (advice, arm) in expected:
                place.plot([expected[advice, arm]], [at], "x", color=BLACK, markersize=6)
        place.set_yticks(range(len(order)), order)
        place.set(xlabel="primary return of the trained agent", title=f"Under {advice} advice", xlim=RANGES[advice])
        place.grid(axis="y", visible=False)
        place.set_ylim(len(order) - 0.5, -0.6)
        place.axvline(BEST, color=BLACK, linewidth=0.8, linestyle=":")
        place.text(BEST, -0.55, " best", fontsize=8, va="top")
    large = axes[0].plot([], [], "o", color="white", markeredgecolor=BLACK, markersize=9, label="trap in the middle")
    cross = axes[0].plot([], [], "x", color=BLACK, label="independent calculation of it")
    small = axes[0].plot([], [], "o", color=GREY, alpha=0.6, markersize=3, label="a random grid")
    axes[1].legend(handles=[*large, *cross, *small], loc="lower center", frameon=False)


def draw_landscape(axes: Axes, frame: pd.DataFrame, advice: str) -> None:
    """The primary return over the weight at each temperature, with the ascent drawn in."""
    surface, path = frame[frame.kind == "landscape"], frame[frame.kind == "path"]
    for temperature, colour in zip(sorted(path.temperature.unique(), reverse=True), HEAT, strict=True):
        line = surface[np.isclose(surface.temperature, temperature)]
        axes.plot(line.weight, line.earned, color=colour, linewidth=1.4, label=f"temperature {temperature:.2g}")
        steps = path[np.isclose(path.temperature, temperature)]
        axes.plot(steps.weight, steps.earned, "o-", color=colour, markersize=4, linewidth=0.7, markeredgecolor=BLACK)
    start, end = path.iloc[0], path.iloc[-1]
    axes.annotate("start", (start.weight, start.earned), textcoords="offset points", xytext=(6, -12), fontsize=8)
    axes.plot([end.weight], [end.earned], "*", color=BLACK, markersize=12)
    axes.annotate(
        f"{end.weight:.2f}", (end.weight, end.earned), textcoords="offset points", xytext=(-10, 8), fontsize=9
    )
    axes.set(xlabel="weight of the advice", ylabel="primary return", title=f"The path of trust, {advice} advice")
    axes.set_ylim(-0.2, 1.05)
    axes.legend(loc="lower left", fontsize=8, frameon=False)


def draw_visits(axes: Sequence[Axes], visits: pd.DataFrame, arms: Sequence[str]) -> None:
    """Expected discounted steps in each cell under bad advice."""
    for place, arm in zip(axes, arms, strict=True):
        picture = visits[visits.arm == arm].pivot(index="row", columns="column", values="visits").to_numpy()
        place.imshow(np.log10(1 + picture), cmap="cividis", vmin=0, vmax=2)
        for row, column in np.ndindex(picture.shape):
            if (row, column) != (4, 4):
                shade = "white" if picture[row, column] < 9 else "black"
                text = f"{picture[row, column]:.1f}"
                place.text(column, row, text, ha="center", va="center", fontsize=7, color=shade)
        place.text(4, 4, "goal", ha="center", va="center", fontsize=7, color="white")
        place.set(xticks=[], yticks=[], xlabel="steps in each cell")
        place.set_title(f"Bad advice,\n{arm}")
        place.grid(visible=False)
