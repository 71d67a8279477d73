import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_scale.reward_models.head_report import report_head, report_steps
from llm_scale.reward_models.preferences import Preferences, draw_preferences

GROUPS = [0, 0, 0, 1, 1, 1]
GOLD = np.array([1.0, 0, 0, 1, 0, 0])
LENGTHS = np.array([1.0, 2, 3, 4, 2, 1])


def drawn(scores=GOLD):
    return draw_preferences(scores, GROUPS, temperature=0, rng=0)


def report(scores, **changes):
    given = {"gold": GOLD, "lengths": LENGTHS, "group_ids": GROUPS} | changes
    return report_head(np.atleast_2d(scores), drawn(), **given)


def test_a_perfect_reward_of_no_length():
    found = report(10 * GOLD)
    assert found.gold_accuracy == 1 and found.gold_correlation == pytest.approx(1)
    assert found.disagreement == 0 and found.pair_accuracy >= 4 / 6
    assert found.longer_preferred == pytest.approx((0 + 0 + 0.5 + 1 + 1 + 0.5) / 6)


def test_a_reward_that_is_length():
    found = report(LENGTHS)
    assert found.longer_preferred == 1 and found.length_correlation == pytest.approx(1)
    assert found.gold_accuracy == pytest.approx(
        2 / 4
    )  # prompt 0's right answer is its shortest, prompt 1's its longest


def test_log_loss_is_of_the_preferences():
    scores, pairs = 2 * GOLD + 0.1 * LENGTHS, drawn()
    gaps = scores[pairs.chosen] - scores[pairs.rejected]
    assert report(scores).log_loss == pytest.approx(-np.log(1 / (1 + np.exp(-gaps))).mean()) and gaps.mean() > 0.5


def test_log_loss_of_a_reward_that_says_nothing():
    found = report(np.zeros(6))
    assert found.log_loss == pytest.approx(math.log(2)) and found.pair_accuracy == 0.5
    assert all(math.isnan(value) for value in (found.gold_correlation, found.length_correlation, found.disagreement))


@given(st.lists(st.floats(-50, 50), min_size=6, max_size=6), st.floats(-100, 100), st.floats(-100, 100))
@settings(deadline=None)
def test_offsets_of_prompts_play_no_part(scores, one, other):
    scores = np.round(scores, 6)
    moved = scores + np.where(np.array(GROUPS) == 0, round(one), round(other))
    left, right = report(scores).row(), report(np.round(moved, 6)).row()
    np.testing.assert_allclose(list(left.values()), list(right.values()), atol=1e-4, equal_nan=True)


def test_members_are_measured_one_by_one_and_together():
    found = report(np.stack([10 * GOLD, -10 * GOLD, 10 * GOLD]))
    assert found.gold_accuracy == 1  # two against one
    assert found.worst_member == pytest.approx(drawn().accuracy(-GOLD))
    assert found.disagreement == pytest.approx(np.std([1, -1, 1]) / (1 / 3))


def test_steps():
    found = report_steps([0.9, 0.8, 0.6, 0.8, 0.3], [1, 1, 1, 0, 0], [1, 1, 0.5, 0, 0])
    assert found.separation == pytest.approx((2 + 1.5) / 4)
    assert found.by_gold == {0.0: pytest.approx(0.55), 0.5: 0.6, 1.0: pytest.approx(0.85)}
    losses = [math.log(p) for p in (0.9, 0.8, 0.6, 0.2, 0.7)]
    assert found.log_loss == pytest.approx(-sum(losses) / 5)
    assert math.isnan(report_steps([0.5], [1], [1]).separation)
    assert set(found.row()) == {"log_loss", "separation", *(f"mean_score_of_gold_{x}" for x in ("0", "0.5", "1"))}


def test_bad_input_says_what_and_where():
    with pytest.raises(ValueError, match="member 0 scores nan for sample 2"):
        report(np.where(np.arange(6) == 2, np.nan, GOLD))
    with pytest.raises(ValueError, match=r"scores has shape \(1, 5\) with 6 gold"):
        report(GOLD[:5])
    with pytest.raises(ValueError, match="0 scores, 0 labels and 0 gold"):
        report_steps([], [], [])


def test_pairs_of_equal_length_are_left_out():
    pairs = Preferences(*(np.array(x) for x in ([0, 1], [1, 2], [True, True], [1.0, 0.5], [False, False])))
    found = report_head(np.array([[0.0, 1, 2]]), pairs, gold=GOLD[:3], lengths=np.array([1, 1, 2]), group_ids=[0] * 3)
    assert found.longer_preferred == 1
