"""What a figure is: claims fixed before looking, the data that test them, a picture, and a verdict on each claim.

A figure is one file, `paper_figures/<id>.py`, that defines

    TITLE: str
    CLAIMS: tuple[Claim, ...]                            # CLAIMS[0] is the headline
    def compute(scale: Scale, rng: int) -> pd.DataFrame  # tidy: one row an observation
    def plot(frame) -> matplotlib.figure.Figure
    def verdicts(frame) -> dict[str, Verdict]            # one for each claim, by its id

and may define `table(frame) -> pd.DataFrame`, a small table shown beside the picture (the published number
beside ours), and `EXTRA = ("torch",)`, modules it needs beyond the base install. `compute` returns the same numbers for
the same seed, whatever the number of workers.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

ScaleName = Literal["smoke", "small", "paper", "gpu"]
Outcome = Literal["supported", "refuted", "undecided"]
Value = TypeVar("Value")

SCALES: tuple[ScaleName, ...] = get_args(ScaleName)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Scale:
    """How large a run is.

    Args:
        name: `smoke` (seconds, for CI), `small` (all figures in about 15 minutes on 2 cores), `paper` (the published
            size), `gpu` (needs CUDA).
        workers: Processes a figure may use; never changes its numbers.
    """

    name: ScaleName
    workers: int = 1

    def __post_init__(self) -> None:
        if self.name not in SCALES:
            raise ValueError(f"scale: expected one of {', '.join(SCALES)}, got {self.name!r}")
        if self.workers < 1:
            raise ValueError(f"workers: expected at least 1, got {self.workers}")

    def pick(self, *, smoke: Value, small: Value, paper: Value | None = None, gpu: Value | None = None) -> Value:
        """The value for this scale; `paper` defaults to `small`, and `gpu` to `paper`."""
        paper = small if paper is None else paper
        return {"smoke": smoke, "small": small, "paper": paper, "gpu": paper if gpu is None else gpu}[self.name]


@dataclass(frozen=True)
class Claim:
    """A sentence that can turn out wrong, and the rule that decides, written down before looking.

    Args:
        id: Short name, unique within its figure.
        paper: arXiv id, or author and year where there is none.
        title: The claim as a heading.
        says: The claim in a sentence.
        threshold: When it counts as supported.
        published: The paper's own number; empty where it gives none.
        limits: What the test cannot tell, in a sentence.
    """

    id: str
    paper: str
    title: str
    says: str
    threshold: str
    published: str
    limits: str


@dataclass(frozen=True)
class Verdict:
    """What the data say of a claim.

    Args:
        outcome: `supported`, `refuted` or `undecided`.
        statistic: Name and value of the deciding number, readable.
        value: That number; must be finite unless the outcome is `undecided`.
        interval: Its uncertainty interval, or None where it is exact.
        sentence: The finding in a sentence.
    """

    outcome: Outcome
    statistic: str
    value: float
    interval: tuple[float, float] | None
    sentence: str

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome: expected one of {', '.join(OUTCOMES)}, got {self.outcome!r}")
        if self.outcome != "undecided" and not math.isfinite(self.value):
            raise ValueError(f"a {self.outcome} verdict needs a finite value, got {self.value} ({self.statistic})")
