"""What one distance costs as the world grows: time and memory from 10 to 1,000 states."""

import statistics
import sys
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLUE, GREEN, GREY, ORANGE
from rewardlab.distance.starc import starc
from rewardlab.exact import FiniteMDP

TITLE = "What a VAL distance costs as the world grows"

ACTIONS = 8
DISCOUNT = 0.95
LARGEST = 1_000
FITTED_FROM = 100  # below, fixed costs of a call hide the growth
MOST_SECONDS, MOST_GIGABYTES, CUBIC = 2.0, 2.0, 3.0
GIGABYTE = 1e9

CLAIMS = (
    Claim(
        id="thousand-states",
        paper="2309.15257",
        title="A thousand states fit in two seconds and two gigabytes",
        says=f"One VAL distance at {LARGEST:,} states and {ACTIONS} actions, dense, takes under 2 s and 2 GB.",
        threshold=f"median time below {MOST_SECONDS:g} s and peak of the whole process below {MOST_GIGABYTES:g} GB "
        f"at {LARGEST:,} states (refuted otherwise; undecided where the run does not reach them)",
        published="",
        limits="Seconds are those of the machine that drew this, and of whatever else it was doing.",
    ),
    Claim(
        id="slower-than-cubic",
        paper="2309.15257",
        title="Time grows with the tables, not with the solve",
        says="Passing over S x A x S tables dominates: time grows more slowly than the cube of the number of states.",
        threshold=f"fitted exponent from {FITTED_FROM} to {LARGEST:,} states below {CUBIC:g} (refuted otherwise; "
        f"undecided where the run does not reach {LARGEST:,})",
        published="",
        limits="Caches of different sizes bend the line, so the exponent holds for this range only.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a number of states and repetition: seconds, and the memory of a process that does nothing else.

    Sizes run one after the other whatever the number of workers, so that they do not disturb each other.
    """
    sizes = scale.pick(smoke=(100, 200), small=(10, 20, 50, 100, 200, 500, LARGEST))
    repeats = scale.pick(smoke=3, small=5, paper=21)
    rows = []
    for states in sizes:
        # a process of its own for each size: the peak of one that has lived longer would be that of its past
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows += pool.submit(_one_size, states, repeats, rng).result()
    return pd.DataFrame(rows)


def _one_size(states: int, repeats: int, seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    before = _peak_memory()
    mdp = FiniteMDP.random(states, ACTIONS, discount=DISCOUNT, clean=True, rng=rng)
    rewards = rng.normal(size=(2, states, ACTIONS, states))
    starc(mdp, *rewards)  # the first call pays for loading
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        starc(mdp, *rewards)
        seconds.append(time.perf_counter() - started)
    peak = _peak_memory()  # before tracing, which needs memory of its own
    tracemalloc.start()
    starc(mdp, *rewards)
    own = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    memory = {"peak": peak / GIGABYTE, "interpreter": before / GIGABYTE, "own": own / GIGABYTE}
    return [{"states": states, "repeat": i, "seconds": one, **memory} for i, one in enumerate(seconds)]


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes.

    On Linux from the process table: `getrusage` there hands on the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, draw in ((left, _plot_time), (right, _plot_memory)):
        axes.set(xscale="log", yscale="log", xlabel="states")
        draw(axes, frame)
        axes.set_xticks(ticks := sorted(frame.states.unique()), [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.legend(loc="upper left")
    return figure


def _plot_time(axes, frame: pd.DataFrame) -> None:
    runs = frame.groupby("states").seconds
    axes.plot(frame.states, frame.seconds, ".", color=BLUE, alpha=0.35, label="single runs")
    axes.plot(runs.median().index, runs.median(), "o-", color=BLUE, label="median")
    fit = _fit(frame)
    sizes = np.array([FITTED_FROM, frame.states.max()])
    label = f"exponent {fit.slope:.2f} from {FITTED_FROM} states"
    axes.plot(sizes, np.exp(fit.intercept) * sizes**fit.slope, "--", color=ORANGE, label=label)
    axes.axhline(MOST_SECONDS, color=GREY, linestyle=":", label=f"{MOST_SECONDS:g} s")
    axes.set(ylabel="seconds for one distance", ylim=(frame.seconds.min() / 3, 100 * MOST_SECONDS))
    axes.set_title(f"Time ({ACTIONS} actions, random sparse world stored dense)")


def _plot_memory(axes, frame: pd.DataFrame) -> None:
    by_size = frame.groupby("states")[["peak", "own"]].first()
    axes.plot(by_size.index, by_size.peak, "s-", color=GREEN, label="peak of the whole process")
    axes.plot(by_size.index, by_size.own, "o-", color=BLUE, label="working memory of the distance")
    table = by_size.index.to_numpy() ** 2 * ACTIONS * 8 / GIGABYTE
    axes.plot(by_size.index, table, "--", color=ORANGE, label="one S x A x S table")
    axes.axhline(MOST_GIGABYTES, color=GREY, linestyle=":", label=f"{MOST_GIGABYTES:g} GB")
    axes.set(ylabel="gigabytes", ylim=(table.min() / 3, 1000 * MOST_GIGABYTES))
    axes.set_title("Memory")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Median time and memory by number of states."""
    rows = frame.groupby("states").agg(seconds=("seconds", "median"), peak=("peak", "first"), own=("own", "first"))
    rows["tables"] = rows.own * GIGABYTE / (8 * ACTIONS * rows.index.to_numpy() ** 2)
    names = {
        "seconds": "median seconds",
        "peak": "peak of the process (GB)",
        "own": "working memory (GB)",
        "tables": "working memory in S x A x S tables",
    }
    return rows.reset_index().rename(columns=names)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    reached = int(frame.states.max())
    last = frame[frame.states == reached]
    median, peak = statistics.median(last.seconds), float(last.peak.max())
    fits = "supported" if median < MOST_SECONDS and peak < MOST_GIGABYTES else "refuted"
    fit = _fit(frame)
    half = fit.stderr * stats.t.ppf(0.975, (frame.states >= FITTED_FROM).sum() - 2)
    grows = "supported" if fit.slope < CUBIC else "refuted"
    judged = reached >= LARGEST
    return {
        "thousand-states": Verdict(
            fits if judged else "undecided",
            f"median {median:.3g} s, peak {peak:.2g} GB at {reached:,} states",
            median,
            (float(last.seconds.min()), float(last.seconds.max())),
            f"At {reached:,} states one distance took {median:.3g} s in the median of {len(last)} runs (interval: "
            f"fastest and slowest), in a process that peaked at {peak:.2g} GB with world and rewards.",
        ),
        "slower-than-cubic": Verdict(
            grows if judged else "undecided",
            f"exponent {fit.slope:.2f}",
            float(fit.slope),
            (float(fit.slope - half), float(fit.slope + half)),
            f"From {FITTED_FROM} to {reached:,} states time grows as the power {fit.slope:.2f} of their number.",
        ),
    }


def _fit(frame: pd.DataFrame):
    large = frame[frame.states >= FITTED_FROM]
    return stats.linregress(np.log(large.states), np.log(large.seconds))
