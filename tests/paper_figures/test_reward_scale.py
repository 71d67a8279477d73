"""The worked groups of the reward-scale figure, its counts by hand, and verdicts that can turn out otherwise."""

import itertools

import numpy as np
import pytest

from paper_figures.figure import Scale
from paper_figures.reward_scale import (
    METHODS,
    _batch_advantages,
    _distinct_counts,
    _training,
    all_groups,
    compute,
    verdicts,
)
from rewardlab.transforms.advantages import normalise_then_sum, standardised

ACCURACY = np.array([1.0, 0, 1, 0, 0, 0, 0, 0])
BREVITY = -np.array([50.0, 10, 80, 30, 5, 60, 20, 40])


@pytest.fixture(scope="module")
def frame():
    return compute(Scale("smoke"), 0)


def test_correlations_of_a_worked_group():
    signals = np.stack([ACCURACY, BREVITY])[:, None]
    total, each = standardised(signals.sum(0))[0], normalise_then_sum(signals)[0]
    found = [np.corrcoef(advantage, signal)[0, 1] for advantage in (total, each) for signal in (ACCURACY, BREVITY)]
    assert np.round(found, 3).tolist() == [-0.664, 1.0, 0.404, 0.404]
    assert found[1] == pytest.approx(0.9999, abs=5e-5)


@pytest.mark.parametrize(("samples", "signals"), [(2, 2), (3, 2), (2, 3)])
def test_groups_are_all_there_up_to_the_order_of_samples(samples, signals):
    listed = {
        tuple(sorted(group))
        for group in itertools.product(itertools.product((0.0, 1.0), repeat=signals), repeat=samples)
    }
    found = all_groups(samples, signals)
    assert {tuple(sorted(map(tuple, found[:, group].T))) for group in range(found.shape[1])} == listed
    assert found.shape == (signals, len(listed), samples)


def test_counts_by_hand():
    counts = _distinct_counts().pivot(index=["samples", "signals"], columns="method", values="value")
    # a pair's sums differ by 0, 1 or 2: standardised alike unless 0; apart or together the two rewards make 0, 1 or 2
    assert counts.loc[(2, 2)].to_dict() == {"combinations": 10, "sum": 2, "each": 3, "centred": 3}
    one = counts.loc[(4, 1)]  # one reward: 0 to 4 of 4 right, of which none and all are the same
    assert one.to_dict() == {"combinations": 5, "sum": 4, "each": 4, "centred": 4}


def test_each_run_is_its_own_batch():
    rng = np.random.default_rng(0)
    correct, brevity = (rng.random((3, 2, 8, 8)) < 0.4).astype(float), -rng.integers(1, 9, (3, 2, 8, 8)).astype(float)
    found = _batch_advantages(["sum", "each", "centred"], correct, brevity)
    for run in range(2):
        whole = normalise_then_sum(np.stack([correct[1, run], brevity[1, run]]))
        np.testing.assert_allclose(found[1, run], whole, atol=1e-12)
    np.testing.assert_allclose(found[0], standardised((correct + brevity)[0]), atol=1e-12)
    assert np.abs(found[2].sum(-1)).max() < 1e-12


def test_same_seed_same_numbers():
    once, again, other = (_training(2, 20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once.length, again.length)
    assert (once.length != other.length).all()


def test_another_outcome_is_another_verdict(frame):
    assert {claim: verdict.outcome for claim, verdict in verdicts(frame).items()} == {
        "collapse": "supported",
        "scale-rules-the-sum": "supported",
        "sum-slows-down": "supported",
        "never-slower": "refuted",
    }
    swapped = frame.assign(method=frame.method.replace({"sum": "each", "each": "sum"}))
    assert {claim: verdict.outcome for claim, verdict in verdicts(swapped).items()} == {
        "collapse": "refuted",
        "scale-rules-the-sum": "refuted",
        "sum-slows-down": "refuted",
        "never-slower": "refuted",
    }
    quick = frame.assign(value=frame.value.where((frame.part != "training") | (frame.method != "each"), 40))
    assert verdicts(quick)["never-slower"].outcome == "supported"
    assert set(METHODS) < set(frame.method)
