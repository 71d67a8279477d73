"""The checks at the boundary: they let good values through untouched and name what is wrong with bad ones."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rewardlab.checks import (
    as_generator,
    check_array,
    check_broadcast,
    check_choice,
    check_distribution,
    check_finite,
    check_scalar,
)

pytestmark = pytest.mark.usefixtures("without_type_checks")


@given(arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e308, 1e308)))
def test_finite_values_pass_even_where_their_sum_overflows(value):
    with np.errstate(over="ignore"):
        assert check_finite("x", value) is value


@given(
    arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(-9, 9)),
    st.data(),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_the_first_value_that_is_not_finite_is_named(value, data, bad):
    index = tuple(data.draw(st.integers(0, length - 1)) for length in value.shape)
    value[index] = bad
    for array in (value, torch.asarray(value)):
        with pytest.raises(ValueError, match=rf"x\[{', '.join(map(str, index))}\] is {bad}, expected a finite"):
            check_finite("x", array)
    if math.isinf(bad) and value.size > 1:  # infinities of both signs do not cancel
        value.flat[(value.ravel() != bad).argmax()] = -bad
        with pytest.raises(ValueError, match="expected a finite number"):
            check_finite("x", value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0.5, 0.5], [0.5, 0.4]], r"p\[1\] sums to 0.9, expected 1 within 1e-06 \(a probability over things\)"),
        ([[1.5, -0.5], [0.5, 0.5]], r"p\[0, 1\] is -0.5, expected a probability of at least 0"),
        ([[0.5, 0.5], [math.nan, 1]], r"p\[1, 0\] is nan"),
        ([0.3, 0.3], "p sums to 0.6"),
        ([0.5, 0.5 + 2e-6], "p sums to 1.000002,"),
    ],
)
def test_what_is_not_a_distribution(value, message):
    for array in (np.array(value), torch.tensor(value, dtype=torch.float64)):
        with pytest.raises(ValueError, match=message):
            check_distribution("p", array, over="things")


def test_a_distribution_within_tolerance_passes():
    value = np.array([0.5, 0.5 + 5e-7])
    assert check_distribution("p", value, over="things") is value


@pytest.mark.parametrize("value", [[1.0], 1.0, None, "x", (1,)])
def test_what_is_not_an_array(value):
    with pytest.raises(TypeError, match=f"x: expected a NumPy array or torch tensor, got {type(value).__name__}"):
        check_array("x", value)


@pytest.mark.parametrize("value", [np.ones(2, complex), np.array(["a"]), np.array([None]), torch.ones(2) + 0j])
def test_arrays_of_what_is_no_real_number(value):
    with pytest.raises(TypeError, match=r"x has dtype .*, expected real numbers"):
        check_array("x", value)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32, np.float64])
def test_arrays_of_real_numbers(dtype):
    value = np.ones(2, dtype)
    assert check_array("x", value, like=np.ones(1)) is value
    with pytest.raises(TypeError, match="x is a ndarray but the MDP holds Tensors; use one library"):
        check_array("x", value, like=torch.ones(1))


def test_batches_that_do_not_broadcast_are_all_named():
    assert check_broadcast(a=(2, 1), b=(3,), c=()) == (2, 3)
    with pytest.raises(ValueError, match=r"do not broadcast against one another: a \(2,\), b \(3,\), c \(\)"):
        check_broadcast(a=(2,), b=(3,), c=())


@pytest.mark.parametrize(
    ("value", "limits", "error", "message"),
    [
        (1.5, {"low": 0, "high": 1}, ValueError, r"x is 1.5, expected a number in \[0, 1\]"),
        (-0.1, {"low": 0}, ValueError, r"x is -0.1, expected a number in \[0, inf\)"),
        (0, {"low": 0, "open_low": True}, ValueError, r"x is 0, expected a number in \(0, inf\)"),
        (math.nan, {}, ValueError, r"x is nan, expected a number in \(-inf, inf\)"),
        (math.inf, {"low": 0}, ValueError, r"x is inf, expected a number in \[0, inf\)"),
        (True, {}, TypeError, "x: expected a number, got bool"),
        ("1", {}, TypeError, "x: expected a number, got str"),
        (None, {}, TypeError, "x: expected a number, got NoneType"),
        (1.5, {"whole": True}, TypeError, "x is 1.5, expected a whole number"),
        (0, {"low": 1, "whole": True}, ValueError, r"x is 0, expected a whole number in \[1, inf\)"),
    ],
)
def test_numbers_out_of_place(value, limits, error, message):
    with pytest.raises(error, match=message):
        check_scalar("x", value, **limits)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1)])
def test_numbers_in_place(value):
    assert check_scalar("x", value, low=0, high=1) is value


def test_choices():
    check_choice("x", "a", ("a", "b"))
    for wrong in ("c", "A", 1, ["a"], None):
        with pytest.raises(ValueError, match="expected one of 'a', 'b'"):
            check_choice("x", wrong, ("a", "b"))


def test_generators():
    rng = np.random.default_rng(0)
    assert as_generator(rng) is rng
    assert as_generator(3).random() == np.random.default_rng(3).random()
    for wrong in ("a", None, 1.0, True, [1]):
        with pytest.raises(TypeError, match=r"rng: expected a seed or a numpy\.random\.Generator, got"):
            as_generator(wrong)
    with pytest.raises(ValueError, match="rng is -1"):
        as_generator(-1)
