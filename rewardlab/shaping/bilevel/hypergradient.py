"""How much the primary return of an agent changes with every entry of the reward that it is trained on.

A designer means `primary`, and trains the agent on a blend of it with heuristics. The agent solves the blend; what it
then earns by `primary` is a function of the blend, and this module differentiates it exactly. The inner level is the
soft-optimal policy, which is unique and moves smoothly with the reward, as the optimal policy does not.

The inner regulariser is temperature times the divergence of the policy from the uniform one, and not the entropy
alone. In a world without terminal states the two differ by a constant that changes no policy. Where episodes end, the
entropy is a wage for every further step, and at discount 0.99 it soon pays more to wander than to reach any goal; the
divergence is 0 for wandering.
"""

from typing import NamedTuple

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_array, check_finite, check_scalar
from rewardlab.exact.evaluation import advantages, expected_next, values_of_earnings, visits_from
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.planning import soft_optimal_policy

__all__ = [
    "BilevelGradient",
    "InnerSolution",
    "bilevel_gradient",
    "fisher_hypergradient",
    "forward_hypergradient",
    "reward_hypergradient",
    "solve_inner",
]


class InnerSolution(NamedTuple):
    """What an agent that is trained on a blend does.

    Attributes:
        policy: Soft-optimal action probabilities, `(*batch, S, A)`.
        values: Blended return less temperature times the divergence from the uniform policy, `(*batch, S)`.
        action_values: The same of each action, `(*batch, S, A)`; the policy is their softmax at the temperature.
    """

    policy: Float[Array, "*batch s a"]
    values: Float[Array, "*batch s"]
    action_values: Float[Array, "*batch s a"]


class BilevelGradient(NamedTuple):
    """What `bilevel_gradient` returns.

    Attributes:
        primary_return: What the agent earns by the primary reward, `(*batch)`.
        reward: Derivative of that by every entry of the blended reward, `(*batch, S, A)`; 0 in terminal states.
        discount: Derivative of that by the inner discount, `(*batch)`.
        inner: What the agent does.
    """

    primary_return: Float[Array, "*batch"]
    reward: Float[Array, "*batch s a"]
    discount: Float[Array, "*batch"]
    inner: InnerSolution


def solve_inner(
    mdp: FiniteMDP, blended: Reward, temperature: float, inner_discount: float | None = None
) -> InnerSolution:
    """The inner level: the soft-optimal policy of a blended reward, regularised towards the uniform policy.

    Args:
        mdp: World; its discount is that of the primary return.
        blended: What the agent is trained on, `(*batch, S, A, S)` or `(*batch, S, A)`.
        temperature: Weight of the divergence from the uniform policy, in units of reward, above 0.
        inner_discount: The agent's own discount in [0, 1]; by default that of the world.

    Returns:
        Its policy and values.

    Raises:
        TypeError, ValueError: If the reward does not fit the world, or a number is out of range.
        RuntimeError: If soft policy iteration does not converge.
    """
    inner = _inner_world(mdp, inner_discount)
    state_action = mdp.state_action_reward(blended, "blended")
    xp = array_namespace(state_action)
    log_actions = float(xp.log(xp.asarray(float(mdp.actions), dtype=xp.float64)))
    wandering_pays_nothing = (state_action - temperature * log_actions)[..., None]  # spelled out over next states,
    shape = (*state_action.shape, mdp.states)  # lest a batch of tables be taken for one reward of transitions
    policy, values = soft_optimal_policy(inner, xp.broadcast_to(wandering_pays_nothing, shape), temperature)
    return InnerSolution(policy, values, state_action + expected_next(inner, values))


def reward_hypergradient(
    mdp: FiniteMDP, blended: Reward, primary: Reward, temperature: float, inner_discount: float | None = None
) -> Float[Array, "*batch s a"]:
    """Derivative of the agent's primary return by every entry of the reward it is trained on, in closed form.

    One adjoint solve, however many entries there are. The derivative by a blend weight is the inner product with the
    component that the weight multiplies.

    Its inner product with potential shaping (at the inner discount) is 0, whatever the potential: no potential can
    help or harm an agent that solves its task. In a world without terminal states it sums to 0.

    Args:
        mdp: World; its discount is that of the primary return.
        blended: What the agent is trained on, `(*batch, S, A, S)` or `(*batch, S, A)`.
        primary: What is meant, likewise.
        temperature: Weight of the divergence from the uniform policy, in units of reward, above 0.
        inner_discount: The agent's own discount in [0, 1]; by default that of the world.

    Returns:
        Derivative `(*batch, S, A)`, in primary return a unit of reward; 0 in terminal states.

    Raises:
        TypeError, ValueError: If a reward does not fit the world, or a number is out of range.
        RuntimeError: If soft policy iteration does not converge.

    Source: derived from the soft Bellman equation and the implicit function theorem, for the problem of Gupta et al.
        2023 (arXiv 2310.19007), which solves it by sampling; checked against finite differences.

    Example:
        >>> import numpy as np
        >>> stay_or_switch = np.array([[[1.0, 0.0], [0.2, 0.8]], [[0.0, 1.0], [0.8, 0.2]]])
        >>> mdp = FiniteMDP(stay_or_switch, discount=0.9, initial=np.array([1.0, 0.0]))
        >>> primary = np.array([[0.0, 0.0], [1.0, 0.5]])
        >>> advice = np.array([[1.0, 0.0], [0.0, 0.0]])  # pays for staying where nothing is to be earned
        >>> gradient = reward_hypergradient(mdp, primary + 0.5 * advice, primary, temperature=0.5)
        >>> round(float((gradient * advice).sum()), 3)  # the less it is trusted, the better
        -3.27
    """
    return bilevel_gradient(mdp, blended, primary, temperature, inner_discount).reward


def bilevel_gradient(
    mdp: FiniteMDP, blended: Reward, primary: Reward, temperature: float, inner_discount: float | None = None
) -> BilevelGradient:
    """As `reward_hypergradient`, with the primary return, its derivative by the inner discount, and the policy.

    Args, Raises: as `reward_hypergradient`.

    Returns:
        What the agent does, what it earns, and both derivatives.
    """
    inner_world = _inner_world(mdp, inner_discount)
    inner = solve_inner(mdp, blended, temperature, inner_discount)
    state_action = mdp.state_action_reward(primary, "primary")
    xp = array_namespace(state_action)
    values = values_of_earnings(mdp, xp.linalg.vecdot(inner.policy, state_action), inner.policy)
    better = state_action + expected_next(mdp, values) - values[..., None]
    visits = visits_from(mdp, mdp.initial, inner.policy)
    push = visits[..., None] * inner.policy * better / temperature
    flow = push + visits_from(inner_world, _arrivals(inner_world, push), inner.policy)[..., None] * inner.policy
    reward = xp.where(mdp.terminal[..., None], xp.zeros_like(flow), flow)
    undiscounted = _expected_next_undiscounted(mdp, inner.values)
    return BilevelGradient(
        xp.linalg.vecdot(mdp.initial, values), reward, xp.sum(reward * undiscounted, axis=(-2, -1)), inner
    )


def forward_hypergradient(
    mdp: FiniteMDP,
    blended: Reward,
    primary: Reward,
    temperature: float,
    inner_discount: float | None = None,
    *,
    directions: Float[Array, "k s a"],
) -> Float[Array, " k"]:
    """Derivative of the agent's primary return along directions of the blended reward, in forward form.

    It is the covariance, under the agent's policy and visits, of the primary action value with the change of the
    agent's own action value, over the temperature: advice helps where it raises what the primary reward values. One
    linear solve a direction; `reward_hypergradient` gives all directions at once by one.

    Args:
        mdp: World, without batch dimensions.
        blended: What the agent is trained on, as in `reward_hypergradient`.
        primary: What is meant.
        temperature: Weight of the divergence from the uniform policy, above 0.
        inner_discount: The agent's own discount; by default that of the world.
        directions: Changes of the blended reward, `(K, S, A)`.

    Returns:
        Derivatives `(K)`.

    Raises:
        TypeError, ValueError: As `reward_hypergradient`, or if there is a batch dimension.
    """
    policy, change = _policy_change(mdp, blended, temperature, inner_discount, directions)
    xp = array_namespace(policy)
    visits = visits_from(mdp, mdp.initial, policy)
    weight = visits[..., None] * policy * advantages(mdp, primary, policy)
    return xp.sum(weight * change, axis=(-2, -1))


def fisher_hypergradient(
    mdp: FiniteMDP,
    blended: Reward,
    primary: Reward,
    temperature: float,
    inner_discount: float | None = None,
    *,
    directions: Float[Array, "k s a"],
) -> Float[Array, " k"]:
    """The same derivatives as `forward_hypergradient`, as a natural gradient: how well each direction aligns.

    At the soft optimum the curvature of the agent's objective is minus temperature times the Fisher matrix of its
    policy, so that the implicit gradient is an inner product of two policy gradients in the inverse Fisher metric. The
    matrix has a null direction in each state (all logits shifted alike), and only null ones where the agent never goes;
    it is inverted on the others. An inner discount of 0 leaves out all states but the first; the other forms have no
    inverse and stay exact.

    Args, Returns, Raises: As `forward_hypergradient`.
    """
    policy, change = _policy_change(mdp, blended, temperature, inner_discount, directions)
    xp = array_namespace(policy)
    gradient = visits_from(mdp, mdp.initial, policy)[..., None] * policy * advantages(mdp, primary, policy)
    visits = visits_from(_inner_world(mdp, inner_discount), mdp.initial, policy)
    taken = visits[..., None] * policy
    # A block of the matrix takes x to taken * (x - its mean); so what sums to 0 in each state is divided by `taken`.
    natural = gradient / xp.where(taken > 0, taken, xp.ones_like(taken))
    return xp.sum(taken * change * natural, axis=(-2, -1))


def _policy_change(mdp, blended, temperature, inner_discount, directions) -> tuple[Array, Array]:
    """The agent's policy, and how its log moves along each direction, `(K, S, A)`."""
    directions = check_finite("directions", check_array("directions", directions, like=mdp.transition))
    if mdp.batch_shape or directions.ndim != 3 or tuple(directions.shape[1:]) != (mdp.states, mdp.actions):
        raise ValueError(
            f"directions has shape {tuple(directions.shape)} in a world of batch shape {mdp.batch_shape}, expected "
            f"(K, {mdp.states}, {mdp.actions}) and no batch"
        )
    inner_world = _inner_world(mdp, inner_discount)
    policy = solve_inner(mdp, blended, temperature, inner_discount).policy
    if policy.ndim != 2:
        raise ValueError(f"blended has batch shape {tuple(policy.shape[:-2])}, expected one reward")
    xp = array_namespace(policy)
    directions = xp.where(mdp.terminal[:, None], xp.zeros_like(directions), directions)
    values = values_of_earnings(inner_world, xp.linalg.vecdot(policy, directions), policy)
    return policy, (directions + expected_next(inner_world, values) - values[..., None]) / temperature


def _inner_world(mdp: FiniteMDP, inner_discount: float | None) -> FiniteMDP:
    if inner_discount is None:
        return mdp
    return mdp.with_discount(check_scalar("inner_discount", inner_discount, low=0, high=1))


def _arrivals(mdp: FiniteMDP, flow: Float[Array, "*batch s a"]) -> Float[Array, "*batch s"]:
    """Where a flow out of state-action pairs arrives, discounted once."""
    xp = array_namespace(flow)
    rows = xp.reshape(mdp.continuation, (*mdp.batch_shape, mdp.states * mdp.actions, mdp.states))
    out = xp.reshape(flow, (*flow.shape[:-2], 1, mdp.states * mdp.actions))
    return mdp.discount_for(1) * xp.matmul(out, rows)[..., 0, :]


def _expected_next_undiscounted(mdp: FiniteMDP, values: Float[Array, "*batch s"]) -> Float[Array, "*batch s a"]:
    xp = array_namespace(values)
    return xp.linalg.vecdot(mdp.continuation, values[..., None, None, :])
