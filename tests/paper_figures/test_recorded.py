"""Figures drawn from a recorded run: where it lies, what the report says of it, and what happens without one."""

import json

import pytest

from paper_figures.recorded import recorded_folder, recorded_run
from paper_figures.report import write_report
from paper_figures.runner import discover

RUN = {
    "command": "python -m llm_scale.experiments line --scale small",
    "device": "cpu, 2 threads",
    "commit": "abc1234",
    "date": "2026-11-21",
    "wall_seconds": 321.4,
}


@pytest.fixture
def recorded(project):
    """The small project, its figure drawn from a record at scale small."""
    path = project.folder / "line.py"
    path.write_text(path.read_text() + '\nRECORDED = ("small",)\n')
    folder = recorded_folder("line", "small", project.root)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RUN))
    (folder / "data.csv").write_text("x,y\n0,1\n")
    return project


def test_a_figure_says_at_which_scales_it_is_recorded(recorded):
    assert discover(recorded.folder)["line"].recorded == ("small",)


def test_the_report_marks_it_with_command_machine_and_time(recorded):
    assert recorded.run("small").record["recorded"] == RUN
    page = write_report(list(discover(recorded.folder).values()), recorded.output, {}, root=recorded.root).read_text()
    assert "<b>recorded</b>" in page
    assert "python -m llm_scale.experiments line --scale small" in page
    assert "321 s · cpu, 2 threads · commit abc1234 · 2026-11-21" in page


def test_at_other_scales_it_computes(recorded):
    assert recorded.run("smoke").record["recorded"] is None


def test_a_new_record_is_drawn_again(recorded):
    recorded.run("small")
    (recorded_folder("line", "small", recorded.root) / "data.csv").write_text("x,y\n0,2\n")
    assert not recorded.run("small").cached


def test_without_a_record_the_command_that_makes_it_is_named(project):
    with pytest.raises(FileNotFoundError, match=r"python -m llm_scale\.experiments line --scale gpu"):
        recorded_run("line", "gpu", project.root)
