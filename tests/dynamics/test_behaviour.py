"""Behaviour cloning against a controller that is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rewardlab.dynamics.behaviour import (
    BehaviourSettings,
    GaussianPolicy,
    fit_behaviour_cloning,
    gaussian_log_density,
)
from tests.dynamics.recordings import recording

QUICK = BehaviourSettings(hidden=(32,), steps=400, learning_rate=5e-3, batch_size=128)


@pytest.fixture(scope="module")
def cloned():
    return fit_behaviour_cloning(recording(2000), QUICK, seed=0)


def test_log_density_is_scipys():
    rng = np.random.default_rng(0)
    values, mean = rng.normal(size=(2, 5, 3))
    deviation = rng.uniform(0.1, 2, (5, 3))
    found = gaussian_log_density(*(torch.as_tensor(x) for x in (values, mean, deviation)))
    np.testing.assert_allclose(found, stats.norm.logpdf(values, mean, deviation).sum(-1), rtol=1e-12)


def test_clones_mean_and_spread_of_the_controller(cloned):
    observations = torch.linspace(-1.5, 1.5, 31)[:, None]
    with torch.no_grad():
        mean, deviation = cloned(observations)
    assert (mean + 0.3 * observations).abs().max() < 0.06
    assert deviation.min() > 0.07 and deviation.max() < 0.14


def test_loss_ends_at_the_controllers_entropy():
    losses = []
    fit_behaviour_cloning(recording(2000), QUICK, seed=0, on_step=lambda step, numbers: losses.append((step, numbers)))
    assert [step for step, _ in losses] == list(range(1, 401))
    last = np.mean([numbers["loss"] for _, numbers in losses[-50:]])
    assert last == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.01), abs=0.15)
    assert losses[0][1]["loss"] > last + 0.3


def test_samples_follow_mean_and_deviation_within_the_recorded_range(cloned):
    table = recording(2000)
    observations = torch.full((4000, 1), 0.5)
    with torch.no_grad():
        mean, deviation = cloned(observations[:1])
        sampled = cloned.sample(observations, torch.Generator().manual_seed(0))
        far = cloned.sample(torch.full((100, 1), 50.0), torch.Generator().manual_seed(0))
    assert float(sampled.mean()) == pytest.approx(float(mean), abs=0.01)
    assert float(sampled.std()) == pytest.approx(float(deviation), rel=0.05)
    assert far.min() >= float(table.actions.min()) and far.max() <= float(table.actions.max())
    assert (far == float(table.actions.min())).any()  # where the range ends, actions are clipped


def test_same_seed_same_policy_and_no_global_randomness():
    table, short = recording(100), BehaviourSettings(hidden=(8,), steps=5)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two, other = (fit_behaviour_cloning(table, short, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
    assert not torch.equal(one.network[0].weight, other.network[0].weight)


def test_rows_without_next_observation_teach_too():
    table = recording(40, length=2, lost=range(20))
    policy = fit_behaviour_cloning(table, BehaviourSettings(hidden=(4,), steps=1), seed=0)
    np.testing.assert_allclose(policy.observation_scaler.mean, table.observations.mean(0), rtol=1e-5)
    np.testing.assert_array_equal(policy.high, table.actions.max(0))


def test_fit_does_not_depend_on_the_unit_of_the_actions():
    table, short = recording(100), BehaviourSettings(hidden=(8,), steps=20)
    observations = torch.as_tensor(table.observations)
    one, other = (
        fit_behaviour_cloning(replace(table, actions=table.actions * unit), short, seed=0)(observations)
        for unit in (np.float32(1), np.float32(128))
    )
    for here, there in zip(one, other, strict=True):
        torch.testing.assert_close(there, 128 * here, rtol=1e-4, atol=1e-4)


def test_works_in_float64_and_lets_gradients_through():
    policy = GaussianPolicy(2, 3, hidden=(4,), generator=torch.Generator().manual_seed(0)).double()
    observations = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)
    actions = policy.sample(observations, torch.Generator().manual_seed(1))
    assert actions.dtype == torch.float64 and actions.shape == (5, 3)
    actions.sum().backward()
    assert (observations.grad != 0).all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("learning_rate", 0.0, "learning_rate is 0.0"), ("steps", 0, "steps is 0"), ("batch_size", 0, "batch_size is 0")],
)
def test_refuses_settings(field, value, message):
    with pytest.raises(ValueError, match=message):
        BehaviourSettings(**{field: value})


def test_refuses_a_negative_seed():
    with pytest.raises(ValueError, match="seed is -1"):
        fit_behaviour_cloning(recording(40), seed=-1)
