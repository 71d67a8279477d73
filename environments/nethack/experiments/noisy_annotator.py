"""Reward hacking by annotator noise in NetHack: a policy that learns from labelled messages alone.

Beside the game's own score as a reward, four policies never see it: they are paid for messages that an annotator calls
helpful, rightly always or nine times of ten, with the count discount (the n-th sight of a message in an episode pays
n to the minus 3) or without. A wrong label stays wrong, as with a deterministic language model, so without the discount
the cheapest wrongly praised message can be had at every step.

The annotator labels the 20 newest unlabelled messages every 1000 steps; the questions of the game ("What do you want to
eat?") are left open, as in NLE.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from environments.nethack.experiments.curves import EXTRINSIC, SCORE_COEFFICIENT, Arm, curve_of
from environments.nethack.training.settings import GameSettings, PolicySettings, TrainingSettings
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["ACCURACIES", "ARMS", "EXPERIMENT", "EXPONENTS", "score_settings"]

ACCURACIES, EXPONENTS = (1.0, 0.9), (3.0, 0.0)
ARMS = (
    EXTRINSIC,
    *(
        Arm("intrinsic only", "retrieval", 1.0, accuracy, exponent, extrinsic=False)
        for accuracy in ACCURACIES
        for exponent in EXPONENTS
    ),
)


@dataclass(frozen=True)
class Size:
    """What differs between scales."""

    seeds: int
    steps: int
    episode_steps: int = 1000
    every: int = 10_000
    rollout: int = 128


SIZES = {
    "smoke": Size(2, 1280, 60, 256, 32),
    "small": Size(3, 300_000),
    "gpu": Size(5, 20_000_000, 5000, 200_000),
}


def score_settings(size: Size, seed: int, steps: int | None = None) -> TrainingSettings:
    """NetHackScore with NLE's 23 actions; the task's reward counts a tenth. `steps` instead of the size's."""
    return TrainingSettings(
        game=GameSettings("score", episode_steps=size.episode_steps, prompts="open"),
        policy=PolicySettings(rollout_steps=size.rollout),
        extrinsic_coefficient=SCORE_COEFFICIENT,
        steps=size.steps if steps is None else steps,
        curve_every=size.every,
        checkpoint_every=5 * size.every,
        evaluation_episodes=0,  # the curve is the mean of the last 100 games
        seed=seed,
    )


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell an arm and seed: those of one seed together, so that half a record is one of fewer seeds."""
    size = SIZES[scale]
    return {
        f"{arm.name}, seed {number}": partial(run, scale, arm, number)
        for number in range(seed, seed + size.seeds)
        for arm in ARMS
    }


def run(scale: ScaleName, arm: Arm, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm; its curve."""
    return curve_of(arm, score_settings(SIZES[scale], seed), folder)


EXPERIMENT = Experiment(
    "noisy_annotator",
    "what annotator noise does to a policy that learns from NetHack's messages, with and without the count discount",
    cells,
    package="environments.nethack",
)
