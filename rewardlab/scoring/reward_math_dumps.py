"""Readers of RewardMATH's published score files: reward models, judges that compare, process reward models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from rewardlab.process.aggregation import Aggregation, aggregate_steps
from rewardlab.scoring.judges import judged
from rewardlab.scoring.rows import FormatError, Row, read_rows

__all__ = [
    "PairwiseVerdicts",
    "SolutionScores",
    "StepScores",
    "read_pairwise_verdicts",
    "read_solution_scores",
    "read_step_pairs",
    "read_step_scores",
]

RIGHT = ("human_to_GPT-4", "chosen")  # what the files call the right solution
LETTERS = ("A", "B")


@dataclass(frozen=True, eq=False)
class SolutionScores:
    """One score a solution.

    Args:
        problems: Text of each problem.
        sources: Who wrote each solution, in the order of the scores.
        scores: `(problems, solutions)`, the right solution first.
    """

    problems: tuple[str, ...]
    sources: tuple[tuple[str, ...], ...]
    scores: Float[np.ndarray, "problems solutions"]

    def of(self, problems: Sequence[str]) -> Float[np.ndarray, "some solutions"]:
        """Scores of these problems in this order; the last row where a file holds a problem twice.

        Raises:
            KeyError: If a problem is not among them.
        """
        row = {problem: index for index, problem in enumerate(self.problems)}
        return self.scores[[row[problem] for problem in problems]]


@dataclass(frozen=True, eq=False)
class StepScores:
    """One probability a step of a solution.

    Args:
        problems: Text of each problem.
        sources: Who wrote each solution, in the order of the scores.
        steps: `(problems, solutions, longest)`, the right solution first; 0 after a solution's last step.
        present: False after a solution's last step.
    """

    problems: tuple[str, ...]
    sources: tuple[tuple[str, ...], ...]
    steps: Float[np.ndarray, "problems solutions steps"]
    present: Bool[np.ndarray, "problems solutions steps"]

    def aggregate(self, aggregation: Aggregation) -> SolutionScores:
        """One score a solution, by `rewardlab.process.aggregate_steps`."""
        return SolutionScores(self.problems, self.sources, aggregate_steps(self.steps, aggregation, self.present))


@dataclass(frozen=True, eq=False)
class PairwiseVerdicts:
    """A judge's comparisons of the right solution with each wrong one.

    Args:
        problems: Text of each problem.
        sources: Who wrote each wrong solution.
        answers: `(problems, wrong)`, the letter that the judge named, None where none could be read.
        right: `(problems, wrong)`, the letter under which the right solution was shown.
    """

    problems: tuple[str, ...]
    sources: tuple[tuple[str, ...], ...]
    answers: np.ndarray
    right: np.ndarray

    @property
    def won(self) -> Bool[np.ndarray, "problems wrong"]:
        """Where the judge named the right solution; an unreadable answer is a duel lost."""
        return judged(self.answers, self.right, unparsed=0.0) == 1


def read_solution_scores(path: str | Path) -> SolutionScores:
    """Scores of a reward model or ratings of a judge. Rows are kept as they are, also where a problem comes twice.

    Args:
        path: The file.

    Returns:
        Problems, sources and scores (problems, solutions) in float64, the right solution first.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    rows = read_rows(path)
    sources, scores = zip(*(_right_first(row) for row in rows), strict=True)
    for row, values in zip(rows, scores, strict=True):
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            raise row.error("score", "a list of numbers")
    _check_alike(rows, scores)
    return SolutionScores(_problems(rows), sources, np.array(scores, dtype=np.float64))


def read_step_scores(path: str | Path) -> StepScores:
    """Step scores of a process reward model on each solution.

    Args:
        path: The file.

    Returns:
        Problems, sources and step scores (problems, solutions, steps), padded, with a mask of the steps there are.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    rows = read_rows(path)
    sources, scores = zip(*(_right_first(row) for row in rows), strict=True)
    for row, values in zip(rows, scores, strict=True):
        if not all(_is_steps(value) for value in values):
            raise row.error("score", "a list of lists of numbers, none empty")
    _check_alike(rows, scores)
    return StepScores(_problems(rows), sources, *_padded(scores))


def read_step_pairs(path: str | Path) -> StepScores:
    """Step scores on RewardBench's mathematics, where chosen and rejected solutions have rows of their own.

    Args:
        path: The file.

    Returns:
        As `read_step_scores`, with two solutions a problem, the chosen one first.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    pairs: dict[str, dict[str, Row]] = {}
    rows = read_rows(path)
    for row in rows:
        pair = pairs.setdefault(row.label("problem_id"), {})
        kind = row.choice("solution_type", ("chosen", "rejected"))
        if kind in pair:
            raise row.error("solution_type", f"one {kind} solution of problem {row.label('problem_id')}")
        pair[kind] = row
    scores = []
    for name, pair in pairs.items():
        if len(pair) != 2:
            raise FormatError(f"{path}: problem_id {name} has only a {next(iter(pair))} solution, expected both")
        outputs = [pair[kind].row("output") for kind in ("chosen", "rejected")]
        for output in outputs:
            if not _is_steps(output.fields.get("step_scores")):
                raise output.error("step_scores", "a list of numbers, not empty")
        scores.append(tuple(output.fields["step_scores"] for output in outputs))
    problems = _problems([pair["chosen"] for pair in pairs.values()])
    return StepScores(problems, (("chosen", "rejected"),) * len(problems), *_padded(tuple(scores)))


def read_pairwise_verdicts(path: str | Path) -> PairwiseVerdicts:
    """Letters that a judge named, and those it should have named.

    Args:
        path: The file.

    Returns:
        Problems, who wrote each wrong solution, and letters (problems, wrong): those named, None where none could be
        read, and the right ones.

    Raises:
        FormatError: If the file is not of this form; names file, row and field.
    """
    rows = read_rows(path)
    for row in rows:
        answers, right = row.any_of("score", list), row.any_of("chosen_position", list)
        if not all(answer is None or answer in LETTERS for answer in answers):
            raise row.error("score", 'a list of "A", "B" or null')
        if len(right) != len(answers) or not all(letter in LETTERS for letter in right):
            raise row.error("chosen_position", f'{len(answers)} letters, each "A" or "B"')
        if len(row.texts("solution_reference")) != len(answers):
            raise row.error("solution_reference", f"{len(answers)} names, as many as scores")
    answers = [row.fields["score"] for row in rows]
    _check_alike(rows, answers)
    return PairwiseVerdicts(
        _problems(rows),
        tuple(row.texts("solution_reference") for row in rows),
        np.array(answers, dtype=object),
        np.array([row.fields["chosen_position"] for row in rows], dtype=object),
    )


def _right_first(row: Row) -> tuple[tuple[str, ...], tuple]:
    """Sources and scores of a row, those of the right solution moved to the front."""
    sources, scores = row.texts("solution_reference"), row.any_of("score", list)
    if len(scores) != len(sources) or len(scores) < 2:
        raise row.error("score", f"{len(sources)} scores, as many as solution_reference has names, and at least 2")
    places = [place for place, source in enumerate(sources) if source in RIGHT]
    if len(places) != 1:
        raise row.error("solution_reference", f"one right solution ({' or '.join(map(repr, RIGHT))})")
    order = [places[0], *(place for place in range(len(sources)) if place != places[0])]
    return tuple(sources[place] for place in order), tuple(scores[place] for place in order)


def _problems(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row.text("problem") for row in rows)


def _is_steps(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(step, int | float) and not isinstance(step, bool) for step in value)
    )


def _check_alike(rows: Sequence[Row], scores: Sequence[Sequence]) -> None:
    for row, values in zip(rows, scores, strict=True):
        if len(values) != len(scores[0]):
            raise row.error("score", f"{len(scores[0])} scores, as many as the first row has")


def _padded(scores: Sequence[Sequence[Sequence[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Ragged step scores as one array, 0 where there is no step, and where there is one."""
    lengths = np.array([[len(steps) for steps in solutions] for solutions in scores])
    present = np.arange(lengths.max()) < lengths[..., None]
    padded = np.zeros(present.shape)
    padded[present] = np.concatenate([steps for solutions in scores for steps in solutions])
    return padded, present
