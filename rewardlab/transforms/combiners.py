"""How a pipeline combines its signals: the functions of `combination` as objects, with weights by the signal's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rewardlab.arrays import Array
from rewardlab.checks import check_scalar
from rewardlab.transforms import combination

__all__ = [
    "Combiner",
    "Conjunction",
    "Median",
    "Minimum",
    "Product",
    "SoftMinimum",
    "WeightedMean",
    "WeightedSum",
    "check_weights",
]


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Good in every respect: see `conjunction`. Every chain must end in a log-probability, such as `LogSigmoid`.

    A signal that does not apply to a sample is no condition, which is as good as a perfect one.

    Args:
        weights: One a signal, by name, at least 0; 1 each by default.
    """

    name: ClassVar[str] = "conjunction"
    weights: Mapping[str, float] | None = None

    def __post_init__(self):
        check_weights(self.weights, low=0.0)

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        try:
            return combination.conjunction(signals, in_order(self.weights, names), present)
        except ValueError as error:
            above = [name for name, values in zip(names, signals, strict=True) if bool((values > 0).any())]
            raise ValueError(f"signal {above[0]!r}: {error}" if above else str(error)) from None


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """The sum that most trainers take: see `weighted_sum`.

    Args:
        weights: One a signal, by name; 1 each by default.
    """

    name: ClassVar[str] = "weighted_sum"
    weights: Mapping[str, float] | None = None

    def __post_init__(self):
        check_weights(self.weights)

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        return combination.weighted_sum(signals, in_order(self.weights, names), present)


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """The mean of the signals that apply: see `weighted_mean`.

    Args:
        weights: One a signal, by name, at least 0; equal by default.
    """

    name: ClassVar[str] = "weighted_mean"
    weights: Mapping[str, float] | None = None

    def __post_init__(self):
        check_weights(self.weights, low=0.0)

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        return combination.weighted_mean(signals, in_order(self.weights, names), present)


@dataclass(frozen=True, slots=True)
class Minimum:
    """The worst signal: see `minimum`. With the members of an ensemble as signals this is WCO, `worst_case`."""

    name: ClassVar[str] = "minimum"

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        return combination.minimum(signals, present)


@dataclass(frozen=True, slots=True)
class Median:
    """The middle signal: see `median`."""

    name: ClassVar[str] = "median"

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        return combination.median(signals, present)


@dataclass(frozen=True, slots=True)
class Product:
    """A gate of signals in [0, 1]: see `product`."""

    name: ClassVar[str] = "product"

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        return combination.product(signals, present)


@dataclass(frozen=True, slots=True)
class SoftMinimum:
    """A smooth minimum: see `soft_minimum`.

    Args:
        temperature: In units of the signals, above 0.
    """

    name: ClassVar[str] = "soft_minimum"
    temperature: float

    def __post_init__(self):
        check_scalar("temperature", self.temperature, low=0.0, open_low=True)

    def __call__(self, signals: list[Array], present: Array | None, names: tuple[str, ...]) -> Array:
        return combination.soft_minimum(signals, self.temperature, present)


Combiner = Conjunction | WeightedSum | WeightedMean | Minimum | Median | Product | SoftMinimum


def in_order(weights: Mapping[str, float] | None, names: tuple[str, ...]) -> list[float] | None:
    """The weights in the order of the signals."""
    return None if weights is None else [weights[name] for name in names]


def check_weights(weights: Mapping[str, float] | None, *, low: float = -float("inf")) -> None:
    """Do nothing if the weights are None, or finite numbers of at least `low` by name.

    Raises:
        TypeError: If they are not by name, or one is no number.
        ValueError: If one is out of range.
    """
    if weights is None:
        return
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights: expected a mapping from signal to number, got {type(weights).__name__}")
    for name, weight in weights.items():
        check_scalar(f"weights[{name!r}]", weight, low=low)
