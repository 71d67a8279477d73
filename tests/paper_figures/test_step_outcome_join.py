"""The starts of the joined-reward figure, its rewards on a worked episode, and verdicts that can turn out otherwise."""

import numpy as np
import pytest

from paper_figures.figure import Scale
from paper_figures.step_outcome_join import CLAIMS, CURES, SCHEMES, compute, verdicts


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def changed(frame, scheme, part, **values):
    here = (frame.scheme == scheme) & (frame.part == part)
    return frame.assign(**{name: frame[name].where(~here, value) for name, value in values.items()})


def test_starts(frame):
    starts = frame[frame.part == "warm"].groupby("warmth").start.agg(["min", "max"])
    np.testing.assert_allclose(starts["min"], [0.0039, 0.0511, 0.2559, 0.4145, 0.573, 0.8074], atol=1e-4)
    np.testing.assert_array_equal(starts["min"], starts["max"])


def test_rewards_of_a_worked_episode():
    scores, mask = np.array([[0.8, 0.6, 0.9, 0.0]] * 2), np.array([[True, True, True, False]] * 2)
    outcome = np.array([1, 0])
    expected = {
        "success": [[0, 0, 0, 0]] * 2,
        "raw": [[0.8, 0.6, 0.9, 0]] * 2,
        "joined": [[0.8, 0.6, 0.9, 0], [-0.2, -0.4, -0.1, 0]],
        "unshifted": [[1.8, 1.6, 1.9, 0], [0.8, 0.6, 0.9, 0]],
        "clip_delta": [[0.1, -0.1, 0, 0]] * 2,
        "refined_joined": [[0.1, -0.1, 0, 0], [-0.9, -1.1, -1, 0]],
        "both": [[0.9, 0.5, 0.9, 0], [-0.1, -0.5, -0.1, 0]],
    }
    for name, (_, _, _, rewards) in SCHEMES.items():
        np.testing.assert_allclose(rewards(scores, mask, outcome == 1), expected[name], atol=1e-12, err_msg=name)


def test_verdicts_can_turn_out_otherwise(frame):
    found = verdicts(frame)
    assert set(found) == {claim.id for claim in CLAIMS}

    def outcome(other, claim):
        return verdicts(other)[claim].outcome

    safe = changed(changed(frame, "joined", "warm", success=0.99), "raw", "warm", success=0.1)
    assert outcome(safe, "warm-starts") == "supported"
    assert outcome(changed(safe, "raw", "warm", success=0.99), "warm-starts") == "refuted"
    taught = changed(frame, "success", "cold", success=0.99)
    assert outcome(changed(taught, "joined", "cold", success=0.0), "cold-start") == "supported"
    assert outcome(changed(taught, "joined", "cold", success=0.9), "cold-start") == "refuted"
    assert outcome(changed(frame, "success", "cold", success=0.5), "cold-start") != "supported"
    lost = changed(frame, "clip_delta", "cold", success=0.99)
    for name in CURES:
        lost = changed(lost, name, "cold", success=0.0)
    assert outcome(lost, "clip-delta-is-no-cure") == "supported"
    assert outcome(changed(lost, CURES[1], "cold", success=0.9), "clip-delta-is-no-cure") == "refuted"
    same = changed(changed(frame, "joined", "warm", length=4.0, success=0.9), "unshifted", "warm", length=4.0)
    assert outcome(changed(same, "unshifted", "warm", success=0.9), "shift-has-no-effect") == "supported"
    assert outcome(changed(same, "unshifted", "warm", length=6.0), "shift-has-no-effect") == "refuted"
    fast = changed(changed(frame, "success", "warm", solved=100), "joined", "warm", solved=50)
    assert outcome(fast, "faster-than-success") == "supported"
    assert outcome(changed(fast, "joined", "warm", solved=150), "faster-than-success") == "refuted"


def test_each_run_learns_from_its_own_reward(frame):
    assert frame.groupby(["part", "scheme", "weight", "warmth"]).size().eq(4).all()
    cold = frame[frame.part == "cold"].groupby(["scheme", "weight"]).length.mean()
    assert (cold["joined"] < 3).all() and cold["raw"][0.3] > 10 and (cold["clip_delta"] < 6).all()
