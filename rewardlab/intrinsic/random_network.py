"""Random network distillation: novelty is the error of predicting a fixed random network."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from rewardlab.checks import check_scalar, check_sizes
from rewardlab.intrinsic.feature_networks import ImageLayout, image_layers, initialise_orthogonal, vector_layers
from rewardlab.intrinsic.forward_filter import ForwardFilter
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.running_moments import RunningMoments
from rewardlab.intrinsic.step_buffer import StepBuffer, check_observations

__all__ = ["DistillationNetworks", "RandomNetworkDistillation"]

CLIP = 5.0  # standard deviations an observation may be from the mean
CONVOLUTIONS = ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0))
LEAK = 0.2


class DistillationNetworks(nn.Module):
    """A frozen random target and the predictor that learns it: the same trunk, and two more layers.

    Orthogonal weights of gain sqrt 2 and zero biases: with PyTorch's own initialisation nine tenths of the target's
    energy is a constant that all states share, and states never visited are soon predicted too.

    Args:
        shape: Of one observation: `(features,)`, or `(height, width, channels)` of which the last is looked at.
        hidden: Widths of the trunk for flat features; the predictor's extra layers have the last of them.
        features: Numbers predicted.
        generator: Draws the weights.

    Raises:
        ValueError: If the shape is neither, or images are too small for the convolutions.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        hidden: Sequence[int] = (256, 256),
        features: int = 512,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        (target, width), (trunk, _) = (self._trunk(shape, hidden) for _ in range(2))
        extra = 256 if len(shape) == 3 else hidden[-1]
        head = vector_layers(width, (extra, extra), nn.ReLU)
        self.target = nn.Sequential(*target, nn.Linear(width, features))
        self.predictor = nn.Sequential(*trunk, *head, nn.Linear(extra, features))
        initialise_orthogonal(self, generator)
        self.target.requires_grad_(False)

    @staticmethod
    def _trunk(shape: tuple[int, ...], hidden: Sequence[int]) -> tuple[list[nn.Module], int]:
        if len(shape) == 1:
            return vector_layers(shape[0], hidden, nn.LeakyReLU, negative_slope=LEAK), hidden[-1]
        layers, width = image_layers((*shape[:2], 1), CONVOLUTIONS, nn.LeakyReLU, negative_slope=LEAK)
        return [ImageLayout(), *layers], width

    def forward(self, observations: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """Mean squared error of the predictor over the features, of standardised observations."""
        with torch.no_grad():
            target = self.target(observations)
        return (target - self.predictor(observations)).square().mean(-1)


class RandomNetworkDistillation:
    """Bonus `mean_j (T_j(x) - P_j(x))^2` of the standardised state arrived at, in units of its own running scale.

    x is the next observation, each number standardised by running moments and clipped to +-5. A rollout is paid with
    the moments and the predictor as they were before it; `update` then takes the rollout into the moments and trains
    the predictor on it. The bonus is divided by the scale of `ForwardFilter`, whose sums run on through episode ends.

    The bonus depends on the state arrived at alone: neither the action nor how surprising the transition was count, so
    noise between known states pays nothing; observations of random pixels always do. It changes which policy is best.
    The method also learns the intrinsic return with a value head of its own that no episode end cuts; where one value
    serves both rewards, dying hides the novelty of the next life.

    Args:
        shape: Of one observation: `(features,)`, or `(height, width, channels)` of bytes, of which the last channel,
            the newest frame, is looked at.
        environments: How many step at once.
        hidden: Widths of the networks' trunk for flat features.
        features: Numbers predicted.
        discount: Of the running sums that scale the bonus.
        learning_rate: Adam's.
        epochs: Passes over a rollout at each update.
        minibatches: Steps a pass.
        update_fraction: Share of each minibatch that is learned from, drawn at random; less than 1 keeps many
            environments from teaching the predictor faster than one would.
        priming_steps: Steps of each environment that only begin the moments where `prime` was not called: not paid, not
            learned from.
        seed: Of weights, order and masks.
        device: Where the networks are.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range, or the shape is none of the above.

    Source: arXiv 1810.12894 and its official code, which begins the moments with 6,400 steps of random actions
        in each environment (`prime`).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        environments: int,
        hidden: Sequence[int] = (256, 256),
        features: int = 512,
        discount: float = 0.99,
        learning_rate: float = 1e-4,
        epochs: int = 4,
        minibatches: int = 4,
        update_fraction: float = 1.0,
        priming_steps: int = 128,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.shape = check_sizes("shape", shape)
        if len(shape) not in (1, 3):
            raise ValueError(f"shape is {tuple(shape)}, expected (features,) or (height, width, channels)")
        self.epochs = check_scalar("epochs", epochs, low=1, whole=True)
        self.minibatches = check_scalar("minibatches", minibatches, low=1, whole=True)
        self.update_fraction = check_scalar("update_fraction", update_fraction, low=0, high=1, open_low=True)
        self.priming_steps = check_scalar("priming_steps", priming_steps, low=0, whole=True)
        check_scalar("learning_rate", learning_rate, low=0, open_low=True)
        check_scalar("features", features, low=1, whole=True)
        self.generator = torch.Generator().manual_seed(check_scalar("seed", seed, low=0, whole=True))
        networks = DistillationNetworks(
            self.shape, hidden=check_sizes("hidden", hidden), features=features, generator=self.generator
        )
        self.networks = networks.to(device)
        self.optimiser = torch.optim.Adam(self.networks.predictor.parameters(), lr=learning_rate)
        self.device = torch.device(device)
        self.moments = RunningMoments(self.shape if len(shape) == 1 else (*self.shape[:2], 1))
        self.filter = ForwardFilter(environments, discount=discount)
        self.environments = environments
        self._steps = StepBuffer(environments, "next_observations", "valid")
        self._paid: np.ndarray | None = None
        self._primed_steps = 0

    @property
    def primed(self) -> bool:
        """True once observations can be standardised."""
        return self._primed_steps > 0 and self._primed_steps >= self.priming_steps

    def prime(self, observations: Shaped[np.ndarray, "k ..."]) -> None:
        """Begin the moments of the observations with these, from random actions for instance.

        Raises:
            ValueError: If observations have another shape, there are none, or one is not finite.
        """
        found = self._looked_at(check_observations("observations", observations, self.shape))
        if not len(found):
            raise ValueError("observations has no rows, expected at least one to begin the moments with")
        self.moments.update(found)
        self._primed_steps = max(self.priming_steps, 1)

    def begin(self, starts: Starts) -> None:
        """Nothing: neither networks nor the filter know of episodes."""

    def observe(self, arrivals: Arrivals) -> None:
        """Keep what one step led to.

        Raises:
            RuntimeError: Between `rewards` and `update`: what was evaluated is to be learned from first.
        """
        if self._paid is not None:
            raise RuntimeError("a step was observed after rewards() and before update(); call update() first")
        self._steps.add(arrivals, next_observations=self.shape)

    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """Bonus of each step since the last update; 0 where nothing was seen, and until the moments are begun.

        Raises:
            ValueError: If there are no moments yet and `priming_steps` is 0.
        """
        if not len(self._steps):  # nothing to keep either: the next steps are still to be paid
            return np.zeros((0, self._steps.environments))
        if self._paid is None:
            self._paid = self._evaluate()
        return self._paid.copy()

    def _evaluate(self) -> np.ndarray:
        steps = self._steps.stacked()
        valid = steps["valid"]
        if not self.primed:
            if not self.priming_steps:
                raise ValueError("the moments of the observations are not begun: call prime, or set priming_steps")
            return np.zeros(valid.shape)
        raw = np.zeros(valid.shape)
        raw[valid] = self.errors(steps["next_observations"][valid])
        return self.filter.normalised(raw)

    @torch.no_grad()
    def errors(self, observations: Shaped[np.ndarray, "k ..."]) -> Float[np.ndarray, " k"]:
        """Prediction error of observations, before any scaling."""
        standard = self._standardised(self._looked_at(observations))
        parts = [self.networks(part) for part in standard.split(4096)]
        return torch.cat(parts).double().cpu().numpy() if len(observations) else np.zeros(0)

    def update(self) -> dict[str, float]:
        """Take the steps into the moments, train the predictor on them, forget them."""
        paid, ready = self.rewards(), self.primed
        steps = self._steps.stacked()
        seen = self._looked_at(steps["next_observations"][steps["valid"]])
        if len(seen):
            self.moments.update(seen)
        log = {"bonus_mean": float(paid.mean()) if paid.size else 0.0, "scale": self.filter.scale}
        if ready and len(seen):
            log["predictor_loss"] = self._train(seen)
        self._primed_steps = self._primed_steps if ready else self._primed_steps + len(steps["valid"])
        self._steps.clear()
        self._paid = None
        return log

    def _train(self, seen: np.ndarray) -> float:
        standard = self._standardised(seen)
        losses = []
        for _ in range(self.epochs):
            order = torch.randperm(len(standard), generator=self.generator)
            for part in order.tensor_split(min(self.minibatches, len(order))):
                mask = torch.rand(len(part), generator=self.generator) < self.update_fraction
                errors = self.networks(standard[part.to(self.device)])
                loss = (errors * mask.to(errors)).sum() / max(int(mask.sum()), 1)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self.optimiser.step()
                losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def _looked_at(self, observations: np.ndarray) -> np.ndarray:
        return observations[..., -1:] if len(self.shape) == 3 else observations

    def _standardised(self, observations: np.ndarray) -> Tensor:
        scale = np.sqrt(self.moments.variance)
        standard = np.clip((observations - self.moments.mean) / scale, -CLIP, CLIP)
        return torch.as_tensor(standard.astype(np.float32), device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, moments, filter, generator, and the steps not yet learned from."""
        return {
            "networks": {name: value.clone() for name, value in self.networks.state_dict().items()},
            "optimiser": copy.deepcopy(self.optimiser.state_dict()),
            "moments": self.moments.state_dict(),
            "filter": self.filter.state_dict(),
            "generator": self.generator.get_state(),
            "steps": self._steps.state_dict(),
            "paid": self._paid,
            "primed_steps": self._primed_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state is of another number of environments or discount.
            RuntimeError: If it is of other networks.
        """
        self._steps.load_state_dict(state["steps"])
        self.filter.load_state_dict(state["filter"])
        self.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))
        self.moments.load_state_dict(state["moments"])
        self.generator.set_state(state["generator"].cpu())
        self._paid = None if state["paid"] is None else np.array(state["paid"])
        self._primed_steps = state["primed_steps"]

    def close(self) -> None:
        """Nothing to let go of."""
