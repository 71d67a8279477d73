"""Explanations of differences: the parts add up, what was planted is found, and the words are right."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewardlab.distance import starc
from rewardlab.distance.explanation import explain_difference
from rewardlab.exact import (
    FiniteMDP,
    occupancy,
    policy_return,
    potential_shaping,
    project_reward,
    redistribution,
)
from rewardlab.exact.gridworld import gridworld

GRIDS = [
    gridworld(layout, slip=slip).mdp
    for layout in ("S.G", "..H\nS.G", "....\n.#.G\nS..H", "...\n.S.\n...")
    for slip in (0.0, 0.3)
]


@st.composite
def worlds(draw, *, stochastic=False):
    """Random worlds, clean and as published, with and without an end; gridworlds; worlds without discounting."""
    seed = draw(st.integers(0, 2**32 - 1))
    kind = draw(st.sampled_from(["random", "episodic"] + (["grid", "undiscounted"] if not stochastic else [])))
    discount = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99]))
    if kind == "grid":
        return draw(st.sampled_from(GRIDS)).with_discount(discount)
    states, actions = draw(st.integers(3, 7)), draw(st.integers(2, 4))
    if kind == "undiscounted":
        return forward_world(states, actions, seed)
    clean = draw(st.booleans())
    return FiniteMDP.random(states, actions, discount=discount, episodic=kind == "episodic", clean=clean, rng=seed)


def forward_world(states, actions, seed):
    """Every action leads to a later state and the last one ends the episode, so nothing need be discounted."""
    weights = np.triu(np.random.default_rng(seed).random((actions, states, states)), k=1).transpose(1, 0, 2)
    weights[-1, :, -1] = 1.0
    terminal = np.arange(states) == states - 1
    return FiniteMDP(weights / weights.sum(-1, keepdims=True), discount=1.0, terminal=terminal)


def random_table(mdp, rng):
    return rng.normal(size=mdp.transition.shape)


def random_potential(mdp, rng):
    return np.where(mdp.terminal, 0.0, rng.normal(size=mdp.states))


def planted(mdp, reward, rng, *, scale=1.0, shaped=True, redistributed=True):
    """An equivalent reward: `reward` scaled, shaped and redistributed."""
    result = scale * reward
    result = result + potential_shaping(mdp, random_potential(mdp, rng)) if shaped else result
    return result + redistribution(mdp, random_table(mdp, rng)) if redistributed else result


seeds = st.integers(0, 2**32 - 1)


@given(worlds(), seeds)
def test_parts_add_up_and_are_what_they_claim(mdp, seed):
    rng = np.random.default_rng(seed)
    a, b = random_table(mdp, rng), random_table(mdp, rng)
    found = explain_difference(mdp, a, b)
    total = found.scale * b + potential_shaping(mdp, found.potential) + found.redistribution + found.residual[..., None]
    np.testing.assert_allclose(total[~mdp.terminal], a[~mdp.terminal], atol=1e-11)
    np.testing.assert_allclose(np.vecdot(mdp.transition, found.redistribution), 0, atol=1e-10)
    np.testing.assert_allclose(project_reward(mdp, found.residual), found.residual, atol=1e-11)
    assert abs(np.vdot(found.residual, project_reward(mdp, b))) < 1e-10
    assert not found.residual[mdp.terminal].any()
    assert not found.redistribution[mdp.terminal].any()
    assert found.kind == "different"
    assert not found.same_order
    assert found.parts.share.sum() == pytest.approx(1)


@given(worlds(stochastic=True), seeds, st.floats(0.1, 10))
def test_what_was_planted_is_found(mdp, seed, scale):
    assume((np.sort(mdp.transition[~mdp.terminal])[..., -2] > 1e-6).any())  # or there is nothing to redistribute among
    rng = np.random.default_rng(seed)
    b, potential = random_table(mdp, rng), random_potential(mdp, rng)
    moved = redistribution(mdp, random_table(mdp, rng))
    found = explain_difference(mdp, scale * b + potential_shaping(mdp, potential) + moved, b)
    assert found.scale == pytest.approx(scale, abs=1e-8)
    np.testing.assert_allclose(found.potential, potential, atol=1e-8)
    np.testing.assert_allclose(found.redistribution[~mdp.terminal], moved[~mdp.terminal], atol=1e-8)
    np.testing.assert_allclose(found.residual, 0, atol=1e-8)
    assert found.kind == "redistributed"
    assert found.distance < 1e-7


@given(worlds(), seeds, st.sampled_from([1.0, 0.5, 3.0, -1.0, -2.0]), st.booleans())
def test_kinds_are_recognised(mdp, seed, scale, shaped):
    rng = np.random.default_rng(seed)
    b = random_table(mdp, rng)
    found = explain_difference(mdp, planted(mdp, b, rng, scale=scale, shaped=shaped, redistributed=False), b)
    changes = (("scaled",) if abs(scale) != 1 else ()) + (("shaped",) if shaped else ())
    assert found.changes == changes
    assert found.kind == ("opposite" if scale < 0 else (*("identical",), *changes)[-1])
    assert found.same_order == (scale > 0)
    assert not found.differs_unseen
    assert found.distance == pytest.approx(0 if scale > 0 else 2, abs=1e-7)


@given(worlds(), seeds)
def test_trivial_rewards_are_recognised(mdp, seed):
    rng = np.random.default_rng(seed)
    b, nothing = random_table(mdp, rng), potential_shaping(mdp, random_potential(mdp, rng))
    found = explain_difference(mdp, nothing, b)
    assert (found.kind, found.trivial, found.scale) == ("trivial", ("reward_a",), 0.0)
    assert found.distance == pytest.approx(1)
    np.testing.assert_allclose(found.residual, 0, atol=1e-10)
    found = explain_difference(mdp, b, nothing)
    assert (found.kind, found.trivial, found.scale) == ("trivial", ("reward_b",), 0.0)
    np.testing.assert_allclose(found.residual, project_reward(mdp, b), atol=1e-12)
    found = explain_difference(mdp, nothing, 3 * nothing)
    assert (found.trivial, found.distance, found.same_order) == (("reward_a", "reward_b"), 0.0, True)
    assert explain_difference(mdp, nothing, nothing).kind == "identical"


@given(worlds(), seeds, st.floats(-3, 3))
def test_residual_and_distance_are_sine_and_chord_of_one_angle(mdp, seed, mixture):
    rng = np.random.default_rng(seed)
    b = random_table(mdp, rng)
    a = mixture * b + random_table(mdp, rng)
    found = explain_difference(mdp, a, b)
    projected_a, projected_b = (project_reward(mdp, reward).ravel() for reward in (a, b))
    length = np.linalg.norm(projected_a)
    cosine = projected_a @ projected_b / length / np.linalg.norm(projected_b)
    assert np.cos(np.radians(found.angle)) == pytest.approx(cosine, abs=1e-9)
    assert np.linalg.norm(found.residual) / length == pytest.approx(np.sin(np.radians(found.angle)), abs=1e-9)
    assert found.distance == pytest.approx(2 * np.sin(np.radians(found.angle) / 2), abs=1e-12)
    assert found.distance == pytest.approx(float(starc(mdp, a, b, canonicaliser="minimal")), abs=1e-9)
    assert (found.scale < 0) == (found.angle > 90)


@given(worlds(), seeds)
def test_residual_is_all_there_is_to_disagree_about(mdp, seed):
    rng = np.random.default_rng(seed)
    a, b = random_table(mdp, rng), random_table(mdp, rng)
    found = explain_difference(mdp, a, b)
    policies = rng.dirichlet(np.ones(mdp.actions), size=(2, mdp.states))
    gain_a, gain_b = (np.diff(policy_return(mdp, reward, policies))[0] for reward in (a, b))
    moved = np.diff(occupancy(mdp, policies), axis=0)[0]
    assert gain_a == pytest.approx(found.scale * gain_b + np.vdot(found.residual, moved), abs=1e-8)


@given(worlds(), seeds, st.sampled_from([1e3, 1e6]))
def test_large_shaping_and_redistribution_hide_nothing_and_invent_nothing(mdp, seed, size):
    rng = np.random.default_rng(seed)
    b = random_table(mdp, rng)
    noise = size * planted(mdp, np.zeros_like(b), rng)
    assert explain_difference(mdp, b + noise, b).same_order
    other = b + 0.01 * random_table(mdp, rng)
    assume(np.sin(np.radians(explain_difference(mdp, other, b).angle)) > 1e-3)  # else there is little to hide
    assert explain_difference(mdp, other + noise, b).kind == "different"


@given(worlds(), seeds, st.floats(0.1, 10), st.sampled_from([-1, 1]))
def test_a_constant_is_shaping_exactly_where_episodes_do_not_end(mdp, seed, size, sign):
    b = random_table(mdp, np.random.default_rng(seed))
    found = explain_difference(mdp, b + sign * size, b)
    if not mdp.terminal.any():
        assert (found.kind, found.changes) == ("shaped", ("shaped",))
        assert found.shift == pytest.approx(sign * size)
        np.testing.assert_allclose(found.potential, -sign * size / (1 - mdp.discount), rtol=1e-8)
        assert f"a constant {found.shift:.3g} a step" in str(found)
    else:
        assert found.shift is None


def test_a_step_penalty_is_a_different_task_where_episodes_end():
    world = gridworld("..H\nS.G", discount=0.9).mdp
    goal = np.zeros(world.transition.shape)
    goal[..., -1] = 1.0
    found = explain_difference(world, 2 * goal - 0.1, goal)
    assert found.kind == "different"
    assert found.distance > 0.1
    assert found.affine == pytest.approx((2, -0.1))
    assert str(found).endswith("reward_a pays 0.1 less a step than 2 x reward_b, no shaping where episodes end")
    goal[0, 0, 1] = 1.0
    assert explain_difference(world, goal**2 - 0.1 * goal[0], goal).affine is None


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_two_state_example(library):
    # angle 121.0508 degrees between the projected rewards: worked by hand from the projections
    transition = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    a, b = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    a[0, 1, 1] = b[1, 0, 1] = 1.0
    if library == "torch":
        transition, a, b = map(torch.asarray, (transition, a, b))
    found = explain_difference(FiniteMDP(transition, discount=0.9), a, b)
    assert found.angle == pytest.approx(121.0508, abs=1e-4)
    assert found.scale < 0
    assert "oppose each other more than they agree (distance 1.7, angle 121°)" in str(found)
    assert type(found.potential) is type(found.residual) is type(found.redistribution) is type(a)


@settings(max_examples=50)
@given(worlds(), seeds)
def test_torch_agrees_with_numpy(mdp, seed):
    rng = np.random.default_rng(seed)
    a, b = random_table(mdp, rng), rng.normal(size=(mdp.states, mdp.actions))
    copy = FiniteMDP(torch.tensor(mdp.transition), mdp.discount, torch.tensor(mdp.initial), torch.tensor(mdp.terminal))
    ours, theirs = explain_difference(mdp, a, b), explain_difference(copy, torch.tensor(a), torch.tensor(b))
    for name in ("scale", "distance", "angle", "potential", "redistribution", "residual"):
        np.testing.assert_allclose(np.asarray(getattr(theirs, name)), getattr(ours, name), atol=1e-10)
    assert (theirs.kind, theirs.changes) == (ours.kind, ours.changes)


def test_transitions_that_cannot_happen_are_told_apart():
    world = gridworld("S.G", discount=0.9).mdp
    b = np.random.default_rng(0).normal(size=world.transition.shape)
    a = np.where(world.transition > 0, b, 7.0)
    found = explain_difference(world, a, b)
    assert (found.kind, found.changes, found.differs_unseen) == ("identical", (), True)
    assert str(found).endswith("they also differ on transitions that cannot happen, which no policy notices")
    a[world.terminal] = b[world.terminal] = 99.0  # nor are rewards after the end ever paid
    assert explain_difference(world, a, b).kind == "identical"


def test_carriers_name_where_the_residual_is():
    grid = gridworld("...\n.S.\n...", discount=0.9)
    b = np.random.default_rng(0).normal(size=(9, 4))
    a = b.copy()
    a[4, 2] += 1.0
    found = explain_difference(grid.mdp, a, b)
    first = found.carriers(3, states=[f"cell {i}" for i in range(9)], actions=grid.actions).iloc[0]
    assert (first.state, first.action, first.state_name, first.action_name) == (4, 2, "cell 4", "down")
    assert first.residual > 0
    assert bool(first.reachable)
    assert len(found.carriers(3)) == 3
    every = found.carriers(1000)
    assert every.share.sum() == pytest.approx(1)
    assert every.share.is_monotonic_decreasing
    assert explain_difference(grid.mdp, 2 * b, b).carriers().empty


def test_sentences():
    mdp = FiniteMDP.random(5, 3, discount=0.9, clean=True, rng=3)
    rng = np.random.default_rng(0)
    b, potential = random_table(mdp, rng), np.array([0.0, 1.0, 3.1, 2.0, 1.0])
    shaping = potential_shaping(mdp, potential)
    assert str(explain_difference(mdp, b, b)) == "reward_a is identical to reward_b (distance 0)"
    moved = str(explain_difference(mdp, 2 * b + shaping + redistribution(mdp, b[::-1]), b))
    assert moved.startswith(
        "reward_a = 2 x reward_b + shaping by a potential (range 3.1) + redistribution; nothing else: "
        "both order all policies the same way (distance "
    )
    opposite = str(explain_difference(mdp, -b, b))
    assert opposite == "reward_a = -1 x reward_b; nothing else: they order all policies the opposite way (distance 2)"
    different = explain_difference(mdp, random_table(mdp, rng), b)
    assert f"angle {different.angle:.3g}°" in str(different)
    assert "% of what it says about policies" in str(different)
    carriers = different.carriers(15)
    assert f"half of the residual is in {(carriers.share.cumsum() < 0.5).sum() + 1} state-action pairs" in str(
        different
    )
    assert str(different).endswith(f"most in state {carriers.state[0]}, action {carriers.action[0]}")
    assert "reward_a is trivial" in str(explain_difference(mdp, shaping, b))
    assert "reward_b is trivial" in str(explain_difference(mdp, b, shaping))
    assert explain_difference(mdp, b, shaping).sentence("mine", "yours").startswith("mine = ")
    assert "yours is trivial" in explain_difference(mdp, b, shaping).sentence("mine", "yours")
    assert "both are trivial" in str(explain_difference(mdp, shaping, 0 * b))


def test_one_action_makes_every_reward_trivial():
    mdp = FiniteMDP.random(4, 1, discount=0.9, rng=0)
    rewards = np.random.default_rng(0).normal(size=(2, 4, 1, 4))
    found = explain_difference(mdp, *rewards)
    assert (found.kind, len(found.trivial), found.distance) == ("trivial", 2, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mdp": FiniteMDP.random(3, 2, batch=4, rng=0)}, r"mdp has batch shape \(4,\), expected one world"),
        ({"reward_a": np.zeros((5, 3, 2, 3))}, r"reward_a has batch shape \(5,\), expected one reward"),
        ({"reward_b": np.full((3, 2), np.nan)}, r"reward_b\[0, 0\] is nan"),
        ({"reward_b": np.zeros((4, 2))}, r"reward_b has shape \(4, 2\), expected"),
        ({"tolerance": -1.0}, r"tolerance is -1.0, expected a number in \[0, 1\]"),
    ],
)
def test_bad_input(without_type_checks, change, message):
    mdp = FiniteMDP.random(3, 2, rng=0)
    arguments = {"mdp": mdp, "reward_a": np.ones((3, 2)), "reward_b": np.ones((3, 2))} | change
    with pytest.raises(ValueError, match=message):
        explain_difference(**arguments)


def test_bad_names(without_type_checks):
    found = explain_difference(FiniteMDP.random(3, 2, rng=0), *np.random.default_rng(0).normal(size=(2, 3, 2)))
    with pytest.raises(ValueError, match="states has 2 names for 3 states"):
        found.carriers(states=["one", "two"])
    with pytest.raises(ValueError, match=r"top is 0, expected a number in \[1"):
        found.carriers(0)
