"""Running moments are those of all numbers together, which the released code's are not."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.running_moments import RunningMoments

batches = st.lists(st.lists(st.floats(-100, 100), max_size=5), min_size=1, max_size=5)


def merged_as_released(moments, batch):
    """One merge with the batch's variance divided by n - 1, as in ONI's released code."""
    mean, variance, count = moments
    total, difference = count + len(batch), np.mean(batch) - mean
    squares = variance * count + np.var(batch, ddof=1) * len(batch) + difference**2 * count * len(batch) / total
    return mean + difference * len(batch) / total, squares / total, total


def test_the_released_mix_of_conventions_is_neither_variance():
    first = merged_as_released((0.0, 1.0, 1e-4), [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(first, [2.4999375, 1.6668062, 4.0001], atol=5e-8)
    second = merged_as_released(first, [10.0, 10.0, 12.0])
    np.testing.assert_allclose(second, [5.9999143, 17.8574163, 7.0001], atol=5e-8)
    z = (np.array([2.0, 6.0, 9.0, 12.0]) - second[0]) / np.sqrt(second[1])
    np.testing.assert_allclose(z, [-0.94655, 0.00002, 0.70994, 1.41987], atol=5e-6)
    moments = RunningMoments()
    moments.update(np.array([1.0, 2.0, 3.0, 4.0]))
    moments.update(np.array([10.0, 10.0, 12.0]))
    assert float(moments.mean) == pytest.approx(second[0], abs=1e-12)  # the means agree
    assert float(moments.variance) == pytest.approx(17.4286, abs=6e-4)  # the population's, not 17.857 and not 20.333
    z = moments.normalise(np.array([2.0, 6.0, 9.0, 12.0]))
    np.testing.assert_allclose(z, (np.array([2, 6, 9, 12]) - 6) / np.sqrt(122 / 7), atol=1e-4)
    assert ((z > -0.5) == [False, True, True, True]).all()


@given(batches)
def test_the_moments_are_those_of_all_numbers_and_the_start(batches):
    moments = RunningMoments(count=2.0)
    for batch in batches:
        moments.update(np.array(batch))
    # two numbers of mean 0 and variance 1
    everything = np.array([-1.0, 1.0] + [value for batch in batches for value in batch])
    assert float(moments.mean) == pytest.approx(everything.mean(), abs=1e-9)
    assert float(moments.variance) == pytest.approx(everything.var(), rel=1e-9, abs=1e-9)
    assert moments.count == len(everything)


def test_one_number_at_a_time_is_no_nan():
    moments = RunningMoments()
    for value in (3.0, 5.0):
        moments.update(np.array([value]))
    assert (float(moments.mean), float(moments.variance)) == pytest.approx((4.0, 1.0), abs=1e-3)


def test_equal_numbers_do_not_divide_by_zero():
    moments = RunningMoments(count=1e-12)
    moments.update(np.full(1000, 7.0))
    assert np.isfinite(moments.normalise(np.array([7.0, 8.0]))).all()


def test_features_have_moments_of_their_own():
    moments, values = RunningMoments((2,)), np.random.default_rng(0).normal([0, 5], [1, 3], size=(50, 2))
    moments.update(values[:20])
    moments.update(values[20:])
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(moments.deviation, values.std(axis=0), rtol=1e-4)
    again = RunningMoments((2,))
    again.load_state_dict(json.loads(json.dumps(moments.state_dict())))
    np.testing.assert_array_equal(again.normalise(values), moments.normalise(values))
    assert again.count == moments.count


def test_bad_input(without_type_checks):
    with pytest.raises(ValueError, match=r"values has shape \(2, 3\), expected \(batch\)"):
        RunningMoments().update(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"values has shape \(2, 3\), expected \(batch, 2\)"):
        RunningMoments((2,)).update(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"values\[1\] is nan"):
        RunningMoments().update(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="count is 0"):
        RunningMoments(count=0.0)
    with pytest.raises(ValueError, match=r"state has moments of shape \(\), expected \(2,\)"):
        RunningMoments((2,)).load_state_dict(RunningMoments().state_dict())
