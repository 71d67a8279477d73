"""The hybrid reward and the length penalty: the worked example, a loop, and everything the terms must not depend on."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.transforms.combination import weighted_sum
from rewardlab.transforms.hybrid import SIDES, group_length_penalty, hybrid_reward

HALF = {"max_penalty": 0.5, "tolerance": 0.5}
RULES = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, np.nan]])
SCORES = np.array([[0.2, np.nan, 0.4], [0.5, 0.6, 0.7]])
FIRST = np.array([[True], [False]])

sides = st.sampled_from(SIDES)
tolerances = st.sampled_from([0.1, 0.5, 1.0, 3.0])
largest = st.sampled_from([0.0, 0.3, 0.5, 2.0])


@st.composite
def groups(draw, samples=8):
    """Lengths and correctness of a few prompts' samples, `(prompts, samples)`."""
    prompts = draw(st.integers(1, 4))
    lengths = draw(arrays(np.int64, (prompts, samples), elements=st.integers(0, 2000)))
    correct = draw(arrays(np.bool_, (prompts, samples)))
    return lengths, correct


def penalty_by_loops(lengths, correct, max_penalty, tolerance, side):
    found = np.zeros(lengths.shape)
    for prompt, sample in np.ndindex(lengths.shape):
        right = [length for length, is_right in zip(lengths[prompt], correct[prompt], strict=True) if is_right]
        if right:
            mean = sum(right) / len(right)
            gap = {"short": mean - lengths[prompt, sample], "long": lengths[prompt, sample] - mean}.get(side)
            gap = abs(lengths[prompt, sample] - mean) if gap is None else max(0.0, gap)
            found[prompt, sample] = -max_penalty * min(1.0, gap / (tolerance * mean) if mean else float(gap > 0))
    return found


def test_the_rule_decides_on_verifiable_prompts_and_the_model_elsewhere():
    np.testing.assert_array_equal(hybrid_reward(FIRST, RULES, SCORES), [[1.0, 0.0, 1.0], [0.5, 0.6, 0.7]])
    np.testing.assert_array_equal(hybrid_reward(~FIRST, RULES, SCORES), [[0.2, np.nan, 0.4], [0.0, 1.0, np.nan]])


def test_confidence_blends_where_the_prompt_is_verifiable_and_there_only():
    np.testing.assert_allclose(
        hybrid_reward(FIRST, RULES, SCORES, 0.75), [[0.8, np.nan, 0.85], [0.5, 0.6, 0.7]], rtol=1e-15
    )
    each = np.array([[0.0, 1.0, 0.5], [0.3, 0.3, 0.3]])
    np.testing.assert_allclose(hybrid_reward(FIRST, RULES, SCORES, each), [[0.2, 0.0, 0.7], [0.5, 0.6, 0.7]])


@given(arrays(np.float64, (3, 5), elements=st.floats(0, 1)), arrays(np.float64, (3, 5), elements=st.floats(0, 1)))
def test_a_blend_lies_between_its_parts_and_ends_at_them(rule, model):
    verifiable = np.array([[True], [True], [False]])
    for confidence in (0.0, 0.3, 1.0):
        blend = hybrid_reward(verifiable, rule, model, confidence)
        assert (blend >= np.minimum(rule, model) - 1e-15).all()
        assert (blend <= np.maximum(rule, model) + 1e-15).all()
    np.testing.assert_array_equal(hybrid_reward(verifiable, rule, model, 1.0), hybrid_reward(verifiable, rule, model))
    np.testing.assert_array_equal(hybrid_reward(verifiable, rule, model, 0.0), model)


def test_worked_penalties():
    lengths, correct = np.array([[4, 8, 10, 12]]), np.array([[False, False, True, True]])
    short = [[-0.5, -3 / 11, -1 / 11, 0.0]]  # the reference is 11, the penalty full at 5.5 below
    np.testing.assert_allclose(group_length_penalty(lengths, correct, **HALF), short, atol=1e-15)
    long = [[0.0, 0.0, 0.0, -1 / 11]]
    np.testing.assert_allclose(group_length_penalty(lengths, correct, **HALF, side="long"), long, atol=1e-15)
    both = group_length_penalty(lengths, correct, **HALF, side="both")
    np.testing.assert_allclose(both, np.add(short, long), atol=1e-15)


@given(groups(), largest, tolerances, sides)
def test_penalty_agrees_with_loops(group, max_penalty, tolerance, side):
    found = group_length_penalty(*group, max_penalty=max_penalty, tolerance=tolerance, side=side)
    np.testing.assert_allclose(found, penalty_by_loops(*group, max_penalty, tolerance, side), rtol=1e-12, atol=1e-12)
    assert (found <= 0).all() and (found >= -max_penalty).all()
    assert not found[~group[1].any(-1)].any()


@given(groups(), tolerances, st.permutations(range(8)), st.sampled_from([1e-3, 0.1, 7.0, 1e4]))
def test_the_two_sides_add_up_and_the_unit_and_the_order_do_not_matter(group, tolerance, order, unit):
    lengths, correct = group
    options = {"max_penalty": 0.5, "tolerance": tolerance}
    by_side = {side: group_length_penalty(*group, **options, side=side) for side in SIDES}
    np.testing.assert_allclose(by_side["both"], by_side["short"] + by_side["long"], atol=1e-15)
    for side, penalty in by_side.items():
        rescaled = group_length_penalty(lengths * unit, correct, **options, side=side)
        np.testing.assert_allclose(rescaled, penalty, atol=1e-12)
        shuffled = group_length_penalty(lengths[:, order], correct[:, order], **options, side=side)
        np.testing.assert_allclose(shuffled, penalty[:, order], atol=1e-12)


@given(groups(), tolerances)
def test_the_further_from_the_reference_the_larger_the_penalty(group, tolerance):
    lengths, correct = group
    assume(correct.any())
    prompt = int(np.argmax(correct.any(-1)))
    order = np.argsort(lengths[prompt])
    short, long = (
        group_length_penalty(lengths, correct, max_penalty=1.0, tolerance=tolerance, side=side)[prompt, order]
        for side in ("short", "long")
    )
    assert (np.diff(short) >= 0).all() and (np.diff(long) <= 0).all()
    at_reference = lengths[prompt] == lengths[prompt][correct[prompt]].mean()
    assert not short[at_reference[order]].any() and not long[at_reference[order]].any()


@given(groups(), st.permutations(range(32)))
def test_flat_batches_in_any_order_agree_with_rows(group, order):
    lengths, correct = group
    order = np.array([place for place in order if place < lengths.size])
    ids = np.repeat(np.arange(len(lengths)), lengths.shape[1])[order]
    flat = group_length_penalty(lengths.ravel()[order], correct.ravel()[order], **HALF, side="both", group_ids=ids)
    rows = group_length_penalty(lengths, correct, **HALF, side="both")
    np.testing.assert_allclose(flat, rows.ravel()[order], atol=1e-15)
    named = [f"prompt {number}" for number in ids]
    texts = group_length_penalty(lengths.ravel()[order], correct.ravel()[order], **HALF, side="both", group_ids=named)
    np.testing.assert_array_equal(texts, flat)


@given(groups(), sides)
def test_no_right_answer_falls_below_a_wrong_one_while_penalty_and_bonus_stay_under_what_the_rule_pays(group, side):
    lengths, correct = group
    rule = hybrid_reward(np.ones_like(correct), correct.astype(float), np.zeros(correct.shape))
    bonus = 0.4 * (lengths % 2)
    reward = weighted_sum(np.stack([rule, group_length_penalty(*group, **HALF, side=side), bonus]))
    for row, right in zip(reward, correct, strict=True):
        if right.any() and not right.all():
            assert row[right].min() > row[~right].max()


def test_an_answer_that_no_rule_decides_is_not_right():
    lengths = np.array([[4.0, 8.0, 10.0, 12.0]])
    known = group_length_penalty(lengths, np.array([[0.0, np.nan, 1.0, 1.0]]), **HALF)
    np.testing.assert_allclose(known, [[-0.5, -3 / 11, -1 / 11, 0.0]], atol=1e-15)
    assert not group_length_penalty(lengths, np.full((1, 4), np.nan), **HALF).any()


def test_empty_correct_responses_leave_no_length_to_tolerate():
    lengths, correct = np.array([[0, 0, 3]]), np.array([[True, False, False]])
    np.testing.assert_array_equal(group_length_penalty(lengths, correct, **HALF, side="long"), [[0.0, 0.0, -0.5]])
    np.testing.assert_array_equal(group_length_penalty(lengths, correct, **HALF, side="short"), [[0.0, 0.0, 0.0]])


@given(groups(), sides)
def test_torch_agrees_with_numpy(group, side):
    lengths, correct = group
    ours = group_length_penalty(torch.tensor(lengths), torch.tensor(correct), **HALF, side=side)
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours.numpy(), group_length_penalty(*group, **HALF, side=side), atol=1e-15)


def test_torch_hybrid_agrees_and_dtypes_stay():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        rule, model = torch.tensor(RULES, dtype=dtype), torch.tensor(SCORES, dtype=dtype)
        found = hybrid_reward(torch.tensor(FIRST), rule, model, 0.75)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.double().numpy(), hybrid_reward(FIRST, RULES, SCORES, 0.75), rtol=1e-2)
        lengths = torch.tensor([[4.0, 8.0]], dtype=dtype)
        assert group_length_penalty(lengths, lengths == 8, **HALF).dtype == dtype
    assert hybrid_reward(FIRST, np.array([[1, 0], [1, 0]]), np.full((2, 2), 0.5), 0.5).dtype == np.float64


def test_arguments_are_left_as_they_are():
    inputs = RULES.copy(), SCORES.copy(), np.array([[4.0, 8.0, 10.0, 12.0]])
    hybrid_reward(FIRST, inputs[0], inputs[1], 0.5)
    group_length_penalty(inputs[2], inputs[2] > 9, **HALF)
    for after, before in zip(inputs, (RULES, SCORES, [[4.0, 8.0, 10.0, 12.0]]), strict=True):
        np.testing.assert_array_equal(after, before)


LENGTHS, CORRECT = np.array([[4.0, 8.0]]), np.array([[False, True]])


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: hybrid_reward(FIRST, [[1.0]], SCORES),
            TypeError,
            "rule: expected a NumPy array or torch tensor, got list",
        ),
        (lambda: hybrid_reward(FIRST * 1, RULES, SCORES), TypeError, "verifiable has dtype int64, expected booleans"),
        (lambda: hybrid_reward(FIRST, RULES, torch.tensor(SCORES)), TypeError, "model is a Tensor but rule a ndarray"),
        (
            lambda: hybrid_reward(FIRST, RULES, np.array(["good"])),
            TypeError,
            "model has dtype <U4, expected real numbers",
        ),
        (
            lambda: hybrid_reward(FIRST, RULES, SCORES / 0),
            ValueError,
            r"model\[0, 0\] is inf, expected a finite number",
        ),
        (
            lambda: hybrid_reward(FIRST, RULES, SCORES, 1.2),
            ValueError,
            r"confidence is 1.2, expected a number in \[0, 1\]",
        ),
        (
            lambda: hybrid_reward(FIRST, RULES, SCORES, np.array([-0.1, 0.5, 1.0])),
            ValueError,
            r"confidence spans \[-0.1, 1\], expected numbers in \[0, 1\]",
        ),
        (
            lambda: hybrid_reward(FIRST, RULES, SCORES, np.array([np.nan, 0.5, 1.0])),
            ValueError,
            r"confidence\[0\] is nan, expected a finite number",
        ),
        (
            lambda: hybrid_reward(FIRST, RULES, SCORES[:, :2]),
            ValueError,
            r"do not broadcast against one another: verifiable \(2, 1\), rule \(2, 3\), model \(2, 2\)",
        ),
        (lambda: group_length_penalty(LENGTHS, CORRECT, max_penalty=-1, tolerance=1), ValueError, "max_penalty is -1"),
        (lambda: group_length_penalty(LENGTHS, CORRECT, max_penalty=1, tolerance=0), ValueError, "tolerance is 0"),
        (
            lambda: group_length_penalty(LENGTHS[:0], CORRECT[:0], **HALF),
            ValueError,
            r"lengths of shape \(0, 2\) hold no",
        ),
        (
            lambda: group_length_penalty(LENGTHS, CORRECT, **HALF, side="left"),
            ValueError,
            "side is 'left', expected one",
        ),
        (
            lambda: group_length_penalty(-LENGTHS, CORRECT, **HALF),
            ValueError,
            "lengths go down to -8, expected at least",
        ),
        (lambda: group_length_penalty(LENGTHS / 0, CORRECT, **HALF), ValueError, r"lengths\[0, 0\] is inf"),
        (
            lambda: group_length_penalty(LENGTHS, LENGTHS, **HALF),
            ValueError,
            "correct holds 4, expected booleans, or 0 and 1",
        ),
        (
            lambda: group_length_penalty(LENGTHS, CORRECT[:, :1], **HALF),
            ValueError,
            r"correct has shape \(1, 1\), lengths",
        ),
        (
            lambda: group_length_penalty(LENGTHS, torch.tensor(CORRECT), **HALF),
            TypeError,
            "correct is a Tensor but lengths",
        ),
        (
            lambda: group_length_penalty(LENGTHS, CORRECT, **HALF, group_ids=[0, 1]),
            ValueError,
            r"lengths have shape \(1, 2\), expected \(samples,\) where group_ids are given",
        ),
        (
            lambda: group_length_penalty(LENGTHS[0], CORRECT[0], **HALF, group_ids=[0]),
            ValueError,
            "group_ids has 1 values for 2 samples",
        ),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(call, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        call()
