"""Step scores joined with the outcome: from a policy that succeeds now and then, and from one that hardly ever does."""

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import softmax

from environments.reasoning.filler_chain import filler_chain
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.step_reward_study import SOLVED, THRESHOLD, policy_gradient, same_step_advantages
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY_BLUE, VERMILLION
from rewardlab.process.credit import reward_to_go
from rewardlab.process.refine import refine
from rewardlab.process.step_outcome_join import join_outcome
from rewardlab.process.step_world import evaluate_policy, sample_episodes

TITLE = "Step scores joined with the outcome: a cure after a warm start, a push to give up after a cold one"

Rewards = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _clip_delta(scores: np.ndarray, mask: np.ndarray, correct: np.ndarray) -> np.ndarray:
    return refine(scores, mask, "clip_delta", threshold=THRESHOLD)


def _refined_then_joined(scores: np.ndarray, mask: np.ndarray, correct: np.ndarray) -> np.ndarray:
    return (_clip_delta(scores, mask, correct) + correct[..., None] - 1) * mask


def _both(scores: np.ndarray, mask: np.ndarray, correct: np.ndarray) -> np.ndarray:
    return join_outcome(scores, mask, correct) + _clip_delta(scores, mask, correct)


# step rewards of padded scores, their mask and outcomes; each is weighted, and success added to it
SCHEMES: dict[str, tuple[str, str, str, Rewards]] = {
    "success": ("success only", BLACK, "s", lambda scores, mask, correct: np.zeros(scores.shape)),
    "raw": ("raw scores", VERMILLION, "v", lambda scores, mask, correct: scores),
    "joined": ("joined with the outcome (ReNorm)", BLUE, "o", join_outcome),
    "unshifted": ("joined without the shift", ORANGE, "^", partial(join_outcome, shift=0.0)),
    "clip_delta": ("Clip-Delta", GREEN, "D", _clip_delta),
    "refined_joined": ("Clip-Delta, then joined", PURPLE, "X", _refined_then_joined),
    "both": ("joined plus Clip-Delta", SKY_BLUE, "P", _both),
}
CURES = ("refined_joined", "both")  # two readings of Clip-Delta on top of the joined reward
COLD_SCHEMES = tuple(name for name in SCHEMES if name != "unshifted")  # which only fills without the shift
WARMTH = (0.0, 1.0, 2.0, 2.5, 3.0, 4.0)  # what is added to the logits of the right steps
WEIGHT, COLD_WEIGHTS = 0.3, (0.05, 0.1, 0.3)
EPISODES, RATE, EVERY = 16, 0.5, 10
LOST = 0.05  # success below which a run has given up
# final success at weight .3 after 800 iterations by start, 5 seeds, found by separate code before this was written
EARLIER = {
    "joined": dict(zip(WARMTH, (0.0, 0.88, 1.0, 1.0, 1.0, 1.0))),
    "raw": dict(zip(WARMTH[1:], (0.01, 0.01, 0.24, 0.62, 0.99))),
}

PAPER = "2509.25598"
CLAIMS = (
    Claim(
        id="warm-starts",
        paper=PAPER,
        title="Joined with the outcome, step scores are safe where the raw ones collapse, given a warm start",
        says="From starts that succeed in 5 to 57% of episodes, the joined reward ends far above the raw scores.",
        threshold="final success at least .2 higher at each of the starts .05, .26, .42 and .57 and all intervals "
        "above 0 (refuted if no interval is above 0); weight .3, 800 iterations",
        published="+28% (3B) and +24% (7B) over baselines without RL; none known against raw step scores",
        limits="A chain of 8 states and a made-up process reward model; separate code's numbers were known beforehand.",
    ),
    Claim(
        id="cold-start",
        paper=PAPER,
        title="From a cold start the joined reward teaches to give up",
        says="Where hardly any episode succeeds every step costs 1 less its score, so the policy answers at once.",
        threshold="at least three runs in four end with success below .05 at each weight, and success alone at .9 "
        "or above (refuted if at most one in four does at any weight); uniform start, 1500 iterations",
        published="",
        limits="Ours, derived; no easy problems in the batch. First it read mean success at most .05, which one lucky "
        "run in 16 at weight .05 would decide, so it was put in shares of runs.",
    ),
    Claim(
        id="clip-delta-is-no-cure",
        paper=PAPER,
        title="Clip-Delta on top does not cure the cold start",
        says="Refining the scores before they are joined, or adding both rewards, still ends at no success.",
        threshold="at least three runs in four end with success below .05 under both readings at each weight, and "
        "Clip-Delta alone at least at .9 (refuted if at most one in four does under a reading at any weight)",
        published="",
        limits="Two readings of 'on top', clipping at .7; threshold put in shares of runs as for the cold start.",
    ),
    Claim(
        id="shift-has-no-effect",
        paper=PAPER,
        title="Taking a constant off every step's reward has no effect",
        says="Said in the paper's public review, as advantages are differences: with and without the shift of 1 the "
        "same is learned.",
        threshold="final success within .05 and length within .25 at every start (refuted if at some start the length "
        "differs by more than 1 with its interval); weight .3",
        published="",
        limits="The baseline is the mean at the same step; a critic cannot absorb what the policy can avoid either.",
    ),
    Claim(
        id="faster-than-success",
        paper=PAPER,
        title="The joined reward learns faster than success alone",
        says="From warm starts the joined reward comes to success .9 in fewer iterations than success alone.",
        threshold="in the mean over starts .26 to .81 at most .8 of the iterations, interval below 1 (refuted if the "
        "interval is above 1); a run that does not get there counts as 800",
        published="+15% (3B) and +5% (7B) exact match over RL on outcomes",
        limits="Speed in a toy stands in for accuracy at a fixed budget; one learning rate for both.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows of (part, scheme, weight, warmth, seed): start, final success and length, first iteration above .9."""
    seeds, cold, warm = scale.pick(smoke=(4, 700, 300), small=(12, 1500, 800), paper=(40, 1500, 800))
    first, second = np.random.SeedSequence(rng).spawn(2)
    from_cold = _train(list(itertools.product(COLD_SCHEMES, COLD_WEIGHTS, (0.0,))), seeds, cold, first)
    from_warm = _train(list(itertools.product(SCHEMES, (WEIGHT,), WARMTH)), seeds, warm, second)
    return pd.concat([from_cold.assign(part="cold"), from_warm.assign(part="warm")], ignore_index=True)


def _train(cells: list[tuple[str, float, float]], seeds: int, iterations: int, rng: np.random.SeedSequence):
    """Every cell (scheme, weight, warmth) with every seed, all runs in one batch; cells of a scheme are neighbours."""
    world, generator = filler_chain(), np.random.default_rng(rng)
    weight, warmth = (np.repeat([cell[part] for cell in cells], seeds) for part in (1, 2))
    runs_of = [(name, [place for place, cell in enumerate(cells) if cell[0] == name]) for name in SCHEMES]
    slices = [(name, slice(places[0] * seeds, (places[-1] + 1) * seeds)) for name, places in runs_of if places]
    logits = warmth[:, None, None] * _right_steps()
    start = evaluate_policy(world, softmax(logits, axis=-1)).success
    solved = np.full(len(weight), float(iterations))
    for iteration in range(1, iterations + 1):
        policy = softmax(logits, axis=-1)
        episodes = sample_episodes(world, policy, EPISODES, generator)
        steps = np.empty(episodes.scores.shape)
        for name, runs in slices:
            steps[runs] = SCHEMES[name][3](episodes.scores[runs], episodes.mask[runs], episodes.correct[runs])
        returns = weight[:, None, None] * reward_to_go(steps, episodes.mask) + episodes.correct[..., None]
        logits = logits + RATE * policy_gradient(policy, episodes, same_step_advantages(returns, episodes.mask))
        if iteration % EVERY == 0 or iteration == iterations:
            found = evaluate_policy(world, softmax(logits, axis=-1))
            solved = np.where(found.success > SOLVED, np.minimum(solved, iteration), solved)
    rows = [(*cell, seed) for cell in cells for seed in range(seeds)]
    frame = pd.DataFrame(rows, columns=["scheme", "weight", "warmth", "seed"])
    return frame.assign(iterations=iterations, start=start, success=found.success, length=found.length, solved=solved)


def _right_steps() -> np.ndarray:
    """1 at the steps that lead to success (solve g at level g, then answer), `(states, actions)`."""
    right = np.zeros((8, 5))
    for progress, action in enumerate((0, 1, 2, 4)):
        right[2 * progress, action] = 1.0
    return right


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 4.8), layout="constrained")
    success, length, cold = figure.subplots(1, 3)
    warm = frame[frame.part == "warm"]
    for name, (label, colour, marker, _) in SCHEMES.items():
        if name in CURES[1:]:
            continue
        cells = warm[warm.scheme == name].pivot(index="seed", columns="warmth", values=["start", "success", "length"])
        line = {"color": colour, "marker": marker, "markersize": 5, "capsize": 2, "label": label}
        for panel, column in ((success, "success"), (length, "length")):
            mean, low, high = mean_interval(cells[column].to_numpy())
            panel.errorbar(cells["start"].iloc[0], mean, yerr=[mean - low, high - mean], **line)
    starts = warm.groupby("warmth").start.first()
    for name, numbers in EARLIER.items():
        look = {"color": SCHEMES[name][1], "linestyle": "", "marker": "_", "markersize": 16, "zorder": 0}
        success.plot([starts[warmth] for warmth in numbers], numbers.values(), **look)
    success.plot([], [], color=GREY, linestyle="", marker="_", markersize=12, label="separate code, earlier")
    success.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="nothing learned")
    success.set(xlabel="success of the starting policy", ylabel="success in the end", title="What is learned")
    length.set(xlabel="success of the starting policy", ylabel="steps an episode", ylim=(0, 12.6))
    length.set_title("How much is written")
    length.axhline(4, color=GREY, linewidth=0.8, linestyle=":")
    length.text(
        0.99, 3.85, "needed", color=GREY, fontsize=8, ha="right", va="top", transform=length.get_yaxis_transform()
    )
    _draw_cold(cold, frame[frame.part == "cold"])
    figure.legend(*success.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8.5)
    seeds = int(frame.seed.nunique())
    figure.suptitle(f"Filler chain, step weight {WEIGHT} on the left; 95% intervals over {seeds} seeds")
    return figure


def _draw_cold(panel, frame: pd.DataFrame) -> None:
    for row, name in enumerate(COLD_SCHEMES):
        _, colour, marker, _ = SCHEMES[name]
        for place, weight in enumerate(COLD_WEIGHTS):
            runs = frame[(frame.scheme == name) & (frame.weight == weight)]
            mean, low, high = mean_interval(runs.success.to_numpy())
            height = row + 0.22 * (place - 1)
            panel.errorbar(mean, height, xerr=[[mean - low], [high - mean]], color=colour, marker=marker, capsize=2)
            note = f"{weight:g}: {runs.length.mean():.1f} steps"
            side = {"ha": "left", "x": high + 0.04} if mean < 0.5 else {"ha": "right", "x": low - 0.04}
            panel.text(y=height, s=note, va="center", fontsize=7.5, color=GREY, **side)
    names = [SCHEMES[name][0].replace(" with the outcome", "") for name in COLD_SCHEMES]
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    panel.set(xlim=(-0.03, 1.05), xlabel="success in the end", title="From the uniform policy, by weight")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Final success and length by scheme and start, beside separate code's numbers."""
    rows = []
    for (part, name, weight, warmth), runs in frame.groupby(["part", "scheme", "weight", "warmth"], sort=False):
        rows.append(
            {
                "reward": SCHEMES[name][0],
                "weight": weight,
                "start": float(runs.start.iloc[0]),
                "iterations": int(runs.iterations.iloc[0]),
                "final success": float(runs.success.mean()),
                "earlier code": EARLIER.get(name, {}).get(warmth, np.nan) if part == "warm" else np.nan,
                "steps": float(runs.length.mean()),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "warm-starts": _warm_starts(frame),
        "cold-start": _cold_start(frame),
        "clip-delta-is-no-cure": _no_cure(frame),
        "shift-has-no-effect": _shift(frame),
        "faster-than-success": _faster(frame),
    }


def _warm(frame: pd.DataFrame, scheme: str, column: str, warmth: tuple[float, ...] = WARMTH) -> np.ndarray:
    """(seeds, starts)."""
    runs = frame[(frame.part == "warm") & (frame.scheme == scheme)]
    return runs.pivot(index="seed", columns="warmth", values=column)[list(warmth)].to_numpy()


def _cold(frame: pd.DataFrame, scheme: str, column: str) -> np.ndarray:
    """Means by weight."""
    runs = frame[(frame.part == "cold") & (frame.scheme == scheme)]
    return runs.groupby("weight")[column].mean().to_numpy()


def _warm_starts(frame: pd.DataFrame) -> Verdict:
    starts = WARMTH[1:5]
    joined, raw = (_warm(frame, name, "success", starts) for name in ("joined", "raw"))
    mean, low, high = mean_interval(joined - raw)
    least = int(mean.argmin())
    outcome = "supported" if (mean >= 0.2).all() and (low > 0).all() else "undecided" if (low > 0).any() else "refuted"
    each = ", ".join(f"{left:.2f} and {right:.2f}" for left, right in zip(joined.mean(0), raw.mean(0)))
    return Verdict(
        outcome,
        f"least gain over the raw scores {mean[least]:.2f}",
        *for_verdict((mean[least], low[least], high[least])),
        f"Joined and raw end at success {each} from starts .05, .26, .42 and .57.",
    )


def _cold_start(frame: pd.DataFrame) -> Verdict:
    lost, length, alone = _lost(frame, "joined"), _cold(frame, "joined", "length"), _cold(frame, "success", "success")
    return Verdict(
        _given_up(lost, alone),
        f"least share of runs that give up {lost.min():.2f}",
        float(lost.min()),
        None,
        f"By weight {_listed(lost)} of the runs end without success, at {_listed(length)} steps; success alone ends "
        f"at {alone.min():.3f}.",
    )


def _no_cure(frame: pd.DataFrame) -> Verdict:
    lost = np.stack([_lost(frame, name) for name in CURES])
    alone = _cold(frame, "clip_delta", "success")
    return Verdict(
        _given_up(lost, alone),
        f"least share of runs that give up {lost.min():.2f}",
        float(lost.min()),
        None,
        f"Refined before joining {_listed(lost[0])} of the runs end without success, both added {_listed(lost[1])}; "
        f"Clip-Delta alone ends at {alone.min():.3f}.",
    )


def _given_up(lost: np.ndarray, alone: np.ndarray) -> str:
    if (lost >= 0.75).all() and (alone >= 0.9).all():
        return "supported"
    return "refuted" if (lost <= 0.25).any() else "undecided"


def _lost(frame: pd.DataFrame, scheme: str) -> np.ndarray:
    """Share of the cold runs that end without success, by weight."""
    runs = frame[(frame.part == "cold") & (frame.scheme == scheme)]
    return runs.success.lt(LOST).groupby(runs.weight).mean().to_numpy()


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _shift(frame: pd.DataFrame) -> Verdict:
    success, length = (_warm(frame, "unshifted", part) - _warm(frame, "joined", part) for part in ("success", "length"))
    mean, low, high = mean_interval(length)
    same = (np.abs(success.mean(0)) <= 0.05).all() and (np.abs(mean) <= 0.25).all()
    differs = (low > 1) | (high < -1)
    most = int(np.abs(mean).argmax())
    start = frame[frame.warmth == WARMTH[most]].start.iloc[0]
    return Verdict(
        "refuted" if differs.any() else "supported" if same else "undecided",
        f"largest difference in length {mean[most]:+.1f} steps",
        *for_verdict((mean[most], low[most], high[most])),
        f"From start {start:.2f} the policy writes {mean[most]:+.1f} steps more without the shift; success differs by "
        f"{success.mean(0)[most]:+.2f}. A constant a step is a price on length.",
    )


def _faster(frame: pd.DataFrame) -> Verdict:
    joined, alone = (_warm(frame, name, "solved", WARMTH[2:]) for name in ("joined", "success"))
    ratio = mean_interval((joined / alone).mean(1))
    each = ", ".join(f"{left:.0f} and {right:.0f}" for left, right in zip(joined.mean(0), alone.mean(0)))
    return Verdict(
        "supported" if ratio[0] <= 0.8 and ratio[2] < 1 else "refuted" if ratio[1] > 1 else "undecided",
        f"ratio of iterations to success .9: {ratio[0]:.2f}",
        *for_verdict(ratio),
        f"Mean iterations joined and with success alone, from starts .26 to .81: {each}.",
    )
