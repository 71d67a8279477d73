"""Learners of twenty questions: a table of logits each, trained by policy gradient on turn advantages, many at once."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from environments.reasoning.search import SearchEpisodes, SearchOutcome, SearchWorld
from rewardlab.process.information_gain import GainKind, information_gain
from rewardlab.process.turn_advantages import Normalisation, turn_advantages
from rewardlab.transforms.groups import Groups

GROUP, EVERY = 8, 5  # rollouts of one question, an iteration; iterations from one exact evaluation to the next
RATE, LONG = 0.6, 8  # learning rate; turns of the world where the agent may answer early


@dataclass(frozen=True)
class Method:
    """How a learner gets its advantages.

    Args:
        label: For legends.
        gain: Which information gain, or None to learn from the outcome alone.
        normalisation: Of the turn advantages.
        divided: Whether to divide by the group's standard deviation at each turn, which `position` does not.
    """

    label: str
    gain: GainKind | None
    normalisation: Normalisation
    divided: bool = False


METHODS = {
    "outcome": Method("outcome only (GRPO)", None, "separate"),
    "joint": Method("probability, joint", "probability", "joint"),
    "separate": Method("probability, separate", "probability", "separate"),
    "log joint": Method("log, joint", "log_probability", "joint"),
    "log separate": Method("log, separate", "log_probability", "separate"),
    "log position": Method("log, per-turn mean", "log_probability", "position"),
    "log position divided": Method("log, per-turn mean and deviation", "log_probability", "position", divided=True),
}


@dataclass(frozen=True, eq=False)
class Training:
    """What came of it, one row a method, in the order of METHODS.

    Args:
        success: Exact success before the first iteration and after every fifth, (methods, seeds, evaluations).
        silent: Whether all advantages of the iteration's group were 0, (methods, seeds, iterations).
        outcome: Exact outcome of the final policies, (methods, seeds).
    """

    success: np.ndarray
    silent: np.ndarray
    outcome: SearchOutcome

    def solved(self, level: float = 0.8) -> np.ndarray:
        """Iterations until exact success is `level`, (methods, seeds); all of them where it never is."""
        reached = self.success >= level
        return np.where(reached.any(-1), reached.argmax(-1) * EVERY, self.silent.shape[-1])


def train(world: SearchWorld, seeds: int, iterations: int, rate: float, rng: np.random.Generator) -> Training:
    """Train every method with every seed: each iteration one question, 8 rollouts, one step up the policy gradient."""
    logits = np.zeros((len(METHODS), seeds, world.states, world.actions))
    first = np.arange(logits[..., 0, 0].size).reshape(*logits.shape[:2], 1, 1) * world.states
    curve, silent = [], np.zeros((*logits.shape[:2], iterations), bool)
    for iteration in range(iterations):
        policy = softmax(logits, axis=-1)
        if iteration % EVERY == 0:
            curve.append(world.evaluate(policy).success)
        episodes = world.sample(policy, GROUP, rng)
        advantages = group_advantages(episodes)
        silent[..., iteration] = (advantages == 0).all((-2, -1))
        taken = (first + episodes.states[..., :-1]) * world.actions + episodes.actions
        mine = advantages[..., :-1]  # after the end they are 0; a forced answer, behind the last turn, is no choice
        pushed = np.bincount(taken.ravel(), mine.ravel(), minlength=logits.size).reshape(logits.shape)
        logits = logits + rate / GROUP * (pushed - policy * pushed.sum(-1, keepdims=True))
    outcome = world.evaluate(softmax(logits, axis=-1))
    return Training(np.stack([*curve, outcome.success], axis=-1), silent, outcome)


def group_advantages(episodes: SearchEpisodes) -> np.ndarray:
    """Advantages (methods, seeds, rollouts, turns + 1), each method by its own rule, each seed one group."""
    shape = episodes.likelihoods.shape
    samples, turns = shape[1] * shape[2], shape[3] - 1
    ids = np.repeat(np.arange(shape[1]), shape[2])
    groups = Groups.from_ids(ids, like=ids)
    result = np.zeros(shape)
    for place, method in enumerate(METHODS.values()):
        asked = episodes.asked[place].reshape(samples, turns)
        gains = np.zeros((samples, turns))
        if method.gain is not None:
            likelihoods = episodes.likelihoods[place].reshape(samples, turns + 1)
            gains = information_gain(likelihoods, asked, kind=method.gain)
        outcomes = episodes.correct[place].reshape(-1)
        found = turn_advantages(gains, outcomes, asked, groups, normalisation=method.normalisation)
        advantages = found.advantages
        if method.divided:
            _, spread = groups.deviation(advantages.T, found.mask.T, correction=0)
            advantages = advantages / (groups.spread(spread).T + 1e-6)
        result[place] = advantages.reshape(shape[1:])
    return result
