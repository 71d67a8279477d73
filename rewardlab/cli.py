"""The command line: `rewardlab figures`, `rewardlab papers`, `rewardlab compare`.

Everything heavy is imported inside the command that needs it, so that `rewardlab --help` answers at once.
"""

import sys
from typing import Literal

import tyro


def figures(
    only: tuple[str, ...] = (),
    scale: Literal["smoke", "small", "paper", "gpu"] = "small",
    workers: int | None = None,
) -> int:
    """Draw the papers' figures, judge their claims and write one report.

    Results are kept by the hash of the code they depend on: a second run is instant, and an interrupted one goes on.

    Args:
        only: Ids of the figures to run; all of them by default.
        scale: smoke takes seconds a figure, small minutes, paper the published size; gpu needs CUDA.
        workers: Processes a figure may use; two by default. The numbers do not depend on it.
    """
    try:
        from paper_figures.command import run_command
    except ModuleNotFoundError as error:
        if error.name != "paper_figures":
            raise
        raise _UserError(
            "the figures are in the project's checkout, not in the installed package; "
            "clone the repository and run `make figures` there"
        ) from error
    return run_command(only, scale, workers)


def papers() -> None:
    """List the papers: what each one does, the functions that implement it, the figures that test it."""
    from rich.console import Console
    from rich.text import Text

    from rewardlab.catalogue import PAPERS

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    for paper in PAPERS:
        source = f"arXiv {paper.arxiv}" if paper.arxiv else "no arXiv id"
        console.print(Text(paper.title, style="bold"), Text(f"{paper.year}, {source}", style="dim"), sep="\n")
        lines = {
            "method": paper.method,
            "question": paper.question,
            "functions": ", ".join(paper.functions),
            "figures": ", ".join(paper.figures),
            "notebook": paper.notebook or "",
        }
        for name, text in lines.items():
            if text:
                console.print(Text(f"  {name:<10}", style="cyan") + Text(text))
        console.print()


def compare(
    env: tyro.conf.Positional[str],
    reward: str,
    against: str,
    samples: int | None = None,
    discount: float = 0.99,
) -> None:
    """Say how different two rewards are in an environment, and in what.

    Args:
        env: Id of a gymnasium environment, such as FrozenLake-v1.
        reward: The reward in question, as module:function.
        against: The reward it is held against, as module:function.
        samples: Number of sampled transitions; needed where the environment is not a finite table.
        discount: Discount factor, from 0 to 1.
    """
    from rewardlab.compare_command import compare as run

    run(env, reward, against, samples=samples, discount=discount)


class _UserError(Exception):
    """Something the user can put right; shown without a traceback."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: What follows the program's name; the process's own by default.
    """
    commands = {"figures": figures, "papers": papers, "compare": compare}
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="rewardlab",
            description="What does a reward really say, and how far is it from what you mean?",
            args=arguments,
        )
    except (_UserError, ValueError, TypeError) as error:  # the library's own errors say what was expected and what came
        print(f"rewardlab: {error}", file=sys.stderr)
        return 2
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
