"""What NLE 1.3 and MiniHack 1.0.2 do that a user of gymnasium does not expect, in one place: cause, cure, test.

Each bug is cured in `games.py`, `minihack.py` or `tasks.py`; where that is possible the test first shows the bug in the
package itself, so that it fails when the package mends it and the cure can go.
"""

from dataclasses import dataclass

__all__ = ["KNOWN_BUGS", "KnownBug"]


@dataclass(frozen=True)
class KnownBug:
    """One of them.

    Attributes:
        name: A handle.
        package: "nle", "minihack", "gymnasium" or "oni": whose it is.
        what: What goes wrong, and why.
        cure: What is done about it here; what is left, if anything.
        test: Where it is shown and its cure tested, as `file::function` below tests/environments/nethack.
    """

    name: str
    package: str
    what: str
    cure: str
    test: str


KNOWN_BUGS: tuple[KnownBug, ...] = (
    KnownBug(
        "ignored seed",
        "nle",
        "reset(seed=s) seeds a generator that the game never asks: three resets, three games (nle issue 131).",
        "NetHack's seeds are drawn from that generator.",
        "test_known_bugs.py::test_reset_takes_its_seed",
    ),
    KnownBug(
        "seeds last one game",
        "nle",
        "After seed() only the next reset is seeded; those after it draw new seeds and reseed in mid-game.",
        "Seeds are set, with reseeding off, before every reset.",
        "test_known_bugs.py::test_later_games_are_seeded_too",
    ),
    KnownBug(
        "clock",
        "nle",
        "The moon's phase, Friday the 13th and the night come from the machine's clock (nle issues 113, 129, 130).",
        "fix_moon_phase=True takes them from the seed. The game's birthday still is the clock's: shopkeepers' names "
        "and small surcharges may differ between two days.",
        "test_known_bugs.py::test_moon_comes_from_the_seed",
    ),
    KnownBug(
        "reused buffers",
        "nle",
        "Every step writes into the arrays that the last one returned.",
        "What is returned is a copy.",
        "test_known_bugs.py::test_observations_stay_as_they_were",
    ),
    KnownBug(
        "time limit called an end",
        "nle",
        "The game stops itself after max_episode_steps and says terminated; a TimeLimit wrapper adds a second limit.",
        "The limit is the environment's own: truncated, never terminated; the game itself is not told to quit.",
        "test_known_bugs.py::test_time_limit_is_a_truncation",
    ),
    KnownBug(
        "success at the limit lost",
        "nle",
        "A task solved in the very last step counts as aborted and is not paid.",
        "Success comes first.",
        "test_known_bugs.py::test_success_in_the_last_step_is_paid",
    ),
    KnownBug(
        "blank last observation",
        "nle",
        "The last observation of a finished game is blank: no map, all numbers 0, the inventory stale.",
        "At success and at the time limit games are left standing, so that their last observation is an ordinary one; "
        "at death the last one seen is repeated, without its message, and marked in info.",
        "test_known_bugs.py::test_last_observation_is_not_blank",
    ),
    KnownBug(
        "frozen steps kept over resets",
        "nle",
        "The counter behind the time penalty is not cleared by reset: a growing penalty begins where it was left.",
        "`Game` keeps no counter; `MiniHackGame` clears the level's.",
        "test_known_bugs.py::test_penalty_forgets_the_last_episode",
    ),
    KnownBug(
        "pages lost",
        "nle",
        "Where a message fills a page, NLE turns it and returns the next: 'You descend the stairs' may never be seen.",
        "That page is kept, as in ONI's code, whose tasks depend on it; the one after it is not shown then.",
        "test_known_bugs.py::test_page_about_the_stairs_is_kept",
    ),
    KnownBug(
        "memory",
        "nle",
        "Each reset leaves about 2 kB behind (facebookresearch/nle issue 337).",
        "Nothing can be done from outside: make the environment anew after some 100,000 short episodes.",
        "test_known_bugs.py::test_memory_is_flat",
    ),
    KnownBug(
        "pipes cost more than the game",
        "gymnasium",
        "AsyncVectorEnv sends every observation through a pipe, which takes longer than to play the step.",
        "Vectors of games run in one process.",
        "test_known_bugs.py::test_one_process_beats_many",
    ),
    KnownBug(
        "setuptools",
        "minihack",
        "MiniHack 1.0.2 imports pkg_resources, which setuptools 81 and later no longer bring.",
        "The extra `nethack` asks for setuptools below 81, and the error says so.",
        "test_known_bugs.py::test_setuptools_is_old_enough_for_minihack",
    ),
    KnownBug(
        "global random",
        "minihack",
        "Levels given by `seeds` are drawn with Python's global `random`.",
        "They are drawn from the environment's generator; what else uses `random` sees a seed and leaves no trace.",
        "test_known_bugs.py::test_levels_are_drawn_from_the_environments_generator",
    ),
    KnownBug(
        "unseeded mazes",
        "minihack",
        "seed() of the levels made with MiniGrid calls a method that gymnasium 1.x has removed.",
        "The seed goes to MiniGrid's reset.",
        "test_known_bugs.py::test_mazes_of_minigrid_are_seeded",
    ),
    KnownBug(
        "crossings",
        "minihack",
        "The crossings made with MiniGrid give it a width and a height that MiniGrid 3 no longer takes.",
        "None: the error says so.",
        "test_known_bugs.py::test_crossings_are_refused_with_a_reason",
    ),
    KnownBug(
        "all observations at every step",
        "minihack",
        "Whatever keys are asked for, all arrays are filled in, and copied twice.",
        "Levels with MiniHack's plain rule are played with the four arrays that are returned.",
        "test_known_bugs.py::test_plain_levels_fill_in_what_is_returned",
    ),
    KnownBug(
        "losing by timeout is free",
        "minihack",
        "reward_lose is not paid when a TimeLimit wrapper ends the episode (minihack issue 3).",
        "The limit pays it, as MiniHack's documentation says.",
        "test_known_bugs.py::test_timeout_pays_what_losing_costs",
    ),
    KnownBug(
        "hallucinated oracle",
        "oni",
        "Oracle pays for a hallucinated Oracle; the sober form lets pass who is blind or stunned as well.",
        "oracle_sober looks at the one bit.",
        "test_tasks.py::test_only_the_sober_form_asks_for_sobriety",
    ),
)
