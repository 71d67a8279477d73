"""Judges that name a winner."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from rewardlab.scoring import accuracy, judged, reciprocal_rank, scores_of_pairwise_judge, standing


@pytest.mark.parametrize("unparsed", [0.0, 0.25, 0.5])
def test_unreadable_answers_are_worth_what_the_benchmark_says(unparsed):
    assert judged(["A", "B", None], ["A", "A", "B"], unparsed=unparsed).tolist() == [1, 0, unparsed]


def test_positions_and_tables():
    answers = np.array([[0, 3], [None, 2]], dtype=object)
    assert judged(answers, [[0, 0], [1, 2]], unparsed=0.25).tolist() == [[1, 0], [0.25, 1]]


def test_a_lost_duel_costs_a_rank():
    won = np.array([[True] * 9, [False] * 9, [True] * 8 + [False], [False, True, True] * 3])
    scores = scores_of_pairwise_judge(won)
    assert scores[0].tolist() == [10] + [1] * 9
    assert scores[1].tolist() == [1] + [11] * 9
    assert scores[2].tolist() == [9] + [1] * 8 + [11]
    assert reciprocal_rank(standing(scores)).tolist() == [1, 1 / 10, 1 / 2, 1 / 4]


@given(arrays(np.bool_, (5, 9)))
def test_scores_stand_for_the_duels(won):
    place = standing(scores_of_pairwise_judge(won))
    np.testing.assert_array_equal(place.below, won.sum(axis=1))
    assert not place.tied.any()
    np.testing.assert_array_equal(accuracy(place), won.all(axis=1))


def test_bad_input(without_type_checks):
    with pytest.raises(ValueError, match=r"right has shape \(1,\), expected that of answers \(2,\)"):
        judged(["A", "B"], ["A"], unparsed=0)
    with pytest.raises(ValueError, match=r"right\[1\] is None, expected the right candidate"):
        judged(["A", "B"], ["A", None], unparsed=0)
