import math

import numpy as np
import pytest
import torch

from rewardlab.intrinsic.curiosity import (
    CuriosityLosses,
    CuriosityNetworks,
    IntrinsicCuriosity,
    forward_loss,
    inverse_loss,
)
from rewardlab.intrinsic.interface import Arrivals
from tests.intrinsic.walks import random_arrivals


def make(environments=3, shape=(5,), **options):
    return IntrinsicCuriosity(shape, 4, environments=environments, **{"hidden": (16,), "features": 8, **options})


def step(reward, rng, count=4, **options):
    for _ in range(count):
        reward.observe(random_arrivals(rng, **options))


def test_worked_losses():
    error = torch.tensor([[0.5, -0.5, 1.0]], dtype=torch.float64)
    logits, action = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64), torch.tensor([0])
    losses = CuriosityLosses(inverse_loss(logits, action), forward_loss(error, torch.zeros_like(error)))
    assert losses.forward.item() == 0.75
    assert 0.01 * losses.forward.item() == pytest.approx(0.0075)
    assert losses.inverse.item() == pytest.approx(0.169846, abs=5e-7)
    assert losses.combined(0.2, 1.0).item() == pytest.approx(0.285877, abs=5e-7)
    assert losses.combined().item() == pytest.approx(2.85877, abs=5e-6)


@pytest.mark.parametrize("features", [3, 288])
def test_released_forward_loss_is_this_one_for_288_features(features):
    error = torch.randn(4, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    released = 288 * 0.5 * error.square().mean()
    ours = forward_loss(error, torch.zeros_like(error)).mean()
    assert released / ours == pytest.approx(288 / features)


def test_forward_loss_has_the_gradient_of_half_a_square():
    predicted, features = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predicted.requires_grad_()
    forward_loss(predicted, features).sum().backward()
    torch.testing.assert_close(predicted.grad, (predicted - features).detach())


def test_inverse_loss_has_the_gradient_of_a_softmax():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([0, 1, 2, 3, 0, 1])
    assert torch.autograd.gradcheck(lambda found: inverse_loss(found, actions), logits)
    inverse_loss(logits, actions).sum().backward()
    expected = logits.softmax(-1) - torch.nn.functional.one_hot(actions, 4)
    torch.testing.assert_close(logits.grad, expected.detach())


def test_bonus_of_each_transition_by_hand():
    reward, rng = make(eta=0.3), np.random.default_rng(0)
    shown = random_arrivals(rng, valid=1.0)
    reward.observe(shown)
    networks = reward.networks
    before, after = (torch.as_tensor(each) for each in (shown.observations, shown.next_observations))
    taken = torch.eye(4)[torch.as_tensor(shown.actions)]
    predicted = networks.forward_model(torch.cat((networks.encoder(before), taken), 1))
    expected = 0.3 * 0.5 * (predicted - networks.encoder(after)).square().sum(1)
    np.testing.assert_allclose(reward.rewards()[0], expected.detach(), rtol=1e-5)


def test_features_learn_from_both_losses_and_through_both_observations():
    networks = CuriosityNetworks((5,), 4, hidden=(16,), features=8, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1)
    before, after = (torch.randn(6, 5, generator=draw).requires_grad_() for _ in range(2))
    losses = networks(before, torch.tensor([0, 1, 2, 3, 0, 1]), after)
    for loss in losses:
        found = torch.autograd.grad(loss.sum(), (networks.encoder[0].weight, before, after), retain_graph=True)
        assert all(each.abs().sum() > 0 for each in found)


def test_what_actions_do_not_affect_is_forgotten():
    """Features are trained to tell actions apart: the bonus for noise beside what they move falls away."""
    rng = np.random.default_rng(0)
    reward = IntrinsicCuriosity(
        (6,), 3, environments=16, hidden=(32,), features=4, learning_rate=3e-3, epochs=4, minibatches=4
    )
    losses = []
    for _ in range(16):
        for _ in range(16):
            before = rng.normal(size=(16, 6)).astype(np.float32)
            actions = rng.integers(0, 3, 16)
            after = before.copy()
            after[:, :3] += 2 * np.eye(3, dtype=np.float32)[actions]  # moved by the action
            after[:, 3:] = rng.normal(size=(16, 3))  # noise
            reward.observe(
                Arrivals(
                    dones=np.zeros(16, bool),
                    valid=np.ones(16, bool),
                    observations=before,
                    actions=actions,
                    next_observations=after,
                )
            )
        losses.append(reward.update())
    assert losses[-1]["inverse_loss"] < 0.1 < math.log(3) - 0.1 < losses[0]["inverse_loss"] + 0.1


def test_paid_before_learning_and_forgotten_after():
    reward, rng = make(learning_rate=1e-2, epochs=10), np.random.default_rng(0)
    shown = [random_arrivals(rng, valid=1.0) for _ in range(4)]
    for each in shown:
        reward.observe(each)
    paid = reward.rewards()
    np.testing.assert_array_equal(paid, reward.rewards())
    reward.update()
    assert reward.rewards().shape == (0, 3)
    for each in shown:
        reward.observe(each)
    assert reward.rewards().sum() < paid.sum()


def test_blank_arrivals_are_neither_paid_nor_learned_from():
    reward, rng = make(), np.random.default_rng(0)
    step(reward, rng, valid=0.0)
    assert not reward.rewards().any()
    before = [value.clone() for value in reward.networks.parameters()]
    assert reward.update() == {}
    assert all(torch.equal(one, other) for one, other in zip(before, reward.networks.parameters(), strict=True))


@pytest.mark.parametrize(("shape", "images"), [((5,), False), ((42, 42, 1), True)])
def test_resumes_bit_for_bit(shape, images):
    options = {"shape": shape, "images": images}
    whole, stopped, again = (make(shape=shape, seed=seed) for seed in (0, 0, 1))
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    for reward, rng in ((whole, one), (stopped, other)):
        step(reward, rng, **options)
        reward.update()
        step(reward, rng, 2, **options)
    state = stopped.state_dict()
    stopped.update()
    again.load_state_dict(state)
    found = []
    for reward, rng in ((whole, one), (again, other)):
        step(reward, rng, 1, **options)
        paid = reward.rewards()
        reward.update()
        step(reward, rng, 2, **options)
        found.append(np.concatenate([paid, reward.rewards()]))
    np.testing.assert_array_equal(found[0], found[1])


def test_images_of_the_published_size_have_288_features():
    networks = CuriosityNetworks((42, 42, 1), 4)
    assert networks.encoder(torch.zeros(2, 42, 42, 1)).shape == (2, 288)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: make(shape=(5, 5)), r"shape is \(5, 5\)"),
        (lambda: IntrinsicCuriosity((5,), 1, environments=1), "actions is 1"),
        (lambda: make(forward_weight=1.5), "forward_weight is 1.5"),
        (lambda: make().observe(_acted(None)), "arrivals.actions is None, expected whole numbers"),
        (lambda: make().observe(_acted(np.array([0.5, 1.0, 2.0]))), "arrivals.actions is float64 of shape"),
        (lambda: make().observe(_acted(np.array([0, 4, 1]))), r"arrivals.actions\[1\] is 4, expected 0 to 3"),
        (
            lambda: make(shape=(6,)).observe(random_arrivals(np.random.default_rng(0))),
            r"arrivals.observations has shape",
        ),
        (lambda: make().load_state_dict(make(2).state_dict()), "the state is of 2 environments, expected 3"),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def _acted(actions):
    return Arrivals(dones=np.zeros(3, bool), valid=np.ones(3, bool), actions=actions)
