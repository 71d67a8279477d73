"""One reward model or five on a language model: gold over training and over best-of-n, when all like length."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.experiment import frame_of
from llm_scale.experiments.lm_ensembles import (
    ARMS,
    BEST_OF,
    COMBINED,
    CONSERVATIVE,
    EXPERIMENT,
    FINETUNE,
    PRETRAIN,
    SINGLE,
    SIZES,
)
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE

TITLE = "Ensembles of reward models under optimisation, on a language model"
EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")

SEEDS, ROWS = 3, 20
LAST = 0.1  # share of the training that is its end
FALL = 0.1
WINDOW = 3  # rows of two steps each, averaged
DECIDED_AT = SIZES[-1]
PUBLISHED = {PRETRAIN: 90.0, FINETUNE: 87.3, SINGLE: 85.3}  # % wins over the first policy, TL;DR, best of 64, means
_ENOUGH = f"undecided with fewer than {SEEDS} seeds or {2 * ROWS} steps"
_SMALL = (
    "A policy of 22 thousand weights and 16 sums; members are heads on models as small that began from weights of "
    "their own (pretraining) or bootstrap samples of the preferences (fine-tuning), which all have from one judge."
)
LOOKS = {"mean": (BLUE, "-"), "worst_case": (ORANGE, "--"), "mean_minus_std": (GREEN, "-.")}

CLAIMS = (
    Claim(
        id="no-worse-than-one",
        paper="2312.09244",
        title="However it is combined, an ensemble ends no lower than a single member",
        says="Gold at the end of training on five members, by mean, worst case or mean less std, of either kind, is "
        "not below that of training on one.",
        threshold="for all six, the 95% interval over seeds of the difference in gold over the last tenth of the "
        f"training reaches down to -0.05 at most (refuted if one lies below 0; {_ENOUGH})",
        published="",
        limits=_SMALL + " Two single members a seed stand for all.",
    ),
    Claim(
        id="pretraining-seeds",
        paper="2312.09244",
        title="Best of 64: pretraining ensembles beat fine-tuning ensembles, and these a single member",
        says="Selected by the mean of five members, the best of 64 answers has more gold where members were pretrained "
        "apart than where they share a model, and there more than by one member.",
        threshold=f"95% intervals over seeds of both differences above 0 (refuted if one lies below 0; {_ENOUGH})",
        published="wins over the first policy: 90.0, 87.3 and 85.3% (TL;DR, XL reward models)",
        limits=_SMALL,
    ),
    Claim(
        id="conservative-delays",
        paper="2310.02743",
        title="Caution delays overoptimisation",
        says="With the worst case or the mean less std of a pretraining ensemble it takes more steps until gold has "
        "fallen a tenth below its peak than with a single member.",
        threshold=f"95% interval over seeds of the difference in steps above 0 for both (refuted if one lies below 0; "
        f"runs that never fall count as their whole length; {_ENOUGH})",
        published="best-of-n: no overoptimisation at all",
        limits=_SMALL + " One learning rate for all, so steps can be compared; the end of training cuts delays off.",
    ),
    Claim(
        id="shared-flaw-stays",
        paper="2312.09244",
        title="It does not prevent it: what all members like is hacked in the end",
        says="Gold still falls from its peak under the worst case and the mean less std of a pretraining ensemble, for "
        "every member likes length.",
        threshold=f"gold at its peak less gold at the end at least {FALL:g} for both, the 95% intervals over seeds "
        f"above {FALL:g} (refuted if one lies below; {_ENOUGH})",
        published="ensembles mitigate but do not eliminate (hacks that all members share)",
        limits=_SMALL + " That the peak is at least as high as the end is so by construction: hence the margin.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row for two steps of each training run, and one for each n of best-of-n."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def trained(frame: pd.DataFrame, kind: str, combine: str) -> dict[int, list[pd.DataFrame]]:
    """Each seed's runs of an arm, in order of steps: one, or one for each single member."""
    own = frame[(frame.part == "training") & (frame.kind == kind) & (frame.combine == combine)]
    return {
        seed: [rows.sort_values("step") for _, rows in of_seed.groupby("member")]
        for seed, of_seed in own.groupby("seed")
    }


def by_seed(frame: pd.DataFrame, kind: str, combine: str, measure) -> np.ndarray:
    """A number of each run, averaged over the runs of a seed, (seeds,)."""
    runs = sorted(trained(frame, kind, combine).items())
    return np.array([np.mean([measure(run) for run in of_seed]) for _, of_seed in runs])


def final_gold(run: pd.DataFrame) -> float:
    """Mean gold of the end of a run."""
    return float(run.gold.tail(max(1, round(LAST * len(run)))).mean())


def fall(run: pd.DataFrame) -> float:
    """How far gold is below its peak at the end, both averaged over a window."""
    gold = _smooth(run)
    return float(gold.max() - gold[-1])


def steps_until_fallen(run: pd.DataFrame) -> float:
    """The first step after its peak so far from which gold lies `FALL` below that; the length of the run where none."""
    gold, steps = _smooth(run), run.step.to_numpy()
    fallen = np.flatnonzero(np.maximum.accumulate(gold) - gold >= FALL)
    return float(steps[fallen[0]] if len(fallen) else 2 * steps[-1] - steps[-2])


def best_of(frame: pd.DataFrame, kind: str, combine: str, column: str = "gold") -> pd.DataFrame:
    """Best-of-n by seed and n, averaged over single members."""
    own = frame[(frame.part == BEST_OF) & (frame.kind == kind) & (frame.combine == combine)]
    return own.pivot_table(index="seed", columns="n", values=column)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "no-worse-than-one": _no_worse(frame),
        "pretraining-seeds": _seeds_apart(frame),
        "conservative-delays": _delays(frame),
        "shared-flaw-stays": _stays(frame),
    }


def _enough(frame: pd.DataFrame) -> bool:
    training = frame[frame.part == "training"]
    runs = training.groupby(["kind", "combine", "member", "seed"]).size()
    return frame.seed.nunique() >= SEEDS and runs.min() >= ROWS


def _no_worse(frame: pd.DataFrame) -> Verdict:
    single = by_seed(frame, SINGLE, "mean", final_gold)
    arms = [arm for arm in ARMS if arm[0] != SINGLE]
    found = mean_interval(np.stack([by_seed(frame, *arm, final_gold) - single for arm in arms], axis=1))
    mean, low, high = found
    decided = "supported" if (low >= -0.05).all() else "refuted" if (high < 0).any() else "undecided"
    worst, best = int(np.argmin(mean)), int(np.argmax(mean))
    return Verdict(
        decided if _enough(frame) else "undecided",
        f"smallest difference in final gold: {mean[worst]:+.3f}",
        *for_verdict(found[:, worst]),
        f"A single member ends at {single.mean():.3f}; the ensembles from {mean[worst]:+.3f} ({_name(arms[worst])}) to "
        f"{mean[best]:+.3f} ({_name(arms[best])}).",
    )


def _seeds_apart(frame: pd.DataFrame) -> Verdict:
    golds = {kind: best_of(frame, kind, "mean") for kind in (SINGLE, FINETUNE, PRETRAIN)}
    n = int(golds[SINGLE].columns[-1])
    one, tuned, apart = (golds[kind][n].to_numpy() for kind in (SINGLE, FINETUNE, PRETRAIN))
    found = mean_interval(np.stack([apart - tuned, tuned - one], axis=1))
    _, low, high = found
    decided = "supported" if (low > 0).all() else "refuted" if (high < 0).any() else "undecided"
    enough = n >= DECIDED_AT and frame.seed.nunique() >= SEEDS
    return Verdict(
        decided if enough else "undecided",
        f"gold of the best of {n}: pretraining over fine-tuning {found[0, 0]:+.3f}, that over one {found[0, 1]:+.3f}",
        *for_verdict(found[:, int(np.argmin(low))]),
        f"Best of {n}: {apart.mean():.3f} by the pretraining ensemble, {tuned.mean():.3f} by the fine-tuning ensemble, "
        f"{one.mean():.3f} by a member.",
    )


def _delays(frame: pd.DataFrame) -> Verdict:
    single = by_seed(frame, SINGLE, "mean", steps_until_fallen)
    theirs = [by_seed(frame, PRETRAIN, combine, steps_until_fallen) for combine in CONSERVATIVE]
    found = mean_interval(np.stack([steps - single for steps in theirs], axis=1))
    _, low, high = found
    decided = "supported" if (low > 0).all() else "refuted" if (high < 0).any() else "undecided"
    listed = " and ".join(
        f"{steps.mean():.0f} ({COMBINED[one]})" for steps, one in zip(theirs, CONSERVATIVE, strict=True)
    )
    return Verdict(
        decided if _enough(frame) else "undecided",
        f"more steps: {found[0, 0]:+.1f} (worst case), {found[0, 1]:+.1f} (mean less std)",
        *for_verdict(found[:, int(np.argmin(low))]),
        f"Gold is a tenth below its peak after {single.mean():.0f} steps with one member, {listed}.",
    )


def _stays(frame: pd.DataFrame) -> Verdict:
    falls = np.stack([by_seed(frame, PRETRAIN, combine, fall) for combine in CONSERVATIVE], axis=1)
    found = mean_interval(falls)
    mean, low, high = found
    decided = "supported" if (low > FALL).all() else "refuted" if (high < FALL).any() else "undecided"
    single = by_seed(frame, SINGLE, "mean", fall).mean()
    return Verdict(
        decided if _enough(frame) else "undecided",
        f"gold below its peak: {mean[0]:.3f} (worst case), {mean[1]:.3f} (mean less std)",
        *for_verdict(found[:, int(np.argmin(low))]),
        f"Gold ends {mean[0]:.2f} (worst) and {mean[1]:.2f} (mean less std) below its peak; {single:.2f} with one.",
    )


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each arm's training and its best of n, beside the published win rates."""
    rows = []
    for kind, combine in ARMS:
        runs = [run for of_seed in trained(frame, kind, combine).values() for run in of_seed]
        golds = best_of(frame, kind, combine)
        n = golds.columns[-1]
        rows.append(
            {
                "ensemble": kind,
                "combination": COMBINED[combine] if kind != SINGLE else "",
                "highest gold in training": np.mean([_smooth(run).max() for run in runs]),
                "gold at the end": by_seed(frame, kind, combine, final_gold).mean(),
                "steps until a tenth below": by_seed(frame, kind, combine, steps_until_fallen).mean(),
                "padding at the end": np.mean([run.padding.iloc[-1] for run in runs]),
                f"gold, best of {n}": golds[n].mean(),
                "win rate, best of 64 (published, %)": PUBLISHED[kind] if combine == "mean" else np.nan,
            }
        )
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplots(2, 3)
    for row, kind in zip(panels, (FINETUNE, PRETRAIN), strict=True):
        arms = [((SINGLE, "mean"), (BLACK, ":"), "single member")]
        arms += [((kind, combine), LOOKS[combine], COMBINED[combine]) for combine in COMBINED]
        for arm, (colour, line), label in arms:
            look = {"color": colour, "linestyle": line, "label": label}
            for axes, column in zip(row, ("gold", "padding"), strict=False):
                _band(axes, _over_steps(frame, arm, column), look)
            _band(row[2], best_of(frame, *arm), look)
        row[0].set(title=f"Training: {kind}", xlabel="step", ylabel="gold reward", ylim=(0, 1))
        row[1].set(title="What is hacked", xlabel="step", ylabel="padding (words)")
        row[2].set(title=f"Best of n: {kind}", xlabel="n", ylabel="gold reward", xscale="log")
        row[2].set_xticks(best_of(frame, *arm).columns, [str(n) for n in best_of(frame, *arm).columns])
        row[2].minorticks_off()
    for axes in panels.T[1:]:
        low, high = min(one.get_ylim()[0] for one in axes), max(one.get_ylim()[1] for one in axes)
        for one in axes:
            one.set_ylim(low, high)
    figure.suptitle(f"Means and 95% intervals over {frame.seed.nunique()} seeds")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _over_steps(frame: pd.DataFrame, arm: tuple[str, str], column: str) -> pd.DataFrame:
    own = frame[(frame.part == "training") & (frame.kind == arm[0]) & (frame.combine == arm[1])]
    return own.pivot_table(index="seed", columns="step", values=column).T.rolling(WINDOW, min_periods=1).mean().T


def _band(axes, values: pd.DataFrame, look: dict) -> None:
    """The mean over rows (seeds), with its interval where there are several."""
    numbers = values.to_numpy()
    if len(numbers) > 1:
        mean, low, high = mean_interval(numbers)
        axes.fill_between(values.columns, low, high, color=look["color"], alpha=0.12, linewidth=0)
    else:
        mean = numbers[0]
    axes.plot(values.columns, mean, **look)


def _smooth(run: pd.DataFrame) -> np.ndarray:
    return run.gold.rolling(WINDOW, min_periods=1).mean().to_numpy()


def _name(arm: tuple[str, str]) -> str:
    return f"{arm[0]}, {COMBINED[arm[1]]}"
