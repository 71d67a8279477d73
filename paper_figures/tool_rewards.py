"""Rewards for tool calls: what detail and scale do to learning, and what names alone or too many calls can earn."""

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import for_verdict, mean_interval
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from paper_figures.tool_call_study import HEADS, VALUES, earned_shares, times_to_learn, train
from rewardlab.process.reward_schedules import (
    EQUAL_SCALE,
    ORIGINAL_SCALE,
    RewardScale,
    smooth_scale,
    two_stage_scale,
)
from rewardlab.process.tool_calls import ToolCall
from rewardlab.process.tool_rewards import score_calls

TITLE = "Tool calls: how finely to reward them, on which scale, and what a guess earns"

AT = (100, 300, 1500)  # iterations at which the earlier code's numbers are given

DETAILS = {
    "fine": ("fine: name, keys, values", BLUE, "-"),
    "middle": ("middle: name and keys, call", GREEN, "-"),
    "intermediate": ("intermediate: name, call", PURPLE, "--"),
    "coarse": ("coarse: call", VERMILLION, "-"),
}
# exact-match probability at AT, and iterations to .8, found by separate code before this figure was written
EARLIER = {
    "fine": (0.812, 0.972, 0.996, 100),
    "middle": (0.513, 0.970, 0.996, 130),
    "coarse": (0.002, 0.017, 0.994, 580),
}
SCALES: dict[str, tuple[str, Callable[[int], RewardScale]]] = {
    "original": ("format 0 to 1,\ncorrect -3 to 3", lambda step: ORIGINAL_SCALE),
    "equal": ("equal: format 0 to 1,\ncorrect -1 to 1", lambda step: EQUAL_SCALE),
    "two stages": ("two stages,\nswitch at 30", two_stage_scale),
    "smooth": ("smooth change\nover 150", smooth_scale),
}
READABLE = {
    True: ("calls are read all the same", BLUE, "o"),
    False: ("calls cannot be read", VERMILLION, "s"),
}
FORMAT_AT_FIRST = 0.1
PAPER = "2504.13958"
CLAIMS = (
    Claim(
        id="coarse-learns-late",
        paper=PAPER,
        title="The coarser the reward, the later the learning, to the same end",
        says="With GRPO a reward for the whole call alone learns much later than one for its parts, and ends as high.",
        threshold="median iterations to .8: middle at least as many as fine, coarse at least 3 times as many; exact "
        "match at the end at least .95 in each, fine's at most .01 below coarse's (refuted if coarse is not later "
        "than fine or fine ends more than .01 lower)",
        published="BFCL of Qwen2.5-1.5B: fine 46.2, strict 40.7, intermediate 37.7, coarse 36.7",
        limits="A bandit whose parts are learnt independently; its numbers were known beforehand, and the learning "
        "rate was set by the first of them.",
    ),
    Claim(
        id="equal-scale-slower",
        paper=PAPER,
        title="Correctness on the scale of the format learns more slowly",
        says="Starting with a format rate of .1, correctness in [-1, 1] needs more iterations to .8 than in [-3, 3].",
        threshold="mean ratio of iterations at least 1.05 with its interval above 1, whether or not a broken format "
        "makes calls unreadable (refuted if both intervals are below 1.05)",
        published="BFCL of Qwen2.5-1.5B: 39.5 equal, 46.2 original; of 3B: 51.8, 53.0",
        limits="Every prompt here needs a call; most of the paper's loss lies in prompts that need none (irrelevance "
        "detection 16.4 against 56.4), and calls of the benchmark hardly suffer.",
    ),
    Claim(
        id="smooth-beats-fixed",
        paper=PAPER,
        title="Shifting weight smoothly from format to correctness learns faster than a fixed scale",
        says="Starting with a format rate of .1, the smooth scale needs fewer iterations to .8 than the original one.",
        threshold="mean ratio of iterations at most .95 with its interval below 1, whether or not a broken format "
        "makes calls unreadable (refuted if both intervals are above .95)",
        published="BFCL: 45.7 smooth, 46.2 original (Qwen2.5-1.5B); 53.8, 53.0 (3B); 46.9, 44.1 (Llama-3.2-3B)",
        limits="150 steps as in the released code, a large part of this run.",
    ),
    Claim(
        id="abrupt-is-worse",
        paper=PAPER,
        title="A sudden change of scale learns more slowly than a smooth one",
        says="Starting with a format rate of .1, two stages need more iterations to .8 than the smooth scale.",
        threshold="mean ratio of iterations at least 1.05 with its interval above 1, whether or not a broken format "
        "makes calls unreadable (refuted if both intervals are below 1.05)",
        published="BFCL of Qwen2.5-1.5B: 38.9 two stages, 45.7 smooth; of 3B: 50.7, 53.8",
        limits="The switch at step 30 suits the paper's runs; here it comes where the learning is.",
    ),
    Claim(
        id="names-alone",
        paper=PAPER,
        title="Right names with wrong values earn a large part of the range",
        says="Names and keys, which the prompt lists, earn (1 + calls) / (1 + calls + parameters) of the range alone.",
        threshold="equal within 1e-9 for 1 to 4 calls of 1 to 6 parameters (refuted otherwise)",
        published="",
        limits="Arithmetic of the definition, derived here; no policy was trained to do it.",
    ),
    Claim(
        id="sprayed-calls",
        paper=PAPER,
        title="Sending every combination of values earns more than one honest guess",
        says="Calls too many cost the names' part only, so 25 calls with all values of two unknown parameters beat "
        "one guess.",
        threshold="expected correctness at least .5 higher (refuted if not higher)",
        published="",
        limits="Derived here; with one unknown parameter, or a guess right more than half the time, it does not pay.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """By column `part`: curves and times of the levels of detail, times of the scales, earnings of two exploits."""
    seeds = scale.pick(smoke=3, small=10, paper=50)
    first, second = (np.random.default_rng(seed) for seed in np.random.SeedSequence(rng).spawn(2))
    parts = [_details(seeds, first), _scales(seeds, second), _names_alone(), _sprayed()]
    return pd.concat(parts, ignore_index=True)


def _details(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    earned = earned_shares()
    shares = np.stack([earned[detail] for detail in DETAILS])
    arm = np.arange(len(DETAILS))[:, None, None, None]
    success = train(lambda _, choices: 6 * shares[arm, *choices] - 3, HEADS, len(DETAILS), seeds, AT[-1], rng)
    kept = [*range(1, 20), *range(20, 300, 10), *range(300, AT[-1] + 1, 50)]
    rows = itertools.product(kept, DETAILS, range(seeds))
    curves = pd.DataFrame(rows, columns=["iteration", "arm", "seed"]).assign(value=success[kept].ravel(), part="curve")
    return pd.concat([curves, times_to_learn(success, list(DETAILS)).assign(part="detail")])


def _scales(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Iterations to .8 of right format and exact call at once, by scale and by what a broken format does."""
    share, arms = earned_shares()["fine"], list(itertools.product(SCALES, READABLE))

    def reward(step: int, choices: np.ndarray) -> np.ndarray:
        return scaled_rewards(step, choices[0] == 0, share[tuple(choices[1:])], arms)

    start = (FORMAT_AT_FIRST, None, None, None, None)
    success = train(reward, (2, *HEADS), len(arms), seeds, 600, rng, start)
    times = times_to_learn(success, [f"{name}|{kind}" for name, kind in arms])
    split = times.arm.str.split("|", expand=True)
    return times.assign(arm=split[0], readable=split[1] == "True", part="scale")


def scaled_rewards(step: int, form: np.ndarray, share: np.ndarray, arms: list[tuple[str, bool]]) -> np.ndarray:
    """Format plus correctness, both arrays `(arms, ...)`; an arm is a scale and whether all calls can be read."""
    rewards = np.empty(share.shape)
    for place, (name, readable) in enumerate(arms):
        scale = SCALES[name][1](step)
        low, high = scale.correctness
        earned = share[place] if readable else share[place] * form[place]
        rewards[place] = np.where(form[place], scale.format[1], scale.format[0]) + low + (high - low) * earned
    return rewards


def _names_alone() -> pd.DataFrame:
    rows = []
    for calls, keys in itertools.product(range(1, 5), range(1, 7)):
        gold = [ToolCall(f"tool {number}", {f"k{key}": 0 for key in range(keys)}) for number in range(calls)]
        guess = [ToolCall(call.name, dict.fromkeys(call.parameters, 1)) for call in gold]
        rows.append((calls, keys, 6 * score_calls(gold, guess).share - 3))
    return pd.DataFrame(rows, columns=["calls", "keys", "value"]).assign(part="names")


def _sprayed() -> pd.DataFrame:
    """Expected correctness of the first n guesses sent together, the gold values being any with equal chance."""
    rows = []
    for keys in (1, 2):
        combinations = list(itertools.product(range(VALUES), repeat=keys))
        # shifted diagonals: the first five guesses have every value of every parameter
        combinations.sort(key=lambda values: ((values[-1] - values[0]) % VALUES, values))
        calls = [ToolCall("w", {f"k{place}": value for place, value in enumerate(values)}) for values in combinations]
        for sent in range(1, len(calls) + 1):
            shares = [score_calls([gold], calls[:sent]).share for gold in calls]
            rows.append((f"{keys} unknown", sent, 6 * float(np.mean(shares)) - 3))
    right, other = ToolCall("w", {"k0": 0, "k1": 0}), ToolCall("v", {})
    rows += [
        ("right", 1 + extra, 6 * score_calls([right], [right, *[other] * extra]).share - 3)
        for extra in range(VALUES**2)
    ]
    return pd.DataFrame(rows, columns=["arm", "calls", "value"]).assign(part="sprayed")


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12.5, 9), layout="constrained")
    panels = figure.subplots(2, 2)
    _draw_curves(panels[0, 0], _part(frame, "curve"))
    _draw_scales(panels[0, 1], _part(frame, "scale"))
    _draw_names(panels[1, 0], _part(frame, "names"))
    _draw_sprayed(panels[1, 1], _part(frame, "sprayed"))
    seeds = int(_part(frame, "curve").seed.nunique())
    figure.suptitle(f"GRPO on tool calls, 95% intervals over {seeds} seeds (above); what the reward pays (below)")
    return figure


def _draw_curves(panel, frame: pd.DataFrame) -> None:
    for arm, (label, colour, line) in DETAILS.items():
        runs = frame[frame.arm == arm].pivot(index="seed", columns="iteration", values="value")
        mean, low, high = mean_interval(runs.to_numpy())
        panel.plot(runs.columns, mean, line, color=colour, label=label)
        panel.fill_between(runs.columns, low, high, color=colour, alpha=0.2, linewidth=0)
        if arm in EARLIER:
            panel.plot(AT, EARLIER[arm][:3], "o", color=colour, markerfacecolor="none", markersize=7)
    panel.plot([], [], "o", color=GREY, markerfacecolor="none", markersize=7, label="separate code, earlier")
    panel.axhline(0.8, color=GREY, linestyle=":", linewidth=1)
    panel.set(xscale="log", xlim=(3, 1700), ylim=(-0.02, 1.02), xlabel="iterations (50 groups of 4)")
    panel.set(ylabel="probability of the exact call", title="How finely to reward")
    panel.legend(loc="upper left", fontsize=8)


def _draw_scales(panel, frame: pd.DataFrame) -> None:
    for shift, (readable, (label, colour, marker)) in zip((-0.12, 0.12), READABLE.items()):
        found = np.transpose([_mean(frame, name, readable) for name in SCALES])
        error = [found[0] - found[1], found[2] - found[0]]
        place = np.arange(len(SCALES)) + shift
        panel.errorbar(place, found[0], yerr=error, fmt=marker, color=colour, capsize=3, label=label)
        for x, y in zip(place, found[2]):
            panel.text(x, y + 0.7, f"{found[0][round(x)]:.0f}", ha="center", fontsize=8, color=colour)
    panel.set_xticks(range(len(SCALES)), [label for label, _ in SCALES.values()], fontsize=8.5)
    panel.set(ylim=(95, 145), xlim=(-0.5, len(SCALES) - 0.5), ylabel="mean iterations to .8 (axis from 95)")
    panel.set_title(f"Format {FORMAT_AT_FIRST:g} at first: on which scale")
    panel.legend(title="where the format is broken", loc="upper left", fontsize=8, title_fontsize=8)


def _draw_names(panel, frame: pd.DataFrame) -> None:
    look = {1: (BLUE, "o"), 2: (ORANGE, "s"), 3: (GREEN, "^"), 4: (PURPLE, "D")}
    for calls, (colour, marker) in look.items():
        cells = frame[frame.calls == calls]
        name = f"{calls} call{'s' * (calls > 1)}"
        panel.plot(cells["keys"], cells.value, marker, color=colour, label=name)
        keys = np.linspace(1, 6, 60)
        panel.plot(keys, 6 * (1 + calls) / (1 + calls + calls * keys) - 3, color=colour, linewidth=1)
    panel.plot([], [], color=GREY, linewidth=1, label="(1 + calls) / (1 + calls + parameters)")
    panel.axhline(0, color=GREY, linestyle=":", linewidth=1)
    panel.set(ylim=(-3, 3), xlabel="parameters of each call", ylabel="correctness, from -3 to 3")
    panel.set_title("Right names and keys, no value right")
    panel.legend(loc="upper right", fontsize=8)


def _draw_sprayed(panel, frame: pd.DataFrame) -> None:
    look = {
        "right": ("the right call, and calls of another tool", BLACK, "-", 2),
        "2 unknown": ("different guesses: 2 parameters of 5 values", VERMILLION, "-", 2),
        "1 unknown": ("different guesses: 1 parameter of 5 values", ORANGE, "--", 1),
    }
    for arm, (label, colour, line, _) in look.items():
        cells = frame[frame.arm == arm]
        panel.plot(cells.calls, cells.value, line, color=colour, marker="o", markersize=3.5, label=label)
    single = frame[frame.arm == "2 unknown"].value.iloc[0]
    panel.axhline(single, color=VERMILLION, linestyle=":", linewidth=1)
    panel.text(25, single - 0.1, "one guess", ha="right", va="top", fontsize=8, color=VERMILLION)
    panel.set(ylim=(-3, 3.2), xlabel="calls sent at once", ylabel="expected correctness")
    panel.set_title("Calls too many")
    panel.legend(loc="lower right", fontsize=8)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Exact match at three iterations and median iterations to .8, beside separate code's."""
    curves, times = _part(frame, "curve"), _part(frame, "detail")
    rows = []
    for arm in DETAILS:
        earlier = EARLIER.get(arm, (np.nan,) * 4)
        row: dict[str, object] = {"reward": arm}
        for place, iteration in enumerate(AT):
            runs = curves[(curves.arm == arm) & (curves.iteration == iteration)]
            row |= {f"at {iteration}": float(runs.value.mean()), f"earlier, at {iteration}": earlier[place]}
        median = float(times[times.arm == arm].value.median())
        rows.append(row | {"median to .8": median, "earlier, to .8": earlier[3]})
    return pd.DataFrame(rows)


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "coarse-learns-late": _coarse_late(frame),
        "equal-scale-slower": _compared(frame, "equal", "original", 1.05, "The equal scale needs", "the original one"),
        "smooth-beats-fixed": _compared(
            frame, "smooth", "original", 0.95, "The smooth scale needs", "the original one"
        ),
        "abrupt-is-worse": _compared(frame, "two stages", "smooth", 1.05, "Two stages need", "the smooth scale"),
        "names-alone": _names_pay(frame),
        "sprayed-calls": _spraying_pays(frame),
    }


def _coarse_late(frame: pd.DataFrame) -> Verdict:
    times = _part(frame, "detail").pivot(index="seed", columns="arm", values="value")
    curves = _part(frame, "curve")
    ends = curves[curves.iteration == AT[-1]].groupby("arm").value.mean()
    median = times.median()
    ratio = _median_ratio(times.coarse.to_numpy(), times.fine.to_numpy())
    late = median.middle >= median.fine and ratio[0] >= 3 and ratio[1] > 1
    same_end = ends.min() >= 0.95 and ends.fine >= ends.coarse - 0.01
    wrong = ratio[2] <= 1 or ends.fine < ends.coarse - 0.01
    return Verdict(
        "refuted" if wrong else "supported" if late and same_end else "undecided",
        f"median iterations to .8, coarse over fine: {ratio[0]:.2f}",
        ratio[0],
        ratio[1:],
        f"Medians: fine {median.fine:.0f}, middle {median.middle:.0f}, the paper's intermediate "
        f"{median.intermediate:.0f}, coarse {median.coarse:.0f}; in the end {ends.fine:.3f} and {ends.coarse:.3f}.",
    )


def _compared(frame: pd.DataFrame, arm: str, other: str, bar: float, needs: str, other_name: str) -> Verdict:
    """Whether an arm takes at least (above 1) or at most (below 1) `bar` times the iterations of another."""
    scale, found = _part(frame, "scale"), {}
    for readable in READABLE:
        runs = scale[scale.readable == readable].pivot(index="seed", columns="arm", values="value")
        found[readable] = mean_interval((runs[arm] / runs[other]).to_numpy())
    sign = 1 if bar > 1 else -1  # from here on, more is what the claim says
    holds = all(
        sign * (mean - bar) >= 0 and min(sign * (low - 1), sign * (high - 1)) > 0 for mean, low, high in found.values()
    )
    fails = all(max(sign * (low - bar), sign * (high - bar)) < 0 for _, low, high in found.values())
    value, interval = for_verdict(found[True])
    return Verdict(
        "supported" if holds else "refuted" if fails else "undecided",
        f"ratio of iterations, {arm} over {other}: {value:.2f}",
        value,
        interval,
        f"{needs} {found[True][0]:.2f} times the iterations of {other_name} where calls are read whatever the "
        f"format, {found[False][0]:.2f} times where they are not.",
    )


def _names_pay(frame: pd.DataFrame) -> Verdict:
    cells = _part(frame, "names")
    expected = 6 * (1 + cells.calls) / (1 + cells.calls + cells.calls * cells["keys"]) - 3
    error = float((cells.value - expected).abs().max())
    one = cells[cells.calls == 1].set_index("keys").value
    return Verdict(
        "supported" if error < 1e-9 else "refuted",
        f"largest difference from the formula {error:.1g}",
        error,
        None,
        f"Without a right value, one call of 1, 2 and 3 parameters has correctness {one[1]:.2f}, {one[2]:.2f} and "
        f"{one[3]:.2f} of a range from -3 to 3.",
    )


def _spraying_pays(frame: pd.DataFrame) -> Verdict:
    cells = _part(frame, "sprayed").set_index(["arm", "calls"]).value
    one, every = cells["2 unknown", 1], cells["2 unknown", VALUES**2]
    gain = float(every - one)
    single = cells["1 unknown", VALUES] - cells["1 unknown", 1]
    return Verdict(
        "supported" if gain >= 0.5 else "refuted" if gain <= 0 else "undecided",
        f"gain in expected correctness {gain:.2f}",
        gain,
        None,
        f"One guess expects {one:.2f}, all 25 at once {every:.2f}; with one unknown parameter the gain is "
        f"{single:.2f}. {VALUES**2 - 1} calls too many take a right call from 3 to {cells['right', VALUES**2]:.2f}.",
    )


def _part(frame: pd.DataFrame, part: str) -> pd.DataFrame:
    return frame[frame.part == part]


def _mean(frame: pd.DataFrame, arm: str, readable: bool) -> np.ndarray:
    return mean_interval(frame[(frame.arm == arm) & (frame.readable == readable)].value.to_numpy())


def _median_ratio(slow: np.ndarray, fast: np.ndarray) -> tuple[float, float, float]:
    """Ratio of the medians with its 95% bootstrap interval, seeds resampled in pairs."""

    def ratio(slow: np.ndarray, fast: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.median(slow, axis=axis) / np.median(fast, axis=axis)

    found = stats.bootstrap((slow, fast), ratio, paired=True, method="percentile", rng=0).confidence_interval
    return float(ratio(slow, fast)), float(found.low), float(found.high)
