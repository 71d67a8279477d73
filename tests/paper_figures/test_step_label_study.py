"""The study behind the figure of step labels: tools with known faults, solutions with known errors, fair scores."""

import numpy as np
import pytest

from environments.reasoning.arithmetic_chain import ArithmeticProblem, ArithmeticTask
from paper_figures.step_label_study import Tool, balanced_accuracy, by_tool, draw_solutions

TASK = ArithmeticTask(ArithmeticProblem(7, (("+", 5), ("*", 3))), max_steps=6, error_rate=0.2)
CARRIED = ("7 + 5 = 13", "13 * 3 = 39")  # the second line is true, and carries the error on


@pytest.fixture(scope="module")
def solutions():
    return draw_solutions(20, np.random.default_rng(0))


def test_a_faultless_tool_is_the_tasks_own():
    for lines in ((), CARRIED[:1], CARRIED, (*CARRIED, "So far so good."), (*CARRIED, "Answer: 39")):
        assert Tool(TASK).verify(lines) == TASK.verify(lines)


def test_a_tool_that_sees_the_prefix():
    tool = Tool(TASK, sees_prefix=True)
    assert [tool.verify(CARRIED[:length]) for length in (1, 2)] == [-1, -1]
    assert tool.verify((*CARRIED, "Correction: 7 + 5 = 12")) == 1
    assert tool.verify(("7 + 5 = 12",)) == 1 and tool.verify((*CARRIED, "So far so good.")) == 0


def test_faults_come_at_their_rates_and_do_not_change():
    lines = [("7 + 5 = 12", *["So far so good."] * k, "12 * 3 = 36") for k in range(4)]
    said = np.array([[Tool(TASK, 0.3, 0.2, seed=seed).verify(line) for line in lines] for seed in range(1000)])
    for verdict, share in ((-1, 0.3), (0, 0.2), (1, 0.5)):
        assert (said == verdict).mean() == pytest.approx(share, abs=0.03)
    assert Tool(TASK, 0.3, 0.2, seed=5).verify(lines[0]) == said[5, 0]
    answered = ("7 + 5 = 12", "12 * 3 = 36", "Answer: 36")
    assert {Tool(TASK, 1.0, seed=seed).verify(answered) for seed in range(20)} == {1}  # the answer is known


def test_half_of_the_solutions_have_an_error_and_it_is_the_last_line_labelled(solutions):
    assert [solution.first_error >= 0 for solution in solutions] == [True] * 10 + [False] * 10
    for solution in solutions:
        labels = solution.task.step_labels(solution.prefixes[-1])
        assert [len(prefix) for prefix in solution.prefixes] == list(range(1, len(labels) + 1))
        assert not any(solution.task.has_ended(prefix) for prefix in solution.prefixes)
        if solution.first_error >= 0:
            assert labels.index(False) == solution.first_error == len(labels) - 1
        else:
            assert all(labels)


def test_a_right_tool_alone_finds_every_error_and_one_that_is_silent_does_not(solutions):
    rows = {(row["tool"], row["method"]): row for row in by_tool(solutions[5:15], np.random.default_rng(0))}
    for tool in ("10% wrong", "50% wrong"):
        assert rows[tool, "tool"]["calls"] == 1.0
    assert rows["right, sees the prefix", "tool"]["f1"] == 1.0 == rows["right, sees the prefix", "tool"]["accuracy"]
    assert rows["half undecided", "tool"]["f1"] < 1.0


def test_balanced_accuracy_worked():
    truth = np.array([True, True, True, False])
    assert balanced_accuracy(np.array([True, True, False, False]), truth) == pytest.approx((2 / 3 + 1) / 2)
    assert balanced_accuracy(np.ones(4, bool), truth) == 0.5
