"""Every step's numbers, in `metrics.csv` and for TensorBoard: one row a step.

A run that was killed goes on with the file that it would have written had it not been: rows after the checkpoint are
dropped and written again. So write a step's numbers before its checkpoint.
"""

import csv
import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from long_runs.files import write_atomically

__all__ = ["RunLog", "read_metrics"]


class RunLog:
    """Writes numbers by step; each row is in the file as soon as `write` returns.

    Args:
        folder: Of the run; made where there is none. Gets `metrics.csv` and, for TensorBoard, `tensorboard/`.
        resume_from_step: None for a new run. For a run that goes on from a checkpoint, its step: later rows are
            dropped, in the file and in TensorBoard's view. -1 drops all rows: a run that starts again.
        tensorboard: Whether to write TensorBoard's events too (needs tensorboard).

    Raises:
        FileExistsError: If `resume_from_step` is None and the folder has rows of a run already.
        ValueError: If the file is no run's log.
        ImportError: If tensorboard is wanted and not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with RunLog(folder, tensorboard=False) as log:
        ...     log.write(1, {"reward": 0.25})
        ...     log.write(2, {"reward": float("nan"), "accuracy": 0.5})
        >>> read_metrics(folder)
        [{'step': 1, 'reward': 0.25}, {'step': 2, 'accuracy': 0.5}]
    """

    def __init__(self, folder: str | Path, *, resume_from_step: int | None = None, tensorboard: bool = True):
        self.folder = Path(folder)
        self.path = self.folder / "metrics.csv"
        self.folder.mkdir(parents=True, exist_ok=True)
        columns, rows = _read(self.path)
        if resume_from_step is None and rows:
            raise FileExistsError(
                f"{self.path} has {len(rows)} rows of a run already; choose another folder, or resume that run"
            )
        kept = [row for row in rows if resume_from_step is not None and row["step"] <= resume_from_step]
        last = kept[-1]["step"] if kept else -1
        if resume_from_step is not None and last < resume_from_step:
            warnings.warn(
                f"{self.path} ends at step {last}, before the checkpoint's step {resume_from_step}: rows are lost",
                stacklevel=2,
            )
        self.columns = columns if kept else ["step"]
        self._last = dict(kept[-1]) if kept else {}
        write_atomically(self.path, self._text(kept, header=True))
        self._file = self.path.open("r+", newline="", encoding="utf-8")
        self._start_of_last = self._file.seek(0, io.SEEK_END) - len(self._text(kept[-1:]).encode())
        self._board = _board(self.folder / "tensorboard", resume_from_step) if tensorboard else None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a step's numbers; more numbers of the same step go into its row.

        Args:
            step: At least the last one.
            values: Numbers by name. New names make new columns; NaN is written as an empty cell.

        Raises:
            ValueError: If `step` is before the last one, or a value is called "step".
            TypeError: If a value is no number.
        """
        last = self._last.get("step", -1)
        if step < last or "step" in values:
            raise ValueError(f"step {step} comes after step {last}, and no value may be called 'step'")
        numbers = {name: _number(name, value) for name, value in values.items()}
        same = step == last
        self._last = {**(self._last if same else {"step": step}), **numbers}
        new = [name for name in numbers if name not in self.columns]
        if new:
            rows = read_metrics(self.folder)
            self.columns = self.columns + new
            self._file.close()
            write_atomically(self.path, self._text([*(rows[:-1] if same else rows), self._last], header=True))
            self._file = self.path.open("r+", newline="", encoding="utf-8")
            end = self._file.seek(0, io.SEEK_END)
            self._start_of_last = end - len(self._text([self._last]).encode())
        else:
            start = self._start_of_last if same else self._file.seek(0, io.SEEK_END)
            self._file.seek(start)
            self._file.truncate()
            self._file.write(self._text([self._last]))
            self._file.flush()
            self._start_of_last = start
        for name, value in numbers.items():
            if self._board is not None and not math.isnan(value):
                self._board.add_scalar(name, value, step)
        if self._board is not None:
            self._board.flush()  # what a killed process had not flushed would be missing for ever

    def close(self) -> None:
        """Close the files; closing twice does nothing."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _text(self, rows: list[dict[str, float]], *, header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        if header:
            writer.writeheader()
        for row in rows:
            # repr gives back the same float when read; NaN is an empty cell
            writer.writerow({name: "" if math.isnan(value) else repr(value) for name, value in row.items()})
        return text.getvalue()


def read_metrics(folder: str | Path) -> list[dict[str, float]]:
    """Rows of a run's `metrics.csv`, empty cells left out; a row that a killed process left half-written is no row.

    Raises:
        ValueError: If the file is no run's log.
    """
    return _read(Path(folder) / "metrics.csv")[1]


def _read(path: Path) -> tuple[list[str], list[dict[str, float]]]:
    """Columns and rows."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not lines:
        return ["step"], []
    names, *rows = lines
    if names[:1] != ["step"]:
        raise ValueError(f"{path} starts with {','.join(names)!r}, expected a column 'step'")
    read = []
    for line, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise ValueError(f"{path}, line {line}: {len(row)} cells, expected {len(names)}")
        cells = {name: cell for name, cell in zip(names, row, strict=True) if cell}
        try:
            read.append({name: int(cell) if name == "step" else float(cell) for name, cell in cells.items()})
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
    return names, read


def _number(name: str, value: Any) -> float:
    """A Python float of a float, a NumPy scalar or a tensor of one element."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} is {value!r}, a {type(value).__name__}; expected a number") from error


def _board(folder: Path, resume_from_step: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard is not installed: pip install tensorboard, or tensorboard=False") from error
    return SummaryWriter(str(folder), purge_step=None if resume_from_step is None else resume_from_step + 1)
