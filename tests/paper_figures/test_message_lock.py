"""Verdicts of frames whose numbers are known."""

import numpy as np
import pandas as pd
import pytest

from paper_figures.message_lock import CLAIMS, table, verdicts
from paper_figures.message_lock_study import ROWS

SUCCESS = {row.name: 0.9 if np.isnan(row.success) else row.success for row in ROWS}
FIRST = {row.name: 300.0 if np.isnan(row.first) else row.first for row in ROWS}


def frame(seeds=8, success=(), first=()):
    """As in the earlier calculation, with some rows changed; every seed alike."""
    success, first = SUCCESS | dict(success), FIRST | dict(first)
    rows = [
        {"row": name, "measure": measure, "seed": seed, "episode": 0, "value": value[name]}
        for name in SUCCESS
        for measure, value in (("success", success), ("first", first))
        for seed in range(seeds)
    ]
    return pd.DataFrame([*rows, {"row": "curve", "measure": "curve", "seed": 0, "episode": 780, "value": 0.0}])


def outcome(claim, **changed):
    return verdicts(frame(**changed))[claim].outcome


def test_earlier_numbers_support_every_claim():
    found = verdicts(frame())
    assert list(found) == [claim.id for claim in CLAIMS]
    assert {verdict.outcome for verdict in found.values()} == {"supported"}


def test_few_seeds_decide_nothing():
    assert {verdict.outcome for verdict in verdicts(frame(seeds=5)).values()} == {"undecided"}


@pytest.mark.parametrize(
    ("claim", "changed", "expected"),
    [
        ("messages-open-it", {"success": {"reward at the end only": 0.5}}, "refuted"),
        ("messages-open-it", {"success": {"reward at the end only": 0.2}}, "undecided"),
        (
            "discount-carries-noise",
            {"success": {"90% right, exponent 0": 1.0, "80% right, exponent 0": 1.0}},
            "refuted",
        ),
        ("how-wrong-is-too-wrong", {"success": {"annotator 60% right": 0.95}}, "refuted"),
        ("how-wrong-is-too-wrong", {"success": {"annotator 80% right": 0.7}}, "undecided"),
        ("newest-first", {"first": {"1 label an episode, newest first": 250.0}}, "refuted"),
        ("newest-first", {"first": {"1 label an episode, newest first": 207.0}}, "undecided"),
        ("late-labels-delay", {"first": {"labels 400 episodes late": np.inf}}, "undecided"),
        ("late-labels-delay", {"first": {"labels 100 episodes late": np.inf}}, "refuted"),
        ("memory-is-needed", {"success": {"room alone, exponent 3": 1.0}}, "refuted"),
        ("memory-is-needed", {"success": {"room alone, exponent 3": 0.4}}, "undecided"),
        ("product-before-counts", {"success": {"first visit, b = 1": 0.6}}, "refuted"),
        ("product-before-counts", {"first": {"product of both, b = 1": 600.0}}, "undecided"),
        ("gate-helps-novelty", {"success": {"RND, rate .001, b = 1": 0.95}}, "refuted"),
        ("gate-helps-novelty", {"success": {"RND, rate .001, b = 1": 0.75}}, "undecided"),
    ],
)
def test_what_decides_each_claim(claim, changed, expected):
    assert outcome(claim, **changed) == expected


def test_table_has_both_numbers_and_says_never():
    found = table(frame()).set_index("reward")
    assert len(found) == len(ROWS)
    assert found.loc["annotator 90% right", ["success", "first window, earlier"]].tolist() == [1.0, "61"]
    assert found.loc["no bonus", "first window"] == "never"
