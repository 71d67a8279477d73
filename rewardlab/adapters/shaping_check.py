"""Does a wrapper shape rewards as the guarantee asks? Proved on rollouts, or the step where it does not is named."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from rewardlab.adapters.shaping_ledger import Episode, ShapingLedger
from rewardlab.adapters.shaping_rollouts import EnvRollouts, VectorRollouts
from rewardlab.checks import as_generator, check_choice, check_scalar
from rewardlab.shaping.potential_values import Potential, one_number
from rewardlab.shaping.rule import OnTruncation
from rewardlab.shaping.running import RunningShaping

__all__ = ["ShapingCheck", "check_shaping"]

_AFTERWARDS = 50  # steps that are looked at after the first wrong one, to tell why it is wrong


@dataclass(frozen=True)
class ShapingCheck:
    """What `check_shaping` found.

    Attributes:
        holds: Whether every step and every return was as it should be.
        message: What was proved; or which step is wrong, by how much, and why as far as can be told.
        steps: How many steps were looked at.
        raw_returns: Discounted returns of the episodes without the wrapper, (episodes,), unfinished
            ones last.
        shaped_returns: The same with it.
        expected: What the second should exceed the first by: the discounted last potential, 0 where the episode
            terminated, less the first, (episodes,).
        environment: Where the wrong step is: the index of the environment, None where all is well.
        episode: The number of that environment's episode, from 0.
        step: The number of the step in the episode, from 0.
    """

    holds: bool
    message: str
    steps: int
    raw_returns: np.ndarray
    shaped_returns: np.ndarray
    expected: np.ndarray
    environment: int | None = None
    episode: int | None = None
    step: int | None = None

    def __bool__(self) -> bool:
        return self.holds


def check_shaping(
    env: Any,
    wrapper: Callable[[Any], Any],
    discount: float,
    *,
    potential: Potential | None = None,
    on_truncation: OnTruncation = "keep",
    episodes: int = 20,
    steps: int = 10_000,
    act: Callable[[Any], Any] | None = None,
    rng: int | np.random.Generator = 0,
    tolerance: float = 1e-9,
) -> ShapingCheck:
    """Roll an environment with and without a wrapper, and prove that they differ by potential-based shaping alone.

    The wrapped environment runs on the bare one, whose transitions are recorded, so that also random environments can
    be compared step for step. Every step must be paid the discounted next potential, 0 where the learner does not
    bootstrap, less the potential on arrival; and every discounted return must differ by the telescoped sum. Among the
    mistakes it names: the potential of a terminal state counted, that of a cut episode's last state not (or of the
    next episode's first state in its place), another discount, the potential of an old state evaluated again, pay for
    a step that only resets, and rewards clipped or normalised afterwards.

    Args:
        env: The bare environment, or a function that makes it: a gymnasium one, a gymnasium vector in any autoreset
            mode, or a Stable-Baselines3 vector. With everything in it that ends episodes or changes the observations
            that the potential sees, such as `TimeLimit`. It is stepped, and not closed.
        wrapper: Function of that environment that returns the wrapped one.
        discount: The learner's, in [0, 1].
        potential: What the wrapper shapes by; by default what it says itself, as those of this package do.
        on_truncation: "keep" if the learner bootstraps where an episode is cut, else "zero".
        episodes: How many episodes to finish, at least 1.
        steps: After how many steps of the vector to stop all the same; what is unfinished then counts as cut.
        act: Function of the observations outside the wrapper that returns the actions; by default they are random. It
            may change the potential, as a learner would.
        rng: Seed of the environment and of random actions.
        tolerance: Largest error, relative to the rewards and potentials at a step or 1 if that is more; at least 1e-6
            where rewards are in single precision, as in Stable-Baselines3.

    Returns:
        Whether it holds, true or false as such; and if not, where and why.

    Raises:
        TypeError: If the environment is none of those, or no potential is known.
        ValueError: If an argument is out of range, the potential is not one finite number, or the wrapper takes several
            steps at once or ends episodes.

    Example:
        >>> from rewardlab.adapters.gymnasium import PotentialShaping
        >>> upright = lambda observation: -abs(observation[2])
        >>> check = check_shaping(
        ...     gymnasium.make("CartPole-v1"), lambda env: PotentialShaping(env, upright, 0.99), 0.99, episodes=5
        ... )
        >>> check.holds
        True
        >>> wrong = check_shaping(gymnasium.make("CartPole-v1"), lambda env: PotentialShaping(env, upright, 1.0), 0.99)
        >>> wrong.step, wrong.message.split(": ")[1]
        (0, "the shaping's discount is 1, the learner's 0.99")
    """
    check_scalar("discount", discount, low=0.0, high=1.0)
    check_scalar("episodes", episodes, low=1, whole=True)
    check_scalar("steps", steps, low=1, whole=True)
    check_scalar("tolerance", tolerance, low=0.0)
    check_choice("on_truncation", on_truncation, get_args(OnTruncation))
    rollouts = _rollouts(env, wrapper, int(as_generator(rng).integers(2**31)))
    ledger = ShapingLedger(_potential_of(rollouts.wrapped, potential), discount, on_truncation, tolerance)
    seen, taken = _rolled(rollouts, ledger, act, episodes, steps)
    raw, shaped, expected = np.array([episode.returns(discount) for episode in seen]).T
    if ledger.wrong is not None:
        wrong = ledger.wrong
        message = ledger.message(several=rollouts.environments > 1)
        return ShapingCheck(False, message, taken, raw, shaped, expected, wrong.environment, wrong.episode, wrong.step)
    message = (
        f"{len(seen)} episodes, {taken} steps: shaped returns exceed the raw ones by exactly the discounted last "
        f"potential less the first, with errors up to {np.abs(shaped - raw - expected).max():.1g}"
    )
    return ShapingCheck(True, message, taken, raw, shaped, expected)


def _rolled(
    rollouts: Any, ledger: ShapingLedger, act: Callable[[Any], Any] | None, episodes: int, steps: int
) -> tuple[list[Episode], int]:
    """The episodes of the rollouts, in order of their ends, all entered in the ledger; and the number of steps."""
    observations, firsts = rollouts.start()
    running = [ledger.begin(place, 0, first) for place, first in enumerate(firsts)]
    finished: list[Episode] = []
    taken, wrong_for = 0, 0
    while len(finished) < episodes and taken < steps and wrong_for < _AFTERWARDS:
        action = rollouts.random_action() if act is None else act(observations)
        observations, moves = rollouts.step(action)
        taken += 1
        wrong_for += ledger.wrong is not None
        for place, move in enumerate(moves):
            ledger.enter(running[place], move)
            if move.terminated or move.truncated:
                finished.append(running[place])
            if move.first is not None:
                running[place] = ledger.begin(place, running[place].number + 1, move.first)
    unfinished = [episode for episode in running if episode.raw and episode not in finished]
    return finished + unfinished, taken * rollouts.environments


def _rollouts(env: Any, wrapper: Callable[[Any], Any], seed: int) -> Any:
    if not callable(wrapper):
        raise TypeError(f"wrapper: expected a function of an environment, got {type(wrapper).__name__}")
    if callable(env) and not isinstance(env, gymnasium.Env | VectorEnv):
        env = env()
    if isinstance(env, VectorEnv):
        return VectorRollouts(env, wrapper, seed)
    if isinstance(env, gymnasium.Env):
        return EnvRollouts(env, wrapper, seed)
    vec_env = sys.modules.get("stable_baselines3.common.vec_env")
    if vec_env is not None and isinstance(env, vec_env.VecEnv):
        from rewardlab.adapters.shaping_vec_rollouts import VecEnvRollouts

        return VecEnvRollouts(env, wrapper, seed)
    raise TypeError(
        f"env: expected a gymnasium environment, a vector of them, a Stable-Baselines3 vector, or a function that "
        f"makes one, got {type(env).__name__}"
    )


def _potential_of(wrapped: Any, potential: Potential | None) -> Callable[[Any], float]:
    """The potential that is given, or that one of the wrappers says, times its scale, as a float."""
    scale = 1.0
    while potential is None and wrapped is not None:
        shaping = vars(wrapped).get("shaping")
        if isinstance(shaping, RunningShaping):
            potential, scale = shaping.potential, shaping.scale
        wrapped = vars(wrapped).get("env", vars(wrapped).get("venv"))
    if not callable(potential):
        raise TypeError(
            "potential: none is given, and no wrapper says one of a state, as PotentialShaping does; give "
            "potential=... (advice on actions, as of LookBackAdvice, is no potential of a state and cannot be checked "
            "so)"
        )
    return lambda observation: scale * one_number(potential(observation), observation)
