"""The books of a training: what every game was paid, for which messages, and what survives a restart."""

import numpy as np
import pytest

from environments.nethack.training.episodes import EPISODE_COLUMNS, EpisodeLedger
from environments.nethack.training.saved_state import array_free, with_arrays
from long_runs.plain_state import join_state, split_state
from rewardlab.intrinsic.interface import Arrivals, Starts

KILL, WALL, EMPTY = "You kill the newt!", "It's a wall.", ""


class Fixed:
    """An intrinsic reward that pays what it is told."""

    def __init__(self, paid):
        self.paid, self.updates = np.array(paid, dtype=float), 0

    def begin(self, starts):
        pass

    def observe(self, arrivals):
        pass

    def rewards(self):
        return self.paid

    def update(self):
        self.updates += 1
        return {"updates": self.updates}

    def state_dict(self):
        return {"updates": self.updates}

    def load_state_dict(self, state):
        self.updates = state["updates"]

    def close(self):
        pass


def arrivals(*messages, dones=None, clocks=(0, 1), keys=None):
    rows = np.zeros((len(messages), 256), dtype=np.uint8)
    for row, text in zip(rows, messages, strict=True):
        row[: len(text)] = np.frombuffer(text.encode("latin-1"), np.uint8)
    n = len(messages)
    return Arrivals(
        dones=np.array(dones or [False] * n),
        valid=np.ones(n, dtype=bool),
        messages=rows,
        keys=keys or [b"here"] * n,
        observations=np.full((n, 1), clocks[0]),
        next_observations=np.full((n, 1), clocks[1]),
    )


def played():
    """Two games side by side over a rollout of three steps; the first ends with the second step."""
    ledger = EpisodeLedger(Fixed([[1.0, 0.0], [0.5, 0.25], [2.0, 0.0]]), environments=2, window=2, clock=0)
    ledger.begin(Starts(environments=np.arange(2)))
    ledger.observe(arrivals(KILL, EMPTY, keys=[b"a", b"a"]))
    ledger.observe(arrivals(WALL, WALL, dones=[True, False], clocks=(1, 1), keys=[b"b", b"a"]))
    ledger.finish(0, {"score": 7.0, "length": 2.0})
    ledger.observe(arrivals(WALL, EMPTY))
    ledger.rewards()
    return ledger, ledger.update()


def test_a_game_is_paid_what_its_steps_were_and_rightly_for_what_the_rules_approve():
    ledger, numbers = played()
    assert numbers == {"updates": 1}
    assert ledger.episodes == 1
    means = ledger.means()
    assert means["paid"] == 1.5  # not the 2.0 of the next game
    assert means["rightly_paid"] == 1.0  # for the kill
    assert means["true_positive_share"] == pytest.approx(2 / 3)
    assert (means["score"], means["length"], means["distinct_messages"], means["places"]) == (7.0, 2.0, 2.0, 2.0)
    assert means["frozen_share"] == 0.5
    assert np.isnan(means["success"])  # nobody said
    assert ledger.messages == 2


def test_a_game_over_two_rollouts_is_one_game():
    ledger, _ = played()
    ledger.intrinsic.paid = np.array([[1.0, 3.0]])
    ledger.observe(arrivals(EMPTY, KILL, dones=[True, True]))
    ledger.finish(0, {"score": 5.0})
    ledger.finish(1, {"score": 1.0})
    ledger.rewards()
    ledger.update()
    first, second = (dict(zip(EPISODE_COLUMNS, row, strict=True)) for row in ledger.last)  # the window holds two
    assert (first["paid"], first["rightly_paid"], first["distinct_messages"], first["frozen_share"]) == (3.0, 0.0, 1, 0)
    assert (second["paid"], second["rightly_paid"], second["distinct_messages"]) == (3.25, 3.0, 2)
    assert ledger.means()["score"] == 3.0
    assert ledger.episodes == 3


def test_without_an_intrinsic_reward_nothing_is_paid_and_everything_is_counted():
    ledger = EpisodeLedger(None, environments=1, window=5)
    ledger.begin(Starts(environments=np.arange(1)))
    ledger.observe(arrivals(KILL, dones=[True]))
    ledger.finish(0, {"score": 3.0})
    assert ledger.rewards().tolist() == [[0.0]]
    assert ledger.update() == {}
    means = ledger.means()
    assert means["paid"] == 0.0
    assert np.isnan(means["true_positive_share"])
    assert np.isnan(means["frozen_share"])  # no clock was named


def test_books_go_through_a_checkpoint_unchanged():
    ledger, _ = played()
    tree, tensors = split_state("books", array_free(ledger.state_dict()))
    state = with_arrays(join_state(tree, tensors))
    again = EpisodeLedger(Fixed([]), environments=2, window=2, clock=0)
    again.load_state_dict(state)
    assert repr(again.state_dict()) == repr(ledger.state_dict())  # NaN is not itself
    assert again.messages == 2
    assert again.means() == pytest.approx(ledger.means(), nan_ok=True)


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.int64).reshape(2, 3), np.array([True, False]), np.zeros((0, 4), np.float32), np.array(2.5)],
)
def test_arrays_come_back_as_they_were(array):
    tree, tensors = split_state("state", array_free({"a": [array, np.float64(2)], "b": (1, None)}))
    found = with_arrays(join_state(tree, tensors))
    assert found["b"] == (1, None)
    back, number = found["a"]
    assert number == 2.0
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert np.array_equal(back, array)


def test_objects_are_no_state():
    with pytest.raises(TypeError, match="an array of object"):
        array_free({"a": np.array([object()])})
