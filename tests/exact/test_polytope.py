"""The geometry of occupancies: projection, the largest ball, and the constants between which regret lies."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import null_space
from scipy.optimize import linprog

from rewardlab.distance import starc
from rewardlab.exact import (
    FiniteMDP,
    chebyshev_radius,
    flow_matrix,
    occupancy,
    policy_return,
    potential_shaping,
    project_reward,
    redistribution,
    regret_constants,
    worst_case_regret,
)
from tests.strategies import (
    corridor,
    horizon,
    random_policy,
    random_potential,
    rewards,
    seeds,
    two_state_world,
    visited,
    worlds,
    worlds_and_rewards,
)


def test_flow_matrix_by_loops():
    mdp = corridor()
    flow = flow_matrix(mdp)
    for s, a, z in np.ndindex(5, 2, 5):
        expected = 0.0 if mdp.terminal[s] or mdp.terminal[z] else float(s == z) - 0.9 * mdp.transition[s, a, z]
        assert flow[s * 2 + a, z] == pytest.approx(expected, abs=1e-15)


@given(worlds_and_rewards(), seeds)
def test_projection_keeps_what_policies_differ_in_and_nothing_else(world, seed):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    size = max(abs(reward).max(), 1e-300)
    projected = project_reward(mdp, reward)
    np.testing.assert_allclose(flow_matrix(mdp).T @ projected.ravel(), 0, atol=1e-13 * size * mdp.actions * mdp.states)
    np.testing.assert_allclose(projected[mdp.terminal], 0, atol=1e-15 * size)
    np.testing.assert_allclose(project_reward(mdp, projected), projected, atol=1e-13 * size)
    policies = np.stack([random_policy(mdp, rng) for _ in range(2)])
    change = np.diff(policy_return(mdp, reward, policies)).item()
    by_geometry = np.vdot(projected, np.diff(occupancy(mdp, policies), axis=0))
    assert change == pytest.approx(by_geometry, abs=1e-12 * horizon(mdp) ** 2 * size)


@given(worlds_and_rewards(scale=st.just(1.0)), seeds, st.booleans())
def test_projection_is_the_residual_of_least_squares(world, seed, weighted):
    mdp, reward = world
    weight = np.random.default_rng(seed).uniform(0.1, 3, (mdp.states, mdp.actions)) if weighted else None
    flow, root = flow_matrix(mdp), np.ones(mdp.states * mdp.actions) if weight is None else np.sqrt(weight.ravel())
    target = mdp.state_action_reward(reward).ravel()
    # rounding may look like a direction of its own in published worlds, where some columns differ by 1e-10
    fit = np.linalg.lstsq(root[:, None] * flow, root * target, rcond=1e-14)[0]
    expected = (target - flow @ fit).reshape(mdp.states, mdp.actions)
    np.testing.assert_allclose(project_reward(mdp, reward, weight=weight), expected, atol=1e-9)


@given(worlds_and_rewards(scale=st.just(1.0)), seeds, st.sampled_from([1e-3, 1.0, 1e4]))
def test_projection_is_blind_to_shaping_and_redistribution(world, seed, size):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    changed = reward + potential_shaping(mdp, random_potential(mdp, rng, size))
    changed = changed + redistribution(mdp, size * rng.normal(size=reward.shape))
    np.testing.assert_allclose(project_reward(mdp, changed), project_reward(mdp, reward), atol=1e-13 * (10 + 10 * size))


def test_worked_example():
    mdp, first, second = two_state_world()
    a, b = project_reward(mdp, first), project_reward(mdp, second)
    np.testing.assert_allclose(a, [[-0.276243, 0.251381], [-0.223757, 0.248619]], atol=5e-7)
    cosine = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    assert math.degrees(math.acos(cosine)) == pytest.approx(121.0508, abs=5e-5)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("actions", [2, 3, 7])
def test_ball_of_a_single_state_is_that_of_a_simplex(actions, discount):
    """With one state the occupancies are a simplex that sums to 1 / (1 - discount), whose inscribed ball is known."""
    mdp = FiniteMDP(np.ones((1, actions, 1)), discount)
    expected = 1 / (1 - discount) / math.sqrt(actions * (actions - 1))
    assert chebyshev_radius(mdp) == pytest.approx(expected, rel=1e-9)


def radius_in_coordinates(mdp):
    """The same radius from the coordinates of an orthonormal basis of the hull's directions (no projection matrix)."""
    flow = flow_matrix(mdp).reshape(mdp.states, mdp.actions, mdp.states)[~mdp.terminal][..., ~mdp.terminal]
    flow = flow.reshape(-1, flow.shape[-1])
    basis = null_space(flow.T)
    start = occupancy(mdp)[~mdp.terminal].ravel()
    # start + basis y >= radius * (length of the row of the basis)
    rows = np.hstack([-basis, np.linalg.norm(basis, axis=1)[:, None]])
    cost = np.append(np.zeros(basis.shape[1]), -1.0)
    bounds = [(None, None)] * basis.shape[1] + [(0, None)]
    return linprog(cost, A_ub=rows, b_ub=start, bounds=bounds, method="highs").x[-1]


@given(worlds(kinds=("dense", "clean", "episodic", "corridor", "undiscounted"), discounts=(0.0, 0.5, 0.9)))
def test_ball_agrees_with_another_program(mdp):
    assert chebyshev_radius(mdp) == pytest.approx(radius_in_coordinates(mdp), abs=1e-7 * horizon(mdp))


def test_ball_fits_and_no_larger_one_does():
    mdp = FiniteMDP(np.random.default_rng(0).dirichlet(np.ones(3), (3, 2)), 0.8)
    radius, basis = chebyshev_radius(mdp), null_space(flow_matrix(mdp).T)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(2000, basis.shape[1])) @ basis.T
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centres = occupancy(mdp, rng.dirichlet(np.ones(2), (20_000, 3))).reshape(20_000, -1)
    # room of a centre: the least distance to a face, within the hull
    room = (centres / np.linalg.norm(basis, axis=1)).min(axis=1)
    assert 0.9 * radius < room.max() <= radius * (1 + 1e-9)
    best = centres[room.argmax()]
    assert (best + room.max() * directions).min() >= -1e-12


@st.composite
def bounded_pairs(draw):
    """A world whose ball is not tiny, and two rewards that are not trivial."""
    mdp = draw(visited)
    return mdp, draw(rewards(mdp, sparse=(1.0,))), draw(rewards(mdp, sparse=(1.0,)))


@given(bounded_pairs())
def test_regret_lies_between_the_constants(world):
    mdp, first, second = world
    bounds = regret_constants(mdp)
    distance = starc(mdp, mdp.state_action_reward(first), second, canonicaliser="minimal")
    a, b = (project_reward(mdp, r) / np.linalg.norm(project_reward(mdp, r)) for r in (first, second))
    angle = 2 * math.atan2(np.linalg.norm(a - b), np.linalg.norm(a + b))
    assert distance == pytest.approx(2 * math.sin(angle / 2), abs=1e-9)
    regret = worst_case_regret(mdp, first, second).regret
    assert bounds.lower * distance - 1e-8 <= regret <= bounds.upper * distance + 1e-8
    sine = math.sin(angle) if angle <= math.pi / 2 else 1.0
    assert regret >= 2 * bounds.radius / bounds.diameter * sine - 1e-8


@given(worlds(kinds=("dense", "clean"), discounts=(0.0, 0.5, 0.9)))
def test_constants_are_those_of_ball_and_diameter(mdp):
    bounds = regret_constants(mdp)
    assert bounds.diameter == pytest.approx(math.sqrt(2) / (1 - mdp.discount))
    if bounds.radius > 0:
        assert bounds.lower * bounds.upper == pytest.approx(0.5)
        assert bounds.lower == pytest.approx(bounds.radius / bounds.diameter)
    else:
        assert (bounds.lower, bounds.upper) == (0, math.inf)


def test_a_state_that_is_never_reached_leaves_no_ball():
    transition = np.zeros((2, 2, 2))
    transition[..., 0] = 1
    bounds = regret_constants(FiniteMDP(transition, 0.9, initial=np.array([1.0, 0.0])))
    assert bounds[:3] == (0, math.inf, 0)
