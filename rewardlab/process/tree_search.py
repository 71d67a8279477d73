"""Labels of steps from a tree search whose steps a tool verifies: grounded in what is checked, not only in endings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from rewardlab.checks import as_generator, check_choice, check_scalar
from rewardlab.process.tasks import Policy, State, StepTask, check_step_task, checked_verdict, draw_step

if TYPE_CHECKING:
    from networkx import DiGraph

__all__ = ["RULES", "Rule", "TreeLabel", "grow_tree", "hybrid_value", "tree_labels", "uct"]

Rule = Literal["value", "verdict", "agreement"]
RULES: tuple[Rule, ...] = get_args(Rule)


def hybrid_value(verdicts: Sequence[int], outcome: int, outcome_weight: float | None = None) -> float:
    """Value of one simulation: what the tool said of its steps, early ones most, and whether its answer was right.

    With N steps on the way, V = sum over i from 0 to N-1 of (1/N) verdicts[i] (N - i)/N + weight * outcome.

    By default the outcome's weight is 1/N, as in the method's code, so it vanishes with the length: ten steps that look
    right before a wrong answer have a value of 0.45, above 0. Give a weight above (N + 1) / (2N), for instance 1, and
    the outcome decides the sign.

    Args:
        verdicts: 1 (right), -1 (wrong) or 0 (undecided) for each step on the way to the answer; may be empty.
        outcome: 1, -1 or 0 for the answer.
        outcome_weight: Weight of the outcome, at least 0; None for 1/N, and 1 where there is no step on the way.

    Returns:
        A value in [-(N+1)/(2N) - weight, (N+1)/(2N) + weight], so up to 2 for N = 1 by default.

    Raises:
        ValueError: If a verdict or the outcome is not 1, -1 or 0, or the weight is negative.

    Source: GroundedPRM (arXiv 2510.14942), by its published code; the equation in the paper was not read, and is said
        to have an explicit weight.

    Example:
        >>> [round(hybrid_value(verdicts, -1), 3) for verdicts in ([], [1, 1, 1], [1] * 10)]
        [-1.0, 0.333, 0.45]
        >>> round(hybrid_value([1] * 10, -1, outcome_weight=1.0), 3)
        -0.45
    """
    for place, verdict in enumerate(verdicts):
        check_choice(f"verdicts[{place}]", verdict, (1, -1, 0))
    check_choice("outcome", outcome, (1, -1, 0))
    number = len(verdicts)
    if outcome_weight is None:
        outcome_weight = 1 / max(number, 1)
    check_scalar("outcome_weight", outcome_weight, low=0.0)
    on_the_way = sum(int(verdict) * (number - place) for place, verdict in enumerate(verdicts)) / max(number, 1) ** 2
    return on_the_way + outcome_weight * int(outcome)


def uct(value: float, visits: int, parent_visits: int, exploration: float = 1.414) -> float:
    """Upper confidence bound of a child: value + exploration * sqrt(ln(parent_visits) / visits), infinite if unvisited.

    Args:
        value: Mean of the values backed up to the child.
        visits: How often it was visited.
        parent_visits: How often its parent was.
        exploration: Weight of the doubt, at least 0.

    Raises:
        TypeError: If a number of visits is not whole.
        ValueError: If it is negative, or that of the parent 0, or another number is not finite.

    Example:
        >>> round(uct(0.5, 2, 8), 3)
        1.942
    """
    check_scalar("value", value)
    check_scalar("visits", visits, low=0, whole=True)
    check_scalar("parent_visits", parent_visits, low=1, whole=True)
    check_scalar("exploration", exploration, low=0.0)
    if visits == 0:
        return math.inf
    return value + exploration * math.sqrt(math.log(parent_visits) / visits)


def grow_tree(
    task: StepTask,
    policy: Policy,
    rng: int | np.random.Generator,
    *,
    root: State | None = None,
    rounds: int = 10,
    children: int = 3,
    depth: int = 5,
    exploration: float = 1.414,
    decay: float = 0.9,
    outcome_weight: float | None = None,
) -> "DiGraph":
    """Search the solutions of a task from `root`, verifying each step on the way, and keep what was learned of each.

    A round goes down from the root to the child with the largest `uct`, the first of equals, until it comes to a node
    without children. On the first visit a node is simulated from; on the second it is given children, of which the
    first is simulated from. A simulation draws steps from the policy to the end, or at most `depth` of them; the tool
    verifies each. Its `hybrid_value` is added to the node's mean, and decay^d times it to that of the ancestor d steps
    up. A simulation that was cut off has an outcome of 0, neither right nor wrong.

    Args:
        task: What is to be solved; `verify` is the tool, and is asked once about any state.
        policy: From a state to the probabilities of its legal steps, in their order.
        rng: A seed or a generator.
        root: Where to begin, a prefix to label for instance; None for the start of the task.
        rounds: Simulations, at least 1.
        children: Steps drawn from the policy where a node is given children; equal ones are one child.
        depth: Most steps of a simulation, at least 1; enough to finish the task, or all outcomes are 0.
        exploration: The constant of `uct`, at least 0.
        decay: Of the value with the distance from the simulated node, in [0, 1].
        outcome_weight: As in `hybrid_value`.

    Returns:
        A `networkx.DiGraph`, edges from parents to children, nodes numbered by birth from the root, 0. Of each node:
        `prefix` (the state), `depth`, `visits`, `value` (mean of what was backed up to it; 0 before the first visit),
        `verdict` (the tool's on its last step, or on the answer of an ended state; 0 for the start of the task) and
        `ended`. Of the graph: `rollouts`, `steps` (drawn from the policy, those of the children too), `verifications`
        (calls of the tool) and `verdicts` (state -> verdict, simulated states too).

    Raises:
        TypeError: If the task is no `StepTask`.
        ValueError: If a number is out of its range, the policy gives no distribution, or a verdict is not 1, -1 or 0.

    Source: GroundedPRM (arXiv 2510.14942). Unlike its published code, which picks a random child and never calls its
        UCT function, this selects by UCT. Further departures: values are means, not sums; the simulated node's visit
        is counted; the nodes of the tree are verified, not only the simulated steps; a cut simulation is not taken for
        a wrong one; there is no early end once enough samples are found, and no second asking of an undecided tool,
        which is up to `task.verify`.

    Example:
        >>> from rewardlab.process.tasks import uniform_policy
        >>> from rewardlab.process.tree_search import grow_tree, tree_labels
        >>> class Coins:  # three coins, right if all show heads; the tool sees each coin
        ...     start = lambda self: ""
        ...     legal_steps = lambda self, state: "ht" if len(state) < 3 else ()
        ...     apply = lambda self, state, step: state + step
        ...     verify = lambda self, state: 1 if state[-1:] == "h" and (len(state) < 3 or state == "hhh") else -1
        >>> tree = grow_tree(Coins(), uniform_policy(Coins()), 1, rounds=20)
        >>> {label.prefix: label.label for label in tree_labels(tree) if len(label.prefix) == 1}
        {'t': -1, 'h': 1}
    """
    check_step_task(task)
    rng = as_generator(rng)
    for name, number in (("rounds", rounds), ("children", children), ("depth", depth)):
        check_scalar(name, number, low=1, whole=True)
    check_scalar("exploration", exploration, low=0.0)
    check_scalar("decay", decay, low=0.0, high=1.0)
    search = _Search(task, policy, rng, task.start() if root is None else root)
    for _ in range(rounds):
        node = search.select(exploration)
        if search.tree.nodes[node]["visits"] and not search.tree.nodes[node]["ended"]:
            node = search.expand(node, children)
        search.back_up(node, search.simulate(node, depth, outcome_weight), decay)
    return search.tree


@dataclass(frozen=True, slots=True)
class TreeLabel:
    """What a tree says of the last step of a prefix.

    Args:
        prefix: The state after the step.
        label: 1 (right), -1 (wrong) or 0 (undecided).
        verdict: The tool's.
        value: Mean value backed up to the node.
        visits: How many simulations that is the mean of.
    """

    prefix: State
    label: int
    verdict: int
    value: float
    visits: int


def tree_labels(tree: "DiGraph", rule: Rule = "value") -> list[TreeLabel]:
    """Labels of all prefixes in a tree, by birth; the root's first.

    Args:
        tree: From `grow_tree`.
        rule: `value`: the sign of the backed-up value, which tells what became of the prefix and holds nothing of the
            tool's verdict on the step itself; 0 before the first visit. `verdict`: the tool's, and the sign of the
            value where the tool is undecided. `agreement`: both where they agree, else 0, to be dropped.

    Raises:
        ValueError: If the rule is unknown.

    Source: GroundedPRM's code labels nodes by `value` and simulated steps by the verdict, and keeps the samples in
        which sign and verdict agree.
    """
    check_choice("rule", rule, RULES)
    return [
        TreeLabel(node["prefix"], _label(node, rule), node["verdict"], node["value"], node["visits"])
        for _, node in tree.nodes(data=True)
    ]


def _label(node: dict, rule: Rule) -> int:
    sign = (node["value"] > 0) - (node["value"] < 0)
    if rule == "value":
        return sign
    if rule == "verdict":
        return node["verdict"] or sign
    return sign if sign == node["verdict"] else 0


class _Search:
    """A tree that grows, and what growing it has cost."""

    def __init__(self, task: StepTask, policy: Policy, rng: np.random.Generator, root: State) -> None:
        import networkx

        self.task, self.policy, self.rng = task, policy, rng
        self.tree = networkx.DiGraph(rollouts=0, steps=0, verifications=0, verdicts={})
        if root == task.start():
            self.tree.graph["verdicts"][root] = 0  # there is no step to verify yet
        self._add(root, parent=None)

    def select(self, exploration: float) -> int:
        """The node without children at the end of the most promising path."""
        node = 0
        while children := list(self.tree.successors(node)):
            visits = self.tree.nodes[node]["visits"]
            bounds = [uct(child["value"], child["visits"], visits, exploration) for child in map(self._node, children)]
            node = children[bounds.index(max(bounds))]
        return node

    def expand(self, node: int, number: int) -> int:
        """Give a node children, verified; the first of them."""
        prefix = self._node(node)["prefix"]
        drawn = [draw_step(self.task, prefix, self.policy, self.rng) for _ in range(number)]
        self.tree.graph["steps"] += number
        states = dict.fromkeys(self.task.apply(prefix, step) for step in drawn)  # equal ones are one child
        born = [self._add(state, parent=node) for state in states]
        return born[0]

    def simulate(self, node: int, depth: int, outcome_weight: float | None) -> float:
        """The value of one way on from a node, the tool asked about each step and the answer."""
        state, verdicts = self._node(node)["prefix"], []
        self.tree.graph["rollouts"] += 1
        for _ in range(depth):
            if not len(self.task.legal_steps(state)):
                break
            state = self.task.apply(state, draw_step(self.task, state, self.policy, self.rng))
            self.tree.graph["steps"] += 1
            verdicts.append(self._verdict(state))
        if len(self.task.legal_steps(state)):
            return hybrid_value(verdicts, 0, outcome_weight)
        return hybrid_value(verdicts[:-1], self._verdict(state), outcome_weight)

    def back_up(self, node: int, value: float, decay: float) -> None:
        """Put a value into the means of a node and its ancestors."""
        while True:
            data = self._node(node)
            data["visits"] += 1
            data["value"] += (value - data["value"]) / data["visits"]
            parents = list(self.tree.predecessors(node))
            if not parents:
                return
            node, value = parents[0], decay * value

    def _add(self, state: State, parent: int | None) -> int:
        node = self.tree.number_of_nodes()
        self.tree.add_node(
            node,
            prefix=state,
            depth=0 if parent is None else self._node(parent)["depth"] + 1,
            visits=0,
            value=0.0,
            verdict=self._verdict(state),
            ended=not len(self.task.legal_steps(state)),
        )
        if parent is not None:
            self.tree.add_edge(parent, node)
        return node

    def _verdict(self, state: State) -> int:
        known = self.tree.graph["verdicts"]
        if state not in known:
            known[state] = checked_verdict(self.task, state)
            self.tree.graph["verifications"] += 1
        return known[state]

    def _node(self, node: int) -> dict:
        return self.tree.nodes[node]
