"""Changes of a reward that leave the order of all policies as it was, in a given world."""

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import check_array, check_broadcast, check_finite
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = ["potential_shaping", "redistribution"]


def potential_shaping(mdp: FiniteMDP, potential: Float[Array, "*#potentials s"]) -> Float[Array, "*batch s a s"]:
    """The shaping reward: discount times the potential of the next state, minus the potential of the state.

    Added to any reward it changes every return by the same amount, the negative of the expected potential of the
    first state, so it leaves the order of all policies unchanged.

    Args:
        mdp: World, of batch shape `*batch`.
        potential: Potential of each state, `(*potentials, S)`; 0 in terminal states.

    Returns:
        Shaping reward `(*batch, S, A, S)`, a read-only view that is constant over actions.

    Raises:
        ValueError: If the shape does not fit, an entry is not finite, or a terminal state has a potential other
            than 0 (episodes of different lengths would then be paid differently, and optimal policies can change).

    Source: Ng, Harada and Russell 1999, theorem 1; the terminal condition is that of episodic tasks.
    """
    potential = check_finite("potential", as_float64(check_array("potential", potential, like=mdp.transition)))
    if tuple(potential.shape[-1:]) != (mdp.states,):
        raise ValueError(f"potential has shape {tuple(potential.shape)}, expected (*batch, {mdp.states})")
    xp = array_namespace(potential)
    check_broadcast(potential=tuple(potential.shape[:-1]), mdp=mdp.batch_shape)
    wrong = mdp.terminal & (potential != 0)
    if bool(xp.any(wrong)):
        state = int(np.argwhere(to_numpy(wrong))[0][-1])
        raise ValueError(
            f"potential of terminal state {state} is not 0, so episodes of different lengths would be paid "
            f"differently; set it to 0 there"
        )
    shaping = shaping_term(mdp, potential)
    return xp.broadcast_to(shaping, (*shaping.shape[:-2], mdp.actions, mdp.states))


def shaping_term(mdp: FiniteMDP, potential: Float[Array, "*#potentials s"]) -> Float[Array, "*batch s 1 s"]:
    """As `potential_shaping`, unchecked and without the action dimension spelled out, `(*batch, S, 1, S)`."""
    return (mdp.discount_for(2) * potential[..., None, :] - potential[..., :, None])[..., :, None, :]


def redistribution(mdp: FiniteMDP, reward: Reward) -> Float[Array, "*batch s a s"]:
    """The part of a reward that pays among next states without changing what any action earns on average.

    Its expectation over next states is 0 for every state and action, so adding any multiple of it to a reward
    leaves all values and returns unchanged, however large it is.

    Args:
        mdp: World.
        reward: Any array of shape `(*batch, S, A, S)`, noise for example; every entry counts, also of transitions
            that cannot happen.

    Returns:
        The reward minus its expectation over next states, `(*batch, S, A, S)`.

    Source: Skalse et al. 2023 (arXiv 2203.07475), S'-redistribution.
    """
    reward = mdp.transition_reward(reward)
    xp = array_namespace(reward)
    return reward - xp.linalg.vecdot(mdp.transition, reward)[..., None]
