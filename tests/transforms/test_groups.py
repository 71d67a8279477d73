"""Groups of samples by loops: any kind of id, any order, and samples that are not there."""

import math
from statistics import fmean, pstdev, stdev

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.transforms import Groups, mean_centred
from rewardlab.transforms.groups import in_dtype_of, restored, ungrouped

SAMPLES = 9
quarters = st.integers(-3200, 3200).map(lambda number: number / 4)
values_of = arrays(np.float64, (2, SAMPLES), elements=quarters)
ids_of = arrays(np.int64, SAMPLES, elements=st.integers(0, 3))
present_of = arrays(np.bool_, (2, SAMPLES))
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])

NUMBERS = [5, -2, 5, 9, -2, 5]
SORTED = [1, 0, 1, 2, 0, 1]  # numbered by value
SEEN = [0, 1, 0, 2, 1, 0]  # numbered as they come
KINDS = {
    "list": (NUMBERS, SEEN),
    "tuple": (tuple(NUMBERS), SEEN),
    "range": (range(6), list(range(6))),
    "text": ([f"prompt {number}" for number in NUMBERS], SEEN),
    "tuples": ([(number, "a") for number in NUMBERS], SEEN),
    "mixed": ([7, "b", 7, 2.5, "b", 7], SEEN),
    "numpy numbers": ([np.int64(number) for number in NUMBERS], SEEN),
    "int64": (np.array(NUMBERS), SORTED),
    "int8": (np.array(NUMBERS, np.int8), SORTED),
    "unsigned": (np.array([2, 1, 2, 3, 1, 2], np.uint64), SORTED),
    "large": (np.array(NUMBERS) + 2**62, SORTED),
    "text array": (np.array(["b", "a", "b", "c", "a", "b"]), SORTED),
    "bytes": (np.array([b"b", b"a", b"b", b"c", b"a", b"b"]), SORTED),
    "objects": (np.array(["b", 1, "b", (2, 3), 1, "b"], dtype=object), SEEN),
    "booleans": (np.array([True, False, True, True, False, True]), [1, 0, 1, 1, 0, 1]),
    "torch": (torch.tensor(NUMBERS), SORTED),
    "torch int32": (torch.tensor(NUMBERS, dtype=torch.int32), SORTED),
}


@pytest.mark.parametrize("like", [np.zeros(6), torch.zeros(6)], ids=["numpy", "torch"])
@pytest.mark.parametrize(("ids", "expected"), KINDS.values(), ids=KINDS)
def test_any_kind_of_id(ids, expected, like):
    groups = Groups.from_ids(ids, like=like)
    assert type(groups.index) is type(like) and type(groups.sizes) is type(like)
    assert groups.index.tolist() == expected
    assert groups.count == max(expected) + 1
    assert groups.sizes.tolist() == [expected.count(number) for number in range(groups.count)]


@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@given(values=values_of, ids=ids_of, present=present_of, correction=st.integers(0, 1))
def test_statistics_by_loops(library, values, ids, present, correction):
    v, here = library(values), library(present)
    groups = Groups.from_ids(ids, like=v)
    sums, means = groups.sum(v), groups.mean(v, here)
    deviations, spreads = groups.deviation(v, here, correction=correction)
    middles = groups.order_statistic(v, here, 0.5)
    assert tuple(sums.shape) == tuple(means.shape) == tuple(spreads.shape) == tuple(middles.shape) == (2, groups.count)
    for row in range(2):
        for number, name in enumerate(sorted(set(ids.tolist()))):
            members = [place for place in range(SAMPLES) if ids[place] == name]
            counted = [values[row, place] for place in members if present[row, place]]
            assert float(sums[row, number]) == sum(values[row, members].tolist())
            mean = fmean(counted) if counted else 0.0
            assert float(means[row, number]) == pytest.approx(mean, abs=1e-10)
            spread = (stdev if correction else pstdev)(counted) if len(counted) > 1 else 0.0
            assert float(spreads[row, number]) == pytest.approx(spread, rel=1e-10)
            middle = sorted(counted)[max(math.ceil(len(counted) / 2), 1) - 1] if counted else math.nan
            assert float(middles[row, number]) == pytest.approx(middle, nan_ok=True)
            for place in members:
                deviation = values[row, place] - mean if present[row, place] and spread else 0.0
                assert float(deviations[row, place]) == pytest.approx(deviation, abs=1e-10)


@given(arrays(np.float64, 12, elements=quarters), st.integers(0, 100))
def test_order_statistics_from_the_smallest_to_the_largest(values, percent):
    groups = Groups.of_rows((1, 12), like=values)
    found = groups.order_statistic(values, np.ones(12, bool), percent / 100).tolist()
    assert found == [sorted(values)[max(-(-percent * 12 // 100), 1) - 1]]  # whole numbers: no rounding in the ceiling


def test_the_ceiling_of_a_product_that_rounding_lifts():
    for number, level, expected in ((20, 0.85, 16.0), (100, 0.07, 6.0)):  # 0.07 x 100 is 7.000000000000001
        values = np.arange(float(number))
        groups = Groups.of_rows((1, number), like=values)
        assert groups.order_statistic(values, np.ones(number, bool), level).tolist() == [expected]


@LIBRARIES
def test_spread_hands_each_sample_its_groups_value(library):
    groups = Groups.from_ids(NUMBERS, like=library(np.zeros(6)))
    assert groups.spread(library([10.0, 20.0, 30.0])).tolist() == [10, 20, 10, 30, 20, 10]
    assert groups.spread(library([[1.0, 2.0, 3.0]])).tolist() == [[1, 2, 1, 3, 2, 1]]


@LIBRARIES
def test_rows_are_groups(library):
    groups = Groups.of_rows((2, 3), like=library(np.zeros(6)))
    assert groups.index.tolist() == [0, 0, 0, 1, 1, 1] and groups.sizes.tolist() == [3, 3] and groups.count == 2
    assert Groups.of_rows((2, 2, 2), like=library(np.zeros(8))).index.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert Groups.of_rows((4,), like=library(np.zeros(4))).sizes.tolist() == [4]


@LIBRARIES
def test_a_constant_group_in_float32_has_no_spread(library):
    for constant in (0.35, 1e4 + 0.1, -7e7):
        values = library(np.full(7, constant, np.float32).astype(np.float64))
        groups = Groups.of_rows((1, 7), like=values)
        deviation, spread = groups.deviation(values, library(np.ones(7, bool)), correction=1)
        assert deviation.tolist() == [0.0] * 7 and spread.tolist() == [0.0]


@LIBRARIES
@pytest.mark.parametrize(("mean", "least"), [(0.0, 1e-6), (1.0, 1e-6), (1000.0, 1e-3), (-1000.0, 1e-3)])
def test_what_spread_counts_as_rounding(mean, least, library):
    for factor, varies in ((0.9, False), (1.1, True)):
        values = library(np.array([mean - factor * least, mean + factor * least]))
        groups = Groups.of_rows((1, 2), like=values)
        deviation, spread = groups.deviation(values, library([True, True]), correction=0)
        assert (spread.tolist() != [0.0]) == varies
        assert (deviation.tolist() != [0.0, 0.0]) == varies


@LIBRARIES
def test_a_batch_laid_out_flat(library):
    values, groups, present = ungrouped(
        "rewards", library(np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)), None, None
    )
    assert values.tolist() == [1.0, 0.0, 3.0, 4.0] and str(values.dtype).endswith("float64")
    assert present.tolist() == [True, False, True, True] and groups.sizes.tolist() == [2, 2]
    whole = Groups.from_ids(NUMBERS, like=library(np.zeros(6)))
    assert ungrouped("rewards", library(np.zeros(6)), whole, None)[1] is whole


@LIBRARIES
def test_back_in_shape_and_dtype(library):
    values = library(np.array([0.5, 1.5]))
    assert restored(values, library(np.zeros((2, 1), np.float32))).tolist() == [[0.5], [1.5]]
    assert in_dtype_of(values, library(np.zeros(2, np.float32))).dtype == library(np.zeros(2, np.float32)).dtype
    assert in_dtype_of(values, library([1, 2])).tolist() == [0.5, 1.5]  # no fraction is cut off


def test_absent_samples_may_hold_infinity():
    rewards = np.array([1.0, np.inf, 3.0])
    present = np.array([True, False, True])
    assert mean_centred(rewards, [0, 0, 0], present).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
class TestBadInputs:
    def test_ids_of_another_length(self, library):
        for ids in ([1, 2], np.array([1, 2]), ["a"] * 4, torch.tensor([1, 2])):
            with pytest.raises(ValueError, match=rf"group_ids has {len(ids)} values for 3 samples"):
                mean_centred(library(np.zeros(3)), ids)

    def test_ids_that_are_none(self, library):
        rewards = library(np.zeros(3))
        for ids in (np.array([0.5, 1.0, 2.0]), torch.tensor([0.5, 1.0, 2.0]), np.zeros((3, 1), int), np.array(1)):
            with pytest.raises(TypeError, match="group_ids: expected whole numbers or text"):
                mean_centred(rewards, ids)
        for ids in ("abc", {0, 1, 2}, 7, iter([1, 2, 3])):
            with pytest.raises(TypeError, match="expected a sequence with one id a sample"):
                mean_centred(rewards, ids)
        with pytest.raises(TypeError, match="unhashable"):
            mean_centred(rewards, [[1], [1], [1]])

    def test_a_sample_without_an_id(self, library):
        with pytest.raises(ValueError, match=r"group_ids\[1\] is None, expected the id of a prompt"):
            mean_centred(library(np.zeros(3)), ["a", None, "a"])

    def test_a_list_of_tensors_would_make_each_sample_its_own_group(self, library):
        with pytest.raises(TypeError, match="each equal to itself alone"):
            mean_centred(library(np.zeros(3)), list(torch.tensor([1, 1, 1])))

    def test_no_samples(self, library):
        for ids in ([], np.zeros(0, int)):
            with pytest.raises(ValueError, match="the batch holds no samples"):
                mean_centred(library(np.zeros(0)), ids)
        for shape in ((), (0,), (2, 0), (0, 4)):
            with pytest.raises(ValueError, match="at least one sample"):
                mean_centred(library(np.zeros(shape)))

    def test_ids_of_a_batch_in_rows(self, library):
        with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(samples,\) where group_ids are given"):
            mean_centred(library(np.zeros((2, 3))), [0, 0, 1])

    def test_groups_of_another_batch(self, library):
        groups = Groups.from_ids([0, 0], like=library(np.zeros(2)))
        with pytest.raises(ValueError, match="rewards has 3 samples, the groups 2"):
            mean_centred(library(np.zeros(3)), groups)

    def test_present(self, library):
        rewards = library(np.array([1.0, 3.0, 8.0]))
        with pytest.raises(ValueError, match=r"present has shape \(2,\), rewards \(3,\)"):
            mean_centred(rewards, present=library([True, False]))
        with pytest.raises(TypeError, match="present: expected a NumPy array or torch tensor, got list"):
            mean_centred(rewards, present=[True, True, False])
        assert mean_centred(rewards, present=library([1, 1, 0])).tolist() == [-1.0, 1.0, 0.0]

    def test_values(self, library):
        for bad in (math.inf, -math.inf):
            with pytest.raises(ValueError, match=rf"rewards\[1\] is {bad}"):
                mean_centred(library([0.0, bad]))
        with pytest.raises(ValueError, match=r"rewards\[1\] is nan"):
            mean_centred(library([0.0, math.nan]), present=library([True, True]))
