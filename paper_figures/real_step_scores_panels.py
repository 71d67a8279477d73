"""Panels of the figure on real step scores, and the models and rules they show."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

MODELS = {
    "Math-Shepherd": ("Math_Shepherd", BLUE, "o"),
    "ReasonEval-34B": ("ReasonEval_34B", VERMILLION, "s"),
    "ReasonEval-7B": ("ReasonEval_7B", ORANGE, "^"),
    "Easy-to-hard": ("Easy_to_hard", GREEN, "D"),
}
RULES = {  # those of a product first, whose value falls with every step; log_product ranks as product does
    "product": "product",
    "min": "lowest",
    "last": "last",
    "geometric_mean": "geometric\nmean",
    "mean": "mean",
    "mean_logit": "mean\nlogit",
    "mean_odds": "mean\nodds",
    "max": "highest",
    "sum_log_odds": "sum of\nlog-odds",
}
BENCH, MATH = "RewardBench", "RewardMATH"
STEPS_ONLY = "fewest steps"
STRATA = ("shorter", "alike", "longer")
EVERY = "mean of the models"

# accuracy in %, a tie being a mistake, computed from the same files by separate code
EARLIER = {
    (MATH, "Math-Shepherd"): {"min": 15.32, "product": 17.18, "mean": 15.11, "last": 18.22, "max": 3.93},
    (MATH, "ReasonEval-34B"): {"min": 19.46, "product": 15.94, "mean": 18.22},
    (MATH, "ReasonEval-7B"): {"min": 19.46, "product": 18.22, "mean_logit": 20.91},
    (MATH, "Easy-to-hard"): {"min": 12.84, "mean": 18.63, "mean_odds": 22.77},
    (BENCH, "Math-Shepherd"): {"product": 94.41, "mean": 81.21},
    (BENCH, "ReasonEval-34B"): {"product": 83.45, "mean": 18.34},
    (BENCH, "ReasonEval-7B"): {"product": 63.09, "mean": 12.08},
    (BENCH, "Easy-to-hard"): {"product": 67.79, "mean": 26.85},
}


def draw_accuracy(axes: Axes, frame: pd.DataFrame, benchmark: str, title: str, chance: float, limits) -> None:
    own = frame[frame.benchmark == benchmark]
    place = np.arange(len(RULES))
    for shift, (model, (_, colour, marker)) in zip(np.linspace(-0.27, 0.27, len(MODELS)), MODELS.items()):
        cells = own[(own.quantity == "strict accuracy") & (own.model == model)].set_index("rule").loc[list(RULES)]
        error = [cells.value - cells.low, cells.high - cells.value]
        axes.errorbar(
            place + shift, cells.value, yerr=error, fmt=marker, color=colour, label=model, capsize=2, markersize=5
        )
        for rule, value in EARLIER[benchmark, model].items():
            at = list(RULES).index(rule) + shift
            label = "separate code" if (model, rule) == ("Math-Shepherd", "product") else None
            axes.plot([at], [value], "_", color=BLACK, markersize=11, markeredgewidth=1, zorder=4, label=label)
    count = own[(own.quantity == "accuracy") & (own.rule == STEPS_ONLY)].value.mean()
    axes.axhline(count, color=BLACK, linestyle="--", linewidth=1.2)
    axes.axhline(chance, color=GREY, linestyle=":", linewidth=1.2)
    right = len(RULES) - 0.5
    name = f"fewest steps wins, no model: {count:.0f}%"
    if benchmark == BENCH:
        axes.text(right, count + 1, name, ha="right", va="bottom", fontsize=8.5)
        axes.text(right, chance + 1, "chance", ha="right", va="bottom", fontsize=8.5, color=GREY)
    else:
        axes.text(-0.4, count - 0.3, name, va="top", fontsize=8.5)
        axes.text(-0.4, chance + 0.3, "chance", va="bottom", fontsize=8.5, color=GREY)
    axes.set_xticks(place, RULES.values(), fontsize=8)
    axes.set(title=title, ylim=limits, xlim=(-0.5, right))
    axes.grid(visible=False, axis="x")


def draw_strata(axes: Axes, frame: pd.DataFrame, benchmark: str) -> None:
    own = frame[frame.benchmark == benchmark]
    looks = {"product": (PURPLE, "o"), "min": (BLUE, "s"), "mean": (ORANGE, "^")}
    for shift, (rule, (colour, marker)) in zip((-0.16, 0, 0.16), looks.items()):
        cells = own[(own.rule == rule) & own.quantity.isin(STRATA)]
        wide = cells.pivot(index="model", columns="quantity", values="value")[list(STRATA)]
        place = np.arange(len(STRATA)) + shift
        axes.plot(place, wide.mean(), color=colour, marker=marker, label=RULES[rule])
        axes.vlines(place, wide.min(), wide.max(), color=colour, linewidth=1.5, alpha=0.6)
        axes.plot(np.tile(place, len(wide)), wide.to_numpy().ravel(), "_", color=colour, markersize=7, alpha=0.8)
    number = {stratum: own[own.quantity == f"pairs, {stratum}"].value.max() for stratum in STRATA}
    names = [f"{name}\n({number[key]:.0f} pairs)" for key, name in zip(STRATA, ("shorter", "as long", "longer"))]
    axes.axhline(50, color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xticks(np.arange(len(STRATA)), names)
    axes.set(xlabel="the right solution, in steps, is", ylim=(0, 104), xlim=(-0.4, 2.4))
    axes.set_title(f"{benchmark}'s pairs by length")
    axes.grid(visible=False, axis="x")


def draw_lead(axes: Axes, frame: pd.DataFrame) -> None:
    names = [(BENCH, "pairs"), (BENCH, "alike"), (MATH, "pairs"), (MATH, "alike")]
    for shift, model in zip(np.linspace(-0.3, 0.3, len(MODELS) + 1), (*MODELS, EVERY)):
        colour, marker = MODELS[model][1:] if model in MODELS else (BLACK, "*")
        cells = frame[frame.model == model].set_index(["benchmark", "quantity"])
        cells = cells.loc[[(benchmark, f"lead, {name}") for benchmark, name in names]]
        axes.errorbar(
            np.arange(len(names)) + shift,
            cells.value,
            yerr=[cells.value - cells.low, cells.high - cells.value],
            fmt=marker,
            color=colour,
            capsize=2,
            markersize=9 if marker == "*" else 5,
            label=EVERY if model == EVERY else None,
        )
    axes.axhline(0, color=GREY, linewidth=1)
    number = {
        benchmark: frame[(frame.quantity == "pairs, alike") & (frame.benchmark == benchmark)].value.max()
        for benchmark in (BENCH, MATH)
    }
    labels = [
        f"{benchmark}\nall pairs" if name == "pairs" else f"equal length\n({number[benchmark]:.0f} pairs)"
        for benchmark, name in names
    ]
    axes.set_xticks(np.arange(len(names)), labels, fontsize=8)
    axes.set(ylabel="product less mean (points of pairs won)", title="What is left of the product's lead")
    axes.legend(loc="upper right", fontsize=8.5)
    axes.grid(visible=False, axis="x")


def draw_among_wrong(axes: Axes, frame: pd.DataFrame) -> None:
    own = frame[(frame.benchmark == MATH) & (frame.quantity == "among wrong")]
    place = np.arange(len(RULES))
    for shift, (model, (_, colour, marker)) in zip(np.linspace(-0.24, 0.24, len(MODELS)), MODELS.items()):
        axes.plot(place + shift, own[own.model == model].set_index("rule").value[list(RULES)], marker, color=colour)
    axes.axhline(0, color=GREY, linewidth=1)
    for height, text in ((0.93, "scores long ones high"), (-0.93, "scores short ones high")):
        axes.text(len(RULES) - 0.55, height, text, ha="right", va="center", fontsize=8.5, color=GREY)
    axes.set_xticks(place, RULES.values(), fontsize=8.5)
    axes.set(ylabel="Spearman correlation within a problem", ylim=(-1, 1), xlim=(-0.5, len(RULES) - 0.5))
    axes.set_title("Score and length among RewardMATH's wrong solutions")
    axes.grid(visible=False, axis="x")
