"""Real PPO and SAC on a pipeline's reward, and the stages in their logs."""

import subprocess
import sys

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from rewardlab.adapters.stable_baselines3 import RewardStages, VecRewardPipeline, each_environment
from rewardlab.transforms import (
    Centre,
    Conjunction,
    Fixed,
    LogSigmoid,
    Minimum,
    Pipeline,
    Scale,
    Sigmoid,
    chain,
)
from tests.adapters.test_stable_baselines3 import corridors, own
from tests.adapters.worlds import passing


def test_stages_without_a_pipeline_are_refused():
    model = PPO("MlpPolicy", corridors(3), n_steps=6, batch_size=6, n_epochs=1)
    with pytest.raises(ValueError, match="found no VecRewardPipeline"):
        model.learn(6, callback=RewardStages())


def test_without_stable_baselines3_the_error_names_the_extra():
    code = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "stable_baselines3":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    import rewardlab.adapters.stable_baselines3
except ModuleNotFoundError as error:
    assert "pip install 'rewardlab[sb3]'" in str(error), error
else:
    raise AssertionError("imported")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def logged(folder):
    """Every scalar in the only event file under `folder`: name -> list of (step, value)."""
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    (file,) = folder.rglob("events.out.tfevents.*")
    events = accumulator.EventAccumulator(str(file)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_signals_that_do_not_apply_do_not_count_in_the_mean(tmp_path):
    signals = {"own": own, "bonus": each_environment(lambda step: step.info.get("arrived"))}
    venv = VecRewardPipeline(corridors(3, 2, ending="terminated"), signals, passing("own", "bonus"))
    model = PPO("MlpPolicy", venv, n_steps=6, batch_size=12, n_epochs=1, tensorboard_log=str(tmp_path))
    model.learn(24, callback=RewardStages())
    scalars = logged(tmp_path)
    assert scalars["reward/bonus/raw"] == [(12, 1.0), (24, 1.0)]
    assert scalars["reward/raw"] == [(12, 1.75), (24, 1.75)]
    assert scalars["reward/combined"] == [(12, pytest.approx(1.75 + 5 / 12)), (24, pytest.approx(1.75 + 5 / 12))]


def test_each_rollout_has_a_mean_of_its_own(tmp_path):
    venv = VecRewardPipeline(corridors(100), {"own": own}, passing("own"))
    model = PPO("MlpPolicy", venv, n_steps=6, batch_size=6, n_epochs=1, tensorboard_log=str(tmp_path))
    model.learn(12, callback=RewardStages())
    assert logged(tmp_path)["reward/combined"] == [(6, 3.5), (12, 9.5)]


def test_long_names_do_not_end_training(tmp_path, capsys):
    """The console cuts keys to 36 letters, and refuses two that are cut to the same."""
    name = "how_far_the_cart_is_from_the_middle_of_the_track"
    venv = VecRewardPipeline(corridors(3), {name: own, "own": own}, passing(name, "own"))
    model = PPO("MlpPolicy", venv, n_steps=6, batch_size=6, n_epochs=1, verbose=1, tensorboard_log=str(tmp_path))
    model.learn(6, callback=RewardStages())
    assert {f"reward/{name}/raw", f"reward/{name}/scale"} <= set(logged(tmp_path))
    console = capsys.readouterr().out
    assert "own/scale" in console and "combined" in console


@pytest.mark.slow
def test_ppo_trains_on_cartpole_and_logs_every_stage(tmp_path):
    signals = {
        "upright": lambda step: 0.1 - np.abs(step.next_observation[:, 2]),
        "centred": lambda step: 1.0 - np.abs(step.next_observation[:, 0]),
    }
    pipeline = Pipeline({"upright": chain(Scale(20.0), Sigmoid()), "centred": Sigmoid()}, combine=Minimum())
    venv = VecNormalize(
        VecRewardPipeline(make_vec_env("CartPole-v1", n_envs=4, seed=1), signals, pipeline), norm_reward=False
    )
    model = PPO(
        "MlpPolicy", venv, n_steps=256, batch_size=128, learning_rate=1e-3, seed=1, tensorboard_log=str(tmp_path)
    )
    model.learn(8 * 1024, callback=RewardStages())
    scalars = logged(tmp_path)
    stages = ["raw", "upright/raw", "upright/scale", "upright/sigmoid", "centred/raw", "centred/sigmoid", "combined"]
    assert {tag.removeprefix("reward/") for tag in scalars if tag.startswith("reward/")} == set(stages)
    for stage in stages:
        assert [step for step, _ in scalars[f"reward/{stage}"]] == list(range(1024, 8 * 1024 + 1, 1024))
    assert [value for _, value in scalars["reward/raw"]] == [1.0] * 8
    assert all(0 < value < 1 for _, value in scalars["reward/combined"])
    # no episode reaches the limit of 500 steps so early, so the learner's rewards are the pipeline's unchanged
    np.testing.assert_allclose(scalars["reward/combined"][-1][1], model.rollout_buffer.rewards.mean(), rtol=1e-5)
    assert scalars["rollout/ep_rew_mean"] == scalars["rollout/ep_len_mean"]  # Monitor: the unshaped return, 1 a step
    lengths = [value for _, value in scalars["rollout/ep_len_mean"]]
    assert lengths[-1] > 3 * lengths[0]  # it learns


@pytest.mark.slow
def test_sac_trains_on_pendulum_and_stores_the_pipelines_reward(tmp_path):
    signals = {
        "upright": lambda step: step.next_observation[:, 0],
        "calm": lambda step: 1.0 - np.abs(step.action[:, 0]),
    }
    good_enough = chain(Centre(Fixed(0.0)), LogSigmoid())
    pipeline = Pipeline({"upright": good_enough, "calm": good_enough}, combine=Conjunction())
    venv = VecNormalize(VecRewardPipeline(make_vec_env("Pendulum-v1", n_envs=1, seed=0), signals, pipeline))
    model = SAC(
        "MlpPolicy",
        venv,
        learning_starts=100,
        seed=0,
        batch_size=64,
        policy_kwargs={"net_arch": [32, 32]},
        tensorboard_log=str(tmp_path),
    )
    model.learn(1000, log_interval=1, callback=RewardStages())
    scalars = logged(tmp_path)
    rewards = model.replay_buffer.rewards[:1000].ravel()
    assert (rewards < 0).all()
    assert [step for step, _ in scalars["reward/combined"]] == [200, 400, 600, 800, 1000]
    # a rollout of one step ends after the log is written: the last step of an episode is in the next log
    ends = np.r_[0, np.array([200, 400, 600, 800, 1000]) - 1]
    for (_, said), start, end in zip(scalars["reward/combined"], ends[:-1], ends[1:], strict=True):
        assert said == pytest.approx(rewards[start:end].mean(), rel=1e-5)
    parts = np.array([[value for _, value in scalars[f"reward/{name}/log_sigmoid"]] for name in signals])
    np.testing.assert_allclose(parts.sum(axis=0), [value for _, value in scalars["reward/combined"]], rtol=1e-5)
