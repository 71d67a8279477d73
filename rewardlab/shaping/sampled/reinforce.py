"""REINFORCE on the primary reward, on the sum of all rewards, or with a potential: right, and as published."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from rewardlab.checks import check_choice, check_finite, check_scalar
from rewardlab.shaping.rule import shape_episode
from rewardlab.shaping.sampled.ascent import Ascent, Optimiser
from rewardlab.shaping.sampled.policies import Policy
from rewardlab.shaping.sampled.surrogate import reward_to_go
from rewardlab.shaping.sampled.trainer import Trainer

__all__ = ["Reinforce", "ReinforceReward"]

ReinforceReward = Literal["primary", "sum", "potential", "potential_as_published"]


class Reinforce(Trainer):
    """The policy gradient without a critic, one step on the newest episode every few episodes.

    Args:
        env: A gymnasium environment; see `Rollout`.
        policy: Trained in place.
        reward: What is accumulated.
            "primary": the task's reward. "sum": with all auxiliary rewards added, the naive blend.
            "potential": shaped by a potential of the state, which is 0 where the episode stops, also at a time limit:
            this learner never bootstraps. Its sums are those of the primary reward less the potential of the state:
            a baseline, which cannot change what the gradient is on average.
            "potential_as_published": the auxiliary reward of each step subtracted from the sum of the primary
            rewards. It depends on the action, and its expectation pushes away from what the heuristic favours.
        auxiliary: Names of the auxiliary rewards; none for "primary" and "potential" unless they are to be recorded.
        potential: From observations (n, dimensions) to potentials (n,); for "potential".
        discount: In [0, 1].
        entropy_weight: Of the mean entropy of a step.
        learning_rate: Of the policy.
        optimiser: See `BarfiSettings`.
        update_every: Episodes between steps; the episodes between are not used, as published.
        auxiliary_scale: Factor of the auxiliary rewards.
        horizon: Most steps of an episode; None: the time limit of the environment.
        rng: Seed of everything but the first parameters.

    Raises:
        ValueError: If a potential is missing or of no use, or "sum" or "potential_as_published" has no names.

    Source: the baselines of Behavior Alignment via Reward Function Optimization (arXiv 2310.19007), official code;
        "potential" is ours, after Ng, Harada and Russell 1999.
    """

    def __init__(
        self,
        env,
        policy: Policy,
        reward: ReinforceReward = "primary",
        *,
        auxiliary: Sequence[str] = (),
        potential: Callable[[np.ndarray], np.ndarray] | None = None,
        discount: float = 0.99,
        entropy_weight: float = 0.25,
        learning_rate: float = 0.005,
        optimiser: Optimiser = "rmsprop",
        update_every: int = 3,
        auxiliary_scale: float = 1.0,
        horizon: int | None = None,
        rng: int = 0,
    ):
        check_choice("reward", reward, get_args(ReinforceReward))
        if isinstance(auxiliary, str):
            raise ValueError(f"auxiliary is {auxiliary!r}, expected a list of names")
        if (potential is not None) != (reward == "potential"):
            raise ValueError(f"potential is {potential!r}, expected one with reward='potential' and none otherwise")
        if reward in ("sum", "potential_as_published") and not auxiliary:
            raise ValueError(f"auxiliary is empty, expected names of auxiliary rewards with reward={reward!r}")
        super().__init__(env, policy, auxiliary=auxiliary, buffer=1, horizon=horizon, rng=rng)
        self.reward, self.potential = reward, potential
        self.discount = check_scalar("discount", discount, low=0.0, high=1.0)
        self.entropy_weight = check_scalar("entropy_weight", entropy_weight, low=0.0)
        self.update_every = check_scalar("update_every", update_every, low=1, whole=True)
        self.auxiliary_scale = check_scalar("auxiliary_scale", auxiliary_scale)
        rate = check_scalar("learning_rate", learning_rate, low=0.0, open_low=True)
        self.optimiser = Ascent(optimiser, policy.parameters(), rate)
        self._settings = {"learning_rate": rate, "optimiser": optimiser}

    @property
    def inner_discount(self) -> float:
        """The discount, which is not learned."""
        return self.discount

    def update(self) -> None:
        """One step on the newest episode, where one is due."""
        if self.episodes % self.update_every:
            return
        batch = self.buffer.newest(1)
        weights = self.returns() / batch.divisor
        entropies = torch.full_like(weights, self.entropy_weight / weights.numel()) if self.entropy_weight else None
        self.optimiser.step(self.policy.gradient(batch.x, batch.actions, weights, entropies))

    def returns(self) -> Tensor:
        """What multiplies the scores of the newest episode, (1, steps)."""
        batch = self.buffer.newest(1)
        auxiliary = self.auxiliary_scale * batch.auxiliary.sum(-1)
        if self.reward == "sum":
            return reward_to_go(batch.primary + auxiliary, self.discount)
        if self.reward == "potential_as_published":
            return reward_to_go(batch.primary, self.discount) - auxiliary
        rewards = batch.primary
        if self.reward == "potential":
            observations = self.buffer.episode(self.episodes - 1).observations
            values = np.asarray(self.potential(observations), float)
            if values.shape != (len(observations),):
                raise ValueError(f"potential gave shape {values.shape}, expected ({len(observations)},): one a row")
            check_finite(f"potential of episode {self.episodes - 1}", values)
            shaped = shape_episode(np.append(values, 0.0), discount=self.discount, ended=True)
            rewards = rewards + torch.from_numpy(shaped).to(rewards.dtype)
        return reward_to_go(rewards, self.discount)

    def learned(self) -> dict:
        """See `Trainer.learned`."""
        return {"policy": self.policy, "optimiser": self.optimiser}

    def facts(self) -> dict:
        """See `Trainer.facts`."""
        names = ("reward", "discount", "entropy_weight", "update_every", "auxiliary_scale")
        own = {name: getattr(self, name) for name in names} | self._settings
        return {"trainer": "reinforce"} | super().facts() | own
