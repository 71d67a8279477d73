"""The figure on compounding errors: its simulator against counting by hand, and verdicts that can turn round."""

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from paper_figures import error_compounding as figure
from paper_figures.error_compounding import CLAIMS, EARLIER, LENGTHS, MAJORITY, RULES, compute, plot, table, verdicts
from paper_figures.figure import Scale


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def moved(frame, by, **where):
    """The frame with the simulated values of some cells moved."""
    frame = frame.copy()
    rows = frame.seed >= 0
    for column, wanted in where.items():
        rows &= frame[column] == wanted
    assert rows.any()
    frame.loc[rows, "value"] += by
    return frame


def test_majority_is_that_of_all_outcomes(frame):
    """All ways that eight answers can fall on one right and five wrong values, ties broken evenly."""
    expected = 0.0
    for right in range(figure.CANDIDATES + 1):
        rest = figure.CANDIDATES - right
        for counts in itertools.product(range(rest + 1), repeat=figure.WRONG_ANSWERS):
            if sum(counts) == rest and max(counts) <= right:
                ways = math.factorial(figure.CANDIDATES) / math.prod(map(math.factorial, (right, *counts)))
                chance = ways * figure.SHARE_RIGHT**right * ((1 - figure.SHARE_RIGHT) / figure.WRONG_ANSWERS) ** rest
                expected += chance / (1 + sum(count == right for count in counts))
    assert round(expected, 2) == EARLIER["best of 8", MAJORITY][0]
    votes = frame[(frame.rule == MAJORITY) & (frame.quantity == "best of 8")].value
    assert votes.mean() == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(len(votes) * 1000))


def test_vote_and_pick_by_hand():
    scores = np.array([[0.9, 0.5, 0.5], [0.9, 0.4, 0.4], [0.5, 0.5, 0.1]])
    answers = np.array([[1, 0, 0], [1, 0, 0], [0, 2, 3]])
    assert figure._voted(scores, answers) == pytest.approx((1 + 0 + 0.5) / 3)
    assert figure._voted(np.ones((1, 3)), np.array([[0, 1, 2]])) == pytest.approx(1 / 3)
    assert figure._picked(scores, answers == 0) == pytest.approx(1 / 3)


def test_an_increasing_map_moves_the_vote_and_not_the_pick():
    scores, answers = np.array([[0.9, 0.5, 0.5]]), np.array([[1, 0, 0]])
    steep = scores**4  # the highest counts for more
    assert figure._voted(scores, answers) == 1
    assert figure._voted(steep, answers) == 0
    assert figure._picked(scores, answers == 0) == figure._picked(steep, answers == 0) == 0
    one = np.array([[0.2]]), np.array([[0]])
    assert figure._voted(*one) == figure._picked(one[0], one[1] == 0) == 1


def test_the_best_rule_is_the_likelihood_ratio():
    logits = np.random.default_rng(0).normal(1, 1, (50, 4))
    right = stats.norm.pdf(logits, 1.5).prod(axis=1)
    one_wrong = np.mean(
        [right / stats.norm.pdf(logits[:, k], 1.5) * stats.norm.pdf(logits[:, k], -1.5) for k in range(4)], axis=0
    )
    found = figure._scores("best", logits, np.zeros(50))
    assert (found.argsort() == (right / one_wrong).argsort()).all()
    np.testing.assert_allclose(figure._scores("mean", logits, np.zeros(50)), special.expit(logits).mean(axis=1))


def test_earlier_code_is_met(frame):
    shown = table(frame)
    assert len(shown) == len(EARLIER) * len(LENGTHS)
    assert (abs(shown["simulated"] - shown["earlier code"]) < 0.02).all()
    theory = shown.dropna()
    assert (abs(theory["theory"] - theory["earlier code"]) < 0.008).all()


def test_a_seed_is_a_run_of_its_own(frame):
    assert compute(Scale("smoke"), 0).equals(frame)
    runs = frame[(frame.seed >= 0) & (frame.rule == "min") & (frame.quantity == "auc") & (frame.share == 0)]
    assert runs.groupby(["signal", "steps"]).value.nunique().min() > 1
    assert set(frame.rule) == {*RULES, MAJORITY}


def test_one_verdict_a_claim_and_a_picture(frame):
    assert set(verdicts(frame)) == {claim.id for claim in CLAIMS}
    assert len(plot(frame).axes) == 6


@pytest.mark.parametrize(
    ("claim", "by", "where", "outcome"),
    [
        ("gap-grows", 0.2, {"quantity": "best of 8", "rule": "min", "steps": 40}, "refuted"),
        ("gap-grows", 0.13, {"quantity": "best of 8", "rule": "min", "steps": 40}, "undecided"),
        ("gap-grows", -0.1, {"quantity": "best of 8", "rule": "outcome", "steps": 5}, "undecided"),
        ("aggregation-is-to-blame", 0.1, {"quantity": "auc", "rule": "best", "steps": 40}, "supported"),
        ("self-correction-widens", 0.2, {"quantity": "best of 8", "share": 0.5, "steps": 5}, "refuted"),
        ("self-correction-widens", 0.1, {"quantity": "best of 8", "share": 0.5, "steps": 5}, "undecided"),
        ("mean-below-majority", 0.2, {"quantity": "best of 8", "rule": "mean", "steps": 40}, "refuted"),
        ("better-detector-crosses", -0.02, {"quantity": "best of 8", "signal": 2.0, "steps": 10}, "supported"),
        ("theory-holds", 0.1, {"quantity": "auc", "rule": "product", "steps": 10}, "refuted"),
    ],
)
def test_other_numbers_turn_the_verdict(frame, claim, by, where, outcome):
    assert verdicts(frame)[claim].outcome != outcome
    assert verdicts(moved(frame, by, **where))[claim].outcome == outcome
