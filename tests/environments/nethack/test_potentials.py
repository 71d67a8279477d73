import itertools

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from environments.nethack.games import make_game
from environments.nethack.potentials import (
    DepthPotential,
    EpisodeHistory,
    ExplorationPotential,
    HealthPotential,
    History,
    MaximalDepthPotential,
    ScorePotential,
)
from rewardlab.adapters.shaping_gymnasium import PotentialShaping, VectorPotentialShaping
from rewardlab.adapters.step_signals import RAW, SHAPING
from rewardlab.shaping.running import RunningShaping

DISCOUNT = 0.99
OF_THE_SCREEN = [DepthPotential(0.7), ScorePotential(2.0), HealthPotential(3.0)]
OF_THE_HISTORY = [MaximalDepthPotential(0.7), ExplorationPotential(0.002)]
UNSEEN = 2359


def status(**values):
    columns = {"score": 9, "hp": 10, "maximal_hp": 11, "depth": 12, "dungeon": 23, "level": 24}
    row = np.zeros(27, dtype=np.int64)
    for name, value in values.items():
        row[columns[name]] = value
    return row


def screens(rows, cells=None):
    """Observations whose maps have so many cells seen."""
    glyphs = np.full((len(rows), 21 * 79), UNSEEN, dtype=np.int16)
    for row, seen in zip(glyphs, cells or [0] * len(rows), strict=True):
        row[:seen] = 2378
    return {"blstats": np.stack(rows), "glyphs": glyphs.reshape(-1, 21, 79)}


def test_worked_numbers():
    seen = screens([status(score=19, hp=6, maximal_hp=12, depth=4), status()])
    seen["history"] = np.array([[7, 300], [0, 0]])
    np.testing.assert_allclose(DepthPotential(0.5).batch(seen), [2.0, 0.0])
    np.testing.assert_allclose(ScorePotential(2.0).batch(seen), [2 * np.log(20), 0.0])
    np.testing.assert_allclose(HealthPotential(3.0).batch(seen), [1.5, 0.0])
    np.testing.assert_allclose(MaximalDepthPotential(0.5).batch(seen), [3.5, 0.0])
    np.testing.assert_allclose(ExplorationPotential(0.002).batch(seen), [0.6, 0.0])


@given(
    arrays(np.int64, (3, 27), elements=st.integers(-3, 10_000)), arrays(np.int64, (3, 2), elements=st.integers(0, 99))
)
def test_one_observation_is_a_batch_of_one(rows, histories):
    seen = screens(list(rows)) | {"history": histories}
    for potential in (*OF_THE_SCREEN, *OF_THE_HISTORY):
        each = [potential({key: value[i] for key, value in seen.items()}) for i in range(3)]
        assert each == potential.batch(seen).tolist()
        assert np.isfinite(each).all()


def test_exploration_adds_up_the_most_seen_of_every_level():
    history = History(1)
    visits = [(0, 1, 50), (0, 1, 80), (0, 1, 60), (0, 2, 30), (0, 1, 90), (2, 1, 10), (0, 2, 31)]
    sums = [
        history.arrive(screens([status(dungeon=dungeon, level=level, depth=level)], [cells]), [0])[0, 1]
        for dungeon, level, cells in visits
    ]
    assert sums == [50, 80, 80, 110, 120, 130, 131]


levels = st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, 200), st.integers(0, 5))
moves = st.lists(
    st.tuples(st.sets(st.integers(0, 2), min_size=1), st.lists(levels, min_size=3, max_size=3)), max_size=5
)


@given(moves, st.lists(st.sets(st.integers(0, 2)), min_size=5, max_size=5))
def test_history_is_each_games_own_and_begins_anew(played, beginnings):
    history, past = History(3), [[] for _ in range(3)]
    for (arriving, shown), beginning in zip(played, beginnings, strict=False):
        history.begin(sorted(beginning))
        for i in beginning:
            past[i] = []
        rows = sorted(arriving)
        for i in rows:
            past[i].append(shown[i])
        given_rows = [status(dungeon=shown[i][0], level=shown[i][1], depth=shown[i][3]) for i in rows]
        found = history.arrive(screens(given_rows, [shown[i][2] for i in rows]), rows)
        for i, (depth, cells) in zip(rows, found.tolist(), strict=True):
            assert depth == max(each[3] for each in past[i])
            places = {each[:2] for each in past[i]}
            assert cells == sum(max(each[2] for each in past[i] if each[:2] == place) for place in places)


def test_shaping_of_real_games_telescopes():
    game = EpisodeHistory(make_game("score", episode_steps=120))
    shaped = PotentialShaping(game, ExplorationPotential(0.002), DISCOUNT)
    others = [RunningShaping(potential, DISCOUNT) for potential in (*OF_THE_SCREEN, OF_THE_HISTORY[0])]
    rules, rng, cuts = [shaped.shaping, *others], np.random.default_rng(0), []
    for episode in range(6):
        first, _ = shaped.reset(seed=episode)
        for rule in others:
            rule.begin(first)
        sums, factor, done = np.zeros(len(rules)), 1.0, False
        # who goes to the wall in the north and kicks it dies of it; the others are cut
        actions = itertools.chain([9, 9], itertools.cycle([20, 1])) if episode % 2 else iter(rng.integers(23, size=120))
        while not done:
            last, _, terminated, truncated, info = shaped.step(int(next(actions)))
            sums += factor * np.array([info[SHAPING], *(rule.step(last, terminated, truncated) for rule in others)])
            factor, done = factor * DISCOUNT, terminated or truncated
        ends = [factor * rule.potential(last) * truncated - rule.potential(first) for rule in rules]
        np.testing.assert_allclose(sums, ends, rtol=0, atol=1e-12)
        cuts.append(truncated)
    shaped.close()
    assert set(cuts) == {True, False}


def test_the_undiscounted_sum_is_the_hidden_cost_of_5000_steps():
    seen = {"blstats": status(depth=1)}
    shaping = RunningShaping(DepthPotential(1.0), DISCOUNT)
    shaping.begin(seen)
    total = sum(shaping.step(seen, terminated=False, truncated=False) for _ in range(5000))
    assert total == pytest.approx(-50.0)
    assert total + shaping.step(seen, terminated=True, truncated=False) == pytest.approx(-51.0)


def test_potentials_of_the_screen_need_no_more_than_the_game():
    game = PotentialShaping(make_game("score"), DepthPotential(2.0), discount=DISCOUNT)
    game.reset(seed=0)
    _, reward, _, _, info = game.step(1)
    assert info[SHAPING] == pytest.approx(2.0 * (DISCOUNT - 1))
    assert reward == pytest.approx(info[RAW] + info[SHAPING])
    game.close()


def test_a_vector_of_gymnasium_shapes_each_game_by_its_own_history():
    def make():
        return EpisodeHistory(make_game("score", episode_steps=15))

    potential = ExplorationPotential(0.01)
    envs = VectorPotentialShaping(gymnasium.vector.SyncVectorEnv([make, make]), potential, DISCOUNT)
    single = [PotentialShaping(make(), potential, DISCOUNT) for _ in range(2)]
    seen, _ = envs.reset(seed=[3, 4])
    singly = [game.reset(seed=seed)[0] for game, seed in zip(single, (3, 4), strict=True)]
    np.testing.assert_array_equal(seen["history"], [each["history"] for each in singly])
    resetting, rng = np.zeros(2, dtype=bool), np.random.default_rng(1)
    for _ in range(40):
        actions = rng.integers(8, size=2) + 1
        seen, _, terminated, truncated, infos = envs.step(actions)
        for i, game in enumerate(single):
            if resetting[i]:
                observation, _ = game.reset()
            else:
                observation, _, _, _, info = game.step(int(actions[i]))
                assert infos[SHAPING][i] == pytest.approx(info[SHAPING], abs=1e-12)
            np.testing.assert_array_equal(seen["history"][i], observation["history"])
        resetting = terminated | truncated
    envs.close()
    for game in single:
        game.close()


class BlankAtTheEnd(gymnasium.Env):
    """A game whose last observation says that it is blank, and would change the history."""

    observation_space = gymnasium.spaces.Dict(
        {
            "blstats": gymnasium.spaces.Box(-(2**31), 2**31 - 1, (27,), np.int64),
            "glyphs": gymnasium.spaces.Box(0, 5976, (21, 79), np.int16),
        }
    )
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return {key: value[0] for key, value in screens([status(depth=3, level=3)], [40]).items()}, {}

    def step(self, action):
        seen = {key: value[0] for key, value in screens([status(depth=9, level=9)], [900]).items()}
        return seen, 0.0, False, True, {"blank_observation": bool(action)}


@pytest.mark.parametrize(("blank", "expected"), [(True, [3, 40]), (False, [9, 940])])
def test_a_blank_observation_changes_no_history(blank, expected):
    game = EpisodeHistory(BlankAtTheEnd())
    game.reset()
    assert game.step(int(blank))[0]["history"].tolist() == expected
    assert game.reset()[0]["history"].tolist() == [3, 40]


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: DepthPotential(np.nan), ValueError, "weight"),
        (lambda: DepthPotential("deep"), TypeError, "weight"),
        (lambda: DepthPotential().batch(np.zeros((2, 1084))), TypeError, "potentials of NetHack read 'blstats'"),
        (lambda: DepthPotential().batch({"blstats": np.zeros((2, 5))}), ValueError, "expected \\(n, 27\\)"),
        (lambda: ExplorationPotential()(screens([status()])), TypeError, "wrap the game in EpisodeHistory"),
    ],
)
def test_bad_input_is_refused(ask, error, message):
    with pytest.raises(error, match=message):
        ask()
