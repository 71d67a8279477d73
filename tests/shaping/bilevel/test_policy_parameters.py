"""Derivatives of a softmax policy's return: against finite differences, automatic differentiation and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.exact import FiniteMDP, occupancy, policy_return, potential_shaping
from rewardlab.shaping.bilevel.hypergradient import solve_inner
from rewardlab.shaping.bilevel.policy_parameters import (
    discount_derivative,
    hessian,
    hessian_vector_product,
    mixed_derivative,
    policy_gradient,
    regularised_return,
)
from tests.strategies import horizon, random_potential, rewards, seeds, worlds, worlds_and_rewards

H = 1e-5  # of central differences
temperatures = st.sampled_from([0.0, 0.05, 1.0])
penalties = st.sampled_from([0.0, 0.3])


@st.composite
def problems(draw, from_worlds=None):
    """A world, a reward of ordinary size, logits, and how the return is regularised."""
    mdp = draw(worlds() if from_worlds is None else from_worlds)
    reward = draw(rewards(mdp, scale=st.just(1.0)))
    logits = np.random.default_rng(draw(seeds)).normal(size=(mdp.states, mdp.actions))
    return mdp, reward, logits, {"temperature": draw(temperatures), "penalty": draw(penalties)}


def central(function, at, direction, step=H):
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def batch_of_worlds(seed=0, worlds=4, states=5, actions=3):
    """Worlds with a terminal state, rewards, logits, and all that can differ between them."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), (worlds, states, actions))
    transition[:, 2] = np.eye(states)[2]
    mdp = FiniteMDP(transition, 0.9, terminal=np.arange(states) == 2)
    tables = rng.normal(size=(2, worlds, states, actions))
    return mdp, *tables, np.linspace(0.3, 0.95, worlds)


def in_torch(mdp):
    return FiniteMDP(torch.tensor(mdp.transition), mdp.discount, terminal=torch.tensor(np.array(mdp.terminal)))


def test_a_bandit_by_hand():
    bandit = FiniteMDP(np.ones((1, 2, 1)), 0.0)
    logits = np.array([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4
    reward = np.array([[1.0, 0.0]])
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    expected = 0.75 - 0.5 * divergence - 0.1 * math.log(3.0) ** 2 / 2
    found = regularised_return(bandit, reward, logits, temperature=0.5, penalty=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    slope = 0.75 * 0.25 * (1 - 0.5 * math.log(3.0))
    np.testing.assert_allclose(policy_gradient(bandit, reward, logits, temperature=0.5), [[slope, -slope]])
    curve = 0.75 * 0.25 * (0.25 - 0.75)  # of the probability, without temperature
    np.testing.assert_allclose(hessian(bandit, reward, logits), [[curve, -curve], [-curve, curve]], atol=1e-15)


@given(problems())
def test_the_return_is_that_of_a_reward_less_the_divergence(problem):
    mdp, reward, logits, options = problem
    policy = softmax(logits)
    cost = options["temperature"] * np.log(policy * mdp.actions)
    expected = policy_return(mdp, mdp.state_action_reward(reward) - cost, policy)
    expected -= options["penalty"] / 2 * (logits**2).sum()
    found = regularised_return(mdp, reward, logits, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * horizon(mdp))


@given(problems(), seeds)
def test_gradient_against_finite_differences(problem, seed):
    mdp, reward, logits, options = problem
    direction = np.random.default_rng(seed).normal(size=logits.shape)
    change = central(lambda at: regularised_return(mdp, reward, at, **options), logits, direction)
    found = (policy_gradient(mdp, reward, logits, **options) * direction).sum()
    np.testing.assert_allclose(found, change, rtol=1e-5, atol=1e-6 * horizon(mdp))


@given(problems(), seeds)
def test_hessian_product_against_finite_differences(problem, seed):
    mdp, reward, logits, options = problem
    direction = np.random.default_rng(seed).normal(size=logits.shape)
    change = central(lambda at: policy_gradient(mdp, reward, at, **options), logits, direction)
    found = hessian_vector_product(mdp, reward, logits, direction, **options)
    np.testing.assert_allclose(found, change, rtol=1e-5, atol=1e-6 * horizon(mdp) ** 2)


@given(problems(), seeds)
def test_the_whole_hessian_is_symmetric_and_has_the_products(problem, seed):
    mdp, reward, logits, options = problem
    whole = hessian(mdp, reward, logits, **options)
    vector = np.random.default_rng(seed).normal(size=logits.shape)
    product = hessian_vector_product(mdp, reward, logits, vector, **options)
    np.testing.assert_allclose(whole @ vector.ravel(), product.ravel(), atol=1e-11 * horizon(mdp) ** 2)
    np.testing.assert_allclose(whole, whole.T, atol=1e-11 * horizon(mdp) ** 2)
    shift = np.repeat(np.eye(mdp.states), mdp.actions, axis=1)  # all logits of one state together
    np.testing.assert_allclose(whole @ shift.T, -options["penalty"] * shift.T, atol=1e-11 * horizon(mdp) ** 2)


@given(problems(), seeds)
def test_mixed_derivative_against_finite_differences(problem, seed):
    mdp, reward, logits, options = problem
    directions = np.random.default_rng(seed).normal(size=(2, mdp.states, mdp.actions))
    table = mdp.state_action_reward(reward)
    found = mixed_derivative(mdp, table, logits, directions, **options)
    for one, direction in zip(found, directions, strict=True):
        change = central(lambda at: policy_gradient(mdp, at, logits, **options), table, direction, step=1.0)  # linear
        np.testing.assert_allclose(one, change, atol=1e-10 * horizon(mdp))


@given(problems(worlds(discounts=(0.5, 0.9))))
def test_discount_derivative_against_finite_differences(problem):
    mdp, reward, logits, options = problem
    at = 0.8 if mdp.discount == 1 else mdp.discount

    def gradient(discount):
        return policy_gradient(mdp, reward, logits, discount=float(discount), **options)

    found = discount_derivative(mdp, reward, logits, discount=at, **options)
    np.testing.assert_allclose(found, central(gradient, at, 1.0), rtol=1e-5, atol=1e-5)


def test_against_automatic_differentiation():
    mdp, reward, logits, discounts = batch_of_worlds()
    theirs, discount = (torch.tensor(table, requires_grad=True) for table in (logits, discounts))
    options = {"temperature": 0.3, "penalty": 0.1}
    vector = np.random.default_rng(1).normal(size=logits.shape)
    total = regularised_return(in_torch(mdp), torch.tensor(reward), theirs, discount=discount, **options).sum()
    (slope,) = torch.autograd.grad(total, theirs, create_graph=True)
    along = (slope * torch.tensor(vector)).sum()
    product, by_discount = torch.autograd.grad(along, (theirs, discount))
    arguments = (mdp, reward, logits)
    options["discount"] = discounts
    np.testing.assert_allclose(policy_gradient(*arguments, **options), slope.detach(), atol=1e-14)
    np.testing.assert_allclose(hessian_vector_product(*arguments, vector, **options), product, atol=1e-13)
    found = (discount_derivative(*arguments, **options) * vector).sum((-2, -1))
    np.testing.assert_allclose(found, by_discount, rtol=1e-12)


@given(worlds_and_rewards(scale=st.just(1.0)), seeds, temperatures)
def test_potential_shaping_leaves_gradient_and_hessian(world, seed, temperature):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(mdp.states, mdp.actions))
    shaped = reward + potential_shaping(mdp, random_potential(mdp, rng))
    for derivative in (policy_gradient, hessian):
        plain, other = (derivative(mdp, table, logits, temperature=temperature) for table in (reward, shaped))
        np.testing.assert_allclose(plain, other, atol=1e-11 * horizon(mdp) ** 2)


def test_an_offset_is_neutral_unless_episodes_end():
    rng = np.random.default_rng(0)
    endless = FiniteMDP(rng.dirichlet(np.ones(4), (4, 3)), 0.9)
    ending, reward, logits, _ = batch_of_worlds()
    for derivative in (policy_gradient, hessian):
        table = rng.normal(size=(4, 3))
        plain, moved = (derivative(endless, table + offset, rng.normal(size=(4, 3)) * 0) for offset in (0.0, -3.0))
        np.testing.assert_allclose(plain, moved, atol=1e-12)
        plain, moved = (derivative(ending, reward + offset, logits) for offset in (0.0, -3.0))
        assert abs(plain - moved).max() > 0.01


def test_curvature_at_the_soft_optimum_is_the_fisher_matrix():
    """Property 3: closed form, nullity S, and eigenvalues no lower than -temperature * most visits / 2."""
    rng = np.random.default_rng(3)
    for temperature, inner in ((0.5, 0.88), (0.05, 0.95)):
        mdp = FiniteMDP(rng.dirichlet(np.ones(6), (20, 6, 3)), 0.9)
        reward = rng.normal(size=(20, 6, 3))
        solved = solve_inner(mdp, reward, temperature, inner)
        logits = solved.action_values / temperature
        found = hessian(mdp, reward, logits, discount=inner, temperature=temperature)
        visits = occupancy(mdp.with_discount(inner), solved.policy).sum(-1)
        expected = np.zeros((20, 6, 3, 6, 3))
        for state in range(6):
            policy = solved.policy[:, state]
            spread = policy[:, :, None] * (np.eye(3) - policy[:, None, :])
            expected[:, state, :, state] = -temperature * visits[:, state, None, None] * spread
        np.testing.assert_allclose(found, expected.reshape(20, 18, 18), atol=1e-13)
        sizes = np.linalg.eigvalsh(found)
        assert (sizes <= 1e-13).all()
        assert (sizes >= -temperature * visits.max(-1, keepdims=True) / 2 - 1e-13).all()
        if temperature == 0.5:
            assert ((abs(sizes) < 1e-12).sum(-1) == 6).all()


def test_terminal_states_have_no_part_but_in_the_penalty():
    mdp, reward, logits, _ = batch_of_worlds()
    options = {"temperature": 0.2, "penalty": 0.0}
    paid, moved = np.array(reward), np.array(logits)
    paid[:, 2] += 100
    moved[:, 2] += [5, 0, -5]
    for derivative in (regularised_return, policy_gradient, discount_derivative):
        np.testing.assert_array_equal(
            derivative(mdp, reward, logits, **options), derivative(mdp, paid, moved, **options)
        )
    assert (policy_gradient(mdp, reward, moved, **options)[:, 2] == 0).all()
    assert (policy_gradient(mdp, reward, moved, penalty=0.5)[:, 2] == -0.5 * moved[:, 2]).all()
    directions = np.zeros((1, 5, 3))
    directions[0, 2] = 1
    assert (mixed_derivative(mdp, reward, logits, directions) == 0).all()
    assert (hessian(mdp, reward, logits, **options).reshape(4, 5, 3, 5, 3)[:, 2] == 0).all()


def test_extreme_logits_stay_finite():
    mdp, reward, logits, _ = batch_of_worlds()
    for derivative in (regularised_return, policy_gradient, hessian, discount_derivative):
        assert np.isfinite(derivative(mdp, reward, 1e5 * logits, temperature=0.1)).all()


def test_a_batch_is_its_worlds_one_by_one_and_torch_is_numpy():
    mdp, reward, logits, discounts = batch_of_worlds()
    vector = np.random.default_rng(1).normal(size=logits.shape)
    directions = np.random.default_rng(2).normal(size=(6, 5, 3))
    options = {"temperature": 0.3, "penalty": 0.1}

    def everything(mdp, reward, logits, vector, directions, discount):
        arguments, named = (mdp, reward, logits), {"discount": discount, **options}
        return (
            regularised_return(*arguments, **named),
            policy_gradient(*arguments, **named),
            hessian_vector_product(*arguments, vector, **named),
            hessian(*arguments, **named),
            mixed_derivative(*arguments, directions, **named),
            discount_derivative(*arguments, **named),
        )

    together = everything(mdp, reward, logits, vector, directions, discounts)
    for world in range(4):
        alone = everything(mdp[world], reward[world], logits[world], vector[world], directions, float(discounts[world]))
        for batched, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(batched[world], single, rtol=1e-12, atol=1e-13)
    tensors = (torch.tensor(table) for table in (reward, logits, vector, directions, discounts))
    for ours, theirs in zip(together, everything(in_torch(mdp), *tensors), strict=True):
        assert isinstance(theirs, torch.Tensor)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_many_rewards_and_many_policies_in_one_world():
    mdp, reward, logits, _ = batch_of_worlds()
    found = policy_gradient(mdp[0], reward, logits[:, None], temperature=0.1)
    assert found.shape == (4, 4, 5, 3)
    one = policy_gradient(mdp[0], reward[3], logits[1], temperature=0.1)
    np.testing.assert_allclose(found[1, 3], one, atol=1e-14)


def test_whole_numbers_will_do(without_type_checks):
    mdp, _, _, _ = batch_of_worlds()
    found = policy_gradient(mdp[0], np.arange(15).reshape(5, 3), np.ones((5, 3), int), temperature=1, penalty=0)
    expected = policy_gradient(mdp[0], np.arange(15.0).reshape(5, 3), np.ones((5, 3)), temperature=1.0)
    np.testing.assert_array_equal(found, expected)


def but(table, place, value):
    table = np.array(table)
    table[place] = value
    return table


MDP, REWARD, LOGITS, _ = batch_of_worlds()
ONE = MDP[0]
UNDISCOUNTED = "a policy can stay away from terminal states for ever"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0].tolist()), TypeError, "logits: expected a NumPy array"),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0, :3]), ValueError, "logits has shape (3, 3), expected (*"),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0, 0]), ValueError, "logits has shape (3,), expected (*batch"),
        (lambda: hessian(ONE, REWARD[0], LOGITS[0] * np.nan), ValueError, "logits[0, 0] is nan, expected a finite"),
        (lambda: hessian(ONE, REWARD[0], but(LOGITS[0], (1, 2), np.inf)), ValueError, "logits[1, 2] is inf, expected"),
        (lambda: hessian(ONE, but(REWARD[0], (3, 1), np.nan), LOGITS[0]), ValueError, "reward[3, 1] is nan, expected"),
        (lambda: hessian(ONE, REWARD[0, :, :2], LOGITS[0]), ValueError, "reward has shape (5, 2), expected"),
        (lambda: hessian(ONE, REWARD[0], torch.tensor(LOGITS[0])), TypeError, "logits is a Tensor but the MDP holds"),
        (lambda: hessian(MDP, REWARD[:3], LOGITS), ValueError, "do not broadcast against one another: reward (3,)"),
        (lambda: hessian(MDP, REWARD, LOGITS[:3]), ValueError, "do not broadcast against one another: logits (3,)"),
        (lambda: hessian(ONE, REWARD[:2], LOGITS[:3]), ValueError, "reward (2,), discount (), logits (3,), mdp ()"),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], temperature=-1.0), ValueError, "temperature is -1.0"),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], temperature=np.nan), ValueError, "temperature is nan"),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], temperature="1"), TypeError, "temperature: expected a num"),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], penalty=-0.1), ValueError, "penalty is -0.1, expected"),
        (
            lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], discount=1.1),
            ValueError,
            "discount is 1.1, expected a nu",
        ),
        (lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], discount="1"), TypeError, "discount: expected a number"),
        (
            lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], discount=np.array([0.5, -0.5])),
            ValueError,
            "discount[1] is -0.5, expected a number in [0, 1]",
        ),
        (
            lambda: policy_gradient(ONE, REWARD[0], LOGITS[0], discount=np.array([0.5, np.nan])),
            ValueError,
            "discount[1] is nan, expected a finite number",
        ),
        (
            lambda: policy_gradient(MDP, REWARD, LOGITS, discount=np.full(3, 0.5)),
            ValueError,
            "do not broadcast against one another: discount (3,), mdp (4,)",
        ),
        (lambda: policy_gradient(STUCK, np.zeros((2, 2)), np.zeros((2, 2)), discount=1), ValueError, UNDISCOUNTED),
        (
            lambda: policy_gradient(STUCK, np.zeros((2, 2)), np.zeros((2, 2)), discount=np.ones(3)),
            ValueError,
            UNDISCOUNTED,
        ),
        (
            lambda: hessian_vector_product(ONE, REWARD[0], LOGITS[0], LOGITS[0, :2]),
            ValueError,
            "vector has shape (2, 3), expected",
        ),
        (
            lambda: hessian_vector_product(ONE, REWARD[0], LOGITS[0], LOGITS[0] * np.nan),
            ValueError,
            "vector[0, 0] is nan",
        ),
        (
            lambda: mixed_derivative(ONE, REWARD[0], LOGITS[0], LOGITS[0]),
            ValueError,
            "directions has shape (5, 3), expected (*batch, K, 5, 3)",
        ),
        (
            lambda: mixed_derivative(ONE, REWARD[0], LOGITS[0], LOGITS * np.inf),
            ValueError,
            "expected a finite number",
        ),
        (lambda: mixed_derivative(ONE, REWARD[0], LOGITS[0], [0]), TypeError, "directions: expected a NumPy array"),
        (
            lambda: mixed_derivative(MDP, REWARD, LOGITS, np.zeros((3, 2, 5, 3))),
            ValueError,
            "do not broadcast against one another: directions (3,), mdp (4,)",
        ),
    ],
)
def test_refusals(call, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


STUCK = FiniteMDP(np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]), 0.9, terminal=np.array([False, True]))


def test_no_directions_give_no_derivatives():
    assert mixed_derivative(ONE, REWARD[0], LOGITS[0], np.zeros((0, 5, 3))).shape == (0, 5, 3)
