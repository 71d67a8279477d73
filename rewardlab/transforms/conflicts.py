"""Does a later stage of a pipeline undo an earlier one?"""

import warnings
from typing import TYPE_CHECKING

from rewardlab.transforms.combiners import Conjunction
from rewardlab.transforms.stages import Centre

if TYPE_CHECKING:
    from rewardlab.transforms.pipeline import Pipeline

__all__ = ["PipelineWarning", "conflicts", "warn_of_conflicts"]


class PipelineWarning(UserWarning):
    """A stage of a pipeline undoes what an earlier one is for."""


def conflicts(pipeline: "Pipeline") -> list[str]:
    """What in the pipeline undoes something else in it, a sentence each, with the names of both stages.

    Args:
        pipeline: The pipeline in question.
    """
    found = []
    ends = [
        (f"after/{label}", stage) for label, stage in zip(pipeline.after.labels, pipeline.after.stages, strict=True)
    ]
    if pipeline.advantage is not None:
        ends.append((f"advantage/{pipeline.advantage.name}", pipeline.advantage))
    for name, stages in pipeline.signals.items():
        own = [(f"{name}/{label}", stage) for label, stage in zip(stages.labels, stages.stages, strict=True)]
        saturating = next((place for place, (_, stage) in enumerate(own) if getattr(stage, "saturates", False)), None)
        if saturating is None:
            continue
        earlier = own[saturating][0]
        later = own[saturating + 1 :]
        found += [
            _rescaled(label, earlier) for label, stage in later + ends if getattr(stage, "rescales_groups", False)
        ]
        found += [_centred(label, earlier) for label, stage in later if isinstance(stage, Centre)]
    if isinstance(pipeline.combine, Conjunction):
        found += [_centred(label, "conjunction") for label, stage in ends if isinstance(stage, Centre)]
    return found


def warn_of_conflicts(pipeline: "Pipeline") -> None:
    """Warn of each conflict, where the pipeline was made."""
    for conflict in conflicts(pipeline):
        warnings.warn(conflict, PipelineWarning, stacklevel=4)


def _rescaled(later: str, earlier: str) -> str:
    return (
        f"{later!r} undoes {earlier!r}: it gives every group the same spread, so differences between samples that are "
        f"all good enough, which {earlier!r} makes small, push as hard as any; to keep the effort where answers are "
        f"not good yet, use the advantage MeanCentred() or LeaveOneOut()"
    )


def _centred(later: str, earlier: str) -> str:
    return (
        f"{later!r} undoes {earlier!r}: the value means something only as it stands, and a constant takes that away; "
        f"centre each signal before it saturates, and leave the result alone"
    )
