"""Random network distillation on the rooms of the talking lock, in many lanes at once."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from environments.message_lock.lock import LockStep, MessageLock
from environments.message_lock.rewards import LockReward
from rewardlab.intrinsic.random_network import CLIP, RandomNetworkDistillation

__all__ = ["RoomNovelty", "room_distillation"]


def room_distillation(lock: MessageLock, reward: LockReward, seed: int) -> RandomNetworkDistillation:
    """The library's bonus for rooms shown one-hot, all of which have been seen once; it learns once an episode."""
    novelty = RandomNetworkDistillation(
        (lock.rooms,),
        environments=1,
        hidden=(32,),
        features=16,
        learning_rate=reward.learning_rate,
        epochs=reward.steps,
        minibatches=1,
        seed=seed,
    )
    novelty.prime(np.eye(lock.rooms, dtype=np.float32))
    return novelty


class RoomNovelty:
    """Bonus for rooms that a predictor of random features does not know yet.

    Each lane has the moments and the filter of a `RandomNetworkDistillation` of its own. What is done at once is the
    networks: those of lanes that learn alike are stacked, and where the library takes the mean over a lane's steps,
    here each room is weighted by how often the lane was in it, which is the same.

    Args:
        lock: The rules.
        rewards: One a lane.
        seeds: One a lane, of the networks.
    """

    def __init__(self, lock: MessageLock, rewards: Sequence[LockReward], seeds: Sequence[int]) -> None:
        self._lanes, self._kept = len(rewards), []
        alike: dict[tuple[float, int], list[int]] = {}
        for lane, reward in enumerate(rewards):
            if reward.source == "novelty":
                alike.setdefault((reward.learning_rate, reward.steps), []).append(lane)
        self._groups = [
            (lanes, _Group([room_distillation(lock, rewards[lane], seeds[lane]) for lane in lanes], rate, steps))
            for (rate, steps), lanes in alike.items()
        ]
        self._scale = np.array([reward.coefficient for reward in rewards])
        self._gated = np.array([reward.gated for reward in rewards])

    def begin(self) -> None:
        """Episodes begin in the first room."""
        self._kept = []

    def observe(self, step: LockStep, live: Bool[np.ndarray, " lanes"]) -> None:
        """Keep the room each lane came to."""
        if self._groups:
            self._kept.append((step.rooms, live))

    def learn(self) -> Float[np.ndarray, "steps lanes"]:
        """Bonuses of the episode's steps, evaluated before the predictors learn from them."""
        if not self._groups:
            return np.zeros((0, self._lanes))
        rooms, live = (np.stack(each) for each in zip(*self._kept, strict=True))
        found = np.zeros(rooms.shape)
        for lanes, group in self._groups:
            found[:, lanes] = group.learn(rooms[:, lanes], live[:, lanes])
        return self._scale * found * np.where(self._gated, first_visits(rooms, live), True)


def first_visits(rooms: Int[np.ndarray, "steps lanes"], live: Bool[np.ndarray, "steps lanes"]) -> np.ndarray:
    """Which steps came to a room for the first time in an episode that began in the first room."""
    lanes = np.arange(rooms.shape[1])
    seen = np.zeros((rooms.shape[1], int(rooms.max()) + 1), bool)
    seen[:, 0] = True
    first = np.zeros(rooms.shape, bool)
    for step, (room, runs) in enumerate(zip(rooms, live, strict=True)):
        first[step] = runs & ~seen[lanes, room]
        seen[lanes, room] |= runs
    return first


class _Group:
    """Networks of lanes with one learning rate and number of steps, stacked."""

    def __init__(self, members: list[RandomNetworkDistillation], learning_rate: float, steps: int) -> None:
        self.members, self.steps = members, steps
        self._target = _Stack([member.networks.target for member in members])
        self._predictor = _Stack([member.networks.predictor for member in members])
        self._optimiser = torch.optim.Adam(self._predictor.learned(), lr=learning_rate)
        self._shown = np.eye(members[0].shape[0], dtype=np.float32)

    def learn(self, rooms: Int[np.ndarray, "steps lanes"], live: Bool[np.ndarray, "steps lanes"]) -> np.ndarray:
        """Bonuses of these steps, then the moments and the predictors learn from them."""
        with torch.no_grad():
            errors = self._errors(self._standardised()).double().numpy()
        paid, visits = np.zeros(rooms.shape), np.zeros((len(self.members), len(self._shown)), np.float32)
        for lane, member in enumerate(self.members):
            runs = live[:, lane]
            came = rooms[runs, lane]
            paid[runs, lane] = member.filter.normalised(errors[lane, came][:, None])[:, 0]
            member.moments.update(self._shown[came])
            visits[lane] = np.bincount(came, minlength=len(self._shown)) / len(came)
        inputs, weights = self._standardised(), torch.as_tensor(visits)
        for _ in range(self.steps):
            self._optimiser.zero_grad()
            (self._errors(inputs) * weights).sum().backward()
            self._optimiser.step()
        return paid

    def _errors(self, inputs: Float[Tensor, "lanes rooms f"]) -> Float[Tensor, "lanes rooms"]:
        with torch.no_grad():
            target = self._target(inputs)
        return (target - self._predictor(inputs)).square().mean(-1)

    def _standardised(self) -> Tensor:
        """Every room as each lane's networks see it."""
        means = np.stack([member.moments.mean for member in self.members])[:, None]
        scales = np.sqrt(np.stack([member.moments.variance for member in self.members]))[:, None]
        return torch.as_tensor(np.clip((self._shown - means) / scales, -CLIP, CLIP).astype(np.float32))


class _Stack:
    """Networks of one form as one: each linear layer multiplies all lanes' inputs by their own weights."""

    def __init__(self, networks: list[nn.Sequential]) -> None:
        self._layers: list[tuple[Tensor, Tensor] | nn.Module] = []
        for alike in zip(*networks, strict=True):
            if isinstance(alike[0], nn.Linear):
                weights = torch.stack([layer.weight.detach().T for layer in alike])
                self._layers.append((weights, torch.stack([layer.bias.detach() for layer in alike])[:, None]))
            else:
                self._layers.append(alike[0])

    def learned(self) -> list[Tensor]:
        """The weights, which from now on have gradients."""
        pairs = [layer for layer in self._layers if isinstance(layer, tuple)]
        return [weight.requires_grad_() for pair in pairs for weight in pair]

    def __call__(self, inputs: Float[Tensor, "lanes n f"]) -> Float[Tensor, "lanes n g"]:
        for layer in self._layers:
            inputs = torch.baddbmm(layer[1], inputs, layer[0]) if isinstance(layer, tuple) else layer(inputs)
        return inputs
