"""Results of runs too long to repeat at every turn: a table, and beside it what made it.

A recorded run is a folder with `data.csv` and `run.json`: command, seeds, device, versions, seconds, date, commit, and
the table's SHA-256, by which `read_recorded` sees that both belong together.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from long_runs.files import sha256_of, write_atomically

__all__ = ["current_commit", "describe_device", "library_versions", "read_recorded", "record_run"]

LIBRARIES = (
    "numpy",
    "torch",
    "gymnasium",
    "mujoco",
    "nle",
    "minihack",
    "stable_baselines3",
    "sb3_contrib",
    "transformers",
    "tokenizers",
    "safetensors",
    "peft",
    "trl",
    "accelerate",
    "pandas",
)
REQUIRED = ("command", "seeds", "device", "versions", "wall_seconds", "date", "commit", "rows", "data_sha256")


def record_run(
    folder: str | Path,
    frame: pd.DataFrame,
    *,
    command: str,
    seeds: Sequence[int],
    wall_seconds: float,
    device: str | None = None,
    versions: Mapping[str, str] | None = None,
    commit: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Write a run's table and what made it; a record that was there is replaced.

    Args:
        folder: Where `data.csv` and `run.json` go; made where there is none.
        frame: One row an observation; its index is not kept.
        command: What to type for the same run.
        seeds: Of all its parts.
        wall_seconds: That it took.
        device: What it ran on; None: `describe_device()`.
        versions: By library; None: `library_versions()`.
        commit: Of the code; None: `current_commit()`.
        more: Anything else that JSON can hold.

    Returns:
        What `run.json` holds.

    Raises:
        ValueError: If the table is empty, has two columns of one name or an unnamed one, or a time is no positive
            number.
        TypeError: If `more` cannot be written as JSON.
    """
    if frame.empty or not frame.columns.is_unique or any(not isinstance(name, str) for name in frame.columns):
        raise ValueError(
            f"a table of {len(frame)} rows with the columns {list(frame.columns)}, expected rows and names"
        )
    if not (math.isfinite(wall_seconds) and wall_seconds > 0):
        raise ValueError(f"wall_seconds is {wall_seconds}, expected a positive number")
    table = frame.to_csv(index=False, lineterminator="\n").encode()
    record = {
        "command": command,
        "seeds": [int(seed) for seed in seeds],
        "device": describe_device() if device is None else device,
        "versions": dict(library_versions() if versions is None else versions),
        "wall_seconds": round(float(wall_seconds), 3),
        "date": time.strftime("%Y-%m-%d"),
        "commit": current_commit() if commit is None else commit,
        "rows": len(frame),
        "data_sha256": hashlib.sha256(table).hexdigest(),
        **more,
    }
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # a table whose record is not there yet is no recorded run
    write_atomically(folder / "data.csv", table)
    write_atomically(folder / "run.json", text)
    return record


def read_recorded(folder: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a recorded run.

    Returns:
        The table, numbers exactly as they were, and what made it.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If `run.json` is no record or lacks something, or the table is not the one it was written with.
    """
    folder = Path(folder)
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    missing = [name for name in REQUIRED if not isinstance(record, dict) or name not in record]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    found = sha256_of(folder / "data.csv")
    if found != record["data_sha256"]:
        raise ValueError(
            f"{folder / 'data.csv'} has SHA-256 {found}, {path.name} says {record['data_sha256']}: run it again"
        )
    return pd.read_csv(folder / "data.csv", engine="python"), record  # which reads floats exactly in every version


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers come from; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_device(device: str = "cpu") -> str:
    """Name of a GPU, or of the processor with the number of its cores and of torch's threads."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def current_commit(folder: str | Path = Path(__file__).parent) -> str:
    """Commit of a folder's repository, with `+changes` where files differ from it; `unknown` without git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: str | Path, *arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()
