"""A language model behind an OpenAI-compatible endpoint as annotator."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.annotation.prompts import (
    SYSTEM,
    comparison_prompt,
    label_prompt,
    read_label,
    read_preference,
)

LONGEST_ANSWER = 4 * 2**20  # bytes

__all__ = ["EndpointAnnotator"]


class EndpointAnnotator:
    """Asks a chat model over HTTP, one request a message or pair.

    Run it in an `AnnotationProcess`: then a server that is slow or gone only delays labels. An answer without a label
    is read as published: no label is 0, no preference is 3 (a tie for the learner). Empty messages are not asked about.

    Args:
        model: The model's name at the endpoint.
        base_url: Where `/chat/completions` is, such as vLLM's "http://127.0.0.1:8000/v1". http or https, without user
            name or password. A host on this machine is asked directly, whatever proxies are set.
        temperature, max_tokens: Of the answer.
        timeout: Seconds to connect, and between two pieces of an answer.
        retries: Further tries when the server is busy (429), fails (5xx), refuses or drops the connection.
        pause: Seconds before the first further try; doubles with each.
        parallel: Requests at a time.
        key_variable: Environment variable that holds the key, read at each request and sent to this endpoint only; it
            appears in no message and no state.
        label_prompt, comparison_prompt: Texts for (message, goal) and for (first, second, goal).
        system: Text of the system.

    Raises:
        ConnectionError: From `annotate` and `compare`, if an answer cannot be had.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "http://127.0.0.1:8000/v1",
        *,
        temperature: float = 0.1,
        max_tokens: int = 1024,
        timeout: float = 60.0,
        retries: int = 2,
        pause: float = 1.0,
        parallel: int = 8,
        key_variable: str = "OPENAI_API_KEY",
        label_prompt: Callable[[str, str], str] = label_prompt,
        comparison_prompt: Callable[[str, str, str], str] = comparison_prompt,
        system: str = SYSTEM,
    ):
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError(
                f"base_url is {_shown(base_url)!r}, expected http(s)://host[:port]/path without a user name"
            )
        self.model, self.url = model, base_url.rstrip("/") + "/chat/completions"
        self.temperature = check_scalar("temperature", temperature, low=0)
        self.max_tokens = check_scalar("max_tokens", max_tokens, low=1, whole=True)
        self.timeout = check_scalar("timeout", timeout, low=0, open_low=True)
        self.retries = check_scalar("retries", retries, low=0, whole=True)
        self.pause = check_scalar("pause", pause, low=0)
        self.parallel = check_scalar("parallel", parallel, low=1, whole=True)
        self.key_variable, self.system = key_variable, system
        self._label_prompt, self._comparison_prompt = label_prompt, comparison_prompt
        here = parts.hostname in ("127.0.0.1", "localhost", "::1")
        proxies = [urllib.request.ProxyHandler({})] if here else []
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)

    def annotate(self, messages: Sequence[str], goal: str, rng: np.random.Generator | None = None) -> list[int]:
        """Labels in {0, 1}."""
        prompts = [self._label_prompt(message, goal) if message else None for message in messages]
        return [0 if answer is None else read_label(answer) for answer in self._ask_all(prompts)]

    def compare(self, pairs: Sequence[tuple[str, str]], goal: str, rng: np.random.Generator | None = None) -> list[int]:
        """Answers in {0, 1, 2, 3}: first, second, neither, unreadable."""
        answers = self._ask_all([self._comparison_prompt(first, second, goal) for first, second in pairs])
        return [read_preference(answer or "") for answer in answers]

    def _ask_all(self, prompts: Sequence[str | None]) -> list[str | None]:
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(lambda prompt: None if prompt is None else self._ask(prompt), prompts))

    def _ask(self, prompt: str) -> str:
        """The text of one answer, with further tries."""
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": self.system}, {"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        if key := os.environ.get(self.key_variable):
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                with self._opener.open(request, timeout=self.timeout) as response:
                    return _text_of(response.read(LONGEST_ANSWER + 1))
            except urllib.error.HTTPError as error:
                error.close()
                problem = f"status {error.code}"
                if error.code != 429 and error.code < 500:
                    break
            except (OSError, http.client.HTTPException) as error:  # refused, dropped, too slow
                problem = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
            except ValueError as error:
                problem = str(error)
        raise ConnectionError(f"{self.url} gave no answer in {attempt + 1} tries; the last: {problem}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An endpoint that moved is an error: nothing is sent anywhere else."""

    def redirect_request(self, *arguments: Any) -> None:
        """Do not follow."""


def _text_of(answer: bytes) -> str:
    try:
        text = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        text = None
    if len(answer) > LONGEST_ANSWER or not isinstance(text, str):
        raise ValueError(f"expected a chat completion with one text, got {len(answer)} bytes that are none")
    return text


def _shown(url: str) -> str:
    """The address without what may be a password."""
    return url.rpartition("@")[2] if "@" in url else url
