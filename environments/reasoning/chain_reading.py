"""Reading a solution line by line: which equation stands at which place of the problem's chain."""

from collections.abc import Sequence
from dataclasses import dataclass

from environments.reasoning.arithmetic_problem import ArithmeticProblem
from environments.reasoning.step_text import Equation, ParsedStep, checked_lines, parse_step

__all__ = ["Chain", "Link"]


@dataclass(frozen=True, slots=True)
class Link:
    """An equation at its place in a chain.

    Args:
        equation: What the line states.
        line: Which line of the solution, from 0.
        right: Whether the equation is true and does what the problem asks for at this place. It may still start from a
            value that is wrong: that is the error of an earlier link.
    """

    equation: Equation
    line: int
    right: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """What a solution has worked out so far, as far as it still stands.

    Args:
        problem: The problem.
        links: The equations at the places 0, 1, ... of its operations, as many as have been done.
    """

    problem: ArithmeticProblem
    links: tuple[Link, ...] = ()

    @classmethod
    def after_each(cls, problem: ArithmeticProblem, steps: Sequence[str]) -> "list[Chain]":
        """The chain after each line of a solution."""
        chain, chains = cls(problem), []
        for line, step in enumerate(checked_lines(steps)):
            chain = chain.read(parse_step(step), line)
            chains.append(chain)
        return chains

    @property
    def length(self) -> int:
        """Operations done."""
        return len(self.links)

    @property
    def done(self) -> bool:
        """Whether all operations are."""
        return len(self.links) == len(self.problem.operations)

    @property
    def value(self) -> int:
        """The running value, right or wrong."""
        return self._value_at(self.length)

    @property
    def last(self) -> Equation | None:
        """The equation that the running value comes from, or None at the start."""
        return self.links[-1].equation if self.links else None

    @property
    def first_wrong(self) -> int | None:
        """Place of the first link that is not right, or None."""
        return next((place for place, link in enumerate(self.links) if not link.right), None)

    @property
    def errors(self) -> tuple[int, ...]:
        """Lines of the links that are not right."""
        return tuple(link.line for link in self.links if not link.right)

    def read(self, said: ParsedStep, line: int) -> "Chain":
        """The chain after one more line; only equations change it."""
        chain = self
        for equation in said.equations:
            chain = chain._with(equation, said.correction, line)
        return chain

    def _with(self, equation: Equation, correction: bool, line: int) -> "Chain":
        """The chain with one more equation, in the place where it belongs, which is the first of these that fits.

        1. It does what is asked for next, with the running value: the next link.
        2. It is the last equation again: nothing new.
        3. It does something else with the running value: the next link, a wrong one.
        4. It does what was asked for at an earlier place, with the value before that place: it takes that place, and
           what followed falls away; nothing new if it stood there already. Where several places fit, the first wrong
           one is meant, else the last.
        5. It has nothing to do with the chain.

        A line that presents itself as a correction is tried for 4 before all else. Words can be ambiguous: after
        "1 * 2 = 1" the same words are the next step where the problem asks for the same again.
        """
        redone = self._redone(equation, line)
        if correction and redone:
            return redone
        follows = not self.done and equation.left == self.value
        if follows and (_asked(equation) == self.problem.operations[self.length] or equation != self.last):
            return self._placed(self.length, equation, line)
        return self if equation == self.last else redone or self

    def _redone(self, equation: Equation, line: int) -> "Chain | None":
        """The chain with an equation in the earlier place that it fits, or None where it fits none."""
        fits = [
            place
            for place, operation in enumerate(self.problem.operations[: self.length])
            if operation == _asked(equation) and self._value_at(place) == equation.left
        ]
        if not fits:
            return None
        place = next((place for place in fits if not self.links[place].right), fits[-1])
        return self if self.links[place].equation == equation else self._placed(place, equation, line)

    def _placed(self, place: int, equation: Equation, line: int) -> "Chain":
        right = equation.holds and _asked(equation) == self.problem.operations[place]
        return Chain(self.problem, (*self.links[:place], Link(equation, line, right)))

    def _value_at(self, place: int) -> int:
        return self.links[place - 1].equation.stated if place else self.problem.start


def _asked(equation: Equation) -> tuple[str, int]:
    """The operation that would ask for an equation."""
    return equation.symbol, equation.operand
