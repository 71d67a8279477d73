"""Arithmetic in lines of text: what a line says."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from environments.reasoning.arithmetic_chain import FILLERS, parse_step
from environments.reasoning.step_text import Equation, split_steps
from tests.environments.arithmetic import OPERATORS

numbers = st.integers(-(10**12) + 1, 10**12 - 1)


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
