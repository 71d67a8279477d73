"""Steps that are ragged, missing, masked, single, not finite, out of range or of another kind: in every function."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.process.step_functions import FUNCTIONS, batch, plain

pytestmark = pytest.mark.usefixtures("without_type_checks")
EVERY = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])


def chosen(*takes):
    """The functions that take such values."""
    named = {name: function for name, function in FUNCTIONS.items() if function.takes in takes}
    return pytest.mark.parametrize("function", named.values(), ids=named.keys())


def good(function, library=np.asarray, lengths=(3, 2), steps=3):
    return tuple(map(library, batch(function, np.random.default_rng(1), lengths, steps)))


def with_value(function, value, place=(1, 1)):
    """A good batch with one value changed; its place as messages have it."""
    values, mask = good(function)
    place = (place[0], place[1] + (function.takes == "likelihoods"))
    values[place] = value
    return values, mask, f"{function.argument}[{place[0]}, {place[1]}] is"


@EVERY
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_ragged_solutions_are_each_as_if_alone(function, lengths, padding, seed):
    values, mask = batch(function, np.random.default_rng(seed), lengths, max(lengths) + padding)
    found = plain(function.call(values, mask))
    np.testing.assert_allclose(
        plain(function.call(torch.tensor(values), torch.tensor(mask))), found, rtol=1e-12, atol=1e-12
    )
    for row, length in enumerate(lengths):
        before = values.shape[1] - mask.shape[1]
        # outcomes go by the row, so a copy stands before a solution of odd number
        rows = slice(row - row % 2, row + 1)
        alone = plain(function.call(np.nan_to_num(values[rows, : before + length]), mask[rows, :length] | True))[-1]
        if function.gives == "steps":
            np.testing.assert_allclose(found[row, :length], alone, rtol=1e-12, atol=1e-12)
            assert (found[row, length:] == 0).all()
        else:
            np.testing.assert_allclose(found[row], alone, rtol=1e-12, atol=1e-12)


@EVERY
@LIBRARIES
def test_no_solutions_and_no_steps(function, library):
    more = int(function.takes == "likelihoods")
    none = library(np.zeros((0, 3 + more))), library(np.zeros((0, 3), bool))
    if function.samples:
        with pytest.raises(ValueError, match="at least one sample"):
            function.call(*none)
    else:
        assert function.call(*none).shape[0] == 0
    for mask in (None, library(np.zeros((2, 0), bool))):
        steps = library(np.full((2, more), 0.5))
        if function.stepless == "error":
            with pytest.raises(ValueError, match=r"has no step|holds no sentence"):
                function.call(steps, mask)
        else:
            assert (plain(function.call(steps, mask)) == function.stepless).all()


@EVERY
@LIBRARIES
def test_all_masked_solutions(function, library):
    """Alone and beside others; what stands in the padding does not matter."""
    for lengths in ((0, 0), (0, 3), (3, 0)):
        values, mask = good(function, library, lengths)
        if function.stepless == "error":
            with pytest.raises(ValueError, match=r"has no step|holds no sentence"):
                function.call(values, mask)
        else:
            found = plain(function.call(values, mask))
            assert (found[np.array(lengths) == 0] == function.stepless).all() and np.isfinite(found).all()


@EVERY
@LIBRARIES
def test_solutions_of_one_step(function, library):
    values, mask = good(function, library, (1, 1), 1)
    found = plain(function.call(values, mask))
    assert np.isfinite(found).all() and len(found) == 2
    np.testing.assert_array_equal(plain(function.call(values, None)), found)
    padded = good(function, library, (1, 1), 4)
    expected = plain(function.call(padded[0][:, : -3 or None], padded[1][:, :1]))
    np.testing.assert_array_equal(plain(function.call(*padded))[..., : found.shape[-1]], expected)


@EVERY
@LIBRARIES
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(function, library, value):
    values, mask, message = with_value(function, value)
    with pytest.raises(ValueError, match=re.escape(f"{message} {value}")):
        function.call(library(values), library(mask))
    with pytest.raises(ValueError, match=re.escape(message)):
        function.call(library(values), None)


@EVERY
@LIBRARIES
def test_the_step_is_named_and_not_the_padding_before_it(function, library):
    values, mask = good(function, lengths=(1, 3))
    place = 2 + (function.takes == "likelihoods")
    values[1, place] = np.inf
    with pytest.raises(ValueError, match=re.escape(f"{function.argument}[1, {place}] is inf")):
        function.call(library(values), library(mask))


@chosen("scores", "likelihoods", "flags")
@LIBRARIES
@pytest.mark.parametrize("value", [-0.25, 1.25, 7])
def test_what_is_out_of_range_is_named(function, library, value):
    values, mask, message = with_value(function, value)
    with pytest.raises(ValueError, match=re.escape(f"{message} {value:g}, expected")):
        function.call(library(values), library(mask))
    for edge in (0.0, 1.0):
        values[1, -2] = edge
        assert np.isfinite(plain(function.call(library(values), library(mask)))).all()


@chosen("rewards")
def test_rewards_may_be_any_finite_number(function):
    values, mask, _ = with_value(function, -1e6)
    assert abs(plain(function.call(values, mask))).max() >= 1e5


@chosen("scores", "flags", "rewards")
@LIBRARIES
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int8, np.uint8, bool])
def test_whole_numbers_are_taken_as_float64(function, library, kind):
    labels = np.array([[1, 0, 1, 1], [0, 1, 0, 0]])
    for mask in (None, library(np.array([[True, True, True, False], [True, True, False, False]]))):
        expected = function.call(library(labels.astype(np.float64)), mask)
        found = function.call(library(labels.astype(kind)), mask)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(plain(found), plain(expected))


@chosen("scores", "flags")
@LIBRARIES
def test_whole_numbers_out_of_range_are_named(function, library):
    for value in (2, -1):
        labels = np.array([[1, 0], [0, value]])
        with pytest.raises(ValueError, match=re.escape(f"{function.argument}[1, 1] is {value}, expected")):
            function.call(library(labels), None)


@EVERY
@LIBRARIES
def test_masks_that_are_none(function, library):
    values, mask = good(function, library, (3, 3))
    gap = np.array([[True, True, True], [True, False, True]])
    with pytest.raises(ValueError, match=re.escape("mask[1, 2] is True after a False, expected the steps first")):
        function.call(values, library(gap))
    for wrong in (mask[:, :2], mask[:1], mask[0], mask[None]):
        with pytest.raises(ValueError, match="mask has shape"):
            function.call(values, wrong)
    for kind in (np.float64, np.int64):
        with pytest.raises(TypeError, match="mask has dtype"):
            function.call(values, library(np.ones((2, 3), kind)))
    with pytest.raises(TypeError, match="mask: expected a NumPy array or torch tensor"):
        function.call(values, mask.tolist())
    other = np.ones((2, 3), bool) if library is torch.tensor else torch.ones(2, 3, dtype=bool)
    with pytest.raises(TypeError, match="use one library"):
        function.call(values, other)


@EVERY
@LIBRARIES
def test_values_that_are_none(function, library):
    values, mask = good(function, library, (3, 3))
    # the cases' own arguments follow the values' shape, so what has no shape is tried in each function's own tests
    with pytest.raises(TypeError, match=r"has dtype (torch\.)?complex128"):
        function.call(library(plain(values) + 0j), mask)
    if library is np.asarray:
        for kind in ("U4", object):
            with pytest.raises(TypeError, match="has dtype"):
                function.call(values.astype(kind), mask)


@EVERY
@LIBRARIES
def test_arguments_are_left_as_they_are(function, library):
    values, mask = good(function, library)
    before = plain(values).copy(), plain(mask).copy()
    function.call(values, mask)
    np.testing.assert_array_equal(plain(values), before[0])
    np.testing.assert_array_equal(plain(mask), before[1])
