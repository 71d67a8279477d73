"""The gradient of the hybrid figure against autograd, its arms by definition, and verdicts that can turn round."""

import numpy as np
import pandas as pd
import pytest
import torch

from paper_figures import hybrid_brevity as figure
from paper_figures.figure import Scale


@pytest.fixture(scope="module")
def frame():
    return figure.compute(Scale("smoke"), 0)


def test_policy_gradient_is_that_of_the_log_probability():
    rng = np.random.default_rng(0)
    logits, chosen, advantage = (
        rng.normal(size=(2, 3, 16)),
        rng.integers(16, size=(2, 3, 8)),
        rng.normal(size=(2, 3, 8)),
    )
    found = figure._policy_gradient(figure._softmax(logits), chosen, advantage)
    tensor = torch.tensor(logits, requires_grad=True)
    log_probs = torch.log_softmax(tensor, -1).gather(-1, torch.tensor(chosen))
    (torch.tensor(advantage) * log_probs).mean(-1).sum().backward()
    np.testing.assert_allclose(found, tensor.grad.numpy(), atol=1e-12)


def test_advantages_are_by_arm():
    arms = pd.DataFrame({"advantage": ["mean", "std"]})
    reward = np.random.default_rng(0).normal(size=(2, 3, 8))
    centred, divided = figure._advantages(arms, reward)
    np.testing.assert_allclose(centred, reward[0] - reward[0].mean(-1, keepdims=True), atol=1e-12)
    spread = reward[1].std(-1, keepdims=True) + 1e-4
    np.testing.assert_allclose(divided, (reward[1] - reward[1].mean(-1, keepdims=True)) / spread, atol=1e-12)


def test_the_rule_alone_does_not_feel_the_models_bias(frame):
    short, long = (frame[(frame.reward == "rule") & (frame.bias == bias)] for bias in ("short", "long"))
    np.testing.assert_array_equal(short.accuracy, long.accuracy)


def test_agrees_with_earlier_separate_code(frame):
    """Four seeds of ours against ten of theirs: means of the same distribution."""
    means = frame[frame.bias == "short"].groupby(["reward", "advantage"])[["accuracy", "length"]].mean()
    for arm, (accuracy, length) in figure.EARLIER.items():
        assert means.accuracy[arm] == pytest.approx(accuracy, abs=0.06)
        assert means.length[arm] == pytest.approx(length, abs=1.0)


def test_same_seed_same_numbers():
    arms = pd.DataFrame({"bias": "short", "reward": ["short", "long", "both"], "advantage": ["mean", "std", "mean"]})
    once, again, other = (figure._trained(arms, 20, 2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_another_outcome_is_another_verdict(frame):
    expected = {
        "hybrid-beats-model": "supported",
        "length-term-stops-brevity": "supported",
        "std-amplifies-bias": "supported",
        "long-side-stops-length": "refuted",
        "both-sides-serve-both": "refuted",
    }
    assert {claim: verdict.outcome for claim, verdict in figure.verdicts(frame).items()} == expected
    swaps = {
        "hybrid-beats-model": ("reward", {"hybrid": "model", "model": "hybrid"}),
        "length-term-stops-brevity": ("reward", {"short": "hybrid", "hybrid": "short"}),
        "std-amplifies-bias": ("advantage", {"mean": "std", "std": "mean"}),
    }
    for claim, (column, names) in swaps.items():
        swapped = frame.assign(**{column: frame[column].replace(names)})
        assert figure.verdicts(swapped)[claim].outcome == "refuted"
    fitting = frame.assign(accuracy=0.8)
    assert figure.verdicts(fitting)["long-side-stops-length"].outcome == "supported"
    assert figure.verdicts(fitting)["both-sides-serve-both"].outcome == "supported"
