"""Likelihoods of the answer and their rise: worked numbers, telescoping, and what is missing staying missing."""

import math
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.information_gain import answer_likelihood, information_gain

RISING = np.array([0.05, 0.10, 0.40, 0.35, 0.90])
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
TURNS = 5
likelihoods_of = arrays(np.float64, (3, TURNS + 1), elements=st.floats(1e-8, 1.0))
turns_of = arrays(np.int64, 3, elements=st.integers(0, TURNS))
log_probs_of = arrays(np.float64, (2, 3, 4), elements=st.floats(-30.0, 0.0))
tokens_of = arrays(np.bool_, (2, 3, 4))


def mask_of(turns, most=TURNS):
    return np.arange(most) < np.asarray(turns)[:, None]


@LIBRARIES
def test_worked_gains(library):
    probability = information_gain(library(RISING))
    np.testing.assert_allclose(probability, [0.05, 0.30, -0.05, 0.55], atol=1e-12)
    assert float(probability.sum()) == pytest.approx(0.85, abs=1e-12)
    logs = information_gain(library(RISING), kind="log_probability")
    np.testing.assert_allclose(logs, [0.693147, 1.386294, -0.133531, 0.944462], atol=1e-6)
    assert float(logs.sum()) == pytest.approx(2.890372, abs=1e-6)
    assert float(logs.sum()) == pytest.approx(math.log(0.90 / 0.05), abs=1e-12)


def test_the_log_gain_has_no_bound():
    assert information_gain(np.array([1.0, 1e-8]), kind="log_probability")[0] == pytest.approx(-18.420681, abs=1e-6)
    assert information_gain(np.array([1.0, 1e-8]))[0] == pytest.approx(-1.0, abs=1e-7)


@given(likelihoods_of, turns_of)
def test_gains_add_up_to_the_last_likelihood_less_the_first(likelihoods, turns):
    mask = mask_of(turns)
    last = likelihoods[np.arange(3), turns]
    probability = information_gain(likelihoods, mask)
    np.testing.assert_allclose(probability.sum(-1), last - likelihoods[:, 0], atol=1e-12)
    assert (np.abs(probability) <= 1).all() and (probability[~mask] == 0).all()
    logs = information_gain(likelihoods, mask, kind="log_probability")
    np.testing.assert_allclose(logs.sum(-1), np.log(last / likelihoods[:, 0]), atol=1e-11)
    assert (logs[~mask] == 0).all()


@given(likelihoods_of, turns_of)
def test_a_gain_is_the_difference_to_the_turn_before(likelihoods, turns):
    for kind, value in (("probability", float), ("log_probability", math.log)):
        found = information_gain(likelihoods, mask_of(turns), kind=kind)
        for sample, turn in np.ndindex(3, TURNS):
            before, after = likelihoods[sample, turn : turn + 2]
            expected = value(after) - value(before) if turn < turns[sample] else 0.0
            assert found[sample, turn] == pytest.approx(expected, abs=1e-12)


@given(likelihoods_of, turns_of)
def test_what_is_behind_the_last_turn_does_not_matter(likelihoods, turns):
    mask = mask_of(turns)
    padded = np.where(np.pad(mask, ((0, 0), (1, 0)), constant_values=True), likelihoods, np.nan)
    for kind in ("probability", "log_probability"):
        expected = information_gain(likelihoods, mask, kind=kind)
        np.testing.assert_array_equal(information_gain(padded, mask, kind=kind), expected)
        in_torch = information_gain(torch.tensor(padded), torch.tensor(mask), kind=kind)
        np.testing.assert_allclose(in_torch.numpy(), expected, rtol=1e-12, atol=1e-15)


@given(log_probs_of, tokens_of)
def test_the_likelihood_is_the_geometric_mean_of_the_tokens(log_probs, mask):
    found = answer_likelihood(log_probs, mask)
    for place in np.ndindex(2, 3):
        tokens = [float(value) for value in log_probs[place][mask[place]]]
        if tokens:
            assert found[place] == pytest.approx(math.exp(fmean(tokens)), rel=1e-12)
        else:
            assert np.isnan(found[place])
    np.testing.assert_allclose(answer_likelihood(torch.tensor(log_probs), torch.tensor(mask)), found, rtol=1e-12)
    hidden = np.where(mask, log_probs, np.nan)  # what is no token of the answer may hold anything
    np.testing.assert_array_equal(answer_likelihood(hidden, mask), found)
    np.testing.assert_array_equal(answer_likelihood(np.where(mask, log_probs, 5.0), mask), found)


def test_a_long_answer_is_not_less_likely_for_its_length():
    short, long = (answer_likelihood(np.log(np.full((2, tokens), 0.7))) for tokens in (1, 50))
    np.testing.assert_allclose(short, long)
    one_wrong = np.log([[1.0] * 9 + [0.001]])
    assert answer_likelihood(one_wrong)[0] == pytest.approx(0.501187, abs=1e-6)


def test_the_end_of_a_short_rollout_goes_from_tokens_to_gains():
    log_probs = np.log(np.array([[[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]], [[0.2, 0.2], [0.9, 0.4], [1.0, 1.0]]]))
    tokens = np.array([[[True, True]] * 3, [[True, True], [True, True], [False, False]]])
    likelihoods = answer_likelihood(log_probs, tokens)
    np.testing.assert_allclose(likelihoods, [[0.2, 0.5, 0.8], [0.2, 0.6, np.nan]])
    np.testing.assert_allclose(information_gain(likelihoods, mask_of([2, 1], 2)), [[0.3, 0.3], [0.4, 0.0]])
    with pytest.raises(ValueError, match=r"likelihoods\[1, 2\] is nan"):
        information_gain(likelihoods)  # a turn whose likelihood is missing is no turn without gain


def test_a_ruled_out_token_makes_the_answer_impossible():
    likelihoods = answer_likelihood(np.array([[-np.inf, -0.5], [-0.5, -0.5]]))
    np.testing.assert_allclose(likelihoods, [0.0, math.exp(-0.5)])
    np.testing.assert_allclose(information_gain(likelihoods), [math.exp(-0.5)])
    with pytest.raises(ValueError, match=r"likelihoods\[0\] is 0, expected a number in \(0, 1\]: its logarithm"):
        information_gain(likelihoods, kind="log_probability")


def test_rounding_above_a_log_probability_of_0_is_taken_for_0():
    assert answer_likelihood(np.array([[0.004, 0.004]]))[0] == 1.0
    information_gain(answer_likelihood(np.array([[0.004], [0.004]])))


def test_no_gradient_reaches_the_policy_through_its_reward():
    log_probs = torch.full((2, 3), -0.5, requires_grad=True)
    likelihoods = answer_likelihood(log_probs)
    assert not likelihoods.requires_grad and not information_gain(likelihoods).requires_grad


@LIBRARIES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_kept(library, dtype):
    log_probs = library(np.log(np.array([[0.2, 0.2], [0.5, 0.5]])).astype(dtype))
    likelihoods = answer_likelihood(log_probs)
    gains = information_gain(likelihoods)
    assert likelihoods.dtype == gains.dtype == log_probs.dtype
    assert float(gains[0]) == pytest.approx(0.3, abs=1e-3)


def test_bfloat16_and_whole_numbers():
    half = answer_likelihood(torch.tensor([[-1.0], [-0.5]], dtype=torch.bfloat16))
    assert information_gain(half).dtype == torch.bfloat16
    np.testing.assert_array_equal(information_gain(np.array([0, 1, 1])), [1.0, 0.0])


def test_nothing_to_do():
    assert information_gain(np.array([0.5])).shape == (0,)  # a question and no turn
    assert information_gain(np.ones((0, 4))).shape == (0, 3)
    assert answer_likelihood(np.ones((0, 4, 2))).shape == (0, 4)
    assert np.isnan(answer_likelihood(np.ones((2, 0)))).all()  # no token, no likelihood


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: answer_likelihood([[0.0]]), TypeError, "log_probs: expected a NumPy array or torch tensor, got list"),
        (lambda: answer_likelihood(np.zeros(3)), ValueError, r"log_probs has shape \(3,\), expected \(\*batch"),
        (lambda: answer_likelihood(np.array([[0.0], [0.5]])), ValueError, r"log_probs\[1, 0\] is 0.5, expected a log"),
        (lambda: answer_likelihood(np.array([[0.0], [np.nan]])), ValueError, r"log_probs\[1, 0\] is nan"),
        (lambda: answer_likelihood(np.array([[np.inf], [0.0]])), ValueError, r"log_probs\[0, 0\] is inf"),
        (lambda: answer_likelihood(np.zeros((2, 2)), np.ones((2, 2))), TypeError, "of float64, expected booleans"),
        (lambda: answer_likelihood(np.zeros((2, 2)), torch.ones(2, 2) > 0), TypeError, "mask is a Tensor"),
        (lambda: answer_likelihood(np.zeros((2, 2)), np.ones((2, 3), bool)), ValueError, r"mask has shape \(2, 3\)"),
        (lambda: information_gain([0.1, 0.2]), TypeError, "likelihoods: expected a NumPy array"),
        (lambda: information_gain(np.ones(())), ValueError, "the first is that before any turn"),
        (lambda: information_gain(np.ones((3, 0))), ValueError, r"likelihoods has shape \(3, 0\)"),
        (
            lambda: information_gain(np.array([0.1, 1.2])),
            ValueError,
            r"likelihoods\[1\] is 1.2, expected a number in \[",
        ),
        (lambda: information_gain(np.array([-0.1, 0.2])), ValueError, r"likelihoods\[0\] is -0.1"),
        (lambda: information_gain(np.array([0.1, np.nan])), ValueError, r"likelihoods\[1\] is nan.*mask what is padd"),
        (lambda: information_gain(np.array([0.1, -np.inf])), ValueError, r"likelihoods\[1\] is -inf"),
        (lambda: information_gain(RISING, kind="logs"), ValueError, "kind is 'logs', expected one of 'probability'"),
        (lambda: information_gain(RISING, np.ones(5, bool)), ValueError, r"mask has shape \(5,\).*gains \(4,\)"),
        (lambda: information_gain(RISING, np.array([1, 0, 1, 0]) > 0), ValueError, r"mask\[2\] is True after a False"),
        (lambda: information_gain(RISING, np.ones(4)), TypeError, "mask has dtype float64, expected bool"),
        (lambda: information_gain(np.array(["0.1", "0.2"])), TypeError, "likelihoods has dtype <U3"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
