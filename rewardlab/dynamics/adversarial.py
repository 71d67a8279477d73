"""A dynamics reward from the game between a dynamics model and discriminators of its transitions."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from rewardlab.checks import check_scalar
from rewardlab.dynamics.adversarial_losses import discriminator_loss, verdict_entropy
from rewardlab.dynamics.adversarial_settings import AdversarialSettings
from rewardlab.dynamics.behaviour import fit_behaviour_cloning
from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.generator import DynamicsRollout, GaussianGenerator, roll_out_generator
from rewardlab.dynamics.generator_updates import make_update
from rewardlab.dynamics.snapshots import SnapshotQueue
from rewardlab.transition_table import TransitionTable, check_table

__all__ = ["AdversarialFit", "fit_adversarial"]

_COLUMNS = ("observations", "actions", "next_observations")


class AdversarialFit:
    """The game, iteration by iteration; it can be stopped and resumed to bit-identical numbers.

    A dynamics model plays: its state is an observation and an action, its choice the next observation, and a policy
    cloned from the recording acts in between. Discriminators tell its transitions from recorded ones, and it is paid
    `-log(1 - probability)` for being taken for real. An iteration is a rollout of the model, several steps of the
    discriminator on it, and one update of the model. Where the game ends well, the last discriminator knows nothing:
    what earlier ones knew is kept, as snapshots over the whole training, and is the reward.

    Rollouts go on through observations in which the recorded task would have ended.

    Randomness is drawn on the CPU whatever the device.

    Args:
        table: What was logged. Rows without a valid next observation only teach the policy, and start rollouts.
        settings: None: `AdversarialSettings()`.
        seed: Of everything, at least 0.
        device: Where the networks are.
        dtype: What they calculate in.

    Attributes:
        discriminator, model, policy: As they are now.
        iteration: Iterations done.
        rows_left_out: Rows without a valid next observation.
        history: By name, a number an iteration: `loss` (of the discriminator, mean over its steps; log 4 = 1.386 where
            it knows nothing), `real` and `generated` (mean logits after them), `generator_error` (root mean square of
            the model's mean prediction on recorded rows, in standard deviations of the change), `generator_reward`
            (nats a step), and with an entropy bonus `entropy` (nats) and `entropy_coefficient`.

    Raises:
        ValueError: If fewer than two rows have a valid next observation.

    Source:
        MOREC (arXiv 2310.05422). Its authors did not release this training. From them are known: the game in the form
        of GAIL (arXiv 1606.03476) between a dynamics model as the agent and a discriminator, the cloned policy, Adam,
        snapshots at fixed intervals into a bounded queue, the two stored logits of each snapshot, and (from names in
        the released checkpoints) the entropy bonus with its numbers and the clip of the logits. Remembered, not read:
        that the model is updated by proximal policy optimisation. Ours: the networks' sizes, learning rates, how many
        steps each side takes, how long rollouts are, the update through the rollout's gradient, and that what is
        stored with a snapshot is its mean logit on generated and on recorded transitions (the names alone are known).
    """

    def __init__(
        self,
        table: TransitionTable,
        settings: AdversarialSettings | None = None,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.settings = settings = AdversarialSettings() if settings is None else settings
        self.seed = check_scalar("seed", seed, low=0, whole=True)
        valid = torch.as_tensor(np.flatnonzero(check_table(table).next_valid))
        if len(valid) < 2:
            raise ValueError(f"table has {len(valid)} rows with a valid next observation, expected at least 2")
        self._starts = torch.as_tensor(table.observations).to(device, dtype)
        self.rows_left_out = len(table) - len(valid)
        self._real = tuple(torch.as_tensor(getattr(table, name))[valid].to(device, dtype) for name in _COLUMNS)
        self._draw = torch.Generator().manual_seed(seed)
        sizes = table.observation_size, table.action_size
        self.discriminator = Discriminator(
            *sizes,
            hidden=settings.discriminator_hidden,
            transition_input=settings.transition_input,
            generator=self._draw,
        )
        self.model = GaussianGenerator(*sizes, hidden=settings.generator_hidden, generator=self._draw)
        for network in (self.discriminator, self.model):
            network.to(device, dtype).fit_scalers(*self._real)
        self.policy = fit_behaviour_cloning(table, settings.behaviour, seed=seed).to(device, dtype)
        self.policy.requires_grad_(False)
        self._update = make_update(self.model, settings, self._draw)
        rate = settings.discriminator_learning_rate
        self._optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=rate, fused=True)
        bonus = settings.entropy_bonus
        self._log_coefficient = torch.tensor(np.log(bonus.coefficient if bonus else 1.0), dtype=torch.float64)
        self._log_coefficient.requires_grad_()
        self._tuner = torch.optim.Adam([self._log_coefficient], lr=bonus.learning_rate if bonus else 1.0)
        self.snapshots = SnapshotQueue(keep_last=settings.snapshots_kept, every=1)
        self.iteration = 0
        self.history: dict[str, list[float]] = {}

    def step(self) -> dict[str, float]:
        """One iteration.

        Returns:
            What `history` holds of it.

        Raises:
            ValueError: If all iterations are done, or the training diverged: a number is not finite.
        """
        settings = self.settings
        if self.iteration >= settings.iterations:
            raise ValueError(f"all {settings.iterations} iterations are done")
        rows = settings.discriminator_steps * settings.batch_size
        rollout = self._roll_out(-(-rows // settings.rollout_length))
        generated = rollout.rows()
        order = torch.randperm(len(generated[0]), generator=self._draw).to(generated[0].device)[:rows]
        losses, extra = zip(
            *(self._discriminate([column[rows] for column in generated]) for rows in order.split(settings.batch_size)),
            strict=True,
        )
        metrics = {"loss": float(torch.stack(losses).mean()), **self._measure(generated), **extra[-1]}
        if self.iteration % settings.snapshot_interval == 0:
            self.snapshots.add(self.discriminator, low=metrics["generated"], high=metrics["real"])
        self.discriminator.requires_grad_(False)
        starts = self._draw_rows([self._starts], settings.batch_size)[0]
        metrics["generator_reward"] = self._update.step(self.model, self.policy, self.discriminator, starts, rollout)
        self.discriminator.requires_grad_(True)
        self.iteration += 1
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"the training diverged in iteration {self.iteration}: {name} is {value}")
            self.history.setdefault(name, []).append(value)
        return metrics

    def reward(self, *, rescale: str | None = None) -> DynamicsReward:
        """The dynamics reward of the snapshots so far.

        A snapshot that ranked generated transitions above recorded ones on average when it was taken has no range to
        be rescaled from: with a rescale it is left out, and counted in the reward's `facts`.

        Args:
            rescale: Instead of the settings' own.
        """
        facts = {"seed": self.seed, "rows_left_out": self.rows_left_out, "settings": self._plain_settings()}
        return self.snapshots.stack(
            self.discriminator,
            kind="adversarial",
            rescale=self.settings.rescale if rescale is None else rescale,
            unordered="drop",
            facts=facts,
        )

    def state_dict(self) -> dict:
        """All that is needed to go on with identical numbers: tensors, numbers and text."""
        return {
            "facts": self._facts(),
            "iteration": self.iteration,
            "history": {name: list(values) for name, values in self.history.items()},
            **{name: _copies(network.state_dict()) for name, network in self._networks().items()},
            "update": deepcopy(self._update.state_dict()),  # torch hands out tensors that it goes on changing
            "optimiser": deepcopy(self._optimiser.state_dict()),
            "log_coefficient": self._log_coefficient.detach().clone(),
            "tuner": deepcopy(self._tuner.state_dict()),
            "generator": self._draw.get_state(),
            "snapshots": self.snapshots.state_dict(),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what `state_dict` returned in a fit of the same table, settings and seed.

        Raises:
            ValueError: Names the first of them that differs.
        """
        theirs, ours = json.loads(state["facts"]), json.loads(self._facts())
        for name in sorted({*theirs, *ours}):
            if theirs.get(name) != ours.get(name):
                raise ValueError(f"the state has {name} {theirs.get(name)!r}, this fit {ours.get(name)!r}")
        for name, network in self._networks().items():
            network.load_state_dict(state[name])
        for name, part in (("update", self._update), ("optimiser", self._optimiser), ("tuner", self._tuner)):
            part.load_state_dict(state[name])
        with torch.no_grad():
            self._log_coefficient.copy_(state["log_coefficient"])
        self._draw.set_state(state["generator"])
        self.snapshots.load_state_dict(state["snapshots"])
        self.iteration = state["iteration"]
        self.history = {name: list(values) for name, values in state["history"].items()}

    @torch.no_grad()
    def _roll_out(self, count: int) -> DynamicsRollout:
        starts = self._draw_rows([self._starts], count)[0]
        length = self.settings.rollout_length
        return roll_out_generator(self.model, self.policy, starts, length=length, generator=self._draw)

    def _discriminate(self, generated: Sequence[Tensor]) -> tuple[Tensor, dict[str, float]]:
        """One step of the discriminator: its loss, and what the entropy bonus did."""
        size = len(generated[0])
        real = self._draw_rows(self._real, size)
        logits = self.discriminator(*(torch.cat(pair) for pair in zip(real, generated, strict=True)))
        if self.settings.logit_clip is not None:
            logits = logits.clamp(-self.settings.logit_clip, self.settings.logit_clip)
        loss = discriminator_loss(logits[:size], logits[size:])
        objective, extra = loss, {}
        if self.settings.entropy_bonus is not None:
            entropy = verdict_entropy(logits)
            coefficient = self._log_coefficient.detach().exp().to(entropy)
            objective = loss - coefficient * entropy
            extra = {"entropy": float(entropy.detach()), "entropy_coefficient": float(coefficient)}
            self._tune(extra["entropy"])
        self._optimiser.zero_grad()
        objective.backward()
        self._optimiser.step()
        return loss.detach(), extra

    def _tune(self, entropy: float) -> None:
        """Raise the coefficient where the entropy is below its target, lower it where it is above."""
        self._tuner.zero_grad()
        (self._log_coefficient.exp() * (entropy - self.settings.entropy_bonus.target)).backward()
        self._tuner.step()

    @torch.no_grad()
    def _measure(self, generated: Sequence[Tensor]) -> dict[str, float]:
        real = self._draw_rows(self._real, len(generated[0]))
        mean, _ = self.model(real[0], real[1])
        error = ((mean - real[2]) / self.model.change_scaler.standard_deviation).square().mean().sqrt()
        values = [self.discriminator(*rows).mean() for rows in (real, generated)]
        return dict(zip(("real", "generated", "generator_error"), torch.stack([*values, error]).tolist(), strict=True))

    def _draw_rows(self, columns: Sequence[Tensor], count: int) -> list[Tensor]:
        rows = torch.randint(len(columns[0]), (count,), generator=self._draw).to(columns[0].device)
        return [column[rows] for column in columns]

    def _networks(self) -> dict[str, torch.nn.Module]:
        return {"discriminator": self.discriminator, "model": self.model, "policy": self.policy}

    def _plain_settings(self) -> dict:
        return json.loads(json.dumps(asdict(self.settings)))

    def _facts(self) -> str:
        sums = {name: float(column.double().sum()) for name, column in zip(_COLUMNS, self._real, strict=True)}
        dtype = str(self._starts.dtype)
        return json.dumps(
            {**self._plain_settings(), "seed": self.seed, "dtype": dtype, "rows": len(self._starts), **sums}
        )


def fit_adversarial(
    table: TransitionTable,
    settings: AdversarialSettings | None = None,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    state: Mapping | None = None,
) -> DynamicsReward:
    """Play the game to its end; see `AdversarialFit`, which can also save its state on the way.

    Args:
        table: See `AdversarialFit`.
        settings: See `AdversarialSettings`; None for the defaults.
        seed: Of everything.
        device: Where the networks are.
        dtype: What they calculate in.
        on_step: Called after each iteration with the iterations done and what `AdversarialFit.step` returned.
        state: Of an `AdversarialFit` of the same table, settings and seed to go on from.

    Raises:
        ValueError: See `AdversarialFit`; or if no snapshot tells recorded transitions from generated ones.
    """
    fit = AdversarialFit(table, settings, seed=seed, device=device, dtype=dtype)
    if state is not None:
        fit.load_state_dict(state)
    while fit.iteration < fit.settings.iterations:
        metrics = fit.step()
        if on_step is not None:
            on_step(fit.iteration, metrics)
    return fit.reward()


def _copies(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
