"""The online feedback reward against a slow oracle, and its promises: evaluated at the update, counts by episode."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from long_runs.plain_state import split_state
from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.message_counts import episode_limit
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward, discounted_rewards
from rewardlab.intrinsic.ranking import RankingReward
from rewardlab.intrinsic.retrieval import RetrievalReward
from tests.intrinsic.message_rows import rows

GOOD, BAD = b"You kill the newt!", b"It is dark."
words = st.sampled_from([b"", b"a", b"b", b"c", bytes(range(1, 256)) + b"\xff", b"\xe9\x00x"])


class Fixed(RetrievalReward):
    """Rewards that a test sets, of any size, where labels are 0 or 1; notes what it is asked."""

    def __init__(self, values=()):
        super().__init__()
        self.values, self.asked, self.seen = dict(values), [], []

    def rewards(self, texts):
        self.asked.append(list(texts))
        return np.array([self.values.get(text, 0.0) for text in texts])

    def requests(self, texts):
        self.seen.append(list(texts))
        return []


def begin(reward, *messages, environments=None):
    places = np.arange(len(messages)) if environments is None else np.array(environments)
    reward.begin(Starts(environments=places, messages=rows(*messages)))


def arrive(reward, *messages, dones=None, valid=None):
    """One step of all environments."""
    n = len(messages)
    dones, valid = (
        np.full(n, default) if given is None else np.array(given) for default, given in ((False, dones), (True, valid))
    )
    reward.observe(Arrivals(dones=dones, valid=valid, messages=rows(*messages)))


def one_step(n):
    return st.tuples(st.lists(words, min_size=n, max_size=n), st.lists(st.booleans(), min_size=n, max_size=n), words)


@given(st.lists(one_step(2), max_size=25), st.sampled_from([0.0, 1.0, 3.0]), st.floats(-2, 2), st.integers(1, 8))
def test_against_an_oracle_of_plain_dictionaries(steps, exponent, value, update_every):
    """Episodes end at random, their last state may be blank, rollouts are cut anywhere."""
    values = {"a": 1.0, "b": value, "\xe9x": -1.0, "": 5.0}
    reward = OnlineFeedbackReward(Fixed(values), None, environments=2, exponent=exponent)
    begin(reward, b"a", b"")
    histories, paid, expected = [[b"a"], [b""]], [], []
    for number, (messages, ends, first) in enumerate(steps):
        valid = [not end or message != b"c" for end, message in zip(ends, messages, strict=True)]
        arrive(reward, *messages, dones=ends, valid=valid)
        row = []
        for place in range(2):
            if valid[place]:
                histories[place].append(messages[place])
            text = messages[place].replace(b"\x00", b"").decode("latin-1")
            count = histories[place].count(messages[place])
            row.append(values.get(text, 0.0) * count**-exponent if valid[place] and text else 0.0)
            if ends[place]:
                begin(reward, first, environments=[place])
                histories[place] = [first]
        expected.append(row)
        if number % update_every == 0:
            paid.append(reward.rewards())
            reward.update()
    paid.append(reward.rewards())
    np.testing.assert_allclose(np.concatenate(paid), np.array(expected).reshape(-1, 2), atol=1e-12)
    assert reward.step == 2 * len(steps)


@given(st.permutations([b"a", b"a", b"a", b"b", b"b", b"c", b""]), st.sampled_from([0.5, 1.0, 3.0]))
def test_the_undiscounted_sum_of_an_episode_does_not_depend_on_its_order(messages, exponent):
    reward = OnlineFeedbackReward(Fixed({"a": 1.0, "b": 0.25}), None, environments=1, exponent=exponent)
    begin(reward, b"c")
    for message in messages:
        arrive(reward, message)
    expected = sum(n**-exponent for n in (1, 2, 3)) + 0.25 * sum(n**-exponent for n in (1, 2))
    assert reward.rewards().sum() == pytest.approx(expected)


@given(st.lists(words, max_size=60))
def test_labels_of_an_episode_pay_at_most_the_limit(messages):
    reward = OnlineFeedbackReward(RetrievalReward(), None, environments=1)
    reward.model.receive([("a", 1), ("b", 1), ("c", 0)])
    begin(reward, b"")
    for message in messages:
        arrive(reward, message)
    paid = reward.rewards()
    assert ((paid >= 0) & (paid <= 1)).all()
    assert paid.sum() <= episode_limit(2, 3.0)


def test_one_state_is_paid_differently_with_another_past():
    reward = OnlineFeedbackReward(Fixed({"a": 1.0}), None, environments=2)
    begin(reward, b"a", b"b")
    arrive(reward, b"a", b"a")
    assert reward.rewards().tolist() == [[0.125, 1.0]]  # the first screen counts and is not paid


def test_a_label_that_arrives_late_pays_the_steps_that_wait():
    annotations = DelayedAnnotator(OracleAnnotator(), labels_per_tick=10, delay_ticks=2, tick_steps=2)
    reward = OnlineFeedbackReward(RetrievalReward(), annotations, environments=2, exponent=3.0)
    begin(reward, b"", b"")
    arrive(reward, GOOD, BAD)
    assert not reward.rewards().any()
    assert reward.update()["waiting"] == 2  # asked at step 2, labelled at 4, arrives at 8
    for _ in range(2):
        arrive(reward, GOOD, BAD)
        assert not reward.rewards().any()
    arrive(reward, GOOD, BAD)  # step 8
    assert reward.rewards().tolist() == [[2**-3, 0], [3**-3, 0], [4**-3, 0]]
    log = reward.update()
    assert (log["labels"], log["labels_positive"], log["waiting"], log["messages"]) == (2, 1, 0, 3)
    arrive(reward, GOOD, BAD)
    assert reward.rewards().tolist() == [[5**-3, 0]]


def test_each_message_is_asked_of_the_model_once_and_the_empty_one_never():
    model = Fixed({"a": 1.0, "": 9.0})
    reward = OnlineFeedbackReward(model, None, environments=2, exponent=0.0)
    begin(reward, b"c", b"c")
    for _ in range(3):
        arrive(reward, b"a", b"b")
    arrive(reward, b"", b"c", valid=[True, False])
    assert reward.rewards().tolist() == [[1, 0]] * 3 + [[0, 0]]
    assert model.asked == [["c", "a", "b"]]
    model.values["a"] = 2.0  # the newest model, whenever asked
    assert reward.rewards()[0].tolist() == [2, 0]
    reward.update()
    assert model.seen == [["a", "b"] * 3 + [""]]  # one for each step that was seen, in order
    assert reward.rewards().shape == (0, 2)


def test_a_blank_last_screen_is_neither_counted_nor_paid_and_the_next_episode_starts_anew():
    reward = OnlineFeedbackReward(Fixed({"a": 1.0}), None, environments=1, exponent=1.0)
    begin(reward, b"")
    arrive(reward, b"a")
    arrive(reward, b"a", valid=[False])  # a stale screen
    arrive(reward, b"a")
    arrive(reward, b"", dones=[True], valid=[False])
    with pytest.raises(RuntimeError, match="environment 0 has no running episode; call begin first"):
        arrive(reward, b"a")
    begin(reward, b"a")
    arrive(reward, b"a", dones=[True])  # a time limit: the last screen is there, and is paid
    begin(reward, b"")
    arrive(reward, b"a")
    assert reward.rewards().ravel().tolist() == [1, 0, 0.5, 0, 0.5, 1]


def test_numbers_in_prompts_count_as_one_message_if_simplified():
    paid = []
    for simplify in (False, True):
        reward = OnlineFeedbackReward(
            Fixed({"Eat? [fg]": 1.0, "Eat? [f]": 1.0, "Eat?": 1.0}), None, environments=1, simplify=simplify
        )
        begin(reward, b"")
        arrive(reward, b"Eat? [fg]")
        arrive(reward, b"Eat? [f]")
        paid.append(reward.rewards().ravel().tolist())
    assert paid == [[1, 1], [1, 0.125]]


def make(labels_per_tick=1):
    annotations = DelayedAnnotator(
        OracleAnnotator(), labels_per_tick=labels_per_tick, delay_ticks=1, tick_steps=4, order="random"
    )
    return OnlineFeedbackReward(RetrievalReward(), annotations, environments=2, exponent=1.0)


def test_going_on_from_a_saved_state_changes_nothing():
    rng = np.random.default_rng(0)
    pool = [b"You kill the newt %d!" % number for number in range(6)] + [BAD, b""]
    reward, again = make(), None
    begin(reward, GOOD, BAD)
    for step in range(40):
        messages, ends = [pool[i] for i in rng.integers(8, size=2)], (rng.random(2) < 0.1).tolist()
        rewards = [reward] if again is None else [reward, again]
        for one in rewards:
            arrive(one, *messages, dones=ends)
            for place in np.flatnonzero(ends):
                begin(one, b"", environments=[place])
        if step == 21:  # in the middle of a rollout and of episodes
            again = make()
            again.load_state_dict(json.loads(json.dumps(split_state("reward", reward.state_dict())[0])))
        if step % 4 == 3:
            paid = [one.rewards() for one in rewards]
            assert all((paid[0] == other).all() for other in paid)
            logs = [one.update() for one in rewards]
            assert logs[-1] == logs[0]
    assert paid[0].any()
    with pytest.raises(ValueError, match="must both have annotations, or neither"):
        OnlineFeedbackReward(RetrievalReward(), None, environments=2).load_state_dict(reward.state_dict())


def test_memory_is_flat_while_messages_repeat():
    messages = [rows(b"message %d" % number, b"") for number in range(50)]
    arrivals = [Arrivals(dones=np.zeros(2, bool), valid=np.ones(2, bool), messages=one) for one in messages]
    reward = OnlineFeedbackReward(RetrievalReward(), None, environments=2)
    begin(reward, b"", b"")

    def rollouts(count):
        for number in range(count):
            reward.observe(arrivals[number % 50])
            if number % 50 == 49:
                reward.rewards()
                reward.update()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = rollouts(1000)
    grown = rollouts(2000) - before
    tracemalloc.stop()
    assert grown < 8000  # 4 bytes a step


def test_a_ranking_asks_only_while_few_pairs_wait():
    annotations = DelayedAnnotator(OracleAnnotator(), labels_per_tick=4, delay_ticks=10, tick_steps=1, duplicates=True)
    model = RankingReward(generator=torch.Generator().manual_seed(0), every=1, pairs=5, pairs_when_below=8)
    reward = OnlineFeedbackReward(model, annotations, environments=1)
    begin(reward, b"")
    waiting = []
    for _ in range(4):
        arrive(reward, GOOD)
        arrive(reward, BAD)
        waiting.append(reward.update()["waiting"])
    assert waiting == [5, 10, 10, 10]
    for _ in range(10):
        arrive(reward, GOOD)
        arrive(reward, BAD)
    assert reward.update()["pairs"] == 10
    for message in (GOOD, BAD, b""):
        arrive(reward, message)
    good, bad, empty = reward.rewards().ravel()
    assert good > 0 >= bad
    assert empty == 0


def test_bad_input(without_type_checks):
    with pytest.raises(ValueError, match="exponent is -1"):
        OnlineFeedbackReward(Fixed(), None, environments=1, exponent=-1)
    reward = OnlineFeedbackReward(Fixed({"a": np.nan}), None, environments=2)
    with pytest.raises(RuntimeError, match="environment 0 has no running episode"):
        arrive(reward, b"a", b"a")
    with pytest.raises(ValueError, match="starts has 1 messages, expected 2"):
        begin(reward, b"a", environments=[0, 1])
    with pytest.raises(ValueError, match="starts has no messages, expected 1"):
        reward.begin(Starts(environments=np.array([0])))
    with pytest.raises(IndexError, match="environments holds 2, expected 0 to 1"):
        begin(reward, b"a", environments=[2])
    begin(reward, b"a", b"a")
    with pytest.raises(ValueError, match="arrivals has no messages"):
        reward.observe(Arrivals(dones=np.zeros(2, bool), valid=np.ones(2, bool)))
    with pytest.raises(ValueError, match="ids and valid have 1 and 1 entries, expected 2"):
        arrive(reward, b"a")
    arrive(reward, b"a", b"b")
    with pytest.raises(ValueError, match=r"model\.rewards is nan for 'a', expected a finite number"):
        reward.rewards()
    reward.model.rewards = lambda texts: np.zeros(5)
    with pytest.raises(ValueError, match=r"model.rewards has shape \(5,\), expected \(2,\)"):
        reward.rewards()
    with pytest.raises(ValueError, match="counts holds -1"):
        discounted_rewards(np.ones(1), np.array([0]), np.array([-1]), 3.0)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("model", "annotations", "words"),
    [
        (RetrievalReward(), OracleAnnotator(), "expected a source of labels, such as DelayedAnnotator.*got OracleAnn"),
        (OracleAnnotator(), None, "model: expected a reward model of messages, got OracleAnnotator"),
    ],
)
def test_an_annotator_is_no_source_and_no_model(model, annotations, words):
    with pytest.raises(TypeError, match=words):
        OnlineFeedbackReward(model, annotations, environments=1)
