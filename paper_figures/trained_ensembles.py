"""Reward models that are really trained: Bradley-Terry heads (fine-tuning) on random features (pretraining).

A response is a vector with heavy-tailed entries. Gold rewards one direction among ordinary responses and nothing far
out, where few training pairs lie and each feature matrix extrapolates in its own way: what overoptimisation lives on.
"""

import numpy as np
from scipy.special import expit

from rewardlab.audit import Seeds
from rewardlab.transforms.ensemble import centre_members

ENTRIES, FEATURES, PAIRS, FLIPPED = 8, 32, 500, 0.25
FREEDOM = 3.0  # of the Student t entries of a response
ORDINARY = 3.0  # distance from the middle at which gold begins to fade
RIDGE, NEWTON_STEPS = 1.0, 15


def draw_trained(
    members: tuple[Seeds, ...], prompts: int, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Gold `(prompts, samples)` and scores `(members, prompts, samples)`, all of mean 0 and about variance 1.

    One set of pairs, of whose labels a quarter are flipped, trains all members. A pretraining seed is a feature matrix,
    a fine-tuning seed a bootstrap sample of the pairs.
    """
    direction = rng.normal(size=ENTRIES)
    direction /= np.linalg.norm(direction)
    pairs = _responses(rng, 2, PAIRS)
    better = _gold(pairs[0], direction) > _gold(pairs[1], direction)
    first_wins = better ^ (rng.random(PAIRS) < FLIPPED)
    responses = _responses(rng, prompts, samples)
    spread = _gold(_responses(rng, 100_000), direction).std()
    pretrained = dict.fromkeys(member.pretraining for member in members)
    matrices = {seed: rng.normal(size=(ENTRIES + 1, FEATURES)) for seed in pretrained}
    heads = []
    for member in members:
        matrix, chosen = matrices[member.pretraining], rng.integers(PAIRS, size=PAIRS)
        gaps = _features(pairs[0], matrix) - _features(pairs[1], matrix)
        heads.append(_bradley_terry(gaps[chosen], first_wins[chosen]))
    scores = np.empty((len(members), prompts, samples))
    for seed, matrix in matrices.items():
        own = [place for place, member in enumerate(members) if member.pretraining == seed]
        on_features = np.stack([heads[place] for place in own], axis=-1)
        for prompt, answers in enumerate(responses):  # one at a time: all features at once would not fit the cache
            scores[own, prompt] = (_features(answers, matrix) @ on_features).T
    centred = centre_members(scores)
    return _gold(responses, direction) / spread, centred / centred.std(axis=(1, 2), keepdims=True)


def _responses(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_t(FREEDOM, (*shape, ENTRIES)) / np.sqrt(FREEDOM / (FREEDOM - 2))


def _gold(responses: np.ndarray, direction: np.ndarray) -> np.ndarray:
    return responses @ direction * np.exp(-(responses**2).sum(axis=-1) / (2 * ORDINARY**2))


def _features(responses: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.tanh(responses @ matrix[:-1] / np.sqrt(ENTRIES) + matrix[-1])


def _bradley_terry(gaps: np.ndarray, first_wins: np.ndarray) -> np.ndarray:
    """Head that makes the winners likely, by Newton's method; the ridge penalty makes the optimum unique."""
    head = np.zeros(FEATURES)
    for _ in range(NEWTON_STEPS):
        chance = expit(gaps @ head)
        slope = gaps.T @ (first_wins - chance) - RIDGE * head
        curvature = (gaps * (chance * (1 - chance))[:, None]).T @ gaps + RIDGE * np.eye(FEATURES)
        head = head + np.linalg.solve(curvature, slope)
    return head
