"""Step scores to a solution's score."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.scoring import AGGREGATIONS, aggregate_steps

probabilities = st.floats(0.01, 0.99)
ragged = st.lists(st.lists(probabilities, min_size=1, max_size=6), min_size=1, max_size=5)
ORACLES = {
    "min": min,
    "max": max,
    "product": math.prod,
    "geometric_mean": lambda steps: math.prod(steps) ** (1 / len(steps)),
    "mean": lambda steps: sum(steps) / len(steps),
    "mean_logit": lambda steps: 1 / (1 + math.exp(-sum(math.log(p / (1 - p)) for p in steps) / len(steps))),
    "mean_odds": lambda steps: sum(p / (1 - p) for p in steps) / len(steps),
    "last": lambda steps: steps[-1],
}


def padded(solutions, value=np.nan):
    """The solutions as one array, and where there is a step; nothing may depend on what stands elsewhere."""
    longest = max(map(len, solutions))
    steps = np.array([solution + [value] * (longest - len(solution)) for solution in solutions])
    return steps, np.arange(longest) < np.array([len(solution) for solution in solutions])[:, None]


def test_worked_example():
    steps = np.array([0.5, 0.9, 0.8])
    found = {rule: float(aggregate_steps(steps, rule)) for rule in AGGREGATIONS}
    assert found == pytest.approx(
        {
            "min": 0.5,
            "max": 0.9,
            "product": 0.36,
            "geometric_mean": 0.36 ** (1 / 3),
            "mean": 11 / 15,
            "mean_logit": 1 / (1 + 36 ** (-1 / 3)),  # odds 1, 9 and 4
            "mean_odds": 14 / 3,
            "last": 0.8,
        }
    )


@given(ragged)
def test_each_solution_as_if_alone(solutions):
    steps, present = padded(solutions)
    for rule, oracle in ORACLES.items():
        expected = [oracle(solution) for solution in solutions]
        np.testing.assert_allclose(aggregate_steps(steps, rule, present), expected, rtol=1e-9, err_msg=rule)


@given(ragged, st.sampled_from(AGGREGATIONS))
def test_torch_agrees_with_numpy(solutions, rule):
    steps, present = padded(solutions)
    found = aggregate_steps(torch.tensor(steps), rule, torch.tensor(present))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), aggregate_steps(steps, rule, present), rtol=1e-12)


@given(arrays(np.float64, (4, 5), elements=probabilities))
def test_order_of_the_means(steps):
    low, product, high = (aggregate_steps(steps, rule) for rule in ("min", "product", "max"))
    geometric, mean = (aggregate_steps(steps, rule) for rule in ("geometric_mean", "mean"))
    slack = 1 + 1e-12
    assert (product <= low * slack).all()
    assert (low <= geometric * slack).all()
    assert (geometric <= mean * slack).all()
    assert (mean <= high * slack).all()


@given(ragged, probabilities)
def test_one_more_step_lowers_a_product(solutions, extra):
    steps, present = padded(solutions)
    longer = padded([[*solution, extra] for solution in solutions])
    assert (aggregate_steps(longer[0], "product", longer[1]) < aggregate_steps(steps, "product", present)).all()


@pytest.mark.filterwarnings("error")
def test_certain_steps():
    steps = np.array([[1.0, 0.5], [0.0, 0.5]])
    assert aggregate_steps(steps, "mean_odds").tolist() == [np.inf, 0.5]
    assert aggregate_steps(steps, "mean_logit").tolist() == [1, 0]
    assert aggregate_steps(steps, "geometric_mean").tolist() == pytest.approx([0.5**0.5, 0])
    with pytest.raises(ValueError, match="has both a 0 and a 1"):
        aggregate_steps(np.array([1.0, 0.0]), "mean_logit")


two = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda: aggregate_steps(two, "prod"), "aggregation is 'prod', expected one of 'min', 'max', 'product'"),
        (lambda: aggregate_steps(np.array([[0.5, 0.5], [0.5, 1.5]]), "min"), "steps[1, 1] is 1.5, expected a prob"),
        (lambda: aggregate_steps(np.array([[0.5, np.nan]]), "min"), "steps[0, 1] is nan, expected a probability"),
        (lambda: aggregate_steps(two, "min", np.array([[True, True], [False, False]])), "a solution has no step"),
        (lambda: aggregate_steps(two, "min", np.array([[True, True], [False, True]])), "a solution has no step"),
        (lambda: aggregate_steps(np.full((1, 3), 0.5), "last", np.array([[True, False, True]])), "after a missing"),
        (lambda: aggregate_steps(np.zeros((2, 0)), "mean"), "a solution has no step"),
        (lambda: aggregate_steps(two, "min", np.ones((1, 2), bool)), "present has shape (1, 2), expected that of st"),
    ],
)
def test_bad_input(case, message, without_type_checks):
    with pytest.raises(ValueError, match=re.escape(message)):
        case()
