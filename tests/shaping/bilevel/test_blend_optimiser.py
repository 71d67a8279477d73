"""The exact blend optimisation on the 5 x 5 grid: published shape of the result, and that it is a maximum."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, policy_return, potential_shaping
from rewardlab.shaping.bilevel import blend_optimiser
from rewardlab.shaping.bilevel.blend_optimiser import optimise_blend
from rewardlab.shaping.bilevel.blends import per_state_blend, scalar_blend
from rewardlab.shaping.bilevel.hypergradient import bilevel_gradient, solve_inner
from tests.strategies import seeds

WORLD = guided_grid()
PENALTY = 5e-4
FAR = 30.0


def earned(reward, temperature=0.03):
    return float(policy_return(WORLD.mdp, WORLD.primary, solve_inner(WORLD.mdp, reward, temperature).policy))


def test_what_the_fixed_blends_earn():
    potential = -((WORLD.grid.cells / 4 - 1) ** 2).sum(axis=1)
    assert earned(WORLD.primary) == pytest.approx(0.8632, abs=5e-5)
    assert earned(WORLD.primary + potential_shaping(WORLD.mdp, potential)) == pytest.approx(0.8632, abs=5e-5)
    assert earned(WORLD.primary + WORLD.good) == pytest.approx(0.9158, abs=5e-5)
    assert earned(WORLD.primary + WORLD.bad) == pytest.approx(-0.0987, abs=5e-5)


@pytest.mark.parametrize(("name", "weight", "best"), [("good", 0.78, 0.9156), ("bad", -1.19, 0.8664)])
@pytest.mark.parametrize("start", [{}, {"weights": np.ones(1), "stages": 1}], ids=["annealed from 0", "from 1"])
def test_scalar_trust(name, weight, best, start):
    blend = scalar_blend(WORLD.mdp, WORLD.primary, getattr(WORLD, name))
    found = optimise_blend(WORLD.mdp, blend, WORLD.primary, **start)
    assert found.converged
    assert found.primary_return == pytest.approx(best, abs=5e-5)
    assert float(found.weights[0]) == pytest.approx(weight, abs=0.01)


@pytest.mark.parametrize(("name", "best"), [("good", 0.9157), ("bad", 0.8662)])
def test_trust_in_each_state(name, best):
    """Many weights, several maxima: the ascent ends in one that is within a thousandth of the best known."""
    blend = per_state_blend(WORLD.mdp, WORLD.primary, getattr(WORLD, name))
    found = optimise_blend(WORLD.mdp, blend, WORLD.primary)
    assert found.converged
    assert found.primary_return == pytest.approx(best, abs=1e-3)


def test_it_leaves_the_plateau_of_the_wrong_reward_where_a_plain_gradient_stays():
    blend, weights = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad), np.full(1, FAR)
    for _ in range(100):
        solved = bilevel_gradient(WORLD.mdp, blend.reward(weights), WORLD.primary, 0.003)
        weights = weights + blend.project(solved.reward)
    assert solved.primary_return < -0.09
    assert abs(float(weights[0]) - FAR) < 0.1
    found = optimise_blend(WORLD.mdp, blend, WORLD.primary, temperature=0.003, weights=np.full(1, FAR))
    assert found.primary_return == pytest.approx(0.9154, abs=5e-4)


def test_it_never_ends_below_no_trust():
    """Two weights that start at full trust slide onto a plateau; the ascent begins again from none."""
    closeness, landmark = WORLD.good + 2, WORLD.bad
    blend = scalar_blend(WORLD.mdp, WORLD.primary, closeness, landmark)
    found = optimise_blend(WORLD.mdp, blend, WORLD.primary, weights=np.ones(2))
    untrusting = bilevel_gradient(WORLD.mdp, blend.base, WORLD.primary, 0.03).primary_return
    assert (found.path.weights == 0).all(axis=1).any()
    assert found.primary_return > float(untrusting)


def test_a_blend_gains_nothing_from_a_potential():
    """Weights of potential shaping, at the agent's discount, change no return; so the penalty takes them to 0."""
    potential = np.where(WORLD.mdp.terminal, 0.0, np.random.default_rng(0).normal(size=25))
    blend = scalar_blend(WORLD.mdp, WORLD.primary, potential_shaping(WORLD.mdp, potential))
    at_once = optimise_blend(WORLD.mdp, blend, WORLD.primary, penalty=0.0)
    assert at_once.converged and at_once.weights[0] == pytest.approx(0, abs=1e-6)
    trusted = optimise_blend(WORLD.mdp, blend, WORLD.primary, weights=np.ones(1))
    assert trusted.weights[0] == pytest.approx(0, abs=1e-2)
    assert trusted.primary_return == pytest.approx(at_once.primary_return, abs=1e-9)


@settings(max_examples=10)
@given(seeds)
def test_it_ends_at_a_maximum(seed):
    rng = np.random.default_rng(seed)
    mdp = FiniteMDP.random(5, 3, rng=rng, discount=0.9)
    primary, *advice = rng.normal(size=(3, 5, 3))
    blend = scalar_blend(mdp, primary, *advice)
    found = optimise_blend(mdp, blend, primary, temperature=0.3, penalty=0.05)
    gradient = blend.project(bilevel_gradient(mdp, blend.reward(found.weights), primary, 0.3).reward)
    assert found.converged
    np.testing.assert_allclose(gradient - 2 * 0.05 * found.weights, 0, atol=2e-3)
    for _ in range(5):
        near = found.weights + 0.05 * rng.normal(size=2)
        other = float(bilevel_gradient(mdp, blend.reward(near), primary, 0.3).primary_return) - 0.05 * near @ near
        assert other <= found.primary_return - 0.05 * found.weights @ found.weights + 1e-6


def test_steps_do_not_shrink_with_the_gradient_nor_grow_beyond_1():
    blend, far = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad), np.full(1, FAR)
    path = optimise_blend(WORLD.mdp, blend, WORLD.primary, stages=1, weights=far, penalty=0.0).path
    assert path.gradient_size[0] < 1e-4
    np.testing.assert_allclose(path.weights[:3, 0], [FAR, FAR - 1, FAR - 2])
    assert np.abs(np.diff(path.weights[:, 0])).max() < 1 + 1e-9


def test_advice_that_says_nothing_is_at_rest_at_once():
    blend = scalar_blend(WORLD.mdp, WORLD.primary, np.zeros((25, 4)))
    found = optimise_blend(WORLD.mdp, blend, WORLD.primary, stages=1)
    assert found.converged and found.weights.tolist() == [0.0] and found.path.gradient_size.tolist() == [0.0]


def test_curvature_learned_along_the_way_saves_solves(monkeypatch):
    """Steps along the gradient alone take three times as many."""
    solves = []
    monkeypatch.setattr(
        blend_optimiser, "bilevel_gradient", lambda *given: solves.append(1) or bilevel_gradient(*given)
    )
    for seed in range(6):
        rng = np.random.default_rng(seed)
        mdp = FiniteMDP.random(5, 3, rng=rng, discount=0.9)
        primary, *advice = rng.normal(size=(3, 5, 3))
        optimise_blend(mdp, scalar_blend(mdp, primary, *advice), primary, temperature=0.3, penalty=0.05)
    assert len(solves) < 900  # 512, and 1764 without


def test_the_path_climbs_at_each_temperature_and_ends_at_the_result():
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad)
    found = optimise_blend(WORLD.mdp, blend, WORLD.primary, stages=3)
    path = found.path
    assert sorted(set(path.temperature), reverse=True) == pytest.approx([0.3, 0.03 * 10**0.5, 0.03])
    assert (np.diff(path.temperature) <= 0).all()
    np.testing.assert_array_equal(path.weights[-1], found.weights)
    np.testing.assert_array_equal(path.weights[0], 0)
    objective = path.primary_return - PENALTY * (path.weights**2).sum(-1)
    same = np.diff(path.temperature) == 0
    assert (np.diff(objective)[same] > 0).all()


def test_learned_discount():
    """Under bad advice that pays for a loop, a shorter horizon alone makes the loop worth less than the goal."""
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad)
    fixed = optimise_blend(WORLD.mdp, blend, WORLD.primary)
    learned = optimise_blend(WORLD.mdp, blend, WORLD.primary, learn_discount=True)
    dear = optimise_blend(WORLD.mdp, blend, WORLD.primary, learn_discount=True, discount_penalty=0.1)
    assert learned.primary_return > fixed.primary_return
    assert dear.inner_discount < learned.inner_discount < 0.99 == fixed.inner_discount


def test_the_gradient_is_that_of_the_penalised_return_by_weight_and_logit():
    blend, step = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad), 1e-5
    options = {"temperature": 0.1, "stages": 1, "penalty": 0.01, "learn_discount": True, "discount_penalty": 0.1}
    path = optimise_blend(WORLD.mdp, blend, WORLD.primary, weights=np.full(1, 0.3), inner_discount=0.8, **options).path

    def objective(weight, logit):
        discount = float(1 / (1 + np.exp(-logit)))
        solved = bilevel_gradient(WORLD.mdp, blend.reward(np.array([weight])), WORLD.primary, 0.1, discount)
        return float(solved.primary_return) - 0.01 * weight**2 - 0.1 * discount

    logit = np.log(0.8 / 0.2)
    by_weight = (objective(0.3 + step, logit) - objective(0.3 - step, logit)) / (2 * step)
    by_logit = (objective(0.3, logit + step) - objective(0.3, logit - step)) / (2 * step)
    assert abs(by_logit) > 0.1 * abs(by_weight)
    assert path.gradient_size[0] == pytest.approx(np.hypot(by_weight, by_logit), rel=1e-6)


def test_without_a_penalty_the_weights_run_away():
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad)
    assert float(optimise_blend(WORLD.mdp, blend, WORLD.primary, penalty=0.0).weights[0]) < -30
    endless = optimise_blend(WORLD.mdp, blend, WORLD.primary, temperature=0.1, stages=1, penalty=0.0)
    assert not endless.converged and len(endless.path.weights) == 201


def test_torch_gives_the_same():
    mdp = FiniteMDP(
        torch.tensor(WORLD.mdp.transition), 0.99, torch.tensor(WORLD.mdp.initial), torch.tensor(WORLD.mdp.terminal)
    )
    primary, bad = torch.tensor(WORLD.primary.copy()), torch.tensor(WORLD.bad.copy())
    found = optimise_blend(mdp, scalar_blend(mdp, primary, bad), primary)
    ours = optimise_blend(WORLD.mdp, scalar_blend(WORLD.mdp, WORLD.primary, WORLD.bad), WORLD.primary)
    assert found.weights.numpy() == pytest.approx(ours.weights, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": np.zeros(3)}, r"expected \(\*batch, 1\)"),
        ({"weights": np.zeros((2, 1))}, "one place to start"),
        ({"weights": np.full(1, np.nan)}, "weights"),
        ({"temperature": -1.0}, "temperature"),
        ({"start_temperature": 0.01}, "start_temperature"),
        ({"stages": 0}, "stages"),
        ({"penalty": -1.0}, "penalty"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"inner_discount": 1.5}, "inner_discount"),
        ({"inner_discount": 1.0, "learn_discount": True}, "inside"),
        ({"discount_penalty": 0.5}, "discount_penalty"),
    ],
)
def test_bad_input(without_type_checks, settings, message):
    blend = scalar_blend(WORLD.mdp, WORLD.primary, WORLD.good)
    with pytest.raises(ValueError, match=message):
        optimise_blend(WORLD.mdp, blend, WORLD.primary, **settings)
