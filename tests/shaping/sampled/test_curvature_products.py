"""Sampled curvature against worlds whose every episode is listed, and against the exact Hessian and Fisher matrix."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, hessian, jacrev

from rewardlab.exact.mdp import FiniteMDP
from rewardlab.shaping.bilevel import policy_parameters
from rewardlab.shaping.bilevel.hypergradient import solve_inner
from rewardlab.shaping.sampled.curvature import solve_curvature
from rewardlab.shaping.sampled.curvature_products import (
    curvature_product,
    exact_product,
    fisher_product,
    flat_parameters,
    named_parameters,
    surrogate_product,
)
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.features import FourierFeatures, OneHot
from rewardlab.shaping.sampled.policies import GaussianPolicy, SoftmaxPolicy
from rewardlab.shaping.sampled.surrogate import surrogate
from tests.shaping.sampled.layered_world import (
    DISCOUNT,
    by_parameters,
    layered_world,
    listed,
    logits_of,
    policy_of,
    probabilities,
    single,
)

RNG = np.random.default_rng(11)
REWARD, ADVICE = RNG.normal(size=(2, 5, 2))
DOUBLE = torch.float64


def matrix(product, size):
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=DOUBLE)], 1)


def expected_matrix(world, policy, make):
    """Mean of single episodes' matrices over all episodes there are."""
    size = len(flat_parameters(policy))
    chances = probabilities(world, policy)
    parts = [chance * matrix(make(single(world.batch, row), row), size) for row, chance in enumerate(chances)]
    return sum(parts).numpy()


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=tolerance)


@pytest.fixture(params=[False, True], ids=["three steps", "early ends"])
def world(request):
    mdp = layered_world(early_end=request.param)
    return mdp, listed(mdp, REWARD, ADVICE)


def test_the_listed_episodes_are_all_there_are(world):
    mdp, episodes = world
    policy = policy_of()
    chances = probabilities(episodes, policy)
    assert float(chances.sum()) == pytest.approx(1)
    powers = DISCOUNT ** torch.arange(3, dtype=DOUBLE)
    mean = float((chances * (episodes.batch.primary * powers).sum(1)).sum())
    assert mean == pytest.approx(float(policy_parameters.regularised_return(mdp, REWARD, logits_of(policy))))


def test_the_exact_product_is_an_unbiased_hessian_of_the_return(world):
    mdp, episodes = world
    policy = policy_of()
    chain = by_parameters(policy)

    def make(batch, _):
        return exact_product(policy, batch, batch.primary, DISCOUNT, weigh_steps=True)

    found = 3 * expected_matrix(episodes, policy, make)  # sums over steps are divided by 3
    close(found, found.T)
    close(found, chain.T @ policy_parameters.hessian(mdp, REWARD, logits_of(policy)) @ chain)

    def exact_return(flat):  # by automatic differentiation, with nothing of ours
        log_prob, _ = functional_call(policy, named_parameters(policy, flat), episodes.batch[:2])
        chances = episodes.chance * torch.where(episodes.batch.mask, log_prob, 0).sum(1).exp()
        return (chances * (episodes.batch.primary * DISCOUNT ** torch.arange(3, dtype=DOUBLE)).sum(1)).sum()

    close(found, hessian(exact_return)(flat_parameters(policy)))


@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
def test_the_exact_product_is_the_transposed_derivative_of_the_expected_gradient(entropy_weight):
    episodes = listed(layered_world(early_end=False), REWARD, ADVICE)
    policy, batch = policy_of(), episodes.batch

    def run(flat):
        return functional_call(policy, named_parameters(policy, flat), batch[:2])

    def expected_gradient(flat):
        chances = episodes.chance * run(flat)[0].sum(1).exp()
        lags = torch.arange(3)[:, None] - torch.arange(3)
        to_go = batch.primary @ torch.where(lags >= 0, DISCOUNT ** lags.clamp(min=0).to(DOUBLE), 0).to(DOUBLE)

        def of_the_sampled(inner):
            log_prob, entropy = run(inner)
            return ((log_prob * to_go + entropy_weight * entropy).mean(1) * chances).sum()

        return grad(of_the_sampled)(flat)

    def make(each, _):
        return exact_product(policy, each, each.primary, DISCOUNT, entropy_weight=entropy_weight)

    found = expected_matrix(episodes, policy, make)
    close(found, jacrev(expected_gradient)(flat_parameters(policy)).T)
    assert np.abs(found - found.T).max() > 1e-4  # no function has this gradient


def test_fisher_is_the_curvature_at_the_soft_optimum(world):
    mdp, episodes = world
    temperature = 0.4
    optimum = solve_inner(mdp, REWARD, temperature).policy
    policy = policy_of()
    with torch.no_grad():
        policy.net[0].weight.copy_(torch.tensor(np.log(optimum).T))
        policy.net[0].bias.zero_()
    chain = by_parameters(policy)

    def make(batch, row):  # the mean over the steps of an episode, back to the sum
        steps = episodes.steps[row]
        product = fisher_product(policy, batch, temperature=temperature, discount=DISCOUNT)
        return lambda vector: steps * product(vector)

    truth = policy_parameters.hessian(mdp, REWARD, logits_of(policy), temperature=temperature)
    close(expected_matrix(episodes, policy, make), chain.T @ truth @ chain)


def test_fisher_of_a_batch_is_the_mean_outer_product_of_scores(world):
    _, episodes = world
    policy, batch = policy_of(), episodes.batch

    def log_prob(flat):
        return functional_call(policy, named_parameters(policy, flat), batch[:2])[0]

    scores = jacrev(log_prob)(flat_parameters(policy))[batch.mask]
    expected = -0.7 * scores.T @ scores / len(scores)
    close(matrix(fisher_product(policy, batch, temperature=0.7), 12), expected)
    assert np.linalg.eigvalsh(expected).max() < 1e-12


@pytest.mark.parametrize("entropy_weight", [0.0, 0.25])
def test_the_surrogate_product_is_its_hessian(world, entropy_weight):
    _, episodes = world
    policy, batch = policy_of(), episodes.batch

    def value(flat):
        named = named_parameters(policy, flat)
        return surrogate(policy, named, batch, batch.primary, 0.9, entropy_weight=entropy_weight)

    product = surrogate_product(policy, batch, batch.primary, 0.9, entropy_weight=entropy_weight)
    close(matrix(product, 12), hessian(value)(flat_parameters(policy)))


@pytest.mark.parametrize("offset", [-3.0, 3.0])
def test_a_reward_offset_changes_the_surrogate_alone(offset):
    episodes = listed(layered_world(early_end=False), REWARD, ADVICE)  # of one length, so that an offset is neutral
    policy = policy_of()

    def expected(make, moved):
        return expected_matrix(episodes, policy, lambda batch, _: make(policy, batch, batch.primary + moved, DISCOUNT))

    close(expected(exact_product, offset), expected(exact_product, 0.0))
    close(
        matrix(curvature_product("fisher", policy, episodes.batch, episodes.batch.primary + offset, DISCOUNT), 12),
        matrix(curvature_product("fisher", policy, episodes.batch, episodes.batch.primary, DISCOUNT), 12),
    )
    assert np.abs(expected(surrogate_product, offset) - expected(surrogate_product, 0.0)).max() > 0.3


def sampled_world(offset=0.0, *, episodes=3000, steps=30, seed=5):
    """Episodes of the soft-optimal policy of a random world without an end, and the two gradients' ingredients."""
    mdp = FiniteMDP.random(6, 3, discount=0.8, rng=seed)
    rng = np.random.default_rng(seed)
    primary, blended = rng.uniform(-0.5, 0.5, (2, 6, 3))
    temperature = 0.3
    chosen = solve_inner(mdp, blended, temperature).policy
    policy = SoftmaxPolicy(OneHot(6), 3)
    with torch.no_grad():
        policy.net[0].weight.copy_(torch.tensor(np.log(chosen).T))
        policy.net[0].bias.zero_()
    states, actions = np.zeros((2, episodes, steps), int)
    state = rng.choice(6, size=episodes, p=mdp.initial)
    for step in range(steps):
        action = (rng.random(episodes)[:, None] > chosen[state].cumsum(1)[:, :-1]).sum(1)
        states[:, step], actions[:, step] = state, action
        state = (rng.random(episodes)[:, None] > mdp.transition[state, action].cumsum(1)[:, :-1]).sum(1)
    x = OneHot(6)(torch.tensor(states, dtype=DOUBLE).reshape(-1, 1)).reshape(episodes, steps, 6)
    # what the policy is regularised by is a part of its reward: at the optimum its own advantage is then 0
    regularised = blended - temperature * np.log(3 * chosen) + offset
    reward = torch.tensor(regularised[states, actions])
    batch = Batch.of(x, torch.tensor(actions), torch.tensor(primary[states, actions]), reward[..., None])
    return mdp, primary, blended, temperature, policy, batch


def test_samples_converge_to_the_fisher_matrix_and_the_exact_hessian():
    mdp, _, blended, temperature, policy, batch = sampled_world()
    chain = np.concatenate([np.eye(18).reshape(6, 3, 18).transpose(1, 0, 2).reshape(18, 18), np.zeros((3, 18))]).T
    logits = policy.net[0].weight.detach().numpy().T
    steps = batch.mask.shape[1]
    fisher = matrix(fisher_product(policy, batch, temperature=temperature, discount=0.8), 21).numpy() * steps
    truth = policy_parameters.hessian(mdp, blended, logits, temperature=temperature)
    exact = matrix(exact_product(policy, batch, batch.primary, 0.8, weigh_steps=True), 21).numpy() * steps
    of_primary = policy_parameters.hessian(mdp, sampled_world(episodes=1)[1], logits)
    for found, expected, tolerance in ((fisher, truth, 0.03), (exact, of_primary, 0.25)):
        found = chain @ found @ chain.T
        assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def vectors_by_offset(offset):
    """Hyper-gradient vectors by kind, from one set of episodes whose blended reward has an offset."""
    *_, policy, batch = sampled_world(offset)
    outer = grad(lambda flat: surrogate(policy, named_parameters(policy, flat), batch, batch.primary, 0.8))(
        flat_parameters(policy)
    )
    found = {}
    for kind in ("first_order", "fisher", "surrogate"):
        product = curvature_product(kind, policy, batch, batch.auxiliary[..., 0], 0.8)
        # damped by a hundredth of the curvature that there is
        size = 1.0 if product is None else abs(float(outer @ product(outer) / (outer @ outer)))
        found[kind] = solve_curvature(kind, outer, product, damping=0.01 * size)
    return found


@pytest.mark.filterwarnings("ignore::rewardlab.shaping.bilevel.implicit_gradient.SurrogateCurvatureWarning")
def test_an_offset_flips_the_hypergradient_of_the_surrogate():
    base = vectors_by_offset(0.0)["fisher"].vector
    for offset, least, most in ((-3.0, -1.0, -0.75), (3.0, 0.75, 1.0)):
        found = vectors_by_offset(offset)
        cosine = float(torch.cosine_similarity(found["surrogate"].vector, base, dim=0))
        assert least <= cosine <= most
        assert np.sign(found["surrogate"].curvature) == -np.sign(offset)
        close(found["fisher"].vector, base)
        close(found["first_order"].vector, vectors_by_offset(0.0)["first_order"].vector)


def test_products_of_a_gaussian_policy_with_a_hidden_layer():
    generator = torch.Generator().manual_seed(0)
    policy = GaussianPolicy(FourierFeatures([0.0], [1.0], 2), 2, 0.5, low=-1.0, high=1.0, hidden=(3,))
    x = policy.features(torch.rand(12, 1, generator=generator, dtype=DOUBLE)).reshape(3, 4, 3)
    actions = torch.randn(3, 4, 2, generator=generator, dtype=DOUBLE)
    mask = torch.arange(4) < torch.tensor([[4], [1], [3]])
    batch = Batch.of(
        x, actions, torch.randn(3, 4, generator=generator, dtype=DOUBLE) * mask, mask[..., None] * 1.0, mask
    )
    size = len(flat_parameters(policy))

    def value(flat):
        return surrogate(policy, named_parameters(policy, flat), batch, batch.primary, 0.9, entropy_weight=0.1)

    curved = {
        kind: matrix(curvature_product(kind, policy, batch, batch.primary, 0.9, entropy_weight=0.1), size)
        for kind in ("neumann", "fisher", "exact")
    }
    close(curved["neumann"], hessian(value)(flat_parameters(policy)))
    assert float(torch.linalg.eigvalsh(curved["fisher"]).max()) < 1e-12
    for part in curved.values():
        assert bool(torch.isfinite(part).all()) and float(part.abs().max()) > 0


def test_the_padding_is_ignored():
    episodes = listed(layered_world(early_end=True), REWARD, ADVICE)
    policy, batch = policy_of(), episodes.batch
    other = batch._replace(
        x=torch.where(batch.mask[..., None], batch.x, 7.0), actions=torch.where(batch.mask, batch.actions, 1)
    )
    rewards = torch.where(batch.mask, batch.primary, 5.0)
    for kind in ("neumann", "fisher", "exact"):
        one = matrix(curvature_product(kind, policy, batch, batch.primary, 0.9, entropy_weight=0.2), 12)
        close(matrix(curvature_product(kind, policy, other, rewards, 0.9, entropy_weight=0.2), 12), one)


def test_flat_parameters_and_back():
    policy = policy_of()
    named = named_parameters(policy, flat_parameters(policy))
    for name, parameter in policy.named_parameters():
        assert torch.equal(named[name], parameter.detach())
    with pytest.raises(ValueError, match=r"the flat vector has shape \(11,\), expected \(12,\), one a parameter"):
        named_parameters(policy, torch.zeros(11))


def test_first_order_needs_no_product_and_bad_inputs_are_refused(without_type_checks):
    policy, batch = policy_of(), listed(layered_world(early_end=True), REWARD, ADVICE).batch
    assert curvature_product("first_order", policy, batch, batch.primary, 0.9) is None
    with pytest.raises(ValueError, match="kind is 'newton'"):
        curvature_product("newton", policy, batch, batch.primary, 0.9)
    for make in (surrogate_product, exact_product):
        with pytest.raises(ValueError, match=r"rewards has shape \(\d+, 2\), expected \(episodes, steps\)"):
            make(policy, batch, batch.primary[:, :2], 0.9)
    with pytest.raises(ValueError, match=r"temperature is -1"):
        fisher_product(policy, batch, temperature=-1.0)


def test_the_product_of_a_kind_is_the_function_of_that_name_with_its_entropy():
    policy, batch = policy_of(), listed(layered_world(early_end=True), REWARD, ADVICE).batch
    given = (policy, batch, batch.primary, 0.9)
    of_surrogate = surrogate_product(*given, entropy_weight=0.3)
    expected = {
        "neumann": of_surrogate,
        "surrogate": of_surrogate,
        "exact": exact_product(*given, entropy_weight=0.3),
        "fisher": fisher_product(policy, batch, temperature=0.3),
    }
    for kind, product in expected.items():
        close(matrix(curvature_product(kind, *given, entropy_weight=0.3), 12), matrix(product, 12))
    close(matrix(curvature_product("fisher", *given), 12), matrix(fisher_product(policy, batch), 12))


def test_products_are_of_the_precision_of_the_policy():
    """Means over the steps, of which there are 7: 1/7 in single precision is off by 6e-9."""
    policy, mask = policy_of(), torch.arange(3) < torch.tensor([[3], [1], [3]])
    generator = np.random.default_rng(0)
    states = torch.from_numpy(generator.integers(4, size=(9, 1)).astype(float))
    x, actions = OneHot(5)(states).reshape(3, 3, 5), torch.from_numpy(generator.integers(2, size=(3, 3)))
    batch = Batch.of(x, actions, torch.zeros(3, 3, dtype=DOUBLE), torch.zeros(3, 3, 1, dtype=DOUBLE), mask)

    def log_prob(flat):
        return functional_call(policy, named_parameters(policy, flat), batch[:2])[0]

    scores = jacrev(log_prob)(flat_parameters(policy))[mask]
    close(matrix(fisher_product(policy, batch, temperature=0.7), 12), -0.7 * scores.T @ scores / 7, 1e-14)

    def entropy(flat):
        return 0.3 * functional_call(policy, named_parameters(policy, flat), batch[:2])[1][mask].sum() / 7

    # the states move along: earlier scores times the gradient of the entropy here, and the entropy's own curvature
    for_all = jacrev(log_prob)(flat_parameters(policy))
    entropies = jacrev(lambda flat: functional_call(policy, named_parameters(policy, flat), batch[:2])[1])
    each = 0.3 / 7 * entropies(flat_parameters(policy)) * mask[..., None]
    earlier = (for_all * mask[..., None]).cumsum(1) - for_all * mask[..., None]
    expected = torch.einsum("ntp,ntq->pq", earlier, each) + hessian(entropy)(flat_parameters(policy))
    close(matrix(exact_product(policy, batch, batch.primary, 0.9, entropy_weight=0.3), 12), expected, 1e-14)
