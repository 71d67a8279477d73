"""GRPO on a language model in one readable file: how a reward becomes a change of the weights.

    python -m llm_scale.grpo --model smollm2 --task addition --reward rewards/conjunction.toml

Each step asks `prompts` questions, samples `group` answers to each, lets the reward path score them, turns rewards into
advantages, and climbs the objective. What differs between the algorithms of the family (advantage, clipping, weighting
of tokens, where the KL term goes) is one value, `objectives.OBJECTIVES[name]`; what differs between rewards is one TOML
file. On several processes: `torchrun --nproc-per-node 2 -m llm_scale.grpo ...`, or `accelerate launch`.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import LoraSettings, load
from llm_scale.models.supervised import warmed_up
from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.loss import BatchCounts, policy_loss
from llm_scale.objectives.objective import Objective, objective
from llm_scale.rewards.reward_path import RewardPath, Rewards
from llm_scale.rewards.sample import samples_of
from llm_scale.rollouts.completions import Completions
from llm_scale.rollouts.sampling import sample
from llm_scale.running.checkpoints import load_checkpoint, save_checkpoint
from llm_scale.running.distributed import World, wrap
from llm_scale.running.progress import progress
from llm_scale.running.run_log import RunLog
from llm_scale.tasks.loading import task as task_by_name
from llm_scale.tasks.task import Problem, Task
from llm_scale.tasks.verifying import verify_all
from llm_scale.training_pass.forward import completion_log_probs

__all__ = ["Loop", "Settings", "main", "train"]


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
    steps: int = 100
    prompts: int = 8
    """Questions a step, over all processes."""
    group: int = 8
    """Samples a question."""
    temperature: float = 1.0
    max_new_tokens: int | None = None
    """By default the task's."""
    learning_rate: float = 5e-6
    rising_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    max_gradient_norm: float = 1.0
    updates: int = 1
    """Passes over each batch; more than one makes it off-policy, and the clipping matter."""
    prompts_per_update: int | None = None
    """Questions an update; by default all of the batch's."""
    prompts_per_pass: int | None = None
    """Questions a forward and backward pass (gradients are accumulated); by default all of an update's."""
    kl_weight: float | None = None
    """By default the objective's."""
    lora_rank: int = 0
    """0 trains every weight."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    warm_up: int = 0
    """Steps of supervised fine-tuning on the task's demonstrations before; 0 for none."""
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """How weights lie where there are several processes."""
    redraws: int = 0
    """How often questions whose group has no signal (all rewards equal) are replaced by others (DAPO)."""
    on_failure: Literal["mask", "stop"] = "mask"
    """What happens when a signal raises, hangs or has no number for a sample."""
    verify_seconds: float = 5.0
    evaluate_every: int = 10
    evaluation_problems: int = 64
    checkpoint_every: int = 25
    folder: str | None = None
    """Where results go; by default runs/<model>-<task>-<objective>-<hash of the settings>."""
    seed: int = 0

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


@dataclass
class Batch:
    """What one step learns from: this process's share of the samples."""

    problems: list[Problem]
    completions: Completions
    rewards: Rewards
    advantages: Tensor
    reference_log_probs: Tensor | None = None


class Loop:
    """The training loop, with its parts open: `roll_out`, `score`, `learn`, `evaluate`, `train`.

    Args:
        settings: The run.
        language_model: In place of the one that the settings name.
        task: In place of the one that the settings name.
        reward_path: In place of the one that the settings name.
        world: The processes that share the work; found by itself under torchrun.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        language_model: LanguageModel | None = None,
        task: Task | None = None,
        reward_path: RewardPath | None = None,
        world: World | None = None,
    ) -> None:
        self.settings = settings
        self.world = world or World.current()
        self.task = task or task_by_name(settings.task)
        self.objective = self._objective()
        self.lm = language_model or self._language_model()
        self.reward_path = reward_path or RewardPath.from_toml(
            settings.reward, self.task, on_failure=settings.on_failure, seconds=settings.verify_seconds
        )
        self.max_new_tokens = settings.max_new_tokens or self.task.max_new_tokens
        if self.objective.kl_weight:
            self.lm.keep_reference()
        self.policy = wrap(self.lm, self.world, kind=settings.parallel)
        self.optimiser = torch.optim.AdamW(self.lm.parameters(), lr=settings.learning_rate, weight_decay=0.0)
        self.step = 0

    def train(self) -> list[dict[str, float]]:
        """Train to the last step, from the newest checkpoint on where there is one.

        Returns:
            One row of numbers a step, as in metrics.csv.
        """
        settings, folder = self.settings, self.settings.results()
        self._resume(folder)
        log = RunLog(folder, resume_from_step=self.step) if self.world.is_main else None
        rows = []
        with progress(settings.steps, start=self.step, folder=folder, shown=self.world.is_main) as bar:
            while self.step < settings.steps:
                row = self.one_step()
                rows.append(row)
                if log:
                    log.write(self.step, row)
                bar.advance(row)
                if self.step % settings.checkpoint_every == 0 or self.step == settings.steps:
                    self._save(folder)
        if log:
            log.close()
        return rows

    def one_step(self) -> dict[str, float]:
        """Sample, score, learn; evaluate when it is time. Returns what is logged."""
        settings, row = self.settings, {}
        if self.step % settings.evaluate_every == 0:
            row |= self.evaluate()
        started = time.perf_counter()
        batch = self.roll_out()
        rolled_out = time.perf_counter()
        row |= self.learn(batch)
        row |= {"seconds/roll_out": rolled_out - started, "seconds/learn": time.perf_counter() - rolled_out}
        self.step += 1
        if self.step == settings.steps:
            row |= self.evaluate()
        return row

    def roll_out(self) -> Batch:
        """Ask, answer and score: this process's share of the step's batch, the same for the same settings and step."""
        settings = self.settings
        problems = self.task.problems("train", settings.prompts, seed=self._seed("ask"))
        problems = self.world.split(problems)
        completions = self._answers(problems, attempt=0)
        for attempt in range(1, settings.redraws + 1):
            problems, completions = self._with_signal(problems, completions, attempt)
        group_ids = np.repeat(np.arange(len(problems)), settings.group)
        rewards = self.reward_path(samples_of(self.lm, problems, completions), group_ids)
        reference = self._reference_log_probs(completions) if self.lm.has_reference else None
        return Batch(problems, completions, rewards, self._advantages(rewards, completions, group_ids, reference), reference)

    def learn(self, batch: Batch) -> dict[str, float]:
        """Climb the objective on a batch: `updates` passes over it, one optimiser step per `prompts_per_update`."""
        settings, row = self.settings, Means()
        number = len(batch.problems)
        for _ in range(settings.updates):
            for update in _parts(number, settings.prompts_per_update, self.world.size):
                rows = _rows(update, settings.group)
                counts = BatchCounts(
                    sequences=self.world.sum(float(batch.present[rows].sum())),
                    tokens=self.world.sum(float(batch.completions.mask[rows][batch.present[rows]].sum())),
                )
                for part in _parts(len(update), settings.prompts_per_pass, self.world.size):
                    self._accumulate(batch, [update[place] for place in part], counts, row)
                row.add("gradient_norm", self._optimise())
        return row.means() | self._summary(batch)
