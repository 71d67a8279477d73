"""Passes of texts through a causal language model: mean hidden states, and logits of a few next tokens."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

__all__ = ["answer_logits", "hidden_means"]


@torch.inference_mode()
def hidden_means(
    model: Any, tokenizer: Any, texts: Sequence[str], layer: int, batch: int
) -> Float[np.ndarray, "texts width"]:
    """Output of a layer, averaged over a text's tokens.

    Args:
        model: Of transformers.
        tokenizer: The model's.
        texts: At least one; one without tokens (the empty text) has a vector of zeros.
        layer: 0 the embeddings, 1 the first layer, and so on.
        batch: Texts in one pass; texts of similar length share one.

    Raises:
        ValueError: If the model has no such layer.
    """
    tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    layers = model.config.num_hidden_layers
    if not 0 <= layer <= layers:
        raise ValueError(f"layer is {layer}, expected 0 to {layers}: the model has {layers} layers")
    means = np.zeros((len(texts), model.config.hidden_size))
    order = sorted((place for place, ids in enumerate(tokens) if ids), key=lambda place: len(tokens[place]))
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        ids, mask = _padded([tokens[place] for place in places], model.device)
        states = model.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        states = states.hidden_states[layer].double() * mask[..., None]
        means[places] = (states.sum(1) / mask.sum(1, keepdim=True)).cpu().numpy()
    return means


@torch.inference_mode()
def answer_logits(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[int], batch: int
) -> Float[np.ndarray, "prompts answers"]:
    """Logits of some tokens as the next after each prompt.

    Args:
        model: Of transformers.
        prompts: Tokens, at least one each. What all begin with is passed once and kept.
        answers: Tokens whose logits are wanted.
        batch: Prompts in one pass.
    """
    shared = _shared_start(prompts)
    logits = np.zeros((len(prompts), len(answers)))
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    head = model.get_output_embeddings()
    start = _start(model, prompts[0][:shared]) if shared else None
    for first in range(0, len(order), batch):
        places = order[first : first + batch]
        ids, mask = _padded([prompts[place][shared:] for place in places], model.device)
        past = _repeated(start, len(places)) if shared else None
        whole = torch.cat([mask.new_ones(len(places), shared), mask], dim=1)
        states = model.base_model(input_ids=ids, attention_mask=whole, past_key_values=past).last_hidden_state
        last = states[torch.arange(len(places)), mask.sum(1) - 1]
        logits[places] = head(last)[:, list(answers)].double().cpu().numpy()
    return logits


def _start(model: Any, tokens: Sequence[int]) -> Any:
    """Keys and values of what all prompts begin with."""
    ids = torch.tensor([list(tokens)], dtype=torch.long, device=model.device)
    return model.base_model(input_ids=ids, use_cache=True).past_key_values


def _repeated(start: Any, count: int) -> Any:
    """A copy of these keys and values for each of `count` prompts: a pass adds to what it is given."""
    past = copy.deepcopy(start)
    past.batch_repeat_interleave(count)
    return past


def _shared_start(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, leaving each at least one of its own."""
    shared = min(len(prompt) for prompt in prompts) - 1
    for prompt in prompts[1:]:
        while prompt[:shared] != prompts[0][:shared]:
            shared -= 1
    return shared


def _padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens filled up with 0 at the end, and which of them count."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([list(row) + [0] * (width - len(row)) for row in rows], dtype=torch.long)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=torch.long)
    return ids.to(device), mask.to(device)
