"""Train a policy offline: `python -m environments.offline.train --data made/hopper/medium --policy.host mopo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from environments.data import DataError
from environments.offline.training.settings import TrainingSettings
from environments.offline.training.training import train


@dataclass(frozen=True)
class Options:
    """Learn a dynamics model, a dynamics reward that says which of its predictions to trust, and a policy."""

    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    folder: Path = Path("runs") / "offline"
    """Where everything goes; the same command goes on from where a killed one stopped."""


def main(options: Options) -> int:
    """Run it; exit status 2 where data, task or folder are not as they should be."""
    console = Console(soft_wrap=True, highlight=False, stderr=True)
    try:
        outcome = train(options.settings, options.folder, say=console.print)
    except (ValueError, FileNotFoundError, DataError, ImportError) as error:
        console.print(f"[red]error:[/] {error}")
        return 2
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.measured.items())
    Console(soft_wrap=True, highlight=False).print(f"{numbers}\neverything is in {options.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Options, config=(tyro.conf.AvoidSubcommands,))))
