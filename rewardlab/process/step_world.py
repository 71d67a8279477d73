"""A finite world of steps: what a solver can write next, what a process reward model says of it, and where it leads."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from rewardlab.checks import as_generator, check_array, check_distribution, check_scalar

__all__ = ["Episodes", "PolicyOutcome", "StepWorld", "evaluate_policy", "sample_episodes"]


@dataclass(frozen=True, slots=True, eq=False)
class StepWorld:
    """Reasoning as a finite world: from a state each step leads to one next state, and some steps are answers.

    Small enough to be solved exactly, so that what a step reward really asks for can be read off instead of guessed.
    Nothing is random but the hazards.

    Args:
        next_state: State that the step `action` leads to from `state`, (states, actions) whole numbers.
        scores: What a process reward model gives that step, (states, actions) in [0, 1].
        ends: Whether the step is an answer, which ends the episode, (states, actions).
        success: Whether that answer is right; only where `ends`.
        horizon: Most steps of an episode; one that has not answered by then fails.
        hazard: Probability that the episode is cut right after the step, (states, actions); 0 by default. The step's
            score has been paid by then, and there is no success. Ignored where the step is an answer.
        initial: State that every episode starts in.
        state_names: One for each state, for reports; "state 0", ... by default.
        action_names: One for each action; "action 0", ... by default.

    Raises:
        TypeError: If an array is not a NumPy array of the right kind.
        ValueError: If shapes disagree, a state does not exist, a score or hazard is no probability, or a step that does
            not answer succeeds.
    """

    next_state: Int[np.ndarray, "states actions"]
    scores: Float[np.ndarray, "states actions"]
    ends: Bool[np.ndarray, "states actions"]
    success: Bool[np.ndarray, "states actions"]
    horizon: int
    hazard: Float[np.ndarray, "states actions"] | None = None
    initial: int = 0
    state_names: tuple[str, ...] = field(default=())
    action_names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        shape = np.shape(self.next_state)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"next_state has shape {shape}, expected (states, actions) with at least one of each")
        if self.hazard is None:
            object.__setattr__(self, "hazard", np.zeros(shape))
        for name, kind in (("next_state", "iu"), ("scores", "f"), ("ends", "b"), ("success", "b"), ("hazard", "f")):
            value = check_array(name, getattr(self, name))
            if not isinstance(value, np.ndarray) or value.dtype.kind not in kind:
                wanted = {"iu": "whole numbers", "f": "floats", "b": "booleans"}[kind]
                raise TypeError(
                    f"{name} is a {type(value).__name__} of {value.dtype}, expected a NumPy array of {wanted}"
                )
            if value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}, expected that of next_state {shape}")
        for name in ("scores", "hazard"):
            _check_all(name, getattr(self, name), lambda value: (value >= 0) & (value <= 1), "a number in [0, 1]")
        _check_all(
            "next_state", self.next_state, lambda value: (value >= 0) & (value < shape[0]), f"0 to {shape[0] - 1}"
        )
        _check_all("success", self.success, lambda value: ~value | self.ends, "False, as this step does not answer")
        check_scalar("horizon", self.horizon, low=1, whole=True)
        check_scalar("initial", self.initial, low=0, high=shape[0] - 1, whole=True)
        for name, count in (("state", shape[0]), ("action", shape[1])):
            names = getattr(self, f"{name}_names") or tuple(f"{name} {number}" for number in range(count))
            if len(names) != count:
                raise ValueError(f"{name}_names has {len(names)} names, expected {count}")
            object.__setattr__(self, f"{name}_names", tuple(names))

    @property
    def states(self) -> int:
        """Number of states."""
        return self.next_state.shape[0]

    @property
    def actions(self) -> int:
        """Number of actions."""
        return self.next_state.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class PolicyOutcome:
    """What a policy comes to, exactly.

    Args:
        success: Probability of a right answer, (*batch,).
        length: Expected number of steps, the answer among them, (*batch,).
        action_counts: Expected number of times each action is taken, (*batch, actions).
    """

    success: Float[np.ndarray, "*batch"]
    length: Float[np.ndarray, "*batch"]
    action_counts: Float[np.ndarray, "*batch actions"]


@dataclass(frozen=True, slots=True, eq=False)
class Episodes:
    """Sampled episodes, padded to the horizon of their world.

    Args:
        states: State before each step, (*batch, episodes, horizon); that of the last step is repeated after the end.
        actions: Step taken, likewise; 0 after the end.
        mask: Whether there is a step.
        scores: The process reward model's score of the step; 0 after the end.
        correct: Whether the episode ended with a right answer, (*batch, episodes).
    """

    states: Int[np.ndarray, "*batch episodes horizon"]
    actions: Int[np.ndarray, "*batch episodes horizon"]
    mask: Bool[np.ndarray, "*batch episodes horizon"]
    scores: Float[np.ndarray, "*batch episodes horizon"]
    correct: Bool[np.ndarray, "*batch episodes"]


def evaluate_policy(world: StepWorld, policy: Float[np.ndarray, "*batch states actions"]) -> PolicyOutcome:
    """Success, length and use of each step under a policy that sees the state only, by forward recursion.

    Args:
        world: The world.
        policy: Probability of each step in each state; leading axes are independent policies.

    Returns:
        Exact expectations.

    Raises:
        TypeError: If the policy is no NumPy array of numbers.
        ValueError: If the policy has another number of states or actions, or a row is no distribution.
    """
    policy = _checked_policy(world, policy)
    batch = policy.shape[:-2]
    occupied = np.zeros((*batch, world.states))
    occupied[..., world.initial] = 1.0
    going_on = np.zeros((world.states, world.actions, world.states))  # chance to go on, by where it leads
    np.put_along_axis(going_on, world.next_state[..., None], np.where(world.ends, 0.0, 1 - world.hazard)[..., None], -1)
    success, length, counts = np.zeros(batch), np.zeros(batch), np.zeros((*batch, world.actions))
    for _ in range(world.horizon):
        taken = occupied[..., None] * policy
        success += (taken * world.success).sum((-2, -1))
        length += taken.sum((-2, -1))
        counts += taken.sum(-2)
        occupied = np.einsum("...sa,san->...n", taken, going_on)
    return PolicyOutcome(success, length, counts)


def sample_episodes(
    world: StepWorld, policy: Float[np.ndarray, "*batch states actions"], episodes: int, rng: int | np.random.Generator
) -> Episodes:
    """Draw episodes from every policy of a batch at once.

    Args:
        world: The world.
        policy: Probability of each step in each state; leading axes are independent policies.
        episodes: Number of episodes of each.
        rng: Seed or generator.

    Returns:
        Episodes of shape (*batch, episodes, horizon).

    Raises:
        TypeError: If the policy is no NumPy array of numbers, or `rng` neither a seed nor a generator.
        ValueError: If the policy has another number of states or actions, a row is no distribution, or `episodes` is
            below 1.
    """
    policy = _checked_policy(world, policy)
    check_scalar("episodes", episodes, low=1, whole=True)
    rng = as_generator(rng)
    batch, shape = policy.shape[:-2], (*policy.shape[:-2], episodes)
    runs = np.repeat(np.arange(int(np.prod(batch))), episodes)
    reached = policy.reshape(-1, world.states, world.actions).cumsum(-1)
    edges = (reached / reached[..., -1:])[..., :-1]  # exactly 1 from the last possible action on, whatever rounding did
    state, going, correct = np.full(runs.size, world.initial), np.ones(runs.size, bool), np.zeros(runs.size, bool)
    states, actions = np.zeros((2, runs.size, world.horizon), int)
    mask = np.zeros((runs.size, world.horizon), bool)
    for step in range(world.horizon):
        chance, cut = rng.random((2, runs.size))
        action = np.where(going, (chance[:, None] >= edges[runs, state]).sum(-1), 0)
        states[:, step], actions[:, step], mask[:, step] = state, action, going
        ended = world.ends[state, action]
        correct |= going & world.success[state, action]
        lasting = going & ~ended & (cut >= world.hazard[state, action])
        state = np.where(lasting, world.next_state[state, action], state)
        going = lasting
    scores = np.where(mask, world.scores[states, actions], 0.0)
    full = (*shape, world.horizon)
    padded = (part.reshape(full) for part in (states, actions, mask, scores))
    return Episodes(*padded, correct.reshape(shape))


def _checked_policy(world: StepWorld, policy: np.ndarray) -> np.ndarray:
    if not isinstance(check_array("policy", policy), np.ndarray):
        raise TypeError(f"policy is a {type(policy).__name__}, expected a NumPy array, as the world's are")
    if policy.shape[-2:] != world.scores.shape:
        expected = f"(*batch, {world.states}, {world.actions})"
        raise ValueError(f"policy has shape {policy.shape}, expected {expected}: states, actions")
    return check_distribution("policy", policy.astype(np.float64, copy=False), over="steps")


def _check_all(name: str, values: np.ndarray, holds, expected: str) -> None:
    wrong = np.argwhere(~holds(values))
    if len(wrong):
        state, action = (int(place) for place in wrong[0])
        raise ValueError(f"{name}[{state}, {action}] is {values[state, action]}, expected {expected}")
