"""Labels from rollouts: the closed forms, a chain of known values, and seeds that belong to prefixes."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rewardlab.process.rollout_labels import (
    expected_hard_label,
    label_prefixes,
    soft_label_variance,
    solution_prefixes,
)
from rewardlab.process.tasks import uniform_policy
from tests.process.small_tasks import Chain, Coins, Counted

LIBRARIES = pytest.mark.parametrize("library", [np.asarray, torch.tensor])
share = st.floats(0, 1).filter(lambda value: value == 0 or value > 1e-300)  # SciPy overflows below


@pytest.mark.parametrize(("value", "expected"), [(0.05, 0.337), (0.2, 0.832), (0.5, 0.996)])
def test_a_hard_label_saturates(value, expected):
    assert expected_hard_label(value, 8) == pytest.approx(expected, abs=5e-4)


@given(share, st.integers(1, 64))
def test_the_closed_forms_are_those_of_a_binomial(value, rollouts):
    count = stats.binom(rollouts, value)
    hard = expected_hard_label(value, rollouts)
    assert isinstance(hard, float) and hard == pytest.approx(1 - count.pmf(0), abs=1e-12)
    assert soft_label_variance(value, rollouts) == pytest.approx(count.var() / rollouts**2, abs=1e-12)
    assert hard >= value - 1e-15  # never an underestimate
    assert expected_hard_label(value, 1) == pytest.approx(value, rel=1e-12)
    assert expected_hard_label(value, rollouts + 1) >= hard


@LIBRARIES
def test_closed_forms_of_arrays(library):
    values = library(np.array([[0.0, 1e-18, 0.2], [0.5, 1.0, 1.0]]))
    hard, variance = expected_hard_label(values, 8), soft_label_variance(values, 8)
    assert type(hard) is type(values) and type(variance) is type(values)
    flat = [[0, 8e-18, 1 - 0.8**8], [1 - 0.5**8, 1, 1]]
    np.testing.assert_allclose(np.asarray(hard), flat, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(variance), [[0, 1.25e-19, 0.02], [0.03125, 0, 0]], rtol=1e-12)
    assert str(expected_hard_label(library(np.array([0, 1])), 2).dtype).endswith("float64")
    assert tuple(expected_hard_label(values[:0], 8).shape) == (0, 3)


def test_soft_labels_are_unbiased_and_hard_ones_inflated_by_the_closed_form():
    """The chain of ten states, 1 and 8 rollouts, many seeds: means within 4 standard errors of the forms."""
    task, repeats = Chain(), 150
    for rollouts in (1, 8):
        found = [label_prefixes(task, range(10), task.policy, seed, rollouts=rollouts) for seed in range(repeats)]
        soft, hard = (np.mean([getattr(labels, name) for labels in found], axis=0) for name in ("soft", "hard"))
        expected = expected_hard_label(Chain.values, rollouts)
        np.testing.assert_array_less(
            np.abs(soft - Chain.values), 4 * np.sqrt(soft_label_variance(Chain.values, rollouts) / repeats)
        )
        np.testing.assert_array_less(np.abs(hard - expected), 4 * np.sqrt(expected * (1 - expected) / repeats) + 0.02)
        if rollouts > 1:
            spread = np.mean([labels.standard_error**2 for labels in found], axis=0)  # unbiased, too
            np.testing.assert_allclose(spread, soft_label_variance(Chain.values, rollouts), rtol=0.25)
            assert (hard > soft + 0.05).any()


def test_counts_and_standard_errors():
    task = Coins(2)
    labels = label_prefixes(task, ["h", "t", "", "hh", "ht"], uniform_policy(task), 1, rollouts=16)
    assert labels.rollouts.tolist() == [16, 16, 16, 0, 0]
    np.testing.assert_array_equal(labels.soft[:3], labels.right[:3] / 16)
    assert labels.soft[1:].tolist()[0] == 0.0 and labels.soft[3:].tolist() == [1.0, 0.0]
    assert labels.hard.tolist() == [True, False, True, True, False]
    s = labels.soft[:3]
    np.testing.assert_allclose(labels.standard_error[:3], np.sqrt(s * (1 - s) / 15))
    assert labels.standard_error[3:].tolist() == [0.0, 0.0]
    once = label_prefixes(task, ["h", "hh"], uniform_policy(task), 1, rollouts=1)
    assert math.isnan(once.standard_error[0]) and once.standard_error[1] == 0.0


@given(st.permutations(["h", "t", "", "hh", "hht", "hhh"]), st.integers(1, 4), st.integers(0, 2**40))
def test_a_label_depends_on_the_seed_and_the_prefix_alone(prefixes, rollouts, seed):
    task = Coins(3)
    policy = uniform_policy(task)
    together = label_prefixes(task, prefixes, policy, seed, rollouts=rollouts)
    for place, prefix in enumerate(prefixes):
        alone = label_prefixes(task, [prefix], policy, seed, rollouts=rollouts)
        assert alone.right[0] == together.right[place]


def test_different_prefixes_and_seeds_have_different_luck():
    task = Coins(12)
    policy = uniform_policy(task)

    def coins(state):  # the last coin decides
        return 1 if len(state) == 12 and state[-1] == "h" else -1

    object.__setattr__(task, "verify", coins)
    prefixes = ["h" * k for k in range(11)]
    by_seed = np.array([label_prefixes(task, prefixes, policy, seed, rollouts=50).right for seed in range(2)])
    assert len(set(by_seed[0])) > 3 and (by_seed[0] != by_seed[1]).any()
    generators = [label_prefixes(task, prefixes, policy, np.random.default_rng(5), rollouts=50) for _ in range(2)]
    np.testing.assert_array_equal(generators[0].right, generators[1].right)
    rng = np.random.default_rng(5)
    moved = [label_prefixes(task, prefixes, policy, rng, rollouts=50).right for _ in range(2)]
    assert (moved[0] != moved[1]).any()


@pytest.mark.parametrize("hashing", ["1", "2"])
def test_labels_are_the_same_in_another_process(hashing):
    code = (
        "from tests.process.small_tasks import Coins\n"
        "from rewardlab.process.rollout_labels import label_prefixes\n"
        "from rewardlab.process.tasks import uniform_policy\n"
        "labels = label_prefixes(Coins(), ['', 'h', 'hh'], uniform_policy(Coins()), 0, rollouts=50)\n"
        "print(labels.right.tolist())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hashing}, capture_output=True, check=True
    )
    here = label_prefixes(Coins(), ["", "h", "hh"], uniform_policy(Coins()), 0, rollouts=50)
    assert run.stdout.decode().strip() == str(here.right.tolist())


def test_equal_prefixes_are_rolled_out_once():
    task = Counted(Coins(3))
    labels = label_prefixes(task, ["h", "t", "h", "h"], uniform_policy(task), 0, rollouts=8)
    assert len(task.asked) == 16
    assert labels.right[0] == labels.right[2] == labels.right[3]


def test_an_undecided_ending_is_not_right():
    task = Coins(1)
    object.__setattr__(task, "verify", lambda state: 0)
    labels = label_prefixes(task, ["", "h"], uniform_policy(task), 0, rollouts=4)
    assert labels.right.tolist() == [0, 0] and not labels.hard.any()


def test_no_prefixes():
    labels = label_prefixes(Coins(), [], uniform_policy(Coins()), 0)
    assert labels.soft.shape == labels.rollouts.shape == labels.standard_error.shape == (0,)


def test_the_prefixes_of_a_solution():
    assert solution_prefixes(Coins(), "hth") == ("h", "ht", "hth")
    assert solution_prefixes(Coins(), "") == ()
    with pytest.raises(ValueError, match=r"steps\[3\] comes after the end of the episode"):
        solution_prefixes(Coins(), "hhhh")


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_refused():
    task = Coins()
    policy = uniform_policy(task)
    with pytest.raises(ValueError, match=r"rollouts is 0, expected a whole number in \[1, inf\)"):
        label_prefixes(task, ["h"], policy, 0, rollouts=0)
    with pytest.raises(TypeError, match=r"rollouts is 2\.0, expected a whole number"):
        label_prefixes(task, ["h"], policy, 0, rollouts=2.0)
    with pytest.raises(TypeError, match="lacks start"):
        label_prefixes("task", ["h"], policy, 0)
    with pytest.raises(TypeError, match="rng: expected a seed"):
        label_prefixes(task, ["h"], policy, None)
    with pytest.raises(ValueError, match="the task goes on after limit = 1 steps"):
        label_prefixes(task, ["h"], policy, 0, limit=1)
    with pytest.raises(TypeError, match="unhashable"):
        label_prefixes(task, [["h"]], policy, 0)

    class Nameless(Coins):
        def legal_steps(self, state):
            return "h" if isinstance(state, str) else "ht"

    class State:
        pass

    for unnamed in (State(), (State(),)):
        with pytest.raises(TypeError, match=r"prefixes: the repr of a .* tells where in memory something is"):
            label_prefixes(Nameless(), [unnamed], policy, 0)
    for function in (expected_hard_label, soft_label_variance):
        for bad in (1.2, -0.1, math.nan):
            with pytest.raises(ValueError, match="value is"):
                function(bad, 8)
        with pytest.raises(ValueError, match=r"value\[1\] is nan, expected a chance in \[0, 1\]"):
            function(np.array([0.5, np.nan]), 8)
        with pytest.raises(ValueError, match=r"value\[0, 1\] is 1.5"):
            function(torch.tensor([[0.5, 1.5]]), 8)
        with pytest.raises(ValueError, match="rollouts is 0"):
            function(0.5, 0)
        for bad in ("0.5", [0.5], None):
            with pytest.raises(TypeError, match="value: expected a number"):
                function(bad, 8)
