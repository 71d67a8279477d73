"""What goes wrong in a run: a sample is masked and counted, or training stops with an error that says where.

And, at the end, the small print of a step: what each count, seed and order in the loop is there for.
"""

import errno
import math
import os
import time

import pytest
import torch

from llm_scale import grpo
from llm_scale.grpo import Loop
from llm_scale.models.loading import LoraSettings, load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rollouts.completions import Completions
from llm_scale.running import checkpoints
from llm_scale.running.checkpoints import latest_step
from llm_scale.running.run_log import read_metrics
from llm_scale.settings import Settings
from llm_scale.tasks.loading import task
from llm_scale.tasks.task import Problem, Task
from llm_scale.training_pass.forward import completion_log_probs
from tests.llm_scale.tasks.attacks import attacks
from tests.llm_scale.test_grpo_commands import skip_without_files

SMALL = {
    "model": "tiny-test",
    "task": "addition:style=bare",
    "prompts": 2,
    "group": 4,
    "steps": 3,
    "max_new_tokens": 4,
    "learning_rate": 1e-2,
    "objective": "dr_grpo",
    "evaluation_problems": 2,
    "evaluation_samples": 2,
    "checkpoint_every": 0,
    "device": "cpu",
}
GIVEN = '[sources]\nlearned = "given"\n[pipeline.signals]\nlearned = []\n'


def loop(**changes) -> Loop:
    parts = {name: changes.pop(name) for name in ("language_model", "task", "reward_path") if not_text(changes, name)}
    return Loop(Settings(**{**SMALL, **changes}), **parts)


def not_text(changes, name):
    return name in changes and not isinstance(changes[name], str)


def scored(score, **changes) -> Loop:
    """A loop whose reward is a function of the samples."""
    asked = changes.pop("task", None) or task(SMALL["task"])
    path = RewardPath.from_toml(GIVEN, asked, given={"learned": score}, on_failure=changes.get("on_failure", "mask"))
    return loop(task=asked, reward_path=path, **changes)


def by_row(*values, error=None):
    """Scores by row; where the value is an exception, it is raised."""

    def score(samples):
        found = [values[sample.row] if sample.row < len(values) else 1.0 for sample in samples]
        for value in found:
            if isinstance(value, Exception):
                raise value
        return found

    return score


def weights(of: Loop) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in of.lm.parameters()])


def answers(monkeypatch, *texts, ids=None):
    """Let the model answer this, over and over, in place of what it would say."""

    def sample(lm, prompts, *, group, max_new_tokens, temperature, **unused):
        every = ids or [lm.encode_completion(text) for text in texts]
        rows = [every[row % len(every)] for row in range(len(prompts) * group)]
        tokens = torch.full((len(rows), max(map(len, rows))), lm.pad_id)
        for row, own in enumerate(rows):
            tokens[row, : len(own)] = torch.tensor(own)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([[len(own)] for own in rows])
        with torch.no_grad():
            told = completion_log_probs(lm.base, prompts, tokens, mask, group=group, temperature=temperature or 1.0)
        ended = torch.tensor([own[-1] in lm.end_ids for own in rows])
        return Completions([list(p) for p in prompts], group, tokens, mask, told.log_probs.detach(), ended)

    monkeypatch.setattr(grpo, "sample", sample)


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


LENGTHS = by_row(0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0)


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


def test_the_learning_rate_rises_and_stays():
    one = scored(LENGTHS, rising_steps=4, learning_rate=0.004)
    assert [one.one_step()["policy/learning_rate"] for _ in range(5)] == pytest.approx([1e-3, 2e-3, 3e-3, 4e-3, 4e-3])


def test_gradients_are_cut_to_the_largest_norm_and_the_norm_before_is_told():
    def step(largest):
        one = scored(LENGTHS, max_gradient_norm=largest)
        told = one.one_step()["policy/gradient_norm"]
        return told, math.sqrt(sum(float(weight.grad.square().sum()) for weight in one.lm.parameters()))

    free, cut = step(1e3), step(1e-3)
    assert free[0] == pytest.approx(free[1], rel=1e-4) and cut[0] == pytest.approx(free[0], rel=1e-6)
    assert cut[1] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo"])
def test_parts_of_a_batch_with_absent_samples_add_up_to_it(name):
    def learned(**parts):
        one = scored(by_row(0.0, None, 1.0, 0.0, None, None, 2.0, 1.0), objective=name, kl_weight=0.1, **parts)
        one.one_step()  # so that policy and reference differ
        row = one.one_step()
        return row, torch.cat([weight.grad.flatten() for weight in one.lm.parameters()])

    (whole, gradient), (parts, summed) = learned(), learned(prompts_per_pass=1)
    assert torch.allclose(gradient, summed, atol=3e-6)
    for metric in ("policy/loss", "policy/entropy", "policy/kl", "policy/ratio_max"):
        assert parts[metric] == pytest.approx(whole[metric], abs=3e-6)


def test_numbers_of_a_step_are_means_over_its_updates():
    one, three = (scored(LENGTHS, updates=updates, learning_rate=1e-12, prompts_per_update=2) for updates in (1, 3))
    rows = one.one_step(), three.one_step()
    for metric in ("policy/loss", "policy/entropy", "policy/gradient_norm"):
        assert rows[1][metric] == pytest.approx(rows[0][metric], rel=1e-5, abs=1e-8)
    assert {float(state["step"]) for state in three.optimiser.state.values()} == {3}


def seen_losses(monkeypatch):
    """What the loop passes to the loss, as it goes."""
    calls, original = [], grpo.policy_loss

    def watched(*arguments, **named):
        calls.append((arguments, named))
        return original(*arguments, **named)

    monkeypatch.setattr(grpo, "policy_loss", watched)
    return calls


def test_an_update_counts_its_own_samples_and_tokens(monkeypatch):
    calls = seen_losses(monkeypatch)
    answers(monkeypatch, "", "1", "22", "333", "4", "", "", "")
    one = scored(by_row(0.0, None, 1.0), prompts_per_update=1, max_new_tokens=7)
    row = one.one_step()
    assert [named["whole"] for _, named in calls] == [grpo.BatchCounts(3, 8), grpo.BatchCounts(4, 5)]
    assert [arguments[3].shape for arguments, _ in calls] == [(4, 4), (4, 2)]
    assert all(named["max_length"] == 7 for _, named in calls)
    assert {float(state["step"]) for state in one.optimiser.state.values()} == {2}
    assert row["tokens"] == 15 and row["length/mean"] == 15 / 8 and row["length/ended"] == 1


def test_limits_of_generation_are_the_task_s_unless_they_are_set(monkeypatch):
    one = loop(max_new_tokens=None)
    assert one.max_new_tokens == one.task.max_new_tokens == 8
    calls = seen_losses(monkeypatch)
    one.one_step()
    assert calls[0][1]["max_length"] == 8


def test_training_is_at_the_temperature_of_sampling():
    row = scored(LENGTHS, temperature=0.5).one_step()
    assert row["policy/ratio_max"] == pytest.approx(1.0, abs=1e-4)


class Watched(Task):
    """Notes what it is asked for."""

    name, always_ends = "watched", True

    def __init__(self):
        self.asked = []

    def problems(self, split, number, seed):
        self.asked.append((split, number, seed))
        return [Problem(f"{seed % 97 + n}{split[1]}", "", n) for n in range(number)]

    def verify(self, problem, completion):
        return float(len(completion) % 2)


def test_questions_are_new_at_each_step_and_those_of_evaluation_always_the_same():
    asked = Watched()
    one = scored(LENGTHS, task=asked, evaluate_every=2, seed=5, evaluation_problems=3)
    rows = [one.one_step() for _ in range(3)]
    assert [("evaluation/greedy" in row) for row in rows] == [True, False, True]
    assert [call for call in asked.asked if call[0] == "test"] == [("test", 3, 5)] * 2
    seeds = [seed for split, number, seed in asked.asked if split == "train" and number == 2]
    assert len(set(seeds)) == len(seeds) == 3
    one.step = 0
    first = one.roll_out()
    one.step = 1
    second = one.roll_out()
    assert not torch.equal(first.completions.ids, second.completions.ids)
    assert [call[2] for call in asked.asked if call[0] == "train"][-2:] == seeds[:2]


def test_evaluation_comes_before_the_step_and_once_more_at_the_end():
    before = scored(LENGTHS, max_new_tokens=40).evaluate()
    one = scored(LENGTHS, evaluate_every=2, steps=2, max_new_tokens=40)
    rows = [one.one_step(), one.one_step()]
    assert scored(LENGTHS, steps=1).one_step()["evaluation/greedy_length"] > 0
    assert {name: rows[0][name] for name in before} == before
    again = one.evaluate()
    assert {name: rows[1][name] for name in again} == again != before


def test_evaluation_is_greedy_once_and_sampled_often(monkeypatch):
    calls, original = [], grpo.sample

    def watched(lm, prompts, **named):
        calls.append((len(prompts), named["group"], named["temperature"]))
        return original(lm, prompts, **named)

    monkeypatch.setattr(grpo, "sample", watched)
    scored(LENGTHS, evaluation_problems=3, evaluation_samples=5, temperature=0.7).evaluate()
    assert calls == [(3, 1, 0.0), (3, 5, 0.7)]


def test_questions_drawn_again_keep_their_own_answers():
    asked = Watched()
    one = loop(task=asked, prompts=6, group=2, redraws=2, seed=1)
    batch = one.roll_out()
    plain = loop(task=asked, prompts=6, group=2, seed=1).roll_out()
    assert len(batch.problems) == 6 and batch.completions.samples == 12
    for problem, prompt in zip(batch.problems, batch.completions.prompts, strict=True):
        assert one.lm.encode(problem.prompt) == prompt
    differ = [set(pair) == {0.0, 1.0} for pair in plain.rewards.rewards.reshape(6, 2).tolist()]
    assert 0 < sum(differ) < 6
    kept = [problem for problem, mixed in zip(plain.problems, differ, strict=True) if mixed]
    assert batch.problems[: len(kept)] == kept
    verified = one._verified(batch.problems, batch.completions)
    assert batch.rewards.rewards.tolist() == verified
    seeds = [seed for split, _, seed in asked.asked if split == "train"]
    assert len(set(seeds[:-1])) == len(seeds) - 1  # the last is the plain loop's, the same as the first
    with torch.no_grad():
        inputs = (batch.completions.prompts, batch.completions.ids, batch.completions.mask)
        told = completion_log_probs(one.lm.base, *inputs, group=2).log_probs
    assert torch.allclose(told, batch.completions.log_probs, atol=1e-5)


def test_divergence_is_told_in_nats_a_completion_and_needs_a_reference():
    one = scored(LENGTHS, measure_kl=True)
    one.one_step()
    batch = one.roll_out()
    completions = batch.completions
    expected = ((completions.log_probs - batch.reference_log_probs) * completions.mask).sum() / 8
    assert one._summary(batch)["policy/kl_from_first"] == pytest.approx(float(expected), rel=1e-5)
    first = load("tiny-test")
    with torch.no_grad():
        told = completion_log_probs(first.base, completions.prompts, completions.ids, completions.mask, group=4)
    assert torch.allclose(told.log_probs, batch.reference_log_probs, atol=1e-5)
    assert scored(LENGTHS).roll_out().reference_log_probs is None


def test_share_of_questions_that_teach_nothing():
    row = scored(by_row(1.0, 1.0, 1.0, 1.0, 0.0, None, 0.5, 0.0)).one_step()
    assert row["reward/constant_groups"] == 0.5


def test_checkpoints_come_when_asked_and_at_the_end(tmp_path):
    scored(LENGTHS, steps=5, checkpoint_every=2, folder=str(tmp_path)).train()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000005"]
    assert scored(LENGTHS, steps=5, checkpoint_every=2, folder=str(tmp_path)).train() == []


def test_running_statistics_of_the_reward_go_on_too(tmp_path):
    def running(**changes):
        asked = task(SMALL["task"])
        text = GIVEN.replace("learned = []", 'learned = [{ kind = "running_standardise" }]')
        given = {"learned": lambda samples: [float(sum(sample.ids)) for sample in samples]}
        return loop(task=asked, reward_path=RewardPath.from_toml(text, asked, given=given), **changes)

    through = running(steps=3)
    rows = [through.one_step() for _ in range(3)]
    running(steps=2, checkpoint_every=2, folder=str(tmp_path)).train()
    resumed = running(steps=3, checkpoint_every=2, folder=str(tmp_path))
    assert resumed.train()[0]["reward/mean"] == rows[2]["reward/mean"]
    assert torch.equal(weights(resumed), weights(through))


def test_settings_reach_model_and_computation():
    adapted = loop(lora_rank=2)
    assert adapted.lm.adapted and len(adapted.lm.parameters()) > 0
    for precision in ("float32", "bfloat16"):
        with loop(precision=precision)._computing():
            assert torch.is_autocast_enabled("cpu") == (precision == "bfloat16")
    assert not torch.equal(weights(loop(seed=1)), weights(loop(seed=0)))
    drawn = [loop(language_model=load("tiny-test"), seed=seed, prompts=8).roll_out() for seed in (0, 1)]
    assert drawn[0].problems != drawn[1].problems
    assert not torch.equal(drawn[0].completions.ids, drawn[1].completions.ids)


def test_steps_alone_tell_answers_apart_where_they_are_paid(monkeypatch):
    answers(monkeypatch, "1+1=2\n2+2=4", "1+1=3\n2+2=5", "1+1=2\n2+2=5", "1+1=2")
    paid, free = (
        loop(task="chains:style=bare", reward=f"rewards/{name}.toml", prompts=1).roll_out().advantages
        for name in ("raw_process", "success_only")
    )
    assert (free == 0).all() and paid[0, 0] > 0.05 and paid[1, 0] < -0.05
