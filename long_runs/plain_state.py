"""Nested state as JSON plus tensors, so that a checkpoint holds nothing that could run code when it is read."""

import math
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["join_state", "split_state"]

_TENSOR, _TUPLE, _PAIRS, _FLOAT = "$tensor", "$tuple", "$pairs", "$float"


def split_state(name: str, state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Take the tensors out of a nested state.

    Args:
        name: What the state is called; the tensors' names start with it.
        state: Dicts, lists and tuples, nested, of tensors, numbers, text, booleans and None. A dict's keys are text or
            whole numbers. One tensor in two places (tied weights) is kept once.

    Returns:
        What JSON can hold, with references to tensors by name; and the tensors, on the CPU.

    Raises:
        TypeError: If the state holds anything else; the message names the place.
    """
    tensors: dict[str, torch.Tensor] = {}
    seen: dict[tuple, str] = {}

    def visit(place: str, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value = value.detach()
            identity = (value.untyped_storage().data_ptr(), value.storage_offset(), value.shape, value.stride())
            identity = (*identity, value.dtype, str(value.device), *((place,) if value.numel() == 0 else ()))
            if identity not in seen:
                seen[identity] = place
                tensors[place] = value
            return {_TENSOR: seen[identity]}
        if isinstance(value, Mapping):
            return _mapping(place, value, visit)
        if isinstance(value, list | tuple):
            items = [visit(f"{place}.{index}", part) for index, part in enumerate(value)]
            return {_TUPLE: items} if isinstance(value, tuple) else items
        if type(value) is float and not math.isfinite(value):
            return {_FLOAT: str(value)}
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise TypeError(f"{place} is a {type(value).__name__}, expected tensors, numbers, text and None only")

    tree = visit(name, state)
    return tree, {place: _own_copy(tensor) for place, tensor in tensors.items()}


def join_state(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Put the tensors back: the inverse of `split_state`, with the same types of dicts' keys, lists and tuples."""
    if isinstance(tree, list):
        return [join_state(part, tensors) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((kind, value),) = tree.items()
        if kind == _TENSOR:
            return tensors[value]
        if kind == _TUPLE:
            return tuple(join_state(part, tensors) for part in value)
        if kind == _PAIRS:
            return {key: join_state(part, tensors) for key, part in value}
        if kind == _FLOAT:
            return float(value)
    return {key: join_state(part, tensors) for key, part in tree.items()}


def _mapping(place: str, value: Mapping, visit: Any) -> Any:
    for key in value:
        if type(key) not in (str, int):
            raise TypeError(f"{place} has the key {key!r}, a {type(key).__name__}; expected text or a whole number")
    parts = {key: visit(f"{place}.{key}", part) for key, part in value.items()}
    plain = all(type(key) is str and not key.startswith("$") for key in parts)
    return parts if plain else {_PAIRS: [[key, part] for key, part in parts.items()]}


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    """On the CPU, contiguous, and no part of a larger storage: what safetensors can write."""
    tensor = tensor.to("cpu").contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
