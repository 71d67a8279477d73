"""The implicit hyper-gradient by every curvature: worked numbers, finite differences, and what goes wrong."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, occupancy, policy_return, potential_shaping
from rewardlab.shaping.bilevel.hypergradient import bilevel_gradient, solve_inner
from rewardlab.shaping.bilevel.implicit_gradient import SurrogateCurvatureWarning, implicit_hypergradient
from rewardlab.shaping.bilevel.inner_loop import stationary_logits
from rewardlab.shaping.bilevel.policy_parameters import hessian
from tests.strategies import seeds, worlds

ETA = 2.0
INNER = 1 / (1 + math.exp(-ETA))


def worked_example():
    transition = np.array([[[1, 0], [0.2, 0.8]], [[0, 1], [0.8, 0.2]]])
    mdp = FiniteMDP(transition, 0.9, initial=np.array([1.0, 0.0]))
    return mdp, np.array([[0.0, 0.0], [1.0, 0.5]]), np.array([[1.0, 0.0], [0.0, 0.0]])


def random_problems(seed, worlds=20, states=8, actions=3):
    rng = np.random.default_rng(seed)
    mdp = FiniteMDP(rng.dirichlet(np.ones(states), (worlds, states, actions)), 0.95)
    return mdp, *rng.normal(size=(2, worlds, states, actions))


def soft_logits(mdp, blended, temperature, inner_discount=None):
    return solve_inner(mdp, blended, temperature, inner_discount).action_values / temperature


def in_worked_example(curvature, **options):
    """Derivatives by the weight of the primary reward, the weight of the auxiliary one, and eta."""
    mdp, primary, auxiliary = worked_example()
    blended = primary + 0.5 * auxiliary
    logits = soft_logits(mdp, blended, 0.5, INNER)
    options |= {"curvature": curvature, "inner_discount": INNER, "temperature": 0.5}
    found = implicit_hypergradient(mdp, blended, primary, logits, **options)
    by_eta = found.discount * INNER * (1 - INNER)
    return found, [(found.reward * primary).sum(), (found.reward * auxiliary).sum(), by_eta]


@pytest.mark.parametrize("curvature", ["exact", "fisher"])
def test_worked_example(curvature):
    """Property 2."""
    found, derivatives = in_worked_example(curvature)
    np.testing.assert_allclose(derivatives, [5.0587081590, -3.4125317904, 0.4786245257], atol=1e-9)
    np.testing.assert_allclose(found.reward, [[-3.41253179, -0.85670966], [5.84817487, -1.57893341]], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.primary_return, 6.8614007867, atol=1e-9)
    assert found.slope < 1e-14


def test_worked_example_in_first_order_and_by_neumann():
    found, derivatives = in_worked_example("first_order", step=1.0)
    np.testing.assert_allclose(derivatives, [2.6741628116, -1.9911780098, 0.2596363576], atol=1e-9)
    np.testing.assert_allclose(found.cosine, 1.0, rtol=1e-14)
    _, derivatives = in_worked_example("neumann", step=1.0, loops=5)
    np.testing.assert_allclose(derivatives, [4.9835038113, -3.3847005035, 0.4723192519], atol=1e-9)


def test_eigenvalues_of_the_worked_example():
    mdp, primary, auxiliary = worked_example()
    blended = primary + 0.5 * auxiliary
    logits = soft_logits(mdp, blended, 0.5, INNER)
    sizes = np.linalg.eigvalsh(-hessian(mdp, blended, logits, discount=INNER, temperature=0.5))
    np.testing.assert_allclose(sizes, [0, 0, 0.4709988764, 0.6287684492], atol=1e-9)


def test_neumann_diverges_past_its_bound():
    """Property 7: the largest eigenvalue of -H is .62877 here."""
    _, truth = in_worked_example("exact")
    errors = {}
    for share in (0.99, 1.01):
        for loops in (50, 500):
            _, found = in_worked_example("neumann", step=share * 2 / 0.6287684492, loops=loops)
            errors[share, loops] = np.linalg.norm(np.subtract(found, truth)) / np.linalg.norm(truth)
    assert errors[0.99, 500] < 1e-3 < errors[0.99, 50] < errors[1.01, 50]
    assert errors[1.01, 500] > 100


def test_neumann_converges_below_a_bound_that_only_needs_the_visits():
    """Property 3: steps below 4 / (temperature * most visits)."""
    mdp, primary, auxiliary = random_problems(8, states=4)
    exact = bilevel_gradient(mdp, primary + auxiliary, primary, 2.0, 0.6)
    visits = occupancy(mdp.with_discount(0.6), exact.inner.policy).sum(-1)
    options = {"step": 0.99 * 4 / (2.0 * visits.max(-1)), "inner_discount": 0.6, "temperature": 2.0}
    logits = exact.inner.action_values / 2.0
    blended = primary + auxiliary
    found = implicit_hypergradient(mdp, blended, primary, logits, curvature="neumann", loops=2000, **options)
    np.testing.assert_allclose(found.reward, exact.reward, atol=1e-9)


@given(worlds(kinds=("dense", "clean", "episodic"), discounts=(0.5, 0.9)), seeds, st.sampled_from([0.1, 1.0]))
def test_at_a_soft_optimum_it_is_the_closed_form(mdp, seed, temperature):
    primary, auxiliary = np.random.default_rng(seed).normal(size=(2, mdp.states, mdp.actions))
    inner = 0.8
    expected = bilevel_gradient(mdp, primary + auxiliary, primary, temperature, inner)
    logits = expected.inner.action_values / temperature
    for curvature in ("exact", "fisher"):
        found = implicit_hypergradient(
            mdp,
            primary + auxiliary,
            primary,
            logits,
            curvature=curvature,
            inner_discount=inner,
            temperature=temperature,
        )
        reached = mdp.initial.min() > 0 or (mdp.transition[~mdp.terminal] > 0).all()
        if reached:  # elsewhere the policy is not determined by training from here
            np.testing.assert_allclose(found.reward, expected.reward, atol=1e-8 * (1 + abs(expected.reward).max()))
            np.testing.assert_allclose(found.discount, expected.discount, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(found.primary_return, expected.primary_return, rtol=1e-10, atol=1e-12)


def test_offsets_and_potentials_cannot_matter():
    """Property 4."""
    mdp, primary, auxiliary = random_problems(4)
    logits = soft_logits(mdp, primary + auxiliary, 0.3, 0.9)
    potential = np.random.default_rng(0).normal(size=(20, 8))
    inner = mdp.with_discount(0.9)
    shaping = inner.state_action_reward(potential_shaping(inner, potential))
    for curvature in ("exact", "fisher", "first_order", "neumann"):
        found = implicit_hypergradient(
            mdp,
            primary + auxiliary,
            primary,
            logits,
            curvature=curvature,
            inner_discount=0.9,
            temperature=0.3,
        )
        np.testing.assert_allclose(found.reward.sum((-2, -1)), 0, atol=1e-11)
        np.testing.assert_allclose((found.reward * shaping).sum((-2, -1)), 0, atol=1e-11)


@pytest.mark.parametrize(("temperature", "penalty"), [(0.3, 0.02), (0.0, 0.05)])
def test_with_a_penalty_against_finite_differences(temperature, penalty):
    """Property 8: the trained policy is found anew on both sides."""
    mdp, primary, auxiliary = worked_example()
    options = {"temperature": temperature, "penalty": penalty}

    def trained(weight, discount, start=None):
        blended = primary + weight * auxiliary
        return stationary_logits(mdp, blended, discount=discount, start=start, **options)

    logits = trained(0.5, INNER)
    found = implicit_hypergradient(mdp, primary + 0.5 * auxiliary, primary, logits, inner_discount=INNER, **options)

    def earned(weight, discount):
        at = trained(weight, discount, start=logits)
        weights = np.exp(at - at.max(-1, keepdims=True))
        return policy_return(mdp, primary, weights / weights.sum(-1, keepdims=True))

    step = 1e-5
    by_weight = (earned(0.5 + step, INNER) - earned(0.5 - step, INNER)) / (2 * step)
    by_discount = (earned(0.5, INNER + step) - earned(0.5, INNER - step)) / (2 * step)
    np.testing.assert_allclose((found.reward * auxiliary).sum(), by_weight, rtol=1e-7)
    np.testing.assert_allclose(found.discount, by_discount, rtol=1e-7)
    if temperature:
        fisher = implicit_hypergradient(
            mdp,
            primary + 0.5 * auxiliary,
            primary,
            logits,
            curvature="fisher",
            inner_discount=INNER,
            **options,
        )
        assert abs((fisher.reward * auxiliary).sum() - by_weight) > 1e-3  # the penalty moves the optimum away


def cosines_to_the_truth(seed, offset, curvature, **options):
    """Of derivatives by one weight a state, over 20 random worlds; and the relative errors."""
    mdp, primary, auxiliary = random_problems(seed)
    blended = primary + auxiliary + offset
    logits = soft_logits(mdp, blended, 0.3)
    options |= {"temperature": 0.3, "curvature": curvature}
    if curvature in ("first_order", "neumann"):
        options["step"] = 1 / np.linalg.eigvalsh(-hessian(mdp, blended, logits, temperature=0.3))[:, -1]
    found = (implicit_hypergradient(mdp, blended, primary, logits, **options).reward * auxiliary).sum(-1)
    truth = (bilevel_gradient(mdp, blended, primary, 0.3).reward * auxiliary).sum(-1)
    sizes = np.linalg.norm(found, axis=-1), np.linalg.norm(truth, axis=-1)
    return (found * truth).sum(-1) / sizes[0] / sizes[1], np.linalg.norm(found - truth, axis=-1) / sizes[1]


def test_which_curvature_finds_the_direction():
    """Property 9; means over 20 worlds of its own were .939 (lowest .617), .991 and .9998."""
    for curvature in ("exact", "fisher"):
        cosine, error = cosines_to_the_truth(2, 0.0, curvature)
        assert (error < 1e-11).all() and (abs(cosine - 1) < 1e-13).all()
    first, _ = cosines_to_the_truth(2, 0.0, "first_order")
    five, _ = cosines_to_the_truth(2, 0.0, "neumann", loops=5)
    fifty, _ = cosines_to_the_truth(2, 0.0, "neumann", loops=50)
    assert 0.85 < first.mean() < 0.98 and first.min() < 0.8
    assert 0.98 < five.mean() < 0.998
    assert 0.999 < fifty.mean() < 1


def test_an_offset_flips_the_surrogate_and_nothing_else():
    """Property 10: mean cosines -.9998, .9996 and 1.0 at offsets -3, 0 and 3."""
    for curvature in ("exact", "fisher", "first_order", "neumann"):
        at = [cosines_to_the_truth(5, offset, curvature) for offset in (-3.0, 0.0, 3.0)]
        np.testing.assert_allclose(at[0], at[1], atol=1e-9)
        np.testing.assert_allclose(at[2], at[1], atol=1e-9)
    for offset, low, high in ((-3.0, -1.0, -0.999), (0.0, 0.998, 1.0), (3.0, 0.9998, 1.0)):
        with pytest.warns(SurrogateCurvatureWarning, match="depends on the offset"):
            cosine, error = cosines_to_the_truth(5, offset, "surrogate")
        assert low <= cosine.mean() < high
        assert (error > 0.9).all()  # the length is wrong by orders of magnitude


def test_the_surrogate_is_what_automatic_differentiation_finds():
    mdp, primary, auxiliary = random_problems(6, worlds=1, states=4)
    mdp, primary, auxiliary = mdp[0], primary[0], auxiliary[0]
    blended, temperature, inner = primary + auxiliary, 0.3, 0.8
    solved = solve_inner(mdp, blended, temperature, inner)
    logits = solved.action_values / temperature
    world = mdp.with_discount(inner)
    values = np.linalg.solve(
        np.eye(4) - inner * np.einsum("sa,sat->st", solved.policy, mdp.transition), (solved.policy * blended).sum(-1)
    )
    returns = torch.tensor(blended + inner * mdp.transition @ values)
    visits = torch.tensor(
        np.linalg.solve(np.eye(4) - inner * np.einsum("sa,sat->ts", solved.policy, mdp.transition), world.initial)
    )
    behaviour = torch.tensor(solved.policy)

    def sampled_surrogate(flat):
        log_policy = torch.log_softmax(flat.reshape(4, 3), -1)
        entropy = -(log_policy.exp() * log_policy).sum(-1)
        return (visits * ((behaviour * returns * log_policy).sum(-1) + temperature * entropy)).sum()

    curved = -torch.autograd.functional.hessian(sampled_surrogate, torch.tensor(logits).flatten()).numpy()
    options = {"temperature": temperature, "inner_discount": inner}
    plain = implicit_hypergradient(mdp, blended, primary, logits, curvature="first_order", **options).vector
    expected = (np.linalg.pinv(curved, rcond=1e-10) @ plain.ravel()).reshape(4, 3)
    with pytest.warns(SurrogateCurvatureWarning):
        found = implicit_hypergradient(mdp, blended, primary, logits, curvature="surrogate", **options).vector
    centred = [vector - vector.mean(-1, keepdims=True) for vector in (found, expected)]
    np.testing.assert_allclose(*centred, rtol=1e-9)


def test_only_the_surrogate_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for curvature in ("exact", "fisher", "first_order", "neumann"):
            in_worked_example(curvature)


@pytest.mark.parametrize(
    ("temperature", "earned", "slopes"),
    [
        (0.003, (0.915, 0.890, -0.099), (-0.017, -7.7, -2.6e-4)),
        (0.3, (0.614, 0.606, 0.589), (-0.26, -0.29, -0.36)),
        (1.0, (0.482, 0.478, 0.470), (-0.14, -0.15, -0.16)),
    ],
)
def test_a_low_temperature_makes_a_cliff_between_plateaus(temperature, earned, slopes):
    """Property 12, on the grid under bad advice; the pseudo-inverse finds even the slope of a plateau."""
    world = guided_grid()
    bad = world.mdp.state_action_reward(world.bad)
    for weight, expected, slope in zip((0.02, 0.05, 0.1), earned, slopes, strict=True):
        blended = world.primary + weight * world.bad
        logits = soft_logits(world.mdp, blended, temperature)
        closed = (bilevel_gradient(world.mdp, blended, world.primary, temperature).reward * bad).sum()
        for curvature in ("exact", "fisher"):
            found = implicit_hypergradient(
                world.mdp, blended, world.primary, logits, curvature=curvature, temperature=temperature
            )
            np.testing.assert_allclose(found.primary_return, expected, atol=6e-4)
            np.testing.assert_allclose((found.reward * bad).sum(), slope, rtol=0.06)
            np.testing.assert_allclose((found.reward * bad).sum(), closed, rtol=1e-6)


def test_what_is_published_for_neumann_is_first_order():
    """Five loops of 5e-4: nothing is inverted, and the vector is six times the gradient."""
    found, _ = in_worked_example("neumann", step=5e-4, loops=5)
    plain, _ = in_worked_example("first_order", step=5e-4)
    assert found.cosine > 0.99999
    np.testing.assert_allclose(np.linalg.norm(found.vector) / np.linalg.norm(plain.vector), 6, rtol=2e-3)


@settings(max_examples=50)
@given(seeds, st.sampled_from(["exact", "fisher", "first_order", "neumann", "surrogate"]), st.sampled_from([0.0, 0.2]))
@pytest.mark.filterwarnings("ignore::rewardlab.shaping.bilevel.implicit_gradient.SurrogateCurvatureWarning")
def test_a_batch_is_its_worlds_one_by_one_and_torch_is_numpy(seed, curvature, penalty):
    mdp, primary, auxiliary = random_problems(seed, worlds=3, states=4)
    blended, step, inner = primary + auxiliary, np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.8, 0.9])
    logits = np.random.default_rng(seed).normal(size=blended.shape)
    options = {"curvature": curvature, "temperature": 0.4, "penalty": penalty, "loops": 3}
    together = implicit_hypergradient(mdp, blended, primary, logits, step=step, inner_discount=inner, **options)
    size = 1e-7 * (1 + abs(together.vector).max())
    for world in range(3):
        numbers = {"step": float(step[world]), "inner_discount": float(inner[world])}
        alone = implicit_hypergradient(mdp[world], blended[world], primary[world], logits[world], **numbers, **options)
        for batched, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(batched[world], single, rtol=1e-8, atol=size)
    tensors = [torch.tensor(table) for table in (blended, primary, logits)]
    options |= {"step": torch.tensor(step), "inner_discount": torch.tensor(inner)}
    theirs = implicit_hypergradient(FiniteMDP(torch.tensor(mdp.transition), 0.95), *tensors, **options)
    for ours, other in zip(together, theirs, strict=True):
        assert isinstance(other, torch.Tensor)
        np.testing.assert_allclose(ours, other, rtol=1e-8, atol=size)


def test_many_blends_in_one_world():
    mdp, primary, auxiliary = random_problems(7, worlds=1)
    blends = primary + np.linspace(-1, 1, 5)[:, None, None] * auxiliary
    logits = soft_logits(mdp[0], blends, 0.5)
    found = implicit_hypergradient(mdp[0], blends, primary[0], logits, temperature=0.5)
    expected = bilevel_gradient(mdp[0], blends, primary[0], 0.5)
    np.testing.assert_allclose(found.reward, expected.reward, atol=1e-10)
    np.testing.assert_allclose(found.discount, expected.discount, rtol=1e-9)


def test_every_answer_has_the_batch_of_all_arguments():
    mdp, primary, auxiliary = random_problems(7, worlds=1)
    blends = primary + np.linspace(-1, 1, 5)[:, None, None] * auxiliary
    for blended, meant in ((blends, primary[0]), (primary[0], blends)):
        found = implicit_hypergradient(mdp[0], blended, meant, np.zeros((8, 3)), temperature=0.5)
        assert found.reward.shape == found.vector.shape == (5, 8, 3)
        assert {part.shape for part in (found.primary_return, found.discount, found.cosine, found.slope)} == {(5,)}


def test_where_training_has_not_ended_the_slope_says_so():
    mdp, primary, auxiliary = worked_example()
    found = implicit_hypergradient(mdp, primary + auxiliary, primary, np.zeros((2, 2)), temperature=0.5)
    assert found.slope > 0.1


def test_where_nothing_can_be_gained_the_derivative_is_0_and_has_no_direction():
    mdp, primary, _ = worked_example()
    found = implicit_hypergradient(mdp, primary, 0 * primary, np.zeros((2, 2)), temperature=0.5)
    assert (found.reward == 0).all() and found.discount == 0 and np.isnan(found.cosine)


def test_a_state_that_training_does_not_visit_contributes_nothing():
    transition = np.zeros((2, 2, 2))
    transition[:, :, 1] = 1
    mdp = FiniteMDP(transition, 0.9, initial=np.array([1.0, 0.0]))
    reward = np.array([[0.0, 0.0], [1.0, 0.0]])
    logits = soft_logits(mdp, reward, 0.5, 0.0)  # discount 0: what happens in state 1 is of no interest from state 0
    for curvature in ("exact", "fisher"):
        options = {"curvature": curvature, "inner_discount": 0.0, "temperature": 0.5}
        found = implicit_hypergradient(mdp, reward, reward, logits, **options)
        np.testing.assert_allclose(found.reward, 0, atol=1e-12)


MDP, PRIMARY, AUXILIARY = worked_example()
ZERO = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"curvature": "hessian"}, ValueError, "curvature is 'hessian', expected one of 'exact', 'fisher'"),
        ({"curvature": "fisher"}, ValueError, "temperature of the curvature 'fisher' is 0.0, expected a number in (0"),
        ({"loops": -1}, ValueError, "loops is -1, expected a whole number"),
        ({"loops": 2.5}, TypeError, "loops is 2.5, expected a whole number"),
        ({"step": 0.0}, ValueError, "step is 0.0, expected a number in (0"),
        ({"step": np.array([0.5, -1.0])}, ValueError, "step[1] is -1.0, expected a number above 0"),
        ({"step": np.array([0.5, np.nan])}, ValueError, "step[1] is nan, expected a finite number"),
        ({"step": "1"}, TypeError, "step: expected a number, got str"),
        ({"temperature": -1.0}, ValueError, "temperature is -1.0, expected a number in [0"),
        ({"penalty": np.inf}, ValueError, "penalty is inf, expected a number"),
        ({"inner_discount": 1.5}, ValueError, "inner_discount is 1.5, expected a number in [0, 1]"),
        ({"inner_discount": 1.0}, ValueError, "discount is 1 but a policy can stay away from terminal states"),
        ({"blended": PRIMARY * np.nan}, ValueError, "blended[0, 0] is nan, expected a finite number"),
        ({"primary": PRIMARY[:1]}, ValueError, "primary has shape (1, 2), expected (*batch, 2, 2, 2) or (*batch, 2, 2"),
        ({"primary": PRIMARY.tolist()}, TypeError, "primary: expected a NumPy array or torch tensor, got list"),
        ({"logits": np.zeros(2)}, ValueError, "logits has shape (2,), expected (*batch, 2, 2)"),
        (
            {"blended": np.zeros((3, 2, 2)), "primary": np.zeros((4, 2, 2))},
            ValueError,
            "do not broadcast against one another: blended (3,), primary (4,)",
        ),
        (
            {"blended": np.zeros((3, 2, 2)), "step": np.ones(2)},
            ValueError,
            "do not broadcast against one another: blended (3,), primary (), step (2,)",
        ),
    ],
)
def test_refusals(options, error, message, without_type_checks):
    given = {"blended": PRIMARY, "primary": PRIMARY, "logits": ZERO} | options
    with pytest.raises(error) as caught:
        implicit_hypergradient(MDP, given.pop("blended"), given.pop("primary"), given.pop("logits"), **given)
    assert message in str(caught.value)
