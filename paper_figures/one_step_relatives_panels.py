"""Panels of the one-step relatives: weights by update, where every method ends, and what its hyper-gradients are."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.one_step_relatives_study import METHODS, ONE_STEP, STARTS, part_of
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

NAMES = {
    "primary": "primary reward alone",
    "sum": "sum of both rewards",
    "lirpg": "LIRPG",
    "meta_gradient": "MGL",
    "carried": "IMGL",
    "explicit_mapping": "EM",
    "first_order": "BARFI first-order (tabular)",
    "fisher": "BARFI Fisher (tabular)",
}
COLOURS = {
    "primary": BLACK,
    "sum": GREY,
    "lirpg": BLUE,
    "meta_gradient": ORANGE,
    "carried": GREEN,
    "explicit_mapping": VERMILLION,
    "first_order": SKY_BLUE,
    "fisher": PURPLE,
}
BEST = 0.91647  # primary return of the best policy


def draw_weights(panel, frame: pd.DataFrame, advice: str) -> None:
    panel.axhline(0, color=GREY, linewidth=0.8)
    for method in METHODS:
        for start, line in zip(STARTS, ("-", "--")):
            rows = part_of(frame, "weight", method=method, advice=advice, start=start)
            wide = rows[rows.kind != "linear"].pivot(index="seed", columns="update", values="value")
            centre, low, high = mean_interval(wide.to_numpy())
            label = NAMES[method] if start == 0 else None
            panel.plot(wide.columns, centre, color=COLOURS[method], linestyle=line, label=label)
            panel.fill_between(wide.columns, low, high, color=COLOURS[method], alpha=0.12, linewidth=0)
    panel.plot([], [], color=BLACK, linestyle="--", label="from weight 1")
    panel.set(xlabel="update of the policy (16 episodes each)", ylabel="weight of the auxiliary reward")
    panel.set_title(f"{advice.capitalize()} advice: the learned weight")
    if advice == "good":
        panel.set_ylim(top=3.0)
        panel.legend(loc="upper left", fontsize=8, ncols=2)


def draw_ends(panel, frame: pd.DataFrame, advice: str) -> None:
    arms = [("primary", 0.0), ("sum", 1.0), *[(method, start) for method in METHODS for start in STARTS]]
    labels = []
    for place, (method, start) in enumerate(arms):
        given = {"advice": advice} if method != "primary" else {}
        runs = part_of(frame, "run", method=method, start=start, **given)
        values = runs[runs.kind != "linear"].value.to_numpy()
        _draw_end(panel, place, values, COLOURS[method])
        labels.append(f"{NAMES[method]}, from {start:g}" if method in METHODS else NAMES[method])
    values = part_of(frame, "run", kind="linear", advice=advice).value.to_numpy()
    _draw_end(panel, len(arms), values, COLOURS["meta_gradient"])
    labels.append("MGL, a weight a state, from 0")
    panel.axvline(BEST, color=GREY, linewidth=0.8)
    panel.set_yticks(range(len(labels)), labels, fontsize=8)
    panel.set(xlabel=f"primary return in the end (exact; the best is {BEST:.3f})", ylim=(len(labels) - 0.4, -0.6))
    panel.set(xlim=(-0.25, 1.0))
    panel.set_title(f"{advice.capitalize()} advice: what the policy earns")


def draw_alignment(panel, frame: pd.DataFrame, column: str = "aligned") -> None:
    methods = ONE_STEP if column == "aligned" else ("lirpg", "meta_gradient")
    for place, method in enumerate(methods):
        runs = part_of(frame, "run", method=method, kind="scalar")
        for side, advice in ((-0.14, "good"), (0.14, "bad")):
            values = runs[runs.advice == advice][column].dropna().to_numpy()
            centre, low, high = mean_interval(values)
            panel.errorbar(
                place + side,
                centre,
                yerr=[[centre - low], [high - centre]],
                color=COLOURS[method],
                marker="o" if advice == "good" else "s",
                markerfacecolor=COLOURS[method] if advice == "good" else "white",
                capsize=3,
                linestyle="",
            )
    for marker, face, label in (("o", BLACK, "good advice"), ("s", "white", "bad advice")):
        panel.plot([], [], marker, color=BLACK, markerfacecolor=face, label=label)
    panel.set_xticks(range(len(methods)), [NAMES[method] for method in methods])
    panel.set_xlim(-0.6, len(methods) - 0.4)
    panel.legend(loc="lower left" if column == "aligned" else "lower right", fontsize=8)
    if column == "aligned":
        panel.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        panel.set(ylim=(0, 1.04), ylabel="share of updates")
        panel.set_title("Same sign as the first-order hyper-gradient")
    else:
        panel.set(ylabel="mean cosine over the updates")
        panel.set_title("Vector in policy space against plain gradient")


def _draw_end(panel, place: int, values: np.ndarray, colour: str) -> None:
    centre, low, high = mean_interval(values)
    panel.plot(values, np.full(values.shape, place), ".", color=colour, alpha=0.35, markersize=5)
    panel.errorbar(centre, place, xerr=[[centre - low], [high - centre]], color=colour, marker="o", capsize=3)
