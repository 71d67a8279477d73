"""MiniHack's levels as well-behaved games, and as fast as NetHack itself where a level allows it."""

import contextlib
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from environments.nethack.games import BUFFERS, OBSERVATION_KEYS, Game, SeededGame
from environments.nethack.tasks import ACTIONS, TIME, Task, on_stairs_down
from rewardlab.checks import check_scalar

__all__ = ["MiniHackGame", "make_minihack"]

_NO_LIMIT = 2**31


def make_minihack(
    name: str,
    *,
    seed: int | None = None,
    actions: str | None = None,
    episode_steps: int | None = None,
    penalty_step: float | None = None,
    prompts: str | None = None,
    level_seed: int | None = None,
    level_choices: Sequence[int] = (),
    character: str | None = None,
    reward_win: float = 1.0,
    reward_lose: float = 0.0,
) -> gym.Env:
    """Make one level of MiniHack.

    A level whose rule is MiniHack's plain one (reach the stairs) is played by `Game`, which asks NetHack for four
    arrays only where MiniHack fills in, pads and crops all of them at every step. Others (doors and keys, boxes, mazes
    of MiniGrid, custom rewards) keep their own Python: `MiniHackGame`.

    Args:
        name: Its gymnasium id, such as `MiniHack-Room-5x5-v0`.
        seed: As in `make_game`, like all that follow.
        actions: As there; None: the level's own.
        episode_steps: As there; None: the level's own limit.
        penalty_step: As there; None: the level's own.
        prompts: As there; only for levels played by `Game`.
        level_seed: As there.
        level_choices: Seeds of which each reset draws one (MiniHack's `seeds`); empty: every game is a new level.
        character: As there; None: the level's own.
        reward_win: Paid on success, where the level has no rewards of its own.
        reward_lose: Paid at death and, as MiniHack's documentation says, at the time limit, where the level has none.

    Raises:
        ImportError: If MiniHack is not installed, or setuptools is too new for it.
        ValueError: If there is no such level, MiniHack cannot build it, or `prompts` is given for one that does not
            know them.
    """
    check_scalar("reward_win", reward_win)
    check_scalar("reward_lose", reward_lose)
    level = _build(name, actions=actions, penalty_step=penalty_step, character=character)
    given = {"seed": seed, "level_seed": level_seed, "level_choices": tuple(level_choices)}
    steps = episode_steps or level._max_episode_steps
    level.reward_win, level.reward_lose = reward_win, reward_lose
    if not _is_plain(level):
        if prompts not in (None, "open"):
            raise ValueError(f"prompts is {prompts!r}, but {name} has rules of its own: expected 'open' or None")
        return MiniHackGame(level, episode_steps=steps, **given)
    buffers = level.nethack._obs_buffers
    level.nethack._pynethack.set_buffers(**{key: buffers[key] for key in BUFFERS})  # not yet reset: it still may
    return Game(
        level.nethack,
        Task(name, solved=on_stairs_down, success_reward=reward_win, failure_reward=reward_lose),
        actions=tuple(int(key) for key in level.actions),
        episode_steps=steps,
        penalty_step=level.penalty_step,
        prompts=prompts or "open",
        every_question=level._allow_all_yn_questions,
        every_mode=level._allow_all_modes,
        owner=level,
        **given,
    )


def _import() -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
            import minihack  # noqa: F401  registers its levels
    except ModuleNotFoundError as error:
        reason = "it needs 'setuptools<81'" if error.name == "pkg_resources" else "pip install 'rewardlab[nethack]'"
        raise ImportError(f"MiniHack cannot be imported ({error}): {reason}") from error


def _build(name: str, *, actions: str | None, penalty_step: float | None, character: str | None):
    """MiniHack's own environment, not yet reset."""
    _import()
    options: dict[str, Any] = {"fix_moon_phase": True}
    if actions is not None:
        options["actions"] = ACTIONS[actions]
    if penalty_step is not None:
        options["penalty_step"] = float(penalty_step)
    if character is not None:
        options["character"] = character
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gym.make(name, observation_keys=OBSERVATION_KEYS, disable_env_checker=True, **options).unwrapped
    except gym.error.UnregisteredEnv as error:
        raise ValueError(f"minihack level is {name!r}, which is not registered: {error}") from None
    except (AssertionError, AttributeError, TypeError) as error:
        raise ValueError(
            f"MiniHack cannot build {name!r} ({type(error).__name__}: {error}); custom levels need a description, "
            f"crossings a MiniGrid that still takes a width and a height"
        ) from error


def _is_plain(level) -> bool:
    """Whether its rule is MiniHack's own and its Python adds nothing."""
    from minihack import MiniHack

    untouched = ("step", "reset", "_is_episode_end", "_reward_fn", "_perform_known_steps")
    return (
        level.reward_manager is None
        and level.penalty_mode == "constant"
        and not level.penalty_time
        and all(getattr(type(level), name) is getattr(MiniHack, name) for name in untouched)
    )


@contextlib.contextmanager
def _python_random(seed: int) -> Iterator[None]:
    """Python's global `random` seeded inside, and as it was afterwards: some levels are drawn with it."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


class MiniHackGame(SeededGame):
    """A MiniHack level with Python of its own, behind the promises of `Game`.

    Args:
        level: MiniHack's environment.
        episode_steps: Steps after which an episode is cut off.
        seed: That of the first reset that brings none.
        level_seed: As in `make_game`.
        level_choices: As in `make_minihack`.
    """

    def __init__(
        self,
        level,
        *,
        episode_steps: int,
        seed: int | None = None,
        level_seed: int | None = None,
        level_choices: tuple[int, ...] = (),
    ):
        super().__init__(tuple(int(key) for key in level.actions), episode_steps, seed, level_seed, level_choices)
        self._level = level
        level._max_episode_steps = _NO_LIMIT  # else it ends its games itself, and calls that terminated
        level._quit_game = lambda observation, done: None  # else the observation of a success is blank
        self.observation_space = gym.spaces.Dict({key: level.observation_space[key] for key in OBSERVATION_KEYS})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin a new game: that of `seed`, or the next of the generator's; see `Game.reset`."""
        core, display = self._seeds(seed)
        level = self._level
        if level.nethack._pynethack is None:
            raise RuntimeError("reset() on a game that was closed")
        level.nethack.set_initial_seeds(core, display, False, self.level_seed)
        if hasattr(level, "minigrid_env"):
            level.minigrid_env.reset(seed=core % 2**32)
        level._frozen_steps = 0  # reset() leaves it, and with it the penalty of the episode before
        with _python_random(core):
            observation, _ = level.reset()
        self._running, self._steps, self._success = True, 0, False
        self._last = {key: np.array(observation[key]) for key in OBSERVATION_KEYS}
        return self._last, self._info("running")

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Play one action; see `Game.step`."""
        self._check(action)
        level = self._level
        observation, reward, terminated, _, info = level.step(action)
        self._steps += 1
        status = info["end_status"].name.lower()
        self._success |= status == "task_successful"
        truncated = not terminated and self._steps >= self.episode_steps
        self._running = not (terminated or truncated)
        blank = terminated and not self._success
        if blank:
            last = {key: array.copy() for key, array in self._last.items()}
            last["message"][:] = 0
            return last, reward, True, False, self._info("death") | {"blank_observation": True}
        if truncated:
            status, reward = "aborted", reward + self._lost_by_timeout()
        time = self._last["blstats"][TIME]
        self._last = {key: np.array(observation[key]) for key in OBSERVATION_KEYS}
        return self._last, reward, terminated, truncated, self._info(status, bool(self._last["blstats"][TIME] == time))

    def _lost_by_timeout(self) -> float:
        from minihack import MiniHack

        own = self._level.reward_manager is not None or type(self._level)._reward_fn is not MiniHack._reward_fn
        return 0.0 if own else self._level.reward_lose

    def _info(self, status: str, frozen: bool = False) -> dict[str, Any]:
        return {"end_status": status, "blank_observation": False, "success": self._success, "frozen": frozen}

    def close(self) -> None:
        """End the game and give its memory back."""
        self._running = False
        self._level.close()
