"""Intrinsic curiosity: novelty is the error of predicting what an action does to features that tell actions apart."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rewardlab.checks import check_scalar, check_sizes
from rewardlab.intrinsic.feature_networks import ImageLayout, image_layers, initialise_orthogonal, vector_layers
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.step_buffer import StepBuffer

__all__ = ["CuriosityLosses", "CuriosityNetworks", "IntrinsicCuriosity", "forward_loss", "inverse_loss"]

CONVOLUTIONS = ((32, 3, 2, 1),) * 4  # of a 42 x 42 image these leave 288 numbers
GRADIENT_NORM = 40.0
MODEL_GAIN = 0.01  # both models begin by predicting almost nothing, as in the official code


def forward_loss(predicted: Float[Tensor, "*batch f"], features: Float[Tensor, "*batch f"]) -> Float[Tensor, "*batch"]:
    """Half the squared length of the error, summed over the features.

    The official code writes 288 times half the mean: the same for 288 features, and 288 / f times too much for f.

    Example:
        >>> forward_loss(torch.tensor([0.5, -0.5, 1.0]), torch.zeros(3)).item()
        0.75
    """
    return 0.5 * (predicted - features).square().sum(-1)


def inverse_loss(logits: Float[Tensor, "n a"], actions: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Cross entropy of the action taken, in nats."""
    return nn.functional.cross_entropy(logits, actions, reduction="none")


class CuriosityLosses(NamedTuple):
    """Losses of each transition, `(n,)` each."""

    inverse: Tensor
    forward: Tensor

    def combined(self, forward_weight: float = 0.2, scale: float = 10.0) -> Tensor:
        """`scale ((1 - forward_weight) inverse + forward_weight forward)`, averaged over the transitions."""
        return scale * ((1 - forward_weight) * self.inverse + forward_weight * self.forward).mean()


class CuriosityNetworks(nn.Module):
    """Features phi of observations, the inverse model that names the action between two, and the forward model.

    Args:
        shape: Of one observation: `(features,)`, or `(height, width, channels)`.
        actions: Number of actions.
        hidden: Widths of phi's layers before the last, for flat features.
        features: Length of phi for flat features; images have what the convolutions leave.
        width: Of the one hidden layer of both models.
        generator: Draws the weights.

    Raises:
        ValueError: If images are too small for the convolutions.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        actions: int,
        *,
        hidden: Sequence[int] = (256,),
        features: int = 288,
        width: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(shape) == 1:
            layers = vector_layers(shape[0], (*hidden, features), nn.ELU)
        else:
            layers, features = image_layers(shape, CONVOLUTIONS, nn.ELU)
            layers = [ImageLayout(), *layers]
        self.actions = actions
        self.encoder = nn.Sequential(*layers)
        self.inverse = nn.Sequential(nn.Linear(2 * features, width), nn.ReLU(), nn.Linear(width, actions))
        self.forward_model = nn.Sequential(nn.Linear(features + actions, width), nn.ReLU(), nn.Linear(width, features))
        initialise_orthogonal(self.encoder, generator)
        for model in (self.inverse, self.forward_model):
            initialise_orthogonal(model, generator, MODEL_GAIN)

    def forward(
        self,
        observations: Float[Tensor, "n ..."],
        actions: Int[Tensor, " n"],
        next_observations: Float[Tensor, "n ..."],
    ) -> CuriosityLosses:
        """Both losses of each transition; phi learns from both, through both of its observations."""
        before, after = self.encoder(observations), self.encoder(next_observations)
        logits = self.inverse(torch.cat((before, after), -1))
        taken = nn.functional.one_hot(actions, self.actions).to(before)
        predicted = self.forward_model(torch.cat((before, taken), -1))
        return CuriosityLosses(inverse_loss(logits, actions), forward_loss(predicted, after))


class IntrinsicCuriosity:
    """Bonus `eta ||f(phi(s), a) - phi(s')||^2 / 2` of each transition, for discrete actions.

    phi is trained to tell which action was taken, so what no action affects need not be in it, and its noise is then
    not paid. A transition that stays unpredictable in what actions do affect is paid for ever. A rollout is paid with
    the networks as they were before it. The bonus changes which policy is best.

    Args:
        shape: Of one observation: `(features,)`, or `(height, width, channels)` of bytes, which are divided by 255.
        actions: Number of actions.
        environments: How many step at once.
        eta: Scale of the bonus.
        forward_weight: Share of the forward loss; the inverse loss has the rest.
        loss_scale: Of the whole loss. (The official code multiplies it by the 20 steps of its rollout once more.)
        hidden: Widths of phi's layers before the last, for flat features.
        features: Length of phi for flat features.
        learning_rate: Adam's.
        epochs: Passes over a rollout at each update.
        minibatches: Steps a pass.
        seed: Of weights and order.
        device: Where the networks are.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range, or the shape is none of the above.

    Source: arXiv 1705.05363 and its official code, whose forward loss is this one for 288 features.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        actions: int,
        *,
        environments: int,
        eta: float = 0.01,
        forward_weight: float = 0.2,
        loss_scale: float = 10.0,
        hidden: Sequence[int] = (256,),
        features: int = 288,
        learning_rate: float = 1e-4,
        epochs: int = 1,
        minibatches: int = 4,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.shape = check_sizes("shape", shape)
        if len(shape) not in (1, 3):
            raise ValueError(f"shape is {tuple(shape)}, expected (features,) or (height, width, channels)")
        self.actions = check_scalar("actions", actions, low=2, whole=True)
        self.eta = check_scalar("eta", eta, low=0)
        self.forward_weight = check_scalar("forward_weight", forward_weight, low=0, high=1)
        self.loss_scale = check_scalar("loss_scale", loss_scale, low=0, open_low=True)
        self.epochs = check_scalar("epochs", epochs, low=1, whole=True)
        self.minibatches = check_scalar("minibatches", minibatches, low=1, whole=True)
        check_scalar("learning_rate", learning_rate, low=0, open_low=True)
        check_scalar("features", features, low=1, whole=True)
        self.generator = torch.Generator().manual_seed(check_scalar("seed", seed, low=0, whole=True))
        self.device = torch.device(device)
        self.networks = CuriosityNetworks(
            self.shape,
            actions,
            hidden=check_sizes("hidden", hidden) if len(hidden) else (),
            features=features,
            generator=self.generator,
        ).to(self.device)
        self.optimiser = torch.optim.Adam(self.networks.parameters(), lr=learning_rate)
        self.environments = environments
        self._steps = StepBuffer(environments, "observations", "actions", "next_observations", "valid")

    def begin(self, starts: Starts) -> None:
        """Nothing: each transition is paid by itself."""

    def observe(self, arrivals: Arrivals) -> None:
        """Keep the transition of each environment."""
        actions = arrivals.actions
        if actions is None or np.asarray(actions).dtype.kind not in "iu" or np.asarray(actions).ndim != 1:
            found = "None" if actions is None else f"{np.asarray(actions).dtype} of shape {np.asarray(actions).shape}"
            raise ValueError(f"arrivals.actions is {found}, expected whole numbers ({len(arrivals.valid)},)")
        wrong = np.flatnonzero((actions < 0) | (actions >= self.actions))
        if len(wrong):
            raise ValueError(f"arrivals.actions[{wrong[0]}] is {actions[wrong[0]]}, expected 0 to {self.actions - 1}")
        self._steps.add(arrivals, observations=self.shape, next_observations=self.shape, actions=())

    @torch.no_grad()
    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """Bonus of each step since the last update; 0 where nothing was seen."""
        steps = self._steps.stacked()
        found = np.zeros(steps["valid"].shape)
        if steps["valid"].any():
            parts = zip(*(each.split(4096) for each in self._seen(steps)), strict=True)
            errors = torch.cat([self.networks(*part).forward for part in parts])
            found[steps["valid"]] = self.eta * errors.double().cpu().numpy()
        return found

    def update(self) -> dict[str, float]:
        """Train all networks on these steps, then forget them."""
        steps = self._steps.stacked()
        self._steps.clear()
        if not steps["valid"].any():
            return {}
        seen, losses = self._seen(steps), []
        for _ in range(self.epochs):
            order = torch.randperm(len(seen[1]), generator=self.generator)
            for part in order.tensor_split(min(self.minibatches, len(order))):
                found = self.networks(*(each[part.to(self.device)] for each in seen))
                self.optimiser.zero_grad(set_to_none=True)
                found.combined(self.forward_weight, self.loss_scale).backward()
                nn.utils.clip_grad_norm_(self.networks.parameters(), GRADIENT_NORM)
                self.optimiser.step()
                losses.append([float(each.detach().mean()) for each in found])
        inverse, forward = np.mean(losses, axis=0).tolist()
        return {"inverse_loss": inverse, "forward_loss": forward}

    def _seen(self, steps: dict[str, np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
        valid = steps["valid"]
        before, after = (self._scaled(steps[name][valid]) for name in ("observations", "next_observations"))
        return before, torch.as_tensor(steps["actions"][valid].astype(np.int64), device=self.device), after

    def _scaled(self, observations: np.ndarray) -> Tensor:
        bytes_to_unit = 255.0 if len(self.shape) == 3 else 1.0
        return torch.as_tensor(observations.astype(np.float32) / np.float32(bytes_to_unit), device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, generator, and the steps not yet learned from."""
        return {
            "networks": {name: value.clone() for name, value in self.networks.state_dict().items()},
            "optimiser": copy.deepcopy(self.optimiser.state_dict()),
            "generator": self.generator.get_state(),
            "steps": self._steps.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state is of another number of environments.
            RuntimeError: If it is of other networks.
        """
        self._steps.load_state_dict(state["steps"])
        self.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))
        self.generator.set_state(state["generator"].cpu())

    def close(self) -> None:
        """Nothing to let go of."""
