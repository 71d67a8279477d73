import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from long_runs import checkpoints as module
from long_runs.checkpoints import differences, latest_step, load_checkpoint, save_checkpoint
from tests.long_runs.killed_run import SETTINGS, train, write

ROOT = Path(__file__).parents[3]
KILLS = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


def run(*arguments):
    command = [sys.executable, "-m", "tests.long_runs.killed_run", *map(str, arguments)]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, cwd=ROOT, env=where, capture_output=True, text=True, check=False, timeout=120)


def saved(folder, step=3, **changes):
    parts = {"model": {"w": torch.arange(6.0).reshape(2, 3)}, "optimiser": {}, "generators": {}, "settings": {"a": 1}}
    return save_checkpoint(folder, step, **{**parts, **changes})


@KILLS
def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path):
    for deadly, last in ((8, 5), (14, 10)):
        died = run("train", tmp_path / "killed", deadly)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert latest_step(tmp_path / "killed" / "checkpoints") == last
        assert ",1.0" in (tmp_path / "killed" / "metrics.csv").read_text().splitlines()[-1]  # half a step is logged
    resumed, whole = train(tmp_path / "killed", 20), train(tmp_path / "whole", 20)
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name
    rows = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("killed", "whole")]
    header = rows[0][0].split(",")
    assert len(rows[0]) == 21 and set(header) == {"step", "loss", "best", "held_out", "half"}
    ours = [dict(zip(header, row.split(","), strict=True)) for row in rows[0][1:]]
    for row, other in zip(ours, rows[1][1:], strict=True):
        assert row.pop("half") == "" and list(row.values()) != []
        assert row == dict(zip(rows[1][0].split(","), other.split(","), strict=True))


@KILLS
def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    done = run("write", tmp_path)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    calls = [line for line in lines if line[0] == "call"]
    assert len(calls) > 30 and sum(line[-1] == "1" for line in calls) == len(calls) - 2
    assert {line[3] == line[4] for line in calls if line[-1] == "1"} == {True, False}  # old and new have both been left
    assert any(line[0] == "time" for line in lines)  # how many of these come in time depends on the machine
    left = lines[-1]
    assert left[0] == "left" and len(left) == 3 and all(name.startswith("step-") for name in left[1:])


def test_state_comes_back_as_it_was(tmp_path):
    linear = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(linear.parameters(), betas=(0.8, 0.9))
    linear(torch.ones(3)).sum().backward()
    optimiser.step()
    generators = {"a": torch.Generator().manual_seed(1), "b": np.random.default_rng(2)}
    torch.rand(5, generator=generators["a"])
    extra = {
        "nested": [1, 2.5, (3, "x"), None, True, {"deep": torch.ones(2, dtype=torch.float64)}],
        "kinds": {5: float("nan"), 6: float("-inf"), -1: 0.1 + 0.2},
        "$tensor": "not one",
        "types": [torch.tensor(7), torch.zeros(0), torch.ones(3, dtype=torch.bfloat16), torch.tensor([True, False])],
        "view": torch.arange(12.0).reshape(3, 4).T[1:],
    }
    save_checkpoint(
        tmp_path,
        7,
        model=linear.state_dict(),
        optimiser=optimiser.state_dict(),
        generators=generators,
        settings={"a": 1},
        extra=extra,
    )
    drawn = torch.rand(4, generator=generators["a"]), generators["b"].normal(size=4)
    loaded = load_checkpoint(tmp_path, settings={"a": 1})
    assert loaded.step == 7 and loaded.settings == {"a": 1}
    assert_same(loaded.model, dict(linear.state_dict()))
    assert_same(loaded.optimiser, optimiser.state_dict())
    assert_same(loaded.extra, extra)
    loaded.restore_generators(generators)
    assert torch.equal(torch.rand(4, generator=generators["a"]), drawn[0])
    np.testing.assert_array_equal(generators["b"].normal(size=4), drawn[1])


def assert_same(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    else:
        assert ours == theirs or (ours != ours and theirs != theirs)


def test_tied_weights_are_kept_once_and_the_file_is_an_ordinary_one(tmp_path):
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    path = saved(tmp_path, model={"embedding": weight, "head": weight, "row": weight[1], "first": weight[0]})
    tensors = load_file(path / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "model.embedding": (2, 3),
        "model.row": (3,),
        "model.first": (3,),
    }
    loaded = load_checkpoint(tmp_path).model
    assert loaded["embedding"] is loaded["head"] and not loaded["head"].requires_grad
    assert torch.equal(loaded["row"], weight[1]) and torch.equal(loaded["first"], weight[0])


def test_the_last_ones_are_kept(tmp_path):
    assert load_checkpoint(tmp_path) is None and latest_step(tmp_path / "none") is None
    for step in (9, 10, 100, 101):
        saved(tmp_path, step, keep=3, extra={"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100", "step-00000101"]
    assert load_checkpoint(tmp_path).extra == {"step": 101} and latest_step(tmp_path) == 101
    assert load_checkpoint(tmp_path, step=10).extra == {"step": 10}
    assert load_checkpoint(tmp_path, step=9) is None
    saved(tmp_path, 101, keep=1, extra={"step": "again"})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000101"]
    assert load_checkpoint(tmp_path).extra == {"step": "again"}


def test_leftovers_of_killed_processes_are_no_checkpoints_and_go(tmp_path):
    saved(tmp_path, 1)
    for name in (".part-step-00000002", ".deleted-step-00000000"):
        (tmp_path / name).mkdir()
    assert load_checkpoint(tmp_path).step == 1
    saved(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    saved(tmp_path, 1)

    def full(tensors, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"] and load_checkpoint(tmp_path).step == 1


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "rest.safetensors", "state.json"])
def test_damaged_files_are_refused(name, tmp_path):
    write(tmp_path, 4)
    file = tmp_path / "step-00000004" / name
    good = file.read_bytes()
    file.write_bytes(good[:-20])
    with pytest.raises(ValueError, match=rf"step-00000004/{name} (has {len(good) - 20} bytes, expected|is cut short)"):
        load_checkpoint(tmp_path)
    middle = len(good) // 2
    file.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    with pytest.raises(ValueError, match=rf"{name} (has SHA-256 \w+, expected \w+|is cut short or changed)"):
        load_checkpoint(tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match=rf"{name} is missing"):
        load_checkpoint(tmp_path)
    file.write_bytes(good)
    assert load_checkpoint(tmp_path).step == 4


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"", b"[]\n", b'{"version": 1}\n{}', b"\xff\xfe"])
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path)
    (path / "state.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"state.json is missing or no checkpoint's"):
        load_checkpoint(tmp_path)
    (path / "state.json").write_text(json.dumps({"version": 9, "sha256": ""}) + "\n{}\n")
    with pytest.raises(ValueError, match="is of version 9, expected 1"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_another_runs_checkpoint_is_refused_with_what_differs(tmp_path):
    train(tmp_path, 5)
    other = {"width": 4, "learning_rate": 0.1, "optimiser": {"name": "adamw", "betas": (0.9, 0.99)}, "task": "sums"}
    expected = (
        r"step-00000005 is of another run: learning_rate is 0.05 there and 0.1 here; "
        r"optimiser.betas is \[0.9, 0.95\] there and \[0.9, 0.99\] here; task is absent there and 'sums' here"
    )
    with pytest.raises(ValueError, match=expected):
        train(tmp_path, 6, settings=other)
    assert load_checkpoint(tmp_path / "checkpoints", settings=SETTINGS).step == 5
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": 3}) == ["b is {'c': 2} there and 3 here"]
    assert differences({"a": 1}, {}) == ["a is 1 there and absent here"]


def test_settings_may_be_a_dataclass(tmp_path):
    @dataclasses.dataclass
    class Lora:
        rank: int = 8

    @dataclasses.dataclass
    class Settings:
        reward: Path = Path("rewards/correct.toml")
        betas: tuple = (0.9, 0.99)
        lora: Lora | None = dataclasses.field(default_factory=Lora)

    saved(tmp_path, settings=Settings())
    assert load_checkpoint(tmp_path, settings=Settings()) is not None
    with pytest.raises(ValueError, match=r"lora\.rank is 8 there and 4 here"):
        load_checkpoint(tmp_path, settings=Settings(lora=Lora(4)))
    with pytest.raises(ValueError, match=r"lora is \{'rank': 8\} there and None here"):
        load_checkpoint(tmp_path, settings=Settings(lora=None))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"extra": {"a": [1, {"b": object()}]}}, TypeError, r"rest.extra.a.1.b is a object, expected tensors, numbers"),
        ({"model": {"w": np.zeros(2)}}, TypeError, "model.w is a ndarray, expected tensors"),
        ({"extra": {"a": {1.5: 2}}}, TypeError, r"rest.extra.a has the key 1.5, a float; expected text"),
        ({"settings": {"a": object()}}, TypeError, "settings holds .*object; expected numbers, text"),
        ({"settings": {"a": float("nan")}}, ValueError, "not JSON compliant"),
        ({"settings": "a"}, TypeError, "settings is a str, expected a dataclass or a dict"),
        ({"step": -1}, ValueError, "step is -1 and keep 2, expected at least 0 and at least 1"),
        ({"keep": 0}, ValueError, "step is 3 and keep 0"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        saved(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_generators_of_another_name_or_kind(tmp_path):
    saved(tmp_path, generators={"a": torch.Generator()})
    loaded = load_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"has the generators \['a'\], not \['b'\]"):
        loaded.restore_generators({"b": torch.Generator()})
    with pytest.raises(ValueError, match="generator 'a' is a Generator, another kind than was saved"):
        loaded.restore_generators({"a": np.random.default_rng(0)})


def test_a_model_file_of_another_checkpoint_is_refused(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2)
    newest = tmp_path / "step-00000002" / "model.safetensors"
    newest.write_bytes((tmp_path / "step-00000001" / "model.safetensors").read_bytes())  # same size, other numbers
    with pytest.raises(ValueError, match=r"model\.safetensors has SHA-256"):
        load_checkpoint(tmp_path)
    save_file({}, newest)
    with pytest.raises(ValueError, match=r"has \d+ bytes, expected"):
        load_checkpoint(tmp_path)
