"""Verdicts on ensembles follow the curves they are given: each claim is refuted by curves that contradict it."""

import numpy as np
import pandas as pd
import pytest

from paper_figures.ensemble_errors import AGGREGATES, CLAIMS, EARLIER, LOOKS, PANELS, plot, table, verdicts
from paper_figures.ensemble_study import CASES, METHODS, SEEDS_OF, TRAINED
from rewardlab.audit import gaussian_best_of_n

N = [2**power for power in range(13)]
CLIMBING = np.linspace(0, 3, len(N))
FALLING = np.minimum(CLIMBING, 3.3 - CLIMBING) * 1.2
LEVEL = {"single": 0.0, "finetune mean": 0.1, "finetune min": 0.1}


def made_up(case, method):
    """A curve as the claims have it."""
    if case == "normal" and method in SEEDS_OF:
        return gaussian_best_of_n(N, noise_variance=CASES["normal"].variance_of_mean(SEEDS_OF[method]))
    falls = case in ("shared", TRAINED) or method in (*LEVEL, "pretrain mean")
    return (FALLING if falls and case != "normal" else CLIMBING) + LEVEL.get(method, 0.4)


@pytest.fixture
def frame():
    rng, rows = np.random.default_rng(0), []
    for seed in range(6):
        for case in PANELS:
            for method in METHODS:
                gold = made_up(case, method) + 0.01 * rng.normal(size=len(N))
                rows.append(pd.DataFrame({"seed": seed, "case": case, "method": method, "n": N, "gold": gold}))
    return pd.concat(rows, ignore_index=True).assign(win_rate=0.5)


def outcomes(frame):
    return {claim: verdict.outcome for claim, verdict in verdicts(frame).items()}


def replaced(frame, case, method, curve):
    """The frame with another curve, or with that of another method, in one place."""
    place = (frame.case == case) & (frame.method == method)
    other = (frame.case == case) & (frame.method == curve) if isinstance(curve, str) else None
    new = np.tile(curve, 6) if other is None else frame.gold[other].to_numpy()
    return frame.assign(gold=frame.gold.mask(place, pd.Series(new, index=frame.index[place]).reindex(frame.index)))


def test_curves_as_claimed_support_every_claim(frame):
    assert outcomes(frame) == dict.fromkeys((claim.id for claim in CLAIMS), "supported")


@pytest.mark.parametrize(
    ("case", "method", "curve", "refuted"),
    [
        ("heavy", "pretrain min", "pretrain mean", {"conservative-survive"}),
        ("heavy", "pretrain UWO", "pretrain mean", {"conservative-survive"}),
        ("heavy", "pretrain mean", CLIMBING + 1, {"conservative-survive"}),
        ("shared", "pretrain median", CLIMBING, {"shared-flaws-defeat-all"}),
        ("shared", "pretrain mean", FALLING, {"pretrain-beats-finetune"}),
        ("heavy", "single", "pretrain mean", {"pretrain-beats-finetune"}),
        ("heavy", "finetune min", CLIMBING, {"finetune-min-overoptimises"}),
        ("normal", "pretrain mean", CLIMBING, {"normal-noise-is-harmless", "pretrain-beats-finetune"}),
        (TRAINED, "single", "pretrain mean", {"trained-order", "trained-mitigate-not-eliminate"}),
        (TRAINED, "pretrain min", CLIMBING, {"trained-mitigate-not-eliminate"}),
    ],
)
def test_curves_that_say_otherwise_refute(frame, case, method, curve, refuted):
    found = outcomes(replaced(frame, case, method, curve))
    assert {claim for claim, outcome in found.items() if outcome == "refuted"} == refuted


def test_every_method_and_case_is_drawn_and_tabled(frame):
    figure = plot(frame)
    assert len(figure.axes) == 2 * len(PANELS)  # each with the distance above
    assert set(LOOKS) == set(METHODS) and set(AGGREGATES) < set(METHODS)
    rows = table(frame).set_index(["errors", "score"])
    assert set(rows.index) == {(case, method) for case in PANELS for method in METHODS}
    assert set(EARLIER) < set(rows.index)
    assert rows.loc[("normal", "pretrain mean"), "gold, n = 64"] == pytest.approx(2.187, abs=0.02)
