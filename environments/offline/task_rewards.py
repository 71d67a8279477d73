"""The tasks' own rewards as functions of (observation, action, next observation), where they are such functions.

Those of the MuJoCo runners are so only where the observation holds the position along the track (column 0), as in
NeoRL and NeoRL-2 or with `exclude_current_positions_from_observation=False`; without it a model has to learn them.
Batched, for NumPy arrays and torch tensors, in the type of what comes in.

Source: gymnasium 1.4; NeoRL-2's reward functions, held against its published files.
"""

from collections.abc import Callable
from types import MappingProxyType

from jaxtyping import Float

from environments.offline.known_laws import dmsd_reward
from environments.offline.terminations import (
    HALF_CHEETAH_SECONDS,
    SPEED_LIMIT,
    hopper_with_position,
    inverted_pendulum,
    rocket_recovery,
    walker2d_with_position,
)
from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_array, check_choice

__all__ = ["TASK_REWARDS", "TaskReward", "task_reward"]

TaskReward = Callable[[Array, Array, Array], Array]
RUNNER_SECONDS = 0.008  # of a step of hopper and walker2d
SPEEDING = -100.0  # instead of all else, for a safety half-cheetah that runs too fast
LARGEST_TORQUE = 2.0  # of the pendulum, which clips


def half_cheetah(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """Velocity less 0.1 times the squared action."""
    return _velocity(observations, next_observations, HALF_CHEETAH_SECONDS) - 0.1 * _squared(actions)


def safety_half_cheetah(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """`half_cheetah`, but -100 where it runs faster than 3.2096."""
    speed = _velocity(observations, next_observations, HALF_CHEETAH_SECONDS)
    xp = array_namespace(speed)
    reward = half_cheetah(observations, actions, next_observations)
    return xp.where(speed > SPEED_LIMIT, xp.full_like(reward, SPEEDING), reward)


def random_friction_hopper(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """Velocity less 0.001 times the squared action; nothing for being alive."""
    return _velocity(observations, next_observations, RUNNER_SECONDS) - 0.001 * _squared(actions)


def hopper_v3(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """Velocity, plus 1 on every step, less 0.001 times the squared action: up to version 4, NeoRL; walker2d as well."""
    return random_friction_hopper(observations, actions, next_observations) + 1.0


def hopper_v5(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """`hopper_v3` with the 1 only while it stands: version 5 of gymnasium."""
    fallen = hopper_with_position(observations, actions, next_observations)
    return _runner_v5(observations, actions, next_observations, fallen)


def walker2d_v5(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """The same for the walker."""
    fallen = walker2d_with_position(observations, actions, next_observations)
    return _runner_v5(observations, actions, next_observations, fallen)


def inverted_pendulum_v5(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """1 while the pole stands, 0 on the step that ends the episode."""
    fallen = inverted_pendulum(observations, actions, next_observations)
    return array_namespace(fallen).astype(~fallen, next_observations.dtype)


def pendulum(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """Minus squared angle, 0.1 of squared velocity and 0.001 of squared torque, all before the step."""
    xp = array_namespace(check_array("observations", observations))
    angle = xp.atan2(observations[..., 1], observations[..., 0])
    torque = xp.clip(check_array("actions", actions), -LARGEST_TORQUE, LARGEST_TORQUE)
    return -(angle**2 + 0.1 * observations[..., 2] ** 2 + 0.001 * _squared(torque))


def dmsd(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """See `environments.offline.known_laws.dmsd_reward`."""
    return dmsd_reward(next_observations)


def pipeline(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """`((200 - |flow - target|) / 100)^2 - 3`, flow and target being columns 0 and 1 of the next observation."""
    xp = array_namespace(check_array("next_observations", next_observations))
    missed = xp.abs(next_observations[..., 0] - next_observations[..., 1])
    return ((200.0 - missed) * 0.01) ** 2 - 3.0


def rocket_recovery_reward(observations: Array, actions: Array, next_observations: Array) -> Float[Array, "*batch"]:
    """How much nearer to upright rest on the pad, less fuel; on the ground instead 100 for a soft landing, or -100.

    Soft is an angle below 0.3 and a velocity below 0.5 sideways and 2 downwards.
    """
    xp = array_namespace(check_array("actions", actions))
    main = xp.where(actions[..., 0] > 0, 0.5 + 0.5 * xp.clip(actions[..., 0], 0.0, 1.0), xp.zeros_like(actions[..., 0]))
    side = xp.abs(actions[..., 1])
    side = xp.where(side > 0.5, xp.clip(side, 0.5, 1.0), xp.zeros_like(side))
    gained = _far_from_rest(observations) - _far_from_rest(next_observations) - 0.3 * main - 0.03 * side
    tilt, drift, fall = (xp.abs(next_observations[..., column]) for column in (4, 2, 3))
    best = xp.full_like(gained, 100.0)
    landed = xp.where((tilt < 0.3) & (drift < 0.5) & (fall < 2.0), best, -best)
    return xp.where(rocket_recovery(observations, actions, next_observations), landed, gained)


TASK_REWARDS: MappingProxyType[str, TaskReward] = MappingProxyType(
    {
        "neorl/halfcheetah": half_cheetah,
        "neorl/hopper": hopper_v3,
        "neorl/walker2d": hopper_v3,
        "neorl2/DMSD": dmsd,
        "neorl2/Pipeline": pipeline,
        "neorl2/RandomFrictionHopper": random_friction_hopper,
        "neorl2/RocketRecovery": rocket_recovery_reward,
        "neorl2/SafetyHalfCheetah": safety_half_cheetah,
        "hopper-v5-with-position": hopper_v5,
        "walker2d-v5-with-position": walker2d_v5,
        "halfcheetah-v5-with-position": half_cheetah,
        "inverted_pendulum-v5": inverted_pendulum_v5,
        "pendulum": pendulum,
    }
)
"""Every function by the name of its task."""


def task_reward(task: str) -> TaskReward:
    """The reward of a task.

    Args:
        task: A key of `TASK_REWARDS`.

    Returns:
        Function of observations `(..., d)`, actions `(..., m)` and next observations `(..., d)` that gives `(...)`.

    Raises:
        ValueError: If there is none, be it that the reward is no function of these; lists those there are.
    """
    check_choice("task", task, TASK_REWARDS)
    return TASK_REWARDS[task]


def _velocity(observations: Array, next_observations: Array, seconds: float) -> Array:
    before, after = check_array("observations", observations), check_array("next_observations", next_observations)
    return (after[..., 0] - before[..., 0]) / seconds


def _far_from_rest(observations: Array) -> Array:
    xp = array_namespace(check_array("observations", observations))
    place, motion = (xp.sum(observations[..., a : a + 2] ** 2, axis=-1) ** 0.5 for a in (0, 2))
    return 100.0 * (place + motion + xp.abs(observations[..., 4]))


def _squared(actions: Array) -> Array:
    return array_namespace(check_array("actions", actions)).sum(actions**2, axis=-1)


def _runner_v5(observations: Array, actions: Array, next_observations: Array, fallen: Array) -> Array:
    moved = random_friction_hopper(observations, actions, next_observations)
    return moved + array_namespace(moved).astype(~fallen, moved.dtype)
