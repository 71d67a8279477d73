import copy
import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.exact import FiniteMDP, action_values, optimal_policy, potential_shaping, random_reward
from rewardlab.shaping.potentials import (
    DistancePotential,
    LearnedPotential,
    TablePotential,
    each_observation,
    optimal_value_potential,
)
from rewardlab.shaping.running import RunningBatchShaping, RunningShaping

places = arrays(float, (5, 3), elements=st.floats(-10, 10))


# Tables


def test_a_table_answers_for_one_state_and_for_several():
    potential = TablePotential(np.array([0, 3, 7]))
    for state in (2, np.int64(2), np.array(2), torch.tensor(2)):
        value = potential(state)
        assert value == 7.0 and type(value) is float
    np.testing.assert_array_equal(potential.batch(np.array([2, 0])), [7.0, 0.0])
    assert TablePotential(torch.tensor([1.0, 2.0]))(1) == 2.0


@pytest.mark.parametrize(
    ("observation", "error", "message"),
    [
        (3, ValueError, "observation 3 is outside the table of 3 states"),
        (-1, ValueError, "observation -1 is outside the table of 3 states"),
        (1.0, TypeError, "observation 1.0 is no state's number"),
        (np.array([1, 2]), TypeError, r"observation array\(\[1, 2\]\) is no state's number"),
    ],
)
def test_what_is_no_state_is_refused(observation, error, message):
    with pytest.raises(error, match=message):
        TablePotential(np.zeros(3))(observation)


def test_several_of_which_one_is_no_state():
    potential = TablePotential(np.zeros(3))
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"{wrong}.* is outside the table of 3 states"):
            potential.batch(np.array([0, wrong]))
    for wrong in (np.array([0.0, 1.0]), np.array([[0, 1]])):
        with pytest.raises(TypeError, match=r"expected \(n,\) whole numbers"):
            potential.batch(wrong)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([0.0, 1.0], TypeError, "values: expected a NumPy array or torch tensor, got list"),
        (np.array([0.0, np.nan]), ValueError, r"values\[1\] is nan"),
        (np.zeros((2, 2)), ValueError, r"values has shape \(2, 2\), expected \(S,\)"),
        (np.zeros(0), ValueError, r"values has shape \(0,\), expected \(S,\)"),
    ],
)
def test_bad_tables(values, error, message, without_type_checks):
    with pytest.raises(error, match=message):
        TablePotential(values)


# Optimal values


@pytest.mark.parametrize("seed", range(5))
def test_shaped_by_the_optimal_values_the_best_actions_earn_nothing_at_once_and_others_less(seed):
    mdp = FiniteMDP.random(5, 3, rng=seed, episodic=True)
    reward = random_reward(mdp, rng=seed)
    potential = optimal_value_potential(mdp, reward).values
    assert not potential[mdp.terminal].any()
    at_once = mdp.state_action_reward(reward + potential_shaping(mdp, potential))[~mdp.terminal]
    best = optimal_policy(mdp, reward).optimal_actions[~mdp.terminal]
    np.testing.assert_allclose(at_once[best], 0.0, atol=1e-9)
    assert (at_once[~best] < -1e-12).all()


def test_optimal_values_of_several_worlds_are_refused():
    with pytest.raises(ValueError, match=r"batch shape \(2,\), expected one of each"):
        optimal_value_potential(FiniteMDP.random(3, 2, batch=2, rng=0), np.zeros((3, 2)))


# Distances


@pytest.mark.parametrize(("order", "expected"), [(1, -7.0), (2, -5.0), (math.inf, -4.0)])
def test_distances(order, expected):
    assert DistancePotential([1.0, 1.0], order=order)(np.array([4.0, 5.0])) == expected
    assert DistancePotential([1.0, 1.0], order=order, scale=0.5)([4.0, 5.0]) == expected / 2
    assert DistancePotential([1, 1], order=order, indices=[2, -1])(np.array([9.0, 9.0, 4.0, 5.0])) == expected


@given(places, st.sampled_from([1, 2, math.inf]))
def test_several_distances_are_those_of_each(observations, order):
    potential = DistancePotential(np.array([0.5, -1.0]), indices=[0, 2], order=order, scale=2.0)
    each = [-2.0 * np.linalg.norm(place[[0, 2]] - [0.5, -1.0], ord=order) for place in observations]
    np.testing.assert_allclose(potential.batch(observations), each, atol=1e-12)
    np.testing.assert_allclose([potential(place) for place in observations], each, atol=1e-12)


def test_the_goal_has_the_highest_potential():
    potential = DistancePotential([0.3, 0.4])
    assert potential(np.array([0.3, 0.4])) == 0.0
    assert (potential.batch(np.random.default_rng(0).normal(size=(50, 2))) < 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"goal": [np.nan]}, ValueError, r"goal\[0\] is nan"),
        ({"goal": 3.0}, ValueError, r"goal has shape \(\), expected \(d,\)"),
        ({"goal": []}, ValueError, r"goal has shape \(0,\)"),
        ({"goal": [0.0], "scale": -1.0}, ValueError, "scale is -1.0"),
        ({"goal": [0.0], "scale": math.nan}, ValueError, "scale is nan"),
        ({"goal": [0.0], "order": 3}, ValueError, "order is 3, expected one of 1, 2, inf"),
        ({"goal": [0.0, 1.0], "indices": [0]}, ValueError, r"indices has shape \(1,\), expected that of goal \(2,\)"),
    ],
)
def test_bad_distances(arguments, error, message):
    with pytest.raises(error, match=message):
        DistancePotential(**arguments)


@pytest.mark.parametrize(
    ("observation", "indices", "message"),
    [
        (np.zeros(3), None, r"3 entries, the goal 2; say by `indices`"),
        (np.zeros(3), [0, 3], r"3 entries, too few"),
        (np.zeros((1, 2)), None, r"shape \(1, 2\), expected a vector"),
        (np.float64(1.0), None, r"shape \(\), expected a vector"),
    ],
)
def test_observations_that_the_goal_does_not_fit(observation, indices, message):
    with pytest.raises(ValueError, match=message):
        DistancePotential([0.0, 1.0], indices=indices)(observation)


# Learned values


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_is_asked_without_gradients(dtype):
    module = network().to(dtype).eval()
    observations = np.random.default_rng(0).normal(size=(6, 3))
    expected = module(torch.tensor(observations, dtype=dtype))[:, 0].detach().numpy()
    for frozen in (True, False):
        potential = LearnedPotential(module, frozen=frozen, scale=2.0)
        values = potential.batch(observations)
        np.testing.assert_allclose(values, 2.0 * expected, rtol=1e-5)
        assert values.dtype == np.float64
        assert potential(observations[0]) == pytest.approx(values[0], rel=1e-5)


def test_frozen_it_stays_and_otherwise_it_follows():
    module, seen = network().eval(), np.ones(3)
    frozen, following = LearnedPotential(module), LearnedPotential(module, frozen=False)
    before = frozen(seen)
    assert following(seen) == before
    with torch.no_grad():
        module[-1].bias += 1.0
    assert frozen(seen) == before
    assert following(seen) == pytest.approx(before + 1.0, abs=1e-6)


def test_a_frozen_copy_does_not_roll_dice_and_leaves_its_original_alone():
    module = network().train()
    potential = LearnedPotential(module)
    assert len({potential(np.ones(3)) for _ in range(10)}) == 1
    assert module.training and all(parameter.requires_grad for parameter in module.parameters())


def test_methods_can_be_frozen_and_plain_functions_not():
    class Values:
        def __init__(self):
            self.offset = 0.0

        def predict(self, observations):
            return observations[:, 0] + self.offset

    values = Values()
    frozen, following = LearnedPotential(values.predict), LearnedPotential(values.predict, frozen=False)
    values.offset = 5.0
    assert (frozen(np.ones(1)), following(np.ones(1))) == (1.0, 6.0)
    for function in (lambda observations: observations[:, 0], functools.partial(len)):
        with pytest.raises(TypeError, match=r"plain function.*frozen=False"):
            LearnedPotential(function)
    with pytest.raises(TypeError, match="predict: expected a module, policy or function, got int"):
        LearnedPotential(3)


@pytest.mark.parametrize("shape", [(), (4,), (3, 2), (1, 3)])
def test_a_value_function_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"predict returned shape .* for 3 observations, expected \(3,\) or \(3, 1\)"):
        LearnedPotential(lambda observations: np.zeros(shape), frozen=False).batch(np.zeros((3, 2)))


def test_a_value_function_of_observations_in_parts():
    potential = LearnedPotential(lambda seen: seen["place"][:, 0] + seen["pair"][1], frozen=False)
    one = {"place": np.array([1.0, 2.0]), "pair": (np.array([0.0]), np.array(5.0))}
    assert potential(one) == 6.0
    several = {"place": np.ones((2, 2)), "pair": (np.zeros((2, 1)), np.array([5.0, 6.0]))}
    np.testing.assert_array_equal(potential.batch(several), [6.0, 7.0])


# One observation after the other


def test_each_observation_uses_the_batch_form_if_there_is_one():
    asked = []

    class Both:
        def __call__(self, observation):
            raise AssertionError

        def batch(self, observations):
            asked.append(len(observations))
            return observations[:, 0]

    np.testing.assert_array_equal(each_observation(Both())(np.ones((3, 2))), [1, 1, 1])
    assert asked == [3]
    np.testing.assert_array_equal(each_observation(lambda seen: seen["at"])({"at": np.arange(3)}), [0, 1, 2])
    assert each_observation(lambda seen: 1.0)(np.zeros((0, 2))).shape == (0,)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.zeros(1), ValueError, r"observation array\(\[0\., 1\.\]\) has shape \(1,\), expected one number"),
        (torch.zeros(2), ValueError, r"has shape \(2,\), expected one number"),
        (None, TypeError, "is NoneType, expected a number"),
        ("1", TypeError, "is str, expected a number"),
        (True, TypeError, "is bool, expected a number"),
        (np.array(1j), TypeError, "has dtype complex128"),
        (math.nan, ValueError, "is nan, expected a finite number"),
        (np.float32("inf"), ValueError, "is inf, expected a finite number"),
        (torch.tensor(-math.inf), ValueError, "is -inf, expected a finite number"),
    ],
)
def test_potentials_that_are_no_finite_number_name_the_observation(value, error, message):
    one = RunningShaping(lambda seen: value if seen[1] else 0.0, 0.9)
    one.begin(np.zeros(2))
    with pytest.raises(error, match=message):
        one.step(np.array([0.0, 1.0]), False, False)
    several = RunningBatchShaping(lambda seen: value if seen[1] else 0.0, 0.9)
    several.begin(np.zeros((2, 2)))
    with pytest.raises(error, match=message):
        several.step(np.array([[0.0, 0.0], [0.0, 1.0]]), np.zeros(2, bool), np.zeros(2, bool))


def test_long_observations_are_cut_short_in_messages():
    with pytest.raises(ValueError, match=r"observation array.{100,115}\.\.\. is nan") as caught:
        RunningShaping(lambda seen: math.nan, 0.9).begin(np.zeros((20, 5)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [np.zeros((3, 1)), np.zeros(2), np.array(["a"] * 3), 0.0])
def test_batches_of_another_shape_are_refused(values):
    class Wrong:
        def __call__(self, observation):
            raise AssertionError

        def batch(self, observations):
            return values

    with pytest.raises(ValueError, match=r"batch returned shape .* for 3 observations, expected \(3,\) numbers"):
        each_observation(Wrong())(np.zeros((3, 2)))


# Whole numbers, tensors and NumPy scalars are numbers too


@pytest.mark.parametrize("value", [3, np.int8(3), np.float32(3), np.array(3.0), torch.tensor(3.0)])
def test_all_kinds_of_numbers(value):
    shaping = RunningShaping(lambda seen: value, 0.5)
    shaping.begin(None)
    assert shaping.step(None, False, False) == -1.5
    assert type(shaping.current) is float


def test_advantages_of_a_world_are_not_changed_by_any_potential_of_these():
    mdp = FiniteMDP.random(4, 2, rng=1)
    reward = random_reward(mdp, rng=1)
    table = TablePotential(np.random.default_rng(0).normal(size=4))
    shaped = reward + potential_shaping(mdp, table.batch(np.arange(4)))
    difference = action_values(mdp, reward) - action_values(mdp, shaped)
    np.testing.assert_allclose(difference, np.broadcast_to(table.values[:, None], (4, 2)), atol=1e-9)


def test_tables_and_distances_can_be_copied_for_other_processes():
    assert copy.deepcopy(TablePotential(np.array([1.0, 2.0])))(1) == 2.0
    assert copy.deepcopy(DistancePotential([0.0]))(np.array([2.0])) == -2.0
