"""Which advantages a pipeline takes: the functions of `advantages` as objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_choice, check_scalar
from rewardlab.transforms import advantages
from rewardlab.transforms.combiners import check_weights, in_order
from rewardlab.transforms.groups import Groups

__all__ = ["Advantage", "BatchStandardised", "LeaveOneOut", "MeanCentred", "NormaliseThenSum", "Standardised"]


@dataclass(frozen=True, slots=True)
class Combined:
    """What an advantage is computed from.

    Args:
        rewards: Combined reward of each sample, (samples,).
        present: Which samples have one, (samples,).
        signals: The reshaped signals before their combination, (samples,) each.
        signals_present: Which entries of `signals` apply, or None for all.
        names: The signals' names.
        groups: Which samples answer the same prompt.
    """

    rewards: Array
    present: Array
    signals: list[Array]
    signals_present: Array | None
    names: tuple[str, ...]
    groups: Groups


@dataclass(frozen=True, slots=True)
class MeanCentred:
    """Less the group's mean (Dr. GRPO): see `mean_centred`."""

    name: ClassVar[str] = "mean_centred"

    def __call__(self, batch: Combined) -> Array:
        return advantages.mean_centred(batch.rewards, batch.groups, batch.present)


@dataclass(frozen=True, slots=True)
class Standardised:
    """In standard deviations of the group (GRPO): see `standardised`.

    Args:
        correction: 1 for the sample, 0 for the population standard deviation.
        epsilon: Added to the standard deviation.
    """

    name: ClassVar[str] = "standardised"
    rescales_groups: ClassVar[bool] = True
    correction: int = 1
    epsilon: float = 1e-4

    def __post_init__(self):
        _check_convention(self)

    def __call__(self, batch: Combined) -> Array:
        return advantages.standardised(
            batch.rewards, batch.groups, batch.present, correction=self.correction, epsilon=self.epsilon
        )


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """Less the mean of the group's other samples (RLOO): see `leave_one_out`."""

    name: ClassVar[str] = "leave_one_out"

    def __call__(self, batch: Combined) -> Array:
        return advantages.leave_one_out(batch.rewards, batch.groups, batch.present)


@dataclass(frozen=True, slots=True)
class BatchStandardised:
    """Less the group's mean, in standard deviations of the batch (Lite PPO): see `batch_standardised`.

    Args:
        correction: 1 for the sample, 0 for the population standard deviation.
        epsilon: Added to the standard deviation.
    """

    name: ClassVar[str] = "batch_standardised"
    correction: int = 1
    epsilon: float = 1e-4

    def __post_init__(self):
        _check_convention(self)

    def __call__(self, batch: Combined) -> Array:
        return advantages.batch_standardised(
            batch.rewards, batch.groups, batch.present, correction=self.correction, epsilon=self.epsilon
        )


@dataclass(frozen=True, slots=True)
class NormaliseThenSum:
    """Each signal in standard deviations of its group, then their sum (GDPO): see `normalise_then_sum`.

    Works on the signals, not on their combination; that is then for the log only.

    Args:
        weights: One a signal, by name; 1 each by default.
        correction: 1 for the sample, 0 for the population standard deviation.
        epsilon: Added to each standard deviation.
    """

    name: ClassVar[str] = "normalise_then_sum"
    rescales_groups: ClassVar[bool] = True
    weights: Mapping[str, float] | None = None
    correction: int = 1
    epsilon: float = 1e-4

    def __post_init__(self):
        check_weights(self.weights)
        _check_convention(self)

    def __call__(self, batch: Combined) -> Array:
        return advantages.normalise_then_sum(
            array_namespace(*batch.signals).stack(batch.signals),
            batch.groups,
            in_order(self.weights, batch.names),
            batch.signals_present,
            correction=self.correction,
            epsilon=self.epsilon,
        )


Advantage = MeanCentred | Standardised | LeaveOneOut | BatchStandardised | NormaliseThenSum


def _check_convention(kind: Standardised | BatchStandardised | NormaliseThenSum) -> None:
    check_choice("correction", kind.correction, (0, 1))
    check_scalar("epsilon", kind.epsilon, low=0.0)
