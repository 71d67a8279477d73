"""Laws of recorded tasks that are known exactly: what a learned model ought to have said.

DMSD (NeoRL-2) is two masses between two walls, held by three springs and three dampers, each mass pushed by a force and
told where to be. An observation is `(position 1, position 2, velocity 1, velocity 2, target 1, target 2)`, an action
the two forces as shares of the largest, each in [-1, 1].

>>> import numpy as np
>>> dmsd_step(np.array([1.0, 0.0, 0.0, 0.0, 0.5, -0.5]), np.array([0.0, 1.0])).tolist()
[1.0, 0.0, -0.04, 0.32, 0.5, -0.5]

Source: NeoRL-2 (arXiv 2503.19267), environment DMSD; the constants are those of its training mode, which the published
files follow to the last digit of float32 (`tests/environments/offline/test_known_laws.py`).
"""

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_array

__all__ = [
    "DMSD_ACTION_MATRIX",
    "DMSD_STATE_MATRIX",
    "DMSD_TARGET_CHANGE",
    "dmsd_reward",
    "dmsd_rollout",
    "dmsd_step",
]

SECONDS = 0.2  # of a step
MASS = 20.0
DAMPING = 4.0  # of each damper
STIFFNESS = 2.0  # of each spring
FORCE = 30.0  # largest, of each mass
CLOSENESS = 0.01  # keeps the reward finite at the target
STATES, OBSERVATIONS, ACTIONS = 4, 6, 2  # the last two observations are the targets

DMSD_TARGET_CHANGE = 49
"""The only step of an episode, counted from 0, whose next observation may hold new targets."""

_SPRING, _DAMPER = SECONDS * STIFFNESS / MASS, SECONDS * DAMPING / MASS
DMSD_STATE_MATRIX: Float[np.ndarray, "4 4"] = np.array(
    [
        [1.0, 0.0, SECONDS, 0.0],
        [0.0, 1.0, 0.0, SECONDS],
        [-2 * _SPRING, _SPRING, 1 - 2 * _DAMPER, _DAMPER],
        [_SPRING, -2 * _SPRING, _DAMPER, 1 - 2 * _DAMPER],
    ]
)
"""Next (positions, velocities) from these: an explicit Euler step. Its eigenvalues lie inside the unit circle."""
DMSD_ACTION_MATRIX: Float[np.ndarray, "4 2"] = SECONDS * FORCE / MASS * np.eye(STATES, ACTIONS, k=-2)
"""What the actions add to the next (positions, velocities)."""
for _matrix in (DMSD_STATE_MATRIX, DMSD_ACTION_MATRIX):
    _matrix.flags.writeable = False


def dmsd_step(observations: Float[Array, "*batch 6"], actions: Float[Array, "*batch 2"]) -> Float[Array, "*batch 6"]:
    """Next observations, while the targets stay as they are.

    Args:
        observations: Positions, velocities, targets.
        actions: Forces as shares of the largest; what is beyond [-1, 1] is cut, as the environment does.

    Returns:
        Next observations of the same library, dtype and device.

    Raises:
        TypeError: If either is no floating-point array, or they are of different libraries.
        ValueError: If a last dimension is of another size, or the batches do not broadcast.
    """
    observations = _checked("observations", observations, OBSERVATIONS)
    actions = _checked("actions", actions, ACTIONS, like=observations)
    xp = array_namespace(observations)
    states, targets = observations[..., :STATES], observations[..., STATES:]
    moved = states @ _like(DMSD_STATE_MATRIX.T, states) + xp.clip(actions, -1.0, 1.0) @ _like(
        DMSD_ACTION_MATRIX.T, states
    )
    return xp.concat([moved, xp.broadcast_to(targets, (*moved.shape[:-1], OBSERVATIONS - STATES))], axis=-1)


def dmsd_rollout(
    observations: Float[Array, "*batch 6"], actions: Float[Array, "*batch steps 2"]
) -> Float[Array, "*batch steps 6"]:
    """Observations that follow when actions are played blindly from a start, while the targets stay as they are.

    Args:
        observations: Where to start.
        actions: The actions, in order; those beyond [-1, 1] are cut.

    Returns:
        The observation after each action: `[..., 0, :]` is one step from the start.

    Raises:
        TypeError: As `dmsd_step`.
        ValueError: As `dmsd_step`, or if there is no action.
    """
    observations = _checked("observations", observations, OBSERVATIONS)
    actions = _checked("actions", actions, ACTIONS, like=observations)
    if actions.ndim < 2 or actions.shape[-2] == 0:
        raise ValueError(f"actions has shape {tuple(actions.shape)}, expected (..., steps, {ACTIONS}) with a step")
    seen = []
    for step in range(actions.shape[-2]):
        observations = dmsd_step(observations, actions[..., step, :])
        seen.append(observations)
    return array_namespace(observations).stack(seen, axis=-2)


def dmsd_reward(next_observations: Float[Array, "*batch 6"]) -> Float[Array, "*batch"]:
    """Reward for arriving at an observation: minus the sum of the logarithms of how far each mass is from its target.

    Raises:
        TypeError: If it is no floating-point array.
        ValueError: If its last dimension is of another size.
    """
    next_observations = _checked("next_observations", next_observations, OBSERVATIONS)
    xp = array_namespace(next_observations)
    positions, targets = next_observations[..., :ACTIONS], next_observations[..., STATES:]
    return -xp.sum(xp.log(xp.abs(positions - targets) + CLOSENESS), axis=-1)


def _checked(name: str, value: Array, size: int, like: Array | None = None) -> Array:
    value = check_array(name, value)
    xp = array_namespace(value)
    if not xp.isdtype(value.dtype, "real floating"):
        raise TypeError(f"{name} has dtype {value.dtype}, expected floating-point numbers")
    if value.ndim == 0 or value.shape[-1] != size:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected (..., {size})")
    if like is not None and xp is not array_namespace(like):
        raise TypeError(f"{name} is a {type(value).__name__} and observations a {type(like).__name__}; use one library")
    return value


def _like(matrix: np.ndarray, values: Array) -> Array:
    where = {} if isinstance(values, np.ndarray) else {"device": values.device}
    return array_namespace(values).asarray(np.ascontiguousarray(matrix), dtype=values.dtype, **where)
