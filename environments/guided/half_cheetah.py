"""HalfCheetah, paid for running alone, with the cost of control as advice: helpful at weight 1, paralysing at 4."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.wrappers import TimeLimit

from environments.guided.auxiliaries import chosen
from rewardlab.adapters.auxiliary_rewards import AuxiliaryRewards
from rewardlab.adapters.step_signals import Step
from rewardlab.checks import check_scalar

__all__ = ["AUXILIARIES", "POTENTIALS", "guided_half_cheetah"]


def _effort(weight: float) -> Callable[[Step], float]:
    def cost(step: Step) -> float:
        action = np.asarray(step.action, np.float64)
        return -weight * float(action @ action)

    return cost


AUXILIARIES: dict[str, Callable[[Step], float]] = {"good": _effort(1.0), "bad": _effort(4.0)}
"""Auxiliary rewards of a step: minus the squared norm of the action, times 1 ("good") or 4 ("bad")."""


def _nothing(observation: np.ndarray) -> np.ndarray:
    return np.zeros(np.asarray(observation).shape[:-1])


POTENTIALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"good": _nothing, "bad": _nothing}
"""Potentials of the states: 0. The advice is about the action alone, and no function of the state can express it.

Functions of observations `(*batch, 17)` that return `(*batch)`.
"""


class _PaidForRunning(HalfCheetahEnv):
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(info["reward_forward"]), terminated, truncated, info


def guided_half_cheetah(
    auxiliary: Sequence[str] = ("good",), *, horizon: int = 1000, render_mode: str | None = None
) -> gymnasium.Env:
    """HalfCheetah-v5, paid for forward velocity alone, with the cost of control in `info["auxiliary"]`.

    Registered as `rewardlab/GuidedHalfCheetah-v0`. Needs MuJoCo. Every reset draws a new state; in the published code,
    which seeds every reset alike, all episodes of a run begin in one and the same.

    Args:
        auxiliary: Names out of `AUXILIARIES`.
        horizon: Steps until an episode is truncated.
        render_mode: As HalfCheetah has it.

    Example:
        >>> env = guided_half_cheetah(("good", "bad"))
        >>> _ = env.reset(seed=0)
        >>> env.step(np.full(6, 0.5))[4]["auxiliary"]
        {'good': -1.5, 'bad': -6.0}

    Source: arXiv 2310.19007, HalfCheetah (version 4 there); weights as in its official code.
    """
    check_scalar("horizon", horizon, low=1, whole=True)
    env = _PaidForRunning(ctrl_cost_weight=1.0, render_mode=render_mode)
    return AuxiliaryRewards(TimeLimit(env, horizon), chosen(auxiliary, AUXILIARIES))
