"""Norms of reward tables: how large a canonical reward is, and how far apart two of them are."""

from typing import Literal, get_args

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_array, check_choice
from rewardlab.exact.mdp import FiniteMDP

__all__ = ["NORMS", "Norm", "norm"]

Norm = Literal["1", "2", "inf", "weighted_1", "weighted_2", "weighted_inf"]
NORMS: tuple[str, ...] = get_args(Norm)


def norm(mdp: FiniteMDP, table: Float[Array, "*#batch s a s"], order: Norm) -> Float[Array, "*batch"]:
    """Norm of a table over transitions.

    Args:
        mdp: World, whose transition probabilities T weigh the weighted norms (terminal states weigh nothing).
        table: `(*batch, S, A, S)`.
        order: "1", "2", "inf": over all S * A * S entries, each counting 1 (sums, not means). "weighted_1":
            sum of T |x|. "weighted_2": root of the sum of T x^2. "weighted_inf": largest T |x|, which is not the limit
            of the other two.

    Returns:
        The norm, `(*batch)`.

    Raises:
        TypeError: If `table` is not an array of the same library as the MDP.
        ValueError: If `order` is none of these, or `table` has another shape.

    Source: lucyfarnik/starc. Off the support of T the weighted norms see almost nothing, so they are norms of
        canonical forms that are the same for every next state, but hardly of tables.
    """
    check_choice("order", order, NORMS)
    check_array("table", table, like=mdp.transition)
    if tuple(table.shape[-3:]) != (mdp.states, mdp.actions, mdp.states):
        expected = f"(*batch, {mdp.states}, {mdp.actions}, {mdp.states})"
        raise ValueError(f"table has shape {tuple(table.shape)}, expected {expected}")
    xp = array_namespace(table)
    size = xp.abs(table)
    if order == "inf":
        return xp.max(size, axis=(-3, -2, -1))
    if order == "1":
        return xp.sum(size, axis=(-3, -2, -1))
    if order == "2":
        return xp.sqrt(xp.linalg.vecdot(_flat(size), _flat(size)))
    weighted = mdp.continuation * size
    if order == "weighted_inf":
        return xp.max(weighted, axis=(-3, -2, -1))
    if order == "weighted_1":
        return xp.sum(weighted, axis=(-3, -2, -1))
    return xp.sqrt(xp.linalg.vecdot(_flat(weighted), _flat(size)))


def _flat(table: Array) -> Array:
    """The table as `(*batch, S * A * S)`."""
    return array_namespace(table).reshape(table, (*table.shape[:-3], -1))
