"""Advice on actions as a gymnasium wrapper: look-back advice, which can be paid in time.

Look-ahead advice has no wrapper. What it pays for a step depends on the action taken next, and by then the step's
reward has been handed over. Paid a step late, and over the discount so that it sums to the same, it becomes look-back
advice, but for the first action's potential, and for that the correction that look-ahead advice needs when acting is
wrong. So take `LookBackAdvice` here and add nothing when acting, or shape whole trajectories, or transitions that know
their next action, with `rewardlab.shaping.advice.look_ahead_advice` and act by `advised_policy`.
"""

from collections.abc import Callable
from typing import Any, get_args

import gymnasium

from rewardlab.adapters.episode_ends import refuse_autoreset
from rewardlab.adapters.shaping_gymnasium import refuse_nested_shaping
from rewardlab.adapters.step_signals import COMBINED, RAW, SHAPING
from rewardlab.checks import check_choice, check_scalar
from rewardlab.shaping.potential_values import excerpt, one_number
from rewardlab.shaping.rule import OnTruncation, learner_bootstraps, shaping_reward
from rewardlab.shaping.running import ShapingSettings

__all__ = ["LookBackAdvice"]


class LookBackAdvice(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Adds look-back advice to the rewards: this action's potential, less the previous one's over the discount.

    Whatever the advice, an episode that terminates sums to 0, and from each step on the rest sums to what is settled
    by the action before. So nothing is gained by following the advice but an earlier reward for it, and nothing need
    be corrected when acting. The reward depends on the step before, though: a learner that takes it for a reward of
    state and action has no guarantee that we know of.

    Every step's `info` holds the environment's own reward ("reward/raw", which a reward pipeline inside has put there
    already), what was added ("reward/shaping") and the sum ("reward/combined"). Put it outside `TimeLimit` (where
    `gymnasium.make` leaves it anyway), or it takes the last step of a cut episode for any other; outside whatever
    clips or normalises rewards; and for a vector of environments around each of them.

    Args:
        env: The environment.
        potential: Function of the observation and the action taken on it that returns one finite number, the higher
            the more the action is advised, in units of return.
        discount: The learner's, in (0, 1].
        on_truncation: "keep" for learners that bootstrap where an episode is cut (those of Stable-Baselines3 do),
            "zero" for those that count nothing after it.

    Attributes:
        shaping_settings: What the learner must agree with; `DiscountCheck` for Stable-Baselines3 looks at it.

    Raises:
        TypeError: If the potential is no function.
        ValueError: If a number or choice is out of range, or the environment is inside `Autoreset`, whose reset steps
            are no transitions. At a step: if the potential is not one finite number, or shaping is inside already.

    Source: Wiewiora, Cottrell and Elkan 2003, from memory; the potential of 0 at termination is ours.

    Example:
        >>> env = LookBackAdvice(
        ...     gymnasium.make("CartPole-v1"),
        ...     lambda observation, action: float(action == (observation[2] > 0)),  # push to the side it falls to
        ...     discount=0.99,
        ... )
        >>> _ = env.reset(seed=0)
        >>> [round(env.step(action)[4]["reward/shaping"], 3) for action in (1, 0, 1)]
        [0.0, 1.0, -1.01]
    """

    def __init__(
        self,
        env: gymnasium.Env,
        potential: Callable[[Any, Any], float],
        discount: float,
        *,
        on_truncation: OnTruncation = "keep",
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, potential=potential, discount=discount, on_truncation=on_truncation
        )
        gymnasium.Wrapper.__init__(self, env)
        if not callable(potential):
            raise TypeError(f"potential: expected a function of observation and action, got {type(potential).__name__}")
        check_scalar("discount", discount, low=0.0, high=1.0, open_low=True)
        check_choice("on_truncation", on_truncation, get_args(OnTruncation))
        refuse_autoreset(env, "LookBackAdvice")
        self.potential = potential
        self.discount = float(discount)
        self.on_truncation = on_truncation
        self._observation = None
        self._previous = 0.0

    @property
    def shaping_settings(self) -> ShapingSettings:
        """What the learner must agree with."""
        return ShapingSettings(self.discount, self.on_truncation)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; no action comes before its first."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._previous = 0.0
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step, with the advice added to its reward."""
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("LookBackAdvice: call reset before the first step")
        # asked before the step, which may write the next observation into the same memory
        advised = self._evaluated(action)
        self._observation, raw, terminated, truncated, info = self.env.step(action)
        refuse_nested_shaping(info)
        counts = learner_bootstraps(terminated, truncated, self.on_truncation)
        shaping = shaping_reward(self._previous, advised, discount=self.discount, bootstraps=counts) / self.discount
        self._previous = advised
        shaped = raw + shaping
        info = {RAW: raw, **info, SHAPING: shaping, COMBINED: shaped}  # a reward pipeline inside has recorded its own
        return self._observation, shaped, terminated, truncated, info

    def _evaluated(self, action: Any) -> float:
        value = self.potential(self._observation, action)
        if type(value) is not float:
            value = one_number(value, self._observation)
        if value - value != 0.0:
            seen = f"{excerpt(self._observation)} and action {action!r}"
            raise ValueError(f"the potential of {seen} is {value}, expected a finite number")
        return value
