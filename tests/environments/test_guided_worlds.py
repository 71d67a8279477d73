"""What all guided worlds have in common: registered, checked, seeded, vectorised, and advice chosen by name."""

import importlib
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_for_learning

from environments import guided
from environments.guided.auxiliaries import published_potential
from rewardlab.adapters.step_signals import Step

GRID, MAZE, CARTPOLE = "rewardlab/GuidedGrid-v0", "rewardlab/GuidedMaze-v0", "rewardlab/GuidedCartPole-v0"
CAR, CONTINUOUS_CAR = "rewardlab/GuidedMountainCar-v0", "rewardlab/GuidedMountainCarContinuous-v0"
CHEETAH = "rewardlab/GuidedHalfCheetah-v0"
SHORT_HORIZON = 6
NAMES = sorted(guided.IDS)


def module_of(name):
    return importlib.import_module(guided.IDS[name].split(":")[0])


def rollout(env, steps, seed):
    """Everything that `steps` steps of random actions show, episodes following one another."""
    env.action_space.seed(seed)
    seen = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen += [observation, reward, terminated, truncated, tuple(info["auxiliary"].values())]
        if terminated or truncated:
            seen.append(env.reset()[0])
    return np.concatenate([np.ravel(each).astype(float) for each in seen])


def test_registered_once_and_for_all():
    before = {name: gymnasium.spec(name) for name in guided.IDS}
    guided.register()
    assert all(gymnasium.spec(name) is spec for name, spec in before.items())
    assert set(before) == {GRID, MAZE, CARTPOLE, CAR, CONTINUOUS_CAR, CHEETAH}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_finds_each_by_itself(name):
    code = (
        f"import gymnasium; env = gymnasium.make('environments.guided:{name}'); env.reset(seed=0); print(env.spec.id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_has_nothing_to_say(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space.*infinity")  # CartPole's own
        check_env(gymnasium.make(name).unwrapped, skip_render_check=True)
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(gymnasium.make(name, disable_env_checker=True), skip_render_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_stable_baselines3_has_nothing_to_say(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_for_learning(gymnasium.make(name, disable_env_checker=True), skip_render_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_seeds_repeat_everything(name):
    names = tuple(module_of(name).AUXILIARIES)
    first, again = (gymnasium.make(name, auxiliary=names, horizon=SHORT_HORIZON) for _ in range(2))
    seen = rollout(first, 40, seed=3)
    np.testing.assert_array_equal(seen, rollout(again, 40, seed=3))
    np.testing.assert_array_equal(seen, rollout(first, 40, seed=3))  # nothing of an earlier episode is left
    assert not np.array_equal(seen, rollout(again, 40, seed=4))


@pytest.mark.parametrize("name", NAMES)
def test_auxiliary_rewards_are_floats_of_the_chosen_names(name):
    names = tuple(module_of(name).AUXILIARIES)
    env = gymnasium.make(name)
    assert "auxiliary" not in env.reset(seed=0)[1]
    assert list(env.step(env.action_space.sample())[4]["auxiliary"]) == ["good"]
    env = gymnasium.make(name, auxiliary=names[::-1])
    env.reset(seed=0)
    rewards = env.step(env.action_space.sample())[4]["auxiliary"]
    assert tuple(rewards) == names[::-1]
    assert all(type(value) is float for value in rewards.values())
    env = gymnasium.make(name, auxiliary=())
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[4]["auxiliary"] == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_advice_changes_nothing_in_the_world(name):
    seen = []
    for names in ((), ("bad", "good")):
        env = gymnasium.make(name, auxiliary=names)
        env.action_space.seed(1)
        env.reset(seed=1)
        seen.append([env.step(env.action_space.sample())[:4] for _ in range(4)])
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]


@pytest.mark.parametrize("name", NAMES)
def test_episodes_are_cut_at_the_horizon(name):
    env = gymnasium.make(name, horizon=3)
    for _ in range(2):
        env.reset(seed=0)
        ends = [env.step(env.action_space.sample())[2:4] for _ in range(3)]
        assert ends == [(False, False), (False, False), (False, True)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vectors_hand_auxiliary_rewards_on_as_arrays(name, mode):
    options = {"auxiliary": ("good", "bad"), "horizon": 2}
    envs = gymnasium.make_vec(name, 2, "sync", vector_kwargs={"autoreset_mode": mode}, **options)
    singles = [gymnasium.make(name, **options) for _ in range(2)]
    envs.reset(seed=5)
    for i, env in enumerate(singles):
        env.reset(seed=5 + i)
    envs.action_space.seed(0)
    for _ in range(2):
        actions = envs.action_space.sample()
        *_, infos = envs.step(actions)
        expected = [env.step(actions[i])[4]["auxiliary"] for i, env in enumerate(singles)]
        rewards = infos.get("final_info", infos)["auxiliary"]
        for each in options["auxiliary"]:
            assert rewards[each].dtype == np.float64
            np.testing.assert_array_equal(rewards[each], [row[each] for row in expected])
            assert rewards[f"_{each}"].all()
    *_, infos = envs.step(envs.action_space.sample())
    assert ("auxiliary" in infos) == (mode is AutoresetMode.SAME_STEP)  # the other one only resets here


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_rebuilds_the_world(name):
    env = gymnasium.make(name, auxiliary=("bad",), horizon=SHORT_HORIZON)
    np.testing.assert_array_equal(rollout(env, 20, seed=2), rollout(gymnasium.make(env.spec), 20, seed=2))


@pytest.mark.parametrize("name", NAMES)
def test_potentials_are_numbers_of_one_state_or_of_many(name):
    env, module = gymnasium.make(name), module_of(name)
    assert {"good", "bad"} <= set(module.POTENTIALS) <= set(module.AUXILIARIES)
    observations = [env.reset(seed=seed)[0] for seed in range(3)]
    for potential in module.POTENTIALS.values():
        if name == GRID:
            assert potential.shape == (25,) and np.isfinite(potential).all()
            continue
        together = potential(np.stack(observations))
        assert together.shape == (3,) and np.isfinite(together).all()
        np.testing.assert_array_equal(together, [potential(each) for each in observations])


def test_the_published_potential_is_the_auxiliary_reward_of_the_transition():
    env = gymnasium.make(MAZE, auxiliary=("good", "bad"))
    observation, _ = env.reset(seed=0)
    arrived, reward, terminated, truncated, info = env.step(1)
    step = Step(observation, 1, reward, arrived, terminated, truncated, info)
    assert published_potential("good")(step) == info["auxiliary"]["good"] < 0
    assert published_potential("bad")(step) == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"auxiliary": "good"}, TypeError, "auxiliary: expected a sequence of names, got the string 'good'"),
        ({"auxiliary": ("good", "best")}, ValueError, r"auxiliary\[1\] is 'best', expected one of 'good', "),
        ({"auxiliary": ("good", "good")}, ValueError, "expected every name once"),
        ({"horizon": 0}, ValueError, "horizon is 0, expected a whole number"),
        ({"horizon": 2.5}, TypeError, "horizon is 2.5, expected a whole number"),
        ({"horizon": np.nan}, (TypeError, ValueError), "horizon is nan, expected a whole number"),
    ],
)
def test_bad_arguments(name, options, error, message):
    with pytest.raises(error, match=message):
        gymnasium.make(name, **options)
