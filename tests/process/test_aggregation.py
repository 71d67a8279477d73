"""Step scores to a solution's score."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.aggregation import AGGREGATIONS, aggregate_steps

probabilities = st.floats(0.01, 0.99)
ragged = st.lists(st.lists(probabilities, min_size=1, max_size=6), min_size=1, max_size=5)
LOGARITHMIC = ("log_product", "geometric_mean", "mean_logit", "sum_log_odds", "mean_odds")  # what `clip` concerns
ORDERLESS = tuple(rule for rule in AGGREGATIONS if rule != "last")
ALIKE_FOR_ONE_STEP = ("min", "max", "product", "geometric_mean", "mean", "mean_logit", "last")
ORACLES = {
    "min": min,
    "max": max,
    "product": math.prod,
    "log_product": lambda steps: sum(map(math.log, steps)),
    "geometric_mean": lambda steps: math.prod(steps) ** (1 / len(steps)),
    "mean": lambda steps: sum(steps) / len(steps),
    "mean_logit": lambda steps: 1 / (1 + math.exp(-sum(math.log(p / (1 - p)) for p in steps) / len(steps))),
    "sum_log_odds": lambda steps: sum(math.log(p / (1 - p)) for p in steps),
    "mean_odds": lambda steps: sum(p / (1 - p) for p in steps) / len(steps),
    "last": lambda steps: steps[-1],
}


def padded(solutions, value=np.nan):
    """The solutions as one array, and where there is a step; nothing may depend on what stands elsewhere."""
    longest = max(map(len, solutions))
    steps = np.array([[*solution, *[value] * (longest - len(solution))] for solution in solutions])
    return steps, np.arange(longest) < np.array([len(solution) for solution in solutions])[:, None]


def test_every_rule_has_an_oracle():
    assert set(ORACLES) == set(AGGREGATIONS)


def test_worked_example():
    steps = np.array([0.5, 0.9, 0.8])
    found = {rule: float(aggregate_steps(steps, rule)) for rule in AGGREGATIONS}
    assert found == pytest.approx(
        {
            "min": 0.5,
            "max": 0.9,
            "product": 0.36,
            "log_product": math.log(0.36),
            "geometric_mean": 0.36 ** (1 / 3),
            "mean": 11 / 15,
            "mean_logit": 1 / (1 + 36 ** (-1 / 3)),  # odds 1, 9 and 4
            "sum_log_odds": math.log(36),
            "mean_odds": 14 / 3,
            "last": 0.8,
        }
    )


@given(ragged, st.sampled_from((np.nan, np.inf, -7.0, 0.3)))
def test_each_solution_as_if_alone(solutions, value):
    steps, mask = padded(solutions, value)
    for rule, oracle in ORACLES.items():
        expected = [oracle(solution) for solution in solutions]
        np.testing.assert_allclose(aggregate_steps(steps, rule, mask), expected, rtol=1e-9, atol=1e-12, err_msg=rule)


@given(ragged, st.sampled_from(AGGREGATIONS))
def test_torch_agrees_with_numpy(solutions, rule):
    steps, mask = padded(solutions)
    found = aggregate_steps(torch.tensor(steps), rule, torch.tensor(mask))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), aggregate_steps(steps, rule, mask), rtol=1e-12, atol=1e-12)


@given(arrays(np.float64, (4, 5), elements=st.floats(0, 1)))
def test_order_of_the_means(steps):
    low, product, high = (aggregate_steps(steps, rule) for rule in ("min", "product", "max"))
    geometric, mean = (aggregate_steps(steps, rule) for rule in ("geometric_mean", "mean"))
    slack = 1 + 1e-12
    assert (product <= low * slack).all()
    assert (low <= geometric * slack).all()
    assert (geometric <= mean * slack).all()
    assert (mean <= high * slack).all()


@given(st.lists(probabilities, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_only_the_last_step_depends_on_the_order(solution, random):
    shuffled = random.sample(solution, len(solution))
    for rule in ORDERLESS:
        one, other = aggregate_steps(np.array([solution, shuffled]), rule)
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
    assert float(aggregate_steps(np.array(shuffled), "last")) == shuffled[-1]


@given(st.floats(0, 1))
def test_one_step_is_its_own_score(score):
    for rule in ALIKE_FOR_ONE_STEP:
        assert float(aggregate_steps(np.array([score]), rule)) == pytest.approx(score, abs=1e-12), rule


@given(ragged, probabilities)
def test_one_more_step_moves_a_score_as_documented(solutions, extra):
    now = {rule: aggregate_steps(*_with(solutions, rule)) for rule in AGGREGATIONS}
    then = {
        rule: aggregate_steps(*_with([[*solution, extra] for solution in solutions], rule)) for rule in AGGREGATIONS
    }
    assert (then["product"] < now["product"]).all()
    assert (then["log_product"] < now["log_product"]).all()
    assert (then["min"] == np.minimum(now["min"], extra)).all()
    assert (then["max"] == np.maximum(now["max"], extra)).all()
    assert (then["last"] == extra).all()
    for rule, towards in (
        ("geometric_mean", extra),
        ("mean", extra),
        ("mean_logit", extra),
        ("mean_odds", extra / (1 - extra)),
    ):
        between = (np.minimum(now[rule], towards) <= then[rule] * (1 + 1e-9)) & (
            then[rule] <= np.maximum(now[rule], towards) * (1 + 1e-9)
        )
        assert between.all(), rule
    if abs(extra - 0.5) > 1e-6:
        assert ((then["sum_log_odds"] > now["sum_log_odds"]) == (extra > 0.5)).all()


def _with(solutions, rule):
    steps, mask = padded(solutions)
    return steps, rule, mask


@given(arrays(np.float64, (6, 5), elements=st.floats(0.001, 0.999)))
def test_logarithms_rank_as_what_they_are_of(steps):
    product, log_product = (aggregate_steps(steps, rule) for rule in ("product", "log_product"))
    np.testing.assert_allclose(np.exp(log_product), product, rtol=1e-12)
    total, mean = (aggregate_steps(steps, rule) for rule in ("sum_log_odds", "mean_logit"))
    np.testing.assert_allclose(1 / (1 + np.exp(-total / 5)), mean, rtol=1e-12)


def test_a_long_product_underflows_and_its_logarithm_does_not():
    steps = np.full((2, 1000), 0.1)
    steps[1, -1] = 0.2
    assert aggregate_steps(steps, "product").tolist() == [0, 0]  # a tie that is none
    assert aggregate_steps(steps, "log_product").tolist() == pytest.approx([-1000 * math.log(10)] * 2, rel=1e-3)
    assert np.diff(aggregate_steps(steps, "log_product")) == pytest.approx(math.log(2))
    assert float(aggregate_steps(steps[0, :323], "product")) > 0
    assert float(aggregate_steps(steps[0, :324], "product")) == 0  # as the documentation says
    assert aggregate_steps(np.full(5000, 1e-9), "geometric_mean") == pytest.approx(1e-9)
    assert float(aggregate_steps(np.full(5000, 1 - 1e-12), "mean_logit")) == pytest.approx(1)


@pytest.mark.filterwarnings("error")
def test_certain_steps():
    steps = np.array([[1.0, 0.5], [0.0, 0.5]])
    assert aggregate_steps(steps, "mean_odds").tolist() == [np.inf, 0.5]
    assert aggregate_steps(steps, "mean_logit").tolist() == [1, 0]
    assert aggregate_steps(steps, "sum_log_odds").tolist() == [np.inf, -np.inf]
    assert aggregate_steps(steps, "log_product").tolist() == pytest.approx([math.log(0.5), -np.inf])
    assert aggregate_steps(steps, "geometric_mean").tolist() == pytest.approx([0.5**0.5, 0])
    for rule in ("mean_logit", "sum_log_odds"):
        with pytest.raises(ValueError, match=r"has both a 0 and a 1.*give clip"):
            aggregate_steps(np.array([1.0, 0.0]), rule)
        # certain steps in the padding, or of other solutions, decide nothing
        mask = np.array([[True, False], [True, True]])
        assert np.isinf(aggregate_steps(np.array([[1.0, 0.0], [0.0, 0.5]]), "sum_log_odds", mask)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rule", AGGREGATIONS)
def test_clip_keeps_certain_steps_finite_and_concerns_no_other_rule(rule):
    steps, held = np.array([[1.0, 0.0, 0.25]]), np.array([[1 - 1e-3, 1e-3, 0.25]])
    found = aggregate_steps(steps, rule, clip=1e-3)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, aggregate_steps(held if rule in LOGARITHMIC else steps, rule), rtol=1e-12)


@pytest.mark.parametrize("rule", AGGREGATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int64, torch.bool])
def test_any_dtype_comes_back_as_float64(rule, dtype):
    steps = torch.tensor([[0.75, 0.5, 1.0], [0.25, 1.0, 0.5]]).to(dtype)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    found = aggregate_steps(steps, rule, mask, clip=1e-6)
    assert found.dtype == torch.float64
    assert torch.equal(found, aggregate_steps(steps.double(), rule, mask, clip=1e-6))


def test_labels_make_a_verdict():
    labels = np.array([[1, 1, 1], [1, 0, 1]])
    assert aggregate_steps(labels, "min").tolist() == aggregate_steps(labels, "product").tolist() == [1, 0]
    assert aggregate_steps(labels == 1, "mean").tolist() == pytest.approx([1, 2 / 3])


@pytest.mark.parametrize("rule", AGGREGATIONS)
def test_gradients_are_those_of_finite_differences(rule):
    generator = torch.Generator().manual_seed(0)
    steps = (0.1 + 0.8 * torch.rand(3, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    assert torch.autograd.gradcheck(lambda values: aggregate_steps(values, rule, mask), (steps,))
    (slope,) = torch.autograd.grad(aggregate_steps(steps, rule, mask).sum(), steps)
    assert not slope[~mask].any()


def test_no_argument_is_changed():
    steps, mask = padded([[0.2, 1.0], [0.0]])
    before = steps.copy(), mask.copy()
    for rule in AGGREGATIONS:
        aggregate_steps(steps, rule, mask, clip=1e-6)
    np.testing.assert_array_equal(steps, before[0])
    np.testing.assert_array_equal(mask, before[1])


two = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda: aggregate_steps(two, "prod"), "aggregation is 'prod', expected one of 'min', 'max', 'product'"),
        (lambda: aggregate_steps(np.array([[0.5, 0.5], [0.5, 1.5]]), "min"), "step_scores[1, 1] is 1.5, expected a sc"),
        (lambda: aggregate_steps(np.array([[0.5, np.nan]]), "min"), "step_scores[0, 1] is nan, expected a score"),
        (lambda: aggregate_steps(np.array([[0.5, np.inf]]), "max"), "step_scores[0, 1] is inf, expected a score"),
        (lambda: aggregate_steps(np.array([[0.5, -0.1]]), "last"), "step_scores[0, 1] is -0.1, expected a score"),
        (lambda: aggregate_steps(np.array([2, 1]), "last"), "step_scores[0] is 2, expected a score"),
        (lambda: aggregate_steps(two, "min", np.array([[True, True], [False, False]])), "a solution has no step"),
        (lambda: aggregate_steps(two, "min", np.array([[True, True], [False, True]])), "mask[1, 1] is True after a F"),
        (lambda: aggregate_steps(np.full((1, 3), 0.5), "last", np.array([[True, False, True]])), "mask[0, 2] is True"),
        (lambda: aggregate_steps(np.zeros((2, 0)), "mean"), "a solution has no step"),
        (lambda: aggregate_steps(two, "min", np.ones((1, 2), bool)), "mask has shape (1, 2), expected that of step_sc"),
        (lambda: aggregate_steps(np.array(0.5), "min"), "step_scores is a single number, expected shape"),
        (lambda: aggregate_steps(two, "mean_logit", clip=0.6), "clip is 0.6, expected a number in [0, 0.5]"),
        (lambda: aggregate_steps(two, "mean_logit", clip=np.nan), "clip is nan, expected a number in [0, 0.5]"),
    ],
)
def test_bad_values(case, message, without_type_checks):
    with pytest.raises(ValueError, match=re.escape(message)):
        case()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (lambda: aggregate_steps([[0.5]], "min"), "step_scores: expected a NumPy array or torch tensor, got list"),
        (lambda: aggregate_steps(two + 0j, "min"), "step_scores has dtype complex128, expected real numbers"),
        (lambda: aggregate_steps(two, "min", np.ones((2, 2))), "mask has dtype float64, expected bool"),
        (lambda: aggregate_steps(two, "min", torch.ones(2, 2) == 1), "mask"),
    ],
)
def test_bad_types(case, message, without_type_checks):
    with pytest.raises(TypeError, match=re.escape(message)):
        case()


def test_no_solutions_give_no_scores():
    assert aggregate_steps(np.zeros((0, 3)), "product").shape == (0,)
