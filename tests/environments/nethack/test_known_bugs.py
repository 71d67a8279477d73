"""Each bug of NLE and MiniHack: shown in the package as it is, and not to be seen in ours."""

import ast
import importlib.metadata
import pathlib
import random
import resource
import time
import tomllib

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from packaging.version import Version

from environments.nethack.games import BUFFERS, OBSERVATION_KEYS, Game, make_game
from environments.nethack.known_bugs import KNOWN_BUGS
from environments.nethack.minihack import MiniHackGame, make_minihack
from environments.nethack.tasks import ACTIONS, TASKS
from tests.environments.nethack.raw import EAST, episode, raw_game, same, text

HERE = pathlib.Path(__file__).parent


def test_every_known_bug_has_its_test():
    functions = {
        f"{path.name}::{node.name}"
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert not {bug.test for bug in KNOWN_BUGS} - functions
    assert len({bug.name for bug in KNOWN_BUGS}) == len(KNOWN_BUGS)


def starts(game, *seeds):
    return [game.reset(seed=seed)[0]["chars"].tobytes() for seed in seeds]


def test_reset_takes_its_seed():
    assert len(set(starts(raw_game("NetHackScore-v0"), 0, 0, 0))) == 3  # the bug
    assert len(set(starts(make_game("score"), 0, 0, 0))) == 1


def test_later_games_are_seeded_too():
    raw = raw_game("NetHackScore-v0", seed=0)
    raw.reset()
    assert raw.get_seeds()[2] is False
    raw.reset()
    assert raw.get_seeds()[2] is True  # the bug: reseeding, which no seed can repeat
    game = make_game("score", seed=0)
    for _ in range(3):
        game.reset()
        assert game._game.get_current_seeds()[2] is False
    assert starts(make_game("score"), 0, None, None) == starts(make_game("score"), 0, None, None)


def test_moon_comes_from_the_seed():
    """Full moon tonight, whatever the night is: the first message of some seeds says so, and always the same."""
    game = make_game("score")
    said = [[text(game.reset(seed=seed)[0]) for seed in range(12)] for _ in range(2)]
    assert said[0] == said[1]
    assert sum(b"moon" in message for message in said[0]) not in (0, 12)


def test_observations_stay_as_they_were():
    raw = raw_game("NetHackScore-v0", seed=0)
    before, _ = raw.reset()
    assert all(np.shares_memory(before[key], raw.step(1)[0][key]) for key in OBSERVATION_KEYS)  # the bug
    for game in (make_game("score", seed=0), make_game("minihack/MiniHack-KeyRoom-S5-v0", seed=0)):
        observations, *_ = episode(game, np.random.default_rng(0), steps=5)
        arrays = [observation[key] for observation in observations for key in OBSERVATION_KEYS]
        assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_time_limit_is_a_truncation():
    raw = raw_game("NetHackScore-v0", seed=0, steps=5)
    _, rewards, flags, _ = episode(raw, np.random.default_rng(0))
    assert len(rewards) == 5 and flags[0]  # the bug: terminated
    for task in ("score", "minihack/MiniHack-Room-Random-15x15-v0", "minihack/MiniHack-KeyRoom-S5-v0"):
        _, rewards, flags, info = episode(make_game(task, seed=0, episode_steps=5), np.random.default_rng(0))
        assert len(rewards) == 5 and flags == (False, True) and info["end_status"] == "aborted"


def test_success_in_the_last_step_is_paid():
    room = "MiniHack-Room-5x5-v0"
    _, rewards, _flags, info = episode(make_game(f"minihack/{room}", seed=2), np.random.default_rng(2))
    assert info["success"] and rewards[-1] == 1.0
    raw = raw_game(room, seed=2, steps=len(rewards))
    _, unpaid, _, told = episode(raw, np.random.default_rng(2))
    assert len(unpaid) == len(rewards) and unpaid[-1] == 0.0 and int(told["end_status"]) == -1  # the bug
    exactly = make_game(f"minihack/{room}", seed=2, episode_steps=len(rewards))
    assert episode(exactly, np.random.default_rng(2))[1:] == (rewards, (True, False), info)


def test_last_observation_is_not_blank():
    raw = raw_game("NetHackScore-v0", seed=4)
    observations, *_ = episode(raw, np.random.default_rng(4))
    assert not observations[-1]["blstats"].any() and not observations[-1]["message"].any()  # the bug
    dead, _, flags, info = episode(make_game("score", seed=4, prompts="open"), np.random.default_rng(4))
    assert flags == (True, False) and info["blank_observation"] and not dead[-1]["message"].any()
    assert all(np.array_equal(dead[-1][key], dead[-2][key]) for key in ("glyphs", "chars", "blstats"))
    assert dead[-1]["blstats"].any() and text(dead[-2])
    cut, *_, info = episode(make_game("score", seed=4, episode_steps=476, prompts="open"), np.random.default_rng(4))
    assert not info["blank_observation"] and same(cut[-1], dead[-2])  # an ordinary one


def test_last_observation_of_a_success_is_not_blank():
    raw, _, _, told = episode(raw_game("MiniHack-Room-5x5-v0", seed=2), np.random.default_rng(2))
    assert int(told["end_status"]) == 2 and not raw[-1]["blstats"].any()  # the bug
    with_its_own_python = MiniHackGame(raw_game("MiniHack-Room-5x5-v0"), episode_steps=100, seed=2)
    for game in (make_game("minihack/MiniHack-Room-5x5-v0", seed=2), with_its_own_python):
        seen, rewards, flags, info = episode(game, np.random.default_rng(2))
        assert info["success"] and not info["blank_observation"] and seen[-1]["blstats"][20] > 0
        assert rewards[-1] == 1.0 and flags == (True, False)


def test_penalty_forgets_the_last_episode():
    name = "MiniHack-KeyRoom-S5-v0"

    def frozen_steps(game, raw=None):
        first = episode(game, None, actions=[9] * 4, steps=4)[1]  # nothing to apply: time stands still
        if raw is not None:
            raw.seed(1, 1, reseed=False)
        return first, episode(game, None, actions=[9] * 4, steps=4)[1]

    raw = raw_game(name, seed=0, penalty_mode="linear")
    first, second = frozen_steps(raw, raw)
    assert first != second  # the bug: it goes on counting
    game = MiniHackGame(raw_game(name, penalty_mode="linear"), episode_steps=4, seed=0)
    first, second = frozen_steps(game)
    assert first == second == pytest.approx([-0.01, -0.02, -0.03, -0.04])


def test_page_about_the_stairs_is_kept():
    """In this game the stairs are descended onto a page that NLE turns before it shows it."""
    game = make_game("score", seed=1, prompts="open")
    observations, *_ = episode(game, np.random.default_rng(1), steps=600)
    raw, *_ = episode(raw_game("NetHackScore-v0", seed=1), np.random.default_rng(1), steps=600, copies=True)
    kept = [step for step, observation in enumerate(observations) if text(observation) == b"You descend the stairs."]
    assert kept, "another game than the one this test was written for"
    first = kept[0]
    assert b"descend" not in text(raw[first])  # the bug
    assert observations[first]["blstats"][12] == observations[first - 1]["blstats"][12] + 1
    assert all(
        same(ours, theirs)
        for step, (ours, theirs) in enumerate(zip(observations, raw, strict=True))
        if step not in kept
    )


def resident():
    """Megabytes held in memory by this process."""
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_is_flat():
    """200,000 steps of short games: only the 2 kB or so that every reset of NLE leaves behind."""
    game = make_game("score", seed=0, episode_steps=200)
    actions = np.random.default_rng(0).integers(23, size=200_000).tolist()
    game.reset()
    resets, begun = 0, None
    for step, action in enumerate(actions):
        if step == 20_000:
            begun, resets = resident(), 0
        *_, terminated, truncated, _ = game.step(action)
        if terminated or truncated:
            game.reset()
            resets += 1
    grown = resident() - begun
    assert grown < 1 + resets * 0.005, f"{grown:.1f} MB over {resets} resets"


@pytest.mark.slow
def test_one_process_beats_many():
    def seconds(kind, steps):
        vector = kind([lambda: make_game("score", episode_steps=500) for _ in range(2)])
        vector.reset(seed=0)
        actions = np.random.default_rng(0).integers(23, size=(steps, 2))
        begun = time.perf_counter()
        for action in actions:
            vector.step(action)
        elapsed = time.perf_counter() - begun
        vector.close()
        return elapsed

    in_one, in_many = (min(seconds(kind, 600) for _ in range(2)) for kind in (SyncVectorEnv, AsyncVectorEnv))
    assert in_many > 1.2 * in_one, f"one process {in_one:.2f} s, two {in_many:.2f} s"


def test_setuptools_is_old_enough_for_minihack():
    """The pin of the extra, and that MiniHack imports with it (every other test here would fail too)."""
    import minihack  # noqa: F401

    assert Version(importlib.metadata.version("setuptools")) < Version("81")
    project = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "setuptools<81" in project["optional-dependencies"]["nethack"]


def test_levels_are_drawn_from_the_environments_generator():
    name = "MiniHack-Room-Random-15x15-v0"

    def drawn(game, before):
        random.seed(before)
        return [game.reset(seed=0)[0]["chars"].tobytes(), *starts(game, *[None] * 7)]

    raw = raw_game(name, seeds=[1, 2, 3])
    assert drawn(raw, 0) != drawn(raw, 1)  # the bug: the global state decides
    game = make_minihack(name, level_choices=[1, 2, 3])
    assert drawn(game, 0) == drawn(game, 1)
    assert drawn(MiniHackGame(raw, episode_steps=5), 0) == drawn(MiniHackGame(raw, episode_steps=5), 1)


def test_what_levels_draw_themselves_is_seeded():
    """Some levels call Python's global `random` in their reset: it is seeded there, and left as it was."""
    level = raw_game("MiniHack-Room-5x5-v0")
    reset, draws = level.reset, []
    level.reset = lambda: (draws.append(random.random()), reset())[1]
    game = MiniHackGame(level, episode_steps=5)
    state = random.getstate()
    for seed in (1, 1, 2):
        game.reset(seed=seed)
    assert draws[0] == draws[1] != draws[2] and random.getstate() == state


def test_mazes_of_minigrid_are_seeded():
    name = "MiniHack-MultiRoom-N2-v0"
    with pytest.raises(AttributeError, match="seed"):
        raw_game(name).seed(1, 2, False)  # the bug
    game = make_game(f"minihack/{name}")
    one, again, other = starts(game, 1, 1, 2)
    assert one == again != other


def test_crossings_are_refused_with_a_reason():
    with pytest.raises(AssertionError):
        raw_game("MiniHack-SimpleCrossingS9N1-v0")  # the bug
    for name in ("MiniHack-SimpleCrossingS9N1-v0", "MiniHack-Navigation-Custom-v0"):
        with pytest.raises(ValueError, match=f"MiniHack cannot build '{name}'"):
            make_game(f"minihack/{name}")


def test_plain_levels_fill_in_what_is_returned():
    name = "MiniHack-Room-Random-15x15-v0"
    raw = raw_game(name, seed=0)
    raw.reset()
    assert raw.nethack._obs_buffers["tty_chars"].any()  # the bug: nobody asked for it
    game = make_game(f"minihack/{name}", seed=0)
    game.reset()
    unasked = {key: array for key, array in game._game._obs_buffers.items() if key not in BUFFERS}
    assert unasked and not any(array.any() for array in unasked.values())


def test_timeout_pays_what_losing_costs():
    name = "MiniHack-Room-Random-15x15-v0"
    raw = TimeLimit(raw_game(name, seed=0, reward_lose=-1.0), 5)
    assert sum(episode(raw, None, actions=[EAST] * 5)[1]) > -1.0  # the bug
    for level in (name, "MiniHack-KeyRoom-S5-v0"):
        game = make_minihack(level, seed=0, episode_steps=5, reward_lose=-1.0, penalty_step=0)
        _, rewards, flags, _ = episode(game, None, actions=[0] * 5)
        assert rewards == [0.0] * 4 + [-1.0] and flags == (False, True)


def test_the_oracle_herself_and_a_hallucinating_visitor():
    """A real Oracle in a small room: reaching her pays; not so for a player who drank on the way."""
    from minihack import LevelGenerator

    room = LevelGenerator(w=7, h=5, lit=True)
    room.add_monster("Oracle", "@", place=(5, 2), args=("peaceful", "asleep"))
    room.add_object("hallucination", "!", place=(1, 2))
    room.set_start_pos((0, 2))
    level = raw_game(
        "MiniHack-Navigation-Custom-v0",
        des_file=room.get_des(),
        actions=ACTIONS["extended"],
        character="cav-hum-neu-mal",
        observation_keys=OBSERVATION_KEYS,
    )
    common = {"actions": ACTIONS["extended"], "episode_steps": 50, "penalty_step": 0.0, "prompts": "automatic"}
    game = Game(level.nethack, TASKS["oracle"], owner=level, **common)
    _, rewards, flags, info = episode(game, None, seed=0, actions=[2] * 20)
    assert rewards == [0.0, 0.0, 0.0, 50.0] and flags == (True, False) and info["success"]
    sober = Game(level.nethack, TASKS["oracle_sober"], owner=level, **common)
    drinks = [2, 24, 2, 2, 2]  # picks it up, quaffs, walks on
    observations, rewards, flags, _ = episode(sober, None, seed=0, actions=drinks, steps=5)
    assert observations[2]["blstats"][25] & 512
    x, y = observations[-1]["blstats"][:2] - observations[0]["blstats"][:2]
    assert (x, y) == (4, 0) and rewards == [0.0] * 5 and flags == (False, False)
