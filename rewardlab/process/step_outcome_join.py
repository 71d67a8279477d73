"""Scores of steps joined with the outcome: no step of a failure is praised, and none of a success blamed."""

from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_scalar
from rewardlab.process.flags import check_library, checked_between
from rewardlab.process.padded_steps import as_floats, check_scores, checked_step_mask
from rewardlab.transforms.groups import in_dtype_of

__all__ = ["join_outcome"]


def join_outcome(
    step_rewards: Num[Array, "*batch steps"] | Bool[Array, "*batch steps"],
    mask: Bool[Array, "*batch steps"] | None,
    outcomes: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    shift: float = 1.0,
) -> Float[Array, "*batch steps"]:
    """Reward of each step: its score, plus the outcome of its solution, less a shift (ReNorm).

    With the shift of 1 a step of a right solution earns its score, and a step of a wrong one its score less 1. So the
    sign of the outcome is the sign of every step. What that does not settle is the sum, which is what a policy
    maximises:

    - In a right solution every further step is paid its score. Filler scored .9 is worth .9 a step, as without the
      outcome: scores .8, .6, .9 sum to 2.3, with ten such fillers to 11.3.
    - In a wrong solution every further step costs 1 less its score: -.7, and -1.7 with the ten fillers. A policy that
      hardly ever succeeds is paid for giving up at once, before it has learned anything (figure `step_outcome_join`).
    - "A constant shift has no effect", because the baseline or critic absorbs it, holds where all episodes have one
      length. Where the policy chooses the length, `shift` costs `shift` a step: it is a length penalty, and without it
      filler is paid in wrong solutions, too.
    - The outcome is counted once a step, T times in a solution of T steps.

    Args:
        step_rewards: Scores of the steps in [0, 1], NumPy or torch; whole numbers and booleans are taken as float64.
        mask: True where there is a step: the steps first, padding after them. None where all are steps. Values in
            the padding are ignored, NaN too.
        outcomes: Outcome of each solution, 0 or 1. A number between them (partial credit) is taken, but then a step may
            have either sign.
        shift: The paper's mu, from 0 to 2; 1 centres.

    Returns:
        Rewards in [-shift, 2 - shift], at shift 1 of [-1, 0] in a wrong and [0, 1] in a right solution; of the shape
        and float dtype of `step_rewards`, 0 in the padding. A solution without steps has nowhere to hold its outcome.

    Raises:
        TypeError: If an argument is no array, they are of different libraries, or the mask is not boolean.
        ValueError: If a score or outcome is NaN or outside [0, 1], shapes disagree, or the mask has a gap.

    Source: PPR (arXiv 2509.25598), after its project's guide and public reviews; its equations were not read. There
        each reward stands at the last token of its step (`place_on_tokens`) and GAE with PPO follows.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.8, 0.6, 0.9], [0.8, 0.6, 0.9]])
        >>> join_outcome(scores, None, np.array([0, 1])).round(6)
        array([[-0.2, -0.4, -0.1],
               [ 0.8,  0.6,  0.9]])
    """
    check_scalar("shift", shift, low=0.0, high=2.0)
    mask = checked_step_mask(mask, step_rewards)
    check_scores(step_rewards, mask)
    scores = as_floats(step_rewards, mask)
    xp = array_namespace(scores)
    check_library("outcomes", outcomes, "step_rewards", scores)
    if tuple(outcomes.shape) != tuple(scores.shape[:-1]):
        raise ValueError(
            f"outcomes has shape {tuple(outcomes.shape)}, expected {tuple(scores.shape[:-1])}: one for each solution "
            f"of step_rewards {tuple(scores.shape)}"
        )
    joined = (
        as_float64(scores) + (checked_between("outcomes", outcomes, 0, 1) - shift)[..., None]
    )  # a right solution keeps its scores to the last bit
    if mask is not None:
        joined = xp.where(mask, joined, xp.zeros_like(joined))
    return in_dtype_of(joined, scores)
