"""A worker in its own process, and what can go wrong with one."""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

WORKER = (sys.executable, "-m", "rewardlab.intrinsic.annotation.worker")
LONGEST_LINE = 64 * 2**20  # bytes: an answer without end is no answer

__all__ = ["WORKER", "WorkerFailure", "WorkerProcess"]


class WorkerFailure(Exception):
    """An item was asked about and no label came.

    Args:
        kind: "died", "timed_out", "garbage" or "error" (the annotator raised it).
        text: What is known.
        broken: Whether the worker must be replaced.
    """

    def __init__(self, kind: str, text: str, *, broken: bool = True):
        super().__init__(text)
        self.kind, self.broken = kind, broken


class WorkerProcess:
    """A process that lines are sent to and received from, with deadlines; used by one thread, killed by any.

    It is started afresh (nothing of this process is copied), with the same path of modules, in a session of its own: an
    interrupt typed at the terminal is the training's to handle, and `kill` ends what the worker started, too.

    Args:
        command: What to run; it must end when its standard input does.
    """

    def __init__(self, command: Sequence[str] = WORKER):
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            bufsize=0,
        )
        self.pid = self._process.pid
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)
        self._received = bytearray()
        self._killing = threading.RLock()  # once reaped, its number may be another process's

    def send(self, line: bytes, timeout: float) -> None:
        """Send a line.

        Raises:
            WorkerFailure: If the worker died, or did not take the line in `timeout` seconds.
        """
        end, rest = time.monotonic() + timeout, memoryview(line + b"\n")
        while rest:
            self._wait(self._process.stdin, selectors.EVENT_WRITE, end)
            try:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                raise WorkerFailure("died", "the worker closed its input") from None

    def receive(self, timeout: float) -> bytes:
        """The next line.

        Raises:
            WorkerFailure: If the worker died, sent no whole line in `timeout` seconds, or one without end.
        """
        end = time.monotonic() + timeout
        while b"\n" not in self._received:
            self._wait(self._process.stdout, selectors.EVENT_READ, end)
            try:
                part = os.read(self._process.stdout.fileno(), 2**16)
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                part = b""
            if not part:
                raise WorkerFailure("died", "the worker ended")
            self._received += part
            if len(self._received) > LONGEST_LINE:
                raise WorkerFailure("garbage", f"an answer is longer than {LONGEST_LINE} bytes")
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        return line

    def kill(self) -> None:
        """End the process and all it started, at once; leaves no zombie."""
        with self._killing:
            if self._process.returncode is None:
                try:
                    os.killpg(self.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Kill, and let go of the pipes; only by the thread that sends and receives."""
        self.kill()
        self._process.stdin.close()
        self._process.stdout.close()

    def _wait(self, pipe, event: int, end: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                raise WorkerFailure("timed_out", "the worker did not answer in time")
