"""Does a later stage of a pipeline undo an earlier one?"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rewardlab.arrays import Array, array_namespace
from rewardlab.transforms.combiners import Conjunction
from rewardlab.transforms.groups import Groups
from rewardlab.transforms.stages import Centre

if TYPE_CHECKING:
    from rewardlab.transforms.pipeline import Pipeline

__all__ = ["PipelineWarning", "conflicts", "warn_of_conflicts", "warn_of_partial_absence"]


class PipelineWarning(UserWarning):
    """Something in a pipeline works against something else in it."""


def conflicts(pipeline: "Pipeline") -> list[str]:
    """What in the pipeline undoes something else in it, a sentence for each such stage, with the names of both.

    Args:
        pipeline: The pipeline in question.
    """
    ends = [
        (f"after/{label}", stage) for label, stage in zip(pipeline.after.labels, pipeline.after.stages, strict=True)
    ]
    if pipeline.advantage is not None:
        ends.append((f"advantage/{pipeline.advantage.name}", pipeline.advantage))
    rescaled: dict[str, list[str]] = {}  # the later stage -> the earlier ones that it undoes
    centred: dict[str, list[str]] = {}
    for name, stages in pipeline.signals.items():
        own = [(f"{name}/{label}", stage) for label, stage in zip(stages.labels, stages.stages, strict=True)]
        saturating = next((place for place, (_, stage) in enumerate(own) if getattr(stage, "saturates", False)), None)
        if saturating is None:
            continue
        earlier, later = own[saturating][0], own[saturating + 1 :]
        for label, stage in later + ends:
            if getattr(stage, "rescales_groups", False):
                rescaled.setdefault(label, []).append(earlier)
        for label, stage in later:
            if isinstance(stage, Centre):
                centred.setdefault(label, []).append(earlier)
    if isinstance(pipeline.combine, Conjunction):
        centred |= {label: ["conjunction"] for label, stage in ends if isinstance(stage, Centre)}
    return [_rescaled(*pair) for pair in rescaled.items()] + [_centred(*pair) for pair in centred.items()]


def warn_of_conflicts(pipeline: "Pipeline") -> None:
    """Warn of each conflict, where the pipeline was made."""
    for conflict in conflicts(pipeline):
        warnings.warn(conflict, PipelineWarning, stacklevel=4)


def warn_of_partial_absence(masks: Mapping[str, Array | None], groups: Groups, warned: set[str]) -> None:
    """Warn once of each signal that applies to some samples of a group and not to others.

    Args:
        masks: Which samples each signal applies to; None for all.
        groups: Which samples answer the same prompt.
        warned: Signals that were warned of before; the new ones are added.
    """
    for name, present in masks.items():
        if present is None or name in warned:
            continue
        xp = array_namespace(present)
        number = groups.sum(xp.astype(present, xp.float64))
        if bool(xp.any((number > 0) & (number < xp.astype(groups.sizes, xp.float64)))):
            warned.add(name)
            warnings.warn(
                f"signal {name!r} applies to some answers of a prompt and not to others, and those it does not apply "
                f"to are judged without it, which a policy can learn to bring about; let it depend on the prompt "
                f"alone, and give an answer that cannot be judged the worst score",
                PipelineWarning,
                stacklevel=3,
            )


def _rescaled(later: str, earlier: list[str]) -> str:
    names = ", ".join(map(repr, earlier))
    return (
        f"{later!r} undoes {names}: it gives every group the same spread, so differences between samples that are all "
        f"good enough, which a saturating stage makes small, push as hard as any; to keep the effort where answers are "
        f"not good yet, use the advantage MeanCentred() or LeaveOneOut()"
    )


def _centred(later: str, earlier: list[str]) -> str:
    return (
        f"{later!r} undoes {', '.join(map(repr, earlier))}: the value means something only as it stands, and a "
        f"constant takes that away; centre each signal before it saturates, and leave the result alone"
    )
