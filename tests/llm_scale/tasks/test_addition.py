"""Sums: which are asked, and what counts as right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.verifying import verify_all
from tests.llm_scale.tasks.attacks import attacks


def asked(problems):
    return {(problem.data["left"], problem.data["right"]) for problem in problems}


@pytest.mark.parametrize(("digits", "pairs"), [(1, 100), (2, 8100)])
def test_train_and_test_split_all_pairs_up_to_order(digits, pairs):
    task = AdditionTask(digits)
    train, test = (asked(task.problems(split, pairs, 0)) for split in ("train", "test"))
    assert not train & test and len(train | test) == pairs
    assert {(right, left) for left, right in train} == train
    assert 0.2 < len(test) / pairs < 0.3


def test_the_split_is_the_same_on_every_machine():
    held_out = {(min(pair), max(pair)) for pair in asked(AdditionTask().problems("test", 100, 0))}
    assert sorted(10 * left + right for left, right in held_out) == [0, 2, 3, 13, 24, 35, 38, 57, 58, 68, 69, 77, 88]


def test_problems_are_those_of_the_seed_and_come_again_only_once_all_have_come():
    task = AdditionTask()
    assert task.problems("train", 30, 5) == AdditionTask().problems("train", 30, 5)
    assert task.problems("train", 30, 5) != task.problems("train", 30, 6)
    assert task.problems("train", 30, 5)[:10] == task.problems("train", 10, 5)
    many = task.problems("test", 200, 0)
    pairs = len(asked(many))
    assert len(asked(many[:pairs])) == pairs
    assert task.problems("train", 0, 0) == []


def test_the_number_of_a_problem_is_its_own():
    problems = AdditionTask(2).problems("train", 8000, 1) + AdditionTask(2).problems("test", 3000, 1)
    assert len({problem.number for problem in problems}) == len(asked(problems)) == 8100
    assert len({(problem.number, problem.prompt) for problem in problems}) == 8100


@pytest.mark.parametrize("style", ["chat", "bare"])
def test_the_demonstration_is_right_and_in_form(style):
    task = AdditionTask(2, style)
    for problem in task.problems("train", 50, 0):
        left, right = problem.data["left"], problem.data["right"]
        assert str(left) in problem.prompt and str(right) in problem.prompt
        assert problem.gold == task.demonstration(problem) == str(left + right)
        assert task.verify(problem, task.demonstration(problem)) == 1.0
        assert task.format_ok(task.demonstration(problem))
    assert AdditionTask(1, "bare").problems("train", 1, 0)[0].prompt.endswith("=")


@given(st.integers(0, 99), st.text(alphabet="0123456789 ,.-=+ab"))
def test_only_the_last_number_counts(other, before):
    task = AdditionTask()
    problem = task.problems("train", 1, 0)[0]
    assert task.verify(problem, f"{before} so {problem.gold}") == 1.0
    assert task.verify(problem, f"{problem.gold} or {other}") == float(other == int(problem.gold))


def test_listing_every_answer_gains_nothing():
    task = AdditionTask()
    for problem in task.problems("train", 20, 0):
        assert task.verify(problem, " ".join(map(str, range(19)))) == float(problem.gold == "18")


def test_attacks_are_wrong_and_quick(tmp_path, quick):
    task, trap = AdditionTask(), tmp_path / "trap"
    problem = next(p for p in task.problems("train", 80, 0) if p.gold == "6")
    with quick(5.0):
        assert set(verify_all(task, [problem], attacks(trap))) == {0.0}
    assert not trap.exists()


def test_bad_arguments_are_named():
    for wrong in (0, 3, 1.5):
        with pytest.raises((TypeError, ValueError), match="digits"):
            AdditionTask(wrong)
    with pytest.raises(ValueError, match="style is 'prose', expected one of 'chat', 'bare'"):
        AdditionTask(style="prose")
    with pytest.raises(ValueError, match="split is 'dev', expected one of 'train', 'test'"):
        AdditionTask().problems("dev", 1, 0)
    with pytest.raises(ValueError, match="number is -1"):
        AdditionTask().problems("train", -1, 0)
    with pytest.raises(TypeError, match="seed"):
        AdditionTask().problems("train", 1, None)
