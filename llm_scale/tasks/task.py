"""What a task is: problems to ask, a rule that checks an answer, and, where it has them, steps that can be checked."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from rewardlab.checks import check_choice, check_scalar

__all__ = ["SPLITS", "Problem", "Split", "Task", "check_request"]

Split: TypeAlias = Literal["train", "test"]
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Problem:
    """One question with its answer.

    Args:
        prompt: What the model is asked, without any chat template.
        gold: The right answer, in words or digits.
        number: Which problem of its task it is: the same question has the same number in every draw.
        data: What the task's own verifier needs besides.
    """

    prompt: str
    gold: str
    number: int
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Task(ABC):
    """Problems and a verifier; a subclass needs a name, `problems` and `verify`, the rest is optional.

    Attributes:
        name: What the task is called in files and messages.
        max_new_tokens: As long as an answer may need to be, in tokens of a common tokenizer.
        always_ends: Whether `verify` is known to end at once on any text; see `ends_on`.

    Example:
        >>> class LastLetter(Task):
        ...     name, max_new_tokens = "last_letter", 4
        ...     words = {"train": ("stone", "river", "cloud", "grass"), "test": ("field", "night")}
        ...
        ...     def problems(self, split, number, seed):
        ...         first = seed % len(self.words[split])
        ...         chosen = [(first + n) % len(self.words[split]) for n in range(number)]
        ...         return [self.problem(self.words[split][n]) for n in chosen]
        ...
        ...     def problem(self, word):
        ...         number = (self.words["train"] + self.words["test"]).index(word)
        ...         return Problem(f"What is the last letter of '{word}'?", gold=word[-1], number=number)
        ...
        ...     def verify(self, problem, completion):
        ...         return float(completion.strip(" .'").lower() == problem.gold)
        >>> problem = LastLetter().problems("train", 1, seed=1)[0]
        >>> problem.prompt, LastLetter().verify(problem, "R.")
        ("What is the last letter of 'river'?", 1.0)
    """

    name: str
    max_new_tokens: int = 32
    always_ends: bool = False

    @abstractmethod
    def problems(self, split: Split, number: int, seed: int) -> list[Problem]:
        """`number` problems of a split, the same for the same seed; no problem is in both splits."""

    @abstractmethod
    def verify(self, problem: Problem, completion: str) -> float:
        """How right a completion is, in [0, 1]. May raise: `verify_all` counts that as a failure of the verifier."""

    def ends_on(self, completion: str) -> bool:
        """Whether `verify` is known to end at once on this completion.

        Where it is not, `verify_all` runs it in a process of its own under a time limit.
        """
        return self.always_ends

    def demonstration(self, problem: Problem) -> str | None:
        """A right completion, to learn the task's form from; None where the task has none."""
        return None

    def steps(self, completion: str) -> list[str] | None:
        """The steps of a completion, in order; None where the task has no steps."""
        return None

    def step_labels(self, problem: Problem, steps: Sequence[str]) -> list[float] | None:
        """How right each step is, in [0, 1], given those before it; None where the task cannot tell."""
        return None

    def format_ok(self, completion: str) -> bool:
        """Whether a completion has the form that the prompt asks for, be it right or wrong."""
        return bool(completion.strip())


def check_request(split: str, number: int, seed: int) -> None:
    """Do nothing if these are arguments that `problems` can take.

    Raises:
        TypeError, ValueError: If the split is another, or a number is not whole or negative.
    """
    check_choice("split", split, SPLITS)
    check_scalar("number", number, low=0, whole=True)
    check_scalar("seed", seed, low=0, whole=True)
