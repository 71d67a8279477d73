"""Tags of completions: once each and in order, or not."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.tool_format import ToolFormat, format_holds, required_tags, thought_words

PARTS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<response>", "</response>")
THINK, CALL, RESPONSE = (PARTS[place] + "x" + PARTS[place + 1] for place in (0, 2, 4))


@pytest.mark.parametrize(
    ("completion", "required", "holds"),
    [
        (THINK + CALL, ("think", "tool_call"), True),
        (THINK + CALL, ("tool_call", "think"), True),
        (f" {THINK}\n{CALL}\nSo be it.", ("think", "tool_call"), True),
        (THINK + CALL + RESPONSE, ("think", "tool_call", "response"), True),
        ("nothing", (), True),
        (CALL + THINK, ("think", "tool_call"), False),
        (THINK, ("think", "tool_call"), False),
        (THINK + CALL + CALL, ("think", "tool_call"), False),
        (THINK + CALL + RESPONSE, ("think", "tool_call"), False),  # a tag that nobody asked for
        (THINK + CALL + RESPONSE, ("think", "response"), False),  # a call that nobody asked for
        (THINK.replace("x", CALL), ("think", "tool_call"), False),
        ("<think>x" + CALL, ("think", "tool_call"), False),
        (THINK + "</think>" + CALL, ("think", "tool_call"), False),
        (THINK.upper() + CALL, ("think", "tool_call"), False),
        ("", ("think",), False),
    ],
)
def test_worked_formats(completion, required, holds):
    assert format_holds(completion, required) is holds


@given(st.lists(st.sampled_from([*PARTS, "text", "<", "\n", "<thinking>"]), max_size=8), st.booleans(), st.booleans())
def test_by_a_walk_over_the_parts(parts, with_call, with_response):
    """The tags that stand in the text, one after another, are exactly the required ones in order."""
    required = ("think", *["tool_call"] * with_call, *["response"] * with_response)
    wanted = [part for tag in required for part in (f"<{tag}>", f"</{tag}>")]
    assert format_holds("".join(parts), required) == ([part for part in parts if part in PARTS] == wanted)


def test_only_one_order_of_six_tags_holds():
    held = [
        order
        for order in itertools.permutations(PARTS)
        if format_holds("".join(order), ("think", "tool_call", "response"))
    ]
    assert held == [PARTS]


def test_tags_of_an_answer():
    assert required_tags(THINK + CALL) == ("think", "tool_call")
    assert required_tags(RESPONSE) == ("response",)
    assert required_tags("Paris") == ()
    for answer in (CALL + THINK, THINK + "<tool_call>", THINK + THINK):
        with pytest.raises(ValueError, match="answer: expected each tag opened and closed once and in order, got '<t"):
            required_tags(answer)


def test_other_tags():
    hermes = ToolFormat(think="reasoning", call="function", parameters_key="arguments")
    assert format_holds("<reasoning>a.b</reasoning><function></function>", ("reasoning", "function"), hermes)
    assert not format_holds(THINK + CALL, ("reasoning", "function"), hermes)
    assert format_holds("<a.c></a.c>", ("a.c",), ToolFormat(think="a.c"))
    assert format_holds("<abc><a.c></a.c></abc>", ("a.c",), ToolFormat(think="a.c"))  # a dot is a dot


def test_words_of_thought():
    assert thought_words("<think> one two\nthree </think> four") == 3
    assert thought_words("<think></think>") == 0
    for completion in ("one two", "<think>one", "one</think>", "</think>one<think>", THINK + THINK):
        assert thought_words(completion) == 0


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"think": ""}, ValueError, "think is '', expected text without white space, < and >"),
        ({"call": "tool call"}, ValueError, "call is 'tool call', expected"),
        ({"response": "<response>"}, ValueError, "response is '<response>', expected"),
        ({"name_key": 3}, TypeError, "name_key: expected text, got int"),
        ({"think": "tool_call"}, ValueError, "expected three different tags and two different keys"),
        ({"parameters_key": "name"}, ValueError, "expected three different tags and two different keys"),
    ],
)
def test_formats_that_are_none(without_type_checks, fields, error, message):
    with pytest.raises(error, match=re.escape(message)):
        ToolFormat(**fields)


def test_bad_input(without_type_checks):
    for function in (required_tags, thought_words, lambda text: format_holds(text, ())):
        for bad in (None, b"<think></think>", 3, [{"role": "assistant", "content": "x"}]):
            with pytest.raises(TypeError, match=r"(answer|completion): expected text, got \w+"):
                function(bad)
    with pytest.raises(ValueError, match="required is 'obs', expected one of 'think', 'tool_call', 'response'"):
        format_holds(THINK, ("think", "obs"))
    with pytest.raises(TypeError, match="required: expected a sequence of tags, got the text 'think'"):
        format_holds(THINK, "think")
