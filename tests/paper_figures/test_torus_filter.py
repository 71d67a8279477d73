import numpy as np
import pandas as pd
import pytest

from paper_figures.torus_filter import CLAIMS, verdicts
from paper_figures.torus_filter_panels import CEILING
from paper_figures.torus_filter_study import (
    CELLS,
    COUNTS,
    INTENDED,
    MOVES,
    OFFSETS,
    PROPOSED,
    World,
    as_world,
    hits,
    law_of,
    limit_law,
    planned,
    true_law,
)


@pytest.fixture(scope="module")
def world():
    return World.sample(np.random.default_rng(0))


def test_the_known_numbers(world):
    assert abs(CEILING - 0.3352) < 5e-5
    assert (~world.seen).mean() == pytest.approx(7 / 12, abs=0.01)
    apart = np.abs(true_law() - 1 / PROPOSED).sum(-1) / 2
    np.testing.assert_allclose(apart, 0.86)
    np.testing.assert_allclose(true_law().sum(-1), 1)


def test_the_shared_table_ranks_the_intended_move_first_and_the_other_knows_nothing(world):
    unseen = ~world.seen
    assert (world.shared.argmax(-1) == INTENDED).all()
    assert set(np.unique(world.separate[unseen]).round(6)) <= {0.0, round(np.log(2), 6)}
    assert world.shared.max() <= 5


def test_one_step_in_the_plain_model_has_the_proposals_law(world):
    pairs = np.array([[0, 1], [9, 2]])
    found = law_of(world, None, pairs, 4000, 0)
    np.testing.assert_allclose(found, world.proposal[tuple(pairs.T)], atol=0.035)


def test_the_filter_tends_to_its_limit(world):
    pairs = np.argwhere(~world.seen)[:2]
    limit = limit_law(world.proposal, world.shared, 0.5)[tuple(pairs.T)]
    apart = [
        np.abs(law_of(world, world.shared, pairs, 3000, 0, count=count, temperature=0.5) - limit).sum(-1).mean() / 2
        for count in (1, 10, 300)
    ]
    assert apart[0] > 2 * apart[1] > 4 * apart[2] and apart[2] < 0.06
    by_hand = world.proposal[8, 0] * np.exp(world.shared[8, 0] / 0.5)
    np.testing.assert_allclose(limit_law(world.proposal, world.shared, 0.5)[8, 0], by_hand / by_hand.sum())


def test_hits_of_the_truth():
    pairs = np.array([[3, 0], [5, 1], [6, 3]])
    assert hits(true_law()[pairs[:, 1]], pairs) == pytest.approx(0.9)


def test_the_torus_wraps_round():
    torus = as_world(np.broadcast_to(true_law(), (144, 4, PROPOSED)))
    for state in (0, 11, 143, 77):
        for action in range(4):
            row, column = (CELLS[state] + MOVES[action]) % 12
            assert torus.transition[state, action, row * 12 + column] == pytest.approx(0.9)
    assert torus.transition[0, 0].nonzero()[0].tolist() == [1, 11, 12, 132]
    assert (OFFSETS[INTENDED] == MOVES).all()


def test_planning_in_the_truth_loses_and_promises_nothing():
    truth = np.broadcast_to(true_law(), (144, 4, PROPOSED))
    found = planned({"true": truth, "ignorant": np.full_like(truth, 1 / PROPOSED)}, np.array([7, 90]))
    assert found["true"] == pytest.approx((0, 0), abs=1e-9)
    assert found["ignorant"][0] == pytest.approx(1)  # all actions are alike in it, and it acts at random


def frame(softmax=0.33, control=0.04, argmax=None, limit=0.08, plain_lost=0.9, lost=0.05):
    rows = []
    argmax = CEILING if argmax is None else argmax
    for seed in range(4):
        off = 0.001 * (seed - 1.5)
        values = {
            ("hit", "plain"): 0.04, ("hit", "softmax"): softmax, ("hit", "argmax"): argmax,
            ("hit", "control softmax"): control, ("hit", "control argmax"): control,
            ("variation", "plain"): 0.86, ("variation", "softmax"): 0.57, ("variation", "limit"): limit,
            ("variation", "counted"): 0.01, ("plan", "plain"): plain_lost, ("plan", "softmax"): lost,
            ("plan", "control limit"): 0.9, ("plan", "counted"): 0.01, ("promise", "softmax"): -0.7,
        }  # fmt: skip
        rows += [{"seed": seed, "part": p, "name": n, "x": np.nan, "value": v + off} for (p, n), v in values.items()]
        for count in COUNTS:
            ideal = 1 - (1 - 1 / PROPOSED) ** count + argmax - CEILING
            rows += [
                {"seed": seed, "part": "count", "name": name, "x": count, "value": ideal + off}
                for name in ("softmax", "argmax")
            ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("claim", "changed", "outcome"),
    [
        ("filter-generalises", {}, "supported"),
        ("filter-generalises", {"softmax": 0.28}, "undecided"),
        ("filter-generalises", {"softmax": 0.04}, "refuted"),
        ("control-gains-nothing", {}, "supported"),
        ("control-gains-nothing", {"control": 0.0505}, "undecided"),
        ("control-gains-nothing", {"control": 0.2}, "refuted"),
        ("success-of-candidates", {}, "supported"),
        ("success-of-candidates", {"argmax": CEILING - 0.03}, "undecided"),
        ("success-of-candidates", {"argmax": CEILING + 0.06}, "refuted"),
        ("limit-law", {}, "supported"),
        ("limit-law", {"limit": 0.2}, "undecided"),
        ("limit-law", {"limit": 0.5}, "refuted"),
        ("planning", {}, "supported"),
        ("planning", {"lost": 0.85}, "undecided"),
        ("planning", {"lost": 0.95}, "refuted"),
    ],
)
def test_verdicts_follow_the_thresholds(claim, changed, outcome):
    found = verdicts(frame(**changed))
    assert found[claim].outcome == outcome
    assert list(found) == [each.id for each in CLAIMS]
