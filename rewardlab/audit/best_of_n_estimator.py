"""What best-of-n selection earns, estimated without bias from more samples than n."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Real

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_broadcast, check_finite, check_scalar

__all__ = ["best_of_n_gold", "best_of_n_weights"]


def best_of_n_weights(samples: int, n: int) -> Float[np.ndarray, "samples"]:
    """Probability that each rank is the best of n drawn from `samples` without replacement.

    Args:
        samples: How many there are, N.
        n: How many are drawn, from 1 to N.

    Returns:
        C(i - 1, n - 1) / C(N, n) for ranks i = 1 (lowest) to N; sums to 1.

    Raises:
        TypeError, ValueError: If the numbers are not whole or n is not between 1 and N.

    Source: Nakano et al. 2021 (arXiv 2112.09332), Appendix I; Coste et al. 2023 (arXiv 2310.02743), equation 8.
    Binomials overflow and differences of log-gammas lose five digits at N = 12,600, so the ratio is built up as the
    product of 1 - n / j over the ranks j above i, times n / i.

    Example:
        >>> best_of_n_weights(5, 2).round(6)
        array([0. , 0.1, 0.2, 0.3, 0.4])
    """
    check_scalar("samples", samples, low=1, whole=True)
    check_scalar("n", n, low=1, high=samples, whole=True)
    above = np.arange(samples, n, -1.0)
    log_all_below = np.concatenate([[0.0], np.cumsum(np.log1p(-n / above))])  # all n within the i lowest, i = N .. n
    weights = np.zeros(samples)
    weights[n - 1 :] = (np.exp(log_all_below) * n / np.arange(samples, n - 1.0, -1.0))[::-1]
    return weights


def best_of_n_gold(
    proxy: Real[Array, "*#batch samples"], gold: Real[Array, "*#batch samples"], n: int | Sequence[int]
) -> Float[Array, "..."]:
    """Expected gold reward of the response that the proxy likes best among n.

    The average over every subset of n of the samples, which costs one sort for all n: unbiased, and far less noisy
    than drawing n once. Samples that tie in the proxy are as good as one another, so each choice among them is equally
    likely: a tie counts with its average gold.

    Args:
        proxy: What selects, `(*batch, samples)`; samples of the base policy, all for one prompt.
        gold: What is earned, broadcastable to `proxy`: `(prompts, samples)` serves `(members, prompts, samples)`. Give
            the proxy itself to learn how high the selected proxy is.
        n: One n or several, each from 1 to the number of samples. Near that number little is averaged: with n equal to
            it the answer is the gold of the single best sample.

    Returns:
        Expected gold, `(*batch)` for one n and `(*batch, len(n))` for several, float64.

    Raises:
        TypeError, ValueError: If an argument is not an array of finite real numbers, the shapes do not fit, or an n is
            out of range.

    Source: Coste et al. 2023 (arXiv 2310.02743), equations 7 and 8; the rule for ties is ours. The released code sorts
    gold by the first member's proxy where the ensemble's is meant; here the same proxy does both.

    Example:
        >>> import numpy as np
        >>> best_of_n_gold(np.array([3.0, 1.0, 2.0]), np.array([30.0, 10.0, 20.0]), [1, 2, 3]).round(6)
        array([20.      , 26.666667, 30.      ])
    """
    proxy = check_finite("proxy", as_float64(check_array("proxy", proxy)))
    gold = check_finite("gold", as_float64(check_array("gold", gold)))
    xp = _one_library(proxy, gold)
    if not proxy.ndim or not gold.ndim or proxy.shape[-1] != gold.shape[-1]:
        raise ValueError(
            f"proxy has shape {tuple(proxy.shape)} and gold {tuple(gold.shape)}, expected the same number of samples"
        )
    check_broadcast(proxy=tuple(proxy.shape[:-1]), gold=tuple(gold.shape[:-1]))
    samples = proxy.shape[-1]
    weights = [best_of_n_weights(samples, each) for each in ([n] if np.ndim(n) == 0 else n)]
    table = xp.asarray(np.reshape(weights, (-1, samples)), device=proxy.device)
    expected = xp.matmul(_gold_by_rank(proxy, gold), table.T)
    return expected[..., 0] if np.ndim(n) == 0 else expected


def _gold_by_rank(proxy: Array, gold: Array) -> Array:
    """Gold in ascending order of the proxy; samples that tie carry the average gold of their tie."""
    xp = array_namespace(proxy)
    order = xp.argsort(proxy, axis=-1)
    proxy = xp.take_along_axis(proxy, order, axis=-1)
    shape = np.broadcast_shapes(tuple(order.shape), tuple(gold.shape))
    ranked = xp.take_along_axis(xp.broadcast_to(gold, shape), xp.broadcast_to(order, shape), axis=-1)
    higher = xp.broadcast_to(proxy[..., 1:] > proxy[..., :-1], (*shape[:-1], shape[-1] - 1))
    if bool(xp.all(higher)):
        return ranked
    first = xp.concat([xp.ones_like(higher[..., :1]), higher], axis=-1)
    ties = xp.cumulative_sum(xp.astype(xp.reshape(first, (-1,)), xp.int64)) - 1  # a row's first sample opens a new one
    average = xp.bincount(ties, xp.reshape(ranked, (-1,))) / xp.bincount(ties)
    return xp.reshape(average[ties], shape)


def _one_library(proxy: Array, gold: Array):
    xp = array_namespace(proxy)
    if xp is not array_namespace(gold):
        raise TypeError(f"gold is a {type(gold).__name__} but proxy is a {type(proxy).__name__}; use one library")
    return xp
