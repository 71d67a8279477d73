"""Recording: true next observations and ends, whole episodes, the same numbers for the same seed, made once."""

import json
import random

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from environments.offline.formats.minari_format import minari_facts
from environments.offline.made import behaviours
from environments.offline.made.behaviours import Behaviour, BehaviourSettings, kept_behaviour, train_behaviour
from environments.offline.made.cache import FOLDER_VARIABLE, folder, made_once
from environments.offline.made.making import make_dataset
from environments.offline.made.recipes import RECIPES, kept_dataset, kept_folder
from environments.offline.made.recorder import EpisodeRecorder
from environments.offline.terminations import termination_of
from tests.environments.offline.tables import assert_same

PENDULUM, HOPPER = "InvertedPendulum-v5", "Hopper-v5"
BRIEF = BehaviourSettings(steps=230, hidden=(16,), batch_size=32, learning_starts=150)


@pytest.fixture(scope="module")
def behaviour():
    return train_behaviour(PENDULUM, BRIEF, seed=3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_the_recorder_says_what_the_environment_said():
    env = gymnasium.make(HOPPER, max_episode_steps=15)
    recorder, rng = EpisodeRecorder(env), np.random.default_rng(0)
    said = []
    for seed in range(6):
        recorder.reset(seed=99)  # never stepped in
        observation, _ = recorder.reset(seed=seed)
        over = False
        while not over:
            action = rng.uniform(-1, 1, 3)
            after, reward, terminated, truncated, _ = recorder.step(action)
            said.append((observation, action, reward, after, terminated, truncated and not terminated))
            observation, over = after, terminated or truncated
    table = recorder.table()
    assert recorder.seeds == tuple(range(6))
    assert recorder.rows == len(table) == len(said)
    columns = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")
    for name, column in zip(columns, zip(*said, strict=True), strict=True):
        found = getattr(table, name)
        np.testing.assert_array_equal(found, np.array(column).astype(found.dtype), err_msg=name)
    assert table.next_valid.all()
    assert table.timeouts.any()
    recorder.close()


def test_ended_and_cut_at_once_is_ended():
    class Both(gymnasium.Env):
        observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            return np.zeros(1), {}

        def step(self, action):
            return np.ones(1), 1, True, True, {}

    recorder = EpisodeRecorder(Both())
    recorder.reset()
    recorder.step(np.zeros(1))
    table = recorder.table()
    assert (table.terminals.tolist(), table.timeouts.tolist()) == ([True], [False])
    assert table.rewards.dtype == np.float32


def test_the_recorder_refuses():
    with pytest.raises(TypeError, match=r"action_space is Discrete.*expected a Box of one axis"):
        EpisodeRecorder(gymnasium.make("CartPole-v1"))
    with pytest.raises(ValueError, match="nothing was recorded"):
        EpisodeRecorder(gymnasium.make(PENDULUM)).table()


def test_the_replay_is_what_stable_baselines3_learned_from(behaviour):
    """And where a vector of environments hands on a reset observation, it is the last one of the episode."""
    env = gymnasium.make(PENDULUM)
    learner = SAC(
        "MlpPolicy",
        env,
        learning_rate=BRIEF.learning_rate,
        batch_size=BRIEF.batch_size,
        learning_starts=BRIEF.learning_starts,
        policy_kwargs={"net_arch": list(BRIEF.hidden)},
        seed=3,
        device="cpu",
    )
    learner.learn(BRIEF.steps)
    buffer, replay = learner.replay_buffer, behaviour.replay
    assert len(replay) == BRIEF.steps == buffer.pos
    rows = slice(BRIEF.steps)
    np.testing.assert_array_equal(replay.observations, buffer.observations[rows, 0].astype(np.float32))
    np.testing.assert_array_equal(replay.next_observations, buffer.next_observations[rows, 0].astype(np.float32))
    np.testing.assert_array_equal(replay.rewards, buffer.rewards[rows, 0])
    np.testing.assert_allclose(replay.actions, 3 * buffer.actions[rows, 0], atol=1e-6)  # kept there in [-1, 1]
    np.testing.assert_array_equal(replay.terminals | replay.timeouts, buffer.dones[rows, 0] == 1)
    np.testing.assert_array_equal(replay.timeouts, buffer.timeouts[rows, 0] == 1)
    ends = termination_of(PENDULUM)(replay.observations, replay.actions, replay.next_observations)
    np.testing.assert_array_equal(ends, replay.terminals)
    assert replay.terminals.sum() > 10
    for name, tensor in learner.policy.state_dict().items():
        assert torch.equal(tensor, behaviour.policy.state_dict()[name]), name


def test_training_leaves_the_random_state_alone():
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    expected = torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(2)  # noqa: NPY002
    random.seed(3)
    told = []
    train_behaviour(
        PENDULUM, BRIEF, seed=0, on_step=lambda step, said: told.append((step, said["return"])), on_step_every=100
    )
    assert (torch.rand(1), np.random.rand(), random.random()) == expected  # noqa: NPY002
    assert [step for step, _ in told] == [100, 200]
    assert all(1 < value < 100 for _, value in told)


def test_a_shorter_training_is_the_beginning_of_a_longer_one(behaviour):
    shorter = train_behaviour(PENDULUM, BehaviourSettings(**{**vars(BRIEF), "steps": 200}), seed=3)
    np.testing.assert_array_equal(shorter.replay.observations, behaviour.replay.observations[:200])


def test_actions_are_those_of_the_policy(behaviour):
    observations = behaviour.replay.observations[:20]
    rng = np.random.default_rng(0)
    means = np.array([behaviour.act(one, rng, mean_share=1.0) for one in observations])
    expected, _ = behaviour.policy.predict(observations, deterministic=True)
    np.testing.assert_allclose(means, expected, atol=1e-5)
    drawn = np.array([behaviour.act(observations[0], rng) for _ in range(4000)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected, _ = behaviour.policy.predict(np.repeat(observations[:1], 4000, axis=0), deterministic=False)
    assert np.abs(drawn.mean() - expected.mean()) < 0.1
    assert drawn.std() == pytest.approx(expected.std(), rel=0.06)
    mostly = np.array([behaviour.act(observations[0], rng, mean_share=0.8) for _ in range(2000)])
    assert (np.abs(mostly - means[0]) < 1e-6).mean() == pytest.approx(0.8, abs=0.03)


def test_saved_and_loaded(behaviour, tmp_path):
    behaviour.save(tmp_path)
    loaded = Behaviour.load(tmp_path)
    assert loaded.provenance() == json.loads(json.dumps(behaviour.provenance()))
    assert loaded.settings == behaviour.settings
    assert_same(loaded.replay, behaviour.replay)
    for name, tensor in behaviour.policy.state_dict().items():
        assert torch.equal(tensor, loaded.policy.state_dict()[name])
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npz", ".safetensors"}
    facts = json.loads((tmp_path / "behaviour.json").read_text())
    facts["settings"]["hidden"] = [8]
    (tmp_path / "behaviour.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="holds no behaviour"):
        Behaviour.load(tmp_path)


@pytest.mark.parametrize("protocol", ["random", "medium", "expert", "mostly-mean"])
def test_whole_episodes_and_the_same_for_the_same_seed(protocol, behaviour):
    policy = None if protocol == "random" else behaviour
    made = make_dataset(PENDULUM, policy, protocol, rows=60, seed=5)
    again = make_dataset(PENDULUM, policy, protocol, rows=60, seed=5)
    assert_same(made.table, again.table)
    assert made.seeds == again.seeds
    table = made.table
    assert 60 <= len(table) < 60 + table.episode_lengths[-1]
    assert not len(table.open_ends)
    assert table.terminals.sum() == len(made.seeds) == len(set(made.seeds))
    ends = termination_of(PENDULUM)(table.observations, table.actions, table.next_observations)
    np.testing.assert_array_equal(ends, table.terminals)
    longer = make_dataset(PENDULUM, policy, protocol, rows=90, seed=5)
    assert longer.seeds[: len(made.seeds)] == made.seeds
    np.testing.assert_array_equal(longer.table.observations[: len(table)], table.observations)
    assert not np.array_equal(make_dataset(PENDULUM, policy, protocol, rows=60, seed=6).table.actions, table.actions)


def test_an_episode_comes_from_its_seed_alone(behaviour):
    made = make_dataset(PENDULUM, behaviour, "medium", rows=40, seed=5)
    number = len(made.seeds) - 1
    episode = made.table.episodes([number])
    env, rng = gymnasium.make(PENDULUM), np.random.default_rng(made.seeds[number])
    observation, _ = env.reset(seed=made.seeds[number])
    for row in range(len(episode)):
        np.testing.assert_array_equal(observation.astype(np.float32), episode.observations[row])
        action = behaviour.act(observation, rng)
        np.testing.assert_array_equal(action, episode.actions[row])
        observation, *_ = env.step(action)
    env.close()


def test_protocols_differ_in_their_actions(behaviour):
    shares = {}
    for protocol in ("medium", "mostly-mean", "expert"):
        table = make_dataset(PENDULUM, behaviour, protocol, rows=300, seed=1).table
        means, _ = behaviour.policy.predict(table.observations, deterministic=True)
        shares[protocol] = (np.abs(table.actions - means) < 1e-4).mean()
    assert shares["expert"] == 1
    assert shares["medium"] < 0.02
    assert shares["mostly-mean"] == pytest.approx(0.8, abs=0.08)
    random_actions = make_dataset(PENDULUM, None, "random", rows=1000, seed=1).table.actions
    assert np.abs(random_actions).max() <= 3
    assert random_actions.std() == pytest.approx(3 / np.sqrt(3), rel=0.06)


def test_mixed_is_one_after_the_other(behaviour):
    made = make_dataset(PENDULUM, (behaviour, behaviour), "mixed", rows=200, seed=2)
    means, _ = behaviour.policy.predict(made.table.observations, deterministic=True)
    is_mean = (np.abs(made.table.actions - means) < 1e-4)[:, 0]
    last_sampled = int(np.flatnonzero(~is_mean)[-1])
    assert 99 <= last_sampled < 120
    assert is_mean[: last_sampled + 1].mean() < 0.1
    assert len(made.seeds) == len(made.table.episode_starts)
    assert [one["seed"] for one in made.provenance["policy"]] == [3, 3]


def test_a_replay_is_whole_or_thinned_by_episodes(behaviour):
    whole = make_dataset(PENDULUM, behaviour, "medium-replay", rows=None, seed=0)
    assert_same(whole.table, behaviour.replay)
    thinned = make_dataset(PENDULUM, behaviour, "medium-replay", rows=100, seed=0).table
    assert 100 <= len(thinned) < 100 + thinned.episode_lengths.max()
    rows = {row.tobytes() for row in behaviour.replay.observations}
    assert all(row.tobytes() in rows for row in thinned.observations)
    assert set(thinned.episode_lengths) <= set(behaviour.replay.episode_lengths)
    starts = behaviour.replay.observations[behaviour.replay.episode_starts]
    places = [int(np.flatnonzero((starts == one).all(axis=1))[0]) for one in thinned.observations[thinned.steps == 0]]
    assert places == sorted(places)
    assert len(places) > 3
    with pytest.raises(ValueError, match="rows is 231, and the replay has 230"):
        make_dataset(PENDULUM, behaviour, "medium-replay", rows=231, seed=0)


def test_provenance(behaviour):
    made = make_dataset(PENDULUM, behaviour, "medium", rows=50, seed=5)
    facts = json.loads(json.dumps(made.provenance))
    assert (facts["env_id"], facts["protocol"], facts["seed"]) == (PENDULUM, "medium", 5)
    assert facts["rows"] == len(made.table)
    assert facts["returns"]["mean"] == pytest.approx(made.table.episode_returns.mean())
    assert facts["policy"]["checkpoint_step"] == 230
    assert set(facts["versions"]) == {"gymnasium", "mujoco", "numpy", "stable-baselines3", "torch"}


def test_other_policies(behaviour):
    model = SAC("MlpPolicy", gymnasium.make(PENDULUM), policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
    first, second = (make_dataset(PENDULUM, model, "medium", rows=30, seed=1) for _ in range(2))
    assert_same(first.table, second.table)
    still = make_dataset(PENDULUM, lambda observation, rng: np.zeros(1), "medium", rows=30, seed=1)
    assert not still.table.actions.any()
    loud = make_dataset(PENDULUM, lambda observation, rng: np.full(1, 50.0), "medium", rows=5, seed=1)
    assert (loud.table.actions == 3).all()  # what the environment was given


def test_what_making_refuses(behaviour):
    cases = {
        r"protocol is 'best', expected one of 'random'": ("best", behaviour, 10),
        r"rows is None, expected a number": ("medium", behaviour, None),
        r"rows is 0, expected a whole number in \[1": ("medium", behaviour, 0),
    }
    for message, (protocol, policy, rows) in cases.items():
        with pytest.raises(ValueError, match=message):
            make_dataset(PENDULUM, policy, protocol, rows=rows, seed=0)
    with pytest.raises(TypeError, match="policy is a int, expected a Behaviour, a model of Stable-Baselines3"):
        make_dataset(PENDULUM, 3, "medium", rows=10, seed=0)
    with pytest.raises(TypeError, match="policy is a NoneType, expected a Behaviour, which knows its replay"):
        make_dataset(PENDULUM, None, "medium-replay", rows=10, seed=0)
    with pytest.raises(TypeError, match="expected two of them for 'mixed'"):
        make_dataset(PENDULUM, behaviour, "mixed", rows=10, seed=0)
    with pytest.raises(ValueError, match="env_id is 'Hopper-v5', and the replay is of 'InvertedPendulum-v5'"):
        make_dataset(HOPPER, behaviour, "medium-replay", seed=0)
    with pytest.raises(ValueError, match=r"mean_share is 1\.5"):
        make_dataset(PENDULUM, behaviour, "medium", rows=10, seed=0, mean_share=1.5)


def test_made_once(cache):
    assert folder() == cache
    calls = []

    def make(path):
        calls.append(path)
        (path / "a").write_text("b")

    assert made_once("x", make) == made_once("x", make) == cache / "x"
    assert len(calls) == 1

    def fail(path):
        (path / "half").write_text("")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        made_once("y", fail)
    assert [path.name for path in cache.iterdir()] == ["x"]

    def raced(path):
        (path / "late").write_text("")
        made_once("z", make)

    assert [file.name for file in made_once("z", raced).iterdir()] == ["a"]
    assert sorted(path.name for path in cache.iterdir()) == ["x", "z"]


def test_behaviours_are_kept_by_all_that_makes_them(cache, monkeypatch):
    trained = []
    train = behaviours.train_behaviour
    monkeypatch.setattr(
        behaviours, "train_behaviour", lambda *given, **named: trained.append(given) or train(*given, **named)
    )
    first = kept_behaviour(PENDULUM, BRIEF, seed=3)
    assert_same(kept_behaviour(PENDULUM, BRIEF, seed=3).replay, first.replay)
    assert len(trained) == 1
    kept_behaviour(PENDULUM, BRIEF, seed=4)
    kept_behaviour(PENDULUM, BehaviourSettings(**{**vars(BRIEF), "hidden": (8,)}), seed=3)
    assert len(trained) == 3


def test_sets_are_kept_with_their_provenance(cache):
    made = kept_dataset("inverted-pendulum/random", rows=50)
    path = kept_folder("inverted-pendulum/random", rows=50)
    assert path.parent == cache
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    again = kept_dataset("inverted-pendulum/random", rows=50)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    assert_same(made.table, again.table)
    facts = minari_facts(path)
    assert facts.env_id == PENDULUM
    assert facts.dataset_id == path.name
    assert facts.seeds == again.seeds == make_dataset(PENDULUM, None, "random", rows=50, seed=0).seeds
    assert facts.provenance["name"] == "inverted-pendulum/random"
    assert facts.provenance["policy"] == "uniform actions"
    assert kept_folder("inverted-pendulum/random", rows=50, seed=1) != path
    assert kept_folder("inverted-pendulum/random", rows=51) != path
    with pytest.raises(ValueError, match="name is 'hopper', expected one of 'inverted-pendulum/random'"):
        kept_dataset("hopper")


def test_every_recipe_has_the_policies_of_its_protocol():
    for recipe in RECIPES.values():
        wanted = {"random": 0, "mixed": 2}.get(recipe.protocol, 1)
        assert len(recipe.behaviours) == wanted
