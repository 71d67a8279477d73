"""Sampling by Hugging Face `generate`: works for every causal language model that it does, slowly."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from llm_scale.rollouts.choice import choose_tokens, draw_uniforms

__all__ = ["generate_tokens"]


class _Sampler(LogitsProcessor):
    """Draws the tokens itself, so that they come from a given generator and their log-probabilities are kept.

    `generate` then finds one token of finite score in every row, and takes it.
    """

    def __init__(self, temperature: float, generator: torch.Generator):
        self.temperature, self.generator = temperature, generator
        self.log_probs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniforms = draw_uniforms(len(scores), self.temperature, self.generator, scores.device)
        tokens, log_probs = choose_tokens(scores, self.temperature, uniforms)
        self.log_probs.append(log_probs)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def generate_tokens(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    group: int,
    max_new_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    pad_id: int,
    generator: torch.Generator,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample `group` completions of every prompt with `generate`, the prompts repeated and padded on the left.

    Returns:
        Token ids and their log-probabilities, each (P * group, steps); what follows a token of `end_ids` means nothing.
    """
    rows = [list(prompt) for prompt in prompts for _ in range(group)]
    width = max(map(len, rows))
    device = model.get_input_embeddings().weight.device
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    sampler = _Sampler(temperature, generator)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=list(end_ids), pad_token_id=pad_id, use_cache=True
    )
    usual, model.generation_config = model.generation_config, config  # its penalties would be merged into ours
    try:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=LogitsProcessorList([sampler]),
            )
    finally:
        model.generation_config = usual
    return output[:, width:], torch.stack(sampler.log_probs, 1)
