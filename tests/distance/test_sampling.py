"""Sample-based distances against naive nested loops, the tabular closed forms, worked numbers and their invariances."""

import itertools
from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.distance.canonical import dard_canonical, epic_canonical, srrd_canonical
from rewardlab.distance.observed_canonical import dard_from_data, epic_from_data, srrd_from_data
from rewardlab.distance.pearson import pearson_distance
from rewardlab.distance.sampled_canonical import epic_by_sampling
from rewardlab.distance.sampling import (
    sample_dard,
    sample_dard_distances,
    sample_epic,
    sample_epic_distances,
    sample_srrd,
    sample_srrd_distances,
)
from rewardlab.distance.transitions import Transitions, cover_transitions, tabular_reward, visit_transitions
from rewardlab.exact.mdp import FiniteMDP

DISCOUNT = 0.9
seeds = st.integers(0, 10**6)


def deterministic_mdp(states=6, actions=3, rng=0):
    """Every state is reached, so that it is both an origin and an arrival."""
    generator = np.random.default_rng(rng)
    following = generator.integers(states, size=(states, actions))
    following[:, 0] = generator.permutation(states)
    return FiniteMDP(np.eye(states)[following], DISCOUNT)


def random_rewards(mdp, count=2, rng=0):
    return np.random.default_rng(rng).normal(size=(count, mdp.states, mdp.actions, mdp.states))


def functions(tables):
    return [tabular_reward(table) for table in tables]


def entries(tables, transitions):
    return tables[:, transitions.states, transitions.actions, transitions.next_states]


def shaped(tables, rng, scale=1.0):
    potential = np.random.default_rng(rng).normal(size=tables.shape[-1])
    return scale * tables + DISCOUNT * potential - potential[:, None, None]


def uniform_draws(states, actions, count, rng):
    generator = np.random.default_rng(rng)
    return Transitions(*(generator.integers(size, size=count) for size in (states, actions, states)))


# Naive oracles: dictionaries and nested loops over one reward


class Data:
    """Averages over observed transitions, one number at a time."""

    def __init__(self, transitions, table, missing):
        self.table, self.missing = table, missing
        self.rows = list(
            zip(
                transitions.states.tolist(), transitions.actions.tolist(), transitions.next_states.tolist(), strict=True
            )
        )
        self.actions = sorted({a for _, a, _ in self.rows})
        self.share = {a: sum(b == a for _, b, _ in self.rows) / len(self.rows) for a in self.actions}
        self.after = defaultdict(list)
        for name in ("step", "expected", "two_steps", "jump"):
            setattr(self, name, cache(getattr(self, name)))
        for s, a, z in self.rows:
            self.after[s, a].append(z)

    def step(self, s):
        """[(weight, action, next state)] under the actions' shares, weights summing to 1."""
        seen = [a for a in self.actions if self.after[s, a]]
        total = sum(self.share[a] for a in seen)
        return [(self.share[a] / total / len(self.after[s, a]), a, z) for a in seen for z in self.after[s, a]]

    def expected(self, s):
        return sum(w * self.table[s, a, z] for w, a, z in self.step(s))

    def two_steps(self, s):
        """[(weight, state)] after two steps, weights summing to 1."""
        ends = [(w * v, y) for w, _, x in self.step(s) for v, _, y in self.step(x)]
        total = sum(w for w, _ in ends)
        return [(w / total, y) for w, y in ends]

    def jump(self, x, y, action=None):
        """Reward of a jump, or None where it was not observed."""
        if self.missing == "evaluate":
            share = self.share if action is None else {action: 1}
            return sum(weight * self.table[x, a, y] for a, weight in share.items())
        seen = [self.table[s, a, z] for s, a, z in self.rows if (s, z) == (x, y) and action in (None, a)]
        return sum(seen) / len(seen) if seen else None

    def mean(self, jumps):
        """Mean of [(weight, reward or None)]; what is missing counts as 0 with set_size, and is left out otherwise."""
        if self.missing != "set_size":
            jumps = [(w, r) for w, r in jumps if r is not None]
        total = sum(w for w, _ in jumps)
        return sum(w * (r or 0) for w, r in jumps) / total if total else 0


def oracle_epic(transitions, table, missing):
    data = Data(transitions, table, missing)
    states = [s for s, _, _ in data.rows]
    p = {x: data.mean([(1, data.jump(x, y)) for y in states]) for x in {*states, *(z for _, _, z in data.rows)}}
    overall = data.mean([(1, data.jump(x, y)) for x in states for y in states])
    return [table[s, a, z] + DISCOUNT * p[z] - p[s] - DISCOUNT * overall for s, a, z in data.rows]


def oracle_dard(transitions, table, missing):
    data = Data(transitions, table, missing)

    def meeting(s, z):
        return data.mean(
            [
                (data.share[a] / len(data.after[s, a]) / len(data.after[z, a]), data.jump(x, y, a))
                for a in data.actions
                for x in data.after[s, a]
                for y in data.after[z, a]
            ]
        )

    return [table[s, a, z] + DISCOUNT * (data.expected(z) - meeting(s, z)) - data.expected(s) for s, a, z in data.rows]


def oracle_srrd(transitions, table, missing):
    data = Data(transitions, table, missing)
    leaving, arriving = {s for s, _, _ in data.rows}, {z for _, _, z in data.rows}

    def second(s):
        first = data.step(s)
        if missing == "set_size":
            return data.mean([(w * v, data.jump(x, y)) for w, _, x in first for v, y in data.two_steps(s)])
        return data.mean([(w, data.expected(x) if x in leaving else None) for w, _, x in first]) if first else 0

    def out_of(starts, s):
        return data.mean([(w, data.jump(x, y)) for x in starts for w, y in data.two_steps(s)])

    overall = data.mean([(1, data.jump(x, y)) for x in leaving for y in arriving])
    return [
        table[s, a, z]
        + DISCOUNT * data.expected(z)
        - data.expected(s)
        - DISCOUNT * overall
        + DISCOUNT**2 * (second(z) - out_of(arriving, z))
        + DISCOUNT * (out_of(leaving, s) - second(s))
        for s, a, z in data.rows
    ]


ORACLES = [
    pytest.param(epic_from_data, oracle_epic, "found", id="epic-found"),
    pytest.param(epic_from_data, oracle_epic, "set_size", id="epic-set_size"),
    *(
        pytest.param(*pair, missing, id=f"{name}-{missing}")
        for name, pair in {"dard": (dard_from_data, oracle_dard), "srrd": (srrd_from_data, oracle_srrd)}.items()
        for missing in ("evaluate", "found", "set_size")
    ),
]


@pytest.mark.filterwarnings("ignore:no next state")
@pytest.mark.parametrize(("ours", "oracle", "missing"), ORACLES)
@pytest.mark.parametrize("count", [1, 4, 12, 60])
@pytest.mark.parametrize("seed", range(5))
def test_equals_nested_loops_on_any_data(ours, oracle, missing, count, seed):
    mdp = deterministic_mdp(5, 2)
    tables = random_rewards(mdp, rng=seed)
    data = uniform_draws(5, 2, count, seed)  # repeated, missing and unbalanced transitions
    expected = [oracle(data, table, missing) for table in tables]
    np.testing.assert_allclose(ours(functions(tables), data, DISCOUNT, missing=missing), expected, atol=1e-12)


# The tabular closed forms


@pytest.mark.parametrize("seed", range(5))
def test_full_coverage_of_a_deterministic_world_gives_the_closed_forms(seed):
    mdp = deterministic_mdp(rng=seed)
    tables, data = random_rewards(mdp, rng=seed), cover_transitions(mdp)
    rewards = functions(tables)
    dard = dard_from_data(rewards, data, DISCOUNT, missing="evaluate")
    srrd = srrd_from_data(rewards, data, DISCOUNT, missing="evaluate")
    np.testing.assert_allclose(dard, entries(dard_canonical(mdp, tables), data), atol=1e-12)
    np.testing.assert_allclose(srrd, entries(srrd_canonical(mdp, tables), data), atol=1e-12)


@pytest.mark.parametrize("missing", ["evaluate", "found", "set_size"])
def test_every_transition_once_is_a_world_of_uniform_jumps(missing):
    world = FiniteMDP(np.full((5, 3, 5), 1 / 5), DISCOUNT)
    tables, data = random_rewards(world), cover_transitions(world, among="all")
    for canonical, distances in [
        (epic_canonical, sample_epic_distances),
        (dard_canonical, sample_dard_distances),
        (srrd_canonical, sample_srrd_distances),
    ]:
        expected = pearson_distance(*canonical(world, tables).reshape(2, -1))
        assert distances(functions(tables), data, DISCOUNT, missing=missing)[0, 1] == pytest.approx(expected, abs=1e-12)


def test_published_two_state_example_on_real_transitions():
    transition = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    mdp, tables = FiniteMDP(transition, DISCOUNT), np.zeros((2, 2, 2, 2))
    tables[0, 0, 1, 1] = tables[1, 1, 0, 1] = 1
    rewards = functions(tables)
    assert sample_epic(*rewards, cover_transitions(mdp, among="all"), DISCOUNT) == pytest.approx(0.749443, abs=5e-7)
    assert sample_dard(*rewards, cover_transitions(mdp), DISCOUNT) == pytest.approx(0.509566, abs=5e-7)


def test_estimates_converge_to_the_tabular_distances():
    mdp = FiniteMDP.random(6, 3, clean=True, discount=DISCOUNT, rng=1)
    tables = random_rewards(mdp, rng=1)
    rewards, data = functions(tables), visit_transitions(mdp, 60_000, rng=0)
    counts = np.zeros((6, 3, 6))
    np.add.at(counts, (data.states, data.actions, data.next_states), 1)
    arriving = counts.sum(axis=(0, 1)) > 0
    states = np.arange(6)
    for exact, estimate in [
        (epic_canonical(mdp, tables), sample_epic(*rewards, data, DISCOUNT, states=states, canonical_samples=20_000)),
        (dard_canonical(mdp, tables), sample_dard(*rewards, data, DISCOUNT)),
        (
            srrd_canonical(mdp, tables, arrival_distribution=arriving / arriving.sum()),
            sample_srrd(*rewards, data, DISCOUNT, missing="evaluate"),
        ),
    ]:
        expected = pearson_distance(*exact.reshape(2, -1), counts.ravel())
        assert estimate == pytest.approx(float(expected), abs=0.01)


def six_state_example():
    mdp = FiniteMDP.random(6, 3, discount=DISCOUNT, rng=0)
    tables = random_rewards(mdp, rng=0)
    return tables, float(pearson_distance(*epic_canonical(mdp, tables).reshape(2, -1)))


@pytest.mark.parametrize(("count", "low", "high"), [(64, 0.02, 0.06), (512, 0.007, 0.022), (4096, 0.0025, 0.008)])
def test_error_of_sample_epic_falls_with_the_root_of_the_samples(count, low, high):
    tables, truth = six_state_example()
    rewards = functions(tables)
    error = [
        sample_epic(*rewards, uniform_draws(6, 3, count, seed), DISCOUNT, canonical_samples=count, rng=seed) - truth
        for seed in range(40)
    ]
    assert low < np.std(error) < high
    assert abs(np.mean(error)) < 3 * high / np.sqrt(40) + 0.3 / count


# Invariances


@given(seeds, st.integers(1, 40), st.integers(1, 20), st.floats(0.01, 100))
def test_equivalent_rewards_have_epic_distance_0_with_any_number_of_samples(seed, count, samples, scale):
    tables = random_rewards(deterministic_mdp(5, 2), 1, seed)
    rewards = functions(np.concatenate([tables, shaped(tables, seed, scale)]))
    canonical = epic_by_sampling(
        rewards, uniform_draws(5, 2, count, seed), DISCOUNT, canonical_samples=samples, rng=seed
    )
    np.testing.assert_allclose(canonical[1], scale * canonical[0], atol=1e-10 * (1 + scale))


@pytest.mark.parametrize("samples", [1, 8, 64, 512])
def test_samples_are_shared_between_rewards(samples):
    tables = random_rewards(deterministic_mdp(), 1)
    rewards = functions(np.concatenate([tables, shaped(tables, 1, 3.0)]))
    data = uniform_draws(6, 3, 512, 0)
    assert sample_epic(*rewards, data, DISCOUNT, canonical_samples=samples) <= 2e-8
    apart = [
        epic_by_sampling([reward], data, DISCOUNT, canonical_samples=samples, rng=seed)[0]
        for seed, reward in enumerate(rewards)
    ]
    assert pearson_distance(*apart) > 0.01  # what samples of their own would say of the same two rewards


def full_coverage(method, mdp):
    """Canonical form of each method where it loses nothing: every state has outgoing data for every action."""
    data = cover_transitions(mdp, among="all" if method == "found" else "possible")
    return {
        "epic": (sample_epic_distances, data, {}),
        "dard": (sample_dard_distances, data, {}),
        "srrd": (sample_srrd_distances, data, {"missing": "evaluate"}),
        "found": (sample_srrd_distances, data, {"missing": "found"}),
    }[method]


@pytest.mark.parametrize("method", ["epic", "dard", "srrd", "found"])
@given(seed=seeds, scale=st.floats(0.01, 100))
def test_pseudometric_blind_to_shaping_and_positive_scale(method, seed, scale):
    mdp = deterministic_mdp(4, 2, rng=seed)
    tables = random_rewards(mdp, 3, seed)
    distances, data, options = full_coverage(method, mdp)
    rewards = functions(np.concatenate([tables, shaped(tables[:1], seed, scale), -shaped(tables[:1], seed)]))
    d = distances(rewards, data, DISCOUNT, **options)
    np.testing.assert_array_equal(d, d.T)
    np.testing.assert_allclose(np.diag(d), 0, atol=1e-12)
    assert d[0, 3] <= 2e-8
    assert d[0, 4] == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(d[3], d[0], atol=1e-7)
    for i, j, k in itertools.permutations(range(3)):
        assert d[i, j] <= d[i, k] + d[k, j] + 1e-9


@given(seeds)
def test_a_constant_is_shaping_where_the_discount_is_below_1(seed):
    mdp = deterministic_mdp(4, 2, rng=seed)
    table = random_rewards(mdp, 1, seed)[0]
    data = cover_transitions(mdp)
    for distance in (sample_epic, sample_dard, sample_srrd):
        assert distance(tabular_reward(table), tabular_reward(table + 5), data, DISCOUNT) <= 1e-7


def test_sparse_data_break_the_invariance_of_found_but_not_of_epic():
    mdp = deterministic_mdp()
    tables = random_rewards(mdp, 1)
    rewards = functions(np.concatenate([tables, shaped(tables, 1)]))
    data = cover_transitions(mdp, 0.2, among="all", rng=0)
    assert sample_epic(*rewards, data, DISCOUNT) <= 2e-8
    assert sample_srrd(*rewards, data, DISCOUNT) > 1e-3


# Continuous states, torch, trivial rewards, errors
