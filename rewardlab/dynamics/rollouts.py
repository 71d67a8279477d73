"""Branched rollouts in a learned model, and what is stored of a step that the filter rejects."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.draws import StepDraws
from rewardlab.dynamics.filtered_model import ModelStep, PlainModel

__all__ = ["Rollouts", "Truncation", "rollout"]

Truncation = Literal["terminal", "bootstrap", "drop"]
TRUNCATIONS = ("terminal", "bootstrap", "drop")


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Transitions of rollouts from B starts, step after step: all first steps, then all second ones, ...

    Attributes:
        observations: `(T, d)`.
        actions: `(T, m)`.
        rewards: `(T,)` the model's, less the weighted penalty.
        next_observations: `(T, d)`.
        terminals: `(T,)` where a value target takes nothing from `next_observations`; see `rollout`.
        truncated: `(T,)` steps that the filter rejected and that are stored all the same.
        starts: `(T,)` which start a row goes back to.
        lengths: `(B,)` steps stored of each rollout; they sum to T.
        report: `transitions` T; `mean_length`; `share_terminal`, `share_truncated` and `share_survived`, of the starts:
            ended by the task, by the filter, not at all; `non_finite`, how many rollouts ended since the model gave no
            finite prediction (that step is never stored); `mean_reward`; and where there are such, `mean_penalty` and
            `mean_dynamics_reward` over all steps taken.
    """

    observations: Float[torch.Tensor, "t d"]
    actions: Float[torch.Tensor, "t m"]
    rewards: Float[torch.Tensor, " t"]
    next_observations: Float[torch.Tensor, "t d"]
    terminals: Bool[torch.Tensor, " t"]
    truncated: Bool[torch.Tensor, " t"]
    starts: Int[torch.Tensor, " t"]
    lengths: Int[torch.Tensor, " b"]
    report: dict[str, float]

    def __len__(self) -> int:
        return len(self.rewards)


@torch.no_grad()
def rollout(
    model: PlainModel,
    policy: Callable[[torch.Tensor], torch.Tensor],
    starts: Float[torch.Tensor, "b d"],
    *,
    horizon: int,
    generator: torch.Generator,
    truncation: Truncation = "terminal",
    penalty_weight: float = 0.0,
) -> Rollouts:
    """Roll a policy out in a model from given observations.

    Each step draws for all starts, whoever is still alive, and only those alive are stepped: what happens to one
    rollout does not depend on the end of another (but for rounding in the networks, and for what a random policy draws
    by itself). Models that share a generator's state stay on one stream.

    Args:
        model: `PlainModel`, `FilteredModel`, or what has their `step` and `output_size`.
        policy: Actions `(b, m)` of observations `(b, d)` of the rollouts still alive.
        starts: Where to begin.
        horizon: Most steps of a rollout. Who gets there is stored as not terminal: a value target bootstraps.
        generator: Of all chance in the model.
        truncation: What becomes of a step that the filter rejects; in each case the rollout ends with it.
            `terminal`: it is stored as terminal, so that its value is its reward alone: a penalty on leaving what is
            known, and what the official code does. `bootstrap`: it is stored as not terminal. `drop`: it is not stored.
            A step that the task ends is stored as terminal whatever the filter says.
        penalty_weight: Times the model's penalty, taken off the rewards.

    Raises:
        TypeError: If starts or actions are no tensors.
        ValueError: If an argument is out of range, starts or actions are not finite, the generator is on another
            device than the starts, or there is a weight and the model gives no penalties.

    Source: MOREC's official code (its way to drop rejected steps is never reached there).
    """
    check_choice("truncation", truncation, TRUNCATIONS)
    check_scalar("horizon", horizon, low=1, whole=True)
    check_scalar("penalty_weight", penalty_weight, low=0)
    if not isinstance(starts, torch.Tensor):
        raise TypeError(f"starts is a {type(starts).__name__}, expected a torch tensor")
    if len(starts) == 0:
        raise ValueError("starts has no rows, expected at least one")
    if generator.device.type != starts.device.type:
        raise ValueError(f"generator is on {generator.device}, starts on {starts.device}; expected one device")
    _check_finite("starts", starts)
    taken = _Taken(len(starts), truncation, penalty_weight)
    rows, observations = torch.arange(len(starts), device=starts.device), starts
    for number in range(1, horizon + 1):
        draws = StepDraws.sample(len(starts), model.output_size, generator=generator, dtype=starts.dtype)
        if len(rows) == 0:
            continue  # so that the generator ends where it would had someone lived
        draws = draws if len(rows) == len(starts) else draws.at(rows)
        actions = policy(observations)
        _check_actions(actions, observations)
        step = model.step(observations, actions, torch.full_like(rows, number), draws)
        alive = taken.add(rows, observations, actions, step)
        rows, observations = rows[alive], step.next_observations[alive]
    return taken.finish(starts, survivors=len(rows))


class _Taken:
    """Steps taken so far."""

    def __init__(self, rollouts: int, truncation: str, penalty_weight: float):
        self.rollouts, self.truncation, self.penalty_weight = rollouts, truncation, penalty_weight
        self.columns: list[tuple[torch.Tensor, ...]] = []
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.ends = {"terminal": 0, "truncated": 0, "non_finite": 0}

    def add(
        self, rows: torch.Tensor, observations: torch.Tensor, actions: torch.Tensor, step: ModelStep
    ) -> torch.Tensor:
        """Store a step, and return which of its rows go on."""
        ended = step.terminals | step.truncated | step.non_finite
        terminals = step.terminals | step.truncated if self.truncation == "terminal" else step.terminals
        stored = (rows, observations, actions, self._rewards(step), step.next_observations, terminals, step.truncated)
        left_out = step.non_finite | step.truncated if self.truncation == "drop" else step.non_finite
        if bool(left_out.any()):
            stored = tuple(column[~left_out] for column in stored)
        self.columns.append(stored)
        self.ends["terminal"] += int(step.terminals.sum())
        self.ends["truncated"] += int(step.truncated.sum())
        self.ends["non_finite"] += int(step.non_finite.sum())
        self._count(step)
        return (~ended).nonzero().squeeze(-1)

    def finish(self, starts: torch.Tensor, survivors: int) -> Rollouts:
        rows, observations, actions, rewards, following, terminals, truncated = (
            torch.cat(column) for column in zip(*self.columns, strict=True)
        )
        lengths = torch.bincount(rows, minlength=self.rollouts)
        report = {
            "transitions": float(len(rows)),
            "mean_length": len(rows) / self.rollouts,
            "share_terminal": self.ends["terminal"] / self.rollouts,
            "share_truncated": self.ends["truncated"] / self.rollouts,
            "share_survived": survivors / self.rollouts,
            "non_finite": float(self.ends["non_finite"]),
            "mean_reward": float(rewards.double().mean()) if len(rows) else float("nan"),
            **{f"mean_{name}": total / self.steps for name, total in self.sums.items() if self.steps},
        }
        return Rollouts(observations, actions, rewards, following, terminals, truncated, rows, lengths, report)

    def _rewards(self, step: ModelStep) -> torch.Tensor:
        if self.penalty_weight == 0:
            return step.rewards
        if step.penalties is None:
            raise ValueError(f"penalty_weight is {self.penalty_weight}, but the model gives no penalties; expected 0")
        return step.rewards - self.penalty_weight * step.penalties

    def _count(self, step: ModelStep) -> None:
        finite = ~step.non_finite
        self.steps += int(finite.sum())
        for name, values in (("penalty", step.penalties), ("dynamics_reward", step.dynamics_rewards)):
            if values is not None:
                self.sums[name] = self.sums.get(name, 0.0) + float(values[finite].double().sum())


def _check_finite(name: str, values: torch.Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        place = (~torch.isfinite(values)).nonzero()[0].tolist()
        raise ValueError(f"{name}{place} is {values[tuple(place)].item()}, expected finite numbers")


def _check_actions(actions: torch.Tensor, observations: torch.Tensor) -> None:
    if not isinstance(actions, torch.Tensor):
        raise TypeError(f"policy gave a {type(actions).__name__}, expected a torch tensor")
    if actions.ndim != 2 or len(actions) != len(observations):
        raise ValueError(f"policy gave actions of shape {tuple(actions.shape)}, expected ({len(observations)}, m)")
    _check_finite("actions", actions)
