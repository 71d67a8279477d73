"""Everything that decides the numbers of a training in NetHack, and nothing else does."""

from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from rewardlab.checks import check_choice, check_scalar

__all__ = [
    "MESSAGE_KINDS",
    "AnnotationSettings",
    "FeatureSettings",
    "GameSettings",
    "IntrinsicSettings",
    "PolicySettings",
    "ShapingSettings",
    "TrainingSettings",
]

Kind = Literal[
    "none",
    "retrieval",
    "classification",
    "ranking",
    "cosine",
    "motif",
    "counts",
    "first_visit",
    "product",
    "rnd",
    "icm",
]
Potential = Literal["none", "depth", "maximal_depth", "score", "exploration", "health"]
Order = Literal["lifo", "fifo", "random"]

MESSAGE_KINDS = ("retrieval", "classification", "ranking", "cosine", "motif")  # paid for messages, with count discount
ANNOTATED = ("retrieval", "classification", "ranking")  # of these, the ones that ask while the agent plays
ANNOTATORS = ("oracle", "noisy", "endpoint")


@dataclass(frozen=True)
class GameSettings:
    """What is played."""

    task: str = "score"
    """A published task (score, staircase_level_3, oracle, ...), or minihack/<id> such as
    minihack/MiniHack-Room-Random-15x15-v0."""
    actions: str | None = None
    """task: the 23 of NLE's tasks; navigation: the 8 moves; None: the first, or those of the MiniHack level."""
    episode_steps: int = 1000
    """After which a game is cut off (truncated, not terminated)."""
    penalty: float | None = None
    """Reward of a step in which the game's clock stands still; None: the task's own, -0.01 in Score and NLE's tasks."""
    prompts: Literal["open", "confirm", "automatic"] | None = None
    """What is done about "What do you want to eat?": left open, answered by the next action, or answered at once with
    the first thing allowed; None: as the task has it."""

    def __post_init__(self) -> None:
        check_scalar("episode_steps", self.episode_steps, low=1, whole=True)
        if self.penalty is not None:
            check_scalar("penalty", self.penalty, high=0)


@dataclass(frozen=True)
class FeatureSettings:
    """What the policy sees of the game."""

    crop: int = 9
    """Side of the square of map around the player, odd."""
    visits: bool = True
    """Whether it says how often each of its cells was stood on: a substitute for memory."""

    def __post_init__(self) -> None:
        check_scalar("crop", self.crop, low=1, whole=True)
        if self.crop % 2 == 0:
            raise ValueError(f"crop is {self.crop}, expected an odd number: the player stands in its middle")


@dataclass(frozen=True)
class PolicySettings:
    """PPO as Stable-Baselines3 has it."""

    algorithm: Literal["ppo", "recurrent_ppo"] = "ppo"
    games: int = 8
    """Played side by side, in this process: pipes to other processes cost more than the game."""
    rollout_steps: int = 128
    """Of each game between two updates."""
    batch_size: int = 256
    epochs: int = 4
    learning_rate: float = 3e-4
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    hidden: tuple[int, ...] = (128, 128)
    """Layers of policy and value."""
    memory: int = 128
    """Units of the LSTM of recurrent_ppo."""
    device: str = "cpu"
    """Where the policy learns: cpu, cuda, cuda:1. Networks of this size are no faster on a GPU."""

    def __post_init__(self) -> None:
        check_choice("algorithm", self.algorithm, ("ppo", "recurrent_ppo"))
        for name in ("games", "rollout_steps", "batch_size", "epochs", "memory"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        check_scalar("learning_rate", self.learning_rate, low=0, open_low=True)
        check_scalar("clip", self.clip, low=0, open_low=True)
        check_scalar("entropy", self.entropy, low=0)
        check_scalar("discount", self.discount, low=0, high=1)
        check_scalar("gae_lambda", self.gae_lambda, low=0, high=1)
        if self.rollout % self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide the {self.rollout} steps of a rollout "
                f"({self.games} games of {self.rollout_steps})"
            )

    @property
    def rollout(self) -> int:
        """Steps of all games between two updates."""
        return self.games * self.rollout_steps


@dataclass(frozen=True)
class ShapingSettings:
    """Potential-based shaping on top of the task's reward."""

    potential: Potential = "none"
    weight: float = 1.0
    """Of the potential, in units of the task's reward."""

    def __post_init__(self) -> None:
        check_choice("potential", self.potential, get_args(Potential))
        check_scalar("weight", self.weight)
        if self.potential != "none" and self.weight == 0:
            raise ValueError(f"weight 0 shapes nothing: give the potential {self.potential!r} one, or take 'none'")


@dataclass(frozen=True)
class IntrinsicSettings:
    """What is paid beside the task's reward."""

    kind: Kind = "none"
    """none; of messages, by an annotator's labels: retrieval, classification, ranking; of messages without one: cosine
    (likeness to the goal), motif (a model fitted before); of places: counts, first_visit, product, rnd, icm."""
    coefficient: float = 0.4
    """The intrinsic reward counts so much in the total."""
    exponent: float = 3.0
    """Of the count discount: the n-th sight of a message in an episode pays n to the minus this. 0: no discount."""
    network: Literal["hashed", "bytes"] = "hashed"
    """Of classification and ranking: hashed words, or the published network of bytes."""
    threshold: float | None = None
    """Of classification (a probability), ranking (normalised reward) and cosine; None: 0.5, -0.5 and 0.5."""
    pairs: Literal["distinct", "all"] = "distinct"
    """Of ranking: pairs to compare are drawn from distinct messages, or from all that were seen, as released."""
    normalisation: Literal["meant", "released"] = "meant"
    """Of ranking: the normalised score where it is above the threshold, or the raw score, as the released code pays."""
    simplify: bool = False
    """Whether bracketed choices and numbers are taken out of messages before they are told apart."""
    goal: str = "increase the score by killing monsters, collecting gold and descending the stairs"
    """In words, for annotators that read it and for cosine."""
    model_file: str | None = None
    """Of motif: what was fitted before (safetensors)."""

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(Kind))
        check_choice("network", self.network, ("hashed", "bytes"))
        check_choice("pairs", self.pairs, ("distinct", "all"))
        check_choice("normalisation", self.normalisation, ("meant", "released"))
        if self.kind != "ranking" and (self.pairs, self.normalisation) != ("distinct", "meant"):
            raise ValueError(f"pairs and normalisation are of ranking, not of {self.kind!r}")
        check_scalar("coefficient", self.coefficient, low=0)
        check_scalar("exponent", self.exponent, low=0)
        if self.threshold is not None:
            check_scalar("threshold", self.threshold)
        if self.kind != "none" and self.coefficient == 0:
            raise ValueError(
                f"coefficient 0 never pays the intrinsic reward {self.kind!r}: give it one, or take 'none'"
            )
        if (self.kind == "motif") != (self.model_file is not None):
            raise ValueError(
                f"model_file is {self.model_file!r} with the kind {self.kind!r}: motif needs one, no other"
            )
        if self.kind == "cosine" and not self.goal.strip():
            raise ValueError("goal is empty: cosine pays for likeness to it")


@dataclass(frozen=True)
class AnnotationSettings:
    """Who labels the agent's messages, how many, and when; for retrieval, classification and ranking."""

    annotator: str = "oracle"
    """oracle (rules), noisy (rules, wrong at times), endpoint (an OpenAI-compatible server), or module:factory."""
    accuracy: float = 1.0
    """Of noisy: probability that a label is the rules'."""
    noise: Literal["frozen", "fresh"] = "frozen"
    """Of noisy: whether asking again about a message gives the same answer."""
    labels_per_tick: int = 20
    """Labels in a tick of 1000 steps of all games together."""
    delay: int = 0
    """Ticks from asking to the answer."""
    order: Order = "lifo"
    """Which waiting message is labelled first."""
    capacity: int = 10_000
    """Of the queue of waiting messages or pairs; when it is full, lifo drops the oldest and the other orders the
    newcomer. Published: 10 million messages, the newest 10,000 pairs."""
    duplicates: bool = False
    """Whether a message may wait twice."""
    where: Literal["in_process", "process"] = "in_process"
    """in_process: counted in steps of the game, the same in every run. process: beside it, in its own time."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Of endpoint."""
    model: str = "default"
    """Of endpoint: the name that it knows its model by."""

    def __post_init__(self) -> None:
        check_scalar("accuracy", self.accuracy, low=0, high=1)
        check_choice("noise", self.noise, ("frozen", "fresh"))
        check_choice("order", self.order, get_args(Order))
        check_choice("where", self.where, ("in_process", "process"))
        for name in ("labels_per_tick", "capacity"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        check_scalar("delay", self.delay, low=0, whole=True)
        if self.annotator not in ANNOTATORS and self.annotator.count(":") != 1:
            raise ValueError(
                f"annotator is {self.annotator!r}, expected one of {', '.join(ANNOTATORS)} or module:factory"
            )
        if self.annotator != "noisy" and self.accuracy != 1:
            raise ValueError(f"accuracy {self.accuracy} belongs to the annotator 'noisy', not to {self.annotator!r}")
        if self.where == "process" and (self.labels_per_tick, self.delay) != (20, 0):
            raise ValueError(
                "labels_per_tick and delay are of annotation in_process; a process takes the time that it takes"
            )
        address = urlsplit(self.base_url)
        if "@" in address.netloc or address.query:
            raise ValueError(
                "base_url holds a user name or a query, and settings are saved with every checkpoint: give a key in "
                "the environment variable OPENAI_API_KEY"
            )
        if self.annotator == "endpoint" and self.where == "in_process":
            raise ValueError("an endpoint may take its time and must not hold up the game: where is to be 'process'")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A run, whole: if it is not killed and annotates in_process, the same settings give the same numbers."""

    game: GameSettings = field(default_factory=GameSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    shaping: ShapingSettings = field(default_factory=ShapingSettings)
    intrinsic: IntrinsicSettings = field(default_factory=IntrinsicSettings)
    annotation: AnnotationSettings = field(default_factory=AnnotationSettings)
    extrinsic_coefficient: float = 0.1
    """The task's reward, shaping included, counts so much in the total; values grow with it, so Score wants 0.1."""
    extrinsic_scale: float = 1.0
    """Multiplies the task's reward before the clip."""
    extrinsic_clip: float | None = None
    """Largest size of the scaled reward of a step, before the coefficient; published: 10, so that the 50 of the stairs
    and of the Oracle become 10, times a coefficient of 10. None: no clip."""
    steps: int = 300_000
    """Of all games together; rounded up to whole rollouts."""
    curve_every: int = 10_000
    """Steps from one row of the curve to the next; rounded up to whole rollouts."""
    window: int = 100
    """Games finished last, that a row of the curve is the mean of."""
    evaluation_episodes: int = 16
    """Games played with the policy at the end; 0: none."""
    checkpoint_every: int = 25_000
    """Steps from one checkpoint to the next; rounded up to whole rollouts."""
    seed: int = 0
    """Of everything."""

    def __post_init__(self) -> None:
        for name in ("steps", "curve_every", "window", "checkpoint_every"):
            check_scalar(name, getattr(self, name), low=1, whole=True)
        for name in ("seed", "evaluation_episodes"):
            check_scalar(name, getattr(self, name), low=0, whole=True)
        check_scalar("extrinsic_coefficient", self.extrinsic_coefficient, low=0)
        check_scalar("extrinsic_scale", self.extrinsic_scale, low=0, open_low=True)
        if self.extrinsic_clip is not None:
            check_scalar("extrinsic_clip", self.extrinsic_clip, low=0, open_low=True)
            if self.shaping.potential != "none":
                raise ValueError("extrinsic_clip would cut the shaping too, which then no longer telescopes: drop one")
        paid = self.extrinsic_coefficient != 0 and (self.game.task != "reward_free" or self.shaping.potential != "none")
        if self.intrinsic.kind == "none" and not paid:
            raise ValueError("nothing is paid: no reward of the task, no potential and no intrinsic reward")
        if self.shaping.potential != "none" and self.extrinsic_coefficient == 0:
            raise ValueError(f"the potential {self.shaping.potential!r} is paid with extrinsic_coefficient, which is 0")
        if self.intrinsic.kind not in ANNOTATED and self.annotation != AnnotationSettings():
            raise ValueError(
                f"annotation is set, but the intrinsic reward {self.intrinsic.kind!r} asks nobody; "
                f"{', '.join(ANNOTATED)} do"
            )

    @property
    def annotated(self) -> bool:
        """Whether labels are asked for."""
        return self.intrinsic.kind in ANNOTATED
