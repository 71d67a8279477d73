"""Small tables of a linear world with a little noise, for models to be fitted to."""

import numpy as np

from rewardlab.transition_table import TransitionTable


def linear_table(rows, *, seed=0, observation_size=2, action_size=1, episode=5, noise=0.01, **columns):
    """Episodes of `episode` steps under random actions; further columns replace those of the table."""
    generator = np.random.default_rng(seed)
    push = generator.normal(size=(action_size, observation_size))
    actions = generator.uniform(-1, 1, size=(rows, action_size)).astype(np.float32)
    observations = np.zeros((rows, observation_size), np.float32)
    following = np.zeros_like(observations)
    for row in range(rows):
        start = generator.normal(size=observation_size) if row % episode == 0 else following[row - 1]
        observations[row] = start
        following[row] = 0.9 * start + 0.3 * actions[row] @ push + noise * generator.normal(size=observation_size)
    last = np.arange(rows) % episode == episode - 1
    fields = {
        "observations": observations,
        "actions": actions,
        "rewards": following.sum(axis=1) - 1,
        "next_observations": following,
        "terminals": np.zeros(rows, bool),
        "timeouts": last,
        "episode_ids": np.arange(rows) // episode,
        "steps": np.arange(rows) % episode,
        "next_valid": np.ones(rows, bool),
    }
    return TransitionTable(**{**fields, **columns})
