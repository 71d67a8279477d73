"""Distances from samples: continuous states, models, torch, chunks, seeds, and what is refused."""

import warnings

import numpy as np
import pytest
import torch

from rewardlab.distance.canonical import dard_canonical
from rewardlab.distance.sampled_canonical import dard_by_sampling
from rewardlab.distance.sampling import (
    sample_dard,
    sample_dard_distances,
    sample_epic,
    sample_epic_distances,
    sample_srrd,
    sample_srrd_distances,
)
from rewardlab.distance.transitions import Transitions, cover_transitions
from rewardlab.exact.mdp import FiniteMDP
from tests.distance.test_sampling import DISCOUNT, deterministic_mdp, entries, functions, random_rewards, shaped


def continuous(count=200, rng=0):
    generator = np.random.default_rng(rng)
    states, actions = generator.normal(size=(count, 2)), generator.normal(size=(count, 2))
    return Transitions(states, actions, states + actions + 0.1 * generator.normal(size=(count, 2)))


def goal(s, a, n, end):
    return -((n - 1) ** 2).sum(-1)


def goal_shaped(s, a, n, end):
    return 2 * goal(s, a, n, end) + DISCOUNT * (n**3).sum(-1) - (s**3).sum(-1)


def effort(s, a, n, end):
    return -(a**2).sum(-1)


def drift(states, actions, rng):
    return states + actions + 0.1 * rng.normal(size=tuple(states.shape))


@pytest.mark.parametrize("samples", [1, 16])
def test_continuous_states(samples):
    rewards, data = {"goal": goal, "shaped": goal_shaped, "effort": effort}, continuous()
    epic = sample_epic_distances(rewards, data, DISCOUNT, canonical_samples=samples)
    dard = sample_dard_distances(rewards, data, DISCOUNT, successors=drift, canonical_samples=samples)
    assert max(epic[0, 1], dard[0, 1]) <= 2e-8
    assert min(epic[0, 2], dard[0, 2]) > 0.1


def test_dard_with_a_model_converges_to_the_tabular_form():
    mdp = deterministic_mdp()
    tables, data = random_rewards(mdp), cover_transitions(mdp)
    following = mdp.transition.argmax(axis=-1)
    ours = dard_by_sampling(
        functions(tables), data, DISCOUNT, lambda s, a, rng: following[s, a], canonical_samples=30_000
    )
    np.testing.assert_allclose(ours, entries(dard_canonical(mdp, tables), data), atol=0.05)


def test_torch_agrees_with_numpy():
    data = continuous(60)
    tensors = Transitions(*(torch.tensor(getattr(data, name)) for name in ("states", "actions", "next_states")))
    rewards = [goal, goal_shaped, effort]

    def torch_drift(states, actions, rng):
        return torch.tensor(drift(states.numpy(), actions.numpy(), rng))

    for distances, ours, theirs in [
        (sample_epic_distances, {"canonical_samples": 20}, {"canonical_samples": 20}),
        (sample_dard_distances, {"successors": drift}, {"successors": torch_drift}),
    ]:
        expected = distances(rewards, data, DISCOUNT, **ours)
        np.testing.assert_allclose(distances(rewards, tensors, DISCOUNT, **theirs), expected, atol=1e-10)
    mdp = deterministic_mdp()
    tables, cover = random_rewards(mdp), cover_transitions(mdp)
    tensors = Transitions(*(torch.tensor(getattr(cover, name)) for name in ("states", "actions", "next_states")))
    for distance in (sample_epic, sample_dard, sample_srrd):
        expected = distance(*functions(tables), cover, DISCOUNT)
        assert distance(*functions(torch.tensor(tables)), tensors, DISCOUNT) == pytest.approx(expected, abs=1e-10)


def test_rewards_are_told_that_nothing_ends():
    data = cover_transitions(FiniteMDP.random(5, 2, clean=True, episodic=True, rng=0))
    assert data.terminated.any()
    told = []

    def reward(s, a, n, end):
        told.append(bool(end.any()))
        return (s * n + a).astype(float)

    for distance in (sample_epic, sample_dard, sample_srrd):
        distance(reward, reward, data, DISCOUNT)
    assert not any(told)


@pytest.mark.parametrize("distances", [sample_epic_distances, sample_dard_distances, sample_srrd_distances])
def test_a_trivial_reward_is_flagged_and_has_no_distance(distances):
    mdp = deterministic_mdp()
    table = random_rewards(mdp, 1)
    rewards = dict(zip(["real", "shaping"], functions(np.concatenate([table, shaped(0 * table, 1)])), strict=True))
    options = {"missing": "evaluate"} if distances is sample_srrd_distances else {}
    with pytest.warns(RuntimeWarning, match="reward 'shaping' is trivial on these transitions"):
        d = distances(rewards, cover_transitions(mdp), DISCOUNT, **options)
    np.testing.assert_array_equal(np.isnan(d), [[False, True], [True, True]])


@pytest.mark.filterwarnings("ignore:reward .* is trivial")  # what is left of `goal` without its future
def test_data_that_never_come_back_are_reported():
    with pytest.warns(RuntimeWarning, match="no next state of the data is the state of another transition"):
        sample_dard(goal, effort, continuous(), DISCOUNT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample_dard(goal, effort, continuous(), DISCOUNT, successors=drift)


@pytest.mark.parametrize("distance", [sample_epic, sample_dard])
def test_samples_follow_the_seed(distance):
    options = {"successors": drift} if distance is sample_dard else {}

    def progress(s, a, n, end):
        return (s * n).sum(-1)

    ours = [
        distance(progress, effort, continuous(), DISCOUNT, rng=seed, canonical_samples=5, **options)
        for seed in (1, 1, 2)
    ]
    assert ours[0] == ours[1] != ours[2]


def test_one_call_covers_all_chunks(monkeypatch):
    rewards, data = [goal, effort], continuous(40)
    whole = [sample_epic(*rewards, data, DISCOUNT), sample_dard(*rewards, data, DISCOUNT, successors=drift)]
    for module in ("sampled_canonical", "transition_index", "observed_canonical"):
        monkeypatch.setattr(f"rewardlab.distance.{module}.ROWS_AT_ONCE", 7)
    parts = [sample_epic(*rewards, data, DISCOUNT), sample_dard(*rewards, data, DISCOUNT, successors=drift)]
    np.testing.assert_allclose(parts, whole, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r, d: sample_epic(*r, d, 1.5), r"discount is 1.5, expected a number in \[0, 1\]"),
        (lambda r, d: sample_dard(*r, d, -0.1), r"discount is -0.1"),
        (
            lambda r, d: sample_srrd(*r, d, 0.9, missing="zero"),
            "missing is 'zero', expected one of 'evaluate'|Type-check error",
        ),
        (lambda r, d: sample_epic(*r, d, 0.9, canonical_samples=0), "canonical_samples is 0"),
        (lambda r, d: sample_epic(*r, d, 0.9, missing="found", canonical_samples=5), "which draws no samples"),
        (
            lambda r, d: sample_epic(r[0], np.zeros((6, 3, 6)), d, 0.9),
            "'reward_b' is a ndarray, expected|Type-check error",
        ),
        (lambda r, d: sample_epic_distances([], d, 0.9), "rewards is empty"),
        (
            lambda r, d: sample_dard(*r, d, 0.9, successors=lambda s, a, rng: s[:3]),
            r"successors returned ndarray \(3,\)",
        ),
        (lambda r, d: sample_epic(r[0], lambda s, a, n, end: s / 0.0, d, 0.9), "'reward_b' is .* at row 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered in")
def test_bad_input_says_what_is_wrong(call, message):
    mdp = deterministic_mdp()
    with pytest.raises((ValueError, TypeError), match=message):
        call(functions(random_rewards(mdp)), cover_transitions(mdp))
