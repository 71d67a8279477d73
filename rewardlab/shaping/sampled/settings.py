"""Settings of BARFI: the published ones of each world, and ours."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from rewardlab.checks import check_choice, check_scalar
from rewardlab.shaping.sampled.ascent import Optimiser
from rewardlab.shaping.sampled.curvature import Curvature

__all__ = ["BarfiSettings"]

Baseline = Literal["none", "running"]


@dataclass(frozen=True)
class BarfiSettings:
    """What `Barfi` does and how fast; the defaults are the published maze with the curvature that works.

    Args:
        discount: Of the primary return, in [0, 1].
        entropy_weight: Of the entropy in the inner objective, and while warming up.
        policy_learning_rate: Of the policy.
        blend_learning_rate: Of the blend's weights.
        discount_learning_rate: Of the logit of the inner discount; 0 keeps the discount.
        optimiser: Of all three.
        reward_penalty: Times the sum of the norms of the blend's weights.
        discount_penalty: Times the inner discount.
        curvature: How the inverse Hessian is approximated; see `solve_curvature`. "exact" is right only on episodes of
            the policy itself, and those of the buffer are older: it is biased here, and noisy.
        loops: Terms of the Neumann series beyond the first.
        step: Its step size alpha, also the factor of the first-order form.
        damping: Added to the curvature before it is inverted.
        iterations: Of the conjugate gradient method, at most.
        normalise: Whether the hyper-gradient, of blend and discount together, is scaled to norm 1 before the penalties
            are subtracted: else their share depends on step, loops and the scale of the rewards. Off as published.
        update_every: Episodes between updates of blend and policy ("delta").
        inner_steps: Steps on the policy an update, times `update_every`.
        first_steps: Additional steps at the switch from warm-up to blend; and episodes (plus `inner_steps`) before it.
        buffer: Episodes kept.
        batch_size: Episodes of an inner step.
        curvature_batch: Times `batch_size` episodes for the inner gradient and its curvature.
        warm_up: Whether the policy is trained on primary + auxiliary reward until the switch; else it rests.
        catch_up: Whether the additional steps at the switch are taken.
        baseline: `running` subtracts a running mean of the returns, as the published HalfCheetah code.
        auxiliary_scale: Factor of all auxiliary rewards.
        horizon: Most steps of an episode; None: the environment's time limit.

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007), official code. Where the authors
        tuned over a list, the named constructors take the value most runs of ours used and the others by keyword.
    """

    discount: float = 0.99
    entropy_weight: float = 0.25
    policy_learning_rate: float = 0.005
    blend_learning_rate: float = 0.005
    discount_learning_rate: float = 0.005
    optimiser: Optimiser = "rmsprop"
    reward_penalty: float = 0.0
    discount_penalty: float = 0.25
    curvature: Curvature = "fisher"
    loops: int = 5
    step: float = 5e-4
    damping: float = 1e-3
    iterations: int = 20
    normalise: bool = True
    update_every: int = 3
    inner_steps: int = 5
    first_steps: int = 150
    buffer: int = 1000
    batch_size: int = 1
    curvature_batch: int = 15
    warm_up: bool = True
    catch_up: bool = True
    baseline: Baseline = "none"
    auxiliary_scale: float = 1.0
    horizon: int | None = None

    def __post_init__(self):
        check_scalar("discount", self.discount, low=0.0, high=1.0)
        for name in ("entropy_weight", "blend_learning_rate", "discount_learning_rate", "damping"):
            check_scalar(name, getattr(self, name), low=0.0)
        for name in ("policy_learning_rate", "step"):
            check_scalar(name, getattr(self, name), low=0.0, open_low=True)
        for name in ("reward_penalty", "discount_penalty", "auxiliary_scale"):
            check_scalar(name, getattr(self, name))
        for name in ("iterations", "update_every", "inner_steps", "buffer", "batch_size", "curvature_batch"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        for name in ("loops", "first_steps"):
            check_scalar(name, getattr(self, name), low=0, whole=True)
        if self.horizon is not None:
            check_scalar("horizon", self.horizon, low=1, whole=True)
        for name, choices in (("optimiser", Optimiser), ("curvature", Curvature), ("baseline", Baseline)):
            check_choice(name, getattr(self, name), get_args(choices))

    def published(self) -> "BarfiSettings":
        """The same with the published hyper-gradient: the surrogate's Neumann series, not normalised."""
        return replace(self, curvature="neumann", normalise=False)

    @classmethod
    def maze(cls, **changes) -> "BarfiSettings":
        """Published settings of the continuous maze: 2000 episodes, linear blend with the primary's weight fixed."""
        return replace(cls().published(), **changes)

    @classmethod
    def cartpole(cls, **changes) -> "BarfiSettings":
        """Published settings of CartPole: 1000 episodes, linear blend with the primary's weight learned."""
        rates = dict.fromkeys(("policy_learning_rate", "blend_learning_rate", "discount_learning_rate"), 0.001)
        return replace(cls(**rates, buffer=10_000).published(), **changes)

    @classmethod
    def mountain_car(cls, **changes) -> "BarfiSettings":
        """Published settings of MountainCar: 500 episodes of at most 2000 steps, no catching up at the switch."""
        rates = {"policy_learning_rate": 0.0625, "blend_learning_rate": 0.0625, "discount_learning_rate": 0.0156}
        kept = {"first_steps": 50, "buffer": 50, "catch_up": False, "horizon": 2000}
        return replace(cls(**rates, **kept).published(), **changes)

    @classmethod
    def half_cheetah(cls, **changes) -> "BarfiSettings":
        """Published settings of HalfCheetah: 10000 episodes, scalar blend, no warm-up, running baselines, Adam."""
        rates = {"policy_learning_rate": 1e-4, "blend_learning_rate": 0.0025, "discount_learning_rate": 0.0}
        weights = {"entropy_weight": 0.0, "discount_penalty": 0.0, "reward_penalty": 1.0}
        kept = {"first_steps": 30, "buffer": 50, "warm_up": False, "baseline": "running", "optimiser": "adam"}
        return replace(cls(**rates, **weights, **kept).published(), **changes)
