"""Verdicts on the time penalty from curves whose beginnings and ends are known, and a picture of them."""

import numpy as np
import pandas as pd
import pytest

from paper_figures.time_penalty import CLAIMS, ends, plot, table, verdicts

OPPOSITE = {"return": (-2.5, -0.6), "success": (0.1, 0.0), "frozen_share": (0.5, 0.1), "places": (60.0, 30.0)}
STILL = {"return": (0.1, 0.1), "success": (0.1, 0.1), "frozen_share": (0.5, 0.5), "places": (60.0, 60.0)}


def curves(with_penalty, without=STILL, seeds=3, noise=1e-3):
    """Straight curves of 15 rows, through the numbers given at the second and the last; later seeds a little off."""
    rows = []
    for penalty, what in ((-0.01, with_penalty), (0.0, without)):
        for seed in range(seeds):
            of_seed = what[seed] if isinstance(what, list) else what
            for place in range(15):
                row = {name: first + (last - first) * (place - 1) / 13 for name, (first, last) in of_seed.items()}
                row = {name: value + noise * seed * (place - 1) for name, value in row.items()}
                rows.append({"penalty": penalty, "seed": seed, "step": 10_240 * (place + 1)} | row)
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # the order of rows says nothing


def outcomes(frame):
    found = verdicts(frame)
    assert set(found) == {claim.id for claim in CLAIMS}
    return [found[claim.id].outcome for claim in CLAIMS]


def test_ends_are_the_second_row_and_the_last():
    begun, ended = ends(curves(OPPOSITE, noise=0))
    for name, (first, last) in OPPOSITE.items():
        assert begun.loc[-0.01, name].to_numpy() == pytest.approx(first)
        assert ended.loc[-0.01, name].to_numpy() == pytest.approx(last)


def test_opposite_trends_support_everything():
    frame = curves(OPPOSITE)
    assert outcomes(frame) == ["supported"] * 4
    found = verdicts(frame)["return-up-success-down"]
    assert found.value == pytest.approx(-0.1 + 0.013, abs=1e-9) and "on 3 of 3 seeds" in found.statistic


def test_rising_success_refutes():
    learning = {"return": (-2.5, 0.4), "success": (0.1, 0.6), "frozen_share": (0.5, 0.7), "places": (30.0, 60.0)}
    assert outcomes(curves(learning)) == ["refuted"] * 4


@pytest.mark.parametrize(
    ("opposite", "expected"), [(3, "supported"), (2, "supported"), (1, "undecided"), (0, "undecided")]
)
def test_two_of_three_seeds_decide(opposite, expected):
    flat = OPPOSITE | {"success": (0.05, 0.05)}
    frame = curves([OPPOSITE] * opposite + [flat] * (3 - opposite), noise=0)
    assert verdicts(frame)["return-up-success-down"].outcome == expected


def test_one_seed_that_learns_does_not_refute():
    learning = OPPOSITE | {"success": (0.0, 0.5)}
    assert verdicts(curves([OPPOSITE, OPPOSITE, learning]))["return-up-success-down"].outcome == "supported"
    assert verdicts(curves([OPPOSITE, learning, learning], noise=0))["return-up-success-down"].outcome == "refuted"


def test_frozen_steps_must_fall_further_than_without_the_penalty():
    falling_too = STILL | {"frozen_share": (0.5, 0.1)}
    found = verdicts(curves(OPPOSITE, falling_too, noise=0))["frozen-steps-avoided"]
    assert found.outcome == "refuted" and found.value == pytest.approx(-0.4)


def test_two_seeds_decide_nothing():
    assert outcomes(curves(OPPOSITE, seeds=2)) == ["undecided"] * 4


def test_table_and_picture():
    frame = curves(OPPOSITE)
    shown = table(frame)
    assert list(shown.run[:3]) == ["seed 0", "seed 1", "seed 2"] and shown.run.str.startswith("earlier").sum() == 4
    assert shown["success, end"].iloc[0] == pytest.approx(0.0) and shown["return, beginning"].iloc[6] == -2.6
    panels = plot(frame).axes
    assert [axes.get_ylabel().split()[0] for axes in panels] == ["return", "share", "share", "distinct"]
    assert all(np.isfinite(line.get_ydata()).all() for axes in panels for line in axes.get_lines())
    two_rows = frame[frame.step < 30_000]  # a smoke run
    assert set(verdicts(two_rows)) == set(verdicts(frame)) and plot(two_rows) is not None
