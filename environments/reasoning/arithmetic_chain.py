"""Chains of arithmetic with real step texts: "7 + 5 = 12", "12 * 3 = 36", "Answer: 36".

A test bed for whatever judges, labels or searches steps. A step goes wrong by stating a false result; what follows may
carry the wrong value on, true line by true line, to a wrong answer (or, when two slips cancel, to the right one). An
error can be corrected later. Lines can say nothing, repeat what was said, or compute something that nobody asked for.
How likely a prefix is to end well is known exactly.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from environments.reasoning.arithmetic_problem import ArithmeticProblem, answer_line, draw_problem
from environments.reasoning.chain_reading import Chain
from environments.reasoning.step_text import FILLERS, RESULT, Equation, ParsedStep, checked_lines, parse_step
from rewardlab.checks import PROBABILITY_TOLERANCE, as_generator, check_scalar

__all__ = ["FILLERS", "ArithmeticProblem", "ArithmeticTask", "State", "draw_problem", "parse_step"]

State: TypeAlias = tuple[str, ...]  # the lines so far

SLIPS = (1, -1, 10)  # how far a false result is off: miscounted by one, or a carry too many
STEP_LIMIT = 500  # lines of a solution: the recursion goes as deep
_CACHED_CHAINS = 1 << 16


@dataclass(frozen=True)
class ArithmeticTask:
    """A problem as a task of steps, with a solver that slips, pads, repairs and repeats at given rates.

    States are tuples of lines, steps are lines. `legal_steps` lists what the solver may write; `apply` takes any line.

    Args:
        problem: What is to be solved.
        max_steps: Most lines of a solution, 1 to 500; one that has not answered by then is wrong.
        error_rate: Chance that a new equation states a false result: off by 1, -1 or 10.
        filler_rate: Chance that a line says nothing, one of `FILLERS`.
        repair_rate: Chance that a line corrects the first error, where there is one that is not corrected.
        repeat_rate: Chance that a line repeats the last equation, where there is one.
        misread_rate: Chance that a new equation is true, but does another operation than the problem asks for (its
            number is one too large): an error that no calculator finds.

    Raises:
        TypeError, ValueError: If a rate is no number in [0, 1], rates of what excludes one another sum to more than 1,
            or `max_steps` is not 1 to 500.

    Example:
        >>> task = ArithmeticTask(ArithmeticProblem(7, (("+", 5), ("*", 3))), max_steps=6, error_rate=0.2)
        >>> task.legal_steps(("7 + 5 = 13",))[:2]
        ('13 * 3 = 39', '13 * 3 = 40')
        >>> round(task.success_probability(()), 4), task.success_probability(("7 + 5 = 13",))
        (0.64, 0.0)
    """

    problem: ArithmeticProblem
    _: KW_ONLY
    max_steps: int = 12
    error_rate: float = 0.1
    filler_rate: float = 0.0
    repair_rate: float = 0.0
    repeat_rate: float = 0.0
    misread_rate: float = 0.0
    _success: dict = field(default_factory=dict, init=False, repr=False, compare=False)
    _steps: dict = field(default_factory=dict, init=False, repr=False, compare=False)
    _chains: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_scalar("max_steps", self.max_steps, low=1, high=STEP_LIMIT, whole=True)
        for together in (("filler_rate", "repair_rate", "repeat_rate"), ("error_rate", "misread_rate")):
            rates = [check_scalar(name, getattr(self, name), low=0.0, high=1.0) for name in together]
            if sum(rates) > 1 + PROBABILITY_TOLERANCE:
                raise ValueError(f"{' + '.join(together)} is {sum(rates):g}, expected at most 1")

    @property
    def prompt(self) -> str:
        """The question, with what form the solution should have, for a language model."""
        return self.problem.prompt

    def start(self) -> State:
        """No line yet."""
        return ()

    def legal_steps(self, state: State) -> tuple[str, ...]:
        """What the solver may write next, in a fixed order; nothing once it has answered or used up its lines.

        The right next equation comes first (right for the running value, be that wrong or not), then its false and
        misread versions, the correction of the first error, the last equation again, the fillers, and the answer.
        What has a rate of 0 is legal too.
        """
        return tuple(self._moves(self._chain(state))) if not self.has_ended(state) else ()

    def behaviour(self, state: State) -> Float[np.ndarray, " steps"]:
        """Probability of each of `legal_steps(state)` for the solver: a rollout policy.

        It answers once all operations are done, and only then.
        """
        if self.has_ended(state):
            raise ValueError(f"state: the solution has ended after {len(state)} lines, expected one on the way")
        return np.array(list(self._moves(self._chain(state)).values()))

    def apply(self, state: State, step: str) -> State:
        """The lines with one more, which may be any text.

        Raises:
            ValueError: If the solution has ended.
        """
        if self.has_ended(state):
            raise ValueError(f"state: the solution has ended after {len(state)} lines, no step can follow")
        parse_step(step)
        return (*state, step)

    def has_ended(self, state: State) -> bool:
        """Whether the last line answers, or no more are allowed."""
        return len(state) >= self.max_steps or bool(state and parse_step(state[-1]).kind == "answer")

    def verify(self, state: State) -> int:
        """1 for right, -1 for wrong, 0 for undecided.

        Of a solution that has ended: is its answer right? On the way: is the last line right? There a calculator
        speaks, which sees whether an equation is true, not whether its numbers are the right ones.
        """
        if self.has_ended(state):
            return 1 if self.verify_solution(state) else -1
        return parse_step(state[-1]).verdict if state else 0

    def verify_solution(self, steps: Sequence[str]) -> bool:
        """Whether a solution of free text is right and not too long; see `ArithmeticProblem.verify_solution`."""
        return len(steps) <= self.max_steps and self.problem.verify_solution(steps)

    def verdicts(self, steps: Sequence[str]) -> tuple[int, ...]:
        """What a tool says of each line of a solution: 1, -1 or 0.

        A calculator checks equations; an answer is compared with the right one.
        """
        return tuple(self._verdict(parse_step(step)) for step in checked_lines(steps))

    def step_labels(self, steps: Sequence[str]) -> tuple[bool, ...]:
        """Whether each prefix of a solution is free of errors that were not corrected: the truth about each line.

        An error is an equation of the chain that is false or does another operation than the problem asks for, or an
        answer that is not the right one. A true line that carries an error on is labelled False, the correction of the
        only error True. Two slips that cancel are still two errors.
        """
        chains = Chain.after_each(self.problem, steps)
        answers = (parse_step(step) for step in steps)
        return tuple(
            said.answer == self.problem.answer if said.kind == "answer" else not chain.errors
            for chain, said in zip(chains, answers, strict=True)
        )

    def first_error(self, steps: Sequence[str]) -> int:
        """Index of the first line whose label is False, or -1: where a solution first goes wrong, corrected or not."""
        labels = self.step_labels(steps)
        return labels.index(False) if False in labels else -1

    def success_probability(self, state: State) -> float:
        """Chance that the solver, going on from `state`, ends with the right answer: exact, by recursion.

        What is known of one state is kept for all others. The cost grows with the number of values that slips can
        lead to: up to four times with each operation, less where slips of different lines coincide.
        """
        if self.has_ended(state):
            return float(self.verify_solution(state))
        return self._success_of(self._chain(state), self.max_steps - len(state))

    def sample(self, rng: int | np.random.Generator, state: State = ()) -> State:
        """A whole solution drawn from the solver, going on from `state`."""
        rng = as_generator(rng)
        while not self.has_ended(state):
            moves = self._moves(self._chain(state))
            edges = np.cumsum(list(moves.values()))
            step = list(moves)[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]
            state = (*state, step)
        return state

    def _verdict(self, said: ParsedStep) -> int:
        if said.kind == "answer":
            return 1 if said.answer == self.problem.answer else -1
        return said.verdict

    def _chain(self, state: State) -> Chain:
        """The chain after the lines of `state`, from that of its longest prefix already read."""
        known = len(state)
        while known and state[:known] not in self._chains:
            known -= 1
        chain = self._chains[state[:known]] if known else Chain(self.problem)
        if len(self._chains) > _CACHED_CHAINS:
            self._chains.clear()
        for line in range(known, len(state)):
            chain = self._chains[state[: line + 1]] = chain.read(parse_step(state[line]), line)
        return chain

    def _moves(self, chain: Chain) -> dict[str, float]:
        """What the solver may write after a chain, and how likely that is."""
        key = _known_of(chain)
        if key in self._steps:
            return self._steps[key]
        error, last = chain.first_wrong, chain.last
        new = (
            1.0 - self.filler_rate - (self.repair_rate if error is not None else 0) - (self.repeat_rate if last else 0)
        )
        moves: dict[str, float] = {}

        def add(text: str, probability: float) -> None:
            moves[text] = moves.get(text, 0.0) + max(probability, 0.0)  # 1 - .9 - .1 is below 0

        if not chain.done:
            symbol, operand = self.problem.operations[chain.length]
            result = RESULT[symbol](chain.value, operand)
            misread = Equation(chain.value, symbol, operand + 1, RESULT[symbol](chain.value, operand + 1))
            add(str(Equation(chain.value, symbol, operand, result)), new * (1 - self.error_rate - self.misread_rate))
            for slip in SLIPS:
                add(str(Equation(chain.value, symbol, operand, result + slip)), new * self.error_rate / len(SLIPS))
            add(str(misread), new * self.misread_rate)
        if error is not None:
            before, after = self.problem.values[error : error + 2]
            add(f"Correction: {Equation(before, *self.problem.operations[error], after)}", self.repair_rate)
        if last:
            add(str(last), self.repeat_rate)
        for filler in FILLERS:
            add(filler, self.filler_rate / len(FILLERS))
        add(answer_line(chain.value), new if chain.done else 0.0)
        self._steps[key] = moves
        return moves

    def _success_of(self, chain: Chain, left: int) -> float:
        if not left:
            return 0.0
        key = (_known_of(chain), left)
        if key not in self._success:
            total = filler = 0.0
            for text, probability in self._moves(chain).items():
                if not probability:
                    continue
                said = parse_step(text)
                if said.kind == "answer":
                    total += probability * (said.answer == self.problem.answer)
                elif said.kind == "statement":
                    filler += probability
                else:
                    total += probability * self._success_of(chain.read(said, self.max_steps - left), left - 1)
            self._success[key] = total + (filler * self._success_of(chain, left - 1) if filler else 0.0)
        return self._success[key]


def _known_of(chain: Chain) -> tuple:
    """All of a chain that the solver goes by."""
    return chain.length, chain.last, chain.first_wrong
