"""The figure on real step scores: separate code's numbers, counts that add up, and verdicts that can turn round."""

import math

import numpy as np
import pytest

from environments import data
from paper_figures.figure import Scale
from paper_figures.real_step_scores import (
    BENCH,
    CLAIMS,
    EARLIER,
    EVERY,
    MATH,
    MODELS,
    RULES,
    STEPS_ONLY,
    compute,
    plot,
    table,
    verdicts,
)
from rewardlab.scoring import read_step_scores


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def value(frame, quantity, benchmark, model, rule):
    cell = frame[
        (frame.quantity == quantity) & (frame.benchmark == benchmark) & (frame.model == model) & (frame.rule == rule)
    ]
    assert len(cell) == 1
    return float(cell.value.iloc[0])


def changed(frame, quantity, benchmark, model, rule, **values):
    """The frame with other numbers in one cell."""
    frame = frame.copy()
    rows = (frame.quantity == quantity) & (frame.benchmark == benchmark) & (frame.model == model) & (frame.rule == rule)
    assert rows.sum() == 1
    for column, number in values.items():
        frame.loc[rows, column] = number
    return frame


def test_separate_codes_numbers_are_met_to_the_last_digit(frame):
    for (benchmark, model), rules in EARLIER.items():
        for rule, expected in rules.items():
            assert round(value(frame, "strict accuracy", benchmark, model, rule), 2) == expected
    shown = table(frame)
    assert shown["separate code"].notna().sum() == sum(map(len, EARLIER.values()))
    assert len(shown) == 2 * len(MODELS) * (len(RULES) + 1)


def test_a_product_by_hand():
    found = read_step_scores(data.path("rewardmath/RewardMATH/Math_Shepherd_reward.json"))
    won = []
    for solutions, there in zip(found.steps, found.present, strict=True):
        products = [math.prod(steps[mask]) for steps, mask in zip(solutions, there, strict=True)]
        won.append(products[0] > max(products[1:]))
    assert round(100 * np.mean(won), 2) == EARLIER[MATH, "Math-Shepherd"]["product"]


def test_pairs_of_all_lengths_are_all_pairs(frame):
    for benchmark, total in ((BENCH, 447), (MATH, 483 * 9)):
        for model in MODELS:
            number, won = 0.0, 0.0
            for stratum in ("shorter", "alike", "longer"):
                here = value(frame, f"pairs, {stratum}", benchmark, model, "mean")
                number += here
                won += here * value(frame, stratum, benchmark, model, "mean")
            assert number == total
            assert value(frame, "pairs", benchmark, model, "mean") == pytest.approx(won / total)


def test_counting_steps_knows_length_alone(frame):
    for benchmark in (BENCH, MATH):
        for model in MODELS:
            found = [
                value(frame, quantity, benchmark, model, STEPS_ONLY)
                for quantity in ("shorter", "alike", "longer", "balanced", "correlation")
            ]
            assert found == pytest.approx([100, 50, 0, 50, -1])


def test_the_same_seed_gives_the_same_frame(frame):
    assert compute(Scale("smoke"), 0).equals(frame)
    assert not compute(Scale("smoke"), 1).equals(frame)


def test_intervals_hold_the_value(frame):
    shown = frame.dropna()
    assert (shown.low <= shown.value + 1e-9).all()
    assert (shown.value <= shown.high + 1e-9).all()


def test_one_verdict_a_claim_and_a_picture(frame):
    assert set(verdicts(frame)) == {claim.id for claim in CLAIMS}
    assert len(plot(frame).subfigs) == 2


@pytest.mark.parametrize(
    ("claim", "cell", "values", "outcome"),
    [
        ("product-wins-by-shortness", ("share left", BENCH, EVERY, "product"), {"value": 0.6}, "refuted"),
        ("product-wins-by-shortness", ("share left", BENCH, EVERY, "product"), {"value": 0.3}, "undecided"),
        ("product-wins-by-shortness", ("share left", BENCH, EVERY, "product"), {"high": 0.5}, "undecided"),
        ("product-wins-by-shortness", ("lead, pairs", BENCH, EVERY, "product"), {"value": 19.0}, "undecided"),
        ("shortness-does-not-pay-elsewhere", None, 2, "undecided"),
        ("shortness-does-not-pay-elsewhere", None, 3, "refuted"),
        ("counting-is-as-good", None, 2, "undecided"),
        ("counting-is-as-good", None, 3, "refuted"),
        ("something-is-left", ("alike", MATH, "Easy-to-hard", "min"), {"high": 49.0}, "refuted"),
        ("something-is-left", None, 4, "supported"),
        ("balance-tells-more", ("Spearman, difference", BENCH, EVERY, ""), {"low": 0.01}, "supported"),
        ("balance-tells-more", ("Spearman, difference", BENCH, EVERY, ""), {"high": -0.01}, "refuted"),
    ],
)
def test_other_numbers_turn_the_verdict(frame, claim, cell, values, outcome):
    assert verdicts(frame)[claim].outcome != outcome
    if cell is not None:
        frame = changed(frame, *cell, **values)
    for model in list(MODELS)[: values if cell is None else 0]:
        if claim == "shortness-does-not-pay-elsewhere":
            frame = changed(frame, "accuracy", MATH, model, "product", value=90.0)
        elif claim == "counting-is-as-good":
            frame = changed(frame, "lead over counting", BENCH, model, "product", low=0.1)
        else:
            for benchmark in (BENCH, MATH):
                frame = changed(frame, "alike", benchmark, model, "min", low=50.1, high=60.0)
    assert verdicts(frame)[claim].outcome == outcome
