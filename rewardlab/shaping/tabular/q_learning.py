"""Q-learning on a finite world, many runs at once, with a potential as shaping or as the table's first values."""

from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from rewardlab.checks import as_generator, check_array, check_broadcast, check_choice, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.rule import OnTruncation, learner_bootstraps, shaping_reward

__all__ = ["LearningRuns", "first_within", "q_learning", "q_values_from"]

_TIE = 1e-12  # shaped and unshaped tables differ by rounding, and rounding must not decide between equal actions
_DRAWN = 256  # steps for which random numbers are drawn at a time


class LearningRuns(NamedTuple):
    """What became of every run, episode by episode; the arms come first, then the seeds.

    Args:
        steps: Steps of each episode, `(*arms, seeds, episodes)`.
        returns: Sum of the reward in each episode, undiscounted and without any shaping.
        terminated: Whether the episode ended in a terminal state; False where the time limit cut it.
        action_values: The table in the end, of the shaped reward where there is shaping, `(*arms, seeds, S, A)`.
    """

    steps: Int[np.ndarray, "*arms seeds episodes"]
    returns: Float[np.ndarray, "*arms seeds episodes"]
    terminated: Bool[np.ndarray, "*arms seeds episodes"]
    action_values: Float[np.ndarray, "*arms seeds s a"]


def q_learning(
    mdp: FiniteMDP,
    reward: Reward,
    *,
    episodes: int,
    max_steps: int,
    potential: Num[np.ndarray, "*#arms s"] | None = None,
    initial_values: Num[np.ndarray, "*#arms s"] | None = None,
    shaping_discount: float | Float[np.ndarray, "*#arms"] | None = None,
    on_truncation: OnTruncation = "keep",
    learning_rate: float = 0.5,
    exploration: float = 0.1,
    seeds: int = 20,
    rng: int | np.random.Generator = 0,
) -> LearningRuns:
    """Epsilon-greedy Q-learning, every arm and every seed side by side.

    A seed means the same luck in every arm: the same random numbers decide on starts, exploration, ties and next
    states. The learner bootstraps where `max_steps` cuts an episode, and does not in a terminal state, whose potential
    therefore counts as 0 whatever is given.

    Args:
        mdp: One world of NumPy arrays. Its discount is the learner's.
        reward: What is meant, `(S, A, S)` or `(S, A)`.
        episodes: Episodes of each run.
        max_steps: Time limit of an episode.
        potential: Potential of each state, `(*arms, S)`, whose shaping is added to the reward; None for none.
        initial_values: First value of all actions of each state, `(*arms, S)`; None for 0. A potential given here
            and not as shaping teaches the same policies, step by step.
        shaping_discount: Discount of the shaping, `(*arms)`; None for the learner's. Any other changes the task.
        on_truncation: "keep" the next state's potential where the time limit cuts an episode, which is right for a
            learner that bootstraps there; "zero" it, a common mistake, to see what it does.
        learning_rate: Step size in (0, 1].
        exploration: Probability of an action drawn uniformly. Otherwise the best is taken, ties broken at random.
        seeds: Runs of each arm.
        rng: Seed or generator; each run draws from a stream of its own.

    Returns:
        Steps, returns and ends of all episodes, and the tables in the end.

    Raises:
        TypeError: If the world is of torch, an array no NumPy array, or a number none.
        ValueError: If there are several worlds or rewards, a shape does not fit, an entry is not finite, episodes begin
            in a terminal state, or a number is out of range.

    Source: Ng, Harada and Russell 1999 for the shaping; Wiewiora 2003 for potentials as first values.

    Example:
        >>> from rewardlab.exact import gridworld
        >>> grid = gridworld("S.......G", discount=0.9)
        >>> goal = (np.arange(9) == 8).astype(float) * np.ones((9, 4, 1))
        >>> closeness = 0.9 ** np.arange(7.0, -2, -1)
        >>> runs = q_learning(grid.mdp, goal, episodes=5, max_steps=500, potential=np.stack([0 * closeness, closeness]))
        >>> np.median(runs.steps, axis=1)[:, 0]
        array([125.5,  31. ])
    """
    counts = {"episodes": episodes, "max_steps": max_steps, "seeds": seeds}
    for name, value in counts.items():
        check_scalar(name, value, low=1, whole=True)
    check_scalar("learning_rate", learning_rate, low=0, high=1, open_low=True)
    check_scalar("exploration", exploration, low=0, high=1)
    check_choice("on_truncation", on_truncation, get_args(OnTruncation))
    rewards = _one_reward(mdp, reward)
    if mdp.initial[mdp.terminal].any():
        raise ValueError("mdp begins some episodes in a terminal state, expected at least one step in each")
    arms, potential, first, shaping_discount = _arms(mdp, potential, initial_values, shaping_discount)

    # runs in rows, arm by arm
    count, kinds = len(potential), mdp.actions
    rows = count * seeds
    potential, first, shaping_discount = (
        np.repeat(part, seeds, axis=0) for part in (potential, first, shaping_discount)
    )
    table = np.repeat(first[:, :, None], kinds, axis=2)
    luck = _luck(as_generator(rng).spawn(seeds), kinds + 3)  # next state, next start, order of actions, exploration
    starts, nexts = np.cumsum(mdp.initial), np.cumsum(mdp.transition, axis=-1)
    steps, returns = np.zeros((rows, episodes), int), np.zeros((rows, episodes))
    ended = np.zeros((rows, episodes), bool)
    running, episode = np.arange(rows), np.zeros(rows, int)
    state = _drawn(starts, np.tile(next(luck)[:, 0], count))
    while len(running):
        uniform = np.tile(next(luck), (count, 1))[running]
        here = state[running]
        action = _chosen(table[running, here], exploration, uniform)
        there = _drawn(nexts[here, action], uniform[:, 0])
        now, paid = episode[running], rewards[here, action, there]
        steps[running, now] += 1
        returns[running, now] += paid
        terminated = mdp.terminal[there]
        over = terminated | (steps[running, now] == max_steps)
        counted = learner_bootstraps(terminated, over, on_truncation)
        shaping = shaping_reward(
            potential[running, here], potential[running, there], discount=shaping_discount[running], bootstraps=counted
        )
        _update(table, running, here, action, paid + shaping, there, terminated, mdp.discount, learning_rate)
        ended[running, now] = terminated
        state[running] = there
        if over.any():
            done = running[over]
            episode[done] += 1
            state[done] = _drawn(starts, uniform[over, 1])
            running = np.flatnonzero(episode < episodes)
    shape = (*arms, seeds)
    return LearningRuns(
        steps.reshape(*shape, episodes),
        returns.reshape(*shape, episodes),
        ended.reshape(*shape, episodes),
        table.reshape(*shape, *table.shape[1:]),
    )


def q_values_from(
    states: Int[np.ndarray, " steps"],
    actions: Int[np.ndarray, " steps"],
    rewards: Num[np.ndarray, " steps"],
    next_states: Int[np.ndarray, " steps"],
    terminated: Bool[np.ndarray, " steps"],
    *,
    initial_values: Num[np.ndarray, "s a"],
    discount: float,
    learning_rate: float = 0.5,
    potential: Num[np.ndarray, " s"] | None = None,
) -> Float[np.ndarray, "steps s a"]:
    """The table of Q-learning after each of the given steps, whoever took them.

    Args:
        states: State before each step.
        actions: Action taken.
        rewards: Reward paid.
        next_states: State after it.
        terminated: Whether it ended the episode; the learner does not bootstrap there.
        initial_values: The table at first, `(S, A)`.
        discount: In [0, 1].
        learning_rate: In (0, 1].
        potential: Potential of each state, whose shaping is added to the rewards; None for none.

    Returns:
        Tables after step 1, 2, ..., `(steps, S, A)`.

    Raises:
        TypeError: If states or actions are no whole numbers, or `terminated` is not boolean.
        ValueError: If lengths differ, a state or action is not in the table, or a number is not finite.

    Source: Wiewiora 2003: from 0 with the shaping of a potential, and from the potential without it, the tables
        differ by the potential at every step.

    Example:
        >>> walk = np.array([0, 1]), np.array([0, 0]), np.array([0.0, 1.0]), np.array([1, 2]), np.array([False, True])
        >>> first = np.array([[0.5], [0.8], [0.0]])
        >>> q_values_from(*walk, initial_values=first, discount=0.9)[-1].T.round(3)
        array([[0.61, 0.9 , 0.  ]])
    """
    check_scalar("discount", discount, low=0, high=1)
    check_scalar("learning_rate", learning_rate, low=0, high=1, open_low=True)
    table = np.array(check_finite("initial_values", check_array("initial_values", initial_values)), float)
    if table.ndim != 2:
        raise ValueError(f"initial_values has shape {table.shape}, expected (S, A)")
    columns = {"states": states, "actions": actions, "rewards": rewards, "next_states": next_states}
    _check_columns(columns | {"terminated": terminated}, *table.shape)
    potential = np.zeros(len(table)) if potential is None else check_finite("potential", np.asarray(potential, float))
    if potential.shape != (len(table),):
        raise ValueError(f"potential has shape {potential.shape}, expected ({len(table)},)")
    shaping = shaping_reward(potential[states], potential[next_states], discount=discount, bootstraps=~terminated)
    after, paid, only = np.empty((len(states), *table.shape)), rewards + shaping, np.zeros(1, int)
    for k in range(len(states)):
        now = slice(k, k + 1)
        step = (states[now], actions[now], paid[now], next_states[now], terminated[now])
        _update(table[None], only, *step, discount, learning_rate)
        after[k] = table
    return after


def first_within(steps: Int[np.ndarray, "*runs episodes"], most: int) -> Float[np.ndarray, "*runs"]:
    """The first episode of at most `most` steps, counted from 1; infinite where there is none.

    Args:
        steps: Of all episodes, such as those of `LearningRuns`, `(*runs, episodes)`.
        most: How many are few enough.

    Returns:
        Numbers of episodes, `(*runs)`.
    """
    found = np.asarray(steps) <= most
    return np.where(found.any(axis=-1), found.argmax(axis=-1) + 1.0, np.inf)


def _update(table, run, state, action, paid, next_state, terminated, discount, learning_rate) -> None:
    """One step of Q-learning in each of the runs, in place."""
    ahead = np.where(terminated, 0.0, table[run, next_state].max(axis=-1))
    table[run, state, action] += learning_rate * (paid + discount * ahead - table[run, state, action])


def _chosen(values: np.ndarray, exploration: float, uniform: np.ndarray) -> np.ndarray:
    """One action a row: explores where the last uniform number is small, otherwise the best, or one of the best."""
    best = values.max(axis=-1, keepdims=True)
    allowed = (values >= best - _TIE * np.maximum(1.0, np.abs(best))) | (uniform[:, -1:] < exploration)
    return np.where(allowed, uniform[:, 2:-1], -1.0).argmax(axis=-1)


def _drawn(cumulated: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """States drawn by their cumulated probabilities, never one behind the last whose probability is not 0."""
    return (cumulated <= uniform[:, None] * cumulated[..., -1:]).sum(axis=-1)


def _luck(streams: list[np.random.Generator], numbers: int):
    """Uniform numbers `(runs, numbers)` for one step after another, each run's from its own stream."""
    while True:
        yield from np.stack([stream.random((_DRAWN, numbers)) for stream in streams], axis=1)


def _one_reward(mdp: FiniteMDP, reward: Reward) -> np.ndarray:
    if not isinstance(mdp.transition, np.ndarray):
        raise TypeError(f"mdp holds {type(mdp.transition).__name__}s, expected NumPy arrays")
    if mdp.batch_shape:
        raise ValueError(f"mdp has batch shape {mdp.batch_shape}, expected one world")
    rewards = mdp.transition_reward(reward)
    if rewards.ndim != 3:
        raise ValueError(f"reward has batch shape {rewards.shape[:-3]}, expected one reward")
    return rewards


def _arms(
    mdp: FiniteMDP, potential, initial_values, shaping_discount
) -> tuple[tuple[int, ...], *tuple[np.ndarray, ...]]:
    """The shape of the arms; potentials and first values `(arms, S)`, discounts of the shaping `(arms,)`."""
    tables = {}
    for name, values in (("potential", potential), ("initial_values", initial_values)):
        values = np.zeros(mdp.states) if values is None else check_array(name, values, like=mdp.transition)
        if values.shape[-1:] != (mdp.states,):
            raise ValueError(f"{name} has shape {values.shape}, expected (*arms, {mdp.states})")
        tables[name] = check_finite(name, values.astype(float))
    discounts = np.asarray(mdp.discount if shaping_discount is None else shaping_discount, float)
    if not ((discounts >= 0) & (discounts <= 1)).all():
        raise ValueError(f"shaping_discount is {shaping_discount}, expected numbers in [0, 1]")
    arms = check_broadcast(
        **{name: values.shape[:-1] for name, values in tables.items()}, shaping_discount=discounts.shape
    )
    spread = (np.broadcast_to(values, (*arms, mdp.states)).reshape(-1, mdp.states) for values in tables.values())
    return arms, *spread, np.broadcast_to(discounts, arms).reshape(-1)


def _check_columns(columns: dict[str, np.ndarray], states: int, actions: int) -> None:
    """Steps as columns of one length, with states and actions that are in the table."""
    for name, column in columns.items():
        check_array(name, column)
        if column.shape != columns["states"].shape or column.ndim != 1:
            raise ValueError(
                f"{name} has shape {column.shape}, expected one value a step as states, {columns['states'].shape}"
            )
        if name == "rewards":
            check_finite(name, column)
        elif name == "terminated" and column.dtype != bool:
            raise TypeError(f"terminated has dtype {column.dtype}, expected bool")
        elif name != "terminated":
            if not np.issubdtype(column.dtype, np.integer):
                raise TypeError(f"{name} has dtype {column.dtype}, expected whole numbers")
            limit = actions if name == "actions" else states
            wrong = np.flatnonzero((column < 0) | (column >= limit))
            if len(wrong):
                raise ValueError(f"{name}[{wrong[0]}] is {column[wrong[0]]}, expected 0 to {limit - 1}")
