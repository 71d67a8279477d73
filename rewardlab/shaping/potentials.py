"""Potentials: how promising is a state?

A potential is any function of one observation that returns a number. Those here also have `batch`, which takes
observations (n, ...) and returns (n,); a plain function is asked one observation after the other.
"""

import copy
import functools
import math
import operator
import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from rewardlab.arrays import Array, is_array, to_numpy
from rewardlab.checks import check_array, check_choice, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.planning import optimal_policy
from rewardlab.observations import batch_of_one, count_rows
from rewardlab.shaping.potential_values import Potential, each_observation, excerpt

__all__ = [
    "DistancePotential",
    "LearnedPotential",
    "Potential",
    "TablePotential",
    "each_observation",
    "optimal_value_potential",
]


class TablePotential:
    """A potential for each state of an environment whose observations are the states' numbers.

    For the wrappers; functions of a whole world (`potential_shaping`, `q_learning`) take its `values`.

    Args:
        values: Potential of each state, (S,), finite.

    Raises:
        TypeError: If `values` is no array of real numbers.
        ValueError: If it has another shape than (S,), or an entry is NaN or infinite. When asked: if an observation
            is no state's number.

    Example:
        >>> potential = TablePotential(np.array([0.0, 0.5, 1.0]))
        >>> potential(2), potential.batch(np.array([0, 1]))
        (1.0, array([0. , 0.5]))
    """

    def __init__(self, values: Num[Array, " s"]) -> None:
        values = to_numpy(check_finite("values", check_array("values", values)))
        if values.ndim != 1 or not len(values):
            raise ValueError(f"values has shape {values.shape}, expected (S,): one potential for each state")
        self.values = values.astype(np.float64)
        self._as_list = self.values.tolist()  # a list answers for one state in a fifth of the time

    def __repr__(self) -> str:
        return f"TablePotential({len(self._as_list)} states, {min(self._as_list):.3g} to {max(self._as_list):.3g})"

    def __call__(self, observation: Any) -> float:
        """The potential of one state."""
        try:
            state = operator.index(observation)
        except TypeError:
            raise TypeError(
                f"{excerpt(observation)} is no state's number, as TablePotential needs; give a function of the "
                f"observation instead"
            ) from None
        if not 0 <= state < len(self._as_list):
            raise ValueError(f"{excerpt(observation)} is outside the table of {len(self._as_list)} states")
        return self._as_list[state]

    def batch(self, observations: Any) -> Float[np.ndarray, " n"]:
        """The potentials of several states."""
        states = np.asarray(observations)
        if states.ndim != 1 or states.dtype.kind not in "iu":
            raise TypeError(
                f"observations of shape {states.shape} and {states.dtype}, expected (n,) whole numbers of states"
            )
        outside = (states < 0) | (states >= len(self.values))
        if outside.any():
            raise ValueError(f"{excerpt(states[outside][0])} is outside the table of {len(self.values)} states")
        return self.values[states]


def optimal_value_potential(mdp: FiniteMDP, reward: Reward) -> TablePotential:
    """The potential that leaves nothing to plan: the optimal value of each state of a finite world.

    Shaped by it, the best action of every state earns 0 at once, and every other less, on average.

    Args:
        mdp: One world (no batch).
        reward: `(S, A, S)` or `(S, A)`.

    Returns:
        The optimal values, 0 in terminal states.

    Raises:
        TypeError, ValueError: If the reward does not fit the world, or there are several worlds or rewards.

    Source: Ng, Harada and Russell 1999, section 4.

    Example:
        >>> chain = FiniteMDP(np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), 0.9, terminal=np.array([False, True]))
        >>> optimal_value_potential(chain, np.ones((2, 1))).values
        array([1., 0.])
    """
    values = optimal_policy(mdp, reward).values
    if values.ndim != 1:
        raise ValueError(f"the worlds and rewards have batch shape {tuple(values.shape[:-1])}, expected one of each")
    return TablePotential(values)


class DistancePotential:
    """Minus the distance to a goal: the closer, the more promising, 0 at the goal.

    Distances are negative potentials: a discount other than the learner's would turn them into a hidden penalty on
    every step.

    Args:
        goal: Where to go, (d,) finite.
        scale: Potential per unit of distance, at least 0.
        indices: Which entries of an observation hold the place, (d,); None where it is all of them.
        order: Of the norm: 1, 2 or `math.inf`.

    Raises:
        TypeError, ValueError: If an argument is not what is said above. When asked: if an observation is no vector
            that the goal or the indices fit.

    Example:
        >>> DistancePotential([1.0, 1.0], indices=[0, 1])(np.array([1.0, 0.5, 7.0]))
        -0.5
    """

    def __init__(
        self, goal: Any, *, scale: float = 1.0, indices: Sequence[int] | None = None, order: float = 2
    ) -> None:
        self.goal = check_finite("goal", np.asarray(goal, dtype=np.float64))
        self.scale = check_scalar("scale", scale, low=0.0)
        check_choice("order", order, (1, 2, math.inf))
        self.order = order
        self.indices = None if indices is None else np.asarray(indices, dtype=np.int64)
        if self.goal.ndim != 1 or not len(self.goal):
            raise ValueError(f"goal has shape {self.goal.shape}, expected (d,)")
        if self.indices is not None and self.indices.shape != self.goal.shape:
            raise ValueError(f"indices has shape {self.indices.shape}, expected that of goal {self.goal.shape}")

    def __call__(self, observation: Any) -> float:
        """The potential of one observation."""
        place = np.asarray(observation)
        if place.ndim != 1:
            raise ValueError(f"{excerpt(observation)} has shape {place.shape}, expected a vector")
        return float(self.batch(place[None])[0])

    def batch(self, observations: Any) -> Float[np.ndarray, " n"]:
        """The potentials of several observations, (n, entries)."""
        places = np.asarray(observations, dtype=np.float64)
        if places.ndim != 2:
            raise ValueError(f"observations have shape {places.shape}, expected (n, entries)")
        if self.indices is not None:
            if places.shape[1] <= self.indices.max() or places.shape[1] < -self.indices.min():
                raise ValueError(f"{excerpt(places[0])} has {places.shape[1]} entries, too few for {self.indices}")
            places = places[:, self.indices]
        if places.shape[1] != len(self.goal):
            raise ValueError(
                f"{excerpt(places[0])} has {places.shape[1]} entries, the goal {len(self.goal)}; say by `indices` "
                f"which of them hold the place"
            )
        return -self.scale * np.linalg.vector_norm(places - self.goal, ord=self.order, axis=1)


class LearnedPotential:
    """A learned value function as a potential.

    Frozen it is a copy, which later learning does not change. Otherwise it follows its original: the shaping wrappers
    keep each potential as it was on arrival in a state, so that it still telescopes; rewards out of a replay buffer
    then hold the shaping of their time.

    The value function sees the observations at the wrapper's place: one that learned inside `VecNormalize` needs its
    normalised observations, by a function such as `lambda seen: value(venv.normalize_obs(seen))`.

    Args:
        predict: What gives values (n,) or (n, 1) for observations (n, ...): a torch module, a policy of
            Stable-Baselines3 (its `predict_values` is used), a method, or a function. A module gets tensors of its
            parameters' dtype and device, the others NumPy arrays.
        frozen: Whether to copy it now. A plain function cannot be copied.
        scale: Multiplies the values.

    Raises:
        TypeError: If `predict` cannot be called, or frozen is True for a plain function.
        ValueError: When asked, if it does not return one number for each observation.

    Example:
        >>> doubled = LearnedPotential(lambda observations: 2.0 * observations[:, 0], frozen=False)
        >>> doubled(np.array([1.5]))
        3.0
    """

    def __init__(self, predict: Any, *, frozen: bool = True, scale: float = 1.0) -> None:
        if not callable(predict):
            raise TypeError(f"predict: expected a module, policy or function, got {type(predict).__name__}")
        if frozen and isinstance(predict, FunctionType | functools.partial):
            raise TypeError(
                "predict is a plain function, of which a copy would still use the same weights: give the module itself "
                "or one of its methods, or frozen=False"
            )
        self.frozen = frozen
        self.scale = check_scalar("scale", scale)
        self._predict = _array_form(copy.deepcopy(predict) if frozen else predict, frozen)

    def __call__(self, observation: Any) -> float:
        """The value of one observation."""
        return float(self.batch(batch_of_one(observation))[0])

    def batch(self, observations: Any) -> Float[np.ndarray, " n"]:
        """The values of several observations."""
        count = count_rows(observations)
        values = self._predict(observations)
        values = to_numpy(values) if is_array(values) else np.asarray(values)
        if values.shape not in ((count,), (count, 1)) or values.dtype.kind not in "fiu":
            raise ValueError(
                f"predict returned shape {values.shape} of {values.dtype} for {count} observations, expected "
                f"({count},) or ({count}, 1) numbers"
            )
        return self.scale * values.reshape(count).astype(np.float64)


def _array_form(predict: Any, frozen: bool) -> Callable[[Any], Any]:
    """The function of NumPy observations that a module or policy stands for."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(predict, torch.nn.Module):
        return predict
    if frozen:
        predict.eval().requires_grad_(False)
    if hasattr(predict, "predict_values") and hasattr(predict, "obs_to_tensor"):

        def evaluate(observations: Any) -> Any:
            with torch.no_grad():
                return predict.predict_values(predict.obs_to_tensor(observations)[0])

        return evaluate

    def evaluate(observations: Any) -> Any:
        like = next(predict.parameters(), None)
        like = torch.empty(0) if like is None else like
        with torch.no_grad():
            return predict(torch.as_tensor(np.asarray(observations), dtype=like.dtype, device=like.device))

    return evaluate
