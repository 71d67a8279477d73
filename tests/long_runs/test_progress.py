import sys

import pytest

from long_runs import progress as module
from long_runs.progress import TrainingProgress, someone_watches


def run(capsys, **keywords):
    with TrainingProgress(4, "runs/a [b]", **keywords) as progress:
        progress.advance({"reward": 0.25, "kl": 3.0})
        progress.advance({"accuracy": 0.5})
        progress.note("held-out accuracy 0.4")
    return capsys.readouterr()


def test_silent_where_nobody_watches(capsys, monkeypatch):
    assert run(capsys) == ("", "")  # pytest's standard error is no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "true")
    assert not someone_watches() and run(capsys) == ("", "")
    monkeypatch.delenv("CI")
    assert someone_watches()


def test_it_counts_and_shows_the_last_numbers_and_where_results_are(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 18.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    with TrainingProgress(6, "runs/a [b]", done=2, enabled=True, shown=("reward", "accuracy")) as progress:
        progress.advance({"reward": 0.25, "kl": 3.0})
        task = progress._bar.tasks[0]
        assert (task.completed, task.total) == (3, 6) and task.fields["numbers"] == "reward 0.25, 2 s a step"
        progress.advance({"accuracy": 0.5}, steps=3)
        assert task.completed == 6 and task.fields["numbers"] == "reward 0.25, accuracy 0.5, 2 s a step"
        progress.note("held-out accuracy 0.4")
    shown = capsys.readouterr()
    assert shown.out == "" and "held-out accuracy 0.4\n" in shown.err
    assert "6/6" in shown.err and shown.err.endswith("results in runs/a [b]\n")


def test_an_error_goes_through_and_results_so_far_are_named(capsys):
    progress = TrainingProgress(2, "runs/a", enabled=True)
    with pytest.raises(RuntimeError, match="verifier"), progress:
        raise RuntimeError("verifier")
    assert capsys.readouterr().err.endswith("stopped; results so far in runs/a\n")
