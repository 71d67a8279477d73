"""Dynamics rewards on disk: tensors as safetensors, everything else as JSON in the file's metadata."""

import json
import os
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.dynamics_reward import DynamicsReward

__all__ = ["load_dynamics_reward", "save_dynamics_reward"]

FORMAT = "rewardlab dynamics reward 1"
_NUMBERS = ("kind", "rescale", "probability_clip")


def save_dynamics_reward(path: str | Path, reward: DynamicsReward) -> None:
    """Write a dynamics reward: the old file or the new one stands at `path`, never half of one.

    Args:
        path: Where, in a folder that exists; `<path>.part` is written first and renamed.
        reward: What to write; its `facts` must be what JSON can hold.

    Raises:
        TypeError: If the facts hold something else.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    metadata = {
        "format": FORMAT,
        "settings": json.dumps(reward.settings),
        "facts": json.dumps(reward.facts),
        "reward": json.dumps({name: getattr(reward, name) for name in _NUMBERS}),
    }
    save_file({name: value.cpu().contiguous() for name, value in reward.state_dict().items()}, part, metadata)
    os.replace(part, path)


def load_dynamics_reward(path: str | Path, *, device: str | torch.device = "cpu") -> DynamicsReward:
    """Read what `save_dynamics_reward` wrote; gives the same rewards, bit for bit.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is none of this format, lacks a tensor, holds one of another shape or one that is not
            finite, or its numbers are out of range. Says which.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist, expected a dynamics reward")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} holds {metadata.get('format')!r}, expected {FORMAT!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    try:
        return _build(tensors, metadata).to(device)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        message = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is damaged: {message}") from error


def _build(tensors: dict[str, Tensor], metadata: dict[str, str]) -> DynamicsReward:
    settings, facts, numbers = (json.loads(metadata[name]) for name in ("settings", "facts", "reward"))
    _check_tensors(tensors, settings)
    discriminator = Discriminator(**settings, generator=torch.Generator()).to(tensors["low"].dtype)
    for name in ("observation_scaler", "action_scaler"):
        getattr(discriminator, name).load_state_dict({end: tensors[f"{name}.{end}"] for end in ("low", "high")})
    discriminator.transition_factor.copy_(tensors["transition_factor"])
    states = [
        {
            name: part
            for layer in range(len(settings["hidden"]) + 1)
            for name, part in (
                (f"layers.{layer}.weight", tensors[f"weight_{layer}"][index].T),
                (f"layers.{layer}.bias", tensors[f"bias_{layer}"][index, 0]),
            )
        }
        for index in range(len(tensors["low"]))
    ]
    chosen = {name: numbers[name] for name in _NUMBERS}
    return DynamicsReward(discriminator, states, tensors["low"], tensors["high"], facts=facts, **chosen)


def _check_tensors(tensors: dict[str, Tensor], settings: dict) -> None:
    """Before anything is made whose size the file decides."""
    d, m = settings["observation_size"], settings["action_size"]
    widths = (2 * d + settings["factor_size"] + m, *settings["hidden"], 1)
    snapshots = tensors["low"].numel()
    expected = {"low": (snapshots,), "high": (snapshots,), "transition_factor": (d,)}
    expected |= {f"observation_scaler.{end}": (d,) for end in ("low", "high")}
    expected |= {f"action_scaler.{end}": (m,) for end in ("low", "high")}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        expected |= {f"weight_{layer}": (snapshots, inputs, outputs), f"bias_{layer}": (snapshots, 1, outputs)}
    if extra := sorted(set(tensors) - set(expected)):
        raise ValueError(f"it holds {extra[0]!r}, which is no part of a dynamics reward")
    for name, shape in expected.items():
        value = tensors[name]
        if tuple(value.shape) != shape or value.dtype != tensors["low"].dtype or not value.is_floating_point():
            raise ValueError(f"{name} is {value.dtype} of shape {tuple(value.shape)}, expected floats of shape {shape}")
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} holds a number that is not finite")
