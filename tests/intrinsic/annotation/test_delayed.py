"""Labels with a budget and a delay, on the clock of the environment."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.annotation.annotators import NoisyAnnotator, OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator

KILL = [f"You kill newt number {number}!" for number in range(10)]


def source(**options):
    return DelayedAnnotator(OracleAnnotator(), **{"labels_per_tick": 2, **options})


def test_budget_delay_and_order():
    for order, expected in (("lifo", [9, 8, 7, 6]), ("fifo", [0, 1, 2, 3])):
        one = source(order=order, delay_ticks=2, tick_steps=100)
        one.submit(KILL)
        assert one.collect(99) == [] and one.collect(100) == [] and one.collect(299) == []
        assert one.collect(300) == [(KILL[number], 1) for number in expected[:2]]
        assert one.waiting == 8 and one.collect(300) == []
        assert one.collect(400) == [(KILL[number], 1) for number in expected[2:]]  # labelled at 200, seen at 299
        assert one.statistics()["delivered"] == 4


def test_ticks_missed_are_budget_used_at_once():
    one = source()
    one.submit(KILL)
    assert len(one.collect(3500)) == 6 and len(one.collect(3999)) == 0 and len(one.collect(4000)) == 2


def test_an_idle_annotator_saves_no_budget():
    one = source()
    assert one.collect(100_000) == []
    one.submit(KILL)
    assert one.collect(100_999) == [] and len(one.collect(101_000)) == 2


@given(st.floats(0.05, 3), st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_fractions_of_a_label_add_up(budget, steps):
    one = source(labels_per_tick=budget, tick_steps=10)
    one.submit([str(number) for number in range(60)])
    answered = sum(len(one.collect(step)) for step in np.cumsum(steps).tolist())
    assert answered == math.floor(budget * (sum(steps) // 10))


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.lists(st.sampled_from(KILL), max_size=5)), min_size=1, max_size=12),
    st.integers(0, 3),
    st.sampled_from(["lifo", "fifo", "random"]),
    st.integers(0, 11),
)
def test_each_request_is_answered_once_and_a_state_changes_nothing(rounds, delay, order, saved_at):
    def make():
        noisy = NoisyAnnotator(OracleAnnotator(), 0.7, mode="fresh")
        return DelayedAnnotator(noisy, labels_per_tick=1.5, delay_ticks=delay, order=order, seed=5)

    one, step, answers, asked = make(), 0, [], []
    other, others = make(), []
    for number, (elapsed, messages) in enumerate(rounds):
        step += elapsed
        for which, found in ((one, answers), (other, others)):
            which.submit(messages)
            found += which.collect(step)
        asked += messages
        if number == saved_at:
            state = json.loads(json.dumps(other.state_dict()))
            other = make()
            other.load_state_dict(state)
    for end in (60, 64):
        answers += one.collect(step + 1000 * end)
        others += other.collect(step + 1000 * end)
    assert answers == others and one.waiting == 0 and one.statistics() == other.statistics()
    assert {item for item, _ in answers} == set(asked) and len(answers) <= len(asked)
    if len(set(asked)) == len(asked):
        assert len(answers) == len(asked)


def test_on_the_way_is_not_asked_again_unless_duplicates_are_wanted():
    for duplicates, expected in ((False, 1), (True, 2)):
        one = source(delay_ticks=5, duplicates=duplicates)
        one.submit(KILL[:1])
        one.collect(1000)
        one.submit(KILL[:1])
        assert len(one.collect(2000) + one.collect(50_000)) == expected


def test_dropped_is_counted():
    one = source(capacity=3)
    one.submit(KILL)
    assert one.waiting == 3 and one.statistics()["dropped"] == 7
    assert [item for item, _ in one.collect(9000)] == KILL[:-4:-1]


@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_named_and_loses_nothing():
    one = source()
    with pytest.raises(TypeError, match=r"items\[1\]: expected a message or a pair of messages, got 7"):
        one.submit(["a", 7])
    with pytest.raises(ValueError, match="labels_per_tick is 0"):
        source(labels_per_tick=0)
    one.collect(5000)
    with pytest.raises(ValueError, match="step is 4999, expected at least 5000"):
        one.collect(4999)

    class Broken(OracleAnnotator):
        def annotate(self, messages, goal="", rng=None):
            return [2] * len(messages)

    broken = DelayedAnnotator(Broken(), labels_per_tick=1)
    broken.submit(KILL[:2])
    with pytest.raises(ValueError, match=r"annotate\[0\] is 2"):
        broken.collect(1000)
    assert broken.waiting == 2


@pytest.mark.usefixtures("without_type_checks")
def test_a_class_is_no_annotator():
    with pytest.raises(TypeError, match=r"got the class OracleAnnotator; make one: OracleAnnotator\(\.\.\.\)"):
        DelayedAnnotator(OracleAnnotator, labels_per_tick=1)
