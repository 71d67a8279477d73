"""Mountain cars that are paid at the top only, with the advice to push the way they are going."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import Continuous_MountainCarEnv, MountainCarEnv
from gymnasium.wrappers import TimeLimit

from environments.guided.auxiliaries import chosen
from rewardlab.adapters.auxiliary_rewards import AuxiliaryRewards
from rewardlab.adapters.step_signals import Step
from rewardlab.checks import check_scalar

__all__ = ["AUXILIARIES", "FEATURE_BOUNDS", "POTENTIALS", "guided_mountain_car", "guided_mountain_car_continuous"]

HORIZON = 2000
FEATURE_BOUNDS = (np.array([-1.2, -0.07]), np.array([0.5, 0.07]))
"""The bounds of observations, position and velocity, to which the published study scales its features."""

_GOAL_POSITION, _HILL = 0.5, 0.0025  # the car's weight: the slope pulls with -0.0025 cos(3 position) a step


def _push(step: Step) -> float:
    """Which way the engine pushes, left below 0: actions 0, 1, 2 or a force."""
    action = np.asarray(step.action)
    return float(action[0]) if action.ndim else float(action) - 1.0


def _with_the_motion(step: Step) -> float:
    """1 for a push the way the car moves after it, else -1 (also for no push)."""
    return 1.0 if _push(step) * float(step.next_observation[1]) > 0 else -1.0


def _against_the_motion(step: Step) -> float:
    return -_with_the_motion(step)


def _speed(step: Step) -> float:
    return 10.0 * abs(float(step.next_observation[1]))


def _free_end(rule: Callable[[Step], float]) -> Callable[[Step], float]:
    return lambda step: 0.0 if step.terminated or step.truncated else rule(step)


AUXILIARIES: dict[str, Callable[[Step], float]] = {
    "good": _with_the_motion,
    "good as published": _free_end(_with_the_motion),
    "speed": _speed,
    "speed as published": _free_end(_speed),
    "bad": _against_the_motion,
}
"""Auxiliary rewards of a step.

"good" pays 1 for pushing the way the car moves after the step and -1 otherwise, coasting included; "speed" pays 10
times the speed. As published neither pays on the last step of an episode. "bad", the negative of "good", is not
published.
"""


def _energy(observation: np.ndarray) -> np.ndarray:
    seen = np.asarray(observation, np.float64)
    height = np.sin(3 * seen[..., 0])
    at_the_goal = np.sin(3 * _GOAL_POSITION)
    return (height + 1 + 3 / _HILL * seen[..., 1] ** 2 / 2) / (at_the_goal + 1)


POTENTIALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "good": _energy,
    "speed": lambda observation: 10.0 * np.abs(np.asarray(observation, np.float64)[..., 1]),
    "bad": lambda observation: -_energy(observation),
}
"""Potentials of the states: for "good" the car's mechanical energy, 0 at rest in the valley and 1 at rest in the goal.

A push the way the car moves is what raises it. Functions of observations `(*batch, 2)` that return `(*batch)`.
"""


class _PaidAtTheTop(MountainCarEnv):
    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(terminated), terminated, truncated, info


class _PaidAtTheTopContinuous(Continuous_MountainCarEnv):
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(terminated), terminated, truncated, info


def guided_mountain_car(
    auxiliary: Sequence[str] = ("good",), *, horizon: int = HORIZON, render_mode: str | None = None
) -> gymnasium.Env:
    """The mountain car, paid 1 on reaching the goal and 0 before, with advice in `info["auxiliary"]`.

    Registered as `rewardlab/GuidedMountainCar-v0`. The dynamics are gymnasium's. The published code has its own, with
    the same equations; there the last of 2000 steps does nothing, and positions are not cut at 0.6.

    Args:
        auxiliary: Names out of `AUXILIARIES`.
        horizon: Steps until an episode is truncated.
        render_mode: As MountainCar has it.

    Example:
        >>> env = guided_mountain_car()
        >>> _ = env.reset(seed=0)
        >>> [env.step(action)[4]["auxiliary"]["good"] for action in (0, 1, 2)]
        [1.0, -1.0, -1.0]

    Source: arXiv 2310.19007, MountainCar; reward, rule and horizon as in its official code, with scale 1.
    """
    return _guided(_PaidAtTheTop(render_mode=render_mode), auxiliary, horizon)


def guided_mountain_car_continuous(
    auxiliary: Sequence[str] = ("good",), *, horizon: int = HORIZON, render_mode: str | None = None
) -> gymnasium.Env:
    """The mountain car with a force in [-1, 1] for an action, otherwise as `guided_mountain_car`; goal at 0.45.

    Registered as `rewardlab/GuidedMountainCarContinuous-v0`. Not part of the published study.
    """
    return _guided(_PaidAtTheTopContinuous(render_mode=render_mode), auxiliary, horizon)


def _guided(env: gymnasium.Env, auxiliary: Sequence[str], horizon: int) -> gymnasium.Env:
    check_scalar("horizon", horizon, low=1, whole=True)
    return AuxiliaryRewards(TimeLimit(env, horizon), chosen(auxiliary, AUXILIARIES))
