import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.dynamics.selection import expected_selected_reward, select, selection_probabilities

WORKED = torch.tensor([0.4, 0.7, 1.0], dtype=torch.float64)
rewards = arrays(np.float64, (3, 5), elements=st.floats(0, 20)).map(torch.tensor)
kinds = st.sampled_from(["argmax", "softmax", "uniform"])
temperatures = st.floats(0.02, 50)


def choices(count):
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def test_worked_softmax():
    np.testing.assert_allclose(selection_probabilities(WORKED), [0.002356, 0.047314, 0.950330], atol=5e-7)
    np.testing.assert_allclose(expected_selected_reward(WORKED), 0.984392, atol=5e-7)


@given(rewards, st.integers(1, 4))
def test_towards_no_temperature_it_is_the_argmax(r, scale):
    r = r.round() + torch.arange(5) * 0.1  # no ties
    expected = selection_probabilities(r, "argmax")
    np.testing.assert_allclose(selection_probabilities(r, "softmax", 10.0**-3 / scale), expected, atol=1e-12)


@given(rewards)
def test_towards_infinite_temperature_it_is_uniform(r):
    np.testing.assert_allclose(selection_probabilities(r, "softmax", 1e9), 0.2, atol=1e-8)
    np.testing.assert_allclose(selection_probabilities(r, "uniform"), 0.2)


@given(rewards, kinds, temperatures)
def test_probabilities_sum_to_one_and_selection_gains(r, kind, temperature):
    p = selection_probabilities(r, kind, temperature)
    np.testing.assert_allclose(p.sum(-1), 1)
    assert (p >= 0).all()
    assert (expected_selected_reward(r, kind, temperature) >= r.mean(-1) - 1e-9).all()


@given(rewards, st.floats(0.2, 5))
def test_the_gain_rises_with_inverse_temperature_by_the_variance(r, temperature):
    step = 1e-4 / (1 + float(r.max()))
    inverse = 1 / temperature
    ends = [expected_selected_reward(r, "softmax", 1 / (inverse + change)) for change in (-step, step)]
    p = selection_probabilities(r, "softmax", temperature)
    variance = (p * r**2).sum(-1) - (p * r).sum(-1) ** 2
    np.testing.assert_allclose((ends[1] - ends[0]) / (2 * step), variance, rtol=1e-4, atol=1e-5)


@given(rewards, kinds, temperatures, st.floats(-100, 100))
def test_a_constant_changes_nothing(r, kind, temperature, constant):
    r = (r * 4).round() / 4  # ties stay ties
    constant = round(constant)
    p = selection_probabilities(r, kind, temperature)
    np.testing.assert_allclose(selection_probabilities(r + constant, kind, temperature), p, atol=1e-9)


@given(rewards, st.permutations(range(5)), st.sampled_from(["softmax", "uniform"]), temperatures)
def test_permuted_candidates_have_permuted_probabilities(r, order, kind, temperature):
    p = selection_probabilities(r, kind, temperature)
    np.testing.assert_allclose(selection_probabilities(r[:, order], kind, temperature), p[:, order], atol=1e-12)


@given(st.permutations(range(5)))
def test_argmax_of_permuted_candidates(order):
    r = torch.tensor([[0.1, 0.5, 0.2, 0.9, 0.3]])
    assert order[int(select(r[:, order], torch.zeros(1, dtype=torch.float64), "argmax"))] == 3


@pytest.mark.parametrize("kind", ["argmax", "softmax", "uniform"])
def test_one_candidate_is_taken(kind):
    r = torch.tensor([[0.3], [-2.0]])
    assert select(r, torch.tensor([0.0, 0.999], dtype=torch.float64), kind).tolist() == [0, 0]
    assert torch.equal(expected_selected_reward(r, kind), r[:, 0])


def test_argmax_takes_the_first_of_equals():
    r = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    assert select(r, torch.tensor([0.9, 0.9], dtype=torch.float64), "argmax").tolist() == [1, 0]
    assert selection_probabilities(r, "argmax").tolist() == [[0, 1, 0], [1, 0, 0]]


@given(rewards, kinds, temperatures)
def test_selection_has_its_probabilities(r, kind, temperature):
    """Choices spread evenly over [0, 1) take each candidate as often as it is probable, to a count."""
    count = 400
    p = selection_probabilities(r, kind, temperature)
    taken = select(r.repeat_interleave(count, 0), choices(count).repeat(3), kind, temperature).reshape(3, count)
    found = torch.stack([torch.bincount(row, minlength=5) for row in taken]) / count
    np.testing.assert_allclose(found, p, atol=1.01 / count)


def test_worked_choices():
    r = WORKED.expand(4, 3)
    ends = torch.tensor([0.0, 0.0023, 0.0024, 0.0497], dtype=torch.float64)
    assert select(r, ends, "softmax").tolist() == [0, 0, 1, 2]


@given(
    rewards, st.sampled_from(["argmax", "softmax", "uniform"]), arrays(bool, (3, 5)), st.floats(0, 1, exclude_max=True)
)
def test_the_excluded_are_never_taken(r, kind, excluded, choice):
    excluded[:, 2] = False
    r = r.masked_fill(torch.tensor(excluded), -torch.inf)
    for c in (choice, 0.0, 1 - 2**-53):
        index = select(r, torch.full((3,), c, dtype=torch.float64), kind)
        assert torch.isfinite(r[torch.arange(3), index]).all()
    p = selection_probabilities(r, kind)
    assert (p[r == -torch.inf] == 0).all()
    np.testing.assert_allclose(p.sum(-1), 1)
    assert torch.isfinite(expected_selected_reward(r, kind)).all()


def test_float32_stays_float32():
    assert selection_probabilities(WORKED.float()).dtype == torch.float32


def test_bad_input_is_named(without_type_checks):
    with pytest.raises(ValueError, match=r"rewards\[1, 0\] is nan"):
        selection_probabilities(torch.tensor([[1.0, 2.0], [torch.nan, 0.0]]))
    with pytest.raises(ValueError, match=r"rewards\[0, 1\] is inf"):
        select(torch.tensor([[1.0, torch.inf]]), torch.zeros(1))
    with pytest.raises(ValueError, match=r"rewards\[1\] is -inf for every candidate"):
        select(torch.tensor([[1.0, 0.0], [-torch.inf, -torch.inf]]), torch.zeros(2))
    with pytest.raises(ValueError, match=r"shape \(2, 0\), expected at least one candidate"):
        selection_probabilities(torch.zeros(2, 0))
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature is"):
            selection_probabilities(WORKED, "softmax", temperature)
    with pytest.raises(ValueError, match="kind is 'best', expected one of 'argmax', 'softmax', 'uniform'"):
        selection_probabilities(WORKED, "best")
