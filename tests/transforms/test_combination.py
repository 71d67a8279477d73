"""Several signals in one: by loops over the samples, the bounds of a conjunction (P9), and what is absent."""

import math
from statistics import median as middle_of

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logsumexp

from rewardlab.transforms import (
    conjunction,
    log_sigmoid,
    median,
    minimum,
    product,
    soft_minimum,
    weighted_mean,
    weighted_sum,
)
from rewardlab.transforms.combination import component_weights

WEIGHTS = [0.5, 2.0, 0.1]
quarters = st.integers(-3200, 3200).map(lambda number: number / 4)
signals_of = arrays(np.float64, (3, 5), elements=quarters)
present_of = arrays(np.bool_, (3, 5))
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])


def soft(values, temperature):
    """By its definition: -T log mean exp(-s / T)."""
    return -temperature * (logsumexp(-np.array(values) / temperature) - math.log(len(values)))


# name -> (function, what is to be combined from the drawn signals, one sample's values and weights -> the result)
CASES = {
    "conjunction": (conjunction, lambda s: -np.abs(s), lambda values, _: sum(values)),
    "conjunction, weights": (
        lambda s, present=None: conjunction(s, WEIGHTS, present),
        lambda s: -np.abs(s),
        lambda values, weights: sum(v * w for v, w in zip(values, weights, strict=True)),
    ),
    "weighted_sum": (weighted_sum, lambda s: s, lambda values, _: sum(values)),
    "weighted_sum, weights": (
        lambda s, present=None: weighted_sum(s, WEIGHTS, present),
        lambda s: s,
        lambda values, weights: sum(v * w for v, w in zip(values, weights, strict=True)),
    ),
    "weighted_mean": (weighted_mean, lambda s: s, lambda values, _: sum(values) / len(values)),
    "weighted_mean, weights": (
        lambda s, present=None: weighted_mean(s, WEIGHTS, present),
        lambda s: s,
        lambda values, weights: sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights),
    ),
    "minimum": (minimum, lambda s: s, lambda values, _: min(values)),
    "median": (median, lambda s: s, lambda values, _: middle_of(values)),
    "product": (product, expit, lambda values, _: math.prod(values)),
    "soft_minimum": (lambda s, present=None: soft_minimum(s, 3.0, present), lambda s: s, lambda v, _: soft(v, 3.0)),
}
each = pytest.mark.parametrize(("function", "of", "by_hand"), CASES.values(), ids=CASES)


@given(signals_of, present_of)
def test_sample_by_sample(drawn, present):
    for name, (function, of, by_hand) in CASES.items():
        signals, expected = of(drawn), []
        for sample in range(5):
            here = [number for number in range(3) if present[number, sample]]
            values = [float(signals[number, sample]) for number in here]
            expected.append(by_hand(values, [WEIGHTS[number] for number in here]) if here else math.nan)
        result = function(signals, present=present)
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10, err_msg=name)
        hidden = np.where(present, signals, np.inf)  # what is absent may hold anything
        np.testing.assert_array_equal(function(hidden, present=present), result, err_msg=name)


@given(signals_of)
def test_a_stack_a_list_and_all_present_are_one(drawn):
    everywhere = np.ones((3, 5), bool)
    for name, (function, of, by_hand) in CASES.items():
        signals = of(drawn)
        expected = [by_hand([float(value) for value in column], WEIGHTS) for column in signals.T]
        for way in (signals, list(signals), tuple(signals)):
            np.testing.assert_allclose(function(way), expected, rtol=1e-10, atol=1e-10, err_msg=name)
            by_mask = function(way, present=everywhere)
            np.testing.assert_allclose(by_mask, expected, rtol=1e-10, atol=1e-10, err_msg=name)


@given(signals_of, present_of, st.floats(0, 5))
def test_more_of_a_signal_is_never_worse(drawn, present, more):
    some = present.any(axis=0)
    for name, (function, of, _) in CASES.items():
        signals = of(drawn)
        raised = signals.copy()
        raised[1] = np.minimum(raised[1] + more, {"conjunction": 0, "product": 1}.get(name.split(",")[0], np.inf))
        gain = function(raised, present=present) - function(signals, present=present)
        assert (gain[some] >= -1e-9).all(), name


@given(arrays(np.float64, (4, 3), elements=st.floats(-30, 30)))
def test_bounds_of_a_conjunction(margins):
    total, worst = conjunction(log_sigmoid(margins, 0.0)), log_sigmoid(margins.min(axis=0), 0.0)
    assert (4 * worst <= total + 1e-12).all() and (total <= worst + 1e-12).all()


@given(arrays(np.float64, (4, 1), elements=st.floats(-15, 15)))
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_gradient_of_a_conjunction(margins):
    point = torch.tensor(margins, requires_grad=True)
    conjunction(log_sigmoid(point, 0.0)).sum().backward()
    np.testing.assert_allclose(point.grad.numpy(), expit(-margins), rtol=1e-10)
    assert point.grad[margins.argmin()] == point.grad.max()  # the worst property weighs most
    step = 1e-5
    for number in range(4):
        up, down = margins.copy(), margins.copy()
        up[number] += step
        down[number] -= step
        slope = (conjunction(log_sigmoid(up, 0.0)) - conjunction(log_sigmoid(down, 0.0)))[0] / (2 * step)
        assert slope == pytest.approx(expit(-margins[number, 0]), abs=1e-7)


def test_worked_values():
    np.testing.assert_allclose(np.exp(conjunction(np.log([[0.9, 0.5], [0.9, 0.99]]))), [0.81, 0.495])
    np.testing.assert_allclose(np.exp(conjunction(np.log([[0.9], [0.5]]), [2.0, 1.0])), [0.405])
    assert median(np.array([[1.0], [2.0], [10.0], [3.0]])).tolist() == [2.5]
    assert product(np.array([[0.5, 1.0], [0.5, 0.0]])).tolist() == [0.25, 0.0]
    assert weighted_mean(np.array([[1.0], [4.0]]), [2.0, 1.0]).tolist() == [2.0]
    far = log_sigmoid(np.array([[-800.0], [800.0]]), 0.0)
    assert conjunction(far).tolist() == [-800.0]


@given(signals_of, present_of, st.floats(0.01, 100))
def test_the_soft_minimum_lies_between_the_minimum_and_the_mean(signals, present, temperature):
    value, some = soft_minimum(signals, temperature, present), present.any(axis=0)
    assert (value[some] >= minimum(signals, present)[some] - 1e-9).all()
    assert (value[some] <= weighted_mean(signals, None, present)[some] + 1e-9).all()
    shifted = soft_minimum(signals + 4.0, temperature, present)
    np.testing.assert_allclose(shifted, value + 4.0, atol=1e-9)


@pytest.mark.parametrize("present", [None, np.ones((3, 5), bool)], ids=["all", "present"])
def test_limits_of_the_soft_minimum(present):
    signals = np.random.default_rng(0).normal(size=(3, 5))
    np.testing.assert_allclose(soft_minimum(signals, 1e-6, present), minimum(signals), atol=1e-5)
    for hot in (1e6, 1e14):  # log mean exp would have rounded to nothing
        np.testing.assert_allclose(soft_minimum(signals, hot, present), weighted_mean(signals), atol=1e-5)
    assert soft_minimum(np.array([[-800.0], [800.0]]), 1.0)[0] == pytest.approx(-800 + math.log(2))
    assert np.isfinite(soft_minimum(np.array([[-800.0], [800.0]]), 1e-300)).all()


def test_what_is_absent_is_no_zero():
    signals, present = np.array([[-1.0, 3.0], [-5.0, 4.0]]), np.array([[True, False], [False, False]])
    for function in (conjunction, weighted_sum, weighted_mean):
        np.testing.assert_array_equal(function(signals, None, present), [-1.0, np.nan])
    for function in (minimum, median):
        np.testing.assert_array_equal(function(signals, present), [-1.0, np.nan])
    np.testing.assert_array_equal(product(np.array([[0.5, 0.1], [0.2, 0.1]]), present), [0.5, np.nan])
    np.testing.assert_array_equal(soft_minimum(signals, 1.0, present), [-1.0, np.nan])
    np.testing.assert_array_equal(weighted_mean(signals, [0.0, 1.0], present), [np.nan, np.nan])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@LIBRARIES
@each
def test_the_dtype_is_kept(function, of, by_hand, library, dtype):
    signals = library(of(np.linspace(-2.0, 2.0, 6).reshape(3, 2)).astype(dtype))
    present = library(np.array([[True, True], [True, False], [True, True]]))
    for result in (function(signals), function(list(signals)), function(signals, present=present)):
        assert result.dtype == signals.dtype and tuple(result.shape) == (2,)


@LIBRARIES
def test_weights_of_any_kind_keep_the_dtype(library):
    signals = library(np.array([[1.0, 2.0], [10.0, 20.0]], np.float32))
    for weights in ([1.0, 0.5], (1, 0.5), np.array([1.0, 0.5]), library(np.array([1.0, 0.5]))):
        for given_signals in (signals, list(signals)):
            result = weighted_sum(given_signals, weights)
            assert result.dtype == signals.dtype and result.tolist() == [6.0, 12.0]
        assert component_weights(weights, signals).tolist() == [1.0, 0.5]
    assert component_weights(None, signals).tolist() == [1.0, 1.0]


@LIBRARIES
@each
def test_from_one_number_to_none_at_all(function, of, by_hand, library):
    signals = of(np.array([-2.0, 0.5, 1.0]))
    alone = by_hand(signals.tolist(), WEIGHTS)
    assert float(function(library(signals))) == pytest.approx(alone)
    assert float(function([library(np.array(value)) for value in signals])) == pytest.approx(alone)
    for nothing in (library(np.zeros((3, 0))), [library(np.zeros(0))] * 3):
        assert tuple(function(nothing).shape) == (0,)
    assert tuple(function(library(np.zeros((3, 0))), present=library(np.ones((3, 0), bool))).shape) == (0,)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
@each
def test_integers_are_taken_as_float64(function, of, by_hand, library):
    signals = np.array([[0, 0], [0, 0], [0, 0]]) if of(-1.0) < 0 and of(1.0) < 0 else np.array([[1, 0], [0, 0], [1, 1]])
    expected = function(signals.astype(float))
    for given_signals in (library(signals), list(library(signals))):
        result = function(given_signals)
        assert str(result.dtype).endswith("float64")
        np.testing.assert_allclose(np.asarray(result), expected)


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
@each
def test_what_is_refused(function, of, by_hand, library):
    good = of(np.array([[-1.0, 0.5], [0.25, -2.0], [0.0, 0.5]]))
    for bad in (math.nan, math.inf, -math.inf):
        wrong = good.copy()
        wrong[1, 0] = bad
        for signals in (library(wrong), list(library(wrong))):
            with pytest.raises(ValueError, match=rf"signals\[1, 0\] is {bad}|outside|above 0|at most 0"):
                function(signals)
        with pytest.raises(ValueError, match=rf"signals\[1, 0\] is {bad}|outside|at most 0"):
            function(library(wrong), present=library(np.ones((3, 2), bool)))
    for empty in (library(np.zeros((0, 2))), library(np.array(0.0))):
        with pytest.raises(ValueError, match="with a signal or more"):
            function(empty)
    for uneven in ([], [library(np.zeros(2)), library(np.zeros(3))]):
        with pytest.raises(ValueError, match="expected arrays of one shape"):
            function(uneven)
    with pytest.raises(ValueError, match=r"present has shape \(2, 2\), signals \(3, 2\)"):
        function(library(good), present=library(np.ones((2, 2), bool)))
    for bad in ("text", [[0.0], [0.0], [0.0]], np.array([["0"]] * 3), np.zeros((3, 1)) * 1j, [np.zeros(1) * 1j] * 3):
        with pytest.raises(TypeError, match="signals"):
            function(bad)
    with pytest.raises(TypeError):
        function([np.zeros(2), torch.zeros(2), np.zeros(2)])


@LIBRARIES
def test_numbers_too_large_to_add(library):
    with pytest.raises(ValueError, match=r"the sum of signals\[0\] is inf"), np.errstate(over="ignore"):
        weighted_sum([library(np.array([1.5e308])), library(np.array([1.5e308]))])


@pytest.mark.usefixtures("without_type_checks")
@LIBRARIES
@pytest.mark.parametrize("as_list", [False, True], ids=["stack", "list"])
@pytest.mark.parametrize("function", [conjunction, weighted_sum, weighted_mean])
def test_weights_that_are_none(function, as_list, library):
    signals = library(-np.ones((2, 3)))
    signals = list(signals) if as_list else signals
    for weights in ([1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match=rf"weights have shape \({len(weights)},\), expected one for each of 2"):
            function(signals, weights)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"weights\[1\] is {bad}"):
            function(signals, [1.0, bad])
    if function is not weighted_sum:
        with pytest.raises(ValueError, match="a weight is negative"):
            function(signals, [1.0, -0.5])
    else:
        assert function(signals, [1.0, -0.5]).tolist() == [-0.5] * 3


@LIBRARIES
def test_what_is_no_probability(library):
    for signals in (np.array([[0.0], [1e-9]]), np.array([[-3.0], [2.0]])):
        for one in (library(signals), list(library(signals))):
            with pytest.raises(ValueError, match=r"log-probabilities of at most 0.*use weighted_sum"):
                conjunction(one)
    hidden = library(np.array([[True], [False]]))
    assert conjunction(library(np.array([[-3.0], [2.0]])), present=hidden).tolist() == [-3.0]
    for outside in (-0.01, 1.01):
        with pytest.raises(ValueError, match=r"signals in \[0, 1\].*put a sigmoid before it"):
            product(library([[0.5], [outside]]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_that_are_none(temperature):
    with pytest.raises(ValueError, match="temperature is"):
        soft_minimum(np.zeros((2, 1)), temperature)
