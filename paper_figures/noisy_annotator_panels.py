"""Panels of `noisy_annotator`."""

import pandas as pd
from matplotlib.figure import Figure

from environments.nethack.experiments.curves import Arm
from environments.nethack.experiments.noisy_annotator import ARMS
from paper_figures.learning_curves import draw_curve, of_arm, present
from paper_figures.style import BLACK, BLUE, GREY, ORANGE, SKY_BLUE, VERMILLION

__all__ = ["draw"]

COLOURS = (BLACK, BLUE, SKY_BLUE, ORANGE, VERMILLION)
STYLES = ("-", "-", "--", "-", "--")
EARLIER = ((21.0, 26.3), (28.7, 30.2), (25.3, 23.8), (23.0, 19.3), (0.5, 0.3))  # final scores, two seeds an arm


def draw(frame: pd.DataFrame) -> Figure:
    """The score that nobody of the intrinsic arms is paid for, what they are paid, and whether rightly."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    scores, paid, right = figure.subplots(1, 3)
    arms = present(frame, ARMS)
    for arm, colour, style, earlier in zip(ARMS, COLOURS, STYLES, EARLIER, strict=True):
        if arm not in arms:
            continue
        rows, label = of_arm(frame, arm), _label(arm)
        draw_curve(scores, rows, "score", colour, label, style)
        at = rows.step.max() / 1000 * 1.04
        if rows.step.max() >= 250_000:
            scores.plot([at] * len(earlier), earlier, "D", color=colour, markersize=4, markerfacecolor="none")
        if arm.kind != "none":
            draw_curve(paid, rows, "paid", colour, label, style)
            draw_curve(right, rows, "true_positive_share", colour, label, style)
    scores.set(title="Game score of the policy", ylabel="points a game", ylim=(0, _top(frame)))
    paid.set(title="Intrinsic reward", ylabel="paid a game (of 1000 steps)")
    paid.set_yscale("symlog", linthresh=1)
    right.set(title="Paid for messages that help", ylabel="share of the intrinsic reward", ylim=(0, 1.02))
    for axes in (scores, paid, right):
        axes.set_xlabel("steps of the game (thousands)")
    scores.axhline(3, color=GREY, linewidth=0.8, linestyle=":")
    scores.axhline(12, color=GREY, linewidth=0.8, linestyle=":")
    paid.axhline(300, color=GREY, linewidth=0.8, linestyle=":")
    handles, labels = scores.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    seeds = frame.seed.nunique()
    figure.suptitle(
        f"Means of the last 100 games, over {seeds} seed{'s' if seeds > 1 else ''} with 95% intervals; "
        "dotted: thresholds; diamonds: an earlier calculation of two seeds"
    )
    return figure


def _top(frame: pd.DataFrame) -> float:
    """Where the axis of scores ends: the first points are means of a few games, and one lucky game may be off it."""
    return 1.1 * max(1.0, frame[frame.step >= frame.step.max() / 6].score.max())


def _label(arm: Arm) -> str:
    if arm.accuracy is None:
        return "environment's reward only"
    discount = "no discount" if arm.exponent == 0 else f"discount $n^{{-{arm.exponent:g}}}$"
    return f"messages only, {arm.accuracy:.0%} right labels, {discount}"
