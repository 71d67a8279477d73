"""Several rewards of the same samples: the policy gradient of each, and weights learned by how well they agree.

Policy gradients are linear in the reward as long as nothing divides by its spread. So the gradient of a blend is the
blend of gradients, and what the weight of one component changes about the next policy is that component's gradient. The
first-order hyper-gradient of bi-level reward learning is then an inner product, and needs no second derivatives.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llm_scale.models.language_model import LanguageModel
from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.loss import policy_loss
from llm_scale.objectives.objective import Objective
from llm_scale.rollouts.completions import Completions
from llm_scale.training_pass.forward import completion_log_probs
from rewardlab.checks import check_scalar

__all__ = ["BlendWeights", "component_gradients", "cosines", "put_gradient"]

LINEAR = ("mean_centred", "leave_one_out", "length_weighted", "raw")


def component_gradients(
    lm: LanguageModel,
    completions: Completions,
    rewards: Float[Tensor, "k b"],
    objective: Objective,
    *,
    group_ids: Int[Tensor, " b"] | None = None,
    present: Bool[Tensor, " b"] | None = None,
    temperature: float = 1.0,
    max_length: int | None = None,
) -> Float[Tensor, "k n"]:
    """The direction in which the policy climbs each of several rewards of the same samples.

    One pass forward for all, and one backward for each.

    Args:
        lm: The policy, which the samples have to be of: ratios to the policy that sampled them are taken to be 1.
        completions: The samples.
        rewards: One row a component.
        objective: Has to be linear in the reward, as `dr_grpo` is: no division by a standard deviation, no whitening,
            no filter and no KL term.
        group_ids: Which samples are compared; by default those of one prompt.
        present: Which samples count; by default all.
        temperature: They were sampled at.
        max_length: Limit of generation in tokens, where the objective divides by it.

    Returns:
        Ascent directions over `lm.parameters()`, flat, one row a component; a weighted sum of rows is the direction of
        the weighted sum of rewards.

    Raises:
        ValueError: If the objective is not linear in the reward, or a present reward is not finite.

    Source: Equation of the policy gradient in Dr. GRPO (arXiv 2503.20783); that components can be taken apart is ours.
    """
    _check_linear(objective)
    if group_ids is None:
        group_ids = torch.arange(len(completions.prompts)).repeat_interleave(completions.group)
    parameters, mask = lm.parameters(), completions.mask
    passed = completion_log_probs(
        lm.model, completions.prompts, completions.ids, mask, group=completions.group, temperature=temperature
    )
    rows = []
    for place, reward in enumerate(rewards):
        advantages = token_level_advantages(reward.cpu(), mask.cpu(), group_ids.cpu(), objective, present=present)
        loss = policy_loss(
            passed.log_probs,
            passed.log_probs.detach(),
            advantages.to(passed.log_probs),
            mask,
            objective,
            present=present,
            max_length=max_length,
        ).loss
        found = torch.autograd.grad(loss, parameters, retain_graph=place + 1 < len(rewards), materialize_grads=True)
        rows.append(-torch.cat([each.flatten() for each in found]))
    return torch.stack(rows)


class BlendWeights:
    """Weights of auxiliary rewards beside a primary one of weight 1, moved by first-order hyper-gradients.

    After a step of the policy along primary + weights @ auxiliary gradients, the primary reward of the new policy
    changes with weight k as <gradient of the primary reward there, auxiliary gradient k of that step>, times the step.
    Each weight moves by `step` times that, over the root of its mean square so far, corrected for its start: so scale
    and learning rate drop out, and a weight moves by about `step` where the sign is clear.

    Args:
        start: First weights.
        step: How far a weight moves for a hyper-gradient of usual size, at least 0; 0 keeps the weights.
        memory: Of the mean square, in [0, 1).

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007), in its first-order form; the
        normalisation is as in `rewardlab.shaping.tabular.barfi`. Earlier batches have no further part in it.

    Example:
        >>> blend = BlendWeights([0.0, 0.0], step=0.1)
        >>> blend.move(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 5.0], [-30.0, 0.0]])).tolist()
        [2.0, -30.0]
        >>> blend.weights.tolist()
        [0.1, -0.1]
    """

    def __init__(self, start: Sequence[float], *, step: float, memory: float = 0.9) -> None:
        check_scalar("step", step, low=0.0)
        if check_scalar("memory", memory, low=0.0, high=1.0) == 1:
            raise ValueError("memory is 1, expected a number in [0, 1)")
        self.weights = torch.tensor(start, dtype=torch.float64)
        # Adam without its mean of gradients is RMSprop that is corrected for its start
        self._ascent = torch.optim.Adam([self.weights], lr=step, betas=(0.0, memory), eps=1e-30, maximize=True)

    def move(self, primary: Float[Tensor, " n"], auxiliary: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
        """Move the weights by what two batches say.

        Args:
            primary: Gradient of the primary reward under the policy as it is now, from a batch of its own samples.
            auxiliary: Gradients of the auxiliary rewards from the batch before, which made it what it is.

        Returns:
            The hyper-gradients, before their size was normalised.
        """
        if len(auxiliary) != len(self.weights):
            raise ValueError(f"auxiliary has {len(auxiliary)} rows, expected one a weight: {len(self.weights)}")
        found = (auxiliary @ primary).double().cpu()
        self.weights.grad = found
        self._ascent.step()
        return found

    def blended(self, gradients: Float[Tensor, "components n"]) -> Float[Tensor, " n"]:
        """The direction of the blend: the first row, of the primary reward, and the others by weight."""
        return gradients[0] + self.weights.to(gradients) @ gradients[1:]


def cosines(primary: Float[Tensor, " n"], others: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    """Cosine of each of the others to the primary gradient; NaN where one of the two is 0."""
    lengths = primary.norm() * others.norm(dim=1)
    return torch.where(lengths > 0, others @ primary / lengths, torch.nan)


def put_gradient(lm: LanguageModel, ascent: Float[Tensor, " n"]) -> None:
    """Make an optimiser, which descends, climb: `.grad` of `lm.parameters()` from a flat direction of ascent."""
    parameters = lm.parameters()
    parts = ascent.split([each.numel() for each in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = -part.view_as(parameter)


def _check_linear(objective: Objective) -> None:
    why = (
        f"advantage {objective.advantage!r}" * (objective.advantage not in LINEAR)
        or f"whitening {objective.whitening!r}" * (objective.whitening is not None)
        or f"advantage_filter {objective.advantage_filter!r}" * (objective.advantage_filter is not None)
        or f"kl_weight {objective.kl_weight}" * bool(objective.kl_weight)
    )
    if why:
        raise ValueError(
            f"objective {objective.name!r} has {why}, expected one that is linear in the reward, such as 'dr_grpo'"
        )
