"""CartPole with the advice of a proportional-derivative controller, or of its opposite."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import TimeLimit

from environments.guided.auxiliaries import chosen
from rewardlab.adapters.auxiliary_rewards import AuxiliaryRewards
from rewardlab.adapters.step_signals import Step
from rewardlab.checks import check_scalar

__all__ = ["AUXILIARIES", "FEATURE_BOUNDS", "POTENTIALS", "ControllerAdvice", "guided_cartpole"]

PROPORTIONAL, DERIVATIVE = 0.1, 0.5  # of the pole's angle, and of its change from one step to the next
STEP_SECONDS = 0.02  # of the simulator
FALL_ANGLE = 12 * 2 * np.pi / 360  # radians: where the episode ends
_ANGLE, _ANGULAR_VELOCITY = 2, 3

FEATURE_BOUNDS = (np.array([-2.4, -3.5, -0.2095, -3.5]), np.array([2.4, 3.5, 0.2095, 3.5]))
"""The bounds of observations to which the published study scales its features (velocities can leave them)."""


@dataclass
class ControllerAdvice:
    """Pays for doing what a controller of the pole's angle would do: push the side to which it leans or falls.

    The change of the angle is the angular velocity times the time of a step. The controller alone keeps the pole up
    for all of 500 steps; so does the lagging one. (With the velocity itself in place of the change, as an unwary
    reading of the published weights has it, the pole falls after 239 steps on average.)

    Args:
        agrees: Reward where the action is the controller's.
        differs: Reward where it is not.
        lag: Take the change from the last angle to this one, as published. It is known from the two observations only,
            so that the reward is no function of the transition.
        free_end: Pay nothing on the last step of an episode, whatever ended it.
    """

    agrees: float
    differs: float
    lag: bool = False
    free_end: bool = False
    _last_angle: float = field(default=0.0, init=False, repr=False)

    def reset(self) -> None:
        """Begin an episode."""
        self._last_angle = 0.0  # as published: the first change is the whole angle, which points the same way

    def __call__(self, step: Step) -> float:
        """The reward of a step; the steps of an episode come one after the other."""
        angle, velocity = float(step.observation[_ANGLE]), float(step.observation[_ANGULAR_VELOCITY])
        change = angle - self._last_angle if self.lag else STEP_SECONDS * velocity
        self._last_angle = angle
        if self.free_end and (step.terminated or step.truncated):
            return 0.0
        right = PROPORTIONAL * angle + DERIVATIVE * change > 0
        return self.agrees if right == (step.action == 1) else self.differs


def _variants(name: str, advice: ControllerAdvice) -> dict[str, ControllerAdvice]:
    return {
        name: advice,
        f"{name} with lag": replace(advice, lag=True),
        f"{name} as published": replace(advice, lag=True, free_end=True),
    }


AUXILIARIES = {
    **_variants("good", ControllerAdvice(agrees=5.0, differs=-1.0)),
    **_variants("bad", ControllerAdvice(agrees=-5.0, differs=1.0)),
}
"""Auxiliary rewards of a step.

"good" pays 5 for the controller's action and -1 for the other, "bad" -5 and 1. As published the change of the angle
lags by a step, and the last step of an episode, fall or time limit, pays nothing.
"""


def _upright(observation: np.ndarray) -> np.ndarray:
    return 5.0 * (1.0 - np.abs(np.asarray(observation, np.float64)[..., _ANGLE]) / FALL_ANGLE)


POTENTIALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "good": _upright,
    "bad": lambda observation: -_upright(observation),
}
"""Potentials of the states: 5 with the pole upright and 0 where it falls, or the negative of that.

Functions of observations `(*batch, 4)` that return `(*batch)`.
"""


def guided_cartpole(
    auxiliary: Sequence[str] = ("good",), *, horizon: int = 500, render_mode: str | None = None
) -> gymnasium.Env:
    """CartPole-v1, its reward 1 a step, with the chosen advice in `info["auxiliary"]`.

    Registered as `rewardlab/GuidedCartPole-v0`.

    Args:
        auxiliary: Names out of `AUXILIARIES`.
        horizon: Steps until an episode is truncated.
        render_mode: As CartPole has it.

    Example:
        >>> env = guided_cartpole(("good", "bad"))
        >>> _ = env.reset(seed=0)
        >>> env.step(1)[4]
        {'auxiliary': {'good': -1.0, 'bad': 1.0}}

    Source: arXiv 2310.19007, CartPole; weights and rewards as in its official code.
    """
    check_scalar("horizon", horizon, low=1, whole=True)
    advice = {name: copy(rule) for name, rule in chosen(auxiliary, AUXILIARIES).items()}  # each with its own memory
    return AuxiliaryRewards(TimeLimit(CartPoleEnv(render_mode=render_mode), horizon), advice)
