"""Where to put the threshold below which a predicted transition is rejected."""

import numpy as np
import torch

from rewardlab.checks import check_scalar
from rewardlab.dynamics.draws import StepDraws
from rewardlab.dynamics.filtered_model import FilteredModel
from rewardlab.transition_table import TransitionTable, check_table

__all__ = ["rejection_threshold"]


@torch.no_grad()
def rejection_threshold(
    model: FilteredModel, table: TransitionTable, share: float, *, generator: torch.Generator, rows: int = 2000
) -> float:
    """The dynamics reward below which a share of a filtered model's own steps lies, where it knows the data.

    The steps are taken from recorded observations with the recorded actions. A rollout of H steps that stays where the
    data are is then broken off with probability `1 - (1 - share)^H`, and one that leaves them more often: a threshold
    that means the same for every model and every dynamics reward. The 0.6 of the official scripts does not; and a
    threshold told from *recorded* transitions would reject nearly all that a model predicts, since they lack its noise.
    It says nothing of fresh data: where a recording is small, many of the next one's transitions lie below.

    Args:
        model: Its own threshold is not used.
        table: The recording.
        share: Of the steps, in [0, 1].
        generator: Draws the rows, then the chance in the steps; on the model's device.
        rows: How many recorded pairs are tried, drawn with replacement.

    Raises:
        TypeError: If the model is a plain one, or `table` is none.
        ValueError: If a number is out of range, no row of the table has a next observation, or the model's prediction
            or dynamics reward of a recorded pair is not finite.
    """
    if not isinstance(model, FilteredModel):
        raise TypeError(f"model is a {type(model).__name__}, expected a FilteredModel: a plain one judges nothing")
    check_table(table)
    check_scalar("share", share, low=0, high=1)
    check_scalar("rows", rows, low=1, whole=True)
    kept = torch.as_tensor(np.flatnonzero(table.next_valid), device=generator.device)
    if len(kept) == 0:
        raise ValueError("table has no row with next_valid, expected at least one to judge")
    chosen = kept[torch.randint(len(kept), (rows,), generator=generator, device=generator.device)].cpu().numpy()
    observations, actions = (
        torch.as_tensor(column[chosen], device=generator.device) for column in (table.observations, table.actions)
    )
    draws = StepDraws.sample(rows, model.output_size, generator=generator)
    step = model.step(observations, actions, torch.ones(rows, dtype=torch.long, device=generator.device), draws)
    if bool(step.non_finite.any()):
        row = int(chosen[int(step.non_finite.nonzero()[0])])
        raise ValueError(f"the model has no finite prediction for row {row} of the table")
    return float(step.dynamics_rewards.double().quantile(share))
