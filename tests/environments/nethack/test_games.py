"""Games of NetHack behind gymnasium's interface: NLE's own where NLE is right, the promises kept where it is not."""

import copy
import re
import time

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from environments.nethack.games import OBSERVATION_KEYS, make_game
from environments.nethack.minihack import MiniHackGame, make_minihack
from environments.nethack.tasks import ACTIONS, TASKS
from tests.environments.nethack.raw import EAST, EAT, MORE, SOUTH, episode, raw_game, same, text

OF_NLE = {
    "score": "NetHackScore-v0",
    "staircase": "NetHackStaircase-v0",
    "scout": "NetHackScout-v0",
    "gold": "NetHackGold-v0",
    "eat": "NetHackEat-v0",
}
LEVELS = [
    "MiniHack-Room-5x5-v0",
    "MiniHack-Room-Ultimate-5x5-v0",
    "MiniHack-Corridor-R2-v0",
    "MiniHack-Eat-v0",
    "MiniHack-KeyRoom-S5-v0",
    "MiniHack-Quest-Easy-v0",
]


def compare(game, raw, seed, steps):
    """Play both alike and hold every observation, reward and end against one another; the last step's number."""
    ours, theirs = game.reset()[0], raw.reset()[0]
    rng = np.random.default_rng(seed)
    for count in range(steps):
        assert same(ours, theirs) or b"You descend the stairs" in text(ours), count
        action = int(rng.integers(game.action_space.n))
        ours, reward, terminated, truncated, info = game.step(action)
        theirs, expected, done, _, _ = raw.step(action)
        assert reward == pytest.approx(expected, abs=1e-12), (count, info)
        assert done == (terminated or truncated), (count, info)
        if done:
            return count
    return steps


@pytest.mark.parametrize(("task", "name"), OF_NLE.items())
def test_plays_and_pays_as_nle_does(task, name):
    """Whole games of a random player: 4 dies after 477 steps; 1 descends, with a page that only we keep."""
    for seed in (1, 4) if task == "score" else (4,):
        game = make_game(task, seed=seed, prompts="open")
        compare(game, raw_game(name, seed), seed, 600)
        game.close()


@pytest.mark.parametrize("name", LEVELS)
def test_plays_and_pays_as_minihack_does(name):
    game = make_game(f"minihack/{name}", seed=0)
    assert compare(game, raw_game(name, 0), 0, 600) < 600  # to the end, of whatever kind
    game.close()


def test_options_of_the_game_are_nles():
    """Of the gold task too, in which gold alone is picked up by walking over it."""
    for task, name in OF_NLE.items():
        assert make_game(task)._game.options == raw_game(name).nethack.options


def test_interface_is_gymnasiums():
    game = make_game("score", episode_steps=50)
    check_env(game, skip_render_check=True)
    observation, info = game.reset(seed=1)
    assert tuple(observation) == OBSERVATION_KEYS and observation in game.observation_space
    assert info == {"end_status": "running", "blank_observation": False, "success": False, "frozen": False}


@pytest.mark.parametrize(
    "task", ["score", "oracle", "minihack/MiniHack-Room-Random-5x5-v0", "minihack/MiniHack-KeyRoom-S5-v0"]
)
def test_same_seed_same_game(task):
    def played(seed):
        game = make_game(task, episode_steps=150)
        rng = np.random.default_rng(7)
        first = episode(game, rng, seed=seed)
        second = episode(game, rng)  # no seed: it goes on with its own generator
        game.close()
        return first, second

    (one, two), (one_again, two_again), (other, _) = played(3), played(3), played(4)
    for left, right in ((one, one_again), (two, two_again)):
        assert len(left[0]) == len(right[0]) and all(map(same, left[0], right[0]))
        assert left[1:] == right[1:]
    assert not same(one[0][0], two[0][0]) and not same(one[0][0], other[0][0])


def test_seed_of_the_maker_is_that_of_the_first_reset_only():
    made, reset = make_game("score", seed=5), make_game("score")
    first = made.reset()[0]
    assert same(first, reset.reset(seed=5)[0])
    second = made.reset()[0]
    assert not same(first, second) and same(second, reset.reset()[0])
    assert same(make_game("score", seed=5).reset(seed=6)[0], reset.reset(seed=6)[0])  # a seed given to reset wins


def test_seed_after_other_games_is_the_same_game():
    game = make_game("score", episode_steps=100)
    first = episode(game, np.random.default_rng(0), seed=9)
    for _ in range(3):
        episode(game, np.random.default_rng(1))
    again = episode(game, np.random.default_rng(0), seed=9)
    assert all(map(same, first[0], again[0])) and first[1] == again[1]


def test_two_games_in_one_process_do_not_meet():
    left, right, lone = (make_game("score", seed=2) for _ in range(3))
    a, b = left.reset()[0], right.reset()[0]
    actions = np.random.default_rng(0).integers(23, size=80).tolist()
    for action in actions:
        assert same(a, b)
        a, b = left.step(action)[0], right.step(action)[0]
    assert same(a, episode(lone, None, actions=actions, steps=80)[0][-1])


def test_level_seed_pins_the_dungeon_alone():
    def begun(seed, level_seed):
        game = make_game("score", seed=seed, level_seed=level_seed)
        observation, _ = game.reset()
        found = (observation["blstats"][:2].tobytes(), (observation["chars"] == ord("|")).tobytes())
        after = tuple(text(game.step(action)[0]) for action in np.random.default_rng(0).integers(23, size=200))
        game.close()
        return found, after

    starts, after = zip(*(begun(seed, 5) for seed in (1, 2, 3)), strict=True)
    assert len(set(starts)) == 1 and len(set(after)) == 3
    assert len({begun(seed, None)[0] for seed in (1, 2, 3)}) == 3


def test_penalty_is_paid_on_every_step_in_which_the_clock_stands():
    for given, expected in ((None, -0.01), (0, 0.0), (-0.5, -0.5)):
        game = make_game("score", seed=1, penalty_step=given)
        game.reset()
        for _ in range(3):  # MORE is no command outside a menu: no time passes
            _, reward, *_, info = game.step(MORE)
            assert info["frozen"] and reward == expected
        searches = [(info["frozen"], reward) for _, reward, *_, info in map(game.step, [22] * 12)]
        assert searches.count((False, 0.0)) >= 6  # searching takes time
        assert (
            searches.count((True, expected)) == 12 - searches.count((False, 0.0)) > 0
        )  # but a monk has moves to spare


def test_descending_pays_and_ends_a_real_game():
    """The first of these random players to take the stairs; the continual form pays the same once and goes on."""
    for seed in range(1, 40):
        observations, rewards, flags, info = episode(
            make_game("staircase_level_2", seed=seed, episode_steps=3000, prompts="open"), np.random.default_rng(seed)
        )
        if info["success"]:
            break
    assert rewards[-1] == 50.0 and not any(rewards[:-1]) and flags == (True, False)
    assert info["end_status"] == "task_successful" and not info["blank_observation"]
    assert b"You descend the stairs" in text(observations[-1])
    game = make_game("staircase_level_2_continual", seed=seed, episode_steps=len(rewards) + 200, prompts="open")
    _, longer, _, info = episode(game, np.random.default_rng(seed))
    assert longer[: len(rewards)] == rewards and len(longer) > len(rewards) and sum(longer) == 50.0
    assert info["success"] and info["end_status"] in ("aborted", "death")


@pytest.mark.parametrize("seed", [4])
def test_death_pays_nothing_and_ends(seed):
    for task in ("score", "scout", "staircase_level_3", "reward_free"):
        observations, rewards, flags, info = episode(
            make_game(task, seed=seed, prompts="open"), np.random.default_rng(seed)
        )
        assert flags == (True, False) and info["end_status"] == "death" and info["blank_observation"]
        assert rewards[-1] == 0.0 and not observations[-1]["message"].any()
        assert not any(np.shares_memory(observations[-1][key], observations[-2][key]) for key in OBSERVATION_KEYS)


def test_misuse_is_refused():
    game = make_game("score", seed=1, episode_steps=1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=re.escape("call reset() first")):
            game.step(0)
        game.reset()
        with pytest.raises(ValueError, match=re.escape("action is 23, expected 0 to 22")):
            game.step(23)
        with pytest.raises(ValueError, match="action is -1"):
            game.step(-1)
        assert game.step(0)[3]
    for closed in (game, make_game("minihack/MiniHack-KeyRoom-S5-v0")):
        closed.close()
        closed.close()
        with pytest.raises(RuntimeError, match="closed"):
            closed.reset()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"task": "scout2"}, ValueError, "task is 'scout2'"),
        ({"task": "minihack/MiniHack-Nowhere-v0"}, ValueError, "'MiniHack-Nowhere-v0', which is not registered"),
        ({"actions": "all"}, ValueError, "actions is 'all', expected one of 'task', 'extended'"),
        ({"prompts": "yes"}, ValueError, "prompts is 'yes', expected one of 'open', 'confirm', 'automatic'"),
        ({"episode_steps": 0}, ValueError, "episode_steps is 0"),
        ({"episode_steps": 10.0}, TypeError, "episode_steps is 10.0, expected a whole number"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"level_seed": 0.5}, TypeError, "level_seed is 0.5"),
        ({"character": "monk"}, ValueError, "character is 'monk', expected '@' or the like of 'val-dwa-law-fem'"),
        ({"penalty_step": float("nan")}, ValueError, "penalty_step is nan"),
        ({"task": "minihack/MiniHack-KeyRoom-S5-v0", "prompts": "confirm"}, ValueError, "rules of its own"),
    ],
)
def test_bad_arguments_are_named(given, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make_game(**{"task": "score"} | given)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("actions", ["task", "extended"])
def test_every_task_plays(task, actions):
    game = make_game(task, seed=1, actions=actions, episode_steps=40)
    _observations, rewards, (_, truncated), info = episode(game, np.random.default_rng(0))
    assert len(rewards) == 40 and truncated and info["end_status"] == "aborted"
    assert game.action_space.n == len(ACTIONS[actions])
    game.close()


def test_vectors_of_games_keep_each_one_apart():
    """gymnasium's own in-process vector: autoreset, seeds and all."""
    vector = SyncVectorEnv([lambda: make_game("score", episode_steps=20) for _ in range(3)])
    observations, _ = vector.reset(seed=[1, 2, 1])
    ends = 0
    for action in np.random.default_rng(0).integers(23, size=50).tolist():
        assert all(np.array_equal(observations[key][0], observations[key][2]) for key in OBSERVATION_KEYS)
        observations, _, _, truncated, _ = vector.step(np.full(3, action))
        ends += int(truncated.sum())
    assert ends == 6
    vector.close()


def test_what_is_asked_about_food():
    """A monk carries things to eat: left open, the question stands until a letter that no action types."""
    meals = {}
    for prompts in ("open", "confirm", "automatic"):
        game = make_game("score", seed=3, prompts=prompts)
        game.reset()
        asked = text(game.step(EAT)[0])
        meals[prompts] = game, asked
    opened, asked = meals["open"]
    assert re.match(rb"What do you want to eat\? \[\w+ or \?\*\]", asked)
    assert b"Never mind" in text(opened.step(MORE)[0])
    confirmed, asked_too = meals["confirm"]
    assert asked_too == asked
    before = confirmed._internal[7]
    confirmed.step(8)  # north-west: the "y" of yes
    assert confirmed._internal[7] > before + 100
    eaten, said = meals["automatic"]
    assert not said.startswith(b"What do you want") and eaten._internal[7] > before + 100


def test_confirm_declines_with_every_other_key():
    game = make_game("score", seed=3, prompts="confirm")
    game.reset()
    for action in (EAST, SOUTH, MORE, EAT):
        before = game.step(EAT)[0]["blstats"]
        observation, *_ = game.step(action)
        assert b"Never mind" in text(observation) and np.array_equal(observation["blstats"], before)


def test_automatic_meals_do_not_choke():
    """Eating at every step: a satiated player is no longer fed, and lives."""
    game = make_game("score", seed=3, prompts="automatic", episode_steps=400)
    _, _, flags, info = episode(game, None, actions=[EAT] * 400)
    assert flags == (False, True), info
    assert not any(b"choke" in text(o) for o in episode(game, None, actions=[EAT] * 400)[0])


@pytest.mark.parametrize("prompts", ["confirm", "automatic"])
def test_casting_takes_the_first_spell(prompts):
    game = make_game("score", seed=3, actions="extended", prompts=prompts)
    _observation, _ = game.reset()
    said = text(game.step(23)[0])
    assert said and b"Unknown" not in said, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "name", "least"),
    [("score", "NetHackScore-v0", 1.05), ("minihack/MiniHack-MazeWalk-9x9-v0", "MiniHack-MazeWalk-9x9-v0", 2.0)],
)
def test_steps_cost_less_than_those_of_the_packages(task, name, least):
    """Processor time of the same steps of the same games: copies, seeds and all are paid by what is not asked for."""

    def seconds(game):
        actions = np.random.default_rng(0).integers(game.action_space.n, size=1500).tolist()
        begun = time.process_time()
        for action in actions:
            *_, terminated, truncated, _ = game.step(action)
            if terminated or truncated:
                break
        return time.process_time() - begun

    pairs = []
    for _ in range(5):
        ours, theirs = make_game(task, seed=2, prompts="open"), raw_game(name, 2)
        ours.reset(), theirs.reset()
        pairs.append((seconds(ours), seconds(theirs)))
    spent, theirs = (min(times) for times in zip(*pairs, strict=True))
    assert least * spent < theirs, f"{spent:.4f} s, {theirs:.4f} s in the package"


def test_minihack_options():
    rooms = make_minihack("MiniHack-Room-Random-15x15-v0", seed=0, level_choices=[1, 2, 3])
    starts = {rooms.reset()[0]["chars"].tobytes() for _ in range(20)}
    assert len(starts) == 3
    paid = episode(
        make_minihack("MiniHack-Room-5x5-v0", seed=0, reward_win=7.0, penalty_step=0), np.random.default_rng(0)
    )
    assert paid[1][-1] == 7.0 and sum(paid[1]) == 7.0
    kicking = make_minihack("MiniHack-Room-5x5-v0", actions="navigation_kick_search")
    assert kicking.action_space.n == 10
    assert isinstance(make_minihack("MiniHack-KeyRoom-S5-v0"), MiniHackGame)


def test_observations_belong_to_the_caller():
    game = make_game("score", seed=1)
    first, _ = game.reset()
    kept = copy.deepcopy(first)
    for array in game.step(22)[0].values():
        array[...] = 0
    assert same(first, kept)
    assert game.step(22)[0]["blstats"][20] > 0
