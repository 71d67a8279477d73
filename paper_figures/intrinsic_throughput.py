"""What online intrinsic rewards cost: by the step of a game, and by the loop of a learner."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.intrinsic_throughput_study import ENVIRONMENTS, LABELS_PER_TICK, LAYERS, MODELS, run_all
from paper_figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

TITLE = "What an intrinsic reward costs in steps per second"
EXTRA = ("torch", "nle", "stable_baselines3")

PAPER = "2410.23022"
MOST, LEAST = 1.05, 0.8
LEAST_ROUNDS = 5
_PUBLISHED = (0.8, 0.95)
_NAMES = {
    "nle": "NLE of\ngymnasium",
    "game": "our game",
    "vector": "encoded\nvector",
    "intrinsic": "intrinsic\nreward",
}
_COLOURS = {"retrieval": BLUE, "classification": GREEN, "ranking": PURPLE}

CLAIMS = (
    Claim(
        id="five-percent",
        paper=PAPER,
        title="The game's wrapper and the intrinsic reward cost at most five percent of a step",
        says="A step of our game, with what the intrinsic reward adds to it while all labels are known, takes at most "
        f"{MOST:g} times as long as a step of gymnasium's own NLE on the same games and actions.",
        threshold=f"ratio of processor times at most {MOST:g} with the upper end of its interval over rounds (refuted "
        "with the lower end above it)",
        published="",
        limits="The encoding of observations is left out of the ratio, as every learner needs one: its cost is in the "
        f"picture. {ENVIRONMENTS} games in turns, as a vector plays them: a single game runs faster, out of warm "
        "caches.",
    ),
    Claim(
        id="eighty-percent",
        paper=PAPER,
        title="A learner keeps at least four fifths of its steps per second",
        says="PPO with any of the three reward models, which learn from labels as they arrive, takes at least "
        f"{LEAST:.0%} of the steps per second that it takes without intrinsic reward.",
        threshold=f"smallest share over the three models at least {LEAST:g} with the lower end of its interval "
        "(refuted with the upper end below it)",
        published="80 to 95 percent of the throughput (known at second hand)",
        limits="The reward models are linear in hashed words, not the published network; the annotator answers by "
        f"rule, {LABELS_PER_TICK} labels in 1000 steps, at no cost: a language model needs a machine or core of its "
        "own. The smallest of three shares is chosen.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Microseconds of the processor for a step, by layer and by reward model, in several rounds; see `run_all`."""
    return run_all(scale, rng)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_steps(left, frame)
    _draw_learning(right, frame)
    figure.suptitle(f"{ENVIRONMENTS} games in one process, on one thread; a point is a round, taken in turns")
    return figure


def _draw_steps(axes, frame: pd.DataFrame) -> None:
    times = _times(frame, "step")
    means = {layer: mean_interval(times[layer].to_numpy()) for layer in LAYERS}
    for place, layer in enumerate(LAYERS):
        mean, low, high = means[layer]
        colour = GREY if layer == "nle" else BLUE
        axes.bar(place, mean, 0.6, color=colour, alpha=0.85)
        axes.errorbar(place, mean, [[mean - low], [high - mean]], color="black", capsize=3, linewidth=1.2)
        axes.plot(np.full(len(times), place) + 0.38, times[layer], ".", color=colour, alpha=0.4, markersize=4)
        inside = LAYERS[place - 1]
        change = f"{mean:.1f}" if place == 0 else f"{mean:.1f}\n({mean - means[inside][0]:+.1f})"
        axes.annotate(change, (place, times[layer].max()), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.axhline(means["nle"][0], color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xticks(range(len(LAYERS)), [_NAMES[layer] for layer in LAYERS])
    axes.set(ylabel="processor time of a step, microseconds", ylim=(0, 1.25 * times.to_numpy().max()))
    axes.set_title("A step of one game; each layer around the one before")


def _draw_learning(axes, frame: pd.DataFrame) -> None:
    found = _shares(frame)
    for place, (name, shares) in enumerate(found.items()):
        mean, low, high = mean_interval(shares)
        axes.plot(place + np.linspace(-0.12, 0.12, len(shares)), shares, ".", color=_COLOURS[name], alpha=0.45)
        axes.errorbar(place, mean, [[mean - low], [high - mean]], fmt="o", color=_COLOURS[name], capsize=4)
        axes.annotate(f"{mean:.0%}", (place, shares.max()), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    axes.axhspan(*_PUBLISHED, color=ORANGE, alpha=0.15, label="published, at second hand")
    axes.axhline(LEAST, color=VERMILLION, linestyle="--", label=f"threshold {LEAST:.0%}")
    axes.axhline(1, color=GREY, linestyle=":", label="PPO without intrinsic reward")
    axes.set_xticks(range(len(_COLOURS)), _COLOURS)
    axes.set(
        ylabel="share of the steps per second kept",
        ylim=(0.55, max(1.2, *(shares.max() + 0.08 for shares in found.values()))),
        xlim=(-0.5, len(_COLOURS) - 0.5),
    )
    axes.set_title(f"The whole loop of PPO ({_steps_per_second(frame, 'none'):,.0f} steps/s without)")
    axes.legend(loc="lower left", ncols=2)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Microseconds of the layers and steps per second of the loops, each beside the one to compare with."""
    times = _times(frame, "step")
    layers = [
        {
            "what": _NAMES[layer].replace("\n", " "),
            "microseconds a step": times[layer].mean(),
            "as a share of NLE's": (times[layer] / times.nle).mean(),
        }
        for layer in LAYERS
    ]
    loops = [
        {
            "what": f"PPO, {'no intrinsic reward' if name == 'none' else name}",
            "microseconds a step": _times(frame, "learning")[name].mean(),
            "steps per second": _steps_per_second(frame, name),
            "share kept": 1.0 if name == "none" else _shares(frame)[name].mean(),
            "published": "0.8 to 0.95" if name != "none" else "",
        }
        for name in MODELS
    ]
    return pd.DataFrame([*layers, *loops])


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {"five-percent": _five_percent(frame), "eighty-percent": _eighty_percent(frame)}


def _five_percent(frame: pd.DataFrame) -> Verdict:
    times = _times(frame, "step")
    added = times.intrinsic - times.vector
    ratio = mean_interval(((times.game + added) / times.nle).to_numpy())
    everything = (times.intrinsic / times.nle).mean()
    return Verdict(
        _outcome(frame, supported=ratio[2] <= MOST, refuted=ratio[1] > MOST),
        f"time of game and intrinsic reward over NLE's {ratio[0]:.2f}",
        *for_verdict(ratio),
        f"Our game takes {times.game.mean():.1f} microseconds a step, the intrinsic reward adds {added.mean():.1f}; "
        f"NLE alone takes {times.nle.mean():.1f}. With the encoding of observations it is {everything:.2f} of that.",
    )


def _eighty_percent(frame: pd.DataFrame) -> Verdict:
    found = {name: mean_interval(shares) for name, shares in _shares(frame).items()}
    worst = min(found, key=lambda name: found[name][0])
    return Verdict(
        _outcome(frame, supported=found[worst][1] >= LEAST, refuted=found[worst][2] < LEAST),
        f"smallest share of the steps per second {found[worst][0]:.2f}, {worst}",
        *for_verdict(found[worst]),
        "Share kept with " + ", ".join(f"{name} {mean:.2f}" for name, (mean, _, _) in found.items()) + ".",
    )


def _outcome(frame: pd.DataFrame, *, supported: bool, refuted: bool) -> str:
    """A few rounds decide nothing."""
    if _rounds(frame) < LEAST_ROUNDS:
        return "undecided"
    return "supported" if supported else "refuted" if refuted else "undecided"


def _rounds(frame: pd.DataFrame) -> int:
    return int(frame.groupby("part")["round"].nunique().min())


def _times(frame: pd.DataFrame, part: str) -> pd.DataFrame:
    """Microseconds, rounds by variants."""
    return frame[frame.part == part].pivot(index="round", columns="variant", values="microseconds")


def _shares(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Of the steps per second without intrinsic reward, what each model keeps in each round."""
    times = _times(frame, "learning")
    return {name: (times.none / times[name]).to_numpy() for name in _COLOURS}


def _steps_per_second(frame: pd.DataFrame, name: str) -> float:
    return float(1e6 / _times(frame, "learning")[name].mean())
