"""Panels of the figure on recordings with a known law: one step, judgement, open loop, data, whole record."""

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from paper_figures.known_law_prediction_study import (
    ARGMAX,
    DOUBLED,
    IN_DATA,
    MASSES,
    MEAN,
    ORACLE,
    PLACES,
    RANDOM,
    RULES,
    SOFTMAX,
    UNIFORM,
    WHOLE,
)
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LABELS = {
    RANDOM: "a random elite's sample",
    SOFTMAX: "filter: softmax, temperature .1",
    ARGMAX: "filter: argmax",
    MEAN: "mean of the elites",
    ORACLE: "best of the 10 (oracle)",
}
COLOURS = {RANDOM: GREY, SOFTMAX: SKY_BLUE, ARGMAX: BLUE, MEAN: VERMILLION, ORACLE: BLACK}
MARKERS = {RANDOM: "s", SOFTMAX: "v", ARGMAX: "o", MEAN: "D", ORACLE: "_"}
# Lowest and highest of 3 seeds of separate code, written before this project's models; 2,000 rows
EARLIER = {
    (IN_DATA, RANDOM): (0.046, 0.053),
    (IN_DATA, ARGMAX): (0.020, 0.024),
    (IN_DATA, ORACLE): (0.020, 0.024),
    (IN_DATA, MEAN): (0.011, 0.013),
    (UNIFORM, RANDOM): (0.053, 0.061),
    (UNIFORM, ARGMAX): (0.023, 0.029),
    (UNIFORM, ORACLE): (0.023, 0.029),
    (UNIFORM, MEAN): (0.012, 0.014),
    (DOUBLED, RANDOM): (0.063, 0.074),
    (DOUBLED, ARGMAX): (0.033, 0.040),
    (DOUBLED, MEAN): (0.032, 0.036),
}
EARLIER_CORRELATION = -0.78
ERROR = "error (standard deviations of one step's change)"


def numbers(frame: pd.DataFrame, **where) -> pd.DataFrame:
    """Rows with these entries, by seed."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame.sort_values("seed", kind="stable")


def draw_one_step(panel, frame: pd.DataFrame, record: str = MASSES) -> None:
    """Errors by place and rule, with the seeds as dots and the earlier run's range as a bar behind."""
    rows = frame[(frame.part == "one step") & (frame.record == record)]
    rows = rows[rows.rows == rows.rows.min()]
    for place, name in enumerate(PLACES):
        for shift, rule in zip(np.linspace(-0.3, 0.3, len(RULES)), RULES, strict=True):
            values = numbers(rows, place=name, rule=rule).value.to_numpy()
            centre, low, high = mean_interval(values)
            at = place + shift
            if record == MASSES and (name, rule) in EARLIER:
                panel.plot([at, at], EARLIER[name, rule], color=ORANGE, linewidth=9, alpha=0.45, solid_capstyle="butt")
            panel.plot(np.full(len(values), at), values, ".", color=COLOURS[rule], alpha=0.35, markersize=4)
            size = 12 if rule == ORACLE else 6
            panel.errorbar(
                *(at, centre, [[centre - low], [high - centre]]),
                **{"color": COLOURS[rule], "marker": MARKERS[rule], "markersize": size, "capsize": 3, "linestyle": ""},
                label=LABELS[rule] if place == 0 else None,
            )
    panel.set_xticks(range(len(PLACES)), PLACES)
    panel.set(yscale="log", ylabel=ERROR)
    _plain_ticks(panel, (0.01, 0.02, 0.05, 0.1, 0.2))
    if record == MASSES:
        panel.set_ylim(top=4 * panel.get_ylim()[1])  # room for the legend
        panel.plot([], [], color=ORANGE, linewidth=9, alpha=0.45, label="separate code, earlier (3 seeds)")
        panel.set_title("One step, positions and velocities recorded")
        panel.legend(loc="upper left", fontsize=8)
    else:
        panel.set_title("One step, with the targets left in the record")


def draw_judgement(panel, frame: pd.DataFrame) -> None:
    """Candidates' reward against their error, in the data and at doubled states."""
    rows = frame[(frame.part == "candidate") & (frame.record == MASSES) & (frame.seed == frame.seed.min())]
    for name, colour in ((DOUBLED, PURPLE), (IN_DATA, BLUE)):
        shown = numbers(rows, place=name)
        found = numbers(frame[(frame.part == "correlation") & (frame.record == MASSES)], place=name).value
        centre, low, high = mean_interval(found.to_numpy())
        label = f"{name}: correlation {centre:.2f} ({low:.2f} to {high:.2f})"
        panel.plot(shown.value, shown.reward, ".", color=colour, alpha=0.35, markersize=4, label=label)
    panel.set(xscale="log", xlabel=f"{ERROR} of a candidate", ylabel="dynamics reward of the candidate (nats)")
    panel.set_title("What the dynamics reward says of candidates")
    panel.plot([], [], " ", label=f"(in data, earlier: {EARLIER_CORRELATION})")
    panel.legend(loc="upper right", fontsize=8)


def draw_open_loop(panel, frame: pd.DataFrame) -> None:
    rows = frame[frame.part == "open loop"]
    for rule in (RANDOM, SOFTMAX, ARGMAX, MEAN):
        wide = numbers(rows, rule=rule).pivot(index="seed", columns="step", values="value")
        centre, low, high = mean_interval(wide.to_numpy())
        panel.plot(wide.columns, centre, color=COLOURS[rule], label=LABELS[rule])
        panel.fill_between(wide.columns, low, high, color=COLOURS[rule], alpha=0.15, linewidth=0)
    panel.set(yscale="log", xlabel="steps played blindly in the model", ylabel=ERROR, xlim=(0, None))
    _plain_ticks(panel, (0.02, 0.05, 0.1, 0.2, 0.5, 1))
    panel.set_title("Open loop against the law")
    panel.legend(loc="lower right", fontsize=8)


def draw_amounts(panel, frame: pd.DataFrame, good: float, bad: float) -> None:
    """Error of the elites' mean by place, with few and with more rows."""
    rows = frame[(frame.part == "one step") & (frame.record == MASSES) & (frame.rule == MEAN)]
    for shift, (count, colour) in zip((-0.12, 0.12), zip(sorted(rows.rows.unique()), (VERMILLION, GREEN)), strict=True):
        for place, name in enumerate(PLACES):
            values = numbers(rows, rows=count, place=name).value.to_numpy()
            centre, low, high = mean_interval(values)
            panel.plot(np.full(len(values), place + shift), values, ".", color=colour, alpha=0.35, markersize=4)
            epochs = rows[rows.rows == count].epochs.mean()
            label = f"{count:,.0f} rows, {epochs:.0f} epochs" if place == 0 else None
            error = [[centre - low], [high - centre]]
            panel.errorbar(place + shift, centre, error, color=colour, marker="D", capsize=3, linestyle="", label=label)
    for bound, words in ((good, "supports the pipeline, in data"), (bad, "refutes it")):
        panel.axhline(bound, color=GREY, linestyle="--", linewidth=1)
        panel.text(1.4, bound * 1.03, f"{words} ({bound:.3f})", color=GREY, fontsize=8, ha="center", va="bottom")
    panel.set_xticks(range(len(PLACES)), PLACES)
    panel.set(yscale="log", ylabel=ERROR)
    _plain_ticks(panel, (0.005, 0.01, 0.02, 0.05, 0.1))
    panel.set_title("Mean of the elites, by rows trained on")
    panel.legend(loc="upper left", fontsize=8)


def draw_ratios(panel, frame: pd.DataFrame, most: float, refuting: float) -> None:
    """Argmax over random, what the filter takes off the error, in both records and in open loop."""
    bars = [*((record, place) for record in (MASSES, WHOLE) for place in PLACES), ("open loop", "50 steps")]
    for height, (record, place) in enumerate(bars):
        values = ratio(frame, record, place)
        centre, low, high = mean_interval(values)
        colour = {MASSES: BLUE, WHOLE: ORANGE}.get(record, GREEN)
        panel.plot(values, np.full(len(values), height), ".", color=colour, alpha=0.35, markersize=4)
        panel.errorbar(centre, height, xerr=[[centre - low], [high - centre]], color=colour, marker="o", capsize=3)
    names = [f"{record}, {place}" for record, place in bars]
    panel.set_yticks(range(len(bars)), names, fontsize=8)
    for bound, words in ((most, "supports"), (refuting, "refutes")):
        panel.axvline(bound, color=GREY, linestyle="--", linewidth=1)
        panel.text(bound - 0.01, -0.6, words, color=GREY, fontsize=8, ha="right", va="center")
    panel.set(xlabel="error of the argmax over that of a random sample", ylim=(len(bars) - 0.5, -0.9), xlim=(0, None))
    panel.set_title("What the filter takes off")


def ratio(frame: pd.DataFrame, record: str, place: str, over: str = RANDOM, rule: str = ARGMAX) -> np.ndarray:
    """Error of a rule over that of another, by seed."""
    if record == "open loop":
        rows = frame[frame.part == "open loop"]
        rows = rows[rows.step == rows.step.max()]
    else:
        rows = frame[(frame.part == "one step") & (frame.record == record) & (frame.place == place)]
        rows = rows[rows.rows == rows.rows.min()]
    return numbers(rows, rule=rule).value.to_numpy() / numbers(rows, rule=over).value.to_numpy()


def _plain_ticks(panel, ticks: tuple[float, ...]) -> None:
    panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_yticks([], minor=True)
