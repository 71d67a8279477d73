"""Agreement of answers word for word, and the gate before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.answer_f1 import TAGS, gated_f1, token_f1

words = st.lists(st.sampled_from(["red", "blue", "green", "one", "two"]), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("Eiffel Tower", "eiffel tower", 1.0),
        ("The Eiffel Tower, in Paris.", "Eiffel tower", 4 / 7),  # articles count: 2 of 5 words, both of 2
        ("tower tower tower", "Eiffel Tower", 2 / 3),  # words count once
        ("it's", "it s", 1.0),
        ("3.14", "314", 0.0),
        ("London", "Paris", 0.0),
        ("", "Paris", 0.0),
        ("?!", "Paris", 0.0),
        ("a\nb\tc", "c b a", 1.0),
        ("Zürich", "ZÜRICH", 1.0),
    ],
)
def test_worked(prediction, answer, expected):
    assert token_f1(prediction, answer) == pytest.approx(expected, abs=1e-12)


@given(words, words)
def test_harmonic_mean_of_precision_and_recall(left, right):
    common = len(set(left) & set(right))
    precision, recall = common / len(set(left)), common / len(set(right))
    expected = 2 * precision * recall / (precision + recall) if common else 0.0
    found = token_f1(" ".join(left), " ".join(right))
    assert found == pytest.approx(expected, abs=1e-12) and 0 <= found <= 1
    assert found == token_f1(" ".join(right), " ".join(left)) == token_f1(", ".join(left).upper(), " ".join(right))


@given(words, words, words)
def test_the_closest_reference_counts(prediction, first, second):
    text, references = " ".join(prediction), [" ".join(first), " ".join(second)]
    assert token_f1(text, references) == max(token_f1(text, reference) for reference in references)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<answer>Paris</answer>", 1.0),
        ("<think>Hm.</think><tool_call>search</tool_call><think>So.</think> <answer> Paris </answer>", 1.0),
        ("<THINK>Hm.</THINK><Answer>Paris</Answer>", 1.0),
        ("<answer>London\nor Paris</answer>", 0.5),
        ("<answer>London</answer><answer>Paris</answer>", 0.0),  # the first counts
        ("<answer></answer>", 0.0),
        ("<other><answer>Paris</answer>", 1.0),
        ("Paris", -2.0),
        ("", -2.0),
        ("<answer>Paris", -2.0),
        ("Paris</answer>", -2.0),
        ("</answer>Paris<answer>", -2.0),
        ("<think><answer>Paris</answer>", -2.0),
        ("</think><answer>Paris</answer>", -2.0),
        ("<think><think>Hm.</think></think><answer>Paris</answer>", -2.0),
        ("<tool_call><answer>Paris</answer>", -2.0),
        ("<code><answer>Paris</answer>", -2.0),
        ("</code><code><answer>Paris</answer>", -2.0),
    ],
)
def test_the_gate(response, expected):
    assert gated_f1(response, "Paris") == pytest.approx(expected)


@given(st.lists(st.sampled_from([mark for tag in TAGS for mark in (f"<{tag}>", f"</{tag}>")] + ["word"]), max_size=8))
def test_in_format_means_that_every_tag_opens_and_closes_in_turn(marks):
    response, opened, valid = " ".join(marks), set(), True
    for mark in marks:
        tag = mark.strip("</>")
        if tag not in TAGS:
            continue
        valid &= (tag in opened) == mark.startswith("</")
        opened ^= {tag}
    in_format = valid and not opened and "<answer>" in marks
    assert (gated_f1(response, "word", penalty=-7.0) == -7.0) == (not in_format)


def test_penalty():
    assert gated_f1("Paris", "Paris", penalty=0) == 0.0
    with pytest.raises(ValueError, match="penalty is 1"):
        gated_f1("Paris", "Paris", penalty=1.0)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: token_f1("a", ""), ValueError, "answer '' holds no word"),
        (lambda: token_f1("a", "..."), ValueError, r"answer '\.\.\.' holds no word"),
        (lambda: token_f1("a", []), ValueError, "answer is empty, expected at least one reference"),
        (lambda: token_f1("a", ["b", "-"]), ValueError, "answer '-' holds no word"),
        (lambda: token_f1(3, "a"), TypeError, "prediction: expected text, got int"),
        (lambda: token_f1("a", [None]), TypeError, "answer: expected text, got NoneType"),
        (lambda: gated_f1(None, "a"), TypeError, "response: expected text, got NoneType"),
        (lambda: gated_f1("out of format", ""), ValueError, "holds no word"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
