"""The other end of annotation in its own process: reads requests from standard input, answers on standard output.

One JSON object a line. First comes what to build, and is answered with `{"ready": true}`; then each request
`{"id", "number", "messages", "pairs"}` is answered with `{"id", "messages", "pairs"}` (labels) or `{"id", "error"}`.
What the annotator prints goes to standard error. The process ends with its parent, even in the middle of an answer.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np

Spec = str | Mapping[str, Any]

__all__ = ["Spec", "build_annotator", "check_spec", "main"]


def check_spec(name: str, spec: object) -> Spec:
    """Return the description of an annotator if it is "module:name" or {"factory": "module:name", "arguments": {...}}.

    Raises:
        TypeError, ValueError: Says what was expected.
    """
    factory = spec.get("factory") if isinstance(spec, Mapping) else spec
    if not isinstance(factory, str) or factory.count(":") != 1 or not all(factory.split(":")):
        raise ValueError(
            f"{name} is {spec!r:.80}, expected 'module:name' or {{'factory': 'module:name', 'arguments': ...}}"
        )
    if isinstance(spec, Mapping):
        if set(spec) - {"factory", "arguments"} or not isinstance(spec.get("arguments", {}), Mapping):
            raise ValueError(f"{name} has the keys {sorted(spec)}, expected 'factory' and a dict of 'arguments'")
        for key, value in spec.get("arguments", {}).items():
            if isinstance(value, Mapping) and "factory" in value:
                check_spec(f"{name}[{key!r}]", value)
    try:
        json.dumps(spec)
    except TypeError as error:
        raise TypeError(f"{name}: expected arguments that JSON can hold: {error}") from None
    return spec


def build_annotator(spec: Spec) -> Any:
    """The annotator of a description; arguments that are descriptions themselves are built first.

    Examples:
        >>> room = "rewardlab.intrinsic.annotation.annotators"
        >>> base = {"factory": f"{room}:OracleAnnotator"}
        >>> noisy = {"factory": f"{room}:NoisyAnnotator", "arguments": {"base": base, "accuracy": 0.9}}
        >>> build_annotator(noisy).annotate(["", "You kill the newt!"])
        [0, 1]
    """
    factory, arguments = (spec, {}) if isinstance(spec, str) else (spec["factory"], spec.get("arguments", {}))
    module, name = factory.split(":")
    built = {
        key: build_annotator(value) if isinstance(value, Mapping) and "factory" in value else value
        for key, value in arguments.items()
    }
    return getattr(importlib.import_module(module), name)(**built)


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # print() of an annotator must not look like an answer
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()
    hello = json.loads(lines.get())
    threading.Thread(target=_watch, args=(hello["parent"],), daemon=True).start()
    try:
        annotator = build_annotator(hello["annotator"])
    except Exception as error:
        _send(answers, {"error": f"{type(error).__name__}: {error}"})
        return
    _send(answers, {"ready": True})
    while True:
        _send(answers, _answer(annotator, hello, json.loads(lines.get())))


def _answer(annotator: Any, hello: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    rng = np.random.default_rng([hello["seed"], request["number"]])
    answer: dict[str, Any] = {"id": request["id"], "messages": [], "pairs": []}
    try:
        if request["messages"]:
            answer["messages"] = annotator.annotate(request["messages"], hello["goal"], rng)
        if request["pairs"]:
            answer["pairs"] = annotator.compare([tuple(pair) for pair in request["pairs"]], hello["goal"], rng)
        json.dumps(answer, default=_plain)
    except Exception as error:
        return {"id": request["id"], "error": f"{type(error).__name__}: {error}"[:500]}
    return answer


def _send(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer, default=_plain).encode() + b"\n")
    answers.flush()


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"labels: expected whole numbers, got {type(value).__name__}")


def _listen(requests: BinaryIO, lines: "SimpleQueue[bytes]") -> None:
    """Pass lines on; a parent that is gone ends the process, whatever the annotator is doing."""
    for line in requests:
        lines.put(line)
    os._exit(0)


def _watch(parent: int) -> None:
    """The same where a third process holds the pipe open (a copy of the parent, made by fork)."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    main()
