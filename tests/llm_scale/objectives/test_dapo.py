"""The soft penalty near the limit of length, and which groups teach anything."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llm_scale.objectives.advantages import sample_advantages
from llm_scale.objectives.dapo import keeps_signal, soft_overlong_penalty
from llm_scale.objectives.objective import objective


def test_published_limits():
    lengths = torch.tensor([0, 16384, 17408, 18432, 20480, 30000])
    assert soft_overlong_penalty(lengths, 20480, 4096).tolist() == [0.0, 0.0, -0.25, -0.5, -1.0, -1.0]


@given(st.integers(1, 500), st.data())
def test_penalty_by_its_three_cases(limit, data):
    cushion = data.draw(st.integers(1, limit))
    for length in data.draw(st.lists(st.integers(0, 2 * limit), min_size=1, max_size=5)):
        if length <= limit - cushion:
            expected = 0.0
        else:
            expected = (limit - cushion - length) / cushion if length <= limit else -1.0
        assert float(soft_overlong_penalty(torch.tensor([length]), limit, cushion)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("limit", "cushion", "message"),
    [(0, 1, "limit is 0"), (10, 0, r"cushion is 0, expected a whole number in \[1, 10\]"), (10, 11, "cushion is 11")],
)
def test_bad_limits(limit, cushion, message):
    with pytest.raises(ValueError, match=message):
        soft_overlong_penalty(torch.tensor([3]), limit, cushion)


@given(st.lists(st.sampled_from([0.0, 1.0, 0.35]), min_size=6, max_size=6), st.permutations([0, 0, 0, 1, 1, 1]))
def test_groups_without_signal_are_those_whose_advantages_are_all_zero(rewards, ids):
    kept = keeps_signal(torch.tensor(rewards), ids)
    advantages = sample_advantages(torch.tensor(rewards), ids, objective("grpo"))
    for group in (0, 1):
        rows = [row for row, name in enumerate(ids) if name == group]
        assert kept[rows].tolist() == [bool(advantages[rows].any())] * 3


@pytest.mark.parametrize(("share", "expected"), [(0.02, 0.149), (0.1, 0.5695), (0.25, 0.8999), (0.5, 0.9922)])
def test_share_of_groups_with_signal(share, expected):
    generator = torch.Generator().manual_seed(0)
    rewards = (torch.rand(40_000, 8, generator=generator) < share).double().reshape(-1)
    kept = keeps_signal(rewards, torch.arange(40_000).repeat_interleave(8)).double().mean()
    assert float(kept) == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 40_000) + 1e-4)


def test_absent_samples_give_no_signal():
    rewards = torch.tensor([1.0, math.nan, 1.0, math.nan, 0.0, 1.0])
    assert keeps_signal(rewards, [0, 0, 0, 1, 1, 1]).tolist() == [False] * 3 + [True] * 3
    present = torch.tensor([True] * 5 + [False])
    assert keeps_signal(rewards.nan_to_num(), [0, 0, 1, 1, 2, 2], present).tolist() == [True] * 4 + [False] * 2
