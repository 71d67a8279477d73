import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.reward_formula import mean_probability_reward
from tests.dynamics.discriminators import discriminator_of, reward_of, rows_of, table_of

INPUTS = pytest.mark.parametrize("transition_input", ["difference", "standardised_difference", "next_observation"])


def candidates_of(rows=13, count=4, dtype=torch.float64):
    observations, actions, following = rows_of(table_of(rows, seed=5), dtype)
    noise = torch.randn(rows, count, 3, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return observations, actions, following[:, None] + 0.3 * noise


@INPUTS
@pytest.mark.parametrize("factor_size", [0, 2])
def test_logits_are_those_of_each_snapshot(transition_input, factor_size):
    settings = {"transition_input": transition_input, "factor_size": factor_size}
    reward = reward_of(3, dtype=torch.float64, **settings)
    observations, actions, candidates = candidates_of()
    factors = torch.ones(13, factor_size, dtype=torch.float64)
    logits = reward.logits(observations, actions, candidates, factors)
    assert logits.shape == (3, 13, 4)
    for index in range(3):
        network = discriminator_of(index, **settings).double()
        for place in range(4):
            expected = network(observations, actions, candidates[:, place], factors)
            assert torch.allclose(logits[index, :, place], expected, atol=1e-12)


def test_one_next_observation_is_one_candidate():
    reward = reward_of(dtype=torch.float64)
    observations, actions, candidates = candidates_of()
    both = reward(observations, actions, candidates)
    assert both.shape == (13, 4)
    for place in range(4):
        alone = reward(observations, actions, candidates[:, place])
        assert torch.allclose(alone, both[:, place], atol=1e-13)
    assert reward.logits(observations, actions, candidates[:, 0]).shape == (4, 13)


@pytest.mark.parametrize("chunk_rows", [1, 3, 8, 50, 10_000])
def test_chunks_change_nothing(chunk_rows):
    reward = reward_of(dtype=torch.float64)
    parts = candidates_of()
    logits = reward.logits(*parts, chunk_rows=chunk_rows)
    assert torch.allclose(logits, reward.logits(*parts), atol=1e-13)


def test_no_more_rows_at_a_time_than_a_chunk(monkeypatch):
    from rewardlab.dynamics import dynamics_reward as module

    seen, original = [], module._chunk
    monkeypatch.setattr(module, "_chunk", lambda *parts: seen.append(parts[-1].shape) or original(*parts))
    reward_of(2).logits(*candidates_of(13, 4, torch.float32), chunk_rows=8)
    assert seen == [(2, 4, 3)] * 6 + [(1, 4, 3)] + [(2, 4, 3)] * 6 + [(1, 4, 3)]


@pytest.mark.parametrize("rescale", ["official", "stored", "none"])
def test_reward_is_the_formula_on_the_logits(rescale):
    reward = reward_of(dtype=torch.float64, arguments={"rescale": rescale, "probability_clip": 0.5})
    parts = candidates_of()
    options = {"rescale": rescale, "probability_clip": 0.5}
    expected = mean_probability_reward(reward.logits(*parts), reward.low, reward.high, **options)
    assert torch.equal(reward(*parts), expected)


def test_official_rewards_lie_in_their_range():
    rewards = reward_of()(*candidates_of(dtype=torch.float32))
    assert float(rewards.min()) >= 0.31326 and float(rewards.max()) <= 1.31327
    assert float(rewards.max()) > float(rewards.min())


@given(st.permutations(range(4)))
def test_permuted_candidates_have_permuted_rewards(order):
    reward = reward_of(dtype=torch.float64)
    observations, actions, candidates = candidates_of()
    permuted = reward(observations, actions, candidates[:, list(order)])
    assert torch.allclose(permuted, reward(observations, actions, candidates)[:, list(order)], atol=1e-13)


def test_gradients_flow_to_the_next_observation_and_not_to_the_weights():
    reward = reward_of(2, dtype=torch.float64, arguments={"rescale": "none"})
    parts = [part.requires_grad_() for part in candidates_of(3, 2)]
    assert torch.autograd.gradcheck(reward, parts)
    assert not list(reward.parameters())


def test_works_in_inference_mode_and_leaves_its_arguments_alone():
    reward, parts = reward_of(), candidates_of(dtype=torch.float32)
    before = [part.clone() for part in parts]
    with torch.inference_mode():
        quiet = reward(*parts)
    assert torch.equal(quiet, reward(*parts))
    assert all(torch.equal(a, b) for a, b in zip(parts, before, strict=True))


def test_precision_of_bfloat16_is_asked_for_and_stays_close():
    sizes = {"hidden": (32, 64, 32)}
    exact, lower = reward_of(8, **sizes), reward_of(8, **sizes, arguments={"precision": "bfloat16"})
    parts = candidates_of(dtype=torch.float32)
    assert exact.precision == "exact"
    error = (lower(*parts) - exact(*parts)).abs().max()
    assert 0 < float(error) < 0.02
    lower.precision = "exact"
    assert torch.equal(lower(*parts), exact(*parts))


def test_later_changes_of_the_network_or_its_states_do_not_reach_the_reward():
    network = discriminator_of()
    low, high = -torch.ones(1), torch.ones(1)
    reward = DynamicsReward(network, [network.state_dict()], low, high, kind="test")
    parts = candidates_of(dtype=torch.float32)
    before = reward(*parts)
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers(), low, high]:
            tensor.add_(0.5)
    assert torch.equal(reward(*parts), before)


def test_all_snapshots_in_one_product_agree_with_one_after_the_other():
    """What runs on a GPU, run here."""
    from rewardlab.dynamics.dynamics_reward import _chunk

    reward = reward_of(3, dtype=torch.float64, factor_size=0)
    observations, actions, candidates = candidates_of()
    layers = reward._layers(slice(0, 3), reward.weight_0[:, :4])
    shared = torch.cat([reward.observation_scaler(observations), reward.action_scaler(actions)], dim=-1)
    moved = (candidates - observations[:, None]) * reward.transition_factor
    together = _chunk(layers, shared, moved)
    assert torch.allclose(together, reward.logits(observations, actions, candidates), atol=1e-12)


def but(state, name, value):
    return {**state, name: value}


def test_refuses_what_does_not_fit(without_type_checks):
    network = discriminator_of()
    state, one = network.state_dict(), torch.ones(1)

    def build(states, low=-one, high=one, **arguments):
        return DynamicsReward(network, states, low, high, **{"kind": "test", **arguments})

    with pytest.raises(ValueError, match="states is empty"):
        build([])
    with pytest.raises(ValueError, match=r"states\[1\]\['layers.0.bias'\] is nothing, expected shape \(7,\)"):
        build([state, {name: value for name, value in state.items() if name != "layers.0.bias"}])
    with pytest.raises(ValueError, match=r"states\[0\]\['layers.2.bias'\] is shape \(2,\), expected shape \(1,\)"):
        build([but(state, "layers.2.bias", torch.zeros(2))])
    with pytest.raises(ValueError, match=r"states\[0\]\['layers.2.bias'\]\[0\] is nan"):
        build([but(state, "layers.2.bias", torch.full((1,), np.nan))])
    with pytest.raises(ValueError, match=r"high\[0\] is 1 and low\[0\] 1"):
        build([state], low=one)
    assert build([state], low=one, rescale="none").snapshots == 1
    with pytest.raises(ValueError, match=r"low has shape \(1,\), expected \(2,\)"):
        build([state, state])
    with pytest.raises(ValueError, match=r"kind is '', expected a name"):
        build([state], kind="")
    with pytest.raises(ValueError, match="rescale is 'paper'"):
        build([state], rescale="paper")
    with pytest.raises(ValueError, match="precision is 'float16'"):
        build([state], precision="float16")


def test_refuses_transitions_of_other_sizes(without_type_checks):
    reward = reward_of()
    observations, actions, candidates = candidates_of(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"observations has shape \(13, 2\), expected \(B, 3\)"):
        reward(observations[:, :2], actions, candidates)
    with pytest.raises(ValueError, match=r"actions has shape \(12, 1\), expected \(13, 1\)"):
        reward(observations, actions[:-1], candidates)
    with pytest.raises(ValueError, match=r"next_observations has shape \(13, 4, 2\), expected \(13, N, 3\)"):
        reward(observations, actions, candidates[..., :2])
    with pytest.raises(ValueError, match=r"logits\[\d, 2"):
        reward(observations, actions, torch.where(torch.arange(13)[:, None, None] == 2, torch.nan, candidates))
