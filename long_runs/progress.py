"""A progress bar for a person who watches: steps, accuracy, reward, seconds a step."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["TrainingProgress", "someone_watches"]

SHOWN = ("accuracy", "reward")


def someone_watches() -> bool:
    """Whether standard error is a terminal and this is no continuous integration."""
    return sys.stderr.isatty() and not os.environ.get("CI")


class TrainingProgress:
    """A bar on standard error, silent where nobody watches; at the end it says where the results are.

    Args:
        steps: Of the whole run, those done before a checkpoint included.
        folder: Of the results.
        done: Steps done already.
        shown: Names of the numbers to show; of each, the last one given to `advance`.
        enabled: Whether to draw; None: where someone watches.

    Example:
        >>> with TrainingProgress(2, "runs/first", enabled=False) as progress:
        ...     progress.advance({"reward": 0.5})
        ...     progress.advance({"reward": 0.6, "accuracy": 0.4})
    """

    def __init__(
        self,
        steps: int,
        folder: str | Path,
        *,
        done: int = 0,
        shown: tuple[str, ...] = SHOWN,
        enabled: bool | None = None,
    ):
        self.folder, self.shown = Path(folder), shown
        self.enabled = someone_watches() if enabled is None else enabled
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self.enabled,
        )
        self._task = self._bar.add_task("training", total=steps, completed=done, numbers="")
        self._latest: dict[str, float] = {}
        self._before = time.perf_counter()

    def advance(self, values: Mapping[str, float], steps: int = 1) -> None:
        """Count steps as done and show their numbers; `values` may hold more than is shown."""
        now = time.perf_counter()
        seconds, self._before = (now - self._before) / steps, now
        self._latest.update({name: float(values[name]) for name in self.shown if name in values})
        numbers = [f"{name} {value:.3g}" for name, value in self._latest.items()] + [f"{seconds:.2g} s a step"]
        self._bar.update(self._task, advance=steps, numbers=", ".join(numbers))

    def note(self, text: str) -> None:
        """A line above the bar, such as the accuracy on held-out problems."""
        if self.enabled:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        self._before = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self.note(f"{'results' if error is None else 'stopped; results so far'} in {self.folder}")
