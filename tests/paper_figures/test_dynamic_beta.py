"""The dynamic-beta figure follows the gradient of the loss it speaks of, and its verdicts can turn out otherwise."""

import numpy as np
import pytest
import torch

from paper_figures import dynamic_beta as figure
from paper_figures.figure import Scale
from rewardlab.transforms.dynamic_scaling import dpo_loss, dynamic_beta

STEPS = 3


@pytest.fixture(scope="module")
def frame():
    return figure.compute(Scale("smoke"), 0)


def test_pairs_are_gaps_and_labels_follow_the_gold_more_often_than_not():
    gold, sign, margin = figure._preferences(300, np.random.default_rng(0))
    np.testing.assert_allclose((gold @ figure.GAP)[:, 0], gold[:, 0] - gold[:, 1])
    assert figure.GAP.shape == (8, 28)
    gap = gold @ figure.GAP
    kept = np.sign(gap) == sign
    assert kept.mean() == pytest.approx((1 / (1 + np.exp(-2 * np.abs(gap)))).mean(), abs=0.01)
    # against gold itself the margin would be 2 |gap| where the label is kept, and its opposite where it is flipped
    assert np.corrcoef(margin[0].ravel(), (2 * sign * gap).ravel())[0, 1] > 0.9
    assert np.corrcoef(margin[2].ravel(), (2 * sign * gap).ravel())[0, 1] < 0.5


@pytest.mark.parametrize("arm", figure.ARMS)
def test_descends_the_loss_of_the_library(arm):
    gold, sign, margin = figure._preferences(5, np.random.default_rng(1))
    found = figure._trained(gold, sign, margin, STEPS)
    for place, noise in enumerate(figure.NOISES):
        delta = margin[place]
        beta = {
            "mean": np.full_like(delta, dynamic_beta(delta).mean()),
            "dynamic": dynamic_beta(delta),
            "unclamped": np.maximum(dynamic_beta(delta, clamp=False), 1e-3),
        }.get(arm, np.full_like(delta, 0.1))
        weight = dynamic_beta(delta, base=1.0) if arm == "weight" else np.ones_like(delta)
        logits = torch.zeros(gold.shape, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([logits], lr=1.0)
        for _ in range(STEPS):
            log_ratio = torch.log_softmax(logits, -1) + np.log(8)
            h = torch.tensor(sign) * (log_ratio @ torch.tensor(figure.GAP))
            optimiser.zero_grad()
            dpo_loss(h, torch.tensor(beta), weight=torch.tensor(weight)).sum().backward()
            optimiser.step()
        policy = torch.softmax(logits.detach(), -1).numpy()
        row = found[(found.arm == arm) & (found.noise == noise) & (found.step == STEPS)].iloc[0]
        assert row.gold == pytest.approx((policy * gold).sum(-1).mean(), rel=1e-9)
        assert row.kl == pytest.approx((policy * np.log(8 * policy)).sum(-1).mean(), rel=1e-9)
        right = np.sign(gold @ figure.GAP) * (np.log(policy) @ figure.GAP)
        assert row.accuracy == pytest.approx(((right > 1e-9) + 0.5 * (np.abs(right) <= 1e-9)).mean(), abs=1e-12)


def test_starts_at_the_reference(frame):
    start = frame[frame.step == 0]
    np.testing.assert_allclose(start.kl, 0, atol=1e-12)
    np.testing.assert_array_equal(start.accuracy, 0.5)


def test_same_seed_same_numbers(frame):
    again = figure.compute(Scale("smoke"), 0)
    np.testing.assert_array_equal(frame.gold, again.gold)


def test_another_outcome_is_another_verdict(frame):
    expected = {
        "beyond-a-larger-beta": "supported",
        "clamp-makes-it-safe": "supported",
        "beta-beats-weight": "refuted",
        "better-at-matched-kl": "supported",
    }
    assert {claim: verdict.outcome for claim, verdict in figure.verdicts(frame).items()} == expected
    renamed = frame.assign(arm=frame.arm.replace({"dynamic": "mean", "mean": "dynamic"}))
    outcomes = {claim: verdict.outcome for claim, verdict in figure.verdicts(renamed).items()}
    assert outcomes["beyond-a-larger-beta"] == outcomes["better-at-matched-kl"] == "refuted"
    unsafe = frame.assign(arm=frame.arm.replace({"dynamic": "unclamped", "unclamped": "dynamic"}))
    assert figure.verdicts(unsafe)["clamp-makes-it-safe"].outcome == "refuted"
    lighter = frame.assign(arm=frame.arm.replace({"dynamic": "weight", "weight": "dynamic"}))
    assert figure.verdicts(lighter)["beta-beats-weight"].outcome == "supported"
