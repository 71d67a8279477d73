"""Problems of chained arithmetic: a number, and what is done to it, one operation after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from environments.reasoning.step_text import DIGITS, RESULT, Equation, final_answer
from rewardlab.checks import as_generator, check_scalar

__all__ = ["ArithmeticProblem", "answer_line", "draw_problem"]

LARGEST = 999  # running value of a drawn problem
WORDS = {"+": "Add {}.", "-": "Subtract {}.", "*": "Multiply by {}."}
INSTRUCTION = "Work one step at a time, one equation per line, and end with a line of the form 'Answer: number'."


@dataclass(frozen=True)
class ArithmeticProblem:
    """A number and what is done to it, one operation after the other.

    Args:
        start: The number.
        operations: Symbol ("+", "-" or "*") and whole number of each operation, at least one.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If there is no operation, a symbol is another, or numbers could pass 12 digits.

    Example:
        >>> problem = ArithmeticProblem(7, (("+", 5), ("*", 3)))
        >>> problem.text
        'Start with 7. Add 5. Multiply by 3. What is the result?'
        >>> problem.solution
        ('7 + 5 = 12', '12 * 3 = 36', 'Answer: 36')
    """

    start: int
    operations: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", int(check_scalar("start", self.start, whole=True)))
        if not len(self.operations):
            raise ValueError("operations is empty, expected at least one pair of a symbol and a number")
        for place, (symbol, operand) in enumerate(self.operations):
            if symbol not in RESULT:
                raise ValueError(f"operations[{place}] has symbol {symbol!r}, expected one of '+', '-', '*'")
            check_scalar(f"operations[{place}][1]", operand, whole=True)
        object.__setattr__(self, "operations", tuple((symbol, int(operand)) for symbol, operand in self.operations))
        if self._largest() >= 10**DIGITS:
            raise ValueError(f"operations lead to numbers of more than {DIGITS} digits, which no step can state")

    def _largest(self) -> int:
        """A bound on the values of a solver that slips and misreads."""
        largest = abs(self.start)
        for symbol, operand in self.operations:
            operand = abs(operand) + 1
            largest = 10 + (largest * operand if symbol == "*" else largest + operand)
        return largest

    @property
    def text(self) -> str:
        """The question."""
        asked = " ".join(WORDS[symbol].format(operand) for symbol, operand in self.operations)
        return f"Start with {self.start}. {asked} What is the result?"

    @property
    def prompt(self) -> str:
        """The question, with what form the solution should have, for a language model."""
        return f"{self.text}\n{INSTRUCTION}"

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The right running values: the start, and what each operation makes of it."""
        values = [self.start]
        for symbol, operand in self.operations:
            values.append(RESULT[symbol](values[-1], operand))
        return tuple(values)

    @property
    def answer(self) -> int:
        """The right answer."""
        return self.values[-1]

    @property
    def solution(self) -> tuple[str, ...]:
        """The shortest full solution."""
        steps = zip(self.values, self.operations, self.values[1:], strict=False)
        return (
            *(str(Equation(left, *operation, stated)) for left, operation, stated in steps),
            answer_line(self.answer),
        )

    def verify_solution(self, steps: Sequence[str]) -> bool:
        """Whether a solution of free text, one string a line, is right: its last line that is not blank decides.

        Args:
            steps: The lines, from the first to the last; see `step_text.split_steps` for one text.

        Raises:
            TypeError: If `steps` is one string, or holds anything but strings.
        """
        return final_answer(steps) == self.answer


def draw_problem(operations: int, rng: int | np.random.Generator) -> ArithmeticProblem:
    """A random problem that a school child could do.

    Starts at 2 to 9; adds or subtracts 2 to 9, or multiplies by 2 or 3, such that all running values stay between 1 and
    999. Which of the three is drawn uniformly from those that can, then the number.

    Args:
        operations: Number of operations, at least 1.
        rng: Seed or generator.
    """
    check_scalar("operations", operations, low=1, whole=True)
    rng = as_generator(rng)
    start = value = int(rng.integers(2, 10))
    drawn = []
    for _ in range(operations):
        operands = {"+": range(2, 10), "-": range(2, 10), "*": (2, 3)}
        fits = {s: [o for o in those if 1 <= RESULT[s](value, o) <= LARGEST] for s, those in operands.items()}
        symbol = str(rng.choice([s for s, those in fits.items() if those]))
        operand = int(rng.choice(fits[symbol]))
        drawn.append((symbol, operand))
        value = RESULT[symbol](value, operand)
    return ArithmeticProblem(start, tuple(drawn))


def answer_line(value: int) -> str:
    """The line that gives `value` as the answer."""
    return f"Answer: {value}"
