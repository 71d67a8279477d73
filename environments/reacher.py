"""Gymnasium's `Reacher-v5` as a source of honest transitions, and the rewards of the published Reacher study.

A two-link arm moves in a plane; its fingertip should reach a target. Three things make comparisons sound here:

- States are full simulator states (joint positions and velocities), so every one of them can be set exactly.
- The next-state map really simulates: set the state, apply the action for `frame_skip` frames, read the state.
- Rewards are functions of the sampled transition alone, never of whatever the live simulator happens to hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium
import numpy as np
from jaxtyping import Bool, Float

LINK_LENGTHS = (0.1, 0.11)  # metres: shoulder to elbow, elbow to fingertip
TARGET_RADIUS = 0.2  # metres: the environment draws targets inside this disc
ELBOW_LIMIT = 3.0  # radians
BOX_SPEED = 10.5  # radians a second: the velocity box of the published study
ACTIONS = 2  # torques at shoulder and elbow, each in [-1, 1]
OBSERVATIONS = 10  # cos (2), sin (2), target x y, joint velocities (2), fingertip - target x y

RewardFunction = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(observations (n, 10), actions (n, 2), next_observations (n, 10), terminated (n,)) -> rewards (n,)."""


class ReacherStates(NamedTuple):
    """Simulator states: everything that decides what happens next, apart from the action."""

    qpos: Float[np.ndarray, "n 4"]  # shoulder and elbow angle (radians), target x and y (metres)
    qvel: Float[np.ndarray, "n 4"]  # their rates a second; the target's are 0


@dataclass(frozen=True)
class Transitions:
    """Observed transitions, one a row. `terminated` is a true end, never a time limit."""

    observations: Float[np.ndarray, "n 10"]
    actions: Float[np.ndarray, "n 2"]
    next_observations: Float[np.ndarray, "n 10"]
    terminated: Bool[np.ndarray, " n"]

    def rewards(self, functions: dict[str, RewardFunction]) -> Float[np.ndarray, "k n"]:
        """Every reward on these same transitions, one a row, in the order of `functions`."""
        sample = (self.observations, self.actions, self.next_observations, self.terminated)
        return np.stack([function(*sample) for function in functions.values()])


def observe(states: ReacherStates) -> Float[np.ndarray, "n 10"]:
    """What the environment shows of these states, by forward kinematics.

    Equal to the environment's own observation after `reset` and `set_state`. After `step` the environment's last two
    entries lag: MuJoCo updates body positions before its last integration stage, so they miss the new joint angles by
    3e-5 m on average (5e-3 m at the elbow's limit). Here they always belong to the state.

    Args:
        states: n simulator states.

    Returns:
        cos and sin of the joint angles, target, joint velocities, fingertip minus target: shape (n, 10).

    Source: gymnasium 1.4, `ReacherEnv._get_obs` and its `reacher.xml`.
    """
    angles, target = states.qpos[:, :2], states.qpos[:, 2:]
    directions = np.cumsum(angles, axis=1)  # of the two links, in the world's frame
    fingertip = np.stack([np.cos(directions) @ LINK_LENGTHS, np.sin(directions) @ LINK_LENGTHS], axis=1)
    return np.concatenate([np.cos(angles), np.sin(angles), target, states.qvel[:, :2], fingertip - target], axis=1)


def reset_states(number: int, rng: np.random.Generator) -> ReacherStates:
    """States as `Reacher-v5` resets: the arm almost straight and still, the target uniform in its disc."""
    arm = rng.uniform(-0.1, 0.1, (number, 2))
    speed = rng.uniform(-0.005, 0.005, (number, 2))
    return _states(arm, speed, rng)


def box_states(number: int, rng: np.random.Generator) -> ReacherStates:
    """States spread evenly: any joint angles, velocities within 10.5 rad/s, the target uniform in its disc.

    Source: the box of arXiv 2309.15257's Reacher study, drawn here over simulator states. The published study draws
    each observation entry by itself, which gives cosines and sines of no angle and fingertips of no arm.
    """
    arm = rng.uniform((-np.pi, -ELBOW_LIMIT), (np.pi, ELBOW_LIMIT), (number, 2))
    speed = rng.uniform(-BOX_SPEED, BOX_SPEED, (number, 2))
    return _states(arm, speed, rng)


def random_actions(number: int, rng: np.random.Generator) -> Float[np.ndarray, "n 2"]:
    """Actions of the uniform policy, the one whose values canonicalise the rewards."""
    return rng.uniform(-1.0, 1.0, (number, ACTIONS))


class Reacher:
    """The simulator of `Reacher-v5` as a deterministic map of states and actions.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> with Reacher() as reacher:
        ...     sample = reacher.transitions(box_states(3, rng), rng)
        >>> sample.next_observations.shape
        (3, 10)
    """

    def __init__(self) -> None:
        self.env = gymnasium.make("Reacher-v5")
        self._simulator = self.env.unwrapped

    def __enter__(self) -> "Reacher":
        return self

    def __exit__(self, *error: object) -> None:
        self.env.close()

    def next_states(self, states: ReacherStates, actions: Float[np.ndarray, "n 2"]) -> ReacherStates:
        """Where each action leads from each state after one environment step (2 frames of 0.01 s).

        Raises:
            ValueError: If states and actions differ in number, or an action leaves [-1, 1].
        """
        number = len(states.qpos)
        if states.qpos.shape != (number, 4) or states.qvel.shape != (number, 4) or actions.shape != (number, ACTIONS):
            raise ValueError(
                f"expected qpos (n, 4), qvel (n, 4) and actions (n, {ACTIONS}), "
                f"got {states.qpos.shape}, {states.qvel.shape} and {actions.shape}"
            )
        if not (np.abs(actions) <= 1).all():
            raise ValueError(f"expected actions in [-1, 1], got {actions.min():g} to {actions.max():g}")
        simulator = self._simulator
        qpos, qvel = np.empty((number, 4)), np.empty((number, 4))
        for i in range(number):
            simulator.data.qacc_warmstart[:] = 0.0  # the solver's memory of the previous call would leak into this one
            simulator.set_state(states.qpos[i], states.qvel[i])
            simulator.do_simulation(actions[i], simulator.frame_skip)
            qpos[i], qvel[i] = simulator.data.qpos, simulator.data.qvel
        return ReacherStates(qpos, qvel)

    def transitions(self, states: ReacherStates, rng: np.random.Generator) -> Transitions:
        """One transition from each state under uniform random actions."""
        actions = random_actions(len(states.qpos), rng)
        after = self.next_states(states, actions)
        return Transitions(observe(states), actions, observe(after), np.zeros(len(actions), dtype=bool))

    def rollouts(self, states: ReacherStates, steps: int, rng: np.random.Generator) -> Transitions:
        """Random-policy rollouts of `steps` transitions from each state; row t * n + i is step t of rollout i.

        `Reacher-v5` has no true end (50 steps is a time limit), so `terminated` is False throughout.
        """
        parts = []
        for _ in range(steps):
            actions = random_actions(len(states.qpos), rng)
            after = self.next_states(states, actions)
            parts.append((observe(states), actions, observe(after)))
            states = after
        observations, actions, next_observations = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Transitions(observations, actions, next_observations, np.zeros(len(actions), dtype=bool))


def ground_truth(observations, actions, next_observations, terminated):
    """The reward `Reacher-v5` ships: minus the distance to the target after the step, minus the squared torques.

    Both weights are 1, the environment's defaults (its documentation says 0.1 for control; the code says 1). Before v5
    the distance was taken before the step; the published study used such a version.
    """
    return -np.linalg.norm(next_observations[:, 8:10], axis=1) - np.square(actions).sum(axis=1)


def potential_shaped(weights: Float[np.ndarray, " 10"], bias: float, discount: float) -> RewardFunction:
    """Ground truth plus shaping by a linear potential of the observation; the potential of an end is 0."""
    return shaped_by(lambda observations: observations @ weights + bias, discount)


def shaped_by(potential: Callable[[np.ndarray], np.ndarray], discount: float) -> RewardFunction:
    """Ground truth plus `discount * potential(next) - potential(current)`, the same task in other numbers."""

    def reward(observations, actions, next_observations, terminated):
        after = np.where(terminated, 0.0, potential(next_observations))
        base = ground_truth(observations, actions, next_observations, terminated)
        return base + discount * after - potential(observations)

    return reward


def second_peak(offset: Float[np.ndarray, " 2"], weight: float = 0.2) -> RewardFunction:
    """Ground truth plus a smaller pull towards a second point, `offset` (metres) away from the target."""

    def reward(observations, actions, next_observations, terminated):
        base = ground_truth(observations, actions, next_observations, terminated)
        return base - weight * np.linalg.norm(next_observations[:, 8:10] - offset, axis=1)

    return reward


def random_linear(before: np.ndarray, action: np.ndarray, after: np.ndarray, bias: float) -> RewardFunction:
    """A reward linear in observation, action and next observation, with nothing to do with the task."""

    def reward(observations, actions, next_observations, terminated):
        return observations @ before + actions @ action + next_observations @ after + bias

    return reward


def negative(observations, actions, next_observations, terminated):
    """Minus the ground truth."""
    return -ground_truth(observations, actions, next_observations, terminated)


def scaled_and_shifted(observations, actions, next_observations, terminated):
    """3 times the ground truth plus 1: the same task in other units (nothing ends, so a constant changes nothing)."""
    return 3.0 * ground_truth(observations, actions, next_observations, terminated) + 1.0


def published_rewards(discount: float, rng: np.random.Generator) -> dict[str, RewardFunction]:
    """The ground truth and the four rewards the published Reacher table compares with it, freshly drawn.

    The second peak is drawn as published (uniform in a 1 m square, at least 0.5 m from the target), once, relative to
    the target; the published code draws another whenever its simulator's target moves, which is no function of the
    transition.

    Source: arXiv 2309.15257, continuous experiment: weights N(0, 1), biases U(0, 1), second peak weight 0.2. The
    published observation has an eleventh entry, always 0, so ten weights are the same reward.
    """
    nominal_target = np.array([0.1, -0.1])
    peak = rng.uniform(-0.5, 0.5, 2)
    while np.linalg.norm(peak - nominal_target) < 0.5:
        peak = rng.uniform(-0.5, 0.5, 2)
    weights = rng.normal(size=(3, OBSERVATIONS))
    return {
        "ground truth": ground_truth,
        "potential shaped": potential_shaped(weights[0], rng.uniform(), discount),
        "second peak": second_peak(peak - nominal_target),
        "random": random_linear(weights[1], rng.normal(size=ACTIONS), weights[2], rng.uniform()),
        "negative": negative,
    }


def _states(arm: np.ndarray, speed: np.ndarray, rng: np.random.Generator) -> ReacherStates:
    angle = rng.uniform(0, 2 * np.pi, len(arm))
    radius = TARGET_RADIUS * np.sqrt(rng.uniform(size=len(arm)))  # square root: even over the disc's area
    target = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return ReacherStates(np.concatenate([arm, target], axis=1), np.concatenate([speed, np.zeros_like(speed)], axis=1))
