import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.shaping.sampled.features import FourierFeatures, OneHot, RawFeatures
from rewardlab.shaping.sampled.linear_softmax import LinearSoftmax
from rewardlab.shaping.sampled.policies import GaussianPolicy, Policy, SoftmaxPolicy

seeds = st.integers(0, 2**16)


def point(seed, n=7, features=3, actions=4):
    generator = np.random.default_rng(seed)
    x, weights, entropies = (torch.from_numpy(generator.normal(size=s)) for s in ((n, features), n, n))
    taken = torch.from_numpy(generator.integers(0, actions, n))
    policy = SoftmaxPolicy(RawFeatures(features), actions, rng=seed)
    vector = torch.from_numpy(generator.normal(size=actions * (features + 1)))
    return policy, x, taken, weights, entropies, vector


def objective(x, taken, weights, entropies):
    def value(weight, bias):
        log_all = torch.log_softmax(x @ weight.T + bias, -1)
        total = (weights * log_all.gather(1, taken[:, None])[:, 0]).sum()
        return total if entropies is None else total - (entropies * (log_all.exp() * log_all).sum(1)).sum()

    return value


@given(seeds, st.booleans())
def test_closed_forms_are_the_derivatives(seed, with_entropy):
    policy, x, taken, weights, entropies, vector = point(seed)
    entropies = entropies if with_entropy else None
    own = tuple(parameter.detach() for parameter in policy.parameters())
    value, form = objective(x, taken, weights, entropies), LinearSoftmax(x, taken, *own)
    split = (vector[:-4].reshape(4, 3), vector[-4:])
    gradient, product = torch.func.jvp(torch.func.grad(value, (0, 1)), own, split)
    for ours, theirs in zip(form.gradient(weights, entropies), gradient, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        form.hessian_product(weights, entropies)(vector), torch.cat([part.reshape(-1) for part in product])
    )
    scores = torch.func.jacrev(
        lambda *p: torch.log_softmax(x @ p[0].T + p[1], -1).gather(1, taken[:, None])[:, 0], (0, 1)
    )
    matrix = torch.cat([part.flatten(1) for part in scores(*own)], 1)
    torch.testing.assert_close(form.directional(list(split)), matrix @ vector)
    torch.testing.assert_close(form.fisher_product(weights)(vector), -(matrix.T @ (weights * (matrix @ vector))))


@given(seeds)
def test_directions_with_hidden_layers_are_finite_differences(seed):
    generator = np.random.default_rng(seed)
    x = torch.from_numpy(generator.normal(size=(2, 5, 3)))
    for policy, actions in (
        (SoftmaxPolicy(RawFeatures(3), 4, hidden=(6,)), torch.from_numpy(generator.integers(0, 4, (2, 5)))),
        (
            GaussianPolicy(RawFeatures(3), 2, 0.4, low=-1.0, high=2.0),
            torch.from_numpy(generator.normal(size=(2, 5, 2))),
        ),
    ):
        direction = [torch.from_numpy(generator.normal(size=tuple(p.shape))) for p in policy.parameters()]
        found = policy.directional(x, actions, direction)
        with torch.no_grad():
            ends = []
            for step in (1e-6, -2e-6):
                for parameter, along in zip(policy.parameters(), direction, strict=True):
                    parameter += step * along
                ends.append(policy.log_prob(x, actions))
        torch.testing.assert_close(found, (ends[0] - ends[1]) / 2e-6, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_softmax_draws_its_probabilities(hidden):
    policy = SoftmaxPolicy(FourierFeatures([0.0], [1.0], 3), 3, hidden=hidden, rng=2)
    generator, place = np.random.default_rng(0), np.array([0.3])
    drawn = np.bincount([policy.act(place, generator) for _ in range(4000)], minlength=3) / 4000
    x = policy.features(torch.tensor([[0.3]], dtype=torch.float64)).expand(3, -1)
    expected = policy.log_prob(x, torch.arange(3)).exp().detach().numpy()
    assert expected.sum() == pytest.approx(1)
    np.testing.assert_allclose(drawn, expected, atol=0.03)
    assert float(policy.entropy(x)[0]) == pytest.approx(-(expected * np.log(expected)).sum())


def test_gaussian_draws_its_density_and_squashes_its_means():
    policy = GaussianPolicy(RawFeatures(2), 2, 0.2, low=[-1.0, 0.0], high=[1.0, 4.0], rng=1)
    generator, place = np.random.default_rng(0), np.array([0.4, -2.0])
    drawn = np.array([policy.act(place, generator) for _ in range(4000)])
    mean = policy.mean(torch.from_numpy(place)[None])[0].detach().numpy()
    assert -1 < mean[0] < 1 and 0 < mean[1] < 4
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(drawn.std(0), 0.2, atol=0.01)
    x, action = torch.from_numpy(place)[None], torch.from_numpy(drawn[:1])
    normal = torch.distributions.Normal(torch.from_numpy(mean), 0.2)
    assert float(policy.log_prob(x, action)[0]) == pytest.approx(float(normal.log_prob(action[0]).sum()))
    assert float(policy.entropy(x)[0]) == pytest.approx(float(normal.entropy()[0]))


def test_extreme_outputs_stay_probabilities():
    policy = SoftmaxPolicy(OneHot(2), 2)
    with torch.no_grad():
        policy.net[0].weight.copy_(torch.tensor([[1e4, 0.0], [-1e4, 0.0]]))
    assert {policy.act(np.array([0.0]), np.random.default_rng(seed)) for seed in range(20)} == {0}
    x = policy.features(torch.zeros(1, 1, dtype=torch.float64))
    assert (
        float(policy.entropy(x)[0]) == pytest.approx(0) and torch.isfinite(policy.log_prob(x, torch.tensor([1]))).all()
    )


def test_float32_and_seeds():
    features = RawFeatures(3, dtype=torch.float32)
    policies = [SoftmaxPolicy(features, 2, rng=seed, dtype=torch.float32) for seed in (1, 1, 2)]
    weights = [policy.net[0].weight for policy in policies]
    assert weights[0].dtype == torch.float32 and torch.equal(*weights[:2]) and not torch.equal(*weights[1:])
    assert weights[0].abs().max() <= 1 / np.sqrt(3)


def test_the_base_class_is_no_policy():
    with pytest.raises(TypeError, match="abstract"):
        Policy(RawFeatures(1), 1)


@pytest.mark.usefixtures("without_type_checks")
def test_bad_numbers():
    with pytest.raises(ValueError, match="actions is 0"):
        SoftmaxPolicy(RawFeatures(1), 0)
    with pytest.raises(ValueError, match="standard_deviation is 0"):
        GaussianPolicy(RawFeatures(1), 1, 0.0)
