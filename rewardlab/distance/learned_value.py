"""STARC from samples, for worlds too large for tables: state values are learned, then rewards are compared.

The order of work is the point. All rewards are evaluated on the SAME transitions, share one set of features, and their
values come from one linear solve. So values are linear in the reward, errors are shared, and two rewards that mean the
same get the same canonical form even where the values themselves are only approximate.

Shared errors cancel between equivalent rewards; they still distort every other distance, towards 0 where far too few
samples let one error dominate all rewards alike. The mean of canonical rewards over the policy's actions at one state
is 0 for exact values: draw several actions at some fresh states and look at it before trusting a distance.

Needs torch; import it from here (`from rewardlab.distance.learned_value import fit_values, starc_from_samples`).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rewardlab.arrays import Array, array_namespace, as_float64, is_torch_array
from rewardlab.checks import check_array, check_choice, check_finite, check_scalar

RIDGE = 1e-10  # on the standardised observation: settles collinear entries, moves nothing one could measure
BATCH = 512
LEARNING_RATE = 3e-3

__all__ = ["LearnedValues", "SampledStarc", "canonical_from_samples", "fit_values", "starc_from_samples"]


class LearnedValues(nn.Module):
    """Values of k rewards under one policy: a linear function of features [1, observation, hidden units].

    Call it with observations (*batch, d) to get values (k, *batch) in float64, as the kind of array that came in.
    """

    def __init__(self, observations: Tensor, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("centre", observations.mean(0))
        self.register_buffer("spread", _spread(observations))
        sizes = (observations.shape[-1], *hidden)
        self.layers = nn.ModuleList(_linear(into, out, generator) for into, out in pairwise(sizes))
        self.register_buffer("coefficients", torch.zeros(1, 0, dtype=torch.float64))
        self.requires_grad_(False)

    def hidden_units(self, observations: Tensor) -> Tensor:
        """Observations in units of their spread, followed by the last hidden layer (if there is one)."""
        standardised = (observations - self.centre) / self.spread
        if not len(self.layers):
            return standardised
        units = standardised
        for layer in self.layers:
            units = torch.tanh(layer(units))
        return torch.cat([standardised, units], dim=-1)

    def features(self, observations: Tensor) -> Tensor:
        """The constant and all units: shape (*batch, 1 + d + hidden)."""
        units = self.hidden_units(observations)
        return torch.cat([torch.ones_like(units[..., :1]), units], dim=-1)

    @torch.no_grad()
    def forward(self, observations: Float[Array, "*batch d"]) -> Float[Array, "k *batch"]:
        """Values (k, *batch) of observations (*batch, d)."""
        expected = self.centre.shape[0]
        if check_array("observations", observations).shape[-1] != expected:
            raise ValueError(
                f"observations have {observations.shape[-1]} entries, the values were fitted on {expected}"
            )
        values = (self.features(_tensor(observations).to(self.centre.device)) @ self.coefficients).movedim(-1, 0)
        return values.to(observations.device) if is_torch_array(observations) else values.numpy(force=True)


def fit_values(
    observations: Float[Array, "n d"],
    next_observations: Float[Array, "n d"],
    terminated: Bool[Array, " n"],
    rewards: Float[Array, "k n"],
    discount: float,
    *,
    sample_weights: Float[Array, " n"] | None = None,
    hidden: tuple[int, ...] = (256,),
    rounds: int = 3,
    steps: int = 300,
    rng: int | np.random.Generator = 0,
) -> LearnedValues:
    """Learn the values of several rewards at once from transitions of the policy they are valued under.

    Each round fits the hidden units of a tanh network to the one-step targets `reward + discount * value(next)` of all
    rewards jointly; then the last layer is solved exactly (least-squares temporal difference, float64), which gives the
    next round's targets. Given the features, values are linear in the reward, so a potential that is linear in the
    observation is recovered up to the ridge, however few the samples.

    Args:
        observations: n observations, from any distribution of states.
        next_observations: What followed each, the action drawn from the policy.
        terminated: Whether the transition truly ended the task (the next state is then worth 0). A time limit
            (truncation) is not an end: leave it False and give the observation that would have followed.
        rewards: k rewards, each evaluated on these same transitions.
        discount: In [0, 1).
        sample_weights: Nonnegative weight of each transition: `policy / behaviour` where the data come from another
            policy, or exact probabilities where the transitions enumerate a finite world. None weighs all the same.
        hidden: Sizes of the hidden layers; () leaves the linear solve alone, which is exact for one-hot observations.
        rounds: Times the network is refitted to better targets.
        steps: Adam steps a round, of 512 transitions each.
        rng: Seed or generator for the network and its batches.

    Returns:
        The values, a module to call on observations.

    Raises:
        TypeError: If an argument is not an array.
        ValueError: If shapes disagree, a number is not finite, or the discount is not in [0, 1).

    Source: the value-adjusted levelling of arXiv 2309.15257 with V from least-squares temporal differences (Bradtke &
    Barto 1996). Departs from the official code, which trains a separate network for each reward on its own rollouts by
    stochastic gradient: errors then differ between rewards, and that difference is reported as distance.

    Ridges are relative to features of order one (observations are standardised, tanh units bounded): 1e-10 on
    observations, so that linear potentials vanish, none on the constant, and 1 / sqrt(n) on hidden units. The last is
    needed because the temporal-difference solve amplifies sampling noise where features change slowly; it fades as
    samples grow. Its size was chosen on Reacher by the mean advantage on fresh states, which is 0 for exact values.

    Example:
        Two states that alternate, reward 1 on leaving state 0.

        >>> states = np.eye(2)
        >>> ends = np.array([False, False])
        >>> values = fit_values(states, states[::-1].copy(), ends, np.array([[1.0, 0.0]]), 0.5, hidden=())
        >>> values(states).round(6)
        array([[1.333333, 0.666667]])
    """
    _check_transitions(observations, next_observations, terminated, rewards, sample_weights)
    _check_discount(discount)
    now, then, reward = _tensor(observations), _tensor(next_observations), _tensor(rewards).to(_device(observations))
    alive = discount * (~torch.as_tensor(terminated, device=now.device)).double()[:, None]
    weight = torch.ones_like(alive) if sample_weights is None else _tensor(sample_weights).to(now.device)[:, None]
    generator = torch.Generator().manual_seed(int(np.random.default_rng(rng).integers(2**62)))
    values = LearnedValues(now.cpu(), tuple(hidden), generator).to(now.device)
    _solve_last_layer(values, now, then, alive, weight, reward)
    for _ in range(rounds if hidden else 0):
        with torch.no_grad():
            targets = reward.T + alive * (values.features(then) @ values.coefficients)
        _fit_hidden_units(values, now, targets, weight, steps, generator)
        _solve_last_layer(values, now, then, alive, weight, reward)
    return values


def canonical_from_samples(
    rewards: Float[Array, "k n *next"],
    values: Float[Array, "k n"],
    next_values: Float[Array, "k n *next"],
    discount: float,
    *,
    terminated: Bool[Array, "n *next"] | None = None,
) -> Float[Array, "k n"]:
    """Value-adjusted levelling on samples: mean over next states of `reward + discount * next value - value`.

    Args:
        rewards: k rewards on n states and actions, with the next states of each on a last axis (n, K); for
            deterministic dynamics one next state says all, and the axis may be left out.
        values: Values of the n states under each reward.
        next_values: Values of the next states, in the shape of `rewards`.
        discount: In [0, 1).
        terminated: Which next states are true ends, worth 0; None for none of them.

    Returns:
        Canonical rewards (k, n), estimates of each reward's advantages. With K draws of the next state they carry
        noise of order 1 / sqrt(K), which enters distances: give a stochastic world more than one.

    Source: arXiv 2309.15257, value-adjusted levelling.
    """
    _check_samples(rewards, values, next_values, terminated)
    _check_discount(discount)
    xp = array_namespace(rewards)
    rewards, values, next_values = as_float64(rewards), as_float64(values), as_float64(next_values)
    if terminated is not None:
        next_values = xp.where(terminated, xp.zeros_like(next_values), next_values)
    one_step = rewards + discount * next_values
    return (xp.mean(one_step, axis=-1) if one_step.ndim == 3 else one_step) - values


@dataclass(frozen=True)
class SampledStarc:
    """Distances between k rewards, and what they were computed from."""

    distances: Float[Array, "k k"]  # in [0, 2]; 2 is the opposite reward
    standardised: Float[Array, "k n"]  # canonical rewards of norm 1; zeros where trivial
    trivial: Bool[Array, " k"]  # rewards under which every policy is worth the same: nothing to compare


def starc_from_samples(
    rewards: Float[Array, "k n *next"],
    values: Float[Array, "k n"],
    next_values: Float[Array, "k n *next"],
    discount: float,
    *,
    terminated: Bool[Array, "n *next"] | None = None,
    order: float = 2,
    tolerance: float = 1e-6,
) -> SampledStarc:
    """STARC distances between k rewards from shared samples and learned values.

    Args:
        rewards: As in `canonical_from_samples`; on transitions the values were not fitted on, or the fit's errors hide.
        values: Values of the states.
        next_values: Values of the next states, in the shape of `rewards`.
        discount: In [0, 1).
        terminated: Which next states are true ends, worth 0; None for none of them.
        order: 1, 2 or inf: the sampled norm (mean, root mean square, maximum) that normalises and compares.
        tolerance: A canonical reward below this part of its reward and values is rounding, hence trivial. Wider than
            for exact values, because the linear solve leaves about 1e-8.

    Returns:
        Distances with the standardised rewards and the flags of trivial ones. A trivial reward is at distance 1 from
        every other and 0 from another trivial one.

    Source: arXiv 2309.15257, the metric with equal norms; sampled norms as in its Reacher study.
    """
    check_choice("order", order, (1, 2, float("inf")))
    canonical = canonical_from_samples(rewards, values, next_values, discount, terminated=terminated)
    xp = array_namespace(canonical)
    norms = _sampled_norm(canonical, order)
    raw = xp.reshape(as_float64(rewards), (rewards.shape[0], -1))
    trivial = norms <= tolerance * (_sampled_norm(raw, order) + _sampled_norm(as_float64(values), order))
    divisor = xp.where(trivial, xp.ones_like(norms), norms)
    standardised = xp.where(trivial[:, None], xp.zeros_like(canonical), canonical / divisor[:, None])
    # a row at a time: the difference keeps distances near 0 exact, where a Gram matrix would leave 1e-8
    distances = xp.stack([_sampled_norm(standardised - row, order) for row in standardised])
    return SampledStarc(distances, standardised, trivial)


def _sampled_norm(x: Array, order: float) -> Array:
    xp = array_namespace(x)
    if order == 2:
        return xp.sqrt(xp.mean(x * x, axis=-1))
    return xp.mean(xp.abs(x), axis=-1) if order == 1 else xp.max(xp.abs(x), axis=-1)


def _solve_last_layer(values: LearnedValues, now, then, alive, weight, reward) -> None:
    with torch.no_grad():
        features = values.features(now)
        weighted = (features * weight / weight.sum()).T
        system = weighted @ (features - alive * values.features(then))
        penalty = torch.full_like(system[0], len(now) ** -0.5)
        penalty[: 1 + now.shape[-1]] = RIDGE
        penalty[0] = 0.0  # the constant is what absorbs a shifted reward, however large
        values.coefficients = torch.linalg.solve(system + torch.diag(penalty), weighted @ reward.T)


def _fit_hidden_units(values: LearnedValues, now, targets, weight, steps, generator) -> None:
    """Gradient steps of the network towards targets in units of their spread, so that no reward outvotes another."""
    targets = (targets - targets.mean(0)) / _spread(targets)
    heads = _linear(values.hidden_units(now[:1]).shape[-1], targets.shape[-1], generator).to(now.device)
    heads.requires_grad_(True)
    values.layers.requires_grad_(True)
    optimiser = torch.optim.Adam([*values.layers.parameters(), *heads.parameters()], LEARNING_RATE)
    for _ in range(steps):
        batch = torch.randint(len(now), (min(BATCH, len(now)),), generator=generator).to(now.device)
        error = heads(values.hidden_units(now[batch])) - targets[batch]
        loss = (weight[batch] * error.square()).mean() / weight.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    values.layers.requires_grad_(False)


def _linear(into: int, out: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(
        nn.Linear, into, out, dtype=torch.float64
    )  # torch's own start draws from the global state
    with torch.no_grad():
        layer.weight.copy_(torch.randn(out, into, generator=generator, dtype=torch.float64) / into**0.5)
        layer.bias.zero_()
    return layer


def _spread(x: Tensor) -> Tensor:
    spread = x.std(0, correction=0)
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def _tensor(x: Array) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64)


def _device(x: Array) -> torch.device:
    return x.device if is_torch_array(x) else torch.device("cpu")


def _check_discount(discount: float) -> None:
    check_scalar("discount", discount, low=0, high=1)
    if discount == 1:
        raise ValueError("discount is 1, expected a number in [0, 1): values of tasks that never end would be infinite")


def _check_transitions(observations, next_observations, terminated, rewards, sample_weights) -> None:
    count = check_array("observations", observations).shape[0]
    shapes = {"next_observations": (next_observations, tuple(observations.shape)), "terminated": (terminated, (count,))}
    if sample_weights is not None:
        shapes["sample_weights"] = (sample_weights, (count,))
    for name, (value, shape) in shapes.items():
        if tuple(check_array(name, value).shape) != shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape} as the observations have")
    if check_array("rewards", rewards).ndim != 2 or rewards.shape[1] != count or not rewards.shape[0] or not count:
        raise ValueError(
            f"rewards have shape {tuple(rewards.shape)}, expected (k, {count}): k rewards on every transition"
        )
    for name, value in {
        "observations": observations,
        "next_observations": next_observations,
        "rewards": rewards,
    }.items():
        check_finite(name, value)
    if sample_weights is not None:
        check_finite("sample_weights", sample_weights)
        if bool((sample_weights < 0).any()) or not float(sample_weights.sum()) > 0:
            raise ValueError("sample_weights: expected nonnegative weights, not all 0")


def _check_samples(rewards, values, next_values, terminated) -> None:
    if check_array("rewards", rewards).ndim not in (2, 3):
        raise ValueError(f"rewards have shape {tuple(rewards.shape)}, expected (k, n) or (k, n, next states)")
    expected = {"values": (values, tuple(rewards.shape[:2])), "next_values": (next_values, tuple(rewards.shape))}
    if terminated is not None:
        expected["terminated"] = (terminated, tuple(rewards.shape[1:]))
    for name, (value, shape) in expected.items():
        if tuple(check_array(name, value).shape) != shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape} to go with the rewards")
    for name, value in {"rewards": rewards, "values": values, "next_values": next_values}.items():
        check_finite(name, value)
