import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.adapters.gymnasium import RewardPipeline, VectorRewardPipeline, each_environment
from rewardlab.transforms import (
    Centre,
    Fixed,
    Pipeline,
    RunningStandardise,
    Scale,
    chain,
)
from tests.adapters.worlds import Corridor, passing, shaping


def corridors(*lengths, mode=AutoresetMode.NEXT_STEP, vector=SyncVectorEnv, **options):
    return vector([lambda n=n: Corridor(n, **options) for n in lengths], autoreset_mode=mode)


def shaped(envs):
    return VectorRewardPipeline(envs, {"shaping": shaping}, passing("shaping"))


def roll(envs, steps):
    """Rewards (steps, environments) from the first reset on."""
    envs.reset(seed=0)
    return np.array([envs.step(np.zeros(envs.num_envs, dtype=np.int64))[1] for _ in range(steps)])


# One environment


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_passes_the_checks_of_gymnasium(name):
    env = RewardPipeline(
        gymnasium.make(name, disable_env_checker=True),
        {"own": lambda step: step.reward, "still": lambda step: -float(np.sum(np.square(step.action)))},
        passing("own", "still"),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)


def test_info_holds_the_raw_reward_and_every_stage():
    pipeline = Pipeline({"own": chain(Centre(Fixed(0.5)), Scale(2.0)), "time": chain(Scale(0.25))})
    env = RewardPipeline(Corridor(3), {"own": lambda s: s.reward, "time": lambda s: s.info["taken"]}, pipeline)
    env.reset()
    env.step(0)
    observation, reward, terminated, truncated, info = env.step(1)
    assert type(reward) is float and reward == 2 * 1.5 + 0.5
    assert {key: value for key, value in info.items() if key.startswith("reward/")} == {
        "reward/raw": 2.0,
        "reward/own/raw": 2.0,
        "reward/own/centre": 1.5,
        "reward/own/scale": 3.0,
        "reward/time/raw": 2.0,
        "reward/time/scale": 0.5,
        "reward/combined": 3.5,
    }
    assert all(type(value) is float for key, value in info.items() if key.startswith("reward/"))
    assert info["taken"] == 2 and observation == [0.2] and (terminated, truncated) == (False, False)


@pytest.mark.parametrize(("ending", "last"), [("truncated", 0.8), ("terminated", -1.0)])
def test_a_potential_is_zero_at_termination_and_kept_at_truncation(ending, last):
    env = RewardPipeline(Corridor(2, ending), {"shaping": shaping}, passing("shaping"))
    for _ in range(2):  # a second episode starts from its own first observation
        env.reset()
        np.testing.assert_allclose([env.step(0)[1], env.step(0)[1]], [0.9, last])


def test_observations_written_into_the_same_memory_are_told_apart():
    env = RewardPipeline(Corridor(3, reuse_memory=True), {"shaping": shaping}, passing("shaping"))
    env.reset()
    np.testing.assert_allclose([env.step(0)[1], env.step(0)[1]], [0.9, 0.8])


def test_none_means_that_a_signal_does_not_apply():
    signals = {"own": lambda s: s.reward, "bonus": lambda s: s.info.get("arrived")}
    env = RewardPipeline(Corridor(2), signals, passing("own", "bonus"))
    env.reset()
    _, reward, _, _, info = env.step(0)
    assert reward == 1.0 and not any("bonus" in key for key in info)
    _, reward, _, _, info = env.step(0)
    assert reward == 3.0 and info["reward/bonus/scale"] == 1.0


@pytest.mark.parametrize("absent", [None, np.nan, np.float32("nan"), np.array(np.nan)])
def test_nan_means_what_none_does(absent):
    signals = {"own": lambda s: s.reward, "bonus": lambda s: absent}
    env = RewardPipeline(Corridor(2), signals, passing("own", "bonus"))
    env.reset()
    _, reward, _, _, info = env.step(0)
    assert reward == 1.0 and not any("bonus" in key for key in info)


@pytest.mark.parametrize("values", [[None, 2.0], (np.nan, 2.0), np.array([np.nan, 2.0]), [np.float32("nan"), 2]])
def test_nan_means_what_none_does_in_a_vector(values):
    signals = {"own": lambda s: s.reward, "bonus": lambda s: values}
    assert roll(VectorRewardPipeline(corridors(2, 3), signals, passing("own", "bonus")), 1).tolist() == [[1.0, 3.0]]


def test_a_step_to_which_no_signal_applies_is_an_error():
    env = RewardPipeline(Corridor(2), {"bonus": lambda s: s.info.get("arrived")}, passing("bonus"))
    env.reset()
    with pytest.raises(ValueError, match="no signal of bonus applies to this step, and an agent needs a reward"):
        env.step(0)


def test_running_statistics_follow_training_and_travel_as_a_state():
    def wrapped():
        pipeline = Pipeline({"own": chain(RunningStandardise())})
        env = RewardPipeline(Corridor(6), {"own": lambda s: s.reward}, pipeline)
        env.reset()
        return env

    env = wrapped()
    for _ in range(3):
        env.step(0)
    learnt = env.state_dict()
    env.training = False
    frozen = env.step(0)[1]
    assert env.state_dict() == learnt != wrapped().state_dict()
    assert frozen == pytest.approx((4 - 2) / np.std([1, 2, 3]))  # 1, 2, 3 seen; the fourth is judged by them

    other = wrapped()
    other.load_state_dict(learnt)
    other.training = False
    other.step(0), other.step(0), other.step(0)
    assert other.step(0)[1] == frozen
    env.training = True
    env.step(0)
    assert env.state_dict() != learnt


def test_a_spec_rebuilds_the_wrapped_environment():
    signals = {"own": lambda s: s.reward, "angle": lambda s: -abs(s.next_observation[2])}
    env = RewardPipeline(gymnasium.make("CartPole-v1"), signals, passing("own", "angle"))
    again = gymnasium.make(env.spec)
    assert isinstance(again, RewardPipeline)
    for each in (env, again):
        each.reset(seed=3)
    assert env.step(1)[1] == again.step(1)[1] != 1.0


def test_resets_pass_their_options_on():
    env = RewardPipeline(gymnasium.make("CartPole-v1"), {"own": lambda s: s.reward}, passing("own"))
    observation, info = env.reset(seed=1, options={"low": 0.01, "high": 0.02})
    assert info == {} and ((observation >= 0.01) & (observation <= 0.02)).all()
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before"):
        RewardPipeline(Corridor(), {"own": lambda s: s.reward}, passing("own")).step(0)


# A vector of environments: what a step is


@pytest.mark.parametrize("vector", [SyncVectorEnv, pytest.param(AsyncVectorEnv, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("mode", "ending", "expected"),
    [
        (AutoresetMode.NEXT_STEP, "truncated", [0.9, 0.8, 0.0, 0.9, 0.8, 0.0]),  # naive: -2.0 in place of 0
        (AutoresetMode.NEXT_STEP, "terminated", [0.9, -1.0, 0.0, 0.9, -1.0, 0.0]),
        (AutoresetMode.SAME_STEP, "truncated", [0.9, 0.8, 0.9, 0.8]),  # naive: -1.0 in place of 0.8
        (AutoresetMode.SAME_STEP, "terminated", [0.9, -1.0, 0.9, -1.0]),
    ],
)
def test_the_end_of_an_episode_in_every_autoreset_mode(vector, mode, ending, expected):
    envs = shaped(corridors(2, 2, mode=mode, ending=ending, vector=vector))
    np.testing.assert_allclose(roll(envs, len(expected)), np.column_stack([expected, expected]), atol=1e-12)
    envs.close()


@pytest.mark.parametrize("mode", [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP])
def test_episodes_begun_by_hand(mode):
    envs = shaped(corridors(2, 3, mode=mode))
    envs.reset(seed=0)
    actions = np.zeros(2, dtype=np.int64)
    envs.step(actions)
    _, rewards, _, truncated, _ = envs.step(actions)
    np.testing.assert_allclose(rewards, [0.8, 0.8])
    assert truncated.tolist() == [True, False]
    envs.reset(options={"reset_mask": truncated})
    np.testing.assert_allclose(envs.step(actions)[1], [0.9, 0.7])


def test_one_environment_begun_by_hand_while_another_waits_for_its_reset():
    envs = shaped(corridors(1, 3))
    envs.reset(seed=0)
    actions = np.zeros(2, dtype=np.int64)
    envs.step(actions)
    envs.reset(options={"reset_mask": np.array([False, True])})
    np.testing.assert_allclose(envs.step(actions)[1], [0.0, 0.9])


def test_environments_that_only_reset_are_left_out():
    seen = []

    def own(step):
        seen.append((step.environments.tolist(), step.reward.tolist(), step.info["taken"].tolist(), len(step.action)))
        return step.reward

    envs = VectorRewardPipeline(corridors(1, 2, 9), {"own": own}, Pipeline({"own": chain(RunningStandardise(0.0))}))
    envs.reset()
    actions = np.zeros(3, dtype=np.int64)
    envs.step(actions)
    _, rewards, _, _, infos = envs.step(actions)
    assert seen[1] == ([1, 2], [2.0, 2.0], [2, 2], 2)
    assert rewards[0] == 0.0 and np.isnan(infos["reward/own/raw"][0]) and np.isnan(infos["reward/raw"][0])
    assert infos["_reward/own/raw"].tolist() == infos["_reward/raw"].tolist() == [False, True, True]
    np.testing.assert_allclose(infos["reward/combined"][1:], rewards[1:])
    envs.step(actions)
    assert seen[2][:2] == ([0, 2], [1.0, 3.0])
    statistics = envs.pipeline.state_dict()["own/running_standardise"]
    assert statistics["count"] == 7  # 3 + 2 + 2 transitions
    assert statistics["mean"] == pytest.approx((1 + 1 + 1 + 2 + 2 + 1 + 3) / 7)


def test_a_step_on_which_all_environments_reset():
    calls = []
    envs = VectorRewardPipeline(
        corridors(1, 1), {"own": lambda s: calls.append(1) or s.reward}, Pipeline({"own": chain(RunningStandardise())})
    )
    np.testing.assert_array_equal(roll(envs, 4), np.zeros((4, 2)))  # always the same reward: no spread, so 0
    assert len(calls) == 2 and envs.state_dict()["own/running_standardise"]["count"] == 4


def test_vectors_written_for_speed_reset_in_the_next_step_too():
    envs = gymnasium.make_vec("CartPole-v1", num_envs=4, vectorization_mode="vector_entry_point")
    envs = VectorRewardPipeline(envs, {"fall": lambda s: s.terminated.astype(float) - 5.0}, passing("fall"))
    envs.reset(seed=0)
    ended, resets, actions = np.zeros(4, dtype=bool), 0, np.ones(4, dtype=np.int64)
    for _ in range(40):
        _, rewards, terminated, _, _ = envs.step(actions)
        np.testing.assert_array_equal(rewards, np.where(ended, 0.0, terminated - 5.0))
        resets += ended.sum()
        ended = terminated
    assert resets >= 4


def test_memory_used_again_does_not_mix_observations():
    envs = SyncVectorEnv([lambda: Corridor(3), lambda: Corridor(2, reuse_memory=True)], copy=False)
    np.testing.assert_allclose(roll(shaped(envs), 2), [[0.9, 0.9], [0.8, 0.8]])


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    mode=st.sampled_from([AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]),
    ending=st.sampled_from(["terminated", "truncated"]),
    steps=st.integers(1, 12),
    nested=st.booleans(),
)
def test_a_vector_gives_what_its_environments_give_one_by_one(lengths, mode, ending, steps, nested):
    def own(step):  # everything a signal can see, in one number, None now and then
        place, earlier = step.next_observation, step.observation
        if nested:
            place = place["place"] + place["pair"][0] + place["pair"][1][0]
            earlier = earlier["place"] + earlier["pair"][0]
        value = 100 * place[0] + 10 * earlier[0] + step.reward + 7 * step.terminated + 3 * step.truncated + step.action
        value += step.info["detail"]["twice"] + step.info.get("arrived", 0.5) + 1000 * step.info.get("fresh", 0)
        return None if step.info["taken"] == 3 else value

    names = ("own", "always")
    envs = VectorRewardPipeline(
        corridors(*lengths, mode=mode, ending=ending, nested=nested),
        {"own": each_environment(own), "always": lambda s: s.reward},
        passing(*names),
    )
    singles = [
        RewardPipeline(Corridor(n, ending, nested=nested), {"own": own, "always": lambda s: s.reward}, passing(*names))
        for n in lengths
    ]
    for each in (envs, *singles):
        each.reset()
    ended = np.zeros(len(lengths), dtype=bool)
    for t in range(steps):
        if mode is AutoresetMode.DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended})
        actions = (np.arange(len(lengths)) + t) % 2
        _, rewards, _, _, infos = envs.step(actions)
        waiting = ended & (mode is AutoresetMode.NEXT_STEP)
        for i, single in enumerate(singles):
            if ended[i]:
                single.reset()
            if waiting[i]:
                ended[i] = False
                assert rewards[i] == 0 and not infos["_reward/raw"][i]
                continue
            _, reward, terminated, truncated, info = single.step(actions[i])
            ended[i] = terminated or truncated
            assert rewards[i] == reward
            for key in ("reward/raw", "reward/own/raw", "reward/always/scale", "reward/combined"):
                assert infos[f"_{key}"][i] == (key in info)
                assert key not in info or infos[key][i] == info[key]


def test_one_function_serves_one_environment_and_many():
    def upright(step):
        return -np.abs(step.next_observation[..., 2]) + 0.1 * step.action

    one = RewardPipeline(gymnasium.make("CartPole-v1"), {"upright": upright}, passing("upright"))
    many = VectorRewardPipeline(
        gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"),
        {"upright": upright},
        passing("upright"),
    )
    one.reset(seed=5), many.reset(seed=5)
    assert one.step(1)[1] == pytest.approx(many.step(np.ones(3, dtype=np.int64))[1][0], abs=1e-7)


def test_state_of_a_vector_travels_and_freezes():
    def wrapped():
        return VectorRewardPipeline(
            corridors(4, 3), {"own": lambda s: s.reward}, Pipeline({"own": chain(RunningStandardise())})
        )

    envs, other = wrapped(), wrapped()
    roll(envs, 3)
    learnt = envs.state_dict()
    other.load_state_dict(learnt)
    for each in (envs, other):
        each.training = False
    np.testing.assert_array_equal(roll(envs, 5), roll(other, 5))
    assert envs.state_dict() == other.state_dict() == learnt


# What is refused
