"""The polytope of occupancies: policies are its points, rewards are directions, returns are inner products."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import check_array, check_finite
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = [
    "RegretConstants",
    "chebyshev_radius",
    "flow_matrix",
    "project_reward",
    "regret_constants",
]


LP_TOLERANCES = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}  # the least HiGHS takes


class RegretConstants(NamedTuple):
    """What the distance of two projected rewards promises: `lower` * d <= worst-case regret <= `upper` * d.

    Attributes:
        lower: L, above 0; 0 where the polytope has no interior (some state is never reached).
        upper: U; infinite where the polytope has no interior.
        radius: Chebyshev radius r of the polytope of occupancies, within its affine hull.
        diameter: Bound D on the distance between two occupancies.
    """

    lower: float
    upper: float
    radius: float
    diameter: float


def flow_matrix(mdp: FiniteMDP) -> Float[Array, "*batch sa s"]:
    """The matrix B of the flow constraints: occupancies are exactly the x >= 0 with B^T x = initial.

    Returns:
        `(*batch, S * A, S)`: row (s, a) holds 1 at s minus the discounted probability of each next state. Its columns
        span the potential-shaping rewards. Rows and columns of terminal states are 0: no action is taken there.
    """
    xp = array_namespace(mdp.transition)
    eye = xp.eye(mdp.states, dtype=xp.float64, device=mdp.transition.device)
    flow = eye[:, None, :] - mdp.discount_for(3) * mdp.continuation
    alive = xp.astype(~mdp.terminal, xp.float64)
    flow = flow * alive[..., :, None, None] * alive[..., None, None, :]
    return xp.reshape(flow, (*mdp.batch_shape, mdp.states * mdp.actions, mdp.states))


def project_reward(
    mdp: FiniteMDP, reward: Reward, *, weight: Float[Array, "*#batch s a"] | None = None
) -> Float[Array, "*batch s a"]:
    """The part of a reward that can change which policy is better: its projection onto the polytope's directions.

    Potential shaping and redistribution over next states project to 0. Two rewards order all policies the same way
    exactly if their projections point the same way, and the angle between projections measures how far they do not.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        weight: Positive weight of each state-action pair in the inner product that the projection is orthogonal
            in, `(*batch, S, A)`; 1 by default, which is what the policy geometry uses.

    Returns:
        `(I - B B^+)` applied to the expected reward of each state-action pair, `(*batch, S, A)`.

    Raises:
        TypeError, ValueError: If the reward or the weight does not fit the world, or a weight is not above 0.

    Source: Skalse et al. 2024 (arXiv 2310.09144), projected reward; the minimal canonical form of STARC for the
        transition-weighted L2 norm.
    """
    state_action = mdp.state_action_reward(reward)
    xp = array_namespace(state_action)
    root = None if weight is None else xp.sqrt(_checked_weight(mdp, weight))
    basis = _shaping_basis(mdp, root)
    flat = state_action if root is None else root * state_action
    flat = xp.reshape(flat, (*flat.shape[:-2], mdp.states * mdp.actions))
    for _ in range(2):  # the second pass removes what rounding left of the first: the result is orthogonal to 1e-16
        coordinates = xp.matmul(xp.matrix_transpose(basis), flat[..., None])
        flat = flat - xp.matmul(basis, coordinates)[..., 0]
    projected = xp.reshape(flat, (*flat.shape[:-1], mdp.states, mdp.actions))
    return projected if root is None else projected / root


def chebyshev_radius(mdp: FiniteMDP) -> float:
    """Radius of the largest ball around an occupancy, within the affine hull, that holds only occupancies.

    Args:
        mdp: One world (no batch dimension).

    Returns:
        The radius, in units of expected discounted visits; 0 if some state cannot be reached.

    Raises:
        ValueError: If the world has a batch dimension or its linear program fails.
    """
    alive, flow = alive_flow(mdp)
    basis = to_numpy(_shaping_basis(mdp)).reshape(mdp.states, mdp.actions, mdp.states)[alive][..., alive]
    basis = basis.reshape(flow.shape[0], -1)
    # length of the projection of each unit vector: how far a step of 1 along it moves within the hull
    reach = np.sqrt(np.maximum(1 - np.vecdot(basis, basis), 0))
    scale = visits_scale(mdp)
    lower = hstack([csr_array(-np.eye(flow.shape[0])), csr_array(reach[:, None])])
    equal = hstack([flow.T, csr_array((flow.shape[1], 1))])
    cost = np.append(np.zeros(flow.shape[0]), -1.0)
    result = linprog(
        cost,
        A_ub=lower,
        b_ub=np.zeros(flow.shape[0]),
        A_eq=equal,
        b_eq=to_numpy(mdp.initial)[alive] / scale,
        bounds=(0, None),
        method="highs",
        options=LP_TOLERANCES,
    )
    if not result.success:
        raise ValueError(f"the linear program of the Chebyshev radius failed: {result.message}")
    return float(result.x[-1] * scale)


def regret_constants(mdp: FiniteMDP) -> RegretConstants:
    """Constants between which worst-case regret lies, as multiples of the distance of projected rewards.

    They hold for the distance with the projected canonical form (`canonicaliser="minimal"`), plain L2 over
    state-action pairs as normaliser and metric: with D the diameter and r the Chebyshev radius, L = r / D and
    U = D / (2 r).

    Args:
        mdp: One world (no batch dimension), discount below 1.

    Raises:
        ValueError: If the world has a batch dimension, or the discount is 1 and the diameter unbounded.

    Source: derived from the geometry of occupancies; the theorem that such constants exist is that of STARC
        (arXiv 2309.15257).
    """
    if mdp.discount == 1:
        raise ValueError("discount is 1, expected a discount below 1: the polytope's diameter has no bound otherwise")
    radius = chebyshev_radius(mdp)
    diameter = math.sqrt(2) / (1 - mdp.discount)
    if radius <= 1e-12 * diameter:
        return RegretConstants(0.0, math.inf, 0.0, diameter)
    return RegretConstants(float(radius / diameter), float(diameter / (2 * radius)), radius, diameter)


def alive_flow(mdp: FiniteMDP) -> tuple[np.ndarray, csr_array]:
    """Non-terminal states of one world `(S)`, and the sparse flow matrix restricted to them, for linear programs.

    Raises:
        ValueError: If the world has a batch dimension.
    """
    if mdp.batch_shape:
        raise ValueError(f"mdp has batch shape {mdp.batch_shape}, expected one world; index the batch first")
    alive = ~to_numpy(mdp.terminal)
    flow = to_numpy(flow_matrix(mdp)).reshape(mdp.states, mdp.actions, mdp.states)[alive][..., alive]
    return alive, csr_array(flow.reshape(-1, flow.shape[-1]))


def visits_scale(mdp: FiniteMDP) -> float:
    """Order of magnitude of an occupancy's total; unless programs are scaled by it they lose digits near discount 1."""
    return 1 / max(1 - mdp.discount, 1 / mdp.states)


def _checked_weight(mdp: FiniteMDP, weight: Array) -> Array:
    weight = check_finite("weight", as_float64(check_array("weight", weight, like=mdp.transition)))
    if tuple(weight.shape[-2:]) != (mdp.states, mdp.actions):
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected (*batch, {mdp.states}, {mdp.actions})")
    smallest = float(array_namespace(weight).min(weight))
    if smallest <= 0:
        raise ValueError(f"weight has an entry of {smallest:.6g}, expected all above 0")
    return weight


def _shaping_basis(mdp: FiniteMDP, root: Array | None = None) -> Array:
    """Orthonormal basis `(*batch, S * A, S)` of the potential-shaping rewards times the root of a weight."""
    xp = array_namespace(mdp.transition)
    flow = xp.reshape(flow_matrix(mdp), (*mdp.batch_shape, mdp.states, mdp.actions, mdp.states))
    # a terminal state's own column is 0; a 1 in a row where no reward can be keeps the rank without other effect
    eye = xp.eye(mdp.states, dtype=xp.float64, device=flow.device)
    first = xp.astype(xp.arange(mdp.actions, device=flow.device) == 0, xp.float64)
    filler = eye[:, None, :] * first[:, None] * xp.astype(mdp.terminal, xp.float64)[..., None, None]
    columns = flow + filler if root is None else root[..., None] * (flow + filler)
    basis, _ = xp.linalg.qr(xp.reshape(columns, (*columns.shape[:-3], mdp.states * mdp.actions, mdp.states)))
    return basis
