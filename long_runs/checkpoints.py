"""Checkpoints of a training: whole or not there, checked by hash, of this run only, and free of code.

A checkpoint is a folder `step-00000012` with `model.safetensors`, `optimiser.safetensors`, `rest.safetensors` (states
of generators and whatever else holds tensors) and `state.json`, which holds the numbers and texts and every file's
size and SHA-256. It is written under another name, brought to the disk, and only then renamed.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from long_runs.files import remove_folder, sha256_of, sync_folder
from long_runs.plain_state import join_state, split_state

__all__ = ["Checkpoint", "differences", "latest_step", "load_checkpoint", "save_checkpoint"]

VERSION = 1
_FILES = {"model": "model.safetensors", "optimiser": "optimiser.safetensors", "rest": "rest.safetensors"}
_HINT = "delete that folder to go on from the one before it"
Generators = Mapping[str, torch.Generator | np.random.Generator]


@dataclass(frozen=True)
class Checkpoint:
    """What was saved, with every tensor on the CPU.

    Args:
        step: Training steps done.
        model: Tensors by name, as given.
        optimiser: An optimiser's `state_dict()`.
        generators: States by name.
        extra: As given.
        settings: Of the run that wrote it.
        path: Its folder.
    """

    step: int
    model: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    generators: dict[str, Any]
    extra: dict[str, Any]
    settings: dict[str, Any]
    path: Path

    def restore_generators(self, generators: Generators) -> None:
        """Set generators to where they were when the checkpoint was written.

        Raises:
            ValueError: If the names are not those that were saved, or a generator is of another kind.
        """
        if set(generators) != set(self.generators):
            raise ValueError(f"{self.path.name} has the generators {list(self.generators)}, not {list(generators)}")
        for name, generator in generators.items():
            state = self.generators[name]
            if isinstance(generator, torch.Generator) != isinstance(state, torch.Tensor):
                raise ValueError(f"generator {name!r} is a {type(generator).__name__}, another kind than was saved")
            if isinstance(generator, torch.Generator):
                generator.set_state(state)
            else:
                generator.bit_generator.state = state


def save_checkpoint(
    folder: str | Path,
    step: int,
    *,
    model: Mapping[str, torch.Tensor],
    optimiser: Mapping[str, Any],
    generators: Generators,
    settings: Any,
    extra: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> Path:
    """Write a checkpoint; one that was there stays until the new one is whole.

    Args:
        folder: Of the run's checkpoints and nothing else; made where there is none.
        step: Training steps done, at least 0.
        model: Tensors by name: the trainable ones suffice where the others can be loaded again (LoRA).
        optimiser: Its `state_dict()`.
        generators: Random generators by name, all that the training draws from (`torch.default_generator` too where
            there is dropout).
        settings: What makes this run this run, as a dataclass or dict that JSON can hold: `load_checkpoint` refuses a
            checkpoint written with others.
        extra: Anything else: dicts, lists and tuples of tensors, numbers and text.
        keep: How many checkpoints to keep, at least 1; older ones are deleted.

    Returns:
        The checkpoint's folder.

    Raises:
        TypeError: If something is no tensor, number or text: it could not be read back without running code.
        ValueError: If `step` or `keep` is too small.
        OSError: If the disk is full or read-only; the checkpoints that were there are as they were.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step is {step} and keep {keep}, expected at least 0 and at least 1")
    states = {"model": dict(model), "optimiser": dict(optimiser)}
    states["rest"] = {"generators": {name: _state_of(one) for name, one in generators.items()}, "extra": extra or {}}
    content: dict[str, Any] = {"step": int(step), "settings": plain_settings(settings), "trees": {}, "files": {}}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    final = folder / f"step-{step:08d}"
    part = folder / f".part-{final.name}"
    part.mkdir()
    try:
        for name, state in states.items():
            path = part / _FILES[name]
            content["trees"][name], tensors = split_state(name, state)
            save_file(tensors, path)
            _to_disk(path)
            content["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        text = json.dumps(content, allow_nan=False)
        header = {"version": VERSION, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        (part / "state.json").write_text(f"{json.dumps(header)}\n{text}\n", encoding="utf-8")
        _to_disk(part / "state.json")
        sync_folder(part)
        if final.exists():  # still found under this name by whoever is killed before the next line
            os.replace(final, final.with_name(final.name + ".replaced"))
        os.replace(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(folder)
    current = [path for path in _checkpoints(folder) if not path.name.endswith(".replaced")][-keep:]
    for path in _checkpoints(folder):
        if path not in current:
            remove_folder(path)
    return final


def load_checkpoint(folder: str | Path, *, settings: Any = None, step: int | None = None) -> Checkpoint | None:
    """Read the newest checkpoint, or that of a step, after checking every byte of it; no code in it can run.

    Args:
        folder: As given to `save_checkpoint`.
        settings: This run's; None to read any run's.
        step: Which checkpoint; None for the newest.

    Returns:
        The checkpoint, or None where the folder has none. What a killed process left half-written does not count.

    Raises:
        ValueError: If a file of the checkpoint is missing, cut short or changed, or if the checkpoint is of a run with
            other settings; the message says what differs.
    """
    found = _checkpoints(Path(folder))
    if step is not None:
        found = [path for path in found if _step_of(path) == step]
    if not found:
        return None
    path = found[-1]
    content = _read_state(path)
    if settings is not None:
        differ = differences(content["settings"], plain_settings(settings))
        if differ:
            raise ValueError(f"{path} is of another run: {'; '.join(differ)}")
    parts = {}
    for name, file in _FILES.items():
        _check_file(path / file, content["files"][file])
        parts[name] = join_state(content["trees"][name], load_file(path / file))
    rest = parts.pop("rest")
    return Checkpoint(content["step"], **parts, **rest, settings=content["settings"], path=path)


def latest_step(folder: str | Path) -> int | None:
    """Step of the newest checkpoint of a folder, or None; its files are not read."""
    found = _checkpoints(Path(folder))
    return _step_of(found[-1]) if found else None


def differences(saved: Mapping[str, Any], current: Mapping[str, Any], place: str = "") -> list[str]:
    """What differs between two nested settings, one sentence a setting.

    Example:
        >>> differences({"task": "addition", "lora": {"rank": 8}}, {"task": "addition", "lora": {"rank": 4}})
        ['lora.rank is 8 there and 4 here']
    """
    found = []
    for key in [*saved, *(key for key in current if key not in saved)]:
        name = f"{place}{key}"
        if key not in saved or key not in current:
            here, there = ("absent" if key not in side else repr(side[key]) for side in (current, saved))
            found.append(f"{name} is {there} there and {here} here")
        elif isinstance(saved[key], Mapping) and isinstance(current[key], Mapping):
            found += differences(saved[key], current[key], f"{name}.")
        elif saved[key] != current[key]:
            found.append(f"{name} is {saved[key]!r} there and {current[key]!r} here")
    return found


def plain_settings(settings: Any) -> dict[str, Any]:
    """Settings as JSON gives them back: a dataclass as a dict, paths as text, tuples as lists.

    Raises:
        TypeError: If they are neither dataclass nor dict, or JSON cannot hold them.
        ValueError: If a number is NaN or infinite.
    """
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        settings = dataclasses.asdict(settings)
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings is a {type(settings).__name__}, expected a dataclass or a dict")
    return json.loads(json.dumps(settings, default=_as_text, allow_nan=False))


def _as_text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"settings holds {value!r}, a {type(value).__name__}; expected numbers, text, lists and dicts")


def _state_of(generator: torch.Generator | np.random.Generator) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    return generator.bit_generator.state


def _step_of(path: Path) -> int:
    return int(path.name.removesuffix(".replaced").removeprefix("step-"))


def _checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first; one that is being replaced counts until its successor is there."""
    found = [path for path in folder.glob("step-*") if path.name.removesuffix(".replaced")[5:].isdigit()]
    return sorted(found, key=lambda path: (_step_of(path), not path.name.endswith(".replaced")))


def _sweep(folder: Path) -> None:
    """Remove what killed processes left."""
    for pattern in (".part-step-*", ".deleted-step-*"):
        for left in folder.glob(pattern):
            shutil.rmtree(left)
    for replaced in folder.glob("step-*.replaced"):
        if replaced.with_suffix("").exists():
            remove_folder(replaced)


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _read_state(path: Path) -> dict[str, Any]:
    file = path / "state.json"
    try:
        first, _, text = file.read_text(encoding="utf-8").partition("\n")
        header = json.loads(first)
        version, expected = header["version"], header["sha256"]
    except (FileNotFoundError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is missing or no checkpoint's ({type(error).__name__}); {_HINT}") from error
    if version != VERSION:
        raise ValueError(f"{file} is of version {version}, expected {VERSION}")
    text = text.removesuffix("\n")
    if hashlib.sha256(text.encode()).hexdigest() != expected:
        raise ValueError(f"{file} is cut short or changed: its SHA-256 is not the one in its first line; {_HINT}")
    return json.loads(text)


def _check_file(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing; {_HINT}")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise ValueError(f"{path} has {size} bytes, expected {expected['bytes']}; {_HINT}")
    found = sha256_of(path)
    if found != expected["sha256"]:
        raise ValueError(f"{path} has SHA-256 {found}, expected {expected['sha256']}; {_HINT}")
