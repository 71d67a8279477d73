"""Episodes of a policy in a gymnasium environment, with what the environment reports checked on the way."""

import math
import numbers
from collections.abc import Sequence

import numpy as np

from rewardlab.shaping.sampled.episodes import Episode
from rewardlab.shaping.sampled.policies import GaussianPolicy, Policy, SoftmaxPolicy

__all__ = ["Rollout"]


class Rollout:
    """Runs episodes and reads the auxiliary rewards from `info["auxiliary"]`.

    Args:
        env: A gymnasium environment with discrete or box actions and observations, whose `info` of every step has
            under "auxiliary" a dict from names to numbers.
        policy: The policy that acts. Box actions are clipped to the box before the environment sees them; the
            policy's own draw is what is kept.
        auxiliary: Names of the auxiliary rewards used, in order; none needs no `info["auxiliary"]`.
        horizon: Most steps of an episode; None: the time limit of the environment, of its specification or as its
            attribute `horizon`.

    Raises:
        TypeError: If a space is neither discrete nor a box of one dimension, or the policy does not suit the actions.
        ValueError: If there is neither a horizon nor a time limit, or the policy has another number of actions or of
            dimensions.
    """

    def __init__(self, env, policy: Policy, auxiliary: Sequence[str] = (), horizon: int | None = None):
        self.env, self.policy, self.auxiliary = env, policy, tuple(auxiliary)
        self.horizon = (
            horizon or getattr(env.spec, "max_episode_steps", None) or getattr(env.unwrapped, "horizon", None)
        )
        if self.horizon is None:
            raise ValueError("the environment has no time limit: give horizon, the most steps of an episode")
        self.first, self.low, self.high = self._action_space(env.action_space, policy)
        self.discrete = _is_discrete("observation", env.observation_space)

    def run(self, seed: int, generator: np.random.Generator, *, number: int = 0) -> Episode:
        """One episode.

        Args:
            seed: For `env.reset`.
            generator: Where the policy's randomness comes from.
            number: Of the episode, for messages.

        Raises:
            ValueError: If an auxiliary reward is missing, not one number, NaN or infinite; or the primary one is.
        """
        observation, _ = self.env.reset(seed=seed)
        steps: tuple[list, list, list, list] = ([], [], [], [])
        env_step, act, names, first = self.env.step, self.policy.act, self.auxiliary, self.first
        observations, actions, primary, auxiliary = steps
        terminated = truncated = False
        while not (terminated or truncated or len(primary) == self.horizon):
            row = self._row(observation)
            action = act(row, generator)
            given = action + first if self.low is None else np.clip(action, self.low, self.high).astype(np.float32)
            observation, reward, terminated, truncated, info = env_step(given)
            observations.append(row)
            actions.append(action)
            primary.append(reward)
            if names:
                auxiliary.append(self._auxiliary(info, number, len(primary) - 1))
        self._check(primary, auxiliary, number)
        return Episode(
            np.array(observations, float),
            np.array(actions),
            np.array(primary, float),
            np.array(auxiliary, float).reshape(len(primary), len(names)),
            bool(terminated),
        )

    def _row(self, observation) -> np.ndarray:
        return np.array([observation], float) if self.discrete else np.array(observation, float).reshape(-1)

    def _auxiliary(self, info: dict, number: int, step: int) -> list:
        try:
            found = info["auxiliary"]
            return [found[name] for name in self.auxiliary]
        except (KeyError, TypeError, IndexError):
            pass
        place = f"episode {number}, step {step}"
        if not isinstance(info, dict) or not isinstance(info.get("auxiliary"), dict):
            kind = "nothing" if "auxiliary" not in info else f"a {type(info['auxiliary']).__name__}"
            raise ValueError(
                f"{place}: info['auxiliary'] is {kind}, expected a dict from names to numbers; "
                f"rewardlab.adapters.auxiliary_rewards puts one there"
            )
        missing = [name for name in self.auxiliary if name not in found]
        raise ValueError(f"{place}: info['auxiliary'] has {sorted(found)}, not {missing[0]!r}; put it there")

    def _check(self, primary: list, auxiliary: list, number: int) -> None:
        columns = {"the primary reward": primary}
        columns |= {f"auxiliary {name!r}": [row[k] for row in auxiliary] for k, name in enumerate(self.auxiliary)}
        for name, column in columns.items():
            for step, value in enumerate(column):
                if isinstance(value, np.ndarray) and value.shape == ():
                    value = value.item()
                if not isinstance(value, numbers.Real):
                    kind = f"has shape {np.shape(value)}" if np.ndim(value) else f"is {value!r}"
                    raise ValueError(f"episode {number}, step {step}: {name} {kind}, expected one number")
                if not math.isfinite(value):
                    raise ValueError(f"episode {number}, step {step}: {name} is {value}, expected a finite number")

    @staticmethod
    def _action_space(space, policy: Policy):
        discrete = _is_discrete("action", space)
        if discrete != isinstance(policy, SoftmaxPolicy) or discrete == isinstance(policy, GaussianPolicy):
            raise TypeError(
                f"actions are {space}: expected a {'SoftmaxPolicy' if discrete else 'GaussianPolicy'}, "
                f"got a {type(policy).__name__}"
            )
        count, name = (int(space.n), "actions") if discrete else (space.shape[0], "dimensions")
        if getattr(policy, name) != count:
            raise ValueError(f"the policy has {getattr(policy, name)} {name}, the environment {count}")
        return (int(space.start), None, None) if discrete else (0, space.low, space.high)


def _is_discrete(kind: str, space) -> bool:
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return True
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return False
    raise TypeError(f"{kind} space is {space}, expected Discrete or a Box of one dimension")
