"""What a language model makes of an answer: hidden states at its last token, or where its steps end."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from llm_scale.models.language_model import LanguageModel
from rewardlab.checks import check_scalar

__all__ = ["answer_features", "block_number", "token_features"]

TINY = 1e-6  # added to the mean square of a hidden state, as in the models' own norms


def answer_features(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    layers: Sequence[int] = (-1,),
    batch_tokens: int = 4096,
) -> Float[Tensor, "samples width"]:
    """Hidden states at the last token of every answer (the end token, where the model ended it).

    Args, Returns, Raises: as `token_features`, with one row an answer.
    """
    ends = [[len(ids) - 1] for ids in completions]
    return token_features(lm, prompts, completions, ends, layers=layers, batch_tokens=batch_tokens)


def token_features(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    *,
    layers: Sequence[int] = (-1,),
    batch_tokens: int = 4096,
) -> Float[Tensor, "rows width"]:
    """Hidden states at some tokens of every completion, without gradient.

    The outputs of the chosen blocks, each divided by its root mean square as the next block's own norm would, side by
    side. Each prompt is computed once for all its completions, what prompts begin with alike once for all of them, and
    nothing above the deepest chosen block at all.

    Args:
        lm: The model, with the weights that it has at the moment.
        prompts: Token ids of each sample's prompt, at least one; repeated for the samples of a group.
        completions: Token ids of each sample, at least one, without padding.
        positions: Which tokens of each completion, from 0.
        layers: Which blocks, 1 for the first, -1 for the last; 0 is the embedding.
        batch_tokens: Tokens of prompts and padded completions computed together, at most (but one sample at least).

    Returns:
        One row a position, sample by sample, `(positions in all, len(layers) * width of the model)`, float32.

    Raises:
        ValueError: If lengths disagree, a sample is empty or longer than the context, a position is outside its
            completion, or the model has no such block; names the sample.
    """
    _check_samples(lm, prompts, completions, positions)
    numbers = [block_number(lm, layer) for layer in layers]
    check_scalar("batch_tokens", batch_tokens, low=1, whole=True)
    starts = [0]
    for places in positions:
        starts.append(starts[-1] + len(places))
    width = lm.base.config.get_text_config().hidden_size
    features = torch.empty(starts[-1], len(numbers), width, device=lm.device)
    with torch.no_grad(), _evaluating(lm.base):
        for rows in _batches(prompts, completions, batch_tokens):
            hidden = _hidden(lm, [prompts[row] for row in rows], [completions[row] for row in rows], numbers)
            for place, row in enumerate(rows):
                features[starts[row] : starts[row + 1]] = hidden[place][list(positions[row])]
    return features.flatten(1)


def block_number(lm: LanguageModel, layer: int) -> int:
    """Number of a block from 0 (the embedding) to that of the last, for a layer that may be counted from the end.

    Raises:
        ValueError: If the model has no such block.
    """
    count = len(_blocks(lm))
    check_scalar("layer", layer, low=-count, high=count, whole=True)
    return layer if layer >= 0 else count + 1 + layer


def _blocks(lm: LanguageModel) -> nn.ModuleList:
    blocks = getattr(getattr(lm.base, "model", None), "layers", None)
    if not isinstance(blocks, nn.ModuleList):
        raise ValueError(f"{lm.name!r} ({type(lm.base).__name__}) keeps no list of blocks at .model.layers")
    return blocks


def _check_samples(lm, prompts, completions, positions) -> None:
    if not len(prompts) == len(completions) == len(positions):
        raise ValueError(
            f"there are {len(prompts)} prompts, {len(completions)} completions and {len(positions)} lists of "
            f"positions, expected one of each for every sample"
        )
    for row, (prompt, completion, places) in enumerate(zip(prompts, completions, positions, strict=True)):
        if not len(prompt) or not len(completion):
            raise ValueError(f"sample {row} has an empty {'completion' if len(prompt) else 'prompt'}")
        if len(prompt) + len(completion) > lm.context:
            raise ValueError(
                f"sample {row} has {len(prompt)} + {len(completion)} tokens, the context of {lm.name!r} is {lm.context}"
            )
        for place in places:
            if not 0 <= place < len(completion):
                raise ValueError(f"positions[{row}] holds {place}, but the completion has {len(completion)} tokens")


def _batches(prompts: Sequence, completions: Sequence, batch_tokens: int) -> Iterator[list[int]]:
    """Samples whose prompts are equally long, those of a prompt together."""
    by_length = defaultdict(list)
    for row, prompt in enumerate(prompts):
        by_length[len(prompt)].append(row)
    for length, rows in by_length.items():
        rows.sort(key=lambda row: (tuple(prompts[row]), len(completions[row])))
        batch, distinct, longest = [], set(), 0
        for row in rows:
            prompt, wider = tuple(prompts[row]), max(longest, len(completions[row]))
            if batch and (len(distinct) + (prompt not in distinct)) * length + (len(batch) + 1) * wider > batch_tokens:
                yield batch
                batch, distinct, wider = [], set(), len(completions[row])
            batch.append(row)
            distinct.add(prompt)
            longest = wider
        yield batch


def _hidden(lm: LanguageModel, prompts: list, completions: list, numbers: list[int]) -> Float[Tensor, "b t layers d"]:
    """Of the completions' tokens, right-padded; prompts are equally long."""
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    begun = _common(distinct)
    longest = max(map(len, completions))
    padded = [[*ids, *[lm.pad_id] * (longest - len(ids))] for ids in completions]
    place = {prompt: number for number, prompt in enumerate(distinct)}
    owners = [place[tuple(prompt)] for prompt in prompts]
    with _stopping_at(lm, numbers) as run:
        cache = DynamicCache(config=lm.base.config)
        if begun:
            run([distinct[0][:begun]], cache)
            cache.batch_repeat_interleave(len(distinct))
        run([prompt[begun:] for prompt in distinct], cache)
        cache.batch_select_indices(torch.tensor(owners, device=lm.device))
        states = run(padded, cache)
    hidden = torch.stack([states[number] for number in numbers], dim=2).float()
    return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + TINY)


def _common(prompts: list[tuple[int, ...]]) -> int:
    """How many tokens several prompts begin with alike (most of a chat template), short of all; 0 for one prompt."""
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=True))
    return sum(1 for _ in alike) if len(prompts) > 1 else 0


class _DeepEnough(Exception):
    """Raised by the deepest block that is wanted, so that those above it are not computed."""


@contextmanager
def _stopping_at(lm: LanguageModel, numbers: list[int]):
    blocks, states, deepest = _blocks(lm), {}, max(numbers)

    def keep(number: int):
        def hook(module, arguments, output):
            states[number] = output[0] if isinstance(output, tuple) else output
            if number == deepest > 0:
                raise _DeepEnough

        return hook

    def run(rows: Sequence[Sequence[int]], cache: DynamicCache) -> dict[int, Tensor]:
        with suppress(_DeepEnough):
            ids = torch.tensor(rows, device=lm.device)
            lm.base.model(input_ids=ids, past_key_values=cache, use_cache=True)
        return states

    handles = [blocks[number - 1].register_forward_hook(keep(number)) for number in {*numbers} - {0}]
    if 0 in numbers:
        handles.append(lm.base.get_input_embeddings().register_forward_hook(keep(0)))
    try:
        yield run
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module):
    """The model without dropout, for as long as this lasts."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
