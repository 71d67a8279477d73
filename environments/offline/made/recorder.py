"""Everything that passes through an environment, as a transition table with true next observations and true ends."""

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from rewardlab.transition_table import TransitionTable

__all__ = ["EpisodeRecorder"]


@dataclass
class _Episode:
    seed: int | None
    observations: list[np.ndarray]
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminal: bool = False
    timeout: bool = False

    def columns(self) -> dict[str, np.ndarray]:
        length = len(self.rewards)
        last = np.arange(length) == length - 1
        return {
            "observations": np.stack(self.observations[:-1]),
            "actions": np.stack(self.actions),
            "rewards": np.array(self.rewards, dtype=np.float32),
            "next_observations": np.stack(self.observations[1:]),
            "terminals": last & self.terminal,
            "timeouts": last & self.timeout,
            "steps": np.arange(length),
            "next_valid": np.ones(length, dtype=bool),
        }


class EpisodeRecorder(gymnasium.Wrapper):
    """Keeps what the environment itself said: put it inside whatever resets, scales or normalises.

    A learner's vector of environments resets at once where an episode ends, and hands the first observation of the
    next; here the last observation is that of the step. Where an environment both terminates and is cut, it terminated.

    Args:
        env: With flat `Box` observations and actions.

    Raises:
        TypeError: If a space is another.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        for name in ("observation_space", "action_space"):
            space = getattr(env, name)
            if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
                raise TypeError(f"{name} is {space}, expected a Box of one axis")
        super().__init__(env)
        self._episodes: list[_Episode] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._episodes and not self._episodes[-1].rewards:  # never stepped in
            self._episodes.pop()
        self._episodes.append(_Episode(seed, [_once(observation)]))
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        episode = self._episodes[-1]
        episode.observations.append(_once(observation))
        episode.actions.append(_once(action))
        episode.rewards.append(float(reward))
        episode.terminal, episode.timeout = bool(terminated), bool(truncated and not terminated)
        return observation, reward, terminated, truncated, info

    @property
    def rows(self) -> int:
        """Steps recorded."""
        return sum(len(episode.rewards) for episode in self._episodes)

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """Of each recorded episode's reset; None where it went on from the one before."""
        return tuple(episode.seed for episode in self._episodes if episode.rewards)

    def table(self) -> TransitionTable:
        """What was recorded; the last episode may be open.

        Raises:
            ValueError: If nothing was recorded, or the environment gave a number that is not finite.
        """
        episodes = [episode for episode in self._episodes if episode.rewards]
        if not episodes:
            raise ValueError("nothing was recorded: no step was taken")
        columns = [episode.columns() for episode in episodes]
        joined = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
        ids = np.repeat(np.arange(len(episodes)), [len(episode.rewards) for episode in episodes])
        return TransitionTable(**joined, episode_ids=ids)


def _once(array: Any) -> np.ndarray:
    """A copy, float32: environments may write the next observation into the same memory."""
    return np.array(array, dtype=np.float32)
