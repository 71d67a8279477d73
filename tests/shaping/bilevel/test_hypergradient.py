"""Exact hyper-gradients against worked numbers, finite differences, one another, and what they must be blind to."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, occupancy, policy_return, potential_shaping
from rewardlab.shaping.bilevel.blends import RewardBlend
from rewardlab.shaping.bilevel.hypergradient import (
    bilevel_gradient,
    fisher_hypergradient,
    forward_hypergradient,
    reward_hypergradient,
    solve_inner,
)
from tests.strategies import seeds

Problem = namedtuple("Problem", "mdp blended primary temperature inner_discount")

PRIMARY = np.array([[0.0, 0.0], [1.0, 0.5]])
ADVICE = np.array([[1.0, 0.0], [0.0, 0.0]])
LOGIT = 2.0
LEARNED = 1 / (1 + np.exp(-LOGIT))


def two_states():
    transition = np.array([[[1.0, 0.0], [0.2, 0.8]], [[0.0, 1.0], [0.8, 0.2]]])
    return FiniteMDP(transition, discount=0.9, initial=np.array([1.0, 0.0]))


def worked():
    return Problem(two_states(), PRIMARY + 0.5 * ADVICE, PRIMARY, 0.5, LEARNED)


maybe = st.booleans()


@st.composite
def problems(draw, episodic=maybe):
    rng = np.random.default_rng(draw(seeds))
    states, actions = draw(st.integers(3, 7)), draw(st.integers(2, 4))
    mdp = FiniteMDP.random(states, actions, rng=rng, discount=0.95, episodic=draw(episodic))
    blended, primary = rng.normal(size=(2, states, actions))
    return Problem(mdp, blended, primary, draw(st.sampled_from([0.1, 0.3, 1.0])), draw(st.sampled_from([0.6, 0.9])))


def primary_return(problem, **changed):
    problem = problem._replace(**changed)
    return float(
        policy_return(problem.mdp, problem.primary, solve_inner(problem.mdp, problem.blended, *problem[3:]).policy)
    )


def test_worked_example():
    found = bilevel_gradient(*worked())
    assert found.primary_return == pytest.approx(6.8614007867, abs=1e-9)
    np.testing.assert_allclose(
        found.inner.policy, [[0.4193556771, 0.5806443229], [0.9109604604, 0.0890395396]], atol=1e-9
    )
    entropy_left_out = 0.5 * np.log(2) / (1 - LEARNED)  # the worked values are with entropy, ours relative to uniform
    np.testing.assert_allclose(found.inner.values + entropy_left_out, [7.8397232885, 8.7802201054], atol=1e-9)
    np.testing.assert_allclose(found.reward, [[-3.41253179, -0.85670966], [5.84817487, -1.57893341]], atol=1e-8)
    assert float((found.reward * PRIMARY).sum()) == pytest.approx(5.0587081590, abs=1e-9)
    assert float((found.reward * ADVICE).sum()) == pytest.approx(-3.4125317904, abs=1e-9)
    assert float(found.discount) * LEARNED * (1 - LEARNED) == pytest.approx(0.4786245257, abs=1e-9)


def test_worked_example_in_the_other_forms():
    problem = worked()
    for form in (forward_hypergradient, fisher_hypergradient):
        found = form(*problem, directions=np.stack([PRIMARY, ADVICE]))
        np.testing.assert_allclose(found, [5.0587081590, -3.4125317904], atol=1e-9)


def test_worked_visits_and_curvature():
    """Minus the curvature at the optimum: twice temperature times visits times the product of the probabilities."""
    mdp, policy = worked().mdp, solve_inner(*worked()[:2], *worked()[3:]).policy
    np.testing.assert_allclose(occupancy(mdp, policy).sum(-1), [2.8188982147, 7.1811017853], atol=1e-9)
    inner_visits = occupancy(mdp.with_discount(LEARNED), policy).sum(-1)
    np.testing.assert_allclose(inner_visits, [2.5822484792, 5.8068076197], atol=1e-9)
    curvature = 2 * 0.5 * inner_visits * policy.prod(-1)
    np.testing.assert_allclose(curvature, [0.6287684492, 0.4709988764], atol=1e-9)


def test_worked_null_directions():
    """No constant and no potential could change the return: 9e-15 in separate code."""
    problem = worked()
    gradient = reward_hypergradient(*problem)
    assert abs(float(gradient.sum())) < 1e-13
    for potential in ([1.0, 0.0], [0.0, 1.0], [-3.0, 7.0]):
        shaping = LEARNED * problem.mdp.transition @ np.array(potential) - np.array(potential)[:, None]
        assert abs(float((gradient * shaping).sum())) < 1e-13


def four_weights(seed):
    """A random world, a blend with weights for a bonus, the primary and the auxiliary reward, and a point of it."""
    rng = np.random.default_rng(seed)
    states, actions = int(rng.integers(3, 9)), int(rng.integers(2, 5))
    mdp = FiniteMDP.random(states, actions, rng=rng, discount=0.95)
    primary, auxiliary = rng.normal(size=(2, states, actions))
    bonus = np.repeat(rng.normal(size=(states, 1)), actions, axis=1)
    point = np.append(np.array([0.0, 1.0, 0.5]) + 0.3 * rng.normal(size=3), rng.uniform(1, 3))
    return mdp, primary, RewardBlend(np.zeros((states, actions)), np.stack([bonus, primary, auxiliary])), point


def test_weights_and_logit_of_the_discount_against_finite_differences():
    """Over 20 random worlds the worst relative error was 2.7e-9 in separate code."""
    worst, step = 0.0, 1e-3
    for seed in range(20):
        mdp, primary, blend, point = four_weights(seed)

        def solved(at, mdp=mdp, primary=primary, blend=blend):
            return bilevel_gradient(mdp, blend.reward(at[:3]), primary, 0.5, float(1 / (1 + np.exp(-at[3]))))

        found, inner = solved(point), 1 / (1 + np.exp(-point[3]))
        gradient = np.append(blend.project(found.reward), float(found.discount) * inner * (1 - inner))
        steps = step * np.eye(4)[:, None] * np.array([-2, -1, 1, 2])[:, None]  # five points: the error is of order 4
        returns = np.array([[float(solved(point + way).primary_return) for way in ways] for ways in steps])
        differences = returns @ np.array([1, -8, 8, -1]) / (12 * step)
        worst = max(worst, np.linalg.norm(gradient - differences) / np.linalg.norm(differences))
    assert worst < 1e-8


def test_forward_form_agrees_to_rounding_in_30_worlds():
    for seed in range(30):
        mdp, primary, blend, point = four_weights(seed)
        problem = (mdp, blend.reward(point[:3]), primary, 0.5, 0.9)
        forward = forward_hypergradient(*problem, directions=blend.components)
        by_entry = reward_hypergradient(*problem)
        size = max(1, np.abs(by_entry * blend.components).sum())  # what is added up, of either sign
        np.testing.assert_allclose(blend.project(by_entry), forward, rtol=0, atol=1e-11 * size)


@given(problems())
def test_the_inner_solution_is_a_softmax_and_a_mean_in_the_log(problem):
    """By the Bellman equation written out: action values at the inner discount, values relative to uniform."""
    inner = solve_inner(*problem[:2], *problem[3:])
    alive, temperature = ~problem.mdp.terminal, problem.temperature
    expected = problem.blended + problem.inner_discount * problem.mdp.transition @ (alive * inner.values)
    np.testing.assert_allclose(inner.action_values[alive], expected[alive], atol=1e-9)
    best = inner.action_values.max(-1, keepdims=True)
    powers = np.exp((inner.action_values - best) / temperature)
    np.testing.assert_allclose(inner.policy[alive], (powers / powers.sum(-1, keepdims=True))[alive], atol=1e-9)
    soft = best[:, 0] + temperature * np.log(powers.mean(-1))
    np.testing.assert_allclose(inner.values, alive * soft, atol=1e-9)


@pytest.mark.parametrize(("weight", "earned"), [(0.0, 7.7390287010), (2.0, 0.0108933770)])
def test_worked_returns(weight, earned):
    assert primary_return(worked(), blended=PRIMARY + weight * ADVICE) == pytest.approx(earned, abs=1e-9)


@settings(max_examples=60)
@given(problems())
def test_every_entry_against_finite_differences(problem):
    found, step = bilevel_gradient(*problem), 1e-5
    differences = np.zeros_like(problem.blended)
    for entry in np.ndindex(problem.blended.shape):
        bump = np.zeros_like(problem.blended)
        bump[entry] = step
        high, low = (primary_return(problem, blended=problem.blended + sign * bump) for sign in (1, -1))
        differences[entry] = (high - low) / (2 * step)
    scale = max(1, np.abs(differences).max())
    np.testing.assert_allclose(found.reward, differences, atol=1e-6 * scale)
    high, low = (primary_return(problem, inner_discount=problem.inner_discount + sign * step) for sign in (1, -1))
    assert float(found.discount) == pytest.approx((high - low) / (2 * step), rel=1e-5, abs=1e-6 * scale)


@given(problems(), seeds)
def test_forward_form_is_the_same(problem, seed):
    directions = np.random.default_rng(seed).normal(size=(5, *problem.blended.shape))
    by_entry = reward_hypergradient(*problem)
    forward = forward_hypergradient(*problem, directions=directions)
    np.testing.assert_allclose(forward, (by_entry * directions).sum((-2, -1)), rtol=1e-9, atol=1e-9)


@given(problems(), seeds)
def test_fisher_form_is_the_same_where_the_agent_goes_everywhere(problem, seed):
    directions = np.random.default_rng(seed).normal(size=(3, *problem.blended.shape))
    everywhere = np.where(problem.mdp.terminal, 0.0, 1.0)
    mdp = FiniteMDP(
        problem.mdp.transition, problem.mdp.discount, everywhere / everywhere.sum(), terminal=problem.mdp.terminal
    )
    problem = problem._replace(mdp=mdp)
    forward = forward_hypergradient(*problem, directions=directions)
    scale = max(1, np.abs(forward).max())
    np.testing.assert_allclose(fisher_hypergradient(*problem, directions=directions), forward, atol=1e-9 * scale)


@pytest.mark.parametrize("temperature", [0.03, 0.003, 0.0003])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_fisher_form_of_an_agent_that_is_nearly_or_quite_certain(temperature, weight):
    world = guided_grid()
    problem = (world.mdp, world.primary + weight * world.bad, world.primary, temperature)
    directions = np.stack([world.mdp.state_action_reward(reward) for reward in (world.good, world.bad)])
    forward = forward_hypergradient(*problem, directions=directions)
    np.testing.assert_allclose(fisher_hypergradient(*problem, directions=directions), forward, rtol=1e-6, atol=1e-12)


def test_fisher_form_sees_only_where_the_agent_trains():
    """An agent of discount 0 learns from its first reward alone: its Fisher matrix is 0 in the other states."""
    problem = worked()._replace(inner_discount=0.0)
    directions = np.eye(4).reshape(4, 2, 2)
    forward = forward_hypergradient(*problem, directions=directions)
    fisher = fisher_hypergradient(*problem, directions=directions)
    assert abs(forward[2:]).min() > 0.01
    np.testing.assert_allclose(fisher, np.append(forward[:2], [0, 0]), atol=1e-12)


@given(problems(), seeds)
def test_no_potential_helps_or_harms(problem, seed):
    potential = np.random.default_rng(seed).normal(size=problem.mdp.states) * ~problem.mdp.terminal
    shaping = potential_shaping(problem.mdp.with_discount(problem.inner_discount), potential)
    gradient = reward_hypergradient(*problem)
    assert abs(float((gradient * problem.mdp.state_action_reward(shaping)).sum())) < 1e-8 * (1 + np.abs(gradient).max())


@given(problems(episodic=st.just(False)))
def test_a_constant_is_neutral_where_nothing_ends(problem):
    gradient = reward_hypergradient(*problem)
    assert abs(float(gradient.sum())) < 1e-9 * (1 + np.abs(gradient).max())


def test_a_constant_is_not_neutral_where_episodes_end():
    world = guided_grid()
    table = world.mdp.state_action_reward(world.primary)
    gradient = reward_hypergradient(world.mdp, table, world.primary, 0.1)
    assert float(gradient.sum()) < -0.1  # a wage for every step keeps the agent from the goal
    assert not gradient[world.mdp.terminal].any()


@given(problems(episodic=st.just(False)))
def test_scale_identity(problem):
    """Growing the reward is lowering the temperature."""
    gradient, step = reward_hypergradient(*problem), 1e-5
    high, low = (primary_return(problem, temperature=problem.temperature + sign * step) for sign in (1, -1))
    by_scale = float((gradient * problem.blended).sum())
    assert by_scale == pytest.approx(-problem.temperature * (high - low) / (2 * step), rel=1e-4, abs=1e-5)


def test_scale_identity_worked():
    problem = worked()
    assert float((reward_hypergradient(*problem) * problem.blended).sum()) == pytest.approx(3.3524422639, abs=1e-9)


@pytest.mark.parametrize(
    ("weight", "temperature", "expected"), [(0, 0.5, -0.2099871708), (1, 0.5, -0.5), (0, 0.1, -4.54e-4)]
)
def test_bandit(weight, temperature, expected):
    """One step, two arms: the derivative is minus the product of the arms' probabilities over the temperature."""
    transition = np.array([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    mdp = FiniteMDP(transition, 0.9, np.array([1.0, 0.0]), terminal=np.array([False, True]))
    primary, advice = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    gradient = reward_hypergradient(mdp, primary + weight * advice, primary, temperature)
    assert float((gradient * advice).sum()) == pytest.approx(expected, rel=1e-3 if temperature == 0.1 else 1e-8)


GRID = {  # temperature -> (weight of the bad advice, primary return, derivative by the weight)
    0.003: ((0.02, 0.915, -0.017), (0.05, 0.890, -7.7), (0.1, -0.099, -2.6e-4)),
    0.3: ((0.02, 0.614, -0.26), (0.05, 0.606, -0.29), (0.1, 0.589, -0.36)),
    1.0: ((0.02, 0.482, -0.14), (0.05, 0.478, -0.15), (0.1, 0.470, -0.16)),
}


@pytest.mark.parametrize("temperature", GRID)
def test_temperature_smooths_the_cliff(temperature):
    world = guided_grid()
    for weight, earned, slope in GRID[temperature]:
        found = bilevel_gradient(world.mdp, world.primary + weight * world.bad, world.primary, temperature)
        by_weight = float((found.reward * world.mdp.state_action_reward(world.bad)).sum())
        assert float(found.primary_return) == pytest.approx(earned, abs=6e-4)
        assert by_weight == pytest.approx(slope, rel=0.05, abs=1e-5)


def test_entropy_alone_would_pay_for_never_arriving():
    """Why the inner level is regularised towards uniform: under plain entropy the goal is avoided."""
    from rewardlab.exact import soft_optimal_policy

    world = guided_grid()
    plain = soft_optimal_policy(world.mdp, world.primary, 0.03).policy
    ours = solve_inner(world.mdp, world.primary, 0.03).policy
    assert float(policy_return(world.mdp, world.primary, plain)) < -0.09
    assert float(policy_return(world.mdp, world.primary, ours)) == pytest.approx(0.8632, abs=5e-5)


def test_batches_are_loops():
    rng = np.random.default_rng(0)
    mdp = FiniteMDP.random(4, 4, batch=4, rng=1, discount=0.9)  # as many actions as states and worlds: easy to mistake
    blended, primary = rng.normal(size=(2, 4, 4, 4, 4))
    together = bilevel_gradient(mdp, blended, primary, 0.4, 0.8)
    for i in range(4):
        alone = bilevel_gradient(mdp[i], blended[i], primary[i], 0.4, 0.8)
        for ours, theirs in zip(together[:3], alone[:3], strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-10, atol=1e-12)


def test_transition_rewards_count_by_expectation():
    world = guided_grid()
    tables = [world.mdp.state_action_reward(reward) for reward in (world.primary + world.good, world.primary)]
    np.testing.assert_allclose(
        reward_hypergradient(world.mdp, world.primary + world.good, world.primary, 0.1),
        reward_hypergradient(world.mdp, *tables, 0.1),
        atol=1e-12,
    )


@given(problems())
def test_torch_gives_the_same(problem):
    ours = bilevel_gradient(*problem)
    mdp = FiniteMDP(
        *(torch.tensor(field) if isinstance(field, np.ndarray) else field for field in _fields(problem.mdp))
    )
    theirs = bilevel_gradient(mdp, torch.tensor(problem.blended), torch.tensor(problem.primary), *problem[3:])
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-8, atol=1e-9)


def _fields(mdp):
    return mdp.transition, mdp.discount, mdp.initial, mdp.terminal


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"blended": np.full((2, 2), np.nan)}, r"blended\[0, 0\] is nan"),
        ({"primary": np.zeros((3, 2))}, r"primary has shape \(3, 2\)"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": np.inf}, "temperature"),
        ({"inner_discount": 1.0}, "discount"),
        ({"inner_discount": -0.1}, "discount"),
    ],
)
def test_bad_input(without_type_checks, changed, message):
    with pytest.raises(ValueError, match=message):
        bilevel_gradient(*worked()._replace(**changed))


@pytest.mark.parametrize(
    "directions", [np.zeros((2, 2)), np.zeros((1, 2, 3)), np.full((1, 2, 2), np.inf)], ids=["flat", "wide", "infinite"]
)
@pytest.mark.parametrize("form", [forward_hypergradient, fisher_hypergradient])
def test_bad_directions(without_type_checks, form, directions):
    with pytest.raises(ValueError, match="directions"):
        form(*worked(), directions=directions)


def test_forward_form_takes_one_world(without_type_checks):
    mdp = FiniteMDP.random(3, 2, batch=2, rng=0)
    with pytest.raises(ValueError, match="no batch"):
        forward_hypergradient(mdp, np.zeros((3, 2)), np.zeros((3, 2)), 0.1, directions=np.zeros((1, 3, 2)))
    with pytest.raises(ValueError, match="expected one reward"):
        forward_hypergradient(mdp[0], np.zeros((2, 3, 2)), np.zeros((3, 2)), 0.1, directions=np.zeros((1, 3, 2)))
