"""Next observations for files that hold none: the observation of the next row, where that row is the next step."""

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["shifted"]


def shifted(
    observations: Float[np.ndarray, "n d"], starts: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"]]:
    """The observation one row on, and in which rows there is none because the episode ends there.

    Args:
        observations: One row a step, episode after episode.
        starts: True in the first row of each episode.

    Returns:
        Next observations, which repeat the observation where none is known, and a mask of those rows.
    """
    last = np.append(starts[1:], True)
    following = np.concatenate([observations[1:], observations[-1:]])
    following[last] = observations[last]
    return following, last
