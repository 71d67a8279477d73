"""Any data set of reasoning-gym as a task, scored by its own rule, but never by one that runs what a model wrote."""

import hashlib
import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from llm_scale.tasks.task import Problem, Split, Task, check_request

__all__ = ["ReasoningTask", "runs_answers"]

HELD_OUT = 4  # every fourth question, by its digest, is in the test split
SIZE = 10_000  # items that a data set is asked to have, unless its settings say otherwise
LOOKED_AT = 20  # gold answers that must be plain where the scorer evaluates answers
TRIES = 200  # items in a row that are not of the split, until the data set is taken to have none
INSTRUCTION = "Give the final answer between <answer> and </answer>."

_RUNS = {"eval", "exec", "compile", "__import__", "parse_expr", "sympify", "literal_eval"}
_PLAIN = re.compile(r"[0-9+\-*/()\[\]\s,.'\"]{0,200}", re.ASCII)
_POWER = re.compile(r"\*\s*\*")


class ReasoningTask(Task):
    """Questions of a reasoning-gym data set.

    The answer is what stands in the last `<answer>...</answer>`, else the last line that is not blank. Many of the data
    sets' own scorers give a wrong answer a little (0.01 to 0.05), and a part of what it holds of the right one. Some
    read an answer with `int` and raise an error where it is none: that answer is wrong.

    Some scorers evaluate the answer as Python text. Those see only answers of up to 200 digits, brackets, commas,
    quotes and + - * /, without powers, in which no name and so no code can stand; any other answer is right only where
    it is the gold one letter by letter. Data sets whose gold answers are of another kind are refused, and so are those
    that run programs to make their questions.

    Args:
        dataset: Name of the data set, `chain_sum` for example.
        **settings: Its own settings.

    Raises:
        ImportError: If reasoning-gym is not installed.
        ValueError: If there is no such data set or setting, or its scorer would run answers that are not plain.

    Example:
        >>> task = ReasoningTask("chain_sum", max_terms=2, max_digits=1)
        >>> problem = task.problems("train", 1, seed=0)[0]
        >>> task.verify(problem, f"It must be <answer>{problem.gold}</answer>.")
        1.0
    """

    max_new_tokens = 256

    def __init__(self, dataset: str, **settings: Any) -> None:
        self.name = f"reasoning_gym_{dataset}"
        self.dataset = _created(dataset, settings)
        scoring = runs_answers(type(self.dataset).score_answer)
        if "exec" in runs_answers(type(self.dataset).__getitem__):
            raise ValueError(f"dataset {dataset!r} runs programs to make its questions; it is not available")
        self.guarded = bool(scoring)
        golds = (_gold(self.dataset[n]) for n in range(LOOKED_AT)) if scoring else ()
        strange = next((gold for gold in golds if not _is_plain(gold)), None)
        if strange is not None:
            raise ValueError(
                f"dataset {dataset!r}: its scorer passes the model's answer to {', '.join(sorted(scoring))}, and its "
                f"answers ({strange[:60]!r}) are not plain numbers that could be let through; it is not available"
            )

    def problems(self, split: Split, number: int, seed: int) -> list[Problem]:
        """Random questions; a quarter of all, by their wording, is held out for testing.

        Raises:
            ValueError: If the data set has no question in the split.
        """
        check_request(split, number, seed)
        rng = np.random.default_rng(seed)
        found: list[Problem] = []
        misses = 0
        while len(found) < number:
            item = int(rng.integers(len(self.dataset)))
            entry = self.dataset[item]
            held_out = hashlib.blake2b(entry["question"].encode(), digest_size=8).digest()[0] % HELD_OUT == 0
            misses = 0 if held_out == (split == "test") else misses + 1
            if not misses:
                prompt = f"{entry['question']}\n{INSTRUCTION}"
                found.append(Problem(prompt, _gold(entry), item, {"entry": entry}))
            elif misses > TRIES:
                raise ValueError(f"{self.name} has no question in the {split} split among {TRIES} that were tried")
        return found

    def verify(self, problem: Problem, completion: str) -> float:
        """The score of the data set's own rule, in [0, 1]."""
        answer = given_answer(completion)
        if self.guarded and not _is_plain(answer):
            return float(answer == problem.gold)
        try:
            return float(self.dataset.score_answer(answer, problem.data["entry"]))
        except Exception:  # most scorers raise at an answer of another form than theirs, and such an answer is wrong
            return 0.0

    def demonstration(self, problem: Problem) -> str | None:
        """The gold answer in its tags; None where a question has many answers and names none."""
        return f"<answer>{problem.gold}</answer>" if problem.gold else None

    def format_ok(self, completion: str) -> bool:
        """Whether there is one answer in tags."""
        return completion.count("<answer>") == 1 == completion.count("</answer>") and bool(_tagged(completion))


def given_answer(completion: str) -> str:
    """What stands in the last pair of answer tags, else the last line that is not blank."""
    tagged = _tagged(completion)
    if tagged is not None:
        return tagged
    lines = completion.strip().splitlines()
    return lines[-1].strip() if lines else ""


def runs_answers(function: types.FunctionType) -> set[str]:
    """Names by which a function, or one of its own module or class that it calls, evaluates text as a program.

    Read from the names in the compiled code, so a text that is evaluated in a roundabout way is not found.
    """
    own = {name for name, value in function.__globals__.items() if _package(value) == _package(function)}
    return {name for code in _reached(function) for name in code.co_names if name in _RUNS - own}


def _reached(function: types.FunctionType) -> Iterator[types.CodeType]:
    """The code of a function and of all that it can reach within its package by name."""
    owner = {}
    for value in function.__globals__.values():
        if isinstance(value, type) and value.__module__ == function.__module__:
            owner |= {name: getattr(each, "__func__", each) for name, each in vars(value).items()}
    waiting, seen = [function.__code__], set()
    while waiting:
        code = waiting.pop()
        if code in seen:
            continue
        seen.add(code)
        yield code
        waiting += [const for const in code.co_consts if isinstance(const, types.CodeType)]
        for name in code.co_names:
            for each in (owner.get(name), function.__globals__.get(name)):
                if isinstance(each, types.FunctionType) and _package(each) == _package(function):
                    waiting.append(each.__code__)


def _package(value: Any) -> str:
    return (getattr(value, "__module__", None) or "").split(".")[0]


def _gold(entry: dict[str, Any]) -> str:
    return "" if entry["answer"] is None else str(entry["answer"])


def _tagged(completion: str) -> str | None:
    before, closed, _ = completion.rpartition("</answer>")
    _, opened, inside = before.rpartition("<answer>")
    return inside.strip() if closed and opened else None


def _is_plain(answer: str) -> bool:
    return bool(_PLAIN.fullmatch(answer)) and not _POWER.search(answer)


def _created(dataset: str, settings: dict[str, Any]) -> Any:
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise ImportError("reasoning-gym is not installed: pip install 'rewardlab[llm]'") from error
    if dataset not in DATASETS:
        raise ValueError(f"dataset is {dataset!r}, expected one of {', '.join(sorted(DATASETS))}")
    try:
        return reasoning_gym.create_dataset(dataset, **{"seed": 0, "size": SIZE} | settings)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"dataset {dataset!r} does not take the settings {settings}: {error}") from error
