"""What a change of the training reward does to the primary return, through every step of a training that is not over.

The implicit gradient asks where training ends; here training is `steps` steps of exact gradient ascent, and the
derivative goes through each of them: backwards, for every entry of the reward, or forwards, along some directions.
"""

from typing import Any, NamedTuple

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.bilevel.inner_loop import checked_start
from rewardlab.shaping.bilevel.policy_parameters import Logits, checked_directions, checked_point
from rewardlab.shaping.bilevel.policy_point import PolicyPoint

__all__ = ["UnrolledGradient", "forward_unrolled_hypergradient", "unrolled_hypergradient"]


class UnrolledGradient(NamedTuple):
    """What `unrolled_hypergradient` returns.

    Attributes:
        primary_return: What the trained policy earns of the primary reward, `(*batch)`.
        reward: Derivative of that return by every entry of the blended reward, `(*batch, S, A)`. Its inner product
            with a component of the blend is the derivative by the weight of that component.
        discount: Derivative by the discount that the policy is trained with, `(*batch)`.
        logits: What training ends with, `(*batch, S, A)`; without the batch dimensions of the primary reward alone.
    """

    primary_return: Float[Array, "*batch"]
    reward: Float[Array, "*batch s a"]
    discount: Float[Array, "*batch"]
    logits: Float[Array, "*batch s a"]


def unrolled_hypergradient(
    mdp: FiniteMDP,
    blended: Reward,
    primary: Reward,
    *,
    steps: int,
    learning_rate: float,
    start: Logits | None = None,
    inner_discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> UnrolledGradient:
    """Derivative of the primary return by the reward and the discount, through `steps` steps of training.

    Backwards: all steps are kept, `steps` times S * S numbers, and one pass gives the derivative by every entry. From a
    stationary point it equals Neumann's series of `implicit_hypergradient` with `loops` = `steps` - 1.

    Args:
        mdp: World; its discount is that of the primary return.
        blended: Reward that the policy is trained on, `(*batch, S, A, S)` or `(*batch, S, A)`.
        primary: Reward that is meant, likewise.
        steps: Steps of gradient ascent on `regularised_return` of the blended reward, at least 0.
        learning_rate: What the gradient is multiplied with, above 0.
        start: Logits to start from, `(*batch, S, A)`; the uniform policy's, all 0, by default.
        inner_discount: Discount that the policy is trained with, a number or `(*batch)`; the world's own by default.
        temperature: Of the training objective, as for `regularised_return`.
        penalty: Likewise.

    Returns:
        The derivatives, the primary return and the trained logits.

    Raises:
        TypeError, ValueError: If an argument does not fit the world or is out of range.

    Source: The exact form of what BiPaRS (arXiv 2011.02669, its incremental meta-gradient) and truncated unrolling do
        with samples; derived here.

    Example:
        >>> import numpy as np
        >>> bandit = FiniteMDP(np.ones((1, 2, 1)), discount=0.0)
        >>> right = np.array([[1.0, 0.0]])
        >>> unrolled_hypergradient(bandit, 0 * right, right, steps=1, learning_rate=1.0).reward
        array([[ 0.125, -0.125]])
    """
    point = _start(mdp, blended, start, inner_discount, temperature, penalty, steps, learning_rate)
    xp, path = array_namespace(point.logits), []
    for _ in range(steps):
        path.append(point)
        point = point.at(point.logits + learning_rate * point.gradient())
    outer = checked_point(mdp, primary, point.logits, names=("primary", "discount", "logits"))
    back = outer.gradient()
    reward, discount = xp.zeros_like(back), xp.zeros_like(back[..., 0, 0])
    for point_before in reversed(path):
        reward = reward + learning_rate * point_before.pulled_back(back)
        discount = discount + learning_rate * xp.sum(back * point_before.mixed_discount(), axis=(-2, -1))
        back = back + learning_rate * point_before.hessian_product(back[..., None])[..., 0]
    return UnrolledGradient(outer.regularised_return, reward, discount, point.logits)


def forward_unrolled_hypergradient(
    mdp: FiniteMDP,
    blended: Reward,
    primary: Reward,
    directions: Float[Array, "*#batch k s a"],
    *,
    steps: int,
    learning_rate: float,
    start: Logits | None = None,
    inner_discount: Any = None,
    temperature: float = 0.0,
    penalty: float = 0.0,
) -> Float[Array, "*batch k"]:
    """The same derivative along K directions of the reward, carried forwards: no step is kept, each direction costs.

    Args: as `unrolled_hypergradient`, and `directions`, rewards of state-action pairs `(*batch, K, S, A)`, such as the
        components of a blend.

    Returns:
        `(*batch, K)`: the inner products of `unrolled_hypergradient(...).reward` with the directions.

    Raises:
        TypeError, ValueError: As `unrolled_hypergradient`, or if the directions do not fit the world.
    """
    point = _start(mdp, blended, start, inner_discount, temperature, penalty, steps, learning_rate)
    xp = array_namespace(point.logits)
    directions = xp.moveaxis(checked_directions(mdp, directions), -3, -1)
    carried = xp.zeros_like(directions)
    for _ in range(steps):
        change = point.hessian_product(carried) + point.mixed(directions)
        carried = carried + learning_rate * change
        point = point.at(point.logits + learning_rate * point.gradient())
    outer = checked_point(mdp, primary, point.logits, names=("primary", "discount", "logits"))
    return xp.sum(outer.gradient()[..., None] * carried, axis=(-3, -2))


def _start(mdp, blended, start, inner_discount, temperature, penalty, steps, learning_rate) -> PolicyPoint:
    check_scalar("steps", steps, low=0, whole=True)
    check_scalar("learning_rate", learning_rate, low=0, open_low=True)
    options = {"discount": inner_discount, "temperature": temperature, "penalty": penalty}
    return checked_start(mdp, blended, start, **options, names=("blended", "inner_discount", "start"))
