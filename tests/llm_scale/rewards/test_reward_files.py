"""The reward files that are shipped: each can be read, and pays what it says."""

import math
from pathlib import Path

import numpy as np
import pytest

from llm_scale.rewards import reward_path
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.chains import ChainsTask
from rewardlab.transforms import log_sigmoid
from tests.llm_scale.rewards.answers import answers, groups

SHIPPED = sorted(Path(reward_path.__file__).parent.glob("*.toml"))
PROCESS = {"raw_process", "clip", "delta", "clip_delta", "success_only"}


def shipped(name, task=None):
    task = task or (ChainsTask() if name in PROCESS else AdditionTask())
    return RewardPath.from_toml(
        f"rewards/{name}.toml", task, given={"learned": lengths} if "learned" in text(name) else {}
    )


def text(name):
    return RewardPath.resolve(f"rewards/{name}.toml").read_text()


def lengths(samples):
    return [float(len(sample.completion)) for sample in samples]


def sums():
    """Answers to one problem: right; right and long; wrong and well formed; nothing."""
    problem = AdditionTask().problems("train", 1, seed=3)
    gold = problem[0].gold
    return answers(gold, f"The sum is {gold}", str(int(gold) + 1), "", problems=problem)


def test_the_list_is_complete():
    names = {file.stem for file in SHIPPED}
    assert names >= PROCESS | {"correct", "conjunction", "weighted_sum", "normalise_then_sum", "log_sigmoid"}


@pytest.mark.parametrize("name", [file.stem for file in SHIPPED])
def test_each_file_scores_a_batch(name):
    assert text(name).startswith("# ")  # says what it is for
    path = shipped(name)
    problem = path.task.problems("train", 1, seed=3)
    samples = answers(path.task.demonstration(problem[0]), "", "So far\nso good.", "Answer: 1", problems=problem)
    rewards = path(samples, groups(samples))
    assert rewards.present.all() and np.isfinite(rewards.rewards).all()
    assert not rewards.failures
    assert (rewards.steps is not None) == (name in PROCESS)
    assert (rewards.advantages is not None) == (name == "normalise_then_sum")


def test_correct():
    assert shipped("correct")(sums(), [0] * 4).rewards.tolist() == [1, 1, 0, 0]


def test_conjunction_is_the_log_probability_that_all_is_good():
    odds = [(1, 1, 1), (1, 0, None), (0, 1, 1), (0, 0, 1)]
    samples = sums()
    expected = []
    for sample, (correct, formatted, brief) in zip(samples, odds, strict=True):
        brief = 4 / len(sample.completion) if brief is None else brief
        expected.append(sum(-math.log1p(math.exp(-8 * (value - 0.5))) for value in (correct, formatted, brief)))
    assert shipped("conjunction")(samples, [0] * 4).rewards.tolist() == pytest.approx(expected)


def test_weighted_sum_lets_form_make_up_for_being_wrong():
    rewards = shipped("weighted_sum")(sums(), [0] * 4).rewards
    long = 4 / len(sums()[1].completion)
    assert rewards.tolist() == pytest.approx([2, 1 + 0.5 * long, 1, 0.5])


def test_normalise_then_sum_gives_the_advantages():
    result = shipped("normalise_then_sum")(sums(), [0] * 4)
    columns = np.array(list(result.signals.values()))
    summed = ((columns - columns.mean(1, keepdims=True)) / columns.std(1, ddof=1, keepdims=True)).sum(0)
    assert result.advantages == pytest.approx((summed - summed.mean()) / summed.std(ddof=1), abs=1e-3)


def test_log_sigmoid_of_a_learned_reward():
    samples = answers("a", "abc", "abcdefg", "abcd")
    assert shipped("learned_raw")(samples, [0] * 4).rewards.tolist() == [1, 3, 7, 4]
    expected = log_sigmoid(np.array([1.0, 3, 7, 4]), 7.0)  # of four, the 0.85 quantile is the largest
    assert shipped("log_sigmoid")(samples, [0] * 4).rewards.tolist() == pytest.approx(expected.tolist())


def chain_answers(task):
    """To one problem: right; right with four lines of filler; wrong throughout."""
    problem = task.problems("train", 1, seed=0)
    lines = task.demonstration(problem[0]).splitlines()
    padded = [*lines[:-1], *["So far so good."] * 4, lines[-1]]
    wrong = ["1 + 1 = 3"] * (len(lines) - 1) + ["Answer: 99999"]
    return answers(*("\n".join(text) for text in (lines, padded, wrong)), problems=problem)


@pytest.mark.parametrize(
    ("name", "sums"),
    [  # scores are 0.9 for right lines and filler, 0.1 for wrong ones; the weight is 0.3
        ("raw_process", [0.3 * 2.7, 0.3 * 6.3, 0.3 * 0.3]),
        ("clip", [0, 0, -0.3 * 1.8]),
        ("delta", [0.3 * 0.9, 0.3 * 0.9, 0.3 * 0.1]),
        ("clip_delta", [0, 0, -0.3 * 0.6]),
        ("success_only", [0, 0, 0]),
    ],
)
def test_what_the_steps_are_paid(name, sums):
    task = ChainsTask(operations=2)
    samples = chain_answers(task)
    rewards = shipped(name, task)(samples, groups(samples))
    assert rewards.rewards.tolist() == [1, 1, 0]
    assert [len(steps.scores) for steps in rewards.steps] == [3, 7, 3]
    assert [sum(row) for row in rewards.step_rewards] == pytest.approx(sums)
    assert rewards.token_step_rewards(len(max(samples, key=lambda one: len(one.ids)).ids)).sum(1) == pytest.approx(sums)


def test_files_of_steps_need_a_task_with_steps():
    with pytest.raises(ValueError, match="process: task 'addition' has no steps to reward"):
        RewardPath.from_toml("rewards/clip.toml", AdditionTask())


def test_resolve_finds_shipped_files_and_others(tmp_path, monkeypatch):
    here = tmp_path / "rewards" / "correct.toml"
    assert RewardPath.resolve("rewards/correct.toml") == SHIPPED[[file.stem for file in SHIPPED].index("correct")]
    here.parent.mkdir()
    here.write_text(text("correct"))
    monkeypatch.chdir(tmp_path)
    assert RewardPath.resolve("rewards/correct.toml").resolve() == here
    assert RewardPath.from_toml(here, AdditionTask()).pipeline.names == ("correct",)
    with pytest.raises(
        FileNotFoundError, match=r"no reward file 'rewards/none.toml'; in rewards/ there are clip.toml, "
    ):
        RewardPath.from_toml("rewards/none.toml", AdditionTask())
