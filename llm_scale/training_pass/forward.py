"""One differentiable pass over a batch of completions: log-probabilities, entropies, and features for reward heads.

With `shared_prefix` each prompt goes through the model once for its whole group, and completions follow without
padding; gradients are those of the plain pass, which computes every row by itself. For short answers to longer
questions this saves most of the work.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llm_scale.training_pass.packing import Packing, check_batch, pack
from llm_scale.training_pass.shared_attention import NO_MASK, enable_shared_attention, shared_prefix_obstacle
from llm_scale.training_pass.token_log_probs import chosen_log_probs

__all__ = ["TokenLogProbs", "TrainingPass", "completion_features", "completion_log_probs"]


class TokenLogProbs(NamedTuple):
    """What a pass says of each completion token.

    Args:
        log_probs: Log-probability of each token, (B, T) in nats, differentiable; 0 outside the mask.
        entropies: Entropy of the distribution it was drawn from, (B, T) in nats, detached; 0 outside the mask.
    """

    log_probs: Tensor
    entropies: Tensor


def completion_log_probs(
    model: Any,
    prompts: Sequence[Sequence[int]],
    ids: Tensor,
    mask: Tensor,
    *,
    group: int,
    temperature: float = 1.0,
    shared_prefix: bool = True,
) -> TokenLogProbs:
    """Return the log-probability of every completion token given all before it, with gradients.

    Args:
        model: A causal language model of transformers, one wrapped by peft, or an object with such a `model` (a
            `LanguageModel`).
        prompts: Tokens of P prompts, none empty.
        ids: Completions, (B, T), right-padded, B = P * group; row b answers prompt b // group.
        mask: Their own tokens, (B, T), the token that ends them included.
        group: Completions a prompt.
        temperature: Log-probabilities are those of softmax(logits / temperature).
        shared_prefix: Compute each prompt once for its group. Where the model's attention does not allow it, a warning
            says why and the plain pass is taken.

    Returns:
        Log-probabilities and entropies, (B, T) each, float32 (float64 for a float64 model).

    Raises:
        ValueError: If prompts, completions and mask do not belong together, the temperature is not positive, or the
            model's head does more than multiply by its weight.
    """
    causal = causal_model(model)
    weight = _head_weight(causal)
    hidden, predictors, _ = _hidden_states(causal, prompts, ids, mask, group, shared_prefix, whole=False)
    used, rows = torch.unique(predictors, return_inverse=True)
    hidden = hidden.index_select(0, used)
    chosen, entropy = chosen_log_probs(hidden, weight, ids[mask], rows=rows, temperature=temperature)
    empty = chosen.new_zeros(ids.shape)
    return TokenLogProbs(empty.masked_scatter(mask, chosen), empty.masked_scatter(mask, entropy))


def completion_features(
    model: Any,
    prompts: Sequence[Sequence[int]],
    ids: Tensor,
    mask: Tensor,
    *,
    group: int,
    positions: str = "last",
    shared_prefix: bool = True,
) -> Tensor:
    """Return the last hidden states of completions, for reward heads.

    Args:
        model: As for `completion_log_probs`.
        prompts: As there.
        ids: As there.
        mask: As there.
        group: As there.
        positions: "last" for the last token of each completion only, "all" for every one.
        shared_prefix: As there.

    Returns:
        (B, d) at the last tokens (at the prompt's last one where a completion has no token), or (B, T, d), 0 outside
        the mask. Differentiable; call it under `torch.no_grad()` for features of a frozen model.

    Raises:
        ValueError: As `completion_log_probs`, or if `positions` is neither of the two.
    """
    if positions not in ("last", "all"):
        raise ValueError(f'positions is {positions!r}, expected "last" or "all"')
    causal = causal_model(model)
    hidden, _, places = _hidden_states(causal, prompts, ids, mask, group, shared_prefix, whole=True)
    if positions == "last":
        lengths = mask.sum(dim=1, keepdim=True)
        return hidden.index_select(0, places.gather(1, lengths)[:, 0])
    features = hidden.index_select(0, places[:, 1:].flatten().clamp(min=0)).unflatten(0, ids.shape)
    return features * mask[..., None]


class TrainingPass(nn.Module):
    """`completion_log_probs` as a module's forward, so that the hooks of DDP and FSDP2 around a model run.

    Args:
        model: As for `completion_log_probs`.
        shared_prefix: As there.
    """

    def __init__(self, model: Any, *, shared_prefix: bool = True):
        super().__init__()
        self.model = model if isinstance(model, nn.Module) else model.model
        self.shared_prefix = shared_prefix

    def forward(
        self, prompts: Sequence[Sequence[int]], ids: Tensor, mask: Tensor, group: int, temperature: float = 1.0
    ) -> TokenLogProbs:
        """Return the log-probabilities of completions: see `completion_log_probs`."""
        return completion_log_probs(
            self.model, prompts, ids, mask, group=group, temperature=temperature, shared_prefix=self.shared_prefix
        )


def causal_model(model: Any) -> PreTrainedModel:
    """Return the causal language model inside a peft wrapper or a `LanguageModel`; adapters in its layers stay active.

    Raises:
        TypeError: If there is none.
        ValueError: If the wrapper works by changing the input (prompt tuning), not the layers.
    """
    inner = model if isinstance(model, nn.Module) else getattr(model, "model", model)
    if hasattr(inner, "peft_config"):
        if getattr(getattr(inner, "active_peft_config", None), "is_prompt_learning", False):
            raise ValueError(f"{type(inner).__name__} adds tokens to the input, expected adapters in the layers (LoRA)")
        inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    if not isinstance(inner, PreTrainedModel) or inner.get_output_embeddings() is None:
        raise TypeError(f"model is a {type(model).__name__}, expected a causal language model of transformers")
    return inner


def _head_weight(causal: PreTrainedModel) -> Tensor:
    head, config = causal.get_output_embeddings(), causal.config
    changed = [name for name in ("final_logit_softcapping", "logits_scaling", "logit_scale") if _set(config, name)]
    if changed or type(head) is not nn.Linear or head.bias is not None:
        what = ", ".join(changed) or f"its head is {head}"
        raise ValueError(
            f"{type(causal).__name__}: {what}; expected logits that are the last hidden states times a weight"
        )
    return head.weight


def _set(config: Any, name: str) -> bool:
    return getattr(config, name, None) not in (None, 1, 1.0)


def _hidden_states(causal, prompts, ids, mask, group, shared_prefix, whole) -> tuple[Tensor, Tensor, Tensor]:
    """Last hidden states (rows, d), the row that predicts each completion token (M,), and the rows of tokens.

    The last are (B, 1 + T): of the prompt's last token, then of each completion token that was fed (-1: was not).
    """
    decoder = causal.get_decoder()
    vocabulary = causal.get_input_embeddings().num_embeddings
    lengths = check_batch(prompts, ids, mask, group=group, vocabulary=vocabulary)
    if shared_prefix:
        obstacle = shared_prefix_obstacle(decoder)
        if obstacle is None:
            return _packed_states(decoder, *pack(prompts, ids, mask, lengths, group=group, whole=whole))
        warnings.warn(f"each prompt is computed anew for every completion: {obstacle}", stacklevel=3)
    return _plain_states(decoder, prompts, ids, mask, lengths, group)


def _packed_states(decoder: PreTrainedModel, packing: Packing, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    enable_shared_attention(decoder)
    hidden = decoder(
        input_ids=packing.ids[None],
        position_ids=packing.positions[None],
        attention_mask=torch.ones(NO_MASK, dtype=torch.bool, device=packing.ids.device),
        use_cache=False,
        packing=packing,
    ).last_hidden_state[0]
    if packing.calls < decoder.config.num_hidden_layers:
        raise RuntimeError(
            f"{packing.calls} of {decoder.config.num_hidden_layers} attention layers of {type(decoder).__name__} took "
            f"the packed batch; call with shared_prefix=False"
        )
    return hidden, packing.predictors, places


def _plain_states(decoder, prompts, ids, mask, lengths, group) -> tuple[Tensor, Tensor, Tensor]:
    """Every completion after its own copy of the prompt, right-padded: padding comes after all that is read."""
    starts = [len(prompts[row // group]) for row in range(len(ids))]
    width = max(start + length for start, length in zip(starts, lengths, strict=True))
    tokens = ids.new_zeros(len(ids), width)
    real = torch.arange(width) < torch.tensor(starts)[:, None] + torch.tensor(lengths)[:, None]
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        tokens[row, :start] = torch.tensor(prompts[row // group], dtype=ids.dtype)
        tokens[row, start : start + length] = ids[row, :length]
    hidden = decoder(input_ids=tokens, attention_mask=real.to(ids.device), use_cache=False).last_hidden_state
    begins = torch.arange(len(ids)) * width + torch.tensor(starts) - 1
    places = (begins[:, None] + torch.arange(ids.shape[1] + 1)).to(ids.device)
    places[:, 1:].masked_fill_(~mask, -1)
    predictors = places[:, :-1].clone()
    predictors[:, 0] = begins.to(ids.device)
    return hidden.flatten(0, 1), predictors[mask], places
