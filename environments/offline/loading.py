"""Logged experience by name or path: one call for all formats."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environments.offline.formats.repairs import Loaded

__all__ = ["FORMATS", "format_of", "load"]

FORMATS = ("d4rl", "minari", "neorl", "neorl2", "revive")


def load(source: str | Path, *, file_format: str | None = None, **options: Any) -> Loaded:
    """Load logged experience.

    Args:
        source: Path of a file (of a folder, for Minari), or a registered name such as "neorl2/DMSD-train".
        file_format: One of `FORMATS`; None: told from the file.
        **options: For the format's own reader, as `read_d4rl`, `read_neorl`, ...

    Returns:
        The table, and the report of what was read and repaired.

    Raises:
        FileNotFoundError: If it is a path and nothing is there.
        ValueError: If the format cannot be told, or the file is not as it should be.
    """
    path = Path(source)
    if not path.exists():
        if isinstance(source, Path) or path.suffix in (".npz", ".hdf5", ".h5"):
            raise FileNotFoundError(f"{path}: no such file")
        from environments.offline.names import load_named

        return load_named(str(source), **options)
    return _reader(file_format or format_of(path))(path, **options)


def format_of(path: str | Path) -> str:
    """The format of a file, told from its ending and the names of its arrays.

    Raises:
        ValueError: If it is none of `FORMATS`.
    """
    path = Path(path)
    if path.is_dir():
        return "minari"
    if path.suffix in (".hdf5", ".h5"):
        return "d4rl"
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: neither HDF5 (.hdf5, .h5), nor npz, nor a folder; expected one of {FORMATS}")
    try:
        with zipfile.ZipFile(path) as archive:
            keys = {name.removesuffix(".npy") for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise ValueError(f"{path}: not a readable npz file ({type(error).__name__}: {error})") from error
    if "truncated" in keys:
        found = "neorl2"
    elif "index" in keys:  # REVIVE names its nodes freely; these three at once are NeoRL's
        found = "neorl" if {"obs", "reward", "done"} <= keys else "revive"
    else:
        raise ValueError(f"{path}: its arrays ({', '.join(sorted(keys))}) are of none of the formats {FORMATS}")
    return found


def _reader(file_format: str) -> Callable[..., Loaded]:
    if file_format == "d4rl":
        from environments.offline.formats.d4rl import read_d4rl as reader
    elif file_format == "neorl":
        from environments.offline.formats.neorl import read_neorl as reader
    elif file_format == "neorl2":
        from environments.offline.formats.neorl2 import read_neorl2 as reader
    elif file_format == "revive":
        from environments.offline.formats.revive import read_revive as reader
    elif file_format == "minari":
        from environments.offline.formats.minari_format import read_minari as reader
    else:
        raise ValueError(f"file_format is {file_format!r}, expected one of {', '.join(map(repr, FORMATS))}")
    return reader
