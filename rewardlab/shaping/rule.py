"""Potential-based shaping: the rule, along whole episodes too, and what it adds up to."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, is_array, is_floating, to_numpy
from rewardlab.checks import check_array, check_finite, check_scalar

__all__ = ["OnTruncation", "learner_bootstraps", "shape_episode", "shaping_reward", "telescoped"]

OnTruncation = Literal["keep", "zero"]
"""What becomes of the potential where an episode is cut: "keep" for learners that bootstrap there, else "zero"."""


def shaping_reward(potential: Any, next_potential: Any, *, discount: Any, bootstraps: Any) -> Any:
    """The reward that potential-based shaping adds to a step: the discounted next potential less the potential.

    Added to every step it changes the return of an episode by a constant, so whatever was optimal stays so. The
    potential that a step leads to is 0 exactly where the learner does not bootstrap: there its own value is 0 too.

    Args:
        potential: Potential of the state, kept from the arrival in it where potentials change: float or array.
        next_potential: Potential of the next state, finite.
        discount: The learner's, in [0, 1]. Any other adds (other - discount) times the next potential to each step.
        bootstraps: Whether the learner counts on the next state's value, bool or an array: False at termination.

    Returns:
        Shaping rewards, of the kind that came in and broadcast to one shape.

    Source: Ng, Harada and Russell 1999, theorem 1; the potential of 0 at termination follows from the proof for
        episodes, which telescope to minus the first potential only if the last is 0.

    Example:
        >>> shaping_reward(1.0, 2.0, discount=0.9, bootstraps=True)
        0.8
        >>> shaping_reward(1.0, 2.0, discount=0.9, bootstraps=False)
        -1.0
    """
    return discount * next_potential * bootstraps - potential


def learner_bootstraps(terminated: Any, truncated: Any, on_truncation: OnTruncation = "keep") -> Any:
    """Whether the learner counts on the value of the next state: not at termination, at a cut as it is told.

    Args:
        terminated: Whether the episode ended in a terminal state: bool or boolean array.
        truncated: Whether it was cut there.
        on_truncation: "keep" for learners that bootstrap where an episode is cut (those of Stable-Baselines3 do),
            "zero" for those that count nothing after it (plain Monte Carlo returns).

    Returns:
        Of the kind that came in.
    """
    return (terminated | (truncated & (on_truncation == "zero"))) ^ True


def shape_episode(
    potentials: Num[Array, "*batch states"],
    *,
    discount: float,
    ended: bool | Bool[Array, "*#batch"],
    mask: Bool[Array, "*batch steps"] | None = None,
) -> Float[Array, "*batch steps"]:
    """Shaping rewards of whole episodes, given the potentials of the states that they went through.

    Episodes of different length share one array by padding: `mask` says which steps there are. For the tokens of a
    language model, `potentials[..., 0]` is the prompt's, the discount 1, a text that stopped by itself has `ended`,
    and one that was cut at the longest length has not.

    Args:
        potentials: Of the states, the first to the one that the last step led to, (*batch, steps + 1), each as it was
            on arrival. Not looked at in the padding, nor after a last step that `ended`.
        discount: The learner's, in [0, 1].
        ended: Whether the learner does not bootstrap from the last state: it was terminal. False where the episode
            was cut. One for all, or (*batch).
        mask: True where there is a step, the steps first, (*batch, steps); None where all are steps.

    Returns:
        Shaping rewards (*batch, steps) in the float dtype of the potentials, 0 in the padding.

    Raises:
        TypeError: If an argument is of another kind or library.
        ValueError: If shapes disagree, a potential that counts is NaN or infinite, the mask has a gap, or the discount
            is outside [0, 1].

    Example:
        >>> shape_episode(np.array([1.0, 2.0, 4.0, 3.0]), discount=0.9, ended=True)
        array([ 0.8,  1.6, -4. ])
    """
    check_scalar("discount", discount, low=0.0, high=1.0)
    potentials, mask, _ = _checked_episodes(potentials, ended, mask)
    shaped = shaping_reward(potentials[..., :-1], potentials[..., 1:], discount=discount, bootstraps=True)
    xp = array_namespace(shaped)
    return shaped if mask is None else xp.where(mask, shaped, xp.zeros_like(shaped))


def telescoped(
    potentials: Num[Array, "*batch states"],
    *,
    discount: float,
    ended: bool | Bool[Array, "*#batch"],
    mask: Bool[Array, "*batch steps"] | None = None,
) -> Float[Array, " *batch"]:
    """Discounted sum of the shaping rewards of whole episodes, in closed form: what shaping adds to a return.

    That is the discounted last potential, 0 where the episode `ended`, less the first.

    Args:
        potentials: As in `shape_episode`.
        discount: As there.
        ended: As there.
        mask: As there.

    Returns:
        Sums (*batch); 0 for an episode without steps.

    Raises:
        TypeError, ValueError: As in `shape_episode`.

    Example:
        >>> float(telescoped(np.array([1.0, 2.0, 4.0, 3.0]), discount=0.9, ended=True))
        -1.0
        >>> round(float(telescoped(np.array([1.0, 2.0, 4.0, 3.0]), discount=0.9, ended=False)), 3)
        1.187
    """
    check_scalar("discount", discount, low=0.0, high=1.0)
    potentials, _, lengths = _checked_episodes(potentials, ended, mask)
    xp = array_namespace(potentials)
    last = xp.take_along_axis(potentials, lengths[..., None], axis=-1)[..., 0]
    powers = xp.astype(discount ** xp.astype(lengths, xp.float64), potentials.dtype)
    return shaping_reward(potentials[..., 0], last, discount=powers, bootstraps=True)


def _checked_episodes(potentials: Array, ended: Any, mask: Any) -> tuple[Array, Array | None, Array]:
    """Potentials, 0 in the padding and where the learner does not bootstrap; the mask; and the number of steps."""
    potentials = _checked_potentials(potentials)
    xp = array_namespace(potentials)
    steps = potentials.shape[-1] - 1
    ended = _checked_ended(ended, potentials)
    mask = _checked_mask(mask, potentials)
    place = xp.arange(steps + 1, device=potentials.device)
    if mask is None:
        lengths = xp.full(tuple(potentials.shape[:-1]), steps, dtype=xp.int64, device=potentials.device)
    else:
        lengths = xp.sum(xp.astype(mask, xp.int64), axis=-1)
    counts = place <= lengths[..., None] - xp.astype(ended & (lengths > 0), xp.int64)[..., None]
    potentials = xp.where(counts, potentials, xp.zeros_like(potentials))
    check_finite("potentials", potentials)
    return potentials, mask, lengths


def _checked_potentials(potentials: Array) -> Array:
    xp = array_namespace(check_array("potentials", potentials))
    if potentials.ndim < 1 or potentials.shape[-1] < 1:
        raise ValueError(
            f"potentials has shape {tuple(potentials.shape)}, expected (*batch, steps + 1): one for each state, the "
            f"last one included"
        )
    return potentials if is_floating(potentials) else xp.astype(potentials, xp.float64)


def _checked_ended(ended: Any, potentials: Array) -> Array:
    xp, batch = array_namespace(potentials), tuple(potentials.shape[:-1])
    if not is_array(ended):
        if not isinstance(ended, bool):
            raise TypeError(f"ended: expected True, False or a boolean array, got {type(ended).__name__}")
        return xp.full(batch, ended, dtype=xp.bool, device=potentials.device)
    if isinstance(ended, np.bool_) and not isinstance(potentials, np.ndarray):
        return xp.full(batch, bool(ended), dtype=xp.bool, device=potentials.device)
    if array_namespace(ended) is not xp:
        raise TypeError(f"ended is a {type(ended).__name__} but potentials a {type(potentials).__name__}")
    if ended.dtype != xp.bool:
        raise TypeError(f"ended has dtype {ended.dtype}, expected bool")
    try:
        return xp.broadcast_to(ended, batch)
    except (ValueError, RuntimeError):
        raise ValueError(f"ended has shape {tuple(ended.shape)}, expected {batch}: one for each episode") from None


def _checked_mask(mask: Any, potentials: Array) -> Array | None:
    if mask is None:
        return None
    xp = array_namespace(potentials)
    if array_namespace(check_array("mask", mask)) is not xp:
        raise TypeError(f"mask is a {type(mask).__name__} but potentials a {type(potentials).__name__}")
    if mask.dtype != xp.bool:
        raise TypeError(f"mask has dtype {mask.dtype}, expected bool (True where there is a step)")
    expected = (*potentials.shape[:-1], potentials.shape[-1] - 1)
    if tuple(mask.shape) != expected:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, expected {expected}: one entry a step, one less than potentials"
        )
    gaps = to_numpy(mask[..., 1:] & ~mask[..., :-1])
    if gaps.any():
        place = np.argwhere(gaps)[0]
        place[-1] += 1
        where = ", ".join(map(str, place))
        raise ValueError(f"mask[{where}] is True after a False, expected the steps first and padding after them")
    return mask
