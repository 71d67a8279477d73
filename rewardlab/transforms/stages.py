"""The stages of a chain: objects that reshape one signal, and say what they need for it.

A stage is called with the signal's rewards (samples,) and a `Context`. Absent samples hold a finite number that must
not matter. Any object with a `name` and such a call can be a stage; those here also go to TOML and back.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_choice, check_scalar
from rewardlab.transforms import normalise, saturating
from rewardlab.transforms.groups import Groups
from rewardlab.transforms.reference import gaussian_quantile_of_groups
from rewardlab.transforms.running import RunningStatistics

__all__ = [
    "Centre",
    "ClipAbove",
    "ConcaveUtility",
    "Context",
    "Fixed",
    "Given",
    "GroupMean",
    "GroupQuantile",
    "LogSigmoid",
    "MinMax",
    "Rank",
    "RunningStandardise",
    "Scale",
    "Sigmoid",
    "Stage",
    "ZScore",
]


@dataclass(slots=True)  # not frozen: one is made for every signal of every batch, and that would triple its cost
class Context:
    """What a stage may know about the batch.

    Args:
        groups: Which samples answer the same prompt; None outside language-model training.
        present: Which samples the signal applies to, (samples,); None for all.
        reference: Reference reward of each sample, (samples,), where the caller gave one.
        update: Whether running statistics take in this batch.
    """

    groups: Groups | None = None
    present: Array | None = None
    reference: Array | None = None
    update: bool = True

    def here(self, rewards: Array) -> Array:
        """The mask of present samples, all true where everything is present."""
        xp = array_namespace(rewards)
        return xp.ones_like(rewards, dtype=xp.bool) if self.present is None else self.present


@runtime_checkable
class Stage(Protocol):
    """One step of a chain."""

    name: ClassVar[str]

    def __call__(self, rewards: Array, context: Context) -> Array:
        """Reshape the rewards (samples,) of one signal."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """One reference for every prompt: the reward of a canned response, or 0 for scores that are centred already."""

    name: ClassVar[str] = "fixed"
    value: float

    def __post_init__(self):
        check_scalar("value", self.value)

    def __call__(self, rewards: Array, context: Context) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Given:
    """The reference that the caller hands in for each sample: a base-policy quantile, or a canned response's reward."""

    name: ClassVar[str] = "given"
    needs_reference: ClassVar[bool] = True

    def __call__(self, rewards: Array, context: Context) -> Array:
        return context.reference


@dataclass(frozen=True, slots=True)
class GroupMean:
    """The mean of the group's present samples."""

    name: ClassVar[str] = "group_mean"
    needs_groups: ClassVar[bool] = True

    def __call__(self, rewards: Array, context: Context) -> Array:
        return context.groups.spread(context.groups.mean(rewards, context.here(rewards)))


@dataclass(frozen=True, slots=True)
class GroupQuantile:
    """A quantile of the group's present samples, which stand in for the base policy's.

    Args:
        level: From 0 to 1.
        method: "empirical" for an order statistic (7 samples a group at least tell 0.85 from the largest), "gaussian"
            for the quantile of a normal law with the group's mean and standard deviation.
    """

    name: ClassVar[str] = "group_quantile"
    needs_groups: ClassVar[bool] = True
    level: float = 0.85
    method: str = "empirical"

    def __post_init__(self):
        check_choice("method", self.method, ("empirical", "gaussian"))
        check_scalar("level", self.level, low=0.0, high=1.0)
        if self.method == "gaussian" and self.level in (0, 1):
            raise ValueError(
                f"level is {self.level}, expected a number between 0 and 1: a normal law has no largest value"
            )

    def __call__(self, rewards: Array, context: Context) -> Array:
        groups, here = context.groups, context.here(rewards)
        if self.method == "gaussian":
            return groups.spread(gaussian_quantile_of_groups(groups, rewards, here, self.level))
        xp = array_namespace(rewards)
        quantile = groups.order_statistic(rewards, here, self.level)
        return groups.spread(xp.where(xp.isnan(quantile), xp.zeros_like(quantile), quantile))  # none present, none used


@dataclass(frozen=True, slots=True)
class Centre:
    """Subtract the reference: what a response that is just good enough would get.

    Args:
        reference: `Fixed`, `Given`, `GroupMean` or `GroupQuantile`.
    """

    name: ClassVar[str] = "centre"
    reference: Fixed | Given | GroupMean | GroupQuantile

    def __post_init__(self):
        if isinstance(self.reference, type) or not callable(self.reference):
            number = isinstance(self.reference, int | float)
            hint = f"; write Centre(Fixed({self.reference}))" if number else ""
            raise TypeError(f"reference: expected one such as Fixed(0.0), got {self.reference!r}{hint}")

    @property
    def needs_groups(self) -> bool:
        """Whether the reference is a statistic of the group."""
        return getattr(self.reference, "needs_groups", False)

    @property
    def needs_reference(self) -> bool:
        """Whether the caller hands in the reference."""
        return getattr(self.reference, "needs_reference", False)

    def __call__(self, rewards: Array, context: Context) -> Array:
        return rewards - self.reference(rewards, context)


@dataclass(frozen=True, slots=True)
class LogSigmoid:
    """Log-probability of beating the reference; see `log_sigmoid`. Put a `Centre` before it."""

    name: ClassVar[str] = "log_sigmoid"
    saturates: ClassVar[bool] = True

    def __call__(self, rewards: Array, context: Context) -> Array:
        return saturating.log_sigmoid_of_margin(rewards)


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """Probability of beating the reference; see `sigmoid`. Put a `Centre` before it."""

    name: ClassVar[str] = "sigmoid"
    saturates: ClassVar[bool] = True

    def __call__(self, rewards: Array, context: Context) -> Array:
        return saturating.sigmoid_of_margin(rewards)


@dataclass(frozen=True, slots=True)
class ConcaveUtility:
    """Between `Sigmoid` (0) and `LogSigmoid` (1); see `concave_utility`. Put a `Centre` before it."""

    name: ClassVar[str] = "concave_utility"
    saturates: ClassVar[bool] = True
    risk_aversion: float

    def __post_init__(self):
        check_scalar("risk_aversion", self.risk_aversion, low=0.0, high=1.0)

    def __call__(self, rewards: Array, context: Context) -> Array:
        return saturating.concave_utility(rewards, 0.0, risk_aversion=self.risk_aversion)


@dataclass(frozen=True, slots=True)
class ClipAbove:
    """No more than the limit: 0 behind a `Centre` pays nothing beyond the reference."""

    name: ClassVar[str] = "clip_above"
    saturates: ClassVar[bool] = True
    limit: float = 0.0

    def __post_init__(self):
        check_scalar("limit", self.limit)

    def __call__(self, rewards: Array, context: Context) -> Array:
        return array_namespace(rewards).clip(rewards, None, self.limit)


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiply by a factor above 0: one over a reward model's temperature, say."""

    name: ClassVar[str] = "scale"
    factor: float

    def __post_init__(self):
        check_scalar("factor", self.factor, low=0.0, open_low=True)

    def __call__(self, rewards: Array, context: Context) -> Array:
        return rewards * self.factor


@dataclass(frozen=True, slots=True)
class ZScore:
    """Standard deviations from the group's mean; see `z_score`."""

    name: ClassVar[str] = "z_score"
    needs_groups: ClassVar[bool] = True
    rescales_groups: ClassVar[bool] = True
    correction: int = 0

    def __post_init__(self):
        check_choice("correction", self.correction, (0, 1))

    def __call__(self, rewards: Array, context: Context) -> Array:
        here = context.here(rewards)
        return _finite(normalise.z_score(rewards, context.groups, here, correction=self.correction), here)


@dataclass(frozen=True, slots=True)
class MinMax:
    """From 0, the group's worst, to 1, its best; see `min_max`."""

    name: ClassVar[str] = "min_max"
    needs_groups: ClassVar[bool] = True
    rescales_groups: ClassVar[bool] = True

    def __call__(self, rewards: Array, context: Context) -> Array:
        here = context.here(rewards)
        return _finite(normalise.min_max(rewards, context.groups, here), here)


@dataclass(frozen=True, slots=True)
class Rank:
    """Chance of beating a random sample of the group; see `rank_reward`."""

    name: ClassVar[str] = "rank"
    needs_groups: ClassVar[bool] = True
    rescales_groups: ClassVar[bool] = True

    def __call__(self, rewards: Array, context: Context) -> Array:
        here = context.here(rewards)
        return _finite(normalise.rank_reward(rewards, context.groups, here), here)


@dataclass(slots=True)
class RunningStandardise:
    """Standard deviations from the mean of everything seen so far; exactly 0 until two different values were seen.

    Args:
        epsilon: Added to the standard deviation.
        statistics: What was seen; part of the pipeline's `state_dict`, not of its TOML.
    """

    name: ClassVar[str] = "running_standardise"
    epsilon: float = 1e-8
    statistics: RunningStatistics = field(default_factory=RunningStatistics, compare=False, repr=False)

    def __post_init__(self):
        check_scalar("epsilon", self.epsilon, low=0.0)

    def __call__(self, rewards: Array, context: Context) -> Array:
        if context.update:
            self.statistics.update(rewards if context.present is None else rewards[context.present])
        deviation = self.statistics.deviation
        if deviation < 1e-6 * max(1.0, abs(self.statistics.mean)):
            return 0 * rewards
        return (rewards - self.statistics.mean) / (deviation + self.epsilon)

    def state_dict(self) -> dict[str, float]:
        """The running statistics as plain numbers."""
        return self.statistics.state_dict()

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over running statistics."""
        self.statistics.load_state_dict(state)


def _finite(values: Array, present: Array) -> Array:
    xp = array_namespace(values)
    return xp.where(present, values, xp.zeros_like(values))
