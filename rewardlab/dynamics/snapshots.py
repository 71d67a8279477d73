"""Which snapshots of a discriminator in training are kept, and how they become one dynamics reward."""

from collections import deque
from collections.abc import Mapping

import torch

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.dynamics_reward import DynamicsReward

__all__ = ["SnapshotQueue"]


class SnapshotQueue:
    """The last snapshots of a discriminator, of which every j-th goes into the dynamics reward.

    At the saddle point of adversarial training the discriminator answers 1/2 everywhere, so the last one knows nothing:
    what was learned on the way is kept. Only the last `keep_last` snapshots are held, whatever the length of training.

    Args:
        keep_last: Snapshots held.
        every: Of those, the first and every `every`-th after it are used: at most `ceil(keep_last / every)`.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a number is below 1.

    Source: step 3 of the method (official code): 400 with every 10th for MOPO (40), every 40th for MOBILE (10).
    """

    def __init__(self, keep_last: int = 400, every: int = 10):
        self.keep_last = check_scalar("keep_last", keep_last, low=1, whole=True)
        self.every = check_scalar("every", every, low=1, whole=True)
        self._snapshots: deque[dict[str, torch.Tensor]] = deque(maxlen=keep_last)
        self._ends: deque[tuple[float, float]] = deque(maxlen=keep_last)
        self.added = 0

    def __len__(self) -> int:
        return len(self._snapshots)

    def add(self, discriminator: Discriminator, *, low: float, high: float) -> None:
        """Copy the weights as they are now.

        Args:
            discriminator: In training.
            low: Its mean logit on generated transitions now.
            high: On real ones.

        Raises:
            ValueError: If a mean logit is not finite: training has diverged.
        """
        for name, end in (("low", low), ("high", high)):
            check_scalar(name, end)
        self._snapshots.append({name: value.detach().clone() for name, value in discriminator.named_parameters()})
        self._ends.append((float(low), float(high)))
        self.added += 1

    def chosen(self) -> list[int]:
        """Places, in order of training and counted from the first ever added, of the snapshots that are used."""
        return list(range(self.added - len(self), self.added))[:: self.every]

    def stack(
        self,
        discriminator: Discriminator,
        *,
        kind: str,
        rescale: str = "official",
        unordered: str = "error",
        probability_clip: float = 1.0,
        facts: Mapping[str, object] | None = None,
    ) -> DynamicsReward:
        """The dynamics reward of the chosen snapshots.

        Args:
            discriminator: The one that was trained; its scalers are taken over.
            kind: See `DynamicsReward`.
            rescale: See `DynamicsReward`.
            unordered: What to do with a snapshot whose `high` is not above its `low` where there is a rescale:
                "error", or "drop" to leave it out; `facts["snapshots_dropped"]` counts them.
            probability_clip: See `DynamicsReward`.
            facts: Kept with the reward.

        Raises:
            ValueError: If nothing was added, or no snapshot is left.
        """
        check_choice("unordered", unordered, ("error", "drop"))
        if not len(self):
            raise ValueError("the queue is empty, expected at least one snapshot")
        kept = [(self._snapshots[i], *self._ends[i]) for i in range(0, len(self), self.every)]
        chosen = kept if unordered == "error" or rescale == "none" else [part for part in kept if part[2] > part[1]]
        if not chosen:
            raise ValueError(
                f"none of {len(kept)} snapshots has high > low, expected at least one: nothing was learned"
            )
        low, high = (discriminator.transition_factor.new_tensor([part[end] for part in chosen]) for end in (1, 2))
        return DynamicsReward(
            discriminator,
            [part[0] for part in chosen],
            low,
            high,
            kind=kind,
            rescale=rescale,
            probability_clip=probability_clip,
            facts={**(facts or {}), "snapshots_dropped": len(kept) - len(chosen)},
        )

    def state_dict(self) -> dict:
        """All that is needed to go on: tensors and numbers."""
        return {
            "keep_last": self.keep_last,
            "every": self.every,
            "added": self.added,
            "snapshots": [dict(snapshot) for snapshot in self._snapshots],
            "ends": [list(ends) for ends in self._ends],
        }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: If the state is of a queue that keeps another number.
        """
        for name in ("keep_last", "every"):
            if state[name] != getattr(self, name):
                raise ValueError(f"the state has {name} {state[name]}, this queue {getattr(self, name)}")
        self._snapshots = deque((dict(part) for part in state["snapshots"]), maxlen=self.keep_last)
        self._ends = deque((tuple(ends) for ends in state["ends"]), maxlen=self.keep_last)
        self.added = state["added"]
