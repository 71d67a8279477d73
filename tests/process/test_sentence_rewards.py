"""Rewards sentence by sentence: a loop over sentences, the belief from which flagging pays, and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.sentence_rewards import sentence_flag_reward, sentence_policy_reward

LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
labels_of = arrays(np.int64, (4, 3, 5), elements=st.integers(0, 1))
lengths_of = arrays(np.int64, 3, elements=st.integers(1, 5))
weights = st.integers(0, 10).map(lambda number: number / 10)


def mask_of(lengths):
    return np.arange(5) < lengths[:, None]


@given(labels_of, lengths_of, weights, weights.map(lambda value: 3 * value))
def test_sentence_by_sentence(labels, lengths, weight, bonus):
    options = {"faithfulness_weight": weight, "flag_bonus": bonus}
    found = sentence_flag_reward(*labels, mask_of(lengths), **options)
    for text, length in enumerate(lengths):
        total = 0.0
        for faithful, correct, true_faithful, true_correct in labels[:, text, :length].T:
            total += weight * (faithful == true_faithful)
            total += (1 - weight) * ((correct == true_correct) + bonus * (correct == true_correct == 0))
        assert found[text] == pytest.approx(total / length, abs=1e-12)
        alone = sentence_flag_reward(*labels[:, text, :length], **options)
        assert float(alone) == pytest.approx(found[text], abs=1e-12)
    in_torch = sentence_flag_reward(*map(torch.tensor, labels), torch.tensor(mask_of(lengths)), **options)
    np.testing.assert_allclose(in_torch.numpy(), found, atol=1e-12)


@given(labels_of, weights, weights.map(lambda value: 3 * value))
def test_the_true_labels_earn_most(labels, weight, bonus):
    faithful, correct, true_faithful, true_correct = labels
    options = {"faithfulness_weight": weight, "flag_bonus": bonus}
    best = sentence_flag_reward(true_faithful, true_correct, true_faithful, true_correct, **options)
    found = sentence_flag_reward(faithful, correct, true_faithful, true_correct, **options)
    assert (found <= best + 1e-12).all() and (found >= 0).all()
    np.testing.assert_allclose(best, 1 + (1 - weight) * bonus * (1 - true_correct).mean(-1))
    if 0 < weight < 1:
        same = ((faithful == true_faithful) & (correct == true_correct)).all(-1)
        assert (found[~same] < best[~same] - 1e-12).all()


@given(weights, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.1, 0.24, 0.26, 0.3, 0.35, 0.45, 0.55, 0.9]))
def test_flagging_pays_from_a_belief_of_one_over_2_plus_b(weight, bonus, belief):
    """Expected reward of either label for a sentence that is wrong with a probability, by enumeration."""
    one = np.ones((1, 1))

    def expected(label):
        values = [
            sentence_flag_reward(one, label * one, one, truth * one, faithfulness_weight=weight, flag_bonus=bonus)[0]
            for truth in (0, 1)
        ]
        return belief * values[0] + (1 - belief) * values[1]

    threshold = 1 / (2 + bonus)
    if weight < 1 and abs(belief - threshold) > 1e-6:
        assert (expected(0) > expected(1)) == (belief > threshold)
    if weight == 1:
        assert expected(0) == expected(1)


@LIBRARIES
def test_worked(library):
    truth, fine = library(np.array([[1, 1, 1, 0]])), library(np.ones((1, 4)))
    assert sentence_flag_reward(truth, fine, truth, truth).tolist() == [0.875]
    assert sentence_flag_reward(truth, truth, truth, truth).tolist() == [1.125]
    assert sentence_flag_reward(truth, truth, truth, truth, flag_bonus=0.0).tolist() == [1.0]
    assert sentence_flag_reward(fine, 0 * fine, truth, truth).tolist() == [0.5 * 0.75 + 0.5 * 0.5]


@LIBRARIES
def test_padding_may_hold_anything(library):
    labels = np.array([[1.0, 0.0, np.nan], [1.0, 7.0, -1.0]])
    mask = library(np.array([[True, True, False], [True, False, False]]))
    found = sentence_flag_reward(*[library(labels)] * 4, mask)
    assert found.tolist() == [1.25, 1.0]
    assert sentence_policy_reward(library(labels), mask, library(np.array([0.5, 0.0]))).tolist() == [
        [2.0, 1.0, 0.0],
        [1.0, 0.0, 0.0],
    ]


@given(arrays(np.float64, (3, 5), elements=weights), lengths_of, arrays(np.float64, 3, elements=weights))
def test_the_policy_reward(correct, lengths, preference):
    mask = mask_of(lengths)
    found = sentence_policy_reward(correct, mask, preference, correctness_weight=0.5, preference_weight=3.0)
    for text, place in itertools.product(range(3), range(5)):
        there = place < lengths[text]
        assert found[text, place] == pytest.approx(there * (0.5 * correct[text, place] + 3.0 * preference[text]))
    default = sentence_policy_reward(torch.tensor(correct), torch.tensor(mask), torch.tensor(preference)).numpy()
    assert default.min() >= 0 and default.max() <= 3
    np.testing.assert_allclose(default, (correct + 2 * preference[:, None]) * mask)


@LIBRARIES
def test_dtypes(library):
    half = library(np.array([[1.0, 0.0]], np.float32))
    assert sentence_policy_reward(half, None, library(np.array([1]))).dtype == half.dtype
    flags = library(np.array([[True, False]]))
    assert str(sentence_policy_reward(flags, None, library(np.array([True]))).dtype).endswith("float64")
    assert str(sentence_flag_reward(half, half, half, half).dtype).endswith("float64")


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_what_is_refused(library):
    good = library(np.ones((2, 3)))
    names = ("faithful", "correct", "true_faithful", "true_correct")
    for place, name in enumerate(names):
        for value in (0.5, np.nan, -1.0):
            bad = np.ones((2, 3))
            bad[1, 2] = value
            labels = [good] * 4
            labels[place] = library(bad)
            with pytest.raises(ValueError, match=rf"^{name}\[1, 2\] is .*, expected 0 or 1"):
                sentence_flag_reward(*labels)
        labels = [good] * 4
        labels[place] = good.tolist()
        with pytest.raises(TypeError, match=f"^{name}: expected a NumPy array"):
            sentence_flag_reward(*labels)
        labels[place] = library(np.ones((2, 2)))
        with pytest.raises(ValueError, match="has shape"):
            sentence_flag_reward(*labels)
    with pytest.raises(ValueError, match=r"correct\[1\] holds no sentence"):
        sentence_flag_reward(*[good] * 4, library(np.array([[True] * 3, [False] * 3])))
    with pytest.raises(ValueError, match="correct holds no sentence"):
        sentence_flag_reward(*[library(np.ones(0))] * 4)
    with pytest.raises(ValueError, match=r"mask\[1, 1\] is True after a False"):
        sentence_flag_reward(*[good] * 4, library(np.array([[True] * 3, [False, True, True]])))
    for name, value in (("faithfulness_weight", 1.1), ("flag_bonus", -1.0), ("flag_bonus", np.inf)):
        with pytest.raises(ValueError, match=f"{name} is"):
            sentence_flag_reward(*[good] * 4, **{name: value})
    for value in (np.nan, -0.1, 1.5):
        with pytest.raises(ValueError, match=r"preference\[1\] is"):
            sentence_policy_reward(good, None, library(np.array([0.0, value])))
        bad = np.ones((2, 3))
        bad[0, 1] = value
        with pytest.raises(ValueError, match=r"correct\[0, 1\] is"):
            sentence_policy_reward(library(bad), None, library(np.zeros(2)))
    with pytest.raises(ValueError, match="preference has shape"):
        sentence_policy_reward(good, None, library(np.zeros(3)))
    with pytest.raises(ValueError, match="preference_weight is -1"):
        sentence_policy_reward(good, None, library(np.zeros(2)), preference_weight=-1)
    other = torch.ones(2) if library is np.asarray else np.ones(2)
    with pytest.raises(TypeError, match="use one library"):
        sentence_policy_reward(good, None, other)
