"""Run experiments by name and record their tables: what `python -m <package>.experiments <id> --scale small` does."""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tyro
from rich.console import Console

from long_runs.experiment import Experiment, ScaleName, record

__all__ = ["Options", "experiments_of", "main"]

KEPT = Path("runs") / "experiments"


@dataclass(frozen=True)
class Options:
    """Run experiments, each resumable, and record their tables."""

    experiments: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names; all where none is given."""
    scale: ScaleName = "small"
    """smoke: seconds, nothing recorded that matters. small: minutes each on two cores. gpu: on one GPU."""
    seed: int = 0
    workers: int = 1
    folder: Path = KEPT
    """Where finished cells and checkpoints are kept; the same command goes on from there."""


def experiments_of(room: ModuleType) -> dict[str, Experiment]:
    """Every experiment by name: the modules of a package that define EXPERIMENT."""
    found = {}
    for module in pkgutil.iter_modules(room.__path__):
        if module.name.startswith("__"):
            continue
        loaded = importlib.import_module(f"{room.__name__}.{module.name}")
        if isinstance(one := getattr(loaded, "EXPERIMENT", None), Experiment):
            found[one.id] = one
    return found


def main(room: ModuleType, options: Options) -> int:
    """Run the named experiments of a package; exit status 2 for an unknown name."""
    console, every = Console(soft_wrap=True, highlight=False), experiments_of(room)
    unknown = [name for name in options.experiments if name not in every]
    if unknown:
        console.print(f"[red]no experiment {', '.join(unknown)}; there are {', '.join(every)}[/]")
        return 2
    if options.scale == "gpu":
        import torch

        if not torch.cuda.is_available():
            console.print("[red]scale gpu needs a CUDA device, and torch finds none[/]")
            return 2
    for name in options.experiments or every:
        console.print(f"{name}: {every[name].says}")
        target = record(
            every[name],
            options.scale,
            options.seed,
            folder=options.folder,
            workers=options.workers,
            done=lambda cell, seconds: console.print(f"  {cell}: {seconds:.0f} s"),
        )
        console.print(f"  recorded in {target}")
    return 0
