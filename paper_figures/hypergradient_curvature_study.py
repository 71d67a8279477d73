"""Data of the curvature study: hyper-gradients by every option, and a blend learned through training."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, optimal_policy, policy_return
from rewardlab.shaping.bilevel.hypergradient import reward_hypergradient, solve_inner
from rewardlab.shaping.bilevel.implicit_gradient import SurrogateCurvatureWarning, implicit_hypergradient
from rewardlab.shaping.bilevel.policy_parameters import hessian
from rewardlab.shaping.bilevel.unrolled import UnrolledGradient, unrolled_hypergradient

__all__ = ["LOOPS", "OFFSETS", "OPTIONS", "SHARES", "hypergradients", "learned_blends", "neumann_errors"]

STATES, ACTIONS, DISCOUNT, TEMPERATURE = 8, 3, 0.95, 0.3
OFFSETS = (-3.0, 0.0, 3.0)
SHARES = (0.5, 0.99, 1.01)  # step of Neumann's series, as a share of 2 / (largest eigenvalue of -H)
LOOPS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
OPTIONS = {  # name: curvature, loops, step (None: 1 / largest eigenvalue)
    "exact": ("exact", 0, 1.0),
    "Fisher": ("fisher", 0, 1.0),
    "Neumann, 50 loops": ("neumann", 50, None),
    "Neumann, 5 loops": ("neumann", 5, None),
    "Neumann as published": ("neumann", 5, 5e-4),
    "first order": ("first_order", 0, None),
    "sampled surrogate": ("surrogate", 0, 1.0),
}
STEPS, RATE = 40, 2.0  # of the training that a blend is learned through
SHORTEST = 1e-6  # a step of the blend that is worth trying


def hypergradients(worlds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Cosine and relative error of each option against the closed form, by world and offset of the reward."""
    mdp, primary, auxiliary = _problems(worlds, rng)
    rows = []
    for offset in OFFSETS:
        blended = primary + auxiliary + offset
        truth = _by_state(reward_hypergradient(mdp, blended, primary, TEMPERATURE), auxiliary)
        logits, largest = _trained(mdp, blended)
        for name, (curvature, loops, step) in OPTIONS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SurrogateCurvatureWarning)  # its failure is what is shown
                solved = implicit_hypergradient(
                    mdp,
                    blended,
                    primary,
                    logits,
                    curvature=curvature,
                    temperature=TEMPERATURE,
                    loops=loops,
                    step=1 / largest if step is None else step,
                )
            found = _by_state(solved.reward, auxiliary)
            rows.append(
                pd.DataFrame(
                    {
                        "option": name,
                        "offset": offset,
                        "world": np.arange(worlds),
                        "cosine": _cosine(found, truth),
                        "error": _relative_error(found, truth),
                        "to_plain": solved.cosine,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def neumann_errors(worlds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Relative error of Neumann's series by world, step and number of loops."""
    mdp, primary, auxiliary = _problems(worlds, rng)
    blended = primary + auxiliary
    truth = _by_state(reward_hypergradient(mdp, blended, primary, TEMPERATURE), auxiliary)
    logits, largest = _trained(mdp, blended)
    rows = []
    for share, loops in itertools.product(SHARES, LOOPS):
        solved = implicit_hypergradient(
            mdp,
            blended,
            primary,
            logits,
            curvature="neumann",
            temperature=TEMPERATURE,
            loops=loops,
            step=share * 2 / largest,
        )
        error = _relative_error(_by_state(solved.reward, auxiliary), truth)
        rows.append(pd.DataFrame({"share": share, "loops": loops, "world": np.arange(worlds), "error": error}))
    return pd.concat(rows, ignore_index=True)


def learned_blends(updates: int) -> pd.DataFrame:
    """Weight of the advice and discount learned through 40 exact steps of training on the grid, update by update.

    Update 0 is the naive sum at the outer discount; rows of `advice` "none" are the primary reward alone, and the most
    that any policy earns.
    """
    world = guided_grid()
    alone = _trained_on_blend(world, world.good, 0.0, world.mdp.discount)
    best = float(policy_return(world.mdp, world.primary, optimal_policy(world.mdp, world.primary).policy))
    rows = [("none", 0, 0.0, world.mdp.discount, float(alone.primary_return)), ("best", 0, np.nan, np.nan, best)]
    for advice in ("good", "bad"):
        rows += [(advice, *row) for row in _ascent(world, getattr(world, advice), updates)]
    return pd.DataFrame(rows, columns=["advice", "update", "weight", "discount", "return"])


def _problems(worlds: int, rng: np.random.Generator) -> tuple[FiniteMDP, np.ndarray, np.ndarray]:
    mdp = FiniteMDP(rng.dirichlet(np.ones(STATES), (worlds, STATES, ACTIONS)), DISCOUNT)
    return mdp, *rng.normal(size=(2, worlds, STATES, ACTIONS))


def _trained(mdp: FiniteMDP, blended: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits that training ends with, and the largest curvature there."""
    logits = solve_inner(mdp, blended, TEMPERATURE).action_values / TEMPERATURE
    logits = logits - logits.mean(axis=-1, keepdims=True)
    return logits, np.linalg.eigvalsh(-hessian(mdp, blended, logits, temperature=TEMPERATURE))[:, -1]


def _by_state(gradient: np.ndarray, auxiliary: np.ndarray) -> np.ndarray:
    """Derivatives by the weight of the auxiliary reward in each state, `(worlds, S)`."""
    return (gradient * auxiliary).sum(axis=-1)


def _cosine(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return (found * truth).sum(-1) / (np.linalg.norm(found, axis=-1) * np.linalg.norm(truth, axis=-1))


def _relative_error(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - truth, axis=-1) / np.linalg.norm(truth, axis=-1)


def _trained_on_blend(world, advice: np.ndarray, weight: float, discount: float) -> UnrolledGradient:
    blended = world.primary + weight * advice
    return unrolled_hypergradient(
        world.mdp, blended, world.primary, steps=STEPS, learning_rate=RATE, inner_discount=discount
    )


def _ascent(world, advice: np.ndarray, updates: int) -> list[tuple[int, float, float, float]]:
    """Normalised gradient ascent with backtracking on (weight, logit of the discount), from the naive sum."""
    table = world.mdp.state_action_reward(advice)

    def at(point):
        discount = 1 / (1 + math.exp(-point[1]))
        found = _trained_on_blend(world, advice, point[0], discount)
        slope = np.array([(found.reward * table).sum(), found.discount * discount * (1 - discount)])
        return float(found.primary_return), slope, discount

    point = np.array([1.0, math.log(world.mdp.discount / (1 - world.mdp.discount))])
    (earned, slope, discount), length, path = at(point), 0.5, []
    for update in range(updates + 1):
        path.append((update, point[0], discount, earned))
        direction = slope / max(np.linalg.norm(slope), 1e-300)
        length, here = min(2 * length, 1.0), earned
        while length > SHORTEST and (tried := at(point + length * direction))[0] <= here:
            length /= 2
        if length <= SHORTEST:
            break
        point, (earned, slope, discount) = point + length * direction, tried
    return path
