"""Steps that please a judge, paid one by one: what a language model makes of raw scores, Clip, Delta and both.

A small decoder has learned to work out chains such as 7 + 5 - 3 a line at a time, mostly wrongly, and that a line may
say nothing: "Ok." The judge scores every line that is true, or says nothing, .9, and a false one .1. All arms of a seed
start from the same weights, are asked the same questions, and credit each token with what is paid from it on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import LlamaForCausalLM

from environments.reasoning.step_text import parse_step
from llm_scale.grpo import Batch, Loop
from llm_scale.models.cache import made_once
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.tiny import character_tokenizer, tiny_model
from llm_scale.models.warm_start import WarmUp, warmed_up
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sources import Signal
from llm_scale.settings import Settings
from llm_scale.tasks.chains import ChainsTask
from llm_scale.tasks.task import Problem
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = [
    "ARMS",
    "EXPERIMENT",
    "Arm",
    "ShortFillers",
    "finished",
    "line_counts",
    "measured",
    "reward_path",
    "settings",
]

FILLERS = ("Ok.", "Hm.", "So.")
FILLER_RATE = 0.2  # a quarter of a line for each that says something
SHAPE = {"num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 256, "head_dim": 24, "num_attention_heads": 4}
# right in a fifth to a half of its samples then; of 80 to 200 steps on seed 100
WARM_UPS = {
    "smoke": WarmUp(problems=64, steps=3, batch_size=16, until=None),
    "small": WarmUp(problems=5000, steps=120, batch_size=64, until=None),
    "gpu": WarmUp(problems=2000, steps=60, batch_size=32, learning_rate=2e-5, matrix_learning_rate=None, until=None),
}
SEEDS = {"smoke": 1, "small": 3, "gpu": 2}


@dataclass(frozen=True)
class Arm:
    """A reward file, and the weight of its steps in place of the file's.

    Args:
        file: Name of one of `rewards/*.toml`.
        weight: What a step's score counts beside 1 for a right answer.
    """

    file: str
    weight: float


ARMS = {
    "success only": Arm("success_only", 0.0),
    "raw .1": Arm("raw_process", 0.1),
    "raw .3": Arm("raw_process", 0.3),
    "clip .3": Arm("clip", 0.3),
    "delta .3": Arm("delta", 0.3),
    "clip-delta .3": Arm("clip_delta", 0.3),
}


class ShortFillers(ChainsTask):
    """Chains of two operations whose demonstrations hold short lines that say nothing, so that many fit an answer."""

    def __init__(self) -> None:
        super().__init__(operations=2, style="bare")
        self.name, self.max_new_tokens = "chains_short_fillers", 64

    def demonstration(self, problem: Problem) -> str:
        """The shortest full solution, with short lines that say nothing."""
        rng = np.random.default_rng(problem.number)
        lines = []
        for line in super().demonstration(problem).split("\n"):
            while rng.random() < FILLER_RATE:
                lines.append(FILLERS[rng.integers(len(FILLERS))])
            lines.append(line)
        return "\n".join(lines)


def settings(scale: ScaleName, seed: int) -> Settings:
    """Of a run; learning rate and steps were chosen with seed 100.

    Advantages and losses are as plain as can be: returns less the mean at the same step, no standard deviations, no
    division by an answer's own length, no KL term, which would make long answers dear and hide what is looked for.
    """
    shared = {"objective": "dr_grpo", "step_baseline": "same_step", "kl_weight": 0.0, "seed": seed, "group": 8}
    shared |= {"checkpoint_every": 0, "evaluate_every": 10_000, "evaluation_problems": 64, "evaluation_samples": 4}
    if scale == "gpu":
        size = {"model": "smollm2", "prompts": 8, "steps": 60, "learning_rate": 1e-5, "precision": "bfloat16"}
        size |= {"max_new_tokens": 96}
    else:
        size = {"model": "tiny", "prompts": 16, "steps": 60, "learning_rate": 2e-4, "device": "cpu"}
    if scale == "smoke":
        size |= {"prompts": 2, "steps": 4}
        shared |= {"group": 4, "evaluation_problems": 2, "evaluation_samples": 1}
    return Settings(task="chains", **shared, **size)


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell a seed and arm."""
    return {
        f"{arm} seed {number}": partial(run, scale, arm, number)
        for number in range(seed, seed + SEEDS[scale])
        for arm in ARMS
    }


def run(scale: ScaleName, arm: str, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm; one row a step, of the samples it learned from, and held-out accuracy at both ends."""
    chosen = settings(scale, seed)
    task = ChainsTask(filler_rate=FILLER_RATE) if scale == "gpu" else ShortFillers()
    lm = _start(scale, task, seed)
    loop = Loop(chosen, language_model=lm, task=task, reward_path=reward_path(ARMS[arm], task))
    rows = []
    for step in range(chosen.steps):
        ends = _held_out(loop) if step == 0 else {}
        batch = loop.roll_out()
        learned = loop.learn(batch)
        loop.step += 1
        if step == chosen.steps - 1:
            ends = _held_out(loop)
        rows.append({"step": step, **measured(batch), "entropy": learned["policy/entropy"], **ends})
    return pd.DataFrame(rows).round(5).assign(arm=arm, seed=seed)


def reward_path(arm: Arm, task: ChainsTask) -> RewardPath:
    """The arm's reward file with its weight; an answer that was cut off is wrong, whatever its last line."""
    path = RewardPath.from_toml(f"rewards/{arm.file}.toml", task)
    process = replace(path.process, weight=arm.weight)
    return replace(path, signals={"correct": finished(task)}, process=process)


def finished(task: ChainsTask) -> Signal:
    """The task's verifier, for answers that the model has ended itself; others are wrong."""

    def correct(prompt: str, completion: str, *, problem: Problem, ended: bool, **columns: object) -> float:
        return task.verify(problem, completion) if ended else 0.0

    return correct


def measured(batch: Batch) -> dict[str, float]:
    """What a batch of samples is like."""
    texts, completions = [steps.texts for steps in batch.rewards.steps], batch.completions
    return line_counts(texts) | {
        "accuracy": float(batch.rewards.signals["correct"].mean()),
        "length": float(completions.lengths.double().mean()),
        "ended": float(completions.ended.double().mean()),
    }


def line_counts(answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Lines an answer; share of all lines that say nothing; and mean share of an answer's lines that differ.

    Args:
        answers: The lines of each answer; none is an answer too, whose lines all differ.
    """
    lines = [line for answer in answers for line in answer]
    contentless = [parse_step(line).kind == "statement" for line in lines]
    return {
        "lines": len(lines) / len(answers),
        "contentless": float(np.mean(contentless)) if lines else 0.0,
        "distinct": float(np.mean([len(set(answer)) / max(len(answer), 1) if answer else 1.0 for answer in answers])),
    }


def _held_out(loop: Loop) -> dict[str, float]:
    found = loop.evaluate()
    return {"held_out": found["evaluation/sampled"], "held_out_greedy": found["evaluation/greedy"]}


def _start(scale: ScaleName, task: ChainsTask, seed: int) -> LanguageModel:
    """The model that all arms of a seed begin with."""
    if scale == "gpu":
        return warmed_up("smollm2", task, WARM_UPS[scale], seed=seed, device="cuda")
    if scale == "smoke":
        return warmed_up("tiny-test", task, WARM_UPS[scale], seed=seed)
    folder = made_once(
        f"decoder-{'-'.join(map(str, SHAPE.values()))}-{seed}", lambda folder: _decoder(seed).save(folder)
    )
    return warmed_up(str(folder), task, WARM_UPS[scale], seed=seed)


def _decoder(seed: int) -> LanguageModel:
    """A decoder between "tiny-test", which cannot learn the task, and "tiny", three times as slow; random weights."""
    config = tiny_model("tiny").config
    config.update(SHAPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return LanguageModel(model.eval(), character_tokenizer(), "small decoder", chat=False)


EXPERIMENT = Experiment("lm_step_rewards", "step scores paid raw, clipped, as differences, or both", cells)
