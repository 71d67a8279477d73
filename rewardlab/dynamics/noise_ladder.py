"""Discriminators trained against noise of falling size: a substitute of ours for adversarial training.

This is not the paper's method. The paper's discriminators learn against a generator that learns too; here the
generated transitions are the real ones plus Gaussian noise, large at first and small in the end. There is no generator,
nothing to balance, and the best discriminator of each step is known in closed form (`optimal_discriminator`): it has
learned, at every size of error, where the real transitions are.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.nn.functional import softplus

from rewardlab.checks import check_choice, check_scalar, check_sizes
from rewardlab.dynamics.discriminator import TRANSITION_INPUTS, Discriminator
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.reward_formula import RESCALES
from rewardlab.dynamics.snapshots import SnapshotQueue
from rewardlab.transition_table import TransitionTable, check_table

__all__ = ["NoiseLadder", "NoiseLadderSettings", "fit_noise_ladder"]


@dataclass(frozen=True, kw_only=True)
class NoiseLadderSettings:
    """How the noise falls and the discriminator learns.

    Attributes:
        iterations: Sizes of noise, T.
        steps: Steps of the discriminator at each size.
        snapshots: Kept, evenly over the iterations; divides them.
        largest: First size, in standard deviations of each difference (next observation - observation) in the data. A
            column that hardly ever changes, such as a target that jumps once an episode, is never noisy in the data and
            always in a model's samples: it takes the reward over, and the filter is blind to the rest. Leave such rows
            or columns out.
        halvings: How many times the size is halved: `largest * 2 ** (-halvings * t / T)` at iteration t.
        batch_size: Real rows of a step; as many generated ones are made of them.
        learning_rate: Of Adam.
        hidden: See `Discriminator`.
        transition_input: See `Discriminator`.
        rescale: See `DynamicsReward`; "none" where the logits are meaningful as they are, as they are here.

    Raises:
        TypeError: If a number is no number, or not whole where it must be.
        ValueError: If a number is out of range, or `snapshots` does not divide `iterations`.
    """

    iterations: int = 400
    steps: int = 10
    snapshots: int = 40
    largest: float = 2.0
    halvings: float = 6.0
    batch_size: int = 256
    learning_rate: float = 1e-3
    hidden: tuple[int, ...] = (64, 64)
    transition_input: str = "standardised_difference"
    rescale: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", check_sizes("hidden", self.hidden))
        for name in ("iterations", "steps", "snapshots", "batch_size"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        for name in ("largest", "learning_rate"):
            check_scalar(name, getattr(self, name), low=0, open_low=True)
        check_scalar("halvings", self.halvings, low=0)
        check_choice("transition_input", self.transition_input, TRANSITION_INPUTS)
        check_choice("rescale", self.rescale, RESCALES)
        if self.iterations % self.snapshots:
            raise ValueError(f"snapshots is {self.snapshots}, expected a divisor of iterations, {self.iterations}")

    def size(self, iteration: int) -> float:
        """Size of the noise at an iteration, in standard deviations of the differences."""
        return self.largest * 2 ** (-self.halvings * iteration / self.iterations)


class NoiseLadder:
    """The training, step by step, so that it can be watched, saved and resumed with identical numbers.

    Args:
        table: The data. Rows whose next observation was not kept (`next_valid` False) are left out and counted.
        settings: How to train.
        seed: Of weights, batches and noise.
        device: Where to train.

    Attributes:
        iteration: Iterations done.
        rows_left_out: Rows of the table that were not used.

    Raises:
        TypeError: If `table` is none, or the seed is not whole.
        ValueError: If no row is left, or the differences do not vary at all.
    """

    def __init__(
        self, table: TransitionTable, settings: NoiseLadderSettings, *, seed: int, device: str | torch.device = "cpu"
    ):
        check_table(table)
        check_scalar("seed", seed, low=0, whole=True)
        self.settings, self.seed, self.iteration = settings, int(seed), 0
        self.rows_left_out = int((~table.next_valid).sum())
        if self.rows_left_out == len(table):
            raise ValueError("table has no row with next_valid, expected at least one to learn from")
        columns = table.rows(np.flatnonzero(table.next_valid))
        self._observations, self._actions, self._next = (
            torch.from_numpy(columns[name]).to(device) for name in ("observations", "actions", "next_observations")
        )
        self._deviation = (self._next - self._observations).double().std(dim=0, correction=0).float()
        if not bool((self._deviation > 0).any()):
            raise ValueError("table has differences that do not vary in any column, expected some that do")
        self.generator = torch.Generator(device).manual_seed(self.seed)
        self.discriminator = Discriminator(
            table.observation_size,
            table.action_size,
            hidden=settings.hidden,
            transition_input=settings.transition_input,
            generator=self.generator,
        ).fit_scalers(self._observations, self._actions, self._next)
        self.optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=settings.learning_rate, fused=True)
        self.queue = SnapshotQueue(keep_last=settings.snapshots, every=1)

    def step(self) -> dict[str, float]:
        """One iteration: all steps at one size of noise, and the snapshot after it where one is due.

        Returns:
            `noise` (the size), `loss` (mean over the steps; log 4 = 1.386 for a discriminator that knows nothing),
            `real` and `generated` (mean logits).

        Raises:
            ValueError: If all iterations are done, or training has diverged.
        """
        if self.iteration >= self.settings.iterations:
            raise ValueError(f"all {self.settings.iterations} iterations are done")
        size = self.settings.size(self.iteration)
        totals = torch.zeros(3, device=self._observations.device)
        for _ in range(self.settings.steps):
            real, generated = self._logits(self.settings.batch_size, size)
            loss = softplus(-real).mean() + softplus(generated).mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            totals += torch.stack([loss, real.mean(), generated.mean()]).detach()
        loss, real, generated = (totals / self.settings.steps).tolist()
        self.iteration += 1
        if self.iteration % (self.settings.iterations // self.settings.snapshots) == 0:
            with torch.no_grad():
                ends = [float(logits.mean()) for logits in self._logits(min(len(self._next), 2048), size)]
            self.queue.add(self.discriminator, low=ends[1], high=ends[0])
        return {"noise": size, "loss": loss, "real": real, "generated": generated}

    def _logits(self, rows: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
        device = self._observations.device
        chosen = torch.randint(len(self._next), (rows,), generator=self.generator, device=device)
        noise = torch.randn((rows, len(self._deviation)), generator=self.generator, device=device)
        observations, actions, following = self._observations[chosen], self._actions[chosen], self._next[chosen]
        both = torch.cat([following, following + size * self._deviation * noise])
        logits = self.discriminator(observations.repeat(2, 1), actions.repeat(2, 1), both)
        return logits[:rows], logits[rows:]

    def reward(self, *, rescale: str | None = None, unordered: str = "error") -> DynamicsReward:
        """The dynamics reward of the snapshots so far.

        Args:
            rescale: Instead of the settings' own.
            unordered: See `SnapshotQueue.stack`.

        Raises:
            ValueError: If there is no snapshot yet; or see `SnapshotQueue.stack`.
        """
        rescale = self.settings.rescale if rescale is None else rescale
        facts = {"seed": self.seed, "rows_left_out": self.rows_left_out, "settings": asdict(self.settings)}
        return self.queue.stack(
            self.discriminator, kind="noise_ladder", rescale=rescale, unordered=unordered, facts=facts
        )

    def state_dict(self) -> dict:
        """All that is needed to go on with identical numbers: tensors, numbers and text."""
        return {
            "seed": self.seed,
            "settings": {**asdict(self.settings), "hidden": list(self.settings.hidden)},
            "iteration": self.iteration,
            "discriminator": {name: value.detach().clone() for name, value in self.discriminator.state_dict().items()},
            "optimiser": deepcopy(self.optimiser.state_dict()),  # torch hands out the tensors that it goes on changing
            "generator": self.generator.get_state(),
            "queue": self.queue.state_dict(),
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If the state is of another seed or of other settings; names the first that differs.
        """
        ours = {"seed": self.seed, **asdict(self.settings), "hidden": list(self.settings.hidden)}
        theirs = {"seed": state["seed"], **state["settings"]}
        for name in ours:
            if ours[name] != theirs.get(name):
                raise ValueError(f"the state has {name} {theirs.get(name)!r}, this training {ours[name]!r}")
        self.iteration = state["iteration"]
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.queue.load_state_dict(state["queue"])


def fit_noise_ladder(
    table: TransitionTable,
    settings: NoiseLadderSettings | None = None,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    state: Mapping | None = None,
) -> DynamicsReward:
    """Train to the end; see `NoiseLadder`, which can also save its state on the way.

    Args:
        table: The data.
        settings: How to train; None for the defaults.
        seed: Of everything that is drawn.
        device: Where to train.
        on_step: Called after each iteration with the iterations done and what `NoiseLadder.step` returned.
        state: Of a `NoiseLadder` with the same data, settings and seed, to go on from.
    """
    ladder = NoiseLadder(table, NoiseLadderSettings() if settings is None else settings, seed=seed, device=device)
    if state is not None:
        ladder.load_state_dict(state)
    while ladder.iteration < ladder.settings.iterations:
        numbers = ladder.step()
        if on_step is not None:
            on_step(ladder.iteration, numbers)
    return ladder.reward()
