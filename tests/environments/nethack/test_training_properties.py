"""What must hold of a whole training in NetHack: the same seed repeats it, a kill loses no label, secrets stay out."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from environments.nethack.games import make_game
from environments.nethack.training import rewards as rewards_module
from environments.nethack.training.build import build
from environments.nethack.training.run import train
from environments.nethack.training.saved_state import with_arrays
from environments.nethack.training.settings import (
    AnnotationSettings,
    GameSettings,
    IntrinsicSettings,
    PolicySettings,
    TrainingSettings,
)
from long_runs.checkpoints import load_checkpoint
from long_runs.run_log import read_metrics
from rewardlab.intrinsic.message_model_files import save_message_reward
from rewardlab.intrinsic.motif import fit_motif

KEY = "sk-this-must-not-be-written-anywhere"
TINY = TrainingSettings(
    game=GameSettings(episode_steps=20, prompts="open"),
    policy=PolicySettings(games=4, rollout_steps=16, batch_size=64, epochs=1, hidden=(8,), memory=4),
    steps=256,
    curve_every=64,
    checkpoint_every=128,
    evaluation_episodes=0,
    window=10,
)


class Everything(BaseCallback):
    """Keeps what was seen, done, said and paid."""

    def __init__(self, games):
        super().__init__()
        self.games, self.kept = games, []

    def _on_step(self):
        arrivals = self.games.arrivals()
        self.kept += [arrivals.messages.copy(), arrivals.dones.copy(), arrivals.next_observations.copy()]
        return True

    def _on_rollout_end(self):
        buffer = self.model.rollout_buffer
        self.kept += [getattr(buffer, name).copy() for name in ("actions", "rewards", "advantages")]


def lived(settings, folder):
    training = build(settings, folder)
    watch = Everything(training.games)
    training.model.learn(settings.steps, callback=watch)
    training.close()
    return watch.kept, training.rewards.numbers


@pytest.mark.parametrize("kind", ["retrieval", "classification", "ranking", "icm"])
def test_the_same_seed_gives_the_same_games_and_the_same_rewards(kind, tmp_path, monkeypatch):
    """Labels, their errors drawn anew at each answer, and the order they are asked in included."""
    monkeypatch.setattr(rewards_module, "TICK", 64)
    settings = replace(TINY, intrinsic=IntrinsicSettings(kind, 1.0))
    if kind != "icm":
        labels = AnnotationSettings("noisy", accuracy=0.6, noise="fresh", labels_per_tick=5, order="random")
        settings = replace(settings, annotation=labels)
    (one, numbers), (again, its), (other, _) = (
        lived(replace(settings, seed=seed), tmp_path / str(place)) for place, seed in enumerate((3, 3, 4))
    )
    assert all(np.array_equal(left, right) for left, right in zip(one, again, strict=True))
    assert numbers == pytest.approx(its, nan_ok=True, abs=0)
    assert not all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))
    assert kind == "icm" or numbers["intrinsic/delivered"] >= 10


def test_a_reward_that_was_fitted_before_pays(tmp_path):
    """Motif in the loop: this one was taught to like walls."""
    texts = ["It's a wall.", "It's solid stone.", "Never mind.", "Unknown command '^M'.", "What a strange direction!"]
    pairs = [(good, bad) for good in texts[:2] for bad in texts[2:]]
    generator = torch.Generator().manual_seed(0)
    fitted = fit_motif(pairs, [0] * len(pairs), generator=generator, network="hashed", epochs=50)
    save_message_reward(tmp_path / "motif.safetensors", fitted)
    motif = IntrinsicSettings("motif", 1.0, model_file=str(tmp_path / "motif.safetensors"))
    training = build(replace(TINY, intrinsic=motif), tmp_path)
    training.model.learn(TINY.steps)
    said = training.ledger.intrinsic.table.texts
    paid = dict(zip(said, training.ledger.intrinsic.model.rewards(said), strict=True))
    training.close()
    assert paid["It's a wall."] > 0 == paid[""] == paid["Unknown command '^M'."]


def test_a_key_and_an_endpoint_that_is_not_there(tmp_path, monkeypatch):
    """Training goes to its end without labels, and nothing it leaves behind holds the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    labels = AnnotationSettings("endpoint", where="process", base_url="http://127.0.0.1:9/v1")
    settings = replace(TINY, intrinsic=IntrinsicSettings("retrieval", 1.0), annotation=labels)
    curve = train(settings, tmp_path).curve
    assert curve.step.tolist() == [64, 128, 192, 256]
    assert curve.labels.tolist() == curve.paid.fillna(0).tolist() == [0] * 4
    assert read_metrics(tmp_path)[-1]["intrinsic/waiting"] > 0
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"labels.jsonl", "state.json", "metrics.csv"} <= {path.name for path in left}
    assert not [path for path in left if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1?api-key=secret"])
def test_settings_take_no_secret(url):
    with pytest.raises(ValueError, match="settings are saved with every checkpoint") as caught:
        AnnotationSettings("endpoint", where="process", base_url=url)
    assert "secret" not in str(caught.value)


def test_games_begin_as_published():
    """About 55 cells are known, and stairs down are not among them; of 200 games none showed them."""
    game, known = make_game("score"), []
    for seed in range(60):
        seen, _ = game.reset(seed=seed)
        known.append(np.count_nonzero(seen["glyphs"] != 2359))
        assert ord(">") not in seen["chars"]
    assert 45 < np.mean(known) < 65
    game.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_no_open_file_is_left_behind():
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    make_game("score", seed=0).close()
    before = open_files()
    for seed in range(20):
        game = make_game("score", seed=seed)
        game.reset()
        game.step(1)
        game.close()
    assert open_files() <= before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_kills_lose_no_label_and_double_none(tmp_path):
    """The command, annotation in its own process, killed before its first checkpoint and after one, then run out."""
    command = [sys.executable, "-m", "environments.nethack.train", "--folder", str(tmp_path), "--steps", "4096"]
    command += ["--policy.rollout-steps", "32", "--checkpoint-every", "512", "--curve-every", "512"]
    command += ["--game.episode-steps", "100", "--evaluation-episodes", "0", "--intrinsic.kind", "retrieval"]
    command += ["--annotation.where", "process", "--annotation.annotator", "noisy", "--annotation.accuracy", "0.5"]
    journal, checkpoints = tmp_path / "labels.jsonl", tmp_path / "checkpoints"

    def labels():
        lines = journal.read_bytes().split(b"\n")[1:-1] if journal.exists() else []
        return [json.loads(line) for line in lines]

    for saved in (False, True):
        before = len(labels())
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while len(labels()) == before or (saved and not list(checkpoints.glob("step-*"))):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    written = labels()
    assert [entry["number"] for entry in written] == list(range(len(written)))
    assert len({entry["item"] for entry in written}) == len(written)
    online = with_arrays(load_checkpoint(checkpoints).extra["rewards"])["intrinsic"]["intrinsic"]
    had = dict(zip(online["model"]["messages"], online["model"]["labels"], strict=True))
    seen = online["annotations"]["seen"]
    assert had == {entry["item"]: entry["label"] for entry in written if entry["number"] < seen}
    assert len(had) > 20
