import os

import pytest

from long_runs import files as module
from long_runs.files import remove_folder, sha256_of, write_atomically


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_atomically(path, "old – one")
    assert path.read_bytes() == "old – one".encode()
    seen = []

    def looks(source, target):
        seen.append((path.read_text(encoding="utf-8"), target))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "replace", looks)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, "new")
    assert seen == [("old – one", path)] and path.read_text(encoding="utf-8") == "old – one"
    write_atomically(path, b"\x00new")
    assert path.read_bytes() == b"\x00new" and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_gone_from_its_name_before_its_files_go(tmp_path, monkeypatch):
    folder = tmp_path / "step-1"
    folder.mkdir()
    (folder / "a").write_text("a")

    def dies(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "unlink", dies)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(folder)
    assert os.listdir(tmp_path) == [".deleted-step-1"]
    folder.mkdir()
    remove_folder(folder)
    assert os.listdir(tmp_path) == []


def test_a_hash_as_published(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
