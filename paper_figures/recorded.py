"""Figures drawn from a recorded run: language-model training that nobody waits for while a report is made.

A figure that assigns `RECORDED = ("small", "gpu")` is drawn at these scales from `llm_scale/results/<scale>/<id>/`,
written by `python -m llm_scale.experiments <id> --scale <scale>`: the data, and in run.json the command, machine,
versions, seeds and wall time. At the other scales the figure computes.
"""

import json
from pathlib import Path
from typing import Any

__all__ = ["recorded_folder", "recorded_run"]


def recorded_folder(figure: str, scale: str, root: Path) -> Path:
    """Where a figure's recorded run of a scale lies, whether there is one or not."""
    return root / "llm_scale" / "results" / scale / figure


def recorded_run(figure: str, scale: str, root: Path) -> dict[str, Any]:
    """What is known of a recorded run: its run.json.

    Raises:
        FileNotFoundError: If there is none; says which command makes it.
    """
    path = recorded_folder(figure, scale, root) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{figure} at scale {scale} is drawn from a recorded run, and there is none in {path.parent}; "
            f"make it with: python -m llm_scale.experiments {figure} --scale {scale}"
        )
    return json.loads(path.read_text(encoding="utf-8"))
