"""The registry of data files: name -> URL at a pinned commit, SHA-256, size and licence."""

import hashlib
import os
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

__all__ = ["FOLDER_VARIABLE", "DataError", "DataFile", "entry", "names", "path"]

FOLDER_VARIABLE = "REWARDLAB_DATA"
HOST = "https://raw.githubusercontent.com"
CACHE = "rewardlab"  # folder in the user's cache
TIMEOUT = 60  # seconds without an answer
LFS_POINTER = b"version https://git-lfs"  # how a file begins that Git LFS left out


class DataError(Exception):
    """A data file that cannot be had, or is not what it should be; the message says which and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """What the registry knows of a file.

    Args:
        name: The name to ask for; also its place in a local folder.
        repository: `owner/name` on GitHub.
        commit: The commit it is taken from.
        path_in_repository: Its path there.
        bytes: Its size.
        sha256: What it must hash to.
        licence: SPDX identifier of the licence it is under.
    """

    name: str
    repository: str
    commit: str
    path_in_repository: str
    bytes: int
    sha256: str
    licence: str

    @property
    def url(self) -> str:
        """Where the file is downloaded from: this commit's version, whatever happens to the branch."""
        return f"{HOST}/{self.repository}/{self.commit}/{quote(self.path_in_repository)}"


def names(prefix: str = "") -> tuple[str, ...]:
    """Names of all registered files that begin with `prefix`, sorted."""
    return tuple(sorted(name for name in _registry() if name.startswith(prefix)))


def entry(name: str) -> DataFile:
    """What the registry knows of a file.

    Raises:
        DataError: If there is no such file; names the nearest, or those in the same folder.
    """
    try:
        return _registry()[name]
    except KeyError:
        folder = name.split("/", 1)[0] + "/"
        near = (
            get_close_matches(name, _registry(), n=3, cutoff=0.8)
            or names(folder)
            or sorted({known.split("/", 1)[0] + "/" for known in _registry()})
        )
        raise DataError(f"no data file {name!r}; there are {', '.join(near)}") from None


def path(name: str) -> Path:
    """Path of a data file on this machine, its hash checked on every call.

    A file in the folder that `REWARDLAB_DATA` names is used as it is. Any other is downloaded once, into `rewardlab` in
    the user's cache folder.

    Args:
        name: Its name, one of `names()`.

    Raises:
        DataError: If the name is unknown, the file has another hash than registered, is only a Git LFS pointer, or is
            neither here nor can be downloaded. The message names the file, and what was expected and found.
    """
    file = entry(name)
    folder = _local_folder()
    if folder is not None and (folder / name).is_file():
        _check(folder / name, file)
        return folder / name
    return _download(file, folder)


@cache
def _registry() -> MappingProxyType[str, DataFile]:
    table = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
    return MappingProxyType(
        {
            name: DataFile(
                name=name,
                repository=source["repository"],
                commit=source["commit"],
                path_in_repository=file["path"],
                bytes=file["bytes"],
                sha256=file["sha256"],
                licence=source["licence"],
            )
            for source in table["source"]
            for name, file in source["files"].items()
        }
    )


def _local_folder() -> Path | None:
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():  # a slip of the pen must not start a download
        raise DataError(f"{FOLDER_VARIABLE} is {named!r}, expected a folder that holds the data files")
    return folder


def _check(found: Path, file: DataFile) -> None:
    with found.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise DataError(
                f"{file.name}: {found} is a Git LFS pointer and not the file itself ({file.bytes:,} bytes); "
                f"fetch the file with `git lfs pull`, or from {file.url}"
            )
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise DataError(
            f"{file.name}: {found} has SHA-256 {digest}, expected {file.sha256} "
            f"({found.stat().st_size:,} bytes, expected {file.bytes:,}); the file was changed or not copied whole"
        )


def _download(file: DataFile, folder: Path | None) -> Path:
    import pooch  # not needed where the files are there already

    def fetch(url: str, target: str, asked: pooch.Pooch) -> None:
        pooch.HTTPDownloader(timeout=TIMEOUT)(url, target, asked)
        _check(Path(target), file)  # before pooch's own check, which cannot tell a pointer from a broken file

    cache_folder = pooch.os_cache(CACHE)
    store = pooch.create(
        cache_folder, base_url="", urls={file.name: file.url}, registry={file.name: f"sha256:{file.sha256}"}
    )
    try:
        return Path(store.fetch(file.name, downloader=fetch))
    except OSError as error:  # includes everything that `requests` raises
        looked = f"{cache_folder} or {folder} ({FOLDER_VARIABLE})" if folder else f"{cache_folder}"
        raise DataError(
            f"{file.name} ({file.bytes / 1e6:.2f} MB) is not in {looked} and cannot be downloaded from {file.url}: "
            f"{error}. Without a network, put it into a folder as {file.name} and name the folder in {FOLDER_VARIABLE}."
        ) from error
