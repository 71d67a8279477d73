"""Problems of chained arithmetic, and where the lines of a solution leave the chain."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from environments.reasoning.arithmetic_chain import (
    FILLERS,
    SLIPS,
    ArithmeticProblem,
    ArithmeticTask,
    draw_problem,
    parse_step,
)
from environments.reasoning.chain_reading import Chain
from tests.environments.arithmetic import OPERATORS, PROBLEM, RIGHT, seeds, task

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
