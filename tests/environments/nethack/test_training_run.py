"""Trainings in NetHack, whole but tiny: every reward, a kill in the middle, the same numbers for the same seed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from environments.nethack.training import run as run_module
from environments.nethack.training.build import build, games_of
from environments.nethack.training.run import CURVE_COLUMNS, train
from environments.nethack.training.saved_state import array_free, global_generators
from environments.nethack.training.settings import (
    AnnotationSettings,
    GameSettings,
    IntrinsicSettings,
    PolicySettings,
    ShapingSettings,
    TrainingSettings,
)
from long_runs.checkpoints import load_checkpoint
from long_runs.run_log import read_metrics

SMALL = PolicySettings(games=4, rollout_steps=16, batch_size=64, epochs=1, hidden=(8,), memory=4)
BASE = TrainingSettings(
    game=GameSettings(episode_steps=20, prompts="open"),
    policy=SMALL,
    steps=192,
    curve_every=64,
    checkpoint_every=64,
    evaluation_episodes=0,
    window=10,
)


def labelled(kind, **changes):
    """Settings of a tiny training that learns from labels too; a tick of labels passes after 1000 steps."""
    return replace(BASE, intrinsic=IntrinsicSettings(kind, 1.0), **changes)


def same(first, second):
    """Whether two nested states are the same, to the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second or (first != first and second != second)


def test_a_run_leaves_curve_numbers_policy_and_evaluation(tmp_path):
    outcome = train(replace(BASE, evaluation_episodes=3), tmp_path)
    assert tuple(outcome.curve.columns) == CURVE_COLUMNS
    assert outcome.curve.step.tolist() == [64, 128, 192]
    last = outcome.curve.iloc[-1]
    assert last.episodes >= 8
    assert 0 < last.length <= 20
    assert last.paid == 0
    assert 0 <= last.frozen_share <= 1
    assert outcome.measured["episodes"] == 3
    assert outcome.measured["length"] <= 20
    for name in ("curve.csv", "evaluation.json", "policy.safetensors", "metrics.csv", "tensorboard", "checkpoints"):
        assert (tmp_path / name).exists()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "curve.csv"), outcome.curve, check_dtype=False)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [64, 128, 192]
    assert {"reward/extrinsic", "reward/intrinsic_paid", "reward/total", "train/loss"} <= set(rows[-1])


def test_the_same_seed_gives_the_same_run(tmp_path):
    settings = replace(BASE, intrinsic=IntrinsicSettings("counts", 0.1), steps=128, extrinsic_coefficient=0.2)
    first, second = (train(settings, tmp_path / name).curve for name in "ab")
    pd.testing.assert_frame_equal(first, second)
    assert first.iloc[-1].paid > 0
    numbers = read_metrics(tmp_path / "a")[-1]
    assert numbers["reward/intrinsic_paid"] == pytest.approx(0.1 * numbers["reward/intrinsic"], rel=1e-6)
    assert numbers["reward/extrinsic_used"] == pytest.approx(0.2 * numbers["reward/extrinsic"], rel=1e-6)
    assert numbers["reward/extrinsic"] != 0
    other = train(replace(settings, seed=1), tmp_path / "c").curve
    assert not first.equals(other)


def test_the_game_is_the_one_that_was_asked_for():
    asked = GameSettings("staircase", actions="navigation", episode_steps=7, penalty=-0.5, prompts="open")
    games = games_of(replace(BASE, game=asked), seed=3)
    game = games.games[0]
    game.reset(seed=0)
    rewards = [game.step(place)[1] for place in (0, 2, 4, 6, 1, 3, 5)]  # some bump into a wall
    assert set(rewards) <= {0.0, -0.5, 0.5, 1.0}
    assert -0.5 in rewards
    assert games.action_space.n == 8
    with pytest.raises(RuntimeError):
        game.step(0)  # it was cut off after seven
    games.close()


def test_labels_come_and_pay(tmp_path):
    """The rules of this annotator call every message helpful, so that a tiny run is paid too."""
    settings = labelled("retrieval", steps=1216, curve_every=1216, checkpoint_every=10**6)
    settings = replace(settings, annotation=AnnotationSettings("noisy", accuracy=0.0, labels_per_tick=8))
    last = train(settings, tmp_path).curve.iloc[-1]
    assert last.labels == 8
    assert last.paid > 0
    assert last.true_positive_share == 0  # nothing helpful happens in 20 steps
    found = read_metrics(tmp_path)[-1]
    assert found["intrinsic/delivered"] == 8
    assert found["intrinsic/waiting"] > 0


def test_a_killed_run_goes_on_with_everything_it_had(tmp_path, monkeypatch):
    settings = labelled("retrieval", steps=1152, curve_every=64, checkpoint_every=1088)
    settings = replace(settings, annotation=AnnotationSettings("noisy", accuracy=0.5, labels_per_tick=8, delay=0))
    states = []

    def everything(run):
        return array_free(
            {
                "rewards": run.training.rewards.state_dict(),
                "games": run.training.games.state_dict(),
                "policy": dict(run.model.policy.state_dict()),
                "optimiser": run.model.policy.optimizer.state_dict(),
                "generators": global_generators(),
                "rows": run.rows,
                "steps": run.steps,
                "updates": run.model._n_updates,
            }
        )

    saving = run_module._Run.save

    def save_then_die(run):
        saving(run)
        if run.steps == 1088:
            states.append(everything(run))
            raise KeyboardInterrupt

    monkeypatch.setattr(run_module._Run, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path)
    monkeypatch.setattr(run_module._Run, "save", saving)
    labels = states[0]["rewards"]["intrinsic"]["intrinsic"]["model"]["labels"]
    assert len(labels) == 8
    checkpoint = load_checkpoint(tmp_path / "checkpoints", settings=settings)
    training = build(settings, tmp_path)
    run = run_module._Run(settings, tmp_path, training)
    np.random.random(3)  # noqa: NPY002 - the process has drawn other numbers since
    torch.rand(3)
    run.load(checkpoint.model, checkpoint.optimiser, checkpoint.extra)
    assert same(everything(run), states[0])
    training.close()
    said = []
    outcome = train(settings, tmp_path, say=said.append)
    assert "1,088" in said[0]
    assert "begin anew" in said[0]
    assert outcome.curve.step.tolist() == list(range(64, 1153, 64))
    assert outcome.curve.labels.is_monotonic_increasing
    assert outcome.curve.labels.iloc[-1] == 8
    assert [row["step"] for row in read_metrics(tmp_path)] == outcome.curve.step.tolist()
    pd.testing.assert_frame_equal(train(settings, tmp_path).curve, outcome.curve)  # finished: nothing is done again


def test_another_run_in_the_folder_is_refused(tmp_path):
    train(replace(BASE, steps=64), tmp_path)
    with pytest.raises(ValueError, match=r"policy\.learning_rate is 0\.0003 there and 0\.001 here"):
        train(replace(BASE, steps=64, policy=replace(SMALL, learning_rate=1e-3)), tmp_path)


def test_shaping_is_paid_and_the_return_stays_the_tasks(tmp_path):
    plain = train(replace(BASE, steps=64), tmp_path / "plain")
    shaped = train(replace(BASE, steps=64, shaping=ShapingSettings("exploration", 0.1)), tmp_path / "shaped")
    ours, theirs = (read_metrics(tmp_path / name)[0] for name in ("shaped", "plain"))
    assert ours["reward/extrinsic_used"] != theirs["reward/extrinsic_used"]
    assert shaped.curve["return"].iloc[0] == pytest.approx(plain.curve["return"].iloc[0], nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["retrieval", "classification", "ranking", "cosine", "counts", "first_visit", "product", "rnd", "icm"]
)
def test_every_reward_trains(kind, tmp_path):
    outcome = train(replace(BASE, intrinsic=IntrinsicSettings(kind, 0.1), steps=1152, curve_every=576), tmp_path)
    last = outcome.curve.iloc[-1]
    assert np.isfinite(last.paid)
    assert (last.labels > 0) == (kind in ("retrieval", "classification", "ranking"))
    if kind in ("counts", "first_visit", "product", "rnd", "icm"):
        assert last.paid > 0


@pytest.mark.slow
def test_memory_minihack_and_a_process_that_labels(tmp_path):
    recurrent = replace(BASE, policy=replace(SMALL, algorithm="recurrent_ppo"), evaluation_episodes=2)
    assert len(train(recurrent, tmp_path / "memory").curve) == 3
    room = replace(
        BASE, game=GameSettings("minihack/MiniHack-Room-5x5-v0", episode_steps=60), extrinsic_coefficient=1.0
    )
    room = replace(room, steps=512, curve_every=512)
    assert train(room, tmp_path / "room").curve.success.iloc[-1] > 0
    beside = labelled("retrieval", annotation=AnnotationSettings(where="process"))
    train(beside, tmp_path / "beside")
    assert (tmp_path / "beside" / "labels.jsonl").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_command_killed_outright_goes_on(tmp_path):
    command = [sys.executable, "-m", "environments.nethack.train", "--folder", str(tmp_path), "--steps", "4096"]
    command += ["--policy.rollout-steps", "32", "--checkpoint-every", "512", "--curve-every", "512"]
    command += ["--game.episode-steps", "40", "--intrinsic.kind", "retrieval", "--evaluation-episodes", "2"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(signal.SIGKILL)
    started.wait()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert "games in progress begin anew" in ran.stderr
    steps = [row["step"] for row in read_metrics(tmp_path)]
    assert steps == list(range(256, 4097, 256))
    assert pd.read_csv(tmp_path / "curve.csv").step.tolist() == list(range(512, 4097, 512))


def test_scale_clip_and_forms_of_ranking_reach_what_they_are_for(tmp_path):
    ranking = IntrinsicSettings("ranking", pairs="all", normalisation="released")
    training = build(replace(BASE, intrinsic=ranking, extrinsic_scale=0.1, extrinsic_clip=10.0), tmp_path)
    try:
        assert (training.rewards.extrinsic_scale, training.rewards.extrinsic_clip) == (0.1, 10.0)
        model = training.ledger.intrinsic.model
        assert (model.normalisation, model._buffer.duplicates) == ("released", True)
    finally:
        training.close()
