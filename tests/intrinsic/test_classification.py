import time

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn import functional

from rewardlab.intrinsic.classification import ClassificationReward

GOOD = [f"You kill the {name}!" for name in ("newt", "jackal", "goblin", "kobold", "fox", "bat")]
BAD = ["It's a wall.", "This door is locked.", "The kitten is in the way.", "Never mind.", "You hear a noise."] * 1
ANSWERS = [(text, 1) for text in GOOD] + [(text, 0) for text in BAD]


def model(network="hashed", seed=0, **options):
    return ClassificationReward(network, generator=torch.Generator().manual_seed(seed), **options)


def steps_of(learned):
    """Steps of Adam that the model has taken."""
    states = learned.state_dict()["learner"]["optimiser"]["state"]
    return int(states[0]["step"]) if states else 0


def test_learns_and_generalises_to_messages_it_never_saw():
    learned = model()
    for _ in range(5):
        log = learned.receive(ANSWERS)
    assert log["accuracy"] == 1 and learned.labelled == 11
    assert learned.rewards(["You kill the rat!", "It's solid stone.", "", GOOD[0]]).tolist() == [1, 0, 0, 1]
    assert learned.update()["positive_share"] == pytest.approx(6 / 11)


def test_is_paid_strictly_above_the_threshold():
    learned = model()
    learned.receive(ANSWERS)
    (probability,) = learned.probabilities(["You kill it."])
    assert 0 < probability < 1
    learned.threshold = probability
    assert learned.rewards(["You kill it."]) == 0
    learned.threshold = np.nextafter(probability, 0)
    assert learned.rewards(["You kill it."]) == 1


def test_probability_is_the_softmax_of_the_scores():
    learned = model("bytes")
    scores = learned._learner.scores(GOOD)
    expected = functional.softmax(torch.tensor(scores), 1)[:, 1].numpy()
    np.testing.assert_allclose(learned.probabilities(GOOD), expected, atol=1e-12)


def test_nothing_is_paid_before_the_first_label_and_never_the_empty_message():
    learned = model("bytes", threshold=0.0)
    assert learned.probabilities(["", GOOD[0]]).min() > 0 and not learned.rewards(["", GOOD[0]]).any()
    learned.receive([("", 1)])
    assert learned.labelled == 0 and steps_of(learned) == 0
    learned.receive(ANSWERS[:2])
    assert learned.rewards(["", GOOD[0]]).tolist() == [0, 1]


def test_the_first_label_is_the_one_learned_from():
    learned, once = model(), model()
    learned.receive([("a door", 0), ("a door", 1), ("gold", 1)])
    once.receive([("a door", 0), ("gold", 1)])
    assert learned.labelled == 2
    for one in (learned, once):
        one.receive([("a door", 1)])
    assert learned.state_dict()["labels"] == once.state_dict()["labels"] == [0, 1]
    texts = ["a door", "gold"]
    assert (learned.probabilities(texts) == once.probabilities(texts)).all()
    assert steps_of(learned) == 64, "labels that are known already are an arrival too"


def test_32_steps_at_each_arrival_then_one_at_each_update():
    learned = model(many=11)
    learned.receive(ANSWERS[:10])
    learned.update()
    assert steps_of(learned) == 32 and learned.receive([]) == {}
    learned.receive(ANSWERS[10:])
    assert steps_of(learned) == 32, "many messages are known now: no steps on arrival"
    assert "loss" in learned.update() and steps_of(learned) == 33


def test_minibatches_pass_over_all_messages_in_a_new_order_each_time(monkeypatch):
    learned, taken = model(batch_size=4, steps=6), []
    network = learned._learner.network
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda rows: taken.append([id(row) for row in rows]) or forward(rows))
    learned.receive(ANSWERS)
    assert [len(batch) for batch in taken] == [4, 4, 3, 4, 4, 3]
    passes = [[row for batch in taken[start : start + 3] for row in batch] for start in (0, 3)]
    assert len(set(passes[0])) == 11 and sorted(passes[0]) == sorted(passes[1]) and passes[0] != passes[1]


def test_asks_for_distinct_messages_without_a_label_again_and_again():
    learned = model(steps=1)
    texts = ["b", "a", "", "b", "c", ""]
    assert learned.requests(texts) == ["b", "a", "c"] == learned.requests(texts)
    learned.receive([("b", 0)])
    assert learned.requests(texts) == ["a", "c"]


def test_keeps_no_more_than_its_capacity():
    learned = model(capacity=2, steps=1)
    learned.receive([("a", 0), ("b", 1), ("c", 1)])
    assert learned.labelled == 2 and learned.requests(["c", "d"]) == []


@pytest.mark.parametrize("network", ["hashed", "bytes"])
def test_same_generator_same_numbers_and_goes_on_from_its_state(network):
    one, same, resumed = model(network, steps=2), model(network, steps=2), model(network, seed=9, steps=2)
    assert one.receive(ANSWERS) == same.receive(ANSWERS)
    state = one.state_dict()
    for learned in (one, same):
        learned.receive([("a", 1)])
    resumed.load_state_dict(state)
    resumed.receive([("a", 1)])
    expected = one.probabilities(GOOD + BAD)
    for learned in (same, resumed):
        assert (learned.probabilities(GOOD + BAD) == expected).all() and learned.update() == one.update()
    resumed.load_state_dict(state)
    resumed.receive([("a", 1)])
    assert (resumed.probabilities(GOOD + BAD) == expected).all(), "learning must not change a state given away"


def test_float64():
    learned = model(dtype=torch.float64)
    learned.receive(ANSWERS)
    assert learned.state_dict()["learner"]["network"]["weight"].dtype == torch.float64
    assert learned.probabilities(GOOD).min() > 0.5


def test_ten_thousand_new_messages_take_less_than_a_second():
    rng, learned = np.random.default_rng(0), model(steps=1)
    words = [f"{first}{last}" for first in ("ga", "ne", "ko", "wi", "tu") for last in ("wt", "rn", "ld", "ke", "zo")]
    texts = [f"You see {' '.join(rng.choice(words, 8))} here." for _ in range(10_000)]
    learned.receive(ANSWERS)
    before = time.process_time()
    assert len(learned.rewards(texts)) == len(set(texts)) == 10_000
    assert time.process_time() - before < 1, "of the processor's time, the hashing of all words included"


def test_refuses_bad_arguments_and_answers(without_type_checks):
    for options, message in (
        ({"network": "words"}, "network is 'words', expected one of 'bytes', 'hashed'"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"many": 0}, "many is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model(**options)
    learned = model()
    with pytest.raises(ValueError, match=r"answers\[1\] is 2"):
        learned.receive([("a", 1), ("b", 2)])
    with pytest.raises(TypeError, match=r"answers\[0\] is about a tuple, expected one message"):
        learned.receive([(("a", "b"), 1)])
    assert learned.labelled == 0
    with pytest.raises(ValueError, match="the state is of the network 'hashed', this one is 'bytes'"):
        model("bytes").load_state_dict(learned.state_dict())
    learned.receive(ANSWERS)
    with pytest.raises(ValueError, match="the state holds 11 messages, expected at most 3"):
        model(capacity=3).load_state_dict(learned.state_dict())


def test_finds_the_minimum_of_the_penalised_loss():
    """Against a solver of the same problem: cross entropy plus half the ridge times the squared weights."""
    learned = model(steps=400, ridge=0.5, learning_rate=0.05, dtype=torch.float64)
    learned.receive(ANSWERS)
    rows, labels = learned._learner.encode([text for text, _ in ANSWERS]), np.array([label for _, label in ANSWERS])
    features = np.array([np.bincount(row, minlength=2048) / len(row) ** 0.5 for row in rows])

    def loss(weights):
        logits = features @ weights[:-1] + weights[-1]
        residuals = 1 / (1 + np.exp(-logits)) - labels
        value = (np.logaddexp(0, logits) - labels * logits).sum() + 0.25 / 2 * weights[:-1] @ weights[:-1]
        return value, np.append(features.T @ residuals + 0.25 * weights[:-1], residuals.sum())

    best = minimize(loss, np.zeros(2049), jac=True, method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-10}).x
    expected = 1 / (1 + np.exp(-(features @ best[:-1] + best[-1])))
    np.testing.assert_allclose(learned.probabilities([text for text, _ in ANSWERS]), expected, atol=2e-3)


@pytest.mark.filterwarnings("error")
def test_scores_of_any_size_are_probabilities():
    learned = model()
    learned.receive(ANSWERS)
    with torch.no_grad():
        for parameter in learned._learner.network.parameters():
            parameter.mul_(1e4)
    surest = learned.probabilities([GOOD[0], BAD[0]])
    assert surest.tolist() == [1.0, 0.0]
    np.testing.assert_array_equal(learned.frozen().values([GOOD[0], BAD[0]]), surest)
