"""Random batches of completions for the tests of this folder."""

from types import SimpleNamespace

import torch


def batch(seed=0, samples=8, tokens=6, group=4, spread=0.3, dtype=torch.float64):
    """Log-probabilities under policy, old policy and reference, lengths from 1 to `tokens`, and rewards."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    lengths = torch.randint(1, tokens + 1, (samples,), generator=generator)
    mask = torch.arange(tokens) < lengths[:, None]
    old = torch.where(mask, -normal(samples, tokens).abs() - 0.1, 0.0)
    return SimpleNamespace(
        lengths=lengths,
        mask=mask,
        group_ids=torch.arange(samples) // group,
        rewards=normal(samples),
        advantages=torch.where(mask, normal(samples, tokens), 0.0),
        old=old,
        log_probs=torch.where(mask, old + spread * normal(samples, tokens), 0.0),
        reference=torch.where(mask, old + spread * normal(samples, tokens), 0.0),
    )
