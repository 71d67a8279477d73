"""What the family's choices do to learning: difficulty, length, rare successes; from rewards to gradient."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.loss import policy_loss
from llm_scale.objectives.objective import objective

CHANCE = 0.8  # that a completion goes on, a token
LIMIT = 30


def ascent(parameter, rewards, log_probs, mask, group_ids, ours, max_length=1):
    """The direction in which one on-policy step moves the parameter."""
    advantages = token_level_advantages(rewards, mask, group_ids, ours)
    loss = policy_loss(log_probs, log_probs, advantages, mask, ours, max_length=max_length).loss
    return -torch.autograd.grad(loss, parameter)[0]


def plain(name, **changes):
    return objective(name, kl_weight=0.0, **changes)


def expected_ascent(share, group, ours):
    """Mean step on the logit of a success of probability `share`, over all that a group can come out as."""
    total = 0.0
    for right in range(group + 1):
        logit = torch.tensor(share, dtype=torch.float64).logit().requires_grad_()
        rewards = (torch.arange(group) < right).double()
        log_probs = torch.where(rewards > 0, logsigmoid(logit), logsigmoid(-logit))[:, None]
        step = ascent(logit, rewards, log_probs, torch.ones(group, 1, dtype=torch.bool), [0] * group, ours)
        total += math.comb(group, right) * share**right * (1 - share) ** (group - right) * float(step)
    return total


@pytest.mark.parametrize(
    ("group", "share", "scale"),
    [
        *((8, share, scale) for share, scale in ((0.02, 2.407), (0.1, 2.1774), (0.25, 1.8953), (0.5, 1.7358))),
        *((64, share, scale) for share, scale in ((0.02, 5.818), (0.1, 3.229), (0.25, 2.267), (0.5, 1.969))),
    ],
)
def test_gradient_against_that_of_the_success_rate(group, share, scale):
    true = share * (1 - share)
    assert expected_ascent(share, group, plain("grpo", epsilon=0.0)) / true == pytest.approx(scale, rel=3e-4)
    assert expected_ascent(share, group, plain("dr_grpo")) / true == pytest.approx((group - 1) / group)
    assert expected_ascent(share, group, plain("rloo")) / true == pytest.approx(1.0)


def test_hard_prompts_win_under_grpo_and_lose_under_the_unbiased():
    """Hard (.05) and medium (.5) prompts pull in opposite directions, the medium ones 1.15 times as hard."""
    generator, groups, size = torch.Generator().manual_seed(0), 20_000, 8
    hard = torch.arange(groups) % 2 == 0
    share = torch.where(hard, 0.05, 0.5).double()
    pull = torch.where(hard, 1 / (0.05 * 0.95), -1.15 / 0.25)
    right = (torch.rand(groups, size, generator=generator) < share[:, None]).double()
    ids, mask = torch.arange(groups).repeat_interleave(size), torch.ones(groups * size, 1, dtype=torch.bool)
    drift = {}
    for name in ("grpo", "dr_grpo", "rloo"):
        shared = torch.zeros((), dtype=torch.float64, requires_grad=True)
        logits = (share.logit() + pull * shared)[:, None]
        log_probs = torch.where(right > 0, logsigmoid(logits), logsigmoid(-logits)).reshape(-1, 1)
        drift[name] = 2 * float(ascent(shared, right.reshape(-1), log_probs, mask, ids, plain(name)))
    error = (
        4 * math.sqrt(2 * (1 / (8 * 0.05 * 0.95) + 1.15**2 / (8 * 0.25)) / groups) * 2.4
    )  # 4 standard errors or more
    assert drift["grpo"] == pytest.approx(2.3133 - 1.15 * 1.7358, abs=error) and drift["grpo"] > 0
    assert drift["rloo"] == pytest.approx(1 - 1.15, abs=error) and drift["rloo"] < 0
    assert drift["dr_grpo"] == pytest.approx(7 / 8 * drift["rloo"])


def drift_of_length(right_by_length, ours, batches, groups, size=8):
    """Mean step and its standard error on the logit with which a completion goes on, in batches of `groups`."""
    generator = torch.Generator().manual_seed(1)
    samples, steps = groups * size, []
    ids, place = torch.arange(groups).repeat_interleave(size), torch.arange(LIMIT)
    for _ in range(batches):
        lengths = torch.empty(samples).geometric_(1 - CHANCE, generator=generator).clamp(max=LIMIT)
        rewards = (torch.rand(samples, generator=generator) < right_by_length(lengths)).double()
        logit = torch.tensor(CHANCE, dtype=torch.float64).logit().requires_grad_()
        stops = (place == lengths[:, None] - 1) & (place < LIMIT - 1)  # at the limit it is stopped, by nobody's choice
        forced = place.expand(samples, LIMIT) == LIMIT - 1
        log_probs = torch.where(stops, logsigmoid(-logit), logsigmoid(logit)).masked_fill(forced, 0.0)
        mask = place < lengths[:, None]
        steps.append(ascent(logit, rewards, log_probs, mask, ids, ours, max_length=LIMIT))
    steps = torch.stack(steps)
    return float(steps.mean()), float(steps.std()) / math.sqrt(batches)


def by_length(lengths):
    return torch.where(lengths == 1, 0.6, torch.where(lengths <= 8, 0.3, 0.75))


@pytest.mark.parametrize(
    ("aggregation", "batches", "groups", "expected"),
    [
        ("sequence_mean", 12, 400, -0.01032),  # 7/8 of Cov(reward, score / length), exact
        ("constant", 12, 400, 0.002123),  # 7/8 of Cov(reward, score) / limit, exact
        ("token_mean", 12, 400, 0.012755),  # 7/8 of Cov(reward, score) / mean length, exact in a large batch
        ("token_mean", 400, 8, 0.012386),  # the number of tokens belongs to the batch: less where it is small
        pytest.param("token_mean", 2000, 1, 0.009949, marks=pytest.mark.slow),
    ],
)
def test_the_same_rewards_shorten_or_lengthen_by_the_weights_of_tokens(aggregation, batches, groups, expected):
    ours = plain("dr_grpo", aggregation=aggregation)
    drift, error = drift_of_length(by_length, ours, batches, groups)
    assert drift == pytest.approx(expected, abs=4 * error) and abs(drift) > 4 * error


@pytest.mark.parametrize("aggregation", ["sequence_mean", "constant", "token_mean"])
def test_a_reward_that_is_independent_of_length_moves_no_length(aggregation):
    ours = plain("dr_grpo", aggregation=aggregation)
    drift, error = drift_of_length(lambda lengths: torch.full_like(lengths, 0.4), ours, 12, 400)
    assert abs(drift) < 4 * error < 0.01


@pytest.mark.parametrize(("right", "samples"), [(5, 100), (2, 40), (16, 256)])
def test_dropping_outliers_keeps_the_share_of_successes_of_the_gradient(right, samples):
    share, steps = right / samples, {}
    for how in (None, "drop", "clamp"):
        logit = torch.tensor(share, dtype=torch.float64).logit().requires_grad_()
        rewards = (torch.arange(samples) < right).double()
        log_probs = torch.where(rewards > 0, logsigmoid(logit), logsigmoid(-logit))[:, None]
        mask = torch.ones(samples, 1, dtype=torch.bool)
        ours = plain("stable_reinforce", advantage_filter=how)
        steps[how] = float(ascent(logit, rewards, log_probs, mask, list(range(samples)), ours))
    bessel = math.sqrt(samples / (samples - 1))  # whitening is with the unbiased variance, the filter without
    assert steps["drop"] / (steps[None] * bessel) == pytest.approx(share, rel=1e-5)
    assert steps["clamp"] > steps["drop"] / share / 2
