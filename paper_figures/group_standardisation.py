"""A log-sigmoid reward falls silent where responses are good enough; dividing by the group's spread undoes that."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import mean_interval
from paper_figures.response_set_study import (
    PROMPTS,
    SEEDS,
    at_equal_kl,
    draw_lines,
    draw_sets,
    gap,
    judge,
    smallest,
)
from paper_figures.style import BLACK, BLUE, GREY, ORANGE
from rewardlab.exact import KLMatch, kl_divergence
from rewardlab.transforms import log_sigmoid, mean_centred, standardised

TITLE = "What group standardisation does to a log-sigmoid reward"

GROUP = 16  # samples of a prompt that a trainer compares
MARGINS = np.arange(-4.0, 8.5, 1.0)  # mean of a group's rewards above the reference, in standard deviations of 1
WEAK, GOOD = -2.0, 4.0  # margins of the prompts that need work and of those that are good already
RESPONSES, HACKS = 256, 0.02
KLS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
DECIDED_AT = 1.0
KEPT, SILENT, MOVED, HARM, BETTER = 0.8, 0.1, 0.3, 0.1, 0.02

RAW_MEAN, RAW_STANDARD = "raw, group mean taken off", "raw, standardised in the group"
MEAN, STANDARD = "log-sigmoid, group mean taken off", "log-sigmoid, standardised in the group"
LOOKS = {
    RAW_MEAN: (BLACK, "o", "-"),
    RAW_STANDARD: (GREY, "v", ":"),
    MEAN: (BLUE, "s", "-"),
    STANDARD: (ORANGE, "D", "--"),
}
_WORLD = (
    f"Half the prompts are good already (mean reward {GOOD:g} above the reference), half are not ({WEAK:g}); "
    f"{HACKS:.0%} of all responses are hacks. Another mixture would give other sizes."
)

CLAIMS = (
    Claim(
        id="pressure-returns",
        paper="2402.00742",
        title="Standardising gives back the pressure that the log-sigmoid took off good groups",
        says=f"The mean size of advantages in groups at a margin of {GOOD:g}, as a share of that at {WEAK:g}, is small "
        "with the group's mean taken off and large after standardising.",
        threshold=f"at most {SILENT:g} and at least {KEPT:g} (refuted if the second share's 95% interval lies below "
        f"{KEPT:g} or the first's above {SILENT:g})",
        published="",
        limits=f"Groups of {GROUP} normal rewards of standard deviation 1. That pressure returns was expected.",
    ),
    Claim(
        id="kl-goes-to-good-prompts",
        paper="2402.00742",
        title="The policy then moves where nothing needs to change",
        says="At equal KL a larger share of it is spent on prompts that are good already.",
        threshold=f"share at a mean KL of {DECIDED_AT:g} at least {MOVED:g} larger after standardising, 95% interval "
        "over seeds above 0 (refuted if below 0)",
        published="",
        limits=_WORLD,
    ),
    Claim(
        id="good-prompts-harmed",
        paper="2402.00742",
        title="Prompts that were good already get worse",
        says="At equal KL true reward on the prompts that are good already ends lower after standardising.",
        threshold=f"at a mean KL of {DECIDED_AT:g} at least {HARM:g} lower, 95% interval over seeds below 0 (refuted "
        "if above 0)",
        published="",
        limits=_WORLD,
    ),
    Claim(
        id="fewer-good-answers",
        paper="2402.00742",
        title="Fewer answers beat the reference overall",
        says="At equal KL fewer responses over all prompts truly beat the reference after standardising.",
        threshold=f"share at a mean KL of {DECIDED_AT:g} at least {BETTER:g} lower, 95% interval over seeds below 0 "
        "(refuted if above 0)",
        published="",
        limits=_WORLD,
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a method and seed: pressure by margin (`part` "pressure"), policies at equal KL (`part` "policies")."""
    seeds, prompts = scale.pick(**SEEDS), scale.pick(**PROMPTS)
    groups, worlds = np.random.SeedSequence(rng).generate_state(2)
    (noise,) = draw_sets(lambda generator: (generator.normal(size=(10 * prompts, GROUP)),), int(groups), seeds)
    gold, proxy, hack = draw_sets(lambda generator: _draw(generator, prompts), int(worlds), seeds)
    parts = {"pressure": _pressure(noise), "policies": _policies(gold, proxy, hack)}
    return pd.concat([frame.assign(part=part) for part, frame in parts.items()], ignore_index=True)


def _advantages(rewards: np.ndarray) -> dict[str, np.ndarray]:
    """Advantages of rewards centred at the reference by method; the last axis is the group."""
    rows = rewards.reshape(-1, rewards.shape[-1])
    useful = log_sigmoid(rows, 0.0)
    found = {
        RAW_MEAN: mean_centred(rows),
        RAW_STANDARD: standardised(rows),
        MEAN: mean_centred(useful),
        STANDARD: standardised(useful),
    }
    return {method: advantages.reshape(rewards.shape) for method, advantages in found.items()}


def _pressure(noise: np.ndarray) -> pd.DataFrame:
    """Mean size of the advantages in groups of each margin."""
    frames = []
    for margin in MARGINS:
        for method, advantages in _advantages(margin + noise).items():
            sizes = np.abs(advantages).mean(axis=(-2, -1))
            seeds = np.arange(len(sizes))
            frames.append(pd.DataFrame({"method": method, "margin": margin, "seed": seeds, "pressure": sizes}))
    return pd.concat(frames, ignore_index=True)


def _draw(rng: np.random.Generator, prompts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold and proxy rewards above the reference, and which responses are hacks; the second half of prompts is good."""
    hack = rng.random((prompts, RESPONSES)) < HACKS
    margin = np.repeat([WEAK, GOOD], [prompts - prompts // 2, prompts // 2])[:, None]
    gold = np.where(hack, -3.0, margin + rng.normal(size=hack.shape))
    return gold, np.where(hack, margin + 3.0, gold) + 0.5 * rng.normal(size=hack.shape), hack


def _policies(gold: np.ndarray, proxy: np.ndarray, hack: np.ndarray) -> pd.DataFrame:
    """Each prompt's responses are one large group, whose advantages are optimised to the same mean KL."""
    good = slice(gold.shape[1] - gold.shape[1] // 2, None)

    def measure(match: KLMatch) -> dict[str, np.ndarray]:
        probs = np.exp(match.log_probs)
        spent = kl_divergence(np.where(np.isnan(match.log_probs), -np.log(RESPONSES), match.log_probs), _uniform(gold))
        gain = (probs * gold).sum(axis=-1) - gold.mean(axis=-1)
        return {
            "spent_on_good": spent[:, good].sum(-1) / np.where(match.reachable, spent.sum(-1), 1),
            "gain_good": gain[:, good].mean(-1),
            "gain": gain.mean(-1),
            "beats": (probs * (gold > 0)).sum(axis=-1).mean(-1),
            "hacks": (probs * hack).sum(axis=-1).mean(-1),
        }

    return at_equal_kl(_advantages(proxy), KLS, measure)


def _uniform(like: np.ndarray) -> np.ndarray:
    return np.full_like(like, -np.log(like.shape[-1]))


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    panels = figure.subplots(2, 2)
    _plot_pressure(panels[0, 0], frame[frame.part == "pressure"])
    policies = frame[frame.part == "policies"]
    labels = {
        "spent_on_good": ("Where the policy moves", "share of the KL on prompts good already"),
        "gain_good": ("True reward of the prompts good already", "gain in gold reward over the base"),
        "beats": ("Good answers over all prompts", "share of responses that beat the reference"),
    }
    for axes, (column, (title, label)) in zip(panels.flat[1:], labels.items()):
        draw_lines(axes, policies, column, LOOKS)
        axes.set(title=title, ylabel=label)
    panels[0, 1].set_ylim(0, 1)
    panels[1, 0].axhline(0, color=BLACK, linewidth=0.8, linestyle=":")
    figure.suptitle(f"Bars: 95% interval over {frame.seed.nunique()} seeds; policies are exact, at equal KL")
    figure.legend(*panels[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _plot_pressure(axes, frame: pd.DataFrame) -> None:
    for method, (colour, marker, line) in LOOKS.items():
        wide = frame[frame.method == method].pivot(index="seed", columns="margin", values="pressure")
        mean, low, high = mean_interval(wide.to_numpy())
        axes.errorbar(MARGINS, mean, [mean - low, high - mean], color=colour, marker=marker, linestyle=line, capsize=2)
    axes.axvline(0, color=BLACK, linewidth=0.8, linestyle=":")
    axes.annotate("reference", (0.15, 0.02), xycoords=axes.get_xaxis_transform(), fontsize=9)
    axes.set(yscale="log", xlabel="margin: mean reward above the reference (standard deviations)")
    axes.set(title=f"Pressure on groups of {GROUP}", ylabel="mean size of the advantages")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Pressure at both margins, and the policies at the KL that decides."""
    pressure = frame[frame.part == "pressure"].groupby(["method", "margin"]).pressure.mean()
    policies = frame[frame.kl == DECIDED_AT].groupby("method")[["spent_on_good", "gain_good", "gain", "beats", "hacks"]]
    names = {
        "spent_on_good": "share of KL on good prompts",
        "gain_good": "gold gain on good prompts",
        "gain": "gold gain on all",
        "beats": "responses that beat the reference",
        "hacks": "hacks",
    }
    wide = policies.mean().loc[list(LOOKS)].rename(columns=names)
    for place, margin in enumerate((WEAK, GOOD)):
        wide.insert(place, f"pressure at margin {margin:g}", [pressure[method, margin] for method in LOOKS])
    return wide.rename_axis("method").reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    policies = frame[frame.part == "policies"]
    columns = ("spent_on_good", "gain_good", "beats")
    means = policies[policies.kl == DECIDED_AT].groupby("method")[[*columns, "gain"]].mean()
    ours, theirs = means.loc[MEAN], means.loc[STANDARD]
    spent = gap(policies, "spent_on_good", STANDARD, MEAN, [DECIDED_AT])
    harm, fewer = (gap(policies, column, MEAN, STANDARD, [DECIDED_AT]) for column in columns[1:])
    return {
        "pressure-returns": _pressure_returns(frame[frame.part == "pressure"]),
        "kl-goes-to-good-prompts": _verdict(
            spent,
            MOVED,
            "share of KL on good prompts larger by",
            f"{theirs.spent_on_good:.0%} of it goes to prompts good already after standardising, against "
            f"{ours.spent_on_good:.1%} with the mean taken off.",
        ),
        "good-prompts-harmed": _verdict(
            harm,
            HARM,
            "loss of gold reward on good prompts",
            f"gold reward on prompts good already changes by {theirs.gain_good:+.2f} after standardising, against "
            f"{ours.gain_good:+.2f} with the mean taken off.",
        ),
        "fewer-good-answers": _verdict(
            fewer,
            BETTER,
            "responses that beat the reference fewer by",
            f"{theirs.beats:.1%} of responses beat the reference after standardising, against {ours.beats:.1%}, "
            f"though gold reward over all prompts gains {theirs.gain:.2f}, against {ours.gain:.2f}.",
        ),
    }


def _pressure_returns(frame: pd.DataFrame) -> Verdict:
    shares = {}
    for method in (MEAN, STANDARD):
        wide = frame[frame.method == method].pivot(index="seed", columns="margin", values="pressure")
        shares[method] = mean_interval((wide[GOOD] / wide[WEAK]).to_numpy())
    quiet, loud = shares[MEAN], shares[STANDARD]
    supported, refuted = quiet[0] <= SILENT and loud[0] >= KEPT, loud[2] < KEPT or quiet[1] > SILENT
    return Verdict(
        "supported" if supported else "refuted" if refuted else "undecided",
        f"share of pressure kept after standardising {loud[0]:.2f}",
        float(loud[0]),
        (float(loud[1]), float(loud[2])),
        f"From a margin of {WEAK:g} to {GOOD:g} pressure falls to {quiet[0]:.3f} of itself with the group's mean taken "
        f"off, and to {loud[0]:.2f} after standardising.",
    )


def _verdict(gaps: np.ndarray, least: float, name: str, sentence: str) -> Verdict:
    value, interval = smallest(gaps)
    return Verdict(
        judge(gaps, least=least), f"{name} {value:.3f}", value, interval, f"At a mean KL of {DECIDED_AT:g}, {sentence}"
    )
