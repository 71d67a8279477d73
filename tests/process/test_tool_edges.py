"""Where reading a tool call just still works, and just no longer."""

import pytest

from rewardlab.process.tool_calls import MAX_CHARACTERS, ParseFailure, parse_tool_calls
from rewardlab.process.tool_format import required_tags


def completion(characters):
    """One call whose block has so many characters."""
    start, end = '{"name": "w", "parameters": {"a": "', '"}}'
    block = start + "x" * (characters - len(start) - len(end)) + end
    assert len(block) == characters
    return f"<tool_call>\n{block}\n</tool_call>"


def test_the_longest_block_that_is_read():
    (call,) = parse_tool_calls(completion(MAX_CHARACTERS))
    assert len(call.parameters["a"]) > 65_000
    refused = parse_tool_calls(completion(MAX_CHARACTERS + 1))
    assert refused == ParseFailure("the block has 65537 characters, at most 65536 are read")


@pytest.mark.parametrize("tag", ["think", "tool_call", "response"])
def test_an_answer_with_half_a_tag_is_no_answer(tag):
    for half in (f"<{tag}>", f"</{tag}>"):
        with pytest.raises(ValueError, match="expected each tag opened and closed once and in order"):
            required_tags(f"It is {half} so.")
