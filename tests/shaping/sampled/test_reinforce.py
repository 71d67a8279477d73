import gymnasium
import numpy as np
import pytest
import torch

import environments.guided  # noqa: F401 - registers the worlds
from rewardlab.shaping.sampled.features import FourierFeatures
from rewardlab.shaping.sampled.policies import SoftmaxPolicy
from rewardlab.shaping.sampled.published import published_policy
from rewardlab.shaping.sampled.reinforce import Reinforce
from tests.shaping.sampled.tiny_worlds import Walk


def learner(reward, **settings):
    policy = SoftmaxPolicy(FourierFeatures([-2.0, 0.0], [2.0, 1.0], 2), 3, rng=1)
    return Reinforce(Walk(), policy, reward, **settings)


def potential(observations):
    return -3 * (1 - observations[:, 0]) + observations[:, 1] ** 2


@pytest.mark.parametrize("discount", [0.0, 0.9, 1.0])
def test_a_right_potential_is_a_baseline(discount):
    """Sums of shaped rewards + potential = sums of the task's rewards, step by step, cut episodes included."""
    trainer = learner("potential", potential=potential, discount=discount, update_every=10**6)
    plain = learner("primary", discount=discount, update_every=10**6)
    lengths = set()
    for number in range(30):
        trainer.step()
        plain.step()
        observations = trainer.buffer.episode(number).observations
        np.testing.assert_allclose(
            trainer.returns()[0].numpy() + potential(observations), plain.returns()[0].numpy(), atol=1e-12
        )
        lengths.add(len(observations))
    assert len(lengths) > 1 and 8 in lengths


def test_potential_as_published_subtracts_what_the_action_earned():
    trainer = learner("potential_as_published", auxiliary=("near", "far"), auxiliary_scale=2.0, update_every=10**6)
    plain = learner("primary", update_every=10**6)
    for number in range(5):
        trainer.step()
        plain.step()
        auxiliary = trainer.buffer.episode(number).auxiliary
        np.testing.assert_allclose(trainer.returns()[0], plain.returns()[0] - 2 * auxiliary.sum(1), atol=1e-12)


def test_the_sum():
    trainer, plain = learner("sum", auxiliary=("far",), update_every=10**6), learner("primary", update_every=10**6)
    trainer.step(), plain.step()
    episode = trainer.buffer.episode(0)
    later, expected = 0.0, []
    for reward in (episode.primary + episode.auxiliary[:, 0])[::-1]:
        later = reward + 0.99 * later
        expected.append(later)
    np.testing.assert_allclose(trainer.returns()[0], expected[::-1])


def test_published_potential_pushes_away_from_what_the_heuristic_favours():
    """One state, two actions, auxiliary reward (1, 0): the gradient on the first output is -p0 p1, not 0."""

    class Bandit(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(1)
        action_space = gymnasium.spaces.Discrete(2)
        horizon = 1

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            return 0, 0.0, True, False, {"auxiliary": {"first": float(action == 0)}}

    from rewardlab.shaping.sampled.features import OneHot

    policy = SoftmaxPolicy(OneHot(1), 2, rng=0)
    with torch.no_grad():
        policy.net[0].weight.zero_()
        policy.net[0].bias.copy_(torch.tensor([0.4, 0.0]))
    trainer = Reinforce(Bandit(), policy, "potential_as_published", auxiliary=("first",), update_every=10**6)
    pushes = []
    for _ in range(1000):
        trainer.step()
        batch = trainer.buffer.newest(1)
        pushes.append(float(policy.gradient(batch.x, batch.actions, trainer.returns())[1][0]))
    p = 1 / (1 + np.exp(-0.4))
    assert np.mean(pushes) == pytest.approx(-p * (1 - p), abs=0.05)


def test_learns_the_walk_and_a_step_is_the_gradient_of_the_newest_episode():
    trainer = learner("primary", learning_rate=0.02, update_every=1, entropy_weight=0.01)
    returns = trainer.train(200).returns
    assert returns[-50:].mean() > returns[:50].mean() + 0.1
    once = learner("primary", update_every=2, optimiser="sgd", learning_rate=1.0)
    before = [parameter.detach().clone() for parameter in once.policy.parameters()]
    once.train(1)
    assert all(torch.equal(a, b) for a, b in zip(before, once.policy.parameters(), strict=True))
    once.train(2)
    batch = once.buffer.newest(1)
    shapes = zip(before, once.policy.parameters(), strict=True)
    moved = [now.detach() - then for then, now in shapes]
    with torch.no_grad():
        for parameter, then in zip(once.policy.parameters(), before, strict=True):
            parameter.copy_(then)
    entropies = torch.full_like(batch.primary, 0.25 / batch.primary.numel())
    expected = once.policy.gradient(batch.x, batch.actions, once.returns() / 9, entropies)
    for ours, theirs in zip(moved, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_maze_with_reinforce():
    env = gymnasium.make("rewardlab/GuidedMaze-v0", auxiliary=("good",))
    trainer = Reinforce(env, published_policy("maze", env), "sum", auxiliary=("good",))
    history = trainer.train(60)
    assert len(history.returns) == 60 and history.returns.max() > 90


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("reward", "settings", "message"),
    [
        ("best", {}, "reward is 'best', expected one of"),
        ("potential", {}, "potential is None, expected one"),
        ("primary", {"potential": potential}, "and none otherwise"),
        ("sum", {}, "auxiliary is empty"),
        ("sum", {"auxiliary": "near"}, "expected a list of names"),
        ("primary", {"discount": 1.01}, "discount is 1.01"),
        ("primary", {"optimiser": "lion"}, "optimiser is 'lion'"),
    ],
)
def test_bad_arguments(reward, settings, message):
    with pytest.raises(ValueError, match=message):
        learner(reward, **settings)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda o: np.zeros((len(o), 1)), r"potential gave shape \(8, 1\), expected \(8,\): one a row"),
        (lambda o: 0.0, r"potential gave shape \(\), expected \(8,\)"),
        (lambda o: np.where(np.arange(len(o)) == 2, np.nan, 0.0), r"potential of episode 0\[2\] is nan"),
    ],
)
def test_bad_potentials(bad, message):
    with pytest.raises(ValueError, match=message):
        learner("potential", potential=bad, update_every=1).train(1)
