"""The theory of compounding errors: the published table, closed forms, quadrature by other means, and simulation."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from rewardlab.process.aggregation import AGGREGATIONS, aggregate_steps
from rewardlab.process.error_compounding import (
    CHAIN_RULES,
    ChainScores,
    StepDetector,
    aggregation_error,
    chain_scores,
    longest_chain_ahead,
    pass_rate,
)

LENGTHS = (2, 5, 10, 20, 40)
# simulated by separate code: area under the curve, and accuracy of best-of-8 with 40% right chains
AUC = {
    "min": (0.971, 0.948, 0.920, 0.887, 0.850),
    "product": (0.967, 0.927, 0.875, 0.808, 0.743),
    "mean": (0.955, 0.874, 0.791, 0.714, 0.658),
    "last": (0.74, 0.595, 0.553, 0.522, 0.515),
    "outcome": (0.983,) * 5,
}
AUC_HALF_CORRECTED = (0.737, 0.723, 0.711, 0.695, 0.669)
BEST_OF_8 = {
    "min": (0.959, 0.928, 0.893, 0.845, 0.797),
    "product": (0.956, 0.918, 0.857, 0.778, 0.696),
    "mean": (0.953, 0.893, 0.791, 0.687, 0.602),
    "outcome": (0.97,) * 5,
}
BEST_OF_8_HALF_CORRECTED = (0.830, 0.795, 0.752, 0.714, 0.658)
BEST_OF_8_BETTER = {2.0: (0.981, 0.975, 0.966, 0.958, 0.936), 3.0: (0.983,) * 5}

step_rules = st.sampled_from([rule for rule in CHAIN_RULES if rule != "outcome"])
detectors = st.builds(StepDetector, st.floats(0.2, 4), st.floats(0.3, 3))
lengths = st.integers(1, 60)


def simulated(rule, steps, detector, chains, rng, self_corrected=0.0):
    """Scores of right and of wrong chains, drawn from the model as its description reads."""
    right = np.ones((chains, steps), dtype=bool)
    wrong = right.copy()
    wrong[np.arange(chains), rng.integers(steps, size=chains)] = False
    if self_corrected:
        which = np.flatnonzero(rng.random(chains) < self_corrected)
        right[which, rng.integers(steps - 1, size=len(which))] = False
    found = []
    for labels, whole in ((right, True), (wrong, False)):
        if rule == "outcome":
            labels = np.full((chains, 1), whole)
        logits = np.where(labels, detector.signal, -detector.signal) + rng.normal(0, detector.noise, labels.shape)
        found.append(aggregate_steps(special.expit(logits), "last" if rule == "outcome" else rule))
    return found


def area(right, wrong):
    return stats.mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong))


@pytest.mark.parametrize("rule", AUC)
def test_areas_of_the_table(rule):
    found = [chain_scores(rule, steps).auc for steps in LENGTHS]
    np.testing.assert_allclose(found, AUC[rule], atol=0.006)  # what simulation left open


def test_areas_with_half_of_the_right_chains_self_corrected():
    found = [chain_scores("min", steps, self_corrected=0.5).auc for steps in LENGTHS]
    np.testing.assert_allclose(found, AUC_HALF_CORRECTED, atol=0.008)


@pytest.mark.parametrize("rule", BEST_OF_8)
def test_best_of_8_of_the_table(rule):
    found = [chain_scores(rule, steps).best_of_n_accuracy(8, 0.4) for steps in LENGTHS]
    np.testing.assert_allclose(found, BEST_OF_8[rule], atol=0.008)


def test_best_of_8_with_self_correction_and_with_better_detectors():
    half = [chain_scores("min", steps, self_corrected=0.5).best_of_n_accuracy(8, 0.4) for steps in LENGTHS]
    np.testing.assert_allclose(half, BEST_OF_8_HALF_CORRECTED, atol=0.009)
    for signal, expected in BEST_OF_8_BETTER.items():
        found = [chain_scores("min", steps, StepDetector(signal)).best_of_n_accuracy(8, 0.4) for steps in LENGTHS]
        np.testing.assert_allclose(found, expected, atol=0.004)


@pytest.mark.parametrize("steps", [2, 7, 30])
@pytest.mark.parametrize("rule", CHAIN_RULES)
def test_simulation_agrees(rule, steps):
    detector, chains, seed = StepDetector(1.2, 0.8), 40_000, steps
    for share in (0.0, 0.4):
        right, wrong = simulated(rule, steps, detector, chains, np.random.default_rng(seed), share)
        found = chain_scores(rule, steps, detector, self_corrected=share)
        assert found.auc == pytest.approx(area(right, wrong), abs=4 * 0.6 / math.sqrt(chains))
        pool = np.where(np.random.default_rng(1).random(chains) < 0.3, right, wrong).reshape(-1, 4)
        is_right = (np.random.default_rng(1).random(chains) < 0.3).reshape(-1, 4)
        picked = is_right[np.arange(len(pool)), pool.argmax(axis=1)]
        error = math.sqrt(picked.var() / len(picked))
        assert found.best_of_n_accuracy(4, 0.3) == pytest.approx(picked.mean(), abs=4 * error)


@pytest.mark.parametrize("rule", ["product", "mean", "min", "max", "last", "sum_log_odds"])
def test_the_whole_distribution_is_that_of_simulated_scores(rule):
    of = {"product": "log_product", "mean": "mean"}.get(rule, rule)
    right, wrong = simulated(of, 6, StepDetector(), 20_000, np.random.default_rng(0))
    if rule == "mean":
        right, wrong = 6 * right, 6 * wrong  # a sum in the theory
    if rule in ("min", "max", "last"):
        right, wrong = special.logit(right), special.logit(wrong)
    found = chain_scores(rule, 6)
    for scores, cumulative in ((right, found.right), (wrong, found.wrong)):
        nearest = stats.kstest(scores, lambda x, c=cumulative: np.interp(x, found.points, c))
        assert nearest.pvalue > 1e-4


def test_two_steps_by_a_double_integral():
    def right_product_is_above(threshold):  # P(sigmoid(a) sigmoid(b) > threshold), right steps, by quadrature over a
        def part(a):
            rest = threshold / special.expit(a)
            chance = special.ndtr(1.5 - special.logit(rest)) if rest < 1 else 0.0
            return stats.norm.pdf(a, 1.5) * chance

        return integrate.quad(part, -8, 11, limit=400, epsabs=1e-10)[0]

    found = chain_scores("product", 2)
    for threshold in (0.05, 0.3, 0.7, 0.9):
        assert 1 - np.interp(math.log(threshold), found.points, found.right) == pytest.approx(
            right_product_is_above(threshold), abs=2e-6
        )


def test_sum_of_log_odds_has_a_closed_form():
    for steps in LENGTHS:
        expected = special.ndtr(2 * 1.5 / math.sqrt(2 * steps))
        assert chain_scores("sum_log_odds", steps).auc == pytest.approx(expected, abs=1e-7)


@given(step_rules, lengths, detectors)
def test_areas_are_between_one_half_and_the_step_detectors(rule, steps, detector):
    auc = chain_scores(rule, steps, detector).auc
    assert 0.5 - 1e-4 <= auc <= detector.auc + 1e-4
    if steps == 1:
        assert auc == pytest.approx(detector.auc, abs=1e-6)
        assert detector.auc == pytest.approx(special.ndtr(math.sqrt(2) * detector.signal / detector.noise))


@given(step_rules, st.integers(2, 60), st.integers(1, 60), detectors, st.floats(0, 0.9), st.floats(0, 0.1))
def test_longer_and_more_self_corrected_chains_are_harder(rule, steps, more, detector, share, more_share):
    auc = chain_scores(rule, steps, detector, self_corrected=share).auc
    assert chain_scores(rule, steps + more, detector, self_corrected=share).auc <= auc + 1e-4
    harder = chain_scores(rule, steps, detector, self_corrected=share + more_share).auc
    if rule == "last":  # the wrong step it sees is never one that is repaired
        assert harder == pytest.approx(auc, abs=1e-9)
    else:
        assert harder <= auc + 1e-9
    outcome = chain_scores("outcome", steps, detector, self_corrected=share)
    assert outcome.auc == pytest.approx(detector.auc, abs=1e-6)


@given(step_rules, lengths, detectors, st.floats(0.5, 8))
def test_only_signal_over_noise_counts_where_the_rule_is_linear(rule, steps, detector, factor):
    if rule in ("product", "log_product", "geometric_mean", "mean"):  # not so: a sigmoid saturates
        return
    scaled = StepDetector(detector.signal * factor, detector.noise * factor)
    one, other = chain_scores(rule, steps, detector), chain_scores(rule, steps, scaled)
    assert one.auc == pytest.approx(other.auc, abs=1e-7)


@given(step_rules, lengths, detectors)
def test_distributions_are_distributions(rule, steps, detector):
    found = chain_scores(rule, steps, detector)
    assert (np.diff(found.points) > 0).all()
    for cumulative in (found.right, found.wrong):
        assert cumulative[0] >= 0
        assert cumulative[-1] == pytest.approx(1, abs=1e-9)
        assert (np.diff(cumulative) >= -1e-12).all()
    assert (found.right <= found.wrong + 1e-9).all()  # right chains score higher everywhere


@given(step_rules, lengths, st.integers(1, 20), st.floats(0, 1))
def test_best_of_n_is_between_a_draw_and_all_that_there_is(rule, steps, candidates, share):
    found = chain_scores(rule, steps).best_of_n_accuracy(candidates, share)
    assert share - 1e-6 <= found <= 1 - (1 - share) ** candidates + 1e-6
    one = chain_scores(rule, steps).best_of_n_accuracy(1, share)
    assert one == pytest.approx(share, abs=1e-9)


def test_best_of_2_is_the_area_in_disguise():
    found = chain_scores("min", 7)  # of two chains, both right, or one right and it wins
    for share in (0.2, 0.5):
        assert found.best_of_n_accuracy(2, share) == pytest.approx(
            share**2 + 2 * share * (1 - share) * found.auc, abs=1e-6
        )


def test_increasing_maps_of_the_rule_rank_alike():
    for names in (("product", "log_product", "geometric_mean"), ("mean_logit", "sum_log_odds")):
        assert len({chain_scores(rule, 9).auc for rule in names}) == 1
    assert set(CHAIN_RULES) - {"outcome"} == set(AGGREGATIONS) - {"mean_odds"}


def test_ties_count_one_half():
    ties = ChainScores(np.array([0.0, 1.0]), np.array([0.5, 1.0]), np.array([0.5, 1.0]))
    assert ties.auc == 0.5
    assert ties.best_of_n_accuracy(5, 0.3) == pytest.approx(0.3)
    sure = ChainScores(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert sure.auc == 1
    assert sure.best_of_n_accuracy(5, 0.3) == pytest.approx(1 - 0.7**5)


def test_a_long_chain_of_a_good_detector():
    """Where the grid is coarsest: 4000 steps, and steps that score nearly 1."""
    assert chain_scores("product", 4000, StepDetector(6.0)).auc == pytest.approx(
        area(*simulated("log_product", 4000, StepDetector(6.0), 2000, np.random.default_rng(0))), abs=0.01
    )


def test_errors_of_aggregates_worked():
    lengths = (1, 4, 16, 64)
    assert [aggregation_error("log_product", n, 0.1).spread for n in lengths] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert [aggregation_error("mean", n, 0.1).spread for n in lengths] == pytest.approx([0.1, 0.05, 0.025, 0.0125])
    assert [round(aggregation_error("min", n, 0.1).bias, 3) for n in lengths] == [0, -0.103, -0.177, -0.234]
    assert aggregation_error("last", 64, 0.1) == (0, 0.1)
    assert aggregation_error("min", 2, 1.0) == pytest.approx((-1 / math.sqrt(math.pi), math.sqrt(1 - 1 / math.pi)))


@pytest.mark.parametrize("rule", ["min", "max", "log_product", "mean", "last"])
def test_errors_of_aggregates_are_those_of_simulated_ones(rule):
    errors = np.random.default_rng(0).normal(0, 0.03, (20_000, 9))
    if rule == "log_product":
        found = aggregate_steps(np.exp(errors - 0.5), rule) + 9 * 0.5
    else:
        found = aggregate_steps(errors + 0.5, rule) - 0.5
    bias, spread = aggregation_error(rule, 9, 0.03)
    assert bias == pytest.approx(found.mean(), abs=4 * spread / math.sqrt(len(found)))
    assert spread == pytest.approx(found.std(), rel=0.03)


@pytest.mark.parametrize("steps", [3, 64, 3000, 10**6])
def test_the_lowest_of_many_by_adaptive_quadrature(steps):
    def part(z):  # the chance that the highest is above z, and that it is below -z
        return -np.expm1(steps * special.log_ndtr(z)) - special.ndtr(-z) ** steps

    mean = integrate.quad(part, 0, 12, epsabs=1e-12, limit=400)[0]
    assert aggregation_error("min", steps, 1.0).bias == pytest.approx(-mean, abs=1e-9)


@given(st.integers(1, 3000))
@settings(max_examples=50)
def test_the_lowest_of_more_is_lower(steps):
    few, many = aggregation_error("min", steps, 1.0), aggregation_error("min", steps + 1, 1.0)
    assert many.bias < few.bias
    assert many.spread < few.spread
    high = aggregation_error("max", steps, 1.0)
    assert (high.bias, high.spread) == (-few.bias, few.spread)
    assert -few.bias <= math.sqrt(2 * math.log(steps)) + 1e-12


def test_pass_rates_of_the_table():
    assert [round(pass_rate(0.02, n), 3) for n in (5, 10, 20, 40)] == [0.904, 0.817, 0.668, 0.446]
    assert [round(pass_rate(0.05, n), 3) for n in (5, 10, 20, 40)] == [0.774, 0.599, 0.358, 0.129]
    assert [pass_rate(0.0, 5), pass_rate(1.0, 5), pass_rate(1.0, 0)] == [1, 0, 1]


@given(st.floats(0.01, 0.99), st.integers(1, 40))
def test_pass_rate_is_that_of_the_lowest_score(threshold, steps):
    """A right chain passes a threshold at every step just where its `min` does."""
    found = chain_scores("min", steps)
    miss_rate = float(special.ndtr(special.logit(threshold) - 1.5))
    passed = 1 - np.interp(special.logit(threshold), found.points, found.right)
    assert pass_rate(miss_rate, steps) == pytest.approx(passed, abs=1e-6)


def test_where_a_better_detector_is_overtaken():
    def best_of_8(scores):
        return scores.best_of_n_accuracy(8, 0.4)

    crossing = longest_chain_ahead("min", StepDetector(2.0), measure=best_of_8)
    assert 5 <= crossing < 10  # as simulated
    aim = chain_scores("outcome", 1).best_of_n_accuracy(8, 0.4)
    assert best_of_8(chain_scores("min", crossing, StepDetector(2.0))) >= aim
    assert best_of_8(chain_scores("min", crossing + 1, StepDetector(2.0))) < aim
    assert longest_chain_ahead("min", StepDetector(3.0), measure=best_of_8) is None
    assert longest_chain_ahead("min", StepDetector(3.0), measure=best_of_8, most=4096) == 3605  # late, not never
    assert longest_chain_ahead("min", StepDetector(1.5)) == 1  # the same on one step
    assert longest_chain_ahead("min", StepDetector(1.4)) == 0
    assert longest_chain_ahead("min", StepDetector(3.0), self_corrected=0.5) == 0
    weak = longest_chain_ahead("min", StepDetector(1.0), StepDetector(0.5))
    assert weak > 1  # against an outcome score that is worse than a step's
    assert longest_chain_ahead("min", StepDetector(2.0, 2.0), StepDetector(1.0, 2.0)) == weak


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        (lambda: chain_scores("mean_odds", 3), ValueError, "rule is 'mean_odds', expected one of 'min', 'max', 'prod"),
        (lambda: chain_scores("min", 0), ValueError, "steps is 0, expected a whole number in [1, inf)"),
        (lambda: chain_scores("min", 2.5), TypeError, "steps is 2.5, expected a whole number"),
        (lambda: chain_scores("min", 2, self_corrected=1.5), ValueError, "self_corrected is 1.5, expected a number in"),
        (lambda: chain_scores("min", 1, self_corrected=0.5), ValueError, "a chain of 1 step has no later one that cou"),
        (lambda: StepDetector(0.0), ValueError, "signal is 0.0, expected a number in (0, inf)"),
        (lambda: StepDetector(1.0, np.nan), ValueError, "noise is nan, expected a number in (0, inf)"),
        (lambda: StepDetector("strong"), TypeError, "signal: expected a number, got str"),
        (lambda: chain_scores("min", 2).best_of_n_accuracy(0, 0.5), ValueError, "candidates is 0, expected a whole"),
        (lambda: chain_scores("min", 2).best_of_n_accuracy(2, 1.5), ValueError, "share_right is 1.5, expected a numb"),
        (lambda: aggregation_error("product", 2, 0.1), ValueError, "rule is 'product', expected one of 'min', 'max'"),
        (lambda: aggregation_error("min", 0, 0.1), ValueError, "steps is 0, expected a whole number in [1, inf)"),
        (lambda: aggregation_error("min", 2, -0.1), ValueError, "noise is -0.1, expected a number in [0, inf)"),
        (lambda: pass_rate(1.1, 2), ValueError, "miss_rate is 1.1, expected a number in [0, 1]"),
        (lambda: pass_rate(0.1, -2), ValueError, "steps is -2, expected a whole number in [0, inf)"),
        (lambda: longest_chain_ahead("min", StepDetector(), most=1), ValueError, "most is 1, expected a whole numbe"),
    ],
)
def test_bad_input(case, error, message, without_type_checks):
    with pytest.raises(error, match=re.escape(message)):
        case()
