"""Does published BARFI use its Hessian? The Neumann series in the maze, beside curvatures that are really solved."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.neumann_is_first_order_panels import (
    EARLIER,
    NAMES,
    draw_curvatures,
    draw_hypergradients,
    draw_steps,
    draw_updates,
)
from paper_figures.neumann_is_first_order_study import ADVICE, KINDS, part_of, run_all

TITLE = "The published Neumann series is first-order"
EXTRA = ("torch",)

LOOPS = 5

PAPER = "2310.19007"
CLAIMS = (
    Claim(
        id="first-order",
        paper=PAPER,
        title="At the published settings the implicit gradient is the plain one",
        says="With 5 products of step .0005 the Neumann series returns the policy gradient of the primary reward "
        "itself, 6 times as long.",
        threshold="median cosine over the updates at least .999 and norm ratio within .1 of 6 in the mean over seeds, "
        "with either advice (refuted if with either the cosine's interval is below .99)",
        published="official code, instrumented, 4 seeds: median cosine .99991 to .99997 with good and .99995 to .99999 "
        "with bad advice, norm ratio 5.90 to 6.03",
        limits="The maze with one point of the published sweep; the other published steps are .001 and .0001. Numbers "
        "known beforehand.",
    ),
    Claim(
        id="curvature-sign",
        paper=PAPER,
        title="The curvature it leaves unused has the wrong sign with bad advice",
        says="Along the gradient the curvature of the surrogate is positive, as at a minimum, with bad advice, and "
        "negative with good advice.",
        threshold="median over the updates above 0 with bad and below 0 with good advice, in the mean over seeds and "
        "with its interval (refuted if an interval lies on the other side)",
        published="official code, instrumented, seeds 1 to 4: bad advice -1.8, -5.7, +3.9 (the run that "
        "stays collapsed), -5.7; good advice -8.7, -13.2, -11.5, -8.3",
        limits="It is the sign of the blended returns, which the first, random weights of the blend and the fate of "
        "the run decide: the official code, too, gives either sign by seed (dotted). Claim made for one run.",
    ),
    Claim(
        id="inverse-differs",
        paper=PAPER,
        title="A curvature that is solved gives another hyper-gradient",
        says="With the Fisher matrix solved in place of the Neumann series, the blend is pushed elsewhere.",
        threshold="mean cosine of the blend's hyper-gradient to the first-order one below .9 with either advice "
        "(refuted if with either its interval is above .99)",
        published="",
        limits="That it is another direction does not make it a better one; where the truth is known, the study of "
        "curvatures tells which is right. Damping .001.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Runs of published BARFI; see `run_all`."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13, 8), layout="constrained")
    (updates, steps), (curvatures, turned) = figure.subplots(2, 2)
    draw_updates(updates, frame)
    draw_steps(steps, frame, LOOPS)
    draw_curvatures(curvatures, frame)
    draw_hypergradients(turned, frame)
    runs = part_of(frame, "trained").groupby("advice").seed.nunique().max()
    figure.suptitle(f"BARFI at its published settings in the maze, {runs} seeds with each advice")
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians over the updates, averaged over seeds, ours and those of the official code."""
    rows = []
    for advice in ADVICE:
        for column, name in (("cosine", "1 - cosine"), ("norm_ratio", "norm ratio"), ("curvature", "curvature")):
            mean = medians(frame, column, advice).mean()
            ours, theirs = mean, float(np.mean(EARLIER[advice][column]))
            if column == "cosine":
                ours, theirs = 1 - ours, 1 - theirs
            rows.append((advice, name, "published", ours, theirs))
        for kind in KINDS:
            turned = medians(frame, "hyper_cosine", advice, kind).mean()
            rows.append((advice, "cosine of hyper-gradients", NAMES[kind].replace("\n", " "), turned, np.nan))
    return pd.DataFrame(rows, columns=["advice", "what", "curvature used", "ours", "official code"])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "first-order": _first_order(frame),
        "curvature-sign": _curvature_sign(frame),
        "inverse-differs": _inverse_differs(frame),
    }


def medians(frame: pd.DataFrame, column: str, advice: str, kind: str | None = None) -> np.ndarray:
    """Median of each seed, over its updates or, with a kind, over its probes."""
    rows = part_of(frame, "probe", kind=kind) if kind else part_of(frame, "trained")
    return rows[rows.advice == advice].groupby("seed")[column].median().to_numpy()


def _first_order(frame: pd.DataFrame) -> Verdict:
    cosine = {advice: mean_interval(medians(frame, "cosine", advice)) for advice in ADVICE}
    ratio = {advice: mean_interval(medians(frame, "norm_ratio", advice)) for advice in ADVICE}
    held = all(cosine[advice][0] >= 0.999 and abs(ratio[advice][0] - LOOPS - 1) <= 0.1 for advice in ADVICE)
    wrong = any(found[2] < 0.99 for found in cosine.values())
    worst = min(ADVICE, key=lambda advice: cosine[advice][0])
    said = "; ".join(f"{a} advice: cosine {cosine[a][0]:.6f}, norm ratio {ratio[a][0]:.2f}" for a in ADVICE)
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"smaller median cosine {cosine[worst][0]:.6f}, with {worst} advice",
        *for_verdict(cosine[worst]),
        f"{said[0].upper()}{said[1:]}. What is learned owes nothing to the Hessian.",
    )


def _curvature_sign(frame: pd.DataFrame) -> Verdict:
    good, bad = (mean_interval(medians(frame, "curvature", advice)) for advice in ("good", "bad"))
    held, wrong = bad[1] > 0 > good[2], bad[2] < 0 or good[1] > 0
    trained = part_of(frame, "trained")
    wrong_way = {advice: float((trained[trained.advice == advice].curvature > 0).mean()) for advice in ADVICE}
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"median curvature with bad advice {bad[0]:+.1f}",
        *for_verdict(bad),
        f"Good advice {good[0]:+.1f} ({good[1]:+.1f} to {good[2]:+.1f}), bad advice {bad[0]:+.1f} ({bad[1]:+.1f} to "
        f"{bad[2]:+.1f}); positive, as at a minimum, in {wrong_way['good']:.0%} and {wrong_way['bad']:.0%} of updates.",
    )


def _inverse_differs(frame: pd.DataFrame) -> Verdict:
    found = {advice: mean_interval(medians(frame, "hyper_cosine", advice, "fisher")) for advice in ADVICE}
    nearest = max(ADVICE, key=lambda advice: found[advice][0])
    held = found[nearest][0] < 0.9
    wrong = any(each[1] > 0.99 for each in found.values())
    neumann = min(medians(frame, "hyper_cosine", advice, "neumann").mean() for advice in ADVICE)
    said = ", ".join(f"{found[advice][0]:.2f} with {advice} advice" for advice in ADVICE)
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"larger cosine of hyper-gradients {found[nearest][0]:.2f}, with {nearest} advice",
        *for_verdict(found[nearest]),
        f"Fisher solved: {said}; the published series: at least {neumann:.5f}.",
    )
