"""Arrays of any supported library (NumPy, torch), one implementation for both."""

import math
from types import ModuleType
from typing import Any, TypeAlias

import array_api_compat.numpy as numpy_namespace
import numpy as np
from array_api_compat import array_namespace as namespace_of_any
from array_api_compat import is_torch_array

Array: TypeAlias = Any  # NumPy array or torch tensor; the shape and dtype live in the jaxtyping annotation

__all__ = ["Array", "all_finite", "array_namespace", "as_float64", "is_array", "is_floating", "is_torch", "to_numpy"]


def array_namespace(*arrays: Array) -> ModuleType:
    """The array API of the library that all the arrays are of.

    Raises:
        TypeError: If they are of several libraries, or of none.
    """
    if len(arrays) == 1 and type(arrays[0]) is np.ndarray:  # half of the time that a reward of a few steps takes
        return numpy_namespace
    return namespace_of_any(*arrays)


def is_array(value: object) -> bool:
    """Whether `value` is a NumPy array (or scalar) or a torch tensor."""
    return isinstance(value, np.ndarray | np.generic) or is_torch_array(value)


def is_torch(value: object) -> bool:
    """Whether `value` is a torch tensor; imports no torch."""
    return not isinstance(value, np.ndarray) and is_torch_array(value)


def is_floating(value: Array) -> bool:
    """Whether an array holds real floating-point numbers."""
    if type(value) is np.ndarray:  # asking the array API takes microseconds, a step of an environment has few
        return value.dtype.kind == "f"
    return array_namespace(value).isdtype(value.dtype, "real floating")


def all_finite(value: Array) -> bool:
    """Whether every entry is finite; a sum settles the usual case fast, as NaN and infinity survive it."""
    if not isinstance(value, np.ndarray | np.generic):
        value = value.detach()
        return math.isfinite(float(value.sum())) or bool(value.isfinite().all())
    blas = value.dtype in (np.float64, np.float32)
    if blas and math.isfinite(np.vdot(value, value)):  # the fastest sum there is, and no warnings
        return True
    return bool(np.isfinite(value).all())


def as_float64(value: Array) -> Array:
    """The same values in float64, in the same library and on the same device; no copy where none is needed."""
    return array_namespace(value).astype(value, array_namespace(value).float64, copy=False)


def to_numpy(value: Array) -> np.ndarray:
    """The same values as a NumPy array, detached and on the host; bfloat16, which NumPy lacks, as float32."""
    if not is_torch(value):
        return np.asarray(value)
    value = value.detach().cpu()
    return value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
