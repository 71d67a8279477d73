"""Which number does a text give as its answer? Read by pattern: nothing that a model writes is ever evaluated."""

import re
from collections import deque
from fractions import Fraction

__all__ = ["DIGITS", "is_number_only", "last_number"]

DIGITS = 30  # of the longest number that is read, on both sides of the decimal point together

# A digit of another script is a word character. A point that leads is a decimal point only where a number may begin.
_RUN = re.compile(r"(?<!\w)(?<![0-9][.,])(?:(?<![^\s$(=:-])\.)?+[0-9]++(?:[.,][0-9]++)*+(?!\w)")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_PLAIN = re.compile(r"[0-9]*\.[0-9]+|[0-9]+")
_SIGN = re.compile(r"(?<![\w)\]}])-$")
_FRAME = " \t\r\n*_$`'\".!"  # what may stand around a number that stands alone: markup, quotes, a full stop


def last_number(text: str) -> Fraction | None:
    """The last number of a text, exactly; None where there is none, or where the last one cannot be read.

    Only the last number counts: listing several answers gains nothing. Read are digits with an optional sign, decimal
    point and thousands separators (`-1,234.50`). A hyphen counts as a sign where it stands directly before the digits
    and not directly after a letter, digit or closing bracket: the last number of `10 -2` is -2, of `10-2` and `10 - 2`
    it is 2. The typographic minus is a hyphen. Digits of other scripts, digits inside a word (`x2`, `8th`), and numbers
    such as `1.2.3`, `12,34`, or of more than 30 digits are not read; a last number of the latter kind is an unreadable
    answer, and not replaced by the one before it.

    Example:
        >>> last_number("3 + 5 is 7, no, 8.")
        Fraction(8, 1)
        >>> last_number("It costs $1,250.50"), last_number("-0"), last_number("eight")
        (Fraction(2501, 2), Fraction(0, 1), None)
    """
    text = text.replace("\N{MINUS SIGN}", "-")
    found = deque(_RUN.finditer(text), maxlen=1)
    if not found:
        return None
    last = found[0]
    value = _value(last[0])
    return -value if value is not None and _SIGN.search(text[: last.start()][-2:]) else value


def is_number_only(text: str) -> bool:
    """Whether a text is one number that can be read and nothing else but space, markup, quotes and a full stop."""
    bare = text.replace("\N{MINUS SIGN}", "-").strip(_FRAME).removeprefix("-")
    return _value(bare) is not None


def _value(run: str) -> Fraction | None:
    if len(run) > 2 * DIGITS or sum(map(str.isdigit, run)) > DIGITS:
        return None
    if _PLAIN.fullmatch(run) or _GROUPED.fullmatch(run):
        return Fraction(run.replace(",", ""))
    return None
