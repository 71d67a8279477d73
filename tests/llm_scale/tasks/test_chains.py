"""Chains of arithmetic with a verdict on each step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.reasoning.arithmetic_problem import ArithmeticProblem
from environments.reasoning.step_text import split_steps
from environments.reasoning.synthetic_prm import SyntheticPRM
from llm_scale.tasks.chains import ChainsTask
from llm_scale.tasks.task import Problem
from llm_scale.tasks.verifying import verify_all
from tests.llm_scale.tasks.attacks import attacks

CHAIN = ArithmeticProblem(7, (("+", 5), ("-", 3)))  # 12, then 9
PROBLEM = Problem("7+5-3\n", "9", 0, {"start": 7, "operations": [["+", 5], ["-", 3]]})
TASK = ChainsTask(style="bare")


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        ("7+5=12|12-3=9|Answer: 9", "aaa"),
        ("7 + 5 = 12|12 - 3 = 9|Answer: 9", "aaa"),
        ("7+5=13|13-3=10|Answer: 10", "wiw"),  # an error, carried on truly
        ("7+5=12|12-3=8|Answer: 8", "aww"),
        ("7+5=12|12-3=8|12-3=9|Answer: 9", "awaa"),  # corrected
        ("7+5=12|7+5=12|7+5=12|12-3=9|Answer: 9", "aiiaa"),  # repeats
        ("7+5=12|So far so good.|12-3=9|Step ready.|Answer: 9", "aiaia"),
        ("1+1=2|2+2=4|7+5=12|12-3=9|Answer: 9", "iiaaa"),  # true, but nobody asked
        ("7+6=13|13-3=10|Answer: 10", "wiw"),  # true, but not what was asked
        ("1+1=3|Answer: 9", "wa"),
        ("Answer: 9", "a"),
        ("Answer: 9|Answer: 9|Answer: 9", "aii"),
        ("Answer: 8|Answer: 9", "wa"),
        ("7+5=12|7+5=13|7+5=12|7+5=13|7+5=12|12-3=9", "awiwia"),  # breaking and mending pays once
        ("7+5=12|7+5=13|Fine.|7+5=12|12-3=9", "awiia"),
        ("I think 7+5=12 and 12-3=9.|Answer: 9", "aa"),
        ("7+5=12 and 12-3=8|Answer: 9", "wa"),
        ("", ""),
    ],
)
def test_every_step_has_its_kind_and_label(lines, kinds):
    steps = lines.split("|") if lines else []
    names = {"a": "advances", "i": "idle", "w": "wrong"}
    assert TASK.step_kinds(PROBLEM, steps) == [names[kind] for kind in kinds]
    assert TASK.step_labels(PROBLEM, steps) == [{"a": 1.0, "i": 0.5, "w": 0.0}[kind] for kind in kinds]


EQUATIONS = ("7+5=12", "7+5=13", "12-3=9", "12-3=8", "13-3=10", "Wait: 7+5=12", "1+1=2", "1+1=3")
LINES = st.sampled_from((*EQUATIONS, "Fine.", "Answer: 9", "Answer: 8"))


@given(st.lists(LINES, max_size=12))
def test_labels_look_back_only_and_progress_is_bounded(steps):
    kinds = TASK.step_kinds(PROBLEM, steps)
    assert len(kinds) == len(steps)
    assert kinds.count("advances") <= len(CHAIN.operations) + 1
    for cut in range(len(steps)):
        assert TASK.step_kinds(PROBLEM, steps[:cut]) == kinds[:cut]


@given(st.lists(LINES | st.text(alphabet="7+5=12-3Answer: \n\0x*"), max_size=6))
def test_the_last_line_decides_and_steps_are_the_lines(lines):
    text = "\n".join(lines)
    assert TASK.steps(text) == list(split_steps(text))
    assert TASK.verify(PROBLEM, text) in (0.0, 1.0)
    assert TASK.verify(PROBLEM, f"{text}\nAnswer: 9\n \n") == 1.0
    assert TASK.verify(PROBLEM, f"{text}\nAnswer: 9\nAnswer: 8") == 0.0
    assert TASK.verify(PROBLEM, f"{text}\nAnswer: 9\nstop") == 0.0


@pytest.mark.parametrize("style", ["chat", "bare"])
@pytest.mark.parametrize("symbols", ["+-", "+-*"])
@pytest.mark.parametrize("operations", [1, 2, 4])
def test_demonstrations_are_right_and_every_step_advances(operations, symbols, style):
    task = ChainsTask(operations, symbols, style)
    for problem in task.problems("train", 20, 0):
        shown = task.demonstration(problem)
        steps = task.steps(shown)
        assert task.verify(problem, shown) == 1.0 and task.format_ok(shown)
        assert task.step_kinds(problem, steps) == ["advances"] * (operations + 1)
        assert {symbol for symbol, _ in task.chain(problem).operations} <= set(symbols)


def test_bare_prompts_say_the_chain_in_the_order_of_school():
    for problem in ChainsTask(4, "+-*", "bare").problems("train", 200, 0):
        assert arithmetic(problem.prompt.strip()) == int(problem.gold)


def arithmetic(text):
    """A sum of products with brackets, by the usual precedence: an oracle of its own."""
    place = 0

    def sum_():
        nonlocal place
        total = product()
        while place < len(text) and text[place] in "+-":
            sign = 1 if text[place] == "+" else -1
            place += 1
            total += sign * product()
        return total

    def product():
        nonlocal place
        value = atom()
        while place < len(text) and text[place] == "*":
            place += 1
            value *= atom()
        return value

    def atom():
        nonlocal place
        if text[place] == "(":
            place += 1
            value = sum_()
            place += 1
            return value
        start = place
        while place < len(text) and text[place].isdigit():
            place += 1
        return int(text[start:place])

    value = sum_()
    assert place == len(text)
    return value


def test_splits_are_disjoint_and_drawn_by_the_seed():
    task = ChainsTask(2)
    train, test = (task.problems(split, 60, 0) for split in ("train", "test"))
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert all(p.number % 4 for p in train) and not any(p.number % 4 for p in test)
    assert task.problems("train", 10, 0) == train[:10] != task.problems("train", 10, 1)


def test_fillers_are_in_demonstrations_at_their_rate_and_change_nothing_else():
    plain, padded = ChainsTask(style="bare"), ChainsTask(style="bare", filler_rate=0.5)
    problems = padded.problems("train", 200, 0)
    kinds = [padded.step_kinds(p, padded.steps(padded.demonstration(p))) for p in problems]
    idle = sum(each.count("idle") for each in kinds)
    assert 500 < idle < 700  # three lines a problem, one filler expected before each: 600
    for problem, each in zip(problems, kinds, strict=True):
        lines = padded.steps(padded.demonstration(problem))
        kept = [line for line, kind in zip(lines, each, strict=True) if kind != "idle"]
        assert "\n".join(kept) == plain.demonstration(problem)
        assert padded.demonstration(problem) == padded.demonstration(problem)
        assert padded.demonstration(problem).isascii()


def test_the_synthetic_judge_of_steps_reads_its_chain():
    steps = ["7+5=12", "So far so good.", "12-3=8", "Answer: 8"]
    assert SyntheticPRM()(TASK.chain(PROBLEM), steps).tolist() == [0.9, 0.9, 0.1, 0.9]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("7+5=12\nAnswer: 9", True),
        ("Answer: 9", False),
        ("7+5=12", False),
        ("7+5=12\nAnswer: nine", False),
        ("Answer: 9\n7+5=12\nAnswer: 9", False),
        ("", False),
    ],
)
def test_form(text, fits):
    assert TASK.format_ok(text) is fits


def test_attacks_are_wrong_and_quick(tmp_path, quick):
    trap = tmp_path / "trap"
    with quick(8.0):
        assert set(verify_all(TASK, [PROBLEM], attacks(trap))) == {0.0}
        for text in attacks(trap):
            TASK.step_labels(PROBLEM, TASK.steps(text)[:50])
            TASK.format_ok(text)
    assert not trap.exists()


def test_bad_arguments_are_named():
    for settings, message in (
        ({"operations": 0}, "operations"),
        ({"operations": 9}, "operations"),
        ({"symbols": "*"}, "symbols is '\\*'"),
        ({"style": "prose"}, "style is 'prose'"),
        ({"filler_rate": 1.0}, "filler_rate"),
    ):
        with pytest.raises(ValueError, match=message):
            ChainsTask(**settings)
    with pytest.raises(ValueError, match="split is 'dev'"):
        TASK.problems("dev", 1, 0)
