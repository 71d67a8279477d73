"""A Stable-Baselines3 replay buffer of two parts: what was recorded, and what a dynamics model made up."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from rewardlab.checks import check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = ["MixedReplayBuffer", "scale_actions", "unscale_actions"]

_TOLERANCE = 1e-5  # of the half-width of an action's interval: what float32 and a clipping loader leave


def scale_actions(actions: Any, space: gymnasium.spaces.Box) -> Any:
    """Actions of the environment, in `space`, as the policy and the critics see them: in [-1, 1].

    Args:
        actions: `(..., m)`, NumPy array or torch tensor.
        space: With finite bounds.

    Returns:
        The same kind, dtype and device.
    """
    low, high = _bounds(space, actions)
    return 2 * ((actions - low) / (high - low)) - 1


def unscale_actions(actions: Any, space: gymnasium.spaces.Box) -> Any:
    """The inverse of `scale_actions`: from [-1, 1] to the environment's actions."""
    low, high = _bounds(space, actions)
    return low + 0.5 * (actions + 1) * (high - low)


class MixedReplayBuffer(ReplayBuffer):
    """Recorded transitions, all of them always, and the newest made-up ones; batches hold a fixed share of each.

    A batch of b rows holds `int(b * real_fraction)` recorded rows first, then made-up ones; recorded ones only while
    nothing has been made up. Rows are drawn with replacement by a generator of its own. Stored rows lie on the device
    as tensors. `dones` are the terminals alone: a timeout never stops a value target.

    Args:
        buffer_size: Made-up rows kept; the oldest make room.
        observation_space: Box of vectors `(d,)`.
        action_space: Box `(m,)` with finite bounds; actions are given in it, and stored in [-1, 1].
        device: Of the tensors.
        n_envs: 1.
        optimize_memory_usage: False; as Stable-Baselines3 passes it.
        table: The recorded transitions. Rows whose next observation was not kept are left out unless terminal.
        real_fraction: Of each batch, in [0, 1].
        seed: Of the generator.

    Raises:
        ValueError: If a number or the bounds of a space are out of range, the table has other sizes than the spaces,
            none of its rows can be used, or one of its actions lies outside the action space (names it).

    Source: real share and the order of the parts as in yihaosun1124/OfflineRL-Kit and polixir/morec.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: gymnasium.spaces.Box,
        action_space: gymnasium.spaces.Box,
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        table: TransitionTable,
        real_fraction: float = 0.05,
        seed: int = 0,
    ):
        if n_envs != 1 or optimize_memory_usage:
            raise ValueError("n_envs and optimize_memory_usage are not supported: nothing is stepped here")
        capacity = check_scalar("buffer_size", buffer_size, low=1, whole=True)
        super().__init__(1, observation_space, action_space, device)  # its arrays are not used: ours are tensors
        self.buffer_size = capacity
        self.real_fraction = float(check_scalar("real_fraction", real_fraction, low=0, high=1))
        self.generator = torch.Generator().manual_seed(check_scalar("seed", seed, low=0, whole=True))
        self._check_sizes(table)
        self._real = self._of_table(table)
        self._made = {
            name: torch.empty((capacity, *column.shape[1:]), device=self.device) for name, column in self._real.items()
        }

    @property
    def real_size(self) -> int:
        """Recorded rows in use."""
        return len(self._real["rewards"])

    def real_count(self, batch_size: int) -> int:
        """Recorded rows among a batch drawn now; they come first."""
        return batch_size if self.size() == 0 else int(batch_size * self.real_fraction)

    def add_rollouts(
        self,
        observations: Float[torch.Tensor, "n d"],
        actions: Float[torch.Tensor, "n m"],
        rewards: Float[torch.Tensor, " n"],
        next_observations: Float[torch.Tensor, "n d"],
        terminals: Bool[torch.Tensor, " n"],
    ) -> None:
        """Add made-up transitions, in one copy; the oldest ones give way.

        Args:
            observations: `(n, d)`, n may be 0.
            actions: `(n, m)`, in the environment's action space.
            rewards: `(n,)`.
            next_observations: `(n, d)`.
            terminals: `(n,)` bool: where the value target stops.

        Raises:
            ValueError: If the rows of the columns differ in number, or a number is not finite; names the column.
        """
        columns = {
            "observations": observations,
            "actions": scale_actions(actions, self.action_space).clamp(-1, 1),
            "next_observations": next_observations,
            "dones": terminals.reshape(-1, 1),
            "rewards": rewards.reshape(-1, 1),
        }
        rows = len(observations)
        for name, column in columns.items():
            if column.shape != (wanted := (rows, *self._made[name].shape[1:])):
                raise ValueError(f"{name} has shape {tuple(column.shape)}, expected {tuple(wanted)}")
            if not torch.isfinite(column).all():
                raise ValueError(f"{name} of a rollout holds NaN or infinite numbers: the dynamics model diverged")
        kept = min(rows, self.buffer_size)
        start = (self.pos + rows - kept) % self.buffer_size
        first = min(kept, self.buffer_size - start)
        for name, column in columns.items():
            column = column[rows - kept :].to(self.device, torch.float32)
            self._made[name][start : start + first] = column[:first]
            self._made[name][: kept - first] = column[first:]
        self.full = self.full or self.pos + rows >= self.buffer_size
        self.pos = (self.pos + rows) % self.buffer_size

    def add(self, *arguments: Any, **options: Any) -> None:
        """Refused: nothing is stepped here; `add_rollouts` adds what a model made up."""
        raise NotImplementedError("a MixedReplayBuffer takes whole rollouts: use add_rollouts")

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """A batch: recorded rows first, then made-up ones.

        Args:
            batch_size: At least 1.
            env: None; as Stable-Baselines3 passes it.

        Returns:
            observations, actions in [-1, 1], next observations, dones `(b, 1)` and rewards `(b, 1)`, float32.
        """
        if env is not None:
            raise ValueError("observations are not normalised here: VecNormalize is not supported")
        real = self.real_count(batch_size)
        parts = [(self._real, self.real_size, real), (self._made, self.size(), batch_size - real)]
        indices = [
            (columns, torch.randint(size, (count,), generator=self.generator).to(self.device))
            for columns, size, count in parts
            if count
        ]
        drawn = {name: torch.cat([columns[name][index] for columns, index in indices]) for name in self._real}
        return ReplayBufferSamples(**drawn)

    def draw_starts(self, count: int) -> Float[torch.Tensor, "n d"]:
        """Recorded observations, drawn with replacement, for rollouts to start from."""
        index = torch.randint(self.real_size, (count,), generator=self.generator).to(self.device)
        return self._real["observations"][index]

    def reset(self) -> None:
        """Forget what was made up."""
        self.pos, self.full = 0, False

    def state_dict(self) -> dict[str, Any]:
        """Made-up rows, where the next goes, and the generator; the recorded rows are not in it."""
        made = {name: column[: self.size()].clone() for name, column in self._made.items()}
        return {"made": made, "position": self.pos, "full": self.full, "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If the rows are of another buffer: names the column.
        """
        full, position, rows = state["full"], state["position"], len(state["made"]["rewards"])
        if rows != (self.buffer_size if full else position):
            raise ValueError(f"the state holds {rows} made-up rows, which is not of a buffer of {self.buffer_size}")
        for name, column in self._made.items():
            kept = state["made"][name]
            if kept.shape[1:] != column.shape[1:]:
                raise ValueError(f"{name} of the state has shape {tuple(kept.shape)}, expected {tuple(column.shape)}")
            column[:rows] = kept.to(self.device)
        self.pos, self.full = position, full
        self.generator.set_state(state["generator"].cpu())

    def _check_sizes(self, table: TransitionTable) -> None:
        sizes = {"observation": table.observation_size, "action": table.action_size}
        for kind, size in sizes.items():
            shape = getattr(self, f"{kind}_space").shape
            if shape != (size,):
                raise ValueError(f"{kind}_space has shape {shape}, and the table {kind}s of size {size}")

    def _of_table(self, table: TransitionTable) -> dict[str, torch.Tensor]:
        usable = np.flatnonzero(table.next_valid | table.terminals)
        if len(usable) == 0:
            raise ValueError("no row of the table can be used: none is terminal or has a valid next observation")
        actions = scale_actions(table.actions, self.action_space)
        if (outside := np.abs(actions) > 1 + _TOLERANCE).any():
            row, column = map(int, np.argwhere(outside)[0])
            low, high = self.action_space.low[column], self.action_space.high[column]
            raise ValueError(
                f"actions[{row}, {column}] of the table is {table.actions[row, column]:g}, expected {low:g} to {high:g}"
            )
        columns = {
            "observations": table.observations,
            "actions": actions.clip(-1, 1),
            "next_observations": table.next_observations,
            "dones": table.terminals[:, None],
            "rewards": table.rewards[:, None],
        }
        return {
            name: torch.as_tensor(np.asarray(column[usable], np.float32), device=self.device)
            for name, column in columns.items()
        }


def _bounds(space: gymnasium.spaces.Box, like: Any) -> tuple[Any, Any]:
    low, high = space.low, space.high
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise ValueError(f"the action space is {space}, expected finite bounds, each low below its high")
    if isinstance(like, torch.Tensor):
        return torch.as_tensor(low).to(like), torch.as_tensor(high).to(like)
    return low, high
