"""Speed of the published study's unit: one pair of rewards, S=32, A=4, 210 distances and exact regrets.

Times are CPU seconds of one thread (run with OMP_NUM_THREADS=1, as `make bench` does); what is asserted are the bounds
the project promises and the ratio to the same mathematics in bare NumPy, measured in turn in the same run.
"""

import subprocess
import sys
import time

import numpy as np
import pytest

from rewardlab.distance import PUBLISHED_FAMILY, distance_table, starc
from rewardlab.exact import FiniteMDP, interpolate_rewards, random_reward, symmetric_greedy_regret
from tests.benchmarks import bare_study

DISCOUNT, STEPS = 0.95, 16
# pairs the bare version handles at once: its tables then stay in a core's cache, which is its best case
BARE_CHUNK = 16


@pytest.fixture(scope="module")
def study():
    """One world with 12 pairs of independent rewards, interpolated in 16 steps: 192 pairs."""
    mdp = FiniteMDP.random(discount=DISCOUNT, rng=1)
    start, end = (random_reward(mdp, batch=12, sparse=False, rng=seed) for seed in (2, 3))
    steps = interpolate_rewards(start, end, STEPS)
    return mdp, np.repeat(start, STEPS, axis=0), steps.reshape(-1, 32, 4, 32)


def library(mdp, a, b):
    return distance_table(mdp, a, b).distance, symmetric_greedy_regret(mdp, a, b)


def bare(mdp, a, b):
    parts = [
        (
            bare_study.distances(
                mdp.transition, DISCOUNT, a[start : start + BARE_CHUNK], b[start : start + BARE_CHUNK]
            ),
            bare_study.regrets(mdp.transition, DISCOUNT, a[start : start + BARE_CHUNK], b[start : start + BARE_CHUNK]),
        )
        for start in range(0, len(a), BARE_CHUNK)
    ]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def cpu_seconds(function, *arguments, repeats=5):
    """Median CPU time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function(*arguments)
        times.append(time.process_time() - start)
    return float(np.median(times))


def test_bare_version_computes_the_same(study):
    for ours, theirs in zip(library(*study), bare(*study), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def test_a_pair_costs_at_most_three_and_a_half_milliseconds(study, record_property):
    pairs = len(study[1])
    ours = cpu_seconds(library, *study) / pairs
    plain = cpu_seconds(bare, *study) / pairs
    record_property("milliseconds_a_pair", ours * 1e3)
    record_property("ratio_to_bare", ours / plain)
    print(f"\n210 distances and regrets: {ours * 1e3:.2f} ms a pair, {ours / plain:.2f} x bare NumPy")
    assert ours <= 3.5e-3
    assert ours <= 1.5 * plain


def test_with_all_minimal_potentials_at_most_sixty_milliseconds(study):
    mdp, a, b = study[0], study[1][:32], study[2][:32]
    family = (*PUBLISHED_FAMILY, "minimal_potential")
    ours = cpu_seconds(lambda: distance_table(mdp, a, b, canonicalisers=family), repeats=3) / len(a)
    print(f"\nwith all six minimal potentials: {ours * 1e3:.1f} ms a pair")
    assert ours <= 60e-3


def test_ten_thousand_pairs_stay_under_two_gigabytes():
    script = """
import resource, numpy as np
from rewardlab.distance import compare_all
from rewardlab.exact import FiniteMDP
mdp = FiniteMDP.random(rng=0)
rng = np.random.default_rng(1)
a, b = rng.standard_normal((10_000, 32, 4, 32)), rng.standard_normal((10_000, 32, 4, 32))
frame = compare_all(mdp, a, b)
assert len(frame) == 2_100_000, len(frame)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    gigabytes = float(run.stdout)
    print(f"\n10,000 pairs, 2.1 million distances: peak {gigabytes:.2f} GB, 0.66 GB of it the rewards")
    assert gigabytes < 2


def test_a_thousand_states_take_under_two_seconds_and_two_gigabytes():
    script = """
import resource, time, numpy as np
from rewardlab.distance import starc
from rewardlab.exact import FiniteMDP, potential_shaping
rng = np.random.default_rng(0)
states, actions = 1000, 8
transition = np.zeros((states, actions, states))
for _ in range(3):
    transition[np.arange(states)[:, None], np.arange(actions), rng.integers(states, size=(states, actions))] += 1 / 3
mdp = FiniteMDP(transition, discount=0.95)
reward = rng.standard_normal((states, actions, states))
shaped = 2 * reward + potential_shaping(mdp, rng.standard_normal(states))
start = time.perf_counter()
distance = float(starc(mdp, reward, shaped))
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, distance)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, gigabytes, distance = (float(word) for word in run.stdout.split())
    print(f"\nS=1000, A=8: {seconds:.2f} s, peak {gigabytes:.2f} GB")
    assert distance < 1e-10
    assert seconds < 2
    assert gigabytes < 2


@pytest.mark.benchmark(group="one pair")
def test_one_pair(benchmark, study):
    mdp, a, b = study[0], study[1][0], study[2][0]
    benchmark(starc, mdp, a, b)


@pytest.mark.benchmark(group="192 pairs, 210 distances and regrets")
@pytest.mark.parametrize("version", [library, bare], ids=["library", "bare"])
def test_study_unit(benchmark, study, version):
    benchmark.pedantic(version, args=study, rounds=3)
