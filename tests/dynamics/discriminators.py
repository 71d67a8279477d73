"""Small discriminators, dynamics rewards and tables that several tests build on."""

import numpy as np
import torch

from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.transition_table import TransitionTable


def table_of(rows: int = 60, *, seed: int = 0, invalid: int = 0) -> TransitionTable:
    """A noisy linear world with three observations, the last of them constant, and one action; one-step episodes."""
    rng = np.random.default_rng(seed)
    observations = np.column_stack([rng.uniform(-2, 6, (rows, 2)), np.full(rows, 5.0)]).astype(np.float32)
    actions = rng.uniform(-3, 1, (rows, 1)).astype(np.float32)
    change = np.column_stack([-0.2 * observations[:, 0] + actions[:, 0], 0.3 * observations[:, 1], np.zeros(rows)])
    change[:, :2] += 0.1 * rng.standard_normal((rows, 2))
    valid = np.arange(rows) >= invalid
    following = np.where(valid[:, None], observations + change, observations).astype(np.float32)
    return TransitionTable(
        observations=observations,
        actions=actions,
        rewards=np.zeros(rows, np.float32),
        next_observations=following,
        terminals=np.zeros(rows, bool),
        timeouts=valid.copy(),
        episode_ids=np.arange(rows),
        steps=np.zeros(rows, np.int64),
        next_valid=valid,
    )


def discriminator_of(seed: int = 0, **settings) -> Discriminator:
    """Untrained, scaled by `table_of`, small unless told otherwise."""
    settings = {"hidden": (7, 5), **settings}
    table = table_of()
    network = Discriminator(3, 1, **settings, generator=torch.Generator().manual_seed(seed))
    return network.fit_scalers(table.observations, table.actions, table.next_observations)


def reward_of(snapshots: int = 4, *, dtype=torch.float32, arguments=None, **settings) -> DynamicsReward:
    """Of untrained snapshots, with ends that differ from one to the next."""
    networks = [discriminator_of(seed, **settings).to(dtype) for seed in range(snapshots)]
    low = torch.linspace(-0.3, -0.1, snapshots, dtype=dtype)
    high = torch.linspace(0.1, 0.6, snapshots, dtype=dtype)
    states = [network.state_dict() for network in networks]
    return DynamicsReward(networks[0], states, low, high, **{"kind": "test", **(arguments or {})})


def rows_of(table: TransitionTable, dtype=torch.float32) -> list[torch.Tensor]:
    """Observations, actions and next observations as tensors."""
    return [torch.from_numpy(part).to(dtype) for part in (table.observations, table.actions, table.next_observations)]
