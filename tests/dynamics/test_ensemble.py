import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from rewardlab.dynamics.ensemble import GaussianEnsemble, soft_clamp


def made(seed=0, **settings):
    settings = {"hidden": (8, 6), "members": 4, "elites": 3, **settings}
    generator = torch.Generator().manual_seed(seed)
    ensemble = GaussianEnsemble(3, 2, **settings, generator=generator)
    with torch.no_grad():
        for bias in ensemble.biases:
            bias.normal_(generator=generator)
    ensemble.input_scaler.fit(torch.randn(20, 5, generator=generator) * 3 + 1)
    return ensemble.requires_grad_(False)


def rows(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator), torch.randn(count, 2, generator=generator)


def alone(ensemble, member, observations, actions):
    """One member, written out."""
    activate = {"swish": lambda x: x / (1 + torch.exp(-x)), "tanh": torch.tanh, "relu": lambda x: x.clamp(min=0)}
    scaler = ensemble.input_scaler
    values = (torch.cat([observations, actions], 1) - scaler.mean) / scaler.standard_deviation
    for layer, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
        values = values @ weight[member] + bias[member]
        if layer < len(ensemble.weights) - 1:
            values = activate[ensemble.activation](values)
    mean, log_variance = values[:, :4], values[:, 4:]
    log_variance = ensemble.max_log_variance - functional.softplus(ensemble.max_log_variance - log_variance)
    log_variance = ensemble.min_log_variance + functional.softplus(log_variance - ensemble.min_log_variance)
    return mean, log_variance + 2 * torch.log(ensemble.calibration)


@pytest.mark.parametrize("activation", ["swish", "tanh", "relu"])
@pytest.mark.parametrize("hidden", [(8, 6), (5,), ()])
def test_each_member_is_the_network_written_out(activation, hidden):
    ensemble = made(activation=activation, hidden=hidden).double()
    ensemble.calibration.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    observations, actions = (value.double() for value in rows(9))
    mean, log_variance = ensemble(observations, actions)
    assert mean.shape == log_variance.shape == (4, 9, 4)
    for member in range(4):
        expected = alone(ensemble, member, observations, actions)
        torch.testing.assert_close(mean[member], expected[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(log_variance[member], expected[1], rtol=1e-12, atol=1e-12)


def test_rows_of_their_own_for_each_member():
    ensemble = made()
    observations, actions = rows(8)
    mean, log_variance = ensemble(observations.view(4, 2, 3), actions.view(4, 2, 2))
    for member in range(4):
        part = slice(2 * member, 2 * member + 2)
        expected = ensemble(observations[part], actions[part])
        torch.testing.assert_close(mean[member], expected[0][member])
        torch.testing.assert_close(log_variance[member], expected[1][member])


def test_some_members_only():
    ensemble = made()
    observations, actions = rows(5)
    chosen = torch.tensor([3, 0])
    for some, every in zip(ensemble(observations, actions, chosen), ensemble(observations, actions), strict=True):
        torch.testing.assert_close(some, every[chosen])


@settings(max_examples=100)
@given(st.lists(st.integers(0, 3), max_size=40), st.booleans())
def test_one_member_a_row_is_that_row_of_all_members(index, double):
    ensemble = made()
    ensemble.calibration.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    observations, actions = rows(len(index))
    if double:
        ensemble, observations, actions = ensemble.double(), observations.double(), actions.double()
    member_index = torch.tensor(index, dtype=torch.int64)
    for ours, every in zip(
        ensemble.predict_members(observations, actions, member_index), ensemble(observations, actions), strict=True
    ):
        assert ours.dtype == observations.dtype
        torch.testing.assert_close(ours, every[member_index, torch.arange(len(index))], rtol=1e-6, atol=1e-6)


@given(st.floats(-1e4, 1e4), st.floats(-20, 5), st.floats(1e-3, 20))
def test_the_soft_clamp_keeps_to_its_bounds(value, low, width):
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    low, high = torch.tensor([low], dtype=torch.float64), torch.tensor([low + width], dtype=torch.float64)
    clamped = soft_clamp(values, low, high)
    clamped.sum().backward()
    slack = functional.softplus(low - high) + 1e-9
    assert (clamped >= low - 1e-9).all() and (clamped <= high + slack).all()
    assert (values.grad >= 0).all() and (values.grad <= 1 + 1e-12).all()
    further = soft_clamp(values.detach() + 0.1, low, high)
    assert (further >= clamped - 1e-9).all()


def test_the_soft_clamp_leaves_the_middle_alone_and_keeps_a_gradient():
    low, high = torch.tensor([-10.0]), torch.tensor([0.5])
    torch.testing.assert_close(soft_clamp(torch.tensor([-5.0]), low, high), torch.tensor([-4.9973]), atol=1e-4, rtol=0)
    values = torch.tensor([[-14.0], [4.0]], requires_grad=True)
    soft_clamp(values, low, high).sum().backward()
    assert (values.grad > 0.01).all()


def test_initial_weights():
    ensemble = GaussianEnsemble(17, 6, generator=torch.Generator().manual_seed(0))
    assert [tuple(weight.shape) for weight in ensemble.weights] == [
        (7, inputs, outputs) for inputs, outputs in [(23, 200), (200, 200), (200, 200), (200, 200), (200, 36)]
    ]
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        assert float(weight.detach().std()) == pytest.approx(1 / (2 * weight.shape[1] ** 0.5), rel=0.02)
        assert not bias.any() and bias.shape == (7, 1, weight.shape[2])
    assert torch.equal(ensemble.max_log_variance, torch.full((18,), 0.5))
    assert torch.equal(ensemble.min_log_variance, torch.full((18,), -10.0))
    assert torch.equal(ensemble.elite_indices, torch.arange(5)) and torch.equal(ensemble.calibration, torch.ones(18))


def test_the_generator_decides_and_members_differ():
    one, same, other = made(), made(), made(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.weights, same.weights, strict=True))
    assert not torch.equal(one.weights[0], other.weights[0])
    assert len({float(weight) for weight in one.weights[0][:, 0, 0].detach()}) == 4
    state = torch.random.get_rng_state()
    made()
    assert torch.equal(state, torch.random.get_rng_state())  # the global generator is left alone


def test_a_state_brings_everything_back():
    one, other = made(), GaussianEnsemble(3, 2, hidden=(8, 6), members=4, elites=3, generator=torch.Generator())
    one.calibration.fill_(2.0)
    one.elite_indices.copy_(torch.tensor([3, 1, 2]))
    other.load_state_dict(one.state_dict())
    for ours, theirs in zip(one(*rows(5)), other(*rows(5)), strict=True):
        assert torch.equal(ours, theirs)
    assert other.elite_indices.tolist() == [3, 1, 2]


@pytest.mark.usefixtures("without_type_checks")
def test_shapes_that_do_not_fit():
    ensemble = made()
    observations, actions = rows(5)
    with pytest.raises(ValueError, match=r"observations has shape \(5, 2\), expected \(B, 3\) or \(E, B, 3\)"):
        ensemble(actions, observations)
    with pytest.raises(ValueError, match=r"actions has shape \(2,\), expected \(B, 2\)"):
        ensemble(observations, actions[0])
    with pytest.raises(ValueError, match="observations has rows for 5 members, expected 4"):
        ensemble(observations[:, None], actions[:, None])
    with pytest.raises(ValueError, match=r"member_index has shape \(4,\) for observations of shape \(5, 3\)"):
        ensemble.predict_members(observations, actions, torch.zeros(4, dtype=torch.int64))
    for wrong in (4, -1):
        with pytest.raises(ValueError, match=f"member_index holds {wrong}, expected 0 to 3"):
            ensemble.predict_members(observations, actions, torch.tensor([0, 1, wrong, 2, 0]))


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 0}, "members is 0"),
        ({"elites": 5}, r"elites is 5, expected a whole number in \[1, 4\]"),
        ({"hidden": (8, 0)}, r"hidden\[1\] is 0"),
        ({"activation": "sine"}, "activation is 'sine', expected one of 'swish', 'tanh', 'relu'"),
    ],
)
def test_settings_that_make_no_ensemble(change, message):
    with pytest.raises(ValueError, match=message):
        made(**change)


def test_many_rows_without_gradient_are_the_same_as_with(monkeypatch):
    monkeypatch.setattr("rewardlab.dynamics.ensemble.ROWS_AT_ONCE", 4)
    generator = torch.Generator().manual_seed(0)
    ensemble = GaussianEnsemble(3, 2, members=4, elites=2, hidden=(8, 8), generator=generator).double()
    each = torch.randn(4, 11, 3, generator=generator, dtype=torch.float64)
    actions = torch.randn(4, 11, 2, generator=generator, dtype=torch.float64)
    for members in (None, torch.tensor([3, 1])):
        for rows in (each[0], each if members is None else each[:2]):
            given = actions[0] if rows.ndim == 2 else actions[: len(rows)]
            expected = ensemble(rows, given, members)
            with torch.no_grad():
                found = ensemble(rows, given, members)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other.detach(), rtol=1e-12, atol=1e-12)
