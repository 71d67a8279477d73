"""Information gain as a reward for turns: how much faster it learns, and what it can be talked into."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.reasoning.search import SearchWorld
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.information_gain_panels import (
    EARLIER,
    LOOKS,
    best_rate,
    draw_by_iteration,
    draw_distractor,
    draw_early,
    draw_group,
    draw_speed,
    draw_success,
    interval,
    part_of,
)
from paper_figures.information_gain_study import EVERY, LONG, METHODS, RATE, Training, train
from paper_figures.intervals import above, for_verdict, mean_interval
from rewardlab.process.turn_advantages import turn_advantages

TITLE = "Information gain of turns: faster, and at what price?"

RATES = (0.15, 0.3, RATE, 1.2, 2.4, 4.8)
DISTRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.9)
LONGEST = 400  # iterations of a training
USELESS = range(9)
SILENT_WITHIN, BIN = 100, 20

PAPER = "2510.14967"
CLAIMS = (
    Claim(
        id="learns-faster",
        paper=PAPER,
        title="Paying turns for information gain learns faster than the outcome alone",
        says="With probability gains and outcomes in one pool, success .8 takes at least half fewer iterations, and "
        "final success is no lower.",
        threshold="ratio of median iterations, outcome only over joint, at least 2 with its interval above 1.2, and "
        "final success at most .02 lower (refuted if the interval is below 1.2, or final success .05 lower)",
        published="better sample efficiency than outcome-only GRPO on search questions (no number at hand)",
        limits="A table of logits, the exact posterior as likelihood, one learning rate. Numbers known beforehand.",
    ),
    Claim(
        id="not-the-step-size",
        paper=PAPER,
        title="The lead is not a matter of step size",
        says="It stays when outcome-only learning and information gain each have their best of six learning rates.",
        threshold="ratio of the least median iterations over the rates .15 to 4.8: at least 2 with its interval above "
        "1.2 (refuted if the interval is below 1.2)",
        published="",
        limits="The best rate is chosen on the seeds that it is judged by, for both alike.",
    ),
    Claim(
        id="one-name-one-method",
        paper=PAPER,
        title="The three estimators that were released under one name learn alike",
        says="Joint, separate and per-turn-mean advantages of log gains reach success .8 in like time at one rate.",
        threshold="largest over smallest median iterations at most 1.5 (refuted if the interval is above 1.5)",
        published="",
        limits="One learning rate, though their advantages differ in size. Numbers known beforehand.",
    ),
    Claim(
        id="fewer-silent-groups",
        paper=PAPER,
        title="Fewer groups have nothing to say",
        says="Of the first 100 groups, fewer have advantages that are all 0 with information gain than without.",
        threshold="share with the outcome alone less that with joint gains: interval above 0 (refuted if below 0)",
        published="groups of equal outcomes are the paper's motive",
        limits="A group can speak and be wrong; and in the end silence means that all is learned.",
    ),
    Claim(
        id="distractor-is-farmed",
        paper=PAPER,
        title="A question that only makes the agent surer of the answer is asked too often",
        says="Where one question halves the agent's doubt without telling it anything, and every turn is needed, joint "
        "information gain ends up asking it and outcome-only learning does not.",
        threshold="probability that the final policy asks it, joint less outcome only: at least .3, interval above 0 "
        "(refuted if the interval is below .3)",
        published="",
        limits="Four turns for four bits. Four useful questions would earn more of that very reward, 2 against 1.25: "
        "learning gets stuck, the optimum is not at fault.",
    ),
    Claim(
        id="turns-are-punished",
        paper=PAPER,
        title="Pooling gains and outcomes punishes turns",
        says="Where eight questions may be asked, four suffice and the agent may answer early, joint information gain "
        "ends with fewer wasted questions than the outcome alone.",
        threshold="questions that reveal nothing, outcome only less joint: at least .5 an episode, interval above 0 "
        "(refuted if the interval is below 0)",
        published="",
        limits="Wasted questions can also fall because gains show which ones are useful; the per-turn mean, which has "
        "the gains and not the punishment, tells the two apart.",
    ),
    Claim(
        id="answers-too-early",
        paper=PAPER,
        title="And so the agent answers before it knows",
        says="There joint information gain ends with lower success than the outcome alone.",
        threshold="final success, outcome only less joint: at least .05, interval above 0 (refuted if the interval is "
        "below .05)",
        published="",
        limits="400 iterations; questions cost nothing, so that a short dialogue has no merit of its own.",
    ),
    Claim(
        id="right-answer-punished",
        paper=PAPER,
        title="A right answer is punished for the useless turns before it",
        says="In a group of four, the first turn of a right rollout gets a negative advantage from joint "
        "normalisation once enough useless turns follow, though that turn and the answer are the group's best.",
        threshold="below 0 with 6 useless turns (refuted if it is not)",
        published="",
        limits="One worked group: gains .5, outcomes 1, 1, 0, 0. An identity; numbers known beforehand.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """By column `part`: learning curves, silence, runs (one row a trained policy) and the worked group."""
    seeds = scale.pick(smoke=4, small=16, paper=64)
    distractions = scale.pick(smoke=(0.5,), small=DISTRACTIONS)
    rates = scale.pick(smoke=(RATE, 2.4), small=RATES)
    plans = [("plain", SearchWorld(), rate, np.nan) for rate in rates]
    plans += [("distractor", SearchWorld(distraction=share), RATE, share) for share in distractions]
    plans += [("early answer", SearchWorld(turns=LONG, early_answer=True), RATE, np.nan)]
    parts = [_worked_group()]
    for (world_name, world, rate, share), sequence in zip(plans, np.random.SeedSequence(rng).spawn(len(plans))):
        found = train(world, seeds, LONGEST, rate, np.random.default_rng(sequence))
        parts.append(_runs(found, world).assign(world=world_name, rate=rate, distraction=share))
        if (world_name, rate) == ("plain", RATE):
            parts += [_by_iteration(found.success, EVERY, "curve"), _silence(found)]
    return pd.concat(parts, ignore_index=True)


def _runs(found: Training, world: SearchWorld) -> pd.DataFrame:
    outcome = found.outcome
    asked = outcome.action_counts[..., : world.answer_action].sum(-1)
    columns = {
        "solved": found.solved(),
        "success": outcome.success,
        "questions": asked,
        "wasted": asked - outcome.answered_in @ world.revealed,
        "distracted": outcome.answered_in @ world.distracted,
    }
    return _table("run", {name: values.ravel() for name, values in columns.items()}, found.outcome.success.shape)


def _by_iteration(values: np.ndarray, every: int, part: str) -> pd.DataFrame:
    frame = _table(part, {"value": values.ravel()}, values.shape)
    return frame.assign(iteration=np.tile(every * np.arange(values.shape[-1]), len(frame) // values.shape[-1]))


def _silence(found: Training) -> pd.DataFrame:
    """Share of silent groups in bins of iterations."""
    binned = found.silent.reshape(*found.silent.shape[:2], -1, BIN).mean(-1)
    return _by_iteration(binned, BIN, "silence")


def _table(part: str, columns: dict[str, np.ndarray], shape: tuple[int, ...]) -> pd.DataFrame:
    """Columns of values (methods, seeds, ...), laid out flat, with the method and the seed of each."""
    method, seed = (np.indices(shape)[axis].ravel() for axis in (0, 1))
    return pd.DataFrame({"part": part, "method": np.array(list(METHODS))[method], "seed": seed, **columns})


def _worked_group() -> pd.DataFrame:
    """First-turn advantage of a right rollout that gains .5 at once and nothing in its k further turns."""
    rows = []
    for useless in USELESS:
        turns = np.array([1 + useless, 1, 1, 1])
        mask = np.arange(turns.max()) < turns[:, None]
        gains = np.zeros(mask.shape)
        gains[:2, 0] = 0.5
        outcomes = np.array([1.0, 1, 0, 0])
        for name in ("joint", "separate", "position"):
            found = turn_advantages(gains, outcomes, mask, normalisation=name)
            rows.append((name, useless, found.advantages[0, 0]))
        found = turn_advantages(0 * gains, outcomes, mask, normalisation="separate")
        rows.append(("outcome", useless, found.advantages[0, 0]))
    return pd.DataFrame(rows, columns=["method", "useless", "value"]).assign(part="group")


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(17, 8.4), layout="constrained")
    panels = figure.subplots(2, 4)
    draw_by_iteration(panels[0, 0], part_of(frame, "curve"))
    panels[0, 0].set(title="Four useful questions of sixteen, four turns", ylabel="exact success", xlim=(0, None))
    draw_speed(panels[0, 1], part_of(frame, "run", world="plain"))
    draw_by_iteration(panels[0, 2], part_of(frame, "silence"), shift=BIN / 2)
    panels[0, 2].set(title="Groups with nothing to say", ylabel="share of groups, all advantages 0")
    draw_group(panels[0, 3], part_of(frame, "group"))
    distractor = part_of(frame, "run", world="distractor")
    draw_distractor(panels[1, 0], distractor, "distracted", "probability that the distractor is asked")
    panels[1, 0].set_title("A question that only makes surer")
    draw_distractor(panels[1, 1], distractor, "success", "final success")
    panels[1, 1].set_title("What it costs")
    early = part_of(frame, "run", world="early answer")
    draw_early(panels[1, 2], early)
    draw_success(panels[1, 3], early)
    handles = [panels[0, 0].plot([], [], color=LOOKS[name][0], marker=LOOKS[name][1])[0] for name in METHODS]
    names = [method.label for method in METHODS.values()]
    figure.legend(handles, names, loc="outside lower center", ncols=len(METHODS), fontsize=9)
    seeds = int(part_of(frame, "run").seed.nunique())
    figure.suptitle(f"Twenty questions with a reward for information gain; 95% intervals over {seeds} seeds")
    return figure


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """By method: iterations beside separate code's, best rate, silence, and the two worlds that tempt."""
    rows = []
    for name, method in METHODS.items():
        plain = part_of(frame, "run", world="plain", method=name)
        best = best_rate(plain, name)
        tempted = part_of(frame, "run", world="distractor", method=name, distraction=0.5)
        early = part_of(frame, "run", world="early answer", method=name)
        rows.append(
            {
                "advantages": method.label,
                "iterations to .8": float(part_of(plain, rate=RATE).solved.median()),
                "earlier code": float(EARLIER.get(name, np.nan)),
                "best rate": best,
                "iterations at it": float(part_of(plain, rate=best).solved.median()),
                "final success": float(part_of(plain, rate=RATE).success.mean()),
                f"silent of first {SILENT_WITHIN}": float(_silent(frame, name).mean()),
                "asks distractor": float(tempted.distracted.mean()),
                "success there": float(tempted.success.mean()),
                "early: questions": float(early.questions.mean()),
                "wasted": float(early.wasted.mean()),
                "success": float(early.success.mean()),
            }
        )
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "learns-faster": _learns_faster(frame),
        "not-the-step-size": _not_the_step_size(frame),
        "one-name-one-method": _one_method(frame),
        "fewer-silent-groups": _fewer_silent(frame),
        "distractor-is-farmed": _distractor_farmed(frame),
        "turns-are-punished": _turns_punished(frame),
        "answers-too-early": _too_early(frame),
        "right-answer-punished": _right_punished(frame),
    }


def _learns_faster(frame: pd.DataFrame) -> Verdict:
    runs = part_of(frame, "run", world="plain", rate=RATE)
    slow, fast = (part_of(runs, method=name) for name in ("outcome", "joint"))
    ratio, low, high = interval(slow.solved, _ratio_of_medians, fast.solved)
    lost = float(slow.success.mean() - fast.success.mean())
    wrong, right = high < 1.2 or lost >= 0.05, ratio >= 2 and low > 1.2 and lost <= 0.02
    medians = {name: part_of(runs, method=name).solved.median() for name in METHODS}
    listed = ", ".join(f"{METHODS[name].label} {value:.0f}" for name, value in medians.items())
    return Verdict(
        "refuted" if wrong else "supported" if right else "undecided",
        f"ratio of median iterations to success .8: {ratio:.2f}",
        ratio,
        (low, high),
        f"Median iterations: {listed}. Final success {slow.success.mean():.3f} with the outcome alone and "
        f"{fast.success.mean():.3f} with joint gains.",
    )


def _not_the_step_size(frame: pd.DataFrame) -> Verdict:
    runs = part_of(frame, "run", world="plain")
    best = {name: best_rate(runs, name) for name in METHODS}
    slow, fast = (part_of(runs, method=name, rate=best[name]).solved for name in ("outcome", "joint"))
    alike = part_of(runs, method="joint", rate=best["outcome"]).solved
    ratio, low, high = interval(slow, _ratio_of_medians, fast)
    listed = ", ".join(
        f"{METHODS[name].label} {part_of(runs, method=name, rate=rate).solved.median():.0f} at {rate:g}"
        for name, rate in best.items()
    )
    return Verdict(
        "refuted" if high < 1.2 else "supported" if ratio >= 2 and low > 1.2 else "undecided",
        f"ratio at the best rates: {ratio:.2f}",
        ratio,
        (low, high),
        f"Least median iterations to success .8: {listed}. There {(fast < LONGEST).mean():.0%} of joint runs "
        f"arrive, {(fast > 50).mean():.0%} after iteration 50; at outcome-only learning's best rate joint gains need "
        f"{alike.median():.0f} and {(alike < LONGEST).mean():.0%} arrive.",
    )


def _one_method(frame: pd.DataFrame) -> Verdict:
    runs = part_of(frame, "run", world="plain", rate=RATE)
    times = {name: part_of(runs, method=name).solved for name in METHODS}
    three = sorted(("log joint", "log separate", "log position"), key=lambda name: times[name].median())
    ratio, low, high = interval(times[three[-1]], _ratio_of_medians, times[three[0]])
    return Verdict(
        "refuted" if low > 1.5 else "supported" if ratio <= 1.5 else "undecided",
        f"slowest over fastest: {ratio:.2f}",
        ratio,
        (low, high),
        f"Joint {times['log joint'].median():.0f}, separate {times['log separate'].median():.0f}, per-turn mean "
        f"{times['log position'].median():.0f} iterations, and {times['log position divided'].median():.0f} once "
        f"divided by the turn's deviation (separate code's 110 fits that): much of the difference is the step's size.",
    )


def _fewer_silent(frame: pd.DataFrame) -> Verdict:
    alone, joint = (_silent(frame, name) for name in ("outcome", "joint"))
    found = mean_interval((alone - joint).to_numpy())
    mean, limits = for_verdict(found)
    return Verdict(
        above(found, 0.0),
        f"share of silent groups, outcome only less joint: {mean:+.3f}",
        mean,
        limits,
        f"Of the first {SILENT_WITHIN} groups {alone.mean():.1%} are silent with the outcome alone and "
        f"{joint.mean():.1%} with joint gains.",
    )


def _distractor_farmed(frame: pd.DataFrame) -> Verdict:
    runs = part_of(frame, "run", world="distractor", distraction=0.5)
    means = runs.groupby("method")[["distracted", "success"]].mean()
    mean, (low, high) = _difference(runs, "distracted", "joint", "outcome")
    listed = "; ".join(
        f"{method.label} {means.distracted[name]:.0%}, {means.success[name]:.2f}" for name, method in METHODS.items()
    )
    return Verdict(
        "refuted" if high < 0.3 else "supported" if mean >= 0.3 and low > 0 else "undecided",
        f"probability of asking the distractor, joint less outcome only: {mean:+.3f}",
        mean,
        (low, high),
        f"Asks the distractor, and final success: {listed}.",
    )


def _turns_punished(frame: pd.DataFrame) -> Verdict:
    runs = part_of(frame, "run", world="early answer")
    mean, (low, high) = _difference(runs, "wasted", "outcome", "joint")
    means = runs.groupby("method")[["questions", "wasted"]].mean()
    listed = "; ".join(
        f"{method.label} {means.questions[name]:.2f}, {means.wasted[name]:.2f}" for name, method in METHODS.items()
    )
    return Verdict(
        above(np.array([mean, low, high]), 0.5),
        f"wasted questions an episode, outcome only less joint: {mean:+.2f}",
        mean,
        (low, high),
        f"Questions in all, and wasted: {listed}.",
    )


def _too_early(frame: pd.DataFrame) -> Verdict:
    runs = part_of(frame, "run", world="early answer")
    mean, (low, high) = _difference(runs, "success", "outcome", "joint")
    means, stuck = runs.groupby("method").success.mean(), runs.assign(stuck=runs.success < 0.6)
    listed = ", ".join(f"{method.label} {means[name]:.2f}" for name, method in METHODS.items())
    logs = part_of(stuck, method="log separate").stuck
    return Verdict(
        "refuted" if high < 0.05 else "supported" if mean >= 0.05 and low > 0 else "undecided",
        f"final success, outcome only less joint: {mean:+.3f}",
        mean,
        (low, high),
        f"Final success: {listed}. With the released script's form, log gains in separate pools, {logs.sum()} of "
        f"{len(logs)} runs settle on answering before all is known.",
    )


def _right_punished(frame: pd.DataFrame) -> Verdict:
    cells = part_of(frame, "group").set_index(["method", "useless"]).value
    value = float(cells["joint", 6])
    return Verdict(
        "supported" if value < 0 else "refuted",
        f"first-turn advantage with 6 useless turns: {value:.3f}",
        value,
        None,
        f"From {cells['joint', 0]:.3f} without useless turns to {value:.3f}; separate pools go from "
        f"{cells['separate', 0]:.3f} to {cells['separate', 6]:.3f}, the per-turn mean stays at "
        f"{cells['position', 6]:.2f} and the outcome alone at {cells['outcome', 6]:.2f}.",
    )


def _silent(frame: pd.DataFrame, method: str) -> pd.Series:
    """Share of silent groups among the first, by seed."""
    cells = part_of(frame, "silence", method=method)
    return cells[cells.iteration < SILENT_WITHIN].groupby("seed").value.mean()


def _difference(runs: pd.DataFrame, quantity: str, first: str, second: str) -> tuple[float, tuple[float, float]]:
    """Mean of the one method less that of the other, with its interval over seeds."""
    left, right = (part_of(runs, method=name)[quantity].to_numpy() for name in (first, second))
    return for_verdict(np.array(interval(left, _difference_of_means, right)))


def _difference_of_means(left: np.ndarray, right: np.ndarray, axis: int = -1) -> np.ndarray:
    return left.mean(axis=axis) - right.mean(axis=axis)


def _ratio_of_medians(slow: np.ndarray, fast: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.median(slow, axis=axis) / np.median(fast, axis=axis)
