"""Choices among candidates that are known, and verdicts of frames whose numbers are known."""

import pandas as pd
import pytest
import torch

from paper_figures.refrigerator_filter import CLAIMS, verdicts
from paper_figures.refrigerator_filter_panels import FILTERS
from paper_figures.refrigerator_filter_study import REGIONS, Questions, _judge


def questions(shift):
    """Three points with the true answer 0; candidates off by 1, 2 and -3, all by `shift` more; the mean by 0.5."""
    candidates = torch.tensor([1.0, 2.0, -3.0]).expand(3, 3)[..., None] + shift
    nothing = torch.zeros(3, 1)
    return Questions(nothing, nothing, torch.zeros(3), candidates, torch.full((3,), 0.5))


def test_errors_of_every_choice():
    def perfect(observations, actions, following):
        return -following[..., 0].abs()

    def perverse(observations, actions, following):
        return following[..., 0].abs()

    asked = dict(zip(REGIONS, (questions(0.0), questions(0.5), questions(0.5)), strict=True))
    rows = pd.DataFrame(_judge(asked, {"perfect": perfect, "perverse": perverse}))
    found = {(row.part, row.variant, row.region): row.value for row in rows.itertuples()}
    assert [found["error", name, "in"] for name in ("random", "mean", "best")] == [2, 0.5, 1]
    assert found["error", "perfect", "in"] == 1 and found["error", "perverse", "in"] == 3
    assert found["error", "perfect", "ood_a"] == found["error", "best", "ood_a"] == 1.5
    assert found["correlation", "perfect", "in"] == pytest.approx(-1)
    assert found["correlation", "perverse", "in"] == pytest.approx(1)
    assert found["alarm", "perfect", "ood_sa"] == 1  # -1 in the data, -1.5 out of them
    assert found["alarm", "perverse", "ood_sa"] == 1  # 3 in the data, 2.5 out of them


def test_rewards_that_know_nothing_are_no_alarm():
    asked = {region: questions(0.0) for region in REGIONS}
    rows = pd.DataFrame(_judge(asked, {"even": lambda o, a, n: torch.arange(3.0).expand(3, 3)}))
    assert rows[rows.part == "alarm"].value.tolist() == [0.5, 0.5]


def frame(seeds=4, **changed):
    """Errors as in the earlier calculation's order of size; `changed` sets one variant's in all regions."""
    errors = {"random": 0.06, "mean": 0.005, "best": 0.009, **dict.fromkeys(FILTERS, 0.015), "fast": 0.07}
    correlations = {"ahead": -0.4, "ahead rescaled": -0.6}
    alarms = {"ahead": 0.5, "ahead rescaled": 0.6, "ladder": 0.97}
    for name, value in changed.items():
        kind, _, variant = name.partition("_")
        {"error": errors, "correlation": correlations, "alarm": alarms}[kind][variant.replace("_", " ")] = value
    rows = []
    for seed in range(seeds):
        off = 1e-5 * (seed - 1.5)
        for part, values, regions in (
            ("error", errors, REGIONS),
            ("correlation", correlations, ("in",)),
            ("alarm", alarms, ("ood_sa",)),
        ):
            rows += [
                {"seed": seed, "part": part, "ensemble": ensemble, "variant": name, "region": region}
                | {"value": value + off * (1 + place)}
                for place, (name, value) in enumerate(values.items())
                for region in regions
                for ensemble in ("short", "long")
            ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("claim", "changed", "outcome"),
    [
        ("helps-when-ahead", {}, "supported"),
        ("helps-when-ahead", {"error_ahead": 0.04}, "undecided"),
        ("helps-when-ahead", {"error_ahead": 0.07}, "refuted"),
        ("fails-when-behind", {}, "supported"),
        ("fails-when-behind", {"error_fast": 0.02}, "refuted"),
        ("mean-beats-filters", {}, "supported"),
        ("mean-beats-filters", {"error_ladder": 0.003}, "refuted"),
        ("mean-beats-filters", {"error_ladder": 0.005}, "undecided"),
        ("near-best-of-ten", {}, "supported"),
        ("near-best-of-ten", {"error_ahead": 0.03}, "refuted"),
        ("rescale-helps", {}, "supported"),
        ("rescale-helps", {"correlation_ahead_rescaled": -0.43}, "undecided"),
        ("rescale-helps", {"correlation_ahead_rescaled": -0.2}, "refuted"),
        ("no-alarm", {}, "supported"),
        ("no-alarm", {"alarm_ladder": 0.85}, "undecided"),
        ("no-alarm", {"alarm_ladder": 0.7}, "refuted"),
        ("no-alarm", {"alarm_ahead": 0.95}, "refuted"),
    ],
)
def test_verdicts_follow_the_thresholds(claim, changed, outcome):
    found = verdicts(frame(**changed))
    assert found[claim].outcome == outcome
    assert list(found) == [each.id for each in CLAIMS]


def test_two_seeds_decide_nothing():
    assert {found.outcome for found in verdicts(frame(seeds=2)).values()} == {"undecided"}
