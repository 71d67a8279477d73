"""Fitted ensembles in files that hold numbers and settings only, and are checked before they are believed."""

import json
import os
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.ensemble import ACTIVATIONS, GaussianEnsemble

__all__ = ["load_ensemble", "save_ensemble"]

KIND, VERSION = "rewardlab gaussian ensemble", "1"
_SETTINGS = ("observation_size", "action_size", "members", "elites", "hidden", "activation")


def save_ensemble(path: str | Path, ensemble: GaussianEnsemble) -> None:
    """Write an ensemble as safetensors, with its settings in the file's metadata.

    The file at `path` is at every moment the old one or the new one: `<path>.part` is written first and renamed.

    Raises:
        TypeError: If it is no ensemble.
        ValueError: If a tensor holds a number that is not finite: such a file could not be loaded.
    """
    if not isinstance(ensemble, GaussianEnsemble):
        raise TypeError(f"ensemble is a {type(ensemble).__name__}, expected a GaussianEnsemble")
    path = Path(path)
    tensors = {name: value.detach().cpu().contiguous() for name, value in ensemble.state_dict().items()}
    _check_finite(path, tensors)
    settings = {name: getattr(ensemble, name) for name in _SETTINGS}
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"kind": KIND, "version": VERSION, "settings": json.dumps(settings)})
    os.replace(part, path)


def load_ensemble(path: str | Path, *, device: torch.device | str = "cpu") -> GaussianEnsemble:
    """Read what `save_ensemble` wrote.

    Args:
        path: The file.
        device: Where the ensemble goes.

    Returns:
        The ensemble, without gradients, in the precision it was saved in.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is no safetensors file, or of something else, or its settings are no settings of an
            ensemble, or a tensor is missing, superfluous, of another shape or type than they say, or not finite, or
            elites, scales or calibration are out of range. Names file and tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if (metadata.get("kind"), metadata.get("version")) != (KIND, VERSION):
                raise ValueError(
                    f"{path} holds {metadata.get('kind')!r}, version {metadata.get('version')!r}; "
                    f"expected {KIND!r}, version {VERSION!r}"
                )
            settings = _settings(path, metadata.get("settings", ""))
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
            _check_shapes(path, shapes, settings)
            tensors = {name: file.get_tensor(name) for name in shapes}
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    _check_values(path, tensors, settings)
    ensemble = GaussianEnsemble(**settings, generator=torch.Generator()).to(tensors["calibration"].dtype)
    ensemble.load_state_dict(tensors)
    return ensemble.to(device).requires_grad_(False).eval()


def _settings(path: Path, text: str) -> dict:
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} has settings that are no JSON: {error}") from error
    if not isinstance(settings, dict) or sorted(settings) != sorted(_SETTINGS):
        raise ValueError(f"{path} has the settings {text:.200}, expected {', '.join(_SETTINGS)}")
    try:
        for name in ("observation_size", "action_size", "members", "elites"):
            check_scalar(name, settings[name], low=1, whole=True)
        check_scalar("elites", settings["elites"], low=1, high=settings["members"], whole=True)
        if not isinstance(settings["hidden"], list):
            raise ValueError(f"hidden is {settings['hidden']!r}, expected a list")
        for layer, size in enumerate(settings["hidden"]):
            check_scalar(f"hidden[{layer}]", size, low=1, whole=True)
        check_choice("activation", settings["activation"], ACTIVATIONS)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has wrong settings: {error}") from error
    return settings


def _check_shapes(path: Path, shapes: dict[str, tuple], settings: dict) -> None:
    """Before anything is built: a file must not make us allocate what it does not hold."""
    inputs, outputs = settings["observation_size"] + settings["action_size"], settings["observation_size"] + 1
    sizes = [inputs, *settings["hidden"], 2 * outputs]
    expected: dict[str, tuple] = {"elite_indices": (settings["elites"],)}
    for layer, (before, after) in enumerate(pairwise(sizes)):
        expected[f"weights.{layer}"] = (settings["members"], before, after)
        expected[f"biases.{layer}"] = (settings["members"], 1, after)
    expected |= dict.fromkeys(("max_log_variance", "min_log_variance", "calibration", "output_scale"), (outputs,))
    expected |= {f"input_scaler.{name}": (inputs,) for name in ("mean", "standard_deviation")}
    if missing := sorted(set(expected) - set(shapes)):
        raise ValueError(f"{path} has no tensor {missing[0]}")
    if unknown := sorted(set(shapes) - set(expected)):
        raise ValueError(f"{path} has a tensor {unknown[0]}, which an ensemble of its settings has not")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"{path}: {name} has shape {shapes[name]}, expected {shape}")


def _check_values(path: Path, tensors: dict[str, torch.Tensor], settings: dict) -> None:
    floating = tensors["calibration"].dtype
    for name, value in tensors.items():
        expected = torch.int64 if name == "elite_indices" else floating
        if value.dtype != expected or floating not in (torch.float32, torch.float64):
            raise ValueError(f"{path}: {name} has dtype {value.dtype}, expected {expected}, float32 or float64")
    _check_finite(path, tensors)
    elites = tensors["elite_indices"].tolist()
    if len(set(elites)) != len(elites) or min(elites) < 0 or max(elites) >= settings["members"]:
        raise ValueError(
            f"{path}: elite_indices is {elites}, expected different members from 0 to {settings['members'] - 1}"
        )
    for name in ("calibration", "output_scale", "input_scaler.standard_deviation"):
        if (tensors[name] <= 0).any():
            raise ValueError(f"{path}: {name} has a number that is not above 0")


def _check_finite(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    for name, value in tensors.items():
        if not value.isfinite().all():
            place = torch.nonzero(~value.isfinite())[0].tolist()
            raise ValueError(f"{path}: {name}{place} is {float(value[tuple(place)])}, expected a finite number")
