"""References by their definitions: quantiles by counting, the normal law's by the standard library, means."""

import math
from fractions import Fraction
from statistics import NormalDist, fmean, stdev

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rewardlab.transforms import Groups, gaussian_quantile_reference, mean_reference, quantile_reference
from rewardlab.transforms.reference import gaussian_quantile_of_groups

quarters = st.integers(-3200, 3200).map(lambda number: number / 4)
samples = st.lists(quarters, min_size=1, max_size=30).map(np.array)
percent = st.integers(0, 100)
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])


def quantile_by_counting(values, percent):
    """The smallest value that a share `percent` of all do not exceed, in whole numbers."""
    return min(
        value
        for value in values
        if Fraction(sum(other <= value for other in values), len(values)) >= percent / Fraction(100)
    )


@given(samples, percent)
def test_the_quantile_by_counting(values, percent):
    assert quantile_reference(values, percent / 100).tolist() == [quantile_by_counting(values, percent)]


def test_the_quantile_worked():
    assert quantile_reference(np.arange(20.0)).tolist() == [16.0]  # the 17th: 0.85 x 20 exactly
    assert quantile_reference(np.arange(100.0), 0.07).tolist() == [6.0]  # the 7th, though 0.07 x 100 rounds to above 7
    assert quantile_reference(np.arange(6.0)).tolist() == [5.0]  # too few samples to tell 0.85 from the largest
    assert quantile_reference(np.arange(7.0)).tolist() == [5.0]
    values = np.array([3.0, 1.0, 2.0])
    assert [quantile_reference(values, level).item() for level in (0.0, 1.0)] == [1.0, 3.0]


@given(samples, percent)
def test_equal_log_probabilities_change_nothing(values, percent):
    equal = np.full(values.shape, -math.log(len(values)))
    np.testing.assert_array_equal(
        quantile_reference(values, percent / 100, log_probs=equal), quantile_reference(values, percent / 100)
    )


@given(st.lists(st.tuples(quarters, st.integers(0, 5)), min_size=1, max_size=12), percent)
def test_the_quantile_of_a_law_is_that_of_as_many_copies(pairs, percent):
    values, copies = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    if not copies.sum():
        copies = copies + 1
    with np.errstate(divide="ignore"):
        log_probs = np.log(copies / copies.sum())  # -inf where there is none
    repeated = [value for value, number in zip(values, copies, strict=True) for _ in range(number)]
    expected = quantile_by_counting(repeated, max(percent, 1))
    assert quantile_reference(values, max(percent, 1) / 100, log_probs=log_probs).tolist() == [expected]


def test_a_law_worked():
    values, probs = np.array([5.0, 1.0, 3.0]), np.array([0.1, 0.6, 0.3])
    for level, expected in ((0.5, 1.0), (0.6, 1.0), (0.61, 3.0), (0.9, 3.0), (0.91, 5.0), (1.0, 5.0)):
        assert quantile_reference(values, level, log_probs=np.log(probs)).tolist() == [expected]
    never = np.array([-np.inf, np.log(0.5), np.log(0.5)])  # the largest reward has probability 0
    assert quantile_reference(values, 1.0, log_probs=never).tolist() == [3.0]
    short = never + np.log1p(-5e-7)  # sums to 1 but for rounding in float32
    assert quantile_reference(values, 1.0, log_probs=short).tolist() == [3.0]


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=5), elements=quarters), st.data())
def test_order_shift_and_scale(values, data):
    order = np.array(data.draw(st.permutations(range(values.shape[-1]))))
    for reference in (quantile_reference, gaussian_quantile_reference, mean_reference):
        before = reference(values)
        assert before.shape == (*values.shape[:-1], 1)
        np.testing.assert_allclose(reference(values[..., order]), before, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(reference(values + 5), before + 5, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(reference(values * 4), before * 4, rtol=1e-12, atol=1e-4)  # 1e-5 is not scaled


@given(st.lists(quarters, min_size=2, max_size=20), st.floats(0.01, 0.99))
def test_the_normal_quantile_by_the_standard_library(values, level):
    expected = fmean(values) + NormalDist().inv_cdf(level) * (stdev(values) + 1e-5)
    assert gaussian_quantile_reference(np.array(values), level).item() == pytest.approx(expected, rel=1e-10, abs=1e-9)


def test_the_normal_quantile_worked():
    # mean 0, standard deviation 1 (ddof 1), and the 0.85 normal quantile
    assert gaussian_quantile_reference(np.array([-1.0, 0.0, 1.0])).item() == pytest.approx(
        1.036433 * (1 + 1e-5), abs=1e-6
    )
    assert gaussian_quantile_reference(np.array([3.0, 3.0])).item() == pytest.approx(3 + 1.036433e-5, abs=1e-10)


@given(st.lists(quarters, min_size=1, max_size=20))
def test_the_mean(values):
    assert mean_reference(np.array(values)).tolist() == [pytest.approx(fmean(values), abs=1e-10)]


@given(
    arrays(np.float64, 10, elements=quarters), arrays(np.int64, 10, elements=st.integers(0, 3)), arrays(np.bool_, 10)
)
def test_the_normal_quantile_of_groups_is_that_of_each_alone(values, ids, present):
    groups = Groups.from_ids(ids, like=values)
    found = gaussian_quantile_of_groups(groups, values, present, 0.7)
    for number in range(groups.count):
        here = values[(np.asarray(groups.index) == number) & present]
        if len(here) >= 2:
            assert found[number] == pytest.approx(gaussian_quantile_reference(here, 0.7).item(), rel=1e-10, abs=1e-9)
        elif len(here) == 1:
            assert found[number] == pytest.approx(here[0], abs=1e-5)


@LIBRARIES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept(library, dtype):
    values = library(np.array([[1.0, 2.0, 4.0]], dtype))
    law = library(np.log([[0.2, 0.3, 0.5]]))
    for result in (
        quantile_reference(values),
        quantile_reference(values, log_probs=law),
        gaussian_quantile_reference(values),
        mean_reference(values),
    ):
        assert result.dtype == values.dtype
        assert tuple(result.shape) == (1, 1)


@LIBRARIES
@pytest.mark.filterwarnings("ignore:overflow encountered in reduce")
def test_means_are_taken_in_float64(library):
    values = np.array([2.0**24, 1.0, 1.0, 2.0], np.float32)  # adding 1 to the first in float32 changes nothing
    exact = np.float32(values.astype(np.float64).mean())
    assert mean_reference(library(values)).item() == exact
    half = library(np.full(4000, 800.0, np.float16))  # the sum is beyond the dtype
    assert mean_reference(half).item() == 800.0


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_integers_are_taken_as_float64(library):
    values = library([1, 2])
    assert mean_reference(values).tolist() == [1.5]
    assert gaussian_quantile_reference(values, 0.5).tolist() == [1.5]
    assert quantile_reference(values, 0.5).tolist() == [1]


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_what_is_refused(library):
    for reference in (quantile_reference, gaussian_quantile_reference, mean_reference):
        for number in (np.zeros(0), np.array(1.0), np.zeros((2, 0))):
            with pytest.raises(ValueError, match=r"rewards hold 0 samples a prompt, expected at least [12]"):
                reference(library(number))
        for bad in (math.nan, math.inf):
            with pytest.raises(ValueError, match=rf"rewards\[0, 1\] is {bad}"):
                reference(library([[0.0, bad], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="hold 1 samples a prompt, expected at least 2"):
        gaussian_quantile_reference(library([1.0]))
    for reference in (quantile_reference, gaussian_quantile_reference):
        for level in (-0.1, 1.1, math.nan):
            with pytest.raises(ValueError, match="level is"):
                reference(library([1.0, 2.0]), level)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match="no largest value"):
            gaussian_quantile_reference(library([1.0, 2.0]), level)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_log_probabilities_that_are_none(library):
    values = library([1.0, 2.0])
    with pytest.raises(ValueError, match=r"log_probs has shape \(3,\), rewards \(2,\)"):
        quantile_reference(values, log_probs=library([0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match=r"exp\(log_probs\)\[1\] is nan"):
        quantile_reference(values, log_probs=library([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"exp\(log_probs\) sums to .*expected 1 within 1e-06"):
        quantile_reference(values, log_probs=library([-1.0, -2.0]))
