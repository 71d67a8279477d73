"""A network that scores messages, its optimiser and its randomness: what the learned rewards of messages share."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.byte_network import ByteNetwork
from rewardlab.intrinsic.hashed_linear import HashedLinear

__all__ = ["LEARNING_RATES", "RIDGES", "MessageLearner", "MessageNetwork", "message_network", "network_scores"]

MessageNetwork: TypeAlias = HashedLinear | ByteNetwork

LEARNING_RATES = {"bytes": 1e-4, "hashed": 0.03}
"""Adam's step sizes: published for the network of bytes, measured on NetHack's messages for the hashed words."""

RIDGES = {"bytes": 0.0, "hashed": 0.5}
"""Penalties on squared weights: none is published; without one, a rare word learns each wrong label by heart.

On 100,000 steps of NetHack's messages, 600 of them labelled and 5 % of the labels wrong, 13 % of the paid steps of the
next 100,000 deserved it without a penalty, all with 0.5.
"""


def message_network(name: str, *, outputs: int, generator: torch.Generator) -> MessageNetwork:
    """A new network that scores messages: "hashed" for `HashedLinear`, "bytes" for `ByteNetwork`.

    Raises:
        ValueError: If the name is another.
    """
    check_choice("network", name, LEARNING_RATES)
    return HashedLinear(outputs=outputs) if name == "hashed" else ByteNetwork(outputs=outputs, generator=generator)


def network_scores(network: MessageNetwork, texts: Sequence[str]) -> Float[np.ndarray, "texts outputs"]:
    """Scores of messages by a network in evaluation, in float64."""
    network.eval()
    with torch.no_grad():
        at_once = network.rows_at_once
        parts = [network(network.encode(texts[start : start + at_once])) for start in range(0, len(texts), at_once)]
    return torch.cat(parts).double().cpu().numpy() if parts else np.zeros((0, network.outputs))


class MessageLearner:
    """A network that scores messages, with Adam.

    Args:
        network: "hashed" for `HashedLinear`, "bytes" for `ByteNetwork`.
        outputs: Scores for each message.
        generator: Draws weights, dropout and minibatches; all stands on its device.
        learning_rate: Of Adam; None for that of `LEARNING_RATES`.
        ridge: Penalty on squared weights: half of it times their sum, over the number of samples, is added to the
            mean loss, so that the minimum is that of a normal prior whose variance is `1 / ridge`. None for that of
            `RIDGES`.
        dtype: Precision of the weights.

    Raises:
        ValueError: If the network is unknown, the learning rate not above 0 or the ridge below 0.
    """

    def __init__(
        self,
        network: str,
        *,
        outputs: int,
        generator: torch.Generator,
        learning_rate: float | None = None,
        ridge: float | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        check_choice("network", network, LEARNING_RATES)
        rate = LEARNING_RATES[network] if learning_rate is None else learning_rate
        self.learning_rate = check_scalar("learning_rate", rate, low=0, open_low=True)
        self.ridge = check_scalar("ridge", RIDGES[network] if ridge is None else ridge, low=0)
        self.name, self.generator = network, generator
        self.network = message_network(network, outputs=outputs, generator=generator).to(generator.device, dtype)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """What the network reads of each message."""
        return self.network.encode(texts)

    def scores(self, texts: Sequence[str]) -> Float[np.ndarray, "texts outputs"]:
        """Scores of messages, in evaluation."""
        return network_scores(self.network, texts)

    def step(self, loss: Tensor, samples: int, *, gradient_norm: float | None = None) -> None:
        """One step of Adam.

        Args:
            loss: Mean loss of a minibatch.
            samples: Number of all samples: the more there are, the less the penalty weighs.
            gradient_norm: The gradient's norm is cut to this first.
        """
        if self.ridge:
            weights = [part for name, part in self.network.named_parameters() if not name.endswith("bias")]
            loss = loss + self.ridge / (2 * samples) * sum(part.square().sum() for part in weights)
        self.optimiser.zero_grad()
        loss.backward()
        if gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), gradient_norm)
        self.optimiser.step()

    def minibatches(self, count: int, size: int, steps: int) -> Iterator[list[int]]:
        """Places of `steps` minibatches of up to `size` of `count` samples: pass after pass, each in a new order."""
        made = 0
        while made < steps:
            order = torch.randperm(count, generator=self.generator, device=self.generator.device).tolist()
            for start in range(0, count, size):
                yield order[start : start + size]
                made += 1
                if made == steps:
                    return

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser and generator, as tensors, numbers and lists."""
        return {
            "network": {name: value.detach().clone() for name, value in self.network.state_dict().items()},
            "optimiser": _copied(self.optimiser.state_dict()),
            "generator": self.generator.get_state(),
            "name": self.name,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, to the same numbers bit for bit.

        Raises:
            ValueError: If the state is of the other network.
        """
        if state["name"] != self.name:
            raise ValueError(f"the state is of the network {state['name']!r}, this one is {self.name!r}")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(_copied(state["optimiser"]))
        self.generator.set_state(state["generator"].cpu())


def _copied(value: Any) -> Any:
    """The same nest of dictionaries and lists, its tensors copied: Adam changes its own in place."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    return value.detach().clone() if isinstance(value, Tensor) else value
