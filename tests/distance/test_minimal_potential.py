"""Least shaped rewards against a general solver on the explicit design matrix, in all six norms."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from rewardlab.distance import NORMS, minimal_potential, minimal_potential_canonical, norm, val_canonical
from rewardlab.exact import FiniteMDP, potential_shaping
from tests.strategies import (
    corridor,
    horizon,
    random_potential,
    scales,
    seeds,
    two_state_world,
    worlds,
    worlds_and_rewards,
)

orders = st.sampled_from(NORMS)


def least_norm(mdp, reward, order):
    """The least norm over all potentials, from HiGHS or least squares on the whole design matrix."""
    alive = np.flatnonzero(~mdp.terminal)
    design = potential_shaping(mdp, np.eye(mdp.states)[alive]).reshape(len(alive), -1).T
    weight = mdp.continuation.ravel() if order.startswith("weighted") else np.ones(reward.size)
    if order.endswith("2"):
        root = np.sqrt(weight)
        fit = np.linalg.lstsq(root[:, None] * design, -root * reward.ravel(), rcond=None)[0]
        return np.linalg.norm(root * (reward.ravel() + design @ fit))
    design, target = weight[:, None] * design, weight * reward.ravel()
    entries = len(target)
    bound = np.eye(entries) if order.endswith("1") else np.ones((entries, 1))
    above = np.block([[design, -bound], [-design, -bound]])
    cost = np.append(np.zeros(len(alive)), np.ones(bound.shape[1]))
    limits = [(None, None)] * len(alive) + [(0, None)] * bound.shape[1]
    return linprog(cost, A_ub=above, b_ub=np.append(-target, target), bounds=limits, method="highs").fun


@given(worlds_and_rewards(from_worlds=worlds(max_states=4), scale=st.just(1.0)), orders)
def test_agrees_with_a_general_solver(world, order):
    mdp, reward = world
    assume(norm(mdp, reward, order) > 1e-4)  # the general solver's tolerances are absolute
    reached = norm(mdp, minimal_potential_canonical(mdp, reward, order), order)
    least = least_norm(mdp, reward, order)
    assert reached == pytest.approx(least, abs=1e-7 * norm(mdp, reward, order))


@given(worlds_and_rewards(), orders, seeds)
def test_no_other_potential_does_better(world, order, seed):
    mdp, reward = world
    potential = minimal_potential(mdp, reward, order)
    np.testing.assert_array_equal(potential[mdp.terminal], 0)
    form = minimal_potential_canonical(mdp, reward, order)
    np.testing.assert_allclose(form, reward + potential_shaping(mdp, potential), atol=0)
    size, reached = norm(mdp, reward, order), norm(mdp, form, order)
    assert reached <= size * (1 + 1e-9)
    rng = np.random.default_rng(seed)
    for step in (1e-6, 1e-3, 1.0):
        other = form + potential_shaping(mdp, random_potential(mdp, rng, step * abs(reward).max()))
        assert norm(mdp, other, order) >= reached - 1e-8 * size


@given(worlds_and_rewards(sparse=(1.0,)), seeds, st.sampled_from([1e-2, 1.0, 1e2]), orders)
def test_the_least_norm_is_blind_to_shaping(world, seed, size, order):
    """The least norm is the same for shaped rewards; in L2, where it is reached once, so is the form."""
    mdp, reward = world
    shaping = potential_shaping(mdp, random_potential(mdp, np.random.default_rng(seed), size * abs(reward).max()))
    forms = minimal_potential_canonical(mdp, np.stack([reward, 3 * (reward + shaping)]), order)
    scale = norm(mdp, abs(reward) + abs(shaping), order)
    assert norm(mdp, forms[1], order) == pytest.approx(3 * norm(mdp, forms[0], order), abs=1e-6 * scale)
    if order == "2":
        np.testing.assert_allclose(forms[1], 3 * forms[0], atol=1e-8 * horizon(mdp) * scale)
    differ = val_canonical(mdp, forms[0]) - val_canonical(mdp, reward)
    np.testing.assert_allclose(differ, 0, atol=1e-9 * horizon(mdp) * (abs(reward).max() + abs(forms[0]).max()))


def test_worked_example():
    mdp, reward, _ = two_state_world()
    assert norm(mdp, minimal_potential_canonical(mdp, reward, "2"), "2") == pytest.approx(0.791006, abs=5e-7)


@pytest.mark.parametrize("order", NORMS)
def test_pure_shaping_vanishes(order):
    for mdp in (FiniteMDP.random(5, 3, rng=0), corridor(), corridor(1.0)):
        potential = random_potential(mdp, np.random.default_rng(0))
        shaping = potential_shaping(mdp, potential)
        form = minimal_potential_canonical(mdp, shaping, order)
        assert norm(mdp, form, order) <= 1e-8 * norm(mdp, shaping, order)
    assert not minimal_potential_canonical(mdp, np.zeros((5, 2, 5)), order).any()


@given(worlds(max_states=4), seeds, scales, orders)
def test_size_of_the_reward_does_not_matter(mdp, seed, size, order):
    reward = np.random.default_rng(seed).normal(size=mdp.transition.shape)
    one, other = norm(mdp, minimal_potential_canonical(mdp, np.stack([reward, size * reward]), order), order)
    assert other == pytest.approx(size * one, rel=1e-6)


@pytest.mark.parametrize("order", NORMS)
def test_published_size(order):
    """The study's size, with the general solver as judge for one reward and each norm."""
    mdp = FiniteMDP.random(10, 4, rng=3)
    reward = np.random.default_rng(3).normal(size=(10, 4, 10))
    reached = norm(mdp, minimal_potential_canonical(mdp, reward, order), order)
    assert reached == pytest.approx(least_norm(mdp, reward, order), rel=1e-8)


@pytest.mark.parametrize("order", NORMS)
def test_batches_broadcast(order):
    rng = np.random.default_rng(0)
    many = FiniteMDP(rng.dirichlet(np.ones(4), (2, 1, 4, 3)), np.array([[0.5], [0.9]]))
    reward = rng.normal(size=(3, 4, 3, 4))
    together = minimal_potential(many, reward, order)
    assert together.shape == (2, 3, 4)
    for w, r in np.ndindex(2, 3):
        alone = minimal_potential(many[w, 0], reward[r], order)
        np.testing.assert_allclose(together[w, r], alone, atol=1e-6)


@pytest.mark.parametrize("order", NORMS)
def test_state_action_rewards_too(order):
    mdp, short = corridor(), np.random.default_rng(0).normal(size=(5, 2))
    full = np.repeat(short[..., None], 5, -1)
    np.testing.assert_array_equal(minimal_potential(mdp, short, order), minimal_potential(mdp, full, order))
