"""The smallest world in which padding pays: a chain of steps to solve, and a filler step that says nothing."""

import numpy as np

from rewardlab.checks import check_scalar
from rewardlab.process.step_world import StepWorld

__all__ = ["filler_chain"]


def filler_chain(
    *,
    filler_score: float = 0.9,
    broken_filler_score: float = 0.5,
    right: float = 0.8,
    wrong: float = 0.1,
    answer: float = 0.9,
    levels: int = 3,
    horizon: int = 12,
    hazard: float = 0.0,
) -> StepWorld:
    """A chain of `levels` steps that must be solved in order, with a process reward model that likes filler.

    The state is the progress and whether the chain is broken: state `2 * progress + broken`. At progress g only the
    action "solve g" is right and leads to g + 1; any other solve breaks the chain for good. "fill" changes nothing.
    "answer" ends the episode, and is right only where all levels are solved and nothing is broken. An episode that
    has not answered after `horizon` steps has failed.

    Args:
        filler_score: What the process reward model gives a filler step of a chain that is whole.
        broken_filler_score: The same, of a broken chain.
        right: Score of a right solve.
        wrong: Score of a wrong solve, of any solve once broken, and of a wrong answer.
        answer: Score of the right answer.
        levels: Steps to solve; 0 for a problem that is solved from the start. One solve action each.
        horizon: Most steps of an episode.
        hazard: Chance that the episode is cut right after a filler step, as a text that runs on may be.

    Returns:
        A world of 2 (levels + 1) states and levels + 2 actions: "solve 0", ..., "fill", "answer".

    Raises:
        TypeError, ValueError: If a score or the hazard is no number in [0, 1], or a count is too small.

    Source: constructed here to test the claims of Gao et al. 2024 (arXiv 2410.15115); the paper has no such world.

    Example:
        >>> import numpy as np
        >>> from rewardlab.process.step_world import evaluate_policy
        >>> world = filler_chain()
        >>> world.states, world.action_names
        (8, ('solve 0', 'solve 1', 'solve 2', 'fill', 'answer'))
        >>> float(evaluate_policy(world, np.full((8, 5), 1 / 5)).success.round(4))
        0.0039
    """
    chances = {
        "filler_score": filler_score,
        "broken_filler_score": broken_filler_score,
        "right": right,
        "wrong": wrong,
        "answer": answer,
        "hazard": hazard,
    }
    for name, value in chances.items():
        check_scalar(name, value, low=0.0, high=1.0)
    check_scalar("levels", levels, low=0, whole=True)
    check_scalar("horizon", horizon, low=1, whole=True)
    progress, broken = np.divmod(np.arange(2 * (levels + 1)), 2)
    broken = broken.astype(bool)
    solving, filling, answering = np.arange(levels), levels, levels + 1
    shape = (len(progress), levels + 2)

    solved = (solving == progress[:, None]) & ~broken[:, None]
    next_state = np.tile(np.arange(shape[0])[:, None], shape[1])  # filler and answers stay where they are
    next_state[:, :levels] = 2 * (progress[:, None] + solved) + ~solved
    success = np.zeros(shape, bool)
    success[:, answering] = (progress == levels) & ~broken

    scores = np.full(shape, float(wrong))
    scores[:, :levels][solved] = right
    scores[:, filling] = np.where(broken, broken_filler_score, filler_score)
    scores[success] = answer
    return StepWorld(
        next_state,
        scores,
        ends=np.broadcast_to(np.arange(shape[1]) == answering, shape).copy(),
        success=success,
        horizon=horizon,
        hazard=np.where(np.arange(shape[1]) == filling, float(hazard), np.zeros(shape)),
        state_names=tuple(
            f"{g} of {levels} solved{', broken' * bool(b)}" for g, b in zip(progress, broken, strict=True)
        ),
        action_names=(*(f"solve {g}" for g in solving), "fill", "answer"),
    )
