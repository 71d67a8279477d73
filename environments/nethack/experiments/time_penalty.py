"""The default time penalty of NLE as a misspecified reward: finding the stairs down, with it and without.

Each step in which the game's clock stands still (bumping into a wall, a menu) costs 0.01, reaching the stairs pays 1.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from environments.nethack.experiments.curves import EXTRINSIC, curve_of
from environments.nethack.training.settings import GameSettings, PolicySettings, TrainingSettings
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["EXPERIMENT", "PENALTIES"]

PENALTIES = (-0.01, 0.0)


@dataclass(frozen=True)
class Size:
    """What differs between scales."""

    seeds: int
    steps: int
    episode_steps: int = 500
    every: int = 10_000
    rollout: int = 128


SIZES = {"smoke": Size(2, 512, 60, 256, 32), "small": Size(3, 150_000), "gpu": Size(5, 20_000_000, every=200_000)}


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell a penalty and seed."""
    size = SIZES[scale]
    return {
        f"penalty {penalty:g}, seed {number}": partial(run, scale, penalty, number)
        for number in range(seed, seed + size.seeds)
        for penalty in PENALTIES
    }


def run(scale: ScaleName, penalty: float, seed: int, folder: Path) -> pd.DataFrame:
    """Train with one penalty; its curve, with a column `penalty`."""
    size = SIZES[scale]
    settings = TrainingSettings(
        game=GameSettings("staircase", episode_steps=size.episode_steps, penalty=penalty, prompts="open"),
        policy=PolicySettings(rollout_steps=size.rollout),
        extrinsic_coefficient=1.0,
        steps=size.steps,
        curve_every=size.every,
        checkpoint_every=5 * size.every,
        evaluation_episodes=0,
        seed=seed,
    )
    curve = curve_of(EXTRINSIC, settings, folder)
    curve.insert(0, "penalty", penalty)
    return curve


EXPERIMENT = Experiment(
    "time_penalty",
    "what NLE's penalty on steps without game time does to a policy that should find the stairs",
    cells,
    package="environments.nethack",
)
