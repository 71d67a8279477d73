"""Rollouts of a Stable-Baselines3 vector of environments with and without a wrapper at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from rewardlab.adapters.episode_ends import vec_env_ends
from rewardlab.adapters.shaping_rollouts import Moved
from rewardlab.observations import snapshot, take

__all__ = ["VecEnvRollouts"]


class _RecordedVecEnv(VecEnvWrapper):
    """Keeps what the environments answered last."""

    answer: Any = None

    def reset(self) -> Any:
        observations = self.venv.reset()
        self.answer = snapshot(observations)
        return observations

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.answer = (snapshot(observations), rewards.copy(), dones.copy(), infos)
        return observations, rewards, dones, infos


class VecEnvRollouts:
    """Of a Stable-Baselines3 vector. Takes what `EnvRollouts` takes."""

    def __init__(self, env: VecEnv, wrapper: Callable[[Any], Any], seed: int) -> None:
        self._inside = _RecordedVecEnv(env)
        self.environments = env.num_envs
        self.wrapped = wrapper(self._inside)
        self.wrapped.seed(seed)
        self.wrapped.action_space.seed(seed)

    def start(self) -> tuple[Any, list[Any]]:
        """Reset: observations outside, and for each environment the first one inside."""
        outside = self.wrapped.reset()
        return outside, [take(self._inside.answer, i) for i in range(self.environments)]

    def random_action(self) -> Any:
        """An action for each environment."""
        return np.array([self.wrapped.action_space.sample() for _ in range(self.environments)])

    def step(self, actions: Any) -> tuple[Any, list[Moved]]:
        """Take a step: observations outside, and what it did to each environment."""
        outside, shaped, _, infos = self.wrapped.step(actions)
        observations, raw, dones, inner = self._inside.answer
        arrived, terminated, truncated = vec_env_ends(observations, dones, inner)
        moves = []
        for i in range(self.environments):
            ends = bool(terminated[i]), bool(truncated[i])
            move = Moved(float(raw[i]), shaped[i], take(arrived, i), *ends, infos[i])
            move.first = take(observations, i) if dones[i] else None
            moves.append(move)
        return outside, moves
