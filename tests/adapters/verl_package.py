"""The adapter in the real verl (0.9.1); `make test-trainers` runs it where verl is installed.

Not part of the default tests: verl pins an older transformers than TRL's, and its dependencies take 0.3 GB.
"""

import importlib
import math
import os

import numpy as np
import pytest
import torch

from rewardlab.adapters import verl as adapter
from rewardlab.adapters.verl import advantage_estimator
from rewardlab.transforms import LeaveOneOut, NormaliseThenSum, Pipeline, Standardised, chain
from tests.adapters.trainer_calls import (
    VERL_ESTIMATOR_KEYWORDS,
    VERL_EXTRA_INFO,
    VERL_GDPO_KEYWORDS,
    VERL_REWARD_KEYWORDS,
)

TEXTS = ["It is 42", "no", "42 42", "seven"]
IDS = list("abab")
REWARD_FILE = """
from rewardlab.adapters.verl import compute_score_function

def right(prompt, completion, ground_truth, **columns):
    return None if ground_truth is None else ground_truth in completion

def brief(prompt, completion, **columns):
    return -len(completion) / 10

def asked(prompt, completion, **columns):
    return float(prompt[-1]["content"] == "6 * 7?")

compute_score = compute_score_function({"right": right, "brief": brief}, "right", absent_reward=0.0)
with_prompt = compute_score_function({"asked": asked}, prompt_key="prompt")
"""


class Letters:
    """A tokenizer of one letter a token, so that no model is needed."""

    def decode(self, ids, skip_special_tokens):
        return "".join(chr(int(i)) for i in ids)


@pytest.fixture(scope="module")
def rollout():
    """What verl's trainers hold after generation: four responses to two prompts, padded on the right."""
    from tensordict import TensorDict
    from verl import DataProto

    tokens = max(map(len, TEXTS))
    responses = torch.zeros(len(TEXTS), tokens, dtype=torch.long)
    for row, text in enumerate(TEXTS):
        responses[row, : len(text)] = torch.tensor(list(map(ord, text)))
    mask = torch.cat([torch.ones(len(TEXTS), 3, dtype=torch.long), (responses > 0).long()], 1)
    batch = {"prompts": torch.ones(len(TEXTS), 3, dtype=torch.long), "responses": responses, "attention_mask": mask}
    messages = np.empty(len(TEXTS), dtype=object)
    messages[:] = [[{"role": "user", "content": "6 * 7?"}]] * len(TEXTS)
    others = {
        "data_source": ["gsm8k"] * 4,
        "reward_model": [{"ground_truth": truth} for truth in ("42", "42", "42", None)],
        "extra_info": [{"index": row} for row in range(4)],
        "uid": IDS,
        "__num_turns__": [2] * 4,
    }
    others = {name: np.array(values, dtype=object) for name, values in others.items()}
    return DataProto(batch=TensorDict(batch, batch_size=4), non_tensor_batch={**others, "raw_prompt": messages})


def manager(tmp_path, function="compute_score", **settings):
    """Load the reward function and the reward manager as verl's reward workers do."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import load_reward_manager

    (tmp_path / "my_reward.py").write_text(REWARD_FILE)
    custom = {"path": str(tmp_path / "my_reward.py"), "name": function}
    config = OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": custom,
                "reward_manager": {"source": "register", "name": "naive", **settings},
            }
        }
    )
    return load_reward_manager(config, Letters())


def scored(loaded, rollout):
    """Score every sample, and put the result together as verl's RewardLoopManager does."""
    single = [loaded.loop.run_until_complete(loaded.run_single(rollout[row : row + 1])) for row in range(len(rollout))]
    keys = list(single[0]["reward_extra_info"])
    rewards = loaded.assemble_rm_scores(rollout, [one["reward_score"] for one in single])
    return rewards, {key: np.array([one["reward_extra_info"][key] for one in single]) for key in keys}


def advantages(rollout, rewards, extra, estimator, use_kl_in_reward=False):
    """Take advantages as verl's trainers do."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.ray_trainer import compute_advantage

    data = rollout.select(deepcopy=True)
    data.batch["token_level_rewards"] = rewards
    data.non_tensor_batch.update(extra)
    config = OmegaConf.create({"use_kl_in_reward": use_kl_in_reward, "gdpo_reward_keys": ["right", "brief"]})
    return compute_advantage(data, adv_estimator=estimator, config=config).batch["advantages"]


@pytest.fixture
def registry():
    from verl.trainer.ppo import core_algos

    before = dict(core_algos.ADV_ESTIMATOR_REGISTRY)
    yield core_algos.ADV_ESTIMATOR_REGISTRY
    core_algos.ADV_ESTIMATOR_REGISTRY.clear()
    core_algos.ADV_ESTIMATOR_REGISTRY.update(before)


def test_version():
    import verl

    assert verl.__version__ == "0.9.1"  # trainer_calls.py records this version


def test_reward_function_in_verls_reward_manager(rollout, tmp_path):
    rewards, extra = scored(manager(tmp_path), rollout)
    np.testing.assert_allclose(rewards.sum(1), [1, 0, 1, 0])
    assert [int(row.nonzero()) if row.any() else None for row in rewards] == [7, None, 4, None]  # the last token
    np.testing.assert_array_equal(extra["right"], [1, 0, 1, math.nan])
    np.testing.assert_array_equal(extra["score"], [1, 0, 1, 0])
    np.testing.assert_allclose(extra["brief"], [-0.8, -0.2, -0.5, -0.5])


def test_prompt_reward_manager_passes_the_prompt(rollout, tmp_path):
    settings = {
        "source": "importlib", "name": "PromptRewardManager", "module": {"path": "pkg://rewardlab.adapters.verl"}
    }  # fmt: skip
    before = [dict(info) for info in rollout.non_tensor_batch["extra_info"]]
    loaded = manager(tmp_path, "with_prompt", **settings)
    assert type(loaded) is adapter.PromptRewardManager
    _, extra = scored(loaded, rollout)
    assert extra["asked"].tolist() == [1.0] * 4
    assert list(rollout.non_tensor_batch["extra_info"]) == before


def test_recorded_call_of_the_reward_function(rollout, tmp_path):
    loaded, seen = manager(tmp_path), {}

    def spy(**keywords):
        seen.update(keywords)
        return 0.0

    loaded.compute_score = spy
    loaded.loop.run_until_complete(loaded.run_single(rollout[:1]))
    assert tuple(seen) == VERL_REWARD_KEYWORDS
    assert {name: seen["extra_info"][name] for name in VERL_EXTRA_INFO} == VERL_EXTRA_INFO


@pytest.mark.parametrize(("name", "keywords"), [("mine", VERL_ESTIMATOR_KEYWORDS), ("gdpo", VERL_GDPO_KEYWORDS)])
def test_recorded_call_of_the_estimator(rollout, registry, name, keywords):
    seen = {}

    def spy(**given):
        seen.update(given)
        return given["response_mask"], given["response_mask"]

    registry[name] = spy
    advantages(rollout, torch.zeros(4, 8), {}, name)
    assert set(seen) == set(keywords)


def test_registered_by_a_module_that_verl_imports(tmp_path, registry, monkeypatch):
    import subprocess
    import sys

    example = adapter.__doc__.split("# my_advantage.py")[1].split("# settings")[0]
    lines = [line[4:] for line in example.splitlines()[1:] if line.startswith("    ")]
    (tmp_path / "my_advantage.py").write_text("\n".join(lines))
    code = "from verl.trainer.ppo.core_algos import get_adv_estimator_fn as get; print(get('rewardlab').pipeline.names)"
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "my_advantage", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "('score',)\n"


def test_registering_twice(registry):
    from verl.trainer.ppo.core_algos import register_adv_est

    for _ in range(2):
        register_adv_est("rewardlab")(advantage_estimator(Pipeline({"score": chain()}, advantage=LeaveOneOut())))


def test_same_advantages_as_verls_own_grpo_and_rloo(rollout, tmp_path, registry):
    rewards = torch.zeros(4, 8)
    rewards[:, 1] = torch.tensor([0.3, -2.0, 1.5, 4.0])
    registry["a"] = advantage_estimator(Pipeline({"score": chain()}, advantage=Standardised(epsilon=1e-6)))
    registry["b"] = advantage_estimator(Pipeline({"score": chain()}, advantage=LeaveOneOut()))
    for ours, theirs in (("a", "grpo"), ("b", "rloo")):
        torch.testing.assert_close(
            advantages(rollout, rewards, {}, ours), advantages(rollout, rewards, {}, theirs), rtol=1e-5, atol=1e-6
        )


def test_several_signals_under_the_name_gdpo(rollout, tmp_path, registry):
    rewards, extra = scored(manager(tmp_path), rollout)
    extra["right"] = np.array([0.0, 0.0, 1.0, 0.0])
    theirs = advantages(rollout, rewards, extra, "gdpo")
    pipeline = Pipeline({"right": chain(), "brief": chain()}, advantage=NormaliseThenSum(epsilon=1e-6))
    registry["gdpo"] = registry["mine"] = advantage_estimator(pipeline)
    ours = advantages(rollout, rewards, extra, "gdpo")
    # verl whitens over tokens instead of samples: another shift and scale of the same numbers
    assert np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1] == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="verl passed no signal 'right'"):
        advantages(rollout, rewards, extra, "mine")
    with pytest.raises(ValueError, match="use_kl_in_reward"):
        advantages(rollout, rewards, extra, "gdpo", use_kl_in_reward=True)


def test_absent_samples_get_no_advantage(rollout, tmp_path, registry):
    rewards, extra = scored(manager(tmp_path), rollout)
    registry["gdpo"] = advantage_estimator(Pipeline({"right": chain()}, advantage=LeaveOneOut()))
    assert not advantages(rollout, rewards, extra, "gdpo")[[1, 3]].any()  # b: one sample is left, which proves nothing


def test_validation_metrics_take_the_keys(rollout, tmp_path):
    from verl.trainer.ppo.metric_utils import process_validation_metrics

    _, extra = scored(manager(tmp_path), rollout)
    lists = {key: values.tolist() for key, values in extra.items()}
    metrics = process_validation_metrics(["gsm8k"] * 4, IDS, lists)["gsm8k"]
    assert metrics["brief"]["mean@2"] == pytest.approx(-0.5)
    assert math.isnan(metrics["right"]["mean@2"])  # as the docstring says


def test_default_trainer_passes_the_rewards_only(rollout, registry):
    utils = importlib.import_module("verl.trainer.ppo.v1.utils")
    rewards = torch.zeros(4, 8)
    rewards[:, 1] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    data = rollout.select(non_tensor_batch_keys=["uid"], deepcopy=True)
    data.batch["token_level_rewards"] = rewards
    registry["mine"] = advantage_estimator(Pipeline({"score": chain()}, advantage=LeaveOneOut()))
    data = utils.compute_advantage_for_multi_trajectories(data, ["a_0_0"] * 4, "mine", config={})
    assert data.batch["advantages"][:, 0].tolist() == [-2.0, -2.0, 2.0, 2.0]
