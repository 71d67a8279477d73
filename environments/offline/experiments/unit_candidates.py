"""Candidates of an ensemble that was fitted in other units than the task's."""

import dataclasses

import torch

from rewardlab.dynamics.candidates import CandidateModel, Candidates, Prediction
from rewardlab.transition_table import TransitionTable

__all__ = ["UnitCandidates", "change_units", "in_units"]


class UnitCandidates:
    """A candidate model whose observations are in units of one's own.

    Fitted to the raw differences of a pendulum, whose positions change by hundredths and speeds by ones, an ensemble's
    held-out error is that of the speeds, and the weights with the lowest are those of the sixth epoch of 70: there the
    predicted deviations of the positions are still several times those in the data.

    Args:
        model: Predicts in units of `unit`: rewards excepted, which are the task's.
        unit: `(d,)`, each above 0.
    """

    def __init__(self, model: CandidateModel, unit: torch.Tensor):
        self.model, self.unit = model, unit
        self.candidate_count, self.output_size = model.candidate_count, model.output_size

    def candidates(self, observations: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor) -> Candidates:
        """All candidates, in the task's units; penalties stay in the model's."""
        found = self.model.candidates(observations / self.unit, actions, noise)
        return dataclasses.replace(found, next_observations=found.next_observations * self.unit)

    def one(
        self, observations: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor, index: torch.Tensor
    ) -> Prediction:
        """One candidate a row."""
        found = self.model.one(observations / self.unit, actions, noise, index)
        return dataclasses.replace(found, next_observations=found.next_observations * self.unit)


def change_units(table: TransitionTable) -> torch.Tensor:
    """Standard deviation `(d,)` of the differences that the recording kept; 1 where nothing changes."""
    kept = table.next_valid
    deviation = (table.next_observations[kept] - table.observations[kept]).std(axis=0, dtype="float64")
    return torch.as_tensor(deviation.astype("float32")).masked_fill(torch.as_tensor(deviation == 0), 1.0)


def in_units(table: TransitionTable, unit: torch.Tensor) -> TransitionTable:
    """The same recording with observations in these units."""
    divided = {name: getattr(table, name) / unit.cpu().numpy() for name in ("observations", "next_observations")}
    return dataclasses.replace(table, **divided)
