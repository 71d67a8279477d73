"""The ways of choosing among candidates, on an ensemble whose candidates are known, and what verdicts follow."""

import numpy as np
import pandas as pd
import pytest
import torch

from paper_figures.mujoco_prediction import verdicts
from paper_figures.mujoco_prediction_study import (
    ARGMAX,
    CHEETAH,
    HOPPER,
    HORIZON,
    MEAN,
    NEW,
    ORACLE,
    SAMPLE,
    SOFTMAX,
    TASKS,
    Comparison,
)
from rewardlab.dynamics.ensemble import GaussianEnsemble
from tests.dynamics.linear_tables import linear_table


def comparison(judge, deviation=(2.0, 1.0)):
    """An ensemble of no layers that predicts no change, with a standard deviation of e^0.25."""
    ensemble = GaussianEnsemble(2, 1, hidden=(), generator=torch.Generator().manual_seed(0)).requires_grad_(False)
    for weight in ensemble.weights:
        weight.zero_()
    ensemble.biases[-1][..., 3:] = 50.0
    return Comparison(
        ensemble, {ARGMAX: judge, SOFTMAX: judge}, torch.tensor(deviation), torch.Generator().manual_seed(1)
    )


def nearness(observations, actions, candidates):
    return -candidates.square().sum(dim=-1)  # likes what is near 0


def errors(rows):
    return {row["chooser"]: row["value"] for row in rows if row["horizon"] == 1}


def test_errors_one_step_ahead_are_those_of_the_candidates():
    rows = {name: np.zeros((4000, size), np.float32) for name, size in (("observations", 2), ("actions", 1))}
    found = errors(comparison(nearness).one_step({**rows, "next_observations": rows["observations"]}))
    expected = np.exp(0.25) * np.sqrt((0.25 + 1) / 2)
    assert found[SAMPLE] == pytest.approx(expected, rel=0.03)
    assert found[MEAN] == 0
    assert found[ORACLE] < found[ARGMAX] < found[SOFTMAX] < found[SAMPLE]  # the judge weighs numbers otherwise


def test_a_number_that_never_changes_has_no_error():
    rows = {name: np.zeros((50, size), np.float32) for name, size in (("observations", 2), ("actions", 1))}
    found = errors(comparison(nearness, (2.0, 0.0)).one_step({**rows, "next_observations": rows["observations"]}))
    assert all(np.isfinite(value) for value in found.values())


def test_open_loop_feeds_predictions_back():
    table = linear_table(120, episode=30)
    found = comparison(nearness).open_loop(table, 8)
    by_step = pd.DataFrame(found).pivot_table(index="horizon", columns="chooser", values="value")
    assert list(by_step.index) == list(range(1, HORIZON + 1))
    possible = np.flatnonzero(table.steps <= 30 - HORIZON)
    places = possible[np.linspace(0, len(possible) - 1, 8).astype(int)]
    for steps in (1, 7, HORIZON):  # the mean predicts that nothing ever changes
        moved = (table.next_observations[places + steps - 1] - table.observations[places]) / [2.0, 1.0]
        assert by_step.loc[steps, MEAN] == pytest.approx(np.sqrt(np.mean(moved**2)), rel=1e-5)
    assert by_step.loc[HORIZON, SAMPLE] > 2 * by_step.loc[1, SAMPLE]  # a random walk


def frame(argmax, *, seeds=3, mean=0.3, calibrated=0.9):
    rows = []
    for task in TASKS:
        for seed in range(seeds):
            wobble = 1 + 0.01 * seed
            at = {SAMPLE: 1.0, ARGMAX: argmax[task], MEAN: mean, ORACLE: 0.5}
            for measure, horizon in (("one step", 1), ("open loop", 10)):
                rows += [(task, seed, measure, name, horizon, np.nan, value * wobble) for name, value in at.items()]
            for name, share in (("raw", 0.99), ("calibrated", calibrated)):
                rows += [(task, seed, "coverage", name, output, 0.9, share) for output in range(3)]
    return pd.DataFrame(rows, columns=["task", "seed", "measure", "chooser", "horizon", "level", "value"])


def outcomes(table):
    return [verdict.outcome for verdict in verdicts(table).values()]


def test_verdicts():
    same = dict.fromkeys(TASKS, 0.7)
    assert outcomes(frame(same)) == ["supported"] * 6
    assert outcomes(frame(same, seeds=2)) == ["undecided"] * 6
    elsewhere = verdicts(frame({**same, NEW: 0.95}))
    assert elsewhere["filter-beats-sample"].outcome == elsewhere["filter-helps-open-loop"].outcome == "supported"
    assert elsewhere["filter-generalises"].outcome == "refuted"
    assert elsewhere["filter-generalises"].value == pytest.approx(0.95)
    here = verdicts(frame({**same, CHEETAH: 0.95}))
    assert here["filter-beats-sample"].outcome == here["half-of-the-gap"].outcome == "refuted"
    assert here["filter-generalises"].outcome == here["mean-beats-filter"].outcome == "supported"
    assert verdicts(frame(same, mean=0.8))["mean-beats-filter"].outcome == "refuted"
    assert verdicts(frame(same, calibrated=0.8))["calibration-carries-over"].outcome == "refuted"
    assert HOPPER in here["filter-beats-sample"].sentence
