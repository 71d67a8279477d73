"""All pairs of the EPIC paper's gridworld, to four decimals."""

import pytest

from paper_figures.epic_gridworld import compute, table, verdicts
from paper_figures.figure import Scale

# computed once by separate code, from the definitions: EPIC, DARD, half the STARC-VAL distance
DISTANCES = {
    "sparse, dense": (0.0, 0.0, 0.0),
    "sparse, center": (0.7500, 0.7482, 0.7695),
    "sparse, penalty": (1.0, 1.0, 1.0),
    "sparse, dirt": (0.1602, 0.1756, 0.1292),
    "sparse, cliff": (0.3676, 0.3390, 0.4203),
    "dirt, cliff": (0.2672, 0.2167, 0.3529),
    "center, dirt": (0.7071, 0.6982, 0.7419),
    "center, penalty": (0.6614, 0.6635, 0.6387),
    "penalty, dirt": (0.9871, 0.9845, 0.9916),
    "center, cliff": (0.6692, 0.6576, 0.7094),
    "penalty, cliff": (0.9300, 0.9408, 0.9074),
}


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def test_all_pairs_to_four_decimals(frame):
    found = table(frame).set_index("pair")
    assert set(found.index) == set(DISTANCES)
    for pair, expected in DISTANCES.items():
        row = found.loc[pair]
        assert [float(row[measure]) for measure in ("EPIC", "DARD", "STARC-VAL / 2")] == pytest.approx(
            expected, abs=1e-9
        )


def test_the_published_number_is_met(frame):
    verdict = verdicts(frame)["dirt-cliff"]
    assert verdict.outcome == "supported"
    assert round(verdict.value, 2) == 0.27


def test_another_number_refutes_the_claim(frame):
    moved = frame.copy()
    moved.loc[(moved.measure == "EPIC") & (moved.other != moved.reward), "value"] += 0.01
    outcomes = {claim: verdict.outcome for claim, verdict in verdicts(moved).items()}
    assert outcomes == {"dirt-cliff": "refuted", "dense-is-sparse": "refuted", "distance-has-a-cost": "supported"}
