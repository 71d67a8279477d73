"""Every public function of a world: the same from NumPy and torch, alone and in a batch, and no argument changed."""

import numpy as np
import pytest
import torch

from rewardlab import distance, exact
from rewardlab.distance import CANONICALISERS, NORMS
from rewardlab.exact import FiniteMDP
from tests.strategies import random_potential

# what takes a world, two rewards, a policy and a potential, by name; batches of all of them unless in ONE_WORLD
CASES = {
    "action_values": lambda w, a, b, p, v: exact.action_values(w, a, p),
    "advantages": lambda w, a, b, p, v: exact.advantages(w, a, p),
    "flow_matrix": lambda w, a, b, p, v: exact.flow_matrix(w),
    "greedy_regret": lambda w, a, b, p, v: exact.greedy_regret(w, a, b),
    "greedy_regret, optimistic": lambda w, a, b, p, v: exact.greedy_regret(w, a, b, ties="optimistic"),
    "greedy_regret, pessimistic": lambda w, a, b, p, v: exact.greedy_regret(w, a, b, ties="pessimistic"),
    "occupancy": lambda w, a, b, p, v: exact.occupancy(w, p),
    "optimal_policy": lambda w, a, b, p, v: exact.optimal_policy(w, a),
    "optimal_policy, some allowed": lambda w, a, b, p, v: exact.optimal_policy(w, a, allowed=p > 0.2),
    "policy_return": lambda w, a, b, p, v: exact.policy_return(w, a, p),
    "potential_shaping": lambda w, a, b, p, v: exact.potential_shaping(w, v),
    "project_reward": lambda w, a, b, p, v: exact.project_reward(w, a),
    "project_reward, weighted": lambda w, a, b, p, v: exact.project_reward(w, a, weight=p),
    "redistribution": lambda w, a, b, p, v: exact.redistribution(w, a),
    "return_range": lambda w, a, b, p, v: exact.return_range(w, a),
    "soft_optimal_policy": lambda w, a, b, p, v: exact.soft_optimal_policy(w, a, 0.3),
    "state_values": lambda w, a, b, p, v: exact.state_values(w, a, p),
    "symmetric_greedy_regret": lambda w, a, b, p, v: exact.symmetric_greedy_regret(w, a, b),
    "uniform_policy": lambda w, a, b, p, v: exact.uniform_policy(w),
    "chebyshev_radius": lambda w, a, b, p, v: exact.chebyshev_radius(w),
    "regret_constants": lambda w, a, b, p, v: exact.regret_constants(w),
    "worst_case_regret": lambda w, a, b, p, v: exact.worst_case_regret(w, a, b).regret,
    "dard": lambda w, a, b, p, v: distance.dard(w, a, b),
    "dard_canonical": lambda w, a, b, p, v: distance.dard_canonical(w, a),
    "distance_table": lambda w, a, b, p, v: distance.distance_table(w, a, b).distance,
    "epic": lambda w, a, b, p, v: distance.epic(w, a, b),
    "epic_canonical": lambda w, a, b, p, v: distance.epic_canonical(w, a),
    "minimal_canonical": lambda w, a, b, p, v: distance.minimal_canonical(w, a),
    "minimal_canonical, unweighted": lambda w, a, b, p, v: distance.minimal_canonical(w, a, weighted=False),
    "srrd": lambda w, a, b, p, v: distance.srrd(w, a, b),
    "srrd_canonical": lambda w, a, b, p, v: distance.srrd_canonical(w, a),
    "val_canonical": lambda w, a, b, p, v: distance.val_canonical(w, a, p),
    "val_potential_canonical": lambda w, a, b, p, v: distance.val_potential_canonical(w, a, p),
}
for order in NORMS:
    CASES |= {
        f"norm, {order}": lambda w, a, b, p, v, n=order: distance.norm(w, a, n),
        f"minimal_potential, {order}": lambda w, a, b, p, v, n=order: distance.minimal_potential(w, a, n),
        f"minimal_potential_canonical, {order}": (
            lambda w, a, b, p, v, n=order: distance.minimal_potential_canonical(w, a, n)
        ),
        f"minimal_potential_canonical, norm {order}": (
            lambda w, a, b, p, v, n=order: distance.norm(w, distance.minimal_potential_canonical(w, a, n), n)
        ),
        f"standardise, {order}": lambda w, a, b, p, v, n=order: distance.standardise(w, a, "val", n),
    }
for form in CANONICALISERS:
    CASES[f"starc, {form}"] = lambda w, a, b, p, v, f=form: distance.starc(w, a, b, canonicaliser=f, metric="1")

# their value is settled to 1e-11, so the potential that reaches it only to the root of that
LINEAR_PROGRAMS = {
    f"minimal_potential{form}, {order}" for form in ("", "_canonical") for order in NORMS if "2" not in order
}
ONE_WORLD = ("chebyshev_radius", "regret_constants", "worst_case_regret")
NOT_FUNCTIONS_OF_A_WORLD = {  # tested elsewhere, or NumPy alone by nature
    *("FiniteMDP", "Gridworld", "OptimalPolicy", "RegretConstants", "SoftOptimalPolicy", "ToyTextWorld"),
    *("WorstCaseRegret", "from_gymnasium", "gridworld", "interpolate_rewards", "random_reward", "random_transition"),
    # functions of response sets, which their own tests compare
    *("KLMatch", "best_of_n", "best_of_n_kl", "best_of_n_kl_bound", "condition_on_goodness", "kl_divergence"),
    *("match_kl", "tilt", "win_rate"),
}


def arguments(library, *, terminal, index=None):
    """Three worlds and what goes with them, or the one at `index`; in `library`, and read-only where that can be."""
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(4), (3, 4, 3))
    ends = np.zeros((3, 4), bool)
    if terminal:
        ends[:, 2], transition[:, 2] = True, np.eye(4)[2]
    discount = np.array([0.5, 0.9, 0.7])
    world = FiniteMDP(transition, discount, terminal=ends)
    rest = (*rng.normal(size=(2, 3, 4, 3, 4)), rng.dirichlet(np.full(3, 5.0), (3, 4)), random_potential(world, rng))
    if index is not None:
        world, rest = world[index], [part[index] for part in rest]
    held = [np.array(part) for part in (world.transition, world.initial, world.terminal, *rest)]
    if library is np.asarray:
        for part in held:
            part.flags.writeable = False
    held = [library(part) for part in held]
    discount = world.discount if index is not None else library(world.discount)
    return FiniteMDP(held[0], discount, initial=held[1], terminal=held[2]), *held[3:]


def parts(result):
    """The arrays in a result, as NumPy arrays."""
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("terminal", [False, True], ids=["continuing", "episodic"])
@pytest.mark.parametrize("name", CASES)
def test_numpy_torch_batches_and_loops_agree(name, terminal):
    function, tolerance = CASES[name], 1e-7 if name in LINEAR_PROGRAMS else 1e-10
    for index in range(3):
        alone = parts(function(*arguments(np.asarray, terminal=terminal, index=index)))
        in_torch = function(*arguments(torch.tensor, terminal=terminal, index=index))
        if name not in ONE_WORLD:
            assert all(torch.is_tensor(part) for part in (in_torch if isinstance(in_torch, tuple) else (in_torch,)))
        for one, other in zip(alone, parts(in_torch), strict=True):
            np.testing.assert_allclose(other, one, atol=tolerance, rtol=tolerance)
        if name in ONE_WORLD:
            continue
        for library in (np.asarray, torch.tensor):
            together = parts(function(*arguments(library, terminal=terminal)))
            for one, many in zip(alone, together, strict=True):
                np.testing.assert_allclose(many[index], one, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_no_argument_is_changed(name):
    if name in ONE_WORLD:
        world, *rest = arguments(torch.tensor, terminal=True, index=0)
    else:
        world, *rest = arguments(torch.tensor, terminal=True)
    held = [world.transition, world.initial, world.terminal, *rest]
    before = [part.clone() for part in held]
    CASES[name](world, *rest)
    assert all(torch.equal(part, copy) for part, copy in zip(held, before, strict=True))


def test_no_function_is_forgotten():
    covered = {name.split(",")[0] for name in CASES}
    assert set(exact.__all__) - covered == NOT_FUNCTIONS_OF_A_WORLD
    forms = {
        name for name in distance.__all__ if name.endswith("_canonical") or name in ("starc", "norm", "standardise")
    }
    assert forms <= covered
