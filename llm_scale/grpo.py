"""GRPO on a language model in one readable file: how a reward becomes a change of the weights.

    python -m llm_scale.grpo --model smollm2 --task addition --reward rewards/conjunction.toml

Each step asks `prompts` questions, samples `group` answers to each, lets the reward path score them, turns rewards into
advantages, and climbs the objective. What differs between the algorithms of the family (advantage, clipping, weighting
of tokens, where the KL term goes) is one value, `objectives.OBJECTIVES[name]`; what differs between rewards is one TOML
file. On several processes: `torchrun --nproc-per-node 2 -m llm_scale.grpo ...`, or `accelerate launch`.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from llm_scale.models.language_model import LanguageModel
from llm_scale.named_parts import named_language_model, named_objective
from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.dapo import keeps_signal
from llm_scale.objectives.loss import BatchCounts, PolicyLoss, merged_metrics, policy_loss
from llm_scale.rewards.reward_path import RewardPath, Rewards
from llm_scale.rewards.sample import samples_of
from llm_scale.rollouts.completions import Completions
from llm_scale.rollouts.sampling import sample
from llm_scale.running.distributed import World, wrap
from llm_scale.running.shares import joined, joined_shares
from llm_scale.settings import Settings
from llm_scale.tasks.loading import task as task_by_name
from llm_scale.tasks.task import Problem, Task
from llm_scale.tasks.verifying import Failure, verify_all
from llm_scale.training_pass.forward import completion_log_probs
from long_runs.checkpoints import load_checkpoint, save_checkpoint
from long_runs.files import write_atomically
from long_runs.progress import TrainingProgress
from long_runs.recording import library_versions
from long_runs.run_log import RunLog

__all__ = ["Batch", "Loop", "Settings", "main"]

RESULT = ("evaluation/greedy", "evaluation/sampled", "reward/mean", "length/mean")  # what a run is summed up by


@dataclass
class Batch:
    """What one step learns from: this process's share of the samples.

    Args:
        problems: Questions, P of them.
        completions: The answers, B = P x group rows.
        rewards: What they are worth.
        advantages: Of their tokens, (B, T).
        reference_log_probs: Under the first policy, (B, T), where it is asked for.
    """

    problems: list[Problem]
    completions: Completions
    rewards: Rewards
    advantages: Tensor
    reference_log_probs: Tensor | None

    @property
    def present(self) -> Tensor:
        """Which samples have a reward, (B,)."""
        return torch.as_tensor(self.rewards.present, device=self.advantages.device)


class Loop:
    """The training loop, with its parts open: `roll_out`, `learn`, `evaluate`, `one_step`, `train`.

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
        self.settings, self.world = settings, world or World.current()
        settings.check_processes(self.world.size)
        self.task = task or task_by_name(settings.task)
        self.reward_path = reward_path or RewardPath.from_toml(
            settings.reward, self.task, on_failure=settings.on_failure, seconds=settings.verify_seconds
        )
        self.identity = settings.fingerprint()
        if reward_path is None:  # the same name may stand for another file by the time a run is resumed
            self.identity["reward_file"] = hashlib.sha256(RewardPath.resolve(settings.reward).read_bytes()).hexdigest()
        self.objective = named_objective(settings, self.reward_path)
        self.lm = language_model or named_language_model(settings, self.task, self.world)
        self.max_new_tokens = settings.max_new_tokens or self.task.max_new_tokens
        self.held_against_reference = bool(self.objective.kl_weight) or settings.measure_kl
        if self.held_against_reference:
            self.lm.keep_reference()
        self.policy = wrap(self.lm, self.world, kind=settings.parallel)
        # not fused, which would save 2% of a step: the recorded experiments come out the same to the last digit
        self.optimiser = torch.optim.AdamW(self.lm.parameters(), settings.learning_rate, weight_decay=0.0)
        self.step = 0

    def train(self) -> list[dict[str, float]]:
        """Train to the last step, from the newest checkpoint on where there is one.

        Returns:
            What was logged of each step done now; all of it is in metrics.csv.
        """
        settings, folder = self.settings, self.settings.results()
        self._resume(folder)
        rows = []
        with ExitStack() as stack:
            log = bar = None
            if self.world.is_main:
                log = stack.enter_context(RunLog(folder, resume_from_step=self.step or -1))
                facts = {"settings": asdict(settings), "versions": library_versions(), "processes": self.world.size}
                write_atomically(folder / "settings.json", json.dumps(facts, indent=2) + "\n")
                bar = stack.enter_context(TrainingProgress(settings.steps, folder, done=self.step, shown=RESULT))
            while self.step < settings.steps:
                row = self.one_step()
                rows.append(row)
                if log:
                    log.write(self.step, row)
                    bar.advance(row)
                if settings.checkpoint_every and self.step % settings.checkpoint_every == 0:
                    self._save(folder)
            if settings.checkpoint_every and rows and self.step % settings.checkpoint_every:
                self._save(folder)
        return rows

    def one_step(self) -> dict[str, float]:
        """Evaluate when it is time, sample, score and learn; returns what is logged."""
        last = self.step + 1 == self.settings.steps  # which is evaluated after it has been learned from
        row = {} if last or self.step % self.settings.evaluate_every else self.evaluate()
        started = time.perf_counter()
        batch = self.roll_out()
        between = time.perf_counter()
        row |= self.learn(batch) | self._summary(batch)
        row |= {"seconds/roll_out": between - started, "seconds/learn": time.perf_counter() - between}
        self.step += 1
        return row | self.evaluate() if last else row

    def roll_out(self) -> Batch:
        """Ask, answer and score: this process's share of the step's batch, the same for the same settings and step."""
        settings = self.settings
        problems = self.world.split(self.task.problems("train", settings.prompts, seed=self._seed("ask")))
        completions = self._answers(problems, "answer")
        for attempt in range(settings.redraws):
            problems, completions = self._redrawn(problems, completions, attempt)
        groups = np.repeat(np.arange(len(problems)), settings.group)
        rewards = self.reward_path(samples_of(self.lm, problems, completions), groups, world=self.world)
        reference = self._reference_log_probs(completions) if self.held_against_reference else None
        advantages = self._advantages(rewards, completions, groups, reference)
        return Batch(problems, completions, rewards, advantages, reference)

    def learn(self, batch: Batch) -> dict[str, float]:
        """Climb the objective on a batch: `updates` passes over it, an optimiser step for `prompts_per_update` each."""
        settings, parts, norms, entropies = self.settings, [], [], []
        for _ in range(settings.updates):
            for update in _parts(range(len(batch.problems)), settings.prompts_per_update, self.world.size):
                rows = _rows(update, settings.group)
                own = BatchCounts.of(batch.completions.mask[rows], batch.present[rows])
                whole = BatchCounts(int(self.world.sum(own.sequences)), int(self.world.sum(own.tokens)))
                self.optimiser.zero_grad(set_to_none=True)
                for part in _parts(update, settings.prompts_per_pass, self.world.size):
                    loss, entropy = self._loss(batch, part, whole)
                    loss.loss.backward()
                    parts.append(replace(loss, loss=loss.loss.detach()))
                    entropies.append(entropy / max(whole.tokens, 1))
                norms.append(self._optimise())
        own = merged_metrics(parts) | {"loss": float(sum(part.loss for part in parts)), "entropy": sum(entropies)}
        shares = self.world.gather(own)  # each has its part of sums over the whole batch
        highest = max(share.pop("ratio_max") for share in shares)
        row = {f"policy/{name}": sum(share[name] for share in shares) / len(norms) for name in shares[0]}
        return row | {"policy/ratio_max": highest, "policy/gradient_norm": float(np.mean(norms))}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Accuracy by the task's own rule on held-out problems, always the same ones: greedy, and sampled."""
        settings = self.settings
        problems = self.world.split(self.task.problems("test", settings.evaluation_problems, seed=settings.seed))
        row = {"evaluation/updates": float(self.step)}  # how many steps the weights have learned from
        for name, group, temperature in (
            ("greedy", 1, 0.0),
            ("sampled", settings.evaluation_samples, settings.temperature),
        ):
            completions = self._sample(problems, group, temperature, self._generator("evaluate", name))
            known = [score for score in self._verified(problems, completions) if not isinstance(score, Failure)]
            tokens, samples = float(completions.lengths.sum()), completions.samples
            row[f"evaluation/{name}"] = self.world.sum(sum(known)) / (self.world.sum(len(known)) or math.nan)
            row[f"evaluation/{name}_length"] = self.world.sum(tokens) / self.world.sum(samples)
        return row

    def _answers(self, problems: list[Problem], *why: Any) -> Completions:
        return self._sample(problems, self.settings.group, self.settings.temperature, self._generator(*why))

    def _sample(
        self, problems: list[Problem], group: int, temperature: float, generator: torch.Generator
    ) -> Completions:
        prompts = [self.lm.encode(problem.prompt) for problem in problems]
        with self.policy.whole():
            return sample(
                self.lm,
                prompts,
                group=group,
                max_new_tokens=self.max_new_tokens,
                temperature=temperature,
                generator=generator,
                dtype=torch.bfloat16 if self.settings.precision == "bfloat16" else None,
            )

    def _redrawn(
        self, problems: list[Problem], completions: Completions, attempt: int
    ) -> tuple[list[Problem], Completions]:
        """Replace questions that every sample, or none, has answered right by others, drawn anew."""
        scores = self._verified(problems, completions)
        right = np.array([not isinstance(score, Failure) and score == 1.0 for score in scores])
        share = right.reshape(len(problems), -1).mean(1)
        idle = np.flatnonzero((share == 0) | (share == 1)).tolist()
        if not idle:
            with self.policy.whole():  # where weights lie in shares, the others need this one's to sample again
                return problems, completions
        new = self.task.problems("train", len(idle), seed=self._seed("ask again", attempt, self.world.rank))
        answers = self._answers(new, "answer again", attempt)
        kept = [place for place in range(len(problems)) if place not in idle]
        merged = [problems[place] for place in kept] + new
        return merged, Completions.concatenated([completions.of_prompts(kept), answers], pad_id=self.lm.pad_id)

    def _verified(self, problems: list[Problem], completions: Completions) -> list[float | Failure]:
        texts = [self.lm.decode(completions.completion_of(row)) for row in range(completions.samples)]
        return verify_all(self.task, problems, texts, seconds=self.settings.verify_seconds)

    @torch.no_grad()
    def _reference_log_probs(self, completions: Completions) -> Tensor:
        with self._computing(), self.policy.whole(), self.lm.reference() as model:
            return completion_log_probs(model, **_inputs(completions, self.settings.temperature)).log_probs

    def _advantages(
        self, rewards: Rewards, completions: Completions, groups: np.ndarray, reference: Tensor | None
    ) -> Tensor:
        """Of this process's samples; statistics over the batch are over that of all processes."""
        mask = completions.mask
        if rewards.advantages is not None:  # the reward file takes them itself
            return torch.as_tensor(rewards.advantages, device=mask.device).float()[:, None] * mask
        own = {
            "rewards": torch.as_tensor(rewards.rewards),
            "mask": mask.cpu(),
            "groups": torch.as_tensor(groups),
            "step_rewards": rewards.token_step_rewards(mask.shape[1]),
            "step_ends": rewards.step_ends,
            "log_probs": completions.log_probs.cpu(),
            "reference_log_probs": None if reference is None else reference.cpu(),
        }
        shares = self.world.gather(own)
        every = joined_shares(shares)
        advantages = token_level_advantages(objective=self.objective, **every)
        first = sum(len(share["rewards"]) for share in shares[: self.world.rank])
        return advantages[first : first + len(groups), : mask.shape[1]].float().to(mask.device)

    def _loss(self, batch: Batch, part: Sequence[int], whole: BatchCounts) -> tuple[PolicyLoss, float]:
        """Loss of some questions of a batch, and the sum of its tokens' entropies."""
        rows = _rows(part, self.settings.group)
        completions = batch.completions.of_prompts(part)
        width = completions.mask.shape[1]
        with self._computing():
            now = self.policy(**_inputs(completions, self.settings.temperature))
        loss = policy_loss(
            now.log_probs,
            completions.log_probs,
            batch.advantages[rows, :width],
            completions.mask,
            self.objective,
            reference_log_probs=None if batch.reference_log_probs is None else batch.reference_log_probs[rows, :width],
            present=batch.present[rows],
            whole=whole,
            max_length=self.max_new_tokens,
        )
        return loss, float(now.entropies[batch.present[rows]].sum())

    def _optimise(self) -> float:
        """One optimiser step; returns the gradient's norm before it was cut to the largest allowed."""
        settings = self.settings
        rising = min(1.0, (self.step + 1) / max(settings.rising_steps, 1))
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * rising
        self.world.add_gradients(self.lm)
        norm = float(torch.nn.utils.clip_grad_norm_(self.lm.parameters(), settings.max_gradient_norm))
        if not np.isfinite(norm):
            raise FloatingPointError(f"step {self.step}: the gradient's norm is {norm}, expected a finite number")
        self.optimiser.step()
        return norm

    def _summary(self, batch: Batch) -> dict[str, float]:
        """What there is to know of the batch of all processes before it was learned from."""
        completions, group = batch.completions, self.settings.group
        own = {"length/mean": completions.lengths, "length/ended": completions.ended}
        if batch.reference_log_probs is not None:  # nats a completion, unbiased (k1)
            difference = (completions.log_probs - batch.reference_log_probs) * completions.mask
            own["policy/kl_from_first"] = difference.sum(1)
        own = {name: values.double().cpu().numpy() for name, values in own.items()}
        every = joined(self.world.gather({"samples": own, "rewards": vars(batch.rewards)}))
        rewards, lengths = Rewards(**every["rewards"]), every["samples"]["length/mean"]
        differ = keeps_signal(torch.as_tensor(rewards.rewards), np.arange(len(lengths)) // group).double()
        return rewards.summary() | {
            **{name: float(values.mean()) for name, values in every["samples"].items()},
            "reward/constant_groups": 1.0 - float(differ.mean()),
            "policy/learning_rate": self.optimiser.param_groups[0]["lr"],
            "tokens": float(lengths.sum()),
        }

    def _computing(self) -> torch.autocast:
        rounded = self.settings.precision == "bfloat16"
        return torch.autocast(self.lm.device.type, torch.bfloat16, enabled=rounded, cache_enabled=False)

    def _seed(self, *why: Any) -> int:
        """A seed for one purpose at one step: nothing that came before has a part in it, so a resumed run goes on."""
        label = json.dumps([self.settings.seed, self.step, *why]).encode()
        return int.from_bytes(hashlib.blake2b(label, digest_size=7).digest(), "big")

    def _generator(self, *why: Any) -> torch.Generator:
        return torch.Generator(device=self.lm.device).manual_seed(self._seed(*why, self.world.rank))

    def _save(self, folder: Path) -> None:
        model, optimiser = self.policy.state(self.optimiser)
        if self.world.is_main:
            save_checkpoint(
                folder / "checkpoints",
                self.step,
                model=model,
                optimiser=optimiser,
                generators={},
                settings=self.identity,
                extra={"pipeline": self.reward_path.state_dict()},
            )
        self.world.barrier()

    def _resume(self, folder: Path) -> None:
        found = load_checkpoint(folder / "checkpoints", settings=self.identity)
        if found is not None:
            self.policy.load_state(found.model, self.optimiser, found.optimiser)
            self.reward_path.load_state_dict(found.extra["pipeline"])
            self.step = found.step


def _inputs(completions: Completions, temperature: float) -> dict[str, Any]:
    """Arguments of a training pass."""
    given = {name: getattr(completions, name) for name in ("prompts", "ids", "mask", "group")}
    return given | {"temperature": temperature}


def _rows(prompts: Sequence[int], group: int) -> list[int]:
    return [prompt * group + sample for prompt in prompts for sample in range(group)]


def _parts(prompts: Sequence[int], number: int | None, processes: int) -> Iterator[list[int]]:
    """Prompts in turns of `number` over all processes, or all of them in one."""
    own = max(1, len(prompts) if number is None else number // processes)
    for first in range(0, len(prompts), own):
        yield list(prompts[first : first + own])


def main() -> None:
    """Train as the command line says, and say how it went."""
    settings = tyro.cli(Settings, description=__doc__, prog="python -m llm_scale.grpo")
    try:
        loop = Loop(settings)
    except (ValueError, FileNotFoundError, ImportError) as error:  # settings that do not fit together
        raise SystemExit(f"error: {error}") from None
    rows = loop.train()
    if loop.world.is_main:
        last = {name: value for name, value in (rows[-1] if rows else {}).items() if name in RESULT}
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in last.items()) or "nothing was left to do"
        print(f"step {loop.step} of {settings.steps}: {numbers}; results in {settings.results()}")


if __name__ == "__main__":
    main()
