"""What the gymnasium adapter refuses, and how it says so."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from rewardlab.adapters.gymnasium import RewardPipeline, VectorRewardPipeline, each_environment
from rewardlab.transforms import (
    Centre,
    Given,
    GroupMean,
    MeanCentred,
    Pipeline,
    Scale,
    ZScore,
    chain,
)
from tests.adapters.test_gymnasium import corridors
from tests.adapters.worlds import Corridor, passing


def refused(signals, pipeline, match, error=ValueError):
    for wrap in (
        lambda: RewardPipeline(Corridor(), signals, pipeline),
        lambda: VectorRewardPipeline(corridors(2), signals, pipeline),
    ):
        with pytest.raises(error, match=match):
            wrap()


def own(step):
    return step.reward


def test_pipelines_that_need_more_than_a_step_are_refused_by_stage():
    refused({"own": own}, Pipeline({"own": chain(Centre(GroupMean()))}), "'own/centre' compares the samples of a group")
    refused(
        {"own": own}, Pipeline({"own": chain(Scale(1.0), ZScore())}), "'own/z_score' compares the samples of a group"
    )
    refused({"own": own}, Pipeline({"own": chain(Centre(Given()))}), "reference.*'own'.*Fixed")
    refused({"own": own}, Pipeline({"own": chain()}, advantage=MeanCentred()), "'advantage/mean_centred' compares")


def test_signals_must_be_functions_with_the_names_of_the_pipeline(without_type_checks):
    refused({"own": own}, passing("own", "safe"), r"no function for 'safe'; its signals are 'own', 'safe'")
    refused({"own": own, "speed": own}, passing("own"), "the pipeline knows no 'speed'")
    refused({"own": 3.0}, passing("own"), r"signals\['own'\]: expected a function of a Step, got float", TypeError)


@pytest.mark.parametrize(
    ("signal", "match"),
    [
        (lambda s: s.reward[:1], r"signal 'own' returned shape \(1,\) for 2 environments, expected \(2,\)"),
        (lambda s: s.reward[:, None], r"returned shape \(2, 1\) for 2 environments"),
        (lambda s: 1.0, r"returned shape \(\) for 2 environments.*each_environment"),
        (lambda s: [None, 1.0], "no signal of own applies to this step in environment 0"),
        (lambda s: None, "no signal of own applies to this step in environment 0"),
        (lambda s: np.array([1.0, np.inf]), "signal 'own', sample 1 is inf"),
        (lambda s: [1.0, 2.0, 3.0], r"returned shape \(3,\) for 2 environments"),
    ],
)
def test_signals_of_a_vector_return_one_number_for_each(signal, match):
    envs = VectorRewardPipeline(corridors(2, 3), {"own": signal}, passing("own"))
    envs.reset()
    with pytest.raises(ValueError, match=match):
        envs.step(np.zeros(2, dtype=np.int64))


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (np.ones(1), ValueError, r"signal 'own' returned shape \(1,\) for one step, expected one number or None"),
        (np.inf, ValueError, "own"),
        ("1.0", TypeError, "own"),
    ],
)
def test_signals_of_one_environment_return_one_number(value, error, match):
    env = RewardPipeline(Corridor(), {"own": lambda s: value}, passing("own"))
    env.reset()
    with pytest.raises(error, match=match):
        env.step(0)


@pytest.mark.parametrize("value", [["1.0", "2.0"], np.array(["1.0", "2.0"]), np.array([1.0, 2j]), [1.0, "2.0"]])
def test_text_is_no_reward_of_a_vector(value):
    envs = VectorRewardPipeline(corridors(2, 3), {"own": lambda s: value}, passing("own"))
    envs.reset()
    with pytest.raises(TypeError, match="signal 'own'"):
        envs.step(np.zeros(2, dtype=np.int64))


def test_each_environment_is_for_vectors():
    env = RewardPipeline(Corridor(), {"own": each_environment(own)}, passing("own"))
    env.reset()
    with pytest.raises(TypeError, match="one environment needs the bare function"):
        env.step(0)


def test_a_pipeline_inside_another_would_lose_the_raw_reward():
    inner = RewardPipeline(Corridor(), {"own": own}, passing("own"))
    outer = RewardPipeline(inner, {"own": own}, passing("own"))
    outer.reset()
    with pytest.raises(ValueError, match="from a reward pipeline inside this one"):
        outer.step(0)
    envs = SyncVectorEnv([lambda: RewardPipeline(Corridor(), {"own": own}, passing("own"))])
    envs = VectorRewardPipeline(envs, {"own": own}, passing("own"))
    envs.reset()
    with pytest.raises(ValueError, match="from a reward pipeline inside this one"):
        envs.step(np.zeros(1, dtype=np.int64))


def test_what_hides_the_end_of_an_episode_is_refused():
    with pytest.raises(ValueError, match=r"Autoreset\(RewardPipeline"):
        RewardPipeline(gymnasium.wrappers.Autoreset(Corridor()), {"own": own}, passing("own"))
    envs = corridors(2)
    del envs.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match=r"metadata\['autoreset_mode'\] of .* is None"):
        VectorRewardPipeline(envs, {"own": own}, passing("own"))


def test_importing_the_adapters_imports_no_framework():
    code = (
        "import sys, rewardlab.adapters as adapters; "
        "heavy = {'gymnasium', 'stable_baselines3', 'torch', 'trl', 'transformers', 'tensorboard'} & set(sys.modules); "
        "assert not heavy, heavy; assert 'gymnasium' in dir(adapters); adapters.gymnasium.RewardPipeline; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_signal_raises_names_the_signal():
    env = RewardPipeline(gymnasium.make("CartPole-v1"), {"own": own, "odd": lambda step: 1 / 0}, passing("own", "odd"))
    env.reset(seed=0)
    with pytest.raises(ZeroDivisionError) as caught:
        env.step(0)
    assert caught.value.__notes__ == ["raised by signal 'odd'"]


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_pipeline_is_refused():
    with pytest.raises(TypeError, match="pipeline: expected a Pipeline, got NoneType"):
        RewardPipeline(gymnasium.make("CartPole-v1"), {"own": own}, None)
