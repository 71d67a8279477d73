"""Means with their 95% bootstrap intervals, and what an interval says of a claim."""

import warnings

import numpy as np
from scipy import stats

__all__ = ["above", "for_verdict", "mean_interval"]


def mean_interval(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis (seeds) with its 95% bootstrap interval, stacked: `(3, *shape)`."""
    values = np.asarray(values, float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # equal values have an interval without width
        found = stats.bootstrap((values,), np.mean, axis=0, vectorized=True, method="percentile", rng=0)
    return np.stack([values.mean(axis=0), *found.confidence_interval])


def for_verdict(found: np.ndarray) -> tuple[float, tuple[float, float]]:
    """A mean and its interval as a `Verdict` takes them."""
    mean, low, high = (float(part) for part in found)
    return mean, (low, high)


def above(found: np.ndarray, least: float) -> str:
    """Supported at `least` or more with the interval above 0, refuted with the interval below 0."""
    mean, low, high = found
    return "supported" if mean >= least and low > 0 else "refuted" if high < 0 else "undecided"
