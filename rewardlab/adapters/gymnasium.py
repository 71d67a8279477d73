"""Reward pipelines for gymnasium: one environment, or a vector of them."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from rewardlab.adapters.episode_ends import autoreset_mode, last_infos, last_observations, refuse_autoreset
from rewardlab.adapters.shaping_gymnasium import PotentialShaping, VectorPotentialShaping
from rewardlab.adapters.step_signals import (
    RAW,
    Signal,
    SignalPipeline,
    Step,
    each_environment,
    refuse_nested,
    snapshot,
    take,
)
from rewardlab.transforms import Pipeline

__all__ = [
    "PotentialShaping",
    "RewardPipeline",
    "Signal",
    "Step",
    "VectorPotentialShaping",
    "VectorRewardPipeline",
    "each_environment",
]


class RewardPipeline(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Replaces an environment's reward by what a pipeline makes of several named signals.

    Every step's `info` holds the environment's own reward ("reward/raw"), each signal after each stage
    ("reward/<signal>/<stage>", left out where the signal returned None) and the reward handed on ("reward/combined").

    Put it outside `TimeLimit` (where `gymnasium.make` leaves it anyway), or no step is ever `truncated`, and inside
    wrappers that change observations unless the signals should see those. `RecordEpisodeStatistics` inside reports
    the environment's own return, outside the pipeline's.

    Mind what a constant does: where episodes end at different times, utilities below 0 at every step (`LogSigmoid`) pay
    for ending early, and `Centre` or `RunningStandardise`, harmless where all episodes are equally long, shift that
    balance.

    Args:
        env: The environment.
        signals: Name -> function of one `Step` that returns a number, or None where the signal does not apply.
            The names are the pipeline's.
        pipeline: How the signals are transformed and combined. Must not need groups or references.

    Attributes:
        training: Whether running statistics in the pipeline follow the steps (True at first); False freezes them.

    Raises:
        ValueError: If signals and pipeline do not fit together, or the environment is inside `Autoreset`, whose reset
            steps are no transitions. At a step: if no signal applies, or another reward pipeline is inside.

    Example:
        >>> from rewardlab.transforms import Pipeline, WeightedSum, chain
        >>> env = RewardPipeline(
        ...     gymnasium.make("CartPole-v1"),
        ...     {"alive": lambda step: step.reward, "upright": lambda step: -abs(step.next_observation[2])},
        ...     Pipeline({"alive": chain(), "upright": chain()}, combine=WeightedSum({"alive": 1.0, "upright": 10.0})),
        ... )
        >>> _ = env.reset(seed=0)
        >>> reward, _, _, info = env.step(1)[1:]
        >>> [round(value, 3) for value in (info["reward/raw"], info["reward/upright/raw"], reward)]
        [1.0, -0.047, 0.531]
    """

    def __init__(self, env: gymnasium.Env, signals: Mapping[str, Signal], pipeline: Pipeline) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, signals=dict(signals), pipeline=pipeline)
        gymnasium.Wrapper.__init__(self, env)
        refuse_autoreset(env, "RewardPipeline")
        self.training = True
        self._rewards = SignalPipeline(signals, pipeline)
        self._observation = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, with its running statistics."""
        return self._rewards.pipeline

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._observation = snapshot(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step, with the pipeline's reward in place of the environment's."""
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("RewardPipeline: call reset before the first step")
        observation, raw, terminated, truncated, info = self.env.step(action)
        refuse_nested(info)
        raw = float(raw)
        step = Step(self._observation, action, raw, observation, terminated, truncated, info)
        rewards, stages = self._rewards(step, update=self.training)
        self._observation = snapshot(observation)
        values = {key: value for key, stage in stages.items() if (value := float(stage[0])) == value}  # NaN: left out
        return observation, float(rewards[0]), terminated, truncated, {**info, **values}

    def state_dict(self) -> dict[str, Any]:
        """The pipeline's running statistics, ready for JSON."""
        return self.pipeline.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.pipeline.load_state_dict(state)


class VectorRewardPipeline(VectorWrapper):
    """`RewardPipeline` for a vector of environments: the signals take all of them at once.

    Every array of a `Step` has a leading axis of environments and a signal returns one value for each
    (NaN, or None in a list, where it does not apply); `each_environment` turns a function of one step into such a one.
    `infos` holds the same keys as `RewardPipeline`, as arrays (environments,) with gymnasium's `_key` masks, NaN where
    the mask is False.

    The end of an episode is told from `metadata["autoreset_mode"]`:

    - NEXT_STEP: the step after the last one only resets. It is no transition: the reward is 0, its row is left out of
      the `Step` that the signals see, and no statistics are updated with it.
    - SAME_STEP: the returned observation begins the next episode; the signals see `final_obs` and `final_info`.
    - DISABLED: nothing special; reset the finished ones with `reset(options={"reset_mask": mask})`.

    Args:
        envs: The vector of environments.
        signals: Name -> function of a `Step` of several environments. The names are the pipeline's.
        pipeline: How the signals are transformed and combined. Must not need groups or references.

    Attributes:
        training: Whether running statistics in the pipeline follow the steps (True at first); False freezes them.

    Raises:
        ValueError: If signals and pipeline do not fit together, or `metadata` does not say how episodes end. At a
            step: if no signal applies to an environment, or another reward pipeline is inside.

    Example:
        >>> from rewardlab.transforms import Pipeline, chain
        >>> envs = VectorRewardPipeline(
        ...     gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"),
        ...     {"upright": lambda step: -np.abs(step.next_observation[:, 2])},
        ...     Pipeline({"upright": chain()}),
        ... )
        >>> _ = envs.reset(seed=0)
        >>> envs.step(np.array([1, 1]))[1].round(3)
        array([-0.047, -0.035])
    """

    def __init__(self, envs: VectorEnv, signals: Mapping[str, Signal], pipeline: Pipeline) -> None:
        super().__init__(envs)
        self.training = True
        self.autoreset_mode = autoreset_mode(envs)
        self._rewards = SignalPipeline(signals, pipeline)
        self._observations = None
        self._resetting = np.zeros(envs.num_envs, dtype=bool)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, with its running statistics."""
        return self._rewards.pipeline

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: in all environments, or in those of `options["reset_mask"]`."""
        mask = (options or {}).get("reset_mask")  # read first: environments take it out of the dict
        observations, infos = self.env.reset(seed=seed, options=options)
        self._observations = snapshot(observations)
        self._resetting[slice(None) if mask is None else mask] = False
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take a step in every environment, with the pipeline's rewards in place of the environments'."""
        if self._observations is None:
            raise gymnasium.error.ResetNeeded("VectorRewardPipeline: call reset before the first step")
        observations, raw, terminated, truncated, infos = self.env.step(actions)
        refuse_nested(infos)
        done = np.logical_or(terminated, truncated)
        arrived, own_infos = observations, infos
        if self.autoreset_mode is AutoresetMode.SAME_STEP and done.any():
            arrived, own_infos = last_observations(observations, infos, done), last_infos(infos, done)
        step = Step(
            self._observations,
            actions,
            np.asarray(raw),
            arrived,
            terminated,
            truncated,
            own_infos,
            np.arange(len(done)),
        )
        rewards, stages = self._active_rewards(step)
        self._observations = snapshot(observations)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._resetting = done
        return observations, rewards, terminated, truncated, {**infos, **_with_masks(stages)}

    def state_dict(self) -> dict[str, Any]:
        """The pipeline's running statistics, ready for JSON."""
        return self.pipeline.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.pipeline.load_state_dict(state)

    def _active_rewards(self, step: Step) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards and stages of the environments that made a transition; 0 and NaN for those that only reset."""
        if not self._resetting.any():
            return self._rewards(step, update=self.training)
        count, rows = self.num_envs, np.flatnonzero(~self._resetting)
        if not len(rows):
            return np.zeros(count), {RAW: np.full(count, np.nan)}
        rewards, stages = self._rewards(_rows_of(step, rows, count), update=self.training)
        return _spread(rewards, rows, count, 0.0), {k: _spread(v, rows, count, np.nan) for k, v in stages.items()}


def _rows_of(step: Step, rows: np.ndarray, count: int) -> Step:
    return Step(
        observation=take(step.observation, rows),
        action=take(step.action, rows),
        reward=step.reward[rows],
        next_observation=take(step.next_observation, rows),
        terminated=step.terminated[rows],
        truncated=step.truncated[rows],
        info=_info_rows(step.info, rows, count),
        environments=rows,
    )


def _info_rows(info: Mapping[str, Any], rows: np.ndarray, count: int) -> dict[str, Any]:
    """The rows of every array in a vector's info that has one for each environment."""
    part = {}
    for key, value in info.items():
        if isinstance(value, Mapping):
            part[key] = _info_rows(value, rows, count)
        else:
            part[key] = value[rows] if isinstance(value, np.ndarray) and value.shape[:1] == (count,) else value
    return part


def _spread(values: np.ndarray, rows: np.ndarray, count: int, elsewhere: float) -> np.ndarray:
    full = np.full(count, elsewhere)
    full[rows] = values
    return full


def _with_masks(stages: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**stages, **{f"_{key}": ~np.isnan(stage) for key, stage in stages.items()}}
