"""Tool calls read out of a model's text: nothing is ever evaluated, and what cannot be read says why.

A completion that calls tools looks like this, one JSON object a call:

    <think> ... </think>
    <tool_call>
    {"name": "weather", "parameters": {"city": "Paris", "unit": "C"}}
    </tool_call>

What a model writes is data, so text that cannot be read is a result, a `ParseFailure` with the reason; a gold answer
that cannot be read is a mistake of whoever wrote the data set, and raises.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewardlab.process.tool_format import (
    DEFAULT_FORMAT,
    EXCERPT,
    ToolFormat,
    UnreadableError,
    check_text,
    excerpt,
    tagged_text,
)

MAX_CHARACTERS = 65_536  # of a block of calls
MAX_DEPTH = 32  # of arrays and objects in one another
MAX_DIGITS = 308  # of a whole number; larger ones cost quadratic time to read
SPACE = " \t\n\r"  # what JSON takes for white space

_SPACE = re.compile(f"[{SPACE}]*")
_STRUCTURE = re.compile(r'\\.|["\[\]{}]', re.DOTALL)

__all__ = [
    "ParseFailure",
    "ToolCall",
    "parse_gold_calls",
    "parse_tool_calls",
]


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """Why the calls in a model's text could not be read."""

    reason: str


@dataclass(frozen=True, slots=True, init=False, repr=False)
class ToolCall:
    """A call of a tool: immutable, hashable, and equal to another exactly if JSON says so.

    JSON knows one kind of number and keeps it apart from truth values and text, so 1 equals 1.0 but neither "1" nor
    true (Python's == would take true for 1). The order of keys is of no account, that of array entries is.

    Args:
        name: The tool's name, not empty.
        parameters: Parameter name -> value, made of None, booleans, finite numbers, text, lists and dictionaries.

    Raises:
        TypeError: If a value is of another type, or the name or a key is no text.
        ValueError: If the name is empty, a number is NaN or infinite, or values nest more than 32 deep.

    Example:
        >>> ToolCall("w", {"a": 1, "b": True}) == ToolCall("w", {"b": True, "a": 1.0})
        True
        >>> ToolCall("w", {"a": 1}) in (ToolCall("w", {"a": "1"}), ToolCall("w", {"a": True}))
        False
    """

    name: str
    frozen: tuple  # sorted pairs of a parameter's name and its value with JSON's type: what is compared and hashed

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        check_text("name", name)
        if not name:
            raise ValueError("name is empty, expected the name of a tool")
        if not isinstance(parameters, Mapping):
            raise TypeError(f"parameters: expected a dictionary, got {type(parameters).__name__}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "frozen", _frozen(parameters, "parameters", 1)[1])

    @property
    def parameters(self) -> dict[str, Any]:
        """A new dictionary of the parameters, by name in alphabetical order."""
        return {key: _thawed(value) for key, value in self.frozen}

    def __repr__(self) -> str:
        return f"ToolCall({self.name!r}, {self.parameters!r})"


def parse_tool_calls(completion: str, tool_format: ToolFormat = DEFAULT_FORMAT) -> tuple[ToolCall, ...] | ParseFailure:
    """Read the calls that a model wrote.

    Calls are JSON objects with exactly the two keys of the format, separated by white space, inside one pair of tags.
    A completion with neither tag makes no call: (). Whatever else comes is a `ParseFailure`: an unclosed or a second
    tag, an empty block, JSON that is none or that goes on after its end, a key given twice, NaN or Infinity, a number
    out of a float's range, parameters that are no object, a block of more than 65,536 characters, nesting beyond 32.

    Args:
        completion: The model's text, of any content.
        tool_format: Tags and keys.

    Returns:
        The calls in their order, or why there are none to be had.

    Raises:
        TypeError: If `completion` is no text.

    Source: Prompt and reward code of ToolRL (arXiv 2504.13958). Departures: the released code reads the first block of
        several, demands one call a line, keeps the last of two equal keys and takes keys it does not know; here two
        blocks or two equal keys have no one meaning and fail, and a call may span lines.

    Example:
        >>> parse_tool_calls('<tool_call>{"name": "w", "parameters": {"a": 1}}</tool_call>')
        (ToolCall('w', {'a': 1}),)
        >>> parse_tool_calls("<tool_call>w(a=1)</tool_call>").reason
        'no JSON: Expecting value at line 1 column 1 of the block'
    """
    check_text("completion", completion)
    try:
        block = tagged_text(completion, tool_format.call)
        return () if block is None else _calls(block, tool_format)
    except UnreadableError as error:
        return ParseFailure(str(error))


def parse_gold_calls(answer: str, tool_format: ToolFormat = DEFAULT_FORMAT) -> tuple[ToolCall, ...]:
    """Read the calls of a gold answer, by the same rules as a model's.

    Returns:
        The calls; () for an answer without any.

    Raises:
        ValueError: If they cannot be read.
        TypeError: If `answer` is no text.
    """
    check_text("answer", answer)
    calls = parse_tool_calls(answer, tool_format)
    if isinstance(calls, ParseFailure):
        raise ValueError(f"answer: {calls.reason}; expected calls that can be read, got {excerpt(answer)}")
    return calls


def _calls(block: str, tool_format: ToolFormat) -> tuple[ToolCall, ...]:
    block = block.strip(SPACE)
    if len(block) > MAX_CHARACTERS:
        raise UnreadableError(f"the block has {len(block)} characters, at most {MAX_CHARACTERS} are read")
    if not block:
        raise UnreadableError(f"no call between the tags <{tool_format.call}>")
    _check_depth(block)
    calls, position = [], 0
    while position < len(block):
        value, end = _decoded(block, position)
        calls.append(_call(value, len(calls), tool_format))
        position = _SPACE.match(block, end).end()
        if position == end < len(block):
            raise UnreadableError(f"call {len(calls) - 1} is followed by {excerpt(block[end : end + EXCERPT])}")
    return tuple(calls)


def _check_depth(block: str) -> None:
    """Refuse deep nesting before the parser meets it, whose own limit is the interpreter's stack."""
    depth, quoted = 0, False
    for part in _STRUCTURE.findall(block):
        if part == '"':
            quoted = not quoted
        elif not quoted and part in "[{":
            depth += 1
            if depth > MAX_DEPTH + 1:  # one for the call itself
                raise UnreadableError(f"arrays and objects nest more than {MAX_DEPTH} deep")
        elif not quoted and part in "]}":
            depth -= 1


def _decoded(block: str, position: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(block, position)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno} of the block"
        raise UnreadableError(f"no JSON: {error.msg} at {where}") from None


def _call(value: Any, number: int, tool_format: ToolFormat) -> ToolCall:
    keys = {tool_format.name_key, tool_format.parameters_key}
    if not isinstance(value, dict) or value.keys() != keys:
        got = f"keys {sorted(value)}" if isinstance(value, dict) else f"{_KINDS[type(value)]}"
        raise UnreadableError(
            f"call {number} has {got:.{2 * EXCERPT}}, expected an object with the keys {sorted(keys)}"
        )
    name, parameters = value[tool_format.name_key], value[tool_format.parameters_key]
    if not isinstance(name, str) or not name:
        raise UnreadableError(f"call {number}: the name is {excerpt(name)}, expected text")
    if not isinstance(parameters, dict):
        raise UnreadableError(f"call {number}: the parameters are {_KINDS[type(parameters)]}, expected an object")
    return ToolCall(name, parameters)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UnreadableError(f"key {excerpt(twice)} is given twice")
    return found


def _constant(text: str) -> None:
    raise UnreadableError(f"{text} is no number in JSON")


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise UnreadableError(f"a number of {len(text.lstrip('-'))} digits, at most {MAX_DIGITS} are read")
    return int(text)


def _decimal(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableError(f"the number {excerpt(text)} is beyond the range of a float")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_whole, parse_float=_decimal, strict=True
)
_KINDS = {
    type(None): "null",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
}


def _frozen(value: Any, where: str, depth: int) -> tuple:
    """The value as nested tuples that begin with JSON's type, so that Python compares them as JSON would."""
    if depth > MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        raise ValueError(f"{where:.{EXCERPT}}...: arrays and objects nest more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return "constant", value
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where} is {value}, expected a finite number: JSON has no other")
        return "number", value
    if isinstance(value, str):
        return "text", value
    if isinstance(value, list | tuple):
        return "array", tuple(_frozen(part, f"{where}[{place}]", depth + 1) for place, part in enumerate(value))
    if isinstance(value, Mapping):
        for key in value:
            check_text(f"{where}: key {key!r}", key)
        return "object", tuple((key, _frozen(value[key], f"{where}[{key!r}]", depth + 1)) for key in sorted(value))
    raise TypeError(f"{where}: expected a value that JSON has, got {type(value).__name__}")


def _thawed(value: tuple) -> Any:
    kind, content = value
    if kind == "array":
        return [_thawed(part) for part in content]
    return {key: _thawed(part) for key, part in content} if kind == "object" else content
