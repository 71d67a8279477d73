"""The loss: its value by plain loops, its gradient by finite differences, its parts that add up, and its limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.objectives.loss import BatchCounts, merged_metrics, policy_loss
from llm_scale.objectives.objective import OBJECTIVES, objective
from tests.llm_scale.objectives import oracles
from tests.llm_scale.objectives.batches import batch

VARIANTS = {
    **{name: each for name, each in OBJECTIVES.items() if not name.startswith("gspo")},
    "gspo": objective("gspo", clip_low=0.05, clip_high=0.1),
    "gspo_token": objective("gspo_token", clip_low=0.05, clip_high=0.1),
    "dual clip": objective("dapo", dual_clip=1.25),
    "cap": objective("dapo", ratio_cap=1.3),
    "cispo": objective("cispo", ratio_cap=1.1),
    "cispo of sequences": objective("cispo", ratio_cap=1.05, importance="sequence"),
    "pre-clip": objective("dapo", log_ratio_clip=0.2),
    "k1, ratio": objective("grpo", kl_weight=0.3, kl_estimator="k1", kl_ratio="token"),
    "k2": objective("dr_grpo", kl_weight=0.3, kl_estimator="k2"),
    "k3, sequences": objective("gspo", kl_weight=0.3, kl_ratio="importance"),
    "k3, tokens of sequences": objective("gspo", kl_weight=0.3, kl_ratio="token"),
    "sums": objective("grpo", aggregation="sequence_sum"),
}


def loss_of(data, ours, log_probs=None, **changes):
    given_all = {"reference_log_probs": data.reference, "max_length": 9} | changes
    log_probs = data.log_probs if log_probs is None else log_probs
    return policy_loss(log_probs, data.old, data.advantages, data.mask, ours, **given_all)


def gradient_of(data, ours, **changes):
    log_probs = data.log_probs.clone().requires_grad_()
    loss_of(data, ours, log_probs, **changes).loss.backward()
    return log_probs.grad


@pytest.mark.parametrize("case", VARIANTS)
@pytest.mark.parametrize("absent", [False, True])
def test_value_by_plain_loops(case, absent):
    data, ours = batch(1), VARIANTS[case]
    present = torch.tensor([True, False, True, True, True, True, False, True]) if absent else None
    expected = oracles.policy_loss(
        *(part.tolist() for part in (data.log_probs, data.old, data.advantages, data.mask)),
        ours,
        reference=data.reference.tolist(),
        present=present,
        max_length=9,
    )
    assert float(loss_of(data, ours, present=present).loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "case", [case for case in VARIANTS if case not in ("gspo_token", "cispo", "cispo of sequences")]
)
def test_gradient_by_finite_differences(case):
    data, ours = batch(2), VARIANTS[case]
    gradient = gradient_of(data, ours)
    assert (gradient[~data.mask] == 0).all() and gradient.abs().max() > 1e-4
    for place in ([0, 0], [1, 0], [3, 0], [4, 1], [7, 0]):
        step = torch.zeros_like(data.log_probs)
        step[tuple(place)] = 1e-6 if data.mask[tuple(place)] else 0.0
        up, down = (float(loss_of(data, ours, data.log_probs + sign * step).loss) for sign in (1, -1))
        assert float(gradient[tuple(place)]) == pytest.approx((up - down) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("case", ["cispo", "cispo of sequences"])
def test_cispo_weighs_every_token_by_its_capped_ratio(case):
    data, ours = batch(3), VARIANTS[case]
    log_ratio = torch.where(data.mask, data.log_probs - data.old, 0.0)
    if ours.importance == "sequence":
        log_ratio = (log_ratio.sum(1) / data.lengths)[:, None].expand_as(log_ratio)
    weight = log_ratio.exp().clamp(max=ours.ratio_cap)
    expected = torch.where(data.mask, -weight * data.advantages, 0.0) / data.mask.sum()
    torch.testing.assert_close(gradient_of(data, ours), expected)
    assert (expected[data.mask] != 0).all() and bool((log_ratio.exp() > ours.ratio_cap).any())


def test_gspo_token_has_gspo_s_value_and_each_token_s_own_gradient():
    data = batch(4)
    whole, by_token = (objective(name, clip_low=0.2, clip_high=0.3) for name in ("gspo", "gspo_token"))
    torch.testing.assert_close(loss_of(data, whole).loss, loss_of(data, by_token).loss)
    assert not torch.allclose(gradient_of(data, whole), gradient_of(data, by_token))
    data.advantages = torch.where(data.mask, data.advantages[:, :1], 0.0)  # one advantage a sample: the same
    torch.testing.assert_close(gradient_of(data, whole), gradient_of(data, by_token))


def test_rloo_s_clipped_ratio_and_the_paper_s_reinforce_are_one_on_policy():
    data = batch(4)
    data.old, data.advantages = data.log_probs, torch.where(data.mask, data.advantages[:, :1], 0.0)
    clipped, paper = (
        gradient_of(data, objective("rloo", **changes))
        for changes in ({}, {"surrogate": "reinforce", "aggregation": "sequence_sum"})
    )
    torch.testing.assert_close(clipped, paper)


def test_ratio_of_a_sequence():
    log_ratios = torch.tensor([[0.3, -0.1, 0.05, 0.02]], dtype=torch.float64)
    zeros, mask = torch.zeros_like(log_ratios), torch.ones(1, 4, dtype=torch.bool)
    assert log_ratios.exp()[0].tolist() == pytest.approx([1.350, 0.905, 1.051, 1.020], abs=5e-4)
    for name, ratio in (("gspo", 1.0698), ("rloo", 1.310), ("dapo", 1.350)):
        ours = objective(name, clip_high=9.0, kl_weight=0.0)
        loss = policy_loss(log_ratios, zeros, torch.ones_like(zeros), mask, ours)
        assert loss.metrics["ratio_max"] == pytest.approx(ratio, abs=5e-4)
        if name != "dapo":
            assert float(loss.loss) == pytest.approx(-ratio, abs=5e-4)


def test_weights_of_tokens_of_a_short_and_a_long_sample():
    mask = torch.arange(8) < torch.tensor([[2], [8]])
    advantages = torch.where(mask, torch.tensor([[1.0], [-1.0]], dtype=torch.float64), 0.0)
    for name, short, long in (("grpo", 0.25, -0.0625), ("dapo", 0.1, -0.1), ("dr_grpo", 0.05, -0.05)):
        log_probs = torch.zeros(2, 8, dtype=torch.float64, requires_grad=True)
        loss = policy_loss(log_probs, log_probs, advantages, mask, objective(name, kl_weight=0.0), max_length=10)
        assert loss.loss.item() == pytest.approx(-float((short * mask[0]).sum() + (long * mask[1]).sum()))
        loss.loss.backward()  # on-policy: the ratio is 1, and where samples balance the loss is 0 while it teaches
        assert log_probs.grad[:, 0].tolist() == pytest.approx([-short, -long])
        assert (log_probs.grad[~mask] == 0).all()


def test_loss_of_a_balanced_group_on_policy_is_zero_and_teaches():
    mask = torch.ones(2, 3, dtype=torch.bool)
    log_probs = torch.full((2, 3), -1.0, requires_grad=True)
    advantages = torch.tensor([[1.0], [-1.0]]).expand(2, 3)
    loss = policy_loss(log_probs, log_probs, advantages, mask, objective("grpo", kl_weight=0.0))
    loss.loss.backward()
    assert loss.loss.item() == 0 and log_probs.grad[:, 0].tolist() == pytest.approx([-1 / 6, 1 / 6])


@given(st.integers(0, 200), st.sampled_from(sorted(OBJECTIVES)), st.integers(1, 8))
def test_parts_add_up_to_the_whole(seed, name, cut):
    data, ours = batch(seed), OBJECTIVES[name]
    present = torch.arange(8) != seed % 9
    whole = loss_of(data, ours, present=present)
    counts = BatchCounts.of(data.mask, present)
    parts = []
    for rows in (slice(0, cut), slice(cut, 8)):
        if rows.start == 8:
            continue
        own = [part[rows] for part in (data.log_probs, data.old, data.advantages, data.mask)]
        parts.append(
            policy_loss(
                *own,
                ours,
                reference_log_probs=data.reference[rows],
                present=present[rows],
                whole=counts,
                max_length=9,
            )
        )
    torch.testing.assert_close(sum(part.loss for part in parts), whole.loss)
    assert merged_metrics(parts) == pytest.approx(whole.metrics)
    own = [BatchCounts.of(data.mask[rows], present[rows]) for rows in (slice(0, cut), slice(cut, 8))]
    assert own[0] + own[1] == counts


def test_metrics_count_the_tokens_whose_gradient_the_clip_removed():
    data, ours = batch(5, samples=64, spread=0.4), objective("dapo")
    loss, gradient = loss_of(data, ours), gradient_of(data, ours)
    idle = float(((gradient == 0) & data.mask).sum() / data.mask.sum())
    assert loss.metrics["clip_low"] + loss.metrics["clip_high"] == pytest.approx(idle)
    ratio = (data.log_probs - data.old).exp()
    high = (ratio > 1.28) & (data.advantages > 0) & data.mask
    assert loss.metrics["clip_high"] == pytest.approx(float(high.sum() / data.mask.sum())) and high.any()
    assert loss.metrics["ratio_max"] == pytest.approx(float(ratio[data.mask].max()))
    assert loss.metrics["log_ratio_clipped"] == 0 and "kl" not in loss.metrics
    narrow = loss_of(data, objective("dapo", log_ratio_clip=0.3))
    outside = ((data.log_probs - data.old).abs() > 0.3) & data.mask
    assert narrow.metrics["log_ratio_clipped"] == pytest.approx(float(outside.sum() / data.mask.sum()))


@pytest.mark.parametrize(("log_ratio", "ratio"), [(-20.0, 1e-3), (20.0, 1e3), (200.0, 1e3), (0.5, math.exp(0.5))])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_pre_clip_bounds_the_ratio_and_stops_the_gradient(log_ratio, ratio, advantage):
    ours = objective("stable_reinforce", clip_low=2.0, clip_high=1e9)
    log_probs = torch.tensor([[log_ratio]], requires_grad=True)
    one = torch.ones(1, 1)
    loss = policy_loss(log_probs, torch.zeros(1, 1), advantage * one, one.bool(), ours)
    loss.loss.backward()
    assert loss.loss.item() == pytest.approx(-advantage * ratio, rel=1e-4)
    assert (float(log_probs.grad) == 0) == (abs(log_ratio) > math.log(1e3))


def test_float32_overflows_without_a_bound_and_says_so():
    log_probs, one = torch.tensor([[-1.0], [-100.0], [-1.0]]), torch.ones(3, 1)
    old = torch.tensor([[-1.0], [-1.0], [-90.5]])
    unbounded = objective("grpo", kl_weight=0.0, log_ratio_clip=None)
    with pytest.raises(ValueError, match=r"ratio\[2, 0\] is inf, expected a finite number"):
        policy_loss(log_probs, old, one, one.bool(), unbounded)
    bounded = policy_loss(log_probs, old, one, one.bool(), objective("grpo", kl_weight=0.0))
    assert math.isfinite(float(bounded.loss)) and bounded.metrics["ratio_max"] == pytest.approx(math.exp(20))


def test_dual_clip_bounds_what_a_bad_token_can_cost():
    mask = torch.ones(1, 2, dtype=torch.bool)
    log_probs = torch.tensor([[3.0, 0.5]], requires_grad=True)
    ours = objective("dapo", dual_clip=3.0)
    loss = policy_loss(log_probs, torch.zeros(1, 2), -torch.ones(1, 2), mask, ours)
    loss.loss.backward()
    assert loss.loss.item() == pytest.approx((3.0 + math.exp(0.5)) / 2)
    assert log_probs.grad[0, 0] == 0 and log_probs.grad[0, 1] > 0


def test_what_is_not_counted_may_hold_anything():
    data, ours = batch(6), objective("grpo", kl_ratio="token")
    present = torch.arange(8) != 2
    expected = loss_of(data, ours, present=present)
    for part in (data.old, data.log_probs, data.reference, data.advantages):
        part[~data.mask] = math.nan
        part[2] = math.inf
    assert loss_of(data, ours, present=present) == expected
    assert gradient_of(data, ours, present=present).isfinite().all()


def test_nothing_to_learn_from_is_a_loss_of_zero():
    data = batch(7)
    for name in ("grpo", "dapo", "dr_grpo"):
        log_probs = data.log_probs.clone().requires_grad_()
        loss = loss_of(data, objective(name), log_probs, present=torch.zeros(8, dtype=torch.bool))
        loss.loss.backward()
        assert loss.loss.item() == 0 and not log_probs.grad.any()


def test_advantages_of_another_dtype_and_old_probabilities_with_gradient():
    data = batch(8, dtype=torch.float32)
    data.advantages, data.old = data.advantages.double(), data.old.requires_grad_()
    loss = loss_of(data, objective("grpo"), data.log_probs.requires_grad_())
    loss.loss.backward()
    assert loss.loss.dtype == torch.float32 and data.old.grad is None


def test_bad_input():
    data = batch(9)
    for changes, name, message in (
        ({"reference_log_probs": None}, "grpo", "reference_log_probs is None, but grpo has kl_weight 0.04"),
        ({"reference_log_probs": data.reference[:, :3]}, "grpo", r"reference_log_probs has shape \(8, 3\), log_probs"),
        ({"max_length": None}, "dr_grpo", "max_length is None, but aggregation 'constant'"),
        ({"max_length": 0}, "dr_grpo", "max_length is 0"),
        (
            {"present": torch.ones(7, dtype=torch.bool)},
            "grpo",
            r"present has shape \(7,\), expected one a sample: \(8,\)",
        ),
        ({"log_probs": data.log_probs[0]}, "grpo", r"log_probs has shape \(6,\), expected \(samples, tokens\)"),
        ({"log_probs": data.log_probs[:4]}, "grpo", r"old_log_probs has shape \(8, 6\), log_probs \(4, 6\)"),
    ):
        with pytest.raises(ValueError, match=message):
            loss_of(data, objective(name), **changes)


@pytest.mark.parametrize("name", ["log_probs", "old", "advantages"])
def test_what_is_not_finite_is_named_with_its_place(name):
    data = batch(10)
    getattr(data, name)[5, 0] = math.nan
    spelled = "old_log_probs" if name == "old" else name
    with pytest.raises(ValueError, match=rf"{spelled}\[5, 0\] is nan, expected a finite number"):
        loss_of(data, objective("grpo"))
