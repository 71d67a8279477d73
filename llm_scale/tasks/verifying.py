"""Checking a batch of answers so that none of them can stop the training, by an error, a hang or a crash."""

import gc
import json
import math
import numbers
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from llm_scale.tasks.task import Problem, Task
from rewardlab.checks import check_scalar

__all__ = ["Failure", "verify_all"]

MEMORY = 2 << 30  # bytes that a verifier may use beyond what the process holds already
START_SECONDS = 60.0  # for the verifying process to begin; copying a large process is slow on a busy machine
SHOWN = 300  # characters of a reason


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that could not be checked; its reward is missing, not zero.

    Args:
        prompt: Place of its problem in the batch.
        sample: Which of the answers to that problem it is.
        problem: Number of the problem in its task.
        reason: What happened.
    """

    prompt: int
    sample: int
    problem: int
    reason: str

    def __str__(self) -> str:
        return f"prompt {self.prompt} (problem {self.problem}), sample {self.sample}: {self.reason}"


def verify_all(
    task: Task, problems: Sequence[Problem], completions: Sequence[str], *, seconds: float = 5.0
) -> list[float | Failure]:
    """The verifier's score of every completion, or what went wrong with it.

    A completion on which the verifier is known to end (`Task.ends_on`) is checked here and now. The others are checked
    in a process of their own, a copy of this one, which is ended where one takes too long; another goes on with the
    next.

    Args:
        task: Whose verifier is asked.
        problems: P problems.
        completions: P * G texts; text b answers problem b // G.
        seconds: Wall time that one answer may take, above 0.

    Returns:
        One entry a completion: a number in [0, 1], or a `Failure` where the verifier raised an error, returned anything
        else, took longer than `seconds`, needed more than 2 GB of memory, or brought its process down.

    Raises:
        TypeError: If a completion is no text.
        ValueError: If there is no problem, or the completions are not the same number for each.
        RuntimeError: If the verifier needs a process of its own and this system cannot copy one (it has no fork).

    Example:
        >>> from llm_scale.tasks.addition import AdditionTask
        >>> problems = AdditionTask().problems("train", 2, seed=0)
        >>> verify_all(AdditionTask(), problems, [problems[0].gold, "", "no idea", problems[1].gold])
        [1.0, 0.0, 0.0, 1.0]
    """
    check_scalar("seconds", seconds, low=0.0, open_low=True)
    if not problems or len(completions) % len(problems):
        raise ValueError(
            f"completions: got {len(completions)} for {len(problems)} problems, expected the same number for each"
        )
    for place, completion in enumerate(completions):
        if not isinstance(completion, str):
            raise TypeError(f"completions[{place}]: expected text, got {type(completion).__name__}")
    group = max(1, len(completions) // len(problems))
    pairs = [(problems[row // group], completion) for row, completion in enumerate(completions)]
    ends = [task.ends_on(completion) for completion in completions]
    apart = _apart(task, [pair for pair, here in zip(pairs, ends, strict=True) if not here], seconds)
    outcomes = [_outcome(task, *pair) if here else next(apart) for pair, here in zip(pairs, ends, strict=True)]
    apart.close()
    return [
        Failure(row // group, row % group, problem.number, outcome) if isinstance(outcome, str) else outcome
        for row, ((problem, _), outcome) in enumerate(zip(pairs, outcomes, strict=True))
    ]


def _outcome(task: Task, problem: Problem, completion: str) -> float | str:
    """A score in [0, 1], or what went wrong."""
    try:
        score = task.verify(problem, completion)
        if isinstance(score, numbers.Real | np.bool_) and 0 <= score <= 1:  # NaN is not
            return float(score)
        return f"the verifier returned {score!r}, expected a number in [0, 1]"[:SHOWN]
    except Exception as error:  # whatever a verifier does, the training goes on
        try:
            return f"the verifier raised {type(error).__name__}: {error}"[:SHOWN]
        except Exception:  # not even its error can be told
            return f"the verifier raised {type(error).__name__}"


def _apart(task: Task, pairs: Sequence[tuple[Problem, str]], seconds: float) -> Iterator[float | str]:
    """Outcomes from processes of their own: a new one follows each that had to be ended."""
    if not hasattr(os, "fork"):
        raise RuntimeError(
            f"the verifier of {task.name} needs a process of its own under a time limit, and this system has no fork; "
            f"set always_ends = True on the task if its verifier ends at once on any text"
        )
    done = 0
    while done < len(pairs):
        process, stream = _begin(task, pairs[done:], seconds)
        lines = _Lines(stream)
        try:
            started = lines.read(START_SECONDS) is not None
            while started and done < len(pairs):
                line = lines.read(seconds)
                if line is None:
                    break
                done += 1
                yield json.loads(line)
        finally:
            late = not lines.ended
            os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            os.close(stream)
        if done < len(pairs):
            done += 1
            yield f"the verifier took longer than {seconds:g} s" if late else _end_of_process(status)


class _Lines:
    """Lines of a pipe, each waited for so long and no longer."""

    def __init__(self, stream: int) -> None:
        self.stream, self.held, self.ended = stream, b"", False

    def read(self, seconds: float) -> bytes | None:
        """The next line; None where none came in time, or the other side has ended."""
        until = time.monotonic() + seconds
        while b"\n" not in self.held:
            ready, _, _ = select.select([self.stream], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            more = os.read(self.stream, 1 << 16)
            if not more:
                self.ended = True
                return None
            self.held += more
        line, self.held = self.held.split(b"\n", 1)
        return line


def _begin(task: Task, pairs: Sequence[tuple[Problem, str]], seconds: float) -> tuple[int, int]:
    """A copy of this process that checks the pairs in order, and the pipe on which it writes a line for each."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # it does not touch what other threads hold: no torch, no tokenizer, no logging
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if not process:
        _work(task, pairs, writing, seconds)
    os.close(writing)
    return process, reading


def _work(task: Task, pairs: Sequence[tuple[Problem, str]], writing: int, seconds: float) -> NoReturn:
    """Check and write until done; never returns, and runs none of the parent's clean-up."""
    try:
        gc.freeze()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _limit(seconds * len(pairs))
        os.write(writing, b"ready\n")
        for pair in pairs:
            os.write(writing, json.dumps(_outcome(task, *pair)).encode() + b"\n")
    finally:
        os._exit(0)


def _limit(seconds: float) -> None:
    """Bound memory, and the time of a process whose parent was killed and can no longer end it."""
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds) + 10,) * 2)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY,) * 2)
    except (OSError, ValueError):  # no such file on this system, or a lower limit already
        pass


def _end_of_process(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"the verifier's process was ended by signal {os.WTERMSIG(status)}"
    return f"the verifier's process ended with exit code {os.waitstatus_to_exitcode(status)}"
