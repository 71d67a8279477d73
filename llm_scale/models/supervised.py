"""Supervised fine-tuning on demonstrations: what a model needs before reinforcement has something to choose from."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn.functional import cross_entropy

from llm_scale.models.language_model import LanguageModel

__all__ = ["answer_probabilities", "warm_up"]

IGNORED = -100  # the target that cross_entropy leaves out
RISE = 0.05  # share of the steps over which the learning rate rises
CHECKED = 128  # demonstrations, drawn once, on which `until` is checked
CHECK_EVERY = 2  # steps


def warm_up(
    lm: LanguageModel,
    demonstrations: Sequence[tuple[str, str]],
    *,
    steps: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    matrix_learning_rate: float | None = None,
    seed: int = 0,
    until: float | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train the model to give the demonstrated answers; the loss is on the answers' tokens only.

    AdamW, gradients clipped to norm 1, learning rates that rise over the first steps and fall to 0 along a cosine. With
    `matrix_learning_rate`, Muon trains the matrices of the decoder's layers instead: from random weights it learns a
    sum in a third of the steps or less, and gradually where AdamW stands still and then jumps.

    Args:
        lm: Trained in place; its `parameters()` only.
        demonstrations: Pairs of prompt and answer. They are gone through in a new random order each time.
        steps: Updates, each of one batch; with `until`, at most.
        batch_size: Pairs in a batch, at most all there are.
        learning_rate: AdamW's at its highest.
        matrix_learning_rate: Muon's at its highest; None leaves the matrices to AdamW, as suits a pretrained model.
        seed: Of the order.
        until: Stop once the model gives the demonstrated answers with this probability on average. A small model
            learns a sum in a few steps, so that no fixed number of steps leaves it halfway.
        on_step: Called after each step with its number, from 0, and its loss.

    Returns:
        The loss of every step before its update: mean negative log-probability of an answer's token, in nats.

    Raises:
        ValueError: If there are no demonstrations, one does not fit into the context (names it), or a setting is none.

    Source: Muon is by Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; torch's is used.
    """
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps is {steps} and batch_size {batch_size}, expected at least 1 of both")
    if until is not None and not 0 < until < 1:
        raise ValueError(f"until is {until}, expected a probability in (0, 1)")
    inputs, targets = _padded(lm, demonstrations)
    generator = torch.Generator().manual_seed(seed)
    checked = torch.randperm(len(inputs), generator=generator)[:CHECKED]
    optimisers = _optimisers(lm, learning_rate, matrix_learning_rate)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, lambda step: _rate(step, steps)) for one in optimisers]
    rows = _batches(len(inputs), batch_size, generator)
    losses = []
    lm.model.train()
    for step in range(steps):
        batch = next(rows)
        loss = _answer_losses(lm, inputs[batch], targets[batch])[0].mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
        losses.append(loss.item())
        if on_step is not None:
            on_step(step, losses[-1])
        if until is not None and step % CHECK_EVERY == 0 and _reached(lm, inputs[checked], targets[checked], until):
            break
    lm.model.eval()
    return losses


def answer_probabilities(lm: LanguageModel, demonstrations: Sequence[tuple[str, str]]) -> torch.Tensor:
    """Probability of sampling, at temperature 1, exactly the demonstrated answer to each prompt, shape (N,), float32.

    Where there is one right answer in one form this is the accuracy of sampling, without any sampling.
    """
    return _probabilities(lm, *_padded(lm, demonstrations))


def _reached(lm: LanguageModel, inputs: torch.Tensor, targets: torch.Tensor, until: float) -> bool:
    return _probabilities(lm, inputs, targets).mean().item() >= until


@torch.no_grad()
def _probabilities(lm: LanguageModel, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    training = lm.model.training
    lm.model.eval()
    parts = []
    for rows, goals in zip(inputs.split(CHECKED), targets.split(CHECKED), strict=True):
        losses, answered = _answer_losses(lm, rows, goals)
        placed = torch.zeros(answered.shape, device=losses.device).masked_scatter(answered, losses)
        parts.append((-placed.sum(1)).exp().cpu())
    lm.model.train(training)
    return torch.cat(parts)


def _optimisers(lm: LanguageModel, learning_rate: float, matrix_learning_rate: float | None) -> list:
    parameters, matrices = lm.parameters(), []
    if matrix_learning_rate is not None:
        linear = [module for module in lm.base.model.modules() if isinstance(module, torch.nn.Linear)]
        matrices = [module.weight for module in linear if module.weight.requires_grad]
    theirs = set(map(id, matrices))
    rest = [parameter for parameter in parameters if id(parameter) not in theirs]
    groups = []
    if rest:
        groups.append(torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True))
    if matrices:
        groups.append(torch.optim.Muon(matrices, lr=matrix_learning_rate, weight_decay=0.0))
    return groups


def _rate(step: int, steps: int) -> float:
    rising = max(1, round(RISE * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _padded(lm: LanguageModel, demonstrations: Sequence[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (N, L) padded on the right, and for every position the answer's token that follows it, or `IGNORED`."""
    if not demonstrations:
        raise ValueError("demonstrations is empty, expected at least one pair of prompt and answer")
    pairs = [(lm.encode(prompt), lm.encode_completion(answer)) for prompt, answer in demonstrations]
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    if longest > lm.context:
        index = max(range(len(pairs)), key=lambda row: len(pairs[row][0]) + len(pairs[row][1]))
        raise ValueError(f"demonstration {index} has {longest} tokens, but {lm.name!r} has a context of {lm.context}")
    inputs = torch.full((len(pairs), longest - 1), lm.pad_id)
    targets = torch.full((len(pairs), longest - 1), IGNORED)
    for row, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer) - 1
        inputs[row, :end] = torch.tensor([*prompt, *answer[:-1]])
        targets[row, len(prompt) - 1 : end] = torch.tensor(answer)
    return inputs, targets


def _batches(number: int, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    while True:
        yield from torch.randperm(number, generator=generator).split(batch_size)


def _answer_losses(lm: LanguageModel, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-probabilities (answers' tokens,), row by row, and where the tokens are, bool (rows, used length)."""
    used = int((targets != IGNORED).nonzero()[:, 1].max()) + 1  # padding on the right is behind everything that counts
    inputs, targets = inputs[:, :used].to(lm.device), targets[:, :used].to(lm.device)
    answered = targets != IGNORED
    hidden = lm.base.model(input_ids=inputs, use_cache=False).last_hidden_state[answered]
    return cross_entropy(lm.base.lm_head(hidden).float(), targets[answered], reduction="none"), answered
