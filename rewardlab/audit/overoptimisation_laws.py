"""How gold reward grows, peaks and falls as a policy is optimised against a proxy: the two published laws."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Real

from rewardlab.arrays import Array, array_namespace, as_float64, is_array
from rewardlab.checks import check_array, check_broadcast, check_choice, check_finite, check_scalar

__all__ = ["FORMS", "LawFit", "OveroptimisationLaw", "fit_law"]

Form = Literal["best_of_n", "reinforcement_learning"]
FORMS: tuple[Form, ...] = get_args(Form)
_LARGEST_EXPONENT = 700.0  # exp overflows just above


@dataclass(frozen=True, slots=True)
class OveroptimisationLaw:
    """Gold reward gained at a distance d = sqrt(KL) from the initial policy, KL in nats.

    best_of_n:                 R(d) = d (alpha - beta d)
    reinforcement_learning:    R(d) = d (alpha - beta log d)

    `alpha` is what the proxy gives at first, `beta` what it costs to believe it: with a beta of 0 or less gold never
    falls. Do not compare methods by KL: reinforcement learning spends far more of it on the same gain than best-of-n.

    Args:
        form: `best_of_n` or `reinforcement_learning`.
        alpha: Units of gold per sqrt(nat), `(*batch)` or a number.
        beta: Same shape; units of gold per nat for best-of-n, per sqrt(nat) for reinforcement learning.

    Source: Gao et al. 2022 (arXiv 2210.10760), Section 3.1.

    Example:
        >>> law = OveroptimisationLaw("best_of_n", 1.0, 0.1)
        >>> float(law.peak_distance), float(law.peak_gold), float(law.zero_distance)
        (5.0, 2.5, 10.0)
    """

    form: Form
    alpha: Float[Array, "*batch"] | float
    beta: Float[Array, "*batch"] | float

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS)

    def predict(self, distance: Real[Array, "*points"]) -> Float[Array, "*batch_and_points"]:
        """Gold gained at each distance, `(*batch, *points)`; 0 at distance 0.

        Raises:
            TypeError, ValueError: If a distance is negative or not finite, or of another library than the parameters.
        """
        distance = _checked_distance(distance)
        _, alpha, beta = self._parameters(like=distance)
        gain, cost = _terms(self.form, distance)
        points = (..., *(None,) * distance.ndim)
        return alpha[points] * gain - beta[points] * cost

    @property
    def peak_distance(self) -> Float[Array, "*batch"]:
        """Where gold is largest; infinite where it never falls, 0 where it never rises."""
        xp, alpha, beta = self._parameters()
        falls = xp.where(beta > 0, beta, xp.ones_like(beta))
        peak = xp.maximum(alpha / (2 * falls), xp.zeros_like(alpha))
        if self.form == "reinforcement_learning":
            exponent = alpha / falls - 1
            overflows = exponent > _LARGEST_EXPONENT
            peak = xp.where(overflows, xp.full_like(peak, xp.inf), xp.exp(xp.where(overflows, 0 * exponent, exponent)))
        without_cost = xp.where((beta < 0) | (alpha > 0), xp.full_like(peak, xp.inf), xp.zeros_like(peak))
        return xp.where(beta > 0, peak, without_cost)

    @property
    def peak_gold(self) -> Float[Array, "*batch"]:
        """Largest gold that the law allows; infinite where it never falls."""
        xp, alpha, beta = self._parameters()
        peak = self.peak_distance
        gain, cost = _terms(self.form, xp.where(xp.isfinite(peak), peak, xp.zeros_like(peak)))
        return xp.where(xp.isfinite(peak), alpha * gain - beta * cost, peak)

    @property
    def zero_distance(self) -> Float[Array, "*batch"]:
        """Where all that was gained is lost again; infinite where gold never falls, 0 where it never rises."""
        return self.peak_distance * (2.0 if self.form == "best_of_n" else math.e)

    def iterated(self, rounds: int) -> "OveroptimisationLaw":
        """The law over the total distance when it is walked in equal rounds, with a fresh proxy after each.

        Each of k rounds gains R(d / k). Reinforcement learning then gains beta log k in alpha, as published; for
        best-of-n the same reasoning divides beta by k.

        Raises:
            TypeError, ValueError: If `rounds` is not a whole number of at least 1.

        Source: Gao et al. 2022 (arXiv 2210.10760), Section 4.3; the best-of-n half is derived here.
        """
        check_scalar("rounds", rounds, low=1, whole=True)
        if self.form == "best_of_n":
            return OveroptimisationLaw(self.form, self.alpha, self.beta / rounds)
        return OveroptimisationLaw(self.form, self.alpha + self.beta * math.log(rounds), self.beta)

    def _parameters(self, like: Array | None = None):
        """The array library, alpha and beta in float64; numbers become arrays of the library of `like`."""
        held = [value for value in (like, self.alpha, self.beta) if is_array(value)] or [np.zeros(1)]
        xp = array_namespace(held[0])
        if any(array_namespace(value) is not xp for value in held):
            kinds = ", ".join(type(value).__name__ for value in held)
            raise TypeError(f"distance, alpha and beta mix {kinds}; use one library")
        alpha, beta = (xp.asarray(v, dtype=xp.float64, device=held[0].device) for v in (self.alpha, self.beta))
        return xp, *xp.broadcast_arrays(alpha, beta)


@dataclass(frozen=True, slots=True)
class LawFit:
    """A law fitted by least squares, and how well it fits.

    Args:
        law: The law, its parameters `(*batch)`.
        alpha_error: Standard error of alpha: what independent errors of equal size in gold would make of it. Gold at
            several n from the same samples errs together; resample prompts or seeds for an honest interval.
        beta_error: Standard error of beta. Both NaN when there are only two points.
        r_squared: Share of the variance of gold around its mean that the law explains; 1 is a perfect fit, below 0 is
            worse than a constant, NaN where gold does not vary.
    """

    law: OveroptimisationLaw
    alpha_error: Float[Array, "*batch"]
    beta_error: Float[Array, "*batch"]
    r_squared: Float[Array, "*batch"]


def fit_law(form: Form, distance: Real[Array, "*#batch points"], gold: Real[Array, "*#batch points"]) -> LawFit:
    """Fit a law of overoptimisation by linear least squares.

    Args:
        form: `best_of_n` or `reinforcement_learning`.
        distance: sqrt(KL) from the initial policy, `(*batch, points)`, KL in nats, at least 0. Of best-of-n with
            continuous scores it is the root of `rewardlab.exact.best_of_n_kl_bound(n)`.
        gold: Gold reward gained over the initial policy at each distance, broadcastable to `distance`; subtract the
            initial policy's mean first, as both laws start at 0.

    Returns:
        The fit for each curve of the batch; numbers are float64.

    Raises:
        TypeError: If the arrays do not hold real numbers, or are of different libraries.
        ValueError: If a value is not finite, a distance negative, or fewer than two distances above 0 differ.

    Source: Gao et al. 2022 (arXiv 2210.10760), Section 3.1. Both laws are linear in alpha and beta, so that one
    solve finds the optimum.

    Example:
        >>> import numpy as np
        >>> distance = np.array([0.5, 1.0, 1.5, 2.0])
        >>> fit = fit_law("best_of_n", distance, distance * (1.8 - 0.6 * distance))
        >>> round(float(fit.law.alpha), 9), round(float(fit.law.beta), 9), round(float(fit.r_squared), 9)
        (1.8, 0.6, 1.0)
    """
    check_choice("form", form, FORMS)
    distance = _checked_distance(distance)
    gold = check_finite("gold", as_float64(check_array("gold", gold)))
    xp = array_namespace(distance)
    if xp is not array_namespace(gold):
        raise TypeError(f"gold is a {type(gold).__name__} but distance is a {type(distance).__name__}; use one library")
    check_broadcast(distance=tuple(distance.shape), gold=tuple(gold.shape))
    distance, gold = xp.broadcast_arrays(distance, gold)
    _check_identified(distance)
    gain, cost = _terms(form, distance)
    basis, triangle = xp.linalg.qr(xp.stack([gain, -cost], axis=-1))
    inverse = xp.linalg.inv(triangle)
    found = xp.matmul(inverse, xp.matmul(xp.linalg.matrix_transpose(basis), gold[..., None]))[..., 0]
    law = OveroptimisationLaw(form, found[..., 0], found[..., 1])
    left = xp.sum((gold - found[..., :1] * gain + found[..., 1:] * cost) ** 2, axis=-1)
    spread = xp.sum((gold - xp.mean(gold, axis=-1, keepdims=True)) ** 2, axis=-1)
    freedom = gold.shape[-1] - 2
    noise = left / freedom if freedom else xp.full_like(left, xp.nan)
    errors = xp.sqrt(noise[..., None] * xp.sum(inverse**2, axis=-1))
    varies = spread > 0
    explained = xp.where(varies, 1 - left / xp.where(varies, spread, xp.ones_like(spread)), xp.full_like(left, xp.nan))
    return LawFit(law, errors[..., 0], errors[..., 1], explained)


def _terms(form: Form, distance: Array) -> tuple[Array, Array]:
    """What alpha and beta are multiplied by; d log d is 0 at 0."""
    if form == "best_of_n":
        return distance, distance**2
    xp = array_namespace(distance)
    return distance, distance * xp.log(xp.where(distance > 0, distance, xp.ones_like(distance)))


def _checked_distance(distance: Array) -> Array:
    distance = check_finite("distance", as_float64(check_array("distance", distance)))
    xp = array_namespace(distance)
    if bool(xp.any(distance < 0)):
        raise ValueError(f"distance has the entry {float(xp.min(distance)):.6g}, expected sqrt(KL), at least 0")
    return distance


def _check_identified(distance: Array) -> None:
    xp = array_namespace(distance)
    if distance.ndim == 0 or distance.shape[-1] == 0:
        raise ValueError(f"distance has shape {tuple(distance.shape)}, expected (*batch, points)")
    largest = xp.max(distance, axis=-1, keepdims=True)
    other = (distance > 0) & (distance < largest * (1 - 1e-9))
    if not bool(xp.all(xp.any(other, axis=-1))):
        raise ValueError("distance: expected two different distances above 0 in every curve, to fit two numbers")
