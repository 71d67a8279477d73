"""Fitting reward heads: Bradley-Terry on preferences, cross-entropy on labels of steps or answers."""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import silu, softplus

from llm_scale.reward_models.heads import RewardHead
from llm_scale.reward_models.logistic import fit_logistic
from rewardlab.checks import check_scalar

NO_PENALTY = 1e-9  # keeps a member that makes no mistake from an infinite scale

__all__ = ["bootstrap_counts", "calibrated", "fit_bradley_terry", "fit_process_head"]


def fit_bradley_terry(
    features_chosen: Float[Tensor, "pairs d"],
    features_rejected: Float[Tensor, "pairs d"],
    *,
    members: int = 1,
    l2: float = 1e-2,
    seed: int = 0,
    bootstrap: bool | None = None,
    weights: Float[Tensor, " pairs"] | None = None,
    margins: Float[Tensor, " pairs"] | None = None,
    smoothing: float = 0.0,
    hidden: int = 0,
    steps: int = 300,
    learning_rate: float = 3e-3,
) -> RewardHead:
    """Reward heads under which the chosen responses are likely to be preferred: P = sigmoid(difference of scores).

    A linear head is the exact optimum of its convex loss, mean over pairs of CE plus l2 / 2 |w|^2 in standardised
    features. A head with a hidden layer is trained by full-batch Adam with a cosine rate in float32.
    Every member's mean score over the training responses is 0 (the constant that preferences leave open), so that
    members can be compared.

    Args:
        features_chosen: Of the preferred responses, one row a pair.
        features_rejected: Of the others.
        members: Size of the ensemble.
        l2: Weight of the penalty, above 0.
        seed: Of the bootstrap samples and the first weights of hidden layers; member m's depend on no other member.
        bootstrap: Whether each member sees a bootstrap sample of the pairs; by default where there are several.
        weights: How much each pair counts, at least 0: magnitudes here give the scaled Bradley-Terry loss.
        margins: By how much the chosen score should lead, in rewards: the margin loss.
        smoothing: Probability in [0, 0.5) given to the other order.
        hidden: Width of the hidden layer, 0 for none.
        steps: Of Adam, for hidden layers.
        learning_rate: Of Adam at the start, for hidden layers.

    Raises:
        ValueError: If shapes disagree, a number is not finite or out of range, or there is no pair.

    Source: Bradley-Terry and its scaled and margin forms after HelpSteer2-Preference (arXiv 2410.01257); the head with
    a hidden SiLU layer after BaseReward (arXiv 2509.16127); members by bootstrap are this project's choice.
    """
    _check_features("features_chosen", features_chosen)
    _check_features("features_rejected", features_rejected)
    if features_chosen.shape != features_rejected.shape:
        raise ValueError(
            f"features_chosen has shape {tuple(features_chosen.shape)}, features_rejected "
            f"{tuple(features_rejected.shape)}; expected one row of each for every pair"
        )
    if not 0 <= check_scalar("smoothing", smoothing, low=0) < 0.5:
        raise ValueError(f"smoothing is {smoothing}, expected a number in [0, 0.5)")
    count, width = features_chosen.shape
    counts = _counts(count, members, seed, bootstrap, weights, features_chosen)
    offsets = torch.zeros_like(counts[0]) if margins is None else -_per_row("margins", margins, counts[0])
    targets = torch.full_like(offsets, 1 - smoothing)
    chosen, rejected, centre, scale = _standardised(features_chosen, features_rejected)
    facts = _facts("bradley_terry", locals())
    if not hidden:
        fitted = fit_logistic(chosen - rejected, targets, counts, l2=_checked_l2(l2), offsets=offsets)
        return RewardHead(centre, scale, fitted, fitted.new_zeros(members), facts=facts)
    both = torch.stack([chosen, rejected]).float()

    def logits(score: Callable[[Tensor], Tensor]) -> Tensor:
        first, second = score(both.reshape(-1, width)).reshape(members, 2, count).unbind(1)
        return first - second + offsets

    layers = _train(logits, targets, counts, width, hidden, _checked_l2(l2), seed, steps, learning_rate)
    head = RewardHead(centre, scale, *layers, facts=facts)
    head.bias -= head.score(torch.cat([features_chosen, features_rejected])).mean(1)
    return head


def fit_process_head(
    features: Float[Tensor, "rows d"],
    labels: Float[Tensor, " rows"] | Bool[Tensor, " rows"],
    *,
    members: int = 1,
    l2: float = 1e-2,
    seed: int = 0,
    bootstrap: bool | None = None,
    weights: Float[Tensor, " rows"] | None = None,
    hidden: int = 0,
    steps: int = 300,
    learning_rate: float = 3e-3,
) -> RewardHead:
    """Heads that give the probability that a step (or, for outcome rewards, an answer) is good.

    Cross-entropy against labels that may be soft. The intercept is penalised like every coefficient, so that there is
    one optimum even where all labels are alike.

    Args:
        features: At the ends of the steps, one row a step.
        labels: In [0, 1]: 1 for a good step, 0 for a bad one, between for a share of completions that succeed.
        members: As for `fit_bradley_terry`, like the rest.
        l2: Weight of the penalty.
        seed: Of bootstrap samples and first weights.
        bootstrap: Whether each member sees a bootstrap sample.
        weights: How much each row counts.
        hidden: Width of the hidden layer.
        steps: Of Adam.
        learning_rate: Of Adam.

    Returns:
        A head with link "probability".

    Raises:
        ValueError: As `fit_bradley_terry`, or if a label is outside [0, 1] (names the row).
    """
    _check_features("features", features)
    count, width = features.shape
    counts = _counts(count, members, seed, bootstrap, weights, features)
    targets = _per_row("labels", labels, counts[0])
    outside = (targets < 0) | (targets > 1)
    if outside.any():
        row = int(outside.nonzero()[0])
        raise ValueError(f"labels[{row}] is {float(targets[row]):g}, expected a number in [0, 1]")
    rows, _, centre, scale = _standardised(features, features[:0])
    facts = _facts("cross_entropy", locals())
    if not hidden:
        design = torch.cat([rows, rows.new_ones(count, 1)], dim=1)
        fitted = fit_logistic(design, targets, counts, l2=_checked_l2(l2))
        layers = (fitted[:, :-1], fitted[:, -1])
    else:
        inputs = rows.float()
        layers = _train(
            lambda score: score(inputs), targets, counts, width, hidden, _checked_l2(l2), seed, steps, learning_rate
        )
    return RewardHead(centre, scale, *layers, link="probability", facts=facts)


def calibrated(
    head: RewardHead, features_chosen: Float[Tensor, "pairs d"], features_rejected: Float[Tensor, "pairs d"]
) -> RewardHead:
    """The head with every member's rewards on one scale: differences are log-odds of being preferred on these pairs.

    Each member's scores are divided by the one temperature that makes the preferences most likely, which leaves its
    order as it is. Take pairs that the head was not fitted on, or overconfidence stays.

    Raises:
        ValueError: If the head gives probabilities, or a member is no better than chance on the pairs.

    Source: Gao et al. 2023 (arXiv 2210.10760) recalibrate reward models by one temperature.
    """
    if head.link != "identity":
        raise ValueError(f"the head has link {head.link!r}, expected rewards without limits to rescale")
    gaps = head.score(features_chosen) - head.score(features_rejected)
    ones = torch.ones_like(gaps[0])
    slopes = torch.cat([fit_logistic(gap[:, None], ones, ones[None], l2=NO_PENALTY)[0] for gap in gaps])
    if not (slopes > 0).all():
        member = int((slopes <= 0).nonzero()[0])
        raise ValueError(f"member {member} is no better than chance on these pairs, so no temperature mends it")
    tensors = dict(head.named_buffers())
    tensors |= {"weight": head.weight * slopes[:, None], "bias": head.bias * slopes}
    return RewardHead(**tensors, facts=head.facts)


def bootstrap_counts(rows: int, members: int, seed: int) -> Float[np.ndarray, "members rows"]:
    """How often each row is drawn into each member's bootstrap sample; a member's draw depends on no other's."""
    draws = [
        np.random.default_rng(own).integers(rows, size=rows) for own in np.random.SeedSequence(seed).spawn(members)
    ]
    return np.stack([np.bincount(draw, minlength=rows) for draw in draws]).astype(np.float64)


def _train(
    logits: Callable,
    targets: Tensor,
    counts: Tensor,
    width: int,
    hidden: int,
    l2: float,
    seed: int,
    steps: int,
    rate: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight, bias, hidden weight and hidden bias of members trained side by side; Adam keeps them apart."""
    device, members = counts.device, len(counts)
    layers = [part.to(device).requires_grad_() for part in _first_weights(members, width, hidden, seed)]
    optimiser = torch.optim.Adam(layers, lr=rate)
    targets = targets.float()
    shares = (counts / counts.sum(1, keepdim=True)).float()

    def score(rows: Tensor) -> Tensor:
        weight, bias, hidden_weight, hidden_bias = layers
        within = torch.einsum("nd,mhd->mnh", rows, hidden_weight) + hidden_bias[:, None]
        return torch.einsum("mnh,mh->mn", silu(within), weight) + bias[:, None]

    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        values = logits(score)
        loss = (shares * (softplus(values) - targets * values)).sum() + l2 / 2 * sum((p**2).sum() for p in layers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return tuple(layer.detach() for layer in layers)


def _first_weights(members: int, width: int, hidden: int, seed: int) -> tuple[Tensor, ...]:
    draws = []
    for own in np.random.SeedSequence(seed).spawn(members):
        generator = torch.Generator().manual_seed(int(own.generate_state(2)[1]))
        inner = torch.randn(hidden, width, generator=generator) / math.sqrt(width)
        outer = torch.randn(hidden, generator=generator) / math.sqrt(hidden)
        draws.append((outer, inner))
    outer, inner = (torch.stack(parts) for parts in zip(*draws, strict=True))
    return outer, torch.zeros(members), inner, torch.zeros(members, hidden)


def _standardised(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both in float64 at mean 0 and standard deviation 1 (0 where a feature is constant), and what did it."""
    together = torch.cat([first, second]).to(torch.float64)
    centre = together.mean(0)
    spread = together.std(0, correction=0)
    scale = torch.where(spread > 1e-9 * together.abs().amax(0), spread, 1.0)
    together = (together - centre) / scale
    return together[: len(first)], together[len(first) :], centre, scale


def _counts(
    rows: int, members: int, seed: int, bootstrap: bool | None, weights: Tensor | None, like: Tensor
) -> Float[Tensor, "members rows"]:
    check_scalar("members", members, low=1, whole=True)
    check_scalar("seed", seed, low=0, whole=True)
    drawn = members > 1 if bootstrap is None else bootstrap
    counts = torch.as_tensor(bootstrap_counts(rows, members, seed) if drawn else np.ones((members, rows)))
    counts = counts.to(like.device)
    if weights is not None:
        weights = _per_row("weights", weights, counts[0])
        if (weights < 0).any():
            raise ValueError(f"weights[{int((weights < 0).nonzero()[0])}] is below 0, expected at least 0")
        counts = counts * weights
    if not (counts.sum(1) > 0).all():
        raise ValueError("weights leave a member without a row that counts")
    return counts


def _check_features(name: str, features: Tensor) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"{name} has shape {tuple(features.shape)}, expected (rows, d) with at least one row")
    rows = features.isfinite().all(1)
    if not rows.all():
        raise ValueError(f"{name}[{int((~rows).nonzero()[0])}] holds a number that is not finite")


def _per_row(name: str, values: Tensor, like: Tensor) -> Tensor:
    if values.shape != like.shape:
        raise ValueError(f"{name} has shape {tuple(values.shape)}, expected {tuple(like.shape)}, one a row")
    values = values.to(like)
    if not values.isfinite().all():
        raise ValueError(f"{name}[{int((~values.isfinite()).nonzero()[0])}] is not finite")
    return values


def _checked_l2(l2: float) -> float:
    return check_scalar("l2", l2, low=0, open_low=True)


def _facts(loss: str, settings: dict) -> dict:
    names = ("members", "l2", "seed", "bootstrap", "hidden")
    return {"loss": loss, "rows": settings["count"], **{name: settings[name] for name in names}}
