import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.pair_buffer import PairBuffer

STREAMS = st.lists(st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), max_size=12), max_size=5)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def held(buffer):
    state = buffer.state_dict()
    return [state["texts"][place] for place in state["ids"]]


def test_every_tenth_observation_of_each_rollout():
    texts = [str(number) for number in range(25)]
    buffer = PairBuffer(duplicates=True)
    buffer.add(texts)
    buffer.add(["again", *texts[:9]])
    assert held(buffer) == ["0", "10", "20", "again"]


def test_with_and_without_duplicates():
    texts = ["wall", "", "wall", "newt", "wall", ""]
    released, distinct = PairBuffer(duplicates=True, every=1), PairBuffer(every=1)
    for buffer in (released, distinct):
        buffer.add(texts)
    assert held(released) == ["wall", "wall", "newt", "wall"] and held(distinct) == ["wall", "newt"]


@given(STREAMS, st.booleans(), st.integers(1, 3), st.integers(1, 4))
def test_holds_the_newest_up_to_its_capacity(streams, duplicates, every, capacity):
    buffer = PairBuffer(duplicates=duplicates, every=every, capacity=capacity)
    expected = []
    for texts in streams:
        buffer.add(texts)
        for text in texts[::every]:
            if text and (duplicates or text not in expected):
                expected = [*expected, text][-capacity:]
        assert sorted(held(buffer)) == sorted(expected) and len(buffer) == len(expected)
        again = PairBuffer(duplicates=duplicates, every=every, capacity=capacity)
        again.load_state_dict(buffer.state_dict())
        buffer = again


def test_pairs_are_uniform_with_replacement():
    buffer = PairBuffer(duplicates=True, every=1)
    buffer.add(["wall"] * 9 + ["newt"])
    pairs = buffer.pairs(20_000, seeded())
    wall = np.array([[end == "wall" for end in pair] for pair in pairs])
    np.testing.assert_allclose(wall.mean(0), 0.9, atol=0.01)
    assert (wall[:, 0] != wall[:, 1]).mean() == pytest.approx(2 * 0.9 * 0.1, abs=0.01)
    assert buffer.pairs(5, seeded(1)) == buffer.pairs(5, seeded(1)) and PairBuffer().pairs(3, seeded()) == []


def test_refuses_another_buffers_state():
    buffer = PairBuffer(every=1)
    buffer.add(["a", "b"])
    with pytest.raises(ValueError, match="the state has duplicates=False, this buffer True"):
        PairBuffer(duplicates=True).load_state_dict(buffer.state_dict())
    with pytest.raises(ValueError, match="the state holds 2 messages, expected at most 1"):
        PairBuffer(capacity=1).load_state_dict(buffer.state_dict())
    with pytest.raises(ValueError, match="every is 0"):
        PairBuffer(every=0)
