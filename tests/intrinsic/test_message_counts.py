"""The count discount's worked numbers and limit, and counts that follow episodes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.message_counts import MessageCounts, count_discount, episode_limit

VISITS = [1, 2, 3, 5, 10, 100, 1000]
EXPONENTS = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])


@pytest.mark.parametrize(
    ("exponent", "visits", "sums"),
    [
        (3.0, VISITS, [1, 1.125, 1.1620, 1.1857, 1.1975, 1.2020, 1.2021]),
        (2.0, VISITS, [1, 1.25, 1.3611, 1.4636, 1.5498, 1.6350, 1.6439]),
        (1.0, [100, 1000], [5.1874, 7.4855]),
        (0.5, [1, 10, 100, 1000], [1, 5.0210, 18.5896, 61.8010]),
        (0.0, [7], [7]),
    ],
)
def test_what_the_visits_of_one_message_pay_together(exponent, visits, sums):
    paid = np.cumsum(count_discount(np.arange(1, 1001), exponent))
    np.testing.assert_allclose(paid[np.array(visits) - 1], sums, atol=5.1e-5)


def test_limit_of_an_episode():
    assert episode_limit(1, 3) == pytest.approx(1.2020569, abs=5e-8)
    assert episode_limit(4, 2) == pytest.approx(4 * math.pi**2 / 6)
    assert episode_limit(1, 1.0) == episode_limit(1, 0.5) == math.inf
    assert episode_limit(0, 0.5) == 0.0


def test_a_step_that_was_not_counted_is_not_paid():
    assert count_discount(np.array([0, 1, 2]), 0.0).tolist() == [0, 1, 1]
    assert count_discount(np.array([0, 1, 2]), 1.0).tolist() == [0, 1, 0.5]


@given(st.lists(st.integers(0, 4), max_size=40), EXPONENTS)
def test_an_episode_pays_at_most_the_limit(ids, exponent):
    counts = MessageCounts(1)
    seen = np.array([counts.visit(np.array([id_]), np.array([True]))[0] for id_ in ids], dtype=np.int64)
    assert count_discount(seen, exponent).sum() <= episode_limit(len(set(ids)), exponent) + 1e-12


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=2, max_size=2), st.booleans(), st.integers(0, 5))))
def test_counts_are_those_of_each_running_episode(steps):
    counts, episodes = MessageCounts(2), [[], []]
    for ids, first_valid, begins in steps:
        valid = [first_valid, True]
        for place in range(2):
            if valid[place]:
                episodes[place].append(ids[place])
        expected = [episodes[place].count(ids[place]) if valid[place] else 0 for place in range(2)]
        assert counts.visit(np.array(ids), np.array(valid)).tolist() == expected
        if begins in (0, 1):
            counts.begin([begins])
            episodes[begins] = []
    again = MessageCounts(2)
    again.load_state_dict(json.loads(json.dumps(counts.state_dict())))
    for ids in ([0, 1], [2, 2]):
        assert (
            again.visit(np.array(ids), np.ones(2, bool)).tolist()
            == counts.visit(np.array(ids), np.ones(2, bool)).tolist()
        )


def test_bad_input(without_type_checks):
    counts = MessageCounts(2)
    with pytest.raises(IndexError, match="environments holds 2, expected 0 to 1"):
        counts.begin([0, 2])
    with pytest.raises(ValueError, match="ids and valid have 3 and 2 entries, expected 2"):
        counts.visit(np.arange(3), np.ones(2, bool))
    with pytest.raises(ValueError, match="counts holds -1"):
        count_discount(np.array([1, -1]), 3.0)
    with pytest.raises(ValueError, match="exponent is -1"):
        count_discount(np.array([1]), -1.0)
    with pytest.raises(ValueError, match="environments is 0"):
        MessageCounts(0)
    with pytest.raises(ValueError, match="state has 1 environments, expected 2"):
        counts.load_state_dict(MessageCounts(1).state_dict())
