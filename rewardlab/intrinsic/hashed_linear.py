"""A linear model of hashed words: learns from few labels, and costs next to nothing."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.message_features import bag_offsets, hashed_features

__all__ = ["HashedLinear"]


class HashedLinear(nn.Module):
    """Scores of a message: sums of the weights of its words and word pairs, over the root of their number, plus a bias.

    All weights begin at 0, so that every message scores 0 until something is learned.

    Args:
        outputs: Scores for each message: 2 for classification, 1 for ranking.
        buckets: Buckets that words are hashed into.

    Raises:
        ValueError: If a number is below 1.
    """

    rows_at_once = 16_384  # bounds memory

    def __init__(self, *, outputs: int, buckets: int = 2048):
        super().__init__()
        self.outputs = check_scalar("outputs", outputs, low=1, whole=True)
        self.buckets = check_scalar("buckets", buckets, low=1, whole=True)
        self.weight = nn.Parameter(torch.zeros(buckets, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One row for each message, to be kept and put together by `forward`."""
        return hashed_features(texts, self.buckets)

    def forward(self, rows: Sequence[np.ndarray]) -> Float[Tensor, "rows outputs"]:
        """Scores of messages, from what `encode` made of them."""
        flat, offsets = (torch.from_numpy(part).to(self.weight.device) for part in bag_offsets(rows))
        lengths = torch.diff(offsets, append=offsets.new_tensor([len(flat)])).to(self.weight.dtype)
        sums = functional.embedding_bag(flat, self.weight, offsets, mode="sum")
        return sums / lengths.sqrt()[:, None] + self.bias
