import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.label_noise import step_precision

SHARES = st.floats(0, 1)


def test_numbers_of_the_method():
    errors = np.array([0.01, 0.05, 0.2])
    np.testing.assert_allclose(step_precision(0.002, errors), [0.1656, 0.0367, 0.0080], atol=5e-5)


def test_counting_flipped_labels_comes_to_the_same():
    rng = np.random.default_rng(0)
    deserved = rng.random(400_000) < 0.05
    paid = deserved ^ (rng.random(400_000) < 0.1)
    assert step_precision(0.05, 0.1) == pytest.approx(deserved[paid].mean(), abs=0.005)


@given(SHARES, SHARES)
def test_bounds(share, error):
    precision = step_precision(share, error)
    assert np.isnan(precision) or 0 <= precision <= 1
    if share > 0:
        assert step_precision(share, 0.0) == 1 and step_precision(share, 0.5) == pytest.approx(share)


def test_ends():
    assert np.isnan(step_precision(0.0, 0.0)) and np.isnan(step_precision(1.0, 1.0))
    assert step_precision(0.0, 0.1) == 0
    with pytest.raises(ValueError, match=r"error\[1\] is 1.5, expected a share in \[0, 1\]"):
        step_precision(0.1, np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match=r"positive_share is nan, expected a share"):
        step_precision(float("nan"), 0.1)
