"""BARFI: a policy trained on a blend of rewards, and the blend on what the policy then earns of the primary reward."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from rewardlab.shaping.sampled.ascent import Ascent
from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.curvature import Product, solve_curvature
from rewardlab.shaping.sampled.curvature_products import curvature_product
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.policies import Policy
from rewardlab.shaping.sampled.settings import BarfiSettings
from rewardlab.shaping.sampled.surrogate import reward_to_go
from rewardlab.shaping.sampled.trainer import History, Trainer, check_names, parameter_shapes

__all__ = ["Barfi"]

CHUNK_NUMBERS = 2**22  # features of the episodes of several inner steps drawn at once: 32 MB


class Barfi(Trainer):
    """Behaviour alignment by reward optimisation, on sampled episodes.

    Until the switch the policy is trained on the plain sum of the rewards. Then, every few episodes: the gradient v of
    the primary return is taken on the newest episodes; the curvature of the inner problem is solved for it on older
    ones, q ~ (-H)^-1 v; blend and inner discount go up the derivative of <inner gradient, q>, less their penalties;
    and the policy takes steps on the new blend, on episodes drawn from the buffer without importance ratios.

    Args:
        env: A gymnasium environment that puts the auxiliary rewards into `info["auxiliary"]`, a dict from names to
            numbers; see `rewardlab.adapters.auxiliary_rewards`.
        policy: Trained in place; see `policies.py`.
        blend: Trained in place, one weight an auxiliary reward.
        settings: See `BarfiSettings`. Of its curvatures "exact" assumes episodes of the policy as it is now; here they
            are those of the buffer, of older policies, and its products are noisy besides: "fisher" is the one to use.
        auxiliary: Names of the auxiliary rewards, in the order of the blend's weights.
        rng: Seed of everything but the first parameters.

    Raises:
        TypeError: If a space is neither discrete nor a box of one dimension.
        ValueError: If there are not as many names as the blend has weights; or see `Rollout`.

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007) as its official code does it, down to
        what is debatable: warm-up on the sum, no importance ratios, no gamma^t in front of step t, sums divided by the
        horizon plus 1, one episode shared by the newest and the older ones, norms that are not squared. The hyper-
        gradient of `BarfiSettings()` departs from it; `BarfiSettings.published()` does not.
    """

    def __init__(
        self,
        env,
        policy: Policy,
        blend: BlendNetwork,
        settings: BarfiSettings | None = None,
        *,
        auxiliary: Sequence[str],
        rng: int = 0,
    ):
        settings = BarfiSettings() if settings is None else settings
        check_names(auxiliary, blend)
        super().__init__(env, policy, auxiliary=auxiliary, buffer=settings.buffer, horizon=settings.horizon, rng=rng)
        self.blend, self.settings = blend, settings
        self.switched = False  # from warm-up to the blend
        self._inner_baseline: float | None = None
        self._outer_baseline: float | None = None
        rates = (settings.policy_learning_rate, settings.blend_learning_rate, settings.discount_learning_rate)
        groups = (policy.parameters(), blend.reward_parameters(), [blend.discount_logit])
        self._policy_optimiser, self._blend_optimiser, self._discount_optimiser = (
            Ascent(settings.optimiser, group, rate) for group, rate in zip(groups, rates, strict=True)
        )

    @property
    def inner_discount(self) -> float:
        """The learned discount."""
        return float(self.blend.discount().detach())

    def update(self) -> None:
        """What is due after an episode: nothing, a step of the warm-up, or blend and policy."""
        settings = self.settings
        enough = self.episodes > settings.first_steps + settings.inner_steps
        if self.episodes % settings.update_every or not (enough or settings.warm_up):
            return
        steps = settings.update_every * settings.inner_steps
        if self.switched:
            self.update_blend()
        elif settings.warm_up:
            self._warm_up()
        if enough and (self.switched or settings.catch_up):
            self._improve_policy(steps if self.switched else steps + settings.first_steps)
        self.switched = enough

    def update_blend(self) -> None:
        """One step of blend and discount along the hyper-gradient; its cosine and norm ratio go into the history."""
        settings, blend = self.settings, self.blend
        plain = self._plain_gradient()
        count = settings.curvature_batch * min(settings.batch_size, len(self.buffer))
        older = self._scaled(self.buffer.sample(count, self._drawing, exclude_newest=settings.update_every))
        blended, discount = blend(older.x, older.primary, older.auxiliary), blend.discount()
        returns = reward_to_go(torch.where(older.mask, blended, 0), discount)
        baseline = self._baseline("_inner_baseline", returns.detach(), older, 0.9)
        fixed = _less_baseline(blended.detach(), older.mask, baseline, float(discount.detach()))
        product = self._product(older, fixed, float(discount.detach()))
        solution = solve_curvature(
            settings.curvature,
            plain,
            product,
            loops=settings.loops,
            step=settings.step,
            damping=settings.damping,
            iterations=settings.iterations,
        )
        slope = self.policy.directional(older.x, older.actions, self._by_parameter(solution.vector))
        alignment = torch.where(older.mask, slope * (returns - baseline), 0).sum() / (len(slope) * older.divisor)
        parameters = [*blend.reward_parameters(), blend.discount_logit]
        gradients = torch.autograd.grad(alignment, parameters)
        length = float(torch.sqrt(sum((gradient * gradient).sum() for gradient in gradients)))
        if not length < float("inf"):
            raise ValueError(f"the hyper-gradient after episode {self.episodes} is {length}: lower the learning rates")
        self._climb(gradients, 1 / length if settings.normalise and length else 1.0)
        row = {"cosine": solution.cosine, "norm_ratio": solution.norm_ratio, "residual": solution.residual}
        row |= {"curvature": solution.curvature, "hypergradient": length}
        History.append(self.history.updates, episode=self.episodes, **row)

    def learned(self) -> dict:
        """See `Trainer.learned`."""
        return {
            "policy": self.policy,
            "blend": self.blend,
            "policy_optimiser": self._policy_optimiser,
            "blend_optimiser": self._blend_optimiser,
            "discount_optimiser": self._discount_optimiser,
        }

    def facts(self) -> dict:
        """See `Trainer.facts`."""
        blend = {"trainer": "barfi", "blend": parameter_shapes(self.blend)}
        return super().facts() | blend | asdict(self.settings)

    def state_dict(self) -> dict:
        """See `Trainer.state_dict`."""
        progress = {"switched": self.switched, "inner": self._inner_baseline, "outer": self._outer_baseline}
        return super().state_dict() | {"progress": progress}

    def load_state_dict(self, state: dict) -> None:
        """See `Trainer.load_state_dict`."""
        super().load_state_dict(state)
        progress = state["progress"]
        self.switched, self._inner_baseline, self._outer_baseline = (
            progress[name] for name in ("switched", "inner", "outer")
        )

    def _product(self, batch: Batch, rewards: Tensor, discount: float) -> Product | None:
        """The curvature that the settings name; in closed form for linear softmax policies, where it has one."""
        kind, entropy = self.settings.curvature, self.settings.entropy_weight
        closed = getattr(self.policy, "closed_form", lambda *_: None)
        if kind in ("neumann", "surrogate", "fisher") and (form := closed(batch.x, batch.actions)) is not None:
            there = batch.mask.reshape(-1).to(rewards.dtype) / batch.mask.sum()
            if kind == "fisher":
                return form.fisher_product(there * (entropy or 1.0))
            returns = torch.where(batch.mask, reward_to_go(torch.where(batch.mask, rewards, 0), discount), 0)
            return form.hessian_product(returns.reshape(-1) / (len(rewards) * batch.divisor), entropy * there)
        return curvature_product(kind, self.policy, batch, rewards, discount, entropy_weight=entropy)

    def _climb(self, gradients: Sequence[Tensor], scale: float) -> None:
        settings, blend = self.settings, self.blend
        rewards = [scale * gradient for gradient in gradients[:-1]]
        if settings.reward_penalty:  # of norms, not of their squares: it pulls as hard however small the weights are
            penalties = torch.autograd.grad(blend.penalty(), blend.reward_parameters())
            rewards = [r - settings.reward_penalty * p for r, p in zip(rewards, penalties, strict=True)]
        inner = blend.discount().detach()
        by_logit = scale * gradients[-1] - settings.discount_penalty * inner * (1 - inner)
        self._blend_optimiser.step(rewards)
        self._discount_optimiser.step([by_logit])

    def _plain_gradient(self) -> Tensor:
        """Policy gradient of the primary return on the newest episodes, without entropy, flat."""
        batch = self.buffer.newest(self.settings.update_every + 1)
        returns = reward_to_go(batch.primary, self.settings.discount)
        baseline = self._baseline("_outer_baseline", returns, batch, 0.99)
        weights = torch.where(batch.mask, returns - baseline, 0) / (len(returns) * batch.divisor)
        gradient = self.policy.gradient(batch.x, batch.actions, weights)
        return torch.cat([part.reshape(-1) for part in gradient])

    def _warm_up(self) -> None:
        """One step on the sum of all rewards, on the newest two episodes."""
        batch = self._scaled(self.buffer.newest(2))
        rewards = batch.primary + batch.auxiliary.sum(-1)
        returns = reward_to_go(rewards, self.inner_discount)
        baseline = self._baseline("_inner_baseline", returns, batch, 0.9)
        self._ascend_policy(batch, returns - baseline, len(returns))

    def _improve_policy(self, steps: int) -> None:
        """Steps on the blend, on episodes drawn uniformly; their returns are computed for many steps at once."""
        size = min(self.settings.batch_size, len(self.buffer))
        at_once = max(1, CHUNK_NUMBERS // (size * self.buffer.horizon * self.policy.features.size))
        while steps > 0:
            draws = [self.buffer.draw(size, self._drawing) for _ in range(min(steps, at_once))]
            batch = self._scaled(self.buffer.take(np.concatenate(draws)))
            with torch.no_grad():
                blended = self.blend(batch.x, batch.primary, batch.auxiliary)
                returns = reward_to_go(torch.where(batch.mask, blended, 0), self.inner_discount)
            parts = [part - self._baseline("_inner_baseline", part, batch, 0.9) for part in returns.split(size)]
            self._ascend_policy(batch, torch.cat(parts), size)
            steps -= len(draws)

    def _ascend_policy(self, batch: Batch, advantages: Tensor, size: int) -> None:
        """A step on each `size` episodes in turn."""
        weights = torch.where(batch.mask, advantages, 0) / (size * batch.divisor)
        parts = [column.split(size) for column in (batch.x, batch.actions, weights)]
        entropies = [None] * len(parts[0])
        if self.settings.entropy_weight:
            there = batch.mask.to(weights.dtype).split(size)
            entropies = [part * (self.settings.entropy_weight / part.sum()) for part in there]
        for x, actions, weight, entropy in zip(*parts, entropies, strict=True):
            self._policy_optimiser.step(self.policy.gradient(x, actions, weight, entropy))

    def _baseline(self, name: str, returns: Tensor, batch: Batch, keep: float) -> float:
        """The running mean of the returns before this batch, which then enters it; 0 without baselines."""
        if self.settings.baseline == "none":
            return 0.0
        before, mean = getattr(self, name), float(returns.sum() / (len(returns) * batch.divisor))
        setattr(self, name, mean if before is None else keep * before + (1 - keep) * mean)
        return before or 0.0

    def _scaled(self, batch: Batch) -> Batch:
        scale = self.settings.auxiliary_scale
        return batch if scale == 1 else batch._replace(auxiliary=scale * batch.auxiliary)

    def _by_parameter(self, flat: Tensor) -> list[Tensor]:
        shapes = [parameter.shape for parameter in self.policy.parameters()]
        parts = torch.split(flat, [shape.numel() for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _less_baseline(rewards: Tensor, mask: Tensor, baseline: float, discount: float) -> Tensor:
    """Rewards whose sums from each step on are less by the baseline: for products that take rewards, not returns."""
    if not baseline:
        return rewards
    followed = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    return rewards - baseline * (1 - discount * followed.to(rewards.dtype))
