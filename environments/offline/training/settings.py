"""Everything that decides the numbers of an offline training, and nothing else does."""

from dataclasses import dataclass, field
from typing import Literal

from environments.offline.formats.repairs import Repairs
from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.adversarial_settings import AdversarialSettings
from rewardlab.dynamics.ensemble_fit import EnsembleSettings
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings

__all__ = ["FilterSettings", "TrainingSettings"]


@dataclass(frozen=True)
class FilterSettings:
    """Which predictions are believed."""

    trainer: Literal["noise_ladder", "adversarial", "none"] = "noise_ladder"
    """What trains the dynamics reward: the noise ladder (ours), the adversarial game (the paper's); none: no filter."""
    selection: Literal["softmax", "argmax", "uniform"] = "softmax"
    """How a candidate is chosen by its dynamics reward."""
    temperature: float = 0.1
    """Of the softmax, in units of the dynamics reward."""
    threshold: float | None = None
    """Least dynamics reward of a step; one below it is rejected. The official 0.6 is meant for rewards of the
    adversarial trainer with the official rescale. None: `rejected_share` decides."""
    rejected_share: float | None = 0.01
    """Without a threshold: the share of steps to reject where the model knows the data; None: no step is rejected."""
    minimal_length: int = 0
    """Steps of a rollout that are never rejected."""

    def __post_init__(self) -> None:
        check_choice("trainer", self.trainer, ("noise_ladder", "adversarial", "none"))
        check_choice("selection", self.selection, ("softmax", "argmax", "uniform"))
        check_scalar("temperature", self.temperature, low=0, open_low=True)
        if self.threshold is not None:
            check_scalar("threshold", self.threshold)
        if self.rejected_share is not None:
            check_scalar("rejected_share", self.rejected_share, low=0, high=1)
        check_scalar("minimal_length", self.minimal_length, low=0, whole=True)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A run, whole: the same settings give the same numbers on the same machine."""

    data: str
    """A file, a Minari folder, or a registered name such as neorl2/DMSD-train or mujoco/hopper/medium-v0."""
    repairs: Repairs = field(default_factory=Repairs)
    """What may be done about data that are not as they should be; every repair is counted in `data.txt`."""
    environment: str | None = None
    """Gymnasium id where the policy is tried, such as Hopper-v5; without one it is tried in the model only."""
    task: str | None = None
    """Whose termination and normalised score: hopper, walker2d, halfcheetah, ...; by default the environment's."""
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    """The dynamics model."""
    filter: FilterSettings = field(default_factory=FilterSettings)
    """The dynamics reward and what it decides."""
    noise_ladder: NoiseLadderSettings = field(default_factory=NoiseLadderSettings)
    """Where it trains the dynamics reward."""
    adversarial: AdversarialSettings = field(default_factory=AdversarialSettings)
    """Where it does."""
    policy: OfflineSettings = field(default_factory=OfflineSettings)
    """The host (plain, mopo, mobile) and its SAC."""
    penalty: Literal["aleatoric", "pairwise_difference", "ensemble_standard_deviation"] = "aleatoric"
    """The uncertainty that MOPO takes off the rewards."""
    samples_per_elite: int = 2
    """Candidates that each elite of the ensemble offers."""
    clip: float | None = None
    """Predictions are clipped to plus and minus this; the official scripts have 25 for D4RL."""
    evaluate_every: int = 10
    """Rounds (a rollout and its updates) from one evaluation to the next."""
    evaluation_episodes: int = 10
    """Of each evaluation."""
    checkpoint_every: int = 10
    """Rounds from one checkpoint to the next."""
    seed: int = 0
    """Of everything."""
    device: str = "cpu"
    """cpu, cuda, cuda:1."""

    def __post_init__(self) -> None:
        for name in ("samples_per_elite", "evaluate_every", "evaluation_episodes", "checkpoint_every"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        check_scalar("seed", self.seed, low=0, whole=True)
        check_choice("penalty", self.penalty, ("aleatoric", "pairwise_difference", "ensemble_standard_deviation"))
        if self.policy.host != "plain" and self.policy.penalty_weight == 0:
            raise ValueError(
                f"the host {self.policy.host!r} with penalty_weight 0 is the plain one; give it a weight, such as "
                f"--policy.penalty-weight 1"
            )
        if self.clip is not None:
            check_scalar("clip", self.clip, low=0, open_low=True)
