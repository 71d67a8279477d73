import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rewardlab.dynamics.draws import StepDraws, uniform_index


def sampled(rows=6, outputs=3, seed=0, dtype=torch.float32):
    return StepDraws.sample(rows, outputs, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_shapes_and_dtypes():
    draws = sampled(dtype=torch.float64)
    assert draws.choice.shape == (6,) and draws.choice.dtype == torch.float64
    assert draws.own.shape == (6, 3) and draws.own.dtype == torch.float64
    assert draws.all_noise(4).shape == (6, 4, 3) and draws.all_noise(4).dtype == torch.float64
    assert sampled().own.dtype == torch.float32


@given(st.integers(1, 20), st.integers(1, 12), st.integers(0, 10**6))
def test_the_noise_of_the_uniform_candidate_is_the_plain_models_own(rows, candidates, seed):
    draws = sampled(rows, seed=seed)
    noise = draws.all_noise(candidates)
    assert torch.equal(noise[torch.arange(rows), uniform_index(draws.choice, candidates)], draws.own)
    assert torch.equal(noise, draws.all_noise(candidates))


def test_asking_for_all_noise_does_not_touch_the_shared_stream():
    after = []
    for candidates in (None, 1, 10, 15):
        generator = torch.Generator().manual_seed(3)
        draws = StepDraws.sample(5, 2, generator=generator)
        if candidates is not None:
            draws.all_noise(candidates)
        after.append(generator.get_state())
    assert all(torch.equal(after[0], state) for state in after[1:])


@given(st.integers(2, 30), st.integers(1, 6), st.data())
def test_a_rows_draws_do_not_depend_on_which_other_rows_are_left(rows, candidates, data):
    draws = sampled(rows)
    kept = torch.tensor(data.draw(st.lists(st.integers(0, rows - 1), min_size=1, unique=True).map(sorted)))
    some = draws.at(kept)
    assert torch.equal(some.choice, draws.choice[kept]) and torch.equal(some.own, draws.own[kept])
    assert torch.equal(some.all_noise(candidates), draws.all_noise(candidates)[kept])
    assert torch.equal(some.at(torch.tensor([0])).all_noise(candidates), draws.all_noise(candidates)[kept[:1]])


def test_noise_is_standard_normal_and_independent_of_the_choice():
    draws = sampled(20_000, 2)
    noise = draws.all_noise(5).numpy()
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(draws.choice.numpy(), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(np.c_[noise.reshape(len(noise), -1), draws.choice.numpy()], rowvar=False)
    assert np.abs(correlations - np.eye(11)).max() < 0.035  # 5 standard errors


def test_steps_differ():
    generator = torch.Generator().manual_seed(0)
    first, second = (StepDraws.sample(4, 2, generator=generator) for _ in range(2))
    assert not torch.equal(first.own, second.own) and first.seed != second.seed
    assert not (first.all_noise(3) == second.all_noise(3)).any()


@pytest.mark.parametrize("candidates", [1, 3, 10, 15])
def test_uniform_index_is_even_and_in_range(candidates):
    edges = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert uniform_index(edges, candidates).tolist() == [0, candidates - 1]
    grid = (torch.arange(candidates * 8, dtype=torch.float64) + 0.5) / (candidates * 8)
    assert torch.bincount(uniform_index(grid, candidates)).tolist() == [8] * candidates
