"""Candidate models small enough to check by hand; they only keep the protocol, and know nothing of ensembles."""

import torch

from rewardlab.dynamics.candidates import Candidates, Prediction
from rewardlab.dynamics.rollouts import Rollouts

COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminals", "truncated", "starts", "lengths")


class LinearModel:
    """Candidate i of `s' = 0.9 s + a + (i + 1) / 10 noise`, reward `sum(s') + i`: the same in a batch of any size."""

    def __init__(self, size: int = 2, count: int = 4, broken=None):
        self.size, self.candidate_count, self.output_size = size, count, size + 1
        self.broken = broken  # of (observations, candidate): where the prediction is not a number
        self.asked = []  # rows of every call

    def candidates(self, observations, actions, noise):
        index = torch.arange(self.candidate_count).expand(len(observations), -1)
        made = self._make(observations[:, None], actions[:, None], noise, index)
        return Candidates(*made)

    def one(self, observations, actions, noise, index):
        return Prediction(*self._make(observations, actions, noise, index))

    def _make(self, observations, actions, noise, index):
        self.asked.append(len(observations))
        scale = (index + 1).to(noise.dtype).unsqueeze(-1) / 10
        following = 0.9 * observations + actions + scale * noise[..., :-1]
        if self.broken is not None:
            following = torch.where(self.broken(observations, index).unsqueeze(-1), torch.nan, following)
        return following, following.sum(-1) + index


class Walk:
    """States 0, 1, 2, ... as one number: candidate i goes `moves[i]` on, with reward 10 s' + i; there is no chance."""

    def __init__(self, *moves: float):
        self.moves = torch.tensor(moves)
        self.candidate_count, self.output_size = len(moves), 2

    def candidates(self, observations, actions, noise):
        following = observations[:, None] + self.moves[None, :, None]
        return Candidates(following, 10 * following[..., 0] + torch.arange(self.candidate_count))

    def one(self, observations, actions, noise, index):
        following = observations + self.moves[index][:, None]
        return Prediction(following, 10 * following[:, 0] + index)


def never(observations, actions, next_observations):
    return torch.zeros(len(observations), dtype=torch.bool)


def still(observations):
    """The action 0."""
    return torch.zeros_like(observations)


def same(first: Rollouts, second: Rollouts) -> bool:
    """Whether two rollouts are the same bit for bit."""
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in COLUMNS)
