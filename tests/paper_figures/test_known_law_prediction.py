"""Errors against the law, and what the verdicts make of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from environments.offline.known_laws import DMSD_ACTION_MATRIX, DMSD_STATE_MATRIX, dmsd_rollout, dmsd_step
from environments.offline.loading import load
from paper_figures.figure import Scale
from paper_figures.known_law_prediction import verdicts
from paper_figures.known_law_prediction_panels import ratio
from paper_figures.known_law_prediction_study import (
    ARGMAX,
    DOUBLED,
    IN_DATA,
    MASSES,
    MEAN,
    ORACLE,
    PLACES,
    RANDOM,
    RULES,
    SOFTMAX,
    UNIFORM,
    WHOLE,
    one_step,
    open_loop,
    rows_as_table,
    size_of,
    squared_errors,
)
from paper_figures.known_law_prediction_study import test_sets as sets_by_place
from rewardlab.dynamics.ensemble import GaussianEnsemble

SCALE = np.array([0.5, 1.0, 2.0, 4.0])


@pytest.fixture(scope="module")
def recorded():
    return load("neorl2/DMSD-val").table


@pytest.fixture(scope="module")
def still():
    """An ensemble whose every prediction is no change, with hardly any noise."""
    ensemble = GaussianEnsemble(4, 2, hidden=(3,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in [*ensemble.weights, *ensemble.biases]:
            parameter.zero_()
        ensemble.biases[-1][..., 5:] = -24
        ensemble.min_log_variance.fill_(-24)
    return ensemble.requires_grad_(False)


def exact(log_variance):
    """An ensemble without hidden layers that is the law itself, with noise of this log variance."""
    ensemble = GaussianEnsemble(4, 2, hidden=(), generator=torch.Generator().manual_seed(0))
    change = np.vstack([DMSD_STATE_MATRIX.T - np.eye(4), DMSD_ACTION_MATRIX.T])
    with torch.no_grad():
        ensemble.weights[0].zero_()
        ensemble.weights[0][:, :, :4] = torch.from_numpy(change)
        ensemble.biases[0][..., 5:] = log_variance
        ensemble.min_log_variance.fill_(-30)
    return ensemble.requires_grad_(False)


def test_rows_of_the_masses(recorded):
    rows = np.array([500, 3, 99])
    table = rows_as_table(recorded, rows, 4)
    np.testing.assert_array_equal(table.observations, recorded.observations[rows, :4])
    np.testing.assert_array_equal(table.next_observations, recorded.next_observations[rows, :4])
    np.testing.assert_array_equal(table.actions, recorded.actions[rows])
    assert table.episode_lengths.tolist() == [1, 1, 1] and table.next_valid.all() and not table.terminals.any()


def test_places(recorded):
    observations, actions = recorded.observations[:50], recorded.actions[:50]
    sets = sets_by_place(observations, actions, np.random.default_rng(0))
    assert sets[IN_DATA][0] is observations and sets[IN_DATA][1] is actions
    np.testing.assert_array_equal(sets[UNIFORM][0], observations)
    assert sets[UNIFORM][1].dtype == np.float32 and np.abs(sets[UNIFORM][1]).max() <= 1
    assert np.abs(sets[UNIFORM][1] - actions).max() > 0.5
    np.testing.assert_array_equal(sets[DOUBLED][0][:, :4], 2 * observations[:, :4])
    np.testing.assert_array_equal(sets[DOUBLED][0][:, 4:], observations[:, 4:])


def test_squared_errors_by_hand():
    found = torch.tensor([[1.0, 1.0, 1.0, 1.0, 9.0], [0.0, 0.0, 2.0, 0.0, 9.0]])
    errors = squared_errors(found, np.zeros((2, 4)), SCALE)
    np.testing.assert_allclose(errors, [(4 + 1 + 1 / 4 + 1 / 16) / 4, 1 / 4])


def test_one_step_of_a_model_without_change(recorded, still):
    observations, actions = recorded.observations[:40], recorded.actions[:40]
    change = (recorded.next_observations - recorded.observations)[:40, :4] / SCALE
    tests = {IN_DATA: (observations, actions)}

    def longest(seen, acted, following):  # a judge that likes what moved least
        return -(following - seen[:, None]).square().sum(dim=-1)

    found = one_step(still, longest, tests, SCALE, 0)
    errors = found[found.part == "one step"].set_index("rule").value
    assert sorted(errors.index) == sorted(RULES)
    np.testing.assert_allclose(errors, np.sqrt(np.square(change).mean()), rtol=1e-3)
    assert set(one_step(still, None, tests, SCALE, 0).rule) == {RANDOM, ORACLE, MEAN}


def test_open_loop_of_a_model_without_change(recorded, still):
    size = size_of(Scale("smoke"))
    found = open_loop(still, lambda seen, acted, then: then.sum(dim=-1), recorded, SCALE, size, 0)
    first = recorded.episode_starts[: size.starts]
    actions = np.stack([recorded.actions[first + step] for step in range(size.horizon)], axis=1)
    start = recorded.observations[first].astype(np.float64)
    apart = (dmsd_rollout(start, actions.astype(np.float64))[..., :4] - start[:, None, :4]) / SCALE
    expected = np.sqrt(np.square(apart).mean(axis=(0, 2)))
    for rule in (RANDOM, ARGMAX, MEAN):
        np.testing.assert_allclose(found[found.rule == rule].value, expected, rtol=1e-3)


def test_a_model_that_is_the_law_does_not_err(recorded):
    tests = sets_by_place(recorded.observations[:30], recorded.actions[:30], np.random.default_rng(0))
    found = one_step(exact(-30.0), None, tests, SCALE, 0)
    assert found.value.max() < 1e-5
    drift = open_loop(
        exact(-30.0), lambda seen, acted, then: then.sum(dim=-1), recorded, SCALE, size_of(Scale("smoke")), 0
    )
    assert drift.value.max() < 1e-4 and drift.step.max() == 50


def test_rules_against_the_law_as_the_judge(recorded):
    """Noise of standard deviation s about the law, and a judge that knows it: argmax is the best of the ten."""
    observations, actions = recorded.observations[:2000], recorded.actions[:2000]

    def knows(seen, acted, following):
        padded = torch.cat([seen, torch.zeros(len(seen), 2)], dim=-1)
        apart = (following - dmsd_step(padded, acted)[:, None, :4]) / torch.from_numpy(SCALE)
        return -apart.square().mean(dim=-1).sqrt()

    found = one_step(exact(2 * np.log(0.1)), knows, {IN_DATA: (observations, actions)}, SCALE, 0)
    errors = found[found.part == "one step"].set_index("rule").value
    expected = 0.1 * np.sqrt(np.mean(1 / SCALE**2))
    assert errors[RANDOM] == pytest.approx(expected, rel=0.02)
    assert errors[ARGMAX] == pytest.approx(errors[ORACLE], rel=1e-6) and errors[ORACLE] < 0.4 * expected
    assert errors[ORACLE] < errors[SOFTMAX] < errors[RANDOM] and errors[MEAN] < 1e-5
    assert found[found.part == "correlation"].value.item() == pytest.approx(-1)
    shown = found[found.part == "candidate"]
    np.testing.assert_allclose(shown.reward, -shown.value, rtol=1e-4)


def made(argmax=0.023, random=0.05, oracle=0.022, mean=0.012, whole=0.025, drift=0.02):
    """A frame with these errors, the same everywhere."""
    errors = {RANDOM: random, ARGMAX: argmax, ORACLE: oracle, MEAN: mean}
    rows = []
    for seed in range(3):
        for place in PLACES:
            for record in (MASSES, WHOLE):
                for rule, value in {**errors, **({ARGMAX: whole} if record == WHOLE else {})}.items():
                    rows.append(("one step", record, 2000, place, rule, np.nan, seed, value))
            rows.append(("one step", MASSES, 10_000, place, MEAN, np.nan, seed, mean / 2))
        for rule, value in {**errors, ARGMAX: drift}.items():
            rows.append(("open loop", MASSES, np.nan, "", rule, 1, seed, 0.01))
            rows.append(("open loop", MASSES, np.nan, "", rule, 50, seed, value * 50))
    frame = pd.DataFrame(rows, columns=["part", "record", "rows", "place", "rule", "step", "seed", "value"])
    return frame.assign(epochs=10)


def test_ratios_compare_the_few_rows_and_the_last_step():
    np.testing.assert_allclose(ratio(made(), MASSES, IN_DATA), [0.46] * 3)
    np.testing.assert_allclose(ratio(made(), MASSES, IN_DATA, over=MEAN, rule=RANDOM), [0.05 / 0.012] * 3)
    np.testing.assert_allclose(ratio(made(), "open loop", "50 steps"), [0.4] * 3)


@pytest.mark.parametrize(
    ("claim", "errors", "outcome"),
    [
        ("filter-picks-the-best", {}, "supported"),
        ("filter-picks-the-best", {"argmax": 0.0232}, "undecided"),
        ("filter-picks-the-best", {"oracle": 0.0305, "argmax": 0.031}, "undecided"),
        ("filter-picks-the-best", {"argmax": 0.046}, "refuted"),
        ("pipeline-is-precise", {}, "supported"),
        ("pipeline-is-precise", {"mean": 0.02}, "undecided"),
        ("pipeline-is-precise", {"mean": 0.051}, "refuted"),
        ("filter-beats-the-mean", {}, "refuted"),
        ("filter-beats-the-mean", {"mean": 0.024}, "supported"),
        ("filter-survives-chance-columns", {}, "supported"),
        ("filter-survives-chance-columns", {"whole": 0.04}, "undecided"),
        ("filter-survives-chance-columns", {"whole": 0.046}, "refuted"),
        ("filter-holds-open-loop", {}, "supported"),
        ("filter-holds-open-loop", {"drift": 0.05}, "refuted"),
    ],
)
def test_outcomes(claim, errors, outcome):
    assert verdicts(made(**errors))[claim].outcome == outcome
