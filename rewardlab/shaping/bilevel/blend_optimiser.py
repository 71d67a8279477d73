"""Learning how far to trust advice, exactly: gradient ascent of the primary return on the weights of a blend."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.bilevel.blends import RewardBlend
from rewardlab.shaping.bilevel.hypergradient import InnerSolution, bilevel_gradient

__all__ = ["BlendPath", "BlendResult", "optimise_blend"]

_SUFFICIENT = 1e-4  # share of the predicted gain that a step must keep (Armijo)
_LONGEST_STEP = 1.0  # weights are of the order of 1, as the primary reward's is
_MOST_STEPS = 200
_HALVINGS = 30
_COARSER = 1000


class BlendPath(NamedTuple):
    """Where the ascent went: one row a point, the start and then every accepted step.

    Attributes:
        weights: `(points, K)`.
        inner_discount: `(points,)`.
        temperature: At which the agent was solved, `(points,)`; it falls as the ascent goes on.
        primary_return: What that agent earns by the primary reward, `(points,)`.
        gradient_size: Length of the gradient of the penalised objective before normalisation, `(points,)`.
    """

    weights: Float[np.ndarray, "points k"]
    inner_discount: Float[np.ndarray, " points"]
    temperature: Float[np.ndarray, " points"]
    primary_return: Float[np.ndarray, " points"]
    gradient_size: Float[np.ndarray, " points"]


@dataclass(frozen=True, eq=False)
class BlendResult:
    """What `optimise_blend` returns.

    Attributes:
        weights: Learned weights, `(K)`.
        inner_discount: The agent's discount, learned or given.
        primary_return: What the agent earns by the primary reward.
        inner: The agent's policy and values.
        converged: Whether the ascent came to rest at the final temperature; at a maximum, not at the highest.
        path: Where it went.
    """

    weights: Float[Array, " k"]
    inner_discount: float
    primary_return: float
    inner: InnerSolution
    converged: bool
    path: BlendPath


def optimise_blend(
    mdp: FiniteMDP,
    blend: RewardBlend,
    primary: Reward,
    *,
    temperature: float = 0.03,
    start_temperature: float | None = None,
    stages: int = 4,
    weights: Float[Array, " k"] | None = None,
    penalty: float = 5e-4,
    inner_discount: float | None = None,
    learn_discount: bool = False,
    discount_penalty: float = 0.0,
    tolerance: float = 1e-8,
) -> BlendResult:
    """The blend whose agent does best by the primary reward: exact ascent, as the published method does by sampling.

    Three things make it work. The step is normalised, as the gradient is nearly 0 wherever the agent is nearly
    deterministic, also on the wrong reward. The temperature falls in stages, as at a low one the return is a cliff
    between plateaus. And large weights are penalised, as ever larger weights against bad advice earn ever less more.
    With two weights or more there can be several maxima, and it ends in one of them; but never below no trust at all:
    where it would, it starts once more from there, at the last temperature.

    Args:
        mdp: World, without batch dimensions.
        blend: Base and components.
        primary: What is meant, `(S, A, S)` or `(S, A)`.
        temperature: Weight of the agent's divergence from the uniform policy at the end, in units of reward, above 0.
        start_temperature: The same at the start, at least `temperature`; by default ten times it.
        stages: Number of temperatures, geometric from first to last, at least 1 (only the last).
        weights: Where to start, `(K)`; by default 0, no trust.
        penalty: Subtracted from the primary return, times the sum of squared weights, at least 0.
        inner_discount: The agent's discount, where it is not learned, or where it starts; by default the world's.
        learn_discount: Learn the agent's discount too, through its logit, which must then start inside (0, 1).
        discount_penalty: Subtracted from the primary return, times the inner discount, at least 0: a shorter horizon
            is preferred when it costs little.
        tolerance: The ascent is at rest where a step along the normalised gradient gains less primary return, above 0.

    Returns:
        The blend, the agent, and the path.

    Raises:
        TypeError, ValueError: If something does not fit or is out of range.

    Source: the objective is that of Gupta et al. 2023 (arXiv 2310.19007), with squared weights in the penalty where
        their code has norms.
    """
    problem = _Problem(mdp, blend, primary, penalty, discount_penalty, learn_discount)
    point = first = problem.start(weights, inner_discount)
    temperatures = _temperatures(temperature, start_temperature, stages)
    check_scalar("tolerance", tolerance, low=0, open_low=True)
    visited, converged = [], False
    for current in temperatures:
        # a coarse rest is enough on the way: the next temperature moves it anyway
        rest = tolerance if current == temperatures[-1] else _COARSER * tolerance
        stage, converged = _ascend(problem, point, current, rest)
        visited += stage
        point = stage[-1].point
    no_trust = np.concatenate([np.zeros(blend.size), first[blend.size :]])
    if problem.at(no_trust, temperatures[-1]).objective > visited[-1].objective:
        stage, converged = _ascend(problem, no_trust, temperatures[-1], tolerance)
        visited += stage
    return problem.result(visited, converged)


def _ascend(problem: "_Problem", point: np.ndarray, temperature: float, rest: float) -> "tuple[list[_Place], bool]":
    """Quasi-Newton ascent from a point at one temperature; its first step has length 1, however small the gradient."""
    here = problem.at(point, temperature)
    visited, metric, fresh = [here], _first_metric(here), True
    for _ in range(_MOST_STEPS):
        direction = metric @ here.gradient
        there = _step_up(problem, here, direction)
        gained = 0.0 if there is None else there.objective - here.objective
        if fresh and gained < rest:
            return visited, True
        if gained >= rest:
            metric, fresh = _updated_metric(metric, there.point - here.point, here.gradient - there.gradient), False
            here = there
            visited.append(here)
        else:
            metric, fresh = _first_metric(here), True
    return visited, False


def _step_up(problem: "_Problem", here: "_Place", direction: np.ndarray) -> "_Place | None":
    """A place along a direction that is enough higher, trying ever shorter steps; None if all fail."""
    length = float(np.linalg.norm(direction))
    share = min(1.0, _LONGEST_STEP / length) if length else 0.0
    for _ in range(_HALVINGS if share else 0):
        there = problem.at(here.point + share * direction, here.temperature)
        if there.objective >= here.objective + _SUFFICIENT * share * float(direction @ here.gradient):
            return there
        share /= 2
    return None


def _first_metric(here: "_Place") -> np.ndarray:
    """The metric in which the gradient has length 1."""
    return np.eye(len(here.point)) * (_LONGEST_STEP / here.size if here.size else 0.0)


def _updated_metric(metric: np.ndarray, moved: np.ndarray, fell: np.ndarray) -> np.ndarray:
    """The BFGS update, skipped where the gradient did not fall along the way and a metric would turn round."""
    curvature = float(moved @ fell)
    if curvature <= 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(fell)):
        return metric
    left = np.eye(len(moved)) - np.outer(moved, fell) / curvature
    return left @ metric @ left.T + np.outer(moved, moved) / curvature


class _Place(NamedTuple):
    """A point, what its agent earns, and which way is up."""

    point: np.ndarray
    temperature: float
    inner_discount: float
    primary_return: float
    objective: float
    gradient: np.ndarray
    size: float
    inner: InnerSolution


@dataclass(frozen=True, eq=False)
class _Problem:
    """The penalised primary return as a function of weights and, where it is learned, the logit of the discount."""

    mdp: FiniteMDP
    blend: RewardBlend
    primary: Reward
    penalty: float
    discount_penalty: float
    learn_discount: bool

    def __post_init__(self) -> None:
        if self.mdp.batch_shape:
            raise ValueError(f"mdp has batch shape {self.mdp.batch_shape}, expected one world")
        meant = tuple(self.mdp.state_action_reward(self.primary, "primary").shape)
        if len(meant) != 2:
            raise ValueError(f"primary has batch shape {meant[:-2]}, expected one reward")
        if tuple(self.blend.base.shape) != meant:
            raise ValueError(f"blend is of rewards of shape {tuple(self.blend.base.shape)}, expected {meant}")
        check_scalar("penalty", self.penalty, low=0)
        check_scalar("discount_penalty", self.discount_penalty, low=0)
        if self.discount_penalty and not self.learn_discount:
            raise ValueError(
                f"discount_penalty is {self.discount_penalty} where the discount is not learned, expected 0"
            )

    def start(self, weights: Array | None, inner_discount: float | None) -> np.ndarray:
        """The first point: weights, then the logit of the discount."""
        given = np.zeros(self.blend.size) if weights is None else to_numpy(self.blend.checked_weights(weights))
        if given.ndim != 1:
            raise ValueError(f"weights has shape {given.shape}, expected ({self.blend.size},): one place to start")
        discount = float(self.mdp.discount) if inner_discount is None else inner_discount
        check_scalar("inner_discount", discount, low=0, high=1)
        if self.learn_discount and not 0 < discount < 1:
            raise ValueError(f"the inner discount starts at {discount}, expected a number inside (0, 1) to learn it")
        object.__setattr__(self, "_fixed_discount", discount)
        return np.append(given, math.log(discount / (1 - discount))) if self.learn_discount else given

    def at(self, point: np.ndarray, temperature: float) -> _Place:
        """Solve the agent at a point, and differentiate."""
        weights = point[: self.blend.size]
        discount = 1 / (1 + math.exp(-point[-1])) if self.learn_discount else self._fixed_discount
        own = self._own_library(weights)
        solved = bilevel_gradient(self.mdp, self.blend.reward(own), self.primary, temperature, discount)
        gradient = to_numpy(self.blend.project(solved.reward)) - 2 * self.penalty * weights
        if self.learn_discount:
            by_logit = (float(solved.discount) - self.discount_penalty) * discount * (1 - discount)
            gradient = np.append(gradient, by_logit)
        earned = float(solved.primary_return)
        objective = earned - self.penalty * float(weights @ weights) - self.discount_penalty * discount
        size = float(np.linalg.norm(gradient))
        return _Place(point, temperature, discount, earned, objective, gradient, size, solved.inner)

    def result(self, visited: list[_Place], converged: bool) -> BlendResult:
        last = visited[-1]
        path = BlendPath(
            np.stack([place.point[: self.blend.size] for place in visited]),
            *(np.array([getattr(place, name) for place in visited]) for name in BlendPath._fields[1:4]),
            np.array([place.size for place in visited]),
        )
        weights = self._own_library(last.point[: self.blend.size])
        return BlendResult(weights, last.inner_discount, last.primary_return, last.inner, converged, path)

    def _own_library(self, weights: np.ndarray) -> Array:
        return as_float64(array_namespace(self.blend.base).asarray(weights))


def _temperatures(temperature: float, start_temperature: float | None, stages: int) -> list[float]:
    check_scalar("temperature", temperature, low=0, open_low=True)
    check_scalar("stages", stages, low=1, whole=True)
    first = 10 * temperature if start_temperature is None else start_temperature
    check_scalar("start_temperature", first, low=temperature)
    return [*np.geomspace(first, temperature, stages)[:-1].tolist(), float(temperature)]
