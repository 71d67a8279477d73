"""The first wrong step: worked solutions, a loop over each of them, and the harmonic mean of two accuracies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.first_error import first_below, first_error_accuracy, largest_drop, lowest_score

LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
tenths = st.integers(0, 10).map(lambda number: number / 10)  # many ties
batches = arrays(np.float64, (4, 6), elements=tenths)
lengths = arrays(np.int64, 4, elements=st.integers(0, 6))
SCORES = np.array([[0.9, 0.8, 0.3, 0.2, 0.7], [0.9, 0.8, 0.9, 0.9, 0.9], [0.4, 0.6, 0.6, 0.1, 0.1]])


def by_loop(scores, mask, of_solution):
    return [of_solution([float(s) for s, here in zip(row, there, strict=True) if here]) for row, there in
            zip(scores, mask, strict=True)]  # fmt: skip


def loop_first_below(steps, threshold):
    return next((place for place, score in enumerate(steps) if score < threshold), -1)


def loop_lowest(steps, threshold=None):
    if not steps or (threshold is not None and min(steps) >= threshold):
        return -1
    return steps.index(min(steps))


def loop_drop(steps, least=None):
    falls = [before - after for before, after in zip([1.0, *steps], steps, strict=False)]
    if not steps or (least is not None and max(falls) < least):
        return -1
    return falls.index(max(falls))


@LIBRARIES
def test_worked(library):
    scores = library(SCORES)
    assert first_below(scores, 0.5).tolist() == [2, -1, 0]
    assert lowest_score(scores).tolist() == [3, 1, 3]
    assert lowest_score(scores, threshold=0.5).tolist() == [3, -1, 3]
    assert largest_drop(scores).tolist() == [2, 0, 0]  # 0.6 down at the first step of the last
    assert largest_drop(scores, least=0.5).tolist() == [2, -1, 0]
    assert largest_drop(scores, least=0.55).tolist() == [-1, -1, 0]


@given(batches, lengths, tenths)
def test_solution_by_solution(scores, length, threshold):
    mask = np.arange(6) < length[:, None]
    for library in (np.asarray, torch.tensor):
        padded, there = library(np.where(mask, scores, np.nan)), library(mask)
        for found, expected in (
            (first_below(padded, threshold, there), lambda steps: loop_first_below(steps, threshold)),
            (lowest_score(padded, there), loop_lowest),
            (lowest_score(padded, there, threshold=threshold), lambda steps: loop_lowest(steps, threshold)),
            (largest_drop(padded, there), loop_drop),
            (largest_drop(padded, there, least=threshold), lambda steps: loop_drop(steps, threshold)),
        ):
            assert str(found.dtype).endswith("int64") and type(found) is type(padded)
            assert found.tolist() == by_loop(scores, mask, expected)


@given(batches, st.sampled_from([np.sqrt, np.square]))
def test_the_lowest_score_is_invariant_to_increasing_maps(scores, increasing):
    np.testing.assert_array_equal(lowest_score(increasing(scores)), lowest_score(scores))


@LIBRARIES
def test_labels_locate_their_first_wrong_step(library):
    for dtype in (bool, np.int64, np.float32):
        labels = library(np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 1, 1]], dtype))
        assert first_below(labels, 0.5).tolist() == [2, -1, 0]
        assert lowest_score(labels, threshold=0.5).tolist() == [2, -1, 0]
        assert largest_drop(labels, least=1.0).tolist() == [2, -1, 0]


@LIBRARIES
def test_one_solution_one_step_and_none(library):
    one = library(np.array([0.9, 0.1]))
    assert int(first_below(one, 0.5)) == int(lowest_score(one)) == int(largest_drop(one)) == 1
    single = library(np.array([[0.3]]))
    assert [function(single).tolist() for function in (lowest_score, largest_drop)] == [[0], [0]]
    for shape in ((0, 3), (2, 0)):
        empty = library(np.zeros(shape))
        for found in (first_below(empty, 0.5), lowest_score(empty), largest_drop(empty)):
            assert found.tolist() == [-1] * shape[0]
    padding = library(np.zeros((2, 3), bool))
    for found in (
        first_below(library(np.full((2, 3), np.nan)), 0.5, padding),
        lowest_score(library(np.zeros((2, 3))), padding),
        largest_drop(library(np.zeros((2, 3))), padding),
    ):
        assert found.tolist() == [-1, -1]


def test_nothing_is_changed_in_place():
    scores = SCORES.copy()
    largest_drop(scores), lowest_score(scores), first_below(scores, 0.5)
    np.testing.assert_array_equal(scores, SCORES)


@LIBRARIES
def test_f1_worked(library):
    actual = library(np.array([1, 3, 0, 2, 4, -1, -1, -1]))  # found 2 of 5, and 2 of 3: 2 * .4 * .667 / 1.067
    predicted = library(np.array([1, 3, 1, -1, 0, -1, 2, -1]))
    found = first_error_accuracy(predicted, actual)
    assert (found.wrong, found.right, found.f1) == pytest.approx((0.4, 2 / 3, 0.5))
    assert isinstance(found.f1, float)
    silent = first_error_accuracy(library(np.full(8, -1)), actual)  # sees no error anywhere
    assert (silent.wrong, silent.right, silent.f1) == (0.0, 1.0, 0.0)
    nothing = first_error_accuracy(library(np.full(8, 7)), actual)
    assert (nothing.wrong, nothing.right, nothing.f1) == (0.0, 0.0, 0.0)
    perfect = first_error_accuracy(actual, actual)
    assert (perfect.wrong, perfect.right, perfect.f1) == (1.0, 1.0, 1.0)


@given(arrays(np.int64, (3, 12), elements=st.integers(-1, 3)), arrays(np.int64, (3, 12), elements=st.integers(-1, 3)))
def test_f1_is_the_harmonic_mean_whatever_the_share_of_wrong_solutions(predicted, actual):
    actual[:, 0], actual[:, 1] = -1, 2
    for library in (np.asarray, torch.tensor):
        found = first_error_accuracy(library(predicted), library(actual))
        for row in range(3):
            hit = predicted[row] == actual[row]
            wrong, right = hit[actual[row] >= 0].mean(), hit[actual[row] < 0].mean()
            f1 = 0.0 if wrong + right == 0 else 2 * wrong * right / (wrong + right)
            assert (float(found.wrong[row]), float(found.right[row])) == pytest.approx((wrong, right))
            assert float(found.f1[row]) == pytest.approx(f1)
            assert min(wrong, right) - 1e-12 <= float(found.f1[row]) <= (wrong + right) / 2 + 1e-12
    doubled = [np.concatenate([places, *[places[:, actual[0] >= 0]] * 3], 1)[0] for places in (predicted, actual)]
    assert first_error_accuracy(*doubled).f1 == pytest.approx(
        first_error_accuracy(predicted[0], actual[0]).f1
    )  # more of the wrong ones


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_what_is_refused(library):
    scores = library(SCORES)
    for function in (lambda *a: first_below(a[0], 0.5, *a[1:]), lowest_score, largest_drop):
        with pytest.raises(ValueError, match=r"step_scores\[0, 1\] is nan, expected a score in \[0, 1\]"):
            function(library([[0.5, math.nan]]))
        with pytest.raises(ValueError, match=r"step_scores\[1\] is 1.2"):
            function(library([0.5, 1.2]))
        with pytest.raises(ValueError, match=r"mask\[0, 2\] is True after a False"):
            function(library([[0.5, 0.5, 0.5]]), library([[True, False, True]]))
        with pytest.raises(ValueError, match="mask has shape"):
            function(scores, library([True]))
        with pytest.raises(TypeError, match="mask has dtype"):
            function(scores, library(np.ones(SCORES.shape)))
        with pytest.raises(TypeError, match="step_scores"):
            function([[0.5]])
        with pytest.raises(TypeError, match=r"step_scores has dtype .*complex128"):
            function(library(np.array([0.5j])))
        with pytest.raises(ValueError, match="step_scores is a single number"):
            function(library(0.5))
    for bad in (1.5, math.nan, -0.1):
        with pytest.raises(ValueError, match="threshold is"):
            first_below(scores, bad)
        with pytest.raises(ValueError, match="threshold is"):
            lowest_score(scores, threshold=bad)
        with pytest.raises(ValueError, match="least is"):
            largest_drop(scores, least=bad)
    places = library(np.array([1, -1]))
    with pytest.raises(ValueError, match=r"predicted\[1\] is -2, expected a place from 0, or -1"):
        first_error_accuracy(library(np.array([1, -2])), places)
    with pytest.raises(TypeError, match=r"predicted has dtype .*float64, expected signed whole numbers"):
        first_error_accuracy(library(np.array([1.0, -1.0])), places)
    with pytest.raises(TypeError, match="actual: expected a NumPy array or torch tensor, got list"):
        first_error_accuracy(places, [1, -1])
    with pytest.raises(ValueError, match=r"predicted has shape \(2,\), actual \(3,\)"):
        first_error_accuracy(places, library(np.array([1, -1, 0])))
    with pytest.raises(ValueError, match="actual has no right solution"):
        first_error_accuracy(places, library(np.array([1, 0])))
    with pytest.raises(ValueError, match="actual has no wrong solution"):
        first_error_accuracy(library(np.array([[1, 0], [1, -1]])), library(np.array([[1, -1], [-1, -1]])))
    with pytest.raises(ValueError, match="actual has no wrong solution"):
        first_error_accuracy(places[:0], places[:0])
