"""Several rewards in one: what a standardised sum forgets, and whose scale rules, against standardising each first."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import special, stats

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLUE, GREEN, GREY, ORANGE, VERMILLION
from rewardlab.transforms.advantages import mean_centred, normalise_then_sum, standardised

TITLE = "Sum then standardise, or standardise then sum?"

METHODS = {
    "sum": ("standardise the sum (GRPO)", VERMILLION, "s"),
    "each": ("standardise each, then sum (GDPO)", BLUE, "o"),
    "centred": ("centre the sum (Dr. GRPO)", GREEN, "^"),
}
LARGEST_GROUP, MOST_SIGNALS = 8, 4  # of the enumeration
SCALES = (1e-3, 1e-2, 0.1, 1.0, 10.0)  # of the length reward, in the correlations
TRAINED_SCALES = (0.01, 0.1, 1.0, 10.0)
GROUP, GROUPS, RATE, LENGTHS = 8, 8, 0.3, np.arange(1.0, 9.0)
# iterations to accuracy .9, found by separate code before this figure was written; 10 seeds
EARLIER = {"sum": (46, 51, 88, 103.5), "each": (57, 57, 57, 57), "centred": (102, 101.5, 99.5, 102)}

PAPER = "2601.05242"
CLAIMS = (
    Claim(
        id="collapse",
        paper=PAPER,
        title="A standardised sum cannot tell reward combinations apart that separate standardisation can",
        says="Over all combinations of binary rewards in a group, standardising each reward first leaves more distinct "
        "advantages than standardising their sum.",
        threshold="more at every group size 2 to 8 with two rewards and every number of rewards 2 to 4 in groups of 4 "
        "(refuted if at any it is not)",
        published="two rollouts and two binary rewards: (0, 1) and (0, 2) in sum give one pair of advantages, "
        "and two with GDPO",
        limits="A count, which says nothing of what the distinctions are worth; the centred sum is counted, too.",
    ),
    Claim(
        id="scale-rules-the-sum",
        paper=PAPER,
        title="In a standardised sum the reward of large scale is the only one heard",
        says="As one reward's scale grows, the advantage stops following the other; standardised each, it does not.",
        threshold="mean correlation with accuracy at scale 10 at most .1 with the sum and at least .5 with each "
        "standardised, the latter within .01 of that at scale .001 (refuted if the first two are the other way round)",
        published="",
        limits="Independent rewards, accuracy 3 of 10; one worked group was known beforehand.",
    ),
    Claim(
        id="sum-slows-down",
        paper=PAPER,
        title="Learning slows down with the other reward's scale under the sum, and not under separate standardisation",
        says="Iterations to accuracy .9 grow with the scale of a length reward under the sum and stay under GDPO.",
        threshold="median at scale 10 over that at .01: at least 1.5 with the sum, interval above 1, and within "
        ".95 to 1.05 with GDPO (refuted if the sum's interval is below 1 or GDPO's ratio outside .8 to 1.25)",
        published="",
        limits="A delay, not a failure: here the length reward saturates and falls silent. Numbers known beforehand.",
    ),
    Claim(
        id="never-slower",
        paper=PAPER,
        title="Separate standardisation is never the slower one",
        says="GDPO reaches accuracy .9 at least as soon as the standardised sum at every scale.",
        threshold="at most 2 iterations later in the mean at every scale (refuted if at some scale the interval of its "
        "delay is above 2)",
        published="better than GRPO in all settings of the paper",
        limits="One learning rate for all, and two rewards that do not conflict. Numbers known beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Three parts, by column `part`: distinct advantages, correlations with accuracy, and iterations to accuracy .9."""
    groups, seeds = scale.pick(smoke=(400, 4), small=(4000, 10), paper=(4000, 50))
    first, second = np.random.SeedSequence(rng).spawn(2)
    parts = {
        "distinct": _distinct_counts(),
        "correlation": _correlations(groups, np.random.default_rng(first)),
        "training": _training(seeds, 600, np.random.default_rng(second)),
    }
    return pd.concat([table.assign(part=part) for part, table in parts.items()], ignore_index=True)


def _advantages(method: str, signals: np.ndarray, epsilon: float = 1e-4) -> np.ndarray:
    """Advantages `(groups, samples)` of `signals (signals, groups, samples)`."""
    if method == "each":
        return normalise_then_sum(signals, epsilon=epsilon)
    total = signals.sum(0)
    return standardised(total, epsilon=epsilon) if method == "sum" else mean_centred(total)


def _distinct_counts() -> pd.DataFrame:
    """How many different advantage vectors, up to the order of the samples, all groups of binary rewards give."""
    sizes = [(size, 2) for size in range(2, LARGEST_GROUP + 1)] + [(4, n) for n in range(1, MOST_SIGNALS + 1) if n != 2]
    rows = []
    for samples, signals in sizes:
        groups = all_groups(samples, signals)
        rows.append(("combinations", samples, signals, groups.shape[1]))
        for method in METHODS:
            # without the trainers' epsilon, which would tell (0, 1) from (0, 2) by a part in ten thousand
            found = np.sort(_advantages(method, groups, epsilon=0.0), axis=-1)
            rows.append((method, samples, signals, len(np.unique(found.round(9) + 0.0, axis=0))))
    return pd.DataFrame(rows, columns=["method", "samples", "signals", "value"])


def all_groups(samples: int, signals: int) -> np.ndarray:
    """Every group of binary rewards up to the order of its samples, `(signals, groups, samples)`."""
    kinds = np.array(list(itertools.product((0.0, 1.0), repeat=signals)))
    chosen = np.array(list(itertools.combinations_with_replacement(range(len(kinds)), samples)))
    return np.moveaxis(kinds[chosen], -1, 0)


def _correlations(groups: int, rng: np.random.Generator) -> pd.DataFrame:
    """Mean correlation of the advantage with accuracy and with the length reward, over groups where both vary."""
    correct = (rng.random((groups, GROUP)) < 0.3).astype(float)
    length = rng.integers(1, 101, size=correct.shape).astype(float)
    varied = (correct.std(-1) > 0) & (length.std(-1) > 0)
    correct, length = correct[varied], length[varied]
    rows = []
    for scale, method in itertools.product(SCALES, METHODS):
        advantage = _advantages(method, np.stack([correct, -scale * length]))
        for of, signal in (("accuracy", correct), ("length", -length)):
            found = _rowwise_correlation(advantage, signal)
            error = 1.96 * found.std(ddof=1) / np.sqrt(len(found))
            rows.append((method, scale, of, found.mean(), found.mean() - error, found.mean() + error))
    return pd.DataFrame(rows, columns=["method", "scale", "of", "value", "low", "high"])


def _rowwise_correlation(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left, right = (part - part.mean(-1, keepdims=True) for part in (left, right))
    return (left * right).sum(-1) / np.sqrt((left**2).sum(-1) * (right**2).sum(-1))


def _training(seeds: int, steps: int, rng: np.random.Generator) -> pd.DataFrame:
    """Iterations until accuracy is .9, and the mean length in the end; a seed means the same luck in every arm."""
    arms = list(itertools.product(METHODS, TRAINED_SCALES))
    scale = np.array([size for _, size in arms])[:, None, None, None]
    ability = np.full((len(arms), seeds), special.logit(0.1))
    logits = np.zeros((len(arms), seeds, len(LENGTHS)))
    solved = np.full(ability.shape, np.inf)
    for step in range(1, steps + 1):
        accuracy, policy = special.expit(ability), special.softmax(logits, axis=-1)
        truth, draw = rng.random((2, seeds, GROUPS, GROUP))
        correct = (truth < accuracy[..., None, None]).astype(float)
        chosen = (draw[..., None] > policy.cumsum(-1)[..., None, None, :-1]).sum(-1)
        advantage = _batch_advantages([method for method, _ in arms], correct, -scale * LENGTHS[chosen])
        ability = ability + RATE * (advantage * (correct - accuracy[..., None, None])).mean((-2, -1))
        picked = chosen[..., None] == np.arange(len(LENGTHS))
        pushed = (advantage[..., None] * picked).mean((-3, -2))
        logits = logits + RATE * (pushed - policy * advantage.mean((-2, -1))[..., None])
        solved = np.where(np.isinf(solved) & (special.expit(ability) >= 0.9), step, solved)
    length = special.softmax(logits, axis=-1) @ LENGTHS
    frame = pd.DataFrame(
        [(method, size, seed) for method, size in arms for seed in range(seeds)], columns=["method", "scale", "seed"]
    )
    return frame.assign(value=np.minimum(solved, steps).ravel(), length=length.ravel())


def _batch_advantages(methods: list[str], correct: np.ndarray, brevity: np.ndarray) -> np.ndarray:
    """Advantages `(arms, seeds, groups, samples)`, each arm by its method, each run its own batch."""
    total, advantage = correct + brevity, np.empty_like(brevity)
    for method in METHODS:
        here = np.array([name == method for name in methods])
        if method == "each":  # GDPO's last step: the batch of a run is one group
            added = standardised(correct[here]) + standardised(brevity[here])
            batches = added.reshape(*added.shape[:2], -1)
            advantage[here] = standardised(batches).reshape(added.shape)
        else:
            advantage[here] = standardised(total[here]) if method == "sum" else mean_centred(total[here])
    return advantage


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    distinct, correlation, training = figure.subplots(1, 3)
    _draw_counts(distinct, _part(frame, "distinct", signals=2))
    _draw_correlations(correlation, _part(frame, "correlation"))
    _draw_training(training, _part(frame, "training"))
    seeds = int(_part(frame, "training").seed.nunique())
    figure.suptitle(f"Two rewards: accuracy and brevity; 95% intervals over groups (middle) and {seeds} seeds (right)")
    return figure


def _draw_counts(panel, frame: pd.DataFrame) -> None:
    whole = frame[frame.method == "combinations"]
    panel.plot(whole.samples, whole.value, color=GREY, linestyle=":", label="all combinations")
    for method, (label, colour, marker) in METHODS.items():
        cells = frame[frame.method == method]
        panel.plot(cells.samples, cells.value, color=colour, marker=marker, label=label)
    panel.set(xlabel="samples in the group", ylabel="distinct advantages (order ignored)", yscale="log")
    panel.set_title("Two binary rewards, all groups")
    panel.legend(loc="upper left", fontsize=8)


def _draw_correlations(panel, frame: pd.DataFrame) -> None:
    for of, line in (("accuracy", "-"), ("length", ":")):
        for method, (_, colour, marker) in METHODS.items():
            cells = frame[(frame.method == method) & (frame.of == of)]
            hollow = (
                {"markersize": 10, "markerfacecolor": "none"} if method == "sum" else {}
            )  # the centred one covers it
            panel.plot(cells.scale, cells.value, linestyle=line, color=colour, marker=marker, **hollow)
            panel.fill_between(cells.scale, cells.low, cells.high, color=colour, alpha=0.2, linewidth=0)
        name = "with accuracy" if of == "accuracy" else "with the length reward"
        panel.plot([], [], color=GREY, linestyle=line, label=name)
    panel.set(xscale="log", ylim=(-0.1, 1.2), xlabel="scale of the length reward, per token")
    panel.set(ylabel="correlation of the advantage", title="Which reward is heard")
    for height in (0.91, 0.17):
        panel.text(10, height, "GRPO and Dr. GRPO coincide", ha="right", va="bottom", fontsize=8)
    panel.text(10, 0.72, "GDPO, with either reward", ha="right", va="bottom", fontsize=8, color=BLUE)
    panel.legend(loc="upper center", fontsize=8, ncols=2)


def _draw_training(panel, frame: pd.DataFrame) -> None:
    for place, (method, (_, colour, marker)) in enumerate(METHODS.items()):
        runs = frame[frame.method == method]
        found = [_interval(runs[runs.scale == size].value, np.median) for size in TRAINED_SCALES]
        centre, low, high = np.transpose(found)
        shifted = np.array(TRAINED_SCALES) * 1.12 ** (place - 1)
        panel.errorbar(shifted, centre, yerr=[centre - low, high - centre], capsize=3, color=colour, marker=marker)
        name = "separate code, earlier" if place == 0 else None
        look = {"color": ORANGE, "marker": "_", "markersize": 14, "linestyle": "", "zorder": 0}
        panel.plot(shifted, EARLIER[method], label=name, **look)
    panel.set(xscale="log", xlabel="scale of the length reward, per token", ylim=(0, 125))
    panel.set(ylabel="iterations to accuracy .9 (median)", title="What it costs")
    panel.legend(loc="lower right", fontsize=8)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Median iterations to accuracy .9 by method and scale, beside separate code's, and mean final length."""
    rows = []
    for method, (place, size) in itertools.product(METHODS, enumerate(TRAINED_SCALES)):
        runs = _part(frame, "training", method=method, scale=size)
        rows.append(
            {
                "advantage": METHODS[method][0],
                "scale": size,
                "iterations to .9": float(runs.value.median()),
                "earlier code": float(EARLIER[method][place]),
                "final length": float(runs.length.mean()),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "collapse": _collapse(frame),
        "scale-rules-the-sum": _scale_rules(frame),
        "sum-slows-down": _slows_down(frame),
        "never-slower": _never_slower(frame),
    }


def _collapse(frame: pd.DataFrame) -> Verdict:
    counts = _part(frame, "distinct").pivot(index=["samples", "signals"], columns="method", values="value")
    judged = counts[counts.index.get_level_values("signals") > 1]
    least = float((judged["each"] / judged["sum"]).min())
    two, eight = counts.loc[(2, 2)], counts.loc[(LARGEST_GROUP, 2)]
    return Verdict(
        "supported" if (judged["each"] > judged["sum"]).all() else "refuted",
        f"least ratio of distinct advantages {least:.2f}",
        least,
        None,
        f"Groups of 2: {two['sum']:.0f} with the sum, {two['each']:.0f} with each standardised; groups of "
        f"{LARGEST_GROUP}: {eight['sum']:.0f} and {eight['each']:.0f} of {eight['combinations']:.0f}, "
        f"and {eight['centred']:.0f} where the sum is only centred.",
    )


def _scale_rules(frame: pd.DataFrame) -> Verdict:
    heard = _part(frame, "correlation", of="accuracy").set_index(["method", "scale"])
    total, each, at_first = heard.loc[("sum", 10.0)], heard.loc[("each", 10.0)], heard.loc[("each", 1e-3)]
    held = each.value >= 0.5 and abs(each.value - at_first.value) <= 0.01
    crossed = total.low > 0.1 and each.high < 0.5
    return Verdict(
        "supported" if total.value <= 0.1 and held else "refuted" if crossed else "undecided",
        f"correlation with accuracy at scale 10: sum {total.value:.3f}, each {each.value:.3f}",
        float(total.value),
        (float(total.low), float(total.high)),
        f"From scale .001 to 10 the sum goes from {heard.loc[('sum', 1e-3)].value:.2f} to {total.value:.3f}, "
        f"each standardised from {at_first.value:.3f} to {each.value:.3f}.",
    )


def _slows_down(frame: pd.DataFrame) -> Verdict:
    first, last = TRAINED_SCALES[0], TRAINED_SCALES[-1]
    ratio = {}
    for method in METHODS:
        slow, fast = (_part(frame, "training", method=method, scale=size).value for size in (last, first))
        ratio[method] = _interval(slow, _ratio_of_medians, fast)
    total, each = ratio["sum"], ratio["each"][0]
    wrong = total[2] < 1 or not 0.8 <= each <= 1.25
    right = total[0] >= 1.5 and total[1] > 1 and 0.95 <= each <= 1.05
    return Verdict(
        "refuted" if wrong else "supported" if right else "undecided",
        f"ratio of iterations: sum {total[0]:.2f}, GDPO {each:.3f}",
        total[0],
        total[1:],
        f"From scale {first:g} to {last:g} the sum needs {total[0]:.1f} times, GDPO {each:.2f} times and the centred "
        f"sum {ratio['centred'][0]:.2f} times the iterations.",
    )


def _never_slower(frame: pd.DataFrame) -> Verdict:
    delays = {}
    for size in TRAINED_SCALES:
        each, total = (
            _part(frame, "training", method=name, scale=size).sort_values("seed") for name in ("each", "sum")
        )
        delays[size] = _interval(each.value.to_numpy() - total.value.to_numpy(), np.mean)
    worst = max(delays, key=lambda size: delays[size][0])
    mean, low, high = delays[worst]
    late = any(delay[1] > 2 for delay in delays.values())
    listed = ", ".join(f"{delay[0]:+.1f} at {size:g}" for size, delay in delays.items())
    return Verdict(
        "refuted" if late else "supported" if mean <= 2 else "undecided",
        f"largest mean delay {mean:+.1f} iterations, at scale {worst:g}",
        mean,
        (low, high),
        f"GDPO against the sum, in iterations: {listed}. Where scales happen to suit accuracy, the sum is faster.",
    )


def _part(frame: pd.DataFrame, part: str, **where) -> pd.DataFrame:
    found = frame[frame.part == part]
    for column, value in where.items():
        found = found[found[column] == value]
    return found


def _ratio_of_medians(slow: np.ndarray, fast: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.median(slow, axis=axis) / np.median(fast, axis=axis)


def _interval(values: pd.Series, statistic, *others: pd.Series) -> tuple[float, float, float]:
    """The statistic with its 95% bootstrap interval over seeds; several samples are resampled together."""
    samples = tuple(np.asarray(part, float) for part in (values, *others))
    found = float(statistic(*samples))
    if all(np.ptp(part) == 0 for part in samples):  # nothing to resample
        return found, found, found
    interval = stats.bootstrap(samples, statistic, method="percentile", paired=bool(others), rng=0).confidence_interval
    return found, float(interval.low), float(interval.high)
