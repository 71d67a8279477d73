"""Rules as annotators, and errors of known rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.annotation.annotators import (
    POSITIVE_GAINS,
    POSITIVE_SCORE,
    NoisyAnnotator,
    OracleAnnotator,
    annotate_items,
    check_labels,
)

MESSAGES = [f"You see here {number} darts." for number in range(4000)] + [
    f"You kill newt number {number}!" for number in range(4000)
]
TRUTH = np.repeat([0, 1], 4000)


@pytest.mark.parametrize(
    ("message", "label"),
    [
        ("You kill the newt!", 1),
        ("You destroy the kobold zombie!", 1),
        ("You kill it!  Welcome to experience level 2.", 1),
        ("$ - 12 gold pieces.", 1),
        ("You see here a dart.  $ - 3 gold pieces.", 1),
        ("f - a dart.", 0),
        ("the price is 12 $ - no thanks", 0),
        ("You descend the stairs", 1),
        ("The kitten picks up a gold piece.", 0),
        ("The kobold zombie is destroyed!", 0),
        ("The kitten kills the newt.", 0),
        ("Really attack the dwarf? You kill time.", 0),
        ("This door is locked.", 0),
        ("", 0),
    ],
)
def test_default_rules(message, label):
    oracle = OracleAnnotator()
    assert oracle.annotate([message]) == [label]
    assert oracle.compare([(message, ""), ("", message), (message, message)]) == ([0, 1, 2] if label else [2, 2, 2])


def test_own_rules():
    oracle = OracleAnnotator([*POSITIVE_SCORE, *POSITIVE_GAINS], [])
    assert oracle.annotate(["You feel stronger!", "Really attack? You kill it", "You feel sad."]) == [1, 1, 0]


@pytest.mark.parametrize("mode", ["frozen", "fresh"])
@pytest.mark.parametrize("rates", [{"accuracy": 0.9}, {"true_positive_rate": 0.7, "false_positive_rate": 0.05}])
def test_error_rates(mode, rates):
    noisy = NoisyAnnotator(OracleAnnotator(), **rates, mode=mode, seed=3)
    labels = np.array(noisy.annotate(MESSAGES, "", np.random.default_rng(0)))
    expected = (0.1, 0.9) if "accuracy" in rates else (0.05, 0.7)
    for truth in (0, 1):  # 4000 draws: standard error at most 0.008
        assert abs(labels[truth == TRUTH].mean() - expected[truth]) < 0.025
    again = noisy.annotate(MESSAGES, "", np.random.default_rng(1))
    assert (labels.tolist() == again) == (mode == "frozen")
    assert noisy.annotate([""] * 100, "", np.random.default_rng(0)) == [0] * 100


def test_frozen_errors_belong_to_message_and_seed_and_shrink_with_accuracy():
    def errors(accuracy, seed, messages=MESSAGES):
        return set(
            np.flatnonzero(np.array(NoisyAnnotator(OracleAnnotator(), accuracy, seed=seed).annotate(messages)) != TRUTH)
        )

    assert errors(0.95, 0) < errors(0.9, 0) < errors(0.5, 0)
    assert len(errors(0.9, 0) & errors(0.9, 1)) < 0.2 * len(errors(0.9, 0))
    assert errors(1.0, 0) == set() and len(errors(0.0, 0)) == len(MESSAGES)
    noisy = NoisyAnnotator(OracleAnnotator(), 0.8)
    assert noisy.annotate(MESSAGES[::-1]) == noisy.annotate(MESSAGES)[::-1]  # not of the place in the batch
    assert noisy.annotate(["caf\xe9 \udcff \x00"]) in ([0], [1])


@pytest.mark.parametrize("mode", ["frozen", "fresh"])
def test_noisy_pairs_are_uniform_where_wrong(mode):
    pairs = list(zip(MESSAGES[:4000], MESSAGES[4000:], strict=True))  # the second is better
    noisy = NoisyAnnotator(OracleAnnotator(), 0.7, mode=mode)
    share = np.bincount(noisy.compare(pairs, "", np.random.default_rng(0)), minlength=4) / 4000
    assert np.abs(share - [0.1, 0.8, 0.1, 0]).max() < 0.025
    assert NoisyAnnotator(OracleAnnotator(), 1.0).compare(pairs) == [1] * 4000


def test_asymmetric_pairs_are_decided_by_the_noisy_labels():
    noisy = NoisyAnnotator(OracleAnnotator(), true_positive_rate=0.6, false_positive_rate=0.2)
    pairs = list(zip(MESSAGES[:50], MESSAGES[-50:], strict=True))
    first, second = (np.array(noisy.annotate([pair[k] for pair in pairs])) for k in (0, 1))
    expected = np.where(first == second, 2, np.where(first > second, 0, 1))
    assert noisy.compare(pairs) == expected.tolist() and len(set(expected.tolist())) == 3


@given(st.lists(st.one_of(st.sampled_from(MESSAGES), st.tuples(st.sampled_from(MESSAGES), st.sampled_from(MESSAGES)))))
def test_mixed_items_keep_their_places(items):
    oracle, rng = OracleAnnotator(), np.random.default_rng(0)
    each = [annotate_items(oracle, [item], "", rng)[0] for item in items]
    assert annotate_items(oracle, items, "", rng) == each


@pytest.mark.usefixtures("without_type_checks")
def test_bad_answers_and_bad_input_are_named():
    oracle = OracleAnnotator()
    for labels, error, words in [
        ([0], ValueError, "annotate: expected 2 labels, got 1"),
        ([0, 2], ValueError, r"annotate\[1\] is 2"),
        ([0, -1], ValueError, r"annotate\[1\] is -1"),
        ([0, 0.5], TypeError, r"annotate\[1\] is 0.5, expected a whole number"),
        ([True, 0], TypeError, r"annotate\[0\]: expected a whole number, got bool"),
        (["1", 0], TypeError, r"annotate\[0\]"),
        ("01", TypeError, "annotate: expected 2 labels, got str"),
        (None, TypeError, "annotate: expected 2 labels, got NoneType"),
    ]:
        with pytest.raises(error, match=words):
            check_labels("annotate", labels, 2, 1)
    with pytest.raises(ValueError, match=r"positive\[0\] is '\(', expected a regular expression"):
        OracleAnnotator(["("])
    with pytest.raises(TypeError, match="negative: expected a list of regular expressions, got str"):
        OracleAnnotator(negative="Really")
    for rates in ({}, {"accuracy": 0.9, "true_positive_rate": 0.5}, {"false_positive_rate": 0.1}):
        with pytest.raises(ValueError, match="either accuracy, or both"):
            NoisyAnnotator(oracle, **rates)
    with pytest.raises(ValueError, match=r"accuracy is 1\.5"):
        NoisyAnnotator(oracle, 1.5)
    with pytest.raises(ValueError, match="mode is 'hot'"):
        NoisyAnnotator(oracle, 0.9, mode="hot")
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random\.Generator"):
        NoisyAnnotator(oracle, 0.9, mode="fresh").annotate(["a"])
