"""Panels of `nethack_curves`."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from environments.nethack.experiments.curves import EXTRINSIC
from environments.nethack.experiments.nethack_curves import ARMS, ROOM, SCORE, TASKS
from paper_figures.learning_curves import draw_curve, of_arm, present
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

__all__ = ["draw"]

COLOURS = {
    "none": BLACK,
    "counts": GREEN,
    "rnd": PURPLE,
    "retrieval": BLUE,
    "classification": ORANGE,
    "ranking": VERMILLION,
}
STYLES = {"classification": "--", "ranking": ":"}  # so that curves which coincide are all seen
NAMES = {ROOM: "Room-Random-15x15", SCORE: "NetHackScore"}
GROUPS = (
    ("no messages", lambda arm: arm.accuracy is None),
    ("all labels right", lambda arm: arm.accuracy == 1),
    ("90% of labels right", lambda arm: arm.accuracy == 0.9),
)


def draw(frame: pd.DataFrame) -> Figure:
    """By task: rewards that read no messages, and those that do under a perfect and an erring annotator."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    grid = figure.subplots(len(TASKS), len(GROUPS), sharey="row", sharex="row")
    for row, task in zip(grid, TASKS, strict=True):
        of_task = frame[frame.task == task]
        for axes, (name, belongs) in zip(row, GROUPS, strict=True):
            _panel(axes, of_task, task, belongs)
            axes.set_title(f"{NAMES[task]}: {name}")
        row[0].set_ylabel("success (share of games)" if task == ROOM else "game score")
        row[0].set_ylim(0, 1.02 if task == ROOM else None)  # of the whole row, when all its curves are drawn
    for axes in grid[-1]:
        axes.set_xlabel("steps of the game (thousands)")
    found = {}
    for axes in grid.flat:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4)
    seeds = frame.seed.nunique()
    figure.suptitle(
        f"Means of the last 100 games, over {seeds} seed{'s' if seeds > 1 else ''} with 95% intervals; "
        "the intrinsic reward is added to the task's, and where it pays nothing curves coincide"
    )
    return figure


def _panel(axes: Axes, frame: pd.DataFrame, task: str, belongs) -> None:
    column = "success" if task == ROOM else "score"
    for arm in present(frame, ARMS):
        if not (belongs(arm) or arm == EXTRINSIC):
            continue
        colour = SKY_BLUE if arm.potential != "none" else COLOURS[arm.kind]
        label = "the task's reward only" if arm == EXTRINSIC else arm.reward
        label = "shaped by cells seen" if arm.potential != "none" else label
        draw_curve(axes, of_arm(frame, arm), column, colour, label, STYLES.get(arm.kind, "-"))
    if frame.empty:
        axes.text(0.5, 0.5, "not recorded yet", ha="center", va="center", transform=axes.transAxes)
