"""The figure on real scores: the numbers computed by separate code, and verdicts that can turn round."""

import numpy as np
import pytest

from environments.data import DataError
from paper_figures.figure import Scale
from paper_figures.rewardmath_goodhart import CLAIMS, REFERENCE, REFERENCE_DRAWS, compute, plot, table, verdicts
from paper_figures.rewardmath_scores import GROUPS, STEPS_ONLY


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def changed(frame, quantity, scorer, **values):
    """The frame with other values for one quantity of one scorer."""
    frame = frame.copy()
    rows = (frame.quantity == quantity) & (frame.scorer == scorer)
    assert rows.any()
    for column, value in values.items():
        frame.loc[rows, column] = value
    return frame


def test_the_reference_is_met_to_its_last_digit(frame):
    found = frame[frame.quantity == "best of n"].pivot(index="scorer", columns="at", values="value")
    for scorer, values in REFERENCE.items():
        assert found.loc[scorer, list(REFERENCE_DRAWS)].round(2).tolist() == list(values)


def test_all_scorers_are_there(frame):
    scorers = frame[frame.quantity == "best of n"].groupby("group").scorer.nunique()
    assert [scorers[group] for group in GROUPS] == [9, 9, 4]
    assert set(table(frame).scorer) == set(frame[frame.quantity == "best of n"].scorer)


def test_one_draw_is_chance_whatever_the_scorer(frame):
    one = frame[(frame.quantity == "best of n") & (frame["at"] == 1)]
    np.testing.assert_allclose(one[["value", "low", "high"]], 10, rtol=1e-12)


def test_rank_correlations_are_those_of_the_shown_values(frame):
    models = frame[frame.group == GROUPS[0]]
    columns = {
        "RewardBench's pairs": ("RewardBench", 0),
        "RewardMATH's pairs": ("against k", 1),
        "all": ("against k", 9),
    }
    shown = {
        label: models[(models.quantity == quantity) & (models["at"] == at)].set_index("scorer").value
        for label, (quantity, at) in columns.items()
    }
    found = frame[frame.quantity == "Spearman"].set_index("scorer").value
    for label in ("RewardBench's pairs", "RewardMATH's pairs"):
        assert found[label] == pytest.approx(shown[label].corr(shown["all"], method="spearman"))
    assert round(found["RewardBench's pairs"], 3) == 0.402
    assert found["difference"] == pytest.approx(found["RewardMATH's pairs"] - found["RewardBench's pairs"])


def test_intervals_hold_the_value_and_are_of_the_right_width(frame):
    shares = frame[frame.quantity.isin(["best of n", "against k", "RewardBench", "pairs, ties half"])]
    assert (shares.low <= shares.value + 1e-9).all()
    assert (shares.value <= shares.high + 1e-9).all()
    against_nine = shares[(shares.quantity == "against k") & (shares["at"] == 9) & (shares.group == GROUPS[0])]
    normal = 2 * 1.96 * np.sqrt(against_nine.value * (100 - against_nine.value) / 483)  # 0 or 1 a problem
    np.testing.assert_allclose(against_nine.high - against_nine.low, normal, rtol=0.3)


def test_the_same_seed_gives_the_same_frame(frame):
    assert compute(Scale("smoke"), 0).equals(frame)
    assert not compute(Scale("smoke"), 1).equals(frame)


def test_one_verdict_a_claim_and_a_picture(frame):
    assert set(verdicts(frame)) == {claim.id for claim in CLAIMS}
    assert len(plot(frame).subfigs) == 2


@pytest.mark.parametrize(
    ("claim", "quantity", "scorer", "values", "outcome"),
    [
        ("worse-with-every-draw", "RewardBench", "GRM-Gemma-2B", {"value": 89.9}, "refuted"),
        ("worse-with-every-draw", "change", "GRM-Gemma-2B", {"high": 0.1}, "undecided"),
        ("pairs-decide-the-sign", "pairs, ties half", "Prometheus-7B", {"value": 49.0}, "supported"),
        ("pairs-decide-the-sign", "pairs, ties half", "ArmoRM", {"value": 40.0, "low": 35.0, "high": 45.0}, "refuted"),
        ("pairs-elsewhere-say-little", "Spearman", "difference", {"value": -0.1, "low": -0.3}, "refuted"),
        ("pairs-elsewhere-say-little", "Spearman", "difference", {"low": -0.1}, "undecided"),
        ("first-in-pairs-falls", "place of RewardBench's first", "Skywork-8B", {"value": 1}, "refuted"),
        ("first-in-pairs-falls", "place of RewardBench's first", "Skywork-8B", {"value": 3}, "undecided"),
        ("first-in-pairs-falls", "RewardBench's first is first", "Skywork-8B", {"value": 0.03}, "undecided"),
        ("steps-alone", "RewardBench", STEPS_ONLY, {"value": 59.0}, "refuted"),
        ("steps-alone", "RewardBench", STEPS_ONLY, {"value": 65.0}, "undecided"),
        ("steps-alone", "against all, ties drawn", STEPS_ONLY, {"value": 16.0}, "refuted"),
    ],
)
def test_other_numbers_turn_the_verdict(frame, claim, quantity, scorer, values, outcome):
    assert verdicts(frame)[claim].outcome != outcome
    assert verdicts(changed(frame, quantity, scorer, **values))[claim].outcome == outcome


def test_without_data_the_figure_says_which_file_it_needs(monkeypatch, tmp_path):
    monkeypatch.delenv("REWARDLAB_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr("environments.data.registry.HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"rewardmath/RewardMATH/internlm2_reward.json \(0.48 MB\) is not in"):
        compute(Scale("smoke"), 0)
