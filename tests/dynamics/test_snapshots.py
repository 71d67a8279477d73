import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics.snapshots import SnapshotQueue
from tests.dynamics.discriminators import discriminator_of, rows_of, table_of

NETWORK = discriminator_of(hidden=(1,), factor_size=0)


def filled(count, *, keep_last=7, every=3):
    """A queue whose i-th snapshot has an output bias of i; and the network."""
    queue, network = SnapshotQueue(keep_last, every), discriminator_of()
    for index in range(count):
        with torch.no_grad():
            network.layers[-1].bias.fill_(index)
        queue.add(network, low=-1.0 - index, high=float(index))
    return queue, network


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 9))
def test_keeps_every_jth_of_the_last(count, keep_last, every):
    queue = SnapshotQueue(keep_last, every)
    network = NETWORK
    for _ in range(count):
        queue.add(network, low=0.0, high=1.0)
    expected = list(range(count))[-keep_last:][::every]
    assert queue.chosen() == expected
    assert len(queue) == min(count, keep_last)
    assert queue.stack(network, kind="test").snapshots == len(expected) <= -(-keep_last // every)


def test_the_defaults_are_forty_of_the_last_four_hundred():
    queue = SnapshotQueue()
    assert (queue.keep_last, queue.every) == (400, 10)
    of_mobile = SnapshotQueue(every=40)
    for number in range(450):
        for each in (queue, of_mobile):
            each.add(NETWORK, low=0.0, high=1.0)
        if number == 99:
            assert queue.chosen() == list(range(0, 100, 10)) and of_mobile.chosen() == [0, 40, 80]
    assert queue.chosen() == list(range(50, 450, 10)) and of_mobile.chosen() == list(range(50, 450, 40))
    assert (len(queue.chosen()), len(of_mobile.chosen())) == (40, 10)


def test_stacks_the_chosen_weights_with_their_own_ends():
    queue, network = filled(10)
    reward = queue.stack(network, kind="test", rescale="stored", facts={"task": "none"})
    assert queue.chosen() == [3, 6, 9]
    assert reward.low.tolist() == [-4, -7, -10] and reward.high.tolist() == [3, 6, 9]
    parts = rows_of(table_of(5))
    last = network(*parts)  # its bias is 9
    assert torch.allclose(reward.logits(*parts), torch.stack([last - 6, last - 3, last]), atol=1e-5)
    assert (reward.kind, reward.rescale) == ("test", "stored")
    assert reward.facts == {"task": "none", "snapshots_dropped": 0}


def test_unordered_snapshots_are_an_error_or_dropped_and_counted():
    queue, network = SnapshotQueue(9, 1), discriminator_of()
    for low, high in ((0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.5, 0.6)):
        queue.add(network, low=low, high=high)
    with pytest.raises(ValueError, match=r"high\[1\] is 1 and low\[1\] 1, expected high > low"):
        queue.stack(network, kind="test")
    left = queue.stack(network, kind="test", unordered="drop")
    assert left.high.tolist() == pytest.approx([1, 0.6]) and left.facts["snapshots_dropped"] == 2
    everything = queue.stack(network, kind="test", rescale="none", unordered="drop")
    assert everything.snapshots == 4 and everything.facts["snapshots_dropped"] == 0


def test_goes_on_from_its_state():
    queue, network = filled(10)
    again = SnapshotQueue(7, 3)
    again.load_state_dict(queue.state_dict())
    for one in (queue, again):
        one.add(network, low=0.0, high=1.0)
    assert again.chosen() == queue.chosen() == [4, 7, 10]
    parts = rows_of(table_of(5))
    first, second = (one.stack(network, kind="test")(*parts) for one in (queue, again))
    assert torch.equal(first, second)


def test_bad_input(without_type_checks):
    network = discriminator_of()
    with pytest.raises(ValueError, match="keep_last is 0"):
        SnapshotQueue(0)
    with pytest.raises(TypeError, match=r"every is 1\.5, expected a whole number"):
        SnapshotQueue(400, 1.5)
    with pytest.raises(ValueError, match="high is nan"):
        SnapshotQueue().add(network, low=0.0, high=float("nan"))
    with pytest.raises(ValueError, match="the queue is empty"):
        SnapshotQueue().stack(network, kind="test")
    queue = SnapshotQueue()
    queue.add(network, low=1.0, high=0.0)
    with pytest.raises(ValueError, match="none of 1 snapshots has high > low"):
        queue.stack(network, kind="test", unordered="drop")
    with pytest.raises(ValueError, match="unordered is 'keep'"):
        queue.stack(network, kind="test", unordered="keep")
    with pytest.raises(ValueError, match="the state has every 10, this queue 3"):
        SnapshotQueue(400, 3).load_state_dict(queue.state_dict())
