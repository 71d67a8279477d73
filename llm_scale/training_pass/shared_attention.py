"""Attention over a packed batch: prompts among themselves once, completions over their prompt and themselves.

Registered with transformers' attention interface, so that it serves every decoder that goes through it, unchanged and
with whatever adapters are in its layers.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from llm_scale.training_pass.packing import Packing

__all__ = ["enable_shared_attention", "shared_prefix_obstacle"]

PREFIX = "shared_prefix_over_"
UNSUPPORTED = ("sliding_window", "softcap", "s_aux", "position_bias")  # arguments that ask for another attention
NO_MASK = (1, 1, 1, 1)  # shape of a mask that transformers passes through as it is, and which is not read


def shared_prefix_obstacle(decoder: PreTrainedModel) -> str | None:
    """Say why a decoder cannot compute a prompt once for its group, or None if it can.

    Args:
        decoder: The model without its head.
    """
    name, config = type(decoder).__name__, decoder.config
    if not getattr(decoder, "_supports_attention_backend", False):
        return f"{name} does not go through transformers' attention interface"
    other = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    if other:
        return f"{name} has layers of type {', '.join(sorted(other))}"
    if getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None) is not None:
        return f"{name} attends within a sliding window of {config.sliding_window} tokens"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return f"{name} caps its attention's logits"
    return None


def enable_shared_attention(decoder: PreTrainedModel) -> None:
    """Make a decoder's attention use a `packing` where it is passed one, and be as it was for every other call.

    It stays that way, rather than for one call, because gradient checkpointing runs the layers again in the backward
    pass. A second call does nothing.
    """
    before = decoder.config._attn_implementation
    if before.startswith(PREFIX):
        return
    name = PREFIX + before
    if name not in ALL_ATTENTION_FUNCTIONS:

        def attention(module, query, key, value, attention_mask, packing=None, **kwargs):
            if packing is not None:
                return _packed_attention(module, query, key, value, packing, **kwargs)
            usual = ALL_ATTENTION_FUNCTIONS.get_interface(before, _eager(module))
            return usual(module, query, key, value, attention_mask, **kwargs)

        AttentionInterface.register(name, attention)
        if before in ALL_MASK_ATTENTION_FUNCTIONS:
            ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[before])
    decoder.config._attn_implementation = name


def _eager(module: nn.Module):
    """The plain attention that a model's own file defines, for models set to "eager"."""
    import sys

    return sys.modules[type(module).__module__].eager_attention_forward


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: Packing,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[Tensor, None]:
    """Attend as the packing says.

    Args:
        module: The attention layer, unused.
        query: (1, H, N, d).
        key: (1, K, N, d), each of the K heads serving H / K of the query's.
        value: As `key`.
        packing: The layout of the N tokens.
        scaling: Factor of the products, 1 / sqrt(d) if None.
        dropout: Of attention weights.
        kwargs: What else the model passes; refused where it asks for an attention that this is not.

    Returns:
        (1, N, H, d), and no weights.
    """
    for name in UNSUPPORTED:
        if kwargs.get(name) is not None:
            raise ValueError(f"{name} is {kwargs[name]!r}, expected none; such a model needs shared_prefix=False")
    packing.calls += 1
    query, key, value = (heads[0].transpose(0, 1) for heads in (query, key, value))  # (N, heads, d)
    options = {"scale": scaling, "dropout_p": dropout}
    tokens = packing.prompt_tokens
    q, k, v = (_rows(heads, tokens).transpose(1, 2) for heads in (query, key, value))
    out = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, **options)
    padded = [out.transpose(1, 2).flatten(0, 1)]
    own = packing.completion_tokens
    if own.shape[1]:
        seen = torch.cat([tokens.repeat_interleave(packing.group, dim=0), own], dim=1)
        q, k, v = _rows(query, own), _rows(key, seen), _rows(value, seen)
        padded.append(_grouped_heads(q, k, v, packing.visible, options).flatten(0, 1))
    return torch.cat(padded).index_select(0, packing.unpadded)[None], None


def _rows(heads: Tensor, tokens: Tensor) -> Tensor:
    """Gather (N, heads, d) at (batch, L) tokens: (batch, L, heads, d)."""
    return heads.index_select(0, tokens.flatten()).unflatten(0, tokens.shape)


def _grouped_heads(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, options: dict) -> Tensor:
    """Attention of (B, T, H, d) over (B, S, K, d): the H / K heads that share a key become rows of one head."""
    batch, length, heads, width = query.shape
    shared = heads // key.shape[2]
    q = query.unflatten(2, (-1, shared)).permute(0, 2, 3, 1, 4).reshape(batch, -1, shared * length, width)
    mask = visible.expand(batch, shared, length, -1).reshape(batch, 1, shared * length, -1)
    out = scaled_dot_product_attention(q, key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask, **options)
    return out.unflatten(2, (shared, length)).permute(0, 3, 1, 2, 4).reshape(batch, length, heads, width)
