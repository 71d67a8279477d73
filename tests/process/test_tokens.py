import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.padded_steps import BLOCK
from rewardlab.process.tokens import place_on_tokens, spread_over_tokens
from tests.process.solutions import padded


@st.composite
def completions(draw):
    """(values, mask, step_ends, tokens): steps of one token or more, garbage in the padding."""
    values, mask = draw(padded())
    lengths = np.array([[draw(st.integers(1, 4)) for _ in row] for row in mask])
    ends = np.where(mask, lengths.cumsum(-1) - 1, draw(st.integers(-9, 99)))
    return values, mask, ends, int(ends.max(where=mask, initial=-1)) + 1 + draw(st.integers(0, 3))


def by_hand(values, mask, ends, tokens, *, spread):
    placed = np.zeros((len(values), tokens))
    for row in range(len(values)):
        start = 0
        for k in np.flatnonzero(mask[row]):
            placed[row, start if spread else ends[row, k] : ends[row, k] + 1] = values[row, k]
            start = ends[row, k] + 1
    return placed


@given(completions(), st.sampled_from([np.int64, np.int32]))
def test_token_by_token(completion, whole):
    values, mask, ends, tokens = completion
    ends = ends.astype(whole)
    for function, spread in ((place_on_tokens, False), (spread_over_tokens, True)):
        expected = by_hand(values, mask, ends, tokens, spread=spread)
        np.testing.assert_array_equal(function(values, mask, ends, tokens), expected)
        found = function(torch.tensor(values), torch.tensor(mask), torch.tensor(ends), tokens)
        np.testing.assert_array_equal(found.numpy(), expected)


@given(completions())
def test_rewards_keep_their_sum_and_steps_their_order(completion):
    values, mask, ends, tokens = completion
    placed = place_on_tokens(values, mask, ends, tokens)
    np.testing.assert_allclose(placed.sum(-1), np.where(mask, values, 0).sum(-1), atol=1e-12)
    for row, here, at, value in zip(placed, mask, ends, values, strict=True):
        np.testing.assert_array_equal(row[at[here]], value[here])


def test_more_steps_than_are_written_together():
    samples = 2 * BLOCK // 5 + 3
    rng = np.random.default_rng(0)
    values, ends = rng.random((samples, 5)), np.sort(rng.permuted(np.tile(np.arange(9), (samples, 1)), axis=1)[:, :5])
    mask = np.arange(5) < rng.integers(0, 6, samples)[:, None]
    for here in (mask, np.ones_like(mask)):
        expected = by_hand(values, here, ends, 9, spread=False)
        np.testing.assert_array_equal(place_on_tokens(values, here, ends, 9), expected)


@pytest.mark.parametrize("function", [place_on_tokens, spread_over_tokens])
def test_no_steps_no_samples_no_tokens(function):
    for shape, tokens in (((0, 3), 4), ((2, 0), 4), ((2, 0), 0)):
        found = function(np.zeros(shape), None, np.zeros(shape, int), tokens)
        np.testing.assert_array_equal(found, np.zeros((shape[0], tokens)))
        found = function(torch.zeros(shape), None, torch.zeros(shape, dtype=int), tokens)
        assert tuple(found.shape) == (shape[0], tokens) and not found.any()
    masked = function(np.full((1, 2), np.nan), np.zeros((1, 2), bool), np.full((1, 2), -1), 3)
    np.testing.assert_array_equal(masked, np.zeros((1, 3)))


@pytest.mark.parametrize("function", [place_on_tokens, spread_over_tokens])
def test_dtypes_and_gradients(function):
    ends = np.array([[0, 2]])
    assert function(np.ones((1, 2), np.float32), None, ends, 4).dtype == np.float32
    assert function(np.array([[1, 2]]), None, ends, 4).dtype == np.float64
    values = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda steps: function(steps, None, torch.tensor(ends), 4), (values,))


two, at = np.array([[0.5, 1.0]]), np.array([[1, 3]])


@pytest.mark.parametrize("function", [place_on_tokens, spread_over_tokens])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((two, None, at, 3), ValueError, "step_ends[0, 1] is 3, expected a token from 0 to 2"),
        ((two, None, at - 2, 3), ValueError, "step_ends[0, 0] is -1, expected a token from 0 to 2"),
        ((two, None, at[:, ::-1], 4), ValueError, "step_ends[0, 1] is 1, expected more than 3, where the step before"),
        ((two, None, np.array([[1, 1]]), 4), ValueError, "step_ends[0, 1] is 1, expected more than 1"),
        ((two, None, at + 0.0, 4), TypeError, "step_ends has dtype float64, expected whole numbers"),
        ((two, None, at[:, :1], 4), ValueError, "step_ends has shape (1, 1), step_values (1, 2)"),
        ((two[0], None, at[0], 4), ValueError, "step_values has shape (2,), expected (samples, steps)"),
        ((two * np.nan, None, at, 4), ValueError, "step_values[0, 0] is nan, expected a finite number"),
        ((two, np.array([[False, True]]), at, 4), ValueError, "mask[0, 1] is True after a False"),
        ((two, None, at, 4.0), TypeError, "tokens is 4.0, expected a whole number"),
        ((two, None, at, -1), ValueError, "tokens is -1, expected a whole number in [0"),
        ((two, None, torch.tensor(at), 4), TypeError, "use one library"),
    ],
)
def test_refusals(function, arguments, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert message in str(caught.value)
