"""What a change of the training reward does to the primary return, through the policy that training ends at.

A policy is trained on a blend of rewards; what is meant is another, the primary reward. Where training has ended, the
gradient of its objective is 0, and the implicit function theorem says how its logits move with every entry of the
blended reward: by the inverse of the negative Hessian. This module offers that inverse and what is put in its place.
"""

import math
import warnings
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, is_array, to_numpy
from rewardlab.checks import check_array, check_broadcast, check_choice, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.bilevel.policy_parameters import Logits, checked_point
from rewardlab.shaping.bilevel.policy_point import PolicyPoint

__all__ = ["Curvature", "ImplicitGradient", "SurrogateCurvatureWarning", "implicit_hypergradient"]

Curvature = Literal["exact", "fisher", "first_order", "neumann", "surrogate"]

_NULL = 1e-10  # eigenvalues this small beside the largest one are of directions that do not move the policy


class SurrogateCurvatureWarning(UserWarning):
    """The curvature of the sampled surrogate was used: it depends on the offset of the reward, even in sign."""


class ImplicitGradient(NamedTuple):
    """What `implicit_hypergradient` returns.

    Attributes:
        primary_return: What the policy earns of the primary reward, `(*batch)`.
        reward: Derivative of that return by every entry of the blended reward, `(*batch, S, A)`. Its inner product
            with a component of the blend is the derivative by the weight of that component.
        discount: Derivative by the discount that the policy is trained with, `(*batch)`.
        vector: What the curvature made of the gradient of the primary return by the logits, `(*batch, S, A)`.
        cosine: Cosine of that vector with the plain gradient, `(*batch)`: near 1, the curvature did nothing but scale.
            NaN where either is 0.
        slope: Largest entry of the gradient of the training objective, `(*batch)`. The theorem holds where it is 0.
    """

    primary_return: Float[Array, "*batch"]
    reward: Float[Array, "*batch s a"]
    discount: Float[Array, "*batch"]
    vector: Float[Array, "*batch s a"]
    cosine: Float[Array, "*batch"]
    slope: Float[Array, "*batch"]


def implicit_hypergradient(
    mdp: FiniteMDP,
    blended: Reward,
    primary: Reward,
    logits: Logits,
    *,
    curvature: Curvature = "exact",
    inner_discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
    step: Any = 1.0,
    loops: int = 5,
) -> ImplicitGradient:
    """Derivative of the primary return by the reward and the discount that a policy is trained with.

    Args:
        mdp: World; its discount is that of the primary return.
        blended: Reward that the policy is trained on, `(*batch, S, A, S)` or `(*batch, S, A)`.
        primary: Reward that is meant, likewise.
        logits: Where training has ended, `(*batch, S, A)`: a stationary point of `regularised_return` of the blended
            reward: `action_values / temperature` of `solve_inner` without penalty, `stationary_logits` with one.
        curvature: What stands for the inverse of -H, H the Hessian of the training objective by the logits.
            `exact`: its pseudo-inverse, from the whole Hessian; correct at every stationary point.
            `fisher`: `temperature` times the Fisher matrix, plus the penalty, for -H. The same at a soft optimum
            without penalty, where it costs no solve: a tabular policy's natural gradient is its advantage.
            `neumann`: `step` times the sum over j = 0..`loops` of (I + `step` H)^j.
            `first_order`: `step` times the identity.
            `surrogate`: the curvature that automatic differentiation finds in a surrogate of sampled log-probabilities
            times returns. It lacks the outer product of the scores. Do not use it but to see what it does.
        inner_discount: Discount that the policy is trained with, a number or `(*batch)`; the world's own by default.
        temperature: Of the training objective, as for `regularised_return`; above 0 for `fisher`.
        penalty: Of the training objective, likewise.
        step: Of `first_order` and `neumann`, above 0; a number or `(*batch)`. Neumann's sum converges where it is below
            2 / (largest eigenvalue of -H), for instance, at a soft optimum, below 4 / (temperature * most visits).
        loops: Number of Hessian products of `neumann`, at least 0.

    Returns:
        The derivatives, and what the curvature did. States that training never visits have no curvature to invert and
        contribute 0; `reward_hypergradient`, which needs none, covers them too.

    Raises:
        TypeError, ValueError: If an argument does not fit the world or is out of range.

    Warns:
        SurrogateCurvatureWarning: With the curvature `surrogate`.

    Source: Implicit differentiation as in BARFI (arXiv 2310.19007), Neumann's series from arXiv 1911.02590; the exact
        forms are derived here. The official code uses `surrogate` products in `neumann`.

    Example:
        >>> import numpy as np
        >>> bandit = FiniteMDP(np.ones((1, 2, 1)), discount=0.0)
        >>> right, wrong = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
        >>> trained = (right + wrong) / 0.5  # at temperature 0.5, up to a constant
        >>> found = implicit_hypergradient(bandit, right + wrong, right, trained, temperature=0.5)
        >>> found.reward.round(6)  # either entry moves the probability of action 0 by 1 / (4 * 0.5)
        array([[ 0.5, -0.5]])
    """
    check_choice("curvature", curvature, get_args(Curvature))
    if curvature == "fisher":
        check_scalar("temperature of the curvature 'fisher'", temperature, low=0, open_low=True)
    check_scalar("loops", loops, low=0, whole=True)
    inner = checked_point(
        mdp,
        blended,
        logits,
        discount=inner_discount,
        temperature=temperature,
        penalty=penalty,
        names=("blended", "inner_discount", "logits"),
    )
    outer = checked_point(mdp, primary, logits, names=("primary", "discount", "logits"))
    step = _checked_step(mdp, step)
    batches = {"blended": tuple(inner.values.shape[:-1]), "primary": tuple(outer.values.shape[:-1])}
    batch = check_broadcast(**batches, step=tuple(getattr(step, "shape", (1, 1))[:-2]))
    plain = array_namespace(inner.values).broadcast_to(outer.gradient(), (*batch, mdp.states, mdp.actions))
    return _through_the_optimum(inner, outer, plain, _inverted(inner, plain, curvature, step, loops))


def _through_the_optimum(inner: PolicyPoint, outer: PolicyPoint, plain: Array, vector: Array) -> ImplicitGradient:
    xp = array_namespace(vector)
    product, size = xp.sum(vector * plain, axis=(-2, -1)), xp.sqrt(_squared(vector) * _squared(plain))
    nothing = size == 0
    cosine = xp.where(nothing, xp.full_like(size, xp.nan), product / xp.where(nothing, xp.ones_like(size), size))
    return ImplicitGradient(
        primary_return=xp.broadcast_to(outer.regularised_return, size.shape),
        reward=inner.pulled_back(vector),
        discount=xp.sum(vector * inner.mixed_discount(), axis=(-2, -1)),
        vector=vector,
        cosine=cosine,
        slope=xp.broadcast_to(xp.max(xp.abs(inner.gradient()), axis=(-2, -1)), size.shape),
    )


def _inverted(inner: PolicyPoint, plain: Array, curvature: Curvature, step: Any, loops: int) -> Array:
    """The gradient of the primary return, times what stands for the inverse of the negative Hessian."""
    if curvature == "first_order":
        return step * plain
    if curvature == "fisher":
        return _fisher_inverted(inner, plain)
    if curvature == "neumann":
        term = total = plain
        for _ in range(loops):
            term = term + step * inner.hessian_product(term[..., None])[..., 0]
            total = total + term
        return step * total
    xp = array_namespace(plain)
    # half of the size of an entry is taken off either side: then the least likely action is solved as well as any
    size = inner.taken + inner.penalty
    scale = xp.where(size > 0, 1 / xp.sqrt(xp.where(size > 0, size, xp.ones_like(size))), xp.zeros_like(size))
    if curvature == "surrogate":
        _warn_of_surrogate()
        return _solved(_surrogate_blocks(inner), plain, scale)
    pairs = (*plain.shape[:-2], plain.shape[-2] * plain.shape[-1])
    scale = xp.reshape(scale, (*scale.shape[:-2], pairs[-1]))
    return xp.reshape(_solved(-inner.hessian(), xp.reshape(plain, pairs), scale), plain.shape)


def _fisher_inverted(inner: PolicyPoint, plain: Array) -> Array:
    xp = array_namespace(plain)
    taken = inner.taken
    if not inner.penalty:  # each block times x is plain for x = plain / taken, as plain sums to 0 over the actions
        return xp.where(taken > 0, plain / xp.where(taken > 0, taken, xp.ones_like(taken)), taken) / inner.temperature
    eye = xp.eye(taken.shape[-1], dtype=taken.dtype, device=taken.device)
    blocks = inner.temperature * _blocks(inner, inner.visits) + inner.penalty * eye
    return xp.linalg.solve(blocks, plain[..., None])[..., 0]


def _surrogate_blocks(inner: PolicyPoint) -> Array:
    """Negative curvature of expected (return from here) * log-probability, plus entropy of the states on the way."""
    xp = array_namespace(inner.policy)
    actions = inner.policy.shape[-1]
    log_policy = inner.log_policy
    divergence = xp.sum(inner.policy * (log_policy + math.log(actions)), axis=-1) * inner.alive
    values = inner.values + inner.temperature * xp.matmul(inner.inverse, divergence[..., None])[..., 0]
    eye = xp.eye(actions, dtype=values.dtype, device=values.device)
    surprise = log_policy - xp.sum(inner.policy * log_policy, axis=-1, keepdims=True)
    spread = inner.policy[..., None] * (eye - inner.policy[..., None, :])  # how each probability moves with each logit
    entropy = surprise[..., None] * spread + inner.policy[..., None] * (
        eye - inner.policy[..., None, :] - xp.matmul(log_policy[..., None, :], spread)
    )
    entropy = inner.temperature * inner.visits[..., None, None] * entropy
    return _blocks(inner, inner.visits * values) + entropy + inner.penalty * eye


def _blocks(inner: PolicyPoint, weight: Array) -> Array:
    """A block a state: its weight times the covariance of the actions, `(*batch, S, A, A)`."""
    xp = array_namespace(weight)
    eye = xp.eye(inner.policy.shape[-1], dtype=weight.dtype, device=weight.device)
    return (weight[..., None] * inner.policy)[..., None] * (eye - inner.policy[..., None, :])


def _solved(matrix: Array, right: Array, scale: Array) -> Array:
    """Least-squares solution, smallest in the scaled coordinates, with symmetric matrices `(*batch, n, n)`."""
    xp = array_namespace(matrix)
    scaled = scale[..., :, None] * matrix * scale[..., None, :]
    sizes, vectors = xp.linalg.eigh((scaled + xp.matrix_transpose(scaled)) / 2)
    kept = xp.abs(sizes) > _NULL * xp.max(xp.abs(sizes), axis=-1, keepdims=True)
    inverse = xp.where(kept, 1 / xp.where(kept, sizes, xp.ones_like(sizes)), xp.zeros_like(sizes))
    turned = xp.matmul(xp.matrix_transpose(vectors), (scale * right)[..., None])
    return scale * xp.matmul(vectors, inverse[..., None] * turned)[..., 0]


def _squared(table: Array) -> Array:
    return array_namespace(table).sum(table * table, axis=(-2, -1))


def _warn_of_surrogate() -> None:
    warnings.warn(
        "the sampled surrogate's curvature lacks the outer product of the scores and depends on the offset of the "
        "reward, even in sign; use 'fisher' or 'exact'",
        SurrogateCurvatureWarning,
        stacklevel=4,
    )


def _checked_step(mdp: FiniteMDP, step: object) -> Any:
    """The step as a number, or an array that multiplies tables of states and actions."""
    if not is_array(step) or step.ndim == 0:
        return check_scalar("step", float(step) if is_array(step) else step, low=0, open_low=True)
    check_broadcast(step=tuple(check_array("step", step, like=mdp.transition).shape), mdp=mdp.batch_shape)
    numbers = to_numpy(check_finite("step", as_float64(step)))
    for place in np.argwhere(numbers <= 0).tolist():
        raise ValueError(f"step{place} is {numbers[tuple(place)]}, expected a number above 0")
    return as_float64(step)[..., None, None]
