import json

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import DQN, PPO, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecMonitor, VecNormalize

from rewardlab.adapters.gymnasium import RewardPipeline
from rewardlab.adapters.stable_baselines3 import RewardStages, VecRewardPipeline, each_environment
from rewardlab.transforms import (
    Centre,
    Fixed,
    LogSigmoid,
    MeanCentred,
    Pipeline,
    RunningStandardise,
    Scale,
    chain,
)
from tests.adapters.worlds import Corridor, passing, shaping


def own(step):
    return step.reward


def corridors(*lengths, vector=DummyVecEnv, **options):
    return vector([lambda n=n: Corridor(n, **options) for n in lengths])


def roll(venv, steps):
    """Rewards (steps, environments) from the first reset on."""
    venv.reset()
    return np.array([venv.step(np.zeros(venv.num_envs, dtype=np.int64))[1] for _ in range(steps)])


# The end of an episode


@pytest.mark.parametrize("vector", [DummyVecEnv, pytest.param(SubprocVecEnv, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("ending", "last"), [("truncated", 0.8), ("terminated", -1.0)])
def test_the_last_step_sees_the_last_observation(vector, ending, last):
    venv = VecRewardPipeline(corridors(2, 3, ending=ending, vector=vector), {"shaping": shaping}, passing("shaping"))
    rewards = roll(venv, 4)
    np.testing.assert_allclose(rewards[:, 0], [0.9, last, 0.9, last], rtol=1e-6)  # naive: -1.0 where it is truncated
    np.testing.assert_allclose(rewards[:3, 1], [0.9, 0.8, {0.8: 0.7, -1.0: -2.0}[last]], rtol=1e-6)
    assert rewards.dtype == np.float32
    venv.close()


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_vector_gives_what_its_environments_give_one_by_one(ending, nested):
    def seen(step):  # everything a signal can see, in one number, None now and then
        place, earlier = step.next_observation, step.observation
        if nested:
            place, earlier = place["place"], earlier["place"]
        value = 100 * place[0] + 10 * earlier[0] + step.reward + 7 * step.terminated + 3 * step.truncated + step.action
        return None if step.info["taken"] == 3 else value + step.info.get("arrived", 0.5)

    def one(length):
        signals = {"seen": seen, "own": own}
        return RewardPipeline(_without_pairs(Corridor(length, ending, nested=nested)), signals, passing("seen", "own"))

    lengths = (1, 2, 4, 5)
    venv = VecRewardPipeline(
        DummyVecEnv([lambda n=n: _without_pairs(Corridor(n, ending, nested=nested)) for n in lengths]),
        {"seen": each_environment(seen), "own": own},
        passing("seen", "own"),
    )
    singles = [one(length) for length in lengths]
    for each in (venv, *singles):
        each.reset()
    for t in range(11):
        actions = (np.arange(4) + t) % 2
        _, rewards, dones, infos = venv.step(actions)
        for i, single in enumerate(singles):
            _, reward, terminated, truncated, info = single.step(actions[i])
            assert rewards[i] == pytest.approx(reward, rel=1e-6) and dones[i] == (terminated or truncated)
            said = {key: value for key, value in info.items() if key.startswith("reward/")}
            stages = {key: values[i] for key, values in venv.stages.items() if not np.isnan(values[i])}
            assert stages == pytest.approx(said)
            assert infos[i]["reward/raw"] == info["reward/raw"]
            if dones[i]:
                single.reset()


def test_a_vector_that_hides_the_last_observation_is_refused():
    class Hiding(DummyVecEnv):
        def step_wait(self):
            observations, rewards, dones, infos = super().step_wait()
            return observations, rewards, dones, [{"TimeLimit.truncated": True} for _ in infos]

    venv = VecRewardPipeline(corridors(1, vector=Hiding), {"own": own}, passing("own"))
    with pytest.raises(ValueError, match=r"environment 0 ended .* infos\[0\] has no 'terminal_observation'"):
        roll(venv, 1)


def test_frames_are_stacked_before_the_signals_see_them():
    venv = VecRewardPipeline(
        VecFrameStack(corridors(2, 2), 2), {"shaping": lambda s: s.next_observation[:, -1]}, passing("shaping")
    )
    np.testing.assert_allclose(roll(venv, 4)[:, 0], [0.1, 0.2, 0.1, 0.2], rtol=1e-6)


# With the wrappers of Stable-Baselines3


def test_inside_vec_normalize_the_pipelines_reward_is_normalised():
    inner = VecRewardPipeline(corridors(3, 3), {"own": own}, Pipeline({"own": Scale(100.0)}))
    venv = VecNormalize(inner, norm_obs=False, gamma=0.9)
    roll(venv, 5)
    np.testing.assert_array_equal(venv.get_original_reward(), [200.0, 200.0])


@pytest.mark.parametrize("norm_reward", [True, False])
def test_outside_vec_normalize_is_said_to_be_ignored_by_replay_buffers(norm_reward):
    with pytest.warns(UserWarning, match=r"replay buffer.*Wrap the other way round"):
        venv = VecRewardPipeline(
            VecNormalize(corridors(3), norm_reward=norm_reward), {"own": own}, Pipeline({"own": Scale(100.0)})
        )
    model = DQN("MlpPolicy", venv, buffer_size=50, learning_starts=100)
    model.learn(10)  # what the warning is about
    assert set(model.replay_buffer.rewards[:10].ravel().tolist()) == {1.0, 2.0, 3.0}
    with pytest.raises(ValueError, match="DQN would ignore the pipeline"):
        model.learn(10, callback=RewardStages())


def test_inside_vec_normalize_replay_buffers_store_the_pipelines_reward():
    inner = VecRewardPipeline(corridors(3), {"own": own}, Pipeline({"own": Scale(100.0)}))
    model = DQN("MlpPolicy", VecNormalize(inner), buffer_size=50, learning_starts=100)
    model.learn(10, callback=RewardStages())
    assert set(model.replay_buffer.rewards[:10].ravel().tolist()) == {100.0, 200.0, 300.0}


def test_outside_vec_normalize_an_on_policy_learner_gets_the_pipelines_reward():
    with pytest.warns(UserWarning, match="PPO and A2C work either way"):
        venv = VecRewardPipeline(
            VecNormalize(corridors(3, ending="terminated"), norm_reward=False),
            {"own": own},
            Pipeline({"own": Scale(100.0)}),
        )
    model = PPO("MlpPolicy", venv, n_steps=6, batch_size=6, n_epochs=1)
    model.learn(6, callback=RewardStages())
    np.testing.assert_array_equal(model.rollout_buffer.rewards.ravel(), [100.0, 200.0, 300.0] * 2)


def test_monitors_inside_report_the_environments_own_return():
    venv = VecRewardPipeline(DummyVecEnv([lambda: Monitor(Corridor(3))]), {"own": own}, Pipeline({"own": Scale(100.0)}))
    outer = VecMonitor(venv)
    outer.reset()
    for _ in range(3):
        _, _, _, infos = outer.step(np.zeros(1, dtype=np.int64))
    assert infos[0]["episode"]["r"] == 600.0  # VecMonitor, outside
    assert infos[0]["reward/raw"] == 3.0
    model = PPO("MlpPolicy", venv, n_steps=6, batch_size=6, n_epochs=1)
    assert evaluate_policy(model, venv, n_eval_episodes=2, warn=False)[0] == 6.0


def test_attributes_and_methods_of_the_environments_are_reached_through_it():
    venv = VecRewardPipeline(corridors(2, 3), {"own": own}, passing("own"))
    outer = VecMonitor(venv)
    assert outer.get_attr("length") == [2, 3] and outer.has_attr("length")
    outer.set_attr("length", 7, indices=[1])
    assert outer.get_attr("length") == [2, 7]
    assert outer.env_method("reset", indices=1)[0][1] == {"taken": 0, "fresh": True}
    assert outer.env_is_wrapped(Monitor) == [False, False]
    assert outer.pipeline is venv.pipeline
    assert venv.seed(3) == [3, 4]
    assert (venv.observation_space, venv.action_space) == (venv.venv.observation_space, venv.venv.action_space)


def test_hindsight_replay_is_told_that_it_goes_past_the_pipeline():
    venv = VecRewardPipeline(
        DummyVecEnv([lambda: BitFlippingEnv(n_bits=3, continuous=False)]), {"own": own}, Pipeline({"own": Scale(100.0)})
    )
    model = DQN(
        "MultiInputPolicy",
        venv,
        replay_buffer_class=HerReplayBuffer,
        learning_starts=20,
        buffer_size=100,
        batch_size=16,
    )
    with pytest.raises(ValueError, match="relabelled transitions"):
        model.learn(60)


# Running statistics, saved and loaded


def running(venv=None):
    pipeline = Pipeline(
        {"own": chain(RunningStandardise()), "time": chain(Centre(Fixed(0.5)), LogSigmoid())},
    )
    return VecRewardPipeline(venv or corridors(3, 4), SIGNALS, pipeline)


SIGNALS = {"own": own, "time": each_environment(lambda step: step.info["taken"])}


def test_statistics_stand_still_when_not_training():
    venv = running()
    roll(venv, 5)
    learnt = venv.state_dict()
    assert learnt["own/running_standardise"]["count"] == 10
    venv.training = False
    roll(venv, 5)
    assert venv.state_dict() == learnt
    venv.training = True
    roll(venv, 1)
    assert venv.state_dict()["own/running_standardise"]["count"] == 12


def test_saved_and_loaded_with_its_state(tmp_path):
    venv = running()
    roll(venv, 5)
    venv.save(tmp_path / "rewards")
    assert sorted(path.name for path in (tmp_path / "rewards").iterdir()) == ["pipeline.toml", "state.json"]
    assert json.loads((tmp_path / "rewards" / "state.json").read_text()) == venv.state_dict()
    again = VecRewardPipeline.load(str(tmp_path / "rewards"), corridors(3, 4), SIGNALS)
    assert again.pipeline == venv.pipeline and again.state_dict() == venv.state_dict()
    for each in (venv, again):
        each.training = False
    np.testing.assert_array_equal(roll(again, 6), roll(venv, 6))
    assert not np.array_equal(roll(again, 6), roll(running(), 6))


def test_what_cannot_be_loaded_is_an_error_that_says_why(tmp_path):
    venv = running()
    venv.save(tmp_path)
    with pytest.raises(ValueError, match="no function for 'time'"):
        VecRewardPipeline.load(tmp_path, corridors(3), {"own": own})
    state = tmp_path / "state.json"
    state.write_text(state.read_text()[:-5])
    with pytest.raises(ValueError, match=r"state\.json is not JSON"):
        VecRewardPipeline.load(tmp_path, corridors(3), SIGNALS)
    state.write_text("{}")
    with pytest.raises(ValueError, match="own/running_standardise"):
        VecRewardPipeline.load(tmp_path, corridors(3), SIGNALS)
    state.unlink()
    with pytest.raises(FileNotFoundError, match=r"state\.json"):
        VecRewardPipeline.load(tmp_path, corridors(3), SIGNALS)


# What is refused


def test_pipelines_that_need_groups_are_refused():
    with pytest.raises(ValueError, match="'advantage/mean_centred' compares the samples of a group"):
        VecRewardPipeline(corridors(2), {"own": own}, Pipeline({"own": chain()}, advantage=MeanCentred()))


def test_a_pipeline_inside_another_would_lose_the_raw_reward():
    inner = VecRewardPipeline(corridors(2), {"own": own}, passing("own"))
    with pytest.raises(ValueError, match="from a reward pipeline inside this one"):
        roll(VecRewardPipeline(inner, {"own": own}, passing("own")), 1)


def test_an_environment_to_which_no_signal_applies_is_named():
    venv = VecRewardPipeline(corridors(3, 3, 1), {"own": lambda s: [1.0, 2.0, None]}, passing("own"))
    with pytest.raises(ValueError, match="no signal of own applies to this step in environment 2"):
        roll(venv, 1)


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (np.array([1.0, np.inf]), ValueError, "signal 'own', sample 1 is inf"),
        ([-np.inf, 1.0], ValueError, "signal 'own', sample 0 is -inf"),
        ([1.0, np.nan], ValueError, "no signal of own applies to this step in environment 1"),
        (None, ValueError, "no signal of own applies to this step in environment 0"),
        ([1.0], ValueError, r"returned shape \(1,\) for 2 environments, expected \(2,\)"),
        (np.ones(3), ValueError, r"returned shape \(3,\) for 2 environments"),
        (1.0, ValueError, r"returned shape \(\) for 2 environments.*each_environment"),
        (["1.0", "2.0"], TypeError, "signal 'own', sample 0: expected a number"),
        (np.array(["1.0", "2.0"]), TypeError, "signal 'own' has dtype <U3"),
    ],
)
def test_what_a_signal_may_not_return(value, error, match):
    venv = VecRewardPipeline(corridors(3, 3), {"own": lambda s: value}, passing("own"))
    with pytest.raises(error, match=match):
        roll(venv, 1)


@pytest.mark.parametrize("absent", [None, np.nan])
def test_where_a_signal_does_not_apply_the_others_are_the_reward(absent):
    venv = VecRewardPipeline(corridors(3, 3), {"own": own, "bonus": lambda s: [absent, 2.0]}, passing("own", "bonus"))
    assert roll(venv, 1).tolist() == [[1.0, 3.0]]


def test_signals_must_have_the_names_of_the_pipeline():
    with pytest.raises(ValueError, match="no function for 'safe'"):
        VecRewardPipeline(corridors(2), {"own": own}, passing("own", "safe"))
    with pytest.raises(ValueError, match="the pipeline knows no 'speed'"):
        VecRewardPipeline(corridors(2), {"own": own, "speed": own}, passing("own"))


# The log


def _without_pairs(env):
    """Stable-Baselines3 takes dicts of boxes, not of tuples."""
    if not env.nested:
        return env
    space = gymnasium.spaces.Dict({"place": env.observation_space["place"]})
    return gymnasium.wrappers.TransformObservation(env, lambda seen: {"place": seen["place"]}, space)


@pytest.mark.usefixtures("without_type_checks")
def test_one_environment_is_no_vector():
    with pytest.raises(
        TypeError, match=r"venv: expected a vector of environments, .* got TimeLimit; .*RewardPipeline is"
    ):
        VecRewardPipeline(gymnasium.make("CartPole-v1"), {"own": own}, passing("own"))
