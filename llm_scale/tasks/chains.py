"""Arithmetic one step at a time, with a verdict on every step: the chains of `environments.reasoning` as a task."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from environments.reasoning.arithmetic_problem import ArithmeticProblem, draw_problem
from environments.reasoning.chain_reading import Chain
from environments.reasoning.step_text import FILLERS, parse_step, split_steps
from llm_scale.tasks.task import Problem, Split, Task, check_request
from rewardlab.checks import check_choice, check_scalar

__all__ = ["LABELS", "ChainsTask"]

HELD_OUT = 4  # every fourth problem, by its digest, is in the test split
PLAIN_FILLERS = tuple(filler for filler in FILLERS if filler.isascii())

LABELS = {"advances": 1.0, "idle": 0.5, "wrong": 0.0}
"""What each kind of step is worth: see `ChainsTask.step_kinds`."""


class ChainsTask(Task):
    """Work out a chain such as 7 + 5 - 3, a line for each step and the answer in the last line, `Answer: 9`.

    Only the last line that is not blank counts as the answer. A quarter of all problems is held out for testing.

    Args:
        operations: Operations of a problem, 1 to 8.
        symbols: "+-", or "+-*", which multiplies by 2 or 3 too.
        style: "chat" asks in words and says what form the solution should have; "bare" is `7+5-3` and a line break.
        filler_rate: Chance that a line of a demonstration is preceded by one that says nothing: a policy that has never
            seen such lines cannot learn that a step reward pays for them. In [0, 1).

    Example:
        >>> task = ChainsTask(style="bare")
        >>> problem = task.problems("train", 1, seed=0)[0]
        >>> print(problem.prompt + task.demonstration(problem))
        8-5+4
        8-5=3
        3+4=7
        Answer: 7
        >>> task.step_kinds(problem, ["8-5=3", "So far so good.", "3+4=8", "Answer: 8"])
        ['advances', 'idle', 'wrong', 'wrong']
    """

    always_ends = True

    def __init__(
        self,
        operations: int = 2,
        symbols: Literal["+-", "+-*"] = "+-",
        style: Literal["chat", "bare"] = "chat",
        filler_rate: float = 0.0,
    ) -> None:
        self.operations = check_scalar("operations", operations, low=1, high=8, whole=True)
        check_choice("symbols", symbols, ("+-", "+-*"))
        check_choice("style", style, ("chat", "bare"))
        self.symbols, self.style = symbols, style
        self.filler_rate = check_scalar("filler_rate", filler_rate, low=0.0, high=0.999)
        self.name = f"chains_{operations}"
        self.max_new_tokens = 32 * (operations + 2)  # room for steps that nobody needs, too

    def problems(self, split: Split, number: int, seed: int) -> list[Problem]:
        """Random problems of the split; the same one may come twice."""
        check_request(split, number, seed)
        rng, found = np.random.default_rng(seed), []
        while len(found) < number:
            chain = draw_problem(self.operations, rng)
            digest = _digest(chain)
            if (digest % HELD_OUT == 0) == (split == "test") and all(s in self.symbols for s, _ in chain.operations):
                prompt = f"{_expression(chain)}\n" if self.style == "bare" else chain.prompt
                data = {"start": chain.start, "operations": [[symbol, operand] for symbol, operand in chain.operations]}
                found.append(Problem(prompt, str(chain.answer), digest, data))
        return found

    def verify(self, problem: Problem, completion: str) -> float:
        """1 if the last line that is not blank gives the right answer, else 0."""
        return float(self.chain(problem).verify_solution(split_steps(completion)))

    def demonstration(self, problem: Problem) -> str:
        """The shortest full solution, with lines that say nothing at the task's rate."""
        rng = np.random.default_rng(problem.number)
        lines = []
        for line in self.chain(problem).solution:
            while rng.random() < self.filler_rate:
                lines.append(PLAIN_FILLERS[rng.integers(len(PLAIN_FILLERS))])
            says = self.style == "chat" or "=" not in line
            lines.append(line if says else line.replace(" ", ""))
        return "\n".join(lines)

    def steps(self, completion: str) -> list[str]:
        """The lines that are not blank."""
        return list(split_steps(completion))

    def step_kinds(self, problem: Problem, steps: Sequence[str]) -> list[str]:
        """What each step does for the solution, given those before it.

        "advances": it brings the chain of right steps, counted from the first, further than it has been; or it is the
        first line that gives the right answer. So the number of steps that advance is bounded, whatever is written.
        "wrong": it states something false, does an operation that is not the one asked for, or answers wrongly.
        "idle": neither. It says nothing, repeats, computes what nobody asked for, or carries an earlier error on.
        """
        kinds, furthest, answered = [], 0, False
        for line, (step, chain) in enumerate(zip(steps, Chain.after_each(self.chain(problem), steps), strict=True)):
            said = parse_step(step)
            if said.kind == "answer":
                right = said.answer == chain.problem.answer
                kinds.append("wrong" if not right else "idle" if answered else "advances")
                answered = answered or right
            elif said.verdict == -1 or line in chain.errors:
                kinds.append("wrong")
            else:
                kinds.append("advances" if _right(chain) > furthest else "idle")
                furthest = max(furthest, _right(chain))
        return kinds

    def step_labels(self, problem: Problem, steps: Sequence[str]) -> list[float]:
        """1 for a step that advances, 0.5 for an idle one, 0 for a wrong one."""
        return [LABELS[kind] for kind in self.step_kinds(problem, steps)]

    def format_ok(self, completion: str) -> bool:
        """Whether there is at least one line before the last, and the last one, and only that, gives an answer."""
        said = [parse_step(step) for step in split_steps(completion)]
        return len(said) > 1 and said[-1].answer is not None and all(step.kind != "answer" for step in said[:-1])

    def chain(self, problem: Problem) -> ArithmeticProblem:
        """The problem in the form that the judges of `environments.reasoning` take, such as `SyntheticPRM`."""
        return ArithmeticProblem(problem.data["start"], tuple(map(tuple, problem.data["operations"])))


def _right(chain: Chain) -> int:
    """Right steps before the first wrong one."""
    return chain.length if chain.first_wrong is None else chain.first_wrong


def _expression(chain: ArithmeticProblem) -> str:
    """The chain as one expression, with the brackets that make its order that of school."""
    text, sums = str(chain.start), False
    for symbol, operand in chain.operations:
        if symbol == "*" and sums:
            text, sums = f"({text})", False
        text, sums = f"{text}{symbol}{operand}", sums or symbol != "*"
    return text


def _digest(chain: ArithmeticProblem) -> int:
    """A number that stands for a problem, the same everywhere."""
    return int.from_bytes(hashlib.blake2b(chain.text.encode(), digest_size=6).digest())
