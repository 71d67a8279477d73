"""One reward model or five on a language model: gold over training and over best-of-n, when all like length."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

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
    TRAINED,
)
from long_runs.experiment import frame_of
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
TOO_FEW = "too few seeds or steps"
_ENOUGH = f"undecided with fewer than {SEEDS} seeds or {2 * ROWS} steps"
_SMALL = (
    "A policy of 22 thousand weights and 16 sums; members are heads on models as small that began from weights of "
    "their own (pretraining) or bootstrap samples of the preferences (fine-tuning), which all have from one judge."
)
COLOURS = {"mean": BLUE, "worst_case": ORANGE, "mean_minus_std": GREEN}

CLAIMS = (
    Claim(
        id="no-worse-than-one",
        paper="2312.09244",
        title="However it is combined, an ensemble ends no lower than a single member",
        says="Gold at the end of training on five members is not below that of training on one: by the mean of either "
        "kind of ensemble, and by worst case and mean less std of members that were pretrained apart.",
        threshold="for all four, the 95% interval over seeds of the difference in gold over the last tenth of the "
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
        limits=_SMALL + " That the peak is at least as high as the end is so by construction: hence the margin. Few of "
        "the judged answers are padded, so the liking for length is learned weakly; and 48 steps may be too few.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row for two steps of each training run, and one for each n of best-of-n."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def trained(frame: pd.DataFrame, kind: str, combine: str) -> dict[int, list[pd.DataFrame]]:
    """Each seed's runs of an arm, in order of steps: one, or one for each single member."""
    own = frame[(frame.part == "training") & (frame.kind == kind) & (frame.combination == combine)]
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
    own = frame[(frame.part == BEST_OF) & (frame.kind == kind) & (frame.combination == combine)]
    return own.pivot_table(index="seed", columns="n", values=column)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    if not _enough(frame):
        few = Verdict("undecided", TOO_FEW, float("nan"), None, f"Undecided: {TOO_FEW}.")
        return {claim.id: few for claim in CLAIMS}
    return {
        "no-worse-than-one": _no_worse(frame),
        "pretraining-seeds": _seeds_apart(frame),
        "conservative-delays": _delays(frame),
        "shared-flaw-stays": _stays(frame),
    }


def _enough(frame: pd.DataFrame) -> bool:
    training = frame[frame.part == "training"]
    runs = training.groupby(["kind", "combination", "member", "seed"]).size()
    return frame.seed.nunique() >= SEEDS and runs.min() >= ROWS and frame.n.max() >= DECIDED_AT


def _no_worse(frame: pd.DataFrame) -> Verdict:
    single = by_seed(frame, SINGLE, "mean", final_gold)
    arms = [arm for arm in TRAINED if arm[0] != SINGLE]
    found = mean_interval(np.stack([by_seed(frame, *arm, final_gold) - single for arm in arms], axis=1))
    mean, low, high = found
    decided = "supported" if (low >= -0.05).all() else "refuted" if (high < 0).any() else "undecided"
    worst, best = int(np.argmin(mean)), int(np.argmax(mean))
    return Verdict(
        decided,
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
    return Verdict(
        decided,
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
        decided,
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
        decided,
        f"gold below its peak: {mean[0]:.3f} (worst case), {mean[1]:.3f} (mean less std)",
        *for_verdict(found[:, int(np.argmin(low))]),
        f"Gold ends {mean[0]:.2f} (worst) and {mean[1]:.2f} (mean less std) below its peak; {single:.2f} with one.",
    )


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each arm's training and its best of n, beside the published win rates."""
    rows = []
    for kind, combine in ARMS:
        golds = best_of(frame, kind, combine)
        n = golds.columns[-1]
        row = {"ensemble": kind, "combination": COMBINED[combine] if kind != SINGLE else ""}
        if runs := [run for of_seed in trained(frame, kind, combine).values() for run in of_seed]:
            row |= {
                "highest gold in training": np.mean([_smooth(run).max() for run in runs]),
                "gold at the end": by_seed(frame, kind, combine, final_gold).mean(),
                "steps until a tenth below": by_seed(frame, kind, combine, steps_until_fallen).mean(),
                "padding at the end": np.mean([run.padding.iloc[-1] for run in runs]),
                "KL at the end": np.mean([run.kl.iloc[-1] for run in runs]),
            }
        row |= {f"gold, best of {n}": golds[n].mean()}
        rows.append(row | {"win rate, best of 64 (published, %)": PUBLISHED[kind] if combine == "mean" else np.nan})
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, column in zip(panels, ("gold", "padding"), strict=False):
        for arm in TRAINED:
            _band(axes, _over_steps(frame, arm, column), _look(arm))
    for arm in ARMS:
        _band(panels[2], best_of(frame, *arm), _look(arm))
    panels[0].set(title="Training", xlabel="step", ylabel="gold reward", ylim=(0, None))
    panels[1].set(title="What is hacked", xlabel="step", ylabel="padding (words)", ylim=(0, None))
    panels[2].set(title="Best of n answers of the first policy", xlabel="n", ylabel="gold reward", xscale="log")
    sizes = best_of(frame, *ARMS[0]).columns
    panels[2].set_xticks(sizes, [f"{n:.0f}" for n in sizes])
    panels[2].minorticks_off()
    figure.suptitle(f"Means and 95% intervals over {frame.seed.nunique()} seeds")
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _look(arm: tuple[str, str]) -> dict[str, str]:
    kind, combine = arm
    if kind == SINGLE:
        return {"color": BLACK, "linestyle": ":", "label": SINGLE}
    line = "-" if kind == PRETRAIN else "--"
    return {"color": COLOURS[combine], "linestyle": line, "label": _name(arm)}


def _over_steps(frame: pd.DataFrame, arm: tuple[str, str], column: str) -> pd.DataFrame:
    own = frame[(frame.part == "training") & (frame.kind == arm[0]) & (frame.combination == arm[1])]
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
