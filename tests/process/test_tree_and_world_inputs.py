"""Numbers and policies that a tree search and a world of steps cannot take."""

import math

import numpy as np
import pytest
import torch

from rewardlab.process.step_world import StepWorld, evaluate_policy, sample_episodes
from rewardlab.process.tree_search import uct

pytestmark = pytest.mark.usefixtures("without_type_checks")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.5, 2, 0), ValueError, r"parent_visits is 0, expected a whole number in \[1"),
        ((0.5, -1, 3), ValueError, r"visits is -1, expected a whole number in \[0"),
        ((0.5, 1.5, 3), TypeError, r"visits is 1.5, expected a whole number"),
        ((math.nan, 2, 3), ValueError, "value is nan"),
        ((0.5, 2, 3, -1.0), ValueError, "exploration is -1.0"),
    ],
)
def test_bounds_that_are_none(arguments, error, message):
    with pytest.raises(error, match=message):
        uct(*arguments)


def world(**options):
    parts = {
        "next_state": np.array([[1, 0], [1, 1]]),
        "scores": np.full((2, 2), 0.5),
        "ends": np.array([[False, True], [False, True]]),
        "success": np.array([[False, False], [False, True]]),
        "horizon": 3,
    }
    return StepWorld(**(parts | options))


HALF = np.full((2, 2), 0.5)


@pytest.mark.parametrize("call", [evaluate_policy, lambda world, policy: sample_episodes(world, policy, 3, 0)])
@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        (HALF.tolist(), TypeError, "policy: expected a NumPy array"),
        (torch.tensor(HALF), TypeError, "policy is a Tensor, expected a NumPy array"),
        (HALF + 0j, TypeError, "policy has dtype complex128"),
        (np.full((3, 2), 0.5), ValueError, r"policy has shape \(3, 2\), expected \(\*batch, 2, 2\): states, actions"),
        (HALF[0], ValueError, r"policy has shape \(2,\)"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), ValueError, r"policy\[1, 0\] is nan"),
        (np.array([[[0.5, 0.5], [1.5, -0.5]]]), ValueError, r"policy\[0, 1, 1\] is -0.5"),
    ],
)
def test_policies_that_are_none(call, policy, error, message):
    with pytest.raises(error, match=message):
        call(world(), policy)


def test_policies_of_any_float_and_of_whole_numbers():
    exact = evaluate_policy(world(), HALF)
    for kind in (np.float16, np.float32):
        assert float(evaluate_policy(world(), HALF.astype(kind)).success) == float(exact.success) == 0.375
    sure = np.array([[1, 0], [0, 1]])
    assert float(evaluate_policy(world(), sure).success) == 1.0
    assert sample_episodes(world(), sure, 4, 0).correct.all()
    assert sample_episodes(world(), np.zeros((0, 2, 2)), 4, 0).mask.shape == (0, 4, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
@pytest.mark.parametrize("name", ["scores", "hazard"])
def test_scores_and_hazards_are_probabilities(name, value):
    array = np.full((2, 2), 0.5)
    array[1, 0] = value
    with pytest.raises(ValueError, match=rf"{name}\[1, 0\] is {value}, expected a number in \[0, 1\]"):
        world(**{name: array})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"next_state": np.array([[1, 0], [-1, 1]])}, ValueError, r"next_state\[1, 0\] is -1, expected 0 to 1"),
        ({"next_state": np.array([[1, 0], [2, 1]])}, ValueError, r"next_state\[1, 0\] is 2, expected 0 to 1"),
        ({"next_state": [[1, 0], [1, 1]]}, TypeError, "next_state: expected a NumPy array"),
        ({"scores": np.ones((2, 2), int)}, TypeError, "scores is a ndarray of int64, expected a NumPy array of floats"),
        ({"scores": torch.ones(2, 2)}, TypeError, "scores is a Tensor"),
        ({"horizon": 2.5}, TypeError, "horizon is 2.5, expected a whole number"),
        ({"initial": -1}, ValueError, "initial is -1"),
        ({"state_names": ("a", "b", "c")}, ValueError, "state_names has 3 names, expected 2"),
        ({"success": np.array([[False, False], [True, True]])}, ValueError, r"success\[1, 0\] is True"),
    ],
)
def test_worlds_that_are_none(options, error, message):
    with pytest.raises(error, match=message):
        world(**options)


def test_an_answer_is_not_cut_and_a_world_of_one_step_can_succeed():
    """The hazard of an answer is ignored, and the last step of the horizon counts."""
    sure = world(hazard=np.array([[0.0, 1.0], [0.0, 1.0]]), initial=1, horizon=1)
    answers = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert float(evaluate_policy(sure, answers).success) == 1.0
    assert sample_episodes(sure, answers, 5, 0).correct.all()
    cut = world(hazard=np.array([[1.0, 0.0], [0.0, 0.0]]))
    episodes = sample_episodes(cut, np.array([[1.0, 0.0], [0.0, 1.0]]), 5, 0)
    assert (episodes.mask.sum(-1) == 1).all() and not episodes.correct.any()
    assert (episodes.scores[:, 0] == 0.5).all()  # paid before the cut
    assert (episodes.states == 0).all()  # and the state is that of the last step


class Constant(np.random.Generator):
    """A generator whose every number is the same."""

    def __init__(self, number):
        super().__init__(np.random.PCG64(0))
        self.number = number

    def random(self, size=None):
        return np.full(size, self.number)


@pytest.mark.parametrize(("number", "policy"), [(0.0, [0.0, 1.0]), (1 - 2**-53, [1 - 9e-7, 0.0])])
def test_a_step_without_probability_is_not_taken_at_the_ends_of_the_unit_interval(number, policy):
    """A row may miss 1 by rounding; what it misses does not belong to the last step."""
    taken = sample_episodes(world(), np.array([policy] * 2), 2, Constant(number))
    assert (taken.actions[taken.mask] == np.argmax(policy)).all()
