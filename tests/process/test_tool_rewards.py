"""Rewards of tool calls: worked numbers, every matching tried out, what order must not change, trainers' signals."""

import itertools
import json
import math
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.adapters.trl import reward_functions
from rewardlab.process.reward_schedules import EQUAL_SCALE, RewardScale, smooth_scale, two_stage_scale
from rewardlab.process.tool_calls import ToolCall
from rewardlab.process.tool_format import ToolFormat
from rewardlab.process.tool_rewards import (
    DETAILS,
    MATCHINGS,
    score_calls,
    tool_call_signal,
    tool_call_signals,
    tool_reward,
)

values = st.sampled_from([0, 1, 1.0, True, "1", None, [1]])
call_of = st.builds(ToolCall, st.sampled_from("wv"), st.dictionaries(st.sampled_from("abc"), values, max_size=3))
calls_of = st.lists(call_of, max_size=4)
gold_of = st.lists(call_of, min_size=1, max_size=4)
every_way = pytest.mark.parametrize(
    ("matching", "detail"), list(itertools.product(MATCHINGS, DETAILS)), ids=lambda name: name
)


def w(**parameters):
    return ToolCall("w", parameters)


def correctness(gold, predicted, **options):
    return 6 * score_calls(gold, predicted, **options).share - 3


def text(calls, think="Let me see."):
    lines = [json.dumps({"name": call.name, "parameters": call.parameters}) for call in calls]
    return "\n".join([f"<think>{think}</think>", "<tool_call>", *lines, "</tool_call>"])


# worked numbers

WEATHER = w(city="Paris", unit="C")


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([WEATHER], 3.0),
        ([w(city="Paris", unit="F")], 1.5),
        ([w(city="Paris")], 0.75),
        ([w(city="Rome", unit="F")], 0.0),
        ([ToolCall("v", WEATHER.parameters)], -3.0),
        ([], -3.0),
        ([WEATHER, WEATHER], 2.25),
        ([WEATHER, ToolCall("v", {})], 2.25),
        ([ToolCall("v", {"x": 1}), WEATHER], 2.25),
        ([w(city="Paris", unit="C", day="today")], 3 * (1 + 2 / 3 + 2 - 2) / 2),
    ],
)
@pytest.mark.parametrize("matching", MATCHINGS)
def test_one_call_of_two_parameters(predicted, expected, matching):
    found = score_calls([WEATHER], predicted, matching=matching)
    assert found.possible == 4
    assert 6 * found.share - 3 == pytest.approx(expected)


def test_greedy_can_take_the_wrong_call():
    gold, predicted = [w(a=1), w(a=1, b=3)], [w(a=1, b=3), w(b=9)]
    greedy, optimal = (score_calls(gold, predicted, matching=matching) for matching in ("greedy", "optimal"))
    assert (greedy.found, greedy.possible, optimal.found) == (3, 6, 4)
    assert (correctness(gold, predicted, matching="greedy"), correctness(gold, predicted)) == (0, 1)
    assert (greedy.pairs, optimal.pairs) == (((0, 0), (1, 1)), ((1, 0),))
    gold, predicted = [w(a=1, x=2), w(a=1, b=3)], [w(a=1, b=3)]
    greedy, optimal = (score_calls(gold, predicted, matching=matching) for matching in ("greedy", "optimal"))
    assert (round(greedy.found, 3), greedy.possible, optimal.found) == (1.833, 7, 3.5)


@pytest.mark.parametrize("matching", MATCHINGS)
def test_a_value_of_another_type_is_wrong(matching):
    assert correctness([w(a=1)], [w(a="1")], matching=matching) == 1
    assert correctness([w(a=1)], [w(a=True)], matching=matching) == 1
    assert correctness([w(a=1)], [w(a=1.0)], matching=matching) == 3


@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize(("calls", "keys"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 2)])
def test_right_names_alone(matching, calls, keys):
    """Right names and keys with all values wrong earn (1 + |G|) / (1 + |G| + K) of the range."""
    gold = [ToolCall(f"tool {number}", {f"k{key}": 0 for key in range(keys)}) for number in range(calls)]
    guessed = [ToolCall(call.name, dict.fromkeys(call.parameters, 1)) for call in gold]
    expected = (1 + calls) / (1 + calls + calls * keys)
    assert score_calls(gold, guessed, matching=matching).share == pytest.approx(expected)


@pytest.mark.parametrize("matching", MATCHINGS)
def test_calls_too_many_cost_the_names_only(matching):
    before = score_calls([WEATHER], [WEATHER], matching=matching)
    for extra in (1, 2, 9):
        found = score_calls([WEATHER], [WEATHER, *[ToolCall("v", {})] * extra], matching=matching)
        assert (found.parameters, found.values) == (before.parameters, before.values)
        assert found.names == pytest.approx(1 / (1 + extra))
    gold = [w(a=1), ToolCall("v", {"a": 1, "b": 2})]  # of which 6 is possible: an extra call costs less
    assert correctness(gold, gold) - correctness(gold, [*gold, w()]) == pytest.approx(6 * (1 - 2 / 3) / 6)


def test_calls_without_parameters():
    assert correctness([w()], [w()]) == 3
    found = score_calls([w()], [w(a=1)])
    assert (found.names, found.parameters, found.values, found.possible, found.pairs) == (1, 0, 0, 2, ())


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("fine", (2 / 3, 0.5 + 1, 1 + 1, 6)),
        ("strict", (0.0, 1.0, 2.0, 6)),
        ("intermediate", (2 / 3, 0.0, 1.0, 3)),
        ("coarse", (0.0, 0.0, 0.0, 1)),
    ],
)
@pytest.mark.parametrize("matching", MATCHINGS)
def test_levels_of_detail(detail, expected, matching):
    gold = [w(a=1, b=2), ToolCall("v", {"a": 1})]
    predicted = [ToolCall("v", {"a": 1}), w(a=1), w()]
    found = score_calls(gold, predicted, matching=matching, detail=detail)
    assert (found.names, found.parameters, found.values, found.possible) == pytest.approx(expected)


# every matching tried out


def by_hand(gold, call, detail):
    """Earnings of a pair, from the definition."""
    if gold.name != call.name:
        return 0.0
    if detail == "intermediate":
        return float(gold == call)
    right, given = gold.parameters, call.parameters
    both, either = set(right) & set(given), set(right) | set(given)
    keys = len(both) / len(either) if either else 1.0
    same = sum(ToolCall("x", {"x": right[key]}) == ToolCall("x", {"x": given[key]}) for key in both)
    return (keys if detail == "fine" else float(set(right) == set(given))) + same


@pytest.mark.parametrize("detail", ["fine", "strict", "intermediate"])
@given(gold=gold_of, predicted=calls_of)
def test_optimal_by_trying_every_matching(detail, gold, predicted):
    found = score_calls(gold, predicted, detail=detail)
    table = [[by_hand(right, call, detail) for call in predicted] + [0.0] * len(gold) for right in gold]
    orders = itertools.permutations(range(len(predicted) + len(gold)), len(gold))  # beyond the calls: no partner
    best = max(sum(map(list.__getitem__, table, order)) for order in orders)
    assert found.parameters + found.values == pytest.approx(best)
    names, called = Counter(call.name for call in gold), Counter(call.name for call in predicted)
    common = sum(min(names[name], called[name]) for name in "wv")
    overlap = common / (len(gold) + len(predicted) - common)
    assert found.names == (pytest.approx(overlap) if detail != "strict" else float(names == called))
    parameters = sum(len(call.parameters) for call in gold)
    assert found.possible == 1 + len(gold) + (parameters if detail != "intermediate" else 0)


@pytest.mark.parametrize("detail", ["fine", "strict", "intermediate"])
@given(gold=gold_of, predicted=calls_of)
def test_greedy_by_a_queue(detail, gold, predicted):
    waiting, earned = list(predicted), 0.0
    for right in gold:
        offers = [by_hand(right, call, detail) for call in waiting]
        if offers and max(offers) > 0:
            earned += max(offers)
            del waiting[offers.index(max(offers))]
    found = score_calls(gold, predicted, matching="greedy", detail=detail)
    assert found.parameters + found.values == pytest.approx(earned)


@given(gold_of, calls_of)
def test_pairs_say_where_the_reward_comes_from(gold, predicted):
    for matching in MATCHINGS:
        found = score_calls(gold, predicted, matching=matching)
        assert len({row for row, _ in found.pairs}) == len({column for _, column in found.pairs}) == len(found.pairs)
        earned = [by_hand(gold[row], predicted[column], "fine") for row, column in found.pairs]
        assert all(part > 0 for part in earned)
        assert sum(earned) == pytest.approx(found.parameters + found.values)


# properties


@every_way
@given(gold=gold_of, predicted=calls_of)
def test_bounds_and_who_reaches_the_top(matching, detail, gold, predicted):
    found = correctness(gold, predicted, matching=matching, detail=detail)
    assert -3 <= found <= 3
    assert (found == 3) == (Counter(gold) == Counter(predicted))
    assert correctness(gold, gold, matching=matching, detail=detail) == 3


@given(gold_of, calls_of)
def test_optimal_is_never_below_greedy(gold, predicted):
    for detail in DETAILS:
        optimal, greedy = (score_calls(gold, predicted, matching=how, detail=detail).found for how in MATCHINGS)
        assert optimal >= greedy - 1e-12
        if len({call.name for call in gold}) == len(gold):
            assert optimal == pytest.approx(greedy)


@pytest.mark.parametrize("detail", DETAILS)
@given(gold=gold_of, predicted=calls_of, data=st.data())
def test_order_does_not_matter(detail, gold, predicted, data):
    before = score_calls(gold, predicted, detail=detail)
    order = data.draw(st.permutations(gold)), data.draw(st.permutations(predicted))
    after = score_calls(*order, detail=detail)
    assert after.found == pytest.approx(before.found)
    turned = [ToolCall(call.name, dict(reversed(call.parameters.items()))) for call in predicted]
    assert score_calls(gold, turned, detail=detail) == before


@given(gold_of, calls_of)
def test_coarser_never_earns_more_in_sum(gold, predicted):
    """Each level asks for more than the one before it; intermediate, whose range is another, part by part."""
    fine, strict, intermediate, coarse = (score_calls(gold, predicted, detail=detail) for detail in DETAILS)
    assert strict.found <= fine.found + 1e-12
    assert intermediate.values <= fine.parameters + fine.values + 1e-12
    assert coarse.share <= min(fine.share, strict.share, intermediate.share)


@given(gold_of, calls_of, st.sampled_from("wv"))
def test_a_call_too_many_never_pays_what_a_right_one_does(gold, predicted, name):
    """A call that stands for no gold call can only cost: it takes from the names and adds nothing."""
    useless = ToolCall(f"{name}!", {"a": 1})
    assert score_calls(gold, [*predicted, useless]).found <= score_calls(gold, predicted).found


# completions


def test_parts_of_a_reward():
    found = tool_reward(text([w(city="Paris")]), text([WEATHER]))
    assert found.parts() == {
        "total": 1.75,
        "format": 1.0,
        "correctness": 0.75,
        "names": 1.0,
        "parameters": 0.5,
        "values": 1.0,
        "possible": 4.0,
        "unreadable": 0.0,
    }
    assert found.failure is None and found.calls.pairs == ((0, 0),)


@pytest.mark.parametrize(
    ("completion", "form", "correct", "failure"),
    [
        (text([WEATHER]), 1, 3, None),
        (text([WEATHER]).removeprefix("<think>Let me see.</think>"), 0, 3, None),
        ("<think>Paris, C.</think>", 0, -3, None),
        ("", 0, -3, None),
        (text([WEATHER]) + "<response>Done.</response>", 0, 3, None),
        (
            text([WEATHER]).replace("}}", "}"),
            1,
            -3,
            "no JSON: Expecting ',' delimiter at line 1 column 59 of the block",
        ),
        (
            text([WEATHER]).removesuffix("</tool_call>"),
            0,
            -3,
            "<tool_call> is opened 1 times and closed 0 times, expected once each",
        ),
        (text([WEATHER]).replace('"C"', "NaN"), 1, -3, "NaN is no number in JSON"),
    ],
)
def test_completions(completion, form, correct, failure):
    found = tool_reward(completion, text([WEATHER]))
    assert (found.format, found.correctness, found.failure) == (form, correct, failure)
    assert found.total == form + correct
    assert found.parts()["unreadable"] == (failure is not None)


@pytest.mark.parametrize(
    ("completion", "form"),
    [
        ("<think>Hm.</think><response>4</response>", 1),
        ("<think>Hm.</think><response>5</response>", 1),  # what is said is not judged
        (text([WEATHER]), 0),
        ("<think>Hm.</think><tool_call>broken</tool_call>", 0),
    ],
)
def test_no_gold_call_makes_correctness_0(completion, form):
    found = tool_reward(completion, "<think>Easy.</think><response>4</response>")
    assert (found.format, found.correctness, found.total) == (form, 0, form)
    assert math.isnan(found.calls.share) and found.calls.possible == 0


def test_scales():
    right, wrong, answer = text([WEATHER]), text([w(city="Paris", unit="F")]), text([WEATHER])
    bare = right.removeprefix("<think>Let me see.</think>")
    for scale, expected in (
        (EQUAL_SCALE, (2, 1.5, 1)),
        (two_stage_scale(30), (3.5, 2.0, 3)),
        (smooth_scale(0), (4, 3, 0)),
        (RewardScale((0.0, 0.0), (0.0, 1.0)), (1, 0.75, 1)),
    ):
        assert tuple(tool_reward(text, answer, scale=scale).total for text in (right, wrong, bare)) == expected


@given(gold_of, calls_of)
def test_a_completion_is_scored_as_its_calls_are(gold, predicted):
    completion = text(predicted) if predicted else "<think>None.</think>"
    for matching, detail in itertools.product(MATCHINGS, DETAILS):
        found = tool_reward(completion, text(gold), matching=matching, detail=detail)
        assert found.calls == score_calls(gold, predicted, matching=matching, detail=detail)
        assert found.correctness == pytest.approx(6 * found.calls.share - 3)
        assert -3 <= found.total <= 4


def test_another_format():
    hermes = ToolFormat(parameters_key="arguments")
    completion = text([WEATHER]).replace("parameters", "arguments")
    assert tool_reward(completion, completion, tool_format=hermes).total == 4
    assert tool_call_signals(tool_format=hermes)["correctness"]("", completion, completion) == 3
    with pytest.raises(ValueError, match="answer: call 0 has keys"):
        tool_reward(completion, completion)


# signals


def test_signals_of_a_trainer():
    completions = [text([WEATHER]), text([w(city="Paris")]), "no idea", "<think>Hm.</think><response>4</response>"]
    answers = [text([WEATHER])] * 3 + ["<think>Easy.</think><response>4</response>"]
    columns = {"prompts": ["?"] * 4, "completions": completions, "answer": answers, "source": [1, 2, 3, 4]}
    total, form, correct = reward_functions({"total": tool_call_signal, **tool_call_signals()})
    assert (total.__name__, form.__name__, correct.__name__) == ("total", "format", "correctness")
    assert form(**columns) == [1, 1, 0, 1]
    assert correct(**columns) == [3, 0.75, -3, 0]
    assert total(**columns) == [4, 1.75, -3, 1]


def test_signals_take_their_options():
    gold, predicted = text([w(a=1), w(a=1, b=3)]), text([w(a=1, b=3), w(b=9)])
    found = {
        (matching, detail): tool_call_signals(matching=matching, detail=detail)["correctness"]("", predicted, gold)
        for matching, detail in (
            ("optimal", "fine"),
            ("greedy", "fine"),
            ("optimal", "coarse"),
            ("optimal", "intermediate"),
        )
    }
    assert list(found.values()) == [1, 0, -3, pytest.approx(6 * 2 / 3 - 3)]


def test_a_missing_column_is_named():
    (total,) = reward_functions({"total": tool_call_signal})
    with pytest.raises(TypeError, match="answer"):
        total(prompts=["?"], completions=["x"], other=["y"])


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        (
            lambda: score_calls([WEATHER], [], matching="best"),
            ValueError,
            "matching is 'best', expected one of 'optimal'",
        ),
        (lambda: score_calls([WEATHER], [], detail="rough"), ValueError, "detail is 'rough', expected one of 'fine'"),
        (lambda: score_calls([{"name": "w"}], []), TypeError, "gold[0]: expected a ToolCall, got dict"),
        (lambda: score_calls([WEATHER], [WEATHER, None]), TypeError, "predicted[1]: expected a ToolCall, got NoneType"),
        (lambda: tool_call_signals(matching="best"), ValueError, "matching is 'best'"),
        (lambda: tool_call_signals(detail="rough"), ValueError, "detail is 'rough'"),
        (lambda: tool_reward("", "<tool_call>w(a=1)</tool_call>"), ValueError, "answer: no JSON: Expecting value"),
        (
            lambda: tool_reward("", "<tool_call></tool_call>"),
            ValueError,
            "answer: no call between the tags <tool_call>",
        ),
        (lambda: tool_reward("", "<tool_call>{}"), ValueError, "answer: expected each tag opened and closed once"),
        (lambda: tool_reward("", ""), None, ""),
        (lambda: tool_reward(3, ""), TypeError, "completion: expected text, got int"),
        (lambda: tool_reward("", None), TypeError, "answer: expected text, got NoneType"),
        (
            lambda: tool_call_signal("", [{"role": "assistant", "content": "x"}], "x"),
            TypeError,
            "completion: expected text, got list; rewardlab.adapters.samples.completion_text makes text of a",
        ),
    ],
)
def test_bad_input(without_type_checks, case, error, message):
    if error is None:  # an answer without tags asks for nothing
        assert case().total == 1
        return
    with pytest.raises(error, match=re.escape(message)):
        case()
