"""Figures on finite response sets: shared parts against definitions, worlds as described, verdicts that can turn."""

import numpy as np
import pandas as pd
import pytest

from paper_figures import group_standardisation, transform_conjunction, transform_hacking, transform_underfitting
from paper_figures.figure import Scale
from paper_figures.response_set_study import (
    at_equal_kl,
    by_seed,
    draw_sets,
    gap,
    judge,
    mean_interval,
    smallest,
    uniform_base,
)
from rewardlab.exact import kl_divergence, tilt

FIGURES = (group_standardisation, transform_conjunction, transform_hacking, transform_underfitting)


def test_a_seed_does_not_depend_on_how_many_there_are():
    few, many = (draw_sets(lambda rng: (rng.normal(size=(2, 3)),), 0, seeds)[0] for seeds in (2, 4))
    np.testing.assert_array_equal(few, many[:2])
    assert len(np.unique(many)) == many.size


def test_rows_hold_the_measures_of_the_matched_tilt_and_nothing_out_of_reach():
    utility = np.random.default_rng(0).normal(size=(3, 5, 8))
    frame = at_equal_kl({"a": utility}, (0.5, 3.0), lambda match: {"kl_found": match.kl, "one": np.ones(3)})
    np.testing.assert_allclose(frame[frame.kl == 0.5].kl_found, 0.5)
    for row in frame[frame.kl == 0.5].itertuples():
        policy = tilt(uniform_base(8), utility[row.seed], row.temperature)
        assert kl_divergence(policy, uniform_base(8)).mean() == pytest.approx(0.5)
    assert not frame[frame.kl == 3.0].reachable.any()  # the limit is log 8
    assert frame[frame.kl == 3.0].one.isna().all()


def frame_of(gaps):
    """Two methods at one KL, five seeds: the second at 0, the first ahead by `gaps`."""
    rows = [{"method": "a", "kl": 1.0, "seed": i, "value": gain} for i, gain in enumerate(gaps)]
    return pd.DataFrame(rows + [{"method": "b", "kl": 1.0, "seed": i, "value": 0.0} for i in range(len(gaps))])


@pytest.mark.parametrize(
    ("gaps", "outcome"),
    [((1, 2, 1, 2, 1), "supported"), ((-1, -2, -1, -2, -1), "refuted"), ((1, -1, 1, -1, 0.5), "undecided")],
)
def test_gaps_decide(gaps, outcome):
    found = gap(frame_of(gaps), "value", "a", "b", [1.0])
    assert found[0, 0] == pytest.approx(np.mean(gaps))
    assert min(gaps) <= found[1, 0] <= found[0, 0] <= found[2, 0] <= max(gaps)
    assert judge(found) == outcome
    assert judge(found, least=10) != "supported"


def test_smallest_gap_and_intervals_without_width():
    gaps = mean_interval(np.array([[1.0, 0.5], [1.0, 0.7], [1.0, 0.6]]))
    value, (low, high) = smallest(gaps)
    assert value == pytest.approx(0.6)
    assert 0.5 <= low < value < high <= 0.7
    np.testing.assert_array_equal(gaps[:, 0], 1)


def test_the_world_of_hacks_is_as_described():
    gold, proxy, hack = transform_hacking._draw(np.random.default_rng(0), 400)
    assert hack.mean() == pytest.approx(0.01, abs=0.001)
    np.testing.assert_array_equal(gold[hack], -3)
    assert proxy[hack].mean() == pytest.approx(6, abs=0.1)
    assert gold[~hack].std() == pytest.approx(2, abs=0.02)
    assert (proxy - gold)[~hack].std() == pytest.approx(0.5, abs=0.01)


def test_half_the_prompts_are_good_already():
    gold, proxy, hack = group_standardisation._draw(np.random.default_rng(0), 101)
    margins = np.where(hack, np.nan, gold)
    np.testing.assert_allclose(np.nanmean(margins[:51]), -2, atol=0.1)
    np.testing.assert_allclose(np.nanmean(margins[51:]), 4, atol=0.1)
    assert (gold[hack] == -3).all()
    assert proxy[51:][hack[51:]].mean() == pytest.approx(7, abs=0.2)


def test_pressure_of_the_log_sigmoid_falls_as_its_slope_does_until_it_is_standardised():
    noise = np.random.default_rng(0).normal(size=(1, 2000, 16))
    by_margin = group_standardisation._pressure(noise).set_index(["method", "margin"]).pressure
    quiet, loud = by_margin[group_standardisation.MEAN], by_margin[group_standardisation.STANDARD]
    assert quiet[6.0] / quiet[5.0] == pytest.approx(np.exp(-1), rel=0.05)  # the slope is sigmoid(-z)
    assert loud[6.0] / loud[5.0] > 0.9
    raw = by_margin[group_standardisation.RAW_MEAN]
    assert np.ptp(raw) < 1e-9
    assert raw[0.0] == pytest.approx(np.sqrt(2 / np.pi) * np.sqrt(15 / 16), rel=0.02)


@pytest.fixture(scope="module", params=FIGURES, ids=lambda module: module.__name__.split(".")[-1])
def run(request):
    return request.param, request.param.compute(Scale("smoke"), 0)


def test_the_same_seed_gives_the_same_table(run):
    module, frame = run
    pd.testing.assert_frame_equal(module.compute(Scale("smoke"), 0), frame, check_exact=True)


def test_every_claim_has_its_verdict_and_every_method_its_rows(run):
    module, frame = run
    assert set(module.verdicts(frame)) == {claim.id for claim in module.CLAIMS}
    assert set(frame.method) == set(module.LOOKS)
    assert len(module.table(frame)) > 0


def test_verdicts_turn_when_methods_swap_their_names():
    """With raw rewards and log-sigmoids exchanged, what was supported is refuted."""
    for module, first, second, claim in (
        (transform_underfitting, "RAW", "LOG_SIGMOID", "log-sigmoid-more-even"),
        (transform_hacking, "RAW", "LOG_SIGMOID", "log-sigmoid-hacking"),
        (transform_conjunction, "RAW", "LOG_SIGMOIDS", "transform-then-add"),
        (group_standardisation, "MEAN", "STANDARD", "pressure-returns"),
    ):
        frame = module.compute(Scale("smoke"), 0)
        names = {getattr(module, first): getattr(module, second), getattr(module, second): getattr(module, first)}
        assert module.verdicts(frame)[claim].outcome == "supported"
        swapped = frame.assign(method=frame.method.replace(names))
        assert module.verdicts(swapped)[claim].outcome == "refuted"


def test_numbers_are_those_of_the_earlier_calculation():
    """Loosely at this scale: 3 seeds of 50 prompts."""
    frame = transform_underfitting.compute(Scale("smoke"), 0)
    for kl, cells in transform_underfitting.EXPECTED.items():
        for method, numbers in cells.items():
            found = by_seed(frame, method, "win_mean")[kl].mean()
            assert found == pytest.approx(numbers[0], abs=0.02)
    frame = transform_conjunction.compute(Scale("smoke"), 0)
    for correlation in transform_conjunction.CORRELATIONS:
        part = frame[frame.correlation == correlation]
        for (method, kl), number in transform_conjunction._expected(correlation, 0).items():
            assert by_seed(part, method, "both")[kl].mean() == pytest.approx(number, abs=0.03)
