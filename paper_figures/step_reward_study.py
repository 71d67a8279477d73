"""Policy gradients on a finite world of steps: what a learner makes of a step reward, many runs at once.

Tabular softmax policies, plain gradient ascent on sampled episodes. Each step is weighted by its return less the mean
return at the same step over the batch's episodes that are still alive there. What the policies are worth is exact.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri, softmax

from rewardlab.process.credit import reward_to_go
from rewardlab.process.refine import refine
from rewardlab.process.step_world import Episodes, StepWorld, evaluate_policy, sample_episodes

Credit = Literal["reward_to_go", "full_return", "first_step"]
SOLVED = 0.9  # success from which a run counts as having learned the task
THRESHOLD = 0.7


class Arm(NamedTuple):
    """One way to train.

    Args:
        mode: One of `refine`, or "success_only".
        weight: Of the step rewards beside a success of 1.
        threshold: Of the clip modes.
        credit: `reward_to_go` weights a step by what is paid from it on, `full_return` by all that the episode pays,
            `first_step` by success and the reward-to-go of the first step, at the first step alone: what theory says
            that the full return comes to.
        noise: Standard deviation of what the process reward model adds to the score of a prefix, before it is clipped
            to [0, 1]. A prefix always gets the same; runs with one seed share it.
    """

    mode: str
    weight: float = 0.0
    threshold: float = THRESHOLD
    credit: Credit = "reward_to_go"
    noise: float = 0.0


Advantages = Callable[[Sequence[Arm], int, Episodes, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Learner:
    """How all runs of a study learn.

    Args:
        iterations: Gradient steps.
        episodes: Episodes in the batch of each.
        rate: Learning rate.
        every: Iterations between two exact evaluations.
    """

    iterations: int = 1500
    episodes: int = 16
    rate: float = 0.5
    every: int = 25


def train(
    world: StepWorld,
    arms: Sequence[Arm],
    seeds: int,
    rng: np.random.SeedSequence,
    learner: Learner,
    *,
    start: np.ndarray | float = 0.0,
    advantages: Advantages | None = None,
) -> pd.DataFrame:
    """Train every arm with every seed.

    Args:
        world: Where they learn.
        arms: How.
        seeds: Runs of each arm.
        rng: Of the episodes and of the noise.
        learner: See there.
        start: Logits that the runs of an arm start from, `(arms, states, actions)` or what broadcasts to it.
        advantages: How the steps of all runs are weighted, from arms, seeds, episodes and scores to
            `(runs, episodes, horizon)`; by default returns less their mean at the same step.

    Returns:
        One row an arm and seed: the arm's fields, `seed`, then of the last policy, exactly, `success`, `length`,
        `filler` (expected filler steps), and `solved`, the first evaluated iteration with success above .9 (infinity
        where there is none). `late_success` and `late_filler` are means over the evaluations in the second half.
    """
    order = sorted(range(len(arms)), key=lambda place: _kind(arms[place]))
    shape = (len(arms), world.states, world.actions)
    logits = np.repeat(np.broadcast_to(start, shape)[order], seeds, axis=0).astype(float)
    arms = [arms[place] for place in order]
    drawing, salt = rng.spawn(2)
    generator = np.random.default_rng(drawing)
    noise = np.repeat([arm.noise for arm in arms], seeds)
    salts = np.tile(salt.generate_state(seeds, np.uint64), len(arms))
    filler = world.action_names.index("fill")
    records = []
    for iteration in range(1, learner.iterations + 1):
        policy = softmax(logits, axis=-1)
        episodes = sample_episodes(world, policy, learner.episodes, generator)
        scores = noisy_scores(episodes, noise, salts) if noise.any() else episodes.scores
        weights = (advantages or centred_returns)(arms, seeds, episodes, scores)
        logits = logits + learner.rate * policy_gradient(policy, episodes, weights)
        if iteration % learner.every == 0 or iteration == learner.iterations:
            found = evaluate_policy(world, softmax(logits, axis=-1))
            records.append((iteration, found.success, found.length, found.action_counts[:, filler]))
    rows = pd.DataFrame([arm._asdict() for arm in arms]).loc[np.repeat(np.arange(len(arms)), seeds)]
    rows = rows.assign(seed=np.tile(np.arange(seeds), len(arms)), **_summary(records))
    as_given = np.argsort(np.repeat(order, seeds), kind="stable")
    return rows.iloc[as_given].reset_index(drop=True)


def _summary(records: list[tuple]) -> dict[str, np.ndarray]:
    when, success, length, filler = (np.stack(part) for part in zip(*records))
    above = success > SOLVED
    late = when > when[-1] / 2
    return {
        "success": success[-1],
        "length": length[-1],
        "filler": filler[-1],
        "solved": np.where(above.any(0), when[above.argmax(0)].astype(float), np.inf),
        "late_success": success[late].mean(0),
        "late_filler": filler[late].mean(0),
    }


def centred_returns(arms: Sequence[Arm], seeds: int, episodes: Episodes, scores: np.ndarray) -> np.ndarray:
    """Returns of each step less their mean over the batch at the same step, `(runs, episodes, horizon)`."""
    return same_step_advantages(returns(arms, seeds, episodes, scores), episodes.mask)


def returns(arms: Sequence[Arm], seeds: int, episodes: Episodes, scores: np.ndarray) -> np.ndarray:
    """What weights each step, `(runs, episodes, horizon)`; runs are arms x seeds, in this order."""
    outcome = episodes.correct[..., None].astype(float)
    found = np.broadcast_to(outcome, episodes.mask.shape).copy()
    for first, last, arm in alike(arms):
        if arm.mode == "success_only":
            continue
        runs = slice(first * seeds, last * seeds)
        mask = episodes.mask[runs]
        to_go = reward_to_go(refine(scores[runs], mask, arm.mode, threshold=arm.threshold), mask)
        if arm.credit == "full_return":
            to_go = np.broadcast_to(to_go[..., :1], to_go.shape)
        elif arm.credit == "first_step":
            to_go = to_go * (np.arange(mask.shape[-1]) == 0)
        weight = np.repeat([each.weight for each in arms[first:last]], seeds)
        found[runs] += weight[:, None, None] * to_go
    return found


def alike(arms: Sequence[Arm]) -> Iterator[tuple[int, int, Arm]]:
    """Runs of neighbours whose scores are refined alike: first, one past the last, and the first arm."""
    first = 0
    for place in range(1, len(arms) + 1):
        if place == len(arms) or _kind(arms[place]) != _kind(arms[first]):
            yield first, place, arms[first]
            first = place


def _kind(arm: Arm) -> tuple[str, float, Credit]:
    return arm.mode, arm.threshold, arm.credit


def same_step_advantages(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Values less their mean over the batch's episodes that are alive at the step; 0 after the end."""
    alive = np.maximum(mask.sum(-2, keepdims=True), 1)
    mean = (values * mask).sum(-2, keepdims=True) / alive
    return (values - mean) * mask


def policy_gradient(policy: np.ndarray, episodes: Episodes, advantages: np.ndarray) -> np.ndarray:
    """Gradient by the logits of the batch mean of sum over steps of advantage x log-probability."""
    runs, states, actions = policy.shape
    run = np.arange(runs)[:, None, None]
    place = (run * states + episodes.states) * actions + episodes.actions
    pushed = np.bincount(place.ravel(), advantages.ravel(), policy.size).reshape(policy.shape)
    return (pushed - policy * pushed.sum(-1, keepdims=True)) / advantages.shape[1]


def noisy_scores(episodes: Episodes, noise: np.ndarray, salts: np.ndarray) -> np.ndarray:
    """Scores with a run's normal noise, which depends on the prefix and the run's salt alone, clipped to [0, 1]."""
    code = np.broadcast_to(salts[:, None], episodes.mask.shape[:2])
    found = np.empty(episodes.scores.shape)
    for step in range(found.shape[-1]):
        code = _mixed(code + episodes.actions[..., step].astype(np.uint64) + np.uint64(1))
        found[..., step] = ndtri(((code >> np.uint64(11)).astype(float) + 0.5) / 2.0**53)
    return np.where(episodes.mask, np.clip(episodes.scores + noise[:, None, None] * found, 0.0, 1.0), 0.0)


def _mixed(code: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: codes that differ in a bit come out unrelated."""
    code = code + np.uint64(0x9E3779B97F4A7C15)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


def runs_of(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def median_interval(solved: np.ndarray, other: np.ndarray | None = None, *, draws: int = 2000) -> np.ndarray:
    """Median with its 95% bootstrap interval over runs, or the ratio of the medians of two samples; `(3,)`.

    Runs that never got there are infinite; so is a median with half of the runs among them.
    """
    rng = np.random.default_rng(0)

    def medians(values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, float)
        return np.append(np.median(values), np.median(rng.choice(values, (draws, len(values))), axis=-1))

    found = medians(solved) if other is None else medians(solved) / medians(other)
    return np.array([found[0], *np.quantile(found[1:], [0.025, 0.975], method="inverted_cdf")])
