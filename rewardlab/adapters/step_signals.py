"""What the adapters for environments share: a step, functions of a step, and their way through a pipeline."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rewardlab.arrays import is_array, to_numpy
from rewardlab.observations import snapshot, take, with_rows
from rewardlab.transforms import Pipeline

__all__ = [
    "COMBINED",
    "RAW",
    "SHAPING",
    "Signal",
    "SignalPipeline",
    "Step",
    "each_environment",
    "refuse_nested",
    "snapshot",
    "take",
    "with_rows",
]

RAW = "reward/raw"  # the key of the environment's own reward in `info`
SHAPING = "reward/shaping"  # of what potential shaping adds to it
COMBINED = "reward/combined"  # of the reward handed on


@dataclass(slots=True)  # not frozen: that would triple the time it takes to make one
class Step:
    """One transition of one environment, or one transition of each of several.

    In an adapter for vectors of environments every field has a leading axis of environments, so that
    `lambda step: -np.abs(step.next_observation[..., 0])` serves one environment and a vector of them alike.

    Attributes:
        observation: What the agent saw before it acted.
        action: What it did.
        reward: The environment's own reward, in its own unit: float, or (environments,).
        next_observation: What the action led to. At the end of an episode it is the last observation of that episode,
            never the first of the next.
        terminated: Whether the episode ended in a terminal state, whose value is 0: bool, or (environments,).
        truncated: Whether it was cut there (a time limit): the state still has a value. Never true together with
            `terminated` in Stable-Baselines3, which passes on only one of them.
        info: The environment's own `info` of this transition, as the framework hands it over: a dict; for a gymnasium
            vector a dict of arrays with `_key` masks; for Stable-Baselines3 a list of dicts.
        environments: Which environments the rows belong to, (rows,) integers: all of them, except that a gymnasium
            vector leaves out those that only reset themselves. None for a single environment.
    """

    observation: Any
    action: Any
    reward: Any
    next_observation: Any
    terminated: Any
    truncated: Any
    info: Any
    environments: np.ndarray | None = None


Signal: TypeAlias = Callable[[Step], Any]


def each_environment(signal: Signal) -> Signal:
    """Turn a function of one environment's step into one for a vector of environments.

    For signals that cannot be written with arrays: a Python loop, so prefer an array expression where there is one.

    Args:
        signal: Takes the `Step` of one environment and returns a float, or None where the signal does not apply.

    Returns:
        A function that takes the `Step` of several environments and returns a list of their values.

    Example:
        >>> step = Step(np.zeros((2, 1)), np.array([0, 1]), np.ones(2), np.array([[0.5], [2.0]]),
        ...             np.zeros(2, bool), np.zeros(2, bool), [{}, {"goal": 3.0}], np.arange(2))
        >>> each_environment(lambda step: step.info.get("goal"))(step)
        [None, 3.0]
    """

    def looped(step: Step) -> list:
        if step.environments is None:
            raise TypeError("each_environment is for a vector of environments; one environment needs the bare function")
        return [signal(_one(step, index)) for index in range(len(step.environments))]

    return looped


class SignalPipeline:
    """Evaluates the signals of a step and sends them through the pipeline.

    Args:
        signals: Name -> function of a `Step`; exactly the names of the pipeline.
        pipeline: How the signals are transformed and combined.

    Raises:
        TypeError: If a signal is not a function.
        ValueError: If the names are not the pipeline's, or the pipeline needs what a step of an environment does not
            have: a group of samples, or a reference for each.
    """

    def __init__(self, signals: Mapping[str, Signal], pipeline: Pipeline) -> None:
        _check_pipeline(pipeline)
        _check_names(signals, pipeline)
        self.signals = dict(signals)
        self.pipeline = pipeline

    def __call__(self, step: Step, *, update: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rewards (environments,) in float64, and each stage (environments,) with NaN where a signal does not apply."""
        count = None if step.environments is None else len(step.environments)
        values = {}
        for name, signal in self.signals.items():
            try:
                values[name] = _as_samples(name, signal(step), count)
            except Exception as error:
                error.add_note(f"raised by signal {name!r}")
                raise
        result = self.pipeline(values, update=update)
        rewards = np.asarray(result.rewards, dtype=np.float64)
        if math.isnan(rewards.dot(rewards)):  # a fifth of the time of isnan(...).any(), at every step of a training run
            self._refuse_missing(rewards, step)
        stages = {RAW: np.atleast_1d(step.reward) if count is None else step.reward}
        for key, stage in result.stages.items():
            stages["reward/" + key] = stage
        return rewards, stages

    def _refuse_missing(self, rewards: np.ndarray, step: Step) -> None:
        first = np.flatnonzero(np.isnan(rewards))[0]
        where = "" if step.environments is None else f" in environment {step.environments[first]}"
        raise ValueError(
            f"no signal of {', '.join(self.signals)} applies to this step{where}, and an agent needs a reward at every "
            f"step; give the pipeline one signal that always applies (such as `lambda step: step.reward`)"
        )


def refuse_nested(info: Mapping[str, Any]) -> None:
    """Refuse to overwrite the record that another reward pipeline, inside this one, has made of the raw reward."""
    if SHAPING in info:
        raise ValueError(
            "potential shaping is inside this reward pipeline, and what a pipeline makes of rewards leaves nothing of "
            "its guarantee; wrap the other way round, PotentialShaping(RewardPipeline(env, ...), ...)"
        )
    if RAW in info:
        raise ValueError(
            f"info holds {RAW!r} already, from a reward pipeline inside this one; give one pipeline all the signals"
        )


def _one(step: Step, index: int) -> Step:
    """The step of the environment in row `index`, as an adapter for a single environment would give it."""
    info = step.info[index] if isinstance(step.info, list) else _one_info(step.info, index)
    return Step(
        observation=take(step.observation, index),
        action=take(step.action, index),
        reward=float(step.reward[index]),
        next_observation=take(step.next_observation, index),
        terminated=bool(step.terminated[index]),
        truncated=bool(step.truncated[index]),
        info=info,
    )


def _one_info(info: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One environment's part of a gymnasium vector's info: the keys whose mask holds for it."""
    part = {}
    for key, value in info.items():
        mask = info.get(f"_{key}")
        if key.startswith("_") or (mask is not None and not mask[index]):
            continue
        part[key] = _one_info(value, index) if isinstance(value, Mapping) else value[index]
    return part


def _as_samples(name: str, value: Any, count: int | None) -> np.ndarray | list:
    """The value of a signal as the pipeline takes it: (1,) for one environment, else one value for each."""
    if count is None:
        if value is None:
            return np.array([np.nan])
        array = to_numpy(value) if is_array(value) else np.asarray(value)
        if array.ndim:
            raise ValueError(f"signal {name!r} returned shape {array.shape} for one step, expected one number or None")
        return array[None]
    if type(value) is np.ndarray and value.shape == (count,):
        return value
    if value is None:
        return np.full(count, np.nan)
    if isinstance(value, list | tuple):  # may hold None, which the pipeline reads as "does not apply"
        shape, samples = (len(value),), list(value)
    else:
        samples = to_numpy(value) if is_array(value) else np.asarray(value)
        shape = samples.shape
    if shape != (count,):
        raise ValueError(
            f"signal {name!r} returned shape {shape} for {count} environments, expected ({count},); in a vector a "
            f"signal takes all environments at once (wrap a function of one in `each_environment`)"
        )
    return samples


def _check_names(signals: Mapping[str, Signal], pipeline: Pipeline) -> None:
    expected = set(pipeline.names)
    missing, unknown = sorted(expected - set(signals)), sorted(set(signals) - expected)
    if missing or unknown:
        said = [f"no function for {', '.join(map(repr, missing))}"] if missing else []
        said += [f"the pipeline knows no {', '.join(map(repr, unknown))}"] if unknown else []
        raise ValueError(f"signals: {' and '.join(said)}; its signals are {', '.join(map(repr, pipeline.names))}")
    for name, signal in signals.items():
        if not callable(signal):
            raise TypeError(f"signals[{name!r}]: expected a function of a Step, got {type(signal).__name__}")


def _check_pipeline(pipeline: Pipeline) -> None:
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"pipeline: expected a Pipeline, got {type(pipeline).__name__}")
    if pipeline.needs_groups:
        raise ValueError(
            f"{', '.join(map(repr, pipeline.group_stages))} compares the samples of a group, and a step of an "
            f"environment has none; use stages that look at one value, such as Centre(Fixed(value)) or "
            f"RunningStandardise(), and no advantage"
        )
    if pipeline.needs_references:
        raise ValueError(
            f"the pipeline expects a reference with every value of {', '.join(map(repr, pipeline.needs_references))}, "
            f"and a step of an environment brings none; use Centre(Fixed(value))"
        )
