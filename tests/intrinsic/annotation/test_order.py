"""The queue of items that wait for a label."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.annotation.order import ORDERS, AnnotationQueue, check_item

steps = st.lists(
    st.tuples(st.sampled_from(["push", "pop", "put_back"]), st.lists(st.sampled_from("abcdef"), max_size=4)),
    max_size=12,
)


class NaiveQueue:
    """The same queue by lists and searches: oldest first."""

    def __init__(self, order, capacity, duplicates):
        self.order, self.capacity, self.duplicates, self.items = order, capacity, duplicates, []

    def push(self, items):
        dropped = 0
        for item in items:
            if item in self.items and not self.duplicates:
                if self.order == "lifo":
                    self.items.remove(item)
                    self.items.append(item)
            elif len(self.items) < self.capacity:
                self.items.append(item)
            else:
                dropped += 1
                if self.order == "lifo":
                    self.items = [*self.items[1:], item]
        return dropped

    def pop(self, count):
        taken = self.items[::-1][:count] if self.order == "lifo" else self.items[:count]
        self.items = self.items[: max(0, len(self.items) - count)] if self.order == "lifo" else self.items[count:]
        return taken

    def put_back(self, items):
        for item in reversed(items):
            if item in self.items and not self.duplicates:
                self.items.remove(item)
            self.items = [*self.items, item] if self.order == "lifo" else [item, *self.items]


@given(steps, st.sampled_from(["lifo", "fifo"]), st.integers(1, 5), st.booleans())
def test_queue_is_the_naive_queue(steps, order, capacity, duplicates):
    queue, naive = AnnotationQueue(order, capacity, duplicates), NaiveQueue(order, capacity, duplicates)
    for action, items in steps:
        if action == "push":
            assert queue.push(items) == naive.push(items)
        else:
            taken = queue.pop(len(items))
            assert taken == naive.pop(len(items))
            if action == "put_back":
                queue.put_back(taken)
                naive.put_back(taken)
        copy = AnnotationQueue(order, capacity, duplicates)
        copy.load_state_dict(queue.state_dict())
        assert len(queue) == len(copy) == len(naive.items)
        assert copy.pop(100) == naive.pop(0) + ([*naive.items][::-1] if order == "lifo" else naive.items)


@given(steps, st.booleans())
def test_random_order_loses_and_invents_nothing(steps, duplicates):
    queue, inside = AnnotationQueue("random", 5, duplicates, rng=1), Counter()
    for action, items in steps:
        if action == "push":
            refused, waiting = 0, inside.copy()
            for item in items:  # one that found no room is refused again when it comes again
                if duplicates or not waiting[item]:
                    room = waiting.total() < 5
                    waiting[item] += room
                    refused += not room
            assert queue.push(items) == refused
            inside = Counter(queue.state_dict()["items"])
            assert inside.total() <= 5 and (duplicates or max(inside.values(), default=0) <= 1)
        else:
            taken = queue.pop(len(items))
            assert Counter(taken) <= inside
            inside -= Counter(taken)
            if action == "put_back":
                queue.put_back(taken)
                inside += Counter(taken)
        assert len(queue) == inside.total() and Counter(queue.state_dict()["items"]) == inside


def test_random_order_is_uniform_and_repeatable():
    firsts = []
    for seed in range(600):
        queue = AnnotationQueue("random", rng=seed)
        queue.push("abc")
        copy = AnnotationQueue("random", rng=77)
        copy.load_state_dict(queue.state_dict())
        firsts += queue.pop(1)
        assert copy.pop(1) == firsts[-1:]
    assert all(150 < count < 250 for count in Counter(firsts).values()) and len(set(firsts)) == 3


def test_newest_first_means_last_asked_for():
    queue = AnnotationQueue("lifo")
    queue.push(["old", "middle", "new", "old"])
    assert queue.pop(2) == ["old", "new"]
    with_duplicates = AnnotationQueue("lifo", duplicates=True)
    with_duplicates.push(["old", "middle", "new", "old"])
    assert with_duplicates.pop(9) == ["old", "new", "middle", "old"]


@pytest.mark.parametrize("order", ORDERS)
def test_pairs_survive_a_state_of_lists(order):
    queue = AnnotationQueue(order, rng=np.random.default_rng(0))
    queue.push([("a", "b"), "c"])
    copy = AnnotationQueue(order)
    copy.load_state_dict(queue.state_dict())
    assert sorted(copy.pop(2), key=str) == [("a", "b"), "c"]


def test_many_items_cost_little():
    queue = AnnotationQueue("fifo")
    queue.push([str(number) for number in range(20_000)])
    assert queue.pop(20_000)[-1] == "19999"  # seconds instead of milliseconds if each looked for the oldest


@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_named():
    with pytest.raises(ValueError, match="order is 'stack', expected one of 'lifo', 'fifo', 'random'"):
        AnnotationQueue("stack")
    with pytest.raises(ValueError, match="capacity is 0"):
        AnnotationQueue(capacity=0)
    with pytest.raises(ValueError, match="the state has order 'fifo', this queue 'lifo'"):
        AnnotationQueue("lifo").load_state_dict(AnnotationQueue("fifo").state_dict())
    for item in (b"bytes", ("a",), ("a", 1), None, ["a", "b", "c"]):
        with pytest.raises(TypeError, match=r"items\[3\]: expected a message or a pair of messages"):
            check_item("items[3]", item)
