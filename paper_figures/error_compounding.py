"""Step scores against one outcome score as solutions grow: theory through simulated points."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import special, stats

from paper_figures.error_compounding_panels import (
    EARLIER,
    LENGTHS,
    MAJORITY,
    RULES,
    SHARES,
    SIGNALS,
    cells_of,
    crossing_of,
    draw_better,
    draw_blame,
    draw_corrected,
    draw_rules,
    mean_of,
    runs_of,
    theory_of,
)
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from rewardlab.process.aggregation import aggregate_steps
from rewardlab.process.error_compounding import StepDetector, chain_scores, longest_chain_ahead

TITLE = "Do step scores compound their errors as solutions grow?"

CANDIDATES, SHARE_RIGHT, WRONG_ANSWERS = 8, 0.4, 5
LEAST_GROWTH, LEAST_WIDENING, CLOSE = 0.05, 0.05, 0.015

PAPER = "2510.00492"
_KNOWN = "Simulated values of these curves were known beforehand"
CLAIMS = (
    Claim(
        id="gap-grows",
        paper=PAPER,
        title="Step scores fall behind an outcome score, the more so the longer the solution",
        says="With judgements of equal quality, best-of-8 by the lowest step score is less accurate than by an outcome "
        "score at every length, and the gap grows.",
        threshold=f"the gap's interval below 0 at every length from 2 to 40, and the gap at 40 wider than at 2 by at "
        f"least {LEAST_GROWTH:g}, interval above 0 (refuted if it does not widen)",
        published="outcome and process reward models about equal over 14 domains; errors said to compound with length",
        limits=f"{_KNOWN}. An outcome score that is as good on long solutions as on short ones is assumed, not found; "
        "one wrong step a wrong chain, and independent noise.",
    ),
    Claim(
        id="aggregation-is-to-blame",
        paper=PAPER,
        title="The loss is one of aggregation",
        says="What the lowest step loses against an outcome score at 40 steps, a better rule could win back.",
        threshold="the best rule there is (the likelihood ratio) wins back at least half of the gap in area under the "
        "curve at 40 steps (refuted if less than half, interval clear of it)",
        published="step aggregation compounds error as chains grow",
        limits="Not known beforehand. The likelihood ratio is best for this model of errors and must know its signal "
        "and noise.",
    ),
    Claim(
        id="self-correction-widens",
        paper=PAPER,
        title="Solutions that correct themselves widen the gap",
        says="Where half of the right chains hold a wrong step that is repaired later, the lowest step falls further.",
        threshold=f"best-of-8 lower than without by at least {LEAST_WIDENING:g} at every length, intervals above 0 "
        "(refuted if at some length it is not lower)",
        published="process reward models mis-handle self-correcting chains",
        limits=f"{_KNOWN}. The outcome score is assumed to be blind to a repaired step.",
    ),
    Claim(
        id="mean-below-majority",
        paper=PAPER,
        title="Averaged step scores end up worse than no scores at all",
        says="At 40 steps best-of-8 by the mean step score is less accurate than majority vote over the same 8.",
        threshold="lower, the interval of the difference below 0 (refuted if above 0)",
        published="",
        limits=f"{_KNOWN}. Majority vote depends on wrong answers being spread evenly over five values.",
    ),
    Claim(
        id="better-detector-crosses",
        paper=PAPER,
        title="A better step detector only moves the crossing",
        says="Step logits of 2 instead of 1.5 lead the outcome score on short chains and trail on long ones; logits of "
        "3 lead at every length to 40.",
        threshold="best-of-8 by the lowest step: with 2 above the outcome score at 5 steps and below at 10, with 3 "
        "above at all lengths, theory and simulated mean alike (refuted if the theory says otherwise)",
        published="",
        limits=f"{_KNOWN}. The crossing's place depends on the number of candidates.",
    ),
    Claim(
        id="theory-holds",
        paper=PAPER,
        title="Computed and simulated curves are the same",
        says="Areas under the curve and best-of-8 accuracies computed from the score's distribution are those of "
        "simulated chains.",
        threshold=f"no computed value more than {CLOSE:g} from the simulated mean (refuted if one is and its interval "
        "leaves it out)",
        published="",
        limits="The best rule and weighted voting are simulated only.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a `quantity`, `rule`, `signal`, `share` corrected, `steps` and `seed` (-1: computed by theory)."""
    questions, seeds = scale.pick(smoke=(1000, 5), small=(2000, 10), paper=(2000, 50))
    simulated = [
        row
        for seed, sequence in enumerate(np.random.SeedSequence(rng).spawn(seeds))
        for row in _simulated(questions, seed, np.random.default_rng(sequence))
    ]
    return pd.DataFrame(
        [*simulated, *_computed()], columns=["quantity", "rule", "signal", "share", "steps", "seed", "value"]
    )


def _settings() -> list[tuple[float, float]]:
    """Step signal and share of corrected chains; the first is the base case."""
    return [(1.5, 0.0), *((1.5, share) for share in SHARES[1:]), *((signal, 0.0) for signal in SIGNALS[1:])]


def _simulated(questions: int, seed: int, rng: np.random.Generator) -> list[tuple]:
    rows = []
    for steps in LENGTHS:
        right = rng.random((questions, CANDIDATES)) < SHARE_RIGHT
        answers = np.where(right, 0, rng.integers(1, WRONG_ANSWERS + 1, right.shape))
        noise = rng.normal(size=(*right.shape, steps))
        wrong_step = rng.integers(steps, size=right.shape)
        repaired_step = rng.integers(steps - 1, size=right.shape)
        luck, outcome = rng.random(right.shape), rng.normal(size=right.shape)
        rows.append(("best of 8", MAJORITY, 1.5, 0.0, steps, seed, _voted(np.ones(right.shape), answers)))
        for signal, share in _settings():
            broken = np.where(right, np.where(luck < share, repaired_step, -1), wrong_step)
            labels = np.arange(steps) != broken[..., None]
            logits = np.where(labels, signal, -signal) + noise
            base = (signal, share) == _settings()[0]
            for rule in RULES if base else ("min",):
                scores = _scores(rule, logits, np.where(right, 1.5, -1.5) + outcome)
                cell = (rule, signal, share, steps, seed)
                rows.append(("auc", *cell, _area(scores[right], scores[~right])))
                rows.append(("best of 8", *cell, _picked(scores, right)))
                if base and rule != "best":  # which is no probability to vote with
                    rows.append(("weighted vote", *cell, _voted(scores, answers)))
    return rows


def _scores(rule: str, logits: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    if rule == "outcome":
        return special.expit(outcome)
    if rule == "best":  # a wrong step is exp(-2 signal logit / noise^2) times as likely as a right one
        return -special.logsumexp(-2 * 1.5 * logits, axis=-1)
    return aggregate_steps(special.expit(logits), rule)


def _area(right: np.ndarray, wrong: np.ndarray) -> float:
    return float(stats.mannwhitneyu(right, wrong).statistic / (right.size * wrong.size))


def _picked(scores: np.ndarray, right: np.ndarray) -> float:
    return float(right[np.arange(len(right)), scores.argmax(axis=1)].mean())


def _voted(scores: np.ndarray, answers: np.ndarray) -> float:
    """Share of questions whose highest total belongs to answer 0, ties broken evenly."""
    totals = np.stack([np.where(answers == answer, scores, 0).sum(axis=1) for answer in range(WRONG_ANSWERS + 1)])
    top = totals > totals.max(axis=0) - 1e-12
    return float((top[0] / top.sum(axis=0)).mean())


def _computed() -> list[tuple]:
    rows = []
    for (signal, share), rule in itertools.product(_settings(), RULES):
        base = (signal, share) == _settings()[0]
        if rule == "best" or (not base and rule != "min"):
            continue
        for steps in _drawn_lengths():
            if steps == 1 and share:
                continue
            found = chain_scores(rule, steps, StepDetector(signal), self_corrected=share)
            cell = (rule, signal, share, steps, -1)
            rows.append(("auc", *cell, found.auc))
            rows.append(("best of 8", *cell, found.best_of_n_accuracy(CANDIDATES, SHARE_RIGHT)))
    for signal in SIGNALS[1:]:
        last = longest_chain_ahead("min", StepDetector(signal), measure=_best_of_8, most=10**6)
        rows.append(("last length ahead", "min", signal, 0.0, 0, -1, float(np.nan if last is None else last)))
    return rows


def _best_of_8(scores) -> float:
    return scores.best_of_n_accuracy(CANDIDATES, SHARE_RIGHT)


def _drawn_lengths() -> list[int]:
    """Lengths of the theory's curves: evenly on a logarithmic axis, those of the simulation among them."""
    return sorted({*LENGTHS, *np.unique(np.geomspace(1, 40, 24).round().astype(int)).tolist(), 80, 160, 320, 640})


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 8.4), layout="constrained")
    (area, best, vote), (corrected, better, blame) = figure.subplots(2, 3)
    draw_rules(area, frame, "auc", "area under the curve, right against wrong", "Telling right from wrong chains")
    draw_rules(best, frame, "best of 8", "accuracy of best-of-8", "Picking one of eight")
    draw_rules(vote, frame, "weighted vote", "accuracy of the vote", "Weighing eight votes (simulated)")
    draw_corrected(corrected, frame)
    draw_better(better, frame)
    draw_blame(blame, frame)
    seeds = int(frame.seed.max()) + 1
    figure.suptitle(
        "Step logits ±1.5 + N(0, 1), one wrong step in a wrong chain, an outcome score of the same quality.  Lines: "
        f"theory.  Points: simulation, {seeds} seeds, 95% intervals.  Ticks: earlier code.",
        fontsize=10.5,
    )
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Theory, simulation and the earlier code side by side, base case."""
    rows = []
    for (quantity, rule), earlier in EARLIER.items():
        for steps, value in zip(LENGTHS, earlier):
            cells = cells_of(frame, quantity, rule, steps)
            theory = cells[cells.seed < 0].value
            rows.append(
                {
                    "quantity": quantity,
                    "rule": RULES[rule][0] if rule in RULES else "majority vote",
                    "steps": steps,
                    "theory": float(theory.iloc[0]) if len(theory) else np.nan,
                    "simulated": float(cells[cells.seed >= 0].value.mean()),
                    "earlier code": value,
                }
            )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "gap-grows": _gap_grows(frame),
        "aggregation-is-to-blame": _blame(frame),
        "self-correction-widens": _self_correction(frame),
        "mean-below-majority": _mean_below_majority(frame),
        "better-detector-crosses": _crosses(frame),
        "theory-holds": _theory_holds(frame),
    }


def _gap_grows(frame: pd.DataFrame) -> Verdict:
    gaps = {s: runs_of(frame, "best of 8", "min", s) - runs_of(frame, "best of 8", "outcome", s) for s in LENGTHS}
    below = all(mean_interval(gap)[2] < 0 for gap in gaps.values())
    growth = mean_interval(gaps[LENGTHS[0]] - gaps[LENGTHS[-1]])
    supported = below and growth[0] >= LEAST_GROWTH and growth[1] > 0
    value, interval = for_verdict(growth)
    listed = ", ".join(f"{gap.mean():+.3f} at {steps}" for steps, gap in gaps.items())
    return Verdict(
        "supported" if supported else "refuted" if growth[1] <= 0 else "undecided",
        f"gap widens from 2 to 40 steps by {value:.3f}",
        value,
        interval,
        f"Best-of-8 by the lowest step less that by the outcome score: {listed}.",
    )


def _blame(frame: pd.DataFrame) -> Verdict:
    outcome, best, least = (runs_of(frame, "auc", rule, LENGTHS[-1]) for rule in ("outcome", "best", "min"))
    back = mean_interval((best - least) / (outcome - least))
    value, interval = for_verdict(back)
    return Verdict(
        "supported" if back[1] >= 0.5 else "refuted" if back[2] < 0.5 else "undecided",
        f"share of the gap at 40 steps that the best rule wins back {value:.2f}",
        value,
        interval,
        f"Areas at 40 steps: outcome score {outcome.mean():.3f}, best rule {best.mean():.3f}, lowest step "
        f"{least.mean():.3f}; more steps are more places to be wrong about, whatever the rule.",
    )


def _self_correction(frame: pd.DataFrame) -> Verdict:
    falls = np.stack(
        [
            runs_of(frame, "best of 8", "min", s) - runs_of(frame, "best of 8", "min", s, share=SHARES[-1])
            for s in LENGTHS
        ]
    )
    found = mean_interval(falls.T)
    least = found[:, found[0].argmin()]
    value, interval = for_verdict(least)
    enough = (found[0] >= LEAST_WIDENING).all() and (found[1] > 0).all()
    return Verdict(
        "supported" if enough else "refuted" if (found[2] < 0).any() else "undecided",
        f"least fall over lengths {value:.3f}",
        value,
        interval,
        "Best-of-8 by the lowest step falls by "
        + ", ".join(f"{fall:.3f} at {steps}" for fall, steps in zip(found[0], LENGTHS))
        + " steps where half of the right chains hold a repaired step.",
    )


def _mean_below_majority(frame: pd.DataFrame) -> Verdict:
    average, vote = (runs_of(frame, "best of 8", rule, LENGTHS[-1]) for rule in ("mean", MAJORITY))
    found = mean_interval(average - vote)
    value, interval = for_verdict(found)
    return Verdict(
        "supported" if found[2] < 0 else "refuted" if found[1] > 0 else "undecided",
        f"mean step less majority at 40 steps {value:+.3f}",
        value,
        interval,
        f"Best-of-8 by the mean is right in {average.mean():.1%}, majority vote in {vote.mean():.1%}; weighted by the "
        f"same mean, the vote is right in {mean_of(frame, 'weighted vote', 'mean', LENGTHS[-1]):.1%}.",
    )


def _crosses(frame: pd.DataFrame) -> Verdict:
    def leads(signal: float, steps: int, theory: bool) -> float:
        if theory:
            return theory_of(frame, "best of 8", "min", steps, signal) - theory_of(frame, "best of 8", "outcome", steps)
        own, other = runs_of(frame, "best of 8", "min", steps, signal), runs_of(frame, "best of 8", "outcome", steps)
        return float((own - other).mean())

    agree = [
        leads(2.0, 5, theory) > 0 > leads(2.0, 10, theory) and all(leads(3.0, s, theory) > 0 for s in LENGTHS)
        for theory in (True, False)
    ]
    two, three = (crossing_of(frame, signal) for signal in (2.0, 3.0))
    return Verdict(
        "supported" if all(agree) else "refuted" if not agree[0] else "undecided",
        f"±2 ahead up to {two:.0f} steps",
        two,
        None,
        f"By the theory step logits of 2 lead up to {two:.0f} steps, and logits of 3 up to {three:,.0f}.",
    )


def _theory_holds(frame: pd.DataFrame) -> Verdict:
    computed = frame[(frame.seed < 0) & frame.quantity.isin(("auc", "best of 8")) & frame.steps.isin(LENGTHS)]
    cells = ["quantity", "rule", "signal", "share", "steps"]
    runs = frame[frame.seed >= 0].pivot(index=cells, columns="seed", values="value")
    theory = computed.set_index(cells).value
    mean, low, high = mean_interval(runs.loc[theory.index].to_numpy().T)
    gap = np.abs(mean - theory.to_numpy())
    furthest = int(gap.argmax())
    worst, (quantity, rule, _, _, steps) = float(gap[furthest]), theory.index[furthest]
    left_out = not low[furthest] <= theory.iloc[furthest] <= high[furthest]
    outcome = "supported" if worst <= CLOSE else "refuted" if left_out else "undecided"
    return Verdict(
        outcome,
        f"largest difference {worst:.4f}",
        worst,
        None,
        f"Of {len(theory)} values the one furthest from its simulation is {quantity}, {rule}, {steps} steps.",
    )
