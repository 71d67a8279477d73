"""Rollouts of environments with and without a wrapper at once, step by step: the wrapped one runs on the bare one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from rewardlab.adapters.episode_ends import autoreset_mode, last_observations
from rewardlab.observations import snapshot, take

__all__ = ["EnvRollouts", "Moved", "VectorRollouts"]


@dataclass(slots=True)
class Moved:
    """What one step did to one environment, inside the wrapper and outside.

    Attributes:
        raw: Reward inside the wrapper.
        shaped: Reward outside.
        arrived: The observation inside that the step led to: at the end of an episode, its last.
        terminated: Whether the episode ended in a terminal state.
        truncated: Whether it was cut.
        info: The environment's info outside the wrapper.
        first: The next episode's first observation, where one has begun.
        only_reset: Whether the step was no transition but the beginning of an episode.
    """

    raw: float
    shaped: Any
    arrived: Any
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    first: Any = None
    only_reset: bool = False


class _Recorded(gymnasium.Wrapper):
    """Keeps what the environment answered last."""

    answer: Any = None
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self.answer = snapshot(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        result = self.env.step(action)
        self.answer = (snapshot(result[0]), float(result[1]), bool(result[2]), bool(result[3]))
        self.steps += 1
        return result


class EnvRollouts:
    """Of one environment.

    Args:
        env: The bare environment.
        wrapper: Function of it that returns the wrapped one.
        seed: Of its first reset and of its actions.
    """

    environments = 1

    def __init__(self, env: gymnasium.Env, wrapper: Callable[[Any], Any], seed: int) -> None:
        self._inside = _Recorded(env)
        self.wrapped = wrapper(self._inside)
        self._seed: int | None = seed
        self.wrapped.action_space.seed(seed)
        self._steps, self._done = 0, False

    def start(self) -> tuple[Any, list[Any]]:
        """Reset: observations outside, and for each environment the first one inside."""
        outside, _ = self.wrapped.reset(seed=self._seed)
        self._seed, self._steps, self._done = None, self._inside.steps, False
        return outside, [self._inside.answer]

    def random_action(self) -> Any:
        """An action, or one for each environment."""
        return self.wrapped.action_space.sample()

    def step(self, action: Any) -> tuple[Any, list[Moved]]:
        """Take a step, and reset what has ended: observations outside, and what it did to each environment.

        Raises:
            ValueError: If the wrapper took another number of steps inside, or hid the end of an episode.
        """
        outside, shaped, terminated, truncated, info = self.wrapped.step(action)
        self._steps += 1
        if self._inside.steps != self._steps:
            raise ValueError(
                f"one step outside the wrapper was {self._inside.steps - self._steps + 1} inside, expected one: put "
                f"what repeats actions into the environment"
            )
        moved = Moved(*self._inside.answer[1:2], shaped, self._inside.answer[0], *self._inside.answer[2:], info)
        if (moved.terminated, moved.truncated) != (terminated, truncated):
            raise ValueError(
                f"inside the wrapper the step is terminated={moved.terminated}, truncated={moved.truncated}, outside "
                f"terminated={bool(terminated)}, truncated={bool(truncated)}: put what ends episodes, such as "
                f"TimeLimit, into the environment"
            )
        if terminated or truncated:
            outside, firsts = self.start()
            moved.first = firsts[0]
        return outside, [moved]


class _RecordedVector(VectorWrapper):
    """Keeps what the environments answered last."""

    answer: Any = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observations, infos = self.env.reset(seed=seed, options=options)
        self.answer = snapshot(observations)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self.answer = (snapshot(observations), rewards.copy(), terminated, truncated, infos)
        return observations, rewards, terminated, truncated, infos


class VectorRollouts:
    """Of a vector of gymnasium environments, in every autoreset mode. Takes what `EnvRollouts` takes."""

    def __init__(self, env: VectorEnv, wrapper: Callable[[Any], Any], seed: int) -> None:
        self._inside = _RecordedVector(env)
        self._mode = autoreset_mode(env)
        self.environments = env.num_envs
        self.wrapped = wrapper(self._inside)
        self._seed = seed
        self.wrapped.action_space.seed(seed)
        self._resetting = np.zeros(env.num_envs, dtype=bool)

    def start(self) -> tuple[Any, list[Any]]:
        """Reset: observations outside, and for each environment the first one inside."""
        outside, _ = self.wrapped.reset(seed=self._seed)
        return outside, [take(self._inside.answer, i) for i in range(self.environments)]

    def random_action(self) -> Any:
        """An action for each environment."""
        return self.wrapped.action_space.sample()

    def step(self, actions: Any) -> tuple[Any, list[Moved]]:
        """Take a step, and reset what has ended: observations outside, and what it did to each environment."""
        outside, shaped, _, _, infos = self.wrapped.step(actions)
        observations, raw, terminated, truncated, inner = self._inside.answer
        done = terminated | truncated
        same_step = self._mode is AutoresetMode.SAME_STEP and done.any()
        arrived = last_observations(observations, inner, done) if same_step else observations
        if self._mode is AutoresetMode.DISABLED and done.any():
            outside, _ = self.wrapped.reset(options={"reset_mask": done.copy()})
            observations = self._inside.answer
        moves = []
        for i in range(self.environments):
            ends = bool(terminated[i]), bool(truncated[i])
            info = {key: value[i] for key, value in infos.items() if isinstance(value, np.ndarray)}
            move = Moved(float(raw[i]), shaped[i], take(arrived, i), *ends, info, only_reset=bool(self._resetting[i]))
            if move.only_reset or (done[i] and self._mode is not AutoresetMode.NEXT_STEP):
                move.first = take(observations, i)
            moves.append(move)
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = done
        return outside, moves
