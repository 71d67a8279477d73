import http.client
import importlib.util
import json
import pickle
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch

from rewardlab.adapters import openrlhf
from rewardlab.adapters.openrlhf import RewardServer, reward_function, serve
from rewardlab.transforms import Centre, Fixed, Given, LeaveOneOut, LogSigmoid, Pipeline, chain
from tests.adapters.trainer_calls import OPENRLHF_ANSWER_KEYS, OPENRLHF_REQUEST


def right(prompt, completion, label, **columns):
    return None if label is None else completion.strip() == label


def brief(prompt, completion, **columns):
    return -len(completion) / 10


SIGNALS = {"right": right, "brief": brief}
REWARD = reward_function(SIGNALS, "brief", score="right", end_token="</s>")


# in OpenRLHF's process ------------------------------------------------------------------------------------------------


def test_answer_has_openrlhfs_form():
    answer = REWARD(*OPENRLHF_REQUEST.values())
    assert tuple(answer) == OPENRLHF_ANSWER_KEYS
    assert answer["rewards"].tolist() == pytest.approx([-0.2]) and answer["scores"].tolist() == [1.0]
    logs = answer["extra_logs"]
    assert list(logs) == ["reward/right", "reward/right/applies", "reward/brief", "reward/brief/applies"]
    values = [answer["rewards"], answer["scores"], *logs.values()]
    assert all(isinstance(value, torch.Tensor) and value.shape == (1,) for value in values)
    assert {value.dtype for value in values} == {torch.float32}
    for value in values:  # what OpenRLHF does with them
        assert torch.tensor([value]).shape == (1,)


def test_a_batch_is_its_samples():
    queries, prompts, labels = ["a: 1", "b: 2</s>", "c: x"], ["a:", "b:", "c:"], ["1", "3", "x"]
    whole = REWARD(queries, prompts, labels)
    assert whole["scores"].tolist() == [1.0, 0.0, 1.0] and whole["rewards"].tolist() == pytest.approx([-0.2] * 3)
    each = [REWARD(*([column[row]] for column in (queries, prompts, labels))) for row in range(3)]
    torch.testing.assert_close(whole["rewards"], torch.cat([one["rewards"] for one in each]))


def test_what_the_signals_see():
    seen = {}

    def spy(prompt, completion, **columns):
        seen.update(columns, prompt=prompt, completion=completion)
        return 0.0

    reward_function({"spy": spy}, end_token="</s>")(["<s>2+2= 4 </s> </s>"], ["<s>2+2="], [None])
    assert seen == {"prompt": "<s>2+2=", "completion": " 4 </s> ", "label": None}  # the end token goes once


def test_logs_tell_absent_from_zero():
    logs = REWARD(["a1"], ["a"], ["1"])["extra_logs"]
    assert [logs["reward/right"].item(), logs["reward/right/applies"].item()] == [1.0, 1.0]
    reward = reward_function(SIGNALS, "brief")
    logs = reward(["a1", "a1"], ["a", "a"], [None, "2"])["extra_logs"]
    assert logs["reward/right"].tolist() == [0.0, 0.0] and logs["reward/right/applies"].tolist() == [0.0, 1.0]


def test_a_pipeline_makes_the_reward():
    pipeline = Pipeline({"right": chain(), "brief": chain(Centre(Fixed(0.0)), LogSigmoid())})
    rewards = reward_function(SIGNALS, pipeline=pipeline)(["a1"], ["a"], ["1"])["rewards"]
    assert rewards.item() == pytest.approx(1.0 - np.log1p(np.exp(0.1)), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"main": "right", "score": "bright"}, "score is 'bright', expected one of the signals 'right', 'brief'"),
        ({"main": "right", "absent_reward": float("nan")}, "absent_reward is nan"),
        ({"pipeline": Pipeline({"right": chain(), "brief": Centre(Given())})}, "references for brief"),
        ({"pipeline": Pipeline({"right": chain(), "brief": chain()}, advantage=LeaveOneOut())}, "/leave_one_out"),
    ],
)
def test_what_openrlhf_cannot_do_is_refused_at_once(arguments, match):
    with pytest.raises(ValueError, match=match):
        reward_function(SIGNALS, **arguments)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        ((["a1", "a2"], ["a"], ["1"]), "2 queries, 1 prompts and 1 labels"),
        ((["b1"], ["a"], ["1"]), "query 0 does not begin with its prompt"),
        ((["a1"], ["a"], [None]), "'right' is the score to filter by, but does not apply to sample 0"),
    ],
)
def test_what_cannot_be_scored_is_an_error(call, match):
    with pytest.raises(ValueError, match=match):
        REWARD(*call)


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        ("1.0", TypeError, "signal 'odd' is a str .* for sample 1 "),
        (np.zeros(1), TypeError, "signal 'odd' is a ndarray .* for sample 1 "),
        (float("inf"), ValueError, "signal 'odd' is inf for sample 1 "),
        (float("-inf"), ValueError, "signal 'odd' is -inf for sample 1 "),
        (None, ValueError, "signal 'odd' does not apply to sample 1 .*absent_reward"),
        (float("nan"), ValueError, "signal 'odd' does not apply to sample 1 .*absent_reward"),
    ],
)
def test_what_a_signal_may_not_return(value, error, match, caplog):
    reward = reward_function({"odd": lambda prompt, completion, label, **columns: value if label == "b" else 0.5})
    with pytest.raises(error, match=match):
        reward(["p1", "p2"], ["p", "p"], ["a", "b"])
    assert "the reward function failed" in caplog.text  # OpenRLHF swallows the error


@pytest.mark.parametrize("value", [None, float("nan")])
def test_absent_signals_give_the_reward_that_was_said(value):
    reward = reward_function({"odd": lambda prompt, completion, label, **columns: value}, absent_reward=-1.0)
    answer = reward(["p1"], ["p"], ["a"])
    assert answer["rewards"].tolist() == answer["scores"].tolist() == [-1.0]
    assert answer["extra_logs"]["reward/odd/applies"].tolist() == [0.0]


def test_a_pipeline_for_other_signals_is_refused():
    with pytest.raises(ValueError, match=r"the pipeline is for \['left'\], but the signals are \['brief', 'right'\]"):
        reward_function(SIGNALS, pipeline=Pipeline({"left": chain()}))


def test_can_be_pickled_and_loaded_from_a_file(tmp_path):
    assert pickle.loads(pickle.dumps(REWARD)) == REWARD
    lines = [line[4:] for line in openrlhf.__doc__.splitlines() if line.startswith("    ")]
    (tmp_path / "my_reward.py").write_text("\n".join(lines))  # the example of the docstring
    spec = importlib.util.spec_from_file_location("reward_func", tmp_path / "my_reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.reward_func(["2 + 2 = 4<|im_end|>"], ["2 + 2 ="], ["4"])["rewards"].tolist() == [1.0]


# the service ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with RewardServer(REWARD, port=0, max_bytes=10_000) as running:
        yield running


def post(server, body, *, path="/get_reward", method="POST", **headers):
    """Status and answer of one request, sent as it is."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if response.headers.get_content_type() == "application/json" else text


def test_service_answers_as_the_function_does(server):
    request = {"query": ["a1", "b:2</s>"], "prompts": ["a", "b:"], "labels": ["1", "3"]}
    status, answer = post(server, request)
    assert status == 200 and tuple(answer) == OPENRLHF_ANSWER_KEYS
    direct = REWARD(*request.values())
    np.testing.assert_allclose(answer["rewards"], direct["rewards"], rtol=1e-6)
    assert answer["scores"] == direct["scores"].tolist() and answer["extra_logs"].keys() == direct["extra_logs"].keys()


def test_service_takes_text_of_any_language_and_labels_of_any_kind(server):
    status, answer = post(server, {"query": ["Größe? 四 \ud800"], "prompts": ["Größe?"], "labels": [{"value": [1]}]})
    assert status == 200 and answer["scores"] == [0.0]


GOOD = {"query": ["a1"], "prompts": ["a"], "labels": ["1"]}


@pytest.mark.parametrize(
    ("body", "status", "match"),
    [
        (b"", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"__import__('os').system('true')", 400, "not JSON"),
        (pickle.dumps(GOOD), 400, "not JSON"),
        (b'{"query": NaN}', 400, "NaN is no number of JSON"),
        (b"[" * 9_000, 400, "not JSON"),
        ([GOOD], 422, "the request is a list, expected an object with query, prompts, labels"),
        ({**GOOD, "query": "a1"}, 422, "'query' is 'a1', expected a list"),
        ({"query": ["a1"], "prompts": ["a"]}, 422, "'labels' is missing, expected query, prompts, labels"),
        ({name: [] for name in GOOD}, 422, "at least one item"),
        ({**GOOD, "labels": ["1", "2"]}, 422, "'labels' has 2 items for 1 in 'query'"),
        ({**GOOD, "prompts": [1]}, 422, r"prompts\[0\] is 1, expected text"),
        ({**GOOD, "query": ["b1"]}, 422, "does not begin with 'a'"),
        ({**GOOD, "query": ["a" * 20_000]}, 413, "at most 10000 are read"),
        ({**GOOD, "labels": [None]}, 500, "ValueError: signal 'right' is the score"),
    ],
)
def test_bad_requests_are_refused_with_the_reason(server, body, status, match):
    got, answer = post(server, body)
    assert got == status and list(answer) == ["error"]
    with pytest.raises(ValueError, match=match):
        raise ValueError(answer["error"])
    assert post(server, GOOD)[0] == 200  # and the service goes on


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ({"path": "/"}, 404),
        ({"path": "/get_reward/../../etc/passwd"}, 404),
        ({"Content-Type": "text/plain"}, 415),  # what a web page can send to this machine without asking
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "ten"}, 411),
        ({"method": "GET"}, 501),
        ({"method": "OPTIONS"}, 501),  # so that a browser asking for a web page gets no leave
    ],
)
def test_other_requests_are_refused(server, request_line, status):
    assert post(server, GOOD, **request_line)[0] == status


def test_a_body_without_a_length_is_refused(server):
    with socket.create_connection(server.server_address, timeout=10) as client:
        client.sendall(
            b"POST /get_reward HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.0 411")


def test_a_request_that_breaks_off_is_refused(server):
    with socket.create_connection(server.server_address, timeout=10) as client:
        client.sendall(
            b'POST /get_reward HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"query"'
        )
        client.shutdown(socket.SHUT_WR)
        assert b"broke off after 8 of 99 bytes" in client.makefile("rb").read()


def test_a_client_that_sends_nothing_does_not_hold_a_thread(server, monkeypatch):
    monkeypatch.setattr(server.RequestHandlerClass, "timeout", 0.2)
    with socket.create_connection(server.server_address, timeout=10) as client:
        client.sendall(b"POST /get_reward HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.0 408")


def test_what_a_signal_raises_comes_back_with_signal_and_sample():
    def broken(prompt, completion, **columns):
        raise RuntimeError("judge is down")

    with RewardServer(reward_function({"broken": broken}), port=0) as server:
        status, answer = post(server, GOOD)
    assert status == 500
    assert answer["error"].startswith("RuntimeError: judge is down; raised by signal 'broken' for sample 0 (prompt 'a'")


def test_listens_on_this_machine_only(server):
    assert server.server_address[0] == "127.0.0.1" and server.url.startswith("http://127.0.0.1:")
    with pytest.warns(UserWarning, match="open to the network"):
        RewardServer(REWARD, "0.0.0.0", 0).server_close()


def test_closing_answers_what_is_in_progress():
    entered, leave, got = threading.Event(), threading.Event(), []

    def slow(prompt, completion, **columns):
        entered.set()
        leave.wait(10)
        return 1.0

    with RewardServer(reward_function({"slow": slow}), port=0) as server:
        client = threading.Thread(target=lambda: got.append(post(server, GOOD)))
        client.start()
        assert entered.wait(10)
        threading.Timer(0.3, leave.set).start()
    assert leave.is_set()  # closing waited
    client.join(10)
    assert got[0][0] == 200 and got[0][1]["rewards"] == [1.0]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url, b"{}", timeout=5)


def test_many_requests_at_once(server):
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(post(server, GOOD)[0])) for _ in range(100)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(20)
    assert answers == [200] * 100


def test_serve_stops_when_interrupted(monkeypatch):
    closed = []
    monkeypatch.setattr(RewardServer, "serve_forever", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(RewardServer, "server_close", lambda self: closed.append(self.socket.close()))
    serve(REWARD, port=0)
    assert closed == [None]


def test_only_what_reward_function_returns_is_served(without_type_checks):
    with pytest.raises(TypeError, match=r"expected what reward_function\(...\) returns, got function"):
        RewardServer(right)


def test_importing_the_adapter_imports_no_torch():
    code = "import sys, rewardlab.adapters.openrlhf as _; print({'torch', 'openrlhf', 'ray'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
