import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rewardlab.dynamics.calibration import calibrate, calibration_factors, coverage, standardised_errors
from rewardlab.dynamics.ensemble_fit import EnsembleSettings, fit_ensemble, model_targets
from tests.dynamics.linear_tables import linear_table

SMALL = EnsembleSettings(members=3, elites=2, hidden=(8,), batch_size=16, max_epochs=3)


def gaussian(seed, scale, rows=4000):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, rows, 2, generator=generator, dtype=torch.float64) * torch.tensor(scale, dtype=torch.float64)


@settings(max_examples=100)
@given(st.integers(0, 2**16), st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_factor_is_the_scale_of_gaussian_errors(seed, one, other):
    factors = calibration_factors(gaussian(seed, [one, other]))
    np.testing.assert_allclose(factors, [one, other], rtol=0.05)  # 1 / sqrt(24,000) is 0.0065


@settings(max_examples=100)
@given(st.integers(0, 2**16), st.floats(0.01, 100))
def test_after_the_factor_the_mean_square_is_one_and_the_next_factor_too(seed, scale):
    errors = gaussian(seed, [scale, 1.0], rows=20) ** 3  # far from Gaussian
    scaled = errors / calibration_factors(errors)
    np.testing.assert_allclose(scaled.square().mean(dim=(0, 1)), 1, rtol=1e-9)
    np.testing.assert_allclose(calibration_factors(scaled), 1, rtol=1e-9)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_coverage_of_gaussian_errors(level, scale):
    found = coverage(gaussian(0, [scale, 1.0]), level)
    expected = 2 * stats.norm.cdf(stats.norm.ppf((1 + level) / 2) / scale) - 1
    np.testing.assert_allclose(found, [expected, level], atol=0.015)


def test_coverage_in_numbers():
    errors = torch.tensor([[[0.0], [0.7], [-0.6], [1.7]]])  # 0.6745 and 1.6449 are the half widths
    assert float(coverage(errors, 0.5)) == 0.5 and float(coverage(errors, 0.9)) == 0.75


def test_outputs_without_errors_keep_their_deviations():
    errors = torch.tensor([[[0.0, 2.0], [0.0, -2.0]]])
    assert calibration_factors(errors).tolist() == [1.0, 2.0]


def test_errors_of_the_elites_written_out():
    table = linear_table(60)
    ensemble, report = fit_ensemble(table, SMALL, seed=0)
    ensemble.calibration.copy_(torch.tensor([2.0, 1.0, 0.5]))
    errors = standardised_errors(ensemble, table, report.holdout_rows)
    rows = table.rows(report.holdout_rows)
    mean, log_variance = ensemble(torch.from_numpy(rows["observations"]), torch.from_numpy(rows["actions"]))
    targets = torch.from_numpy(model_targets(rows["observations"], rows["next_observations"], rows["rewards"]))
    for place, member in enumerate(report.elites):
        expected = (targets - mean[member]) / log_variance[member].exp().sqrt()
        torch.testing.assert_close(errors[place], expected)


def test_a_calibration_makes_the_held_out_errors_as_large_as_they_should_be():
    table = linear_table(200, noise=0.2)
    ensemble, fitted = fit_ensemble(table, SMALL, seed=0)
    calibrated, report = calibrate(ensemble, table, fitted.holdout_rows)
    errors = standardised_errors(calibrated, table, fitted.holdout_rows)
    np.testing.assert_allclose(errors.square().mean(dim=(0, 1)), 1, rtol=1e-4)
    np.testing.assert_allclose(calibrated.calibration, report.factors)
    before = standardised_errors(ensemble, table, fitted.holdout_rows)
    for level, ours, theirs in zip(report.levels, report.before, report.after, strict=True):
        np.testing.assert_allclose(ours, coverage(before, level))
        np.testing.assert_allclose(theirs, coverage(errors, level))
    assert report.rows == 40 and report.exact_outputs == () and (report.factors != 1).all()
    assert torch.equal(ensemble.calibration, torch.ones(3))  # the one given has not changed
    observations, actions = torch.randn(5, 2), torch.randn(5, 1)
    plain, scaled = ensemble(observations, actions), calibrated(observations, actions)
    torch.testing.assert_close(plain[0], scaled[0])
    torch.testing.assert_close(scaled[1], plain[1] + 2 * torch.from_numpy(report.factors).log())
    _, again = calibrate(calibrated, table, fitted.holdout_rows)
    np.testing.assert_allclose(again.factors, 1, rtol=1e-4)


def test_many_rows_and_rows_without_a_next_observation():
    table = linear_table(5000)
    ensemble, _ = fit_ensemble(linear_table(50), SMALL, seed=0)
    errors = standardised_errors(ensemble, table)
    assert errors.shape == (2, 5000, 3)
    torch.testing.assert_close(errors[:, 4990:], standardised_errors(ensemble, table, np.arange(4990, 5000)))
    unknown = table.steps == 4
    following = np.where(unknown[:, None], table.observations, table.next_observations)
    partly = linear_table(5000, next_valid=~unknown, next_observations=following)
    torch.testing.assert_close(standardised_errors(ensemble, partly), errors[:, ~unknown])


@pytest.mark.usefixtures("without_type_checks")
def test_what_cannot_be_calibrated():
    ensemble, _ = fit_ensemble(linear_table(50), SMALL, seed=0)
    with pytest.raises(ValueError, match="table has 3 observations and 1 actions a row, the ensemble 2 and 1"):
        calibrate(ensemble, linear_table(10, observation_size=3))
    with pytest.raises(ValueError, match="rows holds no row with a valid next observation"):
        calibrate(ensemble, linear_table(10), np.array([], dtype=np.int64))
    with pytest.raises(ValueError, match=r"errors\[0, 1, 0\] is nan"):
        calibration_factors(torch.tensor([[[1.0], [torch.nan]]]))
    with pytest.raises(ValueError, match=r"errors has shape \(2, 0, 3\), expected at least one row"):
        calibration_factors(torch.zeros(2, 0, 3))
    for level in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"level is {level}"):
            coverage(torch.zeros(2, 3, 1), level)
