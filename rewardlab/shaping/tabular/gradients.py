"""Policy gradients in the logits of a tabular softmax policy, from sampled episodes, and their Fisher matrix solved."""

import numpy as np
from jaxtyping import Float

from rewardlab.checks import check_array, check_finite, check_scalar
from rewardlab.shaping.tabular.episodes import TabularEpisodes

__all__ = ["entropy_gradient", "fisher_solve", "returns_to_go", "score_sums", "state_means"]


def returns_to_go(rewards: Float[np.ndarray, "*batch steps"], discount: float) -> Float[np.ndarray, "*batch steps"]:
    """Discounted sum of the rewards from each step on, by one product of matrices.

    Args:
        rewards: Rewards of the steps, 0 in the padding.
        discount: In [0, 1].

    Raises:
        ValueError: If the discount is out of range or a reward is not finite.

    Example:
        >>> import numpy as np
        >>> returns_to_go(np.array([1.0, 0.0, 2.0]), 0.5)
        array([1.5, 1. , 2. ])
    """
    check_scalar("discount", discount, low=0, high=1)
    check_finite("rewards", rewards)
    step = np.arange(rewards.shape[-1])
    later = np.tri(step.size) * float(discount) ** np.maximum(step[:, None] - step, 0)
    return rewards @ later


def state_means(
    episodes: TabularEpisodes, returns: Float[np.ndarray, "*runs episodes steps"]
) -> Float[np.ndarray, "*runs episodes steps"]:
    """At every step, the mean return of the run's visits to the state; 0 in the padding.

    As a baseline it includes the visit itself, which makes a gradient shorter: of n visits, by a factor of 1 - 1/n
    where all are in different episodes. It removes whatever depends on the state alone, such as a potential, exactly.
    """
    visits = episodes.state_sums(episodes.mask.astype(float))
    means = episodes.state_sums(returns) / np.maximum(visits, 1)
    return episodes.at_states(means)[..., :-1]  # padding is in terminal states, which no step starts from


def score_sums(
    episodes: TabularEpisodes,
    weights: Float[np.ndarray, "*runs episodes steps"],
    policy: Float[np.ndarray, "*#runs s a"],
) -> Float[np.ndarray, "*runs s a"]:
    """Mean over episodes of the sum over steps of `weights` times the gradient of the log-probability of the action.

    With returns as weights this is the policy gradient in the logits of a tabular softmax policy. Steps count alike
    however late they are, as is usual; returns times discount**step give the gradient of the discounted return.

    Args:
        episodes: Episodes of the policy.
        weights: One number a step; those in the padding do not count.
        policy: The policy they were drawn with.
    """
    pushed = episodes.state_action_sums(weights) / weights.shape[-2]
    return pushed - policy * pushed.sum(axis=-1, keepdims=True)


def entropy_gradient(
    policy: Float[np.ndarray, "*batch s a"], visits: Float[np.ndarray, "*batch s"]
) -> Float[np.ndarray, "*batch s a"]:
    """Gradient in the logits of the entropies of the states, weighed by visits, which are held fixed."""
    surprise = -np.log(policy, out=np.zeros_like(policy), where=policy > 0)
    entropy = (policy * surprise).sum(axis=-1, keepdims=True)
    return visits[..., None] * policy * (surprise - entropy)


def fisher_solve(
    vector: Float[np.ndarray, "*batch s a"],
    policy: Float[np.ndarray, "*batch s a"],
    visits: Float[np.ndarray, "*batch s"],
    damping: float,
) -> Float[np.ndarray, "*batch s a"]:
    """The vector solved for the damped Fisher matrix of a tabular softmax policy, in closed form.

    The matrix has one block a state, visits * (diag(policy) - policy policy^T) + damping * identity: a diagonal less
    a product of two vectors, whose inverse the Sherman-Morrison formula gives.

    Args:
        vector: What to solve for, such as a policy gradient in the logits.
        policy: Action probabilities.
        visits: Weight of each state, at least 0.
        damping: Above 0; without it the matrix has no inverse, as a shift of a state's logits changes no policy.

    Raises:
        TypeError, ValueError: If an array is none or not finite, a state's weight negative, or damping not above 0.
    """
    check_scalar("damping", damping, low=0, open_low=True)
    for name, value in (("vector", vector), ("policy", policy), ("visits", visits)):
        check_finite(name, check_array(name, value))
    if (visits < 0).any():
        place = np.argwhere(visits < 0)[0]
        raise ValueError(f"visits{place.tolist()} is {visits[tuple(place)]:g}, expected at least 0")
    weighed = visits[..., None] * policy
    diagonal = weighed + damping
    first = vector / diagonal
    left = damping * (policy / diagonal).sum(axis=-1, keepdims=True)  # 1 - weighed . policy / diagonal, never 0
    return first + weighed / diagonal * (policy * first).sum(axis=-1, keepdims=True) / left
