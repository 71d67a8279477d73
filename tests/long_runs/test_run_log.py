import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from long_runs.run_log import RunLog, read_metrics

NAMES = st.sampled_from(["reward", "accuracy", "stage/a, b", 'quoted "kl"'])
VALUES = st.dictionaries(NAMES, st.floats() | st.just(math.nan), max_size=4)


def written(folder, rows, **keywords):
    with RunLog(folder, tensorboard=False, **keywords) as log:
        for step, values in rows:
            log.write(step, values)
    return log.path


def test_rows_are_in_the_file_at_once_and_pandas_reads_them(tmp_path):
    log = RunLog(tmp_path, tensorboard=False)
    log.write(1, {"reward": 0.1 + 0.2, "kl": np.float32(0.5)})
    assert (tmp_path / "metrics.csv").read_text() == "step,reward,kl\n1,0.30000000000000004,0.5\n"
    log.write(2, {"reward": float("nan"), "kl": torch.tensor(2.0)})
    assert (tmp_path / "metrics.csv").read_text().splitlines()[-1] == "2,,2.0"
    log.write(5, {"kl": 1, "accuracy": True})
    log.close()
    log.close()
    frame = pd.read_csv(tmp_path / "metrics.csv", engine="python")
    assert list(frame.columns) == ["step", "reward", "kl", "accuracy"] and list(frame.step) == [1, 2, 5]
    assert frame.reward[0] == 0.1 + 0.2 and frame.reward.isna().sum() == 2
    assert list(frame.kl) == [0.5, 2.0, 1.0] and frame.accuracy[2] == 1.0


@settings(max_examples=60)
@given(rows=st.lists(VALUES, max_size=6), more=st.lists(VALUES, max_size=6))
def test_what_is_read_is_what_was_written(rows, more, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    everything = list(enumerate([*rows, *more]))
    written(folder, everything[: len(rows)])
    written(folder, everything[len(rows) :], resume_from_step=len(rows) - 1)
    expected = [
        {"step": step} | {name: value for name, value in values.items() if not math.isnan(value)}
        for step, values in everything
    ]
    assert read_metrics(folder) == expected


@settings(max_examples=60)
@given(
    rows=st.lists(VALUES, min_size=1, max_size=8),
    kept=st.integers(-1, 7),
    lost=st.integers(0, 30),
    split=st.booleans(),
)
def test_a_run_that_goes_on_writes_the_same_file(rows, kept, lost, split, tmp_path_factory):
    """Killed anywhere after the checkpoint, in the middle of a line too: the same bytes as one uninterrupted run."""
    folder, whole = tmp_path_factory.mktemp("killed"), tmp_path_factory.mktemp("whole")
    everything = list(enumerate(rows))
    if split:  # two writes for one step
        everything = [(step, part) for step, values in everything for part in (dict(list(values.items())[:1]), values)]
    kept = min(kept, len(rows) - 1)
    path = written(folder, everything)
    complete = path.read_bytes()
    lines = complete.splitlines(keepends=True)
    room = sum(map(len, lines[kept + 2 :]))  # header and rows 0 to `kept` are on the disk
    path.write_bytes(complete[: len(complete) - min(lost, room)])
    written(folder, [row for row in everything if row[0] > kept], resume_from_step=kept)
    assert path.read_bytes() == written(whole, everything).read_bytes()


def test_more_numbers_of_a_step_go_into_its_row(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write(1, {"a": 1.0})
        log.write(2, {"a": 2.0})
        log.write(2, {"a": 2.5})
        log.write(2, {"held_out": 7.0625})
        log.write(2, {"a": 3.0, "held_out": 7.0})  # a shorter row than the one in its place
        log.write(3, {"a": 4.0})
    assert log.path.read_text() == "step,a,held_out\n1,1.0,\n2,3.0,7.0\n3,4.0,\n"


def test_lost_rows_are_told(tmp_path):
    written(tmp_path, [(1, {"a": 1.0}), (2, {"a": 2.0})])
    with pytest.warns(UserWarning, match=r"metrics.csv ends at step 2, before the checkpoint's step 4"):
        written(tmp_path, [(5, {"a": 5.0})], resume_from_step=4)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 5]


def test_a_run_is_not_written_over(tmp_path):
    path = written(tmp_path, [(1, {"a": 1.0}), (2, {"a": 2.0})])
    with pytest.raises(FileExistsError, match=r"metrics.csv has 2 rows of a run already; choose another folder"):
        RunLog(tmp_path, tensorboard=False)
    assert len(read_metrics(tmp_path)) == 2
    written(tmp_path, [(1, {"b": 1.0})], resume_from_step=-1)
    assert path.read_text() == "step,b\n1,1.0\n"


@pytest.mark.parametrize(
    ("step", "values", "error", "message"),
    [
        (1, {"a": 1.0}, ValueError, "step 1 comes after step 2"),
        (3, {"step": 1.0}, ValueError, "no value may be called 'step'"),
        (3, {"a": "high"}, TypeError, "a is 'high', a str; expected a number"),
        (3, {"a": None}, TypeError, "a is None, a NoneType"),
        (3, {"a": torch.ones(2)}, TypeError, "a is tensor.*expected a number"),
    ],
)
def test_what_is_no_row_is_refused_and_not_written(step, values, error, message, tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write(2, {"a": 1.0})
        with pytest.raises(error, match=message):
            log.write(step, values)
        log.write(3, {"a": 2.0})
    assert log.path.read_text() == "step,a\n2,1.0\n3,2.0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,score\na,1\n", r"metrics.csv starts with 'name,score', expected a column 'step'"),
        ("step,a\n1,2,3\n", "line 2: 3 cells, expected 2"),
        ("step,a\n1,2\n2,high\n", "line 3: could not convert string to float: 'high'"),
    ],
)
def test_a_file_that_is_no_log_is_refused(text, message, tmp_path):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        RunLog(tmp_path, tensorboard=False, resume_from_step=5)
    assert (tmp_path / "metrics.csv").read_text() == text


def test_tensorboard_shows_one_run_of_what_was_killed(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with RunLog(tmp_path) as log:
        for step in range(1, 6):
            log.write(step, {"reward": float(step), "empty": float("nan")})
    killed = RunLog(tmp_path, resume_from_step=3)  # and never closed
    for step in range(4, 7):
        killed.write(step, {"reward": float(step) * 10})
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["reward"]
    assert [(event.step, event.value) for event in events.Scalars("reward")] == [
        *((step, float(step)) for step in (1, 2, 3)),
        *((step, step * 10.0) for step in (4, 5, 6)),
    ]
