"""Annotators that need no language model: rules, and rules with known errors."""

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.interface import Annotator, Item

FIRST, SECOND, TIE, UNKNOWN = 0, 1, 2, 3  # answers about a pair: which one is better
POSITIVE_SCORE = (r"\bYou (kill|destroy) ", r"Welcome to experience level", r"(^|  )\$ - ", r"You descend")
POSITIVE_GAINS = (r"You gain", r"You feel (stronger|healthy|a hopeful)")
NEGATIVE_PROMPTS = (r"Really attack",)

__all__ = [
    "FIRST",
    "NEGATIVE_PROMPTS",
    "POSITIVE_GAINS",
    "POSITIVE_SCORE",
    "SECOND",
    "TIE",
    "UNKNOWN",
    "NoisyAnnotator",
    "OracleAnnotator",
    "annotate_items",
    "check_labels",
    "compare_labels",
]


def compare_labels(first: int, second: int) -> int:
    """The better of two messages by their labels: 0 the first, 1 the second, 2 neither."""
    return TIE if first == second else (FIRST if first > second else SECOND)


def check_labels(name: str, labels: object, count: int, highest: int) -> list[int]:
    """Return an annotator's answer as a list of ints if it is `count` whole numbers in 0..highest.

    Raises:
        TypeError: If the answer is no sequence, or a label no whole number (True and 1.0 are none).
        ValueError: If there are too many or too few labels, or one is out of range; names its place.
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Sequence | np.ndarray):
        raise TypeError(f"{name}: expected {count} labels, got {type(labels).__name__}")
    if len(labels) != count:
        raise ValueError(f"{name}: expected {count} labels, got {len(labels)}")
    return [
        int(check_scalar(f"{name}[{place}]", label, low=0, high=highest, whole=True))
        for place, label in enumerate(labels)
    ]


def annotate_items(annotator: Annotator, items: Sequence[Item], goal: str, rng: np.random.Generator) -> list[int]:
    """The annotator's labels of messages and pairs, in one call for each kind, in the order of `items`.

    Raises:
        TypeError, ValueError: If the annotator answers with anything but one label in range for each item.
    """
    messages = [item for item in items if isinstance(item, str)]
    pairs = [item for item in items if not isinstance(item, str)]
    of_messages, of_pairs = iter(()), iter(())
    if messages:
        of_messages = iter(check_labels("annotate", annotator.annotate(messages, goal, rng), len(messages), 1))
    if pairs:
        of_pairs = iter(check_labels("compare", annotator.compare(pairs, goal, rng), len(pairs), UNKNOWN))
    return [next(of_messages) if isinstance(item, str) else next(of_pairs) for item in items]


class OracleAnnotator:
    r"""Labels by rules: 1 if some positive pattern is found in the message and no negative one.

    A pair is decided by the two labels; equal labels are a tie. The goal is not read: the rules are the goal.

    Args:
        positive: Regular expressions that earn the label 1. The default is progress in the game's score: kills by the
            player (not by the pet: "The kobold is destroyed!"), levels, gold picked up, stairs.
        negative: Regular expressions that forbid it ("Really attack the dwarf?" is a question, no event).

    Examples:
        >>> oracle = OracleAnnotator()
        >>> oracle.annotate(["You kill the newt!", "The kitten picks up a gold piece.", ""])
        [1, 0, 0]
        >>> oracle.compare([("You see here a dagger.", "You kill the newt!")])  # the second is better
        [1]
    """

    def __init__(
        self,
        positive: Sequence[str] = POSITIVE_SCORE,
        negative: Sequence[str] = NEGATIVE_PROMPTS,
    ):
        self.positive = [
            _pattern("positive", place, pattern) for place, pattern in enumerate(_list("positive", positive))
        ]
        self.negative = [
            _pattern("negative", place, pattern) for place, pattern in enumerate(_list("negative", negative))
        ]

    def annotate(self, messages: Sequence[str], goal: str = "", rng: np.random.Generator | None = None) -> list[int]:
        """Labels in {0, 1}, one for each message; the empty message has 0."""
        return [int(self._good(message)) for message in messages]

    def compare(
        self, pairs: Sequence[tuple[str, str]], goal: str = "", rng: np.random.Generator | None = None
    ) -> list[int]:
        """0 where the first is better, 1 where the second is, 2 where they have the same label."""
        return [compare_labels(self._good(first), self._good(second)) for first, second in pairs]

    def _good(self, message: str) -> bool:
        return any(p.search(message) for p in self.positive) and not any(p.search(message) for p in self.negative)


class NoisyAnnotator:
    """Another annotator's labels with errors of known rates.

    Args:
        base: The annotator that is right.
        accuracy: Probability that a label is `base`'s; otherwise it is flipped. A pair gets, with probability
            1 - accuracy, a uniform answer among first, second and tie (which is right by chance every third time).
        true_positive_rate, false_positive_rate: Instead of `accuracy`: probability of the label 1 where `base` says 1,
            and where it says 0. A pair is then decided by the two noisy labels.
        mode: "frozen": the error is a function of the message and the seed, so asking again gives the same answer, as a
            deterministic language model would; higher accuracy with the same seed only removes errors. "fresh": every
            answer draws anew from the generator given to the call.
        seed: Seed of the frozen errors.

    The empty message, which nobody needs to ask about, keeps the base's label.

    Examples:
        >>> noisy = NoisyAnnotator(OracleAnnotator(), 0.9, seed=1)
        >>> messages = [f"You see here {number} darts." for number in range(2000)]
        >>> bool(abs(sum(noisy.annotate(messages)) / 2000 - 0.1) < 0.02)
        True
    """

    def __init__(
        self,
        base: Annotator,
        accuracy: float | None = None,
        *,
        true_positive_rate: float | None = None,
        false_positive_rate: float | None = None,
        mode: str = "frozen",
        seed: int = 0,
    ):
        rates = (true_positive_rate, false_positive_rate)
        if (accuracy is None) == (rates == (None, None)) or (accuracy is None and None in rates):
            raise ValueError("expected either accuracy, or both true_positive_rate and false_positive_rate")
        if accuracy is not None:
            self.accuracy = check_scalar("accuracy", accuracy, low=0, high=1)
            rates = (self.accuracy, 1 - self.accuracy)
        else:
            self.accuracy = None
        check_choice("mode", mode, ("frozen", "fresh"))
        self.base, self.mode = base, mode
        self.true_positive_rate = check_scalar("true_positive_rate", rates[0], low=0, high=1)
        self.false_positive_rate = check_scalar("false_positive_rate", rates[1], low=0, high=1)
        self.seed = check_scalar("seed", seed, low=0, whole=True)

    def annotate(self, messages: Sequence[str], goal: str = "", rng: np.random.Generator | None = None) -> list[int]:
        """Labels in {0, 1}, one for each message.

        Raises:
            TypeError: In the mode "fresh" without a generator.
        """
        labels = self.base.annotate(messages, goal, rng)
        kept = (1 - self.false_positive_rate, self.true_positive_rate)  # probability of keeping a 0, a 1
        draws = self._uniform(messages, rng)
        return [
            int(label) if not message or draw < kept[label] else 1 - int(label)
            for message, label, draw in zip(messages, labels, draws, strict=True)
        ]

    def compare(
        self, pairs: Sequence[tuple[str, str]], goal: str = "", rng: np.random.Generator | None = None
    ) -> list[int]:
        """Answers in {0, 1, 2}: first, second, tie.

        Raises:
            TypeError: In the mode "fresh" without a generator.
        """
        if self.accuracy is None:
            firsts = self.annotate([first for first, _ in pairs], goal, rng)
            seconds = self.annotate([second for _, second in pairs], goal, rng)
            return [compare_labels(*labels) for labels in zip(firsts, seconds, strict=True)]
        answers = self.base.compare(pairs, goal, rng)
        right = self._uniform(["\0".join(pair) for pair in pairs], rng)
        guesses = self._uniform(["\0\0".join(pair) for pair in pairs], rng)
        return [
            int(answer) if draw < self.accuracy else int(3 * guess)
            for answer, draw, guess in zip(answers, right, guesses, strict=True)
        ]

    def _uniform(self, texts: Sequence[str], rng: np.random.Generator | None) -> list[float]:
        """Numbers in [0, 1), one for each text."""
        if self.mode == "fresh":
            if not isinstance(rng, np.random.Generator):
                raise TypeError(f"rng: expected a numpy.random.Generator (mode is 'fresh'), got {type(rng).__name__}")
            return rng.random(len(texts)).tolist()
        key = int(self.seed).to_bytes(16, "little")
        return [
            (int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()) >> 11)
            / 2**53
            for text in texts
        ]


def _list(name: str, patterns: object) -> Sequence[str]:
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise TypeError(f"{name}: expected a list of regular expressions, got {type(patterns).__name__}")
    return patterns


def _pattern(name: str, place: int, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{name}[{place}] is {pattern!r}, expected a regular expression: {error}") from None
