"""Small recordings of known laws to train on."""

import numpy as np

from rewardlab.transition_table import TransitionTable


def recording(rows=400, length=20, seed=0, lost=()):
    """Episodes of `x' = 0.9 x + a + noise` in one dimension, with `a = -0.3 x + noise`.

    The noise is 0.05 in the law, 0.1 in the actions. `lost`: episodes that end terminally with no next observation.
    """
    rng = np.random.default_rng(seed)
    episodes = rows // length
    states = np.empty((episodes, length + 1, 1), np.float32)
    actions = np.empty((episodes, length, 1), np.float32)
    states[:, 0] = rng.uniform(-2, 2, (episodes, 1))
    for step in range(length):
        actions[:, step] = -0.3 * states[:, step] + 0.1 * rng.standard_normal((episodes, 1))
        states[:, step + 1] = law(states[:, step], actions[:, step]) + 0.05 * rng.standard_normal((episodes, 1))
    ends = np.zeros((episodes, length), bool)
    ends[:, -1] = True
    is_lost = ends & np.isin(np.arange(episodes), lost)[:, None]
    following = np.where(is_lost[..., None], states[:, :-1], states[:, 1:])
    return TransitionTable(
        observations=states[:, :-1].reshape(-1, 1),
        actions=actions.reshape(-1, 1),
        rewards=np.zeros(rows, np.float32),
        next_observations=following.reshape(-1, 1),
        terminals=is_lost.ravel(),
        timeouts=(ends & ~is_lost).ravel(),
        episode_ids=np.repeat(np.arange(episodes), length),
        steps=np.tile(np.arange(length), episodes),
        next_valid=~is_lost.ravel(),
    )


def law(observations, actions):
    """The next observation without noise, NumPy or torch."""
    return 0.9 * observations + actions
