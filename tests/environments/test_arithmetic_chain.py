"""The task of writing a chain of arithmetic: what the solver may write, and how likely a prefix is to end well."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from environments.reasoning.arithmetic_chain import (
    FILLERS,
    SLIPS,
    ArithmeticProblem,
    ArithmeticTask,
    draw_problem,
    parse_step,
)
from rewardlab.process.tasks import StepTask, check_step_task, rollout
from tests.environments.arithmetic import PROBLEM, RIGHT, seeds, task


def test_it_is_a_step_task():
    assert isinstance(task(), StepTask)
    check_step_task(task())
    assert task().start() == ()


def test_what_the_solver_may_write():
    solver = task(error_rate=0.3, filler_rate=0.1, repair_rate=0.2, repeat_rate=0.1, misread_rate=0.1)
    state = ("7 + 5 = 13",)
    expected = {
        "13 * 3 = 39": 0.6 * 0.6,
        "13 * 3 = 40": 0.6 * 0.1,
        "13 * 3 = 38": 0.6 * 0.1,
        "13 * 3 = 49": 0.6 * 0.1,
        "13 * 4 = 52": 0.6 * 0.1,
        "Correction: 7 + 5 = 12": 0.2,
        "7 + 5 = 13": 0.1,
        **dict.fromkeys(FILLERS, 0.1 / len(FILLERS)),
        "Answer: 13": 0.0,
    }
    assert solver.legal_steps(state) == tuple(expected)
    np.testing.assert_allclose(solver.behaviour(state), list(expected.values()), atol=1e-15)
    assert solver.legal_steps(()) == (
        "7 + 5 = 12",
        "7 + 5 = 13",
        "7 + 5 = 11",
        "7 + 5 = 22",
        "7 + 6 = 13",
        *FILLERS,
        "Answer: 7",
    )
    assert "Answer: 32" in task().legal_steps(RIGHT[:-1])


def test_a_slip_in_the_words_of_a_repeat_has_the_chance_of_both():
    solver = ArithmeticTask(ArithmeticProblem(1, (("*", 2),) * 2), max_steps=4, error_rate=0.3, repeat_rate=0.2)
    state = ("1 * 2 = 1",)
    chances = dict(zip(solver.legal_steps(state), solver.behaviour(state), strict=True))
    assert chances["1 * 2 = 1"] == pytest.approx(0.8 * 0.1 + 0.2)
    assert sum(chances.values()) == pytest.approx(1)
    assert solver.success_probability(()) == pytest.approx(enumerated(solver, ()))


@given(st.integers(1, 4), seeds, st.lists(st.floats(0, 1), min_size=5, max_size=5), st.integers(1, 8))
def test_the_solver_has_a_distribution_over_distinct_steps_until_it_ends(operations, seed, rates, max_steps):
    lines, new = np.array(rates[:3]), np.array(rates[3:])
    lines, new = lines / max(1, lines.sum()), new / max(1, new.sum())
    names = ("filler_rate", "repair_rate", "repeat_rate", "error_rate", "misread_rate")
    solver = ArithmeticTask(
        draw_problem(operations, seed), max_steps=max_steps, **dict(zip(names, map(float, (*lines, *new)), strict=True))
    )
    end = rollout(solver, (), solver.behaviour, seed).end
    for known in range(len(end)):
        state = end[:known]
        steps, chances = solver.legal_steps(state), solver.behaviour(state)
        assert len(set(steps)) == len(steps) == len(chances)
        assert (chances >= 0).all() and chances.sum() == pytest.approx(1)
        assert end[known] in steps
        assert solver.verify(state) == (parse_step(state[-1]).verdict if state else 0)
    assert solver.has_ended(end) and len(end) <= max_steps
    assert solver.legal_steps(end) == ()
    assert solver.verify(end) == (1 if PROBLEM.__class__.verify_solution(solver.problem, end) else -1)


def test_a_solution_that_has_ended_is_left_alone():
    for ended in (("Answer: 12",), ("🙂",) * 12):
        assert task().legal_steps(ended) == ()
        assert task().verify(ended) == -1
        for call in (task().behaviour, lambda state: task().apply(state, "🙂")):
            with pytest.raises(ValueError, match=f"the solution has ended after {len(ended)} lines"):
                call(ended)
    assert task().sample(0, ("Answer: 12",)) == ("Answer: 12",)


def test_any_line_can_be_applied():
    solver = task()
    state = solver.apply(solver.apply((), "Hm, what do we have?"), "7 + 5 = 12, clearly")
    assert solver.legal_steps(state)[0] == "12 * 3 = 36"
    with pytest.raises(TypeError, match="text: expected a string"):
        solver.apply((), 12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_steps": 0}, ValueError, r"max_steps is 0, expected a whole number in \[1, 500\]"),
        ({"max_steps": 501}, ValueError, "max_steps is 501"),
        ({"error_rate": 1.5}, ValueError, "error_rate is 1.5"),
        ({"filler_rate": float("nan")}, ValueError, "filler_rate is nan"),
        ({"repair_rate": "0.1"}, TypeError, "repair_rate: expected a number"),
        ({"filler_rate": 0.6, "repair_rate": 0.6}, ValueError, "filler_rate [+] repair_rate [+] repeat_rate is 1.2"),
        ({"error_rate": 0.6, "misread_rate": 0.5}, ValueError, "error_rate [+] misread_rate is 1.1"),
    ],
)
def test_bad_tasks(options, error, message):
    with pytest.raises(error, match=message):
        task(**options)


def test_rates_that_sum_to_one_but_for_rounding():
    solver = task(filler_rate=0.7, repair_rate=0.1, repeat_rate=0.2, error_rate=0.9, misread_rate=0.1)
    assert (solver.behaviour(("7 + 5 = 13",)) >= 0).all()


def test_tasks_are_values():
    solver = task(error_rate=0.2)
    solver.success_probability(())
    assert solver == task(error_rate=0.2) != task(error_rate=0.3)
    assert hash(solver) == hash(task(error_rate=0.2))
    assert pickle.loads(pickle.dumps(solver)).success_probability(()) == solver.success_probability(())


# how likely a prefix is to end well


def enumerated(solver, state):
    """Success by following every text that the solver may write, with nothing remembered."""
    if not (steps := solver.legal_steps(state)):
        return float(solver.verify(state) == 1)
    chances = solver.behaviour(state)
    return sum(p * enumerated(solver, solver.apply(state, step)) for p, step in zip(chances, steps, strict=True) if p)


@pytest.mark.parametrize("seed", range(6))
def test_success_agrees_with_following_every_text(seed):
    rng = np.random.default_rng(seed)
    filler, repair, repeat = rng.dirichlet(np.ones(4))[:3]
    error, misread = rng.dirichlet(np.ones(3))[:2]
    solver = ArithmeticTask(
        draw_problem(2, seed),
        max_steps=4,
        error_rate=error,
        filler_rate=filler,
        repair_rate=repair,
        repeat_rate=repeat,
        misread_rate=misread,
    )
    assert solver.success_probability(()) == pytest.approx(enumerated(solver, ()), abs=1e-12)
    for step in solver.legal_steps(()):
        assert solver.success_probability((step,)) == pytest.approx(enumerated(solver, (step,)), abs=1e-12)


def test_success_of_a_solver_that_only_slips_counts_slips_that_cancel():
    for operations in range(1, 5):
        problem = ArithmeticProblem(7, (("+", 5),) * operations)
        wanted = sum(
            np.prod([0.7 if slip == 0 else 0.1 for slip in slips])
            for slips in itertools.product((0, *SLIPS), repeat=operations)
            if sum(slips) == 0
        )
        solver = ArithmeticTask(problem, error_rate=0.3)
        assert solver.success_probability(()) == pytest.approx(wanted)
    times = ArithmeticProblem(7, (("*", 2), ("*", 2)))
    assert ArithmeticTask(times, error_rate=0.3).success_probability(()) == pytest.approx(0.49)


@given(st.integers(1, 4), st.integers(1, 12), st.floats(0, 1))
def test_success_of_a_solver_that_only_pads_is_binomial(operations, max_steps, filler):
    solver = ArithmeticTask(draw_problem(operations, 0), max_steps=max_steps, error_rate=0.0, filler_rate=filler)
    enough = stats.binom.sf(operations, max_steps, 1 - filler)  # more than that many lines that get on
    assert solver.success_probability(()) == pytest.approx(enough, abs=1e-12)


def test_success_of_a_solver_that_repairs_by_a_chain_of_its_own():
    problem = ArithmeticProblem(2, (("*", 2),) * 3)  # wrong values stay wrong
    error, repair, lines = 0.3, 0.4, 9
    success = np.zeros((4, 4))  # operations done, place of the first error + 1 (0: none)
    for _ in range(lines):
        after = np.zeros((4, 4))
        for done, wrong in itertools.product(range(4), range(4)):
            new = 1 - repair if wrong else 1.0
            if done == 3:
                after[done, wrong] += new * (wrong == 0)
            else:
                after[done, wrong] += new * (1 - error) * success[done + 1, wrong]
                after[done, wrong] += new * error * success[done + 1, wrong or done + 1]
            if wrong:
                after[done, wrong] += repair * success[wrong, 0]
        success = after
    solver = ArithmeticTask(problem, max_steps=lines, error_rate=error, repair_rate=repair)
    assert solver.success_probability(()) == pytest.approx(success[0, 0], abs=1e-12)


def test_sampled_solutions_agree_with_exact_success():
    solver = ArithmeticTask(
        draw_problem(4, 3), max_steps=9, error_rate=0.2, filler_rate=0.1, repair_rate=0.3, repeat_rate=0.05
    )
    rng = np.random.default_rng(0)
    share = np.mean([solver.verify(solver.sample(rng)) == 1 for _ in range(4000)])
    exact = solver.success_probability(())
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))


def test_success_of_what_has_ended_is_known():
    assert task().success_probability(RIGHT) == 1.0
    assert task().success_probability((*RIGHT[:-1], "Answer: 31")) == 0.0
    assert task(max_steps=3).success_probability(RIGHT[:-1]) == 0.0


def test_what_was_asked_before_changes_nothing():
    options = {"max_steps": 8, "error_rate": 0.2, "filler_rate": 0.1, "repair_rate": 0.2}
    states = [(), ("7 + 5 = 13",), ("🙂", "7 + 5 = 12"), RIGHT[:2]]
    forwards, backwards = task(**options), task(**options)
    first = [forwards.success_probability(state) for state in states]
    assert first == [backwards.success_probability(state) for state in states[::-1]][::-1]
    assert first[0] < first[3] and first[1] < first[2]


def test_a_wrong_value_is_harmless_only_where_it_can_be_repaired():
    state = ("7 + 5 = 13", "13 * 3 = 39")
    assert task(error_rate=0.0).success_probability(state) == 0.0
    assert task(error_rate=0.0, repair_rate=0.5).success_probability(state) == 0.75  # two chances


def test_long_solutions_fit_the_recursion():
    solver = ArithmeticTask(draw_problem(1, 0), max_steps=500, error_rate=0.1, filler_rate=0.5)
    assert solver.success_probability(()) == pytest.approx(0.9)


def test_same_seed_same_solution():
    solver = task(error_rate=0.3, filler_rate=0.3)
    assert solver.sample(5) == solver.sample(np.random.default_rng(5))
    assert len({solver.sample(seed) for seed in range(20)}) > 10
