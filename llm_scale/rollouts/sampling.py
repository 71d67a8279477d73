"""Completions of prompts, sampled from a language model, with the log-probability of every token."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from llm_scale.rollouts.completions import Completions
from llm_scale.rollouts.generate_engine import generate_tokens

if TYPE_CHECKING:
    from llm_scale.models.language_model import LanguageModel

__all__ = ["sample"]


def sample(
    lm: "LanguageModel",
    prompts: Sequence[Sequence[int]],
    *,
    group: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator,
    engine: Literal["auto", "cached", "generate"] = "auto",
) -> Completions:
    """Sample `group` completions of every prompt."""
    prompts = _checked_prompts(lm, prompts, group, max_new_tokens, temperature)
    with torch.inference_mode():
        ids, log_probs = generate_tokens(
            lm.base,
            prompts,
            group=group,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            end_ids=lm.end_ids,
            pad_id=lm.pad_id,
            generator=generator,
        )
    return _completions(prompts, group, ids.clone(), log_probs.clone(), lm.end_ids, lm.pad_id)


def _completions(
    prompts: list[list[int]], group: int, ids: Tensor, log_probs: Tensor, end_ids: Sequence[int], pad_id: int
) -> Completions:
    ends = torch.isin(ids, torch.tensor(list(end_ids), device=ids.device, dtype=ids.dtype))
    mask = ends.long().cumsum(1) - ends.long() == 0  # nothing before it has ended the completion
    return Completions(
        prompts, group, ids.masked_fill(~mask, pad_id), mask, log_probs.masked_fill(~mask, 0.0), (ends & mask).any(1)
    )


def _checked_prompts(
    lm: "LanguageModel", prompts: Sequence[Sequence[int]], group: int, max_new_tokens: int, temperature: float
) -> list[list[int]]:
    for name, value in {"group": group, "max_new_tokens": max_new_tokens}.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a whole number of at least 1")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature is {temperature!r}, expected a finite number, 0 (greedy) or above")
    if isinstance(prompts, str) or any(isinstance(prompt, str) for prompt in prompts):
        raise TypeError("prompts: expected lists of token ids, got text; LanguageModel.encode makes ids of it")
    if not len(prompts):
        raise ValueError("prompts is empty, expected at least one prompt")
    for index, prompt in enumerate(prompts):
        if not len(prompt):
            raise ValueError(f"prompts[{index}] is empty, expected at least one token to continue from")
        if len(prompt) + max_new_tokens > lm.context:
            raise ValueError(
                f"prompts[{index}] has {len(prompt)} tokens, and with max_new_tokens {max_new_tokens} it would pass "
                f"the model's context of {lm.context}, expected at most {lm.context - max_new_tokens}"
            )
    return [list(map(int, prompt)) for prompt in prompts]
