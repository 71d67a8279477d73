import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.adapters.intrinsic_ledger import PARTS, RewardLedger


def rollout(ledger, own, used, dones, intrinsic, coefficient, resets=()):
    """Numbers of a rollout, given arrays (steps, environments); everything is reset before the steps in `resets`."""
    for step in range(len(own)):
        if step in resets:
            ledger.begin()
        ledger.add(own[step], used[step], dones[step])
    ledger.close(intrinsic, coefficient)
    return ledger.numbers


def test_a_rollout_by_hand():
    own = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    dones = np.array([[False, False], [True, False], [False, True]])
    intrinsic = np.array([[0.5, 0.0], [1.0, 0.0], [0.0, 4.0]])
    numbers = rollout(RewardLedger(2), own, 2 * own, dones, intrinsic, 0.5)
    assert numbers == pytest.approx(
        {
            "reward/extrinsic": 11.0,
            "reward/extrinsic_used": 22.0,
            "reward/intrinsic": 5.5 / 6,
            "reward/intrinsic_paid": 2.75 / 6,
            "reward/total": 22.0 + 2.75 / 6,
            "episode/extrinsic": 31.5,  # 1 + 2, and 60
            "episode/extrinsic_used": 63.0,
            "episode/intrinsic": 2.75,
            "episode/intrinsic_paid": 1.375,
            "episode/total": 64.375,
            "episode/length": 2.5,
        }
    )


@given(st.integers(0, 2**31), st.integers(1, 3), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.booleans())
def test_episodes_are_summed_over_rollouts_and_resets(seed, environments, lengths, resetting):
    rng = np.random.default_rng(seed)
    ledger, under_way = RewardLedger(environments), [[] for _ in range(environments)]
    for length in lengths:
        own, used, intrinsic = rng.normal(size=(3, length, environments))
        dones = rng.random((length, environments)) < 0.3
        resets = set(np.flatnonzero(rng.random(length) < 0.3).tolist()) if resetting else set()
        numbers = rollout(ledger, own, used, dones, intrinsic, 0.25, resets)
        finished = []
        for step in range(length):
            for place, episode in enumerate(under_way):
                if step in resets:
                    episode.clear()
                paid = 0.25 * intrinsic[step, place]
                parts = own[step, place], used[step, place], intrinsic[step, place], paid, used[step, place] + paid
                episode.append((*parts, 1))
                if dones[step, place]:
                    finished.append(np.sum(episode, axis=0))
                    episode.clear()
        sums = {key.removeprefix("episode/"): value for key, value in numbers.items() if key.startswith("episode/")}
        expected = dict(zip((*PARTS, "length"), np.mean(finished, axis=0), strict=True)) if finished else {}
        assert sums == pytest.approx(expected, abs=1e-9)
        assert numbers["reward/total"] == pytest.approx((used + 0.25 * intrinsic).mean(), abs=1e-9)


def test_episodes_under_way_go_on_from_a_state():
    ones, nothing = np.ones((1, 1)), np.zeros((1, 1))
    ledger = RewardLedger(1)
    rollout(ledger, ones, ones, nothing.astype(bool), nothing, 1.0)
    later = RewardLedger(1)
    later.load_state_dict(ledger.state_dict())
    numbers = rollout(later, ones, ones, ones.astype(bool), nothing, 1.0)
    assert (numbers["episode/extrinsic"], numbers["episode/length"]) == (2.0, 2.0)
