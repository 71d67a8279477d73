"""Random worlds and random rewards as the published study of reward distances draws them."""

import numpy as np
from jaxtyping import Bool, Float

from rewardlab.checks import as_generator, check_choice, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.transformations import potential_shaping

__all__ = ["interpolate_rewards", "random_reward", "random_transition"]

_LOGIT_OF_DROPPED_ENTRIES = -20.0  # leaves about 1e-10 of probability where an entry was dropped
_CLEAN_BELOW = 1e-7


def random_transition(
    states: int = 32,
    actions: int = 4,
    *,
    batch: int | None = None,
    episodic: bool = False,
    clean: bool = False,
    rng: int | np.random.Generator = 0,
) -> tuple[Float[np.ndarray, "*batch s a s"], Bool[np.ndarray, "*batch s"]]:
    """Sparse random transitions: standard normal logits, kept only where they exceed a threshold, then a softmax.

    The threshold is 1 for fewer than 50 states, 1.5 for fewer than 100 and 1.8 from there on. Dropped entries
    keep about 1e-10 of probability; a row in which nothing is kept becomes uniform.

    Args:
        states: Number of states S.
        actions: Number of actions A.
        batch: Number of worlds, or None for one without a batch dimension.
        episodic: Make one state of each world, drawn uniformly, terminal.
        clean: Set residual probabilities below 1e-7 to exactly 0 and renormalise.
        rng: Seed or generator; each world has a stream spawned from it, so worlds do not depend on their number.

    Returns:
        Transition probabilities `(*batch, S, A, S)` and the terminal states `(*batch, S)`.

    Source: lucyfarnik/starc, random environment. Worlds there share a stream between forked workers, which
        repeats them; streams here are spawned.
    """
    check_scalar("states", states, low=1, whole=True)
    check_scalar("actions", actions, low=1, whole=True)
    streams = _streams(batch, rng)
    worlds = [_one_transition(states, actions, episodic, clean, stream) for stream in streams]
    transition, terminal = (np.stack(parts) for parts in zip(*worlds, strict=True))
    return (transition[0], terminal[0]) if batch is None else (transition, terminal)


def random_reward(
    mdp: FiniteMDP,
    *,
    batch: int | None = None,
    sparse: bool | None = None,
    shaped: bool | None = None,
    support: str = "transitions",
    rng: int | np.random.Generator = 0,
) -> Float[np.ndarray, "*batch s a s"]:
    """Random rewards: normal noise, sometimes sparse, scaled, shifted and potential-shaped.

    With probability 0.2 only entries above a threshold survive (3 for fewer than 50 states, 3.5 for fewer than 100,
    3.8 from there on); with probability 0.7 the reward is multiplied by U(0, 10); with probability 0.3 U(0, 10) is
    added; with probability 0.5 it is shaped by a normal potential times U(0, 10) plus U(0, 1).

    Args:
        mdp: World without a batch dimension (index a batch of worlds first), in NumPy.
        batch: Number of rewards, or None for one without a batch dimension.
        sparse: Force or forbid sparseness; None leaves it to chance.
        shaped: Force or forbid potential shaping; None leaves it to chance.
        support: What the reward depends on. "transitions": independent for each (s, a, s'). "next_state": on s'
            alone (the threshold is then lower by 2). "terminal": 1 plus normal noise on entering the terminal state,
            0 elsewhere, and nothing else is done to it.
        rng: Seed or generator; each reward has a stream spawned from it.

    Returns:
        Rewards `(*batch, S, A, S)`.

    Raises:
        TypeError: If `mdp` does not hold NumPy arrays.
        ValueError: If `mdp` has a batch dimension, or `support` is "terminal" and it has no terminal state.

    Source: lucyfarnik/starc, random reward with its options.
    """
    check_choice("support", support, ("transitions", "next_state", "terminal"))
    if mdp.batch_shape:
        raise ValueError(f"mdp has batch shape {mdp.batch_shape}, expected one world; index the batch first")
    if support == "terminal" and not mdp.terminal.any():
        raise ValueError("support is 'terminal' but the mdp has no terminal state")
    if not isinstance(mdp.transition, np.ndarray):
        kind = type(mdp.transition).__name__
        raise TypeError(f"mdp holds {kind}s, expected NumPy arrays; convert the reward afterwards")
    streams = _streams(batch, rng)
    rewards = np.stack([_one_reward(mdp, sparse, shaped, support, stream) for stream in streams])
    return rewards[0] if batch is None else rewards


def interpolate_rewards(
    start: Float[np.ndarray, "*batch s a s"], end: Float[np.ndarray, "*batch s a s"], steps: int = 16
) -> Float[np.ndarray, "*batch steps s a s"]:
    """Rewards on the straight line from `start` (left out) to `end` (included), in `steps` equal steps."""
    check_scalar("steps", steps, low=1, whole=True)
    for name, value in (("start", start), ("end", end)):
        if not isinstance(value, np.ndarray) or value.ndim < 3:
            raise TypeError(f"{name}: expected a NumPy array (*batch, S, A, S), got {type(value).__name__}")
        check_finite(name, value)
    if start.shape[-3:] != end.shape[-3:]:
        raise ValueError(f"end has shape {end.shape}, expected that of start {start.shape}")
    weight = (np.arange(1, steps + 1) / steps)[:, None, None, None]
    return start[..., None, :, :, :] + weight * (end - start)[..., None, :, :, :]


def _streams(batch: int | None, rng: int | np.random.Generator) -> list[np.random.Generator]:
    """One independent generator for each world or reward."""
    count = 1 if batch is None else check_scalar("batch", batch, low=1, whole=True)
    return as_generator(rng).spawn(count)


def _size_class(states: int, small: float, medium: float, large: float) -> float:
    return small if states < 50 else medium if states < 100 else large


def _one_transition(states, actions, episodic, clean, rng):
    logits = rng.standard_normal((states, actions, states))
    weights = np.exp(np.where(logits > _size_class(states, 1.0, 1.5, 1.8), logits, _LOGIT_OF_DROPPED_ENTRIES))
    transition = weights / weights.sum(axis=-1, keepdims=True)
    if clean:
        transition = np.where(transition < _CLEAN_BELOW, 0.0, transition)
        transition /= transition.sum(axis=-1, keepdims=True)
    terminal = np.zeros(states, dtype=bool)
    if episodic:
        end = rng.integers(states)
        terminal[end] = True
        transition[end] = np.eye(states)[end]
    return transition, terminal


def _one_reward(mdp, sparse, shaped, support, rng):
    states, actions = mdp.states, mdp.actions
    if support == "terminal":
        entering = mdp.terminal[None, None, :] & ~mdp.terminal[:, None, None]
        return np.where(entering, 1 + rng.standard_normal((states, actions, 1)), 0.0)
    threshold = _size_class(states, 3.0, 3.5, 3.8)
    if support == "next_state":
        threshold -= 2
        reward = np.broadcast_to(rng.standard_normal(states), (states, actions, states))
    else:
        reward = rng.standard_normal((states, actions, states))
    if sparse or (sparse is None and rng.random() > 0.8):
        reward = np.where(reward > threshold, reward, 0.0)
    if rng.random() > 0.3:
        reward = reward * (10 * rng.random())
    if rng.random() > 0.7:
        reward = reward + 10 * rng.random()
    if shaped or (shaped is None and rng.random() > 0.5):
        potential = rng.standard_normal(states) * (10 * rng.random()) + rng.random()
        reward = reward + potential_shaping(mdp, np.where(mdp.terminal, 0.0, potential))
    return reward
