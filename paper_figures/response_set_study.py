"""Utilities compared on finite response sets at equal KL: each tilts the same base policy, at its own temperature.

Every set of prompts is a seed's own draw. The policy of each utility is exact: nothing is sampled or trained.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from paper_figures.intervals import mean_interval
from rewardlab.exact import KLMatch, match_kl

SEEDS = {"smoke": 3, "small": 5, "paper": 20}
PROMPTS = {"smoke": 50, "small": 200}
KNOWN_BEFORE = (
    "The expected numbers were known from an earlier calculation of the same toy when the threshold was written."
)


def draw_sets(draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]], seed: int, seeds: int) -> list[np.ndarray]:
    """What `draw` returns for each seed, stacked: arrays `(seeds, prompts, responses)`."""
    generators = (np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(seeds))
    return [np.stack(parts) for parts in zip(*map(draw, generators), strict=True)]


def uniform_base(responses: int) -> np.ndarray:
    """Log-probabilities of a base policy that gives each of its responses alike, `(1, responses)`."""
    return np.full((1, responses), -np.log(responses))


def at_equal_kl(
    utilities: dict[str, np.ndarray], kls: Sequence[float], measure: Callable[[KLMatch], dict[str, np.ndarray]]
) -> pd.DataFrame:
    """Tilt by each utility to each mean KL and measure the policies.

    Args:
        utilities: `(seeds, prompts, responses)` by name of the method.
        kls: Mean KLs over prompts in nats.
        measure: From the tilted policies to columns `(seeds)`.

    Returns:
        One row a method, KL and seed, with the temperature, whether the KL could be reached, and the measures, which
        are NaN where it could not.
    """
    return pd.concat(_rows(utilities, kls, measure), ignore_index=True)


def _rows(utilities, kls, measure) -> Iterator[pd.DataFrame]:
    for method, utility in utilities.items():
        for kl in kls:
            match = match_kl(uniform_base(utility.shape[-1]), utility, kl)
            found = {name: np.where(match.reachable, column, np.nan) for name, column in measure(match).items()}
            where = {"method": method, "kl": kl, "seed": np.arange(len(utility))}
            yield pd.DataFrame({**where, "temperature": match.temperature, "reachable": match.reachable, **found})


def by_seed(frame: pd.DataFrame, method: str, column: str) -> pd.DataFrame:
    """A column of one method: a row a seed, a column a KL."""
    return frame[frame.method == method].pivot(index="seed", columns="kl", values=column)


def gap(frame: pd.DataFrame, column: str, method: str, other: str, kls: Sequence[float]) -> np.ndarray:
    """Mean and 95% interval of a column of `method` less that of `other` over the same seeds, `(3, kls)`."""
    difference = by_seed(frame, method, column) - by_seed(frame, other, column)
    return mean_interval(difference[list(kls)].to_numpy())


def judge(gaps: np.ndarray, *, least: float = 0.0) -> str:
    """Supported if every gap `(3, cells)` is at least `least` and its interval above 0; refuted if one is below 0."""
    mean, low, high = gaps
    if (low > 0).all() and (mean >= least).all():
        return "supported"
    return "refuted" if (high < 0).any() else "undecided"


def smallest(gaps: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The smallest of some gaps `(3, cells)`, and its interval."""
    cell = int(np.argmin(gaps[0]))
    return float(gaps[0, cell]), (float(gaps[1, cell]), float(gaps[2, cell]))


def draw_lines(axes, frame: pd.DataFrame, column: str, looks: dict[str, tuple[str, str, str]]) -> None:
    """A line a method over KL, with bars for the 95% interval over seeds; `looks`: colour, marker and line style."""
    for method, (colour, marker, line) in looks.items():
        cells = by_seed(frame, method, column).dropna(axis=1)
        if cells.empty:
            continue
        mean, low, high = mean_interval(cells.to_numpy())
        bars = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4.5, "capsize": 2, "label": method}
        axes.errorbar(cells.columns, mean, [mean - low, high - mean], **bars)
    axes.set_xlabel("mean KL from the base policy over prompts (nats)")


def draw_expected(axes, expected: dict[tuple[str, float], float], looks: dict[str, tuple[str, str, str]]) -> None:
    """The numbers of the earlier calculation, as crosses in the methods' colours."""
    for (method, kl), value in expected.items():
        axes.plot(kl, value, "x", color=looks[method][0], markersize=10, markeredgewidth=1.4, alpha=0.7)
    axes.plot([], [], "kx", markersize=8, label="expected beforehand")
