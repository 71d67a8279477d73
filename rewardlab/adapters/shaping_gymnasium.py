"""Potential-based shaping for gymnasium: one environment, or a vector of them."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from rewardlab.adapters.episode_ends import autoreset_mode, last_observations, refuse_autoreset
from rewardlab.adapters.shaping_goals import TRANSITION, has_goals, relabelled, transition_record
from rewardlab.adapters.step_signals import COMBINED, RAW, SHAPING
from rewardlab.observations import snapshot
from rewardlab.shaping.potential_values import Potential
from rewardlab.shaping.rule import OnTruncation, learner_bootstraps
from rewardlab.shaping.running import RunningBatchShaping, RunningShaping, ShapingSettings

__all__ = ["PotentialShaping", "VectorPotentialShaping", "refuse_nested_shaping"]


class PotentialShaping(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Adds potential-based shaping to an environment's reward: guidance that leaves optimal policies optimal.

    Every step's `info` holds the environment's own reward ("reward/raw", which a reward pipeline inside has put there
    already), what shaping added ("reward/shaping") and the sum ("reward/combined"). Judge by returns of the first:
    shaped ones differ by the first state's potential.

    Put it outside `TimeLimit` (where `gymnasium.make` leaves it anyway), or it takes the last step of a cut episode for
    any other; inside wrappers that change observations, unless the potential should see those; and outside whatever
    clips, normalises or otherwise changes rewards, a `RewardPipeline` too: only what is added last telescopes.

    Potentials that change while the agent learns are evaluated once, on arrival in a state, and kept.

    Args:
        env: The environment.
        potential: Function of one observation that returns one finite number; it is not asked in terminal states.
        discount: The learner's, in [0, 1]: with any other, what is optimal can change.
        on_truncation: What becomes of the potential where an episode is cut: "keep" for learners that bootstrap there
            (those of Stable-Baselines3), "zero" for those that count nothing after it (Monte Carlo returns).
        scale: Multiplies the potential.

    Attributes:
        shaping: The rule at work: potential, discount, and the potential on arrival.

    Raises:
        TypeError, ValueError: If an argument is not what is said above, the environment is inside `Autoreset`, or
            shaping is inside it already. At a step or reset: if the potential is not one finite number.

    Source: Ng, Harada and Russell 1999; Devlin and Kudenko 2012 for potentials that change.

    Example:
        >>> env = PotentialShaping(gymnasium.make("CartPole-v1"), lambda seen: -abs(seen[2]), 0.99)
        >>> _ = env.reset(seed=0)
        >>> reward, _, _, info = env.step(1)[1:]
        >>> [round(info[key], 4) for key in ("reward/raw", "reward/shaping", "reward/combined")]
        [1.0, -0.0005, 0.9995]
    """

    def __init__(
        self,
        env: gymnasium.Env,
        potential: Potential,
        discount: float,
        *,
        on_truncation: OnTruncation = "keep",
        scale: float = 1.0,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, potential=potential, discount=discount, on_truncation=on_truncation, scale=scale
        )
        gymnasium.Wrapper.__init__(self, env)
        refuse_autoreset(env, "PotentialShaping")
        self.shaping = RunningShaping(potential, discount, on_truncation, scale)
        self._goals = has_goals(env.observation_space)
        self._observation: Any = None  # kept only where hindsight replay may ask for it

    @property
    def shaping_settings(self) -> ShapingSettings:
        """What the learner must agree with."""
        return self.shaping.settings

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.shaping.begin(observation)
        if self._goals:
            self._observation = snapshot(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, Any, Any, dict[str, Any]]:
        """Take a step, with the shaping added to its reward."""
        if self.shaping.current is None:
            raise gymnasium.error.ResetNeeded("PotentialShaping: call reset before the first step")
        observation, raw, terminated, truncated, info = self.env.step(action)
        shaping = self.shaping.step(observation, terminated, truncated)
        raw = float(raw)
        shaped = raw + shaping
        if RAW in info:  # before any shaping, a reward pipeline's; or a sign of another shaping
            refuse_nested_shaping(info)
        info = {RAW: raw, **info, SHAPING: shaping, COMBINED: shaped}
        if self._goals:
            bootstraps = learner_bootstraps(terminated, truncated, self.shaping.on_truncation)
            info[TRANSITION] = transition_record(self._observation, observation, bootstraps)
            self._observation = snapshot(observation)
        return observation, shaped, terminated, truncated, info

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """The environment's reward for other goals, by which hindsight replay asks, shaped under those goals.

        Raises:
            AttributeError: If the environment has no rewards for other goals.
            ValueError: If the transitions' records are not in `info` (`HerReplayBuffer` needs `copy_info_dict=True`).
        """
        rewards = self.env.get_wrapper_attr("compute_reward")(achieved_goal, desired_goal, info)
        return relabelled(self.shaping, rewards, desired_goal, info)


class VectorPotentialShaping(VectorWrapper):
    """`PotentialShaping` for a vector of environments.

    The potential is asked for all environments at once if it has a method `batch`, as those of
    `rewardlab.shaping.potentials` have, else for one after the other. `infos` holds the same keys as with
    `PotentialShaping`, as arrays (environments,) with gymnasium's `_key` masks, NaN where the mask is False.

    The end of an episode is told from `metadata["autoreset_mode"]`:

    - NEXT_STEP: the step after the last one only resets. It is no transition: nothing is added to its reward.
    - SAME_STEP: the returned observation begins the next episode; the step is shaped by `infos["final_obs"]`.
    - DISABLED: reset the finished ones with `reset(options={"reset_mask": mask})`.

    Args:
        envs: The vector of environments.
        potential: As in `PotentialShaping`.
        discount: As there.
        on_truncation: As there.
        scale: As there.

    Attributes:
        shaping: The rule at work: potential, discount, and the potential on arrival.

    Raises:
        TypeError, ValueError: As in `PotentialShaping`, or if `metadata` does not say how episodes end.

    Example:
        >>> from rewardlab.shaping.potentials import DistancePotential
        >>> upright = DistancePotential([0.0], indices=[2])
        >>> envs = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        >>> envs = VectorPotentialShaping(envs, upright, 0.99)
        >>> _ = envs.reset(seed=0)
        >>> envs.step(np.array([1, 1]))[1].round(4)
        array([0.9995, 1.0012])
    """

    def __init__(
        self,
        envs: VectorEnv,
        potential: Potential,
        discount: float,
        *,
        on_truncation: OnTruncation = "keep",
        scale: float = 1.0,
    ) -> None:
        super().__init__(envs)
        self.autoreset_mode = autoreset_mode(envs)
        self.shaping = RunningBatchShaping(potential, discount, on_truncation, scale)
        self._resetting = np.zeros(envs.num_envs, dtype=bool)

    @property
    def shaping_settings(self) -> ShapingSettings:
        """What the learner must agree with."""
        return self.shaping.settings

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: in all environments, or in those of `options["reset_mask"]`."""
        mask = (options or {}).get("reset_mask")  # read first: environments take it out of the dict
        observations, infos = self.env.reset(seed=seed, options=options)
        self.shaping.begin(observations, None if mask is None else np.flatnonzero(mask))
        self._resetting[slice(None) if mask is None else mask] = False
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take a step in every environment, with the shaping added to the rewards."""
        if self.shaping.current is None:
            raise gymnasium.error.ResetNeeded("VectorPotentialShaping: call reset before the first step")
        observations, raw, terminated, truncated, infos = self.env.step(actions)
        refuse_nested_shaping(infos)
        done, moved = np.logical_or(terminated, truncated), ~self._resetting
        replaced = self.autoreset_mode is AutoresetMode.SAME_STEP and done.any()
        arrived = last_observations(observations, infos, done) if replaced else observations
        shaping = self.shaping.step(arrived, terminated, truncated, self._resetting)
        if replaced:
            self.shaping.begin(observations, np.flatnonzero(done))
        elif self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._resetting = done
        shaped = raw + shaping
        parts = {SHAPING: shaping, COMBINED: shaped} if RAW in infos else {RAW: raw, SHAPING: shaping, COMBINED: shaped}
        for key, part in parts.items():
            infos = {**infos, key: np.where(moved, part, np.nan), f"_{key}": moved}
        return observations, shaped, terminated, truncated, infos


def refuse_nested_shaping(info: Any) -> None:
    """Refuse to overwrite the record of another shaping inside.

    Raises:
        ValueError: If `info` holds one.
    """
    if SHAPING in info:
        raise ValueError(
            f"info holds {SHAPING!r} already, from potential shaping inside this one; use one, with the sum of the "
            f"potentials"
        )
