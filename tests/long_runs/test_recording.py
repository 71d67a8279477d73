import json
import re
import subprocess

import numpy as np
import pandas as pd
import pytest

from long_runs import recording as module
from long_runs.recording import current_commit, describe_device, library_versions, read_recorded, record_run

FRAME = pd.DataFrame({"seed": [0, 1], "arm": ["grpo", "rloo"], "gold": [0.1 + 0.2, float("nan")]})
RUN = {"command": "python -m llm_scale.experiments.learning", "seeds": [0, np.int64(1)], "wall_seconds": 12.3456}


def test_a_record_comes_back_as_it_was(tmp_path):
    record = record_run(tmp_path / "small" / "a", FRAME, **RUN, scale="small", device="one core", commit="abc")
    frame, read = read_recorded(tmp_path / "small" / "a")
    pd.testing.assert_frame_equal(frame, FRAME, check_exact=True)
    assert read == record == json.loads((tmp_path / "small" / "a" / "run.json").read_text())
    assert read["seeds"] == [0, 1] and read["wall_seconds"] == 12.346 and read["rows"] == 2
    assert (read["scale"], read["device"], read["commit"]) == ("small", "one core", "abc")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", read["date"])
    assert sorted(path.name for path in (tmp_path / "small" / "a").iterdir()) == ["data.csv", "run.json"]


def test_a_changed_table_is_refused(tmp_path):
    record_run(tmp_path, FRAME, **RUN)
    text = (tmp_path / "data.csv").read_text()
    (tmp_path / "data.csv").write_text(text.replace("rloo", "gspo"))
    with pytest.raises(ValueError, match=r"data.csv has SHA-256 \w{64}, run.json says \w{64}: run it again"):
        read_recorded(tmp_path)
    record_run(tmp_path, FRAME.head(1), **RUN)
    assert len(read_recorded(tmp_path)[0]) == 1


def test_a_run_killed_between_table_and_record_is_no_record(tmp_path, monkeypatch):
    record_run(tmp_path, FRAME, **RUN)
    writes = []

    def dies_at_the_second(path, content):
        writes.append(path.name)
        if len(writes) == 2:
            raise KeyboardInterrupt
        path.write_bytes(content)

    monkeypatch.setattr(module, "write_atomically", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        record_run(tmp_path, FRAME.head(1), **RUN)
    assert writes == ["data.csv", "run.json"]
    with pytest.raises(FileNotFoundError, match=r"run\.json"):
        read_recorded(tmp_path)


def test_what_is_no_record_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_recorded(tmp_path)
    record_run(tmp_path, FRAME, **RUN)
    good = (tmp_path / "run.json").read_text()
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "lacks command, seeds"),
        (good.replace('"device"', '"d"'), "run.json lacks device"),
    ):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_recorded(tmp_path)
    (tmp_path / "run.json").write_text(good)
    (tmp_path / "data.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"data\.csv"):
        read_recorded(tmp_path)


@pytest.mark.parametrize(
    ("frame", "changes", "error", "message"),
    [
        (FRAME.head(0), {}, ValueError, "a table of 0 rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, ValueError, r"columns \['a', 'a'\], expected rows and names"),
        (pd.DataFrame([[1, 2]]), {}, ValueError, r"columns \[0, 1\]"),
        (FRAME, {"wall_seconds": float("inf")}, ValueError, "wall_seconds is inf, expected a positive number"),
        (FRAME, {"wall_seconds": 0}, ValueError, "wall_seconds is 0"),
        (FRAME, {"note": object()}, TypeError, "not JSON serializable"),
        (FRAME, {"note": float("inf")}, ValueError, "not JSON compliant"),
    ],
)
def test_what_cannot_be_recorded_is_not_written(frame, changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        record_run(tmp_path / "a", frame, **{**RUN, **changes})
    assert not (tmp_path / "a").exists()


def test_what_made_it_is_found_out(tmp_path):
    record = record_run(tmp_path / "a", FRAME, **RUN)
    assert record["versions"] == library_versions() and {"python", "torch", "numpy"} <= set(record["versions"])
    assert record["device"] == describe_device() and re.search(r"\d+ cores, \d+ threads$", record["device"])
    assert current_commit(tmp_path) == "unknown"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (tmp_path / "a" / "run.json").unlink()
    assert current_commit(tmp_path).endswith("+changes")
    (tmp_path / "a" / "data.csv").unlink()
    assert re.fullmatch(r"[0-9a-f]{40}", current_commit(tmp_path))
