"""Canonical forms: what is left of a reward when everything that does not matter has been taken out.

Each function returns `(*batch, S, A, S)`, the batch being the broadcast of world and reward. Rewards count on every
entry of the array here, also on transitions out of a terminal state: EPIC, DARD and SRRD are defined on the reward
table, and a shaping term must be present on all of it to cancel.
"""

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_distribution
from rewardlab.exact.evaluation import advantages, state_values
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.exact.polytope import project_reward
from rewardlab.exact.transformations import shaping_term

__all__ = [
    "dard_canonical",
    "epic_canonical",
    "minimal_canonical",
    "srrd_canonical",
    "val_canonical",
    "val_potential_canonical",
]

Canonical = Float[Array, "*batch s a s"]
States = Float[Array, " s"]
Actions = Float[Array, " a"]
Policy = Float[Array, "*#policies s a"]


def val_canonical(mdp: FiniteMDP, reward: Reward, policy: Policy | None = None) -> Canonical:
    """Value-adjusted levelling (VAL): the advantage of each action under a fixed policy, the same for every next state.

    Equal for two rewards exactly if they differ by potential shaping and redistribution over next states.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        policy: Fixed policy `(S, A)`; uniform by default. Never a function of the reward: the form would not be linear.

    Source: STARC (arXiv 2309.15257), value-adjusted levelling; solved directly where the official code sweeps to 1e-8.
    """
    return _constant_over_next_states(mdp, advantages(mdp, reward, policy))


def val_potential_canonical(mdp: FiniteMDP, reward: Reward, policy: Policy | None = None) -> Canonical:
    """The reward shaped by the value of a fixed policy: removes potential shaping but keeps redistribution.

    Args: as `val_canonical`.

    Source: lucyfarnik/starc, value potential. Not a STARC canonical form: its distances can be fooled by
        redistribution, which changes no policy's return.
    """
    full = mdp.transition_reward(reward)
    return full + shaping_term(mdp, state_values(mdp, reward, policy))


def epic_canonical(
    mdp: FiniteMDP,
    reward: Reward,
    *,
    state_distribution: States | None = None,
    action_distribution: Actions | None = None,
) -> Canonical:
    """Canonically shaped reward of EPIC: shaped by the value in a world whose next state ignores the past.

    Args:
        mdp: World; only its discount is used.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        state_distribution: Distribution of both states, `(S)`; uniform by default.
        action_distribution: Distribution of actions `(A)`; uniform by default.

    Source: Gleave et al. 2021 (arXiv 2006.13900), definition 4.1.
    """
    full = mdp.transition_reward(reward)
    xp = array_namespace(full)
    over_states = _distribution(mdp, state_distribution, mdp.states, "state_distribution")
    over_actions = _distribution(mdp, action_distribution, mdp.actions, "action_distribution")
    expected = xp.linalg.vecdot(over_actions, xp.linalg.vecdot(over_states, full))
    overall = xp.linalg.vecdot(over_states, expected)[..., None]
    # a constant -discount * overall is the shaping by a constant potential, so it goes in with the potential
    return full + (shaping_term(mdp, expected) - mdp.discount_for(3) * overall[..., None, None])


def dard_canonical(mdp: FiniteMDP, reward: Reward, *, action_distribution: Actions | None = None) -> Canonical:
    """Dynamics-aware canonical form of DARD: as EPIC's, but expectations follow the transitions of the world.

    Not idempotent, and what it adds is not potential shaping, because one of its terms depends on state and next
    state together: compare rewards with it, never plan with it.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        action_distribution: Distribution of actions `(A)`; uniform by default. One draw is shared by all terms.

    Source: Wulfe et al. 2022 (arXiv 2201.10081), definition 3.
    """
    full = mdp.transition_reward(reward)
    xp = array_namespace(full)
    over_actions = _distribution(mdp, action_distribution, mdp.actions, "action_distribution")
    expected = xp.linalg.vecdot(over_actions, xp.linalg.vecdot(mdp.transition, full))
    by_action = xp.moveaxis(mdp.transition, -2, -3)  # (*batch, A, S, S)
    reward_by_action = xp.moveaxis(full, -2, -3)
    meeting = xp.matmul(xp.matmul(by_action, reward_by_action), xp.matrix_transpose(by_action))
    pair = xp.sum(over_actions[:, None, None] * meeting, axis=-3)
    return full + (shaping_term(mdp, expected) - (mdp.discount_for(2) * pair)[..., :, None, :])


def srrd_canonical(
    mdp: FiniteMDP,
    reward: Reward,
    *,
    origin_distribution: States | None = None,
    arrival_distribution: States | None = None,
    action_distribution: Actions | None = None,
) -> Canonical:
    """Canonical form of sparsity-resilient reward distance: two steps of the dynamics beside a coverage term.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        origin_distribution: Distribution of states with outgoing data, `(S)`; uniform by default.
        arrival_distribution: Distribution of states with incoming data, `(S)`; uniform by default.
        action_distribution: Distribution of actions `(A)`; uniform by default.

    Source: arXiv 2504.11508, sparsity-resilient canonicalisation; the tabular closed form is derived here.
    """
    full = mdp.transition_reward(reward)
    xp = array_namespace(full)
    origin = _distribution(mdp, origin_distribution, mdp.states, "origin_distribution")
    arrival = _distribution(mdp, arrival_distribution, mdp.states, "arrival_distribution")
    over_actions = _distribution(mdp, action_distribution, mdp.actions, "action_distribution")
    expected = xp.linalg.vecdot(over_actions, xp.linalg.vecdot(mdp.transition, full))
    step = xp.sum(over_actions[:, None] * mdp.transition, axis=-2)  # (*batch, S, S)
    mean_reward = xp.sum(over_actions[:, None] * full, axis=-2)
    two_steps = xp.matmul(step, step)
    following = xp.matmul(step, expected[..., None])[..., 0]
    from_origin = xp.matmul(origin, mean_reward)  # reward of a jump from a random origin to each state
    to_arrival = xp.matmul(mean_reward, arrival[:, None])[..., 0]
    into_two_steps = xp.sum(
        xp.matmul(two_steps, xp.matrix_transpose(mean_reward)) * arrival, axis=-1
    )  # from a random arrival state to where two steps lead
    out_of_origin = xp.matmul(two_steps, from_origin[..., None])[..., 0]
    discount = mdp.discount_for(1)
    at_next = discount * (expected + discount * (following - into_two_steps))
    at_state = expected + discount * (following - out_of_origin)
    overall = discount * xp.linalg.vecdot(origin, to_arrival)[..., None]
    added = at_next[..., None, :] - at_state[..., :, None] - overall[..., None]
    return full + added[..., :, None, :]


def minimal_canonical(mdp: FiniteMDP, reward: Reward, *, weighted: bool = True) -> Canonical:
    """The reward of least L2 norm among all that differ from this one by potential shaping and redistribution.

    Args:
        mdp: World.
        reward: `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        weighted: Weigh each transition by its probability: the result is then the projected reward, the same for
            every next state. Otherwise every entry of the table counts the same.

    Source: STARC (arXiv 2309.15257), minimal canonicalisation; the closed forms are derived here and replace the
        gradient descent of the official code, whose result is not in the class (an operator-precedence slip).
    """
    if weighted:
        return _constant_over_next_states(mdp, project_reward(mdp, reward))
    # least sum of squares with a given mean over next states is proportional to the transition probability
    xp = array_namespace(mdp.transition)
    concentration = xp.linalg.vecdot(mdp.transition, mdp.transition)
    level = project_reward(mdp, reward, weight=1 / concentration)
    return (level / concentration)[..., None] * mdp.transition


def _constant_over_next_states(mdp: FiniteMDP, state_action: Float[Array, "*batch s a"]) -> Canonical:
    xp = array_namespace(state_action)
    return xp.broadcast_to(state_action[..., None], (*state_action.shape, mdp.states))


def _distribution(mdp: FiniteMDP, value: Array | None, size: int, name: str) -> Array:
    """`value` checked, or the uniform distribution over `size` things in the library of the world."""
    xp = array_namespace(mdp.transition)
    if value is None:
        return xp.full((size,), 1 / size, dtype=xp.float64, device=mdp.transition.device)
    if tuple(check_array(name, value, like=mdp.transition).shape) != (size,):
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({size},)")
    return check_distribution(name, as_float64(value), over="actions" if name.startswith("action") else "states")
