"""Reward pipelines for Stable-Baselines3, and the log of every stage in TensorBoard."""

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize, unwrap_vec_wrapper
except ModuleNotFoundError as error:
    if error.name != "stable_baselines3":
        raise
    raise ModuleNotFoundError(
        "rewardlab.adapters.stable_baselines3 needs Stable-Baselines3: pip install 'rewardlab[sb3]'", name=error.name
    ) from error

from rewardlab.adapters.episode_ends import vec_env_ends
from rewardlab.adapters.shaping_stable_baselines3 import DiscountCheck, VecPotentialShaping
from rewardlab.adapters.step_signals import (
    RAW,
    Signal,
    SignalPipeline,
    Step,
    each_environment,
    refuse_nested,
    snapshot,
)
from rewardlab.transforms import Pipeline

__all__ = [
    "DiscountCheck",
    "RewardStages",
    "Signal",
    "Step",
    "VecPotentialShaping",
    "VecRewardPipeline",
    "each_environment",
]

_PIPELINE_FILE, _STATE_FILE = "pipeline.toml", "state.json"
_LONGEST_CONSOLE_KEY = 36  # the console cuts longer keys, and training dies when two are cut to the same


class VecRewardPipeline(VecEnvWrapper):
    """Replaces the rewards of a vector of environments by what a pipeline makes of several named signals.

    A signal takes the `Step` of all environments at once, every array with a leading axis of environments, and returns
    one value for each (NaN, or None in a list, where it does not apply); `each_environment` turns a function of one
    step into such a one. At the end of an episode the signals see the last observation, not the reset one, and whether
    it `terminated` or was `truncated`: a potential is 0 where the learner does not bootstrap, which is at termination.

    Each environment's info holds its own reward ("reward/raw"). `stages` holds the rest of the last step as arrays:
    each signal after each stage ("reward/<signal>/<stage>") and the reward handed on ("reward/combined"). Copied into
    every info they would cost a third of the wrapper's time.

    Mind what a constant does: where episodes end at different times, utilities below 0 at every step (`LogSigmoid`) pay
    for ending early, and `Centre` or `RunningStandardise`, harmless where all episodes are equally long, shift that
    balance.

    Order. Inside `VecNormalize` is the place that is always right: `VecNormalize(VecRewardPipeline(venv, ...))`.
    Outside it the signals see normalised observations and rewards, which suits PPO and A2C; but SAC, TD3, DQN and the
    like store the reward that `VecNormalize` itself received and never see the pipeline's (a warning says so).
    `Monitor`, which `make_vec_env` puts around each environment, is inside: `rollout/ep_rew_mean` and `evaluate_policy`
    report the environment's own, unshaped return. That is the one to judge by; `RewardStages` logs the others.
    `EvalCallback` wants its environment wrapped alike; set `training = False` there.

    Args:
        venv: The vector of environments.
        signals: Name -> function of a `Step`. The names are the pipeline's.
        pipeline: How the signals are transformed and combined. Must not need groups or references.

    Attributes:
        training: Whether running statistics in the pipeline follow the steps (True at first); False freezes them, as in
            `VecNormalize`. Each wrapper has its own switch.
        stages: Every stage's values at the last step, (environments,) with NaN where a signal does not apply.

    Raises:
        ValueError: If signals and pipeline do not fit together. At a step: if no signal applies to an environment, or
            another reward pipeline is inside.

    Example:
        >>> from rewardlab.transforms import Minimum, Pipeline, Scale, Sigmoid, chain
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> venv = VecRewardPipeline(
        ...     make_vec_env("CartPole-v1", n_envs=2, seed=0),
        ...     {"upright": lambda step: 0.1 - np.abs(step.next_observation[:, 2]),
        ...      "centred": lambda step: 1.0 - np.abs(step.next_observation[:, 0])},
        ...     Pipeline({"upright": chain(Scale(20.0), Sigmoid()), "centred": Sigmoid()}, combine=Minimum()),
        ... )
        >>> _ = venv.reset()
        >>> venv.step(np.array([1, 1]))[1].round(3)
        array([0.728, 0.731], dtype=float32)
    """

    def __init__(self, venv: VecEnv, signals: Mapping[str, Signal], pipeline: Pipeline) -> None:
        if not isinstance(venv, VecEnv):
            raise TypeError(
                f"venv: expected a vector of environments, as make_vec_env gives, got {type(venv).__name__}; "
                f"rewardlab.adapters.gymnasium.RewardPipeline is for a single one"
            )
        super().__init__(venv)
        if unwrap_vec_wrapper(venv, VecNormalize) is not None:
            warnings.warn(_OUTSIDE_VEC_NORMALIZE, UserWarning, stacklevel=2)
        self.training = True
        self.stages: dict[str, np.ndarray] = {}
        self._rewards = SignalPipeline(signals, pipeline)
        self._environments = np.arange(venv.num_envs)
        self._observations: Any = None
        self._actions: Any = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, with its running statistics."""
        return self._rewards.pipeline

    def reset(self) -> Any:
        """Begin an episode in every environment."""
        observations = self.venv.reset()
        self._observations = snapshot(observations)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Tell the environments to start taking a step."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Wait for the step, and return the pipeline's rewards in place of the environments'."""
        observations, raw, dones, infos = self.venv.step_wait()
        infos = list(infos)  # SubprocVecEnv hands over a tuple
        refuse_nested(infos[0])
        end = vec_env_ends(observations, dones, infos) if True in dones.tolist() else (observations, dones, dones)
        step = Step(self._observations, self._actions, raw, *end, infos, self._environments)
        rewards, self.stages = self._rewards(step, update=self.training)
        self._observations = snapshot(observations)
        return observations, rewards.astype(np.float32), dones, _with_raw(infos, raw)

    def env_method(self, method_name: str, *method_args, indices: Any = None, **method_kwargs) -> list[Any]:
        """Call a method of the environments.

        Raises:
            ValueError: If it is `compute_reward`, by which hindsight replay asks for the rewards of transitions that
                never happened, past every wrapper: the pipeline's reward would be missing from them.
        """
        if method_name == "compute_reward":
            raise ValueError(
                "compute_reward asks the environments for rewards past VecRewardPipeline: relabelled transitions "
                "(HerReplayBuffer) would carry the raw reward, and the others the pipeline's; compute the pipeline's "
                "reward in the environment's compute_reward, or use another replay buffer"
            )
        return self.venv.env_method(method_name, *method_args, indices=indices, **method_kwargs)

    def state_dict(self) -> dict[str, Any]:
        """The pipeline's running statistics, ready for JSON."""
        return self.pipeline.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.pipeline.load_state_dict(state)

    def save(self, path: str | Path) -> None:
        """Write the pipeline and its running statistics, as text, into the folder `path` (made where missing).

        The signals are code and stay in your program; `load` takes them again.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _PIPELINE_FILE).write_text(self.pipeline.to_toml(), encoding="utf-8")
        (folder / _STATE_FILE).write_text(json.dumps(self.state_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, venv: VecEnv, signals: Mapping[str, Signal]) -> "VecRewardPipeline":
        """Wrap `venv` in the pipeline that `save` wrote, with its running statistics.

        Raises:
            FileNotFoundError: If the folder lacks one of the two files.
            ValueError: If a file is not what `save` wrote, or the signals are not the pipeline's.
        """
        folder = Path(path)
        pipeline = Pipeline.from_toml((folder / _PIPELINE_FILE).read_text(encoding="utf-8"))
        try:
            state = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{folder / _STATE_FILE} is not JSON: {error}") from None
        pipeline.load_state_dict(state)
        return cls(venv, signals, pipeline)


class RewardStages(BaseCallback):
    """Logs the mean of every stage of the reward over each rollout, under "reward/": raw, each signal, combined.

    For `model.learn(..., callback=RewardStages())`. Steps where a signal does not apply do not count in its mean. Keys
    too long for the console's table go to TensorBoard and the other files only.

    Raises:
        ValueError: When training starts without a `VecRewardPipeline` around the environments, or with one that the
            algorithm would ignore (outside `VecNormalize`, and the algorithm learns from a replay buffer).
    """

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._steps: list[dict[str, np.ndarray]] = []

    def _on_training_start(self) -> None:
        wrapper = unwrap_vec_wrapper(self.training_env, VecRewardPipeline)
        if wrapper is None:
            raise ValueError("RewardStages found no VecRewardPipeline around the environments of this model")
        if isinstance(self.model, OffPolicyAlgorithm) and unwrap_vec_wrapper(wrapper.venv, VecNormalize) is not None:
            raise ValueError(f"{type(self.model).__name__} would ignore the pipeline. {_OUTSIDE_VEC_NORMALIZE}")
        self._wrapper = wrapper

    def _on_rollout_start(self) -> None:
        self._steps = []

    def _on_step(self) -> bool:
        self._steps.append(self._wrapper.stages)
        return True

    def _on_rollout_end(self) -> None:
        values = defaultdict(list)
        for stages in self._steps:
            for key, stage in stages.items():
                values[key].append(stage)
        for key, parts in values.items():
            collected = np.concatenate(parts)
            present = collected[~np.isnan(collected)]
            if len(present):
                hidden = ("stdout", "log") if len(key) > _LONGEST_CONSOLE_KEY else None
                self.logger.record_mean(key, float(present.mean()), exclude=hidden)


_OUTSIDE_VEC_NORMALIZE = (
    "VecRewardPipeline is outside VecNormalize: algorithms with a replay buffer (SAC, TD3, DQN, ...) store the reward "
    "that VecNormalize itself received and never see the pipeline's. Wrap the other way round, "
    "VecNormalize(VecRewardPipeline(venv, ...)); PPO and A2C work either way."
)


def _with_raw(infos: list[dict[str, Any]], raw: np.ndarray) -> list[dict[str, Any]]:
    """Each environment's info with the reward of its own."""
    return [{**info, RAW: value} for info, value in zip(infos, raw.tolist(), strict=True)]
