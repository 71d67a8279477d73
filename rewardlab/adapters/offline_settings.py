"""What an offline training is told: its host, its rollouts and its learning rates."""

from dataclasses import dataclass

from rewardlab.checks import check_choice, check_scalar, check_sizes

__all__ = ["OfflineSettings"]

_HOSTS = ("plain", "mopo", "mobile")
_TRUNCATIONS = ("terminal", "bootstrap", "drop")


@dataclass(frozen=True, kw_only=True)
class OfflineSettings:
    """Of one training; the defaults are the launch scripts' of polixir/morec.

    Args:
        host: "plain": SAC on the model's rewards; "mopo": they are lowered by `penalty_weight` times the model's
            penalty; "mobile": the critic's target is, by `penalty_weight` times its Bellman inconsistency.
        penalty_weight: lambda of MOPO, beta of MOBILE; at least 0, and 0 for the plain host.
        nonnegative_target: MOBILE: whether targets below 0 are raised to 0.
        deterministic_backup: MOBILE: whether the entropy term is left out of the target.
        successor_samples: MOBILE: next observations drawn from each elite.
        updates: Of the whole training; the cosine of the actor's learning rate ends there.
        batch_size: Rows of an update.
        real_fraction: Of each batch that is recorded rows.
        rollout_every: Updates between rollouts; one *round* is a rollout and these updates.
        rollout_batch: Recorded observations that rollouts start from.
        horizon: Most steps of a rollout.
        retained: Rollouts of full length that the buffer holds.
        truncation: What a rejected transition becomes: see `rewardlab.dynamics.rollouts.rollout`.
        hidden: Sizes of the hidden layers of actor and critics.
        discount: Of the value targets, in [0, 1).
        target_step: Polyak step of the target critics ("tau").
        actor_learning_rate: At the start; falls to 0 along a half cosine.
        critic_learning_rate: Constant.
        temperature_learning_rate: Of the entropy's weight ("alpha").
        temperature: None: learned, from 1 on; else the entropy's weight for good.
        target_entropy: None: minus the number of actions.

    Raises:
        ValueError: Names the field that is out of range, or that the host cannot use.
        TypeError: Names the field that is no number.
    """

    host: str = "plain"
    penalty_weight: float = 0.0
    nonnegative_target: bool = True
    deterministic_backup: bool = False
    successor_samples: int = 10
    updates: int = 3_000_000
    batch_size: int = 256
    real_fraction: float = 0.05
    rollout_every: int = 1000
    rollout_batch: int = 2000
    horizon: int = 100
    retained: int = 5
    truncation: str = "terminal"
    hidden: tuple[int, ...] = (256, 256)
    discount: float = 0.99
    target_step: float = 0.005
    actor_learning_rate: float = 1e-4
    critic_learning_rate: float = 3e-4
    temperature_learning_rate: float = 1e-4
    temperature: float | None = None
    target_entropy: float | None = None

    def __post_init__(self) -> None:
        check_choice("host", self.host, _HOSTS)
        check_choice("truncation", self.truncation, _TRUNCATIONS)
        counts = ("successor_samples", "updates", "batch_size", "rollout_every", "rollout_batch", "horizon", "retained")
        for name in counts:
            check_scalar(name, getattr(self, name), low=1, whole=True)
        object.__setattr__(self, "hidden", check_sizes("hidden", self.hidden))
        for name in ("actor", "critic", "temperature"):
            check_scalar(f"{name}_learning_rate", getattr(self, f"{name}_learning_rate"), low=0, open_low=True)
        check_scalar("penalty_weight", self.penalty_weight, low=0)
        check_scalar("real_fraction", self.real_fraction, low=0, high=1)
        check_scalar("target_step", self.target_step, low=0, high=1, open_low=True)
        if check_scalar("discount", self.discount, low=0) >= 1:
            raise ValueError(f"discount is {self.discount}, expected a number in [0, 1)")
        if self.temperature is not None:
            check_scalar("temperature", self.temperature, low=0)
        if self.target_entropy is not None:
            check_scalar("target_entropy", self.target_entropy)
        if self.host == "plain" and self.penalty_weight:
            raise ValueError(f"penalty_weight is {self.penalty_weight}, expected 0 with the plain host")
        if self.host != "mobile" and self.deterministic_backup:
            raise ValueError(f"deterministic_backup is of the host 'mobile', not of {self.host!r}")

    @property
    def buffer_size(self) -> int:
        """Made-up rows that the replay buffer holds."""
        return self.rollout_batch * self.horizon * self.retained
