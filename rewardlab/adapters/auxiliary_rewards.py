"""Named auxiliary rewards beside an environment's own: what a learned blend, or a figure, takes its components from."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium

from rewardlab.adapters.step_signals import Step, snapshot

__all__ = ["AUXILIARY", "AuxiliaryRewards"]

AUXILIARY = "auxiliary"  # the key of the auxiliary rewards in `info`


class AuxiliaryRewards(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Puts auxiliary rewards into every step's `info["auxiliary"]`, a dict of name -> float; the reward stays as it is.

    The names are the same ones at every step, and the values plain floats, so that gymnasium's vectors hand them on as
    arrays: `infos["auxiliary"]["good"]`, with the mask `infos["auxiliary"]["_good"]`. What an environment inside has
    put there already is kept. A reset has no auxiliary rewards: nothing has happened yet.

    Put it outside `TimeLimit` if a function asks whether a step was `truncated`.

    Args:
        env: The environment, whose reward is the primary one.
        functions: Name -> function of one `Step` that returns a number. A function that remembers earlier steps has a
            method `reset()`, called when an episode begins.

    Raises:
        TypeError: If `functions` is no mapping of names to functions.
        ValueError: At a step, if a function returns anything but one finite number, or the environment inside has an
            auxiliary reward of the same name.

    Example:
        >>> env = AuxiliaryRewards(
        ...     gymnasium.make("CartPole-v1"), {"upright": lambda step: -abs(step.next_observation[2])}
        ... )
        >>> _ = env.reset(seed=0)
        >>> _, reward, _, _, info = env.step(1)
        >>> reward, round(info["auxiliary"]["upright"], 4)
        (1.0, -0.0469)
    """

    def __init__(self, env: gymnasium.Env, functions: Mapping[str, Callable[[Step], float]]) -> None:
        functions = _checked(functions)
        gymnasium.utils.RecordConstructorArgs.__init__(self, functions=functions)
        gymnasium.Wrapper.__init__(self, env)
        self.functions = functions
        self._resets = [function.reset for function in functions.values() if hasattr(function, "reset")]
        self._observation = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        for forget in self._resets:
            forget()
        self._observation, self._steps = snapshot(observation), 0
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step; its auxiliary rewards are in `info["auxiliary"]`."""
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("AuxiliaryRewards: call reset before the first step")
        observation, reward, terminated, truncated, info = self.env.step(action)
        step = Step(self._observation, action, reward, observation, terminated, truncated, info)
        values = dict(info.get(AUXILIARY, ()))
        for name, function in self.functions.items():
            if name in values:
                raise ValueError(f"auxiliary reward {name!r} comes from the environment inside already; rename one")
            values[name] = self._number(name, function, step)
        self._observation = snapshot(observation)
        self._steps += 1
        return observation, reward, terminated, truncated, {**info, AUXILIARY: values}

    def _number(self, name: str, function: Callable[[Step], float], step: Step) -> float:
        try:
            returned = function(step)
        except Exception as error:
            error.add_note(f"raised by auxiliary reward {name!r} at step {self._steps} of the episode")
            raise
        # `shape` and `float` take NumPy's and torch's numbers alike; a one-element list or row is no number.
        if getattr(returned, "shape", ()) == () and not isinstance(returned, str | bytes | complex):
            try:
                value = float(returned)
            except (TypeError, ValueError):
                value = None
            if value is not None and math.isfinite(value):
                return value
        came = f"shape {tuple(shape)}" if (shape := getattr(returned, "shape", ())) else repr(returned)
        where = f"at step {self._steps} of the episode"
        raise ValueError(f"auxiliary reward {name!r} returned {came} {where}, expected one finite number")


def _checked(functions: Mapping[str, Callable[[Step], float]]) -> dict[str, Callable[[Step], float]]:
    if not isinstance(functions, Mapping):
        raise TypeError(f"functions: expected a mapping of names to functions, got {type(functions).__name__}")
    for name, function in functions.items():
        if not isinstance(name, str):
            raise TypeError(f"functions: expected names as keys, got {name!r}")
        if not callable(function):
            raise TypeError(f"functions[{name!r}]: expected a function of a Step, got {type(function).__name__}")
    return dict(functions)
