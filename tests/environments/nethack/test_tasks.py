"""Rewards and conditions of the NetHack tasks, as functions of what is seen."""

import re

import numpy as np
import pytest
from nle import nethack

from environments.nethack.tasks import (
    ACTIONS,
    ORACLE_GLYPH,
    TASKS,
    Situation,
    answer_to,
    asks_for_food,
    asks_to_continue,
    find_task,
)

DESCENDED = b"You descend the stairs."
STAIRCASES = [(f"staircase_level_{level}{form}", level) for level in (2, 3, 4) for form in ("", "_continual")]


def situation(*, message=b"", glyphs=None, on_stairs=0, nutrition=900, **stats):
    """A moment of a game: the player at (x, y) = (10, 5) unless said otherwise."""
    names = {"x": 0, "y": 1, "score": 9, "gold": 13, "time": 20, "dungeon": 23, "level": 24, "condition": 25}
    numbers = [0] * 27
    for name, value in ({"x": 10, "y": 5, "time": 1, "level": 1} | stats).items():
        numbers[names[name]] = value
    internal = [1, 0, 0, 0, on_stairs, 0, 0, nutrition, 0]
    if glyphs is None:
        glyphs = np.full((21, 79), nethack.GLYPH_CMAP_OFF, np.int16)
    return Situation(numbers, glyphs, message.ljust(256, b"\0"), internal)


def step(name, before, now, memory=None, done=False):
    return TASKS[name].reward(before, now, {} if memory is None else memory, done)


def oracle_at(*cells):
    glyphs = np.full((21, 79), nethack.GLYPH_CMAP_OFF, np.int16)
    for x, y in cells:
        glyphs[y, x] = ORACLE_GLYPH
    return glyphs


@pytest.mark.parametrize(("name", "level"), STAIRCASES)
def test_staircase_pays_fifty_once_for_the_right_level(name, level):
    there = situation(message=DESCENDED, level=level)
    assert step(name, situation(), there) == (50.0, True, True)
    assert step(name, situation(), there, done=True) == (0.0, True, False)
    for short in (situation(message=b"Hello", level=level), situation(message=DESCENDED, level=level + 1), situation()):
        assert step(name, situation(), short) == (0.0, False, False)
    assert TASKS[name].ends is not name.endswith("_continual")


def test_staircase_looks_at_the_number_of_the_level_in_its_dungeon():
    """Level 3 of the Mines is a level 3 too; the depth (entry 12) is not asked."""
    mines = situation(message=DESCENDED, level=3, dungeon=2)
    mines.stats[nethack.NLE_BL_DEPTH] = 5
    assert step("staircase_level_3", situation(), mines)[0] == 50.0


@pytest.mark.parametrize("name", ["oracle", "oracle_continual", "oracle_sober", "oracle_sober_continual"])
def test_oracle_pays_in_the_three_by_three_around_the_player(name):
    for x in range(8, 13):
        for y in range(3, 8):
            near = abs(x - 10) <= 1 and abs(y - 5) <= 1
            reward, _, solved = step(name, situation(), situation(glyphs=oracle_at((x, y))))
            assert (reward, solved) == ((50.0, True) if near else (0.0, False)), (x, y)
    assert step(name, situation(), situation(glyphs=oracle_at((10, 5))), done=True)[0] == 0.0


def test_oracle_at_the_edge_of_the_map():
    """In row 0 and column 0 the 3 x 3 is cut off, and does not wrap around to the other side."""
    assert step("oracle", situation(), situation(x=0, y=0, glyphs=oracle_at((1, 1))))[0] == 50.0
    assert step("oracle", situation(), situation(x=0, y=0, glyphs=oracle_at((78, 20))))[0] == 0.0


@pytest.mark.parametrize("others", [0, nethack.BL_MASK_BLIND, nethack.BL_MASK_STUN])
def test_only_the_sober_form_asks_for_sobriety(others):
    seen = {"glyphs": oracle_at((11, 5))}
    hallucinating = situation(condition=nethack.BL_MASK_HALLU | others, **seen)
    assert step("oracle", situation(), hallucinating)[0] == 50.0
    assert step("oracle_sober", situation(), hallucinating)[0] == 0.0
    assert step("oracle_sober", situation(), situation(condition=others, **seen))[0] == 50.0


def test_the_oracles_glyph_is_the_oracles():
    assert nethack.permonst(nethack.glyph_to_mon(ORACLE_GLYPH)).mname == "Oracle"


def test_score_is_the_gain_and_reward_free_is_free():
    before, now = situation(score=20), situation(score=71)
    assert step("score", before, now) == (51.0, False, False)
    assert step("reward_free", before, now) == (0.0, False, False)


def test_gold_counts_what_is_lost():
    assert step("gold", situation(gold=30), situation(gold=12))[0] == -18.0


def test_eat_pays_rises_only():
    assert step("eat", situation(nutrition=900), situation(nutrition=1700))[0] == 800.0
    assert step("eat", situation(nutrition=900), situation(nutrition=899))[0] == 0.0


def test_scout_keeps_one_count_a_level():
    def seen(cells, **where):
        glyphs = np.full((21, 79), nethack.GLYPH_CMAP_OFF, np.int16)
        glyphs.flat[:cells] = 0
        return situation(glyphs=glyphs, **where)

    memory = {}
    visits = [(seen(30), 30), (seen(35), 5), (seen(10, level=2), 10), (seen(36), 1), (seen(12, level=2, dungeon=2), 12)]
    visits.append((seen(33), -3))  # what is forgotten is taken back
    for now, gain in visits:
        assert step("scout", situation(), now, memory)[0] == gain


def test_staircase_of_nle_is_solved_by_standing_there():
    assert step("staircase", situation(), situation(on_stairs=1)) == (1.0, True, True)
    assert step("staircase", situation(), situation(message=DESCENDED, level=2)) == (0.0, False, False)


def test_time_penalties_are_those_of_the_sources():
    with_penalty = {name for name, task in TASKS.items() if task.penalty_step == -0.01}
    assert with_penalty == {"score", "staircase", "scout", "gold", "eat"}
    assert all(task.penalty_step == 0 for name, task in TASKS.items() if name not in with_penalty)


def test_sets_of_keys():
    assert {name: len(keys) for name, keys in ACTIONS.items()} == {
        "task": 23,
        "extended": 28,
        "navigation": 8,
        "navigation_kick_search": 10,
    }
    assert ACTIONS["extended"][:23] == ACTIONS["task"]
    command = nethack.Command
    assert ACTIONS["extended"][23:] == (command.CAST, command.QUAFF, command.PRAY, command.PICKUP, command.PAY)
    assert ACTIONS["navigation"] == ACTIONS["task"][1:9]  # after MORE: N E S W NE SE SW NW
    assert bytes(ACTIONS["navigation"]) == b"kljhunby"


def test_task_keys_are_those_of_nle():
    from nle.env.tasks import TASK_ACTIONS

    assert ACTIONS["task"] == tuple(TASK_ACTIONS)


@pytest.mark.parametrize(
    ("message", "carried", "lying", "key"),
    [
        (b"What do you want to eat? [fgi or ?*] ", True, False, b"f"),
        (b"What do you want to drink? [e or ?*] ", True, False, b"e"),
        (b"What do you want to eat? [a-dK or ?*] ", True, False, b"a"),
        (b"What do you want to eat? [*] ", True, False, b" "),
        (b"There is a newt corpse here; eat it? [ynq] (n) ", False, True, b"y"),
        (b"There are 2 apples here; eat one? [ynq] (n) ", False, True, b"y"),
        (b"Really attack the great dane? [yn] (n) ", False, False, b"y"),
        (b"What do you want to wear? [bc or ?*] ", False, False, b"b"),
        (b"Drink from the fountain? [yn] (n) ", False, False, b"y"),
        (b"", False, False, b" "),
    ],
)
def test_questions_about_food(message, carried, lying, key):
    assert asks_for_food(message) == (carried or lying)
    assert asks_for_food(message, inventory_only=True) == carried
    assert answer_to(message) == key[0]


def test_questions_of_the_nearly_full():
    assert asks_to_continue(b"Continue eating? [yn] (n) ") and asks_to_continue(b"Stop eating? [yn] (n) ")
    assert not asks_to_continue(b"What do you want to eat? [f or ?*] ")


def test_unknown_task_names_the_known_ones():
    with pytest.raises(ValueError, match=re.escape("task is 'scores', expected one of 'score', 'reward_free'")):
        find_task("scores")


def test_every_task_goes_by_its_name():
    assert all(task.name == name for name, task in TASKS.items())
    assert set(TASKS) == {"score", "reward_free", "staircase", "scout", "gold", "eat"} | {
        f"{name}{form}"
        for name in ("oracle", "oracle_sober", *(f"staircase_level_{level}" for level in (2, 3, 4)))
        for form in ("", "_continual")
    }
