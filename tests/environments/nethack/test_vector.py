import json
from functools import partial

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

from environments.nethack.encoding import Encoder
from environments.nethack.games import make_game
from environments.nethack.potentials import DepthPotential, ExplorationPotential
from environments.nethack.vector import NetHackVecEnv, StateKeys
from rewardlab.adapters.shaping_stable_baselines3 import DiscountCheck
from rewardlab.adapters.step_signals import COMBINED, RAW, SHAPING
from rewardlab.shaping.running import RunningBatchShaping

DISCOUNT = 0.99
short = partial(make_game, "score", episode_steps=20)


def status(x=0, y=0, dungeon=0, level=1, **_):
    row = np.zeros(27, dtype=np.int64)
    row[[0, 1, 12, 23, 24]] = x, y, level, dungeon, level
    return row


class Scripted(gymnasium.Env):
    """Walks east, a level deeper each step, and ends after the third: action 0 with death, action 1 with a fourth place
    and a time limit, action 2 with a time limit as well. After 0 and 2 nothing is to be seen.
    """

    observation_space = gymnasium.spaces.Dict({})
    action_space = gymnasium.spaces.Discrete(3)
    render_mode = None

    def _show(self):
        message = np.zeros(256, dtype=np.uint8)
        message[:1] = self.x + 65
        glyphs = np.full((21, 79), 2359, dtype=np.int16)
        glyphs[0, : 10 * self.x] = 1
        return {
            "chars": np.full((21, 79), 46, dtype=np.uint8),
            "blstats": status(x=self.x, y=3, level=self.x),
            "message": message,
            "glyphs": glyphs,
        }

    def reset(self, *, seed=None, options=None):
        self.seed, self.x = seed, 1
        return self._show(), {}

    def step(self, action):
        if self.x < 3:
            self.x += 1
            return self._show(), 1.0, False, False, {"blank_observation": False}
        info = {"blank_observation": action != 1, "end_status": "death" if action == 0 else "aborted"}
        if action == 1:
            self.x = 4
        shown = self._show()
        if action == 2:
            shown["glyphs"][:] = 1  # not to be believed
        return shown, 2.0, action == 0, action != 0, info


def played(venv, steps, seed=0):
    """What a run of random moves gives: (observations, rewards, dones) of every step, and the first observations."""
    rng, first = np.random.default_rng(seed), venv.reset()
    rows = [venv.step(1 + rng.integers(8, size=venv.num_envs))[:3] for _ in range(steps)]
    return first, rows


def same(run, other):
    np.testing.assert_array_equal(run[0], other[0])
    for row, twin in zip(run[1], other[1], strict=True):
        for part, its in zip(row, twin, strict=True):
            np.testing.assert_array_equal(part, its)


def test_agrees_with_games_played_one_by_one():
    venv = NetHackVecEnv(short, 3, seed=5)
    generators = [np.random.default_rng(each) for each in np.random.SeedSequence(5).spawn(3)]
    encoders, games = [Encoder(1, 23) for _ in range(3)], [short() for _ in range(3)]

    def encoded(i, observation, action):
        batch = {key: observation[key][None] for key in ("chars", "blstats")}
        return encoders[i].encode(batch, np.array([action]))[0]

    def begin(i):
        encoders[i].begin()
        seen, _ = games[i].reset(seed=int(generators[i].integers(2**31)))
        return encoded(i, seen, -1), seen

    before = [begin(i)[0] for i in range(3)]
    np.testing.assert_array_equal(venv.reset(), before)
    assert venv.starts().environments.tolist() == [0, 1, 2]
    rng, sums = np.random.default_rng(0), np.zeros((3, 2))
    for _ in range(50):
        actions = rng.integers(23, size=3)
        observations, rewards, dones, infos = venv.step(actions)
        arrivals, starts, firsts = venv.arrivals(), venv.starts(), []
        np.testing.assert_array_equal(arrivals.observations, before)
        np.testing.assert_array_equal(arrivals.actions, actions)
        assert arrivals.valid.all()
        for i, game in enumerate(games):
            seen, reward, terminated, truncated, _ = game.step(int(actions[i]))
            arrived = before[i] = encoded(i, seen, actions[i])
            sums[i] += reward, 1
            assert rewards[i] == np.float32(reward)
            assert dones[i] == arrivals.dones[i] == (terminated or truncated)
            np.testing.assert_array_equal(arrivals.next_observations[i], arrived)
            np.testing.assert_array_equal(arrivals.messages[i], seen["message"])
            assert arrivals.keys[i] == StateKeys(seen["blstats"][None])[0]
            if dones[i]:
                np.testing.assert_array_equal(infos[i]["terminal_observation"], arrived)
                assert infos[i]["TimeLimit.truncated"] == truncated
                assert (infos[i]["episode"]["r"], infos[i]["episode"]["l"]) == (pytest.approx(sums[i, 0]), sums[i, 1])
                assert infos[i]["game"]["score"] == seen["blstats"][9]
                before[i], first = begin(i)
                sums[i] = 0
                firsts.append((i, first))
            else:
                assert infos[i] == {}
            np.testing.assert_array_equal(observations[i], before[i])
        assert (starts is None) == (not firsts)
        for at, (i, first) in enumerate(firsts):
            assert starts.environments[at] == i
            np.testing.assert_array_equal(starts.messages[at], first["message"])
            assert starts.keys[at] == StateKeys(first["blstats"][None])[0]
    venv.close()
    for game in games:
        game.close()


def test_a_blank_last_screen_is_reported_and_never_counted():
    venv = NetHackVecEnv(Scripted, 2, seed=0)
    venv.reset()
    for _ in range(2):
        venv.step(np.zeros(2))
    observations, rewards, dones, infos = venv.step(np.array([0, 1]))
    arrivals, starts = venv.arrivals(), venv.starts()
    assert rewards.tolist() == [2, 2]
    assert dones.tolist() == arrivals.dones.tolist() == [True, True]
    assert arrivals.valid.tolist() == [False, True]
    assert arrivals.messages[:, 0].tolist() == [ord("D"), ord("E")]  # the last that was seen, not those of the reset
    assert starts.messages[:, 0].tolist() == [ord("B"), ord("B")]
    assert len(set(arrivals.keys) | set(starts.keys)) == 3
    assert [info["TimeLimit.truncated"] for info in infos] == [False, True]
    assert [info["end_status"] for info in infos] == ["death", "aborted"]
    assert [info["episode"]["r"] for info in infos] == [4, 4]
    assert [info["episode"]["l"] for info in infos] == [3, 3]
    assert [info["game"]["maximal_depth"] for info in infos] == [3, 4]
    visits = [info["terminal_observation"][972 + 40] for info in infos]
    np.testing.assert_allclose(visits, [0.1, 0.1])  # once: the blank one, which stays at x = 3, did not count
    np.testing.assert_array_equal(observations[0], observations[1])
    for _ in range(2):
        venv.step(np.zeros(2))
    assert [info["game"]["maximal_depth"] for info in venv.step(np.array([1, 0]))[3]] == [4, 3]
    assert arrivals.next_observations[0, 972 + 40] == np.float32(0.1)


def test_what_was_handed_out_stays_as_it_was():
    venv = NetHackVecEnv(Scripted, 1, seed=0)
    first, starts = venv.reset(), venv.starts()
    handed = [(first, first.copy()), (starts.messages, starts.messages.copy())]
    keys = [(starts.keys, StateKeys(np.array([status(1, 3)])).codes().tobytes())]
    for step in range(8):
        observations, rewards, _, _ = venv.step(np.array([step % 2]))
        arrivals = venv.arrivals()
        arrays = (observations, rewards, arrivals.messages, arrivals.next_observations, arrivals.observations)
        handed += [(array, array.copy()) for array in arrays]
    for array, copy in handed:
        np.testing.assert_array_equal(array, copy)
    assert [b"".join(each) for each, _ in keys] == [copy for _, copy in keys]


def test_the_same_seed_gives_the_same_games_whatever_runs_beside():
    run = played(NetHackVecEnv(short, 2, seed=3), 45)
    same(run, played(NetHackVecEnv(short, 2, seed=3), 45))
    again = NetHackVecEnv(short, 2, seed=0)
    again.seed(3)
    same(run, played(again, 45))
    venvs = [NetHackVecEnv(short, count, seed=3) for count in (1, 3)]
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(*(venv.reset()[0] for venv in venvs))
    for _ in range(45):
        actions = rng.integers(9, size=3)
        np.testing.assert_array_equal(*(venv.step(actions[: venv.num_envs])[0][0] for venv in venvs))
    assert (NetHackVecEnv(short, 2, seed=4).reset() != run[0]).any()


def test_a_resumed_vector_plays_the_next_games():
    venv, rng = NetHackVecEnv(short, 2, seed=7), np.random.default_rng(0)
    firsts = [venv.reset()]
    for step in range(60):
        if step == 25:  # within the second episodes: the third are the next
            kept = json.loads(json.dumps(venv.state_dict()))
        observations, _, dones, _ = venv.step(1 + rng.integers(8, size=2))
        if dones.all():
            firsts.append(observations)
    resumed = NetHackVecEnv(short, 2, seed=0)
    resumed.load_state_dict(kept)
    np.testing.assert_array_equal(resumed.reset(), firsts[2])
    with pytest.raises(ValueError, match="the state is of 2 environments, expected 1"):
        NetHackVecEnv(short, 1, seed=0).load_state_dict(kept)


@pytest.mark.parametrize("potential", [DepthPotential(0.7), ExplorationPotential(0.01)], ids=lambda each: repr(each))
def test_shaping_telescopes_in_every_episode(potential):
    """All ends, blank and not, and histories that begin anew."""
    venv = NetHackVecEnv(Scripted, 3, seed=0, shaping=RunningBatchShaping(potential, DISCOUNT))
    venv.reset()
    cells = np.cumsum([0, 10, 20, 30, 40])  # of levels 1 to x
    measured = np.arange(5) if isinstance(potential, DepthPotential) else cells
    value = potential.weight * measured
    sums, factors = np.zeros(3), np.ones(3)
    rng, ends = np.random.default_rng(0), []
    for _ in range(30):
        actions = rng.integers(3, size=3)
        _, rewards, dones, infos = venv.step(actions)
        for i, info in enumerate(infos):
            assert info[COMBINED] == pytest.approx(info[RAW] + info[SHAPING])
            assert rewards[i] == pytest.approx(info[COMBINED])
            sums[i] += factors[i] * info[SHAPING]
            factors[i] *= DISCOUNT
            if dones[i]:
                cut = info["TimeLimit.truncated"]
                ends.append(actions[i])
                last = value[4 if actions[i] == 1 else 3] * cut
                assert sums[i] == pytest.approx(factors[i] * last - value[1], abs=1e-12)
                assert info["episode"]["r"] == 4  # unshaped
                sums[i], factors[i] = 0, 1
    assert set(ends) == {0, 1, 2}


def test_potentials_are_kept_as_they_were_on_arrival():
    """Those of the environments that go on, too, where others begin an episode."""

    class Changing:
        rng = np.random.default_rng(0)

        def __call__(self, observation):
            return self.rng.random()

    shaping = RunningBatchShaping(Changing(), DISCOUNT)
    venv = NetHackVecEnv(Scripted, 2, seed=0, shaping=shaping)
    venv.reset()
    venv.games[0].step(0)  # the first game is a step ahead
    for _ in range(12):
        before = shaping.current.copy()
        _, _, dones, infos = venv.step(np.zeros(2))
        added = np.array([info[SHAPING] for info in infos])
        arrived = np.where(dones, 0.0, shaping.current)
        np.testing.assert_allclose(added, DISCOUNT * arrived - before)


def test_shaping_of_real_games_telescopes():
    shaping = RunningBatchShaping(ExplorationPotential(0.002), DISCOUNT)
    venv = NetHackVecEnv(short, 2, seed=0, shaping=shaping)
    venv.reset()
    first, sums, rng = shaping.current.copy(), np.zeros(2), np.random.default_rng(0)
    for step in range(20):
        infos = venv.step(1 + rng.integers(8, size=2))[3]
        last = [shaping.current[i] if step < 19 else None for i in range(2)]
        sums += DISCOUNT**step * np.array([info[SHAPING] for info in infos])
        if step == 18:
            before_last = np.array(last)
    # of the last step, whose potential is that of the game that was cut, not of the new one
    arrived = (np.array([info[SHAPING] for info in infos]) + before_last) / DISCOUNT
    np.testing.assert_allclose(sums, DISCOUNT**20 * arrived - first, atol=1e-12)
    assert (arrived >= before_last - 1e-12).all()  # exploration never falls
    assert (np.abs(arrived / 0.002 - np.round(arrived / 0.002)) < 1e-6).all()  # whole numbers of cells


def test_messages_beside_the_features():
    venv = NetHackVecEnv(short, 2, seed=0, with_message=True)
    plain = NetHackVecEnv(short, 2, seed=0)
    seen, features = venv.reset(), plain.reset()
    assert venv.observation_space.contains({key: value[0] for key, value in seen.items()})
    for _ in range(21):
        np.testing.assert_array_equal(seen["features"], features)
        np.testing.assert_array_equal(seen["message"][0], venv.games[0]._message)
        seen, _, dones, infos = venv.step(np.array([1, 2]))
        features = plain.step(np.array([1, 2]))[0]
        if dones[0]:
            assert infos[0]["terminal_observation"]["features"].shape == (1084,)
            np.testing.assert_array_equal(infos[0]["terminal_observation"]["message"], venv.arrivals().messages[0])


def test_an_algorithm_learns_on_it():
    shaping = RunningBatchShaping(DepthPotential(), DISCOUNT)
    venv = NetHackVecEnv(short, 2, seed=0, shaping=shaping)
    model = PPO("MlpPolicy", VecMonitor(venv), n_steps=24, batch_size=48, n_epochs=1, gamma=DISCOUNT, device="cpu")
    model.learn(96, callback=DiscountCheck())
    assert {episode["l"] for episode in model.ep_info_buffer} == {20}
    assert venv.get_attr("task")[0].name == "score"
    assert venv.env_is_wrapped(gymnasium.Wrapper) == [False, False]
    wrong = PPO("MlpPolicy", venv, n_steps=24, batch_size=48, gamma=0.9, device="cpu")
    with pytest.raises(ValueError, match=r"shaping's discount is 0.99 and the learner's gamma 0.9"):
        wrong.learn(1, callback=DiscountCheck())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"environments": 0}, ValueError, "environments"),
        ({"make_game": Scripted()}, TypeError, "make_game: expected a function"),
        ({"seed": -1}, ValueError, "seed"),
        ({"shaping": DepthPotential()}, TypeError, "shaping: expected a RunningBatchShaping"),
        ({"crop": 4}, ValueError, "crop is 4"),
    ],
)
def test_bad_arguments_are_refused(change, error, message):
    arguments = {"make_game": Scripted, "environments": 2, "seed": 0} | change
    with pytest.raises(error, match=message):
        NetHackVecEnv(arguments.pop("make_game"), arguments.pop("environments"), **arguments)


def test_keys_tell_places_and_levels_apart():
    places = [(4, 3, 0, 1), (5, 3, 0, 1), (4, 4, 0, 1), (4, 3, 1, 1), (4, 3, 0, 2), (78, 20, 7, 53), (0, 0, 0, 0)]
    rows = np.array([status(x, y, dungeon, level) for x, y, dungeon, level in places])
    keys = StateKeys(rows)
    assert len(set(keys)) == len(set(keys.codes().tolist())) == len(keys) == 7
    rows[:, 20] += 1  # the clock
    assert list(StateKeys(rows)) == list(keys)
    assert keys[0] == StateKeys(rows[:1])[0]


def test_arrivals_need_a_step():
    venv = NetHackVecEnv(Scripted, 1, seed=0)
    venv.reset()
    with pytest.raises(RuntimeError, match="no step since the reset"):
        venv.arrivals()
