"""What follows the last row of an episode, told wrongly: to models of Hopper's dynamics, and to values on Pendulum."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from environments.offline.d4rl import read_d4rl, write_d4rl
from environments.offline.making import make_dataset
from rewardlab.dynamics.ensemble_fit import EnsembleSettings, fit_ensemble
from rewardlab.transition_table import TransitionTable

READINGS = ("recorded", "next row", "dropped")  # of one file: its next observations; the bug; terminal rows left out
OPTIONS = {
    "recorded": {"next_observations": "recorded"},
    "next row": {"next_observations": "next_row"},
    "dropped": {"next_observations": "following", "last_rows": "drop"},
}
TEST_SHARE = 0.2
DISCOUNT = 0.99
AHEAD = 800  # steps of a Monte Carlo return: the discounted rest is below 0.4 on Pendulum
POLICIES = ("swing-up", "random")
NOISE = 0.5  # of the swing-up controller while recording, standard deviation of the torque
TORQUE, SPEED, STEP, GRAVITY = 2.0, 8.0, 0.05, 10.0  # Pendulum-v1; its rod has mass 1 and length 1


def hopper_sets(rows: int, seed: int) -> tuple[dict[str, TransitionTable], TransitionTable]:
    """Random play on Hopper-v5: the rows to learn from by each reading of one file, and whole episodes to test on."""
    table = make_dataset("Hopper-v5", None, "random", rows=rows, seed=seed).table
    order = np.random.default_rng(seed).permutation(len(table.episode_starts))
    tests = int(len(order) * TEST_SHARE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hopper_random.hdf5"
        write_d4rl(path, table.episodes(np.sort(order[tests:])).with_open_ends_as_timeouts())
        read = {name: read_d4rl(path, **options).table for name, options in OPTIONS.items()}
    return read, table.episodes(np.sort(order[:tests]))


def linear_prediction(learnt: TransitionTable, test: TransitionTable) -> np.ndarray:
    """Predicted changes of the test rows' observations, by least squares on observation, action and a constant."""

    def inputs(table: TransitionTable) -> np.ndarray:
        return np.concatenate([np.ones((len(table), 1)), table.observations, table.actions], axis=1)

    change = (learnt.next_observations - learnt.observations).astype(float)
    weights, *_ = np.linalg.lstsq(inputs(learnt), change, rcond=None)
    return inputs(test) @ weights


def ensemble_prediction(
    learnt: TransitionTable, test: TransitionTable, settings: EnsembleSettings, seed: int
) -> np.ndarray:
    """The same by an ensemble of networks: the mean of its elites' means."""
    import torch

    ensemble, _ = fit_ensemble(learnt, settings, seed=seed)
    with torch.no_grad():
        mean, _ = ensemble(torch.as_tensor(test.observations), torch.as_tensor(test.actions))
    return mean[ensemble.elite_indices].mean(dim=0)[:, :-1].numpy().astype(float)


def fallen(observations: np.ndarray) -> np.ndarray:
    """Whether Hopper's episode ends in these observations `(n, 11)`."""
    healthy = np.isfinite(observations).all(axis=1) & (np.abs(observations[:, 1:]) < 100).all(axis=1)
    return ~(healthy & (observations[:, 0] > 0.7) & (np.abs(observations[:, 1]) < 0.2))


def scores(change: np.ndarray, test: TransitionTable) -> Iterator[tuple[str, float]]:
    """Of predicted changes: root mean squared errors in raw units, and how many falls are foreseen."""
    error = change - (test.next_observations - test.observations)
    ends = test.terminals
    for of, rows in (("all", ends | True), ("terminal", ends), ("other", ~ends)):
        yield f"error, {of} rows", float(np.sqrt(np.mean(error[rows] ** 2)))
    foreseen = fallen(test.observations + change)
    yield "falls foreseen", float(foreseen[ends].mean())
    yield "false alarms", float(foreseen[~ends].mean())


def pendulum_step(angle: np.ndarray, speed: np.ndarray, torque: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step of gymnasium's Pendulum-v1 for many at once: angle, speed and reward; it never ends by itself."""
    torque = np.clip(torque, -TORQUE, TORQUE)
    upright = (angle + np.pi) % (2 * np.pi) - np.pi
    reward = -(upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
    speed = np.clip(speed + (1.5 * GRAVITY * np.sin(angle) + 3 * torque) * STEP, -SPEED, SPEED)
    return angle + speed * STEP, speed, reward


def pendulum_starts(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Angles and speeds as Pendulum-v1 begins."""
    return rng.uniform(-np.pi, np.pi, count), rng.uniform(-1, 1, count)


def torques(policy: str, angle: np.ndarray, speed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a policy does: "random" torques, or "swing-up", which pumps energy and then holds the rod upright."""
    if policy == "random":
        return rng.uniform(-TORQUE, TORQUE, len(angle))
    upright = (angle + np.pi) % (2 * np.pi) - np.pi
    lacking = GRAVITY / 2 * (1 - np.cos(angle)) - speed**2 / 6
    hold = -(12 * upright + 3 * speed)
    return np.clip(np.where(np.abs(upright) < 0.6, hold, np.sign(speed) * lacking * 2), -TORQUE, TORQUE)


def seen(angle: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Pendulum-v1's observations."""
    return np.stack([np.cos(angle), np.sin(angle), speed], axis=1).astype(np.float32)


def pendulum_set(policy: str, rows: int, limit: int, rng: np.random.Generator) -> TransitionTable:
    """Episodes of `limit` steps, each ended by the clock alone."""
    count = rows // limit
    angle, speed = pendulum_starts(count, rng)
    columns: dict[str, list[np.ndarray]] = {"observations": [seen(angle, speed)], "actions": [], "rewards": []}
    for _ in range(limit):
        torque = torques(policy, angle, speed, rng) + (policy != "random") * NOISE * rng.standard_normal(count)
        torque = np.clip(torque, -TORQUE, TORQUE)
        angle, speed, reward = pendulum_step(angle, speed, torque)
        for name, value in zip(columns, (seen(angle, speed), torque[:, None], reward), strict=True):
            columns[name].append(value.astype(np.float32))
    flat = {name: np.stack(parts, axis=1) for name, parts in columns.items()}  # (episodes, steps, ...)
    observations = flat["observations"]
    last = np.tile(np.arange(limit) == limit - 1, count)
    return TransitionTable.from_columns(
        observations=observations[:, :-1].reshape(len(last), -1),
        actions=flat["actions"].reshape(len(last), -1),
        rewards=flat["rewards"].reshape(-1),
        next_observations=observations[:, 1:].reshape(len(last), -1),
        terminals=np.zeros(len(last), dtype=bool),
        timeouts=last,
    )


def monte_carlo(policy: str, starts: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> float:
    """Mean discounted return from these starts, with no limit of time."""
    (angle, speed), total = starts, 0.0
    for step in range(AHEAD):
        angle, speed, reward = pendulum_step(angle, speed, torques(policy, angle, speed, rng))
        total += DISCOUNT**step * float(reward.mean())
    return total


class FittedValues:
    """Where fitted Q evaluation of a policy ends: its fixed point in random Fourier features, solved for at once.

    Args:
        policy: What is evaluated.
        features: How many features.
        rng: Draws the features and the policy's actions.
    """

    def __init__(self, policy: str, features: int, rng: np.random.Generator) -> None:
        self.policy, self.rng = policy, rng
        self.directions = rng.standard_normal((4, features)) / WIDTHS[:, None]
        self.phases = rng.uniform(0, 2 * np.pi, features)

    def at(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Features of observations and torques, and a constant."""
        waves = np.cos(np.concatenate([observations, actions], axis=1) @ self.directions + self.phases)
        return np.concatenate([np.ones((len(waves), 1)), waves], axis=1)

    def acting(self, observations: np.ndarray) -> np.ndarray:
        """Features of what the policy does there."""
        angle = np.arctan2(observations[:, 1], observations[:, 0])
        return self.at(observations, torques(self.policy, angle, observations[:, 2], self.rng)[:, None])

    def weights(self, table: TransitionTable, ends: list[np.ndarray]) -> list[np.ndarray]:
        """Weights of the values, once for each idea of which rows have nothing ahead."""
        here, ahead = self.at(table.observations, table.actions), self.acting(table.next_observations)
        gram = here.T @ here + RIDGE * np.eye(here.shape[1])
        paid = here.T @ table.rewards.astype(float)
        return [np.linalg.solve(gram - DISCOUNT * here.T @ (ahead * ~end[:, None]), paid) for end in ends]


WIDTHS = np.array([0.8, 0.8, 3.0, 3.0])  # cosine, sine, speed, torque
RIDGE = 1e-3


def values_at_start(
    policy: str, rows: int, limit: int, features: int, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Mean value at the start: Monte Carlo, fitted with timeouts bootstrapped, and with timeouts taken for terminals."""
    table = pendulum_set(policy, rows, limit, rng)
    starts = pendulum_starts(2000, rng)
    fitted = FittedValues(policy, features, rng)
    found = fitted.weights(table, [table.terminals, table.terminals | table.timeouts])
    at_start = fitted.acting(seen(*starts)).mean(axis=0)
    yield "Monte Carlo", monte_carlo(policy, starts, rng)
    yield "bootstrapped", float(at_start @ found[0])
    yield "as terminals", float(at_start @ found[1])
    yield "reward", float(table.rewards.mean())
