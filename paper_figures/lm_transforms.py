"""Raw or log-sigmoid on a language model: gold against divergence while a flawed reward is optimised."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from llm_scale.experiments.lm_transforms import ARMS, EXPERIMENT, GROUP, JUDGE, LEARNED, RAW, REWARDS, START
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.style import BLACK, BLUE, ORANGE

TITLE = "Raw reward or its log-sigmoid at equal KL, on a language model"
EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")

SEEDS, ROWS = 3, 20
FALL = 0.1
WINDOW = 3  # rows of two steps each, averaged
TOO_FEW = "too few seeds or steps"
_ENOUGH = f"undecided with fewer than {SEEDS} seeds or {2 * ROWS} steps, or where an arm does not get as far"
_AT = (
    "gold at the KL where the raw reward's mean curve is highest, and at twice that KL: 95% interval of the difference "
    f"over seeds above 0 at both (refuted if it lies below 0 at either; {_ENOUGH})"
)
_SMALL = (
    "A model of 22 thousand weights and 16 sums; KL grows with training, without a penalty, and curves of different "
    "seeds are read off by interpolation between means of six steps."
)
LOOKS = {RAW: (BLACK, "-"), START: (BLUE, "-"), GROUP: (ORANGE, "--")}

CLAIMS = (
    Claim(
        id="learned-reward",
        paper="2402.00742",
        title="On a learned reward, the log-sigmoid gains more gold at equal KL",
        says="Trained on the log-sigmoid of a learned reward above the first policy's 85% quantile for the prompt, a "
        "policy has more gold at equal KL than one trained on the raw reward.",
        threshold=_AT,
        published="higher win rates at equal KL, without a number",
        limits=_SMALL,
    ),
    Claim(
        id="known-flaw",
        paper="2402.00742",
        title="So it does on the judge's own reward, whose flaw is known exactly",
        says="The same with the reward that the preferences were drawn from: right or wrong, plus a liking for length.",
        threshold=_AT,
        published="higher win rates at equal KL, without a number",
        limits=_SMALL,
    ),
    Claim(
        id="group-quantile",
        paper="2402.00742",
        title="Centring at the group's quantile will do",
        says="The same where the reference is the 85% quantile of the group of samples, which moves with the policy "
        "and needs no answers of the first one; on the learned reward.",
        threshold=_AT,
        published="",
        limits=_SMALL + " A group has 8 samples, so the quantile lies between its two best.",
    ),
    Claim(
        id="keeps-the-hack",
        paper="2402.00742",
        title="Its limit: enough optimisation still finds the hack",
        says="A monotone transform leaves the padded answer the best of all; trained on, gold falls from its peak with "
        "the log-sigmoid, too.",
        threshold=f"judge's own reward: gold at its peak less gold at the end at least {FALL:g} with the 95% interval "
        f"over seeds above {FALL:g} (refuted if it lies below; {_ENOUGH.split(', or')[0]})",
        published="",
        limits=_SMALL + " That the peak is at least as high as the end is so by construction: hence the margin. The "
        "training on the judge's reward was doubled to 96 steps after a first look, at which gold had fallen by .09.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row for two steps of each reward, arm and seed."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def curves(frame: pd.DataFrame, reward: str, arm: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Each seed's gold against the highest KL so far, both averaged over a window."""
    found = {}
    for seed, rows in frame[(frame.reward == reward) & (frame.arm == arm)].groupby("seed"):
        means = rows.sort_values("step")[["kl", "gold"]].rolling(WINDOW, min_periods=1).mean()
        found[seed] = np.maximum.accumulate(means.kl.to_numpy()), means.gold.to_numpy()
    return found


def at_kl(frame: pd.DataFrame, reward: str, arm: str, kls: np.ndarray) -> np.ndarray:
    """Gold of every seed at some KLs, (seeds, KLs); NaN where a run does not get so far."""
    return np.stack([_first_crossings(kls, *curve) for _, curve in sorted(curves(frame, reward, arm).items())])


def _first_crossings(kls: np.ndarray, kl: np.ndarray, gold: np.ndarray) -> np.ndarray:
    rising = np.concatenate([[True], np.diff(kl) > 0])
    return np.interp(kls, kl[rising], gold[rising], right=np.nan)


def raw_peak(frame: pd.DataFrame, reward: str) -> float:
    """KL at which the mean gold of the raw reward is highest, as far as all its seeds get."""
    runs = curves(frame, reward, RAW).values()
    grid = np.linspace(max(kl[0] for kl, _ in runs), min(kl[-1] for kl, _ in runs), 400)
    return float(grid[np.argmax(at_kl(frame, reward, RAW, grid).mean(0))])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    if not _enough(frame):
        few = Verdict("undecided", TOO_FEW, float("nan"), None, f"Undecided: {TOO_FEW}.")
        return {claim.id: few for claim in CLAIMS}
    return {
        "learned-reward": _more_gold(frame, LEARNED, START),
        "known-flaw": _more_gold(frame, JUDGE, START),
        "group-quantile": _more_gold(frame, LEARNED, GROUP),
        "keeps-the-hack": _falls(frame),
    }


def _enough(frame: pd.DataFrame) -> bool:
    return frame.seed.nunique() >= SEEDS and frame.groupby(["reward", "arm", "seed"]).size().min() >= ROWS


def _more_gold(frame: pd.DataFrame, reward: str, arm: str) -> Verdict:
    peak = raw_peak(frame, reward)
    places = np.array([peak, 2 * peak])
    raw, ours = (at_kl(frame, reward, one, places) for one in (RAW, arm))
    gaps = ours - raw
    if np.isnan(gaps).any():
        why = "not every run gets to twice the KL of raw's peak"
        return Verdict("undecided", why, float("nan"), None, f"Undecided: {why}.")
    found = mean_interval(gaps)
    _, low, high = found
    outcome = "supported" if (low > 0).all() else "refuted" if (high < 0).any() else "undecided"
    sentence = (
        f"At KL {peak:.2f}, raw's best, gold is {ours[:, 0].mean():.3f} against {raw[:, 0].mean():.3f} raw; at twice "
        f"that, {ours[:, 1].mean():.3f} against {raw[:, 1].mean():.3f}."
    )
    statistic = f"more gold at KL {peak:.2f} and twice that: {found[0, 0]:+.3f}, {found[0, 1]:+.3f}"
    least = int(np.argmin(low))
    return Verdict(outcome, statistic, *for_verdict(found[:, least]), sentence)


def _falls(frame: pd.DataFrame) -> Verdict:
    runs = [gold for _, gold in curves(frame, JUDGE, START).values()]
    mean, low, high = (float(part) for part in mean_interval(np.array([gold.max() - gold[-1] for gold in runs])))
    decided = "supported" if low > FALL else "refuted" if high < FALL else "undecided"
    own = frame[(frame.reward == JUDGE) & (frame.arm == START)]
    last = own[own.step == own.step.max()]
    return Verdict(
        decided,
        f"gold below its peak by {mean:.3f}",
        mean,
        (low, high),
        f"Gold falls by {mean:.2f} from its peak; in the end answers hold {last.padding.mean():.1f} words of padding, "
        f"at a KL of {last.kl.mean():.1f}.",
    )


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Gold at raw's peak and at twice its KL, the peak of each arm, and its end."""
    rows = []
    for reward in REWARDS:
        peak = raw_peak(frame, reward)
        for arm in ARMS:
            gold = at_kl(frame, reward, arm, np.array([peak, 2 * peak])).mean(0)
            own = frame[(frame.reward == reward) & (frame.arm == arm)]
            last = own[own.step == own.step.max()]
            rows.append(
                {
                    "reward": reward,
                    "arm": arm,
                    "KL at raw's peak": peak,
                    "gold there": gold[0],
                    "gold at twice that KL": gold[1],
                    "highest gold": np.mean([run.max() for _, run in curves(frame, reward, arm).values()]),
                    "gold at the end": last.gold.mean(),
                    "right at the end": last.right.mean(),
                    "padding at the end": last.padding.mean(),
                    "KL at the end": last.kl.mean(),
                }
            )
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 7.6), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    for (top, below), reward in zip(panels.T, REWARDS, strict=True):
        for arm in ARMS:
            _draw_gold(top, frame, reward, arm)
            own = frame[(frame.reward == reward) & (frame.arm == arm)].groupby("step")
            padding = own.padding.mean()
            below.plot(padding.index, padding, color=LOOKS[arm][0], linestyle=LOOKS[arm][1])
        peak = raw_peak(frame, reward)
        for place, text in ((peak, "raw's best"), (2 * peak, "twice")):
            top.axvline(place, color="grey", linewidth=0.8, linestyle=":")
            top.annotate(text, (place, 1), xycoords=("data", "axes fraction"), fontsize=8, rotation=90, va="top")
        top.set(xlabel="KL from the first policy (nats an answer)", title=f"Reward: {reward}")
        below.set(xlabel="step")
    panels[0, 0].set(ylabel="gold reward", ylim=(0, 1))
    panels[1, 0].set(ylabel="padding (words)")
    figure.suptitle(f"Means and 95% intervals over {frame.seed.nunique()} seeds; against KL, as far as all of them get")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_gold(axes, frame: pd.DataFrame, reward: str, arm: str) -> None:
    colour, line = LOOKS[arm]
    runs = curves(frame, reward, arm).values()
    grid = np.linspace(max(kl[0] for kl, _ in runs), min(kl[-1] for kl, _ in runs), 60)
    gold = at_kl(frame, reward, arm, grid)
    if len(gold) > 1:
        mean, low, high = mean_interval(gold)
        axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        mean = gold[0]
    axes.plot(grid, mean, color=colour, linestyle=line, label=arm)
