"""OpenRLHF's reward function, in its process or as a service, from signals and a `Pipeline`.

In the process: `--reward.remote_url my_reward.py`, a file that OpenRLHF loads and whose `reward_func` it calls.

    # my_reward.py
    from rewardlab.adapters.openrlhf import reward_function

    def right(prompt, completion, label, **columns):
        return label in completion

    def brief(prompt, completion, **columns):
        return -len(completion) / 1000

    reward_func = reward_function({"right": right, "brief": brief}, main="right", end_token="<|im_end|>")

As a service: `serve(reward_func, port=5000)` in a process of its own, and `--reward.remote_url
http://127.0.0.1:5000/get_reward`; several addresses, separated by commas, share the work.

OpenRLHF passes one sample at a time and takes one reward, so the pipeline must work on single samples; what needs the
group is OpenRLHF's own `--algo.advantage.estimator`. Mind that an error in a reward function does not stop OpenRLHF
0.11.2: it logs "Failed to fetch reward" and goes on without that sample's reward. This adapter logs where it arose.
"""

import json
import logging
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np

from rewardlab.adapters.samples import EXCERPT, SampleReward, Signal
from rewardlab.transforms import Pipeline

LOOPBACK = "127.0.0.1"
PATH = "/get_reward"  # where OpenRLHF's own reward server listens
MAX_BYTES = 16 * 2**20  # of one request: a thousand samples of 16 kB
FIELDS = ("query", "prompts", "labels")

__all__ = ["RewardFunction", "RewardServer", "reward_function", "serve"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RewardFunction:
    """A reward function as OpenRLHF calls it; made by `reward_function`."""

    reward: SampleReward
    score: str | None = None
    end_token: str = ""

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any
    ) -> dict[str, Any]:
        """Score samples, in OpenRLHF's form: `rewards`, `scores` and `extra_logs`, all torch tensors (samples,).

        Args:
            queries: Prompt and completion in one text.
            prompts: The prompts.
            labels: The reference answers, or whatever the data set holds as label.
            kwargs: What a later OpenRLHF may pass; not used.

        Raises:
            TypeError: As `score_sample`.
            ValueError: As `SampleReward`; if the lengths differ; if a query does not begin with its prompt.
        """
        import torch

        try:
            values = self.values(queries, prompts, labels)
        except Exception:
            _log.exception("the reward function failed")  # OpenRLHF swallows the error, and with it where it arose
            raise
        values["extra_logs"] = {name: torch.as_tensor(logged).float() for name, logged in values["extra_logs"].items()}
        return {**values, **{name: torch.as_tensor(values[name]).float() for name in ("rewards", "scores")}}

    def values(self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> dict[str, Any]:
        """Score samples as when called, in NumPy arrays."""
        if not len(queries) == len(prompts) == len(labels):
            raise ValueError(
                f"there are {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels, "
                f"expected as many of each"
            )
        samples = [
            {"prompt": prompt, "completion": self._completion(query, prompt, index), "label": label}
            for index, (query, prompt, label) in enumerate(zip(queries, prompts, labels, strict=True))
        ]
        rewards, signals = self.reward(samples)
        return {"rewards": rewards, "scores": self._scores(rewards, signals), "extra_logs": _logs(signals)}

    def _scores(self, rewards: np.ndarray, signals: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.score is None:
            return rewards
        scores = signals[self.score]
        if np.isnan(scores).any():
            index = int(np.argmax(np.isnan(scores)))
            raise ValueError(f"signal {self.score!r} is the score to filter by, but does not apply to sample {index}")
        return scores

    def _completion(self, query: str, prompt: str, index: int) -> str:
        if not query.startswith(prompt):
            raise ValueError(
                f"query {index} does not begin with its prompt (query {query!r:.{EXCERPT}}, prompt "
                f"{prompt!r:.{EXCERPT}}), so its completion is not known; OpenRLHF cuts off the beginning of prompts "
                f"that leave no room for a completion"
            )
        return query[len(prompt) :].removesuffix(self.end_token)


def _logs(signals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every signal and whether it applies, as OpenRLHF can average them: one NaN would hide a whole step's mean."""
    logs = {}
    for name, values in signals.items():
        applies = ~np.isnan(values)
        logs[f"reward/{name}"] = np.where(applies, values, 0.0)
        logs[f"reward/{name}/applies"] = applies.astype(np.float64)
    return logs


def reward_function(
    signals: Mapping[str, Signal],
    main: str | None = None,
    pipeline: Pipeline | None = None,
    *,
    score: str | None = None,
    absent_reward: float | None = None,
    end_token: str = "",
) -> RewardFunction:
    """Return a reward function for OpenRLHF.

    Its log holds `reward/<signal>`, the signal with 0 where it does not apply, and `reward/<signal>/applies`, 1 where
    it does: the mean of the first over the mean of the second is the signal's mean over the samples it applies to.

    Args:
        signals: Functions `signal(prompt, completion, label, **columns)` of one sample by name. The completion is the
            query without the prompt. They are called from several threads.
        main: Name of the signal that is the reward; may be left out where there is but one.
        pipeline: Combines the signals into the reward instead, sample by sample; see `SampleReward`.
        score: Name of the signal, from 0 to 1, by which OpenRLHF's dynamic filtering drops prompts that are too easy or
            too hard. None: the reward itself.
        absent_reward: The reward of a sample to which no signal applies. None makes it an error.
        end_token: Text of the tokenizer's end token, which OpenRLHF leaves in the query; removed from completions.

    Raises:
        TypeError: If a signal cannot be called for a sample.
        ValueError: As `SampleReward`; if `score` is no signal, `absent_reward` no finite number, or the pipeline needs
            references, which OpenRLHF has no column for.

    Example:
        >>> def right(prompt, completion, label, **columns):
        ...     return completion.strip() == label
        >>> reward_func = reward_function({"right": right}, end_token="</s>")
        >>> reward_func(["2 + 2 = 4</s>"], ["2 + 2 ="], ["4"])["rewards"]
        tensor([1.])
    """
    reward = SampleReward(signals, main, pipeline, absent_reward)
    if score is not None and score not in reward.signals:
        raise ValueError(f"score is {score!r}, expected one of the signals {', '.join(map(repr, reward.signals))}")
    if absent_reward is not None and not np.isfinite(absent_reward):
        raise ValueError(f"absent_reward is {absent_reward}, expected a finite number: OpenRLHF trains on it")
    if pipeline is not None and pipeline.needs_references:
        raise ValueError(
            f"the pipeline needs references for {', '.join(pipeline.needs_references)}, but OpenRLHF passes a reward "
            f"function nothing beside prompt, query and label"
        )
    return RewardFunction(reward, score, end_token)


class RewardServer(ThreadingHTTPServer):
    """An HTTP service that answers OpenRLHF's reward requests; starts when entered, stops when left.

    It takes JSON only, checks every field, limits the size of a request, and listens on this machine only unless told
    otherwise. There is no password: whoever reaches the port can call the signals. On leaving, requests in progress are
    answered first.

    Args:
        reward: Made by `reward_function`.
        host: Address to listen on. Anything but the loopback address opens the service to the network, with a warning.
        port: Port to listen on; 0 for one that is free.
        max_bytes: Size of the largest request that is read.

    Example:
        >>> def brief(prompt, completion, **columns):
        ...     return -float(len(completion))
        >>> with RewardServer(reward_function({"brief": brief}), port=0) as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    request_queue_size = 1024  # OpenRLHF asks for every sample of a rollout at once, each over a connection of its own
    daemon_threads = False  # so that closing waits for the requests in progress

    def __init__(self, reward: RewardFunction, host: str = LOOPBACK, port: int = 5000, *, max_bytes: int = MAX_BYTES):
        if not isinstance(reward, RewardFunction):
            raise TypeError(f"reward: expected what reward_function(...) returns, got {type(reward).__name__}")
        if host not in (LOOPBACK, "localhost"):
            warnings.warn(f"the reward service is open to the network on {host}, without a password", stacklevel=2)
        self.reward, self.max_bytes = reward, max_bytes
        self._thread: threading.Thread | None = None
        super().__init__((host, port), _RequestHandler)

    @property
    def url(self) -> str:
        """What to give to OpenRLHF as `--reward.remote_url`."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}{PATH}"

    def __enter__(self) -> "RewardServer":
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="reward service", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a client went away in the middle of an exchange."""
        _log.warning("reward request from %s broke off", client_address, exc_info=True)


def serve(reward: RewardFunction, host: str = LOOPBACK, port: int = 5000) -> None:
    """Answer OpenRLHF's reward requests until interrupted (Ctrl-C), then finish what is in progress.

    Args:
        reward: Made by `reward_function`.
        host: Address to listen on; see `RewardServer`.
        port: Port to listen on.
    """
    server = RewardServer(reward, host, port)
    print(f"rewards at {server.url}, Ctrl-C ends it", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("finishing what is in progress", flush=True)
    finally:
        server.server_close()


class _BadRequest(Exception):
    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status = status


class _RequestHandler(BaseHTTPRequestHandler):
    server: RewardServer
    server_version = "rewardlab"
    sys_version = ""
    timeout = 60  # seconds a client may keep a thread waiting

    def do_POST(self) -> None:  # the name is http.server's
        try:
            queries, prompts, labels = _checked(self._read())
            status, answer = HTTPStatus.OK, self._answer(queries, prompts, labels)
        except _BadRequest as error:
            status, answer = error.status, {"error": str(error)}
        except Exception as error:  # a signal's fault: this sample gets no reward, the service goes on
            _log.exception("a signal failed")
            message = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
            status, answer = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": message}
        body = json.dumps(answer, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self) -> Any:
        if self.path != PATH:
            raise _BadRequest(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path!r:.{EXCERPT}}, only {PATH}")
        # A web page may send a form to any port of its reader's machine, but not JSON: the browser would ask first.
        if self.headers.get_content_type() != "application/json":
            message = f"Content-Type is {self.headers.get_content_type()!r}, expected 'application/json'"
            raise _BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _BadRequest(HTTPStatus.LENGTH_REQUIRED, f"Content-Length is {length!r:.{EXCERPT}}, expected a number")
        if int(length) > self.server.max_bytes:
            message = f"the request has {length} bytes, at most {self.server.max_bytes} are read"
            raise _BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        try:
            body = self.rfile.read(int(length))
        except OSError as error:
            raise _BadRequest(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive: {error}") from None
        if len(body) < int(length):
            raise _BadRequest(HTTPStatus.BAD_REQUEST, f"the request broke off after {len(body)} of {length} bytes")
        try:
            return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise _BadRequest(HTTPStatus.BAD_REQUEST, f"the request is not JSON: {error}") from None

    def _answer(self, queries: list[str], prompts: list[str], labels: list) -> dict[str, Any]:
        values = self.server.reward.values(queries, prompts, labels)
        logs = {name: logged.tolist() for name, logged in values["extra_logs"].items()}
        return {"rewards": values["rewards"].tolist(), "scores": values["scores"].tolist(), "extra_logs": logs}

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _checked(request: Any) -> tuple[list[str], list[str], list]:
    """The three fields of a request, if they are what OpenRLHF sends."""
    if not isinstance(request, dict):
        raise _unprocessable(f"the request is a {type(request).__name__}, expected an object with {', '.join(FIELDS)}")
    for name in FIELDS:
        if name not in request:
            raise _unprocessable(f"{name!r} is missing, expected {', '.join(FIELDS)}")
        if not isinstance(request.get(name), list) or not request[name]:
            raise _unprocessable(f"{name!r} is {request.get(name)!r:.{EXCERPT}}, expected a list of at least one item")
        if len(request[name]) != len(request["query"]):
            raise _unprocessable(f"{name!r} has {len(request[name])} items for {len(request['query'])} in 'query'")
    for name in ("query", "prompts"):
        for index, item in enumerate(request[name]):
            if not isinstance(item, str):
                raise _unprocessable(f"{name}[{index}] is {item!r:.{EXCERPT}}, expected text")
    for index, (query, prompt) in enumerate(zip(request["query"], request["prompts"], strict=True)):
        if not query.startswith(prompt):
            raise _unprocessable(f"query[{index}] {query!r:.{EXCERPT}} does not begin with {prompt!r:.{EXCERPT}}")
    return request["query"], request["prompts"], request["labels"]


def _unprocessable(message: str) -> _BadRequest:
    return _BadRequest(HTTPStatus.UNPROCESSABLE_ENTITY, message)
