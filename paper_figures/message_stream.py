"""Reward models on a stream of NetHack's messages: what labels and noise do to them, what the count discount saves."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.message_stream_panels import EARLIER, NAMES, draw_mixed, draw_paid, draw_precision, draw_shares, of
from paper_figures.message_stream_study import ACCURACIES, LABELS, MODELS, run_all

TITLE = "What a stream of messages teaches: three reward models, noisy labels, and the count discount"
EXTRA = ("torch", "nle")

PAPER = "2410.23022"
LEAST_SEEDS = 3
_LIMITS = (
    "Messages of a player who presses keys at random, without learning; labels by rules, and linear models of hashed "
    "words in place of the published network. The figures of an earlier calculation were known, and one stream had "
    "been looked at, before the thresholds were written."
)

CLAIMS = (
    Claim(
        id="classification-absorbs-noise",
        paper=PAPER,
        title="A classifier averages a noisy annotator's errors out, a lookup of labels pays them",
        says="From 600 labels that are right in 95 % of cases, classification orders the steps of unseen games far "
        "better than retrieval.",
        threshold="average precision at least .3 ahead, interval above .05 (refuted with the interval below .05)",
        published="no number in the paper; earlier calculation: .96 against .22",
        limits=_LIMITS,
    ),
    Claim(
        id="equal-when-perfect",
        paper=PAPER,
        title="With a perfect annotator and labels for all, retrieval is nearly as good",
        says="Without errors the lead of classification over retrieval shrinks with labels, to what is new in unseen "
        "games.",
        threshold="lead at 1800 perfect labels at most .15, and smaller than at 200 (refuted above .3)",
        published="no number in the paper; earlier calculation: .497 at 200 labels, .129 at 600",
        limits=_LIMITS,
    ),
    Claim(
        id="ranking-no-better",
        paper=PAPER,
        title="Ranking as released does not beat classification",
        says="From as many answers about pairs as there are labels of messages, pairs drawn from all messages as "
        "released, ranking has no higher average precision than classification.",
        threshold="mean difference over the twelve cells with the interval below 0 (refuted with the interval above 0)",
        published="said of the agents' play, without a number; earlier calculation: .63 against .999 at 600 perfect "
        "labels",
        limits=f"{_LIMITS} An answer about a pair may cost more than a label.",
    ),
    Claim(
        id="distinct-ranking-no-better",
        paper=PAPER,
        title="Nor does ranking of distinct messages",
        says="The same with pairs drawn from distinct messages.",
        threshold="mean difference over the twelve cells at most .02 (refuted with the interval above .02)",
        published="said of the agents' play, without a number; earlier calculation: 1.00 against .96 at 600 labels "
        "right in 95 %",
        limits=f"{_LIMITS} Noise is milder on pairs: the annotator who errs draws one of three answers, a tie among "
        "them, and is right every third time.",
    ),
    Claim(
        id="ranking-needs-distinct-pairs",
        paper=PAPER,
        title="Pairs of distinct messages teach a ranking more than pairs of all messages",
        says="With 600 perfect answers, drawing pairs from distinct messages raises average precision.",
        threshold="by at least .1 with the interval above 0 (refuted with the interval below .1)",
        published="not in the paper; earlier calculation: 1.00 against .63",
        limits=_LIMITS,
    ),
    Claim(
        id="newest-first-pays-soonest",
        paper=PAPER,
        title="Labelling the newest message first pays more good steps than any other order when labels are few",
        says="At one label for 1000 steps, a stack pays a larger share of the good steps than a queue.",
        threshold="by at least .05 with the interval above 0, and more than random order (refuted with the interval "
        "below 0)",
        published="no number in the paper; earlier calculation: .245, oldest first .111, random .143",
        limits=_LIMITS,
    ),
    Claim(
        id="discount-tames-noise",
        paper=PAPER,
        title="The count discount makes a noisy annotator usable",
        says="With labels right in 95 % of cases and all messages labelled, good messages earn a larger share of the "
        "return with the published exponent 3 than without a discount.",
        threshold="share larger by at least .2 with the interval above 0 (refuted with the interval below .05)",
        published="no number in the paper; earlier calculation: .46 against .16",
        limits=f"{_LIMITS} The player does not learn: one that does would seek what is wrongly paid.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Average precisions, paid steps and shares of return; see `run_all`."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(15, 9), layout="constrained")
    outer = figure.add_gridspec(2, 1, height_ratios=(1.15, 1))
    draw_precision(outer[0].subgridspec(1, len(ACCURACIES), wspace=0.02).subplots(sharey=True), frame)
    below = outer[1].subgridspec(1, 3, width_ratios=(1.2, 1.2, 0.8)).subplots()
    draw_paid(below[0], frame)
    draw_shares(below[1], frame)
    draw_mixed(below[2], frame)
    handles, names = figure.axes[0].get_legend_handles_labels()
    handles.append(figure.axes[0].plot([], [], "x", color="black", markersize=8, markeredgewidth=2)[0])
    figure.legend(handles, [*names, "an earlier calculation, one stream"], loc="outside lower center", ncols=5)
    streams = frame[frame.part == "precision"].seed.nunique()
    figure.suptitle(
        f"Which of NetHack's messages help? Learned from {streams} streams of a random player's messages, tried on "
        "another (mean and 95% interval)"
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Average precision of all models, the earlier calculation's beside ours, and the classifier at its threshold."""
    rows = []
    for labels, accuracy in product(LABELS, ACCURACIES):
        cell = {"labels": labels, "accuracy": accuracy}
        row: dict[str, float] = dict(cell)
        for model in MODELS:
            row[NAMES[model]] = of(frame, "precision", model, **cell).mean()
            row[f"{model}, earlier"] = EARLIER.get((labels, accuracy), {}).get(model, np.nan)
        row |= {f"classifier's {name}": of(frame, "fired", name, **cell).mean() for name in ("precision", "recall")}
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "classification-absorbs-noise": _absorbs(frame),
        "equal-when-perfect": _equal(frame),
        "ranking-no-better": _ranking(frame),
        "distinct-ranking-no-better": _distinct(frame),
        "ranking-needs-distinct-pairs": _needs(frame),
        "newest-first-pays-soonest": _newest(frame),
        "discount-tames-noise": _discount(frame),
    }


def _verdict(frame: pd.DataFrame, supported: bool, refuted: bool, *rest) -> Verdict:
    """Fewer than three streams decide nothing."""
    enough = frame[frame.part == "precision"].seed.nunique() >= LEAST_SEEDS
    outcome = "undecided" if not enough else "refuted" if refuted else "supported" if supported else "undecided"
    return Verdict(outcome, *rest)


def _lead(frame: pd.DataFrame, model: str, other: str, **cell: float) -> np.ndarray:
    return mean_interval(of(frame, "precision", model, **cell) - of(frame, "precision", other, **cell))


def _mean_lead(frame: pd.DataFrame, model: str) -> tuple[np.ndarray, tuple[int, float], float]:
    """Lead over classification in the mean of all cells, by stream; the cell where it is largest, and that."""
    cells = list(product(LABELS, ACCURACIES))
    leads = np.array(
        [
            of(frame, "precision", model, labels=labels, accuracy=accuracy)
            - of(frame, "precision", "classification", labels=labels, accuracy=accuracy)
            for labels, accuracy in cells
        ]
    )
    best = int(leads.mean(axis=1).argmax())
    return mean_interval(leads.mean(axis=0)), cells[best], float(leads.mean(axis=1)[best])


def _absorbs(frame: pd.DataFrame) -> Verdict:
    cell = {"labels": 600, "accuracy": 0.95}
    found = _lead(frame, "classification", "retrieval", **cell)
    both = [of(frame, "precision", model, **cell).mean() for model in ("classification", "retrieval")]
    return _verdict(
        frame,
        found[0] >= 0.3 and found[1] > 0.05,
        found[2] < 0.05,
        f"lead of classification {found[0]:.2f}",
        *for_verdict(found),
        f"Average precision {both[0]:.2f} against {both[1]:.2f}: of the everyday messages some are labelled wrongly, "
        "and retrieval pays them at every step.",
    )


def _equal(frame: pd.DataFrame) -> Verdict:
    few, many = (_lead(frame, "classification", "retrieval", labels=labels, accuracy=1.0) for labels in (200, 1800))
    seen = of(frame, "stream", "good test steps seen in training").mean()
    return _verdict(
        frame,
        many[0] <= 0.15 and many[0] < few[0],
        many[0] > 0.3,
        f"lead of classification with 1800 perfect labels {many[0]:.2f}",
        *for_verdict(many),
        f"The lead falls from {few[0]:.2f} at 200 labels to {many[0]:.2f}; {1 - seen:.0%} of the good steps of the "
        "test show a message that training never saw.",
    )


def _ranking(frame: pd.DataFrame) -> Verdict:
    found, (labels, accuracy), best = _mean_lead(frame, "ranking")
    return _verdict(
        frame,
        found[2] < 0,
        found[1] > 0,
        f"mean lead of ranking as released {found[0]:+.2f}",
        *for_verdict(found),
        f"Ranking is {abs(found[0]):.2f} {'behind' if found[0] < 0 else 'ahead'} in the mean of all cells, and at best "
        f"{best:+.2f} ({labels} labels, right {accuracy:.0%}).",
    )


def _distinct(frame: pd.DataFrame) -> Verdict:
    found, (labels, accuracy), best = _mean_lead(frame, "ranking, distinct")
    perfect = [_lead(frame, "ranking, distinct", "classification", labels=each, accuracy=1.0)[0] for each in LABELS]
    return _verdict(
        frame,
        found[0] <= 0.02,
        found[1] > 0.02,
        f"mean lead of ranking with distinct pairs {found[0]:+.2f}",
        *for_verdict(found),
        f"{found[0]:+.2f} in the mean of all cells, {best:+.2f} at {labels} labels right {accuracy:.0%}; with a "
        f"perfect annotator {min(perfect):+.2f} to {max(perfect):+.2f}: what ranking gains, it gains where there are "
        "errors.",
    )


def _needs(frame: pd.DataFrame) -> Verdict:
    found = _lead(frame, "ranking, distinct", "ranking", labels=600, accuracy=1.0)
    mixed = {name: frame[(frame.part == "mixed") & (frame.of == name)].value.mean() for name in MODELS[2:]}
    return _verdict(
        frame,
        found[0] >= 0.1 and found[1] > 0,
        found[2] < 0.1,
        f"gain in average precision {found[0]:.2f}",
        *for_verdict(found),
        f"{mixed['ranking']:.1%} of the pairs of all messages and {mixed['ranking, distinct']:.1%} of the pairs of "
        f"distinct ones tell a good message from another; average precision rises by {found[0]:.2f}.",
    )


def _newest(frame: pd.DataFrame) -> Verdict:
    paid = {order: of(frame, "paid", order, labels=1) for order in ("lifo", "fifo", "random")}
    found, over_random = (mean_interval(paid["lifo"] - paid[other]) for other in ("fifo", "random"))
    return _verdict(
        frame,
        found[0] >= 0.05 and found[1] > 0 and over_random[1] > 0,
        found[2] < 0,
        f"newest first ahead of oldest first by {found[0]:+.3f}",
        *for_verdict(found),
        f"Shares paid: newest first {paid['lifo'].mean():.2f}, oldest first {paid['fifo'].mean():.2f}, random "
        f"{paid['random'].mean():.2f} at one label for 1000 steps.",
    )


def _discount(frame: pd.DataFrame) -> Verdict:
    shares = [of(frame, "share", "", accuracy=0.95, exponent=exponent) for exponent in (0.0, 3.0)]
    found = mean_interval(shares[1] - shares[0])
    return _verdict(
        frame,
        found[0] >= 0.2 and found[1] > 0,
        found[2] < 0.05,
        f"gain in the share {found[0]:.2f}",
        *for_verdict(found),
        f"Good messages earn {shares[1].mean():.2f} of the return with exponent 3 and {shares[0].mean():.2f} without a "
        f"discount, over {len(shares[0])} annotators.",
    )
