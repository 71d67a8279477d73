"""Blends that look one update ahead, LIRPG and BiPaRS, with one weight of good and of bad advice; beside BARFI."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.one_step_relatives_panels import NAMES, draw_alignment, draw_ends, draw_weights
from paper_figures.one_step_relatives_study import ADVICE, METHODS, ONE_STEP, STARTS, part_of, run_all

TITLE = "Blends that look one update ahead: LIRPG and BiPaRS beside BARFI"
EXTRA = ("torch",)

LEAST = -0.05  # less the primary reward alone
LIRPG, BIPARS = "1804.06459", "2011.02669"
DISTRUST = (
    "from weight 0 and from 1, on bad advice: mean final weight below 0 with its interval, and mean final return at "
    "least that of the primary reward alone less .05 (refuted if from either start the interval of the weight is above "
    "0, or that of the return's difference below -.05)"
)
SMALL = "One small grid, one learning rate; REINFORCE on whole episodes in place of an actor-critic."
CLAIMS = (
    Claim(
        id="lirpg-distrusts",
        paper=LIRPG,
        title="Looking one update ahead suffices to distrust bad advice: LIRPG",
        says="The weight of bad advice falls below 0, and the policy ends as good as on the primary reward alone.",
        threshold=DISTRUST,
        published="",
        limits=f"{SMALL} The paper learns a network of the state from nothing, not one weight of given advice. A first "
        "look at one seed, of 100 updates, came before.",
    ),
    Claim(
        id="meta-gradients-distrust",
        paper=BIPARS,
        title="So do the meta-gradients of BiPaRS, of one update and carried",
        says="With MGL and with IMGL the weight of bad advice falls below 0, and the policy ends as good as on the "
        "primary reward alone.",
        threshold=f"both methods, {DISTRUST}",
        published="beneficial use of true shaping rewards, and harmful ones ignored or turned (no number at hand)",
        limits=f"{SMALL} After a secondary account of the paper; its settings are not known here. A first look at one "
        "seed, of 100 updates, came before.",
    ),
    Claim(
        id="mapping-distrusts",
        paper=BIPARS,
        title="So does its explicit mapping",
        says="With EM the weight of bad advice falls below 0, and the policy ends as good as on the primary reward "
        "alone.",
        threshold=DISTRUST,
        published="as for the meta-gradients",
        limits=f"{SMALL} One weight for all states is a constant input here, which tells the policy nothing: the "
        "method is made for weights that differ from state to state. A first look at one seed came before.",
    ),
    Claim(
        id="carrying-does-not-pay",
        paper=BIPARS,
        title="Carrying the derivative through all updates is no better than one update",
        says="IMGL ends no better than MGL.",
        threshold="final return, IMGL less MGL, mean of both kinds of advice and both starts of a seed: interval below "
        ".02 (refuted if it is above .02)",
        published="",
        limits=f"{SMALL} IMGL with the Hessian of the sampled gradient, as automatic differentiation gives it. "
        "One seed of both had been seen beforehand.",
    ),
    Claim(
        id="one-weight-suffices",
        paper=BIPARS,
        title="One weight does what one weight a state does",
        says="MGL with a scalar weight ends as good as with a weight a state, as a reviewer of the paper suspected.",
        threshold="from weight 0, final return with one weight less that with 25: mean at least -.02 with both kinds "
        "of advice (refuted if with either its interval is below -.02)",
        published="public reviews: one scalar weight may suffice in its tasks",
        limits=f"{SMALL} Advice that is good, or bad, in all states alike.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Runs of every method; see `run_all`."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(15, 8.4), layout="constrained")
    panels = figure.subplots(2, 3, width_ratios=(1.15, 1.15, 1))
    for row, advice in zip(panels, ADVICE):
        draw_weights(row[0], frame, advice)
        draw_ends(row[1], frame, advice)
    draw_alignment(panels[0, 2], frame)
    draw_alignment(panels[1, 2], frame, column="cosine")
    runs = part_of(frame, "run")
    figure.suptitle(
        f"One weight of the advice on the 5 × 5 grid; means and 95% intervals over {runs.seed.nunique()} seeds"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """By method and start: final return and weight with either advice, and cosine to the plain gradient."""
    rows = []
    for method, start in [("primary", 0.0), ("sum", 1.0), *[(m, s) for m in METHODS for s in STARTS]]:
        row = {"method": NAMES[method], "weight from": start}
        for advice in ADVICE:
            found = _runs(frame, method, "good" if method == "primary" else advice, start)
            row |= {f"{advice}: return": found.value.mean(), f"{advice}: weight": found.weight.mean()}
        runs = part_of(frame, "run", method=method, start=start)
        row["cosine"] = runs.cosine.mean() if method in ("lirpg", "meta_gradient") else np.nan
        row["share aligned"] = runs.aligned.mean() if method in ONE_STEP else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "lirpg-distrusts": _distrusts(frame, ("lirpg",)),
        "meta-gradients-distrust": _distrusts(frame, ("meta_gradient", "carried")),
        "mapping-distrusts": _distrusts(frame, ("explicit_mapping",)),
        "carrying-does-not-pay": _carrying(frame),
        "one-weight-suffices": _one_weight(frame),
    }


def _runs(frame: pd.DataFrame, method: str, advice: str, start: float) -> pd.DataFrame:
    found = part_of(frame, "run", method=method, advice=advice, start=start)
    return found[found.kind != "linear"].sort_values("seed")


def _distrusts(frame: pd.DataFrame, methods: tuple[str, ...]) -> Verdict:
    alone = _runs(frame, "primary", "good", 0.0).value.to_numpy()
    weights, leads, said = [], [], []
    for method in methods:
        for start in STARTS:
            runs = _runs(frame, method, "bad", start)
            weights.append(mean_interval(runs.weight.to_numpy()))
            leads.append(mean_interval(runs.value.to_numpy() - alone))
            said.append(f"{NAMES[method]} from {start:g}: weight {weights[-1][0]:+.2f}, return {runs.value.mean():.3f}")
    held = all(weight[2] < 0 for weight in weights) and all(lead[0] >= LEAST for lead in leads)
    wrong = any(weight[1] > 0 for weight in weights) or any(lead[2] < LEAST for lead in leads)
    worst = max(weights, key=lambda weight: weight[0])
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"greatest final weight of bad advice: {worst[0]:+.2f}",
        *for_verdict(worst),
        f"{'; '.join(said)}; primary reward alone {alone.mean():.3f}.",
    )


def _carrying(frame: pd.DataFrame) -> Verdict:
    gains = [
        _runs(frame, "carried", advice, start).value.to_numpy()
        - _runs(frame, "meta_gradient", advice, start).value.to_numpy()
        for advice in ADVICE
        for start in STARTS
    ]
    gain = mean_interval(np.mean(gains, axis=0))
    each = ", ".join(f"{part.mean():+.3f}" for part in gains)
    return Verdict(
        "refuted" if gain[1] > 0.02 else "supported" if gain[2] < 0.02 else "undecided",
        f"final return, IMGL less MGL: {gain[0]:+.3f}",
        *for_verdict(gain),
        f"By condition (good from 0 and 1, bad from 0 and 1): {each}.",
    )


def _one_weight(frame: pd.DataFrame) -> Verdict:
    leads = {}
    for advice in ADVICE:
        many = part_of(frame, "run", kind="linear", advice=advice).sort_values("seed").value.to_numpy()
        leads[advice] = mean_interval(_runs(frame, "meta_gradient", advice, 0.0).value.to_numpy() - many)
    worst = min(leads.values(), key=lambda lead: lead[0])
    held, wrong = worst[0] >= -0.02, any(lead[2] < -0.02 for lead in leads.values())
    said = ", ".join(f"{lead[0]:+.3f} ({lead[1]:+.3f} to {lead[2]:+.3f}) on {a} advice" for a, lead in leads.items())
    return Verdict(
        "refuted" if wrong else "supported" if held else "undecided",
        f"final return, one weight less 25, the worse advice: {worst[0]:+.3f}",
        *for_verdict(worst),
        f"One weight less a weight a state: {said}.",
    )
