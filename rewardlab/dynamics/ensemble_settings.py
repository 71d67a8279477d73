"""How an ensemble is fitted, and what came of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rewardlab.checks import check_choice, check_scalar, check_sizes
from rewardlab.dynamics.ensemble import ACTIVATIONS

__all__ = ["EnsembleReport", "EnsembleSettings"]


@dataclass(frozen=True)
class EnsembleSettings:
    """How an ensemble is built and fitted; the defaults are the official ones.

    Args:
        members: Networks.
        elites: How many of them predict afterwards: those with the lowest held-out error.
        hidden: Sizes of the hidden layers.
        activation: "swish", "tanh" or "relu".
        weight_decays: One number a layer, the last one of the output layer; None: 2.5e-5, 5e-5, then 7.5e-5 for the
            hidden layers and 1e-4 for the output.
        learning_rate: Adam's.
        batch_size: Rows a member sees in a step.
        log_variance_weight: Weight of the loss on the bounds of the log variance.
        holdout_share: Share of the rows held out, at least one row.
        holdout_limit: Most rows held out.
        patience: Epochs in a row without improvement after which the fit ends.
        improvement: An improvement is a member's held-out error smaller than its best by this share of it.
        max_epochs: Most epochs; None: as many as improve.
        target_units: What changes and rewards are fitted in: "raw", as the official code does, or "standard_deviation",
            each column in that of its own in the training rows. Raw, the held-out error that ends the fit and chooses
            the elites is that of the largest column: positions that change by hundredths beside speeds that change by
            ones are hardly learned. The ensemble predicts in the task's units either way.

    Raises:
        TypeError: If a number is no number.
        ValueError: If it is out of range, or there is not one weight decay a layer. Names the field.
    """

    members: int = 7
    elites: int = 5
    hidden: tuple[int, ...] = (200, 200, 200, 200)
    activation: str = "swish"
    weight_decays: tuple[float, ...] | None = None
    learning_rate: float = 1e-3
    batch_size: int = 256
    log_variance_weight: float = 0.01
    holdout_share: float = 0.2
    holdout_limit: int = 1000
    patience: int = 5
    improvement: float = 0.01
    max_epochs: int | None = None
    target_units: str = "raw"

    def __post_init__(self) -> None:
        for name in ("members", "batch_size", "holdout_limit", "patience"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        check_scalar("elites", self.elites, low=1, high=self.members, whole=True)
        object.__setattr__(self, "hidden", check_sizes("hidden", self.hidden))  # a list would make equal ones differ
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("target_units", self.target_units, ("raw", "standard_deviation"))
        for layer, decay in enumerate(self.layer_decays):
            check_scalar(f"weight_decays[{layer}]", decay, low=0)
        if len(self.layer_decays) != len(self.hidden) + 1:
            raise ValueError(
                f"weight_decays has {len(self.layer_decays)} numbers, expected {len(self.hidden) + 1}: one a layer"
            )
        check_scalar("learning_rate", self.learning_rate, low=0, open_low=True)
        check_scalar("log_variance_weight", self.log_variance_weight, low=0)
        check_scalar("holdout_share", self.holdout_share, low=0, high=0.9, open_low=True)
        check_scalar("improvement", self.improvement, low=0, high=0.99)
        if self.max_epochs is not None:
            check_scalar("max_epochs", self.max_epochs, low=1, whole=True)

    @property
    def layer_decays(self) -> tuple[float, ...]:
        """The weight decay of each layer."""
        if self.weight_decays is not None:
            return tuple(self.weight_decays)
        early = (2.5e-5, 5e-5, *[7.5e-5] * len(self.hidden))
        return (*early[: len(self.hidden)], 1e-4)


@dataclass(frozen=True, eq=False)
class EnsembleReport:
    """What a fit did.

    Attributes:
        epochs: Epochs run.
        holdout_errors: `(E,)` each member's best mean squared error on the held-out rows, over all outputs, in
            `target_units`.
        elites: Members that predict, best first.
        training_rows: Rows each member's bootstrap is drawn from, and as many as it has.
        holdout_rows: Places in the table of the rows held out, for a calibration.
        rows_left_out: Rows whose next observation the recording did not keep.
        constant_inputs: Inputs (observation, then action) that do not vary in the training rows.
        stopped: "no improvement", "max_epochs", or "not yet".
    """

    epochs: int
    holdout_errors: Float[np.ndarray, " members"]
    elites: tuple[int, ...]
    training_rows: int
    holdout_rows: Int[np.ndarray, " holdout"]
    rows_left_out: int
    constant_inputs: tuple[int, ...]
    stopped: str
