"""A conjunction of five signals: how long a trainer's batch takes, and how much more than the bare array expression.

Both are timed in one sitting, turn about, and the best of each counts: what else the machine does only ever adds.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from rewardlab.transforms import Centre, Conjunction, Fixed, LogSigmoid, MeanCentred, Pipeline, chain

REFERENCES = {"helpful": 0.5, "harmless": -0.2, "honest": 1.0, "brief": 0.0, "formatted": 0.3}
PIPELINE = Pipeline(
    {name: chain(Centre(Fixed(reference)), LogSigmoid()) for name, reference in REFERENCES.items()},
    combine=Conjunction(),
)
GROUPED = Pipeline(PIPELINE.signals, combine=Conjunction(), advantage=MeanCentred())
TRAINER_BATCH, TARGET_SECONDS = 1024, 1e-3
MANY, TARGET_RATIO = 10**6, 1.2


def bare_numpy(signals):
    total = 0
    for name, reference in REFERENCES.items():
        margin = signals[name] - reference
        total = total + (np.minimum(margin, 0) - np.log1p(np.exp(-np.abs(margin))))
    return total


def bare_torch(signals):
    total = 0
    for name, reference in REFERENCES.items():
        total = total + logsigmoid(signals[name] - reference)
    return total


BARE = {"numpy": bare_numpy, "torch": bare_torch}


def batch(library, samples):
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=samples) * 3 for name in REFERENCES}
    return drawn if library == "numpy" else {name: torch.tensor(values) for name, values in drawn.items()}


def best_seconds(*calls, rounds=15):
    """The best time of each call, turn about, after one round that does not count."""
    best = [float("inf")] * len(calls)
    for turn in range(rounds + 1):
        for place, call in enumerate(calls):
            started = time.perf_counter()
            call()
            seconds = time.perf_counter() - started
            if turn:
                best[place] = min(best[place], seconds)
    return best


@pytest.mark.parametrize("pipeline", [PIPELINE, GROUPED], ids=["rewards", "rewards and advantages"])
@pytest.mark.parametrize("library", BARE)
def test_a_trainers_batch(benchmark, library, pipeline):
    signals = batch(library, TRAINER_BATCH)
    ids = np.repeat(np.arange(TRAINER_BATCH // 8), 8) if pipeline.needs_groups else None
    benchmark(pipeline, signals, group_ids=ids)
    assert benchmark.stats.stats.min < TARGET_SECONDS


@pytest.mark.parametrize("library", BARE)
def test_a_million_values_beside_the_bare_expression(library, capsys):
    # In a process whose allocator keeps what it was given: or else fresh pages, which the kernel clears one by one and
    # which fall to one side or the other by the luck of the heap's layout, cost more than the mathematics.
    keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(10**10), "MALLOC_TOP_PAD_": str(10**8)}
    environment = os.environ | keep | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, __file__, library], env=environment, capture_output=True, text=True, check=True
    )
    ours, theirs = (float(part) for part in done.stdout.split())
    with capsys.disabled():
        print(f"\n{library}: {ours * 1e3:.1f} ms, bare {theirs * 1e3:.1f} ms, ratio {ours / theirs:.2f}")
    assert ours / theirs <= TARGET_RATIO


def compare_at_a_million(library):
    signals, bare = batch(library, MANY), BARE[library]
    np.testing.assert_allclose(PIPELINE(signals).rewards, bare(signals), rtol=1e-12)
    print(*best_seconds(lambda: PIPELINE(signals), lambda: bare(signals)))


if __name__ == "__main__":
    compare_at_a_million(sys.argv[1])
