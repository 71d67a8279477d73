"""When the tasks end, as functions of what a model predicts: batched, for NumPy arrays and torch tensors.

Each takes `(observations, actions, next_observations)`, of shapes `(..., d)`, `(..., m)`, `(..., d)`, and returns
booleans `(...)`. Bounds belong where the environments have them: a hopper at a height of exactly 0.7 has fallen.
An observation that holds NaN or infinity always ends the episode, also in tasks that never end.

A widespread version for the hopper takes the absolute value of a comparison instead of the state's (a misplaced
parenthesis), so that no number below -100 ends the episode. It is not offered here.

Source: gymnasium 1.4 (`hopper_v5`, `walker2d_v5`, `half_cheetah_v5`, `inverted_pendulum_v5`, `pendulum`), the
termination functions of OfflineRL-Kit (for D4RL's halfcheetah) and MOREC's (for NeoRL), the done functions of NeoRL-2.
"""

from collections.abc import Callable
from types import MappingProxyType

from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_array, check_choice

__all__ = ["TERMINATIONS", "Termination", "project_velocities", "termination_of"]

Termination = Callable[[Array, Array, Array], Array]
LARGEST = 100.0  # no part of a healthy MuJoCo state is as large
SPEED_LIMIT = 3.2096  # of SafetyHalfCheetah, in its units of length a second
HALF_CHEETAH_SECONDS = 0.05  # of a step
VELOCITY_BOUND = 10.0  # to which hopper and walker2d clip the velocities they show
VELOCITIES = MappingProxyType({"hopper": 5, "walker2d": 8})  # columns from here on are velocities


def hopper(
    observations: Float[Array, "*batch 11"], actions: Float[Array, "*batch 3"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done unless finite, `|o[1:]| < 100`, height `o[0] > 0.7` and angle `|o[1]| < 0.2`."""
    xp, after = _checked(next_observations, 11)
    upright = (after[..., 0] > 0.7) & (xp.abs(after[..., 1]) < 0.2)
    return ~(upright & _finite(after) & xp.all(xp.abs(after[..., 1:]) < LARGEST, axis=-1))


def walker2d(
    observations: Float[Array, "*batch 17"], actions: Float[Array, "*batch 6"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done unless `|o| < 100`, height `0.8 < o[0] < 2` and angle `|o[1]| < 1`."""
    xp, after = _checked(next_observations, 17)
    upright = (after[..., 0] > 0.8) & (after[..., 0] < 2.0) & (xp.abs(after[..., 1]) < 1.0)
    return ~(upright & xp.all(xp.abs(after) < LARGEST, axis=-1))


def half_cheetah(
    observations: Float[Array, "*batch 17"], actions: Float[Array, "*batch 6"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done if any `|o| >= 100`, which happens to predictions and never in the environment, which never ends."""
    xp, after = _checked(next_observations, 17)
    return ~xp.all(xp.abs(after) < LARGEST, axis=-1)


def inverted_pendulum(
    observations: Float[Array, "*batch 4"], actions: Float[Array, "*batch 1"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done if the pole's angle `|o[1]| > 0.2`; at exactly 0.2 it still stands."""
    xp, after = _checked(next_observations, 4)
    return ~((xp.abs(after[..., 1]) <= 0.2) & _finite(after))


def never(observations: Array, actions: Array, next_observations: Float[Array, "*batch d"]) -> Bool[Array, "*batch"]:
    """Done only where the next observation is not finite."""
    return ~_finite(check_array("next_observations", next_observations))


def hopper_with_position(
    observations: Float[Array, "*batch _"], actions: Float[Array, "*batch 3"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """`hopper` where column 0 is the position along the track: NeoRL (12 columns), RandomFrictionHopper (13).

    The thirteenth column, the friction, ends nothing, and no friction is as large as 100.
    """
    xp, after = _checked(next_observations, 12, 13)
    upright = (after[..., 1] > 0.7) & (xp.abs(after[..., 2]) < 0.2)
    return ~(upright & _finite(after) & xp.all(xp.abs(after[..., 2:]) < LARGEST, axis=-1))


def walker2d_with_position(
    observations: Float[Array, "*batch 18"], actions: Float[Array, "*batch 6"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """`walker2d` where column 0 is the position along the track: NeoRL."""
    _, after = _checked(next_observations, 18)
    return walker2d(observations, actions, after[..., 1:]) | ~_finite(after)


def safety_half_cheetah(
    observations: Float[Array, "*batch 18"], actions: Float[Array, "*batch 6"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done if it runs faster than 3.2096, column 0 being the position: NeoRL-2's done function.

    NeoRL-2's environment as released does not call it: there such a step costs 100 and the episode goes on.
    """
    _, after = _checked(next_observations, 18)
    speed = (after[..., 0] - check_array("observations", observations)[..., 0]) / HALF_CHEETAH_SECONDS
    return ~((speed <= SPEED_LIMIT) & _finite(after))


def rocket_recovery(
    observations: Float[Array, "*batch 7"], actions: Float[Array, "*batch 2"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done where the rocket is on the ground, however it came there: height `|o[1]| <= 0.05`."""
    xp, after = _checked(next_observations, 7)
    return ~((xp.abs(after[..., 1]) > 0.05) & _finite(after))


def simglucose(
    observations: Float[Array, "*batch 31"], actions: Float[Array, "*batch 1"], next_observations: Array
) -> Bool[Array, "*batch"]:
    """Done where the blood glucose `o[0]` is below 40 or above 600 mg/dl."""
    _, after = _checked(next_observations, 31)
    return ~((after[..., 0] >= 40.0) & (after[..., 0] <= 600.0) & _finite(after))


TERMINATIONS: MappingProxyType[str, Termination] = MappingProxyType(
    {
        "hopper": hopper,
        "walker2d": walker2d,
        "halfcheetah": half_cheetah,
        "inverted_pendulum": inverted_pendulum,
        "pendulum": never,
        "neorl/hopper": hopper_with_position,
        "neorl/walker2d": walker2d_with_position,
        "neorl/halfcheetah": never,
        "neorl2/RandomFrictionHopper": hopper_with_position,
        "neorl2/SafetyHalfCheetah": safety_half_cheetah,
        "neorl2/DMSD": never,
        "neorl2/Fusion": never,
        "neorl2/Pipeline": never,
        "neorl2/RocketRecovery": rocket_recovery,
        "neorl2/Simglucose": simglucose,
    }
)
"""Every function by the name of its task."""

_GYMNASIUM = {
    "Hopper": "hopper",
    "Walker2d": "walker2d",
    "HalfCheetah": "halfcheetah",
    "InvertedPendulum": "inverted_pendulum",
    "Pendulum": "pendulum",
}


def termination_of(name: str) -> Termination:
    """The function of a task, or of an environment of gymnasium as `gymnasium.make` gives it.

    Args:
        name: A key of `TERMINATIONS`, or an id like "Hopper-v5" (v2 to v5 end alike).

    Raises:
        ValueError: If there is none; lists the names.
    """
    name = _GYMNASIUM.get(name.rpartition("-v")[0], name) if isinstance(name, str) else name
    check_choice("name", name, TERMINATIONS)
    return TERMINATIONS[name]


def project_velocities(task: str, observations: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Predicted observations with their velocities in [-10, 10], where the environment itself clips them.

    Args:
        task: "hopper" or "walker2d", whose observations hold no position along the track.
        observations: `(..., 11)` or `(..., 17)`.

    Raises:
        ValueError: If the task is another, or the observations have another size.
    """
    check_choice("task", task, VELOCITIES)
    xp, observations = _checked(observations, {"hopper": 11, "walker2d": 17}[task], name="observations")
    first = VELOCITIES[task]
    clipped = xp.clip(observations[..., first:], -VELOCITY_BOUND, VELOCITY_BOUND)
    return xp.concat([observations[..., :first], clipped], axis=-1)


def _checked(value: Array, *sizes: int, name: str = "next_observations"):
    check_array(name, value)
    if value.ndim == 0 or value.shape[-1] not in sizes:
        expected = " or ".join(f"(..., {size})" for size in sizes)
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {expected}")
    return array_namespace(value), value


def _finite(value: Array) -> Array:
    xp = array_namespace(value)
    return xp.all(xp.isfinite(value), axis=-1)
