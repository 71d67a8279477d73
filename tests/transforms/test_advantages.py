"""Advantages as trainers take them: the method's numbers, loops over the groups, and samples that are not there."""

import math
from statistics import fmean, pstdev, stdev

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.transforms import (
    Groups,
    batch_standardised,
    leave_one_out,
    mean_centred,
    normalise_then_sum,
    standardised,
    token_advantages,
)

SAMPLES = 10
quarters = st.integers(-3200, 3200).map(lambda number: number / 4)
batch = arrays(np.float64, SAMPLES, elements=quarters | st.sampled_from([0.0, 1.0]))
ids_of = arrays(np.int64, SAMPLES, elements=st.integers(0, 3))
present_of = arrays(np.bool_, SAMPLES)
GROUPED = {
    "mean_centred": mean_centred,
    "standardised": standardised,
    "standardised, ddof 0": lambda *args: standardised(*args, correction=0, epsilon=0.0),
    "leave_one_out": leave_one_out,
    "batch_standardised": batch_standardised,
    "batch_standardised, ddof 0": lambda *args: batch_standardised(*args, correction=0, epsilon=0.5),
    "normalise_then_sum": lambda r, ids=None, present=None: normalise_then_sum(
        r[None], ids, None, None if present is None else present[None]
    ),
}
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
TWO = np.array([[1.0, 0, 1, 0, 0, 0, 0, 0], [-50.0, -10, -80, -30, -5, -60, -20, -40]])  # accuracy, brevity


def over(deviations, spread, epsilon):
    return [deviation / (spread + epsilon) if spread else 0.0 for deviation in deviations]


def group_by_group(values, ids, present, of_group):
    """Advantages by loops: `of_group` of the present values of each group, 0 for the absent."""
    result = np.zeros(len(values))
    for group in dict.fromkeys(ids):
        here = [place for place in range(len(values)) if ids[place] == group and present[place]]
        if here:
            result[here] = of_group([float(values[place]) for place in here])
    return result


def z_scores(values, correction, epsilon):
    if len(values) == 1:
        return [0.0]
    spread = (stdev if correction else pstdev)(values)
    return over([value - fmean(values) for value in values], spread, epsilon)


def left_out(values):
    return [
        value - fmean(values[:place] + values[place + 1 :]) if len(values) > 1 else 0.0
        for place, value in enumerate(values)
    ]


def gdpo(signals, ids, weights, present, correction, epsilon):
    total = np.zeros(signals.shape[1])
    for values, weight, here in zip(signals, weights, present, strict=True):
        total += weight * group_by_group(values, ids, here, lambda part: z_scores(part, correction, epsilon))
    whole = [0] * signals.shape[1]
    return group_by_group(total, whole, present.any(axis=0), lambda part: z_scores(part, correction, epsilon))


@given(batch, ids_of, present_of)
def test_group_by_group(values, ids, present):
    ids = ids.tolist()
    centred = group_by_group(values, ids, present, lambda part: [value - fmean(part) for value in part])
    counted = values[present].tolist()
    expected = {
        "mean_centred": centred,
        "standardised": group_by_group(values, ids, present, lambda part: z_scores(part, 1, 1e-4)),
        "standardised, ddof 0": group_by_group(values, ids, present, lambda part: z_scores(part, 0, 0.0)),
        "leave_one_out": group_by_group(values, ids, present, left_out),
        "batch_standardised": over(centred, stdev(counted) if len(counted) > 1 else 0.0, 1e-4),
        "batch_standardised, ddof 0": over(centred, pstdev(counted) if counted else 0.0, 0.5),
        "normalise_then_sum": gdpo(values[None], ids, [1.0], present[None], 1, 1e-4),
    }
    for name, function in GROUPED.items():
        result = function(values, ids, present)
        np.testing.assert_allclose(result, expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


@given(
    arrays(np.float64, (3, SAMPLES), elements=quarters | st.sampled_from([0.0, 1.0])),
    ids_of,
    arrays(np.bool_, (3, SAMPLES)),
    st.sampled_from([(1, 1e-4), (0, 0.0), (1, 0.1)]),
)
def test_normalise_then_sum_by_loops(signals, ids, present, convention):
    correction, epsilon = convention
    result = normalise_then_sum(signals, ids, [1.0, 0.5, -2.0], present, correction=correction, epsilon=epsilon)
    expected = gdpo(signals, ids.tolist(), [1.0, 0.5, -2.0], present, correction, epsilon)
    np.testing.assert_allclose(result, expected, rtol=1e-8, atol=1e-8)
    missing = np.where(present, signals, np.nan)
    without_mask = normalise_then_sum(missing, ids, [1.0, 0.5, -2.0], correction=correction, epsilon=epsilon)
    np.testing.assert_array_equal(without_mask, result)


@given(batch, ids_of, present_of, st.data())
def test_the_order_of_the_batch_does_not_matter(values, ids, present, data):
    order = np.array(data.draw(st.permutations(range(SAMPLES))))
    for name, function in GROUPED.items():
        expected = function(values, ids, present)[order]
        result = function(values[order], ids[order], present[order])
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9, err_msg=name)


@given(batch, ids_of, present_of)
def test_absent_samples_are_as_if_they_were_not_there(values, ids, present):
    for name, function in GROUPED.items():
        result = function(values, ids, present)
        assert (result[~present] == 0).all(), name
        if present.any():
            alone = function(values[present], ids[present])
            np.testing.assert_allclose(result[present], alone, rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_array_equal(function(np.where(present, values, np.nan), ids), result, err_msg=name)
        np.testing.assert_array_equal(function(np.where(present, values, np.inf), ids, present), result, err_msg=name)


@given(batch, ids_of, present_of)
def test_advantages_sum_to_0_in_every_group(values, ids, present):
    for name in set(GROUPED) - {"normalise_then_sum"}:  # which sums to 0 over the batch
        result = GROUPED[name](values, ids, present)
        for group in set(ids.tolist()):
            assert result[ids == group].sum() == pytest.approx(0, abs=1e-8), name
    assert GROUPED["normalise_then_sum"](values, ids, present).sum() == pytest.approx(0, abs=1e-8)


@given(batch, ids_of, st.sampled_from([0.5, 3.0, 1024.0]), quarters)
def test_what_scale_and_shift_of_the_reward_do(values, ids, scale, shift):
    changed = scale * values + shift
    for function in (mean_centred, leave_one_out):
        np.testing.assert_allclose(function(changed, ids), scale * function(values, ids), rtol=1e-9, atol=1e-7)
    for function in (standardised, batch_standardised):
        before, after = (function(rewards, ids, epsilon=0.0) for rewards in (values, changed))
        np.testing.assert_allclose(after, before, atol=1e-8)


@given(batch, ids_of)
def test_leave_one_out_is_mean_centred_times_g_over_g_less_1(values, ids):
    size = np.array([np.sum(ids == name) for name in ids])
    expected = mean_centred(values, ids) * size / np.maximum(size - 1, 1)
    np.testing.assert_allclose(leave_one_out(values, ids), expected, rtol=1e-12, atol=1e-12)


@given(batch, st.integers(2, 8))
def test_the_bound_on_a_standardised_advantage_which_one_against_the_rest_attains(values, size):
    assert np.abs(standardised(values, epsilon=0.0)).max() <= (SAMPLES - 1) / math.sqrt(SAMPLES) + 1e-9
    assert np.abs(standardised(values, correction=0, epsilon=0.0)).max() <= math.sqrt(SAMPLES - 1) + 1e-9
    lone = np.eye(size)[0]
    assert standardised(lone, epsilon=0.0)[0] == pytest.approx((size - 1) / math.sqrt(size))
    assert standardised(lone, correction=0, epsilon=0.0)[0] == pytest.approx(math.sqrt(size - 1))


@pytest.mark.parametrize(("share", "plain", "scaled"), [(0.05, 0.095, 0.436), (0.5, 0.5, 1.0), (0.8, 0.32, 0.8)])
def test_standardising_favours_prompts_that_are_nearly_always_or_never_solved(share, plain, scaled):
    rewards = (np.arange(20) < 20 * share) * 1.0
    centred, by_spread = mean_centred(rewards), standardised(rewards, correction=0, epsilon=0.0)
    assert (centred[0], centred[-1]) == pytest.approx((1 - share, -share))
    odds = share / (1 - share)
    assert (by_spread[0], by_spread[-1]) == pytest.approx((odds**-0.5, -(odds**0.5)))
    assert (np.abs(centred).mean(), np.abs(by_spread).mean()) == pytest.approx((plain, scaled), abs=5e-4)


def of_binary_groups(size, share):
    """(probability, rewards) of each number of successes in a group of `size`, a success having probability `share`."""
    for right in range(size + 1):
        chance = math.comb(size, right) * share**right * (1 - share) ** (size - right)
        yield chance, (np.arange(size) < right) * 1.0


@pytest.mark.parametrize(
    ("size", "share", "expected", "informative"),
    [
        (8, 0.02, 2.407, 0.149),
        (8, 0.1, 2.1774, 0.5695),
        (8, 0.25, 1.8953, 0.8999),
        (8, 0.5, 1.7358, 0.9922),
        (64, 0.02, 5.818, None),
        (64, 0.1, 3.229, None),
        (64, 0.25, 2.267, None),
        (64, 0.5, 1.969, None),
    ],
)
def test_the_expected_gradient_of_the_success_rate(size, share, expected, informative):
    """The mean of advantage times score function, over the true gradient: 1 for an unbiased advantage."""
    kinds = {
        "standardised": lambda r: standardised(r, epsilon=0.0),
        "mean_centred": mean_centred,
        "leave_one_out": leave_one_out,
    }
    found, told = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0)
    for chance, rewards in of_binary_groups(size, share):
        for name, kind in kinds.items():
            advantages = kind(rewards)
            found[name] += chance * np.mean(advantages * (rewards - share)) / (share * (1 - share))
            told[name] += chance * bool(advantages.any())
    assert found["standardised"] == pytest.approx(expected, abs=6e-4)
    assert found["mean_centred"] == pytest.approx((size - 1) / size, rel=1e-9)
    assert found["leave_one_out"] == pytest.approx(1, rel=1e-9)
    for share_of_groups in told.values():
        assert share_of_groups == pytest.approx(1 - share**size - (1 - share) ** size, rel=1e-9)
        assert informative is None or share_of_groups == pytest.approx(informative, abs=6e-5 if share > 0.02 else 6e-4)


@given(arrays(np.float64, (3, 5), elements=quarters), st.permutations([0.01, 1.0, 50.0]))
def test_a_prompt_counts_by_its_spread_unless_it_is_standardised(values, spreads):
    """A prompt scored by a model of little variance beside one with a 0/1 rule: the spread goes, or it stays."""
    spreads = np.array(spreads)[:, None]
    np.testing.assert_allclose(mean_centred(spreads * values), spreads * mean_centred(values), rtol=1e-9, atol=1e-9)
    varied = np.ptp(values, axis=1) > 0
    scaled, before = (standardised(rewards, epsilon=0.0)[varied] for rewards in (spreads * values, values))
    np.testing.assert_allclose(scaled, before, rtol=1e-9, atol=1e-9)


@LIBRARIES
def test_two_of_four(library):
    rewards = library(np.array([1.0, 0.0, 0.0, 1.0]))
    for result, size in (
        (standardised(rewards), 0.86588),
        (standardised(rewards, epsilon=1e-6), 0.86602),
        (standardised(rewards, correction=0, epsilon=0.0), 1.0),
        (mean_centred(rewards), 0.5),
        (leave_one_out(rewards), 0.66667),
    ):
        np.testing.assert_allclose(np.asarray(result), [size, -size, -size, size], atol=1e-5)


def test_one_of_eight():
    rewards = np.eye(8)[0]
    np.testing.assert_allclose(standardised(rewards, epsilon=0.0), [2.4749] + [-0.3536] * 7, atol=1e-4)
    np.testing.assert_allclose(leave_one_out(rewards), [1.0] + [-0.142857] * 7, atol=1e-6)


def test_pairs_of_rewards_that_sums_cannot_tell_apart():
    earned = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])  # sums (0, 1) and (0, 2)
    half = 0.5**0.5
    np.testing.assert_allclose(standardised(earned.sum(0), [0, 0, 1, 1]), [-half, half, -half, half], atol=2e-4)
    before = sum(standardised(signal, [0, 0, 1, 1]) for signal in earned)
    np.testing.assert_allclose(before, [-half, half, -2 * half, 2 * half], atol=4e-4)
    np.testing.assert_allclose(normalise_then_sum(earned, [0, 0, 1, 1]), standardised(before), rtol=1e-12)


def test_two_binary_rewards_worked():
    signals = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_allclose(standardised(signals.sum(0)), [-1.225, 0, 0, 1.225], atol=1e-3)
    np.testing.assert_allclose(normalise_then_sum(signals), [-1.225, 0, 0, 1.225], atol=1e-3)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_a_signal_of_large_scale_does_not_drown_the_others(scale):
    signals = np.array([TWO[0], scale * TWO[1]])
    both = [np.corrcoef(normalise_then_sum(signals, epsilon=0.0), signal)[0, 1] for signal in signals]
    np.testing.assert_allclose(both, [0.404, 0.404], atol=1e-3)
    if scale == 1.0:
        summed = [np.corrcoef(standardised(signals.sum(0)), signal)[0, 1] for signal in signals]
        np.testing.assert_allclose(summed, [-0.66, 0.9999], atol=5e-3)


def test_a_constant_sum_is_not_a_constant_signal():
    signals = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
    assert standardised(signals.sum(0)).tolist() == [0.0] * 4
    assert sum(standardised(signal) for signal in signals)[0] == pytest.approx(0.134, abs=1e-3)
    assert np.abs(normalise_then_sum(signals)).min() > 0.1


@LIBRARIES
def test_a_sample_no_signal_applies_to(library):
    signals = np.array([[1.0, np.nan, 0.0, 3.0], [2.0, np.nan, np.nan, 5.0]])
    kept = [0, 2, 3]
    full = np.asarray(normalise_then_sum(library(signals), [7, 7, 7, 7]))
    assert full[1] == 0.0
    np.testing.assert_allclose(full[kept], normalise_then_sum(signals[:, kept], [7, 7, 7]), rtol=1e-9)
    for name, function in GROUPED.items():
        result = np.asarray(function(library(signals[0]), [7, 7, 7, 7]))
        assert result[1] == 0.0, name
        np.testing.assert_allclose(result[kept], function(signals[0, kept], [7, 7, 7]), rtol=1e-9, err_msg=name)
        assert np.asarray(function(library(np.full((2, 3), np.nan)))).tolist() == [[0.0] * 3] * 2


@LIBRARIES
@pytest.mark.parametrize("constant", [0.35, 1e4 + 0.1, -7e7])
def test_a_constant_group_in_float32_has_advantages_of_exactly_0(library, constant):
    rewards = library(np.full((2, 7), constant, np.float32))
    for name, function in GROUPED.items():
        assert np.asarray(function(rewards)).tolist() == [[0.0] * 7] * 2, name


@LIBRARIES
def test_a_group_of_one_compares_nothing(library):
    rewards = library(np.array([5.0, -3.0, 2.0, 4.0]))
    for name, function in GROUPED.items():
        result = function(rewards, ["a", "b", "c", "c"])
        assert result[:2].tolist() == [0.0, 0.0], name
        assert float(result[3]) > 0 > float(result[2]), name
        alone = function(rewards, ["a", "c", "c", "a"], library(np.array([True, True, False, False])))
        assert alone.tolist() == [0.0] * 4, name


@given(arrays(np.float64, (3, 4), elements=quarters))
def test_rows_are_groups(values):
    ids = np.repeat(["x", "y", "z"], 4)
    flat = values.reshape(-1)
    for name, function in GROUPED.items():
        result = function(flat, ids)
        np.testing.assert_allclose(function(values).reshape(-1), result, rtol=1e-12, atol=1e-12, err_msg=name)
        np.testing.assert_array_equal(function(flat, Groups.from_ids(ids, like=flat)), result, err_msg=name)


@LIBRARIES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept_and_statistics_are_in_float64(library, dtype):
    values = np.array([[1.0, 2.0, 4.0, -1.0]], dtype)
    for name, function in GROUPED.items():
        result = function(library(values))
        assert result.dtype == library(values).dtype and tuple(result.shape) == (1, 4), name
        exact = function(values.astype(float)).astype(dtype)
        np.testing.assert_allclose(np.asarray(result), exact, rtol=1e-15, err_msg=name)
    weighted = normalise_then_sum(library(np.stack([values, values**2])), None, [0.1, 0.7])
    exact = normalise_then_sum(np.stack([values, values**2]).astype(float), None, [0.1, 0.7]).astype(dtype)
    np.testing.assert_allclose(np.asarray(weighted), exact, rtol=1e-15)


@LIBRARIES
def test_finite_for_rewards_of_800(library):
    rewards = library(np.array([[-800.0, 800.0, 800.0], [800.0, 800.0, 800.0]], np.float32))
    for name, function in GROUPED.items():
        assert np.isfinite(np.asarray(function(rewards))).all(), name


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_integers_and_booleans_are_taken_as_float64(library, dtype):
    values = np.array([[1, 0, 0, 1], [0, 0, 0, 1]], dtype)
    for name, function in GROUPED.items():
        result = function(library(values))
        assert str(result.dtype).endswith("float64"), name
        np.testing.assert_allclose(np.asarray(result), function(values.astype(float)), rtol=1e-12, err_msg=name)
    weighted = normalise_then_sum(library(values), None, [0.5, 1.5])
    np.testing.assert_allclose(np.asarray(weighted), normalise_then_sum(values.astype(float), None, [0.5, 1.5]))


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_what_is_refused(library):
    for function in GROUPED.values():
        with pytest.raises(ValueError, match=r"(rewards|signals\[0\])\[1\] is inf"):
            function(library([0.0, math.inf]))
        with pytest.raises(ValueError, match="group_ids has 2 values for 3 samples"):
            function(library(np.zeros(3)), [0, 1])
    for function in (mean_centred, standardised, leave_one_out, batch_standardised):
        for bad in ([1.0, 2.0], np.array(["1", "2"]), np.array([1j, 2]), np.array([None, 1.0], dtype=object)):
            with pytest.raises(TypeError, match=r"^rewards"):
                function(bad)
    two = library(np.ones((2, 3)))
    for function in (standardised, batch_standardised, normalise_then_sum):
        for correction in (2, -1, 0.5, None):
            with pytest.raises(ValueError, match=r"correction is .*, expected one of 0, 1"):
                function(two, correction=correction)
        for epsilon in (-1e-9, math.nan, math.inf):
            with pytest.raises(ValueError, match="epsilon is"):
                function(two, epsilon=epsilon)
    for weights in ([1.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="weights"):
            normalise_then_sum(two, None, weights)
    for bad in (np.ones(3), np.zeros((0, 3))):
        with pytest.raises(ValueError, match=r"expected \(signals, samples\)"):
            normalise_then_sum(library(bad))
    with pytest.raises(ValueError, match=r"signals\[1\]\[2\] is inf"):
        normalise_then_sum(library([[0.0, 0.0, 0.0], [0.0, 0.0, math.inf]]))
    with pytest.raises(TypeError, match="signals: expected a NumPy array or torch tensor"):
        normalise_then_sum([[0.0, 1.0]])


@LIBRARIES
def test_token_advantages(library):
    mask = library(np.array([[True, True, False], [False, True, False]]))
    result = token_advantages(library(np.array([1.5, -2.0], np.float32)), mask)
    assert result.tolist() == [[1.5, 1.5, 0.0], [0.0, -2.0, 0.0]]
    assert not any(math.copysign(1, value) < 0 for row in result.tolist() for value in row if value == 0)
    assert result.dtype == library(np.zeros(1, np.float32)).dtype
    assert tuple(token_advantages(library(np.zeros(2)), mask[:, :0]).shape) == (2, 0)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_masks_of_tokens(library):
    advantages = library(np.array([1.5, -2.0]))
    assert token_advantages(advantages, library([[1, 0], [1, 1]])).tolist() == [[1.5, 0.0], [-2.0, -2.0]]
    for shape in ((3, 4), (2,)):
        with pytest.raises(ValueError, match=r"mask has shape \(.*\), expected \(2, tokens\)"):
            token_advantages(advantages, library(np.ones(shape, bool)))
