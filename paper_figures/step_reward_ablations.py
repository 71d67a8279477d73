"""What Clip-Delta leans on: a scorer that likes filler, clean scores, reward-to-go, a low threshold, an early start."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.special import softmax

from environments.reasoning.filler_chain import filler_chain
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.step_reward_study import THRESHOLD, Arm, Learner, median_interval, runs_of, train
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from rewardlab.process.filler_theory import filler_threshold
from rewardlab.process.step_world import StepWorld, evaluate_policy

TITLE = "What step rewards lean on: five things taken away"

LOOKS = {
    "raw": ("raw", VERMILLION, "s"),
    "clip": ("Clip", ORANGE, "^"),
    "delta": ("Delta", PURPLE, "D"),
    "clip_delta": ("Clip-Delta", BLUE, "o"),
}
CREDITS = {
    "reward_to_go": ("reward-to-go", BLUE, "o"),
    "full_return": ("full return", VERMILLION, "s"),
    "first_step": ("first step alone", GREEN, "^"),
}
WEIGHTS = (0.1, 0.3, 1.0)
NOISES = (0.0, 0.2, 0.4)
THRESHOLDS = (0.7, 0.85, 0.95)
STARTS = (0.05, 0.25, 0.4, 0.6, 0.8)
DISLIKED, BROKEN = 0.4, 0.22  # scores of filler, as far below the usual ones, by a model that sees through it
# separate code, earlier, 10 seeds (5 with warm starts): success, and median iterations to success .9
EARLIER_DISLIKED = {("raw", 0.1): 0.992, ("raw", 0.3): 0.802, ("clip_delta", 0.3): 0.996}
EARLIER_CREDIT = {
    ("reward_to_go", "clip_delta"): (288, 225, 175),
    ("full_return", "clip_delta"): (325, 275, 262),
    ("full_return", "delta"): (275, 250, 250),
}
EARLIER_FULL_LENGTH = (4.03, 4.84, 5.48)  # of Delta with full return, by weight
EARLIER_WARM = {0.05: 0.01, 0.26: 0.01, 0.42: 0.24, 0.57: 0.62, 0.81: 0.99}  # final success, raw at weight .3

PAPER = "2410.15115"
KNOWN = "Earlier numbers of separate code were known when the threshold was written; one small world."
CLAIMS = (
    Claim(
        id="noise-is-survived",
        paper=PAPER,
        title="Clip-Delta survives a noisy process reward model",
        says="With noise of standard deviation .2 on every prefix's score Clip-Delta still neither pads nor fails.",
        threshold="at weights .1 and .3 mean success at least that of success only less .02, and length at most 4.5 "
        "(refuted if at one the interval of success lies below)",
        published="",
        limits="Noise without bias, one draw a prefix; written before looking.",
    ),
    Claim(
        id="full-return-no-speed-up",
        paper=PAPER,
        title="With the full return as weight the speed-up vanishes",
        says="Clip-Delta's speed comes from reward-to-go; with one return a sample it is no faster than success only.",
        threshold="at weight 1 median iterations with full return at least .9 of those with success only (refuted if "
        "the interval of the ratio lies below .9)",
        published="",
        limits=KNOWN + " They said .70, so that a refutation was to be expected.",
    ),
    Claim(
        id="full-return-is-first-step",
        paper=PAPER,
        title="What the full return leaves is the first step's score",
        says="The differences add up to the first score, so the full return trains as that score alone does.",
        threshold="median iterations with full return within 15% of those of an arm paid for the first step alone, at "
        "every weight (refuted if the interval of a ratio lies outside 15%)",
        published="",
        limits="A full return adds variance, which the arm for the first step lacks; written before looking.",
    ),
    Claim(
        id="disliked-filler-is-no-danger",
        paper=PAPER,
        title="The raw reward fails only where the scorer likes filler",
        says=f"With filler scored {DISLIKED}, half a right step, the raw reward no longer pads.",
        threshold="raw at every weight: success at least that of success only less .02, length at most 5 (refuted if "
        "at one the interval of success lies below .9)",
        published="",
        limits=KNOWN + " They said .802 at weight .3. The score of filler once broken, .22, follows them; at .5 "
        "success is 0 from weight .3 on, as it then pays to break the chain.",
    ),
    Claim(
        id="threshold-too-high",
        paper=PAPER,
        title="A threshold above the scores of right steps brings filler back",
        says="With the threshold at .95 right steps, scored .8, are punished more than filler, scored .9.",
        threshold="at weight .3 filler under Clip-Delta at least .25 steps more than with threshold .7, interval of "
        "the difference above 0 (refuted if the interval lies below .1)",
        published="the paper gives no threshold; its reviewers asked",
        limits=KNOWN,
    ),
    Claim(
        id="start-decides",
        paper=PAPER,
        title="Whether the raw reward is hacked depends on where training starts",
        says="From a policy that solves 5% the raw reward at weight .3 collapses, from one that solves 80% not.",
        threshold="mean final success at most .1 from 5% and at least .9 from 80%, after 800 iterations; Clip-Delta "
        "at least .95 from everywhere (refuted if the raw reward's interval is below .5 from 80% or above .5 from 5%)",
        published="Qwen2-1.5B starts at 24.9% greedy, 16.8% sampled on MATH, and collapses",
        limits=KNOWN + " Right steps' logits are raised alike everywhere.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Three parts by column `part`: the world as it is, one whose filler is disliked, and warm starts."""
    seeds = scale.pick(smoke=3, small=10, paper=50)
    learner = Learner(iterations=scale.pick(smoke=800, small=1500))
    usual, disliked, warm = np.random.SeedSequence(rng).spawn(3)
    arms = [Arm("success_only")]
    arms += [Arm(mode, weight, noise=noise) for mode in LOOKS for weight in (0.1, 0.3) for noise in NOISES]
    arms += [Arm("clip_delta", 1.0)]
    differences = ("delta", "clip_delta")
    arms += [
        Arm(mode, weight, credit=credit)
        for mode in differences
        for credit in ("full_return", "first_step")
        for weight in WEIGHTS
    ]
    arms += [Arm(mode, 0.3, level) for mode in ("clip", "clip_delta") for level in THRESHOLDS if level != THRESHOLD]
    plain = train(filler_chain(), arms, seeds, usual, learner)
    arms = [Arm(mode, weight) for mode in ("raw", "clip", "clip_delta") for weight in WEIGHTS]
    other = train(filler_chain(filler_score=DISLIKED, broken_filler_score=BROKEN), arms, seeds, disliked, learner)
    parts = {"usual": plain, "disliked": other, "warm": _warm(seeds, warm)}
    return pd.concat([part.assign(part=name) for name, part in parts.items()], ignore_index=True)


def _warm(seeds: int, rng: np.random.SeedSequence) -> pd.DataFrame:
    """800 iterations of raw and Clip-Delta at weight .3, from policies that solve more or less already."""
    world = filler_chain()
    raised = {success: right_logits(world, success) for success in STARTS}
    arms = [Arm(mode, 0.3) for mode in ("raw", "clip_delta") for _ in STARTS]
    starts = np.stack([raised[success] for success in STARTS] * 2)
    found = train(world, arms, seeds, rng, Learner(iterations=800), start=starts)
    return found.assign(start=np.repeat(np.tile(STARTS, 2), seeds))


def right_logits(world: StepWorld, success: float) -> np.ndarray:
    """Logits `(states, actions)`, raised alike for the right action of every whole state to reach this success."""
    states, actions = world.scores.shape
    right = np.zeros((states, actions))
    levels = states // 2 - 1
    for progress in range(levels):
        right[2 * progress, progress] = 1.0
    right[2 * levels, world.action_names.index("answer")] = 1.0

    def missing(height: float) -> float:
        return float(evaluate_policy(world, softmax(height * right, axis=-1)).success) - success

    return brentq(missing, 0.0, 20.0) * right


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 8), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    (disliked, noisy, warm), (speed, length, level) = figure.subplots(2, 3)
    _draw_disliked(disliked, frame)
    _draw_noise(noisy, frame)
    _draw_warm(warm, frame)
    _draw_credit(speed, frame)
    _draw_full_length(length, frame)
    _draw_threshold(level, frame)
    seeds = runs_of(frame, part="usual").seed.nunique()
    figure.suptitle(f"Means, or medians, with 95% intervals, {seeds} seeds; crosses: separate code, earlier")
    return figure


def _bars(axes, where, values: list[np.ndarray], look: tuple[str, str, str], place: int = 0, **more) -> None:
    """Means and intervals `(3,)` each, a little aside for each `place`."""
    label, colour, marker = look
    middle, low, high = np.stack(values, axis=1)
    where = np.asarray(where, float)
    look = {"color": colour, "marker": marker, "markersize": 5, "capsize": 2, "label": label}
    axes.errorbar(where + 0.06 * place, middle, [middle - low, high - middle], **look | more)


def _category(axes, values) -> np.ndarray:
    places = np.arange(len(values))
    axes.set_xticks(places, [f"{value:g}" for value in values])
    axes.set_xlim(-0.4, len(values) - 0.6)
    return places


def _draw_disliked(axes, frame: pd.DataFrame) -> None:
    places = _category(axes, WEIGHTS)
    for shift, mode in enumerate(("raw", "clip", "clip_delta")):
        values = [mean_interval(runs_of(frame, part="disliked", mode=mode, weight=w).success) for w in WEIGHTS]
        _bars(axes, places, values, LOOKS[mode], shift - 1)
    for (_, weight), success in EARLIER_DISLIKED.items():
        axes.plot(WEIGHTS.index(weight), success, "x", color=BLACK, markersize=6, zorder=5)
    axes.set(xlabel="weight", ylabel="success", ylim=(-0.04, 1.05), title="Filler scored .4 instead of .9")
    axes.legend(loc="center left")


def _draw_noise(axes, frame: pd.DataFrame) -> None:
    places = _category(axes, NOISES)
    for shift, mode in enumerate(LOOKS):
        for weight, line in ((0.1, "-"), (0.3, "--")):
            runs = runs_of(frame, part="usual", mode=mode, weight=weight, credit="reward_to_go", threshold=THRESHOLD)
            values = [mean_interval(runs_of(runs, noise=noise).success) for noise in NOISES]
            more = {} if weight == 0.1 else {"label": None}
            _bars(axes, places, values, LOOKS[mode], shift - 1.5, linestyle=line, **more)
    axes.plot([], [], color=GREY, label="weight .1")
    axes.plot([], [], color=GREY, linestyle="--", label="weight .3")
    axes.set(xlabel="standard deviation of the noise on scores", ylabel="success", ylim=(-0.04, 1.05))
    axes.set_title("A noisy process reward model")
    axes.legend(loc="center left", bbox_to_anchor=(0, 0.68), ncols=2)


def _draw_warm(axes, frame: pd.DataFrame) -> None:
    for mode in ("clip_delta", "raw"):
        values = [mean_interval(runs_of(frame, part="warm", mode=mode, start=start).success) for start in STARTS]
        _bars(axes, STARTS, values, LOOKS[mode])
    axes.plot(list(EARLIER_WARM), list(EARLIER_WARM.values()), "x", color=BLACK, markersize=6, zorder=5)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel="success at the start", ylabel="success after 800 iterations", ylim=(-0.04, 1.05))
    axes.set_title("Where training starts, weight .3")
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.35))


def _credit_runs(frame: pd.DataFrame, mode: str, credit: str, weight: float) -> pd.DataFrame:
    where = {"mode": mode, "credit": credit, "weight": weight, "threshold": THRESHOLD, "noise": 0.0}
    return runs_of(frame, part="usual", **where)


def _success_only(frame: pd.DataFrame) -> pd.DataFrame:
    return runs_of(frame, part="usual", mode="success_only")


def _draw_credit(axes, frame: pd.DataFrame) -> None:
    places = _category(axes, WEIGHTS)
    alone = median_interval(_success_only(frame).solved)
    axes.axhline(alone[0], color=BLACK, linewidth=1, linestyle=":", label="success reward only")
    axes.axhspan(*alone[1:], color=GREY, alpha=0.15, linewidth=0)
    for shift, (credit, look) in enumerate(CREDITS.items()):
        values = [median_interval(_credit_runs(frame, "clip_delta", credit, weight).solved) for weight in WEIGHTS]
        _bars(axes, places, values, look, shift - 1)
        earlier = EARLIER_CREDIT.get((credit, "clip_delta"))
        if earlier:
            axes.plot(places + 0.06 * (shift - 1), earlier, "x", color=BLACK, markersize=6, zorder=5)
    axes.set(xlabel="weight", ylabel="iterations to success .9 (median)", ylim=(0, 480))
    axes.set_title("Clip-Delta: what a step is weighted with")
    axes.legend(loc="lower left")


def _draw_full_length(axes, frame: pd.DataFrame) -> None:
    places = _category(axes, WEIGHTS)
    for shift, (mode, credit) in enumerate(
        (("delta", "full_return"), ("delta", "first_step"), ("clip_delta", "full_return"))
    ):
        values = [mean_interval(_credit_runs(frame, mode, credit, weight).length) for weight in WEIGHTS]
        label, colour, marker = LOOKS[mode]
        first = credit == "first_step"
        look = (f"{label}, {CREDITS[credit][0]}", GREEN if first else colour, "^" if first else marker)
        _bars(axes, places, values, look, shift - 1)
    axes.plot(places - 0.06, EARLIER_FULL_LENGTH, "x", color=BLACK, markersize=6, zorder=5)
    axes.set(xlabel="weight", ylabel="steps", title="Full return: the filler that is left", ylim=(3.5, 6.5))
    axes.legend(loc="upper left")


def _draw_threshold(axes, frame: pd.DataFrame) -> None:
    places = _category(axes, THRESHOLDS)
    for shift, (mode, column) in enumerate((("clip", "success"), ("clip_delta", "success"), ("clip_delta", "filler"))):
        values = [mean_interval(_threshold_runs(frame, mode, level)[column]) for level in THRESHOLDS]
        label, colour, marker = LOOKS[mode]
        look = (f"{label}: success" if column == "success" else f"{label}: filler steps", colour, marker)
        _bars(axes, places, values, look, shift - 1, linestyle="--" if column == "filler" else "-")
    axes.plot(places[-1] + 0.06, 0.58, "x", color=BLACK, markersize=6, zorder=5)  # length 4.58, of which 4 are work
    axes.axvspan(0.5, 2.4, color=GREY, alpha=0.1, linewidth=0)
    axes.text(1.4, 0.06, "above a right step's .8", fontsize=8)
    axes.set(xlabel="threshold of Clip", ylabel="success, or filler steps", ylim=(-0.04, 1.05))
    axes.set_title("The threshold, weight .3")
    axes.legend(loc="center left", bbox_to_anchor=(0, 0.6))


def _threshold_runs(frame: pd.DataFrame, mode: str, level: float) -> pd.DataFrame:
    where = {"mode": mode, "weight": 0.3, "threshold": level, "noise": 0.0, "credit": "reward_to_go"}
    return runs_of(frame, part="usual", **where)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every arm: success, length, filler and median iterations to .9."""
    keys = ["part", "mode", "weight", "threshold", "credit", "noise", "start"]
    rows = []
    for names, runs in frame.groupby(keys, sort=False, dropna=False):
        median = float(np.median(runs.solved))
        means = {name: float(runs[name].mean()) for name in ("success", "length", "filler")}
        rows.append({**dict(zip(keys, names)), **means, "iterations to .9": median if np.isfinite(median) else np.nan})
    return pd.DataFrame(rows).rename(columns={"start": "success at the start"})


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "noise-is-survived": _noise(frame),
        "full-return-no-speed-up": _full_return(frame),
        "full-return-is-first-step": _first_step(frame),
        "disliked-filler-is-no-danger": _disliked(frame),
        "threshold-too-high": _threshold(frame),
        "start-decides": _start(frame),
    }


def _noise(frame: pd.DataFrame) -> Verdict:
    least = float(_success_only(frame).success.mean()) - 0.02
    runs = runs_of(frame, part="usual", mode="clip_delta", credit="reward_to_go", threshold=THRESHOLD, noise=0.2)
    cells = [runs_of(runs, weight=weight) for weight in (0.1, 0.3)]
    success = np.stack([mean_interval(cell.success) for cell in cells], axis=1)
    length = np.array([cell.length.mean() for cell in cells])
    held = (success[0] >= least).all() and (length <= 4.5).all()
    worst = success[0].argmin()
    mean, interval = for_verdict(success[:, worst])
    others = {
        mode: runs_of(frame, part="usual", mode=mode, weight=0.3, noise=0.2).success.mean() for mode in ("raw", "delta")
    }
    return Verdict(
        "supported" if held else "refuted" if (success[2] < least).any() else "undecided",
        f"least mean success {mean:.3f}",
        mean,
        interval,
        f"Success {success[0, 0]:.3f} and {success[0, 1]:.3f}, length {length[0]:.2f} and {length[1]:.2f}, at weights "
        f".1 and .3; at .3 raw scores end at {others['raw']:.3f} and Delta at {others['delta']:.3f}.",
    )


def _full_return(frame: pd.DataFrame) -> Verdict:
    alone = _success_only(frame).solved
    full, to_go = (
        median_interval(_credit_runs(frame, "clip_delta", credit, 1.0).solved, alone)
        for credit in ("full_return", "reward_to_go")
    )
    mean, interval = for_verdict(full)
    return Verdict(
        "supported" if full[0] >= 0.9 else "refuted" if full[2] < 0.9 else "undecided",
        f"iterations with full return over success only {mean:.2f}",
        mean,
        interval,
        f"At weight 1 {mean:.2f} of the iterations of success only with the full return, {to_go[0]:.2f} with "
        "reward-to-go: what is left is the score of the first step, and that is worth something, too.",
    )


def _first_step(frame: pd.DataFrame) -> Verdict:
    ratios = {}
    for mode in ("clip_delta", "delta"):
        for weight in WEIGHTS:
            full, first = (_credit_runs(frame, mode, name, weight).solved for name in ("full_return", "first_step"))
            ratios[mode, weight] = median_interval(full, first)
    found = np.stack(list(ratios.values()), axis=1)
    outside = (found[1] > 1.15) | (found[2] < 0.85)
    worst = np.abs(found[0] - 1).argmax()
    mean, interval = for_verdict(found[:, worst])
    listed = ", ".join(f"{ratio[0]:.2f} ({LOOKS[mode][0]} at {weight:g})" for (mode, weight), ratio in ratios.items())
    return Verdict(
        "supported" if (np.abs(found[0] - 1) <= 0.15).all() else "refuted" if outside.any() else "undecided",
        f"ratio of iterations farthest from 1: {mean:.2f}",
        mean,
        interval,
        f"Iterations with full return over those with the first step alone: {listed}.",
    )


def _disliked(frame: pd.DataFrame) -> Verdict:
    least = float(_success_only(frame).success.mean()) - 0.02
    cells = [runs_of(frame, part="disliked", mode="raw", weight=weight) for weight in WEIGHTS]
    success = np.stack([mean_interval(cell.success) for cell in cells], axis=1)
    length = np.array([cell.length.mean() for cell in cells])
    held = (success[0] >= least).all() and (length <= 5).all()
    worst = success[0].argmin()
    mean, interval = for_verdict(success[:, worst])
    clip = runs_of(frame, part="disliked", mode="clip").success.mean()
    padded = filler_threshold(filler_score=DISLIKED, answer_score=0.9, hazard=1 / 12)
    listed = ", ".join(f"{s:.3f} and {n:.2f} at {w:g}" for s, n, w in zip(success[0], length, WEIGHTS))
    return Verdict(
        "supported" if held else "refuted" if (success[2] < 0.9).any() else "undecided",
        f"least mean success {mean:.3f}, at weight {WEIGHTS[worst]:g}",
        mean,
        interval,
        f"Success and length of the raw reward: {listed}; in theory it pads a solved state above weight "
        f"{padded:.2f} now. Clip gives up as before ({clip:.3f}).",
    )


def _threshold(frame: pd.DataFrame) -> Verdict:
    high, usual = (_threshold_runs(frame, "clip_delta", level).filler.to_numpy() for level in (0.95, THRESHOLD))
    mean, interval = for_verdict(mean_interval(high - usual))
    held = mean >= 0.25 and interval[0] > 0
    between = _threshold_runs(frame, "clip_delta", 0.85)
    return Verdict(
        "supported" if held else "refuted" if interval[1] < 0.1 else "undecided",
        f"filler steps added {mean:.2f}",
        mean,
        interval,
        f"Filler {usual.mean():.2f} with threshold .7, {between.filler.mean():.2f} with .85, {high.mean():.2f} with "
        f".95; success {_threshold_runs(frame, 'clip_delta', 0.95).success.mean():.3f} with the last.",
    )


def _start(frame: pd.DataFrame) -> Verdict:
    raw = np.stack([mean_interval(runs_of(frame, part="warm", mode="raw", start=s).success) for s in STARTS], axis=1)
    clean = np.array([runs_of(frame, part="warm", mode="clip_delta", start=s).success.mean() for s in STARTS])
    held = raw[0, 0] <= 0.1 and raw[0, -1] >= 0.9 and (clean >= 0.95).all()
    wrong = raw[2, -1] < 0.5 or raw[1, 0] > 0.5
    mean, interval = for_verdict(raw[:, -1])
    listed = ", ".join(f"{value:.2f} from {start:g}" for value, start in zip(raw[0], STARTS))
    return Verdict(
        "supported" if held else "refuted" if wrong else "undecided",
        f"mean success of the raw reward from {STARTS[-1]:g}: {mean:.3f}",
        mean,
        interval,
        f"The raw reward ends at {listed}; Clip-Delta at {clean.min():.3f} or more from everywhere.",
    )
