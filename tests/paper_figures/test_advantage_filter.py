"""The bandit of the filter's figure against its expected step, and verdicts that can turn out otherwise."""

import numpy as np
import pytest

from paper_figures.advantage_filter import CLAIMS, METHODS, _iterations, _kept, compute, verdicts
from paper_figures.figure import Scale


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def changed(frame, part, method, value):
    here = (frame.part == part) & (frame.method == method)
    return frame.assign(value=frame.value.where(~here, value))


def test_iterations_as_the_expected_step_has_them():
    """Without a filter the two logits part by sqrt(p (1 - p)) an iteration in expectation, from .05 in 9 of them."""
    gap, steps = np.log(0.05 / 0.95), 0
    while gap <= 0:
        good = 1 / (1 + np.exp(-gap))
        gap, steps = gap + np.sqrt(good * (1 - good)), steps + 1
    found = _iterations("none", np.full(40, 0.05), 0.5, np.random.default_rng(0))
    assert steps == 9 and np.median(found) == pytest.approx(steps, abs=1)


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
def test_gradient_kept(share):
    assert _kept("none", share) == pytest.approx(1)
    assert _kept("drop", share) == pytest.approx(share if share < 0.1 else 1)
    score = np.sqrt((1 - share) / share)  # clamped, a success counts 3 in place of this; failures keep their part
    assert _kept("clamp", share) == pytest.approx(share + (1 - share) * min(3 / score, 1))


def test_verdicts_can_turn_out_otherwise(frame):
    assert set(verdicts(frame)) == {claim.id for claim in CLAIMS}

    def outcome(part, method, value, claim):
        return verdicts(changed(frame, part, method, value))[claim].outcome

    assert outcome("outliers", "drop", 10.0, "filter-helps-with-outliers") == "supported"
    assert outcome("outliers", "drop", 500.0, "filter-helps-with-outliers") == "refuted"
    assert outcome("rare", "drop", 500.0, "deletes-rare-success") == "supported"
    assert outcome("rare", "drop", 5.0, "deletes-rare-success") == "refuted"
    assert outcome("rare", "drop", 50.0, "harmless-above-a-tenth") == "refuted"
    assert outcome("outliers", "robust", 500.0, "clip-before-the-spread") == "refuted"
    assert outcome("gradient", "drop", 0.5, "keeps-the-fraction-p") == "refuted"


def test_every_cell_is_there(frame):
    assert frame[frame.part == "rare"].groupby(["method", "cell"]).size().eq(12).all()
    assert set(frame.method) == set(METHODS)
