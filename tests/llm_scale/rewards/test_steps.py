"""Steps of answers among their tokens: by bytes, by characters, and with a real byte-pair tokenizer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.models.loading import load
from llm_scale.rewards.sample import Decoder, Sample
from llm_scale.rewards.steps import steps_of
from llm_scale.tasks.task import Problem
from tests.llm_scale.rewards.answers import END, Bytes, Lines, answers

LINES = Lines().steps
TEXTS = st.text(st.sampled_from("a7= \n.é🙂漢\r"), max_size=24)


def sample_of(ids, decode):
    return Sample(Problem("p", "1", 0), decode([ids])[0], ids, True, 0, 0, decode)


def cut_at(text, cuts, split=LINES):
    tokens = Bytes()
    ids = tokens.cut(text, cuts)
    return steps_of(sample_of(ids, Decoder(tokens)), split), ids


def by_bytes(text, cuts, split):
    """The same, step by step: whose is the character that a token's last byte belongs to?"""
    steps = split(text)
    starts, place = [], 0
    for step in steps:
        starts.append(text.index(step, place))
        place = starts[-1] + len(step)
    character_of = [index for index, character in enumerate(text) for _ in character.encode()]
    step_of = [max(0, sum(start <= character for start in starts) - 1) for character in character_of]
    edges = sorted({cut for cut in cuts if 0 < cut < len(character_of)} | {len(character_of)})
    owners = [step_of[edge - 1] for edge in edges]
    ends = [i for i in range(len(owners)) if i + 1 == len(owners) or owners[i + 1] != owners[i]]
    texts, first = [], 0
    for end in ends:
        last = owners[end]
        texts.append(text[starts[first] : starts[last] + len(steps[last])])
        first = last + 1
    return texts, [*ends[:-1], ends[-1] + 1]  # with the token that ends the answer


def test_lines_end_with_their_line_breaks():
    sample = answers("7+5=12\n\n12-3=9\nAnswer: 9")[0]
    texts, ends = steps_of(sample, LINES)
    assert texts == ["7+5=12", "12-3=9", "Answer: 9"]
    assert ends == [7, 14, 24]
    assert len(sample.ids) == 25  # the token that ends the answer is part of its last step


def test_a_token_across_a_boundary_belongs_to_the_later_step():
    (texts, ends), _ = cut_at("ab\ncd", [1, 4])  # a | b\nc | d
    assert (texts, ends) == (["ab", "cd"], [0, 3])


def test_a_step_in_which_no_token_ends_is_joined_to_the_next():
    (texts, ends), _ = cut_at("a\nb\nc", [1, 4])  # a | \nb\n | c
    assert (texts, ends) == (["a", "b", "c"], [0, 1, 3])
    (texts, ends), _ = cut_at("a\nb\nc", [1])  # a | \nb\nc
    assert (texts, ends) == (["a", "b\nc"], [0, 2])
    (texts, ends), _ = cut_at("a\nb\nc", [])
    assert (texts, ends) == (["a\nb\nc"], [1])


def test_an_emoji_of_several_tokens_is_one_character():
    (texts, ends), _ = cut_at("🙂\n🙂", [1, 2, 3, 5, 6])  # 4 tokens, \n with the first byte of the second, 2 more
    assert texts == ["🙂", "🙂"]
    assert ends == by_bytes("🙂\n🙂", [1, 2, 3, 5, 6], LINES)[1]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_answer_without_text_has_no_steps(text):
    assert steps_of(answers(text)[0], LINES) == ([], [])
    assert steps_of(answers("some text")[0], lambda text: None) == ([], [])


def test_tokens_without_text_at_the_end_belong_to_the_last_step():
    tokens = Bytes()
    ids = [*tokens.cut("a\nb", [1, 2]), END, END]
    assert steps_of(sample_of(ids, Decoder(tokens)), LINES) == (["a", "b"], [1, 5])


@given(TEXTS, st.lists(st.integers(1, 60), max_size=20))
def test_steps_are_where_their_last_bytes_are(text, cuts):
    def split(text):
        return [line for line in re.split(r"[\r\n]+", text) if line.strip()]

    (texts, ends), ids = cut_at(text, cuts, split)
    if not split(text):
        assert (texts, ends) == ([], [])
        return
    assert (texts, ends) == by_bytes(text, cuts, split)
    assert ends == sorted(set(ends))
    assert ends[-1] == len(ids) - 1


@given(st.binary(max_size=16), st.lists(st.integers(1, 16), max_size=8))
def test_bytes_that_are_no_text_still_have_rising_ends(data, cuts):
    tokens = Bytes()
    ids = tokens.cut(data, cuts)
    texts, ends = steps_of(sample_of(ids, Decoder(tokens)), LINES)
    assert len(texts) == len(ends)
    assert ends == sorted(set(ends))
    assert not ends or ends[-1] == len(ids) - 1


def test_a_step_that_is_not_in_the_text_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"step 1 \('c'\) of sample 0 of prompt 0 .*'ab'.* after character 1"):
        steps_of(answers("ab")[0], lambda text: ["a", "c"])
    with pytest.raises(ValueError, match="no decode"):
        steps_of(Sample(Problem("p", "1", 0), "ab", [1], True, 0, 0), LINES)


def test_single_tokens_are_decoded_once():
    class Counting(Bytes):
        decoded = 0

        def batch_decode(self, sequences, **options):
            self.decoded += len(sequences)
            return super().batch_decode(sequences)

    tokens = Counting()
    decode, ids = Decoder(tokens), tokens.cut("abcabc", range(6))
    first = decode([[token] for token in ids])
    before = tokens.decoded
    assert decode([[token] for token in ids]) == first == ["a", "b", "c", "a", "b", "c", ""]
    assert before == tokens.decoded == 4
    assert decode([[], ids]) == ["", "abcabc"]


def check_with(tokenizer, text, end):
    ids = [*tokenizer(text, add_special_tokens=False).input_ids, end]
    decode = Decoder(tokenizer)
    sample = sample_of(ids, decode)
    texts, ends = steps_of(sample, LINES)
    assert ends == sorted(set(ends))
    assert ends[-1] == len(ids) - 1
    assert [line for step in texts for line in LINES(step)] == LINES(sample.completion)
    for text, end, start in zip(texts, ends, [0, *(end + 1 for end in ends)], strict=False):
        own = decode([ids[: end + 1]])[0]
        assert own.rstrip().endswith(text.strip()) or "�" in own  # the step is done with its last token
        closing = decode([ids[end : end + 1]])[0]  # a line break, or the token that ends the answer
        assert text.strip() not in decode([ids[start:end]])[0] or not closing.strip()
    return texts


MIXED = ["7 + 5 = 12\n12 - 3 = 9\nAnswer: 9", "So far so good.\n\n\nAnswer: -1,234.5\n", "x", "a\n b\n  c\n"]


@pytest.mark.parametrize("text", MIXED)
def test_character_tokenizer(text):
    texts = check_with(load("tiny-test").tokenizer, text, 1)
    assert texts == LINES(text)


@pytest.mark.slow
@pytest.mark.parametrize("text", [*MIXED, "🙂🙂\n漢字 ok\n🎉\n\n done ✅", "naïve café\r\n½ + ½ = 1\r\nAnswer: 1"])
def test_byte_pair_tokenizer(text):
    from transformers import AutoTokenizer

    from llm_scale.models.smollm2 import path

    tokenizer = AutoTokenizer.from_pretrained(path())
    texts = check_with(tokenizer, text, tokenizer.eos_token_id)
    assert texts == LINES(text)
