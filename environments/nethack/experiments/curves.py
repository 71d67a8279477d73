"""Learning curves that the experiments share: the same settings are trained once, whoever asks."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from environments.nethack.training.settings import (
    AnnotationSettings,
    IntrinsicSettings,
    ShapingSettings,
    TrainingSettings,
)
from long_runs.checkpoints import plain_settings
from long_runs.files import write_atomically

__all__ = ["EXTRINSIC", "SCORE_COEFFICIENT", "Arm", "curve_of"]

VERSION = 1  # of the trainings; raised when a change makes kept curves worthless
SCORE_COEFFICIENT = 0.1  # of the game's score: its points are too many for PPO's values
DIGITS = 5


@dataclass(frozen=True)
class Arm:
    """What a policy learns from.

    Args:
        reward: Name of the reward, as the table has it.
        kind: Of the intrinsic reward.
        coefficient: Of it.
        accuracy: Of the annotator; None where nobody is asked.
        exponent: Of the count discount; NaN where there is none.
        potential: Of the shaping.
        weight: Of the potential.
        extrinsic: Whether the task's reward is learned from too.
    """

    reward: str
    kind: str = "none"
    coefficient: float = 0.4
    accuracy: float | None = None
    exponent: float = 3.0
    potential: str = "none"
    weight: float = 1.0
    extrinsic: bool = True

    @property
    def name(self) -> str:
        """Of its cells."""
        noise = "" if self.accuracy is None else f", accuracy {self.accuracy:g}, exponent {self.exponent:g}"
        return f"{self.reward}{noise}"

    def settings(self, base: TrainingSettings) -> TrainingSettings:
        """A run's settings with this arm's rewards; the coefficient of the task's reward is `base`'s, or 0."""
        chosen: dict[str, Any] = {"extrinsic_coefficient": base.extrinsic_coefficient if self.extrinsic else 0.0}
        if self.potential != "none":
            chosen["shaping"] = ShapingSettings(self.potential, self.weight)
        if self.kind != "none":
            chosen["intrinsic"] = IntrinsicSettings(self.kind, self.coefficient, self.exponent)
        if self.accuracy is not None and self.accuracy < 1:
            chosen["annotation"] = AnnotationSettings(annotator="noisy", accuracy=self.accuracy)
        return replace(base, **chosen)


EXTRINSIC = Arm("environment only")


def curve_of(arm: Arm, base: TrainingSettings, folder: Path) -> pd.DataFrame:
    """Train an arm, or read the curve that another cell of the same settings kept.

    Args:
        arm: What is learned from.
        base: All other settings.
        folder: Of the cell: the training is resumed from there; curves are kept beside the experiments' folders.

    Returns:
        The curve, with columns for task, reward, accuracy, exponent and seed.
    """
    from environments.nethack.training.run import train  # the games are not needed to list cells

    settings = arm.settings(base)
    facts = json.dumps([VERSION, plain_settings(settings)], sort_keys=True)
    kept = folder.parents[2] / "nethack curves" / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.csv"
    if not kept.is_file():
        curve = train(settings, folder, quiet=True).curve
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, curve.round(DIGITS).to_csv(index=False))
    labels = {
        "task": settings.game.task,
        "reward": arm.reward,
        "accuracy": float("nan") if arm.accuracy is None else arm.accuracy,
        "exponent": arm.exponent if arm.accuracy is not None else float("nan"),
        "seed": settings.seed,
    }
    curve = pd.read_csv(kept)
    for place, (name, value) in enumerate(labels.items()):
        curve.insert(place, name, value)
    return curve
