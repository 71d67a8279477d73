"""Minari's sets: round trips through the real package, what its own recorder writes, and files that are not right."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from environments.offline.formats.minari_format import minari_facts, observation_order, read_minari, write_minari
from environments.offline.formats.repairs import Repairs
from tests.environments.offline.tables import assert_same, make_table, tables

FORMATS = ("hdf5", "arrow", "parquet")
few = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
ALL = settings(few, max_examples=25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("minari")


def unused(folder):
    return folder / f"set-{len(list(folder.iterdir()))}-v0"


@pytest.mark.parametrize("data_format", FORMATS)
def test_round_trip(data_format, folder):
    @(ALL if data_format == "hdf5" else few)
    @given(tables(unknown_next=True))
    def check(table):
        path = write_minari(unused(folder), table, data_format=data_format)
        loaded = read_minari(path)
        assert_same(loaded.table, table)
        assert loaded.report.unknown_next == (~table.next_valid).sum()
        assert not loaded.report.casts
        assert_same(read_minari(path / "data").table, table)

    check()


@pytest.mark.parametrize("data_format", FORMATS)
def test_seeds_and_provenance_come_back(data_format, tmp_path):
    table = make_table([3, 2], ["terminal", "open"], observation_size=4, action_size=1)
    provenance = {"protocol": "random", "versions": {"numpy": "2"}, "seed": 3}
    path = write_minari(
        tmp_path / "pendulum-v3",
        table,
        data_format=data_format,
        env_id="InvertedPendulum-v5",
        seeds=(11, None),
        provenance=provenance,
        reference_scores=(5.0, 1000.0),
    )
    facts = minari_facts(path)
    assert facts.dataset_id == "pendulum-v3"
    assert facts.env_id == "InvertedPendulum-v5"
    assert facts.seeds == (11, None)
    assert facts.provenance == provenance
    assert facts.reference_scores == (5.0, 1000.0)


def test_minari_itself_loads_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    table = make_table([3, 2], ["terminal", "timeout"], observation_size=4, action_size=1)
    write_minari(
        tmp_path / "pendulum-v0", table, env_id="InvertedPendulum-v5", reference_scores=(-10.0, 30.0), seeds=(1, 2)
    )
    loaded = minari.load_dataset("pendulum-v0")
    assert (loaded.total_steps, loaded.total_episodes) == (5, 2)
    first, second = loaded.iterate_episodes()
    np.testing.assert_array_equal(first.observations[:-1], table.observations[:3])
    np.testing.assert_array_equal(first.observations[1:], table.next_observations[:3])
    np.testing.assert_array_equal(first.actions, table.actions[:3])
    assert first.terminations.tolist() == [False, False, True]
    assert second.truncations.tolist() == [False, True]
    env = loaded.recover_environment()
    np.testing.assert_array_equal(env.action_space.high, loaded.action_space.high)
    env.close()
    assert minari.get_normalized_score(loaded, np.array([10.0])) == pytest.approx(0.5)  # not 50


def test_a_set_of_minaris_own_recorder(tmp_path, monkeypatch):
    """True next observations, timeouts that are none where it also ended, and rewards cast from whole numbers."""
    pytest.importorskip("jax", reason="minari's recorder needs it")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gymnasium.make("InvertedPendulum-v5", max_episode_steps=6))
    env.action_space.seed(0)
    seen, ends = [], []
    for seed in range(8):
        observations = [env.reset(seed=seed)[0]]
        over = False
        while not over:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            observations.append(observation)
            over = terminated or truncated
        seen.append(observations)
        ends.append((terminated, truncated and not terminated))
    env.create_dataset("recorded-v0", eval_env="InvertedPendulum-v5")
    env.close()
    loaded = read_minari(tmp_path / "recorded-v0")
    assert {"observations", "rewards"} <= set(loaded.report.casts)
    assert loaded.report.casts["rewards"] == "int64"
    assert minari_facts(tmp_path / "recorded-v0").seeds == tuple(range(8))
    for episode, observations, (terminal, timeout) in zip(loaded.table, seen, ends, strict=True):
        np.testing.assert_array_equal(episode.observations, np.array(observations[:-1], dtype=np.float32))
        np.testing.assert_array_equal(episode.next_observations, np.array(observations[1:], dtype=np.float32))
        assert (episode.terminals[-1], episode.timeouts[-1]) == (terminal, timeout)


def stored(path, observation_space, action_space, *buffers, data_format="hdf5"):
    """A set written by minari alone."""
    path.mkdir()
    storage = MinariStorage.new(
        path / "data", observation_space=observation_space, action_space=action_space, data_format=data_format
    )
    storage.update_metadata({"dataset_id": path.name, "minari_version": minari.__version__})
    storage.update_episodes(buffers)
    return path


def box(size, dtype=np.float64):
    return spaces.Box(-np.inf, np.inf, (size,), dtype)


def episode(steps=3, observations=None, **columns):
    columns = {
        "observations": np.arange(2.0 * (steps + 1)).reshape(-1, 2) if observations is None else observations,
        "actions": np.zeros((steps, 1)),
        "rewards": np.ones(steps),
        "terminations": np.arange(steps) == steps - 1,
        "truncations": np.zeros(steps, dtype=bool),
        **columns,
    }
    return EpisodeBuffer(**columns)


@pytest.mark.parametrize("data_format", FORMATS)
def test_dicts_are_flattened_in_alphabetical_order(data_format, tmp_path):
    space = spaces.Dict(goal=box(2), at=spaces.Dict(x=box(1), cell=spaces.Discrete(9)))
    values = {
        "goal": np.arange(8.0).reshape(4, 2),
        "at": {"x": 10 + np.arange(4.0).reshape(4, 1), "cell": np.arange(4) + 5},
    }
    path = stored(tmp_path / "dict-v0", space, box(1), episode(observations=values), data_format=data_format)
    order = observation_order(space)
    assert order == (("at.cell", 1), ("at.x", 1), ("goal", 2))
    expected = np.concatenate([values["at"]["cell"][:, None], values["at"]["x"], values["goal"]], axis=1)
    table = read_minari(path).table
    np.testing.assert_array_equal(table.observations, expected[:-1])
    np.testing.assert_array_equal(table.next_observations, expected[1:])


def test_discrete_actions_are_one_number(tmp_path):
    path = stored(tmp_path / "d-v0", box(2), spaces.Discrete(3), episode(actions=np.array([2, 0, 1])))
    loaded = read_minari(path)
    np.testing.assert_array_equal(loaded.table.actions, np.array([[2.0], [0.0], [1.0]]))
    assert loaded.report.casts["actions"] == "int64"


def test_a_step_that_ends_twice_is_terminal_and_counted(tmp_path):
    both = np.array([False, False, True])
    loaded = read_minari(stored(tmp_path / "b-v0", box(2), box(1), episode(truncations=both)))
    assert loaded.table.terminals.tolist() == [False, False, True]
    assert not loaded.table.timeouts.any()
    assert loaded.report.double_ends == 1


def test_a_missing_last_observation_is_counted(tmp_path):
    observations = np.arange(6.0).reshape(3, 2)
    loaded = read_minari(stored(tmp_path / "m-v0", box(2), box(1), episode(observations=observations)))
    assert loaded.table.next_valid.tolist() == [True, True, False]
    assert loaded.report.unknown_next == 1
    np.testing.assert_array_equal(loaded.table.next_observations[-1], observations[-1])


def test_ragged_episodes(tmp_path):
    path = stored(tmp_path / "r-v0", box(2), box(1), episode(), episode(rewards=np.ones(5)))
    with pytest.raises(ValueError, match=r"episode 1: terminations has 3 entries and rewards 5, expected"):
        read_minari(path)
    path = stored(tmp_path / "o-v0", box(2), box(1), episode(observations=np.zeros((6, 2))))
    with pytest.raises(ValueError, match="episode 0: observations has 6 entries and rewards 3"):
        read_minari(path)
    path = stored(tmp_path / "w-v0", box(2), box(1), episode(observations=np.zeros((4, 3))))
    with pytest.raises(ValueError, match="episode 0: observations is not of the data set's space"):
        read_minari(path)


def test_numbers_that_are_not_finite(tmp_path):
    path = stored(tmp_path / "n-v0", box(2), box(1), episode(), episode(rewards=np.array([0.0, np.nan, 0.0])))
    with pytest.raises(ValueError, match=r"n-v0.*rewards\[4\]"):
        read_minari(path)
    loaded = read_minari(path, repairs=Repairs(bad_rows="drop"))
    assert loaded.report.bad_rows == 1
    assert len(loaded.table) == 5


def test_episodes_that_go_on_after_their_end(tmp_path):
    early = np.array([True, False, False])
    path = stored(tmp_path / "e-v0", box(2), box(1), episode(terminations=early))
    with pytest.raises(ValueError, match="e-v0"):
        read_minari(path)
    assert read_minari(path, repairs=Repairs(broken_episodes="split")).report.splits == 1


def test_missing_arrays_and_episodes(tmp_path):
    path = stored(tmp_path / "a-v0", box(2), box(1), episode(), episode())
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/rewards"]
    with pytest.raises(ValueError, match=r"episode 1: minari cannot read it: KeyError.*rewards"):
        read_minari(path)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1"]
    with pytest.raises(ValueError, match="episode 1: minari cannot read it: KeyError"):
        read_minari(path)
    (path / "data" / "main_data.hdf5").write_bytes(b"not a file of HDF5")
    with pytest.raises(ValueError, match=r"main_data\.hdf5 is not a readable HDF5 file: OSError"):
        read_minari(path)
    (path / "data" / "main_data.hdf5").unlink()
    with pytest.raises(ValueError, match="is not a readable HDF5 file: FileNotFoundError"):
        read_minari(path)


def changed(path, **entries):
    """The set with other metadata; None removes an entry."""
    file = path / "data" / "metadata.json"
    metadata = json.loads(file.read_text()) | entries
    file.write_text(json.dumps({key: value for key, value in metadata.items() if value is not None}))
    return path


def test_metadata_that_is_not_right(tmp_path):
    path = stored(tmp_path / "a-v0", box(2), box(1), episode(), episode())
    with pytest.raises(ValueError, match="its episodes have 6 steps, and its metadata 7"):
        read_minari(changed(path, total_steps=7))
    changed(path, total_steps=6)
    with pytest.raises(ValueError, match="data_format is 'pickle', expected one of 'hdf5'"):
        read_minari(changed(path, data_format="pickle"))
    with pytest.raises(ValueError, match="total_episodes is '2', expected int"):
        read_minari(changed(path, data_format="hdf5", total_episodes="2"))
    with pytest.raises(ValueError, match="observation_space is 'missing', expected str"):
        read_minari(changed(path, total_episodes=2, observation_space=None))
    (path / "data" / "metadata.json").write_text("[")
    with pytest.raises(ValueError, match="is no JSON"):
        read_minari(path)
    with pytest.raises(FileNotFoundError, match="holds no Minari data set"):
        read_minari(tmp_path)


def test_no_file_makes_an_environment(tmp_path):
    """Asked for a space, minari makes the environment that the file names, and so imports what the file likes."""
    path = stored(tmp_path / "a-v0", box(2), box(1), episode())
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    spec = gymnasium.envs.registration.EnvSpec(id="Evil-v0", entry_point="evil:Evil").to_json()
    changed(path, env_spec=spec, action_space=None)
    code = f"from environments.offline.formats.minari_format import read_minari; read_minari({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert "action_space is 'missing'" in done.stderr
    assert "imported" not in done.stderr


def test_images_and_text_are_refused(tmp_path):
    image = spaces.Box(0, 255, (2, 2), np.uint8)
    path = stored(
        tmp_path / "i-v0", spaces.Dict(eye=image), box(1), episode(observations={"eye": np.zeros((4, 2, 2), np.uint8)})
    )
    with pytest.raises(ValueError, match=r"observation_space: eye is Box.*no fixed row of numbers"):
        read_minari(path)
    with pytest.raises(TypeError, match="the space is Text"):
        observation_order(spaces.Text(3))


def test_what_the_writer_refuses(tmp_path):
    table = make_table([2], ["terminal"])
    with pytest.raises(ValueError, match="data_format is 'pickle', expected one of 'hdf5', 'arrow', 'parquet'"):
        write_minari(tmp_path / "a-v0", table, data_format="pickle")
    with pytest.raises(ValueError, match="seeds has 2 entries, expected one for each of 1 episodes"):
        write_minari(tmp_path / "a-v0", table, seeds=(1, 2))
    with pytest.raises(ValueError, match="the table has 3 observations and 2 actions a row, and InvertedPendulum-v5"):
        write_minari(tmp_path / "a-v0", table, env_id="InvertedPendulum-v5")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_minari(tmp_path / "a-v0", table, provenance={"policy": object()})
    assert not list(tmp_path.iterdir())
    write_minari(tmp_path / "a-v0", table)
    with pytest.raises(FileExistsError, match="a-v0 is there already"):
        write_minari(tmp_path / "a-v0", table)


@pytest.mark.parametrize("data_format", FORMATS)
def test_damaged_files_raise_value_errors_and_nothing_else(data_format, tmp_path):
    """In a process of its own: what Arrow does with damaged files that nobody looked at first is to end it."""
    path = write_minari(tmp_path / "d-v0", make_table([5, 3], ["terminal", "open"]), data_format=data_format)
    done = subprocess.run(
        [sys.executable, "-m", "tests.environments.offline.damaged_minari", str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, read = map(int, done.stdout.split())
    assert refused > 20
    assert read > 0


def test_a_set_that_links_elsewhere(tmp_path):
    path = stored(tmp_path / "l-v0", box(2), box(1), episode())
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file["episode_0/rewards"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "rewards")
    with pytest.raises(ValueError, match="episode_0: 'rewards' is a link, expected the numbers themselves"):
        read_minari(path)
    path = stored(tmp_path / "b-v0", box(2), box(1), episode())
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file["episode_0"].create_dataset("rewards", shape=(10**12,), dtype="f4", chunks=True)
    with pytest.raises(ValueError, match=r"its arrays take 4,000,\d+,\d+,?\d* bytes, expected at most 67,108,864"):
        read_minari(path)


def test_an_episode_in_two_parts(tmp_path):
    path = write_minari(tmp_path / "p-v0", make_table([5, 3], ["terminal", "open"]), data_format="arrow")
    part = next((path / "data" / "0").glob("*.arrow"))
    part.with_name("part-1.arrow").write_bytes(part.read_bytes())
    with pytest.raises(ValueError, match="episode 0 comes in 2 parts, expected one"):
        read_minari(path)
