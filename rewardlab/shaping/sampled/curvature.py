"""From the gradient of the primary return to the vector that an implicit hyper-gradient needs: the curvature solved."""

import math
import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from rewardlab.checks import check_choice, check_scalar
from rewardlab.shaping.bilevel.implicit_gradient import SurrogateCurvatureWarning

__all__ = ["Curvature", "CurvatureSolution", "NeumannWarning", "Product", "solve_curvature"]

Curvature = Literal["first_order", "neumann", "fisher", "exact", "surrogate"]

Product = Callable[[Tensor], Tensor]
"""A matrix H, symmetric or already transposed, times a flat vector."""

FIRST_ORDER_COSINE = 0.999  # above this the curvature has not turned the gradient by 3 degrees
FIRST_ORDER = (
    "the Neumann series is first-order in effect: the cosine of its vector to the plain gradient is above "
    f"{FIRST_ORDER_COSINE}, because loops * step * curvature is far below 1; credit the gradient, not the Hessian"
)
DIVERGES = (
    "the Neumann series moves away from the solution: the step is beyond 2 / the largest curvature, or the curvature "
    "along the gradient has the sign of a minimum; use a smaller step or curvature='fisher'"
)
SURROGATE = (
    "the Hessian of the surrogate lacks the score's outer product: a constant added to the reward turns its sign, and "
    "the hyper-gradient's with it; use curvature='fisher'"
)


class NeumannWarning(UserWarning):
    """A Neumann series did nothing but scale the gradient, or moved away from the solution."""


class CurvatureSolution(NamedTuple):
    """An approximation of (-H)^-1 v, and how far it is from v.

    Args:
        vector: The approximation, (parameters,).
        cosine: Of `vector` to v: 1 means that the curvature changed nothing but a scale. NaN where v is 0.
        norm_ratio: Length of `vector` over that of the first-order answer, which is v, or `step` * v for a Neumann
            series: loops + 1 where H plays no part. NaN where v is 0.
        residual: |v - (damping - H) `vector`| / |v|, without damping for a Neumann series: 0 where the system is
            solved, above 1 where 0 would have been the better answer. NaN for "first_order" and where v is 0.
        curvature: v'Hv / v'v: negative at a maximum, as an inner problem's should be. NaN as the residual.
    """

    vector: Float[Tensor, " parameters"]
    cosine: float
    norm_ratio: float
    residual: float
    curvature: float


def solve_curvature(
    kind: Curvature,
    vector: Float[Tensor, " parameters"],
    product: Product | None,
    *,
    loops: int = 5,
    step: float = 5e-4,
    damping: float = 1e-3,
    iterations: int = 20,
) -> CurvatureSolution:
    """Solve the curvature of the inner problem for a vector: (-H)^-1 v, as far as the kind goes.

    Args:
        kind: How.
            "first_order": v itself; no curvature.
            "neumann": step * sum over j = 0 to `loops` of (I + step H)^j v, as published. Directions of curvature
            well below 1 / (loops * step) stay as they are; converges for steps below 2 / the largest curvature.
            "fisher": (damping - H) x = v by conjugate gradients, for an H that is negative semi-definite.
            "exact", "surrogate": the same by GMRES, for any H.
        vector: Gradient of the primary return, flat, finite.
        product: H times a vector, from `curvature_products`; not used, and may be None, with "first_order". Where H is
            not symmetric, its transpose.
        loops: Products of the Neumann series, at least 0; one more tells its residual.
        step: Of the Neumann series, above 0, in units of 1 / curvature.
        damping: Added to -H by the solvers, at least 0, in units of curvature. A policy's Fisher matrix is always
            singular: some damping keeps the sampling noise in its null directions from being blown up.
        iterations: At most this many products in the solvers, at least 1.

    Returns:
        The vector with its cosine to v, norm ratio, residual, and v'Hv / v'v.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the kind is unknown, a number out of range, the vector not finite or not flat, or what the
            product returns not finite (a Neumann series may overflow) or of another shape.

    Warns:
        SurrogateCurvatureWarning: With "surrogate".
        NeumannWarning: With "neumann" where it is first-order in effect (cosine above 0.999) or diverges.

    Source: Neumann series as in Behavior Alignment via Reward Function Optimization (arXiv 2310.19007), after arXiv
        1911.02590; the solvers are ours.

    Example:
        >>> import torch
        >>> curvature = torch.tensor([-4.0, -1.0], dtype=torch.float64)
        >>> found = solve_curvature("fisher", torch.ones(2, dtype=torch.float64), lambda u: curvature * u, damping=0.0)
        >>> found.vector, round(found.cosine, 4)
        (tensor([0.2500, 1.0000], dtype=torch.float64), 0.8575)
    """
    check_choice("kind", kind, get_args(Curvature))
    _check_vector(vector)
    check_scalar("loops", loops, low=0, whole=True)
    check_scalar("step", step, low=0, open_low=True)
    check_scalar("damping", damping, low=0)
    check_scalar("iterations", iterations, low=1, whole=True)
    if kind != "first_order" and not callable(product):
        raise TypeError(f"product: expected a function of a vector for kind {kind!r}, got {type(product).__name__}")
    if kind == "surrogate":
        warnings.warn(SURROGATE, SurrogateCurvatureWarning, stacklevel=2)
    vector = vector.detach()
    length = float(vector.norm())
    if kind == "first_order" or length == 0:
        return CurvatureSolution(
            vector.clone(), 1.0 if length else math.nan, 1.0 if length else math.nan, *[math.nan] * 2
        )
    curved = _checked_product(product, kind, vector)
    first = curved(vector)
    if kind == "neumann":
        found, left = _neumann(vector, first, curved, loops, step)
    elif kind == "fisher":
        found, left = _conjugate_gradients(vector, first, curved, damping, iterations)
    else:
        found, left = _gmres(vector, first, curved, damping, iterations)
    size = float(found.norm())
    solution = CurvatureSolution(
        found,
        cosine=float(found @ vector) / (size * length) if size else math.nan,
        norm_ratio=size / length / (step if kind == "neumann" else 1.0),
        residual=left / length,
        curvature=float(vector @ first) / length**2,
    )
    if kind == "neumann" and loops and solution.cosine > FIRST_ORDER_COSINE:
        warnings.warn(FIRST_ORDER, NeumannWarning, stacklevel=2)
    elif kind == "neumann" and solution.residual > 1:
        warnings.warn(DIVERGES, NeumannWarning, stacklevel=2)
    return solution


def _neumann(vector: Tensor, first: Tensor, product: Product, loops: int, step: float) -> tuple[Tensor, float]:
    """The series, and the length of what is left: v + H x telescopes to the next power, (I + step H)^(loops + 1) v."""
    power, total = vector, torch.zeros_like(vector)
    for loop in range(loops + 1):
        total = total + power
        power = power + step * (product(power) if loop else first)
    return step * total, float(power.norm())


def _conjugate_gradients(
    vector: Tensor, first: Tensor, product: Product, damping: float, iterations: int
) -> tuple[Tensor, float]:
    found, left, direction = torch.zeros_like(vector), vector, vector
    before = left @ left
    tolerance = 1e-10 * float(before.sqrt())
    for iteration in range(iterations):
        image = damping * direction - (product(direction) if iteration else first)
        along = direction @ image
        if float(along) <= 0:  # not a direction of a maximum, or a null one: nothing to be solved along it
            break
        size = before / along
        found, left = found + size * direction, left - size * image
        now = left @ left
        if float(now.sqrt()) <= tolerance:
            break
        direction, before = left + now / before * direction, now
    return found, float(left.norm())


def _gmres(vector: Tensor, first: Tensor, product: Product, damping: float, iterations: int) -> tuple[Tensor, float]:
    """Least squares over the Krylov space, with every new direction made orthogonal twice."""
    length = vector.norm()
    basis = [vector / length]
    columns = torch.zeros(min(iterations, len(vector)) + 1, min(iterations, len(vector)), dtype=vector.dtype)
    for place in range(columns.shape[1]):
        image = damping * basis[-1] - (product(basis[-1]) if place else first / length)
        scale = float(image.norm())
        for _ in range(2):
            known = torch.stack(basis)
            parts = known @ image
            columns[: len(basis), place] += parts
            image = image - parts @ known
        columns[place + 1, place] = rest = float(image.norm())
        if rest <= 1e-10 * scale:  # the space is closed: solved
            break
        basis.append(image / rest)
    used = place + 1
    target = torch.zeros(used + 1, 1, dtype=vector.dtype)
    target[0] = length
    reduced = columns[: used + 1, :used]
    weights = torch.linalg.lstsq(reduced, target, driver="gelsd").solution
    return weights[:, 0] @ torch.stack(basis[:used]), float((target - reduced @ weights).norm())


def _check_vector(vector: object) -> None:
    if not isinstance(vector, Tensor):
        raise TypeError(f"vector: expected a torch tensor, got {type(vector).__name__}")
    if vector.ndim != 1 or not len(vector):
        raise ValueError(f"vector has shape {tuple(vector.shape)}, expected (parameters,)")
    if not vector.is_floating_point():
        raise TypeError(f"vector has dtype {vector.dtype}, expected floating-point numbers")
    finite = torch.isfinite(vector)
    if not bool(finite.all()):
        place = int((~finite).nonzero()[0, 0])
        raise ValueError(f"vector[{place}] is {float(vector[place])}, expected a finite number")


def _checked_product(product: Product, kind: str, vector: Tensor) -> Product:
    def checked(direction: Tensor) -> Tensor:
        image = product(direction).detach()
        if image.shape != vector.shape:
            raise ValueError(f"product returned shape {tuple(image.shape)}, expected {tuple(vector.shape)}")
        if not bool(torch.isfinite(image).all()):
            why = "; the series diverges, use a smaller step" if kind == "neumann" else ""
            raise ValueError(f"product returned a number that is not finite{why}")
        return image

    return checked
