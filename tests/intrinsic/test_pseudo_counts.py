import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.pseudo_counts import pseudo_count, pseudo_count_bonus
from rewardlab.intrinsic.visitation import count_bonus


@given(st.integers(1, 10**4), st.data())
def test_exact_frequencies_give_the_count(visits, data):
    count = data.draw(st.integers(0, visits - 1))
    found = pseudo_count(count / visits, (count + 1) / (visits + 1))
    assert found == pytest.approx(count, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("count", "visits"), [(3, 10), (50, 1000), (0, 10)])
def test_worked_counts(count, visits):
    assert pseudo_count(count / visits, (count + 1) / (visits + 1)) == pytest.approx(count)


def test_worked_bonus():
    count = pseudo_count(0.02, 0.021)
    assert count == pytest.approx(19.58)
    assert pseudo_count_bonus(count) == pytest.approx(0.0113, abs=5e-5)


def test_conventions_differ_tenfold_at_the_first_visit():
    assert pseudo_count_bonus(0.0, bonus=1.0) == pytest.approx(10 * count_bonus(np.array(1)))
    assert pseudo_count_bonus(10_000.0, bonus=1.0) == pytest.approx(count_bonus(np.array(10_001)), rel=1e-4)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: pseudo_count(0.5, 0.5), "before is 0.5 and after 0.5, expected 0 <= before < after <= 1"),
        (lambda: pseudo_count(np.array([0.1, 0.3]), np.array([0.2, 1.3])), r"before\[1\] is 0.3 and after\[1\] 1.3"),
        (lambda: pseudo_count(np.nan, 0.5), "before is nan"),
        (lambda: pseudo_count_bonus(np.array([1.0, -1.0])), r"count\[1\] is -1.0"),
        (lambda: pseudo_count_bonus(1.0, offset=0.0), "offset is 0.0"),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()
