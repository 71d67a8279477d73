"""How do several signals make one reward? Combinations along the first axis.

Every function takes `signals (signals, *shape)`, or a list of arrays of one shape, and optionally `present`, a boolean
array of the same shape. An absent entry is left out of its sample's combination; a sample with no signal present is
NaN, never 0.
"""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float

from rewardlab.arrays import Array, all_finite, array_namespace, is_array, is_floating
from rewardlab.checks import check_array, check_finite, check_same_shape, check_scalar

__all__ = [
    "component_weights",
    "conjunction",
    "median",
    "minimum",
    "product",
    "soft_minimum",
    "weighted_mean",
    "weighted_sum",
]

Weights = Sequence[float] | Float[Array, " signals"] | None
Signals = Float[Array, "signals *shape"] | Sequence[Float[Array, "*shape"]]
Present = Bool[Array, "signals *shape"] | None
Combined = Float[Array, "*shape"]


def conjunction(log_probs: Signals, weights: Weights = None, present: Present = None) -> Combined:
    """Log-probability that a response is good in every respect: the sum of the log-probabilities of each.

    The worst signal weighs most: no amount of helpfulness pays for harm.

    Args:
        log_probs: Log-probabilities of being good in each respect, at most 0: outputs of `log_sigmoid`.
        weights: One a signal, at least 0; 1 each by default. Weight w asks for p^w.
        present: Which entries apply. One that does not is no condition.

    Returns:
        Values in (-inf, 0]; NaN where no signal is present.

    Raises:
        ValueError: If an entry is above 0: it is no log-probability, and adding it would be a plain sum.

    Source: Wang et al. 2024 (arXiv 2402.00742); independence of the properties is its assumption. Weights are ours.

    Example:
        >>> import numpy as np
        >>> conjunction(np.log(np.array([[0.9, 0.5], [0.9, 0.99]]))).round(3)
        array([-0.211, -0.703])
    """
    total = _total(log_probs, weights, present, at_most_0=True)
    if weights is not None and min(weights) < 0:
        raise ValueError("conjunction: a weight is negative, expected at least 0")
    return total


def weighted_sum(signals: Signals, weights: Weights = None, present: Present = None) -> Combined:
    """Sum of the signals, each times its weight: what most trainers do.

    Args:
        signals: Rewards in any unit; the one of the largest scale rules.
        weights: One a signal; 1 each by default.
        present: Which entries apply; the others add nothing.

    Returns:
        The sum; NaN where no signal is present.

    Raises:
        ValueError: If a present entry is not finite, or the number of weights is not that of signals.

    Example:
        >>> import numpy as np
        >>> weighted_sum(np.array([[1.0, 2.0], [10.0, 20.0]]), [1.0, 0.5])
        array([ 6., 12.])
    """
    return _total(signals, weights, present, at_most_0=False)


def weighted_mean(signals: Signals, weights: Weights = None, present: Present = None) -> Combined:
    """Mean of the present signals, by weight.

    Args:
        signals: Rewards on one scale.
        weights: One a signal, at least 0; equal by default.
        present: Which entries apply; the weights of the others are dropped, not given a value of 0.

    Returns:
        The mean; NaN where no signal of positive weight is present.

    Raises:
        ValueError: If a weight is negative, or a present entry is not finite.

    Example:
        >>> import numpy as np
        >>> weighted_mean(np.array([[1.0], [4.0]]), [2.0, 1.0])
        array([2.])
    """
    values, present, shares = _prepared(signals, weights, present)
    xp = array_namespace(values)
    if shares is not None and bool(xp.any(shares < 0)):
        raise ValueError("weighted_mean: a weight is negative, expected at least 0")
    if shares is None and present is None:
        return xp.mean(values, axis=0)
    shares = xp.ones_like(values) if shares is None else shares * xp.ones_like(values)
    if present is not None:
        shares = xp.where(present, shares, xp.zeros_like(shares))
    share = xp.sum(shares, axis=0)
    mean = xp.sum(values * shares, axis=0) / xp.where(share > 0, share, xp.ones_like(share))
    return xp.where(share > 0, mean, xp.full_like(mean, float("nan")))


def minimum(signals: Signals, present: Present = None) -> Combined:
    """The worst of the signals: a hard "and" for signals on one scale, and the worst case of an ensemble.

    Args:
        signals: Rewards on one scale, centred at what is good enough.
        present: Which entries apply.

    Returns:
        The smallest present entry; NaN where none is.

    Raises:
        ValueError: If a present entry is not finite.

    Example:
        >>> import numpy as np
        >>> minimum(np.array([[1.0, 2.0], [3.0, -1.0]]))
        array([ 1., -1.])
    """
    if present is None and isinstance(signals, list | tuple) and _alike(signals) and all(map(all_finite, signals)):
        return reduce(array_namespace(signals[0]).minimum, signals)  # half the time of a stack
    values, present, _ = _prepared(signals, None, present)
    xp = array_namespace(values)
    if present is not None:
        values = xp.where(present, values, xp.full_like(values, float("inf")))
    return _or_nan(xp.min(values, axis=0), present)


def median(signals: Signals, present: Present = None) -> Combined:
    """The median of the present signals: the middle one, or the mean of the two in the middle.

    Args:
        signals: Rewards on one scale.
        present: Which entries apply.

    Returns:
        The median; NaN where no signal is present.

    Raises:
        ValueError: If a present entry is not finite.

    Example:
        >>> import numpy as np
        >>> median(np.array([[1.0], [2.0], [10.0]]))
        array([2.])
    """
    values, present, _ = _prepared(signals, None, present)
    xp = array_namespace(values)
    if present is None:
        number = xp.full(values.shape[1:], values.shape[0], dtype=xp.int64, device=device(values))
    else:
        values = xp.where(present, values, xp.full_like(values, float("inf")))
        number = xp.sum(xp.astype(present, xp.int64), axis=0)
    ascending = xp.sort(values, axis=0)
    low, high = xp.clip((number - 1) // 2, 0, None)[None], xp.clip(number // 2, None, values.shape[0] - 1)[None]
    below, above = (xp.take_along_axis(ascending, place, axis=0)[0] for place in (low, high))
    below, above = (xp.where(number > 0, value, xp.zeros_like(value)) for value in (below, above))  # else infinite
    return _or_nan(below + (above - below) / 2, present)


def product(signals: Signals, present: Present = None) -> Combined:
    """Product of the present signals: a gate, for signals in [0, 1].

    Args:
        signals: Values in [0, 1], such as outputs of `sigmoid` or a 0/1 format check.
        present: Which entries apply.

    Returns:
        Values in [0, 1]; NaN where no signal is present.

    Raises:
        ValueError: If a present entry is outside [0, 1]: two bad negative rewards would multiply to a good one.

    Example:
        >>> import numpy as np
        >>> product(np.array([[0.5, 1.0], [0.5, 0.0]]))
        array([0.25, 0.  ])
    """
    values, present, _ = _prepared(signals, None, present)
    xp = array_namespace(values)
    if bool(xp.any((values < 0) | (values > 1))):
        raise ValueError("product: expected signals in [0, 1], got one outside; put a sigmoid before it")
    if present is not None:
        values = xp.where(present, values, xp.ones_like(values))
    return _or_nan(xp.prod(values, axis=0), present)


def soft_minimum(signals: Signals, temperature: float, present: Present = None) -> Combined:
    """Smooth minimum: -temperature x log mean exp(-signals / temperature).

    Args:
        signals: Rewards on one scale.
        temperature: In units of reward, above 0; towards 0 the minimum, towards infinity the mean.
        present: Which entries apply.

    Returns:
        Values between the minimum and the mean of the present signals; NaN where there is none.

    Raises:
        ValueError: If `temperature` is not above 0, or a present entry is not finite.

    Example:
        >>> import numpy as np
        >>> soft_minimum(np.array([[0.0], [1.0]]), 0.1).round(4)
        array([0.0693])
    """
    check_scalar("temperature", temperature, low=0.0, open_low=True)
    values, present, _ = _prepared(signals, None, present)
    xp = array_namespace(values)
    lowest = minimum(values, present)
    lowest = xp.where(xp.isnan(lowest), xp.zeros_like(lowest), lowest)
    above = xp.clip((values - lowest) / temperature, 0, None)
    less = xp.expm1(-above)  # likelihood less 1, in which a high temperature loses nothing to rounding
    if present is None:
        return lowest - temperature * xp.log1p(xp.mean(less, axis=0))
    number = xp.clip(xp.sum(xp.astype(present, values.dtype), axis=0), 1, None)
    total = xp.sum(xp.where(present, less, xp.zeros_like(less)), axis=0)
    return _or_nan(lowest - temperature * xp.log1p(total / number), present)


def component_weights(weights: Weights, signals: Array) -> Array:
    """One finite weight a signal, (signals,), in the library, dtype and device of `signals`; 1 each by default.

    Raises:
        ValueError: If the number of weights is not that of signals, or one is not finite.
    """
    xp, number = array_namespace(signals), signals.shape[0]
    if weights is None:
        return xp.ones((number,), dtype=signals.dtype, device=device(signals))
    weights = weights if is_array(weights) else np.asarray(weights, dtype=float)
    if tuple(weights.shape) != (number,):
        raise ValueError(f"weights have shape {tuple(weights.shape)}, expected one for each of {number} signals")
    return check_finite("weights", xp.asarray(weights, dtype=signals.dtype, device=device(signals)))


def _prepared(signals: Array, weights: Weights, present: Array | None) -> tuple[Array, Array | None, Array | None]:
    """(signals with 0 where absent, present, weights shaped to broadcast), checked."""
    if isinstance(signals, list | tuple):
        signals = _stacked(signals)
    xp = array_namespace(check_array("signals", signals))
    if not signals.ndim or not signals.shape[0]:
        raise ValueError(f"signals have shape {tuple(signals.shape)}, expected (signals, *shape) with a signal or more")
    if not is_floating(signals):
        signals = xp.astype(signals, xp.float64)
    if present is not None:
        check_same_shape("present", check_array("present", present), "signals", signals)
        present = xp.astype(present, xp.bool, copy=False)
        signals = xp.where(present, signals, xp.zeros_like(signals))
    check_finite("signals", signals)
    if weights is None:
        return signals, present, None
    return signals, present, xp.reshape(component_weights(weights, signals), (-1, *[1] * (signals.ndim - 1)))


def _stacked(signals: Sequence[Array]) -> Array:
    if _alike(signals):
        return array_namespace(signals[0]).stack(signals)
    shapes = [tuple(check_array(f"signals[{place}]", values).shape) for place, values in enumerate(signals)]
    if not shapes or len(set(shapes)) > 1:
        raise ValueError(f"signals: expected arrays of one shape, at least one, got shapes {shapes}")
    return array_namespace(*signals).stack(signals)


def _alike(signals: Sequence[Array]) -> bool:
    """Whether the signals are arrays of floats of one library, dtype and shape."""
    if not signals or not is_array(signals[0]):
        return False
    kind, dtype, shape = type(signals[0]), signals[0].dtype, signals[0].shape
    alike = all(type(values) is kind and values.dtype == dtype and values.shape == shape for values in signals)
    return alike and is_floating(signals[0])


def _total(signals: Signals, weights: Weights, present: Array | None, *, at_most_0: bool) -> Array:
    """Weighted sum, signal after signal where nothing is absent: a stack of them would cost as much as the rest."""
    if present is None and isinstance(signals, list | tuple) and _alike(signals):
        total = None
        shares = [None] * len(signals) if weights is None else [float(weight) for weight in weights]  # keeps the dtype
        if len(shares) != len(signals):
            raise ValueError(f"weights have shape ({len(shares)},), expected one for each of {len(signals)} signals")
        for values, share in zip(signals, shares, strict=True):
            _check_sign(values, at_most_0)
            part = values if share is None else values * share
            if total is None:
                total = part + 0  # a copy, which the next ones may be added to in place
            else:
                total += part
        try:
            return check_finite("the sum of signals", total)
        except ValueError:
            _prepared(signals, weights, None)  # says which signal or weight it was, if it was one
            raise
    values, present, shares = _prepared(signals, weights, present)
    _check_sign(values, at_most_0)
    return _or_nan(array_namespace(values).sum(values if shares is None else values * shares, axis=0), present)


def _check_sign(log_probs: Array, at_most_0: bool) -> None:
    if at_most_0 and 0 not in log_probs.shape and bool(array_namespace(log_probs).max(log_probs) > 0):
        raise ValueError(
            "conjunction: expected log-probabilities of at most 0 (outputs of log_sigmoid), got a positive entry; "
            "use weighted_sum for plain rewards"
        )


def _or_nan(combined: Array, present: Array | None) -> Array:
    """The combination, NaN where nothing was present to combine."""
    if present is None:
        return combined
    xp = array_namespace(combined)
    return xp.where(xp.any(present, axis=0), combined, xp.full_like(combined, float("nan")))
