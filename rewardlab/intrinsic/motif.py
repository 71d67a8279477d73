"""Motif: a reward of messages fitted offline, to preferences between pairs of them."""

from collections.abc import Sequence

import numpy as np
import torch

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.bradley_terry import preference_target
from rewardlab.intrinsic.frozen_reward import FrozenReward
from rewardlab.intrinsic.message_learner import MessageLearner
from rewardlab.intrinsic.preference_fit import Preferences, preference_step

__all__ = ["fit_motif"]


def fit_motif(
    pairs: Sequence[tuple[str, str]],
    preferences: Sequence[int],
    *,
    generator: torch.Generator,
    network: str = "bytes",
    quantile: float = 0.5,
    epochs: int = 10,
    batch_size: int = 1024,
    learning_rate: float | None = None,
    ridge: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> FrozenReward:
    """Fit a score to preferences (Bradley-Terry), normalise it, and cut it off at a quantile.

    With mean and variance of the scores of all messages in the pairs, each as often as it occurs, z is the normalised
    score; the reward is z where z is above the quantile of z over the distinct messages, else 0. The empty message is
    never paid, and pairs that hold it are left out.

    Args:
        pairs: Messages, two by two.
        preferences: Of each pair 0 if the first is better, 1 the second, 2 for a tie, 3 for no answer (a tie).
        generator: Draws weights and minibatches; the network stands on its device.
        network: "hashed" or "bytes".
        quantile: In [0, 1].
        epochs: Passes over the pairs.
        batch_size: Pairs in a minibatch.
        learning_rate: Of Adam; None for 1e-5 (bytes, as Motif) or that of the online models (hashed).
        ridge: Penalty on squared weights, see `MessageLearner`; None for 0 (bytes) or 0.5 (hashed).
        dtype: Precision of the weights.

    Returns:
        The reward, in form of a ranking. Its threshold is the quantile's value.

    Raises:
        ValueError: If there are not as many preferences as pairs, no pair is left, a preference is none of these
            (names its place), all scores are equal, or a number is out of range.

    Source: Motif (arXiv 2310.00166), official code: 10 passes in batches of 1024. There the quantile is rounded to two
        digits, and the variance is that of `RunningMoments`' note.
    """
    check_scalar("quantile", quantile, low=0, high=1)
    check_scalar("epochs", epochs, low=1, whole=True)
    check_scalar("batch_size", batch_size, low=1, whole=True)
    if len(pairs) != len(preferences):
        raise ValueError(f"there are {len(preferences)} preferences of {len(pairs)} pairs, expected one for each")
    targets = []
    for place, label in enumerate(preferences):
        try:
            targets.append(preference_target(label))
        except ValueError as error:
            raise ValueError(f"preferences[{place}]: {error}") from None
    rate = 1e-5 if learning_rate is None and network == "bytes" else learning_rate
    learner = MessageLearner(network, outputs=1, generator=generator, learning_rate=rate, ridge=ridge, dtype=dtype)
    labelled = Preferences(learner.encode, capacity=max(1, len(pairs)))
    labelled.add(pairs, targets)
    if not len(labelled):
        raise ValueError(f"of {len(pairs)} pairs none is of two messages that are not empty, expected at least one")
    batches = -(-len(labelled) // batch_size)
    for chosen in learner.minibatches(len(labelled), batch_size, epochs * batches):
        preference_step(learner, labelled, chosen)
    scores = learner.scores(labelled.texts)[:, 0]
    of_pairs = scores[labelled.pairs]
    mean, deviation = of_pairs.mean(), of_pairs.std()
    if deviation == 0:
        raise ValueError(f"all {len(scores)} messages score {mean}, expected scores that differ: nothing was learned")
    threshold = np.quantile((scores - mean) / deviation, quantile)
    return FrozenReward(
        learner.network, form="ranking", threshold=float(threshold), mean=float(mean), deviation=float(deviation)
    )
