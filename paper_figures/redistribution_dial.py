"""Turn up a change of the reward that matters to no policy, and see which distances notice."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.metric_study import (
    NAMES,
    Sizes,
    World,
    correlations,
    distance_columns,
    draw_world,
    map_worlds,
    measure,
)
from paper_figures.style import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION
from rewardlab.exact import potential_shaping, redistribution

TITLE = "The redistribution dial: noise that no policy can feel"

DIAL = (0.0, 0.5, 1.0, 2.0, 5.0)
FORMS = ("epic", "dard", "srrd", "val_potential", "val", "minimal")
UNMOVED, DROP = 1e-9, 0.2
LOOKS = {
    "val": (BLUE, "o", "-"),
    "minimal": (GREEN, "s", "--"),
    "val_potential": (SKY_BLUE, "v", "-"),
    "srrd": (PURPLE, "P", "-"),
    "dard": (VERMILLION, "^", "-"),
    "epic": (ORANGE, "D", "--"),
}

CLAIMS = (
    Claim(
        id="val-does-not-move",
        paper="2309.15257",
        title="VAL does not move at all",
        says="However much reward is redistributed over next states, VAL's correlation with regret stays what it was.",
        threshold=f"largest change over the dial at most {UNMOVED:g} (refuted otherwise)",
        published="",
        limits="The paper states the invariance and has no such figure; the dial and its numbers are ours.",
    ),
    Claim(
        id="epic-dard-fall",
        paper="2309.15257",
        title="EPIC and DARD lose their grip",
        says="Redistribution, which changes no policy's return, makes EPIC and DARD poor predictors of regret.",
        threshold=f"both correlations at least {DROP} lower at 1 than at 0 (refuted if one's interval is below {DROP})",
        published="",
        limits="How fast they fall depends on the size of the noise beside the reward, which nothing real sets here.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a setting of the dial and canonical form: correlation with regret, and how far it fell from that at 0."""
    sizes = scale.pick(smoke=Sizes(8, 2, 8), small=Sizes(32, 4), paper=Sizes(128, 8))
    pairs = map_worlds(partial(_measured, sizes), rng, sizes.worlds, scale.workers)
    start = pairs[pairs.dial == 0].reset_index(drop=True)
    at_start = {name: f"at 0: {name}" for name in distance_columns(pairs)}
    frames = []
    for dial in DIAL:
        # the regrets are the same at every setting, so both correlations can be resampled together
        here = pairs[pairs.dial == dial].reset_index(drop=True)
        beside = here.assign(**{column: start[name] for name, column in at_start.items()})
        frames.append(correlations(beside, at_start).assign(dial=dial, pairs=len(here)))
    frame = pd.concat(frames, ignore_index=True).drop(columns=["normaliser", "metric"])
    return frame.rename(columns={"lead": "fall", "lead_low": "fall_low", "lead_high": "fall_high"})


def _measured(sizes: Sizes, rng: np.random.Generator, index: int) -> pd.DataFrame:
    """One world's pairs at every setting: each reward gets shaping, and redistribution of a size of its own."""
    world = draw_world(rng, sizes, clean=True, shaped=False)
    mdp = world.mdp
    shaped, noise = [], []
    for rewards in (world.start, world.others):
        batch = rewards.shape[:2]
        potential = rng.normal(size=(*batch, mdp.states)) * 10 * rng.random((*batch, 1)) + rng.random((*batch, 1))
        shaped.append(rewards + potential_shaping(mdp, potential))
        size = 3 * rng.random((*batch, 1, 1, 1)) * rewards.std(axis=(-3, -2, -1), keepdims=True)
        noise.append(size * redistribution(mdp, rng.normal(size=rewards.shape)))
    tables = []
    for dial in DIAL:
        turned = (reward + dial * change for reward, change in zip(shaped, noise, strict=True))
        tables.append(measure(World(mdp, *turned), FORMS, ("2",), ("2",)).assign(dial=dial))
    return pd.concat(tables, ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for place, (name, (colour, marker, line)) in enumerate(LOOKS.items()):
        cells = frame[frame.canonicaliser == name]
        axes.errorbar(
            np.arange(len(cells)) + 0.07 * (place - (len(LOOKS) - 1) / 2),
            cells.correlation,
            yerr=[cells.correlation - cells.low, cells.high - cells.correlation],
            color=colour,
            marker=marker,
            linestyle=line,
            capsize=2,
            label=NAMES[name] + (" (STARC)" if name in ("val", "minimal") else ""),
        )
    axes.set_xticks(range(len(DIAL)), [f"{dial:g}" for dial in DIAL])
    axes.set(ylim=(0, 1), xlabel="size of the redistribution (in units of up to 3 standard deviations of the reward)")
    axes.set_ylabel("Pearson correlation of distance with regret")
    axes.set_title(
        f"Correlation with regret, L2 norms, 95% interval over worlds ({frame.pairs.iloc[0]:,} pairs a setting)"
    )
    axes.legend(loc="lower left", ncols=2)
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Correlation with regret by canonical form and setting of the dial."""
    wide = frame.pivot(index="canonicaliser", columns="dial", values="correlation").loc[list(LOOKS)]
    wide.columns = [f"dial {dial:g}" for dial in wide.columns]
    return wide.rename(index=NAMES).rename_axis("canonical form").reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    val = frame[frame.canonicaliser == "val"]
    change = float(val.correlation.max() - val.correlation.min())
    still = "supported" if change <= UNMOVED else "refuted"
    sentence = f"VAL stays at {val.correlation.iloc[0]:.3f}; the largest change is {change:.1e}."
    at_one = frame[(frame.dial == 1) & frame.canonicaliser.isin(["epic", "dard"])].set_index("canonicaliser")
    least = at_one.loc[at_one.fall.idxmin()]
    below = "refuted" if (at_one.fall_high < DROP).any() else "undecided"
    fell = "supported" if (at_one.fall >= DROP).all() else below
    listed = [_fall(frame, name) for name in ("epic", "dard")]
    return {
        "val-does-not-move": Verdict(still, f"largest change {change:.1e}", change, None, sentence),
        "epic-dard-fall": Verdict(
            fell,
            f"smaller fall from 0 to 1: {least.fall:.3f}",
            float(least.fall),
            (float(least.fall_low), float(least.fall_high)),
            f"From 0 over 1 to 5 correlations go {' and '.join(listed)}.",
        ),
    }


def _fall(frame: pd.DataFrame, name: str) -> str:
    values = frame[frame.canonicaliser == name].set_index("dial").correlation
    return f"{values[0]:.2f}, {values[1]:.2f}, {values[5]:.2f} ({NAMES[name]})"
