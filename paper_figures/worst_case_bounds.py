"""Exact worst-case regret against distance: does it stay between the lines L d and U d that theory draws?"""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.metric_study import map_worlds
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE
from rewardlab.distance.starc import starc
from rewardlab.exact import FiniteMDP, greedy_regret, regret_constants, worst_case_regret

TITLE = "Worst-case regret between its bounds"

DISCOUNT = 0.9
ACTIONS = 3
KINDS = {"random": (BLUE, "o"), "nearly the same": (GREEN, "s"), "nearly opposite": (ORANGE, "^")}
NOISE = (-3.0, 0.0)  # powers of ten: how much of an independent reward is mixed in
SLACK = 1e-7  # of the linear program
SMALLEST = 1e-4  # greedy regrets below this are drawn as 0

CLAIMS = (
    Claim(
        id="no-violation",
        paper="2309.15257",
        title="Worst-case regret never leaves its bounds",
        says="For every pair the exact worst-case regret lies between L and U times the distance of projected rewards.",
        threshold=f"no pair outside by more than {SLACK:g} (refuted by a single one)",
        published="",
        limits="The paper proves that such constants exist; these explicit ones are derived here from the occupancies.",
    ),
    Claim(
        id="bounds-within-ten",
        paper="2309.15257",
        title="The upper bound is a promise one can use",
        says="The upper bound is within a factor of ten of the largest regret that a world's pairs reach.",
        threshold="U d over regret at the tightest pair, median over worlds, at most 10 (refuted if interval above)",
        published="",
        limits="The tightest of the drawn pairs, not of all pairs: the true factor is somewhat smaller.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a pair: distance, exact worst-case and greedy regret, and the constants of its world."""
    worlds, each = scale.pick(smoke=(8, 3), small=(40, 6), paper=(200, 20))
    return map_worlds(partial(_measured, each), rng, worlds, scale.workers)


def _measured(each: int, rng: np.random.Generator, index: int) -> pd.DataFrame:
    """Pairs of every kind in one small world: the second reward mixes the first, or its negative, with another."""
    states = int(rng.integers(5, 11))
    mdp = FiniteMDP.random(states, ACTIONS, discount=DISCOUNT, clean=True, rng=rng)
    constants = regret_constants(mdp)
    rows = []
    for kind in KINDS:
        for _ in range(each):
            true, other = rng.normal(size=(2, states, ACTIONS, states))
            mixed = 10 ** rng.uniform(*NOISE) * other
            proxy = {"random": other, "nearly the same": true + mixed, "nearly opposite": mixed - true}[kind]
            rows.append(
                {
                    "kind": kind,
                    "states": states,
                    "distance": float(_projected_distance(mdp, true, proxy)),
                    "worst": worst_case_regret(mdp, true, proxy).regret,
                    "greedy": float(greedy_regret(mdp, true, proxy)),
                    "lower": constants.lower,
                    "upper": constants.upper,
                }
            )
    return pd.DataFrame(rows)


def _projected_distance(mdp: FiniteMDP, true: np.ndarray, proxy: np.ndarray) -> np.ndarray:
    """L2 distance of projected rewards: spread evenly over next states its factors cancel, so the table's L2 serves."""
    return starc(mdp, true, proxy, canonicaliser="minimal", normaliser="2", metric="2")


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_pairs(left, frame)
    _plot_worlds(right, frame)
    return figure


def _plot_pairs(axes, frame: pd.DataFrame) -> None:
    distance = np.geomspace(frame.distance.min() / 1.5, 2.0, 100)
    for bound, colour in (("lower", GREY), ("upper", BLACK)):
        ends = [np.minimum(frame[bound].agg(end) * distance, 1.0) for end in ("min", "max")]
        axes.fill_between(distance, *ends, color=colour, alpha=0.25, linewidth=0)
        axes.plot(distance, np.minimum(frame[bound].median() * distance, 1.0), color=colour, linewidth=1)
    shown = frame[frame.greedy >= SMALLEST]
    axes.plot(shown.distance, shown.greedy, "x", color=GREY, markersize=4, alpha=0.7)
    for kind, (colour, marker) in KINDS.items():
        pairs = frame[frame.kind == kind]
        axes.plot(pairs.distance, pairs.worst, marker, color=colour, markersize=3.5, alpha=0.7, linestyle="none")
    axes.set(xscale="log", yscale="log", ylim=(SMALLEST, 1.5), xlim=(distance[0], 2.3))
    axes.set(xlabel="distance of projected rewards (0 to 2)", ylabel="regret (share of the true reward's range)")
    hidden = len(frame) - len(shown)
    handles = [
        *(Line2D([], [], color=c, marker=m, linestyle="none", label=f"worst case, {k}") for k, (c, m) in KINDS.items()),
        Line2D(
            [],
            [],
            color=GREY,
            marker="x",
            linestyle="none",
            label=f"greedy ({hidden} of {len(frame)} near 0, not shown)",
        ),
        Patch(color=BLACK, alpha=0.25, label="U d, all worlds (line: median)"),
        Patch(color=GREY, alpha=0.25, label="L d, all worlds (line: median)"),
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    axes.set_title(f"Every pair (5 to 10 states, {ACTIONS} actions, discount {DISCOUNT})")


def _plot_worlds(axes, frame: pd.DataFrame) -> None:
    """Regret over distance of each world's pairs, between that world's own constants."""
    ratios = frame.assign(ratio=frame.worst / frame.distance)
    order = frame.groupby("world").upper.first().sort_values().index
    place = pd.Series(range(1, len(order) + 1), index=order)
    constants = frame.groupby("world")[["lower", "upper"]].first().loc[order]
    axes.step(place, constants.upper, where="mid", color=BLACK, label="U of the world")
    axes.step(place, constants.lower, where="mid", color=GREY, label="L of the world")
    for kind, (colour, marker) in KINDS.items():
        pairs = ratios[ratios.kind == kind]
        where = place[pairs.world]
        axes.plot(where, pairs.ratio, marker, color=colour, markersize=3, alpha=0.7, linestyle="none", label=kind)
    axes.set(yscale="log", xlabel="world, in order of U", ylabel="worst-case regret / distance")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    axes.set_title("Every world between its own bounds")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Range of regret over distance by kind of pair, and how close it comes to the bounds."""
    rows = []
    for kind, pairs in frame.groupby("kind", sort=False):
        ratio = pairs.worst / pairs.distance
        rows.append(
            {
                "pairs": kind,
                "count": len(pairs),
                "smallest regret / distance": ratio.min(),
                "largest regret / distance": ratio.max(),
                "smallest regret / (L d)": (ratio / pairs.lower).min(),
                "largest regret / (U d)": (ratio / pairs.upper).max(),
                "mean greedy regret": pairs.greedy.mean(),
                "mean worst-case regret": pairs.worst.mean(),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {"no-violation": _violation_verdict(frame), "bounds-within-ten": _tightness_verdict(frame)}


def _violation_verdict(frame: pd.DataFrame) -> Verdict:
    below, above = frame.lower * frame.distance - frame.worst, frame.worst - frame.upper * frame.distance
    outside = int(((below > SLACK) | (above > SLACK)).sum())
    ratio = frame.worst / frame.distance
    sentence = f"{outside} of {len(frame)} pairs lie outside; regret over distance ranges from {ratio.min():.2f} to "
    sentence += f"{ratio.max():.2f}, with L from {frame.lower.min():.3f} to {frame.lower.max():.3f} and U from "
    sentence += f"{frame.upper.min():.1f} to {frame.upper.max():.1f}."
    outcome = "refuted" if outside else "supported"
    return Verdict(outcome, f"pairs outside the bounds {outside}", outside, None, sentence)


def _tightness_verdict(frame: pd.DataFrame) -> Verdict:
    from scipy import stats

    factor = (frame.upper * frame.distance / frame.worst).groupby(frame.world).min().to_numpy()
    slack_below = (frame.worst / (frame.lower * frame.distance)).groupby(frame.world).min().to_numpy()
    found = stats.bootstrap((factor,), np.median, method="percentile", rng=0).confidence_interval
    value = float(np.median(factor))
    outcome = "supported" if value <= 10 else "refuted" if found.low > 10 else "undecided"
    sentence = (
        f"In the median world U d is {value:.1f} times the regret of its tightest pair, and the regret is at least "
    )
    sentence += f"{np.median(slack_below):.1f} times L d: no pair comes near the lower bound."
    return Verdict(outcome, f"median factor {value:.2f}", value, (float(found.low), float(found.high)), sentence)
