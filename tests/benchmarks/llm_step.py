"""A GRPO step of `llm_scale.grpo` against one of TRL's GRPOTrainer: same model, prompts, batch and lengths.

    python -m tests.benchmarks.llm_step                       both sides in turns, each in a process of its own
    python -m tests.benchmarks.llm_step --lengths natural     answers end where the model ends them
    python -m tests.benchmarks.llm_step --side trl            one side, as JSON

With `--lengths equal` every answer has exactly `--tokens` tokens on both sides: TRL is told so by `min_new_tokens`, and
`llm_scale` by a model that has no end token. TRL runs without gradient checkpointing, which is its faster way
(`--checkpointing` turns its default back on), and with nothing logged or saved.

A step is everything from the prompts to the changed weights: sampling, scoring, loss, backward pass, cutting of the
gradient and optimiser. The first step of a process is left out. Seconds are those of the clock on the wall; on a
machine that others use too, compare the processor's seconds instead, with `--threads 1`: threads that wait for one
another count as busy. Peak memory is the process's largest resident size from the first step on, weights included; on
a GPU, what torch had allocated there.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

SIDES = ("trl", "rewardlab")
PARTS = ("generation", "scoring", "loss_and_backward", "optimiser", "rest")
RATE = 5e-6


@dataclasses.dataclass(frozen=True)
class Work:
    """What both sides do."""

    model: str = "smollm2"
    task: str = "addition"
    prompts: int = 2
    group: int = 8
    tokens: int = 32
    lengths: str = "equal"
    steps: int = 4
    threads: int = 2
    device: str = "cpu"
    checkpointing: bool = False

    def problems(self) -> list:
        """The problems of all steps, the first one's too, in order."""
        from llm_scale.tasks.loading import task

        return task(self.task).problems("train", self.prompts * (self.steps + 1), seed=0)


class Clock:
    """Seconds by name and step; waits for the GPU where there is one."""

    def __init__(self, device: str):
        self.device, self.steps, self.names = device, [], []

    def now(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, name: str, function: Callable) -> Callable:
        def clocked(*arguments, **keywords):
            start = self.now()
            result = function(*arguments, **keywords)
            self.steps[-1][name] = self.steps[-1].get(name, 0.0) + self.now() - start
            return result

        return clocked


def trl_side(work: Work, lm: Any, clock: Clock, seen: list) -> None:
    """Train by TRL's GRPOTrainer."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from llm_scale.tasks.loading import task

    problems, verifier = work.problems(), task(work.task)

    def correct(prompts, completions, completion_ids, number, **columns):
        texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
        seen[-1] |= {"prompts": number[:: work.group], "lengths": [len(ids) for ids in completion_ids]}
        return [verifier.verify(problems[place], text) for place, text in zip(number, texts, strict=True)]

    class Timed(GRPOTrainer):
        def _prepare_inputs(self, batch):
            return clock.timed("prepared", super()._prepare_inputs)(batch)

        def _generate(self, prompts):
            return clock.timed("generation", super()._generate)(prompts)

        def _calculate_rewards(self, *arguments):
            return clock.timed("scoring", super()._calculate_rewards)(*arguments)

        def training_step(self, *arguments):
            return clock.timed("training_step", super().training_step)(*arguments)

    class Steps(TrainerCallback):
        def on_step_begin(self, *arguments, **keywords):
            _begin(clock, seen)

        def on_step_end(self, *arguments, **keywords):
            _end(clock)
            times = clock.steps[-1]
            prepared, trained = times.pop("prepared"), times.pop("training_step")
            times["loss_and_backward"] = trained - prepared
            times["optimiser"] = times["step"] - trained

    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=work.prompts * work.group,
        num_generations=work.group,
        max_completion_length=work.tokens,
        generation_kwargs={"min_new_tokens": work.tokens} if work.lengths == "equal" else None,
        max_steps=work.steps + 1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        loss_type="grpo",
        beta=0.0,
        temperature=1.0,
        shuffle_dataset=False,
        gradient_checkpointing=work.checkpointing,
        bf16=False,
        use_cpu=work.device == "cpu",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    chat = [[{"role": "user", "content": problem.prompt}] if lm.chat else problem.prompt for problem in problems]
    data = Dataset.from_dict({"prompt": chat, "number": list(range(len(problems)))})
    trainer = Timed(lm.model, correct, settings, data, processing_class=lm.tokenizer, callbacks=[Steps()])
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def rewardlab_side(work: Work, lm: Any, clock: Clock, seen: list) -> None:
    """Train by `llm_scale.grpo`."""
    from llm_scale.grpo import Loop
    from llm_scale.settings import Settings
    from llm_scale.tasks.loading import task as task_by_name

    problems, task = work.problems(), task_by_name(work.task)
    task.problems = lambda split, number, seed: problems[len(clock.steps[:-1]) * number :][:number]
    if work.lengths == "equal":

        class Endless(type(lm)):
            end_ids = (-1,)  # no token that is ever sampled

        lm.__class__ = Endless
    settings = Settings(
        model=work.model,
        task=work.task,
        objective="grpo",
        kl_weight=0.0,  # as TRL by default: no reference model
        steps=work.steps + 1,
        prompts=work.prompts,
        group=work.group,
        max_new_tokens=work.tokens,
        learning_rate=RATE,
        device=work.device,
    )
    loop = Loop(settings, language_model=lm, task=task)

    class TimedRewards:
        def __call__(self, *arguments, **keywords):
            return clock.timed("scoring", rewards)(*arguments, **keywords)

        def __getattr__(self, name):
            return getattr(rewards, name)

    rewards, loop.reward_path = loop.reward_path, TimedRewards()
    loop._sample = clock.timed("generation", loop._sample)
    loop._optimise = clock.timed("optimiser", loop._optimise)
    for _ in range(work.steps + 1):
        _begin(clock, seen)
        batch = loop.roll_out()
        clock.timed("learned", loop.learn)(batch)
        loop.step += 1
        _end(clock)
        times = clock.steps[-1]
        times["loss_and_backward"] = times.pop("learned") - times["optimiser"]
        numbers = [problems.index(problem) for problem in batch.problems]
        seen[-1] |= {"prompts": numbers, "lengths": batch.completions.lengths.tolist()}


def measure(side: str, work: Work) -> dict[str, Any]:
    """Run one side in this process."""
    from llm_scale.models.loading import load
    from long_runs.recording import describe_device, library_versions

    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    lm = load(work.model, device=work.device)
    rate = multiplication_rate(work.device)
    clock, seen = Clock(work.device), []
    lm.model.train()
    forget_peak(work.device)
    {"trl": trl_side, "rewardlab": rewardlab_side}[side](work, lm, clock, seen)
    peak = peak_bytes(work.device)
    steps = [
        {**times, "rest": times["step"] - sum(times[part] for part in PARTS[:-1]), **what}
        for times, what in zip(clock.steps, seen, strict=True)
    ][1:]
    prompt_tokens = [len(lm.encode(problem.prompt)) for problem in work.problems()]
    for step in steps:
        asked = [prompt_tokens[number] for number in step["prompts"]]
        step |= {"prompt_tokens": asked, "flops": needed_flops(lm.base, asked, step["lengths"])}
    return {
        "side": side,
        "work": dataclasses.asdict(work),
        "steps": steps,
        "peak_bytes": peak,
        "multiplication_rate": rate,
        "device": describe_device(work.device),
        "versions": library_versions(),
    }


def needed_flops(model: Any, prompts: list[int], answers: list[int]) -> float:
    """Operations of the matrix multiplications that a step cannot do without.

    Each prompt and each answer token once through the layers to sample, and once forward and backward (three times
    the work) to learn; the output layer for answer tokens only. Attention itself is left out: below a hundredth here.
    """
    head = model.get_output_embeddings().weight.numel()
    embedding = model.get_input_embeddings().weight
    layers = sum(parameter.numel() for parameter in model.parameters() if parameter is not embedding)
    layers -= 0 if model.get_output_embeddings().weight is embedding else head
    return 2.0 * (1 + 3) * (layers * (sum(prompts) + sum(answers)) + head * sum(answers))


def multiplication_rate(device: str) -> float:
    """Operations a second of large float32 matrix products, best of several: what the machine gives just now."""
    size = 1024 if device == "cpu" else 8192
    left, right = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    clock, best = Clock(device), float("inf")
    for _ in range(8):
        start = clock.now()
        left @ right
        best = min(best, clock.now() - start)
    return 2.0 * size**3 / best


def forget_peak(device: str) -> None:
    """Count the peak from here on, so that loading the model has no part in it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _begin(clock: Clock, seen: list) -> None:
    clock.steps.append({"step": -clock.now(), "processor": -time.process_time()})
    seen.append({})


def _end(clock: Clock) -> None:
    clock.steps[-1]["step"] += clock.now()
    clock.steps[-1]["processor"] += time.process_time()


def compare(work: Work, rounds: int, *, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Both sides in turns, each time in a new process.

    Returns:
        By side: best and median seconds of a step, the processor's median seconds, the median seconds of its parts,
        tokens a second of sampling and of the whole step, the largest peak, and the share of the matrix-multiply rate
        in the best step; and the ratios.

    Raises:
        RuntimeError: If a side fails, or both did not see the same prompts, or not the same lengths where they should.
    """
    runs: dict[str, list] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            say(f"round {turn + 1} of {rounds}: {side} (load of the machine {os.getloadavg()[0]:.1f})")
            runs[side].append(_in_own_process(side, work))
    ours, theirs = ([step for run in runs[side] for step in run["steps"]] for side in ("rewardlab", "trl"))
    same = ("prompts", "prompt_tokens", "lengths") if work.lengths == "equal" else ("prompts", "prompt_tokens")
    for one, other in zip(ours, theirs, strict=True):
        if any(one[name] != other[name] for name in same):
            raise RuntimeError(f"the sides did different work: {[(one[name], other[name]) for name in same]}")
    result: dict[str, Any] = {side: summary(runs[side]) for side in SIDES}
    faster = {
        name: result["trl"][name] / result["rewardlab"][name] for name in ("best", "median", "processor", "peak_bytes")
    }
    first = runs["trl"][0]
    return {**result, "ratios": faster, **{name: first[name] for name in ("work", "device", "versions")}}


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """What the steps of one side's processes come to."""
    steps = [step for run in runs for step in run["steps"]]
    tokens = [sum(step["lengths"]) for step in steps]
    best = min(steps, key=lambda step: step["step"])
    return {
        "best": best["step"],
        "median": statistics.median(step["step"] for step in steps),
        "processor": statistics.median(step["processor"] for step in steps),
        **{part: statistics.median(step[part] for step in steps) for part in PARTS},
        "tokens": statistics.mean(tokens),
        "sampled_tokens_a_second": sum(tokens) / sum(step["generation"] for step in steps),
        "tokens_a_second": sum(tokens) / sum(step["step"] for step in steps),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "multiplication_rate": max(run["multiplication_rate"] for run in runs),
        "share_of_rate": best["flops"] / best["step"] / max(run["multiplication_rate"] for run in runs),
    }


def _in_own_process(side: str, work: Work) -> dict[str, Any]:
    arguments = [f"--{name}={value}" for name, value in dataclasses.asdict(work).items() if name != "checkpointing"]
    arguments += ["--checkpointing"] * work.checkpointing
    command = [sys.executable, "-m", "tests.benchmarks.llm_step", "--side", side, *arguments]
    threads = {name: str(work.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads})
    if run.returncode:
        raise RuntimeError(f"{side} ended with {run.returncode}: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def table(result: dict[str, Any]) -> str:
    """The comparison as text."""
    rows = [f"{'':24}{'TRL':>12}{'llm_scale':>12}{'ratio':>8}"]
    for name in ("best", "median", "processor", *PARTS):
        values = [result[side][name] for side in SIDES]
        rows.append(f"{name + ' (s)':24}{values[0]:12.3f}{values[1]:12.3f}{values[0] / values[1]:8.2f}")
    for name in ("tokens", "sampled_tokens_a_second", "tokens_a_second"):
        values = [result[side][name] for side in SIDES]
        rows.append(f"{name:24}{values[0]:12.1f}{values[1]:12.1f}{values[1] / values[0]:8.2f}")
    for name, unit, label in (
        ("peak_bytes", 2**20, "peak memory (MiB)"),
        ("multiplication_rate", 1e9, "products (Gflop/s)"),
        ("share_of_rate", 0.01, "share of that (%)"),
    ):
        values = [result[side][name] / unit for side in SIDES]
        ratio = values[0] / values[1] if name == "peak_bytes" else values[1] / values[0]
        rows.append(f"{label:24}{values[0]:12.1f}{values[1]:12.1f}{ratio:8.2f}")
    return "\n".join(rows)


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Work):
        if field.type is bool:
            parser.add_argument(f"--{field.name}", action="store_true")
        else:
            choices = ("equal", "natural") if field.name == "lengths" else None
            parser.add_argument(f"--{field.name}", type=field.type, default=field.default, choices=choices)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--rounds", type=int, default=2, help="how often each side has its turn")
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    given = vars(parser.parse_args())
    side, rounds, output = (given.pop(name) for name in ("side", "rounds", "output"))
    work = Work(**given)
    if side:
        print(json.dumps(measure(side, work)))
        return
    result = compare(work, rounds, say=lambda text: print(text, file=sys.stderr, flush=True))
    print(table(result))
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
