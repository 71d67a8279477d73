"""Correlation with regret as the discount goes to 1: does a distance stay useful over long horizons?"""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.metric_study import (
    NAMES,
    Sizes,
    column,
    correlations,
    distance_columns,
    draw_world,
    map_worlds,
    measure,
)
from paper_figures.style import BLACK, BLUE, GREY, ORANGE, VERMILLION

TITLE = "Discount sweep: from short horizons to long ones"

DISCOUNTS = 0.8 * (0.999 / 0.8) ** (np.arange(16) / 15)
FORMS = ("none", "epic", "dard", "val")
LOOKS = {
    "val": (BLUE, "o", "-"),
    "dard": (VERMILLION, "^", "-"),
    "epic": (ORANGE, "D", "--"),
    "none": (GREY, "s", "-"),
}
MARGIN = 0.05

CLAIMS = (
    Claim(
        id="val-leads-at-every-discount",
        paper="2309.15257",
        title="VAL leads EPIC at every discount",
        says="With L2 norms VAL's correlation with regret is at least EPIC's at each of the 16 discounts.",
        threshold="lead at least 0 at all 16 (refuted if the 95% interval lies below 0 at one of them)",
        published="",
        limits="Each interval holds for its discount, not for all 16 at once; the same worlds serve every discount.",
    ),
    Claim(
        id="val-holds-towards-one",
        paper="2309.15257",
        title="VAL stays as good over long horizons",
        says="VAL's correlation with regret is about as high at a discount of 0.999 as at 0.8.",
        threshold=f"at 0.999 at most {MARGIN} below that at 0.8 (refuted if lower and the intervals do not overlap)",
        published="",
        limits="Random worlds mix within a few steps, so a long horizon is easier here than in a maze.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a discount and canonical form: correlation with regret over the same worlds, and VAL's lead."""
    sizes = scale.pick(smoke=Sizes(6, 2, 4), small=Sizes(16, 8, 8), paper=Sizes(128, 8, 16))
    pairs = map_worlds(partial(_measured, sizes), rng, sizes.worlds, scale.workers)
    val = dict.fromkeys(distance_columns(pairs), column("val"))
    found = [
        correlations(rows, val).assign(discount=discount, pairs=len(rows))
        for discount, rows in pairs.groupby("discount")
    ]
    return pd.concat(found, ignore_index=True).drop(columns=["normaliser", "metric"])


def _measured(sizes: Sizes, rng: np.random.Generator, index: int) -> pd.DataFrame:
    """The same world, with the same draws of rewards, at every discount."""
    seed = rng.bit_generator.seed_seq
    tables = []
    for discount in DISCOUNTS:
        same = np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key))
        world = draw_world(same, sizes, clean=True, discount=float(discount))
        tables.append(measure(world, FORMS, ("2",), ("2",)).assign(discount=discount))
    return pd.concat(tables, ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(8.5, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for place, (name, (colour, marker, line)) in enumerate(LOOKS.items()):
        cells = frame[frame.canonicaliser == name]
        horizon = 1.02 ** (place - 1) / (1 - cells.discount)  # a little apart, as EPIC and DARD nearly coincide
        look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4}
        upper.plot(horizon, cells.correlation, label=NAMES[name], **look)
        upper.fill_between(horizon, cells.low, cells.high, color=colour, alpha=0.15, linewidth=0)
        if name in ("epic", "dard"):
            lower.plot(horizon, cells.lead, label=f"over {NAMES[name]}", **look)
            lower.fill_between(horizon, cells.lead_low, cells.lead_high, color=colour, alpha=0.15, linewidth=0)
    upper.set(ylim=(min(0.5, frame.low.min() - 0.02), 1), ylabel="correlation with regret")
    upper.set_title(f"L2 norms, {frame.pairs.iloc[0]:,} pairs a discount, bands: 95% interval over worlds")
    upper.legend(loc="lower left", ncols=4)
    lower.axhline(0, color=BLACK, linewidth=0.8)
    lower.set(
        xscale="log", ylabel="VAL's lead in correlation", xlabel="horizon 1 / (1 − discount) in steps (and discount)"
    )
    lower.set_title("The lead within the same worlds")
    lower.legend(loc="lower left", ncols=2)
    ticks = np.array([0.8, 0.9, 0.95, 0.98, 0.99, 0.999])
    lower.set_xticks(1 / (1 - ticks), [f"{1 / (1 - tick):.0f}\n({tick:g})" for tick in ticks])
    lower.set_xticks([], minor=True)
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Correlation with regret at the ends and in the middle of the sweep."""
    wide = frame.pivot(index="discount", columns="canonicaliser", values="correlation")[list(LOOKS)]
    return wide.iloc[[0, 5, 10, 13, 15]].rename(columns=NAMES).reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    epic = frame[frame.canonicaliser == "epic"]
    least = epic.loc[epic.lead.idxmin()]
    below = "refuted" if (epic.lead_high < 0).any() else "undecided"
    leads = "supported" if (epic.lead >= 0).all() else below
    val = frame[frame.canonicaliser == "val"].sort_values("discount")
    first, last = val.iloc[0], val.iloc[-1]
    change = float(last.correlation - first.correlation)
    apart = "refuted" if last.high < first.low else "undecided"
    holds = "supported" if change >= -MARGIN else apart
    return {
        "val-leads-at-every-discount": Verdict(
            leads,
            f"smallest lead {least.lead:.3f}, at {least.discount:.3f}",
            float(least.lead),
            (float(least.lead_low), float(least.lead_high)),
            f"VAL led EPIC at {(epic.lead >= 0).sum()} of {len(epic)} discounts, by {epic.lead.mean():.3f} on average.",
        ),
        "val-holds-towards-one": Verdict(
            holds,
            f"change from 0.8 to 0.999 {change:+.3f}",
            change,
            None,
            f"VAL's correlation is {first.correlation:.3f} [{first.low:.3f}, {first.high:.3f}] at 0.8 and "
            f"{last.correlation:.3f} [{last.low:.3f}, {last.high:.3f}] at 0.999.",
        ),
    }
