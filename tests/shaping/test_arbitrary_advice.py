"""Any reward as advice: the fixed point against its closed form, and the weight that fades."""

import numpy as np
import pytest
import torch
from hypothesis import given

from rewardlab.exact import FiniteMDP, action_values
from rewardlab.shaping.arbitrary_advice import advice_fixed_point, explicit_action_values, explicit_weight
from tests.strategies import random_policy, seeds, worlds_and_rewards

BANDIT = FiniteMDP(np.ones((1, 2, 1)), 0.5)
PAYS, ADVICE = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])


def test_worked_fixed_point():
    found = advice_fixed_point(BANDIT, PAYS, ADVICE)
    np.testing.assert_allclose(found.potential, [[-1, -3]])
    np.testing.assert_allclose(found.expected_shaping, ADVICE, atol=1e-12)
    np.testing.assert_allclose(found.learned, [[2.5, 3.5]])
    np.testing.assert_allclose(found.corrected, [[1.5, 0.5]])
    np.testing.assert_allclose(action_values(BANDIT, PAYS), [[1.5, 0.5]])


def test_explicit_preference_turns_at_one_half():
    found = advice_fixed_point(BANDIT, PAYS, ADVICE)
    for weight, preferred in ((1.0, 1), (0.51, 1), (0.49, 0), (0.0, 0)):
        assert explicit_action_values(found.corrected, found.potential, weight=weight)[0].argmax() == preferred
    tied = explicit_action_values(found.corrected, found.potential, weight=0.5)[0]
    assert tied[0] == pytest.approx(tied[1])


@given(worlds_and_rewards(count=2), seeds)
def test_learned_values_are_those_of_reward_plus_advice(world, seed):
    mdp, reward, advice = world
    policy = random_policy(mdp, np.random.default_rng(seed))
    found = advice_fixed_point(mdp, reward, advice, policy)
    primary, secondary = action_values(mdp, reward, policy), action_values(mdp, advice, policy)
    slack = 1e-8 * (1 + np.abs(primary).max() + np.abs(secondary).max())
    np.testing.assert_allclose(found.expected_shaping, mdp.state_action_reward(advice), atol=slack)
    np.testing.assert_allclose(found.potential, -secondary, atol=slack)
    np.testing.assert_allclose(found.learned, primary + secondary, atol=slack)
    np.testing.assert_allclose(found.corrected, primary, atol=slack)
    assert (found.potential[mdp.terminal] == 0).all()


def test_fixed_point_is_that_of_iterating_the_update():
    mdp = FiniteMDP.random(5, 3, episodic=True, discount=0.8, rng=1)
    reward, advice = np.random.default_rng(2).normal(size=(2, 5, 3))
    policy = random_policy(mdp, np.random.default_rng(3))
    alive = ~mdp.terminal[:, None]
    potential, learned = np.zeros((2, 5, 3))
    for _ in range(400):
        following = mdp.transition @ (policy * potential).sum(-1)
        shaping = 0.8 * following - potential
        learned = alive * (reward + shaping + 0.8 * mdp.transition @ (policy * learned).sum(-1))
        potential = alive * (-advice + 0.8 * following)
    found = advice_fixed_point(mdp, reward, advice, policy)
    np.testing.assert_allclose(potential, found.potential, atol=1e-10)
    np.testing.assert_allclose(learned, found.learned, atol=1e-10)


def test_batches_and_torch():
    rng = np.random.default_rng(0)
    many = FiniteMDP.random(4, 3, batch=2, rng=0)
    rewards, advice = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3, 4))
    found = advice_fixed_point(many, rewards, advice)
    for k in range(2):
        alone = advice_fixed_point(many[k], rewards[k], advice[k])
        for part, whole in zip(alone, found, strict=True):
            np.testing.assert_allclose(whole[k], part, atol=1e-9)
    in_torch = FiniteMDP(torch.tensor(many.transition), many.discount, torch.tensor(many.initial))
    for part, whole in zip(
        advice_fixed_point(in_torch, torch.tensor(rewards), torch.tensor(advice)), found, strict=True
    ):
        np.testing.assert_allclose(part.numpy(), whole, atol=1e-9)
    several = FiniteMDP(many.transition, np.array([0.5, 0.9]))
    np.testing.assert_allclose(
        advice_fixed_point(several, rewards, advice).learned[0],
        advice_fixed_point(many[0].with_discount(0.5), rewards[0], advice[0]).learned,
    )


def test_weight_falls_to_nothing():
    assert [explicit_weight(k, 3) for k in range(5)] == pytest.approx([1, 2 / 3, 1 / 3, 0, 0])
    assert explicit_weight(1, 0.5) == 0.0


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: advice_fixed_point(BANDIT, PAYS, ADVICE.T), ValueError, "advice has shape"),
        (lambda: advice_fixed_point(BANDIT, PAYS * np.nan, ADVICE), ValueError, r"reward\[0, 0\] is nan"),
        (lambda: advice_fixed_point(BANDIT, [[1.0, 0.0]], ADVICE), TypeError, "reward"),
        (lambda: advice_fixed_point(BANDIT, PAYS, ADVICE, np.array([[0.5, 0.6]])), ValueError, "policy"),
        (lambda: explicit_action_values(PAYS, ADVICE, weight=1.5), ValueError, "weight is 1.5"),
        (lambda: explicit_action_values(PAYS, ADVICE[:, :1], weight=1.0), ValueError, "number of actions"),
        (lambda: explicit_weight(-1, 3), ValueError, "episode is -1"),
        (lambda: explicit_weight(1.5, 3), TypeError, "episode"),
        (lambda: explicit_weight(1, 0), ValueError, "decay is 0"),
    ],
)
def test_bad_input_is_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
