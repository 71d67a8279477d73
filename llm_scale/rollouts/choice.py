"""One step of sampling: from logits to a token and its log-probability."""

import torch
from torch import Tensor

__all__ = ["choose_tokens"]


def choose_tokens(logits: Tensor, temperature: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw one token a row from softmax(logits / temperature), or take the likeliest.

    A token is drawn as the argmax of exp(log p) / e with e standard exponential, which has exactly the probabilities p
    (the Gumbel-max trick, without the logarithms of noise); one pass over the vocabulary, no cumulative sums.

    Args:
        logits: (rows, vocabulary).
        temperature: 0 takes the likeliest token (the first one of a tie).
        generator: Where the noise comes from; not touched at temperature 0.

    Returns:
        Tokens (rows,), int64, and their log-probabilities (rows,), at `temperature`, or at 1 where that is 0; in
        float32, or float64 for logits in float64.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, _chosen(logits, tokens)
    if temperature != 1:
        logits = logits / temperature
    weights = torch.exp(logits - logits.amax(-1, keepdim=True))
    noise = torch.empty_like(weights).exponential_(generator=generator)
    tokens = weights.div_(noise).argmax(-1)
    return tokens, _chosen(logits, tokens)


def _chosen(logits: Tensor, tokens: Tensor) -> Tensor:
    return logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1)
