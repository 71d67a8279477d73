"""NetHack behind gymnasium's interface, its promises kept: seeds that seed, observations that stay, honest ends.

`known_bugs.py` lists what NLE and MiniHack do instead, and where each is cured and tested.
"""

import re
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from nle import nethack
from nle.env.base import NLE_SPACE_ITEMS, SKIP_EXCEPTIONS

from environments.nethack.tasks import (
    ACTIONS,
    STAIRS_TEXT,
    TIME,
    Situation,
    Task,
    answer_to,
    asks_for_food,
    asks_to_continue,
    find_task,
)
from rewardlab.checks import check_choice, check_scalar

__all__ = ["OBSERVATION_KEYS", "PROMPTS", "Game", "make_game", "of_nle"]

OBSERVATION_KEYS = ("glyphs", "chars", "blstats", "message")
BUFFERS = (*OBSERVATION_KEYS, "program_state", "internal")  # what the game is asked to fill in: each costs time
PROMPTS = ("open", "confirm", "automatic")
NLE_STEPS = 5000  # NLE's own limit

_CHARACTER = re.compile(
    r"@|(arc|bar|cav|hea|kni|mon|pri|ran|rog|sam|tou|val|wiz)-(hum|elf|dwa|gno|orc)-(law|neu|cha)-(mal|fem)"
)
_SPACES = dict(NLE_SPACE_ITEMS)
_SPACE, _ESCAPE, _YES = ord(" "), 27, ord("y")
_CAST = int(nethack.Command.CAST)
_HUNGER, _SATIATED = nethack.NLE_BL_HUNGER, 0
_KEYS_AT_MOST = 1000  # of begging a game to begin or to take a command again: it needs a few
_OVER, _IN_GAME = 0, 3  # places in `program_state`
_QUESTION, _LINE, _SPACE_AWAITED = 1, 2, 3  # places in `internal`: what the game waits for


class SeededGame(gym.Env):
    """What all games share: where their seeds come from, and which calls make no sense."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self,
        actions: tuple[int, ...],
        episode_steps: int,
        seed: int | None,
        level_seed: int | None,
        level_choices: tuple[int, ...],
    ):
        self.actions, self.episode_steps = actions, episode_steps
        self.level_seed, self.level_choices = level_seed, level_choices
        self.action_space = gym.spaces.Discrete(len(actions))
        self._first_seed, self._running = seed, False

    def _seeds(self, seed: int | None) -> tuple[int, int]:
        """Seeds of the next game, for what happens and for what is shown."""
        if self._first_seed is not None:
            seed, self._first_seed = self._first_seed if seed is None else seed, None
        super().reset(seed=seed)
        core, display = (int(drawn) for drawn in self.np_random.integers(2**62, size=2))
        if self.level_choices:
            core = display = int(self.np_random.choice(self.level_choices))
        return core, display

    def _check(self, action: int) -> None:
        if not self._running:
            raise RuntimeError("step() on a game that is over or has not begun: call reset() first")
        if not 0 <= action < len(self.actions):
            raise ValueError(f"action is {action}, expected 0 to {len(self.actions) - 1}")


class Game(SeededGame):
    """Games of NetHack, one after another, with the reward of one task.

    Observations are a dict of arrays that belong to the caller: `glyphs` int16 (21, 79), `chars` uint8 (21, 79),
    `blstats` int64 (27,), `message` uint8 (256,).

    `reset(seed=s)` begins the same game whatever was played before; later resets without a seed go on with the game's
    own generator, so a whole sequence of games is repeatable. At death NLE shows a blank screen: the last map and
    numbers are returned instead, with no message, and `info["blank_observation"]` is True: nothing was seen, so nothing
    is to be counted or paid. The time limit is the environment's (`truncated`), not the game's, and its last
    observation is an ordinary one.

    `info` holds `end_status` ("running", "aborted" at the time limit, "death", "task_successful"), `blank_observation`,
    `success` (the task has been solved in this episode) and `frozen` (the game's clock stood still in this step).

    Make one with `make_game`.
    """

    def __init__(
        self,
        game: nethack.Nethack,
        task: Task,
        *,
        actions: tuple[int, ...],
        episode_steps: int,
        penalty_step: float,
        prompts: str,
        seed: int | None = None,
        level_seed: int | None = None,
        level_choices: tuple[int, ...] = (),
        every_question: bool = False,
        every_mode: bool = False,
        owner: object = None,
    ):
        super().__init__(actions, episode_steps, seed, level_seed, level_choices)
        self.task, self.penalty_step, self.prompts = task, penalty_step, prompts
        self._every_question, self._every_mode = every_question, every_mode
        self._game, self._owner = game, owner  # who owns the game closes it when nobody holds him any more
        self.observation_space = gym.spaces.Dict({key: _SPACES[key] for key in OBSERVATION_KEYS})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin a new game: that of `seed`, or the next of the generator's.

        Args:
            seed: What the generator of games starts from; None: it goes on from where it is.
            options: Not used.

        Returns:
            The first observation, and `info` as in `step`.

        Raises:
            RuntimeError: If the game does not begin.
        """
        self._begin(*self._seeds(seed))
        self._steps, self._memory, self._solved, self._confirms = 0, {}, False, None
        self._now = self._look()
        self._last = self._observation()
        return self._last, self._info("running")

    def _begin(self, core: int, display: int) -> None:
        if self._game._pynethack is None:
            raise RuntimeError("reset() on a game that was closed")
        # before EVERY reset, else NLE draws seeds of its own; False: no reseeding in mid-game
        self._game.set_initial_seeds(core, display, False, self.level_seed)
        buffers = dict(zip(self._game._obs_buffers, self._game.reset(), strict=True))
        self._glyphs, self._chars, self._stats, self._message, self._program, self._internal = (
            buffers[key] for key in BUFFERS
        )
        for _ in range(_KEYS_AT_MOST):
            if self._program[_IN_GAME]:
                self._running = True
                return
            self._game.step(_SPACE)
        raise RuntimeError(f"NetHack did not begin within {_KEYS_AT_MOST} keys (seeds {core}, {display})")

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Press the key of an action, and those that bring the game to its next command.

        Args:
            action: Place in `actions`.

        Returns:
            Observation, reward, terminated, truncated, info; see the class.

        Raises:
            ValueError: If there is no such action.
            RuntimeError: If the game is over or has not begun.
        """
        self._check(action)
        done = self._press(self.actions[action])
        self._steps += 1
        if done:
            return self._death()
        before, task = self._now, self.task
        now = self._now = self._look()
        reward, self._solved, success = task.reward(before, now, self._memory, self._solved)
        frozen = now.stats[TIME] == before.stats[TIME]
        if frozen:
            reward += self.penalty_step
        terminated = success and task.ends
        truncated = not terminated and self._steps >= self.episode_steps
        if truncated:
            reward += task.failure_reward
        self._running = not (terminated or truncated)
        self._last = self._observation()
        status = "task_successful" if terminated else "aborted" if truncated else "running"
        return self._last, reward, terminated, truncated, self._info(status, frozen)

    def _death(self) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self._running = False
        last = {key: array.copy() for key, array in self._last.items()}
        last["message"][:] = 0
        return last, self.task.failure_reward, True, False, self._info("death") | {"blank_observation": True}

    def _info(self, status: str, frozen: bool = False) -> dict[str, Any]:
        return {"end_status": status, "blank_observation": False, "success": self._solved, "frozen": frozen}

    def _look(self) -> Situation:
        return Situation(self._stats.tolist(), self._glyphs.copy(), self._message.tobytes(), self._internal.tolist())

    def _observation(self) -> dict[str, np.ndarray]:
        return {
            "glyphs": self._now.glyphs,
            "chars": self._chars.copy(),
            "blstats": self._stats.copy(),
            "message": self._message.copy(),
        }

    def _press(self, key: int) -> bool:
        """Press a key and settle what it raises: whether the game is over."""
        if self._confirms is not None:
            key, self._confirms = self._confirms if key == _YES else _SPACE, None
        _, done = self._game.step(key)
        waits = self._internal
        if done or not (waits[_SPACE_AWAITED] or waits[_QUESTION] or waits[_LINE]):
            return done
        if self._every_mode and not self._program[_OVER]:
            return done
        if key == _CAST and waits[_SPACE_AWAITED] and self.prompts != "open":
            _, done = self._game.step(ord("a"))  # the first spell of the menu
        return self._settle(done)

    def _settle(self, done: bool) -> bool:
        """Turn pages and answer questions until the game takes a command, or asks what the player is to decide.

        A page is turned by a space, a line of text declined, a question declined unless it is about food, attacks,
        prayer or a direction, as NLE does. A page that says that the stairs were descended is kept, as ONI does: its
        tasks need it.
        """
        kept, waits = None, self._internal
        for _ in range(_KEYS_AT_MOST):
            if done:
                break
            if waits[_SPACE_AWAITED]:
                message = self._message.tobytes()
                kept = message if STAIRS_TEXT in message else kept
                _, done = self._game.step(_SPACE)
            elif waits[_LINE]:
                _, done = self._game.step(_ESCAPE)
            elif waits[_QUESTION]:
                key = self._answer(self._message.tobytes())
                if key is None:
                    break
                _, done = self._game.step(key)
                if self.prompts != "automatic":
                    break
            else:
                break
        if kept is not None:
            self._message[:] = np.frombuffer(kept, np.uint8)  # the game writes it anew at its next key
        return done

    def _answer(self, message: bytes) -> int | None:
        """The key that answers a question; None: it is the player's."""
        if self._every_question:
            return None
        if self.prompts == "automatic":
            if asks_for_food(message):
                return answer_to(message) if self._stats[_HUNGER] != _SATIATED else _ESCAPE
            if asks_to_continue(message):
                return _ESCAPE
        elif self.prompts == "confirm" and asks_for_food(message, inventory_only=True):
            self._confirms = answer_to(message)
            return None
        return None if any(part in message for part in SKIP_EXCEPTIONS) else _ESCAPE

    def close(self) -> None:
        """End the game and give its memory back."""
        self._running = False
        self._game.close()


def of_nle(task: Task, character: str) -> nethack.Nethack:
    """NetHack itself as NLE builds it for this task, filling in only what is looked at; the moon is the seed's."""
    return nethack.Nethack(
        observation_keys=BUFFERS,
        playername=f"Agent-{character}",
        ttyrec=None,
        options=task.options,
        fix_moon_phase=True,
    )


def make_game(
    task: str,
    *,
    seed: int | None = None,
    actions: str | None = None,
    episode_steps: int | None = None,
    penalty_step: float | None = None,
    prompts: str | None = None,
    level_seed: int | None = None,
    character: str | None = None,
) -> gym.Env:
    """Make one environment of NetHack.

    Args:
        task: One of `TASKS`, or `minihack/<id>`, such as `minihack/MiniHack-Room-5x5-v0`.
        seed: That of the first reset that brings none.
        actions: One of `ACTIONS`; None: the 23 keys of NLE's tasks, or those of the MiniHack level.
        episode_steps: Steps after which an episode is cut off; None: 5000, or the level's own limit.
        penalty_step: Added on each step in which the game's clock stands still; None: the task's (-0.01 for score and
            for NLE's own tasks, 0 for those of ONI). 0 removes it.
        prompts: What is done about "What do you want to eat?" and its like. "open": left standing, as in NLE, for the
            agent to type a letter. "confirm": the next action answers: the north-west key, which is "y", takes the
            first thing allowed, every other one declines. "automatic": answered at once with the first thing allowed,
            unless the player is satiated (who eats on chokes). None: "confirm" for the tasks of ONI, as in its code,
            "open" for all others.
        level_seed: Seed of the levels alone: the dungeon is the same in every game, what happens in it is not.
        character: Role, race, alignment and gender as NLE spells them, or "@" for one drawn at each reset; None: a
            monk, or the level's own.

    Returns:
        A `Game`, or a `MiniHackGame` for the MiniHack levels that bring Python of their own.

    Raises:
        ValueError: If a name is not known, a number out of its range.
        TypeError: If a number is none.

    Source: tasks and prompts, ONI (arXiv 2410.23022), official code; NLE (arXiv 2006.13760); MiniHack (arXiv
    2109.13202).

    >>> game = make_game("score", seed=0, episode_steps=1000)
    >>> observation, info = game.reset()
    >>> observation["glyphs"].shape, int(game.action_space.n)
    ((21, 79), 23)
    """
    if actions is not None:
        check_choice("actions", actions, tuple(ACTIONS))
    if prompts is not None:
        check_choice("prompts", prompts, PROMPTS)
    for name, value, low in (("episode_steps", episode_steps, 1), ("seed", seed, 0), ("level_seed", level_seed, 0)):
        if value is not None:
            check_scalar(name, value, low=low, whole=True)
    if penalty_step is not None:
        check_scalar("penalty_step", penalty_step)
    if character is not None and not _CHARACTER.fullmatch(character):  # NetHack would draw one, and not say so
        raise ValueError(f"character is {character!r}, expected '@' or the like of 'val-dwa-law-fem'")
    given = {"seed": seed, "level_seed": level_seed}
    if task.startswith("minihack/"):
        from environments.nethack.minihack import make_minihack  # it takes a second to import

        return make_minihack(
            task.removeprefix("minihack/"),
            actions=actions,
            episode_steps=episode_steps,
            penalty_step=penalty_step,
            prompts=prompts,
            character=character,
            **given,
        )
    chosen = find_task(task)
    return Game(
        of_nle(chosen, character or "mon-hum-neu-mal"),
        chosen,
        actions=ACTIONS[actions or "task"],
        episode_steps=episode_steps or NLE_STEPS,
        penalty_step=chosen.penalty_step if penalty_step is None else float(penalty_step),
        prompts=prompts or chosen.prompts,
        **given,
    )
