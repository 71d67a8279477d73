"""Good in both of two respects: add the rewards, or add their log-sigmoids?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.response_set_study import (
    KNOWN_BEFORE,
    PROMPTS,
    SEEDS,
    at_equal_kl,
    draw_expected,
    draw_lines,
    draw_sets,
    gap,
    judge,
    smallest,
)
from paper_figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION
from rewardlab.exact import KLMatch
from rewardlab.transforms import (
    conjunction,
    log_sigmoid,
    minimum,
    quantile_reference,
    rank_reward,
    sigmoid,
    weighted_sum,
    z_score,
)

TITLE = "Good in every respect: transform, then add"

RESPONSES = 512
KLS = (0.5, 1.0, 2.0, 3.0)
DECIDED_AT, LEAST = (2.0, 3.0), 0.05
CORRELATIONS = (-0.5, 0.0)
RAW, LOG_SIGMOIDS, OF_THE_SUM = "sum of raw rewards", "sum of log-sigmoids", "log-sigmoid of the sum"
Z_SCORES, MINIMUM, SIGMOIDS = "sum of z-scores", "minimum, centred", "sum of sigmoids"
LOOKS = {
    RAW: (BLACK, "o", "-"),
    LOG_SIGMOIDS: (BLUE, "s", "-"),
    OF_THE_SUM: (VERMILLION, "v", "--"),
    Z_SCORES: (PURPLE, "P", ":"),
    MINIMUM: (ORANGE, "D", "--"),
    SIGMOIDS: (GREEN, "^", "--"),
}
EXPECTED = {  # good in both, and win rate of the worse property, from an independent calculation of the same toy
    (-0.5, 2.0): (0.049, 0.410, 0.120, 0.607, 0.043, 0.425, 0.140, 0.603, 0.182, 0.658, 0.132, 0.486),
    (-0.5, 3.0): (0.064, 0.409, 0.239, 0.702, 0.072, 0.419, 0.221, 0.670, 0.333, 0.751, 0.223, 0.580),
    (0.0, 2.0): (0.302, 0.668, 0.411, 0.764, 0.258, 0.664, 0.415, 0.747, 0.481, 0.779, 0.442, 0.727),
    (0.0, 3.0): (0.396, 0.721, 0.660, 0.856, 0.393, 0.716, 0.576, 0.822, 0.699, 0.862, 0.632, 0.823),
}
_CELLS = "at KL 2 and 3 for correlations -0.5 and 0"
_LIMITS = "Two properties, one of 2.5 times the scale of the other; rewards are the truth. "

CLAIMS = (
    Claim(
        id="transform-then-add",
        paper="2402.00742",
        title="Adding log-sigmoids gets responses that are good in both respects",
        says="At equal KL the sum of log-sigmoids answers well in both respects more often than the sum of raw "
        "rewards, and than the log-sigmoid of that sum.",
        threshold=f"probability of beating both 85% quantiles at least {LEAST:g} higher than either rival's {_CELLS}, "
        "95% intervals over seeds above 0 (refuted if one lies below 0)",
        published="substantially better helpful and harmless trade-off (a curve, no number)",
        limits=f"{_LIMITS}Not so at small KL: at correlation 0 the sum of log-sigmoids is behind the raw sum at KL 0.5 "
        "(.103 against .115) and hardly ahead at KL 1 (.187 against .184). Nor does it take log-sigmoids: up to KL 2 "
        "sums of z-scores (.145 against .124 and .418 against .412 at KL 2) and of sigmoids beat both quantiles more "
        "often. " + KNOWN_BEFORE,
    ),
    Claim(
        id="worst-property-rises",
        paper="2402.00742",
        title="The worse of the two properties improves more",
        says="At equal KL the sum of log-sigmoids has a higher mean win rate in the response's worse property than the "
        "sum of raw rewards.",
        threshold=f"95% interval over seeds of the gap above 0 {_CELLS} (refuted if one lies below 0)",
        published="",
        limits=f"{_LIMITS}Not its own merit: the centred minimum raises the worse property more at every KL, the sum "
        "of z-scores up to KL 1. " + KNOWN_BEFORE,
    ),
    Claim(
        id="best-log-probability",
        paper="2402.00742",
        title="Nothing has a higher expected log-probability of being good in both",
        says="Of all policies as near the base, the tilt by the sum of log-sigmoids has the highest expectation of it.",
        threshold="no other method above it by more than 1e-9 for any seed, correlation and KL (refuted otherwise)",
        published="the objective that is optimised",
        limits="A theorem, and so a check of the calculation; that properties are independent is assumed.",
    ),
    Claim(
        id="hard-and",
        paper="2402.00742",
        title="The sum of log-sigmoids is best at beating both thresholds",
        says="Of all six methods the sum of log-sigmoids most often beats both 85% quantiles.",
        threshold=f"95% interval over seeds of its gap to each other method above 0 {_CELLS} (refuted if one lies "
        "below 0)",
        published="",
        limits="A hard threshold is not what a log-probability measures; it favours the centred minimum at every KL, "
        "and sums of z-scores and of sigmoids up to KL 2. " + KNOWN_BEFORE,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a correlation, method, mean KL and seed: how good the policy's responses are in both properties."""
    prompts = scale.pick(**PROMPTS)
    (normal,) = draw_sets(lambda g: (g.normal(size=(prompts, 2, RESPONSES)),), rng, scale.pick(**SEEDS))
    first, own = np.moveaxis(normal, 2, 0)
    frames = []
    for correlation in CORRELATIONS:
        second = correlation * first + np.sqrt(1 - correlation**2) * own
        frames.append(_at(np.stack([2.5 * first, second])).assign(correlation=correlation))
    return pd.concat(frames, ignore_index=True)


def _at(rewards: np.ndarray) -> pd.DataFrame:
    """All methods on rewards `(2, seeds, prompts, responses)`."""
    reference, total = quantile_reference(rewards), weighted_sum(rewards)
    log_good = conjunction(log_sigmoid(rewards, reference))
    flat = rewards.reshape(-1, RESPONSES)
    utilities = {
        RAW: total,
        LOG_SIGMOIDS: log_good,
        OF_THE_SUM: log_sigmoid(total, quantile_reference(total)),
        Z_SCORES: weighted_sum(z_score(flat).reshape(rewards.shape)),
        MINIMUM: minimum(rewards - reference),
        SIGMOIDS: weighted_sum(sigmoid(rewards, reference)),
    }
    both = (rewards >= reference).all(axis=0)
    worse = minimum(rank_reward(flat).reshape(rewards.shape))

    def measure(match: KLMatch) -> dict[str, np.ndarray]:
        probs = np.exp(match.log_probs)
        values = {"both": both, "worse": worse, "log_good": log_good}
        return {name: (probs * value).sum(axis=-1).mean(axis=-1) for name, value in values.items()}

    return at_equal_kl(utilities, KLS, measure)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    labels = {"both": "probability of beating both 85% quantiles", "worse": "mean win rate in the worse property"}
    for row, (column, label) in zip(panels, labels.items()):
        for axes, correlation in zip(row, CORRELATIONS):
            draw_lines(axes, frame[frame.correlation == correlation], column, LOOKS)
            draw_expected(axes, _expected(correlation, list(labels).index(column)), LOOKS)
            axes.set_title(f"Correlation of the properties: {correlation:g}")
        row[0].set_ylabel(label)
    for axes in panels[0]:
        axes.set_xlabel("")
    figure.suptitle(f"Exact policies at equal KL; bars: 95% interval over {frame.seed.nunique()} seeds")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _expected(correlation: float, place: int) -> dict[tuple[str, float], float]:
    """Numbers expected beforehand by method and KL: good in both (place 0) or the worse property (place 1)."""
    cells = {kl: numbers for (where, kl), numbers in EXPECTED.items() if where == correlation}
    return {(method, kl): row[2 * i + place] for kl, row in cells.items() for i, method in enumerate(LOOKS)}


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Both measures beside the numbers expected beforehand, and the expected log-probability of being good in both."""
    means = frame.groupby(["correlation", "kl", "method"])[["both", "worse", "log_good"]].mean()
    rows = []
    for correlation, kl in EXPECTED:
        for method in LOOKS:
            ours, expected = means.loc[correlation, kl, method], [_expected(correlation, i)[method, kl] for i in (0, 1)]
            row = {"correlation": correlation, "mean KL": kl, "method": method}
            row |= {"good in both": ours.both, "good in both, expected": expected[0]}
            row |= {"worse property": ours.worse, "worse property, expected": expected[1]}
            rows.append(row | {"log-probability of good in both": ours.log_good})
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    rivals = _gaps(frame, "both", [RAW, OF_THE_SUM])
    others = _gaps(frame, "both", [method for method in LOOKS if method != LOG_SIGMOIDS])
    worse = _gaps(frame, "worse", [RAW])
    wide = frame.pivot_table(index=["correlation", "kl", "seed"], columns="method", values="log_good")
    excess = float(wide.drop(columns=LOG_SIGMOIDS).sub(wide[LOG_SIGMOIDS], axis=0).to_numpy().max())
    return {
        "transform-then-add": Verdict(
            judge(rivals, least=LEAST),
            f"smallest of 8 gaps: {smallest(rivals)[0]:.3f}",
            *smallest(rivals),
            f"At KL 3 and correlation -0.5 {_listed(frame, 'both', -0.5, [LOG_SIGMOIDS, RAW, OF_THE_SUM])}.",
        ),
        "worst-property-rises": Verdict(
            judge(worse),
            f"smallest of 4 gaps: {smallest(worse)[0]:.3f}",
            *smallest(worse),
            f"At KL 3 and correlation -0.5 {_listed(frame, 'worse', -0.5, [LOG_SIGMOIDS, RAW])}.",
        ),
        "best-log-probability": Verdict(
            "supported" if excess <= 1e-9 else "refuted",
            f"largest excess of another method: {excess:.3f}",
            excess,
            None,
            f"The nearest of all others stays {-excess:.3f} below it.",
        ),
        "hard-and": Verdict(
            judge(others),
            f"smallest of 20 gaps: {smallest(others)[0]:.3f}",
            *smallest(others),
            f"At KL 3 and correlation 0 {_listed(frame, 'both', 0.0, [LOG_SIGMOIDS, MINIMUM])}: who wants the hard "
            "'and' should optimise the centred minimum.",
        ),
    }


def _gaps(frame: pd.DataFrame, column: str, others: list[str]) -> np.ndarray:
    """Gaps of the sum of log-sigmoids to other methods at the deciding KLs, `(3, correlations x others x KLs)`."""
    parts = [frame[frame.correlation == correlation] for correlation in CORRELATIONS]
    cells = [gap(part, column, LOG_SIGMOIDS, other, DECIDED_AT) for part in parts for other in others]
    return np.concatenate(cells, axis=1)


def _listed(frame: pd.DataFrame, column: str, correlation: float, methods: list[str]) -> str:
    means = frame[(frame.kl == 3) & (frame.correlation == correlation)].groupby("method")[column].mean()
    return ", ".join(f"the {method} has {means[method]:.2f}" for method in methods)
