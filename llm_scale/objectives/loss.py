"""The loss whose gradient raises the probability of tokens with a positive advantage, and lowers that of others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llm_scale.objectives.kl import kl_terms
from llm_scale.objectives.objective import Objective

__all__ = ["BatchCounts", "PolicyLoss", "merged_metrics", "policy_loss"]


@dataclass(frozen=True)
class BatchCounts:
    """What losses are divided by: the samples and tokens of a whole batch, over all micro-batches and processes.

    Args:
        sequences: Samples that are present.
        tokens: Tokens of those samples.
    """

    sequences: int
    tokens: int

    @classmethod
    def of(cls, mask: Bool[Tensor, "b t"], present: Bool[Tensor, " b"] | None = None) -> "BatchCounts":
        """Count a batch.

        Example:
            >>> BatchCounts.of(torch.tensor([[True, True], [True, False]]))
            BatchCounts(sequences=2, tokens=3)
        """
        counted = _counted(mask, present)
        sequences = mask.shape[0] if present is None else int(present.sum())
        return cls(sequences, int(counted.sum()))

    def __add__(self, other: "BatchCounts") -> "BatchCounts":
        return BatchCounts(self.sequences + other.sequences, self.tokens + other.tokens)


@dataclass(frozen=True)
class PolicyLoss:
    """A loss and what there is to know about it.

    Args:
        loss: Scalar, to call `backward` on.
        metrics: `clip_low` and `clip_high`, the share of the whole batch's tokens whose gradient the clip removed;
            `log_ratio_clipped`, the share outside `log_ratio_clip`; `kl`, the mean estimate a token where the KL term
            is in the loss; `ratio_max`, the largest ratio. Shares and means of micro-batches add up to the whole
            batch's, see `merged_metrics`.
    """

    loss: Tensor
    metrics: dict[str, float]


def policy_loss(
    log_probs: Float[Tensor, "b t"],
    old_log_probs: Float[Tensor, "b t"],
    advantages: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    objective: Objective,
    *,
    reference_log_probs: Float[Tensor, "b t"] | None = None,
    present: Bool[Tensor, " b"] | None = None,
    whole: BatchCounts | None = None,
    max_length: int | None = None,
) -> PolicyLoss:
    """Loss of a batch of sampled completions, or of a part of one.

    Args:
        log_probs: Of the sampled tokens under the policy, with gradient.
        old_log_probs: Of the same tokens under the policy that sampled them; no gradient flows into them.
        advantages: Of the tokens, from `token_level_advantages`.
        mask: Which tokens count: the policy's own, with the end of the sequence.
        objective: The algorithm.
        reference_log_probs: Of the same tokens under the reference, where `objective.kl_in_loss`.
        present: Which samples count; by default all. Others have no part in the loss, nor in what it is divided by
            (TRL keeps them in the count: leave `present` out, with advantages of 0, for that).
        whole: Counts of the whole batch where this is a part of it: then the losses of the parts add up to the loss of
            the whole. By default this batch is the whole.
        max_length: Limit of generation in tokens, where the aggregation is "constant".

    Returns:
        The loss, in the dtype of `log_probs`, and its metrics.

    Raises:
        ValueError: If shapes disagree, something that the objective needs is missing, or the loss is not finite
            (names the sample and token that made it so).

    Source: DeepSeekMath (arXiv 2402.03300), Dr. GRPO (2503.20783), DAPO (2503.14476), GSPO (2507.18071), RLOO
        (2402.14740), StableReinforce (2505.02835), and the conventions of trainers where `Objective` names them.
    """
    _check_shapes(log_probs, present, old_log_probs=old_log_probs, advantages=advantages, mask=mask)
    if objective.kl_in_loss:
        if reference_log_probs is None:
            raise ValueError(f"reference_log_probs is None, but {objective.name} has kl_weight {objective.kl_weight}")
        _check_shapes(log_probs, present, reference_log_probs=reference_log_probs)
    if objective.aggregation == "constant" and (max_length is None or max_length < 1):
        raise ValueError(f"max_length is {max_length}, but aggregation 'constant' divides by the limit of generation")
    counted = _counted(mask, present)
    whole = whole or BatchCounts.of(mask, present)
    zero = torch.zeros((), dtype=log_probs.dtype, device=log_probs.device)
    log_probs, old = (torch.where(counted, part, zero) for part in (log_probs, old_log_probs.detach()))
    advantages = torch.where(counted, advantages, zero.to(advantages.dtype)).to(log_probs.dtype)

    token_log_ratio = log_probs - old
    log_ratio = _importance(token_log_ratio, log_probs, counted, objective)
    losses, shares = _surrogate_losses(log_probs, log_ratio, advantages, objective)
    if objective.kl_in_loss:
        reference = torch.where(counted, reference_log_probs.detach().to(log_probs.dtype), zero)
        terms = _kl_in_loss(log_probs, reference, token_log_ratio, log_ratio, objective)
        shares["kl"] = terms.detach()
        losses = losses + objective.kl_weight * terms
    loss = _aggregated(losses, counted, whole, objective, max_length)
    metrics = _metrics(loss, shares, log_ratio, counted, whole)
    if not metrics.pop("is_finite"):
        inputs = {"log_probs": log_probs, "old_log_probs": old, "advantages": advantages}
        raise ValueError(_what_is_not_finite(losses, counted, **inputs, ratio=log_ratio.exp()))
    return PolicyLoss(loss, metrics)


def merged_metrics(parts: Sequence[PolicyLoss]) -> dict[str, float]:
    """Metrics of a whole batch from those of its parts, each computed with `whole`: sums, and the largest ratio."""
    names = parts[0].metrics
    values = {name: [part.metrics[name] for part in parts] for name in names}
    return {name: max(each) if name == "ratio_max" else sum(each) for name, each in values.items()}


def _importance(token_log_ratio: Tensor, log_probs: Tensor, counted: Tensor, objective: Objective) -> Tensor:
    """Log of the ratio that stands before each token's advantage, clipped, (b, t)."""
    if objective.importance == "token":
        return _clipped(token_log_ratio, objective)
    total = token_log_ratio.sum(1, keepdim=True)
    if objective.importance != "sequence_product":
        total = total / counted.sum(1, keepdim=True).clamp(min=1)
    total = _clipped(total, objective).expand_as(token_log_ratio)
    return total.detach() + (log_probs - log_probs.detach()) if objective.importance == "sequence_token" else total


def _clipped(log_ratio: Tensor, objective: Objective) -> Tensor:
    bound = objective.log_ratio_clip
    return log_ratio if bound is None else log_ratio.clamp(-bound, bound)


def _surrogate_losses(log_probs: Tensor, log_ratio: Tensor, advantages: Tensor, objective: Objective):
    """Loss of each token, and by name where something was clipped, both (b, t)."""
    ratio = log_ratio.exp()
    shares = {}
    if objective.log_ratio_clip is not None:
        shares["log_ratio_clipped"] = log_ratio.detach().abs() >= objective.log_ratio_clip
    if objective.surrogate == "reinforce":
        return -advantages * log_probs, shares
    if objective.surrogate == "cispo":
        weight = ratio.detach()
        shares["clip_high"] = (weight > objective.ratio_cap) & (advantages > 0)
        return -weight.clamp(max=objective.ratio_cap) * advantages * log_probs, shares
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    shares["clip_low"] = (ratio.detach() < low) & (advantages < 0)
    shares["clip_high"] = (ratio.detach() > high) & (advantages > 0)
    capped = ratio if objective.ratio_cap is None else ratio.clamp(max=objective.ratio_cap)
    gain = torch.minimum(capped * advantages, ratio.clamp(low, high) * advantages)
    if objective.dual_clip is not None:
        gain = torch.where(advantages < 0, torch.maximum(gain, objective.dual_clip * advantages), gain)
    return -gain, shares


def _kl_in_loss(log_probs: Tensor, reference: Tensor, token_log_ratio: Tensor, log_ratio: Tensor, objective: Objective):
    terms = kl_terms(
        log_probs,
        reference,
        objective.kl_estimator,
        input_clamp=objective.kl_input_clamp,
        clamp=objective.kl_clamp,
    )
    if objective.kl_ratio == "token":
        terms = terms * _clipped(token_log_ratio, objective).exp()
    elif objective.kl_ratio == "importance":
        terms = terms * log_ratio.exp()
    return terms


def _aggregated(losses: Tensor, counted: Tensor, whole: BatchCounts, objective: Objective, max_length) -> Tensor:
    """One loss from those of tokens; what is not counted may hold anything finite."""
    sums = torch.where(counted, losses, torch.zeros_like(losses)).sum(1)
    sequences, tokens = max(whole.sequences, 1), max(whole.tokens, 1)
    if objective.aggregation == "token_mean":
        return sums.sum() / tokens
    if objective.aggregation == "constant":
        return sums.sum() / (sequences * max_length)
    if objective.aggregation == "sequence_mean":
        sums = sums / counted.sum(1).clamp(min=1)
    return sums.sum() / sequences


def _metrics(loss: Tensor, shares: dict[str, Tensor], log_ratio: Tensor, counted: Tensor, whole: BatchCounts):
    """All numbers to report in one transfer from the device."""
    zero = torch.zeros((), dtype=torch.float64, device=loss.device)
    sums = {name: torch.where(counted, share.double(), zero).sum() for name, share in shares.items()}
    sums = {name: total / max(whole.tokens, 1) for name, total in sums.items()}
    ratio = torch.where(counted, log_ratio.detach().exp().double(), zero)
    sums["ratio_max"] = ratio.max() if ratio.numel() else zero
    sums["is_finite"] = (loss.detach().isfinite() & sums["ratio_max"].isfinite()).double()  # an infinite ratio may hide
    return dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))


def _counted(mask: Tensor, present: Tensor | None) -> Tensor:
    mask = mask.bool()
    return mask if present is None else mask & present.bool()[:, None]


def _check_shapes(log_probs: Tensor, present: Tensor | None, **others: Tensor) -> None:
    if log_probs.ndim != 2:
        raise ValueError(f"log_probs has shape {tuple(log_probs.shape)}, expected (samples, tokens)")
    for name, other in others.items():
        if other.shape != log_probs.shape:
            raise ValueError(f"{name} has shape {tuple(other.shape)}, log_probs {tuple(log_probs.shape)}")
    if present is not None and tuple(present.shape) != (log_probs.shape[0],):
        raise ValueError(f"present has shape {tuple(present.shape)}, expected one a sample: ({log_probs.shape[0]},)")


def _what_is_not_finite(losses: Tensor, counted: Tensor, **inputs: Tensor) -> str:
    for name, values in (*inputs.items(), ("loss", losses)):
        wrong = (counted & ~values.detach().isfinite()).nonzero()
        if len(wrong):
            row, token = wrong[0].tolist()
            return f"{name}[{row}, {token}] is {float(values[row, token])}, expected a finite number"
    return "the loss is not finite, though that of every token is: their sum is beyond the range of its dtype"
