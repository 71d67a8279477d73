"""What a long experiment is: independent cells (an arm and a seed each) whose rows make one table.

Training runs take minutes, so every cell's rows are kept as soon as it is done and an interrupted experiment goes on
where it stopped; a cell that trains may use its folder for checkpoints. At the scales `small` and `gpu` the table is
recorded under the `results/` of the package it belongs to, with command, machine, versions and the seconds of all
cells, and figures read it.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import joblib
import pandas as pd

from long_runs.recording import read_recorded, record_run

__all__ = ["CHECKOUT", "Cell", "Experiment", "ScaleName", "frame_of", "record", "run_cells"]

ScaleName = Literal["smoke", "small", "gpu"]
CHECKOUT = Path(__file__).resolve().parent.parent

# cell(folder) -> rows of this arm and seed; the folder is its own, for checkpoints
Cell = Callable[[Path], pd.DataFrame]


@dataclass(frozen=True)
class Experiment:
    """An experiment by name.

    Args:
        id: Its name, and that of its figure.
        says: What is tried, in a line.
        cells: Gives the cells of a scale and a first seed by name, in the order of the table; picklable functions.
        version: Raised when a change makes kept cells worthless.
        package: Whose `results/` holds the record, and whose `experiments` command makes it.
    """

    id: str
    says: str
    cells: Callable[[ScaleName, int], Mapping[str, Cell]]
    version: int = 1
    package: str = "llm_scale"

    def results(self, scale: str) -> Path:
        """Where the record of a scale lies, whether there is one or not."""
        return CHECKOUT.joinpath(*self.package.split("."), "results", scale, self.id)


def run_cells(
    experiment: Experiment,
    scale: ScaleName,
    seed: int = 0,
    *,
    folder: Path,
    workers: int = 1,
    done: Callable[[str, float], None] = lambda name, seconds: None,
) -> pd.DataFrame:
    """Run the cells that are not done yet, and return all rows, with a column `cell`.

    Args:
        experiment: What to run.
        scale: Its size.
        seed: First seed; part of what is kept.
        folder: Where finished cells and their checkpoints are kept.
        workers: Processes; the numbers do not depend on it.
        done: Called with the name and the seconds of each cell as it finishes.
    """
    cells = experiment.cells(scale, seed)
    places = {name: folder / _place(experiment, scale, seed, name) for name in cells}
    missing = [name for name in cells if not (places[name] / "rows.csv").is_file()]
    jobs = (joblib.delayed(_run_cell)(cells[name], places[name]) for name in missing)
    finished = joblib.Parallel(n_jobs=workers, return_as="generator")(jobs)
    for name, seconds in zip(missing, finished, strict=True):
        done(name, seconds)
    rows = [pd.read_csv(places[name] / "rows.csv").assign(cell=name) for name in cells]
    return pd.concat(rows, ignore_index=True)


def frame_of(experiment: Experiment, scale: str, seed: int = 0, *, workers: int = 1) -> pd.DataFrame:
    """The table of a scale, as figures take it: recorded at `small` and `gpu`, run here and now at `smoke`.

    Raises:
        FileNotFoundError: If there is no record; says which command makes it.
    """
    if scale in ("small", "gpu"):
        return read_recorded(experiment.results(scale))[0]
    with tempfile.TemporaryDirectory(prefix=f"{experiment.id}-") as folder:
        size: ScaleName = "small" if scale == "paper" else "smoke"  # the papers' own sizes are not for a small model
        return run_cells(experiment, size, seed, folder=Path(folder), workers=workers)


def record(
    experiment: Experiment,
    scale: ScaleName,
    seed: int = 0,
    *,
    folder: Path,
    workers: int = 1,
    done: Callable[[str, float], None] = lambda name, seconds: None,
) -> Path:
    """Run an experiment and record its table; returns where.

    That is `results/<scale>/<id>/` of its package, or for a trial at scale smoke, which no figure reads, in `folder`.
    """
    table = run_cells(experiment, scale, seed, folder=folder, workers=workers, done=done)
    places = [folder / _place(experiment, scale, seed, name) for name in experiment.cells(scale, seed)]
    spent = sum(json.loads((place / "done.json").read_text(encoding="utf-8"))["seconds"] for place in places)
    command = (
        f"python -m {experiment.package}.experiments {experiment.id} --scale {scale} --seed {seed} --workers {workers}"
    )
    target = folder / "recorded" / experiment.id if scale == "smoke" else experiment.results(scale)
    record_run(target, table, command=command, seeds=[seed], wall_seconds=max(spent, 0.1), cells=len(places))
    return target


def _place(experiment: Experiment, scale: str, seed: int, name: str) -> Path:
    digest = hashlib.sha256(f"{experiment.version} {scale} {seed} {name}".encode()).hexdigest()[:8]
    readable = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return Path(experiment.id) / scale / f"{readable}-{digest}"


def _run_cell(cell: Cell, place: Path) -> float:
    """Run one cell and keep its rows; they are there whole or not at all."""
    place.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rows = cell(place)
    seconds = time.perf_counter() - started
    (place / "done.json").write_text(json.dumps({"seconds": round(seconds, 1)}), encoding="utf-8")
    rows.to_csv(place / "rows.csv.part", index=False)
    os.replace(place / "rows.csv.part", place / "rows.csv")
    return seconds
