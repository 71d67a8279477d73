"""Train a policy in NetHack: `python -m environments.nethack.train --intrinsic.kind retrieval --steps 300000`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from environments.nethack.training.settings import TrainingSettings


@dataclass(frozen=True)
class Options:
    """Learn to play from the game's reward, from its messages as an annotator judges them, or from both.

    The published sizes, for who has the hours: --steps 2000000000 --policy.algorithm recurrent_ppo --policy.games 64
    --policy.rollout-steps 32 --policy.batch-size 1024 --game.episode-steps 5000 --intrinsic.kind classification
    --intrinsic.network bytes --annotation.annotator endpoint --annotation.where process.
    """

    settings: Annotated[TrainingSettings, tyro.conf.arg(name="")]
    folder: Path = Path("runs") / "nethack"
    """Where everything goes; the same command goes on from where a killed one stopped."""


def main(options: Options) -> int:
    """Run it; exit status 2 where settings or folder are not as they should be."""
    console = Console(soft_wrap=True, highlight=False, stderr=True)
    try:
        from environments.nethack.training.run import train  # not needed for --help

        outcome = train(options.settings, options.folder, say=console.print)
    except (ValueError, FileNotFoundError, ImportError) as error:
        console.print(f"[red]error:[/] {error}")
        return 2
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in outcome.measured.items())
    Console(soft_wrap=True, highlight=False).print(f"{numbers}\neverything is in {options.folder}".lstrip())
    return 0


if __name__ == "__main__":
    try:
        options = tyro.cli(Options, config=(tyro.conf.AvoidSubcommands,))
    except ValueError as error:  # settings that contradict one another, each of them possible
        Console(soft_wrap=True, highlight=False, stderr=True).print(f"[red]error:[/] {error}")
        raise SystemExit(2) from None
    raise SystemExit(main(options))
