import sys
from pathlib import Path

import pytest

from llm_scale.models import cache


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_variable_names_the_folder_and_else_it_is_the_users_cache(monkeypatch, own_folder):
    assert cache.folder() == own_folder
    monkeypatch.setenv(cache.FOLDER_VARIABLE, "~/here")
    assert cache.folder() == Path.home() / "here"
    monkeypatch.delenv(cache.FOLDER_VARIABLE)
    assert cache.folder().name == "models" and "rewardlab" in cache.folder().parts


def test_what_is_there_is_not_made_again(own_folder):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "weights").write_text("7")

    for _ in range(2):
        assert (cache.made_once("m", make) / "weights").read_text() == "7"
    assert len(made) == 1
    assert [entry.name for entry in own_folder.iterdir()] == ["m"]


@pytest.mark.parametrize("error", [RuntimeError("half way"), KeyboardInterrupt()])
def test_half_a_model_is_not_left_behind(own_folder, error):
    def fails(folder):
        (folder / "weights").write_text("half")
        raise error

    with pytest.raises(type(error)):
        cache.made_once("m", fails)
    assert list(own_folder.iterdir()) == []
    assert (cache.made_once("m", lambda folder: (folder / "weights").write_text("whole")) / "weights").is_file()


def test_nothing_has_the_name_before_it_is_whole(own_folder):
    def make(folder):
        (folder / "weights").write_text("7")
        assert not (own_folder / "m").exists()

    assert cache.made_once("m", make) == own_folder / "m"


def test_the_quicker_of_two_processes_wins(own_folder):
    def slow(folder):
        (folder / "weights").write_text("slow")
        cache.made_once("m", lambda other: (other / "weights").write_text("quick"))

    assert (cache.made_once("m", slow) / "weights").read_text() == "quick"
    assert [entry.name for entry in own_folder.iterdir()] == ["m"]


def test_a_cache_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        cache.made_once("m", lambda folder: None)


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.delenv(cache.FOLDER_VARIABLE)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'rewardlab\[llm\]', or name a folder in REWARDLAB_MODELS"):
        cache.folder()
