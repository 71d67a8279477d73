"""How much better than expected was each sample, and each of its tokens?

Rewards may be paid to a whole sample or to tokens of it (steps, or a KL penalty). They are added up first and compared
with the group afterwards; the other order turns what pays nothing into credit again, see
`rewardlab.process.step_advantages`. All in float64.

On several processes hand in the batch of all of them, and keep the rows of one's own: statistics over the batch
(`batch_standardised`, whitening, filters) need it whole, and it is small beside a model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from llm_scale.objectives.kl import kl_terms
from llm_scale.objectives.objective import Objective
from llm_scale.objectives.token_credit import token_deviations, token_returns
from rewardlab.transforms.advantages import batch_standardised, leave_one_out, mean_centred, standardised
from rewardlab.transforms.groups import Groups, restored, ungrouped
from rewardlab.transforms.outliers import clamp_outliers, drop_outliers, robust_clip

WHITENING_EPSILON = 1e-8  # added to the variance of tokens, as in verl

__all__ = ["sample_advantages", "token_level_advantages"]

Ids = Sequence | Tensor | np.ndarray | Groups


def sample_advantages(
    rewards: Num[Tensor, " b"],
    group_ids: Ids,
    objective: Objective,
    *,
    lengths: Int[Tensor, " b"] | None = None,
    present: Bool[Tensor, " b"] | None = None,
) -> Float[Tensor, " b"]:
    """Advantage of every sample whose reward is one number.

    Args:
        rewards: One a sample; NaN where a sample has none.
        group_ids: One id a sample: the samples of one prompt share theirs.
        objective: The algorithm.
        lengths: Tokens of each sample, where samples count by length: `length_weighted`, whitening over tokens.
        present: Which samples count; by default all whose reward is not NaN.

    Returns:
        Advantages of the float dtype of `rewards`, 0 for absent samples.

    Raises:
        TypeError: If `rewards` is no tensor.
        ValueError: If a present reward is not finite, shapes disagree, or lengths are needed and missing.

    Example:
        >>> from llm_scale.objectives.objective import objective
        >>> sample_advantages(torch.tensor([1.0, 0.0, 0.0, 1.0]), [7, 7, 7, 7], objective("rloo")).tolist()
        [0.6666666865348816, -0.6666666865348816, -0.6666666865348816, 0.6666666865348816]
    """
    if not isinstance(rewards, Tensor):
        raise TypeError(f"rewards: expected a tensor, got {type(rewards).__name__}")
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    if lengths is None and (objective.by_token or objective.advantage == "length_weighted"):
        raise ValueError(f"lengths is None, but {objective.name} weighs samples by their tokens")
    if lengths is None:
        lengths = torch.ones_like(values)
    elif tuple(lengths.shape) != tuple(values.shape):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}, rewards {tuple(values.shape)}")
    advantages = _baselined(values, groups, present, lengths.to(values), objective)
    compared = _compared(present, groups, objective)
    if not objective.by_token:
        advantages = _over_the_batch(advantages, compared, objective)
    elif objective.whitening or objective.advantage_filter:
        tokens = torch.arange(max(int(lengths.max()), 1), device=values.device) < lengths[:, None]
        advantages = _over_tokens(advantages[:, None].expand(tokens.shape), tokens & compared[:, None], objective)[:, 0]
    return restored(advantages, rewards)


def token_level_advantages(
    rewards: Num[Tensor, " b"],
    mask: Bool[Tensor, "b t"],
    group_ids: Ids,
    objective: Objective,
    *,
    step_rewards: Float[Tensor, "b t"] | None = None,
    step_ends: Sequence[Sequence[int]] | None = None,
    log_probs: Float[Tensor, "b t"] | None = None,
    reference_log_probs: Float[Tensor, "b t"] | None = None,
    present: Bool[Tensor, " b"] | None = None,
) -> Float[Tensor, "b t"]:
    """Advantage of every token: what `policy_loss` takes.

    With credit "sequence" all rewards of a sample are summed, and its tokens share its advantage. With credit "token" a
    token's return is what is paid at it and after it, the outcome at the last token, less the baseline of its group:
    see `Objective.step_baseline`. Without rewards of steps and without discount both credits give the same.

    Args:
        rewards: What each whole sample earned, its outcome; NaN where it has none.
        mask: Which tokens are the sample's own.
        group_ids: One id a sample: the samples of one prompt share theirs.
        objective: The algorithm.
        step_rewards: What tokens earned beside that, the outcome not included: 0 where nothing was paid.
        step_ends: Token at which each step of each sample ends, where `objective.step_baseline` is "same_step"; what
            follows a sample's last step belongs to it, and a sample without steps is one step.
        log_probs: Of the tokens under the policy that sampled them, where `objective.kl_in_reward`.
        reference_log_probs: Of the same tokens under the reference, where `objective.kl_in_reward`.
        present: Which samples count; by default all whose reward is not NaN.

    Returns:
        Advantages (b, t) of the float dtype of `rewards`, 0 where there is no token and for absent samples.

    Raises:
        TypeError: If `rewards` is no tensor.
        ValueError: If a present reward or a token's is not finite, shapes disagree, or log-probabilities are needed and
            missing.

    Source: The order is ours, against process supervision in DeepSeekMath (arXiv 2402.03300, section 4.1.3), which
        normalises the rewards of steps before it adds them up. Whitening over tokens: REINFORCE++ (arXiv 2501.03262).

    Example:
        >>> from llm_scale.objectives.objective import objective
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> token_level_advantages(torch.tensor([1.0, 0.0]), mask, [0, 0], objective("dr_grpo"))
        tensor([[ 0.5000,  0.5000],
                [-0.5000,  0.0000]])
    """
    if not isinstance(rewards, Tensor):
        raise TypeError(f"rewards: expected a tensor, got {type(rewards).__name__}")
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    if mask.ndim != 2 or mask.shape[0] != values.shape[0]:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected ({values.shape[0]}, tokens)")
    mask = mask.bool() & present[:, None]
    paid = _paid_to_tokens(mask, objective, step_rewards, log_probs, reference_log_probs)
    compared = _compared(present, groups, objective)
    if objective.credit == "sequence":
        total = values if paid is None else values + paid.sum(1)
        advantages = _baselined(total, groups, present, mask.sum(1).to(values), objective)
        if not objective.by_token:
            advantages = _over_the_batch(advantages, compared, objective)
        advantages = torch.where(mask, advantages[:, None], 0.0)
    else:
        returns = token_returns(values, paid, mask, objective.discount)
        advantages = token_deviations(returns, mask, groups, objective, step_ends)
    if objective.by_token:
        advantages = _over_tokens(advantages, mask & compared[:, None], objective)
    return advantages.to(rewards.dtype) if rewards.is_floating_point() else advantages


def _paid_to_tokens(mask: Tensor, objective: Objective, step_rewards, log_probs, reference_log_probs) -> Tensor | None:
    """What is paid to tokens beside the outcome, in float64; None where nothing is."""
    given = {"step_rewards": step_rewards}
    if objective.kl_in_reward:
        given |= {"log_probs": log_probs, "reference_log_probs": reference_log_probs}
    for name, part in given.items():
        if part is None and name != "step_rewards":
            raise ValueError(f"{name} is None, but {objective.name} takes a KL penalty off the rewards")
        if part is not None:
            _check_tokens(name, part, mask)
    paid = None if step_rewards is None else torch.where(mask, step_rewards.detach().double(), 0.0)
    if not objective.kl_in_reward:
        return paid
    policy, reference = (torch.where(mask, part.detach().double(), 0.0) for part in (log_probs, reference_log_probs))
    clamps = {"input_clamp": objective.kl_input_clamp, "clamp": objective.kl_clamp}
    penalty = objective.kl_weight * kl_terms(policy, reference, objective.kl_estimator, **clamps)
    return -penalty if paid is None else paid - penalty


def _check_tokens(name: str, values: Tensor, mask: Tensor) -> None:
    if values.shape != mask.shape:
        raise ValueError(f"{name} has shape {tuple(values.shape)}, mask {tuple(mask.shape)}")
    wrong = (mask & ~values.isfinite()).nonzero()
    if len(wrong):
        row, token = wrong[0].tolist()
        raise ValueError(f"{name}[{row}, {token}] is {float(values[row, token])}, expected a finite number")


def _baselined(values: Tensor, groups: Groups, present: Tensor, lengths: Tensor, objective: Objective) -> Tensor:
    """Rewards of whole samples less their baseline, and in standard deviations where the objective says so."""
    convention = {"correction": objective.correction, "epsilon": objective.epsilon}
    match objective.advantage:
        case "standardised":
            return standardised(values, groups, present, **convention)
        case "batch_standardised":
            return batch_standardised(values, groups, present, **convention)
        case "mean_centred":
            return mean_centred(values, groups, present)
        case "leave_one_out":
            return leave_one_out(values, groups, present)
        case "length_weighted":
            return _length_weighted(values, groups, present, lengths)
        case "nonzero_scaled":
            scale = present.sum() / (present & (values != 0)).sum().clamp(min=1)
            return scale * mean_centred(values, groups, present)
        case "best_of_group":
            return _best_of_group(values, groups, present, **convention)
    return torch.where(present, values, 0.0)


def _length_weighted(values: Tensor, groups: Groups, present: Tensor, lengths: Tensor) -> Tensor:
    lengths = torch.where(present, lengths, 0.0)
    varies = groups.deviation(values, present, correction=0)[1] > 0
    baseline = groups.sum(lengths * values) / groups.sum(lengths).clamp(min=1)
    return torch.where(present & groups.spread(varies), values - groups.spread(baseline), 0.0)


def _best_of_group(values: Tensor, groups: Groups, present: Tensor, correction: int, epsilon: float) -> Tensor:
    """The lead of each group's best over its second, standardised; exactly 0 for the rest, and where two are best."""
    spread = groups.deviation(values, present, correction=correction)[1]
    advantages = torch.zeros_like(values)
    for group in (spread > 0).nonzero()[:, 0].tolist():
        members = (present & (groups.index == group)).nonzero()[:, 0]
        best = values[members].topk(2)
        advantages[members[best.indices[0]]] = (best.values[0] - best.values[1]) / (spread[group] + epsilon)
    return advantages


def _compared(present: Tensor, groups: Groups, objective: Objective) -> Tensor:
    """Which samples have something to be compared with, so that the batch's statistics count them."""
    if objective.advantage == "raw":
        return present
    return present & (groups.spread(groups.sum(present.double())) > 1)


def _over_the_batch(advantages: Tensor, counted: Tensor, objective: Objective) -> Tensor:
    """Whiten and filter over the samples of the batch."""
    if objective.whitening == "samples":
        one = Groups.of_rows((1, len(advantages)), like=advantages)
        convention = {"correction": objective.correction, "epsilon": objective.epsilon}
        advantages = standardised(advantages, one, counted, **convention)
    return _filtered(advantages, counted, objective)


def _over_tokens(advantages: Tensor, mask: Tensor, objective: Objective) -> Tensor:
    """Whiten and filter over the tokens of the batch."""
    flat, counted = advantages.reshape(-1), mask.reshape(-1)
    if objective.whitening == "tokens" and len(flat):
        whole = Groups.of_rows((1, len(flat)), like=flat)
        deviation, spread = whole.deviation(flat, counted, correction=1)
        flat = deviation / whole.spread((spread.square() + WHITENING_EPSILON).sqrt())
    return _filtered(flat, counted, objective).reshape(mask.shape)


def _filtered(values: Tensor, counted: Tensor, objective: Objective) -> Tensor:
    """Standardise over all values and treat those far out as the objective says; as they are where it says nothing."""
    if objective.advantage_filter is None or not len(values):
        return values
    one = Groups.of_rows((1, len(values)), like=values)
    apply = {"drop": drop_outliers, "clamp": clamp_outliers, "robust": robust_clip}[objective.advantage_filter]
    return apply(values, one, counted, limit=objective.filter_limit)
