"""Learned rewards of messages in files that hold numbers only, and are checked before they are believed."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rewardlab.checks import check_choice
from rewardlab.intrinsic.frozen_reward import FORMS, FrozenReward
from rewardlab.intrinsic.hashed_linear import HashedLinear
from rewardlab.intrinsic.message_learner import message_network

__all__ = ["load_message_reward", "save_message_reward"]

FORMAT = "rewardlab message reward 1"
_NUMBERS = ("threshold", "mean", "deviation")


def save_message_reward(path: str | Path, reward: FrozenReward) -> None:
    """Write a reward as safetensors, with its form and numbers in the file's metadata.

    The file at `path` is at every moment the old one or the new one: `<path>.part` is written first and renamed.

    Args:
        path: Where, in a folder that exists.
        reward: What to write; online models give it as `model.frozen()`.

    Raises:
        TypeError: If it is something else.
        ValueError: If a weight is not finite: such a file could not be loaded.
    """
    if not isinstance(reward, FrozenReward):
        raise TypeError(f"reward is a {type(reward).__name__}, expected a FrozenReward; online models have .frozen()")
    tensors = {name: value.detach().cpu().contiguous() for name, value in reward.network.state_dict().items()}
    _check_finite(path, tensors)
    settings = {"network": "hashed" if isinstance(reward.network, HashedLinear) else "bytes", "form": reward.form}
    settings |= {name: getattr(reward, name) for name in _NUMBERS}
    path = Path(path)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"format": FORMAT, "settings": json.dumps(settings)})
    os.replace(part, path)


def load_message_reward(path: str | Path, *, device: torch.device | str = "cpu") -> FrozenReward:
    """Read what `save_message_reward` wrote; pays the same, bit for bit.

    Args:
        path: The file.
        device: Where the network goes.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no safetensors file, or of something else, or a setting is wrong, or a tensor is missing,
            superfluous, of another shape or type, or not finite. Names file and tensor.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} holds {metadata.get('format')!r}, expected {FORMAT!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    try:
        reward = _build(path, tensors, json.loads(metadata.get("settings", "null")))
    except (KeyError, TypeError, ValueError) as error:
        message = f"its settings lack {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is damaged: {message}") from error
    reward.network.to(device)
    return reward


def _build(path: Path, tensors: dict[str, torch.Tensor], settings: object) -> FrozenReward:
    if not isinstance(settings, dict):
        raise ValueError(f"its settings are {settings!r}")
    check_choice("form", settings["form"], FORMS)
    network = message_network(settings["network"], outputs=FORMS[settings["form"]], generator=torch.Generator())
    expected = network.state_dict()
    if missing := sorted(set(expected) - set(tensors)):
        raise ValueError(f"it has no tensor {missing[0]}")
    if unknown := sorted(set(tensors) - set(expected)):
        raise ValueError(f"it has a tensor {unknown[0]}, which such a network has not")
    dtypes = {value.dtype for value in tensors.values()}
    if dtypes not in ({torch.float32}, {torch.float64}):
        raise ValueError(f"its tensors are {', '.join(sorted(map(str, dtypes)))}, expected all float32 or all float64")
    for name, value in expected.items():
        if tensors[name].shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(value.shape)}")
    _check_finite(path, tensors)
    network.to(dtypes.pop()).load_state_dict(tensors)
    return FrozenReward(network, form=settings["form"], **{name: settings[name] for name in _NUMBERS})


def _check_finite(path: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    for name, value in tensors.items():
        if not value.isfinite().all():
            place = torch.nonzero(~value.isfinite())[0].tolist()
            raise ValueError(f"{path}: {name}{place} is {float(value[tuple(place)])}, expected a finite number")
