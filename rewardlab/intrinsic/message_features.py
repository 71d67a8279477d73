"""Messages as numbers: hashed words for a linear model, bytes for the published network."""

import re
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
from jaxtyping import Int, UInt8

from rewardlab.checks import check_scalar

__all__ = ["MESSAGE_LENGTH", "bag_offsets", "hashed_features", "message_bytes"]

MESSAGE_LENGTH = 256  # bytes of NetHack's message
_START, _MIX = np.uint64(0x85EBCA6B), np.uint64(0x9E3779B1)  # what stands before the first word; an odd multiplier
_WORD = re.compile(r"[a-z']+|[^a-z'0-9\s]")


def hashed_features(texts: Sequence[str], buckets: int = 2048) -> list[Int[np.ndarray, " features"]]:
    """Words and pairs of neighbouring words, each as the bucket that a hash puts it in.

    Words are runs of letters and single other signs, in lower case; numbers are left out, so that "12 gold pieces" and
    "40 gold pieces" are one message. The first word makes a pair with the start of the message, which tells "You kill"
    from "The kitten sees how you kill". The hashes are CRC-32 and mixes of two: the same on every machine.

    Args:
        texts: Messages.
        buckets: Number of buckets.

    Returns:
        For each message two buckets a word, of the word and of the pair that it ends, repeats included; a message
        without words counts as one empty word.

    Raises:
        ValueError: If `buckets` is below 1.

    >>> [len(features) for features in hashed_features(["You kill the newt!", "12", ""])]
    [10, 2, 2]
    """
    check_scalar("buckets", buckets, low=1, whole=True)
    words = [_WORD.findall(text.lower()) or [""] for text in texts]
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    flat = list(chain.from_iterable(words))
    hashes = {word: zlib.crc32(word.encode()) for word in set(flat)}
    word = np.fromiter(map(hashes.__getitem__, flat), np.uint64, len(flat))
    before = np.concatenate([np.zeros(1, np.uint64), word[:-1]])[: len(word)]
    starts = np.cumsum(lengths) - lengths
    before[starts] = _START
    pair = (before * _MIX + word) & np.uint64(0xFFFFFFFF)
    both = np.stack([word, pair ^ (pair >> np.uint64(15))], axis=1).astype(np.int64) % buckets
    return [both[start : start + length].ravel() for start, length in zip(starts, lengths, strict=True)]


def bag_offsets(rows: Sequence[np.ndarray]) -> tuple[Int[np.ndarray, " all"], Int[np.ndarray, " rows"]]:
    """Rows of different lengths end to end, and where each begins."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    flat = np.concatenate(rows) if len(rows) else np.zeros(0, np.int64)
    return flat, np.cumsum(lengths) - lengths


def message_bytes(texts: Sequence[str], length: int = MESSAGE_LENGTH) -> UInt8[np.ndarray, "texts length"]:
    """Messages as latin-1 bytes, padded with zeros.

    Raises:
        ValueError: If a message is longer than `length` or holds a sign that latin-1 has not; names its place.
    """
    rows = []
    for place, text in enumerate(texts):
        try:
            row = text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise ValueError(f"texts[{place}] holds {text[error.start]!r}, expected a sign of latin-1") from None
        if len(row) > length:
            raise ValueError(f"texts[{place}] has {len(row)} bytes, expected at most {length}")
        rows.append(row.ljust(length, b"\0"))
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), length)
