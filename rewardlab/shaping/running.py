"""The shaping rule along episodes as they happen: every potential is evaluated once, on arrival, and kept."""

from typing import Any, NamedTuple, get_args

import numpy as np

from rewardlab.arrays import all_finite
from rewardlab.checks import check_choice, check_scalar
from rewardlab.observations import take
from rewardlab.shaping.potential_values import Potential, each_observation, excerpt, one_number
from rewardlab.shaping.rule import OnTruncation, learner_bootstraps, shaping_reward

__all__ = ["RunningBatchShaping", "RunningShaping", "ShapingSettings"]


class ShapingSettings(NamedTuple):
    """What a learner must agree with: the discount, and whether the potential counts where an episode is cut."""

    discount: float
    on_truncation: OnTruncation


class RunningShaping:
    """Shaping of one environment's steps.

    Args:
        potential: Function of one observation.
        discount: The learner's, in [0, 1].
        on_truncation: What becomes of the potential where an episode is cut; see `learner_bootstraps`.
        scale: Multiplies the potential.

    Attributes:
        current: The scaled potential of the state that the environment is in, as it was on arrival; None before that.

    Raises:
        TypeError: If the potential is no function, or discount or scale no number.
        ValueError: If the discount is outside [0, 1], the scale not finite, or `on_truncation` unknown.
    """

    def __init__(
        self, potential: Potential, discount: float, on_truncation: OnTruncation = "keep", scale: float = 1.0
    ) -> None:
        if not callable(potential):
            raise TypeError(f"potential: expected a function of an observation, got {type(potential).__name__}")
        check_choice("on_truncation", on_truncation, get_args(OnTruncation))
        self.potential = potential
        self.discount = float(check_scalar("discount", discount, low=0.0, high=1.0))
        self.scale = float(check_scalar("scale", scale))
        self.on_truncation = on_truncation
        self.current: Any = None

    @property
    def settings(self) -> ShapingSettings:
        """What a learner must agree with."""
        return ShapingSettings(self.discount, self.on_truncation)

    def begin(self, observation: Any) -> None:
        """An episode begins with this observation."""
        self.current = self._evaluated(observation)

    def step(self, observation: Any, terminated: Any, truncated: Any) -> float:
        """The shaping reward of a step that led to this observation.

        Raises:
            TypeError, ValueError: If the potential is not one finite number.
        """
        bootstraps = bool(learner_bootstraps(terminated, truncated, self.on_truncation))
        # where nothing is counted on afterwards the potential is not asked: it may know nothing of terminal states
        arrived = self._evaluated(observation) if bootstraps else 0.0
        shaping = shaping_reward(self.current, arrived, discount=self.discount, bootstraps=bootstraps)
        self.current = arrived
        return shaping

    def between(self, observation: Any, next_observation: Any, bootstraps: bool) -> float:
        """The shaping reward of a transition that is not the running episode's, such as one with another goal."""
        arrived = self._evaluated(next_observation) if bootstraps else 0.0
        return shaping_reward(self._evaluated(observation), arrived, discount=self.discount, bootstraps=bootstraps)

    def _evaluated(self, observation: Any) -> float:
        value = self.potential(observation)
        if type(value) is not float:
            value = one_number(value, observation)
        if value - value != 0.0:
            raise ValueError(f"the potential of {excerpt(observation)} is {value}, expected a finite number")
        return self.scale * value


class RunningBatchShaping(RunningShaping):
    """Shaping of the steps of several environments at once; `current` is (environments,).

    The potential is asked for all environments at once if it has a method `batch`, else for one after the other.
    Takes what `RunningShaping` takes.
    """

    def __init__(
        self, potential: Potential, discount: float, on_truncation: OnTruncation = "keep", scale: float = 1.0
    ) -> None:
        super().__init__(potential, discount, on_truncation, scale)
        self._batch = each_observation(potential)

    def begin(self, observations: Any, rows: np.ndarray | None = None) -> None:
        """Episodes begin with these observations: in all environments, or in those of `rows` (indices)."""
        if rows is None:
            self.current = self._evaluated_rows(observations)
        elif len(rows):
            self.current = self.current.copy()
            self.current[rows] = self._evaluated_rows(take(observations, rows), rows)

    def step(
        self, observations: Any, terminated: np.ndarray, truncated: np.ndarray, resetting: np.ndarray | None = None
    ) -> np.ndarray:
        """Shaping rewards (environments,) of steps that led to these observations.

        Args:
            observations: What the steps led to: the last observation of an episode where one ended.
            terminated: Whether the episode ended in a terminal state, (environments,).
            truncated: Whether it was cut.
            resetting: Where the step only reset the environment: no transition, and its shaping reward is 0.

        Raises:
            TypeError, ValueError: If the potential does not return one finite number for each.
        """
        bootstraps = learner_bootstraps(terminated, truncated, self.on_truncation)
        if bootstraps.all():
            arrived = self._evaluated_rows(observations)
        else:  # as for one environment, the potential is not asked where it does not count
            arrived, rows = np.zeros(len(bootstraps)), np.flatnonzero(bootstraps)
            if len(rows):
                arrived[rows] = self._evaluated_rows(take(observations, rows), rows)
        shaping = shaping_reward(self.current, arrived, discount=self.discount, bootstraps=bootstraps)
        self.current = arrived
        return shaping if resetting is None else np.where(resetting, 0.0, shaping)

    def _evaluated_rows(self, observations: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Scaled potentials; `rows` are the environments that the observations are of, for messages."""
        values = self._batch(observations)
        if not all_finite(values):
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(
                f"the potential of {excerpt(take(observations, row))} is {values[row]}, expected a finite number "
                f"(environment {row if rows is None else rows[row]})"
            )
        return self.scale * values
