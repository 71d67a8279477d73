"""Batches of observations: arrays, or dicts and tuples of arrays, with one row for each environment."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from rewardlab.arrays import is_array

__all__ = ["batch_of_one", "count_rows", "snapshot", "take", "with_rows"]


def snapshot(observation: Any) -> Any:
    """A copy that later steps cannot change: some environments write every observation into the same memory."""
    return observation.copy() if isinstance(observation, np.ndarray) else copy.deepcopy(observation)


def take(batch: Any, index: int | np.ndarray) -> Any:
    """The rows `index` of every array in a batch of observations or actions, in dicts and tuples too."""
    if isinstance(batch, Mapping):
        return {key: take(value, index) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(take(value, index) for value in batch)
    if isinstance(batch, list):
        return np.asarray(batch)[index]
    if is_array(batch):
        return batch[index]
    raise TypeError(
        f"a batch of observations or actions holds {type(batch).__name__}, expected arrays with one row each"
    )


def with_rows(batch: Any, rows: Mapping[int, Any]) -> Any:
    """A copy of a batch of observations in which row i is `rows[i]`."""
    if isinstance(batch, Mapping):
        return {key: with_rows(value, {i: row[key] for i, row in rows.items()}) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(with_rows(value, {i: row[at] for i, row in rows.items()}) for at, value in enumerate(batch))
    changed = batch.copy()
    for i, row in rows.items():
        changed[i] = row
    return changed


def count_rows(batch: Any) -> int:
    """How many observations a batch holds."""
    while isinstance(batch, Mapping | tuple) and len(batch):
        batch = next(iter(batch.values())) if isinstance(batch, Mapping) else batch[0]
    return len(batch)


def batch_of_one(observation: Any) -> Any:
    """One observation as a batch."""
    if isinstance(observation, Mapping):
        return {key: batch_of_one(value) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(batch_of_one(value) for value in observation)
    return observation[None] if is_array(observation) else np.asarray(observation)[None]
