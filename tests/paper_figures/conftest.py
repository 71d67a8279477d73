"""A small project of its own in a temporary folder: one figure, one module that it imports, a ledger."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from paper_figures.figure import Scale
from paper_figures.runner import Figure, Result, discover, run_figure

FIGURE = """
import pandas as pd
from matplotlib.figure import Figure

from environments.slope import SLOPE
from paper_figures.figure import Claim, Verdict

TITLE = "A line & its slope"
CLAIMS = (
    Claim("rises", "2309.15257", "It rises", "The line rises.", "slope above 0", "slope 2", "One line only."),
    Claim("steep", "Ng 1999", "It is steep", "It is <steep>.", "slope above 10", "", "Steep is a matter of taste."),
)


def compute(scale, rng):
    log = open({log!r}, "a")
    log.write("computed\\n")
    steps = scale.pick(smoke=3, small=5)
    return pd.DataFrame({{"x": range(steps), "y": [SLOPE * x + rng for x in range(steps)]}})


def plot(frame):
    figure = Figure()
    figure.subplots().plot(frame.x, frame.y)
    return figure


def verdicts(frame):
    slope = float(frame.y.diff().mean())
    text = f"slope {{slope:.2f}}"
    return {{
        "rises": Verdict("supported" if slope > 0 else "refuted", text, slope, (slope - 1, slope + 1), "So it is."),
        "steep": Verdict("supported" if slope > 10 else "refuted", text, slope, None, "Not so."),
    }}


def table(frame):
    return pd.DataFrame({{"quantity": ["slope", "missing"], "ours": [frame.y.diff().mean() / 3, float("nan")]}})
"""

LEDGER = """
[line.rises]
smoke = "supported"
small = "supported"
sentence = "The slope is positive."

[line.steep]
smoke = "refuted"
small = "refuted"
sentence = "It never was steep."
"""


@dataclass
class Project:
    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "paper_figures"

    @property
    def output(self) -> Path:
        return self.root / "figures"

    @property
    def ledger(self) -> Path:
        return self.folder / "verdicts.toml"

    @property
    def figure(self) -> Figure:
        return discover(self.folder)["line"]

    def set_slope(self, slope: float) -> None:
        (self.root / "environments" / "slope.py").write_text(f"SLOPE = {slope}\n")
        sys.modules.pop("environments.slope", None)

    def times_computed(self) -> int:
        log = self.root / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def run(self, scale: str = "smoke", **options) -> Result:
        return run_figure(self.figure, Scale(scale), self.output, root=self.root, **options)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    for package in ("environments", "paper_figures", "rewardlab"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    made = Project(tmp_path)
    made.set_slope(2)
    (made.folder / "line.py").write_text(FIGURE.format(log=str(tmp_path / "log")))
    (made.folder / "helper.py").write_text("TITLE = 'not a figure'\n")
    made.ledger.write_text(LEDGER)
    # The figure imports its own `environments.slope`; the real package stays importable beside it.
    import environments

    monkeypatch.setattr(environments, "__path__", [*environments.__path__, str(tmp_path / "environments")])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits come faster than the clock of compiled files ticks
    yield made
    sys.modules.pop("environments.slope", None)
