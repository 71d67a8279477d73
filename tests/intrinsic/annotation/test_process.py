"""Annotation in a real process: killed, hung, talking nonsense, forgotten, and orphaned."""

import gc
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rewardlab.intrinsic.annotation.process import AnnotationProcess
from rewardlab.intrinsic.annotation.worker_process import WorkerFailure, WorkerProcess

MESSAGES = [f"You kill newt {number}!" for number in range(20)] + [
    f"You see here {number} darts." for number in range(20)
]
PYTHON = (sys.executable, "-c")


def failing(how, until="/nowhere", word=""):
    arguments = {"how": how, "until": str(until), "word": word}
    return {"factory": "tests.intrinsic.annotation.fake_worker:Failing", "arguments": arguments}


def make(how, *rest, **options):
    return AnnotationProcess(failing(how, *rest), **{"backoff": 0.01, "batch": 10, **options})


def gone(pid, seconds=10.0):
    """Whether the process ends, and is no zombie, within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("how", "kind"),
    [("kill itself", "died"), ("raise", "error"), ("short", "garbage")],
)
def test_labels_survive_an_annotator_that_fails_for_a_while(tmp_path, how, kind):
    source = make(how, tmp_path / "well", failures=1000, attempts=1000)
    source.submit(MESSAGES)
    until(lambda: source.statistics()[kind] >= 1)
    (tmp_path / "well").touch()
    assert source.wait(20)
    assert sorted(source.collect(0)) == sorted((message, int("kill" in message)) for message in MESSAGES)
    pid = source.pid
    source.close()
    assert gone(pid, 0.1)


def test_acting_never_waits_for_an_annotator_that_hangs(tmp_path):
    source = make("hang", tmp_path / "well", timeout=0.4, failures=1000, attempts=1000)
    times, number = [], 0
    end = time.monotonic() + 20
    while source.statistics()["timed_out"] < 1 and time.monotonic() < end:
        before = time.perf_counter()
        source.submit([f"You see here {number} arrows, {'very ' * 30}sharp.", f"You kill newt {number}!"])
        source.collect(number)
        times.append(time.perf_counter() - before)
        number += 1
        time.sleep(0.001)
    assert source.statistics()["timed_out"] >= 1 and source.statistics()["delivered"] == 0
    # this machine: median 0.03 ms; the bound leaves room for a loaded one and for the run-time checks of the tests
    assert np.median(times) < 0.002 and max(times) < 0.3
    (tmp_path / "well").touch()
    assert source.wait(20) and len(source.collect(0)) == 2 * number
    source.close()


def test_a_killed_worker_is_replaced():
    source = make("short", "/nowhere", "never")
    source.submit(MESSAGES[:20])
    assert source.wait(20)
    pid = source.pid
    os.killpg(pid, signal.SIGKILL)
    source.submit(MESSAGES[20:])
    assert source.wait(20) and len(source.collect(0)) == 40 and source.pid != pid and gone(pid, 0.1)
    pid = source.pid
    del source
    gc.collect()
    assert gone(pid)  # forgotten without close


def test_a_worker_that_cannot_start_is_down():
    source = make("no start", failures=2)
    source.submit(MESSAGES)
    until(lambda: source.statistics()["down"])
    with pytest.warns(RuntimeWarning, match="down after 2 failures in a row .*FileNotFoundError: no weights"):
        assert source.collect(0) == []
    assert source.statistics()["waiting"] == 40 and not source.wait(5)
    source.close()


TRAINING = """
import sys, time
from rewardlab.intrinsic.annotation.process import AnnotationProcess
source = AnnotationProcess({spec!r}, journal={journal!r}, batch=2, seed=3)
source.submit({messages!r})
while source.pid is None or source.statistics()["annotated"] < {labels}:
    time.sleep(0.002)
source.collect(0)
print(source.pid, flush=True)
time.sleep(3600)
"""


def test_a_killed_training_takes_its_worker_along_and_finds_its_labels_again(tmp_path):
    spec, journal = failing("hang", tmp_path / "well", "newt 3!"), tmp_path / "labels"
    text = TRAINING.format(spec=spec, journal=str(journal), messages=MESSAGES[::-1], labels=2)
    training = subprocess.Popen(
        [*PYTHON, text], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    worker = int(training.stdout.readline())  # newt 0 and 1 are labelled; it hangs over newt 3
    with pytest.raises(ValueError, match="is in use already"):
        AnnotationProcess(spec, journal=journal, seed=3)
    training.kill()
    training.communicate()
    assert gone(worker)
    with open(journal, "ab") as file:
        file.write(b'{"number": 3, "item": "You kill')
    (tmp_path / "well").touch()
    source = AnnotationProcess(spec, journal=journal, batch=100, seed=3)
    before = source.collect(0)
    assert before == [("You kill newt 0!", 1), ("You kill newt 1!", 1)]
    source.submit(MESSAGES)
    assert source.wait(20)
    answers = before + [answer for answer in source.collect(0) if answer not in before]
    assert sorted(answers) == sorted((message, int("kill" in message)) for message in MESSAGES)
    source.close()
    items = [json.loads(line)["item"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(items) == sorted(MESSAGES)
    with pytest.raises(ValueError, match="holds labels of another annotator or goal"):
        AnnotationProcess(spec, journal=journal, seed=3, goal="gold")


def test_a_worker_ends_with_its_input_in_the_middle_of_an_answer():
    worker = WorkerProcess()
    hello = {"annotator": failing("hang"), "goal": "", "seed": 0, "parent": os.getpid()}
    worker.send(json.dumps(hello).encode(), 5)
    assert worker.receive(20) == b'{"ready": true}'
    worker.send(json.dumps({"id": 1, "number": 0, "messages": ["a"], "pairs": []}).encode(), 5)
    worker._process.stdin.close()
    assert worker._process.wait(10) == 0
    worker.close()


def exchange(worker, line):
    worker.send(line, 0.2)
    return worker.receive(10)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("import sys; sys.stdin.readline(); print('{]', flush=True); sys.stdin.read()", None),
        ("import time; time.sleep(100)", "timed_out"),
        ("pass", "died"),
        ("import os, sys\nwhile True: os.write(1, b'x' * 2**20)", "garbage"),
    ],
)
def test_lines_to_and_from_a_process(program, kind, monkeypatch):
    monkeypatch.setattr("rewardlab.intrinsic.annotation.worker_process.LONGEST_LINE", 2**22)
    worker = WorkerProcess([*PYTHON, program])
    if kind is None:
        worker.send(b"{}", 5)
        assert worker.receive(10) == b"{]"
    else:
        with pytest.raises(WorkerFailure) as caught:
            exchange(worker, b"x" * 2**21 if kind == "timed_out" else b"")  # more than a pipe holds, and nobody reads
        assert caught.value.kind == kind
    worker.close()
    worker.close()
    assert gone(worker.pid, 0.1)
