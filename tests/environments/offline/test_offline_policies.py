from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from environments.offline.experiments import fitted_models, made_sets
from environments.offline.experiments.fitted_models import fitted
from environments.offline.experiments.made_sets import SETS
from environments.offline.experiments.offline_policies import ARMS, EXPERIMENT, SIZES, SMOKE, Arm, run
from rewardlab.dynamics.draws import StepDraws

NAME = "random pendulum"


@pytest.fixture(scope="module")
def table():
    return SETS[NAME].table()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


def test_every_host_has_every_mode_and_every_cell_its_seed():
    assert len(ARMS) == len({arm.name for arm in ARMS}) == 12
    cells = list(EXPERIMENT.cells("small", 0))
    assert len(cells) == len(set(cells)) == 2 * 12 * 3
    assert (
        cells[0] == "InvertedPendulum, plain, no filter, seed 0" and cells[-1] == "Hopper, mobile, filter, drop, seed 2"
    )
    assert all(name.endswith("seed 0") for name in cells[:24])


def test_scores_are_0_for_uniform_actions_and_100_for_the_limit():
    assert np.allclose(SETS["InvertedPendulum"].score(np.array([5.2, 1000.0])), [0, 100])
    assert SETS["Hopper"].score(np.array(1000.0)) == pytest.approx(31.3489, abs=1e-4)


@pytest.mark.parametrize("arm", [ARMS[0], Arm("mopo", "drop"), Arm("mobile", "terminal")], ids=lambda arm: arm.name)
def test_a_cell_gives_one_row_and_the_same_again(arm, tmp_path):
    rows = [run("smoke", NAME, arm, 0, tmp_path / folder) for folder in ("one", "other")]  # both use tmp_path / shared
    assert len(rows[0]) == 1 and rows[0].host[0] == arm.host and rows[0].truncation[0] == arm.truncation
    pd.testing.assert_frame_equal(*rows)
    numbers = rows[0].drop(columns=["data", "host", "truncation", "penalty", "dynamics_reward"])
    assert np.isfinite(numbers.to_numpy(float)).all()
    assert np.isnan(rows[0].dynamics_reward[0]) == (arm.truncation == "none")
    assert np.isnan(rows[0].penalty[0]) == (arm.host == "plain")


class Stillness(torch.nn.Module):
    """Believes in a step the less the farther it goes."""

    def forward(self, observations, actions, following):
        before = observations if following.ndim == 2 else observations[:, None]
        return -(following - before).abs().sum(-1)


def test_the_threshold_rejects_its_share_of_the_model_s_steps(table, shared):
    models = replace(fitted(shared, SETS[NAME], table, SMOKE, seed=0), reward=Stillness())
    threshold = models.threshold(table, seed=0)
    model = models.filtered_model(threshold=threshold)
    generator = torch.Generator().manual_seed(9)
    index = torch.randint(len(table), (4000,), generator=generator).numpy()
    observations, actions = (torch.as_tensor(column[index]) for column in (table.observations, table.actions))
    draws = StepDraws.sample(4000, model.output_size, generator=generator)
    step = model.step(observations, actions, torch.ones(4000, dtype=torch.long), draws)
    judged = step.dynamics_rewards < threshold
    assert float(judged.float().mean()) == pytest.approx(fitted_models.REJECTED, abs=0.02)


def test_the_penalty_takes_its_share_of_the_mean_reward(table, shared):
    models = fitted(shared, SETS[NAME], table, SMOKE, seed=0)
    weight = models.penalty_weight(table, seed=0)
    kept = torch.as_tensor(np.flatnonzero(table.next_valid))
    found = models.candidates(penalty="aleatoric").candidates(
        torch.as_tensor(table.observations)[kept],
        torch.as_tensor(table.actions)[kept],
        torch.zeros(len(kept), 10, table.observation_size + 1),
    )
    taken = weight * float(found.penalties.mean()) / float(table.rewards.mean())
    assert taken == pytest.approx(fitted_models.PENALISED, rel=0.1)


# Fits


def test_fits_are_made_once_and_depend_on_the_seed(table, shared, monkeypatch):
    made = SETS[NAME]
    first = fitted(shared, made, table, SMOKE, seed=1)
    monkeypatch.setattr(fitted_models, "_fit", None)  # would fail if it were called
    again = fitted(shared, made, table, SMOKE, seed=1)
    for one, other in zip(first.ensemble.parameters(), again.ensemble.parameters(), strict=True):
        assert torch.equal(one, other)
    assert first.threshold(table, seed=1) == again.threshold(table, seed=1)
    for changed in ({"seed": 2}, {"seed": 1, "settings": replace(SMOKE, epochs=1)}):
        with pytest.raises(TypeError, match="NoneType"):
            fitted(shared, made, table, **{"settings": SMOKE, **changed})


def test_a_penalty_comes_only_where_it_is_asked_for(table, shared):
    models = fitted(shared, SETS[NAME], table, SMOKE, seed=0)
    start = torch.as_tensor(table.observations[:1]), torch.as_tensor(table.actions[:1]), torch.zeros(1, 10, 5)
    assert models.candidates().candidates(*start).penalties is None
    assert models.candidates(penalty="aleatoric").candidates(*start).penalties is not None


def test_a_recording_without_behaviour_trains_none(monkeypatch):
    monkeypatch.setattr(made_sets, "kept_behaviour", None)
    assert len(SETS[NAME].table()) >= 300
    assert SIZES["smoke"].sets == (NAME,)
