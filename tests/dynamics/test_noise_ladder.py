import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from rewardlab.dynamics.noise_ladder import NoiseLadder, NoiseLadderSettings, fit_noise_ladder
from rewardlab.transition_table import TransitionTable
from tests.dynamics.discriminators import rows_of, table_of

SMALL = NoiseLadderSettings(iterations=6, steps=2, snapshots=3, batch_size=16, hidden=(8,))


def gaussian_steps(rows):
    """Next observations from N(0, 1), whatever came before."""
    rng = np.random.default_rng(0)
    flags = np.zeros(rows, bool)
    return TransitionTable(
        observations=np.zeros((rows, 1), np.float32),
        actions=rng.uniform(-1, 1, (rows, 1)).astype(np.float32),
        rewards=np.zeros(rows, np.float32),
        next_observations=rng.standard_normal((rows, 1)).astype(np.float32),
        terminals=flags,
        timeouts=~flags,
        episode_ids=np.arange(rows),
        steps=np.zeros(rows, np.int64),
        next_valid=~flags,
    )


@pytest.mark.slow
def test_approaches_the_closed_form_optimum():
    """Real N(0, 1) against N(0, 1) + sqrt(3) N(0, 1) = N(0, 4), the worked densities."""
    settings = NoiseLadderSettings(
        iterations=120, steps=10, snapshots=60, largest=3**0.5, halvings=0, batch_size=1024, learning_rate=3e-3
    )
    reward = fit_noise_ladder(gaussian_steps(20_000), settings, seed=0)
    places, nowhere = torch.arange(4.0)[:, None], torch.zeros(4, 1)
    logits = reward.logits(nowhere, nowhere, places)[-30:].mean(dim=0)
    assert torch.sigmoid(logits).tolist() == pytest.approx([0.666667, 0.578873, 0.308562, 0.064053], abs=0.04)
    rewards = reward(nowhere, nowhere, places)
    assert rewards.tolist() == pytest.approx([1.098612, 0.864820, 0.368981, 0.066196], abs=0.09)


def test_size_of_the_noise_is_halved_six_times_from_twice_the_deviation():
    settings = NoiseLadderSettings()
    assert (settings.iterations, settings.steps, settings.snapshots) == (400, 10, 40)
    assert settings.size(0) == 2
    assert settings.size(200) == pytest.approx(0.25)
    assert settings.size(400) == pytest.approx(2 / 64)


def test_generated_rows_are_real_ones_plus_noise_in_units_of_the_differences(monkeypatch):
    table = table_of(60)
    ladder = NoiseLadder(table, SMALL, seed=0)
    seen = []
    monkeypatch.setattr(ladder, "discriminator", lambda *parts: seen.append(parts) or torch.zeros(len(parts[0])))
    ladder._logits(4000, 0.5)
    observations, actions, following = seen[0]
    noise = (following[4000:] - following[:4000]).numpy()
    expected = 0.5 * (table.next_observations - table.observations).std(axis=0)
    assert noise.std(axis=0) == pytest.approx(expected, rel=0.05, abs=1e-6)
    assert torch.equal(observations[:4000], observations[4000:]) and torch.equal(actions[:4000], actions[4000:])
    known = {tuple(row) for row in np.column_stack([table.observations, table.next_observations]).tolist()}
    assert {tuple(row) for row in torch.cat([observations, following], dim=1)[:4000].tolist()} <= known


def test_ranks_true_transitions_above_wrong_ones():
    settings = replace(SMALL, iterations=60, snapshots=6, steps=5, batch_size=64, hidden=(32,), learning_rate=3e-3)
    reward = fit_noise_ladder(table_of(400), settings, seed=0)
    observations, actions, following = rows_of(table_of(200, seed=9))
    wrong = following + torch.tensor([3.0, -3.0, 0.0])
    rewards = reward(observations, actions, torch.stack([following, wrong], dim=1))
    assert float((rewards[:, 0] > rewards[:, 1]).float().mean()) > 0.9
    assert reward.kind == "noise_ladder"


def test_snapshots_are_spread_over_the_iterations_and_reported():
    seen = []
    reward = fit_noise_ladder(table_of(), SMALL, seed=0, on_step=lambda step, numbers: seen.append((step, numbers)))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert set(seen[0][1]) == {"noise", "loss", "real", "generated"}
    assert [numbers["noise"] for _, numbers in seen] == pytest.approx([2 * 2.0**-i for i in range(6)])
    assert reward.snapshots == 3
    ladder = NoiseLadder(table_of(), SMALL, seed=0)
    counts = [(ladder.step(), ladder.queue.added)[1] for _ in range(6)]
    assert counts == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_resumed_training_is_bit_identical(stop):
    table = table_of()
    whole = fit_noise_ladder(table, SMALL, seed=3)
    first = NoiseLadder(table, SMALL, seed=3)
    for _ in range(stop):
        first.step()
    state = first.state_dict()
    kept = copy.deepcopy(state)
    while first.iteration < 6:
        first.step()  # must not reach into the state that was handed out
    resumed = fit_noise_ladder(table, SMALL, seed=3, state=state)
    assert_same(resumed, whole)
    assert_same(fit_noise_ladder(table, SMALL, seed=3, state=kept), whole)
    assert_same(first.reward(), whole)


def assert_same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first, second, other = (fit_noise_ladder(table_of(), SMALL, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(first, second)
    assert not torch.equal(first.weight_0, other.weight_0)


def test_rows_without_a_next_observation_are_left_out_and_counted():
    table = table_of(60, invalid=20)
    ladder = NoiseLadder(table, SMALL, seed=0)
    assert ladder.rows_left_out == 20 and len(ladder._next) == 40
    reward = fit_noise_ladder(table, SMALL, seed=0)
    assert reward.facts["rows_left_out"] == 20
    rows = {name: value[20:] for name, value in table.rows(slice(None)).items()}
    rows["episode_ids"] = rows["episode_ids"] - 20
    assert_same(fit_noise_ladder(TransitionTable(**rows), SMALL, seed=0), reward)


def test_the_ends_are_mean_logits_and_a_rescale_can_be_asked_for():
    ladder = NoiseLadder(table_of(400), replace(SMALL, iterations=30, halvings=0, learning_rate=1e-2), seed=0)
    for _ in range(30):
        ladder.step()
    plain, official = ladder.reward(), ladder.reward(rescale="official", unordered="drop")
    assert (plain.rescale, official.rescale) == ("none", "official")
    assert official.snapshots == 3 and bool((plain.high > plain.low).all())
    logits = plain.logits(*rows_of(table_of(400)))
    assert torch.allclose(logits.mean(dim=1), plain.high, atol=0.2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"iterations": 0}, ValueError, "iterations is 0"),
        ({"steps": 1.5}, TypeError, "steps is 1.5, expected a whole number"),
        ({"snapshots": 7}, ValueError, "snapshots is 7, expected a divisor of iterations, 400"),
        ({"largest": 0}, ValueError, "largest is 0"),
        ({"halvings": -1}, ValueError, "halvings is -1"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate is nan"),
        ({"transition_input": "delta"}, ValueError, "transition_input is 'delta'"),
        ({"rescale": "paper"}, ValueError, "rescale is 'paper'"),
    ],
)
def test_bad_settings(without_type_checks, settings, error, message):
    with pytest.raises(error, match=message):
        NoiseLadderSettings(**settings)


def test_bad_data(without_type_checks):
    with pytest.raises(TypeError, match="table is a ndarray, expected a TransitionTable"):
        NoiseLadder(np.zeros((3, 2)), SMALL, seed=0)
    with pytest.raises(ValueError, match="table has no row with next_valid"):
        NoiseLadder(table_of(5, invalid=5), SMALL, seed=0)
    with pytest.raises(ValueError, match="differences that do not vary"):
        NoiseLadder(table_of(1), SMALL, seed=0)
    with pytest.raises(TypeError, match=r"seed is 0\.5"):
        NoiseLadder(table_of(), SMALL, seed=0.5)
    ladder = NoiseLadder(table_of(), SMALL, seed=0)
    with pytest.raises(ValueError, match="the queue is empty"):
        ladder.reward()
    with pytest.raises(ValueError, match="the state has seed 1, this training 0"):
        ladder.load_state_dict(NoiseLadder(table_of(), SMALL, seed=1).state_dict())
    with pytest.raises(ValueError, match="the state has steps 3, this training 2"):
        ladder.load_state_dict(NoiseLadder(table_of(), replace(SMALL, steps=3), seed=0).state_dict())
    for _ in range(6):
        ladder.step()
    with pytest.raises(ValueError, match="all 6 iterations are done"):
        ladder.step()
