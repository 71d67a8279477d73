"""A worker in memory that fails as told, and annotators that fail in a real process."""

import json
import os
import signal
import time

from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
from rewardlab.intrinsic.annotation.worker_process import WorkerFailure

GARBAGE = ("not json", "no object", "short", "long", "range", "float", "bool", "text", "missing", "future")


def truth(items):
    """Labels of messages that begin with "You kill" or do not."""
    good = [[text.startswith("You kill") for text in ([item] if isinstance(item, str) else item)] for item in items]
    return [int(one[0]) if len(one) == 1 else (2 if one[0] == one[1] else int(one[1])) for one in good]


class FakeWorker:
    """Answers rightly, or fails as the next entry of `plan` says: "die", "die late", "hang", "error", "late", garbage.

    `poison` is a set of items that kill it, `log` collects what was labelled.
    """

    def __init__(self, plan, poison=(), log=None):
        self.plan, self.poison, self.log = plan, poison, [] if log is None else log
        self.lines, self.alive, self.ready = [], True, False

    def send(self, line, timeout):
        if not self.alive:
            raise WorkerFailure("died", "dead")
        message = json.loads(line)
        if not self.ready:
            self.ready = True
            self.lines.append({"ready": True})
            return
        messages, pairs = message["messages"], [tuple(pair) for pair in message["pairs"]]
        if self.poison & {*messages, *pairs}:
            self.alive = False
            raise WorkerFailure("died", "poison")
        right = {"id": message["id"], "messages": truth(messages), "pairs": truth(pairs)}
        action = self.plan.pop(0) if self.plan else "answer"
        if action == "die":
            self.alive = False
            raise WorkerFailure("died", "killed")
        self.log += messages + pairs if action in ("answer", "late", "die late") else []
        if action == "late":  # an old answer, and a wrong one
            wrong = {**right, "id": message["id"] - 1, "messages": [1 - label for label in right["messages"]]}
            self.lines += [wrong, right]
        elif action == "answer":
            self.lines.append(right)
        elif action != "hang" and action != "die late":
            self.lines.append(spoiled(action, right))
        self.alive = action != "die late"

    def receive(self, timeout):
        if self.lines:
            line = self.lines.pop(0)
            return line if isinstance(line, bytes) else json.dumps(line).encode()
        raise WorkerFailure(*(("timed_out", "hung") if self.alive else ("died", "killed")))

    def kill(self):
        self.alive = False

    close = kill


def spoiled(action, right):
    """An answer that is none."""
    kind = "messages" if right["messages"] else "pairs"
    labels = right[kind]
    bad = {
        "short": labels[:-1],
        "long": [*labels, 0],
        "range": [*labels[:-1], 2 if kind == "messages" else 4],
        "float": [*labels[:-1], 1.0],
        "bool": [*labels[:-1], True],
        "text": "0" * len(labels),
    }
    whole = {
        "not json": b"\xff{]",
        "no object": [1, 2],
        "missing": {"id": right["id"]},
        "future": {**right, "id": right["id"] + 1},
        "error": {"id": right["id"], "error": "ValueError: no"},
    }
    return {**right, kind: bad[action]} if action in bad else whole[action]


class Failing(OracleAnnotator):
    """In a real process: fails in one way as long as the file `until` does not exist, or for messages with `word`."""

    def __init__(self, how, until="/nowhere", word=""):
        super().__init__()
        self.how, self.until, self.word = how, until, word
        print("a line that must not look like an answer")
        if how == "no start":
            raise FileNotFoundError("no weights")

    def annotate(self, messages, goal="", rng=None):
        labels = super().annotate(messages)
        if os.path.exists(self.until) or not any(self.word in message for message in messages):
            return labels
        if self.how == "kill itself":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "raise":
            raise ConnectionError("refused")
        answers = {"short": labels[1:], "range": [7 for _ in labels]}
        return answers[self.how]
