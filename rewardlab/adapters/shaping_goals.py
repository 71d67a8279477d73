"""Shaping of transitions that hindsight replay gives another goal: their rewards are asked for past `step`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from rewardlab.observations import snapshot
from rewardlab.shaping.running import RunningShaping

__all__ = ["TRANSITION", "has_goals", "relabelled", "transition_record"]

TRANSITION = "reward/transition"  # the key of a transition's observations in `info`


def has_goals(space: spaces.Space) -> bool:
    """Whether observations hold the goal to reach, which hindsight replay may exchange."""
    return isinstance(space, spaces.Dict) and {"achieved_goal", "desired_goal"} <= set(space.spaces)


def transition_record(observation: Any, next_observation: Any, bootstraps: Any) -> tuple[Any, Any, bool]:
    """What `relabelled` needs of a transition, to be kept in its info."""
    return snapshot(observation), snapshot(next_observation), bool(bootstraps)


def relabelled(shaping: RunningShaping, rewards: Any, desired_goal: Any, info: Any) -> Any:
    """Rewards for other goals, shaped by the potential that the states have under those.

    Args:
        shaping: The rule.
        rewards: The environment's own, for the other goals: a number, or (n,).
        desired_goal: The other goal, or (n, ...) of them.
        info: Of the transition, or a sequence of n.

    Raises:
        ValueError: If an info lacks the record of its transition.
    """
    if isinstance(info, Mapping):
        return rewards + _shaping_for(shaping, desired_goal, info)
    return rewards + np.array([_shaping_for(shaping, *one) for one in zip(desired_goal, info, strict=True)])


def _shaping_for(shaping: RunningShaping, goal: Any, info: Mapping[str, Any] | Sequence) -> float:
    if TRANSITION not in info:
        raise ValueError(
            f"info lacks {TRANSITION!r}, so the potential of a transition with another goal is unknown; give "
            f"HerReplayBuffer copy_info_dict=True"
        )
    before, after, bootstraps = info[TRANSITION]
    return shaping.between({**before, "desired_goal": goal}, {**after, "desired_goal": goal}, bootstraps)
