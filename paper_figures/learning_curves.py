"""Learning curves of several arms and seeds: means with intervals, ends, and what is not there yet."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from environments.nethack.experiments.curves import Arm
from paper_figures.figure import Verdict
from paper_figures.intervals import mean_interval

__all__ = ["draw_curve", "missing", "of_arm", "over_seeds", "paired", "present"]


def of_arm(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """The rows of an arm."""
    rows = frame[frame.reward == arm.reward]
    if arm.accuracy is None:
        return rows
    return rows[(rows.accuracy == arm.accuracy) & (rows.exponent == arm.exponent)]


def present(frame: pd.DataFrame, arms: Sequence[Arm]) -> list[Arm]:
    """The arms that have rows."""
    return [arm for arm in arms if len(of_arm(frame, arm))]


def missing(frame: pd.DataFrame, arms: Sequence[Arm]) -> Verdict | None:
    """An undecided verdict that says which arms have no rows; None where all have some, with a seed in common."""
    lacking = [arm.name for arm in arms if not len(of_arm(frame, arm))]
    if lacking:
        return Verdict("undecided", "not recorded", float("nan"), None, f"No rows of {'; '.join(lacking)}.")
    if not set.intersection(*(set(of_arm(frame, arm).seed) for arm in arms)):
        names = "; ".join(arm.name for arm in arms)
        return Verdict("undecided", "not recorded", float("nan"), None, f"No seed in common of {names}.")
    return None


def paired(frame: pd.DataFrame, column: str, *arms: Arm, over: str = "end") -> np.ndarray:
    """Values `(seeds, arms)` of the seeds that all arms have: at the end of the curve, or its mean.

    Args:
        frame: Rows of one task.
        column: Which value.
        arms: All with rows.
        over: "end" or "mean"; the mean over steps says who was quicker. Rows before the first finished game count 0.
    """
    found = []
    for arm in arms:
        curves = of_arm(frame, arm).sort_values("step").groupby("seed")[column]
        found.append(curves.last() if over == "end" else curves.apply(lambda values: values.fillna(0.0).mean()))
    return pd.concat(found, axis=1, join="inner").to_numpy()


def over_seeds(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis with its 95% interval, `(3, *shape)`; of one seed the interval has no width."""
    return mean_interval(values) if len(values) > 1 else np.repeat(np.asarray(values, float), 3, axis=0)


def draw_curve(axes: Axes, rows: pd.DataFrame, column: str, colour: str, label: str, style: str = "-") -> None:
    """Mean over seeds with its 95% interval; steps that not every seed has are left out."""
    wide = rows.pivot_table(index="step", columns="seed", values=column, dropna=False).dropna()
    if wide.empty:
        return
    mean, low, high = over_seeds(wide.to_numpy().T)
    steps = wide.index.to_numpy() / 1000
    axes.plot(steps, mean, color=colour, linestyle=style, label=label)
    if wide.shape[1] > 1:
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
