"""The refrigerator: its closed forms, its recordings, and the statistics of the public one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from environments.offline.refrigerator import (
    PUBLISHED,
    SIMPLIFIED,
    Refrigerator,
    behaviour_action,
    door_openings,
    make_refrigerator_set,
    next_temperature,
    refrigerator_points,
    refrigerator_reward,
)

temperatures = st.floats(-20, 30)
actions = st.floats(0, 5)

# Of the public file of 2000 rows: mean, standard deviation and lag-1 correlation of what the closed form leaves,
# correlation of power and temperature, share of rows with the door open, mean reward, regression without the door.
PUBLIC = {
    "mean": -1.3e-4,
    "deviation": 0.137,
    "lag": -0.496,
    "correlation": 0.916,
    "door": 0.09,
    "reward": -0.518,
    "temperature": 0.943,
    "action": -0.902,
    "constant": 0.20,
}


@given(temperatures, actions)
def test_law_in_its_closed_forms(temperature, action):
    assert next_temperature(temperature, action) == pytest.approx(0.98 * (temperature - action) + 0.3)
    assert next_temperature(temperature, action, True) == pytest.approx(0.92 * (temperature - action) + 1.2)


@given(temperatures, st.floats(-5, 0))
def test_negative_power_does_not_heat(temperature, action):
    assert next_temperature(temperature, action) == next_temperature(temperature, 0.0)


@given(temperatures, actions, st.booleans())
def test_law_is_the_simulators_two_steps(temperature, action, door):
    cooled = temperature - max(action, 0)
    warmed = cooled - (0.08 if door else 0.02) * (cooled - 15)
    assert next_temperature(temperature, action, door) == pytest.approx(warmed)


def test_worked_step():
    assert next_temperature(10.0, 2.825) == pytest.approx(7.3315)
    assert next_temperature(10.0, 2.825, True) == pytest.approx(7.801)


def test_noise_free_behaviour():
    temperature, path = 10.0, []
    for _ in range(200):
        temperature = float(next_temperature(temperature, behaviour_action(temperature)))
        path.append(temperature)
    assert path[:3] == pytest.approx([7.405, 5.37052, 3.775488], abs=1e-6)
    assert path[-1] == pytest.approx(-2.013889, abs=1e-6)
    assert float(behaviour_action(path[-1])) == pytest.approx(0.347222, abs=1e-6)


def test_torch_and_batches_agree_with_numbers():
    temperature, action = np.array([[10.0, -3.0]]), np.array([[2.825, 0.5]])
    door = np.array([[True, False]])
    found = next_temperature(temperature, action, door)
    in_torch = next_temperature(torch.tensor(temperature), torch.tensor(action), torch.tensor(door))
    np.testing.assert_allclose(found, [[7.801, 0.98 * -3.5 + 0.3]])
    np.testing.assert_array_equal(in_torch.numpy(), found)
    assert next_temperature(torch.zeros(2), torch.zeros(2)).dtype == torch.float32
    assert float(refrigerator_reward(1.5)) == -3.5
    assert float(behaviour_action(-10.0, 0.1)) == 0.0


def test_door_opens_at_most_once_in_a_block_and_never_stops_again():
    for seed in range(20):
        blocks = door_openings(2000, seed).reshape(10, 200)
        lengths = blocks.sum(axis=1)
        assert set(lengths) <= {0, 20}
        assert (np.diff(lengths) >= 0).all()
        for block in blocks[lengths == 20]:
            assert np.ptp(np.flatnonzero(block)) == 19


def test_share_of_rows_with_the_door_open():
    share = np.mean([door_openings(2000, seed).mean() for seed in range(300)])
    assert share == pytest.approx(0.1 * (10 - 1 + 0.5**10) / 10, abs=0.004)  # half of first blocks, 3/4 of second, ...
    first = np.mean([door_openings(200, seed).any() for seed in range(300)])
    assert first == pytest.approx(0.5, abs=0.1)


@pytest.fixture(scope="module")
def recordings():
    """Statistics of 40 recordings like the public one."""
    made = make_refrigerator_set(PUBLISHED, episodes=40, length=2000, rng=0)
    rows = [slice(start, start + 2000) for start in range(0, 80000, 2000)]
    return {name: np.array([_statistics(made, part)[name] for part in rows]) for name in PUBLIC}


def _statistics(made, rows):
    table, door = made.table, made.door_open[rows]
    shown, power, after = (
        column[rows, 0].astype(np.float64) for column in (table.observations, table.actions, table.next_observations)
    )
    rest = after - next_temperature(shown, power, door)
    inputs = np.stack([shown, power, np.ones_like(shown)], axis=1)[~door]
    slope, effect, constant = np.linalg.lstsq(inputs, after[~door], rcond=None)[0]
    return {
        "mean": rest.mean(),
        "deviation": rest.std(),
        "lag": np.corrcoef(rest[1:], rest[:-1])[0, 1],
        "correlation": np.corrcoef(shown, power)[0, 1],
        "door": door.mean(),
        "reward": table.rewards[rows].mean(),
        "temperature": slope,
        "action": effect,
        "constant": constant,
    }


def test_recordings_have_the_statistics_of_the_public_one(recordings):
    for name, published in PUBLIC.items():
        found = recordings[name]
        assert abs(published - found.mean()) < 4 * found.std(), name
        assert found.std() < 0.3 * abs(found.mean()) or name == "mean", name


def test_sensor_noise_is_all_that_the_law_leaves(recordings):
    wanted = np.hypot(0.1, 0.98 * 0.1)
    assert recordings["deviation"].mean() == pytest.approx(wanted, abs=0.002)
    assert recordings["lag"].mean() == pytest.approx(-0.98 / (1 + 0.98**2), abs=0.01)


def test_regression_is_biased_towards_forgetting_the_temperature(recordings):
    """The sensor's error pulls the coefficient of the temperature to 0; the power is known, and its own is right."""
    slope = recordings["temperature"]
    assert slope.max() < 0.98 and slope.mean() < 0.96
    assert recordings["action"].mean() == pytest.approx(-0.98, abs=0.02)


def test_recording_is_reproducible_and_knows_its_truth():
    one, two = (make_refrigerator_set(SIMPLIFIED, episodes=3, length=7, rng=5) for _ in range(2))
    np.testing.assert_array_equal(one.table.observations, two.table.observations)
    assert len(one.table) == 21 and one.table.episode_lengths.tolist() == [7, 7, 7]
    assert one.table.timeouts.sum() == 3 and not one.table.terminals.any() and not one.door_open.any()
    np.testing.assert_array_equal(one.table.observations[:, 0], one.temperatures.astype(np.float32))
    np.testing.assert_allclose(one.table.rewards, -np.abs(one.table.next_observations[:, 0] + 2))
    starts = one.temperatures[one.table.episode_starts]
    assert (starts >= 5).all() and (starts <= 12).all()
    other = make_refrigerator_set(SIMPLIFIED, episodes=3, length=7, rng=6)
    assert (other.temperatures != one.temperatures).all()


def test_simplified_recording_has_process_noise_alone():
    made = make_refrigerator_set(SIMPLIFIED, episodes=20, length=100, rng=0)
    table = made.table
    rest = (table.next_observations - next_temperature(table.observations, table.actions))[:, 0]
    assert rest.std() == pytest.approx(0.05, rel=0.05)
    assert abs(np.corrcoef(rest[1:], rest[:-1])[0, 1]) < 0.06
    quiet = make_refrigerator_set(Refrigerator(sensor_noise=0.0, action_noise=0.0, door=False), length=3, rng=0)
    np.testing.assert_allclose(quiet.table.next_observations[:, 0], [7.405, 5.37052, 3.775488], rtol=1e-6)


@pytest.mark.parametrize(("region", "low", "high", "power"), [("ood_a", -3, 12, 3.0), ("ood_sa", -8, 20, 4.5)])
def test_points_out_of_the_data(region, low, high, power):
    shown, chosen = refrigerator_points(region, 4000, 0)
    assert shown.shape == chosen.shape == (4000, 1) and shown.dtype == np.float32
    for values, (left, right) in ((shown, (low, high)), (chosen, (0, power))):
        assert values.min() == pytest.approx(left, abs=0.02) and values.max() == pytest.approx(right, abs=0.02)
        assert values.mean() == pytest.approx((left + right) / 2, abs=0.02 * (right - left))


def test_points_in_the_data_are_the_behaviours_own():
    shown, chosen = refrigerator_points("in", 250, 0)
    assert shown.shape == chosen.shape == (250, 1)
    rest = chosen - behaviour_action(shown)
    assert rest.std() == pytest.approx(0.1, rel=0.15)
    assert np.abs(rest).max() < 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Refrigerator(sensor_noise=-0.1), r"sensor_noise is -0.1"),
        (lambda: Refrigerator(initial=(5.0, 4.0)), r"initial\[1\] is 4.0"),
        (lambda: make_refrigerator_set(episodes=0, rng=0), r"episodes is 0"),
        (lambda: make_refrigerator_set(length=0, rng=0), r"length is 0"),
        (lambda: door_openings(0, 0), r"length is 0"),
        (lambda: refrigerator_points("in", 0, 0), r"count is 0"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
