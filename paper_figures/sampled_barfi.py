"""BARFI from samples: a learned blend of rewards beside their sum, the primary one alone and potential shaping."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.sampled_barfi_panels import (
    EARLIER,
    LABELS,
    draw_ends,
    draw_failure,
    draw_returns,
    draw_sizes,
    draw_weights,
)
from paper_figures.sampled_barfi_study import ADVICE, ARMS, BARFI, STARTED, STUCK, TIMES, UPDATES, part_of, train_all

TITLE = "A reward blend learned from samples, with good and with bad advice"

SHARE = 0.4  # of the seeds: as many must fail to refute

PAPER = "2310.19007"
CLAIMS = (
    Claim(
        id="robust-to-advice",
        paper=PAPER,
        title="A learned blend is good with good and with bad advice, and the sum is not",
        says="BARFI ends within .01 of the better of the sum and the primary reward alone, whatever the advice, where "
        "the sum fails on bad advice.",
        threshold="mean final return at least that of the better one less .01 with both kinds of advice, and the sum "
        "at least .5 below the primary reward on bad advice (refuted if two seeds in five end more than .05 below the "
        "primary reward on bad advice, or more than .02 below the sum on good advice)",
        published="robust to misspecified auxiliary rewards, where adding them is not (no number at hand)",
        limits="Weight started at 0, step .2; started at 1 it can fail, as the panels show. A table of logits on one "
        "small grid. Numbers known beforehand.",
    ),
    Claim(
        id="faster-on-good-advice",
        paper=PAPER,
        title="With good advice it learns faster than the primary reward alone",
        says="BARFI reaches a primary return of .8 in fewer updates.",
        threshold="ratio of mean updates, primary reward over BARFI, at least 1.25 with its interval above 1 (refuted "
        "if the interval is below 1)",
        published="a first-500-episode return of 92.2 against 86.5 in the official maze (official code, run by us)",
        limits="The sum, which trusts the advice from the start, is as fast or faster. Policies are evaluated after "
        "every second update. Numbers known beforehand.",
    ),
    Claim(
        id="potential-hurts",
        paper=PAPER,
        title="Potential-based shaping hurts",
        says="Shaped by the advice as a potential of the state, learning ends lower than on the primary reward alone.",
        threshold="at least .02 lower in the mean with one kind of advice, interval above 0 (refuted if with both the "
        "interval is below .02)",
        published="PBRS, the usual remedy, often hurts (no number at hand)",
        limits="The mean return of each state is the baseline here, which removes a potential exactly: this is "
        "mathematics. The next claim is without it. Numbers known beforehand.",
    ),
    Claim(
        id="potential-hurts-without-baseline",
        paper=PAPER,
        title="Potential-based shaping hurts where no baseline removes it",
        says="Without a baseline, shaping by a potential ends lower than the primary reward alone.",
        threshold="at least .02 lower in the mean with one kind of advice, interval above 0 (refuted if with both the "
        "interval is below .02)",
        published="PBRS, the usual remedy, often hurts (no number at hand)",
        limits="Then a potential is a baseline of its own, better or worse than none by its sign and size; one "
        "learning rate. Undecided with 10 seeds, it got 40 after a look.",
    ),
    Claim(
        id="action-dependence-hurts",
        paper=PAPER,
        title="What was published as potential-based shaping hurts, because it depends on the action",
        says="Taking the auxiliary reward of a step off its return, as the official code does, ends lower than "
        "shaping by a potential of the state.",
        threshold="at least .02 lower in the mean with one kind of advice, interval above 0 (refuted if with both the "
        "interval is below .02)",
        published="PBRS, the usual remedy, often hurts (no number at hand)",
        limits="How much depends on the size of the auxiliary reward beside the primary one: here the advice is "
        "louder, in the official maze it is quieter. Numbers known beforehand.",
    ),
    Claim(
        id="documented-failure",
        paper=PAPER,
        title="A policy that commits before the weight moves stays lost",
        says="At learning rate 2, little entropy, weight from 1 and steps of .05, BARFI ends in the loop of the bad "
        "advice.",
        threshold="mean final return on bad advice at most 0, interval below .1 (refuted if the interval is above .5)",
        published="",
        limits="A setting chosen because it fails; separate code ended at -.090. Numbers known beforehand.",
    ),
    Claim(
        id="curvature-frees",
        paper=PAPER,
        title="Solving for the curvature frees seeds that alignment alone leaves lost",
        says="Started at weight 1 with steps of .05 on bad advice, the Fisher form loses fewer seeds to the loop than "
        "the first-order form.",
        threshold="share of seeds that end below .5, first-order less Fisher: at least .2, interval above 0 (refuted "
        "if the interval is below .2)",
        published="",
        limits="Both take steps of one usual size; the curvature changes their direction. Suspected from other seeds "
        "beforehand; undecided with 10 seeds, it got 40 after a look. At the documented failure it frees none.",
    ),
    Claim(
        id="first-order-suffices",
        paper=PAPER,
        title="Started from 0, first-order alignment does all that the curvature could",
        says="With weight from 0 and steps of .2, the Fisher form ends as the first-order form does.",
        threshold="means within .01 of each other with both kinds of advice, intervals within .02 (refuted if an "
        "interval is beyond .01)",
        published="",
        limits="The published Neumann setting is first-order in all but name; this says what that costs here. Numbers "
        "known beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """By column `part`: runs (one row a trained policy), returns, weights and sizes of hyper-gradients by update."""
    return train_all(scale.pick(smoke=4, small=10, paper=40), rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(18, 9.6), layout="constrained")
    panels = figure.subplots(2, 4, width_ratios=(1, 1, 1.25, 1))
    for row, advice in zip(panels, ADVICE):
        draw_returns(row[0], frame, advice)
        draw_weights(row[1], frame, advice)
        draw_ends(row[2], frame, advice)
    draw_failure(panels[0, 3], frame)
    draw_sizes(panels[1, 3], frame)
    handles, names = panels[0, 0].get_legend_handles_labels()
    panels[0, 0].legend(handles, names, loc="center right", fontsize=8, bbox_to_anchor=(1.0, 0.42))
    seeds = int(part_of(frame, "run", arm=BARFI).seed.nunique())
    figure.suptitle(
        f"Sampled BARFI on the 5 × 5 grid; means and 95% intervals over {seeds} seeds, {TIMES * seeds} where marked *"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """By arm: final return with either advice beside separate code's, updates to .8, weight, and cosine."""
    rows = []
    for arm in ARMS:
        good, bad = (part_of(frame, "run", advice=advice, arm=arm) for advice in ADVICE)
        rows.append(
            {
                "arm": LABELS[arm],
                "good: return": float(good.value.mean()),
                "earlier code": float(EARLIER["good"].get(arm, np.nan)),
                "updates to .8": float(good.solved.mean()),
                "weight": float(good.weight.mean()),
                "bad: return": float(bad.value.mean()),
                "earlier code ": float(EARLIER["bad"].get(arm, np.nan)),
                "share lost": float((bad.value < STUCK).mean()),
                "updates to .8 ": float(bad.solved.mean()),
                "weight ": float(bad.weight.mean()),
                "cosine to plain gradient": float(np.mean([good.cosine.mean(), bad.cosine.mean()])),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "robust-to-advice": _robust(frame),
        "faster-on-good-advice": _faster(frame),
        "potential-hurts": _lower(frame, "primary", "potential", "Shaped by a potential of the state"),
        "potential-hurts-without-baseline": _lower(frame, "primary bare", "potential bare", "Without a baseline"),
        "action-dependence-hurts": _lower(frame, "potential", "published", "With the action-dependent form"),
        "documented-failure": _failure(frame),
        "curvature-frees": _frees(frame),
        "first-order-suffices": _suffices(frame),
    }


def _ends(frame: pd.DataFrame, advice: str, arm: str) -> np.ndarray:
    return part_of(frame, "run", advice=advice, arm=arm).value.to_numpy()


def _robust(frame: pd.DataFrame) -> Verdict:
    margins, ends = {}, {}
    for advice in ADVICE:
        ends[advice] = {arm: _ends(frame, advice, arm) for arm in ("primary", "naive", BARFI)}
        better = max(("primary", "naive"), key=lambda arm: ends[advice][arm].mean())
        margins[advice] = mean_interval(ends[advice][BARFI] - ends[advice][better])
    worst = min(margins.values(), key=lambda margin: margin[0])
    good, bad = ends["good"], ends["bad"]
    failed = np.mean(bad[BARFI] < bad["primary"] - 0.05), np.mean(good[BARFI] < good["naive"] - 0.02)
    fails = bad["primary"].mean() - bad["naive"].mean() >= 0.5
    value, interval = for_verdict(worst)
    return Verdict(
        "refuted" if max(failed) >= SHARE else "supported" if value >= -0.01 and fails else "undecided",
        f"least lead over the better of the two: {value:+.3f}",
        value,
        interval,
        " ".join(
            f"{advice.capitalize()} advice: BARFI {ends[advice][BARFI].mean():.3f}, sum "
            f"{ends[advice]['naive'].mean():.3f}, primary alone {ends[advice]['primary'].mean():.3f}."
            for advice in ADVICE
        )
        + f" Started at 1 with steps of .05, {np.mean(_ends(frame, 'bad', STARTED) < STUCK):.0%} of seeds are lost "
        "on bad advice.",
    )


def _faster(frame: pd.DataFrame) -> Verdict:
    slow, fast, total = (part_of(frame, "run", advice="good", arm=arm).solved for arm in ("primary", BARFI, "naive"))
    ratio = float(slow.mean() / fast.mean())
    interval = stats.bootstrap(
        (slow.to_numpy(), fast.to_numpy()), _ratio_of_means, paired=True, method="percentile", rng=0
    ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return Verdict(
        "refuted" if high < 1 else "supported" if ratio >= 1.25 and low > 1 else "undecided",
        f"ratio of updates to .8: {ratio:.1f}",
        ratio,
        (low, high),
        f"Mean updates to a return of .8: primary alone {slow.mean():.0f}, BARFI {fast.mean():.1f}, sum "
        f"{total.mean():.1f}.",
    )


def _ratio_of_means(above: np.ndarray, below: np.ndarray, axis: int = -1) -> np.ndarray:
    return above.mean(axis=axis) / below.mean(axis=axis)


def _lower(frame: pd.DataFrame, reference: str, arm: str, how: str) -> Verdict:
    """How much lower one arm ends than another, with the advice where that is most."""
    lost = {advice: mean_interval(_ends(frame, advice, reference) - _ends(frame, advice, arm)) for advice in ADVICE}
    worst = max(lost, key=lambda advice: lost[advice][0])
    value, interval = for_verdict(lost[worst])
    hurts, harmless = value >= 0.02 and interval[0] > 0, all(found[2] < 0.02 for found in lost.values())
    return Verdict(
        "supported" if hurts else "refuted" if harmless else "undecided",
        f"return lost, {worst} advice: {round(value, 3) + 0.0:.3f}",  # no minus before a 0
        value,
        interval,
        f"{how}, the final return is {_ends(frame, 'good', arm).mean():.3f} on good and "
        f"{_ends(frame, 'bad', arm).mean():.3f} on bad advice, against {_ends(frame, 'good', reference).mean():.3f} "
        f"and {_ends(frame, 'bad', reference).mean():.3f}.",
    )


def _failure(frame: pd.DataFrame) -> Verdict:
    ends, fisher = (_ends(frame, "bad", f"hasty {name}") for name in ("first_order", "fisher"))
    value, interval = for_verdict(mean_interval(ends))
    sizes = {
        arm: float(part_of(frame, "size", advice="bad", arm=arm, update=UPDATES - 5).value.median())
        for arm in ("hasty first_order", BARFI)
    }
    return Verdict(
        "supported" if value <= 0 and interval[1] < 0.1 else "refuted" if interval[0] > 0.5 else "undecided",
        f"mean final return {value:.3f}",
        value,
        interval,
        f"{np.mean(ends < STUCK):.0%} of seeds are lost, {np.mean(fisher < STUCK):.0%} with the Fisher form; the "
        f"primary reward alone gives {_ends(frame, 'bad', 'hasty primary').mean():.3f} at that rate. In the end the "
        f"hyper-gradient is {sizes['hasty first_order']:.0e} in size (median), {sizes[BARFI]:.0e} in the headline arm.",
    )


def _frees(frame: pd.DataFrame) -> Verdict:
    lost = {name: (_ends(frame, "bad", f"{name} 1 0.05") < STUCK).astype(float) for name in ("first_order", "fisher")}
    found = mean_interval(lost["first_order"] - lost["fisher"])
    value, interval = for_verdict(found)
    cosine = part_of(frame, "run", advice="bad", arm="fisher 1 0.05").cosine.mean()
    return Verdict(
        "supported" if value >= 0.2 and interval[0] > 0 else "refuted" if interval[1] < 0.2 else "undecided",
        f"share of seeds freed: {value:.2f}",
        value,
        interval,
        f"Lost: {lost['first_order'].mean():.0%} first-order, {lost['fisher'].mean():.0%} Fisher. The solved vector "
        f"has a cosine of {cosine:.2f} to the plain gradient, which the first-order form uses as it is (cosine 1).",
    )


def _suffices(frame: pd.DataFrame) -> Verdict:
    gains = {
        advice: mean_interval(_ends(frame, advice, "fisher 0 0.2") - _ends(frame, advice, BARFI)) for advice in ADVICE
    }
    most = max(gains, key=lambda advice: abs(gains[advice][0]))
    value, interval = for_verdict(gains[most])
    alike = all(abs(found[0]) <= 0.01 and np.abs(found[1:]).max() <= 0.02 for found in gains.values())
    apart = any(found[1] > 0.01 or found[2] < -0.01 for found in gains.values())
    listed = ", ".join(f"{found[0]:+.4f} on {advice} advice" for advice, found in gains.items())
    return Verdict(
        "refuted" if apart else "supported" if alike else "undecided",
        f"Fisher less first-order, {most} advice: {value:+.4f}",
        value,
        interval,
        f"Fisher less first-order in final return: {listed}.",
    )
