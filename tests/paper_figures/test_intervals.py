"""Means, their intervals, and what they say of a claim."""

import numpy as np
import pytest

from paper_figures.intervals import above, for_verdict, mean_interval


def test_interval_is_that_of_the_normal_law_where_there_are_many_seeds():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 2))
    mean, low, high = mean_interval(values)
    np.testing.assert_allclose(mean, values.mean(0))
    half = 1.96 * values.std(0) / 20
    np.testing.assert_allclose([mean - low, high - mean], [half, half], rtol=0.1)


def test_equal_values_have_an_interval_without_width():
    assert mean_interval(np.full(5, 0.3)).tolist() == pytest.approx([0.3] * 3)


def test_for_a_verdict_plain_numbers():
    found = for_verdict(mean_interval(np.array([1.0, 2.0, 3.0])))
    assert found[0] == 2.0 and found[1][0] < 2.0 < found[1][1]
    assert all(type(part) is float for part in (found[0], *found[1]))


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ((0.3, 0.1, 0.5), "supported"),
        ((0.2, 0.1, 0.5), "supported"),
        ((0.19, 0.1, 0.5), "undecided"),  # there, but less than asked
        ((0.3, -0.1, 0.5), "undecided"),  # as much as asked, but not sure
        ((-0.3, -0.5, -0.1), "refuted"),
        ((-0.3, -0.5, 0.1), "undecided"),
    ],
)
def test_what_an_interval_says(found, outcome):
    assert above(np.array(found), 0.2) == outcome
