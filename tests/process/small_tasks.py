"""Step tasks small enough to be known by heart."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coins:
    """Flip so many coins; right if all show heads. The tool sees each coin, but of every `blind`-th one nothing."""

    number: int = 3
    blind: int = 0

    def start(self):
        return ""

    def legal_steps(self, state):
        return "ht" if len(state) < self.number else ""

    def apply(self, state, step):
        return state + step

    def verify(self, state):
        if len(state) == self.number:
            return 1 if set(state) <= {"h"} else -1
        if self.blind and len(state) % self.blind == 0:
            return 0
        return 1 if state[-1] == "h" else -1


class Chain:
    """Ten states in a row; from state s a step goes on with chance `on[s]`, or slips and fails. Values are products."""

    on = np.array([0.5, 0.9, 0.6, 0.95, 0.8, 0.7, 0.9, 0.85, 0.9, 0.75])
    values = np.cumprod(on[::-1])[::-1]

    def start(self):
        return 0

    def legal_steps(self, state):
        return ("on", "slip") if 0 <= state < len(self.on) else ()

    def apply(self, state, step):
        return state + 1 if step == "on" else -1

    def verify(self, state):
        return 1 if state == len(self.on) else -1 if state == -1 else 0

    def policy(self, state):
        return np.array([self.on[state], 1 - self.on[state]])


class Counted:
    """A task that counts how often it is asked to verify, and what."""

    def __init__(self, task):
        self.task, self.asked = task, []

    def __getattr__(self, name):
        return getattr(self.task, name)

    def start(self):
        return self.task.start()

    def legal_steps(self, state):
        return self.task.legal_steps(state)

    def apply(self, state, step):
        return self.task.apply(state, step)

    def verify(self, state):
        self.asked.append(state)
        return self.task.verify(state)
