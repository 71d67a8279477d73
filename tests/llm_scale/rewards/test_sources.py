"""Signals by name: what they measure, and that they find their problem in any trainer's columns."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.objectives.dapo import soft_overlong_penalty
from llm_scale.rewards.sources import SOURCES, Given, columns_of, problem_of, source_of
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.task import Problem
from tests.llm_scale.rewards.answers import Lines

PROBLEM = Problem("What is 40 + 2?", "42", 7, {"left": 40, "right": 2})


def score(table, completion, **columns):
    signal = source_of("it", table, AdditionTask(2), {})
    return signal(PROBLEM.prompt, completion, problem=PROBLEM, **columns)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("verifier", {"42": 1, "It is 42.": 1, "41": 0, "": 0}),
        ("format", {"42": 1, "It is 42.": 0, "": 0}),
        ({"kind": "format", "pattern": r"Answer: -?\d+"}, {" Answer: 42\n": 1, "Answer: 42 or 43": 0}),
        ("length", {"42": 2, "": 0}),
        ({"kind": "brevity", "target": 4}, {"": 1, "42": 1, "1234": 1, "12345": 0.8, "12345678": 0.5}),
        ({"kind": "overlong", "limit": 10, "cushion": 4}, {"123456": 0, "12345678": -0.5, "1" * 10: -1, "1" * 99: -1}),
        ("contains_digit", {"it is 4": 1, "four": 0, "٤": 0, "": 0}),
        ("digit_overlap", {"42": 1, "41": 0.5, "142": 2 / 3, "2": 0.5, "24": 0, "four": 0, "no 7, it is 42": 1}),
    ],
)
def test_worked_values(table, values):
    assert {completion: score(table, completion) for completion in values} == pytest.approx(values)


def test_tokens_are_counted_where_asked_for():
    for kind, expected in {"length": 3.0, "brevity": 2 / 3}.items():
        options = {"target": 2} if kind == "brevity" else {}
        assert score({"kind": kind, "unit": "tokens", **options}, "any text", completion_ids=[5, 6, 0]) == expected
    with pytest.raises(ValueError, match='no completion_ids to count; use unit = "characters"'):
        score({"kind": "length", "unit": "tokens"}, "any text")


@given(st.integers(0, 40), st.integers(1, 30), st.data())
def test_overlong_is_dapo_s_penalty(length, limit, data):
    import torch

    cushion = data.draw(st.integers(1, limit))
    theirs = soft_overlong_penalty(torch.tensor([length]), limit, cushion)
    assert score({"kind": "overlong", "limit": limit, "cushion": cushion}, "x" * length) == float(theirs[0])


@given(st.text(max_size=30))
def test_any_text_has_every_score_in_its_range(completion):
    for name, low in {"verifier": 0, "format": 0, "contains_digit": 0, "digit_overlap": 0, "brevity": 0}.items():
        assert low <= score(name, completion) <= 1


def test_a_conversation_is_read_as_text():
    signal = source_of("it", "verifier", AdditionTask(2), {})
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROBLEM.prompt}]
    assert signal(prompt, [{"role": "assistant", "content": "42"}], gold="42") == 1.0
    assert problem_of(prompt, columns_of(PROBLEM)) == PROBLEM


@pytest.mark.parametrize(
    "columns",
    [
        {"problem": PROBLEM},
        columns_of(PROBLEM),
        {"ground_truth": "42", "number": 7, "data": {"left": 40, "right": 2}},
        {"label": 42, "number": "7", "data": json.dumps({"left": 40, "right": 2})},
    ],
)
def test_the_problem_is_found_in_any_trainer_s_columns(columns):
    assert problem_of(PROBLEM.prompt, columns) == PROBLEM
    assert problem_of(None, {**columns, "question": PROBLEM.prompt}) == PROBLEM


def test_columns_without_an_answer_and_data_that_are_no_json_are_errors():
    with pytest.raises(ValueError, match=r"columns \['even'\]: expected the right answer under one of gold, ground_"):
        problem_of("2 + 2", {"even": True})
    with pytest.raises(TypeError, match=r"data of problem 7 \('What is 40.*cannot be JSON"):
        columns_of(Problem(PROBLEM.prompt, "42", 7, {"chain": object()}))


def test_a_verifier_outside_our_loop_stops_rather_than_leave_the_decision_to_others():
    class Broken(Lines):
        def verify(self, problem, completion):
            raise KeyError("no such thing")

    with pytest.raises(RuntimeError, match=r"problem 7 \(prompt 'What is 40.*raised KeyError: 'no such thing'"):
        source_of("it", "verifier", Broken(), {})(PROBLEM.prompt, "x", problem=PROBLEM)


def test_a_verifier_outside_our_loop_has_a_time_limit():
    class Hanging(Lines):
        always_ends = False

        def verify(self, problem, completion):
            time.sleep(60)

    with pytest.raises(RuntimeError, match=r"took longer than 0\.2 s"):
        source_of("it", {"kind": "verifier", "seconds": 0.2}, Hanging(), {})("p", "x", problem=PROBLEM)


def test_a_learned_signal_is_scored_one_by_one_in_other_trainers():
    seen = []

    def learned(samples):
        seen.extend(samples)
        return [float(len(sample.completion)) for sample in samples]

    signal = source_of("it", "given", Lines(), {"it": learned})
    assert isinstance(signal, Given)
    assert signal(PROBLEM.prompt, "four", gold="42", number=7, completion_ids=[3, 4]) == 4.0
    assert signal([{"role": "user", "content": "Hi"}], "Ho") == 2.0
    assert seen[0].ids == [3, 4]
    assert (seen[0].problem.gold, seen[1].problem.prompt) == ("42", "Hi")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "speed",
            "sources.it: unknown kind 'speed', expected one of brevity, contains_digit, digit_overlap, format, giv",
        ),
        ({"kind": "brevity", "goal": 3}, "sources.it: brevity has no setting 'goal', expected unit, target"),
        ({"kind": "brevity", "target": 0}, "sources.it: target is 0"),
        ({"kind": "length", "unit": "words"}, "sources.it: unit is 'words'"),
        ({"kind": "overlong"}, "sources.it: limit is 0"),
        ({"kind": "overlong", "limit": 4, "cushion": 5}, "sources.it: cushion is 5"),
        ({"kind": "format", "pattern": "("}, r"sources.it: pattern '\(' is no regular expression"),
        ({"target": 3}, "sources.it: expected a kind, or a table with a kind, got {'target': 3}"),
        (3, "sources.it: expected a kind"),
        ("given", r"sources.it: 'it' is to be handed in: from_toml\(..., given={'it': ...}\)"),
        ({"kind": "given", "scale": 3}, "sources.it: given has no setting 'scale'"),
    ],
)
def test_entries_that_cannot_be_say_where(table, message):
    handed = {"it": len} if isinstance(table, dict) else {}
    with pytest.raises(ValueError, match=message):
        source_of("it", table, Lines(), handed)


def test_every_kind_takes_a_task_first():
    assert all(next(iter(kind.__dataclass_fields__)) == "task" for kind in SOURCES.values())
