import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.credit import reward_to_go
from rewardlab.process.refine import MODES, refine
from tests.process.solutions import each, padded, unit

THRESHOLD = 0.5
modes = st.sampled_from(MODES)
last_steps = st.sampled_from(["drop", "keep"])


def by_hand(p, mode, *, last_step="drop", threshold=THRESHOLD, temperature=0.1):
    """The definitions, step by step, for one solution p(1), ..., p(K)."""
    count = len(p)
    if mode == "raw" or not count:
        return list(p)
    if mode == "length_normalised":
        return [score / count for score in p]
    if mode == "min_form":
        weights = [np.exp(-score / temperature) for score in p]
        return [score * weight / sum(weights) for score, weight in zip(p, weights, strict=True)]
    if "clip" in mode:
        p = [min(score - threshold, 0.0) for score in p]
        if mode == "clip":
            return p
    if mode.endswith("causal_delta"):
        rises = [score - before for score, before in zip(p, [0.0, *p[:-1]], strict=True)]
        return rises if last_step == "keep" else [*rises[:-1], -(p[-2] if count > 1 else 0.0)]
    if last_step == "keep":
        return [score - after for score, after in zip(p, [*p[1:], 0.0], strict=True)]
    if count == 1:
        return [0.0]
    return [*(p[k] - p[k + 1] for k in range(count - 2)), p[-2], 0.0]


@pytest.mark.parametrize(
    ("scores", "mode", "expected", "total", "to_go"),
    [
        ([0.9, 0.8, 0.2, 0.7], "raw", [0.9, 0.8, 0.2, 0.7], 2.6, [2.6, 1.7, 0.9, 0.7]),
        ([0.9, 0.8, 0.2, 0.7], "clip", [0, 0, -0.3, 0], -0.3, [-0.3, -0.3, -0.3, 0]),
        ([0.9, 0.8, 0.2, 0.7], "delta", [0.1, 0.6, 0.2, 0], 0.9, [0.9, 0.8, 0.2, 0]),
        ([0.9, 0.8, 0.2, 0.7], "clip_delta", [0, 0.3, -0.3, 0], 0, [0, 0, -0.3, 0]),
        ([0.9, 0.8, 0.2, 0.7], "causal_delta", [0.9, -0.1, -0.6, -0.2], 0, [0, -0.9, -0.8, -0.2]),
        ([0.9, 0.8, 0.2, 0.7], "clip_causal_delta", [0, 0, -0.3, 0.3], 0, [0, 0, 0, 0.3]),
        ([0.9, 0.8, 0.2, 0.7], "length_normalised", [0.225, 0.2, 0.05, 0.175], 0.65, [0.65, 0.425, 0.225, 0.175]),
        ([0.6], "raw", [0.6], 0.6, [0.6]),
        ([0.6], "clip", [0], 0, [0]),
        ([0.6], "delta", [0], 0, [0]),
        ([0.3], "clip_delta", [0], 0, [0]),
        ([0.3], "clip", [-0.2], -0.2, [-0.2]),
        ([0.6, 0.3], "clip", [0, -0.2], -0.2, [-0.2, -0.2]),
        ([0.6, 0.3], "delta", [0.6, 0], 0.6, [0.6, 0]),
    ],
)
def test_worked_numbers(scores, mode, expected, total, to_go):
    found = refine(np.array(scores), None, mode, threshold=THRESHOLD)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.sum() == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(reward_to_go(found), to_go, atol=1e-12)


@pytest.mark.parametrize(("mode", "total"), [("raw", 36.0), ("clip", 0), ("delta", 0.9), ("clip_delta", 0)])
def test_forty_steps_of_filler(mode, total):
    assert refine(np.full(40, 0.9), None, mode, threshold=THRESHOLD).sum() == pytest.approx(total, abs=1e-12)


def test_min_form_is_near_the_lowest_score():
    found = refine(np.array([0.9, 0.2, 0.8]), None, "min_form")
    weights = np.exp(-np.array([9.0, 2.0, 8.0]))
    np.testing.assert_allclose(found, np.array([0.9, 0.2, 0.8]) * weights / weights.sum(), rtol=1e-12)
    assert refine(np.array([0.9, 0.2, 0.8]), None, "min_form", temperature=1e-3).sum() == pytest.approx(0.2, abs=1e-9)


@given(padded(), modes, last_steps)
def test_the_definition_solution_by_solution(solutions, mode, last_step):
    scores, mask = solutions
    found = refine(scores, mask, mode, threshold=THRESHOLD, last_step=last_step)
    assert (found[~mask] == 0).all()
    for row, here, solution in zip(found, mask, each(scores, mask), strict=True):
        np.testing.assert_allclose(row[here], by_hand(solution, mode, last_step=last_step), atol=1e-12)


@given(padded(), modes, last_steps)
def test_torch_agrees_with_numpy(solutions, mode, last_step):
    scores, mask = solutions
    found = refine(torch.tensor(scores), torch.tensor(mask), mode, threshold=0.7, last_step=last_step)
    np.testing.assert_allclose(
        found.numpy(), refine(scores, mask, mode, threshold=0.7, last_step=last_step), rtol=1e-12, atol=1e-15
    )


@given(padded(), modes)
def test_leading_axes_are_batches_and_the_input_stays_as_it_was(solutions, mode):
    scores, mask = solutions
    before, mask_before = scores.copy(), mask.copy()
    stacked = refine(np.stack([scores, scores]), np.stack([mask, mask]), mode, threshold=0.7)
    np.testing.assert_array_equal(stacked[1], refine(scores, mask, mode, threshold=0.7))
    np.testing.assert_array_equal(scores, before)
    np.testing.assert_array_equal(mask, mask_before)
    whole = np.nan_to_num(scores)
    np.testing.assert_array_equal(
        refine(whole, np.ones_like(mask), mode, threshold=0.7), refine(whole, None, mode, threshold=0.7)
    )


@given(padded(least=2), unit, st.integers(1, 5), unit, st.integers(0, 3))
def test_filler_before_the_last_step(solutions, threshold, number, extra, gap):
    """Property 3: what filler scored at or above the threshold earns, inserted just before the last step."""
    scores, mask = solutions
    p = each(scores, mask)[0]
    filler = min(1.0, threshold + extra)
    longer = np.array([*p[:-1], *[filler] * number, p[-1]])
    p = np.array(p)

    def total(values, mode):
        return refine(values, None, mode, threshold=threshold).sum()

    assert total(longer, "raw") - total(p, "raw") == pytest.approx(number * filler, abs=1e-9)
    for mode in ("clip", "clip_delta", "delta"):
        assert total(longer, mode) == pytest.approx(total(p, mode), abs=1e-9)
    for mode in ("delta", "clip_delta"):
        before, after = (reward_to_go(refine(values, None, mode, threshold=threshold)) for values in (p, longer))
        np.testing.assert_allclose(after[: len(p) - 1], before[:-1], atol=1e-12)


@given(padded(), unit, unit)
def test_clip_never_pays_and_is_monotone(solutions, low, high):
    scores, mask = solutions
    low, high = min(low, high), max(low, high)
    loose, strict = (refine(scores, mask, "clip", threshold=threshold) for threshold in (low, high))
    assert (strict <= loose).all() and (loose <= 0).all()  # non-increasing in the threshold
    assert (loose.sum(-1) >= -low * mask.sum(-1) - 1e-12).all()
    better = np.where(mask, np.minimum(np.nan_to_num(scores) + 0.1, 1), np.nan)
    assert (refine(better, mask, "clip", threshold=high) >= strict).all()
    np.testing.assert_allclose(refine(scores, mask, "clip", threshold=1.0)[mask], scores[mask] - 1, atol=1e-15)
    assert (refine(scores, mask, "clip", threshold=0.0) == 0).all()


@given(padded(), unit)
def test_sums_and_rewards_to_go_of_the_differences(solutions, threshold):
    scores, mask = solutions
    for mode in ("delta", "clip_delta"):
        refined = refine(scores, mask, mode, threshold=threshold)
        to_go = reward_to_go(refined, mask)
        for row, here, p in zip(to_go, mask, each(scores, mask), strict=True):
            worth = p if mode == "delta" else [min(score - threshold, 0.0) for score in p]
            np.testing.assert_allclose(row[here], [*worth[:-1], 0.0][: len(p)], atol=1e-12)
        first = np.where(mask[:, 0], np.nan_to_num(scores[:, 0]), 0)
        first = first if mode == "delta" else np.minimum(first - threshold, 0)
        np.testing.assert_allclose(refined.sum(-1), np.where(mask.sum(-1) >= 2, first, 0), atol=1e-12)


@given(padded(), unit)
def test_clip_delta_is_the_difference_of_the_clipped_scores(solutions, threshold):
    scores, mask = solutions
    clipped = np.where(mask, np.minimum(np.nan_to_num(scores) - threshold, 0), 0) + threshold  # back into [0, 1]
    shifted = refine(clipped, mask, "delta")
    found = refine(scores, mask, "clip_delta", threshold=threshold)
    # Delta of c + b differs from Delta of c by b in entry K - 1 only
    for row, other, here in zip(found, shifted, mask, strict=True):
        length = int(here.sum())
        if length >= 2:
            other = other.copy()
            other[length - 2] -= threshold
        np.testing.assert_allclose(row, other, atol=1e-12)


def test_order_of_clip_and_delta_matters():
    delta = refine(np.array([0.9, 0.8, 0.2, 0.7]), None, "delta")
    np.testing.assert_allclose(np.minimum(delta - 0.5, 0), [-0.4, 0, -0.3, -0.5], atol=1e-12)
    assert not np.allclose(
        np.minimum(delta - 0.5, 0), refine(np.array([0.9, 0.8, 0.2, 0.7]), None, "clip_delta", threshold=0.5)
    )


@given(st.floats(0, 0.5), st.integers(2, 8), st.floats(0, 0.5))
def test_constant_scores_and_a_constant_added(score, count, shift):
    expected = np.zeros(count)
    expected[-2] = score
    np.testing.assert_allclose(refine(np.full(count, score), None, "delta"), expected, atol=1e-15)
    rising = np.linspace(0, 0.5, count)
    change = refine(rising + shift, None, "delta") - refine(rising, None, "delta")
    expected[-2] = shift
    np.testing.assert_allclose(change, expected, atol=1e-12)


def test_clip_delta_is_not_shift_equivariant():
    scores = np.array([0.2, 0.4, 0.3])
    change = refine(scores + 0.4, None, "clip_delta", threshold=0.5) - refine(scores, None, "clip_delta", threshold=0.5)
    assert not np.allclose(change, [0, 0.4, 0])


@given(padded(), unit, st.sampled_from(["causal_delta", "clip_causal_delta"]))
def test_the_causal_reward_to_go_is_known_before_the_step(solutions, threshold, mode):
    """It depends on the scores before step k only: a baseline, which cannot change what is optimal."""
    scores, mask = solutions
    to_go = reward_to_go(refine(scores, mask, mode, threshold=threshold), mask)
    for row, here, p in zip(to_go, mask, each(scores, mask), strict=True):
        worth = p if mode == "causal_delta" else [min(score - threshold, 0.0) for score in p]
        np.testing.assert_allclose(row[here], [-score for score in [0.0, *worth[:-1]]][: len(p)], atol=1e-12)


@given(padded(least=1), st.floats(0.01, 2))
def test_min_form_lies_between_the_lowest_score_and_the_mean(solutions, temperature):
    scores, mask = solutions
    total = refine(scores, mask, "min_form", temperature=temperature).sum(-1)
    for found, p in zip(total, each(scores, mask), strict=True):
        assert min(p) - 1e-12 <= found <= np.mean(p) + 1e-12


@given(padded(), modes)
def test_float32_stays_float32_and_labels_become_float64(solutions, mode):
    scores, mask = solutions
    found = refine(scores.astype(np.float32), mask, mode, threshold=0.7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, refine(scores, mask, mode, threshold=0.7), atol=5e-6)
    labels = np.nan_to_num(scores) > 0.5
    for kind in (labels, labels.astype(np.int64)):
        found = refine(kind, mask, mode, threshold=0.7)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, refine(labels.astype(float), mask, mode, threshold=0.7))


def test_bfloat16_from_a_trainer():
    scores = torch.tensor([[0.75, 0.5, 0.25]], dtype=torch.bfloat16)
    found = refine(scores, None, "delta")
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [[0.25, 0.5, 0.0]]


@pytest.mark.parametrize("mode", MODES)
def test_nothing_in_nothing_out(mode):
    for shape in ((0, 4), (3, 0), (0, 0), (0,)):
        assert refine(np.zeros(shape), None, mode, threshold=0.7).shape == shape
        assert refine(torch.zeros(shape), torch.zeros(shape, dtype=bool), mode, threshold=0.7).shape == shape
    masked = refine(np.full((2, 3), np.nan), np.zeros((2, 3), bool), mode, threshold=0.7)
    np.testing.assert_array_equal(masked, np.zeros((2, 3)))


@pytest.mark.parametrize("mode", MODES)
def test_gradients_pass_through_and_stay_finite(mode):
    scores = torch.tensor([[0.9, 0.75, 0.2, 0.5], [0.3, 0.6, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])

    def refined(values):
        return refine(values, mask, mode, threshold=0.7)

    assert torch.autograd.gradcheck(refined, (scores,))


two = np.array([[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: refine(two, None, "deltas"), ValueError, "mode is 'deltas', expected one of 'raw', "),
        (lambda: refine(two, None, "delta", last_step="skip"), ValueError, "last_step is 'skip', expected one of"),
        (lambda: refine(two, None, "clip"), ValueError, "threshold is None, expected a number in"),
        (lambda: refine(two, None, "clip_delta", threshold=1.5), ValueError, "threshold is 1.5, expected a number in"),
        (lambda: refine(two, None, "min_form", temperature=0.0), ValueError, "temperature is 0.0, expected"),
        (lambda: refine([[0.5]], None, "raw"), TypeError, "step_rewards: expected a NumPy array or torch tensor"),
        (lambda: refine(np.float64(0.5), None, "raw"), ValueError, "step_rewards is a single number"),
        (
            lambda: refine(np.array([[0.5, np.nan]]), None, "raw"),
            ValueError,
            "step_rewards[0, 1] is nan, expected a score",
        ),
        (lambda: refine(np.array([[0.5], [np.inf]]), None, "raw"), ValueError, "step_rewards[1, 0] is inf"),
        (
            lambda: refine(np.array([1.5]), None, "delta"),
            ValueError,
            "step_rewards[0] is 1.5, expected a score in [0, 1]",
        ),
        (
            lambda: refine(np.array([-1, 0]), None, "raw"),
            ValueError,
            "step_rewards[0] is -1, expected a score in [0, 1]",
        ),
        (lambda: refine(two, np.ones((2, 2)), "raw"), TypeError, "mask has dtype float64, expected bool"),
        (lambda: refine(two, np.ones((2, 1), bool), "raw"), ValueError, "mask has shape (2, 1), expected that of"),
        (lambda: refine(two, np.array([[True, True], [False, True]]), "raw"), ValueError, "mask[1, 1] is True after a"),
        (lambda: refine(two, torch.zeros(2, 2, dtype=bool), "raw"), TypeError, "use one library"),
        (lambda: refine(two.astype(complex), None, "raw"), TypeError, "step_rewards has dtype complex128"),
    ],
)
def test_refusals(call, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
