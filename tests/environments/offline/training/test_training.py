import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from environments.offline import train as command
from environments.offline.formats.d4rl import write_d4rl
from environments.offline.made.making import make_dataset
from environments.offline.training import training as room
from environments.offline.training.settings import FilterSettings
from environments.offline.training.training import train
from environments.offline.training.worlds import world_of
from long_runs.run_log import read_metrics
from rewardlab.adapters.offline_policy_files import load_policy
from rewardlab.dynamics import AdversarialSettings, FilteredModel, PlainModel, load_dynamics_reward, load_ensemble
from tests.environments.offline.training.killed_training import small_settings

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "pendulum.hdf5"
    write_d4rl(path, make_dataset("InvertedPendulum-v5", None, "random", rows=300, seed=0).table)
    return path


@pytest.fixture(scope="session")
def outcome(recording, tmp_path_factory):
    return train(small_settings(recording), tmp_path_factory.mktemp("run"), quiet=True)


def test_a_run_leaves_what_it_says(outcome):
    files = {path.name for path in outcome.folder.iterdir()}
    assert {"data.txt", "ensemble.safetensors", "dynamics_reward.safetensors", "policy.safetensors"} <= files
    for stage, turns in (("ensemble", 4), ("dynamics_reward", 12), ("policy", 6)):
        assert len(read_metrics(outcome.folder / stage)) == turns
        assert any((outcome.folder / stage / "tensorboard").iterdir())
    assert set(outcome.measured) == {"model_return", "return", "length", "gap"}
    assert read_metrics(outcome.folder / "policy")[-1]["return"] == outcome.measured["return"]
    assert isinstance(outcome.model, FilteredModel)


def test_files_hold_what_was_trained(outcome):
    observations = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    policy = load_policy(outcome.folder / "policy.safetensors")
    torch.testing.assert_close(policy(observations), outcome.sac.act(observations), rtol=0, atol=0)
    actions = policy(observations)
    ensemble = load_ensemble(outcome.folder / "ensemble.safetensors")
    assert torch.equal(
        ensemble(observations, actions)[0], outcome.model.candidate_model.ensemble(observations, actions)[0]
    )
    reward = load_dynamics_reward(outcome.folder / "dynamics_reward.safetensors")
    judged = reward(observations, actions, observations)
    assert torch.equal(judged, outcome.model.dynamics_reward(observations, actions, observations))


def test_a_finished_run_is_only_measured_again(outcome, recording, monkeypatch):
    monkeypatch.setattr(room.OfflineTraining, "round", lambda self: pytest.fail("trained again"))
    again = train(small_settings(recording), outcome.folder, quiet=True)
    assert again.measured == outcome.measured


def test_other_settings_and_other_data_are_refused(outcome, recording, tmp_path):
    settings = small_settings(recording)
    with pytest.raises(ValueError, match=r"of another run.*penalty_weight is 0.1 there and 0.2 here"):
        train(replace(settings, policy=replace(settings.policy, penalty_weight=0.2)), outcome.folder, quiet=True)
    other = tmp_path / "other.hdf5"
    write_d4rl(other, make_dataset("InvertedPendulum-v5", None, "random", rows=300, seed=1).table)
    with pytest.raises(ValueError, match=r"of another run.*data.sha256"):
        train(replace(settings, data=str(other)), outcome.folder, quiet=True)


@pytest.mark.parametrize("host", ["plain", "mobile"])
def test_every_host_and_trainer_runs(host, recording, tmp_path):
    settings = small_settings(recording)
    policy = replace(settings.policy, host=host, penalty_weight=0.0 if host == "plain" else 0.5, updates=8)
    adversarial = AdversarialSettings(iterations=4, snapshots=2, discriminator_steps=2, batch_size=16)
    trainer = "adversarial" if host == "mobile" else "none"
    chosen = FilterSettings(trainer=trainer, selection="argmax", threshold=0.6 if host == "mobile" else None)
    outcome = train(
        replace(settings, policy=policy, filter=chosen, adversarial=adversarial), tmp_path / "run", quiet=True
    )
    assert np.isfinite(list(outcome.measured.values())).all()
    if host == "plain":
        assert type(outcome.model) is PlainModel
        assert not (tmp_path / "run" / "dynamics_reward").exists()
    else:
        assert outcome.model.threshold == 0.6


def test_the_task_must_be_known(recording):
    table = make_dataset("InvertedPendulum-v5", None, "random", rows=20, seed=0).table
    settings = small_settings(recording, environment=None)
    with pytest.raises(ValueError, match="nobody says when the task"):
        world_of(settings, table)
    world = world_of(small_settings(recording), table)
    assert world.score is None
    assert world.action_space == gymnasium.spaces.Box(-3, 3, (1,), np.float32)
    with pytest.raises(ValueError, match=r"Hopper-v5 has observations \(11,\) and actions \(3,\), the recording"):
        world_of(small_settings(recording, environment="Hopper-v5"), table)
    named = world_of(small_settings("neorl2/DMSD-train", environment=None), table)
    assert named.make_environment is None
    assert named.score(np.array([849.51])) == pytest.approx(100)


def test_the_command(recording, tmp_path, capsys):
    options = command.Options(small_settings(recording), tmp_path / "run")
    settings = replace(options.settings, policy=replace(options.settings.policy, updates=4))
    assert command.main(replace(options, settings=settings)) == 0
    assert "model_return" in capsys.readouterr().out
    assert command.main(replace(options, settings=replace(settings, data=str(tmp_path / "no.hdf5")))) == 2
    assert "no such file" in capsys.readouterr().err


def run(recording, folder, killed_at=""):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CI": "1"}
    if killed_at:
        environment["KILLED_AT"] = killed_at
    script = "tests.environments.offline.training.killed_training"
    return subprocess.run(
        [sys.executable, "-m", script, recording, folder], env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_killed_three_times_it_comes_to_the_same_numbers(recording, outcome, tmp_path):
    for killed_at in ("ensemble:3", "dynamics_reward:7", "policy:5"):
        done = run(recording, tmp_path, killed_at)
        assert done.returncode == -signal.SIGKILL, done.stderr
    done = run(recording, tmp_path)
    assert done.returncode == 0, done.stderr
    for stage in ("ensemble", "dynamics_reward", "policy"):
        assert read_metrics(tmp_path / stage) == read_metrics(outcome.folder / stage)
    for name in ("ensemble", "dynamics_reward", "policy"):
        ours, theirs = (load_file(folder / f"{name}.safetensors") for folder in (tmp_path, outcome.folder))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_data_made_here_bring_their_environment(recording):
    table = make_dataset("InvertedPendulum-v5", None, "random", rows=20, seed=0).table
    world = world_of(small_settings("made/inverted-pendulum/medium", environment=None), table)
    assert world.make_environment().spec.id == "InvertedPendulum-v5"


@pytest.mark.parametrize("host", ["mopo", "mobile"])
def test_a_host_without_weight_is_refused(host, recording):
    settings = small_settings(recording)
    with pytest.raises(ValueError, match=f"the host '{host}' with penalty_weight 0 is the plain one"):
        replace(settings, policy=replace(settings.policy, host=host, penalty_weight=0.0))
