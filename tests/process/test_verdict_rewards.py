"""Rewards of a judge's verdict: the tables, the laws behind them, and what a format penalty does to an advantage."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.verdict_rewards import (
    SCHEMES,
    consistency_reward,
    solve_judge_gap,
    solve_judge_reward,
    verdict_reward,
)
from rewardlab.transforms.advantages import leave_one_out, normalise_then_sum, standardised

LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
labels = st.lists(st.tuples(st.sampled_from(["A", "B", "C", None]), st.sampled_from(["A", "B", "C"])), max_size=12)
TABLE = {"pm1": (1.0, -1.0, -1.0), "binary0": (0.0, -1.0, -1.0), "brrm": (0.0, -10.0, -100.0)}


@pytest.mark.parametrize("scheme", SCHEMES)
@given(labels)
def test_the_table(scheme, pairs):
    predicted, gold = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    right, wrong, unreadable = TABLE[scheme]
    expected = [unreadable if had is None else right if had == want else wrong for had, want in pairs]
    found = verdict_reward(predicted, gold, scheme)
    assert found.dtype == np.float64 and found.tolist() == expected
    assert verdict_reward(tuple(predicted), np.array(gold, dtype=object), scheme).tolist() == expected
    number = {"A": 0.0, "B": 1.0, "C": 2.0, None: math.nan}
    for library in (np.asarray, torch.tensor):
        numbers = (library(np.array([number[label] for label in part])) for part in (predicted, gold))
        result = verdict_reward(*numbers, scheme)
        assert type(result) is type(library(np.zeros(1))) and result.tolist() == expected


def test_labels_of_other_kinds():
    assert verdict_reward(np.array(["A", "B"]), np.array(["A", "A"]), "pm1").tolist() == [1.0, -1.0]
    assert verdict_reward([1, 2, None], [1, 1, 2], "pm1").tolist() == [1.0, -1.0, -1.0]
    assert verdict_reward(torch.tensor([1, 2]), torch.tensor([1, 1]), "pm1").tolist() == [1.0, -1.0]
    assert verdict_reward([], [], "pm1").tolist() == []


@pytest.mark.parametrize(("right", "up", "down"), [(6, 0.57735, -1.73205), (4, 1.0, -1.0), (1, 2.64575, -0.37796)])
def test_schemes_are_the_same_once_standardised_if_all_can_be_read(right, up, down):
    gold = ["A"] * 8
    predicted = ["A"] * right + ["B"] * (8 - right)
    for scheme in SCHEMES:
        advantages = standardised(verdict_reward(predicted, gold, scheme), [0] * 8, correction=0, epsilon=0.0)
        np.testing.assert_allclose(advantages, [up] * right + [down] * (8 - right), atol=1e-5)


def test_a_format_penalty_swamps_the_verdict():
    predicted, gold = ["A"] * 6 + ["B", None], ["A"] * 8
    rewards = verdict_reward(predicted, gold, "brrm")
    assert rewards.tolist() == [0.0] * 6 + [-10.0, -100.0]
    advantages = standardised(rewards, [0] * 8, correction=0, epsilon=0.0)
    np.testing.assert_allclose(advantages, [0.41968] * 6 + [0.11446, -2.63251], atol=1e-5)
    np.testing.assert_allclose(leave_one_out(rewards, [0] * 8), [15.714] * 6 + [4.286, -98.571], atol=1e-3)
    readable = np.array([1.0] * 7 + [0.0])
    right = np.array([1.0] * 6 + [0.0, np.nan])  # apart, as the docstring says: the wrong verdict is pushed down again
    apart = normalise_then_sum(np.stack([right, readable]), [0] * 8)
    assert (apart[:6] > 0).all() and apart[6] < 0 and apart[7] < 0


@pytest.mark.usefixtures("without_type_checks")
def test_verdicts_that_are_refused():
    for scheme in ("tiered", "PM1", None, 1):
        with pytest.raises(ValueError, match="scheme is"):
            verdict_reward(["A"], ["A"], scheme)
    with pytest.raises(ValueError, match="predicted has 2 labels, gold 1"):
        verdict_reward(["A", "B"], ["A"], "pm1")
    for missing in (None, math.nan):
        with pytest.raises(ValueError, match=r"gold\[1\] is"):
            verdict_reward(["A", "B"], ["A", missing], "pm1")
    with pytest.raises(TypeError, match=r"predicted\[1\] is '1' but gold 1; use one kind of label"):
        verdict_reward([1, "1"], [1, 1], "pm1")
    for single in ("AB", 1, None):
        with pytest.raises(TypeError, match="predicted: expected a sequence"):
            verdict_reward(single, ["A", "B"], "pm1")
    with pytest.raises(TypeError, match="gold: expected a sequence"):
        verdict_reward(["A"], "A", "pm1")
    with pytest.raises(TypeError, match="gold is a list but predicted an array of numbers"):
        verdict_reward(np.array([1.0]), [1], "pm1")
    with pytest.raises(TypeError, match="use one library"):
        verdict_reward(np.array([1.0]), torch.tensor([1.0]), "pm1")
    with pytest.raises(ValueError, match=r"gold\[1\] is NaN"):
        verdict_reward(np.array([1.0, 2.0]), np.array([1.0, np.nan]), "pm1")
    with pytest.raises(ValueError, match="predicted has shape"):
        verdict_reward(np.ones((2, 2)), np.ones((2, 2)), "pm1")
    with pytest.raises(ValueError, match="expected the same"):
        verdict_reward(np.ones(2), np.ones(3), "pm1")


@LIBRARIES
def test_the_consistency_table(library):
    rows = {(1, 1): (2.0, 1.5, 1.0), (1, 0): (1.5, 1.0, 0.5), (0, 1): (0.5,) * 3, (0, 0): (0.0,) * 3}
    for (right, form), expected in rows.items():
        parts = (np.full(3, right), np.array([1, 0, -1]), np.full(3, form))
        assert consistency_reward(*map(library, parts)).tolist() == list(expected)


fraction = st.integers(0, 10).map(lambda number: number / 10)


@given(fraction, fraction, fraction.map(lambda value: -value))
def test_consistency_cannot_help_a_wrong_answer_nor_failure_pay(weight, bonus, failed):
    cells = np.array(list(itertools.product((0, 1), (-1.0, -0.5, 0.0, 1.0, np.nan), (0, 1))))
    right, opinion, form = cells.T
    options = {"consistency_weight": weight, "format_weight": bonus, "failed_judge": failed}
    found = consistency_reward(right, opinion, form, **options)
    said = np.where(np.isnan(opinion), failed, opinion)
    expected = [r * (1 + weight * c) + bonus * f for r, c, f in zip(right, said, form, strict=True)]
    np.testing.assert_allclose(found, expected)
    assert found.min() >= 0 and found.max() <= 1 + weight + bonus
    wrong = found[right == 0]
    assert set(wrong.tolist()) <= {0.0, bonus}
    undecided = consistency_reward(right, np.zeros(20), form, **options)
    assert (found[np.isnan(opinion)] <= undecided[np.isnan(opinion)]).all()


@LIBRARIES
def test_a_failed_judge_counts_as_undecided_and_never_as_consistent(library):
    one, failed = library(np.ones(1)), library(np.array([np.nan]))
    assert consistency_reward(one, failed, one).tolist() == [1.5]
    assert consistency_reward(one, failed, one, failed_judge=-1.0).tolist() == [1.0]
    with pytest.raises(ValueError, match="failed_judge is 1"):
        consistency_reward(one, failed, one, failed_judge=1.0)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_dtypes_and_bad_inputs_of_the_consistency_reward(library):
    flags, opinion = library(np.array([True, False])), library(np.array([1.0, 0.0], np.float32))
    assert str(consistency_reward(flags, opinion, flags).dtype).endswith("float64")
    half = library(np.array([1.0, 0.0], np.float32))
    assert consistency_reward(half, opinion, flags).dtype == half.dtype
    for bad in (0.5, 2.0, np.nan):
        with pytest.raises(ValueError, match=r"right\[1\] is .*, expected 0 or 1"):
            consistency_reward(library(np.array([1.0, bad])), opinion, flags)
        with pytest.raises(ValueError, match=r"well_formed\[0\] is .*, expected 0 or 1"):
            consistency_reward(flags, opinion, library(np.array([bad, 1.0])))
    for bad in (1.5, -2.0, np.inf):
        with pytest.raises(ValueError, match=r"consistency\[1\] is .*, expected a number in \[-1, 1\]"):
            consistency_reward(flags, library(np.array([0.0, bad])), flags)
    with pytest.raises(ValueError, match="consistency has shape"):
        consistency_reward(flags, opinion[:1], flags)
    for name, value in (("consistency_weight", 1.1), ("format_weight", -0.1), ("consistency_weight", np.nan)):
        with pytest.raises(ValueError, match=f"{name} is"):
            consistency_reward(flags, opinion, flags, **{name: value})
    with pytest.raises(TypeError, match="right: expected a NumPy array"):
        consistency_reward([1], opinion, flags)
    other = torch.ones(2) if library is np.asarray else np.ones(2)
    with pytest.raises(TypeError, match="use one library"):
        consistency_reward(flags, other, flags)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
def test_solve_and_judge(library):
    judged, solved, form = (library(np.array(part)) for part in ([1, 0, 1, 0], [1.0, 0.25, 0.5, 1.0], [1, 1, 0, 1]))
    assert solve_judge_reward(judged, solved).tolist() == [2.0, 0.25, 1.5, 1.0]
    assert solve_judge_reward(judged, solved, form).tolist() == [2.0, 0.25, 0.0, 1.0]
    weighted = solve_judge_reward(judged, solved, form, judge_weight=0.5, solve_weight=2.0)
    assert weighted.tolist() == [2.5, 0.5, 0.0, 2.0]
    half = library(np.array([1.0, 0.25, 0.5, 1.0], np.float32))
    assert solve_judge_reward(judged, half).dtype == half.dtype
    with pytest.raises(ValueError, match=r"solved\[1\] is nan, expected a number in \[0, 1\]"):
        solve_judge_reward(judged[:2], library(np.array([1.0, np.nan])))
    with pytest.raises(ValueError, match="judge_weight is -1"):
        solve_judge_reward(judged, solved, judge_weight=-1.0)
    with pytest.raises(ValueError, match="well_formed has shape"):
        solve_judge_reward(judged, solved, form[:1])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=12))
def test_the_gap_is_a_conditional_frequency(pairs):
    solved, judged = np.array(pairs).T
    found = solve_judge_gap(solved, judged)
    outcomes = [verdict for able, verdict in pairs if able]
    if outcomes:
        assert found == pytest.approx(outcomes.count(0) / len(outcomes))
        assert solve_judge_gap(torch.tensor(solved), torch.tensor(judged)) == found
    else:
        assert math.isnan(found)
