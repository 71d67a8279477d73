"""A fit that is saved as it goes: whichever it is, a killed one goes on to the numbers it would have had."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from long_runs.checkpoints import load_checkpoint, save_checkpoint
from long_runs.progress import TrainingProgress
from long_runs.run_log import RunLog

__all__ = ["Stage", "run_stage"]

SECONDS = 30.0  # between two checkpoints of a stage whose turns are short


@dataclass(frozen=True)
class Stage:
    """One of the fits of a run.

    Args:
        name: Its folder's.
        says: For the person who watches.
        advance: Does one turn (an epoch, an iteration, a round) and returns numbers about it.
        turn: How many turns are done, or updates.
        finished: Whether it is over.
        state: Everything that is needed to go on.
        load: Takes that back.
        total: Where `turn` ends, or None where nobody knows.
        shown: Numbers on the progress bar.
        extra: Numbers to add after a turn, such as an evaluation's.
        save_every: Turns of `advance` between checkpoints; None: by the clock.
    """

    name: str
    says: str
    advance: Callable[[], Mapping[str, float]]
    turn: Callable[[], int]
    finished: Callable[[], bool]
    state: Callable[[], Mapping[str, Any]]
    load: Callable[[Any], None]
    total: int | None
    shown: tuple[str, ...]
    extra: Callable[[int], Mapping[str, float]] = lambda turns: {}
    save_every: int | None = None


def run_stage(stage: Stage, folder: Path, settings: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Run a stage to its end, from its newest checkpoint where there is one.

    Args:
        stage: What to run.
        folder: Of the run; the stage keeps metrics, TensorBoard's events and checkpoints in one of its own name.
        settings: Of all that decides this stage's numbers; a checkpoint written with others is refused.
        quiet: No progress bar, whoever watches.

    Raises:
        ValueError: If a checkpoint there is of other settings, or damaged.
    """
    place = folder / stage.name
    checkpoint = load_checkpoint(place / "checkpoints", settings=settings)
    if checkpoint is not None:
        stage.load(checkpoint.extra["state"])
    turns = checkpoint.extra["turns"] if checkpoint is not None else 0
    done = stage.turn() if checkpoint is not None else None
    saved = time.monotonic()
    with (
        RunLog(place, resume_from_step=-1 if done is None else done) as log,
        TrainingProgress(
            stage.total or 0, place, done=done or 0, shown=stage.shown, enabled=False if quiet else None
        ) as progress,
    ):
        progress.note(stage.says)
        while not stage.finished():
            before = stage.turn()
            numbers = dict(stage.advance())
            turns += 1
            numbers |= stage.extra(turns)
            log.write(stage.turn(), numbers)
            progress.advance(numbers, stage.turn() - before)
            due = time.monotonic() - saved > SECONDS if stage.save_every is None else turns % stage.save_every == 0
            if due or stage.finished():
                save_checkpoint(
                    place / "checkpoints",
                    stage.turn(),
                    model={},
                    optimiser={},
                    generators={},
                    settings=settings,
                    extra={"state": stage.state(), "turns": turns},
                    keep=1,
                )
                saved = time.monotonic()
