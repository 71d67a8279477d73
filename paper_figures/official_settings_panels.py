"""Panels of the figure at the official settings: learning curves, every arm beside the official code, exact agents."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.official_settings_study import (
    ADVICE,
    ARMS,
    BARFI,
    FISHER,
    NONE,
    POTENTIAL,
    PUBLISHED_POTENTIAL,
    SUM,
    part_of,
)
from paper_figures.style import BLACK, BLUE, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LABELS = {
    NONE: "primary reward alone",
    SUM: "sum of both rewards",
    PUBLISHED_POTENTIAL: "PBRS as published (by action)",
    POTENTIAL: "potential of the state",
    BARFI: "BARFI as published",
    FISHER: "BARFI, Fisher, normalised",
}
LOOKS = {
    NONE: (BLACK, "-"),
    SUM: (VERMILLION, "-"),
    PUBLISHED_POTENTIAL: (PURPLE, "-."),
    POTENTIAL: (ORANGE, ":"),
    BARFI: (BLUE, "-"),
    FISHER: (SKY_BLUE, "--"),
}
ROWS = [("none", NONE), *((advice, arm) for advice in ADVICE for arm in ARMS["maze"])]
# What the official code, run unmodified, came to: mean primary return of episodes 1801 to 2000 of each of its seeds 1
# to 4 (1 to 8 of BARFI with bad advice), and of episodes 1 to 500, over the seeds or of each. Policy rate .005,
# discount penalty .25, no penalty of weights: one point of the published sweep.
OFFICIAL_LAST = {
    ("none", NONE): (98.3, 98.6, 98.3, 98.4),
    ("good", SUM): (98.6, 98.6, 98.5, 98.6),
    ("good", PUBLISHED_POTENTIAL): (97.7, 98.6, 95.3, 98.6),
    ("good", BARFI): (98.6, 97.8, 98.4, 98.7),
    ("bad", SUM): (-3.9, -4.4, -3.4, -2.3),
    ("bad", PUBLISHED_POTENTIAL): (98.4, 97.5, 94.9, 97.5),
    ("bad", BARFI): (98.2, 97.7, 7.8, 97.7, 98.9, 98.7, 95.5, 98.0),
}
OFFICIAL_FIRST = {
    ("none", NONE): (86.5,),
    ("good", SUM): (89.6,),
    ("good", PUBLISHED_POTENTIAL): (86.9,),
    ("good", BARFI): (92.2,),
    ("bad", SUM): (24.5,),
    ("bad", PUBLISHED_POTENTIAL): (83.1,),
    ("bad", BARFI): (50.1, 85.3, 6.5, 48.5, 90.9, 63.4, 51.7, 63.4),
}
BEST = 99.1226  # of an episode of the maze, solved exactly


def draw_curves(panel, frame: pd.DataFrame, advice: str) -> None:
    """The maze's learning curves with one kind of advice."""
    panel.axhline(BEST, color=GREY, linewidth=0.8)
    for kind, arm in (("none", NONE), *((advice, arm) for arm in ARMS["maze"])):
        _draw_path(panel, part_of(frame, "curve", world="maze", advice=kind, arm=arm), *LOOKS[arm], LABELS[arm])
    panel.axvline(155, color=GREY, linewidth=0.8, linestyle=":")
    panel.annotate("blend begins", (155, 1.0), (3, -2), fontsize=8, color=GREY, **_ABOVE)
    panel.set(xlabel="episode", ylabel="primary return of an episode", ylim=(-8, 106), xlim=(0, None))
    panel.set_title(f"Maze, {advice} advice")


def draw_cartpole(panel, frame: pd.DataFrame) -> None:
    """CartPole's learning curves with both kinds of advice."""
    for advice, line in (("none", "-"), ("good", "-"), ("bad", "--")):
        for arm in (NONE,) if advice == "none" else ARMS["cartpole"]:
            label = LABELS[arm] if advice == "none" else f"{LABELS[arm]}, {advice} advice"
            rows = part_of(frame, "curve", world="cartpole", advice=advice, arm=arm)
            _draw_path(panel, rows, LOOKS[arm][0], line, label)
    panel.axhline(500, color=GREY, linewidth=0.8)
    panel.axvline(155, color=GREY, linewidth=0.8, linestyle=":")
    panel.set(xlabel="episode", ylabel="steps the pole stays up", ylim=(-15, 530), xlim=(0, None))
    panel.set_title("CartPole")
    panel.legend(loc="upper center", fontsize=8, ncols=2, bbox_to_anchor=(0.5, -0.15))


def draw_means(panel, frame: pd.DataFrame, column: str, official: dict, title: str) -> None:
    """A mean over some episodes for every arm of the maze: our seeds, their mean and interval, the official code's."""
    for place, (advice, arm) in enumerate(ROWS):
        colour = LOOKS[arm][0]
        values = part_of(frame, "run", world="maze", advice=advice, arm=arm)[column].to_numpy()
        panel.plot(values, np.full(len(values), place - 0.14), ".", color=colour, markersize=7, alpha=0.6)
        centre, low, high = mean_interval(values)
        panel.errorbar(centre, place - 0.14, xerr=[[centre - low], [high - centre]], fmt="|", color=colour, capsize=2)
        theirs = official.get((advice, arm), ())
        marker = "D" if len(theirs) > 1 else "s"
        panel.plot(theirs, np.full(len(theirs), place + 0.2), marker, color=BLACK, markersize=4, fillstyle="none")
    panel.axvline(BEST, color=GREY, linewidth=0.8)
    for edge in (0.5, 0.5 + len(ARMS["maze"])):
        panel.axhline(edge, color=GREY, linewidth=0.6)
    panel.set(xlabel="primary return of an episode", title=title, xlim=(-10, 106))
    panel.grid(axis="y", visible=False)


def label_rows(panel) -> None:
    """Names of the arms, on the left of the first of the panels that share them."""
    names = [LABELS[arm] if advice == "none" else f"{advice}: {LABELS[arm]}" for advice, arm in ROWS]
    panel.set_yticks(range(len(ROWS)), names)
    panel.set_ylim(len(ROWS) - 0.4, -0.6)
    panel.plot([], [], ".", color=GREY, markersize=7, label="ours, a seed; mean and 95% interval")
    panel.plot([], [], "D", color=BLACK, markersize=4, fillstyle="none", label="official code, a seed")
    panel.plot([], [], "s", color=BLACK, markersize=4, fillstyle="none", label="official code, mean of 4 seeds")


def draw_landscape(panel, frame: pd.DataFrame) -> None:
    """What the exact agent earns over the weight of the advice."""
    panel.axhline(BEST, color=GREY, linewidth=0.8)
    for advice, colour in (("good", BLUE), ("bad", VERMILLION)):
        rows = part_of(frame, "landscape", advice=advice).sort_values("weight")
        panel.plot(rows.weight, rows.value, color=colour, label=f"{advice} advice as published")
        learned = part_of(frame, "exact", advice=advice, arm="learned").iloc[0]
        panel.plot([learned.weight], [learned.value], "*", color=colour, markersize=11, markeredgecolor=BLACK)
        naive = part_of(frame, "exact", advice=advice, arm=SUM).iloc[0]
        panel.plot([1.0], [naive.value], "o", color=colour, markersize=6, markeredgecolor=BLACK)
    panel.plot([], [], "*", color=GREY, markersize=10, markeredgecolor=BLACK, label="learned weight")
    panel.plot([], [], "o", color=GREY, markersize=6, markeredgecolor=BLACK, label="sum of both rewards")
    panel.set_xscale("symlog", linthresh=1e-3)
    panel.set_xticks([-10, -0.1, -0.001, 0.001, 0.1, 10], ["−10", "−.1", "−.001", ".001", ".1", "10"])
    panel.set(xlabel="weight of the advice", ylabel="primary return of an episode", ylim=(-10, 106))
    panel.set_title("Maze, agents solved exactly")
    panel.legend(loc="center", fontsize=8, bbox_to_anchor=(0.43, 0.45))


_ABOVE = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}


def _draw_path(panel, frame: pd.DataFrame, colour: str, line: str, label: str) -> None:
    wide = frame.pivot(index="seed", columns="episode", values="value")
    centre, low, high = mean_interval(wide.to_numpy())
    panel.plot(wide.columns, centre, color=colour, linestyle=line, label=label)
    panel.fill_between(wide.columns, low, high, color=colour, alpha=0.12, linewidth=0)
