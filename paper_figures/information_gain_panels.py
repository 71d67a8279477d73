"""Panels of the information-gain figure, and how its rows are picked and summed up."""

import numpy as np
import pandas as pd
from scipy import stats

from paper_figures.information_gain_study import LONG, RATE
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LOOKS = {
    "outcome": (BLACK, "o"),
    "joint": (BLUE, "s"),
    "separate": (VERMILLION, "^"),
    "log joint": (SKY_BLUE, "D"),
    "log separate": (ORANGE, "v"),
    "log position": (GREEN, "P"),
    "log position divided": (PURPLE, "X"),
}
# median iterations to exact success .8, found by separate code before this figure was written; 8 seeds
EARLIER = {"outcome": 230, "joint": 60, "separate": 40, "log joint": 60, "log separate": 60, "log position": 110}
PUNISHED = {0: 1.809, 1: 1.225, 3: 0.349, 6: -0.588}  # first-turn advantage, likewise


def draw_by_iteration(panel, frame: pd.DataFrame, shift: float = 0.0) -> None:
    for method, (colour, marker) in LOOKS.items():
        wide = part_of(frame, method=method).pivot(index="seed", columns="iteration", values="value")
        centre, low, high = mean_interval(wide.to_numpy())
        steps = wide.columns.to_numpy() + shift
        gap = max(len(steps) // 8, 1)
        panel.plot(steps, centre, color=colour, marker=marker, markevery=gap, markersize=4)
        panel.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.set(xlabel="iteration", ylim=(-0.03, 1.05))


def draw_speed(panel, frame: pd.DataFrame) -> None:
    for place, (method, (colour, marker)) in enumerate(LOOKS.items()):
        for rate, look in ((RATE, {}), (best_rate(frame, method), {"markerfacecolor": "white"})):
            runs = part_of(frame, method=method, rate=rate).solved
            centre, low, high = interval(runs)
            lower = place + (0.17 if look else -0.17)
            error = [[centre - low], [high - centre]]
            panel.errorbar(centre, lower, xerr=error, color=colour, marker=marker, capsize=3, **look)
            if look:
                panel.text(high * 1.12, lower, f"rate {rate:g}", fontsize=8, va="center")
        if method in EARLIER:
            panel.plot(EARLIER[method], place - 0.17, color=GREY, marker="|", markersize=16, linestyle="", zorder=0)
    panel.plot([], [], color=GREY, marker="|", markersize=12, linestyle="", label="separate code, earlier")
    panel.plot([], [], color=GREY, marker="o", linestyle="", label=f"learning rate {RATE:g}")
    panel.plot([], [], color=GREY, marker="o", linestyle="", markerfacecolor="white", label="its best rate")
    panel.set(xscale="log", xlabel="iterations to success .8 (median)", yticks=[], xlim=(8, 600))
    panel.set_ylim(len(LOOKS) - 0.4, -2.1)
    panel.set_title("What it saves")
    panel.legend(loc="upper right", fontsize=8)


def draw_group(panel, frame: pd.DataFrame) -> None:
    names = {"position": "log position"}
    labels = {
        "outcome": ("outcome only", 7, (0, 6)),
        "joint": ("joint", 5, (-30, -12)),
        "separate": ("separate", 4, (24, 4)),
        "position": ("per-turn mean", 7, (0, 6)),
    }
    for method, (label, at, offset) in labels.items():
        colour, marker = LOOKS[names.get(method, method)]
        cells = frame[frame.method == method]
        panel.plot(cells.useless, cells.value, color=colour, marker=marker)
        where = (cells.useless.iloc[at], cells.value.iloc[at])
        panel.annotate(label, where, offset, textcoords="offset points", ha="center", fontsize=9, color=colour)
    panel.plot(list(PUNISHED), list(PUNISHED.values()), color=GREY, marker="_", markersize=16, linestyle="", zorder=0)
    panel.axhline(0, color=BLACK, linewidth=0.8)
    panel.set(xlabel="useless turns of a right rollout", ylabel="advantage of its first, useful turn")
    panel.set_title("A worked group (grey: separate code)")


def draw_distractor(panel, frame: pd.DataFrame, quantity: str, label: str) -> None:
    for method, (colour, marker) in LOOKS.items():
        cells = part_of(frame, method=method).groupby("distraction")[quantity]
        found = np.array([mean_interval(values.to_numpy()) for _, values in cells])
        shares = np.array(list(cells.groups)) + 0.008 * (list(LOOKS).index(method) - 3)
        error = [found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]]
        panel.errorbar(shares, found[:, 0], yerr=error, color=colour, marker=marker, capsize=2, markersize=5)
    panel.set(xlabel="doubt that the distractor takes away", ylabel=label, ylim=(-0.03, 1.05))


def draw_early(panel, frame: pd.DataFrame) -> None:
    for place, (method, (colour, _)) in enumerate(LOOKS.items()):
        runs = part_of(frame, method=method)
        questions, low, high = mean_interval(runs.questions.to_numpy())
        useful = questions - runs.wasted.mean()
        panel.bar(place, useful, color=colour)
        panel.bar(place, questions - useful, bottom=useful, color="white", edgecolor=colour, hatch="///")
        panel.errorbar(place, questions, yerr=[[questions - low], [high - questions]], color=GREY, capsize=4)
    panel.bar(0, 0, color=GREY, label="reveal something")
    panel.bar(0, 0, color="white", edgecolor=GREY, hatch="///", label="wasted")
    panel.axhline(4, color=BLACK, linewidth=0.8, linestyle=":")
    panel.set(xticks=[], ylabel="questions before the answer", ylim=(0, LONG + 1.6))
    panel.set_title(f"May answer early, at most {LONG} turns")
    panel.legend(loc="upper right", fontsize=8, ncols=2)


def draw_success(panel, frame: pd.DataFrame) -> None:
    for place, (method, (colour, marker)) in enumerate(LOOKS.items()):
        values = part_of(frame, method=method).success
        centre, low, high = mean_interval(values.to_numpy())
        spread = place + 0.25 * np.linspace(-1, 1, len(values))
        panel.plot(spread, values, color=colour, marker=".", linestyle="", alpha=0.4)
        panel.errorbar(place, centre, yerr=[[centre - low], [high - centre]], color=colour, marker=marker, capsize=4)
    panel.set(xticks=[], ylabel="final success", ylim=(-0.03, 1.05))
    panel.set_title("May answer early (dots: seeds)")


def part_of(frame: pd.DataFrame, part: str | None = None, **where) -> pd.DataFrame:
    found = frame if part is None else frame[frame.part == part]
    for column, value in where.items():
        found = found[found[column] == value]
    return found


def best_rate(frame: pd.DataFrame, method: str) -> float:
    return float(part_of(frame, method=method).groupby("rate").solved.median().idxmin())


def interval(values, statistic=np.median, *others) -> tuple[float, float, float]:
    """The statistic with its 95% bootstrap interval over seeds; methods are resampled apart, as their luck is."""
    samples = tuple(np.asarray(part, float) for part in (values, *others))
    found = float(statistic(*samples))
    if all(np.ptp(part) == 0 for part in samples):  # nothing to resample
        return found, found, found
    interval = stats.bootstrap(samples, statistic, method="percentile", rng=0).confidence_interval
    return found, float(interval.low), float(interval.high)
