"""What stands for the curvature in an implicit hyper-gradient: which options find the true one, which turn round."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.hypergradient_curvature_panels import draw
from paper_figures.hypergradient_curvature_study import OFFSETS, OPTIONS, hypergradients, learned_blends, neumann_errors
from paper_figures.intervals import for_verdict, mean_interval

TITLE = "Which curvature finds the hyper-gradient?"

OFFSET_FREE = tuple(name for name in OPTIONS if name != "sampled surrogate")
# found by separate code before this figure was written, in 20 worlds of its own: mean cosine, by option and offset
EARLIER = {
    ("exact", 0.0): 1.0,
    ("Fisher", 0.0): 1.0,
    ("Neumann, 50 loops", 0.0): 0.9998,
    ("Neumann, 5 loops", 0.0): 0.991,
    ("first order", 0.0): 0.939,
    ("sampled surrogate", -3.0): -0.9998,
    ("sampled surrogate", 0.0): 0.9996,
    ("sampled surrogate", 3.0): 1.0,
}
EARLIER_RETURNS = {  # primary return, by advice: naive sum and learned blend
    "good": (0.9160, 0.9162),
    "bad": (-0.0992, 0.8616),
    "none": (0.8258, 0.8258),
}

PAPER = "2310.19007"
CLAIMS = (
    Claim(
        id="curvature-finds-it",
        paper=PAPER,
        title="At the end of training, the implicit gradient is the true hyper-gradient",
        says="With the exact or the Fisher curvature it is; Neumann's series comes near it with its loops.",
        threshold="relative error of exact and Fisher at most 1e-6 in every world; mean cosine of Neumann's series at "
        "least .98 with 5 loops and .999 with 50 (refuted if an error is above 1e-3, or 50 loops are below .99)",
        published="",
        limits="Tabular policies at a soft optimum, steps tuned to each world's curvature; numbers of 20 other worlds "
        "were known beforehand.",
    ),
    Claim(
        id="curvature-is-needed",
        paper=PAPER,
        title="Without curvature the direction is another",
        says="The first-order form points away from the true hyper-gradient, far away in some worlds.",
        threshold="mean cosine at most .98 with the interval below .99, and the worst world below .9 (refuted if the "
        "interval lies above .99)",
        published="",
        limits="One weight a state: with a single weight only the sign matters. Numbers known beforehand.",
    ),
    Claim(
        id="offset-flips-the-surrogate",
        paper=PAPER,
        title="Curvature of the sampled surrogate turns round with the offset of the reward",
        says="The published form of the curvature depends on a constant added to the reward, which changes no policy; "
        "all others do not.",
        threshold="mean cosine at most -.9 at offset -3 and at least .9 at +3, and no other option moves by more than "
        "1e-6 in any world (refuted if the surrogate's mean cosine at -3 is above .9)",
        published="",
        limits="Inverted here; with the published step and loops it is hardly applied and does little harm. "
        "Numbers known beforehand.",
    ),
    Claim(
        id="neumann-has-a-bound",
        paper=PAPER,
        title="Neumann's series needs a step below 2 over the largest curvature",
        says="One hundredth below, it converges; one hundredth above, it diverges.",
        threshold="from 50 to 500 loops the error falls in every world at .99 of the bound, and grows in every world "
        "at 1.01, to a median of at least 10 (refuted if that median falls)",
        published="",
        limits="A theorem, met with exact products; sampled ones move the bound about. Known beforehand.",
    ),
    Claim(
        id="learned-through-training",
        paper=PAPER,
        title="A blend learned through 40 steps of training keeps good advice and survives bad",
        says="Weight and discount learned by the unrolled gradient do as well as the better of trusting and ignoring.",
        threshold="primary return at most .01 below the better of naive sum and primary alone for either advice, "
        "the naive sum .5 below primary alone under bad (refuted if .05 below primary alone on bad, or .02 below the "
        "naive sum on good)",
        published="",
        limits="One grid, exact gradients, no penalty: under bad advice the weight never comes to rest. Numbers known "
        "beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Three parts, by column `part`: hyper-gradients by option, errors of Neumann's series, and learned blends."""
    worlds, updates = scale.pick(smoke=(20, 15), small=(200, 60), paper=(1000, 60))
    first, second = (np.random.default_rng(seed) for seed in np.random.SeedSequence(rng).spawn(2))
    parts = {
        "options": hypergradients(worlds, first),
        "neumann": neumann_errors(worlds, second),
        "learned": learned_blends(updates),
    }
    return pd.concat([table.assign(part=part) for part, table in parts.items()], ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(*(frame[frame.part == part] for part in ("options", "neumann", "learned")))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Cosines by option and offset, then primary returns on the grid, beside those of separate code."""
    options, learned = frame[frame.part == "options"], frame[frame.part == "learned"]
    rows = []
    for (name, offset), cells in options.groupby(["option", "offset"], sort=False):
        if offset == 0 or name == "sampled surrogate":
            rows.append(
                {
                    "of": f"cosine: {name}, offset {offset:g}",
                    "mean": cells.cosine.mean(),
                    "lowest": cells.cosine.min(),
                    "earlier code": EARLIER.get((name, offset), np.nan),
                    "cosine of its vector to the plain gradient": cells.to_plain.mean(),
                }
            )
    for advice in ("good", "bad"):
        path = learned[learned.advice == advice]
        ends = {"naive sum": path.iloc[0], "learned blend": path.iloc[-1]}
        for (name, end), earlier in zip(ends.items(), EARLIER_RETURNS[advice]):
            rows.append({"of": f"primary return: {advice} advice, {name}", "mean": end["return"]})
            rows[-1] |= {"earlier code": earlier, "weight": end.weight, "discount": end.discount}
    alone = learned[learned.advice == "none"].iloc[0]["return"]
    rows.append({"of": "primary return: primary alone", "mean": alone, "earlier code": EARLIER_RETURNS["none"][0]})
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    options = frame[frame.part == "options"]
    centred = options[options.offset == 0].pivot(index="world", columns="option", values=["cosine", "error"])
    return {
        "curvature-finds-it": _finds_it(centred),
        "curvature-is-needed": _is_needed(centred.cosine["first order"].to_numpy()),
        "offset-flips-the-surrogate": _flips(options),
        "neumann-has-a-bound": _has_a_bound(frame[frame.part == "neumann"]),
        "learned-through-training": _learned(frame[frame.part == "learned"]),
    }


def _finds_it(centred: pd.DataFrame) -> Verdict:
    worst = float(centred.error[["exact", "Fisher"]].to_numpy().max())
    few, many = (float(centred.cosine[f"Neumann, {loops} loops"].mean()) for loops in (5, 50))
    supported, refuted = worst <= 1e-6 and few >= 0.98 and many >= 0.999, worst > 1e-3 or many < 0.99
    return Verdict(
        "supported" if supported else "refuted" if refuted else "undecided",
        f"largest relative error of exact and Fisher {worst:.1e}",
        worst,
        None,
        f"In {len(centred)} worlds exact and Fisher miss by {worst:.0e} at most; Neumann's series has a mean cosine of "
        f"{few:.3f} with 5 loops and {many:.4f} with 50.",
    )


def _is_needed(cosines: np.ndarray) -> Verdict:
    mean, (low, high) = for_verdict(mean_interval(cosines))
    supported = mean <= 0.98 and high < 0.99 and cosines.min() < 0.9
    return Verdict(
        "supported" if supported else "refuted" if low > 0.99 else "undecided",
        f"mean cosine {mean:.3f}",
        mean,
        (low, high),
        f"The first-order form has a mean cosine of {mean:.3f} to the true hyper-gradient, {cosines.min():.2f} in the "
        f"worst of {len(cosines)} worlds; below .9 in {np.mean(cosines < 0.9):.0%}.",
    )


def _flips(options: pd.DataFrame) -> Verdict:
    surrogate = options[options.option == "sampled surrogate"].groupby("offset").cosine
    mean = surrogate.mean()
    below, (low, high) = for_verdict(mean_interval(surrogate.get_group(OFFSETS[0]).to_numpy()))
    others = options[options.option.isin(OFFSET_FREE)].pivot(
        index=["option", "world"], columns="offset", values="cosine"
    )
    moved = float((others.max(axis=1) - others.min(axis=1)).max())
    supported = below <= -0.9 and mean[3.0] >= 0.9 and moved <= 1e-6
    return Verdict(
        "supported" if supported else "refuted" if below > 0.9 else "undecided",
        f"mean cosine at offset -3 {below:.4f}",
        below,
        (low, high),
        f"The inverted surrogate has a mean cosine of {mean[-3.0]:.4f}, {mean[0.0]:.4f} and {mean[3.0]:.4f} at offsets "
        f"-3, 0 and 3; no other option moves by more than {moved:.0e}.",
    )


def _has_a_bound(errors: pd.DataFrame) -> Verdict:
    table = errors.pivot(index="world", columns=["share", "loops"], values="error")
    above, grown = float(table[1.01, 500].median()), table[1.01, 500] > table[1.01, 50]
    fallen = table[0.99, 500] < table[0.99, 50]
    supported = grown.all() and fallen.all() and above >= 10
    return Verdict(
        "supported" if supported else "refuted" if above < table[1.01, 50].median() else "undecided",
        f"median relative error after 500 loops at 1.01 of the bound {above:.3g}",
        above,
        None,
        f"From 50 to 500 loops the median relative error goes from {table[0.99, 50].median():.2g} to "
        f"{table[0.99, 500].median():.1g} at .99 of the bound, and from {table[1.01, 50].median():.2g} to {above:,.0f} "
        "at 1.01.",
    )


def _learned(learned: pd.DataFrame) -> Verdict:
    first, last = (learned.groupby("advice")["return"].agg(which) for which in ("first", "last"))
    alone = first["none"]
    misses = {advice: max(alone, first[advice]) - last[advice] for advice in ("good", "bad")}
    miss, failed = max(misses.values()), alone - first["bad"] >= 0.5
    refuted = last["bad"] < alone - 0.05 or last["good"] < first["good"] - 0.02
    return Verdict(
        "supported" if miss <= 0.01 and failed else "refuted" if refuted else "undecided",
        f"most that is lost on the better of naive sum and primary alone {miss:.4f}",
        float(miss),
        None,
        f"Good advice: {first['good']:.4f} naive, {last['good']:.4f} learned; bad: {first['bad']:.4f} and "
        f"{last['bad']:.4f}; primary alone {alone:.4f}.",
    )
