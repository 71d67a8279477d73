"""Rollout buffers of Stable-Baselines3 that add intrinsic rewards when a rollout is complete."""

from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer

__all__ = ["IntrinsicPay", "Purse", "paying"]


@runtime_checkable
class Purse(Protocol):
    """Who holds the intrinsic rewards of the steps of a rollout."""

    pending: int
    """Steps whose rewards nobody took."""

    def take(self) -> np.ndarray:
        """Rewards (steps, environments) of the pending steps, which then are no longer pending."""

    def forget(self) -> None:
        """Let go of the pending steps unpaid."""


class IntrinsicPay:
    """Adds the rewards of a `Purse` to a rollout buffer's, before returns and advantages are made of them.

    The callbacks of Stable-Baselines3 come after that, and the environments before it: rewards changed in a callback
    have no effect, and those of a step have aged when the learner uses them. What the algorithm has added to the reward
    of a cut episode's last step, the discounted value of its last state, stays as it is.
    """

    purse: Purse
    _paid = False

    def reset(self) -> None:
        """Begin a rollout; the steps of one that was broken off are never paid."""
        super().reset()
        self._paid = False
        if self.purse.pending:
            self.purse.forget()

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: np.ndarray) -> None:
        """Pay the rollout, once, and compute its returns and advantages.

        Raises:
            ValueError: If the purse holds rewards of other steps than those of this rollout.
        """
        if not self._paid:
            if self.purse.pending != self.buffer_size:
                raise ValueError(
                    f"the rollout has {self.buffer_size} steps, but VecIntrinsicReward saw {self.purse.pending}: "
                    f"something else stepped these environments in between (an evaluation in the middle of a rollout?) "
                    f"or the model learns in others since `with_intrinsic_rewards`"
                )
            self.rewards += self.purse.take()
            self._paid = True
        super().compute_returns_and_advantage(last_values, dones)


def paying(buffer: RolloutBuffer, purse: Purse) -> Any:
    """A rollout buffer that pays intrinsic rewards and is otherwise like this one: dict, recurrent, maskable, your own.

    Raises:
        ValueError: If it does so already.
    """
    if isinstance(buffer, IntrinsicPay):
        raise ValueError("the rollout buffer of this model pays intrinsic rewards already; attach them once")
    kind = _paying_class(type(buffer))
    twin = kind.__new__(kind)  # its kind is known, the arguments it was made with are not
    twin.__dict__.update(buffer.__dict__, purse=purse)
    return twin


@cache
def _paying_class(kind: type[RolloutBuffer]) -> type[RolloutBuffer]:
    return type(f"Intrinsic{kind.__name__}", (IntrinsicPay, kind), {"__doc__": kind.__doc__, "__module__": __name__})
