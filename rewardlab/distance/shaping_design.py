"""The linear map from a potential to its weighted shaping reward, without its matrix: all that a fit needs."""

from dataclasses import dataclass

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.transformations import shaping_term

__all__ = ["ShapingDesign", "solve_positive"]

_RIDGE = 1e-14


@dataclass(frozen=True)
class ShapingDesign:
    """The map X from potentials `(*batch, S)` to weighted shaping rewards `(*batch, S, A, S)`.

    A matrix of it would have S * A * S rows; its products cost one pass over the table, and its normal matrix is a sum
    over actions. Potentials of terminal states are held at 0.

    Attributes:
        mdp: World.
        weight: Weight of each transition `(*batch, S, A, S)`, or None where each counts 1.
    """

    mdp: FiniteMDP
    weight: Float[Array, "*batch s a s"] | None

    def weighted(self, table: Float[Array, "*#batch s #a s"]) -> Float[Array, "*batch s a s"]:
        """The table times the weight."""
        return table if self.weight is None else self.weight * table

    def shaping(self, potential: Float[Array, "*#batch s"]) -> Float[Array, "*batch s a s"]:
        """X applied to a potential; without a weight the action dimension has length 1."""
        return self.weighted(shaping_term(self.mdp, potential))

    def transposed(self, table: Float[Array, "*#batch s a s"]) -> Float[Array, "*batch s"]:
        """X^T applied to a table."""
        xp = array_namespace(table)
        by_pair = xp.sum(self.weighted(table), axis=-2)
        into = self.mdp.discount_for(1) * xp.sum(by_pair, axis=-2)
        return self._held(into - xp.sum(by_pair, axis=-1))

    def normal_matrix(self, scale: Float[Array, "*#batch s a s"]) -> Float[Array, "*batch s s"]:
        """X^T diag(scale) X, with 1 on the diagonal for terminal states so that it can be solved."""
        xp = array_namespace(scale)
        pair = xp.sum(self.weighted(self.weighted(scale)), axis=-2)
        discount = self.mdp.discount_for(2)
        cross = discount * (pair + xp.matrix_transpose(pair))
        total = xp.sum(pair, axis=-1) + self.mdp.discount_for(1) ** 2 * xp.sum(pair, axis=-2)
        eye = xp.eye(self.mdp.states, dtype=xp.float64, device=pair.device)
        matrix = total[..., None] * eye - cross
        if not bool(xp.any(self.mdp.terminal)):
            return matrix
        terminal = self.mdp.terminal
        return xp.where(terminal[..., None] | terminal[..., None, :], eye, matrix)

    def _held(self, potential: Float[Array, "*#batch s"]) -> Float[Array, "*batch s"]:
        xp = array_namespace(potential)
        return xp.where(self.mdp.terminal, xp.zeros_like(potential), potential)


def solve_positive(matrix: Float[Array, "*#batch n n"], right: Float[Array, "*#batch n"]) -> Float[Array, "*batch n"]:
    """Solution of a symmetric positive semidefinite system, balanced to a unit diagonal.

    A ridge of 1e-14 after balancing keeps directions that the matrix does not determine from growing without bound.
    """
    xp = array_namespace(matrix)
    diagonal = xp.linalg.diagonal(matrix)
    scale = 1 / xp.sqrt(xp.where(diagonal > 0, diagonal, xp.ones_like(diagonal)))
    eye = xp.eye(matrix.shape[-1], dtype=xp.float64, device=matrix.device)
    balanced = matrix * scale[..., :, None] * scale[..., None, :] + _RIDGE * eye
    return scale * xp.linalg.solve(balanced, (scale * right)[..., None])[..., 0]
