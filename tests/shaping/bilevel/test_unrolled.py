"""Derivatives through K steps of exact training: finite differences, forwards and backwards, and Neumann's series."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, policy_return, potential_shaping
from rewardlab.shaping.bilevel.hypergradient import solve_inner
from rewardlab.shaping.bilevel.implicit_gradient import implicit_hypergradient
from rewardlab.shaping.bilevel.inner_loop import gradient_ascent
from rewardlab.shaping.bilevel.unrolled import forward_unrolled_hypergradient, unrolled_hypergradient
from tests.strategies import seeds, worlds

STEP = 1e-5


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@st.composite
def trainings(draw):
    """A world of any kind, a blended and a primary reward, and how the policy is trained."""
    mdp = draw(worlds(discounts=(0.5, 0.9)))
    rng = np.random.default_rng(draw(seeds))
    blended, primary, start = rng.normal(size=(3, mdp.states, mdp.actions))
    options = {
        "steps": draw(st.integers(0, 6)),
        "learning_rate": draw(st.sampled_from([0.1, 1.0])),
        "start": draw(st.sampled_from([None, start])),
        "inner_discount": draw(st.sampled_from([0.0, 0.6, 0.9])),
        "temperature": draw(st.sampled_from([0.0, 0.2])),
        "penalty": draw(st.sampled_from([0.0, 0.1])),
    }
    return mdp, blended, primary, options, rng


def trained(mdp, blended, options):
    named = {("discount" if name == "inner_discount" else name): value for name, value in options.items()}
    return gradient_ascent(mdp, blended, **named)


def earned(mdp, blended, primary, options):
    return policy_return(mdp, primary, softmax(trained(mdp, blended, options)))


def test_one_step_by_hand():
    """From the uniform policy of a bandit, the first step's derivative is the alignment of two gradients."""
    bandit = FiniteMDP(np.ones((1, 2, 1)), 0.0)
    right = np.array([[1.0, 0.0]])
    found = unrolled_hypergradient(bandit, 0 * right, right, steps=1, learning_rate=2.0)
    # gradient of either component at equal logits is (1/4, -1/4): alignment 1/8, twice
    np.testing.assert_allclose(found.reward, [[0.25, -0.25]])
    np.testing.assert_allclose(found.logits, 0)
    np.testing.assert_allclose(found.primary_return, 0.5)


@given(trainings())
def test_by_the_reward_against_finite_differences(training):
    mdp, blended, primary, options, rng = training
    found = unrolled_hypergradient(mdp, blended, primary, **options)
    direction = rng.normal(size=blended.shape)
    up, down = (earned(mdp, blended + sign * STEP * direction, primary, options) for sign in (1, -1))
    np.testing.assert_allclose((found.reward * direction).sum(), (up - down) / (2 * STEP), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.logits, trained(mdp, blended, options))
    np.testing.assert_allclose(found.primary_return, earned(mdp, blended, primary, options), rtol=1e-12, atol=1e-12)


@given(trainings())
def test_by_the_discount_against_finite_differences(training):
    mdp, blended, primary, options, _ = training
    options |= {"inner_discount": 0.7}
    found = unrolled_hypergradient(mdp, blended, primary, **options)
    up, down = (earned(mdp, blended, primary, options | {"inner_discount": 0.7 + sign * STEP}) for sign in (1, -1))
    np.testing.assert_allclose(found.discount, (up - down) / (2 * STEP), rtol=1e-5, atol=1e-6)


@given(trainings())
def test_forwards_is_backwards(training):
    mdp, blended, primary, options, rng = training
    directions = rng.normal(size=(4, *blended.shape))
    backwards = (unrolled_hypergradient(mdp, blended, primary, **options).reward * directions).sum((-2, -1))
    forwards = forward_unrolled_hypergradient(mdp, blended, primary, directions, **options)
    np.testing.assert_allclose(forwards, backwards, rtol=1e-9, atol=1e-11)


@given(seeds, st.integers(1, 12))
def test_from_the_optimum_it_is_neumanns_series(seed, steps):
    """Property 7."""
    rng = np.random.default_rng(seed)
    mdp = FiniteMDP(rng.dirichlet(np.ones(4), (4, 3)), 0.9)
    primary, auxiliary = rng.normal(size=(2, 4, 3))
    blended = primary + auxiliary
    logits = solve_inner(mdp, blended, 0.4, 0.8).action_values / 0.4
    options = {"inner_discount": 0.8, "temperature": 0.4}
    unrolled = unrolled_hypergradient(mdp, blended, primary, steps=steps, learning_rate=0.5, start=logits, **options)
    series = implicit_hypergradient(
        mdp, blended, primary, logits, curvature="neumann", loops=steps - 1, step=0.5, **options
    )
    np.testing.assert_allclose(unrolled.reward, series.reward, atol=1e-12)
    np.testing.assert_allclose(unrolled.discount, series.discount, atol=1e-12)


def test_a_long_training_comes_to_the_implicit_gradient():
    rng = np.random.default_rng(1)
    mdp = FiniteMDP(rng.dirichlet(np.ones(3), (3, 2)), 0.9)
    primary, auxiliary = rng.normal(size=(2, 3, 2))
    blended = primary + 0.3 * auxiliary
    found = unrolled_hypergradient(mdp, blended, primary, steps=600, learning_rate=0.5, temperature=0.8)
    logits = solve_inner(mdp, blended, 0.8).action_values / 0.8
    expected = implicit_hypergradient(mdp, blended, primary, logits, temperature=0.8)
    np.testing.assert_allclose(found.reward, expected.reward, atol=1e-8)


def test_forty_steps_on_the_grid():
    """Experiment B before anything is learned: what the naive sum earns, the primary reward alone, and a potential."""
    world = guided_grid()
    options = {"steps": 40, "learning_rate": 2.0}
    for blended, expected in (
        (world.primary, 0.8258),
        (world.primary + world.good, 0.9160),
        (world.primary + world.bad, -0.0992),
    ):
        found = unrolled_hypergradient(world.mdp, blended, world.primary, **options)
        np.testing.assert_allclose(found.primary_return, expected, atol=5e-5)
    found = unrolled_hypergradient(world.mdp, world.primary, world.primary, **options)
    good, bad = (world.mdp.state_action_reward(reward) for reward in (world.good, world.bad))
    assert (found.reward * good).sum() > 1
    assert (found.reward * bad).sum() < 0


def test_a_potential_changes_no_step():
    """Property 11: parameters stay the same along 40 steps."""
    world = guided_grid()
    potential = np.where(world.mdp.terminal, 0.0, np.random.default_rng(0).normal(size=25))
    shaped = world.primary + potential_shaping(world.mdp, potential)
    for steps in (1, 7, 40):
        plain, other = (
            gradient_ascent(world.mdp, reward, steps=steps, learning_rate=2.0) for reward in (world.primary, shaped)
        )
        np.testing.assert_allclose(plain, other, atol=1e-11)


@settings(max_examples=30)
@given(seeds)
def test_a_batch_is_its_worlds_one_by_one_and_torch_is_numpy(seed):
    rng = np.random.default_rng(seed)
    mdp = FiniteMDP(rng.dirichlet(np.ones(4), (3, 4, 2)), 0.9)
    blended, primary = rng.normal(size=(2, 3, 4, 2))
    directions, inner = rng.normal(size=(5, 4, 2)), np.array([0.3, 0.6, 0.9])
    options = {"steps": 3, "learning_rate": 0.7, "temperature": 0.1, "penalty": 0.05}

    def both(mdp, blended, primary, directions, inner):
        named = options | {"inner_discount": inner}
        return *unrolled_hypergradient(mdp, blended, primary, **named), forward_unrolled_hypergradient(
            mdp, blended, primary, directions, **named
        )

    together = both(mdp, blended, primary, directions, inner)
    for world in range(3):
        alone = both(mdp[world], blended[world], primary[world], directions, float(inner[world]))
        for batched, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(batched[world], single, rtol=1e-11, atol=1e-12)
    tensors = [torch.tensor(table) for table in (blended, primary, directions, inner)]
    for ours, theirs in zip(together, both(FiniteMDP(torch.tensor(mdp.transition), 0.9), *tensors), strict=True):
        assert isinstance(theirs, torch.Tensor)
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_many_discounts_and_blends_in_one_world():
    world = guided_grid()
    blends = np.stack([world.primary + world.good, world.primary + world.bad])
    found = unrolled_hypergradient(
        world.mdp, blends, world.primary, steps=5, learning_rate=2.0, inner_discount=np.array([0.9, 0.5])
    )
    for place, discount in enumerate((0.9, 0.5)):
        alone = unrolled_hypergradient(
            world.mdp, blends[place], world.primary, steps=5, learning_rate=2.0, inner_discount=discount
        )
        np.testing.assert_allclose(found.reward[place], alone.reward, atol=1e-12)
        np.testing.assert_allclose(found.discount[place], alone.discount, rtol=1e-11)


def test_no_steps_no_derivative():
    world = guided_grid()
    found = unrolled_hypergradient(world.mdp, world.primary, world.primary, steps=0, learning_rate=1.0)
    assert (found.reward == 0).all() and found.discount == 0 and (found.logits == 0).all()
    forwards = forward_unrolled_hypergradient(
        world.mdp, world.primary, world.primary, np.ones((2, 25, 4)), steps=0, learning_rate=1.0
    )
    np.testing.assert_array_equal(forwards, [0, 0])
    many = np.stack([world.primary] * 3)
    batched = unrolled_hypergradient(world.mdp, many, world.primary, steps=0, learning_rate=1.0)
    assert batched.logits.shape == batched.reward.shape == (3, 25, 4) and batched.discount.shape == (3,)


WORLD = guided_grid()
TABLE = np.zeros((25, 4))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps is -1, expected a whole number"),
        ({"steps": 1.5}, TypeError, "steps is 1.5, expected a whole number"),
        ({"learning_rate": 0}, ValueError, "learning_rate is 0, expected a number in (0"),
        ({"learning_rate": np.nan}, ValueError, "learning_rate is nan"),
        ({"start": TABLE[:3]}, ValueError, "start has shape (3, 4), expected (*batch, 25, 4)"),
        ({"start": TABLE * np.nan}, ValueError, "start[0, 0] is nan, expected a finite number"),
        ({"inner_discount": -0.1}, ValueError, "inner_discount is -0.1, expected a number in [0, 1]"),
        ({"temperature": -0.1}, ValueError, "temperature is -0.1, expected"),
        ({"penalty": -0.1}, ValueError, "penalty is -0.1, expected"),
        ({"blended": TABLE + np.inf}, ValueError, "blended[0, 0] is inf, expected a finite number"),
        ({"primary": TABLE[:, :2]}, ValueError, "primary has shape (25, 2), expected"),
        (
            {"blended": np.stack([TABLE] * 2), "start": np.stack([TABLE] * 3)},
            ValueError,
            "blended (2,), inner_discount",
        ),
    ],
)
def test_refusals(options, error, message, without_type_checks):
    given = {"blended": TABLE, "primary": TABLE, "steps": 2, "learning_rate": 1.0} | options
    with pytest.raises(error) as caught:
        unrolled_hypergradient(WORLD.mdp, given.pop("blended"), given.pop("primary"), **given)
    assert message in str(caught.value)


def test_directions_that_do_not_fit(without_type_checks):
    for directions, message in ((TABLE, "directions has shape (25, 4), expected"), (TABLE[None, :3], "(1, 3, 4)")):
        with pytest.raises(ValueError, match="directions has shape") as caught:
            forward_unrolled_hypergradient(WORLD.mdp, TABLE, TABLE, directions, steps=1, learning_rate=1.0)
        assert message in str(caught.value)
