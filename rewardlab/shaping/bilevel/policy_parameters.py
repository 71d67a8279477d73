"""Exact derivatives of a softmax policy's return by its logits: gradient, Hessian, and how both move with the reward.

The return may be regularised, as training usually is: less `temperature` times the divergence of the policy from
uniform, summed along the way like a reward (entropy, but so that the end of an episode is neither paid nor charged),
and less `penalty` / 2 times the squared norm of the logits. Everything is exact at any logits, optimal or not.
"""

from typing import Any

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_broadcast, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.bilevel.policy_point import PolicyPoint, checked_discount, checked_logits, policy_point

__all__ = [
    "checked_directions",
    "checked_point",
    "discount_derivative",
    "hessian",
    "hessian_vector_product",
    "mixed_derivative",
    "policy_gradient",
    "regularised_return",
]

Logits = Float[Array, "*#logits s a"]


def regularised_return(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch"]:
    """Return of the policy softmax(logits), less what its regularisation costs.

    Args:
        mdp: World of batch shape `*mdp`.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        logits: `(*logits, S, A)`; those of terminal states count for the penalty alone.
        discount: In [0, 1], a number or an array that broadcasts against the batch; the world's own by default.
        temperature: Weight, in units of reward and at least 0, of the divergence of the policy from uniform (nats) in
            each state on the way. Without terminal states it is the usual entropy bonus less a constant.
        penalty: Weight, at least 0, of half the squared norm of the logits.

    Returns:
        `(*batch)`, the broadcast of world, reward, logits and discount.

    Raises:
        TypeError, ValueError: If an argument does not fit the world; the message names it and says where.

    Example:
        >>> import numpy as np
        >>> bandit = FiniteMDP(np.ones((1, 2, 1)), discount=0.0)
        >>> float(regularised_return(bandit, np.array([[1.0, 0.0]]), np.zeros((1, 2)), temperature=0.5))
        0.5
    """
    point = checked_point(mdp, reward, logits, discount=discount, temperature=temperature, penalty=penalty)
    return point.regularised_return


def policy_gradient(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch s a"]:
    """Gradient of `regularised_return` by the logits; arguments and errors as there.

    Returns:
        `(*batch, S, A)`; without a penalty it sums to 0 over the actions of a state.

    Example:
        >>> import numpy as np
        >>> bandit = FiniteMDP(np.ones((1, 2, 1)), discount=0.0)
        >>> policy_gradient(bandit, np.array([[1.0, 0.0]]), np.zeros((1, 2)))
        array([[ 0.25, -0.25]])
    """
    return checked_point(mdp, reward, logits, discount=discount, temperature=temperature, penalty=penalty).gradient()


def hessian_vector_product(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    vector: Float[Array, "*#batch s a"],
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch s a"]:
    """Hessian of `regularised_return` by the logits times a vector, at the cost of two products with an inverse.

    Args: as `regularised_return`, and `vector`, `(*batch, S, A)`.

    Returns:
        `(*batch, S, A)`.

    Raises:
        TypeError, ValueError: As `regularised_return`.
    """
    point = checked_point(mdp, reward, logits, discount=discount, temperature=temperature, penalty=penalty)
    return point.hessian_product(checked_logits(mdp, vector, "vector")[..., None])[..., 0]


def hessian(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch n n"]:
    """The whole Hessian of `regularised_return` by the logits; arguments and errors as there.

    At the soft optimum of an inner problem without penalty it is minus `temperature` times the Fisher matrix of the
    policy: a block a state, and a null direction a state, along which logits move without moving the policy.

    Returns:
        `(*batch, S * A, S * A)`, the actions of a state side by side.
    """
    return checked_point(mdp, reward, logits, discount=discount, temperature=temperature, penalty=penalty).hessian()


def mixed_derivative(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    directions: Float[Array, "*#batch k s a"],
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch k s a"]:
    """How `policy_gradient` moves as the reward moves in each of several directions.

    Args: as `regularised_return`, and `directions`, rewards of state-action pairs `(*batch, K, S, A)`, such as the
        components of a blend. The derivative depends on none of `reward`, `temperature` and `penalty`; they are taken
        so that all derivatives of a problem are called alike.

    Returns:
        `(*batch, K, S, A)`.

    Raises:
        TypeError, ValueError: As `regularised_return`.
    """
    point = checked_point(mdp, reward, logits, discount=discount, temperature=temperature, penalty=penalty)
    xp = array_namespace(point.policy)
    directions = checked_directions(mdp, directions)
    return xp.moveaxis(point.mixed(xp.moveaxis(directions, -3, -1)), -1, -3)


def discount_derivative(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch s a"]:
    """How `policy_gradient` moves with the discount, `(*batch, S, A)`; arguments and errors as `regularised_return`."""
    point = checked_point(mdp, reward, logits, discount=discount, temperature=temperature, penalty=penalty)
    return point.mixed_discount()


def checked_point(
    mdp: FiniteMDP,
    reward: Reward,
    logits: Logits,
    *,
    discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
    names: tuple[str, str, str] = ("reward", "discount", "logits"),
) -> PolicyPoint:
    """The policy evaluated, its arguments checked; `names` are what the caller calls reward, discount and logits.

    Raises:
        TypeError, ValueError: As `regularised_return`.
    """
    check_scalar("temperature", temperature, low=0)
    check_scalar("penalty", penalty, low=0)
    state_action = mdp.state_action_reward(reward, names[0])
    logits, discount = checked_logits(mdp, logits, names[2]), checked_discount(mdp, discount, names[1])
    shapes = (tuple(state_action.shape[:-2]), tuple(getattr(discount, "shape", ())), tuple(logits.shape[:-2]))
    check_broadcast(**dict(zip(names, shapes, strict=True)), mdp=mdp.batch_shape)
    return policy_point(mdp, state_action, logits, discount=discount, temperature=temperature, penalty=penalty)


def checked_directions(mdp: FiniteMDP, directions: object) -> Float[Array, "*batch k s a"]:
    """Directions in float64 `(*batch, K, S, A)`, 0 in terminal states, if they fit the world.

    Raises:
        TypeError, ValueError: If they are no array of the world's library, of another shape, or not finite.
    """
    check_array("directions", directions, like=mdp.transition)
    shape = tuple(directions.shape)
    if len(shape) < 3 or shape[-2:] != (mdp.states, mdp.actions):
        raise ValueError(f"directions has shape {shape}, expected (*batch, K, {mdp.states}, {mdp.actions})")
    check_broadcast(directions=shape[:-3], mdp=mdp.batch_shape)
    xp = array_namespace(directions)
    directions = check_finite("directions", as_float64(directions))
    return xp.where(mdp.terminal[..., None, :, None], xp.zeros_like(directions), directions)
