"""Where data sets and behaviours that were made here are kept."""

from collections.abc import Callable
from pathlib import Path

from long_runs import kept_folders

__all__ = ["FOLDER_VARIABLE", "folder", "made_once"]

FOLDER_VARIABLE = "REWARDLAB_SETS"


def folder() -> Path:
    """The folder that `REWARDLAB_SETS` names, else `rewardlab/sets` in the user's cache; see `cache_folder`."""
    return kept_folders.cache_folder("sets", variable=FOLDER_VARIABLE, extra="offline")


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Path of the kept folder `name`, made first if it is not there; see `long_runs.kept_folders.made_once`."""
    return kept_folders.made_once(folder() / name, make)
