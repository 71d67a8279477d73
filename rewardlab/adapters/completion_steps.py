"""From the text of a completion to its steps, and from the steps to the tokens that they end with.

A completion's tokens are decoded and the text is cut into pieces. A token belongs to the piece in which its last
character falls: one that holds the end of a line and the beginning of the next belongs to the next, and each of the
tokens that make up one emoji to the emoji's piece. A token without text, such as
the one that ends the completion, belongs to the step before it, or the first. A piece in which no token ends cannot be
paid for by itself and is joined to the piece after it. So every step that is scored has at least one token, and every
token that the policy wrote has one step.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["lines", "token_steps"]

EXCERPT = 60  # characters of a text shown in an error


def lines(text: str) -> list[str]:
    r"""Cut a text into its lines, line ends kept.

    Blank lines belong to the line before them, those at the beginning to the first. A text without any other line is
    one piece, and so is an empty one. Only "\n" ends a line ("\r\n" does too).

    Example:
        >>> lines("\nTwo and two\n\nis 4.\n")
        ['\nTwo and two\n\n', 'is 4.\n']
        >>> lines("")
        ['']
    """
    pieces = re.split(r"(?<=\n)(?=[^\S\n]*\S)", text)
    if len(pieces) > 1 and not pieces[0].strip():
        pieces[:2] = [pieces[0] + pieces[1]]
    return pieces


def token_steps(
    token_ids: Sequence[int],
    decode: Callable[[list[list[int]]], list[str]],
    split: Callable[[str], Sequence[str]] = lines,
    written: Sequence[int] | None = None,
) -> tuple[list[str], list[int]]:
    r"""Cut a completion into steps, by its text, and say where each ends among its tokens.

    Args:
        token_ids: The completion's tokens, without padding.
        decode: Gives the texts of several sequences of tokens, as `functools.partial(tokenizer.batch_decode,
            skip_special_tokens=True)` does.
        split: Cuts a text into consecutive pieces whose concatenation is the text.
        written: 1 where the policy wrote the token, 0 where it did not (a tool's output); None where it wrote all.
            Each uninterrupted stretch of the policy's tokens is cut by itself, so that no step reaches across a tool's
            output, and that output is in no step's text.

    Returns:
        The texts of the steps, and the index of each one's last token; at least one step, of empty text where there is
        none. How pieces become steps is told at the top of this module.

    Raises:
        TypeError: If `split` gives no pieces of text.
        ValueError: If its pieces put together are not the text, or there are no tokens.

    Example:
        >>> letters = lambda sequences: ["".join("ab\n"[i] for i in ids) for ids in sequences]
        >>> token_steps([0, 2, 1, 1], letters)
        (['a\n', 'bb'], [1, 3])
    """
    token_ids = list(token_ids)
    if not token_ids:
        raise ValueError("token_ids is empty, expected a completion of at least one token")
    steps: list[str] = []
    ends: list[int] = []
    for first, after in _stretches(written, len(token_ids)):
        ids = token_ids[first:after]
        text = decode([ids])[0]
        pieces = _checked_pieces(split(text), text)
        starts = np.cumsum([0, *map(len, pieces[:-1])])
        last = np.maximum(_last_characters(ids, text, decode), 0)
        piece = np.searchsorted(starts, last, side="right") - 1
        step_ends = [*np.flatnonzero(np.diff(piece)).tolist(), len(ids) - 1]
        bounds = [0, *(piece[step_ends] + 1).tolist()]
        steps += ["".join(pieces[start:stop]) for start, stop in pairwise(bounds)]
        ends += [first + end for end in step_ends]
    return (steps, ends) if steps else ([""], [len(token_ids) - 1])


def _stretches(written: Sequence[int] | None, tokens: int) -> list[tuple[int, int]]:
    """First token, and the one after the last, of each uninterrupted stretch that the policy wrote."""
    if written is None:
        return [(0, tokens)]
    if len(written) != tokens:
        raise ValueError(f"written has {len(written)} values for {tokens} tokens")
    edges = np.flatnonzero(np.diff(np.asarray(written, dtype=bool), prepend=False, append=False))
    return [(int(first), int(after)) for first, after in edges.reshape(-1, 2)]


def _last_characters(ids: list[int], text: str, decode: Callable[[list[list[int]]], list[str]]) -> np.ndarray:
    """Index in `text` of the last character of each token's, -1 before the first; never falling.

    Decoding longer and longer beginnings says it, at a cost that is quadratic. So that is left for stretches that
    cannot be taken apart, such as the tokens of one emoji.
    """
    each = decode([[token] for token in ids])
    if "".join(each) == text:
        return np.cumsum([len(part) for part in each]) - 1
    middle = len(ids) // 2
    for cut in sorted(range(1, len(ids)), key=lambda cut: abs(cut - middle)):
        left, right = decode([ids[:cut], ids[cut:]])
        if left + right == text:
            parts = (ids[:cut], left), (ids[cut:], right)
            first, second = (_last_characters(part, its_text, decode) for part, its_text in parts)
            return np.concatenate([first, second + len(left)])
    found = []
    for beginning in decode([ids[:count] for count in range(1, len(ids) + 1)]):
        agreed = _agreement(beginning, text)
        unfinished = agreed < len(beginning)  # what it ends with is another character once more tokens have come
        found.append(min(agreed, len(text) - 1) if unfinished else agreed - 1)
    return np.maximum.accumulate(found)


def _agreement(one: str, other: str) -> int:
    """How many characters both begin with."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _checked_pieces(pieces: Any, text: str) -> list[str]:
    if isinstance(pieces, str) or not isinstance(pieces, Sequence) or not all(isinstance(part, str) for part in pieces):
        raise TypeError(f"split returned {pieces!r:.{EXCERPT}}, expected a list of the pieces of the text")
    joined = "".join(pieces)
    if joined != text:
        place = _agreement(joined, text)
        raise ValueError(
            f"split lost or changed something at character {place}: its pieces put together go on with "
            f"{joined[place:]!r:.{EXCERPT}}, the text with {text[place:]!r:.{EXCERPT}}"
        )
    return list(pieces)
