"""RMSprop, Adam and plain steps upwards, for small parameters that are stepped tens of thousands of times."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from rewardlab.checks import check_choice, check_scalar

__all__ = ["Ascent", "Optimiser"]

Optimiser = Literal["rmsprop", "adam", "sgd"]

EPSILON = 1e-8
FORGET = 0.99  # of RMSprop's mean square
FIRST, SECOND = 0.9, 0.999  # of Adam's two means


class Ascent:
    """The same numbers as `torch.optim` with its default constants and `maximize=True`, at a fifth of the overhead.

    Args:
        kind: Which; "sgd" is a plain step.
        parameters: Changed in place.
        rate: At least 0.

    Example:
        >>> place = torch.zeros(2)
        >>> Ascent("sgd", [place], 0.5).step([torch.tensor([1.0, -2.0])])
        >>> place
        tensor([ 0.5000, -1.0000])
    """

    def __init__(self, kind: Optimiser, parameters: Iterable[Tensor], rate: float):
        check_choice("optimiser", kind, get_args(Optimiser))
        self.kind, self.rate = kind, check_scalar("rate", rate, low=0.0)
        self.parameters = [parameter.detach() for parameter in parameters]  # they share memory
        self.steps = 0
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step along the gradients, one a parameter."""
        self.steps += 1
        for parameter, gradient, square, mean in zip(self.parameters, gradients, self.squares, self.means, strict=True):
            if self.kind == "sgd":
                parameter.add_(gradient, alpha=self.rate)
            elif self.kind == "rmsprop":
                square.mul_(FORGET).addcmul_(gradient, gradient, value=1 - FORGET)
                parameter.addcdiv_(gradient, square.sqrt().add_(EPSILON), value=self.rate)
            else:
                mean.lerp_(gradient, 1 - FIRST)
                square.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
                spread = square.sqrt().div_((1 - SECOND**self.steps) ** 0.5).add_(EPSILON)
                parameter.addcdiv_(mean, spread, value=self.rate / (1 - FIRST**self.steps))

    def rates(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """What the next step along these gradients multiplies them by, entry by entry; nothing is changed.

        Raises:
            ValueError: With Adam, whose step is not a multiple of the last gradient.
        """
        if self.kind == "adam":
            raise ValueError("optimiser is 'adam', expected 'sgd' or 'rmsprop': a step of Adam has a memory of others")
        if self.kind == "sgd":
            return [torch.full_like(gradient, self.rate) for gradient in gradients]
        squares = [FORGET * s + (1 - FORGET) * g * g for s, g in zip(self.squares, gradients, strict=True)]
        return [self.rate / (square.sqrt() + EPSILON) for square in squares]

    def state_dict(self) -> dict:
        """Running means and the number of steps."""
        return {"steps": self.steps, "squares": list(self.squares), "means": list(self.means)}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self.steps = state["steps"]
        for kept, ours in ((state["squares"], self.squares), (state["means"], self.means)):
            for source, target in zip(kept, ours, strict=True):
                target.copy_(source)
