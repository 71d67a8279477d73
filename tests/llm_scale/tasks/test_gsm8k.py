"""GSM8K: the real files, and what counts as the answer."""

import pytest

pytest.importorskip("math_verify")

from environments import data
from llm_scale.tasks.gsm8k import GSM8KTask, given_answer
from llm_scale.tasks.task import Problem
from llm_scale.tasks.verifying import Failure, verify_all
from tests.llm_scale.tasks.attacks import ATTACKS, attacks

TASK = GSM8KTask()
PROBLEM = Problem("How many?", "18", 0, {"solution": "9 + 9 = 18\n#### 18"})


@pytest.fixture(scope="module")
def files():
    try:
        for split in ("train", "test"):
            data.path(f"gsm8k/{split}.jsonl")
    except data.DataError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "answer",
    [
        "18",
        "#### 18",
        "####18",
        "#### $18.00",
        "17\n#### 18",
        "#### 17\nNo.\n#### 18",  # the last one counts
        "#### 18\nThat is more than 5.",
        "#### 18 apples",
        "#### 9 + 9 = 18",
        "It is 18.",
        "\\boxed{18}",
        "\\boxed{17}, no, \\boxed{18}",
        "So \\boxed{18}, not 20",
        "$\\boxed{18}$",
        "5 times 3.6 is **18**",
        "#### +18",
        "18.0",
    ],
)
def test_right_answers(answer):
    assert TASK.verify(PROBLEM, answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "eighteen",
        "#### 17",
        "18\n#### 17",
        "18 or 19",
        "#### 18 or 19",
        "\\boxed{17} or 18",
        "#### ",
        "18\n#### none",
        "#### -18",
        "#### 1,8",
        "#### 18.5",
        "#### \N{FULLWIDTH DIGIT ONE}8",
        "#### 3^2 * 2",
        "#### 10 + 8",
        "#### 2^18",
        "\\boxed{\\frac{18}{1}" + " " * 100 + "}",  # right, but longer than an answer should be
    ],
)
def test_wrong_answers(answer):
    assert TASK.verify(PROBLEM, answer) == 0.0


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("\\boxed{\\frac{36}{2}}", 1),
        ("\\boxed{\\frac{37}{2}}", 0),
        ("#### $\\sqrt{324}$", 1),
        ("#### \\$18", 1),
        ("\\boxed{18\\text{ apples}}", 1),
        ("\\boxed{x}", 0),
        ("\\boxed{\\frac{1}{0}}", 0),
        ("\\boxed{\\frac}", 0),
    ],
)
def test_latex_is_compared_as_mathematics(answer, score):
    assert TASK.verify(PROBLEM, answer) == score


def test_only_latex_is_checked_in_a_process_of_its_own(monkeypatch):
    checked = []
    monkeypatch.setattr("llm_scale.tasks.verifying._apart", lambda task, pairs, seconds: iter_(checked, pairs))
    answers = ["#### 18", "", "\\boxed{18}", "\\boxed{\\frac{36}{2}}", "\\" * 1000, "#### 17"]
    assert verify_all(TASK, [PROBLEM], answers) == [1, 0, 1, 0.5, 0, 0]
    assert checked == ["\\boxed{\\frac{36}{2}}"]


def iter_(checked, pairs):
    for _, completion in pairs:
        checked.append(completion)
        yield 0.5


def test_what_is_given_as_the_answer():
    assert given_answer("a #### b\nc") == "b"
    assert given_answer("\\boxed{a{b}c} d") == "a{b}c"
    assert given_answer("\\boxed{a") == "\\boxed{a"
    assert given_answer("####") == ""
    assert given_answer("plain") == "plain"


def test_the_real_problems(files):
    problems = {split: TASK.problems(split, 10_000, 0) for split in ("train", "test")}
    numbers = {split: {p.number for p in each} for split, each in problems.items()}
    assert {split: len(each) for split, each in numbers.items()} == {"train": 7473, "test": 1319}
    assert not {p.prompt for p in problems["train"]} & {p.prompt for p in problems["test"]}
    assert TASK.problems("train", 5, 0) == problems["train"][:5] != TASK.problems("train", 5, 1)
    for problem in problems["test"][:1319]:
        shown = TASK.demonstration(problem)
        assert TASK.verify(problem, shown) == 1.0 and TASK.format_ok(shown), problem
        assert "<<" not in shown and "," not in problem.gold
        assert len(TASK.steps(shown)) >= 2


def test_a_known_problem(files):
    janet = next(p for p in TASK.problems("test", 1319, 0) if "ducks lay 16 eggs per day" in p.prompt)
    assert (janet.number, janet.gold) == (0, "18")


@pytest.mark.slow
def test_attacks_fail_or_are_wrong_within_their_time(tmp_path):
    trap = tmp_path / "trap"
    results = verify_all(TASK, [PROBLEM], attacks(trap), seconds=1.0)
    for name, result in zip(ATTACKS, results, strict=True):
        assert result == 0.0 or isinstance(result, Failure), name
    assert not trap.exists()


def test_attacks_without_latex_are_wrong_and_quick(tmp_path, quick):
    trap = tmp_path / "trap"
    plain = [text for text in attacks(trap) if "\\" not in text]
    with quick(3.0):
        assert {TASK.verify(PROBLEM, text) for text in plain} == {0.0}
        assert not any(TASK.format_ok(text) for text in plain[:6])
    assert not trap.exists()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="split is 'dev'"):
        TASK.problems("dev", 1, 0)
