"""Annotation in its own process, beside training: it may be slow, die, hang or talk nonsense; training never waits."""

import hashlib
import json
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.annotation.dispatch import FAILURES, Dispatch, Worker
from rewardlab.intrinsic.annotation.journal import LabelJournal
from rewardlab.intrinsic.annotation.order import AnnotationQueue, check_item
from rewardlab.intrinsic.annotation.worker import Spec, check_spec
from rewardlab.intrinsic.annotation.worker_process import WorkerProcess
from rewardlab.intrinsic.interface import Item

__all__ = ["AnnotationProcess"]


class AnnotationProcess:
    """A source of labels from an annotator in a process of its own.

    A thread hands it one batch at a time; `submit` and `collect` only touch lists in memory. If the worker dies, hangs
    past `timeout`, raises, or answers with anything but one label in range for each item, the batch returns to the
    queue and is asked again, by a new worker where the old one cannot be trusted. An item that failed `attempts` times
    while the annotator answers others is given up. After `failures` failures in a row the annotator is down: one
    warning, `statistics()["down"]` is 1, items keep waiting, training goes on; after `retry` seconds the next `submit`
    tries again, and `restart` does so at once.

    With a journal every label is on the disk before it can be collected. A training that was killed and is started
    again, from a checkpoint or from nothing, collects what it had not seen by then, and asks nothing twice. Use one
    journal for one training. Needs a POSIX system.

    Args:
        annotator: "module:factory", or {"factory": "module:factory", "arguments": {...}}; arguments may be descriptions
            themselves. Built in the worker, which has this process's module path and nothing else of it. No secrets:
            what is written here may be saved.
        goal: Goal given to the annotator.
        journal: File of the labels; None to keep them in memory only.
        batch: Most items a request.
        timeout: Seconds for an answer to a batch.
        start_timeout: Seconds for the worker to load what it needs.
        failures, attempts: See above.
        backoff: Seconds to wait after a failure; doubles with each in a row, up to a minute.
        retry: Seconds after which an annotator that is down is tried again.
        order, capacity, duplicates: Of the queue, see `AnnotationQueue`. Without duplicates an item is asked about
            once: submitted again after its answer was collected, it is answered from memory.
        seed: Of the order "random" and of the annotator's generators.

    Examples:
        >>> source = AnnotationProcess("rewardlab.intrinsic.annotation.annotators:OracleAnnotator")
        >>> source.submit(["You kill the newt!"])
        >>> source.wait(timeout=30)  # training would go on and `collect` later
        True
        >>> source.collect(step=1000)
        [('You kill the newt!', 1)]
        >>> source.close()
    """

    def __init__(
        self,
        annotator: Spec,
        *,
        goal: str = "",
        journal: str | Path | None = None,
        batch: int = 100,
        timeout: float = 120.0,
        start_timeout: float = 300.0,
        failures: int = 6,
        attempts: int = 3,
        backoff: float = 1.0,
        retry: float = 600.0,
        order: str = "lifo",
        capacity: int = 10_000_000,
        duplicates: bool = False,
        seed: int = 0,
        _start: Callable[[], Worker] = WorkerProcess,
    ):
        spec = check_spec("annotator", annotator)
        seed = int(check_scalar("seed", seed, low=0, whole=True))
        queue = AnnotationQueue(order, capacity, duplicates, np.random.default_rng(seed))
        identity = hashlib.sha256(json.dumps([spec, goal, seed], sort_keys=True).encode()).hexdigest()
        limits = {
            "batch": check_scalar("batch", batch, low=1, whole=True),
            "timeout": check_scalar("timeout", timeout, low=0, open_low=True),
            "start_timeout": check_scalar("start_timeout", start_timeout, low=0, open_low=True),
            "failures": check_scalar("failures", failures, low=1, whole=True),
            "attempts": check_scalar("attempts", attempts, low=1, whole=True),
            "backoff": check_scalar("backoff", backoff, low=0),
        }
        hello = {"annotator": spec, "goal": goal, "seed": seed, "parent": os.getpid()}
        self._journal = None if journal is None else LabelJournal(journal, identity)
        self._dispatch = Dispatch(queue, _start, hello, self._journal, **limits)
        self._dispatch.restore(0, [], [])
        self.retry = check_scalar("retry", retry, low=0)
        self._counts = {"submitted": 0, "dropped": 0, "delivered": 0, "from_memory": 0}
        self._seen = 0  # labels of the journal that were collected: all with numbers below this
        self._warned = self._doubted = self._closed = False
        self._thread: threading.Thread | None = None
        self._finaliser = weakref.finalize(self, _stop, self._dispatch, os.getpid())

    @property
    def waiting(self) -> int:
        """Items that were asked about and have not been collected."""
        with self._dispatch.changed:
            return len(self._dispatch.queue) + len(self._dispatch.asked()) + self._numbered()

    @property
    def pid(self) -> int | None:
        """The worker's process; None where none runs."""
        return self._dispatch.pid

    def submit(self, items: Sequence[Item]) -> None:
        """Ask about items, without waiting; what does not fit into the queue is dropped and counted.

        Raises:
            TypeError: If an item is neither a message nor a pair.
            ValueError: After `close`.
        """
        items = [check_item(f"items[{place}]", item) for place, item in enumerate(items)]
        if self._closed:
            raise ValueError("this source of labels was closed")
        state = self._dispatch
        with state.changed:
            self._counts["submitted"] += len(items)
            if not state.queue.duplicates:
                items = self._not_known(items)
            self._counts["dropped"] += state.queue.push(items)
            state.changed.notify_all()
        self._begin()
        self._warn()
        if state.down and time.monotonic() - state.down_since >= self.retry:
            self.restart()

    def collect(self, step: int) -> list[tuple[Item, int]]:
        """All labels that have arrived, each once; `step` does not matter: this source runs on the wall clock."""
        state = self._dispatch
        with state.changed:
            arrived, state.answers = state.answers, type(state.answers)()
            numbers = [number for number, _, _ in arrived if number is not None]
            self._seen = max([self._seen, *(number + 1 for number in numbers)])
            self._counts["delivered"] += len(arrived)
        self._warn()
        return [(item, label) for _, item, label in arrived]

    def wait(self, timeout: float) -> bool:
        """Wait until everything asked about has been answered, or `timeout` seconds: for tests and the end of a run.

        Returns:
            Whether everything was answered, or failed so often that it is asked again only once something else has been
            answered (it still counts as `waiting`); False at once when the annotator is down.
        """
        state = self._dispatch
        with state.changed:
            state.changed.wait_for(lambda: state.down or not (len(state.queue) or state.out), timeout)
            return not (len(state.queue) or state.out)

    def restart(self) -> None:
        """Try again after the annotator was down."""
        self._warned = False
        self._dispatch.revive()

    def statistics(self) -> dict[str, float]:
        """Counts so far, failures by kind, how many items wait, and whether the annotator is down (0 or 1)."""
        with self._dispatch.changed:
            counts = {**self._counts, **self._dispatch.counts, "down": self._dispatch.down, "waiting": self.waiting}
        return {name: float(count) for name, count in counts.items()}

    def state_dict(self) -> dict:
        """All that is needed to go on: what waits or is being asked, how many labels were collected, the counts."""
        state = self._dispatch
        with state.changed:
            queue = AnnotationQueue(state.queue.order, state.queue.capacity, state.queue.duplicates)
            queue.load_state_dict(state.queue.state_dict())
            queue.put_back(state.asked())
            return {
                "queue": queue.state_dict(),
                "seen": self._seen,
                "answers": [
                    [number, item if isinstance(item, str) else list(item), label]
                    for number, item, label in state.answers
                    if number is not None
                ],
                "given_up": [item if isinstance(item, str) else list(item) for item in state.given_up],
                "counts": dict(self._counts),
                "events": dict(state.counts),
            }

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from what `state_dict` returned; labels that reached the journal since come with the next `collect`.

        Raises:
            ValueError: If the state's queue has another order, or duplicates where this one has none.
        """
        self._halt()
        dispatch = self._dispatch
        with dispatch.changed:
            dispatch.queue.load_state_dict(state["queue"])
            dispatch.restore(state["seen"], state["answers"], state["given_up"])
            self._seen, self._counts = state["seen"], dict(state["counts"])
            dispatch.counts = {**dispatch.counts, **state["events"]}
            if not dispatch.queue.duplicates:
                waiting = dispatch.queue.pop(len(dispatch.queue))
                dispatch.queue.put_back(self._not_known(waiting))
        dispatch.revive()
        self._warned = False
        self._begin()

    def close(self) -> None:
        """End the worker and the thread, and close the journal; nothing that waits is lost to `state_dict`."""
        if not self._closed:
            self._warn()
            self._closed = True
            self._halt()
            self._finaliser.detach()
            if self._journal is not None:
                self._journal.close()

    def _not_known(self, items: Sequence[Item]) -> list[Item]:
        """Items that nobody has asked about; those that were answered and collected are answered again from memory."""
        state = self._dispatch
        arriving = {item for _, item, _ in state.answers}
        asked = {*state.out, *state.suspects}
        fresh = []
        for item in items:
            if item in arriving or item in asked or item in state.given_up:
                continue
            if item in state.known:
                state.answers.append((None, item, state.known[item]))
                arriving.add(item)
                self._counts["from_memory"] += 1
            else:
                fresh.append(item)
        return fresh

    def _numbered(self) -> int:
        return sum(number is not None for number, _, _ in self._dispatch.answers)

    def _begin(self) -> None:
        """Have a thread, where there is something to ask."""
        if self._thread is None and len(self._dispatch.queue):
            self._thread = threading.Thread(target=self._dispatch.run, name="annotation", daemon=True)
            self._thread.start()

    def _halt(self) -> None:
        self._dispatch.stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._dispatch.stopping = self._closed

    def _warn(self) -> None:
        state = self._dispatch
        if state.last_failure and not (state.counts["annotated"] or state.down or self._doubted):
            self._doubted = True
            warnings.warn(
                f"the annotator failed before its first label ({state.last_failure}); it is tried again, and training "
                f"goes on without labels",
                RuntimeWarning,
                stacklevel=3,
            )
        if self._dispatch.down and not self._warned:
            self._warned = True
            failures = {kind: self._dispatch.counts[kind] for kind in FAILURES if self._dispatch.counts[kind]}
            warnings.warn(
                f"the annotator is down after {self._dispatch.failures} failures in a row ({failures}; the last: "
                f"{self._dispatch.last_failure}); training goes on without new labels",
                RuntimeWarning,
                stacklevel=3,
            )


def _stop(dispatch: Dispatch, owner: int) -> None:
    """For an object that was forgotten or a program that ends; a forked copy of the program leaves the worker alone."""
    if os.getpid() == owner:
        dispatch.stop()
