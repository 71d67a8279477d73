import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rewardlab.shaping.sampled import checkpoint as module
from rewardlab.shaping.sampled.checkpoint import load_checkpoint, save_checkpoint
from tests.shaping.sampled.killed_training import trainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
ROOT = Path(__file__).parents[3]


def run(kind, path, deaths):
    command = [sys.executable, "-m", "tests.shaping.sampled.killed_training", kind, str(path), str(deaths)]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, cwd=ROOT, env=where, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("kind", ["barfi", "running", "reinforce"])
def test_a_killed_training_goes_on_to_the_same_numbers(kind, tmp_path):
    path = tmp_path / "training.pt"
    for deaths in (18, 14):  # in episode 18: the last checkpoint is of 15; then in episode 15 + 14
        died = run(kind, path, deaths)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert path.exists()
    assert load_checkpoint(path)["episodes"] == 25
    whole, resumed = trainer(kind), trainer(kind)
    history, other = whole.train(40), resumed.train(40, checkpoint=path)
    assert resumed.episodes == 40 and load_checkpoint(path)["episodes"] == 40
    assert history.episodes == other.episodes
    for column, values in history.updates.items():
        np.testing.assert_array_equal(values, other.updates[column])
    for name, part in whole.learned().items():
        assert_same(part.state_dict(), resumed.learned()[name].state_dict())


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        for one, other in zip(*([v] if not isinstance(v, list) else v for v in (value, theirs[name])), strict=True):
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_kill_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_checkpoint(path, {"episodes": 1})

    def half(state, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(module.torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"episodes": 2})
    assert load_checkpoint(path) == {"episodes": 1}


def test_checkpoints_load_without_running_code(tmp_path):
    path = tmp_path / "training.pt"
    trainer("barfi").train(12, checkpoint=path)
    payload = torch.load(path, weights_only=True)
    assert payload["state"]["episodes"] == 12
    assert sorted(os.listdir(tmp_path)) == ["training.pt"]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("write", [pickle.dumps, lambda evil: b"text", lambda evil: b""])
def test_files_that_are_no_checkpoints(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pt"
    path.write_bytes(write(Evil()))
    with pytest.raises(ValueError, match=r"bad.pt is no checkpoint"):
        load_checkpoint(path)
    torch.save({"state": Evil()}, path)
    with pytest.raises(ValueError, match="is no checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "evil").exists()
    torch.save({"version": 7}, path)
    with pytest.raises(ValueError, match="holds version 7, expected 1"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize("state", [{"a": np.zeros(2)}, {"a": [1, {"b": object()}]}, {"a": Evil()}])
def test_what_could_not_be_loaded_is_not_saved(state, tmp_path):
    with pytest.raises(TypeError, match=r"state\['a'\].* expected tensors, numbers, text and None only"):
        save_checkpoint(tmp_path / "state.pt", state)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_training(tmp_path):
    path = tmp_path / "training.pt"
    trainer("barfi").train(5, checkpoint=path)
    with pytest.raises(ValueError, match="the checkpoint has baseline 'none', this trainer 'running'"):
        trainer("running").train(6, checkpoint=path)
    with pytest.raises(ValueError, match="the checkpoint has"):
        trainer("reinforce").train(6, checkpoint=path)


def test_no_bar_without_a_person_and_one_when_asked(capsys, monkeypatch):
    trainer("reinforce").train(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "true")
    trainer("reinforce").train(3)
    assert capsys.readouterr().err == ""
    trainer("reinforce").train(3, progress=True)
    assert "3/3" in capsys.readouterr().err
