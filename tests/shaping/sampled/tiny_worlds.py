"""Worlds of a few steps for the trainers: a walk on a line, with discrete or box actions and two heuristics."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env):
    """From 0 to the goal in noisy steps of about 0.2: -0.1 a step, 1 at the end; heuristics "near" and "far"."""

    horizon = 8
    goal = 1.0

    def __init__(self, continuous: bool = False, first: int = 0):
        self.continuous = continuous
        self.observation_space = spaces.Box(-2.0, 2.0, (2,), np.float64)
        box, discrete = spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Discrete(3, start=first)
        self.action_space, self.first = (box, 0) if continuous else (discrete, first)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = 0.0, 0
        return self._seen(), {}

    def step(self, action):
        assert self.action_space.contains(action if self.continuous else int(action))
        push = float(action[0]) if self.continuous else float(action - self.first - 1)
        self.place = float(np.clip(self.place + 0.2 * push + 0.1 * self.np_random.normal(), -2, 2))
        self.steps += 1
        ended = self.place >= self.goal
        info = {"auxiliary": self.auxiliary()}
        return self._seen(), (1.0 if ended else -0.1), ended, not ended and self.steps == self.horizon, info

    def auxiliary(self):
        return {"near": -((1 - self.place) ** 2), "far": float(self.place < -0.2)}

    def _seen(self):
        return np.array([self.place, self.steps / 8])
