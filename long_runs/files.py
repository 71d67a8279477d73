"""Files that are whole or not there, and the hashes that say whether one is still what was written."""

import hashlib
import os
import shutil
from pathlib import Path

__all__ = ["remove_folder", "sha256_of", "sync_folder", "write_atomically"]


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that at every moment it is the old one or the new one, never half of one.

    Args:
        path: Where; the folder exists. A file `<path>.part` is written first, brought to the disk and renamed.
        content: Bytes, or text, which is written as UTF-8.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: str | Path) -> None:
    """Bring a folder's list of names to the disk: a rename survives a loss of power only after that."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a process killed on the way leaves no half of it under its name."""
    doomed = folder.with_name(f".deleted-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.replace(folder, doomed)
    shutil.rmtree(doomed)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
