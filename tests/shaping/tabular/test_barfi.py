import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.special import softmax

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, policy_return, potential_shaping
from rewardlab.shaping.tabular.barfi import Arm, tabular_barfi
from tests.strategies import corridor, forward_world, seeds, worlds

QUICK = {"seeds": 2, "batch": 4, "horizon": 6, "updates": 5, "evaluate_every": 2}


def bandit():
    """One choice of two, then the end."""
    transition = np.zeros((2, 2, 2))
    transition[..., 1] = 1
    return FiniteMDP(transition, 0.9, np.array([1.0, 0.0]), np.array([False, True]))


FIRST, SECOND = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])


@pytest.fixture(scope="module")
def grid_runs():
    """The main arms on the grid with five seeds: returns in the end, and weights, by auxiliary reward and name."""
    world = guided_grid()
    arms = {
        "primary": Arm("primary"),
        "naive": Arm("naive"),
        "potential": Arm("potential"),
        "kept": Arm("potential_kept"),
        "published": Arm("action_potential"),
        "small steps": Arm("blend", blend_step=0.05),
        "blend": Arm("blend"),
        "fisher": Arm("blend", curvature="fisher"),
        "stuck": Arm("blend", learning_rate=2.0, entropy=0.002, start_weight=1.0, blend_step=0.05),
    }
    auxiliary = np.repeat([world.good, world.bad], len(arms), axis=0)
    found = tabular_barfi(
        world.mdp, world.primary, auxiliary, [*arms.values()] * 2, potential=auxiliary[:, 0, 0], seeds=5, rng=1
    )
    names = [(kind, name) for kind in ("good", "bad") for name in arms]
    return {name: (found.primary_return[row, :, -1], found.weight[row]) for row, name in enumerate(names)}


# what separate code found before this one was written: primary return in the end, mean of five seeds
EARLIER = {
    ("good", "primary"): (0.843, 0.006),
    ("good", "naive"): (0.913, 0.003),
    ("good", "kept"): (0.848, 0.006),
    ("good", "small steps"): (0.913, 0.004),
    ("good", "blend"): (0.913, 0.004),
    ("bad", "primary"): (0.843, 0.006),
    ("bad", "naive"): (-0.084, 0.015),
    ("bad", "kept"): (0.843, 0.008),
    ("bad", "small steps"): (0.852, 0.01),
    ("bad", "blend"): (0.859, 0.012),
    ("bad", "stuck"): (-0.090, 0.015),
}


@pytest.mark.parametrize("name", EARLIER)
def test_the_grid_gives_the_numbers_of_separate_code(grid_runs, name):
    expected, tolerance = EARLIER[name]
    assert abs(grid_runs[name][0].mean() - expected) < tolerance


def test_on_the_grid_the_weight_goes_the_right_way(grid_runs):
    for name in ("small steps", "blend", "fisher"):
        assert (grid_runs["good", name][1][:, -1] > 0.3).all()
        assert (grid_runs["bad", name][1][:, -1] < -0.3).all()
        np.testing.assert_allclose(grid_runs["bad", name][0], 0.857, atol=0.02)
    assert (grid_runs["bad", "stuck"][1][:, -1] > 0).all()


def test_on_the_grid_the_published_potential_hides_the_goal_and_a_correct_one_changes_nothing(grid_runs):
    assert (grid_runs["good", "published"][0] < -0.05).all()
    for kind in ("good", "bad"):
        np.testing.assert_allclose(grid_runs[kind, "potential"][0], grid_runs[kind, "primary"][0], atol=1e-12)


@given(worlds(), seeds)
@settings(max_examples=40)
def test_shaping_by_a_potential_changes_no_step(mdp, seed):
    """With the mean return of a state as baseline; the policies stay equal update by update."""
    rng = np.random.default_rng(seed)
    primary, auxiliary = rng.normal(size=(2, mdp.states, mdp.actions, mdp.states))
    arms = (Arm("primary"), Arm("potential"))
    found = tabular_barfi(mdp, primary, auxiliary, arms, potential=rng.normal(size=mdp.states), **QUICK, rng=seed)
    np.testing.assert_allclose(found.policy[1], found.policy[0], atol=1e-10)


def test_without_a_baseline_or_with_a_potential_kept_at_the_cut_it_changes_steps():
    mdp, rng = corridor(), np.random.default_rng(0)
    potential, primary = rng.normal(size=5), rng.normal(size=(5, 2))
    arms = [Arm("primary"), Arm("potential_kept"), Arm("primary", baseline=False), Arm("potential", baseline=False)]
    found = tabular_barfi(mdp, primary, primary, arms, potential=potential, **{**QUICK, "horizon": 2}).policy
    assert np.abs(found[1] - found[0]).max() > 1e-3
    assert np.abs(found[3] - found[2]).max() > 1e-3


@given(seeds)
@settings(max_examples=20)
def test_a_blend_gains_nothing_from_a_potential(seed):
    """Where every episode ends, an auxiliary reward that is potential shaping has hyper-gradients of 0."""
    mdp, rng = forward_world(5, 3, seed), np.random.default_rng(seed)
    potential = np.where(mdp.terminal, 0, rng.normal(size=5))
    shaping = potential_shaping(mdp, potential)
    arms = [Arm("blend", curvature=curvature) for curvature in ("first_order", "fisher")]
    found = tabular_barfi(mdp, rng.normal(size=(5, 3)), shaping, arms, **QUICK, rng=seed)
    np.testing.assert_allclose(found.hypergradient[..., 1:], 0, atol=1e-10)


def test_a_held_blend_is_the_sum_or_the_primary_reward():
    rng = np.random.default_rng(0)
    mdp, (primary, auxiliary) = FiniteMDP.random(5, 3, rng=1), rng.normal(size=(2, 5, 3, 5))
    held = [Arm("blend", start_weight=weight, blend_step=0.0) for weight in (0.0, 1.0)]
    found = tabular_barfi(mdp, primary, auxiliary, [Arm("primary"), Arm("naive"), *held], **QUICK)
    np.testing.assert_array_equal(found.policy[2:], found.policy[:2])
    assert np.isnan(found.weight[:2]).all() and np.isnan(found.cosine[:2]).all()
    np.testing.assert_array_equal(found.weight[3], 1.0)
    assert np.abs(found.policy[1] - found.policy[0]).max() > 1e-3


def test_one_update_by_hand():
    """A bandit whose four episodes take each action as the draws say: half of them at first."""
    found = tabular_barfi(
        bandit(), FIRST, SECOND, [Arm("naive", entropy=0.3), Arm("primary", learning_rate=2.0, entropy=0.0)],
        seeds=1, batch=4000, horizon=1, updates=1, rng=0,
    )  # fmt: skip
    taken = np.random.default_rng(0).spawn(1)[0].random((4000, 2, 2))[:, 1, 0] < 0.5
    first = taken.mean()
    gradient = first * (1 - first) * np.array([1, -1])  # of the primary reward; the auxiliary one's is the opposite
    np.testing.assert_allclose(found.policy[1, 0, 0], softmax(2.0 * gradient), atol=1e-12)
    np.testing.assert_allclose(found.policy[0, 0, 0], 0.5, atol=1e-12)  # the entropy is at its largest
    np.testing.assert_allclose(found.primary_return[1, 0], [0.5, softmax(2.0 * gradient)[0]], atol=1e-12)


@pytest.mark.parametrize(("auxiliary", "sign"), [(FIRST, 1), (SECOND, -1)])
@pytest.mark.parametrize("curvature", ["first_order", "fisher"])
def test_the_weight_follows_the_alignment_of_the_gradients(auxiliary, sign, curvature):
    arm = Arm("blend", blend_step=0.1, curvature=curvature)
    found = tabular_barfi(bandit(), FIRST, auxiliary, [arm], seeds=3, batch=32, horizon=1, updates=30)
    assert (sign * np.diff(found.weight[0], axis=-1) >= 0).all()  # 0 where a batch has only one of the actions
    np.testing.assert_array_equal(found.weight[0, :, :2], 0.0)  # the first batch has none before it
    np.testing.assert_allclose(found.weight[0, :, 2], sign * 0.1)  # the first step is as long as asked for
    assert np.isnan(found.hypergradient[0, :, 0]).all() and (sign * found.hypergradient[0, :, 1] > 0).all()


def test_normalised_steps_by_hand():
    mdp, rng = FiniteMDP.random(5, 3, rng=1), np.random.default_rng(0)
    primary, auxiliary = rng.normal(size=(2, 5, 3, 5))
    arm = Arm("blend", start_weight=0.7, blend_step=0.3)
    found = tabular_barfi(mdp, primary, auxiliary, [arm], **{**QUICK, "updates": 9}, memory=0.8)
    for seed in range(2):
        weight, square = 0.7, 0.0
        for count, product in enumerate(found.hypergradient[0, seed, 1:], start=1):
            square = 0.8 * square + 0.2 * product**2
            weight += 0.3 * product / np.sqrt(square / (1 - 0.8**count))
            np.testing.assert_allclose(found.weight[0, seed, count + 1], weight, atol=1e-12)


def test_cosines_say_what_the_curvature_did():
    mdp, rng = FiniteMDP.random(5, 3, rng=1), np.random.default_rng(0)
    primary, auxiliary = rng.normal(size=(2, 5, 3, 5))
    arms = [Arm("blend"), Arm("blend", curvature="fisher")]
    found = tabular_barfi(mdp, primary, auxiliary, arms, **QUICK).cosine[..., 1:]
    np.testing.assert_allclose(found[0], 1.0)
    assert (found[1] > 0).all() and (found[1] < 0.995).all()
    damped = tabular_barfi(mdp, primary, auxiliary, arms, **QUICK, damping=1e6)
    np.testing.assert_allclose(damped.cosine[..., 1:], 1.0)
    np.testing.assert_allclose(damped.weight[1], damped.weight[0], atol=1e-6)


def test_no_gradient_moves_nothing():
    found = tabular_barfi(bandit(), 0 * FIRST, SECOND, [Arm("blend", start_weight=0.5)], **QUICK)
    np.testing.assert_array_equal(found.weight, 0.5)
    assert np.isnan(found.cosine).all()


def test_a_seed_has_its_own_luck_whatever_runs_beside_it():
    mdp, rng = FiniteMDP.random(5, 3, rng=1), np.random.default_rng(0)
    primary, good, bad = rng.normal(size=(3, 5, 3, 5))
    arms = [Arm("naive"), Arm("blend"), Arm("action_potential")]
    together = tabular_barfi(mdp, primary, np.stack([good, bad, bad]), arms, **QUICK, rng=7)
    again = tabular_barfi(mdp, primary, np.stack([good, bad, bad]), arms, **QUICK, rng=7)
    alone = tabular_barfi(mdp, primary, bad, [Arm("blend")], **{**QUICK, "seeds": 1}, rng=7)
    other = tabular_barfi(mdp, primary, bad, [Arm("blend")], **QUICK, rng=8)
    np.testing.assert_array_equal(again.policy, together.policy)
    np.testing.assert_allclose(alone.policy[0, 0], together.policy[1, 0], atol=1e-12)
    assert np.abs(other.policy[0] - together.policy[1]).max() > 1e-3
    np.testing.assert_array_equal(together.evaluated, [0, 2, 4, 5])
    expected = policy_return(mdp, primary, together.policy)
    np.testing.assert_allclose(together.primary_return[..., -1], expected, atol=1e-12)
    assert together.primary_return.shape == (3, 2, 4) and together.weight.shape == (3, 2, 6)


def test_evaluations_are_of_the_policy_before_the_update():
    mdp, rng = FiniteMDP.random(5, 3, rng=1), np.random.default_rng(0)
    primary = rng.normal(size=(5, 3))
    found, shorter = (
        tabular_barfi(mdp, primary, primary, [Arm("naive")], **{**QUICK, "updates": updates}) for updates in (5, 4)
    )
    np.testing.assert_allclose(found.primary_return[..., 2], shorter.primary_return[..., -1], atol=1e-12)
    np.testing.assert_allclose(found.primary_return[..., 0], policy_return(mdp, primary), atol=1e-12)


def trained(mdp=None, primary=FIRST, auxiliary=SECOND, arms=None, **settings):
    arms = [Arm("blend")] if arms is None else arms
    return tabular_barfi(bandit() if mdp is None else mdp, primary, auxiliary, arms, **{**QUICK, **settings})


potential = Arm("potential")
BAD = {
    "method": (lambda: Arm("pbrs"), ValueError, "method is 'pbrs', expected one of 'primary'"),
    "curvature": (lambda: Arm("blend", curvature="neumann"), ValueError, "curvature is 'neumann'"),
    "learning rate": (lambda: Arm("blend", learning_rate=0.0), ValueError, "learning_rate is 0.0, expected"),
    "entropy": (lambda: Arm("blend", entropy=-0.1), ValueError, "entropy is -0.1, expected"),
    "weight": (lambda: Arm("blend", start_weight=np.nan), ValueError, "start_weight is nan"),
    "blend step": (lambda: Arm("blend", blend_step=np.inf), ValueError, "blend_step is inf"),
    "no arm": (lambda: trained(arms=()), ValueError, "arms is empty, expected at least one"),
    "many worlds": (lambda: trained(FiniteMDP.random(2, 2, batch=3)), ValueError, "expected one world"),
    "torch": (
        lambda: trained(FiniteMDP(torch.ones((2, 2, 2)) / 2, 0.9), torch.tensor(FIRST), torch.tensor(SECOND)),
        TypeError,
        "mdp holds Tensors, expected NumPy arrays",
    ),
    "primary nan": (lambda: trained(primary=FIRST * np.nan), ValueError, "primary[0, 0] is nan"),
    "primary batch": (lambda: trained(primary=np.ones((3, 2, 2, 2))), ValueError, "expected one reward for all arms"),
    "auxiliary shape": (lambda: trained(auxiliary=np.ones(3)), ValueError, "auxiliary has shape (3,), expected"),
    "auxiliary length": (
        lambda: trained(auxiliary=np.ones((3, 2, 2, 2))),
        ValueError,
        "auxiliary has a batch of shape (3,), expected () or (1,): one for each arm",
    ),
    "no potential": (lambda: trained(arms=[Arm("naive"), potential]), ValueError, "arms[1] learns from a potential"),
    "potential shape": (
        lambda: trained(arms=[potential], potential=np.ones(3)),
        ValueError,
        "potential has shape (3,), expected (2,) or (arms, 2)",
    ),
    "potential nan": (
        lambda: trained(arms=[potential], potential=np.array([0.0, np.nan])),
        ValueError,
        "potential[1] is nan",
    ),
    "potential length": (
        lambda: trained(arms=[potential], potential=np.ones((2, 2))),
        ValueError,
        "potential has a batch of shape (2,), expected () or (1,)",
    ),
    "seeds": (lambda: trained(seeds=0), ValueError, "seeds is 0"),
    "batch": (lambda: trained(batch=1.5), TypeError, "batch is 1.5, expected a whole number"),
    "horizon": (lambda: trained(horizon=0), ValueError, "horizon is 0"),
    "updates": (lambda: trained(updates=0), ValueError, "updates is 0"),
    "memory": (lambda: trained(memory=1.0), ValueError, "memory is 1, expected a number in [0, 1)"),
    "damping": (lambda: trained(damping=0.0), ValueError, "damping is 0.0"),
    "rng": (lambda: trained(rng=None), TypeError, "rng: expected a seed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_where(case, without_type_checks):
    call, kind, says = BAD[case]
    with pytest.raises(kind, match=re.escape(says)):
        call()
