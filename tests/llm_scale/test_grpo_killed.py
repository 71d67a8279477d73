"""The command killed in the middle of its steps: started again, it comes to the numbers of a run that never stopped.

Run as a program, this file is `python -m llm_scale.grpo` with a death in it: KILLED_AT=step:event in the environment
kills the process by SIGKILL at an event of that step.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llm_scale import grpo
from long_runs.run_log import read_metrics

OPTIONS = {
    "model": "tiny-test",
    "task": "addition:style=bare",
    "reward": "rewards/weighted_sum.toml",
    "objective": "grpo",
    "prompts": 2,
    "group": 4,
    "steps": 7,
    "max-new-tokens": 6,
    "learning-rate": 1e-3,
    "rising-steps": 4,
    "updates": 2,
    "evaluate-every": 3,
    "evaluation-problems": 2,
    "evaluation-samples": 2,
    "checkpoint-every": 2,
    "lora-rank": 0,
    "device": "cpu",
}
ROOT = Path(__file__).parents[2]
DEATHS = ("1:logged", "3:gradient", "6:checkpoint")  # one before the first checkpoint


def die_at(step, event):
    """Arrange for this process to be killed: between backward pass and optimiser, in a checkpoint, or after a row."""
    where = {
        "gradient": (grpo.Loop, "_optimise"),
        "checkpoint": (os, "replace"),
        "logged": (grpo.TrainingProgress, "advance"),
    }[event]
    original = getattr(*where)
    loops = []
    begin = grpo.Loop.one_step

    def one_step(loop):
        loops.append(loop)
        return begin(loop)

    def deadly(*arguments, **settings):
        saving = event != "checkpoint" or ".part-step" in str(arguments[0])
        if loops and loops[-1].step == step and saving:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **settings)

    grpo.Loop.one_step = one_step
    setattr(*where, deadly)


def started(folder, death=None):
    """The exit code of the command, killed or not."""
    program = ["-m", "llm_scale.grpo"] if death is None else ["-m", "tests.llm_scale.test_grpo_killed"]
    options = [f"--{name}={value}" for name, value in (OPTIONS | {"folder": folder}).items()]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "KILLED_AT": death or ""}
    done = subprocess.run(
        [sys.executable, *program, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-4000:]
    return done.returncode


def events(folder):
    """What TensorBoard shows: the last value of each number at each step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    shown.Reload()
    return {name: {one.step: one.value for one in shown.Scalars(name)} for name in shown.Tags()["scalars"]}


@pytest.mark.slow
def test_a_run_killed_three_times_ends_as_one_that_was_not(tmp_path):
    through, killed = tmp_path / "through", tmp_path / "killed"
    assert started(through) == 0
    for death in DEATHS:
        assert started(killed, death) == -signal.SIGKILL
    assert not (killed / "checkpoints" / "step-00000007").exists()
    assert started(killed) == 0
    rows, expected = read_metrics(killed), read_metrics(through)
    for row, one in zip(rows, expected, strict=True):
        names = [name for name in one if not name.startswith("seconds/")]
        assert set(names) == {name for name in row if not name.startswith("seconds/")}
        assert {name: row[name] for name in names} == {name: one[name] for name in names}
    assert [row["step"] for row in rows] == list(range(1, 8))
    weights = [load_file(run / "checkpoints/step-00000007/model.safetensors") for run in (killed, through)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    shown = events(killed)
    for name in ("policy/loss", "reward/mean", "evaluation/greedy"):
        known = {row["step"]: row[name] for row in rows if name in row}
        assert shown[name] == pytest.approx(known, abs=1e-6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    step, event = os.environ["KILLED_AT"].split(":")
    die_at(int(step), event)
    grpo.main()
