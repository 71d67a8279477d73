"""The loop on several processes: the same answers lead to the same numbers, however the questions are shared out.

What a process samples depends on its own generator, so two processes draw other answers than one does. What is
compared here is everything after that: the answers are handed in, the same for the same question and step.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_scale import grpo
from llm_scale.grpo import Loop
from llm_scale.models.loading import LoraSettings, load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rollouts.completions import Completions
from llm_scale.running.distributed import World
from llm_scale.settings import Settings
from llm_scale.tasks.loading import task
from llm_scale.training_pass.forward import completion_log_probs
from long_runs.run_log import read_metrics

SMALL = {
    "model": "tiny-test",
    "task": "addition:style=bare",
    "prompts": 4,
    "group": 3,
    "steps": 2,
    "max_new_tokens": 6,
    "learning_rate": 1e-2,
    "evaluation_problems": 3,
    "evaluation_samples": 2,
    "evaluate_every": 1,
    "checkpoint_every": 0,
}
SUM = """
[sources]
odd = "given"
long = { kind = "length", unit = "tokens" }
[pipeline.signals]
odd = [{ kind = "running_standardise" }]
long = []
[pipeline.combine]
kind = "weighted_sum"
weights = { odd = 1.0, long = 0.3 }
"""
NORMALISED = 'advantage]\nkind = "normalise_then_sum"'
OWN = SUM.partition("combine]")[0] + NORMALISED + "\n"
STEPS = """
[sources]
long = { kind = "length", unit = "tokens" }
[pipeline.signals]
long = []
[process]
source = "flawed_labels"
mode = "clip_delta"
threshold = 0.7
weight = 0.3
"""
CASES = {
    "grpo": {"objective": "grpo"},
    "grpo fsdp2": {"objective": "grpo", "parallel": "fsdp2"},
    "grpo uneven": {"objective": "grpo", "prompts": 5, "prompts_per_pass": 2},
    "reinforce_plus_plus uneven": {"objective": "reinforce_plus_plus", "prompts": 5},
    "reinforce_plus_plus fsdp2": {"objective": "reinforce_plus_plus", "parallel": "fsdp2", "updates": 2},
    "stable_reinforce": {"objective": "stable_reinforce", "updates": 2},
    "reinforce_plus_plus_baseline": {"objective": "reinforce_plus_plus_baseline", "prompts": 3},
    "lite_ppo": {"objective": "lite_ppo", "prompts": 3},
    "dr_grpo uneven": {"objective": "dr_grpo", "prompts": 5, "updates": 2, "measure_kl": True},
    "rloo fsdp2": {"objective": "rloo", "parallel": "fsdp2", "prompts_per_pass": 2},
    "normalise_then_sum uneven": {"objective": "dapo", "prompts": 5, "reward": OWN},
    "steps": {"objective": "grpo", "task": "chains:style=bare,operations=1", "reward": STEPS, "prompts": 3},
    "adapters fsdp2": {"objective": "grpo", "parallel": "fsdp2", "lora_rank": 2},
}


def odd(samples):
    """A learned reward that depends on the answer alone, and fails for about one in seven."""
    values = [sum(sample.ids) % 7 / 3 for sample in samples]
    if not all(values):
        raise RuntimeError("an answer whose sum is a multiple of seven")
    return values


def handed_in(loop):
    """In place of sampling: answers that depend on question, sample and step only, as likely as the model says."""

    def answer(lm, prompts, *, group, max_new_tokens, temperature, **unused):
        rows = []
        for prompt in prompts:
            for number in range(group):
                rng = np.random.default_rng([*prompt, number, loop.step, round(10 * temperature)])
                rows.append([*rng.integers(3, 90, rng.integers(0, max_new_tokens)).tolist(), lm.end_ids[0]])
        ids = torch.full((len(rows), max(map(len, rows))), lm.pad_id)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        mask = torch.arange(ids.shape[1]) < torch.tensor([[len(tokens)] for tokens in rows])
        with torch.no_grad():
            told = completion_log_probs(lm.base, prompts, ids, mask, group=group, temperature=temperature or 1.0)
        return Completions(list(prompts), group, ids, mask, told.log_probs.detach(), torch.ones(len(rows), dtype=bool))

    return answer


def trained(name, world):
    """Rows of two steps with answers handed in, and the weights after them."""
    changes = dict(CASES[name])
    text, rank = changes.pop("reward", SUM), changes.pop("lora_rank", 0)
    settings = Settings(**SMALL | changes)
    asked = task(settings.task)
    given = {"odd": odd} if "odd" in text else None
    lm = load("tiny-test", dtype="float64", lora=LoraSettings(rank=rank) if rank else None)
    loop = Loop(
        settings, language_model=lm, reward_path=RewardPath.from_toml(text, asked, given=given), task=asked, world=world
    )
    sampling, grpo.sample = grpo.sample, handed_in(loop)
    try:
        rows = [loop.one_step() for _ in range(settings.steps)]
    finally:
        grpo.sample = sampling
    return rows, loop.policy.state(loop.optimiser)[0]


def main(folder):
    """What each of the processes does."""
    torch.set_num_threads(1)
    world = World.current()
    for name in CASES:
        rows, weights = trained(name, world)
        agree = world.gather({part: float(weight.double().sum()) for part, weight in weights.items()})
        assert agree[0] == agree[-1], "processes have different weights"
        if world.is_main:
            (Path(folder) / f"{name}.json").write_text(json.dumps(rows))
            save_file({part: weight.contiguous() for part, weight in weights.items()}, Path(folder) / f"{name}.tensors")
        world.barrier()
    _redraw(world)
    torch.distributed.destroy_process_group()


def _redraw(world):
    """Only the first process has questions to draw again; the second must not wait for ever, nor leave it waiting."""
    settings = Settings(**SMALL | {"parallel": "fsdp2", "redraws": 2, "steps": 1, "evaluation_problems": 4})
    loop = Loop(settings, world=world)
    loop._verified = lambda problems, completions: [
        float(world.rank == 1 and row % 3 == 0) for row in range(completions.samples)
    ]
    assert math.isfinite(loop.one_step()["policy/loss"])


ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(*command, timeout=400):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return done


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes under torchrun computed."""
    folder = tmp_path_factory.mktemp("processes")
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run(*torchrun, "-m", "tests.llm_scale.test_grpo_processes", str(folder))
    return folder


def close(name, one, other):
    if math.isnan(one) or math.isnan(other):
        assert math.isnan(one) and math.isnan(other), name
    else:
        assert one == pytest.approx(other, rel=1e-6, abs=1e-7), name


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(found, name):
    rows, weights = trained(name, World.single())
    told = json.loads((found / f"{name}.json").read_text())
    for row, expected in zip(told, rows, strict=True):
        assert row.keys() == expected.keys()
        for metric in expected:
            if not metric.startswith("seconds/"):
                close(metric, row[metric], expected[metric])
        assert expected["policy/gradient_norm"] > 1e-3
    for part, weight in load_file(found / f"{name}.tensors").items():
        torch.testing.assert_close(weight, weights[part], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_command_runs_under_both_launchers_and_goes_on_where_it_stopped(tmp_path):
    pytest.importorskip("accelerate")
    torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    accelerate = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    accelerate += ("--mixed_precision", "no", "--dynamo_backend", "no", "-m")
    options = {**SMALL, "evaluation_problems": 4, "evaluate_every": 5, "checkpoint_every": 1, "parallel": "fsdp2"}
    options |= {"device": "cpu", "objective": "dr_grpo", "reward": "rewards/weighted_sum.toml"}
    for launcher, folder, steps in ((torchrun, "stopped", 1), (torchrun, "stopped", 2), (accelerate, "through", 2)):
        given = options | {"folder": tmp_path / folder, "steps": steps}
        run(*launcher, "llm_scale.grpo", *(f"--{name.replace('_', '-')}={value}" for name, value in given.items()))
    rows = {folder: numbers(read_metrics(tmp_path / folder)) for folder in ("stopped", "through")}
    assert [row["step"] for row in rows["through"]] == [1, 2]
    assert rows["stopped"][1] == rows["through"][1]  # the first has no evaluation at its end
    saved = [load_file(tmp_path / folder / "checkpoints/step-00000002/model.safetensors") for folder in rows]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[1])
    alone = Loop(Settings(**options | {"steps": 2}), world=World.single())
    assert numbers([alone.one_step()])[0]["tokens"] != rows["through"][0]["tokens"]  # there were two


def numbers(rows):
    """All but how long it took."""
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


class Two(World):
    """Two processes as far as can be known without them."""

    def __init__(self):
        super().__init__(0, 2)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"parallel": "fsdp2", "prompts": 3}, "prompts is 3, expected a multiple of the 2 processes"),
        ({"prompts_per_update": 2, "prompts": 5}, "prompts is 5, expected a multiple of the 2 processes"),
        ({"prompts_per_update": 3}, "prompts_per_update is 3, expected a multiple of the 2 processes"),
    ],
)
def test_questions_that_cannot_be_shared_out_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        Loop(Settings(**SMALL | changes), world=Two())
    Settings(**SMALL | changes).check_processes(1)


if __name__ == "__main__":
    main(sys.argv[1])
