import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.intrinsic.state_hashing import SimHash
from rewardlab.intrinsic.visitation import LifelongCounts
from tests.intrinsic.walks import arrive

features = arrays(np.float64, (6, 4), elements=st.floats(-5, 5))


@given(features, st.floats(0.1, 10))
def test_codes_are_signs_of_projections_whatever_the_length(rows, factor):
    hashed = SimHash(4, bits=12, rng=0)
    codes = hashed.codes(rows)
    for row, code in zip(rows, codes, strict=True):
        bits = np.unpackbits(np.frombuffer(code, np.uint8))[:12]
        signs = [float(sum(a * x for a, x in zip(line, row, strict=True))) for line in hashed.projection]
        assert all(bit == (sign >= 0) for bit, sign in zip(bits, signs, strict=True) if abs(sign) > 1e-9)
    sure = (np.abs(rows @ hashed.projection.T) > 1e-9).all(1)
    again = hashed.codes(factor * rows)
    assert all(one == other for one, other, clear in zip(codes, again, sure, strict=True) if clear)


def test_bits_differ_as_often_as_the_angle_says():
    angle = 0.7
    pair = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    one, other = (np.unpackbits(np.frombuffer(code, np.uint8)) for code in SimHash(2, bits=8000, rng=1).codes(pair))
    assert np.mean(one != other) == pytest.approx(angle / np.pi, abs=0.015)


def test_same_seed_same_codes_and_they_can_be_counted():
    rows = np.random.default_rng(0).normal(size=(2, 4))
    codes = SimHash(4, rng=3).codes(rows)
    assert codes == SimHash(4, rng=3).codes(rows.copy())
    assert codes != SimHash(4, rng=4).codes(rows)
    step, reward = arrive([0, 0]), LifelongCounts(environments=2)
    object.__setattr__(step, "keys", [codes[0], codes[0]])
    reward.observe(step)
    np.testing.assert_allclose(reward.rewards(), [[1, 0.5**0.5]])


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: SimHash(0, rng=0), "features is 0"),
        (lambda: SimHash(2, bits=0, rng=0), "bits is 0"),
        (lambda: SimHash(2, rng=0).codes(np.ones((3, 4))), r"features has shape \(3, 4\), expected \(n, 2\)"),
        (lambda: SimHash(2, rng=0).codes(np.array([[1.0, np.nan]])), r"features\[0, 1\] is nan"),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()
