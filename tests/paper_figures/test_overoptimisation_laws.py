"""Verdicts on the law: curves that obey it support every claim, and curves that leave it refute them."""

import numpy as np
import pandas as pd
import pytest

from paper_figures.ensemble_study import CASES, METHODS, best_of_n_distance
from paper_figures.overoptimisation_laws import CLAIMS, EARLIER, plot, table, verdicts
from rewardlab.audit import OveroptimisationLaw

N = np.array([2**power for power in range(13)])
DISTANCE = best_of_n_distance(N)
BETA = {"single": 0.6, "pretrain mean": 0.4}


def made_up(bent=0.0, beta=BETA, odd=("shared", "single")):
    """Curves of the law with a beta for each method, one of them with gold lost beyond n = 64."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(6):
        for case in CASES:
            for method in METHODS:
                gold = OveroptimisationLaw("best_of_n", 1.5, beta.get(method, 0.0)).predict(DISTANCE)
                gold = gold - bent * (N > 64) * ((case, method) == odd) + 0.005 * rng.normal(size=len(N))
                rows.append(pd.DataFrame({"seed": seed, "case": case, "method": method, "n": N, "gold": gold}))
    return pd.concat(rows, ignore_index=True)


def outcomes(frame):
    return {claim: verdict.outcome for claim, verdict in verdicts(frame).items()}


def test_curves_that_obey_the_law_support_every_claim():
    assert outcomes(made_up()) == dict.fromkeys((claim.id for claim in CLAIMS), "supported")


def test_a_collapse_that_small_n_do_not_show_refutes_fit_and_prediction():
    found = verdicts(made_up(bent=2.0))
    assert [found[claim].outcome for claim in ("law-predicts", "law-fits")] == ["refuted", "refuted"]
    assert found["law-predicts"].value == pytest.approx(2.0, abs=0.1)
    assert "shared errors, single" in found["law-fits"].sentence


@pytest.mark.parametrize("beta", [BETA | {"pretrain mean": 0.1}, BETA | {"pretrain UWO": 0.2}])
def test_a_beta_on_the_wrong_side_refutes(beta):
    assert outcomes(made_up(beta=beta))["beta-measures"] == "refuted"


def test_every_curve_is_drawn_and_tabled():
    frame = made_up()
    assert len(plot(frame).axes) == len(CASES) + 1
    rows = table(frame).set_index(["errors", "score"])
    assert set(EARLIER) < set(rows.index) and len(rows) == len(CASES) * len(METHODS)
    assert rows.loc[("heavy", "single"), "beta"] == pytest.approx(0.6, abs=0.02)
    assert rows.loc[("heavy", "single"), "alpha"] == pytest.approx(1.5, abs=0.02)
    assert (rows["R²"] > 0.95).all()
