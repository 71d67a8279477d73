"""Does the ensemble know how wrong it is?  Standardised errors, coverage, and the factor that sets the scale right."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rewardlab.checks import check_finite, check_scalar
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_fit import model_targets
from rewardlab.transition_table import TransitionTable

__all__ = ["CalibrationReport", "calibrate", "calibration_factors", "coverage", "standardised_errors"]

LEVELS = (0.5, 0.9)
_CHUNK = 4096  # rows at a time: bounds the memory of the hidden layers


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """What a calibration found and did.

    Attributes:
        factors: `(D,)` what the standard deviations were multiplied by; above 1 where the model was too sure.
        levels: Of the central intervals, `(0.5, 0.9)`.
        before: `(2, D)` share of the true outcomes inside each interval before the calibration.
        after: `(2, D)` the same after it, on the same rows.
        rows: Rows used.
        exact_outputs: Outputs predicted without any error, whose factor stays 1.
    """

    factors: Float[np.ndarray, " outputs"]
    levels: tuple[float, ...]
    before: Float[np.ndarray, "levels outputs"]
    after: Float[np.ndarray, "levels outputs"]
    rows: int
    exact_outputs: tuple[int, ...]


def calibration_factors(errors: Float[Tensor, "members b outputs"]) -> Float[Tensor, " outputs"]:
    """The factor on each output's standard deviation that makes the mean squared standardised error 1.

    Args:
        errors: Standardised: `(outcome - mean) / standard deviation`.

    Returns:
        The root mean square over members and rows; 1 where all errors are 0.

    Raises:
        ValueError: If an error is not finite, or there is none.
    """
    if errors.numel() == 0:
        raise ValueError(f"errors has shape {tuple(errors.shape)}, expected at least one row")
    check_finite("errors", errors)
    factors = errors.double().square().mean(dim=(0, 1)).sqrt()
    return torch.where(factors > 0, factors, 1.0).to(errors)


def coverage(errors: Float[Tensor, "members b outputs"], level: float) -> Float[Tensor, " outputs"]:
    """Share of outcomes inside the central interval that should hold the share `level` of them.

    Args:
        errors: Standardised: `(outcome - mean) / standard deviation`.
        level: In (0, 1).

    Raises:
        ValueError: If the level is out of range, an error is not finite, or there is none.
    """
    if check_scalar("level", level, low=0, high=1, open_low=True) == 1:
        raise ValueError("level is 1, expected a number in (0, 1)")
    if errors.numel() == 0 or not bool(torch.isfinite(errors).all()):
        raise ValueError(f"errors has shape {tuple(errors.shape)}, expected at least one, all of them finite")
    width = torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)).to(errors)
    return (errors.abs() <= width).to(errors.dtype).mean(dim=(0, 1))


@torch.no_grad()
def standardised_errors(
    ensemble: GaussianEnsemble, table: TransitionTable, rows: Int[np.ndarray, " n"] | None = None
) -> Float[Tensor, "elites n outputs"]:
    """Errors of each elite's mean in units of its own predicted standard deviation, which includes the calibration.

    Args:
        ensemble: Fitted.
        table: What happened.
        rows: Places in the table; None: all. Rows without a valid next observation are left out.

    Raises:
        ValueError: If the table has other sizes than the ensemble, or no row is left.
        IndexError: If there is no such row.
    """
    if (table.observation_size, table.action_size) != (ensemble.observation_size, ensemble.action_size):
        raise ValueError(
            f"table has {table.observation_size} observations and {table.action_size} actions a row, the ensemble "
            f"{ensemble.observation_size} and {ensemble.action_size}"
        )
    rows = np.arange(len(table)) if rows is None else rows
    rows = rows[table.next_valid[rows]]
    if len(rows) == 0:
        raise ValueError("rows holds no row with a valid next observation, expected at least one")
    errors = []
    for start in range(0, len(rows), _CHUNK):
        chunk = table.rows(rows[start : start + _CHUNK])
        targets = model_targets(chunk["observations"], chunk["next_observations"], chunk["rewards"])
        observations, actions, targets = (
            torch.as_tensor(array).to(ensemble.calibration)
            for array in (chunk["observations"], chunk["actions"], targets)
        )
        mean, log_variance = ensemble(observations, actions, ensemble.elite_indices)
        errors.append((targets - mean) * torch.exp(-0.5 * log_variance))
    return torch.cat(errors, dim=1)


def calibrate(
    ensemble: GaussianEnsemble, table: TransitionTable, rows: Int[np.ndarray, " n"] | None = None
) -> tuple[GaussianEnsemble, CalibrationReport]:
    """Scale the predicted standard deviations, one factor an output, so that held-out errors have the size they say.

    The factor is the one that makes the elites' mean squared standardised error 1, which is also the one of largest
    likelihood. It is the same for all rows: where the model is surer than it should be only far from the data, that
    stays so.

    Args:
        ensemble: Fitted; not changed.
        table: What happened.
        rows: Held-out rows, such as the `holdout_rows` of an `EnsembleReport`; None: all of the table.

    Returns:
        A copy with its `calibration` multiplied by the factors, and the report.

    Raises:
        ValueError: See `standardised_errors` and `calibration_factors`.

    Source:
        Ours; the methods whose model this is use the raw standard deviations.
    """
    errors = standardised_errors(ensemble, table, rows)
    factors = calibration_factors(errors)
    calibrated = copy.deepcopy(ensemble)
    calibrated.calibration.mul_(factors)
    exact = (errors == 0).all(dim=1).all(dim=0)
    return calibrated, CalibrationReport(
        factors=factors.cpu().numpy(),
        levels=LEVELS,
        before=_coverages(errors),
        after=_coverages(errors / factors),
        rows=errors.shape[1],
        exact_outputs=tuple(torch.nonzero(exact).flatten().tolist()),
    )


def _coverages(errors: Tensor) -> np.ndarray:
    return torch.stack([coverage(errors, level) for level in LEVELS]).cpu().numpy()
