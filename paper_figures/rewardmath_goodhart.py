"""Best-of-n on real scores: which scorers make a policy better, which worse, and which benchmark would have told."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.rewardmath_scores import (
    DRAWS,
    GROUPS,
    JUDGES,
    REWARD_MODELS,
    STEP_MODELS,
    STEPS_ONLY,
    WRONG,
    estimate,
)
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

TITLE = "Real Goodhart: best-of-n with published scores on 483 MATH problems"

# gold accuracy in % at n = 1, 2, 4, 8, 16, 64, computed from the same files by separate code
REFERENCE = {
    "internlm2-7b": (10, 14.68, 20.38, 26.90, 33.00, 37.24),
    "GRM-Llama3-8B": (10, 13.66, 17.44, 20.76, 23.11, 24.63),
    "Skywork-8B": (10, 13.88, 17.26, 19.76, 21.33, 22.15),
    "ArmoRM": (10, 13.27, 16.23, 18.70, 20.29, 21.01),
    "Eurus-RM": (10, 12.37, 14.19, 15.68, 16.61, 16.98),
    "Beaver": (10, 9.76, 8.95, 8.07, 7.48, 7.25),
    "Oasst-RM": (10, 9.99, 9.20, 8.33, 7.58, 7.04),
    "GRM-Gemma-2B": (10, 9.23, 7.75, 6.45, 5.55, 4.97),
}
RULES = dict(zip(GROUPS, ("", ", ties broken evenly", " by their lowest step")))
LEVEL = 0.1  # points: a change of less is drawn as none
REFERENCE_DRAWS = (1, 2, 4, 8, 16, 64)

GOOD_PAIRS, FALLEN, MANY_PAIRS, FEW_PAIRS, LITTLE = 90, 3, 70, 60, 15
_KNOWN = "The nine reward models' values, without intervals, were known when the rule was written"

CLAIMS = (
    Claim(
        id="worse-with-every-draw",
        paper="2410.01729",
        title="A model that looks good in pairs can make the policy worse",
        says="Best-of-n with a reward model that does well on RewardBench's mathematics can hurt with every doubling.",
        threshold=f"a reward model with at least {GOOD_PAIRS}% on RewardBench's mathematics whose gold accuracy falls "
        "at every doubling of n up to 64, the 95% interval of the whole change below 0 (refuted if none falls)",
        published="",
        limits=f"{_KNOWN}. Ten fixed solutions a problem, one of them right: not the answers a real policy gives.",
    ),
    Claim(
        id="pairs-decide-the-sign",
        paper="2410.01729",
        title="Whether search helps or hurts is decided at one half",
        says="Best-of-64 beats one draw just where the right solution beats a random wrong one more often than not.",
        threshold="the signs agree for all 22 scorers, ties counted half (refuted if a scorer disagrees and both its "
        "intervals are clear of 0)",
        published="",
        limits=f"{_KNOWN}; the other 13 scorers' were not. At n = 2 this is an identity: only larger n can disagree.",
    ),
    Claim(
        id="pairs-elsewhere-say-little",
        paper="2410.01729",
        title="RewardBench's pairs say little about one right against nine wrong",
        says="Pairs of RewardMATH's own solutions rank reward models by accuracy against all nine wrong solutions "
        "better than RewardBench's pairs do.",
        threshold="Spearman with accuracy against nine: higher for RewardMATH's pairs than for RewardBench's, the 95% "
        "interval of the difference above 0 (refuted if the difference is at most 0)",
        published="",
        limits=f"{_KNOWN}. Nine reward models; intervals are over problems and not over models. Accuracy against nine "
        "shares its problems with RewardMATH's pairs.",
    ),
    Claim(
        id="first-in-pairs-falls",
        paper="2410.01729",
        title="The first on RewardBench's mathematics is not the first here",
        says="The reward model that leads on RewardBench's mathematics falls back against nine wrong solutions.",
        threshold=f"at least {FALLEN} places lower, and first in at most 2.5% of resamples (refuted if still first)",
        published="",
        limits=f"{_KNOWN}. One leader of nine, all from 2024.",
    ),
    Claim(
        id="steps-alone",
        paper="2410.01729",
        title="Counting steps is enough for RewardBench's mathematics",
        says="Preferring the solution with fewer steps does well on RewardBench's mathematics and like chance here.",
        threshold=f"at least {MANY_PAIRS}% of RewardBench's pairs, ties counted half, and at most {LITTLE}% here, "
        f"where chance is 10% (refuted if below {FEW_PAIRS}% or above {LITTLE}%)",
        published="",
        limits="Steps as the process reward models' files split them; that people's solutions have fewer was known.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a quantity, scorer and n or k: value and 95% interval over problems, in %, or a correlation."""
    return estimate(scale.pick(smoke=200, small=2000), rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 9.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.12, 1))
    panels = above.subplots(1, 3, sharey=True)
    for axes, (group, rule) in zip(panels, RULES.items()):
        members = frame[frame.group == group].scorer.unique()
        shown = [*members, STEPS_ONLY] if group == GROUPS[-1] else members
        _draw_best_of_n(axes, frame[(frame.quantity == "best of n") & frame.scorer.isin(shown)])
        axes.set_title(f"{len(members)} {group}{rule}")
    panels[0].set_ylabel("gold accuracy: the pick is the right one of ten (%)")
    panels[0].set_ylim(0, 52)
    handles = [
        panels[0].plot([], [], color=colour, label=label)[0]
        for colour, label in (
            (BLUE, "better than one draw at n = 64"),
            (VERMILLION, "worse"),
            (GREY, f"change of less than {LEVEL:g} points"),
        )
    ]
    handles.append(panels[0].plot([], [], "k.", markersize=5, label="computed by separate code")[0])
    panels[0].legend(handles=handles, loc="upper left")
    ranks, scatter = below.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_ranks(ranks, frame)
    _draw_pairs_against_all(scatter, frame)
    return figure


def _draw_best_of_n(axes: Axes, lines: pd.DataFrame) -> None:
    ends = {}
    for name, line in lines.groupby("scorer", sort=False):
        change = line.value.iloc[-1] - line.value.iloc[0]
        colour = GREY if abs(change) < LEVEL else BLUE if change > 0 else VERMILLION
        colour = BLACK if name == STEPS_ONLY else colour
        axes.plot(line["at"], line.value, "--" if name == STEPS_ONLY else "-", color=colour, linewidth=1.4)
        axes.fill_between(line["at"], line.low, line.high, color=colour, alpha=0.10, linewidth=0)
        if name in REFERENCE:
            axes.plot(REFERENCE_DRAWS, REFERENCE[name], "k.", markersize=5, zorder=3)
        ends[name] = (line.value.iloc[-1], colour)
    _label_ends(axes, DRAWS[-1] * 1.12, ends, gap=1.9)
    axes.plot([DRAWS[0], DRAWS[-1]], [10, 10], color=GREY, linewidth=1, linestyle=":")  # not through the names
    axes.set_xscale("log", base=2)
    axes.set_xticks(DRAWS, [str(n) for n in DRAWS])
    axes.set_xlim(0.93, 560)
    axes.minorticks_off()
    axes.set_xlabel("n, drawn evenly from the ten solutions")


def _label_ends(axes: Axes, x: float, ends: dict[str, tuple[float, str]], gap: float) -> None:
    """Names beside the ends of their lines, in the lines' order, pushed apart where they would overlap."""
    order = sorted(ends, key=lambda name: ends[name][0])
    heights = np.array([ends[name][0] for name in order])
    for _ in range(200):
        short = gap - np.diff(heights)
        push = np.where(short > 1e-9, short / 2, 0)
        heights[1:] += push
        heights[:-1] -= push
    for name, height in zip(order, heights):
        value, colour = ends[name]
        axes.annotate(
            f"{name}  {value:.1f}",
            (DRAWS[-1], value),
            (x * 1.25, height),
            color=colour,
            fontsize=8.5,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _draw_ranks(axes: Axes, frame: pd.DataFrame) -> None:
    models = frame[frame.group == GROUPS[0]]
    bench = models[models.quantity == "RewardBench"].set_index("scorer").value
    against = models[models.quantity == "against k"].pivot(index="scorer", columns="at", values="value")
    places = pd.concat([bench, against], axis=1).rank(ascending=False, method="first").loc[list(REWARD_MODELS)]
    looks = {"Skywork-8B": GREEN, "internlm2-20b": ORANGE, "internlm2-7b": BLUE, "GRM-Gemma-2B": VERMILLION}
    at = [-0.6, *WRONG]
    for name, row in places.iterrows():
        colour = looks.get(name, GREY)
        strong = name in looks
        axes.plot(at, row, "o-", color=colour, linewidth=2.2 if strong else 1, markersize=5, alpha=1 if strong else 0.6)
        axes.text(-0.85, row.iloc[0], f"{name}  {bench[name]:.1f}", ha="right", va="center", fontsize=8.5, color=colour)
        last = f"{against.loc[name, WRONG[-1]]:.1f}  {name}"
        axes.text(9.25, row.iloc[-1], last, ha="left", va="center", fontsize=8.5, color=colour)
    axes.set_xlim(-4.6, 12.4)
    axes.set_ylim(9.6, 0.4)
    axes.set_xticks(at, ["RewardBench\nmathematics", *map(str, WRONG)])
    axes.set_yticks(range(1, 10))
    axes.grid(visible=False)
    axes.set_xlabel("RewardMATH: right solution above k random wrong ones (accuracy in % at either end)")
    axes.set_ylabel("place among nine reward models")
    axes.set_title("Places change with the number of wrong solutions")


def _draw_pairs_against_all(axes: Axes, frame: pd.DataFrame) -> None:
    models = frame[frame.group == GROUPS[0]]
    all_nine = models[(models.quantity == "against k") & (models["at"] == WRONG[-1])].set_index("scorer")
    spearman = frame[frame.quantity == "Spearman"].set_index("scorer")
    looks = (
        ("RewardMATH's pairs", models[(models.quantity == "against k") & (models["at"] == 1)], PURPLE, "o"),
        ("RewardBench's pairs", models[models.quantity == "RewardBench"], BLACK, "s"),
    )
    for label, pairs, colour, marker in looks:
        pairs, rho = pairs.set_index("scorer").loc[all_nine.index], spearman.loc[label]
        axes.errorbar(
            pairs.value,
            all_nine.value,
            xerr=[pairs.value - pairs.low, pairs.high - pairs.value],
            yerr=[all_nine.value - all_nine.low, all_nine.high - all_nine.value],
            fmt=marker,
            color=colour,
            elinewidth=0.8,
            label=f"{label}: Spearman {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]",
        )
    steps = frame[(frame.scorer == STEPS_ONLY) & (frame["at"].isin((0, WRONG[-1])))].set_index("quantity").value
    axes.plot(
        steps["RewardBench"], steps["against k"], "*", color=VERMILLION, markersize=13, label="fewest steps, no model"
    )
    axes.axvline(50, color=GREY, linewidth=1, linestyle=":")
    axes.annotate(
        "GRM-Gemma-2B",
        (
            models[models.quantity == "RewardBench"].set_index("scorer").value["GRM-Gemma-2B"],
            all_nine.value["GRM-Gemma-2B"],
        ),
        (72, 10),
        fontsize=8.5,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7},
    )
    axes.set(xlim=(38, 101), ylim=(0, 56))
    axes.set_xlabel("accuracy in pairs (%)")
    axes.set_ylabel("accuracy against all nine wrong solutions (%)")
    axes.set_title("What pairs say of one right against nine wrong")
    axes.legend(loc="upper left")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each scorer's accuracies in %, and best-of-64 beside the value computed by separate code."""
    columns: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
        "RewardBench maths": lambda rows: rows.quantity == "RewardBench",
        "in pairs": lambda rows: (rows.quantity == "against k") & (rows["at"] == 1),
        "against nine": lambda rows: (rows.quantity == "against k") & (rows["at"] == WRONG[-1]),
        "ties won": lambda rows: rows.quantity == "against all, ties won",
        "best of 2": lambda rows: (rows.quantity == "best of n") & (rows["at"] == 2),
        "best of 64": lambda rows: (rows.quantity == "best of n") & (rows["at"] == DRAWS[-1]),
    }
    names = [*REWARD_MODELS, *JUDGES, *STEP_MODELS, STEPS_ONLY]
    wide = pd.DataFrame(
        {label: frame[which(frame)].set_index("scorer").value.reindex(names) for label, which in columns.items()}
    )
    wide["best of 64, separate code"] = [REFERENCE[name][-1] if name in REFERENCE else np.nan for name in names]
    return wide.rename_axis("scorer").reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "worse-with-every-draw": _worse_with_every_draw(frame),
        "pairs-decide-the-sign": _pairs_decide_the_sign(frame),
        "pairs-elsewhere-say-little": _pairs_elsewhere(frame),
        "first-in-pairs-falls": _first_falls(frame),
        "steps-alone": _steps_alone(frame),
    }


def _quantity(frame: pd.DataFrame, quantity: str) -> pd.DataFrame:
    return frame[frame.quantity == quantity].set_index("scorer")


def _worse_with_every_draw(frame: pd.DataFrame) -> Verdict:
    models = frame[frame.group == GROUPS[0]]
    pairs, change = _quantity(models, "RewardBench").value, _quantity(models, "change")
    paths = models[models.quantity == "best of n"].pivot(index="scorer", columns="at", values="value")
    falls = (paths.diff(axis=1).iloc[:, 1:] < 0).all(axis=1)
    good = pairs.index[(pairs >= GOOD_PAIRS)]
    falling = [name for name in good if falls[name]]
    worst = change.loc[falling or good].value.idxmin()
    least = change.loc[worst]
    outcome = ("supported" if least.high < 0 else "undecided") if falling else "refuted"
    sentence = (
        f"{worst} has {pairs[worst]:.1f}% on RewardBench's mathematics and picks the right solution in "
        f"{paths.loc[worst, DRAWS[-1]]:.1f}% of problems at n = 64, against 10% at random; "
        f"{int(falls.sum())} of nine reward models fall at every doubling."
    )
    return Verdict(
        outcome,
        f"change by best-of-64, {worst}: {least.value:+.1f} points",
        float(least.value),
        (float(least.low), float(least.high)),
        sentence,
    )


def _pairs_decide_the_sign(frame: pd.DataFrame) -> Verdict:
    scorers = frame[frame.group != ""]
    half, change = _quantity(scorers, "pairs, ties half"), _quantity(scorers, "change")
    agree = np.sign(half.value - 50) == np.sign(change.value)
    clear = ((half.low > 50) | (half.high < 50)) & ((change.low > 0) | (change.high < 0))
    outcome = "supported" if agree.all() else "refuted" if (~agree & clear).any() else "undecided"
    others = ", ".join(
        f"{name} ({half.value[name]:.1f}% in pairs, {change.value[name]:+.1f} points)" for name in half.index[~agree]
    )
    sentence = f"{int(agree.sum())} of {len(agree)} scorers agree{'; not so ' + others if others else ''}."
    return Verdict(
        outcome, f"scorers that agree: {int(agree.sum())} of {len(agree)}", float(agree.sum()), None, sentence
    )


def _pairs_elsewhere(frame: pd.DataFrame) -> Verdict:
    spearman = _quantity(frame, "Spearman")
    gap = spearman.loc["difference"]
    outcome = "supported" if gap.low > 0 else "refuted" if gap.value <= 0 else "undecided"
    here, there = (spearman.value[f"{name}'s pairs"] for name in ("RewardMATH", "RewardBench"))
    return Verdict(
        outcome,
        f"difference of Spearman {gap.value:.2f}",
        float(gap.value),
        (float(gap.low), float(gap.high)),
        f"With accuracy against nine, RewardMATH's own pairs correlate at {here:.2f}, RewardBench's at {there:.2f}.",
    )


def _first_falls(frame: pd.DataFrame) -> Verdict:
    place = frame[frame.quantity == "place of RewardBench's first"].iloc[0]
    first = float(frame[frame.quantity == "RewardBench's first is first"].value.iloc[0])
    fallen = place.value - 1 >= FALLEN and first <= 0.025
    outcome = "supported" if fallen else "refuted" if place.value == 1 else "undecided"
    return Verdict(
        outcome,
        f"place of {place.scorer} against nine: {place.value:.0f}",
        float(place.value),
        (float(place.low), float(place.high)),
        f"{place.scorer} is first on RewardBench's mathematics and number {place.value:.0f} of nine against nine "
        f"wrong solutions; it is first in {100 * first:.1f}% of resamples.",
    )


def _steps_alone(frame: pd.DataFrame) -> Verdict:
    pairs = _quantity(frame, "RewardBench").loc[STEPS_ONLY]
    here = _quantity(frame, "against all, ties drawn").loc[STEPS_ONLY]
    supported = pairs.value >= MANY_PAIRS and here.value <= LITTLE
    refuted = pairs.value < FEW_PAIRS or here.value > LITTLE
    return Verdict(
        "supported" if supported else "refuted" if refuted else "undecided",
        f"RewardBench's pairs by fewest steps: {pairs.value:.1f}%",
        float(pairs.value),
        (float(pairs.low), float(pairs.high)),
        f"Fewest steps picks the right one in {pairs.value:.1f}% of RewardBench's pairs and in {here.value:.1f}% of "
        f"RewardMATH's problems.",
    )
