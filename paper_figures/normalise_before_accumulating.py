"""Order matters: step rewards that are normalised within the group before they are summed are farmed again."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.reasoning.filler_chain import filler_chain
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.step_reward_study import THRESHOLD, Arm, Learner, alike, runs_of, train
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from rewardlab.process.credit import reward_to_go, step_advantages
from rewardlab.process.refine import refine
from rewardlab.process.step_world import Episodes
from rewardlab.transforms.advantages import standardised

TITLE = "Normalise, then accumulate? What the order destroys"

MODES = {
    "raw": ("raw", VERMILLION, "s"),
    "clip": ("Clip", ORANGE, "^"),
    "delta": ("Delta", PURPLE, "D"),
    "clip_delta": ("Clip-Delta", BLUE, "o"),
}
ORDERS = {
    "last": "sum, add the outcome,\nthen centre and scale",
    "first": "normalise steps and outcome\ntogether, then sum",
    "apart": "normalise steps, sum,\nadd the normalised outcome",
}
WEIGHTS = (0.1, 0.3, 1.0)
RATE = 0.2  # advantages here are in standard deviations; found with the success reward alone

# A group worked by hand: a short right solution, the same with eight filler steps before its answer, and a wrong one.
SOLUTIONS = {
    "short, right": (0.8, 0.8, 0.8, 0.9),
    "padded, right": (0.8, 0.8, 0.8, *[0.9] * 8, 0.9),
    "wrong": (0.8, 0.1, 0.1, 0.1),
}
RIGHT = (1.0, 1.0, 0.0)
WORKED = {  # by hand and separate code: advantage at the first token, process rewards only
    "raw": (1.135, 5.535, -6.670),
    "clip": (1.638, 4.913, -6.551),
    "delta": (1.079, -2.157, 1.079),
    "clip_delta": (0.0, 0.0, 0.0),
}

PAPER = "2402.03300"
CLAIMS = (
    Claim(
        id="worked-group",
        paper=PAPER,
        title="Normalised first, Clip pays for filler and Delta cannot tell wrong from right",
        says="In one group of three solutions the order alone turns the advantages of Clip and Delta round.",
        threshold="normalised first: the padded solution at least 1 above the short one under Clip, and the wrong one "
        "within .01 of the short one under Delta; last: padded within .01 of short under Clip, and wrong lowest under "
        "all four (refuted if one of the first two fails)",
        published="",
        limits="One group, worked out beforehand; advantage at the first token.",
    ),
    Claim(
        id="filler-is-paid-again",
        paper=PAPER,
        title="Trained so, Clip pads instead of not",
        says="A step that Clip pays nothing for is above the mean of a group that is punished, so filler is learned.",
        threshold="Clip at weight .3: at least 3 filler steps normalised first, at most .1 last (refuted if the "
        "interval of the former lies below 1)",
        published="",
        limits="One small world, one learning rate; written before looking.",
    ),
    Claim(
        id="right-order-keeps-clip-delta",
        paper="2410.15115",
        title="Centred and scaled last, Clip-Delta keeps what it promises",
        says="With normalisation after accumulation Clip-Delta solves the task without padding at every weight.",
        threshold="mean success at least .95 and length at most 4.5 at every weight (refuted if the interval of "
        "success lies below .9 at one)",
        published="",
        limits="One small world, one learning rate; written before looking.",
    ),
    Claim(
        id="order-costs-success",
        paper=PAPER,
        title="The same rewards, the other order: success is lost",
        says="Normalised first, with the outcome among the step rewards, Clip-Delta solves less than normalised last.",
        threshold="mean success lower by at least .1 at every weight, intervals of the difference above 0 (refuted if "
        "at one the interval lies below .1)",
        published="",
        limits="One small world, one learning rate; written before looking. No baseline but the normalisation.",
    ),
)


def normalised_first(
    rewards: np.ndarray,
    mask: np.ndarray,
    outcomes: np.ndarray,
    *,
    weight: float | np.ndarray,
    apart: bool,
    epsilon: float = 1e-4,
) -> np.ndarray:
    """Process supervision as GRPO describes it: normalise all step rewards of a group together, then accumulate.

    With m the group's mean and s its spread, this adds -m / s for every step that is left: length is paid for where
    the group's rewards are negative, as Clip's are, and costs where they are positive.

    Args:
        rewards: Refined rewards of the steps, `(groups, samples, steps)`.
        mask: Whether there is a step.
        outcomes: Of the samples, `(groups, samples)`.
        weight: Of the rewards beside the outcome, one or `(groups, 1, 1)`.
        apart: Whether the outcome is normalised apart and added at the end, or paid with the last step's reward and
            normalised with all others.
        epsilon: Added to standard deviations.

    Returns:
        Advantages of the steps, 0 in the padding.
    """
    if not apart:
        ends = mask & ~np.pad(mask, [(0, 0), (0, 0), (0, 1)])[..., 1:]
        rewards = weight * rewards + ends * outcomes[..., None]
    flat, present = (part.reshape(len(rewards), -1) for part in (rewards, mask))
    to_go = reward_to_go(standardised(flat, present=present, epsilon=epsilon).reshape(rewards.shape), mask)
    return weight * to_go + standardised(outcomes, epsilon=epsilon)[..., None] * mask if apart else to_go


def normalised_last(
    scores: np.ndarray, mask: np.ndarray, outcomes: np.ndarray, mode: str, *, weight: float
) -> np.ndarray:
    """The order of `step_advantages`, for groups `(groups, samples, steps)`."""
    groups, samples, steps = scores.shape
    ids = np.repeat(np.arange(groups), samples)
    flat = scores.reshape(-1, steps), mask.reshape(-1, steps), outcomes.ravel()
    found = step_advantages(*flat, mode, weight=weight, threshold=THRESHOLD, group_ids=ids, standardise=True)
    return found.advantages.reshape(scores.shape)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Two parts by column `part`: the worked group, and the training runs."""
    seeds = scale.pick(smoke=3, small=10, paper=50)
    learner = Learner(iterations=scale.pick(smoke=500, small=800, paper=1500), rate=RATE)
    arms = [Arm("success_only"), *itertools.starmap(Arm, itertools.product(MODES, WEIGHTS))]
    world, parts = filler_chain(), [_worked()]
    for order, seed in zip(ORDERS, np.random.SeedSequence(rng).spawn(len(ORDERS))):
        found = train(world, arms, seeds, seed, learner, advantages=_by_order(order))
        parts.append(found.assign(part="training", order=order))
    return pd.concat(parts, ignore_index=True)


def _worked() -> pd.DataFrame:
    """Advantages at the first token of the worked group; normalised last with weight .3 beside the outcome."""
    steps = max(map(len, SOLUTIONS.values()))
    scores, mask = np.zeros((1, 3, steps)), np.zeros((1, 3, steps), bool)
    for place, solution in enumerate(SOLUTIONS.values()):
        scores[0, place, : len(solution)], mask[0, place, : len(solution)] = solution, True
    rows, right = [], np.array([RIGHT])
    for mode in MODES:
        refined = refine(scores, mask, mode, threshold=THRESHOLD)
        first = normalised_first(refined, mask, np.zeros((1, 3)), weight=1.0, apart=True, epsilon=0.0)
        last = normalised_last(scores, mask, right, mode, weight=0.3)
        for order, found in (("first", first), ("last", last)):
            rows += [(mode, order, name, value) for name, value in zip(SOLUTIONS, found[0, :, 0])]
    return pd.DataFrame(rows, columns=["mode", "order", "solution", "advantage"]).assign(part="worked")


def _by_order(order: str):
    """How `train` weights steps: the advantages of every arm's runs, each batch a group."""

    def advantages(arms: list[Arm], seeds: int, episodes: Episodes, scores: np.ndarray) -> np.ndarray:
        found, mask, outcomes = np.zeros(scores.shape), episodes.mask, episodes.correct.astype(float)
        if order == "last":
            for place, arm in enumerate(arms):
                runs = slice(place * seeds, (place + 1) * seeds)
                mode = "raw" if arm.mode == "success_only" else arm.mode  # whose weight is 0
                found[runs] = normalised_last(scores[runs], mask[runs], outcomes[runs], mode, weight=arm.weight)
            return found
        for first, last, arm in alike(arms):
            if arm.mode != "success_only":
                runs = slice(first * seeds, last * seeds)
                found[runs] = refine(scores[runs], mask[runs], arm.mode, threshold=THRESHOLD)
        weight = np.repeat([arm.weight for arm in arms], seeds)[:, None, None]
        return normalised_first(found, mask, outcomes, weight=weight, apart=order == "apart")

    return advantages


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.5, 6.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9])
    _draw_worked(left.subplots(), frame)
    panels = right.subplots(2, len(ORDERS), sharex=True, sharey="row")
    for order, (success, filler) in zip(ORDERS, panels.T):
        _draw_training(success, frame, order, "success")
        _draw_training(filler, frame, order, "filler")
        success.set_title(ORDERS[order], fontsize=10, fontweight="normal")
        filler.set(xlabel="weight of the step reward", xscale="log")
        filler.set_xticks(WEIGHTS, [f"{weight:g}" for weight in WEIGHTS])
        filler.set_xticks([], minor=True)
    panels[0, 0].set(ylabel="success", ylim=(-0.04, 1.05))
    panels[1, 0].set(ylabel="filler steps", ylim=(-0.4, 12.4))
    panels[1, 1].legend(loc="center right", bbox_to_anchor=(1, 0.45))
    seeds = runs_of(frame, part="training").seed.nunique()
    right.suptitle(f"Trained in three orders (means with 95% intervals, {seeds} seeds)")
    left.suptitle("One group, worked by hand")
    return figure


def _draw_worked(axes, frame: pd.DataFrame) -> None:
    """Advantages at the first token: bars normalised first, diamonds last."""
    colours = dict(zip(SOLUTIONS, (GREEN, VERMILLION, GREY)))
    for place, (solution, colour) in enumerate(colours.items()):
        where = np.arange(len(MODES)) + 0.26 * (place - 1)
        first, last = (_worked_cell(frame, order, solution) for order in ("first", "last"))
        axes.bar(where, first, width=0.24, color=colour, alpha=0.75, label=solution)
        axes.plot(where, last, "D", color=colour, markeredgecolor=BLACK, markersize=6)
        earlier = [values[place] for values in WORKED.values()]
        axes.plot(where, earlier, "x", color=BLACK, markersize=5, markeredgewidth=0.8)
    axes.plot([], [], "D", color="white", markeredgecolor=BLACK, label="summed first, with outcome")
    axes.plot([], [], "x", color=BLACK, markersize=5, label="worked by hand")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(np.arange(len(MODES)), [label for label, _, _ in MODES.values()])
    axes.set(ylabel="advantage at the first token", title="Normalised before summing (bars)")
    axes.title.set(fontsize=10, fontweight="normal")
    axes.legend(loc="lower right", fontsize=8)


def _worked_cell(frame: pd.DataFrame, order: str, solution: str) -> np.ndarray:
    return runs_of(frame, part="worked", order=order, solution=solution).set_index("mode").advantage[list(MODES)]


def _cell(frame: pd.DataFrame, order: str, mode: str, weight: float, column: str) -> np.ndarray:
    runs = runs_of(frame, part="training", order=order, mode=mode, weight=weight)
    return runs.sort_values("seed")[column].to_numpy()


def _draw_training(axes, frame: pd.DataFrame, order: str, column: str) -> None:
    for place, (mode, (label, colour, marker)) in enumerate(MODES.items()):
        found = np.stack([mean_interval(_cell(frame, order, mode, w, column)) for w in WEIGHTS], axis=1)
        middle, low, high = found
        weights = np.array(WEIGHTS) * 1.05 ** (place - 1.5)
        look = {"color": colour, "marker": marker, "markersize": 5, "capsize": 2, "label": label}
        axes.errorbar(weights, middle, [middle - low, high - middle], **look)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Training by order, step reward and weight."""
    rows = []
    for (order, mode, weight), runs in runs_of(frame, part="training").groupby(["order", "mode", "weight"], sort=False):
        median = float(np.median(runs.solved))
        rows.append(
            {
                "order": ORDERS[order].replace("\n", " "),
                "step reward": mode.replace("_", " "),
                "weight": weight,
                **{name: float(runs[name].mean()) for name in ("success", "length", "filler")},
                "iterations to .9": median if np.isfinite(median) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "worked-group": _group(frame),
        "filler-is-paid-again": _paid_again(frame),
        "right-order-keeps-clip-delta": _kept(frame),
        "order-costs-success": _order_costs(frame),
    }


def _group(frame: pd.DataFrame) -> Verdict:
    cells = runs_of(frame, part="worked").set_index(["order", "mode", "solution"]).advantage
    short, padded, wrong = (cells.xs(name, level="solution") for name in SOLUTIONS)
    gain = float(padded["first", "clip"] - short["first", "clip"])
    tie = float(abs(wrong["first", "delta"] - short["first", "delta"]))
    last = abs(padded["last", "clip"] - short["last", "clip"]) <= 0.01
    last &= all(wrong["last", mode] < min(short["last", mode], padded["last", mode]) for mode in MODES)
    destroyed = gain >= 1 and tie <= 0.01
    return Verdict(
        "supported" if destroyed and last else "undecided" if destroyed else "refuted",
        f"advantage that padding gains under Clip {gain:.3f}",
        gain,
        None,
        f"Normalised first: short {short['first', 'clip']:.3f} and padded {padded['first', 'clip']:.3f} under Clip; "
        f"short {short['first', 'delta']:.3f}, padded {padded['first', 'delta']:.3f} and wrong "
        f"{wrong['first', 'delta']:.3f} under Delta. Last, short and padded are the same under both.",
    )


def _paid_again(frame: pd.DataFrame) -> Verdict:
    first, apart, last = (
        mean_interval(_cell(frame, name, "clip", 0.3, "filler")) for name in ("first", "apart", "last")
    )
    gives_up = _cell(frame, "last", "clip", 0.3, "length").mean()
    mean, interval = for_verdict(first)
    return Verdict(
        "supported" if mean >= 3 and last[0] <= 0.1 else "refuted" if interval[1] < 1 else "undecided",
        f"filler steps of Clip normalised first {mean:.1f}",
        mean,
        interval,
        f"Filler steps: {mean:.1f} normalised first, {apart[0]:.1f} with the outcome apart, {last[0]:.3f} last, where "
        f"Clip gives up as ever (length {gives_up:.2f}).",
    )


def _kept(frame: pd.DataFrame) -> Verdict:
    cells = [mean_interval(_cell(frame, "last", "clip_delta", weight, "success")) for weight in WEIGHTS]
    success = np.stack(cells, axis=1)
    length = np.array([_cell(frame, "last", "clip_delta", weight, "length").mean() for weight in WEIGHTS])
    held = (success[0] >= 0.95).all() and (length <= 4.5).all()
    mean, interval = for_verdict(success[:, success[0].argmin()])
    delta = ", ".join(f"{_cell(frame, 'last', 'delta', weight, 'success').mean():.2f}" for weight in WEIGHTS)
    return Verdict(
        "supported" if held else "refuted" if (success[2] < 0.9).any() else "undecided",
        f"least mean success {mean:.3f}",
        mean,
        interval,
        f"Success at least {mean:.3f}, length at most {length.max():.2f}. Delta alone has {delta} at weights "
        f"{', '.join(f'{weight:g}' for weight in WEIGHTS)}: dividing by a small spread makes any weight a large one.",
    )


def _order_costs(frame: pd.DataFrame) -> Verdict:
    lost, cells = {}, {}
    for mode in MODES:
        pairs = [[_cell(frame, order, mode, w, "success") for order in ("last", "first")] for w in WEIGHTS]
        lost[mode] = np.stack([mean_interval(last - first) for last, first in pairs], axis=1)
        cells[mode] = min(first.mean() for _, first in pairs)
    found = lost["clip_delta"]
    held = (found[0] >= 0.1).all() and (found[1] > 0).all()
    least = found[0].argmin()
    mean, interval = for_verdict(found[:, least])
    return Verdict(
        "supported" if held else "refuted" if (found[2] < 0.1).any() else "undecided",
        f"least loss of Clip-Delta's success {mean:.3f}, at weight {WEIGHTS[least]:g}",
        mean,
        interval,
        f"Clip-Delta keeps {cells['clip_delta']:.3f} or more normalised first, and Delta {cells['delta']:.2f}: with "
        "the outcome among them the group's rewards are positive in the mean, so each step left costs, which "
        f"happens to stop padding. Clip, whose rewards are negative, falls to {cells['clip']:.2f} and pads.",
    )
