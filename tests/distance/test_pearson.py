import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.distance.canonical import dard_canonical, epic_canonical
from rewardlab.distance.pearson import pearson_distance
from rewardlab.exact.mdp import FiniteMDP

# integers: a hundredth of spread is far from the rounding of shifts and scales
vectors = arrays(np.float64, 6, elements=st.integers(-50, 50).map(float)).filter(lambda v: np.ptp(v) > 0)
positive = st.floats(0.01, 100)


def two_state_example():
    """Action 0 stays, 1 switches; one reward pays for going from state 0 to 1, the other for staying in 1."""
    transition = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    rewards = np.zeros((2, 2, 2, 2))
    rewards[0, 0, 1, 1] = rewards[1, 1, 0, 1] = 1
    return FiniteMDP(transition, 0.9), rewards


def test_published_two_state_example():
    mdp, rewards = two_state_example()
    epic = epic_canonical(mdp, rewards).reshape(2, -1)
    dard = dard_canonical(mdp, rewards).reshape(2, -1)
    assert pearson_distance(*epic) == pytest.approx(0.749443, abs=5e-7)
    assert pearson_distance(*dard) == pytest.approx(0.707632, abs=5e-7)
    assert pearson_distance(*dard, mdp.transition.ravel()) == pytest.approx(0.509566, abs=5e-7)


@given(vectors, vectors)
def test_agrees_with_the_textbook_expression(x, y):
    correlation = np.corrcoef(x, y)[0, 1]
    assert pearson_distance(x, y) == pytest.approx(np.sqrt(max(0, 1 - correlation) / 2), abs=1e-7)


@given(vectors, vectors, arrays(np.float64, 6, elements=st.integers(0, 4).map(float)).filter(lambda w: w.sum() > 0))
def test_integer_weights_are_repetitions(x, y, weights):
    repeat = weights.astype(int)
    weighted = pearson_distance(x, y, weights)
    np.testing.assert_allclose(weighted, pearson_distance(np.repeat(x, repeat), np.repeat(y, repeat)), atol=1e-9)


@given(vectors, vectors, vectors, positive, positive, st.floats(-100, 100))
def test_pseudometric_blind_to_shift_and_positive_scale(x, y, z, a, b, shift):
    d = pearson_distance(np.stack([x, y, x]), np.stack([y, z, z]))
    assert d[2] <= d[0] + d[1] + 1e-9
    assert pearson_distance(y, x) == d[0]
    assert pearson_distance(a * x + shift, b * y) == pytest.approx(d[0], abs=1e-9)
    assert pearson_distance(x, a * x + shift) <= 1e-9
    assert pearson_distance(x, -b * x + shift) == pytest.approx(1, abs=1e-9)


@given(vectors, vectors)
def test_torch_agrees_with_numpy(x, y):
    np.testing.assert_allclose(pearson_distance(torch.tensor(x), torch.tensor(y)), pearson_distance(x, y), atol=1e-12)


def test_float32_resolves_small_distances():
    x = np.linspace(-1, 1, 100, dtype=np.float32)
    y = x + 1e-5 * np.sin(np.arange(100)).astype(np.float32)
    assert 1e-6 < pearson_distance(x, y) < 1e-5  # the textbook expression gives 0 or 3e-4


@pytest.mark.parametrize("constant", [np.zeros(4), np.full(4, 0.1), np.full(4, -1e9)])
def test_constant_has_no_distance(constant):
    x = np.array([[0.0, 1.0, 2.0, 4.0], constant])
    assert np.isnan(pearson_distance(x, constant)).all()
    assert np.isnan(pearson_distance(constant, x[0]))


def test_constant_on_the_entries_that_count():
    assert np.isnan(pearson_distance(np.array([1.0, 1.0, 5.0]), np.arange(3.0), np.array([1.0, 1.0, 0.0])))


def test_entries_of_weight_0_do_not_count():
    x, weights = np.array([0.0, 1.0, 3.0, 1e15]), np.array([1.0, 2.0, 1.0, 0.0])
    assert pearson_distance(x, np.arange(4.0), weights) == pearson_distance(x[:3], np.arange(3.0), weights[:3])


def test_batches_broadcast():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 1, 5)), rng.normal(size=(1, 4, 5))
    result = pearson_distance(x, y)
    assert result.shape == (3, 4)
    assert result[2, 1] == pytest.approx(float(pearson_distance(x[2, 0], y[0, 1])), abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ([1.0, 2.0], np.ones(2)),
            TypeError,
            "first: expected a NumPy array or torch tensor, got list|Type-check error",
        ),
        ((np.array([0, np.nan]), np.ones(2)), ValueError, r"first\[1\] is nan"),
        ((np.ones(2), np.ones(2), np.array([1.0, -1.0])), ValueError, r"negative entry \(-1\)"),
        ((np.ones(2), np.ones(2), np.zeros(2)), ValueError, "weights sum to 0"),
    ],
)
def test_bad_input_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        pearson_distance(*arguments)
