"""Learners with good and bad advice on a grid, and on one state with two arms: steps and shares, seed by seed."""

import numpy as np
import pandas as pd

from rewardlab.exact import FiniteMDP, gridworld
from rewardlab.shaping.tabular.advised_sarsa import AdvisedLearner, advised_sarsa

SIDE, GOAL_REWARD, DISCOUNT = 10, 10.0, 0.99
SHORTEST = 2 * (SIDE - 1)  # steps from one corner to the other
WINDOW, WINDOWS = 10, 3  # episodes averaged over, and windows in "the first 30 episodes" and "the last 30"
DECAYS = (1, 3, 5, 10, 75)  # episodes until explicit advice is silent
SMALL, SHORTER, MYOPIC = "explicit, a tenth", "explicit, shorter sight", "explicit, myopic"
VARIANTS = {SMALL: {"scale": 0.1}, SHORTER: {"potential_discount": 0.5}, MYOPIC: {"potential_discount": 0.0}}
VARIANTS_DECAY = 10
OTHERS = ("added", "dynamic", "dynamic_corrected")
BANDIT_STEPS, BANDIT_SILENT, BANDIT_WINDOW = 20_000, 5_000, 100
_STEER = {"good": ("right", "down"), "bad": ("left", "up")}  # what is advised, with reward 1, in every cell


def explicit(decay: float) -> str:
    """The name of explicit shaping that is silent after so many episodes."""
    return f"explicit, {decay:g}"


def coded(decay: float) -> str:
    """The same, with the potential learned as the paper's code does it: from the least advised action."""
    return f"explicit as coded, {decay:g}"


def grid_steps(runs: int, episodes: int, max_steps: int, rng: np.random.Generator) -> pd.DataFrame:
    """Mean steps of each ten episodes: advice, learner, seed, first episode of the ten, steps."""
    grid = gridworld(["S" + "." * (SIDE - 1), *["." * SIDE] * (SIDE - 2), "." * (SIDE - 1) + "G"], discount=DISCOUNT)
    reward = np.zeros(grid.mdp.transition.shape)
    reward[..., grid.state(SIDE - 1, SIDE - 1)] = GOAL_REWARD
    learners = {("none", "plain"): AdvisedLearner("plain")}
    for kind, actions in _STEER.items():
        advice = np.tile(np.isin(grid.actions, actions).astype(float), (grid.mdp.states, 1))
        learners |= {(kind, name): learner for name, learner in _learners(advice).items()}
    settings = {"seeds": runs, "episodes": episodes, "max_steps": max_steps, "rng": rng}
    named = {": ".join(key): learner for key, learner in learners.items()}
    found = advised_sarsa(grid.mdp, reward, named, learning_rate=0.05, potential_rate=0.1, exploration=0.1, **settings)
    means = found.steps.reshape(len(learners), runs, -1, WINDOW).mean(axis=-1)
    rows = [
        (advice, name, seed, WINDOW * window, means[place, seed, window])
        for place, (advice, name) in enumerate(learners)
        for seed in range(runs)
        for window in range(means.shape[-1])
    ]
    return pd.DataFrame(rows, columns=["advice", "learner", "seed", "at", "value"])


def _learners(advice: np.ndarray) -> dict[str, AdvisedLearner]:
    learners = {method: AdvisedLearner(method, advice) for method in OTHERS}
    learners |= {explicit(decay): AdvisedLearner("explicit", advice, decay) for decay in DECAYS}
    learners |= {
        coded(decay): AdvisedLearner("explicit", advice, decay, potential_follows="least_advised") for decay in DECAYS
    }
    for name, change in VARIANTS.items():
        scale, forgets = change.get("scale", 1.0), change.get("potential_discount")
        learners[name] = AdvisedLearner("explicit", scale * advice, VARIANTS_DECAY, forgets)
    return learners


def wrong_arm_shares(runs: int, rng: np.random.Generator) -> pd.DataFrame:
    """One state, two arms that pay 1 and 0, advice of 2 for the second: its share of each hundred steps."""
    world = FiniteMDP(np.ones((1, 2, 1)), 0.5)
    advice = np.array([[0.0, 2.0]])
    learners = {"plain": AdvisedLearner("plain"), "added": AdvisedLearner("added", advice)}
    learners |= {name: AdvisedLearner(name, advice) for name in ("dynamic", "dynamic_corrected")}
    learners["explicit"] = AdvisedLearner("explicit", advice, BANDIT_SILENT / BANDIT_WINDOW)
    found = advised_sarsa(
        world,
        np.array([[1.0, 0.0]]),
        learners,
        seeds=runs,
        episodes=BANDIT_STEPS // BANDIT_WINDOW,
        max_steps=BANDIT_WINDOW,
        potential_rate=0.2,
        rng=rng,
    )
    shares = 1 - found.returns / BANDIT_WINDOW
    rows = [
        ("arm", name, seed, BANDIT_WINDOW * window, shares[place, seed, window])
        for place, name in enumerate(found.learners)
        for seed in range(runs)
        for window in range(shares.shape[-1])
    ]
    return pd.DataFrame(rows, columns=["advice", "learner", "seed", "at", "value"])


def by_seed(frame: pd.DataFrame, advice: str, learner: str, when: str) -> np.ndarray:
    """Mean steps of each seed over the first or the last 30 episodes, or the mean share over the last half."""
    runs = frame[(frame.advice == advice) & (frame.learner == learner)]
    times = np.unique(runs["at"])
    chosen = {"first": times[:WINDOWS], "last": times[-WINDOWS:], "last half": times[len(times) // 2 :]}[when]
    return runs[runs["at"].isin(chosen)].groupby("seed").value.mean().sort_index().to_numpy()
