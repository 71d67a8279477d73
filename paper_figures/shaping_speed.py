"""What potential-based shaping does to learning speed: a chain with potentials good and bad, and DQN on a car."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.shaping_speed_panels import draw_before, draw_car, draw_curves
from paper_figures.shaping_speed_study import (
    EPISODES,
    GOOD_RUN,
    LAST,
    arms,
    car_rows,
    chain_curves,
    chain_rows,
    chain_runs,
    exact_rows,
    table_difference,
)

TITLE = "How much sooner does shaping get there, and when does it not?"
EXTRA = ("torch", "stable_baselines3")

PAPER = "Ng, Harada and Russell 1999"
GOOD = ("value", "progress")
# episodes before the first good run on the chain, found by separate code before this figure was written; 20 seeds
EARLIER = {"none": "46.5", "value": "1 to 1.5", "progress": "1 to 1.5"}
KNOWN = "Numbers of this world were known beforehand, from separate code and a trial run."

CLAIMS = (
    Claim(
        id="sooner",
        paper=PAPER,
        title="A good potential saves nearly all of the episodes before the first good one",
        says=f"On a chain of 20 cells Q-learning has its first episode of at most {GOOD_RUN} steps (19 is the least) "
        "many times sooner with the optimal value, or with progress from 0 to 1, as potential.",
        threshold="median episodes up to and with the first good one: with either at most a fifth of those without "
        "shaping, upper end of the ratio's interval below a half (refuted if one's interval lies above a half)",
        published="separate code, earlier: 46.5 episodes before it without shaping, 1 to 1.5 with; same steps at last",
        limits=KNOWN + " A time limit of 100 steps, which the earlier code's report does not state.",
    ),
    Claim(
        id="same-end",
        paper=PAPER,
        title="In the end all is as without shaping",
        says="Once learned, episodes take as many steps with a good potential as without.",
        threshold=f"mean steps of the last {LAST} of {EPISODES} episodes within .5 of no shaping for both, exploration "
        "included (refuted if an interval of the difference lies beyond 1)",
        published="separate code, earlier: about 21 steps either way",
        limits=KNOWN,
    ),
    Claim(
        id="first-values",
        paper="Wiewiora 2003",
        title="Shaping is the same as beginning with the potential",
        says="On the same steps the shaped table plus the potential is, after every update, the table that began with "
        "the potential and was not shaped.",
        threshold="differences at most 1e-12 over 5,000 steps (refuted above 1e-9)",
        published="exact in theory",
        limits="One potential kept throughout; potentials that change while the agent learns have no such twin.",
    ),
    Claim(
        id="optimum-is-no-promise",
        paper=PAPER,
        title="A potential that leaves the optimum as it is can keep a learner from it",
        says="Progress less 1 and the optimal value negated leave the optimal policy as it is, and yet hardly any "
        "learner gets there in 200 episodes: to it all begins looking worse than standing still.",
        threshold="exact: right is the one optimal action in every cell, with both; learned: at most a quarter of "
        "seeds greedy for the goal with either (refuted if more than three quarters are, with both)",
        published="",
        limits=KNOWN
        + " It takes the limit of 100 steps an episode: in a trial run with one of 100,000 the value negated "
        "was learned, too, in some 20 episodes.",
    ),
    Claim(
        id="discount-mismatch",
        paper=PAPER,
        title="The same potential with discount 1 in the shaping is another task",
        says="Cells passed, as a potential, leaves the goal the goal with the learner's discount .95; with discount 1 "
        "it pays a wage for not arriving.",
        threshold="exact: the goal is optimal from everywhere with .95 and not with 1; learned: all seeds greedy for "
        "the goal with .95 and none with 1 (refuted if it is optimal, or most are greedy for it, with 1)",
        published="",
        limits=KNOWN + " A large potential; a small one with discount 1 can be harmless.",
    ),
    Claim(
        id="car-sooner",
        paper=PAPER,
        title="With the car's energy as potential DQN gets further in MountainCar in as many steps",
        says="After as many steps, DQN's greedy policy has a better unshaped return with the energy as potential.",
        threshold="mean unshaped return of 20 greedy episodes higher by at least 20, interval over seeds above 0 "
        "(refuted with the interval below 0)",
        published="",
        limits="Settings chosen for a short run, on two trial seeds, with shaping in mind; without it DQN needs some "
        "100,000 steps and would be tuned otherwise.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Parts by column `part`: runs on the chain, their curves, what is optimal, the two tables, and the car."""
    chain, walk, car = (np.random.default_rng(seed) for seed in np.random.SeedSequence(rng).spawn(3))
    runs = chain_runs(scale.pick(smoke=8, small=20, paper=200), chain)
    steps, seeds = scale.pick(smoke=(1500, 2), small=(8000, 4), paper=(120_000, 10))
    parts = {
        "chain": chain_rows(runs),
        "curve": chain_curves(runs),
        "exact": exact_rows(),
        "tables": [{"value": table_difference(5000, walk)}],
        "car": car_rows(steps, seeds, car),
    }
    return pd.concat([pd.DataFrame(rows).assign(part=part) for part, rows in parts.items()], ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(14, 4.8), layout="constrained")
    curves, before, car = figure.subplots(1, 3, width_ratios=(1, 1.05, 1))
    draw_curves(curves, frame[frame.part == "curve"])
    medians = {arm: _median(_runs(frame, arm, "before")) for arm in arms()}
    draw_before(before, medians, {arm: float(_runs(frame, arm, "arrives").mean()) for arm in arms()})
    draw_car(car, frame[frame.part == "car"])
    chained, driven = (int(frame[frame.part == part].seed.nunique()) for part in ("chain", "car"))
    figure.suptitle(
        f"Chain of 20 cells: Q-learning, {chained} seeds (good: at most {GOOD_RUN} steps; learned: greedy for the "
        f"goal); MountainCar-v0: DQN, {driven} seeds, 95% intervals"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The chain by potential: episodes before the first good one, steps in the end, and who is greedy for the goal."""
    best = frame[frame.part == "exact"].set_index("arm").value
    return pd.DataFrame(
        [
            {
                "potential": arm.label,
                "episodes before the first good one (median)": float(np.median(_runs(frame, name, "before"))),
                "separate code, earlier": EARLIER.get(name, ""),
                "steps at last (mean)": float(_runs(frame, name, "late").mean()),
                "greedy for the goal": f"{_runs(frame, name, 'arrives').mean():.0%}",
                "goal still optimal": "yes" if best[name] else "no",
            }
            for name, arm in arms().items()
        ]
    )


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "sooner": _sooner(frame),
        "same-end": _same_end(frame),
        "first-values": _first_values(frame),
        "optimum-is-no-promise": _no_promise(frame),
        "discount-mismatch": _mismatch(frame),
        "car-sooner": _car_sooner(frame),
    }


def _runs(frame: pd.DataFrame, arm: str, column: str) -> np.ndarray:
    """One number a seed."""
    return frame[(frame.part == "chain") & (frame.arm == arm)].sort_values("seed")[column].to_numpy(float)


def _median(values: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """The median, or the ratio of two, with its 95% bootstrap interval over seeds."""

    def statistic(*parts, axis=-1):
        found = [np.median(part, axis=axis) for part in parts]
        return found[0] if len(found) == 1 else found[0] / found[1]

    samples = (values,) if other is None else (values, other)
    found = float(statistic(*samples))
    if all(np.ptp(part) == 0 for part in samples):  # nothing to resample
        return np.full(3, found)
    paired = other is not None
    drawn = stats.bootstrap(samples, statistic, paired=paired, vectorized=True, method="percentile", rng=0)
    return np.array([found, *drawn.confidence_interval])


def _sooner(frame: pd.DataFrame) -> Verdict:
    unshaped = _runs(frame, "none", "before") + 1
    ratios = {arm: _median(_runs(frame, arm, "before") + 1, unshaped) for arm in GOOD}
    held = all(found[0] <= 0.2 and found[2] < 0.5 for found in ratios.values())
    value, interval = for_verdict(max(ratios.values(), key=lambda found: found[0]))
    medians = {arm: np.median(_runs(frame, arm, "before")) for arm in ("none", *GOOD, "cells")}
    return Verdict(
        "refuted" if any(found[1] > 0.5 for found in ratios.values()) else "supported" if held else "undecided",
        f"ratio of medians, the larger: {value:.3f}",
        value,
        interval,
        f"Episodes before the first good one: {medians['none']:.1f} without shaping, {medians['value']:.1f} with the "
        f"optimal value, {medians['progress']:.1f} with progress. Scale matters: progress times 19 needs "
        f"{medians['cells']:.1f}.",
    )


def _same_end(frame: pd.DataFrame) -> Verdict:
    unshaped = _runs(frame, "none", "late")
    apart = {arm: mean_interval(_runs(frame, arm, "late") - unshaped) for arm in GOOD}
    worst = max(apart.values(), key=lambda found: abs(found[0]))
    beyond = any(found[1] > 1 or found[2] < -1 for found in apart.values())
    value, interval = for_verdict(worst)
    return Verdict(
        "refuted" if beyond else "supported" if abs(value) <= 0.5 else "undecided",
        f"largest difference in steps {value:+.2f}",
        value,
        interval,
        f"{unshaped.mean():.2f} steps without shaping; "
        + ", ".join(f"{_runs(frame, arm, 'late').mean():.2f} with {arms()[arm].label}" for arm in GOOD)
        + ".",
    )


def _first_values(frame: pd.DataFrame) -> Verdict:
    apart = float(frame[frame.part == "tables"].value.iloc[0])
    return Verdict(
        "supported" if apart <= 1e-12 else "refuted" if apart > 1e-9 else "undecided",
        f"largest difference {apart:.1e}",
        apart,
        None,
        "The two tables differ by rounding only: shaping with a kept potential is a choice of first values.",
    )


def _no_promise(frame: pd.DataFrame) -> Verdict:
    best = frame[frame.part == "exact"].set_index("arm").value
    learned = {arm: float(_runs(frame, arm, "arrives").mean()) for arm in ("distance", "negated")}
    kept = all(best[arm] for arm in learned)
    wrong = not kept or all(share > 0.75 for share in learned.values())
    worst = max(learned.values())
    return Verdict(
        "refuted" if wrong else "supported" if worst <= 0.25 else "undecided",
        f"share of seeds greedy for the goal, the larger: {worst:.2f}",
        worst,
        None,
        f"Of the seeds {learned['distance']:.0%} get there with progress less 1 and {learned['negated']:.0%} with the "
        f"value negated, after {EPISODES} episodes of at most 100 steps; the same progress from 0 to 1 is the fastest. "
        f"The zero point and the sign are free in theory, and decide what an empty table makes of them.",
    )


def _mismatch(frame: pd.DataFrame) -> Verdict:
    best = frame[frame.part == "exact"].set_index("arm").value
    learned = {arm: float(_runs(frame, arm, "arrives").mean()) for arm in ("cells", "mismatch")}
    held = best["cells"] and not best["mismatch"] and learned["cells"] == 1 and learned["mismatch"] == 0
    wrong = best["mismatch"] or learned["mismatch"] > 0.5
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"greedy for the goal: {learned['cells']:.2f} of seeds with discount .95, {learned['mismatch']:.2f} with 1",
        learned["mismatch"],
        None,
        f"With discount 1 arriving gives up the potential of 18 for a reward of 1; episodes end by exploration only, "
        f"after {_runs(frame, 'mismatch', 'late').mean():.0f} steps in the mean.",
    )


def _car_sooner(frame: pd.DataFrame) -> Verdict:
    final = frame[(frame.part == "car") & (frame.of == "final")]
    returns = {arm: cells.sort_values("seed").value.to_numpy(float) for arm, cells in final.groupby("arm")}
    found = mean_interval(returns["energy"] - returns["none"])
    value, interval = for_verdict(found)
    return Verdict(
        "refuted" if found[2] < 0 else "supported" if value >= 20 and found[1] > 0 else "undecided",
        f"unshaped return, energy less none: {value:+.1f}",
        value,
        interval,
        f"After {final.step.max():,.0f} steps: {returns['none'].mean():.0f} without shaping (never there is -200), "
        f"{returns['height'].mean():.0f} with the height, {returns['energy'].mean():.0f} with the energy as potential.",
    )
