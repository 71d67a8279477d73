"""Log-probabilities of chosen tokens without ever holding the logits of all positions at once.

The logits of a batch, positions x vocabulary, are the largest tensor of a training step by far (512 positions of a
vocabulary of 49,152 take 100 MB, once for the logits, once for their softmax and once for their gradient). Only one
number of each row is wanted, so rows go through the head in chunks, and the backward pass computes each chunk again.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["chosen_log_probs"]

CHUNK_BYTES = 2**26  # of logits at once: enough rows that reading the head's weight costs little beside the product


def chosen_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    rows: Tensor | None = None,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of a token under each row's softmax, and that softmax's entropy.

    The gradient to `hidden` and `weight` is exact; entropies carry none. Half precision is multiplied as it is and
    summed in float32; the results are float32, or float64 where `hidden` is.

    Args:
        hidden: Last hidden states, (R, d).
        weight: Weight of the head, (V, d); logits are `hidden @ weight.T / temperature`.
        targets: The tokens, (N,), each in 0..V-1.
        rows: The row of `hidden` that predicts each target, (N,), where several targets share a row: the first tokens
            of a group's completions all follow the same prompt. None: N = R, a target a row.
        temperature: Divides the logits, > 0.
        chunk: Rows at once; None takes as many as 64 MiB of logits hold.

    Returns:
        Log-probabilities (N,), in nats, and entropies (N,), in nats and detached.

    Raises:
        ValueError: If shapes do not fit together, a target or row is out of range, or the temperature is not positive.

    Example:
        >>> hidden, weight = torch.zeros(2, 3), torch.ones(4, 3)
        >>> log_probs, entropies = chosen_log_probs(hidden, weight, torch.tensor([0, 3]))
        >>> log_probs  # a uniform choice of four: -log 4
        tensor([-1.3863, -1.3863])
    """
    _check(hidden, weight, targets, rows, temperature, chunk)
    if rows is None:
        rows = torch.arange(len(targets), device=targets.device)
    if chunk is None:
        chunk = max(1, CHUNK_BYTES // (4 * len(weight)))
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    return _ChosenLogProbs.apply(hidden, weight.to(hidden.dtype), targets, rows, float(temperature), chunk)


def _check(hidden, weight, targets, rows, temperature, chunk) -> None:
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)} and weight {tuple(weight.shape)}: expected (rows, d) and (vocabulary, d)"
        )
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is {chunk}, expected at least 1 row")
    count = len(hidden) if rows is None else len(rows)
    if targets.shape != (count,):
        raise ValueError(f"targets has shape {tuple(targets.shape)}, expected ({count},): one for each row")
    _check_range("targets", targets, len(weight))
    if rows is not None:
        _check_range("rows", rows, len(hidden))


def _check_range(name: str, values: Tensor, limit: int) -> None:
    outside = (values < 0) | (values >= limit)
    if outside.any():
        place = int(outside.nonzero()[0])
        raise ValueError(f"{name}[{place}] is {int(values[place])}, expected 0 to {limit - 1}")


class _ChosenLogProbs(torch.autograd.Function):
    """A row's log Z and probabilities are computed once a chunk; targets are read from, and written to, their rows."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, rows, temperature, chunk):
        precise = torch.promote_types(hidden.dtype, torch.float32)
        log_normaliser = torch.empty(len(hidden), dtype=precise, device=hidden.device)
        entropy = torch.empty_like(log_normaliser)
        chosen = torch.empty(len(targets), dtype=precise, device=hidden.device)
        order, bounds = _targets_by_chunk(rows, len(hidden), chunk)
        for start, (first, last) in zip(range(0, len(hidden), chunk), bounds, strict=True):
            stop = min(start + chunk, len(hidden))
            logits = _logits(hidden[start:stop], weight, temperature)
            here = order[first:last]
            chosen[here] = logits[rows[here] - start, targets[here]]
            highest = logits.amax(dim=1, keepdim=True)
            shares = logits.sub_(highest).exp()
            total = shares.sum(dim=1)
            log_total = total.log()
            log_normaliser[start:stop] = highest[:, 0] + log_total
            # a logit of -inf has share 0 and adds nothing, where 0 x inf would be NaN
            entropy[start:stop] = log_total - shares.mul_(logits.nan_to_num_(neginf=0.0)).sum(dim=1) / total
        ctx.save_for_backward(hidden, weight, targets, rows, log_normaliser)
        ctx.temperature, ctx.chunk = temperature, chunk
        entropies = entropy[rows]
        ctx.mark_non_differentiable(entropies)
        return chosen - log_normaliser[rows], entropies

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):
        hidden, weight, targets, rows, log_normaliser = ctx.saved_tensors
        temperature, chunk = ctx.temperature, ctx.chunk
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=log_normaliser.dtype) if ctx.needs_input_grad[1] else None
        row_grad = torch.zeros_like(log_normaliser).index_add_(0, rows, grad)
        order, bounds = _targets_by_chunk(rows, len(hidden), chunk)
        for start, (first, last) in zip(range(0, len(hidden), chunk), bounds, strict=True):
            stop = min(start + chunk, len(hidden))
            logits = _logits(hidden[start:stop], weight, temperature)
            slope = logits.sub_(log_normaliser[start:stop, None]).exp_().mul_(-row_grad[start:stop, None])
            here = order[first:last]
            slope.index_put_((rows[here] - start, targets[here]), grad[here], accumulate=True)
            slope = slope.div_(temperature).to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(slope, weight, out=grad_hidden[start:stop])
            if grad_weight is not None:
                _add_product(grad_weight, slope, hidden[start:stop])
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None, None


def _logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    logits = torch.mm(hidden, weight.t()).to(torch.promote_types(hidden.dtype, torch.float32))
    return logits if temperature == 1.0 else logits.div_(temperature)


def _add_product(total: Tensor, slope: Tensor, hidden: Tensor) -> None:
    if total.dtype == slope.dtype:
        total.addmm_(slope.t(), hidden)
    else:
        total += torch.mm(slope.t(), hidden)


def _targets_by_chunk(rows: Tensor, count: int, chunk: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """Targets sorted by row, and where each chunk's targets begin and end among them."""
    order = torch.argsort(rows, stable=True)
    starts = torch.arange(0, count + chunk, chunk, device=rows.device).clamp_(max=count)
    edges = torch.searchsorted(rows[order], starts).tolist()
    return order, list(pairwise(edges))[: -(-count // chunk)]
