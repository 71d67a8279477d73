"""The samples of a batch of prompts: token ids, which of them count, and their log-probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Completions"]


@dataclass(frozen=True, eq=False)
class Completions:
    """Completions of P prompts, G each: row b answers prompt b // G; B = P * G rows, T = tokens of the longest.

    Args:
        prompts: Token ids of each prompt (P).
        group: Samples a prompt, G.
        ids: Token ids (B, T), int64, padded on the right.
        mask: (B, T), bool: the completion's own tokens, the token that ended it included.
        log_probs: (B, T), of every token under the policy that sampled it; 0 where not `mask`.
        ended: (B,), bool: False where the limit of tokens cut the completion short.

    Raises:
        ValueError: If the shapes do not fit together.
    """

    prompts: list[list[int]]
    group: int
    ids: Tensor
    mask: Tensor
    log_probs: Tensor
    ended: Tensor

    def __post_init__(self):
        rows = len(self.prompts) * self.group
        if self.ids.ndim != 2 or self.ids.shape[0] != rows:
            raise ValueError(
                f"ids has shape {tuple(self.ids.shape)}, expected ({rows}, tokens): "
                f"{len(self.prompts)} prompts x {self.group} samples"
            )
        for name, shape in {"mask": self.ids.shape, "log_probs": self.ids.shape, "ended": self.ids.shape[:1]}.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}, expected {tuple(shape)}")

    @property
    def samples(self) -> int:
        """Number of samples, B."""
        return self.ids.shape[0]

    @property
    def lengths(self) -> Tensor:
        """Tokens of every completion (B,), the one that ended it included."""
        return self.mask.sum(1)

    def prompt_of(self, row: int) -> list[int]:
        """Return the token ids of the prompt that sample `row` answers."""
        return self.prompts[row // self.group]

    def completion_of(self, row: int) -> list[int]:
        """Return the token ids of sample `row`, without padding."""
        return self.ids[row, self.mask[row]].tolist()

    def of_prompts(self, places: Sequence[int]) -> "Completions":
        """Return the samples of some prompts, in the order of `places`, without columns that pad all of them."""
        rows = torch.tensor([place * self.group + sample for place in places for sample in range(self.group)]).long()
        rows = rows.to(self.ids.device)
        width = max(int(self.mask[rows].sum(1).max()), 1) if len(rows) else 1
        parts = (part[rows, :width] for part in (self.ids, self.mask, self.log_probs))
        return Completions([self.prompts[place] for place in places], self.group, *parts, self.ended[rows])

    @staticmethod
    def concatenated(batches: Sequence["Completions"], *, pad_id: int) -> "Completions":
        """Return the samples of several batches of one group size as one batch, padded to the longest."""
        width = max(batch.ids.shape[1] for batch in batches)
        padding = {"ids": pad_id, "mask": False, "log_probs": 0.0}
        parts = {
            name: torch.cat(
                [pad(getattr(batch, name), (0, width - batch.ids.shape[1]), value=value) for batch in batches]
            )
            for name, value in padding.items()
        }
        prompts = [prompt for batch in batches for prompt in batch.prompts]
        return Completions(prompts, batches[0].group, **parts, ended=torch.cat([batch.ended for batch in batches]))
