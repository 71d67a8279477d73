"""What wrong labels cost, in closed form."""

import numpy as np
from jaxtyping import Float

__all__ = ["step_precision"]


def step_precision(
    positive_share: float | Float[np.ndarray, "..."], error: float | Float[np.ndarray, "..."]
) -> float | Float[np.ndarray, "..."]:
    """Share of paid steps that deserve it, when each step's label is flipped with a probability.

    With few steps that deserve a reward, hardly any paid one does: at a share of 0.002, one label in 20 flipped leaves
    3.7 % of what is paid.

    Args:
        positive_share: Share of steps that deserve 1, in [0, 1].
        error: Probability that a label is flipped, in [0, 1].

    Returns:
        `p (1 - e) / (p (1 - e) + (1 - p) e)`; NaN where no step is paid.

    Raises:
        ValueError: If a share is outside [0, 1]; names its place.

    >>> round(step_precision(0.002, 0.05), 4)
    0.0367
    """
    share, error = (_share(name, value) for name, value in (("positive_share", positive_share), ("error", error)))
    rightly = share * (1 - error)
    paid = rightly + (1 - share) * error
    precision = np.divide(rightly, paid, out=np.full_like(paid, np.nan), where=paid > 0)
    return precision if precision.ndim else float(precision)


def _share(name: str, value: float | Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    array = np.asarray(value, dtype=np.float64)
    wrong = ~((array >= 0) & (array <= 1))
    if wrong.any():
        place = [int(index) for index in np.argwhere(wrong)[0]]
        raise ValueError(f"{name}{place or ''} is {array[tuple(place)]}, expected a share in [0, 1]")
    return array
