"""What follows the last row of an episode, told wrongly: to models of Hopper's dynamics, and to values on Pendulum."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from environments.offline.formats.d4rl import read_d4rl, write_d4rl
from environments.offline.made.making import make_dataset
from environments.offline.terminations import hopper
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
ANGLES, SPEEDS = 60, 41  # nodes of the grid of values
TORQUE, SPEED, STEP, GRAVITY = 2.0, 8.0, 0.05, 10.0  # Pendulum-v1; its rod has mass 1 and length 1


def hopper_cells(rows: int, settings: EnsembleSettings, seed: int) -> Iterator[dict[str, object]]:
    """Both models by each reading, scored on the same test rows; and how far the false rows seem to jump."""
    read, test = hopper_sets(rows, seed)
    for reading, learnt in read.items():
        predicted = {
            "linear": linear_prediction(learnt, test),
            "ensemble": ensemble_prediction(learnt, test, settings, seed),
        }
        for model, change in predicted.items():
            for of, value in scores(change, test):
                yield {"part": "hopper", "seed": seed, "model": model, "reading": reading, "of": of, "value": value}
    false, true = read["next row"], read["recorded"]
    jumps = {
        "next row": np.abs(false.next_observations - false.observations)[false.terminals].mean(),
        "recorded": np.abs(true.next_observations - true.observations).mean(),
    }
    for reading, value in jumps.items():
        yield {"part": "hopper", "seed": seed, "reading": reading, "of": "size of change", "value": float(value)}


def pendulum_cells(rows: int, limits: Sequence[int], seed: int) -> Iterator[dict[str, object]]:
    """Values of both policies at the start by time limit."""
    streams = np.random.default_rng(seed).spawn(len(POLICIES) * len(limits))
    for (policy, limit), rng in zip(product(POLICIES, limits), streams):
        for of, value in values_at_start(policy, rows, limit, rng):
            yield {"part": "pendulum", "seed": seed, "policy": policy, "limit": limit, "of": of, "value": value}


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


def scores(change: np.ndarray, test: TransitionTable) -> Iterator[tuple[str, float]]:
    """Of predicted changes: root mean squared errors in raw units, and how many falls are foreseen."""
    error = change - (test.next_observations - test.observations)
    ends = test.terminals
    for of, rows in (("all", ends | True), ("terminal", ends), ("other", ~ends)):
        yield f"error, {of} rows", float(np.sqrt(np.mean(error[rows] ** 2)))
    foreseen = hopper(test.observations, test.actions, test.observations + change)
    yield "falls foreseen", float(foreseen[ends].mean())
    yield "false alarms", float(foreseen[~ends].mean())


def pendulum_step(
    angle: np.ndarray, speed: np.ndarray, torque: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        torque = torques(policy, angle, speed, rng)
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


def tents(observations: np.ndarray) -> sparse.csr_array:
    """Weights of the nodes of a grid over angle and speed, such that values are interpolated linearly in both."""
    angle = np.arctan2(observations[:, 1], observations[:, 0]) / (2 * np.pi) % 1 * ANGLES
    speed = (observations[:, 2] / SPEED + 1) / 2 * (SPEEDS - 1)
    left, below = np.floor(angle).astype(int), np.minimum(np.floor(speed).astype(int), SPEEDS - 2)
    columns, weights = [], []
    for right, above in ((0, 0), (0, 1), (1, 0), (1, 1)):
        columns.append((left + right) % ANGLES * SPEEDS + below + above)
        weights.append(np.abs(1 - right - (angle - left)) * np.abs(1 - above - (speed - below)))
    rows = np.tile(np.arange(len(angle)), 4)
    place = (np.concatenate(weights), (rows, np.concatenate(columns)))
    return sparse.csr_array(place, shape=(len(angle), ANGLES * SPEEDS))


def fitted_value_at_start(table: TransitionTable, ends: np.ndarray) -> float:
    """Mean value at first rows where fitted evaluation of the recorded policy ends; `ends`: rows with nothing ahead.

    The policy's actions are those recorded, so that values of states will do. Each node of the grid takes the mean of
    its rows' targets, weighted as they are interpolated: such a fit cannot diverge, and its end is solved for at once.
    """
    here, ahead = tents(table.observations), tents(table.next_observations)
    weight = here.sum(axis=0)
    seen_nodes = sparse.diags_array(np.where(weight > 0, weight, 1.0))
    system = seen_nodes - DISCOUNT * here.T @ (sparse.diags_array(~ends * 1.0) @ ahead)
    values = spsolve(system.tocsc(), here.T @ table.rewards.astype(float))
    return float((tents(table.observations[table.steps == 0]) @ values).mean())


def values_at_start(policy: str, rows: int, limit: int, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """Mean value where the recorded episodes began: Monte Carlo, and fitted with timeouts bootstrapped and terminal."""
    table = pendulum_set(policy, rows, limit, rng)
    first = table.observations[table.steps == 0].astype(float)
    yield "Monte Carlo", monte_carlo(policy, (np.arctan2(first[:, 1], first[:, 0]), first[:, 2]), rng)
    yield "bootstrapped", fitted_value_at_start(table, table.terminals)
    yield "as terminals", fitted_value_at_start(table, table.terminals | table.timeouts)
    yield "reward", float(table.rewards.mean())


def discounted_again(reward: float, limit: int) -> float:
    """Value for ever of a reward a step if one row in `limit`, any of them, has nothing ahead."""
    return reward / (1 - DISCOUNT * (1 - 1 / limit))
