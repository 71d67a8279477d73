"""What goes wrong in a run: a sample is masked and counted, or training stops with an error that says where."""

import errno
import math
import os
import time

import pytest
import torch

from llm_scale.models.loading import LoraSettings, load
from llm_scale.tasks.loading import task
from llm_scale.tasks.task import Problem, Task
from long_runs import checkpoints
from long_runs.checkpoints import latest_step
from long_runs.run_log import read_metrics
from tests.llm_scale.loops import LENGTHS, answers, by_row, loop, scored, weights
from tests.llm_scale.tasks.attacks import attacks
from tests.llm_scale.test_grpo_commands import skip_without_files


@pytest.mark.parametrize("missing", [None, math.nan, RuntimeError("no score")], ids=["None", "NaN", "raises"])
def test_a_sample_without_a_reward_is_left_out_and_counted(missing):
    one = scored(by_row(missing, 0.0, 1.0, 0.0, 0.0, 1.0, missing, 0.0))
    batch = one.roll_out()
    assert batch.present.tolist() == [False, True, True, True, True, True, False, True]
    assert (batch.advantages[[0, 6]] == 0).all() and batch.advantages[1, 0] == pytest.approx(-1 / 3)
    row = one.learn(batch) | one._summary(batch)
    assert row["reward/absent"] == 2 and row["reward/mean"] == pytest.approx(2 / 6)
    assert row["reward/failures"] == (2 if isinstance(missing, Exception) else 0)
    assert math.isfinite(row["policy/loss"]) and row["policy/gradient_norm"] > 0
    assert torch.isfinite(weights(one)).all()


def test_what_is_left_out_has_no_part_in_the_gradient(monkeypatch):
    def gradient(first, absent):
        answers(monkeypatch, first, "12", "3", "4567")
        one = scored(by_row(absent, 0.0, 1.0, 0.0), prompts=1, objective="grpo", kl_weight=0.1)
        with torch.no_grad():  # so that the penalty for leaving the reference has a gradient
            one.lm.parameters()[-1].mul_(1.5)
        entropy = one.learn(one.roll_out())["policy/entropy"]
        return torch.cat([*(weight.grad.flatten() for weight in one.lm.parameters()), torch.tensor([entropy])])

    assert torch.allclose(gradient("9999", None), gradient("", None), atol=1e-7)
    assert not torch.allclose(gradient("9999", 1.0), gradient("", 1.0), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_wrong_or_all_right_changes_nothing_and_stops_nothing(value):
    one = scored(by_row(*[value] * 8))
    before = weights(one)
    row = one.one_step()
    assert torch.equal(weights(one), before)
    assert row["reward/constant_groups"] == 1 and row["reward/mean"] == value


def test_an_answer_that_is_only_its_end(monkeypatch):
    answers(monkeypatch, "", "", "7", "")
    one = scored(lambda samples: [float(len(sample.completion)) for sample in samples], objective="gspo")
    row = one.one_step()
    assert row["length/mean"] == pytest.approx(1.25) and row["policy/gradient_norm"] > 0
    answers(monkeypatch, "")
    for path in ("rewards/conjunction.toml", "rewards/raw_process.toml"):
        row = loop(task="chains:style=bare", reward=path).one_step()
        assert row["length/mean"] == 1 and row["reward/mean"] <= 0 and math.isfinite(row["policy/loss"])


class Long(Task):
    """The second question does not fit."""

    name, always_ends = "long", True

    def problems(self, split, number, seed):
        return [Problem("1" * (1 + 900 * (n == 1)), "1", n) for n in range(number)]

    def verify(self, problem, completion):
        return 1.0


def test_a_prompt_longer_than_the_context_is_named():
    with pytest.raises(ValueError, match=r"prompts\[1\] has 901 tokens.* the model's context of 512"):
        loop(task=Long()).roll_out()


FAST, SLOW = ("addition", "chains:style=bare"), ("gsm8k", "reasoning_gym:chain_sum")


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_answers_that_break_parsers_and_hold_code(name, monkeypatch, tmp_path):
    skip_without_files(name)
    trap = tmp_path / "trap"
    texts = [text[:200] for text in attacks(trap) if "\ud800" not in text]  # no tokenizer writes that
    answers(monkeypatch, *texts)
    reward = "rewards/clip_delta.toml" if name.startswith("chains") else "rewards/weighted_sum.toml"
    one = loop(task=name, reward=reward, group=len(texts), prompts=1, verify_seconds=20.0)
    row = one.learn(batch := one.roll_out()) | one._summary(batch)
    assert math.isfinite(row["policy/loss"]) and row["reward/absent"] == row["reward/failures"] < 4
    assert not trap.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["countdown", "puzzle24"])
def test_scorers_that_evaluate_never_see_code(name, tmp_path):
    asked = task(f"reasoning_gym:{name}")
    trap = tmp_path / "trap"
    problem = asked.problems("train", 1, seed=0)[0]
    for text in attacks(trap):
        if "{" not in text and len(text) < 300:
            assert 0 <= asked.verify(problem, text) < 1
    assert not trap.exists()


class Trouble(Task):
    """A verifier that raises at odd lengths, hangs at 2, and needs a process of its own."""

    name, max_new_tokens = "trouble", 4

    def problems(self, split, number, seed):
        return [Problem(f"{n}:", "", n) for n in range(number)]

    def verify(self, problem, completion):
        if len(completion) == 2:
            time.sleep(60)
        if len(completion) % 2:
            raise KeyError(f"{len(completion)} letters")
        return float(len(completion) > 3)


def test_a_verifier_that_hangs_or_raises_is_left_behind(monkeypatch):
    answers(monkeypatch, "", "ab", "abc", "abcd")
    one = loop(task=Trouble(), prompts=1, verify_seconds=0.3)
    batch = one.roll_out()
    assert batch.rewards.rewards.tolist() == pytest.approx([0.0, math.nan, math.nan, 1.0], nan_ok=True)
    reasons = [failure.reason for failure in batch.rewards.failures]
    assert reasons[0] == "the verifier took longer than 0.3 s" and "KeyError: '3 letters'" in reasons[1]
    row = one.learn(batch) | one._summary(batch)
    assert row["reward/absent"] == row["reward/failures"] == 2
    assert row["reward/mean"] == 0.5


@pytest.mark.parametrize(
    ("text", "reason"), [("ab", "the verifier took longer than 0.3 s"), ("abc", "KeyError: '3 letters'")]
)
def test_or_it_stops_training_by_name(text, reason, monkeypatch):
    answers(monkeypatch, "", "abcd", text, "")
    with pytest.raises(ValueError, match=rf"sample 2 of prompt 0 \(prompt '0:', completion '{text}'\): .*{reason}"):
        loop(task=Trouble(), on_failure="stop", verify_seconds=0.3).roll_out()


def test_evaluation_leaves_out_what_could_not_be_verified(monkeypatch):
    answers(monkeypatch, "abcd", "abc")
    one = loop(task=Trouble(), verify_seconds=5.0)
    assert one.evaluate()["evaluation/sampled"] == 1.0
    answers(monkeypatch, "abc")
    row = one.evaluate()
    assert math.isnan(row["evaluation/greedy"]) and row["evaluation/greedy_length"] == 4


@pytest.mark.parametrize("value", [math.inf, -math.inf, 10**400])
def test_an_infinite_reward_is_named(value):
    with pytest.raises(
        ValueError, match=r"signal 'learned' is -?inf for sample 5 of prompt 1 \(prompt '.*', completion"
    ):
        scored(by_row(0.0, 1.0, 0.0, 1.0, 0.0, value)).one_step()


def test_a_reward_that_is_no_number_is_named():
    with pytest.raises(TypeError, match=r"signal 'learned' is a str \('1.0'\) for sample 1 of prompt 0"):
        scored(by_row(0.0, "1.0")).one_step()


def test_without_any_reward_the_reasons_are_told():
    with pytest.raises(ValueError, match=r"none of the 8 samples has a reward[\s\S]*no idea"):
        scored(by_row(*[RuntimeError("no idea")] * 8)).one_step()


def test_weights_that_diverge_end_the_run_by_name(tmp_path):
    one = scored(LENGTHS, learning_rate=1e20, steps=5, checkpoint_every=5, folder=str(tmp_path))
    with pytest.raises((FloatingPointError, ValueError), match=r"gradient's norm is nan|weights may have diverged"):
        one.train()
    assert latest_step(tmp_path / "checkpoints") is None
    broken = scored(LENGTHS)
    with torch.no_grad():
        broken.lm.base.model.norm.weight.fill_(math.nan)
    with pytest.raises(ValueError, match=r"not finite.*the weights may have diverged"):
        broken.roll_out()


def test_a_gradient_that_is_not_finite_changes_no_weight():
    one = scored(LENGTHS)
    batch, before = one.roll_out(), weights(one)
    one.lm.parameters()[0].register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(FloatingPointError, match="step 0: the gradient's norm is"):
        one.learn(batch)
    assert torch.equal(weights(one), before)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(number, tmp_path, monkeypatch):
    scored(LENGTHS, checkpoint_every=1, steps=1, folder=str(tmp_path)).train()
    one = scored(LENGTHS, checkpoint_every=1, folder=str(tmp_path))

    def full(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        one.train()
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    through = scored(LENGTHS, folder=str(tmp_path / "through"))
    again = scored(LENGTHS, checkpoint_every=1, folder=str(tmp_path))
    through.train()
    assert len(again.train()) == 2
    assert torch.equal(weights(again), weights(through))
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3]


def test_results_that_cannot_be_written_are_known_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    one = scored(LENGTHS, folder=str(tmp_path / "file" / "run"))
    with pytest.raises(OSError, match="file"):
        one.train()
    assert one.step == 0


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    scored(LENGTHS, steps=1, checkpoint_every=1, folder=str(tmp_path)).train()
    lm = load("tiny-test", lora=LoraSettings(rank=2))
    with pytest.raises(ValueError, match="weights that are trained here and saved there differ"):
        scored(LENGTHS, language_model=lm, checkpoint_every=1, folder=str(tmp_path)).train()
