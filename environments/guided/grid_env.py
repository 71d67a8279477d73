"""The exact 5 x 5 grid as a gymnasium environment, drawn from the very tables that are solved exactly."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from environments.guided.auxiliaries import chosen
from environments.guided.exact_grid import guided_grid
from rewardlab.checks import check_scalar

__all__ = ["AUXILIARIES", "POTENTIALS", "GuidedGridEnv"]

_WORLD = guided_grid()
AUXILIARIES = {"good": _WORLD.good, "bad": _WORLD.bad}
"""Auxiliary rewards of a transition, `(S, A, S)`."""

POTENTIALS = {name: reward[0, 0] for name, reward in AUXILIARIES.items()}
"""Potentials of the states, `(25,)`: what the auxiliary reward of the same name pays for arriving there."""


class GuidedGridEnv(gymnasium.Env):
    """From one corner of a 5 x 5 grid to the opposite one, with advice. Registered as `rewardlab/GuidedGrid-v0`.

    The observation is the state of `guided_grid()`, row by row; the actions are up, right, down, left. The reward is
    the primary one: -0.001 a step, and 1 more on entering the goal, which terminates the episode. `info["auxiliary"]`
    holds the chosen auxiliary rewards of the step.

    Args:
        auxiliary: Names out of `AUXILIARIES`.
        slip: Probability, in [0, 1], that an action drawn uniformly from all four is taken instead.
        horizon: Steps until an episode is truncated; None for no limit.

    Attributes:
        state: Where the agent is. May be set.

    Example:
        >>> import gymnasium, environments.guided
        >>> env = gymnasium.make("rewardlab/GuidedGrid-v0", auxiliary=("good", "bad"), slip=0.0)
        >>> env.reset(seed=0)
        (0, {})
        >>> env.step(1)
        (1, -0.001, False, False, {'auxiliary': {'good': -1.5625, 'bad': 0.0}})
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, auxiliary: Sequence[str] = ("good",), *, slip: float = 0.1, horizon: int | None = 50):
        self.horizon = horizon if horizon is None else check_scalar("horizon", horizon, low=1, whole=True)
        mdp = guided_grid(slip=slip).mdp
        self.observation_space, self.action_space = spaces.Discrete(mdp.states), spaces.Discrete(mdp.actions)
        # Plain lists of plain floats: indexing an array costs more than all the rest of a step.
        self._arrivals = [[np.flatnonzero(row).tolist() for row in rows] for rows in mdp.transition]
        self._cumulative = [[_cumulative(row[row > 0]) for row in rows] for rows in mdp.transition]
        self._primary = _WORLD.primary[0, 0].tolist()  # every reward here depends on the arrival alone
        self._auxiliary = {name: reward[0, 0].tolist() for name, reward in chosen(auxiliary, AUXILIARIES).items()}
        self._terminal = mdp.terminal.tolist()
        self._start = int(mdp.initial.argmax())
        self.state = self._start
        self._steps = -1  # none: no episode is under way

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin in the start corner."""
        super().reset(seed=seed)
        self.state, self._steps = self._start, 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move, or slip.

        Raises:
            ValueError: If the action is no whole number from 0 to 3.
            RuntimeError: If the episode has ended, or none has begun.
        """
        if self._steps < 0:
            raise RuntimeError("no episode is under way, expected a call of reset() first")
        if action not in (0, 1, 2, 3):
            raise ValueError(f"action is {action!r}, expected a whole number from 0 to 3")
        action = int(action)
        likely = self._cumulative[self.state][action]
        state = self.state = self._arrivals[self.state][action][bisect_right(likely, self.np_random.random())]
        self._steps += 1
        terminated = self._terminal[state]
        truncated = self._steps == self.horizon and not terminated
        if terminated or truncated:
            self._steps = -1
        info = {"auxiliary": {name: reward[state] for name, reward in self._auxiliary.items()}}
        return state, self._primary[state], terminated, truncated, info


def _cumulative(probabilities: np.ndarray) -> list[float]:
    """Upper ends of the intervals of [0, 1) that belong to the arrivals, but for the last one, which has the rest."""
    return list(accumulate(probabilities.tolist()))[:-1]
