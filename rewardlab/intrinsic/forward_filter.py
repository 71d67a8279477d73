"""Scale of a reward stream: the standard deviation of its discounted running sums."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from rewardlab.checks import check_finite, check_scalar
from rewardlab.intrinsic.running_moments import RunningMoments

__all__ = ["ForwardFilter"]


class ForwardFilter:
    """Divides rewards by the standard deviation of `F_t = discount * F_(t-1) + r_t`, over all environments and time.

    Each environment's sum starts at its first reward and is never reset, neither at episode ends nor between rollouts.
    The variance is a population variance that starts at 1 with a weight of 1e-4 samples. No mean is taken off and
    nothing is clipped, so signs and zeros stay.

    Args:
        environments: How many step at once.
        discount: Of the running sums, in [0, 1]. Of independent rewards of standard deviation s, the sums have
            `s / sqrt(1 - discount ** 2)`.

    Raises:
        ValueError: If a number is out of range.

    Source: the official code of random network distillation (arXiv 1810.12894).

    Example:
        >>> ForwardFilter(1).sums(np.ones((3, 1))).round(4).ravel().tolist()
        [1.0, 1.99, 2.9701]
    """

    def __init__(self, environments: int, *, discount: float = 0.99) -> None:
        self.environments = check_scalar("environments", environments, low=1, whole=True)
        self.discount = check_scalar("discount", discount, low=0, high=1)
        self.moments = RunningMoments()
        self._last = np.zeros(environments)

    def sums(self, rewards: Float[np.ndarray, "steps n"]) -> Float[np.ndarray, "steps n"]:
        """Running sums after each of these steps, which the filter goes on from; the variance stays as it was.

        Raises:
            ValueError: If the rewards are of another number of environments, or one is not finite.
        """
        rewards = check_finite("rewards", np.asarray(rewards, float))
        if rewards.ndim != 2 or rewards.shape[1] != self.environments:
            raise ValueError(f"rewards has shape {rewards.shape}, expected (steps, {self.environments})")
        found = np.empty_like(rewards)
        for step, row in enumerate(rewards):
            self._last = found[step] = self.discount * self._last + row
        self._last = self._last.copy()
        return found

    def normalised(self, rewards: Float[np.ndarray, "steps n"]) -> Float[np.ndarray, "steps n"]:
        """Take in a rollout of rewards, then divide it by the new scale.

        Raises:
            ValueError: If the rewards are of another number of environments, or one is not finite.
        """
        found = self.sums(rewards)
        if found.size:
            self.moments.update(found.ravel())
        return np.asarray(rewards, float) / self.scale

    @property
    def scale(self) -> float:
        """Standard deviation of the running sums so far; 1 before there are any."""
        return float(np.sqrt(self.moments.variance))

    def state_dict(self) -> dict[str, Any]:
        """Sums and moments."""
        return {"last": self._last.copy(), "moments": self.moments.state_dict(), "discount": self.discount}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state is of another discount or number of environments.
        """
        if state["discount"] != self.discount or len(state["last"]) != self.environments:
            raise ValueError(
                f"the state has discount {state['discount']} and {len(state['last'])} environments, "
                f"this filter {self.discount} and {self.environments}"
            )
        self._last = np.array(state["last"], float)
        self.moments.load_state_dict(state["moments"])
