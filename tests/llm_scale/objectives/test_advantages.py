"""Advantages of whole samples and of tokens, against plain loops and the worked numbers of the family."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.objectives.advantages import sample_advantages, token_level_advantages
from llm_scale.objectives.objective import OBJECTIVES, objective
from tests.llm_scale.objectives import oracles
from tests.llm_scale.objectives.batches import batch

KINDS = [
    "standardised",
    "mean_centred",
    "leave_one_out",
    "batch_standardised",
    "length_weighted",
    "nonzero_scaled",
    "best_of_group",
    "raw",
]
ONE_GROUP = torch.zeros(4, dtype=torch.int64)
HALF_RIGHT = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)


def of_kind(kind, **changes):
    return objective("grpo", advantage=kind, kl_weight=0.0, **changes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absent", [[], [1, 6]])
def test_sample_advantages_are_the_formulas(kind, absent):
    data = batch(1)
    rewards, present = data.rewards.clone(), [sample not in absent for sample in range(8)]
    rewards[absent] = math.nan
    expected = oracles.sample_advantages(
        kind, data.rewards.tolist(), data.group_ids.tolist(), data.lengths.tolist(), present
    )
    mine = sample_advantages(rewards, data.group_ids, of_kind(kind), lengths=data.lengths)
    assert mine.tolist() == pytest.approx(expected, abs=1e-12)
    placed = token_level_advantages(rewards, data.mask, data.group_ids, of_kind(kind))
    torch.testing.assert_close(placed, torch.where(data.mask, mine[:, None], 0.0), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"advantage": "standardised"}, 0.86588),
        ({"advantage": "standardised", "epsilon": 1e-6}, 0.86602),
        ({"advantage": "standardised", "epsilon": 0.0, "correction": 0}, 1.0),
        ({"advantage": "mean_centred"}, 0.5),
        ({"advantage": "leave_one_out"}, 0.66667),
    ],
)
def test_two_right_of_four(changes, expected):
    mine = sample_advantages(HALF_RIGHT, ONE_GROUP, objective("dapo", **changes))
    assert mine.tolist() == pytest.approx([expected, -expected, -expected, expected], abs=1e-5)


def test_one_right_of_eight():
    rewards, ids = torch.eye(8, dtype=torch.float64)[0], [0] * 8
    assert sample_advantages(rewards, ids, objective("grpo")).tolist()[:2] == pytest.approx([2.4742, -0.3535], abs=1e-4)
    exact = objective("grpo", epsilon=0.0)
    assert sample_advantages(rewards, ids, exact).tolist()[:2] == pytest.approx([2.4749, -0.3536], abs=1e-4)
    assert float(sample_advantages(rewards, ids, exact)[0]) == pytest.approx(7 / math.sqrt(8))  # the largest there is
    rloo = sample_advantages(rewards, ids, objective("rloo"))
    assert rloo.tolist() == pytest.approx([1.0, *[-1 / 7] * 7])


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9),
    st.floats(0.1, 50.0),
    st.floats(-100, 100),
    st.sampled_from(["grpo", "dr_grpo", "rloo"]),
)
def test_sums_shifts_and_scales(rewards, scale, shift, name):
    ids, values, ours = [0] * len(rewards), torch.tensor(rewards, dtype=torch.float64), objective(name, epsilon=0.0)
    before = sample_advantages(values, ids, ours)
    assert float(before.sum()) == pytest.approx(0, abs=1e-6)
    if float(values.std()) > 1e-2:  # above what counts as rounding, before and after
        after = sample_advantages(scale * values + shift, ids, ours)
        torch.testing.assert_close(after, before if name == "grpo" else scale * before, atol=1e-6 * scale, rtol=1e-6)
    if name == "grpo":
        assert float(before.abs().max()) <= (len(rewards) - 1) / math.sqrt(len(rewards)) + 1e-9


@given(st.permutations(range(8)), st.sampled_from(sorted(OBJECTIVES)), st.integers(0, 50))
def test_order_of_samples_does_not_matter(order, name, seed):
    data, order = batch(seed), torch.tensor(order)
    given_all = {"log_probs": data.log_probs, "reference_log_probs": data.reference, "step_rewards": data.advantages}
    shuffled = {key: value[order] for key, value in given_all.items()}
    mine = token_level_advantages(data.rewards, data.mask, data.group_ids, OBJECTIVES[name], **given_all)
    again = token_level_advantages(
        data.rewards[order], data.mask[order], data.group_ids[order], OBJECTIVES[name], **shuffled
    )
    torch.testing.assert_close(again, mine[order], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_an_absent_sample_might_as_well_not_be_there(name):
    data, rows = batch(2, samples=12), [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]
    rewards = data.rewards.clone()
    rewards[[3, 8]] = math.nan
    step_rewards = data.advantages.clone()
    step_rewards[3] = math.nan  # what is absent may hold anything
    given_all = {"log_probs": data.log_probs, "reference_log_probs": data.reference, "step_rewards": step_rewards}
    mine = token_level_advantages(rewards, data.mask, data.group_ids, OBJECTIVES[name], **given_all)
    without = {key: value[rows] for key, value in given_all.items()}
    alone = token_level_advantages(
        data.rewards[rows], data.mask[rows], data.group_ids[rows], OBJECTIVES[name], **without
    )
    assert (mine[[3, 8]] == 0).all()
    torch.testing.assert_close(mine[rows], alone, atol=1e-10, rtol=0)
    said = torch.ones(12, dtype=torch.bool)
    said[[3, 8]] = False
    again = token_level_advantages(data.rewards, data.mask, data.group_ids, OBJECTIVES[name], present=said, **given_all)
    torch.testing.assert_close(again, mine)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "raw"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_group_has_advantages_of_exactly_zero(kind, dtype):
    rewards = torch.full((7,), 0.35, dtype=dtype)
    mine = sample_advantages(rewards, [0] * 7, of_kind(kind), lengths=torch.arange(1, 8))
    assert mine.tolist() == [0.0] * 7
    alone = sample_advantages(rewards[:1], [0], of_kind(kind), lengths=torch.tensor([3]))
    assert alone.tolist() == [0.0]
    if kind not in ("nonzero_scaled", "best_of_group"):
        mask = torch.arange(7) < torch.arange(1, 8)[:, None]
        assert not token_level_advantages(rewards, mask, [0] * 7, of_kind(kind, credit="token")).any()


def test_only_the_best_of_a_group_counts_for_pass_at_k():
    rewards = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    mine = sample_advantages(rewards, [0] * 4 + [1] * 4, objective("pass_at_k"))
    lead = 0.5 / (float(rewards[:4].std()) + 1e-4)
    assert mine.tolist() == pytest.approx([0.0, lead, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def test_whitening_over_tokens_counts_long_samples_more():
    data = batch(3)
    for name in ("reinforce_plus_plus", "reinforce_plus_plus_baseline"):
        ours = objective(name, kl_weight=0.0)
        kind = ours.advantage
        whole = oracles.sample_advantages(kind, data.rewards.tolist(), data.group_ids.tolist(), None, [True] * 8)
        expected = oracles.whitened_tokens(np.array(whole)[:, None] * np.ones(6), data.mask.numpy())
        mine = token_level_advantages(data.rewards, data.mask, data.group_ids, ours)
        np.testing.assert_allclose(mine, expected, atol=1e-12)
        by_sample = sample_advantages(data.rewards, data.group_ids, ours, lengths=data.lengths)
        np.testing.assert_allclose(by_sample, expected[:, 0], atol=1e-12)


def test_whitening_over_samples():
    data = batch(4)
    mine = sample_advantages(data.rewards, data.group_ids, objective("rloo", whitening="samples"))
    raw = sample_advantages(data.rewards, data.group_ids, objective("rloo"))
    torch.testing.assert_close(mine, (raw - raw.mean()) / (raw.std() + 1e-4))


@pytest.mark.parametrize("name", ["rloo", "reinforce_plus_plus_baseline"])
def test_a_sample_alone_in_its_group_has_no_part_in_whitening(name):
    data, ours = batch(4), objective(name, kl_weight=0.0, whitening="samples" if name == "rloo" else "tokens")
    ids = [0] * 4 + [1] * 3 + [2]
    mine = token_level_advantages(data.rewards, data.mask, ids, ours)
    without = token_level_advantages(data.rewards[:7], data.mask[:7], ids[:7], ours)
    assert not mine[7].any()
    torch.testing.assert_close(mine[:7], without)


@pytest.mark.parametrize("wrong", [16, 256])
def test_dropping_outliers_drops_rare_successes_and_clamping_does_not(wrong):
    rewards = torch.eye(wrong, dtype=torch.float64)[0]
    ids, mask = list(range(wrong)), torch.ones(wrong, 3, dtype=torch.bool)  # one sample a prompt
    kept, clamped, dropped, robust = (
        token_level_advantages(rewards, mask, ids, objective("stable_reinforce", kl_weight=0.0, advantage_filter=how))
        for how in (None, "clamp", "drop", "robust")
    )
    score = math.sqrt(wrong - 1)
    unbiased = math.sqrt((3 * wrong - 1) / (3 * wrong))
    assert float(kept[0, 0]) == pytest.approx(score * unbiased, rel=1e-5)
    assert clamped[0].tolist() == [3.0] * 3 and dropped[0].tolist() == [0.0] * 3
    for filtered in (clamped, dropped):
        assert filtered[1].tolist() == pytest.approx([-1 / score] * 3)
    assert float(robust.sum()) == pytest.approx(0, abs=1e-9) and float(robust[0, 0]) > 2


def test_a_score_of_three_is_kept():
    rewards = torch.eye(10, dtype=torch.float64)[0]  # one right of ten scores exactly 3
    ours = objective("stable_reinforce", kl_weight=0.0)
    mine = token_level_advantages(rewards, torch.ones(10, 2, dtype=torch.bool), list(range(10)), ours)
    assert mine[0].tolist() == pytest.approx([3.0, 3.0])


@given(st.floats(0.1, 30), st.floats(-20, 20), st.integers(0, 20))
def test_stable_reinforce_does_not_care_for_shift_and_scale(scale, shift, seed):
    data, ours = batch(seed, samples=12), objective("stable_reinforce", kl_weight=0.0)
    before, after = (
        token_level_advantages(rewards, data.mask, data.group_ids, ours)
        for rewards in (data.rewards, scale * data.rewards + shift)
    )
    torch.testing.assert_close(after, before, atol=1e-8, rtol=1e-8)


def test_kl_comes_off_the_reward():
    data = batch(5)
    logs = {"log_probs": data.log_probs, "reference_log_probs": data.reference}
    k1 = torch.where(data.mask, data.log_probs - data.reference, 0.0)
    mine = token_level_advantages(data.rewards, data.mask, data.group_ids, objective("rloo", kl_weight=0.2), **logs)
    less = data.rewards - 0.2 * k1.sum(1)
    expected = sample_advantages(less, data.group_ids, objective("rloo"))
    torch.testing.assert_close(mine, torch.where(data.mask, expected[:, None], 0.0))
    ours = objective("reinforce_plus_plus", kl_weight=0.2)
    by_token = token_level_advantages(data.rewards, data.mask, data.group_ids, ours, **logs)
    returns = np.zeros((8, 6))
    for i in range(8):
        for t in range(int(data.lengths[i])):
            returns[i, t] = float(data.rewards[i]) - 0.2 * float(k1[i, t:].sum())
    np.testing.assert_allclose(by_token, oracles.whitened_tokens(returns, data.mask.numpy()), atol=1e-12)


def test_ids_of_any_kind():
    data, names = batch(6), ["a"] * 4 + ["b"] * 4
    expected = sample_advantages(data.rewards, data.group_ids, objective("grpo"))
    for ids in (names, data.group_ids.numpy(), np.array(names), data.group_ids.tolist()):
        assert torch.equal(sample_advantages(data.rewards, ids, objective("grpo")), expected)


def test_dtype_and_gradient_stay_out():
    data = batch(6)
    logs = {"log_probs": data.log_probs.requires_grad_(), "reference_log_probs": data.reference}
    for dtype, expected in (
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float64),
    ):
        rewards = (10 * data.rewards).to(dtype)
        mine = token_level_advantages(rewards, data.mask, data.group_ids, objective("rloo"), **logs)
        assert mine.dtype == expected and not mine.requires_grad
        assert sample_advantages(rewards, data.group_ids, objective("grpo")).dtype == expected


def test_bad_input():
    data = batch(7)
    rewards, mask, ids = data.rewards, data.mask, data.group_ids
    infinite = rewards.clone()
    infinite[3] = math.inf
    bad_step = data.advantages.clone()
    bad_step[2, 0] = math.nan
    cases = [
        ((infinite, mask, ids, "grpo"), {}, r"rewards\[3\] is inf"),
        ((rewards, mask[:5], ids, "grpo"), {}, r"mask has shape \(5, 6\), expected \(8, tokens\)"),
        ((rewards, mask, ids[:5], "grpo"), {}, "group_ids has 5 values for 8 samples"),
        ((rewards, mask, ids, "rloo"), {}, "log_probs is None, but rloo takes a KL penalty off the rewards"),
        ((rewards, mask, ids, "rloo"), {"log_probs": data.old}, "reference_log_probs is None, but rloo"),
        ((rewards, mask, ids, "grpo"), {"step_rewards": bad_step}, r"step_rewards\[2, 0\] is nan"),
        (
            (rewards, mask, ids, "grpo"),
            {"step_rewards": bad_step[:, :2]},
            r"step_rewards has shape \(8, 2\), mask \(8, 6",
        ),
        ((rewards, mask, ids, "grpo"), {"present": torch.ones(3, dtype=torch.bool)}, "present has shape"),
    ]
    for (rewards, mask, ids, name), given_more, message in cases:
        with pytest.raises(ValueError, match=message):
            token_level_advantages(rewards, mask, ids, objective(name), **given_more)
    for name in ("opo", "reinforce_plus_plus_baseline"):
        with pytest.raises(ValueError, match=f"lengths is None, but {name} weighs samples by their tokens"):
            sample_advantages(data.rewards, data.group_ids, objective(name))
    with pytest.raises(ValueError, match=r"lengths has shape \(3,\), rewards \(8,\)"):
        sample_advantages(data.rewards, data.group_ids, objective("opo"), lengths=data.lengths[:3])
    for rewards in (data.rewards.numpy(), data.rewards.tolist()):
        with pytest.raises(TypeError, match=r"rewards: expected a tensor, got (ndarray|list)"):
            sample_advantages(rewards, data.group_ids, objective("grpo"))
        with pytest.raises(TypeError, match=r"rewards: expected a tensor, got (ndarray|list)"):
            token_level_advantages(rewards, data.mask, data.group_ids, objective("grpo"))
