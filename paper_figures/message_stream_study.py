"""Reward models, label queues and the count discount on what NetHack says to a player who presses keys at random."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from environments.nethack.message_stream import MessageStream, play_at_random
from paper_figures.figure import Scale
from rewardlab.intrinsic.annotation.annotators import TIE, NoisyAnnotator, OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.classification import ClassificationReward
from rewardlab.intrinsic.interface import Annotator, Item, MessageRewardModel
from rewardlab.intrinsic.message_counts import count_discount
from rewardlab.intrinsic.ranking import RankingReward
from rewardlab.intrinsic.retrieval import RetrievalReward

__all__ = ["ACCURACIES", "BUDGETS", "EXPONENTS", "LABELS", "MODELS", "ORDERS", "average_precision", "run_all"]

TICK = 1000  # steps of a rollout, at whose end labels are collected, steps paid and messages queued
LABELS = (200, 600, 1800)
ACCURACIES = (1.0, 0.95, 0.9, 0.8)
SHARE_ACCURACIES = (0.99, 0.95, 0.9, 0.8)
MODELS = ("retrieval", "classification", "ranking", "ranking, distinct")
ORDERS = ("lifo", "fifo", "random")
BUDGETS = (1, 2, 5, 20)  # labels a tick
EXPONENTS = (0.0, 1.0, 3.0)


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
        steps: Of each stream; a whole number of ticks.
        streams: To learn from, each with a seed of its own; one more is kept for the test.
        annotators: Seeds of the noise in the share of return.
        lessons: Times that labels arrive at a learner, which takes 32 steps each time.
    """

    steps: int
    streams: int
    annotators: int
    lessons: int


_SIZES = {"smoke": Size(20_000, 2, 4, 1), "small": Size(200_000, 5, 20, 5), "paper": Size(200_000, 20, 100, 20)}


@dataclass(frozen=True, eq=False)
class Read:
    """A stream with what the rules say of its messages.

    Attributes:
        stream: The messages.
        good: `(texts,)` 1 where the rules call the message helpful.
        weights: `(texts,)` steps at which it was seen; none for the empty message.
    """

    stream: MessageStream
    good: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, steps: int, seed: int) -> "Read":
        stream = play_at_random(steps, seed=seed)
        weights = np.bincount(stream.ids, minlength=len(stream.texts))
        weights[0] = 0
        return cls(stream, np.array(OracleAnnotator().annotate(stream.texts)), weights)

    @property
    def good_steps(self) -> int:
        return int((self.good * self.weights).sum())

    @property
    def ticks(self) -> list[list[str]]:
        """Messages of each tick, one for each step."""
        parts = np.split(self.stream.ids, range(TICK, len(self.stream), TICK))
        return [[self.stream.texts[place] for place in part.tolist()] for part in parts]


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Everything measured, tidy: part, seed, of, labels, accuracy, exponent, value.

    Parts: "precision" (step-weighted average precision on a stream not learned from; `of` is the model), "fired" (of
    the classifier at its own threshold: precision and recall), "mixed" (share of the pairs asked about that hold one
    good and one other message), "paid" (share of good steps whose message had its label when they were paid; `of` is
    the order of the queue, `labels` those given in a tick), "share" (of the return that good messages earned),
    "stream" (facts of the streams). `seed` counts streams; of "share", annotators.
    """
    size = _SIZES.get(scale.name, _SIZES["paper"])
    *seeds, last = np.random.SeedSequence(rng).generate_state(size.streams + 1).tolist()
    test = Read.of(size.steps, last)
    jobs = [(size, seed, test, place) for place, seed in enumerate(seeds)]
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_one_stream)(*job) for job in jobs)
    else:
        tables = [_one_stream(*job) for job in jobs]
    return pd.DataFrame([row for table in tables for row in table])


def _one_stream(size: Size, seed: int, test: Read, place: int) -> list[dict]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train = Read.of(size.steps, seed)
        ticks = train.ticks
        rows = [
            row
            for labels in LABELS
            for accuracy in ACCURACIES
            for row in _cell(ticks, test, labels, accuracy, size.lessons, place)
        ]
        rows += [*_paid(train, ticks, place), *_facts(train, test)]
        rows = [{"seed": place, **row} for row in rows]
        return rows + [row for number in range(place, size.annotators, size.streams) for row in _shares(train, number)]
    finally:
        torch.set_num_threads(threads)


def _cell(ticks: Sequence[list[str]], test: Read, labels: int, accuracy: float, lessons: int, seed: int) -> list[dict]:
    """All models from the same number of labels by the same annotator."""
    annotator = NoisyAnnotator(OracleAnnotator(), accuracy, seed=seed)
    texts, known = test.stream.texts, RetrievalReward()
    answers = [answer for arrived in _asked(ticks, annotator, labels / len(ticks), known) for answer in arrived]
    classifier = ClassificationReward(generator=torch.Generator().manual_seed(seed))
    _teach(classifier, answers, lessons)
    scores = {"retrieval": known.rewards(texts), "classification": classifier.probabilities(texts)}
    cell, rows = {"labels": labels, "accuracy": accuracy}, []
    for name, duplicates in (("ranking", True), ("ranking, distinct", False)):
        ranking, pairs = _ranked(ticks, annotator, labels // len(ticks), duplicates, lessons, seed)
        scores[name] = ranking.scores(texts)
        mixed = np.mean(np.array(OracleAnnotator().compare(pairs)) != TIE)
        rows.append({"part": "mixed", "of": name, **cell, "value": float(mixed)})
    for name, found in scores.items():
        value = average_precision(found, test.good, test.weights)
        rows.append({"part": "precision", "of": name, **cell, "value": value})
    fired = classifier.rewards(texts) > 0
    hits = float((test.weights * test.good)[fired].sum())
    paid = {"precision": hits / max(test.weights[fired].sum(), 1), "recall": hits / max(test.good_steps, 1)}
    return rows + [{"part": "fired", "of": name, **cell, "value": value} for name, value in paid.items()]


def _asked(
    ticks: Sequence[list[str]],
    annotator: Annotator,
    budget: float,
    known: RetrievalReward,
    order: str = "lifo",
    seed: int = 0,
) -> Iterator[list[tuple[str, int]]]:
    """The labels that arrive in each tick; `known` holds them then. What a tick says is asked about at its end."""
    source = DelayedAnnotator(annotator, labels_per_tick=budget, tick_steps=TICK, order=order, seed=seed)
    for number, texts in enumerate(ticks, start=1):
        arrived = source.collect(number * TICK)
        known.receive(arrived)
        yield arrived
        source.submit(known.requests(texts))


def _teach(model: MessageRewardModel, answers: Sequence[tuple[Item, int]], lessons: int) -> None:
    """Labels in the order of their arrival, in so many parts."""
    for lesson in np.array_split(np.arange(len(answers)), lessons):
        model.receive([answers[place] for place in lesson])


def _ranked(
    ticks: Sequence[list[str]], annotator: Annotator, pairs: int, duplicates: bool, lessons: int, seed: int
) -> tuple[RankingReward, list[tuple[str, str]]]:
    """A ranking taught by so many pairs a tick, and the pairs."""
    ranking = RankingReward(generator=torch.Generator().manual_seed(seed), duplicates=duplicates, pairs=pairs)
    asked = [ranking.requests(texts) for texts in ticks]
    everything = [pair for some in asked for pair in some]
    labels = annotator.compare(everything)
    answers = list(zip(everything, labels, strict=True))
    _teach(ranking, answers, lessons)
    return ranking, everything


def average_precision(scores: np.ndarray, good: np.ndarray, weights: np.ndarray) -> float:
    """Mean precision over the good steps, messages in the order of their scores, equal scores at once.

    Args:
        scores: `(texts,)`.
        good: `(texts,)` 1 or 0.
        weights: `(texts,)` steps of each message.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    found, shown = (np.cumsum(part[order])[last] for part in (good * weights, weights))
    gained = np.diff(found, prepend=0)
    return float((gained * found / np.maximum(shown, 1)).sum() / found[-1])


def _paid(train: Read, ticks: Sequence[list[str]], seed: int) -> list[dict]:
    """How soon the good messages are paid, by order and budget of the queue."""
    rows, labels = [], dict(zip(train.stream.texts, train.good.tolist(), strict=True))
    good = [[text for text in texts if labels[text]] for texts in ticks]
    for order in ORDERS:
        for budget in BUDGETS:
            known, paid = RetrievalReward(), 0
            arriving = _asked(ticks, OracleAnnotator(), budget, known, order, seed)
            for texts, _ in zip(good, arriving, strict=True):
                paid += int(known.rewards(texts).sum())
            rows.append({"part": "paid", "of": order, "labels": budget, "value": paid / train.good_steps})
    return rows


def _shares(train: Read, number: int) -> list[dict]:
    """The share of the return that good messages earn if every message has a label, by exponent."""
    stream, rows = train.stream, []
    weights = {
        exponent: np.bincount(stream.ids, count_discount(stream.counts, exponent), minlength=len(stream.texts))
        for exponent in EXPONENTS
    }
    for accuracy in SHARE_ACCURACIES:
        labels = np.array(NoisyAnnotator(OracleAnnotator(), accuracy, seed=number).annotate(stream.texts))
        for exponent, weight in weights.items():
            value = (weight * labels * train.good).sum() / max((weight * labels).sum(), 1e-12)
            cell = {"part": "share", "seed": number, "accuracy": accuracy, "exponent": exponent}
            rows.append({**cell, "value": float(value)})
    return rows


def _facts(train: Read, test: Read) -> list[dict]:
    """What the streams are like."""
    stream, seen = train.stream, set(train.stream.texts)
    old = np.array([text in seen for text in test.stream.texts])
    facts = {
        "distinct messages": len(stream.texts),
        "games": stream.episodes[-1] + 1,
        "share of empty messages": (stream.ids == 0).mean(),
        "share of good steps": train.good_steps / len(stream),
        "distinct good messages": train.good.sum(),
        "test steps seen in training": np.bincount(test.stream.ids)[old].sum() / len(test.stream),
        "good test steps seen in training": (test.weights * test.good)[old].sum() / test.good_steps,
    }
    return [{"part": "stream", "of": name, "value": float(value)} for name, value in facts.items()]
