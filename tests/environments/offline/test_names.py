"""Names: the registry's files, sets made here, and Minari's, found locally or refused without a network."""

import subprocess
import sys
from pathlib import Path

import pytest

from environments import data
from environments.offline.formats.minari_format import write_minari
from environments.offline.formats.neorl2 import read_neorl2
from environments.offline.formats.repairs import Repairs
from environments.offline.loading import load
from environments.offline.made.cache import FOLDER_VARIABLE
from environments.offline.names import load_named, registered_names
from tests.environments.offline.tables import assert_same, make_table


@pytest.mark.parametrize("name", ["DMSD-val", "SafetyHalfCheetah-train", "RocketRecovery-val"])
def test_files_of_the_registry(name):
    assert f"neorl2/{name}" in registered_names()
    loaded = load_named(f"neorl2/{name}")
    task, part = name.split("-")
    file = next(file for file in data.names("neorl2/") if task in file and part in file)
    assert_same(loaded.table, read_neorl2(data.path(file)).table)
    assert file.removeprefix("neorl2/") in loaded.report.source


def test_every_registered_file_has_a_name():
    assert len([name for name in registered_names() if name.startswith("neorl2/")]) == len(data.names("neorl2/"))


def test_options_reach_the_reader():
    loaded = load_named("neorl2/DMSD-val", repairs=Repairs(time_limit=100))
    assert loaded.report.source


def test_a_set_made_here(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    first = load_named("made/inverted-pendulum/random", rows=30, seed=2)
    assert_same(load("made/inverted-pendulum/random", rows=30, seed=2).table, first.table)
    assert 30 <= first.report.rows < 60


def test_minaris_sets_are_found_where_it_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    table = make_table([3, 2], ["terminal", "timeout"])
    write_minari(tmp_path / "mujoco" / "walker" / "simple-v0", table, dataset_id="mujoco/walker/simple-v0")
    assert_same(load_named("mujoco/walker/simple-v0").table, table)
    assert_same(load("mujoco/walker/simple-v0").table, table)


@pytest.mark.parametrize("name", ["mujoco/hopper/medium-v0", "D4RL/door/human-v2"])
def test_without_a_network(name, tmp_path):
    code = f"from environments.offline.names import load_named; load_named({name!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={"HF_HUB_OFFLINE": "1", "MINARI_DATASETS_PATH": str(tmp_path), "HOME": str(tmp_path)},
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"environments.data.registry.DataError: {name} is not in {tmp_path}")
    assert "cannot be downloaded" in last
    assert "MINARI_DATASETS_PATH" in last


def test_names_of_nothing():
    with pytest.raises(ValueError, match=r"no data set 'neorl2/DMSD'; there are neorl2/DMSD-train, neorl2/DMSD-val"):
        load_named("neorl2/DMSD")
    with pytest.raises(ValueError, match="no data set 'made/hopper'; there are made/inverted-pendulum/random"):
        load_named("made/hopper")
    with pytest.raises(ValueError, match=r"no data set 'hopper-medium-v2'.*named by its path"):
        load_named("hopper-medium-v2")
    with pytest.raises(ValueError, match="no data set"):
        load_named("../../somewhere/set-v0")
