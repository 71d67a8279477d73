"""Dropping advantages beyond three standard deviations: what it costs a rare success, and whether it helps at all."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats
from scipy.special import expit, logit

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLUE, GREEN, GREY, ORANGE, VERMILLION
from rewardlab.transforms.advantages import standardised
from rewardlab.transforms.outliers import clamp_outliers, drop_outliers, robust_clip

TITLE = "An advantage filter deletes rare successes, and comes too late for outliers"


def _z_scores(rewards: np.ndarray) -> np.ndarray:
    return standardised(rewards, correction=0, epsilon=0.0)


METHODS = {
    "none": ("z-scores", GREY, "s", _z_scores),
    "clamp": ("clamped to ±3", GREEN, "^", clamp_outliers),
    "drop": ("dropped beyond 3 (StableReinforce)", VERMILLION, "v", drop_outliers),
    "robust": ("robust clip", BLUE, "o", robust_clip),
}
STARTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.12, 0.2)
SETTINGS = {  # chance and size of an outlier
    "none": ("no outliers", 0.0, 0.0),
    "common": ("5% of ±20", 0.05, 20.0),
    "rare": ("2% of ±50", 0.02, 50.0),
}
SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.1, 0.12, 0.15, 0.2, 0.3)
BATCH, RATE, LONGEST = 256, 0.5, 2000
NOISE, FROM, TO = 0.3, 0.3, 0.9  # of the bandit with outliers
# median iterations of 20 seeds, found by separate code before this was written
EARLIER = {
    "none": {0.02: 15, 0.05: 9, 0.09: 7, 0.12: 5, "none": 9, "common": 76, "rare": 102},
    "clamp": {0.02: 21, 0.05: 10, 0.09: 7, 0.12: 5, "common": 78.5, "rare": 106},
    "drop": {0.02: 228, 0.05: 40, 0.09: 8, 0.12: 5, "common": 77, "rare": 107},
    "robust": {"none": 9, "common": 10, "rare": 9},
}

PAPER = "2505.02835"
CLAIMS = (
    Claim(
        id="filter-helps-with-outliers",
        paper=PAPER,
        title="With outliers in the reward, the advantage filter makes learning faster",
        says="Rewards with symmetric outliers that say nothing: dropping them after standardising reaches accuracy .9 "
        "sooner than keeping them.",
        threshold="median iterations at most .8 of those of z-scores in both settings, intervals below 1 (refuted "
        "if the intervals are above .9 in both)",
        published="a stable reinforcement of a 7B judge, +8.4% on VL Reward-Bench with all three fixes; no ablation of "
        "the filter is known to us",
        limits="A bandit of two arms, one kind of outlier, one learning rate; the numbers were known beforehand.",
    ),
    Claim(
        id="deletes-rare-success",
        paper=PAPER,
        title="Below a success rate of one in ten the filter deletes what there is to learn from",
        says="Binary rewards: a success then scores above 3, is dropped, and learning takes several times as long.",
        threshold="from starts .02 and .05 at least 3 times the median iterations of z-scores, intervals above 1 "
        "(refuted if an interval includes 1 or less)",
        published="",
        limits="Ours, derived. Batches of 256; in a group of 10 or less nothing can score above 3.",
    ),
    Claim(
        id="harmless-above-a-tenth",
        paper=PAPER,
        title="Above one in ten the filter does nothing to binary rewards",
        says="From starts of .12 and .2 the filter takes as long as no filter.",
        threshold="ratio of median iterations within .8 to 1.25 at both (refuted if an interval lies outside)",
        published="",
        limits="Medians of whole numbers near 5.",
    ),
    Claim(
        id="clip-before-the-spread",
        paper=PAPER,
        title="Clipping before the spread is taken is what helps with outliers",
        says="Centred by the median, scaled by the median absolute deviation and clamped, the outliers cost nothing.",
        threshold="at most a third of the median iterations of z-scores in both settings, intervals below 1, and "
        "within .8 to 1.25 without outliers (refuted if an interval with outliers is above 1)",
        published="",
        limits="Outliers here say nothing; where the rare reward is the truth, a robust clip shrinks it to 3.",
    ),
    Claim(
        id="keeps-the-fraction-p",
        paper=PAPER,
        title="The filter keeps the fraction p of the expected gradient",
        says="With share p of successes below one in ten, what is left of the gradient is p times it.",
        threshold="share of the gradient kept within .001 of p at every p below .1 and of 1 at every p above (a "
        "theorem; refuted otherwise)",
        published="",
        limits="Exact shares; a batch around one in ten has sometimes more and sometimes less.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Three parts: gradient kept by share of successes; iterations to .5 by start; to .9 by kind of outlier."""
    seeds = scale.pick(smoke=12, small=40, paper=200)
    rows = [("gradient", name, share, 0, _kept(name, share)) for name in METHODS for share in SHARES]
    first, second = np.random.SeedSequence(rng).spawn(2)
    for name in METHODS:
        # the same seed for every method: until the filters differ, the runs are the same
        found = _iterations(name, np.repeat(STARTS, seeds), 0.5, np.random.default_rng(first))
        rows += [("rare", name, STARTS[run // seeds], run % seeds, value) for run, value in enumerate(found)]
        for number, (setting, (_, chance, size)) in enumerate(SETTINGS.items()):
            generator = np.random.default_rng([number, *second.generate_state(2)])
            starts = np.full(seeds, FROM)
            found = _iterations(name, starts, TO, generator, noise=NOISE, chance=chance, size=size)
            rows += [("outliers", name, setting, run, value) for run, value in enumerate(found)]
    return pd.DataFrame(rows, columns=["part", "method", "cell", "seed", "value"])


def _kept(method: str, share: float, samples: int = 10_000) -> float:
    """Expected gradient of the success rate under the method over that under z-scores, for an exact share."""
    success = (np.arange(samples) < share * samples - 0.5).astype(float)
    gradient = {name: np.mean(METHODS[name][3](success) * (success - share)) for name in (method, "none")}
    return float(gradient[method] / gradient["none"])


def _iterations(
    method: str,
    starts: np.ndarray,
    target: float,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    chance: float = 0.0,
    size: float = 0.0,
) -> np.ndarray:
    """Iterations until the good one of two arms has probability `target`, for one run from each start.

    Softmax over two logits, plain gradient ascent, a batch of rewards that are 1 for the good arm and 0 for the other,
    with normal noise and, by chance, an outlier of either sign added.
    """
    advantage = METHODS[method][3]
    gap, reached = logit(starts), np.full(starts.shape, float(LONGEST))
    running = np.arange(len(starts))
    for iteration in range(1, LONGEST + 1):
        good = expit(gap[running])[:, None]
        chosen = (rng.random((len(running), BATCH)) < good).astype(float)
        rewards = chosen
        if noise:
            rewards = rewards + noise * rng.standard_normal(chosen.shape)
        if chance:
            hit, sign = rng.random((2, *chosen.shape))
            rewards = rewards + np.where(hit < chance, size * np.sign(sign - 0.5), 0.0)
        gap[running] += 2 * RATE * (advantage(rewards) * (chosen - good)).mean(-1)  # both logits move, apart
        there = expit(gap[running]) > target
        reached[running[there]] = iteration
        running = running[~there]
        if not len(running):
            break
    return reached


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 4.7), layout="constrained")
    gradient, rare, outliers = figure.subplots(1, 3)
    kept = _wide(frame, "gradient")
    for name in ("clamp", "drop", "robust"):
        _, colour, marker, _ = METHODS[name]
        gradient.plot(kept.columns, kept.loc[name], color=colour, marker=marker, markersize=5)
    below = np.linspace(0.01, 0.1)
    gradient.plot(below, below, color=ORANGE, linestyle=":", linewidth=3, zorder=0, label="theory: p below one in ten")
    gradient.axvline(0.1, color=GREY, linewidth=0.8, linestyle="--")
    gradient.set(xlabel="share p of successes in the batch", ylabel="gradient kept, of that of z-scores")
    gradient.set(title="Binary rewards: what is left", ylim=(-0.03, 1.06))
    gradient.legend(loc="center right")
    _draw_rare(rare, frame[frame.part == "rare"])
    _draw_outliers(outliers, frame[frame.part == "outliers"])
    handles, labels = outliers.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
    seeds = int(frame[frame.part == "rare"].seed.nunique())
    figure.suptitle(f"Two-armed bandit, batches of {BATCH}; medians with 95% intervals over {seeds} seeds")
    return figure


def _draw_rare(panel, frame: pd.DataFrame) -> None:
    for place, (name, (_, colour, marker, _)) in enumerate(METHODS.items()):
        found = np.array([_median(frame, name, start) for start in STARTS])
        _draw(panel, np.array(STARTS) * 1.03 ** (place - 1.5), found, colour, marker, line="-")
        known = {start: value for start, value in EARLIER[name].items() if start in STARTS}
        panel.plot(known.keys(), known.values(), color=colour, marker="_", markersize=15, linestyle="", zorder=0)
    panel.axvline(0.1, color=GREY, linewidth=0.8, linestyle="--")
    panel.set(xscale="log", yscale="log", xlabel="success of the starting policy", ylabel="iterations to accuracy .5")
    panel.set_xticks(STARTS[:4] + STARTS[5:], [f"{start:g}" for start in STARTS[:4] + STARTS[5:]])
    panel.minorticks_off()
    panel.set_yticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200", "500"])
    panel.set_title("Binary rewards: what it costs")


def _draw_outliers(panel, frame: pd.DataFrame) -> None:
    for place, (name, (label, colour, marker, _)) in enumerate(METHODS.items()):
        found = np.array([_median(frame, name, setting) for setting in SETTINGS])
        where = np.arange(len(SETTINGS)) + 0.17 * (place - 1.5)
        _draw(panel, where, found, colour, marker, label=label)
        known = [EARLIER[name].get(setting, np.nan) for setting in SETTINGS]
        panel.plot(where, known, color=colour, marker="_", markersize=15, linestyle="", zorder=0)
        for x, value in zip(where, found[:, 0]):
            panel.annotate(f"{value:.0f}", (x, value), (0, 10), textcoords="offset points", ha="center", fontsize=7.5)
    panel.plot([], [], color=GREY, marker="_", markersize=13, linestyle="", label="separate code, earlier")
    panel.set_xticks(range(len(SETTINGS)), [label for label, _, _ in SETTINGS.values()])
    panel.set(ylim=(0, None), xlabel="outliers added to the reward", ylabel="iterations to accuracy .9")
    panel.set_title("Rewards with noise and outliers")


def _draw(panel, where, found: np.ndarray, colour: str, marker: str, *, line: str = "", label: str | None = None):
    centre, low, high = found.T
    look = {"color": colour, "marker": marker, "markersize": 5, "capsize": 2, "linestyle": line, "label": label}
    panel.errorbar(where, centre, yerr=[centre - low, high - centre], **look)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Median iterations by method, start and kind of outlier, beside separate code's."""
    rows = []
    for part, cells, name_of in (("rare", STARTS, "start {:g}".format), ("outliers", SETTINGS, _setting_name)):
        for cell in cells:
            for method, (label, *_) in METHODS.items():
                value, low, high = _median(frame[frame.part == part], method, cell)
                rows.append((name_of(cell), label, value, low, high, EARLIER[method].get(cell, np.nan)))
    return pd.DataFrame(rows, columns=["rewards", "advantage", "median iterations", "low", "high", "earlier code"])


def _setting_name(setting: str) -> str:
    return SETTINGS[setting][0]


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "filter-helps-with-outliers": _helps(frame),
        "deletes-rare-success": _deletes(frame),
        "harmless-above-a-tenth": _harmless(frame),
        "clip-before-the-spread": _robust(frame),
        "keeps-the-fraction-p": _fraction(frame),
    }


def _helps(frame: pd.DataFrame) -> Verdict:
    found = {setting: _ratio(frame, "outliers", "drop", setting) for setting in ("common", "rare")}
    helps = all(ratio <= 0.8 and high < 1 for ratio, _, high in found.values())
    useless = all(low > 0.9 for _, low, _ in found.values())
    best = min(found.values())
    return Verdict(
        "supported" if helps else "refuted" if useless else "undecided",
        f"least ratio of median iterations to z-scores {best[0]:.2f}",
        best[0],
        best[1:],
        f"Dropped afterwards, outliers cost {_factors(found)} of what they cost kept: they are in the standard "
        "deviation that everything has been divided by.",
    )


def _deletes(frame: pd.DataFrame) -> Verdict:
    found = {start: _ratio(frame, "rare", "drop", start) for start in (0.02, 0.05)}
    slower = all(ratio >= 3 and low > 1 for ratio, low, _ in found.values())
    least = min(found.values())
    clamped = [_ratio(frame, "rare", "clamp", start)[0] for start in found]
    return Verdict(
        "supported" if slower else "refuted" if any(low <= 1 for _, low, _ in found.values()) else "undecided",
        f"least ratio of median iterations to z-scores {least[0]:.2f}",
        least[0],
        least[1:],
        f"{_factors(found)} times as long from starts .02 and .05; clamped instead of dropped {clamped[0]:.2f} and "
        f"{clamped[1]:.2f} times.",
    )


def _harmless(frame: pd.DataFrame) -> Verdict:
    found = [_ratio(frame, "rare", "drop", start) for start in (0.12, 0.2)]
    within = all(0.8 <= ratio <= 1.25 for ratio, _, _ in found)
    outside = any(high < 0.8 or low > 1.25 for _, low, high in found)
    worst = max(found, key=lambda ratio: abs(np.log(ratio[0])))
    return Verdict(
        "supported" if within else "refuted" if outside else "undecided",
        f"ratio of median iterations furthest from 1: {worst[0]:.2f}",
        worst[0],
        worst[1:],
        f"{found[0][0]:.2f} and {found[1][0]:.2f} times the iterations of z-scores from starts .12 and .2.",
    )


def _robust(frame: pd.DataFrame) -> Verdict:
    found = {setting: _ratio(frame, "outliers", "robust", setting) for setting in SETTINGS}
    hit = [found["common"], found["rare"]]
    helps = all(ratio <= 1 / 3 and high < 1 for ratio, _, high in hit) and 0.8 <= found["none"][0] <= 1.25
    worst = max(hit)
    return Verdict(
        "supported" if helps else "refuted" if any(low > 1 for _, low, _ in hit) else "undecided",
        f"largest ratio of median iterations to z-scores {worst[0]:.2f}",
        worst[0],
        worst[1:],
        f"{worst[0]:.2f} of the iterations or less with outliers, {found['none'][0]:.2f} without.",
    )


def _fraction(frame: pd.DataFrame) -> Verdict:
    kept = _wide(frame, "gradient").loc["drop"]
    share = kept.index.to_numpy(float)
    error = float(np.abs(kept.to_numpy() - np.where(share < 0.1, share, 1.0)).max())
    return Verdict(
        "supported" if error <= 1e-3 else "refuted",
        f"largest departure from p {error:.1e}",
        error,
        None,
        f"At p = .05 the filter keeps {kept[0.05]:.3f} of the gradient; at one in ten exactly a success scores 3 and "
        "stays.",
    )


def _wide(frame: pd.DataFrame, part: str) -> pd.DataFrame:
    rows = frame[frame.part == part]
    return rows.assign(cell=rows.cell.astype(float)).pivot(index="method", columns="cell", values="value")


def _values(frame: pd.DataFrame, method: str, cell: float | str) -> np.ndarray:
    runs = frame[frame.method == method]
    here = runs.cell.astype(str) == str(cell)
    return runs[here].sort_values("seed").value.to_numpy(float)


def _median(frame: pd.DataFrame, method: str, cell: float | str) -> tuple[float, float, float]:
    return _interval(np.median, _values(frame, method, cell))


def _ratio(frame: pd.DataFrame, part: str, method: str, cell: float | str) -> tuple[float, float, float]:
    """Median iterations of a method over those of z-scores."""
    rows = frame[frame.part == part]
    return _interval(_ratio_of_medians, _values(rows, method, cell), _values(rows, "none", cell))


def _ratio_of_medians(left: np.ndarray, right: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.median(left, axis=axis) / np.median(right, axis=axis)


def _interval(statistic, *samples: np.ndarray) -> tuple[float, float, float]:
    """The statistic with its 95% bootstrap interval over seeds."""
    found = float(statistic(*samples))
    if all(np.ptp(sample) == 0 for sample in samples):
        return found, found, found
    interval = stats.bootstrap(samples, statistic, method="percentile", rng=0).confidence_interval
    return found, float(interval.low), float(interval.high)


def _factors(ratios: dict) -> str:
    return " and ".join(f"{ratio:.2f}" for ratio, _, _ in ratios.values())
