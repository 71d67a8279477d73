"""The weights of a Llama-like decoder, laid out for sampling."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

__all__ = ["Decoder", "Layer", "Projection", "read_decoder", "why_not_cached"]

MODEL_TYPES = ("llama", "mistral", "qwen2")  # the same layers but for biases and sliding windows
ROPE_TYPES = ("default", "linear", "llama3", "yarn")  # angles that do not depend on the length of the text so far
PACK_FOR_ROWS = 16  # the layout that was fastest for 1 to 100 rows here; it changes no number's meaning


class Projection:
    """Linear maps of one input, x -> (x W1^T + b1, x W2^T + b2, ...).

    On a CPU, in float32 and bfloat16, the weights are stacked and copied once into oneDNN's blocked layout: for the
    few rows of a sampling step its product runs at more than twice the rate of `linear`'s, which reads rows of weights
    that lie side by side in memory and lays them out anew at every call.
    """

    def __init__(self, weights: list[Tensor], biases: list[Tensor | None], pack: bool):
        self.sizes = [len(weight) for weight in weights]
        self.packed = None
        if pack:
            stacked = weights[0] if len(weights) == 1 else torch.cat(weights)
            self.packed = torch.ops.mkldnn._reorder_linear_weight(stacked.contiguous(), PACK_FOR_ROWS)
            self.bias = _stacked_bias(weights, biases)
        else:
            self.maps = list(zip(weights, biases, strict=True))

    def __call__(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Map inputs (rows, in) to one tensor (rows, out) a weight."""
        if self.packed is None:
            return tuple(linear(inputs, weight, bias) for weight, bias in self.maps)
        outputs = torch.ops.mkldnn._linear_pointwise(inputs, self.packed, self.bias, "none", [], "")
        return (outputs,) if len(self.sizes) == 1 else outputs.split(self.sizes, -1)


def _stacked_bias(weights: list[Tensor], biases: list[Tensor | None]) -> Tensor | None:
    if all(bias is None for bias in biases):
        return None
    return torch.cat(
        [weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in zip(weights, biases, strict=True)]
    )


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's packed product for `dtype`, and it gives what `linear` gives."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    weight, inputs = (torch.randn(rows, 64, generator=generator).to(dtype) for rows in (96, 5))
    try:
        (packed,) = Projection([weight], [None], pack=True)(inputs)
    except (AttributeError, RuntimeError, TypeError):  # these operators are torch's own, and not promised
        return False
    return torch.allclose(packed, linear(inputs, weight), rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-3)


@dataclass
class Layer:
    """One decoder layer: norms' weights (width,), and its projections."""

    attention_norm: Tensor
    queries_keys_values: Projection
    attention_output: Projection
    inner_norm: Tensor
    gate_and_up: Projection
    down: Projection


@dataclass
class Decoder:
    """A decoder's weights and shapes: what the cached engine needs of a model."""

    embedding: Tensor
    layers: list[Layer]
    norm: Tensor
    head: Projection
    epsilon: float
    heads: int
    key_value_heads: int
    head_size: int
    rotary: nn.Module


def read_decoder(model: PreTrainedModel, *, pack: bool, dtype: torch.dtype | None = None) -> Decoder:
    """Lay out a model's weights; adapters of LoRA that are switched on are added in.

    Packed, added or rounded weights are copies, of the size of the model; others are the model's own.

    Args:
        model: One for which `why_not_cached` finds nothing.
        pack: Whether to copy the weights into a faster layout, where there is one.
        dtype: Number type to round the weights to; None leaves them.
    """
    config, backbone = model.config, model.model
    dtype = backbone.embed_tokens.weight.dtype if dtype is None else dtype
    pack = pack and model.device.type == "cpu" and can_pack(dtype)

    def projection(*modules: nn.Module) -> Projection:
        weights, biases = zip(*map(_effective, modules), strict=True)
        rounded = [None if bias is None else bias.to(dtype) for bias in biases]
        return Projection([weight.to(dtype) for weight in weights], rounded, pack)

    layers = [
        Layer(
            layer.input_layernorm.weight.to(dtype),
            projection(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
            projection(layer.self_attn.o_proj),
            layer.post_attention_layernorm.weight.to(dtype),
            projection(layer.mlp.gate_proj, layer.mlp.up_proj),
            projection(layer.mlp.down_proj),
        )
        for layer in backbone.layers
    ]
    return Decoder(
        embedding=backbone.embed_tokens.weight.to(dtype),
        layers=layers,
        norm=backbone.norm.weight.to(dtype),
        head=projection(model.lm_head),
        epsilon=config.rms_norm_eps,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        head_size=backbone.layers[0].self_attn.head_dim,
        rotary=backbone.rotary_emb,
    )


def _effective(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer, with what LoRA adds to it at the moment."""
    if type(module) is nn.Linear:
        return module.weight, module.bias
    base = module.get_base_layer()
    weight = base.weight
    if not module.disable_adapters and not module.merged:
        for name in module.active_adapters:
            if name in module.lora_A:
                weight = weight + module.get_delta_weight(name).to(weight.dtype)
    return weight, base.bias


def why_not_cached(model: PreTrainedModel) -> str | None:
    """Say what keeps the cached engine from sampling from a model; None if nothing does."""
    config = model.config
    if config.model_type not in MODEL_TYPES:
        return f"its architecture is {config.model_type!r}, expected one of {', '.join(MODEL_TYPES)}"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "it attends within a sliding window"
    if config.hidden_act not in ("silu", "swish"):
        return f"its activation is {config.hidden_act!r}, expected 'silu'"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in ROPE_TYPES:
        return f"its rotary embedding is of type {rope!r}, expected one of {', '.join(ROPE_TYPES)}"
    if len({str(parameter.device) for parameter in model.parameters()}) > 1:
        return "its weights are on several devices"
    if type(model.model.embed_tokens) is not nn.Embedding:
        return f"its embedding is a {_name(model.model.embed_tokens)}"
    return next(filter(None, map(_why_not_linear, _linear_layers(model))), None)


def _linear_layers(model: PreTrainedModel) -> Iterable[tuple[str, nn.Module]]:
    for number, layer in enumerate(model.model.layers):
        parts = {"q_proj", "k_proj", "v_proj", "o_proj"}
        yield from ((f"layers[{number}].{name}", getattr(layer.self_attn, name)) for name in sorted(parts))
        yield from (
            (f"layers[{number}].{name}", getattr(layer.mlp, name)) for name in ("gate_proj", "up_proj", "down_proj")
        )
    yield "lm_head", model.lm_head


def _why_not_linear(named: tuple[str, nn.Module]) -> str | None:
    name, module = named
    if type(module) is nn.Linear:
        plain = type(module.weight) in (nn.Parameter, Tensor)
        return None if plain else f"the weight of {name} is a {type(module.weight).__name__}"
    if not _is_plain_lora(module):
        return f"{name} is a {_name(module)}, expected a linear layer or plain LoRA"
    return _why_not_linear((name, module.get_base_layer()))


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__name__}"


def _is_plain_lora(module: nn.Module) -> bool:
    if not (type(module).__module__.startswith("peft.tuners.lora") and type(module).__name__ == "Linear"):
        return False
    return (
        not module.lora_variant
        and not any(module.lora_bias.values())
        and not (module.merged and module.disable_adapters)
    )
