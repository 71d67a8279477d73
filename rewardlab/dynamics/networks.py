"""Plain networks whose weights a given generator draws."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["multilayer", "standard_normal"]


def multilayer(
    sizes: Sequence[int], *, generator: torch.Generator, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """Linear layers from `sizes[0]` inputs to `sizes[-1]` outputs, with an activation between them.

    Weights and biases are uniform within `1 / sqrt(inputs)`, as `torch.nn.Linear` draws them, but from `generator`
    and on its device.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = torch.nn.utils.skip_init(nn.Linear, inputs, outputs, device=generator.device)
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)
        layers += [linear, activation()]
    return nn.Sequential(*layers[:-1])


def standard_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of `like`, drawn on the generator's device.

    A generator on the CPU thus gives every device the same numbers.
    """
    return torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype).to(like.device)
