"""An ensemble of networks that predict a normal distribution of what follows, evaluated all at once."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.scaling import Standardiser

__all__ = ["ACTIVATIONS", "GaussianEnsemble", "soft_clamp"]

ROWS_AT_ONCE = 1024  # without gradients: larger ones leave the cache
ACTIVATIONS = {"swish": functional.silu, "tanh": torch.tanh, "relu": torch.relu}


def soft_clamp(
    values: Float[Tensor, "*batch outputs"], low: Float[Tensor, " outputs"], high: Float[Tensor, " outputs"]
) -> Float[Tensor, "*batch outputs"]:
    """Bend values smoothly into `(low, high)`: first below `high`, then above `low`, with a gradient everywhere.

    The second step can lift the result above `high` by at most `softplus(low - high)`.

    Source:
        The bounds on the log variance in MOREC (arXiv 2310.05422) and PETS (arXiv 1805.12114).
    """
    values = high - functional.softplus(high - values)
    return low + functional.softplus(values - low)


class GaussianEnsemble(nn.Module):
    """Networks that each predict the change of the observation and the reward, as a normal distribution.

    The weights of all members lie in one tensor a layer, so that a layer is one batched matrix product. The outputs are
    the change `next_observation - observation` and, last, the reward, in raw units: D = observation_size + 1 numbers.

    Args:
        observation_size: d.
        action_size: m.
        members: Networks (E).
        elites: How many of them predict once fitted (L).
        hidden: Sizes of the hidden layers.
        activation: "swish", "tanh" or "relu".
        generator: Draws the initial weights: normal of standard deviation `1 / (2 sqrt(inputs))`, none beyond 2 in
            size. Biases start at 0, the bounds of the log variance at -10 and 0.5.

    Attributes:
        weights: A tensor `(E, inputs, outputs)` a layer; the last layer has 2 D outputs, means first.
        biases: A tensor `(E, 1, outputs)` a layer.
        max_log_variance, min_log_variance: `(D,)` learned bounds, shared by the members.
        elite_indices: `(L,)` the members with the lowest error on held-out rows, best first; the first L before a fit.
        input_scaler: Standardises observation and action together.
        calibration: `(D,)` factor on the predicted standard deviations, 1 until calibrated. It is part of every log
            variance that `forward` and `predict_members` return: nobody needs to apply it again.
        output_scale: `(D,)` unit that the last layer's outputs are in; 1 where the fit was to raw targets.

    Source:
        The dynamics model of MOREC (arXiv 2310.05422), which is that of MOPO (arXiv 2005.13239) and MOBILE. The
        calibration is ours.

    Example:
        >>> ensemble = GaussianEnsemble(3, 1, hidden=(16,), generator=torch.Generator().manual_seed(0))
        >>> mean, log_variance = ensemble(torch.zeros(8, 3), torch.zeros(8, 1))
        >>> mean.shape, log_variance.shape
        (torch.Size([7, 8, 4]), torch.Size([7, 8, 4]))
    """

    elite_indices: Tensor
    calibration: Tensor
    output_scale: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        members: int = 7,
        elites: int = 5,
        hidden: Sequence[int] = (200, 200, 200, 200),
        activation: str = "swish",
        generator: torch.Generator,
    ):
        super().__init__()
        self.observation_size = check_scalar("observation_size", observation_size, low=1, whole=True)
        self.action_size = check_scalar("action_size", action_size, low=1, whole=True)
        self.members = check_scalar("members", members, low=1, whole=True)
        self.elites = check_scalar("elites", elites, low=1, high=members, whole=True)
        self.hidden = tuple(check_scalar(f"hidden[{i}]", size, low=1, whole=True) for i, size in enumerate(hidden))
        check_choice("activation", activation, ACTIVATIONS)
        self.activation = activation
        self.input_scaler = Standardiser(observation_size + action_size)
        sizes = [observation_size + action_size, *self.hidden, 2 * self.output_size]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            weight = torch.empty(members, inputs, outputs, device=generator.device)
            nn.init.trunc_normal_(weight, std=1 / (2 * inputs**0.5), generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, outputs)))
        self.max_log_variance = nn.Parameter(torch.full((self.output_size,), 0.5))
        self.min_log_variance = nn.Parameter(torch.full((self.output_size,), -10.0))
        self.register_buffer("elite_indices", torch.arange(self.elites))
        self.register_buffer("calibration", torch.ones(self.output_size))
        self.register_buffer("output_scale", torch.ones(self.output_size))
        self.to(generator.device)

    @property
    def output_size(self) -> int:
        """D: the change of the observation, and the reward."""
        return self.observation_size + 1

    def inputs(
        self, observations: Float[Tensor, "*batch d"], actions: Float[Tensor, "*batch m"]
    ) -> Float[Tensor, "*batch d_plus_m"]:
        """What the first layer sees."""
        for name, value, size in (
            ("observations", observations, self.observation_size),
            ("actions", actions, self.action_size),
        ):
            if not isinstance(value, Tensor) or value.dtype != self.weights[0].dtype:
                came = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
                raise TypeError(f"{name} is {came}, expected a tensor of {self.weights[0].dtype} as the weights are")
            if value.ndim not in (2, 3) or value.shape[-1] != size:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected (B, {size}) or (E, B, {size})")
        return self.input_scaler(torch.cat([observations, actions], dim=-1))

    def forward(
        self,
        observations: Float[Tensor, "*batch d"],
        actions: Float[Tensor, "*batch m"],
        members: Int[Tensor, " chosen"] | None = None,
    ) -> tuple[Float[Tensor, "members b outputs"], Float[Tensor, "members b outputs"]]:
        """Every member's prediction.

        Args:
            observations: `(B, d)` for all members, or `(E, B, d)` with rows for each.
            actions: `(B, m)` or `(E, B, m)`.
            members: Only these, in this order; None: all.

        Returns:
            Mean and log variance of `[next_observation - observation, reward]`, each `(E, B, D)`.

        Raises:
            ValueError: If a shape does not fit; names it.
        """
        inputs = self.inputs(observations, actions)
        count = self.members if members is None else len(members)
        if inputs.ndim == 3 and len(inputs) != count:
            raise ValueError(f"observations has rows for {len(inputs)} members, expected {count}")
        inputs = inputs.expand(count, *inputs.shape[-2:])
        if torch.is_grad_enabled() or inputs.shape[1] <= ROWS_AT_ONCE:
            mean, log_variance = self.network(inputs, members)
        else:
            mean, log_variance = self.split(self._without_gradient(inputs, members))
        return self._in_units(mean, log_variance)

    def network(
        self, inputs: Float[Tensor, "members b inputs"], members: Int[Tensor, " chosen"] | None = None
    ) -> tuple[Float[Tensor, "members b outputs"], Float[Tensor, "members b outputs"]]:
        """Mean and log variance (bounded, not calibrated, in units of `output_scale`) from standardised inputs."""
        activate = ACTIVATIONS[self.activation]
        last = len(self.weights) - 1
        values = inputs
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if members is not None:
                weight, bias = weight[members], bias[members]
            values = torch.baddbmm(bias, values, weight)
            values = values if layer == last else activate(values)
        return self.split(values)

    def _without_gradient(
        self, inputs: Float[Tensor, "members b inputs"], members: Int[Tensor, " chosen"] | None
    ) -> Float[Tensor, "members b two_outputs"]:
        """What the last layer gives, some rows of one member at a time: what lies between stays in the cache."""
        activate = ACTIVATIONS[self.activation]
        last = len(self.weights) - 1
        chosen = range(self.members) if members is None else members.tolist()
        outputs = inputs.new_empty(*inputs.shape[:2], 2 * self.output_size)
        for place, member in enumerate(chosen):
            for values, output in zip(
                inputs[place].split(ROWS_AT_ONCE), outputs[place].split(ROWS_AT_ONCE), strict=True
            ):
                for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                    values = torch.addmm(bias[member], values, weight[member])
                    values = values if layer == last else activate(values)
                output.copy_(values)
        return outputs

    def predict_members(
        self,
        observations: Float[Tensor, "b d"],
        actions: Float[Tensor, "b m"],
        member_index: Int[Tensor, " b"],
    ) -> tuple[Float[Tensor, "b outputs"], Float[Tensor, "b outputs"]]:
        """One member's prediction for each row, at the cost of one member: rows are grouped by member.

        Args:
            observations: `(B, d)`.
            actions: `(B, m)`.
            member_index: `(B,)`, 0 to E - 1.

        Returns:
            Mean and log variance, each `(B, D)`: row i is row i of member `member_index[i]` of `forward`.

        Raises:
            ValueError: If a shape does not fit, or there is no such member.
        """
        inputs = self.inputs(observations, actions)
        if inputs.ndim != 2 or member_index.shape != inputs.shape[:1]:
            raise ValueError(
                f"member_index has shape {tuple(member_index.shape)} for observations of shape "
                f"{tuple(observations.shape)}, expected (B,) for (B, d)"
            )
        order = torch.argsort(member_index, stable=True)
        firsts = torch.arange(self.members + 1, device=order.device)
        bounds = torch.searchsorted(member_index[order], firsts).tolist()  # where each member's rows begin
        if bounds[0] != 0 or bounds[-1] != len(order):
            wrong = member_index[order[0 if bounds[0] else -1]]
            raise ValueError(f"member_index holds {int(wrong)}, expected 0 to {self.members - 1}")
        activate = ACTIVATIONS[self.activation]
        last = len(self.weights) - 1
        inputs = inputs[order]
        groups = [inputs.new_empty(0, 2 * self.output_size)]
        for member, (start, end) in enumerate(pairwise(bounds)):
            if start < end:
                values = inputs[start:end]
                for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                    values = torch.addmm(bias[member], values, weight[member])
                    values = values if layer == last else activate(values)
                groups.append(values)
        mean, log_variance = self.split(torch.cat(groups)[torch.argsort(order)])
        return self._in_units(mean, log_variance)

    def split(
        self, outputs: Float[Tensor, "*batch two_outputs"]
    ) -> tuple[Float[Tensor, "*batch outputs"], Float[Tensor, "*batch outputs"]]:
        """Mean and bounded log variance in what the last layer gives."""
        mean, log_variance = outputs.chunk(2, dim=-1)
        return mean, soft_clamp(log_variance, self.min_log_variance, self.max_log_variance)

    def _in_units(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """In the task's units, calibrated."""
        return mean * self.output_scale, log_variance + 2 * (self.calibration * self.output_scale).log()
