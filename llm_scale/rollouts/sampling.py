"""Completions of prompts, sampled from a language model, with the log-probability of every token."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm_scale.rollouts.cached_engine import cached_tokens
from llm_scale.rollouts.completions import Completions
from llm_scale.rollouts.decoder_weights import why_not_cached
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
    dtype: torch.dtype | None = None,
) -> Completions:
    """Sample `group` completions of every prompt.

    Both engines draw the same samples from the same generator, up to rounding: a sample changes only where its random
    number falls between two roundings of the same probability. At temperature 0 both take the likeliest token.

    Args:
        lm: Model and tokenizer; dropout is off while it samples.
        prompts: Token ids of every prompt (P).
        group: Samples a prompt, G.
        max_new_tokens: Where a completion is cut if it has not ended by itself.
        temperature: Of softmax(logits / temperature), which the log-probabilities are of as well; 0 takes the
            likeliest token, and gives log-probabilities at temperature 1.
        generator: Where the samples' randomness comes from, one number for every sample and step; on the CPU or on the
            model's device. Not touched at temperature 0.
        engine: "cached" is fast and works for Llama-like decoders, adapted by LoRA or not; "generate" is Hugging Face's
            `generate`, which works for every causal language model; "auto" takes the first where it works.
        dtype: Number type to compute in, such as bfloat16; by default the weights'. Log-probabilities are of what was
            computed.

    Returns:
        `Completions` of P * G rows.

    Raises:
        TypeError: If prompts are text instead of token ids.
        ValueError: If a prompt is empty, or too long for the model's context with `max_new_tokens` after it; if an
            argument is out of its range; or if "cached" is asked for and does not work for this model.
    """
    prompts = _checked_prompts(lm, prompts, group, max_new_tokens, temperature)
    model = lm.base
    draw = _engine(model, engine)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            ids, log_probs = draw(
                model,
                prompts,
                group=group,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                end_ids=lm.end_ids,
                pad_id=lm.pad_id,
                generator=generator,
                dtype=dtype,
            )
    finally:
        model.train(training)
    return _completions(prompts, group, ids, log_probs, lm.end_ids, lm.pad_id)


def _engine(model: PreTrainedModel, engine: str) -> Callable[..., tuple[Tensor, Tensor]]:
    if engine not in ("auto", "cached", "generate"):
        raise ValueError(f"engine is {engine!r}, expected 'auto', 'cached' or 'generate'")
    reason = None if engine == "generate" else why_not_cached(model)
    if engine == "cached" and reason is not None:
        raise ValueError(f"engine 'cached' does not work for this model: {reason}; expected 'auto' or 'generate'")
    return generate_tokens if engine == "generate" or reason is not None else cached_tokens


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
