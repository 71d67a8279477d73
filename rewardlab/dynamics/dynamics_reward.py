"""The dynamics reward: what many snapshots of a discriminator think of a transition, together."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.checks import check_choice, check_finite, check_scalar
from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.reward_formula import RESCALES, mean_probability_reward

__all__ = ["PRECISIONS", "DynamicsReward"]

PRECISIONS = ("exact", "bfloat16")


class DynamicsReward(nn.Module):
    """K snapshots of one discriminator, stacked, and the reward that they give together.

    Nothing in it is trained further; gradients flow to the inputs only. Rows are taken in chunks, and on a CPU one
    snapshot after the other, so that the activations stay in the cache and memory grows with K by the logits alone:
    with 40 snapshots of the default sizes, 10 candidates of 2,000 rows take 8 MB beside the 22 MB of the weights. The
    time is that of the matrix products, within 10 %: nothing else is left to save exactly, as a ReLU stands between any
    two layers.

    Args:
        discriminator: The network that the snapshots are of; its scalers are taken over.
        states: K state dicts of it, oldest first, at least one.
        low: `(K,)` mean logit on generated transitions when each snapshot was taken.
        high: `(K,)` mean logit on real transitions then; above `low` unless `rescale` is "none".
        kind: How it was trained: "adversarial", "noise_ladder", or a name of the user's.
        rescale: "official", "stored" or "none"; see `rescale_logits`.
        probability_clip: See `mean_probability_reward`.
        precision: "exact" multiplies in the weights' own dtype; "bfloat16" the hidden layers after the first in
            bfloat16, about 1.8 times as fast on a processor that has it. Measured on 20 snapshots of the default sizes
            trained on real data: rewards off by 0.0005 (root mean square; 0.01 at most), the best of 10 candidates the
            same in 99.6 % of rows. May be set later.
        facts: Numbers and texts to keep with it (how it was trained, rows left out); saved as JSON.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If there is no snapshot, one does not fit the discriminator, a number is not finite, or with a
            rescale a snapshot has `high <= low`; names the snapshot.

    Source: steps 2 and 4 of the method in the official code of MOREC, arXiv 2310.05422.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        discriminator: Discriminator,
        states: Sequence[Mapping[str, Tensor]],
        low: Float[Tensor, " k"],
        high: Float[Tensor, " k"],
        *,
        kind: str,
        rescale: str = "official",
        probability_clip: float = 1.0,
        precision: str = "exact",
        facts: Mapping[str, object] | None = None,
    ):
        super().__init__()
        if len(states) == 0:
            raise ValueError("states is empty, expected at least one snapshot")
        if not isinstance(kind, str) or not kind:
            raise ValueError(f"kind is {kind!r}, expected a name")
        check_choice("rescale", rescale, RESCALES)
        check_scalar("probability_clip", probability_clip, low=0, high=1, open_low=True)
        self.kind, self.rescale, self.probability_clip = kind, rescale, float(probability_clip)
        self.precision, self.facts = precision, dict(facts or {})
        self.settings = discriminator.settings()
        self.observation_size, self.action_size = discriminator.observation_size, discriminator.action_size
        self.transition_input = discriminator.transition_input
        self._places = range(len(discriminator.layers))
        self._stack(discriminator, states)
        self.register_buffer("low", low.detach().clone())
        self.register_buffer("high", high.detach().clone())
        for name, end in (("low", self.low), ("high", self.high)):
            if tuple(end.shape) != (len(states),):
                raise ValueError(
                    f"{name} has shape {tuple(end.shape)}, expected {(len(states),)}, one number a snapshot"
                )
            check_finite(name, end)
        mean_probability_reward(torch.zeros_like(self.low), self.low, self.high, rescale=rescale)  # high > low

    def _stack(self, discriminator: Discriminator, states: Sequence[Mapping[str, Tensor]]) -> None:
        wanted = dict(discriminator.named_parameters())
        for index, state in enumerate(states):
            for name, parameter in wanted.items():
                if name not in state or state[name].shape != parameter.shape:
                    came = "nothing" if name not in state else f"shape {tuple(state[name].shape)}"
                    raise ValueError(f"states[{index}][{name!r}] is {came}, expected shape {tuple(parameter.shape)}")
                check_finite(f"states[{index}][{name!r}]", state[name])
        for name in ("observation_scaler", "action_scaler"):
            scaler = getattr(discriminator, name)
            copy = type(scaler)(len(scaler.low), limit=scaler.limit).to(scaler.low)
            copy.load_state_dict(scaler.state_dict())
            setattr(self, name, copy)
        self.register_buffer("transition_factor", discriminator.transition_factor.clone())
        for layer in self._places:
            weights = torch.stack([state[f"layers.{layer}.weight"].detach().T for state in states]).contiguous()
            biases = torch.stack([state[f"layers.{layer}.bias"].detach() for state in states])[:, None]
            self.register_buffer(f"weight_{layer}", weights)
            self.register_buffer(f"bias_{layer}", biases)

    @property
    def precision(self) -> str:
        """How the products are computed: "exact" or "bfloat16"."""
        return self._precision

    @precision.setter
    def precision(self, value: str) -> None:
        check_choice("precision", value, PRECISIONS)
        self._precision = value

    @property
    def snapshots(self) -> int:
        """How many snapshots give the reward, K."""
        return len(self.low)

    def logits(
        self,
        observations: Float[Tensor, "b d"],
        actions: Float[Tensor, "b m"],
        next_observations: Float[Tensor, "b *n d"],
        factors: Float[Tensor, "b f"] | None = None,
        *,
        chunk_rows: int = 2048,
    ) -> Float[Tensor, "k b *n"]:
        """Every snapshot's logit, not rescaled.

        Args:
            observations: In their own units.
            actions: Likewise.
            next_observations: One for each row, `(B, d)`, or N candidates for each, `(B, N, d)`. What the candidates
                of a row share in the first layer is computed once.
            factors: The unobserved factor where it is known; None for 0.
            chunk_rows: Transitions at a time, for the memory that activations take.

        Raises:
            ValueError: If shapes disagree.
        """
        single = next_observations.ndim == 2
        candidates = next_observations[:, None] if single else next_observations
        self._check(observations, actions, candidates)
        known = [self.observation_scaler(observations), self.action_scaler(actions)]
        d, m, f = self.observation_size, self.action_size, self.settings["factor_size"]
        rows = [slice(0, d), slice(d + f, d + f + m)]
        if factors is not None:
            known, rows = [*known, factors], [*rows, slice(d, d + f)]
        shared = torch.cat(known, dim=-1)
        first = torch.cat([self.weight_0[:, part] for part in rows], dim=1)
        moved = self._transitions(observations, candidates)
        count = max(1, chunk_rows // candidates.shape[1])
        group = 1 if observations.device.type == "cpu" else self.snapshots
        answers = []
        for start in range(0, self.snapshots, group):
            layers = self._layers(slice(start, start + group), first)
            parts = [_chunk(layers, *part) for part in zip(shared.split(count), moved.split(count), strict=True)]
            answers.append(torch.cat(parts, dim=1))
        answer = torch.cat(answers)
        return answer[..., 0] if single else answer

    def forward(
        self,
        observations: Float[Tensor, "b d"],
        actions: Float[Tensor, "b m"],
        next_observations: Float[Tensor, "b *n d"],
        factors: Float[Tensor, "b f"] | None = None,
    ) -> Float[Tensor, "b *n"]:
        """Dynamics reward of each transition, in nats; see `logits` and `mean_probability_reward`."""
        logits = self.logits(observations, actions, next_observations, factors)
        return mean_probability_reward(
            logits, self.low, self.high, rescale=self.rescale, probability_clip=self.probability_clip
        )

    def _transitions(self, observations: Tensor, candidates: Tensor) -> Tensor:
        if self.transition_input == "next_observation":
            return self.observation_scaler(candidates)
        return (candidates - observations[:, None]) * self.transition_factor

    def _layers(self, members: slice, first: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and biases of some snapshots; the first layer's in two parts, what candidates share and the rest."""
        layers = [(getattr(self, f"weight_{i}")[members], getattr(self, f"bias_{i}")[members]) for i in self._places]
        if self.precision == "bfloat16":
            layers[1:-1] = [(weight.bfloat16(), bias.bfloat16()) for weight, bias in layers[1:-1]]
        (weight, bias), *deeper = layers
        return [(first[members], bias), (weight[:, -self.observation_size :], bias), *deeper]

    def _check(self, observations: Tensor, actions: Tensor, candidates: Tensor) -> None:
        rows = len(observations)
        if observations.ndim != 2 or observations.shape[1] != self.observation_size:
            raise ValueError(
                f"observations has shape {tuple(observations.shape)}, expected (B, {self.observation_size})"
            )
        if tuple(actions.shape) != (rows, self.action_size):
            raise ValueError(f"actions has shape {tuple(actions.shape)}, expected {(rows, self.action_size)}")
        if candidates.ndim != 3 or (len(candidates), candidates.shape[-1]) != (rows, self.observation_size):
            raise ValueError(
                f"next_observations has shape {tuple(candidates.shape)}, expected ({rows}, N, {self.observation_size})"
            )


def _chunk(layers: list[tuple[Tensor, Tensor]], shared: Tensor, moved: Tensor) -> Tensor:
    """Logits of some snapshots on some rows: `(g, b, N)`."""
    (first, bias), (last, _), *deeper = layers
    rows, n, _ = moved.shape
    base = torch.baddbmm(bias, shared.expand(len(bias), -1, -1), first)
    values = torch.bmm(moved.reshape(1, rows * n, -1).expand(len(bias), -1, -1), last)
    values = values.view(len(bias), rows, n, -1).add_(base[:, :, None]).view(len(bias), rows * n, -1)
    for weight, bias in deeper:
        values = torch.baddbmm(bias, values.relu_().to(weight.dtype), weight)
    return values.view(-1, rows, n)
