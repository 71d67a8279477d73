"""Named signals through their chains into one reward, and into advantages: what replaces a trainer's weighted sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float

from rewardlab.arrays import Array, all_finite, array_namespace, is_array, is_floating, to_numpy
from rewardlab.checks import check_finite
from rewardlab.transforms import pipeline_text
from rewardlab.transforms.advantage_kinds import Advantage, Combined
from rewardlab.transforms.chains import Chain, chain
from rewardlab.transforms.combiners import Combiner, WeightedSum
from rewardlab.transforms.conflicts import warn_of_conflicts, warn_of_partial_absence
from rewardlab.transforms.groups import Groups
from rewardlab.transforms.stages import Context, Stage

__all__ = ["Pipeline", "PipelineResult"]

RESERVED = ("after", "advantage", "combined")  # what the report calls the rest of the pipeline

NUMBER = (float, int, np.floating, np.integer, np.bool_)
LARGEST = float(np.finfo(np.float64).max)

Signals = Mapping[str, Sequence[float | None] | Array]


@dataclass(frozen=True, slots=True, eq=False)
class PipelineResult:
    """What a pipeline made of a batch.

    Args:
        rewards: One reward a sample, NaN where no signal applies.
        present: Which samples have a reward.
        advantages: One advantage a sample, 0 where there is no reward; None if the pipeline takes none.
        stages: The values of each stage by name, (samples,) each, NaN where absent: `helpful/raw`, `helpful/centre`,
            `helpful/log_sigmoid`, ..., `combined`, `after/...`, `advantage`.
    """

    rewards: Float[Array, " samples"]
    present: Bool[Array, " samples"]
    advantages: Float[Array, " samples"] | None
    stages: dict[str, Float[Array, " samples"]]

    def summary(self) -> dict[str, float]:
        """Mean of each stage over the samples it applies to, for a trainer's log; NaN where there is none."""
        means = {}
        for name, values in self.stages.items():
            xp = array_namespace(values)
            mean = float(xp.mean(values))
            if mean != mean:  # absent samples, or none at all
                here = values[~xp.isnan(values)]
                mean = float(xp.mean(here)) if here.shape[0] else float("nan")
            means[name] = mean
        return means


@dataclass(eq=True)
class Pipeline:
    """Reshape each signal by its chain, combine them, and take advantages.

    A signal that is NaN or None for a sample does not apply to it: it is left out of that sample's combination and of
    the group's statistics. To a conjunction that is as good as being perfect, so let it depend on the prompt, not on
    the answer: an answer that a judge cannot read should get the judge's worst score, not None. Infinite values,
    missing, unknown or ragged signals are errors.

    Warns (`PipelineWarning`), once for each: when made, of a later stage that undoes earlier ones; when called, of a
    signal that applies to some answers of a prompt and not to others.

    Args:
        signals: The chain of each signal by name; a single stage counts as a chain, `chain()` leaves the signal as it
            is.
        combine: How the signals become one reward; their sum by default.
        after: Stages of the combined reward.
        advantage: Which advantages to take over the groups; None for rewards alone.

    Raises:
        ValueError: If there is no signal, or weights name other signals.

    Example:
        >>> from rewardlab.transforms import Centre, Conjunction, Fixed, GroupQuantile, LogSigmoid, MeanCentred, chain
        >>> pipeline = Pipeline(
        ...     {
        ...         "helpful": chain(Centre(GroupQuantile(0.5)), LogSigmoid()),
        ...         "harmless": chain(Centre(Fixed(0.0)), LogSigmoid()),
        ...     },
        ...     combine=Conjunction(),
        ...     advantage=MeanCentred(),
        ... )
        >>> signals = {"helpful": [3.0, 1.0, 0.0, 2.0], "harmless": [-4.0, 1.0, None, None]}  # "b" can do no harm
        >>> result = pipeline(signals, group_ids=["a", "a", "b", "b"])
        >>> result.rewards.round(3)
        array([-4.145, -1.006, -0.693, -0.127])
        >>> result.advantages.round(3)
        array([-1.569,  1.569, -0.283,  0.283])
    """

    signals: Mapping[str, Chain | Stage]
    combine: Combiner = field(default_factory=WeightedSum)
    after: Chain | Stage = field(default_factory=chain)
    advantage: Advantage | None = None

    def __post_init__(self):
        if not isinstance(self.signals, Mapping) or not self.signals:
            raise ValueError(
                f"signals: expected a mapping from names to chains, with one at least, got {self.signals!r}"
            )
        for name in self.signals:
            if not isinstance(name, str) or not name or "/" in name:
                raise ValueError(
                    f"signal {name!r}: expected a name without '/', which parts name and stage in the report"
                )
            if name in RESERVED:
                raise ValueError(f"signal {name!r}: the report uses this name itself, expected another")
        self.signals = {
            name: stages if isinstance(stages, Chain) else chain(stages) for name, stages in self.signals.items()
        }
        self.after = self.after if isinstance(self.after, Chain) else chain(self.after)
        if self.after.needs_reference:
            raise ValueError("after: expected no Centre(Given()); a given reference belongs to a signal")
        _check_part("combine", self.combine, "Conjunction()")
        if self.advantage is not None:
            _check_part("advantage", self.advantage, "MeanCentred()")
        self._warned: set[str] = set()
        for part in (self.combine, self.advantage):
            weights = getattr(part, "weights", None)
            if weights is not None and set(weights) != set(self.signals):
                raise ValueError(f"weights of {part.name!r} are for {sorted(weights)}, expected {sorted(self.signals)}")
        warn_of_conflicts(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The signals, in order."""
        return tuple(self.signals)

    @property
    def needs_groups(self) -> bool:
        """Whether a stage or the advantage compares the samples of a group."""
        return bool(self.group_stages)

    @cached_property
    def group_stages(self) -> tuple[str, ...]:
        """What needs the groups: `helpful/z_score`, `after/rank`, `advantage/mean_centred`."""
        chains = {**self.signals, "after": self.after}
        found = [f"{name}/{label}" for name, stages in chains.items() for label in stages.group_stages]
        return (*found, f"advantage/{self.advantage.name}") if self.advantage else tuple(found)

    @cached_property
    def needs_references(self) -> tuple[str, ...]:
        """The signals whose reference the caller hands in."""
        return tuple(name for name, stages in self.signals.items() if stages.needs_reference)

    def __call__(
        self,
        signals: Signals,
        *,
        group_ids: Sequence | Array | None = None,
        references: Signals | None = None,
        update: bool = True,
    ) -> PipelineResult:
        """Run a batch through.

        Args:
            signals: One value a sample by name, exactly the pipeline's names: arrays of one library, or sequences
                that may hold None. Whole numbers and booleans count as float64; the precision of floats is kept.
            group_ids: One id a sample; samples of equal ids answer the same prompt, in any order. Needed only where
                `needs_groups` says so.
            references: Reference reward of each sample for the signals in `needs_references`.
            update: Whether running statistics take in this batch: True in training, False in evaluation.

        Raises:
            TypeError: If a signal holds anything but numbers and None, or arrays of several libraries.
            ValueError: If a signal is missing, unknown, of another length, or infinite; if groups or references are
                needed and not given; if the batch is empty.
        """
        batch, masks = self._read(signals)
        first = batch[0]
        groups = self._groups(group_ids, first)
        given = self._references(references, first, masks)
        stages, shaped = {}, []
        for name, values, present in zip(self.signals, batch, masks, strict=True):
            context = Context(groups, present, given.get(name), update)
            stages[f"{name}/raw"] = _shown(values, present)
            shaped.append(self._through(name, values, context, stages))
        if groups is not None and len(batch) > 1:
            warn_of_partial_absence(dict(zip(self.signals, masks, strict=True)), groups, self._warned)
        xp = array_namespace(first)
        present = _stacked(masks, xp, first)
        rewards = self.combine(shaped, present, self.names)
        here = None if present is None else xp.any(present, axis=0)
        stages["combined"] = rewards
        if self.after.stages:
            filled = rewards if here is None else xp.where(here, rewards, xp.zeros_like(rewards))
            rewards = self._through("after", filled, Context(groups, here, None, update), stages)
            check_finite("rewards after 'after'", rewards if here is None else xp.where(here, rewards, filled))
            rewards = _shown(rewards, here)
        here = first == first if here is None else here  # nothing is NaN any more: all true
        advantages = None
        if self.advantage is not None:
            advantages = self.advantage(Combined(rewards, here, shaped, present, self.names, groups))
            stages["advantage"] = advantages
        return PipelineResult(rewards, here, advantages, stages)

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What stateful stages have seen, plain numbers by signal and stage: `{"helpful/running_standardise": ...}`."""
        return {label: stage.state_dict() for label, stage in self._stateful().items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Take over what `state_dict` gave.

        Raises:
            ValueError: If the state is of another pipeline, or a number in it cannot be.
        """
        stateful = self._stateful()
        if set(state) != set(stateful):
            raise ValueError(f"state is for stages {sorted(state)}, expected {sorted(stateful)}")
        for label, stage in stateful.items():
            stage.load_state_dict(state[label])

    def to_toml(self) -> str:
        """The pipeline as TOML, without running statistics.

        Raises:
            TypeError: If a stage is not one of this library's.
        """
        return pipeline_text.dump(self)

    @classmethod
    def from_toml(cls, text: str) -> "Pipeline":
        """The pipeline that `to_toml` wrote down.

        Raises:
            ValueError: If the text is not TOML, or names an unknown kind or field; says where.
        """
        return cls(**pipeline_text.load(text))

    @cached_property
    def _plan(self) -> dict[str, tuple[tuple[str, Stage], ...]]:
        """The stages of each chain under their names in the report."""
        chains = {**self.signals, "after": self.after}
        return {
            name: tuple((f"{name}/{label}", stage) for label, stage in zip(stages.labels, stages.stages, strict=True))
            for name, stages in chains.items()
        }

    def _stateful(self) -> dict[str, Stage]:
        every = (pair for stages in self._plan.values() for pair in stages)
        return {label: stage for label, stage in every if hasattr(stage, "state_dict")}

    def _through(self, name: str, values: Array, context: Context, report: dict[str, Array]) -> Array:
        """Run one chain and write each stage's values into the report."""
        for label, stage in self._plan[name]:
            values = stage(values, context)
            report[label] = _shown(values, context.present)
        return values

    def _groups(self, group_ids: Sequence | Array | None, like: Array) -> Groups | None:
        if group_ids is not None:
            return Groups.from_ids(group_ids, like=like)
        if self.needs_groups:
            raise ValueError(f"group_ids: expected one id a sample, got none; needed by {', '.join(self.group_stages)}")
        return None

    def _read(self, signals: Signals) -> tuple[list[Array], list[Array | None]]:
        """Values of each signal with 0 where it is absent, and its mask, or None where it is nowhere absent."""
        if not isinstance(signals, Mapping):
            raise TypeError(f"signals: expected a mapping from name to values, got {type(signals).__name__}")
        if signals.keys() != self.signals.keys():
            missing = [name for name in self.signals if name not in signals]
            unknown = [name for name in signals if name not in self.signals]
            parts = [f"missing {missing}"] * bool(missing) + [f"unknown {unknown}"] * bool(unknown)
            raise ValueError(f"signals: {' and '.join(parts)}, expected {list(self.signals)}")
        batch = [_as_array(f"signal {name!r}", signals[name]) for name in self.signals]
        samples, library = batch[0].shape[0], array_namespace(batch[0])
        if samples == 0:
            raise ValueError("the batch holds no samples, expected at least one")
        values, masks = [], []
        for name, one in zip(self.signals, batch, strict=True):
            if one.shape[0] != samples:
                raise ValueError(f"signal {name!r} has {one.shape[0]} values for {samples} samples")
            if array_namespace(one) is not library:
                raise TypeError(f"signal {name!r} is a {type(one).__name__}, the others are {type(batch[0]).__name__}s")
            filled, present = _masked(f"signal {name!r}", one)
            values.append(filled)
            masks.append(present)
        return values, masks

    def _references(self, references: Signals | None, like: Array, masks: list[Array | None]) -> dict[str, Array]:
        """Reference of each sample by signal; 0 where the signal is absent."""
        expected, given = self.needs_references, references or {}
        if not given and not expected:
            return {}
        if set(given) != set(expected):
            raise ValueError(f"references: expected one for each of {sorted(expected)}, got {sorted(given)}")
        present = dict(zip(self.signals, masks, strict=True))
        xp, read = array_namespace(like), {}
        for name in expected:
            values = _as_array(f"reference of {name!r}", given[name])
            if values.shape[0] != like.shape[0]:
                raise ValueError(f"reference of {name!r} has {values.shape[0]} values for {like.shape[0]} samples")
            values = xp.asarray(values, dtype=like.dtype, device=device(like))
            if present[name] is not None:
                values = xp.where(present[name], values, xp.zeros_like(values))
            if not all_finite(values):
                position = int(np.argmin(np.isfinite(to_numpy(values))))
                raise ValueError(
                    f"reference of {name!r}, sample {position} is {float(values[position])}, expected a finite number; "
                    f"a sample without a reference needs {name!r} itself to be None"
                )
            read[name] = values
        return read


def _as_array(name: str, values: Sequence[float | None] | Array) -> Array:
    """The values as floats of shape (samples,), NaN for None."""
    if type(values) is np.ndarray and values.ndim == 1 and is_floating(values):
        return values
    if not is_array(values):
        if isinstance(values, str | bytes) or not isinstance(values, Sequence):
            raise TypeError(f"{name}: expected an array or a sequence of numbers, got {type(values).__name__}")
        for position, value in enumerate(values):
            if value is not None and not isinstance(value, NUMBER):
                kind = type(value).__name__
                raise TypeError(f"{name}, sample {position}: expected a number or None, got {value!r:.40} ({kind})")
        try:
            values = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        except OverflowError:
            position = next(place for place, value in enumerate(values) if value is not None and abs(value) > LARGEST)
            raise ValueError(
                f"{name}, sample {position} is a whole number too large for a float, expected a finite number"
            ) from None
    xp = array_namespace(values)
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(values.shape)}, expected (samples,)")
    if is_floating(values):
        return values
    if not xp.isdtype(values.dtype, ("bool", "integral")):
        raise TypeError(f"{name} has dtype {values.dtype}, expected real numbers")
    return xp.astype(values, xp.float64)


def _check_part(what: str, part: object, example: str) -> None:
    if isinstance(part, type) or not callable(part) or not isinstance(getattr(part, "name", None), str):
        raise TypeError(f"{what}: expected an object such as {example}, got {part!r}")


def _masked(name: str, values: Array) -> tuple[Array, Array | None]:
    xp = array_namespace(values)
    if all_finite(values):
        return values, None
    missing = xp.isnan(values)
    filled = xp.where(missing, xp.zeros_like(values), values)
    infinite = xp.isinf(filled)
    if bool(xp.any(infinite)):
        position = int(np.argmax(to_numpy(infinite)))
        raise ValueError(
            f"{name}, sample {position} is {float(values[position])}, expected a finite number, NaN or None"
        )
    return filled, ~missing if bool(xp.any(missing)) else None


def _shown(values: Array, present: Array | None) -> Array:
    """The values as the report shows them: NaN where the signal does not apply."""
    if present is None:
        return values
    xp = array_namespace(values)
    return xp.where(present, values, xp.full_like(values, float("nan")))


def _stacked(masks: list[Array | None], xp, like: Array) -> Array | None:
    if all(mask is None for mask in masks):
        return None
    return xp.stack([xp.ones_like(like, dtype=xp.bool) if mask is None else mask for mask in masks])
