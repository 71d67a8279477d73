"""A training's state as a checkpoint can hold it, and back: arrays as bytes, generators of the whole process."""

import random
from typing import Any

import numpy as np
import torch

__all__ = ["array_free", "global_generators", "restore_global_generators", "with_arrays"]

_ARRAY = "numpy array"


def array_free(state: Any) -> Any:
    """The same nested state, with every NumPy array as a tensor of its bytes and NumPy numbers as Python's.

    Raises:
        TypeError: If an array holds objects.
    """
    if isinstance(state, np.ndarray):
        if state.dtype.hasobject:
            raise TypeError(f"an array of {state.dtype} in a training's state, expected numbers")
        raw = np.ascontiguousarray(state).reshape(-1).view(np.uint8).copy()
        return {_ARRAY: torch.from_numpy(raw), "dtype": state.dtype.str, "shape": list(state.shape)}
    if isinstance(state, np.generic):
        return state.item()
    if isinstance(state, dict):
        return {key: array_free(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(array_free(value) for value in state)
    return state


def with_arrays(state: Any) -> Any:
    """The inverse of `array_free`."""
    if isinstance(state, dict):
        if _ARRAY in state:
            return state[_ARRAY].numpy().view(np.dtype(state["dtype"])).reshape(state["shape"]).copy()
        return {key: with_arrays(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(with_arrays(value) for value in state)
    return state


def global_generators() -> dict[str, Any]:
    """States of the process's own generators, which Stable-Baselines3 and MiniHack draw from."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the one that is drawn from
    return {"numpy": [name, keys.tolist(), *rest], "python": random.getstate(), "torch": torch.get_rng_state()}


def restore_global_generators(states: dict[str, Any]) -> None:
    """Set them to where they were."""
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, values, spare = states["python"]
    random.setstate((version, tuple(values), spare))
    torch.set_rng_state(states["torch"])
