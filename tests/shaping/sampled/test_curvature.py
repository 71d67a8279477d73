"""The curvature solvers on matrices that are known, and on the method's worked example."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.exact.mdp import FiniteMDP
from rewardlab.shaping.bilevel.hypergradient import solve_inner
from rewardlab.shaping.bilevel.implicit_gradient import SurrogateCurvatureWarning
from rewardlab.shaping.bilevel.policy_parameters import discount_derivative, hessian, mixed_derivative, policy_gradient
from rewardlab.shaping.sampled.curvature import NeumannWarning, solve_curvature

seeds = st.integers(0, 2**20)


def random_curvature(seed, *, size=6, sign="maximum", symmetric=True):
    """A matrix H, curved downwards by .5 to 3, or with one direction curved upwards."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = -rng.uniform(0.5, 3.0, size)
    if sign == "saddle":
        values[0] = 2.0
    curved = frame @ np.diag(values) @ frame.T
    if not symmetric:
        curved = curved + 0.3 * rng.normal(size=(size, size))
    return torch.tensor(curved), torch.tensor(rng.normal(size=size))


def close(found, expected, tolerance=1e-8):
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=tolerance, rtol=tolerance)


def solved(*arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return solve_curvature(*arguments, **settings)


@given(seeds, st.sampled_from([0.0, 0.1]))
def test_conjugate_gradients_solve_a_maximum(seed, damping):
    curved, vector = random_curvature(seed)
    found = solve_curvature("fisher", vector, lambda u: curved @ u, damping=damping)
    close(found.vector, torch.linalg.solve(damping * torch.eye(6) - curved, vector))
    assert found.residual < 1e-9
    assert found.curvature == pytest.approx(float(vector @ curved @ vector / (vector @ vector)))


@given(seeds, st.sampled_from(["maximum", "saddle"]), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_the_general_solver_solves_any_matrix(seed, sign, symmetric, damping):
    curved, vector = random_curvature(seed, sign=sign, symmetric=symmetric)
    system = damping * torch.eye(6) - curved
    for kind in ("exact", "surrogate"):
        found = solved(kind, vector, lambda u: curved @ u, damping=damping)
        close(system @ found.vector, vector, 1e-7)
        assert found.residual < 1e-7


@given(seeds, st.integers(1, 5), st.sampled_from(["fisher", "exact"]))
def test_the_residual_is_that_of_the_system_and_never_grows(seed, iterations, kind):
    curved, vector = random_curvature(seed)
    found = solve_curvature(kind, vector, lambda u: curved @ u, damping=0.2, iterations=iterations)
    left = vector - 0.2 * found.vector + curved @ found.vector
    assert found.residual == pytest.approx(float(left.norm() / vector.norm()), abs=1e-9)
    if kind == "exact":
        more = solve_curvature(kind, vector, lambda u: curved @ u, damping=0.2, iterations=iterations + 1)
        assert more.residual <= found.residual + 1e-12


@given(seeds, st.integers(0, 8), st.sampled_from([0.01, 0.3]), st.booleans())
def test_neumann_is_its_series(seed, loops, step, symmetric):
    curved, vector = random_curvature(seed, symmetric=symmetric)
    found = solved("neumann", vector, lambda u: curved @ u, loops=loops, step=step)
    once = torch.eye(6, dtype=torch.float64) + step * curved
    expected = step * sum(torch.linalg.matrix_power(once, j) @ vector for j in range(loops + 1))
    close(found.vector, expected)
    left = vector + curved @ found.vector
    assert found.residual == pytest.approx(float(left.norm() / vector.norm()), abs=1e-9)
    assert found.norm_ratio == pytest.approx(float(expected.norm() / vector.norm()) / step)


@given(seeds, st.sampled_from(["first_order", "neumann", "fisher", "exact", "surrogate"]), st.floats(1e-3, 1e3))
def test_solutions_scale_with_the_vector(seed, kind, scale):
    curved, vector = random_curvature(seed)
    one, other = (solved(kind, size * vector, lambda u: curved @ u, step=0.1) for size in (1.0, scale))
    close(other.vector / scale, one.vector)
    assert other.cosine == pytest.approx(one.cosine)
    assert other.norm_ratio == pytest.approx(one.norm_ratio)


def test_first_order_is_the_vector_itself():
    vector = torch.tensor([3.0, -4.0], dtype=torch.float64)
    found = solve_curvature("first_order", vector, None)
    close(found.vector, vector)
    assert (found.cosine, found.norm_ratio) == (1.0, 1.0)
    assert math.isnan(found.residual) and math.isnan(found.curvature)


def test_small_steps_are_first_order_and_say_so():
    curved, vector = torch.diag(torch.tensor([-11.5, -2.0, 3.9], dtype=torch.float64)), torch.ones(3).double()
    with pytest.warns(NeumannWarning, match="first-order in effect"):
        found = solve_curvature("neumann", vector, lambda u: curved @ u, loops=5, step=5e-4)
    assert found.cosine > 0.9999
    assert found.norm_ratio == pytest.approx(6.0, rel=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve_curvature("neumann", vector, lambda u: -(u * torch.tensor([2.0, 1.0, 0.2])), loops=5, step=0.5)
        solve_curvature("neumann", vector, lambda u: curved @ u, loops=0, step=5e-4)  # what was asked for
        solve_curvature("fisher", vector, lambda u: -u)
    assert found.cosine < 0.999


def test_neumann_diverges_beyond_two_over_the_largest_curvature():
    curved = torch.diag(torch.tensor([-4.0, -1.0], dtype=torch.float64))
    vector, truth = torch.tensor([1.0, 1.0], dtype=torch.float64), torch.tensor([0.25, 1.0], dtype=torch.float64)
    inside = solve_curvature("neumann", vector, lambda u: curved @ u, loops=500, step=0.99 * 2 / 4)
    assert float((inside.vector - truth).norm() / truth.norm()) < 1e-4
    with pytest.warns(NeumannWarning, match="moves away"):
        beyond = solve_curvature("neumann", vector, lambda u: curved @ u, loops=500, step=1.01 * 2 / 4)
    # the error of the first entry is .25 * 1.02^501
    assert float((beyond.vector - truth).norm()) == pytest.approx(0.25 * 1.02**501, rel=1e-6)
    assert beyond.residual > 1e3
    with pytest.raises(ValueError, match=r"not finite; the series diverges, use a smaller step"):
        solve_curvature("neumann", vector, lambda u: curved @ u, loops=5000, step=10.0)


def test_the_wrong_sign_of_the_curvature_shows_in_the_residual():
    with pytest.warns(NeumannWarning, match="moves away"):
        found = solve_curvature("neumann", torch.ones(2).double(), lambda u: u * torch.tensor([3.0, 1.0]), step=0.1)
    assert found.residual > 1 and found.curvature == pytest.approx(2)


def test_the_surrogate_warns():
    with pytest.warns(SurrogateCurvatureWarning, match="turns its sign"):
        solve_curvature("surrogate", torch.ones(2).double(), lambda u: -u)


def test_null_directions_are_damped_and_not_blown_up():
    curved, vector = torch.diag(torch.tensor([-2.0, 0.0], dtype=torch.float64)), torch.ones(2).double()
    for kind in ("fisher", "exact"):
        found = solve_curvature(kind, vector, lambda u: curved @ u, damping=0.1)
        close(found.vector, torch.tensor([1 / 2.1, 10.0], dtype=torch.float64))
    flat = solve_curvature("fisher", vector, lambda u: 0 * u, damping=0.0)  # no curvature at all: nothing is solved
    assert flat.vector.tolist() == [0, 0] and math.isnan(flat.cosine) and flat.residual == 1


@pytest.mark.parametrize("kind", ["first_order", "neumann", "fisher", "exact"])
def test_a_vector_of_zeros_stays_one(kind):
    found = solve_curvature(kind, torch.zeros(3), lambda u: -u)
    assert found.vector.tolist() == [0, 0, 0]
    assert all(math.isnan(part) for part in found[1:])


def test_one_parameter_and_single_precision():
    for kind in ("fisher", "exact"):
        found = solve_curvature(kind, torch.tensor([3.0]), lambda u: -2 * u, damping=0.0)
        assert found.vector.dtype == torch.float32 and found.vector.tolist() == [1.5]


# What this world is worth to a primary reward when an agent at temperature .5 solves a blend of it; all numbers are the
# method's, for the weights of primary (1), of advice (.5), and the logit of the inner discount (2).
WORLD = FiniteMDP(np.array([[[1.0, 0.0], [0.2, 0.8]], [[0.0, 1.0], [0.8, 0.2]]]), 0.9, initial=np.array([1.0, 0.0]))
PRIMARY, ADVICE = np.array([[0.0, 0.0], [1.0, 0.5]]), np.array([[1.0, 0.0], [0.0, 0.0]])
INNER = 1 / (1 + math.exp(-2))
TEMPERATURE = 0.5


def worked_example():
    blended = PRIMARY + 0.5 * ADVICE
    logits = np.log(solve_inner(WORLD, blended, TEMPERATURE, INNER).policy)
    settings = {"discount": INNER, "temperature": TEMPERATURE}
    mixed = mixed_derivative(WORLD, blended, logits, np.stack([PRIMARY, ADVICE]), **settings)
    by_discount = INNER * (1 - INNER) * discount_derivative(WORLD, blended, logits, **settings)
    directions = torch.tensor(np.concatenate([mixed, by_discount[None]]).reshape(3, -1))
    curved = torch.tensor(hessian(WORLD, blended, logits, **settings))
    return curved, torch.tensor(policy_gradient(WORLD, PRIMARY, logits)).reshape(-1), directions


def test_worked_example():
    curved, outer, directions = worked_example()
    values = np.sort(np.linalg.eigvalsh(-curved.numpy()))[::-1]
    np.testing.assert_allclose(values, [0.6287684492, 0.4709988764, 0, 0], atol=1e-9)
    expected = {
        "first_order": (2.6741628116, -1.9911780098, 0.2596363576),
        "neumann": (4.9835038113, -3.3847005035, 0.4723192519),
        "fisher": (5.0587081590, -3.4125317904, 0.4786245257),
        "exact": (5.0587081590, -3.4125317904, 0.4786245257),
    }
    for kind, numbers in expected.items():
        found = solved(kind, outer, lambda u: curved @ u, loops=5, step=1.0, damping=0.0)
        np.testing.assert_allclose((directions @ found.vector).numpy(), numbers, atol=1e-9)


BAD = {
    "kind": (lambda: solve_curvature("newton", torch.ones(2), None), "kind is 'newton', expected one of 'first_order'"),
    "list": (lambda: solve_curvature("fisher", [1.0], None), "vector: expected a torch tensor, got list"),
    "matrix": (lambda: solve_curvature("fisher", torch.ones(2, 2), None), r"vector has shape \(2, 2\), expected \(par"),
    "empty": (lambda: solve_curvature("fisher", torch.ones(0), None), r"vector has shape \(0,\)"),
    "integers": (lambda: solve_curvature("fisher", torch.ones(2).long(), None), "vector has dtype torch.int64"),
    "nan": (lambda: solve_curvature("fisher", torch.tensor([1.0, math.nan]), None), r"vector\[1\] is nan"),
    "infinite": (lambda: solve_curvature("exact", torch.tensor([math.inf]), None), r"vector\[0\] is inf"),
    "no product": (lambda: solve_curvature("fisher", torch.ones(2), None), "product: expected a function .* NoneType"),
    "product shape": (lambda: solve_curvature("fisher", torch.ones(2), lambda u: u[:1]), r"returned shape \(1,\)"),
    "product nan": (lambda: solve_curvature("exact", torch.ones(2), lambda u: u * math.nan), "not finite"),
    "loops": (lambda: solve_curvature("neumann", torch.ones(2), lambda u: u, loops=-1), "loops is -1"),
    "half a loop": (lambda: solve_curvature("neumann", torch.ones(2), lambda u: u, loops=1.5), "loops is 1.5"),
    "step": (lambda: solve_curvature("neumann", torch.ones(2), lambda u: u, step=0.0), "step is 0.0"),
    "damping": (lambda: solve_curvature("fisher", torch.ones(2), lambda u: u, damping=-1.0), "damping is -1.0"),
    "iterations": (lambda: solve_curvature("fisher", torch.ones(2), lambda u: u, iterations=0), "iterations is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs(case, without_type_checks):
    call, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call()
