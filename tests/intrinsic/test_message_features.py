import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.message_features import bag_offsets, hashed_features, message_bytes

LATIN = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=60)


def test_words_and_pairs_of_neighbours():
    # you, (start) you, kill, you kill, !, kill !
    (row,) = hashed_features(["You kill!"])
    assert row.tolist() == [22, 1830, 1641, 1144, 2003, 930]  # the same on every machine
    (alone,) = hashed_features(["kill"])
    assert zlib.crc32(b"kill") % 2048 == 1641
    assert alone.tolist() == [1641, 1239], "the word is the same, its neighbours are not"


def test_numbers_and_case_do_not_matter_but_the_first_word_does():
    gold, more, choice = hashed_features(["$ - 12 gold pieces.", "$ - 4011 GOLD pieces.", "12"])
    assert (gold == more).all() and choice.tolist() == [0, 1434]
    you, kitten = hashed_features(["You kill", "The kitten you kill"])
    assert set(you) - set(kitten), "the start of a message makes a pair with its first word"


@given(st.lists(LATIN, max_size=5), st.integers(1, 5000))
def test_every_message_has_a_bucket_and_they_lie_end_to_end(texts, buckets):
    rows = hashed_features(texts, buckets)
    assert all(len(row) and row.min() >= 0 and row.max() < buckets for row in rows)
    flat, offsets = bag_offsets(rows)
    again = [*np.split(flat, offsets[1:])] if rows else []
    assert len(again) == len(rows) and all((one == other).all() for one, other in zip(again, rows, strict=True))


@given(st.lists(LATIN, max_size=5))
def test_bytes_keep_every_sign(texts):
    rows = message_bytes(texts)
    assert rows.shape == (len(texts), 256)
    assert [bytes(row).rstrip(b"\0").decode("latin-1") for row in rows] == texts


def test_refuses_what_is_no_message():
    with pytest.raises(ValueError, match=r"texts\[1\] holds '€', expected a sign of latin-1"):
        message_bytes(["£", "5 €"])
    with pytest.raises(ValueError, match=r"texts\[0\] has 257 bytes, expected at most 256"):
        message_bytes(["a" * 257])
    assert message_bytes(["a" * 256]).all()
    with pytest.raises(ValueError, match="buckets is 0"):
        hashed_features(["a"], 0)
