"""Looks at a Minari data set's files before minari does: damaged or malicious ones must not take the process down.

minari reads whatever size a file declares, follows links out of the file, and takes columns from Arrow whose lengths
were never checked, which ends the process instead of raising an error.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["check_files"]

MOST_BYTES = 2**32
ALWAYS_READ = 2**26
DEEPEST = 16  # groups within groups: an observation space of spaces of spaces
MOST_EXPANSION = 200  # logged numbers compress a few times; thousands of times is a file made to fill the memory


def check_files(data: Path, data_format: str, episodes: int) -> None:
    """Do nothing if the files can be handed to minari.

    Args:
        data: The folder of metadata.json.
        data_format: "hdf5", "arrow" or "parquet".
        episodes: How many it should have.

    Raises:
        ImportError: If the package that reads this format is missing.
        ValueError: If a file is damaged, links out of itself, or declares sizes out of all proportion.
    """
    if data_format == "hdf5":
        _check_hdf5(data / "main_data.hdf5")
    else:
        _check_columns(data, data_format, episodes)


def _check_hdf5(path: Path) -> None:
    h5py = _imported("h5py")
    try:
        with h5py.File(path, "r") as file:
            needed = sum(_bytes_of(h5py, file, str(path), DEEPEST))
        most = min(MOST_BYTES, max(ALWAYS_READ, MOST_EXPANSION * path.stat().st_size))
    except (OSError, RuntimeError, KeyError, TypeError, SystemError) as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error!r}") from error
    if needed > most:
        raise ValueError(f"{path}: its arrays take {needed:,} bytes, expected at most {most:,} of such a file")


def _bytes_of(h5py: Any, group: Any, place: str, deeper: int) -> Iterator[int]:
    """What each array of a group declares; links are refused, and so are groups within groups without end."""
    if not deeper:
        raise ValueError(f"{place} lies too deep")
    for name in group:
        kind = group.id.links.get_info(name.encode() if isinstance(name, str) else name).type
        if kind != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{place}: {name!r} is a link, expected the numbers themselves")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _bytes_of(h5py, item, f"{place}: {name}", deeper - 1)
        elif item.is_virtual or item.external:
            raise ValueError(f"{place}: {name!r} takes its numbers from another file")
        else:
            yield max(item.size or 0, math.prod(item.chunks or (0,))) * item.dtype.itemsize


def _check_columns(data: Path, data_format: str, episodes: int) -> None:
    dataset = _imported("pyarrow.dataset")
    for number in range(episodes):
        folder = data / str(number)
        if not folder.is_dir():
            raise ValueError(f"{data}: episode {number}: its folder is missing")
        try:
            found = dataset.dataset(str(folder), format=data_format, ignore_prefixes=["_", ".", "metadata.json"])
            batches = list(found.to_batches())
            for batch in batches:
                batch.validate(full=True)
        except (OSError, ValueError, TypeError, MemoryError, NotImplementedError) as error:  # Arrow's own are of these
            raise ValueError(f"{data}: episode {number} is not readable {data_format}: {error!r}") from error
        if len(batches) != 1:  # minari would take the second for the next episode's
            raise ValueError(f"{data}: episode {number} comes in {len(batches)} parts, expected one")


def _imported(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"Minari's data sets need {name}: pip install 'rewardlab[offline]'") from error
