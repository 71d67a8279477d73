"""Sums of two numbers: the smallest task on which a small language model is neither lost nor perfect."""

import hashlib
from functools import cache
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

from llm_scale.tasks.answers import is_number_only, last_number
from llm_scale.tasks.task import Problem, Split, Task, check_request
from rewardlab.checks import check_choice, check_scalar

__all__ = ["AdditionTask"]

HELD_OUT = 4  # every fourth pair of numbers, up to order, is in the test split
WORDINGS = {"chat": "What is {} + {}? Answer with the number only.", "bare": "{}+{}="}


class AdditionTask(Task):
    """What is a + b? The last number of the answer counts.

    A quarter of the pairs is held out for testing; `3 + 5` and `5 + 3` are always in the same split. Pairs come in
    random order and again only once all have been asked.

    Of the chat wordings tried on all 100 one-digit pairs, this is the one that SmolLM2-135M-Instruct does best on: 58%
    of its greedy answers are right and 21% of 400 sampled at temperature 1, within 24 tokens (two digits, 100 pairs: 9%
    and 0.5% of 200, within 20 tokens). It tends to answer `3 + 5 = 8`, hardly ever with the number alone.

    Args:
        digits: Digits of both numbers: 1 (0 to 9) or 2 (10 to 99).
        style: "chat" asks in words, for a model that follows instructions; "bare" is `3+5=`, for one that continues
            text.

    Example:
        >>> task = AdditionTask()
        >>> problem = task.problems("train", 1, seed=0)[0]
        >>> task.verify(problem, f"The answer is {problem.gold}."), task.verify(problem, "no idea")
        (1.0, 0.0)
    """

    always_ends = True

    def __init__(self, digits: int = 1, style: Literal["chat", "bare"] = "chat") -> None:
        self.digits = check_scalar("digits", digits, low=1, high=2, whole=True)
        check_choice("style", style, WORDINGS)
        self.style = style
        self.name = "addition" if digits == 1 else f"addition_{digits}"
        self.max_new_tokens = 8 if style == "bare" else 32

    def problems(self, split: Split, number: int, seed: int) -> list[Problem]:
        """Pairs of the split in random order."""
        check_request(split, number, seed)
        pairs = _pairs(self.digits, split)
        rng = np.random.default_rng(seed)
        chosen: list[int] = []
        while len(chosen) < number:
            chosen += rng.permutation(len(pairs)).tolist()
        return [self._problem(*pairs[n]) for n in chosen[:number]]

    def verify(self, problem: Problem, completion: str) -> float:
        """1 if the last number of the completion is the sum, else 0."""
        return float(last_number(completion) == int(problem.gold))

    def demonstration(self, problem: Problem) -> str:
        """The sum alone."""
        return problem.gold

    def format_ok(self, completion: str) -> bool:
        """Whether there is a number and nothing else."""
        return is_number_only(completion)

    def _problem(self, left: int, right: int) -> Problem:
        prompt = WORDINGS[self.style].format(left, right)
        return Problem(prompt, str(left + right), left * 10**self.digits + right, {"left": left, "right": right})


@cache
def _pairs(digits: int, split: Split) -> tuple[tuple[int, int], ...]:
    """All ordered pairs of a split, sorted."""
    numbers = range(10 ** (digits - 1) if digits > 1 else 0, 10**digits)
    unordered = sorted(combinations_with_replacement(numbers, 2), key=_digest)
    tested = len(unordered) // HELD_OUT
    kept = unordered[:tested] if split == "test" else unordered[tested:]
    return tuple(sorted({pair for left, right in kept for pair in ((left, right), (right, left))}))


def _digest(pair: tuple[int, int]) -> bytes:
    """An order that looks random and is the same everywhere."""
    return hashlib.blake2b(f"{pair[0]}+{pair[1]}".encode(), digest_size=8).digest()
