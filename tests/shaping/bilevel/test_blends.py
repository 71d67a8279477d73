"""Blends of rewards: what each weight multiplies."""

import numpy as np
import pytest
import torch
from hypothesis import given

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP
from rewardlab.shaping.bilevel.blends import RewardBlend, feature_blend, per_state_blend, scalar_blend
from rewardlab.shaping.bilevel.hypergradient import reward_hypergradient
from tests.strategies import seeds

WORLD = guided_grid()
TABLES = {name: WORLD.mdp.state_action_reward(getattr(WORLD, name)) for name in ("primary", "good", "bad")}


@given(seeds)
def test_scalar(seed):
    weights = np.random.default_rng(seed).normal(size=2)
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good, WORLD.bad)
    expected = TABLES["primary"] + weights[0] * TABLES["good"] + weights[1] * TABLES["bad"]
    np.testing.assert_allclose(blend.reward(weights), expected, atol=1e-14)


def test_per_state_has_a_weight_in_every_state_that_does_not_end():
    blend = per_state_blend(WORLD.mdp, WORLD.primary, WORLD.good, WORLD.bad)
    assert blend.size == 48
    weights = np.zeros(48)
    weights[24 + 7] = 2.0  # the second piece of advice, in state 7
    change = blend.reward(weights) - blend.reward(np.zeros(48))
    np.testing.assert_allclose(change[7], 2 * TABLES["bad"][7])
    assert not np.delete(change, 7, axis=0).any()


def test_features_of_ones_are_a_scalar():
    ones = np.ones((25, 1))
    by_feature = feature_blend(WORLD.mdp, WORLD.primary, WORLD.good, features=ones)
    np.testing.assert_array_equal(by_feature.components, scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good).components)


def test_bonus_comes_first_and_pays_only_while_the_episode_lasts():
    features = np.random.default_rng(0).normal(size=(25, 3))
    blend = feature_blend(WORLD.mdp, WORLD.primary, WORLD.good, features=features, bonus=True)
    assert blend.size == 6
    bonus = blend.reward(np.eye(6)[1]) - TABLES["primary"]
    expected = np.where(WORLD.mdp.terminal, 0.0, features[:, 1])
    np.testing.assert_allclose(bonus, np.broadcast_to(expected[:, None], bonus.shape), atol=1e-14)


def test_project_is_the_chain_rule():
    blend = per_state_blend(WORLD.mdp, WORLD.primary, WORLD.good)
    gradient = reward_hypergradient(WORLD.mdp, blend.reward(np.ones(24)), WORLD.primary, 0.1)
    by_hand = [float((gradient * component).sum()) for component in blend.components]
    np.testing.assert_allclose(blend.project(gradient), by_hand, rtol=1e-12)


def test_torch():
    blend = RewardBlend(torch.zeros(2, 2), torch.ones(1, 2, 2))
    assert blend.reward(torch.tensor([3.0])).tolist() == [[3.0, 3.0], [3.0, 3.0]]


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_tables_become_float64(without_type_checks, dtype):
    blend = RewardBlend(np.ones((2, 2), dtype), np.ones((1, 2, 2), dtype))
    assert blend.base.dtype == blend.components.dtype == np.float64
    assert blend.reward(np.array([1e-9])).tolist() == [[1 + 1e-9] * 2] * 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: scalar_blend(WORLD.mdp, WORLD.primary), "no auxiliary reward"),
        (lambda: scalar_blend(WORLD.mdp, WORLD.primary, np.zeros(24)), r"auxiliary 0 has shape \(24,\)"),
        (lambda: scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good, np.zeros((24, 4))), "auxiliary 1 has shape"),
        (lambda: scalar_blend(WORLD.mdp, WORLD.primary, np.full((25, 4), np.nan)), r"auxiliary 0\[0, 0\] is nan"),
        (lambda: scalar_blend(WORLD.mdp, np.zeros((2, 25, 4)), WORLD.good), "primary has batch shape"),
        (lambda: scalar_blend(FiniteMDP.random(3, 2, batch=2, rng=0), np.zeros((3, 2)), np.zeros((3, 2))), "one world"),
        (lambda: feature_blend(WORLD.mdp, WORLD.primary, WORLD.good, features=np.zeros((24, 1))), "features has shape"),
        (lambda: feature_blend(WORLD.mdp, WORLD.primary, WORLD.good, features=np.zeros((25, 0))), "features has shape"),
        (lambda: feature_blend(WORLD.mdp, WORLD.primary, WORLD.good, features=np.zeros(25)), "features has shape"),
        (
            lambda: feature_blend(WORLD.mdp, WORLD.primary, WORLD.good, features=np.full((25, 1), np.nan)),
            r"features\[0, 0\] is nan",
        ),
        (lambda: RewardBlend(np.zeros((2, 2)), np.zeros((0, 2, 2))), "K at least 1"),
        (lambda: RewardBlend(np.zeros(2), np.zeros((1, 2))), r"base has shape \(2,\)"),
        (lambda: RewardBlend(np.full((2, 2), np.nan), np.zeros((1, 2, 2))), r"base\[0, 0\] is nan"),
        (lambda: RewardBlend(np.zeros((2, 2)), np.full((1, 2, 2), np.inf)), r"components\[0, 0, 0\] is inf"),
        (
            lambda: RewardBlend(np.zeros((2, 2)), np.zeros((1, 3, 2))),
            r"components has shape \(1, 3, 2\), expected \(K, 2",
        ),
        (lambda: scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good).reward(np.zeros(2)), r"expected \(\*batch, 1\)"),
        (lambda: scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good).reward(np.full(1, np.inf)), r"weights\[0\] is inf"),
    ],
)
def test_bad_input(without_type_checks, build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_libraries_do_not_mix(without_type_checks):
    with pytest.raises(TypeError, match="components"):
        RewardBlend(np.zeros((2, 2)), torch.zeros(1, 2, 2))


def test_a_list_of_rewards_is_not_a_reward(without_type_checks):
    with pytest.raises(TypeError, match="auxiliary 0 is a list, expected an array; give several one by one"):
        scalar_blend(WORLD.mdp, WORLD.primary, [WORLD.good, WORLD.bad])


def test_many_weights_at_once():
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good, WORLD.bad)
    weights = np.random.default_rng(0).normal(size=(3, 4, 2))
    together = blend.reward(weights)
    assert together.shape == (3, 4, 25, 4)
    np.testing.assert_allclose(together[1, 2], blend.reward(weights[1, 2]), atol=1e-14)


def test_project_many_gradients():
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good, WORLD.bad)
    gradients = np.random.default_rng(0).normal(size=(2, 25, 4))  # as many as weights: easy to pair up by mistake
    expected = [[float((gradient * part).sum()) for part in blend.components] for gradient in gradients]
    np.testing.assert_allclose(blend.project(gradients), expected, rtol=1e-12)


def test_project_refuses_other_shapes(without_type_checks):
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good)
    with pytest.raises(ValueError, match="gradient has shape"):
        blend.project(np.zeros((24, 4)))
