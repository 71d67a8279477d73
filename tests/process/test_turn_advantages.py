"""Advantages of turns: the worked groups, loops as an oracle, and turns that gain nothing being turns all the same."""

import math
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.tokens import spread_over_tokens
from rewardlab.process.turn_advantages import TurnWeights, curriculum_weights, turn_advantages
from rewardlab.transforms import standardised
from rewardlab.transforms.groups import Groups

GAINS, OUTCOMES = np.array([[0.05, 0.30], [0.0, -0.05]]), np.array([1.0, 0.0])
SAMPLES, TURNS = 6, 4  # turns with a gain
hundredths = st.integers(-100, 100).map(lambda number: number / 100)
gains_of = arrays(np.float64, (SAMPLES, TURNS), elements=hundredths)
outcomes_of = arrays(np.float64, SAMPLES, elements=st.sampled_from([-2.0, 0.0, 0.5, 1.0]))
turns_of = arrays(np.int64, SAMPLES, elements=st.integers(0, TURNS))
ids_of = arrays(np.int64, SAMPLES, elements=st.integers(0, 2))
NORMALISATIONS = ("joint", "separate", "position")
kinds = st.sampled_from(NORMALISATIONS)
batches = st.tuples(gains_of, outcomes_of, turns_of, ids_of)


def mask_of(turns, most=TURNS):
    return np.arange(most) < np.asarray(turns)[:, None]


def advantages(gains, outcomes, turns, ids, **settings):
    return turn_advantages(gains, outcomes, mask_of(turns), ids, **settings).advantages


def standard(pool):
    """(value -> normalised) of a pool, by the formula of the released code."""
    spread = math.sqrt(pstdev(pool) ** 2 + 1e-8) + 1e-6 if len(pool) > 1 else 1.0
    return lambda value: (value - fmean(pool)) / spread


def by_loops(gains, outcomes, turns, ids, normalisation, discount, weights):
    """Advantages with lists of lists: no padding, no masks."""
    rewards = [
        [float(gain) for gain in row[:count]] + [float(end)]
        for row, count, end in zip(gains, turns, outcomes, strict=True)
    ]
    result = np.zeros((SAMPLES, TURNS + 1))
    for group in set(ids.tolist()):
        mine = [sample for sample in range(SAMPLES) if ids[sample] == group]
        changed = {sample: list(rewards[sample]) for sample in mine}
        if normalisation == "separate":
            ends = standard([rewards[sample][-1] for sample in mine])
            pool = [gain for sample in mine for gain in rewards[sample][:-1]]
            for sample in mine:
                parts = [weights[0] * standard(pool)(gain) for gain in rewards[sample][:-1]]
                changed[sample] = [*parts, weights[1] * ends(rewards[sample][-1])]
        else:
            for sample in mine:
                parts = [weights[0] * gain for gain in rewards[sample][:-1]]
                changed[sample] = [*parts, weights[1] * rewards[sample][-1]]
            if normalisation == "joint":
                scaled = standard([reward for sample in mine for reward in changed[sample]])
                changed = {sample: [scaled(reward) for reward in changed[sample]] for sample in mine}
        sums = {}
        for sample in mine:
            row = changed[sample]
            for turn in range(len(row)):
                sums[sample, turn] = sum(discount ** (later - turn) * row[later] for later in range(turn, len(row)))
        for (sample, turn), value in sums.items():
            others = [sums[other, turn] for other in mine if (other, turn) in sums]
            result[sample, turn] = value - fmean(others) if normalisation == "position" else value
    return result


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_worked_groups(library):
    joint = turn_advantages(library(GAINS), library(OUTCOMES))
    np.testing.assert_allclose(joint.rewards, [[0.05, 0.30, 1.0], [0.0, -0.05, 0.0]])
    pool = np.array([0.05, 0.30, 1.0, 0.0, -0.05, 0.0])
    assert pool.mean() == pytest.approx(0.21667, abs=5e-6) and pool.std() == pytest.approx(0.36818, abs=5e-6)
    np.testing.assert_allclose(
        joint.advantages, [[1.9012, 2.3539, 2.1276], [-1.9012, -1.3128, -0.5885]], atol=6e-5
    )  # fmt: skip
    separate = turn_advantages(library(GAINS), library(OUTCOMES), normalisation="separate")
    np.testing.assert_allclose(separate.advantages, [[2.4855, 2.6712, 1.0], [-2.4855, -1.9285, -1.0]], atol=6e-5)
    position = turn_advantages(library(GAINS), library(OUTCOMES), normalisation="position")
    np.testing.assert_allclose(position.advantages, [[0.7, 0.675, 0.5], [-0.7, -0.675, -0.5]], atol=1e-12)


@given(batches, kinds, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([(1.0, 1.0), (0.75, 0.5), (0.0, 2.0)]))
def test_by_loops(batch, normalisation, discount, weights):
    settings = {"normalisation": normalisation, "discount": discount, "weights": weights}
    expected = by_loops(*batch, *settings.values())
    found = advantages(*batch, **settings)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    gains, outcomes, turns, ids = batch
    tensors = (torch.tensor(part) for part in (gains, outcomes, mask_of(turns), ids))
    in_torch = turn_advantages(*tensors, **settings)
    np.testing.assert_allclose(in_torch.advantages.numpy(), found, atol=1e-12)


@given(batches, kinds)
def test_without_discount_an_advantage_is_the_normalised_reward(batch, normalisation):
    gains, outcomes, turns, ids = batch
    found = turn_advantages(gains, outcomes, mask_of(turns), ids, normalisation=normalisation, discount=0.0)
    if normalisation == "position":
        np.testing.assert_array_equal(found.normalised, found.rewards)
    else:
        np.testing.assert_array_equal(found.advantages, found.normalised)


@given(outcomes_of, turns_of, ids_of)
def test_without_gains_separate_is_grpo_on_the_outcome_and_joint_is_not(outcomes, turns, ids):
    nothing, mask = np.zeros((SAMPLES, TURNS)), mask_of(turns)
    separate = turn_advantages(nothing, outcomes, mask, ids, normalisation="separate")
    grpo = standardised(outcomes, ids, correction=0, epsilon=0.0)
    expected = np.where(separate.mask, grpo[:, None], 0.0)
    np.testing.assert_allclose(separate.advantages, expected, rtol=2e-5, atol=1e-12)


def test_zero_gains_cost_something_in_a_joint_pool():
    joint = turn_advantages(np.zeros((2, 2)), OUTCOMES).advantages
    assert joint[0, 0] < joint[0, 1] < joint[0, 2]


def trap(useless, normalisation):
    """A right rollout with useless turns, a right one without, and two wrong ones: the first's first turn."""
    gains = np.zeros((4, 1 + useless))
    gains[:2, 0] = 0.5
    mask = mask_of([1 + useless, 1, 1, 1], 1 + useless)
    return turn_advantages(gains, np.array([1.0, 1, 0, 0]), mask, normalisation=normalisation).advantages[0, 0]


def test_useless_turns_make_a_right_rollout_negative():
    found = [trap(useless, "joint") for useless in (0, 1, 3, 6)]
    np.testing.assert_allclose(found, [1.809, 1.225, 0.349, -0.588], atol=5e-4)
    separate = [trap(useless, "separate") for useless in range(9)]
    assert (np.diff(separate) < 0).all() and separate[0] == pytest.approx(2.0, abs=1e-3) and separate[-1] < 0
    np.testing.assert_allclose([trap(useless, "position") for useless in range(9)], 0.75)


@given(batches, kinds, st.permutations(range(SAMPLES)))
def test_the_order_of_the_batch_does_not_matter(batch, normalisation, order):
    expected = advantages(*batch, normalisation=normalisation)[order]
    found = advantages(*(part[order] for part in batch), normalisation=normalisation)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(batches, kinds)
def test_groups_do_not_hear_one_another(batch, normalisation):
    together = advantages(*batch, normalisation=normalisation)
    for group in set(batch[3].tolist()):
        mine = batch[3] == group
        alone = advantages(*(part[mine] for part in batch), normalisation=normalisation)
        np.testing.assert_allclose(together[mine], alone, atol=1e-9)


@given(batches, st.sampled_from([2.0, 7.5]), hundredths, st.sampled_from([3.0, 10.0]), hundredths)
def test_what_scale_and_shift_do(batch, scale, shift, other_scale, other_shift):
    gains, outcomes, turns, ids = batch
    moved = advantages(scale * gains + shift, scale * outcomes + shift, turns, ids)
    np.testing.assert_allclose(moved, advantages(*batch), rtol=3e-3, atol=1e-9)  # but for the floors
    apart = advantages(
        scale * gains + shift, other_scale * outcomes + other_shift, turns, ids, normalisation="separate"
    )
    np.testing.assert_allclose(apart, advantages(*batch, normalisation="separate"), rtol=3e-3, atol=2e-2)


@given(gains_of, kinds)
def test_a_group_of_equal_outcomes_speaks_where_gains_differ(gains, normalisation):
    speaks = (advantages(gains, np.ones(SAMPLES), [TURNS] * SAMPLES, [0] * SAMPLES, normalisation=normalisation)).any()
    if normalisation == "position":
        assume(np.ptp(gains, axis=0).max() == 0 or np.ptp(np.cumsum(gains[:, ::-1], axis=1), axis=0).max() > 1e-9)
        assert speaks == (np.ptp(gains, axis=0) > 0).any()
    elif normalisation == "separate":
        assert speaks == (np.ptp(gains) > 0)


@given(batches, st.sampled_from(["joint", "separate"]))
def test_normalised_rewards_sum_to_0_in_a_group(batch, normalisation):
    gains, outcomes, turns, ids = batch
    found = turn_advantages(gains, outcomes, mask_of(turns), ids, normalisation=normalisation).normalised
    for group in set(ids.tolist()):
        assert found[ids == group].sum() == pytest.approx(0, abs=1e-8)


@given(batches, kinds)
def test_only_the_per_turn_mean_keeps_the_bound_on_what_turns_earn(batch, normalisation):
    gains, outcomes, turns, ids = batch
    found = turn_advantages(gains, outcomes, mask_of(turns), ids, normalisation=normalisation)
    sums = found.rewards.sum(1)  # first turn: every rollout has it
    if normalisation == "position":
        expected = sums - np.array([sums[ids == name].mean() for name in ids])
        np.testing.assert_allclose(found.advantages[:, 0], expected, atol=1e-9)


def test_a_turn_without_gain_is_a_turn():
    gains, outcomes = np.array([[0.0, 0.4], [0.4, 0.0]]), np.array([1.0, 0.0])
    found = turn_advantages(gains, outcomes)
    assert found.mask.all() and found.normalised[0, 0] == found.normalised[1, 1] == found.normalised[1, 2] < 0
    shorter = turn_advantages(gains, outcomes, np.array([[True, True], [True, False]]))
    np.testing.assert_array_equal(shorter.mask, [[True, True, True], [True, True, False]])
    np.testing.assert_array_equal(shorter.rewards, [[0.0, 0.4, 1.0], [0.4, 0.0, 0.0]])  # the outcome moved up
    assert shorter.advantages[1, 2] == 0 and not np.allclose(shorter.advantages[0], found.advantages[0])


def test_a_pool_of_one_and_pools_of_equals_say_nothing():
    one = turn_advantages(np.zeros((1, 0)), np.array([0.7]))
    np.testing.assert_array_equal(one.advantages, [[0.0]])
    lonely_gain = turn_advantages(
        np.array([[0.3], [0.0]]), OUTCOMES, np.array([[True], [False]]), normalisation="separate"
    )
    np.testing.assert_allclose(lonely_gain.normalised, [[0.0, 1.0], [-1.0, 0.0]], atol=1e-4)
    for normalisation in NORMALISATIONS:
        same = turn_advantages(np.full((8, 3), 0.1), np.full(8, 0.1), normalisation=normalisation)
        assert (same.advantages == 0).all()


def test_spreads_have_a_floor():
    tiny = turn_advantages(np.array([[1e-4], [-1e-4]]), np.array([0.0, 0.0]), normalisation="separate")
    expected = 1e-4 / (math.sqrt(2) * 1e-4 + 1e-6)
    np.testing.assert_allclose(tiny.normalised[:, 0], [expected, -expected], rtol=1e-12)


def test_weights():
    assert curriculum_weights(0.0) == (1.0, 0.5) and curriculum_weights(1.0) == (0.5, 1.0)
    assert curriculum_weights(0.25) == TurnWeights(gain=0.875, outcome=0.625)
    weights = curriculum_weights(1.0)
    joint = turn_advantages(GAINS, OUTCOMES, weights=weights)
    np.testing.assert_allclose(joint.advantages, turn_advantages(0.5 * GAINS, OUTCOMES).advantages)
    plain, separate = (
        turn_advantages(GAINS, OUTCOMES, normalisation="separate", weights=pair) for pair in ((1, 1), weights)
    )
    np.testing.assert_allclose(separate.normalised, plain.normalised * [0.5, 0.5, 1.0])
    cancelled = turn_advantages(0.5 * GAINS, OUTCOMES, normalisation="separate")  # as the released code weighs
    np.testing.assert_allclose(cancelled.advantages, plain.advantages, rtol=1e-4)


def test_on_tokens():
    found = turn_advantages(GAINS, OUTCOMES, np.array([[True, True], [True, False]]))
    ends = np.array([[1, 4, 6], [2, 5, 0]])  # last token of each turn; a tool's words stand between the turns
    own = np.array([[1, 1, 0, 1, 1, 1, 1], [1, 1, 1, 0, 1, 1, 0]], bool)
    tokens = spread_over_tokens(found.advantages, found.mask, ends, 7) * own
    first, second = found.advantages
    np.testing.assert_array_equal(tokens[0], [first[0], first[0], 0, first[1], first[1], first[2], first[2]])
    np.testing.assert_array_equal(tokens[1], [second[0], second[0], second[0], 0, second[1], second[1], 0])


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_kept(library, dtype):
    gains = library(GAINS.astype(dtype))
    found = turn_advantages(gains, library(OUTCOMES > 0), normalisation="separate")
    assert found.rewards.dtype == found.normalised.dtype == found.advantages.dtype == gains.dtype
    np.testing.assert_allclose(found.advantages, [[2.4855, 2.6712, 1.0], [-2.4855, -1.9285, -1.0]], atol=5e-3)


def test_whole_numbers_and_ids_of_many_kinds():
    gains, outcomes = np.array([[1], [0], [3], [0]]), np.array([1, 0, 1, 0])
    expected = turn_advantages(gains.astype(float), outcomes, None, np.array([0, 0, 1, 1])).advantages
    assert expected.dtype == np.float64
    for ids in (["a", "a", "b", "b"], [7, 7, 9, 9], Groups.from_ids([0, 0, 1, 1], like=outcomes)):
        np.testing.assert_array_equal(turn_advantages(gains, outcomes, None, ids).advantages, expected)


@given(batches, kinds)
def test_what_is_masked_may_hold_anything_and_nothing_is_changed(batch, normalisation):
    gains, outcomes, turns, ids = batch
    kept = np.where(mask_of(turns), gains, np.nan)
    before = kept.copy()
    found = advantages(kept, outcomes, turns, ids, normalisation=normalisation)
    np.testing.assert_array_equal(found, advantages(*batch, normalisation=normalisation))
    np.testing.assert_array_equal(kept, before)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: turn_advantages([[0.1]], OUTCOMES), TypeError, "gains: expected a NumPy array"),
        (lambda: turn_advantages(GAINS[0], OUTCOMES), ValueError, r"gains has shape \(2,\), expected \(samples, turns"),
        (lambda: turn_advantages(np.zeros((0, 2)), np.zeros(0)), ValueError, r"gains has shape \(0, 2\)"),
        (lambda: turn_advantages(GAINS, OUTCOMES[:1]), ValueError, r"outcomes has shape \(1,\), expected one a sample"),
        (lambda: turn_advantages(GAINS, torch.tensor(OUTCOMES)), TypeError, "outcomes is a Tensor but gains a ndarray"),
        (lambda: turn_advantages(GAINS, np.array([1.0, np.nan])), ValueError, r"outcomes\[1\] is nan"),
        (lambda: turn_advantages(np.array([[0.1], [np.nan]]), OUTCOMES), ValueError, r"gains\[1, 0\] is nan.*mask"),
        (lambda: turn_advantages(np.array([[0.1], [-np.inf]]), OUTCOMES), ValueError, r"gains\[1, 0\] is -inf"),
        (lambda: turn_advantages(np.array([[np.inf], [-np.inf]]), OUTCOMES), ValueError, r"gains\[0, 0\] is inf"),
        (lambda: turn_advantages(GAINS, None), TypeError, "outcomes: expected a NumPy array"),
        (lambda: turn_advantages(None, OUTCOMES), TypeError, "gains: expected a NumPy array or torch tensor, got None"),
        (lambda: turn_advantages(GAINS, OUTCOMES, np.ones((2, 2))), TypeError, "mask has dtype float64, expected bool"),
        (lambda: turn_advantages(GAINS, OUTCOMES, np.ones((2, 3), bool)), ValueError, r"mask has shape \(2, 3\)"),
        (lambda: turn_advantages(GAINS, OUTCOMES, GAINS > 0.1), ValueError, r"mask\[0, 1\] is True after a False"),
        (lambda: turn_advantages(GAINS, OUTCOMES, None, [0]), ValueError, "group_ids has 1 values for 2 samples"),
        (
            lambda: turn_advantages(GAINS, OUTCOMES, None, Groups.from_ids([0, 0, 1], like=np.zeros(3))),
            ValueError,
            "group_ids groups 3 samples, outcomes has 2",
        ),
        (lambda: turn_advantages(GAINS, OUTCOMES, normalisation="none"), ValueError, "normalisation is 'none'"),
        (lambda: turn_advantages(GAINS, OUTCOMES, discount=1.1), ValueError, "discount is 1.1"),
        (lambda: turn_advantages(GAINS, OUTCOMES, weights=(1.0, -1.0)), ValueError, r"weights\[1\] is -1.0"),
        (lambda: curriculum_weights(1.5), ValueError, "progress is 1.5, expected a number in \\[0, 1\\]"),
        (lambda: curriculum_weights("half"), TypeError, "progress: expected a number, got str"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_two_weights_are_wanted(without_type_checks):
    with pytest.raises(ValueError, match="weights has 3 numbers, expected 2"):
        turn_advantages(np.zeros((1, 1)), np.zeros(1), weights=(1.0, 2.0, 3.0))
