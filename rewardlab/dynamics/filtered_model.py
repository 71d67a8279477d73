"""One step in a learned model: plain, or filtered by a dynamics reward."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.candidates import CandidateModel, Prediction
from rewardlab.dynamics.draws import StepDraws, uniform_index
from rewardlab.dynamics.selection import KINDS, Selection, select

__all__ = ["FilteredModel", "ModelStep", "PlainModel"]

OfTransition = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class ModelStep:
    """What a model says follows; every field has one entry a row.

    Attributes:
        next_observations: `(B, d)`.
        rewards: `(B,)` in units of the task, penalties not yet taken off.
        terminals: The task ends here.
        truncated: Rejected: the dynamics reward of what was chosen is below the threshold. Never where `terminals` is.
        non_finite: The model gave no finite prediction; the row's other fields mean nothing.
        index: Candidate that was chosen.
        dynamics_rewards: Of the candidate that was chosen; None from a plain model.
        penalties: Of the observation and action, None where the candidate model gives none.
    """

    next_observations: Float[torch.Tensor, "b d"]
    rewards: Float[torch.Tensor, " b"]
    terminals: Bool[torch.Tensor, " b"]
    truncated: Bool[torch.Tensor, " b"]
    non_finite: Bool[torch.Tensor, " b"]
    index: Int[torch.Tensor, " b"]
    dynamics_rewards: Float[torch.Tensor, " b"] | None = None
    penalties: Float[torch.Tensor, " b"] | None = None


class PlainModel:
    """A dynamics model as it is: each row's next step is one of its candidates, all equally likely.

    Args:
        candidate_model: See `CandidateModel`.
        termination: Whether the task ends, of (observations, actions, next_observations) as `(B,)` booleans; None for a
            task that never does.
        reward_override: The task's reward of (observations, actions, next_observations), `(B,)`, instead of the
            predicted one; None for the predicted one.

    Raises:
        TypeError: If the candidate model lacks a part of the protocol; names it.
    """

    def __init__(
        self,
        candidate_model: CandidateModel,
        *,
        termination: OfTransition | None,
        reward_override: OfTransition | None = None,
    ):
        needed = ("candidate_count", "output_size", "candidates", "one")
        if missing := [name for name in needed if not hasattr(candidate_model, name)]:
            raise TypeError(
                f"candidate_model is a {type(candidate_model).__name__} without {', '.join(missing)}; an ensemble is "
                f"wrapped in EnsembleCandidates"
            )
        self.candidate_model, self.termination, self.reward_override = candidate_model, termination, reward_override

    @property
    def output_size(self) -> int:
        """Numbers of noise a candidate uses."""
        return self.candidate_model.output_size

    @torch.no_grad()
    def step(
        self,
        observations: Float[torch.Tensor, "b d"],
        actions: Float[torch.Tensor, "b m"],
        steps: Int[torch.Tensor, " b"],
        draws: StepDraws,
    ) -> ModelStep:
        """Take a step.

        Args:
            observations: Current ones.
            actions: Taken in them.
            steps: Which step of its rollout this is for each row, 1 for the first.
            draws: All the chance in it; see `StepDraws`.

        Raises:
            TypeError: If the termination is not boolean.
            ValueError: If what the termination or the reward gives has not one entry a row.
        """
        index = uniform_index(draws.choice, self.candidate_model.candidate_count)
        prediction = self.candidate_model.one(observations, actions, draws.own, index)
        return self._step(observations, actions, prediction, index)

    def _step(
        self, observations: torch.Tensor, actions: torch.Tensor, prediction: Prediction, index: torch.Tensor
    ) -> ModelStep:
        non_finite = ~prediction.finite()
        following, rewards = prediction.next_observations, _rows("candidate_model", prediction.rewards, index)
        terminals = torch.zeros_like(non_finite)
        if self.termination is not None:
            terminals = _rows("termination", self.termination(observations, actions, following), index)
        if terminals.dtype != torch.bool:
            raise TypeError(f"termination gave {terminals.dtype}, expected booleans")
        if self.reward_override is not None:
            rewards = _rows("reward_override", self.reward_override(observations, actions, following), index)
            non_finite = non_finite | ~torch.isfinite(rewards)
        terminals = terminals & ~non_finite
        truncated = torch.zeros_like(terminals)
        return ModelStep(following, rewards, terminals, truncated, non_finite, index, penalties=prediction.penalties)


class FilteredModel(PlainModel):
    """A dynamics model filtered by a dynamics reward: of its candidates, those that look like the real dynamics.

    The candidates stay what they are: the filter only says which is taken, and the reward that was predicted with it is
    kept. Candidates that are not finite are never taken. With `uniform` selection only the chosen candidate is made
    and judged, on the same path as in `PlainModel`: without a threshold the two are the same bit for bit on one stream.

    Args:
        candidate_model: See `CandidateModel`.
        dynamics_reward: Called as (observations `(B, d)`, actions `(B, m)`, next_observations `(B, N, d)` or
            `(B, d)`), gives `(B, N)` or `(B,)`: how much like the real dynamics each is.
        termination: As in `PlainModel`.
        selection: Rule of selection; see `selection_probabilities`.
        temperature: Of the softmax.
        threshold: Least dynamics reward of the chosen candidate: below it the step is rejected (`truncated`). None for
            none. It is in the units of the dynamics reward: the official 0.6 is meant for rewards rescaled to
            [0.313, 1.313]; `rejection_threshold` finds one for any.
        minimal_length: Steps of a rollout that are never rejected.
        reward_override: As in `PlainModel`.

    Raises:
        ValueError: If an argument is out of range.

    Source: MOREC's official code; the body of the paper (arXiv 2310.05422) was not read.
    """

    def __init__(
        self,
        candidate_model: CandidateModel,
        dynamics_reward: OfTransition,
        *,
        termination: OfTransition | None,
        selection: Selection = "softmax",
        temperature: float = 0.1,
        threshold: float | None = None,
        minimal_length: int = 0,
        reward_override: OfTransition | None = None,
    ):
        super().__init__(candidate_model, termination=termination, reward_override=reward_override)
        check_choice("selection", selection, KINDS)
        if not callable(dynamics_reward):
            raise TypeError(f"dynamics_reward is a {type(dynamics_reward).__name__}, expected a function")
        if threshold is not None:
            check_scalar("threshold", threshold)
        self.dynamics_reward, self.selection, self.threshold = dynamics_reward, selection, threshold
        self.temperature = check_scalar("temperature", temperature, low=0, open_low=True)
        self.minimal_length = check_scalar("minimal_length", minimal_length, low=0, whole=True)

    @torch.no_grad()
    def step(
        self,
        observations: Float[torch.Tensor, "b d"],
        actions: Float[torch.Tensor, "b m"],
        steps: Int[torch.Tensor, " b"],
        draws: StepDraws,
    ) -> ModelStep:
        """Take a step; arguments and errors as in `PlainModel.step`.

        Raises:
            ValueError: Also if the dynamics reward of a finite candidate is not finite; names row and candidate.
        """
        model = self.candidate_model
        if self.selection == "uniform":
            index = uniform_index(draws.choice, model.candidate_count)
            chosen = model.one(observations, actions, draws.own, index)
            judged = self._judge(observations, actions, chosen.next_observations, chosen.finite())
        else:
            candidates = model.candidates(observations, actions, draws.all_noise(model.candidate_count))
            finite = candidates.finite()
            judged = self._judge(observations, actions, candidates.next_observations, finite)
            judged = judged.masked_fill(~finite & finite.any(-1, keepdim=True), -torch.inf)
            index = select(judged, draws.choice, self.selection, self.temperature)
            chosen = candidates.take(index)
            judged = judged.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        step = self._step(observations, actions, chosen, index)
        truncated = step.truncated
        if self.threshold is not None:
            rejected = (judged < self.threshold) & (steps > self.minimal_length)
            truncated = rejected & ~step.terminals & ~step.non_finite
        return ModelStep(**{**vars(step), "truncated": truncated, "dynamics_rewards": judged})

    def with_threshold(self, threshold: float | None) -> "FilteredModel":
        """The same model with another threshold, or none."""
        return FilteredModel(
            self.candidate_model,
            self.dynamics_reward,
            termination=self.termination,
            selection=self.selection,
            temperature=self.temperature,
            threshold=threshold,
            minimal_length=self.minimal_length,
            reward_override=self.reward_override,
        )

    def _judge(
        self, observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor, finite: torch.Tensor
    ) -> torch.Tensor:
        """Dynamics rewards, 0 where a candidate is not finite: it is not shown to the dynamics reward."""
        if not bool(finite.all()):
            known = observations if following.ndim == 2 else observations[:, None]
            following = torch.where(finite.unsqueeze(-1), following, known)
        judged = self.dynamics_reward(observations, actions, following)
        if judged.shape != finite.shape:
            raise ValueError(f"dynamics_reward gave shape {tuple(judged.shape)}, expected {tuple(finite.shape)}")
        if bool((wrong := finite & ~torch.isfinite(judged)).any()):
            place = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"dynamics_reward{place} is {judged[tuple(place)].item()} for a finite candidate, expected a finite "
                f"number"
            )
        return judged.masked_fill(~finite, 0.0)


def _rows(name: str, values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    if values.shape != index.shape:
        raise ValueError(f"{name} gave shape {tuple(values.shape)}, expected {tuple(index.shape)}: one entry a row")
    return values
