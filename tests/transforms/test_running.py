"""Running statistics are those of everything at once, however it came."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.transforms import RunningStatistics

batches = st.lists(st.lists(st.floats(-800, 800), max_size=6), min_size=1, max_size=6)
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])


def after(parts):
    statistics = RunningStatistics()
    for part in parts:
        statistics.update(np.array(part, dtype=float))
    return statistics


@given(batches)
def test_batch_by_batch_is_all_at_once(parts):
    everything = np.concatenate([np.array(part, dtype=float) for part in parts])
    statistics = after(parts)
    assert statistics.count == len(everything)
    if len(everything):
        assert statistics.mean == pytest.approx(everything.mean(), rel=1e-10, abs=1e-10)
        assert statistics.deviation == pytest.approx(everything.std(), rel=1e-8, abs=1e-8)
        assert statistics.squared_deviation == pytest.approx(everything.var() * len(everything), rel=1e-8, abs=1e-8)
    else:
        assert statistics == RunningStatistics() and statistics.deviation == 0.0


@given(batches)
def test_the_order_of_batches_does_not_matter(parts):
    one, other = after(parts), after(parts[::-1])
    assert one.count == other.count
    assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-9)
    assert one.deviation == pytest.approx(other.deviation, rel=1e-7, abs=1e-7)


def test_worked():
    statistics = after([[1.0, 2.0], [6.0]])
    assert (statistics.count, statistics.mean) == (3, 3.0)
    assert statistics.squared_deviation == pytest.approx(14.0) and statistics.deviation == pytest.approx(
        14**0.5 / 3**0.5
    )


def test_no_cancellation_far_from_zero():
    assert after([[1e9 + number] for number in range(5)]).deviation == pytest.approx(2**0.5, rel=1e-7)
    assert after([[1e9 + number for number in range(5)]]).deviation == pytest.approx(2**0.5, rel=1e-7)
    assert after([[0.35]] * 1000).deviation == pytest.approx(0.0, abs=1e-15)


@LIBRARIES
def test_any_library_shape_and_dtype(library):
    statistics = RunningStatistics()
    statistics.update(library(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)))
    statistics.update(library(np.array(10.0)))
    statistics.update(library([5, 5]))
    statistics.update(library(np.zeros((0, 3))))
    expected = np.array([1.0, 2, 3, 4, 10, 5, 5])
    assert statistics.count == 7
    assert statistics.mean == pytest.approx(expected.mean()) and statistics.deviation == pytest.approx(expected.std())
    assert all(type(value) in (int, float) for value in statistics.state_dict().values())


@LIBRARIES
def test_low_precision_is_summed_in_float64(library):
    values = np.full(4000, 800.0, np.float16)
    values[0] = 0.0
    statistics = RunningStatistics()
    with np.errstate(over="ignore"):
        statistics.update(library(values))
    assert statistics.mean == pytest.approx(799.8, rel=1e-12)
    assert statistics.deviation == pytest.approx(values.astype(float).std(), rel=1e-12)


@LIBRARIES
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_and_leaves_the_statistics_as_they_were(library, bad):
    statistics = after([[1.0, 2.0]])
    with pytest.raises(ValueError, match=rf"values\[1\] is {bad}"):
        statistics.update(library([0.0, bad]))
    assert statistics == after([[1.0, 2.0]])


@given(batches, batches)
def test_a_restored_state_goes_on_as_if_nothing_had_happened(before, later):
    kept, restored = after(before), RunningStatistics()
    restored.load_state_dict(json.loads(json.dumps(kept.state_dict())))
    assert restored == kept
    for part in later:
        kept.update(np.array(part, dtype=float))
        restored.update(np.array(part, dtype=float))
    assert restored == kept


STATE = {"count": 2, "mean": 0.5, "squared_deviation": 1.0}
BAD_STATES = {
    "nothing": ({}, ValueError, r"state holds \[\], expected count, mean and squared_deviation"),
    "missing": ({"count": 2, "mean": 0.5}, ValueError, r"state holds \['count', 'mean'\]"),
    "unknown": ({**STATE, "variance": 1.0}, ValueError, "variance"),
    "negative count": ({**STATE, "count": -1}, ValueError, "count is -1"),
    "half a count": ({**STATE, "count": 1.5}, TypeError, "count is 1.5"),
    "no mean": ({**STATE, "mean": math.nan}, ValueError, "mean is nan"),
    "text": ({**STATE, "mean": "0.5"}, TypeError, "mean: expected a number"),
    "negative": ({**STATE, "squared_deviation": -1e-9}, ValueError, "squared_deviation is -1e-09"),
    "infinite": ({**STATE, "squared_deviation": math.inf}, ValueError, "squared_deviation is inf"),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(("state", "error", "message"), BAD_STATES.values(), ids=BAD_STATES)
def test_states_that_are_none(state, error, message):
    statistics = after([[1.0, 2.0]])
    with pytest.raises(error, match=message):
        statistics.load_state_dict(state)
    assert statistics == after([[1.0, 2.0]])
