"""Named arrays in npz and HDF5 files: read without trusting the file, written whole or not at all."""

import io
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from long_runs.files import write_atomically

__all__ = ["hdf5_columns", "npz_columns", "write_hdf5", "write_npz"]

MOST_BYTES = 2**32  # a D4RL set of two million rows has a tenth of this
ALWAYS_READ = 2**26
MOST_EXPANSION = 200  # logged numbers compress a few times; thousands of times is a file made to fill the memory

Columns = dict[str, np.ndarray]


def npz_columns(
    path: str | Path, required: Sequence[str], optional: Sequence[str] = (), *, max_bytes: int | None = None
) -> tuple[Columns, tuple[str, ...]]:
    """Read some arrays of an npz file; what each needs in memory is known before any is read, and no pickle ever is.

    Args:
        path: The file.
        required: Names of arrays that must be there.
        optional: Names of arrays that are read if there.
        max_bytes: Most bytes the arrays may take in memory; None: 4 GiB, and 200 times the file (64 MiB at least).

    Returns:
        The arrays by name, and the names of those that were not read.

    Raises:
        ValueError: If it is no npz file, an array is missing, is said twice, holds objects or text, is not as long as
            its header says, or all take more than they may. Names file and key.
    """
    path = Path(path)
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            there = [member.filename.removesuffix(".npy") for member in members]
            wanted = _wanted(path, there, required, optional)
            chosen = {name: members[there.index(name)] for name in wanted}
            _check_bytes(path, sum(member.file_size for member in chosen.values()), size, max_bytes)
            columns = {name: _npy(path, archive, name, member) for name, member in chosen.items()}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{path}: not a readable npz file ({_said(error)})") from error
    return columns, tuple(name for name in there if name not in columns)


def hdf5_columns(
    path: str | Path, required: Sequence[str], optional: Sequence[str] = (), *, max_bytes: int | None = None
) -> tuple[Columns, tuple[str, ...]]:
    """Read some data sets at the root of an HDF5 file, as `npz_columns` does with arrays.

    Raises:
        ImportError: If h5py is not installed.
        ValueError: As `npz_columns`; also if a data set is a link, or takes its numbers from another file.
    """
    h5py = _h5py()
    path = Path(path)
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            there = [str(name) for name in file]  # bytes where a name is no UTF-8
            wanted = _wanted(path, there, required, optional)
            sets = {name: _data_set(h5py, path, file, name) for name in wanted}
            _check_bytes(path, sum(map(_bytes_needed, sets.values())), size, max_bytes)
            columns = {name: np.asarray(data[()]) for name, data in sets.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path}: not a readable HDF5 file ({_said(error)})") from error
    return columns, tuple(name for name in there if name not in columns)


def write_npz(path: str | Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **columns)
    write_atomically(path, buffer.getvalue())


def write_hdf5(path: str | Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write arrays as gzip-compressed data sets of an HDF5 file, whole or not at all.

    Raises:
        ImportError: If h5py is not installed.
    """
    h5py, buffer = _h5py(), io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, column in columns.items():
            file.create_dataset(name, data=column, compression="gzip")
    write_atomically(path, buffer.getvalue())


def _wanted(path: Path, there: Sequence[str], required: Sequence[str], optional: Iterable[str]) -> list[str]:
    if missing := [name for name in required if name not in there]:
        raise ValueError(f"{path}: no {', '.join(map(repr, missing))}; the file holds {', '.join(there) or 'nothing'}")
    wanted = [*required, *(name for name in optional if name in there)]
    if twice := [name for name in wanted if there.count(name) > 1]:
        raise ValueError(f"{path}: {twice[0]!r} is there twice, expected it once")
    return wanted


def _check_bytes(path: Path, needed: int, size: int, max_bytes: int | None) -> None:
    most = min(MOST_BYTES, max(ALWAYS_READ, MOST_EXPANSION * size)) if max_bytes is None else max_bytes
    if needed > most:
        raise ValueError(
            f"{path}: its arrays take {needed:,} bytes, the file {size:,}; expected at most {most:,}. "
            f"If that is right, say so by max_bytes"
        )


def _npy(path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> np.ndarray:
    try:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = header(stream)
            _check_dtype(path, name, dtype)
            declared = math.prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or stream.tell() + declared != member.file_size:
                raise ValueError(f"its header says {shape} of {dtype}, which is not what follows it")
        with archive.open(member) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, KeyError, TypeError, SyntaxError, zipfile.zlib.error) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {name!r} is not a readable array ({_said(error)})") from error


def _data_set(h5py, path: Path, file, name: str):
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path}: {name!r} is a {type(link).__name__}, expected the data set itself")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{path}: {name!r} is a {type(data).__name__.lower()}, expected a data set")
    if data.is_virtual or data.external:
        raise ValueError(f"{path}: {name!r} takes its numbers from another file, expected them here")
    if data.shape is None:
        raise ValueError(f"{path}: {name!r} is empty, expected an array")
    _check_dtype(path, name, data.dtype)
    return data


def _bytes_needed(data) -> int:
    chunk = math.prod(data.chunks) if data.chunks else 0
    return max(data.size, chunk) * data.dtype.itemsize


def _check_dtype(path: Path, name: str, dtype: np.dtype) -> None:
    if dtype.kind not in "fiub":
        kind = "Python objects" if dtype.hasobject else str(dtype)
        raise ValueError(f"{path}: {name!r} holds {kind}, expected real numbers")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _h5py():
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 files need h5py: pip install 'rewardlab[offline]'") from error
    return h5py
