import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.process.credit import reward_to_go, step_advantages
from rewardlab.process.refine import MODES, refine
from rewardlab.transforms import standardised
from tests.process.solutions import each, padded

modes = st.sampled_from(MODES)
discounts = st.sampled_from([0.0, 0.3, 0.9, 1.0])
finite = st.floats(-10, 10).map(lambda value: round(value, 6))


@given(padded(steps=20), discounts)
def test_reward_to_go_is_the_sum_from_each_step_on(solutions, discount):
    scores, mask = solutions
    found = reward_to_go(scores, mask, discount=discount)
    assert (found[~mask] == 0).all()
    for row, here, rewards in zip(found, mask, each(scores, mask), strict=True):
        count = len(rewards)
        expected = [sum(discount ** (j - k) * rewards[j] for j in range(k, count)) for k in range(count)]
        np.testing.assert_allclose(row[here], expected, atol=1e-12)
    torch_found = reward_to_go(torch.tensor(scores), torch.tensor(mask), discount=discount)
    np.testing.assert_allclose(torch_found.numpy(), found, atol=1e-12)


def test_reward_to_go_of_long_and_of_empty_solutions():
    np.testing.assert_allclose(reward_to_go(np.ones(1000), discount=0.5)[:3], 2.0)
    np.testing.assert_allclose(reward_to_go(np.ones((2, 1000)))[1], np.arange(1000, 0, -1))
    assert reward_to_go(np.ones((2, 1000), np.float32), discount=0.9).dtype == np.float32
    assert reward_to_go(np.array([1, 2])).tolist() == [3.0, 2.0]
    for shape in ((0, 3), (3, 0)):
        assert reward_to_go(np.zeros(shape)).shape == shape
        assert reward_to_go(np.zeros(shape), discount=0.5).shape == shape


@st.composite
def batches(draw):
    scores, mask = draw(padded(samples=6))
    samples = len(scores)
    return (
        scores,
        mask,
        draw(arrays(np.float64, samples, elements=finite)),
        draw(st.lists(st.integers(0, 2), min_size=samples, max_size=samples)),
    )


@given(batches(), modes, st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(["same_step", "group"]), st.booleans())
def test_advantages_group_by_group_by_hand(batch, mode, weight, baseline, standardise):
    scores, mask, outcomes, ids = batch
    found = step_advantages(
        scores,
        mask,
        outcomes,
        mode,
        weight=weight,
        threshold=0.7,
        group_ids=ids,
        baseline=baseline,
        standardise=standardise,
        epsilon=1e-3,
    )
    np.testing.assert_array_equal(found.refined, refine(scores, mask, mode, threshold=0.7))
    returns = np.where(mask, weight * reward_to_go(found.refined, mask) + outcomes[:, None], 0)
    np.testing.assert_allclose(found.returns, returns, atol=1e-12)
    ids, expected = np.array(ids), np.zeros(returns.shape)
    for group in set(ids):
        rows = np.flatnonzero(ids == group)
        pools = (
            [[(row, k) for row in rows if mask[row, k]] for k in range(mask.shape[1])]
            if baseline == "same_step"
            else [[(row, k) for row in rows for k in range(mask.shape[1]) if mask[row, k]]]
        )
        for pool in pools:
            values = np.array([returns[place] for place in pool])
            for place, value in zip(pool, values, strict=True):
                spread = values.std()
                expected[place] = value - values.mean() if spread > 2e-6 * max(1, abs(values.mean())) else 0
        if standardise and mask[rows].any():
            expected[rows] /= np.sqrt((expected[rows][mask[rows]] ** 2).mean()) + 1e-3
    np.testing.assert_allclose(found.advantages, expected, atol=2e-5)


@given(batches(), modes, st.sampled_from(["same_step", "group"]), st.booleans())
def test_torch_agrees_with_numpy(batch, mode, baseline, standardise):
    scores, mask, outcomes, ids = batch
    settings = {"weight": 0.3, "threshold": 0.7, "group_ids": ids, "baseline": baseline, "standardise": standardise}
    found = step_advantages(torch.tensor(scores), torch.tensor(mask), torch.tensor(outcomes), mode, **settings)
    for ours, theirs in zip(step_advantages(scores, mask, outcomes, mode, **settings), found, strict=True):
        np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-9)


@given(batches(), modes, st.sampled_from(["same_step", "group"]), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_is_free(batch, mode, baseline, random):
    scores, mask, outcomes, ids = batch
    order = list(range(len(ids)))
    random.shuffle(order)
    settings = {"weight": 0.3, "threshold": 0.7, "baseline": baseline}
    found = step_advantages(scores, mask, outcomes, mode, group_ids=ids, **settings).advantages
    shuffled = step_advantages(
        scores[order], mask[order], outcomes[order], mode, group_ids=[ids[place] for place in order], **settings
    ).advantages
    np.testing.assert_allclose(shuffled, found[order], atol=1e-9)


# The method's group: a short right answer, the same with eight steps of filler, a wrong one.
SHORT, WRONG = [0.8, 0.8, 0.8, 0.9], [0.8, 0.1, 0.1, 0.1]
GROUP = [SHORT, [0.8, 0.8, 0.8, *[0.9] * 8, 0.9], WRONG]


def group_of_three():
    steps = max(map(len, GROUP))
    scores = np.array([row + [0.0] * (steps - len(row)) for row in GROUP])
    return scores, np.arange(steps) < np.array([[len(row)] for row in GROUP])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("raw", [1.135, 5.535, -6.670]),
        ("clip", [1.638, 4.913, -6.551]),
        ("delta", [1.079, -2.157, 1.079]),
        ("clip_delta", [0, 0, 0]),
    ],
)
def test_normalising_before_accumulating_pays_filler_again(mode, expected):
    scores, mask = group_of_three()
    refined = refine(scores, mask, mode, threshold=0.7)
    pooled = np.full(mask.shape, np.nan)
    pooled[mask] = standardised(refined[mask], [0] * mask.sum(), correction=1, epsilon=0.0)
    wrong_order = reward_to_go(np.nan_to_num(pooled), mask)[:, 0]
    np.testing.assert_allclose(wrong_order, expected, atol=5e-4)


@pytest.mark.parametrize("baseline", ["same_step", "group"])
@pytest.mark.parametrize("standardise", [False, True])
def test_the_right_order_pays_filler_nothing(baseline, standardise):
    scores, mask = group_of_three()
    found = step_advantages(
        scores, mask, np.array([1, 1, 0]), "clip_delta", weight=0.3, threshold=0.7, baseline=baseline,
        standardise=standardise,
    ).advantages  # fmt: skip
    np.testing.assert_allclose(found[0, :3], found[1, :3], atol=1e-12)  # filler earns nothing
    assert (found[0, :4] > found[2, :4]).all()
    padded_raw = step_advantages(scores, mask, np.array([1, 1, 0]), "raw", weight=0.3, baseline=baseline).advantages
    assert padded_raw[1, 0] > padded_raw[0, 0] + 1  # as it does with the raw scores


# Property 8: what a policy gradient climbs. Two steps, three choices each, scores that depend on the history.
def _all_solutions(choices=3):
    return list(itertools.product(range(choices), repeat=2))


def _setup(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1 + 3, 3)), rng.random((3,)), rng.random((3, 3)), rng.random((3, 3))


def _probabilities(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _expected_gradient(logits, first, second, correct, mode, full, weight=0.8):
    """Sum over all solutions of probability x grad log-probability x return (the full one, or that from each step)."""
    policy, gradient = _probabilities(logits), np.zeros(logits.shape)
    for a, b in _all_solutions():
        refined = refine(np.array([first[a], second[a, b], 0.5]), None, mode, threshold=0.6)
        to_go = weight * reward_to_go(refined) + correct[a, b]
        for row, action, place in ((0, a, 0), (1 + a, b, 1)):
            credit = to_go[0] if full else to_go[place]
            gradient[row] += policy[0, a] * policy[1 + a, b] * credit * (np.eye(3)[action] - policy[row])
    return gradient


def _expected_total(logits, first, second, correct, mode, weight=0.8):
    policy, total = _probabilities(logits), 0.0
    for a, b in _all_solutions():
        refined = refine(np.array([first[a], second[a, b], 0.5]), None, mode, threshold=0.6)
        total += policy[0, a] * policy[1 + a, b] * (weight * refined.sum() + correct[a, b])
    return total


def _differences(function, logits, width=1e-5):
    gradient = np.zeros(logits.shape)
    for place in np.ndindex(*logits.shape):
        step = np.zeros(logits.shape)
        step[place] = width
        gradient[place] = (function(logits + step) - function(logits - step)) / (2 * width)
    return gradient


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_the_full_return_gives_the_gradient_of_the_expected_total(mode, seed):
    logits, first, second, correct = _setup(seed)
    found = _expected_gradient(logits, first, second, correct, mode, full=True)
    differences = _differences(lambda values: _expected_total(values, first, second, correct, mode), logits)
    np.testing.assert_allclose(found, differences, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_delta_with_reward_to_go_climbs_no_total_but_each_steps_own_score(seed):
    logits, first, second, correct = _setup(seed)
    arguments = (first, second, correct)
    to_go = _expected_gradient(logits, *arguments, "delta", full=False)
    total = _differences(lambda values: _expected_total(values, *arguments, "delta"), logits)
    assert abs(to_go - total).max() > 1e-3
    # with the full return only the first step's score is left of the process reward
    first_only = _differences(lambda values: _expected_total(values, first, 0 * second, correct, "delta"), logits)
    np.testing.assert_allclose(total, first_only, atol=1e-6)
    policy, own = _probabilities(logits), np.zeros(logits.shape)
    for a, b in _all_solutions():  # weight x p(k) + outcome, for each step k
        chance = policy[0, a] * policy[1 + a, b]
        own[0] += chance * (0.8 * first[a] + correct[a, b]) * (np.eye(3)[a] - policy[0])
        own[1 + a] += chance * (0.8 * second[a, b] + correct[a, b]) * (np.eye(3)[b] - policy[1 + a])
    np.testing.assert_allclose(to_go, own, atol=1e-12)


@pytest.mark.parametrize("mode", ["causal_delta", "clip_causal_delta"])
def test_causal_shaping_leaves_the_gradient_of_success_as_it_was(mode):
    for seed in range(5):
        logits, *arguments = _setup(seed)
        shaped = _expected_gradient(logits, *arguments, mode, full=False)
        bare = _expected_gradient(logits, *arguments, mode, full=False, weight=0.0)
        np.testing.assert_allclose(shaped, bare, atol=1e-12)


def test_empty_batches_and_a_single_sample():
    empty = step_advantages(np.zeros((0, 3)), None, np.zeros(0), "delta", weight=0.1)
    assert [part.shape for part in empty] == [(0, 3)] * 3
    stepless = step_advantages(np.zeros((2, 0)), None, np.ones(2), "delta", weight=0.1)
    assert [part.shape for part in stepless] == [(2, 0)] * 3
    alone = step_advantages(np.array([[0.5, 0.9]]), None, np.array([True]), "raw", weight=1.0)
    np.testing.assert_allclose(alone.returns, [[2.4, 1.9]])
    assert (alone.advantages == 0).all()
    masked = step_advantages(
        np.full((2, 2), np.nan), np.zeros((2, 2), bool), np.ones(2), "clip", weight=1.0, threshold=0.5
    )
    assert all((part == 0).all() for part in masked)


def test_float32_stays_float32():
    found = step_advantages(np.full((2, 2), 0.5, np.float32), None, np.array([1.0, 0.0]), "delta", weight=0.1)
    assert [part.dtype for part in found] == [np.float32] * 3


half, ends = np.full((2, 2), 0.5), np.array([1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: reward_to_go(np.array([1.0, np.nan])), ValueError, "step_rewards[1] is nan, expected a finite number"),
        (lambda: reward_to_go(np.array([np.inf, -np.inf])), ValueError, "step_rewards[0] is inf"),
        (lambda: reward_to_go(half, discount=1.1), ValueError, "discount is 1.1, expected a number in [0, 1]"),
        (lambda: reward_to_go(half, np.ones((2, 3), bool)), ValueError, "mask has shape (2, 3), expected that of"),
        (lambda: step_advantages(half, None, ends, "raw", weight=-1.0), ValueError, "weight is -1.0, expected"),
        (lambda: step_advantages(half, None, ends, "raw", weight=1, baseline="mean"), ValueError, "baseline is 'mean'"),
        (lambda: step_advantages(half, None, ends, "raw", weight=1, epsilon=-1), ValueError, "epsilon is -1, expected"),
        (
            lambda: step_advantages(half[0], None, ends, "raw", weight=1),
            ValueError,
            "has shape (2,), expected (samples,",
        ),
        (lambda: step_advantages(half, None, half, "raw", weight=1), ValueError, "outcomes has shape (2, 2), expected"),
        (
            lambda: step_advantages(half, None, ends[:1], "raw", weight=1),
            ValueError,
            "outcomes has shape (1,), expected",
        ),
        (lambda: step_advantages(half, None, ends * np.nan, "raw", weight=1), ValueError, "outcomes[0] is nan"),
        (lambda: step_advantages(half, None, torch.ones(2), "raw", weight=1), TypeError, "use one library"),
        (lambda: step_advantages(half, None, [1, 0], "raw", weight=1), TypeError, "outcomes: expected a NumPy array"),
        (lambda: step_advantages(half, None, ends, "clip", weight=1), ValueError, "threshold is None"),
        (
            lambda: step_advantages(half, None, ends, "raw", weight=1, group_ids=[0]),
            ValueError,
            "group_ids has 1 values",
        ),
    ],
)
def test_refusals(call, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
