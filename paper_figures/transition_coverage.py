"""Reward distances when few transitions were observed: does SRRD suffer least, and is filling in the gaps as good?"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from paper_figures.figure import Claim, Scale, Verdict
from paper_figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION
from rewardlab.distance.sampling import sample_dard_distances, sample_epic_distances, sample_srrd_distances
from rewardlab.distance.transitions import Transitions, cover_transitions, tabular_reward
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.regret import greedy_regret
from rewardlab.exact.transformations import potential_shaping

TITLE = "How much of a world must be seen before reward distances can be trusted?"

STATES, ACTIONS, DISCOUNT = 32, 4, 0.95
COVERAGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SPARSE_BELOW = 0.2
NOISES = np.geomspace(0.1, 3, 8)  # what the candidates add to the true reward, in its standard deviations
SCATTERED, SMOOTH = "reward of its own for each transition", "reward of the next state"
FILLED, KNOWN = "EPIC, gaps filled by regression", "EPIC, reward function known"
VARIANTS = {"found": "", "set_size": " (missing = 0)"}
OBSERVED = {"EPIC": sample_epic_distances, "DARD": sample_dard_distances, "SRRD": sample_srrd_distances}
COLOURS = {"EPIC": BLUE, "DARD": ORANGE, "SRRD": VERMILLION, FILLED: GREEN, KNOWN: GREY}
RIDGE = 0.01

_RIVALS = "each by the better of its two ways of counting what is missing"
_LIMITS = "One random world a seed with transitions observed uniformly; data from a policy cover a world less evenly."
CLAIMS = (
    Claim(
        id="srrd-fill-in",
        paper="2504.11508",
        title="Below 20% coverage SRRD errs least, even against EPIC with gaps filled in",
        says="From few observed rewards SRRD is nearer its full-coverage value than EPIC with gaps filled in.",
        threshold="95% interval of the mean error of SRRD minus that of filled-in EPIC below 0; otherwise refuted",
        published="smallest errors under high transition sparsity (no number)",
        limits=f"{_LIMITS} Errors are against each method's own value at full coverage; the regression is additive.",
    ),
    Claim(
        id="srrd-sparse-error",
        paper="2504.11508",
        title="Below 20% coverage SRRD errs less than EPIC and DARD from the same observed rewards",
        says="With no reward known outside the data, SRRD is nearer its full-coverage value than its rivals to theirs.",
        threshold=f"95% interval of SRRD's mean error minus the better rival's below 0 (refuted if above); {_RIVALS}",
        published="smallest errors under high transition sparsity (no number)",
        limits=f"{_LIMITS} A method that calls all rewards alike has small errors too: see the rank correlations.",
    ),
    Claim(
        id="srrd-equivalent",
        paper="2504.11508",
        title="Below 20% coverage SRRD recognises a shaped copy best",
        says="The distance between a reward and its scaled and shaped copy, truly 0, is smallest for SRRD.",
        threshold=f"95% interval of SRRD's distance minus the better rival's below 0 (refuted if above); {_RIVALS}",
        published="SRRD nearest to 0 for shaped rewards on sparse trajectories (no number)",
        limits=f"{_LIMITS} The published test draws trajectories in a 20 x 20 grid.",
    ),
)


def compute(scale: Scale, rng: int) -> pd.DataFrame:
    """Error, distance of an equivalent reward and rank correlation, by seed, kind of reward, coverage and method."""
    from joblib import Parallel, delayed

    seeds = np.random.SeedSequence(rng).spawn(scale.pick(smoke=3, small=20, paper=200))
    coverages = scale.pick(smoke=(0.02, 0.1, 1.0), small=COVERAGES)
    rows = Parallel(n_jobs=scale.workers)(delayed(_one_seed)(i, seed, coverages) for i, seed in enumerate(seeds))
    return pd.DataFrame([row for part in rows for row in part])


def _one_seed(index: int, seed: np.random.SeedSequence, coverages: tuple[float, ...]) -> list[dict]:
    rng = np.random.default_rng(seed)
    mdp = FiniteMDP.random(STATES, ACTIONS, discount=DISCOUNT, clean=True, rng=rng)
    rows = []
    for kind in (SCATTERED, SMOOTH):
        tables = _rewards(mdp, kind, rng)
        regret = greedy_regret(mdp, tables[0], tables[1:-1])
        full = _distances(tables, cover_transitions(mdp, among="all"))
        for coverage in coverages:
            data = cover_transitions(mdp, coverage, among="all", rng=rng)
            for method, distances in (_distances(tables, data) if coverage < 1 else full).items():
                rows.append(
                    {
                        "seed": index,
                        "reward": kind,
                        "coverage": coverage,
                        "method": method,
                        "error": np.abs(distances - full[method])[:-1].mean(),
                        "equivalent": distances[-1],
                        "rank_correlation": stats.spearmanr(distances[:-1], regret).statistic,
                    }
                )
    return rows


def _rewards(mdp: FiniteMDP, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The true reward, noisier and noisier candidates, and an equivalent one; all but the first scaled and shaped."""
    shape = (len(NOISES) + 1, STATES, ACTIONS, STATES) if kind == SCATTERED else (len(NOISES) + 1, 1, 1, STATES)
    true, *noise = np.broadcast_to(rng.normal(size=shape), (len(NOISES) + 1, STATES, ACTIONS, STATES))
    plain = np.stack([*(true + size * part for size, part in zip(NOISES, noise)), true])
    scale = rng.uniform(1, 10, size=(len(plain), 1, 1, 1))
    potential = rng.normal(size=(len(plain), STATES)) * rng.uniform(0, 10, size=(len(plain), 1))  # as in STARC's study
    return np.concatenate([true[None], scale * plain + potential_shaping(mdp, potential)])


def _distances(tables: np.ndarray, data: Transitions) -> dict[str, np.ndarray]:
    """Distances of all rewards to the first by each method."""
    rewards = [tabular_reward(table) for table in tables]
    result = {
        method + label: distances(rewards, data, DISCOUNT, missing=missing)[0, 1:]
        for method, distances in OBSERVED.items()
        for missing, label in VARIANTS.items()
    }
    result[KNOWN] = sample_epic_distances(rewards, data, DISCOUNT)[0, 1:]
    filled = [tabular_reward(table) for table in _filled_in(tables, data)]
    result[FILLED] = sample_epic_distances(filled, data, DISCOUNT)[0, 1:]
    return result


def _filled_in(tables: np.ndarray, data: Transitions) -> np.ndarray:
    """The observed rewards, and elsewhere a ridge regression on state, action and next state fitted to them."""
    grid = np.indices((STATES, ACTIONS, STATES)).reshape(3, -1)
    features = np.concatenate([np.eye(size)[part] for size, part in zip((STATES, ACTIONS, STATES), grid)], axis=1)
    observed = np.ravel_multi_index((data.states, data.actions, data.next_states), tables.shape[1:])
    seen, values = features[observed], tables.reshape(len(tables), -1)[:, observed]
    level = values.mean(axis=1, keepdims=True)
    weights = np.linalg.solve(seen.T @ seen + RIDGE * np.eye(seen.shape[1]), seen.T @ (values - level).T)
    filled = level + (features @ weights).T
    filled[:, observed] = values
    return filled.reshape(tables.shape)


def plot(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    columns = {
        "error": "error against full coverage",
        "equivalent": "distance of a shaped copy (truly 0)",
        "rank_correlation": "rank correlation with regret",
    }
    for row, kind in zip(axes, (SCATTERED, SMOOTH)):
        for panel, (column, label) in zip(row, columns.items()):
            _plot_panel(panel, frame[frame.reward == kind], column)
            panel.set_ylabel(label)
        row[1].set_title(kind[0].upper() + kind[1:])
    for panel in axes[1]:
        panel.set_xlabel("share of all transitions observed (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _plot_panel(axes, frame: pd.DataFrame, column: str) -> None:
    axes.axvspan(100 * frame.coverage.min() * 0.8, 100 * SPARSE_BELOW, color=BLACK, alpha=0.05, linewidth=0)
    for method in frame.method.unique():
        name = next(name for name in sorted(COLOURS, key=len, reverse=True) if method.startswith(name))
        by_coverage = frame[frame.method == method].groupby("coverage")[column]
        mean, intervals = by_coverage.mean(), np.stack([_interval(values, 1000) for _, values in by_coverage])
        dashed = "--" if method.endswith(VARIANTS["set_size"]) else ":" if method == KNOWN else "-"
        axes.plot(100 * mean.index, mean, dashed, color=COLOURS[name], marker="o", markersize=3.5, label=method)
        axes.fill_between(100 * mean.index, *intervals.T, color=COLOURS[name], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlim(100 * frame.coverage.min() * 0.8, 125)
    ticks = sorted(100 * frame.coverage.unique())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds below 20% coverage."""
    sparse = frame[frame.coverage < SPARSE_BELOW]
    columns = ["error", "equivalent", "rank_correlation"]
    return sparse.groupby(["reward", "method"], sort=False)[columns].mean().reset_index()


def verdicts(frame: pd.DataFrame) -> dict[str, Verdict]:
    sparse = frame[frame.coverage < SPARSE_BELOW]
    return {
        "srrd-fill-in": _compare(sparse, "error", [FILLED], tie_refutes=True),
        "srrd-sparse-error": _compare(sparse, "error", ["EPIC", "DARD"]),
        "srrd-equivalent": _compare(sparse, "equivalent", ["EPIC", "DARD"]),
    }


def _compare(sparse: pd.DataFrame, column: str, rivals: list[str], tie_refutes: bool = False) -> Verdict:
    """SRRD against the best of its rivals, each by its better variant; means over coverages and rewards, by seed."""
    means = sparse.pivot_table(index="seed", columns="method", values=column)

    def best(names: list[str]) -> str:
        variants = [method for method in means if method.removesuffix(VARIANTS["set_size"]) in names]
        return means[variants].mean().idxmin()

    ours, rival = best(["SRRD"]), best(rivals)
    gap = (means[ours] - means[rival]).to_numpy()
    (low, high), mean = _interval(gap), float(gap.mean())
    outcome = "supported" if high < 0 else "refuted" if low > 0 or tie_refutes else "undecided"
    what = "error" if column == "error" else "distance of the shaped copy"
    by_kind = sparse.pivot_table(index="reward", columns="method", values=column)[[ours, rival]]
    kinds = "; ".join(f"{kind}: {row[ours]:.3f} against {row[rival]:.3f}" for kind, row in by_kind.iterrows())
    sentence = f"Mean {what} below 20% coverage, {ours} against {rival}: {means[ours].mean():.3f} against "
    sentence += f"{means[rival].mean():.3f} ({kinds})."
    return Verdict(outcome, f"{ours} minus {rival} {mean:+.3f}", mean, (low, high), sentence)


def _interval(values: np.ndarray, resamples: int = 9999) -> tuple[float, float]:
    """95% bootstrap interval of the mean."""
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, method="percentile", rng=0
    ).confidence_interval
    return float(interval.low), float(interval.high)
