"""GSM8K: school arithmetic in words, the real files, answers compared as mathematics."""

import json
import re
from functools import cache

import numpy as np

from environments import data
from environments.reasoning.step_text import split_steps
from llm_scale.tasks.answers import last_number
from llm_scale.tasks.task import Problem, Split, Task, check_request

__all__ = ["GSM8KTask", "given_answer"]

INSTRUCTION = "Think step by step, and end with a line of the form '#### number'."
LONGEST = 100  # characters of an answer that is read as LaTeX
_MARKED = re.compile(r"####[ \t]*+([^\n]*+)")
_ANNOTATION = re.compile(r"<<[^<>\n]*+>>")  # how the gold solutions show what a calculator was asked


class GSM8KTask(Task):
    r"""Questions of GSM8K; its training and test files are the splits.

    What counts as the answer is the text after the last `####`, else in the last `\boxed{}`, else the last number of
    the whole text. Where that holds a number the last one decides; a fraction, root or percentage in LaTeX is compared
    by math-verify.

    Raises:
        ImportError: If math-verify is not installed.

    Source: Cobbe et al. 2021 (arXiv 2110.14168).
    """

    name = "gsm8k"
    max_new_tokens = 256

    def __init__(self) -> None:
        try:
            import math_verify  # noqa: F401  (here, so that no process that checks answers has to)
        except ImportError as error:
            raise ImportError("math-verify is not installed: pip install 'rewardlab[llm]'") from error

    def problems(self, split: Split, number: int, seed: int) -> list[Problem]:
        """Questions in random order, each again only once all have been asked.

        Raises:
            DataError: If the file is neither here nor can be downloaded.
        """
        check_request(split, number, seed)
        lines, rng = _lines(split), np.random.default_rng(seed)
        chosen: list[int] = []
        while len(chosen) < number:
            chosen += rng.permutation(len(lines)).tolist()
        return [self._problem(*lines[n], n) for n in chosen[:number]]

    def verify(self, problem: Problem, completion: str) -> float:
        """1 if the answer equals the gold one, else 0."""
        given = given_answer(completion)
        if "\\" in given:
            return float(len(given) <= LONGEST and _equal(problem.gold, given))
        return float("^" not in given and last_number(given) == last_number(problem.gold))

    def ends_on(self, completion: str) -> bool:
        """Whether there is no LaTeX to be read, or too much of it."""
        given = given_answer(completion)
        return "\\" not in given or len(given) > LONGEST

    def demonstration(self, problem: Problem) -> str:
        """The solution that the data set gives, without its notes for a calculator."""
        return problem.data["solution"]

    def steps(self, completion: str) -> list[str]:
        """The lines that are not blank."""
        return list(split_steps(completion))

    def format_ok(self, completion: str) -> bool:
        """Whether the last line that is not blank is a number after `####`."""
        last = (split_steps(completion) or ("",))[-1]
        return bool(_MARKED.fullmatch(last)) and last_number(last) is not None

    def _problem(self, question: str, solution: str, number: int) -> Problem:
        gold = solution.rsplit("####", 1)[1].strip().replace(",", "")
        return Problem(f"{question}\n{INSTRUCTION}", gold, number, {"solution": _ANNOTATION.sub("", solution)})


def given_answer(completion: str) -> str:
    r"""The part of a solution that gives its answer.

    Example:
        >>> given_answer("2 + 2 = 5\n#### 5\nNo, it is:\n#### 4"), given_answer("So \\boxed{\\frac{1}{2}}, or 0.5.")
        ('4', '\\frac{1}{2}')
    """
    marked = completion.rpartition("####")
    if marked[1]:
        return marked[2].strip().split("\n", 1)[0]
    boxed = completion.rpartition("\\boxed{")
    if boxed[1]:
        inside = _until_closed(boxed[2])
        return completion if inside is None else inside
    return completion


def _until_closed(text: str) -> str | None:
    """The text up to the bracket that closes one opened before it."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return text[:place]
    return None


def _equal(gold: str, given: str) -> bool:
    """Whether LaTeX is equal to a number. May take long: `verify_all` ends what does."""
    from math_verify import LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig()]  # not its plain expressions: those are evaluated as Python text
    return verify(parse(f"${gold}$", extraction_config=latex), parse(f"${given.strip('$ ')}$", extraction_config=latex))


@cache
def _lines(split: Split) -> tuple[tuple[str, str], ...]:
    with data.path(f"gsm8k/{split}.jsonl").open(encoding="utf-8") as file:
        return tuple((line["question"], line["answer"]) for line in map(json.loads, file))
