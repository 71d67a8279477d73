"""Which errors of reward models does an ensemble survive? Best-of-n under normal, heavy-tailed and shared errors."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_figures.ensemble_study import (
    CASES,
    METHODS,
    SEEDS_OF,
    TITLES,
    TRAINED,
    Sizes,
    best_of_n_distance,
    curves,
    fall,
    measure,
    over_seeds,
)
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION
from rewardlab.audit import gaussian_best_of_n

TITLE = "Which errors an ensemble of reward models survives"

LOOKS = {
    "single": (BLACK, "-"),
    "finetune mean": (ORANGE, "-"),
    "finetune min": (ORANGE, "--"),
    "pretrain mean": (BLUE, "-"),
    "pretrain median": (SKY_BLUE, "-"),
    "pretrain min": (GREEN, "--"),
    "pretrain mean - std": (PURPLE, "-."),
    "pretrain UWO": (VERMILLION, ":"),
}
SPELLED_OUT = {"pretrain UWO": "pretrain UWO (mean - .5 variance)"}
PANELS = (*CASES, TRAINED)
# an earlier run of the same experiment by separate code, one seed: gold at n = 64 and 4,096
EARLIER = {
    ("normal", "single"): (1.776, 2.613),
    ("normal", "finetune mean"): (1.890, 2.886),
    ("normal", "pretrain mean"): (2.186, 3.380),
    ("normal", "pretrain min"): (2.074, 3.240),
    ("normal", "pretrain median"): (2.124, 3.254),
    ("heavy", "single"): (1.554, 0.517),
    ("heavy", "finetune mean"): (1.698, 0.612),
    ("heavy", "pretrain mean"): (2.137, 1.930),
    ("heavy", "pretrain min"): (2.183, 3.447),
    ("heavy", "pretrain median"): (2.249, 3.428),
    ("shared", "single"): (1.495, 0.392),
    ("shared", "finetune mean"): (1.535, 0.426),
    ("shared", "pretrain mean"): (1.686, 0.418),
    ("shared", "pretrain min"): (1.699, 0.487),
    ("shared", "pretrain median"): (1.717, 0.536),
}
PUBLISHED_WIN_RATES = {"single": 85.3, "finetune mean": 87.3, "pretrain mean": 90.0}
CONSERVATIVE = ("pretrain min", "pretrain UWO")
AGGREGATES = tuple(name for name in METHODS if name.startswith("pretrain"))
COMPARED = 64  # the published n of the comparison of ensembles
FALLS, RISES, LEAD, LOST, DROP, GAP, HELP = 0.2, 0.05, 0.05, 0.5, 0.5, 0.1, 0.1
KNOWN = "A smaller run of this simulation was known when the threshold was set. "

CLAIMS = (
    Claim(
        id="conservative-survive",
        paper="2310.02743",
        title="Minimum and variance penalty end overoptimisation",
        says="Where each member errs alone and badly, best-of-n on the mean overoptimises; on the minimum (WCO) or the "
        "variance-penalised mean (UWO, weight 0.5) gold keeps rising.",
        threshold=f"heavy tails, pretrain ensemble: gold at the largest n at least {FALLS} below its peak for the "
        f"mean, at most {RISES} for minimum and UWO (refuted if an interval lies wholly on the wrong side)",
        published="no overoptimisation with WCO and UWO up to n = 12,500; with the mean under 25% label noise",
        limits=f"{KNOWN}The paper's members differ in their fine-tuning seed alone, which is not enough here "
        "(see the claim on it).",
    ),
    Claim(
        id="shared-flaws-defeat-all",
        paper="2312.09244",
        title="No aggregate removes a flaw that all members share",
        says="When part of the heavy-tailed error is common to all reward models, every aggregate overoptimises.",
        threshold=f"each of {len(AGGREGATES)} aggregates loses at least {LOST:.0%} of its peak gold by the largest n "
        "(refuted if an interval lies below)",
        published="lists grow from 8% to 50% of the responses, summaries to twice the length, under every ensemble",
        limits=f"{KNOWN}The shared part is 59% of the variance of one model's error; of real models it is not known.",
    ),
    Claim(
        id="pretrain-beats-finetune",
        paper="2312.09244",
        title="Pretraining seeds beat fine-tuning seeds beat one model",
        says=f"At n = {COMPARED} the mean over pretraining seeds earns more gold than the mean over fine-tuning seeds, "
        "and that more than a single model, under every kind of error.",
        threshold=f"pretrain over finetune by at least {LEAD} in each case, and finetune over single by more than 0, "
        "intervals above 0 (refuted if an interval lies below)",
        published="win rates 90.0, 87.3 and 85.3%",
        limits=f"{KNOWN}That members of one pretrained model share errors is put in; the test is what it costs.",
    ),
    Claim(
        id="finetune-min-overoptimises",
        paper="2310.02743",
        title="The minimum over fine-tuning seeds is not enough",
        says="Where the pretrained model itself errs badly, the minimum over its fine-tunings overoptimises too.",
        threshold=f"heavy tails: gold at the largest n at least {DROP} below its peak (refuted if the interval is not)",
        published="no overoptimisation with WCO over fine-tuning seeds",
        limits="The size of the pretrained model's own error (0.7 of gold's spread) is chosen here, not measured.",
    ),
    Claim(
        id="normal-noise-is-harmless",
        paper="2210.10760",
        title="Normal noise never makes optimisation harmful",
        says="With normal errors gold follows the closed form of regressional Goodhart and never falls.",
        threshold=f"largest difference from the closed form, over n and three methods, at most {GAP} (refuted if the "
        "interval lies above)",
        published="equation 1: expected gold = proxy x var / (var + noise)",
        limits=f"{KNOWN}A theorem for the mean; minimum and median have no closed form and are not part of the test.",
    ),
    Claim(
        id="trained-order",
        paper="2312.09244",
        title="The same order among trained models",
        says="With Bradley-Terry heads fitted on random features, too, the mean over pretraining seeds beats that over "
        f"fine-tuning seeds at n = {COMPARED}, and that beats a single model.",
        threshold="both leads above 0 with their intervals (refuted if an interval lies below 0)",
        published="win rates 90.0, 87.3 and 85.3%",
        limits="A pretraining seed is a random feature matrix, a fine-tuning seed a bootstrap of 500 noisy pairs.",
    ),
    Claim(
        id="trained-mitigate-not-eliminate",
        paper="2312.09244",
        title="Ensembles of trained models mitigate and do not eliminate",
        says="At the largest n pretrain ensembles keep more gold than one model does, and still fall from their peak.",
        threshold=f"mean, minimum and UWO each at least {HELP} above a single model and at least {HELP} below their "
        "own peak (refuted if an interval lies wholly on the wrong side)",
        published="the paper's title",
        limits="Gold fades far from ordinary responses by design, so that extrapolation can go wrong.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a seed, case, method and n: mean gold over prompts, and the win rate against the base policy."""
    sizes = scale.pick(smoke=Sizes(4, prompts=50), small=Sizes(16), paper=Sizes(50))
    return measure(sizes, rng, scale.workers, trained=True)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(14, 5), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    n = np.sort(frame.n.unique())
    gold, low, high = over_seeds(curves(frame))
    for panel, (case, axes) in enumerate(zip(PANELS, panels)):
        for place, (method, (colour, line)) in enumerate(LOOKS.items()):
            axes.plot(n, gold[panel, place], line, color=colour, label=SPELLED_OUT.get(method, method))
            axes.fill_between(n, low[panel, place], high[panel, place], color=colour, alpha=0.15, linewidth=0)
            if (case, method) in EARLIER:
                axes.plot([64, 4096], EARLIER[case, method], "x", color=colour, markersize=5, markeredgewidth=1.2)
        axes.set(xscale="log", xlabel="n, samples to choose the best from", title=TITLES[case])
        axes.set_xticks([1, 8, 64, 512, 4096], ["1", "8", "64", "512", "4,096"])
        axes.minorticks_off()
        _label_distance(axes)
    for members in SEEDS_OF.values():
        predicted = gaussian_best_of_n(n.tolist(), noise_variance=CASES["normal"].variance_of_mean(members))
        panels[0].plot(n, predicted, "o", color=GREY, markersize=4, markerfacecolor="none")
    panels[0].set_ylabel("gold reward of the choice (standard deviations)")
    handles, labels = panels[0].get_legend_handles_labels()
    handles += [
        Line2D([], [], color=GREY, marker="o", markerfacecolor="none", linestyle="none"),
        Line2D([], [], color=GREY, marker="x", linestyle="none"),
        Patch(color=GREY, alpha=0.3),
    ]
    labels += ["closed form, normal noise", "earlier run, one seed (n = 64 and 4,096)", "95% interval over seeds"]
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure


def _label_distance(axes) -> None:
    """sqrt(KL) on a second axis above."""
    above = axes.twiny()
    ticks = np.array([1, 8, 64, 512, 4096])
    above.set(xscale="log", xlim=axes.get_xlim())
    above.set_xticks(ticks, [f"{distance:.1f}" for distance in best_of_n_distance(ticks)])
    above.minorticks_off()
    above.grid(False)
    above.tick_params(length=2, labelsize=8, colors=GREY)
    above.spines.top.set_visible(True)
    above.set_xlabel("sqrt(KL from the base policy in nats)", fontsize=8, color=GREY)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Gold at n = 64 and at the largest n beside the earlier run's, and win rates beside the published ones."""
    n = np.sort(frame.n.unique())
    at, win = list(n).index(COMPARED), 100 * curves(frame, "win_rate").mean(axis=0)
    gold = curves(frame).mean(axis=0)
    rows = []
    for i, case in enumerate(PANELS):
        for j, method in enumerate(METHODS):
            earlier = EARLIER.get((case, method), (np.nan, np.nan))
            rows.append(
                {
                    "errors": case,
                    "score": method,
                    f"gold, n = {COMPARED}": gold[i, j, at],
                    "earlier run": earlier[0],
                    f"gold, n = {n[-1]:,}": gold[i, j, -1],
                    "earlier run ": earlier[1],
                    "peak at n": int(n[gold[i, j].argmax()]),
                    f"win rate, n = {COMPARED} (%)": win[i, j, at],
                    "published": PUBLISHED_WIN_RATES.get(method, np.nan) if case != TRAINED else np.nan,
                }
            )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    values, n = curves(frame), np.sort(frame.n.unique())
    return {
        "conservative-survive": _conservative(values),
        "shared-flaws-defeat-all": _shared(values),
        "pretrain-beats-finetune": _seeds(values, list(n).index(COMPARED)),
        "finetune-min-overoptimises": _finetune_min(values),
        "normal-noise-is-harmless": _normal(values, n),
        "trained-order": _trained_order(values, list(n).index(COMPARED)),
        "trained-mitigate-not-eliminate": _trained_fall(values),
    }


def _of(case: str, *methods: str) -> tuple:
    """Index of a case's methods in `(..., cases, methods, n)`."""
    return ..., PANELS.index(case), [list(METHODS).index(method) for method in methods], slice(None)


def _conservative(values: np.ndarray) -> Verdict:
    found, low, high = over_seeds(values[_of("heavy", "pretrain mean", *CONSERVATIVE)], fall)
    met = found[0] >= FALLS and (found[1:] <= RISES).all()
    wrong = high[0] < FALLS or (low[1:] > RISES).any()
    falls = ", ".join(f"{drop:.2f} ({name})" for name, drop in zip(CONSERVATIVE, found[1:]))
    return Verdict(
        "supported" if met else "refuted" if wrong else "undecided",
        f"fall of the mean {found[0]:.2f}",
        float(found[0]),
        (float(low[0]), float(high[0])),
        f"From its peak to the largest n gold falls by {found[0]:.2f} on the mean, and by {falls}.",
    )


def _shared(values: np.ndarray) -> Verdict:
    found, low, high = over_seeds(values[_of("shared", *AGGREGATES)], lambda curve: fall(curve) / curve.max(axis=-1))
    least = int(found.argmin())
    return Verdict(
        "supported" if (found >= LOST).all() else "refuted" if (high < LOST).any() else "undecided",
        f"smallest share lost {found[least]:.2f}",
        float(found[least]),
        (float(low[least]), float(high[least])),
        f"Between {found.min():.0%} ({AGGREGATES[least]}) and {found.max():.0%} of the peak is lost.",
    )


def _seeds(values: np.ndarray, at: int) -> Verdict:
    places = [list(METHODS).index(method) for method in PUBLISHED_WIN_RATES]
    gold = values[:, : len(CASES), places, at]
    found, low, high = over_seeds(np.diff(gold, axis=-1))  # (cases, [finetune - single, pretrain - finetune])
    met = (found[:, 1] >= LEAD).all() and (low > 0).all()
    wrong = (high < [0, LEAD]).any()
    case = int(found[:, 1].argmin())
    by_case = ", ".join(f"{lead[1]:.2f} and {lead[0]:.2f} ({name})" for name, lead in zip(CASES, found))
    return Verdict(
        "supported" if met else "refuted" if wrong else "undecided",
        f"smallest lead of pretrain over finetune {found[case, 1]:.3f}",
        float(found[case, 1]),
        (float(low[case, 1]), float(high[case, 1])),
        f"Leads of pretrain over finetune and of finetune over single: {by_case}.",
    )


def _finetune_min(values: np.ndarray) -> Verdict:
    found, low, high = (float(end[0]) for end in over_seeds(values[_of("heavy", "finetune min")], fall))
    peak = values[_of("heavy", "finetune min")].mean(axis=0).max()
    outcome = "supported" if found >= DROP else "refuted" if high < DROP else "undecided"
    sentence = f"Its gold falls by {found:.2f} from a peak of {peak:.2f}."
    return Verdict(outcome, f"fall {found:.2f}", found, (low, high), sentence)


def _normal(values: np.ndarray, n: np.ndarray) -> Verdict:
    noise = [CASES["normal"].variance_of_mean(members) for members in SEEDS_OF.values()]
    predicted = np.stack([gaussian_best_of_n(n.tolist(), noise_variance=each) for each in noise])
    gold = values[_of("normal", *SEEDS_OF)]
    found, low, high = (
        float(end) for end in over_seeds(gold, lambda mean: np.abs(mean - predicted).max(axis=(-2, -1)))
    )
    falls = fall(gold.mean(axis=0)).max()
    return Verdict(
        "supported" if found <= GAP else "refuted" if low > GAP else "undecided",
        f"largest difference {found:.3f}",
        found,
        (low, high),
        f"The curves are within {found:.3f} of the closed form, and the largest fall from a peak is {falls:.2f}.",
    )


def _trained_order(values: np.ndarray, at: int) -> Verdict:
    gold = values[_of(TRAINED, *PUBLISHED_WIN_RATES)][..., at]
    found, low, high = over_seeds(np.diff(gold, axis=-1))  # finetune - single, pretrain - finetune
    least = int(found.argmin())
    earned = ", ".join(f"{value:.2f} ({name})" for name, value in zip(PUBLISHED_WIN_RATES, gold.mean(axis=0)))
    return Verdict(
        "supported" if (low > 0).all() else "refuted" if (high < 0).any() else "undecided",
        f"smaller lead {found[least]:.3f}",
        float(found[least]),
        (float(low[least]), float(high[least])),
        f"Gold at n = {COMPARED}: {earned}.",
    )


def _trained_fall(values: np.ndarray) -> Verdict:
    names = ("pretrain mean", *CONSERVATIVE)
    gold = values[_of(TRAINED, "single", *names)]
    lead = over_seeds(gold, lambda means: means[..., 1:, -1] - means[..., :1, -1])
    fell = over_seeds(gold, lambda means: fall(means[..., 1:, :]))
    met = (lead[0] >= HELP).all() and (fell[0] >= HELP).all()
    wrong = (lead[2] < HELP).any() or (fell[2] < HELP).any()
    listed = ", ".join(f"{a:.2f} and {b:.2f} ({name})" for a, b, name in zip(lead[0], fell[0], names))
    least = int(fell[0].argmin())
    return Verdict(
        "supported" if met else "refuted" if wrong else "undecided",
        f"smallest fall of an ensemble {fell[0][least]:.2f}",
        float(fell[0][least]),
        (float(fell[1][least]), float(fell[2][least])),
        f"Lead over a single model at the largest n, and fall from the own peak: {listed}.",
    )
