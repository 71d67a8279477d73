"""Candidates for what follows: several predictions of next observation and reward for each observation and action."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.penalties import mopo_penalty

__all__ = ["CandidateModel", "Candidates", "EnsembleCandidates", "Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One predicted transition a row.

    Attributes:
        next_observations: `(B, d)`.
        rewards: `(B,)`.
        penalties: `(B,)` how uncertain the model is at the observation and action, in units of the model's outputs; or
            None where none was asked for.
    """

    next_observations: Float[torch.Tensor, "b d"]
    rewards: Float[torch.Tensor, " b"]
    penalties: Float[torch.Tensor, " b"] | None = None

    def finite(self) -> Bool[torch.Tensor, " b"]:
        """Rows of which every number is finite."""
        found = torch.isfinite(self.next_observations).all(-1) & torch.isfinite(self.rewards)
        return found if self.penalties is None else found & torch.isfinite(self.penalties)


@dataclass(frozen=True, eq=False)
class Candidates:
    """N predicted transitions a row, each a next observation with the reward that was predicted with it.

    Attributes:
        next_observations: `(B, N, d)`.
        rewards: `(B, N)`.
        penalties: `(B,)` or None, as in `Prediction`: of the observation and action, whichever candidate is chosen.
    """

    next_observations: Float[torch.Tensor, "b n d"]
    rewards: Float[torch.Tensor, "b n"]
    penalties: Float[torch.Tensor, " b"] | None = None

    def take(self, index: Int[torch.Tensor, " b"]) -> Prediction:
        """The candidate of each row's index, bit for bit: next observation and reward travel together."""
        rows = torch.arange(len(index), device=index.device)
        return Prediction(self.next_observations[rows, index], self.rewards[rows, index], self.penalties)

    def finite(self) -> Bool[torch.Tensor, "b n"]:
        """Candidates of which every number is finite."""
        found = torch.isfinite(self.next_observations).all(-1) & torch.isfinite(self.rewards)
        return found if self.penalties is None else found & torch.isfinite(self.penalties)[:, None]


@runtime_checkable
class CandidateModel(Protocol):
    """What a dynamics model must offer to be rolled out and filtered; any object with these four will do.

    Attributes:
        candidate_count: N, the same for every row.
        output_size: D, how many numbers of noise a candidate uses.
    """

    candidate_count: int
    output_size: int

    def candidates(
        self,
        observations: Float[torch.Tensor, "b d"],
        actions: Float[torch.Tensor, "b m"],
        noise: Float[torch.Tensor, "b n outputs"],
    ) -> Candidates:
        """All N candidates, a function of its arguments: all chance is in `noise`, standard normal."""
        ...

    def one(
        self,
        observations: Float[torch.Tensor, "b d"],
        actions: Float[torch.Tensor, "b m"],
        noise: Float[torch.Tensor, "b outputs"],
        index: Int[torch.Tensor, " b"],
    ) -> Prediction:
        """Candidate `index` of each row alone, the same as among all N but for rounding."""
        ...


class EnsembleCandidates:
    """Candidates of a Gaussian ensemble: samples of its elites, and in one mode their means too.

    Args:
        ensemble: Fitted; candidates come from its elites only.
        samples_per_elite: G, at least 1.
        mode: `sampled`: G samples of each elite, candidate i of elite i // G, N = G elites.
            `means_and_samples`: first the mean of each elite, then the samples: N = (1 + G) elites.
        clip: Bound of every predicted number, elementwise to [-clip, clip]; None for none. 25 is what the official code
            uses on D4RL, 1e6 on NeoRL, whose observations hold a position that grows far beyond 25. A number that is
            not finite stays so, for the rollout to count.
        clip_rewards: Whether the bound holds for the predicted reward too, as it does in the official code.
        penalty: Kind of MOPO penalty to give with the candidates, over all members, not only elites; None for none.

    Raises:
        ValueError: If an argument is out of range.

    Source: MOREC's official code; the paper (arXiv 2310.05422) was not read for these details.
    """

    def __init__(
        self,
        ensemble: GaussianEnsemble,
        *,
        samples_per_elite: int = 2,
        mode: Literal["sampled", "means_and_samples"] = "sampled",
        clip: float | None = None,
        clip_rewards: bool = True,
        penalty: Literal["aleatoric", "pairwise_difference", "ensemble_standard_deviation"] | None = None,
    ):
        check_choice("mode", mode, ("sampled", "means_and_samples"))
        if penalty is not None:
            check_choice("penalty", penalty, ("aleatoric", "pairwise_difference", "ensemble_standard_deviation"))
        if clip is not None:
            check_scalar("clip", clip, low=0, open_low=True)
        self.ensemble = ensemble
        self.samples_per_elite = check_scalar("samples_per_elite", samples_per_elite, low=1, whole=True)
        self.mode, self.clip, self.clip_rewards, self.penalty = mode, clip, clip_rewards, penalty
        elites = len(ensemble.elite_indices)
        self._means = elites if mode == "means_and_samples" else 0
        self.candidate_count = self._means + elites * samples_per_elite
        self.output_size = ensemble.observation_size + 1

    @torch.no_grad()
    def candidates(
        self,
        observations: Float[torch.Tensor, "b d"],
        actions: Float[torch.Tensor, "b m"],
        noise: Float[torch.Tensor, "b n outputs"],
    ) -> Candidates:
        """All N candidates; the noise of those that are means is not used."""
        self._check_noise(noise, (len(observations), self.candidate_count, self.output_size))
        elites, penalties = self.ensemble.elite_indices, None
        if self.penalty is None:
            mean, log_variance = self.ensemble(observations, actions, elites)
        else:
            means, log_variances = self.ensemble(observations, actions)
            penalties = mopo_penalty(means, log_variances, self.penalty)
            mean, log_variance = means[elites], log_variances[elites]
        elite = self._elite(torch.arange(self.candidate_count, device=noise.device))
        mean = mean.movedim(0, 1)[:, elite]
        deviation = log_variance.mul(0.5).exp().movedim(0, 1)[:, elite]
        deviation[:, : self._means] = 0
        next_observations, rewards = self._finish(observations.unsqueeze(1), mean + noise * deviation)
        return Candidates(next_observations, rewards, penalties)

    @torch.no_grad()
    def one(
        self,
        observations: Float[torch.Tensor, "b d"],
        actions: Float[torch.Tensor, "b m"],
        noise: Float[torch.Tensor, "b outputs"],
        index: Int[torch.Tensor, " b"],
    ) -> Prediction:
        """One candidate a row: only its member is evaluated, unless a penalty needs them all."""
        self._check_noise(noise, (len(observations), self.output_size))
        if index.shape != noise.shape[:1] or not bool(((index >= 0) & (index < self.candidate_count)).all()):
            raise ValueError(
                f"index has shape {tuple(index.shape)}, expected one of 0 to {self.candidate_count - 1} a row"
            )
        member = self.ensemble.elite_indices[self._elite(index)]
        penalties = None
        if self.penalty is None:
            mean, log_variance = self.ensemble.predict_members(observations, actions, member)
        else:
            means, log_variances = self.ensemble(observations, actions)
            penalties = mopo_penalty(means, log_variances, self.penalty)
            rows = torch.arange(len(member), device=member.device)
            mean, log_variance = means[member, rows], log_variances[member, rows]
        deviation = log_variance.mul(0.5).exp()
        if self._means:
            deviation = deviation * (index >= self._means)[:, None]
        next_observations, rewards = self._finish(observations, mean + noise * deviation)
        return Prediction(next_observations, rewards, penalties)

    def _check_noise(self, noise: torch.Tensor, expected: tuple[int, ...]) -> None:
        if noise.shape != expected:
            raise ValueError(f"noise has shape {tuple(noise.shape)}, expected {expected}")

    def _elite(self, index: torch.Tensor) -> torch.Tensor:
        if not self._means:
            return index // self.samples_per_elite
        return torch.where(index < self._means, index, (index - self._means) // self.samples_per_elite)

    def _finish(self, observations: torch.Tensor, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Next observations and rewards of predicted differences and rewards."""
        next_observations, rewards = outputs[..., :-1] + observations, outputs[..., -1]
        if self.clip is not None:
            next_observations = _clipped(next_observations, self.clip)
            rewards = _clipped(rewards, self.clip) if self.clip_rewards else rewards
        return next_observations, rewards


def _clipped(values: torch.Tensor, bound: float) -> torch.Tensor:
    """Values within the bound; infinity stays, where a clamp alone would make a plausible number of it."""
    return torch.where(torch.isinf(values), values, values.clamp(-bound, bound))
