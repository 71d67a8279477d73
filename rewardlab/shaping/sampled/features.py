"""Features of observations for linear policies and blends: Fourier, tiles, one of n, random rectified units."""

import itertools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewardlab.checks import as_generator, check_scalar

__all__ = ["FourierFeatures", "OneHot", "RandomFeatures", "RawFeatures", "TileCoding"]


class FourierFeatures:
    """Cosines of the observation, scaled to [0, 1], times whole numbers.

    Args:
        low: Least observation of each dimension.
        high: Greatest; the same length.
        order: Greatest whole number.
        coupled: Whether all combinations over the dimensions are taken, (order + 1) ** dimensions features with the
            constant among them, or each dimension alone, order * dimensions features and no constant.
        dtype: Of the features.

    Raises:
        ValueError: If a bound is infinite or low is not below high, or there would be more than 100000 features.

    Source: as used by arXiv 2310.19007: order 3, coupled.

    Example:
        >>> FourierFeatures([0.0, 0.0], [1.0, 1.0], 3).size
        16
    """

    def __init__(self, low, high, order: int, coupled: bool = True, *, dtype: torch.dtype = torch.float64):
        self.low, self.span = _bounds(low, high, dtype)
        check_scalar("order", order, low=1, whole=True)
        dimensions = len(self.low)
        self.size = (order + 1) ** dimensions if coupled else order * dimensions
        if self.size > 100_000:
            raise ValueError(f"order {order} in {dimensions} dimensions makes {self.size} features; use coupled=False")
        self.weights = None
        if coupled:
            weights = np.array(list(itertools.product(range(order + 1), repeat=dimensions)), float).T
            self.weights = torch.from_numpy(math.pi * weights).to(dtype)
        self.orders = math.pi * torch.arange(1, order + 1, dtype=dtype)
        self._row = None if self.weights is None else (self.low.numpy(), self.span.numpy(), self.weights.numpy())

    def row(self, observation: Float[np.ndarray, " dimensions"]) -> Float[np.ndarray, " features"]:
        """Features of one observation, without torch."""
        if self._row is None:
            return self(torch.from_numpy(observation).to(self.low.dtype)[None])[0].numpy()
        low, span, weights = self._row
        return np.cos(((observation - low) / span).astype(weights.dtype, copy=False) @ weights)

    def __call__(self, observations: Float[Tensor, "n dimensions"]) -> Float[Tensor, "n features"]:
        """Features of each row."""
        scaled = (observations - self.low) / self.span
        if self.weights is not None:
            return torch.cos(scaled @ self.weights)
        return torch.cos(scaled[:, :, None] * self.orders).flatten(1)


class TileCoding:
    """Ones where the observation lies in a tile of each of several grids, shifted against one another.

    Args:
        low: Least observation of each dimension.
        high: Greatest; what is beyond counts as on the edge.
        tiles: Tiles along each dimension.
        tilings: Grids; tiling k is shifted by k / tilings of a tile.
        scaled: Whether ones become 1 / tilings, so that a row sums to 1, as published.
        dtype: Of the features.

    Example:
        >>> tiles = TileCoding([0.0], [1.0], tiles=2, tilings=2)
        >>> tiles(torch.tensor([[0.1], [0.3], [0.9]], dtype=torch.float64))
        tensor([[0.5000, 0.0000, 0.0000, 0.5000, 0.0000, 0.0000],
                [0.5000, 0.0000, 0.0000, 0.0000, 0.5000, 0.0000],
                [0.0000, 0.5000, 0.0000, 0.0000, 0.0000, 0.5000]], dtype=torch.float64)
    """

    def __init__(self, low, high, tiles: int, tilings: int, *, scaled: bool = True, dtype=torch.float64):
        self.low, self.span = _bounds(low, high, dtype)
        self.tiles = check_scalar("tiles", tiles, low=1, whole=True)
        self.tilings = check_scalar("tilings", tilings, low=1, whole=True)
        self.value, self.dtype = 1.0 / tilings if scaled else 1.0, dtype
        side = tiles + 1  # a shifted grid needs one tile more to cover the range
        self.size = tilings * side ** len(self.low)
        self.shifts = torch.arange(tilings, dtype=dtype) / tilings
        self.places = side ** torch.arange(len(self.low) - 1, -1, -1)
        self.starts = torch.arange(tilings) * side ** len(self.low)

    def __call__(self, observations: Float[Tensor, "n dimensions"]) -> Float[Tensor, "n features"]:
        """Features of each row."""
        scaled = ((observations - self.low) / self.span).clamp(0, 1 - 1e-9) * self.tiles
        cells = (scaled[:, None, :] + self.shifts[:, None]).floor().long()
        index = (cells * self.places).sum(-1) + self.starts
        features = torch.zeros(len(observations), self.size, dtype=self.dtype)
        return features.scatter_(1, index, self.value)


class OneHot:
    """A 1 at the observation's index.

    Args:
        n: Observations there are: whole numbers 0 to n - 1.
        dtype: Of the features.
    """

    def __init__(self, n: int, *, dtype: torch.dtype = torch.float64):
        self.size, self.dtype = check_scalar("n", n, low=1, whole=True), dtype
        self._rows = np.eye(n, dtype=torch.zeros(0, dtype=dtype).numpy().dtype) if n <= 4096 else None

    def row(self, observation: Float[np.ndarray, " 1"]) -> Float[np.ndarray, " features"]:
        """Features of one observation, without torch where there are not too many of them."""
        index = int(observation[0])
        if self._rows is None or not 0 <= index < self.size:
            return self(torch.from_numpy(observation)[None])[0].numpy()
        return self._rows[index]

    def __call__(self, observations: Float[Tensor, "n 1"]) -> Float[Tensor, "n features"]:
        """Features of each row."""
        index = observations.reshape(-1).long()
        if int(index.max()) >= self.size or int(index.min()) < 0:
            raise ValueError(f"observations reach from {index.min()} to {index.max()}, expected 0 to {self.size - 1}")
        return torch.nn.functional.one_hot(index, self.size).to(self.dtype)


class RawFeatures:
    """The observation as it is, for policies with hidden layers of their own.

    Args:
        dimensions: Of an observation.
        dtype: Of the features.
    """

    def __init__(self, dimensions: int, *, dtype: torch.dtype = torch.float64):
        self.size, self.dtype = check_scalar("dimensions", dimensions, low=1, whole=True), dtype

    def __call__(self, observations: Float[Tensor, "n dimensions"]) -> Float[Tensor, "n features"]:
        """The rows."""
        return observations.to(self.dtype)


class RandomFeatures:
    """A layer of rectified linear units with random weights that are never trained.

    The published HalfCheetah policy is linear in such features: its basis is a layer of 32 units whose learning rate
    is 0 in the published settings.

    Args:
        dimensions: Of an observation.
        units: Features.
        rng: Seed of the weights, uniform in +-1/sqrt(dimensions).
        dtype: Of the features.
    """

    def __init__(self, dimensions: int, units: int = 32, *, rng: int | np.random.Generator = 0, dtype=torch.float64):
        generator, self.size = as_generator(rng), check_scalar("units", units, low=1, whole=True)
        scale = 1 / math.sqrt(check_scalar("dimensions", dimensions, low=1, whole=True))
        self.weight = torch.from_numpy(generator.uniform(-scale, scale, (dimensions, units))).to(dtype)
        self.bias = torch.from_numpy(generator.uniform(-scale, scale, units)).to(dtype)

    def __call__(self, observations: Float[Tensor, "n dimensions"]) -> Float[Tensor, "n features"]:
        """Features of each row."""
        return torch.relu(observations.to(self.weight.dtype) @ self.weight + self.bias)


def _bounds(low, high, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    low, high = (np.asarray(bound, float).reshape(-1) for bound in (low, high))
    if low.shape != high.shape or not (np.isfinite(low).all() and np.isfinite(high).all()) or not (low < high).all():
        raise ValueError(f"low {low.tolist()} and high {high.tolist()}: expected finite bounds, low below high")
    return torch.from_numpy(low).to(dtype), torch.from_numpy(high - low).to(dtype)
