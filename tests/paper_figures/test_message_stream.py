"""The study of the message stream: its average precision against a plain one, and what a queue can pay at most."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.nethack.message_stream import MessageStream
from paper_figures.message_stream import CLAIMS, verdicts
from paper_figures.message_stream_study import (
    ACCURACIES,
    BUDGETS,
    LABELS,
    ORDERS,
    Read,
    _paid,
    _shares,
    average_precision,
)

messages = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), min_size=1, max_size=12)


def plain_average_precision(steps):
    """Of `(score, good)` by step: the precision among all steps of at least its score, averaged over good steps."""
    good = [score for score, is_good in steps if is_good]
    at_least = [[is_good for other, is_good in steps if other >= score] for score in good]
    return np.mean([np.mean(shown) for shown in at_least])


@given(messages)
def test_average_precision_is_that_of_single_steps(found):
    scores, good, weights = (np.array(part) for part in zip(*found, strict=True))
    steps = [(score, is_good) for score, is_good, weight in found for _ in range(weight)]
    if any(is_good for _, is_good in steps):
        assert average_precision(scores, good, weights) == pytest.approx(plain_average_precision(steps))


def test_average_precision_of_known_orders():
    good, weights = np.array([1, 0, 1, 0]), np.array([1, 1, 1, 7])
    assert average_precision(np.array([4, 1, 3, 0]), good, weights) == 1
    assert average_precision(np.zeros(4), good, weights) == pytest.approx(0.2)  # the share of good steps
    assert average_precision(np.array([4, 3, 2, 1]), good, weights) == pytest.approx((1 + 2 / 3) / 2)


def read(ids, counts, texts, good):
    """A stream of one game."""
    stream = MessageStream(texts, np.array(ids), np.array(counts), np.zeros(len(ids), dtype=int))
    weights = np.bincount(ids, minlength=len(texts))
    weights[0] = 0
    return Read(stream, np.array(good), weights)


def test_a_good_message_is_paid_from_the_tick_after_its_first():
    """Three ticks, each with the same kill once, then twice: of its 4 steps those of the later ticks can be paid."""
    ids = ([1] + [2] * 999) + ([1] + [2] * 999) + ([1, 1] + [2] * 998)
    train = read(ids, np.ones(3000, dtype=int), ["", "You kill the newt!", "It's a wall."], [0, 1, 0])
    rows = pd.DataFrame(_paid(train, train.ticks, seed=0))
    assert len(rows) == len(ORDERS) * len(BUDGETS)
    assert (rows[rows.labels >= 2].value == 0.75).all()
    one = rows[rows.labels == 1].set_index("of").value
    # the wall came up last and is labelled first; the oldest is the kill
    assert (one["lifo"], one["fifo"]) == (0.5, 0.75)


def test_the_discount_moves_the_return_to_rare_messages():
    counts = [1, *range(1, 1000)]
    texts = ["", "You kill the newt!", "It's a wall."]
    train = read([1] + [2] * 999, counts, texts, [0, 1, 0])
    shares = pd.DataFrame([row for number in range(40) for row in _shares(train, number)])
    both = shares[(shares.accuracy == 0.8) & (shares.value > 0) & (shares.value < 1)]  # both messages are paid
    by_exponent = both.groupby("exponent").value.mean()
    assert by_exponent[0.0] == pytest.approx(1 / 1000)
    assert by_exponent[3.0] == pytest.approx(1 / 2.2020569, rel=1e-5)


def frame_of(precision, paid, shares, seeds=4):
    """A study whose numbers are given: by model, by order, by exponent."""
    jitter = np.linspace(-0.01, 0.01, seeds)
    rows = []
    for seed in range(seeds):
        for model, value in precision.items():
            for labels in LABELS:
                for accuracy in ACCURACIES:
                    given = value(labels, accuracy) if callable(value) else value
                    cell = {"of": model, "labels": labels, "accuracy": accuracy}
                    rows.append({"part": "precision", "seed": seed, **cell, "value": given + jitter[seed]})
        rows += [{"part": "mixed", "seed": seed, "of": model, "value": 0.01} for model in precision]
        rows += [
            {"part": "paid", "seed": seed, "of": order, "labels": 1, "value": value + jitter[seed] * (order == "lifo")}
            for order, value in paid.items()
        ]
        rows += [
            {
                "part": "share",
                "seed": seed,
                "accuracy": 0.95,
                "exponent": exponent,
                "value": value + jitter[seed] * exponent,
            }
            for exponent, value in shares.items()
        ]
        rows.append({"part": "stream", "seed": seed, "of": "good test steps seen in training", "value": 0.9})
    return pd.DataFrame(rows)


def test_verdicts_turn_round_with_the_numbers():
    def noisy(labels, accuracy):
        return (0.9 if labels > 200 else 0.5) if accuracy == 1 else 0.05

    as_expected = frame_of(
        {"retrieval": noisy, "classification": 0.95, "ranking": 0.7, "ranking, distinct": 0.95},
        {"lifo": 0.3, "fifo": 0.2, "random": 0.1},
        {0.0: 0.2, 3.0: 0.5},
    )
    assert {verdict.outcome for verdict in verdicts(as_expected).values()} == {"supported"}
    otherwise = frame_of(
        {"retrieval": 0.5, "classification": 0.5, "ranking": 0.6, "ranking, distinct": 0.65},
        {"lifo": 0.1, "fifo": 0.2, "random": 0.1},
        {0.0: 0.5, 3.0: 0.5},
    )
    found = {name: verdict.outcome for name, verdict in verdicts(otherwise).items()}
    assert found.pop("equal-when-perfect") == "undecided"  # equal, but the lead does not shrink
    assert set(found.values()) == {"refuted"}
    few = as_expected[as_expected.seed < 2]
    assert {verdict.outcome for verdict in verdicts(few).values()} == {"undecided"}
    assert list(found := verdicts(as_expected)) == [claim.id for claim in CLAIMS]
    assert found["newest-first-pays-soonest"].value == pytest.approx(0.1)
