"""What a policy earns and where it goes: values, advantages, occupancies and returns by direct solves."""

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_broadcast, check_distribution
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = [
    "action_values",
    "advantages",
    "occupancy",
    "policy_return",
    "state_values",
    "uniform_policy",
]

Policy = Float[Array, "*#policies s a"]


def uniform_policy(mdp: FiniteMDP) -> Float[Array, "*batch s a"]:
    """The policy that takes every action with the same probability, `(*batch, S, A)`."""
    xp = array_namespace(mdp.transition)
    return xp.full_like(mdp.transition[..., 0], 1 / mdp.actions)


def state_values(mdp: FiniteMDP, reward: Reward, policy: Policy | None = None) -> Float[Array, "*batch s"]:
    """Expected discounted return from each state under a policy.

    Args:
        mdp: World of batch shape `*mdp`.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        policy: Action probabilities `(*policies, S, A)`; uniform by default.

    Returns:
        Values `(*batch, S)`, the batch being the broadcast of all three; 0 in terminal states.

    Raises:
        TypeError, ValueError: If the reward or the policy does not fit the world; the message says where.
    """
    state_action = mdp.state_action_reward(reward)
    policy = _checked_policy(mdp, policy)
    check_broadcast(policy=tuple(policy.shape[:-2]), reward=tuple(state_action.shape[:-2]))
    return values_of_earnings(mdp, array_namespace(state_action).linalg.vecdot(policy, state_action), policy)


def action_values(mdp: FiniteMDP, reward: Reward, policy: Policy | None = None) -> Float[Array, "*batch s a"]:
    """Expected discounted return of taking each action once and following the policy from then on.

    Args, Raises: as `state_values`.

    Returns:
        Action values `(*batch, S, A)`; 0 in terminal states.
    """
    return mdp.state_action_reward(reward) + expected_next(mdp, state_values(mdp, reward, policy))


def advantages(mdp: FiniteMDP, reward: Reward, policy: Policy | None = None) -> Float[Array, "*batch s a"]:
    """How much better each action is than what the policy does: action value minus state value.

    The advantage under a fixed policy is the canonical form of a reward (value-adjusted levelling): potential
    shaping and redistribution over next states drop out of it, and nothing else does.

    Args, Raises: as `state_values`.

    Returns:
        Advantages `(*batch, S, A)`; 0 in terminal states, and 0 on average under the policy in every state.
    """
    values = state_values(mdp, reward, policy)
    return mdp.state_action_reward(reward) + expected_next(mdp, values) - values[..., None]


def occupancy(mdp: FiniteMDP, policy: Policy | None = None) -> Float[Array, "*batch s a"]:
    """Discounted number of times each action is taken in each state, from the initial distribution.

    Args:
        mdp: World.
        policy: Action probabilities `(*policies, S, A)`; uniform by default.

    Returns:
        Occupancy `(*batch, S, A)`, at least 0; 0 in terminal states. Without terminal states it sums to
        1 / (1 - discount). The return of any reward is its inner product with `state_action_reward`.
    """
    policy = _checked_policy(mdp, policy)
    return visits_from(mdp, mdp.initial, policy)[..., None] * policy


def policy_return(mdp: FiniteMDP, reward: Reward, policy: Policy | None = None) -> Float[Array, "*batch"]:
    """Expected discounted return from the initial distribution, `(*batch)`; arguments as `state_values`."""
    values = state_values(mdp, reward, policy)
    return array_namespace(values).linalg.vecdot(mdp.initial, values)


def values_of_earnings(mdp: FiniteMDP, earned: Float[Array, "*#batch s"], policy: Policy) -> Float[Array, "*batch s"]:
    """As `state_values`, unchecked, from what the policy earns on average in each state; that must be 0 in the end."""
    return _solve(_bellman_matrix(mdp, policy), earned)


def visits_from(mdp: FiniteMDP, inflow: Float[Array, "*#batch s"], policy: Policy) -> Float[Array, "*batch s"]:
    """Discounted visits to each state of what flows in, unchecked; `inflow` may have any sign. 0 in terminal states."""
    xp = array_namespace(policy)
    visits = _solve(xp.linalg.matrix_transpose(_bellman_matrix(mdp, policy)), inflow)
    return xp.where(mdp.terminal, xp.zeros_like(visits), visits)


def expected_next(mdp: FiniteMDP, values: Float[Array, "*#batch s"]) -> Float[Array, "*batch s a"]:
    """Discounted expected value of the next state after each action, `(*batch, S, A)`; 0 in terminal states."""
    xp = array_namespace(values)
    rows = xp.reshape(mdp.continuation, (*mdp.batch_shape, mdp.states * mdp.actions, mdp.states))
    following = xp.matmul(rows, values[..., None])[..., 0]
    return mdp.discount_for(2) * xp.reshape(following, (*following.shape[:-1], mdp.states, mdp.actions))


def _checked_policy(mdp: FiniteMDP, policy: Array | None) -> Array:
    if policy is None:
        return uniform_policy(mdp)
    check_array("policy", policy, like=mdp.transition)
    if tuple(policy.shape[-2:]) != (mdp.states, mdp.actions):
        raise ValueError(f"policy has shape {tuple(policy.shape)}, expected (*batch, {mdp.states}, {mdp.actions})")
    check_broadcast(policy=tuple(policy.shape[:-2]), mdp=mdp.batch_shape)
    return check_distribution("policy", as_float64(policy), over="actions")


def _bellman_matrix(mdp: FiniteMDP, policy: Array) -> Array:
    """I - discount * P, with P the transitions under the policy; invertible as episodes are finite or discounted."""
    xp = array_namespace(policy)
    step = xp.matmul(policy[..., None, :], mdp.continuation)[..., 0, :]
    return xp.eye(mdp.states, dtype=step.dtype, device=step.device) - mdp.discount_for(2) * step


def _solve(matrix: Array, right: Array) -> Array:
    """Solution of `matrix @ x = right` over broadcast batches, each matrix factorised once for all right sides."""
    xp = array_namespace(matrix)
    shared = len(matrix.shape[:-2]) < len(right.shape[:-1]) or any(
        ours < theirs for ours, theirs in zip(matrix.shape[-3::-1], right.shape[-2::-1], strict=False)
    )
    if shared:  # an inverse is safe: the condition number is of the order of the expected number of steps
        return xp.matmul(xp.linalg.inv(matrix), right[..., None])[..., 0]
    return xp.linalg.solve(matrix, right[..., None])[..., 0]
