"""Real step scores: which rule makes a solution's score, and how much of its accuracy is the number of steps."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from environments import data
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.real_step_scores_panels import (
    BENCH,
    EARLIER,
    EVERY,
    MATH,
    MODELS,
    RULES,
    STEPS_ONLY,
    STRATA,
    draw_accuracy,
    draw_among_wrong,
    draw_lead,
    draw_strata,
)
from rewardlab.process.aggregation import aggregate_steps
from rewardlab.process.length_confound import length_confound, pairs_by_length
from rewardlab.scoring import StepScores, accuracy, read_step_pairs, read_step_scores, share_of_the_top, standing

TITLE = "Real step scores: does the product win by shortness?"

ASKED = ("min", "max", "product", "mean", "geometric_mean", "last", "sum_log_odds")  # a user's first choices

LEAST_LEAD, LITTLE_LEFT, MUCH_LEFT = 20, 0.25, 0.5

PAPER = "2410.01729"
_SOURCES = "Four process reward models of 2023 and 2024; steps as their files split them"
CLAIMS = (
    Claim(
        id="product-wins-by-shortness",
        paper=PAPER,
        title="On RewardBench's mathematics the product wins by shortness",
        says="The product of step scores beats their mean by much on RewardBench's pairs, and by little on those pairs "
        "whose two solutions have the same number of steps.",
        threshold=f"mean lead over four models at least {LEAST_LEAD} points over all pairs, and at equal number of "
        f"steps at most {LITTLE_LEFT:g} of that, the interval of this share below {MUCH_LEFT:g} (refuted if the share "
        f"is at least {MUCH_LEFT:g})",
        published="",
        limits=f"{_SOURCES}. The lead over all pairs was known beforehand, that at equal length was not; a dozen of "
        "RewardBench's 447 pairs are of equal length.",
    ),
    Claim(
        id="counting-is-as-good",
        paper=PAPER,
        title="Counting steps does as well as multiplying scores",
        says="On RewardBench's pairs few models' products are clearly better than preferring the fewer steps.",
        threshold="the product's interval above that rule, problem by problem, for at most one model of four (refuted "
        "if for three or four)",
        published="",
        limits=f"{_SOURCES}. The accuracies by product were known beforehand, that of counting only as above 70%.",
    ),
    Claim(
        id="something-is-left",
        paper=PAPER,
        title="At equal length the models still know something",
        says="Among pairs with the same number of steps the lowest step score tells right from wrong, for every model "
        "and on both benchmarks.",
        threshold="above 50% with its interval in all eight cases (refuted if in one it is below with its interval)",
        published="",
        limits=f"{_SOURCES}. Not known beforehand. A dozen of RewardBench's pairs are of equal length, and its "
        "right solutions are people's, its wrong ones a model's.",
    ),
    Claim(
        id="shortness-does-not-pay-elsewhere",
        paper=PAPER,
        title="Where shortness does not pay, the product does not win",
        says="On RewardMATH, one right solution against nine wrong ones, the product is not the rule to take.",
        threshold="the most accurate of seven rules for at most one model of four (refuted if for three or four)",
        published="",
        limits=f"{_SOURCES}. Some of these accuracies were known beforehand.",
    ),
    Claim(
        id="balance-tells-more",
        paper=PAPER,
        title="Balancing the lengths makes RewardBench's pairs say more",
        says="Accuracy over RewardBench's pairs, balanced between those whose right solution is shorter and longer, "
        "ranks models with rules as RewardMATH does; plain accuracy does so less.",
        threshold="Spearman correlation with accuracy on RewardMATH over 4 models by 7 rules higher for balanced "
        "accuracy, interval of the difference above 0 (refuted if below 0)",
        published="",
        limits=f"{_SOURCES}. Not known beforehand. The 28 cells share models and problems, and intervals are over "
        "problems; 20 of the pairs have the longer solution right.",
    ),
)


class _Counts(NamedTuple):
    """Of one scorer on one benchmark, one row a problem."""

    strict: np.ndarray
    even: np.ndarray
    won: np.ndarray
    pairs: np.ndarray


@dataclass(frozen=True)
class _Sample:
    """A benchmark, and how often each of its problems is in each resample; row 0 is the sample itself."""

    weights: np.ndarray

    def mean(self, items: np.ndarray) -> np.ndarray:
        return self.weights @ items / self.weights.sum(axis=1)

    def ratio(self, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return self.weights @ above / (self.weights @ below)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a `quantity`, `benchmark`, `model` and `rule`: `value`, and `low` and `high` of its 95% interval.

    Accuracies in %, correlations as they are. Intervals are over problems, which both benchmarks mostly share: a
    resample takes or leaves a problem in both.
    """
    steps = {
        (benchmark, model): _read(benchmark, file)
        for model, (file, _, _) in MODELS.items()
        for benchmark in (BENCH, MATH)
    }
    asked = sorted({problem for found in steps.values() for problem in found.problems})
    place = {problem: index for index, problem in enumerate(asked)}
    resamples = scale.pick(smoke=200, small=2000)
    weights = np.random.default_rng(rng).multinomial(len(asked), np.full(len(asked), 1 / len(asked)), size=resamples)
    weights = np.concatenate([np.ones((1, len(asked))), weights])
    estimates: dict[tuple[str, str, str, str], np.ndarray] = {}
    exact: dict[tuple[str, str, str, str], float] = {}
    for (benchmark, model), found in steps.items():
        sample = _Sample(weights[:, [place[problem] for problem in found.problems]])
        for rule in (*RULES, STEPS_ONLY):
            scores = _scores(found, rule)
            for quantity, values in _accuracies(sample, _counts(scores, found)).items():
                estimates[quantity, benchmark, model, rule] = 100 * values
            report = length_confound(scores, _lengths(found), _labels(found))
            exact["correlation", benchmark, model, rule] = report.correlation
            exact["among wrong", benchmark, model, rule] = report.among_wrong
            for stratum, number in zip(STRATA, report.pairs):
                exact[f"pairs, {stratum}", benchmark, model, rule] = number
    estimates |= _leads(estimates) | _rank_correlations(estimates)
    rows = [(*key, values[0], *np.percentile(values[1:], (2.5, 97.5))) for key, values in estimates.items()]
    rows += [(*key, value, np.nan, np.nan) for key, value in exact.items()]
    return pd.DataFrame(rows, columns=["quantity", "benchmark", "model", "rule", "value", "low", "high"])


def _read(benchmark: str, file: str) -> StepScores:
    if benchmark == BENCH:
        return read_step_pairs(data.path(f"rewardmath/Rewardbench/rewardbench_{file}.json"))
    return read_step_scores(data.path(f"rewardmath/RewardMATH/{file}_reward.json"))


def _scores(found: StepScores, rule: str) -> np.ndarray:
    return -_lengths(found) if rule == STEPS_ONLY else aggregate_steps(found.steps, rule, found.present)


def _lengths(found: StepScores) -> np.ndarray:
    return found.present.sum(axis=-1).astype(float)


def _labels(found: StepScores) -> np.ndarray:
    return np.broadcast_to(np.arange(found.present.shape[1]) == 0, found.present.shape[:2])


def _counts(scores: np.ndarray, found: StepScores) -> _Counts:
    place = standing(scores)
    return _Counts(accuracy(place), share_of_the_top(place), *pairs_by_length(scores, _lengths(found), _labels(found)))


def _accuracies(sample: _Sample, counts: _Counts) -> dict[str, np.ndarray]:
    parts = {
        stratum: sample.ratio(counts.won[:, which], counts.pairs[:, which]) for which, stratum in enumerate(STRATA)
    }
    return {
        "strict accuracy": sample.mean(counts.strict),
        "accuracy": sample.mean(counts.even),
        "pairs": sample.ratio(counts.won.sum(axis=1), counts.pairs.sum(axis=1)),
        **parts,
        "balanced": (parts["shorter"] + parts["longer"]) / 2,
    }


def _leads(estimates: dict) -> dict[tuple[str, str, str, str], np.ndarray]:
    """Lead of the product over the mean and over counting, and how much of the former is left at equal length."""
    leads = {}
    for benchmark in (BENCH, MATH):
        for quantity in ("pairs", *STRATA, "balanced"):
            for model in MODELS:
                product, average = (estimates[quantity, benchmark, model, rule] for rule in ("product", "mean"))
                leads[f"lead, {quantity}", benchmark, model, "product"] = product - average
            found = [leads[f"lead, {quantity}", benchmark, model, "product"] for model in MODELS]
            leads[f"lead, {quantity}", benchmark, EVERY, "product"] = np.mean(found, axis=0)
        for model in MODELS:
            product, count = (estimates["accuracy", benchmark, model, rule] for rule in ("product", STEPS_ONLY))
            leads["lead over counting", benchmark, model, "product"] = product - count
    every, alike = (leads[f"lead, {name}", BENCH, EVERY, "product"] for name in ("pairs", "alike"))
    leads["share left", BENCH, EVERY, "product"] = alike / every
    return leads


def _rank_correlations(estimates: dict) -> dict[tuple[str, str, str, str], np.ndarray]:
    """Over models by rules: accuracy on RewardMATH against RewardBench's pairs, plain and balanced."""
    cells = [(model, rule) for model in MODELS for rule in ASKED]
    aim = np.stack([estimates["accuracy", MATH, *cell] for cell in cells], axis=1)
    found = {
        quantity: _spearman(np.stack([estimates[quantity, BENCH, *cell] for cell in cells], axis=1), aim)
        for quantity in ("pairs", "balanced")
    }
    found["difference"] = found["balanced"] - found["pairs"]
    return {(f"Spearman, {quantity}", BENCH, EVERY, ""): values for quantity, values in found.items()}


def _spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rank correlation of each row."""
    first, second = (
        ranks - ranks.mean(axis=1, keepdims=True) for ranks in (rankdata(left, axis=1), rankdata(right, axis=1))
    )
    return (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(14.5, 9.2), layout="constrained")
    above, below = figure.subfigures(2, 1)
    bench, math, lead = above.subplots(1, 3, width_ratios=(1.35, 1.35, 1))
    draw_accuracy(bench, frame, BENCH, "RewardBench's mathematics: 447 pairs", 50, (0, 104))
    draw_accuracy(math, frame, MATH, "RewardMATH: one right against nine wrong", 10, (0, 30))
    bench.set_ylabel("accuracy, a tie being a mistake (%)")
    math.legend(loc="upper left", fontsize=8.5, ncols=3, columnspacing=1)
    draw_lead(lead, frame)
    bench_by_length, math_by_length, wrong = below.subplots(1, 3, width_ratios=(1, 1, 1.5))
    draw_strata(bench_by_length, frame, BENCH)
    draw_strata(math_by_length, frame, MATH)
    bench_by_length.set_ylabel("pairs won by the right solution (%)")
    math_by_length.legend(loc="lower left", fontsize=8.5, title="mean and range of four models", title_fontsize=8.5)
    draw_among_wrong(wrong, frame)
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in % by benchmark, model and rule beside separate code's, with what length has to do with it."""
    wide = frame.pivot(index=["benchmark", "model", "rule"], columns="quantity", values="value")
    rows = []
    for benchmark in (BENCH, MATH):
        for model in MODELS:
            for rule in (*RULES, STEPS_ONLY):
                cell = wide.loc[(benchmark, model, rule)]
                rows.append(
                    {
                        "benchmark": benchmark,
                        "model": model,
                        "rule": rule.replace("_", " "),
                        "accuracy": cell["strict accuracy"],
                        "separate code": EARLIER[benchmark, model].get(rule, np.nan),
                        "ties even": cell["accuracy"],
                        "in pairs": cell["pairs"],
                        "equal length": cell["alike"],
                        "balanced": cell["balanced"],
                        "with length": cell["correlation"],
                        "among wrong": cell["among wrong"],
                    }
                )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    cells = frame.set_index(["quantity", "benchmark", "model", "rule"])
    return {
        "product-wins-by-shortness": _wins_by_shortness(cells),
        "counting-is-as-good": _counting(cells),
        "something-is-left": _left(cells),
        "shortness-does-not-pay-elsewhere": _elsewhere(cells),
        "balance-tells-more": _balance(cells),
    }


def _wins_by_shortness(cells: pd.DataFrame) -> Verdict:
    lead, alike = (cells.loc[(f"lead, {name}", BENCH, EVERY, "product")] for name in ("pairs", "alike"))
    share = cells.loc[("share left", BENCH, EVERY, "product")]
    supported = lead.value >= LEAST_LEAD and share.value <= LITTLE_LEFT and share.high < MUCH_LEFT
    return Verdict(
        "supported" if supported else "refuted" if share.value >= MUCH_LEFT else "undecided",
        f"share of the product's lead left at equal length {share.value:.2f}",
        float(share.value),
        (float(share.low), float(share.high)),
        f"Product less mean: {lead.value:+.1f} points over all pairs [{lead.low:+.1f}, {lead.high:+.1f}], "
        f"{alike.value:+.1f} [{alike.low:+.1f}, {alike.high:+.1f}] where both solutions have the same number of steps; "
        f"on RewardMATH, by length of the right solution, {_by_length(cells)}.",
    )


def _by_length(cells: pd.DataFrame) -> str:
    found = [cells.loc[(f"lead, {name}", MATH, EVERY, "product")] for name in STRATA]
    shorter, alike, longer = (f"{lead.value:+.1f} [{lead.low:+.1f}, {lead.high:+.1f}]" for lead in found)
    return f"{shorter} where it is shorter, {alike} at equal length, {longer} where it is longer"


def _counting(cells: pd.DataFrame) -> Verdict:
    leads = {model: cells.loc[("lead over counting", BENCH, model, "product")] for model in MODELS}
    better = [model for model, lead in leads.items() if lead.low > 0]
    count = np.mean([cells.loc[("accuracy", BENCH, model, STEPS_ONLY)].value for model in MODELS])
    listed = ", ".join(
        f"{model} {lead.value:+.1f} [{lead.low:+.1f}, {lead.high:+.1f}]" for model, lead in leads.items()
    )
    return Verdict(
        "supported" if len(better) <= 1 else "refuted" if len(better) >= 3 else "undecided",
        f"models whose product clearly beats counting: {len(better)} of {len(MODELS)}",
        float(len(better)),
        None,
        f"Fewest steps is right in {count:.1f}% of the pairs; the product less that, in points: {listed}.",
    )


def _left(cells: pd.DataFrame) -> Verdict:
    found = {(name, model): cells.loc[("alike", name, model, "min")] for name in (BENCH, MATH) for model in MODELS}
    least = min(found, key=lambda key: found[key].value)
    below = any(cell.high < 50 for cell in found.values())
    listed = "; ".join(
        f"{name} " + ", ".join(f"{model} {found[name, model].value:.0f}" for model in MODELS) for name in (BENCH, MATH)
    )
    return Verdict(
        "supported" if all(cell.low > 50 for cell in found.values()) else "refuted" if below else "undecided",
        f"least accuracy at equal length {found[least].value:.1f}%",
        float(found[least].value),
        (float(found[least].low), float(found[least].high)),
        f"Pairs of equal length won by the lowest step, in %: {listed}.",
    )


def _elsewhere(cells: pd.DataFrame) -> Verdict:
    best = {
        model: max(ASKED, key=lambda rule, model=model: cells.loc[("accuracy", MATH, model, rule)].value)
        for model in MODELS
    }
    wins = sum(rule == "product" for rule in best.values())
    listed = ", ".join(
        f"{model} {rule.replace('_', ' ')} ({cells.loc[('accuracy', MATH, model, rule)].value:.1f}%, product "
        f"{cells.loc[('accuracy', MATH, model, 'product')].value:.1f}%)"
        for model, rule in best.items()
    )
    return Verdict(
        "supported" if wins <= 1 else "refuted" if wins >= 3 else "undecided",
        f"models whose best rule is the product: {wins} of {len(MODELS)}",
        float(wins),
        None,
        f"Best of seven rules: {listed}.",
    )


def _balance(cells: pd.DataFrame) -> Verdict:
    plain, balanced, gap = (
        cells.loc[(f"Spearman, {name}", BENCH, EVERY, "")] for name in ("pairs", "balanced", "difference")
    )
    return Verdict(
        "supported" if gap.low > 0 else "refuted" if gap.high < 0 else "undecided",
        f"difference of Spearman {gap.value:+.2f}",
        float(gap.value),
        (float(gap.low), float(gap.high)),
        f"With accuracy on RewardMATH, over {len(MODELS)} models by {len(ASKED)} rules: plain accuracy on "
        f"RewardBench's pairs correlates at {plain.value:.2f}, balanced at {balanced.value:.2f}.",
    )
