"""Files, cache, interruption and broken contracts, on a small figure that really runs."""

import json

import pandas as pd
import pytest

from paper_figures.figure import Scale
from paper_figures.runner import FILES, FigureError, discover, read_record, run_all, select


def edit(project, old, new):
    path = project.folder / "line.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_figure_is_a_file_that_makes_claims(project):
    assert list(discover(project.folder)) == ["line"]


def test_files_hold_the_data_and_the_verdicts(project):
    result = project.run()
    assert not result.cached
    assert result.outcomes == {"rises": "supported", "steep": "refuted"}
    folder = project.output / "line"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "figure.svg").read_text()
    pd.testing.assert_frame_equal(pd.read_csv(folder / "data.csv"), pd.DataFrame({"x": [0, 1, 2], "y": [0, 2, 4]}))
    record = json.loads((folder / "verdict.json").read_text())
    assert record == result.record
    assert record["scale"] == "smoke"
    assert record["seed"] == 0
    assert record["claims"][0]["verdict"]["interval"] == [1.0, 3.0]
    assert record["table"]["rows"] == [["slope", pytest.approx(2 / 3)], ["missing", None]]
    assert {"python", "numpy", "matplotlib"} <= set(record["versions"])


def test_the_second_run_computes_nothing_and_changes_nothing(project):
    first = project.run()
    stamps = {name: (project.output / "line" / name).stat().st_mtime_ns for name in FILES}
    second = project.run()
    assert second.cached
    assert second.record == first.record
    assert project.times_computed() == 1
    assert stamps == {name: (project.output / "line" / name).stat().st_mtime_ns for name in FILES}


def test_an_edited_dependency_is_computed_again(project):
    project.run()
    project.set_slope(-1)
    result = project.run()
    assert not result.cached
    assert result.outcomes["rises"] == "refuted"
    assert project.times_computed() == 2


def test_scales_keep_their_results_beside_each_other(project):
    for scale in ("smoke", "small", "smoke", "small"):
        project.run(scale)
        rows = len(pd.read_csv(project.output / "line" / "data.csv"))
        assert rows == {"smoke": 3, "small": 5}[scale]
    assert project.times_computed() == 2


def test_workers_are_no_part_of_the_result(project):
    project.run()
    results = run_all([project.figure], Scale("smoke", workers=2), project.output, root=project.root)
    assert results["line"].cached


@pytest.mark.parametrize("name", FILES)
def test_a_lost_file_is_made_again(project, name):
    project.run()
    (project.output / "line" / name).unlink()
    project.run()
    assert (project.output / "line" / name).is_file()
    assert project.times_computed() == 1  # still kept for its scale


def test_a_half_written_result_does_not_count(project):
    project.run()
    kept = project.output / ".cache" / "smoke" / "line"
    (kept / "verdict.json").write_text('{"figure": "li')
    assert read_record(kept) is None
    assert not project.run().cached


def test_an_interrupted_run_goes_on_where_it_stopped(project):
    for name in ("later", "last"):
        (project.folder / f"{name}.py").write_text((project.folder / "line.py").read_text())
    figures = [discover(project.folder)[name] for name in ("line", "later", "last")]
    seen = []

    def interrupt(figure):
        seen.append(figure.id)
        if figure.id == "later":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(figures, Scale("smoke"), project.output, root=project.root, start=interrupt)
    assert seen == ["line", "later"]
    results = run_all(figures, Scale("smoke"), project.output, root=project.root)
    assert [results[figure.id].cached for figure in figures] == [True, False, False]


def test_an_interruption_inside_a_figure_leaves_nothing_behind(project):
    edit(project, "figure = Figure()", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        project.run()
    assert [path for path in project.output.rglob("*") if path.is_file()] == []


def test_one_figure_that_fails_does_not_stop_the_others(project):
    (project.folder / "broken.py").write_text("CLAIMS = ()\nraise RuntimeError('on purpose')\n")
    results = run_all(list(discover(project.folder).values()), Scale("smoke"), project.output, root=project.root)
    assert isinstance(results["broken"], RuntimeError)
    assert results["line"].outcomes["rises"] == "supported"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def plot", "def draw", "line.py does not define plot"),
        (
            '"steep": Verdict',
            '"step": Verdict',
            r"one verdict for each claim \['rises', 'steep'\], got \['rises', 'step'\]",
        ),
        ("TITLE =", 'EXTRA = ("no_such_module",)\nTITLE =', "line needs no_such_module; install it with"),
    ],
)
def test_a_broken_contract_is_named(project, old, new, message):
    edit(project, old, new)
    with pytest.raises(FigureError, match=message):
        project.run()


def test_gpu_scale_needs_a_gpu(project, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FigureError, match="needs a CUDA device"):
        project.run("gpu")


def test_an_unknown_name_lists_the_known_ones(project):
    with pytest.raises(FigureError, match="no figure 'curve'; there are line"):
        select(discover(project.folder), ["curve"])
