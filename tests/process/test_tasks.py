"""Step tasks: what is one, and rollouts drawn by a policy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.tasks import StepTask, check_step_task, checked_verdict, draw_step, rollout, uniform_policy
from tests.process.small_tasks import Chain, Coins


@pytest.mark.parametrize("task", [Coins(), Chain()])
def test_what_is_a_task(task):
    assert isinstance(task, StepTask)
    check_step_task(task)


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_rollout_takes_legal_steps_to_the_end(seed, number):
    task = Coins(number)
    found = rollout(task, "h", uniform_policy(task), seed)
    assert found.states[0] == "h" and len(found.states) == len(found.steps) + 1
    for before, step, after in zip(found.states, found.steps, found.states[1:], strict=False):
        assert step in task.legal_steps(before) and after == task.apply(before, step)
    assert found.end == found.states[-1] and not task.legal_steps(found.end)


def test_the_steps_are_drawn_as_the_policy_says():
    task = Chain()
    rng = np.random.default_rng(0)
    ends = np.array([rollout(task, 2, task.policy, rng).end for _ in range(4000)])
    assert np.mean(ends == 10) == pytest.approx(Chain.values[2], abs=4 * np.sqrt(0.25 / 4000))


def test_a_step_without_probability_is_never_taken():
    task, rng = Coins(1), np.random.default_rng(0)
    for certain, step in (([1.0, 0.0], "h"), ([0.0, 1.0], "t"), ([0, 1], "t")):
        assert {rollout(task, "", lambda state, p=certain: p, rng).end for _ in range(300)} == {step}


@pytest.mark.usefixtures("without_type_checks")
def test_not_even_for_the_smallest_random_number():
    class Zero:
        def random(self):
            return 0.0

    assert draw_step(Coins(), "", lambda state: [0.0, 1.0], Zero()) == "t"


def test_same_seed_same_rollout_and_an_ended_state_has_none():
    task = Coins(8)
    assert rollout(task, "", uniform_policy(task), 3) == rollout(task, "", uniform_policy(task), 3)
    ended = rollout(task, "h" * 8, uniform_policy(task), 3)
    assert ended.states == ("h" * 8,) and ended.steps == () and ended.end == "h" * 8


def test_the_uniform_policy():
    np.testing.assert_array_equal(uniform_policy(Coins())(""), [0.5, 0.5])


def test_a_limit_is_the_most_steps():
    task = Coins(5)
    assert len(rollout(task, "", uniform_policy(task), 0, limit=5).steps) == 5
    with pytest.raises(ValueError, match=r"the task goes on after limit = 4 steps"):
        rollout(task, "", uniform_policy(task), 0, limit=4)


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_task():
    with pytest.raises(TypeError, match=r"^task: dict lacks start, legal_steps, apply, verify, expected a StepTask$"):
        check_step_task({})
    listed = Coins()
    object.__setattr__(listed, "start", lambda: [])
    with pytest.raises(TypeError, match=r"task.start\(\) is a list, expected a hashable state"):
        check_step_task(listed)
    with pytest.raises(ValueError, match="no step can be taken from the start"):
        check_step_task(Coins(0))


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([1.0], r"policy\(''\) has shape \(1,\), expected \(2,\), one for each legal step"),
        ([[0.5, 0.5]], r"has shape \(1, 2\)"),
        ([0.5, 0.6], r"policy\(''\) is \[0.5, 0.6\], expected probabilities of at least 0 that sum to 1"),
        ([1.5, -0.5], "expected probabilities of at least 0"),
        ([np.nan, 1.0], "expected probabilities of at least 0"),
    ],
)
def test_what_is_no_policy(probabilities, message):
    with pytest.raises(ValueError, match=message):
        rollout(Coins(), "", lambda state: probabilities, 0)


def test_what_is_no_verdict():
    task = Coins()
    for said in (2, 0.5, None):
        object.__setattr__(task, "verify", lambda state, said=said: said)
        with pytest.raises(ValueError, match=r"task.verify\('h'\) is .*, expected 1 \(right\), -1 \(wrong\) or 0"):
            checked_verdict(task, "h")
    object.__setattr__(task, "verify", lambda state: np.float64(-1))
    assert checked_verdict(task, "h") == -1
