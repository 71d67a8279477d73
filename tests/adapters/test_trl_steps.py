"""How a completion is cut into steps and which tokens they own, on real tokenizers; no trainer is made here."""

import re
import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from rewardlab.adapters.completion_steps import lines, token_steps
from rewardlab.adapters.trl_steps import with_step_rewards

# Tokens that hold a line's end and more, parts of a character, and both a character and a part of the next.
JOINED = ["\n\n", ".\n", "\n ", "\nb", " a", "ab", "\n\n\n"]
SPLIT = [b"\xf0\x9f", b" \xf0", b"\x98\x80\n", b"\n\xf0"]


def byte_letters():
    """The letter that stands for each byte in a byte-level vocabulary: its own where that can be seen."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    assert set(letters.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    return letters


def byte_level():
    """A byte-level tokenizer, as GPT-2, Llama 3 and Qwen have, and the bytes of each of its tokens."""
    letters = byte_letters()
    tokens = [bytes([byte]) for byte in range(256)] + [text.encode() for text in JOINED] + SPLIT
    vocabulary = {"".join(letters[byte] for byte in token): number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<eos>", special=True)])
    return tokenizer, tokens


def byte_fallback():
    """A tokenizer as Llama 2 has: a mark for the space, bytes for what is in no word, the first space taken off."""
    words = ["▁", "a", "b", "▁a", "ab", "▁ab", "."]
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)} | {word: 256 + i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken("<eos>", special=True)])
    return tokenizer, [bytes([byte]) for byte in range(256)] + [word.replace("▁", " ").encode() for word in words]


BYTE_LEVEL, FALLBACK = byte_level(), byte_fallback()


def decoding(tokenizer):
    return partial(tokenizer.decode_batch, skip_special_tokens=True)


def ids_of(spelling, tokens=BYTE_LEVEL[1]):
    """Tokens by their bytes."""
    return [tokens.index(token if isinstance(token, bytes) else token.encode()) for token in spelling]


def step_of_tokens(ends):
    return np.searchsorted(ends, np.arange(ends[-1] + 1)).tolist()


# ------------------------------------------------------------------------------------------------------------ lines


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("one", ["one"]),
        ("one\n", ["one\n"]),
        ("one\ntwo", ["one\n", "two"]),
        ("one\n\n \t\n two\n\n", ["one\n\n \t\n", " two\n\n"]),
        ("\n\none\ntwo", ["\n\none\n", "two"]),
        ("\n \n", ["\n \n"]),
        ("one\r\ntwo\r\n", ["one\r\n", "two\r\n"]),
        ("one\u2028still\x0cone\n2", ["one\u2028still\x0cone\n", "2"]),
        ("\n\n\U0001f600\n\xe9", ["\n\n\U0001f600\n", "\xe9"]),
    ],
)
def test_lines(text, pieces):
    assert lines(text) == pieces


@given(st.text(alphabet="ab \n\r\t\u2028"))
def test_lines_are_the_text_and_none_is_blank(text):
    pieces = lines(text)
    assert "".join(pieces) == text
    assert len(pieces) == max(1, sum(bool(line.strip()) for line in text.split("\n")))
    assert all(piece.strip() for piece in pieces) or len(pieces) == 1


# ------------------------------------------------------------------------------------------------------ worked texts


@pytest.mark.parametrize(
    ("tokens", "steps", "owner"),
    [
        (["a", "\n", "b"], ["a\n", "b"], [0, 0, 1]),
        (["a", ".\n", " a"], ["a.\n", " a"], [0, 0, 1]),
        (["a", "\n ", "b"], ["a\n", " b"], [0, 1, 1]),  # the newline's token ends in the next line
        (["a", "\nb", "\n"], ["a\n", "b\n"], [0, 1, 1]),
        (["a", "\n\n\n", "b"], ["a\n\n\n", "b"], [0, 0, 1]),
        (["\n\n", "a", "\n", "b"], ["\n\na\n", "b"], [0, 0, 0, 1]),
        (["\n\n", "\n"], ["\n\n\n"], [0, 0]),
        (["a", "b"], ["ab"], [0, 0]),
        (["a", "\n", b"\xf0", b"\x9f", b"\x98", b"\x80", "b"], ["a\n", "😀b"], [0, 0, 1, 1, 1, 1, 1]),
        (["a", "\n", b"\xf0\x9f", b"\x98\x80\n", "b"], ["a\n", "😀\n", "b"], [0, 0, 1, 1, 2]),
        (["a", b"\n\xf0", b"\x9f", b"\x98", b"\x80", "\nb"], ["a\n", "😀\n", "b"], [0, 1, 1, 1, 1, 2]),
        (["a", b" \xf0", b"\x9f", b"\x98\x80\n", b"\xc3", b"\xa9"], ["a 😀\n", "é"], [0, 0, 0, 0, 1, 1]),
        (["a", "\n", b"\xf0\x9f"], ["a\n", "\ufffd"], [0, 0, 1]),  # cut off within a character
        ([b"\x80", "\n", b"\xff", "\n"], ["\ufffd\n", "\ufffd\n"], [0, 0, 1, 1]),  # no text at all
    ],
)
def test_worked_texts(tokens, steps, owner):
    decode = decoding(BYTE_LEVEL[0])
    found, ends = token_steps(ids_of(tokens), decode)
    assert (found, step_of_tokens(ends)) == (steps, owner)
    eos = BYTE_LEVEL[0].token_to_id("<eos>")
    found, ends = token_steps([*ids_of(tokens), eos], decode)
    assert (found, step_of_tokens(ends)) == (steps, [*owner, owner[-1]])
    found, ends = token_steps([eos, *ids_of(tokens)], decode)  # before the first step, to the first
    assert (found, step_of_tokens(ends)) == (steps, [owner[0], *owner])


def test_completion_without_text_is_one_empty_step():
    tokenizer, _ = BYTE_LEVEL
    eos = tokenizer.token_to_id("<eos>")
    assert token_steps([eos], decoding(tokenizer)) == ([""], [0])
    assert token_steps([eos, eos], decoding(tokenizer), lambda text: []) == ([""], [1])


def test_pieces_in_which_no_token_ends_are_joined_to_the_next():
    decode = decoding(BYTE_LEVEL[0])
    assert token_steps(ids_of(["ab", "a", "b"]), decode, list) == (["ab", "a", "b"], [0, 1, 2])
    assert token_steps(ids_of(["\n\n\n", "a"]), decode, list) == (["\n\n\n", "a"], [0, 1])
    assert token_steps(ids_of(["a", "b"]), decode, lambda text: ["", "a", "", "", "b", ""]) == (["a", "b"], [0, 1])


def test_a_bare_newline_and_what_follows_it_in_bytes():
    """Llama 2's newline is a byte, and a run of bytes that is not whole decodes to nothing but question marks."""
    tokenizer, tokens = FALLBACK
    ids = ids_of([" a", b"\n", b"\xf0", b"\x9f", b"\x98", b"\x80", b"\n", b"\xc3", b"\xa9", " ab"], tokens)
    assert tokenizer.decode(ids[:3]) == "a\ufffd\ufffd"
    assert token_steps(ids, decoding(tokenizer)) == (["a\n", "😀\n", "é ab"], [1, 6, 9])


def test_a_question_mark_of_its_own_is_no_unfinished_character():
    tokenizer, tokens = FALLBACK
    ids = ids_of([b"\xef", b"\xbf", b"\xbd", b"\n", " a"], tokens)
    assert tokenizer.decode(ids) == "\ufffd\n a" and tokenizer.decode(ids[:2]) == "\ufffd\ufffd"
    assert token_steps(ids, decoding(tokenizer), list) == (["\ufffd", "\n", " a"], [2, 3, 4])


def test_a_decoder_that_takes_back_what_it_said_loses_no_text():
    said = {(0,): "ab", (0, 1): "?", (0, 1, 2): "ab"}
    steps = token_steps([0, 1, 2], lambda sequences: [said.get(tuple(ids), "!") for ids in sequences], list)
    assert steps == (["ab"], [2])


def test_each_stretch_that_the_policy_wrote_is_cut_by_itself():
    decode = decoding(BYTE_LEVEL[0])
    ids = ids_of(["a", "\n", "b", "\n\n", "\n", "a", "ab", "\n", "b"])
    written = [1, 1, 1, 0, 0, 1, 1, 1, 1]
    steps, ends = token_steps(ids, decode, written=written)
    assert (steps, ends) == (["a\n", "b", "aab\n", "b"], [1, 2, 7, 8])
    # no step reaches across what the policy did not write, though the texts would go on in one line
    assert token_steps(ids_of(["a", "b", "a"]), decode, written=[1, 0, 1]) == (["a", "a"], [0, 2])
    assert token_steps(ids_of(["a", "b"]), decode, written=[0, 0]) == ([""], [1])
    assert token_steps(ids_of(["a", "b", "\n"]), decode, written=[0, 1, 0]) == (["b"], [1])


# -------------------------------------------------------------------------------------------- against the bytes


@st.composite
def completions(draw, kind):
    """Any tokens that spell a text, and the pieces it is cut into; the text may hold characters of four bytes."""
    _, tokens = kind
    text = draw(st.text(alphabet="ab .\n\t\xe9\u20ac\U0001f600\U0001f468\u200d", max_size=24))
    left, ids = (" " if kind is FALLBACK else "").encode() + text.encode(), []
    while left:
        fitting = [number for number, token in enumerate(tokens) if left.startswith(token)]
        if kind is FALLBACK and left[:1] in b" .ab":  # a space is a mark and not a byte, a letter not either
            fitting = [number for number in fitting if number >= 256]
        ids.append(draw(st.sampled_from(fitting)))
        left = left[len(tokens[ids[-1]]) :]
    cuts = draw(st.none() | st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    pieces = lines(text) if cuts is None else [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    return text, ids, pieces


def steps_by_bytes(text, tokens, pieces):
    """Steps and each token's step, by counting bytes: where a token's last byte is, there is its last character."""
    character_of_byte = [place for place, letter in enumerate(text) for _ in letter.encode()]
    piece_of_character = [number for number, piece in enumerate(pieces) for _ in piece]
    byte, pieces_of_tokens = -1, []
    for token in tokens:
        byte += len(token)
        pieces_of_tokens.append(piece_of_character[character_of_byte[max(byte, 0)]])
    owners = sorted(set(pieces_of_tokens))
    steps, before = [], 0
    for owner in owners:
        steps.append("".join(pieces[before : owner + 1]))
        before = owner + 1
    steps[-1] += "".join(pieces[before:])
    return steps, [owners.index(piece) for piece in pieces_of_tokens]


@pytest.mark.parametrize("kind", [BYTE_LEVEL, FALLBACK], ids=["byte level", "byte fallback"])
@given(data=st.data())
def test_same_as_counting_bytes(kind, data):
    tokenizer, tokens = kind
    text, ids, pieces = data.draw(completions(kind))
    assert tokenizer.decode(ids) == text
    if not text:
        return
    spelled = [tokens[number] for number in ids]
    if kind is FALLBACK:
        spelled[0] = spelled[0][1:]  # the space that decoding takes off
    expected = steps_by_bytes(text, spelled, pieces)
    steps, ends = token_steps(ids, decoding(tokenizer), lambda decoded: pieces)
    assert (steps, step_of_tokens(ends)) == expected
    steps, ends = token_steps([*ids, tokenizer.token_to_id("<eos>")], decoding(tokenizer), lambda decoded: pieces)
    assert (steps, step_of_tokens(ends)) == (expected[0], [*expected[1], expected[1][-1]])


@pytest.mark.parametrize("kind", [BYTE_LEVEL, FALLBACK], ids=["byte level", "byte fallback"])
@given(data=st.data())
def test_any_tokens_at_all_are_cut_without_loss(kind, data):
    """Also those that spell no text: bytes in any order, special tokens anywhere, any of them not the policy's."""
    tokenizer, tokens = kind
    ids = data.draw(st.lists(st.sampled_from([*range(len(tokens) + 1), 10, 240, 159, 152, 128]), min_size=1))
    written = data.draw(st.none() | st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    steps, ends = token_steps(ids, decoding(tokenizer), written=written)
    assert len(steps) == len(ends) >= 1
    assert ends == sorted(set(ends)) and ends[0] >= 0 and ends[-1] < len(ids)
    if written is None:
        assert "".join(steps) == tokenizer.decode(ids) and ends[-1] == len(ids) - 1
    elif any(written):
        assert all(written[end] for end in ends) and ends[-1] == max(np.flatnonzero(written))


def test_a_long_completion_is_not_decoded_over_and_over():
    tokenizer, _ = BYTE_LEVEL
    decoded = 0

    def decode(sequences):
        nonlocal decoded
        decoded += sum(map(len, sequences))
        return tokenizer.decode_batch(sequences, skip_special_tokens=True)

    plain = ids_of([*"a line of text", "\n"] * 100)
    with_emoji = plain + ids_of(["a", b"\xf0\x9f", b"\x98\x80\n"]) + plain
    assert len(token_steps(plain, decode)[0]) == 100
    assert decoded == 2 * len(plain)
    decoded = 0
    steps, _ = token_steps(with_emoji, decode)
    assert len(steps) == 201 and "a😀\n" in steps
    assert decoded < 12 * len(with_emoji)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        (str.splitlines, ValueError, r"changed something at character 1: its pieces .* go on with 'b', the text with"),
        (lambda text: [text, "more"], ValueError, "at character 3: its pieces put together go on with 'more'"),
        (lambda text: text, TypeError, r"split returned 'a\\nb', expected a list of the pieces"),
        (lambda text: [b"a"], TypeError, r"split returned \[b'a'\]"),
        (lambda text: None, TypeError, "split returned None"),
    ],
)
def test_splits_that_lose_text_are_refused(split, error, message):
    with pytest.raises(error, match=message):
        token_steps(ids_of(["a", "\n", "b"]), decoding(BYTE_LEVEL[0]), split)


def test_completions_without_tokens_and_masks_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="expected a completion of at least one token"):
        token_steps([], decoding(BYTE_LEVEL[0]))
    with pytest.raises(ValueError, match="written has 1 values for 2 tokens"):
        token_steps([97, 98], decoding(BYTE_LEVEL[0]), written=[1])


def test_trainers_without_trl_s_methods_are_refused(monkeypatch):
    monkeypatch.setattr("rewardlab.adapters.trl.metadata.version", lambda name: "9.9")

    class Moved:
        def _generate(self, prompts):
            pass

        def _calculate_rewards(self, samples):
            pass

    with pytest.raises(RuntimeError, match=r"Moved has no _calculate_rewards\(inputs, ...\).*installed is trl 9.9"):
        with_step_rewards(Moved)


def test_importing_the_module_imports_no_trainer():
    code = (
        "import sys, rewardlab.adapters.trl_steps as steps; print({'trl', 'torch', 'transformers'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
    import rewardlab.adapters.trl_steps as module

    with pytest.raises(AttributeError, match=re.escape("has no attribute 'StepRLOOTrainer'")):
        module.StepRLOOTrainer  # noqa: B018
