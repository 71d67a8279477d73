"""4,096 x 512 step scores refined, accumulated and placed on tokens: how long, and how much more than bare arrays.

Both are timed in one sitting on one thread, turn about, and the best of each counts: what else the machine does only
ever adds. The bare torch expression takes 12 ms or 30, by the luck of whether its results get fresh pages; ours checks
every score, end and mask, which the bare ones do not.
"""

import numpy as np
import pytest
import torch

from rewardlab.process import place_on_tokens, refine, reward_to_go
from tests.benchmarks.test_pipeline_speed import best_seconds

SAMPLES, STEPS, TOKENS, THRESHOLD = 4096, 512, 1024, 0.7
MOST_SECONDS = 40e-3  # 15 to 31 where this was written
MOST_TIMES = {"numpy": 1.3, "torch": 1.7}


def bare_numpy(scores, mask, ends):
    rows, last = np.arange(SAMPLES), mask.sum(-1) - 1
    clipped = np.where(mask, np.minimum(scores - np.float32(THRESHOLD), 0), 0)
    clipped[rows, last] = 0
    refined = clipped.copy()
    refined[:, :-1] -= clipped[:, 1:]
    returns = np.cumsum(refined[:, ::-1], axis=-1)[:, ::-1]
    placed = np.zeros((SAMPLES, TOKENS), scores.dtype)
    np.put_along_axis(placed, np.where(mask, ends, ends[rows, last][:, None]), returns, axis=1)
    placed[rows, ends[rows, last]] = returns[rows, last]  # written over by the padding
    return placed


def bare_torch(scores, mask, ends):
    rows, last = torch.arange(SAMPLES), mask.sum(-1) - 1
    clipped = ((scores - THRESHOLD).clamp(max=0)).where(mask, 0.0)
    clipped[rows, last] = 0
    refined = clipped.clone()
    refined[:, :-1] -= clipped[:, 1:]
    returns = refined.flip(1).cumsum(1).flip(1).where(mask, 0.0)
    return torch.zeros(SAMPLES, TOKENS).scatter_add_(1, ends.where(mask, 0), returns)


BARE = {"numpy": bare_numpy, "torch": bare_torch}


def batch(library, ragged):
    rng = np.random.default_rng(0)
    scores = rng.random((SAMPLES, STEPS), dtype=np.float32)
    lengths = rng.integers(STEPS // 2, STEPS + 1, SAMPLES) if ragged else np.full(SAMPLES, STEPS)
    ends = np.sort(rng.permuted(np.tile(np.arange(TOKENS), (SAMPLES, 1)), axis=1)[:, :STEPS], axis=1)
    parts = scores, np.arange(STEPS) < lengths[:, None], ends
    return parts if library == "numpy" else tuple(map(torch.tensor, parts))


def ours(scores, mask, ends):
    refined = refine(scores, mask, "clip_delta", threshold=THRESHOLD)
    return place_on_tokens(reward_to_go(refined, mask), mask, ends, TOKENS)


@pytest.mark.parametrize("ragged", [False, True], ids=["all steps", "ragged"])
@pytest.mark.parametrize("library", BARE)
def test_a_large_batch_beside_the_bare_expression(library, ragged, capsys):
    parts, bare = batch(library, ragged), BARE[library]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        np.testing.assert_allclose(np.asarray(ours(*parts)), np.asarray(bare(*parts)), atol=1e-5)
        found, theirs = best_seconds(lambda: ours(*parts), lambda: bare(*parts))
    finally:
        torch.set_num_threads(threads)
    with capsys.disabled():
        print(f"\n{library}: {found * 1e3:.1f} ms, bare {theirs * 1e3:.1f} ms, ratio {found / theirs:.2f}")
    assert found / theirs <= MOST_TIMES[library]
    assert found < MOST_SECONDS
