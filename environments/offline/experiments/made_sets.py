"""The recordings that the experiments on policies learn from, and what is known of their tasks."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch

from environments.offline.made.behaviours import BehaviourSettings, kept_behaviour
from environments.offline.made.making import make_dataset
from environments.offline.scores import normalised_score
from environments.offline.terminations import TERMINATIONS
from rewardlab.transition_table import TransitionTable

__all__ = ["SETS", "MadeSet"]

PENDULUM = (5.2, 1000.0)  # mean return of uniform actions (1617 episodes), and the limit of steps, each worth 1


@dataclass(frozen=True)
class MadeSet:
    """A recording made here, the same for every seed of an experiment.

    Args:
        env_id: Of gymnasium.
        task: Name of its termination.
        rows: At least so many, of whole episodes.
        behaviour: Whose training is recorded (the protocol medium-replay); None for uniform actions.
        score: Normalised score of returns.
        hidden: Sizes of the hidden layers of the policies that learn from it.
        learning_rate: Of these.
        mobile_weight: beta; the official ones for hopper-medium-replay are .1 (MOBILE) and .5 (MOREC).
    """

    env_id: str
    task: str
    rows: int
    behaviour: BehaviourSettings | None
    score: Callable[[np.ndarray], np.ndarray]
    hidden: tuple[int, ...]
    learning_rate: float
    mobile_weight: float

    def table(self) -> TransitionTable:
        """The recording; a behaviour is trained the first time and kept in the user's cache."""
        if self.behaviour is None:
            return make_dataset(self.env_id, None, "random", rows=self.rows, seed=0).table
        behaviour = kept_behaviour(self.env_id, self.behaviour, seed=0)
        return make_dataset(self.env_id, behaviour, "medium-replay", rows=self.rows, seed=0).table

    @property
    def termination(self) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
        """Whether the task ends, of (observations, actions, next_observations)."""
        return TERMINATIONS[self.task]

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """What a policy may do."""
        environment = gymnasium.make(self.env_id)
        environment.close()
        return environment.action_space


def _pendulum_score(returns: np.ndarray) -> np.ndarray:
    low, high = PENDULUM
    return 100 * (np.asarray(returns) - low) / (high - low)


def _hopper_score(returns: np.ndarray) -> np.ndarray:
    return normalised_score("d4rl/hopper", np.asarray(returns))


_TRAINED = BehaviourSettings(steps=45_000, hidden=(128, 128), learning_rate=7e-4, learning_starts=2000)
SETS = {
    "random pendulum": MadeSet("InvertedPendulum-v5", "inverted_pendulum", 300, None, _pendulum_score, (8,), 1e-3, 1.0),
    "InvertedPendulum": MadeSet(
        "InvertedPendulum-v5",
        "inverted_pendulum",
        10_000,
        BehaviourSettings(steps=16_000),
        _pendulum_score,
        (64, 64),
        1e-3,
        1.0,
    ),
    "Hopper": MadeSet("Hopper-v5", "hopper", 10_000, _TRAINED, _hopper_score, (128, 128), 7e-4, 0.5),
}
