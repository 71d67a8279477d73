"""A dynamics model that is paid for being believed: its rollouts, their gradient, and both ways of learning."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from rewardlab.dynamics.adversarial_settings import AdversarialSettings, ProximalSettings
from rewardlab.dynamics.behaviour import GaussianPolicy, gaussian_log_density
from rewardlab.dynamics.generator import GaussianGenerator, roll_out_generator
from rewardlab.dynamics.generator_updates import make_update
from tests.dynamics.recordings import law, recording


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def columns(table, dtype=torch.float32):
    return [torch.as_tensor(x).to(dtype) for x in (table.observations, table.actions, table.next_observations)]


def parts(seed=0, dtype=torch.float32):
    """An untrained model and policy in the units of the recording."""
    draw = seeded(seed)
    model = GaussianGenerator(1, 1, hidden=(16,), generator=draw).to(dtype)
    model.fit_scalers(*columns(recording(), dtype))
    policy = GaussianPolicy(1, 1, hidden=(8,), generator=draw).to(dtype).requires_grad_(False)
    return model, policy


class Judge:
    """A discriminator that knows the law: the logit falls with the squared error, in units of the change."""

    def __init__(self, unit):
        self.unit = unit

    def __call__(self, observations, actions, next_observations):
        return -((next_observations - law(observations, actions)) / self.unit).square().sum(-1)


def test_untrained_model_moves_as_far_as_the_data():
    model, _ = parts()
    observations, actions, following = columns(recording())
    with torch.no_grad():
        mean, deviation = model(observations, actions)
    unit = (following - observations).std()
    assert 0.3 < float((mean - observations - (following - observations).mean()).abs().max() / unit) < 3
    assert 0.3 < float(deviation.mean() / unit) < 3


def test_rollouts_go_on_from_where_they_are():
    model, policy = parts()
    starts = columns(recording())[0][:6]
    with torch.no_grad():
        made = roll_out_generator(model, policy, starts, length=4, generator=seeded(1))
        again = roll_out_generator(model, policy, starts, length=4, generator=seeded(1))
    assert made.observations.shape == made.next_observations.shape == (4, 6, 1) and made.actions.shape == (4, 6, 1)
    assert torch.equal(made.observations[0], starts)
    assert torch.equal(made.observations[1:], made.next_observations[:-1])
    for one, two in zip(made.rows(), again.rows(), strict=True):
        assert one.shape == (24, 1) and torch.equal(one, two)
    with torch.no_grad():
        wanted = gaussian_log_density(made.next_observations, *model(made.observations, made.actions))
    torch.testing.assert_close(made.log_densities, wanted)


def test_policy_acts_at_every_step_with_its_own_noise():
    model, policy = parts()
    with torch.no_grad():
        made = roll_out_generator(model, policy, torch.zeros(500, 1), length=3, generator=seeded(1))
        mean, deviation = policy(made.observations)
        model_mean, model_deviation = model(made.observations, made.actions)
    for values, centre, spread in (
        (made.actions, mean, deviation),
        (made.next_observations, model_mean, model_deviation),
    ):
        scaled = ((values - centre) / spread).squeeze(-1)
        assert scaled.mean(1).abs().max() < 0.15 and (scaled.std(1) - 1).abs().max() < 0.1
        assert abs(np.corrcoef(scaled[0], scaled[1])[0, 1]) < 0.15


def test_gradient_of_the_reward_through_the_rollout_is_the_finite_difference():
    model, policy = parts(dtype=torch.float64)
    starts = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    judge = Judge(0.3)

    def total():
        made = roll_out_generator(model, policy, starts, length=5, generator=seeded(2))
        return judge(made.observations, made.actions, made.next_observations).sum()

    total().backward()
    weight = model.network[0].weight
    for place in ((0, 0), (3, 1), (15, 0)):
        found, values = float(weight.grad[place]), []
        for shift in (1e-6, -2e-6):
            with torch.no_grad():
                weight[place] += shift
                values.append(float(total()))
        with torch.no_grad():
            weight[place] += 1e-6
        assert found == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


QUICK = AdversarialSettings(generator_hidden=(16,), batch_size=64, generator_learning_rate=1e-2, rollout_length=3)
KINDS = {"reparameterised": QUICK, "ppo": replace(QUICK, generator_update="ppo", proximal=ProximalSettings(epochs=4))}


def train(kind, steps, seed=0):
    """Reward and error of a model paid by a judge who knows the law, per update."""
    model, policy = parts(seed)
    draw = seeded(seed)
    update = make_update(model, KINDS[kind], draw)
    observations, actions, following = columns(recording())
    unit = (following - observations).std()
    rewards, errors = [], []
    for _ in range(steps):
        starts = observations[torch.randint(len(observations), (64,), generator=draw)]
        with torch.no_grad():
            made = roll_out_generator(model, policy, starts, length=3, generator=draw)
        rewards.append(update.step(model, policy, Judge(unit), starts, made))
        with torch.no_grad():
            errors.append(float((model(observations, actions)[0] - following).square().mean().sqrt() / unit))
    return np.array(rewards), np.array(errors)


@pytest.mark.parametrize("kind", KINDS)
def test_model_learns_the_law_from_being_believed(kind):
    rewards, errors = train(kind, 100)
    assert rewards[-10:].mean() > rewards[:5].mean() + 0.15
    assert rewards[-10:].mean() > 0.6  # log 2 = 0.693 is the most that this judge pays
    assert errors[-10:].mean() < 0.5 * errors[0]


@pytest.mark.parametrize("kind", KINDS)
def test_one_update_raises_the_mean_reward(kind):
    model, policy = parts()
    observations, _, following = columns(recording())
    judge = Judge((following - observations).std())

    def value():
        with torch.no_grad():
            made = roll_out_generator(model, policy, observations, length=3, generator=seeded(9))
            return float(judge(*(x.view(3, -1, 1) for x in made.rows())).mean())

    before = value()
    draw = seeded(0)
    update = make_update(model, KINDS[kind], draw)
    with torch.no_grad():
        made = roll_out_generator(model, policy, observations, length=3, generator=draw)
    update.step(model, policy, judge, observations, made)
    assert value() > before


def test_value_knows_how_much_of_a_rollout_is_over():
    """Rewards of 1 at each step: the value of step t of 3 is the sum of what is left."""
    model, policy = parts()
    settings = replace(
        KINDS["ppo"], discount=1.0, proximal=ProximalSettings(epochs=200, trace=1.0, value_learning_rate=1e-2)
    )
    update = make_update(model, settings, seeded(0))
    with torch.no_grad():
        made = roll_out_generator(model, policy, torch.zeros(64, 1), length=3, generator=seeded(1))
    certain = np.log(np.e - 1)  # the logit that pays 1
    update.step(model, policy, lambda o, a, n: torch.full(o.shape[:-1], certain), torch.zeros(1, 1), made)
    with torch.no_grad():
        values = update.value(update._states(model, made)).squeeze(-1).mean(1)
    assert values.tolist() == pytest.approx([3.0, 2.0, 1.0], abs=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_updates_go_on_from_a_saved_state(kind):
    observations = columns(recording())[0]

    def some(update, model, policy, count, draw):
        for _ in range(count):
            with torch.no_grad():
                made = roll_out_generator(model, policy, observations[:32], length=2, generator=draw)
            update.step(model, policy, Judge(0.3), observations[:32], made)

    model, policy = parts()
    draw = seeded(0)
    update = make_update(model, KINDS[kind], draw)
    some(update, model, policy, 2, draw)
    saved, weights, at = update.state_dict(), {k: v.clone() for k, v in model.state_dict().items()}, draw.get_state()
    saved = torch.load(_written(saved), weights_only=True)
    some(update, model, policy, 2, draw)

    other, _ = parts(seed=5)
    other.load_state_dict(weights)
    again = seeded(1)
    resumed = make_update(other, KINDS[kind], again)
    resumed.load_state_dict(saved)
    again.set_state(at)
    some(resumed, other, policy, 2, again)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def moments(settings, judge=None):
    """First moments of Adam after one update of the reparameterised kind: 0.1 of the gradient that it saw."""
    model, policy = parts(dtype=torch.float64)
    update = make_update(model, settings, seeded(0))
    starts = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    with torch.no_grad():
        made = roll_out_generator(model, policy, starts, length=settings.rollout_length, generator=seeded(1))
    update.step(model, policy, judge or Judge(0.3), starts, made)
    states = [update.optimiser.state[parameter] for parameter in model.parameters()]
    return torch.cat([state["exp_avg"].flatten() for state in states])


def test_discount_weighs_later_steps():
    """The gradient of the discounted mean is linear in powers of the discount, and at 0 that of the first step."""
    free = replace(QUICK, gradient_clip=1e9)
    at = {discount: moments(replace(free, discount=discount)) for discount in (0.0, 0.5, 1.0)}
    half_squared = moments(replace(free, discount=0.25))
    # g(x) = a + b x + c x^2 through three points gives the fourth
    a = at[0.0]
    c = 2 * at[1.0] - 4 * at[0.5] + 2 * a
    b = at[1.0] - a - c
    torch.testing.assert_close(half_squared, a + 0.25 * b + 0.0625 * c)
    torch.testing.assert_close(3 * a, moments(replace(free, discount=0.3, rollout_length=1)))
    assert (b.abs() > 1e-9).any() and (c.abs() > 1e-9).any()


def test_gradient_is_clipped_to_its_norm():
    loose, tight = (moments(replace(QUICK, gradient_clip=clip)) for clip in (1e9, 1e-3))
    assert float(loose.norm()) > 1e-3
    assert float(tight.norm()) == pytest.approx(1e-4, rel=1e-3)
    torch.testing.assert_close(tight / tight.norm(), loose / loose.norm())


def test_entropy_weight_widens_the_model():
    def deviation(weight):
        model, policy = parts()
        proximal = ProximalSettings(epochs=20, entropy_weight=weight)
        update = make_update(model, replace(KINDS["ppo"], proximal=proximal), seeded(0))
        with torch.no_grad():
            made = roll_out_generator(model, policy, torch.zeros(64, 1), length=2, generator=seeded(1))
        update.step(model, policy, Judge(0.3), torch.zeros(1, 1), made)
        with torch.no_grad():
            return float(model(torch.zeros(1, 1), torch.zeros(1, 1))[1])

    assert deviation(1.0) > 1.1 * deviation(0.0)


def _written(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file
