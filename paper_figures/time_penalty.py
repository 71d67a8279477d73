"""The default time penalty of NLE's tasks as a misspecified reward: the return rises, the success falls."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.nethack.experiments.time_penalty import EXPERIMENT
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.time_penalty_panels import EARLIER, draw

TITLE = "A penalty on standing still that teaches not to look for the stairs"
EXTRA = ("torch", "stable_baselines3", "gymnasium", "nle")
RECORDED = ("small", "gpu")

PAPER = "2006.13760"
SEEDS = 3
PENALTY = -0.01
_LIMITS = (
    "A small policy (two layers of 128 on a 9 x 9 crop) and 150,000 steps, a ten-thousandth of published training: "
    "what the penalty does to a policy that can find the stairs is not seen here. The beginning of a run is its first "
    "40 games or so, the end its last 100. Thresholds were written before this recording; two seeds of an earlier run, "
    "given beside them, were known."
)
_ENOUGH = f"undecided with fewer than {SEEDS} seeds"

CLAIMS = (
    Claim(
        id="return-up-success-down",
        paper=PAPER,
        title="With the default penalty the return rises while the success falls",
        says="NetHackStaircase pays 1 for standing on stairs down and takes 0.01 for each step in which the game's "
        "clock stands still. A policy trained on it gets better at the sum and worse at the task.",
        threshold="return higher and success lower at the end than at the beginning, on at least 2 of 3 of the seeds; "
        f"refuted if the success rises on as many ({_ENOUGH}, or otherwise)",
        published="no figure of the paper; an earlier run: return -2.6 to -0.65 and -2.5 to -0.56, success .13 to .00 "
        "and .10 to .01",
        limits=_LIMITS,
    ),
    Claim(
        id="penalty-costs-success",
        paper=PAPER,
        title="The penalty costs success",
        says="At the end, policies trained with penalty_step=0 find the stairs more often than those trained with the "
        "penalty.",
        threshold="95% interval of the difference in success at the end, paired by seed, above 0; refuted if its mean "
        f"is at most 0 ({_ENOUGH}, or with a mean above 0 and an interval around it)",
        published="no figure of the paper; an earlier run without penalty: success .11 to .11 and .05 to .06",
        limits=_LIMITS,
    ),
    Claim(
        id="frozen-steps-avoided",
        paper=PAPER,
        title="What is learnt is to keep the clock moving",
        says="With the penalty the share of steps in which the clock stands still falls, and further than without it.",
        threshold="95% intervals of the change of that share with the penalty, and of this change less the one "
        f"without, below 0; refuted if either mean is at least 0 ({_ENOUGH}, or otherwise)",
        published="none: the reading of an earlier run, which did not log it",
        limits=f"{_LIMITS} A monk moves faster than the clock: about a quarter of its own moves count as frozen.",
    ),
    Claim(
        id="exploration-given-up",
        paper=PAPER,
        title="Looking around is given up with it",
        says="With the penalty a game visits fewer different places at the end than at the beginning.",
        threshold="95% interval of the change of distinct places stood on in a game below 0; refuted with the interval "
        f"above 0 ({_ENOUGH}, or otherwise)",
        published="none: the reading of an earlier run, which did not log it",
        limits=f"{_LIMITS} Games that succeed early end early, and visit fewer places for that.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Learning curves: a row a penalty, seed and thousands of steps; see `CURVE_COLUMNS` of the trainings."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Beginning and end of each run, the earlier run's below them."""
    begun, ended = ends(frame)
    rows = []
    for penalty, seed in begun.index:
        row = {"penalty": f"{penalty:g}", "run": f"seed {seed}"}
        for column, name in (("return", "return"), ("success", "success"), ("frozen_share", "share of frozen steps")):
            row |= {
                f"{name}, beginning": begun.loc[(penalty, seed), column],
                f"{name}, end": ended.loc[(penalty, seed), column],
            }
        row |= {
            "places, beginning": begun.loc[(penalty, seed), "places"],
            "places, end": ended.loc[(penalty, seed), "places"],
        }
        rows.append(row)
    for penalty, runs in EARLIER.items():
        for number, run in enumerate(runs):
            row = {"penalty": f"{penalty:g}", "run": f"earlier run, seed {number}"}
            for name, (first, last) in run.items():
                row |= {f"{name}, beginning": first, f"{name}, end": last}
            rows.append(row)
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    begun, ended = ends(frame)
    return {
        "return-up-success-down": _opposite(begun, ended),
        "penalty-costs-success": _cost(begun, ended),
        "frozen-steps-avoided": _frozen(begun, ended),
        "exploration-given-up": _places(begun, ended),
    }


def ends(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """First and last means of each run, by penalty and seed.

    The beginning is the second row of a curve: the first, of half as many games, is too noisy. The rows of a curve are
    means over the last 100 games.
    """
    runs = frame.sort_values("step").groupby(["penalty", "seed"])
    begun = runs.apply(lambda curve: curve.iloc[1 if len(curve) > 2 else 0], include_groups=False)
    return begun, runs.apply(lambda curve: curve.iloc[-1], include_groups=False)


def _change(begun: pd.DataFrame, ended: pd.DataFrame, column: str, penalty: float) -> np.ndarray:
    """End less beginning, by seed."""
    return (ended[column] - begun[column]).xs(penalty, level="penalty").to_numpy()


def _judged(begun: pd.DataFrame, outcome: str, statistic: str, found: np.ndarray, sentence: str) -> Verdict:
    enough = len(begun.xs(PENALTY, level="penalty")) >= SEEDS
    value, interval = for_verdict(found)
    return Verdict(outcome if enough else "undecided", statistic, value, interval, sentence)


def _from_to(begun: pd.DataFrame, ended: pd.DataFrame, column: str, penalty: float, style: str = ".2f") -> str:
    """Means over seeds, as "a to b"."""
    first, last = (of[column].xs(penalty, level="penalty").mean() for of in (begun, ended))
    return f"{first:{style}} to {last:{style}}"


def _opposite(begun: pd.DataFrame, ended: pd.DataFrame) -> Verdict:
    up, down = _change(begun, ended, "return", PENALTY), _change(begun, ended, "success", PENALTY)
    seeds, enough = len(up), int(np.ceil(len(up) * 2 / 3))
    opposite, rising = int(((up > 0) & (down < 0)).sum()), int((down > 0).sum())
    outcome = "supported" if opposite >= enough else "refuted" if rising >= enough else "undecided"
    return _judged(
        begun,
        outcome,
        f"change of success {down.mean():+.2f}, opposite to the return's on {opposite} of {seeds} seeds",
        mean_interval(down),
        f"With the penalty the return goes from {_from_to(begun, ended, 'return', PENALTY)}, the success from "
        f"{_from_to(begun, ended, 'success', PENALTY)}; without it the success goes from "
        f"{_from_to(begun, ended, 'success', 0.0)}.",
    )


def _cost(begun: pd.DataFrame, ended: pd.DataFrame) -> Verdict:
    first, last = (of.success.unstack("penalty") for of in (begun, ended))
    found = mean_interval((last[0.0] - last[PENALTY]).to_numpy())
    outcome = "refuted" if found[0] <= 0 else "supported" if found[1] > 0 else "undecided"
    return _judged(
        begun,
        outcome,
        f"success at the end, without penalty less with {found[0]:+.2f}",
        found,
        f"At the end {last[0.0].mean():.2f} of the games without the penalty reach the stairs, "
        f"{last[PENALTY].mean():.2f} of those with it; at the beginning {first[0.0].mean():.2f} and "
        f"{first[PENALTY].mean():.2f}.",
    )


def _frozen(begun: pd.DataFrame, ended: pd.DataFrame) -> Verdict:
    with_penalty, without = (_change(begun, ended, "frozen_share", penalty) for penalty in (PENALTY, 0.0))
    found, further = mean_interval(with_penalty), mean_interval(with_penalty - without)
    both = np.array([found, further])
    outcome = "refuted" if (both[:, 0] >= 0).any() else "supported" if (both[:, 2] < 0).all() else "undecided"
    return _judged(
        begun,
        outcome,
        f"change of the share of frozen steps {found[0]:+.2f}",
        found,
        f"Share of steps in which the clock stands still: {_from_to(begun, ended, 'frozen_share', PENALTY)} "
        f"with the penalty, {_from_to(begun, ended, 'frozen_share', 0.0)} without (difference {further[0]:+.2f}, "
        f"interval {further[1]:+.2f} to {further[2]:+.2f}).",
    )


def _places(begun: pd.DataFrame, ended: pd.DataFrame) -> Verdict:
    found = mean_interval(_change(begun, ended, "places", PENALTY))
    outcome = "supported" if found[2] < 0 else "refuted" if found[1] > 0 else "undecided"
    return _judged(
        begun,
        outcome,
        f"change of the places visited {found[0]:+.1f}",
        found,
        f"Distinct places of a game: {_from_to(begun, ended, 'places', PENALTY, '.0f')} with the penalty, "
        f"{_from_to(begun, ended, 'places', 0.0, '.0f')} without.",
    )
