"""Which step rewards can be farmed? A learner on a world with filler, eight rewards, six weights, and theory beside."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from environments.reasoning.filler_chain import filler_chain
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict
from paper_figures.step_reward_cells import (
    ANSWER_SCORE,
    EARLIER,
    FILLER_SCORE,
    HAZARD,
    HORIZON,
    IN_TABLE_ONLY,
    LEVELS,
    LOOKS,
    SOLVED_MODES,
    SOLVED_WEIGHTS,
    THRESHOLD_WEIGHT,
    WEIGHTS,
    against_success_only,
    before_deadline,
    cells_of,
    draw_grid,
    medians_of,
)
from paper_figures.step_reward_study import Arm, Learner, runs_of, train
from rewardlab.process.filler_theory import filler_equilibrium

TITLE = "Step rewards that can be farmed, and one that cannot"

FROM = 0.1  # the least weight that counts as large: the threshold of the raw reward is .101

PAPER = "2410.15115"
KNOWN = "An earlier run's table was known when the threshold was written; one small world."
CLAIMS = (
    Claim(
        id="raw-is-farmed",
        paper=PAPER,
        title="A raw process reward is farmed until nothing is solved",
        says="From about the threshold weight on, a learner paid raw scores fills to the horizon and solves nothing.",
        threshold="mean success at most .1 and at least 8 of 12 steps filler at every weight from .1 on (refuted if at "
        "a weight above that the interval of success lies above .5)",
        published="MATH, greedy, Qwen2-1.5B: 30.58 with the success reward, 11.16 with the process reward added",
        limits=KNOWN,
    ),
    Claim(
        id="clip-delta-repairs",
        paper=PAPER,
        title="Clip-Delta is not farmed at any weight",
        says="With Clip-Delta success stays that of the success reward alone, and so does the length.",
        threshold="mean success at least that of success only less .02 and length within .2 of its, at every weight "
        "(refuted if somewhere the interval of success lies below, or length's more than 1 above)",
        published="MATH, greedy, Qwen2-1.5B: 31.44 with Clip-Delta, 30.58 with the success reward",
        limits=KNOWN,
    ),
    Claim(
        id="clip-delta-is-faster",
        paper=PAPER,
        title="Clip-Delta learns faster than success alone, the faster the larger its weight",
        says="The iteration at which success passes .9 falls with the weight of Clip-Delta.",
        threshold="median below that of success only, interval of the ratio below 1, at every weight from .2 on, and "
        "no rise of more than 25 iterations from weight to weight (refuted if an interval lies above 1)",
        published="a gain of .86 points on MATH for one model of 1.5B, .08 for one of 7B",
        limits=KNOWN + " The scores here are those of a process reward model that knows the answer.",
    ),
    Claim(
        id="clip-gives-up",
        paper=PAPER,
        title="Clip alone makes the learner give up",
        says="Clip only ever costs, so a learner that hardly solves anything yet learns to answer at once.",
        threshold="mean length at most 2 and success at most .05 at every weight from .1 on (refuted if at one the "
        "interval of success lies above .5)",
        published="MATH, greedy, Qwen2-1.5B: 30.30 with Clip, so no such failure there",
        limits=KNOWN + " It starts from a success of .4%; the paper's models solved a quarter of MATH.",
    ),
    Claim(
        id="delta-follows-theory",
        paper=PAPER,
        title="Delta alone is still paid for filler, as its closed form says",
        says="In a solved state with hazard 1/12 the trained policies answer as often as filler_equilibrium says.",
        threshold="success within .02 of the closed form at every weight and the chance of answering within .05, but "
        "for .03 around the threshold weight, where learning is slow (refuted if off by more than .1 anywhere else)",
        published="",
        limits="Trial runs were seen when the threshold was written. Theory and learner share the world.",
    ),
    Claim(
        id="delta-before-a-deadline",
        paper=PAPER,
        title="In the whole task Delta pads as much as a deadline's closed form says",
        says="With nine decisions left once solved, success and filler under Delta are those of filler_equilibrium.",
        threshold="success within .05 and filler within 1 step at every weight from .2 on (refuted if success is off "
        "by more than .2 anywhere there)",
        published="",
        limits=KNOWN
        + " Theory has one state; the learner can fill before it has solved, too. A first run with 10 seeds "
        "missed by .055 and was undecided; then there were 16.",
    ),
    Claim(
        id="causal-is-free",
        paper="Ng 1999",
        title="Causal differences change neither the optimum nor what is learned",
        says="With each step paid the rise of its score, the potential form, training ends as with success alone.",
        threshold="success within .01 and length within .1 of success only at every weight, median iterations within "
        "15% (refuted if success is off by more than .05 somewhere)",
        published="",
        limits=KNOWN,
    ),
    Claim(
        id="length-normalised-is-farmed",
        paper=PAPER,
        title="Dividing by the number of steps does not cure it",
        says="Scores divided by the number of steps are still farmed at a large weight.",
        threshold="at weight .3 or 1 success lower by .1 than with success only, or length at least 5 (refuted if at "
        "both success is at least that of success only less .02 and length at most 4.5)",
        published="tried in the paper, and reported not to help",
        limits="One small world; written before looking.",
    ),
    Claim(
        id="min-form-is-not-farmed",
        paper="2504.15275",
        title="Credit by the lowest score does not pad",
        says="With PURE's min-form credit success and length stay those of the success reward alone.",
        threshold="success at least that of success only less .02 and length at most 5 at every weight (refuted if at "
        "one the interval of success lies below .9 or that of length above 5)",
        published="sum-form credit collapses within 200 steps, min-form does not",
        limits="One small world, scores in [0, 1] instead of [-1, 1], one phase; written before looking.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Two parts by column `part`: the whole task, and its solved state with a hazard."""
    learner = Learner(iterations=scale.pick(smoke=800, small=1500))
    seeds, few = scale.pick(smoke=(3, 2), small=(16, 3), paper=(50, 10))
    whole, solved = np.random.SeedSequence(rng).spawn(2)
    arms = [Arm("success_only"), *itertools.starmap(Arm, itertools.product((*LOOKS, *IN_TABLE_ONLY), WEIGHTS))]
    chain = filler_chain(filler_score=FILLER_SCORE, answer=ANSWER_SCORE, levels=LEVELS, horizon=HORIZON)
    grid = train(chain, arms, seeds, whole, learner)
    # long enough that hardly an episode gets to its end
    state = filler_chain(filler_score=FILLER_SCORE, answer=ANSWER_SCORE, levels=0, horizon=40, hazard=HAZARD)
    arms = list(itertools.starmap(Arm, itertools.product(SOLVED_MODES, SOLVED_WEIGHTS)))
    learner = Learner(iterations=scale.pick(smoke=500, small=1000, paper=3000))
    theory = train(state, arms, few, solved, learner)
    theory = theory.assign(answering=theory.late_success / (theory.late_success + theory.late_filler))
    return pd.concat([grid.assign(part="task"), theory.assign(part="solved")], ignore_index=True)


def plot(frame: pd.DataFrame) -> Figure:
    return draw_grid(frame)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Success, length, filler and median iterations to .9 by reward and weight, beside separate code's."""
    rows = []
    for (mode, weight), runs in runs_of(frame, part="task").groupby(["mode", "weight"], sort=False):
        earlier = EARLIER.get(mode)
        cell = (np.nan,) * 4 if earlier is None else earlier[WEIGHTS.index(weight) if weight else 0]
        rows.append(
            {
                "step reward": mode.replace("_", " "),
                "weight": weight,
                "success": runs.success.mean(),
                "earlier": cell[0],
                "length": runs.length.mean(),
                "earlier ": cell[1],
                "filler": runs.filler.mean(),
                "earlier  ": cell[2],
                "iterations to .9": _finite(np.median(runs.solved)),
                "earlier   ": _finite(cell[3]),
                "seeds that got there": f"{np.isfinite(runs.solved).sum()} of {len(runs)}",
            }
        )
    return pd.DataFrame(rows)


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else np.nan


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "raw-is-farmed": _raw(frame),
        "clip-delta-repairs": _repairs(frame),
        "clip-delta-is-faster": _faster(frame),
        "clip-gives-up": _gives_up(frame),
        "delta-follows-theory": _theory(frame),
        "delta-before-a-deadline": _deadline(frame),
        "causal-is-free": _causal(frame),
        "length-normalised-is-farmed": _length_normalised(frame),
        "min-form-is-not-farmed": _min_form(frame),
    }


def _listed(values: np.ndarray, form: str = ".3f", weights: tuple[float, ...] = WEIGHTS) -> str:
    """The values at each weight."""
    return ", ".join(f"{value:{form}} at {weight:g}" for value, weight in zip(values, weights))


def _alone(frame: pd.DataFrame, column: str) -> float:
    return float(runs_of(frame, part="task", mode="success_only")[column].mean())


LARGE = np.array(WEIGHTS) >= FROM


def _raw(frame: pd.DataFrame) -> Verdict:
    success, filler = cells_of(frame, "raw", "success"), cells_of(frame, "raw", "filler")
    farmed = (success[0, LARGE] <= 0.1).all() and (filler[0, LARGE] >= 8).all()
    wrong = (success[1, np.array(WEIGHTS) > FROM] > 0.5).any()
    worst = np.flatnonzero(LARGE)[success[0, LARGE].argmax()]
    mean, interval = for_verdict(success[:, worst])
    return Verdict(
        "supported" if farmed else "refuted" if wrong else "undecided",
        f"largest mean success from weight {FROM:g} on {mean:.3f}",
        mean,
        interval,
        f"Success {_listed(success[0])}; filler steps {_listed(filler[0], '.1f')}. In theory a solved state is "
        f"padded above {THRESHOLD_WEIGHT:.3f}.",
    )


def _repairs(frame: pd.DataFrame) -> Verdict:
    success, length = cells_of(frame, "clip_delta", "success"), cells_of(frame, "clip_delta", "length")
    least, usual = _alone(frame, "success") - 0.02, _alone(frame, "length")
    held = (success[0] >= least).all() and (np.abs(length[0] - usual) <= 0.2).all()
    wrong = (success[2] < least).any() or (length[1] > usual + 1).any()
    worst = success[0].argmin()
    mean, interval = for_verdict(success[:, worst])
    return Verdict(
        "supported" if held else "refuted" if wrong else "undecided",
        f"least mean success {mean:.3f}, at weight {WEIGHTS[worst]:g}",
        mean,
        interval,
        f"Success {success[0].min():.3f} to {success[0].max():.3f} and length {length[0].min():.2f} to "
        f"{length[0].max():.2f} over all weights; {_alone(frame, 'success'):.3f} and {usual:.2f} with success only.",
    )


def _faster(frame: pd.DataFrame) -> Verdict:
    ratio, median = against_success_only(frame, "clip_delta"), medians_of(frame, "clip_delta")[0]
    large = np.array(WEIGHTS) >= 0.2
    held = (ratio[2, large] < 1).all() and (np.diff(median) <= 25).all()
    mean, interval = for_verdict(ratio[:, -1])
    return Verdict(
        "supported" if held else "refuted" if (ratio[1, large] > 1).any() else "undecided",
        f"iterations at weight {WEIGHTS[-1]:g} over success only {mean:.2f}",
        mean,
        interval,
        f"Median iterations {_listed(median, '.0f')}; "
        f"{np.median(runs_of(frame, part='task', mode='success_only').solved):.0f} with success only.",
    )


def _gives_up(frame: pd.DataFrame) -> Verdict:
    success, length = cells_of(frame, "clip", "success"), cells_of(frame, "clip", "length")
    held = (success[0, LARGE] <= 0.05).all() and (length[0, LARGE] <= 2).all()
    worst = np.flatnonzero(LARGE)[success[0, LARGE].argmax()]
    mean, interval = for_verdict(success[:, worst])
    return Verdict(
        "supported" if held else "refuted" if (success[1, LARGE] > 0.5).any() else "undecided",
        f"largest mean success from weight {FROM:g} on {mean:.3f}",
        mean,
        interval,
        f"Success {_listed(success[0])}; length {_listed(length[0], '.2f')}. It is a matter of the start: once solved, "
        "answering is best at any weight.",
    )


def _theory(frame: pd.DataFrame) -> Verdict:
    weights = np.array(SOLVED_WEIGHTS)
    expected = filler_equilibrium(FILLER_SCORE * weights, hazard=HAZARD)
    answering = cells_of(frame, "delta", "answering", "solved")
    success = cells_of(frame, "delta", "late_success", "solved")
    off = np.abs(answering[0] - expected.answer_probability)
    off_success = np.abs(success[0] - expected.success)
    judged = np.abs(weights - THRESHOLD_WEIGHT) > 0.03
    held = (off_success <= 0.02).all() and (off[judged] <= 0.05).all()
    worst = np.flatnonzero(judged)[off[judged].argmax()]
    return Verdict(
        "supported" if held else "refuted" if (off[judged] > 0.1).any() else "undecided",
        f"largest miss in the chance of answering {off[worst]:.3f}, at weight {weights[worst]:g}",
        float(off[worst]),
        None,
        f"Chance of answering {_listed(answering[0], '.2f', SOLVED_WEIGHTS)}; in theory "
        f"{_listed(expected.answer_probability, '.2f', SOLVED_WEIGHTS)}.",
    )


def _deadline(frame: pd.DataFrame) -> Verdict:
    large = np.array(WEIGHTS) >= 0.2
    expected = before_deadline(np.array(WEIGHTS)[large])
    success, filler = (cells_of(frame, "delta", column)[0, large] for column in ("success", "filler"))
    off = np.abs(success - expected.success)
    held = (off <= 0.05).all() and (np.abs(filler - expected.filler_steps) <= 1).all()
    weights = tuple(np.array(WEIGHTS)[large])
    return Verdict(
        "supported" if held else "refuted" if (off > 0.2).any() else "undecided",
        f"largest miss in success {off.max():.3f}",
        float(off.max()),
        None,
        f"Success {_listed(success, '.3f', weights)}, in theory {_listed(expected.success, '.3f', weights)}; filler "
        f"{_listed(filler, '.2f', weights)}, in theory {_listed(expected.filler_steps, '.2f', weights)}.",
    )


def _causal(frame: pd.DataFrame) -> Verdict:
    success, length = (cells_of(frame, "causal_delta", column)[0] for column in ("success", "length"))
    ratio = against_success_only(frame, "causal_delta")
    off = np.abs(success - _alone(frame, "success"))
    same = (off <= 0.01).all() and (np.abs(length - _alone(frame, "length")) <= 0.1).all()
    held = same and (np.abs(ratio[0] - 1) <= 0.15).all()
    return Verdict(
        "supported" if held else "refuted" if (off > 0.05).any() else "undecided",
        f"largest difference in success {off.max():.4f}",
        float(off.max()),
        None,
        f"Length {length.min():.2f} to {length.max():.2f}, iterations {ratio[0].min():.2f} to {ratio[0].max():.2f} of "
        "those of success only: a baseline, and no better than the one already there.",
    )


def _length_normalised(frame: pd.DataFrame) -> Verdict:
    success, length = (cells_of(frame, "length_normalised", column)[0] for column in ("success", "length"))
    last, usual = slice(-2, None), _alone(frame, "success")
    farmed = (success[last] <= usual - 0.1).any() or (length[last] >= 5).any()
    cured = (success[last] >= usual - 0.02).all() and (length[last] <= 4.5).all()
    mean, interval = for_verdict(cells_of(frame, "length_normalised", "success")[:, -1])
    return Verdict(
        "supported" if farmed else "refuted" if cured else "undecided",
        f"mean success at weight {WEIGHTS[-1]:g} {mean:.3f}",
        mean,
        interval,
        f"Success {_listed(success)}; length {_listed(length, '.2f')}.",
    )


def _min_form(frame: pd.DataFrame) -> Verdict:
    success, length = (cells_of(frame, "min_form", column) for column in ("success", "length"))
    held = (success[0] >= _alone(frame, "success") - 0.02).all() and (length[0] <= 5).all()
    wrong = (success[2] < 0.9).any() or (length[1] > 5).any()
    worst = success[0].argmin()
    mean, interval = for_verdict(success[:, worst])
    return Verdict(
        "supported" if held else "refuted" if wrong else "undecided",
        f"least mean success {mean:.3f}, at weight {WEIGHTS[worst]:g}",
        mean,
        interval,
        f"Success {_listed(success[0])}; length {_listed(length[0], '.2f')}.",
    )
