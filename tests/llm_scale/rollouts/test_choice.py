import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llm_scale.rollouts.choice import choose_tokens, draw_uniforms

VOCABULARIES = [1, 7, 255, 256, 257, 512]


def logits_of(size, seed, spread=3.0):
    return spread * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", VOCABULARIES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_an_even_grid_of_uniforms_gives_every_token_its_share(size, temperature):
    """The share of [0, 1) that leads to a token is its probability: read off exactly from where the tokens change."""
    logits = logits_of(size, size)
    points = 8_000
    uniforms = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    tokens, log_probs = choose_tokens(logits.expand(points, size), temperature, uniforms)
    exact = (logits / temperature).softmax(-1)
    shares = tokens.bincount(minlength=size) / points
    assert (shares - exact).abs().max() < 2 / points  # a point more or less at either edge of the interval
    torch.testing.assert_close(log_probs, exact.log()[tokens], rtol=0, atol=1e-12)


def test_samples_have_the_probabilities_of_the_softmax():
    """Chi-square over 120 000 draws of 300 tokens; the generator is fixed, so this passes or fails for good."""
    logits, draws = logits_of(300, 1, spread=1.0), 120_000
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(300, dtype=torch.long)
    for _ in range(4):
        uniforms = draw_uniforms(draws // 4, 1.0, generator, torch.device("cpu"))
        counts += choose_tokens(logits.float().expand(draws // 4, 300), 1.0, uniforms)[0].bincount(minlength=300)
    expected = logits.softmax(-1).numpy() * draws
    assert expected.min() > 5
    assert stats.chisquare(counts.numpy(), expected * (draws / expected.sum())).pvalue > 0.001


def test_a_worked_case():
    """p = (1/2, 1/4, 1/4): u = .1 and .49 give token 0, .5 and .74 token 1, .75 and .99 token 2."""
    logits = torch.tensor([4.0, 2.0, 2.0]).log().expand(6, 3)
    tokens, log_probs = choose_tokens(logits, 1.0, torch.tensor([0.1, 0.49, 0.5001, 0.74, 0.7501, 0.99]).double())
    assert tokens.tolist() == [0, 0, 1, 1, 2, 2]
    torch.testing.assert_close(log_probs, torch.tensor([2.0, 2, 4, 4, 4, 4]).log().neg())


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(1.0, 0.0), 1.0])  # 1.0: what rounding may make of a share
@pytest.mark.parametrize("size", [3, 300, 512])
def test_a_token_without_probability_is_never_drawn(uniform, size):
    logits = torch.zeros(1, size)
    logits[0, 0] = logits[0, -1] = -torch.inf
    logits[0, : size // 3] = -torch.inf
    logits[0, -(size // 3) :] = -torch.inf
    token, log_prob = choose_tokens(logits, 1.0, torch.tensor([uniform], dtype=torch.float64))
    assert logits[0, token] == 0
    assert math.isfinite(log_prob.item())


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_large_logits_do_not_overflow(shift):
    logits = torch.tensor([[0.0, -200.0, 0.0]]) + shift
    token, log_prob = choose_tokens(logits, 1.0, torch.tensor([0.9], dtype=torch.float64))
    assert token.item() == 2
    assert log_prob.item() == pytest.approx(-math.log(2), abs=1e-6)


@given(st.integers(1, 600), st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_greedy_takes_the_first_highest_logit_and_its_log_prob(size, seed, dtype):
    logits = logits_of(size, seed).to(dtype)[None]
    token, log_prob = choose_tokens(logits, 0.0, None)
    assert token.item() == logits[0].argmax().item()
    assert log_prob.item() == pytest.approx(logits[0].double().log_softmax(-1)[token].item(), abs=1e-6)
    assert log_prob.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@given(st.integers(2, 600), st.integers(0, 2**31), st.floats(0, 1, exclude_max=True))
def test_the_token_is_where_the_distribution_function_passes_the_uniform(size, seed, uniform):
    logits = logits_of(size, seed)
    token = choose_tokens(logits[None], 1.0, torch.tensor([uniform], dtype=torch.float64))[0].item()
    running = np.concatenate(([0.0], np.cumsum(logits.softmax(-1).numpy())))
    assert running[token] - 1e-12 <= uniform <= running[token + 1] + 1e-12


def test_uniforms_are_one_a_sample_and_none_for_greedy_choice():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert draw_uniforms(5, 0, generator, torch.device("cpu")) is None
    assert torch.equal(generator.get_state(), before)
    uniforms = draw_uniforms(5, 1.0, generator, torch.device("cpu"))
    assert uniforms.shape == (5,) and uniforms.dtype == torch.float64


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_refused(wrong, temperature):
    logits = torch.zeros(3, 4)
    logits[1, 2] = wrong
    with pytest.raises(ValueError, match=r"logits\[1\] are not finite .* the weights may have diverged"):
        choose_tokens(logits, temperature, torch.full((3,), 0.5, dtype=torch.float64))
