"""Fitting an ensemble to logged transitions: bootstrap, held-out rows, early stopping, elites."""

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rewardlab.checks import check_finite, check_scalar
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_gradient import EnsembleGradient, ensemble_loss
from rewardlab.dynamics.ensemble_settings import EnsembleReport, EnsembleSettings
from rewardlab.dynamics.scaling import Standardiser
from rewardlab.transition_table import TransitionTable, check_table

__all__ = ["EnsembleFit", "EnsembleReport", "EnsembleSettings", "ensemble_loss", "fit_ensemble", "model_targets"]


def model_targets(
    observations: Float[np.ndarray, "n d"],
    next_observations: Float[np.ndarray, "n d"],
    rewards: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n outputs"]:
    """What an ensemble predicts: `[next_observations - observations, rewards]`, in the arrays' own precision."""
    return np.concatenate([next_observations - observations, rewards[:, None]], axis=1)


class EnsembleFit:
    """A fit that goes epoch by epoch, and can be stopped and resumed to bit-identical numbers.

    The loss of a step is `ensemble_loss`, plus `decay / 2 * ||weights||^2` for each layer, plus `log_variance_weight`
    times the sum of the upper minus the sum of the lower bounds of the log variance. Each member has its own bootstrap
    of the training rows (as many rows, drawn with replacement, once), shuffled anew in every epoch. After each epoch
    the mean squared error on the held-out rows is compared with the member's best so far; the weights of its best
    epoch are what it keeps. The bounds of the log variance, which all members share, stay those of the last epoch.

    Randomness is drawn on the CPU whatever the device, so that every device sees the same rows in the same order.

    Args:
        table: What was logged. Rows without a valid next observation are left out.
        settings: See there.
        seed: Of held-out rows, bootstraps, initial weights and shuffles.
        device: Where the networks are.
        dtype: What they calculate in.

    Attributes:
        ensemble: The networks as they are now; `result` gives those of each member's best epoch.
        epochs: Epochs done.

    Raises:
        ValueError: If fewer than two rows have a valid next observation, or a number is not finite (names the place).

    Source:
        MOREC (arXiv 2310.05422), whose model and fit are those of the official MOPO and MOBILE implementations.
        There the held-out share of fewer than five rows is none at all; here at least one row is held out.
    """

    def __init__(
        self,
        table: TransitionTable,
        settings: EnsembleSettings | None = None,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.settings = settings = EnsembleSettings() if settings is None else settings
        self.seed = check_scalar("seed", seed, low=0, whole=True)
        check_table(table)
        digest = hashlib.sha256()
        for name in ("observations", "actions", "rewards", "next_observations"):
            check_finite(name, getattr(table, name))
            digest.update(np.ascontiguousarray(getattr(table, name)))
        digest.update(np.ascontiguousarray(table.next_valid))
        self._digest = digest.hexdigest()
        valid = np.flatnonzero(table.next_valid)
        if len(valid) < 2:
            raise ValueError(
                f"table has {len(valid)} rows with a valid next observation, expected at least 2: one to fit, one to "
                f"hold out"
            )
        self._generator = torch.Generator().manual_seed(seed)
        holdout = max(1, min(int(len(valid) * settings.holdout_share), settings.holdout_limit))
        shuffled = valid[torch.randperm(len(valid), generator=self._generator).numpy()]
        self._rows, self._left_out = len(valid) - holdout, len(table) - len(valid)
        self.holdout_rows = np.sort(shuffled[:holdout])
        training = np.sort(shuffled[holdout:])
        self._bootstrap = torch.randint(self._rows, (settings.members, self._rows), generator=self._generator)
        self.ensemble = GaussianEnsemble(
            table.observation_size,
            table.action_size,
            members=settings.members,
            elites=settings.elites,
            hidden=settings.hidden,
            activation=settings.activation,
            generator=self._generator,
        ).to(device, dtype)
        self._constant = self._fit_scaler(table, training)
        if settings.target_units == "standard_deviation":
            self._fit_output_scale(table, training)
        self._inputs, self._targets = self._prepare(table, training, device, dtype)
        self._holdout = self._prepare(table, self.holdout_rows, device, dtype)
        self._best = [weight.detach().clone() for weight in self._member_parameters()]
        self._errors = torch.full((settings.members,), torch.inf, dtype=torch.float64)
        self._gradient = EnsembleGradient(self.ensemble, settings.log_variance_weight)
        self._optimiser = self._make_optimiser()
        self.epochs = self._quiet = 0

    @property
    def done(self) -> bool:
        """Whether the fit is over."""
        return self._quiet >= self.settings.patience or self.epochs == self.settings.max_epochs

    def epoch(self) -> dict[str, float]:
        """Train on every bootstrapped row once, and validate.

        Returns:
            `loss` (mean over steps of `ensemble_loss`), `holdout_error` (mean best squared error of the elites),
            `improved` (members that improved).

        Raises:
            ValueError: If the fit diverged: a held-out error is not finite.
        """
        order = torch.stack([torch.randperm(self._rows, generator=self._generator) for _ in self._bootstrap])
        rows = self._bootstrap.gather(1, order).to(self._inputs.device)
        losses = [self._step(batch) for batch in rows.split(self.settings.batch_size, dim=1)]
        errors = self._validate()
        self.epochs += 1
        if not errors.isfinite().all():
            member = int(torch.nonzero(~errors.isfinite())[0])
            raise ValueError(
                f"the fit diverged in epoch {self.epochs}: the held-out error of member {member} is "
                f"{float(errors[member])}; try a smaller learning rate than {self.settings.learning_rate:g}"
            )
        improved = errors < self._errors * (1 - self.settings.improvement)
        self._errors = torch.where(improved, errors, self._errors)
        for best, now in zip(self._best, self._member_parameters(), strict=True):
            chosen = improved.to(now.device)[:, None, None]
            best.copy_(torch.where(chosen, now.detach(), best))
        self._quiet = 0 if improved.any() else self._quiet + 1
        return {
            "loss": float(torch.stack(losses).mean()),
            "holdout_error": float(self._errors.sort().values[: self.settings.elites].mean()),
            "improved": float(improved.sum()),
        }

    def result(self) -> tuple[GaussianEnsemble, EnsembleReport]:
        """The ensemble with each member's best weights, and the report. The fit itself can go on afterwards."""
        ensemble = GaussianEnsemble(
            self.ensemble.observation_size,
            self.ensemble.action_size,
            members=self.settings.members,
            elites=self.settings.elites,
            hidden=self.settings.hidden,
            activation=self.settings.activation,
            generator=torch.Generator(),
        ).to(self._inputs)
        ensemble.load_state_dict(self.ensemble.state_dict())
        elites = torch.argsort(self._errors, stable=True)[: self.settings.elites]
        with torch.no_grad():
            for parameter, best in zip([*ensemble.weights, *ensemble.biases], self._best, strict=True):
                parameter.copy_(best)
            ensemble.elite_indices.copy_(elites)
        report = EnsembleReport(
            epochs=self.epochs,
            holdout_errors=self._errors.numpy().copy(),
            elites=tuple(elites.tolist()),
            training_rows=self._rows,
            holdout_rows=self.holdout_rows,
            rows_left_out=self._left_out,
            constant_inputs=self._constant,
            stopped=self._stopped(),
        )
        return ensemble.requires_grad_(False).eval(), report

    def state_dict(self) -> dict:
        """All that is needed to go on: tensors, numbers and text."""
        return {
            "facts": self._facts(),
            "epochs": self.epochs,
            "quiet": self._quiet,
            "errors": self._errors.clone(),
            "ensemble": {name: value.detach().clone() for name, value in self.ensemble.state_dict().items()},
            "best": [best.clone() for best in self._best],
            "optimiser": deepcopy(self._optimiser.state_dict()),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned in a fit of the same table, settings and seed.

        Raises:
            ValueError: Names the first of them that differs.
        """
        theirs, ours = json.loads(state["facts"]), json.loads(self._facts())
        for name in {**ours, **theirs}:
            if theirs.get(name) != ours.get(name):
                raise ValueError(f"the state has {name} {theirs.get(name)!r}, this fit {ours.get(name)!r}")
        self.ensemble.load_state_dict(state["ensemble"])
        for best, kept in zip(self._best, state["best"], strict=True):
            best.copy_(kept)
        self._optimiser.load_state_dict(deepcopy(state["optimiser"]))
        self._generator.set_state(state["generator"])
        self._errors = state["errors"].clone()
        self.epochs, self._quiet = state["epochs"], state["quiet"]

    def _stopped(self) -> str:
        if self._quiet >= self.settings.patience:
            return "no improvement"
        return "max_epochs" if self.done else "not yet"

    def _facts(self) -> str:
        facts = {**asdict(self.settings), "seed": self.seed, "dtype": str(self._inputs.dtype), "table": self._digest}
        return json.dumps(facts)

    def _member_parameters(self) -> list[torch.nn.Parameter]:
        return [*self.ensemble.weights, *self.ensemble.biases]

    def _make_optimiser(self) -> torch.optim.Adam:
        # Adam's weight_decay adds `decay * weights` to the gradient: just what the loss's decay term would have done.
        decayed = zip(self.ensemble.weights, self.settings.layer_decays, strict=True)
        rest = [*self.ensemble.biases, self.ensemble.max_log_variance, self.ensemble.min_log_variance]
        groups = [{"params": [weight], "weight_decay": decay} for weight, decay in decayed]
        return torch.optim.Adam([*groups, {"params": rest}], lr=self.settings.learning_rate, fused=True)

    def _fit_scaler(self, table: TransitionTable, rows: np.ndarray) -> tuple[int, ...]:
        inputs = np.concatenate([table.observations[rows], table.actions[rows]], axis=1)
        self.ensemble.input_scaler.fit(inputs)
        return tuple(np.flatnonzero((inputs == inputs[:1]).all(axis=0)).tolist())

    @torch.no_grad()
    def _fit_output_scale(self, table: TransitionTable, rows: np.ndarray) -> None:
        columns = [getattr(table, name)[rows] for name in ("observations", "next_observations", "rewards")]
        scaler = Standardiser(self.ensemble.output_size).fit(model_targets(*columns))
        self.ensemble.output_scale.copy_(scaler.standard_deviation)

    @torch.no_grad()
    def _prepare(self, table, rows: np.ndarray, device, dtype) -> tuple[Tensor, Tensor]:
        columns = {
            name: getattr(table, name)[rows] for name in ("observations", "actions", "next_observations", "rewards")
        }
        observations, actions = (
            torch.as_tensor(columns[name]).to(device, dtype) for name in ("observations", "actions")
        )
        targets = model_targets(columns["observations"], columns["next_observations"], columns["rewards"])
        check_finite("next_observations - observations", targets)
        targets = torch.as_tensor(targets).to(device, dtype) / self.ensemble.output_scale
        return self.ensemble.inputs(observations, actions), targets

    def _step(self, rows: Int[Tensor, "members b"]) -> Tensor:
        shape = (*rows.shape, -1)
        flat = rows.reshape(-1)
        inputs = self._inputs.index_select(0, flat).view(shape)
        targets = self._targets.index_select(0, flat).view(shape)
        loss = self._gradient(inputs, targets)
        self._optimiser.step()
        return loss

    @torch.no_grad()
    def _validate(self) -> Float[Tensor, " members"]:
        inputs, targets = self._holdout
        mean, _ = self.ensemble.network(inputs.expand(self.settings.members, *inputs.shape))
        return (mean - targets).square().mean(dim=(1, 2)).double().cpu()


def fit_ensemble(
    table: TransitionTable,
    settings: EnsembleSettings | None = None,
    *,
    seed: int,
    state: dict | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[GaussianEnsemble, EnsembleReport]:
    """Fit an ensemble to logged transitions until no member improves any more.

    Args:
        table: What was logged.
        settings: See there.
        seed: Of everything drawn.
        state: A state of an `EnsembleFit` of the same table, settings and seed to go on from.
        on_epoch: Called after each epoch with its number, from 1, and what `EnsembleFit.epoch` returns.
        device: Where the networks are.
        dtype: What they calculate in.

    Returns:
        The ensemble with each member's best weights, without gradients, not calibrated; and the report.

    Raises:
        ValueError: See `EnsembleFit`.
    """
    fit = EnsembleFit(table, settings, seed=seed, device=device, dtype=dtype)
    if state is not None:
        fit.load_state_dict(state)
    while not fit.done:
        metrics = fit.epoch()
        if on_epoch is not None:
            on_epoch(fit.epochs, metrics)
    return fit.result()
