"""Arrays of any supported library (NumPy, torch), one implementation for both."""

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, is_torch_array

Array: TypeAlias = Any  # NumPy array or torch tensor; the shape and dtype live in the jaxtyping annotation

__all__ = ["Array", "array_namespace", "as_float64", "is_array", "to_numpy"]


def is_array(value: object) -> bool:
    """Whether `value` is a NumPy array (or scalar) or a torch tensor."""
    return isinstance(value, np.ndarray | np.generic) or is_torch_array(value)


def as_float64(value: Array) -> Array:
    """The same values in float64, in the same library and on the same device; no copy where none is needed."""
    return array_namespace(value).astype(value, array_namespace(value).float64, copy=False)


def to_numpy(value: Array) -> np.ndarray:
    """The same values as a NumPy array, detached and on the host."""
    return value.detach().cpu().numpy() if is_torch_array(value) else np.asarray(value)
