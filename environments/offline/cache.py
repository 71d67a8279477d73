"""A folder in which data sets and behaviours are made once: each is whole or not there, and is found by its name."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["FOLDER_VARIABLE", "folder", "made_once"]

FOLDER_VARIABLE = "REWARDLAB_SETS"
CACHE = "rewardlab"  # folder in the user's cache


def folder() -> Path:
    """The folder that `REWARDLAB_SETS` names, else `rewardlab/sets` in the user's cache.

    Raises:
        ImportError: If the variable is not set and the package that knows the user's cache is missing.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    try:
        import pooch  # not needed where the variable says it
    except ImportError as error:
        raise ImportError(
            f"data sets made here are kept in the user's cache, which pooch finds: pip install 'rewardlab[offline]', "
            f"or name a folder in {FOLDER_VARIABLE}"
        ) from error
    return Path(pooch.os_cache(CACHE)) / "sets"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Path of the cached folder `name`, made first if it is not there.

    Several processes may ask at once: each that finds nothing makes it, the first to finish wins, and all use that one.

    Args:
        name: Of the folder, which says everything that its content depends on.
        make: Writes the content into an empty folder that it is given.

    Raises:
        OSError: If the cache cannot be written.
        Exception: What `make` raises passes through, and nothing is left behind.
    """
    target = folder() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        make(part)
        for file in filter(Path.is_file, part.rglob("*")):
            with file.open("rb+") as written:  # after a loss of power too, the name must not outlive the content
                os.fsync(written.fileno())
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was quicker
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target
