"""The refrigerator: a room kept cold by a compressor, whose law is known exactly, and whose sensor and door disturb.

Temperatures are in degrees, a step is one unit of time, and an action is the compressor's power, degrees a step.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace, is_array
from rewardlab.checks import as_generator, check_choice, check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = [
    "PUBLISHED",
    "SIMPLIFIED",
    "Refrigerator",
    "RefrigeratorSet",
    "behaviour_action",
    "door_openings",
    "make_refrigerator_set",
    "next_temperature",
    "refrigerator_points",
    "refrigerator_reward",
]

OUTDOORS = 15.0
TARGET = -2.0
_LEAK_CLOSED, _LEAK_OPEN = 0.02, 0.08  # share of the difference to outdoors that is lost in a step
_GAIN, _SET_POINT = 0.2, TARGET - 1.75  # the recorded controller aims below the target, since it only reacts
_BLOCK, _OPEN_STEPS = 200, 20  # at most one opening of 20 steps in each 200

Region = Literal["in", "ood_a", "ood_sa"]


@dataclass(frozen=True)
class Refrigerator:
    """What disturbs a refrigerator, and how its recorded controller explores.

    Args:
        process_noise: Standard deviation added to the temperature itself at each step, degrees, at least 0.
        sensor_noise: Standard deviation of what the sensor adds to the temperature it shows, degrees, at least 0. The
            controller acts on what the sensor shows.
        action_noise: Standard deviation added to the controller's power, at least 0.
        door: Whether the door is opened now and then; see `door_openings`.
        initial: Interval from which an episode's first temperature is drawn, uniformly.

    Raises:
        TypeError, ValueError: If a number is out of range.
    """

    process_noise: float = 0.0
    sensor_noise: float = 0.1
    action_noise: float = 0.1
    door: bool = True
    initial: tuple[float, float] = (10.0, 10.0)

    def __post_init__(self) -> None:
        for name in ("process_noise", "sensor_noise", "action_noise"):
            check_scalar(name, getattr(self, name), low=0)
        low, high = self.initial
        check_scalar("initial[1]", high, low=check_scalar("initial[0]", low))


PUBLISHED = Refrigerator()
"""As in the public data file of 2000 steps (polixir/revive): sensor noise and door openings, starting at 10 degrees."""

SIMPLIFIED = Refrigerator(process_noise=0.05, sensor_noise=0.0, door=False, initial=(5.0, 12.0))
"""For one-step errors against an observable truth: the temperature itself is seen and is a little noisy, no door."""


@dataclass(frozen=True, eq=False)
class RefrigeratorSet:
    """A recording, and what the recording does not show.

    Attributes:
        table: Observed temperature `(N, 1)`, power `(N, 1)`, reward of the observed next temperature; every episode
            ends by timeout.
        temperatures: `(N,)` true temperature before each step, float64.
        door_open: `(N,)` whether the door was open during the step.
    """

    table: TransitionTable
    temperatures: Float[np.ndarray, " n"]
    door_open: Bool[np.ndarray, " n"]


def next_temperature(temperature: Array, action: Array, door_open: Array | bool = False) -> Array:
    """True temperature a step later, without noise: the power is taken off, then warmth leaks in from 15 degrees.

    Closed 0.98 (T - a) + 0.3, open 0.92 (T - a) + 1.2, with a power below 0 counted as 0.

    Args:
        temperature: Any shape, NumPy, torch or a number.
        action: Power, broadcast against it.
        door_open: Likewise, boolean.

    Source:
        The simulator of polixir/revive's refrigerator example, with dt = 1. The paper's own constants (arXiv
        2310.05422) could not be read; its official loader names a file of this task's size with a binary hidden input.

    Example:
        >>> round(float(next_temperature(10.0, 2.825)), 4), round(float(next_temperature(10.0, 2.825, True)), 4)
        (7.3315, 7.801)
    """
    temperature, action, door_open = _together(temperature, action, door_open)
    xp = array_namespace(temperature)
    cooled = temperature - xp.clip(action, 0, None)
    leak = xp.where(door_open, xp.full_like(cooled, _LEAK_OPEN), xp.full_like(cooled, _LEAK_CLOSED))
    return cooled - leak * (cooled - OUTDOORS)


def behaviour_action(observed: Array, noise: Array | float = 0.0) -> Array:
    """Power of the recorded controller, max(0, 0.2 (T + 3.75) + noise), for what the sensor shows."""
    (observed,) = _together(observed)
    return array_namespace(observed).clip(_GAIN * (observed - _SET_POINT) + noise, 0, None)


def refrigerator_reward(next_observed: Array) -> Array:
    """Reward -|T' + 2| of the observed next temperature: power is free."""
    (next_observed,) = _together(next_observed)
    return -array_namespace(next_observed).abs(next_observed - TARGET)


def door_openings(length: int, rng: int | np.random.Generator) -> Bool[np.ndarray, " length"]:
    """When the door is open: once it has been decided, one opening of 20 steps in every 200, at a random place.

    At the first step of each block a coin decides to open the door, and no later coin takes that back. Blocks of 200
    with an opening thus come after a few without: 9 of the 10 blocks of the public recording have one (share 0.09),
    where a coin for each block would leave half of them without (share 0.05).

    Source:
        The sampling loop of polixir/revive's refrigerator example, which never resets its flag.
    """
    check_scalar("length", length, low=1, whole=True)
    generator = as_generator(rng)
    opened, door = False, np.zeros(length, dtype=bool)
    for block in range(0, length, _BLOCK):
        opened = opened or generator.random() < 0.5
        start = block + int(generator.integers(0, _BLOCK - _OPEN_STEPS, endpoint=True))
        door[start : start + _OPEN_STEPS] = opened
    return door


def make_refrigerator_set(
    refrigerator: Refrigerator = PUBLISHED,
    *,
    episodes: int = 1,
    length: int = 2000,
    rng: int | np.random.Generator,
) -> RefrigeratorSet:
    """Record the controller of `behaviour_action`.

    Args:
        refrigerator: `PUBLISHED`, `SIMPLIFIED` or any other.
        episodes: At least 1; all of one length.
        length: Steps of each, at least 1.
        rng: Seed or generator.

    Raises:
        TypeError, ValueError: If a number is out of range.

    Example:
        >>> made = make_refrigerator_set(SIMPLIFIED, episodes=20, length=100, rng=0)
        >>> made.table.observations.shape, bool(made.door_open.any())
        ((2000, 1), False)
    """
    check_scalar("episodes", episodes, low=1, whole=True)
    check_scalar("length", length, low=1, whole=True)
    draw = as_generator(rng)
    door = np.zeros((episodes, length), dtype=bool)
    if refrigerator.door:
        door = np.stack([door_openings(length, draw) for _ in range(episodes)])
    true, shown = np.empty((2, episodes, length + 1))
    actions = np.empty((episodes, length))
    true[:, 0] = draw.uniform(*refrigerator.initial, size=episodes)
    shown[:, 0] = true[:, 0] + refrigerator.sensor_noise * draw.standard_normal(episodes)
    for step in range(length):
        exploring, process, sensor = draw.standard_normal((3, episodes))
        actions[:, step] = behaviour_action(shown[:, step], refrigerator.action_noise * exploring)
        law = next_temperature(true[:, step], actions[:, step], door[:, step])
        true[:, step + 1] = law + refrigerator.process_noise * process
        shown[:, step + 1] = true[:, step + 1] + refrigerator.sensor_noise * sensor
    return RefrigeratorSet(_table(shown, actions), true[:, :-1].ravel(), door.ravel())


def refrigerator_points(
    region: Region, count: int, rng: int | np.random.Generator
) -> tuple[Float[np.ndarray, "count 1"], Float[np.ndarray, "count 1"]]:
    """Temperatures and powers, `(count, 1)` float32 each, at which to test a model of `SIMPLIFIED`.

    Args:
        region: "in": as recorded, from episodes of 100 steps; "ood_a": powers that the controller does not choose,
            T ~ U(-3, 12) and a ~ U(0, 3); "ood_sa": temperatures not visited either, T ~ U(-8, 20) and a ~ U(0, 4.5).
        count: At least 1.
        rng: Seed or generator.

    Raises:
        TypeError, ValueError: If an argument is out of range.
    """
    check_choice("region", region, ("in", "ood_a", "ood_sa"))
    check_scalar("count", count, low=1, whole=True)
    draw = as_generator(rng)
    if region == "in":
        table = make_refrigerator_set(SIMPLIFIED, episodes=-(-count // 100), length=100, rng=draw).table
        chosen = draw.permutation(len(table))[:count]
        return table.observations[chosen], table.actions[chosen]
    (low, high), power = ((-3.0, 12.0), 3.0) if region == "ood_a" else ((-8.0, 20.0), 4.5)
    temperatures, actions = draw.uniform(low, high, (count, 1)), draw.uniform(0.0, power, (count, 1))
    return temperatures.astype(np.float32), actions.astype(np.float32)


def _table(shown: np.ndarray, actions: np.ndarray) -> TransitionTable:
    episodes, length = actions.shape
    shown = shown.astype(np.float32)
    timeouts = np.zeros((episodes, length), dtype=bool)
    timeouts[:, -1] = True
    return TransitionTable(
        observations=shown[:, :-1].reshape(-1, 1),
        actions=actions.astype(np.float32).reshape(-1, 1),
        rewards=refrigerator_reward(shown[:, 1:]).ravel(),
        next_observations=shown[:, 1:].reshape(-1, 1),
        terminals=np.zeros(episodes * length, dtype=bool),
        timeouts=timeouts.ravel(),
        episode_ids=np.repeat(np.arange(episodes), length),
        steps=np.tile(np.arange(length), episodes),
        next_valid=np.ones(episodes * length, dtype=bool),
    )


def _together(*values: object) -> tuple[Array, ...]:
    """Numbers and flags as arrays of the library of those that are arrays."""
    arrays = [value for value in values if is_array(value)]
    if not arrays:
        return tuple(np.asarray(value) for value in values)
    xp, device = array_namespace(arrays[0]), arrays[0].device
    return tuple(value if is_array(value) else xp.asarray(value, device=device) for value in values)
