"""Same order, same optimal policies: answers agree with enumeration, and every witness is verified by its returns."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.distance.equivalence import same_optimal_policies, same_policy_order
from rewardlab.exact import (
    FiniteMDP,
    optimal_policy,
    policy_return,
    potential_shaping,
    redistribution,
    state_values,
    uniform_policy,
)
from rewardlab.exact.gridworld import gridworld

GRIDS = [
    gridworld(layout, slip=slip).mdp
    for layout in ("S.G", "..H\nS.G", "....\n.#.G\nS..H", "...\n.S.\n...")
    for slip in (0.0, 0.3)
]
seeds = st.integers(0, 2**32 - 1)


@st.composite
def worlds(draw, most_states=7, most_actions=4):
    seed = draw(seeds)
    discount = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99]))
    if draw(st.booleans()):
        return draw(st.sampled_from(GRIDS)).with_discount(discount)
    states, actions = draw(st.integers(3, most_states)), draw(st.integers(2, most_actions))
    clean, episodic = draw(st.booleans()), draw(st.booleans())
    return FiniteMDP.random(states, actions, discount=discount, episodic=episodic, clean=clean, rng=seed)


@st.composite
def small_worlds(draw):
    """Few enough deterministic policies to try them all; sparse transitions and whole-number rewards make ties."""
    states, rng = draw(st.integers(2, 4)), np.random.default_rng(draw(seeds))
    transition = np.eye(states)[rng.integers(states, size=(states, 2, 2))].mean(axis=2)
    rewards = rng.integers(-1, 2, size=(2, states, 2)).astype(float)
    return FiniteMDP(transition, discount=draw(st.sampled_from([0.0, 0.5, 0.9]))), *rewards


def random_table(mdp, rng):
    return rng.normal(size=mdp.transition.shape)


def equivalent(mdp, reward, rng, scale):
    potential = np.where(mdp.terminal, 0.0, rng.normal(size=mdp.states))
    return scale * reward + potential_shaping(mdp, potential) + redistribution(mdp, random_table(mdp, rng))


def changes_of_return(mdp, witness, *rewards):
    policies = (witness.before, witness.after)
    for policy in policies:
        assert (policy >= 0).all()
        np.testing.assert_allclose(policy.sum(axis=-1), 1)
    returns = np.array([[policy_return(mdp, reward, policy) for policy in policies] for reward in rewards])
    return np.diff(returns, axis=1)[:, 0]


@given(worlds(), seeds, st.floats(0.1, 10))
def test_equivalent_rewards_have_the_same_order(mdp, seed, scale):
    rng = np.random.default_rng(seed)
    a = random_table(mdp, rng)
    b = equivalent(mdp, a, rng, scale)
    found = same_policy_order(mdp, a, b)
    assert found.same
    assert bool(found)
    assert found.witness is None
    assert found.distance < 1e-9
    assert same_optimal_policies(mdp, a, b)
    opposite = same_policy_order(mdp, a, -b)
    assert bool(opposite) == opposite.same


@given(worlds(), seeds, st.sampled_from([1e-4, 0.01, 1.0, 100.0]))
def test_witness_is_raised_by_one_reward_and_lowered_by_the_other(mdp, seed, noise):
    rng = np.random.default_rng(seed)
    a = random_table(mdp, rng)
    b = equivalent(mdp, a, rng, 2.0) + noise * random_table(mdp, rng)
    found = same_policy_order(mdp, a, b)
    assert not found.same
    assert found.witness.change_a > 0 > found.witness.change_b
    changes = changes_of_return(mdp, found.witness, a, b)
    assert changes[0] > 0 > changes[1]
    np.testing.assert_allclose(changes, found.witness[2:], rtol=1e-4, atol=1e-11)


@given(worlds(), seeds, st.sampled_from([1.0, 1e3, 1e6]))
def test_rounding_of_large_shaping_is_no_disagreement(mdp, seed, size):
    rng = np.random.default_rng(seed)
    a = random_table(mdp, rng)
    b = a + size * equivalent(mdp, np.zeros_like(a), rng, 1.0)
    assert same_policy_order(mdp, a, b, tolerance=0.0).same
    assert not same_policy_order(mdp, a, b + 0.01 * random_table(mdp, rng), tolerance=0.0).same


@given(worlds(), seeds)
def test_opposite_rewards(mdp, seed):
    rng = np.random.default_rng(seed)
    a = random_table(mdp, rng)
    found = same_policy_order(mdp, a, equivalent(mdp, a, rng, -3.0))
    assert (found.same, found.distance, found.angle) == (False, pytest.approx(2), pytest.approx(180))
    assert found.witness.change_b == pytest.approx(-3 * found.witness.change_a)


@given(worlds(), seeds, st.booleans())
def test_trivial_against_another_is_a_tie_only_one_sees(mdp, seed, first):
    rng = np.random.default_rng(seed)
    pair = [equivalent(mdp, np.zeros(mdp.transition.shape), rng, 1.0), random_table(mdp, rng)]
    pair = pair if first else pair[::-1]
    found = same_policy_order(mdp, *pair)
    assert (found.same, found.trivial_a, found.trivial_b) == (False, first, not first)
    assert np.isnan(found.angle)
    changes = np.array(found.witness[2:])
    assert changes[0 if first else 1] == 0
    assert abs(changes[1 if first else 0]) > 0
    np.testing.assert_allclose(changes_of_return(mdp, found.witness, *pair), changes, atol=1e-9)
    assert same_policy_order(mdp, pair[0], pair[0]).same
    nothing = pair[0] if first else pair[1]
    assert same_policy_order(mdp, nothing, 0 * nothing).same


@settings(max_examples=50)
@given(worlds(), seeds)
def test_torch_agrees_with_numpy(mdp, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, mdp.states, mdp.actions))
    copy = FiniteMDP(torch.tensor(mdp.transition), mdp.discount, torch.tensor(mdp.initial), torch.tensor(mdp.terminal))
    ours, theirs = same_policy_order(mdp, a, b), same_policy_order(copy, torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(theirs[1:3], ours[1:3], atol=1e-10)
    for mine, other in zip(ours.witness, theirs.witness, strict=True):
        np.testing.assert_allclose(np.asarray(other), mine, atol=1e-9)
    ours = same_optimal_policies(mdp, a, b)
    theirs = same_optimal_policies(copy, torch.tensor(a), torch.tensor(b))
    np.testing.assert_array_equal(theirs.optimal_a.numpy(), ours.optimal_a)
    assert ours.same == theirs.same
    assert ours.same or ours.witness.loss == pytest.approx(theirs.witness.loss)


@given(small_worlds())
def test_optimal_actions_agree_with_trying_every_policy(case):
    mdp, *rewards = case
    choices = np.array(list(itertools.product(range(2), repeat=mdp.states)))
    policies = np.eye(2)[choices]
    optimal = []
    for reward in rewards:
        values = state_values(mdp, reward, policies)
        best = (values >= values.max(axis=0) - 1e-9).all(axis=-1)
        optimal.append({tuple(choice) for choice in choices[best]})
    found = same_optimal_policies(mdp, *rewards)
    assert found.same == (optimal[0] == optimal[1])
    for mask, tried in zip(found[1:3], optimal, strict=True):
        allowed = [np.flatnonzero(row) for row in mask]
        assert set(itertools.product(*allowed)) == tried


@given(worlds(), seeds, st.sampled_from([0.1, 1.0, 10.0]))
def test_optimality_witness_is_optimal_for_one_and_loses_in_the_other(mdp, seed, noise):
    rng = np.random.default_rng(seed)
    a = random_table(mdp, rng)
    b = a + noise * random_table(mdp, rng)
    found = same_optimal_policies(mdp, a, b)
    if found.same:  # a little noise need not change what is optimal
        return
    witness = found.witness
    theirs, other = (a, b) if witness.optimal_for == "reward_a" else (b, a)
    assert found.differing[witness.state]
    assert witness.policy[witness.state, witness.action] == 1
    np.testing.assert_allclose(state_values(mdp, theirs, witness.policy), optimal_policy(mdp, theirs).values, atol=1e-7)
    there = replace(mdp, initial=np.eye(mdp.states)[witness.state])
    loss = optimal_policy(there, other).expected_return - policy_return(there, other, witness.policy)
    assert loss == pytest.approx(witness.loss)
    assert loss > 0


@given(worlds(), seeds)
def test_optimality_preserving_rewards_agree_on_optimal_policies_only(mdp, seed):
    # E[R + discount * Psi(s')] <= Psi(s), with equality exactly for optimal actions (arXiv 2203.07475)
    rng = np.random.default_rng(seed)
    a = random_table(mdp, rng)
    loss = np.where(optimal_policy(mdp, a).optimal_actions, 0.0, rng.uniform(0.5, 2, size=(mdp.states, mdp.actions)))
    b = potential_shaping(mdp, np.where(mdp.terminal, 0.0, rng.normal(size=mdp.states))) - loss[..., None]
    found = same_optimal_policies(mdp, a, b)
    assert found.same
    assert not found.differing.any()


def test_two_state_example():
    stay_or_switch = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    mdp = FiniteMDP(stay_or_switch, discount=0.9)
    a, b = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    a[0, 1, 1] = b[1, 0, 1] = 1.0  # paid for arriving in the second state; paid for staying there
    found = same_policy_order(mdp, a, b)
    assert found.angle == pytest.approx(121.0508, abs=1e-4)
    optimal = same_optimal_policies(mdp, a, b)
    assert optimal.optimal_a.tolist() == [[False, True], [False, True]]
    assert optimal.optimal_b.tolist() == [[False, True], [True, False]]
    assert optimal.differing.tolist() == [False, True]
    # staying for ever is worth 1 / (1 - 0.9) to reward_b, and switching for ever nothing
    assert (optimal.witness.state, optimal.witness.optimal_for) == (1, "reward_a")
    assert optimal.witness.loss == pytest.approx(10)


def test_published_example_of_reward_hacking():
    # action a leads to state a; returns 1, 1, 5, 3 of the deterministic policies 00, 01, 10, 11 (arXiv 2209.13085)
    mdp = FiniteMDP(np.broadcast_to(np.eye(2), (2, 2, 2)).copy(), discount=0.5)
    reward = np.array([[0.0, 3.0], [2.0, 1.0]])
    policies = np.eye(2)[np.array(list(itertools.product(range(2), repeat=2)))]
    np.testing.assert_allclose(policy_return(mdp, reward, policies), [1, 1, 5, 3])
    simpler = np.array([[0.0, 1.0], [1.0, 1.0]])
    found = same_policy_order(mdp, reward, simpler)
    assert not found.same
    changes = changes_of_return(mdp, found.witness, reward, simpler)
    assert changes[0] > 0 > changes[1]


def test_states_that_are_never_reached_do_not_count():
    mdp = FiniteMDP.random(6, 3, discount=0.9, clean=True, rng=0)
    transition = np.zeros((8, 3, 8))
    transition[:6, :, :6] = mdp.transition
    transition[6:, :, 0] = 1.0  # two more states lead in, but nothing leads to them
    world = FiniteMDP(transition, discount=0.9, initial=np.eye(8)[0])
    rng = np.random.default_rng(1)
    a = rng.normal(size=(8, 3))
    b = a.copy()
    b[6:] = rng.normal(size=(2, 3))
    assert same_policy_order(world, a, b).same
    assert same_optimal_policies(world, a, b).same
    from_anywhere = replace(world, initial=np.full(8, 1 / 8))
    found = same_policy_order(from_anywhere, a, b)
    changes = changes_of_return(from_anywhere, found.witness, a, b)
    assert changes[0] > 0 > changes[1]
    b[0, 0] += 1
    found = same_policy_order(world, a, b)
    changes = changes_of_return(world, found.witness, a, b)
    assert changes[0] > 0 > changes[1]
    np.testing.assert_array_equal(found.witness.after[6:], uniform_policy(world)[6:])


def test_a_long_way_to_go_does_not_blunt_the_witness():
    # from the start, the uniform policy hardly ever gets to the far end; orders differ only there
    steps = 60
    transition = np.zeros((steps, 2, steps))
    transition[np.arange(steps), 0, 0] = 1.0
    transition[np.arange(steps), 1, np.minimum(np.arange(steps) + 1, steps - 1)] = 1.0
    mdp = FiniteMDP(transition, discount=0.99, initial=np.eye(steps)[0])
    rng = np.random.default_rng(0)
    a = rng.normal(size=(steps, 2))
    b = a.copy()
    b[:3] -= rng.normal(size=(3, 2))
    found = same_policy_order(mdp, a, b)
    changes = changes_of_return(mdp, found.witness, a, b)
    assert changes[0] > 0.1
    assert changes[1] < -0.1
    np.testing.assert_allclose(changes, found.witness[2:], rtol=1e-6)


def test_tolerance_decides_what_counts():
    mdp = FiniteMDP.random(6, 3, discount=0.9, clean=True, rng=0)
    rng = np.random.default_rng(0)
    a = random_table(mdp, rng)
    b = a + 1e-5 * random_table(mdp, rng)
    assert not same_policy_order(mdp, a, b).same
    assert same_policy_order(mdp, a, b, tolerance=1e-3).same
    near_tie = np.array([[0.0, 1.0], [1.0, 1.0 - 1e-6]])
    single = FiniteMDP(np.broadcast_to(np.eye(2)[:, None], (2, 2, 2)).copy(), discount=0.0)
    assert not same_optimal_policies(single, near_tie, near_tie.round()).same
    assert same_optimal_policies(single, near_tie, near_tie.round(), tolerance=1e-5).same


def test_an_episode_that_is_over_before_it_starts_has_no_order():
    world = gridworld("S.G", discount=0.9).mdp
    over = replace(world, initial=np.array([0.0, 0.0, 1.0]))
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert same_policy_order(over, a, b).same
    assert same_optimal_policies(over, a, b).same


@pytest.mark.parametrize("function", [same_policy_order, same_optimal_policies])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mdp": FiniteMDP.random(3, 2, batch=4, rng=0)}, r"mdp has batch shape \(4,\), expected one world"),
        ({"reward_a": np.zeros((5, 3, 2))}, r"reward_a has batch shape \(5,\), expected one reward"),
        ({"reward_b": np.full((3, 2), np.inf)}, r"reward_b\[0, 0\] is inf"),
        ({"tolerance": -0.1}, r"tolerance is -0.1, expected a number in \[0"),
    ],
)
def test_bad_input(without_type_checks, function, change, message):
    arguments = {"mdp": FiniteMDP.random(3, 2, rng=0), "reward_a": np.ones((3, 2)), "reward_b": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        function(**(arguments | change))
