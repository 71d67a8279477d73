"""The small print of a step: what each count, seed and order in the loop is there for."""

import math

import pytest
import torch

from llm_scale import grpo
from llm_scale.models.loading import load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.tasks.loading import task
from llm_scale.tasks.task import Problem, Task
from llm_scale.training_pass.forward import completion_log_probs
from tests.llm_scale.loops import GIVEN, LENGTHS, SMALL, answers, by_row, loop, scored, weights


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
