"""Potential-based shaping for Stable-Baselines3, and a check that it fits the learner."""

import warnings
from collections.abc import Iterator
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
        "shaping for Stable-Baselines3 needs Stable-Baselines3: pip install 'rewardlab[sb3]'", name=error.name
    ) from error

from rewardlab.adapters.episode_ends import vec_env_ends
from rewardlab.adapters.shaping_goals import TRANSITION, has_goals, relabelled, transition_record
from rewardlab.adapters.shaping_gymnasium import refuse_nested_shaping
from rewardlab.adapters.step_signals import COMBINED, RAW, SHAPING
from rewardlab.observations import snapshot, take
from rewardlab.shaping.potential_values import Potential
from rewardlab.shaping.rule import OnTruncation, learner_bootstraps
from rewardlab.shaping.running import RunningBatchShaping, ShapingSettings

__all__ = ["DiscountCheck", "VecPotentialShaping"]

_SAME_DISCOUNT = 1e-9  # settings files round


class VecPotentialShaping(VecEnvWrapper):
    """Adds potential-based shaping to the rewards of a vector of environments.

    At the end of an episode the potential is that of its last observation, not of the reset one: 0 where it
    terminated, and kept where it was truncated, because the algorithms of Stable-Baselines3 bootstrap there. Each
    environment's info holds its own reward ("reward/raw"), what shaping added ("reward/shaping") and the sum
    ("reward/combined").

    Give `learn` a `DiscountCheck`: only with the learner's own discount does shaping leave optimal policies optimal.

    Order. Inside `VecNormalize` is the place that every algorithm learns from:
    `VecNormalize(VecPotentialShaping(venv, ...))`; its running scale, which changes from step to step, then spoils the
    telescoping a little, and its clipping more. Outside it the potential sees normalised observations and belongs in
    units of normalised reward, and the sum telescopes; that suits PPO and A2C, but SAC, TD3, DQN and the like store the
    reward that `VecNormalize` itself received and never see the shaping (a warning says so).

    `Monitor`, which `make_vec_env` puts around each environment, is inside: `rollout/ep_rew_mean` and `evaluate_policy`
    report the environment's own, unshaped return. That is the one to judge by. A `VecMonitor` outside reports the
    shaped one.

    Hindsight replay works where observations hold goals: `HerReplayBuffer` with `copy_info_dict=True` gets rewards
    shaped by the potential under the other goal.

    Args:
        venv: The vector of environments.
        potential: Function of one observation that returns one finite number; its method `batch`, if any, is asked
            for all environments at once. It is not asked in terminal states.
        discount: The learner's, in [0, 1].
        on_truncation: What becomes of the potential where an episode is cut: "keep", or "zero" for learners that do
            not bootstrap there (replay buffers with `handle_timeout_termination=False`).
        scale: Multiplies the potential.

    Attributes:
        shaping: The rule at work: potential, discount, and the potentials on arrival.

    Raises:
        TypeError, ValueError: If an argument is not what is said above. At a step or reset: if a potential is not one
            finite number, the last observation of an episode is missing, or shaping is inside already.

    Example:
        >>> from rewardlab.shaping.potentials import DistancePotential
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> venv = make_vec_env("CartPole-v1", n_envs=2, seed=0)
        >>> venv = VecPotentialShaping(venv, DistancePotential([0.0], indices=[2]), 0.99)
        >>> _ = venv.reset()
        >>> venv.step(np.array([1, 1]))[1].round(4)
        array([0.9995, 1.0012], dtype=float32)
    """

    def __init__(
        self,
        venv: VecEnv,
        potential: Potential,
        discount: float,
        *,
        on_truncation: OnTruncation = "keep",
        scale: float = 1.0,
    ) -> None:
        if not isinstance(venv, VecEnv):
            raise TypeError(
                f"venv: expected a vector of environments, as make_vec_env gives, got {type(venv).__name__}; "
                f"PotentialShaping is for a single one"
            )
        super().__init__(venv)
        if unwrap_vec_wrapper(venv, VecNormalize) is not None:
            warnings.warn(_OUTSIDE_VEC_NORMALIZE, UserWarning, stacklevel=2)
        self.shaping = RunningBatchShaping(potential, discount, on_truncation, scale)
        self._goals = has_goals(venv.observation_space)
        self._observations: Any = None  # kept only where hindsight replay may ask for them

    @property
    def shaping_settings(self) -> ShapingSettings:
        """What the learner must agree with."""
        return self.shaping.settings

    def reset(self) -> Any:
        """Begin an episode in every environment."""
        observations = self.venv.reset()
        self._begin(observations)
        return observations

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Wait for the step, and return its rewards with the shaping added."""
        observations, raw, dones, infos = self.venv.step_wait()
        infos = list(infos)  # SubprocVecEnv hands over a tuple
        refuse_nested_shaping(infos[0])
        ended = True in dones.tolist()
        arrived, terminated, truncated = (
            vec_env_ends(observations, dones, infos) if ended else (observations, dones, dones)
        )
        shaping = self.shaping.step(arrived, terminated, truncated)
        shaped = (raw + shaping).astype(np.float32)
        values = zip(infos, raw.tolist(), shaping.tolist(), shaped.tolist(), strict=True)
        infos = [{RAW: own, **info, SHAPING: added, COMBINED: total} for info, own, added, total in values]
        if self._goals:
            kept = learner_bootstraps(terminated, truncated, self.shaping.on_truncation)
            for i, info in enumerate(infos):
                info[TRANSITION] = transition_record(take(self._observations, i), take(arrived, i), kept[i])
        self._begin(observations, np.flatnonzero(dones))
        return observations, shaped, dones, infos

    def env_method(self, method_name: str, *method_args, indices: Any = None, **method_kwargs) -> list[Any]:
        """Call a method of the environments; `compute_reward`, by which hindsight replay asks, is shaped.

        Raises:
            ValueError: If the transitions of `compute_reward` lack their record.
        """
        results = self.venv.env_method(method_name, *method_args, indices=indices, **method_kwargs)
        if method_name != "compute_reward":
            return results
        arguments = dict(zip(("achieved_goal", "desired_goal", "info"), method_args, strict=False)) | method_kwargs
        return [relabelled(self.shaping, raw, arguments["desired_goal"], arguments["info"]) for raw in results]

    def _begin(self, observations: Any, rows: np.ndarray | None = None) -> None:
        self.shaping.begin(observations, rows)
        if self._goals:
            self._observations = snapshot(observations)


class DiscountCheck(BaseCallback):
    """Refuses to train a learner that the shaping around its environments does not fit.

    For `model.learn(..., callback=DiscountCheck())`; it looks once, before the first step, at `VecPotentialShaping`
    and at `PotentialShaping` or `LookBackAdvice` inside the vector.

    Raises:
        ValueError: When training starts without any shaping, with another discount than the learner's `gamma`, with
            the potential kept (or zeroed) at cuts where the learner does not (or does) bootstrap, or where the
            algorithm would ignore it (outside `VecNormalize`, and it learns from a replay buffer).

    Example:
        >>> from stable_baselines3 import PPO
        >>> from stable_baselines3.common.env_util import make_vec_env
        >>> venv = VecPotentialShaping(make_vec_env("CartPole-v1"), lambda seen: -abs(seen[2]), discount=0.9)
        >>> PPO("MlpPolicy", venv).learn(1, callback=DiscountCheck())
        Traceback (most recent call last):
        ...
        ValueError: the shaping's discount is 0.9 and the learner's gamma 0.99: every step would be paid -0.09 times ...
    """

    def _on_training_start(self) -> None:
        found = list(_settings_of(self.training_env))
        if not found:
            raise ValueError("DiscountCheck found no potential shaping around the environments of this model")
        for settings in found:
            _refuse_discount(settings.discount, float(self.model.gamma))
            _refuse_truncation(settings.on_truncation, self.model)
        wrapper = unwrap_vec_wrapper(self.training_env, VecPotentialShaping)
        outside = wrapper is not None and unwrap_vec_wrapper(wrapper.venv, VecNormalize) is not None
        if outside and isinstance(self.model, OffPolicyAlgorithm):
            raise ValueError(f"{type(self.model).__name__} would ignore the shaping. {_OUTSIDE_VEC_NORMALIZE}")

    def _on_step(self) -> bool:
        return True


_OUTSIDE_VEC_NORMALIZE = (
    "VecPotentialShaping is outside VecNormalize: algorithms with a replay buffer (SAC, TD3, DQN, ...) store the "
    "reward that VecNormalize itself received and never see the shaping. Wrap the other way round, "
    "VecNormalize(VecPotentialShaping(venv, ...)); PPO and A2C work either way."
)


def _settings_of(venv: VecEnv) -> Iterator[ShapingSettings]:
    """Of all shaping around the environments and in them."""
    wrapper = unwrap_vec_wrapper(venv, VecPotentialShaping)
    if wrapper is not None:
        yield wrapper.shaping_settings
    try:
        yield from venv.get_attr("shaping_settings")
    except AttributeError:
        return


def _refuse_discount(discount: float, learners: float) -> None:
    if abs(discount - learners) > _SAME_DISCOUNT:
        raise ValueError(
            f"the shaping's discount is {discount:g} and the learner's gamma {learners:g}: every step would be paid "
            f"{discount - learners:g} times the potential of the next state, and what is optimal can change; give both "
            f"the same"
        )


def _refuse_truncation(on_truncation: OnTruncation, model: Any) -> None:
    buffer = getattr(model, "replay_buffer", None)
    expected = "keep" if buffer is None or getattr(buffer, "handle_timeout_termination", True) else "zero"
    if on_truncation != expected:
        does = "bootstraps" if expected == "keep" else "does not bootstrap"
        raise ValueError(
            f"on_truncation of the shaping is {on_truncation!r}, but {type(model).__name__} {does} where an episode is "
            f"cut; expected {expected!r}"
        )
