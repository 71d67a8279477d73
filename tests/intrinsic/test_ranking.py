import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.intrinsic.ranking import RankingReward
from rewardlab.intrinsic.running_moments import RunningMoments

GOOD = [f"You kill the {name}!" for name in ("newt", "jackal", "goblin", "kobold", "fox", "bat")]
BAD = ["It's a wall.", "This door is locked.", "The kitten is in the way.", "Never mind.", "You hear a noise."]
TEXTS = GOOD + BAD


def answer(pair):
    first, second = (text in GOOD for text in pair)
    return 2 if first == second else int(second)


ANSWERS = [(pair, answer(pair)) for pair in itertools.permutations(TEXTS, 2)]


def model(network="hashed", seed=0, **options):
    return RankingReward(network, generator=torch.Generator().manual_seed(seed), **options)


def steps_of(learned):
    states = learned.state_dict()["learner"]["optimiser"]["state"]
    return int(states[0]["step"]) if states else 0


def with_scores(numbers, **options):
    """A model that scores the messages "0", "1", ... with given numbers, and has learned from one pair."""
    learned = model(steps=1, **options)
    learned.receive([(("a", "b"), 1)])
    learned.scores = lambda texts: np.array([numbers[int(text)] if text else 99.0 for text in texts])
    return learned


def test_learns_to_rank_messages_it_never_saw():
    learned = model()
    for _ in range(5):
        log = learned.receive(ANSWERS)
    assert log["accuracy"] == 1 and log["loss"] < 0.5
    learned.requests(TEXTS)
    learned.update()
    kill, stone, *_ = rewards = learned.rewards(["You kill the rat!", "It's solid stone.", "", GOOD[0]])
    assert kill > 0 == rewards[2] and kill > stone and (learned.scores(GOOD).min() > learned.scores(BAD).max())


def test_a_tie_pulls_scores_together_and_accuracy_leaves_it_out():
    learned = model()
    for label in (1, 2, 3):
        log = learned.receive([(("a wall", "gold"), label)])
    assert log["accuracy"] <= 1 and learned.labelled == 3
    tied = model()
    assert tied.receive([(("a wall", "gold"), 2), (("gold", "a door"), 3)]).keys() == {"loss"}
    assert tied.scores(["a wall"]) == tied.scores(["gold"])
    apart = learned.scores(["gold"]) - learned.scores(["a wall"])
    assert 0 < apart[0] < np.log(5) + 0.5, "two ties of three answers: P2 is 2/3, the difference log 2"


def test_worked_numbers_of_the_normalisation():
    learned = with_scores([2.0, 6.0, 9.0, 12.0])
    for batch in ([1.0, 2.0, 3.0, 4.0], [10.0, 10.0, 12.0]):
        learned.moments.update(np.array(batch))
    # released: the batch variance over n - 1 merged as if over n: mean 5.9999143, variance 17.8574163
    assert learned.moments.mean == pytest.approx(5.9999143, abs=1e-6)
    assert learned.moments.variance == pytest.approx(17.4286, abs=1e-3)
    z = (np.array([2.0, 6.0, 9.0, 12.0]) - learned.moments.mean) / learned.moments.variance**0.5
    np.testing.assert_allclose(learned.rewards(["0", "1", "2", "3"]), [0, *z[1:]])
    learned.moments.variance = np.array(17.8574163)
    np.testing.assert_allclose(learned.rewards(["1", "2", "3"]), [0.00002, 0.70994, 1.41987], atol=1e-5)


def test_released_form_pays_the_score_itself():
    learned = with_scores([-3.0, 6.0], normalisation="released")
    learned.moments.update(np.array([1.0, 9.0]))
    assert learned.rewards(["0", "1", ""]).tolist() == [-3, 6, 0]


def test_the_threshold_is_strict():
    learned = with_scores([-0.5, -0.49], threshold=-0.5)
    learned.moments = RunningMoments(count=1.0)  # mean 0, variance 1
    assert learned.rewards(["0", "1"]).tolist() == [0, -0.49]


def test_every_step_enters_the_moments_once_and_the_empty_message_never():
    learned = with_scores([1.0, 5.0])
    learned.requests(["0", "0", "", "1", "0"])
    before = learned.moments.mean
    learned.update()
    expected = RunningMoments()
    expected.update(np.array([1.0, 1.0, 1.0, 5.0]))
    assert before == 0 and learned.moments.mean == pytest.approx(2.0, abs=1e-3)
    assert learned.moments.variance == pytest.approx(expected.variance)
    learned.update()
    assert learned.moments.count == pytest.approx(expected.count), "a rollout enters once"


@settings(max_examples=30)
@given(st.floats(-50, 50), st.floats(0.1, 20))
def test_reward_does_not_depend_on_the_scores_zero_or_scale(shift, scale):
    scores = np.array([1.0, 2.0, 3.0, 7.0])
    rewards = []
    for numbers in (scores, scale * scores + shift):
        learned = with_scores(numbers)
        learned.moments = RunningMoments(count=1e-12)  # the start's weight gone
        learned.requests(["0", "1", "2", "3"] * 5)
        learned.update()
        rewards.append(learned.rewards(["0", "1", "2", "3"]))
    np.testing.assert_allclose(*rewards, atol=1e-6)


def test_nothing_is_paid_before_the_first_preference():
    learned = model("bytes", threshold=-9.0)
    learned.requests(TEXTS)
    learned.update()
    assert not learned.rewards(TEXTS).any() and learned.moments.count == 1e-4
    learned.receive([(("", "a"), 1)])
    assert learned.labelled == 0 and steps_of(learned) == 0 and not learned.rewards(TEXTS).any()


def test_a_first_decided_pair_after_many_ties_pays_no_fortune():
    learned = model()
    for _ in range(5):
        learned.receive([((BAD[0], BAD[1]), 2)])
        learned.requests(TEXTS * 50)
        assert not learned.rewards(TEXTS).any()
        learned.update()
    assert learned.moments.count == 1e-4, "equal scores have no scale"
    learned.receive([((BAD[0], GOOD[0]), 1)])
    assert not learned.rewards(TEXTS).any()
    learned.requests(TEXTS * 50)
    learned.update()
    assert 0.5 < learned.rewards(TEXTS).max() < len(TEXTS)


def test_asks_for_ten_random_pairs_while_few_wait():
    learned = model(every=1)
    assert learned.requests([]) == []
    pairs = learned.requests(TEXTS)
    assert len(pairs) == 10 and {text for pair in pairs for text in pair} <= set(TEXTS)
    assert len(learned.requests([])) == 10
    learned.waiting = 199
    assert len(learned.requests([])) == 10
    learned.waiting = 200
    assert learned.requests([]) == []


def test_steps_on_arrival_then_at_updates():
    learned = model(many=3)
    learned.receive(ANSWERS[:2])
    learned.update()
    assert steps_of(learned) == 32 and learned.receive([]) == {}
    learned.receive(ANSWERS[2:3])
    assert steps_of(learned) == 32
    assert "loss" in learned.update() and steps_of(learned) == 33


def test_the_gradient_is_cut(monkeypatch):
    norms = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, norm: norms.append(norm))
    model(steps=2).receive(ANSWERS[:2])
    model(steps=1, gradient_norm=0.5).receive(ANSWERS[:2])
    assert norms == [10.0, 10.0, 0.5]


def test_each_minibatch_is_drawn_without_repeats_from_all_pairs(monkeypatch):
    sizes = []
    import rewardlab.intrinsic.ranking as module

    step = module.preference_step
    monkeypatch.setattr(
        module,
        "preference_step",
        lambda learner, pairs, chosen, **options: sizes.append(chosen) or step(learner, pairs, chosen, **options),
    )
    model(batch_size=4, steps=3).receive(ANSWERS[:6])
    assert [len(set(chosen)) for chosen in sizes] == [4, 4, 4], "a new draw each time, no remainder of a pass"


def test_keeps_no_more_pairs_than_its_capacity():
    learned = model(capacity=2, steps=1, every=1)
    learned.receive(ANSWERS[:5])
    assert learned.labelled == 2 and learned.requests(TEXTS) == []


@pytest.mark.parametrize("network", ["hashed", "bytes"])
def test_same_generator_same_numbers_and_goes_on_from_its_state(network):
    options = {"steps": 2, "every": 1}
    one, same, resumed = (model(network, seed, **options) for seed in (0, 0, 9))

    def round_of(learned):
        pairs = learned.requests(TEXTS)
        return pairs, learned.receive([(pair, answer(pair)) for pair in pairs]), learned.update()

    assert round_of(one) == round_of(same)
    one.requests(BAD)  # the state is taken between a request and its update
    state = one.state_dict()
    resumed.load_state_dict(state)
    again = round_of(one)
    assert round_of(resumed) == again and (resumed.rewards(TEXTS) == one.rewards(TEXTS)).all()
    resumed.load_state_dict(state)
    assert round_of(resumed) == again, "learning must not change a state given away"


def test_refuses_bad_arguments_and_answers(without_type_checks):
    for options, message in (
        ({"normalisation": "raw"}, "normalisation is 'raw', expected one of 'meant', 'released'"),
        ({"gradient_norm": 0.0}, "gradient_norm is 0.0"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"pairs": 0}, "pairs is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**options)
    learned = model()
    with pytest.raises(ValueError, match=r"answers\[1\]: label is 4, expected 0 \(first\)"):
        learned.receive([(("a", "b"), 1), (("a", "b"), 4)])
    with pytest.raises(TypeError, match=r"answers\[0\] is about 'ab', expected a pair"):
        learned.receive([("ab", 1)])
    assert learned.labelled == 0
    with pytest.raises(ValueError, match="the state has duplicates=False, this buffer True"):
        model(duplicates=True).load_state_dict(learned.state_dict())
