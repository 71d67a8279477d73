"""Learning curves in NetHack and MiniHack: the task's reward alone, shaped, and with each intrinsic reward beside it.

Two tasks. NetHackScore, whose reward is dense and whose messages say something; and MiniHack-Room-Random-15x15, whose
reward is sparse and which says one thing only, when the player bumps into a wall: a perfect annotator adds nothing, and
one that errs pays for bumping where its one label is wrong, which is one seed of ten. Where nothing is paid the
training is that of the task's reward alone, to the digit.

The intrinsic reward is added with coefficient 0.4 to the task's (times 0.1 for Score; as it is, 0 or 1, in the room).
Bonuses for novelty have coefficient 0.1. No coefficient was tuned.

In the room nothing is shaped: it is lit and seen whole from the first step, so the potential of exploration is
constant.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from environments.nethack.experiments.curves import EXTRINSIC, Arm, curve_of
from environments.nethack.experiments.noisy_annotator import SIZES as SCORE_SIZES
from environments.nethack.experiments.noisy_annotator import score_settings
from environments.nethack.training.settings import GameSettings, PolicySettings, TrainingSettings
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["ARMS", "EXPERIMENT", "ROOM", "SCORE", "TASKS"]

ROOM, SCORE = "minihack/MiniHack-Room-Random-15x15-v0", "score"
TASKS = (ROOM, SCORE)
NOVELTY = 0.1  # coefficient of counts and of random network distillation
MESSAGES = ("retrieval", "classification", "ranking")
ARMS = (
    EXTRINSIC,
    Arm("shaped", potential="exploration", weight=0.02),  # 300 cells are worth 6 points
    Arm("counts", "counts", NOVELTY),
    Arm("random network distillation", "rnd", NOVELTY),
    *(Arm(kind, kind, 0.4, accuracy) for kind in MESSAGES for accuracy in (1.0, 0.9)),
)


@dataclass(frozen=True)
class Size:
    """What differs between scales.

    Args:
        seeds: Of every arm.
        room_steps: In the room.
        score_steps: Of NetHackScore; the longer curve of `noisy_annotator` is read up to here.
        every: Steps between rows of the curve.
        rollout: Steps of a game between two updates.
    """

    seeds: int
    room_steps: int
    score_steps: int
    every: int = 10_000
    rollout: int = 128


SIZES = {
    "smoke": Size(1, 256, 1280, 256, 32),
    "small": Size(3, 200_000, 200_000),
    "gpu": Size(5, 20_000_000, 20_000_000, 200_000),
}


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell an arm, task and seed: the room first, and those of one seed together."""
    size = SIZES[scale]
    return {
        f"{task.rpartition('/')[2]}, {arm.name}, seed {number}": partial(run, scale, task, arm, number)
        for task in TASKS
        for number in range(seed, seed + size.seeds)
        for arm in ARMS
        if not (task == ROOM and arm.potential != "none")
    }


def run(scale: ScaleName, task: str, arm: Arm, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm at one task; its curve."""
    size = SIZES[scale]
    if task == ROOM:
        return curve_of(arm, room_settings(size, seed), folder)
    steps = SCORE_SIZES[scale].steps if arm == EXTRINSIC else size.score_steps  # its longer run is there already
    curve = curve_of(arm, score_settings(SCORE_SIZES[scale], seed, steps), folder)
    return curve[curve.step <= size.score_steps + size.every / 2]


def room_settings(size: Size, seed: int) -> TrainingSettings:
    """The room with a start and stairs that change; the policy sees where it was, for it has no memory."""
    return TrainingSettings(
        game=GameSettings(ROOM, episode_steps=300),
        policy=PolicySettings(rollout_steps=size.rollout),
        extrinsic_coefficient=1.0,
        steps=size.room_steps,
        curve_every=size.every,
        checkpoint_every=5 * size.every,
        evaluation_episodes=0,
        seed=seed,
    )


EXPERIMENT = Experiment(
    "nethack_curves",
    "what policies learn in NetHack and MiniHack from the task's reward, shaped, and with intrinsic rewards beside it",
    cells,
    package="environments.nethack",
)
