"""Does the distance of a proxy from gold foretell what picking by it costs? Within prompts, and over everything."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_proxy_distance import EXPERIMENT, ONE, PICKS, STAND_IN, TWO, correlations
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION

EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")
TITLE = "Distance within prompts foretells the regret of a proxy, whatever it thinks of whole prompts"

FAMILIES = {
    "noise": ("gold with noise", BLUE, "o"),
    "length": ("gold with a liking for length", GREEN, "^"),
    "learned": ("learned from preferences", PURPLE, "D"),
    "prompt": ("gold with an opinion of prompts", ORANGE, "s"),
    "prompt and noise": ("gold with noise and an opinion of prompts", VERMILLION, "v"),
}
NAMES = {"within": "within prompts (STARC, halved)", "global": "over everything (Pearson)"}
FEWEST_PROMPTS = 50  # below, nothing is decided by rank correlations
EXACT = 1e-7  # distances that are 0 come out below this, of rounding

PAPER = "2309.15257"
CLAIMS = (
    Claim(
        id="within-prompts-foretells",
        paper=PAPER,
        title="Distance within prompts ranks proxies by their regret better than distance over everything",
        says="Of rewards on a model's own answers, STARC's value-adjusted levelling (each prompt's mean taken off) "
        "leaves what choices depend on; Pearson distance on the rewards as they are does not.",
        threshold="Spearman correlation with the regret of the best pick, within prompts less over everything: 95% "
        f"bootstrap interval over prompts above 0 (refuted if below; undecided with fewer than {FEWEST_PROMPTS} "
        "prompts); on SmolLM2 where it is there",
        published="no language models; random MDPs: Pearson correlation .856 for VAL, .778 for EPIC, .618 with no "
        "canonical form (L2 norms). Separate code on made-up rewards: Spearman .999 within prompts, "
        "Pearson .60 over everything",
        limits="Half of the proxies have an opinion of whole prompts, by design; how far the two distances differ "
        "depends on that share (the sentence gives the rest by itself). Sums only.",
    ),
    Claim(
        id="opinions-of-prompts-are-free",
        paper=PAPER,
        title="An opinion of whole prompts changes neither distance within prompts nor regret",
        says="What is added to all answers of a prompt alike moves Pearson distance as far as one likes.",
        threshold=f"distance and regret of gold with an opinion of prompts below {EXACT:g}, and the mean distance over "
        "everything larger with every strength (a theorem; refuted otherwise)",
        published="",
        limits="Exact: true of any answers.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows of proxies with distances and regrets; rows of prompts drawn anew, with correlations."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    arms = _arms(frame)
    figure = Figure(figsize=(12.5, 0.7 + 4.0 * len(arms)), layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(arms), 3))
    for row, arm in zip(grid, arms):
        for panel, distance in zip(row, NAMES):
            _draw_proxies(panel, frame, arm, distance)
        _draw_correlations(row[2], frame, arm)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def _draw_proxies(panel, frame: pd.DataFrame, arm: str, distance: str) -> None:
    proxies = _proxies(frame, arm)
    for family, (label, colour, marker) in FAMILIES.items():
        some = proxies[proxies.family == family]
        panel.plot(some[distance], some.argmax, marker, color=colour, label=label, markersize=6, alpha=0.8)
    found = _correlation(frame, arm, distance)
    panel.set(xlabel=f"distance {NAMES[distance]}", ylabel=f"{arm}\nregret of the best pick", xlim=(-0.03, 0.85))
    panel.set_title(f"Spearman {found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})")


def _draw_correlations(panel, frame: pd.DataFrame, arm: str) -> None:
    """Rank correlation with the regret of best-of-n, for every n."""
    proxies = _proxies(frame, arm)
    columns = [*(f"of_{n}" for n in PICKS), "argmax"]
    for distance, colour in (("within", BLUE), ("global", ORANGE)):
        for subset, line in (("", "-"), ("_plain", ":")):
            some = proxies[~proxies.family.str.startswith("prompt")] if subset else proxies
            shown = [_of_table(some.assign(argmax=some[column]))[distance] for column in columns]
            label = NAMES[distance] + (", no opinions of prompts" if subset else "")
            panel.plot(range(len(columns)), shown, line, color=colour, marker="o", markersize=4, label=label)
    panel.set_xticks(range(len(columns)), [*(f"best of {n}" for n in PICKS), "best of all"], fontsize=8)
    panel.axhline(0, color=BLACK, linewidth=0.6)
    panel.set(ylim=(min(-0.05, panel.get_ylim()[0]), 1.05), ylabel="Spearman correlation with regret")
    panel.set_title("Whichever way answers are picked")
    panel.legend(loc="lower left", bbox_to_anchor=(0, 0.08), fontsize=8)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations of both distances with regret, of all proxies and of those without opinions of prompts."""
    rows = []
    for arm in _arms(frame):
        for proxies, suffix in (("all", ""), ("no opinions of prompts", "_plain")):
            found = {name: _correlation(frame, arm, name, suffix) for name in NAMES}
            difference = _difference(frame, arm, suffix)
            rows.append((arm, proxies, found["within"][0], found["global"][0], *difference))
    return pd.DataFrame(rows, columns=["model", "proxies", "within", "over everything", "difference", "low", "high"])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {"within-prompts-foretells": _foretells(frame), "opinions-of-prompts-are-free": _free(frame)}


def _foretells(frame: pd.DataFrame) -> Verdict:
    arm = _arms(frame)[0]
    difference, low, high = _difference(frame, arm)
    outcome = "supported" if low > 0 else "refuted" if high < 0 else "undecided"
    within, over = (_correlation(frame, arm, name)[0] for name in NAMES)
    plain = [_correlation(frame, arm, name, "_plain")[0] for name in NAMES]
    apart = _difference(frame, arm, "_plain")
    return Verdict(
        outcome if frame[frame.arm == arm].prompts.iloc[0] >= FEWEST_PROMPTS else "undecided",
        f"difference of Spearman correlations {difference:+.2f}",
        difference,
        (low, high),
        f"{arm}: Spearman {within:.2f} within prompts, {over:.2f} over everything; of proxies without an opinion of "
        f"prompts {plain[0]:.2f} and {plain[1]:.2f}, {apart[0]:+.3f} ({apart[1]:+.3f} to {apart[2]:+.3f}) apart.",
    )


def _free(frame: pd.DataFrame) -> Verdict:
    proxies = pd.concat([_proxies(frame, arm) for arm in _arms(frame)])
    opinions = proxies[proxies.family == "prompt"]
    regrets = [*(f"of_{n}" for n in PICKS), "argmax"]
    moved = float(opinions[["within", *regrets]].abs().max().max())
    curves = opinions.groupby(["arm", "strength"])["global"].mean().unstack()
    grows = bool((curves.diff(axis=1).iloc[:, 1:] > 0).all().all())
    return Verdict(
        "supported" if moved < EXACT and grows else "refuted",
        f"largest distance within prompts or regret {moved:.1e}",
        moved,
        None,
        f"Distance over everything goes from {curves.iloc[:, 0].min():.2f} to {curves.iloc[:, -1].max():.2f} with the "
        "strength of the opinion; distance within prompts and regret stay 0.",
    )


def _arms(frame: pd.DataFrame) -> list[str]:
    return [arm for arm in (ONE, TWO, STAND_IN) if arm in set(frame.arm)]


def _proxies(frame: pd.DataFrame, arm: str) -> pd.DataFrame:
    return frame[(frame.kind == "proxy") & (frame.arm == arm)]


def _of_table(proxies: pd.DataFrame, suffix: str = "") -> dict[str, float]:
    return correlations(proxies[~proxies.family.str.startswith("prompt")] if suffix else proxies)


def _resampled(frame: pd.DataFrame, arm: str) -> pd.DataFrame:
    return frame[(frame.kind == "resampled") & (frame.arm == arm)]


def _correlation(frame: pd.DataFrame, arm: str, distance: str, suffix: str = "") -> tuple[float, float, float]:
    """With the regret of the best pick, and its interval over prompts."""
    drawn = _resampled(frame, arm)[distance + suffix]
    return _of_table(_proxies(frame, arm), suffix)[distance], *_middle(drawn)


def _difference(frame: pd.DataFrame, arm: str, suffix: str = "") -> tuple[float, float, float]:
    """Correlation within prompts less that over everything, and its interval over prompts."""
    found, drawn = _of_table(_proxies(frame, arm), suffix), _resampled(frame, arm)
    return found["within"] - found["global"], *_middle(drawn["within" + suffix] - drawn["global" + suffix])


def _middle(drawn: pd.Series) -> tuple[float, float]:
    """The middle 95%."""
    low, high = drawn.quantile([0.025, 0.975])
    return float(low), float(high)
