"""Folders in the user's cache in which things are made once: each is whole or not there, and is found by its name."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["cache_folder", "made_once"]

CACHE = "rewardlab"  # folder in the user's cache


def cache_folder(name: str, *, variable: str, extra: str) -> Path:
    """The folder that an environment variable names, else `rewardlab/<name>` in the user's cache.

    Args:
        name: Of the folder in the cache; says what is kept there.
        variable: The environment variable.
        extra: Of this project, that brings the package that knows the user's cache.

    Raises:
        ImportError: If the variable is not set and that package is missing.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser()
    try:
        import pooch  # not needed where the variable says it
    except ImportError as error:
        raise ImportError(
            f"{name} are kept in the user's cache, which pooch finds: pip install 'rewardlab[{extra}]', "
            f"or name a folder in {variable}"
        ) from error
    return Path(pooch.os_cache(CACHE)) / name


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """A folder, made first if it is not there.

    Several processes may ask at once: each that finds nothing makes it, the first to finish wins, and all use that one.

    Args:
        target: The folder, whose name says everything that its content depends on.
        make: Writes the content into an empty folder that it is given.

    Returns:
        `target`.

    Raises:
        OSError: If the cache cannot be written.
        Exception: What `make` raises passes through, and nothing is left behind.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
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
