"""What a line of a written solution says: an equation, an answer, or nothing that a calculator could check.

Lines may come from a language model, so they are read by pattern and never evaluated, and reading one never fails:
a line that cannot be read says nothing.
"""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = ["FILLERS", "Equation", "ParsedStep", "checked_lines", "final_answer", "parse_step", "split_steps"]

FILLERS = ("Let me think about this step by step.", "So far so good.", "Step ready.", "Continuing.", "🙂")
"""Lines that say nothing: the placeholders and emojis that process rewards have been farmed with."""

RESULT = {"+": operator.add, "-": operator.sub, "*": operator.mul}
DIGITS = 12  # of the longest number that is read: converting one costs the square of its length

_NUMBER = r"-?\d++(?:[.,]\d++)*+"
_WHOLE = rf"(-?\d{{1,{DIGITS}}})"
_BULLET = re.compile(r"(?:[-*•]|(?:step )?\d+[.):]|step \d+ ?[-–]) ", re.ASCII | re.IGNORECASE)
_BOLD = re.compile(r"(?<!\d)(?<!\d )\*\*|\*\*(?! ?-?\d)", re.ASCII)  # but 2**3 stays
_TIMES = re.compile(r"(?<=\d)( ?)[xX×·∗](?= ?-?\d)", re.ASCII)
_EQUATION = re.compile(rf"{_WHOLE} ?([-+*]) ?{_WHOLE} ?= ?{_WHOLE}", re.ASCII)
# all that hangs together as arithmetic, so that neither "2 + 7 + 5 = 14" nor "7 + 5 = 12.5" holds "7 + 5 = 12"
_ARITHMETIC = re.compile(
    rf"(?<![\w.,+*/^=-])(?<![+*/^=-] ){_NUMBER}(?: ?[-+*/^=] ?{_NUMBER})++(?!\w| ?[+*/^=]| ?- ?\()", re.ASCII
)
_ANSWER = re.compile(r"\W*(?:the )?(?:final )?answer[ *_]*(?::|=|is\b)(.*)", re.ASCII | re.IGNORECASE)
_ANSWERED = re.compile(rf"[ :*_$=]*{_WHOLE}[ .!*_$]*", re.ASCII)
_CORRECTION = re.compile(r"\W*(?:correction|wait)\b", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Equation:
    """The equation `left symbol operand = stated`, true or false; its text is as a solution has it.

    Args:
        left: What the operation starts from.
        symbol: "+", "-" or "*".
        operand: What it is done with.
        stated: What the result is said to be.
    """

    left: int
    symbol: str
    operand: int
    stated: int

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return RESULT[self.symbol](self.left, self.operand) == self.stated

    def __str__(self) -> str:
        return f"{self.left} {self.symbol} {self.operand} = {self.stated}"


@dataclass(frozen=True, slots=True)
class ParsedStep:
    """What a line says.

    Args:
        kind: "answer" where the line gives the answer, or tries to; "equation" where it states one or more;
            "statement" for all else, which says nothing that could be checked.
        equations: Those that a line of kind "equation" states, in order.
        answer: The whole number that is given as the answer; None in other lines, and where no such number is.
        correction: Whether the line presents itself as a correction of an earlier one.
    """

    kind: Literal["answer", "equation", "statement"]
    equations: tuple[Equation, ...] = ()
    answer: int | None = None
    correction: bool = False

    @property
    def verdict(self) -> int:
        """What a calculator says: 1 if all equations hold, -1 if one does not, 0 where there is none to check."""
        return (1 if all(equation.holds for equation in self.equations) else -1) if self.equations else 0


def parse_step(text: str) -> ParsedStep:
    """Read one line of a solution.

    Equations have the form `7 + 5 = 12` with `+`, `-` or `*` (or ×, ·, x) between two whole numbers, anywhere in the
    line. Longer expressions, decimals, thousands separators and numbers of more than 12 digits are not read. The answer
    is a line such as `Answer: 36` or `The answer is 36.`

    Args:
        text: The line. Line breaks count as spaces; `split_steps` takes a text apart.

    Returns:
        What it says. No text raises an error.

    Raises:
        TypeError: If `text` is no string.

    Example:
        >>> parse_step("So 7 + 5 = 13.").equations
        (Equation(left=7, symbol='+', operand=5, stated=13),)
        >>> parse_step("So 7 + 5 = 13.").verdict, parse_step("So far so good.").verdict
        (-1, 0)
        >>> parse_step("Answer: 36").answer
        36
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {type(text).__name__}")
    return _parsed(text)


@lru_cache(maxsize=1 << 14)
def _parsed(text: str) -> ParsedStep:
    line = " ".join(text.replace("−", "-").split())
    given = _ANSWER.match(line)
    if given:
        number = _ANSWERED.fullmatch(given[1])
        return ParsedStep("answer", answer=int(number[1]) if number else None)
    correction = bool(_CORRECTION.match(line))
    bare = _TIMES.sub(r"\1*", _BOLD.sub("", line[start.end() :] if (start := _BULLET.match(line)) else line))
    found = (_EQUATION.fullmatch(run[0]) for run in _ARITHMETIC.finditer(bare))
    equations = tuple(Equation(int(e[1]), e[2], int(e[3]), int(e[4])) for e in found if e)
    return ParsedStep("equation" if equations else "statement", equations, correction=correction)


def split_steps(text: str) -> tuple[str, ...]:
    """The steps of a solution written as one text: its lines, without blank ones and surrounding space."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def checked_lines(steps: Sequence[str]) -> Sequence[str]:
    """The steps, if they are a sequence of strings.

    Raises:
        TypeError: If they are one string, or one of them is none.
    """
    if isinstance(steps, str):
        raise TypeError("steps: expected a sequence of lines, got one string; take it apart with split_steps")
    for place, step in enumerate(steps):
        if not isinstance(step, str):
            raise TypeError(f"steps[{place}]: expected a string, got {type(step).__name__}")
    return steps


def final_answer(steps: Sequence[str]) -> int | None:
    """The answer in the last line of a solution that is not blank, or None where that line gives no whole number."""
    said = [step for step in checked_lines(steps) if step.strip()]
    return parse_step(said[-1]).answer if said else None
