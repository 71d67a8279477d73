"""A model that flags wrong sentences, trained with and without an extra reward for the ones it finds."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import expit, logit
from scipy.stats import norm

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.style import BLUE, GREEN, GREY, VERMILLION
from rewardlab.process.sentence_rewards import sentence_flag_reward
from rewardlab.transforms.advantages import mean_centred

TITLE = "A bonus for flagged wrong sentences moves a threshold"

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)  # of wrong sentences
BONUSES = {0.0: (GREY, "s"), 1.0: (BLUE, "o"), 4.0: (VERMILLION, "^")}
RARE = SHARES[:3]
SEPARATION = 1.5  # between the evidence for wrong and for right sentences, in standard deviations
TEXTS, SENTENCES, LABELLINGS, RATE = 16, 8, 8, 8.0

PAPER = "2509.25409"
CLAIMS = (
    Claim(
        id="finds-more-wrong-sentences",
        paper=PAPER,
        title="Where few sentences are wrong, a bonus for flagging them raises F1 on wrong sentences",
        says="A labeller trained with bonus 1 has a higher F1 on wrong sentences than one trained without.",
        threshold="at least .03 higher with 5, 10 and 20% wrong sentences, all intervals above 0 (refuted if an "
        "interval is below 0)",
        published="better F1 on wrong sentences than outcome and process reward models; no ablation of the bonus known",
        limits="The reward is a reconstruction, its bonus was not read; one feature, and a pilot had been seen.",
    ),
    Claim(
        id="it-is-a-threshold",
        paper=PAPER,
        title="What the bonus b moves is the belief from which a sentence is flagged, to 1/(2 + b)",
        says="The trained labeller flags from that probability of being wrong on.",
        threshold="mean belief within .05 of 1/(2 + b) for each bonus and 20, 30 and 50% wrong sentences (refuted if "
        "any is further than .15)",
        published="",
        limits="Ours, derived; where hardly anything is wrong, training is slow and stops short of it.",
    ),
    Claim(
        id="too-much-costs",
        paper=PAPER,
        title="A large bonus costs F1 where wrong sentences are common",
        says="With half of the sentences wrong, a bonus of 4 ends at a lower F1 than none.",
        threshold="at least .01 lower, interval below 0 (refuted if the interval is above 0)",
        published="",
        limits="Ours; at 5% wrong sentences the same bonus is the best of the three.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a share, bonus and seed: the learned cutoff on the evidence, the belief there, and F1 beyond it."""
    seeds, iterations = scale.pick(smoke=(4, 250), small=(10, 400), paper=(30, 1000))
    cells = list(itertools.product(BONUSES, SHARES))
    bonus, share = np.repeat(np.array(cells), seeds, axis=0).T
    cutoff = _train(bonus, share, iterations, np.random.default_rng(rng))
    frame = pd.DataFrame({"bonus": bonus, "share": share, "seed": np.tile(np.arange(seeds), len(cells))})
    belief = expit(logit(share) + SEPARATION * cutoff)
    return frame.assign(cutoff=cutoff, belief=belief, f1=f1_beyond(cutoff, share))


def _train(bonus: np.ndarray, share: np.ndarray, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """Policy gradient for a labeller that flags a sentence with chance sigmoid(a x + c): its cutoff -c/a, by run.

    Each text is labelled several times, and a labelling's advantage is its reward less the mean of its text's.
    """
    slope, offset = np.zeros((2, len(bonus)))
    wide = (slice(None), None, None)
    for _ in range(iterations):
        wrong = rng.random((len(bonus), TEXTS, SENTENCES)) < share[wide]
        evidence = rng.standard_normal(wrong.shape) + SEPARATION * (wrong - 0.5)
        chance = expit(slope[wide] * evidence + offset[wide])[:, :, None]
        flagged = rng.random((len(bonus), TEXTS, LABELLINGS, SENTENCES)) < chance
        right = np.broadcast_to(~wrong[:, :, None], flagged.shape)
        rewards = np.empty(flagged.shape[:-1])
        for each in BONUSES:  # faithfulness is labelled rightly throughout: it is a constant here
            runs = bonus == each
            rewards[runs] = sentence_flag_reward(right[runs], ~flagged[runs], right[runs], right[runs], flag_bonus=each)
        push = mean_centred(rewards)[..., None] * (flagged - chance)
        slope = slope + RATE * (push * evidence[:, :, None]).mean((1, 2)).sum(-1)
        offset = offset + RATE * push.mean((1, 2)).sum(-1)
    return -offset / slope


def f1_beyond(cutoff: np.ndarray, share: np.ndarray) -> np.ndarray:
    """F1 on wrong sentences of flagging all evidence beyond a cutoff, exactly."""
    found = share * norm.sf(cutoff - SEPARATION / 2)
    false = (1 - share) * norm.sf(cutoff + SEPARATION / 2)
    return 2 * found / (found + share + false)


def best_f1(bonus: float, share: np.ndarray) -> np.ndarray:
    """F1 of the labeller that the reward asks for: flag from a belief of 1/(2 + bonus) on."""
    return f1_beyond((logit(1 / (2 + bonus)) - logit(share)) / SEPARATION, share)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    quality, belief = figure.subplots(1, 2)
    fine = np.linspace(0.02, 0.55, 200)
    highest = f1_beyond(np.linspace(-3, 4, 800)[:, None], fine).max(0)
    quality.plot(fine, highest, color=GREEN, linestyle=":", linewidth=3, label="best of all thresholds", zorder=0)
    for place, (bonus, (colour, marker)) in enumerate(BONUSES.items()):
        quality.plot(fine, best_f1(bonus, fine), color=colour, linewidth=1, linestyle="--")
        belief.axhline(1 / (2 + bonus), color=colour, linewidth=1, linestyle="--")
        where = np.array(SHARES) + 0.004 * (place - 1)
        for panel, column in ((quality, "f1"), (belief, "belief")):
            mean, low, high = mean_interval(_cells(frame, column, bonus))
            look = {"color": colour, "marker": marker, "markersize": 5, "capsize": 2, "linestyle": ""}
            panel.errorbar(where, mean, yerr=[mean - low, high - mean], label=f"trained, bonus {bonus:g}", **look)
    quality.plot([], [], color=GREY, linewidth=1, linestyle="--", label="what the reward asks for")
    quality.set(xlabel="share of wrong sentences", ylabel="F1 on wrong sentences", ylim=(-0.03, None))
    quality.set_title("How well wrong sentences are found")
    quality.legend(loc="lower right", fontsize=8.5)
    belief.set(xlabel="share of wrong sentences", ylabel="probability of wrong from which it flags", ylim=(0, 1.03))
    belief.set_title("Where the threshold ends up")
    belief.text(0.4, 0.51, "1/(2 + b)", color=GREY, fontsize=8.5, ha="center")
    figure.suptitle(f"A simulated labeller, reward reconstructed; 95% intervals over {frame.seed.nunique()} seeds")
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """F1 and threshold by bonus and share of wrong sentences, beside what the reward asks for."""
    rows = []
    for (bonus, share), runs in frame.groupby(["bonus", "share"]):
        asked = float(best_f1(bonus, np.array(share)))
        rows.append((bonus, share, float(runs.f1.mean()), asked, float(runs.belief.mean()), 1 / (2 + bonus)))
    columns = ["bonus", "wrong sentences", "F1", "F1 asked for", "flags from", "1/(2 + bonus)"]
    return pd.DataFrame(rows, columns=columns)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "finds-more-wrong-sentences": _finds_more(frame),
        "it-is-a-threshold": _threshold(frame),
        "too-much-costs": _costs(frame),
    }


def _finds_more(frame: pd.DataFrame) -> Verdict:
    with_bonus, without = (_cells(frame, "f1", bonus)[:, : len(RARE)] for bonus in (1.0, 0.0))
    mean, low, high = mean_interval(with_bonus - without)
    least = int(mean.argmin())
    helps, harms = (mean >= 0.03).all() and (low > 0).all(), (high < 0).any()
    each = ", ".join(f"{left:.2f} and {right:.2f}" for left, right in zip(without.mean(0), with_bonus.mean(0)))
    asked = [float(best_f1(bonus, np.array(RARE[0]))) for bonus in (0.0, 1.0)]
    return Verdict(
        "supported" if helps else "refuted" if harms else "undecided",
        f"least gain in F1 {mean[least]:.3f}",
        *for_verdict((mean[least], low[least], high[least])),
        f"F1 without and with the bonus: {each} with 5, 10 and 20% wrong sentences. Trained to the end it would be "
        f"{asked[0]:.2f} and {asked[1]:.2f} at 5%.",
    )


def _threshold(frame: pd.DataFrame) -> Verdict:
    beliefs = np.stack([_cells(frame, "belief", bonus)[:, 2:].mean(0) for bonus in BONUSES])
    error = np.abs(beliefs - [[1 / (2 + bonus)] for bonus in BONUSES]).max()
    found = ", ".join(f"{belief:.2f} at {bonus:g}" for bonus, belief in zip(BONUSES, beliefs.mean(1)))
    return Verdict(
        "supported" if error <= 0.05 else "refuted" if error > 0.15 else "undecided",
        f"largest departure from 1/(2 + b) {error:.3f}",
        float(error),
        None,
        f"Flags from a probability of {found}.",
    )


def _costs(frame: pd.DataFrame) -> Verdict:
    found = mean_interval(_cells(frame, "f1", 4.0)[:, -1] - _cells(frame, "f1", 0.0)[:, -1])
    rare = _cells(frame, "f1", 4.0)[:, 0].mean()
    return Verdict(
        "supported" if found[0] <= -0.01 and found[2] < 0 else "refuted" if found[1] > 0 else "undecided",
        f"difference in F1 with half of the sentences wrong {found[0]:+.3f}",
        *for_verdict(found),
        f"With a bonus of 4 F1 changes by {found[0]:+.3f} at 50% wrong sentences; at 5% it is {rare:.2f}, the best.",
    )


def _cells(frame: pd.DataFrame, column: str, bonus: float) -> np.ndarray:
    """(seeds, shares) at one bonus."""
    return frame[frame.bonus == bonus].pivot(index="seed", columns="share", values=column).to_numpy()
