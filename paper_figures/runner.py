"""Runs figures, keeps their results by the hash of what they depend on, and writes the report.

Each figure's files land in `figures/<id>/` as soon as it is done, so an interrupted run goes on where it stopped.
Results are kept for each scale under `figures/.cache/`, so that switching back and forth between scales costs nothing.
"""

import ast
import importlib.util
import json
import math
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.fingerprint import ROOT, fingerprint, library_versions
from paper_figures.recorded import recorded_run

SEED = 0
FOLDER = Path(__file__).resolve().parent
OUTPUT = ROOT / "figures"
FILES = ("figure.png", "figure.svg", "data.csv", "verdict.json")


class FigureError(Exception):
    """A figure that cannot run, or broke its contract; the message says what to do."""


@dataclass(frozen=True)
class Figure:
    """A figure file, found but not yet imported.

    Args:
        id: Its name, the file's stem.
        path: Its file.
        extra: Modules it needs beyond the base install.
        recorded: Scales at which it is drawn from a recorded run.
    """

    id: str
    path: Path
    extra: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a run left: the record written to `verdict.json`, and whether it was there already."""

    record: dict[str, Any]
    cached: bool

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by claim id."""
        return {claim["id"]: claim["verdict"]["outcome"] for claim in self.record["claims"]}


def discover(folder: Path = FOLDER) -> dict[str, Figure]:
    """Every figure file of a folder by id, in alphabetical order: a file that assigns `CLAIMS`. Nothing is imported."""
    figures = {}
    for path in sorted(folder.glob("*.py")):
        assigned = _assignments(ast.parse(path.read_bytes(), filename=str(path)))
        if "CLAIMS" in assigned:
            extra, recorded = (
                tuple(ast.literal_eval(assigned[name])) if name in assigned else () for name in ("EXTRA", "RECORDED")
            )
            figures[path.stem] = Figure(path.stem, path, extra, recorded)
    return figures


def select(figures: dict[str, Figure], only: Iterable[str]) -> list[Figure]:
    """The named figures, or all of them where none is named.

    Raises:
        FigureError: If a name is unknown.
    """
    only = list(only)
    unknown = [name for name in only if name not in figures]
    if unknown:
        raise FigureError(f"no figure {', '.join(map(repr, unknown))}; there are {', '.join(figures)}")
    return [figure for name, figure in figures.items() if not only or name in only]


def run_figure(figure: Figure, scale: Scale, output: Path = OUTPUT, *, seed: int = SEED, root: Path = ROOT) -> Result:
    """Compute, draw and judge one figure, or take the result that is there if nothing it depends on has changed.

    Args:
        figure: As `discover` returns it.
        scale: Its size and the number of worker processes.
        output: Folder of the results; the files go to `output/<id>/`.
        seed: Handed to `compute`.
        root: Folder of the packages that the figure imports.

    Raises:
        FigureError: If a module is missing, a GPU is needed and absent, or the figure breaks its contract.
    """
    key = fingerprint(figure.path, scale=scale.name, seed=seed, root=root)
    kept = output / ".cache" / scale.name / figure.id
    record = read_record(kept)
    cached = record is not None and record["key"] == key
    if not cached:
        _check_requirements(figure, scale)
        record = _compute(figure, scale, seed, key, kept, root)
    published = output / figure.id
    if read_record(published) != record:
        published.mkdir(parents=True, exist_ok=True)
        for name in FILES:  # the record comes last: it is there only when the others are
            shutil.copyfile(kept / name, published / name)
    return Result(record, cached)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished result, or None where a file is missing or unreadable."""
    if not all((folder / name).is_file() for name in FILES):
        return None
    try:
        return json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return None


def default_workers() -> int:
    """Two processes, or one on a single core."""
    return min(2, os.cpu_count() or 1)


def _assignments(tree: ast.Module) -> dict[str, ast.expr]:
    assigned = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            assigned |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            assigned[node.target.id] = node.value
    return assigned


def _check_requirements(figure: Figure, scale: Scale) -> None:
    missing = [name for name in ("matplotlib", *figure.extra) if importlib.util.find_spec(name) is None]
    if missing:
        raise FigureError(f"{figure.id} needs {', '.join(missing)}; install it with: pip install -e '.[figures]'")
    if scale.name == "gpu" and scale.name not in figure.recorded:
        import torch

        if not torch.cuda.is_available():
            raise FigureError(f"{figure.id} at scale gpu needs a CUDA device, and torch finds none")


def _load(figure: Figure) -> ModuleType:
    if figure.path.parent == FOLDER:
        module = importlib.import_module(f"paper_figures.{figure.id}")
    else:
        spec = importlib.util.spec_from_file_location(f"_figure_{figure.id}", figure.path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    absent = [name for name in ("TITLE", "CLAIMS", "compute", "plot", "verdicts") if not hasattr(module, name)]
    if absent:
        raise FigureError(f"{figure.path.name} does not define {', '.join(absent)}")
    return module


def _compute(figure: Figure, scale: Scale, seed: int, key: str, kept: Path, root: Path) -> dict[str, Any]:
    """Run a figure's functions and put the files in `kept`, all of them or none."""
    import matplotlib

    matplotlib.use("Agg")
    from paper_figures import style

    module = _load(figure)
    started = time.perf_counter()
    with warnings.catch_warnings():  # joblib replaces a worker that has grown; nothing is lost
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
        frame = module.compute(scale, seed)
    verdicts = module.verdicts(frame)
    seconds = time.perf_counter() - started
    record = {
        "figure": figure.id,
        "title": module.TITLE,
        "claims": _judged(figure, module.CLAIMS, verdicts),
        "table": _rows(module.table(frame)) if hasattr(module, "table") else None,
        "scale": scale.name,
        "seed": seed,
        "seconds": round(seconds, 3),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"python": platform.python_version(), **library_versions()},
        "recorded": recorded_run(figure.id, scale.name, root) if scale.name in figure.recorded else None,
        "key": key,
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{figure.id}-") as scratch:
        folder = Path(scratch)
        with matplotlib.rc_context(style.settings()):
            picture = module.plot(frame)
            picture.savefig(folder / "figure.png")
            picture.savefig(folder / "figure.svg", metadata={"Date": None})
        _close(picture)
        frame.to_csv(folder / "data.csv", index=False)
        (folder / "verdict.json").write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        kept.mkdir(exist_ok=True)
        (kept / "verdict.json").unlink(missing_ok=True)  # a result without its record does not count
        for name in FILES:
            os.replace(folder / name, kept / name)
    return record


def _close(picture: Any) -> None:
    import matplotlib.pyplot as plt

    plt.close(picture)


def _judged(figure: Figure, claims: tuple[Claim, ...], verdicts: dict[str, Verdict]) -> list[dict[str, Any]]:
    ids = [claim.id for claim in claims]
    if len(set(ids)) != len(ids) or set(ids) != set(verdicts):
        raise FigureError(f"{figure.id}: expected one verdict for each claim {ids}, got {list(verdicts)}")
    judged = [asdict(claim) | {"verdict": asdict(verdicts[claim.id])} for claim in claims]
    for claim in judged:
        verdict = claim["verdict"]
        verdict["value"] = _plain(verdict["value"])
        verdict["interval"] = verdict["interval"] and [_plain(bound) for bound in verdict["interval"]]
    return judged


def _rows(table: Any) -> dict[str, list]:
    return {
        "columns": [str(column) for column in table.columns],
        "rows": [[_plain(value) for value in row] for row in table.itertuples(index=False)],
    }


def _plain(value: Any) -> Any:
    """A value that JSON can hold: NumPy scalars as Python's, None for NaN, infinities as text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "∞" if value > 0 else "-∞"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def run_all(
    figures: list[Figure],
    scale: Scale,
    output: Path = OUTPUT,
    *,
    root: Path = ROOT,
    done: Callable[[Figure, Result | Exception], None] = lambda figure, result: None,
    start: Callable[[Figure], None] = lambda figure: None,
) -> dict[str, Result | Exception]:
    """Run figures one after the other; one that fails does not stop the others.

    Args:
        figures: As `select` returns them.
        scale: Their size; the workers serve one figure at a time.
        output: Folder of the results.
        root: Folder of the packages that the figures import.
        done: Called after each figure with its result, or with the error that it raised.
        start: Called before each figure.

    Returns:
        Result or error by figure id.
    """
    results: dict[str, Result | Exception] = {}
    for figure in figures:
        start(figure)
        try:
            results[figure.id] = run_figure(figure, scale, output, root=root)
        except Exception as error:  # shown and counted by the caller, who also fails for it
            results[figure.id] = error
        done(figure, results[figure.id])
    return results
