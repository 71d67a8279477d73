"""Sampling from Llama-like decoders: one pass over each prompt for its whole group, and only live rows in a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, rms_norm, scaled_dot_product_attention, silu
from transformers import PreTrainedModel

from llm_scale.rollouts.choice import choose_tokens, draw_uniforms
from llm_scale.rollouts.decoder_weights import Decoder, read_decoder

__all__ = ["cached_tokens"]

PREFILL_TOKENS = 2048  # of prompts at once, padding included: bounds the memory of activations
HEAD_ROWS = 64  # rows whose logits exist at once
WORTH_PACKING = 6  # tokens a completion from which copying the weights pays


def cached_tokens(
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
    """Sample `group` completions of every prompt.

    Keys and values of a prompt are kept once for its group: 2 x layers x key-value heads x head size numbers a token,
    of which there are P x (longest prompt) + P x group x max_new_tokens.

    Returns:
        Token ids and their log-probabilities, each (P * group, steps); what follows a token of `end_ids` means nothing.
    """
    decoder = read_decoder(model, pack=max_new_tokens >= WORTH_PACKING, dtype=dtype)
    rows, device = len(prompts) * group, decoder.embedding.device
    angles = _rotation_table(decoder, max(map(len, prompts)) + max_new_tokens)
    cache, last = _prefill(decoder, prompts, angles, group, max_new_tokens)
    exact = torch.float64 if decoder.embedding.dtype == torch.float64 else torch.float32
    ids = torch.full((rows, max_new_tokens), pad_id, device=device)
    log_probs = torch.zeros(rows, max_new_tokens, dtype=exact, device=device)
    ends = torch.tensor(list(end_ids), device=device)
    hidden = last.repeat_interleave(group, 0)
    for step in range(max_new_tokens):
        uniforms = draw_uniforms(rows, temperature, generator, device)
        tokens, chosen = _choose(decoder, hidden, temperature, None if uniforms is None else uniforms[cache.rows])
        ids[cache.rows, step], log_probs[cache.rows, step] = tokens, chosen
        live = ~torch.isin(tokens, ends)
        if not live.all():
            tokens = cache.keep(live, tokens)
        if not len(tokens) or step + 1 == max_new_tokens:
            break
        hidden = _run_layers(
            decoder, embedding(tokens, decoder.embedding), angles[:, cache.lengths + step], cache.attend
        )
        cache.filled += 1
    return ids[:, : step + 1], log_probs[:, : step + 1]


def _choose(decoder: Decoder, hidden: Tensor, temperature: float, uniforms: Tensor | None) -> tuple[Tensor, Tensor]:
    hidden = _norm(hidden, decoder.norm, decoder.epsilon)
    parts = []
    for start in range(0, len(hidden), HEAD_ROWS):
        part = slice(start, start + HEAD_ROWS)
        (logits,) = decoder.head(hidden[part])
        parts.append(choose_tokens(logits, temperature, None if uniforms is None else uniforms[part]))
    tokens, log_probs = zip(*parts, strict=True)
    return torch.cat(tokens), torch.cat(log_probs)


def _norm(hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    if hidden.dtype == torch.float32:
        return rms_norm(hidden, weight.shape, weight, epsilon)
    wide = hidden.float()  # the models round to float32 here, from float64 too
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(hidden.dtype)


def _rotation_table(decoder: Decoder, positions: int) -> Tensor:
    """Cosines and signed sines of every position (2, positions, 1, head size).

    Signed, so that a rotation is x * cosine + (x with its halves swapped) * sine.
    """
    places = torch.arange(positions, device=decoder.embedding.device)[None]
    cosine, sine = decoder.rotary(decoder.embedding[:1], places)
    sign = torch.ones_like(sine)
    sign[..., : decoder.head_size // 2] = -1
    return torch.cat((cosine, sine * sign))[:, :, None]


def _rotate(heads: Tensor, angles: Tensor) -> Tensor:
    cosine, sine = angles
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, -1), sine)


def _run_layers(decoder: Decoder, hidden: Tensor, angles: Tensor, attend) -> Tensor:
    """Run all layers on rows (rows, width) at the positions of `angles` (2, rows, 1, head size).

    `attend(layer, queries, keys, values)`, each (rows, heads, head size), keeps keys and values and returns the
    attention's result (rows, heads * head size).
    """
    for number, layer in enumerate(decoder.layers):
        parts = layer.queries_keys_values(_norm(hidden, layer.attention_norm, decoder.epsilon))
        queries, keys, values = (part.unflatten(-1, (-1, decoder.head_size)) for part in parts)
        mixed = attend(number, _rotate(queries, angles), _rotate(keys, angles), values)
        hidden = hidden + layer.attention_output(mixed)[0]
        gate, up = layer.gate_and_up(_norm(hidden, layer.inner_norm, decoder.epsilon))
        hidden = hidden + layer.down(silu(gate).mul_(up))[0]
    return hidden


def _prefill(
    decoder: Decoder, prompts: Sequence[Sequence[int]], angles: Tensor, group: int, max_new_tokens: int
) -> tuple["_Cache", Tensor]:
    """Pass over every prompt once; the cache, and the last position's hidden state (P, width)."""
    device = decoder.embedding.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    cache = _Cache.empty(decoder, lengths, group, max_new_tokens)
    last = decoder.embedding.new_empty(len(prompts), decoder.embedding.shape[1])
    for chunk in _chunks(prompts):
        width = max(len(prompts[index]) for index in chunk)
        padding = torch.tensor([width - len(prompts[index]) for index in chunk], device=device)[:, None]
        ids = torch.tensor([[0] * (width - len(prompts[i])) + list(prompts[i]) for i in chunk], device=device)
        places = torch.arange(width, device=device)
        index = torch.tensor(chunk, device=device)

        def attend(layer, queries, keys, values, shape=ids.shape, index=index, padding=padding, places=places):
            queries, keys, values = (part.unflatten(0, shape).transpose(1, 2) for part in (queries, keys, values))
            cache.prompt[layer, 0, index, :, -shape[1] :] = keys
            cache.prompt[layer, 1, index, :, -shape[1] :] = values
            mask = None
            if padding.any():  # a place of padding sees itself, so that no row is empty
                sees = (places <= places[:, None]) & ((places >= padding)[:, None] | (places == places[:, None]))
                mask = sees[:, None]
            mixed = scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
            )
            return mixed.transpose(1, 2).flatten(2).flatten(0, 1)

        positions = (places - padding).clamp(min=0).flatten()
        hidden = _run_layers(decoder, embedding(ids.flatten(), decoder.embedding), angles[:, positions], attend)
        last[index] = hidden.unflatten(0, ids.shape)[:, -1]
    return cache, last


def _chunks(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of the prompts, sorted by length and cut so that no chunk passes PREFILL_TOKENS (or is one prompt)."""
    chunks: list[list[int]] = []
    for index in sorted(range(len(prompts)), key=lambda index: -len(prompts[index])):
        if chunks and (len(chunks[-1]) + 1) * len(prompts[chunks[-1][0]]) <= PREFILL_TOKENS:
            chunks[-1].append(index)
        else:
            chunks.append([index])
    return chunks


@dataclass
class _Cache:
    """Keys and values: of every prompt once, and of every live row's own tokens.

    Args:
        prompt: (layers, 2, prompts, heads, longest prompt, head size), padded on the left with zeros.
        own: (layers, 2, rows, heads, new tokens, head size).
        hidden_places: (prompts, 1, 1, longest prompt), bool: padding; None where there is none.
        rows: Number of each live row among all samples (live,).
        slots: Each live row's prompt in `prompt` (live,).
        lengths: Tokens of each live row's prompt (live,).
        filled: Own tokens that each live row has in the cache.
        to_grid, from_grid: Where live rows stand in a grid of prompts x (most live rows of one); None for "in order".
    """

    prompt: Tensor
    own: Tensor
    hidden_places: Tensor | None
    rows: Tensor
    slots: Tensor
    lengths: Tensor
    filled: int = 0
    to_grid: Tensor | None = None
    from_grid: Tensor | None = None

    @classmethod
    def empty(cls, decoder: Decoder, lengths: Tensor, group: int, max_new_tokens: int) -> "_Cache":
        """A cache for prompts of these lengths, of which `prompt` is yet to be filled."""
        prompts, longest = len(lengths), int(lengths.max())
        before, after = (len(decoder.layers), 2), (decoder.key_value_heads,)
        new_zeros, new_empty = decoder.embedding.new_zeros, decoder.embedding.new_empty
        places = torch.arange(longest, device=lengths.device)
        padding = places < (longest - lengths)[:, None, None, None]
        slots = torch.arange(prompts, device=lengths.device).repeat_interleave(group)
        return cls(
            prompt=new_zeros(*before, prompts, *after, longest, decoder.head_size),
            own=new_empty(*before, prompts * group, *after, max_new_tokens, decoder.head_size),
            hidden_places=padding if padding.any() else None,
            rows=torch.arange(prompts * group, device=lengths.device),
            slots=slots,
            lengths=lengths[slots],
        )

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of one new token a live row to its prompt and its own tokens, with exact joint weights."""
        live, (_, heads, size) = len(queries), keys.shape
        past, own = self.prompt[layer], self.own[layer, :, :live, :, : self.filled + 1]
        own[0, :, :, -1], own[1, :, :, -1] = keys, values
        queries = (queries * size**-0.5).view(live, heads, -1, size)
        to_prompt = self._by_prompt(queries) @ past[0].transpose(-1, -2)
        if self.hidden_places is not None:
            to_prompt = to_prompt.masked_fill(self.hidden_places, -torch.inf)
        longest = past.shape[-2]
        scores = torch.cat((self._by_row(to_prompt, live), queries @ own[0].transpose(-1, -2)), -1)
        to_prompt, to_own = scores.softmax(-1).split((longest, self.filled + 1), -1)
        mixed = self._by_row(self._by_prompt(to_prompt) @ past[1], live)
        return (mixed + to_own @ own[1]).reshape(live, -1)

    def _by_prompt(self, rows: Tensor) -> Tensor:
        """(live, heads, shared, n) -> (prompts, heads, live of a prompt * shared, n)."""
        if self.to_grid is not None:
            rows = rows[self.to_grid]
        return rows.unflatten(0, (self.prompt.shape[2], -1)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, grid: Tensor, live: int) -> Tensor:
        """The way back from `_by_prompt`."""
        places = (len(self.to_grid) if self.to_grid is not None else live) // len(grid)
        rows = grid.unflatten(2, (places, -1)).transpose(1, 2).flatten(0, 1)
        return rows if self.from_grid is None else rows[self.from_grid]

    def keep(self, live: Tensor, tokens: Tensor) -> Tensor:
        """Drop the rows that have ended: the last live rows move into their places. Returns the kept tokens."""
        number = int(live.sum())
        order = torch.arange(len(live), device=live.device)
        holes, movers = (~live[:number]).nonzero()[:, 0], live[number:].nonzero()[:, 0] + number
        self.own[:, :, holes, :, : self.filled] = self.own[:, :, movers, :, : self.filled]
        order[holes] = movers
        order = order[:number]
        self.rows, self.slots, self.lengths = self.rows[order], self.slots[order], self.lengths[order]
        if number:
            self._drop_prompts()
            self._lay_grid()
        return tokens[order]

    def _drop_prompts(self) -> None:
        """Drop the prompts without a live row, once they are half of all: each copy then halves the cache."""
        live = self.slots.unique()
        if 2 * len(live) <= self.prompt.shape[2]:
            self.slots = torch.searchsorted(live, self.slots)
            self.prompt = self.prompt[:, :, live]
            self.hidden_places = None if self.hidden_places is None else self.hidden_places[live]

    def _lay_grid(self) -> None:
        counts = self.slots.bincount(minlength=self.prompt.shape[2])
        order = self.slots.argsort(stable=True)
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[self.slots[order]]
        width = int(counts.max())
        self.from_grid = self.slots * width + places
        self.to_grid = torch.zeros(len(counts) * width, dtype=torch.long, device=order.device)
        self.to_grid[self.from_grid] = torch.arange(len(order), device=order.device)
