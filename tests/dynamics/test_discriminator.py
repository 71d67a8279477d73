import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics.discriminator import Discriminator
from tests.dynamics.discriminators import discriminator_of, rows_of, table_of


def by_hand(network, observations, actions, following, factors):
    """The definition, row by row, in NumPy float64."""
    table = table_of()
    low, high = table.observations.min(axis=0), table.observations.max(axis=0)

    def scaled(values, low, high, limit):
        width = np.where(high > low, high - low, 1)
        return np.where(high > low, (values - low) / width * 2 * limit - limit, 0)

    seen, after = scaled(observations, low, high, 0.8), scaled(following, low, high, 0.8)
    done = scaled(actions, table.actions.min(axis=0), table.actions.max(axis=0), 1.0)
    moved = after - seen
    if network.transition_input == "next_observation":
        moved = after
    if network.transition_input == "standardised_difference":
        spread = (table.next_observations - table.observations).astype(np.float64).std(axis=0)
        moved = np.where(spread > 0, (following - observations) / np.where(spread > 0, spread, 1), 0)
    values = np.concatenate([seen, factors, done, moved], axis=-1)
    layers = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in network.layers]
    for weight, bias in layers[:-1]:
        values = np.maximum(values @ weight + bias, 0)
    return (values @ layers[-1][0] + layers[-1][1])[..., 0]


@pytest.mark.parametrize("transition_input", ["difference", "standardised_difference", "next_observation"])
@pytest.mark.parametrize("factor_size", [0, 1, 2])
def test_is_the_definition(transition_input, factor_size):
    network = discriminator_of(transition_input=transition_input, factor_size=factor_size).double()
    observations, actions, following = rows_of(table_of(seed=1), torch.float64)
    factors = torch.randn(len(actions), factor_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = network(observations, actions, following, factors)
    expected = by_hand(network, *(part.numpy() for part in (observations, actions, following, factors)))
    assert logits.detach().numpy() == pytest.approx(expected, abs=1e-5)
    silent = network(observations, actions, following)
    assert torch.equal(silent, network(observations, actions, following, torch.zeros_like(factors)))


def test_released_sizes_are_the_default():
    network = Discriminator(11, 3, generator=torch.Generator().manual_seed(0))
    assert [tuple(layer.weight.shape) for layer in network.layers] == [
        (128, 26),
        (256, 128),
        (256, 256),
        (128, 256),
        (1, 128),
    ]


def test_scales_observations_and_actions_by_the_ranges_of_the_data():
    table, network = table_of(), discriminator_of()
    scaled = network.observation_scaler(torch.from_numpy(table.observations))
    assert scaled[:, :2].amin(dim=0).tolist() == pytest.approx([-0.8, -0.8])
    assert scaled[:, :2].amax(dim=0).tolist() == pytest.approx([0.8, 0.8])
    assert scaled[:, 2].abs().max() == 0  # a column that does not vary
    done = network.action_scaler(torch.from_numpy(table.actions))
    assert (float(done.min()), float(done.max())) == pytest.approx((-1, 1))


def test_standardised_differences_have_standard_deviation_one():
    network = discriminator_of(transition_input="standardised_difference")
    observations, _, following = rows_of(table_of())
    spread = network.transitions(observations, following).std(dim=0, correction=0)
    assert spread.tolist() == pytest.approx([1, 1, 0], abs=1e-5)


@given(st.integers(0, 10), st.floats(0.1, 10), st.floats(-20, 20))
def test_does_not_depend_on_the_units_of_observations(seed, factor, offset):
    table = table_of()
    network = Discriminator(3, 1, hidden=(6,), generator=torch.Generator().manual_seed(seed)).double()
    network.fit_scalers(table.observations, table.actions, table.next_observations)
    observations, actions, following = rows_of(table_of(seed=2), torch.float64)
    logits = network(observations, actions, following)
    columns = [part.astype(np.float64) * factor + offset for part in (table.observations, table.next_observations)]
    network.fit_scalers(columns[0], table.actions, columns[1])
    moved = network(observations * factor + offset, actions, following * factor + offset)
    assert torch.allclose(moved, logits, atol=1e-8)


def test_gradients_reach_inputs_and_weights():
    network = discriminator_of().double()
    parts = [part.requires_grad_() for part in rows_of(table_of(4), torch.float64)]
    assert torch.autograd.gradcheck(network, parts)
    network(*parts).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_generator_draws_the_weights_and_the_global_one_is_left_alone():
    state = torch.get_rng_state()
    first, second, other = discriminator_of(3), discriminator_of(3), discriminator_of(4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)
    assert first.layers[1].weight.abs().max() <= 7**-0.5


def test_settings_make_the_same_shape_again():
    network = discriminator_of(transition_input="next_observation", factor_size=2)
    again = Discriminator(**network.settings(), generator=torch.Generator())
    again.load_state_dict(network.state_dict())
    parts = rows_of(table_of(seed=3))
    assert torch.equal(again(*parts), network(*parts))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hidden": (7, 0)}, ValueError, r"hidden\[1\] is 0"),
        ({"hidden": (7.0,)}, TypeError, r"hidden\[0\] is 7.0, expected a whole number"),
        ({"factor_size": -1}, ValueError, "factor_size is -1"),
        ({"transition_input": "delta"}, ValueError, "transition_input is 'delta', expected one of 'difference'"),
    ],
)
def test_bad_settings(without_type_checks, settings, error, message):
    with pytest.raises(error, match=message):
        discriminator_of(**settings)


def test_bad_data(without_type_checks):
    table, network = table_of(), discriminator_of()
    bad = table.next_observations.copy()
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"next_observations\[4, 1\] is nan"):
        network.fit_scalers(table.observations, table.actions, bad)
    with pytest.raises(ValueError, match=r"next_observations has shape \(59, 3\), expected \(60, 3\)"):
        network.fit_scalers(table.observations, table.actions, bad[:-1])
