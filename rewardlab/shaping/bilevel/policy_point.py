"""A softmax policy evaluated under one reward: everything its return's first and second derivatives are made of."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, is_array, to_numpy
from rewardlab.checks import check_array, check_broadcast, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP

__all__ = ["PolicyPoint", "checked_discount", "checked_logits", "policy_point"]


@dataclass(frozen=True, eq=False)
class PolicyPoint:
    """The policy softmax(logits) in a world, evaluated; its derivatives by logits, reward and discount.

    What is differentiated is the regularised return: discounted reward less `temperature` times the divergence of the
    policy from uniform in every state on the way, less `penalty` / 2 times the squared norm of the logits. One inverse
    serves all derivatives. Vectors that a method maps have their number last, `(*batch, S, A, K)`.

    Attributes:
        mdp: The world.
        reward: For state-action pairs, 0 in terminal states, `(*batch, S, A)`.
        rows: Transition probabilities, 0 in terminal states, `(*mdp, S * A, S)`.
        alive: 1.0 where the episode goes on, `(*mdp, S)`.
        discount: A number, or one an element of the batch, `(*batch)`.
        temperature: Weight of the divergence from uniform.
        penalty: Weight of the squared norm.
        logits: `(*batch, S, A)`.
        log_policy: `(*batch, S, A)`.
        policy: `(*batch, S, A)`.
        inverse: Inverse of I - discount * P under the policy, `(*batch, S, S)`.
        visits: Discounted number of visits, `(*batch, S)`; 0 in terminal states.
        values: Regularised values (without the penalty) `(*batch, S)`.
        advantages: Regularised advantages `(*batch, S, A)`; 0 on average under the policy, and at a soft optimum.
        regularised_return: `(*batch)`.
    """

    mdp: FiniteMDP
    reward: Array
    rows: Array
    alive: Array
    discount: Any
    temperature: float
    penalty: float
    logits: Array
    log_policy: Array
    policy: Array
    inverse: Array
    visits: Array
    values: Array
    advantages: Array
    regularised_return: Array

    def at(self, logits: Float[Array, "*#batch s a"]) -> "PolicyPoint":
        """The same problem at other logits."""
        options = {"discount": self.discount, "temperature": self.temperature, "penalty": self.penalty}
        return policy_point(self.mdp, self.reward, logits, **options)

    @property
    def taken(self) -> Float[Array, "*batch s a"]:
        """Discounted number of times that each action is taken."""
        return self.visits[..., None] * self.policy

    def gradient(self) -> Float[Array, "*batch s a"]:
        """Gradient of the regularised return by the logits."""
        return self.taken * self.advantages - self.penalty * self.logits

    def hessian_product(self, vectors: Float[Array, "*#batch s a k"]) -> Float[Array, "*batch s a k"]:
        """Hessian of the regularised return by the logits, times each vector."""
        xp = array_namespace(vectors)
        policy, advantages = self.policy[..., None], self.advantages[..., None]
        taken = self.taken[..., None]
        centred = vectors - xp.sum(policy * vectors, axis=-2, keepdims=True)
        value_change = xp.matmul(self.inverse, xp.sum(policy * centred * advantages, axis=-2))
        advantage_change = self._ahead(value_change) - self.temperature * centred - value_change[..., None, :]
        visit_change = self._arriving(taken * centred)
        curved = visit_change[..., None, :] * policy * advantages + taken * (centred * advantages + advantage_change)
        return curved - self.penalty * vectors

    def hessian(self) -> Float[Array, "*batch n n"]:
        """The whole Hessian, over pairs of state and action in one row."""
        xp = array_namespace(self.policy)
        states, actions = self.policy.shape[-2:]
        pairs = states * actions
        units = xp.eye(pairs, dtype=self.policy.dtype, device=self.policy.device)
        columns = self.hessian_product(xp.reshape(units, (states, actions, pairs)))
        return xp.reshape(columns, (*columns.shape[:-3], pairs, pairs))

    def mixed(self, directions: Float[Array, "*#batch s a k"]) -> Float[Array, "*batch s a k"]:
        """Change of the gradient as the reward moves in each direction, 0 in terminal states."""
        xp = array_namespace(directions)
        value_change = xp.matmul(self.inverse, xp.sum(self.policy[..., None] * directions, axis=-2))
        return self.taken[..., None] * (directions + self._ahead(value_change) - value_change[..., None, :])

    def mixed_discount(self) -> Float[Array, "*batch s a"]:
        """Change of the gradient with the discount."""
        xp = array_namespace(self.values)
        following = self._following(self.values[..., None])
        arrived = xp.matmul(xp.matrix_transpose(self.rows), self._in_rows(self.taken[..., None]))
        visit_change = xp.matmul(xp.matrix_transpose(self.inverse), arrived)
        return visit_change * self.policy * self.advantages + self.mixed(following)[..., 0]

    def pulled_back(self, vector: Float[Array, "*batch s a"]) -> Float[Array, "*batch s a"]:
        """Gradient, by every entry of the reward, of the inner product of `vector` with `gradient()`."""
        xp = array_namespace(vector)
        centred = vector - xp.sum(self.policy * vector, axis=-1, keepdims=True)
        weighted = self.taken * centred
        return (weighted + self._arriving(weighted[..., None]) * self.policy) * self.alive[..., None]

    def _in_rows(self, table: Array) -> Array:
        xp = array_namespace(table)
        return xp.reshape(table, (*table.shape[:-3], table.shape[-3] * table.shape[-2], table.shape[-1]))

    def _following(self, values: Array) -> Array:
        """Expected next value after each action, `(*batch, S, A, K)` of values `(*batch, S, K)`."""
        xp = array_namespace(values)
        following = xp.matmul(self.rows, values)
        return xp.reshape(following, (*following.shape[:-2], *self.policy.shape[-2:], values.shape[-1]))

    def _ahead(self, values: Array) -> Array:
        return _for_trailing(self.discount, 3) * self._following(values)

    def _arriving(self, sent: Array) -> Array:
        """Discounted visits `(*batch, S, K)` that start where actions `(*batch, S, A, K)` lead."""
        xp = array_namespace(sent)
        arrived = _for_trailing(self.discount, 2) * xp.matmul(xp.matrix_transpose(self.rows), self._in_rows(sent))
        return xp.matmul(xp.matrix_transpose(self.inverse), arrived)


def policy_point(
    mdp: FiniteMDP,
    reward: Float[Array, "*#batch s a"],
    logits: Float[Array, "*#batch s a"],
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> PolicyPoint:
    """Evaluate softmax(logits) by one inverse; arguments as `policy_gradient`, unchecked.

    Args:
        mdp: World.
        reward: For state-action pairs, 0 in terminal states, `(*batch, S, A)`.
        logits: `(*batch, S, A)`.
        discount: A number or one an element of the batch, `(*batch)`; the world's own by default.
        temperature: At least 0.
        penalty: At least 0.
    """
    xp = array_namespace(logits)
    discount = mdp.discount if discount is None else discount
    alive = xp.astype(~mdp.terminal, xp.float64)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    log_policy = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    policy = xp.exp(log_policy)
    rows = xp.reshape(mdp.continuation, (*mdp.batch_shape, mdp.states * mdp.actions, mdp.states))
    step = xp.matmul(policy[..., None, :], mdp.continuation)[..., 0, :]
    eye = xp.eye(mdp.states, dtype=step.dtype, device=step.device)
    # an inverse is safe here: its condition number is of the order of the expected number of steps
    inverse = xp.linalg.inv(eye - _for_trailing(discount, 2) * step)
    earned = reward
    if temperature:
        earned = reward - temperature * alive[..., None] * (log_policy + math.log(mdp.actions))
    values = xp.matmul(inverse, xp.sum(policy * earned, axis=-1)[..., None])
    following = xp.matmul(rows, values)[..., 0]
    following = xp.reshape(following, (*following.shape[:-1], mdp.states, mdp.actions))
    advantages = earned + _for_trailing(discount, 2) * following - values
    visits = alive * xp.matmul(mdp.initial[..., None, :], inverse)[..., 0, :]
    earned_in_all = xp.sum(mdp.initial * values[..., 0], axis=-1)
    if penalty:
        earned_in_all = earned_in_all - penalty / 2 * xp.sum(logits * logits, axis=(-2, -1))
    return PolicyPoint(
        mdp=mdp,
        reward=reward,
        rows=rows,
        alive=alive,
        discount=discount,
        temperature=temperature,
        penalty=penalty,
        logits=logits,
        log_policy=log_policy,
        policy=policy,
        inverse=inverse,
        visits=visits,
        values=values[..., 0],
        advantages=advantages,
        regularised_return=earned_in_all,
    )


def checked_logits(mdp: FiniteMDP, logits: object, name: str = "logits") -> Float[Array, "*batch s a"]:
    """`logits` in float64, if they fit the world.

    Raises:
        TypeError: If they are no array of the world's library.
        ValueError: If the shape is not `(*batch, S, A)`, or an entry is not finite (it is named).
    """
    check_array(name, logits, like=mdp.transition)
    if tuple(logits.shape[-2:]) != (mdp.states, mdp.actions):
        raise ValueError(f"{name} has shape {tuple(logits.shape)}, expected (*batch, {mdp.states}, {mdp.actions})")
    check_broadcast(**{name: tuple(logits.shape[:-2])}, mdp=mdp.batch_shape)
    return check_finite(name, as_float64(logits))


def checked_discount(mdp: FiniteMDP, discount: object, name: str = "discount") -> Any:
    """A discount, as a number or an array of float64 that broadcasts against the world's batch; None is its own.

    Raises:
        TypeError: If it is neither None, a number, nor an array of the world's library.
        ValueError: If it is outside [0, 1], is 1 where some policy never ends, or its shape does not broadcast.
    """
    if discount is None:
        return mdp.discount
    if not is_array(discount) or discount.ndim == 0:
        value = float(discount) if is_array(discount) else discount
        check_scalar(name, value, low=0, high=1)
        return float(value if value < 1 else mdp.with_discount(value).discount)  # the world knows whether all ends
    check_broadcast(**{name: tuple(check_array(name, discount, like=mdp.transition).shape)}, mdp=mdp.batch_shape)
    numbers = to_numpy(check_finite(name, as_float64(discount)))
    for place in np.argwhere((numbers < 0) | (numbers > 1)).tolist():
        raise ValueError(f"{name}{place} is {numbers[tuple(place)]}, expected a number in [0, 1]")
    if (numbers == 1).any():
        mdp.with_discount(1.0)
    return as_float64(discount)


def _for_trailing(discount: Any, trailing: int) -> Any:
    """The discount, shaped to multiply arrays with that many dimensions after those of the batch."""
    return discount[(...,) + (None,) * trailing] if is_array(discount) else discount
