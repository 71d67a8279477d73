"""GRPO on sums: is a small language model right more often afterwards, and also where it was never asked?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from llm_scale.experiments.lm_addition import EXPERIMENT, ONE, SPLITS, TWO
from long_runs.experiment import frame_of
from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.style import BLUE, ORANGE

EXTRA = ("torch", "transformers")
RECORDED = ("small", "gpu")
TITLE = "GRPO makes a small language model right more often, on sums it was never asked too"

LEAST_GAIN, LEAST_SHARE = 0.15, 0.5
FEWEST_STEPS, FEWEST_SEEDS = 10, 3  # below, nothing is decided
SMOOTHED = 5  # steps

PAPER = "2402.03300"
CLAIMS = (
    Claim(
        id="held-out-sums-rise",
        paper=PAPER,
        title="SmolLM2 is right more often on sums that training never asks for",
        says="GRPO with a verifier as its only reward lifts the accuracy of sampling on held-out one-digit sums by 15 "
        "points or more.",
        threshold=f"mean rise over the held-out sums at least {LEAST_GAIN}, bootstrap interval over sums above 0 "
        f"(refuted if the interval is below {LEAST_GAIN}; undecided below {FEWEST_STEPS} steps)",
        published="GSM8K 82.9% to 88.2%, MATH 46.8% to 51.7% (7B)",
        limits="135 million parameters, sums of one digit, tens of steps of 32 samples; one seed at the scale small.",
    ),
    Claim(
        id="held-out-keeps-half",
        paper=PAPER,
        title="At least half of the gain on trained sums is there on held-out ones",
        says="What is learned is more than the answers to the sums that were asked.",
        threshold=f"rise on held-out sums over that on training sums at least {LEAST_SHARE}, bootstrap interval over "
        f"sums above 0 (refuted if the interval is below {LEAST_SHARE}; undecided if training sums do not rise, or "
        f"below {FEWEST_STEPS} steps)",
        published="",
        limits="3 + 5 and 5 + 3 are on the same side, but either side's sums have neighbours on the other.",
    ),
    Claim(
        id="tiny-model-rises",
        paper=PAPER,
        title="A tiny model becomes better at two-digit sums that neither training nor warm-up asked for",
        says="1.6 million parameters, warmed up halfway on demonstrations: the same loop lifts the accuracy of "
        "sampling on held-out sums.",
        threshold=f"mean rise, bootstrap interval over seeds above 0 (refuted if below 0; undecided with fewer than "
        f"{FEWEST_SEEDS} seeds or {FEWEST_STEPS} steps)",
        published="",
        limits="A hundred held-out sums; warming up for longer would lift it too.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows of sums, asked before and after training, and rows of steps."""
    return frame_of(EXPERIMENT, scale.name, rng, workers=scale.workers)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(13.2, 4.4), layout="constrained")
    one, two, course = figure.subplots(1, 3)
    for panel, arm in ((one, ONE), (two, TWO)):
        _draw_accuracy(panel, frame, arm)
    one.legend(loc="best")
    _draw_course(course, frame)
    return figure


def _draw_accuracy(panel, frame: pd.DataFrame, arm: str) -> None:
    looks = {"right": ("sampled", "o", 1.0), "greedy": ("likeliest answer", "D", 0.55)}
    for place, (split, colour) in enumerate(zip(SPLITS, (BLUE, ORANGE))):
        for offset, (column, (label, marker, strength)) in enumerate(looks.items()):
            found = np.array([_interval(frame, arm, split, column, when) for when in ("before", "after")])
            where = np.array([0.0, 1.0]) + 0.05 * (2 * place + offset - 1.5)
            centre, low, high = found.T
            look = {"color": colour, "marker": marker, "capsize": 3, "alpha": strength}
            look |= {"linestyle": ":" if offset else "-", "label": f"{split} sums, {label}"}
            panel.errorbar(where, centre, yerr=[np.maximum(centre - low, 0), np.maximum(high - centre, 0)], **look)
    panel.set_xticks([0, 1], ["before", "after"])
    unit = "sums" if arm == ONE else "seeds"
    seeds, steps = frame[frame.arm == arm].seed.nunique(), int(frame[frame.arm == arm].step.max())
    panel.set(ylim=(0, 1), xlim=(-0.3, 1.3), ylabel=f"accuracy (95% intervals over {unit})")
    stand_in = "" if steps >= FEWEST_STEPS else ", a stand-in model"  # to prove that everything runs
    panel.set_title(f"{arm}\n{steps} steps, {seeds} seed{'s' if seeds > 1 else ''}{stand_in}")


def _draw_course(panel, frame: pd.DataFrame) -> None:
    rows = frame[frame.kind == "step"]
    for arm, colour in ((ONE, BLUE), (TWO, ORANGE)):
        rewards = rows[rows.arm == arm].pivot(index="step", columns="seed", values="reward")
        rewards.index = rewards.index / rewards.index.max()
        panel.plot(rewards.index, rewards.mean(axis=1), ".", color=colour, alpha=0.35, markersize=5)
        smooth = rewards.mean(axis=1).rolling(SMOOTHED, center=True, min_periods=1).mean()
        panel.plot(smooth.index, smooth, color=colour, label=f"{arm}: batch, mean of {SMOOTHED} steps")
        asked = rows[(rows.arm == arm) & rows.sampled.notna()].copy()
        if asked.step.nunique() > 3:  # asked before the step of its row, but after the last
            last = asked.step.max()
            asked["at"] = asked.step.where(asked.step == last, asked.step - 1) / last
            held = asked.groupby("at").sampled.mean()
            panel.plot(held.index, held, color=colour, linestyle="--", marker="s", markersize=4, label="held-out sums")
    panel.set(ylim=(0, 1), xlabel="share of the steps done", ylabel="share of samples that are right")
    panel.set_title("On the way")
    panel.legend(loc="lower right")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy before and after, and the rise, of every model and split."""
    rows = []
    for arm in (ONE, TWO):
        for split in SPLITS:
            for column, how in (("right", "sampled"), ("greedy", "greedy")):
                found = {when: _interval(frame, arm, split, column, when) for when in ("before", "after", "rise")}
                rows.append((arm, split, how, found["before"][0], found["after"][0], *found["rise"]))
    return pd.DataFrame(rows, columns=["model", "sums", "answers", "before", "after", "rise", "low", "high"])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "held-out-sums-rise": _rises(frame),
        "held-out-keeps-half": _keeps(frame),
        "tiny-model-rises": _tiny(frame),
    }


def _rises(frame: pd.DataFrame) -> Verdict:
    mean, low, high = found = _interval(frame, ONE, "held-out", "right", "rise")
    outcome = "supported" if mean >= LEAST_GAIN and low > 0 else "refuted" if high < LEAST_GAIN else "undecided"
    return Verdict(
        outcome if _long_enough(frame, ONE) else "undecided",
        f"rise on held-out sums {mean:+.3f}",
        *for_verdict(found),
        f"Sampled answers to held-out sums: right {_share(frame, ONE, 'right', 'before')} before and "
        f"{_share(frame, ONE, 'right', 'after')} after; the likeliest answer {_share(frame, ONE, 'greedy', 'before')} "
        f"and {_share(frame, ONE, 'greedy', 'after')}.",
    )


def _keeps(frame: pd.DataFrame) -> Verdict:
    held, trained = (_of_sums(frame, ONE, split, "right", "rise") for split in ("held-out", "training"))
    rises = mean_interval(trained)[1] > 0
    share, low, high = _share_kept(held, trained) if rises else (float("nan"), float("nan"), float("nan"))
    outcome = "supported" if share >= LEAST_SHARE and low > 0 else "refuted" if high < LEAST_SHARE else "undecided"
    return Verdict(
        outcome if rises and _long_enough(frame, ONE) else "undecided",
        f"share of the gain kept {share:.2f}",
        share,
        (low, high),
        f"{held.mean():+.3f} on held-out sums beside {trained.mean():+.3f} on sums that training asks for.",
    )


def _tiny(frame: pd.DataFrame) -> Verdict:
    mean, low, high = found = _interval(frame, TWO, "held-out", "right", "rise")
    enough = _long_enough(frame, TWO) and frame[frame.arm == TWO].seed.nunique() >= FEWEST_SEEDS
    outcome = "supported" if low > 0 else "refuted" if high < 0 else "undecided"
    return Verdict(
        outcome if enough else "undecided",
        f"rise on held-out sums {mean:+.3f}",
        *for_verdict(found),
        f"From {_share(frame, TWO, 'right', 'before')} to {_share(frame, TWO, 'right', 'after')} of the samples right; "
        f"{_interval(frame, TWO, 'training', 'right', 'rise')[0]:+.3f} on sums that training may ask for.",
    )


def _long_enough(frame: pd.DataFrame, arm: str) -> bool:
    return frame[frame.arm == arm].step.max() >= FEWEST_STEPS


def _share(frame: pd.DataFrame, arm: str, column: str, when: str) -> str:
    return f"{_interval(frame, arm, 'held-out', column, when)[0]:.0%}"


def _interval(frame: pd.DataFrame, arm: str, split: str, column: str, when: str) -> np.ndarray:
    """Mean with its interval: over sums where sums are few and seeds fewer, else over seeds."""
    values = _of_sums if arm == ONE else _of_seeds
    return mean_interval(values(frame, arm, split, column, when))


def _of_sums(frame: pd.DataFrame, arm: str, split: str, column: str, when: str) -> np.ndarray:
    return _asked(frame, arm, split, column, when).mean(axis=1).to_numpy()


def _of_seeds(frame: pd.DataFrame, arm: str, split: str, column: str, when: str) -> np.ndarray:
    return _asked(frame, arm, split, column, when).mean(axis=0).to_numpy()


def _asked(frame: pd.DataFrame, arm: str, split: str, column: str, when: str) -> pd.DataFrame:
    """Accuracy, or its rise, of every sum (rows) and seed (columns)."""
    rows = frame[(frame.kind == "sum") & (frame.arm == arm) & (frame.split == split)]
    last = rows.step.max()
    asked = {name: rows[rows.step == step] for name, step in (("before", 0), ("after", last))}
    wide = {name: part.pivot(index="problem", columns="seed", values=column) for name, part in asked.items()}
    return wide["after"] - wide["before"] if when == "rise" else wide[when]


def _share_kept(held: np.ndarray, trained: np.ndarray) -> tuple[float, float, float]:
    def share(held, trained, axis=-1):
        return held.mean(axis=axis) / np.maximum(trained.mean(axis=axis), 1e-9)

    found = stats.bootstrap((held, trained), share, method="percentile", rng=0).confidence_interval
    return float(share(held, trained)), float(found.low), float(found.high)
