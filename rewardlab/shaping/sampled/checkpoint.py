"""Checkpoints that are whole or not there, and hold nothing but tensors, numbers and text."""

import os
from pathlib import Path

import torch

__all__ = ["load_checkpoint", "save_checkpoint"]

VERSION = 1


def save_checkpoint(path: str | Path, state: dict) -> None:
    """Write a state so that the file at `path` is at every moment the old one or the new one, never half of one.

    Args:
        path: Where; the directory exists. A file `<path>.part` is written first and renamed.
        state: Nested dicts and lists of tensors, numbers, strings and None.

    Raises:
        TypeError: If the state holds anything else: it could not be loaded without running code of the file.
    """
    path = Path(path)
    _check_plain("state", state)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save({"version": VERSION, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    if hasattr(os, "O_DIRECTORY"):  # the rename survives a loss of power only once the directory is written too
        directory = os.open(path.parent, os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)


def load_checkpoint(path: str | Path) -> dict:
    """Read what `save_checkpoint` wrote, without running any code that a file may hold.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is no checkpoint of this version.
    """
    path = Path(path)
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is no checkpoint: {type(error).__name__}") from error
    version = payload.get("version") if isinstance(payload, dict) else None
    if version != VERSION:
        raise ValueError(f"{path} holds version {version}, expected {VERSION}")
    return payload["state"]


def _check_plain(place: str, value) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            _check_plain(f"{place}[{key!r}]", part)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _check_plain(f"{place}[{index}]", part)
    elif not (value is None or type(value) in (bool, int, float, str, torch.Tensor)):
        raise TypeError(f"{place} is a {type(value).__name__}, expected tensors, numbers, text and None only")
