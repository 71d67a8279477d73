"""The tasks played on NetHack: what each one pays, when it is solved, and the keys it offers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from nle import nethack

from rewardlab.checks import check_choice

__all__ = ["ACTIONS", "TASKS", "Situation", "Task", "answer_to", "asks_for_food", "asks_to_continue", "find_task"]

_MOVES = tuple(nethack.CompassDirection)
_KICK, _SEARCH = nethack.Command.KICK, nethack.Command.SEARCH
_NLE = (
    nethack.MiscAction.MORE,
    *_MOVES,
    *nethack.CompassDirectionLonger,
    *nethack.MiscDirection,
    _KICK,
    nethack.Command.EAT,
    _SEARCH,
)
_ONI = tuple(nethack.Command[name] for name in ("CAST", "QUAFF", "PRAY", "PICKUP", "PAY"))

ACTIONS: Mapping[str, tuple[int, ...]] = {
    name: tuple(int(key) for key in keys)
    for name, keys in {
        "task": _NLE,
        "extended": (*_NLE, *_ONI),
        "navigation": _MOVES,
        "navigation_kick_search": (*_MOVES, _KICK, _SEARCH),
    }.items()
}
"""Sets of keys: the 23 of NLE's tasks; ONI's 28, with cast, quaff, pray, pick up, pay; 8 moves; moves, kick, search."""

STAIRS_TEXT = b"You descend the stairs"
ORACLE_GLYPH = next(
    glyph
    for glyph in range(nethack.GLYPH_MON_OFF, nethack.GLYPH_PET_OFF)
    if nethack.permonst(nethack.glyph_to_mon(glyph)).mname == "Oracle"
)
TIME = nethack.NLE_BL_TIME
_X, _Y, _SCORE, _GOLD = nethack.NLE_BL_X, nethack.NLE_BL_Y, nethack.NLE_BL_SCORE, nethack.NLE_BL_GOLD
_LEVEL, _DUNGEON, _CONDITION = nethack.NLE_BL_DLEVEL, nethack.NLE_BL_DNUM, nethack.NLE_BL_CONDITION
_ON_STAIRS_DOWN, _NUTRITION = 4, 7  # places in `internal`


@dataclass(slots=True)
class Situation:
    """One moment of a game, as far as a task looks at it.

    Attributes:
        stats: The 27 numbers of the bottom lines (NLE's `blstats`).
        glyphs: The map, int16 (21, 79).
        message: What the game says: 256 bytes, padded with zeros.
        internal: The 9 numbers of NLE's `internal`: entry 4 tells whether the player stands on stairs down, 7 its
            nutrition.
    """

    stats: list[int]
    glyphs: np.ndarray
    message: bytes
    internal: list[int]


@dataclass(frozen=True)
class Task:
    """One task. A step's reward is a function of the situations before and after it and of what was there before.

    Attributes:
        name: Its name in `TASKS`.
        pays: `(before, now, memory) -> reward`; `memory` is a dict, empty when an episode begins. None: nothing.
        solved: `(now) -> bool`: whether this solves the task. None: there is nothing to solve.
        success_reward: Paid once an episode, when it is solved.
        failure_reward: Paid at death and at the time limit.
        ends: Whether solving it ends the episode; False in the continual forms.
        penalty_step: Added on every step during which the game's clock stands still.
        prompts: What is done about questions for food, as in `make_game`.
        options: NetHack's options, where they are not NLE's.
    """

    name: str
    pays: Callable[[Situation, Situation, dict], float] | None = None
    solved: Callable[[Situation], bool] | None = None
    success_reward: float = 0.0
    failure_reward: float = 0.0
    ends: bool = True
    penalty_step: float = 0.0
    prompts: str = "confirm"
    options: tuple[str, ...] | None = None

    def reward(self, before: Situation, now: Situation, memory: dict, done_already: bool) -> tuple[float, bool, bool]:
        """What a step pays that did not end in death, the time penalty left out.

        Args:
            before: The situation it began in.
            now: The one it led to.
            memory: Of this episode; `pays` may write into it.
            done_already: Whether the task has been solved in this episode.

        Returns:
            The reward, whether the task has been solved by now, whether this step solved it.
        """
        reward = float(self.pays(before, now, memory)) if self.pays is not None else 0.0
        if done_already or self.solved is None or not self.solved(now):
            return reward, done_already, False
        return reward + self.success_reward, True, True


def score_gain(before: Situation, now: Situation, memory: dict) -> int:
    """Points won in this step."""
    return now.stats[_SCORE] - before.stats[_SCORE]


def gold_gain(before: Situation, now: Situation, memory: dict) -> int:
    """Gold pieces won in this step; lost ones are negative."""
    return now.stats[_GOLD] - before.stats[_GOLD]


def nutrition_gain(before: Situation, now: Situation, memory: dict) -> int:
    """How far the nutrition rose in this step; a fall pays nothing."""
    return max(0, now.internal[_NUTRITION] - before.internal[_NUTRITION])


def cells_gain(before: Situation, now: Situation, memory: dict) -> int:
    """Cells of this level known now, less those known at the last look at it: all of them at the first."""
    level = (now.stats[_DUNGEON], now.stats[_LEVEL])
    known = int(np.count_nonzero(now.glyphs != nethack.GLYPH_CMAP_OFF))
    gain, memory[level] = known - memory.get(level, 0), known
    return gain


def descended_to(level: int) -> Callable[[Situation], bool]:
    """Whether the game just said that the stairs were descended, and the player is on this level of its dungeon."""

    def solved(now: Situation) -> bool:
        return now.stats[_LEVEL] == level and STAIRS_TEXT in now.message

    return solved


def on_stairs_down(now: Situation) -> bool:
    """Whether the player stands on stairs down."""
    return bool(now.internal[_ON_STAIRS_DOWN])


def beside_oracle(now: Situation) -> bool:
    """Whether the Oracle is drawn in one of the 3 x 3 cells around the player."""
    x, y = now.stats[_X], now.stats[_Y]
    around = now.glyphs[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
    return bool((around == ORACLE_GLYPH).any())


def beside_oracle_sober(now: Situation) -> bool:
    """The same without hallucinating, in which any monster may be drawn as the Oracle.

    Departs from ONI's code, which compares the conditions with 512: hallucinating AND blind or stunned would pass
    there.
    """
    return not now.stats[_CONDITION] & nethack.BL_MASK_HALLU and beside_oracle(now)


def _of_oni() -> dict[str, Task]:
    conditions: dict[str, Callable[[Situation], bool]] = {
        f"staircase_level_{level}": descended_to(level) for level in (2, 3, 4)
    }
    conditions |= {"oracle": beside_oracle, "oracle_sober": beside_oracle_sober}
    tasks = {"score": Task("score", score_gain, penalty_step=-0.01), "reward_free": Task("reward_free")}
    for name, condition in conditions.items():
        for called, ends in ((name, True), (f"{name}_continual", False)):
            tasks[called] = Task(called, solved=condition, success_reward=50.0, ends=ends)
    return tasks


def _of_nle() -> dict[str, Task]:
    only_gold = tuple("pickup_types:$" if text.startswith("pickup_types") else text for text in nethack.NETHACKOPTIONS)
    common = {"penalty_step": -0.01, "prompts": "open"}
    return {
        "staircase": Task("staircase", solved=on_stairs_down, success_reward=1.0, **common),
        "scout": Task("scout", cells_gain, **common),
        "gold": Task("gold", gold_gain, options=only_gold, **common),
        "eat": Task("eat", nutrition_gain, **common),
    }


TASKS: Mapping[str, Task] = _of_oni() | _of_nle()
"""Tasks by name. Of ONI: score, reward-free, stairs to level 2, 3, 4, Oracle, Oracle while sober, the last five also
without an end at success (`..._continual`). Of NLE: staircase, scout, gold, eat."""

_INVENTORY = re.compile(rb"What do you want to (?:eat|drink)\?")
_FOOD = re.compile(rb"What do you want to (?:eat|drink)\?|; eat (?:it|one)\?")
_CONTINUE = re.compile(rb"(?:Continue|Stop) eating\?")
_FIRST_ALLOWED = re.compile(rb"\[([a-zA-Z])")


def asks_for_food(message: bytes, *, inventory_only: bool = False) -> bool:
    """Whether the game asks what to eat or drink: of what is carried, or (not `inventory_only`) of what lies here."""
    return (_INVENTORY if inventory_only else _FOOD).search(message) is not None


def asks_to_continue(message: bytes) -> bool:
    """Whether the game asks a player who is nearly full whether to go on eating."""
    return _CONTINUE.search(message) is not None


def answer_to(message: bytes) -> int:
    """The key of the first thing that a question such as `... eat? [fgi or ?*]` allows; a space if it allows none."""
    first = _FIRST_ALLOWED.search(message)
    return first.group(1)[0] if first else ord(" ")


def find_task(name: str) -> Task:
    """The task of this name.

    Raises:
        ValueError: If there is none; the message lists all.
    """
    check_choice("task", name, tuple(TASKS))
    return TASKS[name]
