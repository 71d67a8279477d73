"""LIRPG and the three of BiPaRS as trainers: blends that are judged by what one update of the policy brings."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from rewardlab.checks import check_choice, check_scalar
from rewardlab.shaping.sampled.ascent import Ascent, Optimiser
from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.curvature_products import exact_product, flat_parameters, surrogate_product
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.one_step import (
    carried_sensitivity,
    explicit_mapping_return,
    importance_weighted_gradient,
    importance_weighted_return,
    mixed_derivative,
)
from rewardlab.shaping.sampled.policies import Policy
from rewardlab.shaping.sampled.surrogate import reward_to_go
from rewardlab.shaping.sampled.trainer import History, Trainer, check_names, parameter_shapes

__all__ = ["OneStep", "OneStepMethod", "OneStepSettings", "ToldWeights"]

OneStepMethod = Literal["lirpg", "explicit_mapping", "meta_gradient", "carried"]
PolicyOptimiser = Literal["rmsprop", "sgd"]
Baseline = Literal["none", "batch"]
CarriedCurvature = Literal["surrogate", "exact"]


@dataclass(frozen=True)
class OneStepSettings:
    """What `OneStep` does and how fast; the defaults are LIRPG's on Atari, as far as they are known.

    Args:
        method: Where the hyper-gradient comes from.
            "lirpg": the primary return after the update, by importance weights on the episodes that made it.
            "explicit_mapping": the policy is told the weights (`ToldWeights`), and they follow the plain policy
            gradient through its inputs; BiPaRS' EM.
            "meta_gradient": the policy gradient of the primary return after the update, on the next episodes, times
            the derivative of the update; BiPaRS' MGL.
            "carried": the same through all updates so far; BiPaRS' IMGL.
        discount: Of the primary return, in [0, 1]. That of the blend is the blend's, and is not learned.
        entropy_weight: Of the entropy in the policy's update.
        policy_learning_rate: Of the policy.
        blend_learning_rate: Of the blend's weights; 0 keeps them.
        policy_optimiser: An update is differentiated with what RMSprop divides by held constant, so that parameters
            whose gradients were all 0 so far count beyond measure: plain steps ("sgd") where features are sparse.
        blend_optimiser: Of the blend.
        update_every: Episodes of an update, drawn from the policy as it is and used for nothing else.
        baseline: "batch" subtracts from each return the mean at the same step over the episodes of the update still
            under way, of inner and of primary returns; there is no critic.
        curvature: With "carried" the Hessian by which earlier updates are carried over: what automatic differentiation
            of the sampled gradient gives, or the unbiased one, which is noisy.
        auxiliary_scale: Factor of all auxiliary rewards.
        horizon: Most steps of an episode; None: the environment's time limit.

    Source: On Learning Intrinsic Rewards for Policy Gradient Methods (arXiv 1804.06459), official A2C code: both rates
        7e-4, RMSprop, 16 environments (of 5 steps; of whole episodes here). Its entropy weight is recalled, and its
        intrinsic reward, a network, has factor 0.01. Those of BiPaRS (arXiv 2011.02669) are not known here.
    """

    method: OneStepMethod = "lirpg"
    discount: float = 0.99
    entropy_weight: float = 0.01
    policy_learning_rate: float = 7e-4
    blend_learning_rate: float = 7e-4
    policy_optimiser: PolicyOptimiser = "rmsprop"
    blend_optimiser: Optimiser = "rmsprop"
    update_every: int = 16
    baseline: Baseline = "batch"
    curvature: CarriedCurvature = "surrogate"
    auxiliary_scale: float = 1.0
    horizon: int | None = None

    def __post_init__(self):
        check_choice("method", self.method, get_args(OneStepMethod))
        check_scalar("discount", self.discount, low=0.0, high=1.0)
        for name in ("entropy_weight", "blend_learning_rate"):
            check_scalar(name, getattr(self, name), low=0.0)
        check_scalar("policy_learning_rate", self.policy_learning_rate, low=0.0, open_low=True)
        check_scalar("update_every", self.update_every, low=1, whole=True)
        check_scalar("auxiliary_scale", self.auxiliary_scale)
        if self.horizon is not None:
            check_scalar("horizon", self.horizon, low=1, whole=True)
        check_choice("policy_optimiser", self.policy_optimiser, get_args(PolicyOptimiser))
        check_choice("blend_optimiser", self.blend_optimiser, get_args(Optimiser))
        check_choice("baseline", self.baseline, get_args(Baseline))
        check_choice("curvature", self.curvature, get_args(CarriedCurvature))
        if self.baseline == "batch" and self.update_every < 2:
            raise ValueError("update_every is 1, expected 2 or more with baseline='batch': less its mean it is 0")


class ToldWeights:
    """Features for explicit mapping: those of the observation, then the blend's weights of the auxiliary rewards there.

    Args:
        features: From observations (n, dimensions) to features (n, `features.size`).
        blend: The blend that is trained with the policy.
    """

    def __init__(self, features, blend: BlendNetwork):
        self.features, self.blend = features, blend
        self.size = features.size + blend.heuristics

    def row(self, observation: Float[np.ndarray, " dimensions"]) -> Float[np.ndarray, " features"]:
        """Features of one observation."""
        if not hasattr(self.features, "row"):
            return self(torch.from_numpy(observation)[None])[0].numpy()
        x = self.features.row(observation)
        with torch.no_grad():
            told = self.blend.weights(torch.from_numpy(x))[-self.blend.heuristics :]
        return np.concatenate([x, told.detach().numpy()])

    def __call__(self, observations: Float[Tensor, "n dimensions"]) -> Float[Tensor, "n features"]:
        """Features of each row; the weights are constants."""
        x = self.features(observations)
        return torch.cat([x, self.blend.weights(x)[..., -self.blend.heuristics :].detach()], -1)


class OneStep(Trainer):
    """A blend that looks one update of the policy ahead, or is carried from one to the next.

    Every few episodes the policy takes one step on the blend, and the blend one step along its hyper-gradient. With
    "lirpg" and "explicit_mapping" that is taken on the episodes of the same update, with the other two on the next
    ones, before they update the policy in turn.

    The history's `cosine` and `norm_ratio` are those of the vector q in policy space, where the hyper-gradient is
    q' d(inner gradient): to the plain policy gradient v of the primary return, and to `policy_learning_rate` * v. With
    "meta_gradient" q is <v, d inner gradient> itself, so that both are 1 with plain steps, and with RMSprop tell what
    its divisor turns. "explicit_mapping" and "carried" have no such vector: NaN. `alignment`, which all have, is the
    cosine in the blend's parameters to that first-order form, on the same episodes: a sign where there is one weight.

    Args:
        env: See `Barfi`.
        policy: Trained in place; with "explicit_mapping" its features are `ToldWeights` of the same blend.
        blend: Trained in place, one weight an auxiliary reward; its discount is kept. One number a heuristic, the
            ablation that should stand beside larger blends, is `BlendNetwork("scalar", learn_bonus=False, start=0.0)`.
        settings: See `OneStepSettings`.
        auxiliary: Names of the auxiliary rewards, in the order of the blend's weights.
        rng: Seed of everything but the first parameters.

    Raises:
        TypeError, ValueError: As `Barfi`; or if policy and method do not go together.

    Source: arXiv 1804.06459 and, from a secondary account, arXiv 2011.02669; see `one_step`. There actor-critics on
        pieces of episodes, here REINFORCE on whole ones, so that all of them differ in the hyper-gradient alone.

    Example:
        >>> import gymnasium, environments.guided
        >>> from rewardlab.shaping.sampled.features import OneHot
        >>> from rewardlab.shaping.sampled.policies import SoftmaxPolicy
        >>> grid = gymnasium.make("rewardlab/GuidedGrid-v0", auxiliary=("bad",))
        >>> blend = BlendNetwork("scalar", learn_bonus=False, start=0.0)
        >>> trainer = OneStep(grid, SoftmaxPolicy(OneHot(25), 4), blend, auxiliary=("bad",))
        >>> trainer.train(32).cosines.shape
        (2,)
    """

    def __init__(
        self,
        env,
        policy: Policy,
        blend: BlendNetwork,
        settings: OneStepSettings | None = None,
        *,
        auxiliary: Sequence[str],
        rng: int = 0,
    ):
        settings = OneStepSettings() if settings is None else settings
        check_names(auxiliary, blend)
        told = isinstance(policy.features, ToldWeights)
        if told != (settings.method == "explicit_mapping") or (told and policy.features.blend is not blend):
            raise ValueError(
                f"the policy's features are {type(policy.features).__name__} with method={settings.method!r}, expected "
                f"ToldWeights of the blend that is trained with 'explicit_mapping', and other ones without"
            )
        every = settings.update_every
        super().__init__(env, policy, auxiliary=auxiliary, buffer=every, horizon=settings.horizon, rng=rng)
        self.blend, self.settings = blend, settings
        self.sensitivity: Tensor | None = None  # of the policy's parameters to the blend's, as far as it is carried
        self._mixed: Tensor | None = None  # derivative of the last update's gradient by the blend's parameters
        self._rates: Tensor | None = None
        self._policy_optimiser = Ascent(settings.policy_optimiser, policy.parameters(), settings.policy_learning_rate)
        self._blend_optimiser = Ascent(
            settings.blend_optimiser, blend.reward_parameters(), settings.blend_learning_rate
        )

    @property
    def inner_discount(self) -> float:
        """The blend's discount, which is not learned."""
        return float(self.blend.discount().detach())

    def update(self) -> None:
        """One step of blend and policy, where one is due."""
        if self.episodes % self.settings.update_every:
            return
        batch = self.buffer.newest(self.settings.update_every)
        batch = batch._replace(auxiliary=self.settings.auxiliary_scale * batch.auxiliary)
        plain = self._gradient(batch, self._primary(batch), self.settings.discount)
        if self.settings.method in ("meta_gradient", "carried"):
            if self.sensitivity is not None:
                self._look_back(plain)
            self._improve_policy(batch)
        elif self.settings.method == "lirpg":
            self._look_ahead(batch, plain)
        else:
            self._through_inputs(batch, plain)

    def learned(self) -> dict:
        """See `Trainer.learned`."""
        return {
            "policy": self.policy,
            "blend": self.blend,
            "policy_optimiser": self._policy_optimiser,
            "blend_optimiser": self._blend_optimiser,
        }

    def facts(self) -> dict:
        """See `Trainer.facts`."""
        return (
            {"trainer": "one_step"} | super().facts() | {"blend": parameter_shapes(self.blend)} | asdict(self.settings)
        )

    def state_dict(self) -> dict:
        """See `Trainer.state_dict`."""
        carried = {"sensitivity": self.sensitivity, "mixed": self._mixed, "rates": self._rates}
        return super().state_dict() | {"carried": carried}

    def load_state_dict(self, state: dict) -> None:
        """See `Trainer.load_state_dict`."""
        super().load_state_dict(state)
        self.sensitivity, self._mixed, self._rates = (state["carried"][n] for n in ("sensitivity", "mixed", "rates"))

    def _look_ahead(self, batch: Batch, plain: Tensor) -> None:
        """LIRPG: the blend by what the update would bring, then the update."""
        settings, rewards = self.settings, self._blended(batch)
        gradient, rates = self._inner(batch, rewards.detach())
        given = {
            "outer_discount": settings.discount,
            "advantages": reward_to_go(self._primary(batch), settings.discount),
        }
        objective = importance_weighted_return(
            self.policy,
            batch,
            rewards,
            self.inner_discount,
            learning_rate=rates,
            entropy_weight=settings.entropy_weight,
            **given,
        )
        hyper = torch.autograd.grad(objective, self.blend.reward_parameters())
        after = importance_weighted_gradient(
            self.policy, batch, flat_parameters(self.policy) + rates * gradient, **given
        )
        self._climb(hyper, plain, rates * after, self._first_order(batch, plain))
        self._policy_optimiser.step(self._parts(gradient, self.policy.parameters()))

    def _through_inputs(self, batch: Batch, plain: Tensor) -> None:
        """Explicit mapping: the blend by what the policy does when it is told other weights, then the update."""
        seen = batch._replace(x=self._seen(batch), primary=self._primary(batch))
        told = self.blend.weights(seen.x)[..., -self.blend.heuristics :]
        objective = explicit_mapping_return(self.policy, seen, told, outer_discount=self.settings.discount)
        hyper = torch.autograd.grad(objective, self.blend.reward_parameters(), materialize_grads=True)
        first_order = self._first_order(batch, plain)
        gradient, _ = self._inner(batch, self._blended(batch).detach())  # at the weights that were told
        self._climb(hyper, plain, None, first_order)
        self._policy_optimiser.step(self._parts(gradient, self.policy.parameters()))

    def _look_back(self, plain: Tensor) -> None:
        """MGL and IMGL: the blend by what the last updates brought."""
        parameters = self.blend.reward_parameters()
        hyper = self._parts(plain @ self.sensitivity, parameters)
        vector = self._rates * plain if self.settings.method == "meta_gradient" else None
        self._climb(hyper, plain, vector, plain @ self._mixed)

    def _improve_policy(self, batch: Batch) -> None:
        """The update, and how it depends on the blend."""
        settings, discount, rewards = self.settings, self.inner_discount, self._blended(batch).detach()
        entropy = {"entropy_weight": settings.entropy_weight}
        gradient, rates = self._inner(batch, rewards)
        weights = torch.cat([part.detach().reshape(-1) for part in self.blend.reward_parameters()])
        mixed = mixed_derivative(self.policy, batch, lambda flat: (self._blended(batch, flat), discount), weights)
        if settings.method == "carried" and self.sensitivity is not None:
            make = exact_product if settings.curvature == "exact" else surrogate_product
            product = make(self.policy, batch, rewards, discount, **entropy)
            self.sensitivity = carried_sensitivity(self.sensitivity, product, mixed, learning_rate=rates)
        else:
            self.sensitivity = rates[:, None] * mixed
        self._mixed, self._rates = mixed, rates
        self._policy_optimiser.step(self._parts(gradient, self.policy.parameters()))

    def _inner(self, batch: Batch, rewards: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the update, and what the optimiser will multiply it by, both flat."""
        gradient = self._gradient(batch, rewards, self.inner_discount, self.settings.entropy_weight)
        rates = self._policy_optimiser.rates(self._parts(gradient, self.policy.parameters()))
        return gradient, torch.cat([rate.reshape(-1) for rate in rates])

    def _climb(self, hyper: Sequence[Tensor], plain: Tensor, vector: Tensor | None, first_order: Tensor) -> None:
        """A step of the blend, and its row in the history."""
        flat = torch.cat([part.reshape(-1) for part in hyper])
        length = float(flat.norm())
        if not length < math.inf:
            raise ValueError(f"the hyper-gradient after episode {self.episodes} is {length}: lower the learning rates")
        self._blend_optimiser.step(hyper)
        row = {"cosine": math.nan, "norm_ratio": math.nan, "alignment": _cosine(flat, first_order)}
        if vector is not None and (size := float(plain.norm())):
            ratio = float(vector.norm()) / (self.settings.policy_learning_rate * size)
            row |= {"cosine": _cosine(vector, plain), "norm_ratio": ratio}
        History.append(self.history.updates, episode=self.episodes, hypergradient=length, **row)

    def _gradient(self, batch: Batch, rewards: Tensor, discount: float, entropy: float = 0.0) -> Tensor:
        """As `inner_gradient`, in closed form where the policy has one."""
        weights = reward_to_go(torch.where(batch.mask, rewards, 0), discount) / (len(rewards) * batch.divisor)
        spread = batch.mask.to(weights.dtype) * (entropy / int(batch.mask.sum())) if entropy else None
        parts = self.policy.gradient(batch.x, batch.actions, weights, spread)
        return torch.cat([part.reshape(-1) for part in parts])

    def _first_order(self, batch: Batch, plain: Tensor) -> Tensor:
        """The hyper-gradient <plain, d inner gradient> on a batch, flat."""
        returns = reward_to_go(torch.where(batch.mask, self._blended(batch), 0), self.inner_discount)
        slope = self.policy.directional(batch.x, batch.actions, self._parts(plain, self.policy.parameters()))
        parts = torch.autograd.grad((slope * returns).sum(), self.blend.reward_parameters())
        return torch.cat([part.reshape(-1) for part in parts])

    def _blended(self, batch: Batch, flat: Tensor | None = None) -> Tensor:
        """Blended rewards of a batch less the baseline, at the blend's parameters or given ones."""
        inputs, parameters = (self._seen(batch), batch.primary, batch.auxiliary), self.blend.reward_parameters()
        if flat is None:
            rewards = self.blend(*inputs)
        else:
            given = {id(own): part for own, part in zip(parameters, self._parts(flat, parameters), strict=True)}
            named = {name: given[id(own)] for name, own in self.blend.named_parameters() if id(own) in given}
            rewards = functional_call(self.blend, named, inputs)
        return self._less_baseline(rewards, batch.mask, self.inner_discount)

    def _primary(self, batch: Batch) -> Tensor:
        return self._less_baseline(batch.primary, batch.mask, self.settings.discount)

    def _seen(self, batch: Batch) -> Tensor:
        """Features of the observation alone."""
        told = self.settings.method == "explicit_mapping"
        return batch.x[..., : -self.blend.heuristics] if told else batch.x

    def _less_baseline(self, rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
        """Rewards whose sums from each step on are less by the mean over the episodes still under way."""
        if self.settings.baseline == "none":
            return rewards
        returns = reward_to_go(torch.where(mask, rewards, 0), discount)
        advantages = torch.where(mask, returns - returns.sum(0) / mask.sum(0), 0)
        following = torch.cat([advantages[:, 1:], torch.zeros_like(advantages[:, :1])], 1)
        return advantages - discount * following

    @staticmethod
    def _parts(flat: Tensor, parameters) -> list[Tensor]:
        """A flat vector, parameter by parameter."""
        shapes = [parameter.shape for parameter in parameters]
        parts = torch.split(flat, [shape.numel() for shape in shapes])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _cosine(one: Tensor, other: Tensor) -> float:
    lengths = float(one.norm() * other.norm())
    return float(one @ other) / lengths if lengths else math.nan
