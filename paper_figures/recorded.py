"""Figures drawn from a recorded run: training that nobody waits for while a report is made.

A figure that assigns `RECORDED = ("small", "gpu")` is drawn at these scales from `results/<scale>/<id>/` of the
package that ran it: `llm_scale`, `environments.offline` or `environments.nethack`. Its command
`python -m <package>.experiments <id>` writes it: the data, and in run.json the command, machine, versions, seeds and
wall time. At other scales the figure computes.
"""

import json
from pathlib import Path
from typing import Any

__all__ = ["recorded_folder", "recorded_run"]

PACKAGES = ("llm_scale", "environments.offline", "environments.nethack")


def recorded_folder(figure: str, scale: str, root: Path) -> Path:
    """Where a figure's recorded run of a scale lies, whether there is one or not."""
    return _package(figure, root) / "results" / scale / figure


def recorded_run(figure: str, scale: str, root: Path) -> dict[str, Any]:
    """What is known of a recorded run: its run.json.

    Raises:
        FileNotFoundError: If there is none; says which command makes it.
    """
    path = recorded_folder(figure, scale, root) / "run.json"
    if not path.is_file():
        package = ".".join(_package(figure, root).relative_to(root).parts)
        raise FileNotFoundError(
            f"{figure} at scale {scale} is drawn from a recorded run, and there is none in {path.parent}; "
            f"make it with: python -m {package}.experiments {figure} --scale {scale}"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _package(figure: str, root: Path) -> Path:
    """The package that has the experiment of a figure's name; the first where none has."""
    folders = [root.joinpath(*package.split(".")) for package in PACKAGES]
    return next((folder for folder in folders if (folder / "experiments" / f"{figure}.py").is_file()), folders[0])
