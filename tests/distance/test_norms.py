"""Norms against loops, and what makes them norms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.distance import NORMS, norm, val_canonical
from rewardlab.exact import FiniteMDP
from tests.strategies import scales, seeds, worlds, worlds_and_rewards


def norm_by_loops(mdp, table, order):
    one, square, largest, weighted = 0.0, 0.0, 0.0, order.startswith("weighted")
    for s, a, z in np.ndindex(table.shape):
        weight = (0.0 if mdp.terminal[s] else mdp.transition[s, a, z]) if weighted else 1.0
        size = abs(table[s, a, z])
        one, square, largest = one + weight * size, square + weight * size**2, max(largest, weight * size)
    return {"1": one, "2": math.sqrt(square), "f": largest}[order[-1]]


@given(worlds_and_rewards(scale=scales))
def test_agrees_with_loops(world):
    mdp, table = world
    for order in NORMS:
        assert norm(mdp, table, order) == pytest.approx(norm_by_loops(mdp, table, order), rel=1e-12, abs=0)


@given(worlds_and_rewards(2, scale=st.just(1.0)), st.floats(-1e3, 1e3))
def test_norm_axioms(world, factor):
    mdp, x, y = world
    for order in NORMS:
        size = norm(mdp, x, order)
        assert size >= 0
        assert norm(mdp, factor * x, order) == pytest.approx(abs(factor) * size, rel=1e-12)
        assert norm(mdp, x + y, order) <= size + norm(mdp, y, order) + 1e-12
        assert order.startswith("weighted") or not x.any() or size > 0


@given(worlds_and_rewards(sparse=(1.0,)))
def test_weighted_norms_of_a_level_form_are_those_of_one_next_state(world):
    """Root of order p of S lies between the plain and the weighted norm of a form that is constant over next states."""
    mdp, reward = world
    form = val_canonical(mdp, reward)
    assert norm(mdp, form, "1") == pytest.approx(mdp.states * norm(mdp, form, "weighted_1"), rel=1e-9)
    assert norm(mdp, form, "2") == pytest.approx(math.sqrt(mdp.states) * norm(mdp, form, "weighted_2"), rel=1e-9)


@given(worlds(), seeds)
def test_terminal_states_weigh_nothing(mdp, seed):
    table = np.where(mdp.terminal[:, None, None], np.random.default_rng(seed).normal(size=mdp.transition.shape), 0)
    assert all(norm(mdp, table, order) == 0 for order in NORMS[3:])


def test_batches_broadcast():
    many = FiniteMDP.random(4, 3, batch=2, rng=0)
    table = np.random.default_rng(0).normal(size=(5, 1, 4, 3, 4))
    for order in NORMS:
        together = np.broadcast_to(norm(many, table, order), (5, 2))
        for r, w in np.ndindex(5, 2):
            assert together[r, w] == pytest.approx(float(norm(many[w], table[r, 0], order)), rel=1e-13)
