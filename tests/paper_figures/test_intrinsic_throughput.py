"""Verdicts and tables of frames whose numbers are known."""

import pandas as pd
import pytest

from paper_figures.intrinsic_throughput import CLAIMS, table, verdicts

STEPS = {"nle": 20.0, "game": 14.0, "vector": 20.0, "intrinsic": 24.0}
LOOPS = {"none": 250.0, "retrieval": 260.0, "classification": 280.0, "ranking": 290.0}


def frame(rounds=6, wobble=1e-3, **changed):
    """`changed` are microseconds of variants, of either part."""
    rows = []
    for part, times in (("step", STEPS), ("learning", LOOPS)):
        for variant, microseconds in times.items():
            value = changed.get(variant, microseconds)
            rows += [
                {"part": part, "variant": variant, "round": round_, "microseconds": value * (1 + wobble * round_)}
                for round_ in range(rounds)
            ]
    return pd.DataFrame(rows)


def test_numbers_of_the_verdicts():
    found = verdicts(frame())
    assert found.keys() == {claim.id for claim in CLAIMS}
    assert found["five-percent"].value == pytest.approx((14 + 24 - 20) / 20)
    assert found["eighty-percent"].value == pytest.approx(250 / 290)
    assert [verdict.outcome for verdict in found.values()] == ["supported", "supported"]


@pytest.mark.parametrize(
    ("claim", "changed", "outcome"),
    [
        ("five-percent", {"intrinsic": 26.9}, "supported"),
        ("five-percent", {"intrinsic": 27.1}, "refuted"),
        ("five-percent", {"game": 18.0}, "refuted"),
        ("eighty-percent", {"classification": 312.0}, "supported"),
        ("eighty-percent", {"classification": 313.0}, "refuted"),
        ("eighty-percent", {"retrieval": 400.0}, "refuted"),
    ],
)
def test_thresholds(claim, changed, outcome):
    assert verdicts(frame(**changed))[claim].outcome == outcome


def test_a_few_rounds_decide_nothing():
    assert {verdict.outcome for verdict in verdicts(frame(rounds=4)).values()} == {"undecided"}


def test_an_interval_across_the_threshold_decides_nothing():
    rows = frame(wobble=0.0)
    late = (rows.variant == "intrinsic") & (rows["round"] >= 3)
    rows.loc[late, "microseconds"] = 30.0  # ratios of 0.9 and 1.2
    assert verdicts(rows)["five-percent"].outcome == "undecided"


def test_the_table_compares():
    rows = table(frame()).set_index("what")
    assert rows.loc["our game", "as a share of NLE's"] == pytest.approx(0.7)
    assert rows.loc["PPO, ranking", "share kept"] == pytest.approx(250 / 290)
    assert rows.loc["PPO, no intrinsic reward", "steps per second"] == pytest.approx(1e6 / (250 * 1.0025))
