"""Distances: the axioms, the numbers of worked examples, and which distances can be fooled."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rewardlab.distance import (
    CANONICALISERS,
    NORMALISERS,
    NORMS,
    TrivialRewardWarning,
    dard,
    epic,
    epic_canonical,
    srrd,
    standardise,
    starc,
)
from rewardlab.exact import (
    FiniteMDP,
    greedy_regret,
    gridworld,
    occupancy,
    optimal_policy,
    policy_return,
    project_reward,
    worst_case_regret,
)
from tests.strategies import (
    corridor,
    horizon,
    random_redistribution,
    random_shaping,
    rewards,
    scales,
    seeds,
    two_state_world,
    visited,
    worlds,
    worlds_and_rewards,
)

STARC_FORMS = ("val", "minimal", "minimal_unweighted")
ALL_FORMS = (*CANONICALISERS, "minimal_potential")
dense = worlds(kinds=("dense", "clean", "episodic", "corridor", "undiscounted"))


@st.composite
def telling_rewards(draw, count, from_worlds=dense):
    """A world and rewards that are far from trivial in it."""
    mdp = draw(from_worlds)
    chosen = [draw(rewards(mdp, sparse=(1.0,))) for _ in range(count)]
    said = abs(project_reward(mdp, np.stack(chosen))).max(axis=(1, 2))
    assume((said > 1e-3 * abs(np.stack(chosen)).max(axis=(1, 2, 3))).all())
    return mdp, *chosen


def equivalent(mdp, reward, rng, factor=1.0):
    size = abs(reward).max()
    return factor * reward + size * (random_shaping(mdp, rng) + random_redistribution(mdp, rng))


@given(
    telling_rewards(1),
    seeds,
    st.sampled_from([1e-2, 1.0, 1e3]),
    st.sampled_from(STARC_FORMS),
    st.sampled_from(NORMS),
    st.sampled_from(NORMS),
)
def test_equivalent_rewards_are_0_apart_and_opposite_ones_2(world, seed, factor, form, normaliser, metric):
    mdp, reward = world
    changed = equivalent(mdp, reward, np.random.default_rng(seed), factor)
    small = 1e-9 * horizon(mdp) * mdp.transition.size
    options = {"canonicaliser": form, "normaliser": normaliser}
    assert starc(mdp, reward, changed, metric=metric, **options) == pytest.approx(0, abs=small)
    assert starc(mdp, reward, -changed, metric=normaliser, **options) == pytest.approx(2, abs=small)


@given(telling_rewards(3), st.sampled_from(ALL_FORMS), st.sampled_from(NORMS), st.sampled_from(NORMS))
def test_pseudometric(world, form, normaliser, metric):
    mdp, *three = world
    options = {"canonicaliser": form, "normaliser": normaliser}
    stacked = np.stack(three)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrivialRewardWarning)  # none, in tables that a norm hardly sees
        apart = starc(mdp, stacked[:, None], stacked, metric=metric, **options)
        same = starc(mdp, stacked[:, None], stacked, metric=normaliser, **options)
    size = max(1, apart.max())
    np.testing.assert_allclose(np.diagonal(apart), 0, atol=1e-9 * size)
    np.testing.assert_allclose(apart, apart.T, rtol=1e-12)
    assert (apart[0, 2] <= apart[0, 1] + apart[1, 2] + 1e-9 * size).all()
    assert (same <= 2 + 1e-9).all() and (same >= 0).all()


@given(telling_rewards(2))
def test_l2_distance_is_a_chord(world):
    """With theta the angle of the canonical forms, the distance is 2 sin(theta / 2) = 2 sqrt((1 - cos theta) / 2)."""
    mdp, first, second = world
    for form in ("val", "minimal"):
        a, b = (standardise(mdp, reward, form).table for reward in (first, second))
        cosine = np.clip(np.vdot(a, b), -1, 1)
        distance = starc(mdp, first, second, canonicaliser=form)
        assert distance == pytest.approx(2 * math.sqrt((1 - cosine) / 2), abs=1e-7)


@given(telling_rewards(2), st.sampled_from(["val", "minimal"]), st.sampled_from(["1", "2"]))
def test_level_forms_have_the_same_distances_weighted_or_not(world, form, p):
    mdp, first, second = world
    factor = mdp.states ** (1 / float(p))
    plain, weighted_both, weighted_norm = (
        starc(mdp, first, second, canonicaliser=form, normaliser=n, metric=m)
        for n, m in ((p, p), (f"weighted_{p}", f"weighted_{p}"), (f"weighted_{p}", p))
    )
    assert weighted_both == pytest.approx(plain, rel=1e-9, abs=1e-12)
    assert weighted_norm == pytest.approx(factor * plain, rel=1e-9, abs=1e-12)


def test_worked_example():
    mdp, first, second = two_state_world()
    for order, expected in (("1", 1.526316), ("2", 1.658543), ("inf", 1.818182)):
        assert starc(mdp, first, second, normaliser=order, metric=order) == pytest.approx(expected, abs=5e-7)
    assert starc(mdp, first, second) == pytest.approx(1.658543, abs=5e-7)
    assert epic(mdp, first, second) == pytest.approx(0.749443, abs=5e-7)
    assert dard(mdp, first, second) == pytest.approx(0.509566, abs=5e-7)
    assert dard(mdp, first, second, coverage=np.ones((2, 2, 2))) == pytest.approx(0.707632, abs=5e-7)
    chord = starc(mdp, first, second, canonicaliser="minimal")
    assert chord == pytest.approx(2 * math.sin(math.radians(121.0508) / 2), abs=1e-6)


EPIC_GRID = {  # EPIC with uniform coverage, DARD on real transitions, half the STARC-VAL distance
    ("sparse", "dense"): (0, 0, 0),
    ("sparse", "center"): (0.7500, 0.7482, 0.7695),
    ("sparse", "penalty"): (1, 1, 1),
    ("sparse", "dirt"): (0.1602, 0.1756, 0.1292),
    ("sparse", "cliff"): (0.3676, 0.3390, 0.4203),
    ("dirt", "cliff"): (0.2672, 0.2167, 0.3529),
    ("center", "dirt"): (0.7071, 0.6982, 0.7419),
    ("penalty", "center"): (0.6614, 0.6635, 0.6387),
    ("penalty", "dirt"): (0.9871, 0.9845, 0.9916),
    ("center", "cliff"): (0.6692, 0.6576, 0.7094),
    ("penalty", "cliff"): (0.9300, 0.9408, 0.9074),
}


def epic_gridworld():
    """EPIC's 3x3 world, where rewards depend on the state that is left."""
    mdp = gridworld("...\n...\n...", discount=0.99, stay=True).mdp
    dirt = np.array([[0, -1, -1], [0, 0, 0], [-1, -1, 4.0]])
    sparse = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1.0]])
    center = np.array([[0, 0, 0], [0, 1.0, 0], [0, 0, 0]])
    cliff = np.array([[0, -1, -1], [0, 0, 0], [-4, -4, 4.0]])
    tables = {"sparse": sparse, "center": center, "penalty": -sparse, "dirt": dirt, "cliff": cliff}
    made = {name: np.repeat(table.reshape(9, 1), 5, axis=1) for name, table in tables.items()}
    return mdp, made


def test_published_gridworld():
    mdp, made = epic_gridworld()
    goal_distance = np.abs(np.indices((3, 3)) - 2).sum(0).ravel().astype(float)
    shaping = 0.99 * -goal_distance[None, None, :] + goal_distance[:, None, None]
    made["dense"] = made["sparse"][..., None] + np.broadcast_to(shaping, (9, 5, 9))
    for (a, b), (by_epic, by_dard, by_val) in EPIC_GRID.items():
        assert epic(mdp, made[a], made[b]) == pytest.approx(by_epic, abs=6e-5), (a, b)
        assert dard(mdp, made[a], made[b]) == pytest.approx(by_dard, abs=6e-5), (a, b)
        assert starc(mdp, made[a], made[b]) / 2 == pytest.approx(by_val, abs=6e-5), (a, b)


@given(telling_rewards(2, from_worlds=visited))
def test_epic_is_half_its_starc_distance(world):
    mdp, first, second = world
    assert starc(mdp, first, second, canonicaliser="epic") == pytest.approx(2 * epic(mdp, first, second), abs=1e-9)
    opposite = starc(mdp, first, -first, canonicaliser="epic")
    assert opposite == pytest.approx(2, abs=1e-9)


@given(
    telling_rewards(3, from_worlds=visited),
    seeds,
    st.sampled_from([1e-3, 1.0, 1e4]),
    st.sampled_from([epic, dard, srrd]),
    st.booleans(),
)
def test_pearson_fronts_are_blind_to_scale_and_shaping_and_pseudometrics(world, seed, factor, distance, everywhere):
    mdp, first, second, third = world
    rng = np.random.default_rng(seed)
    coverage = None if everywhere else rng.random(first.shape)
    shaped = factor * first + factor * abs(first).max() * random_shaping(mdp, rng)
    left = np.stack([first, first, second, second, shaped, first, first])
    right = np.stack([third, second, third, first, second, shaped, -shaped])
    ac, ab, bc, ba, shaped_b, a_shaped, opposite = distance(mdp, left, right, coverage=coverage)
    assert 0 <= ab <= 1
    assert ac <= ab + bc + 1e-9
    assert ba == pytest.approx(ab, abs=1e-12)
    assert shaped_b == pytest.approx(ab, abs=1e-8)
    assert a_shaped == pytest.approx(0, abs=1e-8)
    assert opposite == pytest.approx(1, abs=1e-8)


def test_coverage_is_in_any_unit_and_may_leave_things_out():
    mdp = FiniteMDP.random(4, 3, rng=0)
    first, second = np.random.default_rng(0).normal(size=(2, 4, 3, 4))
    cover = np.random.default_rng(1).random((4, 3, 4))
    assert epic(mdp, first, second, coverage=7 * cover) == pytest.approx(
        float(epic(mdp, first, second, coverage=cover))
    )
    a, b = (epic_canonical(mdp, reward).ravel() for reward in (first, second))
    some = cover.ravel() < 0.5
    expected = math.sqrt((1 - np.corrcoef(a[some], b[some])[0, 1]) / 2)
    found = epic(mdp, first, second, coverage=some.reshape(4, 3, 4).astype(float))
    assert found == pytest.approx(expected, abs=1e-9)
    assert dard(mdp, first, second) == dard(mdp, first, second, coverage=mdp.transition)
    assert srrd(mdp, first, second) == srrd(mdp, first, second, coverage=mdp.transition)


@given(
    telling_rewards(1, from_worlds=worlds(kinds=("dense",), discounts=(0.5, 0.9))),
    seeds,
    st.sampled_from(["epic", "dard", "val_potential", "srrd"]),
    st.sampled_from(STARC_FORMS),
)
def test_redistribution_fools_all_but_starc(world, seed, unsound, sound):
    """R + M Z against -R + M Z, with Z paying nothing on average: opposite, and alike to EPIC as M grows."""
    mdp, reward = world
    reward = reward / np.linalg.norm(reward)
    noise = random_redistribution(mdp, np.random.default_rng(seed))
    noise /= np.linalg.norm(noise)
    pairs = [(reward + m * noise, -reward + m * noise) for m in (1, 10, 100, 1000)]
    first, second = (np.stack(side) for side in zip(*pairs, strict=True))
    fooled = starc(mdp, first, second, canonicaliser=unsound)
    assert (np.diff(fooled[1:]) < 0).all()
    assert fooled[-1] < fooled[1] / 20
    assert fooled[-1] == pytest.approx(fooled[-2] / 10, rel=0.2)
    np.testing.assert_allclose(starc(mdp, first, second, canonicaliser=sound), 2, atol=1e-7)
    assert worst_case_regret(mdp, first[-1], second[-1]).regret == pytest.approx(1, abs=1e-6)


def test_redistribution_pushes_apart_what_is_equal():
    rng = np.random.default_rng(0)
    mdp = FiniteMDP(rng.dirichlet(np.ones(5), (5, 3)), 0.9)
    reward = rng.normal(size=(5, 3, 5))
    other = reward + 3 * random_redistribution(mdp, rng)
    assert min(starc(mdp, reward, other, canonicaliser=form) for form in ("epic", "dard", "val_potential")) > 0.5
    assert max(starc(mdp, reward, other, canonicaliser=form) for form in STARC_FORMS) < 1e-13
    assert greedy_regret(mdp, reward, other) == 0
    assert worst_case_regret(mdp, reward, other).regret == pytest.approx(0, abs=1e-9)


@given(telling_rewards(2, from_worlds=visited))
def test_regret_bound_of_epic(world):
    """Regret under A of optimising B is at most 16 K |A| EPIC / (1 - discount), K times coverage above all visits."""
    mdp, first, second = world
    cover = np.full(first.shape, 1 / first.size)
    most = 0.0  # of the probability of any transition at any time, under both optimal policies
    for reward in (first, second):
        policy, state = optimal_policy(mdp, reward).policy, mdp.initial
        for _ in range(60):
            joint = (state[:, None] * policy)[..., None] * mdp.transition
            most, state = max(most, joint.max()), joint.sum(axis=(0, 1))
    lost = policy_return(mdp, first, optimal_policy(mdp, first).policy)
    lost = lost - policy_return(mdp, first, optimal_policy(mdp, second).policy)
    size = math.sqrt((cover * first**2).sum())
    bound = 16 * most / cover.min() * size / (1 - mdp.discount) * epic(mdp, first, second)
    assert lost <= bound + 1e-9 * size


@given(worlds(), seeds, st.sampled_from(STARC_FORMS), st.sampled_from(NORMALISERS), scales)
def test_trivial_rewards_are_flagged_and_not_divided_by(mdp, seed, form, normaliser, size):
    rng = np.random.default_rng(seed)
    nothing = size * (random_shaping(mdp, rng) + random_redistribution(mdp, rng))
    assume(abs(nothing).max() > 1e-3 * size)
    found = standardise(mdp, np.stack([nothing, np.zeros_like(nothing)]), form, normaliser)
    assert found.trivial.all()
    np.testing.assert_array_equal(found.table, 0)
    with pytest.warns(TrivialRewardWarning, match="a reward is trivial"):
        assert starc(mdp, nothing, 0 * nothing, canonicaliser=form, normaliser=normaliser) == 0
    reward = rng.normal(size=nothing.shape)
    assume(not standardise(mdp, reward, form).trivial)
    if normaliser != "none":
        with pytest.warns(TrivialRewardWarning):
            distance = starc(mdp, nothing, reward, canonicaliser=form, normaliser=normaliser, metric=normaliser)
        assert distance == pytest.approx(1, rel=1e-12)


def test_ordinary_rewards_do_not_warn():
    mdp, first, second = two_state_world()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        starc(mdp, first, second)


@given(worlds_and_rewards(scale=scales), st.sampled_from(tuple(CANONICALISERS)), st.sampled_from(NORMS))
def test_standardised_forms_have_norm_one(world, form, order):
    mdp, reward = world
    found = standardise(mdp, reward, form, order)
    assume(not found.trivial)
    again = {"1": abs(found.table).sum(), "2": np.linalg.norm(found.table), "inf": abs(found.table).max()}
    if order in again:
        assert again[order] == pytest.approx(1, rel=1e-9)
    unscaled = standardise(mdp, reward, form, "none").table
    np.testing.assert_allclose(found.table * found.size, unscaled, rtol=1e-12, atol=1e-300)


def test_epic_of_a_constant_canonical_reward_is_undefined():
    mdp = FiniteMDP.random(4, 3, rng=0)
    assert np.isnan(epic(mdp, np.zeros((4, 3, 4)), np.random.default_rng(0).normal(size=(4, 3, 4))))


@pytest.mark.parametrize("front", [starc, epic, dard, srrd])
def test_batches_broadcast(front):
    rng = np.random.default_rng(0)
    many = FiniteMDP(rng.dirichlet(np.ones(4), (2, 1, 4, 3)), np.array([[0.5], [0.9]]))
    first, second = rng.normal(size=(3, 4, 3, 4)), rng.normal(size=(4, 3))
    together = front(many, first, second)
    assert together.shape == (2, 3)
    for w, r in np.ndindex(2, 3):
        assert together[w, r] == pytest.approx(float(front(many[w, 0], first[r], second)), abs=1e-12)
    one = front(many[0, 0], first, second)
    np.testing.assert_allclose(one, together[0], atol=1e-12)


def test_terminal_rewards_do_not_count():
    mdp = corridor()
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(5, 2, 5))
    collected_never = reward + 50 * mdp.terminal[:, None, None]
    for form in STARC_FORMS:
        assert starc(mdp, reward, collected_never, canonicaliser=form) == pytest.approx(0, abs=1e-12)
    assert np.vdot(occupancy(mdp)[..., None] * mdp.transition, collected_never - reward) == 0


@pytest.mark.parametrize("distance", [dard, srrd])
def test_default_coverage_leaves_out_what_follows_the_end(distance):
    mdp = FiniteMDP.random(5, 2, episodic=True, rng=3)
    a, b = np.random.default_rng(0).normal(size=(2, 5, 2, 5))
    lasting = np.where(mdp.terminal[:, None, None], 0.0, mdp.transition)
    assert float(distance(mdp, a, b)) == pytest.approx(float(distance(mdp, a, b, coverage=lasting)), abs=1e-14)
    assert abs(float(distance(mdp, a, b)) - float(distance(mdp, a, b, coverage=mdp.transition))) > 1e-4
