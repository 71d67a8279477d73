"""What every trainer on sampled episodes shares: the loop over episodes, its record, checkpoints and progress."""

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from rewardlab.checks import check_scalar
from rewardlab.shaping.sampled.ascent import Ascent
from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.checkpoint import load_checkpoint, save_checkpoint
from rewardlab.shaping.sampled.episodes import EpisodeBuffer
from rewardlab.shaping.sampled.policies import Policy
from rewardlab.shaping.sampled.rollout import Rollout

__all__ = ["History", "Trainer", "check_names", "parameter_shapes"]


@dataclass
class History:
    """What happened in training: `episodes` holds one row an episode, `updates` one row a step of the blend.

    Columns of `episodes`: primary (undiscounted return), auxiliary_<name> (sums), steps, discount (inner).
    Columns of `updates`: episode (how many were over), cosine and norm_ratio (of the vector the curvature solve
    returned, to the first-order one: the plain policy gradient of the primary return that went in, times the step with
    a Neumann series), hypergradient (norm, before normalisation and penalties), residual and curvature (of the solve;
    NaN where it has none: see `CurvatureSolution`). Where the newest episodes hold no primary reward at all, the cosine
    is NaN. `OneStep` has no residual and curvature, and a column `alignment`; see there.
    """

    episodes: dict[str, list[float]] = field(default_factory=dict)
    updates: dict[str, list[float]] = field(default_factory=dict)

    @staticmethod
    def append(table: dict[str, list[float]], **row: float) -> None:
        """Add a row to one of the tables."""
        for name, value in row.items():
            table.setdefault(name, []).append(float(value))

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted primary return of each episode."""
        return np.array(self.episodes.get("primary", []))

    @property
    def discounts(self) -> np.ndarray:
        """Inner discount after each episode."""
        return np.array(self.episodes.get("discount", []))

    @property
    def cosines(self) -> np.ndarray:
        """Cosine of each hyper-gradient's vector to the plain gradient."""
        return np.array(self.updates.get("cosine", []))

    @property
    def norm_ratios(self) -> np.ndarray:
        """Norm of each hyper-gradient's vector over that of the first-order one."""
        return np.array(self.updates.get("norm_ratio", []))

    def state_dict(self) -> dict:
        """Tensors by table and column."""
        return {
            name: {column: torch.tensor(values, dtype=torch.float64) for column, values in table.items()}
            for name, table in asdict(self).items()
        }

    @classmethod
    def from_state(cls, state: dict) -> "History":
        """What `state_dict` came from."""
        return cls(**{name: {c: values.tolist() for c, values in table.items()} for name, table in state.items()})


def check_names(auxiliary: Sequence[str], blend: BlendNetwork) -> None:
    """Do nothing if there is one name a weight of the blend.

    Raises:
        ValueError: If there are more or fewer, or one text is given for several.
    """
    if isinstance(auxiliary, str) or len(auxiliary) != blend.heuristics:
        raise ValueError(f"auxiliary is {auxiliary!r}, expected {blend.heuristics} names: one a weight of the blend")


def parameter_shapes(module: torch.nn.Module) -> dict[str, list[int]]:
    """Shapes of a module's parameters, by name."""
    return {name: list(parameter.shape) for name, parameter in module.named_parameters()}


class Trainer(ABC):
    """Trains a policy on episodes; subclasses say how in `update`.

    Args:
        env: A gymnasium environment; see `Rollout`.
        policy: Trained in place.
        auxiliary: Names of the auxiliary rewards used.
        buffer: Episodes kept.
        horizon: Most steps of an episode; None: the time limit of the environment.
        rng: Seed of everything: resets, actions, draws from the buffer.
    """

    def __init__(self, env, policy: Policy, *, auxiliary: Sequence[str], buffer: int, horizon: int | None, rng: int):
        self.policy, self.auxiliary = policy, tuple(auxiliary)
        self.seed = check_scalar("rng", rng, low=0, whole=True)
        self.rollout = Rollout(env, policy, self.auxiliary, horizon)
        self.buffer = EpisodeBuffer(buffer, self.rollout.horizon, policy.features, policy.dtype)
        self.history = History()
        self.episodes = 0
        self._acting, self._drawing = (np.random.default_rng(s) for s in np.random.SeedSequence(self.seed).spawn(2))

    def train(
        self,
        episodes: int,
        *,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 100,
        progress: bool | None = None,
    ) -> History:
        """Train until `episodes` episodes are over, counted from the first ever.

        Args:
            episodes: In total: 1000 after a training of 400 runs 600 more.
            checkpoint: A file that training resumes from if it is there, and that it is saved to; None for neither.
                A training that was killed and started again gives the same numbers as one that was not.
            checkpoint_every: Episodes between checkpoints; one is written at the end too.
            progress: Whether to show a bar; None: where a person watches (a terminal, not continuous integration).

        Returns:
            The record since the first episode, also at `history`.

        Raises:
            ValueError: If the checkpoint was made by a trainer with other settings, seed or parameters' shapes; or see
                `Rollout.run`.
        """
        check_scalar("episodes", episodes, low=0, whole=True)
        check_scalar("checkpoint_every", checkpoint_every, low=1, whole=True)
        if checkpoint is not None and Path(checkpoint).exists():
            self.load_state_dict(load_checkpoint(checkpoint))
        with _bar(progress, episodes, self.episodes) as advance:
            while self.episodes < episodes:
                self.step()
                advance(self.history.episodes["primary"][-1])
                if checkpoint is not None and (self.episodes % checkpoint_every == 0 or self.episodes == episodes):
                    save_checkpoint(checkpoint, self.state_dict())
        return self.history

    def step(self) -> None:
        """One episode, and the update after it where one is due."""
        reset = int(np.random.SeedSequence((self.seed, self.episodes)).generate_state(1)[0])
        episode = self.rollout.run(reset, self._acting, number=self.episodes)
        self.buffer.add(episode)
        self.episodes += 1
        self.update()
        sums = {
            f"auxiliary_{name}": column.sum() for name, column in zip(self.auxiliary, episode.auxiliary.T, strict=True)
        }
        row = {"primary": episode.primary.sum(), **sums, "steps": len(episode.primary), "discount": self.inner_discount}
        History.append(self.history.episodes, **row)

    @abstractmethod
    def update(self) -> None:
        """What is learned after each episode."""

    @property
    @abstractmethod
    def inner_discount(self) -> float:
        """The discount that the policy is trained with."""

    def facts(self) -> dict:
        """What a checkpoint must have in common with the trainer that loads it, as plain numbers and text."""
        shapes = parameter_shapes(self.policy)
        return {"seed": self.seed, "auxiliary": list(self.auxiliary), "horizon": self.rollout.horizon, "policy": shapes}

    @abstractmethod
    def learned(self) -> dict[str, torch.nn.Module | Ascent]:
        """Modules and optimisers whose states a checkpoint holds."""

    def state_dict(self) -> dict:
        """All that is needed to go on, in tensors, numbers and text."""
        states = {name: part.state_dict() for name, part in self.learned().items()}
        states = {name: dict(state) for name, state in states.items()}
        generators = [generator.bit_generator.state for generator in (self._acting, self._drawing)]
        return {
            "facts": json.dumps(self.facts()),
            "generators": json.dumps(generators),
            "episodes": self.episodes,
            "history": self.history.state_dict(),
            "buffer": self.buffer.state_dict(),
            **states,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: Names the first setting in which the two trainers differ.
        """
        theirs, ours = json.loads(state["facts"]), json.loads(json.dumps(self.facts()))
        for name in sorted({*theirs, *ours}):
            if theirs.get(name) != ours.get(name):
                raise ValueError(f"the checkpoint has {name} {theirs.get(name)!r}, this trainer {ours.get(name)!r}")
        for name, part in self.learned().items():
            part.load_state_dict(state[name])
        for generator, kept in zip((self._acting, self._drawing), json.loads(state["generators"]), strict=True):
            generator.bit_generator.state = kept
        self.episodes, self.history = state["episodes"], History.from_state(state["history"])
        self.buffer.load_state_dict(state["buffer"])


def _bar(wanted: bool | None, total: int, done: int):
    """A context that gives a function to call with each episode's return."""
    if wanted is None:
        wanted = sys.stderr.isatty() and not os.environ.get("CI")
    if not wanted:
        return nullcontext(lambda value: None)
    return _RichBar(total, done)


class _RichBar:
    """A bar on standard error, with the mean return of the last 20 episodes."""

    def __init__(self, total: int, done: int):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.total, self.done, self.latest = total, done, []

    def __enter__(self) -> Callable[[float], None]:
        self.progress.start()
        self.task = self.progress.add_task("episodes", total=self.total, completed=self.done)
        return self._advance

    def __exit__(self, *error) -> None:
        self.progress.stop()

    def _advance(self, value: float) -> None:
        self.latest = [*self.latest[-19:], value]
        self.progress.update(self.task, advance=1, description=f"return {np.mean(self.latest):.3g}")
