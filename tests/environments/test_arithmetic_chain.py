"""Arithmetic in lines of text: what a line says, where a chain stands, and how likely it is to end well."""

import itertools
import operator
import pickle
import time

import numpy as np
import pytest
from hypothesis import assume, example, given
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
from environments.reasoning.chain_reading import Chain
from environments.reasoning.step_text import Equation, split_steps
from rewardlab.process.tasks import StepTask, check_step_task, rollout

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
PROBLEM = ArithmeticProblem(7, (("+", 5), ("*", 3), ("-", 4)))  # 7, 12, 36, 32
RIGHT = ("7 + 5 = 12", "12 * 3 = 36", "36 - 4 = 32", "Answer: 32")
seeds = st.integers(0, 2**32 - 1)
numbers = st.integers(-(10**12) + 1, 10**12 - 1)


def task(**options):
    return ArithmeticTask(PROBLEM, **options)


# what a line says


@pytest.mark.parametrize(
    "text",
    [
        "7 + 5 = 12",
        "7+5=12",
        "  First,\t7 + 5 = 12.  ",
        "Step 1: 7 + 5 = 12",
        "step 1 - 7 + 5 = 12",
        "1. 7 + 5 = 12",
        "2) 7 + 5 = 12",
        "- 7 + 5 = 12",
        "* 7 + 5 = 12 (so far)",
        "**7 + 5 = 12**",
        "So **7 + 5 = 12** holds",
        "We get 7 + 5 = 12, as asked - good",
        "007 + 5 = 12",
    ],
)
def test_lines_that_state_seven_plus_five(text):
    said = parse_step(text)
    assert (said.kind, said.equations, said.verdict) == ("equation", (Equation(7, "+", 5, 12),), 1)


@pytest.mark.parametrize(
    ("text", "equation"),
    [
        ("7 * 5 = 35", Equation(7, "*", 5, 35)),
        ("7 × 5 = 35", Equation(7, "*", 5, 35)),
        ("7 x 5 = 35", Equation(7, "*", 5, 35)),
        ("7x5=35", Equation(7, "*", 5, 35)),
        ("7 · -5 = -35", Equation(7, "*", -5, -35)),
        ("7 − 10 = −3", Equation(7, "-", 10, -3)),
        ("7 -10 = -3", Equation(7, "-", 10, -3)),
        ("7 - -3 = 10", Equation(7, "-", -3, 10)),
        ("-3 + 5 = 2", Equation(-3, "+", 5, 2)),
    ],
)
def test_symbols_and_signs(text, equation):
    assert parse_step(text).equations == (equation,)
    assert equation.holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "7 + 5",
        "= 12",
        "7 + 5 = ",
        "2 + 7 + 5 = 14",
        "2 * (7 + 5) = 24",
        "(2 + 5) * 3 = 21",
        "7 + 5 = 12 = 12",
        "7 + 5 = 12 * 3",
        "7 + 5 = 12 * (3)",
        "7 + 5 = 12 - (3)",
        "7 + 5 = 12 - 3",
        "7 + 5 = 12.5",
        "7.5 + 5 = 12",
        "1,007 + 5 = 12",
        "7 + 5 = 12,000",
        "10 / 5 = 2",
        "2 ^ 3 = 8",
        "2**3 + 5 = 13",
        "2 ** 3 + 5 = 13",
        "a7 + 5 = 12",
        "a * 7 + 5 = 12",
        "7 + 5 = 12cm",
        "7 + 5 == 12",
        "٧ + ٥ = ١٢",
        "__import__('os').system('true')",
        "answers: 12",
        "The answer will come.",
        *FILLERS,
    ],
)
def test_lines_that_say_nothing(text):
    said = parse_step(text)
    assert (said.kind, said.equations, said.answer, said.verdict) == ("statement", (), None, 0)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 36",
        "answer:36",
        "The answer is 36.",
        "**Answer:** 36",
        "**Answer**: 36",
        "Final answer = $36$",
        "The final answer is: 36!",
    ],
)
def test_lines_that_answer(text):
    assert (parse_step(text).kind, parse_step(text).answer) == ("answer", 36)


@pytest.mark.parametrize(
    "text",
    [
        "Answer:",
        "Answer: about 36",
        "Answer: 36.5",
        "Answer: 1,036",
        "Answer: 12 * 3 = 36",
        "Answer: 36 or 37",
        "Answer: " + "9" * 13,
    ],
)
def test_answers_without_one_whole_number(text):
    assert (parse_step(text).kind, parse_step(text).answer, parse_step(text).verdict) == ("answer", None, 0)


def test_negative_answers():
    assert parse_step("Answer: -3").answer == parse_step("Answer: −3").answer == -3


def test_all_equations_of_a_line_must_hold():
    assert parse_step("7 + 5 = 12, 12 * 3 = 36").verdict == 1
    said = parse_step("7 + 5 = 12 and 12 * 3 = 37")
    assert [str(equation) for equation in said.equations] == ["7 + 5 = 12", "12 * 3 = 37"]
    assert said.verdict == -1


def test_corrections():
    assert parse_step("Correction: 7 + 5 = 12").correction
    assert parse_step("Wait, 7 + 5 = 12").correction
    assert not parse_step("7 + 5 = 12, no correction: sure").correction


@given(numbers, st.sampled_from("+-*"), numbers, numbers)
def test_equations_read_as_they_are_written(left, symbol, operand, stated):
    equation = Equation(left, symbol, operand, stated)
    said = parse_step(f"Well, {equation}; next.")
    assert said.equations == (equation,)
    assert said.verdict == (1 if OPERATORS[symbol](left, operand) == stated else -1)


@given(st.text() | st.text(alphabet="0123456789+-*x=., ()Answer:\n"))
@example("7 + 5 = 1" + "0" * 5000)
@example("\ud800 + 1 = 2")
def test_any_text_can_be_read(text):
    said = parse_step(text)
    assert said.verdict in (-1, 0, 1)
    assert (said.kind == "equation") == bool(said.equations)
    assert said.kind == "answer" or said.answer is None


@pytest.mark.parametrize(
    "unit", ["9", "1 + ", "1+1=", "- ", " ", "1.", "1,2", "answer ", "*", "x", "= 1 = ", "Answer: 1 "]
)
def test_long_lines_cost_little_and_say_nothing_that_holds(unit):
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    said = parse_step(text)
    assert time.process_time() - started < 1
    assert said.verdict == 0
    assert said.answer is None


def test_a_line_is_a_string():
    for wrong in (None, 12, b"7 + 5 = 12", ["7 + 5 = 12"]):
        with pytest.raises(TypeError, match="text: expected a string, got"):
            parse_step(wrong)


def test_texts_are_split_at_line_breaks():
    assert split_steps("7 + 5 = 12\n\n  Answer: 12 \r\n") == ("7 + 5 = 12", "Answer: 12")
    assert split_steps("") == ()


# problems


def test_a_problem_and_its_solution():
    assert PROBLEM.text == "Start with 7. Add 5. Multiply by 3. Subtract 4. What is the result?"
    assert (PROBLEM.values, PROBLEM.answer, PROBLEM.solution) == ((7, 12, 36, 32), 32, RIGHT)
    assert PROBLEM.prompt.startswith(PROBLEM.text + "\n")
    assert "'Answer: number'" in PROBLEM.prompt
    assert task().prompt == PROBLEM.prompt


@given(st.integers(1, 12), seeds)
def test_drawn_problems_are_as_promised(operations, seed):
    problem = draw_problem(operations, seed)
    assert problem == draw_problem(operations, np.random.default_rng(seed))
    value = problem.start
    assert len(problem.operations) == operations
    assert 2 <= value <= 9
    for symbol, operand in problem.operations:
        assert operand in (range(2, 10) if symbol in "+-" else (2, 3))
        value = OPERATORS[symbol](value, operand)
        assert 1 <= value <= 999
    assert value == problem.answer
    whole = ArithmeticTask(problem, max_steps=operations + 1, error_rate=0.0)
    assert whole.sample(0) == problem.solution
    assert all(parse_step(step).verdict == 1 for step in problem.solution[:-1])


def test_all_three_operations_are_drawn():
    drawn = {symbol for seed in range(20) for symbol, _ in draw_problem(3, seed).operations}
    assert drawn == {"+", "-", "*"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((7, ()), ValueError, "operations is empty"),
        ((7.0, (("+", 5),)), TypeError, "start is 7.0"),
        ((7, (("+", 5), ("/", 5))), ValueError, r"operations\[1\] has symbol '/'"),
        ((7, (("+", 5.5),)), TypeError, r"operations\[0\]\[1\] is 5.5"),
        ((7, (("*", 10**6), ("*", 10**6))), ValueError, "operations lead to numbers of more than 12 digits"),
        ((10**12, (("-", 1),)), ValueError, "operations lead to numbers of more than 12 digits"),
        ((7, (("+", True),)), TypeError, r"operations\[0\]\[1\]: expected a whole number, got bool"),
    ],
)
def test_bad_problems(arguments, error, message):
    with pytest.raises(error, match=message):
        ArithmeticProblem(*arguments)


def test_bad_draws(without_type_checks):
    with pytest.raises(ValueError, match="operations is 0"):
        draw_problem(0, 1)
    with pytest.raises(TypeError, match="rng: expected a seed"):
        draw_problem(2, None)


# solutions


@pytest.mark.parametrize(
    ("steps", "right"),
    [
        (RIGHT, True),
        (("Answer: 32",), True),
        (("I think aloud.", "1 + 1 = 3", "so the answer is near", "The answer is 32."), True),
        ((*RIGHT, "", "  "), True),
        ((*RIGHT, "So far so good."), False),
        (("Answer: 32", "Answer: 31"), False),
        (("Answer: 31", "Answer: 32"), True),
        (RIGHT[:-1], False),
        (("Answer: 32.5",), False),
        ((), False),
        (("",), False),
    ],
)
def test_the_last_line_decides_a_solution(steps, right):
    assert PROBLEM.verify_solution(steps) == task().verify_solution(list(steps)) == right


def test_a_solution_may_be_too_long_for_its_task():
    padded = (*[FILLERS[0]] * 9, *RIGHT)
    assert PROBLEM.verify_solution(padded)
    assert not task(max_steps=12).verify_solution(padded)
    assert task(max_steps=13).verify_solution(padded)


def test_a_solution_is_no_single_string():
    for judge in (PROBLEM.verify_solution, task().verify_solution, task().step_labels, task().verdicts):
        with pytest.raises(TypeError, match="steps: expected a sequence of lines, got one string"):
            judge("Answer: 32")
        with pytest.raises(TypeError, match=r"steps\[1\]: expected a string, got int"):
            judge(["Answer: 32", 32])


@pytest.mark.parametrize(
    ("steps", "verdicts", "labels", "first_error"),
    [
        (RIGHT, (1, 1, 1, 1), (1, 1, 1, 1), -1),
        # a wrong value carried on consistently: each line true, the whole wrong
        (("7 + 5 = 13", "13 * 3 = 39", "39 - 4 = 35", "Answer: 35"), (-1, 1, 1, -1), (0, 0, 0, 0), 0),
        # corrected at once; corrected later, so that what followed has to be done again
        (("7 + 5 = 13", "Correction: 7 + 5 = 12", "12 * 3 = 36"), (-1, 1, 1), (0, 1, 1), 0),
        (("7 + 5 = 12", "12 * 3 = 37", "37 - 4 = 33", "Wait, 12 * 3 = 36"), (1, -1, 1, 1), (1, 0, 0, 1), 1),
        (("7 + 5 = 13", "13 * 3 = 39", "7 + 5 = 12", "Answer: 12"), (-1, 1, 1, -1), (0, 0, 1, 0), 0),
        # only the first of two errors corrected: it takes the second with it
        (("7 + 5 = 13", "13 * 3 = 38", "Correction: 7 + 5 = 12"), (-1, -1, 1), (0, 0, 1), 0),
        # the second corrected, the first not
        (("7 + 5 = 13", "13 * 3 = 38", "Correction: 13 * 3 = 39"), (-1, -1, 1), (0, 0, 0), 0),
        # what calls itself a correction and is the next step, or neither
        (("7 + 5 = 12", "Wait, 12 * 3 = 36", "Wait, 1 + 1 = 2", "36 - 4 = 32"), (1, 1, 1, 1), (1, 1, 1, 1), -1),
        # a right step made wrong
        (("7 + 5 = 12", "Correction: 7 + 5 = 13"), (1, -1), (1, 0), 1),
        # filler and repeats change nothing
        (("Step ready.", "7 + 5 = 12", "7 + 5 = 12", "🙂", "Wait, 7 + 5 = 12"), (0, 1, 1, 0, 1), (1,) * 5, -1),
        # what nobody asked for, true or false
        (("1 + 1 = 2", "100 + 1 = 7", "7 + 5 = 12"), (1, -1, 1), (1, 1, 1), -1),
        # a true equation, but of another operation: no calculator minds
        (("7 + 6 = 13", "13 * 3 = 39"), (1, 1), (0, 0), 0),
        (("7 + 6 = 13", "Correction: 7 + 5 = 12"), (1, 1), (0, 1), 0),
        # two slips that cancel
        (("7 + 5 = 12", "12 * 3 = 37", "37 - 4 = 32", "Answer: 32"), (1, -1, -1, 1), (1, 0, 0, 1), 1),
        # two steps in a line, and lines after the chain is done
        (("7 + 5 = 12, so 12 * 3 = 36", "36 - 4 = 32", "32 + 1 = 33", "32 - 4 = 28"), (1, 1, 1, 1), (1,) * 4, -1),
        ((), (), (), -1),
    ],
)  # fmt: skip
def test_what_a_tool_says_of_each_line_and_what_is_true(steps, verdicts, labels, first_error):
    assert task().verdicts(steps) == verdicts
    assert task().step_labels(steps) == tuple(map(bool, labels))
    assert task().first_error(steps) == first_error


def test_lines_that_fit_two_places():
    there_and_back = ArithmeticTask(ArithmeticProblem(7, (("+", 5), ("-", 5), ("+", 5), ("*", 2))))
    steps = ("7 + 5 = 12", "12 - 5 = 7", "7 + 5 = 12")
    assert Chain.after_each(there_and_back.problem, steps)[-1].length == 3
    # said again it changes nothing; as a correction it is meant for the first wrong place, or else for the last
    assert Chain.after_each(there_and_back.problem, (*steps, "7 + 5 = 12"))[-1].length == 3
    wrong_last = (*steps[:2], "7 + 5 = 13", "Correction: 7 + 5 = 12")
    assert there_and_back.step_labels(wrong_last) == (True, True, False, True)
    assert Chain.after_each(there_and_back.problem, wrong_last)[-1].length == 3
    wrong_first = ("7 + 5 = 13", "13 - 5 = 7", "7 + 5 = 12", "Correction: 7 + 5 = 12")
    assert there_and_back.step_labels(wrong_first) == (False, False, False, True)
    assert Chain.after_each(there_and_back.problem, wrong_first)[-1].length == 1
    made_wrong = Chain.after_each(there_and_back.problem, (*steps, "Correction: 7 + 5 = 11"))[-1]
    assert (made_wrong.length, made_wrong.value) == (3, 11)

    # the last equation again is a repeat, even where an earlier place is wrong
    assert Chain.after_each(there_and_back.problem, (*wrong_first[:3], "7 + 5 = 12"))[-1].length == 3


@pytest.mark.parametrize("line", ["7 + 5 = 12", "Wait, 7 + 5 = 12", "8 + 5 = 13", "Correction: 8 + 5 = 13"])
def test_earlier_equations_and_those_of_another_value_change_nothing(line):
    chains = Chain.after_each(PROBLEM, (*RIGHT[:2], line))
    assert chains[2] == chains[1]
    assert (chains[2].length, chains[2].value) == (2, 36)


def test_operations_that_leave_the_value_as_it_is():
    still = ArithmeticTask(ArithmeticProblem(0, (("*", 3), ("*", 3), ("+", 5))))
    again = ("0 * 3 = 0",) * 3  # the third is a repeat, not another reading of "add 5"
    assert Chain.after_each(still.problem, again)[-1].length == 2
    assert still.step_labels((*again, "0 + 5 = 5")) == (True,) * 4


@given(st.integers(1, 5), seeds, st.data())
def test_reading_a_solution_agrees_with_keeping_books_while_it_is_written(operations, seed, data):
    problem = draw_problem(operations, seed)
    values, right, steps, labels = [problem.start], [], [], []  # running values, and which of the links are right
    for _ in range(data.draw(st.integers(0, 10))):
        place = len(right)
        choices = (
            ["filler"] + ["next"] * 3 * (place < operations) + ["repeat"] * (place > 0) + ["repair"] * (False in right)
        )
        kind = data.draw(st.sampled_from(choices))
        if kind == "filler":
            steps.append(data.draw(st.sampled_from(FILLERS)))
        elif kind == "next":
            symbol, operand = problem.operations[place]
            slip = data.draw(st.sampled_from((0, 0, *SLIPS)))
            stated = OPERATORS[symbol](values[-1], operand) + slip
            assume(stated != values[-1])  # else the same words may be the next step or the last one again
            steps.append(f"{values[-1]} {symbol} {operand} = {stated}")
            values, right = [*values, stated], [*right, slip == 0]
        elif kind == "repeat":
            last = next(step for step in reversed(steps) if "=" in step).removeprefix("Correction: ")
            steps.append(f"Again: {last}")
        else:
            wrong = right.index(False)
            symbol, operand = problem.operations[wrong]
            stated = OPERATORS[symbol](values[wrong], operand)
            steps.append(f"Correction: {values[wrong]} {symbol} {operand} = {stated}")
            values, right = [*values[: wrong + 1], stated], [True] * (wrong + 1)
        labels.append(all(right))
    chain = Chain.after_each(problem, steps)[-1] if steps else Chain(problem)
    assert (chain.length, chain.value) == (len(right), values[-1])
    assert ArithmeticTask(problem).step_labels(steps) == tuple(labels)


# the task


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
