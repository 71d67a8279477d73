"""Rewards on a common scale within a prompt, by loops over the prompts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from rewardlab.transforms import Groups, min_max, quantile_reward, rank_reward, z_score

SAMPLES = 10
quarters = st.integers(-3200, 3200).map(lambda number: number / 4)
few = st.integers(-2, 2).map(float)  # ties
batch = arrays(np.float64, SAMPLES, elements=quarters) | arrays(np.float64, SAMPLES, elements=few)
ids_of = arrays(np.int64, SAMPLES, elements=st.integers(0, 3))
present_of = arrays(np.bool_, SAMPLES)
GROUPED = {
    "z_score": z_score,
    "z_score, ddof 1": lambda *args: z_score(*args, correction=1),
    "min_max": min_max,
    "rank_reward": rank_reward,
}
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])


def scored(values, ddof):
    """SciPy's z-score; 0 where it has nothing to divide by."""
    if len(values) < 2 or np.ptp(values) == 0:
        return np.zeros(len(values))
    return stats.zscore(values, ddof=ddof)


def between(values):
    width = max(values) - min(values)
    return [(value - min(values)) / width if width else 0.5 for value in values]


ORACLES = {
    "z_score": lambda values: scored(values, 0),
    "z_score, ddof 1": lambda values: scored(values, 1),
    "min_max": between,
    "rank_reward": lambda values: (stats.rankdata(values) - 0.5) / len(values),
}


@given(batch, ids_of, present_of)
def test_group_by_group(values, ids, present):
    for name, function in GROUPED.items():
        expected = np.full(SAMPLES, np.nan)
        for group in set(ids.tolist()):
            here = (ids == group) & present
            if here.any():
                expected[here] = ORACLES[name](values[here])
        np.testing.assert_allclose(function(values, ids, present), expected, atol=1e-10, err_msg=name)


def test_worked_values():
    np.testing.assert_allclose(z_score(np.array([[1.0, 2.0, 3.0]])), [[-(1.5**0.5), 0, 1.5**0.5]])
    np.testing.assert_allclose(z_score(np.array([[1.0, 2.0, 3.0]]), correction=1), [[-1, 0, 1]])
    assert min_max(np.array([[1.0, 2.0, 5.0], [7.0, 7.0, 7.0]])).tolist() == [[0, 0.25, 1], [0.5, 0.5, 0.5]]
    assert rank_reward(np.array([[-3.0, 7.0, 7.0, 100.0]])).tolist() == [[0.125, 0.5, 0.5, 0.875]]
    tied_across_groups = rank_reward(np.array([5.0, 5.0, 5.0, 7.0]), ["a", "a", "b", "b"])
    assert tied_across_groups.tolist() == [0.5, 0.5, 0.25, 0.75]
    for alone, expected in ((z_score, 0.0), (min_max, 0.5), (rank_reward, 0.5)):
        assert alone(np.array([[3.0], [4.0]])).tolist() == [[expected]] * 2
        assert alone(np.array([3.0, 4.0, 5.0]), ["a", "b", "c"]).tolist() == [expected] * 3


@given(batch, ids_of, present_of, st.data())
def test_the_order_of_the_batch_does_not_matter(values, ids, present, data):
    order = np.array(data.draw(st.permutations(range(SAMPLES))))
    for name, function in GROUPED.items():
        expected = function(values, ids, present)[order]
        result = function(values[order], ids[order], present[order])
        np.testing.assert_allclose(result, expected, atol=1e-12, err_msg=name)


@given(batch, ids_of, present_of)
def test_absent_samples_are_as_if_they_were_not_there(values, ids, present):
    for name, function in GROUPED.items():
        result = function(values, ids, present)
        assert np.isnan(result[~present]).all()
        if present.any():
            alone = function(values[present], ids[present])
            np.testing.assert_allclose(result[present], alone, atol=1e-12, err_msg=name)
        np.testing.assert_array_equal(function(np.where(present, values, np.nan), ids), result, err_msg=name)
        np.testing.assert_array_equal(function(np.where(present, values, np.inf), ids, present), result, err_msg=name)


@given(batch, st.sampled_from([0.5, 1.0, 3.0, 1024.0]), quarters)
def test_scale_and_shift_of_a_prompt_are_gone(values, scale, shift):
    for name, function in GROUPED.items():
        np.testing.assert_allclose(function(scale * values + shift), function(values), atol=1e-9, err_msg=name)


@given(batch)
def test_keeps_the_ranking_within_a_prompt(values):
    for name, function in GROUPED.items():
        assert (np.diff(function(np.sort(values))) >= 0).all(), name


@given(batch, ids_of)
def test_means_ranges_and_standard_deviations(values, ids):
    for group in set(ids.tolist()):
        here = ids == group
        z, share, rank = (function(values, ids)[here] for function in (z_score, min_max, rank_reward))
        assert z.mean() == pytest.approx(0, abs=1e-12)
        assert z.std() == pytest.approx(float(np.ptp(values[here]) > 0), abs=1e-12)
        assert (share.min(), share.max()) == ((0, 1) if np.ptp(values[here]) else (0.5, 0.5))
        assert rank.mean() == pytest.approx(0.5, abs=1e-12)


@given(arrays(np.float64, (3, 4), elements=quarters))
def test_rows_are_groups(values):
    ids = np.repeat(np.arange(3), 4)
    for function in GROUPED.values():
        flat = function(values.reshape(-1), ids)
        np.testing.assert_array_equal(function(values), flat.reshape(3, 4))
        np.testing.assert_array_equal(function(values.reshape(-1), Groups.from_ids(ids, like=values.reshape(-1))), flat)
        np.testing.assert_allclose([function(row) for row in values], function(values), atol=1e-12)


def test_a_constant_group_in_float32_has_no_z_score():
    assert z_score(np.full((1, 7), 0.35, np.float32)).tolist() == [[0.0] * 7]
    assert z_score(torch.full((1, 7), 0.35), correction=1).tolist() == [[0.0] * 7]


def test_what_is_rounding_is_not_blown_up():
    for rewards in (np.array([[0.1 + 0.2, 0.3]]), torch.tensor([[1e4 + 1e-3, 1e4]])):
        assert z_score(rewards).tolist() == [[0.0, 0.0]] and min_max(rewards).tolist() == [[0.5, 0.5]]
    assert min_max(np.array([[0.0, 1e-5]])).tolist() == [[0.0, 1.0]]


@given(arrays(np.float64, (2, 5), elements=few | quarters), arrays(np.float64, (2, 6), elements=few | quarters))
def test_the_quantile_by_counting(values, base):
    expected = [
        [(np.sum(others < value) + np.sum(others == value) / 2) / 6 for value in row]
        for row, others in zip(values, base, strict=True)
    ]
    np.testing.assert_allclose(quantile_reward(values, base), expected, atol=1e-14)
    np.testing.assert_allclose(quantile_reward(values, base), quantile_reward(4 * values + 3, 4 * base + 3), atol=1e-14)


@given(batch)
def test_the_quantile_of_the_base_policy_itself(values):
    np.testing.assert_allclose(quantile_reward(values, values), rank_reward(values), atol=1e-14)
    assert quantile_reward(values, values).mean() == pytest.approx(0.5, abs=1e-12)


def test_the_quantile_worked():
    result = quantile_reward(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert result.tolist() == [0.0, 0.375, 1.0]
    assert quantile_reward(np.array([2.0, 2.0]), np.array([2.0])).tolist() == [0.5, 0.5]
    assert quantile_reward(np.zeros((2, 0)), np.zeros((2, 3))).shape == (2, 0)


@LIBRARIES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept(library, dtype):
    values = library(np.array([[1.0, 2.0, 4.0]], dtype))
    for function in GROUPED.values():
        result = function(values)
        assert result.dtype == values.dtype and tuple(result.shape) == (1, 3)
        np.testing.assert_allclose(np.asarray(result), function(np.array([[1.0, 2.0, 4.0]])), rtol=2e-3)
    assert quantile_reward(values, library(np.array([[1.5, 3.0]]))).dtype == values.dtype


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_integers_and_booleans_are_taken_as_float64(library, dtype):
    values = np.array([[1, 0, 0, 1]], dtype)
    for function in GROUPED.values():
        result = function(library(values))
        assert str(result.dtype).endswith("float64")
        np.testing.assert_allclose(np.asarray(result), function(values.astype(float)), rtol=1e-12)
    result = quantile_reward(library(values), library(np.array([[0.0, 0.0, 1.0]])))
    np.testing.assert_allclose(np.asarray(result), [[5 / 6, 1 / 3, 1 / 3, 5 / 6]])


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_what_is_refused(library):
    for function in GROUPED.values():
        with pytest.raises(ValueError, match=r"rewards\[1\] is inf"):
            function(library([0.0, math.inf]))
        with pytest.raises(ValueError, match="at least one sample"):
            function(library(np.zeros((0, 3))))
        with pytest.raises(ValueError, match="group_ids has 2 values for 3 samples"):
            function(library(np.zeros(3)), [0, 1])
        for bad in ([1.0, 2.0], np.array(["1", "2"]), np.array([1j, 2])):
            with pytest.raises(TypeError, match="rewards"):
                function(bad)
    for correction in (2, -1, 0.5, None):
        with pytest.raises(ValueError, match=r"correction is .*, expected one of 0, 1"):
            z_score(library([0.0, 1.0]), correction=correction)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_base_rewards_that_are_none(library):
    values = library([0.0, 1.0])
    for none in (np.zeros(0), np.array(1.0)):
        with pytest.raises(ValueError, match="holds no sample of the base policy"):
            quantile_reward(values, library(none))
    for rewards, base, name in (([0.0, math.nan], [0.0], "rewards"), ([0.0], [1.0, math.inf], "base_rewards")):
        with pytest.raises(ValueError, match=rf"^{name}\[1\] is"):
            quantile_reward(library(rewards), library(base))
    with pytest.raises(ValueError, match=r"rewards \(2,\), base_rewards \(3,\)"):
        quantile_reward(library(np.zeros((2, 4))), library(np.zeros((3, 4))))
    with pytest.raises(ValueError, match=r"base_rewards has batch \(3,\), rewards \(\)"):
        quantile_reward(values, library(np.zeros((3, 4))))
    for bad in ([0.0], np.array(["0"])):
        with pytest.raises(TypeError, match="base_rewards"):
            quantile_reward(values, bad)
