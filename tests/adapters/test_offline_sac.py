import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from rewardlab.adapters.offline_sac import OfflineSAC, SpacesOnly
from rewardlab.adapters.offline_settings import OfflineSettings
from tests.adapters.offline_worlds import BOX, SMALL, ToyModel, recorded

MOBILE = {**SMALL, "host": "mobile", "successor_samples": 2}


def agent(seed=0, successors=None, table=None, **options):
    return OfflineSAC(
        recorded() if table is None else table,
        BOX,
        OfflineSettings(**{**SMALL, **options}),
        seed=seed,
        successors=successors,
    )


def with_rows(sac, rows=30):
    """The agent with some made-up rows in its buffer."""
    generator = torch.Generator().manual_seed(5)
    sac.replay_buffer.add_rollouts(
        torch.randn(rows, 3, generator=generator),
        torch.rand(rows, 2, generator=generator),
        torch.randn(rows, generator=generator),
        torch.randn(rows, 3, generator=generator),
        torch.rand(rows, generator=generator) < 0.2,
    )
    return sac


def parameters(sac):
    found = {name: value.clone() for name, value in sac.policy.state_dict().items()}
    return {**found, "temperature": torch.tensor(sac.temperature)}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


# Stable-Baselines3's own training


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_mobile_without_penalty_and_maximum_is_sac_bit_for_bit(temperature):
    plain = with_rows(agent(temperature=temperature))
    mobile = with_rows(agent(host="mobile", nonnegative_target=False, temperature=temperature))
    for steps in (7, 1, 5):
        plain.train(steps)
        mobile.train(steps)
        assert same(parameters(plain), parameters(mobile))
    raised = with_rows(agent(host="mobile", temperature=temperature))
    raised.train(13)
    assert not same(parameters(plain), parameters(raised))


def test_plain_training_is_that_of_a_sac_that_never_heard_of_it():
    ours = with_rows(agent(actor_learning_rate=3e-4, temperature_learning_rate=3e-4, updates=10**9))
    theirs = SAC("MlpPolicy", SpacesOnly(ours.observation_space, BOX), policy_kwargs={"net_arch": [8]}, device="cpu")
    theirs.policy.load_state_dict(ours.policy.state_dict())
    theirs.replay_buffer = copy.deepcopy(ours.replay_buffer)
    theirs.set_logger(ours.logger)
    before = torch.get_rng_state()
    with ours.own_randomness():
        state = torch.get_rng_state()
    ours.train(6)
    assert torch.equal(before, torch.get_rng_state())
    torch.set_rng_state(state)
    theirs.train(6, 16)
    temperature = theirs.log_ent_coef.detach().exp()[0]
    assert same(parameters(ours), {**theirs.policy.state_dict(), "temperature": temperature})


def test_the_seed_and_nothing_else_decides():
    torch.manual_seed(0)
    one = with_rows(agent(seed=1))
    one.train(3)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not matter
    other, third = with_rows(agent(seed=1)), with_rows(agent(seed=2))
    for sac in (other, third):
        sac.train(3)
    assert same(parameters(one), parameters(other))
    assert not same(parameters(one), parameters(third))


# Learning rates and constants


def test_learning_rates_are_three_and_the_actor_s_falls_along_a_cosine():
    sac, rates = agent(updates=8), []
    for _ in range(4):
        sac.train(2)
        rates.append([one.param_groups[0]["lr"] for one in sac._optimisers().values()])
    actor, critic, temperature = np.array(rates).T
    assert np.allclose(actor, 1e-4 * np.array([1, 0.5 + 0.5 * np.sqrt(0.5), 0.5, 0.5 - 0.5 * np.sqrt(0.5)]))
    assert (critic == 3e-4).all() and (temperature == 1e-4).all()


def test_constants_are_the_settings():
    sac = agent(discount=0.9, target_step=0.25, target_entropy=-0.5, temperature=0.3)
    assert (sac.gamma, sac.tau, sac.target_entropy, sac.temperature) == (0.9, 0.25, -0.5, pytest.approx(0.3))
    assert agent().target_entropy == -2.0
    layers = agent(hidden=(5, 7)).actor.latent_pi
    assert [one.out_features for one in layers if isinstance(one, torch.nn.Linear)] == [5, 7]
    assert OfflineSettings().buffer_size == 2000 * 100 * 5


def test_defaults_are_the_launch_scripts():
    expected = {
        "updates": 3000 * 1000, "batch_size": 256, "real_fraction": 0.05, "rollout_every": 1000, "rollout_batch": 2000,
        "horizon": 100, "retained": 5, "truncation": "terminal", "hidden": (256, 256), "discount": 0.99,
        "target_step": 0.005, "actor_learning_rate": 1e-4, "critic_learning_rate": 3e-4,
        "temperature_learning_rate": 1e-4, "successor_samples": 10, "nonnegative_target": True,
        "deterministic_backup": False, "temperature": None, "target_entropy": None,
    }  # fmt: skip
    assert {name: getattr(OfflineSettings(), name) for name in expected} == expected


def test_the_target_network_takes_its_step():
    sac = with_rows(agent(target_step=0.25, host="mobile", penalty_weight=0.0))
    old = [one.clone() for one in sac.critic_target.parameters()]
    sac.train(1)
    for before, after, critic in zip(old, sac.critic_target.parameters(), sac.critic.parameters(), strict=True):
        assert torch.allclose(after, 0.75 * before + 0.25 * critic, atol=1e-7)


# MOBILE


def test_the_penalty_is_the_deviation_of_mean_values_over_elites():
    model = ToyModel(elites=3, samples=2, disagreement=0.5)
    sac = agent(**{**MOBILE, "penalty_weight": 1.0}, successors=model)
    with torch.no_grad():
        for weight in sac.critic_target.parameters():  # so that it is not the critic
            weight.add_(0.1 * torch.randn_like(weight))
    observations, scaled = torch.randn(4, 3), torch.rand(4, 2) * 2 - 1
    generator = torch.Generator()
    generator.set_state(sac.successor_randomness.get_state())
    found = sac.bellman_penalty(observations, scaled)
    noise = torch.randn(4, 6, 4, generator=generator)
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    actions = low + (scaled + 1) / 2 * (high - low)
    following = model.candidates(observations, actions, noise).next_observations
    chance = torch.randn(24, 2, generator=generator).view(4, 6, 2)
    for row in range(4):
        means = []
        for elite in range(3):
            values = []
            for sample in (2 * elite, 2 * elite + 1):
                seen = following[row, sample][None]
                mean, log_deviation, _ = sac.actor.get_action_dist_params(seen)
                action = torch.tanh(mean + log_deviation.exp() * chance[row, sample])
                values.append(min(float(value) for value in sac.critic_target(seen, action)))
            means.append(sum(values) / 2)
        assert float(found[row]) == pytest.approx(np.std(means, ddof=1), abs=1e-6)
    assert (found > 0).all()


def test_elites_that_agree_are_not_penalised():
    sac = agent(**{**MOBILE, "penalty_weight": 1.0}, successors=ToyModel(noise=0.0))
    with torch.no_grad():
        sac.actor.log_std.weight.zero_()
        sac.actor.log_std.bias.fill_(-20.0)
    assert sac.bellman_penalty(torch.randn(5, 3), torch.zeros(5, 2)).abs().max() < 1e-6


def batch_of(sac, rewards, dones):
    rows = len(rewards)
    generator = torch.Generator().manual_seed(1)
    return ReplayBufferSamples(
        torch.randn(rows, 3, generator=generator),
        torch.rand(rows, 2, generator=generator),
        torch.randn(rows, 3, generator=generator),
        torch.tensor(dones)[:, None],
        torch.tensor(rewards)[:, None],
    )


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("maximum", [False, True])
def test_the_target_is_mobile_s(deterministic, maximum):
    sac = agent(
        **{**MOBILE, "penalty_weight": 2.0, "deterministic_backup": deterministic, "nonnegative_target": maximum},
        real_fraction=0.5,
        successors=ToyModel(disagreement=3.0),
    )
    with_rows(sac)
    batch = batch_of(sac, [0.5, -9.0, 0.5, 9.0, -9.0, 0.0], [0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    temperature = torch.tensor([0.7])
    start = sac.successor_randomness.get_state()
    torch.manual_seed(3)
    target, mean_penalty = sac._target(batch, temperature)
    sac.successor_randomness.set_state(start)
    penalty = sac.bellman_penalty(batch.observations[3:], batch.actions[3:])
    torch.manual_seed(3)
    with torch.no_grad():
        actions, log_probability = sac.actor.action_log_prob(batch.next_observations)
        first, second = sac.critic_target(batch.next_observations, actions)
    for row in range(6):
        value = min(float(first[row]), float(second[row]))
        value -= 0.0 if deterministic else 0.7 * float(log_probability[row])
        taken = 0.0 if row < 3 else 2.0 * float(penalty[row - 3])  # recorded rows come first and are not penalised
        expected = float(batch.rewards[row]) - taken + 0.99 * (1 - float(batch.dones[row])) * value
        assert float(target[row]) == pytest.approx(max(expected, 0) if maximum else expected, abs=1e-5)
    assert float(mean_penalty) == pytest.approx(float(penalty.mean()))
    assert (target >= 0).all() == maximum


def test_a_penalty_moves_the_critic_of_mobile_only_down():
    def value_after(weight):
        successors = ToyModel(disagreement=2.0)
        sac = agent(
            **{**MOBILE, "penalty_weight": weight, "nonnegative_target": False},
            successors=successors,
            critic_learning_rate=1e-2,
        )
        with_rows(sac).train(60)
        return float(sac.values(torch.tensor(recorded().observations)).mean())

    assert value_after(20.0) < value_after(0.0) - 0.1


# Acting and the environment that is not there


def test_actions_lie_in_the_space_and_the_mean_is_predict_s():
    sac, seen = agent(), torch.randn(500, 3)
    mean = sac.act(seen)
    assert np.allclose(mean.numpy(), sac.predict(seen.numpy(), deterministic=True)[0], atol=1e-6)
    drawn = sac.act(seen, torch.Generator().manual_seed(0))
    assert not torch.equal(drawn, mean)
    for actions in (mean, drawn):
        assert (actions >= torch.tensor(BOX.low)).all() and (actions <= torch.tensor(BOX.high)).all()
    assert torch.equal(drawn, sac.act(seen, torch.Generator().manual_seed(0)))
    scaled = (drawn - torch.tensor(BOX.low)) / torch.tensor(BOX.high - BOX.low)
    assert scaled.min() < 0.1 and scaled.max() > 0.9


def test_values_are_of_the_mean_action_as_the_critic_sees_it():
    sac, seen = agent(), torch.randn(5, 3)
    scaled = torch.tensor(sac.policy.scale_action(sac.act(seen).numpy()))
    expected = torch.minimum(*sac.critic(seen, scaled))[:, 0]
    assert torch.allclose(sac.values(seen), expected, atol=1e-6)


def test_no_environment_is_ever_stepped():
    sac = agent()
    for call in (lambda: sac.learn(10), lambda: sac.collect_rollouts()):
        with pytest.raises((NotImplementedError, TypeError)):
            call()
    for call in (lambda env: env.reset(), lambda env: env.step(None)):
        with pytest.raises(RuntimeError, match="steps no environment"):
            call(SpacesOnly(sac.observation_space, BOX))


# State


@pytest.mark.parametrize("options", [{}, {"temperature": 0.1}, {**MOBILE, "penalty_weight": 1.0}])
def test_a_loaded_agent_goes_on_like_the_saved_one(options):
    successors = ToyModel(disagreement=1.0)
    one = with_rows(agent(successors=successors, **options))
    one.train(3)
    other = agent(seed=7, successors=successors, **options)
    other.load_state(one.state())
    for sac in (one, other):
        sac.train(4)
    assert same(parameters(one), parameters(other))


def test_a_state_is_no_view_of_the_agent():
    sac = with_rows(agent())
    sac.train(2)
    state = sac.state()
    kept = copy.deepcopy(state["model"])
    steps = {name: float(one["step"]) for name, one in state["optimiser"]["critic"]["state"].items()}
    sac.train(2)
    assert same(kept, state["model"])
    assert {name: float(one["step"]) for name, one in state["optimiser"]["critic"]["state"].items()} == steps


def test_states_of_other_agents_are_refused():
    with pytest.raises(ValueError, match="state is of other networks"):
        agent(hidden=(9,)).load_state(agent().state())
    with pytest.raises(ValueError, match="temperature is learned"):
        agent().load_state(agent(temperature=0.1).state())


# Settings


OUT_OF_RANGE = {
    "updates": (0,),
    "batch_size": (0,),
    "real_fraction": (-0.1, 1.1),
    "rollout_every": (0,),
    "rollout_batch": (0,),
    "horizon": (0,),
    "retained": (0,),
    "discount": (1.0, -0.1),
    "target_step": (0.0, 1.1),
    "penalty_weight": (-1.0,),
    "actor_learning_rate": (0.0,),
    "critic_learning_rate": (-1.0,),
    "temperature_learning_rate": (np.nan,),
    "temperature": (-0.1,),
    "target_entropy": (np.inf,),
    "successor_samples": (0,),
    "host": ("sac",),
    "truncation": ("stop",),
    "hidden": ((4, 0),),
}


@pytest.mark.parametrize(("field", "value"), [(field, one) for field, every in OUT_OF_RANGE.items() for one in every])
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        OfflineSettings(**{"host": "mobile", field: value})


def test_settings_that_a_host_cannot_use_are_refused():
    with pytest.raises(ValueError, match="expected 0 with the plain host"):
        OfflineSettings(penalty_weight=1.0)
    with pytest.raises(ValueError, match="deterministic_backup is of the host 'mobile', not of 'mopo'"):
        OfflineSettings(host="mopo", deterministic_backup=True)
    with pytest.raises(TypeError, match="updates"):
        OfflineSettings(updates=1.5)


def test_mobile_needs_successors_of_two_elites():
    options = {**MOBILE, "penalty_weight": 1.0}
    with pytest.raises(ValueError, match="needs successors"):
        agent(**options)
    for model in (ToyModel(elites=1), ToyModel(elites=3, samples=1)):
        with pytest.raises(ValueError, match="expected 2 of each of at least two elites"):
            agent(**options, successors=model)
    assert agent(**options, successors=ToyModel(elites=4)).elites == 4


def test_bounds_that_are_not_finite_are_refused():
    with pytest.raises((ValueError, AssertionError), match="finite"):  # Stable-Baselines3 says it first
        OfflineSAC(recorded(), spaces.Box(-np.inf, np.inf, (2,), np.float32), OfflineSettings(**SMALL), seed=0)
