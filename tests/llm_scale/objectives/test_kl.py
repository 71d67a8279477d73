"""KL estimators: their means, variances, and above all their gradients."""

import pytest
import torch

from llm_scale.objectives.kl import kl_terms

P, Q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
REVERSE = [0.3207, -0.0825, -0.2382]  # gradient of KL(P || Q) in the logits of P


@pytest.mark.parametrize(
    ("estimator", "mean", "variance"),
    [("k1", 0.274887, 0.5121), ("k2", 0.293856, 0.0370), ("k3", 0.274887, 0.0426)],
)
def test_means_and_variances_under_the_policy(estimator, mean, variance):
    terms = kl_terms(P.log(), Q.log(), estimator)
    assert float(P @ terms) == pytest.approx(mean, abs=1e-6)
    assert float(P @ (terms - P @ terms).square()) == pytest.approx(variance, abs=5e-5)
    assert float((P * (P / Q).log()).sum()) == pytest.approx(0.274887, abs=1e-6)


@pytest.mark.parametrize(
    ("estimator", "by_ratio", "gradient"),
    [
        ("k1", False, [0.0, 0.0, 0.0]),
        ("k2", False, REVERSE),
        ("k3", False, [0.3, 0.0, -0.3]),
        ("k3", True, REVERSE),
        ("k1+", False, REVERSE),
        ("k3+", False, REVERSE),
    ],
)
def test_mean_gradient_in_a_loss(estimator, by_ratio, gradient):
    logits = P.log().requires_grad_()
    log_probs = logits.log_softmax(0)
    terms = kl_terms(log_probs, Q.log(), estimator)
    if by_ratio:
        terms = terms * (log_probs - log_probs.detach()).exp()
    (P @ terms).backward()
    assert logits.grad.tolist() == pytest.approx(gradient, abs=5e-5)


def test_gradient_of_the_divergence_by_finite_differences():
    def divergence(logits):
        return float((logits.softmax(0) * (logits.log_softmax(0) - Q.log())).sum())

    for place, expected in enumerate(REVERSE):
        step = torch.zeros(3, dtype=torch.float64)
        step[place] = 1e-6
        slope = (divergence(P.log() + step) - divergence(P.log() - step)) / 2e-6
        assert slope == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_plus_changes_the_gradient_and_not_the_value(estimator):
    terms, with_plus = (kl_terms(P.log(), Q.log(), name) for name in (estimator, estimator + "+"))
    torch.testing.assert_close(terms, with_plus)


def test_clamps_bound_value_and_gradient():
    log_probs = torch.tensor([-30.0, -1.0, -2.0], requires_grad=True)
    reference = torch.tensor([0.0, -1.5, -4.0])
    bounded = kl_terms(log_probs, reference, "k3", input_clamp=20.0, clamp=10.0)
    assert bounded.tolist() == pytest.approx([10.0, 0.1065, 1.1353], abs=1e-4)
    bounded.sum().backward()
    assert log_probs.grad[0] == 0 and (log_probs.grad[1:] != 0).all()
    assert kl_terms(log_probs, reference, "k1", clamp=10.0).tolist() == [-10.0, 0.5, 2.0]
    assert kl_terms(log_probs, reference, "k2", input_clamp=20.0).tolist() == [200.0, 0.125, 2.0]


def test_small_differences_keep_their_digits():
    terms = kl_terms(torch.tensor([-1.0]), torch.tensor([-1.0]) + 2.0**-12, "k3")
    assert float(terms) == pytest.approx(2.0**-25, rel=1e-3)  # in float32 exp(x) - x - 1 is 0


def test_bad_input():
    with pytest.raises(ValueError, match="estimator is 'k4', expected one of 'k1'"):
        kl_terms(P, Q, "k4")
    with pytest.raises(ValueError, match=r"reference_log_probs has shape \(2,\), log_probs \(3,\)"):
        kl_terms(P, Q[:2], "k1")
