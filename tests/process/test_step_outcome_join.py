"""Step scores joined with the outcome: the sign of every step, what filler adds to a sum, and the price of length."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.credit import reward_to_go
from rewardlab.process.step_outcome_join import join_outcome

LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
WORKED = np.array([0.8, 0.6, 0.9])
FILLED = np.r_[WORKED, np.full(10, 0.9)]

score = st.integers(0, 1000).map(lambda number: number / 1000)
scores_of = arrays(np.float64, (4, 6), elements=score)
lengths_of = arrays(np.int64, 4, elements=st.integers(0, 6))
outcomes_of = arrays(np.int64, 4, elements=st.integers(0, 1))
shifts = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0])


def mask_of(lengths, steps=6):
    return np.arange(steps) < lengths[:, None]


@LIBRARIES
def test_worked_sums(library):
    def total(scores, outcome):
        return float(join_outcome(library(scores), None, library(np.array(outcome))).sum())

    assert total(WORKED, 0) == pytest.approx(-0.7)
    assert total(FILLED, 0) == pytest.approx(-1.7)
    assert total(WORKED, 1) == pytest.approx(2.3)
    assert total(FILLED, 1) == pytest.approx(11.3)


@given(scores_of, lengths_of, outcomes_of, shifts)
def test_step_by_step(scores, lengths, outcomes, shift):
    found = join_outcome(scores, mask_of(lengths), outcomes, shift=shift)
    for solution, place in np.ndindex(scores.shape):
        there = place < lengths[solution]
        expected = scores[solution, place] + outcomes[solution] - shift if there else 0.0
        assert found[solution, place] == pytest.approx(expected, abs=1e-12)
    in_torch = join_outcome(torch.tensor(scores), torch.tensor(mask_of(lengths)), torch.tensor(outcomes), shift=shift)
    np.testing.assert_array_equal(in_torch.numpy(), found)


@given(scores_of, lengths_of, outcomes_of, shifts)
def test_bounds_and_the_sign_law(scores, lengths, outcomes, shift):
    mask = mask_of(lengths)
    found = join_outcome(scores, mask, outcomes, shift=shift)
    assert (found[mask] >= -shift - 1e-12).all() and (found[mask] <= 2 - shift + 1e-12).all()
    centred = join_outcome(scores, mask, outcomes)
    right = mask & (outcomes[:, None] == 1)
    np.testing.assert_array_equal(centred[right], scores[right])
    assert ((centred[right] >= 0) & (centred[right] <= 1)).all()
    wrong = centred[mask & (outcomes[:, None] == 0)]
    assert ((wrong >= -1) & (wrong <= 0)).all()
    assert (centred[~mask] == 0).all()


@given(arrays(np.float64, 5, elements=score), st.integers(0, 6), score)
def test_what_the_sum_does_with_filler(scores, fillers, filler):
    """Each filler adds its score to a right solution, and takes 1 less its score from a wrong one."""
    longer = np.insert(scores, 4, np.full(fillers, filler))
    for outcome, each in ((1, filler), (0, filler - 1)):
        before, after = (join_outcome(part, None, np.array(outcome)).sum() for part in (scores, longer))
        assert after - before == pytest.approx(fillers * each, abs=1e-9)


@given(scores_of, lengths_of, outcomes_of, shifts)
def test_a_shift_is_a_price_on_length(scores, lengths, outcomes, shift):
    mask = mask_of(lengths)
    free, priced = (join_outcome(scores, mask, outcomes, shift=value) for value in (0.0, shift))
    np.testing.assert_allclose((free - priced).sum(-1), shift * lengths, atol=1e-9)
    # and the reward-to-go of each step falls by the steps that are left, which no baseline by place can take out
    left = np.maximum(lengths[:, None] - np.arange(6), 0)
    np.testing.assert_allclose(reward_to_go(free, mask) - reward_to_go(priced, mask), shift * left, atol=1e-9)


def test_a_constant_shift_has_no_effect_only_among_equal_lengths():
    scores, outcomes = np.array([[0.8, 0.6, 0.9], [0.5, 0.9, 0.9]]), np.array([1, 0])

    def advantages(lengths, shift):
        mask = mask_of(np.array(lengths), 3)
        returns = reward_to_go(join_outcome(scores, mask, outcomes, shift=shift), mask)
        alive = np.maximum(mask.sum(0), 1)
        return (returns - returns.sum(0) / alive) * mask

    np.testing.assert_allclose(advantages([3, 3], 1.0), advantages([3, 3], 0.0), atol=1e-12)
    assert np.abs(advantages([3, 1], 1.0) - advantages([3, 1], 0.0)).max() == pytest.approx(1.0)


def test_giving_up_at_once_beats_a_failure_that_goes_on():
    early, late = (join_outcome(part, None, np.array(0)).sum() for part in (np.array([0.1]), np.array([0.8] * 6)))
    assert early == pytest.approx(-0.9) and late == pytest.approx(-1.2)


def test_partial_credit_may_have_either_sign():
    assert join_outcome(np.array([0.2, 0.9]), None, np.array(0.5)).round(6).tolist() == [-0.3, 0.4]


@LIBRARIES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept(library, dtype):
    scores = np.array([[0.5, 0.25]], dtype)
    found = join_outcome(library(scores), None, library(np.array([0])))
    assert found.dtype == library(scores).dtype and found.tolist() == [[-0.5, -0.75]]


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_labels_are_taken_as_float64(library, dtype):
    found = join_outcome(library(np.array([[1, 0]], dtype)), None, library(np.array([True])))
    assert str(found.dtype).endswith("float64") and found.tolist() == [[1.0, 0.0]]


@LIBRARIES
def test_padding_may_hold_anything_and_empty_is_empty(library):
    scores = library(np.array([[0.5, np.nan], [np.inf, -7.0]]))
    mask = library(np.array([[True, False], [False, False]]))
    assert join_outcome(scores, mask, library(np.array([0.0, 1.0]))).tolist() == [[-0.5, 0.0], [0.0, 0.0]]
    assert tuple(join_outcome(library(np.zeros((2, 0))), None, library(np.zeros(2))).shape) == (2, 0)
    assert tuple(join_outcome(library(np.zeros((0, 3))), None, library(np.zeros(0))).shape) == (0, 3)
    assert join_outcome(library(np.zeros((2, 3, 1))), None, library(np.ones((2, 3)))).shape == (2, 3, 1)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_what_is_refused(library):
    scores, outcomes = library(np.full((2, 3), 0.5)), library(np.array([0.0, 1.0]))
    for value in (np.nan, np.inf, -0.1, 1.1):
        bad = np.full((2, 3), 0.5)
        bad[1, 2] = value
        with pytest.raises(ValueError, match=r"step_rewards\[1, 2\] is"):
            join_outcome(library(bad), None, outcomes)
        with pytest.raises(ValueError, match=r"outcomes\[1\] is"):
            join_outcome(scores, None, library(np.array([0.0, value])))
    with pytest.raises(ValueError, match="outcomes is -1"):
        join_outcome(scores[0], None, library(np.array(-1.0)))
    for wrong in (np.zeros(3), np.zeros((2, 3)), np.zeros((2, 1)), np.array(1.0)):
        with pytest.raises(ValueError, match=r"outcomes has shape .* one for each solution"):
            join_outcome(scores, None, library(wrong))
    with pytest.raises(ValueError, match="mask has shape"):
        join_outcome(scores, library(np.ones((2, 2), bool)), outcomes)
    with pytest.raises(ValueError, match=r"mask\[0, 1\] is True after a False"):
        join_outcome(scores, library(np.array([[False, True, True]] * 2)), outcomes)
    with pytest.raises(TypeError, match="mask has dtype"):
        join_outcome(scores, library(np.ones((2, 3))), outcomes)
    with pytest.raises(TypeError, match="outcomes"):
        join_outcome(scores, None, [0.0, 1.0])
    with pytest.raises(TypeError, match="step_rewards"):
        join_outcome([[0.5]], None, outcomes)
    for shift in (-0.1, 2.1, np.nan):
        with pytest.raises(ValueError, match="shift is"):
            join_outcome(scores, None, outcomes, shift=shift)


@pytest.mark.usefixtures("without_type_checks")
def test_one_library():
    with pytest.raises(TypeError, match="outcomes is a Tensor but step_rewards a ndarray; use one library"):
        join_outcome(np.ones((1, 2)), None, torch.ones(1))
