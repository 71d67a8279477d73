"""Ensemble aggregates: worked numbers, the order between them, and what shift, scale and centring do to each."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rewardlab.transforms.combination import median
from rewardlab.transforms.combination import weighted_mean as mean
from rewardlab.transforms.ensemble import centre_members, mean_minus_std, uncertainty_weighted, worst_case

FIVE = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
AGGREGATES = {
    "mean": mean,
    "median": median,
    "worst_case": worst_case,
    "uncertainty_weighted": lambda members: uncertainty_weighted(members, 0.5),
    "mean_minus_std": mean_minus_std,
    "mean_minus_std, sample": lambda members: mean_minus_std(members, 0.5, correction=0.5),
}
LINEAR = [name for name in AGGREGATES if name != "uncertainty_weighted"]
MONOTONE = ("mean", "median", "worst_case")

values = st.floats(-100, 100)
ensembles = arrays(np.float64, array_shapes(min_dims=1, max_dims=3, max_side=6), elements=values)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (mean(FIVE), 4),
        (median(FIVE), 3),
        (median(FIVE[:4]), 2.5),
        (worst_case(FIVE), 1),
        (mean_minus_std(FIVE), 4 - 3.162278),
        (mean_minus_std(FIVE, correction=1), 0.464466),
        (mean_minus_std(FIVE, 2.0), 4 - 2 * 3.162278),
        (uncertainty_weighted(FIVE, 0.1), 3.0),
        (uncertainty_weighted(FIVE, 0.5), -1.0),
    ],
)
def test_worked_numbers(found, expected):
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_the_sample_variance_of_the_released_ppo_code_is_not_the_one_of_the_paper():
    assert float(uncertainty_weighted(FIVE, 0.1 * 5 / 4)) == pytest.approx(2.75)


def test_a_member_that_raises_its_score_can_lower_the_penalised_ones():
    higher = np.array([1.0, 2.0, 3.0, 4.0, 11.0])
    assert float(uncertainty_weighted(higher, 0.5)) == pytest.approx(-2.08)
    assert float(mean_minus_std(higher)) == pytest.approx(0.655991, abs=1e-6)
    assert uncertainty_weighted(higher, 0.5) < uncertainty_weighted(FIVE, 0.5)
    assert mean_minus_std(higher) < mean_minus_std(FIVE)


@given(ensembles, st.data())
def test_the_others_never_fall_when_a_member_rises(members, data):
    raised = members + data.draw(arrays(np.float64, members.shape, elements=st.floats(0, 10)))
    for name in MONOTONE:
        assert (AGGREGATES[name](raised) >= AGGREGATES[name](members) - 1e-9).all(), name


@given(ensembles)
def test_order_of_the_aggregates(members):
    count = len(members)
    lowest, middle, average = worst_case(members), median(members), mean(members)
    assert (lowest <= middle).all() and (lowest <= average + 1e-12 * np.abs(members).max()).all()
    rounding = 1e-12 * np.abs(members).max()
    assert (mean_minus_std(members) <= average + rounding).all()
    assert (uncertainty_weighted(members, 0.5) <= average + rounding).all()
    # the lowest is between 1 / sqrt(k - 1) and sqrt(k - 1) standard deviations below the mean
    assert (lowest >= mean_minus_std(members, (count - 1) ** 0.5) - 1e-6).all()
    assert count == 1 or (lowest <= mean_minus_std(members, (count - 1) ** -0.5) + 1e-6).all()


@given(arrays(np.float64, (2, 7), elements=values))
def test_of_two_members_the_worst_is_the_mean_less_a_standard_deviation(members):
    np.testing.assert_allclose(worst_case(members), mean_minus_std(members), atol=1e-9)


@given(arrays(np.float64, (1, 4), elements=values))
def test_one_member_is_its_own_ensemble(members):
    for name in set(AGGREGATES) - {"mean_minus_std, sample"}:
        np.testing.assert_array_equal(AGGREGATES[name](members), members[0], err_msg=name)


@given(arrays(np.float64, 4, elements=values), st.integers(2, 7))
def test_members_that_agree_lose_nothing_not_even_a_bit(scores, count):
    for name in set(AGGREGATES) - {"mean"}:
        np.testing.assert_array_equal(AGGREGATES[name](np.stack([scores] * count)), scores, err_msg=name)


@given(ensembles.filter(lambda members: len(members) > 1))
def test_agrees_with_numpy(members):
    average, spread = np.mean(members, 0), np.std(members, 0)
    np.testing.assert_allclose(mean(members), average, atol=1e-11)
    np.testing.assert_allclose(median(members), np.median(members, 0), atol=1e-11)
    np.testing.assert_allclose(worst_case(members), np.min(members, 0))
    np.testing.assert_allclose(uncertainty_weighted(members, 0.3), average - 0.3 * spread**2, atol=1e-8)
    np.testing.assert_allclose(mean_minus_std(members, 0.3), average - 0.3 * spread, atol=1e-8)
    np.testing.assert_allclose(mean_minus_std(members, 1.0, 1), average - np.std(members, 0, ddof=1), atol=1e-8)


@given(ensembles)
def test_weight_0_is_the_mean(members):
    np.testing.assert_allclose(uncertainty_weighted(members, 0), mean(members), atol=1e-12)
    np.testing.assert_allclose(mean_minus_std(members, 0), mean(members), atol=1e-12)


@given(ensembles, values)
def test_a_constant_of_the_prompt_common_to_all_members_passes_through(members, constant):
    for name, aggregate in AGGREGATES.items():
        found, expected = aggregate(members + constant), aggregate(members) + constant
        np.testing.assert_allclose(found, expected, atol=1e-8, err_msg=name)


@given(ensembles, st.floats(1e-3, 1e3))
def test_scale_passes_through_all_but_the_variance(members, factor):
    for name in LINEAR:
        found, size = AGGREGATES[name](factor * members), factor * np.abs(members).max()
        np.testing.assert_allclose(found, factor * AGGREGATES[name](members), atol=1e-7 * max(size, 1), err_msg=name)
    scaled = uncertainty_weighted(factor * members, 0.5 / factor)  # a weight in 1 / reward units
    np.testing.assert_allclose(scaled, factor * uncertainty_weighted(members, 0.5), rtol=1e-9, atol=1e-6 * factor)


def test_the_variance_does_not_scale_with_the_reward():
    assert float(uncertainty_weighted(2 * FIVE, 0.5)) == pytest.approx(-12)
    assert float(uncertainty_weighted(2 * FIVE, 0.5)) != pytest.approx(2 * float(uncertainty_weighted(FIVE, 0.5)))


@given(arrays(np.float64, (3, 2, 5), elements=values), arrays(np.float64, (3, 2, 1), elements=values))
def test_centring_takes_out_what_a_member_adds_to_all_responses_of_a_prompt(members, offsets):
    np.testing.assert_allclose(centre_members(members + offsets), centre_members(members), atol=1e-10)
    np.testing.assert_allclose(centre_members(members).mean(axis=-1), 0, atol=1e-11)
    differences = np.diff(members, axis=-1)
    np.testing.assert_allclose(np.diff(centre_members(members), axis=-1), differences, atol=1e-10)


def test_an_offset_decides_the_minimum_until_it_is_centred_away():
    """A member that sits lower on everything is the minimum everywhere; the mean's choice does not feel it."""
    members = np.array([[[0.0, 6.0, -6.0]], [[2.0, 1.0, -3.0]]])
    for lower in (0, 1):
        shifted = members - 20 * (np.arange(2) == lower)[:, None, None]
        np.testing.assert_array_equal(worst_case(shifted), shifted[lower])
        np.testing.assert_array_equal(worst_case(centre_members(shifted)), [[0.0, 1.0, -6.0]])
        assert mean(shifted).argmax() == mean(members).argmax()


@given(arrays(np.float64, (3, 6), elements=st.integers(-9, 9)), arrays(np.float64, (3, 1), elements=st.integers(-9, 9)))
def test_the_choice_of_the_mean_does_not_feel_what_a_member_adds(members, offsets):
    before, after = 3 * mean(members), 3 * mean(members + offsets)  # whole numbers: ties stay ties
    np.testing.assert_array_equal(np.round(after) == np.round(after).max(), np.round(before) == np.round(before).max())


def test_the_choice_of_the_median_and_of_the_minimum_does():
    members, offsets = np.array([[0.0, 3.0], [2.0, 0.0], [4.0, 1.0]]), np.array([[0.0], [9.0], [9.0]])
    for aggregate, before, after in ((median, 0, 0), (worst_case, 0, 1)):
        assert aggregate(members).argmax() == before and aggregate(members + offsets).argmax() == after
    offsets = np.array([[0.0], [9.0], [-9.0]])  # the member in the middle is now the first, whose choice is another
    assert median(members).argmax() == 0 and median(members + offsets).argmax() == 1
    assert median(centre_members(members + offsets)).argmax() == median(centre_members(members)).argmax()


def test_centring_by_responses_of_the_base_policy():
    members = np.array([[[5.0, 7.0]], [[1.0, 1.0]]])
    base = np.array([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 3.0]]])
    np.testing.assert_allclose(centre_members(members, base), [[[3.0, 5.0]], [[0.0, 0.0]]])


@given(arrays(np.float64, (3, 2, 5), elements=values))
def test_torch_agrees_with_numpy(members):
    for name, aggregate in {**AGGREGATES, "centre_members": centre_members}.items():
        found = aggregate(torch.tensor(members))
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), aggregate(members), rtol=1e-12, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_is_kept_and_the_argument_left_alone(dtype):
    members = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(dtype)
    before = members.copy()
    for name, aggregate in {**AGGREGATES, "centre_members": centre_members}.items():
        assert aggregate(members).dtype == dtype, name
        assert aggregate(torch.tensor(members)).dtype == torch.tensor(members).dtype, name
    np.testing.assert_array_equal(members, before)
    assert mean(torch.tensor(members).bfloat16()).dtype == torch.bfloat16


def test_whole_numbers_give_fractions():
    assert float(uncertainty_weighted(np.array([1, 2]), 0)) == 1.5
    assert centre_members(np.array([[1, 2]])).dtype == np.float64


def test_gradients_reach_the_members():
    members = torch.tensor([[0.0, 1.0], [2.0, 5.0]], requires_grad=True)
    uncertainty_weighted(members, 0.5).sum().backward()
    assert members.grad is not None and bool((members.grad != 0).any())


LIST, STRINGS = [[1.0]], np.array([["a"]])
BAD = {
    "nan": (lambda: worst_case(np.array([[0.0, 1.0], [0.0, np.nan]])), ValueError, r"member 1 scores nan at \[1\]"),
    "inf": (lambda: worst_case(np.array([0.0, 1.0, -np.inf])), ValueError, r"member 2 scores -inf, expected a finite"),
    "nan in torch": (lambda: worst_case(torch.tensor([[np.nan], [0.0]])), ValueError, r"member 0 scores nan at \[0\]"),
    "nan in the variance": (lambda: uncertainty_weighted(np.array([np.nan]), 1), ValueError, "member 0 scores nan"),
    "nan in the base": (
        lambda: centre_members(np.zeros((1, 2)), np.array([[0.0, np.nan]])),
        ValueError,
        r"base_rewards: member 0 scores nan at \[1\]",
    ),
    "no members": (
        lambda: worst_case(np.zeros((0, 3))),
        ValueError,
        r"shape \(0, 3\), expected .* at least one member",
    ),
    "a number": (lambda: worst_case(np.float64(3.0)), ValueError, r"shape \(\), expected"),
    "a list": (lambda: worst_case(LIST), TypeError, "expected a NumPy array or torch tensor, got list"),
    "strings": (lambda: worst_case(STRINGS), TypeError, "expected real numbers"),
    "negative weight": (lambda: uncertainty_weighted(FIVE, -0.5), ValueError, "weight is -0.5"),
    "weight as text": (lambda: mean_minus_std(FIVE, "1"), TypeError, "weight: expected a number, got str"),
    "divisor of 0": (lambda: mean_minus_std(FIVE[:1], 1.0, 1), ValueError, "correction is 1 with 1 members"),
    "no samples axis": (lambda: centre_members(FIVE), ValueError, r"expected \(members, \*batch, samples\)"),
    "other members": (lambda: centre_members(np.zeros((2, 3)), np.zeros((1, 3))), ValueError, r"\(2, 'base'\)"),
    "no base": (lambda: centre_members(np.zeros((2, 3)), np.zeros((2, 0))), ValueError, "at least one base response"),
    "two libraries": (lambda: centre_members(np.zeros((1, 2)), torch.zeros(1, 2)), TypeError, "use one library"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_where(case, without_type_checks):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
