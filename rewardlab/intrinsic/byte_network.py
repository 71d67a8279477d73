"""The published network that reads a message byte by byte."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.message_features import MESSAGE_LENGTH, message_bytes

__all__ = ["ByteNetwork"]

_CHARACTERS, _EMBEDDING, _CHANNELS, _HIDDEN = 256, 32, 64, (128, 512, 512)
_KERNELS = ((7, True), (7, True), (3, False), (3, False), (3, False), (3, True))  # width, then whether 3 are pooled


class ByteNetwork(nn.Module):
    """Scores of a message: an embedding of its bytes, six convolutions, three linear layers.

    Byte 0 is padding and embeds as zeros. Convolutions (32 or 64 to 64 channels) of widths 7, 7, 3, 3, 3, 3, each
    followed by a rectifier, and the first, second and last by a maximum over threes: lengths 256-250-83-77-25-23-21-19-
    17-5. Then 320 to 128, 512 and 512, each rectified, dropout, and a last linear layer.

    Args:
        outputs: Scores for each message: 2 for classification, 1 for ranking.
        generator: Draws the weights as torch's own layers would draw them, and what dropout drops in training; the
            network stands on its device.
        dropout: Share of the last hidden units that training drops.

    Raises:
        ValueError: If `outputs` is below 1 or `dropout` not in [0, 1).

    Source: official code of ONI, the classification model (471,554 numbers with 2 outputs). There ranking uses the
    agent's own encoder of messages; here both use this network.
    """

    rows_at_once = 64  # what the processor's cache holds: 1024 at once take twice as long

    def __init__(self, *, outputs: int, generator: torch.Generator, dropout: float = 0.1):
        super().__init__()
        self.outputs = check_scalar("outputs", outputs, low=1, whole=True)
        self.embedding = nn.utils.skip_init(
            nn.Embedding, _CHARACTERS, _EMBEDDING, padding_idx=0, device=generator.device
        )
        with torch.no_grad():
            nn.init.normal_(self.embedding.weight, generator=generator)
            self.embedding.weight[0] = 0.0
        self.convolutions, length = _convolutions(generator)
        sizes = (_CHANNELS * length, *_HIDDEN)
        pairs = [(_drawn(nn.Linear, *ends, generator=generator), nn.ReLU()) for ends in pairwise(sizes)]
        self.hidden = nn.Sequential(*(layer for pair in pairs for layer in pair))
        self.dropout = SeededDropout(dropout, generator)
        self.last = _drawn(nn.Linear, _HIDDEN[-1], outputs, generator=generator)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One row of 256 bytes for each message, to be kept and put together by `forward`."""
        return list(message_bytes(texts))

    def forward(self, rows: Sequence[np.ndarray]) -> Float[Tensor, "rows outputs"]:
        """Scores of messages, from what `encode` made of them."""
        stacked = np.stack(rows) if len(rows) else np.zeros((0, MESSAGE_LENGTH), np.uint8)
        return self.scores(torch.from_numpy(stacked).to(self.last.weight.device))

    def scores(self, characters: Tensor) -> Float[Tensor, "rows outputs"]:
        """Scores of messages, from their bytes `(rows, 256)`."""
        embedded = self.embedding(characters.int()).transpose(1, 2)
        return self.last(self.dropout(self.hidden(self.convolutions(embedded).flatten(1))))


class SeededDropout(nn.Module):
    """Dropout whose choices come from a generator, so that training can be repeated and resumed exactly."""

    def __init__(self, share: float, generator: torch.Generator):
        super().__init__()
        self.share = check_scalar("dropout", share, low=0, high=1 - 1e-6)
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs themselves in evaluation; in training, those that are kept, over the share that is kept."""
        if not self.training or self.share == 0:
            return inputs
        drawn = torch.rand(inputs.shape, generator=self.generator, device=self.generator.device)
        return inputs * (drawn >= self.share).to(inputs) / (1 - self.share)


def _convolutions(generator: torch.Generator) -> tuple[nn.Sequential, int]:
    layers: list[nn.Module] = []
    channels, length = _EMBEDDING, MESSAGE_LENGTH
    for width, pooled in _KERNELS:
        layers += [_drawn(nn.Conv1d, channels, _CHANNELS, width, generator=generator), nn.ReLU()]
        channels, length = _CHANNELS, length - width + 1
        if pooled:
            layers.append(nn.MaxPool1d(3, 3))
            length //= 3
    return nn.Sequential(*layers), length


def _drawn(kind: type[nn.Module], *sizes: int, generator: torch.Generator) -> nn.Module:
    """A layer with weights and biases uniform within 1 / sqrt(inputs), as torch draws them, but from `generator`."""
    layer = nn.utils.skip_init(kind, *sizes, device=generator.device)
    bound = 1 / math.sqrt(layer.weight[0].numel())
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
