"""Scales and targets as training goes on: the worked numbers, the ends, and what is no step."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.reward_schedules import (
    EQUAL_SCALE,
    ORIGINAL_SCALE,
    RewardScale,
    length_reward,
    length_target,
    linear_schedule,
    smooth_scale,
    two_stage_scale,
)

steps_of = st.integers(0, 1000)


@given(steps_of, st.floats(-100, 100), st.floats(-100, 100), st.integers(1, 300))
def test_a_straight_line_that_stops(step, start, end, steps):
    found = linear_schedule(step, start, end, steps)
    assert min(start, end) - 1e-9 <= found <= max(start, end) + 1e-9
    assert found == pytest.approx(start + (end - start) * step / steps if step < steps else end, abs=1e-9)
    assert linear_schedule(0, start, end, steps) == start
    assert linear_schedule(steps, start, end, steps) == linear_schedule(steps + step, start, end, steps) == end


def test_fixed_scales():
    assert RewardScale() == ORIGINAL_SCALE == RewardScale(format=(0.0, 1.0), correctness=(-3.0, 3.0))
    assert (EQUAL_SCALE.format, EQUAL_SCALE.correctness) == ((0.0, 1.0), (-1.0, 1.0))


@pytest.mark.parametrize(
    ("step", "form", "correctness"),
    [(0, 1.0, 1.0), (29, 1.0, 1.0), (30, 0.5, 3.0), (10_000, 0.5, 3.0)],
)
def test_two_stages(step, form, correctness):
    assert two_stage_scale(step) == RewardScale((0.0, form), (-correctness, correctness))


def test_two_stages_elsewhere():
    assert two_stage_scale(4, switch=5) == EQUAL_SCALE
    assert two_stage_scale(5, switch=5).correctness == (-3.0, 3.0)


@pytest.mark.parametrize(
    ("step", "form", "correctness"),
    [(0, 2.0, 2.0), (30, 1.8, 2.2), (75, 1.5, 2.5), (150, 1.0, 3.0), (151, 1.0, 3.0)],
)
def test_smooth_change(step, form, correctness):
    scale = smooth_scale(step)
    assert scale.format == pytest.approx((-form, form))
    assert scale.correctness == pytest.approx((-correctness, correctness))


@given(steps_of, st.integers(1, 300))
def test_the_smooth_scale_only_shifts_weight(step, steps):
    """The two widths add up to the same at all steps: what the format loses correctness gains."""
    scale = smooth_scale(step, steps)
    widths = [high - low for low, high in (scale.format, scale.correctness)]
    assert sum(widths) == pytest.approx(8)
    assert widths[0] <= widths[1]


@pytest.mark.parametrize(
    ("words", "target", "reward"), [(0, 512, 0), (256, 512, 0.5), (512, 512, 1), (513, 512, 1), (96, 384.0, 0.25)]
)
def test_length_reward(words, target, reward):
    assert length_reward(words, target) == reward


def test_512_words_by_default():
    assert length_reward(256) == 0.5


@pytest.mark.parametrize(("step", "words"), [(0, 384), (21, 435.2), (105, 640), (500, 640)])
def test_length_target(step, words):
    assert length_target(step) == pytest.approx(words)


@given(steps_of, st.integers(0, 2000))
def test_longer_never_earns_less_and_later_never_more(step, words):
    now = length_reward(words, length_target(step))
    assert length_reward(words + 1, length_target(step)) >= now >= length_reward(words, length_target(step + 1))
    assert 0 <= now <= 1


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        (lambda: linear_schedule(-1, 0.0, 1.0, 5), ValueError, "step is -1, expected a whole number in [0, inf)"),
        (lambda: linear_schedule(1.0, 0.0, 1.0, 5), TypeError, "step is 1.0, expected a whole number"),
        (lambda: linear_schedule(1, 0.0, 1.0, 0), ValueError, "steps is 0, expected a whole number in [1, inf)"),
        (lambda: linear_schedule(1, math.nan, 1.0, 5), ValueError, "start is nan"),
        (lambda: linear_schedule(1, 0.0, math.inf, 5), ValueError, "end is inf"),
        (lambda: linear_schedule(1, 0.0, "1", 5), TypeError, "end: expected a number, got str"),
        (lambda: linear_schedule(True, 0.0, 1.0, 5), TypeError, "step: expected a whole number, got bool"),
        (lambda: two_stage_scale(-1), ValueError, "step is -1"),
        (lambda: two_stage_scale(1, switch=0), ValueError, "switch is 0"),
        (lambda: two_stage_scale(0.5), TypeError, "step is 0.5, expected a whole number"),
        (lambda: smooth_scale(-1), ValueError, "step is -1"),
        (lambda: smooth_scale(1, steps=0), ValueError, "steps is 0"),
        (lambda: length_target(-1), ValueError, "step is -1"),
        (lambda: length_reward(-1), ValueError, "words is -1"),
        (lambda: length_reward(1.5), TypeError, "words is 1.5, expected a whole number"),
        (lambda: length_reward(5, 0), ValueError, "target is 0, expected a number in (0, inf)"),
        (lambda: length_reward(5, math.nan), ValueError, "target is nan"),
        (lambda: RewardScale(format=(1.0, 0.0)), ValueError, "format is (1.0, 0.0), expected the lower number first"),
        (lambda: RewardScale(correctness=(math.nan, 1.0)), ValueError, "correctness[0] is nan"),
        (lambda: RewardScale(correctness=(0.0, math.inf)), ValueError, "correctness[1] is inf"),
        (lambda: RewardScale(correctness=3.0), TypeError, "correctness: expected a pair of numbers, got 3.0"),
        (lambda: RewardScale(format=(0.0, 1.0, 2.0)), TypeError, "format: expected a pair of numbers"),
        (lambda: RewardScale(format=("0", 1.0)), TypeError, "format[0]: expected a number, got str"),
    ],
)
def test_bad_input(without_type_checks, case, error, message):
    with pytest.raises(error, match=re.escape(message)):
        case()
