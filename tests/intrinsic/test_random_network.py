import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from rewardlab.intrinsic.feature_networks import initialise_orthogonal
from rewardlab.intrinsic.interface import Arrivals
from rewardlab.intrinsic.random_network import DistillationNetworks, RandomNetworkDistillation
from tests.intrinsic.walks import random_arrivals

SMALL = {"hidden": (16,), "features": 8}


def make(environments=3, shape=(5,), **options):
    return RandomNetworkDistillation(shape, environments=environments, **{**SMALL, "priming_steps": 4, **options})


def step(reward, rng, count=4, **options):
    for _ in range(count):
        reward.observe(random_arrivals(rng, **options))


def constant_share(target: nn.Module, states: torch.Tensor) -> float:
    """Share of the target's energy that is the same in every state."""
    with torch.no_grad():
        values = target(states)
    return float(values.mean(0).square().sum() / values.square().mean(0).sum())


@pytest.mark.parametrize(
    ("steps", "least"), [(100, 0.4), (300, 0.75), pytest.param(1000, 0.88, marks=pytest.mark.slow)]
)
def test_error_ranks_states_by_how_often_they_were_visited(steps, least):
    """50 states, visited with probability ~ rank ** -1.5; an earlier run had .58, .86 and .93."""
    states, rng = torch.eye(50), np.random.default_rng(0)
    networks = DistillationNetworks((50,), hidden=(64, 64), features=32, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(networks.predictor.parameters(), lr=1e-3)
    probability = np.arange(1, 51) ** -1.5
    drawn = rng.choice(50, (steps, 32), p=probability / probability.sum())
    for batch in drawn:
        optimiser.zero_grad()
        networks(states[batch]).mean().backward()
        optimiser.step()
    counts = np.bincount(drawn.ravel(), minlength=50)
    assert spearmanr(networks(states).detach().numpy(), -counts).statistic > least


def test_most_of_the_target_tells_states_apart():
    networks = DistillationNetworks((50,), hidden=(64, 64), features=32, generator=torch.Generator().manual_seed(0))
    assert constant_share(networks.target, torch.eye(50)) < 0.5
    torch.manual_seed(0)
    own = [type(m)(m.in_features, m.out_features) if isinstance(m, nn.Linear) else m for m in networks.target]
    assert constant_share(nn.Sequential(*own), torch.eye(50)) > 0.8  # PyTorch's own initialisation


def test_orthogonal_with_gain_root_two_and_no_bias():
    networks = DistillationNetworks((8,), hidden=(8, 8), features=8, generator=torch.Generator().manual_seed(3))
    for layer in networks.modules():
        if isinstance(layer, nn.Linear):
            torch.testing.assert_close(layer.weight @ layer.weight.T, 2 * torch.eye(8), atol=1e-5, rtol=0)
            assert not layer.bias.any()


def test_zero_exactly_where_the_predictor_is_the_target():
    reward = make()
    reward.prime(np.random.default_rng(0).normal(size=(50, 5)))
    assert (reward.errors(np.random.default_rng(1).normal(size=(9, 5))) > 0).all()
    reward.networks.predictor = reward.networks.target
    assert not reward.errors(np.random.default_rng(1).normal(size=(9, 5))).any()


def test_bonus_is_the_mean_square_of_standardised_clipped_observations():
    reward, rng = make(), np.random.default_rng(0)
    primed = rng.normal(2.0, 3.0, size=(4000, 5))
    reward.prime(primed)
    shown = np.array([[2.0, 5.0, -1.0, 100.0, -100.0]])
    expected = np.clip((shown - primed.mean(0)) / primed.std(0), -5, 5)
    assert expected[0, 3:].tolist() == [5, -5]
    inputs = torch.as_tensor(expected, dtype=torch.float32)
    target, predicted = reward.networks.target(inputs), reward.networks.predictor(inputs)
    assert reward.errors(shown)[0] == pytest.approx((target - predicted).square().mean().item(), rel=1e-4)


def test_paid_before_learning_with_the_moments_from_before():
    reward, rng = make(environments=1, learning_rate=1e-2), np.random.default_rng(0)
    reward.prime(rng.normal(size=(50, 5)))
    shown = random_arrivals(rng, environments=1, valid=1.0)
    reward.observe(shown)
    raw = reward.errors(shown.next_observations)
    paid = reward.rewards()
    assert paid[0, 0] == pytest.approx(raw[0] / reward.filter.scale)
    assert reward.moments.count == pytest.approx(50, abs=0.01)
    reward.update()
    assert reward.moments.count == pytest.approx(51, abs=0.01)
    assert reward.errors(shown.next_observations)[0] < raw[0]


def test_asking_twice_filters_once():
    reward, rng = make(), np.random.default_rng(0)
    reward.prime(rng.normal(size=(50, 5)))
    step(reward, rng)
    np.testing.assert_array_equal(reward.rewards(), reward.rewards())
    assert reward.filter.moments.count == pytest.approx(12, abs=0.01)
    reward.update()
    step(reward, rng)
    reward.update()  # nobody asked: the filter takes these steps in all the same
    assert reward.filter.moments.count == pytest.approx(24, abs=0.01)


def test_without_steps_there_is_nothing_to_pay_or_learn():
    reward = make()
    for _ in range(2):
        assert reward.rewards().shape == (0, 3)
        assert "predictor_loss" not in reward.update()
        reward.prime(np.random.default_rng(0).normal(size=(50, 5)))
    assert reward.rewards().shape == (0, 3)
    step(reward, np.random.default_rng(0), valid=1.0)
    assert (reward.rewards() > 0).all()


def test_filter_runs_on_through_episode_ends_and_updates():
    reward, rng = make(environments=1), np.random.default_rng(0)
    reward.prime(rng.normal(size=(50, 5)))
    sums, raw = 0.0, []
    for ends in (False, True, False):
        shown = random_arrivals(rng, environments=1, valid=1.0)
        object.__setattr__(shown, "dones", np.array([ends]))
        reward.observe(shown)
        raw.append(reward.errors(shown.next_observations)[0])
        sums = 0.99 * sums + raw[-1]
        reward.rewards()
        reward.update()
    assert reward.filter.state_dict()["last"][0] == pytest.approx(sums)


def test_target_stays_frozen_and_blank_arrivals_teach_nothing():
    reward, rng = make(), np.random.default_rng(0)
    reward.prime(rng.normal(size=(50, 5)))
    before = {name: value.clone() for name, value in reward.networks.state_dict().items()}
    step(reward, rng, valid=0.0)
    assert not reward.rewards().any()
    reward.update()
    assert all(torch.equal(before[name], value) for name, value in reward.networks.state_dict().items())
    assert reward.moments.count == pytest.approx(50, abs=0.01)
    step(reward, rng)
    reward.update()
    changed = {name for name, value in reward.networks.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {name for name in before if name.startswith("predictor")}
    assert not any(weight.requires_grad for weight in reward.networks.target.parameters())


def test_first_steps_only_begin_the_moments():
    reward, rng = make(priming_steps=4), np.random.default_rng(0)
    step(reward, rng, 4, valid=1.0)
    assert not reward.rewards().any()
    assert "predictor_loss" not in reward.update()
    step(reward, rng, 4, valid=1.0)
    assert (reward.rewards() > 0).all()
    assert reward.update()["predictor_loss"] > 0


def test_moments_must_exist_before_the_first_bonus():
    reward = make(priming_steps=0)
    step(reward, np.random.default_rng(0))
    with pytest.raises(ValueError, match="call prime, or set priming_steps"):
        reward.rewards()


def test_noise_between_known_states_pays_nothing_and_random_pixels_always_do():
    """The bonus looks at the state arrived at, not at how it came about."""
    rng, states = np.random.default_rng(0), np.eye(6, dtype=np.float32)
    known = make(1, (6,), learning_rate=1e-2, epochs=10)
    noise = make(1, (6,), learning_rate=1e-2, epochs=10)
    known.prime(states)
    noise.prime(rng.normal(size=(500, 6)))
    last = []
    for _ in range(16):
        for _ in range(16):
            known.observe(_arrival(states[rng.integers(6)]))
            noise.observe(_arrival(rng.normal(size=6)))
        last = [known.errors(states).mean(), noise.errors(rng.normal(size=(200, 6))).mean()]
        for reward in (known, noise):
            reward.update()
    assert last[0] < 0.01 * last[1]


def _arrival(observation):
    return Arrivals(
        dones=np.zeros(1, bool), valid=np.ones(1, bool), next_observations=np.asarray(observation, np.float32)[None]
    )


def test_a_share_of_each_minibatch_learns():
    def trained(fraction):
        reward, rng = make(environments=50, update_fraction=fraction, epochs=1, minibatches=1), np.random.default_rng(0)
        reward.prime(rng.normal(size=(50, 5)))
        step(reward, rng, 4, environments=50, valid=1.0)
        gradients = []
        weight = reward.networks.predictor[0].weight
        weight.register_hook(lambda gradient: gradients.append(gradient.clone()))
        return reward.update()["predictor_loss"], gradients[0]

    (every, all_of_it), (some, part) = trained(1.0), trained(0.25)
    assert some == pytest.approx(every, rel=0.5)  # a mean over those that learn, not a smaller sum
    assert not torch.allclose(all_of_it, part)


@pytest.mark.parametrize(("shape", "images"), [((5,), False), ((40, 40, 2), True)])
def test_resumes_bit_for_bit(shape, images):
    whole, stopped, again = (make(2, shape, seed=seed) for seed in (0, 0, 1))
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    for reward, rng in ((whole, one), (stopped, other)):
        for _ in range(2):
            step(reward, rng, environments=2, shape=shape, images=images)
            reward.rewards()
            reward.update()
        step(reward, rng, 2, environments=2, shape=shape, images=images)
    state = stopped.state_dict()
    stopped.update()  # what goes on after the state was taken must not change it
    again.load_state_dict(state)
    found = []
    for reward, rng in ((whole, one), (again, other)):
        step(reward, rng, 2, environments=2, shape=shape, images=images)
        paid = reward.rewards()
        reward.update()
        step(reward, rng, 2, environments=2, shape=shape, images=images)
        found.append(np.concatenate([paid, reward.rewards()]))
    assert (found[0] > 0).any()
    np.testing.assert_array_equal(found[0], found[1])


def test_images_are_looked_at_through_their_last_channel():
    reward, rng = make(1, (40, 40, 2)), np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 40, 40, 2), dtype=np.uint8)
    reward.prime(images)
    other = images.copy()
    other[..., 0] = 0
    np.testing.assert_array_equal(reward.errors(images), reward.errors(other))
    assert reward.networks.predictor(torch.zeros(2, 40, 40, 1)).shape == (2, 8)


def test_same_generator_same_weights():
    def weights():
        layer = nn.Linear(4, 4)
        return initialise_orthogonal(layer, torch.Generator().manual_seed(5)).weight

    assert torch.equal(weights(), weights())


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: make(shape=(5, 5)), r"shape is \(5, 5\), expected \(features,\) or"),
        (lambda: make(shape=(20, 20, 1)), "too small for these convolutions"),
        (lambda: make(update_fraction=0.0), "update_fraction is 0.0"),
        (lambda: make(epochs=0), "epochs is 0"),
        (lambda: make().prime(np.ones((3, 4))), r"observations has shape \(3, 4\), expected \(n, 5\)"),
        (lambda: make().prime(np.ones((0, 5))), "observations has no rows"),
        (lambda: make().observe(random_arrivals(np.random.default_rng(0), environments=2)), "of 2 environments"),
        (
            lambda: make().observe(Arrivals(dones=np.zeros(3, bool), valid=np.ones(3, bool))),
            r"arrivals.next_observations is None, expected an array \(3, 5\)",
        ),
        (
            lambda: make(1).observe(_arrival([1.0, 2.0, np.nan, 4.0, 5.0])),
            r"arrivals.next_observations\[0, 2\] is nan",
        ),
        (lambda: make().load_state_dict(make(2).state_dict()), "the state is of 2 environments, expected 3"),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_what_was_evaluated_is_learned_before_the_next_step():
    reward, rng = make(), np.random.default_rng(0)
    reward.prime(rng.normal(size=(50, 5)))
    step(reward, rng)
    reward.rewards()
    with pytest.raises(RuntimeError, match=r"after rewards\(\) and before update\(\)"):
        step(reward, rng)
    reward.update()
    step(reward, rng)
    assert len(reward.rewards()) == 4
