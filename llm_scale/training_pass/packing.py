"""A batch of prompts and completions laid out as one sequence without padding, each prompt in it once.

The tokens of prompt 0, of its first completion, of its second, ..., of prompt 1, and so on: everything in a decoder
but its attention treats each token by itself, so a batch in this layout costs what its tokens cost and no more.
Attention alone needs to know which tokens a token may see, and gets the layout for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

__all__ = ["Packing", "check_batch", "pack"]


@dataclass
class Packing:
    """Where each token of a batch lies among N packed ones.

    `Lp` is the longest prompt and `Tc` the longest completion as far as it is fed to the model. Indices of padding
    point at some token, which does no harm: no token attends to it, and no result is read from it.

    Args:
        ids: Tokens, (N,).
        positions: Position of each token in its own prompt plus completion, (N,).
        predictors: The packed token that predicts each completion token, (M,) for M = `mask.sum()`, in row order. First
            tokens of a group share theirs: the last one of the prompt.
        prompt_tokens: Packed tokens of each prompt, (P, Lp).
        completion_tokens: Packed tokens of each completion, (B, Tc).
        visible: The keys each completion token attends to among its prompt's and its own, (B, 1, Tc, Lp + Tc).
        group: Completions a prompt.
        unpadded: Place of each packed token in the prompts' (P * Lp) padded rows followed by the completions'
            (B * Tc) ones, (N,).
    """

    ids: Tensor
    positions: Tensor
    predictors: Tensor
    prompt_tokens: Tensor
    completion_tokens: Tensor
    visible: Tensor
    group: int
    unpadded: Tensor
    calls: int = field(default=0, compare=False)  # attention layers that used it; the pass checks that all did

    def to(self, device: torch.device | str) -> "Packing":
        """Return it with all tensors on a device."""
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.type is Tensor}
        return replace(self, **moved)


def check_batch(
    prompts: Sequence[Sequence[int]], ids: Tensor, mask: Tensor, *, group: int, vocabulary: int
) -> list[int]:
    """Return the completions' lengths in tokens, checking that prompts, completions and mask belong together.

    Raises:
        ValueError: If a prompt is empty, a token is not in 0..vocabulary-1, shapes do not fit, or the mask has gaps.
        TypeError: If `mask` is not boolean.
    """
    if group < 1 or not prompts:
        raise ValueError(f"{len(prompts)} prompts of {group} completions each, expected at least one of both")
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompts[{number}] is empty: no token predicts its completions' first one")
        if not 0 <= min(prompt) <= max(prompt) < vocabulary:
            raise ValueError(
                f"prompts[{number}] has tokens {min(prompt)} to {max(prompt)}, expected 0 to {vocabulary - 1}"
            )
    if mask.dtype != torch.bool:
        raise TypeError(f"mask is {mask.dtype}, expected torch.bool")
    if ids.ndim != 2 or len(ids) != len(prompts) * group or mask.shape != ids.shape:
        raise ValueError(
            f"ids {tuple(ids.shape)} and mask {tuple(mask.shape)}: expected ({len(prompts) * group}, T), "
            f"{group} completions for each of {len(prompts)} prompts"
        )
    unknown = mask & ((ids < 0) | (ids >= vocabulary))
    if unknown.any():
        row, column = unknown.nonzero()[0].tolist()
        raise ValueError(f"ids[{row}, {column}] is {int(ids[row, column])}, expected 0 to {vocabulary - 1}")
    lengths = mask.sum(dim=1)
    gaps = (mask != (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])).any(dim=1)
    if gaps.any():
        row = int(gaps.nonzero()[0])
        raise ValueError(f"mask[{row}] has a gap, expected the completion's {int(lengths[row])} tokens, then padding")
    return lengths.tolist()


def pack(
    prompts: Sequence[Sequence[int]], ids: Tensor, mask: Tensor, lengths: Sequence[int], *, group: int, whole: bool
) -> tuple[Packing, Tensor]:
    """Lay a batch out, each prompt once.

    Args:
        prompts: Tokens of P prompts, none empty.
        ids: Completions, (B, T), right-padded, B = P * group; row b answers prompt b // group.
        mask: Their own tokens, (B, T).
        lengths: How many those are, as `check_batch` returns them.
        group: Completions a prompt.
        whole: Also feed each completion's last token, which predicts nothing but has features of its own.

    Returns:
        The layout, and packed places, (B, 1 + T): of the prompt's last token, then of each completion token that is fed
        (-1 elsewhere).
    """
    fed = [length if whole else max(length - 1, 0) for length in lengths]
    longest_prompt, longest_fed = max(map(len, prompts)), max(fed)
    prompt_tokens = torch.zeros(len(prompts), longest_prompt, dtype=torch.long)
    completion_tokens = torch.zeros(len(fed), longest_fed, dtype=torch.long)
    unpadded, positions, predictors, place = [], [], [], 0
    places = torch.full((len(ids), 1 + ids.shape[1]), -1)
    padded_prompts = len(prompts) * longest_prompt
    for number, prompt in enumerate(prompts):
        prompt_tokens[number, : len(prompt)] = torch.arange(place, place + len(prompt))
        unpadded.append(number * longest_prompt + torch.arange(len(prompt)))
        positions.append(torch.arange(len(prompt)))
        last = place + len(prompt) - 1
        place += len(prompt)
        for row in range(number * group, (number + 1) * group):
            here = torch.arange(place, place + fed[row])
            completion_tokens[row, : fed[row]] = here
            places[row, 0], places[row, 1 : 1 + fed[row]] = last, here
            unpadded.append(padded_prompts + row * longest_fed + torch.arange(fed[row]))
            positions.append(len(prompt) + torch.arange(fed[row]))
            predictors.append(torch.cat([torch.tensor([last]), here])[: lengths[row]])
            place += fed[row]
    fed, prompt_lengths = torch.tensor(fed), torch.tensor([len(prompt) for prompt in prompts])
    is_fed = torch.arange(ids.shape[1]) < fed[:, None]
    packed = torch.empty(place, dtype=torch.long)
    packed[prompt_tokens[torch.arange(longest_prompt) < prompt_lengths[:, None]]] = torch.tensor(
        [token for prompt in prompts for token in prompt]
    )
    packed[places[:, 1:][is_fed]] = ids.cpu()[is_fed]
    packing = Packing(
        ids=packed,
        positions=torch.cat(positions),
        predictors=torch.cat(predictors),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        visible=_visible(prompt_lengths.repeat_interleave(group), longest_prompt, longest_fed),
        group=group,
        unpadded=torch.cat(unpadded),
    )
    return packing.to(ids.device), places.to(ids.device)


def _visible(prompt_lengths: Tensor, longest_prompt: int, longest_fed: int) -> Tensor:
    """A completion's token sees all of its prompt and its completion up to itself, (B, 1, Tc, Lp + Tc)."""
    prompt = torch.arange(longest_prompt) < prompt_lengths[:, None, None, None]
    own = torch.ones(longest_fed, longest_fed, dtype=torch.bool).tril()
    shape = (len(prompt_lengths), 1, longest_fed)
    return torch.cat([prompt.expand(*shape, -1), own.expand(*shape, -1)], dim=-1)
