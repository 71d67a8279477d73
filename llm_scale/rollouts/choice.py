"""One step of sampling: from logits to a token and its log-probability."""

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["choose_tokens", "draw_uniforms"]

BLOCK = 256  # tokens whose probabilities are summed before any running sum is taken


def draw_uniforms(rows: int, temperature: float, generator: torch.Generator, device: torch.device) -> Tensor | None:
    """Draw what `choose_tokens` needs for one step, in [0, 1), float64; None for greedy choice.

    Every sample has its place in the draw whether it has ended or not, so what a sample becomes does not depend on
    when the others end, nor on which engine asks.
    """
    if temperature == 0:
        return None
    return torch.rand(rows, generator=generator, dtype=torch.float64, device=generator.device).to(device)


def choose_tokens(logits: Tensor, temperature: float, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    """Draw one token a row from softmax(logits / temperature), or take the likeliest.

    Inverts the distribution function at the given uniforms, first over blocks of the vocabulary, then within one
    block: two short running sums in float64 instead of one over the vocabulary, and one random number a row instead
    of one a token.

    Args:
        logits: (rows, vocabulary).
        temperature: 0 takes the likeliest token (the first one of a tie).
        uniforms: (rows,), in [0, 1); not looked at where `temperature` is 0.

    Returns:
        Tokens (rows,), int64, and their log-probabilities (rows,), at `temperature`, or at 1 where that is 0; in
        float32, or float64 for logits in float64.

    Raises:
        ValueError: If a row's logits are no distribution: not a number, infinite, or all minus infinity.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature not in (0, 1):
        logits = logits / temperature
    highest = logits.amax(-1, keepdim=True)
    weights = torch.exp(logits - highest)
    size = weights.shape[-1]
    whole = pad(weights, (0, -size % BLOCK)) if size % BLOCK else weights
    blocks = whole.view(len(weights), -1, BLOCK)
    totals = blocks.sum(-1).double().cumsum(-1)
    if not (finite := totals[:, -1].isfinite()).all():
        row = int((~finite).int().argmax())
        raise ValueError(
            f"logits[{row}] are not finite (nan or inf), so no token can be drawn; the weights may have diverged"
        )
    if temperature == 0:
        tokens = logits.argmax(-1)
    else:
        block, rest = _invert(totals, uniforms)
        within = blocks[torch.arange(len(blocks), device=blocks.device), block].double().cumsum(-1)
        tokens = block * BLOCK + _invert(within, rest)[0]
    log_probs = (logits.gather(-1, tokens[:, None]) - highest)[:, 0].double() - totals[:, -1].log()
    return tokens, log_probs.to(logits.dtype)


def _invert(running: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the piece in which a share `uniforms` of the running sum's total falls, and how far into it."""
    reached = uniforms[:, None] * running[:, -1:]
    # the last piece that has any weight, should rounding have put the share at the very end
    last = (running < running[:, -1:]).sum(-1, keepdim=True)
    index = torch.searchsorted(running, reached, right=True).minimum(last)
    after = running.gather(-1, index)
    before = torch.where(index > 0, running.gather(-1, (index - 1).clamp(min=0)), 0.0)
    return index[:, 0], ((reached - before) / (after - before))[:, 0].clamp(0, 1)
