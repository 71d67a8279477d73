"""The study behind the figure of step labels: solutions with known first errors, labelled in every way there is."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from environments.reasoning.arithmetic_chain import ArithmeticTask, State, draw_problem
from environments.reasoning.synthetic_prm import SyntheticPRM
from rewardlab.process.first_error import first_below, first_error_accuracy, largest_drop, lowest_score
from rewardlab.process.rollout_labels import expected_hard_label, label_prefixes, solution_prefixes
from rewardlab.process.tree_search import RULES, grow_tree, tree_labels

OPERATIONS, LONGEST = 5, 12
SOLVER = {"error_rate": 0.15, "filler_rate": 0.1, "repair_rate": 0.08, "max_steps": LONGEST}
BUDGETS = (1, 2, 4, 8, 16)  # rollouts of each step
BUDGET = 8
TOOL_ERRORS = (0.1, 0.2, 0.3, 0.4, 0.5)  # share of the tool's verdicts that are turned round
RIGHT, BAD, HALF, PREFIX = "right", "30% wrong", "half undecided", "right, sees the prefix"
TOOLS = {RIGHT: 0.0} | {f"{share:.0%} wrong": share for share in TOOL_ERRORS}
NOISES = (0.0, 0.1, 0.2, 0.3)  # of the synthetic process reward model
JUDGES = {"by itself": 0.9, "whole prefix": 0.3}  # score of a true line that carries an error on


@dataclass(frozen=True)
class Tool:
    """A task with another tool: some of its verdicts on the way are turned round, or it has none, or it sees more.

    The fate of a verdict is fixed by the seed and the state, so asking again does not help. Of ended solutions the
    answer is compared with the right one, as before.

    Args:
        task: What is to be solved; its own tool is a calculator, which judges each line by itself.
        error_rate: Share of the verdicts that are turned round.
        undecided_rate: Share of those that are left out.
        sees_prefix: Whether a line that carries an error on is wrong to the tool.
        seed: Which verdicts they are.
    """

    task: ArithmeticTask
    error_rate: float = 0.0
    undecided_rate: float = 0.0
    sees_prefix: bool = False
    seed: int = 0

    def start(self) -> State:
        """As the task."""
        return self.task.start()

    def legal_steps(self, state: State) -> Sequence[str]:
        """As the task."""
        return self.task.legal_steps(state)

    def apply(self, state: State, step: str) -> State:
        """As the task."""
        return self.task.apply(state, step)

    def verify(self, state: State) -> int:
        """As the task, but for the tool's faults."""
        said = self.task.verify(state)
        if not said or self.task.has_ended(state):
            return said
        if self.sees_prefix and not self.task.step_labels(state)[-1]:
            said = -1
        digest = hashlib.blake2b(repr((self.seed, state)).encode(), digest_size=8).digest()
        luck = int.from_bytes(digest) / 2**64
        if luck < self.error_rate:
            return -said
        return 0 if luck < self.error_rate + self.undecided_rate else said


@dataclass(frozen=True)
class Solution:
    """A solution to label: its task, its lines up to its first error, or all but the answer, and where the error is."""

    task: ArithmeticTask
    prefixes: tuple[State, ...]
    first_error: int


def draw_solutions(number: int, rng: np.random.Generator) -> list[Solution]:
    """Answered solutions of different problems, half of them with an error; what follows an error is not labelled."""
    found: dict[bool, list[Solution]] = {True: [], False: []}
    while min(map(len, found.values())) < number // 2:
        task = ArithmeticTask(draw_problem(OPERATIONS, rng), **SOLVER)
        lines = task.sample(rng)
        if not lines[-1].startswith("Answer"):
            continue
        error = task.first_error(lines)
        prefixes = solution_prefixes(task, lines)[: error + 1 if error >= 0 else -1]
        found[error >= 0].append(Solution(task, prefixes, error))
    return [solution for kind in found.values() for solution in kind[: number // 2]]


def by_budget(solutions: list[Solution], rng: np.random.Generator) -> Iterator[dict]:
    """All methods with a right tool, and the biases of the rollout labels."""
    values = np.array([s.task.success_probability(prefix) for s in solutions for prefix in s.prefixes])
    for budget in BUDGETS:
        yield from _rollout_rows(solutions, budget, values, rng)
        yield from _tree_rows(solutions, budget, rng)


def by_tool(solutions: list[Solution], rng: np.random.Generator) -> Iterator[dict]:
    """The tree's methods at one budget, with tools of every kind."""
    for tool_error in TOOL_ERRORS:
        yield from _tree_rows(solutions, BUDGET, rng, f"{tool_error:.0%} wrong", error_rate=tool_error)
    yield from _tree_rows(solutions, BUDGET, rng, HALF, undecided_rate=0.5)
    yield from _tree_rows(solutions, BUDGET, rng, PREFIX, sees_prefix=True)


def _rollout_rows(
    solutions: list[Solution], budget: int, values: np.ndarray, rng: np.random.Generator
) -> Iterator[dict]:
    found = [label_prefixes(s.task, s.prefixes, s.task.behaviour, rng, rollouts=budget) for s in solutions]
    for kind in ("hard", "soft"):
        labels = [getattr(part, kind).astype(float) for part in found]
        calls = sum(part.rollouts.sum() for part in found)  # each looks at one answer, and at nothing else
        yield _scored(kind, solutions, labels, calls) | {"budget": budget, "tool": RIGHT}
        yield {"part": "bias", "method": kind, "budget": budget, "value": np.concatenate(labels).mean() - values.mean()}
    inflated = expected_hard_label(values, budget)
    yield {"part": "bias", "method": "closed form", "budget": budget, "value": (inflated - values).mean()}


def _tree_rows(
    solutions: list[Solution], budget: int, rng: np.random.Generator, name: str = RIGHT, **faults
) -> Iterator[dict]:
    """A tree from every prefix, of as many rounds as the other methods have rollouts; its root tells of the prefix."""
    where = {"budget": budget, "tool": name}
    tools = [Tool(solution.task, **faults, seed=int(rng.integers(2**32))) for solution in solutions]
    for outcome_weight in (None, 1.0):
        grow = {"rounds": budget, "depth": LONGEST, "outcome_weight": outcome_weight}
        trees = [
            [grow_tree(tool, solution.task.behaviour, rng, root=prefix, **grow) for prefix in solution.prefixes]
            for solution, tool in zip(solutions, tools)
        ]
        calls = sum(tree.graph["verifications"] for row in trees for tree in row)
        rules = {"value": "value", "verdict": "verdict"} if outcome_weight is None else {"weighted": "value"}
        for method, rule in rules.items():
            labels = [_probabilities(tree_labels(tree, rule)[0].label for tree in row) for row in trees]
            yield _scored(method, solutions, labels, calls) | where
    labels = [_probabilities(map(tool.verify, solution.prefixes)) for solution, tool in zip(solutions, tools)]
    yield _scored("tool", solutions, labels, sum(map(len, labels))) | where


def _probabilities(said: Iterable[int]) -> np.ndarray:
    """Labels 1, 0 and -1 as chances of being right; the undecided is not below a half, so nobody is accused by it."""
    return (1 + np.array(list(said))) / 2


def _scored(method: str, solutions: list[Solution], labels: list[np.ndarray], calls: int) -> dict:
    """How good labels in [0, 1] are: the first error by ProcessBench's F1, and balanced accuracy over steps."""
    longest = max(map(len, labels))
    padded = np.array([np.pad(row, (0, longest - len(row)), constant_values=1.0) for row in labels])
    actual = np.array([solution.first_error for solution in solutions])
    said, truth = np.concatenate(labels) >= 0.5, np.concatenate([_truth(solution) for solution in solutions])
    return {
        "part": "labels",
        "method": method,
        "f1": first_error_accuracy(first_below(padded, 0.5), actual).f1,
        "accuracy": balanced_accuracy(said, truth),
        "named": float((~said[~truth]).mean()),
        "calls": calls / sum(map(len, labels)),
    }


def _truth(solution: Solution) -> np.ndarray:
    """Which of the labelled lines are right: all but the first error, which is the last of them."""
    return np.arange(len(solution.prefixes)) != solution.first_error


def balanced_accuracy(said: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the shares of right and of wrong steps that are labelled so."""
    return float((said[truth].mean() + (~said[~truth]).mean()) / 2)


def whole_trees(solutions: list[Solution], rng: np.random.Generator) -> Iterator[dict]:
    """One tree a problem, from its start, with the rounds that its solution's steps would have had: as published.

    Its nodes are other steps than those of the solutions, so only the balanced accuracy can be compared.
    """
    found: dict[str, list] = {rule: [] for rule in RULES}
    truth, calls = [], 0
    for solution in solutions:
        task = solution.task
        tree = grow_tree(task, task.behaviour, rng, rounds=BUDGET * len(solution.prefixes), depth=LONGEST)
        calls += tree.graph["verifications"]
        kept = [place for place, node in tree.nodes(data=True) if place and node["visits"] and _judged(task, node)]
        truth += [task.first_error(tree.nodes[place]["prefix"]) < 0 for place in kept]
        for rule, labels in found.items():
            said = tree_labels(tree, rule)
            labels += [said[place].label for place in kept]
    for rule, labels in found.items():
        decided = np.array(labels) != 0
        accuracy = balanced_accuracy(np.array(labels)[decided] > 0, np.array(truth)[decided])
        share = {"accuracy": accuracy, "calls": calls / len(labels), "kept": decided.mean(), "value": len(labels)}
        yield {"part": "whole tree", "method": rule, "budget": BUDGET, **share}


def _judged(task: ArithmeticTask, node: dict) -> bool:
    """Whether a node is on the way and no error came before its last line."""
    return not node["ended"] and task.first_error(node["prefix"][:-1]) < 0


def locators(number: int, rng: np.random.Generator) -> Iterator[dict]:
    """Share of first errors that the lowest score and the largest drop find, in solutions with an uncorrected one."""
    wrong: list[tuple[ArithmeticTask, State, int]] = []
    while len(wrong) < number:
        task = ArithmeticTask(draw_problem(8, rng), max_steps=LONGEST, error_rate=0.15, filler_rate=0.1)
        lines = task.sample(rng)
        if lines[-1].startswith("Answer") and task.first_error(lines) >= 0:
            wrong.append((task, lines, task.first_error(lines)))
    actual = np.array([error for *_, error in wrong])
    mask = np.arange(LONGEST) < np.array([len(lines) for _, lines, _ in wrong])[:, None]
    for (judge, carried), noise in ((judge, noise) for judge in JUDGES.items() for noise in NOISES):
        model = SyntheticPRM(carried=carried, noise=noise, seed=int(rng.integers(2**32)))
        scores = np.zeros((number, LONGEST))
        for row, (task, lines, _) in zip(scores, wrong):
            row[: len(lines)] = model(task, lines)
        for locator, found in (("lowest", lowest_score(scores, mask)), ("drop", largest_drop(scores, mask))):
            where = {"part": "location", "judge": judge, "noise": noise, "method": locator}
            yield where | {"accuracy": float((found == actual).mean())}
