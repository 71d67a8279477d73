"""Tables and dynamics models of a toy world, which the tests of offline training share."""

import numpy as np
import torch
from gymnasium import spaces

from rewardlab.dynamics.candidates import Candidates, Prediction
from rewardlab.dynamics.filtered_model import PlainModel
from rewardlab.transition_table import TransitionTable

BOX = spaces.Box(np.array([-3.0, -1.0], np.float32), np.array([3.0, 5.0], np.float32))
SMALL = {"updates": 12, "rollout_every": 4, "rollout_batch": 6, "horizon": 3, "batch_size": 16, "hidden": (8,)}


def recorded(rows=40, observation_size=3, box=BOX, seed=0):
    """Episodes of ten rows: the first ends in a terminal, the second in a timeout, and so on."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(rows // 10, 11, observation_size)).astype(np.float32)
    last = np.arange(rows) % 10 == 9
    even = (np.arange(rows) // 10) % 2 == 0
    return TransitionTable(
        observations=seen[:, :-1].reshape(rows, -1),
        actions=rng.uniform(box.low, box.high, (rows, *box.shape)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32),
        next_observations=seen[:, 1:].reshape(rows, -1),
        terminals=last & even,
        timeouts=last & ~even,
        episode_ids=np.arange(rows) // 10,
        steps=np.arange(rows) % 10,
        next_valid=np.ones(rows, dtype=bool),
    )


class ToyModel:
    """Elite i moves by a tenth of the first action, drifts by i times `disagreement`, and adds noise; it pays 1."""

    def __init__(self, observation_size=3, elites=3, samples=2, disagreement=0.0, noise=0.1):
        self.candidate_count, self.output_size = elites * samples, observation_size + 1
        self.samples, self.disagreement, self.noise = samples, disagreement, noise

    def candidates(self, observations, actions, noise):
        elite = torch.arange(self.candidate_count, device=observations.device) // self.samples
        moved = observations + 0.1 * actions[:, :1]
        following = moved[:, None] + self.disagreement * elite[:, None] + self.noise * noise[..., :-1]
        return Candidates(following, torch.ones(noise.shape[:2], device=noise.device), self._penalties(observations))

    def one(self, observations, actions, noise, index):
        every = self.candidates(observations, actions, noise[:, None].expand(-1, self.candidate_count, -1))
        taken = every.take(index)
        return Prediction(taken.next_observations, taken.rewards, taken.penalties)

    def _penalties(self, observations):
        return observations.abs().amax(1)


def never(observations, actions, next_observations):
    return torch.zeros(len(observations), dtype=torch.bool, device=observations.device)


def plain_model(**options):
    return PlainModel(ToyModel(**options), termination=never)
