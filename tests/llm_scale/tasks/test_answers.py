"""Which number of a text counts."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.tasks.answers import DIGITS, is_number_only, last_number
from tests.llm_scale.tasks.attacks import attacks


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8", 8),
        ("8.", 8),
        ("**8**", 8),
        ("$8$", 8),
        ("3 + 5 = 8", 8),
        ("3+5=8", 8),
        ("8 or 9", 9),  # the last one counts
        ("9, no: 8", 8),
        ("1,234", 1234),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("8.0", 8),
        ("0.1", Fraction(1, 10)),
        ("007", 7),
        ("-8", -8),
        ("\N{MINUS SIGN}8", -8),
        ("= -8", -8),
        ("10 - 8", 8),
        ("10-8", 8),
        ("(10)-8", 8),
        ("10 -8", -8),
        ("(-8)", -8),
        ("--8", -8),
        ("-0", 0),
        ("-0.0", 0),
        ("$1,250", 1250),
        ("8%", 8),
        ("(8)", 8),
        ("8\n", 8),
        ("\x008\x00", 8),
        ("8 apples", 8),
        (".5", Fraction(1, 2)),
        ("= -.5", Fraction(-1, 2)),
        ("It is...8", 8),
        ("so,8", 8),
        ("3, 8", 8),
    ],
)
def test_a_number_is_read(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eight",
        "\N{FULLWIDTH DIGIT EIGHT}",
        "\N{ARABIC-INDIC DIGIT EIGHT}",
        "\N{SUPERSCRIPT TWO}",
        "\N{ROMAN NUMERAL EIGHT}",
        "8\N{FULLWIDTH DIGIT EIGHT}",  # a longer number in mixed scripts
        "x2",
        "8th",
        "8e3",
        "0x8",
        "8_000",
        "1.2.3",
        ".5.5",
        "12.5x",
        "x2.5",
        "1_2.5",
        "1,2x",
        "12,34",
        "1,2345",
        "1234,567",
        "1.234,5",
        "0,5",
        "inf",
        "9" * (DIGITS + 1),
        "0" * DIGITS + "8",
        "8, then " + "9" * 1000,  # an unreadable last number is not replaced by the one before it
    ],
)
def test_what_is_no_number_is_not_read(text):
    assert last_number(text) is None


def test_the_longest_number_is_read_exactly():
    assert last_number("9" * 30) == 10**30 - 1 and last_number("9" * 31) is None
    assert last_number("0." + "1" * (DIGITS - 1)) == Fraction(int("1" * (DIGITS - 1)), 10 ** (DIGITS - 1))


@given(st.integers(-(10**20), 10**20), st.sampled_from(["{}", "{:,}", "It is {}.", "3 + 5, so {:,}", "a\n\n{}\n"]))
def test_every_whole_number_is_read_back(number, form):
    assert last_number(form.format(number)) == number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_every_decimal_is_read_exactly(number):
    assert last_number(f"{number:,f}") == Fraction(number)


@given(st.text() | st.text(alphabet="0123456789.,-+ \u2212()x\u0663"))
def test_no_text_raises_and_the_form_implies_a_number(text):
    number = last_number(text)
    assert number is None or isinstance(number, Fraction)
    if is_number_only(text):
        assert number is not None


@pytest.mark.parametrize("text", ["8", " 8\n", "8.", "-8", "**8**", "1,234.5", "'8'", "8!"])
def test_a_number_alone(text):
    assert is_number_only(text)


@pytest.mark.parametrize("text", ["", "8 9", "= 8", "8 apples", "3 + 5", "--8", "1.2.3", "\N{FULLWIDTH DIGIT EIGHT}"])
def test_not_a_number_alone(text):
    assert not is_number_only(text)


def test_attacks_are_read_at_once(tmp_path, quick):
    with quick(5.0):
        for text in attacks(tmp_path / "trap"):
            last_number(text)
            is_number_only(text)
