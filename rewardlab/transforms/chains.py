"""Stages one after another."""

from dataclasses import dataclass
from functools import cached_property

from rewardlab.transforms.stages import Stage

__all__ = ["Chain", "chain"]


@dataclass(frozen=True)
class Chain:
    """The stages that one signal goes through, in order; none leave it as it is."""

    stages: tuple[Stage, ...] = ()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """A name for each stage: its own, numbered from the second of a kind on (`centre`, `scale`, `centre_2`)."""
        names = [stage.name for stage in self.stages]
        before = [names[:place].count(name) for place, name in enumerate(names)]
        return tuple(f"{name}_{count + 1}" if count else name for name, count in zip(names, before, strict=True))

    @property
    def group_stages(self) -> tuple[str, ...]:
        """The stages that compare the samples of a group."""
        pairs = zip(self.labels, self.stages, strict=True)
        return tuple(label for label, stage in pairs if getattr(stage, "needs_groups", False))

    @property
    def needs_reference(self) -> bool:
        """Whether a stage uses a reference that the caller hands in."""
        return any(getattr(stage, "needs_reference", False) for stage in self.stages)


def chain(*stages: Stage) -> Chain:
    """Put stages one after another.

    Args:
        stages: Objects with a `name` that are called with (rewards, context); those of this room, or your own.

    Raises:
        TypeError: If one is not a stage.

    Example:
        >>> from rewardlab.transforms import Centre, Fixed, LogSigmoid
        >>> chain(Centre(Fixed(1.0)), LogSigmoid()).labels
        ('centre', 'log_sigmoid')
    """
    for stage in stages:
        if not callable(stage) or not isinstance(getattr(stage, "name", None), str) or isinstance(stage, type):
            raise TypeError(
                f"chain: expected stages such as LogSigmoid(), objects with a name that can be called, got {stage!r}"
            )
    return Chain(stages)
