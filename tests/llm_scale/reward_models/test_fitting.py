import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from llm_scale.reward_models import fitting
from llm_scale.reward_models.fitting import bootstrap_counts, calibrated, fit_bradley_terry, fit_process_head
from llm_scale.reward_models.heads import RewardHead
from llm_scale.reward_models.logistic import fit_logistic

seeds = st.integers(0, 2**32 - 1)


def pairs(seed=0, count=120, width=6, noise=1.0):
    """Features of the chosen and the rejected, preferred by a linear reward with logistic noise."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, count, width)) * rng.uniform(0.1, 10, size=width) + rng.normal(size=width)
    wins = rng.random(count) < expit((first - second) @ rng.normal(size=width) / noise)
    chosen, rejected = np.where(wins[:, None], first, second), np.where(wins[:, None], second, first)
    return torch.tensor(chosen), torch.tensor(rejected)


def plainly_standardised(*parts):
    together = np.concatenate(parts)
    return [(np.asarray(part) - together.mean(0)) / together.std(0) for part in parts]


def optimum(loss, width):
    """Scipy's minimum of a smooth convex loss."""
    found = minimize(loss, np.zeros(width), method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    return found.x


def cross_entropy(logits, targets, counts):
    return (counts * (np.logaddexp(0, logits) - targets * logits)).sum() / counts.sum()


@pytest.mark.parametrize("options", [{}, {"smoothing": 0.1}, {"margins": True}, {"weights": True}])
def test_bradley_terry_is_the_optimum_that_scipy_finds(options):
    chosen, rejected = pairs()
    magnitudes = np.random.default_rng(1).integers(1, 4, size=len(chosen)).astype(float)
    margins = magnitudes if options.get("margins") else np.zeros(len(chosen))
    weights = magnitudes if options.get("weights") else np.ones(len(chosen))
    given = {name: torch.tensor(magnitudes) if value is True else value for name, value in options.items()}
    head = fit_bradley_terry(chosen, rejected, l2=0.05, **given)
    winners, losers = plainly_standardised(chosen, rejected)
    gaps = winners - losers
    target = 1 - options.get("smoothing", 0.0)
    best = optimum(lambda w: cross_entropy(gaps @ w - margins, target, weights) + 0.025 * w @ w, 6)
    np.testing.assert_allclose(head.weight[0], best, atol=1e-6)


def test_weights_are_relative():
    one, two = torch.ones(1, 1, dtype=torch.float64), torch.full((1,), 2.0)
    alone, counted_twice = (fit_bradley_terry(one, -one, weights=weights, l2=0.1) for weights in (None, two))
    assert torch.equal(alone.weight, counted_twice.weight)  # a lone pair has nothing to outweigh


@pytest.mark.parametrize(
    ("wins", "magnitudes", "margin", "best"),
    [
        (0.8, (1, 1), 0, 1.386294),
        (0.8, (2, 1), 0, 2.079442),
        (0.8, (2, 2), 0, 1.386294),
        (0.8, (1, 1), 1, 2.153962),
        (0.8, (1, 1), 2, 3.106655),
        (0.8, (1, 1), 3, 4.099712),
    ],
)
def test_optimum_of_a_pair_judged_many_times(wins, magnitudes, margin, best):
    one, other = torch.ones(1, 1, dtype=torch.float64), -torch.ones(1, 1, dtype=torch.float64)
    often = round(wins * 10)
    chosen, rejected = (torch.cat([a] * often + [b] * (10 - often)) for a, b in ((one, other), (other, one)))
    weights = torch.tensor([magnitudes[0]] * often + [magnitudes[1]] * (10 - often))
    head = fit_bradley_terry(chosen, rejected, l2=1e-9, weights=weights, margins=torch.full((10,), float(margin)))
    assert float(head.score(one)[0, 0] - head.score(other)[0, 0]) == pytest.approx(best, abs=1e-6)


def test_smoothing_bounds_the_optimum():
    one = torch.ones(1, 1, dtype=torch.float64)
    head = fit_bradley_terry(one, -one, l2=1e-9, smoothing=0.1)
    assert float(head.score(one)[0, 0] - head.score(-one)[0, 0]) == pytest.approx(2.197225, abs=1e-6)


def test_process_head_is_the_optimum_that_scipy_finds():
    rng = np.random.default_rng(2)
    features, labels = rng.normal(3.0, 2.0, size=(150, 5)), rng.beta(0.5, 0.5, size=150)
    head = fit_process_head(torch.tensor(features), torch.tensor(labels), l2=0.02)
    (rows,) = plainly_standardised(features)
    design = np.column_stack([rows, np.ones(150)])
    best = optimum(lambda w: cross_entropy(design @ w, labels, np.ones(150)) + 0.01 * w @ w, 6)
    np.testing.assert_allclose(np.append(head.weight[0], head.bias[0]), best, atol=1e-6)
    np.testing.assert_allclose(head.score(torch.tensor(features))[0], expit(design @ best), atol=1e-6)


def test_more_features_than_rows_have_the_same_optimum():
    chosen, rejected = pairs(count=15, width=40)
    head = fit_bradley_terry(chosen, rejected, l2=0.1)
    winners, losers = plainly_standardised(chosen, rejected)
    best = optimum(lambda w: cross_entropy((winners - losers) @ w, 1.0, np.ones(15)) + 0.05 * w @ w, 40)
    np.testing.assert_allclose(head.weight[0], best, atol=1e-6)


@given(seeds, st.sampled_from([1e-6, 1e-3, 1.0]), st.sampled_from([1.0, 1e3]))
@settings(deadline=None)
def test_slope_at_the_fit_is_zero(seed, l2, noise):
    chosen, rejected = pairs(seed, count=30, width=4, noise=noise)
    head = fit_bradley_terry(chosen, rejected, l2=l2)
    gaps = ((chosen - rejected) / head.scale).numpy()
    slope = gaps.T @ (expit(gaps @ head.weight[0].numpy()) - 1) / 30 + l2 * head.weight[0].numpy()
    np.testing.assert_allclose(slope, 0, atol=1e-8)


def test_all_labels_alike_are_no_trouble():
    features = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    score = fit_process_head(features, torch.ones(20), l2=1e-3).score(features)
    assert bool((score > 0.9).all()) and bool(score.isfinite().all())


def test_soft_labels_are_the_mean_of_hard_ones():
    features = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = torch.arange(12, dtype=torch.float64) / 11
    soft = fit_process_head(features, shares)
    hard = torch.tensor([1.0] * 12 + [0.0] * 12, dtype=torch.float64)
    twice = fit_process_head(torch.cat([features] * 2), hard, weights=torch.cat([shares, 1 - shares]))
    torch.testing.assert_close(soft.weight, twice.weight, atol=1e-9, rtol=0)
    torch.testing.assert_close(soft.bias, twice.bias, atol=1e-9, rtol=0)


@pytest.mark.parametrize("kind", ["bradley_terry", "process"])
def test_members_fitted_together_are_those_fitted_one_by_one(kind):
    chosen, rejected = pairs()
    labels = (chosen[:, 0] > chosen[:, 0].mean()).double()

    def fit(**options):
        return (
            fit_bradley_terry(chosen, rejected, **options)
            if kind == "bradley_terry"
            else fit_process_head(chosen, labels, **options)
        )

    together = fit(members=3, seed=5)
    for member, counts in enumerate(bootstrap_counts(len(chosen), 3, seed=5)):
        alone = fit(weights=torch.tensor(counts))
        torch.testing.assert_close(together.member(member).weight, alone.weight, atol=1e-10, rtol=0)
        torch.testing.assert_close(together.score(chosen)[member], alone.score(chosen)[0], atol=1e-9, rtol=0)
    assert not torch.equal(together.weight[0], together.weight[1])


def test_a_bootstrap_is_the_fit_to_the_drawn_pairs():
    chosen, rejected = pairs(count=40)
    counts = bootstrap_counts(40, 1, seed=3)[0]
    drawn = np.repeat(np.arange(40), counts.astype(int))
    one = fit_bradley_terry(chosen, rejected, seed=3, bootstrap=True)
    gaps = ((chosen - rejected)[drawn] / one.scale).numpy()
    best = optimum(lambda w: cross_entropy(gaps @ w, 1.0, np.ones(40)) + 0.005 * w @ w, 6)
    np.testing.assert_allclose(one.weight[0], best, atol=1e-6)


@given(seeds, st.integers(1, 50), st.integers(1, 4))
@settings(deadline=None)
def test_bootstraps_are_reproducible_and_independent_of_the_others(seed, rows, members):
    counts = bootstrap_counts(rows, members, seed)
    assert counts.shape == (members, rows) and (counts.sum(1) == rows).all() and (counts >= 0).all()
    np.testing.assert_array_equal(counts, bootstrap_counts(rows, members + 2, seed)[:members])


def test_one_member_sees_all_pairs_and_several_see_samples():
    chosen, rejected = pairs()
    assert torch.equal(
        fit_bradley_terry(chosen, rejected).weight,
        fit_bradley_terry(chosen, rejected, members=1, bootstrap=False).weight,
    )
    same = fit_bradley_terry(chosen, rejected, members=2, bootstrap=False).weight
    assert torch.equal(same[0], same[1])
    again = [fit_bradley_terry(chosen, rejected, members=2, seed=seed).weight for seed in (1, 1, 2)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])


@given(seeds, st.floats(0.01, 100), st.floats(-100, 100))
@settings(deadline=None)
def test_scale_and_offset_of_a_feature_change_no_score(seed, scale, offset):
    chosen, rejected = pairs(seed, count=25, width=3)
    change = lambda features: features * torch.tensor([scale, 1, 1]) + torch.tensor([offset, 0, 0])  # noqa: E731
    one = fit_bradley_terry(chosen, rejected).score(chosen)
    other = fit_bradley_terry(change(chosen), change(rejected)).score(change(chosen))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("hidden", [0, 8])
def test_scores_of_the_training_responses_have_mean_zero(hidden):
    chosen, rejected = pairs()
    head = fit_bradley_terry(chosen, rejected, members=3, hidden=hidden, steps=20)
    torch.testing.assert_close(
        head.score(torch.cat([chosen, rejected])).mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("constant", [0.1, 0.3, 1e8 / 3, -7e5 / 9])
def test_a_constant_feature_is_harmless(constant):
    chosen, rejected = pairs(count=37, width=3)
    widened = [
        torch.cat([part, torch.full((len(part), 1), constant, dtype=part.dtype)], 1) for part in (chosen, rejected)
    ]
    head = fit_bradley_terry(*widened)
    torch.testing.assert_close(head.score(widened[0]), fit_bradley_terry(chosen, rejected).score(chosen))
    assert float(head.scale[3]) == 1  # not the rounding of its mean
    assert float(head.weight[0, 3]) == pytest.approx(0, abs=1e-9)


def exclusive(count=300):
    """The one or the other, not both: no linear head can tell."""
    rows = torch.rand(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    return rows, (rows[:, 0] * rows[:, 1] < 0).double()


def test_a_hidden_layer_learns_what_a_linear_head_cannot():
    rows, labels = exclusive()
    right = lambda head: float(((head.score(rows)[0] > 0.5) == (labels > 0.5)).double().mean())  # noqa: E731
    linear, deep = (
        fit_process_head(rows, labels, l2=1e-4),
        fit_process_head(rows, labels, l2=1e-4, hidden=16, learning_rate=0.03),
    )
    assert right(linear) < 0.65 and right(deep) > 0.95
    chosen, rejected = rows[labels > 0.5][:100], rows[labels < 0.5][:100]
    deep = fit_bradley_terry(chosen, rejected, hidden=16, l2=1e-4, learning_rate=0.03)
    assert float((deep.score(chosen) > deep.score(rejected)).double().mean()) > 0.95


def test_hidden_members_trained_together_are_those_trained_one_by_one(monkeypatch):
    chosen, rejected = pairs()
    options = {"hidden": 8, "steps": 30, "seed": 4}
    together = fit_bradley_terry(chosen, rejected, members=3, **options)
    counts, first = bootstrap_counts(len(chosen), 3, 4), fitting._first_weights(3, 6, 8, 4)
    for member in range(3):
        monkeypatch.setattr(fitting, "_first_weights", lambda *_, m=member: tuple(part[m : m + 1] for part in first))
        alone = fit_bradley_terry(chosen, rejected, weights=torch.tensor(counts[member]), **options)
        torch.testing.assert_close(together.score(chosen)[member], alone.score(chosen)[0], atol=1e-4, rtol=1e-4)


def test_calibration_finds_the_temperature_of_the_preferences():
    chosen, rejected = pairs(count=4000, width=2, noise=3.0)
    head = fit_bradley_terry(chosen[:2000], rejected[:2000], members=2)
    hot = RewardHead(head.centre, head.scale, head.weight * torch.tensor([[5.0], [0.2]]), head.bias)
    held_out = chosen[2000:], rejected[2000:]
    mended, other = calibrated(hot, *held_out), calibrated(head, *held_out)
    torch.testing.assert_close(mended.score(chosen), other.score(chosen), atol=1e-6, rtol=1e-6)
    gaps = (mended.score(held_out[0]) - mended.score(held_out[1])).numpy()
    for gap in gaps:
        around = [np.logaddexp(0, -gap * factor).mean() for factor in (0.99, 1.0, 1.01)]
        assert around[1] < min(around[0], around[2])


def test_a_head_is_right_as_often_as_it_claims():
    chosen, rejected = pairs(seed=1, count=20_000, width=3)
    head = fit_bradley_terry(chosen, rejected, l2=1e-6)
    odds = (head.score(chosen) - head.score(rejected))[0].numpy()
    assert expit(np.abs(odds)).mean() == pytest.approx((odds > 0).mean(), abs=0.01)


NAN = torch.tensor([[1.0], [float("nan")]])
GOOD = torch.tensor([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_bradley_terry(NAN, GOOD), r"features_chosen\[1\] holds a number that is not finite"),
        (lambda: fit_bradley_terry(GOOD, NAN), r"features_rejected\[1\] holds a number that is not finite"),
        (lambda: fit_bradley_terry(GOOD, GOOD[:1]), r"\(2, 1\), features_rejected \(1, 1\)"),
        (lambda: fit_bradley_terry(GOOD[:0], GOOD[:0]), r"features_chosen has shape \(0, 1\).*at least one row"),
        (lambda: fit_bradley_terry(GOOD[0], GOOD[0]), r"features_chosen has shape \(1,\)"),
        (lambda: fit_bradley_terry(GOOD, GOOD, l2=0.0), r"l2 is 0.0, expected a number in \(0"),
        (lambda: fit_bradley_terry(GOOD, GOOD, smoothing=0.5), r"smoothing is 0.5, expected a number in \[0, 0.5\)"),
        (lambda: fit_bradley_terry(GOOD, GOOD, members=0), r"members is 0"),
        (lambda: fit_bradley_terry(GOOD, GOOD, weights=torch.tensor([1.0, -1.0])), r"weights\[1\] is below 0"),
        (lambda: fit_bradley_terry(GOOD, GOOD, weights=torch.zeros(2)), "without a row that counts"),
        (lambda: fit_bradley_terry(GOOD, GOOD, margins=torch.zeros(3)), r"margins has shape \(3,\), expected \(2,\)"),
        (
            lambda: fit_process_head(GOOD, torch.tensor([0.5, 1.5])),
            r"labels\[1\] is 1.5, expected a number in \[0, 1\]",
        ),
        (lambda: fit_process_head(GOOD, torch.tensor([0.5, float("nan")])), r"labels\[1\] is not finite"),
        (lambda: calibrated(fit_process_head(GOOD, torch.ones(2)), GOOD, GOOD), "link 'probability'"),
        (lambda: calibrated(fit_bradley_terry(GOOD, -GOOD), -GOOD, GOOD), "member 0 is no better than chance"),
    ],
)
def test_bad_input_says_what_and_where(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_few_newton_steps_do_and_too_few_say_so():
    chosen, rejected = pairs()
    design, ones = (chosen - rejected) / (chosen - rejected).std(0), torch.ones(1, len(chosen), dtype=torch.float64)
    fit_logistic(design, ones[0], ones, l2=1e-3, steps=12)
    with pytest.raises(ArithmeticError, match=r"member 0 has not converged after 2 Newton steps \(decrement"):
        fit_logistic(design, ones[0], ones, l2=1e-3, steps=2)
