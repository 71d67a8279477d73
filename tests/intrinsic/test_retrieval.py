"""Retrieval pays labels and nothing else; what it asks about; which of two labels holds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.annotation.annotators import NoisyAnnotator, OracleAnnotator
from rewardlab.intrinsic.retrieval import RetrievalReward, newest_last

words = st.sampled_from(["", "a", "b", "c", "d"])
labelled = st.lists(st.tuples(words.filter(bool), st.integers(0, 1)), max_size=10)


@given(st.lists(words, max_size=10), st.lists(labelled, max_size=3), st.sampled_from(["last", "first"]))
def test_pays_the_label_that_holds(texts, arrivals, relabel):
    model, labels = RetrievalReward(relabel=relabel), {}
    for answers in arrivals:
        model.receive(answers)
        for text, label in answers:
            labels[text] = label if relabel == "last" else labels.get(text, label)
    assert model.rewards(texts).tolist() == [labels.get(text, 0) for text in texts]
    again = RetrievalReward(relabel=relabel)
    again.load_state_dict(json.loads(json.dumps(model.state_dict())))
    assert again.labels == model.labels


def test_a_second_label():
    answers = [("You feel lucky.", 1), ("You feel lucky.", 0)]
    for relabel, expected in (("last", 0.0), ("first", 1.0)):
        at_once, apart = RetrievalReward(relabel=relabel), RetrievalReward(relabel=relabel)
        log = at_once.receive(answers)
        apart.receive(answers[:1])
        apart.receive(answers[1:])
        assert (
            at_once.rewards(["You feel lucky."]).tolist() == apart.rewards(["You feel lucky."]).tolist() == [expected]
        )
        assert log == {"labels": 1.0, "labels_positive": expected}


def test_unseen_and_empty_messages_pay_exactly_nothing():
    model = RetrievalReward()
    model.receive([("", 1), ("seen", 1)])
    assert model.rewards(["", "unseen", "seen"]).tolist() == [0.0, 0.0, 1.0]
    assert model.rewards([]).shape == (0,)


def test_asks_once_about_what_has_no_label_newest_last():
    model = RetrievalReward()
    model.receive([("known", 0)])
    assert model.requests(["b", "", "a", "known", "b", "c", "a"]) == ["b", "a", "c"]
    assert model.requests([]) == []
    assert newest_last(["c", "b", "c", "a", "c"]) == ["c", "b", "a"]
    assert model.update() == {}


@pytest.mark.parametrize(("error", "precision"), [(0.0, 1.0), (0.05, 0.0367), (0.2, 0.0080)])
def test_expected_reward_under_frozen_noise(error, precision):
    """E[r(m)] = y (1 - e) + (1 - y) e once annotated, 0 before; asking again does not help."""
    good, bad = ([f"You {verb} newt {i}!" for i in range(4000)] for verb in ("kill", "see"))
    annotator, model = NoisyAnnotator(OracleAnnotator(), 1 - error, seed=3), RetrievalReward()
    assert not model.rewards(good + bad).any()
    for _ in range(2):
        model.receive(list(zip(good + bad, annotator.annotate(good + bad), strict=True)))
        hits, false_alarms = model.rewards(good).mean(), model.rewards(bad).mean()
        assert (hits, false_alarms) == pytest.approx((1 - error, error), abs=4 * (error / 4000) ** 0.5)
        # where 0.2 % of the steps deserve it, of the steps that are paid this share does
        assert 0.002 * hits / (0.002 * hits + 0.998 * false_alarms) == pytest.approx(precision, rel=0.15)


def test_bad_input(without_type_checks):
    model = RetrievalReward()
    with pytest.raises(ValueError, match=r"answers\[1\] is 2 for 'b', expected label 0 or 1"):
        model.receive([("a", 1), ("b", 2)])
    assert model.labels == {}  # nothing of a bad batch is kept
    with pytest.raises(TypeError, match=r"answers\[0\] is about a tuple, expected one message"):
        model.receive([(("a", "b"), 1)])
    with pytest.raises(ValueError, match="relabel is 'mean', expected one of 'last', 'first'"):
        RetrievalReward(relabel="mean")
