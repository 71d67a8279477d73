"""Canonical forms against their definitions as expectations, and what each of them is blind to."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.distance import (
    dard_canonical,
    epic_canonical,
    minimal_canonical,
    norm,
    srrd_canonical,
    val_canonical,
    val_potential_canonical,
)
from rewardlab.exact import (
    FiniteMDP,
    action_values,
    advantages,
    occupancy,
    policy_return,
    potential_shaping,
    redistribution,
    state_values,
)
from tests.strategies import (
    KINDS,
    corridor,
    horizon,
    random_policy,
    random_potential,
    random_redistribution,
    random_shaping,
    seeds,
    two_state_world,
    worlds,
    worlds_and_rewards,
)


def minimal_unweighted(mdp, reward):
    return minimal_canonical(mdp, reward, weighted=False)


STARC_FORMS = (val_canonical, minimal_canonical, minimal_unweighted)
SHAPING_FORMS = (epic_canonical, srrd_canonical, val_potential_canonical)  # what they add is potential shaping
FORMS = (*STARC_FORMS, *SHAPING_FORMS, dard_canonical)
ordinary = worlds_and_rewards(scale=st.just(1.0))
continuing = worlds(kinds=KINDS[:4])
small_worlds = worlds(kinds=("published", "dense", "deterministic", "episodic"), max_states=3, max_actions=2)


def expectation(*axes):
    """The combinations of draws of several variables, each a list of (value, probability), and their probability."""
    for combination in itertools.product(*axes):
        yield [value for value, _ in combination], np.prod([probability for _, probability in combination])


def draws(probabilities):
    return list(enumerate(probabilities))


def epic_by_loops(mdp, r, over_states, over_actions):
    """R + E[discount R(s',A,S') - R(s,A,S') - discount R(S,A,S')]."""
    result, d = r.copy(), mdp.discount
    for s, a, z in np.ndindex(r.shape):
        for (u, x, y), p in expectation(draws(over_actions), draws(over_states), draws(over_states)):
            result[s, a, z] += p * (d * r[z, u, y] - r[s, u, y] - d * r[x, u, y])
    return result


def dard_by_loops(mdp, r, over_actions):
    """R + E[discount R(s',A,S'') - R(s,A,S') - discount R(S',A,S'')], one A for all, S' from s and S'' from s'."""
    result, t, d = r.copy(), mdp.transition, mdp.discount
    for s, a, z in np.ndindex(r.shape):
        for u, p in draws(over_actions):
            for (x, y), q in expectation(draws(t[s, u]), draws(t[z, u])):
                result[s, a, z] += p * q * (d * r[z, u, y] - r[s, u, x] - d * r[x, u, y])
    return result


def srrd_by_loops(mdp, r, origin, arrival, over_actions):
    """The eight expectations of the definition, one after the other; X1 from s', X2 from s, X5 from X1, X6 from X2."""
    t, d, result = mdp.transition, mdp.discount, r.copy()
    actions = draws(over_actions)

    def one_step(s):
        """E[R(s,A,X)] and the distribution of X."""
        return sum(p * q * r[s, u, x] for u, p in actions for x, q in draws(t[s, u])), over_actions @ t[s]

    def jump(start, end):
        """E[R(X,A,Y)] of independent X and Y."""
        return sum(p * r[x, u, y] for (x, u, y), p in expectation(draws(start), actions, draws(end)))

    values, steps = zip(*(one_step(s) for s in range(mdp.states)), strict=True)
    for s, a, z in np.ndindex(r.shape):
        x1, x2 = steps[z], steps[s]
        x5, x6 = (sum(p * steps[x] for x, p in draws(start)) for start in (x1, x2))
        result[s, a, z] += d * values[z] - values[s] - d * jump(origin, arrival)
        result[s, a, z] += d**2 * sum(p * values[x] for x, p in draws(x1)) - d**2 * jump(arrival, x5)
        result[s, a, z] += d * jump(origin, x6) - d * sum(p * values[x] for x, p in draws(x2))
    return result


@given(worlds_and_rewards(from_worlds=small_worlds, scale=st.just(1.0)), seeds, st.booleans())
def test_epic_dard_and_srrd_agree_with_their_expectations(world, seed, uniform):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    if uniform:  # what they take by default
        over_actions, over_states = {}, [{}, {}, {}]
        action, *states = (np.full(n, 1 / n) for n in (mdp.actions, *[mdp.states] * 3))
    else:
        action, *states = (rng.dirichlet(np.ones(n)) for n in (mdp.actions, *[mdp.states] * 3))
        names = ("state_distribution", "origin_distribution", "arrival_distribution")
        over_actions = {"action_distribution": action}
        over_states = [{name: value} for name, value in zip(names, states, strict=True)]
    epic = epic_canonical(mdp, reward, **over_actions, **over_states[0])
    np.testing.assert_allclose(epic, epic_by_loops(mdp, reward, states[0], action), atol=1e-13)
    dard = dard_canonical(mdp, reward, **over_actions)
    np.testing.assert_allclose(dard, dard_by_loops(mdp, reward, action), atol=1e-13)
    srrd = srrd_canonical(mdp, reward, **over_actions, **over_states[1], **over_states[2])
    np.testing.assert_allclose(srrd, srrd_by_loops(mdp, reward, states[1], states[2], action), atol=1e-13)


@given(ordinary, seeds, st.sampled_from([0.01, 1.0, 1e3]), st.sampled_from([1e-3, 1.0, 1e3]))
def test_starc_forms_keep_the_order_of_policies_and_nothing_else(world, seed, factor, size):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    changed = factor * reward + random_shaping(mdp, rng, size) + random_redistribution(mdp, rng, size)
    small = 1e-13 * horizon(mdp) * abs(changed).max() * mdp.states
    for form in STARC_FORMS:
        np.testing.assert_allclose(form(mdp, changed), factor * form(mdp, reward), atol=small)


@given(ordinary, seeds, st.sampled_from([0.01, 1.0, 1e3]), st.sampled_from([1e-3, 1.0, 1e3]))
def test_all_forms_are_blind_to_shaping_and_linear(world, seed, factor, size):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    other, shaping = rng.normal(size=reward.shape), random_shaping(mdp, rng, size)
    small = 1e-12 * horizon(mdp) * (factor * abs(reward).max() + size * 10)
    for form in FORMS:
        together = form(mdp, factor * reward + 2 * other + shaping)
        np.testing.assert_allclose(together, factor * form(mdp, reward) + 2 * form(mdp, other), atol=small)
    # also for distributions that are not uniform
    origin, arrival = rng.dirichlet(np.ones(mdp.states), 2)
    for shaped in (
        srrd_canonical(mdp, shaping, origin_distribution=origin, arrival_distribution=arrival),
        epic_canonical(mdp, shaping, state_distribution=origin),
    ):
        np.testing.assert_allclose(shaped, 0, atol=small)


@given(ordinary)
def test_idempotent(world):
    mdp, reward = world
    for form in (*STARC_FORMS, epic_canonical, srrd_canonical, val_potential_canonical):
        once = form(mdp, reward)
        small = 1e-12 * horizon(mdp) * (1 + abs(once).max())
        np.testing.assert_allclose(form(mdp, once), once, atol=small)


@given(worlds_and_rewards(from_worlds=continuing, scale=st.just(1.0)))
def test_what_a_form_takes_away(world):
    """Shaping alone, for EPIC, SRRD and VALPotential; for the STARC forms also redistribution; never an advantage."""
    mdp, reward = world
    for form in (*SHAPING_FORMS, *STARC_FORMS):
        added = form(mdp, reward) - reward
        small = 1e-11 * horizon(mdp) * (1 + abs(added).max())
        np.testing.assert_allclose(val_canonical(mdp, added), 0, atol=small)
        if form in SHAPING_FORMS:
            potential = np.diagonal(added[:, 0]) / (mdp.discount - 1)  # a self-loop is paid (discount - 1) * potential
            np.testing.assert_allclose(potential_shaping(mdp, potential), added, atol=small * horizon(mdp))


def test_dard_is_neither_idempotent_nor_shaping():
    mdp = FiniteMDP(np.random.default_rng(0).dirichlet(np.ones(6), (6, 3)), 0.9)
    reward = np.random.default_rng(1).normal(size=(6, 3, 6))
    once = dard_canonical(mdp, reward)
    assert abs(dard_canonical(mdp, once) - once).max() > 0.01
    advantage = advantages(mdp, reward)
    moved = np.linalg.norm(advantages(mdp, once) - advantage) / np.linalg.norm(advantage)
    assert moved > 0.01


@given(worlds_and_rewards(), seeds)
def test_val_is_the_advantage(world, seed):
    mdp, reward = world
    policy = random_policy(mdp, np.random.default_rng(seed))
    size = max(abs(reward).max(), 1e-300)
    form = val_canonical(mdp, reward, policy)
    np.testing.assert_array_equal(form, form[..., :1] * np.ones(mdp.states))
    expected = action_values(mdp, reward, policy) - state_values(mdp, reward, policy)[:, None]
    np.testing.assert_allclose(form[..., 0], expected, atol=1e-12 * horizon(mdp) * size)
    np.testing.assert_allclose((policy * form[..., 0]).sum(-1), 0, atol=1e-12 * horizon(mdp) * size)
    small = 1e-12 * horizon(mdp) ** 2 * size
    assert np.vdot(form[..., 0], occupancy(mdp, policy)) == pytest.approx(0, abs=small)
    other = random_policy(mdp, np.random.default_rng(seed + 1))
    gained = policy_return(mdp, reward, other) - policy_return(mdp, reward, policy)
    assert np.vdot(form[..., 0], occupancy(mdp, other)) == pytest.approx(gained, abs=small)


@given(ordinary)
def test_epic_is_0_on_average_in_every_state(world):
    mdp, reward = world
    form = epic_canonical(mdp, reward)
    np.testing.assert_allclose(form.mean(axis=(1, 2)), 0, atol=1e-13 * (1 + abs(reward).max()))


@given(ordinary, seeds)
def test_epic_is_0_on_average_in_every_state_under_its_distributions(world, seed):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    over_states, over_actions = rng.dirichlet(np.ones(mdp.states)), rng.dirichlet(np.ones(mdp.actions))
    form = epic_canonical(mdp, reward, state_distribution=over_states, action_distribution=over_actions)
    np.testing.assert_allclose(np.einsum("saz,a,z->s", form, over_actions, over_states), 0, atol=1e-12)


def kernel(form, mdp):
    """An orthonormal basis, as columns, of the rewards that the form makes 0."""
    size = mdp.states**2 * mdp.actions
    basis = np.eye(size).reshape(size, mdp.states, mdp.actions, mdp.states)
    matrix = form(mdp, basis).reshape(size, size).T
    _, values, right = np.linalg.svd(matrix)
    return right[values < 1e-10 * values[0]].T


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("states", "actions"), [(4, 3), (3, 2), (2, 4)])
def test_nullity(form, states, actions):
    mdp = FiniteMDP(np.random.default_rng(0).dirichlet(np.ones(states), (states, actions)), 0.9)
    blind = kernel(form, mdp)
    both = states + states**2 * actions - states * actions
    assert blind.shape[1] == (both if form in STARC_FORMS else states)
    assert (form, states, actions) != (val_canonical, 4, 3) or blind.shape[1] == 40
    shaping = potential_shaping(mdp, np.eye(states)).reshape(states, -1).T
    np.testing.assert_allclose(blind @ (blind.T @ shaping), shaping, atol=1e-10)  # the kernel of DARD is shaping too
    if form in STARC_FORMS:
        moved = redistribution(mdp, np.random.default_rng(1).normal(size=mdp.transition.shape)).ravel()
        np.testing.assert_allclose(blind @ (blind.T @ moved), moved, atol=1e-10)


@given(
    worlds_and_rewards(from_worlds=worlds(discounts=(0.0, 0.5, 0.9), max_states=3, max_actions=2), scale=st.just(1.0)),
    st.booleans(),
)
def test_minimal_form_is_the_least_of_its_class(world, weighted):
    """Least squares over an explicit basis of shaping and redistribution, with no projection in sight."""
    mdp, reward = world
    alive = np.flatnonzero(~mdp.terminal)
    shaping = potential_shaping(mdp, np.eye(mdp.states)[alive])
    moves = []
    for s, a in itertools.product(alive, range(mdp.actions)):
        row = mdp.transition[s, a]
        top = int(row.argmax())
        for z in range(mdp.states):
            if z != top:  # pay 1 on z, and take what that earns on average back on the likeliest next state
                move = np.zeros_like(reward)
                move[s, a, z], move[s, a, top] = 1, -row[z] / row[top]
                moves.append(move)
    weight = np.sqrt(mdp.continuation if weighted else (~mdp.terminal)[:, None, None] * np.ones_like(reward))
    basis = np.concatenate([shaping, np.array(moves).reshape(-1, *reward.shape)])
    design = (weight * basis).reshape(len(basis), -1).T
    length = np.linalg.norm(design, axis=0)
    design, length = design[:, length > 0], length[length > 0]
    # columns of one length, because published worlds hold transitions of probability 1e-10 that a solver would drop
    design, target = design / length, (weight * reward).ravel()
    least = np.linalg.norm(target - design @ np.linalg.lstsq(design, target, rcond=1e-13)[0])
    form = minimal_canonical(mdp, reward, weighted=weighted)
    reached = norm(mdp, form, "weighted_2" if weighted else "2")
    assert reached == pytest.approx(least, abs=1e-6)
    # and it belongs to the class
    np.testing.assert_allclose(val_canonical(mdp, form), val_canonical(mdp, reward), atol=1e-9)


def test_worked_example():
    mdp, reward, second = two_state_world()
    potential = val_potential_canonical(mdp, reward)
    np.testing.assert_allclose(potential[0], [[-0.275, -0.725], [-0.275, 0.275]], atol=1e-14)
    np.testing.assert_allclose(potential[1], [[0.225, -0.225]] * 2, atol=1e-14)
    val = val_canonical(mdp, np.stack([reward, second]))[..., 0]
    np.testing.assert_allclose(val[0], [[-0.275, 0.275], [-0.225, 0.225]], atol=1e-14)
    np.testing.assert_allclose(val[1], [[-0.225, 0.225], [0.725, -0.725]], atol=1e-14)
    minimal = minimal_canonical(mdp, reward)[..., 0]
    np.testing.assert_allclose(minimal, [[-0.276243, 0.251381], [-0.223757, 0.248619]], atol=5e-7)
    epic = epic_canonical(mdp, reward)
    np.testing.assert_allclose(epic[0], [[-0.1375, -0.3625], [-0.1375, 0.6375]], atol=1e-14)
    np.testing.assert_allclose(epic[1], [[0.1125, -0.1125]] * 2, atol=1e-14)
    dard = dard_canonical(mdp, reward)
    np.testing.assert_allclose(dard, [[[-0.05, -0.5], [-0.05, 0.5]], [[0, 0], [0, 0]]], atol=1e-14)


def test_bandit_form_is_the_reward_less_its_mean_over_the_policy():
    """One step, as with prompts and responses: canonical is what a baseline leaves."""
    mdp = FiniteMDP(np.full((3, 4, 3), 1 / 3), 0.0)
    rng = np.random.default_rng(0)
    reward, policy = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), 3)
    expected = reward - (policy * reward).sum(-1, keepdims=True)
    np.testing.assert_allclose(val_canonical(mdp, reward, policy)[..., 0], expected, atol=1e-14)


def test_terminal_states_have_no_say():
    mdp = corridor()
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(5, 2, 5))
    other = reward + np.where(mdp.terminal[:, None, None], 100.0, 0.0)
    for form in STARC_FORMS:
        np.testing.assert_array_equal(form(mdp, reward), form(mdp, other))
        np.testing.assert_allclose(form(mdp, reward)[mdp.terminal], 0, atol=1e-14)
    shaped = reward + potential_shaping(mdp, random_potential(mdp, rng))
    for form in FORMS:
        np.testing.assert_allclose(form(mdp, shaped), form(mdp, reward), atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_batches_broadcast(form):
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(4), (2, 1, 4, 3))
    many = FiniteMDP(transition, np.array([[0.5], [0.9]]))
    reward = rng.normal(size=(3, 4, 3, 4))
    together = form(many, reward)
    assert together.shape == (2, 3, 4, 3, 4)
    for w, r in np.ndindex(2, 3):
        np.testing.assert_allclose(together[w, r], form(many[w, 0], reward[r]), atol=1e-13)
    short = rng.normal(size=(4, 3))
    np.testing.assert_allclose(form(many, short), form(many, np.repeat(short[..., None], 4, -1)), atol=1e-13)
