"""Precision, devices, memory layouts and gradients of the functions of padded steps."""

from functools import partial

import numpy as np
import pytest
import torch

from rewardlab.process import (
    answer_likelihood,
    consistency_reward,
    expected_hard_label,
    filler_equilibrium,
    first_error_accuracy,
    gives_up,
    information_gain,
    join_outcome,
    refine,
    reward_to_go,
    sentence_policy_reward,
    solve_judge_reward,
    step_advantages,
    turn_advantages,
    verdict_reward,
)
from rewardlab.process.padded_steps import BLOCK
from rewardlab.transforms.outliers import clamp_outliers, drop_outliers, robust_clip
from tests.process.step_functions import FUNCTIONS, batch, plain

EVERY = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
OUTCOMES, IDS = np.array([1.0, 0.0, 1.0]), [0, 0, 1]


def good(function, lengths=(3, 2, 0), steps=4):
    lengths = tuple(max(1, length) for length in lengths) if function.stepless == "error" else lengths
    return batch(function, np.random.default_rng(2), lengths, steps)


@EVERY
@pytest.mark.parametrize("kind", ["float16", "float32", "bfloat16"])
def test_narrow_floats(function, kind):
    values, mask = good(function)
    expected = plain(function.call(values, mask))
    pairs = [(torch.tensor(values).to(getattr(torch, kind)), torch.tensor(mask))]
    if kind != "bfloat16":
        pairs.append((values.astype(kind), mask))
    for narrow, here in pairs:
        found = function.call(narrow, here)
        if function.gives == "places":
            assert str(found.dtype).endswith("int64")
            np.testing.assert_array_equal(plain(found), expected)
            continue
        assert str(found.dtype).endswith(kind if function.keeps_dtype else "float64")
        np.testing.assert_allclose(plain(found), expected, atol=1e-12 if not function.keeps_dtype else 0.02)


@pytest.mark.parametrize("discount", [1.0, 0.9999])
def test_long_sums_of_narrow_floats_do_not_get_stuck(discount):
    """In float16 2048 + 0.9 is 2048; a sum of many small rewards would end there."""
    expected = reward_to_go(np.full(4096, np.float16(0.9)).astype(np.float64), discount=discount)[0]
    assert expected > 3000
    for rewards in (np.full(4096, 0.9, np.float16), torch.full((4096,), 0.9, dtype=torch.float16)):
        assert float(reward_to_go(rewards, discount=discount)[0]) == pytest.approx(expected, rel=1e-3)
    bfloat16 = torch.full((4096,), 0.8984375, dtype=torch.bfloat16)
    expected = reward_to_go(np.full(4096, 0.8984375), discount=discount)[0]
    assert float(reward_to_go(bfloat16, discount=discount)[0]) == pytest.approx(expected, rel=2**-8)


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_what_is_beyond_a_dtype_is_refused(library):
    for rewards, kind in ((np.full(400, 200.0, np.float16), "float16"), (np.full((2, 2), 3e38, np.float32), "float32")):
        for discount in (1.0, 0.999):
            with pytest.raises(ValueError, match=f"step_rewards: a sum is beyond the range of .*{kind}"):
                reward_to_go(library(rewards), discount=discount)
    half, outcomes = library(np.full((2, 2), 0.5, np.float16)), library(np.array([1e6, 0.0]))
    with pytest.raises(ValueError, match=r"returns are beyond the range of .*float16"):
        step_advantages(half, None, outcomes, "raw", weight=0.1)
    with pytest.raises(ValueError, match=r"returns are beyond the range of .*float64"):
        step_advantages(library(np.full((2, 2), 0.5)), None, outcomes, "raw", weight=1e308)
    with pytest.raises(ValueError, match=r"advantages are beyond the range of .*float16"):
        turn_advantages(half, outcomes, normalisation="position")


@pytest.mark.parametrize("temperature", [1e-310, 1e-50, 1e-9])
def test_a_temperature_that_a_narrow_float_rounds_to_0(temperature):
    for kind in (np.float16, np.float32, np.float64):
        for library in (np.asarray, torch.tensor):
            found = refine(library(np.array([0.75, 0.5, 0.5], kind)), None, "min_form", temperature=temperature)
            assert found.tolist() == [0.0, 0.25, 0.25]


@pytest.mark.parametrize("name", ["place_on_tokens", "spread_over_tokens"])
@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_ends_of_any_whole_type(name, kind):
    """More tokens than the type can count, and padding that stands where a step would."""
    from rewardlab import process

    function, values = getattr(process, name), np.array([[0.5, -1.0, np.nan], [0.25, np.nan, np.nan]])
    mask, ends = ~np.isnan(values), np.array([[1, 120, 44], [0, 44, 0]])
    expected = function(values, mask, ends, 70_000)
    assert np.flatnonzero(expected[0])[-1] == 120
    np.testing.assert_array_equal(function(values, mask, ends.astype(kind), 70_000), expected)
    found = function(torch.tensor(values), torch.tensor(mask), torch.tensor(ends.astype(kind)), 70_000)
    np.testing.assert_array_equal(found.numpy(), expected)


@EVERY
def test_views_and_strides(function):
    values, mask = good(function, (3, 3, 3), 3)
    expected = plain(function.call(values, mask))
    transposed = (np.asfortranarray(part) for part in (values, mask))
    np.testing.assert_array_equal(plain(function.call(*transposed)), expected)
    wide = (np.repeat(part, 2, axis=0)[::2] for part in (values, mask))
    np.testing.assert_array_equal(plain(function.call(*wide)), expected)
    backwards = (part[:, ::-1].copy()[:, ::-1] for part in (values, mask))
    np.testing.assert_array_equal(plain(function.call(*backwards)), expected)
    in_torch = (torch.tensor(part.T.copy()).T for part in (values, mask))
    np.testing.assert_allclose(plain(function.call(*in_torch)), expected, rtol=1e-12, atol=1e-12)
    read_only = values.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(plain(function.call(read_only, mask)), expected)


@EVERY
def test_more_solutions_than_are_worked_on_together(function):
    """Blocks of solutions end where they should: the result is that of the parts."""
    count = 2 * BLOCK // 4 + 5
    lengths = np.random.default_rng(0).integers(1, 5, count)
    values, mask = batch(function, np.random.default_rng(3), lengths, 4)
    found = plain(function.call(values, mask))
    for low in (0, BLOCK // 4 - 4, BLOCK // 4 - 2, count - count % 2 - 4):  # even: outcomes go by the row
        part = slice(low, low + 6)
        np.testing.assert_allclose(found[part], plain(function.call(values[part], mask[part])), rtol=1e-12, atol=1e-12)
    if function.gives == "steps":
        assert (found[~mask] == 0).all()


@pytest.fixture
def elsewhere():
    """Makes arrays on another device where the code does not say which: a computation that mixes the two fails."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device("cpu")


def _tensor(array):
    return torch.as_tensor(array, device="cpu")


@EVERY
def test_all_stays_on_the_device_of_the_values(function, elsewhere):
    for parts in (good(function), batch(function, np.random.default_rng(2), [2, 1] * BLOCK, 2)):
        found = function.call(*map(_tensor, parts))
        assert found.device.type == "cpu"
        np.testing.assert_allclose(plain(found), plain(function.call(*parts)), rtol=1e-12, atol=1e-12)


scores, likelihoods, flags = np.full((3, 4), 0.5), np.linspace(0.1, 0.9, 15).reshape(3, 5), np.array([1, 0, 1])
FULL = {
    "step_advantages": (lambda s, o: step_advantages(s, None, o, "delta", weight=0.1, group_ids=IDS), scores, OUTCOMES),
    "step_advantages, group, standardised": (
        lambda s, o: step_advantages(
            s, None, o, "causal_delta", weight=0.1, group_ids=IDS, baseline="group", standardise=True
        ),
        scores, OUTCOMES,
    ),
    **{
        f"turn_advantages {kind}": (
            lambda gains, o, kind=kind: turn_advantages(gains, o, None, IDS, normalisation=kind), scores, OUTCOMES,
        )
        for kind in ("joint", "separate", "position")
    },
    "information_gain, logs": (lambda v: information_gain(v, kind="log_probability"), likelihoods),
    "answer_likelihood": (lambda v: answer_likelihood(-v), likelihoods),
    "consistency_reward": (consistency_reward, flags, flags, flags),
    "solve_judge_reward": (solve_judge_reward, flags, OUTCOMES, flags),
    "verdict_reward": (lambda p, g: verdict_reward(p, g, "brrm"), flags, flags),
    "first_error_accuracy": (lambda p, a: first_error_accuracy(p, a).f1, flags, np.array([-1, 0, 1])),
    "expected_hard_label": (lambda v: expected_hard_label(v, 8), OUTCOMES),
    "filler_equilibrium, hazard": (lambda v: filler_equilibrium(v, hazard=0.1), OUTCOMES / 2),
    "filler_equilibrium, deadline": (lambda v: filler_equilibrium(v, steps=5), OUTCOMES / 2),
    "gives_up": (lambda v: gives_up(v, success=0.1, penalty=1.0, penalty_at_once=0.5), OUTCOMES),
    "drop_outliers": (drop_outliers, likelihoods),
    "clamp_outliers": (partial(clamp_outliers, group_ids=IDS), OUTCOMES),
    "robust_clip": (robust_clip, likelihoods),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL)
def test_all_else_stays_on_the_device_too(name, elsewhere):
    function, *arguments = FULL[name]
    found, expected = function(*map(_tensor, arguments)), function(*arguments)
    parts = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for part, theirs in parts:
        assert isinstance(part, float) or part.device.type == "cpu"
        np.testing.assert_allclose(plain(part), theirs, rtol=1e-9, atol=1e-9)


ragged = torch.tensor([[True, True, True, True], [True, True, False, False], [False, False, False, False]])
outcomes = torch.tensor(OUTCOMES)
DIFFERENTIABLE = {
    "reward_to_go": lambda v: reward_to_go(v, ragged),
    "reward_to_go, discounted": lambda v: reward_to_go(v, ragged, discount=0.7),
    **{
        f"step_advantages {baseline}{', standardised' * standardise}": (
            lambda v, baseline=baseline, standardise=standardise: step_advantages(
                v, ragged, outcomes, "delta", weight=0.5, baseline=baseline, standardise=standardise
            )[1:]
        )
        for baseline in ("same_step", "group")
        for standardise in (False, True)
    },
    "join_outcome": lambda v: join_outcome(v, ragged, outcomes),
    "information_gain": lambda v: information_gain(v, ragged[:, 1:]),
    "information_gain, logs": lambda v: information_gain(v, ragged[:, 1:], kind="log_probability"),
    **{
        f"turn_advantages {kind}": lambda v, kind=kind: turn_advantages(v, outcomes, ragged, normalisation=kind)[:3]
        for kind in ("joint", "separate", "position")
    },
    "sentence_policy_reward": lambda v: sentence_policy_reward(v, ragged, outcomes),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_those_of_finite_differences(name):
    values = torch.rand((3, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    assert torch.autograd.gradcheck(DIFFERENTIABLE[name], (values.requires_grad_(),))
