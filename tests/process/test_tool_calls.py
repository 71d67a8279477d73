"""Calls read from text: what JSON says is equal, what is read, and why the rest is not."""

import json
import math
import pickle
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.tool_calls import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_DIGITS,
    ParseFailure,
    ToolCall,
    parse_gold_calls,
    parse_tool_calls,
)
from rewardlab.process.tool_format import ToolFormat

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e20, 10**20])
    | st.text(max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=2), values, max_size=3)
calls_of = st.builds(ToolCall, st.text(min_size=1, max_size=3), objects)


def block(text):
    return f"<think>Let me see.</think>\n<tool_call>\n{text}\n</tool_call>"


def call(parameters, name='"w"'):
    return block(f'{{"name": {name}, "parameters": {parameters}}}')


def nested(depth):
    """Parameters that nest `depth` deep, the object of parameters included."""
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}" if depth > 1 else "{}"


def same_in_json(left, right):
    """Equality of JSON values by walking both."""
    kinds = [
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
        for value in (left, right)
    ]
    if kinds[0] != kinds[1]:
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same_in_json, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same_in_json(left[key], right[key]) for key in left)
    return left == right


# what is equal


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, "1", False),
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        (0.0, -0.0, True),
        (10**20, 1e20, True),
        (2**53 + 1, float(2**53), False),  # not through a float
        (None, False, False),
        (None, "null", False),
        ([1, 2], [2, 1], False),
        ([1, 2], (1, 2), True),
        ([], {}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": [True]}, {"a": [1]}, False),
        ("é", "e\u0301", False),  # no normalisation of Unicode
        ("Paris", "paris", False),
    ],
)
def test_equal_as_json_has_it(left, right, equal):
    first, second = ToolCall("w", {"x": left}), ToolCall("w", {"x": right})
    assert (first == second) is equal
    assert (len({first, second}) == 1) is equal


@given(objects, objects)
def test_equality_by_walking_both(left, right):
    first, second = ToolCall("w", left), ToolCall("w", right)
    assert (first == second) == same_in_json(left, right)
    if first == second:
        assert hash(first) == hash(second)


def test_name_and_parameters_both_count():
    assert len({ToolCall("w", {"a": 1}), ToolCall("v", {"a": 1}), ToolCall("w", {"b": 1}), ToolCall("w", {})}) == 4
    assert ToolCall("w", {}) != "w"


def test_a_call_cannot_be_changed():
    inner = [1]
    made = ToolCall("w", {"a": inner})
    before = hash(made)
    inner.append(2)
    made.parameters["a"].append(3)
    made.parameters["b"] = 4
    assert made.parameters == {"a": [1]} and hash(made) == before
    with pytest.raises(AttributeError):
        made.name = "v"


@given(calls_of)
def test_calls_survive_pickling(made):
    assert pickle.loads(pickle.dumps(made)) == made


def test_how_a_call_is_printed():
    assert (
        repr(ToolCall("w", {"b": [1, {"c": True}], "a": None})) == "ToolCall('w', {'a': None, 'b': [1, {'c': True}]})"
    )


@pytest.mark.parametrize(
    ("name", "parameters", "error", "message"),
    [
        ("", {}, ValueError, "name is empty"),
        (3, {}, TypeError, "name: expected text, got int"),
        ("w", [("a", 1)], TypeError, "parameters: expected a dictionary, got list"),
        ("w", {1: 2}, TypeError, "parameters: key 1: expected text, got int"),
        ("w", {"a": {"b": {2: 1}}}, TypeError, r"parameters\['a'\]\['b'\]: key 2: expected text"),
        ("w", {"a": [0, math.nan]}, ValueError, r"parameters\['a'\]\[1\] is nan, expected a finite number"),
        ("w", {"a": -math.inf}, ValueError, r"parameters\['a'\] is -inf"),
        ("w", {"a": {1, 2}}, TypeError, r"parameters\['a'\]: expected a value that JSON has, got set"),
        ("w", {"a": np.zeros(2)}, TypeError, r"parameters\['a'\]: expected a value that JSON has, got ndarray"),
        ("w", {"a": b"x"}, TypeError, "got bytes"),
        ("w", json.loads(nested(MAX_DEPTH + 1)), ValueError, "nest more than 32 deep"),
    ],
)
def test_calls_that_are_none(without_type_checks, name, parameters, error, message):
    with pytest.raises(error, match=message):
        ToolCall(name, parameters)


def test_a_dictionary_in_itself_is_refused():
    endless = {}
    endless["a"] = endless
    with pytest.raises(ValueError, match="nest more than 32 deep"):
        ToolCall("w", endless)


def test_large_whole_numbers_are_kept():
    assert ToolCall("w", {"a": 10**400}).parameters == {"a": 10**400}


# what is read


def test_calls_of_a_block():
    text = '{"name": "w", "parameters": {"city": "Paris", "unit": "C"}}\n\n{"parameters": {}, "name": "now"}'
    expected = (ToolCall("w", {"unit": "C", "city": "Paris"}), ToolCall("now", {}))
    assert parse_tool_calls(block(text)) == expected
    assert parse_tool_calls(block(text.replace("\n\n", " "))) == expected
    assert parse_tool_calls(block(text.replace(", ", ",\r\n\t"))) == expected
    assert parse_gold_calls(block(text)) == expected


@given(st.lists(calls_of, min_size=1, max_size=3), st.booleans())
def test_what_is_written_is_read(made, ascii_only):
    lines = [json.dumps({"name": call.name, "parameters": call.parameters}, ensure_ascii=ascii_only) for call in made]
    assert parse_tool_calls(block("\n".join(lines))) == tuple(made)


def test_no_tag_is_no_call():
    for completion in ("", "The answer is 4.", "<think>w(a=1)</think>", "<toolcall>{}</toolcall>", "tool_call"):
        assert parse_tool_calls(completion) == ()
        assert parse_gold_calls(completion) == ()


def test_other_keys_and_tags():
    hermes = ToolFormat(call="function", parameters_key="arguments")
    text = '<function>{"name": "w", "arguments": {"a": 1}}</function>'
    assert parse_tool_calls(text, hermes) == (ToolCall("w", {"a": 1}),)
    assert parse_tool_calls(text) == ()
    wrong = parse_tool_calls(text.replace("arguments", "parameters"), hermes)
    assert wrong.reason.endswith("expected an object with the keys ['arguments', 'name']")


@pytest.mark.parametrize(
    ("parameters", "read"),
    [
        ('{"a": "\\ud800"}', {"a": "\ud800"}),  # half of a pair, which JSON allows
        ('{"a": "<b>[{"}', {"a": "<b>[{"}),
        ('{"a": "\\\\"}', {"a": "\\"}),
        ('{"a": -0}', {"a": 0}),
        ('{"a": 1e-400}', {"a": 0.0}),
        (f'{{"a": -{"9" * MAX_DIGITS}}}', {"a": -int("9" * MAX_DIGITS)}),
        (nested(MAX_DEPTH), json.loads(nested(MAX_DEPTH))),
        (f'{{"a": "{"[" * 1000}"}}', {"a": "[" * 1000}),  # brackets in text are no nesting
        (f'{{"a": "{chr(92)}"{"[" * 100}"}}', {"a": '"' + "[" * 100}),
        ('{"__class__": "os.system", "a": "__import__(1)"}', {"__class__": "os.system", "a": "__import__(1)"}),
    ],
)
def test_at_the_limits(parameters, read):
    assert parse_tool_calls(call(parameters)) == (ToolCall("w", read),)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<tool_call>", "<tool_call> is opened 1 times and closed 0 times, expected once each"),
        ("</tool_call>", "<tool_call> is opened 0 times and closed 1 times, expected once each"),
        (call("{}") + call("{}"), "<tool_call> is opened 2 times and closed 2 times, expected once each"),
        ("</tool_call>{}<tool_call>", "<tool_call> is closed before it is opened"),
        (block(""), "no call between the tags <tool_call>"),
        (block(" \t\r\n"), "no call between the tags <tool_call>"),
        (block("w(a=1)"), "no JSON: Expecting value at line 1 column 1 of the block"),
        (block("\ufeff{}"), "no JSON: Expecting value at line 1 column 1 of the block"),
        (call("{'a': 1}"), "no JSON: Expecting property name enclosed in double quotes at line 1 column"),
        (call('{"a": 1,}'), "no JSON: "),
        (call('{"a": 01}'), "no JSON: Expecting ',' delimiter"),
        (call('{"a": .5}'), "no JSON: Expecting value"),
        (call('{"a": "x\ny"}'), "no JSON: Invalid control character"),
        (call('{"a": 1')[: -len("\n</tool_call>")] + "</tool_call>", "no JSON: Expecting ',' delimiter"),
        (block('{"name": "w"'), "no JSON: "),
        (call("{}").replace("\n</tool_call>", " and so on</tool_call>"), "no JSON: Expecting value"),
        (block('{"name": "w", "parameters": {}}{"name": "w", "parameters": {}}'), "call 0 is followed by '{"),
        (block('{"name": "w", "parameters": {}}, '), "call 0 is followed by ','"),
        (call('{"a": 1, "b": 2, "a": 1}'), "key 'a' is given twice"),
        (call('{"x": [{"a": 1, "a": 2}]}'), "key 'a' is given twice"),
        (call('{"\\u0061": 1, "a": 2}'), "key 'a' is given twice"),
        (block('{"name": "w", "name": "w", "parameters": {}}'), "key 'name' is given twice"),
        (call('{"a": NaN}'), "NaN is no number in JSON"),
        (call('{"a": [Infinity]}'), "Infinity is no number in JSON"),
        (call('{"a": -Infinity}'), "-Infinity is no number in JSON"),
        (call('{"a": 1e400}'), "the number '1e400' is beyond the range of a float"),
        (call(f'{{"a": {"9" * (MAX_DIGITS + 1)}}}'), f"a number of {MAX_DIGITS + 1} digits, at most 308 are read"),
        (call(f'{{"a": -{"9" * 50_000}}}'), "a number of 50000 digits, at most 308 are read"),
        (call(nested(MAX_DEPTH + 1)), "arrays and objects nest more than 32 deep"),
        (call("[" * 60_000), "arrays and objects nest more than 32 deep"),
        (block("[" * 60_000), "arrays and objects nest more than 32 deep"),
        (block('{"a":' * 10_000), "arrays and objects nest more than 32 deep"),
        (block("x" * (MAX_CHARACTERS + 1)), f"the block has {MAX_CHARACTERS + 1} characters, at most 65536 are read"),
        (call("[1]"), "call 0: the parameters are an array, expected an object"),
        (call("null"), "call 0: the parameters are null, expected an object"),
        (call('"{}"'), "call 0: the parameters are text, expected an object"),
        (call("3"), "call 0: the parameters are a number, expected an object"),
        (call("{}", name="3"), "call 0: the name is 3, expected text"),
        (call("{}", name='""'), "call 0: the name is '', expected text"),
        (call("{}", name='["w"]'), "call 0: the name is ['w'], expected text"),
        (call("{}", name="true"), "call 0: the name is True, expected text"),
        (block("3"), "call 0 has a number, expected an object with the keys ['name', 'parameters']"),
        (block('[{"name": "w", "parameters": {}}]'), "call 0 has an array, expected an object with the keys"),
        (block('{"name": "w"}'), "call 0 has keys ['name'], expected an object with the keys"),
        (block('{"name": "w", "parameters": {}, "id": 1}'), "call 0 has keys ['id', 'name', 'parameters'], expected"),
        (block('{"name": "w", "parameters": {}}\nnull'), "call 1 has null, expected an object"),
    ],
)
def test_why_the_rest_is_not_read(completion, reason):
    found = parse_tool_calls(completion)
    assert isinstance(found, ParseFailure)
    assert found.reason.startswith(reason)
    assert len(found.reason) < 250
    with pytest.raises(ValueError, match="expected calls that can be read, got") as raised:
        parse_gold_calls(completion)
    assert str(raised.value).startswith(f"answer: {reason}")


@given(st.text(alphabet='{}[]":,\\ \n0123e-.atrue', max_size=60))
def test_any_text_is_read_or_refused(text):
    found = parse_tool_calls(block(text))
    assert isinstance(found, tuple) or found.reason


@given(calls_of, st.data())
def test_a_cut_or_changed_block_is_read_or_refused(made, data):
    text = json.dumps({"name": made.name, "parameters": made.parameters})
    place = data.draw(st.integers(0, len(text) - 1))
    for changed in (text[:place], text[:place] + text[place + 1 :], text[:place] + '"' + text[place:]):
        found = parse_tool_calls(block(changed))
        assert isinstance(found, tuple | ParseFailure)
        if changed == text[:place]:  # an object without its end is none
            assert isinstance(found, ParseFailure)


@pytest.mark.parametrize(
    "text", ["[" * 65_000, '"' * 65_000, '\\"' * 32_000, '{"a":' * 13_000, '{"name": "w", "parameters": {}}\n' * 2000]
)
def test_hostile_text_costs_no_time(text):
    start = time.perf_counter()
    parse_tool_calls(block(text))
    assert time.perf_counter() - start < 2  # milliseconds; a quadratic reader needs minutes


def test_the_limit_on_digits_is_the_interpreters_own_or_less():
    assert sys.int_info.default_max_str_digits >= MAX_DIGITS
    assert math.isfinite(float("9" * MAX_DIGITS))


def test_bad_input(without_type_checks):
    for bad in (None, 3, b"<tool_call>", [{"role": "assistant", "content": "x"}]):
        with pytest.raises(TypeError, match="completion: expected text, got"):
            parse_tool_calls(bad)
        with pytest.raises(TypeError, match="answer: expected text, got"):
            parse_gold_calls(bad)
