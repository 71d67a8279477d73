"""Optimise a proxy that overrates a few responses: how far, and under which transform, before the hacks take over?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import mean_interval
from paper_figures.response_set_study import (
    KNOWN_BEFORE,
    PROMPTS,
    SEEDS,
    at_equal_kl,
    by_seed,
    draw_expected,
    draw_lines,
    draw_sets,
    gap,
    judge,
    smallest,
)
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE
from rewardlab.exact import KLMatch
from rewardlab.transforms import clip_at_reference, log_sigmoid, quantile_reference, sigmoid, z_score

TITLE = "Reward hacking at equal KL"

RESPONSES, HACKS = 512, 0.01  # hacks: responses that are bad and that the proxy likes best of all
KLS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
MODERATE, DECIDED_AT, HIGH, LEAST = (0.5, 1.0, 2.0), 2.0, 4.0, 0.3
RAW, LOG_SIGMOID, MEDIAN = "raw reward", "log-sigmoid, 85% quantile", "log-sigmoid, median"
SIGMOID, CLIPPED, Z_SCORE = "sigmoid, 85% quantile", "clipped at the 85% quantile", "z-score of the prompt"
LOOKS = {
    RAW: (BLACK, "o", "-"),
    LOG_SIGMOID: (BLUE, "s", "-"),
    MEDIAN: (SKY_BLUE, "v", "-"),
    SIGMOID: (GREEN, "^", "--"),
    CLIPPED: (ORANGE, "D", "--"),
    Z_SCORE: (PURPLE, "P", ":"),
}
NEVER = float("nan")
EXPECTED = {  # gold gain and hack mass, from an independent calculation of the same toy; NaN where out of reach
    0.5: (1.377, 0.088, 1.669, 0.039, 1.615, 0.028, 1.460, 0.069, 1.669, 0.029, 1.380, 0.088),
    1.0: (1.625, 0.160, 2.202, 0.069, 2.203, 0.052, 1.937, 0.113, 2.215, 0.042, 1.628, 0.159),
    2.0: (1.593, 0.302, 2.505, 0.170, 2.605, 0.150, 2.259, 0.212, NEVER, NEVER, 1.596, 0.302),
    3.0: (1.259, 0.438, 1.845, 0.357, 1.918, 0.346, 1.752, 0.371, NEVER, NEVER, 1.259, 0.438),
    4.0: (0.786, 0.561, 0.435, 0.599, 0.439, 0.598, 0.432, 0.599, NEVER, NEVER, 0.781, 0.561),
}
_LIMITS = (
    "Hacks are placed at random, by design, as common on every prompt, and the proxy hardly errs elsewhere. That each "
    f"response is a hack with probability {HACKS:.0%}, not just 5 of {RESPONSES}, was settled after a first look; the "
    "verdicts are the same. "
)

CLAIMS = (
    Claim(
        id="log-sigmoid-hacking",
        paper="2402.00742",
        title="At moderate KL the log-sigmoid buys more gold reward than the raw proxy",
        says="Where 1% of responses are hacks, tilting by the centred log-sigmoid gains more gold reward at equal KL.",
        threshold=f"gold gain at KL 2 at least {LEAST:g} higher, and the 95% interval over seeds above 0 at KL "
        f"{', '.join(f'{kl:g}' for kl in MODERATE)} (refuted if one lies below 0)",
        published="less reward hacking (hacking proxies over KL, no number)",
        limits=f"{_LIMITS}Other ways of capping a reward do as well: a clip at the 85% quantile gains no less up to "
        "KL 1.5, as far as it goes, with fewer hacks (5.5% against 11.1% there), and centring at the median gains more "
        "from KL 1.5 to 3.5 (2.6 against 2.5 at KL 2). " + KNOWN_BEFORE,
    ),
    Claim(
        id="fewer-hacks",
        paper="2402.00742",
        title="At moderate KL the log-sigmoid answers with fewer hacks",
        says="At equal KL the share of hacks among responses is smaller than under the raw proxy.",
        threshold=f"95% interval over seeds below 0 at KL {', '.join(f'{kl:g}' for kl in MODERATE)} (refuted if one "
        "lies above 0)",
        published="less reward hacking (hacking proxies over KL, no number)",
        limits=f"{_LIMITS}A clip, as far as it goes, and centring at the median have fewer hacks still. "
        + KNOWN_BEFORE,
    ),
    Claim(
        id="later-higher-peak",
        paper="2402.00742",
        title="Overoptimisation sets in later and from a higher peak",
        says="The highest gold gain over all KLs is higher with the log-sigmoid, and comes at a KL at least as high.",
        threshold="mean gain at the peak higher with its 95% interval above 0, and the peak of the mean at a KL at "
        "least as high (refuted if the interval lies below 0 or the peak comes earlier)",
        published="",
        limits=f"{_LIMITS}Peaks are read off a grid of {len(KLS)} KLs. " + KNOWN_BEFORE,
    ),
    Claim(
        id="no-help-at-high-kl",
        paper="2402.00742",
        title="Its limit: at a KL of 4 the log-sigmoid is worse than the raw proxy",
        says="A monotone transform keeps the hack the best response of all, so enough optimisation always finds it; "
        "pushed to KL 4, the log-sigmoid gains less gold than the raw proxy.",
        threshold="95% interval of the difference in gold gain at KL 4 below 0 (refuted if above)",
        published="",
        limits=_LIMITS + KNOWN_BEFORE,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a method, mean KL and seed: gain in gold reward over the base policy, and probability of a hack."""
    prompts = scale.pick(**PROMPTS)
    gold, proxy, hack = draw_sets(lambda generator: _draw(generator, prompts), rng, scale.pick(**SEEDS))
    reference = quantile_reference(proxy)
    utilities = {
        RAW: proxy,
        LOG_SIGMOID: log_sigmoid(proxy, reference),
        MEDIAN: log_sigmoid(proxy, quantile_reference(proxy, 0.5)),
        SIGMOID: sigmoid(proxy, reference),
        CLIPPED: clip_at_reference(proxy, reference),
        Z_SCORE: z_score(proxy.reshape(-1, RESPONSES)).reshape(proxy.shape),
    }

    def measure(match: KLMatch) -> dict[str, np.ndarray]:
        probs = np.exp(match.log_probs)
        gain = (probs * gold).sum(axis=-1) - gold.mean(axis=-1)
        return {"gold_gain": gain.mean(-1), "hack_mass": (probs * hack).sum(axis=-1).mean(-1), "limit": match.limit}

    return at_equal_kl(utilities, KLS, measure)


def _draw(rng: np.random.Generator, prompts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold reward, proxy reward, and which responses are hacks."""
    hack = rng.random((prompts, RESPONSES)) < HACKS
    gold = np.where(hack, -3.0, 2 * rng.normal(size=hack.shape))
    return gold, np.where(hack, 6.0, gold) + 0.5 * rng.normal(size=hack.shape), hack


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, column, place in ((left, "gold_gain", 0), (right, "hack_mass", 1)):
        draw_lines(axes, frame, column, LOOKS)
        draw_expected(axes, _expected(place), LOOKS)
    left.set(ylabel="gain in gold reward over the base policy", ylim=(0, 3.2))
    left.set_title("What the optimised policy is worth")
    right.set(ylabel="probability of answering with a hack", ylim=(0, None))
    right.set_title("How it got there")
    ends = frame[(frame.method == CLIPPED) & frame.reachable].kl.max()
    last = by_seed(frame, CLIPPED, "gold_gain")[ends].mean()
    text = "clipped ends here: nothing is\nbetter than good enough"
    left.annotate(text, (ends, last), (ends - 1.2, 2.8), fontsize=9, arrowprops={"arrowstyle": "-"})
    figure.suptitle(f"Exact policies at equal KL; bars: 95% interval over {frame.seed.nunique()} seeds")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _expected(place: int) -> dict[tuple[str, float], float]:
    """Numbers expected beforehand by method and KL: gold gain (place 0) or hack mass (place 1)."""
    return {(method, kl): cells[2 * i + place] for kl, cells in EXPECTED.items() for i, method in enumerate(LOOKS)}


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Gold gain and hack mass beside the numbers expected beforehand; empty where the KL is out of reach."""
    means = frame.groupby(["kl", "method"])[["gold_gain", "hack_mass"]].mean()
    rows = []
    for (method, kl), number in _expected(0).items():
        ours = means.loc[kl, method]
        row = {"mean KL": kl, "method": method, "gold gain": ours.gold_gain, "gold gain (expected)": number}
        rows.append(row | {"hack mass": ours.hack_mass, "hack mass (expected)": _expected(1)[method, kl]})
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    gains = gap(frame, "gold_gain", LOG_SIGMOID, RAW, MODERATE)
    at_two = gains[:, [MODERATE.index(DECIDED_AT)]]
    outcome = judge(gains)
    hacks = gap(frame, "hack_mass", RAW, LOG_SIGMOID, MODERATE)
    fewest = smallest(hacks)
    high = gap(frame, "gold_gain", RAW, LOG_SIGMOID, [HIGH])
    means = frame.groupby(["method", "kl"])[["gold_gain", "hack_mass"]].mean()
    ours, raw = means.loc[LOG_SIGMOID], means.loc[RAW]
    last, last_raw = ours.gold_gain[HIGH], raw.gold_gain[HIGH]
    gained, gained_raw = ours.gold_gain[DECIDED_AT], raw.gold_gain[DECIDED_AT]
    hacked, hacked_raw = ours.hack_mass[DECIDED_AT], raw.hack_mass[DECIDED_AT]
    return {
        "log-sigmoid-hacking": Verdict(
            "undecided" if outcome == "supported" and at_two[0, 0] < LEAST else outcome,
            f"gold gain at KL 2 higher by {at_two[0, 0]:.2f}",
            float(at_two[0, 0]),
            (float(at_two[1, 0]), float(at_two[2, 0])),
            f"At KL 2 the log-sigmoid gains {gained:.2f}, the raw proxy {gained_raw:.2f}.",
        ),
        "fewer-hacks": Verdict(
            judge(hacks),
            f"smallest fall in hack mass: {fewest[0]:.3f}",
            *fewest,
            f"At KL 2 {hacked:.0%} of responses are hacks, against {hacked_raw:.0%}.",
        ),
        "later-higher-peak": _peaks(frame, ours, raw),
        "no-help-at-high-kl": Verdict(
            judge(high),
            f"loss of gold gain at KL 4: {high[0, 0]:.2f}",
            *smallest(high),
            f"At KL 4 the log-sigmoid gains {last:.2f}, the raw proxy {last_raw:.2f}: the order has turned round.",
        ),
    }


def _peaks(frame: pd.DataFrame, ours: pd.DataFrame, raw: pd.DataFrame) -> Verdict:
    places = [float(part.gold_gain.idxmax()) for part in (ours, raw)]
    peaks = [by_seed(frame, method, "gold_gain").max(axis=1).to_numpy() for method in (LOG_SIGMOID, RAW)]
    higher = mean_interval(peaks[0] - peaks[1])[:, None]
    earlier = places[0] < places[1]
    return Verdict(
        "refuted" if earlier else judge(higher),
        f"peak higher by {higher[0, 0]:.2f}",
        *smallest(higher),
        f"The log-sigmoid peaks at {ours.gold_gain.max():.2f} at KL {places[0]:g}, the raw proxy at "
        f"{raw.gold_gain.max():.2f} at KL {places[1]:g}.",
    )
