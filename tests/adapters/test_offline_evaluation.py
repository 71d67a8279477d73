import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rewardlab.adapters.offline_evaluation import evaluate_policy, model_returns
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from tests.adapters.offline_worlds import ToyModel, never


class Countdown(gymnasium.Env):
    """An episode of 2 to 6 steps, as many as its seed says; a step pays its action, in [0, 3], and the start."""

    observation_space = spaces.Box(-10, 10, (2,), np.float64)
    action_space = spaces.Box(0.0, 3.0, (1,), np.float32)
    closed = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.start = int(self.np_random.integers(2, 7))
        return np.array([self.left, self.start], dtype=np.float64), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.left -= 1
        reward = float(action[0]) + self.start
        ended = self.left == 0
        seen = np.array([self.left, self.start], dtype=np.float64)
        return seen, reward, ended and self.start % 2 == 0, ended and self.start % 2 == 1, {}

    def close(self):
        Countdown.closed += 1


def two(observations):
    assert observations.dtype == torch.float32
    return torch.full((len(observations), 1), 2.0)


def evaluate(policy=two, **options):
    return evaluate_policy(policy, Countdown, **{"episodes": 12, "seed": 0, **options})


# The real environment


def test_returns_are_those_of_a_loop_over_episodes():
    found = evaluate(discount=0.5)
    assert set(found.lengths) <= set(range(2, 7)) and len(set(found.lengths)) > 2
    assert np.array_equal(found.returns, found.lengths * (2.0 + found.lengths))
    expected = [sum(0.5**step * (2 + length) for step in range(length)) for length in found.lengths]
    assert np.allclose(found.discounted_returns, expected)
    assert found.scores is None


@pytest.mark.parametrize("parallel", [1, 5, 12, 30])
def test_how_many_run_side_by_side_does_not_matter(parallel):
    found, expected = evaluate(parallel=parallel), evaluate()
    assert np.array_equal(found.returns, expected.returns) and np.array_equal(found.lengths, expected.lengths)


def test_more_episodes_begin_with_those_of_fewer():
    assert np.array_equal(evaluate(episodes=5).returns, evaluate().returns[:5])
    assert not np.array_equal(evaluate(seed=1).returns, evaluate().returns)


def test_the_policy_sees_the_observation_of_its_own_episode():
    def left(observations):
        return observations[:, :1] / 2  # half of the steps that are left: 6, 5, ... 1 pay 3, 2.5, ... .5

    found = evaluate(left, parallel=3)
    assert np.allclose(found.returns, found.lengths**2 + found.lengths * (found.lengths + 1) / 4)


def test_scores_are_the_function_s():
    found = evaluate(normalised_score=lambda returns: returns / 10 - 1)
    assert np.allclose(found.scores, found.returns / 10 - 1)


def test_episodes_are_cut_and_environments_closed():
    Countdown.closed = 0
    assert evaluate(max_steps=2, parallel=4).lengths.tolist() == [2] * 12
    assert Countdown.closed == 4
    with pytest.raises(ValueError, match=r"actions of shape \(4, 2\), expected \(4, 1\)"):
        evaluate(lambda observations: torch.zeros(len(observations), 2), parallel=4)
    assert Countdown.closed == 8


def test_actions_beyond_the_space_are_clipped_and_others_refused():
    found = evaluate(lambda observations: torch.full((len(observations), 1), 9.0))
    assert np.array_equal(found.returns, found.lengths * (3.0 + found.lengths))
    with pytest.raises(ValueError, match="all of them finite"):
        evaluate(lambda observations: torch.full((len(observations), 1), torch.nan))


@pytest.mark.parametrize("name", ["episodes", "parallel", "max_steps", "discount"])
def test_numbers_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=name):
        evaluate(**{name: -1})


def test_a_gymnasium_environment_and_its_time_limit():
    found = evaluate_policy(
        lambda seen: torch.zeros(len(seen), 1), lambda: gymnasium.make("Pendulum-v1"), episodes=3, seed=0
    )
    assert found.lengths.tolist() == [200] * 3 and (found.returns < -300).all()


# The model


def ending_beyond(limit):
    def termination(observations, actions, next_observations):
        return next_observations[:, 0] > limit

    return termination


def test_model_returns_are_those_of_a_loop_over_starts():
    model = PlainModel(
        ToyModel(observation_size=2, noise=0.0),
        termination=ending_beyond(1.0),
        reward_override=lambda observations, actions, next_observations: next_observations[:, 1],
    )
    starts = torch.tensor([[0.0, 5.0], [0.75, -1.0], [-9.0, 0.0]])

    def policy(observations):
        return torch.full((len(observations), 1), 2.5)  # moves both numbers by a quarter

    found = model_returns(model, policy, starts, horizon=7, generator=torch.Generator(), discount=0.5)
    expected = []
    for first, second in starts.tolist():
        rewards = []
        while len(rewards) < 7 and first <= 1.0:
            first, second = first + 0.25, second + 0.25
            rewards.append(second)
        expected.append((len(rewards), sum(rewards), sum(0.5**step * reward for step, reward in enumerate(rewards))))
    lengths, returns, discounted = np.array(expected).T
    assert found.lengths.tolist() == lengths.tolist() == [5, 2, 7]
    assert np.allclose(found.returns, returns) and np.allclose(found.discounted_returns, discounted)


def test_a_filter_s_threshold_cuts_no_promise_short_but_its_selection_holds():
    def upward(observations, actions, following):
        return following[..., 0]

    filtered = FilteredModel(ToyModel(), upward, termination=never, selection="argmax", threshold=1e9)
    starts, action = torch.zeros(50, 3), lambda seen: torch.zeros(len(seen), 2)
    found = model_returns(filtered, action, starts, horizon=4, generator=torch.Generator().manual_seed(0))
    assert found.lengths.tolist() == [4] * 50 and found.returns.tolist() == [4.0] * 50
    assert filtered.threshold == 1e9

    seen = []

    def watch(observations):
        seen.append(observations)
        return action(observations)

    model_returns(filtered, watch, starts, horizon=4, generator=torch.Generator().manual_seed(0))
    assert seen[-1][:, 0].mean() > 0.2  # three times the largest of six with deviation .1
