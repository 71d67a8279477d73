"""The labeller's F1 by counting, the threshold its reward asks for by search, and verdicts that can differ."""

import numpy as np
import pytest
from scipy.special import expit, logit

from paper_figures.figure import Scale
from paper_figures.sentence_flags import CLAIMS, SEPARATION, best_f1, compute, f1_beyond, verdicts


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def sampled(share, number=400_000):
    rng = np.random.default_rng(0)
    wrong = rng.random(number) < share
    return wrong, rng.normal(size=number) + SEPARATION * (wrong - 0.5)


@pytest.mark.parametrize(("share", "cutoff"), [(0.1, 1.0), (0.5, -0.4)])
def test_f1_by_counting(share, cutoff):
    wrong, evidence = sampled(share)
    flagged = evidence > cutoff
    expected = 2 * (flagged & wrong).sum() / (flagged.sum() + wrong.sum())
    assert f1_beyond(cutoff, share) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("bonus", [0.0, 1.0, 4.0])
def test_the_reward_is_largest_at_the_threshold_of_theory(bonus):
    wrong, evidence = sampled(0.2)
    cutoffs = np.linspace(-2, 3, 101)
    rewards = [np.mean((flag := evidence > cut) == wrong) + bonus * np.mean(flag & wrong) for cut in cutoffs]
    best = cutoffs[int(np.argmax(rewards))]
    assert expit(logit(0.2) + SEPARATION * best) == pytest.approx(1 / (2 + bonus), abs=0.05)
    assert best_f1(bonus, np.array(0.2)) == pytest.approx(f1_beyond(best, 0.2), abs=0.02)


def test_worked_f1():
    worked = {(0.0, 0.05): 0.191, (1.0, 0.05): 0.31, (0.0, 0.2): 0.532, (1.0, 0.2): 0.594, (4.0, 0.5): 0.745}
    for (bonus, share), expected in worked.items():
        assert best_f1(bonus, np.array(share)) == pytest.approx(expected, abs=1e-3)


def test_verdicts_can_turn_out_otherwise(frame):
    found = verdicts(frame)
    assert set(found) == {claim.id for claim in CLAIMS}

    def outcome(claim, column, bonus, value):
        return verdicts(frame.assign(**{column: frame[column].where(frame.bonus != bonus, value)}))[claim].outcome

    assert outcome("finds-more-wrong-sentences", "f1", 1.0, 0.9) == "supported"
    assert outcome("finds-more-wrong-sentences", "f1", 0.0, 0.9) == "refuted"
    assert outcome("it-is-a-threshold", "belief", 1.0, 0.8) == "refuted"
    assert outcome("too-much-costs", "f1", 4.0, 0.9) == "refuted"
    assert outcome("too-much-costs", "f1", 4.0, 0.1) == "supported"
