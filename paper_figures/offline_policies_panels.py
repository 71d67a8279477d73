"""Panels of `offline_policies`."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from environments.offline.experiments.offline_policies import ARMS, NO_FILTER, Arm
from environments.offline.scores import published_scores
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

__all__ = ["draw"]

COLOURS = {NO_FILTER: BLACK, "terminal": BLUE, "bootstrap": GREEN, "drop": ORANGE}
NAMES = {"plain": "SAC", "mopo": "MOPO", "mobile": "MOBILE"}
PUBLISHED = "hopper-medium-replay-v2"  # the nearest of its kind


def draw(frame: pd.DataFrame) -> Figure:
    """By recording: what each arm earned beside what its model promised, and the last rollouts it learned from."""
    recordings = list(dict.fromkeys(frame.data))
    figure = Figure(figsize=(12, 1.2 + 4.1 * len(recordings)), layout="constrained")
    grid = figure.subplots(len(recordings), 2, squeeze=False, width_ratios=(2.2, 1), sharey=True)
    places = {arm: -(number + number // 4 * 0.7) for number, arm in enumerate(ARMS)}
    for (scores, rollouts), data in zip(grid, recordings, strict=True):
        of_data = frame[frame.data == data]
        _scores(scores, of_data, places)
        _rollouts(rollouts, of_data, places)
        scores.set(title=f"{data}: real score and the model's promise", xlabel="normalised score")
        rollouts.set(title="Last rollouts in the model", xlabel="mean steps stored (of at most 20)")
        scores.set_yticks(list(places.values()), [_label(arm) for arm in places])
        if data == "Hopper":
            note = {"xycoords": "axes fraction", "ha": "right", "color": GREY, "fontsize": 8}
            scores.annotate(_published(), (0.99, 0.01), **note)
    seeds = frame.seed.nunique()
    figure.suptitle(f"Means and 95% intervals over {seeds} seed{'s' if seeds > 1 else ''}; dots are seeds")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    found = dict(reversed(list(zip(labels, handles, strict=True))))  # the first of each label
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4)
    return figure


def _published() -> str:
    found = {one.method: one.score for one in published_scores() if one.task == PUBLISHED}
    return f"D4RL's {PUBLISHED}, off this scale: MOPO {found['MOPO']:g}, MOBILE {found['MOBILE']:g}"


def _label(arm: Arm) -> str:
    return f"{NAMES[arm.host]}, {'no filter' if arm.truncation == NO_FILTER else f'filter: {arm.truncation}'}"


def _of(frame: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    return frame[(frame.host == arm.host) & (frame.truncation == arm.truncation)]


def _scores(axes: Axes, frame: pd.DataFrame, places: dict[Arm, float]) -> None:
    axes.axvline(frame.data_score.mean(), color=GREY, linestyle="--", linewidth=1, label="mean of the recording")
    for arm, place in places.items():
        rows, colour = _of(frame, arm), COLOURS[arm.truncation]
        if rows.empty:
            continue
        mean, low, high = mean_interval(rows.score.to_numpy())
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.scatter(rows.score, [place - 0.25] * len(rows), s=9, color=colour, alpha=0.6, linewidths=0)
        axes.scatter(mean, place, s=42, color=colour, zorder=3, label="earned in the environment")
        axes.scatter(
            rows.promised_score.mean(),
            place,
            s=42,
            marker="D",
            facecolors="none",
            edgecolors=VERMILLION,
            zorder=3,
            label="promised by the model it was learned in",
        )


def _rollouts(axes: Axes, frame: pd.DataFrame, places: dict[Arm, float]) -> None:
    for arm, place in places.items():
        rows = _of(frame, arm)
        if rows.empty:
            continue
        length, share = rows.mean_length.mean(), rows.share_truncated.mean()
        axes.barh(place, length, height=0.7, color=COLOURS[arm.truncation], alpha=0.75)
        if arm.truncation != NO_FILTER:
            axes.text(length, place, f" {share:.0%} rejected", va="center", fontsize=8)
    axes.set_xlim(0, frame.mean_length.max() * 1.35)
