"""Panels of the sampled-BARFI figure: returns, weights, every arm's end, and the failure."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.sampled_barfi_study import ARMS, BARFI, NOISY, STARTED, part_of
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LABELS = {
    "primary": "primary reward alone",
    "naive": "sum of both rewards",
    "potential": "potential (PBRS)",
    "kept": "potential, kept at the cut",
    "published": "PBRS as published (by action)",
    "primary bare": "primary, no baseline",
    "potential bare": "potential, no baseline",
    "first_order 0 0.05": "BARFI from 0, step .05",
    "first_order 0 0.2": "BARFI from 0, step .2",
    "first_order 1 0.05": "BARFI from 1, step .05",
    "first_order 1 0.2": "BARFI from 1, step .2",
    "fisher 0 0.05": "Fisher from 0, step .05",
    "fisher 0 0.2": "Fisher from 0, step .2",
    "fisher 1 0.05": "Fisher from 1, step .05",
    "fisher 1 0.2": "Fisher from 1, step .2",
    "hasty primary": "hasty: primary alone",
    "hasty naive": "hasty: sum of both",
    "hasty first_order": "hasty: BARFI from 1, step .05",
    "hasty fisher": "hasty: Fisher from 1, step .05",
}
LOOKS = {
    "primary": (BLACK, "-"),
    "naive": (VERMILLION, "-"),
    "potential": (ORANGE, ":"),
    "published": (PURPLE, "-."),
    "first_order 0 0.05": (SKY_BLUE, "-"),
    BARFI: (BLUE, "-"),
    STARTED: (GREEN, "--"),
    "first_order 1 0.2": (ORANGE, "--"),
    "hasty primary": (BLACK, "-"),
    "hasty first_order": (VERMILLION, "--"),
}
BEST = 0.91647  # primary return of the best policy
# primary return in the end, found by separate code before this figure was written; mean of 5 seeds
EARLIER = {
    "good": {
        "primary": 0.843,
        "naive": 0.913,
        "kept": 0.848,
        "first_order 0 0.05": 0.913,  # of all three: .912 to .914
        "first_order 0 0.2": 0.913,
        "first_order 1 0.2": 0.913,
    },
    "bad": {
        "primary": 0.843,
        "naive": -0.084,
        "kept": 0.843,
        "first_order 0 0.05": 0.852,
        "first_order 0 0.2": 0.859,
        "first_order 1 0.05": 0.670,
        "first_order 1 0.2": 0.867,
        "hasty first_order": -0.090,
    },
}


def draw_returns(panel, frame: pd.DataFrame, advice: str) -> None:
    panel.axhline(BEST, color=GREY, linewidth=0.8)
    panel.text(200, BEST + 0.01, "best", color=GREY, ha="right", va="bottom", fontsize=8)
    for arm in ("primary", "naive", "potential", "published", BARFI):
        _draw_path(panel, part_of(frame, "return", advice=advice, arm=arm), arm)
    panel.set(xlabel="update of the policy", ylabel="primary return (exact)", ylim=(-0.15, 1.0), xlim=(0, 200))
    panel.set_title(f"{advice.capitalize()} advice: what is earned")


def draw_weights(panel, frame: pd.DataFrame, advice: str) -> None:
    panel.axhline(0, color=GREY, linewidth=0.8)
    for arm in ("first_order 0 0.05", BARFI, STARTED, "first_order 1 0.2"):
        _draw_path(panel, part_of(frame, "weight", advice=advice, arm=arm), arm, _label(arm).removeprefix("BARFI "))
    panel.set(xlabel="update of the policy", ylabel="weight of the auxiliary reward", xlim=(0, 200))
    panel.set_title(f"{advice.capitalize()} advice: BARFI's weight")
    panel.legend(loc="upper left" if advice == "good" else "lower left", fontsize=8)


def draw_ends(panel, frame: pd.DataFrame, advice: str) -> None:
    for place, arm in enumerate(ARMS):
        short = BEST - part_of(frame, "run", advice=advice, arm=arm).value.to_numpy()
        centre, low, high = mean_interval(short)
        colour = GREY if arm.startswith("hasty") else BLUE if ARMS[arm].method == "blend" else BLACK
        panel.plot(short, np.full(short.shape, place), ".", color=colour, alpha=0.25, markersize=5, linewidth=0)
        error = [[centre - low], [high - centre]]
        panel.errorbar(centre, place, xerr=error, color=colour, marker="o", markersize=5, capsize=3)
        if arm in EARLIER[advice]:
            earlier = BEST - EARLIER[advice][arm]
            panel.plot(earlier, place, color=VERMILLION, marker="|", markersize=13, markeredgewidth=1.8)
    panel.set_yticks(range(len(ARMS)), [_label(arm) for arm in ARMS], fontsize=8)
    panel.plot([], [], color=VERMILLION, marker="|", markersize=11, linestyle="", label="separate code, earlier")
    panel.set(xscale="log", xlim=(1.5, 2e-4), ylim=(len(ARMS) - 0.4, -0.6))
    panel.set_xlabel(f"short of the best return, {BEST:.3f} (log scale, right is better)")
    panel.set_title(f"{advice.capitalize()} advice: every arm in the end")
    panel.legend(loc="lower right" if advice == "bad" else "lower left", fontsize=8)


def draw_failure(panel, frame: pd.DataFrame) -> None:
    for arm in ("hasty primary", "hasty first_order"):
        _draw_path(panel, part_of(frame, "return", advice="bad", arm=arm), arm, LABELS[arm].removeprefix("hasty: "))
    panel.axhline(EARLIER["bad"]["hasty first_order"], color=GREY, linestyle=":", label="BARFI, separate code, earlier")
    panel.set(xlabel="update of the policy", ylabel="primary return (exact)", ylim=(-0.15, 1.0), xlim=(0, 200))
    panel.set_title("Failure: rate 2, entropy .002, bad advice")
    panel.legend(loc="center right", fontsize=8)


def draw_sizes(panel, frame: pd.DataFrame) -> None:
    for arm in (BARFI, STARTED, "hasty first_order"):
        rows = part_of(frame, "size", advice="bad", arm=arm)
        wide = rows.pivot(index="seed", columns="update", values="value")
        label = _label(arm).removeprefix("BARFI ").removeprefix("hasty: BARFI ")
        label = f"{label}, hasty" if arm.startswith("hasty") else label
        middle, low, high = np.exp(mean_interval(np.log(np.maximum(wide.to_numpy(), 1e-12))))
        colour, line = LOOKS[arm]
        panel.plot(wide.columns, middle, color=colour, linestyle=line, label=label)
        panel.fill_between(wide.columns, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.set(
        yscale="log", xlabel="update of the policy", ylabel="size of the hyper-gradient (geometric mean)", xlim=(0, 200)
    )
    panel.set_title("Bad advice: what moves the weight")
    panel.legend(loc="lower right", fontsize=8)


def _label(arm: str) -> str:
    return f"{LABELS[arm]}{' *' if arm in NOISY else ''}"


def _draw_path(panel, frame: pd.DataFrame, arm: str, label: str | None = None) -> None:
    wide = frame.pivot(index="seed", columns="update", values="value")
    centre, low, high = mean_interval(wide.to_numpy())
    colour, line = LOOKS[arm]
    panel.plot(wide.columns, centre, color=colour, linestyle=line, label=LABELS[arm] if label is None else label)
    panel.fill_between(wide.columns, low, high, color=colour, alpha=0.15, linewidth=0)
