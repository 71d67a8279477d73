"""What a policy is worth in games that it did not learn from."""

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from environments.nethack.training.build import facts_of, games_of
from environments.nethack.training.settings import TrainingSettings

__all__ = ["evaluate"]

FAR = 2**20  # from the seeds of training


def evaluate(model: BaseAlgorithm, settings: TrainingSettings) -> dict[str, float]:
    """Means over `evaluation_episodes` new games, played as in training: actions are drawn, not the likeliest taken.

    Each of the games side by side plays its share to the end; what it goes on to play while others still do theirs is
    not counted, so that short games do not count more than long ones.

    Returns:
        Means of score, return of the task (unshaped), success, depth and length, with `episodes`; empty without games.
    """
    wanted, side = settings.evaluation_episodes, settings.policy.games
    if wanted == 0:
        return {}
    games = games_of(settings, seed=FAR + settings.seed, shaped=False)
    left = np.array([wanted // side + (place < wanted % side) for place in range(side)])  # of each place
    found: list[dict[str, float]] = []
    try:
        observations, states, starts = games.reset(), None, np.ones(side, dtype=bool)
        while left.any():
            actions, states = model.predict(observations, state=states, episode_start=starts)
            observations, _, starts, infos = games.step(actions)
            for place in np.flatnonzero(starts & (left > 0)):
                found.append(facts_of(infos[place]))
                left[place] -= 1
    finally:
        games.close()
    means = {name: float(np.mean([facts[name] for facts in found])) for name in found[0]}
    return {**means, "episodes": float(len(found))}
