"""The table of what chooses among an ensemble's candidates on the refrigerator, the elites' mean always shown."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.refrigerator_filter_panels import (
    EARLIER,
    FILTERS,
    NAMES,
    REGION_NAMES,
    draw_agreement,
    draw_errors,
    draw_losses,
    draw_slopes,
    of,
)
from paper_figures.refrigerator_filter_study import REGIONS, run_all

TITLE = "One step of the refrigerator: what the filter chooses"
EXTRA = ("torch",)

PAPER = "2310.05422"
LEAST_SEEDS = 3
_LIMITS = (
    "One temperature, an almost linear law, errors of one step. The training of the paper's reward was never released: "
    "this one is ours. The figures of an earlier calculation with another training were known, and one seed had been "
    "looked at, before the thresholds were written."
)

CLAIMS = (
    Claim(
        id="helps-when-ahead",
        paper=PAPER,
        title="A filter whose discriminator is kept ahead finds the better candidates",
        says="With a slow generator, ten discriminator steps and snapshots of the whole training, the argmax of the "
        "adversarial reward errs less than a random elite's sample, in the data and out of them.",
        threshold="at most half of the random sample's error in the data, and below it in all three regions with the "
        "interval (refuted if not below it in the data)",
        published="earlier calculation: .015, .183, .281 against .064, .333, .397",
        limits=_LIMITS,
    ),
    Claim(
        id="fails-when-behind",
        paper=PAPER,
        title="With a fast generator and late snapshots the filter is no use",
        says="A generator at 2e-3, three discriminator steps and no snapshot of the first sixth of the training make "
        "an argmax that is no better than a random elite's sample in the data.",
        threshold="at least .9 of the random sample's error (refuted with the interval below it)",
        published="earlier calculation: .078 against .064",
        limits=_LIMITS,
    ),
    Claim(
        id="mean-beats-filters",
        paper=PAPER,
        title="No filter beats the mean of the elites",
        says="The mean prediction of the elites errs less than what any filter chooses, in each region.",
        threshold="the smallest difference of a filter's error to the mean's, over filters and regions, has its "
        "interval above 0 (refuted with it below 0)",
        published="earlier calculation: .005, .068, .109, below every filter",
        limits=f"{_LIMITS} The smallest of 15 differences is chosen, which favours a refutation.",
    ),
    Claim(
        id="near-best-of-ten",
        paper=PAPER,
        title="In the data the filter takes nearly the best candidate",
        says="The argmax with the discriminator kept ahead errs at most twice as much as the best of the ten "
        "candidates, which no choice among them can beat.",
        threshold="at most twice, in the mean over seeds, in the data (refuted with the interval above it)",
        published="earlier calculation: .015 against .008",
        limits=_LIMITS,
    ),
    Claim(
        id="rescale-helps",
        paper=PAPER,
        title="Rescaling each snapshot's logits makes the reward follow the error",
        says="With the official rescale, reward and error are more negatively correlated, over candidates in the data.",
        threshold="correlation at least .05 lower with the interval below 0, discriminator ahead (refuted with the "
        "interval above 0)",
        published="earlier calculation: -.67 against -.45",
        limits=f"{_LIMITS} The rescale is official; that what it rescales from are mean logits is inferred.",
    ),
    Claim(
        id="no-alarm",
        paper=PAPER,
        title="The adversarial reward is no alarm for the unknown, the noise ladder's is",
        says="Ranked by the reward of the chosen candidate, temperatures and powers never visited are not reliably "
        "below the data with the adversarial reward, rescaled or not, and are with the noise ladder's.",
        threshold="area under the curve below .8 for both adversarial rewards and at least .9 for the ladder (refuted "
        "if an adversarial one reaches .9 or the ladder stays below .8)",
        published="earlier calculation: .49, rescaled .61, ladder .99",
        limits=f"{_LIMITS} The ladder is our own substitute, not the paper's.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Errors, correlations, alarms, slopes and losses; see `run_all`."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(15, 9), layout="constrained")
    outer = figure.add_gridspec(2, 1, height_ratios=(1.25, 1))
    above = outer[0].subgridspec(1, 3, wspace=0.02)
    errors = [figure.add_subplot(above[0])]
    errors += [figure.add_subplot(above[place], sharey=errors[0]) for place in (1, 2)]
    draw_errors(errors, frame)
    below = outer[1].subgridspec(1, 4)
    draw_agreement(figure.add_subplot(below[0]), frame, "correlation")
    draw_agreement(figure.add_subplot(below[1]), frame, "alarm")
    draw_losses(figure.add_subplot(below[2]), frame)
    draw_slopes(figure.add_subplot(below[3]), frame)
    seeds = frame[frame.part == "error"].seed.nunique()
    figure.suptitle(
        f"Who chooses best among ten candidates of an ensemble? One step of the refrigerator, {seeds} seeds"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """All variants: errors in three regions with either ensemble, correlation and alarm, an earlier run beside ours."""
    rows = []
    for variant, name in NAMES.items():
        row = {"what chooses": name}
        for ensemble in ("short", "long"):
            for region in REGIONS:
                found = of(frame, "error", variant, region, ensemble)
                row[f"{REGION_NAMES[region]}, {ensemble} fit"] = found.mean()
        before = EARLIER.get(variant, {})
        row |= {f"{REGION_NAMES[region]}, earlier run": before.get(region, np.nan) for region in REGIONS}
        for part, region in (("correlation", "in"), ("alarm", "ood_sa")):
            found = of(frame, part, variant, region)
            row |= {part: found.mean() if len(found) else np.nan, f"{part}, earlier run": before.get(part, np.nan)}
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "helps-when-ahead": _helps(frame),
        "fails-when-behind": _fails(frame),
        "mean-beats-filters": _mean_beats(frame),
        "near-best-of-ten": _near_best(frame),
        "rescale-helps": _rescale(frame),
        "no-alarm": _alarm(frame),
    }


def _verdict(frame: pd.DataFrame, supported: bool, refuted: bool, *rest) -> Verdict:
    """Fewer than three seeds decide nothing."""
    enough = frame[frame.part == "error"].seed.nunique() >= LEAST_SEEDS
    outcome = "undecided" if not enough else "refuted" if refuted else "supported" if supported else "undecided"
    return Verdict(outcome, *rest)


def _ratio(frame: pd.DataFrame, variant: str, other: str, region: str) -> np.ndarray:
    return mean_interval(of(frame, "error", variant, region) / of(frame, "error", other, region))


def _helps(frame: pd.DataFrame) -> Verdict:
    found = {region: _ratio(frame, "ahead", "random", region) for region in REGIONS}
    inside = found["in"]
    below = all(each[2] < 1 for each in found.values())
    return _verdict(
        frame,
        inside[0] <= 0.5 and below,
        inside[0] >= 1,
        f"error as a share of a random sample's {inside[0]:.2f}, in the data",
        *for_verdict(inside),
        f"{inside[0]:.2f} of a random elite sample's error in the data, {found['ood_a'][0]:.2f} with unknown powers, "
        f"{found['ood_sa'][0]:.2f} with unknown temperatures too.",
    )


def _fails(frame: pd.DataFrame) -> Verdict:
    found = _ratio(frame, "fast", "random", "in")
    ahead = _ratio(frame, "ahead", "random", "in")
    return _verdict(
        frame,
        found[0] >= 0.9,
        found[2] < 0.9,
        f"error as a share of a random sample's {found[0]:.2f}, in the data",
        *for_verdict(found),
        f"{found[0]:.2f} of a random elite sample's error, from {found[1]:.2f} to {found[2]:.2f}; with the "
        f"discriminator ahead {ahead[0]:.2f}.",
    )


def _mean_beats(frame: pd.DataFrame) -> Verdict:
    differences = {
        (name, region): mean_interval(of(frame, "error", name, region) - of(frame, "error", "mean", region))
        for name in FILTERS
        for region in REGIONS
    }
    name, region = min(differences, key=lambda key: differences[key][0])
    found = differences[name, region]
    inside = min(differences[each, "in"][0] for each in FILTERS)
    longer = min(
        (of(frame, "error", each, place, "long") - of(frame, "error", "mean", place, "long")).mean()
        for each in FILTERS
        for place in REGIONS
    )
    return _verdict(
        frame,
        found[1] > 0,
        found[2] < 0,
        f"smallest difference {found[0]:+.3f} degrees: {NAMES[name]}, {REGION_NAMES[region]}",
        *for_verdict(found),
        f"In the data the mean is ahead of every filter by {inside:.3f} or more; out of them a filter reaches "
        f"{found[0]:+.3f}. With eight times as many steps of the ensemble the smallest difference is {longer:+.3f}.",
    )


def _near_best(frame: pd.DataFrame) -> Verdict:
    found = _ratio(frame, "ahead", "best", "in")
    ladder = _ratio(frame, "ladder", "best", "in")
    return _verdict(
        frame,
        found[0] <= 2,
        found[1] > 2,
        f"error over the best candidate's {found[0]:.2f}, in the data",
        *for_verdict(found),
        f"{found[0]:.2f} times the best of ten in the data (the noise ladder {ladder[0]:.2f}).",
    )


def _rescale(frame: pd.DataFrame) -> Verdict:
    plain, scaled = (of(frame, "correlation", name, "in") for name in ("ahead", "ahead rescaled"))
    found = mean_interval(scaled - plain)
    return _verdict(
        frame,
        found[0] <= -0.05 and found[2] < 0,
        found[1] > 0,
        f"change of the correlation {found[0]:+.2f}",
        *for_verdict(found),
        f"Correlation of reward and error {scaled.mean():.2f} with the rescale and {plain.mean():.2f} without.",
    )


def _alarm(frame: pd.DataFrame) -> Verdict:
    found = {name: mean_interval(of(frame, "alarm", name, "ood_sa")) for name in ("ahead", "ahead rescaled", "ladder")}
    best = max(("ahead", "ahead rescaled"), key=lambda name: found[name][0])
    adversarial, ladder = found[best], found["ladder"]
    return _verdict(
        frame,
        adversarial[0] < 0.8 and ladder[0] >= 0.9,
        adversarial[0] >= 0.9 or ladder[0] < 0.8,
        f"larger adversarial area {adversarial[0]:.2f}, {NAMES[best]}",
        *for_verdict(adversarial),
        f"Area {found['ahead'][0]:.2f} for the adversarial reward, {found['ahead rescaled'][0]:.2f} rescaled, "
        f"{ladder[0]:.2f} for the noise ladder's.",
    )
