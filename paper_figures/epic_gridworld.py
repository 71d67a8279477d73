"""The gridworld of the EPIC paper: all pairs of its six rewards, in three distances and in regret."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from environments.epic_gridworld import epic_gridworld, epic_rewards
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import VERMILLION
from rewardlab.distance import dard, epic, starc
from rewardlab.exact import greedy_regret, worst_case_regret

TITLE = "EPIC's gridworld: how far apart its six rewards are"

PUBLISHED = 0.27  # dirt path to cliff walk
EPIC, DARD, STARC, WORST = "EPIC", "DARD", "STARC-VAL / 2", "worst-case regret"
PANELS = {
    EPIC: "EPIC distance",
    DARD: "DARD distance, possible transitions",
    STARC: "STARC distance (VAL, L2), halved",
    WORST: "Exact worst-case regret",
}
SAME = 1e-9  # a distance or regret below this is 0

CLAIMS = (
    Claim(
        id="dirt-cliff",
        paper="2006.13900",
        title="Dirt path and cliff walk are 0.27 apart, and the same policies are optimal",
        says="EPIC puts the two rewards 0.27 apart although whoever optimises the one loses nothing in the other.",
        threshold=f"EPIC distance rounds to {PUBLISHED}; greedy regret below {SAME:g} both ways, whatever the ties",
        published=f"{PUBLISHED}",
        limits="One world of nine cells; the number depends on covering all transitions evenly, possible or not. "
        "Written down after a trial run had shown these distances.",
    ),
    Claim(
        id="dense-is-sparse",
        paper="2006.13900",
        title="A shaped reward is at distance 0",
        says="The dense reward is the sparse one shaped by the distance to the goal; no distance tells them apart.",
        threshold=f"all three distances from sparse to dense below {SAME:g}",
        published="0",
        limits="Shaping with the discount of the world; another discount would leave a distance. "
        "Written down after a trial run had shown these distances.",
    ),
    Claim(
        id="distance-has-a-cost",
        paper="2309.15257",
        title="The 0.27 is not for nothing",
        says="The two rewards share their optimal policies, but order others differently, which can cost.",
        threshold="exact worst-case regret between dirt path and cliff walk at least 0.01 both ways",
        published="",
        limits="The worst case is over all pairs of policies; a learner that is nearly optimal may never meet it.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """All ordered pairs of rewards: one row a pair and measure. Nothing is sampled, so all scales are alike."""
    grid = epic_gridworld()
    rewards = epic_rewards(grid)
    mdp = grid.mdp
    rows = []
    for true in rewards:
        for proxy in rewards:
            pair = (mdp, rewards[true], rewards[proxy])
            measures = {
                EPIC: float(epic(*pair)),
                DARD: float(dard(*pair)),
                STARC: float(starc(*pair)) / 2,
                WORST: worst_case_regret(*pair).regret,
                "greedy regret": float(greedy_regret(*pair, ties="pessimistic")),
            }
            rows += [
                {"reward": true, "other": proxy, "measure": name, "value": value} for name, value in measures.items()
            ]
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10.5, 9.4), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    names = list(dict.fromkeys(frame.reward))
    for panel, (measure, title) in zip(axes, PANELS.items()):
        values = _matrix(frame, measure).loc[names, names].to_numpy()
        image = panel.imshow(values, cmap="cividis", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(values):
            shade = "black" if value > 0.55 else "white"
            panel.text(column, row, f"{abs(value):.2f}", ha="center", va="center", color=shade, fontsize=10)
        panel.set_xticks(range(len(names)), names)
        panel.set_yticks(range(len(names)), names)
        panel.set_title(title)
        panel.grid(False)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    axes[3].set(xlabel="reward that is not to fall", ylabel="reward in which the loss is counted")
    for row, column in ((names.index("dirt"), names.index("cliff")), (names.index("cliff"), names.index("dirt"))):
        axes[0].add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=3))
    axes[0].set_xlabel(
        f"framed: dirt path and cliff walk, published as {PUBLISHED}", color=VERMILLION, fontweight="bold"
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02)
    bar.set_label("0: the same order of policies      1: opposite, or all is lost")
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each pair once, to four decimals; for the regret, the larger of both ways."""
    matrices = {measure: _matrix(frame, measure) for measure in PANELS}
    names = [name for name in dict.fromkeys(frame.reward) if name != "dense"]  # dense is sparse in every column
    pairs = [("sparse", "dense"), *((a, b) for i, a in enumerate(names) for b in names[i + 1 :])]
    rows = []
    for a, b in pairs:
        row = {"pair": f"{a}, {b}", "published": f"{PUBLISHED}" if (a, b) == ("dirt", "cliff") else ""}
        for measure, matrix in matrices.items():
            row[measure] = f"{abs(max(matrix.loc[a, b], matrix.loc[b, a])):.4f}"
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {"dirt-cliff": _published(frame), "dense-is-sparse": _dense(frame), "distance-has-a-cost": _cost(frame)}


def _published(frame: pd.DataFrame) -> Verdict:
    distance = float(_matrix(frame, EPIC).loc["dirt", "cliff"])
    regret = _both_ways(frame, "greedy regret").max()
    outcome = "supported" if round(distance, 2) == PUBLISHED and regret < SAME else "refuted"
    sentence = f"The distance is {distance:.4f}, and optimising either reward loses {abs(regret):.1g} of the other."
    return Verdict(outcome, f"EPIC distance {distance:.4f}", distance, None, sentence)


def _dense(frame: pd.DataFrame) -> Verdict:
    largest = max(float(_matrix(frame, measure).loc["sparse", "dense"]) for measure in (EPIC, DARD, STARC))
    outcome = "supported" if largest < SAME else "refuted"
    sentence = f"The largest of the three distances between the sparse and the dense reward is {largest:.1g}."
    return Verdict(outcome, f"largest distance {largest:.1g}", largest, None, sentence)


def _cost(frame: pd.DataFrame) -> Verdict:
    regrets = _both_ways(frame, WORST)
    outcome = "supported" if regrets.min() >= 0.01 else "refuted"
    sentence = (
        f"A policy can be left for another that the dirt path's reward likes as much, at a loss of {regrets[1]:.0%} of "
        f"all there is to lose on the cliff; the other way round it is {regrets[0]:.0%}."
    )
    return Verdict(outcome, f"smaller worst-case regret {regrets.min():.3g}", float(regrets.min()), None, sentence)


def _both_ways(frame: pd.DataFrame, measure: str) -> np.ndarray:
    """Counted in the dirt path's reward, and counted in the cliff walk's."""
    matrix = _matrix(frame, measure)
    return np.array([matrix.loc["dirt", "cliff"], matrix.loc["cliff", "dirt"]])


def _matrix(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Rows: the reward in question (in which regret is counted); columns: the other one."""
    return frame[frame.measure == measure].pivot(index="reward", columns="other", values="value")
