import pytest
import torch

from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_gradient import EnsembleGradient, ensemble_loss


def test_the_loss_in_numbers():
    mean, target = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]), torch.tensor([[3.0, 2.0]])
    log_variance = torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]])
    # member 1: (4 + 0 + 0 + 1) / 2, member 2: (9 + 4) / 2
    assert float(ensemble_loss(mean, log_variance, target)) == pytest.approx(2.5 + 6.5)


def test_the_loss_is_smallest_at_the_true_variance():
    errors = torch.randn(1, 1000, 1, generator=torch.Generator().manual_seed(0)) * 3
    log_variance = torch.zeros(1, requires_grad=True)
    best = errors.square().mean().log()
    losses = [
        float(ensemble_loss(errors, (best + shift).expand(1, 1000, 1), torch.zeros(1000, 1)))
        for shift in (-0.1, 0, 0.1)
    ]
    assert losses[1] < min(losses[0], losses[2])
    ensemble_loss(errors, best + log_variance.expand(1, 1000, 1), torch.zeros(1000, 1)).backward()
    assert float(log_variance.grad) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("activation", ["swish", "tanh", "relu"])
@pytest.mark.parametrize("hidden", [(8, 9), (5,), (), (6, 6, 6)])
def test_gradients_are_those_of_automatic_differentiation(activation, hidden):
    generator = torch.Generator().manual_seed(0)
    ensemble = GaussianEnsemble(
        3, 2, members=4, hidden=hidden, elites=2, activation=activation, generator=generator
    ).double()
    gradient = EnsembleGradient(ensemble, 0.01)
    for rows in (11, 4, 11):  # the buffers are used again
        inputs = torch.randn(4, rows, 5, generator=generator).double()
        target = 2 * torch.randn(4, rows, 4, generator=generator).double()
        before = inputs.clone()
        loss = gradient(inputs, target)
        ours = [parameter.grad.clone() for parameter in ensemble.parameters()]
        naive = ensemble_loss(*ensemble.network(inputs), target)
        bounds = ensemble.max_log_variance.sum() - ensemble.min_log_variance.sum()
        theirs = torch.autograd.grad(naive + 0.01 * bounds, list(ensemble.parameters()))
        torch.testing.assert_close(loss, naive.detach())
        assert torch.equal(inputs, before)
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)
