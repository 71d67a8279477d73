"""Regressional Goodhart in closed form: what optimising a noisy measurement earns when everything is normal."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real
from scipy.special import log_ndtr

from rewardlab.arrays import Array, as_float64
from rewardlab.checks import check_array, check_finite, check_scalar

__all__ = ["expected_gold", "expected_maximum", "gaussian_best_of_n"]

_FARTHEST, _STEP = 12.0, 0.01  # of the grid that the maximum is integrated on; its density is far wider than a step


def expected_gold(
    proxy: Real[Array, "*shape"], *, gold_variance: float, noise_variance: float, gold_mean: float = 0.0
) -> Float[Array, "*shape"]:
    """Expected gold reward of a response whose proxy reward is known, where proxy = gold + independent noise.

    Args:
        proxy: Proxy rewards, any shape.
        gold_variance: Variance of gold, above 0.
        noise_variance: Variance of the noise, which has mean 0; at least 0.
        gold_mean: Mean of gold.

    Returns:
        Expected gold, shape of `proxy`, float64: the proxy, shrunk towards the mean. Exact for normal gold and noise;
        for other distributions it is the best linear guess.

    Raises:
        TypeError, ValueError: If a proxy is not finite or a variance out of range.

    Source: Gao et al. 2022 (arXiv 2210.10760), equation 1.

    Example:
        >>> import numpy as np
        >>> expected_gold(np.array([3.0]), gold_variance=1.0, noise_variance=0.5)
        array([2.])
    """
    check_scalar("gold_variance", gold_variance, low=0, open_low=True)
    check_scalar("noise_variance", noise_variance, low=0)
    check_scalar("gold_mean", gold_mean)
    proxy = check_finite("proxy", as_float64(check_array("proxy", proxy)))
    return gold_mean + (proxy - gold_mean) * (gold_variance / (gold_variance + noise_variance))


def expected_maximum(n: int | Sequence[int]) -> Float[Array, "..."]:
    """Expected largest of n standard normal numbers, for one n or several.

    Args:
        n: How many numbers, at least 1: one count, or several.

    Returns:
        A number for one n, (several,) for several, in standard deviations.

    Raises:
        TypeError, ValueError: If an n is not a whole number of at least 1.

    Example:
        >>> expected_maximum([1, 4, 64]).round(6)
        array([0.      , 1.029375, 2.343733])
    """
    counts = np.array([check_scalar("n", each, low=1, whole=True) for each in np.ravel(n)], dtype=float)
    grid = np.arange(_STEP, _FARTHEST, _STEP)
    density = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi) * counts[:, None]
    surplus = density * (_all_below(counts - 1, grid) - _all_below(counts - 1, -grid))
    return np.reshape(
        surplus @ grid * _STEP, np.shape(n)
    )  # a plain sum is exact to rounding for such a smooth integrand


def _all_below(counts: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Probability that so many standard normal numbers all lie below each point, `(counts, points)`."""
    return np.exp(counts[:, None] * log_ndtr(grid))


def gaussian_best_of_n(
    n: int | Sequence[int], *, noise_variance: float, gold_variance: float = 1.0
) -> Float[Array, "..."]:
    """Expected gold reward of best-of-n where proxy = gold + independent noise, both normal.

    It rises for ever: normal noise alone makes optimisation less useful, never harmful.

    Args:
        n: One n or several, at least 1.
        noise_variance: Variance of the noise, at least 0.
        gold_variance: Variance of gold under the base policy, above 0.

    Returns:
        Expected gold above the base policy's mean, shape of `n`.

    Raises:
        TypeError, ValueError: If an n is not a whole number of at least 1, or a variance is out of range.

    Source: Gao et al. 2022 (arXiv 2210.10760), equation 1, averaged over the largest of n proxies.

    Example:
        >>> gaussian_best_of_n([1, 64], noise_variance=0.74).round(3)
        array([0.   , 1.777])
    """
    largest = expected_maximum(n) * np.sqrt(gold_variance + noise_variance)
    return expected_gold(largest, gold_variance=gold_variance, noise_variance=noise_variance)
