"""Advice: potentials that depend on the action as well, paid along whole trajectories, and how to act on them.

A potential of states can be paid step by step. Advice on actions cannot always be: what look-ahead advice pays for a
step depends on the action taken next. So these functions take the potentials of whole trajectories, many at once.

A potential of states that changes while the agent learns needs no function of its own: `shape_episode` with every
potential as it was on arrival is right however it changes (Devlin and Kudenko 2012, as Harutyunyan et al. 2015 state
it, equation 8). `reevaluation_error` says what it costs to ask again on leaving.
"""

from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, as_float64, is_floating
from rewardlab.checks import check_array, check_broadcast, check_finite, check_same_shape, check_scalar
from rewardlab.shaping.rule import shape_episode

__all__ = ["advised_action_values", "advised_policy", "look_ahead_advice", "look_back_advice", "reevaluation_error"]


def look_ahead_advice(
    potentials: Num[Array, "*batch pairs"],
    *,
    discount: float,
    ended: bool | Bool[Array, "*#batch"],
    mask: Bool[Array, "*batch steps"] | None = None,
) -> Float[Array, "*batch steps"]:
    """Shaping by advice on actions: the discounted potential of the next step's action, less that of this step's.

    A learner then values each action at its return less its potential, so that what is advised looks worse. To act
    well it must add the potential again: see `advised_policy`. For single transitions from a replay buffer that holds
    the next action, this is `shaping_reward` of the two potentials.

    Args:
        potentials: Of each action in the state where it was taken, in units of return, and in the last place of the
            action whose value the learner bootstraps from after the last step: (*batch, steps + 1). Not looked at in
            the padding, nor after a last step that `ended`.
        discount: The learner's, in [0, 1].
        ended: Whether the learner does not bootstrap at the end: the last state was terminal. One for all, or (*batch).
        mask: True where there is a step, the steps first, (*batch, steps); None where all are steps.

    Returns:
        Rewards to add, (*batch, steps), 0 in the padding.

    Raises:
        TypeError, ValueError: As `shape_episode`.

    Source: Wiewiora, Cottrell and Elkan 2003, as Harutyunyan et al. 2015 state it (equation 7).

    Example:
        >>> import numpy as np
        >>> look_ahead_advice(np.array([1.0, 2.0, 4.0, 9.0]), discount=0.9, ended=True)
        array([ 0.8,  1.6, -4. ])
    """
    return shape_episode(potentials, discount=discount, ended=ended, mask=mask)


def look_back_advice(
    potentials: Num[Array, "*batch steps"],
    *,
    discount: float,
    ended: bool | Bool[Array, "*#batch"],
    mask: Bool[Array, "*batch steps"] | None = None,
) -> Float[Array, "*batch steps"]:
    """Shaping by advice on actions that are past: the this step's potential, less the last one's undiscounted.

    From each step on it sums to minus the previous action's potential over the discount: nothing that this action can
    change, so no correction is needed when acting. That holds for each trajectory. It is not a reward of the state and
    the action alone (it depends on the step before), and we know of no proof of convergence for learners that take it
    for one.

    Args:
        potentials: Of each action in the state where it was taken, in units of return: (*batch, steps).
        discount: The learner's, in (0, 1].
        ended: Whether the learner does not bootstrap at the end: the last action's potential then counts as 0. Without
            that rule an episode would sum to the discounted potential of its last action, a reward for ending on it.
            One for all, or (*batch).
        mask: True where there is a step, the steps first, (*batch, steps); None where all are steps.

    Returns:
        Rewards to add, (*batch, steps), 0 in the padding.

    Raises:
        TypeError, ValueError: As `shape_episode`, or if the discount is 0.

    Source: Wiewiora, Cottrell and Elkan 2003, from memory; the rule for the last step is ours. It is look-ahead advice
        paid a step late, and so over the discount, except that the first action's potential is paid as well.

    Example:
        >>> import numpy as np
        >>> look_back_advice(np.array([0.9, 1.8, 4.0]), discount=0.9, ended=True)
        array([ 0.9,  0.8, -2. ])
    """
    check_scalar("discount", discount, low=0.0, high=1.0, open_low=True)
    potentials = _as_floats("potentials", potentials)
    if not potentials.ndim:
        raise ValueError("potentials is a single number, expected shape (*batch, steps)")
    xp = array_namespace(potentials)
    before = xp.zeros((*potentials.shape[:-1], 1), dtype=potentials.dtype, device=potentials.device)
    late = xp.concat([before, potentials], axis=-1)
    return shape_episode(late, discount=discount, ended=ended, mask=mask) / discount


def reevaluation_error(
    on_arrival: Num[Array, "*batch steps"], on_departure: Num[Array, "*batch steps"], *, discount: float
) -> Float[Array, "*batch"]:
    """What a return is off by where a changing potential was asked for again when its state was left.

    Args:
        on_arrival: Potential of the state that each step leaves, when it was reached: (*batch, steps).
        on_departure: The same, when it was left. Where there is no step, the same number in both.
        discount: The learner's, in [0, 1].

    Returns:
        The return with the wrong shaping less that with the right one, (*batch).

    Raises:
        TypeError: If an argument is no array, or the two are of different libraries.
        ValueError: If their shapes differ, an entry is NaN or infinite, or the discount is out of range.

    Example:
        >>> import numpy as np
        >>> float(reevaluation_error(np.array([1.0, 2.0]), np.array([1.0, 2.5]), discount=0.9))
        -0.45
    """
    check_scalar("discount", discount, low=0.0, high=1.0)
    arrived, left = _as_floats("on_arrival", on_arrival), _as_floats("on_departure", on_departure)
    _check_one_library("on_departure", left, "on_arrival", arrived)
    check_same_shape("on_departure", left, "on_arrival", arrived)
    if not arrived.ndim:
        raise ValueError("on_arrival is a single number, expected shape (*batch, steps)")
    xp = array_namespace(arrived)
    changed = check_finite("on_arrival", arrived) - check_finite("on_departure", left)
    weights = discount ** xp.arange(changed.shape[-1], dtype=xp.float64, device=changed.device)
    return xp.sum(xp.astype(weights, changed.dtype) * changed, axis=-1)


def advised_action_values(
    action_values: Num[Array, "*#batch actions"], potential: Num[Array, "*#batch actions"], *, weight: float = 1.0
) -> Float[Array, "*batch actions"]:
    """Action values that say what to do where the agent learned from look-ahead advice: the advice is added again.

    Args:
        action_values: What the agent has learned, in units of return, `(*batch, A)`.
        potential: Advice on the same actions at the present time, `(*batch, A)`; batches broadcast.
        weight: What to multiply the advice by: 1 undoes look-ahead advice; explicit shaping (PIES) uses a negative
            potential and a weight that falls to 0.

    Returns:
        Their weighted sum, `(*batch, A)`; float64, or the float dtype of `action_values`.

    Raises:
        TypeError: If an argument is no array, or the two are of different libraries.
        ValueError: If an entry is NaN or infinite, the numbers of actions differ, or the weight is not finite.

    Source: Harutyunyan et al. 2015, equation 17, with the advice of now in place of the one the agent started with:
        that is the one that learned values are off by.

    Example:
        >>> import numpy as np
        >>> advised_action_values(np.array([0.5, 0.8]), np.array([0.5, 0.0]))
        array([1. , 0.8])
    """
    check_scalar("weight", weight)
    action_values, potential = _as_floats("action_values", action_values), _as_floats("potential", potential)
    _check_one_library("potential", potential, "action_values", action_values)
    if not action_values.ndim or not potential.ndim or action_values.shape[-1:] != potential.shape[-1:]:
        shapes = f"{tuple(action_values.shape)} and {tuple(potential.shape)}"
        raise ValueError(f"action_values and potential have shapes {shapes}, expected the same number of actions")
    if not action_values.shape[-1]:
        raise ValueError("action_values has no actions, expected at least one")
    check_broadcast(action_values=tuple(action_values.shape[:-1]), potential=tuple(potential.shape[:-1]))
    return check_finite("action_values", action_values) + weight * check_finite("potential", potential)


def advised_policy(
    action_values: Num[Array, "*#batch actions"],
    potential: Num[Array, "*#batch actions"],
    *,
    weight: float = 1.0,
    temperature: float = 0.0,
    exploration: float = 0.0,
) -> Float[Array, "*batch actions"]:
    """The policy that acts on learned values with the advice added again.

    Args:
        action_values: What the agent has learned from look-ahead advice, `(*batch, A)`.
        potential: Advice on the same actions at the present time, `(*batch, A)`.
        weight: See `advised_action_values`.
        temperature: Of a softmax over the sums, in units of return; 0 takes the best, ties evenly.
        exploration: Share of choices made evenly among all actions, in [0, 1].

    Returns:
        Probabilities of the actions, `(*batch, A)`.

    Raises:
        TypeError, ValueError: As `advised_action_values`, or if a number is out of range.

    Example:
        >>> import numpy as np
        >>> advised_policy(np.array([0.5, 0.8]), np.array([0.5, 0.0]), exploration=0.1)
        array([0.95, 0.05])
    """
    check_scalar("temperature", temperature, low=0.0)
    check_scalar("exploration", exploration, low=0.0, high=1.0)
    values = advised_action_values(action_values, potential, weight=weight)
    xp = array_namespace(values)
    below = values - xp.max(values, axis=-1, keepdims=True)
    shares = xp.exp(below / temperature) if temperature else xp.astype(below == 0, values.dtype)
    chosen = shares / xp.sum(shares, axis=-1, keepdims=True)
    return (1 - exploration) * chosen + exploration / values.shape[-1]


def _as_floats(name: str, values: object) -> Array:
    """The checked array, in float64 where it does not hold floats."""
    check_array(name, values)
    return values if is_floating(values) else as_float64(values)


def _check_one_library(name: str, value: Array, other_name: str, other: Array) -> None:
    if array_namespace(value) is not array_namespace(other):
        kinds = f"{name} is a {type(value).__name__} but {other_name} a {type(other).__name__}"
        raise TypeError(f"{kinds}; use one library")
