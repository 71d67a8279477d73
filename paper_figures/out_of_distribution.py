"""A learned reward that is wrong only where nothing ever happens: which distances mind?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import mean_interval
from paper_figures.style import BLACK, BLUE, ORANGE, SKY_BLUE, VERMILLION
from rewardlab.distance.canonical import dard_canonical, epic_canonical, srrd_canonical, val_canonical
from rewardlab.distance.pearson import pearson_distance
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.regret import greedy_regret

TITLE = "Rewards that are wrong only on impossible transitions"

STATES, ACTIONS, DISCOUNT = 32, 4, 0.95
NOISES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # on impossible transitions, in standard deviations of the reward
REAL_ERROR = 0.5  # on possible ones: something that every distance should see
EPIC, EPIC_ON_DATA, DARD, SRRD, VAL = "EPIC", "EPIC, compared on data", "DARD", "SRRD", "STARC (VAL)"
COLOURS = {EPIC: BLUE, EPIC_ON_DATA: SKY_BLUE, DARD: ORANGE, SRRD: VERMILLION, VAL: BLACK}
MARKERS = dict(zip(COLOURS, "os^Dv"))
DECIDED_AT = 10.0
INDEPENDENT, SYSTEMATIC = "independent errors", "systematic errors: a part for each state, before and after"

CLAIMS = (
    Claim(
        id="dard-below-epic",
        paper="2201.10081",
        title="DARD minds impossible transitions less than EPIC",
        says="Errors on transitions that never happen move the DARD distance less than the EPIC distance.",
        threshold=f"95% interval of DARD's rise minus EPIC's at size {DECIDED_AT:g} below 0 (refuted if above)",
        published="EPIC misled outside the training distribution, DARD not (no number)",
        limits="Random sparse worlds; DARD's last term still asks about jumps between successors of two states. "
        "Systematic errors, averaged in here, were added after the first result; the threshold was not changed.",
    ),
    Claim(
        id="dard-ignores-impossible",
        paper="2201.10081",
        title="DARD hardly minds impossible transitions",
        says="Errors ten times the reward on transitions that never happen move the DARD distance by less than 0.05.",
        threshold=f"95% interval of DARD's rise at size {DECIDED_AT:g} below 0.05 (refuted if above)",
        published="EPIC misled outside the training distribution, DARD not (no number)",
        limits="How much leaks depends on how often successors of two states are linked by a possible transition. "
        "Systematic errors, averaged in here, were added after the first result; the threshold was not changed.",
    ),
    Claim(
        id="val-constant",
        paper="2309.15257",
        title="STARC does not see impossible transitions",
        says="The STARC distance is the same whatever a reward says of transitions that never happen, as is regret.",
        threshold="largest change over all seeds and noises at most 1e-9",
        published="invariance to redistribution over next states",
        limits="Exact values in a known world; learned values would see what their training data contain.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Distance to the true reward of a reward wrong on impossible transitions: a row a seed, kind, size, distance."""
    seeds = np.random.SeedSequence(rng).spawn(scale.pick(smoke=5, small=40, paper=400))
    return pd.DataFrame(
        [row for index, seed in enumerate(seeds) for row in _one_seed(index, np.random.default_rng(seed))]
    )


def _one_seed(index: int, rng: np.random.Generator) -> list[dict]:
    mdp = FiniteMDP.random(STATES, ACTIONS, discount=DISCOUNT, clean=True, rng=rng)
    true, error, independent = rng.normal(size=(3, STATES, ACTIONS, STATES))
    before, after = rng.normal(size=(2, STATES)) / np.sqrt(2)
    systematic = np.broadcast_to(before[:, None, None] + after, true.shape)
    return [
        {"seed": index, "kind": kind, **row}
        for kind, noise in ((INDEPENDENT, independent), (SYSTEMATIC, systematic))
        for row in _distances(mdp, true, error, noise)
    ]


def _distances(mdp: FiniteMDP, true: np.ndarray, error: np.ndarray, noise: np.ndarray) -> list[dict]:
    """Distance to the true reward, and regret, of a reward with `noise` of growing size on impossible transitions."""
    possible = mdp.transition > 0
    scale = np.array(NOISES)[:, None, None, None]
    learned = true + np.where(possible, REAL_ERROR * error, scale * noise)
    rewards = np.concatenate([true[None], learned])
    regret = greedy_regret(mdp, true, learned)
    happens = mdp.transition.ravel()
    forms = {
        EPIC: (epic_canonical(mdp, rewards), None),
        EPIC_ON_DATA: (epic_canonical(mdp, rewards), happens),
        DARD: (dard_canonical(mdp, rewards), happens),
        SRRD: (srrd_canonical(mdp, rewards), happens),
        VAL: (val_canonical(mdp, rewards), None),
    }
    rows = []
    for name, (form, weights) in forms.items():
        flat = form.reshape(len(form), -1)
        distances = pearson_distance(flat[:1], flat[1:], weights)  # for VAL half the STARC distance: its mean is 0
        rows += [
            {"noise": size, "distance_name": name, "distance": distance, "regret": lost}
            for size, distance, lost in zip(NOISES, distances, regret)
        ]
    return rows


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, (kind, part) in zip(figure.subplots(1, 2, sharey=True), frame.groupby("kind", sort=False)):
        _plot_panel(axes, part)
        axes.set_title(kind[0].upper() + kind[1:])
    figure.axes[0].set(ylim=(0, 0.8), ylabel="distance to the true reward (0 to 1)")
    figure.axes[0].legend(loc="upper left")
    return figure


def _plot_panel(axes, frame: pd.DataFrame) -> None:
    for name, colour in COLOURS.items():
        mean, low, high = _interval_by_noise(frame[frame.distance_name == name], "distance")
        bars = axes.errorbar(mean.index, mean, [mean - low, high - mean], color=colour, marker=MARKERS[name], capsize=2)
        bars.set_label(name)
    mean, low, high = _interval_by_noise(frame[frame.distance_name == VAL], "regret")
    axes.plot(mean.index, mean, ":", color=BLACK, label="regret of optimising it")
    axes.fill_between(mean.index, low, high, color=BLACK, alpha=0.12, linewidth=0)
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    axes.set_xticks(NOISES, [f"{noise:g}" for noise in NOISES])
    axes.minorticks_off()
    axes.set_xlabel("error on impossible transitions (standard deviations of the true reward)")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean distances over seeds: without errors on impossible transitions, at the size that decides, at the largest."""
    chosen = frame[frame.noise.isin([0.0, DECIDED_AT, max(NOISES)])]
    wide = chosen.pivot_table(index=["kind", "distance_name"], columns="noise", values="distance", sort=False)
    return wide.rename(columns=lambda noise: f"error {noise:g}").reset_index(names=["kind", "distance"])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    wide = frame.pivot_table(index=["kind", "seed"], columns=["distance_name", "noise"], values="distance", sort=False)
    rise = {name: wide[name, DECIDED_AT] - wide[name, 0.0] for name in COLOURS}
    change = max(float(np.abs(wide[VAL, noise] - wide[VAL, 0.0]).max()) for noise in NOISES)
    gap, low, high = mean_interval((rise[DARD] - rise[EPIC]).groupby("seed").mean())
    leak, leak_low, leak_high = mean_interval(rise[DARD].groupby("seed").mean())
    by_kind = {}
    for name in COLOURS:
        by_kind[name] = " and ".join(f"{value:.2f}" for value in rise[name].groupby("kind", sort=False).mean())
    return {
        "dard-below-epic": Verdict(
            "supported" if high < 0 else "refuted" if low > 0 else "undecided",
            f"rise of DARD minus rise of EPIC {gap:+.3f}",
            gap,
            (low, high),
            f"At size {DECIDED_AT:g}, independent and systematic: EPIC rises by {by_kind[EPIC]}; DARD {by_kind[DARD]}; "
            f"but EPIC, when compared on data as DARD is, {by_kind[EPIC_ON_DATA]}; and SRRD {by_kind[SRRD]}.",
        ),
        "dard-ignores-impossible": Verdict(
            "supported" if leak_high < 0.05 else "refuted" if leak_low > 0.05 else "undecided",
            f"rise of DARD {leak:+.3f}",
            leak,
            (leak_low, leak_high),
            f"DARD moves by {leak:.2f}: its last term pairs successors of two states, and few such jumps can happen.",
        ),
        "val-constant": Verdict(
            "supported" if change <= 1e-9 else "refuted",
            f"largest change {change:.1g}",
            change,
            None,
            "What a reward says of transitions that never happen changes neither the STARC distance nor the regret.",
        ),
    }


def _interval_by_noise(frame: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series, pd.Series]:
    parts = frame.groupby("noise")[column].apply(mean_interval)
    return tuple(parts.map(lambda part, place=place: part[place]) for place in range(3))
