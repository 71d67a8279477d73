"""Which items are with the annotator, and what becomes of them when it fails: each is answered once.

An item asked about is always in exactly one place: the queue, the batch that is out, the suspects, or the answers that
wait to be collected. Failures put the batch back.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from rewardlab.intrinsic.annotation.annotators import UNKNOWN, check_labels
from rewardlab.intrinsic.annotation.journal import LabelJournal
from rewardlab.intrinsic.annotation.order import AnnotationQueue, check_item
from rewardlab.intrinsic.annotation.worker_process import WorkerFailure
from rewardlab.intrinsic.interface import Item

ALONE_AFTER = 2  # an item in a batch that failed this often is asked about alone: it may be what kills the worker
LONGEST_PAUSE = 60.0
FAILURES = ("died", "timed_out", "garbage", "error")

__all__ = ["FAILURES", "Dispatch", "Worker"]


@runtime_checkable
class Worker(Protocol):
    """What answers lines with lines."""

    def send(self, line: bytes, timeout: float) -> None:
        """Send a line, or raise WorkerFailure."""

    def receive(self, timeout: float) -> bytes:
        """The next line, or raise WorkerFailure."""

    def kill(self) -> None:
        """End it; may be called by any thread."""

    def close(self) -> None:
        """End it and let go of it."""


class Dispatch:
    """Takes batches from a queue to a worker and keeps the labels, in a thread of its own.

    Args:
        queue: What waits.
        start: Makes a worker.
        hello: First line to a worker: what it should build.
        journal: Where labels are kept before anybody sees them.
        batch: Items a request.
        timeout, start_timeout: Seconds for an answer, and for a worker to be ready.
        failures: Failures in a row, of any kind, after which the annotator counts as down.
        attempts: Failures of an item after which it is given up, if the annotator answers others.
        backoff: Seconds to wait after the first failure in a row; doubles up to a minute.
    """

    def __init__(
        self,
        queue: AnnotationQueue,
        start: Callable[[], Worker],
        hello: Mapping[str, Any],
        journal: LabelJournal | None,
        *,
        batch: int,
        timeout: float,
        start_timeout: float,
        failures: int,
        attempts: int,
        backoff: float,
    ):
        self.queue, self._start, self._hello, self.journal = queue, start, json.dumps(dict(hello)).encode(), journal
        self.batch, self.timeout, self.start_timeout = batch, timeout, start_timeout
        self.failures, self.attempts, self.backoff = failures, attempts, backoff
        self.changed = threading.Condition()  # guards all below; re-entrant, as a finaliser may come at any time
        self.stopping = self.down = False
        self.down_since = 0.0
        self.last_failure = ""
        self.counts = dict.fromkeys(("annotated", "late", "started", "given_up", "journal_errors", *FAILURES), 0)
        self.out: list[Item] = []
        self.suspects: list[Item] = []
        self.given_up: set[Item] = set()
        self.answers: deque[tuple[int | None, Item, int]] = deque()
        self.known: dict[Item, int] = {}
        self.next_number = 0
        self._failed: dict[Item, int] = {}
        self._in_a_row = 0
        self._requests = 0
        self._worker: Worker | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process, None where none runs."""
        return getattr(self._worker, "pid", None)

    def run(self) -> None:
        """Ask until `stop`: the thread's work."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.stopping or (len(self.queue) and not self.down))
                if self.stopping:
                    break
            self.turn()
        self._let_go()

    def stop(self) -> None:
        """Make `run` end soon: what is out returns to the queue, and the worker is killed."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.kill()

    def turn(self) -> bool:
        """Ask about one batch and wait for the answer; False if there is nothing to ask or the annotator is down."""
        with self.changed:
            if self.stopping or self.down:
                return False
            self.out = self._take()
        if not self.out:
            return False
        try:
            labels = self._ask(self.out)
        except WorkerFailure as failure:
            self._put_back(failure)
        else:
            self._keep(labels)
        return True

    def _take(self) -> list[Item]:
        """The next batch: items that failed in company before come alone."""
        items = self.queue.pop(self.batch)
        alone = [self._failed.get(item, 0) >= ALONE_AFTER for item in items]
        end = 1 if items and alone[0] else (alone.index(True) if True in alone else len(items))
        self.queue.put_back(items[end:])
        return items[:end]

    def _ask(self, items: Sequence[Item]) -> list[int]:
        """Labels of the items.

        Raises:
            WorkerFailure: If no labels came, or what came are none.
        """
        messages = [item for item in items if isinstance(item, str)]
        pairs = [item for item in items if not isinstance(item, str)]
        try:
            self._ready()
            self._requests += 1
            request = {"id": self._requests, "number": self.next_number, "messages": messages, "pairs": pairs}
            self._worker.send(json.dumps(request).encode(), self.timeout)
            answer = self._receive(self.timeout, self._requests)
        except WorkerFailure as failure:
            if failure.broken:
                self._let_go()
            raise
        try:
            of_messages = iter(check_labels("annotate", answer.get("messages"), len(messages), 1))
            of_pairs = iter(check_labels("compare", answer.get("pairs"), len(pairs), UNKNOWN))
        except (TypeError, ValueError) as error:
            raise WorkerFailure("garbage", str(error), broken=False) from None
        return [next(of_messages) if isinstance(item, str) else next(of_pairs) for item in items]

    def _ready(self) -> None:
        """Have a worker that is ready."""
        if self._worker is not None:
            return
        try:
            worker = self._start()
        except OSError as error:
            raise WorkerFailure("died", f"no process could be started: {error}") from None
        with self.changed:
            self._worker = worker
            self.counts["started"] += 1
            if self.stopping:
                raise WorkerFailure("died", "closed")
        worker.send(self._hello, self.start_timeout)
        answer = self._receive(self.start_timeout, None)
        if answer.get("ready") is not True:
            raise WorkerFailure("garbage", f"expected a worker that is ready, got {answer!r:.200}")

    def _receive(self, timeout: float, number: int | None) -> dict[str, Any]:
        """The answer to a request; late answers to earlier ones are counted and dropped."""
        end = time.monotonic() + timeout
        while True:
            line = self._worker.receive(max(0.0, end - time.monotonic()))
            try:
                answer = json.loads(line)
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                raise WorkerFailure("garbage", f"expected a JSON object, got {line[:80]!r}")
            came = answer.get("id")
            if number is not None and type(came) is int and came < number:
                self.counts["late"] += 1
                continue
            if came != number:
                raise WorkerFailure("garbage", f"expected the answer to request {number}, got that to {came!r:.80}")
            if "error" in answer:
                raise WorkerFailure("error", str(answer["error"])[:500], broken=number is None)
            return answer

    def _keep(self, labels: Sequence[int]) -> None:
        """Write labels down, then let them be collected."""
        entries = [
            (self.next_number + k, item, label) for k, (item, label) in enumerate(zip(self.out, labels, strict=True))
        ]
        if self.journal is not None:
            try:
                self.journal.append(entries)
            except OSError as error:  # training is worth more than its journal
                self.counts["journal_errors"] += 1
                self.last_failure = f"labels could not be written: {error}"
        with self.changed:
            self.next_number += len(entries)
            self.answers.extend(entries)
            self.known.update((item, label) for _, item, label in entries)
            self.counts["annotated"] += len(entries)
            for item in self.out:
                self._failed.pop(item, None)
            self.counts["given_up"] += len(self.suspects)  # the annotator is well, so they are what it cannot do
            self.given_up.update(self.suspects)
            self.out, self.suspects, self._in_a_row = [], [], 0
            self.changed.notify_all()

    def _put_back(self, failure: WorkerFailure) -> None:
        """Return the batch that is out, count the failure, and wait a while."""
        with self.changed:
            items, self.out = self.out, []
            if self.stopping:
                self.queue.put_back(items)
                return
            self.counts[failure.kind] += 1
            self.last_failure = f"{failure.kind}: {failure}"
            self._in_a_row += 1
            for item in items:
                self._failed[item] = self._failed.get(item, 0) + 1
            self.suspects += [item for item in items if self._failed[item] >= self.attempts]
            self.queue.put_back([item for item in items if self._failed[item] < self.attempts])
            if self._in_a_row >= self.failures:
                self.down_since = time.monotonic()  # before `down`, which is read without the lock
                self.down = True
                self.queue.put_back(self.suspects)
                self.suspects, self._failed = [], {}
                self.changed.notify_all()
            else:
                pause = min(self.backoff * 2 ** (self._in_a_row - 1), LONGEST_PAUSE)
                self.changed.wait_for(lambda: self.stopping, pause)
        if self.down:
            self._let_go()

    def revive(self) -> None:
        """Forget the failures and go on asking."""
        with self.changed:
            self.down, self._in_a_row, self._failed = False, 0, {}
            self.changed.notify_all()

    def _let_go(self) -> None:
        with self.changed:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def asked(self) -> list[Item]:
        """Items out, suspected, or answered from memory and not collected: what a saved queue must hold again."""
        return [*self.out, *self.suspects, *(item for number, item, _ in self.answers if number is None)]

    def restore(self, delivered: int, answers: Sequence[Sequence[Any]], given_up: Sequence[Any]) -> None:
        """Offer, of the labels in the journal and of `answers`, those that come after the first `delivered`."""
        saved = {number: (check_item("answers", item), label) for number, item, label in answers}
        saved |= {number: (item, label) for number, item, label in self.journal.entries} if self.journal else {}
        with self.changed:
            self.known |= dict(saved.values())
            self.next_number = max([delivered, self.next_number, *(number + 1 for number in saved)])
            self.answers = deque((number, *saved[number]) for number in sorted(saved) if number >= delivered)
            self.given_up = {check_item("given_up", item) for item in given_up}
