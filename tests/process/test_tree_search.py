"""Tree search with a tool: the worked values, a tree grown by hand, and what a tree must keep whatever the task."""

import math

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.tasks import uniform_policy
from rewardlab.process.tree_search import RULES, grow_tree, hybrid_value, tree_labels, uct
from tests.process.small_tasks import Chain, Coins, Counted

verdict = st.sampled_from([1, -1, 0])


@pytest.mark.parametrize(
    ("verdicts", "outcome", "expected"),
    [
        ([1, 1, 1], 1, 1),
        ([1, 1, 1], -1, 1 / 3),
        ([1, -1, -1], 1, 1 / 3),
        ([1] * 10, -1, 0.45),
        ([-1] * 3, 1, -1 / 3),
        ([], 1, 1),
        ([], -1, -1),
        ([], 0, 0),
        ([0, 0], 1, 0.5),
    ],
)
def test_worked_values(verdicts, outcome, expected):
    assert hybrid_value(verdicts, outcome) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("number", "largest"), [(1, 2), (2, 1.25), (3, 1), (5, 0.8), (10, 0.65)])
def test_the_largest_value(number, largest):
    """It exceeds 1 for one step, and the outcome's share of it vanishes with the length."""
    assert hybrid_value([1] * number, 1) == pytest.approx(largest)
    assert (number + 1) / (2 * number) + 1 / number == pytest.approx(largest)


@given(st.lists(verdict, max_size=12), verdict, st.none() | st.floats(0, 3))
def test_the_sum_written_out(verdicts, outcome, weight):
    n = len(verdicts)
    expected = sum(v * (n - i) / n / n for i, v in enumerate(verdicts))
    expected += outcome * ((1 / n if n else 1) if weight is None else weight)
    found = hybrid_value(verdicts, outcome, weight)
    assert found == pytest.approx(expected, abs=1e-12)
    assert hybrid_value([-v for v in verdicts], -outcome, weight) == pytest.approx(-found)
    bound = (n + 1) / (2 * n) if n else 0
    if outcome:  # a weight above the bound lets the outcome decide the sign
        assert np.sign(hybrid_value(verdicts, outcome, bound + 0.01)) == outcome


@given(st.lists(verdict, min_size=2, max_size=12), st.data())
def test_an_early_right_step_is_worth_more(verdicts, data):
    early, late = sorted(data.draw(st.lists(st.integers(0, len(verdicts) - 1), min_size=2, max_size=2, unique=True)))
    blank = [0] * len(verdicts)
    first, second = blank.copy(), blank.copy()
    first[early], second[late] = 1, 1
    assert hybrid_value(first, 0) > hybrid_value(second, 0) > 0


def test_uct_worked():
    assert uct(0.5, 2, 8) == pytest.approx(0.5 + 1.414 * math.sqrt(math.log(8) / 2))
    assert uct(0.5, 2, 8, exploration=0.0) == 0.5
    assert uct(-5.0, 0, 1) == math.inf
    assert uct(0.5, 1, 1) == 0.5


def always(step, steps="ht"):
    """A policy that takes one step for certain."""
    return lambda state: [float(name == step) for name in steps]


def test_a_tree_grown_by_hand():
    """Four coins, always heads: each visit's value can be written down."""
    tree = grow_tree(Coins(4), always("h"), 0, rounds=3, children=3, decay=0.5)
    # round 1: simulated from the start, h hh hhh hhhh: three steps on the way, all right, V = 1
    # round 2: the start gets three children, all "h", so one; on the way hh hhh, V = 3/4 + 1/2 = 1.25
    # round 3: "h" has the child "hh", on the way hhh, V = 1 + 1 = 2
    start, heads, two = (tree.nodes[node] for node in range(3))
    assert [node["prefix"] for node in (start, heads, two)] == ["", "h", "hh"] and len(tree) == 3
    assert (start["visits"], heads["visits"], two["visits"]) == (3, 2, 1)
    assert two["value"] == pytest.approx(2)
    assert heads["value"] == pytest.approx((1.25 + 0.5 * 2) / 2)
    assert start["value"] == pytest.approx((1 + 0.5 * 1.25 + 0.25 * 2) / 3)
    assert (start["verdict"], heads["verdict"]) == (0, 1) and not heads["ended"]
    assert list(tree.edges) == [(0, 1), (1, 2)]
    assert tree.graph["rollouts"] == 3 and tree.graph["steps"] == 4 + (3 + 3) + (3 + 2)
    assert tree.graph["verifications"] == 4  # h hh hhh hhhh, each asked about once


def test_children_are_tried_by_birth():
    task = Coins(3)
    for rounds, visits in ((1, []), (2, [1, 0]), (3, [1, 1])):
        tree = grow_tree(task, uniform_policy(task), 0, rounds=rounds, children=8)
        assert [tree.nodes[child]["visits"] for child in tree.successors(0)] == visits


def test_selection_follows_the_bound_and_not_chance():
    """From a grown tree the next node is where the bounds, computed afresh, lead."""
    task = Coins(4)
    for rounds in range(2, 30):
        before, after = (grow_tree(task, uniform_policy(task), 7, rounds=number) for number in (rounds, rounds + 1))
        node = 0
        while list(before.successors(node)):
            children = list(before.successors(node))
            bounds = [
                uct(before.nodes[c]["value"], before.nodes[c]["visits"], before.nodes[node]["visits"]) for c in children
            ]
            node = children[int(np.argmax(bounds))]
        seen = [c for c in after if c in before and after.nodes[c]["visits"] > before.nodes[c]["visits"]]
        assert node in seen and seen == networkx.shortest_path(after, 0, node)


@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2))
def test_what_every_tree_keeps(seed, rounds, children, depth, blind):
    task = Counted(Coins(4, blind))
    policy = uniform_policy(task)
    tree = grow_tree(task, policy, seed, rounds=rounds, children=children, depth=depth)
    assert networkx.is_arborescence(tree) if len(tree) > 1 else len(tree) == 1
    assert tree.nodes[0]["visits"] == rounds == tree.graph["rollouts"]
    assert len(task.asked) == len(set(task.asked)) == tree.graph["verifications"]
    assert len({node["prefix"] for _, node in tree.nodes(data=True)}) == len(tree)  # different children
    for number, node in tree.nodes(data=True):
        below = list(tree.successors(number))
        assert len(below) <= min(children, 2)
        assert node["depth"] == len(node["prefix"])
        assert node["ended"] == (len(node["prefix"]) == 4)
        if number:
            assert node["verdict"] == task.task.verify(node["prefix"])
        if below:  # a node is simulated once itself, then only through its children
            assert node["visits"] == 1 + sum(tree.nodes[child]["visits"] for child in below)
            for child in below:
                assert tree.nodes[child]["prefix"][:-1] == node["prefix"]
        if not node["visits"]:
            assert node["value"] == 0
        assert abs(node["value"]) <= 2
    for state, said in tree.graph["verdicts"].items():
        assert said == (task.task.verify(state) if state else 0)


def test_same_seed_same_tree_and_other_seed_another():
    task = Coins(6)
    policy = uniform_policy(task)
    trees = [grow_tree(task, policy, seed, rounds=20) for seed in (0, 0, 1)]
    data = [[tuple(node.values()) for _, node in tree.nodes(data=True)] for tree in trees]
    assert data[0] == data[1] != data[2]


def test_every_simulation_is_worth_its_outcome_where_the_tool_is_silent():
    """A tool that decides nothing on the way leaves F / N, and with a weight of 1 the plain outcome."""
    task = Chain()  # decides endings alone
    for start in (0, 4, 9):
        tree = grow_tree(task, task.policy, 0, root=start, rounds=1, depth=20, outcome_weight=1.0)
        assert abs(tree.nodes[0]["value"]) == 1
    values = [
        grow_tree(task, task.policy, seed, root=4, rounds=1, depth=20, outcome_weight=1.0).nodes[0]["value"]
        for seed in range(2000)
    ]
    assert np.mean(values) == pytest.approx(2 * Chain.values[4] - 1, abs=4 / math.sqrt(2000))


def test_a_simulation_that_is_cut_off_is_neither_right_nor_wrong():
    task = Chain()
    tree = grow_tree(task, always("on", ("on", "slip")), 0, rounds=1, depth=9)
    assert tree.nodes[0]["value"] == 0 and tree.graph["steps"] == 9
    tree = grow_tree(task, always("on", ("on", "slip")), 0, rounds=1, depth=10)
    assert tree.nodes[0]["value"] == pytest.approx(1 / 9)
    cut = grow_tree(Coins(4), always("h"), 0, rounds=1, depth=2)  # h hh: both on the way
    assert cut.nodes[0]["value"] == pytest.approx(hybrid_value([1, 1], 0))


def test_a_root_that_has_ended():
    for end, outcome in (("hhh", 1), ("hht", -1)):
        tree = grow_tree(Coins(3), uniform_policy(Coins(3)), 0, root=end, rounds=4)
        assert len(tree) == 1 and tree.nodes[0]["visits"] == 4
        assert tree.nodes[0]["value"] == tree.nodes[0]["verdict"] == outcome
        assert tree.graph["verifications"] == 1 and tree.graph["steps"] == 0


def test_a_better_branch_is_visited_more():
    task = Coins(5)
    tree = grow_tree(task, uniform_policy(task), 3, rounds=150, children=8)
    visits = {tree.nodes[node]["prefix"]: tree.nodes[node]["visits"] for node in tree.successors(0)}
    assert visits["h"] > 3 * visits["t"]
    labels = {label.prefix: label for label in tree_labels(tree)}
    assert labels["h"].value > labels["t"].value and labels["h"].label == 1


def test_rules_of_labels():
    tree = networkx.DiGraph()
    for number, (value, visits, said) in enumerate([(0.3, 2, 1), (0.3, 2, -1), (-0.2, 1, 0), (0.0, 0, 1), (0.0, 0, 0)]):
        tree.add_node(number, prefix=f"{number}", value=value, visits=visits, verdict=said)
    found = {rule: [label.label for label in tree_labels(tree, rule)] for rule in RULES}
    assert found == {
        "value": [1, 1, -1, 0, 0],
        "verdict": [1, -1, -1, 1, 0],
        "agreement": [1, 0, 0, 0, 0],
    }
    first = tree_labels(tree)[0]
    assert (first.prefix, first.verdict, first.value, first.visits) == ("0", 1, 0.3, 2)


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_refused():
    task = Coins()
    policy = uniform_policy(task)
    for name in ("rounds", "children", "depth"):
        with pytest.raises(ValueError, match=rf"{name} is 0, expected a whole number in \[1, inf\)"):
            grow_tree(task, policy, 0, **{name: 0})
        with pytest.raises(TypeError, match=f"{name} is 2.5, expected a whole number"):
            grow_tree(task, policy, 0, **{name: 2.5})
    for name, bad in (("exploration", -1.0), ("decay", 1.1), ("decay", -0.1), ("outcome_weight", -1.0)):
        with pytest.raises(ValueError, match=f"{name} is"):
            grow_tree(task, policy, 0, **{name: bad})
    with pytest.raises(TypeError, match="expected a StepTask"):
        grow_tree(None, policy, 0)
    with pytest.raises(TypeError, match="rng: expected a seed"):
        grow_tree(task, policy, None)
    with pytest.raises(ValueError, match="one for each legal step"):
        grow_tree(task, lambda state: [1.0], 0)
    unsure = Coins()
    object.__setattr__(unsure, "verify", lambda state: 0.5)
    with pytest.raises(ValueError, match=r"task.verify\('.'\) is 0.5"):
        grow_tree(unsure, policy, 0)
    with pytest.raises(ValueError, match=r"verdicts\[1\] is 2, expected one of 1, -1, 0"):
        hybrid_value([1, 2], 1)
    with pytest.raises(ValueError, match="outcome is nan"):
        hybrid_value([1], math.nan)
    with pytest.raises(ValueError, match=r"outcome_weight is -0\.1"):
        hybrid_value([1], 1, -0.1)
    with pytest.raises(ValueError, match="rule is 'both', expected one of 'value', 'verdict', 'agreement'"):
        tree_labels(grow_tree(task, policy, 0), "both")
