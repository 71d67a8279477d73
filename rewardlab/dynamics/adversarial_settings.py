"""How the adversarial training of a dynamics reward is run, and why the defaults are what they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rewardlab.checks import check_choice, check_scalar, check_sizes
from rewardlab.dynamics.behaviour import BehaviourSettings
from rewardlab.dynamics.discriminator import TRANSITION_INPUTS
from rewardlab.dynamics.reward_formula import RESCALES

__all__ = ["AdversarialSettings", "EntropyBonus", "ProximalSettings"]


@dataclass(frozen=True)
class ProximalSettings:
    """How the generator is updated by proximal policy optimisation.

    Args:
        epochs: Passes over the rollouts of an iteration, at least 1.
        batch_size: Transitions a step, at least 1: many, so that the generator does not overtake the discriminator.
        clip: Half width of the interval around 1 within which a ratio of densities counts, above 0.
        trace: Decay of the advantage estimate (generalised advantage estimation), in [0, 1].
        value_learning_rate: Of Adam, for the value of an observation and action, above 0.
        entropy_weight: On the entropy of the model's next observations, at least 0.

    Raises:
        TypeError, ValueError: If a number is out of range.
    """

    epochs: int = 2
    batch_size: int = 2560
    clip: float = 0.2
    trace: float = 0.95
    value_learning_rate: float = 1e-3
    entropy_weight: float = 0.0

    def __post_init__(self) -> None:
        check_scalar("epochs", self.epochs, low=1, whole=True)
        check_scalar("batch_size", self.batch_size, low=1, whole=True)
        check_scalar("clip", self.clip, low=0, open_low=True)
        check_scalar("trace", self.trace, low=0, high=1)
        check_scalar("value_learning_rate", self.value_learning_rate, low=0, open_low=True)
        check_scalar("entropy_weight", self.entropy_weight, low=0)


@dataclass(frozen=True)
class EntropyBonus:
    """A bonus on the entropy of the discriminator's verdicts, with a coefficient that keeps it at a target.

    Args:
        coefficient: First value, above 0.
        learning_rate: Of Adam, on the coefficient's logarithm, above 0.
        target: Entropy to keep, in nats; log 2 = 0.693 is a discriminator that knows nothing.

    Raises:
        TypeError, ValueError: If a number is out of range.

    Source:
        The settings that the released checkpoints of MOREC (arXiv 2310.05422) name; the code that used them was not
        released.
    """

    coefficient: float = 1e-3
    learning_rate: float = 1e-2
    target: float = 0.35

    def __post_init__(self) -> None:
        check_scalar("coefficient", self.coefficient, low=0, open_low=True)
        check_scalar("learning_rate", self.learning_rate, low=0, open_low=True)
        check_scalar("target", self.target, low=0, high=0.6932)


@dataclass(frozen=True)
class AdversarialSettings:
    """How discriminator and generator are trained against one another.

    The defaults keep the discriminator ahead and the whole history: on the refrigerator's one-step errors a slow
    generator (3e-4), ten discriminator steps an iteration and snapshots from the very first iterations made a filter
    that helps; a fast generator (2e-3), three steps and late snapshots made one that is worse than none.

    Args:
        iterations: At least 1.
        generator_update: "reparameterised": by back-propagation of the reward through the rollouts, which is how the
            numbers above were measured; "ppo": by a clipped policy gradient, which is what the paper is remembered to
            use.
        generator_hidden: Hidden layers of the generator (ReLU).
        generator_learning_rate: Of Adam, above 0.
        discriminator_hidden: Hidden layers of the discriminator (ReLU).
        transition_input: What the discriminator is shown of a transition; see `Discriminator`.
        discriminator_learning_rate: Of Adam, above 0.
        discriminator_steps: Steps an iteration, at least 1.
        batch_size: Recorded transitions and generated ones a discriminator step, and rollouts a generator step.
        rollout_length: Steps of a rollout, at least 1.
        discount: Of the generator's rewards along a rollout, in [0, 1].
        gradient_clip: Largest norm of the generator's gradient, above 0.
        snapshots: How many discriminators the reward averages at most, at least 1; they are taken at equal intervals.
        history: Share of the iterations, counted from the last, from which snapshots are kept, in (0, 1].
        rescale: "official", "stored" or "none"; see `DynamicsReward`.
        logit_clip: Logits beyond it, either way, give the discriminator no gradient; None: all do.
        entropy_bonus: None: no bonus.
        behaviour: How the actions are cloned.
        proximal: For "ppo" only.

    Raises:
        TypeError, ValueError: If a number is out of range.
    """

    iterations: int = 400
    generator_update: Literal["reparameterised", "ppo"] = "reparameterised"
    generator_hidden: Sequence[int] = (64, 64)
    generator_learning_rate: float = 3e-4
    discriminator_hidden: Sequence[int] = (64, 64)
    transition_input: str = "difference"
    discriminator_learning_rate: float = 1e-3
    discriminator_steps: int = 10
    batch_size: int = 256
    rollout_length: int = 5
    discount: float = 0.99
    gradient_clip: float = 1.0
    snapshots: int = 40
    history: float = 1.0
    rescale: str = "official"
    logit_clip: float | None = None
    entropy_bonus: EntropyBonus | None = None
    behaviour: BehaviourSettings = field(default_factory=BehaviourSettings)
    proximal: ProximalSettings = field(default_factory=ProximalSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "generator_hidden", check_sizes("generator_hidden", self.generator_hidden))
        object.__setattr__(self, "discriminator_hidden", check_sizes("discriminator_hidden", self.discriminator_hidden))
        check_choice("generator_update", self.generator_update, ("reparameterised", "ppo"))
        check_choice("transition_input", self.transition_input, TRANSITION_INPUTS)
        check_choice("rescale", self.rescale, RESCALES)
        for name in ("iterations", "discriminator_steps", "batch_size", "rollout_length", "snapshots"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        for name in ("generator_learning_rate", "discriminator_learning_rate", "gradient_clip"):
            check_scalar(name, getattr(self, name), low=0, open_low=True)
        check_scalar("discount", self.discount, low=0, high=1)
        check_scalar("history", self.history, low=0, high=1, open_low=True)
        if self.logit_clip is not None:
            check_scalar("logit_clip", self.logit_clip, low=0, open_low=True)

    @property
    def snapshot_interval(self) -> int:
        """Iterations from one snapshot to the next; the first is taken in the first iteration."""
        return math.ceil(self.history * self.iterations / self.snapshots)

    @property
    def snapshots_kept(self) -> int:
        """Snapshots that the share `history` of all iterations holds, at most `snapshots`."""
        return math.ceil(self.history * self.iterations / self.snapshot_interval)
