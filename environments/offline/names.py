"""Logged experience by registered name.

| name | what it is |
|---|---|
| `neorl2/DMSD-train`, `neorl2/DMSD-val`, ... | NeoRL-2's published files, from the registry `environments.data` |
| `made/hopper/medium`, ... | made here once, see `environments.offline.made.recipes` |
| `mujoco/hopper/medium-v0`, `D4RL/door/human-v2`, ... | Minari's, found where it keeps them or downloaded by it |

Minari keeps its sets in the folder that `MINARI_DATASETS_PATH` names, else in `.minari/datasets` at home.
"""

import re
from pathlib import Path
from typing import Any

from environments import data
from environments.data import DataError
from environments.offline.formats.repairs import Loaded

__all__ = ["load_named", "registered_names"]

NEORL2, MADE = "neorl2/", "made/"
NEORL2_FILE = re.compile(r"neorl2/(?P<task>\w+)-high-\d+-(?P<part>train|val)\.npz")
MINARI_NAME = re.compile(r"([\w.-]+/)+[\w.-]+-v\d+")


def registered_names() -> tuple[str, ...]:
    """All names but Minari's, which only its server knows."""
    from environments.offline.made.recipes import RECIPES

    return (*sorted(_neorl2_files()), *(MADE + name for name in RECIPES))


def load_named(name: str, **options: Any) -> Loaded:
    """Load a registered data set.

    Args:
        name: See the module.
        **options: For the reader of its format (`read_neorl2`, `read_minari`), or for `kept_dataset`: `rows`, `seed`.

    Returns:
        The table and the report of what was read.

    Raises:
        DataError: If the file is not here and cannot be downloaded, or is not what was registered.
        ImportError: If a package that reads or makes it is missing.
        ValueError: If no set has this name, or the file is not as it should be.
    """
    if name.startswith(NEORL2):
        from environments.offline.formats.neorl2 import read_neorl2

        files = _neorl2_files()
        if name not in files:
            raise ValueError(f"no data set {name!r}; there are {', '.join(sorted(files))}")
        return read_neorl2(data.path(files[name]), **options)
    if name.startswith(MADE):
        return _made(name.removeprefix(MADE), **options)
    if MINARI_NAME.fullmatch(name) and ".." not in name:
        from environments.offline.formats.minari_format import read_minari

        return read_minari(_minari_folder(name), **options)
    raise ValueError(
        f"no data set {name!r}; there are {', '.join(registered_names())}, "
        f"and Minari's like 'mujoco/hopper/medium-v0'. "
        f"A file is named by its path: D4RL's own (hopper-medium-v2.hdf5) are loaded so."
    )


def _neorl2_files() -> dict[str, str]:
    found = (NEORL2_FILE.fullmatch(name) for name in data.names(NEORL2))
    return {f"{NEORL2}{one['task']}-{one['part']}": one.string for one in found if one}


def _made(name: str, **options: Any) -> Loaded:
    from environments.offline.formats.minari_format import read_minari
    from environments.offline.made.recipes import RECIPES, kept_folder

    if name not in RECIPES:
        raise ValueError(f"no data set {MADE + name!r}; there are {', '.join(MADE + known for known in RECIPES)}")
    making = {key: options.pop(key) for key in ("rows", "seed", "on_step") if key in options}
    return read_minari(kept_folder(name, **making), **options)


def _minari_folder(name: str) -> Path:
    try:
        import minari
        from minari.storage.datasets_root_dir import get_dataset_path
    except ImportError as error:
        raise ImportError(f"{name}: Minari's data sets need minari: pip install 'rewardlab[offline]'") from error
    folder = get_dataset_path(name)
    if (folder / "data" / "metadata.json").is_file():
        return folder
    try:
        minari.download_dataset(name)
    except ImportError as error:
        raise ImportError(f"{name} is not in {folder}, and to download it minari lacks a package: {error}") from error
    except ValueError as error:
        raise ValueError(f"no data set {name!r} in {folder} or on Minari's server: {error}") from error
    except Exception as error:  # whatever a network, or its absence, may raise
        raise DataError(
            f"{name} is not in {folder} and cannot be downloaded: {error}. Without a network, copy its folder there, "
            f"or name the folder that holds it in MINARI_DATASETS_PATH."
        ) from error
    return folder
