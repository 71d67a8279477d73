"""Named auxiliary rewards in `info`: of one environment, in vectors, under other wrappers, and refused by name."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.adapters.auxiliary_rewards import AuxiliaryRewards
from tests.adapters.worlds import Corridor


class Counter:
    """Pays for the steps of the episode so far."""

    def __init__(self):
        self.steps = 0

    def reset(self):
        self.steps = 0

    def __call__(self, step):
        self.steps += 1
        return self.steps


def place(step):
    return step.next_observation[0]


def wrapped(**functions):
    env = AuxiliaryRewards(Corridor(3), functions)
    env.reset()
    return env


# One environment


def test_functions_see_the_transition_and_the_reward_stays():
    seen = []
    env = wrapped(whole=lambda step: seen.append(step) or 1)
    bare = Corridor(3)
    bare.reset()
    for action in (0, 1, 0):
        expected = bare.step(action)
        observation, reward, terminated, truncated, info = env.step(action)
        np.testing.assert_array_equal(observation, expected[0])
        assert (reward, terminated, truncated) == expected[1:4]
        assert info == {**expected[4], "auxiliary": {"whole": 1.0}}
        step = seen[-1]
        assert (step.action, step.reward, step.terminated, step.truncated) == (action, *expected[1:4])
        assert step.info == expected[4]
    np.testing.assert_allclose([step.observation[0] for step in seen], [0, 0.1, 0.2])
    np.testing.assert_allclose([step.next_observation[0] for step in seen], [0.1, 0.2, 0.3])


def test_observations_written_into_the_same_memory_are_told_apart():
    env = AuxiliaryRewards(Corridor(3, reuse_memory=True), {"moved": lambda s: place(s) - s.observation[0]})
    env.reset()
    assert [env.step(0)[4]["auxiliary"]["moved"] for _ in range(3)] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("one", [1, 1.0, True, np.float32(1), np.int64(1), np.array(1.0), torch.tensor(1.0)])
def test_any_number_becomes_a_float(one):
    value = wrapped(one=lambda step: one).step(0)[4]["auxiliary"]["one"]
    assert type(value) is float and value == 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_values_arrive_as_they_are_in_the_order_of_the_names(values):
    names = [f"r{i}" for i in range(len(values))][::-1]
    functions = {name: lambda step, value=value: value for name, value in zip(names, values, strict=True)}
    rewards = wrapped(**functions).step(0)[4]["auxiliary"]
    assert list(rewards) == names and list(rewards.values()) == values


def test_a_function_with_a_memory_begins_anew_with_every_episode():
    env = wrapped(count=Counter(), place=place)
    assert [env.step(0)[4]["auxiliary"]["count"] for _ in range(3)] == [1, 2, 3]
    env.reset()
    assert env.step(0)[4]["auxiliary"]["count"] == 1


def test_a_time_limit_inside_is_seen_and_one_outside_is_not():
    functions = {"cut": lambda step: step.truncated}
    inside = AuxiliaryRewards(TimeLimit(Corridor(5), 2), functions)
    outside = TimeLimit(AuxiliaryRewards(Corridor(5), functions), 2)
    for env, last in ((inside, 1.0), (outside, 0.0)):
        env.reset()
        assert [env.step(0)[4]["auxiliary"]["cut"] for _ in range(2)] == [0.0, last]


def test_one_inside_another_adds_to_it():
    env = AuxiliaryRewards(wrapped(place=place), {"twice": lambda s: 2 * s.info["auxiliary"]["place"]})
    env.reset()
    assert env.step(0)[4]["auxiliary"] == pytest.approx({"place": 0.1, "twice": 0.2})


def test_the_information_of_the_environment_is_not_written_into():
    inner = {"auxiliary": {"own": 1.0}}

    class Fixed(Corridor):
        def step(self, action):
            return (*super().step(action)[:4], inner)

    env = AuxiliaryRewards(Fixed(3), {"place": place})
    for _ in range(2):
        env.reset()
        assert env.step(0)[4]["auxiliary"] == pytest.approx({"own": 1.0, "place": 0.1})
    assert inner == {"auxiliary": {"own": 1.0}}


def test_passes_the_checks_of_gymnasium_and_is_rebuilt_from_its_spec():
    env = AuxiliaryRewards(
        gymnasium.make("CartPole-v1", disable_env_checker=True), {"upright": lambda s: -abs(s.next_observation[2])}
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message=".*Box observation space.*infinity")
        check_env(env, skip_render_check=True)
    again = gymnasium.make(env.spec)
    assert isinstance(again, AuxiliaryRewards)
    for each in (env, again):
        each.reset(seed=1)
    assert env.step(1)[4] == again.step(1)[4]


# Vectors


@pytest.mark.parametrize("vector", [SyncVectorEnv, pytest.param(AsyncVectorEnv, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_in_a_vector_every_name_is_an_array_with_a_mask(vector, mode):
    lengths = (1, 3)
    envs = vector([lambda n=n: AuxiliaryRewards(Corridor(n), {"place": place}) for n in lengths], autoreset_mode=mode)
    _, infos = envs.reset(seed=0)
    assert "auxiliary" not in infos
    actions = np.zeros(2, dtype=np.int64)
    *_, infos = envs.step(actions)
    if mode is AutoresetMode.SAME_STEP:  # the last step of an episode is in final_info, as all of its info
        assert infos["final_info"]["auxiliary"]["place"][0] == pytest.approx(0.1)
        assert infos["auxiliary"]["place"][1] == pytest.approx(0.1)
    else:
        assert infos["auxiliary"]["place"] == pytest.approx(np.array([0.1, 0.1]))
        assert infos["auxiliary"]["_place"].all()
        *_, infos = envs.step(actions)
        assert infos["auxiliary"]["_place"].tolist() == [False, True]  # the first one only reset itself
    assert infos["auxiliary"]["place"].dtype == np.float64
    envs.close()


# What is refused


@pytest.mark.parametrize(
    ("returned", "came"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-np.inf, "-inf"),
        (np.array(np.nan), r"array\(nan\)"),
        (np.zeros(1), r"shape \(1,\)"),
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (torch.zeros(2), r"shape \(2,\)"),
        (torch.zeros(1), r"shape \(1,\)"),
        ([1.0], r"\[1.0\]"),
        ((), r"\(\)"),
        (None, "None"),
        ("1.0", "'1.0'"),
        (1j, "1j"),
        (np.complex128(1), r"np.complex128\(1\+0j\)"),
    ],
)
def test_anything_but_one_finite_number_is_an_error(returned, came):
    values = [0.5, returned]
    env = wrapped(fine=lambda step: 0.0, odd=lambda step: values.pop(0))
    env.step(0)
    message = f"auxiliary reward 'odd' returned {came} at step 1 of the episode, expected one finite number"
    with pytest.raises(ValueError, match=message):
        env.step(0)


def test_an_error_of_a_function_names_it_and_the_step():
    env = wrapped(fine=place, broken=lambda step: 1 // (2 - step.info["taken"]))
    env.step(0)
    with pytest.raises(ZeroDivisionError) as caught:
        env.step(0)
    assert caught.value.__notes__ == ["raised by auxiliary reward 'broken' at step 1 of the episode"]


def test_a_name_that_is_taken():
    env = AuxiliaryRewards(wrapped(place=place), {"place": place})
    env.reset()
    with pytest.raises(ValueError, match="auxiliary reward 'place' comes from the environment inside already"):
        env.step(0)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ([place], "functions: expected a mapping of names to functions, got list"),
        (place, "functions: expected a mapping of names to functions, got function"),
        ({"place": 1.0}, r"functions\['place'\]: expected a function of a Step, got float"),
        ({0: place}, "functions: expected names as keys, got 0"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_functions_that_are_none(functions, message):
    with pytest.raises(TypeError, match=message):
        AuxiliaryRewards(Corridor(), functions)


def test_a_step_before_the_first_reset():
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before the first step"):
        AuxiliaryRewards(Corridor(), {"place": place}).step(0)
