"""A process reward model made by hand, with the faults of real ones in known doses."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from environments.reasoning.arithmetic_chain import ArithmeticTask
from environments.reasoning.arithmetic_problem import ArithmeticProblem
from environments.reasoning.chain_reading import Chain
from environments.reasoning.step_text import ParsedStep, parse_step
from rewardlab.checks import check_scalar

__all__ = ["SyntheticPRM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPRM:
    """Scores each line of an arithmetic solution as a learned process reward model might: mostly rightly.

    What it sees is a line and what led to it. True equations are right to it, whether or not the problem asks for them
    (so it can be farmed with repeats and with `1 + 1 = 2`), and lines that state nothing are fine. An answer is right
    where it is the right one, or where it reads off the end of a finished chain.

    Its faults are fixed by the seed, the problem and the prefix: it never judges the same prefix in two ways.

    Args:
        right: Score of a line that is right.
        wrong: Score of a false equation, and of an answer that follows from nothing.
        filler: Score of a line that states nothing.
        carried: Score of an equation of the chain, said once or again, or of an answer, that is right in itself but
            carries on from an error that the model has seen and that has not been corrected; None for that of `right`,
            which makes it a judge of each line by itself. After an error that it has missed it gives `right`.
        blindness: Chance that a false line is taken for right.
        noise: Standard deviation of a Gaussian that is added to each score, which is then clipped to [0, 1].
        seed: Which faults it has.

    Raises:
        TypeError, ValueError: If a score or the blindness is no number in [0, 1], the noise is negative, or the seed
            is no whole number of at least 0.

    Source: constructed here. Padding and repeats that a learned process reward model scores highly are what Gao et al.
        2024 (arXiv 2410.15115) report.

    Example:
        >>> from environments.reasoning.arithmetic_chain import ArithmeticProblem
        >>> problem = ArithmeticProblem(7, (("+", 5), ("*", 3)))
        >>> SyntheticPRM()(problem, ["7 + 5 = 13", "13 * 3 = 39", "So far so good.", "Answer: 39"])
        array([0.1, 0.9, 0.9, 0.9])
        >>> SyntheticPRM(carried=0.3)(problem, ["7 + 5 = 13", "13 * 3 = 39", "So far so good.", "Answer: 39"])
        array([0.1, 0.3, 0.9, 0.3])
    """

    right: float = 0.9
    wrong: float = 0.1
    filler: float = 0.9
    carried: float | None = None
    blindness: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("right", "wrong", "filler", "blindness", *(("carried",) if self.carried is not None else ())):
            check_scalar(name, getattr(self, name), low=0.0, high=1.0)
        check_scalar("noise", self.noise, low=0.0)
        check_scalar("seed", self.seed, low=0, whole=True)

    def __call__(self, task: ArithmeticTask | ArithmeticProblem, steps: Sequence[str]) -> Float[np.ndarray, " steps"]:
        """The score of each line, given the lines before it.

        Args:
            task: The problem, or a task that holds one.
            steps: The lines of a solution, whole or in part; any text.

        Returns:
            Scores in [0, 1]; the first n are those of the first n lines alone.

        Raises:
            TypeError: If `steps` is one string or holds anything but strings.
        """
        problem = task.problem if isinstance(task, ArithmeticTask) else task
        if not isinstance(problem, ArithmeticProblem):
            raise TypeError(f"task: expected an ArithmeticTask or ArithmeticProblem, got {type(task).__name__}")
        chains = Chain.after_each(problem, steps)
        digest = hashlib.blake2b(_bytes(f"{self.seed}"), digest_size=24)
        digest.update(_bytes(problem.text))
        scores, seen = np.empty(len(steps)), set()
        for line, (step, chain) in enumerate(zip(steps, chains, strict=True)):
            digest.update(_bytes(step))
            draws = _uniforms(digest.digest())
            score = self._score(problem, parse_step(step), chain, line, draws[0] < self.blindness, seen)
            scores[line] = score + self.noise * _normal(*draws[1:])
        return np.clip(scores, 0.0, 1.0)

    def _score(
        self, problem: ArithmeticProblem, said: ParsedStep, chain: Chain, line: int, blind: bool, seen: set[int]
    ) -> float:
        """The score before noise; a line that is found to be false joins `seen`."""
        if said.kind == "statement":
            return self.filler
        if said.kind == "answer":
            if said.answer == problem.answer:
                return self.right
            sound, follows = chain.done and said.answer == chain.value, True
        else:
            sound, follows = said.verdict == 1, any(link.equation in said.equations for link in chain.links)
        if not sound and not blind:
            seen.add(line)
            return self.wrong
        carries = follows and self.carried is not None and not seen.isdisjoint(chain.errors)
        return self.carried if carries else self.right


def _bytes(text: str) -> bytes:
    """The text with its length before it, so that no two sequences of texts run together to the same bytes."""
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8) + encoded


def _uniforms(digest: bytes) -> tuple[float, ...]:
    """Numbers in [0, 1), one for each eight bytes."""
    return tuple((int.from_bytes(digest[at : at + 8]) >> 11) / 2**53 for at in range(0, len(digest), 8))


def _normal(first: float, second: float) -> float:
    """A standard normal number from two uniform ones (Box and Muller)."""
    return math.sqrt(-2 * math.log(1 - first)) * math.cos(2 * math.pi * second)
