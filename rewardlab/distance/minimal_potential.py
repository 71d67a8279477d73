"""The potential shaping that makes a reward smallest in a norm."""

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_choice
from rewardlab.distance.interior_point import least_absolute_potential, least_maximum_potential
from rewardlab.distance.norms import NORMS, Norm
from rewardlab.distance.shaping_design import ShapingDesign, solve_positive
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.transformations import shaping_term

__all__ = ["minimal_potential", "minimal_potential_canonical"]


def minimal_potential(mdp: FiniteMDP, reward: Reward, order: Norm) -> Float[Array, "*batch s"]:
    """The potential whose shaping makes the norm of the reward least.

    "2" and "weighted_2" solve the normal equations; "1", "weighted_1", "inf" and "weighted_inf" are linear programs,
    solved by interior points to a relative gap of 1e-11. Their solution need not be unique, nor linear in the reward.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        order: The norm, as in `norm`.

    Returns:
        Potential `(*batch, S)`; 0 in terminal states.

    Raises:
        TypeError, ValueError: If the reward does not fit the world or the norm is unknown.
        RuntimeError: If a linear program does not converge.

    Source: lucyfarnik/starc, minimal potential, whose gradient descent is replaced by exact solutions derived here.
    """
    check_choice("order", order, NORMS)
    full = mdp.transition_reward(reward)
    xp = array_namespace(full)
    if order.endswith("2"):
        # squares are weighted by T itself, so the design carries its root
        weight = xp.sqrt(mdp.continuation) if order.startswith("weighted") else None
        return _least_squares(ShapingDesign(mdp, weight), full)
    design = ShapingDesign(mdp, mdp.continuation if order.startswith("weighted") else None)
    target = design.weighted(full)
    fit = least_absolute_potential if order.endswith("1") else least_maximum_potential
    return fit(design, target, _least_squares(design, full))


def minimal_potential_canonical(mdp: FiniteMDP, reward: Reward, order: Norm) -> Float[Array, "*batch s a s"]:
    """The reward shaped by `minimal_potential`, `(*batch, S, A, S)`; arguments and errors as there."""
    return mdp.transition_reward(reward) + shaping_term(mdp, minimal_potential(mdp, reward, order))


def _least_squares(design: ShapingDesign, reward: Float[Array, "*#batch s a s"]) -> Float[Array, "*batch s"]:
    xp = array_namespace(reward)
    ones = xp.ones_like(design.mdp.transition)
    return solve_positive(design.normal_matrix(ones), -design.transposed(design.weighted(reward)))
