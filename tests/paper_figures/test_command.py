"""What a user of `rewardlab figures` sees."""

import io

import pytest
from rich.console import Console

from paper_figures.command import run_command


@pytest.fixture
def run(project):
    def call(*only, scale="smoke"):
        console = Console(file=io.StringIO(), soft_wrap=True)
        status = run_command(
            only,
            scale,
            folder=project.folder,
            output=project.output,
            ledger_path=project.ledger,
            root=project.root,
            console=console,
        )
        return status, console.file.getvalue()

    return call


def test_verdicts_and_the_place_of_the_report_are_printed(project, run):
    status, printed = run()
    assert status == 0
    assert "supported, refuted" in printed
    assert f"report: {project.output / 'index.html'}" in printed
    assert (project.output / "index.html").is_file()


def test_the_second_run_is_quiet(project, run):
    run()
    status, printed = run()
    assert status == 0
    assert printed == f"report: {project.output / 'index.html'}\n"


def test_a_verdict_that_left_the_ledger_is_named(project, run):
    project.set_slope(-1)
    status, printed = run()
    assert status == 0  # the command shows results; the tests hold them against the ledger
    assert "line.rises at scale smoke: the ledger says supported, got refuted" in printed


def test_a_failing_figure_is_shown_with_its_traceback_and_fails_the_command(project, run):
    (project.folder / "broken.py").write_text("CLAIMS = ()\nraise RuntimeError('on purpose')\n")
    status, printed = run()
    assert status == 1
    assert "RuntimeError: on purpose" in printed
    assert "failed: broken" in printed
    assert "supported, refuted" in printed


def test_an_interruption_says_how_to_go_on(project, run):
    (project.folder / "a_stop.py").write_text("CLAIMS = ()\nraise KeyboardInterrupt\n")
    status, printed = run()
    assert status == 130
    assert "interrupted after 0 of 2 figures; the same command goes on from here" in printed


def test_an_unknown_name_is_an_error(run):
    status, printed = run("curve")
    assert status == 2
    assert "no figure 'curve'; there are line" in printed
