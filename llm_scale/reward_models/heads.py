"""Reward heads on fixed features: one linear map or one hidden layer a member, all members in one product."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import silu

from rewardlab.checks import check_choice

__all__ = ["RewardHead"]

FORMAT = "rewardlab reward head 1"
LINKS = ("identity", "probability")


class RewardHead(nn.Module):
    """Scores of an ensemble of reward models from the features of a response or of a step.

    Features are standardised by numbers kept with the head, then mapped to a score by each member: linearly, or
    through one hidden layer with SiLU. Nothing in it is trained further: the fitting functions make it whole.

    Args:
        centre: Subtracted from the features, `(d,)`.
        scale: Divides them, `(d,)`, above 0.
        weight: `(members, d)`, or `(members, hidden)` with a hidden layer.
        bias: `(members,)`.
        hidden_weight: `(members, hidden, d)`, or None for a linear head.
        hidden_bias: `(members, hidden)`, with `hidden_weight`.
        link: "identity" for rewards without limits (Bradley-Terry), "probability" for scores in (0, 1).
        facts: Numbers and texts to keep with the head (the model and the layers its features come from, how it was
            fitted); saved as JSON.

    Raises:
        ValueError: If shapes disagree, a number is not finite or the link is unknown.
    """

    def __init__(
        self,
        centre: Float[Tensor, " d"],
        scale: Float[Tensor, " d"],
        weight: Float[Tensor, "members inputs"],
        bias: Float[Tensor, " members"],
        hidden_weight: Float[Tensor, "members hidden d"] | None = None,
        hidden_bias: Float[Tensor, "members hidden"] | None = None,
        *,
        link: str = "identity",
        facts: Mapping[str, object] | None = None,
    ):
        super().__init__()
        check_choice("link", link, LINKS)
        self.link, self.facts = link, dict(facts or {})
        tensors = {"centre": centre, "scale": scale, "weight": weight, "bias": bias}
        if hidden_weight is not None:
            tensors |= {"hidden_weight": hidden_weight, "hidden_bias": hidden_bias}
        _check_shapes(tensors)
        for name, value in tensors.items():
            self.register_buffer(name, value.detach().to(torch.float64, copy=True).contiguous())

    @property
    def members(self) -> int:
        """Number of reward models."""
        return len(self.weight)

    @property
    def width(self) -> int:
        """Number of features that it reads."""
        return len(self.centre)

    @property
    def hidden(self) -> int:
        """Width of the hidden layer, 0 for a linear head."""
        return self.weight.shape[1] if hasattr(self, "hidden_weight") else 0

    def score(self, features: Float[Tensor, "*batch d"]) -> Float[Tensor, "members *batch"]:
        """Every member's score of every response: rewards, or probabilities with that link; float64.

        Raises:
            ValueError: If the features are not as wide as the head, or one of them is not finite (names the row).
        """
        if features.ndim == 0 or features.shape[-1] != self.width:
            raise ValueError(f"features has shape {tuple(features.shape)}, expected (*batch, {self.width})")
        _check_rows("features", features)
        inputs = (features.to(self.centre) - self.centre) / self.scale
        flat = inputs.reshape(-1, self.width)
        if self.hidden:
            within = torch.einsum("nd,mhd->mnh", flat, self.hidden_weight) + self.hidden_bias[:, None]
            scores = torch.einsum("mnh,mh->mn", silu(within), self.weight)
        else:
            scores = self.weight @ flat.T
        scores = scores + self.bias[:, None]
        return (torch.sigmoid(scores) if self.link == "probability" else scores).reshape(-1, *features.shape[:-1])

    forward = score

    def member(self, index: int) -> "RewardHead":
        """One member as a head of its own."""
        index = range(self.members)[index]
        own = {
            name: value if name in ("centre", "scale") else value[index : index + 1]
            for name, value in self._buffers.items()
        }
        return RewardHead(**own, link=self.link, facts=self.facts)

    def save(self, path: str | Path) -> None:
        """Write the head as a safetensors file: the old one or the new one stands at `path`, never half of one."""
        path = Path(path)
        part = path.with_name(path.name + ".part")
        metadata = {"format": FORMAT, "link": self.link, "facts": json.dumps(self.facts)}
        save_file({name: value.cpu() for name, value in self._buffers.items()}, part, metadata)
        os.replace(part, path)

    @classmethod
    def load(cls, path: str | Path) -> "RewardHead":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If the file holds no reward head of this format.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist, expected a reward head")
        try:
            with safe_open(str(path), "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from error
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path} holds {metadata.get('format')!r}, expected {FORMAT!r}")
        try:
            return cls(**tensors, link=metadata["link"], facts=json.loads(metadata["facts"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _check_shapes(tensors: dict[str, Tensor]) -> None:
    members, width = tensors["weight"].shape[0], tensors["centre"].shape[0]
    expected = {"centre": (width,), "scale": (width,), "weight": (members, width), "bias": (members,)}
    if "hidden_weight" in tensors:
        hidden = tensors["weight"].shape[1]
        expected |= {
            "weight": (members, hidden),
            "hidden_weight": (members, hidden, width),
            "hidden_bias": (members, hidden),
        }
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {shape}")
        if not tensors[name].isfinite().all():
            raise ValueError(f"{name} holds a number that is not finite")
    if not (tensors["scale"] > 0).all():
        raise ValueError("scale holds a number that is not above 0")


def _check_rows(name: str, features: Tensor) -> None:
    finite = features.isfinite()
    if not finite.all():
        row = tuple(int(index) for index in (~finite).nonzero()[0][:-1])
        raise ValueError(f"{name}{list(row)} holds a number that is not finite")
