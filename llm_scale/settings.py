"""The settings of a training run: everything that decides its numbers, and nothing else does."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """A run, whole: the same settings give the same numbers on the same machine."""

    model: str = "smollm2"
    """smollm2, tiny, or a Hugging Face id or folder."""
    task: str = "addition"
    """A task by name, such as addition:digits=2, chains, reasoning_gym:chain_sum, gsm8k."""
    reward: str = "rewards/correct.toml"
    """The reward path, a TOML file."""
    objective: str = "grpo"
    """One of the family by name."""
    credit: Literal["sequence", "token"] | None = None
    """Whether a token is paid what its whole sample earned, or what came after it; by default as the objective says,
    and by token where the reward file pays for steps."""
    step_baseline: Literal["group", "same_step"] | None = None
    """What tokens paid by step are held against: see `Objective`."""
    kl_weight: float | None = None
    """By default the objective's."""
    steps: int = 100
    prompts: int = 8
    """Questions a step, over all processes."""
    group: int = 8
    """Samples a question."""
    temperature: float = 1.0
    max_new_tokens: int | None = None
    """By default the task's."""
    redraws: int = 0
    """How often questions that are answered all right or all wrong are replaced by others (DAPO's dynamic sampling)."""
    learning_rate: float = 5e-6
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
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """How weights lie where there are several processes."""
    measure_kl: bool = False
    """Whether to log the divergence from the first policy even where the objective does not use it."""
    on_failure: Literal["mask", "stop"] = "mask"
    """What happens when a signal raises, hangs or has no number for a sample."""
    verify_seconds: float = 5.0
    evaluate_every: int = 10
    evaluation_problems: int = 64
    evaluation_samples: int = 4
    checkpoint_every: int = 25
    """0 for no checkpoints."""
    folder: str | None = None
    """Where results go; by default runs/<model>-<task>-<objective>-<hash of the settings>."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("prompts", "group", "updates", "evaluate_every", "evaluation_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("learning_rate", "temperature", "max_gradient_norm", "verify_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number above 0")

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
