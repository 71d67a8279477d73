"""Messages as text and ids: any bytes decode, ids are those of a plain dictionary, memory is bounded and says so."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.message_text import MESSAGE_BYTES, MessageTable, decode_message, simplified
from tests.intrinsic.message_rows import rows

any_message = st.one_of(st.binary(max_size=8), st.binary(max_size=MESSAGE_BYTES), st.sampled_from([b"a", b"a\x00b"]))


def test_decodes_latin_1_without_zeros():
    assert decode_message(rows(b"caf\xe9\x00 au lait")[0]) == "caf\xe9 au lait"
    assert decode_message(bytes(256)) == ""
    assert decode_message(bytes(range(256))) == "".join(map(chr, range(1, 256)))
    assert decode_message(b"\xff" * 256) == "\xff" * 256


@given(any_message)
def test_every_byte_but_zero_is_one_character(message):
    text = decode_message(rows(message)[0])
    assert text.encode("latin-1") == bytes(byte for byte in message if byte)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What do you want to eat? [fgi or ?*]", "What do you want to eat?"),
        ("What do you want to eat? [fg or ?*]", "What do you want to eat?"),
        ("$ - 12 gold pieces.", "$ - gold pieces."),
        ("You kill it!  $ - 7 gold pieces.", "You kill it!  $ - gold pieces."),  # the two spaces between events stay
        ("Really attack the dwarf? [yn] (n)", "Really attack the dwarf? (n)"),
        ("Unbalanced ] and [", "Unbalanced ] and ["),
        ("[yn]", ""),
        ("", ""),
    ],
)
def test_simplified(text, expected):
    assert simplified(text) == expected


@given(st.text(st.sampled_from("a 1[]?23")))
def test_simplifying_twice_changes_nothing(text):
    assert simplified(simplified(text)) == simplified(text)


@given(st.lists(st.lists(any_message, min_size=1, max_size=4), max_size=6), st.booleans())
def test_ids_are_those_of_a_dictionary(steps, simplify):
    table, known = MessageTable(simplify=simplify), {}
    if simplify:
        known[""] = 0
    for step in steps:
        ids = table.ids(rows(*step))
        for message, id_ in zip(step, ids, strict=True):
            text = decode_message(message)
            key = simplified(text) if simplify else message.rstrip(b"\x00")
            expected = known.setdefault(key, len(known) + (0 if simplify else 1)) if key else 0
            assert id_ == expected
            assert table.texts[id_] == (simplified(text) if simplify else text)
            assert id_ or simplify or table.raw[id_] == b""
            assert not id_ or simplify or table.raw[id_] == key
    assert len(table) == len(table.texts) == len(table.raw)


def test_zeros_inside_make_another_message_of_the_same_text():
    table = MessageTable()
    assert table.ids(rows(b"ab", b"a\x00b", b"", b"ab")).tolist() == [1, 2, 0, 1]
    assert table.texts == ["", "ab", "ab"]


def test_a_row_of_a_transposed_or_sliced_array_is_the_same_message():
    messages = rows(b"You hear a door open.", b"x" * 256)
    table = MessageTable()
    assert table.ids(messages).tolist() == table.ids(np.asfortranarray(messages)).tolist() == [1, 2]
    assert table.ids(np.repeat(messages, 2, axis=0)[::2]).tolist() == [1, 2]
    assert table.ids(rows()).tolist() == []


def test_beyond_the_maximum_messages_are_as_empty_and_counted():
    table = MessageTable(maximum=3)
    assert table.ids(rows(b"a", b"b", b"c", b"a", b"c")).tolist() == [1, 2, 0, 1, 0]
    assert (len(table), table.refused) == (3, 2)
    assert table.ids(rows(b"b", b"d")).tolist() == [2, 0]
    assert table.refused == 3


def test_endless_prompts_are_one_message_and_fill_no_memory(monkeypatch):
    monkeypatch.setattr("rewardlab.intrinsic.message_text._CACHED", 5)
    table = MessageTable(simplify=True)
    for number in range(40):
        assert table.ids(rows(b"Eat? [%d]" % number, b"%d" % number)).tolist() == [1, 0]
        assert len(table._id_of) <= 6
    assert table.texts == ["", "Eat?"]


@given(st.lists(any_message, min_size=1, max_size=6), st.booleans())
def test_state_gives_every_message_its_id_again(messages, simplify):
    table = MessageTable(simplify=simplify, maximum=4)
    before = table.ids(rows(*messages))
    again = MessageTable(simplify=simplify, maximum=4)
    again.load_state_dict(json.loads(json.dumps(table.state_dict())))
    assert (again.texts, again.raw, again.refused) == (table.texts, table.raw, table.refused)
    assert again.ids(rows(*messages)).tolist() == before.tolist()


def test_refuses_what_is_no_messages(without_type_checks):
    table = MessageTable()
    with pytest.raises(TypeError, match="messages: expected a NumPy array of uint8, got int64"):
        table.ids(np.zeros((2, 256), dtype=np.int64))
    with pytest.raises(TypeError, match="messages: expected a NumPy array of uint8, got bytes"):
        table.ids(b"You kill the newt!")
    with pytest.raises(ValueError, match=r"messages has shape \(256,\), expected \(n, 256\)"):
        table.ids(np.zeros(256, dtype=np.uint8))
    with pytest.raises(ValueError, match="maximum is 0"):
        MessageTable(maximum=0)
    with pytest.raises(ValueError, match="state has simplify True, expected False"):
        table.load_state_dict(MessageTable(simplify=True).state_dict())
