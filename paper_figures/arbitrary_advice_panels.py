"""The picture of arbitrary advice: curves under good and bad advice, what the decay costs, and the worked arms."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.arbitrary_advice_study import (
    DECAYS,
    MYOPIC,
    SHORTER,
    SHORTEST,
    SMALL,
    VARIANTS_DECAY,
    WINDOW,
    by_seed,
    coded,
    explicit,
)
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

_SHOWN_DECAY = 10
_CURVES = {
    ("none", "plain"): ("plain SARSA, no advice", BLACK, "-"),
    ("", "added"): ("reward + advice", PURPLE, ":"),
    ("", "dynamic"): ("learned potential (DPBA), as published", VERMILLION, "-"),
    ("", "dynamic_corrected"): ("the same, present potential added", ORANGE, "--"),
    ("", explicit(_SHOWN_DECAY)): (f"explicit (PIES), silent after {_SHOWN_DECAY} episodes", BLUE, "-"),
    ("", coded(_SHOWN_DECAY)): ("the same, potential learned as coded", SKY_BLUE, "-"),
}
_ARMS = {
    "added": ("reward + advice", PURPLE, ":"),
    "dynamic": ("learned potential, as published", VERMILLION, "-"),
    "dynamic_corrected": ("the same, present potential added", ORANGE, "--"),
    "explicit": ("explicit, silent after 5000", BLUE, "-"),
}
_VARIANT_LOOK = {
    SMALL: ("a tenth of the advice", "D"),
    SHORTER: ("potential discounted by .5", "^"),
    MYOPIC: ("potential discounted by 0", "v"),
}
_EXPLICIT = {  # the learner at a decay, and how it is drawn with good and with bad advice
    explicit: ("o", BLUE, VERMILLION, "", -0.1),
    coded: ("s", GREEN, PURPLE, " (as coded)", 0.1),
}


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12.5, 8.8), layout="constrained")
    above, below = figure.subplots(2, 2)
    for panel, advice in zip(above, ("good", "bad"), strict=True):
        _draw_curves(panel, frame, advice)
    above[1].sharey(above[0])
    _draw_decays(below[0], frame)
    _draw_arms(below[1], frame[frame.advice == "arm"])
    handles, labels = above[0].get_legend_handles_labels()
    seeds = int(frame.seed.nunique())
    heading = f"SARSA on a 10 x 10 grid and on two arms; means of {seeds} seeds with 95% intervals"
    figure.legend(handles, labels, loc="outside upper center", ncols=3, title=heading, title_fontsize=12)
    return figure


def _draw_curves(panel: Axes, frame: pd.DataFrame, advice: str) -> None:
    for (own, learner), (label, colour, line) in _CURVES.items():
        _curve(panel, frame[(frame.advice == (own or advice)) & (frame.learner == learner)], label, colour, line)
    panel.axhline(SHORTEST, color=GREY, linewidth=1, linestyle=(0, (1, 3)))
    panel.text(0, SHORTEST * 0.96, f"shortest way: {SHORTEST} steps", va="top", fontsize=8, color=GREY)
    panel.set(yscale="log", ylim=(12, None), xlabel="episode", ylabel=f"steps per episode (means of {WINDOW})")
    where = "right and down, to the goal" if advice == "good" else "left and up, away from it"
    panel.set_title(f"{advice.capitalize()} advice: {where}")


def _curve(panel: Axes, runs: pd.DataFrame, label: str, colour: str, line: str, shift: float = WINDOW / 2) -> None:
    by_time = runs.pivot(index="seed", columns="at", values="value")
    mean, low, high = mean_interval(by_time.to_numpy())
    times = by_time.columns.to_numpy() + shift
    panel.plot(times, mean, color=colour, linestyle=line, label=label)
    panel.fill_between(times, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_decays(panel: Axes, frame: pd.DataFrame) -> None:
    places = np.arange(len(DECAYS) + 1.0)
    mean, low, high = mean_interval(by_seed(frame, "none", "plain", "first"))
    panel.axhspan(low, high, color=BLACK, alpha=0.15, linewidth=0)
    panel.axhline(mean, color=BLACK, linewidth=1.2, label="plain SARSA")
    for name, (marker, *colours, note, shift) in _EXPLICIT.items():
        for advice, colour in zip(("good", "bad"), colours, strict=True):
            found = [mean_interval(by_seed(frame, advice, name(decay), "first")) for decay in DECAYS]
            _bars(panel, places[:-1] + shift, found, colour, marker, f"{advice} advice{note}", "-")
    for place, (name, (label, marker)) in enumerate(_VARIANT_LOOK.items()):
        for advice, colour in zip(("good", "bad"), _EXPLICIT[explicit][1:3], strict=True):
            found = [mean_interval(by_seed(frame, advice, name, "first"))]
            _bars(panel, places[-1:] + 0.3 * (place - 1), found, colour, marker, None, "")
        panel.plot([], [], color=GREY, marker=marker, linestyle="", label=label)
    panel.set_xticks(places, [*map(str, DECAYS), f"variants at {VARIANTS_DECAY}"])
    panel.set(yscale="log", xlabel="episodes until explicit advice is silent", ylabel="steps per episode, first 30")
    panel.set_ylim(None, 9 * panel.get_ylim()[1])
    panel.set_title("Explicit shaping (PIES): what it costs at first")
    panel.legend(loc="upper left", ncols=2, fontsize=8)


def _bars(panel: Axes, places: np.ndarray, found: list, colour: str, marker: str, label: str | None, line: str) -> None:
    mean, low, high = np.transpose(found)
    bars = {"yerr": [mean - low, high - mean], "capsize": 3}
    panel.errorbar(places, mean, color=colour, marker=marker, linestyle=line, label=label, **bars)


def _draw_arms(panel: Axes, frame: pd.DataFrame) -> None:
    for learner, (label, colour, line) in _ARMS.items():
        runs = frame[frame.learner == learner]
        runs = runs.assign(at=runs["at"] // 500 * 500).groupby(["seed", "at"], as_index=False).value.mean()
        _curve(panel, runs, label, colour, line, shift=250)
    for height, text, at in (
        (0.95, "always the wrong arm, but for exploring", "bottom"),
        (0.05, "always the right arm, but for exploring", "top"),
    ):
        panel.axhline(height, color=GREY, linewidth=1, linestyle=(0, (1, 3)))
        panel.text(
            20_000, height + (0.01 if at == "bottom" else -0.01), text, ha="right", va=at, fontsize=8, color=GREY
        )
    panel.set(ylim=(-0.04, 1.06), xlabel="step", ylabel="share of the wrong arm (of 500 steps)")
    panel.set_title("One state: arms pay 1 and 0, the second is advised by 2")
    panel.legend(loc="center right", fontsize=8)
