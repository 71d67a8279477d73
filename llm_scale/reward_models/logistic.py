"""Penalised logistic regression, solved to the last digits: the convex part of every linear reward head."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["fit_logistic"]

SUFFICIENT = 1e-4  # share of the promised decrease that a step must bring
SETTLED = 1e-10  # Newton decrement below which rounding hides the decrease and full steps are safe
CONVERGED = 1e-20  # Newton decrement at which the optimum is known to about ten digits


def fit_logistic(
    design: Float[Tensor, "rows columns"],
    targets: Float[Tensor, " rows"],
    counts: Float[Tensor, "members rows"],
    *,
    l2: float,
    offsets: Float[Tensor, " rows"] | None = None,
    steps: int = 100,
) -> Float[Tensor, "members columns"]:
    """Coefficients that minimise each member's weighted cross-entropy, by Newton's method with a line search.

    Member m minimises sum_n counts[m, n] CE(targets[n], sigmoid(design[n] w + offsets[n])) / sum_n counts[m, n]
    + l2 / 2 |w|^2, which has exactly one minimum. With more columns than rows the problem is solved in the span of
    the rows, where the minimum lies: the cost is never more than that of a square design.

    Args:
        design: One row an observation, float64.
        targets: Probabilities in [0, 1].
        counts: How often each observation counts for each member, at least 0, one above 0 for every member.
        l2: Weight of the penalty, above 0.
        offsets: Added to the logits, in logits.
        steps: Newton steps at most; ten is the usual number.

    Returns:
        Coefficients, one row a member. Each member's are the same whichever others are fitted with it.

    Raises:
        ArithmeticError: If a member has not converged after `steps`.
    """
    offsets = torch.zeros_like(targets) if offsets is None else offsets
    basis = None
    if design.shape[1] > design.shape[0]:
        basis = torch.linalg.qr(design.T).Q
        design = design @ basis
    fitted = [
        _newton(design, targets, shares / shares.sum(), offsets, l2, steps, member)
        for member, shares in enumerate(counts)
    ]
    fitted = torch.stack(fitted)
    return fitted if basis is None else fitted @ basis.T


def _newton(
    design: Tensor, targets: Tensor, shares: Tensor, offsets: Tensor, l2: float, steps: int, member: int
) -> Tensor:
    def loss(coefficients: Tensor) -> Tensor:
        logits = design @ coefficients + offsets
        return shares @ (softplus(logits) - targets * logits) + l2 / 2 * (coefficients @ coefficients)

    coefficients = design.new_zeros(design.shape[1])
    penalty = l2 * torch.eye(design.shape[1], dtype=design.dtype, device=design.device)
    for _ in range(steps):
        chance = torch.sigmoid(design @ coefficients + offsets)
        slope = design.T @ (shares * (chance - targets)) + l2 * coefficients
        curvature = (design * (shares * chance * (1 - chance))[:, None]).T @ design + penalty
        direction = torch.cholesky_solve(slope[:, None], torch.linalg.cholesky(curvature))[:, 0]
        decrement = float(slope @ direction)
        length, current = 1.0, loss(coefficients)
        while (
            decrement > SETTLED and loss(coefficients - length * direction) > current - SUFFICIENT * length * decrement
        ):
            length /= 2
        coefficients = coefficients - length * direction
        if decrement < CONVERGED:
            return coefficients
    raise ArithmeticError(f"member {member} has not converged after {steps} Newton steps (decrement {decrement:.3g})")
