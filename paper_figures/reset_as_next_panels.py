"""The four panels of the figure on last rows read wrongly."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

READINGS = {
    "recorded": ("recorded next observations", BLUE),
    "next row": ("next row's (the bug)", VERMILLION),
    "dropped": ("terminal rows dropped", GREEN),
}
BEFORE = {"recorded": 0.172, "next row": 0.238}  # measured before this figure was made, linear model
BEFORE_CHANGE = {"recorded": 0.249, "next row": 0.990}


def draw_errors(panel, frame: pd.DataFrame) -> None:
    """Errors of both models by reading, and of the ensemble on terminal and other rows."""
    groups = {
        "linear,\nall rows": ("linear", "error, all rows"),
        "ensemble,\nall rows": ("ensemble", "error, all rows"),
        "ensemble,\nterminal rows": ("ensemble", "error, terminal rows"),
        "ensemble,\nother rows": ("ensemble", "error, other rows"),
    }
    _bars(panel, frame, groups, list(READINGS), "{:.3f}")
    for place, value in zip(_places(3)[:2], BEFORE.values()):
        panel.plot([place - 0.12, place + 0.12], [value, value], color=BLACK, linewidth=2.5, solid_capstyle="butt")
    panel.plot([], [], color=BLACK, linewidth=2.5, label="linear, measured before")
    panel.set(
        ylabel="error on held-out episodes (RMS, raw units)", title="Prediction of the next observation", ylim=(0, 0.6)
    )
    panel.legend(loc="upper left", fontsize=9)


def draw_falls(panel, frame: pd.DataFrame) -> None:
    """Share of falls that each model foresees, and of other steps that it takes for one."""
    groups = {
        "linear,\nfalls": ("linear", "falls foreseen"),
        "ensemble,\nfalls": ("ensemble", "falls foreseen"),
        "ensemble,\nfalse alarms": ("ensemble", "false alarms"),
    }
    _bars(panel, frame, groups, list(READINGS), "{:.2f}")
    panel.set(ylim=(0, 1.15), ylabel="share of held-out steps", title="Is the end of the episode foreseen?")


def draw_jumps(panel, frame: pd.DataFrame) -> None:
    """How far the observation seems to move in false rows."""
    for place, reading in enumerate(("recorded", "next row")):
        mean, low, high = mean_interval(frame[frame.reading == reading].sort_values("seed").value.to_numpy(float))
        panel.barh(place, mean, height=0.6, color=READINGS[reading][1], xerr=[[mean - low], [high - mean]], capsize=3)
        panel.text(high + 0.02, place, f"{mean:.3f}", va="center", fontsize=9)
        panel.plot([BEFORE_CHANGE[reading]] * 2, [place - 0.3, place + 0.3], color=BLACK, linewidth=2.5)
    panel.plot([], [], color=BLACK, linewidth=2.5, label="measured before")
    panel.set_yticks([0, 1], ["all rows,\nas recorded", "terminal rows,\nwith the bug"])
    panel.set(xlim=(0, 1.25), xlabel="mean size of the change in an entry of the observation (raw units)")
    panel.set_title("A reset looks like a jump")
    panel.legend(loc="lower right", fontsize=9)


def draw_values(panel, frame: pd.DataFrame) -> None:
    """Values at the start over Monte Carlo by time limit."""
    looks = {"bootstrapped": ("bootstrapped", BLUE, "o"), "as terminals": ("taken for terminals", VERMILLION, "s")}
    styles = {"swing-up": ("swing-up controller", "-", 0.97, None), "random": ("random torques", "--", 1.03, "white")}
    limits = np.sort(frame.limit.unique())
    for policy, (name, line, shift, fill) in styles.items():
        cells = frame[frame.policy == policy].pivot(index="seed", columns=["of", "limit"], values="value")
        for of, (word, colour, marker) in looks.items():
            found = mean_interval((cells[of] / cells["Monte Carlo"])[limits].to_numpy())
            spread = [found[0] - found[1], found[2] - found[0]]
            panel.errorbar(limits * shift, found[0], spread, color=colour, marker=marker, linestyle=line, capsize=3,
                           markerfacecolor=fill or colour, label=f"{name}: {word}")  # fmt: skip
    smooth = np.geomspace(limits.min() * 0.9, limits.max() * 1.1, 100)
    # A reward a step for ever, discounted by .99 and by .99 (1 - 1/T): what is left of its value.
    panel.plot(
        smooth,
        0.01 / (1 - 0.99 * (1 - 1 / smooth)),
        color=ORANGE,
        linewidth=6,
        alpha=0.5,
        zorder=0,
        label="closed form: rewards go on as they were",
    )
    panel.axhline(1, color=GREY, linewidth=0.8)
    panel.set_xscale("log")
    panel.set_xticks(limits, [f"{limit:.0f}" for limit in limits])
    panel.minorticks_off()
    panel.set(ylim=(0, 1.15), xlabel="time limit of an episode (steps)", ylabel="fitted value over Monte Carlo")
    panel.set_title("Pendulum: timeouts bootstrapped, or taken for terminals")
    panel.legend(loc="lower right", fontsize=9)


def _places(count: int) -> np.ndarray:
    return 0.27 * (np.arange(count) - (count - 1) / 2)


def _bars(panel, frame: pd.DataFrame, groups: dict, readings: list[str], form: str) -> None:
    for shift, reading in zip(_places(len(readings)), readings):
        label, colour = READINGS[reading]
        cells = frame[frame.reading == reading].sort_values("seed")
        found = np.stack(
            [
                mean_interval(cells[(cells.model == m) & (cells.of == of)].value.to_numpy(float))
                for m, of in groups.values()
            ]
        )
        where = np.arange(len(groups)) + shift
        spread = [found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]]
        panel.bar(where, found[:, 0], width=0.25, color=colour, yerr=spread, capsize=3, label=label)
        for x, (mean, _, high) in zip(where, found):
            panel.annotate(form.format(mean).lstrip("0") or "0", (x, high), (0, 2), textcoords="offset points",
                           ha="center", va="bottom", fontsize=8)  # fmt: skip
    panel.set_xticks(range(len(groups)), list(groups))
