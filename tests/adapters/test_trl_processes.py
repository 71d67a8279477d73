"""One TRL run on one process and on two: the same numbers, though a group of completions lies on both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("trl_two_processes.py")

pytestmark = pytest.mark.slow


def test_two_processes_give_the_numbers_of_one(tmp_path):
    runs = []
    environment = os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[2]), environment.get("PYTHONPATH", "")])
    for processes in (1, 2):
        output = tmp_path / f"{processes}.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        command = [sys.executable, *launcher, str(SCRIPT), str(output)]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert run.returncode == 0, run.stderr[-3000:]
        runs.append(json.loads(output.read_text()))
    one, two = runs
    assert (one["canned"]["processes"], two["canned"]["processes"]) == (1, 2)
    assert_same_run(one["canned"], two["canned"])
    for record in two["canned"]["record"]:
        # The second group lies on both processes; a process that saw only its own part would get other numbers.
        assert record["completions_here"] == 6
        assert record["prompts"][4] == record["prompts"][5] == record["prompts"][6] == record["prompts"][7]
    for run in (one, two):
        assert_advantages_follow_from_the_completions(run["sampled"])
    assert one["sampled"]["record"][0]["completions"] != two["sampled"]["record"][0]["completions"]


def assert_same_run(one, two):
    for here, there in zip(one["record"], two["record"], strict=True):
        assert here["prompts"] == there["prompts"]
        assert here["completions"] == there["completions"]
        assert np.ptp(here["advantages"]) > 0.1
        np.testing.assert_allclose(there["advantages"], here["advantages"], rtol=0, atol=1e-12)
    for here, there in zip(one["log"], two["log"], strict=True):
        assert len([name for name in here if name.startswith("reward/")]) == 11
        assert here.keys() == there.keys()
        for name in here.keys() - {"step_time", "entropy"}:
            np.testing.assert_allclose(there[name], here[name], rtol=1e-5, atol=1e-9, err_msg=name)
    assert two["state"] == one["state"]
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=0, atol=1e-6)


def assert_advantages_follow_from_the_completions(run):
    """The same pipeline over the recorded completions of all processes, scored here without TRL."""
    from tests.adapters import trl_two_processes as tiny

    pipeline = tiny.group_pipeline()
    data = tiny.tiny_data()
    columns = {row["prompt"]: row for row in data}
    for record in run["record"]:
        rows = [columns[prompt] for prompt in record["prompts"]]
        signals = {
            name: [signal(**row, completion=text) for row, text in zip(rows, record["completions"], strict=True)]
            for name, signal in tiny.SIGNALS.items()
        }
        references = {"harmless": np.array([row["harmless_reference"] for row in rows])}
        result = pipeline(signals, group_ids=record["prompts"], references=references)
        np.testing.assert_allclose(record["advantages"], result.advantages, atol=1e-5)
