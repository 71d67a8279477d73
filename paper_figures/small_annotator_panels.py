"""Panels of `small_annotator`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from llm_scale.experiments.small_annotator import MODEL, SENTENCES, STAND_IN, WORDS
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

__all__ = ["EARLIER", "draw", "model_of", "of", "shown_labels"]

EARLIER = {"no example": 0.39, "8 examples": 0.69, 50: 0.923, 100: 0.949, 200: 0.976}  # areas
COLOURS = {MODEL: BLUE, STAND_IN: BLUE, SENTENCES: GREEN, WORDS: ORANGE}
PROMPTS = {"no example": VERMILLION, "8 examples": PURPLE}


def of(frame: pd.DataFrame, part: str, which: str, labels: int = 0) -> np.ndarray:
    """Means over splits, one for each stream; none if it was not measured."""
    rows = frame[(frame.part == part) & (frame.of == which) & (frame.labels == labels)]
    return rows.groupby("stream").value.mean().to_numpy()


def model_of(frame: pd.DataFrame) -> str:
    """The language model's name in this table."""
    return MODEL if (frame.of == MODEL).any() else STAND_IN


def shown_labels(frame: pd.DataFrame) -> int:
    """The number of labels that verdicts speak of: 100, or the most there are where all are fewer."""
    counts = frame[frame.part == "area"].labels
    return 100 if (counts == 100).any() else int(counts.max())


def draw(frame: pd.DataFrame) -> Figure:
    """How messages are ranked, what is called helpful, what carries over to another kind, and what it costs."""
    figure = Figure(figsize=(13, 9), layout="constrained")
    (ranked, called), (carried, cost) = figure.subplots(2, 2)
    _draw_ranked(ranked, frame)
    _draw_called(called, frame)
    _draw_carried(carried, frame)
    _draw_cost(cost, frame)
    streams, positives = frame.stream.nunique(), of(frame, "sample", "positives").mean()
    messages = of(frame, "sample", "messages").mean()
    figure.suptitle(
        f"Which NetHack messages show progress? {model_of(frame)} as annotator: {positives:.0f} of {messages:.0f} "
        f"distinct messages do, {streams} random players, 95% intervals over players"
    )
    return figure


def _draw_ranked(axes: Axes, frame: pd.DataFrame) -> None:
    model = model_of(frame)
    areas = frame[(frame.part == "area") & (frame.labels > 0)]
    counts = sorted(areas.labels.unique())
    for place, encoder in enumerate(name for name in (model, SENTENCES, WORDS) if (areas.of == name).any()):
        there = [count for count in counts if len(of(frame, "area", encoder, count)) == frame.stream.nunique()]
        found = np.array([mean_interval(of(frame, "area", encoder, count)) for count in there])
        mean, low, high = found.T
        where = np.array(there) * 1.03 ** (place - 1)
        axes.errorbar(where, mean, yerr=[mean - low, high - mean], color=COLOURS[encoder], marker="o", capsize=3)
        axes.plot([], [], "-o", color=COLOURS[encoder], label=f"probe on {encoder}")
    for form, colour in PROMPTS.items():
        values = of(frame, "area", f"{model}, {form}")
        if len(values):
            mean, low, high = mean_interval(values)
            axes.axhline(mean, color=colour, label=f"{model}, prompt with {form}")
            axes.axhspan(low, high, color=colour, alpha=0.13, linewidth=0)
            axes.axhline(EARLIER[form], color=colour, linewidth=1, linestyle=":")
    earlier = [count for count in counts if count in EARLIER]
    axes.plot(
        earlier, [EARLIER[count] for count in earlier], "x", color=BLACK, markersize=8, label="earlier calculation"
    )
    axes.plot([], [], ":", color=BLACK, linewidth=1, label="earlier calculation, prompts")
    axes.axhline(0.5, color=GREY, linewidth=0.8)
    axes.set(xscale="log", xlabel="labelled messages", ylabel="area under the ROC curve", ylim=(0.33, 1.01))
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_title("Ranking messages")
    axes.legend(loc="lower right", frameon=True, framealpha=0.92, edgecolor="none")


def _draw_called(axes: Axes, frame: pd.DataFrame) -> None:
    model, count = model_of(frame), shown_labels(frame)
    shown = {f"{model}, {form}": (colour, "s", 0) for form, colour in PROMPTS.items()}
    shown |= {name: (COLOURS[name], "o", count) for name in (model, SENTENCES, WORDS)}
    for name, (colour, marker, labels) in shown.items():
        found, false = (of(frame, part, name, labels) for part in ("found", "false"))
        if not len(found):
            continue
        (x, left, right), (y, low, high) = mean_interval(false), mean_interval(found)
        label = name.replace(", ", ", prompt with ") if marker == "s" else f"probe on {name}, {labels} labels"
        sizes = {"markersize": 13, "markerfacecolor": "none"} if name.endswith("no example") else {"markersize": 7}
        errors = {"xerr": [[x - left], [right - x]], "yerr": [[y - low], [high - y]]}
        axes.errorbar([x], [y], **errors, color=colour, marker=marker, **sizes, capsize=3, linestyle="", label=label)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes.text(0.42, 0.45, "chance", color=GREY, rotation=38)
    axes.set(xlabel="share of other messages called helpful", ylabel="share of helpful messages found")
    axes.set(xlim=(-0.02, 0.6), ylim=(-0.03, 1.03), title="Labels given")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.9))


def _draw_carried(axes: Axes, frame: pd.DataFrame) -> None:
    encoders = [name for name in (model_of(frame), SENTENCES, WORDS) if (frame.of == name).any()]
    ways = ("kills to gold", "gold to kills")
    for place, encoder in enumerate(encoders):
        for shift, way, face in ((-0.12, ways[0], COLOURS[encoder]), (0.12, ways[1], "white")):
            values = of(frame, "other kind", f"{encoder}: {way}")
            if len(values) < 2:
                continue
            mean, low, high = mean_interval(values)
            axes.plot([low, high], [place + shift] * 2, color=COLOURS[encoder], linewidth=2)
            axes.plot([mean], [place + shift], "o", color=COLOURS[encoder], markerfacecolor=face, markersize=8)
            axes.plot(values, [place + shift] * len(values), ".", color=COLOURS[encoder], alpha=0.6, markersize=4)
    axes.axvline(0.5, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(encoders)), encoders)
    axes.set(ylim=(len(encoders) + 0.2, -0.5), xlim=(0, 1.02), xlabel="area under the ROC curve, kind never labelled")
    axes.grid(axis="y", visible=False)
    handles = [
        Line2D([], [], color=GREY, marker="o", label="labelled kills, asked about gold"),
        Line2D([], [], color=GREY, marker="o", markerfacecolor="white", label="labelled gold, asked about kills"),
    ]
    axes.legend(handles=handles, loc="lower right")
    axes.set_title("Progress of a kind that no label showed")


def _draw_cost(axes: Axes, frame: pd.DataFrame) -> None:
    model = model_of(frame)
    shown = {f"{model}, {form}": colour for form, colour in PROMPTS.items()}
    shown |= {name: COLOURS[name] for name in (model, SENTENCES, WORDS)}
    shown = {name: colour for name, colour in shown.items() if len(of(frame, "cost", name))}
    for place, (name, colour) in enumerate(shown.items()):
        values = of(frame, "cost", name) * 1000
        mean, low, high = mean_interval(values)
        axes.barh(place, mean, xerr=[[mean - low], [high - mean]], color=colour, alpha=0.75, capsize=3)
        axes.text(high * 1.15, place, f"{mean:.3g} ms", va="center", fontsize=9)
    axes.set_yticks(range(len(shown)), [name.replace(", ", ",\nprompt with ") for name in shown])
    axes.set(xscale="log", xlabel="processor time a message, ms, one core (busy with other work)")
    axes.set_xlim(right=axes.get_xlim()[1] * 3)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_title("Cost")
