"""What annotator noise does to a policy that learns from NetHack's messages, with and without a count discount."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.nethack.experiments.noisy_annotator import ARMS, EXPERIMENT
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict
from paper_figures.learning_curves import missing, of_arm, over_seeds, paired, present
from paper_figures.noisy_annotator_panels import draw

TITLE = "NetHack: a noisy annotator is farmed, unless a message pays less each time it is seen"
EXTRA = ("torch", "stable_baselines3", "nle")
RECORDED = ("small", "gpu")

PAPER = "2410.23022"
SEEDS = 3
HACKED, KEPT, PAID = 3.0, 12.0, 300.0
ENVIRONMENT, RIGHT, RIGHT_UNDISCOUNTED, NOISY, NOISY_UNDISCOUNTED = ARMS
_LIMITS = (
    "PPO without memory, 3e5 steps of games cut at 1000, where the paper has 2e9 and a recurrent policy; the annotator "
    "is a list of rules with frozen errors, the reward model retrieval. An earlier calculation of two seeds was known, "
    "and one seed of three arms had been looked at, when the thresholds were written."
)

CLAIMS = (
    Claim(
        id="noise-is-farmed-without-discount",
        paper=PAPER,
        title="Nine right labels of ten are reward hacking, and the count discount alone prevents it",
        says="A policy paid only for messages an annotator of accuracy 0.9 calls helpful ends with almost no game "
        "score and hundreds of paid messages a game when each sight pays the same; with the published discount, the "
        "n-th sight in an episode paying n to the minus 3, it keeps a score.",
        threshold=f"without the discount every seed ends below score {HACKED:g} and is paid more than {PAID:g} a game, "
        f"and with it the mean score stays above {KEPT:g}; refuted if the mean without is not below {HACKED:g}, or not "
        f"below that with it (undecided with fewer than {SEEDS} seeds, or otherwise)",
        published="none: the paper has the discount in all its runs",
        limits=_LIMITS,
    ),
    Claim(
        id="messages-alone-suffice",
        paper=PAPER,
        title="Labelled messages alone teach as much score as the score itself",
        says="Without ever seeing the game's score as a reward, a policy paid for rightly labelled messages with the "
        "discount reaches at least the score of one that learns from the score.",
        threshold="95% interval of the difference of final scores, paired by seed, above 0; refuted if below 0 "
        f"(undecided with fewer than {SEEDS} seeds, or with 0 inside)",
        published="on par in the reward-free setting, in figures (no number could be read)",
        limits=_LIMITS,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Learning curves: a row every 10,000 steps of an arm and seed, each the mean of the last 100 games."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    return draw(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Ends of the curves: means over seeds, smallest and largest seed."""
    rows = []
    for arm in present(frame, ARMS):
        ends = of_arm(frame, arm).sort_values("step").groupby("seed").tail(1)
        rows.append(
            {
                "learned from": arm.reward,
                "accuracy": arm.accuracy,
                "exponent": arm.exponent if arm.accuracy is not None else np.nan,
                "score": ends.score.mean(),
                "smallest": ends.score.min(),
                "largest": ends.score.max(),
                "paid a game": ends.paid.mean(),
                "paid for true positives": ends.true_positive_share.mean(),
                "frozen steps": ends.frozen_share.mean(),
                "labels": ends.labels.mean(),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {"noise-is-farmed-without-discount": _farmed(frame), "messages-alone-suffice": _suffice(frame)}


def _farmed(frame: pd.DataFrame) -> Verdict:
    if absent := missing(frame, (NOISY, NOISY_UNDISCOUNTED)):
        return absent
    scores = paired(frame, "score", NOISY_UNDISCOUNTED, NOISY)
    paid = paired(frame, "paid", NOISY_UNDISCOUNTED, NOISY)[:, 0]
    without, kept = over_seeds(scores[:, 0]), over_seeds(scores[:, 1])
    if without[0] >= min(HACKED, kept[0]):
        outcome = "refuted"
    else:
        farmed = (scores[:, 0] < HACKED).all() and (paid > PAID).all()
        outcome = "supported" if farmed and kept[0] > KEPT else "undecided"
    value, interval = for_verdict(without)
    return Verdict(
        outcome if len(scores) >= SEEDS else "undecided",
        f"final score without the discount {value:.2f}",
        value,
        interval,
        f"With it {kept[0]:.1f} (interval {kept[1]:.1f} to {kept[2]:.1f}). Paid a game without it: "
        f"{paid.min():.0f} to {paid.max():.0f} over {len(paid)} seeds.",
    )


def _suffice(frame: pd.DataFrame) -> Verdict:
    if absent := missing(frame, (RIGHT, ENVIRONMENT)):
        return absent
    scores = paired(frame, "score", RIGHT, ENVIRONMENT)
    found = over_seeds(scores[:, 0] - scores[:, 1])
    outcome = "supported" if found[1] > 0 else "refuted" if found[2] < 0 else "undecided"
    value, interval = for_verdict(found)
    return Verdict(
        outcome if len(scores) >= SEEDS else "undecided",
        f"final score, messages less score as reward {value:+.1f}",
        value,
        interval,
        f"Mean final scores {scores[:, 0].mean():.1f} against {scores[:, 1].mean():.1f} over {len(scores)} seeds.",
    )
