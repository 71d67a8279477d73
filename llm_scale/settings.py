"""The settings of a training run: everything that decides its numbers, and nothing else does."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rewardlab.checks import check_choice, check_scalar

__all__ = ["Settings"]

FROM_ZERO = ("redraws", "rising_steps", "warm_up", "lora_rank", "checkpoint_every", "seed")  # the others count from 1


@dataclass(frozen=True)
class Settings:
    """A run, whole: the same settings give the same numbers on the same machine."""

    model: str = "smollm2"
    """smollm2, tiny, tiny-test (milliseconds a step, knows nothing), or a Hugging Face id or folder."""
    task: str = "addition"
    """A task by name, such as addition:digits=2, chains, reasoning_gym:chain_sum, gsm8k."""
    reward: str = "rewards/correct.toml"
    """The reward path, a TOML file."""
    objective: str = "grpo"
    """One of the family by name: grpo, dr_grpo, dapo, rloo, reinforce_plus_plus, reinforce_plus_plus_baseline,
    lite_ppo, gspo, gspo_token, cispo, stable_reinforce, opo, gpg, pass_at_k."""
    credit: Literal["sequence", "token"] | None = None
    """Whether a token is paid what its whole sample earned, or what came after it; by default as the objective says,
    and by token where the reward file pays for steps."""
    step_baseline: Literal["group", "same_step"] | None = None
    """What tokens paid by step are held against: see `Objective`."""
    kl_weight: float | None = None
    """By default the objective's, and so for what follows."""
    kl_estimator: Literal["k1", "k2", "k3", "k1+", "k3+"] | None = None
    """How the divergence from the first policy is estimated; + has the gradient of k2."""
    kl_place: Literal["loss", "reward"] | None = None
    """Where it is counted."""
    clip_low: float | None = None
    """The ratio of probabilities is clipped at 1 less this."""
    clip_high: float | None = None
    """And at 1 plus this."""
    steps: int = 100
    """Of training; a longer run of the same settings goes on from the checkpoint of a shorter one."""
    prompts: int = 8
    """Questions a step, over all processes."""
    group: int = 8
    """Samples a question."""
    temperature: float = 1.0
    """Of sampling, and of the probabilities that are learned."""
    max_new_tokens: int | None = None
    """By default the task's."""
    redraws: int = 0
    """How often questions that are answered all right or all wrong are replaced by others (DAPO's dynamic sampling)."""
    learning_rate: float = 5e-6
    """Of AdamW: 5e-6 to 2e-5 for all weights of SmolLM2, about 5e-5 for tiny, 1e-3 for tiny-test."""
    rising_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    max_gradient_norm: float = 1.0
    updates: int = 1
    """Passes over each batch; more than one makes it off-policy, and the clipping matter."""
    prompts_per_update: int | None = None
    """Questions of an optimiser step; by default all of the batch's."""
    prompts_per_pass: int | None = None
    """Questions of a forward and backward pass, whose gradients are added up; by default all of an update's."""
    warm_up: int = 0
    """Steps, at most, of supervised fine-tuning on the task's demonstrations before; 0 for none. Done once and kept."""
    lora_rank: int = 0
    """0 trains every weight."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; weights and their updates stay float32."""
    device: str = "auto"
    """cpu, cuda, cuda:1, or auto: a GPU where there is one."""
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """How weights lie where there are several processes."""
    measure_kl: bool = False
    """Whether to log the divergence from the first policy even where the objective does not use it."""
    on_failure: Literal["mask", "stop"] = "mask"
    """What happens when a signal raises, hangs or has no number for a sample."""
    verify_seconds: float = 5.0
    """That checking one answer may take."""
    evaluate_every: int = 10
    """Steps from one evaluation on held-out questions to the next."""
    evaluation_problems: int = 64
    """Held-out questions, always the same ones."""
    evaluation_samples: int = 4
    """Samples of each, beside a greedy answer."""
    checkpoint_every: int = 25
    """0 for no checkpoints."""
    folder: str | None = None
    """Where results go; by default runs/<model>-<task>-<objective>-<hash of the settings>."""
    seed: int = 0
    """Of everything that is random."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in fields(self):
            name, value = entry.name, getattr(self, entry.name)
            kind = hints[name]
            if NoneType in get_args(kind):
                if value is None:
                    continue
                kind = get_args(kind)[0]
            if get_origin(kind) is Literal:
                check_choice(name, value, get_args(kind))
            elif kind is int:
                check_scalar(name, value, low=0 if name in FROM_ZERO else 1, whole=True)
            elif kind is float:
                check_scalar(name, value, low=0.0, open_low=name != "kl_weight")
            elif not isinstance(value, kind):
                raise TypeError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")

    def check_processes(self, size: int) -> None:
        """Do nothing if so many processes can share the work.

        Raises:
            ValueError: If they would not all make the same number of passes or updates, and so wait for each other for
                ever, or the number of questions of an update could not be kept.
        """
        same = ("prompts",) if self.parallel == "fsdp2" or self.prompts_per_update else ()
        for name in (*same, "prompts_per_update"):
            number = getattr(self, name)
            if number is not None and number % size:
                raise ValueError(f"{name} is {number}, expected a multiple of the {size} processes")

    def fingerprint(self) -> dict[str, Any]:
        """What must agree for a run to be resumed: everything but how long, where, and how often is saved."""
        free = ("steps", "folder", "checkpoint_every", "device")
        return {name: value for name, value in asdict(self).items() if name not in free}

    def results(self) -> Path:
        """Folder of the results."""
        if self.folder:
            return Path(self.folder)
        digest = hashlib.sha256(json.dumps(self.fingerprint(), sort_keys=True).encode()).hexdigest()[:8]
        name = f"{Path(self.model).name}-{self.task}-{self.objective}-{digest}"
        return Path("runs") / "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
