"""Panels of the figure on alarms: areas under the ROC curve for unfamiliar inputs, and over the size of an error."""

import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION
from paper_figures.transition_alarm_study import (
    ALARMS,
    DMSD,
    ENSEMBLE,
    FAR,
    FAST,
    IN,
    LADDER,
    NEIGHBOUR,
    OFFICIAL,
    REFRIGERATOR,
    REGIONS,
    SLOW,
    STORED,
    TRUE,
    UNFAMILIAR,
    WRONG,
    rescaled,
)

LOOKS = {
    FAST: (PURPLE, "-."),
    rescaled(FAST, OFFICIAL): (PURPLE, "-"),
    rescaled(FAST, STORED): (PURPLE, ":"),
    SLOW: (VERMILLION, "-."),
    rescaled(SLOW, OFFICIAL): (VERMILLION, "-"),
    rescaled(SLOW, STORED): (ORANGE, "-"),
    LADDER: (BLUE, "-"),
    ENSEMBLE: (GREEN, "-"),
    NEIGHBOUR: (SKY_BLUE, "-"),
}
TITLES = {REFRIGERATOR: "Refrigerator", DMSD: "DMSD, recorded data"}
NAMED = {"ood_a": "other powers", "ood_sa": "other powers and temperatures"}
SAID = {
    ENSEMBLE: "ensemble: disagreement\n(surprise at a transition)",
    NEIGHBOUR: "nearest neighbour\n(of a transition)",
}
# The same design run before with another implementation of both trainers: means of 5 seeds, farthest region.
EARLIER = {FAST: 0.19, rescaled(FAST, OFFICIAL): 0.29, SLOW: 0.49, rescaled(SLOW, OFFICIAL): 0.61, LADDER: 0.99}
DRAWN = (rescaled(SLOW, OFFICIAL), LADDER, ENSEMBLE, NEIGHBOUR)  # over the size of an error


def values(frame: pd.DataFrame, **chosen: object) -> pd.DataFrame:
    """Rows with these values, ordered by seed."""
    for column, value in chosen.items():
        frame = frame[frame[column] == value]
    return frame.sort_values("seed")


def draw_unfamiliar(panel, frame: pd.DataFrame, world: str) -> None:
    """Every alarm's area: predictions in unfamiliar regions, and true transitions in the farthest of them."""
    frame = values(frame, world=world)
    alarms = [name for name in ALARMS if (frame.alarm == name).any()]
    near, far = REGIONS[world][1:]
    kinds = ((UNFAMILIAR, near, "o", -0.22), (UNFAMILIAR, far, "s", 0.0), (TRUE, far, "^", 0.22))
    for question, region, marker, shift in kinds:
        for place, name in enumerate(alarms):
            areas = values(frame, question=question, region=region, alarm=name).value.to_numpy()
            centre, low, high = mean_interval(areas)
            look = {"color": LOOKS[name][0], "markerfacecolor": "white" if question == TRUE else LOOKS[name][0]}
            error = [[centre - low], [high - centre]]
            panel.errorbar(centre, place + shift, xerr=error, fmt=marker, markersize=5, capsize=2, **look)
        said = "true transition" if question == TRUE else "prediction"
        filled = "white" if question == TRUE else GREY
        panel.plot([], [], marker, color=GREY, markerfacecolor=filled, label=f"{said}, {NAMED.get(region, region)}")
    if world == REFRIGERATOR:
        panel.plot(
            EARLIER.values(),
            [alarms.index(name) for name in EARLIER],
            "x",
            color=BLACK,
            markersize=6,
            label="prediction, earlier run",
        )
    panel.axvline(0.5, color=GREY, linewidth=0.8)
    panel.set_yticks(range(len(alarms)), [SAID.get(name, name.replace(", ", ",\n", 1)) for name in alarms])
    panel.set(ylim=(len(alarms) - 0.5, -0.5), xlim=(0.1, 1.03), xlabel="area under the ROC curve (0.5: chance)")
    panel.set_title(f"{TITLES[world]}: unfamiliar input?")
    panel.grid(axis="y", visible=False)
    panel.legend(loc="upper right", bbox_to_anchor=(1.0, -0.13), ncols=2, fontsize=8, columnspacing=1.0)


def draw_wrong(panel, frame: pd.DataFrame, world: str) -> None:
    """Areas for wrong next observations against true ones, over the size of the error."""
    frame = values(frame, world=world, question=WRONG)
    for region, line in ((IN, "-"), (FAR[world], "--")):
        for name in DRAWN:
            wide = values(frame, region=region, alarm=name).pivot(index="seed", columns="size", values="value")
            centre, low, high = mean_interval(wide.to_numpy())
            colour = LOOKS[name][0]
            panel.plot(wide.columns, centre, line, color=colour, marker="o", markersize=3)
            panel.fill_between(wide.columns, low, high, color=colour, alpha=0.12, linewidth=0)
    if world == REFRIGERATOR:
        for name in DRAWN:
            panel.plot([], [], color=LOOKS[name][0], label=name)
    panel.plot([], [], "-", color=GREY, label="inputs as recorded")
    panel.plot([], [], "--", color=GREY, label=NAMED.get(FAR[world], FAR[world]))
    panel.axhline(0.5, color=GREY, linewidth=0.8)
    panel.set_xscale("log")
    sizes = sorted(frame["size"].unique())
    panel.set_xticks(sizes, [f"{size:g}" for size in sizes])
    panel.minorticks_off()
    panel.set(ylim=(0.45, 1.02), xlabel="error, standard deviations of a step", ylabel="area under the ROC curve")
    panel.set_title(f"{TITLES[world]}: wrong prediction?")
    panel.legend(loc="upper right", bbox_to_anchor=(1.0, -0.13), ncols=2, fontsize=8, columnspacing=1.0)
