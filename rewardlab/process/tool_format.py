"""The tags of a completion that calls tools: which there are, whether they are in order, what stands between them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewardlab.checks import check_choice

EXCERPT = 40  # characters of a text shown in a message

__all__ = ["DEFAULT_FORMAT", "ToolFormat", "format_holds", "required_tags", "thought_words"]


class UnreadableError(ValueError):
    """Why a part of a completion cannot be read."""


def check_text(name: str, value: object) -> None:
    """Do nothing if `value` is text.

    Raises:
        TypeError: Names the argument and the type that came.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {type(value).__name__}")


def excerpt(value: object) -> str:
    """The beginning of a value as Python writes it, for a message."""
    text = repr(value)
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}..."


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """The tags of a completion, in the order they must come in, and the keys of a call.

    Args:
        think: Tag around the reasoning.
        call: Tag around the calls.
        response: Tag around what is said to the user.
        name_key: Key of the tool's name in a call.
        parameters_key: Key of its parameters ("arguments" in the chat templates of several models).

    Raises:
        ValueError: If two tags or both keys are the same, or one is empty or holds white space, < or >.
        TypeError: If one is no text.
    """

    think: str = "think"
    call: str = "tool_call"
    response: str = "response"
    name_key: str = "name"
    parameters_key: str = "parameters"

    def __post_init__(self) -> None:
        for field in self.__slots__:
            value = getattr(self, field)
            check_text(field, value)
            if not value or re.search(r"[\s<>]", value):
                raise ValueError(f"{field} is {value!r}, expected text without white space, < and >")
        if len(set(self.tags)) < 3 or self.name_key == self.parameters_key:
            raise ValueError(f"expected three different tags and two different keys, got {self}")

    @property
    def tags(self) -> tuple[str, str, str]:
        """All tags in order."""
        return self.think, self.call, self.response


DEFAULT_FORMAT = ToolFormat()


def required_tags(answer: str, tool_format: ToolFormat = DEFAULT_FORMAT) -> tuple[str, ...]:
    """Tags that a completion needs in order to be like a gold answer: those that the answer has, in order.

    Raises:
        ValueError: If the answer's own tags are not in order, each opened and closed once.
        TypeError: If `answer` is no text.

    Example:
        >>> required_tags("<think>I know.</think><response>Paris</response>")
        ('think', 'response')
    """
    check_text("answer", answer)
    tags = tuple(tag for tag in tool_format.tags if f"<{tag}>" in answer or f"</{tag}>" in answer)
    if not format_holds(answer, tags, tool_format):
        raise ValueError(f"answer: expected each tag opened and closed once and in order, got {excerpt(answer)}")
    return tags


def format_holds(completion: str, required: Sequence[str], tool_format: ToolFormat = DEFAULT_FORMAT) -> bool:
    """Whether each required tag is opened and closed once, in the format's order, and the format's others not at all.

    Text between the tags does not matter. (The released code fixes line breaks between the tags, too, and lets a tag
    that is not asked for hide inside the reasoning.)

    Args:
        completion: The model's text.
        required: Tags of `tool_format`, in any order.
        tool_format: Tags, in the order they must come in.

    Raises:
        ValueError: If a required tag is none of the format's.
        TypeError: If `completion` is no text.

    Source: ToolRL (arXiv 2504.13958), section 3.3, format reward.

    Example:
        >>> format_holds("<think>Look it up.</think><tool_call>...</tool_call>", ("think", "tool_call"))
        True
    """
    check_text("completion", completion)
    if isinstance(required, str):
        raise TypeError(f"required: expected a sequence of tags, got the text {required!r}")
    for tag in required:
        check_choice("required", tag, tool_format.tags)
    expected = [part for tag in tool_format.tags if tag in required for part in (f"<{tag}>", f"</{tag}>")]
    return re.findall("|".join(f"</?{re.escape(tag)}>" for tag in tool_format.tags), completion) == expected


def thought_words(completion: str, tool_format: ToolFormat = DEFAULT_FORMAT) -> int:
    """Number of words between the tags of the reasoning; 0 where they are not there exactly once and in order.

    Raises:
        TypeError: If `completion` is no text.
    """
    check_text("completion", completion)
    try:
        thought = tagged_text(completion, tool_format.think)
    except UnreadableError:
        return 0
    return len((thought or "").split())


def tagged_text(text: str, tag: str) -> str | None:
    """What stands between one pair of tags, None where there is neither.

    Raises:
        UnreadableError: If a tag comes twice, alone or in the wrong order.
    """
    opened, closed = text.count(f"<{tag}>"), text.count(f"</{tag}>")
    if not opened and not closed:
        return None
    if opened != 1 or closed != 1:
        raise UnreadableError(f"<{tag}> is opened {opened} times and closed {closed} times, expected once each")
    before, _, after = text.partition(f"<{tag}>")
    if f"</{tag}>" in before:
        raise UnreadableError(f"<{tag}> is closed before it is opened")
    return after.partition(f"</{tag}>")[0]
