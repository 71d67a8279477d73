"""Which distance between two rewards foretells what optimising the wrong one costs, on a model's own samples?

A model answers every prompt several times. Gold grades the answers, and a family of proxies sees gold through noise,
through a liking for length, with an opinion of whole prompts, or learned from preferences. A prompt is a state, an
answer an action, and an episode is one step long, so what STARC's value-adjusted levelling leaves of a reward is its
difference from the prompt's mean (EPIC's canonical form differs from that by a constant, and its distance not at all).
Pearson distance on rewards as they are centres over everything instead, and so sees what no choice depends on.

The regret of a proxy is what picking the answer that it likes best loses in gold, as a share of what there is between
the best and the worst pick.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import spearmanr

from llm_scale.experiments.lm_proxy_distance_answers import Asked, Scores, answers, graded, learned
from llm_scale.models.warm_start import WarmUp
from long_runs.experiment import Cell, Experiment, ScaleName
from rewardlab.distance.pearson import pearson_distance
from rewardlab.exact.ranked_responses import best_of_n

__all__ = [
    "DISTANCES",
    "EXPERIMENT",
    "ONE",
    "OPINIONATED",
    "PICKS",
    "STAND_IN",
    "TWO",
    "correlations",
    "distances",
    "made_up",
    "regrets",
    "resampled",
]

ONE, TWO, STAND_IN = "SmolLM2, one digit", "tiny model, two digits", "stand-in, one digit"
DISTANCES = ("within", "global")  # VAL: centred within prompts; Pearson: centred over everything
PICKS = (2, 4, 8, 16)  # answers to choose among; beside them "argmax", the choice among all
ARGMAX = 10**6  # as many draws see every answer
STRENGTHS = {"noise": (0.25, 0.5, 1, 2, 4), "length": (0.25, 0.5, 1, 2, 4)}  # in units of gold's spread within prompts
OPINION = (0.5, 1, 2, 4, 8)  # of whole prompts, added to gold, and to gold with noise of strength 1
OPINIONATED = ("prompt", "prompt and noise")  # families in which it is
REPLICATES = 2
TINY = 1e-12  # in place of a spread of 0
EXACT = 9  # digits after the point to which distances and regrets are compared: below is rounding
SHORT = WarmUp(problems=75, steps=60, batch_size=75, learning_rate=2e-2, matrix_learning_rate=None, until=0.3)

Proxies = Float[np.ndarray, " proxies"]


@dataclass(frozen=True)
class Size:
    """How much is asked of a model, and which amounts of preferences the learned proxies see."""

    asked: Asked
    pairs: tuple[int, ...]
    bootstraps: int


def sizes(scale: ScaleName) -> dict[str, Size]:
    """What is asked at a scale."""
    one = {"model": "smollm2", "task": "addition", "layer": 12, "tokens": 20}
    two = {"model": "tiny", "task": "addition:digits=2,style=bare", "layer": 3, "tokens": 4, "warm_up": WarmUp()}
    if scale == "smoke":
        tiny = {"model": "tiny-test", "task": "addition:style=bare", "layer": 1, "tokens": 3, "warm_up": SHORT}
        return {STAND_IN: Size(Asked(**tiny, prompts=25, samples=8, to_learn=3, at_once=25), (10, 40), 50)}
    if scale == "gpu":
        many = Asked(**one, prompts=100, samples=64, to_learn=8, at_once=50, device="cuda")
        return {ONE: Size(many, (25, 100, 400, 1600), 600)}
    shared = {"prompts": 100, "samples": 16, "to_learn": 4}
    return {
        name: Size(Asked(**which, **shared, at_once=chunk), (25, 100, 400), 600)
        for name, which, chunk in ((TWO, two, 100), (ONE, one, 10))
    }


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell a model: its answers are what takes time."""
    return {name: partial(run, scale, name, seed) for name in sizes(scale)}


def run(scale: ScaleName, name: str, seed: int, folder: Path) -> pd.DataFrame:
    """Rows of proxies, each with its distances and regrets; and rows of prompts drawn anew, with correlations."""
    size = sizes(scale)[name]
    given = answers(size.asked, seed, folder / "answers")
    every, lengths = graded(size.asked, given)
    gold, lengths = every[:, : size.asked.samples], lengths[:, : size.asked.samples]
    rng = np.random.default_rng(seed)
    proxies = made_up(gold, lengths, rng) | learned(size.asked, given, every, size.pairs, REPLICATES, rng)
    keys, scores = list(proxies), np.stack(list(proxies.values()))
    table = pd.DataFrame(keys, columns=["family", "strength", "replicate"]).assign(kind="proxy")
    table = table.assign(**distances(gold, scores), **regrets(gold, scores))
    drawn = resampled(gold, scores, table["family"].to_numpy(), size.bootstraps, rng).round(4).assign(kind="resampled")
    about = pd.DataFrame([{"kind": "answers", **_facts(gold)}])
    rows = pd.concat([table, drawn, about], ignore_index=True).round(10)
    return rows.assign(arm=name, seed=seed, prompts=len(gold))


def made_up(gold: Scores, lengths: Scores, rng: np.random.Generator) -> dict[tuple[str, float, int], Scores]:
    """Gold seen through flaws of known strength, by family, strength and replicate.

    Noise is of every answer, an opinion of whole prompts only; longer answers seem better. The unit is gold's spread
    within prompts.
    """
    unit = np.sqrt(gold.var(axis=1).mean())
    longer = unit * (lengths - lengths.mean()) / max(lengths.std(), TINY)
    found = {("length", float(much), 0): gold + much * longer for much in STRENGTHS["length"]}
    for replicate in range(REPLICATES):
        for much in STRENGTHS["noise"]:
            found["noise", float(much), replicate] = gold + much * unit * rng.normal(size=gold.shape)
        for much in OPINION:
            opinion, noise = unit * rng.normal(size=(len(gold), 1)), unit * rng.normal(size=gold.shape)
            found["prompt", float(much), replicate] = gold + much * opinion
            found["prompt and noise", float(much), replicate] = gold + much * opinion + noise
    return found


def distances(gold: Scores, scores: Float[np.ndarray, "proxies prompts samples"]) -> dict[str, Proxies]:
    """Of every proxy from gold, in [0, 1]: centred within prompts (half the STARC distance), and over everything."""
    parts = {"within": (_levelled(gold), _levelled(scores)), "global": (gold, scores)}
    return {name: pearson_distance(one.ravel(), other.reshape(len(scores), -1)) for name, (one, other) in parts.items()}


def regrets(gold: Scores, scores: Float[np.ndarray, "proxies prompts samples"]) -> dict[str, Proxies]:
    """What picking by every proxy loses: among n answers drawn from those there are, for each n, and among all.

    In [0, 1]: 0 for gold's own picks, 1 for picks by its opposite. Equal scores are chosen among at random.
    """
    found = {}
    for name, n in {**{f"of_{n}": n for n in PICKS}, "argmax": ARGMAX}.items():
        lost, most = _lost(gold, scores, n)
        found[name] = lost.sum(1) / max(most.sum(), TINY)
    return found


def resampled(
    gold: Scores,
    scores: Float[np.ndarray, "proxies prompts samples"],
    families: np.ndarray,
    number: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Rank correlations of both distances with regret, of prompts drawn anew: of all proxies, and of plain ones.

    Plain are those without an opinion of whole prompts.
    """
    lost, most = _lost(gold, scores, ARGMAX)
    plain = ~np.isin(families, OPINIONATED)
    rows = []
    for _ in range(number):
        chosen = rng.integers(len(gold), size=len(gold))
        table = pd.DataFrame(distances(gold[chosen], scores[:, chosen]))
        table["argmax"] = lost[:, chosen].sum(1) / max(most[chosen].sum(), TINY)
        row = correlations(table)
        rows.append(row | {f"{name}_plain": value for name, value in correlations(table[plain]).items()})
    return pd.DataFrame(rows)


def correlations(table: pd.DataFrame) -> dict[str, float]:
    """Spearman's, of each distance with the regret of the best pick."""
    table = table.round(EXACT)
    if table[["argmax", *DISTANCES]].nunique().min() < 2:  # too few prompts for any rank
        return dict.fromkeys(DISTANCES, math.nan)
    return {name: float(spearmanr(table[name], table["argmax"]).statistic) for name in DISTANCES}


def _levelled(scores: Float[np.ndarray, "*proxies prompts samples"]) -> Float[np.ndarray, "*proxies prompts samples"]:
    return scores - scores.mean(axis=-1, keepdims=True)


def _lost(
    gold: Scores, scores: Float[np.ndarray, "proxies prompts samples"], n: int
) -> tuple[Float[np.ndarray, "proxies prompts"], Float[np.ndarray, " prompts"]]:
    """Gold lost by picking the best of n by each proxy, prompt by prompt, and by picking the worst."""
    uniform = np.full(gold.shape, -np.log(gold.shape[1]))

    def earned(by: np.ndarray) -> np.ndarray:
        return (np.exp(best_of_n(uniform, by, n)) * gold).sum(-1)

    best = earned(gold)
    return best - earned(scores), best - earned(-gold)


def _facts(gold: Scores) -> dict[str, float]:
    """What the answers are like: share of gold's variance that lies between prompts, and of prompts without any."""
    spread = gold.var(axis=1)
    return {"between": float(gold.mean(axis=1).var() / max(gold.var(), TINY)), "idle": float((spread < TINY).mean())}


EXPERIMENT = Experiment("lm_proxy_distance", "distance of a proxy against the regret of picking by it", cells)
