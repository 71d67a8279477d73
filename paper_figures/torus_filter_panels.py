"""Panels of the figure on the filter in the torus."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from paper_figures.torus_filter_study import CANDIDATES, COUNTS, PROPOSED, TEMPERATURE

__all__ = [
    "CEILING",
    "draw_counts",
    "draw_hits",
    "draw_laws",
    "draw_plans",
    "draw_temperatures",
    "draw_variation",
    "of",
]

CEILING = 1 - (1 - 1 / PROPOSED) ** CANDIDATES
NAMES = {
    "plain": "no filter",
    "softmax": "softmax",
    "argmax": "argmax",
    "control softmax": "control,\nsoftmax",
    "control argmax": "control,\nargmax",
    "limit": "softmax,\nN = ∞",
    "control limit": "control,\nN = ∞",
    "counted": "table as\na model",
}
COLOURS = {"plain": GREY, "softmax": BLUE, "argmax": GREEN, "limit": PURPLE, "counted": ORANGE}
# of an earlier run, 3 seeds, known before this figure was made
EARLIER_HITS = {"plain": (0.036, 0.040), "softmax": (0.298, 0.323), "argmax": (0.303, 0.328)}
EARLIER_TEMPERATURES = {0.01: 0.318, 0.1: 0.314, 1.0: 0.084, 10.0: 0.042}
EARLIER_VARIATION = {"plain": (0.860, 0.860), "limit": (0.049, 0.057)}


def of(frame: pd.DataFrame, part: str, name: str) -> np.ndarray:
    """Values of the seeds, in order of the seeds; with several x, `(seeds, x)`."""
    rows = frame[(frame.part == part) & (frame.name == name)]
    if rows.x.isna().all():
        return rows.sort_values("seed").value.to_numpy()
    return rows.pivot(index="seed", columns="x", values="value").sort_index(axis=1).to_numpy()


def draw_hits(panel, frame: pd.DataFrame) -> None:
    """How often the candidate that is taken is the intended cell."""
    _points(panel, frame, "hit", ("plain", "softmax", "argmax", "control softmax", "control argmax"), EARLIER_HITS)
    panel.axhline(CEILING, color=BLACK, linestyle="--", linewidth=1)
    panel.text(4.45, CEILING + 0.006, f"some candidate is: {CEILING:.3f}", ha="right", va="bottom", fontsize=8)
    panel.set(ylim=(0, 0.4), ylabel="probability of the intended cell")
    panel.set_title(f"Where there is no data, {CANDIDATES} candidates")


def draw_temperatures(panel, frame: pd.DataFrame) -> None:
    """The same against the temperature of the softmax."""
    x = np.sort(frame[frame.part == "temperature"].x.unique())
    _band(panel, x, of(frame, "temperature", "softmax"), BLUE, "softmax, mean and 95 % interval", "o")
    panel.plot(*zip(*EARLIER_TEMPERATURES.items(), strict=True), "x", color=BLACK, label="earlier run")
    panel.axhline(CEILING, color=BLACK, linestyle="--", linewidth=1, label="some candidate is the intended cell")
    panel.axhline(1 / PROPOSED, color=GREY, linestyle=":", linewidth=1, label="no filter")
    panel.axvline(TEMPERATURE, color=GREY, linewidth=0.8)
    panel.text(TEMPERATURE * 1.08, 0.385, "published", ha="left", va="top", fontsize=8, color=GREY)
    panel.set(xscale="log", ylim=(0, 0.4), xlabel="temperature of the softmax [nats]")
    panel.set(ylabel="probability of the intended cell", title="A warm softmax is no filter")
    panel.legend(loc="lower left", bbox_to_anchor=(0, 0.12), fontsize=8)


def draw_counts(panel, frame: pd.DataFrame) -> None:
    """The same against the number of candidates."""
    for name, marker in (("argmax", "s"), ("softmax", "o")):
        _band(panel, np.array(COUNTS), of(frame, "count", name), COLOURS[name], name, marker)
    fine = np.geomspace(COUNTS[0], COUNTS[-1], 100)
    panel.plot(fine, 1 - (1 - 1 / PROPOSED) ** fine, color=BLACK, linestyle="--", linewidth=1, label="1 - (1 - 1/25)^N")
    panel.axhline(0.9, color=GREY, linestyle=":", linewidth=1, label="true probability .9")
    panel.axvline(CANDIDATES, color=GREY, linewidth=0.8)
    panel.text(CANDIDATES * 1.05, 0.02, "published", ha="left", va="bottom", fontsize=8, color=GREY)
    panel.set(xscale="log", ylim=(0, 1.03), xlabel="candidates N", ylabel="probability of the intended cell")
    panel.set_title("The filter can only take what is proposed")
    panel.set_xticks(COUNTS, [str(count) for count in COUNTS])
    panel.minorticks_off()
    panel.legend(loc="upper left", fontsize=8)


def draw_variation(panel, frame: pd.DataFrame) -> None:
    """How far each law is from the true one."""
    names = ("plain", "softmax", "argmax", "limit", "control limit", "counted")
    _points(panel, frame, "variation", names, EARLIER_VARIATION)
    panel.set(
        ylim=(-0.05, 1), ylabel="total variation to the true law", title="Where there is no data: law of the next cell"
    )


def draw_plans(panel, frame: pd.DataFrame) -> None:
    """What a planner loses that believes the model."""
    names = ("plain", "softmax", "argmax", "limit", "control limit", "counted")
    _points(panel, frame, "plan", names, {})
    panel.axhline(1, color=GREY, linestyle=":", linewidth=1)
    panel.text(5.45, 1.01, "as bad as acting at random", ha="right", va="bottom", fontsize=8, color=GREY)
    panel.set(
        ylim=(-0.06, 1.12), ylabel="share of the gain that is lost", title="Planning in the model, living in the torus"
    )


def draw_laws(panels, frame: pd.DataFrame) -> None:
    """The law after "right" where there is no data, as 5 x 5 cells."""
    laws = {name: of(frame, "law", name).mean(0).reshape(5, 5) for name in ("plain", "softmax", "limit")}
    truth = np.zeros((5, 5))
    truth[[1, 2, 3, 2], [2, 1, 2, 3]] = [0.1 / 3, 0.1 / 3, 0.1 / 3, 0.9]
    shown = {
        "no filter": laws["plain"],
        "softmax, N = 10": laws["softmax"],
        "softmax, N = ∞": laws["limit"],
        "truth": truth,
    }
    for panel, (name, law) in zip(panels.flat, shown.items(), strict=True):
        panel.imshow(law, cmap="Blues", vmin=0, vmax=0.9)
        for (row, column), value in np.ndenumerate(law):
            if value >= 0.005:
                colour = "white" if value > 0.5 else BLACK
                panel.text(column, row, f"{value:.2f}"[1:], ha="center", va="center", fontsize=7, color=colour)
        panel.plot(2, 2, "s", markersize=22, markerfacecolor="none", markeredgecolor=VERMILLION, markeredgewidth=1)
        panel.set_title(name, fontsize=9, fontweight="normal")
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
        for side in panel.spines.values():
            side.set_visible(True)


def _points(panel, frame: pd.DataFrame, part: str, names: tuple[str, ...], earlier: dict) -> None:
    for place, name in enumerate(names):
        values = of(frame, part, name)
        mean, low, high = mean_interval(values)
        colour = COLOURS.get(name, VERMILLION)
        if name in earlier:
            low_before, high_before = earlier[name]
            panel.fill_between(
                [place - 0.38, place + 0.38],
                low_before - 0.002,
                high_before + 0.002,
                color=BLACK,
                alpha=0.15,
                linewidth=0,
            )
        panel.plot(np.full(len(values), place), values, ".", color=colour, alpha=0.35, markersize=5)
        panel.errorbar(place, mean, [[mean - low], [high - mean]], fmt="o", color=colour, capsize=3)
        panel.annotate(
            f"{mean:.3f}", (place, mean), (7, -2), textcoords="offset points", ha="left", va="top", fontsize=8
        )
    if earlier:
        panel.fill_between([], [], [], color=BLACK, alpha=0.15, linewidth=0, label="earlier run, 3 seeds")
        panel.legend(loc="center right", fontsize=8)
    panel.set_xticks(range(len(names)), [NAMES[name] for name in names], fontsize=8)
    panel.set_xlim(-0.5, len(names) - 0.3)


def _band(panel, x: np.ndarray, values: np.ndarray, colour: str, label: str, marker: str) -> None:
    mean, low, high = mean_interval(values)
    panel.plot(x, mean, marker=marker, color=colour, label=label, markersize=4)
    panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
