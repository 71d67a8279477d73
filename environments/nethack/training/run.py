"""A training, whole: games, intrinsic reward, annotation, PPO, and what came of it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from environments.nethack.training.build import Training, build, facts_of
from environments.nethack.training.evaluation import evaluate
from environments.nethack.training.saved_state import (
    array_free,
    global_generators,
    restore_global_generators,
    with_arrays,
)
from environments.nethack.training.settings import TrainingSettings
from long_runs.checkpoints import load_checkpoint, save_checkpoint
from long_runs.files import write_atomically
from long_runs.progress import TrainingProgress
from long_runs.run_log import RunLog

__all__ = ["CURVE_COLUMNS", "Outcome", "train"]

CURVE_COLUMNS = (
    "step",
    "episodes",
    "score",
    "return",
    "success",
    "depth",
    "length",
    "frozen_share",
    "places",
    "paid",
    "true_positive_share",
    "distinct_messages",
    "run_messages",
    "labels",
)


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Args:
        curve: A row every `curve_every` steps, of the games finished last (`CURVE_COLUMNS`): game score, return of the
            task, share of successes, depth, length in steps, share of steps in which the clock stood still, distinct
            places stood on, intrinsic reward paid for a game (before the coefficient), share of it that was paid for
            messages the rules approve, distinct messages of a game; and of the whole run so far, distinct messages and
            labels received.
        measured: Means over the games of the final evaluation.
        steps_per_second: Of the training, without the evaluation.
        folder: Of the run: `curve.csv`, `evaluation.json`, `policy.safetensors`, `metrics.csv`, `tensorboard/` and
            `checkpoints/`.
    """

    curve: pd.DataFrame
    measured: dict[str, float]
    steps_per_second: float
    folder: Path


def train(
    settings: TrainingSettings,
    folder: str | Path,
    *,
    quiet: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run or resume a training.

    A killed run goes on from its newest checkpoint with the policy, optimiser, reward model, labels, waiting messages,
    counts, curve and generators it had. Games in progress are lost and begin anew: NetHack cannot be saved in the
    middle of a game, so a resumed run is another sample of the same training, and not to the last digit the run that
    was never killed.

    Args:
        settings: All that decides its numbers.
        folder: Where everything goes; the same call goes on from where a killed one stopped.
        quiet: No progress bar.
        say: Told in a line what is done.

    Raises:
        ValueError: If the folder holds another run.
        ImportError: If something that the settings need is not installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = load_checkpoint(folder / "checkpoints", settings=settings)
    done = 0 if checkpoint is None else checkpoint.step
    training = build(settings, folder)
    try:
        run = _Run(settings, folder, training)
        if checkpoint is not None:
            run.load(checkpoint.model, checkpoint.optimiser, checkpoint.extra)
            say(f"goes on at step {done:,}; games in progress begin anew")
        with (
            RunLog(folder, resume_from_step=-1 if checkpoint is None else done) as log,
            TrainingProgress(
                settings.steps, folder, done=done, shown=("score", "success", "paid"), enabled=False if quiet else None
            ) as progress,
        ):
            run.go_on(log, progress)
        curve = run.curve()
        write_atomically(folder / "curve.csv", curve.to_csv(index=False))
        save_file(
            {name: tensor.contiguous() for name, tensor in training.model.policy.state_dict().items()},
            folder / "policy.safetensors",
        )
        measured = evaluate(training.model, settings)
        write_atomically(folder / "evaluation.json", json.dumps(measured, indent=2) + "\n")
        return Outcome(curve, measured, run.steps_per_second, folder)
    finally:
        training.close()


class _Run:
    """The loop: an update a turn."""

    def __init__(self, settings: TrainingSettings, folder: Path, training: Training):
        self.settings, self.folder, self.training = settings, folder, training
        self.model, self.ledger = training.model, training.ledger
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.model.set_logger(Logger(None, []))

    @property
    def steps(self) -> int:
        return int(self.model.num_timesteps)

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds else float("nan")

    def curve(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(CURVE_COLUMNS))

    def go_on(self, log: RunLog, progress: TrainingProgress) -> None:
        """To the last step, with a row of the log an update."""
        watcher = _Watcher(self.training)
        while self.steps < self.settings.steps:
            before, started = self.steps, time.perf_counter()
            self.model.learn(
                self.settings.policy.rollout, callback=watcher, log_interval=None, reset_num_timesteps=False
            )
            spent = time.perf_counter() - started
            self.seconds += spent
            numbers = self._numbers()
            log.write(self.steps, {**numbers, "steps_per_second": (self.steps - before) / spent})
            progress.advance(numbers, self.steps - before)
            if self._due(before, self.settings.curve_every):
                self.rows.append(
                    {name: numbers[name] for name in CURVE_COLUMNS if name in numbers} | {"step": self.steps}
                )
            if self._due(before, self.settings.checkpoint_every):
                self.save()

    def save(self) -> None:
        """Write a checkpoint."""
        save_checkpoint(
            self.folder / "checkpoints",
            self.steps,
            model=self.model.policy.state_dict(),
            optimiser=self.model.policy.optimizer.state_dict(),
            generators={},
            settings=self.settings,
            extra={
                "rewards": array_free(self.training.rewards.state_dict()),
                "games": self.training.games.state_dict(),
                "rows": self.rows,
                "seconds": self.seconds,
                "step": self.steps,
                "updates": int(self.model._n_updates),
                "global_generators": global_generators(),
            },
            keep=1,
        )

    def load(self, policy: Mapping[str, Any], optimiser: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.policy.load_state_dict(policy)
        self.model.policy.optimizer.load_state_dict(dict(optimiser))
        self.training.rewards.load_state_dict(with_arrays(extra["rewards"]))
        self.training.games.load_state_dict(extra["games"])
        self.rows, self.seconds = list(extra["rows"]), extra["seconds"]
        self.model.num_timesteps = extra["step"]
        self.model._n_updates = extra["updates"]
        restore_global_generators(extra["global_generators"])

    def _due(self, before: int, every: int) -> bool:
        return self.steps // every > before // every or self.steps >= self.settings.steps

    def _numbers(self) -> dict[str, float]:
        """What is known after an update: of the learner, of the rewards' parts, and of the games finished last."""
        learner = {name: float(value) for name, value in self.model.logger.name_to_value.items() if _number(value)}
        self.model.logger.dump(self.steps)
        return {
            **learner,
            **self.training.rewards.numbers,
            **self.ledger.means(),
            "episodes": self.ledger.episodes,
            "run_messages": self.ledger.messages,
            "labels": self.training.labels(),
        }


class _Watcher(BaseCallback):
    """Hands the facts of finished games to the books."""

    def __init__(self, training: Training):
        super().__init__()
        self._training = training

    def _on_step(self) -> bool:
        for environment, (done, info) in enumerate(zip(self.locals["dones"], self.locals["infos"], strict=True)):
            if done:
                self._training.ledger.finish(environment, facts_of(info))
        return True


def _number(value: Any) -> bool:
    return isinstance(value, int | float) or hasattr(value, "item")
