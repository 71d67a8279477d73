"""The experiments' cells: which there are, what they train, and that equal settings are trained once."""

from dataclasses import replace

import pytest

from environments.nethack.experiments import curves, nethack_curves, noisy_annotator, time_penalty
from environments.nethack.experiments.curves import Arm, curve_of
from environments.nethack.training.settings import PolicySettings
from long_runs.experiment import run_cells

COLUMNS = {"task", "reward", "accuracy", "exponent", "seed", "step", "score", "paid", "true_positive_share", "cell"}


def test_every_size_has_its_cells():
    assert len(noisy_annotator.EXPERIMENT.cells("small", 0)) == 15
    assert len(time_penalty.EXPERIMENT.cells("small", 0)) == 6
    found = nethack_curves.EXPERIMENT.cells("small", 0)
    assert len(found) == 3 * (9 + 10)
    names = list(found)
    assert all(name.startswith("MiniHack") for name in names[:27])
    assert all(name.startswith("score") for name in names[27:])
    assert not any("shaped" in name for name in names[:27])  # the room is seen whole


def test_arms_are_the_settings_they_say():
    base = noisy_annotator.score_settings(noisy_annotator.SIZES["small"], 2)
    hacked = Arm("intrinsic only", "retrieval", 1.0, 0.9, 0.0, extrinsic=False).settings(base)
    assert hacked.extrinsic_coefficient == 0
    assert (hacked.intrinsic.coefficient, hacked.intrinsic.exponent) == (1.0, 0.0)
    assert (hacked.annotation.annotator, hacked.annotation.accuracy, hacked.annotation.noise) == (
        "noisy",
        0.9,
        "frozen",
    )
    assert (hacked.annotation.labels_per_tick, hacked.annotation.order) == (20, "lifo")
    assert (hacked.steps, hacked.seed, hacked.game.episode_steps) == (300_000, 2, 1000)
    both = Arm("ranking", "ranking", 0.4, 1.0).settings(base)
    assert both.extrinsic_coefficient == pytest.approx(0.1)
    assert both.annotation.annotator == "oracle"
    assert curves.EXTRINSIC.settings(base) == base


def test_equal_settings_are_trained_once(tmp_path, monkeypatch):
    size = noisy_annotator.Size(1, 128, 15, 64)
    policy = PolicySettings(games=4, rollout_steps=16, batch_size=64)
    base = replace(noisy_annotator.score_settings(size, 0), policy=policy)
    first = curve_of(curves.EXTRINSIC, base, tmp_path / "one" / "small" / "cell")
    monkeypatch.setattr("environments.nethack.training.run.train", None)
    second = curve_of(curves.EXTRINSIC, base, tmp_path / "other" / "small" / "cell")
    assert first.equals(second)
    assert set(first.columns) >= COLUMNS - {"cell"}
    assert first.step.tolist() == [64, 128]


@pytest.mark.slow
def test_the_smallest_scale_runs_whole(tmp_path):
    table = run_cells(time_penalty.EXPERIMENT, "smoke", folder=tmp_path)
    assert set(table.columns) >= COLUMNS | {"penalty"}
    assert table.cell.nunique() == len(time_penalty.EXPERIMENT.cells("smoke", 0))
    assert table.groupby("cell").size().nunique() == 1
