"""The loop on a model so small that a step takes milliseconds: what it learns, what a step is, what goes wrong."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from llm_scale.grpo import Loop
from llm_scale.models.loading import LoraSettings, load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.settings import Settings
from llm_scale.tasks.task import Problem, Task
from long_runs.run_log import read_metrics

SMALL = {
    "model": "tiny-test",
    "task": "addition:style=bare",
    "prompts": 4,
    "group": 4,
    "steps": 2,
    "max_new_tokens": 4,
    "learning_rate": 1e-3,
    "evaluation_problems": 4,
    "evaluation_samples": 2,
    "checkpoint_every": 0,
}

LENGTH = """
[sources]
long = "length"

[pipeline.signals]
long = []
"""


class Letters(Task):
    """Write an "a": right in about one of a hundred answers of a model that knows nothing, so rewards differ."""

    name, max_new_tokens, always_ends = "letters", 4, True

    def problems(self, split, number, seed):
        numbers = np.random.default_rng([seed, split == "test"]).integers(0, 50, number)
        return [Problem(f"{n}:", "a", int(n) + 50 * (split == "test")) for n in numbers]

    def verify(self, problem, completion):
        return float("a" in completion)

    def demonstration(self, problem):
        return "ba"


def loop(**changes) -> Loop:
    parts = {name: changes.pop(name) for name in ("language_model", "task", "reward_path") if name in changes}
    return Loop(Settings(**{**SMALL, **changes}), **parts)


def length_loop(**changes) -> Loop:
    """A loop whose reward is the answer's length: differs from sample to sample from the first step on."""
    task = Letters()
    return loop(task=task, reward_path=RewardPath.from_toml(LENGTH, task), **changes)


def weights(of: Loop) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in of.lm.parameters()])


def test_what_is_rewarded_becomes_more_frequent(tmp_path):
    longer = length_loop(steps=25, prompts=8, group=8, learning_rate=3e-3, objective="dr_grpo", folder=str(tmp_path))
    rows = longer.train()
    assert np.mean([row["length/mean"] for row in rows[-3:]]) > np.mean([row["length/mean"] for row in rows[:3]])
    assert rows[-1]["length/ended"] < rows[0]["length/ended"]
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(1, 26))


@pytest.mark.parametrize(
    "name", ["grpo", "dr_grpo", "dapo", "rloo", "reinforce_plus_plus", "gspo", "stable_reinforce", "cispo"]
)
def test_every_algorithm_takes_a_step(name):
    one = length_loop(objective=name)
    before = weights(one)
    row = one.one_step()
    assert not torch.equal(weights(one), before)
    assert math.isfinite(row["policy/loss"])
    assert row["policy/gradient_norm"] > 0


def test_the_first_update_is_on_policy():
    row = length_loop(objective="grpo").one_step()
    assert row["policy/ratio_max"] == pytest.approx(1.0, abs=1e-4)
    assert row["policy/clip_low"] == row["policy/clip_high"] == 0


def test_a_second_pass_over_the_batch_is_not():
    row = length_loop(objective="grpo", updates=3, learning_rate=1e-2).one_step()
    assert row["policy/ratio_max"] > 1.01


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo", "gspo"])
def test_accumulated_gradients_are_those_of_the_whole_batch(name):
    whole, parts = (length_loop(objective=name, prompts_per_pass=number) for number in (None, 1))
    rows = whole.one_step(), parts.one_step()
    for metric in ("policy/loss", "policy/gradient_norm", "policy/entropy", "policy/kl_from_first"):
        if metric in rows[0]:
            assert rows[0][metric] == pytest.approx(rows[1][metric], abs=2e-6)
    for one, other in zip(whole.lm.parameters(), parts.lm.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=2e-6)


def test_the_same_settings_give_the_same_numbers():
    one, other = length_loop(), length_loop()
    first, second = one.one_step(), other.one_step()
    assert torch.equal(weights(one), weights(other))
    assert {name: value for name, value in first.items() if "seconds" not in name} == {
        name: value for name, value in second.items() if "seconds" not in name
    }
    third = length_loop(seed=1)
    third.one_step()
    assert not torch.equal(weights(one), weights(third))


def test_a_run_that_stopped_goes_on_to_the_same_numbers(tmp_path):
    through = length_loop(steps=5, folder=str(tmp_path / "one"))
    through.train()
    length_loop(steps=3, folder=str(tmp_path / "two"), checkpoint_every=2).train()
    resumed = length_loop(steps=5, folder=str(tmp_path / "two"), checkpoint_every=2)
    rows = resumed.train()
    assert len(rows) == 2
    assert torch.equal(weights(through), weights(resumed))
    one, two = (read_metrics(tmp_path / name) for name in ("one", "two"))
    assert [row["reward/mean"] for row in one] == [row["reward/mean"] for row in two]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    length_loop(steps=1, folder=str(tmp_path), checkpoint_every=1).train()
    with pytest.raises(ValueError, match=r"of another run: .*group"):
        length_loop(steps=2, folder=str(tmp_path), checkpoint_every=1, group=2).train()


def test_groups_that_are_all_wrong_change_nothing():
    one = loop(objective="dr_grpo")  # a model that knows nothing does not add
    before = weights(one)
    row = one.one_step()
    assert row["reward/mean"] == 0
    assert row["reward/constant_groups"] == 1
    assert torch.equal(weights(one), before)


class Breaks(Letters):
    """A verifier that raises at some answers."""

    def verify(self, problem, completion):
        if len(completion) % 2:
            raise RuntimeError("an answer of odd length")
        return 1.0


def test_a_sample_whose_verifier_raises_is_left_out_and_counted():
    row = loop(task=Breaks(), group=8).one_step()
    assert 0 < row["reward/failures"] == row["reward/absent"] < 32
    assert row["reward/mean"] == 1.0


def test_or_training_stops_and_says_where():
    with pytest.raises(ValueError, match=r"sample \d+ of prompt \d .*an answer of odd length"):
        loop(task=Breaks(), group=8, on_failure="stop").one_step()


class Never(Letters):
    """A verifier that knows of no answer."""

    def verify(self, problem, completion):
        return math.nan


def test_without_any_reward_training_stops():
    with pytest.raises(ValueError, match="none of the 16 samples has a reward"):
        loop(task=Never()).one_step()


class Long(Letters):
    """A prompt that does not fit."""

    def problems(self, split, number, seed):
        return [Problem("1" * 5000, "a", n) for n in range(number)]


def test_a_prompt_longer_than_the_context_is_named():
    with pytest.raises(ValueError, match=r"prompts\[0\] has 5000 tokens"):
        loop(task=Long()).one_step()


def test_reference_divergence_grows_from_zero():
    one = length_loop(measure_kl=True, kl_weight=0.0, learning_rate=1e-2)
    first, second = one.one_step(), one.one_step()
    assert first["policy/kl_from_first"] == pytest.approx(0.0, abs=1e-4)
    assert abs(second["policy/kl_from_first"]) > 1e-3


def test_adapters_are_trained_and_the_rest_is_not():
    lm = load("tiny-test", lora=LoraSettings(rank=2))
    one = length_loop(language_model=lm, kl_weight=0.1)
    frozen = {name: weight.clone() for name, weight in lm.model.named_parameters() if not weight.requires_grad}
    before = weights(one)
    one.one_step()
    assert not torch.equal(weights(one), before)
    assert all(torch.equal(dict(lm.model.named_parameters())[name], weight) for name, weight in frozen.items())


def test_bfloat16_computes_about_the_same_step():
    exact, rough = length_loop(), length_loop(precision="bfloat16")
    rows = exact.one_step(), rough.one_step()
    assert rows[1]["policy/gradient_norm"] == pytest.approx(rows[0]["policy/gradient_norm"], rel=0.3)
    assert all(parameter.dtype == torch.float32 for parameter in rough.lm.parameters())


def test_questions_without_signal_are_drawn_again():
    class Sometimes(Letters):
        """Right if the answer has at least two letters: some groups differ, some do not."""

        def verify(self, problem, completion):
            return float(len(completion) >= 4) if problem.number % 2 else 0.0

    plain, redrawn = (loop(task=Sometimes(), group=8, prompts=8, redraws=number, seed=3) for number in (0, 4))
    rows = plain.one_step(), redrawn.one_step()
    assert rows[1]["reward/constant_groups"] < rows[0]["reward/constant_groups"]
    assert len(redrawn.roll_out().problems) == 8


class OneGiven:
    """A signal that scores all samples at once."""

    def __call__(self, samples: Sequence) -> list[float]:
        return [float(len(sample.ids)) for sample in samples]


def test_rewards_of_the_file_may_take_their_own_advantages():
    text = LENGTH + '\n[pipeline.advantage]\nkind = "normalise_then_sum"\n'
    task = Letters()
    one = loop(task=task, reward_path=RewardPath.from_toml(text, task))
    batch = one.roll_out()
    expected = torch.as_tensor(batch.rewards.advantages).float()[:, None] * batch.completions.mask
    assert torch.equal(batch.advantages, expected)


def test_steps_are_paid_by_token():
    one = loop(task=_chains(), reward="rewards/raw_process.toml", max_new_tokens=24, group=4, prompts=2)
    assert one.objective.credit == "token"
    batch = one.roll_out()
    assert batch.rewards.steps is not None
    assert torch.isfinite(batch.advantages).all()
    one.learn(batch)


def _chains() -> Task:
    from llm_scale.tasks.loading import task

    return task("chains:style=bare")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"group": 0}, "group is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        Settings(**changes)


def test_settings_change_the_objective():
    one = loop(objective="dapo", kl_weight=0.1, kl_estimator="k2", clip_high=0.5)
    assert (one.objective.kl_weight, one.objective.kl_estimator) == (0.1, "k2")
    assert (one.objective.clip_low, one.objective.clip_high) == (0.2, 0.5)
    assert one.objective.aggregation == "token_mean"


def test_one_sample_a_question_has_nothing_to_be_compared_with():
    with pytest.raises(ValueError, match=r"group is 1, but grpo compares the samples of a question"):
        loop(group=1)
    assert loop(group=1, objective="reinforce_plus_plus").settings.group == 1
