"""Which prompts does optimisation improve? Raw rewards leave some behind; centred log-sigmoids attend to the worst."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.response_set_study import (
    KNOWN_BEFORE,
    PROMPTS,
    SEEDS,
    at_equal_kl,
    draw_expected,
    draw_lines,
    draw_sets,
    gap,
    judge,
    smallest,
    uniform_base,
)
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE
from rewardlab.exact import KLMatch, win_rate
from rewardlab.transforms import log_sigmoid, quantile_reference, sigmoid, z_score

TITLE = "Which prompts improve when a reward is optimised?"

RESPONSES = 256
KLS = (0.5, 1.0, 2.0, 3.0)
RAW, LOG_SIGMOID, MEDIAN = "raw reward", "log-sigmoid, 85% quantile", "log-sigmoid, median"
UNCENTRED, SIGMOID, Z_SCORE = "log-sigmoid, not centred", "sigmoid, 85% quantile", "z-score of the prompt"
LOOKS = {
    RAW: (BLACK, "o", "-"),
    LOG_SIGMOID: (BLUE, "s", "-"),
    MEDIAN: (SKY_BLUE, "v", "-"),
    UNCENTRED: (ORANGE, "D", "--"),
    SIGMOID: (GREEN, "^", "--"),
    Z_SCORE: (PURPLE, "P", ":"),
}
PERCENTILES = (10, 25, 50, 75, 90)
MEASURES = {
    "win_mean": "win rate",
    "win_spread": "its spread",
    "win_p10": "its 10th percentile",
    "good_mean": "good responses",
    "good_p10": "their 10th percentile",
}
EXPECTED = {  # of MEASURES in turn, from an independent calculation of the same toy
    1.0: {
        RAW: (0.780, 0.125, 0.618, 0.556, 0.273),
        LOG_SIGMOID: (0.835, 0.096, 0.693, 0.653, 0.360),
        MEDIAN: (0.854, 0.050, 0.796, 0.649, 0.493),
        UNCENTRED: (0.793, 0.136, 0.586, 0.558, 0.215),
        SIGMOID: (0.821, 0.100, 0.676, 0.651, 0.352),
        Z_SCORE: (0.843, 0.015, 0.825, 0.654, 0.607),
    },
    2.0: {
        RAW: (0.876, 0.112, 0.709, 0.748, 0.397),
        LOG_SIGMOID: (0.931, 0.063, 0.853, 0.885, 0.660),
        MEDIAN: (0.940, 0.034, 0.898, 0.899, 0.768),
        UNCENTRED: (0.880, 0.124, 0.690, 0.746, 0.308),
        SIGMOID: (0.916, 0.081, 0.796, 0.849, 0.561),
        Z_SCORE: (0.928, 0.018, 0.906, 0.853, 0.799),
    },
}

_EVERYWHERE = f"at every mean KL in {', '.join(f'{kl:g}' for kl in KLS)}"
CLAIMS = (
    Claim(
        id="log-sigmoid-more-even",
        paper="2402.00742",
        title="Centred log-sigmoids leave fewer prompts behind",
        says="At equal KL the log-sigmoid centred at the prompt's 85% quantile has a higher mean win rate over the "
        "base than the raw reward, less spread over prompts and a higher 10th percentile.",
        threshold=f"all three gaps {_EVERYWHERE}: 95% interval over seeds on the claimed side (refuted if one lies on "
        "the other)",
        published="more even improvement over prompts (a histogram, no number)",
        limits="The proxy is the truth here; prompts differ in the mean and the spread of their rewards, by design. "
        + KNOWN_BEFORE,
    ),
    Claim(
        id="centring-matters",
        paper="2402.00742",
        title="Without centring the log-sigmoid evens out nothing",
        says="A log-sigmoid that is not centred at a reference of the prompt spreads prompts at least as much as the "
        "raw reward and leaves the 10th percentile no higher.",
        threshold=f"both gaps {_EVERYWHERE}: 95% interval on the claimed side (refuted if one lies on the other)",
        published="",
        limits="Depends on how much prompts' mean rewards differ: 2 nats of log-odds here. " + KNOWN_BEFORE,
    ),
    Claim(
        id="z-score-more-even",
        paper="2402.00742",
        title="A control: the prompt's z-score is more even still",
        says="Dividing by the prompt's standard deviation makes win rates more even than the log-sigmoid does, so "
        "evenness alone speaks for no particular transform.",
        threshold=f"spread over prompts lower {_EVERYWHERE}: 95% interval below 0 (refuted if one lies above)",
        published="",
        limits="The z-score has no notion of good enough: it neither adds up to 'good in all' nor slows down hacks. "
        + KNOWN_BEFORE,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a method, mean KL and seed: how win rates and good responses are spread over prompts."""
    prompts = scale.pick(**PROMPTS)
    (rewards,) = draw_sets(lambda generator: _draw(generator, prompts), rng, scale.pick(**SEEDS))
    reference = quantile_reference(rewards)
    utilities = {
        RAW: rewards,
        LOG_SIGMOID: log_sigmoid(rewards, reference),
        MEDIAN: log_sigmoid(rewards, quantile_reference(rewards, 0.5)),
        UNCENTRED: log_sigmoid(rewards, 0.0),
        SIGMOID: sigmoid(rewards, reference),
        Z_SCORE: z_score(rewards.reshape(-1, RESPONSES)).reshape(rewards.shape),
    }

    def measure(match: KLMatch) -> dict[str, np.ndarray]:
        log_probs = np.where(match.reachable[:, None, None], match.log_probs, uniform_base(RESPONSES))
        won = win_rate(log_probs, uniform_base(RESPONSES), rewards)
        good = (np.exp(log_probs) * (rewards >= reference)).sum(axis=-1)
        percentiles = dict(zip((f"win_p{p}" for p in PERCENTILES), np.percentile(won, PERCENTILES, axis=-1)))
        means = {"win_mean": won.mean(-1), "win_spread": won.std(-1), **percentiles}
        return {**means, "good_mean": good.mean(-1), "good_p10": np.percentile(good, 10, axis=-1)}

    return at_equal_kl(utilities, KLS, measure)


def _draw(rng: np.random.Generator, prompts: int) -> tuple[np.ndarray]:
    """Rewards whose mean and spread are each prompt's own."""
    spread = np.exp(0.75 * rng.normal(size=(prompts, 1)))
    return (2 * rng.normal(size=(prompts, 1)) + spread * rng.normal(size=(prompts, RESPONSES)),)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    panels = figure.subplots(2, 2)
    labels = {"win_mean": "mean over prompts", "win_p10": "10th percentile of prompts", "win_spread": "spread"}
    for axes, (column, label) in zip(panels.flat, labels.items()):
        draw_lines(axes, frame, column, LOOKS)
        place = list(MEASURES).index(column)
        marks = {(method, kl): numbers[place] for kl, cells in EXPECTED.items() for method, numbers in cells.items()}
        draw_expected(axes, marks, LOOKS)
        axes.set_title(f"Win rate over the base policy: {label}")
        axes.set_ylabel("win rate" if column != "win_spread" else "standard deviation over prompts\n(lower: more even)")
    _plot_percentiles(panels[1, 1], frame)
    seeds = frame.seed.nunique()
    figure.suptitle(f"Exact policies at equal KL; bars: 95% interval over {seeds} seeds")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _plot_percentiles(axes, frame: pd.DataFrame) -> None:
    means = frame[frame.kl == 1].groupby("method")[[f"win_p{p}" for p in PERCENTILES]].mean()
    for method, (colour, marker, line) in LOOKS.items():
        axes.plot(PERCENTILES, means.loc[method], color=colour, marker=marker, linestyle=line, markersize=4.5)
    axes.axhline(0.5, color=BLACK, linewidth=0.8, linestyle=":")
    axes.annotate("base policy", (10, 0.505), fontsize=9)
    axes.set(xlabel="percentile of prompts, least improved first", ylabel="win rate", xticks=PERCENTILES)
    axes.set_title("Win rate of the prompts at a mean KL of 1")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each measure over prompts beside the number expected beforehand, at the KLs for which there is one."""
    rows = []
    for kl, cells in EXPECTED.items():
        for method, numbers in cells.items():
            here = frame[(frame.kl == kl) & (frame.method == method)]
            row = {"mean KL": kl, "method": method}
            for (column, label), number in zip(MEASURES.items(), numbers):
                row |= {label: here[column].mean(), f"{label}, expected": number}
            rows.append(row)
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    signs = {"win_mean": 1, "win_spread": -1, "win_p10": 1}
    gains = [_signed(gap(frame, column, LOG_SIGMOID, RAW, KLS), sign) for column, sign in signs.items()]
    uncentred = [
        _signed(gap(frame, column, RAW, UNCENTRED, KLS), signs[column]) for column in ("win_spread", "win_p10")
    ]
    evener = gap(frame, "win_spread", LOG_SIGMOID, Z_SCORE, KLS)
    at_one = frame[frame.kl == 1].groupby("method")[["win_mean", "win_spread", "win_p10"]].mean()
    numbers = {method: "{:.3f} ± {:.3f}, {:.3f}".format(*at_one.loc[method]) for method in LOOKS}
    return {
        "log-sigmoid-more-even": _verdict(
            np.concatenate(gains, axis=1),
            "smallest of 12 gains",
            f"At a mean KL of 1, mean ± spread and 10th percentile of win rates are {numbers[LOG_SIGMOID]}, against "
            f"{numbers[RAW]} for the raw reward.",
        ),
        "centring-matters": _verdict(
            np.concatenate(uncentred, axis=1),
            "smallest of 8 losses of the log-sigmoid without centring",
            f"At a mean KL of 1 it has {numbers[UNCENTRED]}, against {numbers[RAW]} for the raw reward.",
        ),
        "z-score-more-even": _verdict(
            evener,
            "smallest of 4 gains in evenness",
            f"At a mean KL of 1 the z-score has {numbers[Z_SCORE]}, against {numbers[LOG_SIGMOID]}.",
        ),
    }


def _signed(gaps: np.ndarray, sign: int) -> np.ndarray:
    return gaps if sign > 0 else -gaps[[0, 2, 1]]


def _verdict(gaps: np.ndarray, name: str, sentence: str) -> Verdict:
    value, interval = smallest(gaps)
    return Verdict(judge(gaps), f"{name}: {value:.3f}", value, interval, sentence)
