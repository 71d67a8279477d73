"""Gold scores seen through flaws that are known: a liking for length, blindness to filler, noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from llm_scale.tasks.task import Problem, Task
from rewardlab.adapters.completion_steps import lines
from rewardlab.checks import as_generator, check_scalar

__all__ = ["FillerBlind", "Flaw", "FlawedReward", "LabelNoise", "LengthBias", "flawed_step_labels", "states_nothing"]


def states_nothing(step: str) -> bool:
    """Whether a step of arithmetic says nothing: it holds no digit.

    Example:
        >>> states_nothing("Let me think."), states_nothing("7+5=12")
        (True, False)
    """
    return not any(character.isdigit() for character in step)


class Flaw:
    """What a judge gets wrong; a subclass changes one of the four, the others stay innocent."""

    flip_rate: float = 0.0  # share of labels that come out the wrong way round

    def seen(self, text: str) -> str:
        """The part of an answer that the judge reads."""
        return text

    def bias(self, text: str) -> float:
        """What is added to the gold score of an answer, in its units."""
        return 0.0

    def step_label(self, step: str, label: float) -> float:
        """The judge's label of a step whose gold label is given."""
        return label


@dataclass(frozen=True)
class LengthBias(Flaw):
    """Longer answers seem better, whatever they say.

    Args:
        strength: Gold units per unit of length; below 0 for a liking for short answers.
        length: Length of an answer; by default in characters.
    """

    strength: float
    length: Callable[[str], float] = len

    def __post_init__(self):
        check_scalar("strength", self.strength)

    def bias(self, text: str) -> float:
        """Strength times length."""
        return self.strength * self.length(text)


@dataclass(frozen=True)
class FillerBlind(Flaw):
    """Steps that say nothing are not noticed in an answer, and harmless when steps are judged one by one.

    Args:
        filler: Whether a step is filler.
        split: Cuts an answer into consecutive pieces; by default its lines.
        label: What a step of filler is worth to a judge of steps, in [0, 1].
    """

    filler: Callable[[str], bool] = states_nothing
    split: Callable[[str], Sequence[str]] = lines
    label: float = 1.0

    def __post_init__(self):
        check_scalar("label", self.label, low=0, high=1)

    def seen(self, text: str) -> str:
        """The steps that are not filler, one a line."""
        return "\n".join(piece.strip() for piece in self.split(text) if piece.strip() and not self.filler(piece))

    def step_label(self, step: str, label: float) -> float:
        """`label` for filler, the gold label for the rest."""
        return self.label if self.filler(step) else label


@dataclass(frozen=True)
class LabelNoise(Flaw):
    """A share of the labels are the wrong way round. Scores stay as they are: noise is in what is said of them.

    Args:
        rate: Share in [0, 0.5].
    """

    rate: float

    def __post_init__(self):
        check_scalar("rate", self.rate, low=0, high=0.5)

    @property
    def flip_rate(self) -> float:
        """The rate."""
        return self.rate


@dataclass(frozen=True)
class FlawedReward:
    r"""A judge with flaws: reward of one answer, as a signal or as the maker of preferences.

    score = gold of what the judge reads + biases of the whole answer.

    Args:
        gold: True score of an answer to a problem, such as `task.verify`.
        flaws: Its flaws; what is read passes through them in order, biases add up.

    Example:
        >>> problem = Problem("What is 3 + 5?", gold="8", number=0)
        >>> reward = FlawedReward(lambda problem, text: float(text == problem.gold), (FillerBlind(), LengthBias(0.1)))
        >>> reward(problem, "8"), round(reward(problem, "Let me think.\n8"), 9)
        (1.1, 2.5)
    """

    gold: Callable[[Problem, str], float]
    flaws: Sequence[Flaw] = ()

    def __call__(self, problem: Problem, text: str) -> float:
        """The flawed score of one answer."""
        seen = text
        for flaw in self.flaws:
            seen = flaw.seen(seen)
        return float(self.gold(problem, seen)) + sum(flaw.bias(text) for flaw in self.flaws)

    def scores(self, problems: Sequence[Problem], texts: Sequence[str]) -> Float[np.ndarray, " samples"]:
        """The flawed score of every answer, one problem an answer.

        Raises:
            ValueError: If there are not as many answers as problems, or a score is not finite (names the sample).
        """
        scores = np.array([self(problem, text) for problem, text in zip(problems, texts, strict=True)])
        if not np.isfinite(scores).all():
            row = int(np.argmax(~np.isfinite(scores)))
            raise ValueError(
                f"the score of sample {row} ({texts[row]!r:.60}) is {scores[row]}, expected a finite number"
            )
        return scores

    @property
    def flip_rate(self) -> float:
        """Chance that a label of this judge is the wrong way round, all its noise together."""
        rate = 0.0
        for flaw in self.flaws:
            rate = rate * (1 - flaw.flip_rate) + (1 - rate) * flaw.flip_rate
        return rate


def flawed_step_labels(
    task: Task,
    problem: Problem,
    steps: Sequence[str],
    flaws: Sequence[Flaw] = (),
    rng: int | np.random.Generator | None = None,
) -> list[float]:
    """Labels of the steps of one answer, as a judge with flaws gives them.

    Args:
        task: Whose `step_labels` are gold.
        problem: What was asked.
        steps: The steps of the answer.
        flaws: The judge's, in order; biases of whole answers play no part.
        rng: Seed or generator for label noise (a flipped label l becomes 1 - l), needed only where there is some.

    Raises:
        ValueError: If the task has no labels of steps.
    """
    labels = task.step_labels(problem, steps)
    if labels is None:
        raise ValueError(f"task {task.name!r} gives no labels of steps for problem {problem.number}")
    for flaw in flaws:
        labels = [flaw.step_label(step, label) for step, label in zip(steps, labels, strict=True)]
    flip = FlawedReward(task.verify, flaws).flip_rate
    if flip == 0:
        return labels
    flipped = as_generator(rng).random(len(labels)) < flip
    return [1 - label if wrong else label for label, wrong in zip(labels, flipped, strict=True)]
