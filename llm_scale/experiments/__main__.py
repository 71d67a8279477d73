"""`python -m llm_scale.experiments <id> --scale small`: run an experiment and record its table for the figures."""

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

import llm_scale.experiments as room
from llm_scale.experiments.experiment import Experiment, ScaleName, record

KEPT = Path("runs") / "experiments"


@dataclass(frozen=True)
class Options:
    """Run experiments on language models, each resumable, and record their tables."""

    experiments: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names; all where none is given."""
    scale: ScaleName = "small"
    """smoke: seconds, nothing recorded that matters. small: minutes each on two cores. gpu: SmolLM2 on one GPU."""
    seed: int = 0
    workers: int = 1
    folder: Path = KEPT
    """Where finished cells and checkpoints are kept; the same command goes on from there."""


def experiments() -> dict[str, Experiment]:
    """Every experiment by name: the modules of this folder that define EXPERIMENT."""
    found = {}
    for module in pkgutil.iter_modules(room.__path__):
        if module.name.startswith("__"):
            continue
        loaded = importlib.import_module(f"{room.__name__}.{module.name}")
        if isinstance(one := getattr(loaded, "EXPERIMENT", None), Experiment):
            found[one.id] = one
    return found


def main(options: Options) -> int:
    """Run the named experiments; exit status 2 for an unknown name."""
    console, every = Console(soft_wrap=True, highlight=False), experiments()
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


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options)))
