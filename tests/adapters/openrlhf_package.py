"""The adapter in the real OpenRLHF (0.11.2); `make test-trainers` runs it where OpenRLHF is installed.

Not part of the default tests: OpenRLHF needs packages that are built for a GPU. Its rollout engine (vLLM) is one, so a
stand-in generates here, and the module of that name is empty; the reward path is OpenRLHF's own.
"""

import asyncio
import importlib.metadata
import logging
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from rewardlab.adapters import openrlhf as adapter
from rewardlab.adapters.openrlhf import RewardServer, reward_function
from tests.adapters.trainer_calls import OPENRLHF_REQUEST


def right(prompt, completion, label, **columns):
    return None if label is None else completion.strip() == label


def brief(prompt, completion, **columns):
    return -len(completion) / 10


REWARD = reward_function({"right": right, "brief": brief}, "brief", score="right", end_token="</s>")


class Letters:
    """A tokenizer of one letter a token."""

    def __call__(self, text, add_special_tokens, return_tensors):
        return {"input_ids": torch.tensor([list(map(ord, text))])}

    def decode(self, ids, skip_special_tokens):
        return "".join(map(chr, ids))


class Engine:
    """A rollout engine that always answers the same."""

    def __init__(self, answer):
        self.answer = answer

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data):
        output = SimpleNamespace(token_ids=list(map(ord, self.answer)), finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


def rollout(executor, answer=" 4</s>", label="4", max_length=50):
    """What OpenRLHF's executor makes of one prompt and its answer, reward included."""
    parameters = SimpleNamespace(max_tokens=20, logprobs=None)
    return asyncio.run(executor.execute("2 + 2 =", label, parameters, max_length, Letters(), Engine(answer)))


@pytest.fixture
def executor_class():
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    return SingleTurnAgentExecutor


@pytest.fixture
def experience(monkeypatch):
    """OpenRLHF's own function that turns a rollout into tensors; its module imports vLLM."""
    monkeypatch.setitem(sys.modules, "vllm", MagicMock())
    monkeypatch.setitem(sys.modules, "openrlhf.trainer.ray.vllm_engine", MagicMock())
    from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator

    return lambda response: SamplesGenerator._process_response_into_experience(None, response)


def test_version():
    assert importlib.metadata.version("openrlhf") == "0.11.2"  # trainer_calls.py records this version


def in_process(executor_class, tmp_path):
    example = [line[4:] for line in adapter.__doc__.splitlines() if line.startswith("    ")]
    text = (
        "\n".join(example).replace("<|im_end|>", "</s>") + '\nreward_func = reward_function({"right": right, "brief":'
    )
    (tmp_path / "my_reward.py").write_text(text + ' brief}, "brief", score="right", end_token="</s>")')
    return executor_class([str(tmp_path / "my_reward.py")])


def test_reward_file_in_openrlhfs_executor(executor_class, experience, tmp_path):
    response = rollout(in_process(executor_class, tmp_path), " no</s>")
    assert response["reward"].tolist() == pytest.approx([-0.003]) and response["scores"].tolist() == [0.0]
    made = experience(response)
    assert made.rewards.shape == made.scores.shape == made.info["reward"].shape == (1,)
    torch.testing.assert_close(made.rewards, torch.tensor([-0.003]))
    assert made.info["reward/right"].tolist() == [0.0] and made.info["reward/brief/applies"].tolist() == [1.0]


def test_service_and_openrlhfs_client(executor_class, experience):
    with RewardServer(REWARD, port=0) as server:
        made = experience(rollout(executor_class([server.url])))
    torch.testing.assert_close(made.rewards.reshape(-1), torch.tensor([-0.2]))
    torch.testing.assert_close(made.scores.reshape(-1), torch.tensor([1.0]))
    assert made.scores[0].item() == 1.0  # how its dynamic filtering reads it
    assert made.info["reward/right"].item() == made.info["reward/right/applies"].item() == 1.0


def test_two_services_share_the_work(executor_class):
    served = {"a": 0, "b": 0}

    def counting(name):
        def signal(prompt, completion, **columns):
            served[name] += 1
            return 1.0

        return reward_function({"signal": signal})

    with RewardServer(counting("a"), port=0) as first, RewardServer(counting("b"), port=0) as second:
        executor = executor_class([first.url, second.url])
        for _ in range(6):
            assert rollout(executor)["reward"] == [1.0]
    assert served == {"a": 3, "b": 3}


def test_recorded_request(executor_class):
    seen = []
    executor = executor_class(["http://127.0.0.1:9/get_reward"])

    async def spy(*lists):
        seen.append(lists)
        return [{"rewards": [0.0]}]

    executor._fetch_rewards_via_http = spy
    rollout(executor)
    assert seen == [tuple(OPENRLHF_REQUEST.values())]


@pytest.fixture
def logged(monkeypatch):
    """The lines that OpenRLHF's executor logs."""
    from openrlhf.utils import agent

    lines = []
    monkeypatch.setattr(agent.logger, "info", lines.append)
    return lines


def test_an_error_leaves_the_sample_without_a_reward_and_lines_in_the_log(executor_class, tmp_path, logged, caplog):
    assert rollout(in_process(executor_class, tmp_path), label=None)["reward"] is None
    assert "Failed to fetch reward" in logged[-1]
    assert "raised by signal 'right' for sample 0 (prompt '2 + 2 ='" in caplog.text  # the adapter's own line


def test_a_prompt_cut_at_its_beginning_is_an_error(executor_class, tmp_path, logged):
    executor = in_process(executor_class, tmp_path)
    assert rollout(executor, max_length=25)["reward"] is None  # 5 tokens of the prompt's 7 are left
    assert "query 0 does not begin with its prompt" in logged[-1]


def test_openrlhf_does_not_log_below_info():
    from openrlhf.utils import agent

    assert agent.logger.getEffectiveLevel() <= logging.INFO  # so that the lines above can be read
