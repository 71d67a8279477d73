"""How shaping speeds up learning, or stops it: potentials good and bad on a chain, and a car that must swing up."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rewardlab.exact import FiniteMDP, optimal_policy
from rewardlab.shaping.rule import shaping_reward
from rewardlab.shaping.tabular.q_learning import LearningRuns, first_within, q_learning, q_values_from

CELLS, DISCOUNT = 20, 0.95
MAX_STEPS, GOOD_RUN = 100, 25  # time limit of an episode on the chain; a good one takes at most so many steps
EPISODES, LAST = 200, 30


class Arm(NamedTuple):
    """A way of shaping: what it is called, the potential of every cell, and the discount in the shaping."""

    label: str
    potential: np.ndarray
    discount: float = DISCOUNT


def chain() -> tuple[FiniteMDP, np.ndarray]:
    """Left or right along the cells; the last one ends the episode and pays 1."""
    transition = np.zeros((CELLS, 2, CELLS))
    for cell in range(CELLS - 1):
        transition[cell, 0, max(cell - 1, 0)] = transition[cell, 1, cell + 1] = 1.0
    transition[-1, :, -1] = 1.0
    last = np.arange(CELLS) == CELLS - 1
    mdp = FiniteMDP(transition, DISCOUNT, initial=np.eye(CELLS)[0], terminal=last)
    return mdp, np.broadcast_to(last.astype(float), transition.shape).copy()


def arms() -> dict[str, Arm]:
    """What is tried on the chain; all but the last leave the optimal policy as it is."""
    mdp, reward = chain()
    value = optimal_policy(mdp, reward).values
    passed = np.arange(CELLS, dtype=float)
    share = passed / (CELLS - 1)
    return {
        "none": Arm("no shaping", 0 * value),
        "value": Arm("optimal value", value),
        "progress": Arm("progress, 0 to 1", share),
        "distance": Arm("minus distance, -1 to 0", share - 1),
        "cells": Arm("cells passed, 0 to 18", passed),
        "negated": Arm("minus the optimal value", -value),
        "mismatch": Arm("cells, shaping discount 1", passed, 1.0),
    }


def chain_runs(seeds: int, rng: np.random.Generator) -> LearningRuns:
    """Q-learning of every arm: rate .5, a tenth of the actions explored, ties broken at random."""
    tried = arms().values()
    potentials, discounts = np.stack([arm.potential for arm in tried]), np.array([arm.discount for arm in tried])
    options = {"episodes": EPISODES, "max_steps": MAX_STEPS, "seeds": seeds}
    return q_learning(*chain(), potential=potentials, shaping_discount=discounts, rng=rng, **options)


def chain_rows(runs: LearningRuns) -> list[dict]:
    """One row a run: episodes before the first good one (EPISODES if none is), steps in the end, greedy arrival."""
    before = np.minimum(first_within(np.where(runs.terminated, runs.steps, MAX_STEPS), GOOD_RUN) - 1, EPISODES)
    late = runs.steps[..., -LAST:].mean(axis=-1)
    arrives = (runs.action_values.argmax(axis=-1)[..., :-1] == 1).all(axis=-1)
    return [
        {"arm": arm, "seed": seed, "before": before[place, seed], "late": late[place, seed], "arrives": float(found)}
        for place, arm in enumerate(arms())
        for seed, found in enumerate(arrives[place])
    ]


def chain_curves(runs: LearningRuns) -> list[dict]:
    """Median steps of each episode over seeds, with the quartiles."""
    low, middle, high = np.percentile(runs.steps, (25, 50, 75), axis=1)
    return [
        {"arm": arm, "episode": episode + 1, "low": low[place, episode], "value": middle[place, episode],
         "high": high[place, episode]}
        for place, arm in enumerate(arms())
        for episode in range(EPISODES)
    ]  # fmt: skip


def exact_rows() -> list[dict]:
    """For each arm, whether the optimal policy of the shaped reward goes to the goal from everywhere."""
    mdp, reward = chain()
    rows = []
    for name, arm in arms().items():
        shaping = shaping_reward(arm.potential[:, None], arm.potential, discount=arm.discount, bootstraps=~mdp.terminal)
        optimal = optimal_policy(mdp, reward + shaping[:, None, :]).optimal_actions[:-1]
        rows.append({"arm": name, "value": float((optimal == [False, True]).all())})
    return rows


def table_difference(steps: int, rng: np.random.Generator) -> float:
    """Largest difference, over all steps of one walk, between a shaped table and one that began with the potential."""
    mdp, reward = chain()
    potential = arms()["cells"].potential * ~mdp.terminal
    actions, states = rng.integers(2, size=steps), np.zeros(steps, int)
    following, over = np.zeros(steps, int), np.zeros(steps, bool)
    here = 0
    for step, action in enumerate(actions):
        states[step], following[step] = here, mdp.transition[here, action].argmax()
        over[step] = mdp.terminal[following[step]]
        here = 0 if over[step] else following[step]
    data = (states, actions, reward[states, actions, following], following, over)
    first = np.repeat(potential[:, None], 2, axis=1)
    shaped = q_values_from(*data, initial_values=0 * first, discount=DISCOUNT, potential=potential)
    begun = q_values_from(*data, initial_values=first, discount=DISCOUNT)
    return float(abs(shaped + first - begun).max())


# MountainCar-v0: the pull of gravity is .0025 cos(3 x), so its potential energy is .0025 sin(3 x) / 3
GRAVITY, GOAL, CAR_DISCOUNT = 0.0025, 0.5, 0.99
CAR_SCALE = 60.0  # about what the way to the goal costs, discounted


def energy(observation: np.ndarray) -> float:
    """Energy of the car, 0 at rest on the goal and above, -1 at rest in the valley."""
    position, speed = float(observation[0]), float(observation[1])
    top, bottom = GRAVITY * np.sin(3 * GOAL) / 3, -GRAVITY / 3
    return min((GRAVITY * np.sin(3 * position) / 3 + speed**2 / 2 - top) / (top - bottom), 0.0)


def height(observation: np.ndarray) -> float:
    """The car's energy without its speed: how high it is."""
    return energy(np.array([observation[0], 0.0]))


CAR_POTENTIALS: dict[str, Callable | None] = {"none": None, "height": height, "energy": energy}


def car_run(name: str, steps: int, seed: int) -> tuple[list[tuple[int, float]], float]:
    """Stable-Baselines3's DQN on MountainCar-v0: unshaped returns of its episodes, and of 20 greedy ones at the end.

    The former with the step at which each ended.
    """
    import gymnasium
    from stable_baselines3 import DQN
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    from rewardlab.adapters.shaping_gymnasium import PotentialShaping

    inside = Monitor(gymnasium.make("MountainCar-v0"))  # inside the shaping, so that it reports unshaped returns
    potential = CAR_POTENTIALS[name]
    env = inside if potential is None else PotentialShaping(inside, potential, CAR_DISCOUNT, scale=CAR_SCALE)
    model = DQN(
        "MlpPolicy",
        env,
        gamma=CAR_DISCOUNT,
        learning_rate=1e-3,
        batch_size=64,
        buffer_size=steps,
        learning_starts=500,
        train_freq=4,
        target_update_interval=500,
        exploration_fraction=0.3,
        seed=seed,
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
    )
    model.learn(steps)
    returns = inside.get_episode_rewards()
    judge = Monitor(gymnasium.make("MountainCar-v0"))
    judge.reset(seed=seed)
    final, _ = evaluate_policy(model, judge, n_eval_episodes=20)
    return list(zip(np.cumsum(inside.get_episode_lengths()).tolist(), returns, strict=True)), float(final)


def car_rows(steps: int, seeds: int, rng: np.random.Generator) -> list[dict]:
    """Unshaped returns of DQN on the car, one row an episode of training and one ("final") for the greedy ones."""
    rows, chosen = [], [int(seed) for seed in rng.integers(2**31, size=seeds)]
    for name in CAR_POTENTIALS:
        for seed, drawn in enumerate(chosen):
            episodes, final = car_run(name, steps, drawn)
            found = {"arm": name, "seed": seed}
            rows += [found | {"of": "training", "step": step, "value": value} for step, value in episodes]
            rows.append(found | {"of": "final", "step": steps, "value": final})
    return rows
