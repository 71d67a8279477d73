"""The loader bug that makes a reset the next observation, and timeouts taken for terminals: what each costs."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.reset_as_next_panels import draw_errors, draw_falls, draw_jumps, draw_values
from rewardlab.checks import check_scalar

TITLE = "What follows the last row of an episode: two ways to read it wrongly, and their cost"
EXTRA = ("torch", "h5py", "mujoco")

D4RL = "2004.07219"
RECORDED_LIMIT = 200  # steps of an episode of Pendulum-v1
KNOWN = "The size of the effect was known from a trial run before the threshold was set."

CLAIMS = (
    Claim(
        id="reset-as-next-costs-a-model",
        paper=D4RL,
        title="Next observations taken from the next row spoil a dynamics model, though few rows are false",
        says="Random play on Hopper-v5, 10,000 rows, some 4% of them terminal: least squares on the changes of the "
        "observation errs more on held-out episodes, of which every next observation is true.",
        threshold="linear model: error of the bug over that of the recorded next observations at least 1.2, interval "
        "above 1.1 (refuted if the interval is below 1.05)",
        published="",
        limits=KNOWN + " Random play falls soon; longer episodes have fewer false rows.",
    ),
    Claim(
        id="dropping-recovers",
        paper=D4RL,
        title="Leaving terminal rows out costs an ensemble nothing",
        says="Where a file has no next observations, an ensemble of networks fitted without the last rows errs as one "
        "fitted to the true next observations.",
        threshold="ensemble: error without terminal rows over error with recorded ones, interval below 1.03 (refuted "
        "if it is above 1.03)",
        published="",
        limits="Small networks and random play; where the end comes as a surprise, the rows left out are missed.",
    ),
    Claim(
        id="falls-unforeseen",
        paper=D4RL,
        title="A model that learnt resets does not foresee falls",
        says="The next observation of a fall has become the upright beginning of another episode, so the ensemble's "
        "predictions stay within what Hopper calls healthy.",
        threshold="ensemble: share of falls foreseen at most half of that with true next observations, interval "
        "of the difference below 0 (refuted if at least 0.9 of it)",
        published="",
        limits="One step ahead and by the mean of the elites. Added to the plan before anything was measured.",
    ),
    Claim(
        id="timeouts-as-terminals-bias",
        paper=D4RL,
        title="Timeouts taken for terminals bias the value of a good policy on Pendulum towards 0",
        says="All episodes end by the clock after 200 steps. Values are fitted to what a swing-up controller recorded, "
        "with timeouts bootstrapped and taken for terminals, against Monte Carlo returns without limit.",
        threshold="bias at the start with timeouts as terminals towards 0 and at least 5% of the value, interval above "
        "0, and bootstrapped within 2% (refuted if both are within 1%)",
        published="",
        limits=KNOWN + " A controller written by hand in place of a trained policy; a table of values in place of a "
        "network.",
    ),
    Claim(
        id="timeouts-cost-what-lies-ahead",
        paper=D4RL,
        title="The bias is what lies ahead of the clock: a policy that never arrives loses a third of its value",
        says="Where rewards go on as they were, a row in T with nothing ahead is a discount of 0.99 (1 - 1/T).",
        threshold="random torques: value with timeouts as terminals within 5% of that closed form at every time limit, "
        "and bootstrapped within 5% of Monte Carlo (refuted if the former is off by 20% at one of them)",
        published="",
        limits=KNOWN + " The closed form is for a table that does not see the clock and states that mix within it.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Two parts by column `part`: models of Hopper's dynamics by reading, values on Pendulum by time limit."""
    from paper_figures.reset_as_next_study import EnsembleSettings, hopper_cells, pendulum_cells

    check_scalar("rng", rng, low=0, whole=True)
    small = EnsembleSettings(members=5, elites=3, hidden=(64, 64), max_epochs=30)
    settings = scale.pick(
        smoke=EnsembleSettings(members=3, elites=2, hidden=(32, 32), max_epochs=12),
        small=small,
        paper=EnsembleSettings(),
    )
    rows = scale.pick(smoke=4000, small=10_000)
    limits = scale.pick(smoke=(50, RECORDED_LIMIT), small=(50, 100, RECORDED_LIMIT))
    models, values = np.random.SeedSequence(rng).spawn(2)
    cells: list[dict[str, object]] = []
    for seed in models.generate_state(scale.pick(smoke=2, small=6, paper=10)):
        cells += hopper_cells(rows, settings, int(seed))
    for seed in values.generate_state(scale.pick(smoke=3, small=10, paper=30)):
        cells += pendulum_cells(scale.pick(smoke=4000, small=10_000), limits, int(seed))
    return pd.DataFrame(cells)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 8.6), layout="constrained")
    (errors, falls), (jumps, values) = figure.subplots(2, 2)
    hopper = frame[frame.part == "hopper"]
    draw_errors(errors, hopper)
    draw_falls(falls, hopper)
    draw_jumps(jumps, hopper[hopper.of == "size of change"])
    draw_values(values, frame[frame.part == "pendulum"])
    seeds = {part: int(cells.seed.nunique()) for part, cells in frame.groupby("part")}
    figure.suptitle(
        f"The last row of an episode, read wrongly (Hopper-v5 random play, {seeds['hopper']} seeds; "
        f"Pendulum, {seeds['pendulum']} seeds; 95% intervals)"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of everything measured."""
    columns = ["part", "model", "reading", "policy", "limit", "of"]
    return frame.groupby(columns, dropna=False, sort=False).value.mean().reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "reset-as-next-costs-a-model": _costs(frame),
        "dropping-recovers": _recovers(frame),
        "falls-unforeseen": _falls(frame),
        "timeouts-as-terminals-bias": _biases(frame),
        "timeouts-cost-what-lies-ahead": _lies_ahead(frame),
    }


def _hopper(frame: pd.DataFrame, model: str, reading: str, of: str) -> np.ndarray:
    cells = frame[(frame.part == "hopper") & (frame.model == model) & (frame.reading == reading) & (frame.of == of)]
    return cells.sort_values("seed").value.to_numpy(float)


def _ratio(frame: pd.DataFrame, model: str, reading: str) -> np.ndarray:
    of = "error, all rows"
    return mean_interval(_hopper(frame, model, reading, of) / _hopper(frame, model, "recorded", of))


def _costs(frame: pd.DataFrame) -> Verdict:
    found, ensemble = _ratio(frame, "linear", "next row"), _ratio(frame, "ensemble", "next row")
    held, wrong = found[0] >= 1.2 and found[1] > 1.1, found[2] < 1.05
    value, interval = for_verdict(found)
    error = {of: _hopper(frame, "linear", of, "error, all rows").mean() for of in ("recorded", "next row")}
    return Verdict(
        "supported" if held else "refuted" if wrong else "undecided",
        f"error of the linear model over that with true next observations: {value:.2f}",
        value,
        interval,
        f"{error['next row']:.3f} in place of {error['recorded']:.3f} (.238 and .172 measured before); the ensemble's "
        f"error is {ensemble[0]:.2f} of what it could be.",
    )


def _recovers(frame: pd.DataFrame) -> Verdict:
    found = _ratio(frame, "ensemble", "dropped")
    value, interval = for_verdict(found)
    at_ends = [_hopper(frame, "ensemble", of, "error, terminal rows").mean() for of in ("dropped", "recorded")]
    return Verdict(
        "supported" if found[2] < 1.03 else "refuted" if found[1] > 1.03 else "undecided",
        f"error of the ensemble without terminal rows over that with true next observations: {value:.3f}",
        value,
        interval,
        f"On terminal rows alone, which it never saw, {at_ends[0]:.3f} against {at_ends[1]:.3f}.",
    )


def _falls(frame: pd.DataFrame) -> Verdict:
    bug, true, dropped = (
        _hopper(frame, "ensemble", reading, "falls foreseen") for reading in ("next row", "recorded", "dropped")
    )
    found = mean_interval(bug - true)
    held, wrong = bug.mean() <= true.mean() / 2 and found[2] < 0, bug.mean() >= 0.9 * true.mean()
    value, interval = for_verdict(found)
    return Verdict(
        "supported" if held else "refuted" if wrong else "undecided",
        f"share of falls foreseen, against true next observations: {value:+.2f}",
        value,
        interval,
        f"{bug.mean():.0%} of falls are foreseen with the bug, {true.mean():.0%} with true next observations, "
        f"{dropped.mean():.0%} with terminal rows left out.",
    )


def _pendulum(frame: pd.DataFrame, policy: str, limit: int) -> pd.DataFrame:
    cells = frame[(frame.part == "pendulum") & (frame.policy == policy) & (frame.limit == limit)]
    return cells.pivot(index="seed", columns="of", values="value")


def _biases(frame: pd.DataFrame) -> Verdict:
    cells = _pendulum(frame, "swing-up", RECORDED_LIMIT)
    truth = cells["Monte Carlo"]
    biased, fair = (
        mean_interval(((cells[of] - truth) / truth.abs()).to_numpy()) for of in ("as terminals", "bootstrapped")
    )
    held = biased[0] >= 0.05 and biased[1] > 0 and abs(fair[0]) <= 0.02
    wrong = abs(biased[0]) <= 0.01 and abs(fair[0]) <= 0.01
    value, interval = for_verdict(biased)
    early = _pendulum(frame, "swing-up", 50)
    differ = ((early["as terminals"] - early["bootstrapped"]) / early["Monte Carlo"].abs()).mean()
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"bias of the value, timeouts as terminals: {value:+.2%} of {truth.mean():.0f}",
        value,
        interval,
        f"After {RECORDED_LIMIT} steps the rod stands, nothing lies ahead, and nothing is lost: bootstrapped "
        f"{fair[0]:+.2%}. With a limit of 50 steps the two differ by {differ:+.1%}.",
    )


def _lies_ahead(frame: pd.DataFrame) -> Verdict:
    from paper_figures.reset_as_next_study import discounted_again

    off, fair, ratio = {}, {}, {}
    for limit in sorted(frame.limit.dropna().unique()):
        cells = _pendulum(frame, "random", limit)
        form = discounted_again(cells["reward"].mean(), limit)
        off[limit] = abs(cells["as terminals"].mean() / form - 1)
        fair[limit] = abs(cells["bootstrapped"].mean() / cells["Monte Carlo"].mean() - 1)
        ratio[limit] = mean_interval((cells["as terminals"] / cells["Monte Carlo"]).to_numpy())
    held = max(off.values()) <= 0.05 and max(fair.values()) <= 0.05
    value, interval = for_verdict(ratio[RECORDED_LIMIT])
    kept = ", ".join(f"{found[0]:.2f} at {limit:.0f} steps" for limit, found in ratio.items())
    return Verdict(
        "refuted" if max(off.values()) > 0.2 else "supported" if held else "undecided",
        f"value with timeouts as terminals over the true one: {value:.2f}",
        value,
        interval,
        f"Left of the value: {kept}; off the closed form by {max(off.values()):.1%} at most. Bootstrapped: off Monte "
        f"Carlo by {max(fair.values()):.1%} at most.",
    )
