"""The steps of an answer among its tokens: which there are, and with which token each ends."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from llm_scale.rewards.sample import Sample
from rewardlab.adapters.completion_steps import token_steps

__all__ = ["steps_of"]

Splitter = Callable[[str], Sequence[str] | None]


def steps_of(sample: Sample, split: Splitter) -> tuple[list[str], list[int]]:
    r"""Cut an answer into its steps and find the last token of each.

    A step reaches to where the next one begins: what is between them (a line break) is its end. A token with the end
    of one step and the beginning of the next belongs to the next, and each of the tokens that make up one emoji to the
    emoji's step. A step in which no token ends cannot be paid for by itself and is scored as one with the step after
    it. What comes after the last text, such as the token that ends the answer, belongs to the last step: were it left
    out, its return would lack what that step is paid, and every answer would seem to end too early.

    Args:
        sample: The answer, with its tokens and `decode`.
        split: Gives the steps of a text, pieces of it in order; none for a text that has none, and None likewise.

    Returns:
        The texts of the steps as `split` gives them (joined where steps are), and the index of each one's last token
        among the sample's, rising; none of both for an answer without text or without steps.

    Raises:
        ValueError: If a step is not in the text after the steps before it, or the sample has no `decode`; names sample
            and step.

    Example:
        >>> from types import SimpleNamespace
        >>> letters = lambda sequences: ["".join("ab\n"[i] for i in ids if i < 3) for ids in sequences]
        >>> sample = Sample(SimpleNamespace(prompt="?"), "ab\nb", [0, 1, 2, 1, 3], True, 0, 0, letters)
        >>> steps_of(sample, str.splitlines)
        (['ab', 'b'], [2, 4])
    """
    if sample.decode is None:
        raise ValueError(f"{sample} has no decode, expected a function that gives the texts of tokens")
    ids = sample.ids[: _text_tokens(sample)]
    text = sample.decode([ids])[0] if ids else ""
    steps = [step for step in split(text) or () if step] if text else []
    if not steps:
        return [], []
    starts = _places(steps, text, sample)
    bounds = [0, *starts[1:], len(text)]
    joined, ends = token_steps(ids, sample.decode, lambda _: [text[a:b] for a, b in pairwise(bounds)])
    texts, first = [], 0
    place = 0
    for piece in joined:
        place += len(piece)
        last = first
        while bounds[last + 1] < place:
            last += 1
        texts.append(text[starts[first] : starts[last] + len(steps[last])])
        first = last + 1
    return texts, [*ends[:-1], len(sample.ids) - 1]


def _text_tokens(sample: Sample) -> int:
    """How many tokens there are up to the last one that has text."""
    number = len(sample.ids)
    while number and not sample.decode([sample.ids[number - 1 : number]])[0]:
        number -= 1
    return number


def _places(steps: Sequence[str], text: str, sample: Sample) -> list[int]:
    places, place = [], 0
    for number, step in enumerate(steps):
        found = text.find(step, place)
        if found < 0:
            raise ValueError(
                f"step {number} ({step!r:.60}) of {sample} is not in its text after character {place}: expected pieces "
                f"of the text, in order"
            )
        places.append(found)
        place = found + len(step)
    return places
