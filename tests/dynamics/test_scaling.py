import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.dynamics.scaling import RangeScaler, Standardiser

ROWS = arrays(np.float64, st.tuples(st.integers(1, 9), st.just(3)), elements=st.integers(-1000, 1000).map(float))


@settings(max_examples=100)
@given(ROWS)
def test_standardised_columns_have_mean_zero_and_deviation_one_or_zero(rows):
    scaler = Standardiser(3).double().fit(rows)
    scaled = scaler(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), np.ptp(rows, axis=0) > 0, atol=1e-9)
    np.testing.assert_allclose(scaler.inverse(torch.from_numpy(scaled)).numpy(), rows, atol=1e-9)


@settings(max_examples=100)
@given(ROWS, st.sampled_from([0.8, 1.0, 3.0]))
def test_ranges_go_onto_the_limits_and_back(rows, limit):
    scaler = RangeScaler(3, limit=limit).double().fit(rows)
    scaled = scaler(torch.from_numpy(rows)).numpy()
    varies = np.ptp(rows, axis=0) > 0
    np.testing.assert_allclose(scaled.max(axis=0), limit * varies, atol=1e-9)
    np.testing.assert_allclose(scaled.min(axis=0), -limit * varies, atol=1e-9)
    np.testing.assert_allclose(scaler.inverse(torch.from_numpy(scaled)).numpy(), rows, atol=1e-9)
    assert scaler.constant_columns == np.flatnonzero(~varies).tolist()


def test_a_difference_is_scaled_by_the_factor():
    rows = np.array([[0.0, 7.0], [10.0, 7.0]])
    scaler = RangeScaler(2, limit=0.8).fit(rows)
    torch.testing.assert_close(scaler.factor, torch.tensor([0.16, 0.0]))
    values, others = torch.randn(5, 2), torch.randn(5, 2)
    torch.testing.assert_close(scaler(values) - scaler(others), (values - others) * scaler.factor)


def test_beyond_the_range_it_extrapolates():
    scaler = RangeScaler(1, limit=0.8).fit(np.array([[0.0], [1.0]]))
    torch.testing.assert_close(scaler(torch.tensor([[2.0]])), torch.tensor([[2.4]]))


@pytest.mark.parametrize("kind", [Standardiser, RangeScaler])
def test_before_a_fit_nothing_changes(kind):
    values = torch.randn(4, 3)
    torch.testing.assert_close(kind(3)(values), values)


@pytest.mark.parametrize("kind", [Standardiser, RangeScaler])
def test_scales_are_part_of_the_state_and_tensors_will_do(kind):
    rows = torch.randn(6, 3)
    fitted, other = kind(3).fit(rows), kind(3)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(fitted(rows), other(rows))
    assert torch.equal(kind(3).fit(rows.numpy())(rows), fitted(rows))


def test_a_mean_of_many_large_numbers_keeps_its_digits():
    rows = np.full((100_000, 1), 1e4, np.float32) + np.tile(np.array([[-1.0], [1.0]], np.float32), (50_000, 1))
    scaler = Standardiser(1).fit(rows)
    assert float(scaler.mean) == 1e4 and float(scaler.standard_deviation) == 1


def test_a_column_that_varies_by_rounding_is_constant():
    scaler = Standardiser(1).double().fit(np.array([[1.0], [1.0 + 2e-13]]))
    assert float(scaler.standard_deviation) == 1


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("kind", [Standardiser, RangeScaler])
def test_rows_that_cannot_be_fitted(kind):
    bad = np.zeros((3, 2))
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"rows\[1, 0\] is nan, expected a finite number"):
        kind(2).fit(bad)
    with pytest.raises(ValueError, match=r"rows has shape \(3, 2\), expected \(N, 4\) with at least one row"):
        kind(4).fit(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"rows has shape \(0, 2\)"):
        kind(2).fit(np.zeros((0, 2)))
    with pytest.raises(TypeError, match="rows: expected a NumPy array or torch tensor, got list"):
        kind(2).fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match="size is 0"):
        kind(0)
    with pytest.raises(ValueError, match="limit is 0"):
        RangeScaler(1, limit=0)
