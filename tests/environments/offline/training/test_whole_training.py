"""What a whole training promises: from a recording to the policy's file."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from environments.offline.formats.d4rl import write_d4rl
from environments.offline.loading import load
from environments.offline.made.making import make_dataset
from environments.offline.terminations import termination_of
from environments.offline.training import training as room
from environments.offline.training.settings import FilterSettings
from environments.offline.training.training import train
from environments.offline.training.worlds import world_of
from long_runs.run_log import read_metrics
from rewardlab import dynamics
from rewardlab.adapters.offline_evaluation import evaluate_policy, model_returns
from rewardlab.adapters.offline_training import train_offline
from tests.environments.offline.tables import make_table
from tests.environments.offline.training.killed_training import small_settings

ROOT = Path(__file__).parents[4]
FILES = ("ensemble", "dynamics_reward", "policy")


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "pendulum.hdf5"
    write_d4rl(path, make_dataset("InvertedPendulum-v5", None, "random", rows=300, seed=0).table)
    return path


def short(recording, **changes):
    """Two rounds, evaluated at their end."""
    settings = small_settings(recording, evaluate_every=9)
    return replace(settings, policy=replace(settings.policy, updates=8), **changes)


def same_files(one, other, names=FILES):
    for name in names:
        ours, theirs = (load_file(folder / f"{name}.safetensors") for folder in (one, other))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


@pytest.mark.parametrize("host", ["plain", "mopo", "mobile"])
def test_a_filter_that_filters_nothing_leaves_every_weight_as_it_was(host, pendulum, tmp_path):
    settings = short(pendulum)
    policy = replace(settings.policy, host=host, penalty_weight=0.0 if host == "plain" else 0.1, successor_samples=2)
    uniform = FilterSettings(selection="uniform", rejected_share=None)
    for name, chosen in (("none", FilterSettings(trainer="none")), ("uniform", uniform)):
        train(replace(settings, policy=policy, filter=chosen), tmp_path / name, quiet=True)
    same_files(tmp_path / "none", tmp_path / "uniform", ("ensemble", "policy"))
    plain, filtered = (read_metrics(tmp_path / name / "policy") for name in ("none", "uniform"))
    assert [{**row, "dynamics_reward": None} for row in plain] == [{**row, "dynamics_reward": None} for row in filtered]
    assert all(np.isfinite(row["dynamics_reward"]) for row in filtered)


def test_every_setting_reaches_what_it_is_of(pendulum, tmp_path):
    chosen = FilterSettings(selection="argmax", temperature=0.3, rejected_share=0.2, minimal_length=2)
    settings = short(pendulum, filter=chosen, penalty="pairwise_difference", samples_per_elite=3, clip=7.0)
    outcome = train(settings, tmp_path / "share", quiet=True)
    model, candidates = outcome.model, outcome.model.candidate_model
    assert (model.selection, model.temperature, model.minimal_length) == ("argmax", 0.3, 2)
    assert (candidates.penalty, candidates.samples_per_elite, candidates.clip) == ("pairwise_difference", 3, 7.0)
    table = load(settings.data).table
    generator = torch.Generator().manual_seed(settings.seed)
    assert model.threshold == dynamics.rejection_threshold(model, table, 0.2, generator=generator)
    mobile = replace(settings.policy, host="mobile", penalty_weight=0.5, successor_samples=4)
    given = replace(settings, policy=mobile, filter=replace(chosen, threshold=0.45))
    outcome = train(given, tmp_path / "threshold", quiet=True)
    assert outcome.model.threshold == 0.45 and outcome.model.candidate_model.penalty is None
    assert (outcome.sac.successors.samples_per_elite, outcome.sac.successors.clip) == (4, 7.0)


def test_a_run_is_its_parts_put_together_by_hand(pendulum, tmp_path, monkeypatch):
    settings, seeds = short(pendulum, seed=3), []
    monkeypatch.setattr(room, "evaluate_policy", lambda *a, **o: seeds.append(o["seed"]) or evaluate_policy(*a, **o))
    outcome = train(settings, tmp_path, quiet=True)
    assert seeds == [3, 3]  # the pendulum's starts are so alike that its returns would not tell
    table, chance = load(settings.data).table, torch.Generator()
    fitted, report = dynamics.fit_ensemble(table, settings.ensemble, seed=3)
    model = dynamics.FilteredModel(
        dynamics.EnsembleCandidates(
            dynamics.calibrate(fitted, table, report.holdout_rows)[0], clip=None, penalty="aleatoric"
        ),
        dynamics.fit_noise_ladder(table, settings.noise_ladder, seed=3),
        termination=termination_of("inverted_pendulum"),
        threshold=None,
    )
    share = settings.filter.rejected_share
    model = model.with_threshold(dynamics.rejection_threshold(model, table, share, generator=chance.manual_seed(3)))
    space = gymnasium.spaces.Box(-3.0, 3.0, (1,), np.float32)
    sac = train_offline(table, space, model, settings.policy, seed=3)
    ours, theirs = (each.policy.state_dict() for each in (sac, outcome.sac))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    starts = torch.from_numpy(table.observations[table.episode_starts][:20])
    promised = model_returns(model, sac.act, starts, horizon=3, generator=chance.manual_seed(3)).returns.mean()
    make = partial(gymnasium.make, "InvertedPendulum-v5")
    whole, three = (evaluate_policy(sac.act, make, episodes=2, seed=3, max_steps=steps) for steps in (None, 3))
    assert whole.returns.mean() > three.returns.mean()
    assert outcome.measured == {
        "model_return": float(promised),
        "return": float(whole.returns.mean()),
        "length": float(whole.lengths.mean()),
        "gap": float(promised) - float(three.returns.mean()),
    }


def test_the_model_is_calibrated_once_on_rows_it_never_saw(pendulum, tmp_path):
    settings = short(pendulum)
    outcome = train(settings, tmp_path, quiet=True)
    table = load(settings.data).table
    fitted, report = dynamics.fit_ensemble(table, settings.ensemble, seed=settings.seed)
    calibrated, _ = dynamics.calibrate(fitted, table, report.holdout_rows)
    found = outcome.model.candidate_model.ensemble.calibration
    assert torch.equal(found, calibrated.calibration)
    assert not torch.equal(found, torch.ones_like(found))
    assert torch.equal(load_file(tmp_path / "ensemble.safetensors")["calibration"], found)


def test_rows_without_a_next_observation_reach_neither_model_nor_dynamics_reward(pendulum, tmp_path, monkeypatch):
    loaded = load(str(pendulum))
    table, unknown = loaded.table, loaded.table.terminals
    assert unknown.sum() > 20
    following = np.where(unknown[:, None], table.observations, table.next_observations)
    settings = short(pendulum)
    for name, extra in (("as recorded", 0), ("poisoned", 1000)):
        rewards = table.rewards + np.float32(extra) * unknown
        lost = replace(table, next_observations=following, next_valid=~unknown, rewards=rewards)
        monkeypatch.setattr(room, "load", lambda *_, lost=lost, **__: replace(loaded, table=lost))
        train(settings, tmp_path / name, quiet=True)
    same_files(tmp_path / "as recorded", tmp_path / "poisoned", ("ensemble", "dynamics_reward"))
    ours, theirs = (load_file(tmp_path / name / "policy.safetensors") for name in ("as recorded", "poisoned"))
    assert any(not torch.equal(ours[key], theirs[key]) for key in ours)  # a terminal's value needs no next observation


@pytest.mark.parametrize("column", ["actions", "rewards", "ends"])
def test_a_recording_that_differs_in_one_column_is_another(column, pendulum, tmp_path, monkeypatch):
    loaded, settings = load(str(pendulum)), short(pendulum, filter=FilterSettings(trainer="none"))
    table, last = loaded.table, np.arange(len(loaded.table)) == len(loaded.table) - 1
    assert table.terminals[-1]
    changed = {
        "actions": {"actions": table.actions + np.float32(1e-3) * last[:, None]},
        "rewards": {"rewards": table.rewards + np.float32(1e-3) * last},
        "ends": {"terminals": table.terminals & ~last, "timeouts": last},
    }
    train(settings, tmp_path, quiet=True)
    other = replace(table, **changed[column])
    monkeypatch.setattr(room, "load", lambda *_, **__: replace(loaded, table=other))
    with pytest.raises(ValueError, match=r"of another run.*data\.sha256"):
        train(settings, tmp_path, quiet=True)


def test_an_environment_brings_the_score_of_its_task(pendulum):
    table = make_table([4], ["timeout"], observation_size=11, action_size=3)
    world = world_of(small_settings(pendulum, environment="Hopper-v5"), table)
    np.testing.assert_allclose(world.score(np.array([-20.272305, 3234.3, 1000.0])), [0, 100, 31.3489], atol=1e-4)


def run(recording, folder, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CI": "1", **variables}
    script = "tests.environments.offline.training.killed_training"
    command = [sys.executable, "-m", script, recording, folder]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_it_comes_to_the_same_numbers(pendulum, tmp_path):
    """Also: another process, which hashes text another way, gives the same numbers."""
    whole = train(small_settings(pendulum), tmp_path / "whole", quiet=True).folder
    done = run(pendulum, tmp_path / "killed", KILLED_IN_CHECKPOINT="policy:2", PYTHONHASHSEED="1")
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = tmp_path / "killed" / "policy" / "checkpoints"
    assert any(kept.glob(".part-step-*/optimiser.safetensors")) and any(kept.glob("step-*"))
    done = run(pendulum, tmp_path / "killed", PYTHONHASHSEED="2")
    assert done.returncode == 0, done.stderr
    for stage in FILES:
        assert read_metrics(tmp_path / "killed" / stage) == read_metrics(whole / stage)
    same_files(whole, tmp_path / "killed")
