"""The three panels of the figure on the speed of learning with shaping."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.shaping_speed_study import EPISODES, MAX_STEPS, arms
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LOOKS = {
    "none": BLACK,
    "value": BLUE,
    "progress": GREEN,
    "distance": ORANGE,
    "cells": SKY_BLUE,
    "negated": VERMILLION,
    "mismatch": PURPLE,
}
DRAWN = ("none", "value", "progress", "cells", "mismatch")  # the other two stay at the limit
EARLIER = {"none": (46.5, 46.5), "value": (1.0, 1.5), "progress": (1.0, 1.5)}
CARS = {"none": ("no shaping", BLACK), "height": ("height", ORANGE), "energy": ("energy", BLUE)}
BIN = 1000  # steps of training in one point of the car's curves, where the run is short


def draw_curves(panel, frame: pd.DataFrame) -> None:
    """Median steps of each episode, with quartiles."""
    for arm in DRAWN:
        cells = frame[frame.arm == arm].sort_values("episode")
        width = 0.8 if arm == "mismatch" else 1.6
        panel.plot(cells.episode, cells.value, color=LOOKS[arm], label=arms()[arm].label, linewidth=width)
        panel.fill_between(cells.episode, cells.low, cells.high, color=LOOKS[arm], alpha=0.15, linewidth=0)
    panel.axhline(19, color=GREY, linestyle=":", linewidth=1)
    panel.text(1, 17.5, "19: shortest way", va="top", fontsize=8)
    panel.set(xscale="log", ylim=(0, MAX_STEPS * 1.42), xlim=(1, EPISODES))
    panel.set_xticks([1, 10, 100], ["1", "10", "100"])
    panel.set(xlabel="episode", ylabel="steps (median and quartiles of seeds)", title="Chain: learning curves")
    panel.axhline(MAX_STEPS, color=GREY, linestyle=":", linewidth=1)
    panel.legend(loc="upper right", fontsize=8, ncols=2)


def draw_before(panel, medians: dict[str, np.ndarray], arrives: dict[str, float]) -> None:
    """Episodes before the first good one, for each potential, beside what separate code found; and who has learned."""
    names = list(medians)
    for row, arm in enumerate(names):
        middle, low, high = medians[arm]
        spread = [[middle - low], [high - middle]]
        panel.errorbar([middle], [row], xerr=spread, color=LOOKS[arm], marker="o", capsize=3, linestyle="")
        panel.text(EPISODES * 2.2, row, f"{arrives[arm]:.0%}", ha="center", va="center", fontsize=9)
        if middle >= EPISODES:
            panel.text(EPISODES * 0.86, row, "most seeds never", ha="right", va="center", fontsize=8)
    for arm, (low, high) in EARLIER.items():
        known = {"color": GREY, "linewidth": 7, "alpha": 0.4, "solid_capstyle": "butt", "zorder": 0}
        label = "separate code, earlier" if arm == "none" else None
        panel.plot([low * 0.92, high * 1.08], [names.index(arm)] * 2, label=label, **known)
    panel.set_yticks(range(len(names)), [arms()[arm].label for arm in names])
    panel.set(xscale="symlog", xlim=(0, EPISODES * 3.4), ylim=(len(names) - 0.3, -0.6))
    panel.text(EPISODES * 2.2, -0.62, "learned", ha="center", va="bottom", fontsize=8)
    panel.set_xticks([0, 1, 2, 5, 10, 20, 50, 200], ["0", "1", "2", "5", "10", "20", "50", "200"])
    panel.minorticks_off()
    panel.set(xlabel="episodes before the first good one (median, 95%)")
    panel.set_title("Chain: by potential", pad=14)
    panel.legend(loc="lower left", fontsize=8)


def draw_car(panel, frame: pd.DataFrame) -> None:
    """Unshaped returns of training against steps, and those of the greedy policy at the end."""
    total = float(frame.step.max())
    width = max(BIN, total / 25)
    for place, (arm, (label, colour)) in enumerate(CARS.items()):
        cells = frame[(frame.arm == arm) & (frame.of == "training")]
        binned = cells.assign(bin=np.ceil(cells.step / width) * width).groupby(["seed", "bin"]).value.mean().unstack()
        whole = binned.dropna(axis=1)
        if whole.shape[1]:
            middle, low, high = mean_interval(whole.to_numpy())
            panel.plot(whole.columns, middle, color=colour, marker=".", label=label)
            panel.fill_between(whole.columns, low, high, color=colour, alpha=0.2, linewidth=0)
        middle, low, high = mean_interval(frame[(frame.arm == arm) & (frame.of == "final")].sort_values("seed").value)
        spread = [[middle - low], [high - middle]]
        x = total * (1.06 + 0.04 * place)
        panel.errorbar([x], [middle], yerr=spread, color=colour, marker="D", capsize=3, linestyle="")
    panel.plot([], [], color=GREY, marker="D", linestyle="", label="greedy, at the end")
    panel.set_xticks(np.linspace(0, total, 5))
    panel.set(
        xlim=(0, total * 1.18), ylim=(-207, -80), xlabel="steps of training", ylabel="unshaped return of an episode"
    )
    panel.set_title("MountainCar: DQN by potential")
    panel.legend(loc="upper left", fontsize=8)
