"""Environments made by hand, small enough to know every transition, and pipelines to send their steps through."""

import gymnasium
import numpy as np
from gymnasium import spaces

from rewardlab.transforms import Pipeline, Scale, chain

DISCOUNT = 0.9


class Corridor(gymnasium.Env):
    """Observation 0, then one tenth more a step; the episode ends after `length` steps, in the way that is asked for.

    The reward is the number of the step. With `reuse_memory` every observation is written into the same array.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, length=2, ending="truncated", reuse_memory=False, nested=False):
        self.observation_space = spaces.Box(-1.0, 10.0, (1,), np.float64)
        if nested:
            self.observation_space = spaces.Dict(
                {
                    "place": self.observation_space,
                    "pair": spaces.Tuple((spaces.Discrete(100), spaces.Box(-1.0, 10.0, (2,), np.float64))),
                }
            )
        self.action_space = spaces.Discrete(2)
        self.length, self.ending, self.nested = length, ending, nested
        self.memory = np.zeros(1) if reuse_memory else None
        self.taken = 0

    def _observation(self):
        place = np.array([self.taken / 10])
        if self.memory is not None:
            self.memory[:] = place
            place = self.memory
        return {"place": place, "pair": (self.taken, np.array([self.taken, -1.0]))} if self.nested else place

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return self._observation(), {"taken": self.taken, "fresh": True}

    def step(self, action):
        self.taken += 1
        ended = self.taken >= self.length
        info = {"taken": self.taken, "detail": {"twice": 2.0 * self.taken}} | ({"arrived": 1.0} if ended else {})
        ends = ended and self.ending == "terminated", ended and self.ending == "truncated"
        return self._observation(), float(self.taken), *ends, info

    def compute_reward(self, achieved, desired, info):
        return np.zeros(len(achieved))


def shaping(step):
    """Potential-based shaping, potential 10 times the observation; zero where a learner does not bootstrap."""
    value = 10 * np.asarray(step.next_observation)[..., 0] * np.logical_not(step.terminated)
    return DISCOUNT * value - 10 * np.asarray(step.observation)[..., 0]


def passing(*names):
    """A pipeline that hands on the sum of its signals as they are."""
    return Pipeline({name: chain(Scale(1.0)) for name in names})
