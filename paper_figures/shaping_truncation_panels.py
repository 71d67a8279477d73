"""The four panels of the figure on shaping gone wrong."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.shaping_truncation_study import DISCOUNT, FAULTS, POTENTIAL, TRACE, critic_bias, harmful_below
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

LEARNERS = {"table": ("Q-learning, table", "o", 0.96, "-", 0.0), "PPO": ("PPO", "s", 1.04, ":", TRACE)}
KEPT = {"keep": ("kept", BLUE), "zero": ("zeroed", VERMILLION)}


def draw_bias(panel, frame: pd.DataFrame) -> None:
    """Bias of the critic by time limit, on the closed forms."""
    smooth = np.geomspace(4, 100, 200)
    for learner, (label, marker, shift, line, trace) in LEARNERS.items():
        panel.plot(smooth, critic_bias(smooth, trace), color=GREY, linestyle=line, label=f"closed form, {label}")
        for kept, (word, colour) in KEPT.items():
            _points(panel, frame, learner, kept, colour, marker, shift, f"{label}, {word}")
    panel.axhline(-DISCOUNT * POTENTIAL, color=ORANGE, linestyle="--", label="bias of the last step's target")
    _limits(panel)
    panel.set(ylabel="learned value less exact value (5)", title="A room that pays 1 for ever: bias of the critic")
    panel.legend(loc="lower right", fontsize=8)


def draw_choice(panel, frame: pd.DataFrame) -> None:
    """Share of steps in the better room by time limit."""
    for learner, (label, marker, shift, _, _) in LEARNERS.items():
        for kept, (word, colour) in KEPT.items():
            _points(panel, frame, learner, kept, colour, marker, shift, f"{label}, {word}", joined=learner == "table")
    panel.axvline(harmful_below(), color=GREY, linestyle="--")
    panel.text(
        harmful_below() * 0.93, 0.68, "below: worse room better", rotation=90, ha="right", va="center", fontsize=8
    )
    _limits(panel)
    panel.set(ylim=(-0.05, 1.09), ylabel="share of steps in the room that pays most")
    panel.set_title("Two rooms, paying .7 and 1: which is chosen")
    panel.legend(loc="lower right", fontsize=8)


def draw_leads(panel, frame: pd.DataFrame) -> None:
    """By how much the right action leads, where shaping is right and where it is not."""
    looks = {"none": ("no shaping", BLACK), "right": ("shaped right", BLUE), "wrong": ("with the fault", VERMILLION)}
    for place, (shaping, (label, colour)) in enumerate(looks.items()):
        heights = frame[frame.shaping == shaping].set_index("fault").value.reindex(list(FAULTS))
        where = np.arange(len(FAULTS)) + 0.26 * (place - 1)
        panel.bar(where, heights, width=0.24, color=colour, label=label)
        for x, height in zip(where, heights, strict=True):
            up = height >= 0
            panel.annotate(f"{height:.1f}", (x, height), (0, 2 if up else -2), textcoords="offset points", ha="center",
                           va="bottom" if up else "top", fontsize=9)  # fmt: skip
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.set_xticks(range(len(FAULTS)), [name.replace(", ", ",\n") for name, _, _ in FAULTS.values()])
    panel.set(ylim=(-10.5, 3.5), ylabel="return of the right action less the other")
    panel.set_title("At the end, and with another discount")
    panel.legend(loc="lower left")


def draw_resets(panel, frame: pd.DataFrame) -> None:
    """What is added at each step of an environment that resets itself."""
    looks = {"naive": ("naive wrapper", VERMILLION, "x", 9), "right": ("rewardlab's wrapper", BLUE, "o", 6)}
    panel.axvspan(2.6, 3.4, color=GREEN, alpha=0.15, linewidth=0)
    panel.text(3, 1.25, "only resets", ha="center", fontsize=9)
    for shaping, (label, colour, marker, size) in looks.items():
        cells = frame[frame.shaping == shaping]
        panel.plot(cells.step, cells.value, color=colour, marker=marker, markersize=size, linestyle="", label=label)
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.set_xticks(sorted(frame.step.unique().astype(int)))
    panel.set(ylim=(-2.4, 1.6), xlabel="call of step (episodes of two steps, cut by the limit)")
    panel.set(ylabel="shaping reward", title="Across resets of a gymnasium vector")
    panel.legend(loc="lower right")


def _points(panel, frame, learner, kept, colour, marker, shift, label, *, joined=False) -> None:
    cells = frame[(frame.learner == learner) & (frame.kept == kept)]
    limits = np.array(sorted(cells.limit.unique()))
    found = np.array([mean_interval(cells[cells.limit == limit].value) for limit in limits]).T
    spread = np.abs(found[1:] - found[0])
    panel.errorbar(limits * shift, found[0], yerr=spread, color=colour, marker=marker, capsize=3, label=label,
                   linestyle="-" if joined else "", markerfacecolor="none" if learner == "PPO" else colour,
                   markersize=8 if learner == "PPO" else 5)  # fmt: skip


def _limits(panel) -> None:
    panel.set(xscale="log", xlabel="time limit (steps)")
    panel.set_xticks([5, 10, 20, 40, 80], ["5", "10", "20", "40", "80"])
    panel.minorticks_off()
