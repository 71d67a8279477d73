"""Dynamic beta against the worked numbers and its shape; DPO's loss, its gradient and its optimum; ACC and ACC+."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.transforms.dynamic_scaling import all_pairs_accuracy, dpo_loss, dynamic_beta, margin_accuracy

margins = arrays(np.float64, 9, elements=st.floats(-1e3, 1e3))
bases = st.sampled_from([0.01, 0.1, 1.0])
gains = st.sampled_from([0.0, 0.1, 0.5, 2.0])
sensitivities = st.sampled_from([0.0, 0.05, 0.5, 3.0])


def test_worked_values():
    margin = np.array([0.0, 0.5, 1.0, 2.0, 5.0, 10.0])
    expected = [0.1, 0.111060, 0.119673, 0.131606, 0.145896, 0.149663]
    np.testing.assert_allclose(dynamic_beta(margin), expected, atol=5e-7)
    np.testing.assert_allclose(dynamic_beta(margin, clamp=False), expected, atol=5e-7)
    below = np.array([-1.0, -2.0, -math.log(3) / 0.5])
    np.testing.assert_array_equal(dynamic_beta(below), 0.1)
    np.testing.assert_allclose(dynamic_beta(below, clamp=False), [0.067564, 0.014086, 0.0], atol=5e-7)
    assert dynamic_beta(below - 0.01, clamp=False)[2] < 0  # the documented zero is a crossing


def test_ninety_per_cent_of_the_range_and_the_slope_at_zero():
    assert dynamic_beta(np.array(math.log(10) / 0.5)) == pytest.approx(0.145, abs=1e-12)
    assert math.log(10) / 0.5 == pytest.approx(4.605, abs=5e-4)
    step = np.array([0.0, 1e-6])
    assert np.diff(dynamic_beta(step))[0] / 1e-6 == pytest.approx(0.5 * 0.5 * 0.1, rel=1e-5)


@given(margins, bases, gains, sensitivities)
def test_bounded_and_never_falling(margin, base, gain, sensitivity):
    beta = dynamic_beta(np.sort(margin), base=base, gain=gain, sensitivity=sensitivity)
    assert (beta >= base).all() and (beta <= (1 + gain) * base * (1 + 1e-15)).all()
    assert (np.diff(beta) >= 0).all()
    free = dynamic_beta(np.sort(margin), base=base, gain=gain, sensitivity=sensitivity, clamp=False)
    np.testing.assert_array_equal(np.maximum(free, base), beta)


@given(arrays(np.float64, 2, elements=st.floats(0, 50)), st.floats(0, 1), gains, sensitivities)
def test_concave_where_the_model_agrees_with_the_label(ends, share, gain, sensitivity):
    between = np.array(share * ends[0] + (1 - share) * ends[1])
    low, high = dynamic_beta(ends, gain=gain, sensitivity=sensitivity)
    assert dynamic_beta(between, gain=gain, sensitivity=sensitivity) >= share * low + (1 - share) * high - 1e-15


@given(margins, st.booleans())
def test_no_gain_or_no_sensitivity_is_plain_dpo(margin, clamp):
    for options in ({"gain": 0.0}, {"sensitivity": 0.0}):
        np.testing.assert_array_equal(dynamic_beta(margin, **options, clamp=clamp), 0.1)


@given(margins, st.sampled_from([1e-3, 0.5, 20.0]), st.booleans())
def test_rescaling_the_model_is_rescaling_the_sensitivity(margin, scale, clamp):
    rescaled = dynamic_beta(scale * margin, clamp=clamp)
    np.testing.assert_allclose(dynamic_beta(margin, sensitivity=0.5 * scale, clamp=clamp), rescaled, rtol=1e-9)


@given(arrays(np.float64, 9, elements=st.floats(-50, 50)), st.booleans())
def test_torch_agrees_with_numpy_and_keeps_the_dtype(margin, clamp):
    found = dynamic_beta(torch.tensor(margin), clamp=clamp)
    np.testing.assert_allclose(found.numpy(), dynamic_beta(margin, clamp=clamp), rtol=1e-14)
    for dtype in (torch.float32, torch.bfloat16):
        assert dynamic_beta(torch.tensor(margin, dtype=dtype), clamp=clamp).dtype == dtype
    assert dynamic_beta(margin.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_finite_far_out(dtype):
    with np.errstate(all="raise", under="ignore"):
        for clamp in (True, False):
            beta = dynamic_beta(np.array([-60000.0, -800.0, 800.0, 60000.0], dtype), clamp=clamp)
            assert np.isfinite(beta).all()
        loss = dpo_loss(np.array([-800.0, 800.0], dtype), 1.0)
    np.testing.assert_array_equal(loss, np.array([800.0, 0.0], dtype))


@given(arrays(np.float64, 9, elements=st.floats(-800, 800)), st.sampled_from([0.1, 1.0]))
def test_loss_is_minus_log_sigmoid(log_ratio, beta):
    loss = dpo_loss(log_ratio, beta)
    direct = -np.log(1 / (1 + np.exp(-np.clip(beta * log_ratio, -30, 30))))
    near = np.abs(beta * log_ratio) < 30
    np.testing.assert_allclose(loss[near], direct[near], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss - dpo_loss(-log_ratio, beta), -beta * log_ratio, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(dpo_loss(torch.tensor(log_ratio), beta).numpy(), loss, rtol=1e-14)


@given(arrays(np.float64, 9, elements=st.floats(-800, 800)), margins)
def test_gradient_reaches_the_log_ratio_and_nothing_else(log_ratio, margin):
    h, delta = torch.tensor(log_ratio, requires_grad=True), torch.tensor(margin, requires_grad=True)
    beta, weight = dynamic_beta(delta), dynamic_beta(delta, base=1.0)
    assert not beta.requires_grad
    learned = (0.1 + delta * 0).requires_grad_(), (1.0 + delta * 0).requires_grad_()
    (dpo_loss(h, beta, weight=weight) + dpo_loss(h, learned[0], weight=learned[1])).sum().backward()
    assert delta.grad is None
    b, w = beta.numpy(), weight.numpy()
    expected = -w * b / (1 + np.exp(b * log_ratio)) - 0.1 / (1 + np.exp(0.1 * log_ratio))
    np.testing.assert_allclose(h.grad.numpy(), expected, rtol=1e-9, atol=1e-30)


def slope(log_ratio, beta):
    h = torch.tensor([float(log_ratio)], dtype=torch.float64, requires_grad=True)
    dpo_loss(h, beta).sum().backward()
    return -float(h.grad)


def test_a_larger_beta_pushes_harder_only_near_the_reference():
    assert (slope(0, 0.1), slope(0, 0.15)) == pytest.approx((0.05, 0.075))
    assert slope(10.34, 0.15) > slope(10.34, 0.1)
    assert slope(10.36, 0.15) < slope(10.36, 0.1)


@given(st.floats(0.55, 0.99), st.sampled_from([0.1, 0.15, 1.0]), st.sampled_from([0.3, 1.0, 1.5]))
def test_beta_sets_the_optimum_and_a_weight_does_not(probability, beta, weight):
    """A label right with probability p: the loss over both labels is least at logit(p) / beta, whatever the weight."""
    best = math.log(probability / (1 - probability)) / beta
    h = torch.tensor([best, -best], dtype=torch.float64, requires_grad=True)
    chosen = torch.tensor([probability, 1 - probability], dtype=torch.float64)
    loss = (chosen * dpo_loss(h, beta, weight=weight)).sum()
    (gradient,) = torch.autograd.grad(loss, h)
    assert float(gradient[0] - gradient[1]) == pytest.approx(0, abs=1e-12)
    if probability == 0.9:
        assert best == pytest.approx({0.1: 21.97, 0.15: 14.65, 1.0: 2.197}[beta], abs=5e-3)


def test_the_optima_of_the_method():
    for beta, best in ((0.1, 21.97), (0.15, 14.65)):
        push = 0.9 * slope(best, beta) - 0.1 * slope(-best, beta)
        assert push == pytest.approx(0, abs=1e-5)


def test_weight_multiplies_and_shapes_broadcast():
    log_ratio, beta = np.array([[-1.0], [2.0]]), np.array([0.1, 0.2, 0.3])
    weight = np.array([[2.0], [0.0]])
    found = dpo_loss(log_ratio, beta, weight=weight)
    np.testing.assert_allclose(found[0], 2 * np.log1p(np.exp(beta)))
    np.testing.assert_array_equal(found[1], 0.0)
    np.testing.assert_array_equal(dpo_loss(log_ratio, np.array(0.1)), dpo_loss(log_ratio, 0.1))
    assert dpo_loss(log_ratio.astype(np.float32), beta, weight=weight).dtype == np.float32


def test_accuracies_of_a_small_table():
    none = np.nan
    margin = np.array([[1, 2, 3], [1, -1, none], [0, none, none], [none, none, none], [none, 4, none]], float)
    assert margin_accuracy(margin) == pytest.approx(5 / 7)  # a tie is not right
    assert all_pairs_accuracy(margin) == pytest.approx(2 / 4)  # a sample without pairs does not count
    ids = np.repeat([7, 3, 5, 9, 1], 3)
    assert all_pairs_accuracy(margin.ravel(), ids) == pytest.approx(2 / 4)
    assert all_pairs_accuracy(margin.ravel()[::-1].copy(), ids[::-1].tolist()) == pytest.approx(2 / 4)


@given(arrays(np.float64, (5, 4), elements=st.sampled_from([-2.0, 0.0, 0.5, 3.0])))
def test_accuracies_agree_with_loops_and_torch(margin):
    assert margin_accuracy(margin) == pytest.approx(sum(m > 0 for m in margin.ravel()) / 20)
    assert all_pairs_accuracy(margin) == pytest.approx(sum(all(m > 0 for m in row) for row in margin) / 5)
    assert all_pairs_accuracy(margin) <= margin_accuracy(margin) + 1e-15
    assert float(margin_accuracy(torch.tensor(margin))) == pytest.approx(float(margin_accuracy(margin)))
    assert float(all_pairs_accuracy(torch.tensor(margin))) == pytest.approx(float(all_pairs_accuracy(margin)))


ONE = np.array([1.0, 2.0])


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dynamic_beta([1.0]), TypeError, "margin: expected a NumPy array or torch tensor, got list"),
        (lambda: dynamic_beta(np.array([0, np.nan])), ValueError, r"margin\[1\] is nan, expected a finite number"),
        (lambda: dynamic_beta(ONE, base=0.0), ValueError, r"base is 0.0, expected a number in \(0, inf\)"),
        (lambda: dynamic_beta(ONE, gain=-0.5), ValueError, r"gain is -0.5, expected a number in \[0, inf\)"),
        (lambda: dynamic_beta(ONE, sensitivity="high"), TypeError, "sensitivity: expected a number, got str"),
        (lambda: dpo_loss(np.array([np.inf]), 0.1), ValueError, r"log_ratio_margin\[0\] is inf, expected a finite"),
        (lambda: dpo_loss(ONE, 0.0), ValueError, r"beta is 0.0, expected a number in \(0, inf\)"),
        (lambda: dpo_loss(ONE, np.array([0.1, -0.2])), ValueError, r"beta goes down to -0.2, expected numbers above 0"),
        (
            lambda: dpo_loss(ONE, 0.1, weight=np.array([1.0, -1.0])),
            ValueError,
            "weight goes down to -1, expected numbers at",
        ),
        (lambda: dpo_loss(ONE, torch.tensor([0.1, 0.1])), TypeError, "beta is a Tensor but log_ratio_margin a ndarray"),
        (lambda: dpo_loss(ONE, np.array([0.1] * 3)), ValueError, r"broadcast .* log_ratio_margin \(2,\), beta \(3,\)"),
        (lambda: margin_accuracy(np.array([np.nan])), ValueError, r"margin of shape \(1,\) holds no pair"),
        (lambda: margin_accuracy(np.array([np.inf])), ValueError, r"margin\[0\] is inf"),
        (lambda: all_pairs_accuracy(ONE), ValueError, r"margin has shape \(2,\), expected \(samples, pairs\)"),
        (lambda: all_pairs_accuracy(ONE, [1]), ValueError, "group_ids has 1 values for 2 samples"),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call()
