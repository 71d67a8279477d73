"""Any reward as advice: where its potential ends up when it is learned beside the values, and how to act on both."""

from typing import NamedTuple

from jaxtyping import Float, Num

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_scalar
from rewardlab.exact.evaluation import Policy, action_values, expected_next, state_values, uniform_policy
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.advice import advised_action_values
from rewardlab.shaping.rule import shaping_reward

__all__ = ["AdviceFixedPoint", "advice_fixed_point", "explicit_action_values", "explicit_weight"]


class AdviceFixedPoint(NamedTuple):
    """What an agent that follows one policy has learned in the end; each `(*batch, S, A)`, 0 in terminal states.

    Args:
        potential: Minus the action values of the advice, which is what a potential learned by temporal differences
            on minus the advice comes to.
        expected_shaping: What look-ahead advice with this potential pays on average: the advice itself.
        learned: Action values of the reward with that shaping: those of reward plus advice. Greedy actions on them
            follow bad advice.
        corrected: The same with the potential added again: the action values of the reward alone. True here, at the
            fixed point; learners that are not there yet can be driven off the goal by it.
    """

    potential: Float[Array, "*batch s a"]
    expected_shaping: Float[Array, "*batch s a"]
    learned: Float[Array, "*batch s a"]
    corrected: Float[Array, "*batch s a"]


def advice_fixed_point(
    mdp: FiniteMDP, reward: Reward, advice: Reward, policy: Policy | None = None
) -> AdviceFixedPoint:
    """What dynamic potential-based advice learns under a policy: the potential, what it pays, and the action values.

    The potential is learned from the negated advice beside the action values, and paid as look-ahead advice. So the
    advice arrives as a potential, of whatever form it was, and with it the claim that it cannot change what is
    optimal. It can: what is learned are the values of reward plus advice, and greedy actions on them are right only
    if the present potential is added again (`corrected`). The published correction adds the potential that the agent
    started with, usually 0, which corrects nothing.

    Args:
        mdp: World of batch shape `*mdp`.
        reward: What is meant, `(*rewards, S, A, S)` or `(*rewards, S, A)`.
        advice: The arbitrary reward that stands for the advice, in the same shapes.
        policy: What the agent does meanwhile, `(*policies, S, A)`; uniform by default.

    Returns:
        The fixed point; the batch is the broadcast of all four.

    Raises:
        TypeError, ValueError: If a reward or the policy does not fit the world; the message says where.

    Source: Harutyunyan, Devlin, Vrancx and Nowé 2015 (AAAI), equations 9 to 12, 17 and 20; that invariance fails is
        the finding of arXiv 2011.01297.

    Example:
        >>> import numpy as np
        >>> world = FiniteMDP(np.ones((1, 2, 1)), discount=0.5)
        >>> found = advice_fixed_point(world, np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]))
        >>> found.potential, found.learned, found.corrected
        (array([[-1., -3.]]), array([[2.5, 3.5]]), array([[1.5, 0.5]]))
    """
    mdp.checked_rewards(reward=reward, advice=advice)
    policy = uniform_policy(mdp) if policy is None else policy
    potential = -action_values(mdp, advice, policy)
    xp = array_namespace(potential)
    following = xp.sum(mdp.continuation * -state_values(mdp, advice, policy)[..., None, None, :], axis=-1)
    shaping = shaping_reward(potential, following, discount=mdp.discount_for(2), bootstraps=1.0)
    shaped = mdp.state_action_reward(reward) + shaping
    learned = shaped + expected_next(mdp, state_values(mdp, shaped, policy))
    return AdviceFixedPoint(potential, shaping, learned, advised_action_values(learned, potential))


def explicit_action_values(
    action_values: Num[Array, "*#batch actions"], potential: Num[Array, "*#batch actions"], *, weight: float
) -> Float[Array, "*batch actions"]:
    """What policy-invariant explicit shaping (PIES) acts on: values of the reward alone, less the weighted potential.

    The advice never enters what is learned of the reward. It biases what is done, and less and less so.

    Args:
        action_values: Learned from the reward alone, `(*batch, A)`.
        potential: Learned from the negated advice, `(*batch, A)`.
        weight: How much the advice counts now, in [0, 1]; see `explicit_weight`.

    Returns:
        Numbers to choose the action by, `(*batch, A)`.

    Raises:
        TypeError, ValueError: As `advised_action_values`, or if the weight is out of range.

    Source: arXiv 2011.01297.

    Example:
        >>> import numpy as np
        >>> explicit_action_values(np.array([1.5, 0.5]), np.array([-1.0, -3.0]), weight=0.5)
        array([2., 2.])
    """
    check_scalar("weight", weight, low=0.0, high=1.0)
    return advised_action_values(action_values, potential, weight=-weight)


def explicit_weight(episode: int, decay: float) -> float:
    """How much the advice counts in an episode under explicit shaping: 1 at first, and 0 from episode `decay` on.

    Args:
        episode: Number of episodes that have ended before it.
        decay: Episodes until the advice is silent, above 0.

    Returns:
        A weight in [0, 1] that falls linearly.

    Raises:
        TypeError, ValueError: If a number is none, or out of range.

    Source: arXiv 2011.01297.

    Example:
        >>> [explicit_weight(episode, decay=4) for episode in (0, 1, 4, 9)]
        [1.0, 0.75, 0.0, 0.0]
    """
    check_scalar("episode", episode, low=0, whole=True)
    check_scalar("decay", decay, low=0.0, open_low=True)
    return max(0.0, 1.0 - episode / decay)
