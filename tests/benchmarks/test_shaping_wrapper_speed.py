"""What potential-based shaping costs a step of an environment, beside a bare gymnasium wrapper around the same."""

import timeit

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

from rewardlab.adapters.gymnasium import PotentialShaping, VectorPotentialShaping
from rewardlab.adapters.stable_baselines3 import VecPotentialShaping
from rewardlab.shaping.potentials import TablePotential
from rewardlab.shaping.rule import shape_episode

CHEAP = {
    "constant": lambda observation: 0.5,
    "an entry": lambda observation: observation.item(0),
}


class Still(gymnasium.Env):
    """Answers every step at once, so that nothing but wrappers is measured."""

    def __init__(self, states=None):
        self.observation_space = spaces.Box(-1.0, 1.0, (4,)) if states is None else spaces.Discrete(states)
        self.action_space = spaces.Discrete(2)
        self.seen, self.info = np.zeros(4) if states is None else np.int64(3), {}

    def reset(self, *, seed=None, options=None):
        return self.seen, {}

    def step(self, action):
        return self.seen, 1.0, False, False, self.info


class StillVector(VectorEnv):
    """The same for a vector of them."""

    def __init__(self, count):
        self.num_envs = count
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_action_space, self.action_space = spaces.Discrete(2), spaces.MultiDiscrete([2] * count)
        self.single_observation_space = spaces.Box(-1.0, 1.0, (4,))
        self.observation_space = spaces.Box(-1.0, 1.0, (count, 4))
        self.answer = np.zeros((count, 4)), np.ones(count), np.zeros(count, bool), np.zeros(count, bool), {}

    def reset(self, *, seed=None, options=None):
        return self.answer[0], {}

    def step(self, actions):
        return self.answer


class Entry:
    """An entry of the observations, of one or of several at once."""

    def __call__(self, observation):
        return observation.item(0)

    def batch(self, observations):
        return observations[:, 0]


def microseconds_added(bare, ours, actions, number=2_000, repeats=60):
    """The least of each, measured in turn: whatever else the machine does only adds to it."""
    for each in (bare, ours):
        each.reset()
    times = [
        [min(timeit.repeat(lambda env=env: env.step(actions), number=number, repeat=1)) for env in (bare, ours)]
        for _ in range(repeats)
    ]
    least = np.min(times, axis=0) / number * 1e6
    return least[1] - least[0]


@pytest.mark.parametrize("name", CHEAP)
def test_at_most_two_microseconds_a_step(name, record_property):
    added = microseconds_added(gymnasium.Wrapper(Still()), PotentialShaping(Still(), CHEAP[name], 0.99), 0)
    record_property("microseconds_added", added)
    print(f"\n{name}: {added:.2f} us a step more than a bare wrapper")
    assert added <= 2.0


def test_a_table_of_states_is_within_it_too(record_property):
    table = TablePotential(np.arange(16.0))
    added = microseconds_added(gymnasium.Wrapper(Still(16)), PotentialShaping(Still(16), table, 0.99), 0)
    record_property("microseconds_added", added)
    print(f"\ntable: {added:.2f} us a step more than a bare wrapper")
    assert added <= 2.0


@pytest.mark.parametrize("count", [8, 64])
def test_a_vector_at_once(count, record_property):
    ours = VectorPotentialShaping(StillVector(count), Entry(), 0.99)
    added = microseconds_added(VectorWrapper(StillVector(count)), ours, np.zeros(count, int), number=300)
    record_property("microseconds_added", added)
    print(f"\n{count} environments at once: {added:.1f} us a step, {added / count:.2f} us for each")
    assert added <= {8: 60, 64: 80}[count]


class Recorded(VecEnvWrapper):
    """Answers every step with the first, without taking it."""

    def reset(self):
        observations = self.venv.reset()
        self.answer = self.venv.step(np.zeros(self.num_envs, dtype=np.int64))
        return observations

    def step_async(self, actions):
        pass

    def step_wait(self):
        return self.answer


def test_eight_environments_of_stable_baselines3(record_property):
    def bare():
        return Recorded(DummyVecEnv([Still] * 8))

    ours = VecPotentialShaping(bare(), Entry(), 0.99)
    added = microseconds_added(bare(), ours, np.zeros(8, dtype=np.int64), number=300)
    record_property("microseconds_added", added)
    print(f"\n8 environments of Stable-Baselines3: {added:.1f} us a step, {added / 8:.2f} us for each")
    assert added <= 60


def test_whole_episodes(benchmark):
    """4096 padded episodes of 512 steps: memory bound, so near the speed of a few passes over the array."""
    rng = np.random.default_rng(0)
    potentials, ended = rng.normal(size=(4096, 513)), rng.random(4096) < 0.5
    mask = np.arange(512) < rng.integers(1, 513, size=4096)[:, None]
    benchmark(shape_episode, potentials, discount=1.0, ended=ended, mask=mask)
    assert benchmark.stats.stats.median < 0.2
