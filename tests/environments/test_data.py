"""The data registry: right files are handed out, wrong ones refused, and absent ones explained."""

import hashlib
import http.server
import re
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest

from environments import data
from environments.data import registry

NAME = "llmbar/Adversarial/GPTOut/dataset.json"  # the smallest, 33 kB
COMMIT = "900616bff90b6c6c8e1681f7d079250637c55992"
UNREACHABLE = "http://127.0.0.1:9"  # nothing listens on the discard port, so a connection is refused at once


@pytest.fixture(scope="module")
def original() -> Path:
    return data.path(NAME)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder that REWARDLAB_DATA names."""
    local = tmp_path / "local"
    local.mkdir()
    monkeypatch.setenv(data.FOLDER_VARIABLE, str(local))
    return local


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    """An empty cache and no network; returns the cache."""
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(registry, "HOST", UNREACHABLE)
    return tmp_path / "cache" / registry.CACHE


@pytest.fixture
def server(tmp_path, monkeypatch, nowhere):
    """A host on the loopback device that serves the folder it returns in place of GitHub's."""
    root = tmp_path / "host"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root))
    thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(registry, "HOST", f"http://127.0.0.1:{host.server_port}")
    monkeypatch.delenv(data.FOLDER_VARIABLE, raising=False)
    yield root
    host.shutdown()
    thread.join()
    host.server_close()


def place(root: Path, name: str, content: bytes) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def publish(root: Path, content: bytes) -> Path:
    return place(root, f"princeton-nlp/LLMBar/{COMMIT}/Dataset/LLMBar/Adversarial/GPTOut/dataset.json", content)


def corrupted(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def test_the_registry_is_complete_and_pinned():
    files = [data.entry(name) for name in data.names()]
    assert len(files) == 115
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(r"[0-9a-f]{40}", file.commit)
        assert file.bytes > 10_000
        assert file.licence in ("MIT", "CC-BY-4.0")
    assert len({file.sha256 for file in files}) > 110  # not one line copied


def test_a_name_becomes_a_url_at_its_commit():
    expected = f"https://raw.githubusercontent.com/princeton-nlp/LLMBar/{COMMIT}/Dataset/LLMBar/Adversarial/GPTOut/dataset.json"
    assert data.entry(NAME).url == expected


def test_names_by_prefix():
    assert len(data.names("rewardmath/RewardMATH/")) == 31
    assert len(data.names("rewardmath/Rewardbench/")) == 13
    assert data.names("no such") == ()


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(data.DataError, match=r"no data file 'gsm8k/dev.jsonl'; there are gsm8k/"):
        data.path("gsm8k/dev.jsonl")
    with pytest.raises(data.DataError, match=r"there are gsm8k/, hh-rlhf/, llmbar/"):
        data.path("imagenet")


def test_a_file_of_the_local_folder_is_used_as_it_is(original, folder, nowhere):
    local = place(folder, NAME, original.read_bytes())
    assert data.path(NAME) == local
    assert not nowhere.exists()


def test_a_corrupted_local_file_is_refused(original, folder, nowhere):
    wrong = corrupted(original.read_bytes())
    local = place(folder, NAME, wrong)
    with pytest.raises(data.DataError) as refused:
        data.path(NAME)
    for part in (NAME, str(local), hashlib.sha256(wrong).hexdigest(), data.entry(NAME).sha256):
        assert part in str(refused.value)


def test_a_local_file_that_changes_later_is_refused(original, folder, nowhere):
    local = place(folder, NAME, original.read_bytes())
    data.path(NAME)
    local.write_bytes(corrupted(local.read_bytes()))  # same size
    with pytest.raises(data.DataError, match="SHA-256"):
        data.path(NAME)


def test_a_pointer_is_called_a_pointer(folder, nowhere):
    place(folder, NAME, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(data.DataError, match=rf"{NAME}: .* is a Git LFS pointer and not .* \(32,640 bytes"):
        data.path(NAME)


def test_a_folder_that_is_not_there_is_an_error_and_no_download(monkeypatch, server, original):
    publish(server, original.read_bytes())
    monkeypatch.setenv(data.FOLDER_VARIABLE, "/no/such/folder")
    with pytest.raises(data.DataError, match="REWARDLAB_DATA is '/no/such/folder', expected a folder"):
        data.path(NAME)


def test_without_network_and_cache_one_clear_error(monkeypatch, nowhere):
    monkeypatch.delenv(data.FOLDER_VARIABLE, raising=False)
    with pytest.raises(data.DataError) as offline:
        data.path(NAME)
    for part in (NAME, "0.03 MB", data.entry(NAME).url, "REWARDLAB_DATA", str(nowhere)):
        assert part in str(offline.value)


def test_without_network_the_error_says_that_the_local_folder_lacks_the_file(folder, nowhere):
    with pytest.raises(data.DataError, match=re.escape(f"or {folder} (REWARDLAB_DATA)")):
        data.path(NAME)


def test_a_download_is_kept(original, server, nowhere, monkeypatch):
    publish(server, original.read_bytes())
    first = data.path(NAME)
    assert first == nowhere / NAME
    assert first.read_bytes() == original.read_bytes()
    monkeypatch.setattr(registry, "HOST", UNREACHABLE)
    assert data.path(NAME) == first


def test_a_corrupted_download_is_refused_and_not_kept(original, server, nowhere):
    wrong = corrupted(original.read_bytes())
    publish(server, wrong)
    with pytest.raises(data.DataError) as refused:
        data.path(NAME)
    for part in (NAME, hashlib.sha256(wrong).hexdigest(), data.entry(NAME).sha256):
        assert part in str(refused.value)
    assert [file for file in nowhere.rglob("*") if file.is_file()] == []


def test_a_downloaded_pointer_is_called_a_pointer(server):
    publish(server, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(data.DataError, match="Git LFS pointer"):
        data.path(NAME)


def test_a_file_gone_from_the_host_is_the_same_clear_error(server):
    with pytest.raises(data.DataError, match=r"cannot be downloaded from .*404"):
        data.path(NAME)


def test_a_cached_file_that_broke_is_fetched_again(original, server, nowhere):
    publish(server, original.read_bytes())
    kept = data.path(NAME)
    kept.write_bytes(corrupted(kept.read_bytes()))
    assert data.path(NAME).read_bytes() == original.read_bytes()
    shutil.rmtree(nowhere)


@pytest.mark.slow  # 66 MB, to be downloaded where REWARDLAB_DATA names no folder
@pytest.mark.parametrize("name", data.names())
def test_every_registered_file_is_what_it_should_be(name):
    assert data.path(name).stat().st_size == data.entry(name).bytes
