import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.dynamics.penalties import PENALTIES, bellman_inconsistency, mopo_penalty


def predictions(seed, members=4, batch=5, outputs=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, members, batch, outputs, generator=generator, dtype=torch.float64).unbind()


def test_aleatoric_in_numbers():
    deviations = torch.tensor([[[0.3, 0.4]], [[0.6, 0.8]]], dtype=torch.float64)
    penalty = mopo_penalty(torch.zeros_like(deviations), 2 * deviations.log(), "aleatoric")
    torch.testing.assert_close(penalty, torch.ones(1, dtype=torch.float64), rtol=1e-12, atol=0)


def test_the_inconsistency_in_numbers():
    values = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    assert float(bellman_inconsistency(values)) == pytest.approx(1.527525, abs=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**16))
def test_each_penalty_is_its_loop(seed):
    mean, log_variance = predictions(seed)
    centre = sum(mean) / len(mean)
    for row in range(5):
        deviations = [sum(float(v.exp()) for v in member[row]) ** 0.5 for member in log_variance]
        assert float(mopo_penalty(mean, log_variance)[row]) == pytest.approx(max(deviations))
        distances = [sum(float(x) ** 2 for x in (member - centre)[row, :2]) ** 0.5 for member in mean]
        found = mopo_penalty(mean, log_variance, "pairwise_difference")[row]
        assert float(found) == pytest.approx(max(distances))
        variances = [sum(float(member[row, j] - centre[row, j]) ** 2 for member in mean) / 4 for j in range(2)]
        found = mopo_penalty(mean, log_variance, "ensemble_standard_deviation")[row]
        assert float(found) == pytest.approx((sum(variances) / 2) ** 0.5)


@settings(max_examples=50)
@given(st.integers(0, 2**16), st.sampled_from(PENALTIES), st.permutations(range(4)))
def test_penalties_do_not_depend_on_the_order_of_the_members_and_are_not_negative(seed, kind, order):
    mean, log_variance = predictions(seed)
    penalty = mopo_penalty(mean, log_variance, kind)
    assert penalty.shape == (5,) and (penalty >= 0).all()
    torch.testing.assert_close(mopo_penalty(mean[list(order)], log_variance[list(order)], kind), penalty)


@pytest.mark.parametrize("kind", ["pairwise_difference", "ensemble_standard_deviation"])
def test_the_reward_and_a_common_shift_do_not_enter_the_disagreements(kind):
    mean, log_variance = predictions(0)
    other = mean + torch.tensor([3.0, -2.0, 0.0])
    other[..., -1] = torch.randn(4, 5)
    torch.testing.assert_close(mopo_penalty(mean, log_variance, kind), mopo_penalty(other, log_variance, kind))
    agreed = mean[:1].expand(4, 5, 3)
    torch.testing.assert_close(mopo_penalty(agreed, log_variance, kind), torch.zeros(5, dtype=torch.float64))


def test_any_batch_shape():
    mean, log_variance = predictions(0)
    for kind in PENALTIES:
        many = mopo_penalty(mean[:, :, None].expand(4, 5, 2, 3), log_variance[:, :, None].expand(4, 5, 2, 3), kind)
        torch.testing.assert_close(many, mopo_penalty(mean, log_variance, kind)[:, None].expand(5, 2))
    assert bellman_inconsistency(mean).shape == (5, 3)


@pytest.mark.usefixtures("without_type_checks")
def test_what_has_no_penalty():
    mean, log_variance = predictions(0)
    with pytest.raises(ValueError, match="kind is 'epistemic', expected one of 'aleatoric'"):
        mopo_penalty(mean, log_variance, "epistemic")
    with pytest.raises(ValueError, match=r"mean has shape \(4, 5, 3\) and log_variance \(4, 4, 3\)"):
        mopo_penalty(mean, log_variance[:, :4])
    with pytest.raises(ValueError, match=r"with D at least 2"):
        mopo_penalty(mean[..., :1], log_variance[..., :1])
    with pytest.raises(ValueError, match=r"values has shape \(1, 5, 3\), expected \(L, B\) with at least two members"):
        bellman_inconsistency(mean[:1])
