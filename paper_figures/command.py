"""`rewardlab figures`: run, say how it goes, compare with the ledger, write the report."""

import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from paper_figures.figure import Scale, ScaleName
from paper_figures.fingerprint import ROOT
from paper_figures.ledger import LEDGER, disagreements, load_ledger
from paper_figures.report import write_report
from paper_figures.runner import FOLDER, OUTPUT, Figure, FigureError, Result, default_workers, discover, run_all, select

MARKS = {"supported": "[green]supported[/]", "refuted": "[red]refuted[/]", "undecided": "[yellow]undecided[/]"}


def run_command(
    only: Sequence[str],
    scale_name: ScaleName,
    workers: int | None = None,
    *,
    folder: Path = FOLDER,
    output: Path = OUTPUT,
    ledger_path: Path = LEDGER,
    root: Path = ROOT,
    console: Console | None = None,
) -> int:
    """Run the named figures (all where none is named) and write the report.

    Args:
        only: Figure ids.
        scale_name: As in `Scale`.
        workers: Processes a figure may use; two by default, or one on a single core.
        folder: Where the figure files are.
        output: Where the results go.
        ledger_path: The ledger of expected outcomes.
        root: Folder of the packages that the figures import.
        console: Where to print.

    Returns:
        Exit status: 0 when every figure ran, 1 when one failed, 2 for an unknown name, 130 when interrupted.
    """
    scale = Scale(scale_name, default_workers() if workers is None else workers)
    console = console or Console(soft_wrap=True, highlight=False)
    every, ledger = in_order(discover(folder)), load_ledger(ledger_path)
    try:
        chosen = select(every, only)
    except FigureError as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 2
    results, interrupted = _run(chosen, scale, output, root, console)
    for figure, result in results.items():
        if isinstance(result, Result):
            for line in disagreements(ledger, figure, scale.name, result.outcomes):
                console.print(f"[yellow]{escape(line)}[/]")
    report = write_report(list(every.values()), output, ledger, root=root)
    failed = [name for name, result in results.items() if isinstance(result, Exception)]
    if interrupted:
        console.print(f"interrupted after {len(results)} of {len(chosen)} figures; the same command goes on from here")
    if failed:
        console.print(f"[red]failed: {', '.join(failed)}[/]")
    console.print(f"report: {report}")
    return 130 if interrupted else 1 if failed else 0


def in_order(figures: dict[str, Figure]) -> dict[str, Figure]:
    """The figures in the catalogue's order, which tells a story; then those that it does not list."""
    from rewardlab.catalogue import PAPERS

    listed = dict.fromkeys(name for paper in PAPERS for name in paper.figures if name in figures)
    return {name: figures[name] for name in [*listed, *(set_aside for set_aside in figures if set_aside not in listed)]}


def _run(
    figures: list[Figure], scale: Scale, output: Path, root: Path, console: Console
) -> tuple[dict[str, Result | Exception], bool]:
    """Results so far, and whether the user interrupted."""
    quiet = bool(os.environ.get("CI")) or not console.is_terminal
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    results: dict[str, Result | Exception] = {}
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=len(figures))

        def done(figure: Figure, result: Result | Exception) -> None:
            results[figure.id] = result
            progress.advance(task)
            _print_line(console, figure, result, quiet)

        try:
            run_all(
                figures,
                scale,
                output,
                root=root,
                done=done,
                start=lambda figure: progress.update(task, description=figure.id),
            )
        except KeyboardInterrupt:
            return results, True
    return results, False


def _print_line(console: Console, figure: Figure, result: Result | Exception, quiet: bool) -> None:
    if isinstance(result, FigureError):
        console.print(f"{figure.id:<24}[red]{escape(str(result))}[/]")
    elif isinstance(result, Exception):
        console.print(f"{figure.id:<24}[red]failed[/]")
        console.print(escape("".join(traceback.format_exception(result))))
    elif not (quiet and result.cached):
        took = "unchanged" if result.cached else f"{result.record['seconds']:.1f} s"
        console.print(f"{figure.id:<24}{took:>10}  {', '.join(MARKS[outcome] for outcome in result.outcomes.values())}")
