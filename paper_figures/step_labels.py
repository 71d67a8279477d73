"""Who labels steps best for the same number of rollouts: endings alone, or a tool on the way; and what bad tools do."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.intervals import above, for_verdict, mean_interval
from paper_figures.step_label_study import (
    BAD,
    BUDGET,
    BUDGETS,
    HALF,
    NOISES,
    PREFIX,
    RIGHT,
    TOOLS,
    by_budget,
    by_tool,
    draw_solutions,
    locators,
    whole_trees,
)
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION
from rewardlab.process.tree_search import RULES

TITLE = "Labels of steps: rollouts alone, or a tree and a tool?"

METHODS = {
    "hard": ("rollouts, hard", ORANGE, "s"),
    "soft": ("rollouts, soft", VERMILLION, "o"),
    "value": ("tree, backed-up value alone", BLUE, "^"),
    "weighted": ("the same, outcome weighted 1", PURPLE, "v"),
    "verdict": ("tree, the tool's verdict first", GREEN, "D"),
    "tool": ("the tool alone, no rollout", BLACK, "x"),
}
ON_ROLLOUTS = ("hard", "soft")
PUBLISHED = {"model trained on rollout labels": 0.315, "model trained on grounded labels": 0.397}  # ProcessBench
LOCATORS = {"lowest": ("lowest score", BLUE, "o"), "drop": ("largest drop", VERMILLION, "s")}

CLAIMS = (
    Claim(
        id="grounded-labels-better",
        paper="2510.14942",
        title="Labels grounded in a tool beat those of rollouts alone, for the same number of rollouts",
        says="With 8 rollouts a step and a tool that is always right about equations, the tree's labels (the tool's "
        "verdict, the backed-up value where it has none) find first errors better than hard and soft rollout labels.",
        threshold="F1 at least .1 above the better of the two at 8 rollouts, interval above 0 (refuted with the "
        "interval below 0)",
        published="ProcessBench F1 39.7 of a model trained on grounded labels, 31.5 on rollout labels",
        limits="Labels, not models trained on them; a right tool decides alone, and is asked more often: see the table "
        "for its calls. The last line, whose answer is known, is not counted.",
    ),
    Claim(
        id="hybrid-value-alone",
        paper="2510.14942",
        title="The value that the tree backs up, without the step's own verdict, beats soft rollout labels",
        says="Verdicts on the steps that follow make a prefix's value a better label than the endings alone do.",
        threshold="F1 of the value's sign, outcome weighted 1/N as published, at least .05 above soft labels at 8 "
        "rollouts, interval above 0 (refuted with the interval below 0)",
        published="",
        limits="One solver, of whose right prefixes three in five or more end well, of whose wrong ones one in four or "
        "fewer; the tool judges each line by itself.",
    ),
    Claim(
        id="soft-unbiased-hard-inflated",
        paper="2312.08935",
        title="Soft labels are unbiased, hard ones inflated as the closed form says",
        says="Against the exact chance of success the mean soft label is right, and the mean hard one is "
        "1 - (1 - v)^N.",
        threshold="with 8 rollouts the mean soft label within .02 of the exact value, the mean hard one within .02 of "
        "its closed form and at least .1 above the exact value (refuted if an interval excludes the first two)",
        published="the closed form (ours): .337, .832 and .996 at v = .05, .2 and .5",
        limits="A mean over prefixes of sampled solutions, half of which go wrong.",
    ),
    Claim(
        id="bad-tool-worse-than-none",
        paper="2510.14942",
        title="A tool that is often wrong is worse than none",
        says="With three in ten of the tool's verdicts turned round, soft rollout labels are better than the tool's.",
        threshold="F1 of soft labels at least .05 above the tree's at 8 rollouts, interval above 0 (refuted with the "
        "interval below 0)",
        published="",
        limits="Wrong verdicts that are independent of each other and of the step, and the same at every asking.",
    ),
    Claim(
        id="drop-for-prefixes",
        paper="2412.06559",
        title="Where scores stand for the whole prefix the largest drop locates the first error, not the lowest score",
        says="With scores that stay low after the first error the largest drop finds it more often.",
        threshold="share of first errors found at noise .1: drop less lowest at least .1, interval above 0 (refuted "
        "with the interval below 0)",
        published="",
        limits="A process reward model made by hand; solutions with uncorrected errors only.",
    ),
    Claim(
        id="lowest-for-lines",
        paper="2412.06559",
        title="Where each line is scored by itself the lowest score locates the first error at least as well",
        says="With scores of each line by itself the lowest score is as good as the largest drop, or better.",
        threshold="share of first errors found at noise .1: drop less lowest at most 0 (refuted with the interval "
        "above 0)",
        published="",
        limits="As above; solutions of eight operations, many with more than one error.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Parts, by column `part`: labels by budget and by tool, biases of rollout labels, whole trees, and locators."""
    seeds, solutions, located = scale.pick(smoke=(3, 4, 20), small=(8, 16, 100), paper=(30, 30, 400))
    rows: list[dict] = []
    for seed, sequence in enumerate(np.random.SeedSequence(rng).spawn(seeds)):
        labelling, locating = (np.random.default_rng(part) for part in sequence.spawn(2))
        chosen = draw_solutions(solutions, labelling)
        parts = (*by_budget(chosen, labelling), *by_tool(chosen, labelling), *whole_trees(chosen, labelling))
        rows += [{"seed": seed, **row} for row in (*parts, *locators(located, locating))]
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(14, 4.8), layout="constrained")
    budgets, tools, bias, location = figure.subplots(1, 4, width_ratios=[1.1, 1.1, 0.9, 0.95])
    _draw_budgets(budgets, _part(frame, "labels", tool=RIGHT))
    _draw_tools(tools, frame)
    _draw_bias(bias, _part(frame, "bias"))
    _draw_location(location, _part(frame, "location"))
    handles = [Line2D([], [], color=c, marker=m, label=label) for label, c, m in METHODS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    figure.suptitle(f"Labels of arithmetic steps; 95% intervals over {int(frame.seed.nunique())} seeds")
    return figure


def _line(panel, cells: pd.DataFrame, along: str, of: str, **look) -> None:
    """Means over seeds with their intervals."""
    wide = cells.pivot(index="seed", columns=along, values=of)
    mean, low, high = mean_interval(wide.to_numpy())
    panel.errorbar(wide.columns, mean, yerr=[mean - low, high - mean], capsize=2.5, markersize=4.5, **look)


def _draw_budgets(panel, frame: pd.DataFrame) -> None:
    for method, (_, colour, marker) in METHODS.items():
        _line(panel, frame[frame.method == method], "budget", "f1", color=colour, marker=marker)
    panel.set_xscale("log", base=2)
    panel.set_xticks(BUDGETS, BUDGETS)
    panel.set(xlabel="rollouts for each step", ylabel="F1 of the first error", ylim=(-0.03, 1.05))
    panel.set_title("With a tool that is right")


def _draw_tools(panel, frame: pd.DataFrame) -> None:
    cells = _part(frame, "labels", budget=BUDGET)
    cells = cells[cells.tool.isin(TOOLS)].assign(wrong=cells.tool.map(TOOLS))
    for method, (_, colour, marker) in METHODS.items():
        rows = cells[cells.method == method]
        if method in ON_ROLLOUTS:
            mean, low, high = mean_interval(rows.f1.to_numpy())
            panel.axhline(mean, color=colour)
            panel.axhspan(low, high, color=colour, alpha=0.15, linewidth=0)
        else:
            _line(panel, rows, "wrong", "f1", color=colour, marker=marker)
    panel.axvline(TOOLS[BAD], color=GREY, linewidth=0.8, linestyle=":")
    panel.set(xlabel="share of wrong verdicts of the tool", ylim=(-0.03, 1.05))
    panel.set_title(f"With a bad tool, {BUDGET} rollouts")


def _draw_bias(panel, frame: pd.DataFrame) -> None:
    for method in ("hard", "soft"):
        _, colour, marker = METHODS[method]
        rows = frame[frame.method == method]
        _line(panel, rows, "budget", "value", color=colour, marker=marker, linestyle="none", label=method)
    form = frame[frame.method == "closed form"].groupby("budget").value.mean()
    panel.plot(form.index, form, color=BLACK, linewidth=1, label="1 - (1 - v)$^N$ - v")
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.set_xscale("log", base=2)
    panel.set_xticks(BUDGETS, BUDGETS)
    panel.set(xlabel="rollouts for each step, N", ylabel="mean label less exact value v")
    panel.set_title("What rollouts estimate")
    panel.legend(loc="center right")


def _draw_location(panel, frame: pd.DataFrame) -> None:
    for judge, line in (("whole prefix", "-"), ("by itself", "--")):
        for method, (label, colour, marker) in LOCATORS.items():
            rows = frame[(frame.method == method) & (frame.judge == judge)]
            look = {"color": colour, "marker": marker, "linestyle": line}
            _line(panel, rows, "noise", "accuracy", **look, label=f"{label}, {judge}")
    panel.set(
        xlabel="noise of the scores (standard deviation)", ylabel="share of first errors found", ylim=(-0.03, 1.05)
    )
    panel.set_title("From scores to a place")
    panel.legend(loc="lower left", fontsize=8, handlelength=3.5)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """F1, accuracy and the tool's calls for each labelled step, at 8 rollouts a step."""
    rows = []
    for tool in (RIGHT, PREFIX, HALF, BAD):
        for method, (label, *_) in METHODS.items():
            cells = _part(frame, "labels", budget=BUDGET, method=method, tool=tool)
            if len(cells):
                rows.append({"labels": label, "tool": tool, **_means(cells, "f1", "accuracy", "calls")})
    for rule in RULES:
        cells = _part(frame, "whole tree", method=rule)
        rows.append({"labels": f"one tree a problem, {rule}", "tool": RIGHT, **_means(cells, "accuracy", "calls")})
    rows += [{"labels": label, "tool": "published", "f1": f1} for label, f1 in PUBLISHED.items()]
    return pd.DataFrame(rows).rename(
        columns={"f1": "F1", "accuracy": "balanced accuracy", "calls": "calls of the tool a step"}
    )


def _means(cells: pd.DataFrame, *columns: str) -> dict[str, float]:
    return {column: float(cells[column].mean()) for column in columns}


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    return {
        "grounded-labels-better": _grounded(frame),
        "hybrid-value-alone": _value_alone(frame),
        "soft-unbiased-hard-inflated": _bias(frame),
        "bad-tool-worse-than-none": _bad_tool(frame),
        "drop-for-prefixes": _for_prefixes(frame),
        "lowest-for-lines": _for_lines(frame),
    }


def _f1(frame: pd.DataFrame, method: str, tool: str = RIGHT, *, of: str = "f1") -> np.ndarray:
    """F1 of each seed at the budget of the claims."""
    return _part(frame, "labels", method=method, budget=BUDGET, tool=tool).sort_values("seed")[of].to_numpy()


def _grounded(frame: pd.DataFrame) -> Verdict:
    better = max(ON_ROLLOUTS, key=lambda method: _f1(frame, method).mean())
    tree, other = _f1(frame, "verdict"), _f1(frame, better)
    found = mean_interval(tree - other)
    mean, interval = for_verdict(found)
    calls = {method: _f1(frame, method, of="calls").mean() for method in METHODS}
    return Verdict(
        above(found, 0.1),
        f"F1 {mean:+.2f}",
        mean,
        interval,
        f"F1 {tree.mean():.2f} against {other.mean():.2f} of {better} labels, with {calls['verdict']:.0f} calls of the "
        f"tool a step against {calls[better]:.0f}; but the tool alone has {_f1(frame, 'tool').mean():.2f} with one "
        "call and no rollout. The tree adds to a tool that says nothing half of the time: "
        f"{_f1(frame, 'verdict', HALF).mean():.2f} against {_f1(frame, 'tool', HALF).mean():.2f} of the tool alone.",
    )


def _value_alone(frame: pd.DataFrame) -> Verdict:
    value, soft, weighted = (_f1(frame, method) for method in ("value", "soft", "weighted"))
    found = mean_interval(value - soft)
    mean, interval = for_verdict(found)
    return Verdict(
        above(found, 0.05),
        f"F1 {mean:+.2f}",
        mean,
        interval,
        f"F1 {value.mean():.2f} against {soft.mean():.2f}; {_f1(frame, 'value', of='named').mean():.0%} of the wrong "
        "steps are called wrong, as the search seeks out what mends them and lines that carry an error on are right in "
        f"themselves. Outcome weighted 1: {weighted.mean():.2f}; tool that sees the prefix: "
        f"{_f1(frame, 'value', PREFIX).mean():.2f}.",
    )


def _bias(frame: pd.DataFrame) -> Verdict:
    cells = _part(frame, "bias", budget=BUDGET).pivot(index="seed", columns="method", values="value")
    soft, off = mean_interval(cells["soft"]), mean_interval(cells["hard"] - cells["closed form"])
    excess = float(cells["hard"].mean())
    near = abs(soft[0]) <= 0.02 and abs(off[0]) <= 0.02
    excluded = any(low > 0.02 or high < -0.02 for _, low, high in (soft, off))
    value, interval = for_verdict(soft)
    return Verdict(
        "supported" if near and excess >= 0.1 else "refuted" if excluded else "undecided",
        f"bias of soft labels {value:+.3f}",
        value,
        interval,
        f"Hard labels are {excess:+.2f} above the exact value; the closed form says {cells['closed form'].mean():.2f}.",
    )


def _bad_tool(frame: pd.DataFrame) -> Verdict:
    soft = _f1(frame, "soft")
    by_tool = {name: _f1(frame, "verdict", name) for name in TOOLS}
    found = mean_interval(soft - by_tool[BAD])
    mean, interval = for_verdict(found)
    ahead = [share for name, share in TOOLS.items() if by_tool[name].mean() >= soft.mean()]
    return Verdict(
        above(found, 0.05),
        f"F1 {mean:+.2f}",
        mean,
        interval,
        f"F1 {soft.mean():.2f} of soft labels against {by_tool[BAD].mean():.2f} with the bad tool; of the tools tried "
        f"the worst that is still ahead has {max(ahead, default=1):.0%} wrong verdicts, the best that is not has "
        f"{min(set(TOOLS.values()) - set(ahead), default=1):.0%}.",
    )


def _location(frame: pd.DataFrame, judge: str) -> np.ndarray:
    """Drop less lowest in the share of first errors found, by noise (rows: mean, low, high)."""
    cells = _part(frame, "location", judge=judge)
    wide = cells.pivot(index="seed", columns=["method", "noise"], values="accuracy")
    return mean_interval((wide["drop"] - wide["lowest"]).to_numpy())


def _for_prefixes(frame: pd.DataFrame) -> Verdict:
    found = _location(frame, "whole prefix")
    mean, interval = for_verdict(found[:, NOISES.index(0.1)])
    worst = found[0].argmin()
    return Verdict(
        above(found[:, NOISES.index(0.1)], 0.1),
        f"drop less lowest {mean:+.2f}",
        mean,
        interval,
        f"Between {found[0, worst]:+.2f} (noise {NOISES[worst]:g}) and {found[0].max():+.2f} over all noises; "
        "without noise both find the first of equal scores.",
    )


def _for_lines(frame: pd.DataFrame) -> Verdict:
    found = _location(frame, "by itself")
    mean, interval = for_verdict(found[:, NOISES.index(0.1)])
    return Verdict(
        "supported" if mean <= 0 else "refuted" if interval[0] > 0 else "undecided",
        f"drop less lowest {mean:+.2f}",
        mean,
        interval,
        "Of several wrong lines the lowest may be any; the drop prefers one that follows a right line, as the first "
        f"does. At noise {NOISES[-1]:g} the difference is {found[0, -1]:+.2f}: a drop carries the noise of two scores.",
    )


def _part(frame: pd.DataFrame, part: str, **where) -> pd.DataFrame:
    chosen = frame.part == part
    for column, value in where.items():
        chosen &= frame[column] == value
    return frame[chosen]
