"""No answer and no verifier stops the training."""

import os
import time

import pytest

from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.verifying import Failure, verify_all
from tests.llm_scale.tasks.user_tasks import LastLetter, Obeys


def run(*completions, problems=1, seconds=10.0, task=None):
    task = task or Obeys()
    return verify_all(task, task.problems("train", problems, 0), completions, seconds=seconds)


class ObeysHere(Obeys):
    always_ends = True


@pytest.mark.parametrize("task", [Obeys(), ObeysHere()], ids=["apart", "here"])
def test_scores_come_back_in_order(task):
    assert run("right", "wrong", "half", "half", "wrong", "right", problems=3, task=task) == [1, 0, 0.5, 0.5, 0, 1]
    assert all(type(score) is float for score in run("right", "wrong", "half", "numpy", task=task))
    assert run(task=task) == []


REASONS = {
    "raises": "the verifier raised KeyError: 'the answer'",
    "raises_mutely": "the verifier raised MuteError",
    "none": "the verifier returned None, expected a number in [0, 1]",
    "nan": "the verifier returned nan, expected a number in [0, 1]",
    "much": "the verifier returned 1.5, expected a number in [0, 1]",
    "infinite": "the verifier returned inf, expected a number in [0, 1]",
    "text": "the verifier returned '1.0', expected a number in [0, 1]",
    "recurses": "the verifier raised RecursionError: maximum recursion depth exceeded",
}


@pytest.mark.parametrize("task", [Obeys(), ObeysHere()], ids=["apart", "here"])
def test_what_is_no_score_is_a_failure_of_that_sample_alone(task):
    results = run("right", *REASONS, "half", task=task)
    assert (results[0], results[-1]) == (1.0, 0.5)
    for failure, reason in zip(results[1:-1], REASONS.values(), strict=True):
        assert isinstance(failure, Failure) and failure.reason.startswith(reason)


def test_a_failure_names_prompt_and_sample():
    failure = run("right", "right", "right", "raises", "right", "right", problems=2)[3]
    assert (failure.prompt, failure.sample, failure.problem) == (1, 0, 20)
    assert str(failure) == "prompt 1 (problem 20), sample 0: the verifier raised KeyError: 'the answer'"


@pytest.mark.parametrize("hang", ["sleeps", "spins", "spins_on", "computes"])
def test_a_hanging_verifier_is_ended_and_the_rest_goes_on(hang):
    began = time.monotonic()
    first, late, last = run("right", hang, "half", seconds=0.3)
    assert (first, last) == (1.0, 0.5)
    assert late.reason == "the verifier took longer than 0.3 s"
    assert time.monotonic() - began < 5.0


def test_a_crash_is_a_failure_and_the_rest_goes_on():
    results = run("crashes", "right", "exits", "leaves", "half", "grows", "right")
    assert [results[n] for n in (1, 4, 6)] == [1.0, 0.5, 1.0]
    assert [results[n].reason for n in (0, 2, 3)] == [
        "the verifier's process was ended by signal 9",
        "the verifier's process ended with exit code 3",
        "the verifier's process ended with exit code 0",
    ]
    assert "MemoryError" in results[5].reason


def test_hangs_and_crashes_at_the_ends_of_the_batch():
    results = run("sleeps", "sleeps", "crashes", "right", "crashes", "sleeps", seconds=0.2)
    assert [isinstance(result, Failure) for result in results] == [True, True, True, False, True, True]


def test_a_verifier_that_ends_is_asked_in_this_process_and_others_are_not():
    assert run("process", task=ObeysHere()) == [1.0]
    assert run("process") == [0.0]


def test_answers_on_which_it_ends_and_others_are_mixed_in_order():
    class Mixed(Obeys):
        def ends_on(self, completion):
            return completion in ("process", "half")

    results = run("process", "right", "process", "sleeps", "half", "wrong", seconds=0.3, task=Mixed())
    assert results[:3] == [1, 1, 1] and isinstance(results[3], Failure) and results[4:] == [0.5, 0]


def test_no_process_and_no_file_is_left_behind():
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    run("right", "spins", "crashes", "right", seconds=0.2)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_what_the_parent_has_buffered_is_not_written_twice(capfd):
    print("once", end="")
    run("right")
    print()
    assert capfd.readouterr().out == "once\n"


def test_a_score_takes_a_fraction_of_a_millisecond():
    began = time.monotonic()
    assert run(*["right"] * 2000) == [1.0] * 2000
    assert time.monotonic() - began < 5.0


def test_without_fork_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(RuntimeError, match=r"obeys needs a process of its own .* set always_ends = True"):
        run("right")
    assert run("right", task=ObeysHere()) == [1.0]


def test_bad_arguments_are_named():
    task, problems = AdditionTask(), AdditionTask().problems("train", 2, 0)
    with pytest.raises(ValueError, match="got 3 for 2 problems, expected the same number for each"):
        verify_all(task, problems, ["1", "2", "3"])
    with pytest.raises(ValueError, match="got 1 for 0 problems"):
        verify_all(task, [], ["1"])
    with pytest.raises(TypeError, match=r"completions\[1\]: expected text, got NoneType"):
        verify_all(task, problems, ["1", None])
    with pytest.raises(ValueError, match="seconds is 0"):
        verify_all(task, problems, ["1", "2"], seconds=0)


def test_a_task_of_20_lines_needs_nothing_else():
    task = LastLetter()
    problems = task.problems("train", 2, seed=3)
    assert [problem.number for problem in problems] == [3, 0]
    assert verify_all(task, problems, ["S.", "t", "e", ""]) == [1.0, 0.0, 1.0, 0.0]
    assert task.steps("s") is None and task.step_labels(problems[0], ["s"]) is None
    assert task.format_ok("s") and not task.format_ok(" \n")
