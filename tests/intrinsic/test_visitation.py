from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.visitation import (
    EpisodicFirstVisit,
    FirstVisitGate,
    LifelongCounts,
    ProductCounts,
    count_bonus,
)
from tests.intrinsic.walks import arrive, begin, key

KINDS = (LifelongCounts, EpisodicFirstVisit, ProductCounts)
# steps of two environments: (state, seen, the episode ends with it and begins anew in this state)
walks = st.lists(
    st.tuples(*[st.tuples(st.integers(0, 4), st.booleans(), st.none() | st.integers(0, 4))] * 2),
    min_size=1,
    max_size=25,
)


def walk(reward, steps, learn=()):
    """Feed a walk that begins in state 0 twice; all rewards, whatever the places at which the reward is updated."""
    reward.begin(begin([0, 1], [0, 0]))
    return go_on(reward, steps, learn)


def go_on(reward, steps, learn=()):
    found = []
    for place, step in enumerate(steps):
        ends = [again is not None for _, _, again in step]
        reward.observe(arrive([s for s, _, _ in step], [seen for _, seen, _ in step], dones=ends))
        for environment in np.flatnonzero(ends):
            reward.begin(begin([environment], [step[environment][2]]))
        if place in learn:
            found.append(reward.rewards())
            reward.update()
    return np.concatenate([*found, reward.rewards()])


@pytest.mark.parametrize(("visits", "total"), [(1, 1.0), (10, 5.0210), (100, 18.5896), (1000, 61.8010)])
def test_what_all_visits_of_a_state_pay(visits, total):
    reward = LifelongCounts(environments=1)
    for _ in range(visits):
        reward.observe(arrive([7]))
    assert reward.rewards().sum() == pytest.approx(total, abs=1e-4)


def test_sum_grows_as_twice_the_root_without_bound_and_a_cubed_count_does_not():
    counts = np.arange(1, 1_000_001)
    assert count_bonus(counts).sum() - 2 * np.sqrt(1_000_000) == pytest.approx(-1.4603545, abs=1e-3)
    assert count_bonus(counts, power=3).sum() == pytest.approx(1.2020569)


@settings(max_examples=80)
@given(walks, st.sets(st.integers(0, 24)))
def test_against_counting_by_hand(steps, learn):
    lifelong, seen = Counter({0: 2}), [{0}, {0}]
    expected = defaultdict(list)
    for step in steps:
        for environment, (state, shown, _) in enumerate(step):
            lifelong[state] += shown
            new = shown and state not in seen[environment]
            seen[environment] |= {state} if shown else set()
            bonus = 3.0 / lifelong[state] ** 0.7 if shown else 0.0
            expected[LifelongCounts].append(bonus)
            expected[EpisodicFirstVisit].append(3.0 * new)
            expected[ProductCounts].append(bonus * new)
        for environment, (_, _, again) in enumerate(step):
            if again is not None:
                lifelong[again] += 1
                seen[environment] = {again}
    for kind in KINDS:
        options = {} if kind is EpisodicFirstVisit else {"power": 0.7}
        found = walk(kind(environments=2, bonus=3.0, **options), steps, learn)
        np.testing.assert_allclose(found, np.reshape(expected[kind], (-1, 2)), rtol=1e-12)


@settings(max_examples=80)
@given(walks)
def test_gate_over_lifelong_counts_is_the_product(steps):
    gated = FirstVisitGate(LifelongCounts(environments=2), environments=2)
    np.testing.assert_array_equal(walk(gated, steps), walk(ProductCounts(environments=2), steps))


def test_pairs_count_the_state_left_with_the_action_taken_there():
    reward = LifelongCounts(environments=2, key="state_actions")
    reward.begin(begin([0, 1], [0, 1]))
    reward.observe(arrive([1, 1], actions=[5, 5]))  # (0, 5) and (1, 5)
    reward.observe(arrive([2, 2], actions=[5, 6]))  # (1, 5) a second time, (1, 6)
    reward.begin(begin([0], [0]))
    reward.observe(arrive([3, 3], actions=[5, 5]))  # (0, 5) a second time: the episode began in 0; (2, 5)
    np.testing.assert_allclose(reward.rewards(), [[1, 1], [0.5**0.5, 1], [0.5**0.5, 1]])


def test_messages_and_observations_can_be_counted():
    said, elsewhere = np.zeros((2, 256), np.uint8), np.eye(2, dtype=np.float32)
    said[1, 0] = 65
    step = Arrivals(dones=np.zeros(2, bool), valid=np.ones(2, bool), messages=said, next_observations=elsewhere)
    by_message = LifelongCounts(environments=2, key="messages")
    by_message.begin(Starts(environments=np.array([0]), messages=said[:1]))
    by_message.observe(step)
    np.testing.assert_allclose(by_message.rewards(), [[0.5**0.5, 1]])
    by_observation = LifelongCounts(environments=2, key="observations")
    for _ in range(2):
        by_observation.observe(step)
    np.testing.assert_allclose(by_observation.rewards(), [[1, 1], [0.5**0.5, 0.5**0.5]])


def test_first_visits_are_no_function_of_the_state():
    reward = EpisodicFirstVisit(environments=1)
    reward.begin(begin([0], [0]))
    for state in (1, 0, 1):
        reward.observe(arrive([state]))
    assert reward.rewards().ravel().tolist() == [1, 0, 0]


def test_a_blank_arrival_is_neither_counted_nor_paid():
    reward = ProductCounts(environments=1)
    reward.begin(begin([0], [0]))
    reward.observe(arrive([1], valid=[False]))
    reward.observe(arrive([1]))
    assert reward.rewards().ravel().tolist() == [0, 1]


def test_memory_is_one_entry_a_distinct_state():
    reward = LifelongCounts(environments=4)
    for step in range(500):
        reward.observe(arrive([step % 7] * 4))
        if step % 10 == 9:
            assert len(reward.rewards()) == 10
            reward.update()
    assert len(reward.table) == 7
    assert reward.rewards().shape == (0, 4)
    assert sum(value.size for value in reward.state_dict()["table"].values()) == 7 * (2 + 1 + 1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80)
@given(steps=walks, cut=st.integers(0, 24))
def test_resumes_as_if_never_stopped(kind, steps, cut):
    stopped, again = kind(environments=2), kind(environments=2)
    walk(stopped, steps[:cut])
    again.load_state_dict(stopped.state_dict())
    np.testing.assert_array_equal(go_on(again, steps[cut:]), walk(kind(environments=2), steps))


def test_pairs_resume_in_the_middle_of_an_episode():
    found = []
    for stop in (False, True):
        reward = LifelongCounts(environments=1, key="state_actions")
        reward.begin(begin([0], [3]))
        reward.observe(arrive([4], actions=[1]))
        if stop:
            state, reward = reward.state_dict(), LifelongCounts(environments=1, key="state_actions")
            reward.load_state_dict(state)
        for state_left in (4, 3, 4):
            reward.observe(arrive([7 - state_left], actions=[1]))  # from 4 to 3 and back
        found.append(reward.rewards())
    np.testing.assert_allclose(found[0].ravel(), [1, 1, 0.5**0.5, 0.5**0.5])
    np.testing.assert_array_equal(found[0], found[1])


def test_bonuses_favour_staying_alive():
    """A constant bonus makes the longer of two ways to the same goal the better one; a potential's shaping does not."""
    discount, goal = 0.9, 1.0

    def value(length, bonus):
        return goal * discount ** (length - 1) + bonus * sum(discount**t for t in range(length))

    assert value(2, 0.0) > value(8, 0.0)
    assert value(2, 0.2) < value(8, 0.2)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: count_bonus(np.array([[1, -2]])), r"counts\[0, 1\] is -2, expected at least 0"),
        (lambda: LifelongCounts(environments=0), "environments is 0"),
        (lambda: LifelongCounts(environments=1, key="rooms"), "key is 'rooms', expected one of 'states'"),
        (lambda: LifelongCounts(environments=1, bonus=-1.0), "bonus is -1.0"),
        (lambda: LifelongCounts(environments=2).observe(arrive([1])), "arrivals are of 1 environments, expected 2"),
        (lambda: LifelongCounts(environments=1).begin(begin([1], [0])), "starts.environments holds 1, expected 0 to 0"),
        (
            lambda: EpisodicFirstVisit(environments=1).observe(
                Arrivals(dones=np.zeros(1, bool), valid=np.ones(1, bool))
            ),
            "arrivals.keys is None, expected a key of each state",
        ),
        (
            lambda: LifelongCounts(environments=1, key="state_actions").observe(arrive([1])),
            "arrivals.actions is None, expected actions",
        ),
        (
            lambda: LifelongCounts(environments=1, key="messages").observe(arrive([1])),
            "arrivals.messages is None, expected messages",
        ),
        (
            lambda: ProductCounts(environments=1).begin(Starts(environments=np.array([0]), keys=[key(0), key(1)])),
            "starts.keys has 2 keys, expected 1",
        ),
        (
            lambda: LifelongCounts(environments=1).load_state_dict(LifelongCounts(environments=2).state_dict()),
            r"the state is of \(2,\) environments, expected \(1,\)",
        ),
        (
            lambda: LifelongCounts(environments=1).load_state_dict(
                LifelongCounts(environments=1, key="messages").state_dict()
            ),
            "the state has key 'messages', this reward 'states'",
        ),
    ],
)
def test_bad_input_says_what_and_where(act, message):
    with pytest.raises(ValueError, match=message):
        act()
