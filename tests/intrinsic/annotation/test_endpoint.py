"""A chat model behind HTTP, with a real server in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rewardlab.intrinsic.annotation.endpoint import EndpointAnnotator
from rewardlab.intrinsic.annotation.process import AnnotationProcess
from rewardlab.intrinsic.annotation.prompts import (
    GOALS,
    comparison_prompt,
    label_prompt,
    read_label,
    read_preference,
)

KEY = "not-a-real-key-1234"


class Server:
    def __init__(self):
        program = Path(__file__).with_name("chat_server.py")
        self.process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def annotator(self, how, **options):
        options = {"retries": 2, "pause": 0.01, "timeout": 5, "parallel": 1, **options}
        return EndpointAnnotator("tiny", f"http://127.0.0.1:{self.port}/{how}/v1", **options)

    def requests(self, count):
        return [json.loads(self.process.stdout.readline()) for _ in range(count)]


@pytest.fixture(scope="module")
def server():
    one = Server()
    yield one
    one.process.kill()
    one.process.communicate()


def test_labels_and_what_is_sent(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # not used for this machine
    annotator = server.annotator("right")
    assert annotator.annotate(["You kill the newt!", "", "A door."], GOALS["gold"], np.random.default_rng(0)) == [
        1,
        0,
        0,
    ]
    first, second = server.requests(2)  # nothing was asked about the empty message
    assert first["path"] == "/right/v1/chat/completions" and first["key"] == f"Bearer {KEY}"
    assert first["body"]["temperature"] == 0.1 and first["body"]["model"] == "tiny"
    system, prompt = first["body"]["messages"]
    assert (system["role"], prompt["role"]) == ("system", "user")
    assert (
        GOALS["gold"] in prompt["content"] and "<message>A door.</message>" in second["body"]["messages"][1]["content"]
    )
    pairs = [("a", "bb"), ("aa", "b"), ("a", "b"), ("mumble", "b")]
    assert server.annotator("right", parallel=4).compare(pairs, GOALS["score"]) == [1, 0, 2, 3]
    server.requests(4)


def test_no_key_no_header(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.annotator("right").annotate(["A door."], "")
    assert server.requests(1)[0]["key"] == ""


@pytest.mark.parametrize(
    ("how", "words", "tries"),
    [
        ("broken", "gave no answer in 3 tries; the last: status 500", 3),
        ("unknown", "in 1 tries; the last: status 404", 1),
        ("moved", "in 1 tries; the last: status 307", 1),
        ("drop", "in 3 tries; the last: RemoteDisconnected", 3),
        ("garbage", "in 3 tries; the last: expected a chat completion with one text, got 42 bytes", 3),
        ("nonsense", "expected a chat completion", 3),
        ("slow", "in 3 tries; the last: TimeoutError", 3),
    ],
)
def test_failures_are_said_without_the_key(server, monkeypatch, how, words, tries):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    annotator = server.annotator(how, timeout=0.05 if how == "slow" else 5)
    with pytest.raises(ConnectionError, match=words) as caught:
        annotator.annotate(["A door."], "")
    assert KEY not in str(caught.getrepr(style="long")) and KEY not in repr(vars(annotator))
    server.requests(tries)


def test_busy_servers_are_asked_again(server):
    assert server.annotator("busy").annotate(["You kill it!"], "") == [1]
    server.requests(3)


def test_refused():
    annotator = EndpointAnnotator("tiny", "http://127.0.0.1:9/v1", retries=1, pause=0)
    with pytest.raises(ConnectionError, match=r"in 2 tries; the last: URLError: .*refused"):
        annotator.annotate(["A door."], "")


def test_in_a_process_beside_training(server):
    arguments = {"model": "tiny", "base_url": f"http://127.0.0.1:{server.port}/right/v1", "parallel": 2}
    spec = {"factory": "rewardlab.intrinsic.annotation.endpoint:EndpointAnnotator", "arguments": arguments}
    source = AnnotationProcess(spec, goal=GOALS["score"])
    before = time.perf_counter()
    source.submit(["You kill it!", ("a", "bb")])
    assert time.perf_counter() - before < 0.2
    assert source.wait(20) and dict(source.collect(0)) == {("a", "bb"): 1, "You kill it!": 1}
    source.close()
    server.requests(2)


def test_reading_answers():
    assert [read_label(text) for text in ("<label>FOO</label>", "FOO? no, BAR", "BAR", "", "foo")] == [1, 1, 0, 0, 0]
    assert read_preference("<best>1</best> or rather <best>2</best>") == 1 and read_preference("best: 1") == 3
    prompt = label_prompt("It burns.", GOALS["combat"])
    assert prompt.count("FOO") >= 4 and prompt.index(GOALS["combat"]) < prompt.index("<message>It burns.</message>")
    assert "good" not in prompt.lower()
    prompt = comparison_prompt("It burns.", "It rains.", "Win.")
    assert prompt.index("Win.") < prompt.index("<message_1>It burns.<") < prompt.index("<message_2>It rains.<")


@pytest.mark.usefixtures("without_type_checks")
def test_bad_addresses_are_named():
    for url in ("ftp://host/v1", "file:///etc/passwd", "host:8000", "http:///v1"):
        with pytest.raises(ValueError, match="base_url is"):
            EndpointAnnotator("tiny", url)
    with pytest.raises(ValueError, match="without a user name") as caught:
        EndpointAnnotator("tiny", "http://me:secret@host/v1")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="temperature is -1"):
        EndpointAnnotator("tiny", temperature=-1)
