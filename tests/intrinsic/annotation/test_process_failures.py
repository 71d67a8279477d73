"""Each item asked about is answered once, whatever the annotator and the training do: with a worker in memory."""

import json
import os
import tempfile
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.intrinsic.annotation.process import AnnotationProcess
from tests.intrinsic.annotation.fake_worker import GARBAGE, FakeWorker, truth

ITEMS = [f"You see here {number} darts." for number in range(5)] + [f"You kill newt {number}!" for number in range(5)]
ITEMS += list(pairwise(ITEMS[3:8]))
FAILURES = ("die", "die late", "hang", "error", *GARBAGE)

pytestmark = pytest.mark.filterwarnings("ignore:the annotator failed before its first label")


def source(plan=(), poison=(), **options):
    """A source that asks only when `turn` is called."""
    plan, log, started = list(plan), [], []

    def start():
        started.append(FakeWorker(plan, set(poison), log))
        return started[-1]

    one = AnnotationProcess("x:y", **{"backoff": 0, "_start": start, **options})
    one._begin = lambda: None
    one.turn, one.plan, one.log, one.started = one._dispatch.turn, plan, log, started
    return one


def finish(one):
    answers = []
    while one.turn():
        answers += one.collect(0)
    return answers + one.collect(0)


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_costs_time_and_nothing_else(failure):
    one = source([failure], batch=5)
    one.submit(ITEMS)
    answers = finish(one)
    assert sorted(item for item, _ in answers if isinstance(item, str)) == sorted(ITEMS[:10]) and len(answers) == 14
    assert [label for _, label in answers] == truth([item for item, _ in answers])
    kind = {"die": "died", "die late": "died", "hang": "timed_out", "error": "error"}.get(failure, "garbage")
    counts = one.statistics()
    assert counts[kind] == 1 and counts["waiting"] == counts["given_up"] == counts["down"] == 0
    assert counts["started"] == (
        1 if failure in ("error", "short", "long", "range", "float", "bool", "text", "missing") else 2
    )
    assert sum(worker.alive for worker in one.started) == 1


def test_answers_to_earlier_requests_are_dropped():
    one = source(["late", "late"], batch=7)
    one.submit(ITEMS)
    answers = finish(one)
    assert [label for _, label in answers] == truth([item for item, _ in answers]) and len(answers) == 14
    assert one.statistics()["late"] == 2 and one.statistics()["garbage"] == 0


@given(st.lists(st.one_of(st.just("answer"), st.sampled_from([*FAILURES, "late"])), max_size=25), st.integers(1, 6))
def test_exactly_once_for_any_plan_of_failures(plan, batch):
    one = source(plan, batch=batch, failures=1000, attempts=1000)
    one.submit(ITEMS)
    answers = finish(one)
    assert Counter(item for item, _ in answers) == Counter(ITEMS)
    assert [label for _, label in answers] == truth([item for item, _ in answers])


ACTIONS = st.one_of(
    st.tuples(st.just("rollout"), st.lists(st.sampled_from(ITEMS), max_size=4)),
    st.tuples(st.sampled_from(["turn", "turn", "collect", "save", "restart training", "lose all", "tear"]), st.none()),
)


@settings(max_examples=200)
@given(
    st.lists(ACTIONS, max_size=25),
    st.lists(st.sampled_from(["answer", "answer", *FAILURES, "late"]), max_size=8),
    st.sampled_from(["lifo", "fifo", "random"]),
    st.booleans(),
)
def test_killed_trainings_lose_and_double_nothing(actions, plan, order, with_journal):
    """The training is a set of labels it has; it asks for what it sees and lacks, and may be killed at any time."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        journal = Path(folder) / "labels" if with_journal else None

        def begin():
            return source(plan, batch=2, order=order, journal=journal, failures=1000, attempts=1000)

        one, has, asked = begin(), {}, []
        saved = (None, {}, [])
        for action, seen in actions:
            if action == "rollout":
                wanted = [item for item in dict.fromkeys(seen) if item not in has]
                one.submit(wanted)
                asked += wanted
            elif action == "turn":
                one.turn()
            elif action == "collect":
                receive(one, has)
            elif action == "save":
                saved = (one.state_dict(), dict(has), list(asked))
            else:  # killed: no close, and perhaps in the middle of a line
                if action == "tear" and with_journal and journal.exists():
                    with open(journal, "ab") as file:
                        file.write(b'{"number": 99, "it')
                if action == "lose all":
                    saved = (None, {}, [])
                kill(one)
                one, (state, had, were_asked) = begin(), saved
                has, asked = dict(had), list(were_asked)
                if state is not None:
                    one.load_state_dict(state)
        while one.turn():
            pass
        receive(one, has)
        assert set(asked) <= set(has) and one.waiting == 0
        if with_journal:
            lines = [json.loads(line)["item"] for line in journal.read_text().splitlines()[1:]]
            assert max(Counter(map(str, lines)).values(), default=0) <= 1  # nothing was labelled twice


def kill(one):
    """What a SIGKILL does to its journal: the system lets go of the file, and nobody else does anything."""
    if one._journal is not None:
        one._journal.close()


def receive(one, has):
    for item, label in one.collect(0):
        assert item not in has, "collected twice"
        assert [label] == truth([item])
        has[item] = label


def test_journal_keeps_labels_from_being_asked_twice(tmp_path):
    first = source(batch=4, journal=tmp_path / "labels")
    first.submit(ITEMS)
    first.turn()
    state = first.state_dict()
    first.turn()
    assert len(first.collect(0)) == 8  # and then the training is killed, back to `state`
    later = first.state_dict()
    assert first.collect(0) == [] and later["seen"] == first.state_dict()["seen"] == 8
    kill(first)
    second = source(batch=4, journal=tmp_path / "labels")
    second.load_state_dict(state)
    answers = finish(second)
    assert Counter(item for item, _ in answers) == Counter(ITEMS) and len(second.log) == 6
    kill(second)
    third = source(journal=tmp_path / "labels")  # with no checkpoint at all
    assert Counter(item for item, _ in third.collect(0)) == Counter(ITEMS) and third.collect(0) == []
    third.submit(ITEMS[:2])  # collected, asked for again: from memory
    assert third.waiting == 2 and not third.turn() and len(third.collect(0)) == 2
    assert third.statistics()["from_memory"] == 2


def test_what_is_out_is_in_the_state():
    one, during = source(batch=4), []

    def ask(items):
        during.append((one.state_dict(), one.waiting))
        return truth(items)

    one.submit(ITEMS)
    one._dispatch._ask = ask
    one.turn()
    state, waiting = during[0]
    other = source()
    other.load_state_dict(state)
    assert waiting == other.waiting == len(ITEMS)
    assert [item for item, _ in finish(other)] == ITEMS[::-1]  # what was out is due first


def test_states_without_a_journal_hold_labels_not_collected():
    one = source(batch=4)
    one.submit(ITEMS[:8])
    one.turn()
    one.collect(0)
    one.collect(0)  # nothing new
    two = source(batch=4)
    two.load_state_dict(one.state_dict())
    two.turn()
    three = source(batch=4)
    three.load_state_dict(two.state_dict())
    assert Counter(item for item, _ in finish(three)) == Counter(ITEMS[:4]) and three.log == []


def test_an_item_the_annotator_cannot_do_is_given_up_and_the_others_are_not():
    one = source(poison=[ITEMS[3]], batch=5, failures=4)
    one.submit(ITEMS[:8])
    answers = finish(one)
    assert Counter(item for item, _ in answers) == Counter(ITEMS[:3] + ITEMS[4:8])
    assert one.statistics()["given_up"] == 1 and one.statistics()["died"] == 3 and one.waiting == 0
    one.submit([ITEMS[3]])
    assert not one.turn()
    other = source(poison=[ITEMS[3]])
    other.load_state_dict(one.state_dict())
    other.submit([ITEMS[3]])
    assert not other.turn() and other.waiting == 0


def test_an_annotator_that_is_down_is_said_once_and_loses_nothing():
    one = source(["die", "range", "hang", "error"] * 5, batch=5, failures=6)
    one.submit(ITEMS)
    while one.turn():
        pass
    with pytest.warns(
        RuntimeWarning, match=r"down after 6 failures in a row .*'timed_out': 1.*the last: garbage: compare"
    ):
        one.collect(0)
    one.submit(ITEMS[:1])  # no second warning: it would be an error
    counts = one.statistics()
    assert counts["down"] == 1 and counts["waiting"] == 14 and counts["given_up"] == 0
    assert not any(worker.alive for worker in one.started)
    one.plan.clear()
    one.restart()
    assert Counter(item for item, _ in finish(one)) == Counter(ITEMS) and one.statistics()["down"] == 0


def test_failures_between_successes_do_not_add_up():
    one = source(["die", "answer"] * 20, batch=1, failures=2)
    one.submit(ITEMS)
    assert len(finish(one)) == 14 and one.statistics()["down"] == 0


def test_a_full_disk_stops_no_training(tmp_path, monkeypatch):
    one = source(batch=4, journal=tmp_path / "labels")
    one.submit(ITEMS)
    one.turn()

    def full(file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        one.turn()
    assert len(one.collect(0)) == 8 and one.statistics()["journal_errors"] == 1
    finish(one)
    kill(one)
    again = source(journal=tmp_path / "labels")
    assert len(again.collect(0)) == 14


def test_dropped_and_duplicates():
    one = source(capacity=3)
    one.submit(ITEMS[:5] + ITEMS[:1])
    assert one.waiting == 3 and one.statistics()["dropped"] == 3
    twice = source(duplicates=True)
    twice.submit(ITEMS[:1] * 2)
    assert len(finish(twice)) == 2


@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_named():
    for spec in ("module", "a:b:c", {"arguments": {}}, {"factory": "a:b", "argument": {}}, 7):
        with pytest.raises(ValueError, match="annotator"):
            AnnotationProcess(spec)
    with pytest.raises(TypeError, match="arguments that JSON can hold"):
        AnnotationProcess({"factory": "a:b", "arguments": {"base": object()}})
    for option in ({"batch": 0}, {"timeout": 0}, {"failures": 0}, {"attempts": 0}, {"backoff": -1}, {"seed": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} is"):
            AnnotationProcess("a:b", **option)
    one = source()
    with pytest.raises(TypeError, match=r"items\[1\]"):
        one.submit(["a", 1])
    one.close()
    one.close()
    with pytest.raises(ValueError, match="closed"):
        one.submit(["a"])


def test_a_failure_before_the_first_label_is_said_once_and_at_the_end_at_the_latest():
    one = source(["error", "error"], failures=1000)
    one.submit(ITEMS)
    one.turn()
    with pytest.warns(RuntimeWarning, match=r"the annotator failed before its first label \(error: .*training goes on"):
        one.collect(0)
    one.turn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.collect(0)
    short = source(["error"])
    short.submit(ITEMS)
    short.turn()
    with pytest.warns(RuntimeWarning, match="failed before its first label"):
        short.close()
