"""Networks from observations to features for novelty bonuses: flat features, or images of bytes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ImageLayout", "image_layers", "initialise_orthogonal", "vector_layers"]


def vector_layers(size: int, hidden: Sequence[int], activation: type[nn.Module], **options: float) -> list[nn.Module]:
    """Fully connected layers, each with its activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((size, *hidden[:-1]), hidden, strict=True):
        layers += [nn.Linear(inputs, outputs), activation(**options)]
    return layers


def image_layers(
    shape: tuple[int, int, int], convolutions: Sequence[tuple[int, int, int, int]], activation, **options: float
) -> tuple[list[nn.Module], int]:
    """Convolutions, each with its activation, then flattened.

    Args:
        shape: Height, width and channels of an image.
        convolutions: Channels out, kernel, stride and padding of each.
        activation: Class of the activation.
        options: Its options.

    Returns:
        The layers, and how many numbers they give.

    Raises:
        ValueError: If the image is too small for a kernel.
    """
    height, width, channels = shape
    layers: list[nn.Module] = []
    for outputs, kernel, stride, padding in convolutions:
        layers += [nn.Conv2d(channels, outputs, kernel, stride, padding), activation(**options)]
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
        channels = outputs
        if min(height, width) < 1:
            raise ValueError(f"images have shape {tuple(shape)}, too small for these convolutions")
    return [*layers, nn.Flatten()], height * width * channels


@torch.no_grad()
def initialise_orthogonal(
    module: nn.Module, generator: torch.Generator | None, gain: float = math.sqrt(2.0)
) -> nn.Module:
    """Orthogonal weights of this gain and zero biases, in every layer that has weights.

    With other initialisations biases make most of a random network's output a constant that all inputs share: a
    predictor learns the constant, and with it that everything is known.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight, gain, generator=generator)
            nn.init.zeros_(layer.bias)
    return module


class ImageLayout(nn.Module):
    """Puts the channels of `(n, height, width, channels)` first, as convolutions take them."""

    def forward(self, images: Tensor) -> Tensor:
        """`(n, channels, height, width)`."""
        return images.movedim(-1, 1)
