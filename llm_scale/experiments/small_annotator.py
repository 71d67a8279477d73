"""What can a language model of 135 million parameters label? Messages that NetHack shows to a random player.

It is asked by a prompt with and without examples, and used as an encoder under a linear probe; a sentence encoder and
a hashed bag of words, under the same probe and on the same splits, say what it adds. The truth are rules (kills,
levels, gold, stairs, gains). Every message is a distinct text, so common ones do not decide the result.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import rankdata

from environments.nethack.message_stream import play_at_random
from llm_scale.models.loading import load
from long_runs.experiment import Cell, Experiment, ScaleName
from rewardlab.intrinsic.annotation.annotators import POSITIVE_GAINS, POSITIVE_SCORE, OracleAnnotator
from rewardlab.intrinsic.annotation.language_model import EncoderProbeAnnotator, PromptAnnotator, ridge_probe
from rewardlab.intrinsic.annotation.prompts import GOALS
from rewardlab.intrinsic.annotation.token_passes import hidden_means
from rewardlab.intrinsic.cosine import packaged_encoder
from rewardlab.intrinsic.message_features import hashed_features

__all__ = [
    "EXPERIMENT",
    "LABELS",
    "MODEL",
    "PENALTIES",
    "SENTENCES",
    "STAND_IN",
    "WORDS",
    "bag_of_words",
    "ranking_area",
]

MODEL, STAND_IN = "SmolLM2-135M", "stand-in"
SENTENCES, WORDS = "sentence encoder", "bag of words"
LABELS = (25, 50, 100, 200)
PENALTIES = tuple(10.0**power for power in range(-3, 8))
FIXED = 100.0  # the penalty of the earlier calculation
KINDS = {"kills": ("You kill ", "You destroy "), "gold": ("$ - ",)}
BUCKETS = 2048

Vectors = Float[np.ndarray, "messages size"]


@dataclass(frozen=True)
class Size:
    """How much is played, labelled and split.

    Attributes:
        model: Name for `load`.
        layer: Whose output is averaged.
        steps: Of the random player, in a stream.
        positives, negatives: Distinct messages of a sample, as far as there are so many.
        examples: In the prompt with examples; half of them positive.
        labels: To fit the probes to.
        splits: Of each sample.
        streams: Players.
        sentences: Whether the sentence encoder takes part.
        device: Of the language model.
    """

    model: str
    layer: int
    steps: int
    positives: int
    negatives: int
    examples: int
    labels: tuple[int, ...]
    splits: int
    streams: int
    sentences: bool
    device: str = "cpu"


SIZES = {
    "smoke": Size("tiny-test", 2, 12_000, 20, 40, 4, (10, 20), 3, 2, False),
    "small": Size("smollm2", 15, 250_000, 85, 200, 8, LABELS, 10, 5, True),
    "gpu": Size("smollm2", 15, 1_000_000, 200, 800, 8, (*LABELS, 400, 800), 20, 20, True, "cuda"),
}


@dataclass(frozen=True)
class Sample:
    """Distinct messages of a stream with their labels, and a few others as examples."""

    texts: list[str]
    labels: Int[np.ndarray, " messages"]
    examples: list[tuple[str, int]]


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell a stream."""
    seeds = np.random.SeedSequence(seed).generate_state(SIZES[scale].streams).tolist()
    return {f"stream {place}": partial(run, scale, place, each) for place, each in enumerate(seeds)}


def run(scale: ScaleName, stream: int, seed: int, folder: Path) -> pd.DataFrame:
    """Rows of one stream: part, of, labels, split, value.

    Parts: "area", "right" (balanced accuracy), "found" and "false" (of positives and negatives, called positive) for
    prompts (labels 0, split 0) and probes; "other kind" (area on a kind of progress that no label showed; `of` with
    the direction after a colon); "cost" (seconds of processor time a message); "sample" (its size).
    """
    size = SIZES[scale]
    sample = drawn(size, seed)
    lm = load(size.model, device=size.device)
    name = STAND_IN if size.model.startswith("tiny") else MODEL
    rows = [("sample", "positives", 0, 0, sample.labels.sum()), ("sample", "messages", 0, 0, len(sample.labels))]
    answers = ("yes", "no") if name == STAND_IN else None  # its tokens are characters: a space tells nothing
    prompts = {"8 examples": PromptAnnotator(lm.model, lm.tokenizer, examples=sample.examples, answers=answers)}
    if lm.tokenizer.chat_template:
        prompts["no example"] = PromptAnnotator(lm.model, lm.tokenizer, form="zero_shot")
    for form, annotator in prompts.items():
        scores, seconds = timed(lambda texts, one=annotator: one.scores(texts, GOALS["score"]), sample.texts)
        rows.append(("cost", f"{name}, {form}", 0, 0, seconds))
        rows += [(part, f"{name}, {form}", 0, 0, value) for part, value in judged(scores, 0.0, sample.labels).items()]
    encoders: dict[str, Callable[[Sequence[str]], np.ndarray]] = {
        name: lambda texts: hidden_means(lm.model, lm.tokenizer, texts, size.layer, 32),
        WORDS: bag_of_words,
    }
    if size.sentences:
        encoders[SENTENCES] = packaged_encoder("sentence")
    for encoder, encode in encoders.items():
        vectors, seconds = timed(encode, sample.texts)
        rows.append(("cost", encoder, 0, 0, seconds))
        rows += probed(size, encoder, np.asarray(vectors, float), sample)
    table = pd.DataFrame(rows, columns=["part", "of", "labels", "split", "value"])
    return table.assign(stream=stream, value=table["value"].astype(float).round(6))


def drawn(size: Size, seed: int) -> Sample:
    """A sample of what a random player reads; the examples are not among the messages."""
    texts = [text for text in play_at_random(size.steps, seed=seed).texts if text]
    labels = np.array(OracleAnnotator([*POSITIVE_SCORE, *POSITIVE_GAINS]).annotate(texts))
    rng = np.random.default_rng(seed)
    good, other = (rng.permutation(np.flatnonzero(labels == label)) for label in (1, 0))
    half = size.examples // 2
    shown = np.stack([good[:half], other[:half]], axis=1).ravel()
    places = np.concatenate([good[half:][: size.positives], other[half:][: size.negatives]])
    return Sample(
        [texts[place] for place in places], labels[places], [(texts[place], int(labels[place])) for place in shown]
    )


def bag_of_words(texts: Sequence[str]) -> Vectors:
    """Counts of hashed words and pairs of words."""
    return np.stack([np.bincount(row, minlength=BUCKETS) for row in hashed_features(texts, BUCKETS)]).astype(float)


def timed(encode: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]) -> tuple[np.ndarray, float]:
    """What `encode` returns, and the seconds of processor time a text."""
    started = time.process_time()
    found = encode(texts)
    return found, (time.process_time() - started) / len(texts)


def probed(size: Size, encoder: str, vectors: Vectors, sample: Sample) -> list[tuple]:
    """Probes on one encoder's vectors: the same splits for each encoder."""
    rows = []
    for split in range(size.splits):
        order = np.random.default_rng([split, len(sample.labels)]).permutation(len(sample.labels))
        for count in (count for count in size.labels if count < len(order) - 10):
            train, test = order[:count], order[count:]
            if len(set(sample.labels[train])) < 2 or len(set(sample.labels[test])) < 2:
                continue
            truth = sample.labels[test]
            for name, penalty in ((encoder, None), (f"{encoder}, penalty {FIXED:g}", FIXED)):
                scores, threshold = probe(vectors, sample.labels, train, test, penalty)
                rows += [(part, name, count, split, value) for part, value in judged(scores, threshold, truth).items()]
        rows += other_kind(encoder, vectors, sample, split)
    return rows


def probe(
    vectors: Vectors, labels: np.ndarray, train: np.ndarray, test: np.ndarray, penalty: float | None
) -> tuple[np.ndarray, float]:
    """Scores of `test` and the threshold; without a penalty that with the least leave-one-out error in `train`."""
    if penalty is None:
        targets = labels[train].astype(float)
        errors = [((ridge_probe(vectors[train], targets, each)[2] - targets) ** 2).mean() for each in PENALTIES]
        penalty = PENALTIES[int(np.argmin(errors))]
    rows: Mapping[str, np.ndarray] = {str(place): vectors[place] for place in (*train, *test)}
    annotator = EncoderProbeAnnotator(
        lambda places: np.stack([rows[place] for place in places]),
        [str(place) for place in train],
        labels[train].tolist(),
        penalty=penalty,
    )
    return annotator.scores([str(place) for place in test]), annotator.threshold


def other_kind(encoder: str, vectors: Vectors, sample: Sample, split: int) -> list[tuple]:
    """Area on one kind of progress for a probe that saw only another kind."""
    kinds = {
        kind: np.array([any(word in text for word in words) for text in sample.texts]) & (sample.labels == 1)
        for kind, words in KINDS.items()
    }
    both = kinds["kills"] & kinds["gold"]
    negatives = np.random.default_rng([split, 1]).permutation(np.flatnonzero(sample.labels == 0))
    rows = []
    for seen, unseen in (("kills", "gold"), ("gold", "kills")):
        known, new = np.flatnonzero(kinds[seen] & ~both), np.flatnonzero(kinds[unseen] & ~both)
        if min(len(known), len(new)) < 3:
            continue
        train = np.concatenate([known, negatives[::2]])
        test = np.concatenate([new, negatives[1::2]])
        scores, _ = probe(vectors, sample.labels, train, test, None)
        area = ranking_area(scores, sample.labels[test])
        rows.append(("other kind", f"{encoder}: {seen} to {unseen}", 0, split, area))
    return rows


def judged(scores: np.ndarray, threshold: float, labels: np.ndarray) -> dict[str, float]:
    """How scores rank messages, and what they call positive above a threshold."""
    called = np.asarray(scores) > threshold
    found, false = called[labels == 1].mean(), called[labels == 0].mean()
    return {"area": ranking_area(scores, labels), "right": (found + 1 - false) / 2, "found": found, "false": false}


def ranking_area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a positive has a higher score than a negative, ties counting half."""
    ones = int(labels.sum())
    ranks = rankdata(scores)[labels == 1].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * (len(labels) - ones)))


EXPERIMENT = Experiment("small_annotator", "what a small language model can label in NetHack", cells)
